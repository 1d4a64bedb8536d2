// The sums of depthwise_lanes.h for 3x3 filters over zero padding, without a copy: down a strip of
// kTile columns, as depthwise_strips.h goes down one of a vector. A pixel is read once for all the
// taps that it meets; the sums of the output rows that an input row reaches stand in registers and
// take turns.
#pragma once
#include "depthwise_lanes.h"
#include "depthwise_strips.h"

namespace convkit {
namespace CONVKIT_ISA {

// Input rows of a strip; pixels outside the image are read from zeros.
template <class T>
struct Pixels {
  const T* x;
  int64_t pitch, step;  // to the next row, to the next pixel
  uint32_t inside;      // a bit for each pixel
};
// finish(i, sum) for column i of the strip, output row by output row.
template <class T, int kSize, int kStride, int kPixels, bool kInside, class Finish>
struct ColumnDescent {
  static constexpr int kHeld = (kSize - 1) / kStride + 1;  // output rows that an input row reaches
  static constexpr int kFirst = kSize - kStride;  // input rows before those of output row 0 alone
  const T* weights;
  Pixels<T> pixels;
  Finish& finish;
  uint64_t read_rows, row;  // row: of those that are read
  int64_t left;             // output rows
  Vec<T> sum[kHeld][kPixels];

  // Adds an input row, filter row kRow of the output row that is kTurn and stride by stride less of
  // the next ones.
  template <int kRow, int kTurn>
  __attribute__((always_inline)) void add() {
    alignas(kVectorBytes) static const T zeros[kLanes<T>] = {};
    if (row < read_rows) {
      const T* at = pixels.x;
      CK_UNROLL(32)
      for (int j = 0; j < (kPixels - 1) * kStride + kSize; ++j, at += pixels.step) {
        const Vec<T> pixel = load(kInside || (pixels.inside >> j & 1) ? at : zeros);
        CK_UNROLL(8)
        for (int p = 0; p * kStride <= kRow; ++p) {
          CK_UNROLL(8)
          for (int s = 0; s < kSize; ++s)
            if ((j - s) % kStride == 0 && j >= s && (j - s) / kStride < kPixels)
              sum[(kTurn + p) % kHeld][(j - s) / kStride] +=
                  pixel * load(weights + ((kRow - p * kStride) * kSize + s) * kLanes<T>);
        }
      }
    }
    ++row;
    pixels.x = next_row(pixels.x, pixels.pitch);
  }
  template <int kTurn>
  __attribute__((always_inline)) void clear() {
    CK_UNROLL(8)
    for (int i = 0; i < kPixels; ++i) sum[kTurn][i] = Vec<T>{};
  }
  template <int kRow>
  __attribute__((always_inline)) void first_rows() {
    add<kRow, 0>();
    if constexpr (kRow + 1 < kFirst) first_rows<kRow + 1>();
  }
  template <int kTurn>
  __attribute__((always_inline)) bool turn() {
    add<kFirst, kTurn>();
    if constexpr (kStride == 2) add<kFirst + 1, kTurn>();
    CK_UNROLL(8)
    for (int i = 0; i < kPixels; ++i) finish(i, sum[kTurn][i]);
    clear<kTurn>();
    if (--left == 0) return false;
    if constexpr (kTurn + 1 < kHeld)
      return turn<kTurn + 1>();
    else
      return true;
  }
  __attribute__((always_inline)) void run() {
    clear<0>();
    if constexpr (kHeld > 1) clear<1>();
    if constexpr (kHeld > 2) clear<2>();
    first_rows<0>();
    while (turn<0>()) {}
  }
};

// Whether sum_columns can read this image.
template <class T, int kSize>
CK_INLINE bool columns_apply(const Problem& problem, const LaneSource<T>& source) {
  return kSize == 3 && source.whole && problem.padding_mode == kZeros;
}
// kPixels columns from q on of one vector of channels.
template <class T, int kSize, int kStride, int kPixels, class Finish>
CK_INLINE void sum_strip(const Problem& problem, const LaneSource<T>& source, const Rows& rows,
                         int64_t part, int64_t q, const T* weights, Finish& finish) {
  constexpr int kReach = (kPixels - 1) * kStride + kSize;
  const int64_t begin = q * kStride - problem.pad_left, step = problem.x.w;
  uint32_t inside = 0;
  for (int j = 0; j < kReach; ++j) inside |= uint32_t(begin + j >= 0 && begin + j < problem.w) << j;
  const Pixels<T> pixels{
      source.x + source.from + part * kLanes<T> + rows.top * problem.x.h + begin * step,
      problem.x.h, step, inside};
  const uint64_t read = uint64_t(rows.high - rows.low), skipped = uint64_t(-rows.low);
  if (inside == (1u << kReach) - 1) {
    ColumnDescent<T, kSize, kStride, kPixels, true, Finish> descent{
        weights, pixels, finish, read, skipped, rows.band.rows, {}};
    descent.run();
  } else {
    ColumnDescent<T, kSize, kStride, kPixels, false, Finish> descent{
        weights, pixels, finish, read, skipped, rows.band.rows, {}};
    descent.run();
  }
}
template <int kPixels>
struct Tile {
  static constexpr int pixels = kPixels;
};
// strip(tile, column, skip) for strips that cover the columns; `skip` columns of the last one are
// also the one's before.
template <class Strip>
CK_INLINE void cover_columns(int64_t columns, const Strip& strip) {
  int64_t column = 0;
  for (; column + kTile <= columns; column += kTile) strip(Tile<kTile>{}, column, 0);
  if (column < columns && columns > kTile)
    return strip(Tile<kTile>{}, columns - kTile, int(column + kTile - columns));
  for (; column < columns; ++column) strip(Tile<1>{}, column, 0);
}
// Sums columns [q, q + columns) of some rows of one vector of channels into `to`, a vector a pixel,
// rows one after the other.
template <class T, int kSize, int kStride>
CK_NOINLINE void store_columns(const Problem& problem, const LaneSource<T>& source,
                               const Rows& rows, int64_t part, int64_t q, int64_t columns,
                               const T* weights, T* to) {
  const int64_t pitch = columns * kLanes<T>;
  const auto strip = [&](auto tile, int64_t column, int) __attribute__((always_inline)) {
    T* at = to + column * kLanes<T>;
    auto finish = [&](int i, Vec<T> sum) __attribute__((always_inline)) {
      store(at + i * kLanes<T>, sum);
      if (i + 1 == tile.pixels) at = next_row(at, pitch);
    };
    sum_strip<T, kSize, kStride, tile.pixels>(problem, source, rows, part, q + column, weights,
                                              finish);
  };
  cover_columns(columns, strip);
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
