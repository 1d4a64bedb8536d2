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
// (blocks/depthwise_channels.h),
// as they do in blocks of channels (blocks/depthwise_blocks.h).
#include "blocks/depthwise_any.h"
#include "blocks/depthwise_blocks.h"
#include "blocks/depthwise_channels.h"
#include "blocks/depthwise_pairs.h"
#include "blocks/depthwise_strips.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// The weights as they are, the masks of unrolled filters, and the weights with channels in the
// lanes.
template <class T>
struct Packed {
  T* weights;
  Mask<T>* masks;
  T* lanes;
};
template <class T>
CK_INLINE Packed<T> packed_of(const Problem& problem, Arena& memory) {
  Packed<T> packed;
  packed.weights = take<T>(memory, problem.k * problem.r * problem.s);
  const int64_t tiles = (problem.q + kLanes<T> - 1) / kLanes<T>;
  const bool unrolled = way_of<T>(problem) == Way::kStrips;
  packed.masks = take<Mask<T>>(
      memory, unrolled ? tiles * row_loads(int(problem.s), int(problem.stride_w)) : 0);
  packed.lanes = take<T>(memory, channels_may_follow<T>(problem) ? lane_weights<T>(problem) : 0);
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
  if (channels_may_follow<T>(problem)) {
    Arena lanes = arena(nullptr);
    lane_scratch<T>(problem, lanes);
    if (scratch.used < lanes.used) scratch = lanes;
  }
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
// Calls action with the Filter of a problem, Filter<0, 0> for Way::kAny.
template <class T, class Action>
CK_INLINE void with_filter(const Problem& problem, const Action& action) {
  if (way_of<T>(problem) == Way::kAny)
    action(Filter<0, 0>{});
  else if (problem.r == 7)
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
  if (channels_may_follow<T>(problem)) pack_lanes(problem, packed.weights, packed.lanes);
  if (way_of<T>(problem) == Way::kStrips)
    with_filter<T>(problem, [&](auto filter) {
      if constexpr (filter.size != 0)
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
    end = end * each < units ? end * each : units;
    return with_filter<T>(problem, [&](auto filter) {
      channels_run<T, filter.size, filter.stride>(problem, begin * each, end, operands,
                                                  packed.lanes);
    });
  }
  const Way way = way_of<T>(problem);
  with_filter<T>(problem, [&](auto filter) {
    if constexpr (filter.size == 0) {
      any_run<T>(problem, begin, end, operands);
    } else {
      if constexpr (kHalfVectors)
        if (way == Way::kPairs)
          return pairs_run<T, filter.size, filter.stride>(problem, begin, end, operands,
                                                          packed.weights);
      strips_run<T, filter.size, filter.stride>(problem, begin, end, operands, packed.weights,
                                                packed.masks);
    }
  });
}
// Where x, y or both stand in blocks of channels, channels fill the vectors.
template <class T>
bool fits(const Problem& problem) {
  return block_fits<T>(problem);
}
template <class T>
Sizes block_sizes(const Problem& problem) {
  Arena packed = arena(nullptr), scratch = arena(nullptr);
  take<T>(packed, lane_weights<T>(problem));
  lane_scratch<T>(problem, scratch);
  return {packed.used, 0, scratch.used};
}
template <class T>
int64_t block_items(const Problem& problem, int64_t) {
  return band_groups<T>(problem);
}
template <class T>
int64_t plane_items(const Problem& problem, int64_t) {
  return problem.k * grid_of<T>(problem).bands;
}
template <class T>
void prepare_lanes(const Problem& problem, const void* w, void* packed) {
  pack_lanes(problem, static_cast<const T*>(w), static_cast<T*>(packed));
}
template <class T>
void run_to_blocks(const Problem& problem, int64_t, int64_t begin, int64_t end,
                   const Operands& operands) {
  with_filter<T>(problem, [&](auto filter) {
    blocks_run<T, filter.size, filter.stride>(problem, begin, end, operands,
                                              static_cast<const T*>(operands.packed));
  });
}
template <class T>
void run_to_planes(const Problem& problem, int64_t, int64_t begin, int64_t end,
                   const Operands& operands) {
  with_filter<T>(problem, [&](auto filter) {
    channels_run<T, filter.size, filter.stride>(problem, begin, end, operands,
                                                static_cast<const T*>(operands.packed));
  });
}
bool always(const Problem&) { return true; }
const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items<float>, prepare<float>,
     run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items<double>, prepare<double>,
     run<double>},
    {"float32 blocks", kFloat32, kNchwc, kNchwc, fits<float>, block_sizes<float>, 1,
     block_items<float>, prepare_lanes<float>, run_to_blocks<float>},
    {"float64 blocks", kFloat64, kNchwc, kNchwc, fits<double>, block_sizes<double>, 1,
     block_items<double>, prepare_lanes<double>, run_to_blocks<double>},
    {"float32 planes to blocks", kFloat32, kNchw, kNchwc, fits<float>, block_sizes<float>, 1,
     block_items<float>, prepare_lanes<float>, run_to_blocks<float>},
    {"float64 planes to blocks", kFloat64, kNchw, kNchwc, fits<double>, block_sizes<double>, 1,
     block_items<double>, prepare_lanes<double>, run_to_blocks<double>},
    {"float32 blocks to planes", kFloat32, kNchwc, kNchw, fits<float>, block_sizes<float>, 1,
     plane_items<float>, prepare_lanes<float>, run_to_planes<float>},
    {"float64 blocks to planes", kFloat64, kNchwc, kNchw, fits<double>, block_sizes<double>, 1,
     plane_items<double>, prepare_lanes<double>, run_to_planes<double>},
};

}  // namespace

extern const Variants depthwise;
const Variants depthwise = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
