// Runs the cases of a file, written by run.py, through every variant of the algorithm each one
// names, and compares: for processors that are emulated and have no Python.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "dispatch.h"
#include "isa.h"

namespace {

using convkit::Problem;

constexpr int kStrideFields = 12;  // the last fields of Problem are what a call adds
constexpr int64_t kGuard = 64;     // elements before and after y that must keep their value
constexpr double kGuardValue = 12345.0;

// One case as run.py writes it, everything in 8 bytes.
struct Case {
  std::string algorithm, label;
  Problem problem;
  int64_t activation;
  double a, b;
  std::vector<double> x, w, bias, residual, expected, bound;
};

class Reader {
 public:
  explicit Reader(const char* path) : file_(std::fopen(path, "rb")) {
    if (!file_) throw std::runtime_error(std::string("cannot read ") + path);
  }
  ~Reader() { std::fclose(file_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  int64_t integer() {
    int64_t value;
    bytes(&value, sizeof value);
    return value;
  }
  double real() {
    double value;
    bytes(&value, sizeof value);
    return value;
  }
  std::string text() {
    std::string value(size_t(integer()), ' ');
    bytes(&value[0], value.size());
    return value;
  }
  std::vector<double> vector() {
    std::vector<double> values(static_cast<size_t>(integer()));
    bytes(values.data(), values.size() * sizeof(double));
    return values;
  }
  Case next() {
    Case one{};
    one.algorithm = text();
    one.label = text();
    int64_t* field = reinterpret_cast<int64_t*>(&one.problem);
    for (int i = 0; i < convkit::kProblemFields - kStrideFields; ++i) field[i] = integer();
    one.activation = integer();
    one.a = real();
    one.b = real();
    for (auto* values : {&one.x, &one.w, &one.bias, &one.residual, &one.expected, &one.bound})
      *values = vector();
    return one;
  }

 private:
  void bytes(void* to, size_t count) {
    if (std::fread(to, 1, count, file_) != count) throw std::runtime_error("the file ends early");
  }
  std::FILE* file_;
};

template <class T>
std::vector<T> converted(const std::vector<double>& values) {
  return std::vector<T>(values.begin(), values.end());
}

// Empty where the kernel's answer on one thread is within the bound and has the same bits on three.
template <class T>
std::string fault_of(const Case& one, const convkit::Kernel& kernel) {
  const std::vector<T> x = converted<T>(one.x), w = converted<T>(one.w);
  const std::vector<T> bias = converted<T>(one.bias), residual = converted<T>(one.residual);
  Problem problem = one.problem;
  const convkit::Prepared prepared(kernel, problem, w.data());
  problem.x = {problem.c * problem.h * problem.w, problem.h * problem.w, problem.w, 1};
  problem.y = {problem.k * problem.p * problem.q, problem.p * problem.q, problem.q, 1};
  problem.residual = problem.y;
  convkit::Epilogue epilogue{};
  epilogue.bias = bias.empty() ? nullptr : bias.data();
  epilogue.residual = residual.empty() ? nullptr : residual.data();
  epilogue.activation = one.activation;
  epilogue.a = one.a;
  epilogue.b = one.b;

  const size_t size = one.expected.size();
  std::vector<T> first;
  for (const int threads : {1, 3}) {
    std::vector<T> y(size + 2 * kGuard, T(kGuardValue));
    std::fill(y.begin() + kGuard, y.end() - kGuard, std::numeric_limits<T>::quiet_NaN());
    prepared.run(problem, x.data(), y.data() + kGuard, epilogue, threads,
                 std::numeric_limits<int64_t>::max());
    for (size_t i = 0; i < size; ++i) {
      const double got = double(y[i + kGuard]);
      if (!(std::fabs(got - one.expected[i]) <= one.bound[i]))
        return "y[" + std::to_string(i) + "] is " + std::to_string(got) + ", expected " +
               std::to_string(one.expected[i]) + " to " + std::to_string(one.bound[i]);
    }
    for (int64_t i = 0; i < kGuard; ++i)
      if (y[size_t(i)] != T(kGuardValue) || y[y.size() - 1 - size_t(i)] != T(kGuardValue))
        return "wrote outside y";
    if (first.empty()) first = y;
    if (std::memcmp(first.data(), y.data(), y.size() * sizeof(T)) != 0)
      return "other bits on " + std::to_string(threads) + " threads";
  }
  return "";
}

int run(const char* path) {
  convkit::set_checking(true);
  Reader reader(path);
  const int64_t cases = reader.integer();
  int64_t ran = 0, failed = 0;
  for (int64_t i = 0; i < cases; ++i) {
    const Case one = reader.next();
    const convkit::Variants& table = convkit::variants_of(one.algorithm);
    for (int64_t v = 0; v < table.count; ++v) {
      const convkit::Kernel& kernel = table.kernels[v];
      if (kernel.dtype != one.problem.x_dtype || kernel.x_layout != convkit::kNchw ||
          kernel.y_layout != convkit::kNchw)
        continue;
      const std::string fault = kernel.dtype == convkit::kFloat64 ? fault_of<double>(one, kernel)
                                                                  : fault_of<float>(one, kernel);
      ++ran;
      if (fault.empty()) continue;
      ++failed;
      std::printf("FAILED %s, %s, %s: %s\n", one.algorithm.c_str(), kernel.variant,
                  one.label.c_str(), fault.c_str());
    }
  }
  std::printf("%s: %lld passed, %lld failed\n", convkit::current_isa().c_str(),
              static_cast<long long>(ran - failed), static_cast<long long>(failed));
  return failed > 0 || ran == 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: driver CASES\n");
    return 2;
  }
  try {
    return run(arguments[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "driver: %s\n", error.what());
    return 1;
  }
}
