// Winograd's minimal filtering F(m x m, r x r): tiles of m x m outputs from n x n inputs, n = m + r
// - 1, one product per point and channel instead of r r per output:
//   y = A^T [ sum over c of (G w G^T) . (B^T x B) ] A        (. is elementwise; A, B, G act on
//   rows, then on columns)
// Lanes are channels on the way in and filters on the way out; the sum over c is a small matrix
// product per point. What the kernels of Winograd share, templated on the tile.
#pragma once
#include "arena.h"
#include "gemm.h"
#include "winograd_lanes.h"
#include "winograd_tiles.h"
#include "winograd_transforms.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// Tiles in registers, times two vectors of sums, beside the two of weights, a broadcast and
// (without FMA) a product.
constexpr int kMostRows = kRegisters == 32 ? 14 : kFma ? 6 : 4;
constexpr int64_t kStretch = 32;  // channels whose half-transformed weights are finished at a time
constexpr int64_t kStripTiles = 7;  // their rows of inputs stay in the first-level cache
constexpr int64_t kJoined = 28;     // rows of up to so many outputs are finished together
constexpr int64_t kLine = 16;       // floats between planes: powers of two fall into one cache set
// As many floats as there are doubles in a vector.
typedef float HalfVector __attribute__((vector_size(kVectorBytes / 2), aligned(4), may_alias));

// Reads columns [begin, begin + count) of a row of the padded image, `channels` channels from
// `channel` on, a vector for each: see read_pixels.
using ReadPixels = void(const Problem& problem, const float* x, int64_t channel, int64_t channels,
                        int64_t row, int64_t begin, int64_t count, float* to);
CK_INLINE void read_planes(const Problem& problem, const float* x, int64_t channel,
                           int64_t channels, int64_t row, int64_t begin, int64_t count, float* to) {
  read_pixels(problem, x + channel * problem.x.c, channels, row - problem.pad_top,
              begin - problem.pad_left, count, to);
}

// ---- memory ----

struct Parts {
  float* inputs;   // [point][channel block][tile][kWide]
  float* sums;     // [point][tile][kGroup]
  float* pixels;   // x kWide lanes: rows of inputs of a strip, later a tile row's outputs
  float* weights;  // [2 points][kStretch][kGroup], of half-transformed ones
  float* planes;   // rows of outputs of kWide filters
  int64_t input_point, sum_point, plane;
  int64_t block_inputs;  // floats of a block's inputs
  int64_t bytes;
};
// Floats of a plane of `pixels` outputs and what the last turn writes beside them.
CK_INLINE int64_t plane_of(int64_t pixels) { return (pixels + kWide - 1) / kWide * kWide + kLine; }
// Pixels between rows of inputs of a strip; turns overwrite up to kWide - 1 after each row.
template <class Tile>
constexpr int64_t strip_pitch() {
  return Tile::kOutputs * (kStripTiles - 1) + Tile::kPoints + kWide - 1;
}
template <class Tile>
CK_INLINE Parts parts_of(const Blocking& b, bool half, bool own_inputs, void* base) {
  constexpr int64_t m = Tile::kOutputs, points = Tile::kPoints * Tile::kPoints;
  Arena from = arena(base);
  Parts parts{};
  parts.input_point = b.channel_blocks * b.tiles * kWide + kLine;
  parts.sum_point = b.tiles * kGroup + kLine;
  parts.block_inputs = points * parts.input_point;
  const int64_t columns = b.tiles < b.columns.tiles ? b.tiles : b.columns.tiles;  // of a block
  parts.plane = plane_of(m * (columns > kJoined ? columns : kJoined));
  const int64_t strip = Tile::kPoints * strip_pitch<Tile>();
  const int64_t outputs = m * m * columns + kWide, pixels = strip > outputs ? strip : outputs;
  parts.inputs = take<float>(from, own_inputs ? parts.block_inputs : 0);
  parts.sums = take<float>(from, points * parts.sum_point);
  parts.pixels = take<float>(from, pixels * kWide);
  parts.weights = take<float>(from, half ? 2 * kStretch * kGroup : 0);
  parts.planes = take<float>(from, kWide * parts.plane);
  parts.bytes = from.used;
  return parts;
}

