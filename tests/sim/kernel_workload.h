// A fixed program for simulations, made of kernel calls alone: its trace
// changes when the simulator does, and not when aios does.

#ifndef AIOS_TESTS_SIM_KERNEL_WORKLOAD_H_
#define AIOS_TESTS_SIM_KERNEL_WORKLOAD_H_

#include <cstdint>
#include <vector>

#include "sim/trace.h"

namespace aios::test {

// Three hosts that exchange streams and datagrams, over links of every kind and
// with every fault. Returns the hash of the trace, and the trace if `events` is
// given.
uint64_t RunKernelWorkload(uint64_t seed,
                           std::vector<sim::TraceEvent>* events = nullptr);

}  // namespace aios::test

#endif  // AIOS_TESTS_SIM_KERNEL_WORKLOAD_H_
