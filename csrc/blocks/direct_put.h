// What direct convolution does with finished sums, [row][column][filter] in scratch: bias,
// residual, activation, and the store into planes or into blocks of channels.
#pragma once
#include "direct_blocks.h"
#include "epilogue.h"
#include "transpose.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

constexpr int kFilterVecs = 2;
template <class T>
constexpr int64_t kFilters = kFilterVecs * kLanes<T>;

// Sums of `width` filters from the image's filter `first` on, of which `filters` exist, for a block
// of outputs whose rows are `spacing` apart.
template <class T>
struct Finished {
  T* sums;  // followed by a vector of pixels that may be read
  int64_t width, first, filters;
  const BandBlock* block;
  int64_t spacing;
};

// Filter by filter, in one run where rows touch. lines: [filter of a vector][pixel], `line` of
// them.
template <class T>
void put_planes(const Problem& problem, const Operands& operands, const Finished<T>& done, T* lines,
                int64_t line) {
  const BandBlock& block = *done.block;
  const int64_t pixels = block.rows * block.columns;
  const bool touch =
      done.spacing == 1 && problem.y.h == block.columns * problem.y.w &&
      (!operands.epilogue.residual || problem.residual.h == block.columns * problem.residual.w);
  const int64_t rows = touch ? 1 : block.rows, count = pixels / rows;
  for (int64_t v = 0; v < done.width; v += kLanes<T>) {
    for (int64_t i = 0; i < pixels; i += kLanes<T>)
      transpose(done.sums + i * done.width + v, done.width, lines + i, line);
    for (int64_t filter = v; filter < lesser(done.filters, v + kLanes<T>); ++filter)
      for (int64_t i = 0; i < rows; ++i)
        finish_row(problem, operands, done.first + filter, block.first_row + i * done.spacing,
                   block.first_column, lines + (filter - v) * line + i * count, count);
  }
}

