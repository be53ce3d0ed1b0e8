// A simulated host as a name server: real DNS messages over simulated UDP and
// TCP, right answers from a zone, and on request every bad one.
//
//   sim::NameServer dns(host);
//   dns.AddAddress("www.test", server.ipv4());
//   dns.AddRule({.name = "slow.test", .delay = absl::Milliseconds(300)});
//   dns.AddRule({.fault = sim::DnsFault::kSilence, .per_million = 50'000});
//
// It answers as a resolver does that knows everything: it follows aliases, and
// what is not in its zone does not exist.

#ifndef AIOS_SIM_NAME_SERVER_H_
#define AIOS_SIM_NAME_SERVER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "aios/address.h"
#include "aios/kernel.h"
#include "sim/choice.h"
#include "sim/dns_message.h"
#include "sim/network_options.h"
#include "sim/simulation.h"

namespace aios::sim {

// What a server does with a query instead of answering it well.
enum class DnsFault : uint8_t {
  kNone,
  // A right answer, late.
  kDelay,
  // No answer.
  kSilence,
  // NXDOMAIN, SERVFAIL, REFUSED, whatever the zone says.
  kNameError,
  kServerFailure,
  kRefused,
  // FORMERR to a query with EDNS, as old servers do.
  kFormatErrorToEdns,
  // UDP: nothing but the word that there is more by TCP.
  kTruncated,
  kWrongId,
  // The answer is one to another question.
  kWrongQuestion,
  // UDP: it comes from another address of the host, or else from another port.
  kOtherAddress,
  // Before the right answer come some that others made up: with a wrong id, and
  // with the right id from another address.
  kForged,
  // The right answer, and records of a name that nobody asked for.
  kPoisoned,
  // A datagram, or message, of no bytes.
  kEmpty,
  // Random bytes, half the time behind the right header.
  kGarbage,
  // The right answer up to somewhere.
  kCutOff,
  // A name that refers to itself by compression.
  kNameLoop,
  // UDP: more than the client can take. TCP: as much as a message can be.
  kOversized,
  // Overtaken by the next answer, or late by 100 ms if there is none.
  kOutOfOrder,
  kTwice,
  // These make the client come by TCP, as `kTruncated`. Then the query is
  // answered with RST; the connection ends in the middle of the answer; there
  // is no answer.
  kTcpReset,
  kTcpEnd,
  kTcpSilence,
  // UDP: no answer to a query with EDNS, as some old servers and firewalls do.
  kSilenceToEdns,
  kCount,
};

// "silence", "nxdomain", …
std::string_view DnsFaultName(DnsFault fault);
// `DnsFault::kCount` for an unknown name.
DnsFault DnsFaultByName(std::string_view name);

struct DnsRule {
  // Of whom it holds; empty: of all names. Upper and lower case are the same.
  std::string name = {};
  // Of which queries; none: of all.
  std::optional<DnsType> type = std::nullopt;
  DnsFault fault = DnsFault::kNone;
  // Before whatever it answers.
  absl::Duration delay = absl::ZeroDuration();
  // Chance decides for each query, so many times in a million.
  uint32_t per_million = 1'000'000;
  // Holds for so many queries.
  uint64_t times_max = std::numeric_limits<uint64_t>::max();
};

// A query that has come in.
struct DnsQuery {
  Nanoseconds time = 0;
  SocketAddress client;
  SocketAddress server;
  bool tcp = false;
  bool edns = false;
  uint16_t id = 0;
  std::string name;  // as it was asked for
  DnsType type = DnsType::kA;
  // What is done with it.
  DnsFault fault = DnsFault::kNone;
};

struct NameServerOptions {
  uint16_t port = 53;
  // Without it, connections are refused.
  bool tcp = true;
  // For how long it is certain that a name does not exist.
  absl::Duration negative_ttl = absl::Minutes(1);
};

class NameServer {
 public:
  static constexpr absl::Duration kTtl = absl::Hours(1);

  // What forged and poisoned records say: nobody has these addresses.
  static IpAddress PoisonIpv4();
  static IpAddress PoisonIpv6();
  // The name that poisoned answers tell about, unasked.
  static constexpr std::string_view kPoisonedName = "victim.test";

  // Serves at once, on every address of the host, and must be gone before the
  // host is. It is a program of the host, which is paused and crashes with it.
  explicit NameServer(Host& host, NameServerOptions options = {});
  ~NameServer();
  NameServer(const NameServer&) = delete;
  NameServer& operator=(const NameServer&) = delete;

  // Serves again, after the host has been restarted.
  void Restart();

  // ---- The zone. Names are those of `DnsName::Parse`; it is a mistake to give
  // others. Times to live are cut down to seconds.

  // One of the addresses of a name, in the order in which it answers.
  void AddAddress(std::string_view name, const IpAddress& address,
                  absl::Duration ttl = kTtl);
  // CNAME. A name with an alias has no address.
  void AddAlias(std::string_view name, std::string_view target,
                absl::Duration ttl = kTtl);
  // A name without any record.
  void AddName(std::string_view name);
  // The name does not exist any more.
  void Remove(std::string_view name);

