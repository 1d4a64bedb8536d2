// How an FFT convolution is cut up: the tile, what stands in the lanes, and what is done together.
// All of it follows from the problem, so that every call, range and thread agrees.
#pragma once
#include "blocks/fft.h"
#include "problem.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// What the lanes of a vector are. A unit is what shares its transformed inputs:
//   kFilters: input channels on the way in, filters on the way out; a unit is a group of the
//   convolution; kTiles:   tiles of one channel, where channels are too few to fill the lanes; a
//   unit is a group; kGroups:  groups (depthwise: channels); a unit is one vector of them.
enum Lanes : int64_t { kFilters, kTiles, kGroups };

// One direction of the image. A tile reads `size` inputs and makes `step` outputs; the next begins
// `step` further on.
struct Axis {
  int64_t size, step, tiles;
  int64_t pieces, piece;  // a long filter is cut into pieces of `step` taps: piece i of tile t
                          // reads the inputs of tile t + i
  int64_t begin;          // image coordinate of tile 0's first input
  int64_t shift;          // tap u of a piece stands at (u - shift) mod size
  int64_t used;           // inputs of a tile that can be other than zero
  bool wrapped;           // one tile, its circle closed by the zeros beyond the image
};

struct Tiling {
  Lanes lanes;
  Axis rows, columns;
  int64_t frequencies;
  int64_t units, in_vectors, out_vectors;  // of a unit
  int64_t depth;                           // channels that meet in one output, per piece
  int64_t grid_rows, grid_columns;         // output tiles (kTiles: vectors of tiles)
  int64_t band_rows, band_columns;         // tiles whose products are done together
  int64_t strip;                           // tiles of a row gathered together, at most
  bool fused;                              // one channel makes one filter: no spectrum is kept
  bool shared;   // inputs transformed by all threads together, in a phase of its own
  int64_t cuts;  // parts of a fused unit of one tile, for many threads; 1: it is not cut
};

CK_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
CK_INLINE int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
CK_INLINE int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }

constexpr int kMostAxes = 24;

// One tile of all the image, wrapped around: the zeros beyond one border serve the other too, and
// taps that never meet the image are left out. The least size.
CK_INLINE int64_t wrapped_size(int64_t in, int64_t out, int64_t taps, int64_t before) {
  const int64_t least = min_of(before, out - 1), most = min_of(taps - 1 - before, in - 1);
  return max_of(in + max_of(least, 0), out + max_of(most, 0));
}
// Wrapped around, a tap that never meets a pixel would meet a wrong one.
CK_INLINE bool meets(const Axis& axis, int64_t tap, int64_t in, int64_t out) {
  return !axis.wrapped || (tap - axis.shift > -out && tap - axis.shift < in);
}
// The tap of an uncut filter that stands at `place` of the tile, or -1. A filter may be larger than
// the circle: then several taps would stand there, of which at most one meets a pixel.
CK_INLINE int64_t tap_at(const Axis& axis, int64_t place, int64_t taps, int64_t in, int64_t out) {
  const int64_t tap = axis.shift + (axis.wrapped && place >= in ? place - axis.size : place);
  return tap >= 0 && tap < taps && meets(axis, tap, in, out) ? tap : -1;
}

// The sizes worth a look in one direction: each is larger than the one before and needs less work.
template <class T>
int64_t axes_of(int64_t in, int64_t out, int64_t taps, int64_t before, bool zeros,
                Axis (&axes)[kMostAxes]) {
  typedef CodeletTable<T> Table;
  const int64_t wrapped = wrapped_size(in, out, taps, before);
  int64_t count = 0, best = INT64_MAX;
  for (int i = 0; i < Table::kCount; ++i) {
    const int64_t size = Table::kTable[i].size;
    if (size == 1 && taps > 1) continue;
    const auto consider = [&](const Axis& axis) {
      const int64_t work = axis.tiles * axis.size * axis.pieces;
      if (work >= best || count == kMostAxes) return;
      best = work;
      axes[count++] = axis;
    };
    if (size >= taps) {
      const int64_t step = size - taps + 1, tiles = ceil_div(out, step);
      consider({size, step, tiles, 1, taps, -before, 0,
                tiles == 1 ? min_of(size, out + taps - 1) : size, false});
    }
    if (zeros && size >= wrapped) consider({size, out, 1, 1, taps, 0, before, in, true});
    if (2 * taps > size && size > 1) {
      const int64_t step = size / 2;
      consider(
          {size, step, ceil_div(out, step), ceil_div(taps, step), step, -before, 0, size, false});
    }
    if (taps == 1) break;
  }
  return count;
}

// Of a tile of images; filters fill it otherwise.
template <class T>
CK_INLINE TileFft<T> image_tile_fft(const Axis& rows, const Axis& columns) {
  const auto half = [](const Axis& axis)
                        CK_LAMBDA { return 2 * max_of(axis.used, axis.step) <= axis.size; };
  return tile_fft<T>(rows.size, columns.size, half(rows), half(columns));
}

