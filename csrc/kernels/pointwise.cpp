// y[k][i] = b[k] + sum over c of w[k][c] x[c][i]
//
// Pixel i = p q_count + q of the output reads x at row p u - pad_top, column q v - pad_left.
//
// A 1x1 filter is a matrix product. Its pixels are copied a few panels at a time, padding, strides
// and foreign layouts undone on the way; where the rows of x follow each other and few filters
// would use the copy, they are read in place.
//
// Two variants, for what fills the vectors: pixels, or filters where an image has so few pixels
// that vectors of them would be half empty. The order of a sum is the same in both: channels
// upwards, partial sums of kPartial channels.
#include "blocks/arena.h"
#include "blocks/epilogue.h"
#include "blocks/gemm.h"
#include "blocks/window.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// ---- the product -----------------------------------------------------------------------------

// A tile of a product: sum[i][v] over d of a[d a_depth + i] b[d b_depth + v lanes ..]. The last
// vector of b stands at `last`, which may overlap its neighbour, so that nothing is read past the
// end of an image.
template <class T>
struct Product {
  const T* a;
  int64_t a_depth;
  const T* b;
  int64_t b_depth, last, depth;
};

template <class T, int kRows, int kVecs>
CK_INLINE void product(const Product<T>& of, Vec<T> (&sum)[kRows][kVecs]) {
  const T *a = of.a, *b = of.b;
  const auto one_depth = [&]() __attribute__((always_inline)) {
    Vec<T> right[kVecs];
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) right[v] = load(b + (v == kVecs - 1 ? of.last : v * kLanes<T>));
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> left = splat(a[i]);
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) sum[i][v] += left * right[v];
    }
    a += of.a_depth;
    b += of.b_depth;
  };
  Vec<T> total[kRows][kVecs];
  for (int64_t done = 0;;) {
    const int64_t stop = of.depth - done < kPartial ? of.depth : done + kPartial;
    const bool first = done == 0;
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) sum[i][v] = Vec<T>{};
    }
    CK_UNROLL(4)
    for (; done < stop; ++done) one_depth();
    if (first && done == of.depth) return;
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) total[i][v] = first ? sum[i][v] : total[i][v] + sum[i][v];
    }
    if (done == of.depth) break;
  }
  CK_UNROLL(32)
  for (int i = 0; i < kRows; ++i) {
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) sum[i][v] = total[i][v];
  }
}

// ---- pixels in and out -----------------------------------------------------------------------

CK_INLINE bool rows_follow(const Problem& problem, const Strides& strides) {
  return problem.p == 1 || strides.h == problem.q * strides.w;
}
// Whether pixel i of every channel stands at x + i; equal sizes at stride 1 mean that there is no
// padding.
CK_INLINE bool in_place(const Problem& problem) {
  return problem.stride_h == 1 && problem.stride_w == 1 && problem.p == problem.h &&
         problem.q == problem.w && problem.x.w == 1 && rows_follow(problem, problem.x);
}
CK_INLINE bool flat_output(const Problem& problem, const Operands& operands) {
  return rows_follow(problem, problem.y) &&
         (!operands.epilogue.residual || rows_follow(problem, problem.residual));
}

// to[c][i] = pixel first + i of channel c for i < count; zero up to the pitch's multiple `filled`.
template <class T>
void copy_pixels(const Problem& problem, const T* x, int64_t first, int64_t count, int64_t filled,
                 int64_t pitch, T* to) {
  if (in_place(problem)) {
    for (int64_t c = 0; c < problem.c; ++c, to += pitch) {
      const T* from = x + c * problem.x.c + first;
      int64_t i = 0;
      for (; i + kLanes<T> <= count; i += kLanes<T>) store(to + i, load(from + i));
      if (i < count) store(to + i, load_first(from + i, count - i));
    }
    return;
  }
  for (int64_t c = 0; c < problem.c; ++c, to += pitch) {
    int64_t p = first / problem.q, q = first % problem.q;
    for (int64_t i = 0; i < count; ++p, q = 0) {
      const int64_t run = problem.q - q < count - i ? problem.q - q : count - i;
      read_every(problem, x, c, p * problem.stride_h - problem.pad_top,
                 q * problem.stride_w - problem.pad_left, problem.stride_w, run, to + i);
      i += run;
    }
    for (int64_t i = count; i < filled; ++i) to[i] = T(0);
  }
}

