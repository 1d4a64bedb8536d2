// The variant of a 1x1 convolution between blocks of channels (nchwc): filters fill the vectors, x
// is broadcast from where it lies.
//
//   sum[i][v] += x[block][pixel + i][channel] w[panel][block, channel][v lanes ..]
//
// A tile of pixels is a run of memory in every block of channels, so nothing is packed or turned: x
// is read in place where its pixels follow each other, and copied pixel by pixel, block by block
// only where a stride, padding or a foreign block parts them. Per multiply-add a tile moves less
// than any other layout: 14 x 2 sums read two vectors of weights and one line of x in 14 cycles, so
// both may come from the second level of cache.
//
// Panels of filters come outermost in a block of pixels that stays in that cache. Lines are fetched
// a step before they are needed: the next tile's of x, an equal share of the next panel's of
// weights, and y's own, which a store would else wait for.
#pragma once
#include "arena.h"
#include "pointwise_product.h"

namespace convkit {
namespace CONVKIT_ISA {

// Sums in registers: 14 x 2 of 32, 6 x 2 of 16, 4 x 2 where a product needs a register, too.
constexpr int kBlockRows = kRegisters == 32 ? 14 : kFma ? 6 : 4;
constexpr int kBlockVecs = 2;
// Channels of one pass over the tiles: their weights stay in the first level of cache, and a chain
// of additions stays short.
constexpr int64_t kBlockDepth = kPartial;
// Bytes of x that stay in the second level of cache, beside weights that do and beside those that
// only pass through it, being more than kPassing.
constexpr int64_t kBlockX = 512 << 10, kBlockXAlone = 768 << 10, kPassing = 1 << 20;
constexpr int64_t kLineBytes = 64;

// Parts of a few tiles of pixels, blocks of parts. An item is a part of a panel; items run over the
// parts of a block, then its panels, then the blocks.
struct BlockGrid {
  int64_t pixels, depths;       // depths: vectors of channels
  int64_t vecs, panels;         // of filters, those past the last one in its block included
  int64_t parts, blocks, room;  // room: pixels of the largest block
};
template <class T>
CK_INLINE BlockGrid block_grid(const Problem& problem) {
  constexpr int64_t item_work = 1 << 17;  // multiply-adds: hides what handing out an item costs
  BlockGrid grid;
  grid.pixels = problem.p * problem.q;
  grid.depths = (problem.c + kLanes<T> - 1) / kLanes<T>;
  grid.vecs = (problem.k + problem.block - 1) / problem.block * (problem.block / kLanes<T>);
  grid.panels = (grid.vecs + kBlockVecs - 1) / kBlockVecs;
  const int64_t tile_work = problem.c * kBlockRows * kBlockVecs * kLanes<T>;
  const int64_t tiles = tile_work > item_work ? 1 : item_work / tile_work;
  grid.parts = (grid.pixels + tiles * kBlockRows - 1) / (tiles * kBlockRows);
  const int64_t pixel_bytes = grid.depths * kVectorBytes,
                part_bytes = (grid.pixels + grid.parts - 1) / grid.parts * pixel_bytes;
  const int64_t weights = problem.c * grid.vecs * kVectorBytes,
                stays = weights > kPassing ? kBlockXAlone : kBlockX;
  const int64_t most = part_bytes > stays ? 1 : stays / part_bytes;
  grid.blocks = (grid.parts + most - 1) / most;
  // Blocks read all weights again, panels would read all pixels: whichever is less.
  if (weights > kPassing &&
      weights * (grid.blocks - 1) > grid.parts * part_bytes * (grid.panels - 1))
    grid.blocks = 1;
  const int64_t parts = (grid.parts + grid.blocks - 1) / grid.blocks;
  grid.room = (grid.pixels * parts + grid.parts - 1) / grid.parts + 1;
  return grid;
}
template <class T>
CK_INLINE int64_t panel_vecs(const BlockGrid& grid, int64_t panel) {
  const int64_t left = grid.vecs - panel * kBlockVecs;
  return left < kBlockVecs ? left : kBlockVecs;
}
template <class T>
struct BlockParts {
  T* copy;    // [vector of channels][pixel][lane] of a block of pixels
  T* totals;  // [pixel][vector of the panel]: sums over the channels so far
  int64_t bytes;
};
template <class T>
CK_INLINE BlockParts<T> block_parts(const Problem& problem, void* base) {
  const BlockGrid grid = block_grid<T>(problem);
  Arena from = arena(base);
  BlockParts<T> parts{};
  parts.copy = take<T>(from, grid.depths * kLanes<T> * grid.room);
  parts.totals = take<T>(from, problem.c > kBlockDepth ? grid.room * kBlockVecs * kLanes<T> : 0);
  parts.bytes = from.used;
  return parts;
}
template <class T>
CK_NOINLINE Sizes block_sizes(const Problem& problem) {
  Arena packed = arena(nullptr);
  take<T>(packed, block_grid<T>(problem).vecs * kLanes<T> * problem.c);
  return {packed.used, 0, block_parts<T>(problem, nullptr).bytes};
}
template <class T>
CK_NOINLINE int64_t block_items(const Problem& problem, int64_t) {
  const BlockGrid grid = block_grid<T>(problem);
  return grid.parts * grid.panels;
}
template <class T>
CK_INLINE bool whole_vectors(const Problem& problem) {
  return problem.block > 0 && problem.block % kLanes<T> == 0;
}
// packed[panel][c][filter of the panel], missing filters zero.
template <class T>
CK_NOINLINE void block_prepare(const Problem& problem, const void* w, void* packed) {
  const BlockGrid grid = block_grid<T>(problem);
  const T* from = static_cast<const T*>(w);
  T* to = static_cast<T*>(packed);
  for (int64_t panel = 0; panel < grid.panels; ++panel) {
    const int64_t first = panel * kBlockVecs * kLanes<T>,
                  filters = panel_vecs<T>(grid, panel) * kLanes<T>;
    for (int64_t c = 0; c < problem.c; ++c)
      for (int64_t k = first; k < first + filters; ++k)
        *to++ = k < problem.k ? from[k * problem.c + c] : T(0);
  }
}

// ---- a tile ----------------------------------------------------------------------------------

// Where a panel's sums go.
template <class T>
struct BlockTarget {
  const Problem& problem;
  const Epilogue& epilogue;
  Bounds<T> bounds;
  bool flat;    // pixels follow one another in y and in the residual
  bool plain;   // sums go from registers to memory
  bool masked;  // the panel has lanes past the last filter: they hold zero
  Vec<T> bias[kBlockVecs];
  typename SimdType<T>::index kept[kBlockVecs];
  T* y[kBlockVecs];  // of pixel 0
  const T* residual[kBlockVecs];
};
// A tile: pixels [pixel, pixel + kRows) and `depth` channels of them, at a in the first vector of
// channels. `fetch` moves by fetch_step bytes with every channel, x_ahead says where the next
// tile's pixels are, if they are to be fetched.
template <class T>
struct BlockTile {
  const T* a;
  int64_t a_block;  // from one vector of channels to the next
  const T* b;
  int64_t depth, pixel;
  bool first, last;  // of the channels
  T* totals;         // [pixel][v]: sums over the channels before
  const char* fetch;
  int64_t fetch_step, x_ahead, x_step;
};

template <class T, int kRows, int kVecs>
CK_INLINE void block_product(BlockTile<T>& of, const BlockTarget<T>& to,
                             Vec<T> (&sum)[kRows][kVecs]) {
  const T *block = of.a, *b = of.b, *a, *x;
  const char* fetch = of.fetch;
  const int64_t depth = of.depth, x_step = of.x_step;
  // Pixels whose lines are fetched with one channel, so that a vector of channels is enough.
  constexpr int kAtOnce = (kRows + kLanes<T> - 1) / kLanes<T>;
  const auto one_depth = [&]() __attribute__((always_inline)) {
    __builtin_prefetch(fetch, 0, 2);
    fetch += of.fetch_step;
    CK_UNROLL(4)
    for (int j = 0; j < kAtOnce; ++j, x += x_step) __builtin_prefetch(x, 0, 3);
    Vec<T> right[kVecs];
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) right[v] = load(b + v * kLanes<T>);
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> left = splat(a[i * kLanes<T>]);
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) sum[i][v] += left * right[v];
    }
    b += kVecs * kLanes<T>;
    ++a;
  };
  CK_UNROLL(32)
  for (int i = 0; i < kRows; ++i) {
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) sum[i][v] = of.first ? to.bias[v] : Vec<T>{};
  }
  int64_t done = 0;
  // Lines of y one by one: all at once they hold every buffer for lines that come, which x and the
  // weights need, too.
  const auto first_vector = [&](auto more) __attribute__((always_inline)) {
    const T *y[kVecs], *residual[kVecs];
    const int64_t y_step = to.problem.y.w, residual_step = to.problem.residual.w;
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) {
      y[v] = to.y[v] + of.pixel * y_step;
      residual[v] = more.value ? to.residual[v] + of.pixel * residual_step : nullptr;
    }
    a = block;
    x = a + of.x_ahead;
    const int64_t stop = depth < kLanes<T> ? depth : kLanes<T>;
    for (; done < stop; ++done) {
      CK_UNROLL(4)
      for (int j = 0; j < kAtOnce; ++j) {
        CK_UNROLL(8)
        for (int v = 0; v < kVecs; ++v) {
          __builtin_prefetch(y[v], 1, 3);
          y[v] += y_step;
          if constexpr (more.value) {
            __builtin_prefetch(residual[v], 0, 3);
            residual[v] += residual_step;
          }
        }
      }
      one_depth();
    }
    block += of.a_block;
  };
  if (of.last) to.residual[0] ? first_vector(std::true_type{}) : first_vector(std::false_type{});
  for (; done < depth; block += of.a_block) {
    a = block;
    x = a + of.x_ahead;
    const int64_t stop = done + kLanes<T> < depth ? done + kLanes<T> : depth;
    if (of.fetch_step > kLineBytes) {  // one tile only: it reads two lines with each channel
      for (; done < stop; ++done) {
        __builtin_prefetch(fetch + kLineBytes, 0, 2);
        one_depth();
      }
    }
    CK_UNROLL(4)
    for (; done < stop; ++done) one_depth();
  }
  of.fetch = fetch;
  if (!of.first) {
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) sum[i][v] += load(of.totals + (i * kVecs + v) * kLanes<T>);
    }
  }
}

