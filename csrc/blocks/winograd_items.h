// Winograd's kernels made of the steps of winograd.h: what their items are, in one phase or two.
#pragma once
#include "winograd.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// ---- the kernel: kHalf says which of the two packings of the weights ----

// In double, rounded once.
template <class Tile, bool kHalf>
void winograd_prepare(const Problem& problem, const void* w, void* packed) {
  constexpr int n = Tile::kPoints, lanes = kLanes<double>, columns = kHalf ? 3 : n;
  const int64_t groups = blocking_of<Tile>(problem).groups, panel = problem.c * kGroup;
  for (int64_t group = 0; group < groups; ++group)
    for (int64_t c = 0; c < problem.c; ++c) {
      float* to = static_cast<float*>(packed) + group * kFilterWeights<Tile, kHalf> * panel;
      for (int64_t part = 0; part < kGroup; part += lanes) {
        Vec<double> u[n][columns];
        transform_filters<Tile, kHalf>(problem, static_cast<const float*>(w), group * kGroup + part,
                                       c, u);
        for (int i = 0; i < n; ++i)
          for (int j = 0; j < columns; ++j) {
            const int64_t at = kHalf ? (i * problem.c + c) * 3 + j : (i * n + j) * problem.c + c;
            *reinterpret_cast<HalfVector*>(to + at * kGroup + part) =
                __builtin_convertvector(u[i][j], HalfVector);
          }
      }
    }
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
template <class Tile>
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
    find_places(b, block, places);
    for (int64_t i = 0; i < b.channel_blocks; ++i)
      transform_inputs<Tile>(problem, static_cast<const float*>(operands.x), b, places, parts,
                             block, 0, i);
    for (int64_t group = share * kShared; group < stop * kShared && group < b.groups; ++group)
      filter_piece<Tile, false, 2>(problem, operands, b, places, parts, block, 0, group * kGroup);
    item += whole > 0 ? block.cells * shares : stop - share;
  }
}

// Two phases, for small images: all inputs are transformed once, whatever the number of threads.
// Items: a unit of cells of a block, for each of its blocks of channels, then for some filters.
// Neighbouring items of a range are worked on together. Half-transformed weights are finished in
// every item, so there an item has more cells and fewer filters.
struct Shared {
  int64_t blocks, block_cells;
};
CK_INLINE Shared shared_of(const Blocking& b) {
  const int64_t most = b.tiles / b.columns.tiles;  // rows
  if (most == 0) return {b.rows.tiles * b.cells, 1};
  const int64_t blocks = (b.rows.tiles + most - 1) / most;
  return {blocks, (b.rows.tiles + blocks - 1) / blocks * b.cells};
}
CK_INLINE int64_t units_of(int64_t cells, int64_t unit) { return (cells + unit - 1) / unit; }

template <class Tile, bool kHalf>
Sizes shared_sizes(const Problem& problem) {
  const Blocking b = blocking_of<Tile>(problem);
  const Parts parts = parts_of<Tile>(b, kHalf, false, nullptr);
  return {packed_bytes<Tile, kHalf>(problem, b),
          shared_of(b).blocks * parts.block_inputs * int64_t(sizeof(float)), parts.bytes};
}
// What phase 0 or 1 does for every unit, and the cells of a unit.
struct Passes {
  int64_t count, unit;
};
template <bool kHalf>
CK_INLINE Passes passes_of(const Problem& problem, const Blocking& b, int64_t phase) {
  if (phase == 0) return {b.channel_blocks, 1};
  const int64_t filters = kHalf ? kWide : kGroup;
  return {(problem.k + filters - 1) / filters, kHalf ? 2 : 1};
}
template <class Tile, bool kHalf>
int64_t shared_items(const Problem& problem, int64_t phase) {
  const Blocking b = blocking_of<Tile>(problem);
  const Shared shared = shared_of(b);
  const Passes passes = passes_of<kHalf>(problem, b, phase);
  const int64_t last = b.rows.tiles * b.cells - (shared.blocks - 1) * shared.block_cells;
  return passes.count * ((shared.blocks - 1) * units_of(shared.block_cells, passes.unit) +
                         units_of(last, passes.unit));
}
template <class Tile, bool kHalf>
void shared_run(const Problem& problem, int64_t phase, int64_t begin, int64_t end,
                const Operands& operands) {
  const Blocking b = blocking_of<Tile>(problem);
  const Shared shared = shared_of(b);
  const Passes passes = passes_of<kHalf>(problem, b, phase);
  const int64_t block_items = passes.count * units_of(shared.block_cells, passes.unit);
  Parts parts = parts_of<Tile>(b, kHalf, false, operands.scratch);
  Places places;
  for (int64_t item = begin, placed = -1; item < end;) {
    const int64_t index = item / block_items, first = index * shared.block_cells;
    const int64_t rest = b.rows.tiles * b.cells - first;
    const int64_t cells = rest < shared.block_cells ? rest : shared.block_cells;
    const int64_t units = units_of(cells, passes.unit), left = end - item;
    const int64_t pass = item % block_items / units, at = item % block_items % units;
    const int64_t stop = left < units - at ? at + left : units;
    // Both vectors of a panel, where a range holds all their cells.
    const bool pair = kHalf && phase == 1 && at == 0 && pass % 2 == 0 && pass + 1 < passes.count &&
                      left >= 2 * units;
    const Block block = block_at(b, first, cells);
    if (placed != index) find_places(b, block, places);
    placed = index;
    parts.inputs = static_cast<float*>(operands.shared) + index * parts.block_inputs;
    const int64_t end_cell = stop * passes.unit < cells ? stop * passes.unit : cells;
    for (int64_t cell = at * passes.unit; cell < end_cell;) {
      const Block piece = block_at(b, first + cell, end_cell - cell);
      const int64_t tile = (piece.row - block.row) * block.columns + piece.column - block.column;
      if (phase == 0)
        transform_inputs<Tile>(problem, static_cast<const float*>(operands.x), b, places, parts,
                               piece, tile, pass);
      else if (!kHalf)
        filter_piece<Tile, kHalf, 2>(problem, operands, b, places, parts, piece, tile,
                                     pass * kGroup);
      else if (pair)
        filter_piece<Tile, kHalf, 2>(problem, operands, b, places, parts, piece, tile,
                                     pass * kWide);
      else
        filter_piece<Tile, kHalf, 1>(problem, operands, b, places, parts, piece, tile,
                                     pass * kWide);
      cell += piece.cells;
    }
    item += pair ? 2 * units : stop - at;
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
