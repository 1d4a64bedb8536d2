// Pooling of images in blocks of channels (nchwc): a vector is a pixel's channels, so a window is
// joined pixel by pixel, each channel in its own lane.
#pragma once
#include "epilogue.h"
#include "kernel.h"
#include "pooling.h"

namespace convkit {
namespace CONVKIT_ISA {

// Whole vectors of channels.
template <class T>
CK_INLINE bool whole_vectors(const Problem& problem) {
  return problem.block > 0 && problem.block % kLanes<T> == 0;
}
CK_INLINE int64_t blocks_of(const Problem& problem) {
  return (problem.c + problem.block - 1) / problem.block;
}

// The part of a window that lies inside the image.
struct Window {
  int64_t top, bottom, left, right;
};
CK_INLINE Window window_of(const Problem& problem, int64_t p, int64_t q) {
  const WindowRows rows = window_rows(problem, p);
  const int64_t first = q * problem.stride_w - problem.pad_left, last = first + problem.s;
  return {rows.begin, rows.end, first < 0 ? 0 : first, last > problem.w ? problem.w : last};
}

// Lanes past the last channel are zero, whatever the activation makes of zero.
template <class T>
CK_INLINE void store_lanes(const Problem& problem, const Operands& operands, int64_t channel,
                           int64_t p, int64_t q, Vec<T> v) {
  const int64_t block = channel / problem.block, lane = channel % problem.block;
  const Epilogue& epilogue = operands.epilogue;
  if (epilogue.bias) {
    const T* bias = static_cast<const T*>(epilogue.bias) + channel;
    const int64_t left = problem.k - channel;
    v += left < kLanes<T> ? load_first(bias, left < 0 ? 0 : left) : load(bias);
  }
  if (epilogue.residual)
    v += load(static_cast<const T*>(epilogue.residual) + block * problem.residual.c +
              p * problem.residual.h + q * problem.residual.w + lane);
  v = activated<T>(epilogue, v);
  T* y =
      static_cast<T*>(operands.y) + block * problem.y.c + p * problem.y.h + q * problem.y.w + lane;
  if (problem.k - channel < kLanes<T>) {
    alignas(kVectorBytes) T lanes[kLanes<T>];
    store(lanes, v);
    for (int64_t i = problem.k > channel ? problem.k - channel : 0; i < kLanes<T>; ++i)
      lanes[i] = T(0);
    v = load(lanes);
  }
  store(y, v);
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
