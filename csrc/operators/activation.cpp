// y[i] = activate(x[i] + residual[i]), element by element; `add` is this with a residual, an
// activation by itself without. `activate` also serves every epilogue. kernel.h has the formulas;
// each is written here so that its own error stays below 4 eps of the result for every finite input
// and the infinities. float32 is computed in double and rounded once, but for sigmoid and silu,
// which networks use by the million: those are computed in float32 (1.5 and 1.9 eps).
//   sigmoid(v) = e / (1 + e),  e = exp(-|v|) (1 / (1 + e) for v >= 0)          silu(v) = v
//   sigmoid(v) tanh(v)    = sign(v) m / (m + 2),  m = exp(2 |v|) - 1, without cancellation near 0
//   gelu(v)    = max(v, 0) - tail(|v|),  tail(z) = z Phi(-z) = z exp(-z^2 / 2) F(z) / (1 + z)
// F is smooth and lies between 0.39 and 0.51 on all of [0, inf): one polynomial in t = (z - 4) / (z
// + 4) covers it, as in M. M. Shepherd, J. G. Laframboise, "Chebyshev approximation of (1 + 2x)
// exp(x^2) erfc x in 0 <= x < inf", 1981.
#include <math.h>

#include "blocks/block_vectors.h"
#include "blocks/elements.h"
#include "blocks/epilogue.h"
#include "blocks/exponential.h"
#include "blocks/logarithm.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// F(z) = (1 + z) exp(z^2 / 2) Phi(-z) by powers of t, interpolated in the Chebyshev points:
// relative error 3e-9 up to z = 16, beyond which float32 underflows, and 4e-17 up to z = 40, beyond
// which float64 does.
template <class T>
struct Gaussian;
template <>
struct Gaussian<float> {
  static constexpr double kEnd = 16;
  static constexpr int kCount = 11;
  static constexpr double kPowers[kCount] = {
      0.4720532062828421,    -0.09670346848501019,   0.01399964663668011,   0.028600051516509132,
      -0.03219794671132381,  0.017939228037366292,   -0.005001626277899434, -0.0002989144813298353,
      0.0006904429920806671, -6.823701398419209e-05, -7.50647144480142e-05};
};
template <>
struct Gaussian<double> {
  static constexpr double kEnd = 40;
  static constexpr int kCount = 26;
  static constexpr double kPowers[kCount] = {
      0.47205320650984467,     -0.09670347732652576,    0.013999634724424587,
      0.028600364053545303,    -0.03219783742803773,    0.01793609747986559,
      -0.005002378592128895,   -0.0002856231011245299,  0.0006948971170463732,
      -9.443022451077919e-05,  -8.785326715025308e-05,  2.1249878071315503e-05,
      1.3627216924860428e-05,  -3.4315426863575374e-06, -2.6138354291981633e-06,
      4.02796706762413e-07,    5.535867610515549e-07,   4.368254355826958e-09,
      -1.1266449601441193e-07, -2.3149676692193936e-08, 1.858912669147192e-08,
      8.4406110146191e-09,     -1.7247183694342513e-09, -1.565639437021121e-09,
      -3.1952904136783923e-11, 9.332409795989569e-11};
};

// Beyond this distance from 0 the exponential is 0 in T or, beside 1, lost: bounding the argument
// keeps 2^j in range and turns infinities into numbers, so that -inf * 0 does not arise.
template <class T>
constexpr double kFar = sizeof(T) == 4 ? 120 : 800;

CK_INLINE Real magnitude(Real v) { return Real(RealBits(v) & 0x7fffffffffffffff); }
CK_INLINE Real with_sign(Real v, Real sign) {
  const RealBits bit = RealBits(sign) & int64_t(uint64_t(1) << 63);
  return Real(RealBits(v) | bit);
}

// factor(v) / (1 + e) scaled by e for v < 0, where e = exp(-|v|): sigmoid for a factor of 1, silu
// for v itself.
template <class T>
CK_INLINE Real logistic(Real v, Real factor) {
  const Power e =
      power<kExponentialTerms<T>, sizeof(T) == 8>(-bounded_above(magnitude(v), kFar<T>), Real{});
  const Real one = splat(1.0), tail = one + e.q;
  const Real ratio = (v < 0 ? factor * tail : factor) / (one + tail * e.once * e.twice);
  return ratio * (v < 0 ? e.once : one) * (v < 0 ? e.twice : one);
}

