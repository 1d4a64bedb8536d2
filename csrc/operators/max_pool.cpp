// y[c][p][q] = max over r, s of x[c][p u + r][q u + s] inside the image     (u: stride); NaN if one
// of them is p and q may count a last window that the padding does not fill (ceil_mode); every
// window holds a pixel.
#include "blocks/pooling.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

template <class T>
Sizes sizes(const Problem& problem) {
  return {0, 0, pool_parts<T, T>(problem, nullptr).bytes};
}
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) { return problem.c * problem.p; }
void prepare(const Problem&, const void*, void*) {}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const PoolParts<T, T> parts = pool_parts<T, T>(problem, operands.scratch);
  const T* x = static_cast<const T*>(operands.x);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t c = i / problem.p, p = i % problem.p;
    // A NaN is no number's lesser: it replaces what was found, and nothing replaces it.
    pool_row<T, T>(problem, x + c * problem.x.c, p, parts, T(-__builtin_inf()),
                   [](T most, T v) { return (v > most) | (v != v) ? v : most; });
    finish_row(problem, operands, c, p, 0, parts.total, problem.q);
  }
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items, prepare, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items, prepare, run<double>},
};

}  // namespace

extern const Variants max_pool;
const Variants max_pool = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
