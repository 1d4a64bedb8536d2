// The transforms of Winograd's F(m, 3) on one row or column: transform_filter is G, transform_input
// is B^T, transform_output is A^T. The 2-D tiles apply them to columns, then to rows.
#pragma once
#include "simd.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// What a vector is made of; transforms take vectors and single numbers.
template <class V>
struct ElementOf {
  using type = typename std::remove_reference<decltype(V{}[0] + 0)>::type;
};
template <>
struct ElementOf<double> {
  using type = double;
};
template <class V>
using Element = typename ElementOf<V>::type;

// Points 0, 1, -1, infinity.
struct F2 {
  static constexpr int kOutputs = 2, kPoints = 4;
};
template <class V>
CK_INLINE void transform_filter(F2, const V (&g)[3], V (&u)[4]) {
  constexpr Element<V> half = Element<V>(0.5);
  const V even = half * (g[0] + g[2]), odd = half * g[1];
  u[0] = g[0];
  u[1] = even + odd;
  u[2] = even - odd;
  u[3] = g[2];
}
CK_INLINE void transform_input(F2, const Vec<float> (&d)[4], Vec<float> (&v)[4]) {
  v[0] = d[0] - d[2];
  v[1] = d[1] + d[2];
  v[2] = d[2] - d[1];
  v[3] = d[3] - d[1];
}
CK_INLINE void transform_output(F2, const Vec<float> (&m)[4], Vec<float> (&y)[2]) {
  y[0] = m[0] + (m[1] + m[2]);
  y[1] = (m[1] - m[2]) + m[3];
}

// Points 0, +-1/sqrt(2), +-sqrt(2), infinity: a quarter of the error of 0, +-1, +-2, infinity for
// the same work. The norms of the filter transform (1, -2/3, 1/6, 1) stand in the output transform,
// whose constants take them for nothing.
struct F4 {
  static constexpr int kOutputs = 4, kPoints = 6;
};
constexpr double kSmall = 0.70710678118654752,
                 kLarge = 1.41421356237309505;  // the points; their squares are 1/2 and 2
template <class V>
CK_INLINE void transform_filter(F4, const V (&g)[3], V (&u)[6]) {
  using Scalar = Element<V>;
  constexpr Scalar half = Scalar(0.5), two = 2, small = Scalar(kSmall), large = Scalar(kLarge);
  const V even_small = g[0] + half * g[2], odd_small = small * g[1];
  const V even_large = g[0] + two * g[2], odd_large = large * g[1];
  u[0] = g[0];
  u[1] = even_small + odd_small;
  u[2] = even_small - odd_small;
  u[3] = even_large + odd_large;
  u[4] = even_large - odd_large;
  u[5] = g[2];
}
template <class V>
CK_INLINE void transform_input(F4, const V (&d)[6], V (&v)[6]) {
  using Scalar = Element<V>;
  constexpr Scalar half = Scalar(0.5), two = 2, sum = Scalar(2.5);
  constexpr Scalar small = Scalar(kSmall), large = Scalar(kLarge);
  const V even_small = d[4] - two * d[2], odd_small = small * (d[3] - two * d[1]);
  const V even_large = d[4] - half * d[2], odd_large = large * (d[3] - half * d[1]);
  v[0] = (d[4] - sum * d[2]) + d[0];
  v[1] = even_small + odd_small;
  v[2] = even_small - odd_small;
  v[3] = even_large + odd_large;
  v[4] = even_large - odd_large;
  v[5] = (d[5] - sum * d[3]) + d[1];
}
template <class V>
CK_INLINE void transform_output(F4, const V (&m)[6], V (&y)[4]) {
  using Scalar = Element<V>;
  constexpr double norm_small = -2.0 / 3, norm_large = 1.0 / 6;
  constexpr Scalar s0 = Scalar(norm_small), s1 = Scalar(norm_small * kSmall),
                   s2 = Scalar(norm_small / 2), s3 = Scalar(norm_small * kSmall / 2);
  constexpr Scalar l0 = Scalar(norm_large), l1 = Scalar(norm_large * kLarge),
                   l2 = Scalar(norm_large * 2), l3 = Scalar(norm_large * kLarge * 2);
  const V even_small = m[1] + m[2], odd_small = m[1] - m[2];
  const V even_large = m[3] + m[4], odd_large = m[3] - m[4];
  y[0] = m[0] + s0 * even_small + l0 * even_large;
  y[1] = s1 * odd_small + l1 * odd_large;
  y[2] = s2 * even_small + l2 * even_large;
  y[3] = s3 * odd_small + (l3 * odd_large + m[5]);
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
