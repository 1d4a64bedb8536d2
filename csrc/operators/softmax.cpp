// y[c][h][w] = exp(b x[c][h][w] - m) / sum over c of exp(b x[c][h][w] - m),   m = max over c of b
// x[c][h][w] b is the epilogue's first parameter. Sums are float64 for both dtypes, carry their
// rounding errors along (a thousand channels would cost 8 eps) and always add the same channels in
// the same order. float64 carries b x - m in two parts, since an error of the exponent is one of
// the result.
#include "blocks/arena.h"
#include "blocks/epilogue.h"
#include "blocks/exponential.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// Pixels of one item: those that share the cache lines of a planar image.
constexpr int64_t kPixels = 16;

struct Parts {
  double* values;  // [kPixels][pitch]
  int64_t pitch, bytes;
};
Parts scratch_parts(const Problem& problem, void* base) {
  Arena from = arena(base);
  Parts parts{};
  parts.pitch = (problem.c + kLanes<double> - 1) / kLanes<double> * kLanes<double>;
  parts.values = take<double>(from, kPixels * parts.pitch);
  parts.bytes = from.used;
  return parts;
}
Sizes sizes(const Problem& problem) { return {0, 0, scratch_parts(problem, nullptr).bytes}; }
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) {
  return (problem.p * problem.q + kPixels - 1) / kPixels;
}
void prepare(const Problem&, const void*, void*) {}

// exp(b v - m), between 0 and 1.
template <class T>
CK_INLINE Real exponential(Real v, Real b, Real m) {
  constexpr double kFar = -800;  // exp(kFar) is 0 in both dtypes
  Real z = b * v - m, low{};
  if constexpr (sizeof(T) == 8) {
    const Exact product = exact_product(b, v), difference = exact_sum(product.hi, -m);
    z = difference.hi, low = difference.lo + product.lo;
  }
  low = (low == low) & (z >= splat(kFar))
            ? low
            : Real{};  // infinities and values near overflow have no second part
  const Power e = power<kExponentialTerms<T>, true>(bounded_below(z, kFar), low);
  return (splat(1.0) + e.q) * e.once * e.twice;
}

// exp(b x - m) in place; returns their sum. The last vector is filled up with a value that changes
// no maximum and is not summed.
template <class T>
CK_INLINE double exponentials(double* values, int64_t count, double factor) {
  constexpr int64_t kStep = kLanes<double>;
  for (int64_t i = count; i % kStep; ++i) values[i] = values[0];
  const Real b = splat(factor);
  Real most = b * load(values);
  for (int64_t i = kStep; i < count; i += kStep) {
    const Real v = b * load(values + i);
    most = v > most ? v : most;
  }
  double m = most[0];
  for (int64_t i = 1; i < kStep; ++i) m = most[i] > m ? most[i] : m;
  const int64_t whole = count / kStep * kStep;
  Real sum{}, lost{};
  for (int64_t i = 0; i < whole; i += kStep) {
    const Real value = exponential<T>(load(values + i), b, splat(m));
    store(values + i, value);
    const Exact next = exact_sum(sum, value);
    sum = next.hi, lost += next.lo;
  }
  if (whole < count) store(values + whole, exponential<T>(load(values + whole), b, splat(m)));
  double total = 0;
  for (int64_t i = 0; i < kStep; ++i) total += sum[i] + lost[i];
  for (int64_t i = whole; i < count; ++i) total += values[i];
  return total;
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const Parts parts = scratch_parts(problem, operands.scratch);
  const int64_t pixels = problem.p * problem.q;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t first = item * kPixels,
                  count = pixels - first < kPixels ? pixels - first : kPixels;
    int64_t from[kPixels], to[kPixels];
    for (int64_t j = 0; j < count; ++j) {
      const int64_t h = (first + j) / problem.q, w = (first + j) % problem.q;
      from[j] = h * problem.x.h + w * problem.x.w;
      to[j] = h * problem.y.h + w * problem.y.w;
    }
    const T* x = static_cast<const T*>(operands.x);
    T* y = static_cast<T*>(operands.y);
    if (problem.x.c == 1)
      for (int64_t j = 0; j < count; ++j)
        for (int64_t c = 0; c < problem.c; ++c) parts.values[j * parts.pitch + c] = x[from[j] + c];
    else
      for (int64_t c = 0; c < problem.c; ++c)
        for (int64_t j = 0; j < count; ++j)
          parts.values[j * parts.pitch + c] = x[from[j] + c * problem.x.c];
    double sums[kPixels];
    for (int64_t j = 0; j < count; ++j)
      sums[j] = exponentials<T>(parts.values + j * parts.pitch, problem.c, operands.epilogue.a);
    if (problem.y.c == 1)
      for (int64_t j = 0; j < count; ++j)
        for (int64_t c = 0; c < problem.c; ++c)
          y[to[j] + c] = T(parts.values[j * parts.pitch + c] / sums[j]);
    else
      for (int64_t c = 0; c < problem.c; ++c)
        for (int64_t j = 0; j < count; ++j)
          y[to[j] + c * problem.y.c] = T(parts.values[j * parts.pitch + c] / sums[j]);
  }
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes, 1, items, prepare, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes, 1, items, prepare, run<double>},
};

}  // namespace

extern const Variants softmax;
const Variants softmax = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
