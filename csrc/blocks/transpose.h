// A square of lanes x lanes turned in registers.
#pragma once
#include <utility>

#include "simd.h"

namespace convkit {
namespace CONVKIT_ISA {

// low: a0 b0 a1 b1 ... of the first halves; high: of the second halves.
template <class T, int... kLane>
CK_INLINE Vec<T> interleave_low(Vec<T> a, Vec<T> b, std::integer_sequence<int, kLane...>) {
  return CK_SHUFFLE(a, b, (kLane / 2 + kLane % 2 * kLanes<T>)...);
}
template <class T, int... kLane>
CK_INLINE Vec<T> interleave_high(Vec<T> a, Vec<T> b, std::integer_sequence<int, kLane...>) {
  return CK_SHUFFLE(a, b, (kLanes<T> / 2 + kLane / 2 + kLane % 2 * kLanes<T>)...);
}

// to[j * to_row + i] = from[i * from_row + j] for i, j < lanes. Each of the log2(lanes) perfect
// shuffles rotates the bits of (i, j) by one; after all of them i and j have changed places.
template <class T>
CK_INLINE void transpose(const T* from, int64_t from_row, T* to, int64_t to_row) {
  constexpr int kSize = kLanes<T>;
  constexpr std::make_integer_sequence<int, kSize> lanes{};
  Vec<T> a[kSize], b[kSize];
  CK_UNROLL(16)
  for (int i = 0; i < kSize; ++i) a[i] = load(from + i * from_row);
  CK_UNROLL(4)
  for (int stage = 1; stage < kSize; stage *= 2) {
    CK_UNROLL(16)
    for (int i = 0; i < kSize / 2; ++i) {
      b[2 * i] = interleave_low<T>(a[i], a[i + kSize / 2], lanes);
      b[2 * i + 1] = interleave_high<T>(a[i], a[i + kSize / 2], lanes);
    }
    CK_UNROLL(16)
    for (int i = 0; i < kSize; ++i) a[i] = b[i];
  }
  CK_UNROLL(16)
  for (int i = 0; i < kSize; ++i) store(to + i * to_row, a[i]);
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
