// Masked loads at the edges of a row: lanes outside the image read as zero and their memory is not
// touched. Only where the ISA has them; elsewhere kMaskedLoads is false and kernels copy the rows
// they need with their padding.
#pragma once
#include "simd.h"

namespace convkit {
namespace CONVKIT_ISA {

#if defined(__AVX512F__)
constexpr bool kMaskedLoads = true;
template <class T>
using Mask = uint32_t;
// The lanes i with 0 <= column + i < width.
template <class T>
CK_INLINE Mask<T> lanes_inside(int64_t column, int64_t width) {
  const int64_t left = column < 0 ? (-column < kLanes<T> ? -column : kLanes<T>) : 0;
  const int64_t right = width < column               ? 0
                        : width - column < kLanes<T> ? width - column
                                                     : kLanes<T>;
  return ((1u << right) - 1) & ~((1u << left) - 1);
}
CK_INLINE Vec<float> load_lanes(const float* from, Mask<float> mask) {
  return Vec<float>(_mm512_maskz_loadu_ps(__mmask16(mask), from));
}
CK_INLINE Vec<double> load_lanes(const double* from, Mask<double> mask) {
  return Vec<double>(_mm512_maskz_loadu_pd(__mmask8(mask), from));
}
#elif defined(__AVX2__)
constexpr bool kMaskedLoads = true;
template <class T>
using Mask = __m256i;
template <class T>
CK_INLINE Mask<T> lanes_inside(int64_t column, int64_t width) {
  const int64_t left = column < 0 ? (-column < kLanes<T> ? -column : kLanes<T>) : 0;
  const int64_t right = width < column               ? 0
                        : width - column < kLanes<T> ? width - column
                                                     : kLanes<T>;
  return _mm256_andnot_si256(first_lanes<T>(left), first_lanes<T>(right));
}
CK_INLINE Vec<float> load_lanes(const float* from, Mask<float> mask) {
  return Vec<float>(_mm256_maskload_ps(from, mask));
}
CK_INLINE Vec<double> load_lanes(const double* from, Mask<double> mask) {
  return Vec<double>(_mm256_maskload_pd(from, mask));
}
#else
constexpr bool kMaskedLoads = false;
template <class T>
using Mask = int;
template <class T>
CK_INLINE Mask<T> lanes_inside(int64_t, int64_t) {
  return 0;
}
template <class T>
CK_INLINE Vec<T> load_lanes(const T*, Mask<T>) {
  return Vec<T>{};
}
#endif

}  // namespace CONVKIT_ISA
}  // namespace convkit
