// Direct convolution with filters in the lanes, pixels broadcast:
//   sums[pixel][filters] += x[offset[tap] + pixel] w[tap][filters]
// from a band of the padded image (band.h) or, for strides of 2 and 4, from x itself. A tile is up
// to kPixels pixels of a row by two vectors of filters; the result is turned in L1. After Zhang,
// Franchetti, Low: High Performance Zero-Memory Overhead Direct Convolutions (2018).
#pragma once
#include "arena.h"
#include "direct_blocks.h"
#include "direct_put.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// 28 sums, 2 vectors of weights and a broadcast fill 32 registers; 12 of 16 leave GCC room (14
// spill); without FMA a product needs a register.
constexpr int kPixels = kRegisters == 32 ? 14 : kFma ? 6 : 4;

// Where a stride of 2 or 4 spreads few pixels over much of x, x is read in place, without a band: a
// broadcast takes any element. Only the first and the last pixel of a row may reach into the
// padding, of zeros; the others' addresses are then known to be good.
template <class T>
bool may_be_in_place(const Problem& problem) {
  const int64_t reach = (problem.s - 1) * problem.dilation_w;
  return sizeof(T) == 4 && problem.k > kLanes<T> * problem.groups && problem.s <= kDepth &&
         problem.padding_mode == kZeros && (problem.stride_w == 2 || problem.stride_w == 4) &&
         problem.pad_left <= problem.stride_w &&
         (problem.q - 2) * problem.stride_w - problem.pad_left + reach < problem.w;
}
// Both ways give the same bits, so strides may decide. Channels a multiple of 4 KiB apart would
// share a few sets of L1.
template <class T>
bool reads_in_place(const Problem& problem) {
  const int64_t apart = (greater(problem.x.c, -problem.x.c) * int64_t(sizeof(T)) + 128) % 4096;
  return may_be_in_place<T>(problem) && problem.x.w == 1 &&
         (problem.c == problem.groups || apart > 256);
}
// In place nothing but the lines of x is shared along a block: where weights are the larger part,
// they stay in L2 while x passes.
bool weights_outweigh(const Problem& problem) {
  return problem.k * problem.r * problem.s > problem.h * problem.w * problem.groups;
}
// Whole rows where there is no band to keep small: they are fetched, and stored, in one run.
template <class T>
Blocks filter_blocks_of(const Problem& problem) {
  const bool in_place = may_be_in_place<T>(problem);
  return blocks_of<T>(problem, kFilters<T>, in_place ? 7 : 16, 7, 16 * kPixels, kPixels,
                      in_place && weights_outweigh(problem));
}
// How many filters wide the packed weights of a block are: the last one may need one vector only.
template <class T>
int64_t filter_width(const Blocks& blocks, int64_t filter_block) {
  return blocks.filters - filter_block * kFilters<T> <= kLanes<T> ? kLanes<T> : kFilters<T>;
}
template <class T>
int64_t packed_filters(const Blocks& blocks) {
  return (blocks.filter_blocks - 1) * kFilters<T> +
         filter_width<T>(blocks, blocks.filter_blocks - 1);
}
template <class T>
struct FilterPacked {
  int64_t* offset;  // of every tap in the band
  T* w;             // [group][filter block][tap][filters of the block]
  int64_t bytes;
};
template <class T>
FilterPacked<T> filter_packed(const Problem& problem, const Blocks& blocks, const void* base) {
  Arena from = arena(base);
  FilterPacked<T> packed{};
  const int64_t taps = blocks.channels * problem.r * problem.s;
  packed.offset = take<int64_t>(from, taps);
  packed.w = take<T>(from, problem.groups * packed_filters<T>(blocks) * taps);
  packed.bytes = from.used;
  return packed;
}
// What one call adds. ahead: the next part's weights, fetched evenly while this one computes; a
// deep layer with few pixels is 1.4 to 1.7 times slower without. next_x: the same for x.
template <class T>
struct Taps {
  const T* x;             // the first pixel's
  const int64_t* offset;  // of every tap
  // Of every tap: all ones where the first and the last pixel find it within the image, else zero.
  const int64_t *first_inside, *last_inside;
  const T* w;
  int64_t taps;
  int64_t column[3];  // of three filter columns
  T* sums;            // [pixel][filter]
  bool first;         // of all parts: sums hold nothing yet
  const char *ahead, *next_x;
  int64_t ahead_step, next_x_step;
};
template <class T, int kCount, int kVecs>
CK_INLINE void clear(Vec<T> (&sum)[kCount][kVecs]) {
  CK_UNROLL(16)
  for (int i = 0; i < kCount; ++i) {
    CK_UNROLL(4)
    for (int v = 0; v < kVecs; ++v) sum[i][v] = Vec<T>{};
  }
}
template <class T, int kCount, int kVecs>
CK_INLINE void add_to(bool first, T* sums, const Vec<T> (&sum)[kCount][kVecs]) {
  if (first) {
    CK_UNROLL(16)
    for (int i = 0; i < kCount; ++i) {
      CK_UNROLL(4)
      for (int v = 0; v < kVecs; ++v) store(sums + (i * kVecs + v) * kLanes<T>, sum[i][v]);
    }
    return;
  }
  CK_UNROLL(16)
  for (int i = 0; i < kCount; ++i) {
    CK_UNROLL(4)
    for (int v = 0; v < kVecs; ++v) {
      T* to = sums + (i * kVecs + v) * kLanes<T>;
      store(to, load(to) + sum[i][v]);
    }
  }
}
// One tap. kStep: distance of pixels in x.
template <class T, int kStep, int kCount, int kVecs, class Pixel>
CK_INLINE void add_tap(const T* w, Vec<T> (&sum)[kCount][kVecs], Pixel pixel_at) {
  Vec<T> weights[kVecs];
  CK_UNROLL(4)
  for (int v = 0; v < kVecs; ++v) weights[v] = load(w + v * kLanes<T>);
  CK_UNROLL(16)
  for (int i = 0; i < kCount; ++i) {
    const Vec<T> pixel = splat(pixel_at(i));
    CK_UNROLL(4)
    for (int v = 0; v < kVecs; ++v) sum[i][v] += pixel * weights[v];
  }
}
// Any filter. kEdges: the first and the last pixel may be in the padding.
template <class T, int kCount, int kVecs, int kStep, bool kEdges>
CK_NOINLINE void add_taps(const Taps<T>& taps) {
  static const T kZero = T(0);
  Vec<T> sum[kCount][kVecs];
  clear<T>(sum);
  const T *x = taps.x, *w = taps.w;
  const int64_t *offset = taps.offset, *first = taps.first_inside, *last = taps.last_inside;
  const int64_t ahead_step = taps.ahead_step, next_step = taps.next_x_step;
  const char *ahead = taps.ahead, *next_x = taps.next_x;
  const auto tap_at = [&](int64_t tap) __attribute__((always_inline)) {
    const T* pixels = x + offset[tap];
    add_tap<T, kStep>(w, sum, [&](int i) __attribute__((always_inline)) {
      if (!kEdges || (i > 0 && i < kCount - 1)) return pixels[i * kStep];
      const int64_t inside = kCount == 1 ? first[tap] & last[tap] : i ? last[tap] : first[tap];
      const intptr_t zero = reinterpret_cast<intptr_t>(&kZero);
      const intptr_t place = reinterpret_cast<intptr_t>(pixels + i * kStep);
      return *reinterpret_cast<const T*>(zero + ((place - zero) & intptr_t(inside)));
    });
    w += kVecs * kLanes<T>;
  };
  // The units of integers share their ports with those of multiply-adds, the fetches with the
  // loads: one fetch a tap is enough.
  const int64_t count = taps.taps;
  int64_t tap = 0;
  for (; tap + 1 < count; tap += 2) {
    __builtin_prefetch(ahead, 0, 2);
    ahead += ahead_step;
    tap_at(tap);
    __builtin_prefetch(next_x, 0, 2);
    next_x += next_step;
    tap_at(tap + 1);
  }
  if (tap < count) tap_at(tap);
  add_to(taps.first, taps.sums, sum);
}
// Filters of three columns: half of the integer work. kFirst: the first pixel's first column is
// padding, of zeros.
template <class T, int kCount, int kVecs, int kStep, bool kFirst>
CK_NOINLINE void add_threes(const Taps<T>& taps) {
  Vec<T> sum[kCount][kVecs];
  clear<T>(sum);
  const T *x = taps.x, *second = x + taps.column[1], *third = x + taps.column[2], *w = taps.w;
  const int64_t ahead_step = taps.ahead_step, next_step = taps.next_x_step;
  const char *ahead = taps.ahead, *next_x = taps.next_x;
  for (const int64_t *offset = taps.offset, *end = offset + taps.taps; offset < end; offset += 3) {
    const int64_t place = *offset;
    __builtin_prefetch(ahead, 0, 2);
    ahead += ahead_step;
    add_tap<T, kStep>(w, sum, [&](int i) __attribute__((always_inline)) {
      return kFirst && i == 0 ? T(0) : x[place + i * kStep];
    });
    __builtin_prefetch(next_x, 0, 2);
    next_x += next_step;
    add_tap<T, kStep>(w + kVecs * kLanes<T>, sum, [&](int i) __attribute__((always_inline)) {
      return second[place + i * kStep];
    });
    add_tap<T, kStep>(w + 2 * kVecs * kLanes<T>, sum, [&](int i) __attribute__((always_inline)) {
      return third[place + i * kStep];
    });
    w += 3 * kVecs * kLanes<T>;
  }
  add_to(taps.first, taps.sums, sum);
}
template <class T>
using AddTaps = void (*)(const Taps<T>&);
template <class T, int kVecs, int kStep, bool kEdges, int... kCount>
CK_INLINE AddTaps<T> add_taps_for(int64_t count, std::integer_sequence<int, kCount...>) {
  static constexpr AddTaps<T> kTable[] = {add_taps<T, kCount + 1, kVecs, kStep, kEdges>...};
  return kTable[count - 1];
}
template <class T, int kStep, bool kFirst, int... kCount>
CK_INLINE AddTaps<T> add_threes_for(int64_t count, std::integer_sequence<int, kCount...>) {
  static constexpr AddTaps<T> kTable[] = {add_threes<T, kCount + 1, kFilterVecs, kStep, kFirst>...};
  return kTable[count - 1];
}
// What a tile of pixels needs of the function that adds its taps.
struct TileKind {
  bool two, threes;  // vectors of filters; filter columns
  int64_t step;      // 1 in the band, the stride in x
  bool first, last;  // pixels that may be in the padding
};
template <class T>
AddTaps<T> add_taps_for(int64_t count, const TileKind& kind) {
  constexpr std::make_integer_sequence<int, kPixels> counts{};
  if constexpr (sizeof(T) == 4) {
    if (kind.step == 2 && kind.threes && kind.two && !kind.last)
      return kind.first ? add_threes_for<T, 2, true>(count, counts)
                        : add_threes_for<T, 2, false>(count, counts);
    if (kind.step == 4 && kind.two && !kind.first && !kind.last)
      return add_taps_for<T, 2, 4, false>(count, counts);
    if (kind.step == 2)
      return kind.two ? add_taps_for<T, 2, 2, true>(count, counts)
                      : add_taps_for<T, 1, 2, true>(count, counts);
    if (kind.step == 4)
      return kind.two ? add_taps_for<T, 2, 4, true>(count, counts)
                      : add_taps_for<T, 1, 4, true>(count, counts);
    if (kind.threes && kind.two) return add_threes_for<T, 1, false>(count, counts);
  }
  return kind.two ? add_taps_for<T, 2, 1, false>(count, counts)
                  : add_taps_for<T, 1, 1, false>(count, counts);
}

