// y[k][2i+u][2j+v] = b[k] + sum over a, e of A[a][u] A[e][v] sum over c of
//   (G w[k][c] G^T)[a][e] (B^T x[c][2i..2i+3][2j..2j+3] B)[a][e]          (u, v < 2; a, e < 4:
//   points 0, 1, -1, infinity)
// 4 multiplications per output and channel instead of 9.
// A. Lavin, S. Gray: Fast Algorithms for Convolutional Neural Networks, 2016; S. Winograd:
// Arithmetic Complexity of Computations, 1980.
#include "blocks/winograd_items.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// Images whose transformed inputs stay in a second-level cache.
bool small_image(const Problem& problem) { return problem.p * problem.q <= 1024; }
bool always(const Problem&) { return true; }
template <bool (*kRule)(const Problem&)>
bool in_blocks(const Problem& problem) {
  return block_fits(problem) && kRule(problem);
}

const Kernel kKernels[] = {
    {"float32 shared", kFloat32, kNchw, kNchw, small_image, shared_sizes<F2, false>, 2,
     shared_items<F2, false>, winograd_prepare<F2, false>, shared_run<F2, false>},
    {"float32 full", kFloat32, kNchw, kNchw, always, blocks_sizes<F2>, 1, blocks_items<F2>,
     winograd_prepare<F2, false>, blocks_run<F2>},
    {"float32 shared blocks", kFloat32, kNchwc, kNchwc, in_blocks<small_image>,
     shared_sizes<F2, false>, 2, shared_items<F2, false>, winograd_prepare<F2, false>,
     shared_run<F2, false>},
    {"float32 full blocks", kFloat32, kNchwc, kNchwc, in_blocks<always>, blocks_sizes<F2>, 1,
     blocks_items<F2>, winograd_prepare<F2, false>, blocks_run<F2>},
    {"float32 full planes to blocks", kFloat32, kNchw, kNchwc, in_blocks<always>, blocks_sizes<F2>,
     1, blocks_items<F2>, winograd_prepare<F2, false>, blocks_run<F2>},
};

}  // namespace

extern const Variants winograd_f2;
const Variants winograd_f2 = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
