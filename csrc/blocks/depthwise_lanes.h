// Depthwise sums with channels in the lanes: a vector holds one pixel of as many channels as it has
// lanes, and a tap is a load, whatever the stride and the padding.
//
// What a row of outputs reads stands in scratch, with its padding: a ring of as many input rows as
// the filter has, each copied once. In place they would be read size times, out of pixels a whole
// line of channels apart: those of 128 channels and more fall into a few sets of the first cache
// and push each other out.
//
// Sums take their products in the order of the other ways, so that the strides of x change no bit.
#pragma once
#include "depthwise_bands.h"
#include "gemm.h"

namespace convkit {
namespace CONVKIT_ISA {

// Channels of a line, which are computed together, and the vectors that hold them.
template <class T>
constexpr int kGroup = int(kLineBytes) / int(sizeof(T));
template <class T>
constexpr int kParts = kGroup<T> / kLanes<T>;
// Outputs of a row that are summed together. 7 divides the rows of most networks and leaves
// registers for the weights of a filter row.
constexpr int kTile = 7;

// Weights: taps vectors for each vector of channels, zero past the last channel.
CK_INLINE int64_t groups_of(const Problem& problem, int64_t group) {
  return (problem.k + group - 1) / group;
}
template <class T>
CK_INLINE int64_t lane_weights(const Problem& problem) {
  return groups_of(problem, kGroup<T>) * kGroup<T> * problem.r * problem.s;
}
template <class T>
CK_INLINE void pack_lanes(const Problem& problem, const T* w, T* to) {
  const int64_t taps = problem.r * problem.s;
  for (int64_t k = 0; k < groups_of(problem, kGroup<T>) * kGroup<T>; ++k)
    for (int64_t i = 0; i < taps; ++i)
      to[(k / kLanes<T> * taps + i) * kLanes<T> + k % kLanes<T>] =
          k < problem.k ? w[k * taps + i] : T(0);
}

// Strips of output columns, so narrow that the ring stays in the first cache.
struct LaneGrid {
  int64_t columns;       // of a strip
  int64_t pixels;        // of a row in the ring
  int64_t part, row;     // elements of a vector's pixels in a row, of a row
  int64_t rows;          // of outputs that are summed before they are turned
  int64_t ready, whole;  // pixels, elements of a vector's pixels that await their turning
};
template <class T>
CK_INLINE LaneGrid lane_grid(const Problem& problem) {
  constexpr int64_t kRingBytes = 28 << 10, kReady = 256;
  LaneGrid grid;
  const int64_t fit = kRingBytes / (problem.r * kLineBytes) - problem.s;
  int64_t most = fit < 0 ? 0 : fit / problem.stride_w;
  if (most > 64) most = 64;
  if (most < kGroup<T>) most = kGroup<T>;
  const int64_t strips = (problem.q + most - 1) / most;
  grid.columns = (problem.q + strips - 1) / strips;
  if (strips > 1) grid.columns = (grid.columns + kGroup<T> - 1) / kGroup<T> * kGroup<T>;
  grid.pixels = (grid.columns - 1) * problem.stride_w + problem.s;
  grid.part = grid.pixels * kLanes<T>;
  grid.row = kParts<T> * grid.part;
  grid.rows = kReady / grid.columns;
  if (grid.rows > 4) grid.rows = grid.rows / 4 * 4;  // whole squares, as a rule
  if (grid.rows < 1) grid.rows = 1;
  grid.ready = kReady > grid.columns ? kReady : grid.columns;
  grid.whole = (grid.ready + kLanes<T>)*kLanes<T>;  // the last square may be no full one
  return grid;
}
template <class T>
struct LaneScratch {
  T* ring;
  const T** rows;  // of the ring, in the order of filter rows; null: zeros, which are not summed
  T* ready;
};
template <class T>
CK_INLINE LaneScratch<T> lane_scratch(const Problem& problem, Arena& memory) {
  const LaneGrid grid = lane_grid<T>(problem);
  LaneScratch<T> scratch;
  scratch.ring = take<T>(memory, problem.r * grid.row);
  scratch.rows = take<const T*>(memory, problem.r);
  scratch.ready = take<T>(memory, kParts<T> * grid.whole);
  return scratch;
}

// A group of output channels and where the channels that they read lie in x.
template <class T>
struct LaneSource {
  const T* x;
  int64_t first, count;
  int64_t multiplier;
  bool together;  // one after the other from `x + from` on
  bool whole;     // and readable to the end of the group
  int64_t from;
};
template <class T>
CK_INLINE int64_t channel_offset(const Problem& problem, int64_t channel) {
  if (problem.x_layout == kNchw) return channel * problem.x.c;
  return channel / problem.block * problem.x.c + channel % problem.block;
}
template <class T>
CK_INLINE LaneSource<T> lane_source(const Problem& problem, const T* x, int64_t first,
                                    int64_t count) {
  LaneSource<T> source{x, first, count, problem.k / problem.c, false, false, 0};
  source.from = channel_offset<T>(problem, first / source.multiplier);
  if (source.multiplier == 1 && problem.x_layout == kNchwc) {
    source.together = source.whole = first % problem.block + count <= problem.block;
  } else if (source.multiplier == 1) {
    source.together = problem.x.c == 1;
    source.whole = source.together && count == kGroup<T>;
  }
  return source;
}
// Whether the channels of every vector lie side by side in x.
template <class T>
CK_INLINE bool channels_beside(const Problem& problem) {
  return problem.k == problem.c && (problem.x_layout == kNchwc || problem.x.c == 1);
}
// One pixel of one vector of channels; `row`: row 0's distance to its row.
template <class T>
CK_INLINE Vec<T> lane_pixel(const Problem& problem, const LaneSource<T>& source, int64_t row,
                            int64_t column, int64_t part) {
  const int64_t lane = part * kLanes<T>, left = source.count - lane;
  const int64_t count = left < kLanes<T> ? left : kLanes<T>, at = row + column * problem.x.w;
  if (source.together) return load_first(source.x + source.from + at + lane, count);
  alignas(kVectorBytes) T lanes[kLanes<T>] = {};
  for (int64_t i = 0; i < count; ++i) {
    const int64_t channel = (source.first + lane + i) / source.multiplier;
    lanes[i] = source.x[channel_offset<T>(problem, channel) + at];
  }
  return load(lanes);
}
// to[j] = the vector at from + j * step. Fetches the same pixel of the next row: single lines wake
// no hardware prefetcher.
template <class T>
CK_NOINLINE void copy_pixels(const T* from, int64_t step, int64_t count, T* to) {
  CK_UNROLL(4)
  for (int64_t j = 0; j < count; ++j, from += step) { store(to + j * kLanes<T>, load(from)); }
}
// to[part][j] = columns begin + j of one row of the padded image, for j < count.
template <class T>
CK_INLINE void copy_lanes(const Problem& problem, const LaneSource<T>& source, int64_t row,
                          int64_t begin, int64_t count, int64_t parts, const LaneGrid& grid,
                          T* to) {
  // Columns [low, high) are inside the image.
  int64_t low = begin >= 0 ? 0 : -begin < count ? -begin : count;
  int64_t high = problem.w - begin;
  high = high < low ? low : high > count ? count : high;
  const int64_t step = problem.x.w, from_row = row * problem.x.h;
  for (int64_t part = 0; part < parts; ++part, to += grid.part) {
    int64_t j = low;
    if (source.whole) {
      copy_pixels(source.x + source.from + from_row + (begin + low) * step + part * kLanes<T>, step,
                  high - low, to + low * kLanes<T>);
      j = high;
    } else if (step == 1 && problem.x_layout == kNchw && source.multiplier == 1) {
      const int64_t lane = part * kLanes<T>, left = source.count - lane;
      const int64_t channels = left < kLanes<T> ? left : kLanes<T>;
      const T* const from = source.x + source.from + lane * problem.x.c + from_row + begin;
      for (; j < high; j += kLanes<T>) {
        const int64_t pixels = high - j < kLanes<T> ? high - j : kLanes<T>;
        Vec<T> square[kLanes<T>];
        for (int64_t c = 0; c < kLanes<T>; ++c)
          square[c] = c < channels ? load_first(from + c * problem.x.c + j, pixels) : Vec<T>{};
        transpose<T>(square);
        for (int64_t i = 0; i < pixels; ++i) store(to + (j + i) * kLanes<T>, square[i]);
      }
    } else {
      for (; j < high; ++j)
        store(to + j * kLanes<T>, lane_pixel(problem, source, from_row, begin + j, part));
    }
    for (j = 0; j < count; ++j) {
      if (j == low) j = high;
      if (j == count) break;
      const int64_t column = source_column(problem, begin + j);
      store(to + j * kLanes<T>,
            column < 0 ? Vec<T>{} : lane_pixel(problem, source, from_row, column, part));
    }
  }
}

// sum[i] = the output i columns right of the one whose window begins at `offset` of the rows, for a
// square filter that the compiler knows: every pixel is loaded once for all the outputs of the tile
// that it reaches.
template <class T, int kSize, int kStride, int kPixels>
CK_INLINE void sum_tile(const T* const* rows, int64_t offset, const T* weights,
                        Vec<T> (&sum)[kPixels]) {
  CK_UNROLL(8)
  for (int i = 0; i < kPixels; ++i) sum[i] = Vec<T>{};
  for (int r = 0; r < kSize; ++r, weights += kSize * kLanes<T>) {
    if (!rows[r]) continue;
    const T* const x = rows[r] + offset;
    Vec<T> weight[kSize];
    CK_UNROLL(8)
    for (int s = 0; s < kSize; ++s) weight[s] = load(weights + s * kLanes<T>);
    CK_UNROLL(32)
    for (int j = 0; j < (kPixels - 1) * kStride + kSize; ++j) {
      const Vec<T> pixel = load(x + j * kLanes<T>);
      CK_UNROLL(8)
      for (int s = 0; s < kSize; ++s)
        if ((j - s) % kStride == 0 && j >= s && (j - s) / kStride < kPixels)
          sum[(j - s) / kStride] += pixel * weight[s];
    }
  }
}
// The same for any filter and stride, by partial sums of kPartial products.
template <class T, int kPixels>
CK_INLINE void sum_any(const Problem& problem, const T* const* rows, int64_t offset,
                       const T* weights, Vec<T> (&total)[kPixels]) {
  const int64_t step = problem.stride_w * kLanes<T>;
  Vec<T> sum[kPixels];
  CK_UNROLL(8)
  for (int i = 0; i < kPixels; ++i) sum[i] = total[i] = Vec<T>{};
  int64_t chain = 0;
  for (int64_t r = 0; r < problem.r; ++r) {
    if (!rows[r]) continue;
    const T *x = rows[r] + offset, *w = weights + r * problem.s * kLanes<T>;
    for (int64_t s = 0; s < problem.s; ++s, x += kLanes<T>, w += kLanes<T>) {
      const Vec<T> weight = load(w);
      CK_UNROLL(8)
      for (int i = 0; i < kPixels; ++i) sum[i] += load(x + i * step) * weight;
      if (++chain < kPartial) continue;
      chain = 0;
      CK_UNROLL(8)
      for (int i = 0; i < kPixels; ++i) {
        total[i] += sum[i];
        sum[i] = Vec<T>{};
      }
    }
  }
  CK_UNROLL(8)
  for (int i = 0; i < kPixels; ++i) total[i] += sum[i];
}
// finish(column, sum) for columns [from, at + kPixels) of a row.
template <class T, int kSize, int kStride, int kPixels, class Finish>
CK_INLINE void finish_tile(const Problem& problem, const T* const* rows, int64_t offset, int64_t at,
                           int64_t from, const T* weights, const Finish& finish) {
  Vec<T> sum[kPixels];
  offset += at * (kSize ? kStride : problem.stride_w) * kLanes<T>;
  if constexpr (kSize == 0)
    sum_any<T, kPixels>(problem, rows, offset, weights, sum);
  else
    sum_tile<T, kSize, kStride, kPixels>(rows, offset, weights, sum);
  CK_UNROLL(8)
  for (int i = 0; i < kPixels; ++i)
    if (at + i >= from) finish(at + i, sum[i]);
}
// finish(column, sum) once for each column of a row of outputs; offset: of the vector of channels
// in the rows. The last tile goes over the one
// before where the row is no multiple of it.
template <class T, int kSize, int kStride, class Finish>
CK_INLINE void sum_row(const Problem& problem, const T* const* rows, int64_t offset,
                       int64_t columns, const T* weights, const Finish& finish) {
  int64_t at = 0;
  for (; at + kTile <= columns; at += kTile)
    finish_tile<T, kSize, kStride, kTile>(problem, rows, offset, at, at, weights, finish);
  if (at == columns) return;
  if (columns >= kTile) {
    finish_tile<T, kSize, kStride, kTile>(problem, rows, offset, columns - kTile, at, weights,
                                          finish);
    return;
  }
  for (; at < columns; ++at)
    finish_tile<T, kSize, kStride, 1>(problem, rows, offset, at, at, weights, finish);
}

// Copies rows and calls each(i) for the output rows i of a band, while scratch.rows are its input
// rows, columns [q, q + columns) of the output.
template <class T, class Each>
CK_INLINE void walk_rows(const Problem& problem, const LaneSource<T>& source, const Rows& rows,
                         const LaneGrid& grid, int64_t q, int64_t columns, int64_t parts,
                         const LaneScratch<T>& scratch, const Each& each) {
  const int64_t begin = q * problem.stride_w - problem.pad_left;
  const int64_t count = (columns - 1) * problem.stride_w + problem.s;
  int64_t slot = 0, next = 0;  // of the ring; the next input row of the band
  for (int64_t i = 0; i < rows.band.rows; ++i) {
    const int64_t last = i * problem.stride_h + problem.r;
    int64_t kept = next - i * problem.stride_h;
    if (kept <= 0) {  // a stride beyond the filter
      next = i * problem.stride_h;
      kept = 0;
    }
    for (int64_t r = 0; r < kept; ++r) scratch.rows[r] = scratch.rows[problem.r - kept + r];
    for (; next < last; ++next, ++kept) {
      const int64_t row = source_row(problem, rows.top + next);
      T* const to = scratch.ring + slot * grid.row;
      slot = slot + 1 == problem.r ? 0 : slot + 1;
      scratch.rows[kept] = row < 0 ? nullptr : to;
      if (row >= 0) copy_lanes(problem, source, row, begin, count, parts, grid, to);
    }
    each(i);
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
