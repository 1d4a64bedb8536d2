// Winograd's F(4, 3) along the rows only, for images of few rows whose weights are streamed:
//   y[k][i][4j+v] = sum over e of A[e][v] sum over c, r of
//     (G w[k][c][r])[e] (B^T x[c][i+r][4j..4j+5])[e]
// 4.5 products per output and channel instead of 2.25, but the plain weights are read, once and in
// order: the three vectors of a point are made in registers (two operations each) and used at once
// for every row of a strip and every tile of a span. No less accurate than a direct sum in
// practice.
#pragma once
#include "winograd.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

constexpr int64_t kStripRows = 8;                // rows of outputs that are summed together
constexpr int kSpan = kRegisters == 32 ? 2 : 1;  // times tiles: 16 sums of 32 registers, 8 of 16
constexpr int64_t kStep = 16;                    // channels whose weights stay in the first cache
constexpr int64_t kPixel = kSpan * kStep;        // floats of one row, point and span of inputs

struct Strips {
  Axis columns;
  int64_t strips, rows;  // of outputs; the largest strip's
  int64_t spans, steps, groups, width;
};
CK_INLINE Strips strips_of(const Problem& problem) {
  Strips s{};
  s.columns = axis_of<F4>(problem.q);
  s.strips = (problem.p + kStripRows - 1) / kStripRows;
  s.rows = (problem.p + s.strips - 1) / s.strips;
  s.spans = (s.columns.tiles + kSpan - 1) / kSpan;
  s.steps = (problem.c + kStep - 1) / kStep;
  s.groups = (filters_of(problem) + kWide - 1) / kWide;
  s.width = tile_begin<F4>(s.columns, s.columns.tiles - 1) + F4::kPoints;
  return s;
}
struct Strip {
  int64_t begin, rows;  // of outputs
  bool bordered;        // the first and the last row that it reads are zeros, and skipped
};
CK_INLINE Strip strip_at(const Problem& problem, const Strips& s, int64_t index) {
  const int64_t begin = problem.p * index / s.strips, end = problem.p * (index + 1) / s.strips;
  const bool bordered = source_row(problem, begin - problem.pad_top) < 0 &&
                        source_row(problem, end + 1 - problem.pad_top) < 0;
  return {begin, end - begin, bordered};
}

struct RowParts {
  float* inputs;  // shared: [strip][step][span][point][row][tile of the span][kStep]
  float* sums;    // [span][point][row][tile of the span][kWide]
  float* pixels;  // a row of inputs, or the outputs of a strip, x kWide lanes
  float* planes;  // outputs of kWide filters
  int64_t point, span, step, strip, plane;
  int64_t shared, scratch;  // bytes
};
CK_INLINE RowParts row_parts_of(const Strips& s, void* shared, void* scratch) {
  RowParts parts{};
  parts.point = (s.rows + 2) * kPixel;
  parts.span = F4::kPoints * parts.point;
  parts.step = s.spans * parts.span;
  parts.strip = s.steps * parts.step;
  Arena inputs = arena(shared), from = arena(scratch);
  parts.inputs = take<float>(inputs, s.strips * parts.strip);
  parts.shared = inputs.used;
  parts.plane = plane_of(s.rows * s.columns.outputs);
  parts.sums = take<float>(from, s.spans * F4::kPoints * s.rows * kSpan * kWide);
  parts.pixels =
      take<float>(from, ((parts.plane > s.width ? parts.plane : s.width) + kWide) * kWide);
  parts.planes = take<float>(from, kWide * parts.plane);
  parts.scratch = from.used;
  return parts;
}

// Phase 0. Lanes past c hold anything; they are never read.
CK_NOINLINE void transform_step(const Problem& problem, const float* x, const Strips& s,
                                int64_t index, int64_t step, const RowParts& parts) {
  constexpr int n = F4::kPoints;
  const Strip strip = strip_at(problem, s, index);
  float* inputs = parts.inputs + index * parts.strip + step * parts.step;
  for (int64_t part = 0; part < kStep; part += kWide) {
    const int64_t channel = step * kStep + part;
    if (channel >= problem.c) break;
    for (int64_t row = strip.bordered; row < strip.rows + 2 - strip.bordered; ++row) {
      read_vectors(problem, x, channel, strip.begin + row - problem.pad_top, -problem.pad_left,
                   s.width, parts.pixels);
      for (int64_t tile = 0; tile < s.columns.tiles; ++tile) {
        const float* from = parts.pixels + tile_begin<F4>(s.columns, tile) * kWide;
        float* to = inputs + tile / kSpan * parts.span + row * kPixel + tile % kSpan * kStep + part;
        Vec<float> d[n], v[n];
        CK_UNROLL(6)
        for (int j = 0; j < n; ++j) d[j] = load(from + j * kWide);
        transform_input(F4{}, d, v);
        CK_UNROLL(6)
        for (int j = 0; j < n; ++j) store(to + j * parts.point, v[j]);
      }
    }
  }
}

