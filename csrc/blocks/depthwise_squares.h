// Depthwise sums with channels in the lanes (depthwise_lanes.h) whose answer stands in planes:
// squares of as many pixels as a vector has channels, summed in registers, turned there and stored,
// a run of pixels to each plane.
//
// What bounds large images is the way of their lines from the third cache, not the sums. x is read
// in the order of its memory, neighbouring lines of a pixel before the next pixel, and y in forward
// runs for each plane: those are the streams that prefetchers follow. One line of each pixel after
// another, the same bytes took half as long again. Sums turned in registers leave at once, and wait
// for their lines while the next ones go on; sums that are put aside and turned later do not.
#pragma once
#include "depthwise_lanes.h"
#include "depthwise_strips.h"

namespace convkit {
namespace CONVKIT_ISA {

// A square is a piece of one output row, or of two which share the input rows between them.
template <class T>
constexpr int kPiece = kLanes<T> < 8 ? kLanes<T> : 8;
template <class T>
constexpr int kPieces = kLanes<T> / kPiece<T>;
// So many pixels of a piece may lie outside the image, on either side.
template <int kSize>
constexpr int kEdge = kSize / 2;

// The pixels of a square, of any channels.
template <class T, int kSize>
struct Square {
  const T* x;     // the first pixel of its windows, of the first channel; maybe outside the image
  int low, high;  // rows of its windows that are inside the image
  Mask<T> masks[2 * kEdge<kSize>];  // of the pixels beside the edges: all lanes or none
  T* y;                             // in the first channel's plane
  const T* residual;                // or null
  int64_t rows, skip;               // output rows; columns at the left that another square stores
};

// Short vectors gain nothing: theirs is too much turning for the few lines. Nor do 3x3 sums of
// images that the second cache holds: those down strips read each pixel once.
template <class T, int kSize>
constexpr bool kSquares = kMaskedLoads && kSize != 0 && kLanes<T> >= 8;
constexpr int64_t kLargeBytes = 2 << 20;
template <class T, int kSize>
CK_INLINE bool squares_apply(const Problem& problem, const Exit<T>& out) {
  const int64_t end = (problem.q - 1) * problem.stride_w + kSize - problem.pad_left;
  const int64_t pixels = problem.h * problem.w + problem.p * problem.q;
  if (kSize == 3 && problem.k * pixels * int64_t(sizeof(T)) < kLargeBytes) return false;
  return kSquares<T, kSize> && out.plain && problem.padding_mode == kZeros &&
         problem.q >= kPiece<T> && problem.pad_left <= kEdge<kSize> &&
         end <= problem.w + kEdge<kSize>;
}

// sum[h * kPiece + i] = pixel i of row h of a square, of kLanes channels that begin `lane` elements
// after the first.
template <class T, int kSize, int kStride>
struct SquareSum {
  static constexpr int kReach = (kPiece<T> - 1) * kStride + kSize;  // columns of the windows
  static constexpr int kBetween = (kPieces<T> - 1) * kStride;       // rows from window to window
  const Square<T, kSize>& square;
  int64_t lane, pitch, step;
  const T* weights;
  Vec<T> (&sum)[kLanes<T>];

