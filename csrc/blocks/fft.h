// The 2-D real FFT of a tile, rows first on the way in, columns first on the way out, so that the
// inverse skips the rows nobody reads. Frequencies are kept once: column 0 and the middle one are
// the spectra of real numbers (rows / 2 + 1 values), columns 1 .. columns / 2 - 1 have `rows`
// values, the others are conjugates of these.
#pragma once
#include "blocks/fft_codelets.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

template <class T>
struct TileFft {
  Codelets<T> down, across;  // of a column (as many points as the tile has rows), and of a row
  int64_t pitch;             // of a row of half-transformed values, in scalars
};
CK_INLINE int64_t fft_frequencies(int64_t rows, int64_t columns) {
  return columns == 1 ? rows / 2 + 1 : 2 * (rows / 2 + 1) + (columns / 2 - 1) * rows;
}
// The first frequency of a column.
CK_INLINE int64_t fft_column(int64_t rows, int64_t columns, int64_t column) {
  if (column == 0) return 0;
  return column == columns / 2 ? rows / 2 + 1 : 2 * (rows / 2 + 1) + (column - 1) * rows;
}
// An odd number of complex vectors keeps columns off each other's cache sets.
template <class T>
CK_INLINE int64_t fft_pitch(int64_t columns) {
  return ((columns / 2 + 1) | 1) * 2 * kLanes<T>;
}
// half: of a tile whose second half of the rows, or columns, is zeros before and not wanted after;
// only down.kept rows and across.kept columns are then read and written.
template <class T>
CK_INLINE TileFft<T> tile_fft(int64_t rows, int64_t columns, bool half_rows = false,
                              bool half_columns = false) {
  return {codelets<T>(rows, half_rows), codelets<T>(columns, half_columns), fft_pitch<T>(columns)};
}
// work[row] = transform of the row at `from`.
template <class T>
CK_INLINE void forward_row(const TileFft<T>& fft, const T* from, T* work, int64_t row) {
  fft.across.real(from, kLanes<T>, work + row * fft.pitch, 2 * kLanes<T>);
}
template <class T>
CK_INLINE void forward_columns(const TileFft<T>& fft, const T* work, T* to, int64_t to_step) {
  const int64_t rows = fft.down.size, columns = fft.across.size, middle = columns / 2,
                pair = 2 * kLanes<T>;
  fft.down.real(work, fft.pitch, to, to_step);
  if (columns > 1)
    fft.down.real(work + middle * pair, fft.pitch, to + fft_column(rows, columns, middle) * to_step,
                  to_step);
  for (int64_t i = 1; i < middle; ++i) {
    const T* from = work + i * pair;
    T* out = to + fft_column(rows, columns, i) * to_step;
    fft.down.complex(from, from + kLanes<T>, fft.pitch, out, out + kLanes<T>, to_step);
  }
}
// The imaginary parts of work's column 0 and of its middle one stay unwritten: inverse_row does not
// read them.
template <class T>
CK_INLINE void inverse_columns(const TileFft<T>& fft, const T* from, int64_t from_step, T* work) {
  const int64_t rows = fft.down.size, columns = fft.across.size, middle = columns / 2,
                pair = 2 * kLanes<T>;
  fft.down.inverse_real(from, from_step, work, fft.pitch);
  if (columns > 1)
    fft.down.inverse_real(from + fft_column(rows, columns, middle) * from_step, from_step,
                          work + middle * pair, fft.pitch);
  for (int64_t i = 1; i < middle; ++i) {
    const T* in = from + fft_column(rows, columns, i) * from_step;
    T* to = work + i * pair;
    fft.down.back(in + kLanes<T>, in, from_step, to + kLanes<T>, to, fft.pitch);
  }
}
// Forward, multiply(column, first frequency, count) and inverse, column by column while it is in
// the first cache. column: memory for as many complex vectors as a tile has rows.
template <class T, class Multiply>
CK_INLINE void filter_columns(const TileFft<T>& fft, T* work, T* column, Multiply multiply) {
  const int64_t rows = fft.down.size, columns = fft.across.size, middle = columns / 2,
                pair = 2 * kLanes<T>;
  for (int64_t i = 0; i <= middle; ++i) {
    T* at = work + i * pair;
    const int64_t first = fft_column(rows, columns, i);
    if (i == 0 || i == middle) {
      fft.down.real(at, fft.pitch, column, pair);
      multiply(column, first, rows / 2 + 1);
      fft.down.inverse_real(column, pair, at, fft.pitch);
    } else {
      fft.down.complex(at, at + kLanes<T>, fft.pitch, column, column + kLanes<T>, pair);
      multiply(column, first, rows);
      fft.down.back(column + kLanes<T>, column, pair, at + kLanes<T>, at, fft.pitch);
    }
  }
}
template <class T>
CK_INLINE void inverse_row(const TileFft<T>& fft, const T* work, int64_t row, T* to) {
  fft.across.inverse_real(work + row * fft.pitch, 2 * kLanes<T>, to, kLanes<T>);
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
