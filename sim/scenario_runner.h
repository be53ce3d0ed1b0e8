// Runs a scenario: on the simulated network, or on another world that it is
// given, such as the sockets of a real kernel.

#ifndef AIOS_SIM_SCENARIO_RUNNER_H_
#define AIOS_SIM_SCENARIO_RUNNER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "aios/address.h"
#include "aios/kernel.h"
#include "aios/wait_state_collection.h"
#include "sim/choice.h"
#include "sim/network_options.h"
#include "sim/recording.h"
#include "sim/scenario.h"
#include "sim/simulation.h"
#include "sim/trace.h"

namespace aios::sim {

// What became of the operation of a step.
struct ScenarioRow {
  ScenarioIndex step = kNone;
  std::string operation;  // "alice: read_buffer 10"
  std::string expected;
  uint32_t started = 0;  // how many of them
  uint32_t ended = 0;
  // Since the first step's zero; of the last one, when there are several.
  Nanoseconds started_at = 0;
  Nanoseconds ended_at = 0;
  // "ok", "ECONNRESET", "refused: failed_precondition"; empty while neither.
  std::string status;
  uint64_t count = 0;
  bool truncated = false;
  bool as_expected = true;
};

struct ScenarioResult {
  // "file:line:column: what happened instead", in the order of events.
  std::vector<std::string> failures;
  // Those of them that the simulation's own checks have found, whatever the
  // scenario expects.
  std::vector<std::string> violations;
  std::vector<ScenarioRow> rows;
  // With failures: every host's sockets, and the tail of the trace.
  std::string report;
  Nanoseconds time = 0;
  uint64_t events = 0;
  uint64_t hash = 0;
  std::array<FaultCount, static_cast<size_t>(Fault::kCount)> faults = {};
  // When asked for.
  std::vector<Choice> choices;
  std::vector<TraceEvent> trace;
  std::unique_ptr<Recording> recording;
  // The first step's zero, in the time of the recording.
  Nanoseconds zero = 0;

  bool passed() const { return failures.empty(); }
};

struct ScenarioRunOptions {
  uint64_t seed = 1;
  // Choices that are not to be drawn.
  std::vector<Choice> choices = {};
  // Keeps the choices and the whole trace.
  bool record = false;
  // Keeps the recording, for the exports.
  bool draw = false;
};

// On the simulated network. The same options give the same result.
ScenarioResult RunScenario(const Scenario& scenario,
                           const ScenarioRunOptions& options = {});

// Where a scenario runs. One run, one world.
class ScenarioWorld {
 public:
  virtual ~ScenarioWorld() = default;

  // Null on real kernels.
  virtual Simulation* simulation() { return nullptr; }

  virtual Nanoseconds now() = 0;
  virtual Kernel& kernel(ScenarioIndex host) = 0;
  virtual IpAddress address(ScenarioIndex host, Family family) = 0;
  // Hosts may share one.
  virtual std::shared_ptr<WaitStateCollection> MakeCollection(
      ScenarioIndex host, WaitStateCollectionOptions options) = 0;
  // Whether ports are what the scenario says, and not any that are free.
  virtual bool own_ports() const = 0;
  // How much later than in the simulation something may happen, and how much
  // earlier.
  virtual Nanoseconds later_max() const { return 0; }
  virtual Nanoseconds earlier_max() const { return 0; }

  // Calls `function` at that time, not inside this call.
  virtual void At(Nanoseconds time, absl::AnyInvocable<void()> function) = 0;
  // Calls `turn` now and again, when the kernel does not drive pollers itself.
  virtual void Poll(absl::AnyInvocable<Nanoseconds()> turn) = 0;
  // Until `done`, or that time. Returns a report when it went wrong.
  virtual std::string RunUntil(absl::FunctionRef<bool()> done,
                               Nanoseconds time) = 0;
  // Closes the connection with RST.
  virtual void ResetConnection(ScenarioIndex host, Handle handle) = 0;
};

ScenarioResult RunScenarioIn(const Scenario& scenario, ScenarioWorld& world);

// What only the simulated network can do of this scenario, each with the
// reason.
struct SimulatedOnly {
  // Without these the scenario makes no sense: it is skipped as a whole.
  std::vector<std::string> whole;
  // These are left out.
  std::vector<std::string> parts;
};
SimulatedOnly WhatOnlySimulationCan(const Scenario& scenario);

}  // namespace aios::sim

#endif  // AIOS_SIM_SCENARIO_RUNNER_H_