// The same in float32: e^-z by the series up to r^7 / 7!, ln 2 in two parts of which the first has
// 9 bits. AVX-512 has an instruction that multiplies by 2^j and rounds once, and a reciprocal to 14
// bits that is improved faster than a division is made.
typedef Vec<float> Single;
typedef uint32_t SingleBits __attribute__((vector_size(kVectorBytes)));
constexpr float kSingleRounder = 12582912.0f;  // 1.5 * 2^23
// v 2^j for -180 <= j <= 0.
CK_INLINE Single scaled(Single v, Single j) {
#if defined(__AVX512F__)
  return Single(_mm512_maskz_scalef_ps(0xffff, __m512(v), __m512(j)));
#else
  const auto power = [](Single rounded) { return Single((SingleBits(rounded) + 127u) << 23); };
  const Single rounder = splat(kSingleRounder);
  const Single half = j * splat(0.5f) + rounder, rest = j - (half - rounder);
  return v * power(half) * power(rest + rounder);
#endif
}
// a / b for 0 <= a <= 1 <= b <= 2.
CK_INLINE Single quotient(Single a, Single b) {
#if defined(__AVX512F__)
  const Single inverse = Single(_mm512_maskz_rcp14_ps(0xffff, __m512(b))), first = a * inverse;
  return first + (a - first * b) * inverse;
#else
  return a / b;
#endif
}
CK_INLINE Single single_logistic(Single v, Single factor) {
  const Single rounder = splat(kSingleRounder);
  const Single n = larger(splat(-float(kFar<float>)), Single(SingleBits(v) | 0x80000000u));
  const Single j = (n * splat(1.44269504f) + rounder) - rounder;
  const Single r = (n - j * splat(0.693359375f)) - j * splat(-2.12194440e-4f);
  Single sum = splat(float(kInverseFactorial[7]));
  CK_UNROLL(8)
  for (int i = 6; i >= 0; --i) sum = sum * r + splat(float(kInverseFactorial[i]));
  const Single one = splat(1.0f), tail = sum;
  const Single share = factor * quotient(v < 0 ? tail : one, one + scaled(tail, j));
  // The power of two last: a subnormal result is rounded once.
  return v < 0 ? scaled(share, j) : share;
}
// One loop body for whole vectors and the last one, so that a value's bits do not depend on where
// it stands.
template <class Function>
CK_INLINE void map_single(float* values, int64_t count, const Function& function) {
  for (int64_t i = 0; i < count; i += kLanes<float>) {
    const int64_t left = count - i;
    const bool whole = left >= kLanes<float>;
    const Single v = function(whole ? load(values + i) : load_first(values + i, left));
    if (whole)
      store(values + i, v);
    else
      store_first(values + i, left, v);
  }
}

// exp(v) - 1 for |v| <= 100.
template <class T>
CK_INLINE Real exponential_less_one(Real v) {
  const Power e = power<kExponentialTerms<T>, false>(v, Real{});
  return e.q * e.once + (e.once - splat(1.0));
}
template <class T>
CK_INLINE Real hyperbolic_tangent(Real v) {
  const Real m = exponential_less_one<T>(splat(2.0) * bounded_above(magnitude(v), 20));
  return with_sign(m / (m + splat(2.0)), v);
}
template <class T>
CK_INLINE Real gaussian_unit(Real v) {
  typedef Gaussian<T> G;
  const Real z = bounded_above(magnitude(v), G::kEnd), t = (z - splat(4.0)) / (z + splat(4.0));
  Real sum = splat(G::kPowers[G::kCount - 1]);
  CK_UNROLL(32)
  for (int i = G::kCount - 2; i >= 0; --i) sum = sum * t + splat(G::kPowers[i]);
  // An error of z^2 is one of the result: at z = 38 a rounded square would cost 700 eps.
  const Exact square = sizeof(T) == 8 ? exact_product(z, z) : Exact{z * z, Real{}};
  const Power e =
      power<kExponentialTerms<T>, sizeof(T) == 8>(splat(-0.5) * square.hi, splat(-0.5) * square.lo);
  const Real tail = z * sum / (splat(1.0) + z) * (splat(1.0) + e.q) * e.once * e.twice;
  return v < 0 ? -tail : v - tail;
}