// sums[row][tile] = (or +=) sum over r, c < channels of inputs[row + r][tile][c] u[r][c], where u
// is even_scale, odd_scale made of weights[c][r][3], or one of them.
struct RowProduct {
  const float *inputs, *weights;
  int64_t channels;
  float even_scale, odd_scale;
  float* sums;
  bool add;
  const float* next;  // fetched into the second-level cache, two lines per channel
  int64_t next_step;
};
template <int kRows, int kTiles, bool kMade, bool kBordered>
CK_NOINLINE void multiply_rows(const RowProduct& product) {
  Vec<float> sum[kRows][kTiles] = {};
  const float *inputs = product.inputs, *weights = product.weights, *next = product.next;
  const Vec<float> even = splat(product.even_scale), odd = splat(product.odd_scale);
  for (int64_t c = 0; c < product.channels; ++c, ++inputs, weights += 9 * kWide) {
    __builtin_prefetch(next, 0, 2);
    __builtin_prefetch(next + kLine, 0, 2);
    next += product.next_step;
    Vec<float> u[3];
    CK_UNROLL(3)
    for (int r = 0; r < 3; ++r) {
      u[r] = load(weights + 3 * r * kWide);
      if constexpr (kMade) {
        u[r] += even * load(weights + (3 * r + 2) * kWide);
        u[r] += odd * load(weights + (3 * r + 1) * kWide);
      }
    }
    CK_UNROLL(10)
    for (int i = kBordered; i < kRows + 2 - kBordered; ++i) CK_UNROLL(2)
    for (int t = 0; t < kTiles; ++t) {
      const Vec<float> x = splat(inputs[i * kPixel + t * kStep]);
      CK_UNROLL(3)
      for (int r = 0; r < 3; ++r)
        if (i >= r && i - r < kRows) sum[i - r][t] += x * u[r];
    }
  }
  if (product.add) {
    CK_UNROLL(8)
    for (int i = 0; i < kRows; ++i) CK_UNROLL(2)
    for (int t = 0; t < kTiles; ++t) sum[i][t] += load(product.sums + (i * kSpan + t) * kWide);
  }
  CK_UNROLL(8)
  for (int i = 0; i < kRows; ++i) CK_UNROLL(2)
  for (int t = 0; t < kTiles; ++t) store(product.sums + (i * kSpan + t) * kWide, sum[i][t]);
}
template <int kRows, bool kMade, bool kBordered>
CK_INLINE void multiply_span(int64_t tiles, const RowProduct& product) {
  if (tiles == kSpan)
    multiply_rows<kRows, kSpan, kMade, kBordered>(product);
  else if (tiles > 0)
    multiply_rows<kRows, 1, kMade, kBordered>(product);
}

// All points of one group of filters.
template <int kRows, bool kBordered>
CK_NOINLINE void multiply_strip(const Problem& problem, const Strips& s, const float* inputs,
                                const float* weights, bool last_group, const RowParts& parts) {
  constexpr float even_scales[] = {0, 0.5f, 0.5f, 2, 2};
  constexpr float odd_scales[] = {0, float(kSmall), -float(kSmall), float(kLarge), -float(kLarge)};
  for (int64_t step = 0; step < s.steps; ++step, inputs += parts.step) {
    const int64_t channels = problem.c - step * kStep < kStep ? problem.c - step * kStep : kStep;
    const bool last = last_group && step == s.steps - 1;
    RowProduct product{};
    product.channels = channels;
    product.add = step > 0;
    product.next = last ? weights : weights + channels * 9 * kWide;
    product.next_step = last ? 0 : s.spans == 1 ? 2 * kLine : kLine;
    for (int64_t span = 0; span < s.spans; ++span) {
      const int64_t left = s.columns.tiles - span * kSpan, tiles = left < kSpan ? left : kSpan;
      const int64_t full = s.columns.full - span * kSpan;
      for (int point = 0; point < F4::kPoints; ++point) {
        product.inputs = inputs + span * parts.span + point * parts.point;
        product.sums = parts.sums + (span * F4::kPoints + point) * kRows * kSpan * kWide;
        if (point == 0 || point == F4::kPoints - 1) {
          product.weights = point ? weights + 2 * kWide : weights;
          multiply_span<kRows, false, kBordered>(point && full < tiles ? full : tiles, product);
        } else {
          product.weights = weights;
          product.even_scale = even_scales[point];
          product.odd_scale = odd_scales[point];
          multiply_span<kRows, true, kBordered>(tiles, product);
        }
        product.next += channels * product.next_step;
      }
    }
    weights += channels * 9 * kWide;
  }
}
template <int kRows = kStripRows>
CK_INLINE void multiply_strip_of(const Strip& strip, const Problem& problem, const Strips& s,
                                 const float* inputs, const float* weights, bool last_group,
                                 const RowParts& parts) {
  if constexpr (kRows > 0) {
    if (strip.rows < kRows)
      multiply_strip_of<kRows - 1>(strip, problem, s, inputs, weights, last_group, parts);
    else if (strip.bordered)
      multiply_strip<kRows, true>(problem, s, inputs, weights, last_group, parts);
    else
      multiply_strip<kRows, false>(problem, s, inputs, weights, last_group, parts);
  }
}

