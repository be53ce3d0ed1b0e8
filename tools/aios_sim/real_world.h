// A scenario on the sockets of this machine: every host is the loopback
// address, time is real.

#ifndef AIOS_TOOLS_AIOS_SIM_REAL_WORLD_H_
#define AIOS_TOOLS_AIOS_SIM_REAL_WORLD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "aios/address.h"
#include "aios/kernel.h"
#include "aios/wait_state_collection.h"
#include "sim/scenario.h"
#include "sim/scenario_runner.h"

namespace aios {

class RealWorld final : public sim::ScenarioWorld {
 public:
  // `kernel` must outlive it.
  RealWorld(Kernel& kernel, const sim::Scenario& scenario);

  Nanoseconds now() override { return kernel_.Now(); }
  Kernel& kernel(sim::ScenarioIndex) override { return kernel_; }
  IpAddress address(sim::ScenarioIndex, Family family) override {
    return IpAddress::Loopback(family);
  }
  std::shared_ptr<WaitStateCollection> MakeCollection(
      sim::ScenarioIndex host, WaitStateCollectionOptions options) override;
  bool own_ports() const override { return false; }
  Nanoseconds later_max() const override;
  Nanoseconds earlier_max() const override { return earlier_max_; }

  void At(Nanoseconds time, absl::AnyInvocable<void()> function) override;
  void Poll(absl::AnyInvocable<Nanoseconds()> turn) override;
  std::string RunUntil(absl::FunctionRef<bool()> done,
                       Nanoseconds time) override;
  void ResetConnection(sim::ScenarioIndex host, Handle handle) override;

 private:
  Kernel& kernel_;
  Nanoseconds earlier_max_ = 0;
  // One for all hosts: there is one thread to wait in.
  std::shared_ptr<WaitStateCollection> collection_;
  std::map<std::pair<Nanoseconds, uint64_t>, absl::AnyInvocable<void()>>
      functions_;
  uint64_t next_number_ = 0;
  std::vector<absl::AnyInvocable<Nanoseconds()>> polled_;
};

}  // namespace aios

#endif  // AIOS_TOOLS_AIOS_SIM_REAL_WORLD_H_
