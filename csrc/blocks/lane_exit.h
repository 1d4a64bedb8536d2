// How sums whose lanes are neighbouring channels leave into a block of channels (nchwc): a pixel is
// a vector there, and lanes past the last channel hold zero.
#pragma once
#include "epilogue.h"

namespace convkit {
namespace CONVKIT_ISA {

// How the sums of one vector of channels leave: what all of its pixels share. Lanes past the last
// channel hold zero.
template <class T>
struct LaneExit {
  bool bounded, masked;
  Vec<T> low, high, bias;
  typename SimdType<T>::index kept;
  int64_t y_step, residual_step;  // to the next pixel
};
template <class T>
CK_INLINE LaneExit<T> lane_exit(const Problem& problem, const Operands& operands, int64_t first) {
  const Epilogue& epilogue = operands.epilogue;
  const Bounds<T> bounds = bounds_of<T>(epilogue);
  LaneExit<T> out;
  out.bounded = epilogue.activation != kIdentity;
  out.masked = problem.k - first < kLanes<T>;
  out.low = splat(bounds.low);
  out.high = splat(bounds.high);
  alignas(kVectorBytes) T bias[kLanes<T>] = {};
  for (int64_t i = 0; i < kLanes<T>; ++i) {
    const bool inside = first + i < problem.k;
    if (inside && epilogue.bias) bias[i] = static_cast<const T*>(epilogue.bias)[first + i];
    out.kept[i] = inside ? -1 : 0;
  }
  out.bias = load(bias);
  out.y_step = problem.y.w;
  out.residual_step = problem.residual.w;
  return out;
}
template <class T>
CK_INLINE void put_lanes(const LaneExit<T>& out, Vec<T> sum, const T* residual, T* y) {
  Vec<T> v = sum + out.bias;
  if (residual) v += load(residual);
  if (out.bounded) v = bounded<T>(out.low, out.high, v);
  if (out.masked) v = out.kept ? v : Vec<T>{};
  store(y, v);
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
