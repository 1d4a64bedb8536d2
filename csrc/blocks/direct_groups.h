// Direct convolution with pixels in the lanes, filters broadcast:
//   sums[filter][pixels] += w[tap][filter] band[offset[tap] + pixels]
// A tile is up to kMostGroupFilters filters of a group by any vectors of pixels of the block that
// meet the same filter rows: they need not stand in one row, so that narrow images fill the
// registers too. NCHW rows go in and out of the lanes as they are: nothing is turned.
// (Lanes of channels instead, each spread over the filters of its group by one shuffle, need
// turning on both sides: 12 shuffles for every 36 multiply-adds of a 3x3 filter, on the port of one
// of the two FMA units of Intel's AVX-512.)
#pragma once
#include "arena.h"
#include "direct_blocks.h"
#include "epilogue.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// Filters x vectors of a tile: sums, the pixels of a tap and a broadcast (without FMA, a product)
// fill the registers. 4 x 6 and 8 x 3 of 32; 4 x 3 (4 x 2 without FMA) of 16.
constexpr int kMostGroupFilters = kRegisters == 32 ? 8 : 4;
constexpr int group_vecs(int filters) {
  const int sums = kRegisters == 32 ? 24 : kFma ? 12 : 8, most = kRegisters == 32 ? 6 : 3;
  return sums / filters < most ? sums / filters : most;
}

template <class T>
CK_INLINE Blocks group_blocks_of(const Problem& problem) {
  const int64_t filters = problem.k / problem.groups;
  const int64_t tiles = ceil_div(filters, kMostGroupFilters);
  // High blocks repeat few rows of the band; a layer of few groups would have few items.
  const int64_t rows = problem.groups > 8 ? 28 : 14;
  return blocks_of<T>(problem, ceil_div(filters, tiles), rows, 4, 512, kLanes<T>);
}
// Where channels stand side by side in x, as in a view of an NHWC image, a line holds those of
// several groups: their bands are filled at once, so that the line is read once.
template <class T>
CK_INLINE int64_t groups_of_line(const Problem& problem, const Blocks& blocks) {
  constexpr int64_t kLine = kCacheLine / int64_t(sizeof(T));
  if (sizeof(T) != 4 || kLine % blocks.channels != 0 || blocks.band_channels < blocks.channels ||
      kLine * blocks.band.channel * int64_t(sizeof(T)) > kBandBytes)
    return 1;
  return lesser(kLine / blocks.channels, problem.groups);
}
// The item that stands at `index` where `together` groups take turns block by block.
CK_INLINE Item item_of_line(const Problem& problem, const Blocks& blocks, int64_t together,
                            int64_t index) {
  const int64_t of_group = items_of(problem, blocks) / problem.groups;
  const int64_t line = index / (of_group * together);
  const int64_t groups = lesser(together, problem.groups - line * together);
  index -= line * of_group * together;
  const int64_t filter_block = index % blocks.filter_blocks;
  index /= blocks.filter_blocks;
  const int64_t group = line * together + index % groups;
  return item_of(problem, blocks,
                 group * of_group + index / groups * blocks.filter_blocks + filter_block);
}
// Taps that are added up one after the other: a part of the sum, without the filter rows that lie
// in the padding.
struct Run {
  int64_t first, taps;
};
CK_INLINE int64_t parts_of(const Problem& problem, const Blocks& blocks) {
  const Part& part = blocks.part;
  return ceil_div(blocks.channels, part.channels) * ceil_div(problem.r, part.r) *
         ceil_div(problem.s, part.s);
}

