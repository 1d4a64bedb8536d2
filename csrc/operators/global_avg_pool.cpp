// y[c] = 1 / (h w) sum over h, w of x[c][h][w]
// Sums are float64 for both dtypes, in vectors by the pixel's number whatever the strides; in
// blocks of channels each lane sums its own channel.
#include "blocks/epilogue.h"
#include "blocks/pooling_windows.h"
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

int64_t block_items(const Problem& problem, int64_t) { return block_count(problem); }

template <class T>
void run_blocks(const Problem& problem, int64_t, int64_t begin, int64_t end,
                const Operands& operands) {
  constexpr int kHalves = int(sizeof(double) / sizeof(T));
  typedef T Part __attribute__((vector_size(kVectorBytes / kHalves)));
  for (int64_t block = begin; block < end; ++block)
    for (int64_t lane = 0; lane < problem.block; lane += kLanes<T>) {
      const T* x = static_cast<const T*>(operands.x) + block * problem.x.c + lane;
      Vec<double> sums[2][kHalves] = {};  // of pixels by turns: two additions in flight
      const auto add = [&](Vec<double>(&to)[kHalves], const T* from) {
        const Vec<T> v = load(from);
        Part parts[kHalves];
        __builtin_memcpy(parts, &v, sizeof v);
        for (int half = 0; half < kHalves; ++half)
          to[half] += __builtin_convertvector(parts[half], Vec<double>);
      };
      for (int64_t h = 0; h < problem.h; ++h) {
        const T* row = x + h * problem.x.h;
        int64_t w = 0;
        for (; w + 2 <= problem.w; w += 2) {
          add(sums[0], row + w * problem.x.w);
          add(sums[1], row + (w + 1) * problem.x.w);
        }
        if (w < problem.w) add(sums[0], row + w * problem.x.w);
      }
      Vec<T> mean;
      const double pixels = double(problem.h * problem.w);
      for (int i = 0; i < kLanes<T>; ++i) {
        const int half = i / kLanes<double>, at = i % kLanes<double>;
        mean[i] = T((sums[0][half][at] + sums[1][half][at]) / pixels);
      }
      const T* residual = static_cast<const T*>(operands.epilogue.residual);
      if (residual) residual += block * problem.residual.c + lane;
      put_channels<T>(problem, operands.epilogue, mean, residual,
                      static_cast<T*>(operands.y) + block * problem.y.c + lane,
                      block * problem.block + lane);
    }
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes, 1, items, prepare, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes, 1, items, prepare, run<double>},
    {"float32 blocks", kFloat32, kNchwc, kNchwc, block_of_vectors<float>, sizes, 1, block_items,
     prepare, run_blocks<float>},
    {"float64 blocks", kFloat64, kNchwc, kNchwc, block_of_vectors<double>, sizes, 1, block_items,
     prepare, run_blocks<double>},
};

}  // namespace

extern const Variants global_avg_pool;
const Variants global_avg_pool = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
