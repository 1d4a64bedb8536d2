// Direct convolution of x in blocks of channels (nchwc), filters in the lanes, pixels broadcast:
//   sums[pixel][filters] += x[channel block][row][pixel][channel] w[channel][row][column][filters]
// x is read in place, for any stride, dilation, padding and padding mode: under one filter row and
// column, a tile's pixels are rows of channels, and only the few at both ends of the tile may lie
// in the padding. These have addresses of their own (a line of zeros', where they read zero); those
// between are a constant apart. After Zhang, Franchetti, Low: High Performance Zero-Memory Overhead
// Direct Convolutions (2018).
#pragma once
#include "arena.h"
#include "direct_filters.h"
#include "direct_groups.h"
#include "direct_put.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// Pixels at each end of a tile with addresses of their own. They fill the integer registers; tiles
// of no more pixels than addresses may lie anywhere.
constexpr int kEnds = 3, kAddresses = 2 * kEnds + 1;
constexpr int kTilePixels = kPixels;
constexpr int kFreePixels = lesser(kAddresses, kPixels);
// Channels that share a filter row and column; of a block, at most these.
constexpr int64_t kChannelRun = 64;
// Entries of a filter column: those of the addresses, and bits for those in the padding.
constexpr int kColumnEntry = kAddresses + 1;

// Blocks of outputs, parts of the sum (direct_blocks.h).
struct ChannelBlocks {
  int64_t channels, filters;  // of a group
  int64_t filter_blocks;      // of a group
  Part part;
  int64_t rows, columns;  // of a block
  int64_t row_blocks, column_blocks;
  bool weights_stay;
};
template <class T>
ChannelBlocks channel_blocks_of(const Problem& problem) {
  ChannelBlocks blocks{};
  blocks.channels = problem.c / problem.groups;
  blocks.filters = filters_of_group(problem);
  blocks.filter_blocks = ceil_div(blocks.filters, kFilters<T>);
  const int64_t run = lesser(blocks.channels, lesser(problem.block, kChannelRun));
  Part& part = blocks.part;
  part.s = lesser(problem.s, greater(1, kDepth / run));
  part.r = part.s < problem.s ? 1 : lesser(problem.r, greater(1, kDepth / (run * part.s)));
  const int64_t runs =
      part.s < problem.s || part.r < problem.r ? 1 : greater(1, kDepth / (run * part.r * part.s));
  const int64_t parts = ceil_div(blocks.channels, run * runs);
  part.channels = ceil_div(ceil_div(blocks.channels, run), parts) * run;
  // Weights that are the larger part stay in L2 while x passes, else x does.
  blocks.weights_stay = weights_outweigh(problem);
  constexpr int64_t kMostPixels = 512;
  blocks.column_blocks = ceil_div(problem.q, 16 * kTilePixels);
  blocks.columns = ceil_div(problem.q, blocks.column_blocks);
  const int64_t most = greater(1, kMostPixels / blocks.columns);
  blocks.row_blocks = ceil_div(problem.p, lesser(problem.p, most));
  // More of them where 16 threads, 32 in a large layer, would have too little to do, or one of them
  // an item more than most; not under three rows.
  const int64_t weights = problem.k * blocks.channels * problem.r * problem.s;
  const bool large = weights * problem.p * problem.q >= 100'000'000;
  const int64_t threads = large && weights * int64_t(sizeof(T)) <= kSharedWeights ? 32 : 16;
  const int64_t others = problem.groups * blocks.filter_blocks * blocks.column_blocks;
  const auto idle = [&] {
    const int64_t items = others * blocks.row_blocks;
    return ceil_div(items, threads) * threads * 4 > items * 5;
  };
  for (int64_t rows = ceil_div(problem.p, blocks.row_blocks) - 1; idle() && rows >= 3; --rows)
    blocks.row_blocks = ceil_div(problem.p, rows);
  blocks.rows = ceil_div(problem.p, blocks.row_blocks);
  return blocks;
}
CK_INLINE int64_t channel_items_of(const Problem& problem, const ChannelBlocks& blocks) {
  return problem.groups * blocks.filter_blocks * blocks.row_blocks * blocks.column_blocks;
}
template <class T>
int64_t channel_width(const ChannelBlocks& blocks, int64_t filter_block) {
  return blocks.filters - filter_block * kFilters<T> <= kLanes<T> ? kLanes<T> : kFilters<T>;
}
template <class T>
int64_t channel_filters(const ChannelBlocks& blocks) {
  return (blocks.filter_blocks - 1) * kFilters<T> +
         channel_width<T>(blocks, blocks.filter_blocks - 1);
}
// body(begin, end) for the runs of channels begin .. end of the image that lie in one block each.
template <class Body>
CK_INLINE void each_run(int64_t block, int64_t begin, int64_t end, Body body) {
  while (begin < end) {
    const int64_t run = lesser(kChannelRun, block - begin % block), stop = lesser(end, begin + run);
    body(begin, stop);
    begin = stop;
  }
}
// body(c0, c1, r0, r1, s0, s1) for the parts of the sum of a group.
template <class Body>
CK_INLINE void each_part(const Problem& problem, const ChannelBlocks& blocks, Body body) {
  const Part& part = blocks.part;
  for (int64_t c0 = 0; c0 < blocks.channels; c0 += part.channels)
    for (int64_t r0 = 0; r0 < problem.r; r0 += part.r)
      for (int64_t s0 = 0; s0 < problem.s; s0 += part.s)
        body(c0, lesser(c0 + part.channels, blocks.channels), r0, lesser(r0 + part.r, problem.r),
             s0, lesser(s0 + part.s, problem.s));
}

