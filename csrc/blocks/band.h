// Band: the part of the padded image that a block of outputs reads, copied to scratch so that
// stride, dilation, padding and layout are gone: the input of output (i, q) of the block under tap
// (r, s) stands at
//   (i * row_step + r) * pitch + tap_column(s) + q
// of its channel.
// Rows: outputs p, p + spacing, p + 2 spacing, ... form a class. With spacing = d / gcd(u, d) (u:
// stride, d: dilation) their input rows are multiples of d apart, so that a class is a convolution
// without dilation and with stride u / gcd(u, d).
// Columns: one run per phase of the stride or, where that is less (stride over filter, wide
// dilation), one run per tap.
#pragma once
#include <utility>

#include "problem.h"
#include "turn.h"
#include "window.h"

namespace convkit {
namespace CONVKIT_ISA {

struct Band {
  int64_t spacing, classes;  // classes: of at least one row
  int64_t class_rows;        // rows of the longest class
  int64_t rows, columns;     // of a block of outputs; the last one of a class or row may have fewer
  int64_t row_blocks, column_blocks;
  int64_t full_step;  // u / gcd(u, d)
  int64_t row_step;   // the same, without the rows that no tap reads
  int64_t runs, run;  // runs of columns in a band row, elements in each
  bool per_tap;
  int64_t pitch;    // of a band row
  int64_t channel;  // distance of channels
};

CK_INLINE int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    const int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}
CK_INLINE constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
CK_INLINE constexpr int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }
CK_INLINE constexpr int64_t greater(int64_t a, int64_t b) { return a > b ? a : b; }

// For blocks of at most rows x columns, split evenly.
CK_INLINE Band band_of(const Problem& problem, int64_t rows, int64_t columns) {
  Band band{};
  const int64_t common = gcd(problem.stride_h, problem.dilation_h);
  band.spacing = problem.dilation_h / common;
  band.full_step = problem.stride_h / common;
  band.row_step = lesser(band.full_step, problem.r);
  band.classes = lesser(band.spacing, problem.p);
  band.class_rows = ceil_div(problem.p, band.spacing);
  band.row_blocks = ceil_div(band.class_rows, rows);
  band.rows = ceil_div(band.class_rows, band.row_blocks);
  band.column_blocks = ceil_div(problem.q, columns);
  band.columns = ceil_div(problem.q, band.column_blocks);
  const int64_t reach = (problem.s - 1) * problem.dilation_w / problem.stride_w;
  band.per_tap = problem.s * band.columns <= problem.stride_w * (band.columns + reach);
  band.runs = band.per_tap ? problem.s : problem.stride_w;
  band.run = band.columns + (band.per_tap ? 0 : reach);
  band.pitch = band.runs * band.run;
  band.channel = ((band.rows - 1) * band.row_step + problem.r) * band.pitch;
  return band;
}
CK_INLINE int64_t tap_column(const Problem& problem, const Band& band, int64_t s) {
  const int64_t column = s * problem.dilation_w;
  return band.per_tap ? s * band.run
                      : column % problem.stride_w * band.run + column / problem.stride_w;
}

// One block of outputs: rows first_row + i spacing, i < rows; columns first_column + q, q <
// columns.
struct BandBlock {
  int64_t first_row, rows, first_column, columns;
  int64_t begin,
      end;  // band rows not wholly padding of zeros; others are not filled nor to be read
};
// The input row that stands in a band row.
CK_INLINE int64_t band_source_row(const Problem& problem, const Band& band, const BandBlock& block,
                                  int64_t band_row) {
  if (band.full_step > band.row_step)
    band_row = band_row / problem.r * band.full_step + band_row % problem.r;
  return block.first_row * problem.stride_h + band_row * problem.dilation_h - problem.pad_top;
}
// rows may come out as zero or less: the last class may be a row shorter than the blocks allow for.
CK_INLINE BandBlock band_block(const Problem& problem, const Band& band, int64_t of_class,
                               int64_t row_block, int64_t column_block) {
  BandBlock block{};
  const int64_t row = row_block * band.rows, column = column_block * band.columns;
  block.first_row = of_class + row * band.spacing;
  block.rows = lesser(band.rows, ceil_div(problem.p - of_class, band.spacing) - row);
  block.first_column = column;
  block.columns = lesser(band.columns, problem.q - column);
  block.end = block.rows > 0 ? (block.rows - 1) * band.row_step + problem.r : 0;
  while (block.begin < block.end &&
         source_row(problem, band_source_row(problem, band, block, block.begin)) < 0)
    ++block.begin;
  while (block.begin < block.end &&
         source_row(problem, band_source_row(problem, band, block, block.end - 1)) < 0)
    --block.end;
  return block;
}

