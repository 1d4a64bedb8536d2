// y[k][p][q] = b[k] + sum over c, r, s of w[k][c][r][s] x[c][p u + r d][q u + s d]
// (u: stride, d: dilation.) A block of outputs at a time, from a band of the padded image
// (blocks/band.h) that stays in L2, in which every tap (c, r, s) is a shift. Three variants:
// - filters: the vector holds filters, pixels are broadcast, the result is turned in L1.
//     sums[pixel][filters] += band[offset[tap] + pixel] w[tap][filters]
//   After Zhang, Franchetti, Low: High Performance Zero-Memory Overhead Direct Convolutions (2018).
// - groups: the vector holds pixels, a few filters are broadcast (blocks/direct_groups.h).
// - pixels: the vector holds pixels of one filter, for several rows (blocks/pixel_rows.h).
// The sum is cut into parts of at most kDepth taps: the weights of a part stay in L1 while all
// pixels of the block use them, and partial sums keep the rounding error of long sums down.
#include "blocks/arena.h"
#include "blocks/direct_blocks.h"
#include "blocks/direct_groups.h"
#include "blocks/epilogue.h"
#include "blocks/pixel_rows.h"
#include "blocks/transpose.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

bool always(const Problem&) { return true; }

// --- filters in the vector ---

// 28 sums, 2 vectors of weights and a broadcast fill 32 registers; 12 of 16 leave GCC room (14
// spill); without FMA a product needs a register.
constexpr int kPixels = kRegisters == 32 ? 14 : kFma ? 6 : 4;
constexpr int kFilterVecs = 2;
template <class T>
constexpr int64_t kFilters = kFilterVecs * kLanes<T>;

template <class T>
Blocks filter_blocks_of(const Problem& problem) {
  return blocks_of<T>(problem, kFilters<T>, 16, 7, 16 * kPixels, kPixels);
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
template <class T>
struct FilterScratch {
  T* band;   // [channel][row][pitch]
  T* sums;   // [row][column][filter]
  T* lines;  // [filter][column] of one row
  int64_t line;
  int64_t bytes;
};
template <class T>
FilterScratch<T> filter_scratch(const Blocks& blocks, void* base) {
  Arena from = arena(base);
  FilterScratch<T> scratch{};
  const Band& band = blocks.band;
  scratch.line = ceil_div(band.columns, kLanes<T>) * kLanes<T>;
  scratch.band = take<T>(from, blocks.band_channels * band.channel);
  // The turn of a row's last columns reads on for up to a square.
  scratch.sums = take<T>(from, (band.rows * band.columns + kLanes<T>)*kFilters<T>);
  scratch.lines = take<T>(from, kFilters<T> * scratch.line);
  scratch.bytes = from.used;
  return scratch;
}
template <class T>
Sizes filter_sizes(const Problem& problem) {
  const Blocks blocks = filter_blocks_of<T>(problem);
  return {filter_packed<T>(problem, blocks, nullptr).bytes, 0,
          filter_scratch<T>(blocks, nullptr).bytes};
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
          to[tap * width + i] = filter < blocks.filters ? from[r * problem.s + s] : T(0);
        }
        to += taps * width;
      }
  });
}

