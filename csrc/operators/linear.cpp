// y[k][q] = b[k] + sum over c of w[k][c] x[c][q]
// A row of x is a pixel q (h = p = 1), so that all rows of a batch are one image and w is read once
// for many of them. Both factors are read along c, so x and w play the same part: a caller may
// exchange them to pack the smaller one. A sum depends on its own row and filter alone: lane i adds
// channels i, i + lanes, ... in pieces of kPart vectors, then the lanes are added up; so bits do
// not depend on the batch, nor on which factor is which.
#include "blocks/arena.h"
#include "blocks/epilogue.h"
#include "blocks/transpose.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// Tile in registers: 6 x 4 sums of 32 registers, 6 x 2 of 16. Even one filter has 6 chains of
// additions.
constexpr int kRows = 6, kFilters = kRegisters == 32 ? 4 : 2;
// One item: rows whose sums for kChunk filters wait in scratch, to be finished as rows of y.
constexpr int64_t kItemRows = 4 * kRows, kChunk = 32;
// Vectors of c that are added up before they are added to the rest: keeps rounding errors small,
// and 6 rows of this length stay in the first cache while the filters of a chunk go by.
constexpr int64_t kPart = 64;

int64_t vectors_of(int64_t depth, int64_t lanes) { return (depth + lanes - 1) / lanes; }

template <class T>
struct Parts {
  T* rows;    // [kRows][c], where c is not consecutive in x
  T* totals;  // [kChunk][kRows] vectors
  T* sums;    // [kChunk][kItemRows]
  int64_t bytes;
};
template <class T>
Parts<T> scratch_parts(const Problem& problem, void* base) {
  Arena from = arena(base);
  Parts<T> parts{};
  parts.rows = take<T>(from, kRows * problem.c);
  parts.totals = take<T>(from, kChunk * kRows * kLanes<T>);
  parts.sums = take<T>(from, kChunk * kItemRows);
  parts.bytes = from.used;
  return parts;
}
template <class T>
Sizes sizes(const Problem& problem) {
  const int64_t row = vectors_of(problem.c, kLanes<T>) * kLanes<T>;
  return {problem.k * row * int64_t(sizeof(T)), 0, scratch_parts<T>(problem, nullptr).bytes};
}
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) { return (problem.q + kItemRows - 1) / kItemRows; }

// Filters of the tile that begins at filter f.
CK_INLINE int64_t tile_filters(int64_t f, int64_t filters) {
  return filters - f >= kFilters ? kFilters : filters - f >= 2 ? 2 : 1;
}

// Tile by tile, vector by vector of c, a tile's filters side by side, filled up with zeros.
template <class T>
void prepare(const Problem& problem, const void* w, void* packed) {
  T* to = static_cast<T*>(packed);
  const int64_t vectors = vectors_of(problem.c, kLanes<T>);
  for (int64_t f = 0; f < problem.k;) {
    const int64_t count = tile_filters(f, problem.k);
    const T* from = static_cast<const T*>(w) + f * problem.c;
    for (int64_t v = 0; v < vectors; ++v)
      for (int64_t i = 0; i < count; ++i, to += kLanes<T>) {
        const int64_t left = problem.c - v * kLanes<T>;
        store(to, left < kLanes<T> ? load_first(from + i * problem.c + v * kLanes<T>, left)
                                   : load(from + i * problem.c + v * kLanes<T>));
      }
    f += count;
  }
}

// totals[f][i] += sum over `depth` channels of rows[i] and filter f of a tile, lane by lane;
// `first`: = instead of +=.
template <class T, int kCount>
CK_NOINLINE void multiply_rows(const T* const (&rows)[kRows], const T* w, int64_t depth, bool first,
                               T* totals) {
  constexpr int64_t kStep = kLanes<T>;
  Vec<T> sum[kRows][kCount] = {};
  int64_t c = 0;
  for (; c + kStep <= depth; c += kStep, w += kCount * kStep) {
    Vec<T> right[kCount];
    CK_UNROLL(8)
    for (int f = 0; f < kCount; ++f) right[f] = load(w + f * kStep);
    CK_UNROLL(8)
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> left = load(rows[i] + c);
      CK_UNROLL(8)
      for (int f = 0; f < kCount; ++f) sum[i][f] += left * right[f];
    }
  }
  if (c < depth) {
    Vec<T> right[kCount];
    CK_UNROLL(8)
    for (int f = 0; f < kCount; ++f) right[f] = load(w + f * kStep);
    CK_UNROLL(8)
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> left = load_first(rows[i] + c, depth - c);
      CK_UNROLL(8)
      for (int f = 0; f < kCount; ++f) sum[i][f] += left * right[f];
    }
  }
  if (!first) {
    CK_UNROLL(8)
    for (int f = 0; f < kCount; ++f) CK_UNROLL(8)
    for (int i = 0; i < kRows; ++i) sum[i][f] += load(totals + (f * kRows + i) * kStep);
  }
  CK_UNROLL(8)
  for (int f = 0; f < kCount; ++f) CK_UNROLL(8)
  for (int i = 0; i < kRows; ++i) store(totals + (f * kRows + i) * kStep, sum[i][f]);
}