// Lanes first .. end of a vector, 0 <= first: the others read as zero, stay unwritten, and their
// memory is not touched. Made once for all rows of a block.
template <class T>
struct Between {
  int64_t first, end;
#if defined(__AVX512F__)
  uint64_t mask;  // as wide as it is copied: a narrow store would hold up the load of the copy
#elif defined(__AVX2__)
  __m256i mask;
#endif
};
template <class T>
CK_INLINE Between<T> between(int64_t first, int64_t end) {
  Between<T> lanes{};
  lanes.first = lesser(first, kLanes<T>);
  lanes.end = greater(0, lesser(end, kLanes<T>));
#if defined(__AVX512F__)
  lanes.mask = ((1u << lanes.end) - 1) & ~((1u << lanes.first) - 1);
#elif defined(__AVX2__)
  lanes.mask = _mm256_andnot_si256(first_lanes<T>(lanes.first), first_lanes<T>(lanes.end));
#endif
  return lanes;
}
template <class T>
CK_INLINE Vec<T> load_lanes(const T* from, const Between<T>& lanes) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return Vec<T>(_mm512_maskz_loadu_ps(__mmask16(lanes.mask), from));
  else
    return Vec<T>(_mm512_maskz_loadu_pd(__mmask8(lanes.mask), from));
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    return Vec<T>(_mm256_maskload_ps(from, lanes.mask));
  else
    return Vec<T>(_mm256_maskload_pd(from, lanes.mask));
#else
  alignas(kVectorBytes) T all[kLanes<T>] = {};
  for (int64_t i = lanes.first; i < lanes.end; ++i) all[i] = from[i];
  return load(all);