  // ---- Bad answers. Of the rules that hold for a query, the first one that
  // chance does not leave out counts.

  // Answers every message, a query or not, with what `function` makes of it,
  // whatever the zone and the rules say: at most 65,535 bytes by TCP. For tests
  // that know better.
  using AnswerFunction =
      absl::AnyInvocable<std::string(std::string_view message, bool tcp)>;
  void AnswerWith(AnswerFunction function) { function_ = std::move(function); }

  void AddRule(const DnsRule& rule);
  void ClearRules() { rules_.clear(); }

  // How often a fault was applied, and how often that made a difference for the
  // client.
  FaultCount fault_count(DnsFault fault) const {
    return fault_counts_[static_cast<size_t>(fault)];
  }

  // ---- What was asked.

  // In the order of arrival. It grows with the run.
  const std::vector<DnsQuery>& queries() const { return queries_; }
  // How many there were for the name, of the type or of all.
  size_t CountQueries(std::string_view name,
                      std::optional<DnsType> type = std::nullopt) const;
  // Messages that were no queries.
  uint64_t malformed() const { return malformed_; }

  // Connections that are open.
  size_t connections() const { return connections_.size(); }

 private:
  struct UdpSocket {
    Handle handle = kNoHandle;
    SocketAddress local;
    Readiness interest = kNotReady;
  };
  struct Listener {
    Handle handle = kNoHandle;
    Readiness interest = kNotReady;
  };
  struct Connection {
    uint64_t number = 0;
    Handle handle = kNoHandle;
    SocketAddress client;
    SocketAddress server;
    Readiness interest = kNotReady;
    std::string input;
    std::string output;
    bool input_ended = false;
    bool end_after_output = false;
    bool broken = false;
    size_t answers_due = 0;
  };
  struct Rule {
    DnsRule wanted;
    std::optional<DnsName> name;
    ChoiceEntity entity;
    uint64_t times = 0;
  };
  // Where a query came from, and its answer goes to.
  struct Client {
    SocketAddress address;
    SocketAddress server;
    size_t udp = 0;           // of `udp_`
    uint64_t connection = 0;  // 0: by UDP
    bool tcp() const { return connection != 0; }
  };
  struct Answer {
    enum class Kind : uint8_t { kBytes, kReset, kEnd };
    Client client;
    Kind kind = Kind::kBytes;
    bool from_elsewhere = false;
    // Waits to be overtaken.
    bool held = false;
    std::string bytes;
  };

  void Serve();
  void CloseAll();
  UdpSocket OpenUdp(const SocketAddress& local);
  // By number of the socket: another one for its answers.
  size_t Elsewhere(size_t udp);
  Nanoseconds Turn();
  bool ReceiveFrom(size_t udp);
  bool AcceptFrom(const Listener& listener);
  bool ReceiveFrom(Connection& connection);
  void SendTo(Connection& connection);
  void SetInterest(Handle handle, Readiness& interest, Readiness wanted);
  Connection* FindConnection(uint64_t number);

  void OnMessage(const Client& client, std::string_view bytes);
  Rule* RuleFor(const DnsName& name, DnsType type);
  DnsMessage RightAnswer(const DnsMessage& query);
  void Lookup(const DnsQuestion& question, DnsMessage& answer);
  void AnswerBy(Rule* rule, const Client& client, const DnsMessage& query);
  // The bytes of a message, cut down to what the client can take.
  std::string Encoded(const Client& client, const DnsMessage& query,
                      const DnsMessage& answer) const;
  std::string Garbage(Rule& rule, std::string_view right);
  void Oversize(const Client& client, DnsMessage& answer) const;
  void Put(Nanoseconds due, Answer answer);
  // False when it has to wait until the socket takes it.
  bool Send(Answer& answer);
  void SendDue();

  std::vector<DnsRecord>& Records(const DnsName& name);

  Host& host_;
  const NameServerOptions options_;
  std::unique_ptr<Poller> poller_;
  std::vector<UdpSocket> udp_;
  std::map<size_t, size_t> elsewhere_;
  std::vector<Listener> listeners_;
  // Nothing is accepted before this.
  Nanoseconds accept_at_ = 0;
  std::list<Connection> connections_;
  uint64_t next_connection_ = 1;
  // By the time to send it and the order of their making.
  std::map<std::pair<Nanoseconds, uint64_t>, Answer> answers_;
  uint64_t next_answer_ = 1;
  // A socket would not take any.
  bool blocked_ = false;

  // By folded name.
  std::map<DnsName, std::vector<DnsRecord>> zone_;
  std::list<Rule> rules_;
  AnswerFunction function_;
  uint64_t next_rule_ = 1;
  std::array<FaultCount, static_cast<size_t>(DnsFault::kCount)> fault_counts_ =
      {};
  std::vector<DnsQuery> queries_;
  uint64_t malformed_ = 0;
  std::vector<char> room_;
};

}  // namespace aios::sim

#endif  // AIOS_SIM_NAME_SERVER_H_