template <class T>
struct FilterScratch {
  T* band;                                       // [channel][row][pitch]
  T* sums;                                       // [row][column][filter]
  T* lines;                                      // [filter of a vector][pixel], for put_planes
  int64_t* offset;                               // of every tap in x
  int64_t *first_inside, *inside, *last_inside;  // of every tap of a part, see Taps
  int64_t line;
  int64_t bytes;
};
template <class T>
FilterScratch<T> filter_scratch(const Problem& problem, const Blocks& blocks, void* base) {
  Arena from = arena(base);
  FilterScratch<T> scratch{};
  const Band& band = blocks.band;
  scratch.line = ceil_div(band.rows * band.columns, kLanes<T>) * kLanes<T>;
  scratch.band = take<T>(from, blocks.band_channels * band.channel);
  // The turn of the last pixels reads on for up to a square.
  scratch.sums = take<T>(from, (band.rows * band.columns + kLanes<T>)*kFilters<T>);
  scratch.lines = take<T>(from, problem.y_layout == kNchw ? kLanes<T> * scratch.line : 0);
  const bool in_place = may_be_in_place<T>(problem);
  scratch.offset = take<int64_t>(from, in_place ? blocks.channels * problem.r * problem.s : 0);
  scratch.first_inside = take<int64_t>(from, in_place ? kDepth : 0);
  scratch.inside = take<int64_t>(from, in_place ? kDepth : 0);
  scratch.last_inside = take<int64_t>(from, in_place ? kDepth : 0);
  scratch.bytes = from.used;
  return scratch;
}
template <class T>
Sizes filter_sizes(const Problem& problem) {
  const Blocks blocks = filter_blocks_of<T>(problem);
  return {filter_packed<T>(problem, blocks, nullptr).bytes, 0,
          filter_scratch<T>(problem, blocks, nullptr).bytes};
}
template <class T>
int64_t filter_items(const Problem& problem, int64_t) {
  return items_of(problem, filter_blocks_of<T>(problem));
}
template <class T>
void filter_prepare(const Problem& problem, const void* weights, void* base) {
  const Blocks blocks = filter_blocks_of<T>(problem);
  const FilterPacked<T> packed = filter_packed<T>(problem, blocks, base);
  const int64_t taps = blocks.channels * problem.r * problem.s;
  each_tap(problem, blocks, [&](int64_t tap, int64_t c, int64_t r, int64_t s) {
    packed.offset[tap] = tap_place(problem, blocks, c, r, s);
    T* to = packed.w;
    for (int64_t group = 0; group < problem.groups; ++group)
      for (int64_t block = 0; block < blocks.filter_blocks; ++block) {
        const int64_t width = filter_width<T>(blocks, block);
        for (int64_t i = 0; i < width; ++i) {
          const int64_t filter = block * kFilters<T> + i;
          const int64_t row = (group * blocks.filters + filter) * blocks.channels + c;
          const T* from = static_cast<const T*>(weights) + row * problem.r * problem.s;
          to[tap * width + i] =
              filter < problem.k / problem.groups ? from[r * problem.s + s] : T(0);
        }
        to += taps * width;
      }
  });
}

