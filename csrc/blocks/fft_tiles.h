// Between images and lanes: the inputs of tiles gathered into vectors, the outputs of tiles
// finished and stored.
#pragma once
#include "blocks/epilogue.h"
#include "blocks/fft_tiling.h"
#include "blocks/transpose.h"
#include "blocks/window.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// What a tile passes through on its way.
template <class T>
struct TileMemory {
  T* strip;  // the inputs of a row of tiles: [row][column] of vectors
  T* rows;   // one row of every lane, and slack for whole vectors
  T* work;   // a tile half transformed
  T* line;   // one row of outputs as vectors; a column, where it is filtered at once
};

CK_INLINE int64_t strip_columns(const Tiling& tiling, int64_t tiles) {
  return (tiles - 1) * tiling.columns.step + tiling.columns.size;
}
template <class T>
CK_INLINE int64_t whole_vectors(int64_t count) {
  return ceil_div(count, kLanes<T>) * kLanes<T>;
}
// A block of columns is stored whole from wherever the image begins.
template <class T>
CK_INLINE int64_t strip_width(const Tiling& tiling, int64_t tiles) {
  return whole_vectors<T>(strip_columns(tiling, tiles)) + kLanes<T>;
}
// What a lane of a unit's vectors is: its channel of x, filter of w and y, or -1 for a lane that
// pads.
template <class T>
CK_INLINE int64_t channel_of(const Problem& problem, const Tiling& tiling, int64_t unit,
                             int64_t vector, int64_t lane) {
  const int64_t channels = problem.c / problem.groups;
  if (tiling.lanes == kTiles) return unit * channels + vector;
  if (tiling.lanes == kGroups) {
    const int64_t group = unit * kLanes<T> + lane;
    return group < problem.groups ? group * channels + vector : -1;
  }
  const int64_t channel = vector * kLanes<T> + lane;
  return channel < channels ? unit * channels + channel : -1;
}
template <class T>
CK_INLINE int64_t filter_of(const Problem& problem, const Tiling& tiling, int64_t unit,
                            int64_t vector, int64_t lane) {
  const int64_t filters = problem.k / problem.groups;
  if (tiling.lanes == kTiles) return unit * filters + vector;
  if (tiling.lanes == kGroups) {
    const int64_t group = unit * kLanes<T> + lane;
    return group < problem.groups ? group * filters + vector : -1;
  }
  const int64_t filter = vector * kLanes<T> + lane;
  return filter < filters ? unit * filters + filter : -1;
}

// Which tile a lane of a tile vector is. May lie beyond the last.
CK_INLINE void tile_of(const Tiling& tiling, int64_t lane, int64_t lanes, int64_t row,
                       int64_t column, int64_t& tile_row, int64_t& tile_column) {
  tile_row = row;
  tile_column = column;
  if (tiling.lanes != kTiles) return;
  if (tiling.rows.pieces * tiling.columns.pieces == 1) {
    const int64_t tile = column * lanes + lane;
    tile_row = tile / tiling.columns.tiles;
    tile_column = tile % tiling.columns.tiles;
  } else {
    tile_row = lane * tiling.grid_rows + row;
  }
}

// Vectors of lanes that begin at from[lane], `real` of them; the others are zeros. count columns,
// one after the other.
template <class T>
CK_INLINE void interleave(const T* const* from, int64_t real, int64_t offset, int64_t count,
                          T* to) {
  Vec<T> block[kLanes<T>];
  for (int64_t j = 0; j < count; j += kLanes<T>, to += kLanes<T> * kLanes<T>) {
    const bool whole = count - j >= kLanes<T>;
    if (real == kLanes<T> && whole) {
      CK_UNROLL(16)
      for (int l = 0; l < kLanes<T>; ++l) block[l] = load(from[l] + offset + j);
    } else if (real == kLanes<T>) {
      CK_UNROLL(16)
      for (int l = 0; l < kLanes<T>; ++l) block[l] = load_first(from[l] + offset + j, count - j);
    } else {
      for (int l = 0; l < kLanes<T>; ++l)
        block[l] =
            l < real ? load_first(from[l] + offset + j, min_of(count - j, kLanes<T>)) : Vec<T>{};
    }
    transpose<T>(block);
    CK_UNROLL(16)
    for (int l = 0; l < kLanes<T>; ++l) store(to + l * kLanes<T>, block[l]);
  }
}

