// Winograd for strided filters, by phases (blocks/winograd_phases.h): of three taps by F(4 x 4, 3 x
// 3), of four by F(3 x 3, 4 x 4), from the same six points.
//   7x7, stride 2: 16 multiplications per output and channel instead of 49; 11x11, stride 4: 36
//   instead of 121.
// J. Yepez, S.-B. Ko: Stride 2 1-D, 2-D, and 3-D Winograd for Convolutional Neural Networks, 2020.
#include "blocks/winograd_items.h"
#include "blocks/winograd_phases.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

bool always(const Problem&) { return true; }
bool to_blocks(const Problem& problem) { return block_fits(problem); }

// action(Tile{}) of the tile for so many taps.
template <class Action>
CK_INLINE auto with_tile(const Problem& problem, const Action& action) {
  return phase_taps(problem) == F3::kTaps ? action(F3{}) : action(F4{});
}
Sizes strided_sizes(const Problem& problem) {
  return with_tile(problem,
                   [&](auto tile) { return blocks_sizes<decltype(tile)>(phases_of(problem)); });
}
int64_t strided_items(const Problem& problem, int64_t phase) {
  return with_tile(
      problem, [&](auto tile) { return blocks_items<decltype(tile)>(phases_of(problem), phase); });
}
void strided_prepare(const Problem& problem, const void* w, void* packed) {
  const float* weights = static_cast<const float*>(w);
  const int64_t u = problem.stride_h;
  const auto tap = [&](int64_t k, int64_t phase, int row, int column) {
    const int64_t c = phase / (u * u), r = row * u + phase / u % u, s = column * u + phase % u;
    if (r >= problem.r || s >= problem.s) return 0.0;
    return double(weights[((k * problem.c + c) * problem.r + r) * problem.s + s]);
  };
  with_tile(problem, [&](auto tile) {
    pack_filters<decltype(tile), false>(phases_of(problem), tap, packed);
  });
}
void strided_run(const Problem& problem, int64_t phase, int64_t begin, int64_t end,
                 const Operands& operands) {
  with_tile(problem, [&](auto tile) {
    blocks_run<decltype(tile), read_phases>(phases_of(problem), phase, begin, end, operands);
  });
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, strided_sizes, 1, strided_items, strided_prepare,
     strided_run},
    {"float32 planes to blocks", kFloat32, kNchw, kNchwc, to_blocks, strided_sizes, 1,
     strided_items, strided_prepare, strided_run},
};

}  // namespace

extern const Variants winograd_strided;
const Variants winograd_strided = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
