// y[k][p][q] = b[k] + sum over s of v[k][s] (sum over r of u[k][r] x[k / m][p + r][q + s]),
//   w[k][r][s] = u[k][r] v[k][s],   m = k_count / c_count
// r + s multiplications instead of r s: filters of rank 1, such as Gauss, box and Sobel.
// J. Serra: Image Analysis and Mathematical Morphology, 1982, for the decomposition in general;
// here u and v are least squares fits to w, whose entries are rounded products of them.
//
// Columns first: the sums over r of four output rows, a strip of columns wide, come from rows of x
// where they lie (each is loaded once for the four) and stay in the first cache for the sums over
// s. So no sum is computed twice, however tall the filter and however thin the blocks that threads
// share out. Padding columns are sums of padding columns: copies of sums that are there already.
// What cannot be read in place (columns that do not follow each other, strips narrower than a
// vector, padding from another strip) is copied first, a block of rows.
#include "blocks/arena.h"
#include "blocks/band.h"
#include "blocks/epilogue.h"
#include "blocks/window.h"
#include "kernel.h"

namespace convkit {
namespace CONVKIT_ISA {
namespace {

// Output rows that share their loads, and vectors of each: 16 sums of 32 registers, 8 of 16.
constexpr int kRows = 4, kVecs = kRegisters == 32 ? 4 : 2;
// Rows of an item: few copies of the r - 1 rows above, and still items for many threads.
constexpr int64_t kBlockRows = 32;
// Columns of a strip: with the rows of a tall filter they stay in the second cache, and four rows
// of sums in the first. Beyond it, s - 1 columns are summed once more for every strip.
constexpr int64_t kStripColumns = 1024;

struct Grid {
  int64_t strips, columns;  // output columns of the widest strip
  int64_t blocks, rows;
};
CK_INLINE Grid grid_of(const Problem& problem) {
  Grid grid;
  grid.strips = ceil_div(problem.q, kStripColumns + kStripColumns / 2);
  grid.columns = ceil_div(problem.q, grid.strips);
  grid.blocks = ceil_div(problem.p, kBlockRows);
  grid.rows = ceil_div(problem.p, grid.blocks);
  return grid;
}

template <class T>
struct Packed {
  T *u, *v;  // (k, r) and (k, s)
  int64_t bytes;
};
template <class T>
Packed<T> packed_of(const Problem& problem, const void* memory) {
  Arena from = arena(memory);
  Packed<T> packed{};
  packed.u = take<T>(from, problem.k * problem.r);
  packed.v = take<T>(from, problem.k * problem.s);
  packed.bytes = from.used;
  return packed;
}

template <class T>
struct Scratch {
  const T** rows;  // of the block's window: where they are read, null where they are zero
  T* copies;       // of those rows, where they cannot be read in place
  T* sums;         // over r: kRows lines of pitch
  T* line;         // a finished output row of the strip
  int64_t pitch, bytes;
};
template <class T>
Scratch<T> scratch_of(const Problem& problem, void* memory) {
  const Grid grid = grid_of(problem);
  const int64_t group = kVecs * kLanes<T>;
  Arena from = arena(memory);
  Scratch<T> scratch{};
  // Whole groups of vectors of outputs read s - 1 columns further.
  scratch.pitch = ceil_div(ceil_div(grid.columns, group) * group + problem.s - 1, group) * group;
  scratch.rows = take<const T*>(from, grid.rows + problem.r - 1);
  scratch.copies = take<T>(from, (grid.rows + problem.r - 1) * scratch.pitch);
  scratch.sums = take<T>(from, kRows * scratch.pitch);
  scratch.line = take<T>(from, ceil_div(grid.columns, group) * group);
  scratch.bytes = from.used;
  return scratch;
}

bool always(const Problem&) { return true; }

template <class T>
Sizes sizes(const Problem& problem) {
  return {packed_of<T>(problem, nullptr).bytes, 0, scratch_of<T>(problem, nullptr).bytes};
}
int64_t items(const Problem& problem, int64_t) {
  const Grid grid = grid_of(problem);
  return problem.k * grid.strips * grid.blocks;
}

// ---- packing -----------------------------------------------------------------------------------

template <class T>
struct Wider {
  typedef double type;
};
template <>
struct Wider<double> {
  typedef long double type;
};

// u v^T nearest to one filter: v begins as the row through its largest entry, which is taken as
// one; then u is fitted to v, and v to the rounded u. All terms of these sums have one sign.
template <class T>
void factor(const T* w, int64_t r, int64_t s, T* u, T* v) {
  typedef typename Wider<T>::type Wide;
  int64_t at = 0;
  for (int64_t i = 1; i < r * s; ++i)
    if (__builtin_fabs(double(w[i])) > __builtin_fabs(double(w[at]))) at = i;
  const T* row = w + at / s * s;
  const Wide largest = w[at] == T(0) ? Wide(1) : Wide(w[at]);
  Wide square = 0;
  for (int64_t j = 0; j < s; ++j) square += Wide(row[j]) * Wide(row[j]);
  const Wide scale = square == Wide(0) ? Wide(0) : largest / square;
  Wide u_square = 0;
  for (int64_t i = 0; i < r; ++i) {
    Wide sum = 0;
    for (int64_t j = 0; j < s; ++j) sum += Wide(w[i * s + j]) * Wide(row[j]);
    u[i] = T(sum * scale);
    u_square += Wide(u[i]) * Wide(u[i]);
  }
  for (int64_t j = 0; j < s; ++j) {
    Wide sum = 0;
    for (int64_t i = 0; i < r; ++i) sum += Wide(w[i * s + j]) * Wide(u[i]);
    v[j] = u_square == Wide(0) ? T(0) : T(sum / u_square);
  }
}
template <class T>
void prepare(const Problem& problem, const void* w, void* memory) {
  const Packed<T> packed = packed_of<T>(problem, memory);
  for (int64_t k = 0; k < problem.k; ++k)
    factor(static_cast<const T*>(w) + k * problem.r * problem.s, problem.r, problem.s,
           packed.u + k * problem.r, packed.v + k * problem.s);
}

// ---- sums over r -------------------------------------------------------------------------------

// sum[t] += u[i - t] x for the rows t that a row i of the window meets.
template <class T, int kFrom, int kTo, int kCount>
CK_INLINE void add_row(Vec<T> (&sum)[kCount][kVecs], const T* x, const T* u) {
  if constexpr (kTo < kCount) {
    Vec<T> pixels[kVecs];
    CK_UNROLL(8)
    for (int j = 0; j < kVecs; ++j) pixels[j] = load(x + j * kLanes<T>);
    CK_UNROLL(8)
    for (int t = kFrom; t <= kTo; ++t) {
      const Vec<T> weight = splat(u[-t]);
      CK_UNROLL(8)
      for (int j = 0; j < kVecs; ++j) sum[t][j] += weight * pixels[j];
    }
  }
}
// One group of vectors: to[t][0 ..] = sum over r of u[r] rows[t + r][column + 0 ..].
template <class T, int kCount>
CK_NOINLINE void sum_columns(const T* const* rows, int64_t column, const T* u, int64_t r, T* to,
                             int64_t pitch) {
  Vec<T> sum[kCount][kVecs];
  CK_UNROLL(8)
  for (int t = 0; t < kCount; ++t) {
    CK_UNROLL(8)
    for (int j = 0; j < kVecs; ++j) sum[t][j] = Vec<T>{};
  }
  for (int64_t i = 0; i < r + kCount - 1; ++i) {
    if (!rows[i]) continue;
    const int64_t from = greater(i - r + 1, 0), last = lesser(i, kCount - 1);
    const T *x = rows[i] + column, *at = u + i;
    switch (from * kRows + last) {
#define CK_ROWS(kFrom, kTo) \
  case kFrom* kRows + kTo: add_row<T, kFrom, kTo, kCount>(sum, x, at); break
      CK_ROWS(0, 0);
      CK_ROWS(0, 1);
      CK_ROWS(0, 2);
      CK_ROWS(0, 3);
      CK_ROWS(1, 1);
      CK_ROWS(1, 2);
      CK_ROWS(1, 3);
      CK_ROWS(2, 2);
      CK_ROWS(2, 3);
      CK_ROWS(3, 3);
#undef CK_ROWS
    }
  }
  CK_UNROLL(8)
  for (int t = 0; t < kCount; ++t) {
    CK_UNROLL(8)
    for (int j = 0; j < kVecs; ++j) store(to + t * pitch + j * kLanes<T>, sum[t][j]);
  }
}
// The last group is moved back to end with the row: it sums some columns again, to the same bits.
template <class T, int kCount>
CK_INLINE void sum_strip(const T* const* rows, const T* u, int64_t r, int64_t begin, int64_t end,
                         T* to, int64_t pitch) {
  const int64_t group = kVecs * kLanes<T>;
  for (int64_t column = begin; column < end; column += group) {
    const int64_t at = lesser(column, end - group);
    sum_columns<T, kCount>(rows, at, u, r, to + at, pitch);
  }
}

// ---- sums over s -------------------------------------------------------------------------------

template <class T, int kCount>
CK_NOINLINE void sum_taps(const T* from, const T* v, int64_t s, T* to) {
  Vec<T> sum[kCount];
  CK_UNROLL(16)
  for (int j = 0; j < kCount; ++j) sum[j] = Vec<T>{};
  for (int64_t i = 0; i < s; ++i) {
    const Vec<T> weight = splat(v[i]);
    CK_UNROLL(16)
    for (int j = 0; j < kCount; ++j) sum[j] += weight * load(from + i + j * kLanes<T>);
  }
  CK_UNROLL(16)
  for (int j = 0; j < kCount; ++j) store(to + j * kLanes<T>, sum[j]);
}

// ---- an item -----------------------------------------------------------------------------------

// Where a strip's window lies: image columns first + i, i < count; begin .. end of them in the
// image.
struct Window {
  int64_t first, count, begin, end;
};
// Whether every column of padding repeats one that the strip sums anyway.
CK_INLINE bool padding_is_near(const Problem& problem, const Window& window) {
  if (problem.padding_mode == kZeros) return true;
  for (int64_t i = 0; i < window.count; ++i) {
    const int64_t source = source_column(problem, window.first + i);
    if (source >= 0 && (source < window.begin || source >= window.end)) return false;
  }
  return true;
}

template <class T>
CK_INLINE void run_item(const Problem& problem, const Operands& operands, const Scratch<T>& scratch,
                        int64_t item) {
  const Grid grid = grid_of(problem);
  const Packed<T> packed = packed_of<T>(problem, operands.packed);
  const int64_t block = item % grid.blocks, strip = item / grid.blocks % grid.strips;
  const int64_t k = item / grid.blocks / grid.strips, channel = k / (problem.k / problem.c);
  const int64_t first_row = block * grid.rows, rows = lesser(grid.rows, problem.p - first_row);
  const int64_t first_column = strip * grid.columns;
  const int64_t columns = lesser(grid.columns, problem.q - first_column);
  const int64_t r = problem.r, s = problem.s, pitch = scratch.pitch, group = kVecs * kLanes<T>;
  if (rows <= 0 || columns <= 0) return;  // evenly split, the last ones may be empty
  const T *u = packed.u + k * r, *v = packed.v + k * s;

  Window window{first_column - problem.pad_left, columns + s - 1, 0, 0};
  window.begin = lesser(greater(window.first, 0), problem.w);
  window.end = greater(window.begin, lesser(window.first + window.count, problem.w));
  const bool in_place =
      problem.x.w == 1 && window.end - window.begin >= group && padding_is_near(problem, window);
  const T* x = static_cast<const T*>(operands.x);
  for (int64_t i = 0; i < rows + r - 1; ++i) {
    const int64_t row = first_row + i - problem.pad_top, source = source_row(problem, row);
    if (source < 0) {
      scratch.rows[i] = nullptr;
    } else if (in_place) {
      scratch.rows[i] = x + channel * problem.x.c + source * problem.x.h + window.first;
    } else {
      scratch.rows[i] = scratch.copies + i * pitch;
      read_row(problem, x, channel, row, window.first, window.count, scratch.copies + i * pitch);
    }
  }
  // Of the window, what is summed; copies have room for whole groups.
  const int64_t begin = in_place ? window.begin - window.first : 0;
  const int64_t end = in_place ? window.end - window.first : ceil_div(window.count, group) * group;

  for (int64_t row = 0; row < rows;) {
    const int64_t some = rows - row >= kRows ? kRows : 1;
    if (some == kRows)
      sum_strip<T, kRows>(scratch.rows + row, u, r, begin, end, scratch.sums, pitch);
    else
      sum_strip<T, 1>(scratch.rows + row, u, r, begin, end, scratch.sums, pitch);
    for (int64_t t = 0; t < some; ++t, ++row) {
      T* sums = scratch.sums + t * pitch;
      for (int64_t i = 0; i < begin; ++i) {
        const int64_t source = source_column(problem, window.first + i);
        sums[i] = source < 0 ? T(0) : sums[source - window.first];
      }
      for (int64_t i = end; i < window.count; ++i) {
        const int64_t source = source_column(problem, window.first + i);
        sums[i] = source < 0 ? T(0) : sums[source - window.first];
      }
      int64_t q = 0;
      for (; columns - q > group; q += 2 * group)
        sum_taps<T, 2 * kVecs>(sums + q, v, s, scratch.line + q);
      for (; q < columns; q += group) sum_taps<T, kVecs>(sums + q, v, s, scratch.line + q);
      finish_row(problem, operands, k, first_row + row, first_column, scratch.line, columns);
    }
  }
}

template <class T>
void run(const Problem& problem, int64_t, int64_t begin, int64_t end, const Operands& operands) {
  const Scratch<T> scratch = scratch_of<T>(problem, operands.scratch);
  for (int64_t item = begin; item < end; ++item) run_item<T>(problem, operands, scratch, item);
}

const Kernel kKernels[] = {
    {"float32", kFloat32, kNchw, kNchw, always, sizes<float>, 1, items, prepare<float>, run<float>},
    {"float64", kFloat64, kNchw, kNchw, always, sizes<double>, 1, items, prepare<double>,
     run<double>},
};

}  // namespace

extern const Variants separable;
const Variants separable = {kKernels, sizeof kKernels / sizeof kKernels[0]};

}  // namespace CONVKIT_ISA
}  // namespace convkit
