// A tile of direct convolution with pixels in the vector: every row of a band (band.h) is loaded
// once for all the rows of the tile that it contributes to.
#pragma once
#include "band.h"

namespace convkit {
namespace CONVKIT_ISA {

// Rows x vectors of a tile: 16 of 32 registers hold sums, 4 the pixels. Six rows were no faster.
constexpr int kTileRowsOut = 4;
constexpr int kPixelVecs = kRegisters == 32 ? 4 : 2;

// A band row meets rows from .. to of a tile: output rows t, each with the filter row r = band row
// - t row_step.
struct Meeting {
  int64_t x;     // place of the band row, from the tile's first one
  int64_t w;     // of filter row r for t = 0, were it that long; t w_step before it for row t
  int64_t rows;  // from * kTileRowsOut + to
};
// Writes the meetings of one part's filter rows r0 .. r1 in order; returns how many.
CK_NOINLINE int64_t list_meetings(const Problem& problem, const Band& band, const BandBlock& block,
                                  int64_t row, int64_t rows, int64_t r0, int64_t r1, Meeting* to) {
  const int64_t first = row * band.row_step, step = band.row_step;
  int64_t count = 0, from = 0, last = -1, from_next = r1, last_next = r0;
  for (int64_t i = r0; i < (rows - 1) * step + r1; ++i) {
    if (i == last_next) {
      last += last < rows - 1;
      last_next += step;
    }
    if (i == from_next) {
      ++from;
      from_next += step;
    }
    if (from > last || first + i < block.begin || first + i >= block.end) continue;
    to[count++] = {i * band.pitch, i * problem.s, from * kTileRowsOut + last};
  }
  return count;
}

// What one part of the sum needs, for one tile.
template <class T>
struct PixelTile {
  const T* x;  // band, at the part's first channel and the tile's first row and column
  int64_t channel;
  const T* w;  // weights of one filter at the part's first channel and filter column
  int64_t w_channel, w_step;
  int64_t channels;
  const int64_t* column;  // of the part's filter columns
  int64_t columns;
  const Meeting* meetings;
  int64_t count;
  T* sums;
  int64_t line;  // distance of rows in sums
};

template <class T, int kFrom, int kTo, int kRows, int kVecs>
CK_INLINE void add_band_row(Vec<T> (&sum)[kRows][kVecs], const T* x, const int64_t* column,
                            const T* w, int64_t w_step, int64_t count) {
  if constexpr (kTo < kRows) {
    for (int64_t s = 0; s < count; ++s) {
      Vec<T> pixels[kVecs];
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) pixels[v] = load(x + column[s] + v * kLanes<T>);
      CK_UNROLL(8)
      for (int t = kFrom; t <= kTo; ++t) {
        const Vec<T> weight = splat(w[s - t * w_step]);
        CK_UNROLL(8)
        for (int v = 0; v < kVecs; ++v) sum[t][v] += weight * pixels[v];
      }
    }
  }
}
// kColumns: the number of filter columns where the compiler may know it, or 0. Three of them
// unrolled gain 15 %.
template <class T, int kRows, int kVecs, int kColumns>
CK_INLINE void add_pixels(const PixelTile<T>& tile) {
  Vec<T> sum[kRows][kVecs];
  CK_UNROLL(8)
  for (int t = 0; t < kRows; ++t) {
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) sum[t][v] = Vec<T>{};
  }
  const int64_t *column = tile.column, w_step = tile.w_step;
  const int64_t columns = kColumns ? kColumns : tile.columns;
  const T *x = tile.x, *w = tile.w;
  for (int64_t c = 0; c < tile.channels; ++c, x += tile.channel, w += tile.w_channel)
    for (const Meeting *each = tile.meetings, *end = each + tile.count; each < end; ++each) {
      switch (each->rows) {
#define CK_ROWS(kFrom, kTo)                                                              \
  case kFrom* kTileRowsOut + kTo:                                                        \
    add_band_row<T, kFrom, kTo>(sum, x + each->x, column, w + each->w, w_step, columns); \
    break
        CK_ROWS(0, 0);
        CK_ROWS(0, 1);
        CK_ROWS(0, 2);
        CK_ROWS(0, 3);
        CK_ROWS(1, 1);
        CK_ROWS(1, 2);
        CK_ROWS(1, 3);
        CK_ROWS(2, 2);
        CK_ROWS(2, 3);
        CK_ROWS(3, 3);
#undef CK_ROWS
      }
    }
  T* sums = tile.sums;
  CK_UNROLL(8)
  for (int t = 0; t < kRows; ++t, sums += tile.line) {
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v)
      store(sums + v * kLanes<T>, load(sums + v * kLanes<T>) + sum[t][v]);
  }
}
template <class T, int kRows, int kVecs>
CK_NOINLINE void add_pixels(const PixelTile<T>& tile) {
  tile.columns == 3 ? add_pixels<T, kRows, kVecs, 3>(tile) : add_pixels<T, kRows, kVecs, 0>(tile);
}
template <class T, int kRows>
CK_INLINE void add_pixels_for(int64_t vecs, const PixelTile<T>& tile) {
  switch (vecs) {
    case 1: return add_pixels<T, kRows, 1>(tile);
    case 2: return add_pixels<T, kRows, 2>(tile);
    case 3: return add_pixels<T, kRows, lesser(3, kPixelVecs)>(tile);
    default: return add_pixels<T, kRows, kPixelVecs>(tile);
  }
}
template <class T>
CK_INLINE void add_pixels_for(int64_t rows, int64_t vecs, const PixelTile<T>& tile) {
  switch (rows) {
    case 1: return add_pixels_for<T, 1>(vecs, tile);
    case 2: return add_pixels_for<T, 2>(vecs, tile);
    case 3: return add_pixels_for<T, 3>(vecs, tile);
    default: return add_pixels_for<T, 4>(vecs, tile);
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
