// y[k][p][q] = b[k] + sum over r, s of w[k][r][s] x[k / m][p u + r - pad][q v + s - pad],     m =
// k_count / c_count
//
// Columns fill the vectors. Every vector of x is used for all output rows of a band that its row
// reaches.
//
// Three ways, by the problem alone. Squares of 3, 5 and 7 are unrolled, hold a band
// of output rows in registers and read x in place (blocks/depthwise_strips.h); where a row takes
// only half a vector, two filters share it (blocks/depthwise_pairs.h). Any other filter runs over a
// copy of the band's rows with their padding (blocks/depthwise_any.h). Where x cannot be read in
// place (padding that repeats the image, columns that do not follow each other, no masked loads),
// the first two use a copy too. Where its channels follow each other, they fill the vectors instead
// (blocks/depthwise_channels.h).
#include "blocks/depthwise_any.h"
#include "blocks/depthwise_channels.h"
#include "blocks/depthwise_pairs.h"
#include "blocks/depthwise_strips.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// The weights as they are, and the masks of unrolled filters.
template <class T>
struct Packed {
  T* weights;
  Mask<T>* masks;
};
template <class T>
CK_INLINE Packed<T> packed_of(const Problem& problem, Arena& memory) {
  Packed<T> packed;
  packed.weights = take<T>(memory, problem.k * problem.r * problem.s);
  const int64_t tiles = (problem.q + kLanes<T> - 1) / kLanes<T>;
  const bool unrolled = way_of<T>(problem) == Way::kStrips;
  packed.masks = take<Mask<T>>(
      memory, unrolled ? tiles * row_loads(int(problem.s), int(problem.stride_w)) : 0);
  return packed;
}
template <class T>
Sizes sizes(const Problem& problem) {
  const Grid grid = grid_of<T>(problem);
  Arena packed = arena(nullptr), scratch = arena(nullptr);
  packed_of<T>(problem, packed);
  const Way way = way_of<T>(problem);
  const int64_t copied =
      way == Way::kPairs ? pair_copy(problem, grid) : input_rows(problem, grid.rows) * grid.pitch;
  const int64_t filters = problem.k < grid.group ? problem.k : grid.group;
  const int64_t turned = kMaskedLoads && way != Way::kAny ? filters * grid.channel : 0;
  take<T>(scratch, copied > turned ? copied : turned);
  return {packed.used, 0, scratch.used};
}
template <class T>
int64_t items(const Problem& problem, int64_t) {
  const bool pairs = way_of<T>(problem) == Way::kPairs;
  return (pairs ? (problem.k + 1) / 2 : problem.k) * grid_of<T>(problem).bands;
}
template <int kSize, int kStride>
struct Filter {
  static constexpr int size = kSize, stride = kStride;
};
// Calls action with the Filter of a problem that is no Way::kAny.
template <class Action>
CK_INLINE void with_filter(const Problem& problem, const Action& action) {
  if (problem.r == 7)
    action(Filter<7, 1>{});
  else if (problem.r == 5)
    problem.stride_h == 1 ? action(Filter<5, 1>{}) : action(Filter<5, 2>{});
  else
    problem.stride_h == 1 ? action(Filter<3, 1>{}) : action(Filter<3, 2>{});
}
template <class T>
void prepare(const Problem& problem, const void* w, void* memory) {
  Arena from = arena(memory);
  const Packed<T> packed = packed_of<T>(problem, from);
  __builtin_memcpy(packed.weights, w, size_t(problem.k * problem.r * problem.s) * sizeof(T));
  if (way_of<T>(problem) == Way::kStrips)
    with_filter(problem, [&](auto filter) {
      edge_masks<T, filter.size, filter.stride>(problem, packed.masks);
    });
}
template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  Arena from = arena(operands.packed);
  const Packed<T> packed = packed_of<T>(problem, from);
  if (channels_follow<T>(problem)) {
    const int64_t each = way_of<T>(problem) == Way::kPairs ? 2 : 1;
    const int64_t units = problem.k * grid_of<T>(problem).bands;
    return channels_run(problem, begin * each, end * each < units ? end * each : units, operands,
                        static_cast<const T*>(packed.weights));
  }
  const Way way = way_of<T>(problem);
  if (way == Way::kAny) return any_run<T>(problem, begin, end, operands);
  with_filter(problem, [&](auto filter) {
    if constexpr (kHalfVectors)
      if (way == Way::kPairs)
        return pairs_run<T, filter.size, filter.stride>(problem, begin, end, operands,
                                                        packed.weights);
    strips_run<T, filter.size, filter.stride>(problem, begin, end, operands, packed.weights,
                                              packed.masks);
  });
}
bool always(const Problem&) { return true; }
const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items<float>, prepare<float>,
     run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items<double>, prepare<double>,
     run<double>},
};

}  // namespace

extern const Variants depthwise;
const Variants depthwise = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
