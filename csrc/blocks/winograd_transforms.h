// The transforms of Winograd's F(m, r), m outputs of r taps, on one row or column: transform_filter
// is G, transform_input is B^T, transform_output is A^T. The 2-D tiles apply them to columns, then
// to rows. Inputs are transformed alike for all m and r of as many points, m + r - 1.
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
  static constexpr int kOutputs = 2, kTaps = 3, kPoints = 4;
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
struct SixPoints {
  static constexpr int kPoints = 6;
};
struct F4 : SixPoints {
  static constexpr int kOutputs = 4, kTaps = 3;
};
struct F3 : SixPoints {
  static constexpr int kOutputs = 3, kTaps = 4;
};
constexpr double kSmall = 0.70710678118654752,
                 kLarge = 1.41421356237309505;  // the points; their squares are 1/2 and 2
// The values at the points of even and odd parts; u[0] and u[5] are the first and the last tap.
template <class V>
CK_INLINE void at_points(const V& even_small, const V& odd_small, const V& even_large,
                         const V& odd_large, V (&u)[6]) {
  u[1] = even_small + odd_small;
  u[2] = even_small - odd_small;
  u[3] = even_large + odd_large;
  u[4] = even_large - odd_large;
}
template <class V>
CK_INLINE void transform_filter(F4, const V (&g)[3], V (&u)[6]) {
  using Scalar = Element<V>;
  constexpr Scalar half = Scalar(0.5), two = 2, small = Scalar(kSmall), large = Scalar(kLarge);
  const V even_small = g[0] + half * g[2], odd_small = small * g[1];
  const V even_large = g[0] + two * g[2], odd_large = large * g[1];
  at_points(even_small, odd_small, even_large, odd_large, u);
  u[0] = g[0];
  u[5] = g[2];
}
template <class V>
CK_INLINE void transform_filter(F3, const V (&g)[4], V (&u)[6]) {
  using Scalar = Element<V>;
  constexpr Scalar half = Scalar(0.5), two = 2, small = Scalar(kSmall), large = Scalar(kLarge);
  const V even_small = g[0] + half * g[2], odd_small = small * (g[1] + half * g[3]);
  const V even_large = g[0] + two * g[2], odd_large = large * (g[1] + two * g[3]);
  at_points(even_small, odd_small, even_large, odd_large, u);
  u[0] = g[0];
  u[5] = g[3];
}
template <class V>
CK_INLINE void transform_input(SixPoints, const V (&d)[6], V (&v)[6]) {
  using Scalar = Element<V>;
  constexpr Scalar half = Scalar(0.5), two = 2, sum = Scalar(2.5);
  constexpr Scalar small = Scalar(kSmall), large = Scalar(kLarge);
  const V even_small = d[4] - two * d[2], odd_small = small * (d[3] - two * d[1]);
  const V even_large = d[4] - half * d[2], odd_large = large * (d[3] - half * d[1]);
  at_points(even_small, odd_small, even_large, odd_large, v);
  v[0] = (d[4] - sum * d[2]) + d[0];
  v[5] = (d[5] - sum * d[3]) + d[1];
}
// Output `power` is base + the sum over the finite points of point^power norm m; m's even and odd
// parts are sums and differences of pairs.
template <class V>
struct Pairs {
  V even_small, odd_small, even_large, odd_large;
};
template <class V>
CK_INLINE Pairs<V> pairs_of(const V (&m)[6]) {
  return {m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]};
}
template <int kPower, class V, class... Base>
CK_INLINE V output_at(const Pairs<V>& pairs, const Base&... base) {
  using Scalar = Element<V>;
  constexpr double powers_small[] = {1, kSmall, 0.5, kSmall / 2};
  constexpr double powers_large[] = {1, kLarge, 2, kLarge * 2};
  constexpr Scalar small = Scalar(-2.0 / 3 * powers_small[kPower]);
  constexpr Scalar large = Scalar(1.0 / 6 * powers_large[kPower]);
  if constexpr (kPower % 2 == 0)
    return small * pairs.even_small + ((large * pairs.even_large) + ... + base);
  else
    return small * pairs.odd_small + ((large * pairs.odd_large) + ... + base);
}
template <class V>
CK_INLINE void transform_output(F4, const V (&m)[6], V (&y)[4]) {
  const Pairs<V> pairs = pairs_of(m);
  y[0] = output_at<0>(pairs, m[0]);
  y[1] = output_at<1>(pairs);
  y[2] = output_at<2>(pairs);
  y[3] = output_at<3>(pairs, m[5]);
}
template <class V>
CK_INLINE void transform_output(F3, const V (&m)[6], V (&y)[3]) {
  const Pairs<V> pairs = pairs_of(m);
  y[0] = output_at<0>(pairs, m[0]);
  y[1] = output_at<1>(pairs);
  y[2] = output_at<2>(pairs, m[5]);
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