// w: [group][filter block][part][run of channels][row][column][channel][filter]
template <class T>
void channel_prepare(const Problem& problem, const void* weights, void* packed) {
  const ChannelBlocks blocks = channel_blocks_of<T>(problem);
  T* to = static_cast<T*>(packed);
  const int64_t filters = problem.k / problem.groups;
  for (int64_t group = 0; group < problem.groups; ++group)
    for (int64_t of_group = 0; of_group < blocks.filter_blocks; ++of_group) {
      const int64_t width = channel_width<T>(blocks, of_group), first = of_group * kFilters<T>;
      each_part(problem, blocks,
                [&](int64_t c0, int64_t c1, int64_t r0, int64_t r1, int64_t s0, int64_t s1) {
                  const int64_t start = group * blocks.channels;
                  each_run(problem.block, start + c0, start + c1, [&](int64_t begin, int64_t end) {
                    for (int64_t r = r0; r < r1; ++r)
                      for (int64_t s = s0; s < s1; ++s)
                        for (int64_t c = begin - start; c < end - start; ++c)
                          for (int64_t i = 0; i < width; ++i, ++to) {
                            const int64_t filter = first + i;
                            const int64_t row = (group * filters + filter) * blocks.channels + c;
                            *to = filter < filters
                                      ? static_cast<const T*>(
                                            weights)[(row * problem.r + r) * problem.s + s]
                                      : T(0);
                          }
                  });
                });
    }
}

// What one call adds: a part of the sum, for one tile.
template <class T>
struct ChannelTile {
  const T* x;              // the image
  const int64_t* rows;     // of every filter row of the part that is no padding: in x
  const int64_t* columns;  // [filter column][kColumnEntry]: in the row
  const T* w;
  int64_t begin, end;  // channels of the image
  int64_t row_count, column_count;
  int64_t w_before, w_after;  // elements of the rows in the padding, for every channel
  int64_t block, block_step;  // channels of a block, distance of blocks in x
  T* sums;                    // [pixel][filter]
  bool first;                 // of all parts
  // Lines to fetch, so many under each filter row and column: of the next part's weights, of the
  // next x.
  const char *ahead, *next_x;
  int64_t ahead_lines, next_x_lines;
};
template <class T>
alignas(kVectorBytes) constexpr T kZeroRun[kChannelRun] = {};

