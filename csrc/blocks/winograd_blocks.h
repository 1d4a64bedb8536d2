// Winograd's transforms of x and y in blocks of channels (nchwc): a pixel is a vector, so tiles are
// read in place, and nothing is turned.
#pragma once
#include "winograd.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// Tiles that reach over the border go through a copy.
template <class Tile>
CK_NOINLINE void transform_block_inputs(const Problem& problem, const float* x, const Blocking& b,
                                        const Places& places, const Parts& parts,
                                        const Block& piece, int64_t channel_block) {
  constexpr int n = Tile::kPoints;
  alignas(kVectorBytes) float copy[n * n * kWide];
  x += channel_at(problem, kNchwc, problem.x, channel_block * kWide);
  float* to = parts.inputs + channel_block * b.tiles * kWide;
  int64_t tile = tile_in(b, places, piece);
  for (int64_t i = piece.row; i < piece.row + piece.rows; ++i) {
    const int64_t top = tile_begin<Tile>(b.rows, i) - problem.pad_top;
    const bool in_place = problem.x.w == kWide && top >= 0 && top + n <= problem.h;
    for (int64_t j = piece.column; j < piece.column + piece.columns; ++j, ++tile) {
      const int64_t left = tile_begin<Tile>(b.columns, j) - problem.pad_left;
      const float* from = copy;
      int64_t pitch = n * kWide;
      if (in_place && left >= 0 && left + n <= problem.w) {
        from = x + top * problem.x.h + left * kWide;
        pitch = problem.x.h;
      } else {
        for (int row = 0; row < n; ++row)
          copy_pixels(problem, x, top + row, left, n, copy + row * n * kWide);
      }
      transform_tile<Tile>(from, pitch, places, tile, parts.input_point, to);
    }
  }
}

// Of activations that are bounds.
template <class Tile>
CK_NOINLINE void transform_block_outputs(const Problem& problem, const Operands& operands,
                                         const Blocking& b, const Places& places,
                                         const Parts& parts, const Block& piece, const float* sums,
                                         int64_t filter) {
  constexpr int n = Tile::kPoints, m = Tile::kOutputs;
  const PixelExit exit = pixel_exit(problem, operands, filter);
  int64_t tile = tile_in(b, places, piece);
  for (int64_t i = piece.row; i < piece.row + piece.rows; ++i) {
    const int64_t top = tile_begin<Tile>(b.rows, i);
    const int64_t rows = tile_begin<Tile>(b.rows, i + 1) - top;
    for (int64_t j = piece.column; j < piece.column + piece.columns; ++j, ++tile) {
      Vec<float> half[n][m];
      half_outputs<Tile>(places, tile, parts.sum_point, sums, half);
      const int64_t left = tile_begin<Tile>(b.columns, j);
      const int64_t columns = tile_begin<Tile>(b.columns, j + 1) - left;
      float* y = exit.y + top * problem.y.h + left * problem.y.w;
      const float* residual = exit.residual;
      if (residual) residual += top * problem.residual.h + left * problem.residual.w;
      CK_UNROLL(4)
      for (int row = 0; row < m; ++row) {
        if (row == rows) break;
        Vec<float> d[n], v[m];
        CK_UNROLL(6)
        for (int column = 0; column < n; ++column) d[column] = half[column][row];
        transform_output(Tile{}, d, v);
        CK_UNROLL(4)
        for (int column = 0; column < m; ++column)
          if (column < columns)
            put_lanes(exit.lanes, v[column],
                      residual ? residual + column * exit.lanes.residual_step : nullptr,
                      y + column * exit.lanes.y_step);
        y += problem.y.h;
        if (residual) residual += problem.residual.h;
      }
    }
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
