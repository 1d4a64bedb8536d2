// FFT codelets on vectors of independent lanes (channels, tiles or groups).
//   forward: X[a] = sum over j < N of x[j] e^(-2 pi i a j / N);  inverse: with +i, unscaled.
// N = 2^a 3^b 5^c 7^d by decimation in time (Cooley and Tukey 1965), unrolled by templates;
// twiddles are constants of the instruction stream. Lanes never mix: no shuffle, and natural order
// in and out, because a permutation is only an address. Constant zeros fold away only with
// -fno-signed-zeros -fno-trapping-math.
#pragma once
#include <utility>

#include "simd.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

#define CK_LAMBDA __attribute__((always_inline))
// The number of an Index, of a captured one too (there GCC makes decltype a reference).
#define CK_VALUE(index) (std::remove_reference_t<decltype(index)>::value)

// A number that is known to the compiler and still an argument.
template <int I>
struct Index {
  static constexpr int value = I;
  CK_LAMBDA constexpr operator int() const { return I; }
};
template <class F, int... I>
CK_INLINE void unroll(F&& body, std::integer_sequence<int, I...>) {
  (body(Index<I>{}), ...);
}
template <int kCount, class F>
CK_INLINE void unroll(F&& body) {
  unroll(body, std::make_integer_sequence<int, kCount>{});
}

template <class T>
struct Complex {
  Vec<T> re, im;
};

// sin and cos of 2 pi k / n to the last bit of a double: Taylor sums, since a compiler need not
// evaluate std::cos.
constexpr long double kPi = 3.14159265358979323846264338327950288L;
constexpr long double sine_series(long double x) {
  long double term = x, sum = x;
  for (int i = 1; i < 14; ++i) sum += term *= -x * x / ((2 * i) * (2 * i + 1));
  return sum;
}
constexpr long double cosine_series(long double x) {
  long double term = 1, sum = 1;
  for (int i = 1; i < 14; ++i) sum += term *= -x * x / ((2 * i - 1) * (2 * i));
  return sum;
}
// By eighths of the circle, so that the series see at most pi / 4 and the symmetries are exact.
constexpr long double cosine(int k, int n) {
  k = ((k % n) + n) % n;
  if (2 * k > n) k = n - k;
  if (4 * k > n) return -cosine(n - 2 * k, 2 * n);
  return 8 * k > n ? sine_series(kPi * (n - 4 * k) / (2 * n)) : cosine_series(2 * kPi * k / n);
}
constexpr long double sine(int k, int n) { return cosine(4 * k - n, 4 * n); }

// x e^(-2 pi i K / N)
template <class T, int N, int K>
CK_INLINE Complex<T> twiddle(Complex<T> x) {
  constexpr int k = ((K % N) + N) % N;
  constexpr T c = T(cosine(k, N)), s = T(sine(k, N));
  if constexpr (k == 0)
    return x;
  else if constexpr (4 * k == N)
    return {x.im, -x.re};
  else if constexpr (2 * k == N)
    return {-x.re, -x.im};
  else if constexpr (4 * k == 3 * N)
    return {-x.im, x.re};
  else if constexpr (8 * k == N)
    return {(x.re + x.im) * c, (x.im - x.re) * c};
  else if constexpr (8 * k == 3 * N)
    return {(x.im - x.re) * s, (x.re + x.im) * -s};
  else
    return {x.re * c + x.im * s, x.im * c - x.re * s};
}

