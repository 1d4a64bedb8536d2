#include "prepared_sweep.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "executor.h"
#include "isa.h"
#include "kernel_list.h"
#include "memory.h"

namespace convkit {

#define CK_TABLE(name) extern const SweepVariants name;
#define CK_TABLES(isa)     \
  namespace isa {          \
  CONVKIT_SWEEPS(CK_TABLE) \
  }
CONVKIT_ISAS(CK_TABLES)
#undef CK_TABLES
#undef CK_TABLE

namespace {

struct Row {
  const char *isa, *name;
  const SweepVariants* variants;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> table = [] {
    std::vector<Row> all;
    const char* isa_name = nullptr;
#define CK_ROW(name) all.push_back({isa_name, #name, &name});
#define CK_ISA(isa)        \
  isa_name = #isa;         \
  {                        \
    using namespace isa;   \
    CONVKIT_SWEEPS(CK_ROW) \
  }
    CONVKIT_ISAS(CK_ISA)
#undef CK_ISA
#undef CK_ROW
    return all;
  }();
  return table;
}

const SweepKernel& sweep_kernel(const std::string& name, int64_t dtype) {
  for (const Row& row : rows())
    if (name == row.name && current_isa() == row.isa)
      for (int64_t i = 0; i < row.variants->count; ++i)
        if (row.variants->kernels[i].dtype == dtype) return row.variants->kernels[i];
  throw std::invalid_argument("no sweep '" + name + "' of dtype " + std::to_string(dtype) +
                              " for " + current_isa());
}

struct SweepAxis {
  int64_t size, y, a, b, table;
};

// Neighbours that follow on one another in y, a and b become one axis; those of size 1 go.
std::vector<SweepAxis> joined(const std::vector<SweepAxis>& axes) {
  std::vector<SweepAxis> all;
  for (const SweepAxis& axis : axes) {
    if (axis.size == 1 && axis.table < 0) continue;
    SweepAxis* outer = all.empty() ? nullptr : &all.back();
    if (outer && outer->table < 0 && axis.table < 0 && outer->y == axis.size * axis.y &&
        outer->a == axis.size * axis.a && outer->b == axis.size * axis.b) {
      const int64_t size = outer->size * axis.size;
      *outer = axis;
      outer->size = size;
    } else {
      all.push_back(axis);
    }
  }
  return all;
}

// Handing work to a thread takes microseconds: one for each 64 KiB moved.
int64_t threads_worth(const Sweep& sweep) {
  int64_t elements = 1;
  for (const int64_t size : sweep.size) elements *= size;
  return 1 + (elements * 8 >> 16);
}

}  // namespace

std::vector<std::string> sweep_names() {
  std::vector<std::string> names;
#define CK_NAME(name) names.push_back(#name);
  CONVKIT_SWEEPS(CK_NAME)
#undef CK_NAME
  return names;
}

Sweep simplified(const Sweep& sweep) {
  const int kept = kSweepAxes - int(sweep.reduced);
  std::vector<SweepAxis> outer, inner;
  for (int i = 0; i < kSweepAxes; ++i)
    (i < kept ? outer : inner)
        .push_back({sweep.size[i], sweep.y[i], sweep.a[i], sweep.b[i], sweep.table[i]});
  if (sweep.reduced == 0)
    std::stable_sort(outer.begin(), outer.end(), [](const SweepAxis& one, const SweepAxis& other) {
      return std::abs(one.y) > std::abs(other.y);
    });
  outer = joined(outer), inner = joined(inner);
  Sweep simple = sweep;
  simple.reduced = int64_t(inner.size());
  outer.insert(outer.end(), inner.begin(), inner.end());
  outer.insert(outer.begin(), size_t(kSweepAxes) - outer.size(), SweepAxis{1, 0, 0, 0, -1});
  for (int i = 0; i < kSweepAxes; ++i) {
    const SweepAxis& axis = outer[size_t(i)];
    simple.size[i] = axis.size, simple.table[i] = axis.table;
    simple.y[i] = axis.y, simple.a[i] = axis.a, simple.b[i] = axis.b;
  }
  return simple;
}

PreparedSweep::PreparedSweep(const std::string& name, const Sweep& sweep,
                             std::vector<int64_t> tables)
    : kernel_(&sweep_kernel(name, sweep.dtype)),
      sweep_(simplified(sweep)),
      tables_(std::move(tables)),
      items_(kernel_->items(sweep_)) {}

void PreparedSweep::run(const void* a, const void* b, void* y, int threads) const {
  int64_t lanes = std::min<int64_t>(std::max(1, threads), items_);
  if (!checking()) lanes = std::min(lanes, threads_worth(sweep_));
  const SweepOperands operands{a, b, y, tables_.data()};
  parallel_for(items_, int(lanes), [&](int64_t begin, int64_t end, int) {
    kernel_->run(sweep_, begin, end, operands);
  });
}

}  // namespace convkit
