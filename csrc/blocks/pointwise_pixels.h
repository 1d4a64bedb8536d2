// The pixels of a 1x1 convolution: where output pixel i = p q_count + q stands in x, copies of them
// side by side with padding, strides and foreign layouts undone, what to fetch ahead of the next
// ones, and how finished sums go to y.
#pragma once
#include "epilogue.h"
#include "transpose.h"
#include "window.h"

namespace convkit {
namespace CONVKIT_ISA {

template <class T>
constexpr int64_t kLine = 64 / int64_t(sizeof(T));  // elements of a cache line

CK_INLINE bool rows_follow(const Problem& problem, const Strides& strides) {
  return problem.p == 1 || strides.h == problem.q * strides.w;
}
// Whether pixel i of every channel stands at x + i; equal sizes at stride 1 mean that there is no
// padding.
CK_INLINE bool in_place(const Problem& problem) {
  return problem.stride_h == 1 && problem.stride_w == 1 && problem.p == problem.h &&
         problem.q == problem.w && problem.x.w == 1 && rows_follow(problem, problem.x);
}
CK_INLINE bool flat_output(const Problem& problem, const Operands& operands) {
  return rows_follow(problem, problem.y) &&
         (!operands.epilogue.residual || rows_follow(problem, problem.residual));
}
CK_INLINE bool rows_of_vectors(const Problem& problem, const Operands& operands) {
  return problem.y.w == 1 && (!operands.epilogue.residual || problem.residual.w == 1);
}
CK_INLINE bool unpadded(const Problem& problem) {
  return (problem.pad_top | problem.pad_bottom | problem.pad_left | problem.pad_right) == 0;
}

// ---- copies ----------------------------------------------------------------------------------

// to[i] = from[kStep i] for i < count and zeros up to a whole vector; nothing past the last element
// is read.
template <class T, int kStep>
CK_INLINE void copy_run(const T* from, int64_t count, T* to) {
  for (int64_t i = 0; i < count; i += kLanes<T>) {
    const int64_t left = kStep * (count - i) - (kStep - 1);
    const T* at = from + kStep * i;
    if constexpr (kStep == 1) {
      store(to + i, left >= kLanes<T> ? load(at) : load_first(at, left));
    } else if (left >= 2 * kLanes<T>) {
      store(to + i, even_lanes<T>(load(at), load(at + kLanes<T>)));
    } else if (left > kLanes<T>) {
      store(to + i, even_lanes<T>(load(at), load_first(at + kLanes<T>, left - kLanes<T>)));
    } else {
      store(to + i, even_lanes<T>(load_first(at, left), Vec<T>{}));
    }
  }
}

// Rows of pixels that stand kStep apart, without padding: each run of a row goes behind the one
// before it, over what that one's last vector wrote too much.
template <class T, int kStep>
CK_NOINLINE void copy_rows(const Problem& problem, const T* x, int64_t first, int64_t count, T* to,
                           int64_t pitch) {
  const int64_t p = first / problem.q, q = first % problem.q,
                x_row = problem.stride_h * problem.x.h;
  const int64_t head = problem.q - q < count ? problem.q - q : count;
  x += p * x_row;
  for (int64_t c = 0; c < problem.c; ++c, x += problem.x.c, to += pitch) {
    copy_run<T, kStep>(x + kStep * q, head, to);
    const T* row = x + x_row;
    for (int64_t i = head; i < count; i += problem.q, row += x_row)
      copy_run<T, kStep>(row, problem.q < count - i ? problem.q : count - i, to + i);
    store(to + count, Vec<T>{});
  }
}

// Any padding and strides.
template <class T>
CK_NOINLINE void copy_padded(const Problem& problem, const T* x, int64_t first, int64_t count,
                             T* to, int64_t pitch) {
  for (int64_t c = 0; c < problem.c; ++c, to += pitch) {
    int64_t p = first / problem.q, q = first % problem.q;
    for (int64_t i = 0; i < count; ++p, q = 0) {
      const int64_t run = problem.q - q < count - i ? problem.q - q : count - i;
      read_every(problem, x, c, p * problem.stride_h - problem.pad_top,
                 q * problem.stride_w - problem.pad_left, problem.stride_w, run, to + i);
      i += run;
    }
    store(to + count, Vec<T>{});
  }
}

// Channels that follow each other: a vector of pixels times a vector of channels is turned in
// registers. Lanes past the last pixel repeat it.
template <class T>
CK_NOINLINE void turn_pixels(const Problem& problem, const T* x, int64_t first, int64_t count,
                             T* to, int64_t pitch) {
  const T* pixel[kLanes<T>];
  for (int64_t i = 0; i < kLanes<T>; ++i) {
    const int64_t at = first + (i < count ? i : count - 1), p = at / problem.q, q = at % problem.q;
    pixel[i] = x + p * problem.stride_h * problem.x.h + q * problem.stride_w * problem.x.w;
  }
  for (int64_t c = 0; c < problem.c; c += kLanes<T>) {
    const int64_t left = problem.c - c;
    Vec<T> a[kLanes<T>];
    CK_UNROLL(16)
    for (int i = 0; i < kLanes<T>; ++i)
      a[i] = left < kLanes<T> ? load_first(pixel[i] + c, left) : load(pixel[i] + c);
    transpose<T>(a);
    CK_UNROLL(16)
    for (int i = 0; i < kLanes<T>; ++i, to += pitch)
      if (i < left) store(to, a[i]);
  }
}

// to[c pitch + i] = pixel first + i of channel c, i < count; the rest of the last vector is finite
// whenever x is, and up to a vector past count is overwritten.
template <class T>
CK_INLINE void copy_pixels(const Problem& problem, const T* x, int64_t first, int64_t count, T* to,
                           int64_t pitch) {
  const int64_t step = problem.x.w == 1 && unpadded(problem) ? problem.stride_w : 0;
  if (step == 1) return copy_rows<T, 1>(problem, x, first, count, to, pitch);
  if (step == 2) return copy_rows<T, 2>(problem, x, first, count, to, pitch);
  if (problem.x.c != 1 || !unpadded(problem))
    return copy_padded(problem, x, first, count, to, pitch);
  for (int64_t i = 0; i < count; i += kLanes<T>)
    turn_pixels(problem, x, first + i, count - i, to + i, pitch);
}

// ---- fetching ahead --------------------------------------------------------------------------

// Lines to fetch into the second level of cache: `left` of a row of `lines`, then the next row,
// `jump` elements past the end of this one; `count` in all.
template <class T>
struct Fetch {
  const T* at;
  int64_t left, lines, jump, count;
};
template <class T>
CK_INLINE void fetch_line(Fetch<T>& fetch) {
  __builtin_prefetch(fetch.at, 0, 2);
  fetch.at += kLine<T>;
  --fetch.count;
  if (--fetch.left == 0) {
    fetch.left = fetch.lines;
    fetch.at += fetch.jump;
  }
}

// Walks over the lines that hold the pixels [first, first + count) of all channels: line by line
// along a row, as the hardware's own prefetching likes it, channel by channel, then the next row.
// Every tile takes an equal share.
template <class T>
struct Ahead {
  const T* x;
  int64_t rows, row_step;  // of one channel, row_step elements apart; where x is read in place: one
  int64_t row_lines;
  int64_t share, share_channels, share_lines;  // share = share_channels row_lines + share_lines
  int64_t row, channel, line;                  // the next one
};
template <class T>
CK_INLINE Ahead<T> ahead_of(const Problem& problem, const T* x, int64_t first, int64_t count,
                            int64_t tiles) {
  Ahead<T> ahead{};
  if (problem.x.w != 1 || count <= 0) return ahead;
  if (in_place(problem)) {
    ahead.x = x + first;
    ahead.rows = 1;
    ahead.row_lines = count / kLine<T> + 1;
  } else {
    const int64_t top = first / problem.q, bottom = (first + count - 1) / problem.q;
    ahead.x = x + (top * problem.stride_h - problem.pad_top) * problem.x.h;
    ahead.rows = bottom - top + 1;
    ahead.row_step = problem.stride_h * problem.x.h;
    ahead.row_lines = problem.w / kLine<T> + 1;
  }
  ahead.share = (ahead.rows * ahead.row_lines * problem.c + tiles - 1) / tiles;
  ahead.share_channels = ahead.share / ahead.row_lines;
  ahead.share_lines = ahead.share % ahead.row_lines;
  return ahead;
}
template <class T>
CK_INLINE Fetch<T> next_share(const Problem& problem, Ahead<T>& ahead) {
  Fetch<T> fetch{};
  if (ahead.row >= ahead.rows) return fetch;
  const int64_t left = (problem.c - ahead.channel) * ahead.row_lines - ahead.line;
  fetch.at =
      ahead.x + (ahead.row * ahead.row_step + ahead.channel * problem.x.c + ahead.line * kLine<T>);
  fetch.left = ahead.row_lines - ahead.line;
  fetch.lines = ahead.row_lines;
  fetch.jump = problem.x.c - ahead.row_lines * kLine<T>;
  fetch.count = ahead.share < left ? ahead.share : left;
  ahead.line += ahead.share_lines;
  ahead.channel += ahead.share_channels;
  if (ahead.line >= ahead.row_lines) {
    ahead.line -= ahead.row_lines;
    ++ahead.channel;
  }
  if (ahead.channel >= problem.c) {
    ahead.channel = ahead.line = 0;
    ++ahead.row;
  }
  return fetch;
}

// ---- pixels out ------------------------------------------------------------------------------

// Finishes and stores count pixels of one filter, from pixel first on. sums is changed.
template <class T>
CK_NOINLINE void store_pixels(const Problem& problem, const Operands& operands, bool flat,
                              int64_t filter, int64_t first, int64_t count, T* sums) {
  if (flat) {
    finish_row(problem, operands, filter, 0, first, sums, count);
    return;
  }
  int64_t p = first / problem.q, q = first % problem.q;
  for (int64_t i = 0; i < count; ++p, q = 0) {
    const int64_t run = problem.q - q < count - i ? problem.q - q : count - i;
    finish_row(problem, operands, filter, p, q, sums + i, run);
    i += run;
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
