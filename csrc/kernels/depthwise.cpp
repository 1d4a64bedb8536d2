// y[k][p][q] = b[k] + sum over r, s of w[k][r][s] x[k / m][p u + r - pad][q v + s - pad],     m =
// k_count / c_count
//
// Columns fill the vectors. Every vector of x is used for all output rows of a band that its row
// reaches.
//
// Two ways, by the filter alone. Squares of 3 and 5 with stride 1 or 2 are unrolled, hold a band of
// output rows in registers and read x in place, the edges by masked loads. Any other filter runs
// over a copy of the band's rows with their padding, one plane of columns per column modulo the
// stride, so that all its loads are of stride one. Where x cannot be read in place (padding that
// repeats the image, columns that do not follow each other, no masked loads), the unrolled filters
// use a copy too.
#include "blocks/arena.h"
#include "blocks/edge_lanes.h"
#include "blocks/epilogue.h"
#include "blocks/gemm.h"
#include "blocks/window.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// ---- bands of rows ---------------------------------------------------------------------------

// Output rows in registers. Unrolled: 7 divides the sides of 7, 14, 28, 56 and 112 of the networks.
// Any filter: 2 vectors of each row, which share its weights.
constexpr int kUnrolledRows = 7, kAnyRows = kRegisters == 32 ? 7 : 4, kAnyVecs = 2;

CK_INLINE bool unrolled(const Problem& problem) {
  return problem.r == problem.s && (problem.r == 3 || problem.r == 5) &&
         problem.stride_h == problem.stride_w && problem.stride_h <= 2;
}

struct Grid {
  int64_t bands, rows;   // output rows of the largest band
  int64_t plane, pitch;  // elements of one plane of columns, of one row of a band
  int64_t planes;
};
template <class T>
CK_INLINE Grid grid_of(const Problem& problem) {
  const bool fixed = unrolled(problem);
  const int64_t most = fixed ? kUnrolledRows : kAnyRows, vecs = fixed ? 1 : kAnyVecs;
  Grid grid;
  grid.bands = (problem.p + most - 1) / most;
  grid.rows = (problem.p + grid.bands - 1) / grid.bands;
  const int64_t columns =
      (problem.q + vecs * kLanes<T> - 1) / (vecs * kLanes<T>)*(vecs * kLanes<T>);
  if (fixed) {
    grid.planes = 1;
    grid.plane = columns * problem.stride_w + problem.s + kLanes<T>;
  } else {
    grid.planes = problem.stride_w;
    grid.plane = columns + (problem.s + problem.stride_w - 1) / problem.stride_w;
  }
  grid.plane = (grid.plane + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  grid.pitch = grid.planes * grid.plane;
  return grid;
}
CK_INLINE int64_t input_rows(const Problem& problem, int64_t rows) {
  return (rows - 1) * problem.stride_h + problem.r;
}

template <class T>
Sizes sizes(const Problem& problem) {
  const Grid grid = grid_of<T>(problem);
  Arena packed = arena(nullptr), scratch = arena(nullptr);
  take<T>(packed, problem.k * problem.r * problem.s);
  take<T>(scratch, input_rows(problem, grid.rows) * grid.pitch);
  return {packed.used, 0, scratch.used};
}
template <class T>
int64_t items(const Problem& problem, int64_t) {
  return problem.k * grid_of<T>(problem).bands;
}
template <class T>
void prepare(const Problem& problem, const void* w, void* packed) {
  __builtin_memcpy(packed, w, size_t(problem.k * problem.r * problem.s) * sizeof(T));
}

// Input rows [top, top + count) of a channel, with their padding.
template <class T>
void copy_band(const Problem& problem, const T* x, int64_t channel, int64_t top, int64_t count,
               const Grid& grid, T* to) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < grid.planes; ++j)
      read_every(problem, x, channel, top + i, j - problem.pad_left, grid.planes, grid.plane,
                 to + i * grid.pitch + j * grid.plane);
}

// ---- stores ----------------------------------------------------------------------------------

