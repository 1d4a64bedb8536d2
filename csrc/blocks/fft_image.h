// One image, one filter: two tiles at once as the real and the imaginary part of one complex tile,
//   IFFT(FFT(a + i b) W) = a * w + i (b * w),   since w is real (Sorensen et al. 1987).
// Lanes are neighbouring columns on the way down and neighbouring rows on the way across, so that
// pixels are read and stored as they stand, and only the half-transformed tile is turned. Where
// pairs are few, a pair is cut into parts for many threads, a phase each: of its columns; of its
// rows, there, times W, and back; of its columns back. A range that holds all of a pair does it at
// once.
#pragma once
#include "blocks/arena.h"
#include "blocks/epilogue.h"
#include "blocks/fft_tiling.h"
#include "blocks/transpose.h"
#include "blocks/window.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

struct ImageTiling {
  Axis rows, columns;
  int64_t pairs;                  // of tiles, of one channel
  int64_t row_blocks;             // kLanes rows of frequencies each
  int64_t weight_blocks;          // the other rows are their conjugates, mirrored
  int64_t in_blocks, out_blocks;  // kLanes columns that hold inputs, outputs
  int64_t tap_blocks;             // at most, that hold taps
  int64_t pitch;                  // of a row of the half-transformed pair, in scalars
  bool shared;                    // few pairs: all threads work on each
};
constexpr int64_t kFewPairs = 64;

template <class T>
CK_INLINE int64_t image_axes(int64_t in, int64_t out, int64_t taps, int64_t before, bool zeros,
                             Axis (&axes)[kMostAxes]) {
  const int64_t wrapped = wrapped_size(in, out, taps, before);
  int64_t count = 0;
  for (const ComplexFft<T>& fft : ImageSizes<T>::kTable) {
    const int64_t size = fft.size;
    if (size % kLanes<T> != 0) continue;
    if (zeros && size >= wrapped) {
      axes[count++] = {size, out, 1, 1, taps, 0, before, in, true};
      break;  // larger ones only cost more
    }
    if (size < taps) continue;
    const int64_t step = size - taps + 1, tiles = ceil_div(out, step);
    const int64_t used = tiles == 1 ? min_of(size, out + taps - 1) : size;
    axes[count++] = {size, step, tiles, 1, taps, -before, 0, used, false};
    if (tiles == 1 && !zeros) break;
  }
  return count;
}

// One filter a channel, channels too few to fill the lanes; one-dimensional filters gain nothing
// from tiles of both directions.
template <class T>
bool is_image(const Problem& problem) {
  return problem.x_layout == kNchw && problem.y_layout == kNchw && problem.c == problem.groups &&
         problem.k == problem.groups && problem.groups < kLanes<T> && problem.r > 1 &&
         problem.s > 1 && max_of(problem.r, problem.s) <= kMostImage;
}

// Looks at neither n nor strides.
template <class T>
ImageTiling image_tiling(const Problem& problem) {
  const bool zeros = problem.padding_mode == kZeros;
  Axis rows[kMostAxes], columns[kMostAxes];
  const int64_t row_count =
      image_axes<T>(problem.h, problem.p, problem.r, problem.pad_top, zeros, rows);
  const int64_t column_count =
      image_axes<T>(problem.w, problem.q, problem.s, problem.pad_left, zeros, columns);
  ImageTiling best{};
  double least = -1;
  for (int64_t i = 0; i < row_count; ++i)
    for (int64_t j = 0; j < column_count; ++j) {
      const int64_t pairs = ceil_div(rows[i].tiles * columns[j].tiles, 2);
      // Cycles a point, there and back, fitted over tiles from 48 x 64 to 512 x 640; the slope is
      // less the butterflies' than the caches'. A run of pixels costs its start, too.
      const double points = double(rows[i].size) * columns[j].size;
      const double steep = 1.3 * (log2_of(rows[i].size) + log2_of(columns[j].size)) - 9.6;
      const double point = steep > 5 ? steep : 5;
      const double cost =
          double(pairs) * (points * point + 150 * double(rows[i].size)) + points * point / 4;
      if (least >= 0 && !(cost < least)) continue;
      least = cost;
      best.rows = rows[i];
      best.columns = columns[j];
      best.pairs = pairs;
    }
  const int64_t lanes = kLanes<T>, across = best.columns.size;
  best.row_blocks = best.rows.size / lanes;
  best.weight_blocks = best.row_blocks / 2 + 1;
  best.in_blocks = ceil_div(best.columns.used, lanes);
  best.out_blocks = ceil_div(min_of(best.columns.step, problem.q), lanes);
  best.tap_blocks = min_of(across / lanes, ceil_div(problem.s, lanes) + 2);
  best.pitch = 2 * across + lanes;  // rows off each other's cache sets
  const int64_t all = best.pairs * problem.groups;
  best.shared =
      all < kFewPairs && all * best.rows.size * best.pitch * int64_t(sizeof(T)) <= 2 * kSharedBytes;
  return best;
}

