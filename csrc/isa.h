// The instruction sets this library was built for, and which of them this processor runs.
#pragma once
#include <string>
#include <vector>

namespace convkit {

std::vector<std::string> built_isas();      // best first
std::vector<std::string> available_isas();  // those of them that run here, best first

// The ISA whose kernels are used: the best available one until select_isa names another.
const std::string& current_isa();
// Throws std::invalid_argument for a name that is not available.
void select_isa(const std::string& name);

}  // namespace convkit
