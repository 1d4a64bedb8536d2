// Pooling by rows: the rows of a window are joined first, whole rows at a time, then the columns of what came out. Where
// the stride is not 1 the joined row is dealt out into its `stride` phases, so that every tap reads consecutive elements.
// Joining is one exact comparison or one addition an element, so the compiler may take these loops in vectors of any width.
#pragma once
#include "arena.h"
#include "epilogue.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {

template <class T, class Sum>
struct PoolParts {
  T* line;      // [w] one row of the image, where it is not consecutive there
  Sum* joined;  // [width] the rows of a window joined, with padding on both sides
  Sum* phases;  // [phases that a tap falls in][pitch], for strides above 1
  Sum* total;   // [q]
  T* result;    // [q]
  int64_t width, pitch, bytes;
};
template <class T, class Sum>
CK_INLINE PoolParts<T, Sum> pool_parts(const Problem& problem, void* base) {
  Arena from = arena(base);
  PoolParts<T, Sum> parts{};
  const int64_t needed = (problem.q - 1) * problem.stride_w + problem.s, given = problem.pad_left + problem.w;
  parts.width = needed > given ? needed : given;
  parts.pitch = problem.q + (problem.s - 1) / problem.stride_w;
  parts.line = take<T>(from, problem.w);
  parts.joined = take<Sum>(from, parts.width);
  const int64_t phases = problem.stride_w <= 2 || problem.stride_w < problem.s ? problem.stride_w : problem.s;
  parts.phases = take<Sum>(from, problem.stride_w == 1 ? 0 : phases * parts.pitch);
  parts.total = take<Sum>(from, problem.q);
  parts.result = take<T>(from, problem.q);
  parts.bytes = from.used;
  return parts;
}

// The rows of the image that the window of output row p covers.
struct WindowRows {
  int64_t begin, end;
};
CK_INLINE WindowRows window_rows(const Problem& problem, int64_t p) {
  const int64_t first = p * problem.stride_h - problem.pad_top, last = first + problem.r;
  return {first < 0 ? 0 : first, last > problem.h ? problem.h : last};
}

// parts.total[q] = all of the window of (p, q) in this channel, joined; `empty` stands in the padding.
template <class T, class Sum, class Join>
CK_INLINE void pool_row(const Problem& problem, const T* channel, int64_t p, const PoolParts<T, Sum>& parts, Sum empty,
                        const Join& join) {
  const WindowRows rows = window_rows(problem, p);
  Sum* const inside = parts.joined + problem.pad_left;
  for (int64_t i = 0; i < problem.pad_left; ++i) parts.joined[i] = empty;
  for (int64_t i = problem.pad_left + problem.w; i < parts.width; ++i) parts.joined[i] = empty;
  for (int64_t i = 0; i < problem.w; ++i) inside[i] = empty;
  for (int64_t h = rows.begin; h < rows.end; ++h) {
    const T* line = channel + h * problem.x.h;
    if (problem.x.w != 1) {
      for (int64_t i = 0; i < problem.w; ++i) parts.line[i] = line[i * problem.x.w];
      line = parts.line;
    }
    for (int64_t i = 0; i < problem.w; ++i) inside[i] = join(inside[i], Sum(line[i]));
  }

  const int64_t stride = problem.stride_w, pitch = parts.pitch;
  const Sum* taps = parts.joined;
  if (stride == 2) {
    Sum *even = parts.phases, *odd = parts.phases + pitch;
    const int64_t pairs = parts.width / 2 < pitch ? parts.width / 2 : pitch;
    for (int64_t i = 0; i < pairs; ++i) even[i] = taps[2 * i], odd[i] = taps[2 * i + 1];
    if (pairs < pitch && 2 * pairs < parts.width) even[pairs] = taps[2 * pairs];
  } else if (stride > 2) {
    for (int64_t f = 0; f < stride && f < problem.s; ++f)
      for (int64_t i = 0; i < pitch && i * stride + f < parts.width; ++i)
        parts.phases[f * pitch + i] = taps[i * stride + f];
  }
  for (int64_t q = 0; q < problem.q; ++q) parts.total[q] = empty;
  for (int64_t s = 0; s < problem.s; ++s) {
    const Sum* from = stride == 1 ? taps + s : parts.phases + s % stride * pitch + s / stride;
    Sum* total = parts.total;
    for (int64_t q = 0; q < problem.q; ++q) total[q] = join(total[q], from[q]);
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
