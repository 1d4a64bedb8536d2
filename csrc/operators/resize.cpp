// y[c][p][q] = activate(sum over s of v[q][s] (sum over r of u[p][r] x[c][i[p][r]][j[q][s]]))
// Interpolation, each axis with `taps` pixels and weights for every output: r and s of the problem.
// `w` is one row of numbers, groups is 0: (i[p][r], u[p][r], j[q][s], v[q][s]). Whatever the kind
// of interpolation, it is in these tables (convkit/operators/resize.py). The rows are joined first,
// whole rows at a time; in blocks of channels the columns of that row are vectors, in planes they
// are gathered.
#include "blocks/arena.h"
#include "blocks/epilogue.h"
#include "blocks/pooling_windows.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

template <class T>
struct Parts {
  int32_t *rows, *columns;  // [p][r], [s][q]: a tap of all columns is one gather after the other
  T *down, *across;         // their weights
  int64_t bytes;
};
template <class T>
CK_INLINE Parts<T> packed_parts(const Problem& problem, const void* base) {
  Arena from = arena(base);
  Parts<T> parts{};
  parts.rows = take<int32_t>(from, problem.p * problem.r);
  parts.columns = take<int32_t>(from, problem.q * problem.s);
  parts.down = take<T>(from, problem.p * problem.r);
  parts.across = take<T>(from, problem.q * problem.s);
  parts.bytes = from.used;
  return parts;
}
template <class T>
struct Lines {
  T *joined, *result;  // [w][lanes], [q]
  int64_t bytes;
};
template <class T>
CK_INLINE Lines<T> scratch_parts(const Problem& problem, const void* base) {
  Arena from = arena(base);
  Lines<T> lines{};
  lines.joined = take<T>(from, problem.w * (problem.x_layout == kNchwc ? kLanes<T> : 1));
  lines.result = take<T>(from, problem.x_layout == kNchwc ? 0 : problem.q);
  lines.bytes = from.used;
  return lines;
}
template <class T>
Sizes sizes(const Problem& problem) {
  return {packed_parts<T>(problem, nullptr).bytes, 0, scratch_parts<T>(problem, nullptr).bytes};
}
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) { return problem.c * problem.p; }

template <class T>
void prepare(const Problem& problem, const void* w, void* packed) {
  const Parts<T> parts = packed_parts<T>(problem, packed);
  const T* row = static_cast<const T*>(w);
  const int64_t down = problem.p * problem.r, across = problem.q * problem.s;
  for (int64_t i = 0; i < down; ++i) parts.rows[i] = int32_t(row[i]), parts.down[i] = row[down + i];
  row += 2 * down;
  for (int64_t q = 0; q < problem.q; ++q)
    for (int64_t s = 0; s < problem.s; ++s) {
      const int64_t i = q * problem.s + s, to = s * problem.q + q;
      parts.columns[to] = int32_t(row[i]);
      parts.across[to] = row[across + i];
    }
}

template <class T>
CK_INLINE void join_row(T* joined, T weight, const T* row, int64_t step, int64_t count,
                        bool first) {
  if (first)
    for (int64_t i = 0; i < count; ++i) joined[i] = weight * row[i * step];
  else
    for (int64_t i = 0; i < count; ++i) joined[i] += weight * row[i * step];
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const Parts<T> parts = packed_parts<T>(problem, operands.packed);
  const Lines<T> lines = scratch_parts<T>(problem, operands.scratch);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t c = item / problem.p, p = item % problem.p;
    const T* x = static_cast<const T*>(operands.x) + c * problem.x.c;
    for (int64_t r = 0; r < problem.r; ++r) {
      const T* row = x + parts.rows[p * problem.r + r] * problem.x.h;
      const T weight = parts.down[p * problem.r + r];
      if (problem.x.w == 1)
        join_row(lines.joined, weight, row, 1, problem.w, r == 0);
      else
        join_row(lines.joined, weight, row, problem.x.w, problem.w, r == 0);
    }
    const T* joined = lines.joined;
    T* result = lines.result;
    for (int64_t s = 0; s < problem.s; ++s) {
      const int32_t* from = parts.columns + s * problem.q;
      const T* weights = parts.across + s * problem.q;
      if (s == 0)
        for (int64_t q = 0; q < problem.q; ++q) result[q] = weights[q] * joined[from[q]];
      else
        for (int64_t q = 0; q < problem.q; ++q) result[q] += weights[q] * joined[from[q]];
    }
    finish_row(problem, operands, c, p, 0, lines.result, problem.q);
  }
}

int64_t block_items(const Problem& problem, int64_t) { return block_count(problem) * problem.p; }
template <class T>
void run_blocks(const Problem& problem, int64_t, int64_t begin, int64_t end,
                const Operands& operands) {
  const Parts<T> parts = packed_parts<T>(problem, operands.packed);
  const Lines<T> lines = scratch_parts<T>(problem, operands.scratch);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t block = item / problem.p, p = item % problem.p;
    for (int64_t lane = 0; lane < problem.block; lane += kLanes<T>) {
      const T* x = static_cast<const T*>(operands.x) + block * problem.x.c + lane;
      T* y = static_cast<T*>(operands.y) + block * problem.y.c + p * problem.y.h + lane;
      const T* residual = static_cast<const T*>(operands.epilogue.residual);
      if (residual) residual += block * problem.residual.c + p * problem.residual.h + lane;
      const int32_t* rows = parts.rows + p * problem.r;
      const T* down = parts.down + p * problem.r;
      for (int64_t w = 0; w < problem.w; ++w) {
        const T* pixel = x + w * problem.x.w;
        Vec<T> sum = splat(down[0]) * load(pixel + rows[0] * problem.x.h);
        for (int64_t r = 1; r < problem.r; ++r)
          sum += splat(down[r]) * load(pixel + rows[r] * problem.x.h);
        store(lines.joined + w * kLanes<T>, sum);
      }
      const int32_t* from = parts.columns;
      const T* weights = parts.across;
      for (int64_t q = 0; q < problem.q; ++q, ++from, ++weights) {
        Vec<T> sum = splat(*weights) * load(lines.joined + *from * kLanes<T>);
        for (int64_t s = 1; s < problem.s; ++s)
          sum +=
              splat(weights[s * problem.q]) * load(lines.joined + from[s * problem.q] * kLanes<T>);
        put_channels<T>(problem, operands.epilogue, sum,
                        residual ? residual + q * problem.residual.w : nullptr, y + q * problem.y.w,
                        block * problem.block + lane);
      }
    }
  }
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items, prepare<float>, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items, prepare<double>,
     run<double>},
    {"float32 blocks", kFloat32, kNchwc, kNchwc, block_of_vectors<float>, sizes<float>, 1,
     block_items, prepare<float>, run_blocks<float>},
    {"float64 blocks", kFloat64, kNchwc, kNchwc, block_of_vectors<double>, sizes<double>, 1,
     block_items, prepare<double>, run_blocks<double>},
};

}  // namespace

extern const Variants resize;
const Variants resize = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
