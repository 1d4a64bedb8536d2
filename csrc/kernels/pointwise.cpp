// y[k][i] = b[k] + sum over c of w[k][c] x[c][i]
//
// Pixel i = p q_count + q of the output reads x at row p u - pad_top, column q v - pad_left.
//
// A 1x1 filter is a matrix product whose tiles run at the FMA peak as soon as what they read lies
// in the second level of cache: the rest of a layer is moving x in and y out. So lines are fetched
// long before they are needed: the next pixels of x and the next weights while a tile is computed,
// and y's own lines, which a store would else wait for, at the start of the tile that fills them.
//
// Of planes two variants, for what fills the vectors: pixels, or filters where an image has so few
// pixels that vectors of them would be half empty. In blocks of channels filters always do
// (blocks/pointwise_blocks.h). Sums go through the channels upwards, by partial sums of at most
// kPartial.
#include "blocks/arena.h"
#include "blocks/pointwise_blocks.h"
#include "blocks/pointwise_filters.h"
#include "blocks/pointwise_product.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

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
constexpr int64_t kMostPanels = 16;  // of a chunk
struct PixelGrid {
  int64_t pixels, vecs, panels, chunks, tiles, tiles_per_group, groups;
  int64_t pitch;  // of copied channels: an odd number of lines, room for a chunk and a vector more
};
template <class T>
PixelGrid pixel_grid(const Problem& problem) {
  constexpr int64_t panel_bytes = kPixelVecs * kVectorBytes;
  // A chunk's pixels stay in the second level of cache while all filters pass, and with a stride
  // the lines of the next chunk's, which are more than its pixels.
  const int64_t chunk_bytes = problem.stride_h * problem.stride_w == 1 ? 200 << 10 : 100 << 10;
  // Operations of one item: enough to hide the cost of handing it out, few enough to share a small
  // layer among many threads.
  constexpr int64_t item_work = 1 << 19;
  PixelGrid grid;
  grid.pixels = problem.p * problem.q;
  grid.vecs = (grid.pixels + kLanes<T> - 1) / kLanes<T>;
  grid.panels = (grid.vecs + kPixelVecs - 1) / kPixelVecs;
  int64_t chunk = chunk_bytes / (panel_bytes * problem.c);
  chunk = chunk < 2 ? 2 : chunk > kMostPanels ? kMostPanels : chunk;
  grid.chunks = (grid.panels + chunk - 1) / chunk;
  const int64_t panels = (grid.panels + grid.chunks - 1) / grid.chunks;
  const int64_t room = (panels * kPixelVecs + 1) * kLanes<T>;
  grid.pitch = ((room / kLine<T> + 1) | 1) * kLine<T>;
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
struct PixelParts {
  T* copy;  // of one chunk: [panel][c][pixel of the panel] where x is read in place, else
            // [c][pixel]
  int64_t bytes;
};
template <class T>
PixelParts<T> pixel_parts(const Problem& problem, void* base) {
  const PixelGrid grid = pixel_grid<T>(problem);
  Arena from = arena(base);
  PixelParts<T> parts{};
  parts.copy = take<T>(from, problem.c * grid.pitch);
  parts.bytes = from.used;
  return parts;
}
template <class T>
Sizes pixel_sizes(const Problem& problem) {
  const int64_t last = (pixel_grid<T>(problem).tiles - 1) * kFilters;
  Arena packed = arena(nullptr);
  take<T>(packed, (last + tile_rows(problem, last)) * problem.c);
  return {packed.used, 0, pixel_parts<T>(problem, nullptr).bytes};
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

// Where a tile goes: pixels [first, first + count) of filters [filter, filter + filters). The
// last vector of sums begins at pixel first + last.
template <class T>
struct Target {
  const Problem& problem;
  const Operands& operands;
  Bounds<T> bounds;
  bool flat, plain;  // plain: whole vectors can go from registers to memory
  int64_t filter, filters, first, count, last;
};

template <class T, int kRows, int kVecs, bool kKeep>
CK_NOINLINE void pixel_tile(const Product<T>& of, const Target<T>& to) {
  const Problem& problem = to.problem;
  const bool plain = to.plain && to.count == kVecs * kLanes<T> && to.filters == kRows;
  T* y = static_cast<T*>(to.operands.y) + to.filter * problem.y.c + to.first;
  const T* residual = static_cast<const T*>(to.operands.epilogue.residual);
  if (residual) residual += to.filter * problem.residual.c + to.first;
  const int64_t y_pitch = problem.y.c, residual_pitch = problem.residual.c;
  if (plain && residual && residual != y) {
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) fetch_row<T, kVecs, 0>(residual + i * residual_pitch);
  }
  Vec<T> sum[kRows][kVecs];
  product<T, kRows, kVecs, kKeep>(of, plain ? y : nullptr, y_pitch, sum);
  const T* biases = static_cast<const T*>(to.operands.epilogue.bias);
  const auto finish = [&](auto whole) __attribute__((always_inline)) {
    const Vec<T> low = splat(to.bounds.low), high = splat(to.bounds.high);
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> bias = splat(biases ? biases[to.filter + i] : T(0));
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) {
        Vec<T> value = sum[i][v] + bias;
        if constexpr (whole.value) {
          if (residual) value += load(residual + i * residual_pitch + v * kLanes<T>);
          value = bounded<T>(low, high, value);
        }
        store(y + i * y_pitch + v * kLanes<T>, value);
      }
    }
  };
  if (plain && !residual && to.operands.epilogue.activation == kIdentity)
    return finish(std::false_type{});
  if (plain) return finish(std::true_type{});
  // One vector of room in front: the last vector may overlap what stands before a panel of one.
  alignas(kVectorBytes) T rows[kRows][(kVecs + 1) * kLanes<T>];
  CK_UNROLL(32)
  for (int i = 0; i < kRows; ++i) {
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v)
      store(rows[i] + kLanes<T> + (v == kVecs - 1 ? to.last : v * kLanes<T>), sum[i][v]);
  }
  for (int64_t i = 0; i < to.filters; ++i)
    store_pixels(problem, to.operands, to.flat, to.filter + i, to.first, to.count,
                 rows[i] + kLanes<T>);
}