template <class T>
struct ImageMemory {
  T* work;  // half transformed: [row][re, im][column]
  T* line;  // kLanes rows as complex vectors, one a column
  int64_t bytes;
};
template <class T>
ImageMemory<T> image_memory(const ImageTiling& tiling, void* base) {
  Arena from = arena(base);
  ImageMemory<T> memory{};
  memory.line = take<T>(from, tiling.columns.size * 2 * kLanes<T>);
  memory.work = take<T>(from, tiling.rows.size * tiling.pitch);
  memory.bytes = from.used;
  return memory;
}
// What the threads share of pairs that are cut.
template <class T>
struct SharedPairs {
  int64_t* done;  // of each: all of it was in one range
  T* work;
  int64_t bytes;
};
template <class T>
SharedPairs<T> shared_pairs(const ImageTiling& tiling, int64_t groups, void* base) {
  Arena from = arena(base);
  SharedPairs<T> memory{};
  memory.done = take<int64_t>(from, groups * tiling.pairs);
  memory.work = take<T>(from, groups * tiling.pairs * tiling.rows.size * tiling.pitch);
  memory.bytes = from.used;
  return memory;
}

// The tiling, then weights: [row block][column][re, im] of kLanes rows; behind them what prepare
// works with.
template <class T>
struct ImagePacking {
  ImageTiling* tiling;
  T* weights;
  T* column;  // kLanes columns as complex vectors, one a row
  T* line;
  T* work;  // as ImageMemory's, of the columns with taps alone
  int64_t bytes;
};
template <class T>
ImagePacking<T> image_packing(const ImageTiling& tiling, int64_t groups, void* base) {
  Arena from = arena(base);
  ImagePacking<T> parts{};
  parts.tiling = take<ImageTiling>(from, 1);
  parts.weights =
      take<T>(from, groups * tiling.weight_blocks * tiling.columns.size * 2 * kLanes<T>);
  parts.column = take<T>(from, tiling.rows.size * 2 * kLanes<T>);
  parts.line = take<T>(from, tiling.columns.size * 2 * kLanes<T>);
  parts.work = take<T>(from, tiling.rows.size * tiling.tap_blocks * 2 * kLanes<T>);
  parts.bytes = from.used;
  return parts;
}

// line[column] = work[row][column] of kLanes rows, for one block of columns, or back.
template <class T>
CK_INLINE void turn_in(const T* work, int64_t pitch, int64_t im, T* line) {
  constexpr int64_t kPair = 2 * kLanes<T>;
  transpose<T>(work, pitch, line, kPair);
  transpose<T>(work + im, pitch, line + kLanes<T>, kPair);
}
template <class T>
CK_INLINE void turn_out(const T* line, T* work, int64_t pitch, int64_t im) {
  constexpr int64_t kPair = 2 * kLanes<T>;
  transpose<T>(line, kPair, work, pitch);
  transpose<T>(line + kLanes<T>, kPair, work + im, pitch);
}

