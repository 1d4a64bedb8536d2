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
// Filters of a chunk. The sums of an item, that is of some tiles of rows, wait in scratch for the
// rest of their channels, and then to be finished as rows of y.
constexpr int64_t kChunk = 32;
// Vectors of c that are added up before they are added to the rest: keeps rounding errors small,
// and 6 rows of this length stay in the first cache while the filters of a chunk go by.
constexpr int64_t kPart = 64;
// Rows of an item, and those of them that meet a part of the channels before the next part comes:
// many where the filters do not stay in the second level of cache, so that they pass less often;
// else one tile, whose rows then run on.
constexpr int64_t kItemRows = 4 * kRows, kManyRows = 16 * kRows;
template <class T>
bool filters_pass(const Problem& problem) {
  const int64_t filters = problem.k < kChunk ? problem.k : kChunk;
  return filters * problem.c * int64_t(sizeof(T)) > 1 << 20;
}
template <class T>
int64_t item_rows(const Problem& problem) {
  return filters_pass<T>(problem) ? kManyRows : kItemRows;
}

int64_t vectors_of(int64_t depth, int64_t lanes) { return (depth + lanes - 1) / lanes; }

template <class T>
struct Parts {
  T* rows;    // [kRows][channels of a part], where c is not consecutive in x
  T* totals;  // [tile][filter][row of the tile] vectors
  T* sums;    // [filter][row]
  int64_t bytes;
};
template <class T>
Parts<T> scratch_parts(const Problem& problem, void* base) {
  Arena from = arena(base);
  Parts<T> parts{};
  const int64_t rows = item_rows<T>(problem), part = kPart * kLanes<T>;
  parts.rows = take<T>(from, kRows * (problem.c < part ? problem.c : part));
  parts.totals = take<T>(from, rows * kChunk * kLanes<T>);
  parts.sums = take<T>(from, rows * kChunk);
  parts.bytes = from.used;
  return parts;
}
template <class T>
Sizes sizes(const Problem& problem) {
  const int64_t row = vectors_of(problem.c, kLanes<T>) * kLanes<T>;
  return {problem.k * row * int64_t(sizeof(T)), 0, scratch_parts<T>(problem, nullptr).bytes};
}
bool always(const Problem&) { return true; }
template <class T>
int64_t items(const Problem& problem, int64_t) {
  return (problem.q + item_rows<T>(problem) - 1) / item_rows<T>(problem);
}

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

// Rows that are multiplied next: [begin, end) of them are fetched on the way, line by line along
// the channels. Memory is then read while the processor computes.
template <class T>
struct Ahead {
  const T* rows[kRows];
  int begin, end;
};

