// y[i] = activate(f(a[i], b[i])), f one of Binary: arithmetic with broadcasting, as a b of stride
// 0. Functions of one argument are f = first and an activation. The value of an element does not
// depend on where it stands in a run.
#include <math.h>

#include "blocks/epilogue.h"
#include "blocks/walk.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

template <class T, class Function>
CK_INLINE void join(const Epilogue& epilogue, const T* a, const T* b, T* to, int64_t count,
                    const Function& function) {
  int64_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>)
    store(to + i, activated<T>(epilogue, function(load(a + i), load(b + i))));
  if (i == count) return;
  const int64_t rest = count - i;
  const Vec<T> last = function(load_first(a + i, rest), load_first(b + i, rest));
  store_first(to + i, rest, activated<T>(epilogue, last));
}

CK_INLINE float raised(float a, float b) { return b == 2 ? a * a : powf(a, b); }
CK_INLINE double raised(double a, double b) { return b == 2 ? a * a : pow(a, b); }

template <class T>
CK_NOINLINE void join_all(int64_t function, const Epilogue& epilogue, const T* a, const T* b, T* to,
                          int64_t count) {
  typedef Vec<T> V;
  switch (function) {
    case kFirst: return join(epilogue, a, a, to, count, [](V u, V) { return u; });
    case kAdd: return join(epilogue, a, b, to, count, [](V u, V v) { return u + v; });
    case kSubtract: return join(epilogue, a, b, to, count, [](V u, V v) { return u - v; });
    case kMultiply: return join(epilogue, a, b, to, count, [](V u, V v) { return u * v; });
    case kDivide: return join(epilogue, a, b, to, count, [](V u, V v) { return u / v; });
    case kPower: {
      alignas(kVectorBytes) T line[kSweepRun];
      for (int64_t i = 0; i < count; ++i) line[i] = raised(a[i], b[i]);
      return join(epilogue, line, line, to, count, [](V u, V) { return u; });
    }
    // A NaN is no number's lesser or greater: a's is taken by the second comparison, b's by none.
    case kMinimum:
      return join(epilogue, a, b, to, count, [](V u, V v) { return (u < v) | (u != u) ? u : v; });
    case kMaximum:
      return join(epilogue, a, b, to, count, [](V u, V v) { return (u > v) | (u != u) ? u : v; });
    case kSlope:
      return join(epilogue, a, b, to, count, [](V u, V v) { return u < V{} ? u * v : u; });
    default: return;
  }
}

int64_t items(const Sweep& sweep) {
  return (product_of(sweep.size, kSweepAxes) + kSweepPiece - 1) / kSweepPiece;
}

// A b that repeats every few elements, as a channel's number does along pixels whose channels are
// the last axis: the period where whole runs can read it, else 0.
int64_t period_of_b(const Sweep& sweep) {
  constexpr int kLast = kSweepAxes - 1, kRows = kLast - 1;
  const int64_t period = sweep.size[kLast];
  const bool fits = sweep.function != kFirst && sweep.size[kRows] > 1 && kSweepRun % period == 0;
  return fits && sweep.b[kRows] == 0 && sweep.b[kLast] != 0 &&
                 sweep.y[kRows] == period * sweep.y[kLast] &&
                 sweep.a[kRows] == period * sweep.a[kLast]
             ? period
             : 0;
}

template <class T>
void run(const Sweep& given, int64_t begin, int64_t end, const SweepOperands& operands) {
  constexpr int kLast = kSweepAxes - 1;
  Sweep sweep = given;
  const int64_t period = period_of_b(sweep);
  if (period > 0) {  // both axes are one; a run begins where b does, as pieces and runs are periods
    sweep.size[kLast] *= sweep.size[kLast - 1];
    sweep.size[kLast - 1] = 1;
    sweep.b[kLast] = 0;
  }
  const T* repeated = nullptr;  // what line_b holds
  const Epilogue epilogue{nullptr, nullptr, nullptr, sweep.activation, sweep.alpha, sweep.beta};
  const Epilogue plain{};
  const bool quick = epilogue.activation <= kClip;  // applied to registers on the way to y
  const T *a = static_cast<const T*>(operands.a), *b = static_cast<const T*>(operands.b);
  T* y = static_cast<T*>(operands.y);
  alignas(kVectorBytes) T line_a[kSweepRun], line_b[kSweepRun], line_y[kSweepRun];
  const int64_t all = product_of(sweep.size, kSweepAxes);
  const int64_t step = sweep.y[kLast], last = end * kSweepPiece < all ? end * kSweepPiece : all;
  int64_t at = begin * kSweepPiece;
  Walk walk = walk_from(sweep, 0, kSweepAxes, at);
  while (at < last) {
    int64_t count = sweep.size[kLast] - walk.index[kLast];
    if (count > last - at) count = last - at;
    if (count > kSweepRun) count = kSweepRun;
    const T* from_a = consecutive(a + walk.a, sweep.a[kLast], count, line_a);
    const T* from_b = from_a;
    if (period > 0) {
      from_b = line_b;
      if (repeated != b + walk.b) {
        repeated = b + walk.b;
        for (int64_t i = 0; i < period; ++i) line_b[i] = repeated[i * given.b[kLast]];
        for (int64_t i = period; i < kSweepRun; ++i) line_b[i] = line_b[i - period];
      }
    } else if (sweep.function != kFirst) {
      from_b = consecutive(b + walk.b, sweep.b[kLast], count, line_b);
    }
    T* const to = y + walk.y;
    T* const values = quick && step == 1 ? to : line_y;
    join_all<T>(sweep.function, quick ? epilogue : plain, from_a, from_b, values, count);
    if (!quick) activate_values<T>(epilogue, values, count);
    if (values != to) {
      if (step == 1)
        __builtin_memcpy(to, values, size_t(count) * sizeof(T));
      else
        for (int64_t i = 0; i < count; ++i) to[i * step] = values[i];
    }
    walk_on(sweep, 0, kSweepAxes, count, walk);
    at += count;
  }
}

const SweepKernel kKernels[] = {
    {"float32", kFloat32, items, run<float>},
    {"float64", kFloat64, items, run<double>},
};

}  // namespace

extern const SweepVariants elementwise;
const SweepVariants elementwise = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