// e^v, 0 or infinity where T has no more.
template <class T>
CK_INLINE Real exponential(Real v) {
  const Power e =
      power<kExponentialTerms<T>, true>(bounded_above(bounded_below(v, -kFar<T>), kFar<T>), Real{});
  return (splat(1.0) + e.q) * e.once * e.twice;
}
// log(1 + e^v) = max(v, 0) + log(1 + e^-|v|)
template <class T>
CK_INLINE Real softplus(Real v) {
  return bounded_below(v, 0) + logarithm_of_one_plus(exponential<T>(-magnitude(v)));
}
// tanh(log(1 + e^v)) = t / (t + 2), t = e^v (e^v + 2); over e^2v for v >= 0. No term cancels.
template <class T>
CK_INLINE Real mish(Real v) {
  const Power e =
      power<kExponentialTerms<T>, sizeof(T) == 8>(-bounded_above(magnitude(v), kFar<T>), Real{});
  const Real one = splat(1.0), two = splat(2.0), tail = one + e.q;
  const Real small = tail * e.once * e.twice;
  const Real above = (one + two * small) / (one + two * small + two * small * small);
  const Real below = tail * (small + two) / (small * (small + two) + two);
  // The powers of two last: a subnormal result is rounded once.
  return v < 0 ? bounded_below(v, -kFar<T>) * below * e.once * e.twice : v * above;
}
// Near 0 the series 2 / sqrt(pi) sum (-1)^n v^(2n + 1) / (n! (2n + 1)), beyond 1 - 2 Phi(-|v| sqrt
// 2) by the polynomial of gaussian_unit, of which a sixth at most is left there.
template <class T>
CK_INLINE Real error_function(Real v) {
  typedef Gaussian<T> G;
  constexpr int kTerms = sizeof(T) == 4 ? 12 : 19;
  const Real near = bounded_above(magnitude(v), 1), square = near * near;
  Real series = Real{};
  double factorial = 1;
  double powers[kTerms + 1];
  for (int n = 0; n <= kTerms; ++n) {
    powers[n] = (n % 2 ? -1.0 : 1.0) / (factorial * (2 * n + 1));
    factorial *= n + 1;
  }
  CK_UNROLL(20)
  for (int n = kTerms; n >= 0; --n) series = series * square + splat(powers[n]);
  const Real low = splat(1.1283791670955126) * near * series;
  const Real far = bounded_above(magnitude(v), 6), z = splat(1.4142135623730951) * far;
  const Real t = (z - splat(4.0)) / (z + splat(4.0));
  Real sum = splat(G::kPowers[G::kCount - 1]);
  CK_UNROLL(32)
  for (int i = G::kCount - 2; i >= 0; --i) sum = sum * t + splat(G::kPowers[i]);
  const Real tail = sum / (splat(1.0) + z) * exponential<T>(-(far * far));
  const Real both = magnitude(v) < 1 ? low : splat(1.0) - splat(2.0) * tail;
  return v != v ? v : with_sign(both, v);
}
template <class Function>
CK_INLINE Real each_lane(Real v, const Function& function) {
  for (int i = 0; i < kLanes<double>; ++i) v[i] = function(v[i]);
  return v;
}