// totals[f][i] += sum over `depth` channels of rows[i] and filter f of a tile, lane by lane;
// `first`: = instead of +=.
template <class T, int kCount>
CK_NOINLINE void multiply_rows(const T* const (&rows)[kRows], const Ahead<T>& ahead, const T* w,
                               int64_t depth, bool first, T* totals) {
  constexpr int64_t kStep = kLanes<T>;
  Vec<T> sum[kRows][kCount] = {};
  int64_t c = 0;
  for (; c + kStep <= depth; c += kStep, w += kCount * kStep) {
    for (int i = ahead.begin; i < ahead.end; ++i) __builtin_prefetch(ahead.rows[i] + c, 0, 2);
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

// A part of the channels: the rows of a tile times `filters` filters from `chunk` on, whose part
// begins at channel c.
template <class T>
CK_NOINLINE void multiply_tile(const Problem& problem, const T* const (&rows)[kRows],
                               const T* const (&next)[kRows], const T* w, int64_t chunk,
                               int64_t filters, int64_t c, int64_t depth, T* totals) {
  const int64_t row = vectors_of(problem.c, kLanes<T>) * kLanes<T>;
  const bool many = filters_pass<T>(problem);
  Ahead<T> ahead;
  for (int i = 0; i < kRows; ++i) ahead.rows[i] = next[i];
  for (int64_t f = 0; f < filters;) {
    const int64_t count = tile_filters(chunk + f, problem.k);
    const T* tile = w + (chunk + f) * row + c * count;
    T* total = totals + f * kRows * kLanes<T>;
    // Where the filters pass seldom the rows are new ones every time; else the hardware sees them
    // come.
    ahead.begin = many ? int(kRows * f / filters) : 0;
    ahead.end = many ? int(kRows * (f + count) / filters) : 0;
    if (count == kFilters)
      multiply_rows<T, kFilters>(rows, ahead, tile, depth, c == 0, total);
    else if (count == 2)
      multiply_rows<T, 2>(rows, ahead, tile, depth, c == 0, total);
    else
      multiply_rows<T, 1>(rows, ahead, tile, depth, c == 0, total);
    f += count;
  }
}

// sums[f][i] = the lanes of totals[f][i], added up; `pitch` from filter to filter.
template <class T>
CK_NOINLINE void add_lanes(const T* totals, int64_t filters, int64_t pitch, T* sums) {
  alignas(kVectorBytes)
      T flat[kChunk * kRows];  // lanes past the last filter hold what scratch held
  for (int64_t i = 0; i < filters * kRows; i += kLanes<T>)
    store(flat + i, sums_of_lanes<T>(totals + i * kLanes<T>));
  for (int64_t f = 0; f < filters; ++f)
    for (int i = 0; i < kRows; ++i) sums[f * pitch + i] = flat[f * kRows + i];
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const Parts<T> parts = scratch_parts<T>(problem, operands.scratch);
  const T *x = static_cast<const T*>(operands.x), *w = static_cast<const T*>(operands.packed);
  const int64_t each = item_rows<T>(problem), part = kPart * kLanes<T>,
                tile_totals = kRows * kChunk * kLanes<T>,
                together = filters_pass<T>(problem) ? kManyRows : kRows;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t first = item * each, left = problem.q - first, count = left < each ? left : each;
    // Past the last row a tile computes that one again and nobody reads it.
    const auto point = [&](int64_t tile, int64_t c, const T*(&rows)[kRows]) {
      for (int i = 0; i < kRows; ++i) {
        const int64_t row = tile + i < count ? tile + i : count - 1;
        rows[i] = x + (first + row) * problem.x.w + c * problem.x.c;
      }
    };
    for (int64_t chunk = 0; chunk < problem.k; chunk += kChunk) {
      const int64_t filters = problem.k - chunk < kChunk ? problem.k - chunk : kChunk;
      for (int64_t group = 0; group < count; group += together) {
        const int64_t stop = count - group < together ? count : group + together;
        for (int64_t c = 0; c < problem.c; c += part) {
          const int64_t depth = problem.c - c < part ? problem.c - c : part;
          for (int64_t tile = group; tile < stop; tile += kRows) {
            const T *rows[kRows], *next[kRows];
            point(tile, c, rows);
            if (tile + kRows < stop)
              point(tile + kRows, c, next);
            else if (c + part < problem.c)
              point(group, c + part, next);
            else
              point(stop, 0, next);
            if (problem.x.c != 1)
              for (int i = 0; i < kRows; ++i) {
                T* const copy = parts.rows + i * depth;
                for (int64_t j = 0; j < depth; ++j) copy[j] = rows[i][j * problem.x.c];
                rows[i] = copy;
              }
            multiply_tile(problem, rows, next, w, chunk, filters, c, depth,
                          parts.totals + tile / kRows * tile_totals);
          }
        }
      }
      for (int64_t tile = 0; tile < count; tile += kRows)
        add_lanes(parts.totals + tile / kRows * tile_totals, filters, each, parts.sums + tile);
      for (int64_t f = 0; f < filters; ++f)
        finish_row(problem, operands, chunk + f, 0, first, parts.sums + f * each, count);
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

extern const Variants linear;
const Variants linear = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
