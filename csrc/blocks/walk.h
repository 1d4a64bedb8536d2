// Walking the index space of a Sweep element by element, in runs along its last axis.
#pragma once
#include "simd.h"
#include "sweep.h"

namespace convkit {
namespace CONVKIT_ISA {

// Elements of one item: large enough to hide its cost, small enough that one array serves many
// threads.
constexpr int64_t kSweepPiece = 4096;
// Elements that are computed at a time; they stay in the first cache.
constexpr int64_t kSweepRun = 512;

CK_INLINE int64_t product_of(const int64_t* sizes, int count) {
  int64_t all = 1;
  for (int i = 0; i < count; ++i) all *= sizes[i];
  return all;
}

// A place in the first `axes` axes, and what it is away from the first element of y, a and b.
struct Walk {
  Extents index;
  int64_t y, a, b;
};
CK_INLINE Walk walk_from(const Sweep& sweep, int first, int last, int64_t element) {
  Walk walk{};
  for (int i = last - 1; i >= first; --i) {
    const int64_t at = element % sweep.size[i];
    element /= sweep.size[i];
    walk.index[i] = at;
    walk.y += at * sweep.y[i], walk.a += at * sweep.a[i], walk.b += at * sweep.b[i];
  }
  return walk;
}
// count: at most what is left of the last axis.
CK_INLINE void walk_on(const Sweep& sweep, int first, int last, int64_t count, Walk& walk) {
  int64_t step = count;
  for (int i = last - 1; i >= first; --i) {
    walk.index[i] += step;
    walk.y += step * sweep.y[i], walk.a += step * sweep.a[i], walk.b += step * sweep.b[i];
    const int64_t size = sweep.size[i];
    if (walk.index[i] < size) return;
    walk.index[i] = 0;
    walk.y -= size * sweep.y[i], walk.a -= size * sweep.a[i], walk.b -= size * sweep.b[i];
    step = 1;
  }
}

// The elements from `from`, `step` apart, as consecutive ones: where they lie, or copied to `line`,
// which has room for whole vectors.
template <class T>
CK_INLINE const T* consecutive(const T* from, int64_t step, int64_t count, T* line) {
  if (step == 1) return from;
  if (step == 0)
    for (int64_t i = 0; i < count; i += kLanes<T>) store(line + i, splat(*from));
  else
    for (int64_t i = 0; i < count; ++i) line[i] = from[i * step];
  return line;
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
