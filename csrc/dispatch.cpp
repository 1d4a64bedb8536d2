#include "dispatch.h"

#include <algorithm>
#include <stdexcept>

#include "executor.h"
#include "isa.h"
#include "kernel_list.h"

namespace convkit {

// Every table that every ISA exports, declared from the list that the build makes of the file
// names.
#define CK_TABLE(name) extern const Variants name;
#define CK_TABLES(isa)        \
  namespace isa {             \
  CONVKIT_KERNELS(CK_TABLE)   \
  CONVKIT_OPERATORS(CK_TABLE) \
  }
CONVKIT_ISAS(CK_TABLES)
#undef CK_TABLES
#undef CK_TABLE

namespace {

struct Row {
  const char *isa, *name;
  const Variants* variants;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> table = [] {
    std::vector<Row> all;
    const char* isa_name = nullptr;
#define CK_ISA(isa)           \
  isa_name = #isa;            \
  {                           \
    using namespace isa;      \
    CONVKIT_KERNELS(CK_ROW)   \
    CONVKIT_OPERATORS(CK_ROW) \
  }
    // One namespace at a time, so that a bare name means this ISA's table.
#define CK_ROW(name) all.push_back({isa_name, #name, &name});
    CONVKIT_ISAS(CK_ISA)
#undef CK_ROW
#undef CK_ISA
    return all;
  }();
  return table;
}

const char* at(const void* base, int64_t elements, int64_t bytes) {
  return static_cast<const char*>(base) + elements * bytes;
}

}  // namespace

std::vector<std::string> algorithm_names() {
  std::vector<std::string> names;
#define CK_NAME(name) names.push_back(#name);
  CONVKIT_KERNELS(CK_NAME)
  return names;
}

std::vector<std::string> operator_names() {
  std::vector<std::string> names;
  CONVKIT_OPERATORS(CK_NAME)
#undef CK_NAME
  return names;
}

const Variants& variants_of(const std::string& name) {
  for (const Row& row : rows())
    if (name == row.name && current_isa() == row.isa) return *row.variants;
  throw std::invalid_argument("no kernel '" + name + "' for " + current_isa());
}

const Kernel& kernel_for(const std::string& name, const Problem& problem, int64_t variant) {
  const Variants& table = variants_of(name);
  if (variant >= table.count)
    throw std::invalid_argument("variant " + std::to_string(variant) + " of '" + name +
                                "': it has " + std::to_string(table.count));
  if (variant >= 0) return table.kernels[variant];
  for (int64_t i = 0; i < table.count; ++i) {
    const Kernel& kernel = table.kernels[i];
    if (kernel.dtype == problem.x_dtype && kernel.x_layout == problem.x_layout &&
        kernel.y_layout == problem.y_layout && kernel.prefers(problem))
      return kernel;
  }
  throw std::invalid_argument("'" + name + "' has no variant for this dtype and layout");
}

namespace {

// Handing work to a thread takes microseconds: one for each 2^20 operations or 64 KiB moved, which
// take some 5 of them.
int64_t threads_worth(const Problem& p) {
  const int64_t pixels = p.p * p.q;
  const int64_t element = p.x_dtype == kFloat64 ? 8 : 4;
  const int64_t operations =
      2 * p.n * p.k * pixels * (p.c / std::max<int64_t>(p.groups, 1)) * p.r * p.s;
  const int64_t bytes = element * p.n * (p.c * p.h * p.w + p.k * pixels);
  return 1 + std::max(operations >> 20, bytes >> 16);
}

}  // namespace

Prepared::Prepared(const Kernel& kernel, const Problem& problem, const void* w)
    : kernel_(&kernel), problem_(problem), sizes_(kernel.sizes(problem)), packed_(sizes_.packed) {
  for (int64_t phase = 0; phase < kernel.phases; ++phase)
    items_.push_back(kernel.items(problem, phase));
  kernel.prepare(problem_, w, packed_.data());
  check_fence(packed_, "packed weights");
}

void Prepared::run(const Problem& call, const void* x, void* y, const Epilogue& epilogue,
                   int threads, int64_t limit, int64_t* indices, int64_t places) const {
  const int64_t element = call.x_dtype == kFloat64 ? 8 : 4;
  const int64_t phases = kernel_->phases;
  // items of the largest piece of work between two barriers
  int64_t most = std::max<int64_t>(1, *std::max_element(items_.begin(), items_.end()));
  if (phases == 1) most *= std::max<int64_t>(call.n, 1);
  int64_t lanes = std::max(1, threads);
  if (sizes_.scratch > 0)
    lanes = std::min(
        lanes, std::max<int64_t>(1, (limit - sizes_.packed - sizes_.shared) / sizes_.scratch));
  lanes = std::min(lanes, most);
  // Checks want the ranges of many threads on small problems.
  if (!checking()) lanes = std::min(lanes, threads_worth(call));

  const int64_t pitch =
      (sizes_.scratch + 127) / 128 * 128;  // no two threads share a line, nor a pair of them
  Memory shared(sizes_.shared);
  std::vector<Memory> scratch;
  for (int64_t i = 0; i < lanes; ++i) scratch.emplace_back(pitch);

  const auto range = [&](int64_t image, int64_t phase, int64_t begin, int64_t end, int thread) {
    Operands operands{at(x, image * call.x.n, element),
                      packed_.data(),
                      const_cast<char*>(at(y, image * call.y.n, element)),
                      shared.data(),
                      scratch[size_t(thread)].data(),
                      epilogue,
                      indices ? indices + image * places : nullptr};
    if (epilogue.residual)
      operands.epilogue.residual = at(epilogue.residual, image * call.residual.n, element);
    kernel_->run(call, phase, begin, end, operands);
  };
  if (phases == 1) {
    const int64_t items = items_[0];
    parallel_for(call.n * items, int(lanes), [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end;) {
        const int64_t image = i / items, stop = std::min(end, (image + 1) * items);
        range(image, 0, i - image * items, stop - image * items, thread);
        i = stop;
      }
    });
  } else {
    for (int64_t image = 0; image < call.n; ++image)
      for (int64_t phase = 0; phase < phases; ++phase)
        parallel_for(items_[size_t(phase)], int(lanes),
                     [&](int64_t begin, int64_t end, int thread) {
                       range(image, phase, begin, end, thread);
                     });
  }
  for (const Memory& each : scratch) check_fence(each, "scratch");
  check_fence(shared, "shared scratch");
  // The last first: the next call gets the latest block first, so each thread finds its own again,
  // in its own core's cache.
  while (!scratch.empty()) scratch.pop_back();
}

}  // namespace convkit
