// Depthwise filters of 3x3 and 5x5, stride 1 or 2, and of 7x7, stride 1, with every tap written
// out: down a strip of x one vector wide. An input row is read once and added to the sums of all
// output rows that it reaches; these are so few that they stand in registers and take turns.
//
//   sum[p] += w[i - p u][s] tap[s]   for the input rows i = 0, 1, 2, ...;   after i = p u + size -
//   1 sum[p] is complete
#pragma once
#include "depthwise_bands.h"

namespace convkit {
namespace CONVKIT_ISA {

// One row further. Opaque: else the compiler keeps a pointer for every load of the unrolled rows
// and adds to each of them, in memory, which takes longer than the sums.
template <class T>
CK_INLINE T* next_row(T* row, int64_t pitch) {
  row += pitch;
  __asm__("" : "+r"(row));
  return row;
}

// What goes down a strip. reader.read(taps) reads the row it stands at, reader.next() steps to the
// next one; finish(sum) is called for each output row of the band in turn.
template <class T, int kSize, int kStride, class Reader, class Finish>
struct Descent {
  static constexpr int kHeld = (kSize - 1) / kStride + 1;  // output rows that an input row reaches
  static constexpr int kFirst = kSize - kStride;  // input rows before those of output row 0 alone
  const Vec<T>* weights;
  Reader& reader;
  const Finish& finish;
  uint64_t read_rows, row;  // row: of those that are read
  int64_t left;             // output rows
  Vec<T> sum[kHeld];        // of output row p: sum[p % kHeld]

