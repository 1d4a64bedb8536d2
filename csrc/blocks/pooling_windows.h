// Pooling window by window: for what pooling by rows cannot do (dilation, the places of maxima),
// and for blocks of channels, where the lanes of a vector are channels and nothing has to be
// turned.
#pragma once
#include "epilogue.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {

// The taps of a window that fall inside the image along one axis, and where the first of them does.
struct Taps {
  int64_t first, count, step;
};
CK_INLINE Taps taps_inside(int64_t at, int64_t taps, int64_t dilation, int64_t size) {
  if (dilation == 1) {  // without divisions
    const int64_t first = at < 0 ? 0 : at, last = at + taps < size ? at + taps : size;
    return {first, last > first ? last - first : 0, 1};
  }
  const int64_t skipped = at < 0 ? (-at + dilation - 1) / dilation : 0;
  const int64_t first = at + skipped * dilation;
  const int64_t fit = first < size ? (size - 1 - first) / dilation + 1 : 0;
  const int64_t left = taps - skipped, count = left < fit ? left : fit;
  return {first, count < 0 ? 0 : count, dilation};
}
CK_INLINE Taps rows_inside(const Problem& problem, int64_t p) {
  return taps_inside(p * problem.stride_h - problem.pad_top, problem.r, problem.dilation_h,
                     problem.h);
}
CK_INLINE Taps columns_inside(const Problem& problem, int64_t q) {
  return taps_inside(q * problem.stride_w - problem.pad_left, problem.s, problem.dilation_w,
                     problem.w);
}

// How many taps of a window count: those inside the image, or also those in its padding; never what
// lies beyond that (ceil_mode). Numbers as in convkit/operators.
enum Count : int64_t { kCountImage = 0, kCountPadding = 1 };
CK_INLINE int64_t taps_counted(int64_t at, int64_t taps, int64_t dilation, int64_t pixels,
                               int64_t before, int64_t after, int64_t count) {
  return count == kCountPadding
             ? taps_inside(at + before, taps, dilation, before + pixels + after).count
             : taps_inside(at, taps, dilation, pixels).count;
}
CK_INLINE int64_t rows_counted(const Problem& problem, int64_t p) {
  return taps_counted(p * problem.stride_h - problem.pad_top, problem.r, problem.dilation_h,
                      problem.h, problem.pad_top, problem.pad_bottom, problem.padding_mode);
}
CK_INLINE int64_t columns_counted(const Problem& problem, int64_t q) {
  return taps_counted(q * problem.stride_w - problem.pad_left, problem.s, problem.dilation_w,
                      problem.w, problem.pad_left, problem.pad_right, problem.padding_mode);
}

// ---- blocks of channels ----

template <class T>
CK_NOINLINE bool block_of_vectors(const Problem& problem) {
  return problem.block > 0 && problem.block % kLanes<T> == 0;
}
CK_INLINE int64_t block_count(const Problem& problem) {
  return (problem.c + problem.block - 1) / problem.block;
}
CK_NOINLINE int64_t block_row_items(const Problem& problem, int64_t) {
  return block_count(problem) * problem.p;
}

// y = activate(v + residual) for one vector of channels; lanes past the last channel stay zero.
template <class T>
CK_INLINE void put_channels(const Problem& problem, const Epilogue& epilogue, Vec<T> v,
                            const T* residual, T* y, int64_t channel) {
  if (residual) v += load(residual);
  v = activated<T>(epilogue, v);
  const int64_t left = problem.k - channel;
  if (left < kLanes<T>) {
    for (int64_t i = 0; i < kLanes<T>; ++i)
      if (i >= left) v[i] = T(0);
  }
  store(y, v);
}

// Items [begin, end): rows of outputs of a block. join(so far, tap) within a row of the window and
// then of the rows; finish(v, p, q) makes the output.
template <class T, class Join, class Finish>
CK_INLINE void pool_blocks(const Problem& problem, int64_t begin, int64_t end,
                           const Operands& operands, T empty, const Join& join,
                           const Finish& finish) {
  const Epilogue& epilogue = operands.epilogue;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t block = item / problem.p, p = item % problem.p;
    const Taps rows = rows_inside(problem, p);
    const T* x = static_cast<const T*>(operands.x) + block * problem.x.c + rows.first * problem.x.h;
    T* y = static_cast<T*>(operands.y) + block * problem.y.c + p * problem.y.h;
    const T* residual = static_cast<const T*>(epilogue.residual);
    if (residual) residual += block * problem.residual.c + p * problem.residual.h;
    const int64_t down = rows.step * problem.x.h, across = problem.dilation_w * problem.x.w;
    for (int64_t q = 0; q < problem.q; ++q) {
      const Taps columns = columns_inside(problem, q);
      for (int64_t lane = 0; lane < problem.block; lane += kLanes<T>) {
        const T* row = x + columns.first * problem.x.w + lane;
        Vec<T> all = splat(empty);
        for (int64_t r = 0; r < rows.count; ++r, row += down) {
          Vec<T> line = splat(empty);
          const T* tap = row;
          for (int64_t s = 0; s < columns.count; ++s, tap += across) line = join(line, load(tap));
          all = join(all, line);
        }
        put_channels<T>(problem, epilogue, finish(all, p, q),
                        residual ? residual + q * problem.residual.w + lane : nullptr,
                        y + q * problem.y.w + lane, block * problem.block + lane);
      }
    }
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
