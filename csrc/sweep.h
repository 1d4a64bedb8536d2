// Sweep: one pass over an index space of up to 8 axes, as flat numbers. What is no convolution and
// no pooling but arithmetic element by element, a reduction or a movement of data is told this, as
// a convolution is told a Problem. Code in csrc/sweeps trusts it: bindings.cpp has checked it.
#pragma once
#include <cstdint>

#include "problem.h"

namespace convkit {

constexpr int kSweepAxes = 8;
typedef int64_t Extents[kSweepAxes];

// y[i] = activate(function(a[i], b[i])). Minima and maxima are NaN where one of both is.
enum Binary : int64_t {
  kFirst = 0,  // a: an activation or another function of one argument by itself
  kAdd = 1,
  kSubtract = 2,
  kMultiply = 3,
  kDivide = 4,
  kPower = 5,
  kMinimum = 6,
  kMaximum = 7,
  kSlope = 8,  // a < 0 ? a b : a
};

// y[kept] = function over the reduced axes of a[kept, reduced].
enum Reduction : int64_t {
  kSum = 0,
  kMean = 1,
  kLargest = 2,  // NaN where one of them is
  kSmallest = 3,
  kProduct = 4,
  kMagnitudes = 5,  // sum |a|
  kSquares = 6,     // sum a^2
  kLength = 7,      // sqrt(sum a^2)
};

// An entry of a table that names no element: the fill stands there.
constexpr int64_t kFill = INT64_MIN;

// Axes stand outermost first; unused ones have size 1. Strides are in elements, of any sign; 0
// repeats an element of a or b (broadcasting).
struct Sweep {
  int64_t dtype;     // Dtype; for copies the bytes of an element: 1, 2, 4 or 8
  int64_t function;  // Binary, Reduction; none for copies
  int64_t reduced;   // reductions: the last so many axes, where y's strides are 0
  Extents size, y, a, b;
  // Copies: where along this axis an index leads is not index * a but tables[table + index], in
  // elements; -1 where there is no table. So a table slices, gathers, repeats, mirrors and pads.
  Extents table;
  uint64_t fill;       // the bits of what stands where a table says kFill, in its low bytes
  int64_t activation;  // Activation of csrc/kernel.h, with its parameters
  double alpha, beta;
};

struct SweepOperands {
  const void *a, *b;
  void* y;
  const int64_t* tables;
};

// As a Kernel, without what only convolutions need: run computes the items [begin, end); each
// element of y is stored once, after those of a and b at the same index were read, so that y may be
// a or b; the order of every sum follows from the sizes alone.
struct SweepKernel {
  const char* variant;
  int64_t dtype;
  int64_t (*items)(const Sweep&);
  void (*run)(const Sweep&, int64_t begin, int64_t end, const SweepOperands&);
};
// The table a file in csrc/sweeps exports, named like the file.
struct SweepVariants {
  const SweepKernel* kernels;
  int64_t count;
};

}  // namespace convkit