// sums[i] = the sum of the lanes of vector i, for i < lanes.
template <class T>
CK_INLINE Vec<T> sums_of_lanes(const T* vectors) {
  Vec<T> lane[kLanes<T>];
  CK_UNROLL(16)
  for (int i = 0; i < kLanes<T>; ++i) lane[i] = load(vectors + i * kLanes<T>);
  transpose<T>(lane);
  CK_UNROLL(4)
  for (int half = kLanes<T> / 2; half > 0; half /= 2) CK_UNROLL(8)
  for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}

// sums[f][i] of `filters` filters from `chunk` on and the rows of one tile.
template <class T>
CK_NOINLINE void multiply_tile(const Problem& problem, const T* const (&rows)[kRows], const T* w,
                               int64_t chunk, int64_t filters, T* totals, T* sums) {
  const int64_t vectors = vectors_of(problem.c, kLanes<T>), row = vectors * kLanes<T>,
                part = kPart * kLanes<T>;
  for (int64_t c = 0; c < problem.c; c += part) {
    const int64_t depth = problem.c - c < part ? problem.c - c : part;
    const T* piece[kRows];
    for (int i = 0; i < kRows; ++i) piece[i] = rows[i] + c;
    for (int64_t f = 0; f < filters;) {
      const int64_t count = tile_filters(chunk + f, problem.k);
      const T* tile = w + (chunk + f) * row + c * count;
      T* total = totals + f * kRows * kLanes<T>;
      if (count == kFilters)
        multiply_rows<T, kFilters>(piece, tile, depth, c == 0, total);
      else if (count == 2)
        multiply_rows<T, 2>(piece, tile, depth, c == 0, total);
      else
        multiply_rows<T, 1>(piece, tile, depth, c == 0, total);
      f += count;
    }
  }
  alignas(kVectorBytes)
      T flat[kChunk * kRows];  // lanes past the last filter hold what scratch held
  for (int64_t i = 0; i < filters * kRows; i += kLanes<T>)
    store(flat + i, sums_of_lanes<T>(totals + i * kLanes<T>));
  for (int64_t f = 0; f < filters; ++f)
    for (int i = 0; i < kRows; ++i) sums[f * kItemRows + i] = flat[f * kRows + i];
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const Parts<T> parts = scratch_parts<T>(problem, operands.scratch);
  const T *x = static_cast<const T*>(operands.x), *w = static_cast<const T*>(operands.packed);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t first = item * kItemRows, left = problem.q - first,
                  count = left < kItemRows ? left : kItemRows;
    for (int64_t chunk = 0; chunk < problem.k; chunk += kChunk) {
      const int64_t filters = problem.k - chunk < kChunk ? problem.k - chunk : kChunk;
      for (int64_t tile = 0; tile < count; tile += kRows) {
        const T* rows[kRows];
        for (int i = 0; i < kRows; ++i) {
          // Past the last row the tile computes that one again and nobody reads it.
          const int64_t row = tile + i < count ? tile + i : count - 1;
          rows[i] = x + (first + row) * problem.x.w;
          if (problem.x.c == 1) continue;
          T* copy = parts.rows + i * problem.c;
          for (int64_t c = 0; c < problem.c; ++c) copy[c] = rows[i][c * problem.x.c];
          rows[i] = copy;
        }
        multiply_tile(problem, rows, w, chunk, filters, parts.totals, parts.sums + tile);
      }
      for (int64_t f = 0; f < filters; ++f)
        finish_row(problem, operands, chunk + f, 0, first, parts.sums + f * kItemRows, count);
    }
  }
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items, prepare<float>, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items, prepare<double>,
     run<double>},
};

}  // namespace

extern const Variants linear;
const Variants linear = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
