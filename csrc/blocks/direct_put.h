// What direct convolution does with finished sums, [row][column][filter] in scratch: bias,
// residual, activation, and the store into planes or into blocks of channels.
#pragma once
#include "direct_blocks.h"
#include "epilogue.h"
#include "transpose.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

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
// How the sums of one vector of filters leave: what all of its pixels share. Lanes past the last
// filter hold zero.
template <class T>
struct BlockExit {
  bool bounded, masked;
  Vec<T> low, high, bias;
  typename SimdType<T>::index kept;
};
template <class T>
CK_INLINE BlockExit<T> block_exit(const Problem& problem, const Epilogue& epilogue, int64_t first) {
  const Bounds<T> bounds = bounds_of<T>(epilogue);
  BlockExit<T> out;
  out.bounded = epilogue.activation != kIdentity;
  out.masked = problem.k - first < kLanes<T>;
  out.low = splat(bounds.low);
  out.high = splat(bounds.high);
  alignas(kVectorBytes) T bias[kLanes<T>] = {};
  for (int64_t i = 0; i < kLanes<T>; ++i) {
    const bool inside = first + i < problem.k;
    if (inside && epilogue.bias) bias[i] = static_cast<const T*>(epilogue.bias)[first + i];
    out.kept[i] = inside ? -1 : 0;
  }
  out.bias = load(bias);
  return out;
}
template <class T>
CK_INLINE Vec<T> leave(const BlockExit<T>& out, Vec<T> sum, const T* residual) {
  Vec<T> v = sum + out.bias;
  if (residual) v += load(residual);
  if (out.bounded) v = bounded<T>(out.low, out.high, v);
  if (out.masked) v = out.kept ? v : Vec<T>{};
  return v;
}
// Vectors of filters are vectors of y: width is a multiple of the lanes, and so is first.
template <class T>
CK_NOINLINE void put_vectors(const Problem& problem, const Operands& operands,
                             const Finished<T>& done) {
  const BandBlock& block = *done.block;
  const Epilogue& epilogue = operands.epilogue;
  const bool slow = epilogue.activation > kClip;
  for (int64_t v = 0; v < done.width; v += kLanes<T>) {
    BlockExit<T> out = block_exit<T>(problem, epilogue, done.first + v);
    if (slow) out.bounded = false;
    for (int64_t i = 0; i < block.rows; ++i) {
      const int64_t row = block.first_row + i * done.spacing;
      T* sums = done.sums + i * block.columns * done.width + v;
      T* y = static_cast<T*>(operands.y) + in_blocks(problem, problem.y, done.first + v) +
             row * problem.y.h + block.first_column * problem.y.w;
      const T* residual = static_cast<const T*>(epilogue.residual);
      if (residual)
        residual += in_blocks(problem, problem.residual, done.first + v) +
                    row * problem.residual.h + block.first_column * problem.residual.w;
      // Slow kinds take many values in one call.
      constexpr int64_t kMost = 32;
      alignas(kVectorBytes) T values[kMost * kLanes<T>];
      for (int64_t q = 0; q < block.columns; q += kMost) {
        const int64_t count = lesser(kMost, block.columns - q);
        for (int64_t j = 0; j < count; ++j, sums += done.width) {
          store(slow ? values + j * kLanes<T> : y, leave(out, load(sums), residual));
          if (!slow) y += problem.y.w;
          if (residual) residual += problem.residual.w;
        }
        if (!slow) continue;
        activate(epilogue.activation, epilogue.a, epilogue.b, values, count * kLanes<T>);
        for (int64_t j = 0; j < count; ++j, y += problem.y.w) {
          const Vec<T> value = load(values + j * kLanes<T>);
          store(y, out.masked ? (out.kept ? value : Vec<T>{}) : value);
        }
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
template <class T>
CK_INLINE bool vectors_fit(const Problem& problem) {
  const int64_t filters = problem.k / problem.groups;
  return problem.groups == 1 || (filters % kLanes<T> == 0 && problem.k % problem.block == 0);
}
template <class T>
CK_INLINE void put_blocks(const Problem& problem, const Operands& operands,
                          const Finished<T>& done) {
  vectors_fit<T>(problem) ? put_vectors(problem, operands, done)
                          : put_lanes(problem, operands, done);
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
