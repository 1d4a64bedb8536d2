// Small groups in blocks of channels, as many filters as channels each: several groups share a
// vector. A pixel's vector is spread, sub-channel by sub-channel, over the lanes of its group,
//   spread[j][lane] = x[lane / m * m + j],     m = channels of a group,
// and each spread vector serves all the taps that read it:
//   sums[pixel][lane] += spread[j][pixel + tap][lane] w[tap][j][lane]
// Spread pixels of a strip of columns wait in a ring of rows in L1, with their padding: each is
// made once, not once for each of its taps, since shuffles share a port with multiply-adds.
#pragma once
#include "arena.h"
#include "direct_put.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// Outputs of a row that are summed together, and what is taken for the rest of a row.
constexpr int kSpreadTile = kRegisters == 32 ? 14 : 7, kSpreadRest = 7;

// Groups of 2, 4, ... channels, less than a vector.
template <class T>
bool spreads(const Problem& problem) {
  const int64_t channels = problem.c / problem.groups;
  return problem.c == problem.k && (channels == 2 || channels == 4 || channels == 8) &&
         channels < kLanes<T>;
}
struct SpreadGrid {
  int64_t vectors, rows, row_blocks;  // of the image, of a band of outputs
  int64_t group;                      // channels
  int64_t tile;                       // outputs of a strip: kSpreadTile or kSpreadRest
  int64_t columns;                    // of a row of the ring, which has as many as the filter
};
template <class T>
SpreadGrid spread_grid(const Problem& problem) {
  SpreadGrid grid{};
  grid.vectors = whole_blocks(problem, problem.k) / kLanes<T>;
  grid.group = problem.c / problem.groups;
  // High bands repeat few rows.
  const int64_t most = greater(14, problem.r);
  grid.row_blocks = ceil_div(problem.p, most);
  grid.rows = ceil_div(problem.p, grid.row_blocks);
  const auto columns = [&](int64_t tile) {
    return (tile - 1) * problem.stride_w + (problem.s - 1) * problem.dilation_w + 1;
  };
  constexpr int64_t kRingBytes = 32 << 10;  // of an L1 that holds weights too
  grid.tile = kSpreadTile;
  if (problem.r * grid.group * columns(grid.tile) * kVectorBytes > kRingBytes)
    grid.tile = kSpreadRest;
  grid.columns = columns(grid.tile);
  return grid;
}
template <class T>
struct SpreadScratch {
  T* ring;         // [row][sub-channel][column][lane]
  int64_t* holds;  // of every row of the ring: which row of the padded image
  const T** rows;  // of the ring, in the order of filter rows; null: zeros, which are not summed
  int64_t bytes;
};
template <class T>
SpreadScratch<T> spread_scratch(const Problem& problem, void* base) {
  const SpreadGrid grid = spread_grid<T>(problem);
  Arena from = arena(base);
  SpreadScratch<T> scratch{};
  scratch.ring = take<T>(from, problem.r * grid.group * grid.columns * kLanes<T>);
  scratch.holds = take<int64_t>(from, problem.r);
  scratch.rows = take<const T*>(from, problem.r);
  scratch.bytes = from.used;
  return scratch;
}
// w: [vector][filter row][sub-channel][filter column][lane], zero past the last filter
template <class T>
Sizes spread_sizes(const Problem& problem) {
  const SpreadGrid grid = spread_grid<T>(problem);
  const int64_t taps = grid.group * problem.r * problem.s;
  return {grid.vectors * taps * kLanes<T> * int64_t(sizeof(T)), 0,
          spread_scratch<T>(problem, nullptr).bytes};
}
template <class T>
int64_t spread_items(const Problem& problem, int64_t) {
  const SpreadGrid grid = spread_grid<T>(problem);
  return grid.vectors * grid.row_blocks;
}
template <class T>
void spread_prepare(const Problem& problem, const void* weights, void* packed) {
  const SpreadGrid grid = spread_grid<T>(problem);
  T* to = static_cast<T*>(packed);
  for (int64_t first = 0; first < grid.vectors * kLanes<T>; first += kLanes<T>)
    for (int64_t r = 0; r < problem.r; ++r)
      for (int64_t j = 0; j < grid.group; ++j)
        for (int64_t s = 0; s < problem.s; ++s)
          for (int64_t filter = first; filter < first + kLanes<T>; ++filter)
            *to++ = filter < problem.k
                        ? static_cast<const T*>(
                              weights)[((filter * grid.group + j) * problem.r + r) * problem.s + s]
                        : T(0);
}

