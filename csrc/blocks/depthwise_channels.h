// Depthwise filters over an image whose channels follow each other (a view of NHWC memory):
// channels fill the vectors on the way in, and a square of channels times pixels is turned in
// registers on the way out, where columns fill them. A copy of one channel would touch the lines of
// all.
//
// Sums take their products in the order of the other ways, so that the strides of x change no bit.
#pragma once
#include "depthwise_bands.h"
#include "transpose.h"

namespace convkit {
namespace CONVKIT_ISA {

constexpr int64_t kMostTaps = 256, kMostColumns = 256 + 2 * 16;

// Whether the channels of x follow each other, and a sum's products are one chain.
template <class T>
CK_INLINE bool channels_follow(const Problem& problem) {
  const bool unit = problem.stride_h == 1 && problem.stride_w == 1;
  return problem.x.c == 1 && problem.x.w != 1 && problem.k == problem.c && problem.c > 1 &&
         (way_of<T>(problem) != Way::kAny || (unit && problem.r * problem.s <= kMostTaps));
}

// kPixels outputs of one row: sum[i] over the filter's rows and columns, channels in the lanes.
// columns[j]: where column j of their window lies in a row of x, or -1 for zeros.
template <class T, int kPixels, bool kAll>
CK_INLINE void sum_pixels(const Problem& problem, const T* x, int64_t top, const int64_t* columns,
                          const Vec<T>* weights, int64_t channels, Vec<T> (&sum)[kLanes<T>]) {
  alignas(kVectorBytes) static const T zeros[kLanes<T>] = {};
  const T* at[kMostColumns];
  const int64_t step = problem.stride_w, count = (kPixels - 1) * step + problem.s;
  Vec<T> total[kPixels];
  CK_UNROLL(16)
  for (int i = 0; i < kPixels; ++i) total[i] = Vec<T>{};
  for (int64_t r = 0; r < problem.r; ++r) {
    const int64_t row = source_row(problem, top + r);
    if (row < 0) continue;
    const T* from = x + row * problem.x.h;
    for (int64_t j = 0; j < count; ++j) at[j] = columns[j] < 0 ? zeros : from + columns[j];
    for (int64_t s = 0; s < problem.s; ++s) {
      const Vec<T> weight = weights[r * problem.s + s];
      const T* const* pixel = at + s;
      CK_UNROLL(16)
      for (int i = 0; i < kPixels; ++i, pixel += step)
        total[i] += (kAll ? load(*pixel) : load_first(*pixel, channels)) * weight;
    }
  }
  CK_UNROLL(16)
  for (int i = 0; i < kLanes<T>; ++i) sum[i] = i < kPixels ? total[i] : Vec<T>{};
}
// The same for a square filter that the compiler knows: every pixel is loaded once for all the
// outputs of the row that it reaches.
template <class T, int kPixels, bool kAll, int kSize, int kStride, bool kInside>
CK_INLINE void sum_pixels_of(const Problem& problem, const T* x, int64_t top,
                             const int64_t* columns, const Vec<T>* weights, int64_t channels,
                             Vec<T> (&sum)[kLanes<T>]) {
  alignas(kVectorBytes) static const T zeros[kLanes<T>] = {};
  Vec<T> total[kPixels];
  CK_UNROLL(16)
  for (int i = 0; i < kPixels; ++i) total[i] = Vec<T>{};
  for (int64_t r = 0; r < kSize; ++r, weights += kSize) {
    const int64_t row = source_row(problem, top + r);
    if (row < 0) continue;
    const T *from = x + row * problem.x.h, *next = from + columns[0];
    CK_UNROLL(40)
    for (int j = 0; j < (kPixels - 1) * kStride + kSize; ++j) {
      const T* at = kInside ? next : columns[j] < 0 ? zeros : from + columns[j];
      next += problem.x.w;
      const Vec<T> pixel = kAll ? load(at) : load_first(at, channels);
      CK_UNROLL(8)
      for (int s = 0; s < kSize; ++s)
        if ((j - s) % kStride == 0 && j >= s && (j - s) / kStride < kPixels)
          total[(j - s) / kStride] += pixel * weights[s];
    }
  }
  CK_UNROLL(16)
  for (int i = 0; i < kLanes<T>; ++i) sum[i] = i < kPixels ? total[i] : Vec<T>{};
}

// What computes a square of outputs and turns it: half of the pixels where no more are wanted.
template <class T>
using Square = void (*)(const Problem&, const T* x, int64_t top, int64_t pixels,
                        const int64_t* columns, const Vec<T>* weights, int64_t channels,
                        Vec<T> (&sum)[kLanes<T>]);
template <class T, bool kAll, int kSize, int kStride>
CK_NOINLINE void sum_square(const Problem& problem, const T* x, int64_t top, int64_t pixels,
                            const int64_t* columns, const Vec<T>* weights, int64_t channels,
                            Vec<T> (&sum)[kLanes<T>]) {
  constexpr int kHalf = kLanes<T> / 2;
  if constexpr (kSize == 0) {
    if (pixels > kHalf)
      sum_pixels<T, kLanes<T>, kAll>(problem, x, top, columns, weights, channels, sum);
    else
      sum_pixels<T, kHalf, kAll>(problem, x, top, columns, weights, channels, sum);
  } else {
    const int64_t last = (kLanes<T> - 1) * kStride + kSize - 1;
    const bool inside = columns[0] >= 0 && columns[last] == columns[0] + last * problem.x.w;
    if (kAll && inside)
      sum_pixels_of<T, kLanes<T>, true, kSize, kStride, true>(problem, x, top, columns, weights,
                                                              channels, sum);
    else if (pixels > kHalf)
      sum_pixels_of<T, kLanes<T>, kAll, kSize, kStride, false>(problem, x, top, columns, weights,
                                                               channels, sum);
    else
      sum_pixels_of<T, kHalf, kAll, kSize, kStride, false>(problem, x, top, columns, weights,
                                                           channels, sum);
  }
  transpose<T>(sum);
}
template <class T, bool kAll>
CK_INLINE Square<T> square_for(const Problem& problem) {
  if (way_of<T>(problem) == Way::kAny || problem.r == 7) return sum_square<T, kAll, 0, 0>;
  if (problem.r == 3)
    return problem.stride_h == 1 ? sum_square<T, kAll, 3, 1> : sum_square<T, kAll, 3, 2>;
  return problem.stride_h == 1 ? sum_square<T, kAll, 5, 1> : sum_square<T, kAll, 5, 2>;
}

// Units are bands of one channel, the channels of a vector innermost: a range takes from each
// square the channels that are its own. packed: the weights as they are.
template <class T>
CK_NOINLINE void channels_run(const Problem& problem, int64_t begin, int64_t end,
                              const Operands& operands, const T* packed) {
  const Grid grid = grid_of<T>(problem);
  const Exit<T> out = exit_of<T>(problem, operands);
  const int64_t taps = problem.r * problem.s;
  Vec<T> weights[kMostTaps];
  int64_t columns[kMostColumns];
  int64_t loaded = -1;
  for (int64_t unit = begin; unit < end;) {
    const int64_t part = unit / problem.c, channel = unit % problem.c;
    const int64_t first = channel / kLanes<T> * kLanes<T>, low = channel - first;
    const int64_t channels = problem.c - first < kLanes<T> ? problem.c - first : kLanes<T>;
    const int64_t high = channels - low < end - unit ? channels : low + end - unit;
    unit += high - low;
    if (loaded != first) {
      loaded = first;
      for (int64_t i = 0; i < taps; ++i) {
        alignas(kVectorBytes) T lanes[kLanes<T>] = {};
        for (int64_t c = 0; c < channels; ++c) lanes[c] = packed[(first + c) * taps + i];
        weights[i] = load(lanes);
      }
    }
    const T* x = static_cast<const T*>(operands.x) + first;
    const Rows rows = rows_of(problem, grid, first, part);
    const Square<T> square =
        channels == kLanes<T> ? square_for<T, true>(problem) : square_for<T, false>(problem);
    for (int64_t q = 0; q < problem.q; q += kLanes<T>) {
      const int64_t pixels = problem.q - q < kLanes<T> ? problem.q - q : kLanes<T>;
      for (int64_t j = 0; j < (kLanes<T> - 1) * problem.stride_w + problem.s; ++j) {
        const int64_t column = source_column(problem, q * problem.stride_w - problem.pad_left + j);
        columns[j] = column < 0 ? -1 : column * problem.x.w;
      }
      for (int64_t i = 0; i < rows.band.rows; ++i) {
        const int64_t row = rows.band.row + i, top = rows.top + i * problem.stride_h;
        Vec<T> sum[kLanes<T>];
        square(problem, x, top, pixels, columns, weights, channels, sum);
        for (int64_t c = low; c < high; ++c) {
          const int64_t filter = first + c;
          if (!out.plain) {
            alignas(kVectorBytes) T values[kLanes<T>];
            store(values, sum[c]);
            finish_row(problem, operands, filter, row, q, values, pixels);
            continue;
          }
          const Band band{filter, row, 1};
          const T* residual = residual_of(problem, out, band);
          Vec<T> v = sum[c] + bias_of(out, filter);
          if (residual) v += load_first(residual + q, pixels);
          if (out.bounded) v = bounded<T>(out.low, out.high, v);
          store_first(y_of(problem, out, band) + q, pixels, v);
        }
      }
    }
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
