// A scenario: what happens on a simulated network, and what should come of it,
// as a file that a person reads and writes.
//
//   title: a read that times out keeps what came
//   hosts: [client, server]
//   states:
//     alice: {host: client, connect: bob}
//     bob: {host: server}
//   steps:
//     - {at: 0s, state: alice, read_buffer: 10, timeout: 300ms,
//        expect: {status: timeout, count: 4, at: 300ms}}
//     - {at: 100ms, state: bob, write_buffer: abcd}
//
// docs/scenarios.md describes the format, and sim/scenarios has examples.

#ifndef AIOS_SIM_SCENARIO_H_
#define AIOS_SIM_SCENARIO_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/address.h"
#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/wait_state_collection.h"
#include "sim/name_server.h"
#include "sim/network_options.h"
#include "sim/simulation.h"
#include "sim/yaml_tree.h"

namespace aios::sim {

// A place in one of the lists of a `Scenario`.
using ScenarioIndex = size_t;
inline constexpr ScenarioIndex kNone =
    std::numeric_limits<ScenarioIndex>::max();

// Inclusive.
struct CountRange {
  uint64_t min = 0;
  uint64_t max = std::numeric_limits<uint64_t>::max();
};
struct TimeRange {
  Nanoseconds min = 0;
  Nanoseconds max = kForever;
};

struct ScenarioHost {
  std::string name;
  HostOptions options;
  Limits limits;
};

struct ScenarioLink {
  ScenarioIndex from = kNone;  // with `to` `kNone`, too: every link
  ScenarioIndex to = kNone;
  LinkOptions options;
};

// Rates that hold for a while. Where several hold, the greatest counts.
struct ScenarioFaults {
  FaultRates rates;
  Nanoseconds from = 0;
  Nanoseconds until = kForever;
};

// What a name server knows of a name.
struct ScenarioRecord {
  std::string name;
  // An address of its own, or those of a host, of one family or of both; an
  // alias; or nothing, but the name exists.
  std::optional<IpAddress> address;
  ScenarioIndex host = kNone;
  std::optional<Family> family;
  std::string alias;
  absl::Duration ttl = NameServer::kTtl;
};

struct ScenarioNameServer {
  ScenarioIndex host = kNone;
  NameServerOptions options;
  std::vector<ScenarioRecord> records;
  std::vector<DnsRule> rules;
};

// How the states look names up.
struct ScenarioResolver {
  // Hosts of name servers; all of them, unless the file says which.
  std::vector<ScenarioIndex> servers;
  Family family = Family::kIpv4;
  std::optional<absl::Duration> timeout;
  std::optional<int> tries;
};

struct ScenarioState {
  enum class Kind : uint8_t {
    kOpen,      // made by a `connect` step, or accepted by a listener
    kTcp,       // connected before the first step
    kUdp,       // bound to a port
    kUdpPeer,   // connected UDP
    kListener,  // accepts connections
  };

  std::string name;
  TextPlace place;
  Kind kind = Kind::kOpen;
  ScenarioIndex host = kNone;
  // A plain socket, used without aios.
  bool plain = false;
  // The other end, of TCP and connected UDP; of TCP on both sides.
  ScenarioIndex peer = kNone;
  // This end connects, the other is accepted.
  bool active = false;
  uint16_t port = 0;
  Family family = Family::kIpv4;
  std::optional<bool> queue_output;
  bool keepalive = false;
  absl::Duration read_timeout = absl::InfiniteDuration();
  absl::Duration write_timeout = absl::InfiniteDuration();
  std::optional<size_t> max_read;
  int backlog = 0;
  // The states of a listener's connections, in order.
  std::vector<ScenarioIndex> accepts;
  // The listener that makes it.
  ScenarioIndex listener = kNone;
};

enum class Action : uint8_t {
  // Of aios states.
  kConnect,
  kReadBuffer,
  kReadWithChecking,
  kReceiveMessage,
  kWaitForInput,
  kWriteBuffer,
  kSendMessage,
  kSendMessageTo,
  kAbort,
  kAbortAndClose,
  kStopListening,
  // Of plain sockets.
  kSend,
  kReceive,
  // Of both.
  kShutdown,
  kClose,
  kReset,
  // Of the network and its hosts.
  kPartition,
  kHold,
  kLose,
  kLift,
  kResetConnections,
  kPause,
  kResume,
  kCrash,
  kRestart,
  kStepClock,
  kDriftClock,
  kLimitDescriptors,
};

// "read_buffer", …
std::string_view ActionName(Action action);
// Whether it is done to a state, which then has an outcome.
bool IsOperation(Action action);

// One way in which an operation may end. What is not given may be anything.
struct ScenarioOutcome {
  std::optional<IoStatus> status;
  std::string error;  // "ECONNRESET"; empty: any
  std::optional<CountRange> count;
  // The same count as that operation's.
  ScenarioIndex count_of = kNone;
  std::optional<TimeRange> at;     // since the first step's zero
  std::optional<TimeRange> takes;  // since its own start
  std::optional<std::string> text;
  std::optional<bool> truncated;
};

struct ScenarioExpectation {
  enum class Kind : uint8_t {
    kOutcome,  // ends in one of `outcomes`
    kRefused,  // the call returns `refused`
    kNever,    // no callback
    kAny,      // whatever
  };
  TextPlace place;
  Kind kind = Kind::kOutcome;
  std::vector<ScenarioOutcome> outcomes;
  absl::StatusCode refused = absl::StatusCode::kOk;
  std::string text;  // for people
};

struct ScenarioStep {
  TextPlace place;
  // Empty, or unique.
  std::string name;
  // When: at a time, or in the callback of another step's operation, or `plus`
  // after that.
  Nanoseconds at = 0;
  ScenarioIndex after = kNone;
  Nanoseconds plus = 0;