// Stores pixels[row][column][kWide] of kWide filters, by way of planes[kWide][plane]: as one run
// per filter where rows follow one another in y too: rows of a few pixels are dear.
CK_INLINE void finish_pixels(const Problem& problem, const Operands& operands, int64_t filter,
                             int64_t row, int64_t rows, int64_t column, int64_t columns,
                             const float* pixels, float* planes, int64_t plane) {
  if (problem.y_layout == kNchwc)
    return finish_block_pixels(problem, operands, filter, row, rows, column, columns, pixels,
                               planes);
  const Strides &y = problem.y, &residual = problem.residual;
  const bool joined = y.w == 1 && y.h == columns &&
                      (!operands.epilogue.residual || (residual.w == 1 && residual.h == columns));
  const int64_t filters = problem.k - filter < kWide ? problem.k - filter : kWide;
  for (int64_t i = 0; i < rows * columns; i += kWide)
    turn(pixels + i * kWide, kWide, planes + i, plane);
  for (int64_t f = 0; f < filters; ++f, planes += plane)
    if (joined)
      finish_row(problem, operands, filter + f, row, column, planes, rows * columns);
    else
      for (int64_t i = 0; i < rows; ++i)
        finish_row(problem, operands, filter + f, row + i, column, planes + i * columns, columns);
}

// ---- the three steps: on a piece, a rectangle of the tiles that `places` tells of ----

CK_INLINE int64_t tile_in(const Blocking& b, const Places& places, const Block& piece) {
  return piece.row * b.columns.tiles + piece.column - places.first;
}

// Rows kFirst to kFirst + kRows - 1 of the points of the tile whose inputs begin at `from`, rows of
// them `pitch` floats apart. By one or two, since both transforms of these fit into registers;
// pairs of points share sums.
template <class Tile, int kFirst, int kRows>
CK_INLINE void transform_points(const float* from, int64_t pitch, int64_t place, int64_t last,
                                int64_t input_point, float*& to) {
  constexpr int n = Tile::kPoints;
  Vec<float> half[kRows][n];
  CK_UNROLL(6)
  for (int j = 0; j < n; ++j) {
    Vec<float> d[n], v[n];
    CK_UNROLL(6)
    for (int i = 0; i < n; ++i) d[i] = load(from + i * pitch + j * kWide);
    transform_input(Tile{}, d, v);
    CK_UNROLL(2)
    for (int i = 0; i < kRows; ++i) half[i][j] = v[kFirst + i];
  }
  CK_UNROLL(2)
  for (int i = 0; i < kRows; ++i) {
    Vec<float> v[n];
    transform_input(Tile{}, half[i], v);
    CK_UNROLL(6)
    for (int j = 0; j < n - 1; ++j, to += input_point) store(to + place * kWide, v[j]);
    if (last >= 0) store(to + last * kWide, v[n - 1]);
    to += input_point;
  }
}
template <class Tile, int kFirst = 1>
CK_INLINE void transform_pairs(const float* from, int64_t pitch, int64_t place, int64_t last,
                               int64_t input_point, float*& to) {
  if constexpr (kFirst < Tile::kPoints - 1) {
    transform_points<Tile, kFirst, 2>(from, pitch, place, last, input_point, to);
    transform_pairs<Tile, kFirst + 2>(from, pitch, place, last, input_point, to);
  }
}
// All points of a tile.
template <class Tile>
CK_INLINE void transform_tile(const float* from, int64_t pitch, const Places& places, int64_t tile,
                              int64_t input_point, float* to) {
  constexpr int n = Tile::kPoints;
  // Unknown to the compiler, which would keep a distance for each point in memory.
  asm("" : "+r"(input_point));
  const int64_t place = places.at[0][tile], last = places.at[2][tile];
  transform_points<Tile, 0, 1>(from, pitch, place, last, input_point, to);
  transform_pairs<Tile>(from, pitch, place, last, input_point, to);
  if (places.at[1][tile] >= 0)
    transform_points<Tile, n - 1, 1>(from, pitch, places.at[1][tile], places.at[3][tile],
                                     input_point, to);
}