template <class T, int kGroup, int kFrom, int... kLane>
CK_INLINE Vec<T> spread_lanes(Vec<T> v, std::integer_sequence<int, kLane...>) {
  return CK_SHUFFLE(v, v, (kLane / kGroup * kGroup + kFrom)...);
}
template <class T, int kGroup, int... kFrom>
CK_INLINE void spread_pixel(Vec<T> v, T* to, int64_t plane, std::integer_sequence<int, kFrom...>) {
  constexpr std::make_integer_sequence<int, kLanes<T>> lanes{};
  (store(to + kFrom * plane, spread_lanes<T, kGroup, kFrom>(v, lanes)), ...);
}
// Pixels of rows to come are fetched: no prefetcher follows a strip down the image.
// to[j * plane + i] = spread column begin + i of a row of the padded image, for i < count. row: of
// the image.
template <class T, int kGroup>
CK_NOINLINE void spread_row(const Problem& problem, const T* row, int64_t begin, int64_t count,
                            int64_t plane, T* to) {
  constexpr std::make_integer_sequence<int, kGroup> sub_channels{};
  const int64_t step = problem.x.w, ahead = 2 * problem.stride_h * problem.x.h;
  const int64_t inside = first_inside(begin, 1, count);
  const int64_t outside = last_inside(begin, 1, problem.w, inside, count);
  const T* from = row + (begin + inside) * step;
  for (int64_t i = inside; i < outside; ++i, from += step) {
    __builtin_prefetch(from + ahead, 0, 3);
    spread_pixel<T, kGroup>(load(from), to + i * kLanes<T>, plane, sub_channels);
  }
  for (int64_t i = 0; i < count; ++i) {
    if (i == inside) i = outside;
    if (i == count) break;
    const int64_t column = source_column(problem, begin + i);
    spread_pixel<T, kGroup>(column < 0 ? Vec<T>{} : load(row + column * step), to + i * kLanes<T>,
                            plane, sub_channels);
  }
}
template <class T>
using SpreadRow = void (*)(const Problem&, const T*, int64_t, int64_t, int64_t, T*);
template <class T>
SpreadRow<T> spread_row_for(int64_t group) {
  if constexpr (kLanes<T> > 8)
    if (group == 8) return spread_row<T, 8>;
  if constexpr (kLanes<T> > 4)
    if (group == 4) return spread_row<T, 4>;
  return spread_row<T, 2>;
}

template <class T>
struct SpreadTile {
  const T* const* rows;
  const T* w;
  T* sums;
  int64_t r, s, group;
  int64_t plane;          // distance of sub-channels in a row
  int64_t pixel, column;  // distance of outputs' pixels, of filter columns
};
// kSize: filter columns that follow each other, with pixels kStride apart: each pixel is loaded
// once for all of them. 0: any.
template <class T, int kSize, int kStride, int kCount>
CK_NOINLINE void sum_spread(const SpreadTile<T>& tile) {
  Vec<T> sum[kCount], total[kCount];
  CK_UNROLL(16)
  for (int i = 0; i < kCount; ++i) sum[i] = total[i] = Vec<T>{};
  const T* w = tile.w;
  const int64_t columns = kSize ? kSize : tile.s;
  int64_t depth = 0;
  for (int64_t r = 0; r < tile.r; ++r) {
    const T* x = tile.rows[r];
    if (!x) {
      w += tile.group * columns * kLanes<T>;
      continue;
    }
    for (int64_t j = 0; j < tile.group; ++j, x += tile.plane) {
      if constexpr (kSize != 0) {
        Vec<T> weight[kSize];
        CK_UNROLL(4)
        for (int s = 0; s < kSize; ++s) weight[s] = load(w + s * kLanes<T>);
        CK_UNROLL(32)
        for (int i = 0; i < (kCount - 1) * kStride + kSize; ++i) {
          const Vec<T> pixel = load(x + i * kLanes<T>);
          CK_UNROLL(4)
          for (int s = 0; s < kSize; ++s)
            if ((i - s) % kStride == 0 && i >= s && (i - s) / kStride < kCount)
              sum[(i - s) / kStride] += pixel * weight[s];
        }
        w += kSize * kLanes<T>;
      } else {
        const T* pixel = x;
        for (int64_t s = 0; s < columns; ++s, pixel += tile.column, w += kLanes<T>) {
          const Vec<T> weight = load(w);
          CK_UNROLL(16)
          for (int i = 0; i < kCount; ++i) sum[i] += load(pixel + i * tile.pixel) * weight;
          if (++depth < kDepth) continue;
          depth = 0;
          CK_UNROLL(16)
          for (int i = 0; i < kCount; ++i) {
            total[i] += sum[i];
            sum[i] = Vec<T>{};
          }
        }
      }
    }
  }
  CK_UNROLL(16)
  for (int i = 0; i < kCount; ++i)
    store(tile.sums + i * kLanes<T>, kSize ? sum[i] : total[i] + sum[i]);
}
template <class T>
using SumSpread = void (*)(const SpreadTile<T>&);
template <class T, int kCount>
SumSpread<T> sum_spread_for(const Problem& problem) {
  if (problem.s == 3 && problem.dilation_w == 1 && problem.r * 3 * 8 <= kDepth) {
    if (problem.stride_w == 1) return sum_spread<T, 3, 1, kCount>;
    if (problem.stride_w == 2) return sum_spread<T, 3, 2, kCount>;
  }
  return sum_spread<T, 0, 1, kCount>;
}

