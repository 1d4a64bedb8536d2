// y[k][p q] = b[k] + sum over d of w[k][d] patch[d][p q],   d = (c, r, s)
// patch[c r s][p q] = x[c][p u + r e][q u + s e]     (u: stride, e: dilation)
// The patches of a block of outputs are copied out, so that convolution becomes a matrix product:
// Chellapilla, Puri, Simard: High Performance Convolutional Neural Networks for Document Processing
// (2006). Never more patches than stay in L2: a block has few pixels, and a long sum is cut into
// parts whose sums wait in scratch.
#include "blocks/arena.h"
#include "blocks/band.h"
#include "blocks/epilogue.h"
#include "blocks/gemm.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

constexpr int64_t kPatchBytes = 384 << 10;
constexpr int64_t kMostFilters = 128;  // of an item: their sums take a tenth of L2
constexpr int64_t kLeastFilters = 64;  // below, copying patches again for every item would show
constexpr int64_t kWantedItems = 16;
constexpr int64_t kMostVecs = 4 * kTileVecs;  // pixels of a block

struct Blocks {
  Band band;
  int64_t channels, filters;  // of a group
  int64_t tile_rows;          // tiles of kTileRows filters in a group
  int64_t item_rows, splits;  // tiles of filters in an item, items of a block
  int64_t vecs, panels;       // of a block's pixels; a panel is the width of a register tile
  int64_t depth, part;        // length of the sum, and of a part of it
};
template <class T>
Blocks blocks_of(const Problem& problem) {
  Blocks blocks{};
  const int64_t most = kMostVecs * kLanes<T>;
  blocks.band = band_of(problem, greater(1, most / problem.q), most);
  // As many rows as leave the fewest lanes empty.
  int64_t best = blocks.band.rows, least = 0;
  for (int64_t rows = blocks.band.rows; rows > 0 && rows > blocks.band.rows - 16; --rows) {
    const int64_t vecs =
        ceil_div(blocks.band.class_rows, rows) * ceil_div(rows * blocks.band.columns, kLanes<T>);
    if (least && vecs >= least) continue;
    best = rows;
    least = vecs;
  }
  blocks.band = band_of(problem, best, most);
  const Band& band = blocks.band;
  blocks.channels = problem.c / problem.groups;
  blocks.filters = problem.k / problem.groups;
  blocks.tile_rows = ceil_div(blocks.filters, kTileRows);
  const int64_t others = problem.groups * band.classes * band.row_blocks * band.column_blocks;
  int64_t filters = kMostFilters;
  if (others * ceil_div(blocks.filters, filters) < kWantedItems)
    filters = greater(kLeastFilters, blocks.filters * others / kWantedItems);
  blocks.splits = ceil_div(blocks.tile_rows, lesser(filters, kMostFilters) / kTileRows);
  blocks.item_rows = ceil_div(blocks.tile_rows, blocks.splits);
  blocks.vecs = ceil_div(band.rows * band.columns, kLanes<T>);
  blocks.panels = ceil_div(blocks.vecs, kTileVecs);
  blocks.depth = blocks.channels * problem.r * problem.s;
  const int64_t parts = ceil_div(blocks.depth * blocks.vecs * kVectorBytes, kPatchBytes);
  blocks.part = ceil_div(blocks.depth, parts);
  return blocks;
}

// Part of a row of pixels, as far as it goes into one panel.
struct Segment {
  int64_t row, count;
  int64_t from;      // in the band, from the tap's place
  int64_t to, step;  // in the patches of depth 0; distance of depths
};
template <class T>
struct Scratch {
  T* band;     // one channel
  T* patches;  // [panel][depth of a part][width of the panel]
  T* sums;     // [filter][pixel]
  Segment* segments;
  int64_t* column;  // of filter column s in a band row
  int64_t line;     // distance of filters in sums
  int64_t bytes;
};
template <class T>
Scratch<T> scratch_of(const Problem& problem, const Blocks& blocks, void* base) {
  Arena from = arena(base);
  Scratch<T> scratch{};
  scratch.line = blocks.vecs * kLanes<T>;
  // Copies run over their end by less than a vector: into what is written next, into the gap
  // between panels, from a gap here.
  scratch.band = take<T>(from, blocks.band.channel + kLanes<T>);
  scratch.patches = take<T>(from, blocks.part * scratch.line + blocks.panels * kLanes<T>);
  scratch.sums = take<T>(from, blocks.item_rows * kTileRows * scratch.line);
  scratch.segments = take<Segment>(from, blocks.band.rows + blocks.panels);
  scratch.column = take<int64_t>(from, problem.s);
  scratch.bytes = from.used;
  return scratch;
}
int64_t packed_rows(const Problem& problem, const Blocks& blocks) {
  return problem.groups * blocks.tile_rows * kTileRows;
}