// The address of pixel i of kCount, and how far it is from there.
constexpr int address_of(int i, int count) {
  return count <= kAddresses ? i
         : i < kEnds         ? i
         : i < count - kEnds ? kEnds
                             : i + kAddresses - count;
}
constexpr int beyond_address(int i, int count) {
  return count <= kAddresses || i < kEnds || i >= count - kEnds ? 0 : i - kEnds;
}
// kStep: distance of the pixels between the ends.
template <class T, int kCount, int kVecs, int kStep>
CK_NOINLINE void add_channels(const ChannelTile<T>& tile) {
  constexpr int kPlaces = lesser(kCount, kAddresses);
  Vec<T> sum[kCount][kVecs];
  clear<T>(sum);
  const T* w = tile.w;
  const char *ahead = tile.ahead, *next_x = tile.next_x;
  int64_t lane = tile.begin % tile.block;
  const T* x = tile.x + tile.begin / tile.block * tile.block_step + lane;
  for (int64_t left = tile.end - tile.begin; left > 0;) {
    const int64_t count = lesser(lesser(kChannelRun, tile.block - lane), left);
    w += tile.w_before * count;
    for (int64_t r = 0; r < tile.row_count; ++r) {
      const T* row = x + tile.rows[r];
      const int64_t* column = tile.columns;
      for (int64_t s = 0; s < tile.column_count; ++s, column += kColumnEntry) {
        const T* at[kPlaces];
        CK_UNROLL(8)
        for (int i = 0; i < kPlaces; ++i) at[i] = row + column[i];
        if (const int64_t padding = column[kAddresses]) {
          CK_UNROLL(8)
          for (int i = 0; i < kPlaces; ++i)
            if (padding >> i & 1) at[i] = kZeroRun<T>;
        }
        const auto channel_at = [&](int64_t c) __attribute__((always_inline)) {
          add_tap<T, 0>(w, sum, [&](int i) __attribute__((always_inline)) {
            return at[address_of(i, kCount)][c + beyond_address(i, kCount) * kStep];
          });
          w += kVecs * kLanes<T>;
        };
        for (int64_t i = tile.ahead_lines; i > 0; --i, ahead += kCacheLine)
          __builtin_prefetch(ahead, 0, 2);
        for (int64_t i = tile.next_x_lines; i > 0; --i, next_x += kCacheLine)
          __builtin_prefetch(next_x, 0, 2);
        int64_t c = 0;
        for (; c + 1 < count; c += 2) {
          channel_at(c);
          channel_at(c + 1);
        }
        if (c < count) channel_at(c);
      }
    }
    w += tile.w_after * count;
    left -= count;
    lane += count;
    x += count;
    if (lane == tile.block) {
      lane = 0;
      x += tile.block_step - tile.block;
    }
  }
  add_to(tile.first, tile.sums, sum);
}
template <class T>
using AddChannels = void (*)(const ChannelTile<T>&);
template <class T, int kVecs, int kStep, int kFirst, int... kCount>
CK_INLINE AddChannels<T> add_channels_for(int64_t count, std::integer_sequence<int, kCount...>) {
  static constexpr AddChannels<T> kTable[] = {add_channels<T, kFirst + kCount, kVecs, kStep>...};
  return kTable[count - kFirst];
}
template <class T, int kVecs>
AddChannels<T> add_channels_for(int64_t count, int64_t step) {
  if constexpr (kTilePixels > kFreePixels)
    if (count > kFreePixels) {
      constexpr std::make_integer_sequence<int, kTilePixels - kFreePixels> wide{};
      constexpr int kOne = kLanes<T>, kTwo = 2 * kLanes<T>;
      return step == kOne ? add_channels_for<T, kVecs, kOne, kFreePixels + 1>(count, wide)
                          : add_channels_for<T, kVecs, kTwo, kFreePixels + 1>(count, wide);
    }
  return add_channels_for<T, kVecs, 0, 1>(count, std::make_integer_sequence<int, kFreePixels>{});
}
// Whether pixels other than the first and last kEnds of a row are within the image under every
// filter column, and as far apart as add_channels knows.
template <class T>
bool wide_tiles(const Problem& problem) {
  const int64_t step = problem.stride_w * problem.x.w, u = problem.stride_w;
  return (step == kLanes<T> || step == 2 * kLanes<T>) && problem.pad_left <= kEnds * u &&
         (problem.q - 1 - kEnds) * u - problem.pad_left + (problem.s - 1) * problem.dilation_w <
             problem.w;
}