// Output rows [row, row + rows) of one filter.
struct Band {
  int64_t filter, row, rows;
};
// How they leave the registers. A value of the loop that uses it: nothing here is read again after
// a store.
template <class T>
struct Exit {
  bool plain;  // whole vectors can go from registers to memory
  Vec<T> bias, low, high;
  T* y;  // the band's first element
  int64_t y_row;
  const T* residual;  // the same, or null
  int64_t residual_row;
};
template <class T>
CK_INLINE Exit<T> exit_of(const Problem& problem, const Operands& operands, const Band& band) {
  const Epilogue& epilogue = operands.epilogue;
  const Bounds<T> bounds = bounds_of<T>(epilogue);
  Exit<T> out;
  out.plain = bounds.any && problem.y.w == 1 && (!epilogue.residual || problem.residual.w == 1);
  out.bias = splat(epilogue.bias ? static_cast<const T*>(epilogue.bias)[band.filter] : T(0));
  out.low = splat(bounds.low);
  out.high = splat(bounds.high);
  out.y_row = problem.y.h;
  out.y = static_cast<T*>(operands.y) + band.filter * problem.y.c + band.row * problem.y.h;
  out.residual_row = problem.residual.h;
  out.residual = static_cast<const T*>(epilogue.residual);
  if (out.residual)
    out.residual += band.filter * problem.residual.c + band.row * problem.residual.h;
  return out;
}
// The general way, out of line so that the sums of the loops above it stay in registers.
template <class T>
CK_NOINLINE void finish_vectors(const Problem& problem, const Operands& operands, int64_t filter,
                                int64_t row, int64_t rows, int64_t column, const Vec<T>* sums) {
  const int64_t left = problem.q - column, count = left < kLanes<T> ? left : kLanes<T>;
  for (int64_t i = 0; i < rows; ++i) {
    alignas(kVectorBytes) T values[kLanes<T>];
    store(values, sums[i]);
    finish_row(problem, operands, filter, row + i, column, values, count);
  }
}
// Finishes and stores one vector of each output row of the band.
template <class T, int kRows>
CK_INLINE void store_column(const Problem& problem, const Operands& operands, const Band& band,
                            const Exit<T>& out, int64_t columns, int64_t column,
                            const Vec<T> (&sums)[kRows]) {
  if (!out.plain) {
    Vec<T> copy[kRows];
    CK_UNROLL(8)
    for (int i = 0; i < kRows; ++i) copy[i] = sums[i];
    finish_vectors<T>(problem, operands, band.filter, band.row, band.rows, column, copy);
    return;
  }
  const int64_t count = columns - column;
  if (count >= kLanes<T> && !out.residual) {
    CK_UNROLL(8)
    for (int i = 0; i < kRows; ++i)
      if (i < band.rows)
        store(out.y + i * out.y_row + column, bounded<T>(out.low, out.high, sums[i] + out.bias));
    return;
  }
  CK_UNROLL(8)
  for (int i = 0; i < kRows; ++i) {
    if (i >= band.rows) break;
    Vec<T> v = sums[i] + out.bias;
    T* y = out.y + i * out.y_row + column;
    const int64_t lanes = count < kLanes<T> ? count : kLanes<T>;
    if (out.residual) v += load_first(out.residual + i * out.residual_row + column, lanes);
    store_first(y, lanes, bounded<T>(out.low, out.high, v));
  }
}

// ---- unrolled filters ------------------------------------------------------------------------

template <class T, int kSize>
struct EdgeMasks {
  int64_t first;  // what they are for
  Mask<T> at[kSize][2];
};

// One vector of each output row of the band. rows[i] points to column `first` of input row i, null
// where it is padding or not needed; weights are spread over vectors.
template <class T, int kSize, int kStride, bool kMasked>
CK_INLINE void unrolled_tile(const T* const* rows, int64_t first, const Vec<T>* weights,
                             const EdgeMasks<T, kSize>& masks, Vec<T> (&sum)[kUnrolledRows]) {
  CK_UNROLL(8)
  for (int i = 0; i < kUnrolledRows; ++i) sum[i] = Vec<T>{};
  CK_UNROLL(32)
  for (int i = 0; i < (kUnrolledRows - 1) * kStride + kSize; ++i) {
    const T* row = rows[i];
    if (!row) continue;
    row += first;
    // Stride 1: a load for each tap. Stride 2: a pair of loads for every second tap, shuffled
    // apart.
    Vec<T> taps[kSize];
    CK_UNROLL(8)
    for (int s = 0; s < kSize; s += kStride) {
      Vec<T> part[2];
      CK_UNROLL(2)
      for (int j = 0; j < kStride; ++j) {
        if constexpr (kMasked)
          part[j] = load_lanes(row + s + j * kLanes<T>, masks.at[s][j]);
        else
          part[j] = load(row + s + j * kLanes<T>);
      }
      if constexpr (kStride == 1) {
        taps[s] = part[0];
      } else {
        taps[s] = even_lanes<T>(part[0], part[1]);
        if (s + 1 < kSize) taps[s + 1] = odd_lanes<T>(part[0], part[1]);
      }
    }
    CK_UNROLL(8)
    for (int s = 0; s < kSize; ++s) {
      CK_UNROLL(8)
      for (int p = 0; p < kUnrolledRows; ++p) {
        const int r = i - p * kStride;
        if (r >= 0 && r < kSize) sum[p] += taps[s] * weights[r * kSize + s];
      }
    }
  }
}

