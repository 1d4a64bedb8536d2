// Reading the padded image without making one: rows of x with their padding, for any strides and
// padding mode. Coordinates are the image's: row -1 is the first row of padding above it.
#pragma once
#include "problem.h"
#include "simd.h"

namespace convkit {
namespace CONVKIT_ISA {

// The row or column of the image that stands at i, or -1 where the padded image reads zero. Beyond
// the padding: zero too, so that tiles may run over the end.
CK_INLINE int64_t source_index(int64_t i, int64_t size, int64_t before, int64_t after,
                               int64_t mode) {
  if (i >= 0 && i < size) return i;
  if (i < -before || i >= size + after) return -1;
  switch (mode) {
    case kReflect: return i < 0 ? -i : 2 * size - 2 - i;
    case kSymmetric: return i < 0 ? -i - 1 : 2 * size - 1 - i;
    case kReplicate: return i < 0 ? 0 : size - 1;
    case kCircular: return i < 0 ? i + size : i - size;
    default: return -1;
  }
}
CK_INLINE int64_t source_row(const Problem& problem, int64_t row) {
  return source_index(row, problem.h, problem.pad_top, problem.pad_bottom, problem.padding_mode);
}
CK_INLINE int64_t source_column(const Problem& problem, int64_t column) {
  return source_index(column, problem.w, problem.pad_left, problem.pad_right, problem.padding_mode);
}

// to[i * step] = x[channel][row][begin + i] for i < count, padding included.
template <class T>
CK_NOINLINE void read_row(const Problem& problem, const T* x, int64_t channel, int64_t row,
                          int64_t begin, int64_t count, T* to, int64_t step = 1) {
  const int64_t from_row = source_row(problem, row);
  if (from_row < 0) {
    if (step == 1)
      __builtin_memset(to, 0, size_t(count) * sizeof(T));
    else
      for (int64_t i = 0; i < count; ++i) to[i * step] = T(0);
    return;
  }
  const T* from = x + channel * problem.x.c + from_row * problem.x.h;
  int64_t inside = begin < 0 ? (-begin < count ? -begin : count) : 0;  // first i inside the image
  int64_t outside = problem.w - begin;                                 // first i right of it
  outside = outside < inside ? inside : outside > count ? count : outside;
  for (int64_t i = 0; i < inside; ++i) {
    const int64_t column = source_column(problem, begin + i);
    to[i * step] = column < 0 ? T(0) : from[column * problem.x.w];
  }
  from += begin * problem.x.w;
  if (problem.x.w == 1 && step == 1)
    __builtin_memcpy(to + inside, from + inside, size_t(outside - inside) * sizeof(T));
  else
    for (int64_t i = inside; i < outside; ++i) to[i * step] = from[i * problem.x.w];
  from -= begin * problem.x.w;
  for (int64_t i = outside; i < count; ++i) {
    const int64_t column = source_column(problem, begin + i);
    to[i * step] = column < 0 ? T(0) : from[column * problem.x.w];
  }
}

// to[i] = x[channel][row][begin + i * every] for i < count, padding included: the columns that a
// stride reads, side by side.
template <class T>
CK_NOINLINE void read_every(const Problem& problem, const T* x, int64_t channel, int64_t row,
                            int64_t begin, int64_t every, int64_t count, T* to) {
  const int64_t from_row = source_row(problem, row);
  if (from_row < 0) {
    __builtin_memset(to, 0, size_t(count) * sizeof(T));
    return;
  }
  const T* from = x + channel * problem.x.c + from_row * problem.x.h;
  int64_t i = 0;
  for (; i < count && begin + i * every < 0; ++i) {
    const int64_t column = source_column(problem, begin + i * every);
    to[i] = column < 0 ? T(0) : from[column * problem.x.w];
  }
  int64_t inside = begin < problem.w ? (problem.w - begin + every - 1) / every
                                     : 0;  // first i right of the image
  inside = inside < i ? i : inside > count ? count : inside;
  const int64_t step = every * problem.x.w;
  const T* start = from + begin * problem.x.w;
  if (step == 1) {
    __builtin_memcpy(to + i, start + i, size_t(inside - i) * sizeof(T));
    i = inside;
  } else if (step == 2) {
    for (; i + kLanes<T> < inside;
         i += kLanes<T>)  // "<": the last pair of vectors would read one element too many
      store(to + i, even_lanes<T>(load(start + 2 * i), load(start + 2 * i + kLanes<T>)));
  }
  for (; i < inside; ++i) to[i] = start[i * step];
  for (; i < count && begin + i * every < problem.w + problem.pad_right; ++i) {
    const int64_t column = source_column(problem, begin + i * every);
    to[i] = column < 0 ? T(0) : from[column * problem.x.w];
  }
  for (; i < count; ++i) to[i] = T(0);
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