template <class Tile, ReadPixels* kRead>
CK_NOINLINE void transform_inputs(const Problem& problem, const float* x, const Blocking& b,
                                  const Places& places, const Parts& parts, const Block& piece,
                                  int64_t channel_block) {
  constexpr int n = Tile::kPoints;
  constexpr int64_t pitch = strip_pitch<Tile>() * kWide;
  const int64_t channel = channel_block * kWide, tile = tile_in(b, places, piece);
  const int64_t channels = problem.c - channel < kWide ? problem.c - channel : kWide;
  float* to = parts.inputs + channel_block * b.tiles * kWide;
  const int64_t strips = (piece.columns + kStripTiles - 1) / kStripTiles;
  for (int64_t strip = 0; strip < strips; ++strip) {
    const int64_t begin = piece.columns * strip / strips;
    const int64_t end = piece.columns * (strip + 1) / strips;
    const int64_t left = tile_begin<Tile>(b.columns, piece.column + begin);
    const int64_t width = tile_begin<Tile>(b.columns, piece.column + end - 1) + n - left;
    int64_t top = 0, read = 0;  // the rows of pixels there are: [top, read)
    for (int64_t i = 0; i < piece.rows; ++i) {
      const int64_t above = top;
      top = tile_begin<Tile>(b.rows, piece.row + i);
      if (i == 0) read = top;
      if (read > top)
        __builtin_memmove(parts.pixels, parts.pixels + (top - above) * pitch,
                          size_t((read - top) * pitch) * sizeof(float));
      for (; read < top + n; ++read)
        kRead(problem, x, channel, channels, read, left, width,
              parts.pixels + (read - top) * pitch);
      for (int64_t j = begin; j < end; ++j) {
        const int64_t at = tile + i * piece.columns + j;
        const float* from =
            parts.pixels + (tile_begin<Tile>(b.columns, piece.column + j) - left) * kWide;
        transform_tile<Tile>(from, pitch, places, at, parts.input_point, to);
      }
    }
  }
}

// sums[tile][f] = (or +=) sum over c < depth of inputs[c / kWide][tile][c % kWide] weights[c][f]
struct Product {
  const float* inputs;
  int64_t input_block;  // distance of channel blocks
  const float* weights;
  int64_t weight_step;
  int64_t depth;
  float* sums;
  bool add;
  const float* next_weights;  // fetched into the second-level cache, next_step floats per channel
  int64_t next_step;
  int64_t next_inputs;  // distance of the inputs that come next, fetched too
};
template <int kTiles, int kVecs>
CK_NOINLINE void multiply_tiles(const Product& product) {
  Vec<float> sum[kTiles][kVecs] = {};
  const float *inputs = product.inputs, *weights = product.weights, *next = product.next_weights;
  for (int64_t done = 0; done < product.depth; done += kWide, inputs += product.input_block) {
    const int64_t channels = product.depth - done < kWide ? product.depth - done : kWide;
    const float* next_inputs = inputs + product.next_inputs;
    CK_UNROLL(4)
    for (int64_t c = 0; c < channels;
         ++c, weights += product.weight_step, next += product.next_step) {
      Vec<float> w[kVecs];
      CK_UNROLL(2)
      for (int v = 0; v < kVecs; ++v) w[v] = load(weights + v * kWide);
      // Without them, what comes from beyond the second-level cache costs 10 to 70 %: weights, and
      // inputs that are too many for it or that another core has just written.
      __builtin_prefetch(next, 0, 2);
      __builtin_prefetch(next_inputs + c * kWide, 0, 2);
      CK_UNROLL(16)
      for (int i = 0; i < kTiles; ++i) {
        const Vec<float> x = splat(inputs[i * kWide + c]);
        CK_UNROLL(2)
        for (int v = 0; v < kVecs; ++v) sum[i][v] += x * w[v];
      }
    }
  }
  if (product.add) {
    CK_UNROLL(16)
    for (int i = 0; i < kTiles; ++i) CK_UNROLL(2)
    for (int v = 0; v < kVecs; ++v) sum[i][v] += load(product.sums + i * kGroup + v * kWide);
  }
  CK_UNROLL(16)
  for (int i = 0; i < kTiles; ++i) CK_UNROLL(2)
  for (int v = 0; v < kVecs; ++v) store(product.sums + i * kGroup + v * kWide, sum[i][v]);
}
template <int kVecs, int kTiles = kMostRows>
CK_INLINE void multiply_piece(int64_t tiles, const Product& product) {
  if constexpr (kTiles > 0) {
    if (tiles == kTiles)
      multiply_tiles<kTiles, kVecs>(product);
    else
      multiply_piece<kVecs, kTiles - 1>(tiles, product);
  }
}

