#include "blocks/winograd.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

bool always(const Problem&) { return true; }
const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, winograd_sizes<F2>, 1, winograd_items<F2>,
     winograd_prepare<F2>, winograd_run<F2>},
};

}  // namespace

extern const Variants winograd_f2;
const Variants winograd_f2 = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