// t[q] = sum over r < R of t[r] e^(-2 pi i r q / R)
template <class T, int R>
CK_INLINE void butterfly(Complex<T> (&t)[R]) {
  if constexpr (R == 2) {
    const Complex<T> a = t[0], b = t[1];
    t[0] = {a.re + b.re, a.im + b.im};
    t[1] = {a.re - b.re, a.im - b.im};
  } else if constexpr (R == 4) {
    const Complex<T> a{t[0].re + t[2].re, t[0].im + t[2].im},
        b{t[0].re - t[2].re, t[0].im - t[2].im};
    const Complex<T> c{t[1].re + t[3].re, t[1].im + t[3].im},
        d{t[1].im - t[3].im, t[3].re - t[1].re};  // -i (t1 - t3)
    t[0] = {a.re + c.re, a.im + c.im};
    t[1] = {b.re + d.re, b.im + d.im};
    t[2] = {a.re - c.re, a.im - c.im};
    t[3] = {b.re - d.re, b.im - d.im};
  } else {  // odd R: terms j and R - j share their cosine and their sine
    constexpr int H = R / 2;
    Complex<T> sum[H], difference[H], first = t[0], all = first;
    unroll<H>([&](auto j) CK_LAMBDA {
      sum[j] = {t[j + 1].re + t[R - 1 - j].re, t[j + 1].im + t[R - 1 - j].im};
      difference[j] = {t[j + 1].re - t[R - 1 - j].re, t[j + 1].im - t[R - 1 - j].im};
      all = {all.re + sum[j].re, all.im + sum[j].im};
    });
    t[0] = all;
    unroll<H>([&](auto q) CK_LAMBDA {
      Complex<T> even = first, odd{};
      unroll<H>([&](auto j) CK_LAMBDA {
        constexpr int turn = (CK_VALUE(j) + 1) * (CK_VALUE(q) + 1) % R;
        constexpr T c = T(cosine(turn, R)), s = T(sine(turn, R));
        even = {even.re + sum[j].re * c, even.im + sum[j].im * c};
        odd = {odd.re + difference[j].im * s, odd.im - difference[j].re * s};
      });
      t[q + 1] = {even.re + odd.re, even.im + odd.im};
      t[R - 1 - q] = {even.re - odd.re, even.im - odd.im};
    });
  }
}
// Radix 4 first: the fewest operations a point.
constexpr int radix(int n) {
  return n == 2       ? 2
         : n % 4 == 0 ? 4
         : n % 2 == 0 ? 2
         : n % 3 == 0 ? 3
         : n % 5 == 0 ? 5
         : n % 7 == 0 ? 7
                      : n;
}