// One point of tiles [begin, end) of a block, channels [depth, depth + channels). Meanwhile fetches
// `share` floats per channel of the next weights, and the inputs of the next point and depth.
struct Range {
  int64_t begin, end;
};
struct Stage {
  int64_t point, depth;
};
CK_INLINE int64_t inputs_at(const Blocking& b, const Parts& parts, const Stage& stage) {
  return stage.point * parts.input_point + stage.depth * b.tiles;
}
template <class Tile, int kVecs>
CK_INLINE void multiply_point(const Blocking& b, const Places& places, const Parts& parts,
                              const Range& range, const Stage& stage, int64_t channels,
                              const float* weights, int64_t weight_step, const Stage& next_stage,
                              const float* next, int64_t share) {
  constexpr int n = Tile::kPoints;
  const int64_t row = stage.point / n, column = stage.point % n;
  const int16_t* before = places.before[(row == n - 1) + 2 * (column == n - 1)];
  const int64_t first = before[range.begin], tiles = before[range.end] - first;
  const int64_t pieces = (tiles + kMostRows - 1) / kMostRows;
  Product product{};
  product.input_block = b.tiles * kWide;
  product.weights = weights;
  product.weight_step = weight_step;
  product.depth = channels;
  product.add = stage.depth > 0;
  product.next_inputs = inputs_at(b, parts, next_stage) - inputs_at(b, parts, stage);
  product.next_step = pieces * kLine < share ? kLine : share / pieces;
  for (int64_t piece = 0; piece < pieces; ++piece) {
    const int64_t begin = first + tiles * piece / pieces,
                  end = first + tiles * (piece + 1) / pieces;
    product.inputs = parts.inputs + inputs_at(b, parts, stage) + begin * kWide;
    product.sums = parts.sums + stage.point * parts.sum_point + begin * kGroup;
    product.next_weights = next + piece * channels * product.next_step;
    multiply_piece<kVecs>(end - begin, product);
  }
}

// All points of one group of filters, weights [point][c][kGroup].
template <class Tile>
CK_NOINLINE void multiply_full(const Problem& problem, const Blocking& b, const Places& places,
                               const Parts& parts, const Range& range, const float* weights,
                               bool last_group) {
  constexpr int64_t points = Tile::kPoints * Tile::kPoints;
  const int64_t panel = problem.c * kGroup;
  for (int64_t point = 0; point < points; ++point, weights += panel)
    // Longer sums would lose accuracy.
    for (int64_t depth = 0; depth < problem.c; depth += kPartial) {
      const int64_t channels = problem.c - depth < kPartial ? problem.c - depth : kPartial;
      const float* from = weights + depth * kGroup;
      const float* next = last_group && point == points - 1 ? from : from + panel;
      multiply_point<Tile, 2>(b, places, parts, range, {point, depth}, channels, from, kGroup,
                              {(point + 1) % points, depth}, next, kGroup);
    }
}

// Finishes points kFirst and kFirst + 1 of a row of half-transformed weights:
// to[2][kStretch][kGroup].
template <class Tile, int kFirst, int kVecs>
CK_NOINLINE void finish_weights(const float* weights, int64_t channels, float* to) {
  for (int64_t c = 0; c < channels; ++c, weights += 3 * kGroup, to += kGroup)
    for (int64_t lane = 0; lane < kVecs * kWide; lane += kWide) {
      const float* from = weights + lane;
      const Vec<float> g[3] = {load(from), load(from + kGroup), load(from + 2 * kGroup)};
      Vec<float> u[Tile::kPoints];
      transform_filter(Tile{}, g, u);
      store(to + lane, u[kFirst]);
      store(to + kStretch * kGroup + lane, u[kFirst + 1]);
    }
}

// The same as multiply_full from weights [row of points][c][3][kGroup], transformed vertically
// only: half the memory and half the traffic. A stretch of channels is transformed horizontally,
// two points at a time, into a buffer in the first-level cache and used at once for all tiles; the
// first and the last point of a row are the packed weights themselves.
template <class Tile, int kVecs>
CK_NOINLINE void multiply_half(const Problem& problem, const Blocking& b, const Places& places,
                               const Parts& parts, const Range& range, const float* weights,
                               bool last_group) {
  constexpr int64_t n = Tile::kPoints, last_pair = n - 3;
  constexpr int64_t step = 3 * kGroup, share = step / n;
  for (int64_t row = 0; row < n; ++row)
    for (int64_t depth = 0; depth < problem.c; depth += kStretch) {
      const int64_t channels = problem.c - depth < kStretch ? problem.c - depth : kStretch;
      const bool row_ends = depth + channels == problem.c;
      const bool last = last_group && row == n - 1 && row_ends;
      const Stage next_stretch = {(row + row_ends) % n * n, row_ends ? 0 : depth + channels};
      const float* next = last ? weights : weights + channels * step;
      for (int64_t j = 0; j < n; ++j, next += last ? 0 : channels * share) {
        const bool packed = j == 0 || j == n - 1;
        if (j == 1) finish_weights<Tile, 1, kVecs>(weights, channels, parts.weights);
        if (j == last_pair && j > 1)
          finish_weights<Tile, last_pair, kVecs>(weights, channels, parts.weights);
        const float* from = j == 0       ? weights
                            : j == n - 1 ? weights + 2 * kGroup
                                         : parts.weights + (j + 1) % 2 * kStretch * kGroup;
        const int64_t point = row * n + j;
        multiply_point<Tile, kVecs>(
            b, places, parts, range, {point, depth}, channels, from, packed ? step : kGroup,
            j == n - 1 ? next_stretch : Stage{point + 1, depth}, next, share);
      }
      weights += channels * step;
    }
}