// One column of padding: the lanes' pixels are apart.
template <class T>
CK_INLINE void gather_column(const Problem& problem, const T* x, const int64_t* channel,
                             int64_t row, int64_t column, T* to) {
  const int64_t source = source_column(problem, column);
  for (int l = 0; l < kLanes<T>; ++l)
    to[l] = source < 0 || channel[l] < 0
                ? T(0)
                : x[channel[l] * problem.x.c + row * problem.x.h + source * problem.x.w];
}

// count vectors of lanes that stand side by side, `step` apart; the lanes from `real` on are zeros.
template <class T>
CK_INLINE void copy_lanes(const T* from, int64_t step, int64_t real, int64_t count, T* to) {
  if (real == kLanes<T>) {
    for (int64_t j = 0; j < count; ++j) store(to + j * kLanes<T>, load(from + j * step));
  } else {
    for (int64_t j = 0; j < count; ++j)
      store(to + j * kLanes<T>, load_first(from + j * step, real));
  }
}

// strip[row][column] = the inputs of `tiles` tiles from (row, column) of the grid on, one vector of
// a unit.
template <class T>
CK_NOINLINE void gather(const Problem& problem, const Tiling& tiling, const T* x, int64_t unit,
                        int64_t vector, int64_t row, int64_t column, int64_t tiles, int64_t width,
                        const TileMemory<T>& memory) {
  const int64_t count = strip_columns(tiling, tiles);
  int64_t channel[kLanes<T>], first_row[kLanes<T>], first_column[kLanes<T>];
  for (int l = 0; l < kLanes<T>; ++l) {
    int64_t tile_row, tile_column;
    tile_of(tiling, l, kLanes<T>, row, column, tile_row, tile_column);
    channel[l] = channel_of<T>(problem, tiling, unit, vector, l);
    first_row[l] = tiling.rows.begin + tile_row * tiling.rows.step;
    first_column[l] = tiling.columns.begin + tile_column * tiling.columns.step;
  }
  // Lanes of one tile meet the image at the same columns [left, right); each lane of kTiles has its
  // own.
  const bool same = tiling.lanes != kTiles;
  const int64_t left = same ? max_of(0, min_of(-first_column[0], count)) : 0;
  const int64_t right = same ? max_of(left, min_of(problem.w - first_column[0], count)) : count;
  // Lanes that pad come last. Tiles beyond the last read zeros like padding.
  int64_t real = 0;
  while (real < kLanes<T> && channel[real] >= 0) ++real;
  // Channels side by side, as in NHWC, are vectors already.
  const bool beside = same && real > 0 && problem.x.c == 1 && problem.x.w != 1 &&
                      channel[real - 1] - channel[0] == real - 1;
  const bool direct = same && problem.x.w == 1;
  const T* from[kLanes<T>];
  for (int l = 0; direct && l < real; ++l)
    from[l] = x + channel[l] * problem.x.c + first_column[l] + left;
  for (int64_t i = 0; i < tiling.rows.used; ++i) {
    T* to = memory.strip + i * width * kLanes<T>;
    const int64_t source = source_row(problem, first_row[0] + i);
    if (same && source < 0) {
      __builtin_memset(to, 0, size_t(count * kLanes<T>) * sizeof(T));
      continue;
    }
    for (int l = 0; !direct && !beside && l < real; ++l) {
      const int64_t at = source_row(problem, first_row[l] + i), begin = first_column[l] + left;
      if (problem.x.w == 1 && at >= 0 && begin >= 0 && begin + right - left <= problem.w) {
        from[l] = x + channel[l] * problem.x.c + at * problem.x.h + begin;
      } else {
        read_row(problem, x, channel[l], first_row[l] + i, begin, right - left,
                 memory.rows + l * width);
        from[l] = memory.rows + l * width;
      }
    }
    if (beside)
      copy_lanes(x + channel[0] + source * problem.x.h + (first_column[0] + left) * problem.x.w,
                 problem.x.w, real, right - left, to + left * kLanes<T>);
    else
      interleave<T>(from, real, direct ? source * problem.x.h : 0, right - left,
                    to + left * kLanes<T>);
    for (int64_t j = 0; j < left; ++j)
      gather_column(problem, x, channel, source, first_column[0] + j, to + j * kLanes<T>);
    for (int64_t j = right; j < count; ++j)
      gather_column(problem, x, channel, source, first_column[0] + j, to + j * kLanes<T>);
  }
}