// y[a], a < N, of the complex numbers x[j * kStep].
template <class T, int N, int kStep = 1>
CK_INLINE void complex_fft(const Complex<T>* x, Complex<T>* y) {
  if constexpr (N == 1) {
    y[0] = x[0];
  } else {
    constexpr int R = radix(N), M = N / R;
    Complex<T> part[R][M];
    unroll<R>([&](auto r) CK_LAMBDA { complex_fft<T, M, kStep * R>(x + r * kStep, part[r]); });
    unroll<M>([&](auto k) CK_LAMBDA {
      Complex<T> t[R];
      unroll<R>([&](auto r)
                    CK_LAMBDA { t[r] = twiddle<T, N, CK_VALUE(r) * CK_VALUE(k)>(part[r][k]); });
      butterfly<T, R>(t);
      unroll<R>([&](auto q) CK_LAMBDA { y[k + M * q] = t[q]; });
    });
  }
}
// The same by decimation in frequency: y[a * kStep] of x[j]. Outputs nobody stores die from the
// last and largest butterflies on, as inputs that are zeros do in the other.
template <class T, int N, int kStep = 1>
CK_INLINE void complex_fft_by_frequency(const Complex<T>* x, Complex<T>* y) {
  if constexpr (N == 1) {
    y[0] = x[0];
  } else {
    constexpr int R = radix(N), M = N / R;
    Complex<T> part[R][M];
    unroll<M>([&](auto k) CK_LAMBDA {
      Complex<T> t[R];
      unroll<R>([&](auto q) CK_LAMBDA { t[q] = x[k + M * q]; });
      butterfly<T, R>(t);
      unroll<R>([&](auto r)
                    CK_LAMBDA { part[r][k] = twiddle<T, N, CK_VALUE(r) * CK_VALUE(k)>(t[r]); });
    });
    unroll<R>([&](auto r)
                  CK_LAMBDA { complex_fft_by_frequency<T, M, kStep * R>(part[r], y + r * kStep); });
  }
}
// y[a], a <= N / 2, of the real numbers x[j * kStep]; the others are their conjugates. What is not
// stored dies as dead code.
template <class T, int N, int kStep = 1>
CK_INLINE void real_fft(const Vec<T>* x, Complex<T>* y) {
  if constexpr (N == 1) {
    y[0] = {x[0], Vec<T>{}};
  } else {
    constexpr int R = radix(N), M = N / R;
    Complex<T> part[R][M / 2 + 1];
    unroll<R>([&](auto r) CK_LAMBDA { real_fft<T, M, kStep * R>(x + r * kStep, part[r]); });
    unroll<M / 2 + 1>([&](auto k) CK_LAMBDA {
      Complex<T> t[R];
      unroll<R>([&](auto r)
                    CK_LAMBDA { t[r] = twiddle<T, N, CK_VALUE(r) * CK_VALUE(k)>(part[r][k]); });
      butterfly<T, R>(t);
      unroll<R>([&](auto q) CK_LAMBDA {
        constexpr int f = CK_VALUE(k) + M * CK_VALUE(q);
        if constexpr (2 * f <= N)
          y[f] = t[q];
        else if constexpr (CK_VALUE(k) != 0 && 2 * CK_VALUE(k) != M)
          y[N - f] = {t[q].re, -t[q].im};
      });
    });
  }
}
// The inverse of real_fft times N: x[j * kStep], j < N, of y[a], a <= N / 2. Forward butterflies
// with re and im swapped.
template <class T, int N, int kStep = 1>
CK_INLINE void real_inverse(const Complex<T>* y, Vec<T>* x) {
  if constexpr (N == 1) {
    x[0] = y[0].re;
  } else {
    constexpr int R = radix(N), M = N / R;
    Complex<T> part[R][M / 2 + 1];
    unroll<M / 2 + 1>([&](auto k) CK_LAMBDA {
      Complex<T> t[R];
      unroll<R>([&](auto q) CK_LAMBDA {
        constexpr int f = CK_VALUE(k) + M * CK_VALUE(q);
        if constexpr (f == 0 || 2 * f == N)
          t[q] = {Vec<T>{}, y[f].re};
        else if constexpr (2 * f < N)
          t[q] = {y[f].im, y[f].re};
        else
          t[q] = {-y[N - f].im, y[N - f].re};
      });
      butterfly<T, R>(t);
      unroll<R>([&](auto r) CK_LAMBDA {
        const Complex<T> v = twiddle<T, N, CK_VALUE(r) * CK_VALUE(k)>(t[r]);
        part[r][k] = {v.im, v.re};
      });
    });
    unroll<R>([&](auto r) CK_LAMBDA { real_inverse<T, M, kStep * R>(part[r], x + r * kStep); });
  }
}

