// y[k][p][q] = b[k] + sum over c, r, s of w[k][c][r][s] x[c][p u + r d][q u + s d]     (u: stride, d: dilation)
#include "blocks/arena.h"
#include "blocks/epilogue.h"
#include "blocks/window.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

template <class T>
struct Parts {
  T* row;   // one padded input row
  T* sums;  // one output row
  int64_t bytes;
};
template <class T>
Parts<T> scratch_parts(const Problem& problem, void* base) {
  Arena from = arena(base);
  Parts<T> parts{};
  parts.row = take<T>(from, problem.w + problem.pad_left + problem.pad_right);
  parts.sums = take<T>(from, problem.q);
  parts.bytes = from.used;
  return parts;
}
template <class T>
Sizes sizes(const Problem& problem) {
  const int64_t weights = problem.k * (problem.c / problem.groups) * problem.r * problem.s;
  return {weights * int64_t(sizeof(T)), 0, scratch_parts<T>(problem, nullptr).bytes};
}
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) { return problem.k * problem.p; }
template <class T>
void prepare(const Problem& problem, const void* w, void* packed) {
  __builtin_memcpy(packed, w, size_t(sizes<T>(problem).packed));
}
template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const Parts<T> parts = scratch_parts<T>(problem, operands.scratch);
  const int64_t channels = problem.c / problem.groups, filters = problem.k / problem.groups;
  const int64_t width = problem.w + problem.pad_left + problem.pad_right;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t k = i / problem.p, p = i % problem.p, group = k / filters;
    const T* w = static_cast<const T*>(operands.packed) + k * channels * problem.r * problem.s;
    for (int64_t q = 0; q < problem.q; ++q) parts.sums[q] = T(0);
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t r = 0; r < problem.r; ++r) {
        const int64_t row = p * problem.stride_h + r * problem.dilation_h - problem.pad_top;
        if (source_row(problem, row) < 0) continue;
        read_row(problem, static_cast<const T*>(operands.x), group * channels + c, row, -problem.pad_left, width, parts.row);
        for (int64_t s = 0; s < problem.s; ++s) {
          const T weight = w[(c * problem.r + r) * problem.s + s];
          for (int64_t q = 0; q < problem.q; ++q)
            parts.sums[q] += weight * parts.row[q * problem.stride_w + s * problem.dilation_w];
        }
      }
    finish_row(problem, operands, k, p, 0, parts.sums, problem.q);
  }
}
const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items, prepare<float>, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items, prepare<double>, run<double>},
};

}  // namespace

extern const Variants direct;
const Variants direct = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