  // Adds row kRow of the windows: filter row kRow for output row 0, kBetween less for the next one.
  template <int kRow>
  __attribute__((always_inline)) void add_row() {
    constexpr bool kFirst = kRow < kSize, kSecond = kPieces<T> == 2 && kRow >= kBetween;
    Vec<T> upper[kSize], lower[kSize];
    CK_UNROLL(8)
    for (int s = 0; s < kSize; ++s) {
      if constexpr (kFirst) upper[s] = load(weights + (kRow * kSize + s) * kLanes<T>);
      if constexpr (kSecond) lower[s] = load(weights + ((kRow - kBetween) * kSize + s) * kLanes<T>);
    }
    const T* at = square.x + lane + kRow * pitch;
    // The squares above have read the other rows.
    constexpr bool kFetch = kRow >= kSize + kBetween - kPieces<T> * kStride;
    const int64_t ahead = kPiece<T> * kStride * step;
    CK_UNROLL(32)
    for (int j = 0; j < kReach; ++j, at += step) {
      if (kFetch && j < kPiece<T> * kStride) __builtin_prefetch(at + ahead);
      Vec<T> pixel;
      if (j < kEdge<kSize>)
        pixel = load_lanes(at, square.masks[j]);
      else if (j >= kReach - kEdge<kSize>)
        pixel = load_lanes(at, square.masks[j - (kReach - 2 * kEdge<kSize>)]);
      else
        pixel = load(at);
      CK_UNROLL(8)
      for (int s = 0; s < kSize; ++s) {
        if ((j - s) % kStride != 0 || j < s || (j - s) / kStride >= kPiece<T>) continue;
        const int i = (j - s) / kStride;
        if constexpr (kFirst) sum[i] += pixel * upper[s];
        if constexpr (kSecond) sum[kPiece<T> + i] += pixel * lower[s];
      }
    }
  }
  template <int kRow>
  __attribute__((always_inline)) void add_rows() {
    if (kRow >= square.low && kRow < square.high) add_row<kRow>();
    if constexpr (kRow + 1 < kSize + kBetween) add_rows<kRow + 1>();
  }
};

// Turned sums: vector i holds the pixels of one plane or, where a square has two rows, the pixels
// of one row in two planes, the upper half four planes after the lower one: planes 0 to 3 and 8 to
// 11, of row 0 and then of row 1.
template <class T>
CK_INLINE void turn_pieces(Vec<T> (&sum)[kLanes<T>]) {
  if constexpr (kPieces<T> == 1) {
    transpose<T>(sum);
  } else {
    CK_UNROLL(4)
    for (int i = 0; i < kLanes<T>; i += 4) transpose_blocks(sum + i);
    CK_UNROLL(2)
    for (int h = 0; h < kLanes<T>; h += 8) {
      CK_UNROLL(4)
      for (int i = h; i < h + 4; ++i) join_blocks(sum[i], sum[i + 4]);
    }
  }
}
// One turned vector to and from its two planes, or its one. Columns from skip on are stored.
template <class T>
CK_INLINE void store_turned(T* y, int64_t plane, int64_t skip, Vec<T> v) {
  if constexpr (kPieces<T> == 1) {
    skip == 0 ? store(y, v) : store_lanes(y, lanes_inside<T>(-skip, kLanes<T>), v);
  } else if constexpr (kHalfVectors) {
    if (skip == 0) return store_both(y, y + 4 * plane, v);
    const uint32_t all = (1u << kPiece<T>)-1, kept = all << skip & all;
    store_lower(y, kept, v);
    store_upper(y + 4 * plane, kept, v);
  }
}
template <class T>
CK_INLINE Vec<T> load_turned(const T* from, int64_t plane) {
  if constexpr (kPieces<T> == 2 && kHalfVectors)
    return load_halves(from, from + 4 * plane, (1u << kPiece<T>)-1);
  return load(from);
}
// kLanes channels from `channel` on.
template <class T, int kSize, int kStride>
CK_INLINE void square_run(const Problem& problem, const Square<T, kSize>& square, int64_t channel,
                          const T* packed, const Exit<T>& out) {
  const T* const weights = packed + channel * kSize * kSize;
  const int64_t lane = channel_offset<T>(problem, channel);
  Vec<T> sum[kLanes<T>];
  CK_UNROLL(16)
  for (int i = 0; i < kLanes<T>; ++i) sum[i] = Vec<T>{};
  SquareSum<T, kSize, kStride>{square, lane, problem.x.h, problem.x.w, weights, sum}
      .template add_rows<0>();
  const Vec<T> bias = out.bias ? load(out.bias + channel) : Vec<T>{};
  CK_UNROLL(16)
  for (int i = 0; i < kLanes<T>; ++i) sum[i] += bias;
  turn_pieces<T>(sum);
  if (square.residual) {
    const int64_t plane = problem.residual.c;
    const T* from = square.residual + channel * plane;
    CK_UNROLL(16)
    for (int i = 0; i < kLanes<T>; ++i) {
      if (kPieces<T> == 2 && i == 8) {  // a row that there is not reads the one above
        from = square.residual + channel * plane + (square.rows - 1) * problem.residual.h;
      }
      sum[i] += load_turned<T>(from, plane);
      from = next_row(from, kPieces<T> == 2 && i % 8 == 3 ? 5 * plane : plane);
    }
  }
  if (out.bounded) {
    CK_UNROLL(16)
    for (int i = 0; i < kLanes<T>; ++i) sum[i] = bounded<T>(out.low, out.high, sum[i]);
  }
  const int64_t plane = problem.y.c, skip = square.skip;
  constexpr int kAhead = 16;  // columns: a line or two
  const auto put = [&](T* y, const Vec<T>* turned) __attribute__((always_inline)) {
    CK_UNROLL(16)
    for (int i = 0; i < kLanes<T> / kPieces<T>; ++i) {
      __builtin_prefetch(y + kAhead, 1);
      if (kPieces<T> == 2) __builtin_prefetch(y + 4 * plane + kAhead, 1);
      store_turned<T>(y, plane, skip, turned[i]);
      y = next_row(y, kPieces<T> == 2 && i == 3 ? 5 * plane : plane);
    }
  };
  T* const y = square.y + channel * plane;
  put(y, sum);
  if (square.rows == 2) put(y + problem.y.h, sum + kLanes<T> / kPieces<T> * (kPieces<T> - 1));
}
template <class T, int kSize, int kStride>
CK_NOINLINE void square_runs(const Problem& problem, const Square<T, kSize>& square,
                             int64_t channel, int64_t end, const T* packed, const Exit<T>& out) {
  for (; channel < end; channel += kLanes<T>)
    square_run<T, kSize, kStride>(problem, square, channel, packed, out);
}

// The square at an output row and column of a band.
template <class T, int kSize, int kStride>
CK_INLINE Square<T, kSize> square_at(const Problem& problem, const T* x, const Exit<T>& out,
                                     int64_t row, int64_t rows, int64_t place) {
  typedef SquareSum<T, kSize, kStride> Sum;
  const int64_t last = problem.q - kPiece<T>, column = place < last ? place : last;
  const int64_t top = row * kStride - problem.pad_top, left = column * kStride - problem.pad_left;
  Square<T, kSize> square;
  square.x = x + top * problem.x.h + left * problem.x.w;
  square.low = top < 0 ? int(-top) : 0;
  // Of the windows that are needed, those of the first `rows`.
  const int64_t reach = kSize + (rows - 1) * kStride, inside = problem.h - top;
  square.high = int(inside < reach ? inside : reach);
  for (int i = 0; i < 2 * kEdge<kSize>; ++i) {
    const int64_t at = left + (i < kEdge<kSize> ? i : Sum::kReach - 2 * kEdge<kSize> + i);
    square.masks[i] = lanes_inside<T>(0, at >= 0 && at < problem.w ? kLanes<T> : 0);
  }
  square.y = out.y + row * problem.y.h + column;
  square.residual = out.residual ? out.residual + row * problem.residual.h + column : nullptr;
  square.rows = rows;
  square.skip = place - column;
  return square;
}
// Channels [first, first + count), of whole vectors, of a band of output rows. packed: from
// pack_lanes.
template <class T, int kSize, int kStride>
CK_NOINLINE void squares_run(const Problem& problem, const T* x, const Exit<T>& out,
                             const Band& band, int64_t first, int64_t count, const T* packed) {
  // Three lines of each pixel, by a few rows: y has a stream for each channel, of which prefetchers
  // follow some tens, and single lines of x they follow least. More rows are more of x to keep.
  constexpr int64_t kPart = 3 * kLineBytes / int64_t(sizeof(T)), kRows = 8;
  const int64_t last_row = band.row + band.rows, last_channel = first + count;
  for (int64_t top = band.row; top < last_row; top += kRows) {
    const int64_t bottom = top + kRows < last_row ? top + kRows : last_row;
    for (int64_t channel = first; channel < last_channel; channel += kPart) {
      const int64_t end = channel + kPart < last_channel ? channel + kPart : last_channel;
      for (int64_t row = top; row < bottom; row += kPieces<T>)
        for (int64_t q = 0; q < problem.q; q += kPiece<T>) {
          const Square<T, kSize> square = square_at<T, kSize, kStride>(
              problem, x, out, row, bottom - row < kPieces<T> ? bottom - row : kPieces<T>, q);
          square_runs<T, kSize, kStride>(problem, square, channel, end, packed, out);
        }
    }
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
