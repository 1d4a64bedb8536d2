// Winograd's F(4 x 4, 3 x 3) for few channels, from the inputs to the sums in double. In float the
// errors of the transforms, many times those of a product, average out over channels; of one to
// three channels too little. Lanes are filters; there are so few channels that a tile's inputs are
// transformed one number at a time, for all filters. Rounded once: no less accurate than `direct`.
#pragma once
#include "winograd.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

constexpr int64_t kRowTiles = 56;  // of one row of tiles, in a block
constexpr int kDoublePoints = F4::kPoints * F4::kPoints;

struct DoubleBlocking {
  Axis rows, columns;
  int64_t column_blocks, block_columns, groups;
};
CK_INLINE DoubleBlocking double_blocking_of(const Problem& problem) {
  DoubleBlocking b{};
  b.rows = axis_of<F4>(problem.p);
  b.columns = axis_of<F4>(problem.q);
  b.column_blocks = (b.columns.tiles + kRowTiles - 1) / kRowTiles;
  b.block_columns = (b.columns.tiles + b.column_blocks - 1) / b.column_blocks;
  b.groups = (filters_of(problem) + kWide - 1) / kWide;
  return b;
}

struct DoubleParts {
  double* inputs;  // [tile][column of points][c][row of points]
  float* band;     // rows of one channel's inputs
  float* pixels;   // a tile row's outputs x kWide lanes
  float* planes;   // the same as planes of kWide filters
  int64_t pitch, plane, bytes;
};
CK_INLINE DoubleParts double_parts_of(const Problem& problem, const DoubleBlocking& b, void* base) {
  DoubleParts parts{};
  Arena from = arena(base);
  parts.pitch = F4::kOutputs * b.block_columns + 2;
  parts.plane = plane_of(F4::kOutputs * F4::kOutputs * b.block_columns);
  parts.inputs = take<double>(from, b.block_columns * kDoublePoints * problem.c);
  parts.band = take<float>(from, F4::kPoints * parts.pitch);
  parts.pixels = take<float>(from, parts.plane * kWide);
  parts.planes = take<float>(from, kWide * parts.plane);
  parts.bytes = from.used;
  return parts;
}

CK_NOINLINE void transform_double(const Problem& problem, const float* x, const DoubleBlocking& b,
                                  const Block& block, const DoubleParts& parts) {
  constexpr int n = F4::kPoints;
  const int64_t top = tile_begin<F4>(b.rows, block.row) - problem.pad_top;
  const int64_t left = tile_begin<F4>(b.columns, block.column);
  const int64_t width = tile_begin<F4>(b.columns, block.column + block.columns - 1) + n - left;
  for (int64_t c = 0; c < problem.c; ++c) {
    const float* plane = x + channel_at(problem, problem.x_layout, problem.x, c);
    for (int i = 0; i < n; ++i)
      read_row(problem, plane, 0, top + i, left - problem.pad_left, width,
               parts.band + i * parts.pitch);
    for (int64_t tile = 0; tile < block.columns; ++tile) {
      const float* from = parts.band + tile_begin<F4>(b.columns, block.column + tile) - left;
      double half[n][n], d[n], v[n];
      for (int j = 0; j < n; ++j) {
        CK_UNROLL(6)
        for (int i = 0; i < n; ++i) d[i] = double(from[i * parts.pitch + j]);
        transform_input(F4{}, d, half[j]);
      }
      double* to = parts.inputs + (tile * n * problem.c + c) * n;
      for (int i = 0; i < n; ++i) {
        CK_UNROLL(6)
        for (int j = 0; j < n; ++j) d[j] = half[j][i];
        transform_input(F4{}, d, v);
        CK_UNROLL(6)
        for (int j = 0; j < n; ++j) to[j * problem.c * n + i] = v[j];
      }
    }
  }
}