// The codelets of one size. Distances in scalars; a complex number is two vectors, re then im.
template <class T>
struct Codelets {
  int size;
  int kept;  // inputs read, and outputs of an inverse written: of the others none is other than
             // zero, none wanted
  void (*real)(const T* from, int64_t from_step, T* to, int64_t to_step);
  void (*inverse_real)(const T* from, int64_t from_step, T* to, int64_t to_step);
  // re and im apart: swapped on both sides `back` is the inverse.
  void (*complex)(const T* re, const T* im, int64_t from_step, T* to_re, T* to_im, int64_t to_step);
  void (*back)(const T* re, const T* im, int64_t from_step, T* to_re, T* to_im, int64_t to_step);
};
template <class T, int N, int kKept = N>
void real_codelet(const T* from, int64_t from_step, T* to, int64_t to_step) {
  Vec<T> x[N] = {};
  Complex<T> y[N / 2 + 1];
  unroll<kKept>([&](auto j) CK_LAMBDA { x[j] = load(from + j * from_step); });
  real_fft<T, N>(x, y);
  unroll<N / 2 + 1>([&](auto a) CK_LAMBDA {
    store(to + a * to_step, y[a].re);
    store(to + a * to_step + kLanes<T>, y[a].im);
  });
}
template <class T, int N, int kKept = N>
void inverse_real_codelet(const T* from, int64_t from_step, T* to, int64_t to_step) {
  Complex<T> y[N / 2 + 1];
  Vec<T> x[N];
  unroll<N / 2 + 1>([&](auto a) CK_LAMBDA {
    y[a] = {load(from + a * from_step), load(from + a * from_step + kLanes<T>)};
  });
  real_inverse<T, N>(y, x);
  unroll<kKept>([&](auto j) CK_LAMBDA { store(to + j * to_step, x[j]); });
}
template <class T, int N, int kKept = N>
void complex_codelet(const T* re, const T* im, int64_t from_step, T* to_re, T* to_im,
                     int64_t to_step) {
  Complex<T> x[N] = {}, y[N];
  unroll<kKept>([&](auto j)
                    CK_LAMBDA { x[j] = {load(re + j * from_step), load(im + j * from_step)}; });
  complex_fft<T, N>(x, y);
  unroll<N>([&](auto a) CK_LAMBDA {
    store(to_re + a * to_step, y[a].re);
    store(to_im + a * to_step, y[a].im);
  });
}
template <class T, int N, int kKept>
void back_codelet(const T* re, const T* im, int64_t from_step, T* to_re, T* to_im,
                  int64_t to_step) {
  Complex<T> x[N], y[N];
  unroll<N>([&](auto j) CK_LAMBDA { x[j] = {load(re + j * from_step), load(im + j * from_step)}; });
  complex_fft_by_frequency<T, N>(x, y);
  unroll<kKept>([&](auto a) CK_LAMBDA {
    store(to_re + a * to_step, y[a].re);
    store(to_im + a * to_step, y[a].im);
  });
}
// The same of numbers turned by (cos, sin) of their own first.
template <class T, int N>
void turned_codelet(const T* re, const T* im, int64_t from_step, T* to_re, T* to_im,
                    int64_t to_step, const T (*turns)[2]) {
  Complex<T> x[N], y[N];
  x[0] = {load(re), load(im)};
  unroll<N - 1>([&](auto i) CK_LAMBDA {
    constexpr int j = CK_VALUE(i) + 1;
    const Vec<T> a = load(re + j * from_step), b = load(im + j * from_step);
    const Vec<T> c = splat(turns[j][0]), s = splat(turns[j][1]);
    x[j] = {a * c + b * s, b * c - a * s};
  });
  complex_fft<T, N>(x, y);
  unroll<N>([&](auto a) CK_LAMBDA {
    store(to_re + a * to_step, y[a].re);
    store(to_im + a * to_step, y[a].im);
  });
}
template <class T, int N>
constexpr Codelets<T> codelets_of() {
  return {N,
          N,
          real_codelet<T, N>,
          inverse_real_codelet<T, N>,
          complex_codelet<T, N>,
          complex_codelet<T, N>};
}
// Of as many zeros as other numbers: an image in a tile that is wrapped around it by a filter as
// large. For sizes of 7, 12, 14, 16 and 32 pixels; for the others they are the whole ones.
template <class T, int N>
constexpr Codelets<T> half_codelets_of() {
  if constexpr (N == 16 || N == 24 || N == 28 || N == 32 || N == 64)
    return {N,
            N / 2,
            real_codelet<T, N, N / 2>,
            inverse_real_codelet<T, N, N / 2>,
            complex_codelet<T, N, N / 2>,
            back_codelet<T, N, N / 2>};
  else
    return codelets_of<T, N>();
}

// e^(-2 pi i a b / (N1 N2)) for a < N1, b < N2: (cos, sin).
template <class T, int N1, int N2>
struct Twiddles {
  T values[N1 * N2][2];
};
template <class T, int N1, int N2>
constexpr Twiddles<T, N1, N2> twiddles_of() {
  Twiddles<T, N1, N2> table{};
  for (int a = 0; a < N1; ++a)
    for (int b = 0; b < N2; ++b) {
      table.values[a * N2 + b][0] = T(cosine(a * b, N1 * N2));
      table.values[a * N2 + b][1] = T(sine(a * b, N1 * N2));
    }
  return table;
}
// Long transforms, N = N1 N2 with N1 even, as two steps through the stack: index n + N2 j goes to k
// + N1 q,
//   X[k + N1 q] = sum over n of e^(-2 pi i q n / N2) e^(-2 pi i k n / N) sum over j of e^(-2 pi i k
//   j / N1) x[n + N2 j].
// Straight-line code of their length would be as long as all the others together.
template <class T, int N1, int N2>
struct LongFft {
  static constexpr int N = N1 * N2;
  static constexpr int64_t kPair = 2 * kLanes<T>;
  static constexpr int64_t kPitch =
      (N2 | 1) * kPair;  // odd: keeps the rows off each other's cache sets
  static constexpr Twiddles<T, N1, N2> kTwiddles = twiddles_of<T, N1, N2>();