CK_INLINE double log2_of(int64_t size) {  // straight between powers of two
  int bits = 0;
  while ((int64_t(2) << bits) <= size) ++bits;
  return bits + double(size) / double(int64_t(1) << bits) - 1;
}
template <class T>
CK_INLINE double transform_cost(int64_t size) {
  return double(size) * (2 + 1.5 * log2_of(size));
}

// Bands hold about this many tiles: enough to use a weight often once it is loaded, few enough to
// stay in the cache.
constexpr int64_t kBandTiles = 16;
constexpr int64_t kBandBytes = 6 << 20;
// Lanes of groups use a weight once a tile: only the strip that is transposed together gains.
constexpr int64_t kGroupTiles = 4;
constexpr int64_t kFewItems = 8;
// So many parts fall evenly on tens of threads; more units than those are not cut: their threads
// would only meet more often.
constexpr int64_t kManyParts = 128, kFewUnits = 16;
constexpr int64_t kCachedWeights = 4 << 20, kSharedBytes = 8 << 20, kStripBytes = 768 << 10;

// From memory: between other work, weights of megabytes seldom stay in the last cache.
constexpr double kWeightBytesPerCycle = 7;

template <class T>
CK_INLINE int64_t frequency_bytes(const Tiling& tiling, int64_t vectors) {
  return tiling.frequencies * vectors * 2 * kLanes<T> * int64_t(sizeof(T));
}
template <class T>
CK_INLINE int64_t weight_width(const Tiling& tiling) {
  return tiling.lanes == kTiles ? 2 : 2 * kLanes<T>;
}
template <class T>
CK_INLINE int64_t weight_count(const Tiling& tiling) {
  return tiling.units * tiling.out_vectors * tiling.frequencies * tiling.rows.pieces *
         tiling.columns.pieces * tiling.depth * weight_width<T>(tiling);
}

// Cuts the grid into bands of about `wanted` tiles, nearly equal; returns their number.
CK_INLINE int64_t cut_bands(Tiling& tiling, int64_t wanted) {
  const int64_t rows = tiling.grid_rows, columns = tiling.grid_columns;
  tiling.band_columns = columns >= wanted ? ceil_div(columns, ceil_div(columns, wanted)) : columns;
  tiling.band_rows =
      columns >= wanted ? 1 : ceil_div(rows, ceil_div(rows, min_of(wanted / columns, rows)));
  return ceil_div(rows, tiling.band_rows) * ceil_div(columns, tiling.band_columns);
}

// A tile half transformed, in scalars.
template <class T>
CK_INLINE int64_t work_size(const Tiling& tiling) {
  return tiling.rows.size * fft_pitch<T>(tiling.columns.size);
}
// Inputs are transposed once for all tiles of a strip, whose half-transformed tiles stay within the
// second cache.
template <class T>
CK_INLINE void cut_strips(Tiling& tiling) {
  const int64_t columns = tiling.band_columns + tiling.columns.pieces - 1;
  const int64_t most = kStripBytes / (work_size<T>(tiling) * int64_t(sizeof(T)));
  tiling.strip = tiling.lanes == kTiles ? 1 : max_of(1, min_of(columns, min_of(most, 16)));
}

// Fills in all that follows from the tile and the lanes.
template <class T>
void lay_out(const Problem& problem, Tiling& tiling) {
  const int64_t channels = problem.c / problem.groups, filters = problem.k / problem.groups;
  const Axis &rows = tiling.rows, &columns = tiling.columns;
  tiling.frequencies = fft_frequencies(rows.size, columns.size);
  tiling.units = tiling.lanes == kGroups ? ceil_div(problem.groups, kLanes<T>) : problem.groups;
  tiling.in_vectors = tiling.lanes == kFilters ? ceil_div(channels, kLanes<T>) : channels;
  tiling.out_vectors = tiling.lanes == kFilters ? ceil_div(filters, kLanes<T>) : filters;
  tiling.depth = channels;
  tiling.grid_rows = rows.tiles;
  tiling.grid_columns = columns.tiles;
  if (tiling.lanes == kTiles) {
    if (rows.pieces * columns.pieces == 1) {  // tile after tile
      tiling.grid_rows = 1;
      tiling.grid_columns = ceil_div(rows.tiles * columns.tiles, kLanes<T>);
    } else {  // a lane has rows of tiles of its own, so that the pieces of a tile stay in its lane
      tiling.grid_rows = ceil_div(rows.tiles, kLanes<T>);
    }
  }
  tiling.fused = tiling.lanes != kFilters && channels == 1 && filters == 1 &&
                 rows.pieces * columns.pieces == 1;
  const bool cut = tiling.fused && tiling.lanes == kGroups && rows.tiles * columns.tiles == 1;
  tiling.cuts = cut && tiling.units <= kFewUnits
                    ? min_of(ceil_div(kManyParts, tiling.units), columns.size / 2 + 1)
                    : 1;
  const int64_t tile_bytes = frequency_bytes<T>(tiling, tiling.in_vectors);
  const int64_t all =
      (tiling.grid_rows + rows.pieces - 1) * (tiling.grid_columns + columns.pieces - 1);
  // All at once: weights are read once, and every phase has items for many threads. Spectra beyond
  // the caches would cost more than that saves.
  const int64_t shared_bytes =
      tiling.units * max_of(all * tile_bytes, tiling.grid_rows * tiling.grid_columns *
                                                  frequency_bytes<T>(tiling, tiling.out_vectors));
  tiling.shared = !tiling.fused && shared_bytes <= kSharedBytes;
  if (tiling.shared) {
    tiling.band_rows = tiling.grid_rows;
    tiling.band_columns = tiling.grid_columns;
    cut_strips<T>(tiling);
    return;
  }
  int64_t wanted = tiling.lanes == kFilters  ? kBandTiles
                   : tiling.lanes == kGroups ? kGroupTiles
                                             : 1;
  wanted = max_of(min_of(wanted, kBandBytes / tile_bytes), min_of(wanted, 4));
  const int64_t bands = cut_bands(tiling, wanted);
  // Too few items for a handful of threads: smaller bands, as far as the weights they stream allow.
  const int64_t vectors = tiling.units * tiling.out_vectors;
  if (tiling.lanes == kFilters && bands * vectors < kFewItems) {
    const int64_t least = weight_count<T>(tiling) * int64_t(sizeof(T)) > kCachedWeights ? 8 : 4;
    wanted =
        min_of(wanted, max_of(least, tiling.grid_rows * tiling.grid_columns * vectors / kFewItems));
    cut_bands(tiling, wanted);
  }
  cut_strips<T>(tiling);
}

