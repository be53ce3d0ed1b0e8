#include "sim/simulation.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aios/check.h"
#include "aios/duration.h"
#include "sim/sim_kernel.h"
#include "sim/tcp.h"

namespace aios::sim {

namespace {

// Well above zero: libraries read a zero as "not set".
constexpr Nanoseconds kStart = 1'000'000'000'000;

// Links and rules are not numbered like other entities: they are made when a
// test wants them, which must not move the numbers of others.
constexpr uint64_t kLinkEntities = uint64_t{1} << 56;
constexpr uint64_t kRuleEntities = uint64_t{1} << 57;

constexpr uint8_t kNetworkRank = 0;
constexpr uint8_t kProgramRank = 1;

// What a host's loopback takes.
constexpr Nanoseconds kLoopbackLatency = 10'000;

// Payloads up to this keep their memory when the packet is done with.
constexpr size_t kPayloadKeptMax = 4096;

thread_local Simulation* current = nullptr;

std::array<uint8_t, 17> OwnerKey(const IpAddress& address) {
  std::array<uint8_t, 17> key;
  IpAddress::Ipv6Bytes bytes = address.ipv6();
  std::copy(bytes.begin(), bytes.end(), key.begin());
  key[16] = static_cast<uint8_t>(address.family());
  return key;
}

// Marks the simulation that runs on this thread.
class Running {
 public:
  explicit Running(Simulation* simulation)
      : before_(std::exchange(current, simulation)) {}
  ~Running() { current = before_; }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  Simulation* before_;
};

}  // namespace

// ---- Rules.

Rule::Rule(Rule&& other) noexcept
    : simulation_(std::exchange(other.simulation_, nullptr)), id_(other.id_) {}

Rule& Rule::operator=(Rule&& other) noexcept {
  if (this != &other) {
    Lift();
    simulation_ = std::exchange(other.simulation_, nullptr);
    id_ = other.id_;
  }
  return *this;
}

void Rule::Lift() {
  if (simulation_ != nullptr) {
    std::exchange(simulation_, nullptr)->LiftRule(id_);
  }
}

std::string Simulation::RuleName(RuleState::Kind kind) {
  switch (kind) {
    case RuleState::Kind::kPartition:
      return "partition";
    case RuleState::Kind::kHold:
      return "hold";
    default:
      return "loss";
  }
}

Simulation::RuleState& Simulation::AddRule(RuleState::Kind kind,
                                           const Host* from, const Host* to,
                                           bool both, Rule* rule) {
  uint64_t id = next_rule_++;
  *rule = Rule(this, id);
  RuleState& state =
      rules_.emplace(id, RuleState(kind, kRuleEntities | id)).first->second;
  if (from != nullptr) state.from = from->index();
  if (to != nullptr) state.to = to->index();
  state.both = both;
  if (from != nullptr && recording_ != nullptr) {
    Mark(state.from, absl::StrCat(RuleName(kind), both ? " with " : " towards ",
                                  to->name()));
  }
  return state;
}

void Simulation::LiftRule(uint64_t id) {
  auto found = rules_.find(id);
  if (found == rules_.end()) return;
  std::vector<Packet*> held = std::move(found->second.held);
  if (found->second.kind != RuleState::Kind::kDropIf) {
    Mark(found->second.from, RuleName(found->second.kind) + " over");
  }
  rules_.erase(found);
  // In the order in which they were sent, wherever they were stopped.
  std::sort(held.begin(), held.end(),
            [](const Packet* a, const Packet* b) { return a->id < b->id; });
  for (Packet* packet : held) {
    if (StoppedByRules(packet)) continue;
    Route(packet, LinkBetween(packet->from, packet->to), 0);
  }
}

Rule Simulation::Partition(const Host& from, const Host& to, bool both) {
  Rule rule;
  AddRule(RuleState::Kind::kPartition, &from, &to, both, &rule);
  return rule;
}

Rule Simulation::Hold(const Host& from, const Host& to, bool both) {
  Rule rule;
  AddRule(RuleState::Kind::kHold, &from, &to, both, &rule);
  return rule;
}

Rule Simulation::Lose(const Host& from, const Host& to, uint32_t per_million) {
  Rule rule;
  AddRule(RuleState::Kind::kLose, &from, &to, false, &rule).per_million =
      per_million;
  return rule;
}

Rule Simulation::DropIf(absl::AnyInvocable<bool(const Packet&)> drop) {
  Rule rule;
  AddRule(RuleState::Kind::kDropIf, nullptr, nullptr, false, &rule).drop =
      std::move(drop);
  return rule;
}

bool Simulation::AppliesTo(const RuleState& rule, const Packet& packet) const {
  return (packet.from == rule.from && packet.to == rule.to) ||
         (rule.both && packet.from == rule.to && packet.to == rule.from);
}

bool Simulation::StoppedByRules(Packet* packet) {
  for (auto& [id, rule] : rules_) {
    switch (rule.kind) {
      case RuleState::Kind::kPartition:
        if (!AppliesTo(rule, *packet)) continue;
        Drop(packet, Fault::kPartition);
        return true;
      case RuleState::Kind::kHold:
        if (!AppliesTo(rule, *packet)) continue;
        KeepBack(rule, packet);
        return true;
      case RuleState::Kind::kLose:
        if (!AppliesTo(rule, *packet)) continue;
        if (!choices_.Chance(Site::kLoss, rule.entity, rule.per_million)) {
          continue;
        }
        Drop(packet, Fault::kLoss);
        return true;
      case RuleState::Kind::kDropIf:
        if (!rule.drop(*packet)) continue;
        Drop(packet, Fault::kLoss);
        return true;
    }
  }
  return false;
}

bool Simulation::StoppedUnderWay(Packet* packet) {
  for (auto& [id, rule] : rules_) {
    if (!AppliesTo(rule, *packet)) continue;
    if (rule.kind == RuleState::Kind::kPartition) {
      Drop(packet, Fault::kPartition);
      return true;
    }
    if (rule.kind == RuleState::Kind::kHold) {
      KeepBack(rule, packet);
      return true;
    }
  }
  return false;
}

void Simulation::KeepBack(RuleState& rule, Packet* packet) {
  trace_.Add(now_, What::kPacketHeld, packet->from, packet->id);
  CountFault(Fault::kHold, true);
  rule.held.push_back(packet);
}

void Simulation::ResetConnections(const Host& a, const Host& b) {
  bool any = false;
  for (const auto& [one, other] : {std::pair{&a, &b}, std::pair{&b, &a}}) {
    std::vector<TcpEndpoint*> endpoints;
    for (const auto& [key, endpoint] : one->kernel_->connections_) {
      if (HostFor(*one, endpoint->remote().ip()) == other->index_) {
        endpoints.push_back(endpoint);
      }
    }
    for (TcpEndpoint* endpoint : endpoints) {
      any = true;
      trace_.Add(now_, What::kReset, one->index_, endpoint->id());
      endpoint->OnPacket({.protocol = Packet::Protocol::kTcp,
                          .flags = Packet::kRst | Packet::kAck});
    }
  }
  CountFault(Fault::kReset, any);
  Mark(a.index_, "connections with " + b.name_ + " reset");
}

// ---- Packets.

Packet* Simulation::NewPacket() {
  if (free_packets_.empty()) {
    packets_.push_back(std::make_unique<Packet>());
    free_packets_.push_back(packets_.back().get());
  }
  Packet* packet = free_packets_.back();
  free_packets_.pop_back();
  packet->id = next_packet_++;
  packet->flags = 0;
  packet->corrupted = false;
  packet->sequence = 0;
  packet->acknowledged = 0;
  packet->window = 0;
  packet->source_end = 0;
  packet->target_end = 0;
  packet->seal = 0;
  packet->payload.clear();
  ++packets_in_flight_;
  return packet;
}

void Simulation::FreePacket(Packet* packet) {
  if (packet->payload.capacity() > kPayloadKeptMax) packet->payload = {};
  packet->check.reset();
  free_packets_.push_back(packet);
  --packets_in_flight_;
}

void Simulation::Drop(Packet* packet, Fault fault) {
  trace_.Add(now_, What::kPacketDropped, packet->from, packet->id,
             static_cast<uint64_t>(fault));
  CountFault(fault, true);
  if (recording_ != nullptr) recording_->OnDrop(*packet, fault, now_);
  FreePacket(packet);
}

Host* Simulation::Owner(const IpAddress& address) {
  auto found = owners_.find(OwnerKey(address));
  return found == owners_.end() ? nullptr : found->second;
}

uint32_t Simulation::HostFor(const Host& from, const IpAddress& target) {
  if (from.kernel_->IsLocal(target)) return from.index_;
  Host* owner = Owner(target);
  return owner == nullptr ? kNowhere : owner->index_;
}

Simulation::Link& Simulation::LinkBetween(uint32_t from, uint32_t to) {
  auto found = links_.find({from, to});
  if (found == links_.end()) {
    uint64_t id = kLinkEntities | (uint64_t{from} << 28) | to;
    found = links_.emplace(std::pair{from, to}, Link(id)).first;
    found->second.options = options_.link;
  }
  return found->second;
}

void Simulation::SetLink(const Host& from, const Host& to,
                         const LinkOptions& options) {
  LinkBetween(from.index(), to.index()).options = options;
}

Nanoseconds Simulation::DrawLatency(Link& link) {
  const Latency& latency = link.options.latency;
  Nanoseconds base = ToNanoseconds(latency.base);
  Nanoseconds spread = ToNanoseconds(latency.spread);
  if (spread <= 0) return base;
  auto scaled = [&](uint64_t value) {
    return static_cast<Nanoseconds>(
        Choices::Scale(value, static_cast<uint64_t>(spread) + 1));
  };
  switch (latency.kind) {
    case Latency::Kind::kFixed:
      return base;
    case Latency::Kind::kUniform:
      return base + scaled(choices_.Draw(Site::kLatency, link.entity));
    case Latency::Kind::kExponential: {
      // -ln(u) by its integer part, the leading zeros, and a straight line
      // between: within 6 % of the curve and the same on every machine.
      uint64_t value = choices_.Draw(Site::kLatency, link.entity) | 1;
      int zeros = __builtin_clzll(value);
      uint64_t rest = zeros == 63 ? 0 : value << (zeros + 1);
      // In units of 2^-16: (zeros + 1 - rest / 2^64) * ln 2.
      uint64_t octaves =
          (static_cast<uint64_t>(zeros + 1) << 16) - (rest >> 48);
      uint64_t natural = octaves * 45426 >> 16;
      return base +
             static_cast<Nanoseconds>(
                 (static_cast<unsigned __int128>(spread) * natural) >> 16);
    }
    case Latency::Kind::kHeavyTailed: {
      // Three times in four below `spread`; then ten times as much for each
      // further draw, up to a thousand times.
      uint64_t value = choices_.Draw(Site::kLatency, link.entity);
      Nanoseconds factor = 1;
      for (int i = 0; i < 3 && (value & 3) == 3; ++i) {
        factor *= 10;
        value >>= 2;
      }
      value = choices_.Draw(Site::kLatency, link.entity);
      return base + scaled(value) * factor;
    }
  }
  return base;
}

bool Simulation::LostOn(Link& link, const Packet& packet) {
  uint32_t loss = options_.faults.loss;
  if (loss == 0) return false;
  size_t fragments = 1;
  if (packet.protocol == Packet::Protocol::kUdp) {
    size_t room = std::max<size_t>(link.options.mtu_bytes, 28) - 20;
    fragments = (packet.payload.size() + 8 + room - 1) / room;
  }
  for (size_t i = 0; i != fragments; ++i) {
    if (choices_.Chance(Site::kLoss, link.entity, loss)) return true;
  }
  return false;
}

void Simulation::Send(Packet* packet, Link* known_link) {
  trace_.Add(now_, What::kPacketSent, packet->from, packet->id,
             packet->sequence, packet->size() * 16 + packet->flags);
  if (recording_ != nullptr) recording_->OnSend(*packet, now_);
  if (packet->to == kNowhere) {
    if (recording_ != nullptr) {
      recording_->OnDrop(*packet, Fault::kCount, now_);
    }
    trace_.Add(now_, What::kPacketDropped, packet->from, packet->id,
               ~uint64_t{0});
    FreePacket(packet);
    return;
  }
  Link& link = known_link != nullptr ? *known_link
                                     : LinkBetween(packet->from, packet->to);
  packet->tie = Tie(link.entity);
  if (packet->to == packet->from) {
    if (!rules_.empty() && StoppedByRules(packet)) return;
    Route(packet, link, 0);
    return;
  }
  // Each packet takes part in each draw, whatever becomes of it: so that no
  // fault moves the draws of another.
  const FaultRates& faults = options_.faults;
  const bool lost = LostOn(link, *packet);
  const bool corrupted =
      packet->protocol == Packet::Protocol::kUdp && !packet->payload.empty() &&
      choices_.Chance(Site::kCorruption, link.entity, faults.corruption);
  const uint64_t bit = corrupted
                           ? choices_.Below(Site::kCorruptBit, link.entity,
                                            packet->payload.size() * 8)
                           : 0;
  const bool duplicated =
      choices_.Chance(Site::kDuplication, link.entity, faults.duplication);
  const Nanoseconds duplicate_late =
      duplicated ? DrawDelay(Site::kDuplicateDelay, link) : 0;
  const bool reordered =
      choices_.Chance(Site::kReordering, link.entity, faults.reordering);
  const Nanoseconds late = reordered ? DrawDelay(Site::kReorderDelay, link) : 0;
  packet->latency = DrawLatency(link);

  if (!rules_.empty() && StoppedByRules(packet)) return;
  if (lost) {
    Drop(packet, Fault::kLoss);
    return;
  }
  if (corrupted) {
    packet->payload[bit / 8] =
        static_cast<char>(packet->payload[bit / 8] ^ (1 << (bit % 8)));
    packet->corrupted = true;
    trace_.Add(now_, What::kPacketCorrupted, packet->from, packet->id, bit);
    CountFault(Fault::kCorruption, true);
  }
  Packet* copy = nullptr;
  if (duplicated) {
    copy = NewPacket();
    uint64_t id = copy->id;
    *copy = *packet;
    copy->id = id;
    trace_.Add(now_, What::kPacketDuplicated, packet->from, packet->id, id);
    if (recording_ != nullptr) recording_->OnSend(*copy, now_);
    CountFault(Fault::kDuplication, true);
  }
  if (reordered) CountFault(Fault::kReordering, true);
  Route(packet, link, late);
  if (copy != nullptr) Route(copy, link, duplicate_late);
}

Nanoseconds Simulation::DrawDelay(Site site, Link& link) {
  // Up to ten times the usual way.
  Nanoseconds usual = ToNanoseconds(link.options.latency.base) +
                      ToNanoseconds(link.options.latency.spread);
  return 1 + static_cast<Nanoseconds>(
                 choices_.Below(site, link.entity,
                                static_cast<uint64_t>(std::max<Nanoseconds>(
                                    usual, kLoopbackLatency)) *
                                    10));
}

void Simulation::Route(Packet* packet, Link& link, Nanoseconds late) {
  Nanoseconds arrives = now_ + kLoopbackLatency;
  if (packet->from != packet->to) {
    Nanoseconds leaves = now_;
    if (link.options.bits_per_second != 0) {
      auto bits = static_cast<unsigned __int128>(packet->size()) * 8;
      auto length = static_cast<Nanoseconds>(bits * 1'000'000'000 /
                                             link.options.bits_per_second);
      leaves = std::max(now_, link.busy_until);
      auto waiting = static_cast<unsigned __int128>(leaves - now_) *
                     link.options.bits_per_second / 8 / 1'000'000'000;
      if (waiting > link.options.queue_bytes_max) {
        Drop(packet, Fault::kQueueOverflow);
        return;
      }
      leaves += length;
      link.busy_until = leaves;
    }
    arrives = leaves + std::max<Nanoseconds>(packet->latency, 1);
  }
  uint32_t tie;
  if (late != 0) {
    arrives += late;
    tie = packet->tie;
  } else {
    // A link keeps its order, however the latency was drawn.
    if (arrives <= link.last_arrival) {
      arrives = link.last_arrival;
    } else {
      link.last_arrival = arrives;
      link.last_tie = packet->tie;
    }
    tie = link.last_tie;
  }
  Schedule(arrives, EventKind::kPacket, tie, packet, nullptr);
}

void Simulation::Deliver(Packet* packet) {
  Host& host = *hosts_[packet->to];
  if (packet->from != packet->to && !rules_.empty() &&
      StoppedUnderWay(packet)) {
    return;
  }
  if (!host.up_) {
    Drop(packet, Fault::kCrash);
    return;
  }
  trace_.Add(now_, What::kPacketDelivered, packet->to, packet->id,
             packet->sequence, packet->size() * 16 + packet->flags);
  if (recording_ != nullptr) recording_->OnArrival(*packet, now_);
  host.kernel_->OnPacket(*packet);
  FreePacket(packet);
}

// ---- Events.

uint32_t Simulation::Tie(ChoiceEntity& entity) {
  if (!options_.shuffle) return 0;
  return static_cast<uint32_t>(choices_.Draw(Site::kEventOrder, entity) >> 32);
}

void Simulation::Schedule(Nanoseconds time, EventKind kind, uint32_t tie,
                          void* object, EventPlace* place) {
  bool network = kind == EventKind::kPacket || kind == EventKind::kTcpTimer;
  events_.Push({.time = std::max(time, now_),
                .number = next_number_++,
                .object = object,
                .place = place,
                .tie = tie,
                .rank = network ? kNetworkRank : kProgramRank,
                .kind = kind});
}

bool Simulation::Step(Nanoseconds time_max) {
  while (!events_.empty()) {
    if (events_.first().time > time_max) return false;
    const Event event = events_.Pop();
    switch (event.kind) {
      case EventKind::kPacket:
        now_ = event.time;
        Deliver(static_cast<Packet*>(event.object));
        break;
      case EventKind::kTcpTimer: {
        auto* endpoint = static_cast<TcpEndpoint*>(event.object);
        endpoint->scheduled = kForever;
        if (endpoint->NextTimer() > event.time) {
          // Put off since.
          endpoint->TimerChanged();
          continue;
        }
        now_ = event.time;
        endpoint->OnTimer();
        break;
      }
      case EventKind::kFunction: {
        now_ = event.time;
        std::unique_ptr<absl::AnyInvocable<void()>> function(
            static_cast<absl::AnyInvocable<void()>*>(event.object));
        (*function)();
        break;
      }
      case EventKind::kTurn: {
        auto& poller = *static_cast<SimPoller*>(event.object);
        poller.turn_at_ = kForever;
        // Its owner is asleep in a `Wait`, or further up the stack.
        if (poller.in_wait_ || poller.in_turn_) continue;
        if (poller.kernel_->host_.paused_) {
          poller.turn_put_off_ = true;
          CountFault(Fault::kPause, true);
          continue;
        }
        now_ = event.time;
        RunTurn(poller);
        break;
      }
    }
    ++events_done_;
    graveyard_.clear();
    return true;
  }
  return false;
}

void Simulation::RunTurn(SimPoller& poller) {
  if (poller.last_turn_ == now_) {
    if (++poller.turns_now_ > options_.turns_at_one_moment_max) {
      livelock_ = absl::StrCat(
          "livelock: a collection of host \"", poller.kernel_->host_.name_,
          "\" has had ", poller.turns_now_,
          " turns without any time passing; its sockets:\n",
          poller.kernel_->host_.Report());
      return;
    }
  } else {
    poller.last_turn_ = now_;
    poller.turns_now_ = 1;
  }
  trace_.Add(now_, What::kTurn, poller.kernel_->host_.index_, poller.id_);
  Host* before = std::exchange(current_host_, &poller.kernel_->host_);
  TurnFrame frame{.poller = &poller, .outer = turns_};
  turns_ = &frame;
  poller.in_turn_ = true;
  poller.kernel_->oracle().OnTurn(poller, /*begins=*/true);
  Nanoseconds sleep = poller.turn_();
  turns_ = frame.outer;
  current_host_ = before;
  // The turn may have destroyed its collection, or crashed its host.
  if (frame.poller == nullptr || poller.kernel_ == nullptr) return;
  poller.in_turn_ = false;
  poller.kernel_->oracle().OnTurn(poller, /*begins=*/false);
  if (poller.woken_ || poller.AnyReady()) sleep = 0;
  if (sleep > 0) poller.kernel_->TellSleep(poller, sleep);
  if (sleep > 0 && sleep != kForever &&
      choices_.Chance(Site::kInterrupt, poller.entity_,
                      poller.kernel_->Rate(&FaultRates::interrupt))) {
    sleep = static_cast<Nanoseconds>(choices_.Below(
        Site::kInterruptTime, poller.entity_, static_cast<uint64_t>(sleep)));
    CountFault(Fault::kInterrupt, true);
  }
  if (sleep != kForever) poller.TurnAt(DeadlineAfter(now_, sleep));
}

void Simulation::RunAs(Host& host, absl::FunctionRef<void()> function) {
  Running running(this);
  Host* before = std::exchange(current_host_, &host);
  function();
  current_host_ = before;
}

void Simulation::SleepUntil(Nanoseconds deadline,
                            absl::FunctionRef<bool()> awake) {
  Running running(this);
  while (!awake()) {
    if (Step(deadline)) {
      AIOS_CHECK(livelock_.empty(), livelock_.c_str());
      continue;
    }
    if (deadline != kForever) {
      now_ = std::max(now_, deadline);
      graveyard_.clear();
      return;
    }
    std::fprintf(stderr, "%s", Report().c_str());
    AIOS_CHECK(false,
               "a collection waits for ever: nothing is left that could happen "
               "in the simulation");
  }
}

void Simulation::Bury(std::unique_ptr<TcpEndpoint> endpoint) {
  if (endpoint->event != kNoEvent) events_.Remove(endpoint->event);
  graveyard_.push_back(std::move(endpoint));
}

void Simulation::Forget(SimPoller& poller) {
  for (TurnFrame* frame = turns_; frame != nullptr; frame = frame->outer) {
    if (frame->poller == &poller) frame->poller = nullptr;
  }
  pollers_.erase(poller.id_);
  if (poller.turn_event_ != kNoEvent) events_.Remove(poller.turn_event_);
}

void Simulation::CallInside(absl::FunctionRef<void()> function) {
  Running running(this);
  function();
}

void Simulation::After(absl::Duration delay,
                       absl::AnyInvocable<void()> function) {
  Schedule(DeadlineAfter(now_, ToNanoseconds(delay)), EventKind::kFunction,
           Tie(entity_), new absl::AnyInvocable<void()>(std::move(function)),
           nullptr);
}

// ---- Running.

RunResult Simulation::Run(absl::FunctionRef<bool()> done, Nanoseconds time_max,
                          const RunLimits& limits, StopReason at_idle,
                          StopReason at_time_max) {
  Running running(this);
  AIOS_CHECK(current_host_ == nullptr,
             "Run must not be called from code that is being simulated");
  // Code outside may have started operations.
  for (const auto& [id, poller] : pollers_) {
    if (!poller->in_wait_) poller->TurnAt(now_);
  }
  for (uint64_t n = 0; !done(); ++n) {
    if (n == limits.events_max) {
      return Stopped(StopReason::kTurnLimit, limits.report);
    }
    if (!Step(time_max)) {
      bool idle = events_.empty();
      if (!idle || at_time_max == StopReason::kDone) {
        now_ = std::max(now_, time_max);
      }
      return Stopped(
          idle && at_time_max != StopReason::kDone ? at_idle : at_time_max,
          limits.report);
    }
    if (!livelock_.empty()) return Stopped(StopReason::kLivelock, true);
  }
  return {};
}

RunResult Simulation::Stopped(StopReason reason, bool report) const {
  RunResult result{.reason = reason};
  if (!report) return result;
  switch (reason) {
    case StopReason::kDone:
      return result;
    case StopReason::kIdle:
      result.report =
          "nothing is left to do, but the condition does not hold\n";
      break;
    case StopReason::kTimeLimit:
      result.report = "the limit of virtual time was reached\n";
      break;
    case StopReason::kTurnLimit:
      result.report = "the limit of events was reached\n";
      break;
    case StopReason::kLivelock:
      result.report = livelock_;
      break;
  }
  result.report += Report();
  return result;
}

RunResult Simulation::RunFor(absl::Duration duration) {
  return Run([] { return false; }, DeadlineAfter(now_, ToNanoseconds(duration)),
             {.events_max = ~uint64_t{0}}, StopReason::kDone,
             StopReason::kDone);
}

RunResult Simulation::RunUntil(absl::FunctionRef<bool()> condition,
                               RunLimits limits) {
  return Run(condition, DeadlineAfter(now_, ToNanoseconds(limits.time_max)),
             limits, StopReason::kIdle, StopReason::kTimeLimit);
}

RunResult Simulation::RunUntilIdle(RunLimits limits) {
  // What it is for has no report: writing one takes longer than many a run.
  RunLimits silent = limits;
  silent.report = false;
  RunResult result = Run([] { return false; },
                         DeadlineAfter(now_, ToNanoseconds(limits.time_max)),
                         silent, StopReason::kIdle, StopReason::kTimeLimit);
  bool there = result.reason == StopReason::kIdle ||
               result.reason == StopReason::kLivelock;
  return there ? result : Stopped(result.reason, limits.report);
}

void Simulation::StartRecording() {
  if (recording_ != nullptr) return;
  recording_ = std::make_unique<Recording>();
  for (const std::unique_ptr<Host>& host : hosts_) {
    recording_->AddHost(host->name_);
  }
}

absl::Time Simulation::Realtime() const {
  return current_host_ != nullptr
             ? current_host_->Now()
             : options_.start + absl::Nanoseconds(now_ - kStart);
}

Simulation* Simulation::Current() { return current; }

// ---- Reports.

std::string Simulation::Report() const {
  std::string report =
      absl::StrCat("seed ", seed(), ", ", events_done_, " events, ",
                   packets_in_flight_, " packets in flight\n");
  for (const std::unique_ptr<Host>& host : hosts_) {
    absl::StrAppend(&report, host->Report());
  }
  absl::StrAppend(&report, "the last events:\n");
  for (const TraceEvent& event : trace_.Tail()) {
    absl::StrAppend(&report, "  ",
                    Trace::Describe(event, event.host < hosts_.size()
                                               ? hosts_[event.host]->name_
                                               : "nowhere"),
                    "\n");
  }
  return report;
}

std::string Simulation::Leftovers() const {
  std::string leftovers;
  for (const std::unique_ptr<Host>& host : hosts_) {
    const Oracle& oracle = host->kernel_->oracle();
    if (host->descriptors_open() != 0) {
      absl::StrAppend(&leftovers, host->descriptors_open(),
                      " descriptors are open; ", host->Report());
    }
    if (oracle.pending() != 0) {
      absl::StrAppend(&leftovers, oracle.pending(),
                      " operations have not ended:\n",
                      oracle.DescribePending());
    }
  }
  if (packets_in_flight_ != 0) {
    absl::StrAppend(&leftovers, packets_in_flight_, " packets in flight\n");
  }
  return leftovers;
}

// ---- The whole.

Simulation::Simulation(SimulationOptions options)
    : options_(options), choices_(options_.seed), entity_(0), now_(kStart) {}

Simulation::~Simulation() {
  Running running(this);
  rules_.clear();
  for (const Event& event : events_.all()) {
    if (event.kind == EventKind::kFunction) {
      delete static_cast<absl::AnyInvocable<void()>*>(event.object);
    }
  }
}

Host& Simulation::AddHost(std::string_view name, HostOptions options) {
  AIOS_CHECK(FindHost(name) == nullptr, "the names of hosts are unique");
  auto index = static_cast<uint32_t>(hosts_.size());
  std::unique_ptr<Host> host(new Host(*this, index, name, std::move(options)));
  owners_[OwnerKey(host->ipv4_)] = host.get();
  owners_[OwnerKey(host->ipv6_)] = host.get();
  owners_[OwnerKey(host->link_local_)] = host.get();
  for (const IpAddress& address : host->options_.addresses) {
    owners_[OwnerKey(address)] = host.get();
  }
  hosts_.push_back(std::move(host));
  if (recording_ != nullptr) recording_->AddHost(name);
  return *hosts_.back();
}

Host* Simulation::FindHost(std::string_view name) {
  for (const std::unique_ptr<Host>& host : hosts_) {
    if (host->name_ == name) return host.get();
  }
  return nullptr;
}

// ---- Hosts.

Host::Host(Simulation& simulation, uint32_t index, std::string_view name,
           HostOptions options)
    : simulation_(simulation),
      index_(index),
      name_(name),
      options_(std::move(options)),
      clock_base_(simulation.now_),
      clock_base_realtime_(simulation.options_.start + options_.clock_offset) {
  uint32_t number = index + 1;
  ipv4_ = IpAddress::FromIpv4((10u << 24) | number);
  IpAddress::Ipv6Bytes bytes = {0xfd};
  for (size_t i = 0; i != 4; ++i) {
    bytes[15 - i] = static_cast<uint8_t>(number >> (8 * i));
  }
  ipv6_ = IpAddress::FromIpv6(bytes);
  bytes[0] = 0xfe;
  bytes[1] = 0x80;
  link_local_ = IpAddress::FromIpv6(bytes, 2);
  kernel_.reset(new SimKernel(*this));
}

Host::~Host() = default;

Kernel& Host::kernel() { return *kernel_; }

std::vector<IpAddress> Host::addresses() const {
  std::vector<IpAddress> all = {ipv4_, ipv6_};
  all.insert(all.end(), options_.addresses.begin(), options_.addresses.end());
  return all;
}

void Host::Pause() {
  if (paused_) return;
  paused_ = true;
  simulation_.Mark(index_, "pause");
  simulation_.trace_.Add(simulation_.now_, What::kPause, index_, 0);
  simulation_.CountFault(Fault::kPause, false);
}

void Host::Resume() {
  if (!paused_) return;
  paused_ = false;
  simulation_.Mark(index_, "resume");
  simulation_.trace_.Add(simulation_.now_, What::kResume, index_, 0);
  for (SimPoller* poller : kernel_->pollers_) {
    if (std::exchange(poller->turn_put_off_, false)) {
      poller->TurnAt(simulation_.now_);
    }
  }
}

void Host::Crash() {
  if (!up_) return;
  bool effective = kernel_->open_ != 0;
  up_ = false;
  simulation_.Mark(index_, "crash");
  paused_ = false;
  simulation_.trace_.Add(simulation_.now_, What::kCrash, index_, 0);
  simulation_.CountFault(Fault::kCrash, effective);
  kernel_->Crash();
}

void Host::Restart() {
  if (up_) return;
  up_ = true;
  simulation_.Mark(index_, "restart");
  simulation_.trace_.Add(simulation_.now_, What::kRestart, index_, 0);
}

absl::Time Host::Now() const {
  Nanoseconds passed = simulation_.now_ - clock_base_;
  auto drift =
      static_cast<Nanoseconds>(static_cast<__int128>(passed) *
                               options_.clock_drift_per_million / 1'000'000);
  return clock_base_realtime_ + absl::Nanoseconds(passed + drift);
}

void Host::StepClock(absl::Duration by) {
  clock_base_realtime_ = Now() + by;
  clock_base_ = simulation_.now_;
  simulation_.trace_.Add(simulation_.now_, What::kClockStep, index_, 0,
                         static_cast<uint64_t>(absl::ToInt64Nanoseconds(by)));
  simulation_.CountFault(Fault::kClock, by != absl::ZeroDuration());
  simulation_.Mark(index_, "clock " + absl::FormatDuration(by));
}

void Host::SetClockDrift(int64_t per_million) {
  clock_base_realtime_ = Now();
  clock_base_ = simulation_.now_;
  options_.clock_drift_per_million = per_million;
  simulation_.CountFault(Fault::kClock, per_million != 0);
}

void Host::SetDescriptorsMax(int count) {
  options_.descriptors_max = count;
  simulation_.Mark(index_, "descriptors limited");
}

int Host::descriptors_open() const { return kernel_->open_; }

std::string Host::Report() const {
  return absl::StrCat("host \"", name_, "\" ", ipv4_.ToString(), " ",
                      ipv6_.ToString(), up_ ? "" : ", down",
                      paused_ ? ", paused" : "", ", ", kernel_->open_,
                      " descriptors open\n", kernel_->Describe(),
                      kernel_->oracle().DescribePending());
}

}  // namespace aios::sim
