// How direct convolution cuts its work: blocks of outputs, their bands, parts of the sum.
#pragma once
#include "band.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {

constexpr int64_t kDepth = 256;
constexpr int64_t kCacheLine = 64;
constexpr int64_t kSharedWeights = 4 << 20;
constexpr int64_t kBandBytes = 768 << 10;  // a band with one part's weights fits an L2 of 1 MiB

// A part of the sum: channels x filter rows x filter columns, at most these many each. In order:
// channels outermost, so that a part reads few channels of the band; inside a part the filter rows,
// so that those in the padding are its head or tail.
struct Part {
  int64_t channels, r, s;
};
CK_INLINE Part part_of(const Problem& problem) {
  const int64_t s = lesser(problem.s, kDepth);
  const int64_t r = s < problem.s ? 1 : lesser(problem.r, kDepth / s);
  const int64_t most = r < problem.r || s < problem.s ? 1 : kDepth / (r * s);
  const int64_t channels = problem.c / problem.groups;
  return {ceil_div(channels, ceil_div(channels, most)), r, s};
}

CK_INLINE int64_t whole_blocks(const Problem& problem, int64_t channels) {
  return ceil_div(channels, problem.block) * problem.block;
}
// Filters that are computed for a group: where y is in blocks, those that fill up the last one too.
CK_INLINE int64_t filters_of_group(const Problem& problem) {
  const int64_t filters = problem.k / problem.groups;
  return problem.y_layout == kNchwc && problem.groups == 1 ? whole_blocks(problem, filters)
                                                           : filters;
}

struct Blocks {
  int64_t channels, filters;  // of a group
  int64_t filter_blocks;      // of a group
  int64_t band_channels;  // channels in the band at a time: all, unless they take too much memory
  Part part;
  Band band;
};
// Blocks of rows x columns at most, less where the band would be large. Fewer columns first: that
// costs least.
template <class T>
CK_INLINE Blocks blocks_of(const Problem& problem, int64_t filters_per_block, int64_t rows,
                           int64_t least_rows, int64_t columns, int64_t least_columns,
                           bool weights_stay = false) {
  Blocks blocks{};
  blocks.channels = problem.c / problem.groups;
  blocks.filters = filters_of_group(problem);
  blocks.filter_blocks = ceil_div(blocks.filters, filters_per_block);
  blocks.part = part_of(problem);
  const int64_t most = kBandBytes / int64_t(sizeof(T));
  blocks.band = band_of(problem, rows, columns);
  while (blocks.band.channel * blocks.channels > most && blocks.band.columns > least_columns)
    blocks.band = band_of(problem, rows, greater(blocks.band.columns / 2, least_columns));
  while (blocks.band.channel * blocks.channels > most && blocks.band.rows > least_rows)
    blocks.band = band_of(problem, greater(blocks.band.rows / 2, least_rows), blocks.band.columns);
  const Band& band = blocks.band;
  const int64_t others = problem.groups * blocks.filter_blocks * band.column_blocks * band.classes;
  // Lower blocks where 16 threads, 32 in a large layer, would have too little to do, or one of them
  // an item more than most. Not under three rows, nor where the weights, which every block reads,
  // come from L3.
  const int64_t weights = problem.k * blocks.channels * problem.r * problem.s;
  const bool large = weights * problem.p * problem.q >= 100'000'000;
  const int64_t threads =
      large && (weights_stay || weights * int64_t(sizeof(T)) <= kSharedWeights) ? 32 : 16;
  const auto idle = [&](int64_t row_blocks) {
    const int64_t items = others * row_blocks, turns = ceil_div(items, threads);
    return turns * threads * 4 > items * 5;
  };
  for (int64_t rows = band.rows - 1; idle(band.row_blocks) && rows >= 3; --rows)
    if (ceil_div(band.class_rows, rows) > band.row_blocks)
      blocks.band = band_of(problem, rows, band.columns);
  const int64_t fit = most / (blocks.band.channel * blocks.part.channels) * blocks.part.channels;
  blocks.band_channels = lesser(blocks.channels, greater(fit, blocks.part.channels));
  return blocks;
}

CK_INLINE int64_t items_of(const Problem& problem, const Blocks& blocks) {
  const Band& band = blocks.band;
  return problem.groups * band.classes * band.row_blocks * band.column_blocks *
         blocks.filter_blocks;
}

