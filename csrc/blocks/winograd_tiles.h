// How Winograd cuts the output into tiles, and the tiles into blocks that are worked on together.
#pragma once
#include "winograd_lanes.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

constexpr int64_t kWide = kLanes<float>;  // channels or filters in a vector
constexpr int64_t kGroup = 2 * kWide;  // filters in a packed panel: a broadcast feeds two vectors
constexpr int64_t kMostTiles = 64;     // in a block

// Tiles along one axis: `full` of m outputs, then some of m - 1, which need no point at infinity:
// 14 = 4 + 4 + 3 + 3.
struct Axis {
  int64_t outputs, tiles, full;
};
template <class Tile>
CK_INLINE Axis axis_of(int64_t outputs) {
  const int64_t m = Tile::kOutputs, tiles = (outputs + m - 1) / m, spare = tiles * m - outputs;
  return {outputs, tiles, spare < tiles ? tiles - spare : 0};
}
template <class Tile>
CK_INLINE int64_t tile_begin(const Axis& axis, int64_t tile) {
  const int64_t m = Tile::kOutputs;
  const int64_t at = tile <= axis.full ? tile * m : axis.full * m + (tile - axis.full) * (m - 1);
  return at < axis.outputs ? at : axis.outputs;
}

// Work is divided by cells, pieces of one row of tiles. Neighbouring cells make a block, whose
// transformed inputs stay in the second-level cache while all filters pass over them: as many cells
// as a range of items holds, up to `tiles`.
struct Blocking {
  Axis rows, columns;
  int64_t cells;  // in a row of tiles
  int64_t tiles;  // of the largest block
  int64_t channel_blocks, groups;
};
template <class Tile>
CK_INLINE Blocking blocking_of(const Problem& problem) {
  Blocking b{};
  b.rows = axis_of<Tile>(problem.p);
  b.columns = axis_of<Tile>(problem.q);
  b.channel_blocks = (problem.c + kWide - 1) / kWide;
  b.groups = (filters_of(problem) + kGroup - 1) / kGroup;
  // 14 tiles fill the registers; smaller cells where there are few of them.
  const int64_t all = b.rows.tiles * b.columns.tiles;
  const int64_t cell = all < 64 ? 4 : all < 48 * 14 ? 7 : 14;
  b.cells = (b.columns.tiles + cell - 1) / cell;
  // Up to 1 MB of inputs stays in the cache beside the weights of a point; weights beyond the cache
  // are streamed once per block, so then blocks are larger.
  const int64_t points = Tile::kPoints * Tile::kPoints;
  const int64_t input = points * 4 * b.channel_blocks * kWide;  // bytes of a transformed tile
  const bool streamed = input * problem.k > (int64_t(5) << 19);
  const int64_t most = streamed || Tile::kPoints == 4 || b.channel_blocks == 1 ? 56 : 28;
  int64_t tiles = (streamed ? int64_t(4) << 20 : int64_t(1) << 20) / input;
  tiles = tiles < 14 ? 14 : tiles > most ? most : tiles;
  if (tiles * input > (int64_t(8) << 20)) tiles = (int64_t(8) << 20) / input + 1;
  const int64_t row = (b.columns.tiles + b.cells - 1) / b.cells;
  b.tiles = tiles < row ? row : tiles > all ? all : tiles;
  return b;
}
struct Block {
  int64_t row, rows, column, columns;  // in tiles
  int64_t cells;
};
// The block that begins at a cell and holds no more than `cells`: whole rows, or a part of one.
CK_INLINE Block block_at(const Blocking& b, int64_t cell, int64_t cells) {
  const int64_t row = cell / b.cells, at = cell % b.cells;
  int64_t rows = at == 0 ? cells / b.cells : 0;
  rows = rows * b.columns.tiles > b.tiles ? b.tiles / b.columns.tiles : rows;
  if (rows > 0) return {row, rows, 0, b.columns.tiles, rows * b.cells};
  const int64_t begin = b.columns.tiles * at / b.cells;
  int64_t stop = at + 1, end = b.columns.tiles * stop / b.cells;
  for (; stop < b.cells && stop - at < cells; ++stop) {
    const int64_t next = b.columns.tiles * (stop + 1) / b.cells;
    if (next - begin > b.tiles) break;
    end = next;
  }
  return {row, 1, begin, end - begin, stop - at};
}
// Calls action with the rectangles that cells [cell, end) are made of.
template <class Action>
CK_INLINE void each_piece(const Blocking& b, int64_t cell, int64_t end, const Action& action) {
  while (cell < end) {
    const Block piece = block_at(b, cell, end - cell);
    action(piece);
    cell += piece.cells;
  }
}
// Tiles are numbered along the rows of the image; cells that follow on one another hold tiles that
// do.
CK_INLINE int64_t first_tile(const Blocking& b, int64_t cell) {
  return cell / b.cells * b.columns.tiles + b.columns.tiles * (cell % b.cells) / b.cells;
}
// Some neighbouring tiles, numbered from 0: where each stands among those that need a point, or -1
// where it does not: at[0] for finite points, [1] for infinite rows, [2] for infinite columns, [3]
// for both. before[kind][i] of them come before tile i.
struct Places {
  int64_t first;  // the number of tile 0 in the image
  int16_t at[4][kMostTiles], before[4][kMostTiles + 1];
};
CK_INLINE void find_places(const Blocking& b, int64_t first, int64_t tiles, Places& places) {
  places.first = first;
  for (int kind = 0; kind < 4; ++kind) {
    int count = 0;
    int64_t row = first / b.columns.tiles, column = first % b.columns.tiles;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const bool spared =
          ((kind & 1) && row >= b.rows.full) || ((kind & 2) && column >= b.columns.full);
      places.before[kind][tile] = int16_t(count);
      places.at[kind][tile] = int16_t(spared ? -1 : count++);
      if (++column == b.columns.tiles) column = 0, ++row;
    }
    places.before[kind][tiles] = int16_t(count);
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
