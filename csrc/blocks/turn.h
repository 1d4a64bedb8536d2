// Pixels x channels, turned: channel planes become runs of kLanes<float> channels per pixel, and
// back. Done in small buffers on the way into a transform and out of it, so that NCHW needs no pass
// of its own.
#pragma once
#include "window.h"

namespace convkit {
namespace CONVKIT_ISA {

// Four floats from each of kLanes<float> / 4 places. Half of a transposition is done by such loads.
CK_INLINE Vec<float> load_quads(const float* from, [[maybe_unused]] int64_t distance) {
#if defined(__AVX512F__)
  __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(from));
  v = _mm512_insertf32x4(v, _mm_loadu_ps(from + distance), 1);
  v = _mm512_insertf32x4(v, _mm_loadu_ps(from + 2 * distance), 2);
  return Vec<float>(_mm512_insertf32x4(v, _mm_loadu_ps(from + 3 * distance), 3));
#elif defined(__AVX2__)
  return Vec<float>(_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from)),
                                         _mm_loadu_ps(from + distance), 1));
#else
  return load(from);
#endif
}
// The same shuffle in every four lanes; b's lanes are numbered from kLanes<float>.
#if defined(__AVX512F__)
#define CK_SHUFFLE_QUADS(a, b, i, j, k, l)                                                     \
  CK_SHUFFLE(a, b, i, j, k, l, i + 4, j + 4, k + 4, l + 4, i + 8, j + 8, k + 8, l + 8, i + 12, \
             j + 12, k + 12, l + 12)
#elif defined(__AVX2__)
#define CK_SHUFFLE_QUADS(a, b, i, j, k, l) CK_SHUFFLE(a, b, i, j, k, l, i + 4, j + 4, k + 4, l + 4)
#else
#define CK_SHUFFLE_QUADS(a, b, i, j, k, l) CK_SHUFFLE(a, b, i, j, k, l)
#endif
// rows[j][i] = from[i * from_step + j] for i < kLanes<float>, j < 4
CK_INLINE void turn_four(const float* from, int64_t from_step, Vec<float> (&rows)[4]) {
  const Vec<float> r0 = load_quads(from, 4 * from_step);
  const Vec<float> r1 = load_quads(from + from_step, 4 * from_step);
  const Vec<float> r2 = load_quads(from + 2 * from_step, 4 * from_step);
  const Vec<float> r3 = load_quads(from + 3 * from_step, 4 * from_step);
  const Vec<float> t0 = CK_SHUFFLE_QUADS(r0, r1, 0, kLanes<float>, 1, kLanes<float> + 1);
  const Vec<float> t1 = CK_SHUFFLE_QUADS(r0, r1, 2, kLanes<float> + 2, 3, kLanes<float> + 3);
  const Vec<float> t2 = CK_SHUFFLE_QUADS(r2, r3, 0, kLanes<float>, 1, kLanes<float> + 1);
  const Vec<float> t3 = CK_SHUFFLE_QUADS(r2, r3, 2, kLanes<float> + 2, 3, kLanes<float> + 3);
  rows[0] = CK_SHUFFLE_QUADS(t0, t2, 0, 1, kLanes<float>, kLanes<float> + 1);
  rows[1] = CK_SHUFFLE_QUADS(t0, t2, 2, 3, kLanes<float> + 2, kLanes<float> + 3);
  rows[2] = CK_SHUFFLE_QUADS(t1, t3, 0, 1, kLanes<float>, kLanes<float> + 1);
  rows[3] = CK_SHUFFLE_QUADS(t1, t3, 2, 3, kLanes<float> + 2, kLanes<float> + 3);
}
// to[j * to_step + i] = from[i * from_step + j] for i, j < kLanes<float>
CK_INLINE void turn(const float* from, int64_t from_step, float* to, int64_t to_step) {
  CK_UNROLL(4)
  for (int part = 0; part < kLanes<float>; part += 4, from += 4) {
    Vec<float> rows[4];
    turn_four(from, from_step, rows);
    CK_UNROLL(4)
    for (int j = 0; j < 4; ++j, to += to_step) store(to, rows[j]);
  }
}

// to[i * kLanes<float> + j] = the padded image at channel j, column begin + i, for i < count. x
// points to the first of these channels. Lanes past `channels` are zero or left alone; up to
// kLanes<float> - 1 pixels past count are overwritten.
CK_NOINLINE void read_pixels(const Problem& problem, const float* x, int64_t channels, int64_t row,
                             int64_t begin, int64_t count, float* to) {
  const int64_t from_row = source_row(problem, row), step = problem.x.w, plane = problem.x.c;
  if (from_row < 0) {
    __builtin_memset(to, 0, size_t(count * kLanes<float>) * sizeof(float));
    return;
  }
  const float* from = x + from_row * problem.x.h;
  // Pixels [first, last) are inside the image.
  const int64_t first = begin >= 0 ? 0 : -begin < count ? -begin : count;
  int64_t last = problem.w - begin;
  last = last < first ? first : last > count ? count : last;
  if (step == 1 && channels == kLanes<float> && last - first >= kLanes<float>) {
    // The last turn overlaps the one before.
    for (int64_t i = first; i < last; i += kLanes<float>) {
      const int64_t at = i + kLanes<float> <= last ? i : last - kLanes<float>;
      turn(from + (begin + at), plane, to + at * kLanes<float>, kLanes<float>);
    }
  } else if (step == 1) {
    alignas(kVectorBytes) float lines[kLanes<float> * kLanes<float>] = {};
    for (int64_t i = first; i < last; i += kLanes<float>) {
      const int64_t n = last - i < kLanes<float> ? last - i : kLanes<float>;
      for (int64_t j = 0; j < channels; ++j)
        store(lines + j * kLanes<float>, load_first(from + (j * plane + begin + i), n));
      turn(lines, kLanes<float>, to + i * kLanes<float>, kLanes<float>);
    }
  } else if (plane == 1) {
    for (int64_t i = first; i < last; ++i)
      store(to + i * kLanes<float>, load_first(from + (begin + i) * step, channels));
  } else {
    for (int64_t i = first; i < last; ++i)
      for (int64_t j = 0; j < channels; ++j)
        to[i * kLanes<float> + j] = from[j * plane + (begin + i) * step];
  }
  for (int64_t i = 0; i < count; ++i) {
    if (i == first) i = last;
    if (i == count) break;
    const int64_t column = source_column(problem, begin + i), at = column - begin;
    if (column < 0)
      store(to + i * kLanes<float>, Vec<float>{});
    else if (at >= first && at < last)
      store(to + i * kLanes<float>, load(to + at * kLanes<float>));
    else
      for (int64_t j = 0; j < channels; ++j)
        to[i * kLanes<float> + j] = from[j * plane + column * step];
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