template <class T>
struct ChannelScratch {
  T* sums;           // [row][column][filter]
  T* lines;          // [filter of a vector][pixel], where y is in planes
  int64_t* columns;  // [tile][filter column][kColumnEntry]
  int64_t* rows;     // [row][filter row]: in x
  Run* met;          // [row]: the filter rows that are no padding
  int64_t line;
  int64_t bytes;
};
template <class T>
ChannelScratch<T> channel_scratch(const Problem& problem, const ChannelBlocks& blocks, void* base) {
  Arena from = arena(base);
  ChannelScratch<T> scratch{};
  const int64_t pixels = blocks.rows * blocks.columns;
  scratch.line = problem.y_layout == kNchw ? ceil_div(pixels, kLanes<T>) * kLanes<T> : 0;
  scratch.sums = take<T>(from, (pixels + kLanes<T>)*kFilters<T>);
  scratch.lines = take<T>(from, kLanes<T> * scratch.line);
  scratch.columns =
      take<int64_t>(from, ceil_div(blocks.columns, kFreePixels) * problem.s * kColumnEntry);
  scratch.rows = take<int64_t>(from, blocks.rows * problem.r);
  scratch.met = take<Run>(from, blocks.rows);
  scratch.bytes = from.used;
  return scratch;
}
template <class T>
Sizes channel_sizes(const Problem& problem) {
  const ChannelBlocks blocks = channel_blocks_of<T>(problem);
  const int64_t taps = blocks.channels * problem.r * problem.s;
  return {problem.groups * channel_filters<T>(blocks) * taps * int64_t(sizeof(T)), 0,
          channel_scratch<T>(problem, blocks, nullptr).bytes};
}
template <class T>
int64_t channel_items(const Problem& problem, int64_t) {
  return channel_items_of(problem, channel_blocks_of<T>(problem));
}

struct ChannelItem {
  int64_t group, filter_block, place;  // place: which block of outputs
  BandBlock block;
};
CK_INLINE ChannelItem channel_item(const Problem& problem, const ChannelBlocks& blocks,
                                   int64_t index) {
  ChannelItem item{};
  const int64_t places = blocks.row_blocks * blocks.column_blocks;
  const int64_t of_group = places * blocks.filter_blocks;
  item.group = index / of_group;
  index %= of_group;
  item.place = blocks.weights_stay ? index % places : index / blocks.filter_blocks;
  item.filter_block = blocks.weights_stay ? index / places : index % blocks.filter_blocks;
  const int64_t row = item.place / blocks.column_blocks;
  const int64_t column = item.place % blocks.column_blocks;
  item.block.first_row = row * blocks.rows;
  item.block.rows = lesser(blocks.rows, problem.p - item.block.first_row);
  item.block.first_column = column * blocks.columns;
  item.block.columns = lesser(blocks.columns, problem.q - item.block.first_column);
  return item;
}
// Channels begin .. end of the rows that a block of outputs reads.
template <class T>
CK_INLINE Fetch fetch_channels(const Problem& problem, const ChannelItem& item,
                               const Operands& operands, int64_t begin, int64_t end,
                               int64_t tiles) {
  Fetch fetch{};
  const BandBlock& block = item.block;
  const int64_t size = int64_t(sizeof(T));
  const int64_t first = greater(0, block.first_row * problem.stride_h - problem.pad_top);
  const int64_t last =
      lesser(problem.h - 1, (block.first_row + block.rows - 1) * problem.stride_h -
                                problem.pad_top + (problem.r - 1) * problem.dilation_h);
  if (last < first || problem.x.h <= 0 || problem.x.w <= 0 || problem.x.c < 0) return fetch;
  begin /= problem.block;
  fetch.from =
      static_cast<const char*>(operands.x) + (begin * problem.x.c + first * problem.x.h) * size;
  fetch.spans = ceil_div(end, problem.block) - begin;
  fetch.span_step = problem.x.c * size;
  fetch.cut(((last - first) * problem.x.h + problem.w * problem.x.w) * size, tiles / fetch.spans);
  return fetch;
}

