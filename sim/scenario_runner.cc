#include "sim/scenario_runner.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "aios/accepting_handle.h"
#include "aios/async_io_state.h"
#include "aios/check.h"
#include "aios/connect_tcp.h"
#include "aios/duration.h"
#include "aios/operation_observer.h"
#include "aios/udp.h"
#include "sim/name_server.h"
#include "sim/plain_sockets.h"
#include "sim/raw_sockets.h"

namespace aios::sim {

namespace {

// What connecting the states may take before the first step.
constexpr Nanoseconds kConnectMax = 3'600'000'000'000;
// Lets acknowledgements of that go their way.
constexpr Nanoseconds kSettle = 1'000'000'000;
constexpr size_t kFailuresMax = 20;
constexpr size_t kTextMax = 64;
// In recordings: what plain sockets do is not numbered by the oracle.
constexpr uint64_t kPlainOperations = uint64_t{1} << 62;

// Of written bytes, when the scenario gives only their number: so that a
// byte that is lost, repeated or out of order shows.
std::string Pattern(uint64_t key, size_t size) {
  // Repeated at a length that no buffer has.
  constexpr size_t kBlock = 65521;
  std::string block(std::min(size, kBlock), '\0');
  uint64_t word = 0;
  for (size_t i = 0; i != block.size(); ++i) {
    if (i % 8 == 0) word = Mix(key, i);
    block[i] = static_cast<char>(word >> (i % 8 * 8));
  }
  std::string bytes;
  bytes.reserve(size);
  while (bytes.size() < size) {
    bytes.append(block, 0, size - bytes.size());
  }
  return bytes;
}

// One direction of a connection.
struct Stream {
  struct Written {
    std::string bytes;
    bool ended = false;
    size_t count = 0;  // handed over, once it has ended
    bool unsure = false;
  };
  std::deque<std::shared_ptr<Written>> writes;
  size_t offset = 0;  // received of the first
  bool unchecked = false;

  // What is wrong with the next bytes that were received; empty if nothing.
  std::string Check(std::string_view bytes) {
    while (!bytes.empty() && !unchecked) {
      if (writes.empty()) return "more bytes arrived than were written";
      Written& first = *writes.front();
      size_t size = first.ended ? first.count : first.bytes.size();
      if (offset >= size) {
        if (!first.ended && !first.unsure) {
          return "bytes arrived that were written behind others still on "
                 "their way";
        }
        writes.pop_front();
        offset = 0;
        continue;
      }
      size_t length = std::min(size - offset, bytes.size());
      if (bytes.substr(0, length) !=
          std::string_view(first.bytes).substr(offset, length)) {
        if (first.unsure) {
          unchecked = true;
          return {};
        }
        return "other bytes arrived than were written";
      }
      offset += length;
      bytes.remove_prefix(length);
      if (offset == first.bytes.size()) {
        writes.pop_front();
        offset = 0;
      }
    }
    return {};
  }
};

// One operation that has been started.
struct Operation {
  ScenarioIndex step = kNone;
  uint64_t number = 0;
  Nanoseconds started_at = 0;
  bool starting = false;
  // Of a queue of writes it was not the first: its time starts later.
  bool queued = false;
  std::vector<char> buffer;
  std::shared_ptr<Stream::Written> written;
  std::optional<Nanoseconds> timeout;
  // `read_with_checking`.
  size_t consumed = 0;
  size_t left = 0;
  // Received, as far as the expectation wants to see it.
  std::string text;
};

// How it ended, for both kinds of sockets.
struct Ended {
  IoStatus status = IoStatus::kOk;
  Error error;
  uint64_t count = 0;
  bool truncated = false;
  std::string text;
};

struct LiveState {
  std::unique_ptr<AsyncIoState> state;
  std::unique_ptr<AcceptingHandle> listener;
  Handle plain = kNoHandle;
  bool closed = false;
  // By number of operation.
  uint64_t input = 0;
  uint64_t connect = 0;
  std::deque<uint64_t> outputs;
  // Aborts of output on their way: queued writes end before the active one.
  int aborting = 0;
  std::shared_ptr<Stream> incoming;
  std::shared_ptr<Stream> outgoing;
  size_t accepted = 0;
};

struct LiveNameServer {
  ScenarioIndex host = kNone;
  std::unique_ptr<NameServer> server;
};

struct LiveHost {
  std::shared_ptr<WaitStateCollection> collection;
  std::unique_ptr<PlainSockets> plain;
  bool down = false;
  bool was_paused = false;
};

// A step, while it runs.
struct Progress {
  uint32_t wanted = 1;  // operations in all
  uint32_t started = 0;
  uint32_t ended = 0;
  bool finished = false;
  uint64_t order = 0;  // of its end
  std::optional<Ended> last;
  std::vector<ScenarioIndex> followers;
};

class Runner {
 public:
  Runner(const Scenario& scenario, ScenarioWorld& world)
      : scenario_(scenario),
        world_(world),
        hosts_(scenario.hosts.size()),
        states_(scenario.states.size()),
        progress_(scenario.steps.size()),
        rows_(scenario.steps.size()) {}

  ScenarioResult Run();

 private:
  Nanoseconds Now() { return world_.now() - zero_; }
  Simulation* simulation() { return world_.simulation(); }
  // Null when nobody wants pictures.
  Recording* recording() {
    return simulation() == nullptr ? nullptr : simulation()->recording();
  }
  Host& SimHost(ScenarioIndex host) { return *simulation()->hosts()[host]; }

  void Fail(TextPlace place, std::string_view what);
  void FailStep(ScenarioIndex step, std::string_view what);

  // Before the first step.
  void MakeHost(ScenarioIndex host);
  void MakeNameServers();
  PlainSockets& Plain(ScenarioIndex host);
  bool MakeStates();
  bool ConnectPair(ScenarioIndex index);
  bool MakeUdp(ScenarioIndex index);
  bool MakeListener(ScenarioIndex index);
  void Accepted(ScenarioIndex listener, std::unique_ptr<AsyncIoState> state);
  // What one end writes, the other is to receive, if these are the ends.
  static void Join(LiveState& from, LiveState& to);
  void Adjust(ScenarioIndex index, AsyncIoState& state);
  void ApplyFaults(Nanoseconds now);
  uint16_t PortOf(ScenarioIndex host, uint16_t port, bool udp);

  // Steps.
  void ScheduleSteps();
  void StartStep(ScenarioIndex step);
  void StartOperations(ScenarioIndex step, uint32_t count);
  void StartOperation(ScenarioIndex step);
  absl::Status StartOnState(Operation& operation, const ScenarioStep& step,
                            LiveState& live);
  absl::Status Start(Operation& operation, const ScenarioStep& step,
                     LiveState& live);
  void StartPlain(Operation& operation, const ScenarioStep& step,
                  LiveState& live);
  absl::Status StartConnect(Operation& operation, const ScenarioStep& step,
                            LiveState& live);
  void Network(ScenarioIndex step);

  // Ends.
  IoCallback CallbackOf(uint64_t number) {
    return [this, number](AsyncIoState& state, const IoResult& result) {
      OnEnd(number, state, result);
    };
  }
  void OnEnd(uint64_t number, AsyncIoState& state, const IoResult& result);
  void OnChecking(uint64_t number, AsyncIoState& state, const IoResult& result);
  Operation* Find(uint64_t number);
  void CheckTime(const Operation& operation, const ScenarioStep& step,
                 const Ended& ended);
  void Received(Operation& operation, ScenarioIndex state,
                std::string_view bytes);
  void Interrupted(Direction direction, LiveState& live, size_t count);
  void Replace(uint64_t number);
  void End(uint64_t number, Ended ended);
  void EndOfStep(ScenarioIndex step);
  std::string Mismatch(const ScenarioStep& step, const Operation& operation,
                       const ScenarioOutcome& outcome, const Ended& ended);
  void Judge(ScenarioIndex step, const Operation& operation,
             const Ended& ended);
  bool AllDone();
  void JudgeTheRest();
  void TearDown();

