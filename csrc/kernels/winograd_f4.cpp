// y[k][4i+u][4j+v] = b[k] + sum over a, e of A[a][u] A[e][v] sum over c of
//   (G w[k][c] G^T)[a][e] (B^T x[c][4i..4i+5][4j..4j+5] B)[a][e]
//   (u, v < 4; a, e < 6: points 0, +-1/sqrt(2), +-sqrt(2), infinity)
// 2.25 multiplications per output and channel instead of 9.
// A. Lavin, S. Gray: Fast Algorithms for Convolutional Neural Networks, 2016; for the points B.
// Barabasz et al.: Error Analysis and Improving the Accuracy of Winograd Convolution for Deep
// Neural Networks, 2020.
#include "blocks/winograd_double.h"
#include "blocks/winograd_items.h"
#include "blocks/winograd_rows.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// Images whose transformed inputs stay in a second-level cache.
bool small_image(const Problem& problem) { return problem.p * problem.q <= 1024; }
// Fully transformed weights are four times the plain ones. The products of many outputs hide their
// streaming, of fewer in narrow vectors; else, where they leave the second-level cache,
// half-transformed ones are read faster than they cost arithmetic.
int64_t full_bytes(const Problem& problem) { return 144 * problem.c * problem.k; }
bool weights_are_streamed(const Problem& problem) {
  return full_bytes(problem) > 2400000 && problem.p * problem.q <= (kWide == 16 ? 400 : 160);
}
// Few rows: the plain weights are half of that again. With 16 registers they are made for fewer
// tiles at a time, without FMA the products take longer than the streaming.
bool weights_are_all(const Problem& problem) {
  return kFma && problem.p <= kStripRows && problem.q <= 2 * kStripRows &&
         full_bytes(problem) > (kRegisters == 32 ? 1600000 : 10000000);
}
// See winograd_double.h.
bool few_channels(const Problem& problem) { return problem.c <= 4; }
bool always(const Problem&) { return true; }
template <bool (*kRule)(const Problem&)>
bool in_blocks(const Problem& problem) {
  return block_fits(problem) && kRule(problem);
}

const Kernel kKernels[] = {
    {"float32 double", kFloat32, kNchw, kNchw, few_channels, double_sizes, 1, double_items,
     double_prepare, double_run},
    {"float32 rows", kFloat32, kNchw, kNchw, weights_are_all, rows_sizes, 2, rows_items,
     rows_prepare, rows_run},
    {"float32 half", kFloat32, kNchw, kNchw, weights_are_streamed, shared_sizes<F4, true>, 2,
     shared_items<F4, true>, winograd_prepare<F4, true>, shared_run<F4, true>},
    {"float32 shared", kFloat32, kNchw, kNchw, small_image, shared_sizes<F4, false>, 2,
     shared_items<F4, false>, winograd_prepare<F4, false>, shared_run<F4, false>},
    {"float32 full", kFloat32, kNchw, kNchw, always, blocks_sizes<F4>, 1, blocks_items<F4>,
     winograd_prepare<F4, false>, blocks_run<F4>},
    {"float32 double blocks", kFloat32, kNchwc, kNchwc, in_blocks<few_channels>, double_sizes, 1,
     double_items, double_prepare, double_run},
    {"float32 rows blocks", kFloat32, kNchwc, kNchwc, in_blocks<weights_are_all>, rows_sizes, 2,
     rows_items, rows_prepare, rows_run},
    {"float32 half blocks", kFloat32, kNchwc, kNchwc, in_blocks<weights_are_streamed>,
     shared_sizes<F4, true>, 2, shared_items<F4, true>, winograd_prepare<F4, true>,
     shared_run<F4, true>},
    {"float32 shared blocks", kFloat32, kNchwc, kNchwc, in_blocks<small_image>,
     shared_sizes<F4, false>, 2, shared_items<F4, false>, winograd_prepare<F4, false>,
     shared_run<F4, false>},
    {"float32 full blocks", kFloat32, kNchwc, kNchwc, in_blocks<always>, blocks_sizes<F4>, 1,
     blocks_items<F4>, winograd_prepare<F4, false>, blocks_run<F4>},
    {"float32 double planes to blocks", kFloat32, kNchw, kNchwc, in_blocks<few_channels>,
     double_sizes, 1, double_items, double_prepare, double_run},
    {"float32 full planes to blocks", kFloat32, kNchw, kNchwc, in_blocks<always>, blocks_sizes<F4>,
     1, blocks_items<F4>, winograd_prepare<F4, false>, blocks_run<F4>},
};

}  // namespace

extern const Variants winograd_f4;
const Variants winograd_f4 = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