// Sums of `count` pixels that lie in `rows`: what is not plain.
template <class T, int kVecs>
CK_NOINLINE void put_blocks(const BlockTarget<T>& to, int64_t pixel, int64_t count, T* rows) {
  const Problem& problem = to.problem;
  const bool flat = to.flat;
  const auto place = [&](const Strides& strides, int64_t i) __attribute__((always_inline)) {
    if (flat) return (pixel + i) * strides.w;
    return (pixel + i) / problem.q * strides.h + (pixel + i) % problem.q * strides.w;
  };
  if (to.residual[0])
    for (int64_t i = 0; i < count; ++i)
      for (int v = 0; v < kVecs; ++v) {
        T* const at = rows + (i * kVecs + v) * kLanes<T>;
        store(at, load(at) + load(to.residual[v] + place(problem.residual, i)));
      }
  activate_values(to.epilogue, rows, count * kVecs * kLanes<T>);
  for (int64_t i = 0; i < count; ++i)
    for (int v = 0; v < kVecs; ++v) {
      const Vec<T> value = load(rows + (i * kVecs + v) * kLanes<T>);
      store(to.y[v] + place(problem.y, i), to.kept[v] ? value : Vec<T>{});
    }
}

template <class T, int kRows, int kVecs>
CK_NOINLINE void block_tile(BlockTile<T>& of, const BlockTarget<T>& to) {
  Vec<T> sum[kRows][kVecs];
  block_product<T, kRows, kVecs>(of, to, sum);
  if (!of.last || !to.plain) {
    alignas(kVectorBytes) T rows[kRows * kVecs * kLanes<T>];
    T* const keep = of.last ? rows : of.totals;
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) store(keep + (i * kVecs + v) * kLanes<T>, sum[i][v]);
    }
    if (of.last) put_blocks<T, kVecs>(to, of.pixel, kRows, rows);
    return;
  }
  // Copies: a store to y might change what `to` points to.
  const Vec<T> low = splat(to.bounds.low), high = splat(to.bounds.high);
  const int64_t y_step = to.problem.y.w, residual_step = to.problem.residual.w;
  const auto finish = [&](auto more, auto masked) __attribute__((always_inline)) {
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) {
      T* y = to.y[v] + of.pixel * y_step;
      const T* residual = more.value ? to.residual[v] + of.pixel * residual_step : nullptr;
      const typename SimdType<T>::index kept = to.kept[v];
      CK_UNROLL(32)
      for (int i = 0; i < kRows; ++i) {
        Vec<T> value = sum[i][v];
        if constexpr (more.value) {
          value += load(residual);
          residual += residual_step;
        }
        value = bounded<T>(low, high, value);
        if constexpr (masked.value) value = kept ? value : Vec<T>{};
        store(y, value);
        y += y_step;
      }
    }
  };
  const std::true_type yes;
  const std::false_type no;
  if (to.residual[0]) return finish(yes, yes);
  to.masked ? finish(no, yes) : finish(no, no);
}

