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

// f(i) for i from 0 to count rounded up to a block; the compiler makes vectors of the inner loop.
template <class T, class Function>
CK_INLINE void each_block(int64_t count, const Function& function) {
  for (int64_t block = 0; block < count; block += kLanes<T>)
    for (int64_t i = 0; i < kLanes<T>; ++i) function(block + i);
}
// to[i] = join(to[i], from[i]) for whole blocks of T, in vectors of Sum. Joining is one exact
// comparison or one addition an element, so a vector's width changes no bits.
template <class Sum, class T>
CK_INLINE Vec<Sum> load_as(const T* from) {
  if constexpr (sizeof(Sum) == sizeof(T)) {
    return load(from);
  } else {
    typedef T Part __attribute__((vector_size(kLanes<Sum> * sizeof(T))));
    Part part;
    __builtin_memcpy(&part, from, sizeof part);
    return __builtin_convertvector(part, Vec<Sum>);
  }
}
template <class T, class Sum, class From, class Join>
CK_INLINE void join_block(Sum* to, const From* from, const Join& join) {
  CK_UNROLL(4)
  for (int64_t i = 0; i < kLanes<T>; i += kLanes<Sum>)
    store(to + i, join(load(to + i), load_as<Sum>(from + i)));
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
      problem.stride_w == 2 ? 2 * parts.pitch : 0;  // what dealing out whole blocks reads
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

// parts.total[q] = all of the window of (p, q) in this channel, joined; `empty` stands in the
// padding.
template <class T, class Sum, class Join>
CK_INLINE void pool_row(const Problem& problem, const T* channel, int64_t p,
                        const PoolParts<T, Sum>& parts, Sum empty, const Join& join) {
  const WindowRows rows = window_rows(problem, p);
  Sum* const inside = parts.joined + problem.pad_left;
  each_block<T>(problem.w, [&](int64_t i) { inside[i] = empty; });
  for (int64_t h = rows.begin; h < rows.end; ++h) {
    const T* line = channel + h * problem.x.h;
    int64_t i = 0;
    if (problem.x.w == 1) {
      for (; i + kLanes<T> <= problem.w; i += kLanes<T>) join_block<T>(inside + i, line + i, join);
      __builtin_memcpy(parts.line + i, line + i, size_t(problem.w - i) * sizeof(T));
    } else {
      for (int64_t j = 0; j < problem.w; ++j) parts.line[j] = line[j * problem.x.w];
    }
    for (; i < problem.w; i += kLanes<T>) join_block<T>(inside + i, parts.line + i, join);
  }
  for (int64_t i = 0; i < problem.pad_left; ++i) parts.joined[i] = empty;
  for (int64_t i = problem.pad_left + problem.w; i < parts.width; ++i) parts.joined[i] = empty;

  const int64_t stride = problem.stride_w, pitch = parts.pitch;
  const Sum* taps = parts.joined;
  if (stride == 2) {
    Sum *even = parts.phases, *odd = parts.phases + pitch;
    each_block<T>(pitch - kLanes<T>, [=](int64_t i) { even[i] = taps[2 * i]; });
    each_block<T>(pitch - kLanes<T>, [=](int64_t i) { odd[i] = taps[2 * i + 1]; });
  } else if (stride > 2) {
    for (int64_t f = 0; f < stride && f < problem.s; ++f)
      for (int64_t i = 0; i < pitch - kLanes<T> && i * stride + f < parts.width; ++i)
        parts.phases[f * pitch + i] = taps[i * stride + f];
  }
  Sum* total = parts.total;
  each_block<T>(problem.q, [=](int64_t q) { total[q] = empty; });
  for (int64_t s = 0; s < problem.s; ++s) {
    const Sum* from = stride == 1 ? taps + s : parts.phases + s % stride * pitch + s / stride;
    for (int64_t q = 0; q < problem.q; q += kLanes<T>) join_block<T>(total + q, from + q, join);
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
