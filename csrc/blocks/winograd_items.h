// Winograd's kernels made of the steps of winograd.h: what their items are, in one phase or two.
#pragma once
#include "winograd_blocks.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// The inputs of some neighbouring cells, of a vector of channels.
template <class Tile, ReadPixels* kRead = read_planes>
CK_INLINE void input_cells(const Problem& problem, const Operands& operands, const Blocking& b,
                           const Places& places, const Parts& parts, int64_t cell, int64_t end_cell,
                           int64_t channel_block) {
  const float* x = static_cast<const float*>(operands.x);
  each_piece(b, cell, end_cell, [&](const Block& piece) {
    if (problem.x_layout == kNchwc)
      transform_block_inputs<Tile>(problem, x, b, places, parts, piece, channel_block);
    else
      transform_inputs<Tile, kRead>(problem, x, b, places, parts, piece, channel_block);
  });
}
// kVecs vectors of filters at some neighbouring cells.
template <class Tile, bool kHalf, int kVecs>
CK_INLINE void filter_cells(const Problem& problem, const Operands& operands, const Blocking& b,
                            const Places& places, const Parts& parts, int64_t cell,
                            int64_t end_cell, int64_t filter) {
  const Range range = {first_tile(b, cell) - places.first, first_tile(b, end_cell) - places.first};
  const int64_t group = filter / kGroup, lane = filter % kGroup;
  const float* weights = static_cast<const float*>(operands.packed) +
                         kFilterWeights<Tile, kHalf> * problem.c * group * kGroup + lane;
  const bool last = group == b.groups - 1;
  if constexpr (kHalf)
    multiply_half<Tile, kVecs>(problem, b, places, parts, range, weights, last);
  else
    multiply_full<Tile>(problem, b, places, parts, range, weights, last);
  for (int64_t part = 0; part < kVecs * kWide && filter + part < filters_of(problem); part += kWide)
    each_piece(b, cell, end_cell, [&](const Block& piece) {
      if (problem.y_layout == kNchwc && operands.epilogue.activation <= kClip)
        transform_block_outputs<Tile>(problem, operands, b, places, parts, piece, parts.sums + part,
                                      filter + part);
      else
        transform_outputs<Tile>(problem, operands, b, places, parts, piece, parts.sums + part,
                                filter + part);
    });
}

// ---- the kernel: kHalf says which of the two packings of the weights ----

// The taps of filter k, channel c are tap(k, c, row, column). In double, rounded once; filters past
// k are zero.
template <class Tile, bool kHalf, class Tap>
CK_INLINE void pack_filters(const Problem& problem, const Tap& tap, void* packed) {
  constexpr int n = Tile::kPoints, lanes = kLanes<double>, columns = kHalf ? Tile::kTaps : n;
  const int64_t groups = blocking_of<Tile>(problem).groups, panel = problem.c * kGroup;
  for (int64_t group = 0; group < groups; ++group)
    for (int64_t c = 0; c < problem.c; ++c) {
      float* to = static_cast<float*>(packed) + group * kFilterWeights<Tile, kHalf> * panel;
      for (int64_t part = 0; part < kGroup; part += lanes) {
        const int64_t first = group * kGroup + part;
        Vec<double> u[n][columns];
        transform_filters<Tile, kHalf>(
            [&](int lane, int row, int column) {
              return first + lane < problem.k ? tap(first + lane, c, row, column) : 0.0;
            },
            u);
        for (int i = 0; i < n; ++i)
          for (int j = 0; j < columns; ++j) {
            const int64_t at =
                kHalf ? (i * problem.c + c) * columns + j : (i * n + j) * problem.c + c;
            *reinterpret_cast<HalfVector*>(to + at * kGroup + part) =
                __builtin_convertvector(u[i][j], HalfVector);
          }
      }
    }
}
template <class Tile, bool kHalf>
void winograd_prepare(const Problem& problem, const void* w, void* packed) {
  const float* weights = static_cast<const float*>(w);
  pack_filters<Tile, kHalf>(
      problem,
      [&](int64_t k, int64_t c, int row, int column) {
        return double(weights[(k * problem.c + c) * 9 + row * 3 + column]);
      },
      packed);
}
template <class Tile, bool kHalf>
int64_t packed_bytes(const Problem& problem, const Blocking& b) {
  return kFilterWeights<Tile, kHalf> * problem.c * b.groups * kGroup * int64_t(sizeof(float));
}

// One phase, for images whose transformed inputs leave the second-level cache. Items: cells, each
// with kShared filters at a time. A range of whole cells makes blocks of them; one that begins or
// ends inside a cell transforms its inputs for its own filters: with fewer filters in an item that
// would be too much of its work.
constexpr int64_t kShared = 128 / kGroup;  // groups of filters

