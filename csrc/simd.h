// One vector type per scalar; its width follows the ISA being compiled. Everything here lives in
// the ISA's own namespace and is always inlined, so that no symbol is shared between ISAs.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef CONVKIT_ISA
#error "CONVKIT_ISA names the instruction set this file is compiled for"
#endif

#define CK_INLINE static inline __attribute__((always_inline))
#define CK_NOINLINE [[maybe_unused]] static __attribute__((noinline))
#define CK_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define CK_UNROLL(count) CK_PRAGMA(clang loop unroll_count(count))
#else
#define CK_UNROLL(count) CK_PRAGMA(GCC unroll count)
#endif

namespace convkit {
namespace CONVKIT_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kRegisters = 32;
constexpr bool kFma = true;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32, kRegisters = 16;
constexpr bool kFma = true;
#elif defined(__aarch64__)
constexpr int kVectorBytes = 16, kRegisters = 32;
constexpr bool kFma = true;
#else
constexpr int kVectorBytes = 16, kRegisters = 16;
constexpr bool kFma = false;  // a product needs a register of its own
#endif

template <class T>
constexpr int kLanes = kVectorBytes / int(sizeof(T));

template <class T>
struct SimdType;
template <>
struct SimdType<float> {
  typedef float type __attribute__((vector_size(kVectorBytes)));
  typedef float unaligned __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
  typedef int32_t index __attribute__((vector_size(kVectorBytes)));
};
template <>
struct SimdType<double> {
  typedef double type __attribute__((vector_size(kVectorBytes)));
  typedef double unaligned __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
  typedef int64_t index __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using Vec = typename SimdType<T>::type;

template <class T>
CK_INLINE Vec<T> load(const T* from) {
  return *reinterpret_cast<const typename SimdType<T>::unaligned*>(from);
}
template <class T>
CK_INLINE void store(T* to, Vec<T> v) {
  *reinterpret_cast<typename SimdType<T>::unaligned*>(to) = v;
}
template <class T>
CK_INLINE Vec<T> splat(T value) {
  return value - Vec<T>{};  // not "+": that would turn -0 into +0
}
// The first count lanes; the others read as zero and stay unwritten, their memory is not touched. 0
// <= count <= lanes. Masked moves are the one thing vector types cannot say: a scalar tail costs a
// narrow layer half of its time.
#if defined(__AVX512F__)
CK_INLINE Vec<float> load_first(const float* from, int64_t count) {
  return Vec<float>(_mm512_maskz_loadu_ps(__mmask16((1u << count) - 1), from));
}
CK_INLINE Vec<double> load_first(const double* from, int64_t count) {
  return Vec<double>(_mm512_maskz_loadu_pd(__mmask8((1u << count) - 1), from));
}
CK_INLINE void store_first(float* to, int64_t count, Vec<float> v) {
  _mm512_mask_storeu_ps(to, __mmask16((1u << count) - 1), __m512(v));
}
CK_INLINE void store_first(double* to, int64_t count, Vec<double> v) {
  _mm512_mask_storeu_pd(to, __mmask8((1u << count) - 1), __m512d(v));
}
#elif defined(__AVX2__)
template <class T>
CK_INLINE __m256i first_lanes(int64_t count) {
  typename SimdType<T>::index lane;
  for (int i = 0; i < kLanes<T>; ++i) lane[i] = i;
  typedef decltype(lane[0] + 0) Index;
  return __m256i(lane < Index(count) - typename SimdType<T>::index{});
}
CK_INLINE Vec<float> load_first(const float* from, int64_t count) {
  return Vec<float>(_mm256_maskload_ps(from, first_lanes<float>(count)));
}
CK_INLINE Vec<double> load_first(const double* from, int64_t count) {
  return Vec<double>(_mm256_maskload_pd(from, first_lanes<double>(count)));
}
CK_INLINE void store_first(float* to, int64_t count, Vec<float> v) {
  _mm256_maskstore_ps(to, first_lanes<float>(count), __m256(v));
}
CK_INLINE void store_first(double* to, int64_t count, Vec<double> v) {
  _mm256_maskstore_pd(to, first_lanes<double>(count), __m256d(v));
}
#else
template <class T>
CK_INLINE Vec<T> load_first(const T* from, int64_t count) {
  Vec<T> v{};
  for (int i = 0; i < kLanes<T>; ++i)
    if (i < count) v[i] = from[i];
  return v;
}
template <class T>
CK_INLINE void store_first(T* to, int64_t count, Vec<T> v) {
  for (int i = 0; i < kLanes<T>; ++i)
    if (i < count) to[i] = v[i];
}
#endif

// a where it is larger (smaller) than b, else b, and so b where a comparison with NaN says no: one
// instruction on x86, which GCC finds by itself only where a comparison makes no mask. (Without the
// masks of ones GCC 12 warns of its own header.)
#if defined(__AVX512F__)
CK_INLINE Vec<float> larger(Vec<float> a, Vec<float> b) {
  return Vec<float>(_mm512_maskz_max_ps(0xffff, __m512(a), __m512(b)));
}
CK_INLINE Vec<double> larger(Vec<double> a, Vec<double> b) {
  return Vec<double>(_mm512_maskz_max_pd(0xff, __m512d(a), __m512d(b)));
}
CK_INLINE Vec<float> smaller(Vec<float> a, Vec<float> b) {
  return Vec<float>(_mm512_maskz_min_ps(0xffff, __m512(a), __m512(b)));
}
CK_INLINE Vec<double> smaller(Vec<double> a, Vec<double> b) {
  return Vec<double>(_mm512_maskz_min_pd(0xff, __m512d(a), __m512d(b)));
}
#else
template <class V>
CK_INLINE V larger(V a, V b) {
  return a > b ? a : b;
}
template <class V>
CK_INLINE V smaller(V a, V b) {
  return a < b ? a : b;
}
#endif

// Two-source shuffle by constant lane numbers: 0 .. lanes-1 from a, lanes .. 2 lanes - 1 from b.
#if defined(__clang__) || __GNUC__ >= 12
#define CK_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
template <class V, class... Lane>
CK_INLINE V shuffle_lanes(V a, V b, Lane... lane) {
  typedef typename SimdType<typename std::remove_reference<decltype(a[0] + 0)>::type>::index Index;
  return __builtin_shuffle(a, b, Index{lane...});
}
#define CK_SHUFFLE(a, b, ...) shuffle_lanes(a, b, __VA_ARGS__)
#endif

// Every second lane of a followed by b, from lane 0 or from lane 1: what a stride of two reads.
template <class T>
CK_INLINE Vec<T> even_lanes(Vec<T> a, Vec<T> b) {
  if constexpr (kLanes<T> == 2) return CK_SHUFFLE(a, b, 0, 2);
  if constexpr (kLanes<T> == 4) return CK_SHUFFLE(a, b, 0, 2, 4, 6);
  if constexpr (kLanes<T> == 8) return CK_SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
  if constexpr (kLanes<T> == 16)
    return CK_SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
template <class T>
CK_INLINE Vec<T> odd_lanes(Vec<T> a, Vec<T> b) {
  if constexpr (kLanes<T> == 2) return CK_SHUFFLE(a, b, 1, 3);
  if constexpr (kLanes<T> == 4) return CK_SHUFFLE(a, b, 1, 3, 5, 7);
  if constexpr (kLanes<T> == 8) return CK_SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
  if constexpr (kLanes<T> == 16)
    return CK_SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
