// y[k][p][q] = b[k] + sum over c, r, s of w[k][c][r][s] x[c][p + r][q + s], tile by tile in the
// frequency domain:
//   Y[k][f] = sum over c of X[c][f] conj(W[k][c][f]),   f a frequency of the tile.
// Overlap-save: a tile of N x N inputs gives the (N - r + 1) x (N - s + 1) outputs that the
// circular sum leaves alone (Stockham 1966; for networks Mathieu, Henaff and LeCun 2014). A filter
// larger than half a tile may be cut into pieces, each a shifted input whose products are added
// before the inverse.
#include "blocks/arena.h"
#include "blocks/complex_gemm.h"
#include "blocks/fft_image.h"
#include "blocks/fft_tiles.h"
#include "kernel.h"

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

// Frequencies whose products make an item.
constexpr int64_t kItemFrequencies = 8;
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

// The tiling stands before the weights, so that run need not find it again; what prepare works
// with, as it may not allocate, behind them.
template <class T>
struct Packing {
  Tiling* tiling;
  T* weights;
  T* line;
  T* work;
  T* spectrum;
  int64_t bytes;
};
template <class T>
Packing<T> packing_parts(const Tiling& tiling, void* base) {
  Arena from = arena(base);
  Packing<T> parts{};
  parts.tiling = take<Tiling>(from, 1);
  parts.weights = take<T>(from, weight_count<T>(tiling));
  parts.line = take<T>(from, tiling.columns.size * kLanes<T>);
  parts.work = take<T>(from, tiling.rows.size * fft_pitch<T>(tiling.columns.size));
  parts.spectrum = take<T>(from, tiling.frequencies * 2 * kLanes<T>);
  parts.bytes = from.used;
  return parts;
}

// ---- weights

// parts.spectrum = conj(transform) / tile area of one piece of the filters filter[lane], channel c
// of their group.
template <class T>
void transform_filters(const Problem& problem, const Tiling& tiling, const T* w,
                       const int64_t* filter, int64_t c, int64_t piece_row, int64_t piece_column,
                       const Packing<T>& parts) {
  const Axis &rows = tiling.rows, &columns = tiling.columns;
  const TileFft<T> fft = tile_fft<T>(rows.size, columns.size);
  for (int64_t i = 0; i < rows.size * fft.pitch; ++i) parts.work[i] = T(0);
  const int64_t channels = problem.c / problem.groups;
  for (int64_t i = 0; i < rows.piece; ++i) {
    const int64_t r = piece_row * rows.piece + i;
    if (r >= problem.r || !meets(rows, r, problem.h, problem.p)) continue;
    for (int64_t j = 0; j < columns.size * kLanes<T>; ++j) parts.line[j] = T(0);
    for (int64_t j = 0; j < columns.piece; ++j) {
      const int64_t s = piece_column * columns.piece + j;
      if (s >= problem.s || !meets(columns, s, problem.w, problem.q)) continue;
      T* to = parts.line + (j - columns.shift + columns.size) % columns.size * kLanes<T>;
      for (int l = 0; l < kLanes<T>; ++l)
        if (filter[l] >= 0) to[l] = w[((filter[l] * channels + c) * problem.r + r) * problem.s + s];
    }
    forward_row(fft, parts.line, parts.work, (i - rows.shift + rows.size) % rows.size);
  }
  forward_columns(fft, parts.work, parts.spectrum, 2 * kLanes<T>);
  const T scale = T(1) / T(rows.size * columns.size);
  for (int64_t f = 0; f < tiling.frequencies; ++f) {
    T* at = parts.spectrum + f * 2 * kLanes<T>;
    store(at, load(at) * splat(scale));
    store(at + kLanes<T>, load(at + kLanes<T>) * splat(-scale));
  }
}