// Where a filter stands in blocks: of the pixel at no distance.
CK_INLINE int64_t in_blocks(const Problem& problem, const Strides& strides, int64_t filter) {
  return filter / problem.block * strides.c + filter % problem.block;
}
// How the sums of up to two vectors of filters leave for blocks: what all pixels of an item share.
// Lanes past the last filter hold zero.
template <class T>
struct BlockExit {
  bool slow, bounded, masked;
  Vec<T> low, high, bias[2];
  typename SimdType<T>::index kept[2];
  T* y;                               // of the first filter and the output at 0, 0
  const T* residual;                  // the same, or null
  int64_t y_vector, residual_vector;  // distances of the second vector of filters
  const Epilogue* epilogue;
};
template <class T>
CK_NOINLINE BlockExit<T> block_exit(const Problem& problem, const Operands& operands,
                                    int64_t first) {
  const Epilogue& epilogue = operands.epilogue;
  const Bounds<T> bounds = bounds_of<T>(epilogue);
  BlockExit<T> out;
  out.slow = !bounds.any;
  out.bounded = bounds.any && epilogue.activation != kIdentity;
  out.masked = problem.k - first < kFilters<T>;
  out.low = splat(bounds.low);
  out.high = splat(bounds.high);
  for (int64_t v = 0; v < 2; ++v) {
    alignas(kVectorBytes) T bias[kLanes<T>] = {};
    for (int64_t i = 0; i < kLanes<T>; ++i) {
      const int64_t filter = first + v * kLanes<T> + i;
      const bool inside = filter < problem.k;
      if (inside && epilogue.bias) bias[i] = static_cast<const T*>(epilogue.bias)[filter];
      out.kept[v][i] = inside ? -1 : 0;
    }
    out.bias[v] = load(bias);
  }
  const auto second = [&](const Strides& strides) {
    return in_blocks(problem, strides, first + kLanes<T>) - in_blocks(problem, strides, first);
  };
  out.y = static_cast<T*>(operands.y) + in_blocks(problem, problem.y, first);
  out.y_vector = second(problem.y);
  out.residual = static_cast<const T*>(epilogue.residual);
  if (out.residual) out.residual += in_blocks(problem, problem.residual, first);
  out.residual_vector = second(problem.residual);
  out.epilogue = &epilogue;
  return out;
}
// sums: [pixel][kVecs vectors], of pixels from column `column` on.
template <class T, int kVecs>
CK_NOINLINE void put_vectors(const Problem& problem, const BlockExit<T>& out, const T* sums,
                             int64_t row, int64_t column, int64_t count) {
  T* const first = out.y + row * problem.y.h + column * problem.y.w;
  const T* const more = out.residual
                            ? out.residual + row * problem.residual.h + column * problem.residual.w
                            : nullptr;
  const int64_t step = problem.y.w, more_step = problem.residual.w;
  // Slow kinds take many values in one call.
  constexpr int64_t kMost = 16;
  alignas(kVectorBytes) T values[kMost * kLanes<T>];
  for (int v = 0; v < kVecs; ++v) {
    const Vec<T> bias = out.bias[v], low = out.low, high = out.high;
    const auto kept = out.kept[v];
    const auto sum_at = [&](int64_t i) __attribute__((always_inline)) {
      Vec<T> sum = load(sums + (i * kVecs + v) * kLanes<T>) + bias;
      if (more) sum += load(more + v * out.residual_vector + i * more_step);
      return sum;
    };
    T* const y = first + v * out.y_vector;
    if (!out.slow) {
      for (int64_t i = 0; i < count; ++i) {
        Vec<T> sum = sum_at(i);
        if (out.bounded) sum = bounded<T>(low, high, sum);
        if (out.masked) sum = kept ? sum : Vec<T>{};
        store(y + i * step, sum);
      }
      continue;
    }
    for (int64_t from = 0; from < count; from += kMost) {
      const int64_t some = lesser(kMost, count - from);
      for (int64_t i = 0; i < some; ++i) store(values + i * kLanes<T>, sum_at(from + i));
      activate(out.epilogue->activation, out.epilogue->a, out.epilogue->b, values,
               some * kLanes<T>);
      for (int64_t i = 0; i < some; ++i) {
        const Vec<T> value = load(values + i * kLanes<T>);
        store(y + (from + i) * step, out.masked ? (kept ? value : Vec<T>{}) : value);
      }
    }
  }
}
// Any filters: those of small groups, which stand within a vector of y, or in two. The last group
// stores the zeros past the last filter.
template <class T>
CK_NOINLINE void put_lanes(const Problem& problem, const Operands& operands,
                           const Finished<T>& done) {
  const BandBlock& block = *done.block;
  const Epilogue& epilogue = operands.epilogue;
  const int64_t after = done.first + done.filters;
  const int64_t end = after == problem.k ? whole_blocks(problem, after) : after;
  for (int64_t i = 0; i < block.rows; ++i)
    for (int64_t q = 0; q < block.columns; ++q) {
      T* sums = done.sums + (i * block.columns + q) * done.width;
      const int64_t row = block.first_row + i * done.spacing, column = block.first_column + q;
      for (int64_t j = 0; j < done.filters; ++j) {
        const int64_t filter = done.first + j;
        if (epilogue.bias) sums[j] += static_cast<const T*>(epilogue.bias)[filter];
        if (epilogue.residual)
          sums[j] += static_cast<const T*>(
              epilogue.residual)[in_blocks(problem, problem.residual, filter) +
                                 row * problem.residual.h + column * problem.residual.w];
      }
      activate_values<T>(epilogue, sums, done.filters);
      for (int64_t filter = done.first; filter < end; ++filter)
        static_cast<T*>(operands.y)[in_blocks(problem, problem.y, filter) + row * problem.y.h +
                                    column * problem.y.w] =
            filter < after ? sums[filter - done.first] : T(0);
    }
}
// Vectors of filters are vectors of y.
template <class T>
CK_INLINE bool vectors_fit(const Problem& problem) {
  const int64_t filters = problem.k / problem.groups;
  return problem.groups == 1 || (filters % kLanes<T> == 0 && problem.k % problem.block == 0);
}
}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
