// y[kept] = f over the reduced axes of a[kept, reduced], f one of Reduction. Sums are in double, as
// kParts partial sums: element j of the flattened reduced axes, in the order of those axes, belongs
// to part j mod kParts. Whether the parts stand in the lanes of a vector (runs along a reduced
// axis) or in a vector each (runs along a kept one) changes no bit.
#include <math.h>

#include "blocks/walk.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

constexpr int kWide = kLanes<double>, kParts = 2 * kWide;
typedef Vec<double> Real;

// What a reduction begins with, does with an element, and joins two partial results by.
template <int64_t kFunction>
CK_INLINE double empty() {
  return kFunction == kLargest    ? -__builtin_inf()
         : kFunction == kSmallest ? __builtin_inf()
         : kFunction == kProduct  ? 1.0
                                  : 0.0;
}
template <int64_t kFunction>
CK_INLINE Real element(Real v) {
  if constexpr (kFunction == kMagnitudes) return v < Real{} ? -v : v;
  if constexpr (kFunction == kSquares || kFunction == kLength) return v * v;
  return v;
}
template <int64_t kFunction>
CK_INLINE Real join(Real one, Real other) {
  if constexpr (kFunction == kLargest)
    return (other > one) | (other != other) ? other : one;  // nothing replaces a NaN
  else if constexpr (kFunction == kSmallest)
    return (other < one) | (other != other) ? other : one;
  else if constexpr (kFunction == kProduct)
    return one * other;
  else
    return one + other;
}
template <int64_t kFunction>
CK_INLINE double finish(double v, int64_t count) {
  if constexpr (kFunction == kMean) return v / double(count);
  if constexpr (kFunction == kLength) return sqrt(v);
  return v;
}

// One output: its elements go through a line of whole rounds of the parts.
template <class T, int64_t kFunction>
CK_INLINE double reduced_one(const Sweep& sweep, int kept, int64_t count, const T* a) {
  constexpr int kLast = kSweepAxes - 1;
  alignas(kVectorBytes) double line[kSweepRun + kParts];
  Real low = splat(empty<kFunction>()), high = low;
  Walk walk = walk_from(sweep, kept, kSweepAxes, 0);
  int64_t filled = 0;
  for (int64_t at = 0; at < count;) {
    int64_t run = kept < kSweepAxes ? sweep.size[kLast] - walk.index[kLast] : 1;
    if (run > kSweepRun - filled) run = kSweepRun - filled;
    const T* from = a + walk.a;
    const int64_t step = sweep.a[kLast];
    if (step == 1)
      for (int64_t i = 0; i < run; ++i) line[filled + i] = double(from[i]);
    else
      for (int64_t i = 0; i < run; ++i) line[filled + i] = double(from[i * step]);
    filled += run, at += run;
    walk_on(sweep, kept, kSweepAxes, run, walk);
    if (filled < kSweepRun && at < count) continue;
    const int64_t whole = filled / kParts * kParts;
    for (int64_t i = 0; i < whole; i += kParts) {
      low = join<kFunction>(low, element<kFunction>(load(line + i)));
      high = join<kFunction>(high, element<kFunction>(load(line + i + kWide)));
    }
    if (whole < filled) {  // only the last time: a line holds whole rounds
      for (int64_t i = filled; i < whole + kParts; ++i) line[i] = empty<kFunction>();
      low = join<kFunction>(low, element<kFunction>(load(line + whole)));
      high = join<kFunction>(high, element<kFunction>(load(line + whole + kWide)));
    }
    filled = 0;
  }
  Real all = splat(low[0]);
  for (int i = 1; i < kParts; ++i)
    all = join<kFunction>(all, splat(i < kWide ? low[i] : high[i - kWide]));
  return finish<kFunction>(all[0], count);
}

