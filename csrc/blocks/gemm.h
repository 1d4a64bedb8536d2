// The register-tiled product under direct, im2col, pointwise and Winograd:
//   sum[i][v] += sum over d < depth of a[i * a_row + d * a_depth] * b[d * b_depth + v * lanes ..]
// a is broadcast, b is read as vectors. kRows x kVecs accumulators, kVecs vectors of b and one
// broadcast fill the registers. Which side is filters and which is pixels is the caller's choice.
// Strides given as constants cost nothing.
#pragma once
#include "simd.h"

namespace convkit {
namespace CONVKIT_ISA {

// Accumulators that keep the FMA units busy and fit the registers, with b and one broadcast (and,
// without FMA, a product). Wide: few rows of a, long runs of b. AVX-512, NEON: 8 x 3 = 24 of 32;
// AVX2: 4 x 3 = 12 of 16; SSE2: 4 x 2 of 16.
constexpr int kTileRows = kRegisters == 32 ? 8 : 4;
constexpr int kTileVecs = kRegisters == 32 ? 3 : kFma ? 3 : 2;
// A chain of fused multiply-adds longer than this loses accuracy: partial sums are added up every
// kPartial depths.
constexpr int64_t kPartial = 256;

template <class T, int kRows, int kVecs>
CK_INLINE void multiply_add(Vec<T> (&sum)[kRows][kVecs], const T* a, int64_t a_row, int64_t a_depth,
                            const T* b, int64_t b_depth, int64_t depth) {
  CK_UNROLL(4)
  for (int64_t d = 0; d < depth; ++d, a += a_depth, b += b_depth) {
    Vec<T> right[kVecs];
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) right[v] = load(b + v * kLanes<T>);
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> left = splat(a[i * a_row]);
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) sum[i][v] += left * right[v];
    }
  }
}

// The same from zero, by partial sums of kPartial depths.
template <class T, int kRows, int kVecs>
CK_INLINE void multiply(Vec<T> (&sum)[kRows][kVecs], const T* a, int64_t a_row, int64_t a_depth,
                        const T* b, int64_t b_depth, int64_t depth) {
  Vec<T> total[kRows][kVecs];
  for (int64_t done = 0;;) {
    const int64_t part = depth - done < kPartial ? depth - done : kPartial;
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) sum[i][v] = Vec<T>{};
    }
    multiply_add<T, kRows, kVecs>(sum, a + done * a_depth, a_row, a_depth, b + done * b_depth,
                                  b_depth, part);
    const bool first = done == 0;
    done += part;
    if (first && done == depth) return;
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) total[i][v] = first ? sum[i][v] : total[i][v] + sum[i][v];
    }
    if (done == depth) break;
  }
  CK_UNROLL(32)
  for (int i = 0; i < kRows; ++i) {
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) sum[i][v] = total[i][v];
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
