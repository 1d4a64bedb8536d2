// y[k][p][q] = b[k] + sum over r, s of w[k][r][s] x[k / m][p u + r - pad][q v + s - pad],     m = k_count / c_count
//
// Columns fill the vectors. Every vector of x is used for all output rows of a band that its row reaches.
//
// Two ways, by the filter alone. Squares of 3 and 5 with stride 1 or 2 are unrolled, hold a band of output rows in registers and
// read x in place, the edges by masked loads. Any other filter runs over a copy of the band's rows with their padding, one plane
// of columns per column modulo the stride, so that all its loads are of stride one. Where x cannot be read in place (padding
// that repeats the image, columns that do not follow each other, no masked loads), the unrolled filters use a copy too.
#include "blocks/arena.h"
#include "blocks/epilogue.h"
#include "blocks/window.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// ---- masked loads at the edges of a row -------------------------------------------------------------------------------

#if defined(__AVX512F__)
constexpr bool kMaskedLoads = true;
template <class T>
using Mask = uint32_t;
// The lanes i with 0 <= column + i < width.
template <class T>
CK_INLINE Mask<T> lanes_inside(int64_t column, int64_t width) {
  const int64_t left = column < 0 ? (-column < kLanes<T> ? -column : kLanes<T>) : 0;
  const int64_t right = width < column ? 0 : width - column < kLanes<T> ? width - column : kLanes<T>;
  return ((1u << right) - 1) & ~((1u << left) - 1);
}
CK_INLINE Vec<float> load_lanes(const float* from, Mask<float> mask) {
  return Vec<float>(_mm512_maskz_loadu_ps(__mmask16(mask), from));
}
CK_INLINE Vec<double> load_lanes(const double* from, Mask<double> mask) {
  return Vec<double>(_mm512_maskz_loadu_pd(__mmask8(mask), from));
}
#elif defined(__AVX2__)
constexpr bool kMaskedLoads = true;
template <class T>
using Mask = __m256i;
template <class T>
CK_INLINE Mask<T> lanes_inside(int64_t column, int64_t width) {
  const int64_t left = column < 0 ? (-column < kLanes<T> ? -column : kLanes<T>) : 0;
  const int64_t right = width < column ? 0 : width - column < kLanes<T> ? width - column : kLanes<T>;
  return _mm256_andnot_si256(first_lanes<T>(left), first_lanes<T>(right));
}
CK_INLINE Vec<float> load_lanes(const float* from, Mask<float> mask) {
  return Vec<float>(_mm256_maskload_ps(from, mask));
}
CK_INLINE Vec<double> load_lanes(const double* from, Mask<double> mask) {
  return Vec<double>(_mm256_maskload_pd(from, mask));
}
#else
constexpr bool kMaskedLoads = false;
template <class T>
using Mask = int;
template <class T>
CK_INLINE Mask<T> lanes_inside(int64_t, int64_t) {
  return 0;
}
template <class T>
CK_INLINE Vec<T> load_lanes(const T*, Mask<T>) {
  return Vec<T>{};
}
#endif

// ---- bands of rows ----------------------------------------------------------------------------------------------------

// Output rows in registers. Unrolled: 7 divides the sides of 7, 14, 28, 56 and 112 of the networks. Any filter: 4 rows x 2
// vectors, 8 sums that share each weight and each vector of x.
constexpr int kUnrolledRows = 7, kAnyRows = 4, kAnyVecs = 2;
constexpr int kMostUnrolledRows = (kUnrolledRows - 1) * 2 + 5;  // of input: stride 2, filter 5
constexpr int64_t kPartial = 256;  // longest chain of multiply-adds: longer ones lose accuracy

CK_INLINE bool unrolled(const Problem& problem) {
  return problem.r == problem.s && (problem.r == 3 || problem.r == 5) && problem.stride_h == problem.stride_w &&
         problem.stride_h <= 2;
}