template <class T>
struct GroupPacked {
  int64_t* offset;  // of every tap in the band
  T* w;             // [group][filter block][tap][filter of the block]
  int64_t width;    // filters of a block
  int64_t taps;
  int64_t bytes;
};
template <class T>
CK_INLINE GroupPacked<T> group_packed(const Problem& problem, const Blocks& blocks,
                                      const void* base) {
  Arena from = arena(base);
  GroupPacked<T> packed{};
  packed.taps = blocks.channels * problem.r * problem.s;
  packed.width = ceil_div(blocks.filters, blocks.filter_blocks);
  packed.offset = take<int64_t>(from, packed.taps);
  packed.w = take<T>(from, problem.groups * blocks.filter_blocks * packed.width * packed.taps);
  packed.bytes = from.used;
  return packed;
}
template <class T>
struct GroupScratch {
  T* band;  // [group of a line][channel][row][pitch]
  T* sums;  // [vector][filter], where the band holds some of the channels only
  Run* runs;
  int64_t bytes;
};
template <class T>
CK_INLINE GroupScratch<T> group_scratch(const Problem& problem, const Blocks& blocks, void* base) {
  Arena from = arena(base);
  GroupScratch<T> scratch{};
  const Band& band = blocks.band;
  // The last vector of a row may read on, into what no stored lane depends on.
  const int64_t channels = groups_of_line<T>(problem, blocks) * blocks.band_channels;
  scratch.band = take<T>(from, channels * band.channel + kLanes<T>);
  const int64_t vecs = band.rows * ceil_div(band.columns, kLanes<T>);
  const bool waits = blocks.band_channels < blocks.channels;
  scratch.sums = take<T>(from, waits ? vecs * kMostGroupFilters * kLanes<T> : 0);
  scratch.runs = take<Run>(from, parts_of(problem, blocks));
  scratch.bytes = from.used;
  return scratch;
}
template <class T>
Sizes group_sizes(const Problem& problem) {
  const Blocks blocks = group_blocks_of<T>(problem);
  return {group_packed<T>(problem, blocks, nullptr).bytes, 0,
          group_scratch<T>(problem, blocks, nullptr).bytes};
}
template <class T>
int64_t group_items(const Problem& problem, int64_t) {
  return items_of(problem, group_blocks_of<T>(problem));
}
template <class T>
void group_prepare(const Problem& problem, const void* weights, void* base) {
  const Blocks blocks = group_blocks_of<T>(problem);
  const GroupPacked<T> packed = group_packed<T>(problem, blocks, base);
  each_tap(problem, blocks, [&](int64_t tap, int64_t c, int64_t r, int64_t s) {
    packed.offset[tap] = tap_place(problem, blocks, c, r, s);
    for (int64_t block = 0; block < problem.groups * blocks.filter_blocks; ++block) {
      const int64_t group = block / blocks.filter_blocks;
      T* to = packed.w + (block * packed.taps + tap) * packed.width;
      for (int64_t i = 0; i < packed.width; ++i) {
        const int64_t filter = block % blocks.filter_blocks * packed.width + i;
        const int64_t row = (group * blocks.filters + filter) * blocks.channels + c;
        const T* from = static_cast<const T*>(weights) + row * problem.r * problem.s;
        to[i] = filter < blocks.filters ? from[r * problem.s + s] : T(0);
      }
    }
  });
}

// The runs of taps that band channels c0 .. c1 and filter rows begin .. end have; returns how many.
CK_NOINLINE int64_t list_runs(const Problem& problem, const Blocks& blocks, int64_t c0, int64_t c1,
                              int64_t begin, int64_t end, Run* to) {
  const Part& part = blocks.part;
  int64_t count = 0, tap = c0 * problem.r * problem.s;
  for (; c0 < c1; c0 += part.channels) {
    const int64_t channels = lesser(part.channels, blocks.channels - c0);
    for (int64_t r0 = 0; r0 < problem.r; r0 += part.r)
      for (int64_t s0 = 0; s0 < problem.s; s0 += part.s) {
        const int64_t r1 = lesser(r0 + part.r, problem.r);
        const int64_t row_taps = channels * lesser(part.s, problem.s - s0);
        const int64_t from = greater(r0, begin), stop = lesser(r1, end);
        if (from < stop) to[count++] = {tap + (from - r0) * row_taps, (stop - from) * row_taps};
        tap += row_taps * (r1 - r0);
      }
  }
  return count;
}

template <class T>
struct GroupTile {
  const int64_t* offset;
  const T* w;
  const Run *runs, *runs_end;
  const T* x[6];                      // of every vector, in the band
  T* y[6];                            // of every vector and the first filter
  const T* residual[6];               // the same
  int64_t count[6];                   // pixels of every vector
  int64_t y_filter, residual_filter;  // distances
  int64_t filters;                    // to be stored
  const T* bias;                      // of the first filter, or null
  bool bound;
  Bounds<T> bounds;
  Piece next_x;      // lines of x to fetch
  T* sums;           // of the channels before, or null
  bool first, last;  // of the band's channels
};

