// A simulated network with virtual time.
//
//   sim::Simulation simulation({.seed = 7});
//   sim::Host& server = simulation.AddHost("server");
//   sim::Host& client = simulation.AddHost("client");
//   auto collection = MakeWaitStateCollection(server.kernel()).value();
//   …                      // the same code as on a real kernel
//   EXPECT_TRUE(simulation.RunUntil([&] { return done; }));
//
// The simulation runs every collection that was made on one of its kernels, on
// the thread that calls `Run…`. Time only moves when no host has anything to
// do. Everything that happens follows from the seed: the same seed, program and
// options give the same trace, in every process.
//
// A collection may also be driven by hand (`Wait`, `Call`, `Loop`): a `Wait`
// lets the rest of the world go on, for as long as it has to sleep, and for a
// microsecond when it has not.

#ifndef AIOS_SIM_SIMULATION_H_
#define AIOS_SIM_SIMULATION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "aios/address.h"
#include "aios/kernel.h"
#include "sim/choice.h"
#include "sim/event_queue.h"
#include "sim/network_options.h"
#include "sim/packet.h"
#include "sim/recording.h"
#include "sim/trace.h"

namespace aios::sim {

class Host;
class NameServer;
class SimKernel;
class SimPoller;
class Simulation;
class TcpEndpoint;

struct SimulationOptions {
  uint64_t seed = 1;
  // Of every pair of hosts, unless `SetLink` says otherwise.
  LinkOptions link = {};
  FaultRates faults = {};
  // Lets chance decide which of the events of one moment comes first, and the
  // order and number of the reports of a wait.
  bool shuffle = true;
  // The realtime clock at the start.
  absl::Time start = absl::FromUnixSeconds(1'700'000'000);
  // Turns of one collection at one moment, before it is called a livelock.
  int turns_at_one_moment_max = 10'000;
};

struct HostOptions {
  // Added to the addresses that every host gets: 10.x.y.z, fd00::n, and fe80::n
  // of its interface. The networks are 10/8 and fd00::/64; what lies outside of
  // them has a route, too, at whose end nobody is unless a host has the
  // address.
  std::vector<IpAddress> addresses = {};
  // Sockets and pollers that may be open at a time; one more is EMFILE.
  int descriptors_max = 65536;
  // The ports for sockets that were not bound to one.
  uint16_t ephemeral_port_first = 32768;
  uint16_t ephemeral_port_last = 60999;
  // Whether the faults of kernel calls (`FaultRates`) hit this host's programs.
  bool faulty_calls = true;
  // Of its realtime clock.
  absl::Duration clock_offset = absl::ZeroDuration();
  int64_t clock_drift_per_million = 0;
};

// A fault that is in force while this lives.
class [[nodiscard]] Rule {
 public:
  Rule() = default;
  Rule(Rule&& other) noexcept;
  Rule& operator=(Rule&& other) noexcept;
  ~Rule() { Lift(); }
  // Ends it now.
  void Lift();

 private:
  friend class Simulation;
  Rule(Simulation* simulation, uint64_t id)
      : simulation_(simulation), id_(id) {}
  Simulation* simulation_ = nullptr;
  uint64_t id_ = 0;
};

enum class StopReason : uint8_t {
  kDone,       // the condition holds, or the duration has passed
  kIdle,       // nothing is left to do
  kTimeLimit,  // of the run
  kTurnLimit,
  kLivelock,
};

struct RunLimits {
  // Virtual time that a `RunUntil` or `RunUntilIdle` may take.
  absl::Duration time_max = absl::Hours(1);
  uint64_t events_max = 1'000'000'000;
  // Whether a run that does not get there says what was pending. Without it
  // only a livelock is reported, and the reason tells the others.
  bool report = true;
};

struct RunResult {
  StopReason reason = StopReason::kDone;
  // When it did not end as wanted: what was still pending, for people.
  std::string report = {};
  explicit operator bool() const { return report.empty(); }
};

class Simulation {
 public:
  explicit Simulation(SimulationOptions options = {});
  // Collections must not outlive it: declare it first.
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  // The simulation owns its hosts. Names are unique.
  Host& AddHost(std::string_view name, HostOptions options = {});
  Host* FindHost(std::string_view name);
  const std::vector<std::unique_ptr<Host>>& hosts() const { return hosts_; }

