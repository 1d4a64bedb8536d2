// Tiles whose only channel makes their only filter (depthwise): no spectrum is kept, a tile goes
// there and back while it is in the second cache.
//
// Where such tiles are few, each is cut into parts for many threads: of its rows, of the columns of
// its spectrum, and of its rows again, a phase each. A range that holds all parts of a tile does it
// at once, as if it were not cut, so that few threads lose nothing.
#pragma once
#include "blocks/fft_filters.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// memory.work: columns forward, times the one filter of a unit, and back.
template <class T>
CK_NOINLINE void filter_tile(const Tiling& tiling, const TileFft<T>& fft, const T* weights,
                             const TileMemory<T>& memory, Span columns) {
  constexpr int64_t kPair = 2 * kLanes<T>;
  const bool one = tiling.lanes == kTiles;
  const auto multiply = [&](T* column, int64_t first, int64_t count) CK_LAMBDA {
    const T* w = weights + first * (one ? 2 : kPair);
    for (int64_t f = 0; f < count; ++f, column += kPair) {
      if (!one) {  // the next column's, while this one is transformed back
        __builtin_prefetch(w + (f + fft.down.size) * kPair, 0, 2);
        __builtin_prefetch(w + (f + fft.down.size) * kPair + kLanes<T>, 0, 2);
      }
      const Vec<T> re = load(column), im = load(column + kLanes<T>);
      const Vec<T> w_re = one ? splat(w[2 * f]) : load(w + f * kPair);
      const Vec<T> w_im = one ? splat(w[2 * f + 1]) : load(w + f * kPair + kLanes<T>);
      store(column, re * w_re - im * w_im);
      store(column + kLanes<T>, re * w_im + im * w_re);
    }
  };
  filter_columns(fft, memory.work, memory.line, columns.begin, columns.end, multiply);
}

template <class T>
CK_INLINE const T* unit_weights(const Tiling& tiling, const void* packed, int64_t unit) {
  const T* weights = packing_parts<T>(tiling, const_cast<void*>(packed)).weights;
  return weights + unit * tiling.frequencies * weight_width<T>(tiling);
}

// Tiles from (row, column) of the grid on.
template <class T>
void run_fused(const Problem& problem, const Tiling& tiling, int64_t unit, int64_t row,
               int64_t column, int64_t tiles, const Operands& operands, const Parts<T>& parts) {
  const TileFft<T> fft = image_tile_fft<T>(tiling.rows, tiling.columns);
  const T* weights = unit_weights<T>(tiling, operands.packed, unit);
  forward_rows(problem, tiling, fft, static_cast<const T*>(operands.x), unit, 0, row, column, tiles,
               parts.tile, {0, fft.down.kept});
  TileMemory<T> memory = parts.tile;
  for (int64_t tile = 0; tile < tiles; ++tile, memory.work += work_size<T>(tiling)) {
    filter_tile(tiling, fft, weights, memory, {0, tiling.columns.size / 2 + 1});
    store_tile(problem, tiling, operands, unit, 0, row, column + tile, memory,
               {0, tiling.rows.step});
  }
}

// What the threads share of tiles that are cut.
template <class T>
struct CutMemory {
  int64_t* done;  // of each unit: all of it was in one range
  T* work;        // of each unit
  int64_t bytes;
};
template <class T>
CutMemory<T> cut_memory(const Tiling& tiling, void* base) {
  Arena from = arena(base);
  CutMemory<T> memory{};
  memory.done = take<int64_t>(from, tiling.units);
  memory.work = take<T>(from, tiling.units * work_size<T>(tiling));
  memory.bytes = from.used;
  return memory;
}

template <class T>
void run_cut(const Problem& problem, const Tiling& tiling, int64_t phase, int64_t begin,
             int64_t end, const Operands& operands) {
  const Parts<T> parts = scratch_parts<T>(tiling, operands.scratch);
  const CutMemory<T> shared = cut_memory<T>(tiling, operands.shared);
  const TileFft<T> fft = image_tile_fft<T>(tiling.rows, tiling.columns);
  for (int64_t i = begin, count; i < end; i += count) {
    const int64_t unit = i / tiling.cuts, first = i % tiling.cuts;
    count = min_of(tiling.cuts - first, end - i);
    const auto span = [&](int64_t all) CK_LAMBDA {
      return Span{first * all / tiling.cuts, (first + count) * all / tiling.cuts};
    };
    if (phase == 0 && first == 0) shared.done[unit] = count == tiling.cuts;
    if (phase == 0 && count == tiling.cuts) {
      run_fused(problem, tiling, unit, 0, 0, 1, operands, parts);
      continue;
    }
    if (phase > 0 && shared.done[unit]) continue;
    TileMemory<T> memory = parts.tile;
    memory.work = shared.work + unit * work_size<T>(tiling);
    if (phase == 0)
      forward_rows(problem, tiling, fft, static_cast<const T*>(operands.x), unit, 0, 0, 0, 1,
                   memory, span(fft.down.kept));
    else if (phase == 1)
      filter_tile(tiling, fft, unit_weights<T>(tiling, operands.packed, unit), memory,
                  span(tiling.columns.size / 2 + 1));
    else
      store_tile(problem, tiling, operands, unit, 0, 0, 0, memory, span(tiling.rows.step));
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