// Finishes and stores count pixels of one filter, from pixel first on. sums is changed.
template <class T>
CK_NOINLINE void store_pixels(const Problem& problem, const Operands& operands, bool flat,
                              int64_t filter, int64_t first, int64_t count, T* sums) {
  if (flat) {
    finish_row(problem, operands, filter, 0, first, sums, count);
    return;
  }
  int64_t p = first / problem.q, q = first % problem.q;
  for (int64_t i = 0; i < count; ++p, q = 0) {
    const int64_t run = problem.q - q < count - i ? problem.q - q : count - i;
    finish_row(problem, operands, filter, p, q, sums + i, run);
    i += run;
  }
}

// ---- variant "pixels": a = filters, b = pixels -----------------------------------------------

// Sums in registers: 8 x 3 of 32, 6 x 2 of 16, 4 x 2 where a product needs a register too. With 16
// registers two vectors and more filters read less of the panel per multiply-add than 4 x 3 does,
// which waits for the second level of cache.
constexpr int kFilters = kRegisters == 32 ? 8 : kFma ? 6 : 4;
constexpr int kPixelVecs = kRegisters == 32 ? 3 : 2;

// Panels of kPixelVecs vectors of pixels, chunks of panels, tiles of kFilters filters, groups of
// tiles. Per chunk the filters come outermost and its panels innermost: each output plane is then
// written in runs of a chunk, which the hardware prefetcher follows; with panels outermost every
// short piece lies on another page.
struct PixelGrid {
  int64_t pixels, vecs, panels, chunks, tiles, tiles_per_group, groups;
  int64_t chunk_pixels;  // of the largest chunk
};
template <class T>
PixelGrid pixel_grid(const Problem& problem) {
  constexpr int64_t panel_bytes = kPixelVecs * kVectorBytes;
  // A chunk's pixels stay in the second level of cache while all filters pass.
  constexpr int64_t chunk_bytes = 200 << 10;
  // Operations of one item: enough to hide the cost of handing it out, few enough to share a small
  // layer among many threads.
  constexpr int64_t item_work = 2 << 20;
  PixelGrid grid;
  grid.pixels = problem.p * problem.q;
  grid.vecs = (grid.pixels + kLanes<T> - 1) / kLanes<T>;
  grid.panels = (grid.vecs + kPixelVecs - 1) / kPixelVecs;
  int64_t chunk = chunk_bytes / (panel_bytes * problem.c);
  chunk = chunk < 2 ? 2 : chunk > 16 ? 16 : chunk;
  grid.chunks = (grid.panels + chunk - 1) / chunk;
  const int64_t panels = (grid.panels + grid.chunks - 1) / grid.chunks;
  grid.chunk_pixels = panels * kPixelVecs * kLanes<T>;
  grid.tiles = (problem.k + kFilters - 1) / kFilters;
  const int64_t tile_work = panels * kPixelVecs * kLanes<T> * kFilters * problem.c;
  const int64_t most = item_work / tile_work < 1 ? 1 : item_work / tile_work;
  grid.groups = (grid.tiles + most - 1) / most;
  grid.tiles_per_group = (grid.tiles + grid.groups - 1) / grid.groups;
  grid.groups = (grid.tiles + grid.tiles_per_group - 1) / grid.tiles_per_group;
  return grid;
}
// Filters of the tile that begins with filter first: what is left for the last one takes a
// tile of 1, 2, 4 or kFilters.
CK_INLINE int64_t tile_rows(const Problem& problem, int64_t first) {
  const int64_t left = problem.k - first;
  return left > 4 ? kFilters : left > 2 ? 4 : left;
}

template <class T>
Sizes pixel_sizes(const Problem& problem) {
  const PixelGrid grid = pixel_grid<T>(problem);
  const int64_t last = (grid.tiles - 1) * kFilters;
  Arena packed = arena(nullptr), scratch = arena(nullptr);
  take<T>(packed, (last + tile_rows(problem, last)) * problem.c);
  take<T>(scratch, problem.c * grid.chunk_pixels);
  return {packed.used, 0, scratch.used};
}
template <class T>
int64_t pixel_items(const Problem& problem, int64_t) {
  const PixelGrid grid = pixel_grid<T>(problem);
  return grid.chunks * grid.groups;
}
// packed[tile][c][filter of the tile], missing filters zero.
template <class T>
void pixel_prepare(const Problem& problem, const void* w, void* packed) {
  const T* from = static_cast<const T*>(w);
  T* to = static_cast<T*>(packed);
  for (int64_t k = 0; k < problem.k; k += kFilters) {
    const int64_t rows = tile_rows(problem, k);
    for (int64_t c = 0; c < problem.c; ++c)
      for (int64_t i = 0; i < rows; ++i)
        *to++ = k + i < problem.k ? from[(k + i) * problem.c + c] : T(0);
  }
}