  // ---- Running.

  // Until the duration has passed. Idle time passes, too.
  RunResult RunFor(absl::Duration duration);
  // Until `condition` holds, which is looked at after every event. Not to get
  // there is a failure, with a report.
  RunResult RunUntil(absl::FunctionRef<bool()> condition,
                     RunLimits limits = {});
  // Until nothing is left to do: no packet in flight, no deadline set.
  RunResult RunUntilIdle(RunLimits limits = {});

  // Calls `function` as code of the simulation although it does not run: the
  // clocks show virtual time to it, and the randomness that it draws follows
  // from the seed. The body of a SIMULATED_TEST is called so.
  void CallInside(absl::FunctionRef<void()> function);

  // Calls `function` at a time from now on, as an event of the world.
  void After(absl::Duration delay, absl::AnyInvocable<void()> function);

  Nanoseconds now() const { return now_; }
  uint64_t events() const { return events_done_; }

  // ---- The network and its faults.

  // The link in one direction, from the next packet on.
  void SetLink(const Host& from, const Host& to, const LinkOptions& options);
  void SetFaults(const FaultRates& rates) { options_.faults = rates; }
  const FaultRates& faults() const { return options_.faults; }

  // Drops every packet in this direction; both ways when `both`.
  Rule Partition(const Host& from, const Host& to, bool both = true);
  // Keeps packets back, those under way too; they go on, in order, when the
  // rule is lifted.
  Rule Hold(const Host& from, const Host& to, bool both = true);
  // Drops packets in this direction, so many in a million.
  Rule Lose(const Host& from, const Host& to, uint32_t per_million);
  // Drops the packets for which `drop` is true, those of a host to itself too.
  Rule DropIf(absl::AnyInvocable<bool(const Packet&)> drop);
  // Breaks every TCP connection between the two, as a firewall does: both ends
  // get RST.
  void ResetConnections(const Host& a, const Host& b);

  FaultCount fault_count(Fault fault) const {
    return fault_counts_[static_cast<size_t>(fault)];
  }
  void CountFault(Fault fault, bool effective) {
    FaultCount& count = fault_counts_[static_cast<size_t>(fault)];
    ++count.fired;
    if (effective) ++count.effective;
  }
  // Of one that was counted without, and has had its effect now.
  void CountEffect(Fault fault) {
    ++fault_counts_[static_cast<size_t>(fault)].effective;
  }

  // ---- Chance and the trace.

  uint64_t seed() const { return choices_.seed(); }
  Choices& choices() { return choices_; }
  // For tests: a number from 0 to `count` - 1.
  uint64_t Choose(uint64_t count) {
    return choices_.Below(Site::kUser, entity_, count);
  }
  // For randomness that libraries draw from the system.
  uint64_t RandomBits() { return choices_.Draw(Site::kRandomBytes, entity_); }
  // Threads that code of the simulation has started. Nothing that they do
  // follows from the seed.
  int threads_started() const { return threads_started_; }
  void CountThread() { ++threads_started_; }
  Trace& trace() { return trace_; }
  uint64_t trace_hash() const { return trace_.hash(); }

  // Every host's sockets and queues, and the tail of the trace.
  std::string Report() const;
  // What is still there and should not be when all is over: sockets, pollers,
  // packets, timers. Empty when nothing is.
  std::string Leftovers() const;

  // Keeps packets, operations and faults from now on, for the exports:
  // diagram.h, pcapng.h, perfetto.h.
  void StartRecording();
  // Null before that.
  Recording* recording() { return recording_.get(); }
  // And no more.
  std::unique_ptr<Recording> TakeRecording() { return std::move(recording_); }

