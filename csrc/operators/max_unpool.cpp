// y[c][i[c][h][w]] = x[c][h][w], 0 elsewhere: values go back to the places that max_pool took them
// from, h w + column of the plane. Of two with the same place the later one stays. Places outside
// the plane are left out: callers refuse them.
#include "kernel.h"
#include "simd.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

Sizes sizes(const Problem&) { return {0, 0, 0}; }
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) { return problem.c; }
void prepare(const Problem&, const void*, void*) {}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const int64_t pixels = problem.h * problem.w;
  for (int64_t c = begin; c < end; ++c) {
    const T* x = static_cast<const T*>(operands.x) + c * problem.x.c;
    T* y = static_cast<T*>(operands.y) + c * problem.y.c;
    for (int64_t p = 0; p < problem.p; ++p)
      for (int64_t q = 0; q < problem.q; ++q) y[p * problem.y.h + q * problem.y.w] = T(0);
    const int64_t* places = operands.indices + c * pixels;
    for (int64_t h = 0; h < problem.h; ++h)
      for (int64_t w = 0; w < problem.w; ++w) {
        const int64_t place = *places++;
        if (place < 0 || place >= problem.p * problem.q) continue;
        y[place / problem.q * problem.y.h + place % problem.q * problem.y.w] =
            x[h * problem.x.h + w * problem.x.w];
      }
  }
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes, 1, items, prepare, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes, 1, items, prepare, run<double>},
};

}  // namespace

extern const Variants max_unpool;
const Variants max_unpool = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
