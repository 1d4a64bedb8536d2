// pybind11 only: take apart Python's values, release the GIL, call. What a user can get wrong was
// refused in Python; what is checked here guards memory.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "dispatch.h"
#include "executor.h"
#include "isa.h"
#include "memory.h"
#include "prepared_sweep.h"
#include "program.h"

namespace py = pybind11;

namespace convkit {
namespace {

constexpr int kStrideFields =
    12;  // the last fields of Problem are the strides of x, residual and y

Problem problem_from(const py::tuple& fields) {
  if (int(fields.size()) != kProblemFields - kStrideFields)
    throw std::invalid_argument("a problem has " + std::to_string(kProblemFields - kStrideFields) +
                                " numbers, got " + std::to_string(fields.size()));
  Problem problem{};
  int64_t* field = reinterpret_cast<int64_t*>(&problem);
  for (const py::handle& value : fields) *field++ = value.cast<int64_t>();
  return problem;
}

int64_t element_bytes(int64_t dtype) { return dtype == kFloat64 ? 8 : 4; }

bool has_dtype(const py::array& array, int64_t dtype) {
  return array.dtype().num() == (dtype == kFloat64 ? 12 : 11) && array.dtype().byteorder() != '>';
}

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

// The array's strides in elements; throws where it is not the (n, c, h, w) array of this dtype.
Strides strides_of(const py::array& array, int64_t dtype, int64_t n, int64_t c, int64_t h,
                   int64_t w, const char* what) {
  require(has_dtype(array, dtype), what);
  require(array.ndim() == 4 && array.shape(0) == n && array.shape(1) == c && array.shape(2) == h &&
              array.shape(3) == w,
          what);
  int64_t strides[4];
  for (int i = 0; i < 4; ++i) {
    const int64_t bytes = array.strides(i), element = element_bytes(dtype);
    require(bytes % element == 0 || array.shape(i) <= 1, what);
    strides[i] = array.shape(i) <= 1 ? (i == 3 ? 1 : 0) : bytes / element;
  }
  return {strides[0], strides[1], strides[2], strides[3]};
}

// Answers of fewer bytes are NumPy's to allocate: blocks are whole pages.
constexpr int64_t kSmallAnswer = 16 << 10;

// An array for an answer, on lent memory that goes back when its last view does. On 64-byte lines,
// which NumPy's own memory is not: stores that straddle two lines cost a depthwise or pointwise
// layer 5 to 12 % of its time.
py::array empty(const std::vector<py::ssize_t>& shape, const py::dtype& dtype) {
  int64_t bytes = dtype.itemsize();
  for (const py::ssize_t size : shape) bytes *= size;
  if (bytes < kSmallAnswer) return py::array(dtype, shape);
  std::unique_ptr<Memory> memory(new Memory(bytes));
  const char* data = memory->data();
  const py::capsule owner(memory.get(), [](void* held) { delete static_cast<Memory*>(held); });
  memory.release();
  return py::array(dtype, shape, data, owner);
}

const void* whole_array(const py::object& values, int64_t dtype, int64_t size, const char* what) {
  if (values.is_none()) return nullptr;
  const py::array array = values.cast<py::array>();
  require(has_dtype(array, dtype) && array.size() == size && (array.flags() & py::array::c_style),
          what);
  return array.data();
}

// Packs the weights of a problem; threads may call what it returns at once.
std::shared_ptr<const Layer> make_layer(const std::string& name, const py::tuple& fields,
                                        const py::object& w, const py::object& bias,
                                        int64_t activation, double a, double b, int64_t variant,
                                        int64_t limit) {
  const Problem problem = problem_from(fields);
  const Kernel& kernel = kernel_for(name, problem, variant);
  require(kernel.dtype == problem.x_dtype, "this variant has another dtype");
  const void* weights = nullptr;
  if (!w.is_none()) {
    const py::array array = w.cast<py::array>();
    const int64_t size = problem.groups == 0
                             ? int64_t(array.size())
                             : problem.k * (problem.c / problem.groups) * problem.r * problem.s;
    weights = whole_array(w, problem.w_dtype, size, "w must be contiguous and fit this problem");
  }
  const void* addend = whole_array(bias, problem.x_dtype, problem.k,
                                   "bias must be a contiguous vector of the problem's dtype");
  py::gil_scoped_release released;
  return std::make_shared<const Layer>(kernel, problem, weights, addend, activation, a, b, limit);
}

// A layer on arrays. Immutable, so safe from several threads.
class NativePlan {
 public:
  NativePlan(const std::string& name, const py::tuple& fields, const py::object& w,
             const py::object& bias, int64_t activation, double a, double b, int64_t variant,
             int64_t limit)
      : layer_(make_layer(name, fields, w, bias, activation, a, b, variant, limit)),
        reads_indices_(name == "max_unpool") {}