template <class T>
void spread_run(const Problem& problem, int64_t, int64_t begin, int64_t end,
                const Operands& operands) {
  const SpreadGrid grid = spread_grid<T>(problem);
  const SpreadScratch<T> scratch = spread_scratch<T>(problem, operands.scratch);
  const SpreadRow<T> spread = spread_row_for<T>(grid.group);
  const SumSpread<T> whole = sum_spread_for<T, kSpreadTile>(problem);
  const SumSpread<T> rest = sum_spread_for<T, kSpreadRest>(problem);
  const SumSpread<T> single = sum_spread_for<T, 1>(problem);
  alignas(kVectorBytes) T sums[kSpreadTile * kLanes<T>];
  SpreadTile<T> tile{};
  tile.rows = scratch.rows;
  tile.sums = sums;
  tile.r = problem.r;
  tile.s = problem.s;
  tile.group = grid.group;
  tile.plane = grid.columns * kLanes<T>;
  tile.pixel = problem.stride_w * kLanes<T>;
  tile.column = problem.dilation_w * kLanes<T>;
  const int64_t ring_row = grid.group * tile.plane;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t first = item / grid.row_blocks * kLanes<T>;
    const int64_t top = item % grid.row_blocks * grid.rows;
    const int64_t bottom = lesser(problem.p, top + grid.rows);
    const BlockExit<T> exit = block_exit<T>(problem, operands, first);
    const T* x = static_cast<const T*>(operands.x) + in_blocks(problem, problem.x, first);
    tile.w = static_cast<const T*>(operands.packed) + first * grid.group * problem.r * problem.s;
    for (int64_t q = 0; q < problem.q;) {
      // The last strip goes over the one before where the row is no multiple of it; what was stored
      // is not stored again.
      const int64_t left = problem.q - q;
      const int64_t count = left > kSpreadRest && problem.q >= grid.tile ? grid.tile
                            : problem.q >= kSpreadRest                   ? kSpreadRest
                                                                         : 1;
      const int64_t at = lesser(q, problem.q - count), skip = q - at;
      const int64_t columns =
          (count - 1) * problem.stride_w + (problem.s - 1) * problem.dilation_w + 1;
      for (int64_t i = 0; i < problem.r; ++i) scratch.holds[i] = -1;
      for (int64_t p = top; p < bottom; ++p) {
        for (int64_t r = 0; r < problem.r; ++r) {
          const int64_t row = p * problem.stride_h + r * problem.dilation_h;  // of the padded image
          const int64_t source = source_row(problem, row - problem.pad_top);
          // Dilated rows are spread anew for each row of outputs.
          const int64_t slot = problem.dilation_h == 1 ? row % problem.r : r;
          T* const to = scratch.ring + slot * ring_row;
          scratch.rows[r] = source < 0 ? nullptr : to;
          if (source < 0 || scratch.holds[slot] == row) continue;
          scratch.holds[slot] = row;
          spread(problem, x + source * problem.x.h, at * problem.stride_w - problem.pad_left,
                 columns, tile.plane, to);
        }
        (count == kSpreadTile ? whole : count == kSpreadRest ? rest : single)(tile);
        put_vectors<T, 1>(problem, exit, sums + skip * kLanes<T>, p, q, count - skip);
      }
      q += count - skip;
    }
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
