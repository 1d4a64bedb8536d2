// (algorithm, ISA) -> kernel; runs a kernel's items over the threads.
#pragma once
#include <string>
#include <vector>

#include "kernel.h"
#include "memory.h"

namespace convkit {

std::vector<std::string> algorithm_names();  // csrc/kernels, by file name
std::vector<std::string> operator_names();   // csrc/operators

// Its table for the ISA in use; throws std::invalid_argument for an unknown name.
const Variants& variants_of(const std::string& name);
// variant < 0: the first of the problem's dtype and layouts that prefers it. Throws
// std::invalid_argument if none does.
const Kernel& kernel_for(const std::string& name, const Problem& problem, int64_t variant = -1);

// A problem with its weights packed. Safe to run from several threads: it owns only what prepare
// wrote.
class Prepared {
 public:
  Prepared(const Kernel& kernel, const Problem& problem, const void* w);

  // call: the problem with this call's n and strides. y must not overlap x. `limit` bounds packed +
  // shared + one scratch per thread, by running on fewer threads.
  // indices: as in Operands, of all images one after the other, each with `places` of them.
  void run(const Problem& call, const void* x, void* y, const Epilogue& epilogue, int threads,
           int64_t limit, int64_t* indices = nullptr, int64_t places = 0) const;

  const Kernel& kernel() const { return *kernel_; }
  const Problem& problem() const { return problem_; }
  const Sizes& sizes() const { return sizes_; }
  const char* packed() const { return packed_.data(); }

 private:
  const Kernel* kernel_;
  Problem problem_;
  Sizes sizes_;
  std::vector<int64_t> items_;  // of each phase: finding them may take as long as a small layer
  Memory packed_;
};

}  // namespace convkit
