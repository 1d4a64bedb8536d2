// y[k][p][q] = b[k] + sum over c, r, s of w[k][c][r][s] x[c][p u + r d][q u + s d]
// (u: stride, d: dilation.) A block of outputs at a time, from a band of the padded image
// (blocks/band.h) that stays in L2, in which every tap (c, r, s) is a shift. Three variants:
// - filters: the vector holds filters, pixels are broadcast (blocks/direct_filters.h); where the
//   stride is 2 or 4 there is no band and x is read in place.
// - groups: the vector holds pixels, a few filters are broadcast (blocks/direct_groups.h).
// - pixels: the vector holds pixels of one filter, for several rows (blocks/pixel_rows.h).
// The sum is cut into parts of at most kDepth taps: the weights of a part stay in L1 while all
// pixels of the block use them, and partial sums keep the rounding error of long sums down.
#include "blocks/arena.h"
#include "blocks/direct_blocks.h"
#include "blocks/direct_channels.h"
#include "blocks/direct_filters.h"
#include "blocks/direct_groups.h"
#include "blocks/direct_spread.h"
#include "blocks/epilogue.h"
#include "blocks/pixel_rows.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

bool always(const Problem&) { return true; }

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

// Blocks of channels hold whole vectors.
template <class T>
bool whole_vectors(const Problem& problem) {
  return problem.block > 0 && problem.block % kLanes<T> == 0;
}

// x and y in blocks: small groups are spread over their lanes, others broadcast.
template <class T>
Sizes block_sizes(const Problem& problem) {
  return spreads<T>(problem) ? spread_sizes<T>(problem) : channel_sizes<T>(problem);
}
template <class T>
int64_t block_items(const Problem& problem, int64_t phase) {
  return spreads<T>(problem) ? spread_items<T>(problem, phase) : channel_items<T>(problem, phase);
}
template <class T>
void block_prepare(const Problem& problem, const void* weights, void* packed) {
  spreads<T>(problem) ? spread_prepare<T>(problem, weights, packed)
                      : channel_prepare<T>(problem, weights, packed);
}
template <class T>
void block_run(const Problem& problem, int64_t phase, int64_t begin, int64_t end,
               const Operands& operands) {
  spreads<T>(problem) ? spread_run<T>(problem, phase, begin, end, operands)
                      : channel_run<T>(problem, phase, begin, end, operands);
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
    {"float32 planes to blocks", kFloat32, kNchw, kNchwc, whole_vectors<float>, filter_sizes<float>,
     1, filter_items<float>, filter_prepare<float>, filter_run<float>},
    {"float64 planes to blocks", kFloat64, kNchw, kNchwc, whole_vectors<double>,
     filter_sizes<double>, 1, filter_items<double>, filter_prepare<double>, filter_run<double>},
    {"float32 blocks", kFloat32, kNchwc, kNchwc, whole_vectors<float>, block_sizes<float>, 1,
     block_items<float>, block_prepare<float>, block_run<float>},
    {"float64 blocks", kFloat64, kNchwc, kNchwc, whole_vectors<double>, block_sizes<double>, 1,
     block_items<double>, block_prepare<double>, block_run<double>},
    {"float32 blocks to planes", kFloat32, kNchwc, kNchw, whole_vectors<float>,
     channel_sizes<float>, 1, channel_items<float>, channel_prepare<float>, channel_run<float>},
    {"float64 blocks to planes", kFloat64, kNchwc, kNchw, whole_vectors<double>,
     channel_sizes<double>, 1, channel_items<double>, channel_prepare<double>, channel_run<double>},
};

}  // namespace

extern const Variants direct;
const Variants direct = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