  // The numbers of row k, times e^(-+ 2 pi i k n / N).
  template <bool kInverse>
  CK_INLINE void turn(T* at, int k) {
    for (int n = 1; n < N2; ++n) {
      const Vec<T> c = splat(kTwiddles.values[k * N2 + n][0]),
                   s = splat(kTwiddles.values[k * N2 + n][1]);
      const Vec<T> re = load(at + n * kPair), im = load(at + n * kPair + kLanes<T>);
      store(at + n * kPair, kInverse ? re * c - im * s : re * c + im * s);
      store(at + n * kPair + kLanes<T>, kInverse ? im * c + re * s : im * c - re * s);
    }
  }
  static void complex(const T* re, const T* im, int64_t from_step, T* to_re, T* to_im,
                      int64_t to_step) {
    alignas(64) T half[N1 * kPitch];
    for (int n = 0; n < N2; ++n)
      complex_codelet<T, N1>(re + n * from_step, im + n * from_step, N2 * from_step,
                             half + n * kPair, half + n * kPair + kLanes<T>, kPitch);
    for (int k = 0; k < N1; ++k) {
      const T* row = half + k * kPitch;
      turned_codelet<T, N2>(row, row + kLanes<T>, kPair, to_re + k * to_step, to_im + k * to_step,
                            N1 * to_step, kTwiddles.values + k * N2);
    }
  }
  static void real(const T* from, int64_t from_step, T* to, int64_t to_step) {
    alignas(64) T half[(N1 / 2 + 1) * kPitch], line[N2 * kPair];
    for (int n = 0; n < N2; ++n)
      real_codelet<T, N1>(from + n * from_step, N2 * from_step, half + n * kPair, kPitch);
    real_codelet<T, N2>(half, kPair, to, N1 * to_step);
    for (int k = 1; k <= N1 / 2; ++k) {
      T* row = half + k * kPitch;
      turn<false>(row, k);
      complex_codelet<T, N2>(row, row + kLanes<T>, kPair, line, line + kLanes<T>, kPair);
      for (int q = 0; q < N2; ++q) {
        const int f = k + N1 * q;
        if (2 * f > N && 2 * k == N1) break;  // seen: the conjugates of the others
        T* out = to + (2 * f <= N ? f : N - f) * to_step;
        store(out, load(line + q * kPair));
        const Vec<T> part = load(line + q * kPair + kLanes<T>);
        store(out + kLanes<T>, 2 * f <= N ? part : -part);
      }
    }
  }
  static void inverse_real(const T* from, int64_t from_step, T* to, int64_t to_step) {
    alignas(64) T half[(N1 / 2 + 1) * kPitch], line[N2 * kPair];
    for (int k = 0; k <= N1 / 2; ++k) {
      for (int q = 0; q < N2; ++q) {
        const int f = k + N1 * q;
        const T* in = from + (2 * f <= N ? f : N - f) * from_step;
        store(line + q * kPair, load(in));
        // The imaginary parts of frequencies 0 and N / 2 are zeros that nobody need have written.
        const Vec<T> part = f == 0 || 2 * f == N ? Vec<T>{} : load(in + kLanes<T>);
        store(line + q * kPair + kLanes<T>, 2 * f <= N ? part : -part);
      }
      T* row = half + k * kPitch;
      complex_codelet<T, N2>(line + kLanes<T>, line, kPair, row + kLanes<T>, row, kPair);
      if (k > 0) turn<true>(row, k);
    }
    for (int n = 0; n < N2; ++n)
      inverse_real_codelet<T, N1>(half + n * kPair, kPitch, to + n * to_step, N2 * to_step);
  }
};
template <class T, int N1, int N2>
constexpr Codelets<T> long_codelets_of() {
  return {N1 * N2,
          N1 * N2,
          LongFft<T, N1, N2>::real,
          LongFft<T, N1, N2>::inverse_real,
          LongFft<T, N1, N2>::complex,
          LongFft<T, N1, N2>::complex};
}