// kWide outputs whose elements stand side by side.
template <class T, int64_t kFunction>
CK_INLINE void reduced_side_by_side(const Sweep& sweep, int kept, int64_t count, const T* a,
                                    int64_t outputs, double* results) {
  constexpr int kLast = kSweepAxes - 1;
  Real parts[kParts];
  for (Real& part : parts) part = splat(empty<kFunction>());
  Walk walk = walk_from(sweep, kept, kSweepAxes, 0);
  const int64_t step = sweep.a[kLast];
  alignas(kVectorBytes) T some[kWide] = {};
  for (int64_t at = 0; at < count;) {
    const int64_t run = sweep.size[kLast] - walk.index[kLast];
    const T* from = a + walk.a;
    for (int64_t i = 0; i < run; ++i, from += step) {
      const T* values = from;
      if (outputs < kWide) {
        for (int64_t lane = 0; lane < outputs; ++lane) some[lane] = from[lane];
        values = some;
      }
      Real v;
      for (int lane = 0; lane < kWide; ++lane) v[lane] = double(values[lane]);
      Real& part = parts[(at + i) % kParts];
      part = join<kFunction>(part, element<kFunction>(v));
    }
    at += run;
    walk_on(sweep, kept, kSweepAxes, run, walk);
  }
  Real all = parts[0];
  for (int i = 1; i < kParts; ++i) all = join<kFunction>(all, parts[i]);
  for (int lane = 0; lane < kWide; ++lane) results[lane] = finish<kFunction>(all[lane], count);
}

// An item is kWide outputs along the last kept axis.
int64_t items(const Sweep& sweep) {
  const int kept = kSweepAxes - int(sweep.reduced);
  if (kept == 0) return 1;
  return product_of(sweep.size, kept - 1) * ((sweep.size[kept - 1] + kWide - 1) / kWide);
}

template <class T, int64_t kFunction>
CK_NOINLINE void run_all(const Sweep& sweep, int64_t begin, int64_t end,
                         const SweepOperands& operands) {
  const int kept = kSweepAxes - int(sweep.reduced);
  const int64_t count = product_of(sweep.size + kept, int(sweep.reduced));
  const int64_t inner = kept ? sweep.size[kept - 1] : 1, groups = (inner + kWide - 1) / kWide;
  const int64_t step_a = kept ? sweep.a[kept - 1] : 0, step_y = kept ? sweep.y[kept - 1] : 0;
  const bool side_by_side = sweep.reduced > 0 && step_a == 1 && sweep.a[kSweepAxes - 1] != 1;
  for (int64_t item = begin; item < end; ++item) {
    const Walk walk = walk_from(sweep, 0, kept ? kept - 1 : 0, item / groups);
    const int64_t first = item % groups * kWide;
    const int64_t outputs = inner - first < kWide ? inner - first : kWide;
    const T* a = static_cast<const T*>(operands.a) + walk.a + first * step_a;
    T* y = static_cast<T*>(operands.y) + walk.y + first * step_y;
    double results[kWide];
    if (side_by_side)
      reduced_side_by_side<T, kFunction>(sweep, kept, count, a, outputs, results);
    else
      for (int64_t i = 0; i < outputs; ++i)
        results[i] = reduced_one<T, kFunction>(sweep, kept, count, a + i * step_a);
    for (int64_t i = 0; i < outputs; ++i) y[i * step_y] = T(results[i]);
  }
}

template <class T>
void run(const Sweep& sweep, int64_t begin, int64_t end, const SweepOperands& operands) {
  switch (sweep.function) {
    case kSum: return run_all<T, kSum>(sweep, begin, end, operands);
    case kMean: return run_all<T, kMean>(sweep, begin, end, operands);
    case kLargest: return run_all<T, kLargest>(sweep, begin, end, operands);
    case kSmallest: return run_all<T, kSmallest>(sweep, begin, end, operands);
    case kProduct: return run_all<T, kProduct>(sweep, begin, end, operands);
    case kMagnitudes: return run_all<T, kMagnitudes>(sweep, begin, end, operands);
    case kSquares: return run_all<T, kSquares>(sweep, begin, end, operands);
    case kLength: return run_all<T, kLength>(sweep, begin, end, operands);
    default: return;
  }
}

const SweepKernel kKernels[] = {
    {"float32", kFloat32, items, run<float>},
    {"float64", kFloat64, items, run<double>},
};

}  // namespace

extern const SweepVariants reduce;
const SweepVariants reduce = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
