// Pooling by rows: the rows of a window are joined first, whole rows at a time, then the columns of
// what came out. Where the stride is not 1 the joined row is dealt out into its `stride` phases, so
// that every tap reads consecutive elements. Rows in scratch are filled up to whole blocks, so that
// the short rows of deep layers need no scalar tails.
#pragma once
#include "arena.h"
#include "epilogue.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {

// kLanes<Sum> elements as Sums.
template <class T, class Sum>
CK_INLINE Vec<Sum> load_as(const T* from) {
  if constexpr (sizeof(T) == sizeof(Sum)) {
    return load(from);
  } else {
    typedef T Few __attribute__((vector_size(kLanes<Sum> * sizeof(T))));
    Few few;
    __builtin_memcpy(&few, from, sizeof few);
    return __builtin_convertvector(few, Vec<Sum>);
  }
}

CK_INLINE int64_t whole_blocks(int64_t count, int64_t lanes) {
  return (count + lanes - 1) / lanes * lanes;
}

template <class T, class Sum>
struct PoolParts {
  T* line;  // [w] one row of the image, where it is not consecutive there, or the rest of one after
            // its blocks
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
  constexpr int64_t kBlock = kLanes<T>;
  const int64_t needed = (problem.q - 1) * problem.stride_w + problem.s,
                given = problem.pad_left + problem.w;
  parts.width = needed > given ? needed : given;
  parts.pitch = problem.q + (problem.s - 1) / problem.stride_w +
                kBlock;  // the last tap's block begins before q
  const int64_t phases =
      problem.stride_w <= 2 || problem.stride_w < problem.s ? problem.stride_w : problem.s;
  const int64_t reached =
      problem.stride_w == 2 ? 2 * (parts.pitch + kBlock) : 0;  // what dealing out vectors reads
  parts.line = take<T>(from, whole_blocks(problem.w, kBlock));
  parts.joined = take<Sum>(from, (parts.width > reached ? parts.width : reached) + kBlock);
  parts.phases = take<Sum>(from, problem.stride_w == 1 ? 0 : phases * parts.pitch + kBlock);
  parts.total = take<Sum>(from, whole_blocks(problem.q, kBlock));
  parts.result = take<T>(from, whole_blocks(problem.q, kBlock));
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

// to[i] = join(to[i], from[i]) for i from 0 to count rounded up to a vector.
template <class T, class Sum, class Join>
CK_INLINE void join_line(Sum* to, const T* from, int64_t count, const Join& join) {
  for (int64_t i = 0; i < count; i += kLanes<Sum>)
    store(to + i, join(load(to + i), load_as<T, Sum>(from + i)));
}
template <class Sum>
CK_INLINE void fill_line(Sum* to, int64_t count, Sum value) {
  for (int64_t i = 0; i < count; i += kLanes<Sum>) store(to + i, splat(value));
}

// parts.total[q] = all of the window of (p, q) in this channel, joined; `empty` stands in the
// padding. `join` takes vectors: one exact comparison or one addition an element, so their width
// changes no bits.
template <class T, class Sum, class Join>
CK_INLINE void pool_row(const Problem& problem, const T* channel, int64_t p,
                        const PoolParts<T, Sum>& parts, Sum empty, const Join& join) {
  const WindowRows rows = window_rows(problem, p);
  Sum* const inside = parts.joined + problem.pad_left;
  fill_line<Sum>(inside, problem.w, empty);
  const int64_t whole = problem.w / kLanes<T> * kLanes<T>;
  for (int64_t h = rows.begin; h < rows.end; ++h) {
    const T* line = channel + h * problem.x.h;
    if (problem.x.w == 1) {
      join_line<T, Sum>(inside, line, whole, join);
      __builtin_memcpy(parts.line + whole, line + whole, size_t(problem.w - whole) * sizeof(T));
      join_line<T, Sum>(inside + whole, parts.line + whole, problem.w - whole, join);
    } else {
      for (int64_t j = 0; j < problem.w; ++j) parts.line[j] = line[j * problem.x.w];
      join_line<T, Sum>(inside, parts.line, problem.w, join);
    }
  }
  for (int64_t i = 0; i < problem.pad_left; ++i) parts.joined[i] = empty;
  for (int64_t i = problem.pad_left + problem.w; i < parts.width; ++i) parts.joined[i] = empty;

  const int64_t stride = problem.stride_w, pitch = parts.pitch;
  const Sum* taps = parts.joined;
  if (stride == 2) {
    Sum *even = parts.phases, *odd = parts.phases + pitch;
    for (int64_t i = 0; i < pitch - kLanes<T>; i += kLanes<Sum>) {
      const Vec<Sum> left = load(taps + 2 * i), right = load(taps + 2 * i + kLanes<Sum>);
      store(even + i, even_lanes<Sum>(left, right));
      store(odd + i, odd_lanes<Sum>(left, right));
    }
  } else if (stride > 2) {
    for (int64_t f = 0; f < stride && f < problem.s; ++f)
      for (int64_t i = 0; i < pitch - kLanes<T> && i * stride + f < parts.width; ++i)
        parts.phases[f * pitch + i] = taps[i * stride + f];
  }
  Sum* total = parts.total;
  fill_line<Sum>(total, problem.q, empty);
  for (int64_t s = 0; s < problem.s; ++s)
    join_line<Sum, Sum>(total,
                        stride == 1 ? taps + s : parts.phases + s % stride * pitch + s / stride,
                        problem.q, join);
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
