// Where spectra stand: of a band of tiles in a thread's scratch, or of all tiles in memory that the
// threads share.
#pragma once
#include "blocks/arena.h"
#include "blocks/complex_gemm.h"
#include "blocks/fft_tiles.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// Spectra of a rectangle of tiles: [frequency][tile][vector], a complex vector each.
template <class T>
struct Spectra {
  T* data;
  int64_t row, column;  // its first tile
  int64_t columns;      // tiles in a row of it
  int64_t vectors;
  int64_t step;  // from one frequency to the next, in scalars
};
// An odd number of complex vectors between frequencies: a power of two would put them all into one
// set of the cache.
template <class T>
CK_INLINE int64_t spectrum_step(int64_t tiles, int64_t vectors) {
  return (tiles * vectors | 1) * 2 * kLanes<T>;
}

// The weights of one frequency, in scalars.
template <class T>
CK_INLINE int64_t weights_of_frequency(const Tiling& tiling) {
  return weight_count<T>(tiling) / (tiling.units * tiling.frequencies);
}

template <class T>
struct Parts {
  TileMemory<T> tile;
  Spectra<T> x, y;
  int64_t bytes;
};

// Out vectors whose products share a pass over the inputs.
CK_INLINE int64_t together(const Tiling& tiling) {
  return tiling.lanes == kFilters ? kComplexVecs : tiling.lanes == kTiles ? kComplexRows : 1;
}

template <class T>
Spectra<T> input_spectra(const Tiling& tiling, Arena& from, int64_t rows, int64_t columns,
                         int64_t units) {
  const int64_t step = spectrum_step<T>(rows * columns, tiling.in_vectors);
  T* data = take<T>(from, units * tiling.frequencies * step);
  return {data, 0, 0, columns, tiling.in_vectors, step};
}
// Where all threads share the spectra: of all inputs, then of all outputs. A frequency's outputs
// take the place of its inputs, so that half as much memory passes through the caches.
template <class T>
struct SharedSpectra {
  Spectra<T> x, y;
  int64_t bytes;
};
CK_INLINE int64_t out_places(const Tiling& tiling) {
  return tiling.grid_rows * tiling.grid_columns * tiling.out_vectors;
}
template <class T>
SharedSpectra<T> shared_spectra(const Tiling& tiling, void* base) {
  Arena from = arena(base);
  SharedSpectra<T> spectra{};
  if (tiling.shared) {
    const int64_t columns = tiling.grid_columns + tiling.columns.pieces - 1;
    const int64_t tiles = (tiling.grid_rows + tiling.rows.pieces - 1) * columns;
    const int64_t step = spectrum_step<T>(max_of(tiles * tiling.in_vectors, out_places(tiling)), 1);
    T* data = take<T>(from, tiling.units * tiling.frequencies * step);
    spectra.x = {data, 0, 0, columns, tiling.in_vectors, step};
    spectra.y = {data, 0, 0, tiling.grid_columns, tiling.out_vectors, step};
  }
  spectra.bytes = from.used;
  return spectra;
}
template <class T>
Parts<T> scratch_parts(const Tiling& tiling, void* base) {
  Arena from = arena(base);
  Parts<T> parts{};
  const int64_t width = strip_width<T>(tiling, tiling.strip);
  parts.tile.line = take<T>(from, max_of(width, 2 * tiling.rows.size) * kLanes<T>);
  parts.tile.rows = take<T>(from, kLanes<T> * width);
  parts.tile.work = take<T>(from, tiling.strip * work_size<T>(tiling));
  if (tiling.fused || tiling.shared) {
    if (tiling.shared)  // of one frequency
      parts.y = {take<T>(from, out_places(tiling) * 2 * kLanes<T>),
                 0,
                 0,
                 tiling.grid_columns,
                 tiling.out_vectors,
                 0};
    parts.bytes = from.used;
    return parts;
  }
  parts.x = input_spectra<T>(tiling, from, tiling.band_rows + tiling.rows.pieces - 1,
                             tiling.band_columns + tiling.columns.pieces - 1, 1);
  const int64_t tiles = tiling.band_rows * tiling.band_columns, vectors = together(tiling);
  const int64_t step = spectrum_step<T>(tiles, vectors);
  parts.y = {take<T>(from, tiling.frequencies * step), 0, 0, tiling.band_columns, vectors, step};
  parts.bytes = from.used;
  return parts;
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