  // Broken promises, found by the built-in checks (see oracle.h); of aios, or
  // of the simulator. The first ones only.
  const std::vector<std::string>& violations() const { return violations_; }
  void AddViolation(std::string text) {
    if (violations_.size() < kViolationsMax) {
      violations_.push_back(std::move(text));
    }
  }

  // The realtime clock of the host whose code runs, or one without offset.
  absl::Time Realtime() const;

  // The simulation that is running on this thread, and the host whose code
  // runs; null outside of one.
  static Simulation* Current();
  Host* current_host() const { return current_host_; }

  const SimulationOptions& options() const { return options_; }

 private:
  friend class Host;
  friend class NameServer;
  friend class Rule;
  friend class SimKernel;
  friend class SimPoller;
  friend class TcpEndpoint;

  struct Link {
    explicit Link(uint64_t id) : entity(id) {}
    LinkOptions options;
    ChoiceEntity entity;
    // The time at which the last packet leaves the queue, and arrives.
    Nanoseconds busy_until = 0;
    Nanoseconds last_arrival = 0;
    uint32_t last_tie = 0;
  };
  struct RuleState {
    enum class Kind : uint8_t { kPartition, kHold, kLose, kDropIf };
    explicit RuleState(Kind kind, uint64_t id) : kind(kind), entity(id) {}
    Kind kind = Kind::kPartition;
    uint32_t from = 0;
    uint32_t to = 0;
    bool both = false;
    uint32_t per_million = 0;
    absl::AnyInvocable<bool(const Packet&)> drop = {};
    std::vector<Packet*> held = {};
    ChoiceEntity entity;
  };

  // `entity` decides what comes first of the events of one moment.
  uint32_t Tie(ChoiceEntity& entity);
  void Schedule(Nanoseconds time, EventKind kind, uint32_t tie, void* object,
                EventPlace* place);
  // Does the next event; false when there is none, or it is later than
  // `time_max`.
  bool Step(Nanoseconds time_max);
  // `at_idle` and `at_time_max` are what it means to get there.
  RunResult Run(absl::FunctionRef<bool()> done, Nanoseconds time_max,
                const RunLimits& limits, StopReason at_idle,
                StopReason at_time_max);
  // For a `Wait` of a collection that is driven by hand.
  void SleepUntil(Nanoseconds deadline, absl::FunctionRef<bool()> awake);
  // Deletes it when nothing refers to it any more.
  void Bury(std::unique_ptr<TcpEndpoint> endpoint);
  void Forget(SimPoller& poller);
  void RunTurn(SimPoller& poller);
  // With clocks and randomness as when code of the host runs.
  void RunAs(Host& host, absl::FunctionRef<void()> function);
  RunResult Stopped(StopReason reason, bool report) const;
  RuleState& AddRule(RuleState::Kind kind, const Host* from, const Host* to,
                     bool both, Rule* rule);
  void LiftRule(uint64_t id);
  static std::string RuleName(RuleState::Kind kind);

  // The network.
  Packet* NewPacket();
  void FreePacket(Packet* packet);
  // `link` is the one between its hosts, where that is known.
  void Send(Packet* packet, Link* link = nullptr);
  bool AppliesTo(const RuleState& rule, const Packet& packet) const;
  bool StoppedByRules(Packet* packet);
  // Of rules that were made while it was under way.
  bool StoppedUnderWay(Packet* packet);
  void KeepBack(RuleState& rule, Packet* packet);
  // Sends it on its way, `late` by so much and in nobody's order if not 0.
  void Route(Packet* packet, Link& link, Nanoseconds late);
  // Drawn when a packet is late, from its link's latency.
  Nanoseconds DrawDelay(Site site, Link& link);
  bool LostOn(Link& link, const Packet& packet);
  void Deliver(Packet* packet);
  void Drop(Packet* packet, Fault fault);
  Link& LinkBetween(uint32_t from, uint32_t to);
  Nanoseconds DrawLatency(Link& link);
  Host* Owner(const IpAddress& address);
  // The number of the host that packets from `from` to `target` go to; or of
  // none.
  static constexpr uint32_t kNowhere = ~uint32_t{0};
  uint32_t HostFor(const Host& from, const IpAddress& target);