template <class T>
Sizes sizes(const Problem& problem) {
  const Blocks blocks = blocks_of<T>(problem);
  return {packed_rows(problem, blocks) * blocks.depth * int64_t(sizeof(T)), 0,
          scratch_of<T>(problem, blocks, nullptr).bytes};
}
template <class T>
int64_t items(const Problem& problem, int64_t) {
  const Blocks blocks = blocks_of<T>(problem);
  const Band& band = blocks.band;
  return problem.groups * band.classes * band.row_blocks * band.column_blocks * blocks.splits;
}
bool always(const Problem&) { return true; }

// [group][tile of filters][depth][filter]
template <class T>
void prepare(const Problem& problem, const void* weights, void* packed) {
  const Blocks blocks = blocks_of<T>(problem);
  T* to = static_cast<T*>(packed);
  for (int64_t group = 0; group < problem.groups; ++group)
    for (int64_t tile = 0; tile < blocks.tile_rows; ++tile)
      for (int64_t d = 0; d < blocks.depth; ++d)
        for (int64_t i = 0; i < kTileRows; ++i) {
          const int64_t filter = tile * kTileRows + i;
          const int64_t from = (group * blocks.filters + filter) * blocks.depth + d;
          *to++ = filter < blocks.filters ? static_cast<const T*>(weights)[from] : T(0);
        }
}

// First vector of a panel, of panels as even as vectors allow; where its patches stand.
int64_t panel_begin(int64_t vecs, int64_t panels, int64_t panel) { return vecs * panel / panels; }
int64_t panel_place(const Blocks& blocks, int64_t lanes, int64_t first_vec, int64_t panel) {
  return first_vec * lanes * blocks.part + panel * lanes;
}

template <class T>
int64_t list_segments(const Blocks& blocks, const BandBlock& block, int64_t vecs, int64_t panels,
                      Segment* to) {
  constexpr int64_t kSize = kLanes<T>;
  int64_t count = 0, row = 0, column = 0;
  for (int64_t panel = 0; panel < panels; ++panel) {
    const int64_t begin = panel_begin(vecs, panels, panel),
                  end = panel_begin(vecs, panels, panel + 1);
    const int64_t width = (end - begin) * kSize, place = panel_place(blocks, kSize, begin, panel);
    for (int64_t at = 0; at < width && row < block.rows;) {
      const int64_t run = lesser(width - at, block.columns - column);
      to[count++] = {row * blocks.band.row_step, run,
                     row * blocks.band.row_step * blocks.band.pitch + column, place + at, width};
      at += run;
      column += run;
      if (column == block.columns) {
        column = 0;
        ++row;
      }
    }
  }
  return count;
}

// Patches of depths begin .. end.
template <class T>
void copy_patches(const Problem& problem, const Blocks& blocks, const BandBlock& block,
                  const Operands& operands, int64_t group, int64_t begin, int64_t end,
                  int64_t segments, const Scratch<T>& scratch) {
  const int64_t taps = problem.r * problem.s;
  int64_t c = begin / taps, r = begin % taps / problem.s, s = begin % problem.s;
  bool filled = false;
  for (int64_t d = begin; d < end; ++d) {
    if (!filled) {
      fill_band(problem, blocks.band, block, static_cast<const T*>(operands.x),
                group * blocks.channels + c, scratch.band);
      filled = true;
    }
    const T* tap = scratch.band + r * blocks.band.pitch + scratch.column[s];
    for (const Segment *each = scratch.segments, *stop = each + segments; each < stop; ++each) {
      T* to = scratch.patches + each->to + (d - begin) * each->step;
      const bool padding = each->row + r < block.begin || each->row + r >= block.end;
      for (int64_t i = 0; i < each->count; i += kLanes<T>)
        store(to + i, padding ? Vec<T>{} : load(tap + each->from + i));
    }
    if (++s < problem.s) continue;
    s = 0;
    if (++r < problem.r) continue;
    r = 0;
    ++c;
    filled = false;
  }
}