  Action action = Action::kReadBuffer;
  ScenarioIndex state = kNone;
  // So many at once.
  uint32_t times = 1;
  // So many in all, each started in the callback of the one before.
  uint32_t chain = 1;

  size_t size = 0;         // to read, or to write
  std::string text;        // to write; repeated to `size`
  std::string until_text;  // `read_with_checking`: up to and with this
  bool discard = false;    // and consumed in pieces, not at once
  bool to_end = false;     // up to the end of the stream
  std::optional<absl::Duration> timeout;
  std::optional<size_t> max_read;
  Direction direction = Direction::kInput;
  bool abort = false;
  // `connect`: a host and port; `send_message_to`: a state. Or else a name and
  // port.
  ScenarioIndex target = kNone;
  std::string target_name;
  uint16_t port = 0;
  // `receive` by pieces.
  size_t sip = 0;
  Nanoseconds every = 0;
  // Of the network.
  ScenarioIndex from = kNone;
  ScenarioIndex to = kNone;
  bool one_way = false;
  uint32_t per_million = 0;
  absl::Duration by;
  int64_t drift_per_million = 0;
  int spare = 0;
  // How long it is in force.
  Nanoseconds lasts = kForever;
  ScenarioIndex lifts = kNone;

  ScenarioExpectation expect;
};

struct Scenario {
  std::string file;
  std::string source;
  std::string title;
  std::string about;
  // Why no real kernel can do this; empty: it can.
  std::string only_simulated;
  std::vector<ScenarioHost> hosts;
  LinkOptions link;
  std::vector<ScenarioLink> links;
  std::vector<ScenarioFaults> faults;
  std::vector<ScenarioNameServer> name_servers;
  ScenarioResolver resolver;
  // How often the name servers are asked for a name, of whatever type.
  struct Asked {
    TextPlace place;
    std::string name;
    CountRange count;
  };
  std::vector<Asked> asked;
  std::vector<ScenarioState> states;
  std::vector<ScenarioStep> steps;
  // Operations that end in this order.
  struct Order {
    TextPlace place;
    std::vector<ScenarioIndex> steps;
  };
  std::vector<Order> orders;
  // When it is over at the latest; what should have happened has.
  Nanoseconds end = 0;
  // Given in the file: it is not over before.
  bool runs_to_end = false;
  // How many events it may take at most, setting up included: who spins takes
  // more. 0: any number.
  uint64_t events_max = 0;
  TextPlace events_max_place;
};

// Errors: InvalidArgument, "file:line:column: what was expected".
absl::StatusOr<Scenario> ParseScenario(std::string_view file,
                                       std::string_view text);

// "300ms", "1.5s", "49d": never negative, no more than a hundred years.
std::optional<Nanoseconds> ParseScenarioTime(std::string_view text);
// "4", "4KiB", "1.5MiB".
std::optional<uint64_t> ParseScenarioSize(std::string_view text);

// "300ms", "1.5s", without loss.
std::string TimeText(Nanoseconds time);

// What a step does, in one line: "alice: read_buffer 10, timeout 300ms".
std::string DescribeStep(const Scenario& scenario, const ScenarioStep& step);
// Of one of its operations, without the state.
std::string DescribeAction(const Scenario& scenario, const ScenarioStep& step);

}  // namespace aios::sim

#endif  // AIOS_SIM_SCENARIO_H_