#endif
}
template <class T>
CK_INLINE void store_lanes(T* to, const Between<T>& lanes, Vec<T> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    _mm512_mask_storeu_ps(to, __mmask16(lanes.mask), __m512(v));
  else
    _mm512_mask_storeu_pd(to, __mmask8(lanes.mask), __m512d(v));
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    _mm256_maskstore_ps(to, lanes.mask, __m256(v));
  else
    _mm256_maskstore_pd(to, lanes.mask, __m256d(v));
#else
  for (int64_t i = lanes.first; i < lanes.end; ++i) to[i] = v[i];
#endif
}
// The kRuns vectors of a row, columns side by side, as one vector of each phase.
template <class T, int kRuns>
CK_INLINE void split_phases(const Vec<T> (&in)[kRuns], Vec<T> (&out)[kRuns]) {
  if constexpr (kRuns == 1) {
    out[0] = in[0];
  } else if constexpr (kRuns == 2) {
    out[0] = even_lanes<T>(in[0], in[1]);
    out[1] = odd_lanes<T>(in[0], in[1]);
  } else {
    const Vec<T> even[2] = {even_lanes<T>(in[0], in[1]), even_lanes<T>(in[2], in[3])};
    const Vec<T> odd[2] = {odd_lanes<T>(in[0], in[1]), odd_lanes<T>(in[2], in[3])};
    out[0] = even_lanes<T>(even[0], even[1]);
    out[1] = even_lanes<T>(odd[0], odd[1]);
    out[2] = odd_lanes<T>(even[0], even[1]);
    out[3] = odd_lanes<T>(odd[0], odd[1]);
  }
}
// A vector of each run that is not wholly within the image and the runs: which lanes are read and
// written. Masks are reckoned once for all rows; they took most of the time of a copied row.
template <class T, int kRuns>
struct EdgeStep {
  int64_t i;
  Between<T> inside[kRuns], kept;
};
// to[n * run + i] = from[i * kRuns + n], zero outside the image, for a vector of i. `next`: the
// next channel's rows stand elsewhere; without a fetch their first lines are waited for.
template <class T, int kRuns>
CK_INLINE void split_columns(const T* from, const EdgeStep<T, kRuns>* edge, T* to, int64_t run,
                             int64_t next) {
  Vec<T> in[kRuns], out[kRuns];
  CK_UNROLL(4)
  for (int v = 0; v < kRuns; ++v) {
    __builtin_prefetch(from + v * kLanes<T> + next, 0, 3);
    in[v] = edge ? load_lanes(from + v * kLanes<T>, edge->inside[v]) : load(from + v * kLanes<T>);
  }
  split_phases<T, kRuns>(in, out);
  CK_UNROLL(4)
  for (int n = 0; n < kRuns; ++n)
    edge ? store_lanes(to + n * run, edge->kept, out[n]) : store(to + n * run, out[n]);
}
// to[i] = column begin + i step of a row of the padded image, first <= i < end.
template <class T>
CK_NOINLINE void copy_columns(const Problem& problem, const T* row, int64_t begin, int64_t step,
                              int64_t first, int64_t end, T* to) {
  for (int64_t i = first; i < end; ++i) {
    const int64_t column = source_column(problem, begin + i * step);
    to[i] = column < 0 ? T(0) : row[column * problem.x.w];
  }
}
// Of the columns begin + i step, i < count, those from the first up to the last come from the
// image, the others perhaps from its padding.
CK_INLINE int64_t first_inside(int64_t begin, int64_t step, int64_t count) {
  return begin >= 0 ? 0 : lesser(ceil_div(-begin, step), count);
}
CK_INLINE int64_t last_inside(int64_t begin, int64_t step, int64_t w, int64_t first,
                              int64_t count) {
  return begin >= w ? first : greater(first, lesser(ceil_div(w - begin, step), count));
}