// An item: one block of one group and its filters. Filters vary fastest, so that consecutive items
// share their band.
struct Item {
  int64_t group, filter_block, place;  // place: which block of which group
  BandBlock block;
};
CK_INLINE Item item_of(const Problem& problem, const Blocks& blocks, int64_t index) {
  Item item{};
  const Band& band = blocks.band;
  item.filter_block = index % blocks.filter_blocks;
  item.place = index /= blocks.filter_blocks;
  const int64_t column_block = index % band.column_blocks;
  index /= band.column_blocks;
  const int64_t row_block = index % band.row_blocks;
  index /= band.row_blocks;
  item.block = band_block(problem, band, index % band.classes, row_block, column_block);
  item.group = index / band.classes;
  return item;
}
// Calls body(tap, c, r, s) for every tap of a group in the order of the parts.
template <class Body>
CK_INLINE void each_tap(const Problem& problem, const Blocks& blocks, Body body) {
  const Part& part = blocks.part;
  int64_t tap = 0;
  for (int64_t c0 = 0; c0 < blocks.channels; c0 += part.channels)
    for (int64_t r0 = 0; r0 < problem.r; r0 += part.r)
      for (int64_t s0 = 0; s0 < problem.s; s0 += part.s)
        for (int64_t r = r0; r < lesser(r0 + part.r, problem.r); ++r)
          for (int64_t c = c0; c < lesser(c0 + part.channels, blocks.channels); ++c)
            for (int64_t s = s0; s < lesser(s0 + part.s, problem.s); ++s) body(tap++, c, r, s);
}
CK_INLINE int64_t tap_place(const Problem& problem, const Blocks& blocks, int64_t c, int64_t r,
                            int64_t s) {
  return c % blocks.band_channels * blocks.band.channel + r * blocks.band.pitch +
         tap_column(problem, blocks.band, s);
}
template <class T>
CK_INLINE void fill(const Problem& problem, const Blocks& blocks, const Item& item,
                    const Operands& operands, int64_t channel, int64_t channels, T* to) {
  const T* x = static_cast<const T*>(operands.x);
  const int64_t first = item.group * blocks.channels + channel;
  int64_t c = 0;
  if constexpr (sizeof(T) == 4)
    while (problem.x.c == 1 && c + 4 <= channels) {
      const int64_t quads = lesser(kCacheLine / 16, (channels - c) / 4);
      fill_quads(problem, blocks.band, item.block, x + first + c, quads,
                 to + c * blocks.band.channel);
      c += 4 * quads;
    }
  for (; c < channels; ++c)
    fill_band(problem, blocks.band, item.block, x, first + c, to + c * blocks.band.channel);
}