template <class T, int kVecs, bool kKeep>
CK_INLINE void pixel_tile_of(int64_t rows, const Product<T>& of, const Target<T>& to) {
  if constexpr (kFilters > 4)
    if (rows == kFilters) return pixel_tile<T, kFilters, kVecs, kKeep>(of, to);
  if (rows == 4) return pixel_tile<T, 4, kVecs, kKeep>(of, to);
  if (rows == 2) return pixel_tile<T, 2, kVecs, kKeep>(of, to);
  return pixel_tile<T, 1, kVecs, kKeep>(of, to);
}
template <class T, bool kKeep>
CK_INLINE void pixel_tile_of(int64_t rows, int64_t vecs, const Product<T>& of,
                             const Target<T>& to) {
  if constexpr (kPixelVecs == 3)
    if (vecs == 3) return pixel_tile_of<T, 3, kKeep>(rows, of, to);
  if (vecs == 2) return pixel_tile_of<T, 2, kKeep>(rows, of, to);
  return pixel_tile_of<T, 1, kKeep>(rows, of, to);
}

template <class T>
void pixel_run(const Problem& problem, int64_t, int64_t begin, int64_t end,
               const Operands& operands) {
  const PixelGrid grid = pixel_grid<T>(problem);
  const PixelParts<T> parts = pixel_parts<T>(problem, operands.scratch);
  const T* x = static_cast<const T*>(operands.x);
  const T* packed = static_cast<const T*>(operands.packed);
  // Rows of x that follow each other are read where they are, once: the first tile of filters keeps
  // what it reads for the others, panel by panel, because the channels of x lie on as many pages.
  const bool in_x = in_place(problem) && grid.pixels >= kLanes<T>;
  Target<T> target{problem,
                   operands,
                   bounds_of<T>(operands.epilogue),
                   flat_output(problem, operands),
                   false,
                   0,
                   0,
                   0,
                   0,
                   0};
  target.plain = target.flat && target.bounds.any && rows_of_vectors(problem, operands);
  const auto first_vec = [&](int64_t panel) { return grid.vecs * panel / grid.panels; };
  const auto first_panel = [&](int64_t chunk) { return grid.panels * chunk / grid.chunks; };
  const auto pixels_of = [&](int64_t from, int64_t to) {  // of panels [from, to)
    const int64_t first = first_vec(from) * kLanes<T>, stop = first_vec(to) * kLanes<T>;
    return (stop < grid.pixels ? stop : grid.pixels) - first;
  };
  // The panels of a chunk, divided out once and not with every tile.
  struct Panel {
    int64_t vecs, first, count, last;
    T* copy;
    int64_t pitch;  // of its channels
  } panels[kMostPanels];
  Ahead<T> ahead{};
  // Lines read in place are fetched all the time, those to be copied late: they are more, and left
  // the cache again.
  const int64_t first_ahead = in_x ? 0 : grid.tiles * 3 / 4;
  int64_t current = -1, count = 0;
  bool fresh = false;  // whether the current chunk's pixels are still to be copied
  int64_t chunk = begin / grid.groups, group = begin % grid.groups;
  for (int64_t item = begin; item < end; ++item) {
    if (chunk != current) {
      current = chunk;
      fresh = in_x;
      const int64_t panel_begin = first_panel(chunk), panel_end = first_panel(chunk + 1);
      const int64_t chunk_vec = first_vec(panel_begin);
      count = panel_end - panel_begin;
      for (int64_t i = 0; i < count; ++i) {
        Panel& panel = panels[i];
        const int64_t vec = first_vec(panel_begin + i);
        panel.vecs = first_vec(panel_begin + i + 1) - vec;
        panel.first = vec * kLanes<T>;
        panel.count = pixels_of(panel_begin + i, panel_begin + i + 1);
        panel.last = in_x ? panel.count - kLanes<T> : (panel.vecs - 1) * kLanes<T>;
        panel.copy = parts.copy + (vec - chunk_vec) * kLanes<T> * (in_x ? problem.c : 1);
        panel.pitch = in_x ? panel.vecs * kLanes<T> : grid.pitch;
      }
      if (!in_x)
        copy_pixels(problem, x, chunk_vec * kLanes<T>, pixels_of(panel_begin, panel_end),
                    parts.copy, grid.pitch);
      const int64_t next = (end - 1) / grid.groups > chunk ? first_panel(chunk + 2) : panel_end;
      ahead = ahead_of(problem, x, first_vec(panel_end) * kLanes<T>,
                       next > panel_end ? pixels_of(panel_end, next) : 0,
                       count * (grid.tiles - first_ahead));
    }
    const int64_t tile_begin = group * grid.tiles_per_group;
    const int64_t tile_end = tile_begin + grid.tiles_per_group < grid.tiles
                                 ? tile_begin + grid.tiles_per_group
                                 : grid.tiles;
    for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
      const int64_t rows = tile_rows(problem, tile * kFilters);
      const bool last = tile + 1 == grid.tiles || (tile + 1 == tile_end && item + 1 == end);
      target.filter = tile * kFilters;
      target.filters = problem.k - target.filter < rows ? problem.k - target.filter : rows;
      for (const Panel* panel = panels; panel < panels + count; ++panel) {
        target.first = panel->first;
        target.count = panel->count;
        target.last = panel->last;
        Product<T> of{packed + target.filter * problem.c,
                      rows,
                      panel->copy,
                      panel->pitch,
                      (panel->vecs - 1) * kLanes<T>,
                      problem.c,
                      panel->copy,
                      tile < first_ahead ? Fetch<T>{} : next_share(problem, ahead)};
        if (fresh) {
          of.b = x + target.first;
          of.b_depth = problem.x.c;
          of.last = target.last;
        }
        if (fresh && !last)
          pixel_tile_of<T, true>(rows, panel->vecs, of, target);
        else
          pixel_tile_of<T, false>(rows, panel->vecs, of, target);
      }
      fresh = false;
    }
    if (++group == grid.groups) {
      group = 0;
      ++chunk;
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
template <class T>
constexpr Kernel blocks_kernel(const char* name, int64_t dtype) {
  return {name,           dtype, kNchwc,         kNchwc,           whole_vectors<T>,
          block_sizes<T>, 1,     block_items<T>, block_prepare<T>, block_run<T>};
}
const Kernel kKernels[] = {
    filters_kernel<float>("float32 filters", kFloat32),
    pixels_kernel<float>("float32 pixels", kFloat32),
    filters_kernel<double>("float64 filters", kFloat64),
    pixels_kernel<double>("float64 pixels", kFloat64),
    blocks_kernel<float>("float32 blocks", kFloat32),
    blocks_kernel<double>("float64 blocks", kFloat64),
};

}  // namespace

extern const Variants pointwise;
const Variants pointwise = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
