// y[i] = a[o(i)] or the fill, where o(i) = sum over the axes of i_axis stride_axis, or of what the
// axis's table says: transposing, slicing, gathering, repeating, padding, joining and reordering
// are this with other strides and tables. Elements are moved as bits, 1, 2, 4 or 8 bytes at a time.
#include "blocks/transpose.h"
#include "blocks/walk.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

constexpr int kLast = kSweepAxes - 1;
// Rows and columns of a tile that is transposed in the first cache.
constexpr int64_t kTile = 64;

// The axis other than the last along which a's elements are consecutive, where y's are along the
// last: then squares are read and written instead of columns. -1 where there is none.
int turned_axis(const Sweep& sweep) {
  if (sweep.y[kLast] != 1 || sweep.a[kLast] == 1 || sweep.table[kLast] >= 0) return -1;
  for (int i = 0; i < kLast; ++i)
    if (sweep.a[i] == 1 && sweep.table[i] < 0 && sweep.size[i] > 1) return i;
  return -1;
}
int64_t tiles_of(int64_t size) { return (size + kTile - 1) / kTile; }

int64_t items(const Sweep& sweep) {
  const int turned = turned_axis(sweep);
  const int64_t all = product_of(sweep.size, kSweepAxes);
  if (turned < 0) return (all + kSweepPiece - 1) / kSweepPiece;
  const int64_t rows = sweep.size[turned], columns = sweep.size[kLast];
  return all / rows / columns * tiles_of(rows) * tiles_of(columns);
}

// Where the axes before the last lead in a; kFill where one of them leads nowhere.
CK_INLINE int64_t source(const Sweep& sweep, const Extents& index, const int64_t* tables) {
  int64_t at = 0;
  for (int i = 0; i < kLast; ++i) {
    if (sweep.table[i] < 0) {
      at += index[i] * sweep.a[i];
    } else {
      const int64_t step = tables[sweep.table[i] + index[i]];
      if (step == kFill) return kFill;
      at += step;
    }
  }
  return at;
}

template <class T>
CK_INLINE void copy_run(const T* from, int64_t from_step, T* to, int64_t to_step, int64_t count) {
  if (from_step == 1 && to_step == 1)
    __builtin_memcpy(to, from, size_t(count) * sizeof(T));
  else if (to_step == 1)
    for (int64_t i = 0; i < count; ++i) to[i] = from[i * from_step];
  else
    for (int64_t i = 0; i < count; ++i) to[i * to_step] = from[i * from_step];
}

template <class T>
void run_rows(const Sweep& sweep, int64_t begin, int64_t end, const SweepOperands& operands) {
  const T* a = static_cast<const T*>(operands.a);
  const T fill = T(sweep.fill);
  const int64_t all = product_of(sweep.size, kSweepAxes), step = sweep.y[kLast];
  const int64_t last = end * kSweepPiece < all ? end * kSweepPiece : all;
  const int64_t* table = sweep.table[kLast] < 0 ? nullptr : operands.tables + sweep.table[kLast];
  int64_t at = begin * kSweepPiece;
  Walk walk = walk_from(sweep, 0, kSweepAxes, at);
  while (at < last) {
    const int64_t first = walk.index[kLast];
    const int64_t left = sweep.size[kLast] - first, count = left < last - at ? left : last - at;
    T* to = static_cast<T*>(operands.y) + walk.y;
    const int64_t from = source(sweep, walk.index, operands.tables);
    if (from == kFill)
      for (int64_t i = 0; i < count; ++i) to[i * step] = fill;
    else if (!table)
      copy_run<T>(a + from + first * sweep.a[kLast], sweep.a[kLast], to, step, count);
    else
      for (int64_t i = 0; i < count; ++i) {
        const int64_t more = table[first + i];
        to[i * step] = more == kFill ? fill : a[from + more];
      }
    walk_on(sweep, 0, kSweepAxes, count, walk);
    at += count;
  }
}

// to[i to_row + j] = from[j from_row + i] for a tile, in squares of whole vectors and what is left.
template <class T>
CK_INLINE void turn_tile(const T* from, int64_t from_row, T* to, int64_t to_row, int64_t rows,
                         int64_t columns) {
  int64_t whole_rows = 0, whole_columns = 0;
  if constexpr (sizeof(T) >= 4) {
    typedef std::conditional_t<sizeof(T) == 4, float, double> Lane;  // moved, not computed with
    constexpr int64_t kSide = kLanes<Lane>;
    whole_rows = rows / kSide * kSide, whole_columns = columns / kSide * kSide;
    for (int64_t i = 0; i < whole_rows; i += kSide)
      for (int64_t j = 0; j < whole_columns; j += kSide)
        transpose<Lane>(reinterpret_cast<const Lane*>(from + j * from_row + i), from_row,
                        reinterpret_cast<Lane*>(to + i * to_row + j), to_row);
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; ++j)
      to[i * to_row + j] = from[j * from_row + i];
}

template <class T>
void run_turned(const Sweep& sweep, int turned, int64_t begin, int64_t end,
                const SweepOperands& operands) {
  Sweep outer = sweep;
  const int64_t rows = sweep.size[turned], columns = sweep.size[kLast];
  outer.size[turned] = outer.size[kLast] = 1;
  const int64_t across = tiles_of(columns), tiles = tiles_of(rows) * across;
  for (int64_t item = begin; item < end; ++item) {
    const Walk walk = walk_from(outer, 0, kSweepAxes, item / tiles);
    const int64_t i = item % tiles / across * kTile, j = item % across * kTile;
    const int64_t height = rows - i < kTile ? rows - i : kTile;
    const int64_t width = columns - j < kTile ? columns - j : kTile;
    T* to = static_cast<T*>(operands.y) + walk.y + i * sweep.y[turned] + j;
    const int64_t from = source(outer, walk.index, operands.tables);
    if (from == kFill) {
      for (int64_t row = 0; row < height; ++row)
        for (int64_t column = 0; column < width; ++column)
          to[row * sweep.y[turned] + column] = T(sweep.fill);
    } else {
      turn_tile<T>(static_cast<const T*>(operands.a) + from + i + j * sweep.a[kLast],
                   sweep.a[kLast], to, sweep.y[turned], height, width);
    }
  }
}

template <class T>
void run(const Sweep& sweep, int64_t begin, int64_t end, const SweepOperands& operands) {
  const int turned = turned_axis(sweep);
  if (turned < 0)
    run_rows<T>(sweep, begin, end, operands);
  else
    run_turned<T>(sweep, turned, begin, end, operands);
}

const SweepKernel kKernels[] = {
    {"1 byte", 1, items, run<uint8_t>},
    {"2 bytes", 2, items, run<uint16_t>},
    {"4 bytes", 4, items, run<uint32_t>},
    {"8 bytes", 8, items, run<uint64_t>},
};

}  // namespace

extern const SweepVariants copy;
const SweepVariants copy = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
