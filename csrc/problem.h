// Problem: one convolution (or pooling) as flat numbers. Same fields in the same order as
// KernelProblem in convkit/problem.py, which is where they are validated: code in csrc/ trusts
// them.
#pragma once
#include <cstdint>

namespace convkit {

enum Dtype : int64_t { kFloat32 = 0, kFloat64 = 1 };
enum Layout : int64_t { kNchw = 0, kNchwc = 1 };
enum PaddingMode : int64_t {
  kZeros = 0,
  kReflect = 1,
  kSymmetric = 2,
  kReplicate = 3,
  kCircular = 4
};

// Distances in elements, of any sign. For kNchwc: c is the distance of channel blocks.
struct Strides {
  int64_t n, c, h, w;
};

struct Problem {
  int64_t n, c, h, w;  // input: images, channels, rows, columns
  int64_t k, r, s;     // filters, filter rows, filter columns
  int64_t p, q;        // output rows, columns
  int64_t groups;      // each reads c / groups channels, makes k / groups
  int64_t stride_h, stride_w;
  int64_t dilation_h, dilation_w;
  int64_t pad_top, pad_bottom, pad_left, pad_right;
  int64_t padding_mode;                 // PaddingMode
  int64_t x_dtype, w_dtype, sum_dtype;  // Dtype; equal for now, apart for bfloat16 and int8
  int64_t x_layout, y_layout, block;    // Layout; block = channels in a block of kNchwc
  // What follows is known only when a plan is called: sizes, items and prepare must not read it,
  // nor n.
  Strides x, residual, y;
};

constexpr int kProblemFields = sizeof(Problem) / sizeof(int64_t);

}  // namespace convkit