template <class T, int kVecs>
CK_NOINLINE void multiply_tile(const T* w, const T* patches, int64_t depth, T* sums, int64_t line,
                               bool add) {
  Vec<T> sum[kTileRows][kVecs];
  multiply<T, kTileRows, kVecs>(sum, w, 1, kTileRows, patches, kVecs * kLanes<T>, depth);
  CK_UNROLL(8)
  for (int i = 0; i < kTileRows; ++i, sums += line) {
    if (add) {
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) sum[i][v] += load(sums + v * kLanes<T>);
    }
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) store(sums + v * kLanes<T>, sum[i][v]);
  }
}
template <class T>
void multiply_tile(int64_t vecs, const T* w, const T* patches, int64_t depth, T* sums, int64_t line,
                   bool add) {
  if (vecs == 1)
    multiply_tile<T, 1>(w, patches, depth, sums, line, add);
  else if (vecs == 2)
    multiply_tile<T, 2>(w, patches, depth, sums, line, add);
  else
    multiply_tile<T, kTileVecs>(w, patches, depth, sums, line, add);
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const Blocks blocks = blocks_of<T>(problem);
  const Scratch<T> scratch = scratch_of<T>(problem, blocks, operands.scratch);
  const Band& band = blocks.band;
  for (int64_t s = 0; s < problem.s; ++s) scratch.column[s] = tap_column(problem, band, s);
  int64_t copied = -1;  // the block whose patches, of the whole depth, are in scratch
  for (int64_t index = begin; index < end; ++index) {
    const int64_t place = index / blocks.splits, split = index % blocks.splits;
    const int64_t column_block = place % band.column_blocks, rest = place / band.column_blocks;
    const int64_t row_block = rest % band.row_blocks, class_and_group = rest / band.row_blocks;
    const int64_t group = class_and_group / band.classes;
    const BandBlock block =
        band_block(problem, band, class_and_group % band.classes, row_block, column_block);
    if (block.rows <= 0) continue;
    const int64_t vecs = ceil_div(block.rows * block.columns, kLanes<T>),
                  panels = ceil_div(vecs, kTileVecs);
    const int64_t first = split * blocks.item_rows,
                  stop = lesser(first + blocks.item_rows, blocks.tile_rows);
    const int64_t segments = list_segments<T>(blocks, block, vecs, panels, scratch.segments);
    for (int64_t d = 0; d < blocks.depth; d += blocks.part) {
      const int64_t depth = lesser(blocks.part, blocks.depth - d);
      if (copied != place)
        copy_patches(problem, blocks, block, operands, group, d, d + depth, segments, scratch);
      if (depth == blocks.depth) copied = place;
      for (int64_t tile = first; tile < stop; ++tile) {
        const T* w = static_cast<const T*>(operands.packed) +
                     ((group * blocks.tile_rows + tile) * blocks.depth + d) * kTileRows;
        T* sums = scratch.sums + (tile - first) * kTileRows * scratch.line;
        for (int64_t panel = 0; panel < panels; ++panel) {
          const int64_t vec = panel_begin(vecs, panels, panel);
          multiply_tile(panel_begin(vecs, panels, panel + 1) - vec, w,
                        scratch.patches + panel_place(blocks, kLanes<T>, vec, panel), depth,
                        sums + vec * kLanes<T>, scratch.line, d > 0);
        }
        if (d + depth < blocks.depth) continue;
        for (int64_t i = 0; i < lesser(kTileRows, blocks.filters - tile * kTileRows); ++i)
          for (int64_t row = 0; row < block.rows; ++row)
            finish_row(problem, operands, group * blocks.filters + tile * kTileRows + i,
                       block.first_row + row * band.spacing, block.first_column,
                       sums + i * scratch.line + row * block.columns, block.columns);
      }
    }
  }
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items<float>, prepare<float>,
     run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items<double>, prepare<double>,
     run<double>},
};

}  // namespace

extern const Variants im2col;
const Variants im2col = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