// The epilogue and the store of one out vector of a tile whose columns stand in memory.work.
template <class T>
CK_NOINLINE void store_tile(const Problem& problem, const Tiling& tiling, const Operands& operands,
                            int64_t unit, int64_t vector, int64_t row, int64_t column,
                            const TileMemory<T>& memory) {
  const TileFft<T> fft = tile_fft<T>(tiling.rows.size, tiling.columns.size);
  const Epilogue& epilogue = operands.epilogue;
  const T* residual = static_cast<const T*>(epilogue.residual);
  const bool contiguous = problem.y.w == 1 && (!residual || problem.residual.w == 1);
  int64_t filter[kLanes<T>], p[kLanes<T>], q[kLanes<T>], rows[kLanes<T>], columns[kLanes<T>],
      most = 0;
  T* to[kLanes<T>];
  const T* add[kLanes<T>];
  T bias[kLanes<T>];
  for (int l = 0; l < kLanes<T>; ++l) {
    int64_t tile_row, tile_column;
    tile_of(tiling, l, kLanes<T>, row, column, tile_row, tile_column);
    filter[l] = filter_of<T>(problem, tiling, unit, vector, l);
    p[l] = tile_row * tiling.rows.step;
    q[l] = tile_column * tiling.columns.step;
    const bool real =
        filter[l] >= 0 && tile_row < tiling.rows.tiles && tile_column < tiling.columns.tiles;
    rows[l] = real ? min_of(tiling.rows.step, problem.p - p[l]) : 0;
    columns[l] = real ? min_of(tiling.columns.step, problem.q - q[l]) : 0;
    most = max_of(most, rows[l]);
    if (!real) continue;
    bias[l] = epilogue.bias ? static_cast<const T*>(epilogue.bias)[filter[l]] : T(0);
    to[l] = static_cast<T*>(operands.y) + filter[l] * problem.y.c + p[l] * problem.y.h +
            q[l] * problem.y.w;
    add[l] = residual ? residual + filter[l] * problem.residual.c + p[l] * problem.residual.h +
                            q[l] * problem.residual.w
                      : nullptr;
  }
  const int64_t width = whole_vectors<T>(tiling.columns.size);
  for (int64_t i = 0; i < most; ++i) {
    inverse_row(fft, memory.work, i, memory.line);
    for (int64_t j = 0; j < tiling.columns.step; j += kLanes<T>) {
      Vec<T> block[kLanes<T>];
      for (int l = 0; l < kLanes<T>; ++l) block[l] = load(memory.line + (j + l) * kLanes<T>);
      transpose<T>(block);
      if (!contiguous) {
        for (int l = 0; l < kLanes<T>; ++l) store(memory.rows + l * width + j, block[l]);
        continue;
      }
      for (int l = 0; l < kLanes<T>; ++l) {
        const int64_t count = min_of(columns[l] - j, kLanes<T>);
        if (i >= rows[l] || count <= 0) continue;
        Vec<T> v = block[l] + splat(bias[l]);
        if (count == kLanes<T>) {
          if (residual) v += load(add[l] + i * problem.residual.h + j);
          store(to[l] + i * problem.y.h + j, activated<T>(epilogue, v));
        } else {
          if (residual) v += load_first(add[l] + i * problem.residual.h + j, count);
          store_first(to[l] + i * problem.y.h + j, count, activated<T>(epilogue, v));
        }
      }
    }
    if (contiguous) continue;
    for (int l = 0; l < kLanes<T>; ++l)
      if (i < rows[l])
        finish_row(problem, operands, filter[l], p[l] + i, q[l], memory.rows + l * width,
                   columns[l]);
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
