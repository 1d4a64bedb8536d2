// y[c][h][w] = activate((x[c][h][w] - mean[c]) / sqrt(var[c] + eps) gamma[c] + beta[c]), mean and
// var (the mean square distance from the mean) over this image's own channel. D. Ulyanov, A.
// Vedaldi, V. Lempitsky, "Instance Normalization", 2016. `w` is (gamma[c], beta[c], eps) in one
// row, groups is 0. Sums are float64 for both dtypes, in lanes by the pixel's column, and the
// channel is read twice for them: a difference of two large sums would lose its digits.
#include <math.h>

#include "blocks/epilogue.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

constexpr int64_t kRun = 256;  // pixels widened at a time

template <class T>
Sizes sizes(const Problem& problem) {
  return {(2 * problem.c + 1) * int64_t(sizeof(T)), 0, 0};
}
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) { return problem.c; }
template <class T>
void prepare(const Problem& problem, const void* w, void* packed) {
  __builtin_memcpy(packed, w, size_t(2 * problem.c + 1) * sizeof(T));
}

// sum over the channel of change(x), change mapping vectors to vectors.
template <class T, class Change>
CK_INLINE double sum_of(const Problem& problem, const T* x, double filler, const Change& change) {
  alignas(kVectorBytes) double line[kRun];
  Vec<double> sum{};
  for (int64_t h = 0; h < problem.h; ++h)
    for (int64_t first = 0; first < problem.w; first += kRun) {
      const int64_t count = problem.w - first < kRun ? problem.w - first : kRun;
      const T* row = x + h * problem.x.h + first * problem.x.w;
      if (problem.x.w == 1)
        for (int64_t i = 0; i < count; ++i) line[i] = double(row[i]);
      else
        for (int64_t i = 0; i < count; ++i) line[i] = double(row[i * problem.x.w]);
      for (int64_t i = count; i % kLanes<double>; ++i) line[i] = filler;
      for (int64_t i = 0; i < count; i += kLanes<double>) sum += change(load(line + i));
    }
  double all = 0;
  for (int i = 0; i < kLanes<double>; ++i) all += sum[i];
  return all;
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const T *gamma = static_cast<const T*>(operands.packed), *beta = gamma + problem.c;
  const double eps = double(beta[problem.c]), pixels = double(problem.h * problem.w);
  for (int64_t c = begin; c < end; ++c) {
    const T* x = static_cast<const T*>(operands.x) + c * problem.x.c;
    const double mean = sum_of(problem, x, 0.0, [](Vec<double> v) { return v; }) / pixels;
    const double var = sum_of(problem, x, mean,
                              [=](Vec<double> v) {
                                const Vec<double> d = v - splat(mean);
                                return d * d;
                              }) /
                       pixels;
    const double scale = double(gamma[c]) / sqrt(var + eps), shift = double(beta[c]);
    T line[kRun];
    for (int64_t h = 0; h < problem.h; ++h)
      for (int64_t first = 0; first < problem.w; first += kRun) {
        const int64_t count = problem.w - first < kRun ? problem.w - first : kRun;
        const T* row = x + h * problem.x.h + first * problem.x.w;
        for (int64_t i = 0; i < count; ++i)
          line[i] = T((double(row[i * problem.x.w]) - mean) * scale + shift);
        finish_row(problem, operands, c, h, first, line, count);
      }
  }
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items, prepare<float>, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items, prepare<double>,
     run<double>},
};

}  // namespace

extern const Variants instance_norm;
const Variants instance_norm = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
