// The spectra of filters, made once, in the order in which the products read them.
#pragma once
#include "blocks/fft_spectra.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// The tiling stands before the weights, so that run need not find it again; what prepare works
// with, as it may not allocate, behind them.
template <class T>
struct Packing {
  Tiling* tiling;
  T* weights;
  T* line;
  T* work;
  T* spectrum;
  int64_t bytes;
};
template <class T>
Packing<T> packing_parts(const Tiling& tiling, void* base) {
  Arena from = arena(base);
  Packing<T> parts{};
  parts.tiling = take<Tiling>(from, 1);
  parts.weights = take<T>(from, weight_count<T>(tiling));
  parts.line = take<T>(from, tiling.columns.size * kLanes<T>);
  parts.work = take<T>(from, tiling.rows.size * fft_pitch<T>(tiling.columns.size));
  parts.spectrum = take<T>(from, tiling.frequencies * 2 * kLanes<T>);
  parts.bytes = from.used;
  return parts;
}

// parts.spectrum = conj(transform) / tile area of one piece of the filters filter[lane], channel c
// of their group.
template <class T>
void transform_filters(const Problem& problem, const Tiling& tiling, const T* w,
                       const int64_t* filter, int64_t c, int64_t piece_row, int64_t piece_column,
                       const Packing<T>& parts) {
  const Axis &rows = tiling.rows, &columns = tiling.columns;
  const TileFft<T> fft = tile_fft<T>(rows.size, columns.size);
  for (int64_t i = 0; i < rows.size * fft.pitch; ++i) parts.work[i] = T(0);
  const int64_t channels = problem.c / problem.groups;
  for (int64_t i = 0; i < rows.piece; ++i) {
    const int64_t r = piece_row * rows.piece + i;
    if (r >= problem.r || !meets(rows, r, problem.h, problem.p)) continue;
    for (int64_t j = 0; j < columns.size * kLanes<T>; ++j) parts.line[j] = T(0);
    for (int64_t j = 0; j < columns.piece; ++j) {
      const int64_t s = piece_column * columns.piece + j;
      if (s >= problem.s || !meets(columns, s, problem.w, problem.q)) continue;
      T* to = parts.line + (j - columns.shift + columns.size) % columns.size * kLanes<T>;
      for (int l = 0; l < kLanes<T>; ++l)
        if (filter[l] >= 0) to[l] = w[((filter[l] * channels + c) * problem.r + r) * problem.s + s];
    }
    forward_row(fft, parts.line, parts.work, (i - rows.shift + rows.size) % rows.size);
  }
  forward_columns(fft, parts.work, parts.spectrum, 2 * kLanes<T>);
  const T scale = T(1) / T(rows.size * columns.size);
  for (int64_t f = 0; f < tiling.frequencies; ++f) {
    T* at = parts.spectrum + f * 2 * kLanes<T>;
    store(at, load(at) * splat(scale));
    store(at + kLanes<T>, load(at + kLanes<T>) * splat(-scale));
  }
}

// Weights: [unit][frequency][out vector][piece][channel], a complex vector each; kTiles: a complex
// number each. In this order products of one frequency after the other stream them once.
template <class T>
void prepare_tiles(const Problem& problem, const void* w, void* packed) {
  const Tiling tiling = tiling_of<T>(problem);
  const Packing<T> parts = packing_parts<T>(tiling, packed);
  *parts.tiling = tiling;
  const int64_t pieces = tiling.rows.pieces * tiling.columns.pieces, depth = pieces * tiling.depth;
  const int64_t filters = problem.k / problem.groups, width = weight_width<T>(tiling);
  // Filters stand in the lanes while they are transformed, for kTiles too.
  const int64_t vectors =
      tiling.lanes == kTiles ? ceil_div(filters, kLanes<T>) : tiling.out_vectors;
  Tiling lanes = tiling;
  if (tiling.lanes == kTiles) lanes.lanes = kFilters;
  for (int64_t unit = 0; unit < tiling.units; ++unit)
    for (int64_t vector = 0; vector < vectors; ++vector) {
      int64_t filter[kLanes<T>];
      for (int l = 0; l < kLanes<T>; ++l) filter[l] = filter_of<T>(problem, lanes, unit, vector, l);
      for (int64_t piece = 0; piece < pieces; ++piece)
        for (int64_t c = 0; c < tiling.depth; ++c) {
          transform_filters<T>(problem, tiling, static_cast<const T*>(w), filter, c,
                               piece / tiling.columns.pieces, piece % tiling.columns.pieces, parts);
          for (int64_t f = 0; f < tiling.frequencies; ++f) {
            const T* from = parts.spectrum + f * 2 * kLanes<T>;
            if (tiling.lanes != kTiles) {
              T* to =
                  parts.weights + (((unit * tiling.frequencies + f) * vectors + vector) * depth +
                                   piece * tiling.depth + c) *
                                      width;
              store(to, load(from));
              store(to + kLanes<T>, load(from + kLanes<T>));
            } else {
              for (int l = 0; l < kLanes<T> && filter[l] >= 0; ++l) {
                T* to = parts.weights +
                        (((unit * tiling.frequencies + f) * filters + filter[l] - unit * filters) *
                             depth +
                         piece * tiling.depth + c) *
                            width;
                to[0] = from[l];
                to[1] = from[kLanes<T> + l];
              }
            }
          }
        }
    }
}

}  // namespace
}  // namespace CONVKIT_ISA
}  // namespace convkit
