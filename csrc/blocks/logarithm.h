// log(v) and log(1 + u) on vectors of double without libm.
//   v = 2^k m,  sqrt(1/2) <= m < sqrt 2;   log v = k ln 2 + log m;   f = m - 1,  s = f / (2 + f)
//   log m = f - (f^2 / 2 - s (f^2 / 2 + R(s^2))),  R the minimax polynomial of fdlibm's e_log.c
#pragma once
#include "exponential.h"

namespace convkit {
namespace CONVKIT_ISA {

// log v for 0 < v < inf and not NaN.
CK_INLINE Real logarithm_of_positive(Real v) {
  const auto tiny = v < splat(0x1p-1022);  // subnormals have no exponent of their own
  const RealBits bits = RealBits(tiny ? v * splat(0x1p54) : v);
  // Adding the distance from sqrt(1/2) to 1 carries into the exponent where m would be too large.
  constexpr int64_t kOne = 0x3ff0000000000000, kRootHalf = 0x3fe6a09e667f3bcd;
  const RealBits moved = bits + (kOne - kRootHalf);
  const RealBits exponent = (moved >> 52) - 1023;
  const Real m = Real((moved & 0x000fffffffffffff) + kRootHalf);
  const Real k =
      Real(exponent + RealBits(splat(kRounder))) - splat(kRounder) - (tiny ? splat(54.0) : Real{});
  const Real f = m - splat(1.0), s = f / (splat(2.0) + f), z = s * s, half = splat(0.5) * f * f;
  constexpr double kPowers[] = {6.666666666666735130e-01, 3.999999999940941908e-01,
                                2.857142874366239149e-01, 2.222219843214978396e-01,
                                1.818357216161805012e-01, 1.531383769920937332e-01,
                                1.479819860511658591e-01};
  Real sum = splat(kPowers[6]);
  CK_UNROLL(8)
  for (int i = 5; i >= 0; --i) sum = sum * z + splat(kPowers[i]);
  const Real low = s * (half + z * sum) + k * splat(1.90821492927058770002e-10);
  return k * splat(6.93147180369123816490e-01) - ((half - low) - f);
}

CK_INLINE Real logarithm(Real v) {
  const Real infinity = splat(__builtin_inf());
  const Real inside = v > Real{} ? (v < infinity ? v : splat(1.0)) : splat(1.0);
  Real found = logarithm_of_positive(inside);
  found = v == infinity ? infinity : found;
  found = v == Real{} ? -infinity : found;
  return v < Real{} ? splat(__builtin_nan("")) : (v != v ? v : found);
}

// log(1 + u) for 0 <= u <= 1; what 1 + u loses of u is put back to first order.
CK_INLINE Real logarithm_of_one_plus(Real u) {
  const Real w = splat(1.0) + u;
  return logarithm_of_positive(w) + (u - (w - splat(1.0))) / w;
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
