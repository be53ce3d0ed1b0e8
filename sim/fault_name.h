// The names of faults, for people and files.

#ifndef AIOS_SIM_FAULT_NAME_H_
#define AIOS_SIM_FAULT_NAME_H_

#include <string_view>

#include "sim/network_options.h"

namespace aios::sim {

// "loss", "short read", …
std::string_view FaultName(Fault fault);

}  // namespace aios::sim

#endif  // AIOS_SIM_FAULT_NAME_H_
