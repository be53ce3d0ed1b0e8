// Prints the hashes of the traces of fixed simulations, a line for each seed,
// so that they can be compared: with the committed ones, with those of another
// process, of another compiler, of other options.
//
//   bazel run //tests/sim:hashes > tests/sim/hashes.txt     after a change of
//                                                           the simulator
//   hashes kernel 1 20       "kernel SEED HASH" for the seeds
//   hashes states 1 20       the same of a program made of aios' states
//   hashes repeat SEED N     runs it N times; the first hash and each hundredth

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "sim/simulation.h"
#include "tests/sim/kernel_workload.h"
#include "tests/sim/state_workload.h"

namespace aios::test {
namespace {

using ull = unsigned long long;

uint64_t RunStates(uint64_t seed) {
  sim::FaultRates faults;
  faults.loss = faults.reordering = faults.short_read = faults.short_write =
      faults.would_block = faults.spurious = faults.interrupt = faults.split =
          faults.join = 20'000;
  sim::Simulation simulation({.seed = seed, .faults = faults});
  StateWorkload workload(simulation);
  workload.Run();
  return simulation.trace_hash();
}

void Print(const char* name, uint64_t (*run)(uint64_t), uint64_t first,
           uint64_t last) {
  for (uint64_t seed = first; seed <= last; ++seed) {
    std::printf("%s %llu %016llx\n", name, static_cast<ull>(seed),
                static_cast<ull>(run(seed)));
  }
}

uint64_t RunKernel(uint64_t seed) { return RunKernelWorkload(seed); }

int Main(int argc, char** argv) {
  if (argc == 1) {
    Print("kernel", RunKernel, 1, 20);
    return 0;
  }
  if (argc != 4) {
    std::fprintf(stderr, "hashes [kernel|states FIRST LAST | repeat SEED N]\n");
    return 2;
  }
  uint64_t a = std::strtoull(argv[2], nullptr, 10);
  uint64_t b = std::strtoull(argv[3], nullptr, 10);
  std::string_view what = argv[1];
  if (what == "kernel") {
    Print("kernel", RunKernel, a, b);
  } else if (what == "states") {
    Print("states", RunStates, a, b);
  } else {
    for (uint64_t i = 1; i <= b; ++i) {
      uint64_t hash = RunKernelWorkload(a);
      if (i != 1 && i % 100 != 0) continue;
      std::printf("%llu %016llx\n", static_cast<ull>(i),
                  static_cast<ull>(hash));
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace
}  // namespace aios::test

int main(int argc, char** argv) { return aios::test::Main(argc, argv); }