template <class T>
void image_weights(const ImageTiling& tiling, const Problem& problem, const T* w, T* weights,
                   const ImagePacking<T>& parts) {
  constexpr int64_t kPair = 2 * kLanes<T>;
  const Axis &rows = tiling.rows, &columns = tiling.columns;
  const auto down = image_fft<T>(rows.size), across = image_fft<T>(columns.size);
  const int64_t blocks = columns.size / kLanes<T>, pitch = tiling.tap_blocks * kPair;
  bool tapped[kMostImage / kLanes<T>];
  int64_t place = 0;
  for (int64_t block = 0; block < blocks; ++block) {
    tapped[block] = false;
    for (int l = 0; l < kLanes<T>; ++l) {
      tapped[block] |= tap_at(columns, block * kLanes<T> + l, problem.s, problem.w, problem.q) >= 0;
    }
    if (!tapped[block]) continue;
    for (int64_t i = 0; i < rows.size * kPair; ++i) parts.column[i] = T(0);
    for (int64_t r = 0; r < problem.r; ++r) {
      if (!meets(rows, r, problem.h, problem.p)) continue;
      T* to = parts.column + (r - rows.shift + rows.size) % rows.size * kPair;
      for (int l = 0; l < kLanes<T>; ++l) {
        const int64_t s = tap_at(columns, block * kLanes<T> + l, problem.s, problem.w, problem.q);
        if (s >= 0) to[l] = w[r * problem.s + s];
      }
    }
    T* to = parts.work + place++ * kPair;
    down(parts.column, parts.column + kLanes<T>, kPair, to, to + kLanes<T>, pitch);
  }
  const T scale = T(1) / T(rows.size * columns.size);
  for (int64_t block = 0; block < tiling.weight_blocks; ++block) {
    if (block == tiling.row_blocks) continue;  // one block has no others
    T* to = weights + block * columns.size * kPair;
    const T* from = parts.work + block * kLanes<T> * pitch;
    for (int64_t i = 0; i < blocks; ++i) {
      T* line = parts.line + i * kLanes<T> * kPair;
      if (tapped[i]) {
        turn_in<T>(from, pitch, kLanes<T>, line);
        from += kPair;
      } else {
        __builtin_memset(line, 0, size_t(kLanes<T> * kPair) * sizeof(T));
      }
    }
    across(parts.line, parts.line + kLanes<T>, kPair, to, to + kLanes<T>, kPair);
    for (int64_t i = 0; i < columns.size; ++i, to += kPair) {
      store(to, load(to) * splat(scale));
      store(to + kLanes<T>, load(to + kLanes<T>) * splat(-scale));
    }
  }
}

// One of the two tiles of a pair.
struct ImageTile {
  bool real;
  int64_t row, column;  // of the grid
};
CK_INLINE ImageTile image_tile(const ImageTiling& tiling, int64_t pair, int64_t which) {
  const int64_t tile = 2 * pair + which, columns = tiling.columns.tiles;
  return {tile < tiling.rows.tiles * columns, tile / columns, tile % columns};
}

// Columns are read and stored kStrip vectors at a time: images whose rows are pages apart want runs
// of several lines.
constexpr int64_t kStrip = 8;

// Some blocks of work's columns = those of both tiles, forward.
template <class T>
CK_NOINLINE void image_columns(const Problem& problem, const ImageTiling& tiling, const T* x,
                               int64_t channel, int64_t pair, int64_t first, int64_t last,
                               T* work) {
  const Axis &rows = tiling.rows, &columns = tiling.columns;
  const auto down = image_fft<T>(rows.size);
  const int64_t count = (last - first) * kLanes<T>;
  for (int which = 0; which < 2; ++which) {
    const ImageTile tile = image_tile(tiling, pair, which);
    const int64_t row = rows.begin + tile.row * rows.step;
    const int64_t begin = columns.begin + tile.column * columns.step + first * kLanes<T>;
    const bool quick = problem.x.w == 1 && begin >= 0 && begin + count <= problem.w;
    T* to = work + which * columns.size + first * kLanes<T>;
    for (int64_t i = 0; i < rows.size; ++i, to += tiling.pitch) {
      const int64_t source = tile.real && i < rows.used ? source_row(problem, row + i) : -1;
      if (source < 0) {
        for (int64_t j = 0; j < count; j += kLanes<T>) store(to + j, Vec<T>{});
      } else if (quick) {
        const T* from = x + channel * problem.x.c + source * problem.x.h + begin;
        for (int64_t j = 0; j < count; j += kLanes<T>) store(to + j, load(from + j));
      } else {
        read_row(problem, x, channel, row + i, begin, count, to);
      }
    }
  }
  for (int64_t block = first; block < last; ++block) {
    T *re = work + block * kLanes<T>, *im = re + columns.size;
    down(re, im, tiling.pitch, re, im, tiling.pitch);
  }
}