// Where a tile goes: pixels [first, first + count) of filters [filter, filter + filters).
template <class T>
struct Target {
  const Problem& problem;
  const Operands& operands;
  Bounds<T> bounds;
  bool flat, plain;  // plain: whole vectors can go from registers to memory
  int64_t filter, filters, first, count;
};

template <class T, int kRows, int kVecs>
CK_NOINLINE void pixel_tile(const Product<T>& of, const Target<T>& to) {
  Vec<T> sum[kRows][kVecs];
  product<T, kRows, kVecs>(of, sum);
  const Problem& problem = to.problem;
  const T* biases = static_cast<const T*>(to.operands.epilogue.bias);
  if (to.plain && to.count == kVecs * kLanes<T> && to.filters == kRows) {
    T* y = static_cast<T*>(to.operands.y) + to.filter * problem.y.c + to.first;
    const T* residual = static_cast<const T*>(to.operands.epilogue.residual);
    if (residual) residual += to.filter * problem.residual.c + to.first;
    const int64_t y_pitch = problem.y.c, residual_pitch = problem.residual.c;
    const Vec<T> low = splat(to.bounds.low), high = splat(to.bounds.high);
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> bias = splat(biases ? biases[to.filter + i] : T(0));
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) {
        Vec<T> value = sum[i][v] + bias;
        if (residual) value += load(residual + i * residual_pitch + v * kLanes<T>);
        store(y + i * y_pitch + v * kLanes<T>, bounded<T>(low, high, value));
      }
    }
    return;
  }
  // One vector of room in front: the last vector may overlap what stands before a panel of one.
  alignas(kVectorBytes) T rows[kRows][(kVecs + 1) * kLanes<T>];
  CK_UNROLL(32)
  for (int i = 0; i < kRows; ++i) {
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v)
      store(rows[i] + kLanes<T> + (v == kVecs - 1 ? of.last : v * kLanes<T>), sum[i][v]);
  }
  for (int64_t i = 0; i < to.filters; ++i)
    store_pixels(problem, to.operands, to.flat, to.filter + i, to.first, to.count,
                 rows[i] + kLanes<T>);
}

template <class T, int kVecs>
CK_INLINE void pixel_tile_of(int64_t rows, const Product<T>& of, const Target<T>& to) {
  if constexpr (kFilters > 4)
    if (rows == kFilters) return pixel_tile<T, kFilters, kVecs>(of, to);
  if (rows == 4) return pixel_tile<T, 4, kVecs>(of, to);
  if (rows == 2) return pixel_tile<T, 2, kVecs>(of, to);
  return pixel_tile<T, 1, kVecs>(of, to);
}

