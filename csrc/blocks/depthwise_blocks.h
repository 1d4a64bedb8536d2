// Depthwise filters whose answer stands in blocks of channels (nchwc): channels fill the vectors on
// the way in and out. x may be in blocks too, or in planes.
#pragma once
#include "depthwise_columns.h"
#include "lane_exit.h"

namespace convkit {
namespace CONVKIT_ISA {

// Channels that are computed together never lie in two blocks.
template <class T>
CK_INLINE int64_t block_group(const Problem& problem) {
  return problem.block % kGroup<T> == 0 ? kGroup<T> : kLanes<T>;
}
// Whole vectors of channels.
template <class T>
CK_INLINE bool block_fits(const Problem& problem) {
  return problem.block > 0 && problem.block % kLanes<T> == 0;
}
template <class T>
CK_INLINE Grid block_bands(const Problem& problem) {
  Grid grid{};
  int64_t most = strip_rows(problem);
  if (most < problem.r) most = problem.r;  // of large filters, bands share most rows
  grid.bands = (problem.p + most - 1) / most;
  grid.rows = (problem.p + grid.bands - 1) / grid.bands;
  return grid;
}
template <class T>
CK_INLINE int64_t band_groups(const Problem& problem) {
  const int64_t padded = (problem.k + problem.block - 1) / problem.block * problem.block;
  return padded / block_group<T>(problem) * block_bands<T>(problem).bands;
}

// The whole of a band, where pixels are read in place. kSlow: with an activation that is no bound,
// cheaper for the pixels of a row together.
template <class T, int kSize, int kStride, bool kSlow>
CK_NOINLINE void put_columns(const Problem& problem, const Epilogue& epilogue,
                             const LaneSource<T>& source, const Rows& rows, int64_t part,
                             const T* weights, const LaneExit<T>& exit, const T* residual, T* y) {
  LaneExit<T> out = exit;
  const auto kept = exit.kept;
  const bool masked = exit.masked;
  if (kSlow) out.bounded = out.masked = false;
  const int64_t y_pitch = problem.y.h, residual_pitch = problem.residual.h;
  const auto strip = [&](auto tile, int64_t column, int skip) __attribute__((always_inline)) {
    T* to = y + column * out.y_step;
    const T* more = residual ? residual + column * out.residual_step : nullptr;
    alignas(kVectorBytes) T waiting[kSlow ? tile.pixels * kLanes<T> : kLanes<T>];
    auto finish = [&](int i, Vec<T> sum) __attribute__((always_inline)) {
      if (kSlow || i >= skip)
        put_lanes(out, sum, more ? more + i * out.residual_step : nullptr,
                  kSlow ? waiting + i * kLanes<T> : to + i * out.y_step);
      if (i + 1 < tile.pixels) return;
      if constexpr (kSlow) {
        activate(epilogue.activation, epilogue.a, epilogue.b, waiting, tile.pixels * kLanes<T>);
        for (int j = skip; j < tile.pixels; ++j) {
          const Vec<T> v = load(waiting + j * kLanes<T>);
          store(to + j * out.y_step, masked ? (kept ? v : Vec<T>{}) : v);
        }
      }
      to = next_row(to, y_pitch);
      if (more) more = next_row(more, residual_pitch);
    };
    sum_strip<T, kSize, kStride, tile.pixels>(problem, source, rows, part, column, weights, finish);
  };
  cover_columns(problem.q, strip);
}
// A row of one vector of channels out of the ring.
template <class T, int kSize, int kStride>
CK_NOINLINE void put_row(const Problem& problem, const T* const* rows, int64_t offset,
                         int64_t columns, const T* weights, const LaneExit<T>& exit,
                         const T* residual, T* y) {
  const LaneExit<T> out = exit;
  sum_row<T, kSize, kStride>(problem, rows, offset, columns, weights,
                             [&](int64_t column, Vec<T> sum) __attribute__((always_inline)) {
                               put_lanes(out, sum,
                                         residual ? residual + column * out.residual_step : nullptr,
                                         y + column * out.y_step);
                             });
}
// The same with an activation that is no bound, through `row`: it is cheaper for many at once.
template <class T, int kSize, int kStride>
CK_NOINLINE void put_activated(const Problem& problem, const Epilogue& epilogue,
                               const T* const* rows, int64_t offset, int64_t columns,
                               const T* weights, const LaneExit<T>& exit, const T* residual, T* row,
                               T* y) {
  LaneExit<T> to_row = exit;
  to_row.bounded = to_row.masked = false;
  to_row.y_step = kLanes<T>;
  put_row<T, kSize, kStride>(problem, rows, offset, columns, weights, to_row, residual, row);
  activate(epilogue.activation, epilogue.a, epilogue.b, row, columns * kLanes<T>);
  for (int64_t i = 0; i < columns; ++i, row += kLanes<T>, y += exit.y_step)
    store(y, exit.masked ? (exit.kept ? load(row) : Vec<T>{}) : load(row));
}

// Items are bands of a group of channels. packed: from pack_lanes.
template <class T, int kSize, int kStride>
CK_NOINLINE void blocks_run(const Problem& problem, int64_t begin, int64_t end,
                            const Operands& operands, const T* packed) {
  const Grid bands = block_bands<T>(problem);
  const LaneGrid grid = lane_grid<T>(problem);
  Arena memory = arena(operands.scratch);
  const LaneScratch<T> scratch = lane_scratch<T>(problem, memory);
  const int64_t group = block_group<T>(problem), taps = problem.r * problem.s;
  const Epilogue& epilogue = operands.epilogue;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t first = item / bands.bands * group;
    const Rows rows = rows_of(problem, bands, first, item % bands.bands);
    const int64_t left = problem.k - first, count = left < group ? left : group;
    const int64_t parts = count > 0 ? (count + kLanes<T> - 1) / kLanes<T> : 0;
    // Of the group's first channel in the band's first row.
    const int64_t block = first / problem.block, lane = first % problem.block;
    T* const y =
        static_cast<T*>(operands.y) + block * problem.y.c + lane + rows.band.row * problem.y.h;
    const T* residual = static_cast<const T*>(epilogue.residual);
    if (residual)
      residual += block * problem.residual.c + lane + rows.band.row * problem.residual.h;
    for (int64_t part = parts; part < group / kLanes<T>; ++part)
      for (int64_t i = 0; i < rows.band.rows; ++i)
        for (int64_t j = 0; j < problem.q; ++j)
          store(y + part * kLanes<T> + i * problem.y.h + j * problem.y.w, Vec<T>{});
    if (parts == 0) continue;
    const LaneSource<T> source =
        lane_source<T>(problem, static_cast<const T*>(operands.x), first, count);
    LaneExit<T> outs[kParts<T>];
    for (int64_t part = 0; part < parts; ++part) {
      outs[part] = lane_exit<T>(problem, operands, first + part * kLanes<T>);
    }
    const T* const weights = packed + first * taps;
    const bool slow = epilogue.activation > kClip;
    if constexpr (kSize == 3)
      if (columns_apply<T, kSize>(problem, source)) {
        const auto put =
            slow ? put_columns<T, kSize, kStride, true> : put_columns<T, kSize, kStride, false>;
        for (int64_t part = 0; part < parts; ++part) {
          const int64_t lanes = part * kLanes<T>;
          put(problem, epilogue, source, rows, part, weights + lanes * taps, outs[part],
              residual ? residual + lanes : nullptr, y + lanes);
        }
        continue;
      }
    for (int64_t q = 0; q < problem.q; q += grid.columns) {
      const int64_t columns = problem.q - q < grid.columns ? problem.q - q : grid.columns;
      const auto each_row = [&](int64_t i) __attribute__((always_inline)) {
        for (int64_t part = 0; part < parts; ++part) {
          const int64_t lanes = part * kLanes<T>;
          T* const to = y + lanes + i * problem.y.h + q * problem.y.w;
          const T* const more =
              residual ? residual + lanes + i * problem.residual.h + q * problem.residual.w
                       : nullptr;
          if (slow)
            put_activated<T, kSize, kStride>(problem, epilogue, scratch.rows, part * grid.part,
                                             columns, weights + lanes * taps, outs[part], more,
                                             scratch.ready, to);
          else
            put_row<T, kSize, kStride>(problem, scratch.rows, part * grid.part, columns,
                                       weights + lanes * taps, outs[part], more, to);
        }
      };
      walk_rows(problem, source, rows, grid, q, columns, parts, scratch, each_row);
    }
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
