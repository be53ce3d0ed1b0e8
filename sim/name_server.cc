#include "sim/name_server.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "aios/check.h"
#include "aios/duration.h"
#include "aios/error.h"
#include "sim/raw_sockets.h"
#include "sim/trace.h"

namespace aios::sim {

namespace {

// Beside those of links and rules: servers are made when a test wants them.
constexpr uint64_t kNameServerEntities = uint64_t{3} << 56;

constexpr size_t kMessageMax = 65535;
constexpr size_t kHeaderSize = 12;
// What a datagram may be without EDNS.
constexpr size_t kDatagramMax = 512;
constexpr uint16_t kEdnsSize = 1232;
constexpr size_t kOversizedDatagram = 8192;

constexpr size_t kAliasesMax = 16;
constexpr size_t kConnectionsMax = 256;
// A connection whose client does not read is not read from beyond this.
constexpr size_t kOutputMax = size_t{1} << 20;
// Queries beyond so many that wait for their answer are forgotten.
constexpr size_t kAnswersMax = 100'000;
// Of one socket in one turn.
constexpr int kDatagramsPerTurnMax = 64;
// For a descriptor.
constexpr Nanoseconds kAcceptPause = 10'000'000;
constexpr Nanoseconds kHeldMax = 100'000'000;

constexpr std::array<std::string_view, static_cast<size_t>(DnsFault::kCount)>
    kFaultNames = {
        "none",      "delay",          "silence",         "nxdomain",
        "servfail",  "refused",        "formerr_to_edns", "truncated",
        "wrong_id",  "wrong_question", "other_address",   "forged",
        "poisoned",  "empty",          "garbage",         "cut_off",
        "name_loop", "oversized",      "out_of_order",    "twice",
        "tcp_reset", "tcp_end",        "tcp_silence",     "silence_to_edns",
};

DnsName NameOf(std::string_view text) {
  absl::StatusOr<DnsName> name = DnsName::Parse(text);
  AIOS_CHECK(name.ok(), "the name of a record or rule is no domain name");
  return *std::move(name);
}

uint32_t Seconds(absl::Duration ttl) {
  Nanoseconds seconds = ToNanoseconds(ttl) / 1'000'000'000;
  return static_cast<uint32_t>(
      std::min<Nanoseconds>(seconds, std::numeric_limits<int32_t>::max()));
}

const DnsRecord* FindOpt(const DnsMessage& message) {
  for (const DnsRecord& record : message.additionals) {
    if (record.type == DnsType::kOpt) return &record;
  }
  return nullptr;
}

size_t DatagramMax(const DnsMessage& query) {
  const DnsRecord* opt = FindOpt(query);
  return std::max<size_t>(kDatagramMax, opt != nullptr ? opt->dns_class : 0);
}

uint64_t HashOf(std::string_view bytes) {
  uint64_t hash = bytes.size();
  for (char c : bytes) hash = Mix(hash, static_cast<uint8_t>(c));
  return hash;
}

void Append16(std::string& bytes, size_t value) {
  bytes.push_back(static_cast<char>(value >> 8));
  bytes.push_back(static_cast<char>(value));
}

DnsRecord PoisonRecord(const DnsName& name, DnsType type) {
  return AddressRecord(name,
                       type == DnsType::kAaaa ? NameServer::PoisonIpv6()
                                              : NameServer::PoisonIpv4(),
                       86400);
}

// The word that there is more by TCP.
DnsMessage TruncatedAnswer(DnsMessage answer) {
  answer.answers.clear();
  answer.authorities.clear();
  answer.truncated = true;
  return answer;
}

// An answer whose only record has a name without end.
std::string AnswerWithNameLoop(const DnsMessage& right, bool with_label) {
  DnsMessage start = right;
  start.code = DnsCode::kNoError;
  start.answers.clear();
  start.authorities.clear();
  start.additionals.clear();
  std::string bytes = EncodeDnsMessage(start);
  bytes[7] = 1;  // the number of answers
  size_t at = bytes.size();
  if (with_label) bytes += "\1a";
  Append16(bytes, 0xc000 | at);
  Append16(bytes, static_cast<uint16_t>(DnsType::kA));
  Append16(bytes, 1);
  bytes.append({0, 0, 0, 60});  // time to live
  Append16(bytes, 4);
  bytes.append({10, 66, 66, 66});
  return bytes;
}

}  // namespace

std::string_view DnsFaultName(DnsFault fault) {
  return fault == DnsFault::kCount ? "?"
                                   : kFaultNames[static_cast<size_t>(fault)];
}

DnsFault DnsFaultByName(std::string_view name) {
  auto found = std::find(kFaultNames.begin(), kFaultNames.end(), name);
  return static_cast<DnsFault>(found - kFaultNames.begin());
}

IpAddress NameServer::PoisonIpv4() { return IpAddress::FromIpv4(0x0a424242); }

IpAddress NameServer::PoisonIpv6() {
  IpAddress::Ipv6Bytes bytes = {0xfd, 0x66};
  bytes[15] = 0x66;
  return IpAddress::FromIpv6(bytes);
}

NameServer::NameServer(Host& host, NameServerOptions options)
    : host_(host), options_(options), room_(kMessageMax) {
  Serve();
}

NameServer::~NameServer() { CloseAll(); }

void NameServer::Restart() {
  CloseAll();
  Serve();
}

// ---- Sockets.

void NameServer::Serve() {
  AIOS_CHECK(host_.up(), "the host of a name server is down");
  Kernel& kernel = host_.kernel();
  Error error = kernel.NewPoller(&poller_);
  AIOS_CHECK(error.ok(), "no descriptor is left for a name server");
  for (const IpAddress& address : host_.addresses()) {
    SocketAddress local(address, options_.port);
    udp_.push_back(OpenUdp(local));
    if (!options_.tcp) continue;
    Listener& listener = listeners_.emplace_back();
    error =
        kernel.Open(SocketType::kStream, address.family(), &listener.handle);
    if (error.ok()) {
      error =
          kernel.SetOption(listener.handle, SocketOption::kReuseAddress, true);
    }
    if (error.ok()) error = kernel.Bind(listener.handle, local);
    if (error.ok()) error = kernel.Listen(listener.handle, 0);
    AIOS_CHECK(error.ok(), "a name server cannot listen at its port");
  }
  kernel.Drive(*poller_, [this] { return Turn(); });
}

void NameServer::CloseAll() {
  Kernel& kernel = host_.kernel();
  for (UdpSocket& socket : udp_) {
    SetInterest(socket.handle, socket.interest, kNotReady);
    kernel.Close(socket.handle);
  }
  for (Listener& listener : listeners_) {
    SetInterest(listener.handle, listener.interest, kNotReady);
    kernel.Close(listener.handle);
  }
  for (Connection& connection : connections_) {
    SetInterest(connection.handle, connection.interest, kNotReady);
    kernel.Close(connection.handle);
  }
  udp_.clear();
  elsewhere_.clear();
  listeners_.clear();
  connections_.clear();
  answers_.clear();
  poller_.reset();
}

NameServer::UdpSocket NameServer::OpenUdp(const SocketAddress& local) {
  Kernel& kernel = host_.kernel();
  UdpSocket socket;
  Error error =
      kernel.Open(SocketType::kDatagram, local.family(), &socket.handle);
  if (error.ok()) error = kernel.Bind(socket.handle, local);
  if (error.ok()) error = kernel.LocalAddress(socket.handle, &socket.local);
  AIOS_CHECK(error.ok(), "a name server cannot bind to its port");
  return socket;
}

size_t NameServer::Elsewhere(size_t udp) {
  const SocketAddress local = udp_[udp].local;
  for (size_t i = 0; i != host_.addresses().size(); ++i) {
    if (i != udp && udp_[i].local.family() == local.family()) return i;
  }
  auto found = elsewhere_.find(udp);
  if (found != elsewhere_.end()) return found->second;
  udp_.push_back(OpenUdp(SocketAddress(local.ip(), 0)));
  elsewhere_[udp] = udp_.size() - 1;
  return udp_.size() - 1;
}

void NameServer::SetInterest(Handle handle, Readiness& interest,
                             Readiness wanted) {
  if (interest == wanted) return;
  Error error =
      host_.kernel().SetInterest(*poller_, handle, nullptr, interest, wanted);
  if (error.ok()) interest = wanted;
}

NameServer::Connection* NameServer::FindConnection(uint64_t number) {
  for (Connection& connection : connections_) {
    if (connection.number == number) return &connection;
  }
  return nullptr;
}

Nanoseconds NameServer::Turn() {
  Kernel& kernel = host_.kernel();
  std::array<Report, 16> reports;
  // Every socket is tried in each turn: what is reported does not matter.
  kernel.Wait(*poller_, reports, 0);
  bool more = false;
  for (size_t i = 0; i != udp_.size(); ++i) more |= ReceiveFrom(i);
  for (const Listener& listener : listeners_) more |= AcceptFrom(listener);
  for (Connection& connection : connections_) {
    SendTo(connection);
    more |= ReceiveFrom(connection);
  }
  SendDue();
  for (auto it = connections_.begin(); it != connections_.end();) {
    bool done =
        it->broken ||
        (it->output.empty() &&
         (it->end_after_output || (it->input_ended && it->answers_due == 0)));
    if (!done) {
      ++it;
      continue;
    }
    SetInterest(it->handle, it->interest, kNotReady);
    kernel.Close(it->handle);
    it = connections_.erase(it);
  }

  Nanoseconds now = kernel.Now();
  Nanoseconds sleep = more ? 0 : kForever;
  if (!answers_.empty() && !blocked_) {
    sleep = std::min(
        sleep, std::max<Nanoseconds>(answers_.begin()->first.first - now, 0));
  }
  for (UdpSocket& socket : udp_) {
    SetInterest(socket.handle, socket.interest,
                blocked_ ? kReadable | kWritable : kReadable);
  }
  bool accepting = now >= accept_at_ && connections_.size() < kConnectionsMax;
  if (now < accept_at_) sleep = std::min(sleep, accept_at_ - now);
  for (Listener& listener : listeners_) {
    SetInterest(listener.handle, listener.interest,
                accepting ? kReadable : kNotReady);
  }
  for (Connection& connection : connections_) {
    Readiness wanted = kNotReady;
    if (!connection.input_ended && connection.output.size() < kOutputMax) {
      wanted |= kReadable;
    }
    if (!connection.output.empty()) wanted |= kWritable;
    SetInterest(connection.handle, connection.interest, wanted);
  }
  return sleep;
}

// These return whether there may be more.

bool NameServer::ReceiveFrom(size_t udp) {
  for (int i = 0; i != kDatagramsPerTurnMax; ++i) {
    IncomingDatagram datagram;
    Error error =
        host_.kernel().ReceiveDatagram(udp_[udp].handle, room_,
                                       /*want_sender=*/true, &datagram);
    if (error.code() == EAGAIN) return false;
    // That a client is gone, or the network is down, is of an answer sent
    // before.
    if (!error.ok()) continue;
    Client client = {.address = datagram.sender,
                     .server = udp_[udp].local,
                     .udp = udp,
                     .connection = 0};
    OnMessage(client, {room_.data(), datagram.size});
  }
  return true;
}

bool NameServer::AcceptFrom(const Listener& listener) {
  Kernel& kernel = host_.kernel();
  while (connections_.size() < kConnectionsMax && kernel.Now() >= accept_at_) {
    Connection connection;
    Error error = kernel.Accept(listener.handle, &connection.handle);
    if (error.code() == EAGAIN) return false;
    if (!error.ok()) {
      // The connection stays and the listener stays ready.
      accept_at_ = kernel.Now() + kAcceptPause;
      return false;
    }
    connection.number = next_connection_++;
    static_cast<void>(
        kernel.PeerAddress(connection.handle, &connection.client));
    static_cast<void>(
        kernel.LocalAddress(connection.handle, &connection.server));
    connections_.push_back(std::move(connection));
  }
  return false;
}

bool NameServer::ReceiveFrom(Connection& connection) {
  if (connection.input_ended || connection.output.size() >= kOutputMax) {
    return false;
  }
  Transfer transfer = host_.kernel().Receive(connection.handle, room_);
  if (transfer.error.code() == EAGAIN) return false;
  if (!transfer.error.ok()) {
    connection.broken = true;
    return false;
  }
  connection.input_ended = transfer.count == 0;
  connection.input.append(room_.data(), transfer.count);
  std::string_view rest = connection.input;
  while (rest.size() >= 2) {
    size_t size = static_cast<size_t>(static_cast<uint8_t>(rest[0]) << 8 |
                                      static_cast<uint8_t>(rest[1]));
    if (rest.size() - 2 < size) break;
    Client client = {.address = connection.client,
                     .server = connection.server,
                     .udp = 0,
                     .connection = connection.number};
    OnMessage(client, rest.substr(2, size));
    rest.remove_prefix(2 + size);
  }
  connection.input.erase(0, connection.input.size() - rest.size());
  return !connection.input_ended;
}

void NameServer::SendTo(Connection& connection) {
  while (!connection.output.empty() && !connection.broken) {
    ConstBuffer buffer{connection.output.data(), connection.output.size()};
    Transfer transfer =
        host_.kernel().Send(connection.handle, std::span(&buffer, 1));
    if (transfer.error.code() == EAGAIN) return;
    if (!transfer.error.ok()) {
      connection.broken = true;
      return;
    }
    connection.output.erase(0, transfer.count);
  }
}

// ---- Answers.

void NameServer::Put(Nanoseconds due, Answer answer) {
  if (answers_.size() >= kAnswersMax) return;
  if (Connection* connection = FindConnection(answer.client.connection)) {
    ++connection->answers_due;
  }
  bool held = answer.held;
  answers_.emplace(std::pair(due, next_answer_++), std::move(answer));
  if (held) return;
  // It overtakes those that are held.
  for (auto it = answers_.begin(); it != answers_.end();) {
    auto next = std::next(it);
    if (it->second.held && it->first.first > due) {
      auto overtaken = answers_.extract(it);
      overtaken.mapped().held = false;
      overtaken.key() = std::pair(due, next_answer_++);
      answers_.insert(std::move(overtaken));
      ++fault_counts_[static_cast<size_t>(DnsFault::kOutOfOrder)].effective;
    }
    it = next;
  }
}

bool NameServer::Send(Answer& answer) {
  if (!answer.client.tcp()) {
    size_t udp = answer.client.udp;
    if (answer.from_elsewhere) udp = Elsewhere(udp);
    OutgoingDatagram datagram = {
        .payload = {answer.bytes.data(), answer.bytes.size()},
        .target = &answer.client.address};
    Transfer transfer =
        host_.kernel().SendDatagrams(udp_[udp].handle, std::span(&datagram, 1));
    // After any other error the client asks again.
    return transfer.error.code() != EAGAIN;
  }
  Connection* connection = FindConnection(answer.client.connection);
  if (connection == nullptr || connection->broken) return true;
  --connection->answers_due;
  if (connection->end_after_output) return true;
  if (answer.kind == Answer::Kind::kReset) {
    SetInterest(connection->handle, connection->interest, kNotReady);
    RawSockets(host_).CloseWithReset(
        std::exchange(connection->handle, kNoHandle));
    connection->broken = true;
    return true;
  }
  if (answer.kind == Answer::Kind::kEnd) {
    connection->output += answer.bytes;
    connection->end_after_output = true;
  } else {
    Append16(connection->output, answer.bytes.size());
    connection->output += answer.bytes;
  }
  SendTo(*connection);
  return true;
}

void NameServer::SendDue() {
  blocked_ = false;
  Nanoseconds now = host_.kernel().Now();
  while (!answers_.empty() && answers_.begin()->first.first <= now) {
    auto node = answers_.extract(answers_.begin());
    if (!Send(node.mapped())) {
      blocked_ = true;
      answers_.insert(std::move(node));
      return;
    }
  }
}

std::string NameServer::Encoded(const Client& client, const DnsMessage& query,
                                const DnsMessage& answer) const {
  std::string bytes = EncodeDnsMessage(answer);
  if (bytes.size() <= (client.tcp() ? kMessageMax : DatagramMax(query))) {
    return bytes;
  }
  return EncodeDnsMessage(TruncatedAnswer(answer));
}

void NameServer::OnMessage(const Client& client, std::string_view bytes) {
  Simulation& simulation = host_.simulation();
  absl::StatusOr<DnsMessage> query = DecodeDnsMessage(bytes);
  simulation.trace().Add(simulation.now(), What::kQuery, host_.index(),
                         HashOf(bytes), query.ok() ? query->id : 0,
                         bytes.size());
  if (function_) {
    Answer out;
    out.client = client;
    out.bytes = function_(bytes, client.tcp());
    Put(simulation.now(), std::move(out));
    return;
  }
  if (!query.ok() || query->questions.size() != 1 || query->opcode != 0 ||
      query->response) {
    ++malformed_;
    bool query_at_all = bytes.size() >= kHeaderSize &&
                        (static_cast<uint8_t>(bytes[2]) & 0x80) == 0;
    // An answer to an answer would go round for ever.
    if (!query_at_all) return;
    DnsMessage answer;
    answer.id = static_cast<uint16_t>(static_cast<uint8_t>(bytes[0]) << 8 |
                                      static_cast<uint8_t>(bytes[1]));
    answer.response = true;
    answer.code = query.ok() && query->opcode != 0 ? DnsCode::kNotImplemented
                                                   : DnsCode::kFormatError;
    if (query.ok()) answer.opcode = query->opcode;
    Answer out;
    out.client = client;
    out.bytes = EncodeDnsMessage(answer);
    Put(simulation.now(), std::move(out));
    return;
  }
  const DnsQuestion& question = query->questions[0];
  Rule* rule = RuleFor(question.name.Folded(), question.type);
  DnsQuery& seen = queries_.emplace_back();
  seen.time = simulation.now();
  seen.client = client.address;
  seen.server = client.server;
  seen.tcp = client.tcp();
  seen.edns = FindOpt(*query) != nullptr;
  seen.id = query->id;
  seen.name = question.name.ToString();
  seen.type = question.type;
  seen.fault = rule != nullptr ? rule->wanted.fault : DnsFault::kNone;
  std::string_view what = seen.fault == DnsFault::kNone
                              ? std::string_view("answer")
                              : DnsFaultName(seen.fault);
  simulation.Mark(
      host_.index(),
      absl::StrCat(seen.name, " ", DnsTypeName(seen.type),
                   seen.tcp ? " by TCP: " : ": ", std::string(what)));
  AnswerBy(rule, client, *query);
}

NameServer::Rule* NameServer::RuleFor(const DnsName& name, DnsType type) {
  for (Rule& rule : rules_) {
    const DnsRule& wanted = rule.wanted;
    if (rule.name.has_value() && *rule.name != name) continue;
    if (wanted.type.has_value() && *wanted.type != type) continue;
    if (rule.times == wanted.times_max) continue;
    if (!host_.simulation().choices().Chance(Site::kDnsFault, rule.entity,
                                             wanted.per_million)) {
      continue;
    }
    ++rule.times;
    return &rule;
  }
  return nullptr;
}

DnsMessage NameServer::RightAnswer(const DnsMessage& query) {
  DnsMessage answer;
  answer.id = query.id;
  answer.response = true;
  answer.recursion_desired = query.recursion_desired;
  answer.recursion_available = true;
  answer.questions = query.questions;
  if (FindOpt(query) != nullptr) {
    answer.additionals.push_back(OptRecord(kEdnsSize));
  }
  Lookup(query.questions[0], answer);
  return answer;
}

void NameServer::Lookup(const DnsQuestion& question, DnsMessage& answer) {
  DnsName name = question.name;
  bool found_any = false;
  for (size_t i = 0; i != kAliasesMax && question.dns_class == 1; ++i) {
    auto found = zone_.find(name.Folded());
    if (found == zone_.end()) {
      answer.code = DnsCode::kNameError;
      break;
    }
    std::optional<DnsName> target;
    for (const DnsRecord& record : found->second) {
      bool alias = record.type == DnsType::kCname;
      if (!alias && record.type != question.type &&
          question.type != DnsType::kAny) {
        continue;
      }
      found_any |= !alias || question.type == DnsType::kCname;
      DnsRecord& copy = answer.answers.emplace_back(record);
      // As it was asked for: what it is in the zone is nobody's business.
      copy.name = name;
      if (alias && question.type != DnsType::kCname &&
          question.type != DnsType::kAny) {
        target = TargetOf(record);
      }
    }
    if (!target.has_value()) break;
    bool loop = false;
    for (const DnsRecord& record : answer.answers) {
      loop |= record.name.Folded() == target->Folded();
    }
    name = *std::move(target);
    if (loop) return;
  }
  if (found_any) return;
  DnsName zone = name;
  while (!zone.is_root() && !zone.Parent().is_root()) zone = zone.Parent();
  answer.authorities.push_back(
      SoaRecord(std::move(zone), Seconds(options_.negative_ttl)));
}

std::string NameServer::Garbage(Rule& rule, std::string_view right) {
  Choices& choices = host_.simulation().choices();
  auto draw = [&](uint64_t count) {
    return choices.Below(Site::kDnsValue, rule.entity, count);
  };
  std::string bytes;
  if (draw(2) == 0) bytes = right.substr(0, kHeaderSize);
  for (uint64_t left = 1 + draw(600); left != 0; --left) {
    bytes.push_back(static_cast<char>(draw(256)));
  }
  return bytes;
}

void NameServer::Oversize(const Client& client, DnsMessage& answer) const {
  // A record of this, without its data.
  constexpr size_t kRecord = 11;
  constexpr size_t kDataMax = 4096;
  size_t size = EncodeDnsMessage(answer).size();
  size_t wanted = client.tcp() ? kMessageMax : kOversizedDatagram;
  while (size + kRecord < wanted) {
    DnsRecord filler;
    filler.type = DnsType::kTxt;
    filler.data.resize(std::min(wanted - size - kRecord, kDataMax));
    size += kRecord + filler.data.size();
    answer.additionals.push_back(std::move(filler));
  }
}

void NameServer::AnswerBy(Rule* rule, const Client& client,
                          const DnsMessage& query) {
  Choices& choices = host_.simulation().choices();
  DnsFault fault = rule != nullptr ? rule->wanted.fault : DnsFault::kNone;
  Nanoseconds due = host_.kernel().Now();
  if (rule != nullptr && rule->wanted.delay > absl::ZeroDuration()) {
    due += ToNanoseconds(rule->wanted.delay);
    FaultCount& count = fault_counts_[static_cast<size_t>(DnsFault::kDelay)];
    ++count.fired;
    ++count.effective;
  }
  const DnsMessage right = RightAnswer(query);
  const std::string right_bytes = Encoded(client, query, right);
  const DnsQuestion& question = query.questions[0];

  Answer out;
  out.client = client;
  auto put_bytes = [&](std::string bytes) {
    out.bytes = std::move(bytes);
    Put(due, out);
  };
  auto put = [&](const DnsMessage& answer) {
    put_bytes(Encoded(client, query, answer));
  };
  auto put_code = [&](DnsCode code) {
    DnsMessage answer = right;
    answer.code = code;
    answer.answers.clear();
    answer.authorities.clear();
    if (code == DnsCode::kNameError) {
      answer.authorities.push_back(
          SoaRecord(question.name.Parent(), Seconds(options_.negative_ttl)));
    }
    if (code == DnsCode::kFormatError) answer.additionals.clear();
    put(answer);
    return right.code != code;
  };
  auto wrong_id = [&] {
    uint64_t other = 1 + choices.Below(Site::kDnsValue, rule->entity, 65535);
    return static_cast<uint16_t>(query.id ^ other);
  };

  bool effective = true;
  switch (fault) {
    case DnsFault::kNone:
    case DnsFault::kDelay:
    case DnsFault::kCount:
      put_bytes(right_bytes);
      return;
    case DnsFault::kSilence:
      break;
    case DnsFault::kNameError:
      effective = put_code(DnsCode::kNameError);
      break;
    case DnsFault::kServerFailure:
      put_code(DnsCode::kServerFailure);
      break;
    case DnsFault::kRefused:
      put_code(DnsCode::kRefused);
      break;
    case DnsFault::kFormatErrorToEdns:
      effective = FindOpt(query) != nullptr;
      if (effective) {
        put_code(DnsCode::kFormatError);
      } else {
        put_bytes(right_bytes);
      }
      break;
    case DnsFault::kSilenceToEdns:
      effective = !client.tcp() && FindOpt(query) != nullptr;
      if (!effective) put_bytes(right_bytes);
      break;
    case DnsFault::kTruncated:
      effective = !client.tcp() && !right.truncated;
      put(effective ? TruncatedAnswer(right) : right);
      break;
    case DnsFault::kWrongId: {
      DnsMessage answer = right;
      answer.id = wrong_id();
      put(answer);
      break;
    }
    case DnsFault::kWrongQuestion: {
      DnsMessage answer = right;
      answer.code = DnsCode::kNoError;
      answer.questions[0].name = NameOf(kPoisonedName);
      answer.authorities.clear();
      answer.answers = {PoisonRecord(answer.questions[0].name, question.type)};
      put(answer);
      break;
    }
    case DnsFault::kOtherAddress:
      // A connection has no other.
      effective = !client.tcp();
      out.from_elsewhere = effective;
      put_bytes(right_bytes);
      break;
    case DnsFault::kForged: {
      DnsMessage forged = right;
      forged.code = DnsCode::kNoError;
      forged.answers = {PoisonRecord(question.name, question.type)};
      forged.authorities.clear();
      forged.id = wrong_id();
      put(forged);
      if (!client.tcp()) {
        forged.id = query.id;
        out.from_elsewhere = true;
        put(forged);
        out.from_elsewhere = false;
      }
      put_bytes(right_bytes);
      break;
    }
    case DnsFault::kPoisoned: {
      DnsMessage answer = right;
      DnsName victim = NameOf(kPoisonedName);
      for (DnsType type : {DnsType::kA, DnsType::kAaaa}) {
        answer.answers.push_back(PoisonRecord(victim, type));
        answer.additionals.push_back(PoisonRecord(victim, type));
      }
      put(answer);
      break;
    }
    case DnsFault::kEmpty:
      put_bytes({});
      break;
    case DnsFault::kGarbage:
      put_bytes(Garbage(*rule, right_bytes));
      break;
    case DnsFault::kCutOff:
      put_bytes(right_bytes.substr(
          0, choices.Below(Site::kDnsValue, rule->entity, right_bytes.size())));
      break;
    case DnsFault::kNameLoop:
      put_bytes(AnswerWithNameLoop(
          right, choices.Below(Site::kDnsValue, rule->entity, 2) != 0));
      break;
    case DnsFault::kOversized: {
      DnsMessage answer = right;
      Oversize(client, answer);
      put_bytes(EncodeDnsMessage(answer));
      break;
    }
    case DnsFault::kOutOfOrder:
      // It takes effect when it is overtaken; if one is held already, this does
      // it.
      effective = false;
      out.held =
          std::none_of(answers_.begin(), answers_.end(),
                       [](const auto& other) { return other.second.held; });
      if (out.held) due += kHeldMax;
      put_bytes(right_bytes);
      break;
    case DnsFault::kTwice:
      put_bytes(right_bytes);
      put_bytes(right_bytes);
      break;
    case DnsFault::kTcpReset:
    case DnsFault::kTcpEnd:
    case DnsFault::kTcpSilence:
      effective = client.tcp();
      if (!effective) {
        put(TruncatedAnswer(right));
      } else if (fault == DnsFault::kTcpReset) {
        out.kind = Answer::Kind::kReset;
        Put(due, out);
      } else if (fault == DnsFault::kTcpEnd) {
        out.kind = Answer::Kind::kEnd;
        Append16(out.bytes, right_bytes.size());
        out.bytes += right_bytes.substr(0, right_bytes.size() / 2);
        Put(due, out);
      }
      break;
  }
  FaultCount& count = fault_counts_[static_cast<size_t>(fault)];
  ++count.fired;
  if (effective) ++count.effective;
}

// ---- The zone.

std::vector<DnsRecord>& NameServer::Records(const DnsName& name) {
  // What is above a name exists, too.
  for (DnsName above = name.Folded(); !above.is_root();
       above = above.Parent()) {
    zone_[above];
  }
  return zone_[name.Folded()];
}

void NameServer::AddAddress(std::string_view name, const IpAddress& address,
                            absl::Duration ttl) {
  DnsName owner = NameOf(name);
  Records(owner).push_back(AddressRecord(owner, address, Seconds(ttl)));
}

void NameServer::AddAlias(std::string_view name, std::string_view target,
                          absl::Duration ttl) {
  DnsName owner = NameOf(name);
  Records(owner) = {CnameRecord(owner, NameOf(target), Seconds(ttl))};
}

void NameServer::AddName(std::string_view name) { Records(NameOf(name)); }

void NameServer::Remove(std::string_view name) {
  zone_.erase(NameOf(name).Folded());
}

void NameServer::AddRule(const DnsRule& rule) {
  uint64_t id = kNameServerEntities | uint64_t{host_.index()} << 32 |
                uint64_t{options_.port} << 16 | next_rule_++;
  std::optional<DnsName> name;
  if (!rule.name.empty()) name = NameOf(rule.name).Folded();
  rules_.push_back({.wanted = rule,
                    .name = std::move(name),
                    .entity = ChoiceEntity(id),
                    .times = 0});
}

size_t NameServer::CountQueries(std::string_view name,
                                std::optional<DnsType> type) const {
  DnsName wanted = NameOf(name).Folded();
  return static_cast<size_t>(std::count_if(
      queries_.begin(), queries_.end(), [&](const DnsQuery& query) {
        return (!type.has_value() || query.type == *type) &&
               NameOf(query.name).Folded() == wanted;
      }));
}

}  // namespace aios::sim
