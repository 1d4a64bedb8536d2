// y[c][h][w] = activate((x[c][h][w] - mean[c]) scale[c] + beta[c] + residual),  scale = gamma /
// sqrt(var + eps) The mean is taken off first instead of folded into beta: where it is large, x -
// mean keeps the digits that x scale and mean scale would lose to each other. `w` is (gamma[c],
// beta[c], mean[c], var[c], eps) in one row; groups is 0.
#include <math.h>

#include "blocks/arena.h"
#include "blocks/block_vectors.h"
#include "blocks/elements.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

template <class T>
struct Parts {
  T *mean, *scale, *beta;
  int64_t bytes;
};
template <class T>
Parts<T> packed_parts(const Problem& problem, const void* base) {
  Arena from = arena(base);
  Parts<T> parts{};
  parts.mean = take<T>(from, problem.c);
  parts.scale = take<T>(from, problem.c);
  parts.beta = take<T>(from, problem.c);
  parts.bytes = from.used;
  return parts;
}
template <class T>
Sizes sizes(const Problem& problem) {
  return {packed_parts<T>(problem, nullptr).bytes, 0, 0};
}
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) { return (elements(problem) + kPiece - 1) / kPiece; }

template <class T>
void fill_parts(const Problem& problem, const void* w, const Parts<T>& parts) {
  const T* gamma = static_cast<const T*>(w);
  const T *beta = gamma + problem.c, *mean = beta + problem.c, *var = mean + problem.c,
          *eps = var + problem.c;
  for (int64_t c = 0; c < problem.c; ++c) {
    parts.mean[c] = mean[c];
    parts.scale[c] = T(double(gamma[c]) / sqrt(double(var[c]) + double(*eps)));
    parts.beta[c] = beta[c];
  }
}
template <class T>
void prepare(const Problem& problem, const void* w, void* packed) {
  fill_parts(problem, w, packed_parts<T>(problem, packed));
}

// A compiler fuses a product and a sum only where nothing branches in between: all four are loaded
// by now, so that every path rounds alike.
template <class T>
CK_INLINE Vec<T> normalized(Vec<T> v, Vec<T> mean, Vec<T> scale, Vec<T> beta) {
  return (v - mean) * scale + beta;
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const Parts<T> parts = packed_parts<T>(problem, operands.packed);
  each_run<T>(problem, operands, true, begin * kPiece, end * kPiece,
              [&](T* values, int64_t count, int64_t channel, bool along_channels) {
                const T *mean = parts.mean + channel, *scale = parts.scale + channel,
                        *beta = parts.beta + channel;
                if (along_channels)
                  each_vector(values, count, [&](Vec<T> v, int64_t i, int64_t n) {
                    return normalized<T>(v, load_some(mean + i, n), load_some(scale + i, n),
                                         load_some(beta + i, n));
                  });
                else
                  each_vector(values, count, [&](Vec<T> v, int64_t, int64_t) {
                    return normalized<T>(v, splat(*mean), splat(*scale), splat(*beta));
                  });
              });
}

// Channels in blocks: the three numbers of each channel in its lane, zero past the last one.
template <class T>
Parts<T> lane_parts(const Problem& problem, const void* base) {
  Arena from = arena(base);
  Parts<T> parts{};
  const int64_t lanes = block_vectors<T>(problem) * kLanes<T>;
  parts.mean = take<T>(from, lanes);
  parts.scale = take<T>(from, lanes);
  parts.beta = take<T>(from, lanes);
  parts.bytes = from.used;
  return parts;
}
template <class T>
Sizes block_sizes(const Problem& problem) {
  return {lane_parts<T>(problem, nullptr).bytes, 0, 0};
}
template <class T>
int64_t block_items(const Problem& problem, int64_t) {
  return vector_rows<T>(problem);
}
template <class T>
void prepare_blocks(const Problem& problem, const void* w, void* packed) {
  const Parts<T> parts = lane_parts<T>(problem, packed);
  fill_parts(problem, w, parts);
  for (int64_t c = problem.c; c < block_vectors<T>(problem) * kLanes<T>; ++c)
    parts.mean[c] = parts.scale[c] = parts.beta[c] = T(0);
}
template <class T>
void run_blocks(const Problem& problem, int64_t, int64_t begin, int64_t end,
                const Operands& operands) {
  const Parts<T> parts = lane_parts<T>(problem, operands.packed);
  const auto row = [&](int64_t number, int64_t p, T* y,
                       const T* residual) __attribute__((always_inline)) {
    const int64_t lane = number * kLanes<T>;
    const Vec<T> mean = load(parts.mean + lane), scale = load(parts.scale + lane),
                 beta = load(parts.beta + lane);
    const T* const x = static_cast<const T*>(operands.x) +
                       vector_offset<T>(problem, problem.x, number) + p * problem.x.h;
    const auto value = [&](int64_t q) __attribute__((always_inline)) {
      return normalized<T>(load(x + q * problem.x.w), mean, scale, beta);
    };
    put_pixels<T>(problem, operands.epilogue, number, value, residual, y);
  };
  each_vector_row<T>(problem, begin, end, operands, row);
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items, prepare<float>, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items, prepare<double>,
     run<double>},
    {"float32 blocks", kFloat32, kNchwc, kNchwc, blocks_fit<float>, block_sizes<float>, 1,
     block_items<float>, prepare_blocks<float>, run_blocks<float>},
    {"float64 blocks", kFloat64, kNchwc, kNchwc, blocks_fit<double>, block_sizes<double>, 1,
     block_items<double>, prepare_blocks<double>, run_blocks<double>},
};

}  // namespace

extern const Variants batch_norm;
const Variants batch_norm = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