// Weights: [unit][frequency][out vector][piece][channel], a complex vector each; kTiles: a complex
// number each. In this order products of one frequency after the other stream them once.
template <class T>
void prepare_tiles(const Problem& problem, const void* w, void* packed) {
  const Tiling tiling = tiling_of<T>(problem);
  const Packing<T> parts = packing_parts<T>(tiling, packed);
  *parts.tiling = tiling;
  const int64_t pieces = tiling.rows.pieces * tiling.columns.pieces, depth = pieces * tiling.depth;
  const int64_t filters = problem.k / problem.groups, width = weight_width<T>(tiling);
  // Filters stand in the lanes while they are transformed, for kTiles too.
  const int64_t vectors =
      tiling.lanes == kTiles ? ceil_div(filters, kLanes<T>) : tiling.out_vectors;
  Tiling lanes = tiling;
  if (tiling.lanes == kTiles) lanes.lanes = kFilters;
  for (int64_t unit = 0; unit < tiling.units; ++unit)
    for (int64_t vector = 0; vector < vectors; ++vector) {
      int64_t filter[kLanes<T>];
      for (int l = 0; l < kLanes<T>; ++l) filter[l] = filter_of<T>(problem, lanes, unit, vector, l);
      for (int64_t piece = 0; piece < pieces; ++piece)
        for (int64_t c = 0; c < tiling.depth; ++c) {
          transform_filters<T>(problem, tiling, static_cast<const T*>(w), filter, c,
                               piece / tiling.columns.pieces, piece % tiling.columns.pieces, parts);
          for (int64_t f = 0; f < tiling.frequencies; ++f) {
            const T* from = parts.spectrum + f * 2 * kLanes<T>;
            if (tiling.lanes != kTiles) {
              T* to =
                  parts.weights + (((unit * tiling.frequencies + f) * vectors + vector) * depth +
                                   piece * tiling.depth + c) *
                                      width;
              store(to, load(from));
              store(to + kLanes<T>, load(from + kLanes<T>));
            } else {
              for (int l = 0; l < kLanes<T> && filter[l] >= 0; ++l) {
                T* to = parts.weights +
                        (((unit * tiling.frequencies + f) * filters + filter[l] - unit * filters) *
                             depth +
                         piece * tiling.depth + c) *
                            width;
                to[0] = from[l];
                to[1] = from[kLanes<T> + l];
              }
            }
          }
        }
    }
}

// ---- inputs

// parts.tile.work = the rows of `tiles` tiles from (row, column) of the grid on, forward, one
// vector of a unit.
template <class T>
void forward_rows(const Problem& problem, const Tiling& tiling, const TileFft<T>& fft, const T* x,
                  int64_t unit, int64_t vector, int64_t row, int64_t column, int64_t tiles,
                  const Parts<T>& parts) {
  const int64_t width = strip_width<T>(tiling, tiles);
  const Strip<T> strip = strip_of(problem, tiling, x, unit, vector, row, column,
                                  (tiles - 1) * tiling.columns.step + fft.across.kept);
  for (int64_t i = 0; i < fft.down.kept; ++i) {
    const bool any = i < tiling.rows.used && gather_row(problem, x, strip, i, width, parts.tile);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      T* work = parts.tile.work + tile * work_size<T>(tiling);
      if (any)
        forward_row(fft, parts.tile.line + tile * tiling.columns.step * kLanes<T>, work, i);
      else
        __builtin_memset(work + i * fft.pitch, 0, size_t(fft.pitch) * sizeof(T));
    }
  }
}

// to = the spectra of `tiles` tiles from (row, column) of the grid on, one vector of a unit.
template <class T>
void transform_inputs(const Problem& problem, const Tiling& tiling, const T* x, int64_t unit,
                      int64_t vector, int64_t row, int64_t column, int64_t tiles,
                      const Spectra<T>& to, const Parts<T>& parts) {
  const TileFft<T> fft = image_tile_fft<T>(tiling.rows, tiling.columns);
  forward_rows(problem, tiling, fft, x, unit, vector, row, column, tiles, parts);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t place = (row - to.row) * to.columns + column - to.column + tile;
    forward_columns(fft, parts.tile.work + tile * work_size<T>(tiling),
                    to.data + (place * to.vectors + vector) * 2 * kLanes<T>, to.step);
  }
}

// ---- products