template <class T>
void channel_run(const Problem& problem, int64_t, int64_t begin, int64_t end,
                 const Operands& operands) {
  const ChannelBlocks blocks = channel_blocks_of<T>(problem);
  const ChannelScratch<T> scratch = channel_scratch<T>(problem, blocks, operands.scratch);
  const int64_t taps = blocks.channels * problem.r * problem.s;
  const int64_t step = problem.stride_w * problem.x.w;
  const int64_t most = wide_tiles<T>(problem) ? kTilePixels : kFreePixels;
  ChannelItem listed{};
  listed.place = -1;
  for (int64_t index = begin; index < end; ++index) {
    const ChannelItem item = channel_item(problem, blocks, index);
    const BandBlock& block = item.block;
    if (block.rows <= 0 || block.columns <= 0) continue;
    const int64_t width = channel_width<T>(blocks, item.filter_block);
    const int64_t tiles = ceil_div(block.columns, most);
    // Tiles are even; the first `wider` of them have one pixel more.
    const int64_t pixels = block.columns / tiles, wider = block.columns % tiles;
    const auto count_of = [&](int64_t tile) { return pixels + (tile < wider); };
    const auto tile_for = [&](int64_t count) {
      return width > kLanes<T> ? add_channels_for<T, 2>(count, step)
                               : add_channels_for<T, 1>(count, step);
    };
    const AddChannels<T> wide = tile_for(count_of(0)), narrow = tile_for(pixels);
    if (listed.place < 0 || listed.block.first_column != block.first_column) {
      int64_t* to = scratch.columns;
      for (int64_t tile = 0, first = block.first_column; tile < tiles; ++tile) {
        const int64_t count = count_of(tile);
        for (int64_t s = 0; s < problem.s; ++s, to += kColumnEntry) {
          to[kAddresses] = 0;
          for (int i = 0; i < kAddresses; ++i) {
            const int64_t pixel = count <= kAddresses || i <= kEnds ? i : i + count - kAddresses;
            const int64_t column =
                source_column(problem, (first + pixel) * problem.stride_w - problem.pad_left +
                                           s * problem.dilation_w);
            const bool inside = pixel < count && column >= 0;
            to[i] = inside ? column * problem.x.w : 0;
            to[kAddresses] |= int64_t(!inside) << i;
          }
        }
        first += count;
      }
    }
    for (int64_t i = 0; i < block.rows; ++i) {
      const int64_t top = (block.first_row + i) * problem.stride_h - problem.pad_top;
      Run met{0, 0};
      for (int64_t r = 0; r < problem.r; ++r) {
        const int64_t row = source_row(problem, top + r * problem.dilation_h);
        scratch.rows[i * problem.r + r] = row * problem.x.h;
        if (row >= 0 && met.taps++ == 0) met.first = r;
      }
      scratch.met[i] = met;
    }
    const bool fresh = listed.place != item.place || listed.group != item.group;
    listed = item;
    const T* w = static_cast<const T*>(operands.packed) +
                 (item.group * channel_filters<T>(blocks) + item.filter_block * kFilters<T>)*taps;
    const int64_t start = item.group * blocks.channels;
    const int64_t turns = block.rows * tiles;
    const int64_t first = item.filter_block * kFilters<T>, filters = problem.k / problem.groups;
    const Finished<T> done = {
        scratch.sums, width, item.group * filters + first, lesser(width, filters - first),
        &block,       1};
    const bool vectors = problem.y_layout == kNchwc && vectors_fit<T>(problem);
    BlockExit<T> exit;
    if (vectors) exit = block_exit<T>(problem, operands, done.first);
    const auto put = width > kLanes<T> ? put_vectors<T, 2> : put_vectors<T, 1>;
    each_part(problem, blocks,
              [&](int64_t c0, int64_t c1, int64_t r0, int64_t r1, int64_t s0,
                  int64_t s1) __attribute__((always_inline)) {
                const int64_t row_taps = s1 - s0, part_taps = (c1 - c0) * (r1 - r0) * row_taps;
                Fetch fetch{};
                if (c1 < blocks.channels) {
                  if (fresh && r0 == 0 && s0 == 0)
                    fetch = fetch_channels<T>(problem, item, operands, start + c1,
                                              start + lesser(c1 + c1 - c0, blocks.channels), turns);
                } else if (index + 1 < end) {
                  const ChannelItem next = channel_item(problem, blocks, index + 1);
                  const int64_t from = next.group * blocks.channels;
                  if (next.place != item.place || next.group != item.group)
                    fetch = fetch_channels<T>(problem, next, operands, from,
                                              from + lesser(blocks.part.channels, blocks.channels),
                                              turns);
                }
                ChannelTile<T> tile{};
                tile.x = static_cast<const T*>(operands.x);
                tile.w = w;
                tile.begin = start + c0;
                tile.end = start + c1;
                tile.column_count = row_taps;
                tile.block = problem.block;
                tile.block_step = problem.x.c;
                const bool last = c1 == blocks.channels && r1 == problem.r && s1 == problem.s;
                tile.first = c0 == 0 && r0 == 0 && s0 == 0;
                const char* const ahead = reinterpret_cast<const char*>(w + part_taps * width);
                const int64_t ahead_lines = part_taps * width * int64_t(sizeof(T)) / kCacheLine;
                int64_t turn = 0;
                const int64_t runs = ceil_div(c1 - c0, lesser(problem.block, kChannelRun));
                // Down the rows of a column of tiles, which share most of their pixels.
                for (int64_t j = 0, column = 0; j < tiles; column += count_of(j++))
                  for (int64_t i = 0; i < block.rows; ++i) {
                    const int64_t from = greater(r0, scratch.met[i].first);
                    const int64_t to =
                        greater(from, lesser(r1, scratch.met[i].first + scratch.met[i].taps));
                    tile.rows = scratch.rows + i * problem.r + from;
                    tile.row_count = to - from;
                    tile.w_before = (from - r0) * row_taps * width;
                    tile.w_after = (r1 - to) * row_taps * width;
                    tile.columns = scratch.columns + (j * problem.s + s0) * kColumnEntry;
                    tile.sums = scratch.sums + (i * block.columns + column) * width;
                    const int64_t fetches = greater(1, runs * tile.row_count * row_taps);
                    const Piece piece = next_piece(fetch, w);
                    tile.next_x = piece.from;
                    tile.next_x_lines = ceil_div(ceil_div(piece.bytes, kCacheLine), fetches);
                    const int64_t line = ahead_lines * turn / turns;
                    tile.ahead = ahead + line * kCacheLine;
                    tile.ahead_lines = ceil_div(ahead_lines * ++turn / turns - line, fetches);
                    (j < wider ? wide : narrow)(tile);
                    if (last && vectors)
                      put(problem, exit, tile.sums, block.first_row + i,
                          block.first_column + column, count_of(j));
                  }
                w += part_taps * width;
              });
    if (problem.y_layout == kNchw)
      put_planes(problem, operands, done, scratch.lines, scratch.line);
    else if (!vectors)
      put_lanes(problem, operands, done);
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
