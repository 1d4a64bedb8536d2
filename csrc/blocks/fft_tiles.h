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
  T* line;  // one row as vectors: of a strip of inputs, or of outputs; a column, where it is
            // filtered at once
  T* rows;  // one row of every lane, and slack for whole vectors
  T* work;  // the tiles of a strip half transformed, or one back
};

// [begin, end)
struct Span {
  int64_t begin, end;
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

// The distance from channel 0, or filter 0, in planes or in blocks of channels.
CK_INLINE int64_t place_of(const Problem& problem, int64_t layout, const Strides& strides,
                           int64_t channel) {
  return layout == kNchw ? channel * strides.c
                         : channel / problem.block * strides.c + channel % problem.block;
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

// to = vectors of lanes that begin at from[lane], `real` of them; the others are zeros. count
// columns, one after the other. So many can be read from each lane: where that is more, columns
// past count are overwritten, a vector's worth at most.
template <class T>
CK_INLINE void interleave(const T* const* from, int64_t real, int64_t offset, int64_t count,
                          int64_t readable, T* to) {
  for (int64_t j = 0; j < count; j += kLanes<T>, to += kLanes<T> * kLanes<T>) {
    if (real == kLanes<T> && readable - j >= kLanes<T>) {
      transpose_rows<T>([&](int l) CK_LAMBDA { return from[l] + offset + j; },
                        [&](int l, Vec<T> v) CK_LAMBDA { store(to + l * kLanes<T>, v); });
      continue;
    }
    Vec<T> block[kLanes<T>];
    for (int l = 0; l < kLanes<T>; ++l)
      block[l] =
          l < real ? load_first(from[l] + offset + j, min_of(count - j, kLanes<T>)) : Vec<T>{};
    transpose<T>(block);
    CK_UNROLL(16)
    for (int l = 0; l < kLanes<T>; ++l) store(to + l * kLanes<T>, block[l]);
  }
}

// Where the lanes of a strip read: `count` columns from (first_row, first_column) on, of which
// [left, right) are the image's. Each lane of kTiles has columns of its own, read with their
// padding.
template <class T>
struct Strip {
  int64_t place[kLanes<T>], first_row[kLanes<T>], first_column[kLanes<T>];
  int64_t count, left, right;
  int64_t real;               // lanes; those that pad come last
  bool same;                  // all lanes are of one tile
  bool ahead;                 // rows are fetched early
  bool planes;                // with pixels side by side
  bool beside;                // channels side by side, as in NHWC or nchwc: vectors already
  const T* plane[kLanes<T>];  // where lanes can be read as they stand: row 0, column `left`
};
template <class T>
CK_INLINE Strip<T> strip_of(const Problem& problem, const Tiling& tiling, const T* x, int64_t unit,
                            int64_t vector, int64_t row, int64_t column, int64_t count) {
  Strip<T> strip;
  strip.count = count;
  strip.real = 0;
  int64_t channel[kLanes<T>];
  for (int l = 0; l < kLanes<T>; ++l) {
    int64_t tile_row, tile_column;
    tile_of(tiling, l, kLanes<T>, row, column, tile_row, tile_column);
    channel[l] = channel_of<T>(problem, tiling, unit, vector, l);
    strip.place[l] = place_of(problem, problem.x_layout, problem.x, channel[l]);
    strip.first_row[l] = tiling.rows.begin + tile_row * tiling.rows.step;
    strip.first_column[l] = tiling.columns.begin + tile_column * tiling.columns.step;
    if (channel[l] >= 0) strip.real = l + 1;
  }
  strip.same = tiling.lanes != kTiles;
  strip.ahead = !tiling.fused;
  strip.left = strip.same ? max_of(0, min_of(-strip.first_column[0], strip.count)) : 0;
  strip.right = strip.same
                    ? max_of(strip.left, min_of(problem.w - strip.first_column[0], strip.count))
                    : strip.count;
  strip.planes = problem.x_layout == kNchw && problem.x.w == 1;
  const int64_t last = strip.real - 1;
  const auto block = [&](int64_t lane) CK_LAMBDA { return channel[lane] / problem.block; };
  const bool together =
      problem.x_layout == kNchw ? problem.x.c == 1 : last >= 0 && block(last) == block(0);
  strip.beside = strip.same && last >= 0 && together && channel[last] - channel[0] == last;
  for (int l = 0; l < strip.real; ++l)
    strip.plane[l] = x + strip.place[l] + (strip.first_column[l] + strip.left) * problem.x.w;
  return strip;
}

// Fetches a row two rows early: lanes are planes, too many streams for the processor to follow.
// Where no spectra pass through the caches, rows stand there already and this would only cost.
template <bool kWrite, class T>
CK_INLINE void fetch(const T* from, int64_t count) {
  for (int64_t j = 0; j < count; j += 64 / int64_t(sizeof(T)))
    __builtin_prefetch(from + j, kWrite, 2);
}
constexpr int64_t kRowsAhead = 2;

// One column of padding: the lanes' pixels are apart.
template <class T>
CK_INLINE void gather_column(const Problem& problem, const T* x, const Strip<T>& strip, int64_t row,
                             int64_t column, T* to) {
  const int64_t source = source_column(problem, strip.first_column[0] + column);
  if (source < 0) return store(to, Vec<T>{});
  const T* from = x + row * problem.x.h + source * problem.x.w;
  if (strip.beside) return store(to, load_first(from + strip.place[0], strip.real));
  for (int l = 0; l < kLanes<T>; ++l) to[l] = l < strip.real ? from[strip.place[l]] : T(0);
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

// line = row i of a strip as vectors. False, and nothing written, if all of it is zero.
template <class T>
CK_NOINLINE bool gather_row(const Problem& problem, const T* x, const Strip<T>& strip, int64_t i,
                            int64_t width, const TileMemory<T>& memory) {
  const int64_t source = source_row(problem, strip.first_row[0] + i);
  const int64_t left = strip.left, right = strip.right;
  T* to = memory.line;
  if (strip.same && source < 0) return false;
  if (strip.same && strip.planes) {
    if (strip.ahead && source + kRowsAhead < problem.h)
      for (int l = 0; l < strip.real; ++l)
        fetch<false>(strip.plane[l] + (source + kRowsAhead) * problem.x.h, right - left);
    // Rows that follow each other without a gap may be read past their ends, but for the last.
    const int64_t rest = problem.x.h == problem.w
                             ? (problem.h - source) * problem.w - strip.first_column[0] - left
                             : right - left;
    interleave<T>(strip.plane, strip.real, source * problem.x.h, right - left, rest,
                  to + left * kLanes<T>);
  } else if (strip.beside) {
    copy_lanes(strip.plane[0] + source * problem.x.h, problem.x.w, strip.real, right - left,
               to + left * kLanes<T>);
  } else {
    const T* from[kLanes<T>];
    for (int l = 0; l < strip.real; ++l) {
      const int64_t at = source_row(problem, strip.first_row[l] + i);
      const int64_t begin = strip.first_column[l] + left;
      if (strip.planes && at >= 0 && begin >= 0 && begin + right - left <= problem.w) {
        from[l] = strip.plane[l] + at * problem.x.h;
      } else {
        read_row(problem, x + strip.place[l], 0, strip.first_row[l] + i, begin, right - left,
                 memory.rows + l * width);
        from[l] = memory.rows + l * width;
      }
    }
    interleave<T>(from, strip.real, 0, right - left, right - left, to + left * kLanes<T>);
  }
  for (int64_t j = 0; j < left; ++j)
    gather_column(problem, x, strip, source, j, to + j * kLanes<T>);
  for (int64_t j = right; j < strip.count; ++j)
    gather_column(problem, x, strip, source, j, to + j * kLanes<T>);
  return true;
}

// memory.work = the rows of `tiles` tiles from (row, column) of the grid on, forward, one vector of
// a unit.
template <class T>
void forward_rows(const Problem& problem, const Tiling& tiling, const TileFft<T>& fft, const T* x,
                  int64_t unit, int64_t vector, int64_t row, int64_t column, int64_t tiles,
                  const TileMemory<T>& memory, Span rows) {
  const int64_t width = strip_width<T>(tiling, tiles);
  const Strip<T> strip = strip_of(problem, tiling, x, unit, vector, row, column,
                                  (tiles - 1) * tiling.columns.step + fft.across.kept);
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const bool any = i < tiling.rows.used && gather_row(problem, x, strip, i, width, memory);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      T* work = memory.work + tile * work_size<T>(tiling);
      if (any)
        forward_row(fft, memory.line + tile * tiling.columns.step * kLanes<T>, work, i);
      else
        __builtin_memset(work + i * fft.pitch, 0, size_t(fft.pitch) * sizeof(T));
    }
  }
}

// The lanes of an out vector are neighbours in a block of channels: they are stored as they stand.
// `first`: its filter of lane 0. Lanes past the last filter hold zero.
template <class T>
CK_NOINLINE void store_block(const Problem& problem, const Tiling& tiling, const Operands& operands,
                             int64_t first, int64_t row, int64_t column,
                             const TileMemory<T>& memory, Span span) {
  const TileFft<T> fft = image_tile_fft<T>(tiling.rows, tiling.columns);
  const Epilogue& epilogue = operands.epilogue;
  const Bounds<T> bounds = bounds_of<T>(epilogue);
  const Vec<T> low = splat(bounds.low), high = splat(bounds.high);
  const int64_t p = row * tiling.rows.step, q = column * tiling.columns.step;
  const int64_t rows = min_of(tiling.rows.step, problem.p - p);
  const int64_t columns = min_of(tiling.columns.step, problem.q - q);
  const auto place = [&](const Strides& strides) CK_LAMBDA {
    return place_of(problem, kNchwc, strides, first) + p * strides.h + q * strides.w;
  };
  T* y = static_cast<T*>(operands.y) + place(problem.y);
  const T* residual = static_cast<const T*>(epilogue.residual);
  if (residual) residual += place(problem.residual);
  const int64_t real = min_of(problem.k - first, kLanes<T>);
  // Vectors of the last block that have no filter.
  const int64_t empty =
      first + real == problem.k ? (problem.block - first % problem.block) / kLanes<T> - 1 : 0;
  const T* biases = static_cast<const T*>(epilogue.bias);
  const Vec<T> bias = biases ? load_first(biases + first, real) : Vec<T>{};
  typename SimdType<T>::index kept;
  for (int l = 0; l < kLanes<T>; ++l) kept[l] = l < real ? -1 : 0;
  for (int64_t i = span.begin; i < min_of(rows, span.end); ++i) {
    inverse_row(fft, memory.work, i, memory.line);
    const T* more = residual ? residual + i * problem.residual.h : nullptr;
    for (int64_t j = 0; !bounds.any && j < columns; ++j) {
      Vec<T> v = load(memory.line + j * kLanes<T>) + bias;
      if (more) v += load(more + j * problem.residual.w);
      store(memory.line + j * kLanes<T>, v);
    }
    if (!bounds.any)
      activate(epilogue.activation, epilogue.a, epilogue.b, memory.line, columns * kLanes<T>);
    for (int64_t j = 0; j < columns; ++j) {
      Vec<T> v = load(memory.line + j * kLanes<T>);
      if (bounds.any) {
        v += bias;
        if (more) v += load(more + j * problem.residual.w);
        v = bounded<T>(low, high, v);
      }
      if (real < kLanes<T>) v = kept ? v : Vec<T>{};
      T* to = y + i * problem.y.h + j * problem.y.w;
      store(to, v);
      for (int64_t vector = 1; vector <= empty; ++vector) store(to + vector * kLanes<T>, Vec<T>{});
    }
  }
}

// A row of a filter that is finished alone. Behind the last filter of a block, zeros.
template <class T>
CK_NOINLINE void finish_lane(const Problem& problem, const Operands& operands, int64_t filter,
                             int64_t row, int64_t column, T* sums, int64_t count) {
  const auto shift = [&](const Strides& strides) CK_LAMBDA {
    return place_of(problem, problem.y_layout, strides, filter) - filter * strides.c;
  };
  Operands lane = operands;
  T* y = static_cast<T*>(operands.y) + shift(problem.y);
  const T* residual = static_cast<const T*>(operands.epilogue.residual);
  lane.y = y;
  if (residual) lane.epilogue.residual = residual + shift(problem.residual);
  finish_row(problem, lane, filter, row, column, sums, count);
  if (problem.y_layout == kNchw || filter + 1 < problem.k) return;
  y += filter * problem.y.c + row * problem.y.h + column * problem.y.w;
  for (int64_t j = 0; j < count; ++j)
    for (int64_t l = 1; l < problem.block - filter % problem.block; ++l)
      y[j * problem.y.w + l] = T(0);
}

// The epilogue and the store of some rows of one out vector of a tile whose columns stand in
// memory.work.
template <class T>
CK_NOINLINE void store_tile(const Problem& problem, const Tiling& tiling, const Operands& operands,
                            int64_t unit, int64_t vector, int64_t row, int64_t column,
                            const TileMemory<T>& memory, Span span) {
  const TileFft<T> fft = image_tile_fft<T>(tiling.rows, tiling.columns);
  const Epilogue& epilogue = operands.epilogue;
  const T* residual = static_cast<const T*>(epilogue.residual);
  const bool planes = problem.y_layout == kNchw;
  const bool contiguous = planes && problem.y.w == 1 && (!residual || problem.residual.w == 1);
  const bool ahead = contiguous && !tiling.fused;
  int64_t filter[kLanes<T>], p[kLanes<T>], q[kLanes<T>], rows[kLanes<T>], columns[kLanes<T>],
      most = 0;
  int64_t neighbours = 0;  // lanes that hold the filters that follow lane 0's
  T* to[kLanes<T>];
  const T* add[kLanes<T>];
  T bias[kLanes<T>];
  for (int l = 0; l < kLanes<T>; ++l) {
    int64_t tile_row, tile_column;
    tile_of(tiling, l, kLanes<T>, row, column, tile_row, tile_column);
    filter[l] = filter_of<T>(problem, tiling, unit, vector, l);
    if (neighbours == l && filter[l] == filter[0] + l) neighbours = l + 1;
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
  const bool block = neighbours == kLanes<T> || filter[0] + neighbours == problem.k;
  if (!planes && block && filter[0] % kLanes<T> == 0)
    return store_block(problem, tiling, operands, filter[0], row, column, memory, span);
  const int64_t width = whole_vectors<T>(tiling.columns.size);
  for (int64_t i = span.begin; i < min_of(most, span.end); ++i) {
    for (int l = 0; ahead && l < kLanes<T>; ++l)
      if (i + kRowsAhead < rows[l]) fetch<true>(to[l] + (i + kRowsAhead) * problem.y.h, columns[l]);
    inverse_row(fft, memory.work, i, memory.line);
    for (int64_t j = 0; j < tiling.columns.step; j += kLanes<T>) {
      const auto line = [&](int column)
                            CK_LAMBDA { return memory.line + (j + column) * kLanes<T>; };
      if (!contiguous) {
        transpose_rows<T>(
            line, [&](int l, Vec<T> v) CK_LAMBDA { store(memory.rows + l * width + j, v); });
        continue;
      }
      transpose_rows<T>(line, [&](int l, Vec<T> v) CK_LAMBDA {
        const int64_t count = i < rows[l] ? columns[l] - j : 0;
        if (count <= 0) return;
        v += splat(bias[l]);
        if (count >= kLanes<T>) {
          if (residual) v += load(add[l] + i * problem.residual.h + j);
          store(to[l] + i * problem.y.h + j, activated<T>(epilogue, v));
        } else {
          if (residual) v += load_first(add[l] + i * problem.residual.h + j, count);
          store_first(to[l] + i * problem.y.h + j, count, activated<T>(epilogue, v));
        }
      });
    }
    if (contiguous) continue;
    for (int l = 0; l < kLanes<T>; ++l)
      if (i < rows[l])
        finish_lane(problem, operands, filter[l], p[l] + i, q[l], memory.rows + l * width,
                    columns[l]);
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
