// y[k][p][q] = b[k] + sum over c, r, s of w[k][c][r][s] x[c][p + r][q + s], tile by tile in the
// frequency domain:
//   Y[k][f] = sum over c of X[c][f] conj(W[k][c][f]),   f a frequency of the tile.
// Overlap-save: a tile of N x N inputs gives the (N - r + 1) x (N - s + 1) outputs that the
// circular sum leaves alone (Stockham 1966; for networks Mathieu, Henaff and LeCun 2014). A filter
// larger than half a tile may be cut into pieces, each a shifted input whose products are added
// before the inverse.
#include "blocks/fft_filters.h"
#include "blocks/fft_fused.h"
#include "blocks/fft_image.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// ---- inputs

// to = the spectra of `tiles` tiles from (row, column) of the grid on, one vector of a unit.
template <class T>
void transform_inputs(const Problem& problem, const Tiling& tiling, const T* x, int64_t unit,
                      int64_t vector, int64_t row, int64_t column, int64_t tiles,
                      const Spectra<T>& to, const Parts<T>& parts) {
  const TileFft<T> fft = image_tile_fft<T>(tiling.rows, tiling.columns);
  forward_rows(problem, tiling, fft, x, unit, vector, row, column, tiles, parts.tile,
               {0, fft.down.kept});
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

// ---- the kernel

bool always(const Problem&) { return true; }

template <class T>
Sizes tile_sizes(const Problem& problem) {
  const Tiling tiling = tiling_of<T>(problem);
  Sizes bytes{};
  bytes.packed = packing_parts<T>(tiling, nullptr).bytes;
  bytes.shared = tiling.cuts > 1 ? cut_memory<T>(tiling, nullptr).bytes
                                 : shared_spectra<T>(tiling, nullptr).bytes;
  bytes.scratch = scratch_parts<T>(tiling, nullptr).bytes;
  return bytes;
}

// Where spectra are shared, phase 0: a tile of one input vector; phase 1: a frequency; phase
// 2: one out vector of a tile. Where tiles are cut, each phase has their parts. Otherwise phase 2
// is all: one out vector of a band.
template <class T>
int64_t tile_items(const Problem& problem, int64_t phase) {
  const Tiling tiling = tiling_of<T>(problem);
  if (tiling.cuts > 1) return tiling.units * tiling.cuts;
  if (!tiling.shared)
    return phase < 2 ? 0
                     : ceil_div(tiling.grid_rows, tiling.band_rows) *
                           ceil_div(tiling.grid_columns, tiling.band_columns) * tiling.units *
                           tiling.out_vectors;
  if (phase == 0)
    return tiling.units * tiling.in_vectors * (tiling.grid_rows + tiling.rows.pieces - 1) *
           (tiling.grid_columns + tiling.columns.pieces - 1);
  return phase == 1 ? tiling.units * tiling.frequencies : tiling.units * out_places(tiling);
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
    store_tile(problem, tiling, operands, unit, vector, row, column + tile, parts.tile,
               {0, tiling.rows.step});
  }
}

template <class T>
void run_products(const Tiling& tiling, int64_t begin, int64_t end, const Operands& operands) {
  const SharedSpectra<T> spectra = shared_spectra<T>(tiling, operands.shared);
  const Spectra<T> y = scratch_parts<T>(tiling, operands.scratch).y;
  const T* weights = packing_parts<T>(tiling, const_cast<void*>(operands.packed)).weights;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t unit = i / tiling.frequencies, f = i % tiling.frequencies;
    Spectra<T> x = spectra.x;
    x.data += unit * tiling.frequencies * x.step;
    const T* w = weights + unit * tiling.frequencies * weights_of_frequency<T>(tiling);
    multiply(tiling, w, 0, tiling.out_vectors, f, f + 1, 0, 0, tiling.grid_rows,
             tiling.grid_columns, x, y);
    __builtin_memcpy(x.data + f * x.step, y.data,
                     size_t(out_places(tiling) * 2 * kLanes<T>) * sizeof(T));
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
          run_fused(problem, tiling, unit, row + j, column + done, min_of(most, columns - done),
                    operands, parts);
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
  if (tiling.cuts > 1)
    run_cut<T>(problem, tiling, phase, begin, end, operands);
  else if (!tiling.shared)
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

// Blocks hold whole vectors.
template <class T>
bool fits(const Problem& problem) {
  return problem.block > 0 && problem.block % kLanes<T> == 0;
}

template <class T>
constexpr Kernel variant(const char* name, int64_t x_layout, int64_t y_layout) {
  const bool planes = x_layout == kNchw && y_layout == kNchw;
  return {name,
          sizeof(T) == 4 ? kFloat32 : kFloat64,
          x_layout,
          y_layout,
          planes ? always : fits<T>,
          sizes<T>,
          3,
          items<T>,
          prepare<T>,
          run<T>};
}

const Kernel kKernels[] = {
    variant<float>("float32", kNchw, kNchw),
    variant<double>("float64", kNchw, kNchw),
    variant<float>("float32 blocks", kNchwc, kNchwc),
    variant<double>("float64 blocks", kNchwc, kNchwc),
    variant<float>("float32 planes to blocks", kNchw, kNchwc),
    variant<double>("float64 planes to blocks", kNchw, kNchwc),
    variant<float>("float32 blocks to planes", kNchwc, kNchw),
    variant<double>("float64 blocks to planes", kNchwc, kNchw),
};

}  // namespace

extern const Variants fft;
const Variants fft = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
