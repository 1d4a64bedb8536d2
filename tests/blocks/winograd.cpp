// The pieces of csrc/blocks/winograd.h and turn.h by themselves, for tests/test_blocks_winograd.py.
#define CONVKIT_ISA driver
#include "blocks/winograd.h"

using namespace convkit;
using namespace convkit::driver;

namespace {

// Rows of kLanes<T> values through one transform: from[kIn][lanes] -> to[kOut][lanes].
template <class T, int kIn, int kOut, class Transform>
void each_lane(Transform transform, const T* from, T* to) {
  Vec<T> in[kIn], out[kOut];
  for (int i = 0; i < kIn; ++i) in[i] = load(from + i * kLanes<T>);
  transform(in, out);
  for (int i = 0; i < kOut; ++i) store(to + i * kLanes<T>, out[i]);
}

}  // namespace

#define EXPORT(tile, name, T, function, in, out)                                       \
  extern "C" void name(const T* from, T* to) {                                         \
    each_lane<T, in, out>([](auto& a, auto& b) { function(tile{}, a, b); }, from, to); \
  }
EXPORT(F2, f2_filter, float, transform_filter, 3, 4)
EXPORT(F2, f2_filter_double, double, transform_filter, 3, 4)
EXPORT(F2, f2_input, float, transform_input, 4, 4)
EXPORT(F2, f2_output, float, transform_output, 4, 2)
EXPORT(F3, f3_filter, float, transform_filter, 4, 6)
EXPORT(F3, f3_filter_double, double, transform_filter, 4, 6)
EXPORT(F3, f3_input, float, transform_input, 6, 6)
EXPORT(F3, f3_output, float, transform_output, 6, 3)
EXPORT(F4, f4_filter, float, transform_filter, 3, 6)
EXPORT(F4, f4_filter_double, double, transform_filter, 3, 6)
EXPORT(F4, f4_input, float, transform_input, 6, 6)
EXPORT(F4, f4_output, float, transform_output, 6, 4)

extern "C" int float_lanes() { return kLanes<float>; }
extern "C" int double_lanes() { return kLanes<double>; }
extern "C" void turn_block(const float* from, int64_t from_step, float* to, int64_t to_step) {
  turn(from, from_step, to, to_step);
}
// (full tiles, first output of each tile and of the one after the last) of an axis.
template <class Tile>
int64_t tiles_by(int64_t outputs, int64_t* begins) {
  const Axis axis = axis_of<Tile>(outputs);
  for (int64_t i = 0; i <= axis.tiles; ++i) begins[i] = tile_begin<Tile>(axis, i);
  begins[axis.tiles + 1] = axis.full;
  return axis.tiles;
}
extern "C" int64_t tiles_of(int outputs_of_tile, int64_t outputs, int64_t* begins) {
  return outputs_of_tile == 2   ? tiles_by<F2>(outputs, begins)
         : outputs_of_tile == 3 ? tiles_by<F3>(outputs, begins)
                                : tiles_by<F4>(outputs, begins);
}
extern "C" void read_padded(const int64_t* fields, const float* x, int64_t channels, int64_t row,
                            int64_t begin, int64_t count, float* to) {
  Problem problem;
  __builtin_memcpy(&problem, fields, sizeof problem);
  read_pixels(problem, x, channels, row, begin, count, to);
}
extern "C" int problem_fields() { return kProblemFields; }
