// Opens csrc/blocks/fft.h and transpose.h to tests: compiled for one instruction set, loaded by
// tests/test_blocks_fft.py. Arrays are [index][lane], complex ones [index][re, im][lane]; is_double
// says which of the two types the pointers mean.
#include "blocks/fft.h"
#include "blocks/transpose.h"

using namespace convkit::CONVKIT_ISA;

namespace {

enum Kind { kReal, kInverseReal, kComplex, kInverseComplex, kKinds };

template <class T>
void transform(int kind, int size, const T* from, T* to) {
  const Codelets<T>& codelet = codelets<T>(size, kind >= kKinds);  // then those of half the numbers
  const int64_t lanes = kLanes<T>, pair = 2 * lanes;
  kind %= kKinds;
  if (kind == kReal) codelet.real(from, lanes, to, pair);
  if (kind == kInverseReal) codelet.inverse_real(from, pair, to, lanes);
  if (kind == kComplex) codelet.complex(from, from + lanes, pair, to, to + lanes, pair);
  if (kind == kInverseComplex) codelet.back(from + lanes, from, pair, to + lanes, to, pair);
}

template <class T>
void half_forward(const TileFft<T>& fft, const T* x, T* work) {
  for (int64_t i = 0; i < fft.down.size; ++i)
    forward_row(fft, x + i * fft.across.size * kLanes<T>, work, i);
}
template <class T>
void half_inverse(const TileFft<T>& fft, const T* work, T* x) {
  for (int64_t i = 0; i < fft.down.size; ++i)
    inverse_row(fft, work, i, x + i * fft.across.size * kLanes<T>);
}
template <class T>
T* work_of(const TileFft<T>& fft) {
  return new T[size_t(fft.down.size * fft.pitch)];
}
template <class T>
void spectrum(int rows, int columns, const T* x, T* to) {
  const TileFft<T> fft = tile_fft<T>(rows, columns);
  T* work = work_of(fft);
  half_forward(fft, x, work);
  forward_columns(fft, work, to, 2 * kLanes<T>);
  delete[] work;
}
template <class T>
void inverse(int rows, int columns, const T* from, T* x) {
  const TileFft<T> fft = tile_fft<T>(rows, columns);
  T* work = work_of(fft);
  inverse_columns(fft, from, 2 * kLanes<T>, work);
  half_inverse(fft, work, x);
  delete[] work;
}
// x times the spectrum w, column by column.
template <class T>
void filter(int rows, int columns, const T* x, const T* w, T* y) {
  const TileFft<T> fft = tile_fft<T>(rows, columns);
  T *work = work_of(fft), *column = new T[size_t(rows) * 2 * kLanes<T>];
  half_forward(fft, x, work);
  filter_columns(fft, work, column, [&](T* at, int64_t first, int64_t count) {
    for (int64_t f = 0; f < count; ++f)
      for (int l = 0; l < kLanes<T>; ++l) {
        const T *b = w + (first + f) * 2 * kLanes<T> + l, *b_im = b + kLanes<T>;
        T *a = at + f * 2 * kLanes<T> + l, *a_im = a + kLanes<T>;
        const T re = *a * *b - *a_im * *b_im;
        *a_im = *a * *b_im + *a_im * *b;
        *a = re;
      }
  });
  half_inverse(fft, work, y);
  delete[] work;
  delete[] column;
}
template <class T>
void transpose_square(const T* from, T* to) {
  Vec<T> block[kLanes<T>];
  for (int l = 0; l < kLanes<T>; ++l) block[l] = load(from + l * kLanes<T>);
  transpose<T>(block);
  for (int l = 0; l < kLanes<T>; ++l) store(to + l * kLanes<T>, block[l]);
}
template <class T>
int list_sizes(int* to) {
  for (int i = 0; i < CodeletTable<T>::kCount; ++i) to[i] = CodeletTable<T>::kTable[i].size;
  return CodeletTable<T>::kCount;
}

}  // namespace

#define BOTH(call)    \
  if (is_double) {    \
    typedef double T; \
    call;             \
  } else {            \
    typedef float T;  \
    call;             \
  }
#define IN(pointer) static_cast<const T*>(pointer)
#define OUT(pointer) static_cast<T*>(pointer)

extern "C" {
int fft_lanes(int is_double) { return is_double ? kLanes<double> : kLanes<float>; }
int fft_sizes(int is_double, int* to){BOTH(return list_sizes<T>(to))} int64_t
    fft_frequencies_of(int rows, int columns) {
  return fft_frequencies(rows, columns);
}
int64_t fft_column_of(int rows, int columns, int column) {
  return fft_column(rows, columns, column);
}
int fft_kept(int is_double, int size) { BOTH(return codelets<T>(size, true).kept) }
void fft_transform(int is_double, int kind, int size, const void* from, void* to) {
  BOTH(transform(kind, size, IN(from), OUT(to)))
}
void fft_spectrum(int is_double, int rows, int columns, const void* x, void* to) {
  BOTH(spectrum(rows, columns, IN(x), OUT(to)))
}
void fft_inverse(int is_double, int rows, int columns, const void* from, void* x) {
  BOTH(inverse(rows, columns, IN(from), OUT(x)))
}
void fft_filter(int is_double, int rows, int columns, const void* x, const void* w, void* y) {
  BOTH(filter(rows, columns, IN(x), IN(w), OUT(y)))
}
void fft_transpose(int is_double, const void* from, void* to) {
  BOTH(transpose_square(IN(from), OUT(to)))
}
}