// y = at frequencies [begin, end), the products of the tiles of a rectangle with `count` out
// vectors of a unit, from `vector` on; the first of them stands in y's first place. weights: of the
// unit.
template <class T>
CK_NOINLINE void multiply(const Tiling& tiling, const T* weights, int64_t vector, int64_t count,
                          int64_t begin, int64_t end, int64_t row, int64_t column, int64_t rows,
                          int64_t columns, const Spectra<T>& x, const Spectra<T>& y) {
  const int64_t pair = 2 * kLanes<T>, width = weight_width<T>(tiling);
  const int64_t depth = tiling.rows.pieces * tiling.columns.pieces * tiling.depth;
  const int64_t vector_step = depth * width;
  const int64_t x_tile = x.vectors * pair, w_piece = tiling.depth * width;
  ComplexProduct product{};
  product.depth = tiling.depth;
  product.piece_rows = tiling.rows.pieces;
  product.piece_columns = tiling.columns.pieces;
  if (tiling.lanes == kTiles) {
    product.a_row = vector_step;
    product.a_piece_column = w_piece;
    product.a_piece_row = w_piece * tiling.columns.pieces;
    product.b_piece_column = x_tile;
    product.b_piece_row = x_tile * x.columns;
    product.out_row = pair;
  } else {
    product.a_row = x_tile;
    product.a_piece_column = x_tile;
    product.a_piece_row = x_tile * x.columns;
    product.b_vec = vector_step;
    product.b_piece_column = w_piece;
    product.b_piece_row = w_piece * tiling.columns.pieces;
    product.out_row = y.vectors * pair;
  }
  // Rows of whole tiles follow each other: one long run instead of several short ones.
  int64_t run = columns, runs = rows;
  if (columns == x.columns && columns == y.columns) run = rows * columns, runs = 1;
  const int64_t most = together(tiling);
  const T* corner = x.data + ((row - x.row) * x.columns + column - x.column) * x_tile;
  for (int64_t f = begin; f < end; ++f)
    for (int64_t done = 0; done < count; done += most) {
      const int64_t vectors = min_of(most, count - done);
      const T* w = weights + (f * tiling.out_vectors + vector + done) * vector_step;
      // The next weights are these' neighbours, or, where others do those, the next frequency's.
      const bool last = done + vectors == count && count < tiling.out_vectors;
      product.ahead = (last ? tiling.out_vectors - count + vectors : vectors) * vector_step;
      for (int64_t i = 0; i < runs; ++i) {
        const T* in = corner + f * x.step + i * x.columns * x_tile;
        T* out = y.data + f * y.step + (i * y.columns * y.vectors + done) * pair;
        if (tiling.lanes == kFilters && vectors == 2) {
          if constexpr (kComplexVecs == 2)
            complex_multiply_rows<T, 2, kLanes<T>>(product, run, in, w, out);
        } else if (tiling.lanes == kFilters) {
          complex_multiply_rows<T, 1, kLanes<T>>(product, run, in, w, out);
        } else {
          product.ahead = 0;
          for (int64_t tile = 0; tile < run; ++tile, in += x_tile, out += y.vectors * pair)
            if (tiling.lanes == kTiles)
              complex_multiply_rows<T, 1, 1>(product, vectors, w, in, out);
            else
              complex_multiply_lanes<T>(product, in, w, out);
        }
        product.ahead = 0;  // fetched once
      }
    }
}

// work: columns forward, times the one filter of a fused unit, and back.
template <class T>
CK_NOINLINE void filter_tile(const Tiling& tiling, const TileFft<T>& fft, const T* weights,
                             const TileMemory<T>& memory) {
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
  filter_columns(fft, memory.work, memory.line, multiply);
}

// ---- the kernel

bool always(const Problem&) { return true; }

template <class T>
Sizes tile_sizes(const Problem& problem) {
  const Tiling tiling = tiling_of<T>(problem);
  Sizes bytes{};
  bytes.packed = packing_parts<T>(tiling, nullptr).bytes;
  bytes.shared = shared_spectra<T>(tiling, nullptr).bytes;
  bytes.scratch = scratch_parts<T>(tiling, nullptr).bytes;
  return bytes;
}

// Where spectra are shared, phase 0: a tile of one input vector; phase 1: some frequencies; phase
// 2: one out vector of a tile. Otherwise phase 2 is all: one out vector of a band.
template <class T>
int64_t tile_items(const Problem& problem, int64_t phase) {
  const Tiling tiling = tiling_of<T>(problem);
  if (!tiling.shared)
    return phase < 2 ? 0
                     : ceil_div(tiling.grid_rows, tiling.band_rows) *
                           ceil_div(tiling.grid_columns, tiling.band_columns) * tiling.units *
                           tiling.out_vectors;
  if (phase == 0)
    return tiling.units * tiling.in_vectors * (tiling.grid_rows + tiling.rows.pieces - 1) *
           (tiling.grid_columns + tiling.columns.pieces - 1);
  return phase == 1 ? tiling.units * ceil_div(tiling.frequencies, kItemFrequencies)
                    : tiling.units * out_places(tiling);
}

