// Masked loads at the edges of a row: lanes outside the image read as zero and their memory is not
// touched. Only where the ISA has them; elsewhere kMaskedLoads is false and kernels copy the rows
// they need with their padding. AVX-512 also moves the halves of a vector to and from two rows
// (kHalfVectors), and picks lanes by an index that is no constant.
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
CK_INLINE void store_lanes(float* to, Mask<float> mask, Vec<float> v) {
  _mm512_mask_storeu_ps(to, __mmask16(mask), __m512(v));
}
CK_INLINE void store_lanes(double* to, Mask<double> mask, Vec<double> v) {
  _mm512_mask_storeu_pd(to, __mmask8(mask), __m512d(v));
}
constexpr bool kHalfVectors = true;
// The first lanes of a in the lower half, of b in the upper one. Masks of at most half the lanes.
CK_INLINE Vec<float> load_halves(const float* a, const float* b, Mask<float> mask) {
  const __m512 low = _mm512_maskz_loadu_ps(__mmask16(mask & 0xff), a);
  return Vec<float>(
      _mm512_maskz_insertf32x8(0xffff, low, _mm256_maskz_loadu_ps(__mmask8(mask), b), 1));
}
CK_INLINE Vec<double> load_halves(const double* a, const double* b, Mask<double> mask) {
  const __m512d low = _mm512_maskz_loadu_pd(__mmask8(mask & 0xf), a);
  return Vec<double>(
      _mm512_maskz_insertf64x4(0xff, low, _mm256_maskz_loadu_pd(__mmask8(mask), b), 1));
}
// Extracted apart from the store: an extraction to memory faults in masked lanes too.
CK_INLINE void store_lower(float* to, Mask<float> mask, Vec<float> v) {
  __m256 lower = _mm512_maskz_extractf32x8_ps(0xff, __m512(v), 0);
  __asm__("" : "+v"(lower));
  _mm256_mask_storeu_ps(to, __mmask8(mask), lower);
}
CK_INLINE void store_upper(float* to, Mask<float> mask, Vec<float> v) {
  __m256 upper = _mm512_maskz_extractf32x8_ps(0xff, __m512(v), 1);
  __asm__("" : "+v"(upper));
  _mm256_mask_storeu_ps(to, __mmask8(mask), upper);
}
CK_INLINE void store_lower(double* to, Mask<double> mask, Vec<double> v) {
  __m256d lower = _mm512_maskz_extractf64x4_pd(0xf, __m512d(v), 0);
  __asm__("" : "+v"(lower));
  _mm256_mask_storeu_pd(to, __mmask8(mask), lower);
}
CK_INLINE void store_upper(double* to, Mask<double> mask, Vec<double> v) {
  __m256d upper = _mm512_maskz_extractf64x4_pd(0xf, __m512d(v), 1);
  __asm__("" : "+v"(upper));
  _mm256_mask_storeu_pd(to, __mmask8(mask), upper);
}
// Blocks of 128 bits, alternately of a and of b: of their lower halves to a, their upper ones to b.
CK_INLINE void join_blocks(Vec<float>& a, Vec<float>& b) {
  const Vec<float> x = a, y = b;
  a = CK_SHUFFLE(x, y, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
  b = CK_SHUFFLE(x, y, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
}
// The halves to two places.
CK_INLINE void store_both(float* low, float* high, Vec<float> v) {
  _mm256_storeu_ps(low, _mm512_maskz_extractf32x8_ps(0xff, __m512(v), 0));
  _mm256_storeu_ps(high, _mm512_maskz_extractf32x8_ps(0xff, __m512(v), 1));
}
// The lower half of a, the upper half of b.
CK_INLINE Vec<float> join_halves(Vec<float> a, Vec<float> b) {
  return Vec<float>(_mm512_mask_mov_ps(__m512(a), 0xff00, __m512(b)));
}
CK_INLINE Vec<double> join_halves(Vec<double> a, Vec<double> b) {
  return Vec<double>(_mm512_mask_mov_pd(__m512d(a), 0xf0, __m512d(b)));
}
// Lane i = lane at[i] of a followed by b.
CK_INLINE Vec<float> pick_lanes(Vec<float> a, SimdType<float>::index at, Vec<float> b) {
  return Vec<float>(_mm512_permutex2var_ps(__m512(a), __m512i(at), __m512(b)));
}
CK_INLINE Vec<double> pick_lanes(Vec<double> a, SimdType<double>::index at, Vec<double> b) {
  return Vec<double>(_mm512_permutex2var_pd(__m512d(a), __m512i(at), __m512d(b)));
}
#elif defined(__AVX2__)
constexpr bool kMaskedLoads = true, kHalfVectors = false;
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
CK_INLINE void store_lanes(float* to, Mask<float> mask, Vec<float> v) {
  _mm256_maskstore_ps(to, mask, __m256(v));
}
CK_INLINE void store_lanes(double* to, Mask<double> mask, Vec<double> v) {
  _mm256_maskstore_pd(to, mask, __m256d(v));
}
#else
constexpr bool kMaskedLoads = false, kHalfVectors = false;
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
template <class T>
CK_INLINE void store_lanes(T*, Mask<T>, Vec<T>) {}
#endif

}  // namespace CONVKIT_ISA
}  // namespace convkit