// The sums of a tile, transformed vertically.
template <class Tile>
CK_INLINE void half_outputs(const Places& places, int64_t tile, int64_t sum_point,
                            const float* sums, Vec<float> (&half)[Tile::kPoints][Tile::kOutputs]) {
  constexpr int n = Tile::kPoints;
  CK_UNROLL(6)
  for (int column = 0; column < n; ++column) {
    const int place = places.at[2 * (column == n - 1)][tile];
    const int last = places.at[2 * (column == n - 1) + 1][tile];
    Vec<float> d[n];
    CK_UNROLL(6)
    for (int row = 0; row < n; ++row) {
      const int at = row == n - 1 ? last : place;
      d[row] = at < 0 ? Vec<float>{} : load(sums + (row * n + column) * sum_point + at * kGroup);
    }
    transform_output(Tile{}, d, half[column]);
  }
}
template <class Tile>
CK_NOINLINE void transform_outputs(const Problem& problem, const Operands& operands,
                                   const Blocking& b, const Places& places, const Parts& parts,
                                   const Block& piece, const float* sums, int64_t filter) {
  constexpr int n = Tile::kPoints, m = Tile::kOutputs;
  int64_t tile = tile_in(b, places, piece);
  const int64_t left = tile_begin<Tile>(b.columns, piece.column);
  const int64_t width = tile_begin<Tile>(b.columns, piece.column + piece.columns) - left;
  for (int64_t i = piece.row; i < piece.row + piece.rows; ++i) {
    for (int64_t j = piece.column; j < piece.column + piece.columns; ++j, ++tile) {
      Vec<float> half[n][m];
      half_outputs<Tile>(places, tile, parts.sum_point, sums, half);
      const int64_t begin = tile_begin<Tile>(b.columns, j);
      const int64_t columns = tile_begin<Tile>(b.columns, j + 1) - begin;
      float* to = parts.pixels + (begin - left) * kWide;
      CK_UNROLL(4)
      for (int row = 0; row < m; ++row, to += width * kWide) {
        Vec<float> d[n], y[m];
        CK_UNROLL(6)
        for (int column = 0; column < n; ++column) d[column] = half[column][row];
        transform_output(Tile{}, d, y);
        CK_UNROLL(4)
        for (int column = 0; column < m; ++column)
          if (column < columns) store(to + column * kWide, y[column]);
      }
    }
    const int64_t top = tile_begin<Tile>(b.rows, i);
    const int64_t rows = tile_begin<Tile>(b.rows, i + 1) - top;
    const int64_t step = width > kJoined ? 1 : rows;
    for (int64_t row = 0; row < rows; row += step)
      finish_pixels(problem, operands, filter, top + row, step, left, width,
                    parts.pixels + row * width * kWide, parts.planes, parts.plane);
  }
}

// Packed numbers per filter and channel.
template <class Tile, bool kHalf>
constexpr int64_t kFilterWeights = Tile::kPoints * (kHalf ? Tile::kTaps : Tile::kPoints);

// u[row of points][column] (kHalf: column of the filter) of a vector of filters, whose taps are
// tap(lane, row, column).
template <class Tile, bool kHalf, class Tap>
CK_INLINE void transform_filters(
    const Tap& tap, Vec<double> (&u)[Tile::kPoints][kHalf ? Tile::kTaps : Tile::kPoints]) {
  constexpr int n = Tile::kPoints, taps = Tile::kTaps;
  Vec<double> half[taps][n];
  for (int j = 0; j < taps; ++j) {
    Vec<double> g[taps];
    for (int i = 0; i < taps; ++i) {
      double lanes[kLanes<double>];
      for (int lane = 0; lane < kLanes<double>; ++lane) lanes[lane] = tap(lane, i, j);
      g[i] = load(lanes);
    }
    transform_filter(Tile{}, g, half[j]);
  }
  for (int i = 0; i < n; ++i) {
    Vec<double> row[taps];
    for (int j = 0; j < taps; ++j) row[j] = half[j][i];
    if constexpr (kHalf)
      for (int j = 0; j < taps; ++j) u[i][j] = row[j];
    else
      transform_filter(Tile{}, row, u[i]);
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