template <class T>
void run_inputs(const Problem& problem, const Tiling& tiling, int64_t begin, int64_t end,
                const Operands& operands) {
  const Parts<T> parts = scratch_parts<T>(tiling, operands.scratch);
  const Spectra<T> x = shared_spectra<T>(tiling, operands.shared).x;
  const int64_t columns = tiling.grid_columns + tiling.columns.pieces - 1;
  const int64_t rows = tiling.grid_rows + tiling.rows.pieces - 1;
  for (int64_t i = begin, tiles; i < end; i += tiles) {
    const int64_t column = i % columns, row = i / columns % rows;
    const int64_t vector = i / columns / rows % tiling.in_vectors;
    const int64_t unit = i / columns / rows / tiling.in_vectors;
    tiles = min_of(min_of(tiling.strip, columns - column), end - i);
    Spectra<T> to = x;
    to.data += unit * tiling.frequencies * x.step;
    transform_inputs(problem, tiling, static_cast<const T*>(operands.x), unit, vector, row, column,
                     tiles, to, parts);
  }
}

// Tiles from (row, column) of the grid on whose only channel makes their only filter.
template <class T>
void run_fused(const Problem& problem, const Tiling& tiling, const T* weights, int64_t unit,
               int64_t row, int64_t column, int64_t tiles, const Operands& operands,
               const Parts<T>& parts) {
  const TileFft<T> fft = image_tile_fft<T>(tiling.rows, tiling.columns);
  forward_rows(problem, tiling, fft, static_cast<const T*>(operands.x), unit, 0, row, column, tiles,
               parts);
  TileMemory<T> memory = parts.tile;
  for (int64_t tile = 0; tile < tiles; ++tile, memory.work += work_size<T>(tiling)) {
    filter_tile(tiling, fft, weights + unit * tiling.frequencies * weight_width<T>(tiling), memory);
    store_tile(problem, tiling, operands, unit, 0, row, column + tile, memory);
  }
}

// Inverse and store of a row of tiles from (row, column) on whose spectra stand from `place` on,
// the vector `which` of each.
template <class T>
void store_tiles(const Problem& problem, const Tiling& tiling, const Operands& operands,
                 int64_t unit, int64_t vector, int64_t which, int64_t row, int64_t column,
                 int64_t tiles, int64_t place, const Spectra<T>& y, const Parts<T>& parts) {
  const TileFft<T> fft = image_tile_fft<T>(tiling.rows, tiling.columns);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const T* from = y.data + ((place + tile) * y.vectors + which) * 2 * kLanes<T>;
    inverse_columns(fft, from, y.step, parts.tile.work);
    store_tile(problem, tiling, operands, unit, vector, row, column + tile, parts.tile);
  }
}

template <class T>
void run_products(const Tiling& tiling, int64_t begin, int64_t end, const Operands& operands) {
  const SharedSpectra<T> spectra = shared_spectra<T>(tiling, operands.shared);
  const Spectra<T> y = scratch_parts<T>(tiling, operands.scratch).y;
  const T* weights = packing_parts<T>(tiling, const_cast<void*>(operands.packed)).weights;
  const int64_t chunks = ceil_div(tiling.frequencies, kItemFrequencies);
  for (int64_t i = begin; i < end;) {
    const int64_t unit = i / chunks, first = i % chunks, last = min_of(chunks, first + end - i);
    Spectra<T> x = spectra.x;
    x.data += unit * tiling.frequencies * x.step;
    const T* w = weights + unit * tiling.frequencies * weights_of_frequency<T>(tiling);
    const int64_t end_frequency = min_of(last * kItemFrequencies, tiling.frequencies);
    for (int64_t f = first * kItemFrequencies; f < end_frequency; ++f) {
      multiply(tiling, w, 0, tiling.out_vectors, f, f + 1, 0, 0, tiling.grid_rows,
               tiling.grid_columns, x, y);
      __builtin_memcpy(x.data + f * x.step, y.data,
                       size_t(out_places(tiling) * 2 * kLanes<T>) * sizeof(T));
    }
    i += last - first;
  }
}

template <class T>
void run_outputs(const Problem& problem, const Tiling& tiling, int64_t begin, int64_t end,
                 const Operands& operands) {
  const Parts<T> parts = scratch_parts<T>(tiling, operands.scratch);
  const Spectra<T> all = shared_spectra<T>(tiling, operands.shared).y;
  const int64_t columns = tiling.grid_columns, rows = tiling.grid_rows;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t column = i % columns, row = i / columns % rows;
    const int64_t vector = i / columns / rows % tiling.out_vectors;
    const int64_t unit = i / columns / rows / tiling.out_vectors;
    Spectra<T> y = all;
    y.data += unit * tiling.frequencies * y.step;
    store_tiles(problem, tiling, operands, unit, vector, vector, row, column, 1,
                row * columns + column, y, parts);
  }
}

