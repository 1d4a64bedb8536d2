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

// Turns n images' places from one way of counting into the other, in `out`, which may be `in`.
void count_places(const int64_t* in, int64_t* out, const Counting& counting, int64_t n,
                  int64_t channels, bool to_kernel) {
  const int64_t plane = counting.width * counting.rows, each = counting.image / channels;
  for (int64_t i = 0; i < n * channels; ++i)
    for (int64_t j = i * each; j < (i + 1) * each; ++j) {
      int64_t place = in[j];
      const int64_t before = counting.over_all ? i * plane : 0;
      if (to_kernel) {
        place -= before;
      } else if (place >= 0) {
        if (counting.by_columns)
          place = place % counting.width * counting.rows + place / counting.width;
        place += before;
      }
      out[j] = place;
    }
}

void run_layer(const Step& step, const Frame& frame, const void* x, void* y, int threads) {
  Epilogue epilogue = step.layer->epilogue;
  epilogue.residual = frame.at(step.residual);
  const Counting& counting = step.counting;
  int64_t* places = reinterpret_cast<int64_t*>(frame.at(step.indices));
  const bool turned = counting.by_columns || counting.over_all;
  Memory copy(places && counting.reads && turned ? step.call.n * counting.image * 8 : 0);
  if (places && counting.reads && turned) {
    int64_t* mine = reinterpret_cast<int64_t*>(copy.data());
    count_places(places, mine, counting, step.call.n, step.call.c, true);
    places = mine;
  }
  step.layer->prepared.run(step.call, x, y, epilogue, threads, step.layer->limit, places,
                           counting.image);
  if (places && !counting.reads && turned)
    count_places(places, places, counting, step.call.n, step.call.c, false);
}

void run_step(const Step& step, const Frame& frame, int threads) {
  const void* x = frame.at(step.x);
  void* y = frame.at(step.y);
  if (step.sweep) {
    step.sweep->run(x, frame.at(step.residual), y, threads);
    return;
  }
  if (step.call.n == 0) return;
  if (step.layer) {
    run_layer(step, frame, x, y, threads);
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
