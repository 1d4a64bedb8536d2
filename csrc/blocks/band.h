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

// Lanes first .. end of from, 0 <= first, end <= lanes; the others read as zero and their memory is
// not touched.
template <class T>
CK_INLINE Vec<T> load_between(const T* from, int64_t first, int64_t end) {
  if (first >= end) return Vec<T>{};
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return Vec<T>(_mm512_maskz_loadu_ps(__mmask16((1u << end) - (1u << first)), from));
  else
    return Vec<T>(_mm512_maskz_loadu_pd(__mmask8((1u << end) - (1u << first)), from));
#else
  if (first == 0) return load_first(from, end);
  alignas(kVectorBytes) T lanes[kLanes<T>] = {};
  for (int64_t i = first; i < end; ++i) lanes[i] = from[i];
  return load(lanes);
#endif
}
// kRuns runs at a time, for one vector of each: to[n * run + i] = row[i * kRuns + n], zero where
// row is not within the image's columns first .. end; count of them, or all lanes (kInside: and all
// within the image).
template <class T, int kRuns, bool kInside>
CK_INLINE void split_columns(const T* row, int64_t first, int64_t end, int64_t count, T* to,
                             int64_t run) {
  constexpr int64_t kSize = kLanes<T>;
  Vec<T> in[kRuns], out[kRuns];
  for (int64_t v = 0; v < kRuns; ++v)
    in[v] = kInside ? load(row + v * kSize)
                    : load_between(row + v * kSize, greater(first - v * kSize, 0),
                                   lesser(end - v * kSize, kSize));
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
  for (int n = 0; n < kRuns; ++n)
    kInside || count >= kSize ? store(to + n * run, out[n])
                              : store_first(to + n * run, count, out[n]);
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

// Copies one channel's part of a block. kRuns: the stride where it is 1, 2 or 4, the runs are its
// phases and the image's columns stand side by side: the runs are made together. Else 0.
template <class T, int kRuns>
CK_NOINLINE void fill_channel(const Problem& problem, const Band& band, const BandBlock& block,
                              const T* x, T* to) {
  const int64_t w = problem.w, step = problem.stride_w, x_row = problem.x.h;
  const int64_t run_step = band.per_tap ? problem.dilation_w : 1;
  const int64_t count = band.per_tap ? block.columns : block.columns + band.run - band.columns;
  const int64_t first = block.first_column * step - problem.pad_left;
  // Vectors from whole up to rest are wholly within the image and the run.
  constexpr int64_t kSize = kLanes<T>, kColumns = greater(kRuns, 1) * kSize;
  const int64_t whole =
      lesser(greater(0, ceil_div(-first, kColumns)), ceil_div(count, kSize)) * kSize;
  const int64_t rest = lesser((w - first) / kColumns, count / kSize) * kSize;
  for (int64_t row = block.begin; row < block.end; ++row) {
    const int64_t source = source_row(problem, band_source_row(problem, band, block, row));
    const T* from = x + source * x_row;
    T* line = to + row * band.pitch;
    if constexpr (kRuns > 0) {
      // The next channel's rows stand elsewhere; without this their first lines are waited for.
      const T* next = from + greater(first, 0) + problem.x.c;
      for (int64_t i = 0; i < count * kRuns; i += 64 / int64_t(sizeof(T)))
        __builtin_prefetch(next + i, 0, 3);
      const auto split = [&](int64_t i, auto is_inside) __attribute__((always_inline)) {
        const int64_t column = first + i * kRuns;
        split_columns<T, kRuns, decltype(is_inside)::value>(from + column, -column, w - column,
                                                            count - i, line + i, band.run);
      };
      int64_t i = 0;
      for (; i < whole; i += kSize) split(i, std::false_type{});
      for (; i < rest; i += kSize) split(i, std::true_type{});
      for (; i < count; i += kSize) split(i, std::false_type{});
    }
    if (kRuns > 0 && problem.padding_mode == kZeros) continue;
    for (int64_t run = 0; run < band.runs; ++run, line += band.run) {
      // Columns inside .. outside come from the image, the others perhaps from its padding.
      const int64_t begin = first + run * run_step;
      const int64_t inside = begin >= 0 ? 0 : lesser(ceil_div(-begin, step), count);
      const int64_t outside =
          begin >= w ? inside : greater(inside, lesser(ceil_div(w - begin, step), count));
      copy_columns(problem, from, begin, step, 0, inside, line);
      if constexpr (kRuns == 0) {
        const T* start = from + begin * problem.x.w;
        for (int64_t i = inside; i < outside; ++i) line[i] = start[i * step * problem.x.w];
      }
      copy_columns(problem, from, begin, step, outside, count, line);
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