template <class T>
void run_bands(const Problem& problem, const Tiling& tiling, int64_t begin, int64_t end,
               const Operands& operands) {
  const Parts<T> parts = scratch_parts<T>(tiling, operands.scratch);
  Spectra<T> x = parts.x;
  const T* weights = packing_parts<T>(tiling, const_cast<void*>(operands.packed)).weights;
  const int64_t across = ceil_div(tiling.grid_columns, tiling.band_columns);
  const int64_t unit_weights = weights_of_frequency<T>(tiling);
  for (int64_t i = begin, last = -1; i < end;) {
    const int64_t first = i % tiling.out_vectors, unit = i / tiling.out_vectors % tiling.units;
    const int64_t band = i / tiling.out_vectors / tiling.units;
    const int64_t row = band / across * tiling.band_rows,
                  column = band % across * tiling.band_columns;
    const int64_t rows = min_of(tiling.band_rows, tiling.grid_rows - row);
    const int64_t columns = min_of(tiling.band_columns, tiling.grid_columns - column);
    const int64_t count = min_of(min_of(together(tiling), tiling.out_vectors - first), end - i);
    const int64_t all = columns + tiling.columns.pieces - 1, most = tiling.strip;
    i += count;
    if (tiling.fused) {
      for (int64_t j = 0; j < rows; ++j)
        for (int64_t done = 0; done < columns; done += most)
          run_fused(problem, tiling, weights, unit, row + j, column + done,
                    min_of(most, columns - done), operands, parts);
      continue;
    }
    if (band * tiling.units + unit != last) {  // else the last out vectors left them there
      last = band * tiling.units + unit;
      x.row = row;
      x.column = column;
      for (int64_t vector = 0; vector < tiling.in_vectors; ++vector)
        for (int64_t j = 0; j < rows + tiling.rows.pieces - 1; ++j)
          for (int64_t done = 0; done < all; done += most)
            transform_inputs(problem, tiling, static_cast<const T*>(operands.x), unit, vector,
                             row + j, column + done, min_of(most, all - done), x, parts);
    }
    const T* w = weights + unit * tiling.frequencies * unit_weights;
    multiply(tiling, w, first, count, 0, tiling.frequencies, row, column, rows, columns, x,
             parts.y);
    for (int64_t which = 0; which < count; ++which)
      for (int64_t j = 0; j < rows; ++j)
        store_tiles(problem, tiling, operands, unit, first + which, which, row + j, column, columns,
                    j * parts.y.columns, parts.y, parts);
  }
}

template <class T>
void run_tiles(const Problem& problem, int64_t phase, int64_t begin, int64_t end,
               const Operands& operands) {
  const Tiling& tiling = *static_cast<const Tiling*>(operands.packed);
  if (!tiling.shared)
    run_bands<T>(problem, tiling, begin, end, operands);
  else if (phase == 0)
    run_inputs<T>(problem, tiling, begin, end, operands);
  else if (phase == 1)
    run_products<T>(tiling, begin, end, operands);
  else
    run_outputs<T>(problem, tiling, begin, end, operands);
}

// ---- either: images of few channels by pairs of tiles

template <class T>
Sizes sizes(const Problem& problem) {
  return is_image<T>(problem) ? image_sizes<T>(problem) : tile_sizes<T>(problem);
}
template <class T>
int64_t items(const Problem& problem, int64_t phase) {
  return is_image<T>(problem) ? image_items<T>(problem, phase) : tile_items<T>(problem, phase);
}
template <class T>
void prepare(const Problem& problem, const void* w, void* packed) {
  is_image<T>(problem) ? prepare_image<T>(problem, w, packed)
                       : prepare_tiles<T>(problem, w, packed);
}
template <class T>
void run(const Problem& problem, int64_t phase, int64_t begin, int64_t end,
         const Operands& operands) {
  is_image<T>(problem) ? run_image<T>(problem, phase, begin, end, operands)
                       : run_tiles<T>(problem, phase, begin, end, operands);
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 3, items<float>, prepare<float>,
     run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 3, items<double>, prepare<double>,
     run<double>},
};

}  // namespace

extern const Variants fft;
const Variants fft = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
