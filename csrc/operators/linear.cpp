// y[k][q] = b[k] + sum over c of w[k][c] x[c][q]
// A row of x is a pixel q (h = p = 1), so that all rows of a batch are one image and w is read once for many of them. Both
// factors are read along c: nothing is repacked, and as x and w play the same part, a caller may exchange them to pack the
// smaller one. A sum depends on its own row and filter alone: lane i adds channels i, i + lanes, ... in pieces of kPart
// vectors, then the lanes are added by halves; so bits do not depend on the batch, nor on which factor is which.
#include "blocks/arena.h"
#include "blocks/epilogue.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// Tile in registers: 6 x 4 sums of 32 registers, 6 x 2 of 16. Even one filter has 6 chains of additions.
constexpr int kRows = 6, kFilters = kRegisters == 32 ? 4 : 2;
// One item: rows whose sums for kChunk filters wait in scratch, to be finished as rows of y.
constexpr int64_t kItemRows = 4 * kRows, kChunk = 32;
constexpr int64_t kPart = 64;

template <class T>
struct Parts {
  T* rows;  // [kRows][c], where c is not consecutive in x
  T* sums;  // [kChunk][kItemRows]
  int64_t bytes;
};
template <class T>
Parts<T> scratch_parts(const Problem& problem, void* base) {
  Arena from = arena(base);
  Parts<T> parts{};
  parts.rows = take<T>(from, kRows * problem.c);
  parts.sums = take<T>(from, kChunk * kItemRows);
  parts.bytes = from.used;
  return parts;
}
template <class T>
Sizes sizes(const Problem& problem) {
  return {problem.k * problem.c * int64_t(sizeof(T)), 0, scratch_parts<T>(problem, nullptr).bytes};
}
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) { return (problem.q + kItemRows - 1) / kItemRows; }
template <class T>
void prepare(const Problem& problem, const void* w, void* packed) {
  __builtin_memcpy(packed, w, size_t(sizes<T>(problem).packed));
}

template <class T>
CK_INLINE T sum_of_lanes(Vec<T> v) {
  alignas(kVectorBytes) T lanes[kLanes<T>];
  store(lanes, v);
  CK_UNROLL(8)
  for (int half = kLanes<T> / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}

// sums[f * kItemRows + i] = sum over c of rows[i][c] w[f][c]
template <class T, int kCount>
CK_NOINLINE void multiply_rows(const T* const (&rows)[kRows], const T* w, int64_t depth, T* sums) {
  constexpr int64_t kStep = kLanes<T>;
  Vec<T> total[kRows][kCount] = {};
  for (int64_t first = 0; first < depth; first += kPart * kStep) {
    const int64_t end = depth - first < kPart * kStep ? depth : first + kPart * kStep;
    Vec<T> sum[kRows][kCount] = {};
    int64_t c = first;
    for (; c + kStep <= end; c += kStep) {
      Vec<T> right[kCount];
      CK_UNROLL(8)
      for (int f = 0; f < kCount; ++f) right[f] = load(w + f * depth + c);
      CK_UNROLL(8)
      for (int i = 0; i < kRows; ++i) {
        const Vec<T> left = load(rows[i] + c);
        CK_UNROLL(8)
        for (int f = 0; f < kCount; ++f) sum[i][f] += left * right[f];
      }
    }
    if (c < end) {
      CK_UNROLL(8)
      for (int i = 0; i < kRows; ++i) {
        const Vec<T> left = load_first(rows[i] + c, end - c);
        CK_UNROLL(8)
        for (int f = 0; f < kCount; ++f) sum[i][f] += left * load_first(w + f * depth + c, end - c);
      }
    }
    CK_UNROLL(8)
    for (int i = 0; i < kRows; ++i)
      CK_UNROLL(8)
      for (int f = 0; f < kCount; ++f) total[i][f] += sum[i][f];
  }
  CK_UNROLL(8)
  for (int f = 0; f < kCount; ++f)
    CK_UNROLL(8)
    for (int i = 0; i < kRows; ++i) sums[f * kItemRows + i] = sum_of_lanes<T>(total[i][f]);
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const Parts<T> parts = scratch_parts<T>(problem, operands.scratch);
  const T *x = static_cast<const T*>(operands.x), *w = static_cast<const T*>(operands.packed);
  const int64_t depth = problem.c;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t first = item * kItemRows, left = problem.q - first, count = left < kItemRows ? left : kItemRows;
    for (int64_t chunk = 0; chunk < problem.k; chunk += kChunk) {
      const int64_t filters = problem.k - chunk < kChunk ? problem.k - chunk : kChunk;
      for (int64_t tile = 0; tile < count; tile += kRows) {
        const T* rows[kRows];
        for (int i = 0; i < kRows; ++i) {
          // Past the last row the tile computes that one again and nobody reads it.
          const int64_t row = tile + i < count ? tile + i : count - 1;
          rows[i] = x + (first + row) * problem.x.w;
          if (problem.x.c == 1) continue;
          T* copy = parts.rows + i * depth;
          for (int64_t c = 0; c < depth; ++c) copy[c] = rows[i][c * problem.x.c];
          rows[i] = copy;
        }
        T* sums = parts.sums + tile;
        for (int64_t f = 0; f < filters;) {
          const T* filter = w + (chunk + f) * depth;
          const int step = filters - f >= kFilters ? kFilters : filters - f >= 2 ? 2 : 1;
          if (step == kFilters)
            multiply_rows<T, kFilters>(rows, filter, depth, sums + f * kItemRows);
          else if (step == 2)
            multiply_rows<T, 2>(rows, filter, depth, sums + f * kItemRows);
          else
            multiply_rows<T, 1>(rows, filter, depth, sums + f * kItemRows);
          f += step;
        }
      }
      for (int64_t f = 0; f < filters; ++f)
        finish_row(problem, operands, chunk + f, 0, first, parts.sums + f * kItemRows, count);
    }
  }
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items, prepare<float>, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items, prepare<double>, run<double>},
};

}  // namespace

extern const Variants linear;
const Variants linear = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
