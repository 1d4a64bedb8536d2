#include "blocks/winograd.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

bool always(const Problem&) { return true; }
const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, winograd_sizes<F4>, 1, winograd_items<F4>,
     winograd_prepare<F4>, winograd_run<F4>},
};

}  // namespace

extern const Variants winograd_f4;
const Variants winograd_f4 = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