// Cycles, roughly: only comparisons count.
template <class T>
double cost(const Tiling& tiling) {
  const Axis &rows = tiling.rows, &columns = tiling.columns;
  const double halo_rows = double(rows.pieces - 1), halo_columns = double(columns.pieces - 1);
  const double tiles = double(tiling.grid_rows) * tiling.grid_columns * tiling.units;
  const double bands = double(ceil_div(tiling.grid_rows, tiling.band_rows)) *
                       ceil_div(tiling.grid_columns, tiling.band_columns) * tiling.units;
  const double in_tiles =
      bands * (tiling.band_rows + halo_rows) * (tiling.band_columns + halo_columns);
  const double across = transform_cost<T>(columns.size) * 0.6,
               down = columns.size / 2 * transform_cost<T>(rows.size);
  // Between lanes and rows: about as many shuffles as a row has points, log2(lanes) times.
  const double in = rows.used * (across + 4.0 * columns.size) + down;
  const double out = min_of(rows.step, rows.size) * (across + 6.0 * columns.step) + down;
  const double products =
      tiles * tiling.frequencies * rows.pieces * columns.pieces * tiling.depth * tiling.out_vectors;
  const double weights = double(weight_count<T>(tiling)) * sizeof(T);
  const double streamed = weights / tiling.units * bands / kWeightBytesPerCycle;
  const double multiply = products * (tiling.lanes == kFilters ? 2
                                      : tiling.lanes == kTiles ? 2.4
                                                               : 4);
  const double spectra =
      tiles * tiling.frequencies * tiling.out_vectors * 4;  // stored, and read again
  const double cycles = in_tiles * tiling.in_vectors * in + tiles * tiling.out_vectors * out +
                        (multiply > streamed ? multiply : streamed) + (tiling.fused ? 0 : spectra) +
                        weights / 16;
  if (tiling.shared) return cycles;
  // Few items leave threads idle; a little is worth paying against it.
  const double items = bands * tiling.out_vectors * double(tiling.cuts);
  return items < kFewItems ? cycles * (1 + 0.04 * (kFewItems - items)) : cycles;
}

// A problem's best tiling. Looks at neither n nor strides.
template <class T>
Tiling tiling_of(const Problem& problem) {
  const bool zeros = problem.padding_mode == kZeros;
  const bool planes = problem.x_layout == kNchw && problem.y_layout == kNchw;
  Axis rows[kMostAxes], columns[kMostAxes];
  const int64_t row_count =
      axes_of<T>(problem.h, problem.p, problem.r, problem.pad_top, zeros, rows);
  const int64_t column_count =
      axes_of<T>(problem.w, problem.q, problem.s, problem.pad_left, zeros, columns);
  Tiling best{};
  double least = -1;
  for (int64_t i = 0; i < row_count; ++i)
    for (int64_t j = 0; j < column_count; ++j)
      for (int64_t lanes = kFilters; lanes <= kGroups; ++lanes) {
        if (lanes == kGroups && problem.groups == 1) continue;
        if (lanes == kTiles && !planes) continue;  // a block's pixels hold its channels
        Tiling tiling{};
        tiling.lanes = Lanes(lanes);
        tiling.rows = rows[i];
        tiling.columns = columns[j];
        lay_out<T>(problem, tiling);
        const double cycles = cost<T>(tiling);
        if (least >= 0 && !(cycles < least)) continue;
        least = cycles;
        best = tiling;
      }
  return best;
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