template <class T, int kFilters, int kVecs>
CK_NOINLINE void group_tile(const GroupTile<T>& tile) {
  Vec<T> sum[kVecs][kFilters];
  alignas(kVectorBytes) T total[kVecs * kFilters * kLanes<T>];
  const T* before = tile.first ? nullptr : tile.sums;
  const T* x[kVecs];
  CK_UNROLL(8)
  for (int v = 0; v < kVecs; ++v) x[v] = tile.x[v];
  const char* next_x = tile.next_x.from;
  const int64_t next_x_step = tile.next_x.bytes;
  for (const Run* run = tile.runs;;) {
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) {
      CK_UNROLL(8)
      for (int i = 0; i < kFilters; ++i) sum[v][i] = Vec<T>{};
    }
    const T* w = tile.w;
    if (run < tile.runs_end) {
      w += run->first * kFilters;
      const int64_t *offset = tile.offset + run->first, *end = offset + run->taps;
      const auto tap_at = [&](const int64_t* at) __attribute__((always_inline)) {
        Vec<T> pixels[kVecs];
        CK_UNROLL(8)
        for (int v = 0; v < kVecs; ++v) pixels[v] = load(x[v] + *at);
        CK_UNROLL(8)
        for (int i = 0; i < kFilters; ++i) {
          const Vec<T> weight = splat(w[i]);
          CK_UNROLL(8)
          for (int v = 0; v < kVecs; ++v) sum[v][i] += weight * pixels[v];
        }
        w += kFilters;
      };
      // Of 16 registers none is left for GCC to mix two taps.
      if constexpr (kRegisters == 32) {
        for (; offset + 1 < end; offset += 2) {
          __builtin_prefetch(next_x, 0, 2);
          __builtin_prefetch(next_x + next_x_step, 0, 2);
          next_x += 2 * next_x_step;
          tap_at(offset);
          tap_at(offset + 1);
        }
        if (offset < end) tap_at(offset);
      } else {
        CK_UNROLL(2)
        for (; offset < end; ++offset) tap_at(offset);
      }
    }
    if (before) {
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) {
        CK_UNROLL(8)
        for (int i = 0; i < kFilters; ++i)
          sum[v][i] += load(before + (v * kFilters + i) * kLanes<T>);
      }
    }
    if (++run >= tile.runs_end) break;
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) {
      CK_UNROLL(8)
      for (int i = 0; i < kFilters; ++i) store(total + (v * kFilters + i) * kLanes<T>, sum[v][i]);
    }
    before = total;
  }
  if (!tile.last) {
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) {
      CK_UNROLL(8)
      for (int i = 0; i < kFilters; ++i)
        store(tile.sums + (v * kFilters + i) * kLanes<T>, sum[v][i]);
    }
    return;
  }
  const Vec<T> low = splat(tile.bounds.low), high = splat(tile.bounds.high);
  CK_UNROLL(8)
  for (int i = 0; i < kFilters; ++i) {
    if (i == tile.filters) break;
    if (tile.bias) {
      const Vec<T> bias = splat(tile.bias[i]);
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) sum[v][i] += bias;
    }
    if (tile.residual[0]) {
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v)
        sum[v][i] += load_first(tile.residual[v] + i * tile.residual_filter, tile.count[v]);
    }
    if (tile.bound) {
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) sum[v][i] = bounded<T>(low, high, sum[v][i]);
    }
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) {
      T* y = tile.y[v] + i * tile.y_filter;
      if (tile.count[v] == kLanes<T>)
        store(y, sum[v][i]);
      else
        store_first(y, tile.count[v], sum[v][i]);
    }
  }
}
template <class T>
using GroupTileOf = void (*)(const GroupTile<T>&);
template <class T, int kFilters, int... kVecs>
CK_INLINE GroupTileOf<T> group_tile_of(int64_t vecs, std::integer_sequence<int, kVecs...>) {
  static constexpr GroupTileOf<T> kTable[] = {group_tile<T, kFilters, kVecs + 1>...};
  return kTable[vecs - 1];
}
template <class T, int kFilters>
CK_INLINE GroupTileOf<T> group_tile_of(int64_t vecs) {
  return group_tile_of<T, kFilters>(vecs, std::make_integer_sequence<int, group_vecs(kFilters)>{});
}
template <class T>
CK_NOINLINE GroupTileOf<T> group_tile_of(int64_t filters, int64_t vecs) {
  switch (filters) {
    case 1: return group_tile_of<T, 1>(vecs);
    case 2: return group_tile_of<T, 2>(vecs);
    case 3: return group_tile_of<T, 3>(vecs);
    case 4: return group_tile_of<T, 4>(vecs);
    case 5: return group_tile_of<T, lesser(5, kMostGroupFilters)>(vecs);
    case 6: return group_tile_of<T, lesser(6, kMostGroupFilters)>(vecs);
    case 7: return group_tile_of<T, lesser(7, kMostGroupFilters)>(vecs);
    default: return group_tile_of<T, kMostGroupFilters>(vecs);
  }
}