  void run(const py::array& x, const py::object& residual, py::array& y, int threads,
           const py::object& indices) const {
    Problem call = layer_->prepared.problem();
    call.n = x.ndim() > 0 ? x.shape(0) : 0;
    call.x =
        strides_of(x, call.x_dtype, call.n, call.c, call.h, call.w, "x does not fit this plan");
    call.y =
        strides_of(y, call.x_dtype, call.n, call.k, call.p, call.q, "y does not fit this plan");
    Epilogue epilogue = layer_->epilogue;
    if (!residual.is_none()) {
      const py::array array = residual.cast<py::array>();
      call.residual = strides_of(array, call.x_dtype, call.n, call.k, call.p, call.q,
                                 "residual does not fit this plan");
      epilogue.residual = array.data();
    }
    int64_t* places = nullptr;
    const int64_t image_places =
        reads_indices_ ? call.c * call.h * call.w : call.k * call.p * call.q;
    require(!reads_indices_ || !indices.is_none(), "this plan reads indices");
    if (!indices.is_none()) {
      py::array array = indices.cast<py::array>();
      require(array.dtype().num() == py::dtype::of<int64_t>().num() &&
                  (array.flags() & py::array::c_style) && array.size() == call.n * image_places,
              "indices do not fit this plan");
      places = static_cast<int64_t*>(array.mutable_data());
    }
    const void* from = x.data();
    void* to = y.mutable_data();
    py::gil_scoped_release released;
    if (call.n > 0)
      layer_->prepared.run(call, from, to, epilogue, threads, layer_->limit, places, image_places);
  }

  py::tuple sizes() const {
    const Sizes& sizes = layer_->prepared.sizes();
    return py::make_tuple(sizes.packed, sizes.shared, sizes.scratch);
  }
  std::string variant() const { return layer_->prepared.kernel().variant; }
  const std::shared_ptr<const Layer>& layer() const { return layer_; }
  bool reads_indices() const { return reads_indices_; }