template <class T>
void filter_run(const Problem& problem, int64_t, int64_t begin, int64_t end,
                const Operands& operands) {
  const Blocks blocks = filter_blocks_of<T>(problem);
  const FilterPacked<T> packed = filter_packed<T>(problem, blocks, operands.packed);
  const FilterScratch<T> scratch = filter_scratch<T>(problem, blocks, operands.scratch);
  const Band& band = blocks.band;
  const Part& part = blocks.part;
  const int64_t taps = blocks.channels * problem.r * problem.s;
  const bool in_place = reads_in_place<T>(problem);
  const int64_t step = in_place ? problem.stride_w : 1;
  const int64_t last_column = (problem.q - 1) * problem.stride_w - problem.pad_left;
  const bool pads_left = problem.pad_left > 0;
  const bool pads_right = last_column + (problem.s - 1) * problem.dilation_w >= problem.w;
  if (in_place) {
    each_tap(problem, blocks, [&](int64_t tap, int64_t c, int64_t r, int64_t s) {
      scratch.offset[tap] =
          c * problem.x.c + r * problem.dilation_h * problem.x.h + s * problem.dilation_w;
    });
    // Filter columns vary fastest, in every part from the first one on.
    for (int64_t tap = 0; tap < kDepth; ++tap) {
      const int64_t column = tap % problem.s * problem.dilation_w;
      scratch.first_inside[tap] = -int64_t(column >= problem.pad_left);
      scratch.inside[tap] = -1;
      scratch.last_inside[tap] = -int64_t(last_column + column < problem.w);
    }
  }
  // add_threes leaves out one column of the first pixel.
  const bool threes = problem.s == 3 && (!in_place || problem.pad_left <= problem.dilation_w);
  // A band serves all filters of its block.
  const bool weights_stay = in_place && weights_outweigh(problem);
  const int64_t places = items_of(problem, blocks) / (problem.groups * blocks.filter_blocks);
  const auto item_at = [&](int64_t i) {
    if (!weights_stay) return item_of(problem, blocks, i);
    const int64_t place = i % places, block = i / places;  // block: of filters of any group
    const int64_t group = block / blocks.filter_blocks;
    return item_of(problem, blocks,
                   (group * places + place) * blocks.filter_blocks + block % blocks.filter_blocks);
  };
  int64_t filled = -1;
  for (int64_t index = begin; index < end; ++index) {
    const Item item = item_at(index);
    const BandBlock& block = item.block;
    if (block.rows <= 0) continue;
    const int64_t width = filter_width<T>(blocks, item.filter_block);
    const T* w =
        packed.w + (item.group * packed_filters<T>(blocks) + item.filter_block * kFilters<T>)*taps;
    const int64_t tiles = ceil_div(block.columns, kPixels);
    const bool at_left = in_place && pads_left && block.first_column == 0;
    const bool at_right = in_place && pads_right && block.first_column + block.columns == problem.q;
    // Tiles are even; the first `wider` of them have one pixel more.
    const int64_t pixels = block.columns / tiles, wider = block.columns % tiles;
    const auto tile_of = [&](int64_t tile, bool first, bool last) {
      return add_taps_for<T>(pixels + (tile < wider),
                             {width > kLanes<T>, threes, step, first, last});
    };
    const auto first_met = [&](int64_t i) { return greater(0, block.begin - i * band.row_step); };
    const AddTaps<T> first_tile = tile_of(0, at_left, at_right && tiles == 1);
    const AddTaps<T> last_tile = tile_of(tiles - 1, at_left && tiles == 1, at_right);
    const AddTaps<T> wide_tile = tile_of(0, false, false);
    const AddTaps<T> narrow_tile = tile_of(tiles - 1, false, false);
    // Rows all of whose filter rows lie in the padding have no sum.
    bool all_meet = true;
    for (int64_t i = 0; i < block.rows; ++i) {
      if (first_met(i) < lesser(problem.r, block.end - i * band.row_step)) continue;
      all_meet = false;
      __builtin_memset(scratch.sums + i * block.columns * width, 0,
                       size_t(block.columns * width) * sizeof(T));
    }
    const int64_t first = item.filter_block * kFilters<T>, filters = problem.k / problem.groups;
    const Finished<T> done = {
        scratch.sums, width,       item.group * filters + first, lesser(width, filters - first),
        &block,       band.spacing};
    const bool vectors = problem.y_layout == kNchwc && vectors_fit<T>(problem);
    BlockExit<T> exit;
    if (vectors) exit = block_exit<T>(problem, operands, done.first);
    const auto put = width > kLanes<T> ? put_vectors<T, 2> : put_vectors<T, 1>;
    // Sums of one part leave tile by tile, while they are in L1.
    const bool at_once = vectors && all_meet && blocks.channels <= part.channels &&
                         problem.r <= part.r && problem.s <= part.s;
    int64_t tap = 0;
    const bool fresh = item.place != filled || blocks.band_channels < blocks.channels;
    filled = item.place;
    for (int64_t c0 = 0; c0 < blocks.channels; c0 += part.channels) {
      const int64_t channels = lesser(part.channels, blocks.channels - c0);
      if (fresh && !in_place)
        fill(problem, blocks, item, operands, c0, channels,
             scratch.band + c0 % blocks.band_channels * band.channel);
      const int64_t calls =
          block.rows * tiles * ceil_div(problem.r, part.r) * ceil_div(problem.s, part.s);
      Fetch fetch{};
      if (c0 + channels < blocks.channels) {
        if (fresh)
          fetch = fetch_x<T>(problem, blocks, item, operands, c0 + channels,
                             lesser(part.channels, blocks.channels - c0 - channels), calls);
      } else {
        const Item next = item_at(lesser(index + 1, end - 1));
        if (next.place != filled || (index + 1 < end && blocks.band_channels < blocks.channels))
          fetch = fetch_x<T>(problem, blocks, next, operands, 0,
                             lesser(part.channels, blocks.channels), calls);
        else
          fetch =
              fetch_y<T>(problem, block, band.spacing, operands,
                         item.group * blocks.filters + item.filter_block * kFilters<T>,
                         lesser(width, blocks.filters - item.filter_block * kFilters<T>), calls);
      }
      for (int64_t r0 = 0; r0 < problem.r; r0 += part.r)
        for (int64_t s0 = 0; s0 < problem.s; s0 += part.s) {
          const int64_t r1 = lesser(r0 + part.r, problem.r);
          const int64_t row_taps = channels * lesser(part.s, problem.s - s0);
          const int64_t part_taps = row_taps * (r1 - r0);
          Taps<T> now{};
          for (int64_t j = 0; j < lesser(3, problem.s); ++j)
            now.column[j] = in_place ? j * problem.dilation_w : tap_column(problem, band, j);
          now.ahead = reinterpret_cast<const char*>(w + part_taps * width);
          now.ahead_step =
              ceil_div(width * int64_t(sizeof(T)) * (threes ? 3 : 2), block.rows * tiles);
          for (int64_t i = 0; i < block.rows; ++i) {
            const int64_t from = greater(r0, block.begin - i * band.row_step);
            const int64_t to = lesser(r1, block.end - i * band.row_step);
            if (from >= to) continue;
            const int64_t skipped = (from - r0) * row_taps;
            now.taps = (to - from) * row_taps;
            now.x = in_place ? static_cast<const T*>(operands.x) +
                                   item.group * blocks.channels * problem.x.c +
                                   ((block.first_row + i * band.spacing) * problem.stride_h -
                                    problem.pad_top) *
                                       problem.x.h +
                                   block.first_column * problem.stride_w - problem.pad_left
                             : scratch.band + i * band.row_step * band.pitch;
            now.offset = (in_place ? scratch.offset : packed.offset) + tap + skipped;
            now.w = w + skipped * width;
            now.sums = scratch.sums + (at_once ? 0 : i * block.columns * width);
            now.first = c0 == 0 && s0 == 0 && r0 <= first_met(i);
            int64_t column = block.first_column;
            for (int64_t tile = 0; tile < tiles; ++tile) {
              const bool is_first = tile == 0, is_last = tile == tiles - 1;
              now.first_inside = is_first && at_left ? scratch.first_inside : scratch.inside;
              now.last_inside = is_last && at_right ? scratch.last_inside : scratch.inside;
              const Piece piece = next_piece(fetch, w);
              now.next_x = piece.from;
              now.next_x_step = ceil_div(piece.bytes * (threes ? 3 : 2), now.taps);
              (is_first       ? first_tile
               : is_last      ? last_tile
               : tile < wider ? wide_tile
                              : narrow_tile)(now);
              const int64_t count = pixels + (tile < wider);
              if (at_once)
                put(problem, exit, now.sums, block.first_row + i * band.spacing, column, count);
              else
                now.sums += count * width;
              column += count;
              now.x += count * step;
              now.ahead += part_taps / (threes ? 3 : 2) * now.ahead_step;
            }
          }
          tap += part_taps;
          w += part_taps * width;
        }
    }
    if (at_once) continue;
    if (problem.y_layout == kNchw)
      put_planes(problem, operands, done, scratch.lines, scratch.line);
    else if (!vectors)
      put_lanes(problem, operands, done);
    else
      for (int64_t i = 0; i < block.rows; ++i)
        put(problem, exit, scratch.sums + i * block.columns * width,
            block.first_row + i * band.spacing, block.first_column, block.columns);
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
