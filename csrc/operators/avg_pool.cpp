// y[c][p][q] = 1 / count sum over r, s of x[c][p u + r d][q u + s d] inside the image     (u:
// stride, d: dilation). count: the window's pixels inside the image, or (kCountPadding) inside the
// padded image. p and q may count a last window that the padding does not fill (ceil_mode). Sums of
// planes are float64 for both dtypes, those of blocks are the dtype's own, by rows.
#include "blocks/pooling.h"
#include "blocks/pooling_windows.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

template <class T>
Sizes sizes(const Problem& problem) {
  return {0, 0, pool_parts<T, double>(problem, nullptr).bytes};
}
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) { return problem.c * problem.p; }
void prepare(const Problem&, const void*, void*) {}

template <class T>
void window_row(const Problem& problem, const T* channel, int64_t p, double* sums) {
  const Taps rows = rows_inside(problem, p);
  for (int64_t q = 0; q < problem.q; ++q) {
    const Taps columns = columns_inside(problem, q);
    double sum = 0;
    for (int64_t r = 0; r < rows.count; ++r)
      for (int64_t s = 0; s < columns.count; ++s)
        sum += channel[(rows.first + r * rows.step) * problem.x.h +
                       (columns.first + s * columns.step) * problem.x.w];
    sums[q] = sum;
  }
}

// The outputs of a row whose windows lie inside the image: all of their columns count.
struct WholeWindows {
  int64_t begin, end;
};
WholeWindows whole_windows(const Problem& problem) {
  const int64_t stride = problem.stride_w, left = problem.pad_left;
  const int64_t room = problem.w + left - 1 - (problem.s - 1) * problem.dilation_w;
  const int64_t begin = (left + stride - 1) / stride, end = room < 0 ? 0 : room / stride + 1;
  const int64_t last = end < problem.q ? end : problem.q;
  return {begin < last ? begin : last, last};
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const PoolParts<T, double> parts = pool_parts<T, double>(problem, operands.scratch);
  const T* x = static_cast<const T*>(operands.x);
  const bool by_rows = problem.dilation_h == 1 && problem.dilation_w == 1;
  const WholeWindows inside = whole_windows(problem);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t c = i / problem.p, p = i % problem.p;
    if (by_rows)
      pool_row<T, double>(problem, x + c * problem.x.c, p, parts, 0.0,
                          [](Vec<double> sum, Vec<double> v) { return sum + v; });
    else
      window_row<T>(problem, x + c * problem.x.c, p, parts.total);
    const int64_t rows = rows_counted(problem, p);
    const auto divide = [&](int64_t q) {
      parts.result[q] = T(parts.total[q] / double(rows * columns_counted(problem, q)));
    };
    int64_t q = 0;
    for (; q < inside.begin; ++q) divide(q);
    const double pixels = double(rows * problem.s);
    for (; q < inside.end; ++q) parts.result[q] = T(parts.total[q] / pixels);
    for (; q < problem.q; ++q) divide(q);
    finish_row(problem, operands, c, p, 0, parts.result, problem.q);
  }
}

template <class T>
void run_blocks(const Problem& problem, int64_t, int64_t begin, int64_t end,
                const Operands& operands) {
  typedef Vec<T> V;
  pool_blocks<T>(
      problem, begin, end, operands, T(0), [](V sum, V v) { return sum + v; },
      [&](V sum, int64_t p, int64_t q) {
        return sum / splat(T(rows_counted(problem, p) * columns_counted(problem, q)));
      });
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

extern const Variants avg_pool;
const Variants avg_pool = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
