#include "program.h"

#include <chrono>
#include <cstring>

namespace convkit {

namespace {

int64_t element_bytes(const Problem& problem) { return problem.x_dtype == kFloat64 ? 8 : 4; }

// The arrays of one run.
struct Frame {
  char* arena;
  const std::vector<const void*>& inputs;
  const std::vector<void*>& outputs;
  const std::vector<const void*>& constants;

  char* at(const Place& place) const {
    const void* base = nullptr;
    switch (place.kind) {
      case Place::kArena: base = arena; break;
      case Place::kInput: base = inputs[size_t(place.index)]; break;
      case Place::kOutput: base = outputs[size_t(place.index)]; break;
      case Place::kConstant: base = constants[size_t(place.index)]; break;
      default: return nullptr;
    }
    return static_cast<char*>(const_cast<void*>(base)) + place.offset;
  }
};

void run_step(const Step& step, const Frame& frame, int threads) {
  const void* x = frame.at(step.x);
  void* y = frame.at(step.y);
  if (step.sweep) {
    step.sweep->run(x, frame.at(step.residual), y, threads);
    return;
  }
  if (step.call.n == 0) return;
  if (step.layer) {
    Epilogue epilogue = step.layer->epilogue;
    epilogue.residual = frame.at(step.residual);
    step.layer->prepared.run(step.call, x, y, epilogue, threads, step.layer->limit);
    return;
  }
  const Prepared prepared(*step.kernel, step.call, frame.at(step.w));
  const Epilogue epilogue{
      frame.at(step.bias), frame.at(step.residual), nullptr, step.activation, step.a, step.b};
  prepared.run(step.call, x, y, epilogue, threads, step.limit);
}

}  // namespace

Layer::Layer(const Kernel& kernel, const Problem& problem, const void* w, const void* bias_values,
             int64_t activation, double a, double b, int64_t limit_bytes)
    : prepared(kernel, problem, w),
      bias(bias_values ? problem.k * element_bytes(problem) : 0),
      epilogue{},
      limit(limit_bytes) {
  if (bias_values)
    std::memcpy(bias.data(), bias_values, size_t(problem.k * element_bytes(problem)));
  epilogue.bias = bias_values ? bias.data() : nullptr;
  epilogue.activation = activation;
  epilogue.a = a;
  epilogue.b = b;
}

Program::Program(std::vector<Step> steps, std::vector<const void*> constants, int64_t arena_bytes)
    : steps_(std::move(steps)), constants_(std::move(constants)), arena_bytes_(arena_bytes) {}

void Program::run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs,
                  int threads, double* seconds) const {
  const Memory arena(arena_bytes_);
  const Frame frame{arena.data(), inputs, outputs, constants_};
  for (const Step& step : steps_) {
    if (!seconds) {
      run_step(step, frame, threads);
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    run_step(step, frame, threads);
    *seconds++ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  check_fence(arena, "arena");
}

}  // namespace convkit
