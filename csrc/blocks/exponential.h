// e^v on vectors of double without libm, and exact products and sums for arguments that need more
// than 53 bits.
//   v = j ln 2 + r with |r| <= ln 2 / 2;   e^v = 2^j (1 + q);   q = e^r - 1 = r + r^2 (1/2! + r/3!
//   + ...)
// Every lane takes the same steps, so a value's result does not depend on where it stands.
#pragma once
#include "simd.h"

namespace convkit {
namespace CONVKIT_ISA {

typedef Vec<double> Real;
typedef SimdType<double>::index RealBits;

constexpr double kInverseFactorial[] = {1.,
                                        1.,
                                        1. / 2,
                                        1. / 6,
                                        1. / 24,
                                        1. / 120,
                                        1. / 720,
                                        1. / 5040,
                                        1. / 40320,
                                        1. / 362880,
                                        1. / 3628800,
                                        1. / 39916800,
                                        1. / 479001600,
                                        1. / 6227020800,
                                        1. / 87178291200};

// Terms of the series up to r^n / n!: the rest is below 6e-10 of q for results rounded to float32,
// below 2e-17 for float64.
template <class T>
constexpr int kExponentialTerms = sizeof(T) == 4 ? 8 : 14;

// sum = hi + lo exactly, for any two numbers (Knuth). A compiler may not reorder it without
// -ffast-math.
struct Exact {
  Real hi, lo;
};
CK_INLINE Exact exact_sum(Real a, Real b) {
  const Real hi = a + b, part = hi - a;
  return {hi, (a - (hi - part)) + (b - part)};
}
// a b = hi + lo exactly while neither overflows when multiplied by 2^27 (Dekker where there is no
// FMA).
CK_INLINE Exact exact_product(Real a, Real b) {
  Real hi = a * b, lo;
  if constexpr (kFma) {
    for (int i = 0; i < kLanes<double>; ++i) lo[i] = __builtin_fma(a[i], b[i], -hi[i]);
  } else {
    const Real wide_a = a * splat(134217729.0), wide_b = b * splat(134217729.0);  // 2^27 + 1
    const Real a1 = wide_a - (wide_a - a), b1 = wide_b - (wide_b - b), a2 = a - a1, b2 = b - b1;
    lo = a2 * b2 - (((hi - a1 * b1) - a2 * b1) - a1 * b2);
  }
  return {hi, lo};
}

// e^v = (1 + q) once twice: 2^j in two factors, because j runs from -1075 to 1024 and a normal
// number's exponent does not. Multiply by both last, so that a subnormal result is rounded once.
struct Power {
  Real q, once, twice;
};

// 1.5 * 2^52: adding it rounds to an integer, which then stands in the low bits.
constexpr double kRounder = 6755399441055744.0;
// 2^j for the j that stands in the low bits of j + kRounder. Unsigned: those of a NaN may overflow.
typedef uint64_t RealPattern __attribute__((vector_size(kVectorBytes)));
CK_INLINE Real power_of_two(Real rounded) { return Real((RealPattern(rounded) + 1023u) << 52); }

// e^(v + low), |low| a rounding error of v. -1400 <= v <= 1400; kWide = false: -700 <= v <= 700,
// and `twice` is 1.
template <int kTerms, bool kWide>
CK_INLINE Power power(Real v, Real low) {
  const Real rounded = v * splat(1.4426950408889634) + splat(kRounder),
             j = rounded - splat(kRounder);
  // ln 2 in two parts, the first with 32 bits, so that its product with j is exact.
  const Real r =
      (v - j * splat(6.93147180369123816490e-01)) - (j * splat(1.90821492927058770002e-10) - low);
  Real sum = splat(kInverseFactorial[kTerms]);
  CK_UNROLL(16)
  for (int i = kTerms - 1; i >= 2; --i) sum = sum * r + splat(kInverseFactorial[i]);
  const Real q = sum * (r * r) + r;
  if constexpr (kWide) {
    const Real half = j * splat(0.5) + splat(kRounder), rest = j - (half - splat(kRounder));
    return {q, power_of_two(half), power_of_two(rest + splat(kRounder))};
  }
  return {q, power_of_two(rounded), splat(1.0)};
}

// max(v, low) and min(v, high) that let NaN through.
CK_INLINE Real bounded_below(Real v, double low) { return v < splat(low) ? splat(low) : v; }
CK_INLINE Real bounded_above(Real v, double high) { return v > splat(high) ? splat(high) : v; }

}  // namespace CONVKIT_ISA
}  // namespace convkit