// sums[pixel][filter] += over taps. ahead: the next part's weights, fetched evenly while this one
// computes; a deep layer with few pixels is 1.4 to 1.7 times slower without.
template <class T, int kCount, int kVecs>
CK_NOINLINE void add_taps(const T* x, const int64_t* offset, const T* w, int64_t taps, T* sums,
                          const char* ahead, int64_t ahead_step) {
  Vec<T> sum[kCount][kVecs];
  CK_UNROLL(16)
  for (int i = 0; i < kCount; ++i) {
    CK_UNROLL(4)
    for (int v = 0; v < kVecs; ++v) sum[i][v] = Vec<T>{};
  }
  CK_UNROLL(2)
  for (int64_t tap = 0; tap < taps; ++tap, w += kVecs * kLanes<T>, ahead += ahead_step) {
    const T* pixels = x + offset[tap];
    __builtin_prefetch(ahead, 0, 2);
    Vec<T> weights[kVecs];
    CK_UNROLL(4)
    for (int v = 0; v < kVecs; ++v) weights[v] = load(w + v * kLanes<T>);
    CK_UNROLL(16)
    for (int i = 0; i < kCount; ++i) {
      const Vec<T> pixel = splat(pixels[i]);
      CK_UNROLL(4)
      for (int v = 0; v < kVecs; ++v) sum[i][v] += pixel * weights[v];
    }
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
template <class T>
using AddTaps = void (*)(const T*, const int64_t*, const T*, int64_t, T*, const char*, int64_t);
template <class T, int kVecs, int... kCount>
CK_INLINE AddTaps<T> add_taps_for(int64_t count, std::integer_sequence<int, kCount...>) {
  static constexpr AddTaps<T> kTable[] = {add_taps<T, kCount + 1, kVecs>...};
  return kTable[count - 1];
}
template <class T>
AddTaps<T> add_taps_for(int64_t count, bool two) {
  constexpr std::make_integer_sequence<int, kPixels> counts{};
  return two ? add_taps_for<T, 2>(count, counts) : add_taps_for<T, 1>(count, counts);
}

// Bias, residual, activation and store of an item, row by row.
template <class T>
void finish_filters(const Problem& problem, const Operands& operands, const Blocks& blocks,
                    const Item& item, int64_t width, const FilterScratch<T>& scratch) {
  const BandBlock& block = item.block;
  const int64_t first = item.filter_block * kFilters<T>;
  const int64_t count = lesser(blocks.filters - first, width);
  for (int64_t i = 0; i < block.rows; ++i) {
    const T* sums = scratch.sums + i * block.columns * width;
    for (int64_t v = 0; v < width; v += kLanes<T>)
      for (int64_t q = 0; q < block.columns; q += kLanes<T>)
        transpose(sums + q * width + v, width, scratch.lines + v * scratch.line + q, scratch.line);
    for (int64_t filter = 0; filter < count; ++filter)
      finish_row(problem, operands, item.group * blocks.filters + first + filter,
                 block.first_row + i * blocks.band.spacing, block.first_column,
                 scratch.lines + filter * scratch.line, block.columns);
  }
}

template <class T>
void filter_run(const Problem& problem, int64_t, int64_t begin, int64_t end,
                const Operands& operands) {
  const Blocks blocks = filter_blocks_of<T>(problem);
  const FilterPacked<T> packed = filter_packed<T>(problem, blocks, operands.packed);
  const FilterScratch<T> scratch = filter_scratch<T>(blocks, operands.scratch);
  const Band& band = blocks.band;
  const Part& part = blocks.part;
  const int64_t taps = blocks.channels * problem.r * problem.s;
  int64_t filled = -1;
  for (int64_t index = begin; index < end; ++index) {
    const Item item = item_of(problem, blocks, index);
    const BandBlock& block = item.block;
    if (block.rows <= 0) continue;
    const int64_t width = filter_width<T>(blocks, item.filter_block);
    const T* w =
        packed.w + (item.group * packed_filters<T>(blocks) + item.filter_block * kFilters<T>)*taps;
    const int64_t tiles = ceil_div(block.columns, kPixels);
    // Tiles are even; the first `wider` of them have one pixel more.
    const int64_t pixels = block.columns / tiles, wider = block.columns % tiles;
    const AddTaps<T> narrow_tile = add_taps_for<T>(pixels, width > kLanes<T>);
    const AddTaps<T> wide_tile =
        wider ? add_taps_for<T>(pixels + 1, width > kLanes<T>) : narrow_tile;
    __builtin_memset(scratch.sums, 0, size_t(block.rows * block.columns * width) * sizeof(T));
    const int64_t* offset = packed.offset;
    for (int64_t c0 = 0; c0 < blocks.channels; c0 += part.channels) {
      const int64_t channels = lesser(part.channels, blocks.channels - c0);
      if (c0 % blocks.band_channels == 0 &&
          (item.place != filled || blocks.band_channels < blocks.channels)) {
        fill(problem, blocks, item, operands, c0,
             lesser(blocks.band_channels, blocks.channels - c0), scratch.band);
        filled = item.place;
      }
      for (int64_t r0 = 0; r0 < problem.r; r0 += part.r)
        for (int64_t s0 = 0; s0 < problem.s; s0 += part.s) {
          const int64_t r1 = lesser(r0 + part.r, problem.r);
          const int64_t row_taps = channels * lesser(part.s, problem.s - s0),
                        part_taps = row_taps * (r1 - r0);
          const char* ahead = reinterpret_cast<const char*>(w + part_taps * width);
          const int64_t ahead_step = ceil_div(width * int64_t(sizeof(T)), block.rows * tiles);
          for (int64_t i = 0; i < block.rows; ++i) {
            const int64_t from = greater(r0, block.begin - i * band.row_step);
            const int64_t to = lesser(r1, block.end - i * band.row_step);
            if (from >= to) continue;
            const int64_t skipped = (from - r0) * row_taps;
            const T* x = scratch.band + i * band.row_step * band.pitch;
            T* sums = scratch.sums + i * block.columns * width;
            for (int64_t tile = 0; tile < tiles; ++tile) {
              const int64_t count = pixels + (tile < wider);
              (tile < wider ? wide_tile : narrow_tile)(x, offset + skipped, w + skipped * width,
                                                       (to - from) * row_taps, sums, ahead,
                                                       ahead_step);
              x += count;
              sums += count * width;
              ahead += part_taps * ahead_step;
            }
          }
          offset += part_taps;
          w += part_taps * width;
        }
    }
    finish_filters(problem, operands, blocks, item, width, scratch);
  }
}

// --- pixels in the vector ---

template <class T>
Blocks pixel_blocks_of(const Problem& problem) {
  return blocks_of<T>(problem, 1, greater(8, ceil_div(problem.r, 4) * 4), kTileRowsOut, 256,
                      kPixelVecs * kLanes<T>);
}
template <class T>
struct PixelScratch {
  T* band;
  T* sums;          // [row][line]
  int64_t* column;  // of every tap in a band row
  Meeting* meetings;
  int64_t line;
  int64_t bytes;
};
template <class T>
PixelScratch<T> pixel_scratch(const Problem& problem, const Blocks& blocks, void* base) {
  Arena from = arena(base);
  PixelScratch<T> scratch{};
  scratch.line = ceil_div(blocks.band.columns, kLanes<T>) * kLanes<T>;
  // The last vector of a row may read on, into what no stored lane depends on.
  scratch.band = take<T>(from, blocks.band_channels * blocks.band.channel + kLanes<T>);
  scratch.sums = take<T>(from, blocks.band.rows * scratch.line);
  scratch.column = take<int64_t>(from, problem.s);
  scratch.meetings = take<Meeting>(from, (kTileRowsOut - 1) * blocks.band.row_step + problem.r);
  scratch.bytes = from.used;
  return scratch;
}
template <class T>
Sizes pixel_sizes(const Problem& problem) {
  const int64_t weights = problem.k * (problem.c / problem.groups) * problem.r * problem.s;
  return {weights * int64_t(sizeof(T)), 0,
          pixel_scratch<T>(problem, pixel_blocks_of<T>(problem), nullptr).bytes};
}
template <class T>
int64_t pixel_items(const Problem& problem, int64_t) {
  return items_of(problem, pixel_blocks_of<T>(problem));
}
template <class T>
void pixel_prepare(const Problem& problem, const void* w, void* packed) {
  __builtin_memcpy(packed, w, size_t(pixel_sizes<T>(problem).packed));
}

template <class T>
void pixel_run(const Problem& problem, int64_t, int64_t begin, int64_t end,
               const Operands& operands) {
  const Blocks blocks = pixel_blocks_of<T>(problem);
  const PixelScratch<T> scratch = pixel_scratch<T>(problem, blocks, operands.scratch);
  const Band& band = blocks.band;
  const Part& part = blocks.part;
  const int64_t taps = problem.r * problem.s;
  for (int64_t s = 0; s < problem.s; ++s) scratch.column[s] = tap_column(problem, band, s);
  int64_t filled = -1;
  for (int64_t index = begin; index < end; ++index) {
    const Item item = item_of(problem, blocks, index);
    const BandBlock& block = item.block;
    if (block.rows <= 0) continue;
    const int64_t filter = item.group * blocks.filters + item.filter_block;
    const int64_t vecs = ceil_div(block.columns, kLanes<T>), tiles = ceil_div(vecs, kPixelVecs);
    __builtin_memset(scratch.sums, 0, size_t(block.rows * scratch.line) * sizeof(T));
    for (int64_t c0 = 0; c0 < blocks.channels; c0 += part.channels) {
      const int64_t channels = lesser(part.channels, blocks.channels - c0);
      if (c0 % blocks.band_channels == 0 &&
          (item.place != filled || blocks.band_channels < blocks.channels)) {
        fill_vectors(problem, blocks, item, operands, c0,
                     lesser(blocks.band_channels, blocks.channels - c0), scratch.band);
        filled = item.place;
      }
      for (int64_t r0 = 0; r0 < problem.r; r0 += part.r)
        for (int64_t s0 = 0; s0 < problem.s; s0 += part.s)
          for (int64_t i = 0; i < block.rows; i += kTileRowsOut) {
            const int64_t rows = lesser(kTileRowsOut, block.rows - i);
            PixelTile<T> tile{nullptr,
                              band.channel,
                              static_cast<const T*>(operands.packed) +
                                  (filter * blocks.channels + c0) * taps + s0,
                              taps,
                              band.row_step * problem.s,
                              channels,
                              scratch.column + s0,
                              lesser(part.s, problem.s - s0),
                              scratch.meetings,
                              list_meetings(problem, band, block, i, rows, r0,
                                            lesser(r0 + part.r, problem.r), scratch.meetings),
                              nullptr,
                              scratch.line};
            const T* x = scratch.band + c0 % blocks.band_channels * band.channel +
                         i * band.row_step * band.pitch;
            for (int64_t j = 0; j < tiles; ++j) {
              const int64_t vec = vecs * j / tiles;
              tile.x = x + vec * kLanes<T>;
              tile.sums = scratch.sums + i * scratch.line + vec * kLanes<T>;
              add_pixels_for(rows, vecs * (j + 1) / tiles - vec, tile);
            }
          }
    }
    for (int64_t i = 0; i < block.rows; ++i)
      finish_row(problem, operands, filter, block.first_row + i * band.spacing, block.first_column,
                 scratch.sums + i * scratch.line, block.columns);
  }
}

// --- which of them ---

// One filter has only rows to share a loaded pixel with.
bool prefers_pixels(const Problem& problem) { return problem.k == problem.groups && problem.r > 1; }
// Narrow images leave lanes of the pixel vector empty, few filters lanes of the filter vector; with
// one vector of filters, every multiply-add needs a broadcast of its own. Where all lanes are full,
// groups save the turn, but read the band again for every 8 filters, which few channels alone keep
// in L1.
template <class T>
bool prefers_groups(const Problem& problem) {
  const int64_t filters = problem.k / problem.groups, channels = problem.c / problem.groups;
  const int64_t filter_lanes = ceil_div(filters, kLanes<T>) * kLanes<T>;
  const int64_t pixel_lanes = ceil_div(problem.q, kLanes<T>) * kLanes<T>;
  const int64_t filter_speed = filter_lanes == kLanes<T> ? 75 : channels <= 16 ? 92 : 105;
  return problem.q * filter_lanes * 100 > filters * pixel_lanes * filter_speed;
}

const Kernel kKernels[] = {
    {"float32 pixels", kFloat32, kNchw, kNchw, prefers_pixels, pixel_sizes<float>, 1,
     pixel_items<float>, pixel_prepare<float>, pixel_run<float>},
    {"float64 pixels", kFloat64, kNchw, kNchw, prefers_pixels, pixel_sizes<double>, 1,
     pixel_items<double>, pixel_prepare<double>, pixel_run<double>},
    {"float32 groups", kFloat32, kNchw, kNchw, prefers_groups<float>, group_sizes<float>, 1,
     group_items<float>, group_prepare<float>, group_run<float>},
    {"float64 groups", kFloat64, kNchw, kNchw, prefers_groups<double>, group_sizes<double>, 1,
     group_items<double>, group_prepare<double>, group_run<double>},
    {"float32 filters", kFloat32, kNchw, kNchw, always, filter_sizes<float>, 1, filter_items<float>,
     filter_prepare<float>, filter_run<float>},
    {"float64 filters", kFloat64, kNchw, kNchw, always, filter_sizes<double>, 1,
     filter_items<double>, filter_prepare<double>, filter_run<double>},
};

}  // namespace

extern const Variants direct;
const Variants direct = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