template <class T, int kSize, int kStride>
CK_NOINLINE void unrolled_run(const Problem& problem, int64_t begin, int64_t end,
                              const Operands& operands) {
  const Grid grid = grid_of<T>(problem);
  const T* const x = static_cast<const T*>(operands.x);
  T* const copy = static_cast<T*>(operands.scratch);
  const bool zero_sides =
      problem.padding_mode == kZeros || (problem.pad_left == 0 && problem.pad_right == 0);
  const bool copies = !kMaskedLoads || problem.x.w != 1 || !zero_sides;
  const int64_t multiplier = problem.k / problem.c, columns = problem.q, width = problem.w,
                left = problem.pad_left;
  constexpr int64_t reach = (kSize - 1) / kStride * kStride +
                            kStride * kLanes<T>;  // columns from the first load to the last
  EdgeMasks<T, kSize> masks{};
  masks.first = INT64_MAX;
  int64_t filter = begin / grid.bands, part = begin % grid.bands;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t channel = multiplier == 1 ? filter : filter / multiplier, row = part * grid.rows;
    const Band band{filter, row, problem.p - row < grid.rows ? problem.p - row : grid.rows};
    const Exit<T> out = exit_of<T>(problem, operands, band);
    const int64_t top = row * kStride - problem.pad_top, count = input_rows(problem, band.rows);
    if (copies) copy_band(problem, x, channel, top, count, grid, copy);
    constexpr int kInputRows = (kUnrolledRows - 1) * kStride + kSize;
    const T* rows[kInputRows];
    for (int64_t i = 0; i < kInputRows; ++i) rows[i] = nullptr;
    const T* first_row = copies ? copy + left : x + channel * problem.x.c + top * problem.x.h;
    const int64_t row_pitch = copies ? grid.pitch : problem.x.h;
    const int64_t inside = top < 0 ? -top : 0,
                  outside = problem.h - top < count ? problem.h - top : count;
    for (int64_t i = inside; i < outside; ++i) rows[i] = first_row + i * row_pitch;
    if (problem.padding_mode != kZeros && (inside > 0 || outside < count))
      for (int64_t i = 0; i < count; ++i)
        rows[i] = copies ? first_row + i * row_pitch
                         : x + channel * problem.x.c + source_row(problem, top + i) * problem.x.h;
    const T* w = static_cast<const T*>(operands.packed) + filter * kSize * kSize;
    Vec<T> weights[kSize * kSize];
    CK_UNROLL(32)
    for (int i = 0; i < kSize * kSize; ++i) weights[i] = splat(w[i]);
    for (int64_t column = 0; column < columns; column += kLanes<T>) {
      const int64_t first = column * kStride - left;
      Vec<T> sum[kUnrolledRows];
      bool edge = false;
      if constexpr (kMaskedLoads) {
        edge = !copies && (first < 0 || first + reach > width);
        if (edge) {
          if (masks.first != first) {
            CK_UNROLL(8)
            for (int s = 0; s < kSize; s += kStride) {
              CK_UNROLL(2)
              for (int j = 0; j < kStride; ++j)
                masks.at[s][j] = lanes_inside<T>(first + s + j * kLanes<T>, width);
            }
            masks.first = first;
          }
          unrolled_tile<T, kSize, kStride, true>(rows, first, weights, masks, sum);
        }
      }
      if (!edge) unrolled_tile<T, kSize, kStride, false>(rows, first, weights, masks, sum);
      store_column(problem, operands, band, out, columns, column, sum);
    }
    if (++part == grid.bands) {
      part = 0;
      ++filter;
    }
  }
}

// ---- any filter ------------------------------------------------------------------------------

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
  const Exit<T> out = exit_of<T>(problem, operands, band);
  CK_UNROLL(2)
  for (int v = 0; v < kVecs; ++v) {
    Vec<T> sums[kAnyRows];
    CK_UNROLL(8)
    for (int p = 0; p < kAnyRows; ++p) sums[p] = total[p][v] + sum[p][v];
    store_column(problem, operands, band, out, problem.q, column + v * kLanes<T>, sums);
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

// ---- the table -------------------------------------------------------------------------------

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  if (!unrolled(problem)) return any_run<T>(problem, begin, end, operands);
  if (problem.r == 3 && problem.stride_h == 1)
    return unrolled_run<T, 3, 1>(problem, begin, end, operands);
  if (problem.r == 3) return unrolled_run<T, 3, 2>(problem, begin, end, operands);
  if (problem.stride_h == 1) return unrolled_run<T, 5, 1>(problem, begin, end, operands);
  return unrolled_run<T, 5, 2>(problem, begin, end, operands);
}
bool always(const Problem&) { return true; }
const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items<float>, prepare<float>,
     run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items<double>, prepare<double>,
     run<double>},
};

}  // namespace

extern const Variants depthwise;
const Variants depthwise = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
