#include "isa.h"

#include <algorithm>
#include <stdexcept>

#include "kernel_list.h"

namespace convkit {
namespace {

bool runs_here(const std::string& isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (isa == "avx512")
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return isa == "baseline" || isa == "neon";
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string& selected() {
  static std::string isa = available_isas().empty() ? "none" : available_isas().front();
  return isa;
}

}  // namespace

std::vector<std::string> built_isas() {
  std::vector<std::string> isas;
#define CK_ISA(name) isas.push_back(#name);
  CONVKIT_ISAS(CK_ISA)
#undef CK_ISA
  return isas;
}

std::vector<std::string> available_isas() {
  std::vector<std::string> isas = built_isas();
  isas.erase(std::remove_if(isas.begin(), isas.end(),
                            [](const std::string& isa) { return !runs_here(isa); }),
             isas.end());
  return isas;
}

const std::string& current_isa() { return selected(); }

void select_isa(const std::string& name) {
  const std::vector<std::string> isas = available_isas();
  if (std::find(isas.begin(), isas.end(), name) == isas.end())
    throw std::invalid_argument(
        "'" + name + "' is no instruction set of this build and processor: expected one of " +
        joined(isas));
  selected() = name;
}

}  // namespace convkit