// Copies one channel's part of a block. kRuns: the stride where it is 1, 2 or 4, the runs are its
// phases and the image's columns stand side by side: the runs are made together. Else 0.
template <class T, int kRuns>
CK_NOINLINE void fill_channel(const Problem& problem, const Band& band, const BandBlock& block,
                              const T* x, T* to) {
  const int64_t w = problem.w, step = problem.stride_w, x_row = problem.x.h;
  const int64_t run_step = band.per_tap ? problem.dilation_w : 1;
  const int64_t count = band.per_tap ? block.columns : block.columns + band.run - band.columns;
  const int64_t first = block.first_column * step - problem.pad_left;
  // Without other padding than zeros, and without skipped rows, rows are evenly spaced.
  const bool even = problem.padding_mode == kZeros && band.full_step == band.row_step;
  const T* first_row = x + band_source_row(problem, band, block, block.begin) * x_row;
  const auto row_at = [&](int64_t row) __attribute__((always_inline)) {
    return even ? first_row + (row - block.begin) * problem.dilation_h * x_row
                : x + source_row(problem, band_source_row(problem, band, block, row)) * x_row;
  };
  if constexpr (kRuns > 0) {
    // Vectors from whole up to rest are wholly within the image and the run.
    constexpr int64_t kSize = kLanes<T>, kColumns = kRuns * kSize;
    const int64_t whole =
        lesser(greater(0, ceil_div(-first, kColumns)), ceil_div(count, kSize)) * kSize;
    const int64_t rest = greater(whole, lesser((w - first) / kColumns, count / kSize) * kSize);
    constexpr int kEdges = 4;  // at a time; more only where the padding is wide
    EdgeStep<T, kRuns> edge[kEdges];
    for (int64_t i = 0, full = whole; i < count || full < rest; full = rest) {
      int edges = 0;
      for (; edges < kEdges; i += kSize) {
        if (i == whole) i = rest;
        if (i >= count) break;
        EdgeStep<T, kRuns>& step_at = edge[edges++];
        step_at.i = i;
        step_at.kept = between<T>(0, count - i);
        for (int v = 0; v < kRuns; ++v) {
          const int64_t column = first + i * kRuns + v * kSize;
          step_at.inside[v] = between<T>(greater(0, -column), w - column);
        }
      }
      for (int64_t row = block.begin; row < block.end; ++row) {
        const T* from = row_at(row) + first;
        T* line = to + row * band.pitch;
        for (int e = 0; e < edges; ++e)
          split_columns(from + edge[e].i * kRuns, edge + e, line + edge[e].i, band.run,
                        problem.x.c);
        for (int64_t j = full; j < rest; j += kSize)
          split_columns<T, kRuns>(from + j * kRuns, nullptr, line + j, band.run, problem.x.c);
      }
    }
    if (problem.padding_mode == kZeros) return;
  }
  for (int64_t row = block.begin; row < block.end; ++row) {
    const T* from = row_at(row);
    T* line = to + row * band.pitch;
    for (int64_t run = 0; run < band.runs; ++run, line += band.run) {
      const int64_t begin = first + run * run_step;
      const int64_t inside = first_inside(begin, step, count);
      const int64_t outside = last_inside(begin, step, w, inside, count);
      copy_columns(problem, from, begin, step, 0, inside, line);
      if constexpr (kRuns == 0) {
        const T* start = from + begin * problem.x.w;
        for (int64_t i = inside; i < outside; ++i) line[i] = start[i * step * problem.x.w];
      }
      copy_columns(problem, from, begin, step, outside, count, line);
    }
  }
}
// The same for quads of four channels each that stand side by side in x, as in a view of an NHWC
// image: each pixel's line is read once for all of them, not once for each.
CK_NOINLINE void fill_quads(const Problem& problem, const Band& band, const BandBlock& block,
                            const float* x, int64_t quads, float* to) {
  const int64_t w = problem.w, step = problem.stride_w, between_pixels = step * problem.x.w;
  const int64_t run_step = band.per_tap ? problem.dilation_w : 1;
  const int64_t count = band.per_tap ? block.columns : block.columns + band.run - band.columns;
  const int64_t first = block.first_column * step - problem.pad_left;
  for (int64_t row = block.begin; row < block.end; ++row) {
    const float* from =
        x + source_row(problem, band_source_row(problem, band, block, row)) * problem.x.h;
    float* line = to + row * band.pitch;
    for (int64_t run = 0; run < band.runs; ++run, line += band.run) {
      const int64_t begin = first + run * run_step;
      const int64_t inside = first_inside(begin, step, count);
      const int64_t outside = last_inside(begin, step, w, inside, count);
      const bool turns = outside - inside >= kLanes<float>;
      for (int64_t i = inside; turns && i < outside; i += kLanes<float>) {
        const int64_t at = lesser(i, outside - kLanes<float>);  // the last turn overlaps
        const float* pixels = from + begin * problem.x.w + at * between_pixels;
        float* of_quad = line + at;
        for (int64_t quad = 0; quad < quads; ++quad, pixels += 4) {
          Vec<float> rows[4];
          turn_four(pixels, between_pixels, rows);
          CK_UNROLL(4)
          for (int c = 0; c < 4; ++c, of_quad += band.channel) store(of_quad, rows[c]);
        }
      }
      for (int64_t i = 0; i < count; ++i) {
        if (turns && i == inside) i = outside;
        if (i == count) break;
        const int64_t column = source_column(problem, begin + step * i);
        const float* pixel = from + column * problem.x.w;
        for (int64_t c = 0; c < 4 * quads; ++c)
          line[c * band.channel + i] = column < 0 ? 0.0F : pixel[c];
      }
    }
  }
}
template <class T>
CK_INLINE void fill_band(const Problem& problem, const Band& band, const BandBlock& block,
                         const T* x, int64_t channel, T* to) {
  x += channel * problem.x.c;
  const int64_t step = band.per_tap || problem.x.w != 1 ? 0 : problem.stride_w;
  switch (step) {
    case 1: return fill_channel<T, 1>(problem, band, block, x, to);
    case 2: return fill_channel<T, 2>(problem, band, block, x, to);
    case 4: return fill_channel<T, 4>(problem, band, block, x, to);
    default: return fill_channel<T, 0>(problem, band, block, x, to);
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
