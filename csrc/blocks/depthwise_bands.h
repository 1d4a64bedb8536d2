// What the ways of the depthwise kernel share: bands of output rows, the copy of their input rows,
// and how sums leave the registers.
#pragma once
#include "arena.h"
#include "edge_lanes.h"
#include "epilogue.h"
#include "kernel.h"
#include "transpose.h"
#include "window.h"

namespace convkit {
namespace CONVKIT_ISA {

// Any filter: output rows in registers, 2 vectors of each, which share its weights.
constexpr int kAnyRows = kRegisters == 32 ? 7 : 4, kAnyVecs = 2;

enum class Way { kPairs, kStrips, kAny };

// From the problem alone, without strides: items and the order of every sum follow from it.
template <class T>
CK_INLINE Way way_of(const Problem& problem) {
  const int64_t size = problem.r, stride = problem.stride_h;
  if (size != problem.s || stride != problem.stride_w || stride > 2) return Way::kAny;
  if (size != 3 && size != 5 && (size != 7 || stride != 1)) return Way::kAny;
  const bool zeros = problem.padding_mode == kZeros;
  // A row of x fits the half of a vector that its outputs take; at stride 2 it is shuffled down to
  // one, and a lane of the vector is left over as the zero of the padding.
  const int64_t widest = problem.stride_w == 1 ? kLanes<T> / 2 : kLanes<T> - 1;
  return kHalfVectors && zeros && problem.w <= widest && problem.q <= kLanes<T> / 2 ? Way::kPairs
                                                                                    : Way::kStrips;
}
// How strips read x: where it is; out of channels side by side (NHWC), turned into rows; or out of
// a copy with its padding.
enum class Access { kInPlace, kTurned, kCopied };
CK_INLINE Access access_of(const Problem& problem) {
  const bool padded = problem.pad_top + problem.pad_bottom + problem.pad_left + problem.pad_right;
  if (!kMaskedLoads || (problem.padding_mode != kZeros && padded)) return Access::kCopied;
  if (problem.x.w == 1) return Access::kInPlace;
  return problem.x.c == 1 ? Access::kTurned : Access::kCopied;
}

// Output rows of an item of the unrolled ways, which run down strips of one vector. The more rows,
// the fewer are read twice; but this band and the next one, which is being fetched, stay in the
// first cache, and rows of wide images that lie whole pages apart push each other out of it.
constexpr int kMostRows = 32;
CK_INLINE int64_t strip_rows(const Problem& problem) {
  const int64_t rows = 1600 / (problem.q * problem.stride_w);
  return rows < 7 ? 7 : rows > kMostRows ? kMostRows : rows;
}

CK_INLINE int64_t input_rows(const Problem& problem, int64_t rows) {
  return (rows - 1) * problem.stride_h + problem.r;
}

constexpr int64_t kLineBytes = 64;
struct Grid {
  int64_t bands, rows;   // output rows of the largest band
  int64_t plane, pitch;  // elements of one plane of columns, of one row of a band
  int64_t planes;
  int64_t filters;       // of an item
  int64_t group;         // filters whose channels are turned at once
  int64_t row, channel;  // elements of a turned row, of the turned rows of a channel
};
template <class T>
CK_INLINE Grid grid_of(const Problem& problem) {
  const bool any = way_of<T>(problem) == Way::kAny;
  const int64_t most = any ? kAnyRows : strip_rows(problem);
  const int64_t lanes = (any ? kAnyVecs : 1) * kLanes<T>;
  Grid grid;
  grid.bands = (problem.p + most - 1) / most;
  grid.rows = (problem.p + grid.bands - 1) / grid.bands;
  const int64_t columns = (problem.q + lanes - 1) / lanes * lanes;
  grid.planes = any ? problem.stride_w : 1;
  grid.plane = any ? columns + (problem.s + problem.stride_w - 1) / problem.stride_w
                   : columns * problem.stride_w + problem.s + kLanes<T>;
  grid.plane = (grid.plane + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  grid.pitch = grid.planes * grid.plane;
  grid.filters = way_of<T>(problem) == Way::kPairs ? 2 : 1;
  grid.row = (problem.w + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  grid.channel = input_rows(problem, grid.rows) * grid.row;
  // A line of channels, unless their rows would fill the second cache.
  grid.group = kLineBytes / int64_t(sizeof(T));
  while (grid.group > 2 && grid.group * grid.channel * int64_t(sizeof(T)) > (256 << 10))
    grid.group /= 2;
  return grid;
}

// Input rows [top, top + count) of a channel, with their padding.
template <class T>
CK_NOINLINE void copy_band(const Problem& problem, const T* x, int64_t channel, int64_t top,
                           int64_t count, const Grid& grid, T* to) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < grid.planes; ++j)
      read_every(problem, x, channel, top + i, j - problem.pad_left, grid.planes, grid.plane,
                 to + i * grid.pitch + j * grid.plane);
}

// Output rows [row, row + rows) of one filter.
struct Band {
  int64_t filter, row, rows;
};
// Band `part` of a filter, the input row it begins at, and which of its input rows are read: all
// but those of zeros. A sum takes the same products whichever band its row is in.
struct Rows {
  Band band;
  int64_t top, count, low, high;
};
CK_INLINE Rows rows_at(const Problem& problem, const Band& band) {
  Rows rows;
  rows.band = band;
  rows.top = band.row * problem.stride_h - problem.pad_top;
  rows.count = input_rows(problem, band.rows);
  const bool zeros = problem.padding_mode == kZeros;
  rows.low = zeros && rows.top < 0 ? -rows.top : 0;
  rows.high = zeros && problem.h - rows.top < rows.count ? problem.h - rows.top : rows.count;
  if (rows.high < rows.low) rows.high = rows.low;  // all of them beyond the image
  return rows;
}
CK_INLINE Rows rows_of(const Problem& problem, const Grid& grid, int64_t filter, int64_t part) {
  const int64_t row = part * grid.rows, left = problem.p - row;
  return rows_at(problem, {filter, row, left < grid.rows ? left : grid.rows});
}

// Where an item stands. Items go by filters and then bands; turned ones by groups of filters, then
// bands, then the filters of the group, which share the lines that their channels stand in.
struct Place {
  int64_t first, group;  // of the group; its filters
  int64_t filter, part;
};
CK_INLINE Place place_of(const Problem& problem, const Grid& grid, bool turned, int64_t item) {
  Place place;
  const int64_t group = turned ? grid.group : grid.filters;
  const int64_t full = group / grid.filters * grid.bands;  // items of a group
  place.first = item / full * group;
  place.group = problem.k - place.first < group ? problem.k - place.first : group;
  const int64_t row = (place.group + grid.filters - 1) / grid.filters;
  place.part = item % full / row;
  place.filter = place.first + item % full % row * grid.filters;
  return place;
}
CK_INLINE void next_place(const Problem& problem, const Grid& grid, bool turned, Place& place) {
  place.filter += grid.filters;
  if (place.filter < place.first + place.group) return;
  if (++place.part == grid.bands) {
    place.part = 0;
    place.first += place.group;
    const int64_t group = turned ? grid.group : grid.filters;
    place.group = problem.k - place.first < group ? problem.k - place.first : group;
  }
  place.filter = place.first;
}

// to[j][i][w] = x[channel + j][top + i][w] for the rows i that are read, of channels side by side.
template <class T>
CK_NOINLINE void turn_rows(const Problem& problem, const T* x, int64_t channel, int64_t channels,
                           const Grid& grid, const Rows& rows, T* to) {
  for (int64_t i = rows.low; i < rows.high; ++i)
    for (int64_t column = 0; column < problem.w; column += kLanes<T>)
      for (int64_t j = 0; j < channels; j += kLanes<T>) {
        const int64_t step = problem.x.w,
                      count = channels - j < kLanes<T> ? channels - j : kLanes<T>;
        const int64_t pixels = problem.w - column;
        const T* const from = x + (rows.top + i) * problem.x.h + column * step + channel + j;
        T* const line = to + j * grid.channel + i * grid.row + column;
        if (pixels >= kLanes<T> && count == kLanes<T>) {
          transpose(from, step, line, grid.channel);
          continue;
        }
        Vec<T> tile[kLanes<T>];
        for (int64_t k = 0; k < kLanes<T>; ++k)
          tile[k] = k < pixels ? load_first(from + k * step, count) : Vec<T>{};
        transpose<T>(tile);
        for (int64_t k = 0; k < count; ++k) store(line + k * grid.channel, tile[k]);
      }
}
// Rows of x by row and channel, from input row 0 of a band on.
template <class T>
struct Source {
  const T* x;
  int64_t row, channel;  // distances
  int64_t origin;        // the channel at x
};
// What the item at `place` reads in place or turned. A group is turned at its first item, or where
// a range begins.
template <class T>
CK_INLINE Source<T> source_of(const Problem& problem, const T* x, const Grid& grid, bool turn,
                              const Place& place, const Rows& rows, bool begins, T* scratch) {
  if (!turn) return {x + rows.top * problem.x.h, problem.x.h, problem.x.c, 0};
  const int64_t multiplier = problem.k / problem.c, origin = place.first / multiplier;
  if (begins || place.filter == place.first) {
    const int64_t last = (place.first + place.group - 1) / multiplier;
    turn_rows(problem, x, origin, last - origin + 1, grid, rows, scratch);
  }
  return {scratch, grid.row, grid.channel, origin};
}

// How sums leave the registers: what all bands of a call share.
template <class T>
struct Exit {
  bool plain;    // whole vectors can go from registers to memory
  bool bounded;  // by low and high
  Vec<T> low, high;
  const T* bias;  // or null
  T* y;
  const T* residual;  // or null
};
template <class T>
CK_INLINE Exit<T> exit_of(const Problem& problem, const Operands& operands) {
  const Epilogue& epilogue = operands.epilogue;
  const Bounds<T> bounds = bounds_of<T>(epilogue);
  Exit<T> out;
  out.plain = bounds.any && problem.y.w == 1 && (!epilogue.residual || problem.residual.w == 1);
  out.bounded = out.plain && epilogue.activation != kIdentity;
  out.low = splat(bounds.low);
  out.high = splat(bounds.high);
  out.bias = static_cast<const T*>(epilogue.bias);
  out.y = static_cast<T*>(operands.y);
  out.residual = static_cast<const T*>(epilogue.residual);
  return out;
}
template <class T>
CK_INLINE Vec<T> bias_of(const Exit<T>& out, int64_t filter) {
  return splat(out.bias ? out.bias[filter] : T(0));
}
// A band's first element of y, and of the residual or null.
template <class T>
CK_INLINE T* y_of(const Problem& problem, const Exit<T>& out, const Band& band) {
  return out.y + band.filter * problem.y.c + band.row * problem.y.h;
}
template <class T>
CK_INLINE const T* residual_of(const Problem& problem, const Exit<T>& out, const Band& band) {
  if (!out.residual) return nullptr;
  return out.residual + band.filter * problem.residual.c + band.row * problem.residual.h;
}

// The general way, for sums that were put aside, a vector for each output row of the band. Lanes
// [from, from + lanes) are the columns from `column` on.
template <class T>
CK_NOINLINE void finish_vectors(const Problem& problem, const Operands& operands, const Band& band,
                                int64_t column, const Vec<T>* sums, int64_t from, int64_t lanes) {
  const int64_t left = problem.q - column, count = left < lanes ? left : lanes;
  for (int64_t i = 0; i < band.rows; ++i) {
    alignas(kVectorBytes) T values[kLanes<T>];
    store(values, sums[i]);
    finish_row(problem, operands, band.filter, band.row + i, column, values + from, count);
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