  // Adds an input row, filter row kRow of the output row that is kTurn and stride by stride less of
  // the next ones.
  template <int kRow, int kTurn>
  __attribute__((always_inline)) void add() {
    if (row < read_rows) {
      Vec<T> taps[kSize];
      reader.read(taps);
      CK_UNROLL(8)
      for (int s = 0; s < kSize; ++s) {
        CK_UNROLL(8)
        for (int p = 0; p * kStride <= kRow; ++p)
          sum[(kTurn + p) % kHeld] += taps[s] * weights[(kRow - p * kStride) * kSize + s];
      }
    }
    ++row;
    reader.next();
  }
  template <int kRow>
  __attribute__((always_inline)) void first_rows() {
    add<kRow, 0>();
    if constexpr (kRow + 1 < kFirst) first_rows<kRow + 1>();
  }
  // The output rows of one turn of the sums. A recursion because a loop with this many exits is not
  // unrolled, and sums by a variable index stand in memory.
  template <int kTurn>
  __attribute__((always_inline)) bool turn() {
    add<kFirst, kTurn>();
    if constexpr (kStride == 2) add<kFirst + 1, kTurn>();
    finish(sum[kTurn]);
    sum[kTurn] = Vec<T>{};
    if (--left == 0) return false;
    if constexpr (kTurn + 1 < kHeld)
      return turn<kTurn + 1>();
    else
      return true;
  }
  __attribute__((always_inline)) void run() {
    CK_UNROLL(8)
    for (int j = 0; j < kHeld; ++j) sum[j] = Vec<T>{};
    first_rows<0>();
    while (turn<0>()) {}
  }
};
template <class T, int kSize, int kStride, class Reader, class Finish>
CK_INLINE void run_down(const Rows& rows, const Vec<T>* weights, Reader& reader,
                        const Finish& finish) {
  Descent<T, kSize, kStride, Reader, Finish> descent{
      weights,        reader, finish, uint64_t(rows.high - rows.low), uint64_t(-rows.low),
      rows.band.rows, {}};
  descent.run();
}

// Where the rows of a strip go: to y, or aside for finish_vectors.
template <class T>
struct Target {
  T* y;
  int64_t step, ahead;  // to the next row; to the next band
  const T* residual;    // or null
  int64_t residual_step;
  Vec<T> bias;
};
// Fetches the same place of the next band along: a band is written in pieces of a vector on as many
// lines as it has rows, which no hardware prefetcher follows, and without it 112x112 and 56x56 run
// at 0.7 of the speed of a copy. Past the last band it is the next filter, as a rule; past the
// image, nothing.
template <class T>
CK_INLINE void put(const Exit<T>& out, Target<T>& to, int64_t count, Vec<T> sum) {
  __builtin_prefetch(to.y + to.ahead, 1);
  Vec<T> v = sum + to.bias;
  if (to.residual) {
    v += load_first(to.residual, count);
    to.residual = next_row(to.residual, to.residual_step);
  }
  if (out.bounded) v = bounded<T>(out.low, out.high, v);
  if (count == kLanes<T>)
    store(to.y, v);
  else
    store_first(to.y, count, v);
  to.y = next_row(to.y, to.step);
}
// Bias: -0 changes no sum, not even in sign.
template <class T>
CK_INLINE Target<T> put_aside(Vec<T>* sums) {
  return {reinterpret_cast<T*>(sums), kLanes<T>, 0, nullptr, 0, splat(T(-0.0))};
}

// Vectors of one input row that are loaded: one for each tap, or at stride 2 a pair for every
// second tap, shuffled apart.
constexpr int row_loads(int size, int stride) { return stride == 1 ? size : size + 1; }

// Masks of the loads of each vector of an output row: packed, since they are the same for all rows.
template <class T, int kSize, int kStride>
CK_INLINE void edge_masks(const Problem& problem, Mask<T>* masks) {
  for (int64_t column = 0; column < problem.q; column += kLanes<T>)
    for (int64_t s = 0; s < kSize; s += kStride)
      for (int64_t j = 0; j < kStride; ++j)
        *masks++ =
            lanes_inside<T>(column * kStride - problem.pad_left + s + j * kLanes<T>, problem.w);
}

// Fetches the same place of the next band too, as `put` does.
template <class T, int kSize, int kStride, bool kMasked>
struct StripReader {
  const T* x;
  int64_t pitch, ahead;
  Mask<T> masks[row_loads(kSize, kStride)];
  __attribute__((always_inline)) void next() { x = next_row(x, pitch); }
  __attribute__((always_inline)) Vec<T> part(int i) const {
    const T* from = x + (kStride == 1 ? i : i / 2 * 2 + i % 2 * kLanes<T>);
    if constexpr (kMasked) return load_lanes(from, masks[i]);
    return load(from);
  }
  __attribute__((always_inline)) void read(Vec<T> (&taps)[kSize]) const {
    CK_UNROLL(2)
    for (int j = 0; j < kStride; ++j) __builtin_prefetch(x + ahead + j * kLanes<T>);
    CK_UNROLL(8)
    for (int s = 0; s < kSize; s += kStride) {
      if constexpr (kStride == 1) {
        taps[s] = part(s);
      } else {
        const Vec<T> low = part(s), high = part(s + 1);
        taps[s] = even_lanes<T>(low, high);
        if (s + 1 < kSize) taps[s + 1] = odd_lanes<T>(low, high);
      }
    }
  }
};

// packed: the weights as they are; masks: from edge_masks.
template <class T, int kSize, int kStride>
CK_NOINLINE void strips_run(const Problem& problem, int64_t begin, int64_t end,
                            const Operands& operands, const T* packed, const Mask<T>* masks) {
  const Grid grid = grid_of<T>(problem);
  const Exit<T> out = exit_of<T>(problem, operands);
  const T* const x = static_cast<const T*>(operands.x);
  T* const copy = static_cast<T*>(operands.scratch);
  const Access access = access_of(problem);
  const bool copied = access == Access::kCopied, turned = access == Access::kTurned;
  const int64_t multiplier = problem.k / problem.c;
  constexpr int64_t kReach = (kSize - 1) / kStride * kStride +
                             kStride * kLanes<T>;  // columns from the first load to the last
  Vec<T> aside[kMostRows];
  Place place = place_of(problem, grid, turned, begin);
  for (int64_t item = begin; item < end; ++item, next_place(problem, grid, turned, place)) {
    const int64_t filter = place.filter;
    const int64_t channel = multiplier == 1 ? filter : filter / multiplier;
    const Rows rows = rows_of(problem, grid, filter, place.part);
    const T* from = copy;
    int64_t pitch = grid.pitch, ahead = 0;
    if (copied) {
      copy_band(problem, x, channel, rows.top, rows.count, grid, copy);
    } else {
      const Source<T> source =
          source_of(problem, x, grid, turned, place, rows, item == begin, copy);
      from = source.x + (channel - source.origin) * source.channel - problem.pad_left;
      pitch = source.row;
      if (!turned) ahead = rows.band.rows * kStride * pitch;
    }
    Vec<T> weights[kSize * kSize];
    CK_UNROLL(64)
    for (int i = 0; i < kSize * kSize; ++i) weights[i] = splat(packed[filter * kSize * kSize + i]);
    Target<T> to = put_aside<T>(aside);
    if (out.plain)
      to = {y_of(problem, out, rows.band),        problem.y.h,        rows.band.rows * problem.y.h,
            residual_of(problem, out, rows.band), problem.residual.h, bias_of(out, filter)};
    const Mask<T>* edge = masks;
    for (int64_t column = 0; column < problem.q; column += kLanes<T>) {
      const int64_t left = problem.q - column;
      const int64_t count = !out.plain || left > kLanes<T> ? kLanes<T> : left;
      const int64_t first = column * kStride - problem.pad_left;
      Target<T> strip = to;
      const auto finish = [&](Vec<T> sum)
                              __attribute__((always_inline)) { put(out, strip, count, sum); };
      bool inside = true;
      if constexpr (kMaskedLoads) {
        inside = copied || (first >= 0 && first + kReach <= problem.w);
        if (!inside) {
          StripReader<T, kSize, kStride, true> reader{from, pitch, ahead, {}};
          for (int i = 0; i < row_loads(kSize, kStride); ++i) reader.masks[i] = edge[i];
          run_down<T, kSize, kStride>(rows, weights, reader, finish);
        }
        edge += row_loads(kSize, kStride);
      }
      if (inside) {
        StripReader<T, kSize, kStride, false> reader{from, pitch, ahead, {}};
        run_down<T, kSize, kStride>(rows, weights, reader, finish);
      }
      from += kLanes<T> * kStride;
      if (out.plain) {
        to.y += kLanes<T>;
        if (to.residual) to.residual += kLanes<T>;
      } else {
        finish_vectors<T>(problem, operands, rows.band, column, aside, 0, kLanes<T>);
      }
    }
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