  static std::string StatusText(const Ended& ended) {
    return ended.error.ok() ? std::string(IoStatusName(ended.status))
                            : ended.error.Name();
  }

  const Scenario& scenario_;
  ScenarioWorld& world_;
  Nanoseconds zero_ = 0;
  std::vector<LiveHost> hosts_;
  std::vector<LiveNameServer> name_servers_;
  std::vector<LiveState> states_;
  std::vector<Progress> progress_;
  std::vector<ScenarioRow> rows_;
  std::map<uint64_t, std::unique_ptr<Operation>> operations_;
  std::map<std::tuple<ScenarioIndex, uint16_t, bool>, uint16_t> ports_;
  std::map<ScenarioIndex, Rule> rules_;
  // Of crashed hosts: they go at the end.
  std::vector<std::shared_ptr<WaitStateCollection>> old_collections_;
  std::vector<std::unique_ptr<AsyncIoState>> old_states_;
  std::vector<std::unique_ptr<PlainSockets>> old_plain_;
  uint64_t next_number_ = 1;
  uint64_t next_order_ = 1;
  size_t unfinished_ = 0;
  int callback_depth_ = 0;
  bool over_ = false;
  ScenarioResult result_;
};

// ---- Failures.

void Runner::Fail(TextPlace place, std::string_view what) {
  if (result_.failures.size() < kFailuresMax) {
    result_.failures.push_back(AtPlace(scenario_.file, place, what));
  }
}

void Runner::FailStep(ScenarioIndex step, std::string_view what) {
  rows_[step].as_expected = false;
  std::string text = DescribeStep(scenario_, scenario_.steps[step]);
  Fail(scenario_.steps[step].place, text.append(": ").append(what));
}

// ---- Before the first step.

void Runner::MakeHost(ScenarioIndex host) {
  // What does not come from the scenario does not exist.
  ResolverOptions resolver = {
      .resolv_conf = "", .hosts_file = "", .services_file = ""};
  resolver.timeout = scenario_.resolver.timeout;
  resolver.tries = scenario_.resolver.tries;
  resolver.servers.emplace();
  for (ScenarioIndex server : scenario_.resolver.servers) {
    resolver.servers->emplace_back(
        world_.address(server, scenario_.resolver.family),
        NameServerOptions().port);
  }
  hosts_[host].collection =
      world_.MakeCollection(host, {.name = scenario_.hosts[host].name,
                                   .limits = scenario_.hosts[host].limits,
                                   .resolver = std::move(resolver)});
}

void Runner::MakeNameServers() {
  if (simulation() == nullptr) return;
  for (const ScenarioNameServer& wanted : scenario_.name_servers) {
    auto server =
        std::make_unique<NameServer>(SimHost(wanted.host), wanted.options);
    for (const ScenarioRecord& record : wanted.records) {
      if (record.address.has_value()) {
        server->AddAddress(record.name, *record.address, record.ttl);
      } else if (!record.alias.empty()) {
        server->AddAlias(record.name, record.alias, record.ttl);
      } else if (record.host == kNone) {
        server->AddName(record.name);
      } else {
        for (Family family : {Family::kIpv4, Family::kIpv6}) {
          if (record.family.value_or(family) != family) continue;
          server->AddAddress(record.name, world_.address(record.host, family),
                             record.ttl);
        }
      }
    }
    for (const DnsRule& rule : wanted.rules) server->AddRule(rule);
    name_servers_.push_back({wanted.host, std::move(server)});
  }
}

PlainSockets& Runner::Plain(ScenarioIndex host) {
  std::unique_ptr<PlainSockets>& plain = hosts_[host].plain;
  if (plain == nullptr) {
    plain = std::make_unique<PlainSockets>(world_.kernel(host));
    if (!plain->driven()) {
      world_.Poll([sockets = plain.get()] { return sockets->Turn(); });
    }
  }
  return *plain;
}

void Runner::Adjust(ScenarioIndex index, AsyncIoState& state) {
  const ScenarioState& wanted = scenario_.states[index];
  state.set_name(wanted.name);
  state.set_read_timeout(wanted.read_timeout).IgnoreError();
  state.set_write_timeout(wanted.write_timeout).IgnoreError();
  if (wanted.max_read.has_value()) {
    state.set_max_read(*wanted.max_read).IgnoreError();
  }
}

bool Runner::ConnectPair(ScenarioIndex index) {
  const ScenarioState& active = scenario_.states[index];
  const ScenarioState& passive = scenario_.states[active.peer];
  LiveState& from = states_[index];
  LiveState& to = states_[active.peer];
  from.outgoing = to.incoming = std::make_shared<Stream>();
  from.incoming = to.outgoing = std::make_shared<Stream>();
  IpAddress address = world_.address(passive.host, active.family);
  Kernel& server = world_.kernel(passive.host);
  Kernel& client = world_.kernel(active.host);
  Error error;

  // The listening end.
  std::unique_ptr<AcceptingHandle> handle;
  Handle listener = kNoHandle;
  SocketAddress target(address, 0);
  if (passive.plain) {
    error = server.Open(SocketType::kStream, active.family, &listener);
    if (error.ok()) error = server.Bind(listener, target);
    if (error.ok()) error = server.Listen(listener, 1);
    if (error.ok()) error = server.LocalAddress(listener, &target);
    if (!error.ok()) {
      Fail(active.place, "cannot listen: " + error.Message());
      return false;
    }
  } else {
    auto made = AcceptTcpConnections(
        *hosts_[passive.host].collection, 0,
        [&to](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
          to.state = std::move(state);
        },
        {.address = address,
         .nodelay = true,
         .keepalive = passive.keepalive,
         .queue_output = passive.queue_output.value_or(false)});
    if (!made.ok()) {
      Fail(active.place, "cannot listen: " + made.status().ToString());
      return false;
    }
    handle = *std::move(made);
    target = handle->local_address();
  }

  // The connecting end.
  std::optional<IoStatus> connected;
  if (active.plain) {
    error = client.Open(SocketType::kStream, active.family, &from.plain);
    if (error.ok()) error = client.Connect(from.plain, target);
  } else {
    if (recording() != nullptr) {
      recording()->DescribeNext(active.name, "connect");
    }
    auto made =
        ConnectTcp(*hosts_[active.host].collection, target.ip(), target.port(),
                   [&](AsyncIoState&, const IoResult& result) {
                     connected = result.status;
                     error = result.error;
                   },
                   {.keepalive = active.keepalive,
                    .queue_output = active.queue_output.value_or(false)});
    if (!made.ok()) {
      Fail(active.place, "cannot connect: " + made.status().ToString());
      return false;
    }
    from.state = *std::move(made);
  }

  auto both = [&] {
    if (connected.has_value() && *connected != IoStatus::kOk) return true;
    if (listener != kNoHandle && to.plain == kNoHandle) {
      static_cast<void>(server.Accept(listener, &to.plain));
    }
    bool accepted = passive.plain ? to.plain != kNoHandle : to.state != nullptr;
    if (!accepted) return false;
    SocketAddress peer;
    return active.plain ? client.PeerAddress(from.plain, &peer).ok()
                        : connected.has_value();
  };
  std::string report = world_.RunUntil(both, world_.now() + kConnectMax);
  if (listener != kNoHandle) server.Close(listener);
  handle.reset();
  if (!both()) {
    Fail(active.place,
         "cannot be connected: " + (error.ok() ? report : error.Message()));
    return false;
  }
  if (!active.plain) Adjust(index, *from.state);
  if (!passive.plain) Adjust(active.peer, *to.state);
  return true;
}

uint16_t Runner::PortOf(ScenarioIndex host, uint16_t port, bool udp) {
  if (world_.own_ports()) return port;
  auto found = ports_.find({host, port, udp});
  if (found != ports_.end()) return found->second;
  // One at which nobody is.
  Kernel& kernel = world_.kernel(host);
  Handle handle = kNoHandle;
  SocketAddress address(world_.address(host, Family::kIpv4), 0);
  Error error = kernel.Open(udp ? SocketType::kDatagram : SocketType::kStream,
                            Family::kIpv4, &handle);
  if (error.ok()) error = kernel.Bind(handle, address);
  if (error.ok()) error = kernel.LocalAddress(handle, &address);
  if (handle != kNoHandle) kernel.Close(handle);
  return error.ok() ? address.port() : port;
}

bool Runner::MakeUdp(ScenarioIndex index) {
  const ScenarioState& wanted = scenario_.states[index];
  UdpOptions options;
  options.queue_output = wanted.queue_output.value_or(true);
  options.ipv6 = wanted.family == Family::kIpv6 ? Ipv6::kYes : Ipv6::kNo;
  options.local_address = world_.address(wanted.host, wanted.family);
  WaitStateCollection& collection = *hosts_[wanted.host].collection;
  absl::StatusOr<std::unique_ptr<AsyncIoState>> made;
  if (wanted.kind == ScenarioState::Kind::kUdp) {
    options.local_port = world_.own_ports() ? wanted.port : 0;
    made = OpenUdp(collection, std::move(options));
  } else {
    const ScenarioState& peer = scenario_.states[wanted.peer];
    options.ipv6 = peer.family == Family::kIpv6 ? Ipv6::kYes : Ipv6::kNo;
    options.local_address = world_.address(wanted.host, peer.family);
    made = ConnectUdp(collection, world_.address(peer.host, peer.family),
                      PortOf(peer.host, peer.port, true), std::move(options));
  }
  if (!made.ok()) {
    Fail(wanted.place, made.status().ToString());
    return false;
  }
  states_[index].state = *std::move(made);
  Adjust(index, *states_[index].state);
  if (wanted.kind == ScenarioState::Kind::kUdp) {
    std::optional<SocketAddress> address = states_[index].state->address();
    if (address.has_value()) {
      ports_[{wanted.host, wanted.port, true}] = address->port();
    }
  }
  return true;
}

bool Runner::MakeListener(ScenarioIndex index) {
  const ScenarioState& wanted = scenario_.states[index];
  AcceptTcpOptions options;
  options.backlog = wanted.backlog;
  options.address = world_.address(wanted.host, wanted.family);
  options.nodelay = true;
  options.handle_name = wanted.name;
  options.queue_output = wanted.queue_output.value_or(false);
  auto made = AcceptTcpConnections(
      *hosts_[wanted.host].collection, world_.own_ports() ? wanted.port : 0,
      [this, index](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
        Accepted(index, std::move(state));
      },
      std::move(options));
  if (!made.ok()) {
    Fail(wanted.place, made.status().ToString());
    return false;
  }
  states_[index].listener = *std::move(made);
  ports_[{wanted.host, wanted.port, false}] =
      states_[index].listener->local_port();
  return true;
}

void Runner::Accepted(ScenarioIndex listener,
                      std::unique_ptr<AsyncIoState> state) {
  const ScenarioState& wanted = scenario_.states[listener];
  size_t place = states_[listener].accepted++;
  if (place >= wanted.accepts.size()) {
    Fail(wanted.place, "accepted one connection more than it names states");
    return;
  }
  ScenarioIndex index = wanted.accepts[place];
  LiveState& live = states_[index];
  live.state = std::move(state);
  Adjust(index, *live.state);
  for (size_t i = 0; i != states_.size(); ++i) {
    if (scenario_.states[i].kind == ScenarioState::Kind::kOpen &&
        states_[i].outgoing != nullptr) {
      Join(states_[i], live);
    }
  }
}

void Runner::Join(LiveState& from, LiveState& to) {
  if (from.state == nullptr || to.state == nullptr) return;
  std::optional<SocketAddress> address = from.state->address();
  if (!address.has_value() || to.state->peer_address() != address) return;
  to.incoming = from.outgoing;
  to.outgoing = from.incoming;
}

bool Runner::MakeStates() {
  MakeNameServers();
  for (size_t i = 0; i != hosts_.size(); ++i) MakeHost(i);
  using Kind = ScenarioState::Kind;
  for (size_t i = 0; i != states_.size(); ++i) {
    const ScenarioState& state = scenario_.states[i];
    if (state.kind == Kind::kUdp && !MakeUdp(i)) return false;
    if (state.kind == Kind::kListener && !MakeListener(i)) return false;
  }
  for (size_t i = 0; i != states_.size(); ++i) {
    const ScenarioState& state = scenario_.states[i];
    if (state.kind == Kind::kUdpPeer && !MakeUdp(i)) return false;
    if (state.active && !ConnectPair(i)) return false;
  }
  for (size_t i = 0; i != states_.size(); ++i) {
    if (scenario_.states[i].plain) Plain(scenario_.states[i].host);
  }
  if (simulation() != nullptr) {
    world_.RunUntil([] { return false; }, world_.now() + kSettle);
  }
  return true;
}

void Runner::ApplyFaults(Nanoseconds now) {
  if (simulation() == nullptr) return;
  FaultRates rates;
  constexpr uint32_t FaultRates::*kRates[] = {
      &FaultRates::loss,        &FaultRates::duplication,
      &FaultRates::reordering,  &FaultRates::corruption,
      &FaultRates::short_read,  &FaultRates::short_write,
      &FaultRates::would_block, &FaultRates::spurious,
      &FaultRates::interrupt,   &FaultRates::error,
      &FaultRates::split,       &FaultRates::join,
  };
  for (const ScenarioFaults& faults : scenario_.faults) {
    if (now < faults.from || now >= faults.until) continue;
    for (uint32_t FaultRates::*rate : kRates) {
      rates.*rate = std::max(rates.*rate, faults.rates.*rate);
    }
  }
  simulation()->SetFaults(rates);
}

// ---- Steps.

void Runner::ScheduleSteps() {
  for (size_t i = 0; i != progress_.size(); ++i) {
    const ScenarioStep& step = scenario_.steps[i];
    progress_[i].wanted = step.times * step.chain;
    if (step.after != kNone) progress_[step.after].followers.push_back(i);
    rows_[i].step = i;
    rows_[i].operation = DescribeStep(scenario_, step);
    rows_[i].expected = step.expect.text;
    if (step.expect.kind != ScenarioExpectation::Kind::kNever) ++unfinished_;
  }
  std::set<Nanoseconds> changes;
  for (const ScenarioFaults& faults : scenario_.faults) {
    changes.insert(faults.from);
    if (faults.until != kForever) changes.insert(faults.until);
  }
  ApplyFaults(0);
  if (simulation() != nullptr) {
    for (Nanoseconds change : changes) {
      if (change == 0) continue;
      world_.At(zero_ + change, [this, change] {
        if (!over_) ApplyFaults(change);
      });
    }
  }
  // Steps of one time start in the order of the file.
  for (size_t i = 0; i != progress_.size();) {
    if (scenario_.steps[i].after != kNone) {
      ++i;
      continue;
    }
    Nanoseconds at = scenario_.steps[i].at;
    std::vector<ScenarioIndex> together;
    for (; i != progress_.size(); ++i) {
      if (scenario_.steps[i].after != kNone) continue;
      if (scenario_.steps[i].at != at) break;
      together.push_back(i);
    }
    world_.At(zero_ + at, [this, together = std::move(together)] {
      for (ScenarioIndex step : together) {
        if (!over_) StartStep(step);
      }
    });
  }
}

void Runner::StartStep(ScenarioIndex index) {
  const ScenarioStep& step = scenario_.steps[index];
  if (!IsOperation(step.action)) {
    Network(index);
    return;
  }
  ScenarioIndex host = scenario_.states[step.state].host;
  if (hosts_[host].down) {
    FailStep(index, "cannot start: its host is down");
    return;
  }
  if (scenario_.states[step.state].plain) {
    Plain(host).Post([this, index] {
      StartOperations(index, scenario_.steps[index].times);
    });
    return;
  }
  absl::Status status = hosts_[host].collection->Apply(
      [this, index] { StartOperations(index, scenario_.steps[index].times); });
  if (!status.ok()) FailStep(index, status.ToString());
}

void Runner::StartOperations(ScenarioIndex step, uint32_t count) {
  for (uint32_t i = 0; i != count && !over_; ++i) StartOperation(step);
}

void Runner::StartOperation(ScenarioIndex index) {
  const ScenarioStep& step = scenario_.steps[index];
  Progress& progress = progress_[index];
  ScenarioRow& row = rows_[index];
  LiveState& live = states_[step.state];
  ++progress.started;
  ++row.started;
  row.started_at = Now();
  uint64_t number = next_number_++;
  auto made = std::make_unique<Operation>();
  Operation& operation = *made;
  operation.step = index;
  operation.number = number;
  operation.started_at = world_.now();
  operations_[number] = std::move(made);
  if (scenario_.states[step.state].plain) {
    StartPlain(operation, step, live);
    return;
  }
  operation.starting = true;
  if (recording() != nullptr) {
    recording()->DescribeNext(scenario_.states[step.state].name,
                              DescribeAction(scenario_, step));
  }
  absl::Status status = StartOnState(operation, step, live);
  if (recording() != nullptr) recording()->DescribeNext({}, {});
  Operation* started = Find(number);
  if (started != nullptr) started->starting = false;
  using Kind = ScenarioExpectation::Kind;
  if (status.ok()) {
    if (step.expect.kind == Kind::kRefused) {
      FailStep(index, "was not refused");
    }
    return;
  }
  operations_.erase(number);
  std::string code = absl::StatusCodeToString(status.code());
  row.status = "refused: " + absl::AsciiStrToLower(code);
  row.ended_at = Now();
  ++row.ended;
  ++progress.ended;
  if (step.expect.kind != Kind::kAny &&
      (step.expect.kind != Kind::kRefused ||
       step.expect.refused != status.code())) {
    FailStep(index, absl::StrCat("was refused: ", status.ToString(),
                                 "; expected ", step.expect.text));
  }
  EndOfStep(index);
}

absl::Status Runner::StartOnState(Operation& operation,
                                  const ScenarioStep& step, LiveState& live) {
  if (step.action == Action::kConnect) {
    return StartConnect(operation, step, live);
  }
  uint64_t number = operation.number;
  if (step.action == Action::kStopListening) {
    if (live.listener == nullptr) {
      return absl::FailedPreconditionError("there is no listener");
    }
    return live.listener->Close(
        [this, number](WaitStateCollection&) { End(number, {}); });
  }
  if (live.state == nullptr) {
    return absl::UnavailableError("the state does not exist (yet)");
  }
  AsyncIoState& state = *live.state;
  switch (step.action) {
    case Action::kReadBuffer:
    case Action::kReceiveMessage:
      operation.buffer.resize(step.size);
      break;
    case Action::kWriteBuffer:
    case Action::kSendMessage:
    case Action::kSendMessageTo: {
      operation.written = std::make_shared<Stream::Written>();
      std::string& bytes = operation.written->bytes;
      if (step.text.empty()) {
        bytes = Pattern(number, step.size);
      } else {
        while (bytes.size() < step.size) bytes += step.text;
      }
      operation.queued = !live.outputs.empty();
      break;
    }
    default:
      break;
  }
  absl::Status status = Start(operation, step, live);
  if (!status.ok()) return status;
  Operation* started = Find(number);
  if (started == nullptr) return status;  // it was over at once
  auto timeout = [&](absl::Duration duration) {
    if (duration != absl::InfiniteDuration()) {
      started->timeout = ToNanoseconds(duration);
    }
  };
  switch (step.action) {
    case Action::kReadBuffer:
    case Action::kReadWithChecking:
    case Action::kReceiveMessage:
    case Action::kWaitForInput:
      live.input = number;
      timeout(state.read_timeout());
      break;
    case Action::kWriteBuffer:
    case Action::kSendMessage:
    case Action::kSendMessageTo:
      live.outputs.push_back(number);
      timeout(state.write_timeout());
      if (live.outgoing != nullptr) {
        live.outgoing->writes.push_back(started->written);
      }
      break;
    default:
      break;
  }
  return status;
}

absl::Status Runner::Start(Operation& operation, const ScenarioStep& step,
                           LiveState& live) {
  uint64_t number = operation.number;
  AsyncIoState& state = *live.state;
  switch (step.action) {
    case Action::kReadBuffer:
      return state.ReadBuffer(operation.buffer, CallbackOf(number),
                              {.timeout = step.timeout});
    case Action::kReadWithChecking:
      return state.ReadWithChecking(
          [this, number](AsyncIoState& state, const IoResult& result) {
            OnChecking(number, state, result);
          },
          {.timeout = step.timeout, .max_read = step.max_read});
    case Action::kReceiveMessage:
      return state.ReceiveMessage(operation.buffer, CallbackOf(number),
                                  {.timeout = step.timeout});
    case Action::kWaitForInput:
      return state.WaitForInput(CallbackOf(number), {.timeout = step.timeout});
    case Action::kWriteBuffer:
      return state.WriteBuffer(operation.written->bytes, CallbackOf(number),
                               {.timeout = step.timeout});
    case Action::kSendMessage:
      return state.SendMessage(operation.written->bytes, CallbackOf(number),
                               {.timeout = step.timeout});
    case Action::kSendMessageTo: {
      if (step.target == kNone) {
        return state.SendMessageToAddress(
            step.target_name, step.port, operation.written->bytes,
            CallbackOf(number), {.timeout = step.timeout});
      }
      const ScenarioState& target = scenario_.states[step.target];
      return state.SendMessageToAddress(
          world_.address(target.host, target.family),
          PortOf(target.host, target.port, true), operation.written->bytes,
          CallbackOf(number), {.timeout = step.timeout});
    }
    case Action::kAbort: {
      absl::Status status = state.Abort(CallbackOf(number), step.direction);
      if (status.ok()) ++live.aborting;
      return status;
    }
    case Action::kAbortAndClose:
      return state.AbortAndClose(
          {.close_callback = [this, number, &live](AsyncIoState&) {
            live.closed = true;
            Interrupted(Direction::kIo, live, 0);
            End(number, {});
          }});
    case Action::kShutdown: {
      absl::StatusOr<bool> done =
          state.Shutdown(step.direction,
                         {.abort = step.abort, .callback = CallbackOf(number)});
      if (done.ok()) ++live.aborting;
      return done.status();
    }
    case Action::kClose: {
      if (live.closed) return absl::FailedPreconditionError("closed already");
      Ended ended;
      ended.count = state.Close();
      live.closed = true;
      Interrupted(Direction::kIo, live, 0);
      End(number, ended);
      return absl::OkStatus();
    }
    case Action::kReset: {
      if (live.closed) return absl::FailedPreconditionError("closed already");
      Handle handle = state.handle();
      state.Close({.keep_alive = true});
      world_.ResetConnection(scenario_.states[step.state].host, handle);
      live.closed = true;
      Interrupted(Direction::kIo, live, 0);
      End(number, {});
      return absl::OkStatus();
    }
    default:
      return absl::InternalError("no operation of a state");
  }
}

absl::Status Runner::StartConnect(Operation& operation,
                                  const ScenarioStep& step, LiveState& live) {
  const ScenarioState& wanted = scenario_.states[step.state];
  uint64_t number = operation.number;
  // The one of an earlier attempt, whose callback this may be.
  if (live.state != nullptr) {
    live.state->Close();
    old_states_.push_back(std::move(live.state));
  }
  live.closed = false;
  live.outgoing = std::make_shared<Stream>();
  live.incoming = std::make_shared<Stream>();
  WaitStateCollection& collection = *hosts_[wanted.host].collection;
  ConnectTcpOptions options = {
      .connect_timeout = step.timeout.value_or(absl::InfiniteDuration()),
      .keepalive = wanted.keepalive,
      .queue_output = wanted.queue_output.value_or(false)};
  auto made =
      step.target == kNone
          ? ConnectTcp(collection, step.target_name, step.port,
                       CallbackOf(number), std::move(options))
          : ConnectTcp(collection, world_.address(step.target, wanted.family),
                       PortOf(step.target, step.port, false),
                       CallbackOf(number), std::move(options));
  if (!made.ok()) return made.status();
  live.state = *std::move(made);
  live.connect = number;
  Adjust(step.state, *live.state);
  if (step.timeout.has_value() && *step.timeout != absl::InfiniteDuration()) {
    operation.timeout = ToNanoseconds(*step.timeout);
  }
  return absl::OkStatus();
}

void Runner::StartPlain(Operation& operation, const ScenarioStep& step,
                        LiveState& live) {
  uint64_t number = operation.number;
  ScenarioIndex host = scenario_.states[step.state].host;
  Kernel& kernel = world_.kernel(host);
  PlainSockets& plain = Plain(host);
  if (recording() != nullptr) {
    recording()->DescribeNext(scenario_.states[step.state].name,
                              DescribeAction(scenario_, step));
    recording()->OnStart(host, kPlainOperations | number, &live, "plain",
                         step.action == Action::kSend, world_.now());
  }
  auto done = [this, number](size_t count, bool end, Error error) {
    Ended ended;
    ended.status = !error.ok() ? IoStatus::kError
                   : end       ? IoStatus::kEof
                               : IoStatus::kOk;
    ended.error = error;
    ended.count = count;
    End(number, ended);
  };
  if (live.plain == kNoHandle) {
    FailStep(operation.step, "the socket is closed");
    return;
  }
  switch (step.action) {
    case Action::kSend: {
      if (plain.sending(live.plain)) {
        FailStep(operation.step, "the one before has not been sent yet");
        return;
      }
      operation.written = std::make_shared<Stream::Written>();
      std::string& bytes = operation.written->bytes;
      if (step.text.empty()) {
        bytes = Pattern(number, step.size);
      } else {
        while (bytes.size() < step.size) bytes += step.text;
      }
      live.outgoing->writes.push_back(operation.written);
      plain.Send(live.plain, bytes, std::move(done));
      return;
    }
    case Action::kReceive:
      if (plain.receiving(live.plain)) {
        FailStep(operation.step, "the one before is still receiving");
        return;
      }
      plain.Receive(
          live.plain, {.size = step.size, .sip = step.sip, .every = step.every},
          [this, number](std::string_view bytes) {
            if (Operation* operation = Find(number)) {
              Received(*operation, scenario_.steps[operation->step].state,
                       bytes);
            }
          },
          std::move(done));
      return;
    case Action::kShutdown:
      done(0, false, kernel.Shutdown(live.plain, step.direction));
      return;
    default: {
      Handle handle = std::exchange(live.plain, kNoHandle);
      plain.Forget(handle);
      if (step.action == Action::kReset) {
        world_.ResetConnection(host, handle);
      } else {
        kernel.Close(handle);
      }
      done(0, false, Error());
    }
  }
}

void Runner::Network(ScenarioIndex index) {
  const ScenarioStep& step = scenario_.steps[index];
  AIOS_CHECK(simulation() != nullptr, "only the simulated network does this");
  Simulation& simulation = *this->simulation();
  auto end_later = [&](absl::AnyInvocable<void()> function) {
    if (step.lasts == kForever) return;
    world_.At(world_.now() + step.lasts,
              [this, function = std::move(function)]() mutable {
                if (!over_) function();
              });
  };
  auto rule = [&](Rule made) {
    rules_[index] = std::move(made);
    end_later([this, index] { rules_.erase(index); });
  };
  auto hosts = [&](auto&& function) {
    function(SimHost(step.from), SimHost(step.to));
  };
  switch (step.action) {
    case Action::kPartition:
      hosts([&](Host& a, Host& b) {
        rule(simulation.Partition(a, b, !step.one_way));
      });
      break;
    case Action::kHold:
      hosts([&](Host& a, Host& b) {
        rule(simulation.Hold(a, b, !step.one_way));
      });
      break;
    case Action::kLose:
      hosts([&](Host& a, Host& b) {
        rule(simulation.Lose(a, b, step.per_million));
      });
      break;
    case Action::kLift:
      rules_.erase(step.lifts);
      break;
    case Action::kResetConnections:
      simulation.ResetConnections(SimHost(step.from), SimHost(step.to));
      break;
    case Action::kPause:
      SimHost(step.from).Pause();
      hosts_[step.from].was_paused = true;
      end_later([this, host = step.from] { SimHost(host).Resume(); });
      break;
    case Action::kResume:
      SimHost(step.from).Resume();
      break;
    case Action::kCrash:
      SimHost(step.from).Crash();
      hosts_[step.from].down = true;
      break;
    case Action::kRestart: {
      LiveHost& host = hosts_[step.from];
      if (!host.down) break;
      SimHost(step.from).Restart();
      host.down = false;
      for (LiveNameServer& server : name_servers_) {
        if (server.host == step.from) server.server->Restart();
      }
      for (size_t i = 0; i != states_.size(); ++i) {
        if (scenario_.states[i].host != step.from) continue;
        states_[i].plain = kNoHandle;
        if (states_[i].state != nullptr) {
          old_states_.push_back(std::move(states_[i].state));
        }
      }
      old_collections_.push_back(std::move(host.collection));
      if (host.plain != nullptr) old_plain_.push_back(std::move(host.plain));
      MakeHost(step.from);
      for (size_t i = 0; i != states_.size(); ++i) {
        const ScenarioState& state = scenario_.states[i];
        if (state.host != step.from) continue;
        states_[i].listener.reset();
        if (state.kind == ScenarioState::Kind::kListener) MakeListener(i);
        if (state.kind == ScenarioState::Kind::kUdp) MakeUdp(i);
      }
      break;
    }
    case Action::kStepClock:
      SimHost(step.from).StepClock(step.by);
      break;
    case Action::kDriftClock:
      SimHost(step.from).SetClockDrift(step.drift_per_million);
      break;
    case Action::kLimitDescriptors: {
      Host& host = SimHost(step.from);
      host.SetDescriptorsMax(host.descriptors_open() + step.spare);
      break;
    }
    default:
      break;
  }
  rows_[index].started = rows_[index].ended = 1;
  rows_[index].started_at = rows_[index].ended_at = Now();
  progress_[index].finished = true;
  --unfinished_;
}

// ---- Ends.

Operation* Runner::Find(uint64_t number) {
  auto found = operations_.find(number);
  return found == operations_.end() ? nullptr : found->second.get();
}

void Runner::Received(Operation& operation, ScenarioIndex state,
                      std::string_view bytes) {
  if (operation.text.size() < kTextMax) {
    operation.text.append(bytes.substr(0, kTextMax - operation.text.size()));
  }
  const std::shared_ptr<Stream>& stream = states_[state].incoming;
  if (stream == nullptr) return;
  std::string problem = stream->Check(bytes);
  if (!problem.empty()) {
    stream->unchecked = true;
    FailStep(operation.step, problem);
  }
}

// The operations that an abort callback stands for do not end by their own.
void Runner::Interrupted(Direction direction, LiveState& live, size_t count) {
  auto aborted = [&](uint64_t number, bool sure) {
    Operation* operation = Find(number);
    if (operation == nullptr) return;
    if (operation->written != nullptr) {
      operation->written->ended = sure;
      operation->written->unsure = !sure;
      operation->written->count = count;
    }
    Replace(number);
  };
  if (live.connect != 0) aborted(std::exchange(live.connect, 0), false);
  if (direction != Direction::kOutput && live.input != 0) {
    aborted(std::exchange(live.input, 0), false);
  }
  if (direction != Direction::kInput) {
    while (!live.outputs.empty()) {
      uint64_t number = live.outputs.front();
      live.outputs.pop_front();
      aborted(number, direction == Direction::kOutput && !live.closed);
      if (direction == Direction::kOutput) break;
    }
  }
}

void Runner::Replace(uint64_t number) {
  Operation* operation = Find(number);
  if (operation == nullptr) return;
  ScenarioIndex index = operation->step;
  // What was written stays as long as anything refers to it.
  operations_.erase(number);
  Progress& progress = progress_[index];
  using Kind = ScenarioExpectation::Kind;
  Kind kind = scenario_.steps[index].expect.kind;
  if (kind == Kind::kAny) {
    ++progress.ended;
    EndOfStep(index);
  } else if (kind != Kind::kNever) {
    FailStep(index, absl::StrCat("was aborted or closed without its callback; "
                                 "expected ",
                                 scenario_.steps[index].expect.text));
    ++progress.ended;
    EndOfStep(index);
  }
}

void Runner::OnChecking(uint64_t number, AsyncIoState& state,
                        const IoResult& result) {
  Operation* operation = Find(number);
  if (operation == nullptr || !result.ok()) {
    IoResult last = result;
    if (operation != nullptr) last.count += operation->consumed;
    OnEnd(number, state, last);
    return;
  }
  ScenarioIndex index = operation->step;
  const ScenarioStep& step = scenario_.steps[index];
  if (state.old_length() != operation->left) {
    FailStep(index, absl::StrCat("old_length is ", state.old_length(), ", but ",
                                 operation->left, " bytes were left"));
  }
  size_t size = result.data.size();
  size_t use = 0;
  bool finish = false;
  if (!step.until_text.empty()) {
    size_t from = operation->left < step.until_text.size()
                      ? 0
                      : operation->left - step.until_text.size();
    size_t found = result.data.find(step.until_text, from);
    finish = found != std::string_view::npos;
    if (finish) use = found + step.until_text.size();
  } else if (!step.to_end) {
    size_t wanted = step.size - operation->consumed;
    finish = size >= wanted;
    if (finish) use = wanted;
    if (!finish && step.discard) use = size;
  } else if (step.discard) {
    use = size;
  }
  Received(*operation, step.state, result.data.substr(0, use));
  operation->consumed += use;
  operation->left = size - use;
  if (!finish) {
    if (use != 0) {
      absl::StatusOr<size_t> left = state.Discard(use);
      if (!left.ok() || *left != size - use) {
        FailStep(index, "Discard: " + left.status().ToString());
      }
    }
    return;
  }
  absl::StatusOr<size_t> left = state.Finish(use);
  if (!left.ok() || *left != size - use) {
    FailStep(index, "Finish: " + left.status().ToString());
  }
  IoResult last = result;
  last.count = operation->consumed;
  OnEnd(number, state, last);
}

void Runner::OnEnd(uint64_t number, AsyncIoState&, const IoResult& result) {
  Operation* operation = Find(number);
  if (operation == nullptr) {
    Fail({}, "a callback ran for an operation that had ended already");
    return;
  }
  ScenarioIndex index = operation->step;
  const ScenarioStep& step = scenario_.steps[index];
  LiveState& live = states_[step.state];
  if (operation->starting) {
    FailStep(index, "its callback ran inside the call that started it");
  }
  if (live.closed) FailStep(index, "its callback ran after the close");
  if (callback_depth_ != 0) {
    FailStep(index, "its callback ran inside another callback");
  }
  ++callback_depth_;
  if (recording() != nullptr && !result.error.ok()) {
    recording()->DescribeLastEnd(result.error.Name());
  }
  Ended ended;
  ended.status = result.status;
  ended.error = result.error;
  ended.count = result.count;
  ended.truncated = result.truncated;
  switch (step.action) {
    case Action::kReadBuffer:
    case Action::kReceiveMessage:
      Received(*operation, step.state, result.data);
      live.input = 0;
      break;
    case Action::kReadWithChecking:
    case Action::kWaitForInput:
      live.input = 0;
      break;
    case Action::kConnect:
      live.connect = 0;
      // Its address may not have been known when it was accepted.
      for (size_t i = 0; i != states_.size() && result.ok(); ++i) {
        if (scenario_.states[i].listener != kNone &&
            states_[i].incoming == nullptr) {
          Join(live, states_[i]);
          if (states_[i].incoming == nullptr) continue;
          // It may have read and written already.
          live.outgoing->unchecked = true;
          live.incoming->unchecked = true;
        }
      }
      break;
    case Action::kWriteBuffer:
    case Action::kSendMessage:
    case Action::kSendMessageTo:
      operation->written->ended = true;
      operation->written->count = result.count;
      if (live.outputs.empty() || live.outputs.front() != number) {
        if (live.aborting == 0 || result.status != IoStatus::kAborted) {
          FailStep(index, "ended before a write that was queued before it");
        }
        std::erase(live.outputs, number);
      } else {
        live.outputs.pop_front();
      }
      break;
    case Action::kAbort:
      --live.aborting;
      if (result.interrupted || step.direction == Direction::kIo) {
        Interrupted(step.direction, live, result.count);
      }
      break;
    case Action::kShutdown:
      --live.aborting;
      if (step.abort) Interrupted(step.direction, live, 0);
      break;
    default:
      break;
  }
  CheckTime(*operation, step, ended);
  End(number, std::move(ended));
  --callback_depth_;
}

void Runner::CheckTime(const Operation& operation, const ScenarioStep& step,
                       const Ended& ended) {
  if (ended.status != IoStatus::kTimeout || !operation.timeout.has_value()) {
    return;
  }
  Nanoseconds deadline =
      DeadlineAfter(operation.started_at, *operation.timeout);
  if (world_.now() < deadline) {
    FailStep(operation.step, "timed out before its time");
  }
  bool exact = step.action != Action::kReadWithChecking && !operation.queued &&
               !hosts_[scenario_.states[step.state].host].was_paused;
  if (exact && world_.now() > deadline + world_.later_max()) {
    FailStep(operation.step,
             absl::StrCat("timed out ", TimeText(world_.now() - deadline),
                          " after its time"));
  }
}

void Runner::End(uint64_t number, Ended ended) {
  auto found = operations_.find(number);
  if (found == operations_.end()) return;
  std::unique_ptr<Operation> operation = std::move(found->second);
  operations_.erase(found);
  ScenarioIndex index = operation->step;
  const ScenarioStep& step = scenario_.steps[index];
  Progress& progress = progress_[index];
  ScenarioRow& row = rows_[index];
  ended.text = operation->text;
  if (recording() != nullptr && scenario_.states[step.state].plain) {
    recording()->OnEnd(scenario_.states[step.state].host,
                       kPlainOperations | number,
                       OperationObserver::End::kCallback, ended.status,
                       ended.count, world_.now());
    if (!ended.error.ok()) recording()->DescribeLastEnd(ended.error.Name());
  }
  if (step.action == Action::kSend) {
    operation->written->ended = true;
    operation->written->count = ended.count;
  }
  ++progress.ended;
  ++row.ended;
  row.ended_at = Now();
  row.status = StatusText(ended);
  row.count = ended.count;
  row.truncated = ended.truncated;
  Judge(index, *operation, ended);
  progress.last = std::move(ended);
  // Its buffer is free from here on; who still uses it is found out.
  operation.reset();
  if (progress.started < progress.wanted && step.chain != 1 && !over_) {
    StartOperation(index);
  }
  EndOfStep(index);
}

void Runner::EndOfStep(ScenarioIndex index) {
  Progress& progress = progress_[index];
  if (progress.finished || progress.ended < progress.wanted) return;
  progress.finished = true;
  progress.order = next_order_++;
  if (scenario_.steps[index].expect.kind != ScenarioExpectation::Kind::kNever) {
    --unfinished_;
  }
  ScenarioIndex host = scenario_.states[scenario_.steps[index].state].host;
  for (ScenarioIndex follower : progress.followers) {
    const ScenarioStep& step = scenario_.steps[follower];
    if (over_) return;
    if (IsOperation(step.action) && step.plus == 0 &&
        scenario_.states[step.state].host == host &&
        scenario_.states[step.state].plain ==
            scenario_.states[scenario_.steps[index].state].plain) {
      StartOperations(follower, step.times);
      continue;
    }
    world_.At(world_.now() + step.plus, [this, follower] {
      if (!over_) StartStep(follower);
    });
  }
}

std::string Runner::Mismatch(const ScenarioStep& step,
                             const Operation& operation,
                             const ScenarioOutcome& outcome,
                             const Ended& ended) {
  if (outcome.status.has_value() && ended.status != *outcome.status) {
    return "the status";
  }
  if (!outcome.error.empty() && ended.error.Name() != outcome.error) {
    return "the error";
  }
  if (outcome.count.has_value() &&
      (ended.count < outcome.count->min || ended.count > outcome.count->max)) {
    return "the count";
  }
  if (outcome.truncated.has_value() && ended.truncated != *outcome.truncated) {
    return "whether it was truncated";
  }
  if (outcome.text.has_value() &&
      ended.text != outcome.text->substr(0, kTextMax)) {
    return "the text";
  }
  auto within = [&](Nanoseconds time, const TimeRange& range) {
    return time >= range.min - world_.earlier_max() &&
           time <= range.max + world_.later_max();
  };
  if (outcome.at.has_value() && !within(Now(), *outcome.at)) {
    return "the time";
  }
  if (outcome.takes.has_value() &&
      !within(world_.now() - operation.started_at, *outcome.takes)) {
    return "the time that it took";
  }
  static_cast<void>(step);
  return {};
}

void Runner::Judge(ScenarioIndex index, const Operation& operation,
                   const Ended& ended) {
  const ScenarioStep& step = scenario_.steps[index];
  using Kind = ScenarioExpectation::Kind;
  std::string wrong;
  switch (step.expect.kind) {
    case Kind::kAny:
      return;
    case Kind::kNever:
      wrong = "that it ended";
      break;
    case Kind::kRefused:
      return;  // said already
    case Kind::kOutcome:
      for (const ScenarioOutcome& outcome : step.expect.outcomes) {
        wrong = Mismatch(step, operation, outcome, ended);
        if (wrong.empty()) return;
      }
      if (step.expect.outcomes.size() > 1) wrong.clear();
      break;
  }
  std::string what = absl::StrCat(
      "ended with ", StatusText(ended), ", ", ended.count, " bytes",
      ended.truncated ? ", truncated" : "", ", at ", TimeText(Now()),
      ", after ", TimeText(world_.now() - operation.started_at));
  if (!ended.text.empty()) {
    absl::StrAppend(&what, ", \"", absl::CHexEscape(ended.text), "\"");
  }
  absl::StrAppend(&what, "; expected ", step.expect.text);
  if (!wrong.empty()) absl::StrAppend(&what, ": ", wrong, " differs");
  FailStep(index, what);
}

// ---- The end.

bool Runner::AllDone() { return unfinished_ == 0; }

void Runner::JudgeTheRest() {
  using Kind = ScenarioExpectation::Kind;
  for (size_t i = 0; i != progress_.size(); ++i) {
    const ScenarioStep& step = scenario_.steps[i];
    const Progress& progress = progress_[i];
    if (!IsOperation(step.action)) continue;
    if (step.expect.kind == Kind::kNever) {
      if (progress.started == 0) FailStep(i, "was never started");
      if (progress.ended == 0) rows_[i].status = "no callback";
      continue;
    }
    if (progress.started == 0) {
      FailStep(i, "was never started");
    } else if (step.expect.kind != Kind::kAny &&
               progress.ended < progress.started) {
      FailStep(i, absl::StrCat("has not ended",
                               progress.started == 1
                                   ? std::string()
                                   : absl::StrCat(" (", progress.ended, " of ",
                                                  progress.started, " have)"),
                               "; expected ", step.expect.text));
    }
    for (const ScenarioOutcome& outcome : step.expect.outcomes) {
      if (outcome.count_of == kNone || !progress.last.has_value()) continue;
      const std::optional<Ended>& other = progress_[outcome.count_of].last;
      if (other.has_value() && other->count != progress.last->count) {
        FailStep(i, absl::StrCat("count ", progress.last->count, ", but ",
                                 scenario_.steps[outcome.count_of].name,
                                 " has ", other->count));
      }
    }
  }
  for (const Scenario::Asked& asked : scenario_.asked) {
    if (simulation() == nullptr) break;
    size_t count = 0;
    for (const LiveNameServer& server : name_servers_) {
      count += server.server->CountQueries(asked.name);
    }
    if (count >= asked.count.min && count <= asked.count.max) continue;
    Fail(asked.place, absl::StrCat("name servers were asked ", count,
                                   " times for ", asked.name));
  }
  for (const Scenario::Order& order : scenario_.orders) {
    for (size_t i = 1; i < order.steps.size(); ++i) {
      uint64_t before = progress_[order.steps[i - 1]].order;
      uint64_t after = progress_[order.steps[i]].order;
      if (before == 0 || after == 0 || before < after) continue;
      Fail(order.place,
           absl::StrCat(scenario_.steps[order.steps[i]].name, " ended before ",
                        scenario_.steps[order.steps[i - 1]].name));
    }
  }
}

void Runner::TearDown() {
  over_ = true;
  rules_.clear();
  if (simulation() != nullptr) simulation()->SetFaults({});
  for (size_t i = 0; i != states_.size(); ++i) {
    LiveState& live = states_[i];
    if (live.plain != kNoHandle) {
      ScenarioIndex host = scenario_.states[i].host;
      if (hosts_[host].plain != nullptr) hosts_[host].plain->Forget(live.plain);
      world_.kernel(host).Close(live.plain);
    }
    live.state.reset();
    live.listener.reset();
  }
  old_states_.clear();
  name_servers_.clear();
  for (LiveHost& host : hosts_) {
    host.plain.reset();
    host.collection.reset();
  }
  old_plain_.clear();
  old_collections_.clear();
  operations_.clear();
}

ScenarioResult Runner::Run() {
  bool made = MakeStates();
  zero_ = result_.zero = world_.now();
  if (made) {
    ScheduleSteps();
    bool to_end = scenario_.runs_to_end;
    for (const ScenarioStep& step : scenario_.steps) {
      if (step.expect.kind == ScenarioExpectation::Kind::kNever) to_end = true;
    }
    std::string report = world_.RunUntil([&] { return !to_end && AllDone(); },
                                         zero_ + scenario_.end);
    if (!report.empty()) Fail({}, report);
    JudgeTheRest();
    if (simulation() != nullptr && scenario_.events_max != 0 &&
        simulation()->events() > scenario_.events_max) {
      Fail(scenario_.events_max_place,
           absl::StrCat("it took ", simulation()->events(),
                        " events; expected at most ", scenario_.events_max));
    }
  }
  result_.time = Now();
  if (!result_.passed() && simulation() != nullptr) {
    result_.report = simulation()->Report();
  }
  // Closing everything is no part of the scenario.
  if (recording() != nullptr) result_.recording = simulation()->TakeRecording();
  TearDown();
  for (ScenarioRow& row : rows_) {
    if (row.step != kNone) result_.rows.push_back(std::move(row));
  }
  return std::move(result_);
}

// The simulated network.
class SimWorld final : public ScenarioWorld {
 public:
  SimWorld(const Scenario& scenario, const ScenarioRunOptions& options)
      : simulation_(SimulationOptions{
            .seed = options.seed, .link = scenario.link, .faults = {}}) {
    for (const Choice& choice : options.choices) {
      simulation_.choices().Set(choice);
    }
    if (options.record) {
      simulation_.choices().Record();
      simulation_.trace().KeepAll();
    }
    if (options.draw) simulation_.StartRecording();
    for (const ScenarioHost& host : scenario.hosts) {
      simulation_.AddHost(host.name, host.options);
    }
    for (const ScenarioLink& link : scenario.links) {
      simulation_.SetLink(*simulation_.hosts()[link.from],
                          *simulation_.hosts()[link.to], link.options);
    }
  }