 private:
  std::shared_ptr<const Layer> layer_;
  bool reads_indices_;
};

// ---- sweeps ----

// Strides of `array` in elements along the last axes of the sweep's eight, and its sizes compared
// with those there. What is broadcast comes with its stride of 0.
void sweep_strides(const py::array& array, const Sweep& sweep, int axes, Extents& strides,
                   const char* what) {
  require(array.ndim() == axes, what);
  for (int i = 0; i < axes; ++i) {
    const int at = kSweepAxes - axes + i;
    const int64_t bytes = array.strides(i), element = array.itemsize();
    require(array.shape(i) == sweep.size[at] || sweep.table[at] >= 0, what);
    require(bytes % element == 0 || array.shape(i) <= 1, what);
    strides[at] = array.shape(i) <= 1 ? 0 : bytes / element;
  }
}

// Appends an axis's table, in elements; -1 in `indices` is the fill.
void add_table(const py::array& indices, int64_t size, int64_t stride, int64_t limit,
               std::vector<int64_t>& tables) {
  require(indices.dtype().num() == py::dtype::of<int64_t>().num() && indices.ndim() == 1 &&
              indices.shape(0) == size && (indices.flags() & py::array::c_style),
          "a table is a contiguous vector of int64, one for each index of y");
  const int64_t* values = static_cast<const int64_t*>(indices.data());
  for (int64_t i = 0; i < size; ++i) {
    require(values[i] >= -1 && values[i] < limit, "a table leads outside its axis");
    tables.push_back(values[i] < 0 ? kFill : values[i] * stride);
  }
}

// One sweep over y's axes and, for reductions, `reduced` more that only `a` has.
std::shared_ptr<const PreparedSweep> make_sweep(const std::string& name, int64_t function,
                                                const py::array& a, const py::object& b,
                                                const py::array& y, const py::list& axis_tables,
                                                int64_t reduced, uint64_t fill, int64_t activation,
                                                double alpha, double beta) {
  const int axes = int(y.ndim()) + int(reduced);
  require(reduced >= 0 && axes <= kSweepAxes, "a sweep has at most 8 axes");
  require(a.itemsize() == y.itemsize() && (name == "copy" || a.dtype().num() == y.dtype().num()),
          "a and y have one dtype");
  Sweep sweep{};
  sweep.function = function, sweep.reduced = reduced, sweep.fill = fill;
  sweep.activation = activation, sweep.alpha = alpha, sweep.beta = beta;
  if (name == "copy") {
    sweep.dtype = y.itemsize();
  } else {
    require(has_dtype(y, kFloat32) || has_dtype(y, kFloat64), "a sweep computes with floats");
    sweep.dtype = has_dtype(y, kFloat64) ? kFloat64 : kFloat32;
  }
  for (int i = 0; i < kSweepAxes; ++i) sweep.size[i] = 1, sweep.table[i] = -1;
  for (int i = 0; i < axes; ++i) {
    sweep.size[kSweepAxes - axes + i] =
        i < int(y.ndim()) ? y.shape(i) : (int(a.ndim()) == axes ? a.shape(i) : 0);
    require(sweep.size[kSweepAxes - axes + i] > 0, "a sweep is over at least one element");
  }
  if (reduced == 0) {
    sweep_strides(y, sweep, axes, sweep.y, "y does not fit");
  } else {
    require(name == "reduce", "only reductions have reduced axes");
    for (int i = 0; i < int(y.ndim()); ++i) {
      require(y.strides(i) % y.itemsize() == 0 || y.shape(i) <= 1, "y does not fit");
      sweep.y[kSweepAxes - axes + i] = y.shape(i) <= 1 ? 0 : y.strides(i) / y.itemsize();
    }
  }
  std::vector<int64_t> tables;
  for (int i = 0; i < int(axis_tables.size()); ++i)
    if (!axis_tables[size_t(i)].is_none()) sweep.table[kSweepAxes - axes + i] = 0;
  require(axis_tables.empty() || (name == "copy" && int(axis_tables.size()) == axes),
          "copies have a table or None for each axis");
  sweep_strides(a, sweep, axes, sweep.a, "a does not fit");
  for (int i = 0; i < int(axis_tables.size()); ++i) {
    const int at = kSweepAxes - axes + i;
    if (sweep.table[at] < 0) continue;
    sweep.table[at] = int64_t(tables.size());
    add_table(axis_tables[size_t(i)].cast<py::array>(), sweep.size[at], sweep.a[at], a.shape(i),
              tables);
  }
  if (b.is_none()) {
    require(name != "elementwise" || function == kFirst, "this function has two arguments");
    for (int i = 0; i < kSweepAxes; ++i) sweep.b[i] = sweep.a[i];
  } else {
    const py::array array = b.cast<py::array>();
    require(array.dtype().is(y.dtype()), "b and y have one dtype");
    sweep_strides(array, sweep, axes, sweep.b, "b does not fit");
  }
  return std::make_shared<const PreparedSweep>(name, sweep, std::move(tables));
}

void run_sweep(const std::string& name, int64_t function, const py::array& a, const py::object& b,
               py::array& y, const py::list& axis_tables, int64_t reduced, uint64_t fill,
               int64_t activation, double alpha, double beta, int threads) {
  const auto sweep =
      make_sweep(name, function, a, b, y, axis_tables, reduced, fill, activation, alpha, beta);
  const void* from_a = a.data();
  const void* from_b = b.is_none() ? nullptr : b.cast<py::array>().data();
  void* to = y.mutable_data();
  py::gil_scoped_release released;
  sweep->run(from_a, from_b, to, threads);
}

// A sweep that a program runs: made from arrays of the right sizes and strides, whose memory is
// never touched.
class NativeSweep {
 public:
  NativeSweep(const std::string& name, int64_t function, const py::array& a, const py::object& b,
              const py::array& y, const py::list& tables, int64_t reduced, uint64_t fill,
              int64_t activation, double alpha, double beta)
      : sweep_(
            make_sweep(name, function, a, b, y, tables, reduced, fill, activation, alpha, beta)) {}
  const std::shared_ptr<const PreparedSweep>& sweep() const { return sweep_; }

 private:
  std::shared_ptr<const PreparedSweep> sweep_;
};

// (kind, index, offset in bytes), or None.
Place place_from(const py::object& place) {
  if (place.is_none()) return {Place::kNone, 0, 0};
  const py::tuple numbers = place.cast<py::tuple>();
  return {numbers[0].cast<int64_t>(), numbers[1].cast<int64_t>(), numbers[2].cast<int64_t>()};
}

// A compiled network. Python planned where everything lies (convkit/graph/memory.py); the sizes of
// the arrays that come with a call are checked there too.
class NativeProgram {
 public:
  NativeProgram(const py::list& steps, const py::list& constants, int64_t arena_bytes)
      : constants_(constants), program_(make(steps, constants, arena_bytes)) {}

