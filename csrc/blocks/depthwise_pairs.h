// The filters of depthwise_strips.h on images so narrow that an output row takes at most half a
// vector (7x7 with AVX-512): two filters share each vector. A row of x is loaded once; its taps are
// lanes picked from it, so that padding is a lane that holds zero.
#pragma once
#include "depthwise_strips.h"

namespace convkit {
namespace CONVKIT_ISA {

// Elements of copy_rows for both filters of a pair.
CK_INLINE int64_t pair_copy(const Problem& problem, const Grid& grid) {
  return 2 * input_rows(problem, grid.rows) * problem.w;
}

#if defined(__AVX512F__)

// The rows [low, high) of a channel side by side, for columns that do not follow each other.
template <class T>
CK_NOINLINE void copy_rows(const Problem& problem, const T* x, int64_t channel, const Rows& rows,
                           T* to) {
  for (int64_t i = rows.low; i < rows.high; ++i)
    read_every(problem, x, channel, rows.top + i, 0, 1, problem.w, to + i * problem.w);
}
// a, b: the rows of the two filters. Tap s is pick[s] of them: at stride 1 both stand in the first
// vector and the second is zero, at stride 2 each has its own.
template <class T, int kSize, int kStride>
struct PairReader {
  const T *a, *b;
  int64_t pitch;
  Mask<T> mask;
  typename SimdType<T>::index pick[kSize];
  __attribute__((always_inline)) void next() {
    a = next_row(a, pitch);
    b = next_row(b, pitch);
  }
  __attribute__((always_inline)) void read(Vec<T> (&taps)[kSize]) const {
    Vec<T> first, second{};
    if constexpr (kStride == 1) {
      first = load_halves(a, b, mask);
    } else {
      first = load_lanes(a, mask);
      second = load_lanes(b, mask);
    }
    CK_UNROLL(8)
    for (int s = 0; s < kSize; ++s) taps[s] = pick_lanes(first, pick[s], second);
  }
};

// Items are bands of pairs of filters. packed: the weights as they are.
template <class T, int kSize, int kStride>
CK_NOINLINE void pairs_run(const Problem& problem, int64_t begin, int64_t end,
                           const Operands& operands, const T* packed) {
  const Grid grid = grid_of<T>(problem);
  const Exit<T> out = exit_of<T>(problem, operands);
  const T* const x = static_cast<const T*>(operands.x);
  T* const copy = static_cast<T*>(operands.scratch);
  const Access access = access_of(problem);
  const bool copied = access == Access::kCopied, turned = access == Access::kTurned;
  const int64_t multiplier = problem.k / problem.c;
  PairReader<T, kSize, kStride> reader;
  reader.mask = lanes_inside<T>(0, problem.w);
  // Tap s of lane i: column i * stride + s - pad_left of the lane's filter. Stride 1: both filters'
  // rows stand in the first vector, the second is zero; stride 2: one vector each, of which the
  // first lane past the row is zero.
  for (int s = 0; s < kSize; ++s)
    for (int i = 0; i < kLanes<T>; ++i) {
      constexpr int half = kLanes<T> / 2;
      const int64_t column = i % half * kStride + s - problem.pad_left;
      const bool inside = column >= 0 && column < problem.w;
      if (kStride == 1)
        reader.pick[s][i] = inside ? i / half * half + column : kLanes<T>;
      else
        reader.pick[s][i] = inside ? i / half * kLanes<T> + column : problem.w;
    }
  const Mask<T> mask = lanes_inside<T>(0, problem.q);
  Vec<T> aside[kMostRows];
  Place place = place_of(problem, grid, turned, begin);
  for (int64_t item = begin; item < end; ++item, next_place(problem, grid, turned, place)) {
    const int64_t filter = place.filter;
    const bool alone = filter + 1 == problem.k;
    const int64_t second = alone ? filter : filter + 1;
    const Rows rows = rows_of(problem, grid, filter, place.part);
    const Band other{second, rows.band.row, rows.band.rows};
    const int64_t channels[2] = {filter / multiplier, second / multiplier};
    Source<T> source{copy, problem.w, rows.count * problem.w, 0};
    if (copied) {
      for (int i = 0; i < 2; ++i)
        copy_rows(problem, x, channels[i], rows, copy + i * source.channel);
      reader.a = copy;
      reader.b = copy + source.channel;
    } else {
      source = source_of(problem, x, grid, turned, place, rows, item == begin, copy);
      reader.a = source.x + (channels[0] - source.origin) * source.channel;
      reader.b = source.x + (channels[1] - source.origin) * source.channel;
    }
    reader.pitch = source.row;
    Vec<T> weights[kSize * kSize];
    CK_UNROLL(64)
    for (int i = 0; i < kSize * kSize; ++i)
      weights[i] = join_halves(splat(packed[filter * kSize * kSize + i]),
                               splat(packed[second * kSize * kSize + i]));
    if (!out.plain) {
      Target<T> to = put_aside<T>(aside);
      run_down<T, kSize, kStride>(
          rows, weights, reader,
          [&](Vec<T> sum) __attribute__((always_inline)) { put(out, to, kLanes<T>, sum); });
      const int64_t half = kLanes<T> / 2;
      finish_vectors<T>(problem, operands, rows.band, 0, aside, 0, half);
      if (!alone) finish_vectors<T>(problem, operands, other, 0, aside, half, half);
      continue;
    }
    const Vec<T> bias = join_halves(bias_of(out, filter), bias_of(out, second));
    const Mask<T> upper = alone ? 0 : mask;
    T *y = y_of(problem, out, rows.band), *y2 = y_of(problem, out, other);
    const T *residual = residual_of(problem, out, rows.band),
            *residual2 = residual_of(problem, out, other);
    run_down<T, kSize, kStride>(rows, weights, reader,
                                [&](Vec<T> sum) __attribute__((always_inline)) {
                                  Vec<T> v = sum + bias;
                                  if (residual) {
                                    v += load_halves(residual, residual2, mask);
                                    residual = next_row(residual, problem.residual.h);
                                    residual2 = next_row(residual2, problem.residual.h);
                                  }
                                  if (out.bounded) v = bounded<T>(out.low, out.high, v);
                                  store_lower(y, mask, v);
                                  store_upper(y2, upper, v);
                                  y = next_row(y, problem.y.h);
                                  y2 = next_row(y2, problem.y.h);
                                });
  }
}

#else

template <class T, int kSize, int kStride>
CK_INLINE void pairs_run(const Problem&, int64_t, int64_t, const Operands&, const T*) {}

#endif

}  // namespace CONVKIT_ISA
}  // namespace convkit
