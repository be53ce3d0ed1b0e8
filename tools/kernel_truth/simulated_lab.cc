#include <cstdint>
#include <memory>
#include <set>

#include "absl/time/time.h"
#include "sim/raw_sockets.h"
#include "sim/simulation.h"
#include "tools/kernel_truth/lab.h"

namespace aios::kernel_truth {

namespace {

// Streams arrive cut at random: so many segments in a million.
constexpr uint32_t kSplit = 300'000;

class SimulatedLab final : public Lab {
 public:
  explicit SimulatedLab(uint64_t seed)
      : simulation_({.seed = seed, .faults = {.split = kSplit}}),
        host_(simulation_.AddHost("host")) {}

  Kernel& kernel() override { return host_.kernel(); }

  // Longer than an acknowledgement is put off, shorter than anything is tried
  // again.
  void Settle() override { simulation_.RunFor(absl::Milliseconds(50)); }

  void Reset(Handle handle) override {
    sim::RawSockets(host_).CloseWithReset(handle);
  }

  void ForbidHandles() override {
    host_.SetDescriptorsMax(host_.descriptors_open());
  }

  void AllowHandles() override { host_.SetDescriptorsMax(65536); }

  std::set<uint16_t>& used_ports() override { return used_ports_; }

 private:
  sim::Simulation simulation_;
  sim::Host& host_;
  std::set<uint16_t> used_ports_;
};

}  // namespace

std::unique_ptr<Lab> MakeSimulatedLab(uint64_t seed) {
  return std::make_unique<SimulatedLab>(seed);
}

}  // namespace aios::kernel_truth