  Simulation* simulation() override { return &simulation_; }
  Nanoseconds now() override { return simulation_.now(); }
  Kernel& kernel(ScenarioIndex host) override { return Of(host).kernel(); }
  IpAddress address(ScenarioIndex host, Family family) override {
    return family == Family::kIpv4 ? Of(host).ipv4() : Of(host).ipv6();
  }
  std::shared_ptr<WaitStateCollection> MakeCollection(
      ScenarioIndex host, WaitStateCollectionOptions options) override {
    auto made = MakeWaitStateCollection(kernel(host), std::move(options));
    AIOS_CHECK(made.ok(), "a host has no descriptor for its collection");
    return *std::move(made);
  }
  bool own_ports() const override { return true; }

  void At(Nanoseconds time, absl::AnyInvocable<void()> function) override {
    simulation_.After(absl::Nanoseconds(time - simulation_.now()),
                      std::move(function));
  }
  void Poll(absl::AnyInvocable<Nanoseconds()>) override {}

  std::string RunUntil(absl::FunctionRef<bool()> done,
                       Nanoseconds time) override {
    absl::Duration rest = absl::Nanoseconds(time - simulation_.now());
    // When nothing is left to do, nothing more would happen until then.
    RunResult result =
        simulation_.RunUntil(done, {.time_max = rest, .report = false});
    return result.reason == StopReason::kTurnLimit ? simulation_.Report()
                                                   : result.report;
  }

