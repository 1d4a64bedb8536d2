// What happens between a sum and its store: bias, residual, activation. Every element is stored
// once, after its residual was read, so that y may be the residual.
#pragma once
#include "kernel.h"
#include "simd.h"

namespace convkit {
namespace CONVKIT_ISA {

// In place on count values; defined in operators/activation.cpp. For the kinds that are not one
// comparison.
void activate(int64_t activation, double a, double b, float* values, int64_t count);
void activate(int64_t activation, double a, double b, double* values, int64_t count);

// Lets NaN through.
template <class T>
CK_INLINE Vec<T> bounded(Vec<T> low, Vec<T> high, Vec<T> v) {
  return smaller(high, larger(low, v));
}

template <class T>
CK_INLINE Vec<T> activated(const Epilogue& epilogue, Vec<T> v) {
  if (epilogue.activation == kIdentity) return v;
  if (epilogue.activation == kRelu) return larger(Vec<T>{}, v);
  if (epilogue.activation == kClip)
    return bounded<T>(splat(T(epilogue.a)), splat(T(epilogue.b)), v);
  alignas(kVectorBytes) T lanes[kLanes<T>];
  store(lanes, v);
  activate(epilogue.activation, epilogue.a, epilogue.b, lanes, kLanes<T>);
  return load(lanes);
}

// Identity, relu and clip as two bounds, so that sums can be finished while they are in registers.
// `any` is false for the other activations.
template <class T>
struct Bounds {
  bool any;
  T low, high;
};
template <class T>
CK_INLINE Bounds<T> bounds_of(const Epilogue& epilogue) {
  const T infinity = T(__builtin_inf());
  if (epilogue.activation == kIdentity) return {true, -infinity, infinity};
  if (epilogue.activation == kRelu) return {true, T(0), infinity};
  if (epilogue.activation == kClip) return {true, T(epilogue.a), T(epilogue.b)};
  return {false, -infinity, infinity};
}
// In place on count values. The slow kinds take them all in one call.
template <class T>
CK_INLINE void activate_values(const Epilogue& epilogue, T* values, int64_t count) {
  if (epilogue.activation == kIdentity) return;
  if (epilogue.activation > kClip)
    return activate(epilogue.activation, epilogue.a, epilogue.b, values, count);
  int64_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>)
    store(values + i, activated<T>(epilogue, load(values + i)));
  if (i < count)
    store_first(values + i, count - i, activated<T>(epilogue, load_first(values + i, count - i)));
}

// The consecutive case of finish_row. kResidual is no argument because GCC 12 turns vector
// arithmetic under a condition in an innermost loop into a masked operation on lane 0 alone
// (AVX-512).
template <class T, bool kResidual>
CK_INLINE void store_row(const Epilogue& epilogue, const T* sums, T bias, const T* residual, T* y,
                         int64_t count) {
  int64_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) {
    Vec<T> v = load(sums + i) + splat(bias);
    if constexpr (kResidual) v += load(residual + i);
    store(y + i, activated<T>(epilogue, v));
  }
  if (i == count) return;
  Vec<T> v = load_first(sums + i, count - i) + splat(bias);
  if constexpr (kResidual) v += load_first(residual + i, count - i);
  store_first(y + i, count - i, activated<T>(epilogue, v));
}

// y[filter][row][column + i] = activate(sums[i] + bias[filter] + residual[...]) for i < count. sums
// is changed.
template <class T>
CK_INLINE void finish_row(const Problem& problem, const Operands& operands, int64_t filter,
                          int64_t row, int64_t column, T* sums, int64_t count) {
  const Epilogue& epilogue = operands.epilogue;
  const T bias = epilogue.bias ? static_cast<const T*>(epilogue.bias)[filter] : T(0);
  T* y =
      static_cast<T*>(operands.y) + filter * problem.y.c + row * problem.y.h + column * problem.y.w;
  const T* residual = static_cast<const T*>(epilogue.residual);
  if (residual)
    residual +=
        filter * problem.residual.c + row * problem.residual.h + column * problem.residual.w;
  const bool quick = epilogue.activation <= kClip;  // applied to registers on the way to y
  if (quick && problem.y.w == 1 && (!residual || problem.residual.w == 1)) {
    residual ? store_row<T, true>(epilogue, sums, bias, residual, y, count)
             : store_row<T, false>(epilogue, sums, bias, residual, y, count);
    return;
  }
  for (int64_t i = 0; i < count; ++i) sums[i] += bias;
  if (residual)  // adding a zero instead would turn -0 into +0
    for (int64_t i = 0; i < count; ++i) sums[i] += residual[i * problem.residual.w];
  activate_values<T>(epilogue, sums, count);
  for (int64_t i = 0; i < count; ++i) y[i * problem.y.w] = sums[i];
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