struct Grid {
  int64_t bands, rows;     // output rows of the largest band
  int64_t plane, pitch;    // elements of one plane of columns, of one row of a band
  int64_t planes;
};
template <class T>
CK_INLINE Grid grid_of(const Problem& problem) {
  const bool fixed = unrolled(problem);
  const int64_t most = fixed ? kUnrolledRows : kAnyRows, vecs = fixed ? 1 : kAnyVecs;
  Grid grid;
  grid.bands = (problem.p + most - 1) / most;
  grid.rows = (problem.p + grid.bands - 1) / grid.bands;
  const int64_t columns = (problem.q + vecs * kLanes<T> - 1) / (vecs * kLanes<T>) * (vecs * kLanes<T>);
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
CK_INLINE int64_t input_rows(const Problem& problem, int64_t rows) { return (rows - 1) * problem.stride_h + problem.r; }

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

// Output rows [row, row + rows) of one filter.
template <class T>
struct Band {
  const Problem& problem;
  const Operands& operands;
  Bounds<T> bounds;
  bool plain;  // whole vectors can go from registers to memory
  int64_t filter, row, rows;
  const T* weights;
};

// Finishes and stores one vector of an output row.
template <class T>
CK_INLINE void store_vector(const Band<T>& band, int64_t i, int64_t column, Vec<T> sum) {
  const Problem& problem = band.problem;
  const int64_t left = problem.q - column, count = left < kLanes<T> ? left : kLanes<T>;
  if (!band.plain) {
    alignas(kVectorBytes) T sums[kLanes<T>];
    store(sums, sum);
    finish_row(problem, band.operands, band.filter, band.row + i, column, sums, count);
    return;
  }
  const Epilogue& epilogue = band.operands.epilogue;
  Vec<T> v = sum + splat(epilogue.bias ? static_cast<const T*>(epilogue.bias)[band.filter] : T(0));
  T* y = static_cast<T*>(band.operands.y) + band.filter * problem.y.c + (band.row + i) * problem.y.h + column;
  const T* residual = static_cast<const T*>(epilogue.residual);
  if (residual) residual += band.filter * problem.residual.c + (band.row + i) * problem.residual.h + column;
  if (count == kLanes<T>) {
    if (residual) v += load(residual);
    store(y, bounded(band.bounds, v));
  } else {
    if (residual) v += load_first(residual, count);
    store_first(y, count, bounded(band.bounds, v));
  }
}

// ---- unrolled filters -------------------------------------------------------------------------------------------------

// One vector of each output row of the band. rows[i] points to column 0 of input row i, null where it is padding or not needed.
// `first` is the column of x under the first tap of the first lane.
template <class T, int kSize, int kStride, bool kMasked>
CK_INLINE void unrolled_tile(const Band<T>& band, const T* const* rows, const Vec<T>* weights, int64_t first,
                             int64_t column) {
  Vec<T> sum[kUnrolledRows];
  CK_UNROLL(8)
  for (int i = 0; i < kUnrolledRows; ++i) sum[i] = Vec<T>{};
  // The loads that a row takes: at offset j for stride 1; for stride 2 a pair at every second offset, shuffled apart.
  Mask<T> masks[kSize][2];
  if constexpr (kMasked) {
    CK_UNROLL(8)
    for (int s = 0; s < kSize; s += kStride)
      CK_UNROLL(2)
      for (int j = 0; j < kStride; ++j) masks[s][j] = lanes_inside<T>(first + s + j * kLanes<T>, band.problem.w);
  }
  CK_UNROLL(32)
  for (int i = 0; i < (kUnrolledRows - 1) * kStride + kSize; ++i) {
    const T* row = rows[i];
    if (!row) continue;
    row += first;
    Vec<T> taps[kSize];
    CK_UNROLL(8)
    for (int s = 0; s < kSize; s += kStride) {
      Vec<T> part[2];
      CK_UNROLL(2)
      for (int j = 0; j < kStride; ++j) {
        if constexpr (kMasked)
          part[j] = load_lanes(row + s + j * kLanes<T>, masks[s][j]);
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
    for (int s = 0; s < kSize; ++s)
      CK_UNROLL(8)
      for (int p = 0; p < kUnrolledRows; ++p) {
        const int r = i - p * kStride;
        if (r >= 0 && r < kSize) sum[p] += taps[s] * weights[r * kSize + s];
      }
  }
  CK_UNROLL(8)
  for (int i = 0; i < kUnrolledRows; ++i)
    if (i < band.rows) store_vector(band, i, column, sum[i]);
}

template <class T, int kSize, int kStride>
CK_NOINLINE void unrolled_band(const Band<T>& band, const T* const* rows, bool copied) {
  const Problem& problem = band.problem;
  Vec<T> weights[kSize * kSize];
  CK_UNROLL(32)
  for (int i = 0; i < kSize * kSize; ++i) weights[i] = splat(band.weights[i]);
  constexpr int64_t reach = (kSize - 1) / kStride * kStride + kStride * kLanes<T>;  // columns from the first load to the last
  for (int64_t column = 0; column < problem.q; column += kLanes<T>) {
    const int64_t first = column * kStride - problem.pad_left;
    if constexpr (kMaskedLoads)
      if (!copied && (first < 0 || first + reach > problem.w)) {
        unrolled_tile<T, kSize, kStride, true>(band, rows, weights, first, column);
        continue;
      }
    unrolled_tile<T, kSize, kStride, false>(band, rows, weights, first, column);
  }
}

// ---- any filter -------------------------------------------------------------------------------------------------------

template <class T, int kVecs>
CK_INLINE void add_taps(Vec<T> (&sum)[kVecs], const T* x, const T* w, int64_t count, int64_t planes, int64_t plane,
                        int64_t s) {
  for (int64_t j = 0; j < count; ++j, ++s) {
    const T* from = x + s % planes * plane + s / planes;
    const Vec<T> weight = splat(w[s]);
    CK_UNROLL(2)
    for (int v = 0; v < kVecs; ++v) sum[v] += load(from + v * kLanes<T>) * weight;
  }
}

// kVecs vectors of each output row of the band, from column on. The rows of x go by their row modulo the stride: within such a
// phase, input row i meets filter row i - p of output row p.
template <class T, int kVecs>
CK_NOINLINE void any_tile(const Band<T>& band, const Grid& grid, const T* const copy, int64_t column) {
  const Problem& problem = band.problem;
  Vec<T> sum[kAnyRows][kVecs], total[kAnyRows][kVecs];
  CK_UNROLL(8)
  for (int p = 0; p < kAnyRows; ++p)
    CK_UNROLL(2)
    for (int v = 0; v < kVecs; ++v) sum[p][v] = total[p][v] = Vec<T>{};
  const int64_t top = band.row * problem.stride_h - problem.pad_top;
  int64_t chain = 0;
  for (int64_t phase = 0; phase < problem.stride_h && phase < problem.r; ++phase) {
    const int64_t taps = (problem.r - phase + problem.stride_h - 1) / problem.stride_h;
    for (int64_t s = 0; s < problem.s; s += kPartial) {
      const int64_t columns = problem.s - s < kPartial ? problem.s - s : kPartial;
      for (int64_t i = 0; i < taps + band.rows - 1; ++i) {
        const int64_t row = phase + i * problem.stride_h;
        if (source_row(problem, top + row) < 0) continue;
        if (chain + columns > kPartial) {
          CK_UNROLL(8)
          for (int p = 0; p < kAnyRows; ++p)
            CK_UNROLL(2)
            for (int v = 0; v < kVecs; ++v) {
              total[p][v] += sum[p][v];
              sum[p][v] = Vec<T>{};
            }
          chain = 0;
        }
        chain += columns;
        const T* x = copy + row * grid.pitch + column;
        const T* w = band.weights + row * problem.s;
        const int64_t up = problem.stride_h * problem.s;  // one output row further down: one filter row less
        if (i >= kAnyRows - 1 && i < taps) {
          int64_t plane = s % grid.planes, at = plane * grid.plane + s / grid.planes;
          for (int64_t j = s; j < s + columns; ++j) {
            Vec<T> taken[kVecs];
            CK_UNROLL(2)
            for (int v = 0; v < kVecs; ++v) taken[v] = load(x + at + v * kLanes<T>);
            CK_UNROLL(8)
            for (int p = 0; p < kAnyRows; ++p) {
              const Vec<T> weight = splat(w[j - p * up]);
              CK_UNROLL(2)
              for (int v = 0; v < kVecs; ++v) sum[p][v] += taken[v] * weight;
            }
            at += grid.plane;
            if (++plane == grid.planes) {
              plane = 0;
              at -= grid.pitch - 1;
            }
          }
        } else {
          CK_UNROLL(8)
          for (int p = 0; p < kAnyRows; ++p)
            if (i >= p && i - p < taps) add_taps<T, kVecs>(sum[p], x, w - p * up, columns, grid.planes, grid.plane, s);
        }
      }
    }
  }
  CK_UNROLL(8)
  for (int p = 0; p < kAnyRows; ++p)
    CK_UNROLL(2)
    for (int v = 0; v < kVecs; ++v)
      if (p < band.rows && column + v * kLanes<T> < problem.q)
        store_vector(band, p, column + v * kLanes<T>, total[p][v] + sum[p][v]);
}

template <class T>
void any_band(const Band<T>& band, const Grid& grid, const T* copy) {
  for (int64_t column = 0; column < band.problem.q;) {
    if (band.problem.q - column > kLanes<T>) {
      any_tile<T, kAnyVecs>(band, grid, copy, column);
      column += kAnyVecs * kLanes<T>;
    } else {
      any_tile<T, 1>(band, grid, copy, column);
      column += kLanes<T>;
    }
  }
}

// ---- items: bands of filters ------------------------------------------------------------------------------------------

template <class T>
void copy_band(const Problem& problem, const T* x, int64_t channel, int64_t top, int64_t count, const Grid& grid, T* to) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < grid.planes; ++j)
      read_every(problem, x, channel, top + i, j - problem.pad_left, grid.planes, grid.plane,
                 to + i * grid.pitch + j * grid.plane);
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const Grid grid = grid_of<T>(problem);
  const Epilogue& epilogue = operands.epilogue;
  const T* x = static_cast<const T*>(operands.x);
  T* copy = static_cast<T*>(operands.scratch);
  const bool fixed = unrolled(problem);
  const bool zero_sides = problem.padding_mode == kZeros || (problem.pad_left == 0 && problem.pad_right == 0);
  const bool copies = !fixed || !kMaskedLoads || problem.x.w != 1 || !zero_sides;
  Band<T> band{problem, operands, bounds_of<T>(epilogue), false, 0, 0, 0, nullptr};
  band.plain = band.bounds.any && problem.y.w == 1 && (!epilogue.residual || problem.residual.w == 1);
  const int64_t multiplier = problem.k / problem.c;
  int64_t filter = begin / grid.bands, part = begin % grid.bands;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t channel = multiplier == 1 ? filter : filter / multiplier;
    band.filter = filter;
    band.row = part * grid.rows;
    band.rows = problem.p - band.row < grid.rows ? problem.p - band.row : grid.rows;
    band.weights = static_cast<const T*>(operands.packed) + filter * problem.r * problem.s;
    const int64_t top = band.row * problem.stride_h - problem.pad_top;
    const int64_t count = input_rows(problem, band.rows);
    if (copies) copy_band(problem, x, channel, top, count, grid, copy);
    if (!fixed) {
      any_band(band, grid, copy);
    } else {
      const T* rows[kMostUnrolledRows];
      for (int64_t i = 0; i < kMostUnrolledRows; ++i) {
        const int64_t from = i < count ? source_row(problem, top + i) : -1;
        rows[i] = from < 0 ? nullptr
                  : copies ? copy + i * grid.pitch + problem.pad_left
                           : x + channel * problem.x.c + from * problem.x.h;
      }
      if (problem.r == 3)
        problem.stride_h == 1 ? unrolled_band<T, 3, 1>(band, rows, copies) : unrolled_band<T, 3, 2>(band, rows, copies);
      else
        problem.stride_h == 1 ? unrolled_band<T, 5, 1>(band, rows, copies) : unrolled_band<T, 5, 2>(band, rows, copies);
    }
    if (++part == grid.bands) {
      part = 0;
      ++filter;
    }
  }
}

bool always(const Problem&) { return true; }
const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items<float>, prepare<float>, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items<double>, prepare<double>, run<double>},
};

}  // namespace

extern const Variants depthwise;
const Variants depthwise = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
