// Depthwise filters of any size and stride, over a copy of the band's input rows with their
// padding: one plane of columns per column modulo the stride, so that all loads are of stride one.
#pragma once
#include "depthwise_bands.h"
#include "gemm.h"

namespace convkit {
namespace CONVKIT_ISA {

// sum[p] += one input row, for the output rows p in [kLow, kHigh) that it reaches. w is the filter
// row of output row 0.
template <class T, int kVecs, int kLow, int kHigh>
CK_INLINE void add_to(Vec<T> (&sum)[kAnyRows][kVecs], const T* x, const T* w, int64_t count,
                      int64_t step, int64_t up) {
  w -= kLow * up;
  for (int64_t j = 0; j < count; ++j, ++x, w += step) {
    Vec<T> taken[kVecs];
    CK_UNROLL(2)
    for (int v = 0; v < kVecs; ++v) taken[v] = load(x + v * kLanes<T>);
    CK_UNROLL(8)
    for (int p = kLow; p < kHigh; ++p) {
      const Vec<T> weight = splat(w[(kLow - p) * up]);
      CK_UNROLL(2)
      for (int v = 0; v < kVecs; ++v) sum[p][v] += taken[v] * weight;
    }
  }
}
// Input row i of a phase, whose filter has `taps` rows, at least kAnyRows: the first rows reach
// only the first outputs, the last ones only the last.
template <class T, int kVecs, int kEdge = 1>
CK_INLINE void add_row(Vec<T> (&sum)[kAnyRows][kVecs], const T* x, const T* w, int64_t count,
                       int64_t step, int64_t up, int64_t i, int64_t taps) {
  if constexpr (kEdge < kAnyRows) {
    if (i == kEdge - 1) return add_to<T, kVecs, 0, kEdge>(sum, x, w, count, step, up);
    if (i == taps - 1 + kEdge) return add_to<T, kVecs, kEdge, kAnyRows>(sum, x, w, count, step, up);
    return add_row<T, kVecs, kEdge + 1>(sum, x, w, count, step, up, i, taps);
  } else {
    add_to<T, kVecs, 0, kAnyRows>(sum, x, w, count, step, up);
  }
}
// The same where the filter has fewer rows than the band.
template <class T, int kVecs, int kRow = 0>
CK_INLINE void add_few(Vec<T> (&sum)[kAnyRows][kVecs], const T* x, const T* w, int64_t count,
                       int64_t step, int64_t up, int64_t i, int64_t taps) {
  if constexpr (kRow < kAnyRows) {
    if (i >= kRow && i - kRow < taps) add_to<T, kVecs, kRow, kRow + 1>(sum, x, w, count, step, up);
    add_few<T, kVecs, kRow + 1>(sum, x, w, count, step, up, i, taps);
  }
}

// Finishes and stores one vector of each output row of the band.
template <class T>
CK_INLINE void store_column(const Problem& problem, const Operands& operands, const Band& band,
                            const Exit<T>& out, Vec<T> bias, int64_t column,
                            const Vec<T> (&sums)[kAnyRows]) {
  if (!out.plain) {
    Vec<T> copy[kAnyRows];
    CK_UNROLL(8)
    for (int i = 0; i < kAnyRows; ++i) copy[i] = sums[i];
    finish_vectors<T>(problem, operands, band, column, copy, 0, kLanes<T>);
    return;
  }
  const int64_t left = problem.q - column, count = left < kLanes<T> ? left : kLanes<T>;
  T* const y = y_of(problem, out, band) + column;
  const T* const residual = residual_of(problem, out, band);
  CK_UNROLL(8)
  for (int i = 0; i < kAnyRows; ++i) {
    if (i >= band.rows) break;
    Vec<T> v = sums[i] + bias;
    if (residual) v += load_first(residual + i * problem.residual.h + column, count);
    if (out.bounded) v = bounded<T>(out.low, out.high, v);
    store_first(y + i * problem.y.h, count, v);
  }
}

// kVecs vectors of each output row of the band, from column on. Filter rows and columns go by their
// place modulo the stride: within such a phase, input row i meets filter row i - p of output row p,
// and the next filter column the next column of a plane.
template <class T, int kVecs>
CK_NOINLINE void any_tile(const Problem& problem, const Operands& operands, const Band& band,
                          const Grid& grid, const T* copy, const T* weights, int64_t column) {
  Vec<T> sum[kAnyRows][kVecs], total[kAnyRows][kVecs];
  CK_UNROLL(8)
  for (int p = 0; p < kAnyRows; ++p) {
    CK_UNROLL(2)
    for (int v = 0; v < kVecs; ++v) sum[p][v] = total[p][v] = Vec<T>{};
  }
  const int64_t top = band.row * problem.stride_h - problem.pad_top, pitch = grid.pitch;
  const int64_t step = problem.stride_w,
                up = problem.stride_h *
                     problem.s;  // to the next tap; from an output row to the next
  int64_t chain = 0;             // products in the sums
  for (int64_t row_phase = 0; row_phase < problem.stride_h && row_phase < problem.r; ++row_phase)
    for (int64_t phase = 0; phase < step && phase < problem.s; ++phase) {
      const int64_t taps = (problem.r - row_phase + problem.stride_h - 1) / problem.stride_h;
      const int64_t columns = (problem.s - phase + step - 1) / step;
      for (int64_t done = 0; done < columns; done += kPartial) {
        const int64_t count = columns - done < kPartial ? columns - done : kPartial;
        for (int64_t i = 0; i < taps + band.rows - 1; ++i) {
          const int64_t row = row_phase + i * problem.stride_h;
          if (source_row(problem, top + row) < 0) continue;
          if (chain + count > kPartial) {
            CK_UNROLL(8)
            for (int p = 0; p < kAnyRows; ++p) {
              CK_UNROLL(2)
              for (int v = 0; v < kVecs; ++v) {
                total[p][v] += sum[p][v];
                sum[p][v] = Vec<T>{};
              }
            }
            chain = 0;
          }
          chain += count;
          const T* x = copy + row * pitch + phase * grid.plane + done + column;
          const T* w = weights + row * problem.s + phase + done * step;
          if (taps >= kAnyRows)
            add_row<T, kVecs>(sum, x, w, count, step, up, i, taps);
          else
            add_few<T, kVecs>(sum, x, w, count, step, up, i, taps);
        }
      }
    }
  const Exit<T> out = exit_of<T>(problem, operands);
  const Vec<T> bias = bias_of(out, band.filter);
  CK_UNROLL(2)
  for (int v = 0; v < kVecs; ++v) {
    Vec<T> sums[kAnyRows];
    CK_UNROLL(8)
    for (int p = 0; p < kAnyRows; ++p) sums[p] = total[p][v] + sum[p][v];
    store_column(problem, operands, band, out, bias, column + v * kLanes<T>, sums);
  }
}

template <class T>
CK_NOINLINE void any_run(const Problem& problem, int64_t begin, int64_t end,
                         const Operands& operands) {
  const Grid grid = grid_of<T>(problem);
  const T* x = static_cast<const T*>(operands.x);
  T* copy = static_cast<T*>(operands.scratch);
  const int64_t multiplier = problem.k / problem.c;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t filter = item / grid.bands, row = item % grid.bands * grid.rows;
    const Band band{filter, row, problem.p - row < grid.rows ? problem.p - row : grid.rows};
    copy_band(problem, x, filter / multiplier, row * problem.stride_h - problem.pad_top,
              input_rows(problem, band.rows), grid, copy);
    const T* weights = static_cast<const T*>(operands.packed) + filter * problem.r * problem.s;
    for (int64_t column = 0; column < problem.q;) {
      if (problem.q - column > kLanes<T>) {
        any_tile<T, kAnyVecs>(problem, operands, band, grid, copy, weights, column);
        column += kAnyVecs * kLanes<T>;
      } else {
        any_tile<T, 1>(problem, operands, band, grid, copy, weights, column);
        column += kLanes<T>;
      }
    }
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