// values[i] = function(values[i]). Tails go through the same vectors, filled up with zeros.
template <class Function>
CK_INLINE void map(double* values, int64_t count, const Function& function) {
  int64_t i = 0;
  for (; i + kLanes<double> <= count; i += kLanes<double>)
    store(values + i, function(load(values + i)));
  if (i < count) store_first(values + i, count - i, function(load_first(values + i, count - i)));
}
template <class Function>
CK_INLINE void map(float* values, int64_t count, const Function& function) {
  constexpr int64_t kTile =
      64;  // widened by plain loops, which the compiler turns into conversions of whole vectors
  alignas(kVectorBytes) double wide[kTile];
  for (; count >= kTile; values += kTile, count -= kTile) {
    for (int64_t i = 0; i < kTile; ++i) wide[i] = values[i];
    for (int64_t i = 0; i < kTile; i += kLanes<double>) store(wide + i, function(load(wide + i)));
    for (int64_t i = 0; i < kTile; ++i) values[i] = float(wide[i]);
  }
  for (int64_t i = 0; i < count; ++i) wide[i] = values[i];
  map(wide, count, function);
  for (int64_t i = 0; i < count; ++i) values[i] = float(wide[i]);
}

template <class T>
CK_NOINLINE void apply_all(int64_t function, double a, double b, T* values, int64_t count) {
  const Real first = splat(a), second = splat(b);
  switch (function) {
    case kSelu:
      return map(values, count, [=](Real v) {
        const Real below =
            first * exponential_less_one<T>(bounded_above(bounded_below(v, -100), 0));
        return second * (v < 0 ? below : v);
      });
    case kCelu:
      return map(values, count, [=](Real v) {
        const Real u = bounded_above(bounded_below(v / first, -100), 600);
        return v < 0 ? first * exponential_less_one<T>(u) : v;
      });
    case kThresholdedRelu:
      return map(values, count, [=](Real v) { return v <= first ? Real{} : v; });
    case kSoftplus: return map(values, count, [](Real v) { return softplus<T>(v); });
    case kSoftsign:
      return map(values, count, [](Real v) {
        const Real ratio = v / (splat(1.0) + magnitude(v));
        return magnitude(v) > splat(1e18) ? with_sign(splat(1.0), v) : ratio;
      });
    case kMish: return map(values, count, [](Real v) { return mish<T>(v); });
    case kGeluByTanh:
      // (1 + tanh u) / 2 = sigmoid(2 u). In float64 an error of u is one of e^2u.
      return map(values, count, [](Real v) {
        const Real factor = splat(1.5957691216057308), w = bounded_below(v, -kFar<T>);
        const Real cubic = splat(0.044715) * w * w * w + w;
        return logistic<T>(factor * cubic, w);
      });
    case kNegative: return map(values, count, [](Real v) { return -v; });
    case kAbsolute: return map(values, count, [](Real v) { return magnitude(v); });
    case kReciprocal: return map(values, count, [](Real v) { return splat(1.0) / v; });
    case kExponential: return map(values, count, [](Real v) { return exponential<T>(v); });
    case kLogarithm: return map(values, count, [](Real v) { return logarithm(v); });
    case kErrorFunction: return map(values, count, [](Real v) { return error_function<T>(v); });
    case kSign:
      return map(values, count,
                 [](Real v) { return v > 0 ? splat(1.0) : (v < 0 ? splat(-1.0) : v); });
    // The rest is rare: one element at a time.
    case kSquareRoot:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return sqrt(d); }); });
    case kFloor:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return floor(d); }); });
    case kCeiling:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return ceil(d); }); });
    case kRound:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return rint(d); }); });
    case kSin:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return sin(d); }); });
    case kCos:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return cos(d); }); });
    case kTan:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return tan(d); }); });
    case kArcSin:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return asin(d); }); });
    case kArcCos:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return acos(d); }); });
    case kArcTan:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return atan(d); }); });
    case kSinh:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return sinh(d); }); });
    case kCosh:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return cosh(d); }); });
    case kArcSinh:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return asinh(d); }); });
    case kArcCosh:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return acosh(d); }); });
    case kArcTanh:
      return map(values, count,
                 [](Real v) { return each_lane(v, [](double d) { return atanh(d); }); });
    default: return;
  }
}

