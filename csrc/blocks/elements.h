// Walking y element by element: y[c][h][w] = activate(body(x[c][h][w]) + residual[c][h][w]) in runs
// as long as the strides allow. Which elements make a run depends on the strides, what is done to
// each of them does not.
#pragma once
#include "epilogue.h"
#include "kernel.h"
#include "simd.h"

namespace convkit {
namespace CONVKIT_ISA {

// Elements of one item: large enough to hide its cost, small enough that one image serves many
// threads.
constexpr int64_t kPiece = 4096;
// Elements that are computed at a time; they stay in the first cache.
constexpr int64_t kRun = 512;

CK_INLINE int64_t elements(const Problem& problem) { return problem.k * problem.p * problem.q; }

// An axis of x, y and residual: how far one step goes in each of them, and in the channels.
struct Axis {
  int64_t size, x, y, residual, channel;
};

// The axes of one image, outermost first, without those of size 1 and with those joined that follow
// on one another. by_channel: elements of two channels are joined only along the channels
// themselves.
CK_INLINE int element_axes(const Problem& problem, bool by_channel, Axis (&axes)[3]) {
  const Axis c = {problem.k, problem.x.c, problem.y.c, problem.residual.c, by_channel ? 1 : 0};
  const Axis h = {problem.p, problem.x.h, problem.y.h, problem.residual.h, 0};
  const Axis w = {problem.q, problem.x.w, problem.y.w, problem.residual.w, 0};
  const bool channels_last = c.size > 1 && c.y == 1 && (w.size == 1 || w.y != 1);
  const Axis all[3] = {channels_last ? h : c, channels_last ? w : h, channels_last ? c : w};
  int count = 0;
  for (int i = 0; i < 3; ++i) {
    const Axis& axis = all[i];
    if (axis.size == 1) continue;
    Axis* outer = count ? &axes[count - 1] : nullptr;
    if (outer && outer->x == axis.size * axis.x && outer->y == axis.size * axis.y &&
        outer->residual == axis.size * axis.residual &&
        outer->channel == axis.size * axis.channel) {
      const int64_t size = outer->size * axis.size;
      *outer = axis;
      outer->size = size;
    } else {
      axes[count++] = axis;
    }
  }
  if (count == 0) axes[count++] = {1, 1, 1, 1, 0};
  return count;
}

// values[i] = f(values[i], i) in whole vectors; the last one filled up with zeros.
template <class T, class Function>
CK_INLINE void each_vector(T* values, int64_t count, const Function& function) {
  int64_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>)
    store(values + i, function(load(values + i), i, int64_t(kLanes<T>)));
  if (i < count)
    store_first(values + i, count - i, function(load_first(values + i, count - i), i, count - i));
}
template <class T>
CK_INLINE Vec<T> load_some(const T* from, int64_t count) {
  return count == kLanes<T> ? load(from) : load_first(from, count);
}

// Elements [begin, end) of the image, in the order of element_axes. body(values, count, channel,
// along_channels) changes values in place; value i belongs to channel + i if along_channels, else
// to channel.
template <class T, class Body>
CK_INLINE void each_run(const Problem& problem, const Operands& operands, bool by_channel,
                        int64_t begin, int64_t end, const Body& body) {
  Axis axes[3];
  const int count = element_axes(problem, by_channel, axes);
  const Axis inner = axes[count - 1];
  const Epilogue& epilogue = operands.epilogue;
  if (end > elements(problem)) end = elements(problem);
  alignas(kVectorBytes) T values[kRun];
  while (begin < end) {
    int64_t rest = begin / inner.size, at = begin % inner.size, x = at * inner.x, y = at * inner.y;
    int64_t residual = at * inner.residual, channel = at * inner.channel;
    for (int i = count - 2; i >= 0; rest /= axes[i--].size) {
      const int64_t step = rest % axes[i].size;
      x += step * axes[i].x, y += step * axes[i].y;
      residual += step * axes[i].residual, channel += step * axes[i].channel;
    }
    int64_t n = inner.size - at < end - begin ? inner.size - at : end - begin;
    if (n > kRun) n = kRun;

    const T* from = static_cast<const T*>(operands.x) + x;
    if (inner.x == 1)
      __builtin_memcpy(values, from, size_t(n) * sizeof(T));
    else
      for (int64_t i = 0; i < n; ++i) values[i] = from[i * inner.x];
    body(values, n, channel, inner.channel == 1);
    if (epilogue.residual) {
      const T* other = static_cast<const T*>(epilogue.residual) + residual;
      if (inner.residual == 1)
        for (int64_t i = 0; i < n; ++i) values[i] += other[i];
      else
        for (int64_t i = 0; i < n; ++i) values[i] += other[i * inner.residual];
    }
    activate_values<T>(epilogue, values, n);
    T* to = static_cast<T*>(operands.y) + y;
    if (inner.y == 1)
      __builtin_memcpy(to, values, size_t(n) * sizeof(T));
    else
      for (int64_t i = 0; i < n; ++i) to[i * inner.y] = values[i];
    begin += n;
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