// The largest tile of at most `rows` pixels that there is. Even shares of an image have more than
// half of kBlockRows; fewer come only where the image has no more.
CK_INLINE int64_t block_rows(int64_t rows) {
  return rows >= (kBlockRows + 1) / 2 ? rows : rows >= 4 ? 4 : rows >= 2 ? 2 : rows;
}
template <class T, int kVecs, int kRows = kBlockRows>
CK_INLINE void block_tile_of(int64_t rows, BlockTile<T>& of, const BlockTarget<T>& to) {
  if (rows == kRows) return block_tile<T, kRows, kVecs>(of, to);
  if constexpr (kRows > 1) {
    constexpr int kNext = kRows > (kBlockRows + 1) / 2 ? kRows - 1
                          : kRows > 4                  ? 4
                          : kRows > 2                  ? 2
                                                       : 1;
    block_tile_of<T, kVecs, kNext>(rows, of, to);
  }
}

// ---- the image -------------------------------------------------------------------------------

// Whether pixel i of a vector of channels stands at x + i lanes.
template <class T>
CK_INLINE bool blocks_in_place(const Problem& problem) {
  return problem.block == kLanes<T> && problem.x.w == kLanes<T> && problem.stride_h == 1 &&
         problem.stride_w == 1 && problem.p == problem.h && problem.q == problem.w &&
         rows_follow(problem, problem.x);
}
// to[vector of channels][pixel][lane] = pixels [first, first + count) of x. Vector by vector, so
// that reads run along the rows; a stride keeps the hardware from seeing them come, so that each
// row fetches the next one.
template <class T>
CK_NOINLINE void copy_blocks(const Problem& problem, const BlockGrid& grid, const T* x,
                             int64_t first, int64_t count, T* to) {
  const bool padded = !unpadded(problem);
  const int64_t step = problem.stride_w * problem.x.w, row_step = problem.stride_h * problem.x.h;
  for (int64_t v = 0; v < grid.depths; ++v, to += (grid.room - count) * kLanes<T>) {
    const int64_t c = v * kLanes<T>;
    const T* const from = x + c / problem.block * problem.x.c + c % problem.block;
    int64_t p = first / problem.q, q = first % problem.q;
    for (int64_t left = count; left > 0; ++p, q = 0) {
      const int64_t run = problem.q - q < left ? problem.q - q : left;
      left -= run;
      if (!padded) {
        const T* at = from + p * row_step + q * step;
        for (int64_t i = 0; i < run; ++i, to += kLanes<T>, at += step) {
          __builtin_prefetch(at + 2 * row_step, 0, 3);
          store(to, load(at));
        }
        continue;
      }
      const int64_t row = source_row(problem, p * problem.stride_h - problem.pad_top);
      for (int64_t i = 0; i < run; ++i, to += kLanes<T>) {
        const int64_t column =
            source_column(problem, (q + i) * problem.stride_w - problem.pad_left);
        store(to, row >= 0 && column >= 0 ? load(from + row * problem.x.h + column * problem.x.w)
                                          : Vec<T>{});
      }
    }
  }
}

