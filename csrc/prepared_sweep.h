// (sweep, ISA) -> SweepKernel; runs a sweep's items over the threads.
#pragma once
#include <string>
#include <vector>

#include "sweep.h"

namespace convkit {

std::vector<std::string> sweep_names();

// The same pass with as few axes as its strides allow, the last of them where y's memory is
// densest. Reductions keep the order of their axes: it is the order of the sum.
Sweep simplified(const Sweep& sweep);

// A sweep with its tables, ready to run any number of times, from several threads.
class PreparedSweep {
 public:
  // Throws std::invalid_argument for a name or dtype without a kernel.
  PreparedSweep(const std::string& name, const Sweep& sweep, std::vector<int64_t> tables);
  void run(const void* a, const void* b, void* y, int threads) const;

 private:
  const SweepKernel* kernel_;
  Sweep sweep_;
  std::vector<int64_t> tables_;
  int64_t items_;
};

}  // namespace convkit