// One block of work's rows: forward, times the filter, and back.
template <class T>
CK_NOINLINE void image_rows(const ImageTiling& tiling, const T* weights, int64_t block, T* work,
                            T* line) {
  constexpr int64_t kPair = 2 * kLanes<T>;
  const int64_t size = tiling.columns.size, pitch = tiling.pitch;
  const auto across = image_fft<T>(size);
  T* at = work + block * kLanes<T> * pitch;
  for (int64_t i = 0; i < tiling.in_blocks; ++i)
    turn_in<T>(at + i * kLanes<T>, pitch, size, line + i * kLanes<T> * kPair);
  __builtin_memset(line + tiling.in_blocks * kLanes<T> * kPair, 0,
                   size_t((size - tiling.in_blocks * kLanes<T>)*kPair) * sizeof(T));
  across(line, line + kLanes<T>, kPair, line, line + kLanes<T>, kPair);
  const auto multiply = [&](int64_t i, Vec<T> w_re, Vec<T> w_im) CK_LAMBDA {
    T* to = line + i * kPair;
    const Vec<T> re = load(to), im = load(to + kLanes<T>);
    store(to, re * w_re - im * w_im);
    store(to + kLanes<T>, re * w_im + im * w_re);
  };
  if (block < tiling.weight_blocks) {
    const T* w = weights + block * size * kPair;
    for (int64_t i = 0; i < size; ++i)
      multiply(i, load(w + i * kPair), load(w + i * kPair + kLanes<T>));
  } else {  // W[-f][-g] = conj(W[f][g])
    const T* first = weights + (tiling.row_blocks - block) * size * kPair;
    const T* rest = first - size * kPair;
    for (int64_t i = 0; i < size; ++i) {
      const int64_t j = (i == 0 ? 0 : size - i) * kPair;
      const Vec<T> re = mirrored<T>(load(first + j), load(rest + j));
      const Vec<T> im = mirrored<T>(load(first + j + kLanes<T>), load(rest + j + kLanes<T>));
      multiply(i, re, -im);
    }
  }
  across(line + kLanes<T>, line, kPair, line + kLanes<T>, line, kPair);
  for (int64_t i = 0; i < tiling.out_blocks; ++i)
    turn_out<T>(line + i * kLanes<T> * kPair, at + i * kLanes<T>, pitch, size);
}

// Some blocks of columns of both tiles back, and their outputs stored.
template <class T>
CK_NOINLINE void image_outputs(const Problem& problem, const ImageTiling& tiling,
                               const Operands& operands, int64_t filter, int64_t pair,
                               int64_t first, int64_t last, T* work) {
  const Axis &rows = tiling.rows, &columns = tiling.columns;
  const auto down = image_fft<T>(rows.size);
  for (int64_t block = first; block < last; ++block) {
    T *re = work + block * kLanes<T>, *im = re + columns.size;
    down(im, re, tiling.pitch, im, re, tiling.pitch);
  }
  for (int which = 0; which < 2; ++which) {
    const ImageTile tile = image_tile(tiling, pair, which);
    if (!tile.real) continue;
    const int64_t p = tile.row * rows.step, q = tile.column * columns.step;
    const int64_t begin = first * kLanes<T>;
    const int64_t end = min_of(last * kLanes<T>, min_of(columns.step, problem.q - q));
    const int64_t most = min_of(rows.step, problem.p - p);
    T* sums = work + which * columns.size + begin;
    for (int64_t i = 0; i < most && begin < end; ++i, sums += tiling.pitch)
      finish_row(problem, operands, filter, p + i, q + begin, sums, end - begin);
  }
}

// ---- the kernel's functions