template <class T>
CK_INLINE BlockTarget<T> block_target(const Problem& problem, const Operands& operands,
                                      int64_t first_vec, int64_t vecs) {
  BlockTarget<T> to{
      problem, operands.epilogue, bounds_of<T>(operands.epilogue), false, false, false, {}, {}, {},
      {}};
  to.masked = (first_vec + vecs) * kLanes<T> > problem.k;
  to.flat = flat_output(problem, operands);
  to.plain = to.flat && to.bounds.any;
  for (int64_t v = 0; v < vecs; ++v) {
    const int64_t filter = (first_vec + v) * kLanes<T>;
    const int64_t block = filter / problem.block, lane = filter % problem.block;
    to.y[v] = static_cast<T*>(operands.y) + block * problem.y.c + lane;
    const T* residual = static_cast<const T*>(operands.epilogue.residual);
    to.residual[v] = residual ? residual + block * problem.residual.c + lane : nullptr;
    alignas(kVectorBytes) T bias[kLanes<T>] = {};
    for (int64_t i = 0; i < kLanes<T>; ++i) {
      const bool inside = filter + i < problem.k;
      if (inside && operands.epilogue.bias)
        bias[i] = static_cast<const T*>(operands.epilogue.bias)[filter + i];
      to.kept[v][i] = inside ? -1 : 0;
    }
    to.bias[v] = load(bias);
  }
  return to;
}