// The lines of x that the next fill will read, fetched into L2 piece by piece while tiles compute:
// from L3 a core reads 30 GB/s at best, and a fill that waits for it takes twice its time. A piece
// runs along the rows, which is what wakes the hardware's own prefetcher, and is spread over the
// taps of a tile, so that it never takes all of the buffers for missing lines.
struct Fetch {
  const char* from;
  int64_t spans, span_step;     // those left; a span: the rows of one channel, or of all of them
  int64_t pieces, piece_bytes;  // of a span
  int64_t next;                 // piece of the span
  int64_t pixel;                // not 0: distance of single lines, of which each is to be fetched
  void cut(int64_t span_bytes, int64_t into) {
    pieces = greater(1, into);
    piece_bytes = ceil_div(span_bytes, pieces);
  }
};
struct Piece {
  const char* from;
  int64_t bytes;
};
template <class T>
CK_INLINE Fetch fetch_x(const Problem& problem, const Blocks& blocks, const Item& item,
                        const Operands& operands, int64_t channel, int64_t channels,
                        int64_t tiles) {
  const BandBlock& block = item.block;
  Fetch fetch{};
  if (block.begin >= block.end || problem.x.w != 1 || problem.x.h < 0 || problem.x.c < 0)
    return fetch;
  const Band& band = blocks.band;
  const int64_t size = int64_t(sizeof(T));
  // Rows of other padding modes come from elsewhere in the image; those are few.
  const int64_t first = greater(0, band_source_row(problem, band, block, block.begin));
  const int64_t last = lesser(problem.h - 1, band_source_row(problem, band, block, block.end - 1));
  if (last < first || problem.x.h > 2 * problem.w) return fetch;
  fetch.from =
      static_cast<const char*>(operands.x) +
      ((item.group * blocks.channels + channel) * problem.x.c + first * problem.x.h) * size;
  fetch.spans = channels;
  fetch.span_step = problem.x.c * size;
  int64_t bytes = ((last - first) * problem.x.h + problem.w) * size;
  if (bytes * 5 > fetch.span_step * 4) {
    bytes += (channels - 1) * fetch.span_step;
    fetch.spans = 1;
  }
  fetch.cut(bytes, tiles / fetch.spans);
  return fetch;
}
// The same where channels stand side by side: a line of every pixel, `lines` of them in a piece.
template <class T>
CK_INLINE Fetch fetch_pixels(const Problem& problem, const Blocks& blocks, const Item& item,
                             const Operands& operands, int64_t lines) {
  const BandBlock& block = item.block;
  Fetch fetch{};
  if (block.begin >= block.end || problem.x.w <= 0 || problem.x.h != problem.w * problem.x.w)
    return fetch;
  const Band& band = blocks.band;
  const int64_t size = int64_t(sizeof(T));
  const int64_t first = greater(0, band_source_row(problem, band, block, block.begin));
  const int64_t last = lesser(problem.h - 1, band_source_row(problem, band, block, block.end - 1));
  if (last < first) return fetch;
  fetch.from = static_cast<const char*>(operands.x) +
               (item.group * blocks.channels + first * problem.x.h) * size;
  fetch.pixel = problem.x.w * size;
  fetch.spans = 1;
  fetch.pieces = ceil_div((last - first + 1) * problem.w, lines);
  fetch.piece_bytes = lines * fetch.pixel;
  return fetch;
}
// The same for the lines of y that an item of filters first .. first + count will store.
template <class T>
CK_INLINE Fetch fetch_y(const Problem& problem, const BandBlock& block, int64_t spacing,
                        const Operands& operands, int64_t first, int64_t count, int64_t tiles) {
  Fetch fetch{};
  if (problem.y.w != 1 || problem.y.h < 0 || problem.y.c < 0 || problem.y.h > 2 * problem.q)
    return fetch;
  const int64_t size = int64_t(sizeof(T));
  fetch.from = static_cast<const char*>(operands.y) +
               (first * problem.y.c + block.first_row * problem.y.h + block.first_column) * size;
  fetch.spans = count;
  fetch.span_step = problem.y.c * size;
  fetch.cut(((block.rows - 1) * spacing * problem.y.h + block.columns) * size, tiles / fetch.spans);
  return fetch;
}
// Nothing is left: the same line of `idle` again and again. Without a division: this stands between
// tiles of a few hundred cycles.
CK_INLINE Piece next_piece(Fetch& fetch, const void* idle) {
  if (fetch.spans <= 0) return {static_cast<const char*>(idle), 0};
  const Piece piece = {fetch.from + fetch.next * fetch.piece_bytes, fetch.piece_bytes};
  if (++fetch.next == fetch.pieces) {
    fetch.next = 0;
    fetch.from += fetch.span_step;
    --fetch.spans;
  }
  return piece;
}

// `fill` for kernels that read vectors of pixels. The last one of a row reads on, into what no
// stored lane depends on: zeros where nothing was filled, since what scratch happens to hold may be
// denormal numbers, each of which costs the FMA units a hundred cycles. `to` has a vector more than
// the channels.
template <class T>
CK_INLINE void fill_vectors(const Problem& problem, const Blocks& blocks, const Item& item,
                            const Operands& operands, int64_t channel, int64_t channels, T* to) {
  const Band& band = blocks.band;
  const int64_t before = item.block.begin * band.pitch, after = item.block.end * band.pitch;
  for (int64_t c = 0; c < channels; ++c) {
    T* of = to + c * band.channel;
    store_first(of, lesser(before, kLanes<T>), Vec<T>{});
    store_first(of + after, lesser(greater(0, band.channel - after), kLanes<T>), Vec<T>{});
  }
  store(to + channels * band.channel, Vec<T>{});
  fill(problem, blocks, item, operands, channel, channels, to);
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