CK_NOINLINE void finish_strip(const Problem& problem, const Operands& operands, const Strips& s,
                              const Strip& strip, int64_t filter, const RowParts& parts) {
  constexpr int n = F4::kPoints, m = F4::kOutputs;
  for (int64_t row = 0; row < strip.rows; ++row)
    for (int64_t tile = 0; tile < s.columns.tiles; ++tile) {
      const float* from = parts.sums + tile / kSpan * n * strip.rows * kSpan * kWide +
                          (row * kSpan + tile % kSpan) * kWide;
      Vec<float> d[n], y[m];
      CK_UNROLL(6)
      for (int j = 0; j < n; ++j)
        d[j] = j == n - 1 && tile >= s.columns.full ? Vec<float>{}
                                                    : load(from + j * strip.rows * kSpan * kWide);
      transform_output(F4{}, d, y);
      // A tile's outputs past its own are overwritten by the next tile or row, or not stored.
      float* to = parts.pixels + (row * problem.q + tile_begin<F4>(s.columns, tile)) * kWide;
      CK_UNROLL(4)
      for (int j = 0; j < m; ++j) store(to + j * kWide, y[j]);
    }
  finish_pixels(problem, operands, filter, strip.begin, strip.rows, 0, problem.q, parts.pixels,
                parts.planes, parts.plane);
}

// ---- the kernel ----

Sizes rows_sizes(const Problem& problem) {
  const Strips s = strips_of(problem);
  const RowParts parts = row_parts_of(s, nullptr, nullptr);
  return {s.groups * problem.c * 9 * kWide * int64_t(sizeof(float)), parts.shared, parts.scratch};
}
int64_t rows_items(const Problem& problem, int64_t phase) {
  const Strips s = strips_of(problem);
  return s.strips * (phase == 0 ? s.steps : s.groups);
}
// packed[group][c][r][s][kWide]; filters past k are zero.
void rows_prepare(const Problem& problem, const void* w, void* packed) {
  const Strips s = strips_of(problem);
  float* to = static_cast<float*>(packed);
  for (int64_t group = 0; group < s.groups; ++group)
    for (int64_t c = 0; c < problem.c; ++c)
      for (int i = 0; i < 9; ++i, to += kWide)
        for (int64_t lane = 0; lane < kWide; ++lane) {
          const int64_t k = group * kWide + lane;
          to[lane] = k < problem.k ? static_cast<const float*>(w)[(k * problem.c + c) * 9 + i] : 0;
        }
}
// Phase 0: steps of channels are transformed; phase 1: groups of filters, strips innermost.
void rows_run(const Problem& problem, int64_t phase, int64_t begin, int64_t end,
              const Operands& operands) {
  const Strips s = strips_of(problem);
  const RowParts parts = row_parts_of(s, operands.shared, operands.scratch);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t index = item % s.strips, other = item / s.strips;
    if (phase == 0) {
      transform_step(problem, static_cast<const float*>(operands.x), s, index, other, parts);
      continue;
    }
    const Strip strip = strip_at(problem, s, index);
    multiply_strip_of(strip, problem, s, parts.inputs + index * parts.strip,
                      static_cast<const float*>(operands.packed) + other * problem.c * 9 * kWide,
                      other == s.groups - 1, parts);
    finish_strip(problem, operands, s, strip, other * kWide, parts);
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