// Pixels [from, to) of a panel. x: of pixel `from`.
template <class T>
CK_INLINE void block_panel(const Problem& problem, const BlockTarget<T>& target, const T* x,
                           int64_t x_block, bool cold, const T* weights, const T* weights_end,
                           int64_t vecs, int64_t from, int64_t to, T* totals) {
  const int64_t count = to - from, tiles = (count + kBlockRows - 1) / kBlockRows,
                most = (count + tiles - 1) / tiles;
  BlockTile<T> tile{};
  tile.a_block = x_block;
  tile.b = weights;
  tile.x_step = cold ? kLanes<T> : 0;
  tile.x_ahead = tile.x_step * most;
  for (int64_t c = 0; c < problem.c; c += kBlockDepth) {
    tile.depth = problem.c - c < kBlockDepth ? problem.c - c : kBlockDepth;
    tile.first = c == 0;
    tile.last = c + tile.depth == problem.c;
    // The next channels' weights, or the next panel's.
    const T* next = tile.b + tile.depth * vecs * kLanes<T>;
    const int64_t ahead = weights_end - next, room = kBlockDepth * kBlockVecs * kLanes<T>;
    const int64_t bytes = (ahead < room ? ahead : room) * int64_t(sizeof(T));
    tile.fetch = reinterpret_cast<const char*>(next);
    tile.fetch_step = (bytes + tiles * tile.depth - 1) / (tiles * tile.depth);
    const char* const fetched = tile.fetch + bytes;
    int64_t larger = count - (most - 1) * tiles;  // tiles of `most` pixels; the others have fewer
    tile.a = x + c / kLanes<T> * x_block;
    tile.totals = totals;
    tile.pixel = from;
    for (int64_t i = 0; i < tiles; ++i, --larger) {
      if (tile.fetch >= fetched) {
        tile.fetch = reinterpret_cast<const char*>(tile.b);
        tile.fetch_step = 0;
      }
      for (int64_t left = larger > 0 ? most : most - 1; left > 0;) {
        const int64_t rows = block_rows(left);
        vecs == 2 ? block_tile_of<T, 2>(rows, tile, target)
                  : block_tile_of<T, 1>(rows, tile, target);
        tile.pixel += rows;
        tile.a += rows * kLanes<T>;
        tile.totals += rows * vecs * kLanes<T>;
        left -= rows;
      }
    }
    tile.b = next;
  }
}

template <class T>
CK_NOINLINE void block_run(const Problem& problem, int64_t, int64_t begin, int64_t end,
                           const Operands& operands) {
  const BlockGrid grid = block_grid<T>(problem);
  const BlockParts<T> memory = block_parts<T>(problem, operands.scratch);
  const T *x = static_cast<const T*>(operands.x), *packed = static_cast<const T*>(operands.packed);
  const T* const packed_end = packed + grid.vecs * kLanes<T> * problem.c;
  const bool in_x = blocks_in_place<T>(problem);
  const auto first_part = [&](int64_t block) { return grid.parts * block / grid.blocks; };
  const auto first_pixel = [&](int64_t part) { return grid.pixels * part / grid.parts; };
  int64_t block = 0;
  for (int64_t item = begin; item < end;) {
    while (item >= first_part(block + 1) * grid.panels) ++block;
    const int64_t part_begin = first_part(block), parts = first_part(block + 1) - part_begin;
    const int64_t first_item = part_begin * grid.panels,
                  block_end = first_item + parts * grid.panels;
    const int64_t stop = end < block_end ? end : block_end;
    const int64_t origin = first_pixel(part_begin);
    if (!in_x)
      copy_blocks(problem, grid, x, origin, first_pixel(part_begin + parts) - origin, memory.copy);
    for (bool cold = in_x; item < stop; cold = false) {
      // What the range holds of one panel.
      const int64_t panel = (item - first_item) / parts, panel_begin = first_item + panel * parts;
      const int64_t last = stop < panel_begin + parts ? stop : panel_begin + parts;
      const int64_t from = first_pixel(part_begin + item - panel_begin),
                    to = first_pixel(part_begin + last - panel_begin);
      const int64_t vecs = panel_vecs<T>(grid, panel);
      block_panel<T>(problem, block_target<T>(problem, operands, panel * kBlockVecs, vecs),
                     in_x ? x + from * kLanes<T> : memory.copy + (from - origin) * kLanes<T>,
                     in_x ? problem.x.c : grid.room * kLanes<T>, cold,
                     packed + panel * kBlockVecs * kLanes<T> * problem.c, packed_end, vecs, from,
                     to, memory.totals);
      item = last;
    }
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