template <class T>
void pixel_run(const Problem& problem, int64_t, int64_t begin, int64_t end,
               const Operands& operands) {
  const PixelGrid grid = pixel_grid<T>(problem);
  const T* x = static_cast<const T*>(operands.x);
  const T* packed = static_cast<const T*>(operands.packed);
  T* copy = static_cast<T*>(operands.scratch);
  // Rows of x that follow each other can be read where they are. But its channels lie on as many
  // pages, and a copy, in which they follow each other, pays for itself from about 8 tiles of
  // filters on (x 1.2 at 256 channels and 64 filters of 56 x 56).
  const bool in_x = in_place(problem) && grid.pixels >= kLanes<T> && problem.k < 8 * kFilters;
  Target<T> target{problem,
                   operands,
                   bounds_of<T>(operands.epilogue),
                   flat_output(problem, operands),
                   false,
                   0,
                   0,
                   0,
                   0};
  target.plain = target.flat && target.bounds.any && problem.y.w == 1 &&
                 (!operands.epilogue.residual || problem.residual.w == 1);
  int64_t copied = -1;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t chunk = item / grid.groups, group = item % grid.groups;
    const int64_t panel_begin = grid.panels * chunk / grid.chunks,
                  panel_end = grid.panels * (chunk + 1) / grid.chunks;
    const int64_t chunk_first = grid.vecs * panel_begin / grid.panels * kLanes<T>;
    if (!in_x && copied != chunk) {
      const int64_t filled = grid.vecs * panel_end / grid.panels * kLanes<T> - chunk_first;
      const int64_t count = grid.pixels - chunk_first < filled ? grid.pixels - chunk_first : filled;
      copy_pixels(problem, x, chunk_first, count, filled, grid.chunk_pixels, copy);
      copied = chunk;
    }
    const int64_t tile_begin = group * grid.tiles_per_group;
    const int64_t tile_end = tile_begin + grid.tiles_per_group < grid.tiles
                                 ? tile_begin + grid.tiles_per_group
                                 : grid.tiles;
    for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
      const int64_t rows = tile_rows(problem, tile * kFilters);
      target.filter = tile * kFilters;
      target.filters = problem.k - target.filter < rows ? problem.k - target.filter : rows;
      for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
        const int64_t vec = grid.vecs * panel / grid.panels,
                      vecs = grid.vecs * (panel + 1) / grid.panels - vec;
        target.first = vec * kLanes<T>;
        target.count = grid.pixels - target.first < vecs * kLanes<T> ? grid.pixels - target.first
                                                                     : vecs * kLanes<T>;
        Product<T> of{packed + target.filter * problem.c,
                      rows,
                      nullptr,
                      0,
                      (vecs - 1) * kLanes<T>,
                      problem.c};
        if (in_x) {
          of.b = x + target.first;
          of.b_depth = problem.x.c;
          of.last = target.count - kLanes<T>;
        } else {
          of.b = copy + target.first - chunk_first;
          of.b_depth = grid.chunk_pixels;
        }
        if (vecs == 1) pixel_tile_of<T, 1>(rows, of, target);
        if (vecs == 2) pixel_tile_of<T, 2>(rows, of, target);
        if constexpr (kPixelVecs == 3)
          if (vecs == 3) pixel_tile_of<T, 3>(rows, of, target);
      }
    }
  }
}

// ---- variant "filters": a = pixels, b = filters ----------------------------------------------

// Blocks of at most kBlock pixels, split evenly into tiles of at most kPixels; panels of kPanelVecs
// vectors of filters.
constexpr int kPixels = kRegisters == 32 ? 12 : kFma ? 6 : 4;
constexpr int kPanelVecs = 2;
constexpr int64_t kBlock = 64;
template <class T>
constexpr int64_t kPanel = kPanelVecs * kLanes<T>;

struct FilterGrid {
  int64_t pixels, blocks, panels;
};
template <class T>
FilterGrid filter_grid(const Problem& problem) {
  const int64_t pixels = problem.p * problem.q;
  return {pixels, (pixels + kBlock - 1) / kBlock, (problem.k + kPanel<T> - 1) / kPanel<T>};
}
template <class T>
struct FilterParts {
  T *copy, *sums, *row;  // [c][kBlock] pixels, [pixel][filter of the panel], pixels of one filter
  int64_t bytes;
};
template <class T>
FilterParts<T> filter_parts(const Problem& problem, void* base) {
  Arena from = arena(base);
  FilterParts<T> parts{};
  parts.copy = take<T>(from, problem.c * kBlock);
  parts.sums = take<T>(from, kBlock * kPanel<T>);
  parts.row = take<T>(from, kBlock);
  parts.bytes = from.used;
  return parts;
}
template <class T>
Sizes filter_sizes(const Problem& problem) {
  Arena packed = arena(nullptr);
  take<T>(packed, filter_grid<T>(problem).panels * kPanel<T> * problem.c);
  return {packed.used, 0, filter_parts<T>(problem, nullptr).bytes};
}
template <class T>
int64_t filter_items(const Problem& problem, int64_t) {
  const FilterGrid grid = filter_grid<T>(problem);
  return grid.blocks * grid.panels;
}
// packed[panel][c][filter of the panel], missing filters zero.
template <class T>
void filter_prepare(const Problem& problem, const void* w, void* packed) {
  const T* from = static_cast<const T*>(w);
  T* to = static_cast<T*>(packed);
  for (int64_t k = 0; k < problem.k; k += kPanel<T>)
    for (int64_t c = 0; c < problem.c; ++c)
      for (int64_t i = 0; i < kPanel<T>; ++i)
        *to++ = k + i < problem.k ? from[(k + i) * problem.c + c] : T(0);
}