  void run(const py::list& inputs, const py::list& outputs, int threads) const {
    execute(inputs, outputs, threads, nullptr);
  }
  std::vector<double> profile(const py::list& inputs, const py::list& outputs, int threads) const {
    std::vector<double> seconds(program_.steps().size());
    execute(inputs, outputs, threads, seconds.data());
    return seconds;
  }

 private:
  static Program make(const py::list& steps, const py::list& constants, int64_t arena_bytes) {
    std::vector<Step> made;
    for (const py::handle& each : steps) made.push_back(step_from(each.cast<py::tuple>()));
    std::vector<const void*> addresses;
    for (const py::handle& each : constants) addresses.push_back(each.cast<py::array>().data());
    return Program(std::move(made), std::move(addresses), arena_bytes);
  }

  // (sweep, a, b, y), or (plan or (name, problem, activation, a, b, limit), n, 12 strides, x,
  // residual, y, w, bias, places, how these count: nothing or the first five of Counting)
  static Step step_from(const py::tuple& given) {
    Step step{};
    bool reads_places = false;
    if (py::isinstance<NativeSweep>(given[0])) {
      step.sweep = given[0].cast<const NativeSweep&>().sweep();
      step.x = place_from(given[1]);
      step.residual = place_from(given[2]);
      step.y = place_from(given[3]);
      return step;
    }
    if (py::isinstance<NativePlan>(given[0])) {
      step.layer = given[0].cast<const NativePlan&>().layer();
      reads_places = given[0].cast<const NativePlan&>().reads_indices();
      step.kernel = &step.layer->prepared.kernel();
      step.call = step.layer->prepared.problem();
    } else {
      const py::tuple made = given[0].cast<py::tuple>();
      step.call = problem_from(made[1].cast<py::tuple>());
      step.kernel = &kernel_for(made[0].cast<std::string>(), step.call);
      step.activation = made[2].cast<int64_t>();
      step.a = made[3].cast<double>();
      step.b = made[4].cast<double>();
      step.limit = made[5].cast<int64_t>();
    }
    step.call.n = given[1].cast<int64_t>();
    const py::tuple strides = given[2].cast<py::tuple>();
    require(int(strides.size()) == kStrideFields, "a step has 12 strides");
    int64_t* field = reinterpret_cast<int64_t*>(&step.call) + kProblemFields - kStrideFields;
    for (const py::handle& value : strides) *field++ = value.cast<int64_t>();
    step.x = place_from(given[3]);
    step.residual = place_from(given[4]);
    step.y = place_from(given[5]);
    step.w = place_from(given[6]);
    step.bias = place_from(given[7]);
    step.indices = place_from(given[8]);
    const py::tuple counting = given[9].cast<py::tuple>();
    if (counting.size() == 5)
      step.counting = {counting[0].cast<int64_t>(),      counting[1].cast<int64_t>(),
                       counting[2].cast<int64_t>(),      counting[3].cast<int64_t>() != 0,
                       counting[4].cast<int64_t>() != 0, reads_places};
    return step;
  }

  void execute(const py::list& inputs, const py::list& outputs, int threads,
               double* seconds) const {
    std::vector<const void*> from;
    std::vector<void*> to;
    for (const py::handle& each : inputs) from.push_back(each.cast<py::array>().data());
    for (const py::handle& each : outputs) to.push_back(each.cast<py::array>().mutable_data());
    py::gil_scoped_release released;
    program_.run(from, to, threads, seconds);
  }

  py::list constants_;  // keeps the memory that the program reads
  Program program_;
};

py::tuple sizes_of(const std::string& name, const py::tuple& fields, int64_t variant) {
  const Problem problem = problem_from(fields);
  const Sizes sizes = kernel_for(name, problem, variant).sizes(problem);
  return py::make_tuple(sizes.packed, sizes.shared, sizes.scratch);
}

// (phases, items of each) of one image.
py::list items_of(const std::string& name, const py::tuple& fields, int64_t variant) {
  const Problem problem = problem_from(fields);
  const Kernel& kernel = kernel_for(name, problem, variant);
  py::list items;
  for (int64_t phase = 0; phase < kernel.phases; ++phase)
    items.append(kernel.items(problem, phase));
  return items;
}

py::list variants(const std::string& name) {
  const Variants& table = variants_of(name);
  py::list all;
  for (int64_t i = 0; i < table.count; ++i)
    all.append(py::make_tuple(table.kernels[i].variant, table.kernels[i].dtype,
                              table.kernels[i].x_layout, table.kernels[i].y_layout));
  return all;
}

}  // namespace
}  // namespace convkit

