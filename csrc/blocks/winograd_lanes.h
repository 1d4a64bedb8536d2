// Pixels of x and y as Winograd's transforms have them: a vector of neighbouring channels for each.
// In blocks of channels (nchwc) they lie so in memory; planes are turned on the way (turn.h).
#pragma once
#include "lane_exit.h"
#include "turn.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// Whole vectors of channels.
CK_INLINE bool block_fits(const Problem& problem) {
  return problem.block > 0 && problem.block % kLanes<float> == 0;
}
// How far a channel's first pixel is from channel 0's.
CK_INLINE int64_t channel_at(const Problem& problem, int64_t layout, const Strides& strides,
                             int64_t channel) {
  if (layout == kNchw) return channel * strides.c;
  return channel / problem.block * strides.c + channel % problem.block;
}
// Filters that are computed: in blocks those past the last one, too, up to the end of its block.
CK_INLINE int64_t filters_of(const Problem& problem) {
  if (problem.y_layout == kNchw) return problem.k;
  return (problem.k + problem.block - 1) / problem.block * problem.block;
}

// to[i] = the padded image at a vector of channels that begins at x, column begin + i, for i <
// count.
CK_INLINE void copy_pixels(const Problem& problem, const float* x, int64_t row, int64_t begin,
                           int64_t count, float* to) {
  const int64_t from_row = source_row(problem, row);
  for (int64_t i = 0; i < count; ++i, to += kLanes<float>) {
    const int64_t column = from_row < 0 ? -1 : source_column(problem, begin + i);
    store(to, column < 0 ? Vec<float>{} : load(x + from_row * problem.x.h + column * problem.x.w));
  }
}
// The same of the vector that begins with `channel`, in either layout. Lanes past c hold anything;
// up to kLanes<float> - 1 pixels past count are overwritten.
CK_INLINE void read_vectors(const Problem& problem, const float* x, int64_t channel, int64_t row,
                            int64_t begin, int64_t count, float* to) {
  const int64_t left = problem.c - channel, lanes = kLanes<float>;
  x += channel_at(problem, problem.x_layout, problem.x, channel);
  if (problem.x_layout == kNchwc)
    copy_pixels(problem, x, row, begin, count, to);
  else
    read_pixels(problem, x, left < lanes ? left : lanes, row, begin, count, to);
}

// A vector of filters on its way to y.
struct PixelExit {
  LaneExit<float> lanes;
  float* y;  // of pixel (0, 0)
  const float* residual;
};
CK_INLINE PixelExit pixel_exit(const Problem& problem, const Operands& operands, int64_t filter) {
  const float* residual = static_cast<const float*>(operands.epilogue.residual);
  if (residual) residual += channel_at(problem, kNchwc, problem.residual, filter);
  return {lane_exit<float>(problem, operands, filter),
          static_cast<float*>(operands.y) + channel_at(problem, kNchwc, problem.y, filter),
          residual};
}
// pixels[row][column][lanes] of a rectangle to y. An activation that is no bound goes through
// `room`: it is cheaper for many at once.
CK_NOINLINE void finish_block_pixels(const Problem& problem, const Operands& operands,
                                     int64_t filter, int64_t row, int64_t rows, int64_t column,
                                     int64_t columns, const float* pixels, float* room) {
  const Epilogue& epilogue = operands.epilogue;
  const PixelExit exit = pixel_exit(problem, operands, filter);
  const bool slow = epilogue.activation > kClip;
  LaneExit<float> first = exit.lanes;
  if (slow) first.bounded = first.masked = false;
  const auto each = [&](const auto& action) __attribute__((always_inline)) {
    for (int64_t i = 0, at = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j, at += kLanes<float>) {
        const int64_t h = row + i, w = column + j;
        action(at, exit.y + h * problem.y.h + w * problem.y.w,
               h * problem.residual.h + w * problem.residual.w);
      }
  };
  each([&](int64_t at, float* y, int64_t other) __attribute__((always_inline)) {
    put_lanes(first, load(pixels + at), exit.residual ? exit.residual + other : nullptr,
              slow ? room + at : y);
  });
  if (!slow) return;
  activate(epilogue.activation, epilogue.a, epilogue.b, room, rows * columns * kLanes<float>);
  each([&](int64_t at, float* y, int64_t) __attribute__((always_inline)) {
    const Vec<float> v = load(room + at);
    store(y, exit.lanes.masked ? (exit.lanes.kept ? v : Vec<float>{}) : v);
  });
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