template <class T, int kRows>
CK_NOINLINE void filter_tile(const Product<T>& of, T* sums) {
  Vec<T> sum[kRows][kPanelVecs];
  product<T, kRows, kPanelVecs>(of, sum);
  CK_UNROLL(32)
  for (int i = 0; i < kRows; ++i) {
    CK_UNROLL(8)
    for (int v = 0; v < kPanelVecs; ++v) store(sums + (i * kPanelVecs + v) * kLanes<T>, sum[i][v]);
  }
}
template <class T, int kRows>
CK_INLINE void filter_tile_of(int64_t rows, const Product<T>& of, T* sums) {
  if (rows == kRows) return filter_tile<T, kRows>(of, sums);
  if constexpr (kRows > 1) filter_tile_of<T, kRows - 1>(rows, of, sums);
}

template <class T>
void filter_run(const Problem& problem, int64_t, int64_t begin, int64_t end,
                const Operands& operands) {
  const FilterGrid grid = filter_grid<T>(problem);
  const FilterParts<T> parts = filter_parts<T>(problem, operands.scratch);
  const T* x = static_cast<const T*>(operands.x);
  const bool in_x = in_place(problem), flat = flat_output(problem, operands);
  int64_t copied = -1;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t block = item / grid.panels, panel = item % grid.panels;
    const int64_t first = grid.pixels * block / grid.blocks,
                  count = grid.pixels * (block + 1) / grid.blocks - first;
    if (!in_x && copied != block) {
      copy_pixels(problem, x, first, count, count, kBlock, parts.copy);
      copied = block;
    }
    const T* a = in_x ? x + first : parts.copy;
    const T* b = static_cast<const T*>(operands.packed) + panel * kPanel<T> * problem.c;
    const int64_t tiles = (count + kPixels - 1) / kPixels;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t at = count * tile / tiles, rows = count * (tile + 1) / tiles - at;
      const Product<T> of{a + at,    in_x ? problem.x.c : kBlock, b,
                          kPanel<T>, kPanel<T> - kLanes<T>,       problem.c};
      filter_tile_of<T, kPixels>(rows, of, parts.sums + at * kPanel<T>);
    }
    const int64_t filter = panel * kPanel<T>;
    const int64_t filters = problem.k - filter < kPanel<T> ? problem.k - filter : kPanel<T>;
    for (int64_t k = 0; k < filters; ++k) {
      for (int64_t i = 0; i < count; ++i) parts.row[i] = parts.sums[i * kPanel<T> + k];
      store_pixels(problem, operands, flat, filter + k, first, count, parts.row);
    }
  }
}

// ---- the table -------------------------------------------------------------------------------

// Filters fill the vectors where they fill them better than pixels do and x is small.
template <class T>
bool few_pixels(const Problem& problem) {
  const int64_t pixels = problem.p * problem.q, most = 256;
  const int64_t pixel_room = (pixels + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  const int64_t filter_room = (problem.k + kPanel<T> - 1) / kPanel<T> * kPanel<T>;
  return pixels < most && problem.k * pixel_room > pixels * filter_room;
}
bool always(const Problem&) { return true; }

template <class T>
constexpr Kernel filters_kernel(const char* name, int64_t dtype) {
  return {name,
          dtype,
          kNchw,
          kNchw,
          few_pixels<T>,
          filter_sizes<T>,
          1,
          filter_items<T>,
          filter_prepare<T>,
          filter_run<T>};
}
template <class T>
constexpr Kernel pixels_kernel(const char* name, int64_t dtype) {
  return {
      name,        dtype, kNchw, kNchw, always, pixel_sizes<T>, 1, pixel_items<T>, pixel_prepare<T>,
      pixel_run<T>};
}
const Kernel kKernels[] = {
    filters_kernel<float>("float32 filters", kFloat32),
    pixels_kernel<float>("float32 pixels", kFloat32),
    filters_kernel<double>("float64 filters", kFloat64),
    pixels_kernel<double>("float64 pixels", kFloat64),
};

}  // namespace

extern const Variants pointwise;
const Variants pointwise = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
