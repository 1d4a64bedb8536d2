// y = activate(x): one of the activations, element by element. Also the slow activations of every epilogue.
#include <math.h>

#include "blocks/epilogue.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

template <class T>
T one(int64_t activation, double a, double b, T value) {
  const double v = value;
  switch (activation) {
    case kLeakyRelu: return T(v < 0 ? a * v : v);
    case kElu: return T(v < 0 ? a * expm1(v) : v);
    case kHardSigmoid: { const double u = a * v + b; return T(u < 0 ? 0 : u > 1 ? 1 : u); }
    case kSigmoid: return T(1 / (1 + exp(-v)));
    case kTanh: return T(tanh(v));
    case kHardSwish: { const double u = v + 3; return T(v * (u < 0 ? 0 : u > 6 ? 6 : u) / 6); }
    case kSilu: return T(v / (1 + exp(-v)));
    case kGelu: return T(v * erfc(-v * M_SQRT1_2) / 2);
    default: return value;
  }
}
template <class T>
void all(int64_t activation, double a, double b, T* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) values[i] = one(activation, a, b, values[i]);
}

}  // namespace

void activate(int64_t activation, double a, double b, float* values, int64_t count) { all(activation, a, b, values, count); }
void activate(int64_t activation, double a, double b, double* values, int64_t count) { all(activation, a, b, values, count); }

extern const Variants activation;
const Variants activation = {nullptr, 0};

}  // namespace CONVKIT_ISA
}  // namespace convkit