// The sizes built, ascending. A size costs about 0.6 KB of code a point, so float64 and the slow
// baseline have fewer.
template <class T>
struct FftSizes;
#if defined(__AVX2__) || defined(__aarch64__)
template <>
struct FftSizes<float> {
  typedef std::integer_sequence<int, 1, 8, 12, 16, 18, 20, 24, 28, 32, 36, 40, 48, 64, 72> sizes;
};
template <>
struct FftSizes<double> {
  typedef std::integer_sequence<int, 1, 8, 12, 16, 20, 24, 32, 40, 48, 64> sizes;
};
#else
template <>
struct FftSizes<float> {
  typedef std::integer_sequence<int, 1, 8, 12, 16, 24, 32, 48, 64> sizes;
};
template <>
struct FftSizes<double> {
  typedef std::integer_sequence<int, 1, 8, 12, 16, 24, 32, 48> sizes;
};
#endif
template <class T, class Sizes = typename FftSizes<T>::sizes>
struct CodeletTable;
template <class T, int... N>
struct CodeletTable<T, std::integer_sequence<int, N...>> {
  static constexpr Codelets<T> kTable[] = {
      codelets_of<T, N>()..., long_codelets_of<T, 8, 12>(), long_codelets_of<T, 8, 16>(),
      long_codelets_of<T, 16, 12>(), long_codelets_of<T, 16, 16>()};
  static constexpr int kCount = sizeof kTable / sizeof kTable[0];
  static constexpr Codelets<T> kHalves[] = {half_codelets_of<T, N>()...};
  static constexpr int kHalfCount = sizeof kHalves / sizeof kHalves[0];
};
// half: the numbers from size / 2 on are zeros, and what comes back there is not wanted.
template <class T>
CK_INLINE const Codelets<T>& codelets(int64_t size, bool half = false) {
  typedef CodeletTable<T> Table;
  int i = 0;
  while (i + 1 < Table::kCount && Table::kTable[i].size < size) ++i;
  return half && i < Table::kHalfCount ? Table::kHalves[i] : Table::kTable[i];
}

// The sizes of complex transforms alone, for images: products of the lengths that every instruction
// set has, and a few between.
template <class T>
struct ComplexFft {
  int size;
  void (*run)(const T* re, const T* im, int64_t from_step, T* to_re, T* to_im, int64_t to_step);
};
constexpr int64_t kMostImage = 768;
template <class T>
struct ImageSizes {
  template <int N>
  static constexpr ComplexFft<T> straight() {
    return {N, complex_codelet<T, N>};
  }
  template <int N1, int N2>
  static constexpr ComplexFft<T> split() {
    return {N1 * N2, LongFft<T, N1, N2>::complex};
  }
  static constexpr ComplexFft<T> kTable[] = {
      straight<16>(),  straight<32>(),  straight<48>(),  split<8, 8>(),   split<8, 12>(),
      split<8, 16>(),  split<12, 12>(), split<16, 12>(), split<16, 16>(), split<24, 12>(),
#if defined(__AVX2__) || defined(__aarch64__)
      split<20, 16>(),
#endif
      split<24, 16>(),
#if defined(__AVX2__) || defined(__aarch64__)
      split<28, 16>(),
#endif
      split<32, 16>(), split<24, 24>(),
#if defined(__AVX2__) || defined(__aarch64__)
      split<40, 16>(),
#endif
      split<32, 24>()};
};
template <class T>
CK_INLINE auto image_fft(int64_t size) {
  int i = 0;
  while (ImageSizes<T>::kTable[i].size < size) ++i;
  return ImageSizes<T>::kTable[i].run;
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
