// y[c][h][w] = x[c][h][w] / (k + a sum over c - before <= i <= c + after of x[i][h][w]^2)^beta
// A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet Classification with Deep Convolutional Neural
// Networks", 2012. `w` is (a, beta, k) in one row, groups is 0; before and after are pad_top and
// pad_bottom. float32 is computed in double and rounded once. An item is some pixels of a row with
// all of their channels: their squares are kept, so that each is taken once.
#include "blocks/arena.h"
#include "blocks/epilogue.h"
#include "blocks/logarithm.h"
#include "blocks/pooling_windows.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

constexpr int64_t kPixels = 4 * kLanes<double>;

struct Numbers {
  double factor, beta, k;
};
struct Parts {
  double* squares;  // [before + c + after][kPixels], zero outside the channels
  int64_t bytes;
};
CK_INLINE Parts scratch_parts(const Problem& problem, const void* base) {
  Arena from = arena(base);
  Parts parts{};
  parts.squares = take<double>(from, (problem.pad_top + problem.c + problem.pad_bottom) * kPixels);
  parts.bytes = from.used;
  return parts;
}
Sizes sizes(const Problem& problem) {
  Arena packed = arena(nullptr);
  take<Numbers>(packed, 1);
  return {packed.used, 0, scratch_parts(problem, nullptr).bytes};
}
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) {
  return problem.h * ((problem.w + kPixels - 1) / kPixels);
}
template <class T>
void prepare(const Problem&, const void* w, void* packed) {
  const T* row = static_cast<const T*>(w);
  Arena from = arena(packed);
  *take<Numbers>(from, 1) = {double(row[0]), double(row[1]), double(row[2])};
}

// v^-beta for v > 0
template <class T>
CK_INLINE Real to_minus(Real v, double beta) {
  const Real u = bounded_above(bounded_below(splat(-beta) * logarithm(v), -800), 800);
  const Power e = power<kExponentialTerms<T>, true>(u, Real{});
  return (splat(1.0) + e.q) * e.once * e.twice;
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const Numbers& numbers = *static_cast<const Numbers*>(operands.packed);
  const Parts parts = scratch_parts(problem, operands.scratch);
  const int64_t pieces = (problem.w + kPixels - 1) / kPixels;
  const int64_t before = problem.pad_top, after = problem.pad_bottom, c = problem.c;
  // Channels of planes are one apart in memory's own sense; of blocks, lanes and then blocks are.
  const int64_t block = problem.x_layout == kNchwc ? problem.block : 1;
  const int64_t lane = problem.x_layout == kNchwc ? 1 : 0;
  const auto place = [&](const Strides& strides, int64_t channel) {
    return channel / block * strides.c + channel % block * lane;
  };
  for (int64_t item = begin; item < end; ++item) {
    const int64_t h = item / pieces, first = item % pieces * kPixels;
    const int64_t count = problem.w - first < kPixels ? problem.w - first : kPixels;
    const T* x = static_cast<const T*>(operands.x) + h * problem.x.h + first * problem.x.w;
    T* y = static_cast<T*>(operands.y) + h * problem.y.h + first * problem.y.w;
    for (int64_t i = 0; i < (before + c + after) * kPixels; ++i) parts.squares[i] = 0;
    for (int64_t channel = 0; channel < c; ++channel) {
      const T* from = x + place(problem.x, channel);
      double* squares = parts.squares + (before + channel) * kPixels;
      for (int64_t i = 0; i < count; ++i) {
        const double v = from[i * problem.x.w];
        squares[i] = v * v;
      }
    }
    for (int64_t channel = 0; channel < c; ++channel) {
      alignas(kVectorBytes) double values[kPixels] = {};
      const T* from = x + place(problem.x, channel);
      for (int64_t i = 0; i < count; ++i) values[i] = from[i * problem.x.w];
      const double* squares = parts.squares + channel * kPixels;
      for (int64_t i = 0; i < kPixels; i += kLanes<double>) {
        Real sum{};
        for (int64_t t = 0; t <= before + after; ++t) sum += load(squares + t * kPixels + i);
        const Real base = splat(numbers.k) + splat(numbers.factor) * sum;
        store(values + i, load(values + i) * to_minus<T>(base, numbers.beta));
      }
      T* to = y + place(problem.y, channel);
      for (int64_t i = 0; i < count; ++i) to[i * problem.y.w] = T(values[i]);
    }
    if (lane)
      for (int64_t channel = c; channel < block_count(problem) * block; ++channel)
        for (int64_t i = 0; i < count; ++i) y[place(problem.y, channel) + i * problem.y.w] = T(0);
  }
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes, 1, items, prepare<float>, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes, 1, items, prepare<double>, run<double>},
    {"float32 blocks", kFloat32, kNchwc, kNchwc, always, sizes, 1, items, prepare<float>,
     run<float>},
    {"float64 blocks", kFloat64, kNchwc, kNchwc, always, sizes, 1, items, prepare<double>,
     run<double>},
};

}  // namespace

extern const Variants local_response_norm;
const Variants local_response_norm = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
