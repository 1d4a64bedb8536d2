// Depthwise filters over an image whose channels follow each other (a view of NHWC memory):
// channels fill the vectors on the way in (depthwise_lanes.h), and squares of channels times pixels
// are turned in registers on the way out, where columns fill them. A copy of one channel would
// touch the lines of all.
#pragma once
#include "depthwise_columns.h"
#include "depthwise_squares.h"
#include "turn.h"

namespace convkit {
namespace CONVKIT_ISA {

constexpr int64_t kMostTaps = kPartial;

// Whether a sum's products are one chain in the order of its taps, so that channels may fill the
// vectors where the strides of x ask for it.
template <class T>
CK_INLINE bool channels_may_follow(const Problem& problem) {
  const bool unit = problem.stride_h == 1 && problem.stride_w == 1;
  return problem.k == problem.c && problem.c > 1 &&
         (way_of<T>(problem) != Way::kAny || (unit && problem.r * problem.s <= kMostTaps));
}
template <class T>
CK_INLINE bool channels_follow(const Problem& problem) {
  return problem.x.c == 1 && problem.x.w != 1 && channels_may_follow<T>(problem);
}

// Channels that are turned together, a vector of pixels of each.
template <class T>
constexpr int kTurned = sizeof(T) == 4 ? 4 : kLanes<T>;
CK_INLINE void turn_square(const float* from, Vec<float> (&rows)[4]) {
  turn_four(from, kLanes<float>, rows);
}
CK_INLINE void turn_square(const double* from, Vec<double> (&rows)[kLanes<double>]) {
  CK_UNROLL(8)
  for (int i = 0; i < kLanes<double>; ++i) rows[i] = load(from + i * kLanes<double>);
  transpose<double>(rows);
}

// Sums that await their turning: `count` pixels of the channels [low, high) of a group, in lanes.
template <class T>
struct Ready {
  const T* sums;
  int64_t part;  // elements of a vector's pixels
  int64_t count;
  int64_t first, low, high;  // the group's first channel; of its channels, those to store
  int64_t ahead;             // elements from a pixel of y to the one that is fetched
};
// Where the turned rows of channels go: a run of pixels of each.
template <class T>
struct Run {
  T* y;
  const T* residual;                // or null
  int64_t y_plane, residual_plane;  // to the next channel
  int64_t count, ahead;             // pixels; elements from a pixel to the one that is fetched
};
// Turns `count` pixels of as many channels as are turned together, and stores them.
template <class T>
CK_NOINLINE void turn_run(const T* from, const Run<T>& run, const Exit<T>& out, const T* biases) {
  Vec<T> bias[kTurned<T>];
  CK_UNROLL(8)
  for (int i = 0; i < kTurned<T>; ++i) bias[i] = splat(biases ? biases[i] : T(0));
  T* y = run.y;
  const T* residual = run.residual;
  const int64_t plane = run.y_plane, residual_plane = run.residual_plane, ahead = run.ahead;
  const auto finish = [&](Vec<T> v, const T* more, int64_t count) __attribute__((always_inline)) {
    if (residual) v += load_first(more, count);
    return out.bounded ? bounded<T>(out.low, out.high, v) : v;
  };
  int64_t left = run.count;
  for (; left >= kLanes<T>; left -= kLanes<T>, from += kLanes<T> * kLanes<T>) {
    Vec<T> turned[kTurned<T>];
    turn_square(from, turned);
    T* to = y;
    const T* more = residual;
    CK_UNROLL(8)
    for (int i = 0; i < kTurned<T>; ++i, to += plane, more += residual_plane) {
      __builtin_prefetch(to + ahead, 1);
      store(to, finish(turned[i] + bias[i], more, kLanes<T>));
    }
    y += kLanes<T>;
    if (residual) residual += kLanes<T>;
  }
  if (left == 0) return;
  Vec<T> turned[kTurned<T>];
  turn_square(from, turned);
  CK_UNROLL(8)
  for (int i = 0; i < kTurned<T>; ++i, y += plane)
    store_first(y, left, finish(turned[i] + bias[i], residual + i * residual_plane, left));
}
// The same, channel by channel, for those of [low, high) alone and for every epilogue.
template <class T>
CK_NOINLINE void turn_some(const Problem& problem, const Operands& operands, const T* from,
                           int64_t first, int64_t low, int64_t high, int64_t row, int64_t column,
                           int64_t count) {
  alignas(kVectorBytes) T values[kTurned<T>][kLanes<T>];
  for (; count > 0; count -= kLanes<T>, column += kLanes<T>, from += kLanes<T> * kLanes<T>) {
    Vec<T> turned[kTurned<T>];
    turn_square(from, turned);
    CK_UNROLL(8)
    for (int i = 0; i < kTurned<T>; ++i) store(values[i], turned[i]);
    for (int64_t i = low; i < high; ++i)
      finish_row(problem, operands, first + i, row, column, values[i],
                 count < kLanes<T> ? count : kLanes<T>);
  }
}
// Writes what awaits to a run of pixels of y that begins at row, column.
template <class T>
CK_INLINE void turn_out(const Problem& problem, const Operands& operands, const Exit<T>& out,
                        const Ready<T>& ready, int64_t row, int64_t column) {
  for (int64_t lane = 0; lane < kGroup<T>; lane += kTurned<T>) {
    const int64_t low = ready.low < lane ? 0 : ready.low - lane;
    const int64_t high = ready.high - lane < kTurned<T> ? ready.high - lane : kTurned<T>;
    if (low >= high) continue;
    const T* const from = ready.sums + lane / kLanes<T> * ready.part + lane % kLanes<T>;
    if (!out.plain || high - low < kTurned<T>) {
      turn_some(problem, operands, from, ready.first + lane, low, high, row, column, ready.count);
      continue;
    }
    const Band band{ready.first + lane, row, 1};
    const T* const residual = residual_of(problem, out, band);
    const Run<T> run{y_of(problem, out, band) + column,
                     residual ? residual + column : nullptr,
                     problem.y.c,
                     problem.residual.c,
                     ready.count,
                     ready.ahead};
    turn_run(from, run, out, out.bias ? out.bias + ready.first + lane : nullptr);
  }
}

// Sums a row of one vector of channels into the place where it awaits its turning.
template <class T, int kSize, int kStride>
CK_NOINLINE void store_sums(const Problem& problem, const T* const* rows, int64_t offset,
                            int64_t columns, const T* weights, const T* ahead, T* to) {
  const int64_t step = problem.stride_w * problem.x.w;
  sum_row<T, kSize, kStride>(problem, rows, offset, columns, weights,
                             [&](int64_t column, Vec<T> sum) __attribute__((always_inline)) {
                               __builtin_prefetch(ahead + column * step);
                               store(to + column * kLanes<T>, sum);
                             });
}

// Units are bands of one channel, the channels of a group innermost: a range stores of each group
// the channels that are its own. packed: from pack_lanes.
template <class T, int kSize, int kStride>
CK_NOINLINE void channels_run(const Problem& problem, int64_t begin, int64_t end,
                              const Operands& operands, const T* packed) {
  const Grid bands = grid_of<T>(problem);
  const LaneGrid grid = lane_grid<T>(problem);
  Arena memory = arena(operands.scratch);
  const LaneScratch<T> scratch = lane_scratch<T>(problem, memory);
  const Exit<T> out = exit_of<T>(problem, operands);
  const int64_t taps = problem.r * problem.s;
  // Rows of y that follow each other are one run of pixels.
  const bool flat = out.plain && grid.columns == problem.q && problem.y.h == problem.q &&
                    (!out.residual || problem.residual.h == problem.q);
  [[maybe_unused]] const bool squares =
      channels_beside<T>(problem) && squares_apply<T, kSize>(problem, out);
  for (int64_t unit = begin; unit < end;) {
    const int64_t band = unit / problem.k, channel = unit % problem.k;
    const int64_t first = channel / kGroup<T> * kGroup<T>;
    if constexpr (kSquares<T, kSize>) {
      // Groups that are in the range with all of their channels.
      const int64_t in_row = problem.k - channel < end - unit ? problem.k - channel : end - unit;
      const int64_t whole = channel == first && squares ? in_row / kGroup<T> * kGroup<T> : 0;
      if (whole > 0) {
        squares_run<T, kSize, kStride>(problem, static_cast<const T*>(operands.x), out,
                                       rows_of(problem, bands, first, band).band, first, whole,
                                       packed);
        unit += whole;
        continue;
      }
    }
    const int64_t count = problem.k - first < kGroup<T> ? problem.k - first : kGroup<T>;
    Ready<T> ready{scratch.ready, grid.whole, 0, first, channel - first, count, 0};
    if (ready.high - ready.low > end - unit) ready.high = ready.low + end - unit;
    unit += ready.high - ready.low;
    const int64_t parts = (count + kLanes<T> - 1) / kLanes<T>;
    const T* const weights = packed + first * taps;
    const LaneSource<T> source =
        lane_source<T>(problem, static_cast<const T*>(operands.x), first, count);
    const Rows rows = rows_of(problem, bands, first, band);
    for (int64_t q = 0; q < problem.q; q += grid.columns) {
      const int64_t columns = problem.q - q < grid.columns ? problem.q - q : grid.columns;
      if constexpr (kSize == 3)
        if (columns_apply<T, kSize>(problem, source)) {
          for (int64_t i = 0; i < rows.band.rows; i += grid.rows) {
            const int64_t left = rows.band.rows - i, height = left < grid.rows ? left : grid.rows;
            const Rows some = rows_at(problem, {first, rows.band.row + i, height});
            for (int64_t part = 0; part < parts; ++part)
              store_columns<T, kSize, kStride>(problem, source, some, part, q, columns,
                                               weights + part * kLanes<T> * taps,
                                               scratch.ready + part * grid.whole);
            ready.sums = scratch.ready;
            ready.ahead = height * (flat ? columns : problem.y.h);
            ready.count = flat ? height * columns : columns;
            for (int64_t j = 0; j < (flat ? 1 : height); ++j, ready.sums += columns * kLanes<T>)
              turn_out(problem, operands, out, ready, some.band.row + j, q);
          }
          continue;
        }
      int64_t done = 0;  // pixels of y, where it is flat
      ready.sums = scratch.ready;
      ready.count = 0;
      const auto each_row = [&](int64_t i) __attribute__((always_inline)) {
        // Fetches the next row: single lines wake no hardware prefetcher.
        const T* const ahead = source.x + source.from +
                               (rows.top + i * problem.stride_h + problem.r) * problem.x.h +
                               q * problem.stride_w * problem.x.w;
        for (int64_t part = 0; part < parts; ++part)
          store_sums<T, kSize, kStride>(
              problem, scratch.rows, part * grid.part, columns, weights + part * kLanes<T> * taps,
              ahead, scratch.ready + part * grid.whole + ready.count * kLanes<T>);
        ready.count += columns;
        const bool last = i + 1 == rows.band.rows;
        if (!flat) {
          turn_out(problem, operands, out, ready, rows.band.row + i, q);
          ready.count = 0;
        } else if (last || ready.count + columns > grid.ready) {
          const int64_t rest = last ? 0 : ready.count % kLanes<T>, whole = ready.count - rest;
          ready.count = ready.ahead = whole;
          turn_out(problem, operands, out, ready, rows.band.row, done);
          for (int64_t part = 0; part < parts; ++part)
            for (int64_t j = 0; j < rest; ++j) {
              T* const to = scratch.ready + part * grid.whole + j * kLanes<T>;
              store(to, load(to + whole * kLanes<T>));
            }
          done += whole;
          ready.count = rest;
        }
      };
      walk_rows(problem, source, rows, grid, q, columns, parts, scratch, each_row);
    }
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