template <class Tile>
Sizes blocks_sizes(const Problem& problem) {
  const Blocking b = blocking_of<Tile>(problem);
  return {packed_bytes<Tile, false>(problem, b), 0, parts_of<Tile>(b, false, true, nullptr).bytes};
}
template <class Tile>
int64_t blocks_items(const Problem& problem, int64_t) {
  const Blocking b = blocking_of<Tile>(problem);
  return b.rows.tiles * b.cells * ((b.groups + kShared - 1) / kShared);
}
template <class Tile, ReadPixels* kRead = read_planes>
void blocks_run(const Problem& problem, int64_t, int64_t begin, int64_t end,
                const Operands& operands) {
  const Blocking b = blocking_of<Tile>(problem);
  const Parts parts = parts_of<Tile>(b, false, true, operands.scratch);
  const int64_t shares = (b.groups + kShared - 1) / kShared;
  Places places;
  for (int64_t item = begin; item < end;) {
    const int64_t share = item % shares, left = end - item;
    const int64_t whole = share == 0 ? left / shares : 0;
    const Block block = block_at(b, item / shares, whole > 0 ? whole : 1);
    const int64_t stop = whole > 0 || shares - share < left ? shares : share + left;
    const int64_t cell = item / shares, end_cell = cell + block.cells;
    find_places(b, first_tile(b, cell), block.rows * block.columns, places);
    for (int64_t i = 0; i < b.channel_blocks; ++i)
      input_cells<Tile, kRead>(problem, operands, b, places, parts, cell, end_cell, i);
    for (int64_t group = share * kShared; group < stop * kShared && group < b.groups; ++group)
      filter_cells<Tile, false, 2>(problem, operands, b, places, parts, cell, end_cell,
                                   group * kGroup);
    item += whole > 0 ? block.cells * shares : stop - share;
  }
}

// Two phases, for small images: all inputs are transformed once, whatever the number of threads.
// The image is cut into bands of cells, as equal as can be, so that two threads mostly read what
// they wrote. Items: a unit of cells of a band, for each of its blocks of channels, then for some
// filters. Neighbouring items of a range are worked on together. Half-transformed weights are
// finished in every item, so there an item has more cells and fewer filters.
struct Bands {
  int64_t count, cells;  // of the image
};
CK_INLINE Bands bands_of(const Blocking& b) {
  const int64_t most = b.tiles / b.columns.tiles, cells = b.rows.tiles * b.cells;  // most: rows
  return {most == 0 ? cells : (b.rows.tiles + most - 1) / most, cells};
}
CK_INLINE int64_t band_begin(const Bands& bands, int64_t band) {
  return bands.cells * band / bands.count;
}
// What phase 0 or 1 does for every unit, and the cells of a unit.
struct Passes {
  int64_t count, unit;
};
template <bool kHalf>
CK_INLINE Passes passes_of(const Problem& problem, const Blocking& b, int64_t phase) {
  if (phase == 0) return {b.channel_blocks, 1};
  const int64_t filters = kHalf ? kWide : kGroup;
  return {(filters_of(problem) + filters - 1) / filters, kHalf ? 2 : 1};
}
CK_INLINE int64_t band_units(const Bands& bands, int64_t band, int64_t unit) {
  return (band_begin(bands, band + 1) - band_begin(bands, band) + unit - 1) / unit;
}

template <class Tile, bool kHalf>
Sizes shared_sizes(const Problem& problem) {
  const Blocking b = blocking_of<Tile>(problem);
  const Parts parts = parts_of<Tile>(b, kHalf, false, nullptr);
  return {packed_bytes<Tile, kHalf>(problem, b),
          bands_of(b).count * parts.block_inputs * int64_t(sizeof(float)), parts.bytes};
}
template <class Tile, bool kHalf>
int64_t shared_items(const Problem& problem, int64_t phase) {
  const Blocking b = blocking_of<Tile>(problem);
  const Bands bands = bands_of(b);
  const Passes passes = passes_of<kHalf>(problem, b, phase);
  int64_t units = 0;
  for (int64_t i = 0; i < bands.count; ++i) units += band_units(bands, i, passes.unit);
  return passes.count * units;
}
template <class Tile, bool kHalf>
void shared_run(const Problem& problem, int64_t phase, int64_t begin, int64_t end,
                const Operands& operands) {
  const Blocking b = blocking_of<Tile>(problem);
  const Bands bands = bands_of(b);
  const Passes passes = passes_of<kHalf>(problem, b, phase);
  Parts parts = parts_of<Tile>(b, kHalf, false, operands.scratch);
  Places places;
  for (int64_t band = 0, done = 0; done < end; ++band) {  // done: items of the bands before
    const int64_t units = band_units(bands, band, passes.unit), first = band_begin(bands, band);
    const int64_t band_end = done + units * passes.count, last = band_begin(bands, band + 1);
    if (begin < band_end) {
      const int64_t origin = first_tile(b, first);
      find_places(b, origin, first_tile(b, last) - origin, places);
    }
    parts.inputs = static_cast<float*>(operands.shared) + band * parts.block_inputs;
    while (begin < end && begin < band_end) {
      const int64_t pass = (begin - done) / units, at = (begin - done) % units;
      const int64_t left = end - begin, stop = left < units - at ? at + left : units;
      // Both vectors of a panel, where a range holds all their cells.
      const bool pair = kHalf && phase == 1 && at == 0 && pass % 2 == 0 &&
                        pass + 1 < passes.count && left >= 2 * units;
      const int64_t cell = first + at * passes.unit;
      const int64_t to = first + stop * passes.unit, end_cell = to < last ? to : last;
      if (phase == 0)
        input_cells<Tile>(problem, operands, b, places, parts, cell, end_cell, pass);
      else if (!kHalf)
        filter_cells<Tile, kHalf, 2>(problem, operands, b, places, parts, cell, end_cell,
                                     pass * kGroup);
      else if (pair)
        filter_cells<Tile, kHalf, 2>(problem, operands, b, places, parts, cell, end_cell,
                                     pass * kWide);
      else
        filter_cells<Tile, kHalf, 1>(problem, operands, b, places, parts, cell, end_cell,
                                     pass * kWide);
      begin += pair ? 2 * units : stop - at;
    }
    done = band_end;
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
