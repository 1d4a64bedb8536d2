// The variant of a 1x1 convolution for few pixels: filters fill the vectors, a = pixels, b =
// filters.
#pragma once
#include "arena.h"
#include "kernel.h"
#include "pointwise_product.h"

namespace convkit {
namespace CONVKIT_ISA {

// Panels of kPanelVecs vectors of filters; parts of at most kPart pixels, split evenly into tiles
// of at most kPixels. An item is a part of a panel. All parts of a block of pixels meet a panel
// before the next panel comes, so that the weights pass once; a block stays in the second level of
// cache.
constexpr int kPixels = kRegisters == 32 ? 14 : kFma ? 6 : 4;
constexpr int kPanelVecs = 2;
constexpr int64_t kPart = kRegisters == 32 ? 28 : 24;
constexpr int64_t kBlockBytes = 512 << 10;
// Channels that all tiles of a part multiply before the next ones come, where there are more than
// kPartial: their weights and lines of x, each of which holds pixels of several tiles, stay in the
// first level of cache.
constexpr int64_t kFilterDepth = kRegisters == 32 ? 128 : kPartial;
template <class T>
constexpr int64_t kPanel = kPanelVecs * kLanes<T>;
// Pixels of a part with room for whole vectors.
template <class T>
constexpr int64_t kPartRoom = kPart + kLanes<T>;

struct FilterGrid {
  int64_t pixels, parts, blocks, panels;
  int64_t block_room;  // parts of the largest block
};
template <class T>
CK_INLINE FilterGrid filter_grid(const Problem& problem) {
  FilterGrid grid;
  grid.pixels = problem.p * problem.q;
  grid.parts = (grid.pixels + kPart - 1) / kPart;
  grid.panels = (problem.k + kPanel<T> - 1) / kPanel<T>;
  const int64_t part_bytes = problem.c * kPart * int64_t(sizeof(T));
  const int64_t most = kBlockBytes < part_bytes ? 1 : kBlockBytes / part_bytes;
  grid.blocks = (grid.parts + most - 1) / most;
  grid.block_room = (grid.parts + grid.blocks - 1) / grid.blocks;
  return grid;
}
template <class T>
struct FilterParts {
  T* copy;           // [part of the block][c][kPartRoom]
  T *sums, *turned;  // [pixel][filter of the panel]; [filter][pixel]
  int64_t bytes;
};
template <class T>
CK_INLINE FilterParts<T> filter_parts(const Problem& problem, void* base) {
  Arena from = arena(base);
  FilterParts<T> parts{};
  parts.copy = take<T>(from, filter_grid<T>(problem).block_room * problem.c * kPartRoom<T>);
  parts.sums = take<T>(from, kPartRoom<T> * kPanel<T>);
  parts.turned = take<T>(from, kPartRoom<T> * kPanel<T>);
  parts.bytes = from.used;
  return parts;
}
template <class T>
CK_NOINLINE Sizes filter_sizes(const Problem& problem) {
  Arena packed = arena(nullptr);
  take<T>(packed, filter_grid<T>(problem).panels * kPanel<T> * problem.c);
  return {packed.used, 0, filter_parts<T>(problem, nullptr).bytes};
}
template <class T>
CK_NOINLINE int64_t filter_items(const Problem& problem, int64_t) {
  const FilterGrid grid = filter_grid<T>(problem);
  return grid.parts * grid.panels;
}
// packed[panel][c][filter of the panel], missing filters zero.
template <class T>
CK_NOINLINE void filter_prepare(const Problem& problem, const void* w, void* packed) {
  const T* from = static_cast<const T*>(w);
  T* to = static_cast<T*>(packed);
  for (int64_t k = 0; k < problem.k; k += kPanel<T>)
    for (int64_t c = 0; c < problem.c; ++c)
      for (int64_t i = 0; i < kPanel<T>; ++i)
        *to++ = k + i < problem.k ? from[(k + i) * problem.c + c] : T(0);
}

template <class T, int kRows>
CK_NOINLINE void filter_tile(const Product<T>& of, bool first, T* sums) {
  Vec<T> sum[kRows][kPanelVecs];
  product<T, kRows, kPanelVecs, false>(of, nullptr, 0, sum);
  if (!first) {
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      CK_UNROLL(8)
      for (int v = 0; v < kPanelVecs; ++v)
        sum[i][v] += load(sums + (i * kPanelVecs + v) * kLanes<T>);
    }
  }
  CK_UNROLL(32)
  for (int i = 0; i < kRows; ++i) {
    CK_UNROLL(8)
    for (int v = 0; v < kPanelVecs; ++v) store(sums + (i * kPanelVecs + v) * kLanes<T>, sum[i][v]);
  }
}
template <class T, int kRows>
CK_INLINE void filter_tile_of(int64_t rows, const Product<T>& of, bool first, T* sums) {
  if (rows == kRows) return filter_tile<T, kRows>(of, first, sums);
  if constexpr (kRows > 1) filter_tile_of<T, kRows - 1>(rows, of, first, sums);
}
// Finishes and stores count pixels of up to kPanel filters, turned on the way from sums to y.
template <class T, bool kWhole>
CK_NOINLINE void store_turned(const Problem& problem, const Operands& operands,
                              const Bounds<T>& bounds, int64_t filter, int64_t filters,
                              int64_t first, int64_t count, const T* sums) {
  const T* biases = static_cast<const T*>(operands.epilogue.bias);
  const T* residual = static_cast<const T*>(operands.epilogue.residual);
  const Vec<T> low = splat(bounds.low), high = splat(bounds.high);
  for (int64_t k = 0; k < filters; k += kLanes<T>)
    for (int64_t i = 0; i < count; i += kLanes<T>) {
      Vec<T> a[kLanes<T>];
      CK_UNROLL(16)
      for (int j = 0; j < kLanes<T>; ++j) a[j] = load(sums + (i + j) * kPanel<T> + k);
      transpose<T>(a);
      const int64_t left = count - i;
      T* y = static_cast<T*>(operands.y) + (filter + k) * problem.y.c + first + i;
      const T* add = residual ? residual + (filter + k) * problem.residual.c + first + i : nullptr;
      CK_UNROLL(16)
      for (int j = 0; j < kLanes<T>; ++j) {
        if (k + j == filters) break;
        Vec<T> value = a[j] + splat(biases ? biases[filter + k + j] : T(0));
        if constexpr (kWhole) {
          if (add)
            value += left < kLanes<T> ? load_first(add + j * problem.residual.c, left)
                                      : load(add + j * problem.residual.c);
          value = bounded<T>(low, high, value);
        }
        if (left < kLanes<T>)
          store_first(y + j * problem.y.c, left, value);
        else
          store(y + j * problem.y.c, value);
      }
    }
}
// turned[filter][pixel] = sums[pixel][filter]; pixels past count come from what sums held.
template <class T>
CK_NOINLINE void turn_sums(const T* sums, int64_t count, T* turned) {
  for (int v = 0; v < kPanelVecs; ++v)
    for (int64_t i = 0; i < count; i += kLanes<T>)
      transpose<T>(sums + i * kPanel<T> + v * kLanes<T>, kPanel<T>,
                   turned + v * kLanes<T> * kPartRoom<T> + i, kPartRoom<T>);
}

template <class T>
CK_NOINLINE void filter_run(const Problem& problem, int64_t, int64_t begin, int64_t end,
                            const Operands& operands) {
  const FilterGrid grid = filter_grid<T>(problem);
  const FilterParts<T> parts = filter_parts<T>(problem, operands.scratch);
  const T* x = static_cast<const T*>(operands.x);
  const bool in_x = in_place(problem), flat = flat_output(problem, operands);
  const Bounds<T> bounds = bounds_of<T>(operands.epilogue);
  const bool plain = flat && bounds.any && rows_of_vectors(problem, operands),
             whole = operands.epilogue.residual || operands.epilogue.activation != kIdentity;
  const auto first_part = [&](int64_t block) { return grid.parts * block / grid.blocks; };
  const auto first_pixel = [&](int64_t part) { return grid.pixels * part / grid.parts; };
  int64_t copied = -1, block = 0;
  for (int64_t item = begin; item < end; ++item) {
    while (item >= first_part(block + 1) * grid.panels) ++block;
    const int64_t part_begin = first_part(block), part_end = first_part(block + 1),
                  in_block = item - part_begin * grid.panels,
                  panel = in_block / (part_end - part_begin),
                  part = part_begin + in_block % (part_end - part_begin);
    const int64_t first = first_pixel(part), count = first_pixel(part + 1) - first;
    if (!in_x && copied != block) {
      for (int64_t each = part_begin; each < part_end; ++each)
        copy_pixels(problem, x, first_pixel(each), first_pixel(each + 1) - first_pixel(each),
                    parts.copy + (each - part_begin) * problem.c * kPartRoom<T>, kPartRoom<T>);
      copied = block;
    }
    const T* a = in_x ? x + first : parts.copy + (part - part_begin) * problem.c * kPartRoom<T>;
    const int64_t a_depth = in_x ? problem.x.c : kPartRoom<T>;
    const T* b = static_cast<const T*>(operands.packed) + panel * kPanel<T> * problem.c;
    const int64_t tiles = (count + kPixels - 1) / kPixels;
    // The next panel, an equal share with every channel of this one.
    const T* const next = b + kPanel<T> * problem.c;
    const int64_t lines = panel + 1 < grid.panels ? kPanel<T> * problem.c / kLine<T> : 0;
    const int64_t depths = (part_end - part_begin) * tiles * problem.c;
    int64_t depth = (part - part_begin) * tiles * problem.c, line = lines * depth / depths;
    for (int64_t c = 0, channels; c < problem.c; c += channels) {
      channels = problem.c <= kPartial          ? problem.c
                 : problem.c - c < kFilterDepth ? problem.c - c
                                                : kFilterDepth;
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const int64_t at = count * tile / tiles, rows = count * (tile + 1) / tiles - at;
        Product<T> of{a + at + c * a_depth,  a_depth,  b + c * kPanel<T>, kPanel<T>,
                      kPanel<T> - kLanes<T>, channels, nullptr,           {}};
        depth += channels;
        const int64_t here = lines * depth / depths - line;
        of.fetch = {next + line * kLine<T>, here + 1, 0, 0, here};
        line += here;
        filter_tile_of<T, kPixels>(rows, of, c == 0, parts.sums + at * kPanel<T>);
      }
    }
    const int64_t filter = panel * kPanel<T>;
    const int64_t filters = problem.k - filter < kPanel<T> ? problem.k - filter : kPanel<T>;
    if (plain) {
      whole ? store_turned<T, true>(problem, operands, bounds, filter, filters, first, count,
                                    parts.sums)
            : store_turned<T, false>(problem, operands, bounds, filter, filters, first, count,
                                     parts.sums);
      continue;
    }
    turn_sums(parts.sums, count, parts.turned);
    for (int64_t k = 0; k < filters; ++k)
      store_pixels(problem, operands, flat, filter + k, first, count,
                   parts.turned + k * kPartRoom<T>);
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