  void ResetConnection(ScenarioIndex host, Handle handle) override {
    RawSockets(Of(host)).CloseWithReset(handle);
  }

 private:
  Host& Of(ScenarioIndex host) { return *simulation_.hosts()[host]; }

  Simulation simulation_;
};

}  // namespace

ScenarioResult RunScenarioIn(const Scenario& scenario, ScenarioWorld& world) {
  return Runner(scenario, world).Run();
}

ScenarioResult RunScenario(const Scenario& scenario,
                           const ScenarioRunOptions& options) {
  SimWorld world(scenario, options);
  ScenarioResult result = RunScenarioIn(scenario, world);
  Simulation& simulation = *world.simulation();
  // What closing has left behind goes away by itself, or not at all.
  simulation.RunUntilIdle();
  for (const std::unique_ptr<Host>& host : simulation.hosts()) host->Resume();
  RunResult idle = simulation.RunUntilIdle();
  std::string leftovers = simulation.Leftovers();
  if (!idle || !leftovers.empty()) {
    result.violations.push_back(
        "left over when all was closed: " + idle.report + leftovers);
  }
  result.violations.insert(result.violations.end(),
                           simulation.violations().begin(),
                           simulation.violations().end());
  for (const std::string& violation : result.violations) {
    result.failures.push_back(AtPlace(scenario.file, {}, violation));
  }
  result.events = simulation.events();
  result.hash = simulation.trace_hash();
  for (size_t i = 0; i != result.faults.size(); ++i) {
    result.faults[i] = simulation.fault_count(static_cast<Fault>(i));
  }
  if (options.record) {
    result.choices = simulation.choices().recorded();
    result.trace = simulation.trace().all();
  }
  return result;
}

SimulatedOnly WhatOnlySimulationCan(const Scenario& scenario) {
  SimulatedOnly only;
  if (!scenario.only_simulated.empty()) {
    only.whole.emplace_back(scenario.only_simulated);
  }
  if (!scenario.name_servers.empty()) {
    only.whole.emplace_back("name servers: only simulated hosts can be one");
  }
  for (const ScenarioStep& step : scenario.steps) {
    if (IsOperation(step.action)) continue;
    only.whole.emplace_back(absl::StrCat(
        "line ", step.place.line, ": ", std::string(ActionName(step.action)),
        ": a real kernel cannot be told to do this"));
  }
  auto rates = [&](auto&& function) {
    for (const ScenarioFaults& faults : scenario.faults) {
      if (function(faults.rates)) return true;
    }
    return false;
  };
  if (rates([](const FaultRates& r) {
        return r.loss + r.duplication + r.reordering + r.corruption != 0;
      })) {
    only.whole.emplace_back("faults of the network: loopback has none");
  }
  if (rates([](const FaultRates& r) { return r.error != 0; })) {
    only.whole.emplace_back("errors of calls: a real kernel makes its own");
  }
  if (rates([](const FaultRates& r) {
        return r.short_read + r.short_write + r.would_block + r.spurious +
                   r.interrupt + r.split + r.join !=
               0;
      })) {
    only.parts.emplace_back(
        "short reads and writes, split and joined segments, spurious and "
        "late "
        "readiness: a real kernel decides that itself");
  }
  bool slow = scenario.link.bits_per_second != 0;
  Nanoseconds latency = ToNanoseconds(scenario.link.latency.base);
  for (const ScenarioLink& link : scenario.links) {
    slow |= link.options.bits_per_second != 0;
    latency = std::max(latency, ToNanoseconds(link.options.latency.base));
  }
  if (slow) only.parts.emplace_back("bandwidth: loopback has no limit");
  if (latency > ToNanoseconds(LinkOptions().latency.base)) {
    only.parts.emplace_back("latency: loopback has next to none");
  }
  for (const ScenarioHost& host : scenario.hosts) {
    if (host.options.descriptors_max != HostOptions().descriptors_max ||
        host.options.ephemeral_port_first !=
            HostOptions().ephemeral_port_first) {
      only.whole.emplace_back("limits of a host: they are the whole machine's");
    }
  }
  return only;
}

}  // namespace aios::sim
