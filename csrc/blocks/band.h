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

template <class T, int... kLane>
CK_INLINE Vec<T> even_lanes(Vec<T> a, Vec<T> b, std::integer_sequence<int, kLane...>) {
  return CK_SHUFFLE(a, b, (2 * kLane)...);
}
// to[i] = from[i step] for i < count; nothing after from[(count - 1) step] is read.
template <class T>
CK_INLINE void copy_columns(const T* from, int64_t step, int64_t count, T* to) {
  constexpr int64_t kSize = kLanes<T>;
  if (step == 1) {
    int64_t i = 0;
    for (; i + kSize <= count; i += kSize) store(to + i, load(from + i));
    if (i < count) store_first(to + i, count - i, load_first(from + i, count - i));
  } else if (step == 2) {
    constexpr std::make_integer_sequence<int, kLanes<T>> lanes{};
    int64_t i = 0;
    for (; i + kSize < count; i += kSize)
      store(to + i, even_lanes<T>(load(from + 2 * i), load(from + 2 * i + kSize), lanes));
    if (i < count) {
      const int64_t rest = 2 * (count - i) - 1, more = greater(rest - kSize, 0);
      const Vec<T> a = load_first(from + 2 * i, rest - more),
                   b = load_first(from + 2 * i + rest - more, more);
      store_first(to + i, count - i, even_lanes<T>(a, b, lanes));
    }
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = from[i * step];
  }
}

// Copies one channel's part of a block.
template <class T>
CK_NOINLINE void fill_band(const Problem& problem, const Band& band, const BandBlock& block,
                           const T* x, int64_t channel, T* to) {
  const int64_t w = problem.w, step = problem.stride_w;
  const int64_t count = band.per_tap ? block.columns : block.columns + band.run - band.columns;
  const bool zeros = problem.padding_mode == kZeros;
  for (int64_t run = 0; run < band.runs; ++run, to += band.run) {
    const int64_t begin = block.first_column * step - problem.pad_left +
                          run * (band.per_tap ? problem.dilation_w : 1);
    // Columns inside .. outside come from the image, the others from its padding.
    const int64_t inside = begin >= 0 ? 0 : lesser(ceil_div(-begin, step), count);
    const int64_t outside =
        begin >= w ? inside : greater(inside, lesser(ceil_div(w - begin, step), count));
    for (int64_t row = block.begin; row < block.end; ++row) {
      const int64_t source = source_row(problem, band_source_row(problem, band, block, row));
      const T* from = x + channel * problem.x.c + source * problem.x.h;
      T* line = to + row * band.pitch;
      const auto pad = [&](int64_t i, int64_t end) {
        for (; i < end; ++i) {
          const int64_t column = zeros ? -1 : source_column(problem, begin + i * step);
          line[i] = column < 0 ? T(0) : from[column * problem.x.w];
        }
      };
      pad(0, inside);
      copy_columns(from + (begin + inside * step) * problem.x.w, step * problem.x.w,
                   outside - inside, line + inside);
      pad(outside, count);
    }
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
