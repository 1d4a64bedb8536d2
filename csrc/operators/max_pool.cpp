// y[c][p][q] = max over r, s of x[c][p u + r][q u + s] inside the image     (u: stride); NaN if one
// of them is p and q may count a last window that the padding does not fill (ceil_mode); every
// window holds a pixel.
#include "blocks/pool_blocks.h"
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

// A NaN is no number's lesser: it replaces what was found, and nothing replaces it.
template <class T>
CK_INLINE Vec<T> larger(Vec<T> most, Vec<T> v) {
  return (v > most) | (v != v) ? v : most;
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const PoolParts<T, T> parts = pool_parts<T, T>(problem, operands.scratch);
  const T* x = static_cast<const T*>(operands.x);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t c = i / problem.p, p = i % problem.p;
    pool_row<T, T>(problem, x + c * problem.x.c, p, parts, T(-__builtin_inf()), larger<T>);
    finish_row(problem, operands, c, p, 0, parts.total, problem.q);
  }
}

// In blocks of channels; an item is a row of a block.
template <class T>
bool fits(const Problem& problem) {
  return whole_vectors<T>(problem);
}
Sizes no_sizes(const Problem&) { return {0, 0, 0}; }
int64_t block_items(const Problem& problem, int64_t) { return blocks_of(problem) * problem.p; }

template <class T>
void run_blocks(const Problem& problem, int64_t, int64_t begin, int64_t end,
                const Operands& operands) {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t block = i / problem.p, p = i % problem.p;
    for (int64_t lane = 0; lane < problem.block; lane += kLanes<T>) {
      const T* x = static_cast<const T*>(operands.x) + block * problem.x.c + lane;
      for (int64_t q = 0; q < problem.q; ++q) {
        const Window window = window_of(problem, p, q);
        Vec<T> most = splat(T(-__builtin_inf()));
        for (int64_t h = window.top; h < window.bottom; ++h)
          for (int64_t w = window.left; w < window.right; ++w)
            most = larger<T>(most, load(x + h * problem.x.h + w * problem.x.w));
        store_lanes<T>(problem, operands, block * problem.block + lane, p, q, most);
      }
    }
  }
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items, prepare, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items, prepare, run<double>},
    {"float32 blocks", kFloat32, kNchwc, kNchwc, fits<float>, no_sizes, 1, block_items, prepare,
     run_blocks<float>},
    {"float64 blocks", kFloat64, kNchwc, kNchwc, fits<double>, no_sizes, 1, block_items, prepare,
     run_blocks<double>},
};

}  // namespace

extern const Variants max_pool;
const Variants max_pool = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