// One vector of filters at one tile: to[row * pitch + column], in runs of kWide.
CK_NOINLINE void multiply_double(int64_t channels, const double* inputs, const double* weights,
                                 float* to, int64_t pitch, int64_t rows, int64_t columns) {
  constexpr int n = F4::kPoints, m = F4::kOutputs;
  Vec<double> half[n][m];
  CK_UNROLL(6)
  for (int j = 0; j < n; ++j) {
    Vec<double> sum[n] = {};
    for (int64_t c = 0; c < channels; ++c, inputs += n, weights += n * kWide) {
      CK_UNROLL(6)
      for (int i = 0; i < n; ++i) sum[i] += splat(inputs[i]) * load(weights + i * kWide);
    }
    transform_output(F4{}, sum, half[j]);
  }
  CK_UNROLL(4)
  for (int64_t row = 0; row < m; ++row) {
    if (row == rows) break;
    Vec<double> d[n], y[m];
    CK_UNROLL(6)
    for (int j = 0; j < n; ++j) d[j] = half[j][row];
    transform_output(F4{}, d, y);
    CK_UNROLL(4)
    for (int64_t column = 0; column < m; ++column)
      if (column < columns)
        *reinterpret_cast<HalfVector*>(to + (row * pitch + column) * kWide) =
            __builtin_convertvector(y[column], HalfVector);
  }
}

// ---- the kernel ----

Sizes double_sizes(const Problem& problem) {
  const DoubleBlocking b = double_blocking_of(problem);
  const int64_t weights = b.groups * kDoublePoints * problem.c * kWide;
  return {weights * int64_t(sizeof(double)), 0, double_parts_of(problem, b, nullptr).bytes};
}
int64_t double_items(const Problem& problem, int64_t) {
  const DoubleBlocking b = double_blocking_of(problem);
  return b.rows.tiles * b.column_blocks * b.groups;
}
// packed[group][column of points][c][row of points][kWide]; filters past k are zero.
void double_prepare(const Problem& problem, const void* w, void* packed) {
  constexpr int n = F4::kPoints;
  const int64_t groups = double_blocking_of(problem).groups;
  for (int64_t group = 0; group < groups; ++group)
    for (int64_t c = 0; c < problem.c; ++c)
      for (int64_t part = 0; part < kWide; part += kLanes<double>) {
        Vec<double> u[n][n];
        const int64_t first = group * kWide + part;
        transform_filters<F4, false>(
            [&](int lane, int row, int column) {
              const int64_t at = ((first + lane) * problem.c + c) * 9 + row * 3 + column;
              return first + lane < problem.k ? double(static_cast<const float*>(w)[at]) : 0.0;
            },
            u);
        double* to = static_cast<double*>(packed) + (group * n * problem.c + c) * n * kWide + part;
        for (int i = 0; i < n; ++i)
          for (int j = 0; j < n; ++j) store(to + (j * problem.c * n + i) * kWide, u[i][j]);
      }
}
// Items: pieces of rows of tiles, each with all groups of filters, as in winograd_run.
void double_run(const Problem& problem, int64_t, int64_t begin, int64_t end,
                const Operands& operands) {
  const DoubleBlocking b = double_blocking_of(problem);
  const DoubleParts parts = double_parts_of(problem, b, operands.scratch);
  const int64_t inputs = kDoublePoints * problem.c;
  Block block{};
  for (int64_t item = begin; item < end; ++item) {
    const int64_t group = item % b.groups, at = item / b.groups;
    if (item == begin || group == 0) {
      const int64_t column = b.columns.tiles * (at % b.column_blocks) / b.column_blocks;
      const int64_t stop = b.columns.tiles * (at % b.column_blocks + 1) / b.column_blocks;
      block = {at / b.column_blocks, 1, column, stop - column, 1};
      transform_double(problem, static_cast<const float*>(operands.x), b, block, parts);
    }
    const int64_t row = tile_begin<F4>(b.rows, block.row);
    const int64_t rows = tile_begin<F4>(b.rows, block.row + 1) - row;
    const int64_t left = tile_begin<F4>(b.columns, block.column);
    const int64_t width = tile_begin<F4>(b.columns, block.column + block.columns) - left;
    const double* weights = static_cast<const double*>(operands.packed) + group * inputs * kWide;
    for (int64_t tile = 0; tile < block.columns; ++tile) {
      const int64_t column = tile_begin<F4>(b.columns, block.column + tile);
      const int64_t columns = tile_begin<F4>(b.columns, block.column + tile + 1) - column;
      for (int64_t part = 0; part < kWide; part += kLanes<double>)
        multiply_double(problem.c, parts.inputs + tile * inputs, weights + part,
                        parts.pixels + (column - left) * kWide + part, width, rows, columns);
    }
    finish_pixels(problem, operands, group * kWide, row, rows, left, width, parts.pixels,
                  parts.planes, parts.plane);
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
