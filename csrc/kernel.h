// Kernel: the one shape of everything that computes, in csrc/kernels and csrc/operators.
#pragma once
#include "problem.h"

namespace convkit {

// y = activate(sum + bias + residual); a and b are the activation's parameters.
enum Activation : int64_t {
  kIdentity = 0,
  kRelu = 1,         // max(v, 0)
  kClip = 2,         // min(max(v, a), b); relu6 is clip(0, 6)
  kLeakyRelu = 3,    // v < 0 ? a v : v
  kElu = 4,          // v < 0 ? a (e^v - 1) : v
  kHardSigmoid = 5,  // min(max(a v + b, 0), 1)
  kSigmoid = 6,
  kTanh = 7,
  kHardSwish = 8,  // v min(max(v + 3, 0), 6) / 6
  kSilu = 9,       // v sigmoid(v)
  kGelu = 10,      // v (1 + erf(v / sqrt 2)) / 2
  // What follows is applied by itself, or behind a sweep (csrc/sweep.h). Not all leave 0 at 0.
  kSelu = 11,             // b (v < 0 ? a (e^v - 1) : v)
  kCelu = 12,             // v < 0 ? a (e^(v / a) - 1) : v
  kThresholdedRelu = 13,  // v > a ? v : 0
  kSoftplus = 14,         // log(1 + e^v)
  kSoftsign = 15,         // v / (1 + |v|)
  kMish = 16,             // v tanh(log(1 + e^v))
  kNegative = 17,
  kAbsolute = 18,
  kSquareRoot = 19,
  kReciprocal = 20,
  kExponential = 21,
  kLogarithm = 22,
  kErrorFunction = 23,  // erf(v)
  kFloor = 24,
  kCeiling = 25,
  kRound = 26,  // halves to even
  kSign = 27,   // -1, 0 or 1, of the zero's own sign
  kSin = 28,
  kCos = 29,
  kTan = 30,
  kArcSin = 31,
  kArcCos = 32,
  kArcTan = 33,
  kSinh = 34,
  kCosh = 35,
  kArcSinh = 36,
  kArcCosh = 37,
  kArcTanh = 38,
  kGeluByTanh = 39,  // v (1 + tanh(sqrt(2 / pi) (v + 0.044715 v^3))) / 2, an approximation of kGelu
};

struct Epilogue {
  const void* bias;      // (k,) or null
  const void* residual;  // this image's, laid out by Problem::residual, or null; may be y itself
  const void* scale;     // (k,), room for quantised sums; null for now
  int64_t activation;    // Activation
  double a, b;
};

struct Operands {
  const void* x;       // this image's first element
  const void* packed;  // what prepare wrote; 64-byte aligned
  void* y;             // this image's first element
  void* shared;   // scratch of all threads, kept from phase to phase of one image; 64-byte aligned
  void* scratch;  // scratch of this thread, undefined at every call of run; 64-byte aligned
  Epilogue epilogue;
  // This image's places beside the values that max_pool makes, or max_unpool reads, or null: h w +
  // column in the larger plane, consecutive, (k, p, q) of max_pool, (c, h, w) of max_unpool.
  int64_t* indices;
};

// Bytes, for one image and one thread. Memory is reckoned in Kernel::sizes and nowhere else.
struct Sizes {
  int64_t packed, shared, scratch;
};

// One variant (dtype, layouts, tile) of an algorithm. Dispatch calls, for each image: for each
// phase: run on ranges that together cover [0, items). Rules:
// - an image is the unit: items counts one image, run never sees a range across two images
// (Operands point to its own);
// - items, and the order of every sum, follow from the problem alone: not from threads, ranges, n,
// strides or addresses;
// - every element of y is stored exactly once, after its residual was read (y may be the residual);
// - x and y have any strides (negative and zero ones too); nothing outside x, y and residual is
// touched;
// - run computes, it does not allocate, lock, print, throw or start threads.
struct Kernel {
  const char* variant;         // e.g. "float32 6x4"; unique in its table
  int64_t dtype;               // of x, w and y (Dtype)
  int64_t x_layout, y_layout;  // Layout
  bool (*prefers)(
      const Problem&);  // dispatch takes the first variant of the right dtype and layouts that does
  Sizes (*sizes)(const Problem&);
  int64_t phases;  // all threads finish one before the next begins
  int64_t (*items)(const Problem&, int64_t phase);
  void (*prepare)(const Problem&, const void* w,
                  void* packed);  // w: contiguous (k, c / groups, r, s)
  void (*run)(const Problem&, int64_t phase, int64_t begin, int64_t end, const Operands&);
};

// The table a file in csrc/kernels or csrc/operators exports, named like the file.
struct Variants {
  const Kernel* kernels;
  int64_t count;
};

}  // namespace convkit
