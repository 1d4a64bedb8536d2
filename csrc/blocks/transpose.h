// Square transposes in registers: lanes of channels or tiles to runs of pixels and back.
#pragma once
#include "simd.h"

namespace convkit {
namespace CONVKIT_ISA {

// One step of the transpose between 128-bit blocks: a keeps its blocks whose number has the bit
// `distance` clear and takes b's instead of the others; b the reverse.
#if defined(__AVX512F__)
template <int kDistance>
CK_INLINE void swap_blocks(Vec<float>& a, Vec<float>& b) {
  const Vec<float> x = a, y = b;
  if constexpr (kDistance == 1) {
    a = CK_SHUFFLE(x, y, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
    b = CK_SHUFFLE(x, y, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
  } else {
    a = CK_SHUFFLE(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    b = CK_SHUFFLE(x, y, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  }
}
template <int kDistance>
CK_INLINE void swap_blocks(Vec<double>& a, Vec<double>& b) {
  const Vec<double> x = a, y = b;
  if constexpr (kDistance == 1) {
    a = CK_SHUFFLE(x, y, 0, 1, 8, 9, 4, 5, 12, 13);
    b = CK_SHUFFLE(x, y, 2, 3, 10, 11, 6, 7, 14, 15);
  } else {
    a = CK_SHUFFLE(x, y, 0, 1, 2, 3, 8, 9, 10, 11);
    b = CK_SHUFFLE(x, y, 4, 5, 6, 7, 12, 13, 14, 15);
  }
}
#elif defined(__AVX2__)
template <int kDistance>
CK_INLINE void swap_blocks(Vec<float>& a, Vec<float>& b) {
  const Vec<float> x = a, y = b;
  a = CK_SHUFFLE(x, y, 0, 1, 2, 3, 8, 9, 10, 11);
  b = CK_SHUFFLE(x, y, 4, 5, 6, 7, 12, 13, 14, 15);
}
template <int kDistance>
CK_INLINE void swap_blocks(Vec<double>& a, Vec<double>& b) {
  const Vec<double> x = a, y = b;
  a = CK_SHUFFLE(x, y, 0, 1, 4, 5);
  b = CK_SHUFFLE(x, y, 2, 3, 6, 7);
}
#endif

// The rows of every 4 x 4 (float) or 2 x 2 (double) block, within 128 bits.
CK_INLINE void transpose_blocks(Vec<float>* a) {
#if defined(__AVX512F__)
  const auto low = [](Vec<float> x, Vec<float> y) __attribute__((always_inline)) {
    return CK_SHUFFLE(x, y, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  };
  const auto high = [](Vec<float> x, Vec<float> y) __attribute__((always_inline)) {
    return CK_SHUFFLE(x, y, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  };
  const auto low2 = [](Vec<float> x, Vec<float> y) __attribute__((always_inline)) {
    return CK_SHUFFLE(x, y, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  };
  const auto high2 = [](Vec<float> x, Vec<float> y) __attribute__((always_inline)) {
    return CK_SHUFFLE(x, y, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  };
#elif defined(__AVX2__)
  const auto low = [](Vec<float> x, Vec<float> y) __attribute__((always_inline)) {
    return CK_SHUFFLE(x, y, 0, 8, 1, 9, 4, 12, 5, 13);
  };
  const auto high = [](Vec<float> x, Vec<float> y) __attribute__((always_inline)) {
    return CK_SHUFFLE(x, y, 2, 10, 3, 11, 6, 14, 7, 15);
  };
  const auto low2 = [](Vec<float> x, Vec<float> y) __attribute__((always_inline)) {
    return CK_SHUFFLE(x, y, 0, 1, 8, 9, 4, 5, 12, 13);
  };
  const auto high2 = [](Vec<float> x, Vec<float> y) __attribute__((always_inline)) {
    return CK_SHUFFLE(x, y, 2, 3, 10, 11, 6, 7, 14, 15);
  };
#else
  const auto low = [](Vec<float> x, Vec<float> y)
                       __attribute__((always_inline)) { return CK_SHUFFLE(x, y, 0, 4, 1, 5); };
  const auto high = [](Vec<float> x, Vec<float> y)
                        __attribute__((always_inline)) { return CK_SHUFFLE(x, y, 2, 6, 3, 7); };
  const auto low2 = [](Vec<float> x, Vec<float> y)
                        __attribute__((always_inline)) { return CK_SHUFFLE(x, y, 0, 1, 4, 5); };
  const auto high2 = [](Vec<float> x, Vec<float> y)
                         __attribute__((always_inline)) { return CK_SHUFFLE(x, y, 2, 3, 6, 7); };
#endif
  const Vec<float> p = low(a[0], a[1]), q = high(a[0], a[1]), r = low(a[2], a[3]),
                   s = high(a[2], a[3]);
  a[0] = low2(p, r);
  a[1] = high2(p, r);
  a[2] = low2(q, s);
  a[3] = high2(q, s);
}
CK_INLINE void transpose_blocks(Vec<double>* a) {
  const Vec<double> x = a[0], y = a[1];
#if defined(__AVX512F__)
  a[0] = CK_SHUFFLE(x, y, 0, 8, 2, 10, 4, 12, 6, 14);
  a[1] = CK_SHUFFLE(x, y, 1, 9, 3, 11, 5, 13, 7, 15);
#elif defined(__AVX2__)
  a[0] = CK_SHUFFLE(x, y, 0, 4, 2, 6);
  a[1] = CK_SHUFFLE(x, y, 1, 5, 3, 7);
#else
  a[0] = CK_SHUFFLE(x, y, 0, 2);
  a[1] = CK_SHUFFLE(x, y, 1, 3);
#endif
}

// first[0], then rest's last lanes backwards down to its lane 1: what stands at minus the lanes'
// numbers, where first begins at 0 and rest ends there.
template <class T>
CK_INLINE Vec<T> mirrored(Vec<T> first, Vec<T> rest) {
  if constexpr (kLanes<T> == 2) return CK_SHUFFLE(first, rest, 0, 3);
  if constexpr (kLanes<T> == 4) return CK_SHUFFLE(first, rest, 0, 7, 6, 5);
  if constexpr (kLanes<T> == 8) return CK_SHUFFLE(first, rest, 0, 15, 14, 13, 12, 11, 10, 9);
  if constexpr (kLanes<T> == 16)
    return CK_SHUFFLE(first, rest, 0, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17);
}

// a[i][j] <-> a[j][i]. kLanes log2(kLanes) shuffles.
template <class T>
CK_INLINE void transpose(Vec<T> (&a)[kLanes<T>]) {
  constexpr int kBlock = 16 / int(sizeof(T)), kBlocks = kLanes<T> / kBlock;
  CK_UNROLL(4)
  for (int g = 0; g < kBlocks; ++g) transpose_blocks(a + g * kBlock);
#if defined(__AVX2__)
  CK_UNROLL(4)
  for (int g = 0; g < kBlocks; g += 2) CK_UNROLL(4)
  for (int i = 0; i < kBlock; ++i) swap_blocks<1>(a[g * kBlock + i], a[(g + 1) * kBlock + i]);
#endif
#if defined(__AVX512F__)
  CK_UNROLL(4)
  for (int g = 0; g < 2; ++g) CK_UNROLL(4)
  for (int i = 0; i < kBlock; ++i) swap_blocks<2>(a[g * kBlock + i], a[(g + 2) * kBlock + i]);
#endif
}

// 128 bits from each of as many rows as a vector has such blocks. Half of a transpose is done by
// these loads, which leaves the shuffles of the port that would bound it.
template <class T>
CK_INLINE Vec<T> load_blocks([[maybe_unused]] const T* const (&rows)[kVectorBytes / 16]) {
#if defined(__AVX512F__)
  const auto piece = [&](int i) __attribute__((always_inline)) {
    return _mm_loadu_ps(reinterpret_cast<const float*>(rows[i]));
  };
  __m512 v = _mm512_insertf32x4(_mm512_castps128_ps512(piece(0)), piece(1), 1);
  v = _mm512_insertf32x4(v, piece(2), 2);
  return Vec<T>(_mm512_insertf32x4(v, piece(3), 3));
#elif defined(__AVX2__)
  return Vec<T>(_mm256_insertf128_ps(
      _mm256_castps128_ps256(_mm_loadu_ps(reinterpret_cast<const float*>(rows[0]))),
      _mm_loadu_ps(reinterpret_cast<const float*>(rows[1])), 1));
#else
  return load(rows[0]);
#endif
}
// to(j, v) for every j < lanes, with v[i] = row(i)[j] for i < lanes.
template <class T, class Row, class To>
CK_INLINE void transpose_rows(const Row& row, const To& to) {
  constexpr int kBlock = 16 / int(sizeof(T)), kBlocks = kLanes<T> / kBlock;
  CK_UNROLL(4)
  for (int g = 0; g < kBlocks; ++g) {
    Vec<T> a[kBlock];
    CK_UNROLL(4)
    for (int i = 0; i < kBlock; ++i) {
      const T* rows[kBlocks];
      CK_UNROLL(4)
      for (int b = 0; b < kBlocks; ++b) rows[b] = row(b * kBlock + i) + g * kBlock;
      a[i] = load_blocks<T>(rows);
    }
    transpose_blocks(a);
    CK_UNROLL(4)
    for (int i = 0; i < kBlock; ++i) to(g * kBlock + i, a[i]);
  }
}

// to[j * to_row + i] = from[i * from_row + j] for i, j < lanes. Apart: a part is stored before the
// next is read.
template <class T>
CK_INLINE void transpose(const T* from, int64_t from_row, T* to, int64_t to_row) {
  transpose_rows<T>([&](int i) __attribute__((always_inline)) { return from + i * from_row; },
                    [&](int j, Vec<T> v)
                        __attribute__((always_inline)) { store(to + j * to_row, v); });
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
