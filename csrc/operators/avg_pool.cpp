// y[c][p][q] = 1 / count sum over r, s of x[c][p u + r][q u + s] inside the image     (u: stride)
// count: the window's pixels inside the image, or (kCountPadding) inside the padded image. p and q
// may count a last window that the padding does not fill (ceil_mode). Sums are float64 for both
// dtypes.
#include "blocks/pool_blocks.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// In Problem::padding_mode; numbers as in convkit/operators.py.
enum Count : int64_t { kCountImage = 0, kCountPadding = 1 };

template <class T>
Sizes sizes(const Problem& problem) {
  return {0, 0, pool_parts<T, double>(problem, nullptr).bytes};
}
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) { return problem.c * problem.p; }
void prepare(const Problem&, const void*, void*) {}

// How much of a window of `size` at `first` counts, on an axis with so many pixels and so much
// padding after them.
int64_t counted(int64_t first, int64_t size, int64_t pixels, int64_t after, int64_t count) {
  const int64_t end = count == kCountPadding ? pixels + after : pixels,
                last = first + size < end ? first + size : end;
  return last - (count == kCountPadding || first > 0 ? first : 0);
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const PoolParts<T, double> parts = pool_parts<T, double>(problem, operands.scratch);
  const T* x = static_cast<const T*>(operands.x);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t c = i / problem.p, p = i % problem.p;
    pool_row<T, double>(problem, x + c * problem.x.c, p, parts, 0.0,
                        [](Vec<double> sum, Vec<double> v) { return sum + v; });
    const int64_t rows = counted(p * problem.stride_h - problem.pad_top, problem.r, problem.h,
                                 problem.pad_bottom, problem.padding_mode);
    for (int64_t q = 0; q < problem.q; ++q) {
      const int64_t columns = counted(q * problem.stride_w - problem.pad_left, problem.s, problem.w,
                                      problem.pad_right, problem.padding_mode);
      parts.result[q] = T(parts.total[q] / double(rows * columns));
    }
    finish_row(problem, operands, c, p, 0, parts.result, problem.q);
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
  constexpr int kParts = kLanes<T> / kLanes<double>;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t block = i / problem.p, p = i % problem.p;
    const int64_t rows = counted(p * problem.stride_h - problem.pad_top, problem.r, problem.h,
                                 problem.pad_bottom, problem.padding_mode);
    for (int64_t lane = 0; lane < problem.block; lane += kLanes<T>) {
      const T* x = static_cast<const T*>(operands.x) + block * problem.x.c + lane;
      for (int64_t q = 0; q < problem.q; ++q) {
        const Window window = window_of(problem, p, q);
        const int64_t columns = counted(q * problem.stride_w - problem.pad_left, problem.s,
                                        problem.w, problem.pad_right, problem.padding_mode);
        Vec<double> sums[kParts] = {};
        for (int64_t h = window.top; h < window.bottom; ++h)
          for (int64_t w = window.left; w < window.right; ++w)
            for (int part = 0; part < kParts; ++part)
              sums[part] +=
                  load_as<T, double>(x + h * problem.x.h + w * problem.x.w + part * kLanes<double>);
        alignas(kVectorBytes) T means[kLanes<T>];
        for (int part = 0; part < kParts; ++part)
          for (int j = 0; j < kLanes<double>; ++j)
            means[part * kLanes<double> + j] = T(sums[part][j] / double(rows * columns));
        store_lanes<T>(problem, operands, block * problem.block + lane, p, q, load(means));
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

extern const Variants avg_pool;
const Variants avg_pool = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