// The tiles of rows begin .. end of an item, which meet the same filter rows.
template <class T>
void group_rows(const Problem& problem, const Operands& operands, const Blocks& blocks,
                const Item& item, const GroupScratch<T>& scratch, const T* band, int64_t begin,
                int64_t end, GroupTile<T>& tile, Fetch& fetch) {
  constexpr int64_t kSize = kLanes<T>;
  const BandBlock& block = item.block;
  const Epilogue& epilogue = operands.epilogue;
  const int64_t width = ceil_div(blocks.filters, blocks.filter_blocks);
  const int64_t first = item.group * blocks.filters + item.filter_block * width;
  // Other stores than vectors go through memory.
  alignas(kVectorBytes) T waiting[kMostGroupFilters * 6 * kSize];
  const bool quick = bounds_of<T>(epilogue).any && problem.y.w == 1 &&
                     (!epilogue.residual || problem.residual.w == 1);
  tile.bounds = bounds_of<T>(epilogue);
  tile.bound = quick && epilogue.activation != kIdentity;
  tile.bias = quick && epilogue.bias ? static_cast<const T*>(epilogue.bias) + first : nullptr;
  tile.residual_filter = problem.residual.c;
  tile.filters = lesser(width, blocks.filters - item.filter_block * width);
  const int64_t most = group_vecs(int(width)), row_vecs = ceil_div(block.columns, kSize);
  const int64_t vecs = (end - begin) * row_vecs, tiles = ceil_div(vecs, most);
  int64_t row = begin, column = 0, tile_taps = 1;
  for (const Run* run = tile.runs; run < tile.runs_end; ++run) tile_taps += run->taps;
  for (int64_t j = 0, vec = 0; j < tiles; ++j) {
    const int64_t next = vecs * (j + 1) / tiles, count = next - vec;
    int64_t rows[6], columns[6];
    for (int64_t v = 0; v < count; ++v) {
      rows[v] = block.first_row + row * blocks.band.spacing;
      columns[v] = block.first_column + column;
      tile.count[v] = lesser(kSize, block.columns - column);
      tile.x[v] = band + row * blocks.band.row_step * blocks.band.pitch + column;
      tile.y[v] = quick ? static_cast<T*>(operands.y) + first * problem.y.c +
                              rows[v] * problem.y.h + columns[v]
                        : waiting + v * kSize;
      tile.residual[v] = quick && epilogue.residual ? static_cast<const T*>(epilogue.residual) +
                                                          first * problem.residual.c +
                                                          rows[v] * problem.residual.h + columns[v]
                                                    : nullptr;
      column += kSize;
      if (column >= block.columns) {
        column = 0;
        ++row;
      }
    }
    tile.y_filter = quick ? problem.y.c : count * kSize;
    tile.sums = scratch.sums + (begin * row_vecs + vec) * width * kSize;
    const Piece piece = next_piece(fetch, tile.w);
    tile.next_x = {piece.from, piece.bytes > 0 && fetch.pixel > 0
                                   ? fetch.pixel
                                   : ceil_div(piece.bytes, tile_taps)};
    group_tile_of<T>(width, count)(tile);
    if (!quick && tile.last)
      for (int64_t i = 0; i < tile.filters; ++i)
        for (int64_t v = 0; v < count; ++v)
          finish_row(problem, operands, first + i, rows[v], columns[v],
                     waiting + (i * count + v) * kSize, tile.count[v]);
    vec = next;
  }
}

