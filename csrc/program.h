// Program: a compiled network, a flat list of steps over one arena.
#pragma once
#include <memory>
#include <vector>

#include "dispatch.h"
#include "prepared_sweep.h"

namespace convkit {

// A kernel with its weights packed and what is done before its store. Immutable: steps of several
// programs share it.
struct Layer {
  Layer(const Kernel& kernel, const Problem& problem, const void* w, const void* bias,
        int64_t activation, double a, double b, int64_t limit);

  Prepared prepared;
  Memory bias;
  Epilogue epilogue;  // its bias is the memory above
  int64_t limit;      // of the bytes that a run may take, packed weights included
};

// Where an array begins: bytes behind the arena, the inputs, the outputs or the constants.
struct Place {
  enum Kind : int64_t { kNone, kArena, kInput, kOutput, kConstant };
  int64_t kind, index, offset;
};

// How a program's array of places counts; kernels count in the rows of one plane.
struct Counting {
  int64_t image;        // places of one image
  int64_t width, rows;  // of the plane that the places lie in
  bool by_columns;      // column rows + row
  bool over_all;        // plus the elements of all planes before
  bool reads;           // an unpooling, which is given them
};

struct Step {
  // A sweep of x and residual into y; the fields from `kernel` to `call` and `w` on are not used.
  std::shared_ptr<const PreparedSweep> sweep;
  // Else a kernel. Null where the weights are known only when the program runs; then `w` says where
  // they lie, row by row, and each run packs them.
  std::shared_ptr<const Layer> layer;
  const Kernel* kernel;
  Problem call;  // with its n and strides
  Place x, residual, y, w, bias;
  Place indices;  // the places of maxima beside x or y, int64 row by row
  Counting counting;
  int64_t activation;
  double a, b;
  int64_t limit;
};

class Program {
 public:
  Program(std::vector<Step> steps, std::vector<const void*> constants, int64_t arena_bytes);

  // Runs all steps. Safe from several threads: each call has an arena of its own. `seconds`: room
  // for the time of each step, or null.
  void run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs, int threads,
           double* seconds) const;

  const std::vector<Step>& steps() const { return steps_; }

 private:
  std::vector<Step> steps_;
  std::vector<const void*> constants_;
  int64_t arena_bytes_;
};

}  // namespace convkit
