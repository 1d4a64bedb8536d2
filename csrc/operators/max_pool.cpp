// y[c][p][q] = max over r, s of x[c][p u + r d][q u + s d] inside the image     (u: stride, d:
// dilation); NaN if one of them is, -inf where there is none. p and q may count a last window that
// the padding does not fill (ceil_mode). indices, where asked for: the place of the first of the
// largest in the channel, h w + column, of the last NaN if there is one; -1 where there is no
// pixel.
#include "blocks/pooling.h"
#include "blocks/pooling_windows.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// What a window without a pixel gives, and what every other value beats.
template <class T>
constexpr T kNothing = T(-__builtin_inf());
// A NaN is no number's lesser: it replaces what was found, and nothing replaces it.
template <class T>
CK_INLINE Vec<T> larger(Vec<T> most, Vec<T> v) {
  return (v > most) | (v != v) ? v : most;
}

template <class T>
Sizes sizes(const Problem& problem) {
  return {0, 0, pool_parts<T, T>(problem, nullptr).bytes};
}
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) { return problem.c * problem.p; }
void prepare(const Problem&, const void*, void*) {}

template <class T>
void window_row(const Problem& problem, const T* channel, int64_t p, T* result, int64_t* places) {
  const Taps rows = rows_inside(problem, p);
  for (int64_t q = 0; q < problem.q; ++q) {
    const Taps columns = columns_inside(problem, q);
    T most = kNothing<T>;
    int64_t place = -1;
    for (int64_t r = 0; r < rows.count; ++r)
      for (int64_t s = 0; s < columns.count; ++s) {
        const int64_t h = rows.first + r * rows.step, w = columns.first + s * columns.step;
        const T v = channel[h * problem.x.h + w * problem.x.w];
        if (place < 0 || v > most || v != v) most = v, place = h * problem.w + w;
      }
    result[q] = most;
    if (places) places[q] = place;
  }
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const PoolParts<T, T> parts = pool_parts<T, T>(problem, operands.scratch);
  const T* x = static_cast<const T*>(operands.x);
  const bool by_rows = !operands.indices && problem.dilation_h == 1 && problem.dilation_w == 1;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t c = i / problem.p, p = i % problem.p;
    const T* channel = x + c * problem.x.c;
    if (by_rows)
      pool_row<T, T>(problem, channel, p, parts, kNothing<T>,
                     [](Vec<T> most, Vec<T> v) { return larger<T>(most, v); });
    else
      window_row<T>(problem, channel, p, parts.total,
                    operands.indices ? operands.indices + i * problem.q : nullptr);
    finish_row(problem, operands, c, p, 0, parts.total, problem.q);
  }
}

template <class T>
void run_blocks(const Problem& problem, int64_t, int64_t begin, int64_t end,
                const Operands& operands) {
  pool_blocks<T>(
      problem, begin, end, operands, kNothing<T>,
      [](Vec<T> most, Vec<T> v) { return larger<T>(most, v); },
      [](Vec<T> most, int64_t, int64_t) { return most; });
}
Sizes no_sizes(const Problem&) { return {0, 0, 0}; }

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items, prepare, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items, prepare, run<double>},
    {"float32 blocks", kFloat32, kNchwc, kNchwc, block_of_vectors<float>, no_sizes, 1,
     block_row_items, prepare, run_blocks<float>},
    {"float64 blocks", kFloat64, kNchwc, kNchwc, block_of_vectors<double>, no_sizes, 1,
     block_row_items, prepare, run_blocks<double>},
};

}  // namespace

extern const Variants max_pool;
const Variants max_pool = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
