// Strided filters as Winograd has them. A stride of u reads every u-th row and column of x, for
// each of u u phases, an image of its own; the filter's taps fall into as many filters, which are
// moved by one pixel at a time:
//   y[k][i][j] = sum over c, a, b of sum over m, l of
//     w[k][c][u m + a][u l + b] x[c][u (i + m) + a][u (j + l) + b]
// The phases (c, a, b) are channels of a problem of unit stride. None is written to memory: a row
// of x is put into their lanes on its way into the transforms.
#pragma once
#include "winograd.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// The problem of unit stride that has phases for channels; its strides are still the filter's.
CK_INLINE Problem phases_of(const Problem& problem) {
  Problem phases = problem;
  phases.c = problem.c * problem.stride_h * problem.stride_w;
  return phases;
}
// Taps of the phases' filters along the axis that has more.
CK_INLINE int64_t phase_taps(const Problem& problem) {
  const int64_t taps = problem.r > problem.s ? problem.r : problem.s;
  return (taps + problem.stride_h - 1) / problem.stride_h;
}

// The next kCount columns of x, `step` apart, to the lanes of as many phases; `count` times.
template <int kCount>
CK_INLINE void spread(const float* from, int64_t step, int64_t count, float* to) {
  if (step == 1) {
    for (int64_t i = 0; i < count; ++i, from += kCount, to += kWide)
      __builtin_memcpy(to, from, kCount * sizeof(float));
    return;
  }
  CK_UNROLL(4)
  for (int64_t i = 0; i < count; ++i, from += kCount * step, to += kWide) CK_UNROLL(4)
  for (int j = 0; j < kCount; ++j) to[j] = from[j * step];
}
// ReadPixels of `phases`, which phases_of has made.
CK_NOINLINE void read_phases(const Problem& phases, const float* x, int64_t channel,
                             int64_t channels, int64_t row, int64_t begin, int64_t count,
                             float* to) {
  const int64_t u = phases.stride_w, left = begin * u - phases.pad_left;
  // Pixels [first, last) lie inside x, in all phases.
  const int64_t before = left >= 0 ? 0 : (u - 1 - left) / u;
  const int64_t first = before < count ? before : count;
  const int64_t inside = phases.w - left < 0 ? 0 : (phases.w - left) / u;
  const int64_t last = inside < first ? first : inside < count ? inside : count;
  for (int64_t lane = 0; lane < channels;) {
    const int64_t phase = channel + lane, column = phase % u, above = phase / u % u;
    const int64_t c = phase / (u * u);
    const int64_t lanes = u - column < channels - lane ? u - column : channels - lane;
    const int64_t from_row = source_row(phases, row * u + above - phases.pad_top);
    const float* from = x + c * phases.x.c + from_row * phases.x.h;
    const auto copy = [&](int64_t i) {
      for (int64_t j = 0; j < lanes; ++j) {
        const int64_t at = from_row < 0 ? -1 : source_column(phases, left + i * u + column + j);
        to[i * kWide + lane + j] = at < 0 ? 0.0f : from[at * phases.x.w];
      }
    };
    const int64_t quick_end = from_row >= 0 && lanes == u ? last : first;
    for (int64_t i = 0; i < first; ++i) copy(i);
    if (quick_end > first) {
      const int64_t step = phases.x.w;
      const float* start = from + (left + first * u) * step;
      float* lane_to = to + first * kWide + lane;
      if (u == 2) spread<2>(start, step, last - first, lane_to);
      if (u == 3) spread<3>(start, step, last - first, lane_to);
      if (u == 4) spread<4>(start, step, last - first, lane_to);
    }
    for (int64_t i = quick_end; i < count; ++i) copy(i);
    lane += lanes;
  }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
