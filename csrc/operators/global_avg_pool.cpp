// y[c] = 1 / (h w) sum over h, w of x[c][h][w]
// Sums are float64 for both dtypes, in vectors by the pixel's number whatever the strides.
#include "blocks/pool_blocks.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

constexpr int kChains = 4;  // additions in flight
constexpr int64_t kStep = kChains * kLanes<double>;
constexpr int64_t kTile = 8 * kStep;  // pixels widened at a time

Sizes sizes(const Problem&) { return {0, 0, 0}; }
bool always(const Problem&) { return true; }
int64_t items(const Problem& problem, int64_t) { return problem.c; }
void prepare(const Problem&, const void*, void*) {}

template <class T>
double mean(const Problem& problem, const T* x) {
  const int64_t pixels = problem.h * problem.w;
  const bool consecutive = problem.x.w == 1 && (problem.h == 1 || problem.x.h == problem.w);
  Vec<double> sums[kChains] = {};
  alignas(kVectorBytes) double tile[kTile];
  for (int64_t first = 0; first < pixels; first += kTile) {
    const int64_t count = pixels - first < kTile ? pixels - first : kTile;
    if (consecutive) {
      for (int64_t i = 0; i < count; ++i) tile[i] = x[first + i];
    } else {
      int64_t h = first / problem.w, w = first % problem.w;
      for (int64_t i = 0; i < count; ++i) {
        tile[i] = x[h * problem.x.h + w * problem.x.w];
        if (++w == problem.w) w = 0, ++h;
      }
    }
    for (int64_t i = count; i % kStep; ++i) tile[i] = 0;
    for (int64_t i = 0; i < count; i += kStep)
      for (int v = 0; v < kChains; ++v) sums[v] += load(tile + i + v * kLanes<double>);
  }
  for (int v = 1; v < kChains; ++v) sums[0] += sums[v];
  double sum = 0;
  for (int i = 0; i < kLanes<double>; ++i) sum += sums[0][i];
  return sum / double(pixels);
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  for (int64_t c = begin; c < end; ++c) {
    T value = T(mean(problem, static_cast<const T*>(operands.x) + c * problem.x.c));
    finish_row(problem, operands, c, 0, 0, &value, 1);
  }
}

// From blocks of channels: a lane adds up its own channel, pixel by pixel. An item is a block.
template <class T>
bool fits(const Problem& problem) {
  return whole_vectors<T>(problem);
}
int64_t block_items(const Problem& problem, int64_t) { return blocks_of(problem); }

template <class T>
void run_blocks(const Problem& problem, int64_t, int64_t begin, int64_t end,
                const Operands& operands) {
  for (int64_t block = begin; block < end; ++block)
    for (int64_t lane = 0; lane < problem.block; lane += kLanes<double>) {
      const int64_t channel = block * problem.block + lane;
      const T* x = static_cast<const T*>(operands.x) + block * problem.x.c + lane;
      Vec<double> sums[kChains] = {};
      for (int64_t h = 0; h < problem.h; ++h)
        for (int64_t w = 0; w < problem.w; ++w)
          sums[w % kChains] += load_as<T, double>(x + h * problem.x.h + w * problem.x.w);
      for (int v = 1; v < kChains; ++v) sums[0] += sums[v];
      for (int64_t i = 0; i < kLanes<double> && channel + i < problem.k; ++i) {
        T value = T(sums[0][i] / double(problem.h * problem.w));
        finish_row(problem, operands, channel + i, 0, 0, &value, 1);
      }
    }
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes, 1, items, prepare, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes, 1, items, prepare, run<double>},
    {"float32 from blocks", kFloat32, kNchwc, kNchw, fits<float>, sizes, 1, block_items, prepare,
     run_blocks<float>},
    {"float64 from blocks", kFloat64, kNchwc, kNchw, fits<double>, sizes, 1, block_items, prepare,
     run_blocks<double>},
};

}  // namespace

extern const Variants global_avg_pool;
const Variants global_avg_pool = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