PYBIND11_MODULE(_convkit, m) {
  using namespace convkit;
  m.doc() = "The kernels of convkit. Private: use the package.";
  m.attr("PROBLEM_FIELDS") = kProblemFields - kStrideFields;
  m.attr("NO_LIMIT") = std::numeric_limits<int64_t>::max();
#if defined(__SANITIZE_ADDRESS__)
  m.attr("SANITIZED") = true;
#else
  m.attr("SANITIZED") = false;
#endif

  m.def("built_isas", &built_isas);
  m.def("available_isas", &available_isas);
  m.def("current_isa", &current_isa);
  m.def("select_isa", &select_isa, py::arg("name"));
  m.def("available_threads", &available_threads, py::arg("root") = "");
  m.def("has_cpu_quota", &has_cpu_quota);
  m.def("cpu_quota", &cpu_quota, py::arg("root") = "");
  m.def("set_spin_microseconds", &set_spin_microseconds, py::arg("microseconds"));
  m.def("workers", [] {
    const Workers workers = count_workers();
    return py::make_tuple(workers.started, workers.asleep);
  });
  m.def("threads_that_meet", &threads_that_meet, py::arg("threads"), py::arg("seconds"),
        py::call_guard<py::gil_scoped_release>());
  m.def("release_memory", &release_memory);
  m.def("idle_memory", &idle_memory);
  m.def("empty", &empty, py::arg("shape"), py::arg("dtype"));
  m.def("set_checking", &set_checking, py::arg("on"));

  m.def("algorithms", &algorithm_names);
  m.def("operators", &operator_names);
  m.def("variants", &variants, py::arg("name"));
  m.def("sizes", &sizes_of, py::arg("name"), py::arg("problem"), py::arg("variant") = -1);
  m.def("items", &items_of, py::arg("name"), py::arg("problem"), py::arg("variant") = -1);

  m.def("sweeps", &sweep_names);
  m.def("sweep", &run_sweep, py::arg("name"), py::arg("function"), py::arg("a").noconvert(),
        py::arg("b"), py::arg("y").noconvert(), py::arg("tables"), py::arg("reduced"),
        py::arg("fill"), py::arg("activation"), py::arg("alpha"), py::arg("beta"),
        py::arg("threads"));

  py::class_<NativePlan>(m, "Plan")
      .def(py::init<const std::string&, const py::tuple&, const py::object&, const py::object&,
                    int64_t, double, double, int64_t, int64_t>(),
           py::arg("name"), py::arg("problem"), py::arg("w"), py::arg("bias"),
           py::arg("activation"), py::arg("a"), py::arg("b"), py::arg("variant"), py::arg("limit"))
      .def("run", &NativePlan::run, py::arg("x").noconvert(), py::arg("residual"),
           py::arg("y").noconvert(), py::arg("threads"), py::arg("indices") = py::none())
      .def_property_readonly("sizes", &NativePlan::sizes)
      .def_property_readonly("variant", &NativePlan::variant);

  py::class_<NativeSweep>(m, "Sweep")
      .def(
          py::init<const std::string&, int64_t, const py::array&, const py::object&,
                   const py::array&, const py::list&, int64_t, uint64_t, int64_t, double, double>(),
          py::arg("name"), py::arg("function"), py::arg("a").noconvert(), py::arg("b"),
          py::arg("y").noconvert(), py::arg("tables"), py::arg("reduced"), py::arg("fill"),
          py::arg("activation"), py::arg("alpha"), py::arg("beta"));
  py::class_<NativeProgram>(m, "Program")
      .def(py::init<const py::list&, const py::list&, int64_t>(), py::arg("steps"),
           py::arg("constants"), py::arg("arena_bytes"))
      .def("run", &NativeProgram::run, py::arg("inputs"), py::arg("outputs"), py::arg("threads"))
      .def("profile", &NativeProgram::profile, py::arg("inputs"), py::arg("outputs"),
           py::arg("threads"));
}