template <class T>
Sizes image_sizes(const Problem& problem) {
  const ImageTiling tiling = image_tiling<T>(problem);
  Sizes bytes{};
  bytes.packed = image_packing<T>(tiling, problem.groups, nullptr).bytes;
  bytes.scratch = image_memory<T>(tiling, nullptr).bytes;
  if (tiling.shared) bytes.shared = shared_pairs<T>(tiling, problem.groups, nullptr).bytes;
  return bytes;
}
// Parts of a pair in each phase: where pairs are shared, blocks of columns; of rows; of columns
// back. Otherwise phase 2 is all: a pair.
CK_INLINE int64_t image_parts(const ImageTiling& tiling, int64_t phase) {
  return phase == 0 ? tiling.in_blocks : phase == 1 ? tiling.row_blocks : tiling.out_blocks;
}
template <class T>
int64_t image_items(const Problem& problem, int64_t phase) {
  const ImageTiling tiling = image_tiling<T>(problem);
  const int64_t pairs = problem.groups * tiling.pairs;
  if (!tiling.shared) return phase < 2 ? 0 : pairs;
  return pairs * image_parts(tiling, phase);
}
template <class T>
void prepare_image(const Problem& problem, const void* w, void* packed) {
  const ImageTiling tiling = image_tiling<T>(problem);
  const ImagePacking<T> parts = image_packing<T>(tiling, problem.groups, packed);
  *parts.tiling = tiling;
  const int64_t weights = tiling.weight_blocks * tiling.columns.size * 2 * kLanes<T>;
  for (int64_t group = 0; group < problem.groups; ++group)
    image_weights<T>(tiling, problem, static_cast<const T*>(w) + group * problem.r * problem.s,
                     parts.weights + group * weights, parts);
}
// One phase of some blocks of a pair.
template <class T>
void run_blocks(const Problem& problem, const ImageTiling& tiling, const Operands& operands,
                int64_t group, int64_t pair, int64_t phase, int64_t first, int64_t last, T* work) {
  const ImagePacking<T> packing =
      image_packing<T>(tiling, problem.groups, const_cast<void*>(operands.packed));
  const ImageMemory<T> memory = image_memory<T>(tiling, operands.scratch);
  const T* w = packing.weights + group * tiling.weight_blocks * tiling.columns.size * 2 * kLanes<T>;
  if (phase == 1) {
    for (int64_t block = first; block < last; ++block)
      image_rows(tiling, w, block, work, memory.line);
    return;
  }
  for (int64_t block = first; block < last; block += kStrip) {
    const int64_t end = min_of(block + kStrip, last);
    if (phase == 0)
      image_columns(problem, tiling, static_cast<const T*>(operands.x), group, pair, block, end,
                    work);
    else
      image_outputs(problem, tiling, operands, group, pair, block, end, work);
  }
}
template <class T>
void run_image(const Problem& problem, int64_t phase, int64_t begin, int64_t end,
               const Operands& operands) {
  const ImageTiling& tiling = *static_cast<const ImageTiling*>(operands.packed);
  const ImageMemory<T> memory = image_memory<T>(tiling, operands.scratch);
  const SharedPairs<T> shared = shared_pairs<T>(tiling, problem.groups, operands.shared);
  const int64_t parts = tiling.shared ? image_parts(tiling, phase) : 1;
  for (int64_t i = begin, count; i < end; i += count) {
    const int64_t place = i / parts, first = i % parts;
    const int64_t pair = place % tiling.pairs, group = place / tiling.pairs;
    count = min_of(parts - first, end - i);
    const bool whole = !tiling.shared || (phase == 0 && count == parts);
    if (tiling.shared && phase == 0 && first == 0) shared.done[place] = whole;
    if (whole) {
      for (int64_t part = 0; part < 3; ++part)
        run_blocks(problem, tiling, operands, group, pair, part, 0, image_parts(tiling, part),
                   memory.work);
    } else if (phase == 0 || !shared.done[place]) {
      run_blocks(problem, tiling, operands, group, pair, phase, first, first + count,
                 shared.work + place * tiling.rows.size * tiling.pitch);
    }
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