template <class T>
CK_INLINE void activate_all(int64_t activation, double a, double b, T* values, int64_t count) {
  const Real low = splat(a), high = splat(b);
  switch (activation) {
    case kRelu: return map(values, count, [](Real v) { return bounded_below(v, 0); });
    case kClip:
      return map(values, count, [=](Real v) { return bounded_above(bounded_below(v, a), b); });
    case kLeakyRelu: return map(values, count, [=](Real v) { return v < 0 ? low * v : v; });
    case kElu:
      return map(values, count, [=](Real v) {
        return v < 0 ? low * exponential_less_one<T>(bounded_above(bounded_below(v, -100), 0)) : v;
      });
    case kHardSigmoid:
      // The default slope stands for an exact sixth, so that v = -3 gives 0 as everywhere else.
      if (a == 1.0 / 6 && b == 0.5)
        return map(values, count, [](Real v) {
          return bounded_above(bounded_below(v + splat(3.0), 0), 6) * splat(1.0 / 6);
        });
      // The sum may cancel almost all of a v, so that the product's rounding error counts.
      return map(values, count, [=](Real v) {
        const Real plain = low * v + high;
        const Exact product = exact_product(low, v), sum = exact_sum(product.hi, high);
        const Real best = sum.hi + (sum.lo + product.lo);
        return bounded_above(bounded_below(magnitude(plain) < 2 ? best : plain, 0), 1);
      });
    case kSigmoid:
      if constexpr (sizeof(T) == 4)
        return map_single(values, count, [](Single v) { return single_logistic(v, splat(1.0f)); });
      else
        return map(values, count, [](Real v) { return logistic<T>(v, splat(1.0)); });
    case kTanh: return map(values, count, [](Real v) { return hyperbolic_tangent<T>(v); });
    case kHardSwish:
      return map(values, count, [](Real v) {
        const Real u = bounded_below(v, -3);
        return u * (bounded_above(u + splat(3.0), 6) * splat(1.0 / 6));
      });
    case kSilu:
      if constexpr (sizeof(T) == 4)
        return map_single(values, count, [](Single v) {
          const Single least = splat(-float(kFar<float>));
          return single_logistic(v, larger(least, v));
        });
      else
        return map(values, count,
                   [](Real v) { return logistic<T>(v, bounded_below(v, -kFar<T>)); });
    case kGelu: return map(values, count, [](Real v) { return gaussian_unit<T>(v); });
    default: return apply_all(activation, a, b, values, count);
  }
}

}  // namespace

void activate(int64_t activation, double a, double b, float* values, int64_t count) {
  activate_all(activation, a, b, values, count);
}
void activate(int64_t activation, double a, double b, double* values, int64_t count) {
  activate_all(activation, a, b, values, count);
}

namespace {

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  each_run<T>(problem, operands, false, begin * kPiece, end * kPiece,
              [](T*, int64_t, int64_t, bool) {});
}
Sizes sizes(const Problem&) { return {0, 0, 0}; }
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) { return (elements(problem) + kPiece - 1) / kPiece; }
void prepare(const Problem&, const void*, void*) {}

// Channels in blocks: lanes past the last one stay zero, whatever the activation makes of zero.
template <class T>
int64_t block_items(const Problem& problem, int64_t) {
  return vector_rows<T>(problem);
}
template <class T>
void run_blocks(const Problem& problem, int64_t, int64_t begin, int64_t end,
                const Operands& operands) {
  const auto row = [&](int64_t number, int64_t p, T* y,
                       const T* residual) __attribute__((always_inline)) {
    const T* const x = static_cast<const T*>(operands.x) +
                       vector_offset<T>(problem, problem.x, number) + p * problem.x.h;
    const auto value = [&](int64_t q)
                           __attribute__((always_inline)) { return load(x + q * problem.x.w); };
    put_pixels<T>(problem, operands.epilogue, number, value, residual, y);
  };
  each_vector_row<T>(problem, begin, end, operands, row);
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes, 1, items, prepare, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes, 1, items, prepare, run<double>},
    {"float32 blocks", kFloat32, kNchwc, kNchwc, blocks_fit<float>, sizes, 1, block_items<float>,
     prepare, run_blocks<float>},
    {"float64 blocks", kFloat64, kNchwc, kNchwc, blocks_fit<double>, sizes, 1, block_items<double>,
     prepare, run_blocks<double>},
};

}  // namespace

extern const Variants activation;
const Variants activation = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
