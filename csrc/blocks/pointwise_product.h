// The product of a 1x1 convolution: a tile in registers, and lines fetched on the way.
#pragma once
#include "gemm.h"
#include "pointwise_pixels.h"

namespace convkit {
namespace CONVKIT_ISA {

// A tile of a product: sum[i][v] over d of a[d a_depth + i] b[d b_depth + v lanes ..]. The last
// vector of b stands at `last`, which may overlap its neighbour, so that nothing is read past the
// end of an image. The vectors of b also go to `keep`, side by side, if kKeep.
template <class T>
struct Product {
  const T* a;
  int64_t a_depth;
  const T* b;
  int64_t b_depth, last, depth;
  T* keep;
  Fetch<T> fetch;
};

// Fetches the lines of one row of a tile of y, or of the residual, that is about to be needed.
template <class T, int kVecs, int kWrite>
CK_INLINE void fetch_row(const T* at) {
  for (int64_t j = 0; j < kVecs * kLanes<T>; j += kLine<T>) __builtin_prefetch(at + j, kWrite, 3);
  __builtin_prefetch(at + kVecs * kLanes<T> - 1, kWrite, 3);
}

// Depths between two rows of y that are fetched: all at once they hold every buffer for lines that
// come, which b needs, too.
constexpr int kRowDepths = 2;

// out: where the tile's rows will be stored, out_pitch apart, or null.
template <class T, int kRows, int kVecs, bool kKeep>
CK_INLINE void product(const Product<T>& of, const T* out, int64_t out_pitch,
                       Vec<T> (&sum)[kRows][kVecs]) {
  const T *a = of.a, *b = of.b;
  T* keep = of.keep;
  const auto one_depth = [&]() __attribute__((always_inline)) {
    Vec<T> right[kVecs];
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) right[v] = load(b + (v == kVecs - 1 ? of.last : v * kLanes<T>));
    if constexpr (kKeep) {
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) store(keep + v * kLanes<T>, right[v]);
      keep += kVecs * kLanes<T>;
    }
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> left = splat(a[i]);
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) sum[i][v] += left * right[v];
    }
    a += of.a_depth;
    b += of.b_depth;
  };
  // The lines of x need depths, too.
  if (out && of.depth < kRows * kRowDepths + of.fetch.count) {
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) fetch_row<T, kVecs, 1>(out + i * out_pitch);
    out = nullptr;
  }
  Vec<T> total[kRows][kVecs];
  Fetch<T> fetch = of.fetch;
  for (int64_t done = 0;;) {
    const int64_t stop = of.depth - done < kPartial ? of.depth : done + kPartial;
    const bool first = done == 0;
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) sum[i][v] = Vec<T>{};
    }
    if (out) {
      for (int i = 0; i < kRows; ++i, out += out_pitch) {
        fetch_row<T, kVecs, 1>(out);
        CK_UNROLL(4)
        for (int j = 0; j < kRowDepths; ++j) one_depth();
      }
      done = kRows * kRowDepths;
      out = nullptr;
    }
    for (; done < stop && fetch.count > 0; ++done) {
      fetch_line(fetch);
      one_depth();
    }
    CK_UNROLL(4)
    for (; done < stop; ++done) one_depth();
    if (first && done == of.depth) return;
    CK_UNROLL(32)
    for (int i = 0; i < kRows; ++i) {
      CK_UNROLL(8)
      for (int v = 0; v < kVecs; ++v) total[i][v] = first ? sum[i][v] : total[i][v] + sum[i][v];
    }
    if (done == of.depth) break;
  }
  CK_UNROLL(32)
  for (int i = 0; i < kRows; ++i) {
    CK_UNROLL(8)
    for (int v = 0; v < kVecs; ++v) sum[i][v] = total[i][v];
  }
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