  SimulationOptions options_;
  Choices choices_;
  ChoiceEntity entity_;
  Trace trace_;
  Nanoseconds now_;
  uint64_t next_number_ = 0;
  uint64_t next_packet_ = 1;
  uint64_t next_rule_ = 1;
  uint64_t next_subject_ = 1;
  uint64_t events_done_ = 0;
  size_t packets_in_flight_ = 0;
  int threads_started_ = 0;
  EventQueue events_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::map<std::array<uint8_t, 17>, Host*> owners_;
  std::map<std::pair<uint32_t, uint32_t>, Link> links_;
  std::map<uint64_t, RuleState> rules_;
  std::map<uint64_t, SimPoller*> pollers_;
  // A turn on the stack; `poller` is null when it has gone meanwhile.
  struct TurnFrame {
    SimPoller* poller;
    TurnFrame* outer;
  };
  TurnFrame* turns_ = nullptr;
  // Ended connections whose functions may still be on the stack.
  std::vector<std::unique_ptr<TcpEndpoint>> graveyard_;
  std::vector<std::unique_ptr<Packet>> packets_;
  std::vector<Packet*> free_packets_;
  std::array<FaultCount, static_cast<size_t>(Fault::kCount)> fault_counts_ = {};
  Host* current_host_ = nullptr;
  void Mark(uint32_t host, std::string_view text) {
    if (recording_ != nullptr) recording_->OnMark(host, text, now_);
  }

  std::string livelock_;
  std::unique_ptr<Recording> recording_;
  static constexpr size_t kViolationsMax = 100;
  std::vector<std::string> violations_;
};

// One machine of the simulation.
class Host {
 public:
  ~Host();

  const std::string& name() const { return name_; }
  uint32_t index() const { return index_; }
  Simulation& simulation() const { return simulation_; }

  // What collections are made on.
  Kernel& kernel();

  IpAddress ipv4() const { return ipv4_; }
  IpAddress ipv6() const { return ipv6_; }
  // fe80::n on "eth0", which is interface 2 of every host.
  IpAddress link_local() const { return link_local_; }
  // The first two, and those of its options.
  std::vector<IpAddress> addresses() const;

  // Stops the host's programs; its kernel goes on receiving. Deadlines that
  // pass meanwhile are due at `Resume`.
  void Pause();
  void Resume();

  // Loses everything at once: sockets, pollers, packets on the way in. No peer
  // is told. Collections of that life never run again.
  void Crash();
  // After a crash. Segments of connections from before are answered with RST.
  void Restart();
  bool up() const { return up_; }
  bool paused() const { return paused_; }

  // Moves the realtime clock.
  void StepClock(absl::Duration by);
  void SetClockDrift(int64_t per_million);
  // The realtime clock.
  absl::Time Now() const;

  // Descriptors that may be open, from now on.
  void SetDescriptorsMax(int count);
  int descriptors_open() const;

  // Sockets and queues, for people.
  std::string Report() const;

 private:
  friend class RawSockets;
  friend class Simulation;
  friend class SimKernel;
  friend class SimPoller;
  friend class TcpEndpoint;

  Host(Simulation& simulation, uint32_t index, std::string_view name,
       HostOptions options);

  Simulation& simulation_;
  const uint32_t index_;
  const std::string name_;
  HostOptions options_;
  IpAddress ipv4_;
  IpAddress ipv6_;
  IpAddress link_local_;
  bool up_ = true;
  bool paused_ = false;
  Nanoseconds clock_base_ = 0;      // monotonic time of the last change
  absl::Time clock_base_realtime_;  // and the realtime then
  std::unique_ptr<SimKernel> kernel_;
};

}  // namespace aios::sim

#endif  // AIOS_SIM_SIMULATION_H_
