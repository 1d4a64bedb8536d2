// Operators over blocks of channels (nchwc): a vector holds one pixel of as many channels as it has
// lanes. Lanes past the last channel hold zero on the way in and on the way out.
#pragma once
#include "epilogue.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {

template <class T>
CK_NOINLINE bool blocks_fit(const Problem& problem) {
  return problem.block > 0 && problem.block % kLanes<T> == 0;
}
// Vectors of a pixel, those of the last block that hold no channel too.
template <class T>
CK_INLINE int64_t block_vectors(const Problem& problem) {
  return (problem.k + problem.block - 1) / problem.block * problem.block / kLanes<T>;
}
// Where vector `number` of the first pixel stands.
template <class T>
CK_INLINE int64_t vector_offset(const Problem& problem, const Strides& strides, int64_t number) {
  const int64_t channel = number * kLanes<T>;
  return channel / problem.block * strides.c + channel % problem.block;
}
// So many of a vector's lanes hold channels.
template <class T>
CK_INLINE int64_t channels_in(const Problem& problem, int64_t number) {
  const int64_t left = problem.k - number * kLanes<T>;
  return left < 0 ? 0 : left < kLanes<T> ? left : kLanes<T>;
}

// row(number, p, y, residual) for the items [begin, end), each an output row of one vector of
// channels; y and residual (or null) point to the row's first pixel.
template <class T>
CK_INLINE int64_t vector_rows(const Problem& problem) {
  return block_vectors<T>(problem) * problem.p;
}
template <class T, class Row>
CK_INLINE void each_vector_row(const Problem& problem, int64_t begin, int64_t end,
                               const Operands& operands, const Row& row) {
  for (int64_t item = begin; item < end; ++item) {
    const int64_t number = item / problem.p, p = item % problem.p;
    T* const y = static_cast<T*>(operands.y) + vector_offset<T>(problem, problem.y, number) +
                 p * problem.y.h;
    const T* residual = static_cast<const T*>(operands.epilogue.residual);
    if (residual)
      residual += vector_offset<T>(problem, problem.residual, number) + p * problem.residual.h;
    row(number, p, y, residual);
  }
}

// A row of pixels of one vector of channels: value(q) for each, with residual and activation, to y.
template <class T, class Value>
CK_INLINE void put_pixels(const Problem& problem, const Epilogue& epilogue, int64_t number,
                          const Value& value, const T* residual, T* y) {
  const int64_t channels = channels_in<T>(problem, number);
  const bool masked = channels < kLanes<T>;
  typename SimdType<T>::index kept{};
  for (int i = 0; i < kLanes<T>; ++i) kept[i] = i < channels ? -1 : 0;
  const int64_t y_step = problem.y.w, residual_step = problem.residual.w;
  const Bounds<T> bounds = bounds_of<T>(epilogue);
  if (bounds.any) {
    const Vec<T> low = splat(bounds.low), high = splat(bounds.high);
    const bool bounds_it = epilogue.activation != kIdentity;
    for (int64_t q = 0; q < problem.q; ++q) {
      Vec<T> v = value(q);
      if (residual) v += load(residual + q * residual_step);
      if (bounds_it) v = bounded<T>(low, high, v);
      if (masked) v = kept ? v : Vec<T>{};
      store(y + q * y_step, v);
    }
    return;
  }
  // Other activations are cheaper for many values at once.
  constexpr int64_t kPixels = 32;
  alignas(kVectorBytes) T values[kPixels * kLanes<T>];
  for (int64_t first = 0; first < problem.q; first += kPixels) {
    const int64_t count = problem.q - first < kPixels ? problem.q - first : kPixels;
    for (int64_t i = 0; i < count; ++i) {
      Vec<T> v = value(first + i);
      if (residual) v += load(residual + (first + i) * residual_step);
      store(values + i * kLanes<T>, v);
    }
    activate(epilogue.activation, epilogue.a, epilogue.b, values, count * kLanes<T>);
    for (int64_t i = 0; i < count; ++i) {
      Vec<T> v = load(values + i * kLanes<T>);
      if (masked) v = kept ? v : Vec<T>{};
      store(y + (first + i) * y_step, v);
    }
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
