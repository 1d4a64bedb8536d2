// The register-tiled complex product under the FFT, four real products each:
//   out[i][v] = sum over pieces and d < depth of a[i][piece][d] * b[piece][d][v]
// a is broadcast, b and out are pairs of vectors (re, im). A piece is one tile's worth of a filter
// larger than a tile.
#pragma once
#include "simd.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// rows x vectors x 2 accumulators, 2 vectors of b a column and one broadcast fill the registers;
// without FMA a product needs one too.
constexpr int kComplexRows = kFma ? 6 : 4;
constexpr int kComplexVecs = kRegisters == 32 ? 2 : 1;

template <class T>
constexpr int64_t kPairBytes = 2 * kLanes<T> * int64_t(sizeof(T));

struct ComplexProduct {
  int64_t depth;
  int64_t piece_rows, piece_columns;
  int64_t a_row, a_piece_row, a_piece_column;  // distances in scalars
  int64_t b_vec, b_piece_row, b_piece_column;
  int64_t out_row;
  int64_t ahead;  // from b to what the next product will read, in scalars; 0: do not fetch it
};

// What a product fetches while it computes, so that weights that stream from the last cache or from
// memory arrive in time: two places a column.
struct Ahead {
  const char* from;
  int64_t gap, step;  // bytes
};

// a holds kBlock real parts, then the kBlock imaginary parts that belong to them.
template <class T, int kRows, int kVecs, int kBlock>
CK_NOINLINE void complex_multiply(const ComplexProduct& product, const T* a, const T* b, T* out,
                                  const Ahead& ahead) {
  constexpr int64_t kPair = 2 * kLanes<T>;
  const char* next = ahead.from;
  Vec<T> re[kRows][kVecs], im[kRows][kVecs];
  CK_UNROLL(8)
  for (int i = 0; i < kRows; ++i) CK_UNROLL(2)
  for (int v = 0; v < kVecs; ++v) re[i][v] = im[i][v] = Vec<T>{};
  const int64_t a_row = product.a_row, b_vec = product.b_vec, depth = product.depth;
  for (int64_t row = 0; row < product.piece_rows; ++row)
    for (int64_t column = 0; column < product.piece_columns; ++column) {
      const T* left = a + row * product.a_piece_row + column * product.a_piece_column;
      const T* right = b + row * product.b_piece_row + column * product.b_piece_column;
      for (int64_t begin = 0; begin < depth; begin += kBlock, left += 2 * kBlock) {
        const int64_t count = depth - begin < kBlock ? depth - begin : kBlock;
        for (int64_t d = 0; d < count; ++d, right += kPair, next += ahead.step) {
          __builtin_prefetch(next, 0, 2);
          __builtin_prefetch(next + ahead.gap, 0, 2);
          Vec<T> b_re[kVecs], b_im[kVecs];
          CK_UNROLL(2)
          for (int v = 0; v < kVecs; ++v) {
            b_re[v] = load(right + v * b_vec);
            b_im[v] = load(right + v * b_vec + kLanes<T>);
          }
          CK_UNROLL(8)
          for (int i = 0; i < kRows; ++i) {
            const Vec<T> a_re = splat(left[i * a_row + d]),
                         a_im = splat(left[i * a_row + kBlock + d]);
            CK_UNROLL(2)
            for (int v = 0; v < kVecs; ++v) {
              re[i][v] += a_re * b_re[v];
              im[i][v] += a_re * b_im[v];
              re[i][v] -= a_im * b_im[v];
              im[i][v] += a_im * b_re[v];
            }
          }
        }
      }
    }
  CK_UNROLL(8)
  for (int i = 0; i < kRows; ++i) CK_UNROLL(2)
  for (int v = 0; v < kVecs; ++v) {
    store(out + i * product.out_row + v * kPair, re[i][v]);
    store(out + i * product.out_row + v * kPair + kLanes<T>, im[i][v]);
  }
}

// Any number of rows, in steps as equal as can be. Each row's sums run in the same order whatever
// the step.
template <class T, int kVecs, int kBlock>
CK_INLINE void complex_multiply_rows(const ComplexProduct& product, int64_t rows, const T* a,
                                     const T* b, T* out) {
  const int64_t steps = (rows + kComplexRows - 1) / kComplexRows;
  const int64_t total = product.piece_rows * product.piece_columns * product.depth;
  for (int64_t step = 0, done = 0; step < steps; ++step) {
    const int64_t count = (rows - done + steps - step - 1) / (steps - step);
    const T* from = a + done * product.a_row;
    T* to = out + done * product.out_row;
    Ahead ahead{reinterpret_cast<const char*>(b), 0, 0};
    if (product.ahead) {  // an equal part in each step: more at once waits for room in the queues
      const int64_t column =
          (kVecs * kPairBytes<T> + steps - 1) / steps;  // a column of the panel's
      ahead = {reinterpret_cast<const char*>(b + product.ahead) + step * total * column, column / 2,
               column};
    }
    if (count == 1) complex_multiply<T, 1, kVecs, kBlock>(product, from, b, to, ahead);
    if (count == 2) complex_multiply<T, 2, kVecs, kBlock>(product, from, b, to, ahead);
    if (count == 3) complex_multiply<T, 3, kVecs, kBlock>(product, from, b, to, ahead);
    if (count == 4) complex_multiply<T, 4, kVecs, kBlock>(product, from, b, to, ahead);
    if constexpr (kComplexRows > 4) {
      if (count == 5) complex_multiply<T, 5, kVecs, kBlock>(product, from, b, to, ahead);
      if (count == 6) complex_multiply<T, 6, kVecs, kBlock>(product, from, b, to, ahead);
    }
    done += count;
  }
}

// Lane by lane: out[v] = sum over pieces and d < depth of a[piece][d] * b[piece][d], all pairs of
// vectors.
template <class T>
CK_INLINE void complex_multiply_lanes(const ComplexProduct& product, const T* a, const T* b,
                                      T* out) {
  constexpr int64_t kPair = 2 * kLanes<T>;
  Vec<T> re{}, im{};
  for (int64_t row = 0; row < product.piece_rows; ++row)
    for (int64_t column = 0; column < product.piece_columns; ++column) {
      const T* left = a + row * product.a_piece_row + column * product.a_piece_column;
      const T* right = b + row * product.b_piece_row + column * product.b_piece_column;
      for (int64_t d = 0; d < product.depth; ++d, left += kPair, right += kPair) {
        const Vec<T> a_re = load(left), a_im = load(left + kLanes<T>);
        const Vec<T> b_re = load(right), b_im = load(right + kLanes<T>);
        re += a_re * b_re;
        im += a_re * b_im;
        re -= a_im * b_im;
        im += a_im * b_re;
      }
    }
  store(out, re);
  store(out + kLanes<T>, im);
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