template <class T>
void group_run(const Problem& problem, int64_t, int64_t begin, int64_t end,
               const Operands& operands) {
  const Blocks blocks = group_blocks_of<T>(problem);
  const GroupPacked<T> packed = group_packed<T>(problem, blocks, operands.packed);
  const GroupScratch<T> scratch = group_scratch<T>(problem, blocks, operands.scratch);
  const int64_t step = blocks.band.row_step;
  const int64_t together = problem.x.c == 1 ? groups_of_line<T>(problem, blocks) : 1;
  const auto item_at = [&](int64_t index) {
    return together > 1 ? item_of_line(problem, blocks, together, index)
                        : item_of(problem, blocks, index);
  };
  // The groups whose bands hold the block of `filled`, and the next one's place.
  Item filled{};
  int64_t filled_groups = 0;
  Fetch next_line{};  // the next of them
  const int64_t places = items_of(problem, blocks) / (problem.groups * blocks.filter_blocks);
  const auto is_filled = [&](const Item& item) {
    const int64_t further = item.group - filled.group;
    return further >= 0 && further < filled_groups && blocks.band_channels == blocks.channels &&
           item.place - filled.place == further * places;
  };
  for (int64_t index = begin; index < end; ++index) {
    const Item item = item_at(index);
    const BandBlock& block = item.block;
    T* const band =
        scratch.band + item.group % together * blocks.band_channels * blocks.band.channel;
    GroupTile<T> tile{};
    tile.offset = packed.offset;
    tile.w = packed.w +
             (item.group * blocks.filter_blocks + item.filter_block) * packed.taps * packed.width;
    tile.runs = scratch.runs;
    for (int64_t c0 = 0; c0 < blocks.channels; c0 += blocks.band_channels) {
      const int64_t c1 = lesser(c0 + blocks.band_channels, blocks.channels);
      if (!is_filled(item)) {
        // Those of the line that this range still needs.
        filled = item;
        filled_groups =
            lesser(lesser(together - item.group % together, problem.groups - item.group),
                   ceil_div(end - index, blocks.filter_blocks));
        fill_vectors(problem, blocks, item, operands, c0, filled_groups * (c1 - c0), band);
        const int64_t next = index - item.filter_block + filled_groups * blocks.filter_blocks;
        next_line = together > 1 && next < end
                        ? fetch_pixels<T>(problem, blocks, item_at(next), operands, packed.taps)
                        : Fetch{};
      }
      tile.first = c0 == 0;
      tile.last = c1 == blocks.channels;
      const int64_t vecs = block.rows * ceil_div(block.columns, kLanes<T>);
      const int64_t tiles = ceil_div(vecs, group_vecs(int(packed.width)));
      Fetch of_item{};
      Fetch& fetch = together > 1 ? next_line : of_item;
      if (!tile.last) {
        of_item = fetch_x<T>(problem, blocks, item, operands, c1,
                             lesser(blocks.band_channels, blocks.channels - c1), tiles);
      } else if (index + 1 < end) {
        const Item next = item_at(index + 1);
        if (!is_filled(next))
          of_item = fetch_x<T>(problem, blocks, next, operands, 0, blocks.band_channels, tiles);
      }
      const auto rows_met = [&](int64_t row) {
        const int64_t from = greater(0, block.begin - row * step);
        return Run{from, lesser(problem.r, block.end - row * step) - from};
      };
      for (int64_t row = 0, next = 0; row < block.rows; row = next) {
        const Run met = rows_met(row);
        for (next = row + 1; next < block.rows; ++next) {
          const Run other = rows_met(next);
          if (other.first != met.first || other.taps != met.taps) break;
        }
        tile.runs_end = scratch.runs + list_runs(problem, blocks, c0, c1, met.first,
                                                 met.first + met.taps, scratch.runs);
        group_rows(problem, operands, blocks, item, scratch, band, row, next, tile, fetch);
      }
    }
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
