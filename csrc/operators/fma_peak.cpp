// y[c] = floating-point operations done by item c: a = a m + b in every accumulator, w * 1024 times
// The most that one core computes: as many independent chains as hide the latency of the
// multiply-add, nothing loaded or stored on the way. x holds m and b. Measures, computes nothing.
#include "kernel.h"
#include "simd.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// Two units of latency 4 or 5 need 10 chains; where product and sum are apart, each takes as long.
constexpr int kChains = kRegisters == 32 ? 24 : 12;

Sizes sizes(const Problem&) { return {0, 0, 0}; }
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) { return problem.k; }
void prepare(const Problem&, const void*, void*) {}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const T* x = static_cast<const T*>(operands.x);
  const Vec<T> m = splat(x[0]), b = splat(x[problem.x.w]);
  for (int64_t c = begin; c < end; ++c) {
    Vec<T> a[kChains];
    for (int i = 0; i < kChains; ++i) a[i] = b * T(i);
    for (int64_t step = 0; step < 1024 * problem.w; ++step) {
      CK_UNROLL(24)
      for (int i = 0; i < kChains; ++i) a[i] = a[i] * m + b;
    }
    for (int i = 1; i < kChains; ++i) a[0] += a[i];
    // Finite sums times zero: the chains are needed, and change nothing.
    static_cast<T*>(operands.y)[c * problem.y.c] =
        T(2.0 * kLanes<T> * kChains * 1024 * problem.w) + a[0][0] * T(0);
  }
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes, 1, items, prepare, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes, 1, items, prepare, run<double>},
};

}  // namespace

extern const Variants fma_peak;
const Variants fma_peak = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
