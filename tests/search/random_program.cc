#include "tests/search/random_program.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "sim/choice.h"
#include "sim/name_server.h"
#include "sim/simulation.h"

namespace aios::test {

namespace {

using sim::DnsFault;
using sim::Host;
using sim::Simulation;

constexpr uint16_t kTcpPort = 7;
constexpr uint16_t kUdpPort = 9;
// Nobody is there.
constexpr uint16_t kDeadPort = 11;

constexpr size_t kDataSize = size_t{2} << 20;

// What is written: a byte that is lost, repeated or out of order shows.
std::string_view Data() {
  static const auto* const kData = [] {
    // Repeated at a length that no buffer has.
    std::string block;
    for (uint64_t i = 0; block.size() < 65521; ++i) {
      uint64_t word = sim::Mix(1, i);
      block.append(reinterpret_cast<const char*>(&word), sizeof(word));
    }
    block.resize(65521);
    auto* data = new std::string;
    data->reserve(kDataSize);
    while (data->size() != kDataSize) {
      data->append(block, 0, kDataSize - data->size());
    }
    return data;
  }();
  return *kData;
}

// How one seed differs from another.
struct Plan {
  Limits limits;
  // So much is written at once.
  size_t write_max = 3000;
  // Of calls of callbacks; what they start dies out then.
  int budget = 400;
};

class Program {
 public:
  Program(Simulation& simulation, Host& host, const Plan& plan,
          std::vector<Host*> servers, IpAddress name_server)
      : simulation_(simulation),
        host_(host),
        plan_(plan),
        budget_(plan.budget),
        servers_(std::move(servers)),
        collection_(
            MakeWaitStateCollection(
                host.kernel(), {.limits = plan.limits,
                                .resolver = {.servers = {{{name_server, 53}}},
                                             .timeout = absl::Milliseconds(300),
                                             .tries = 2,
                                             .negative_ttl = absl::Seconds(1),
                                             .answers_max = 4}})
                .value()) {}

  // ---- What a server does.

  void Serve() {
    auto made = AcceptTcpConnections(
        *collection_, kTcpPort,
        [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
          Accepted(std::move(state));
        },
        {.ipv6 = Ipv6::kBoth,
         .read_timeout = absl::Seconds(2 + Choose(20)),
         .write_timeout = absl::Seconds(2 + Choose(20)),
         .queue_output = Choose(4) != 0,
         .error_function = [](AcceptingHandle&, Error) {}});
    if (made.ok()) listener_ = *std::move(made);
    ServeUdp();
  }

  void ServeUdp() {
    auto made = OpenUdp(*collection_, {.ipv6 = Ipv6::kBoth,
                                       .queue_output = Choose(4) != 0,
                                       .local_port = kUdpPort});
    if (!made.ok()) return;
    ReceiveNext(Keep(*std::move(made), /*udp=*/true));
  }

  // ---- What a client does.

  void Begin() {
    switch (Choose(10)) {
      case 0:
      case 1:
      case 2:
        Connect(SomeServer(), /*name=*/{});
        break;
      case 3:
        Connect(SomeServer(), SomeName());
        break;
      case 4:
        // A crowd.
        for (uint64_t n = 5 + Choose(30); n != 0; --n) {
          Connect(*servers_[0], /*name=*/{});
        }
        break;
      case 5:
      case 6:
        OpenSender();
        break;
      case 7:
        ConnectSender();
        break;
      case 8:
        LookUpSomething();
        break;
      case 9:
        Post(3);
        break;
    }
  }

  void Stop() { budget_ = 0; }
  size_t open() const { return states_.size(); }
  // Without a callback of its own: what other code of the program does.
  void Meddle() {
    if (!states_.empty()) MeddleWith(RandomOf(states_)->first);
  }

 private:
  struct Peer {
    std::unique_ptr<AsyncIoState> state;
    bool udp = false;
    // Of UDP.
    bool has_peer = false;
    // One more piece that `ReadWithChecking` waits for, in bytes.
    size_t piece = 1;
    int calls_left = 0;
    std::vector<char> buffer;
  };

  uint64_t Choose(uint64_t count) { return simulation_.Choose(count); }
  bool Rarely() { return Choose(12) == 0; }
  template <typename Map>
  typename Map::iterator RandomOf(Map& map) {
    return std::next(map.begin(), static_cast<int64_t>(Choose(map.size())));
  }
  Host& SomeServer() { return *servers_[Choose(servers_.size())]; }
  IpAddress AddressOf(Host& host) {
    return Choose(3) == 0 ? host.ipv6() : host.ipv4();
  }
  static std::string Name(uint64_t number) {
    return absl::StrCat("name", number, ".test");
  }
  std::string SomeName() { return Name(Choose(6)); }
  std::string_view Piece(size_t max) {
    size_t size = 1 + Choose(Choose(3) == 0 ? max : std::min<size_t>(max, 60));
    return Data().substr(Choose(kDataSize - size), size);
  }
  // Many of these are equal, or end in one turn.
  absl::Duration SomeTime() {
    switch (Choose(6)) {
      case 0:
        return absl::ZeroDuration();
      case 1:
        return absl::Milliseconds(1 + Choose(20));
      case 2:
        return absl::InfiniteDuration();
      default:
        return absl::Milliseconds(100 * (1 + Choose(20)));
    }
  }
  Timeout SomeTimeout() {
    return Choose(3) == 0 ? Timeout(SomeTime()) : Timeout();
  }
  bool GoesOn() { return budget_ > 0 && --budget_ > 0; }

  uint64_t Keep(std::unique_ptr<AsyncIoState> state, bool udp) {
    uint64_t id = next_++;
    Peer& peer = states_[id];
    peer.state = std::move(state);
    peer.udp = udp;
    peer.buffer.resize(udp && Choose(2) == 0 ? 40 : plan_.write_max);
    return id;
  }
  // Null when it is gone.
  Peer* Find(uint64_t id) {
    auto found = states_.find(id);
    return found == states_.end() ? nullptr : &found->second;
  }

  static void Ignore(const absl::Status& /*status*/) {
    // Most of what is refused here is so by design: by narrow limits, or since
    // chance has started something else before.
  }

  // Of an operation that has ended: `next` goes on, unless something else comes
  // up first.
  template <typename Next>
  IoCallback Then(uint64_t id, Next next) {
    return [this, id, next](AsyncIoState&, const IoResult& result) {
      bool ok = result.ok();
      bool lost =
          result.status == IoStatus::kEof || result.status == IoStatus::kError;
      if (!GoesOn()) return;
      if (Rarely()) MeddleWith(id);
      if (Find(id) == nullptr) return;
      next(ok, lost);
    };
  }
  template <typename Options>
  Options WithTimeout(uint64_t id) {
    Options options;
    options.timeout = SomeTimeout();
    if constexpr (requires { options.error_callback; }) {
      if (Rarely()) {
        options.error_callback =
            Then(id, [this, id](bool, bool) { Leave(id); });
      }
    }
    return options;
  }

  void Later(uint64_t id, void (Program::*function)(uint64_t)) {
    simulation_.After(absl::Milliseconds(Choose(3000)), [this, id, function] {
      if (budget_ > 0 && host_.up() && Find(id) != nullptr) {
        (this->*function)(id);
      }
    });
  }

  // ---- Streams.

  void Accepted(std::unique_ptr<AsyncIoState> state) {
    if (!GoesOn()) return;
    uint64_t id = Keep(std::move(state), /*udp=*/false);
    if (Rarely()) return;
    ReadNext(id);
    if (Choose(3) == 0) WriteNext(id);
  }

  void Connect(Host& host, const std::optional<std::string>& name) {
    uint64_t id = next_;
    auto made = ConnectTcp(
        *collection_,
        name.has_value() ? HostSpec(*name) : HostSpec(AddressOf(host)),
        Rarely() ? kDeadPort : kTcpPort,
        Then(id,
             [this, id](bool ok, bool) {
               if (!ok) return Leave(id);
               WriteNext(id);
               ReadNext(id);
             }),
        {.read_timeout = absl::Seconds(1 + Choose(10)),
         .write_timeout = absl::Seconds(1 + Choose(10)),
         .connect_timeout = absl::Milliseconds(200 * (1 + Choose(20))),
         .queue_output = Choose(4) != 0});
    if (made.ok()) Keep(*std::move(made), /*udp=*/false);
  }

  void ReadNext(uint64_t id) {
    Peer* peer = Find(id);
    if (peer == nullptr) return;
    if (peer->udp) return ReceiveNext(id);
    AsyncIoState& state = *peer->state;
    auto next = [this, id](bool ok, bool lost) {
      if (lost && Choose(3) != 0) return Leave(id);
      if (!ok && Choose(3) == 0) return Leave(id);
      ReadNext(id);
    };
    switch (Choose(9)) {
      case 0:
      case 1: {
        size_t size = 1 + Choose(Choose(2) == 0 ? 40 : peer->buffer.size());
        Ignore(state.ReadBuffer(std::span(peer->buffer).first(size),
                                Then(id, next),
                                WithTimeout<ReadBufferOptions>(id)));
        break;
      }
      case 2:
        if (Choose(2) == 0) {
          Ignore(state.ReceiveMessage(peer->buffer, Then(id, next)));
        } else {
          auto options = WithTimeout<ReceiveMessageOptions>(id);
          options.needs_address = Choose(2) == 0;
          Ignore(state.ReceiveMessage(peer->buffer, Then(id, next),
                                      std::move(options)));
        }
        break;
      case 3:
        Ignore(state.WaitForInput(Then(id, next),
                                  WithTimeout<WaitForInputOptions>(id)));
        break;
      case 4:
        // A slow reader.
        Later(id, &Program::ReadNext);
        break;
      default:
        Check(id);
        break;
    }
  }

  // Pieces of one length, each answered, or not.
  void Check(uint64_t id) {
    Peer* peer = Find(id);
    auto options = WithTimeout<ReadWithCheckingOptions>(id);
    switch (Choose(4)) {
      case 0:
        options.max_read = 1 + Choose(100);
        break;
      case 1:
        options.max_read = size_t{1} << (14 + Choose(3));
        break;
      default:
        break;
    }
    peer->piece = 1 + Choose(Choose(2) == 0 ? 10 : 500);
    peer->calls_left = static_cast<int>(Choose(30));
    enum { kDrop, kAnswer, kAnswerMore, kAnswerMuch, kKinds };
    uint64_t kind = Choose(kKinds);
    auto on_input = [this, id, kind](AsyncIoState& state,
                                     const IoResult& result) {
      if (!result.ok()) {
        if (!GoesOn()) return;
        if (Choose(2) == 0) return Leave(id);
        return ReadNext(id);
      }
      std::string_view data = result.data;
      Peer* self = Find(id);
      bool last = !GoesOn() || self == nullptr || --self->calls_left < 0;
      size_t taken = 0;
      while (data.size() - taken >= (self == nullptr ? 1 : self->piece)) {
        std::string_view piece =
            data.substr(taken, self == nullptr ? 1 : self->piece);
        absl::Status status;
        if (kind == kAnswer) status = state.Reply(piece);
        if (kind == kAnswerMore) status = state.Reply(Piece(200));
        if (kind == kAnswerMuch && Choose(4) == 0) {
          status = state.Reply(Piece(plan_.write_max));
        }
        // What cannot be answered now stays.
        if (!status.ok() && !last) break;
        taken += piece.size();
        if (Choose(200) == 0) break;
      }
      if (Rarely() && Rarely()) {
        MeddleWith(id);
        if (Find(id) == nullptr || state.closed()) return;
      }
      if (last) {
        if (!state.Finish(taken).ok()) return;
        if (Rarely()) return Leave(id);
        ReadNext(id);
      } else if (state.Discard(taken).ok() && kind == kDrop && Rarely()) {
        WriteNext(id);
      }
    };
    if (Choose(4) == 0) {
      Ignore(peer->state->ReadWithChecking(on_input));
    } else {
      Ignore(peer->state->ReadWithChecking(on_input, std::move(options)));
    }
  }

  void WriteNext(uint64_t id) {
    Peer* peer = Find(id);
    if (peer == nullptr) return;
    if (peer->udp) return SendNext(id);
    AsyncIoState& state = *peer->state;
    auto next = [this, id](bool ok, bool lost) {
      if (lost) return Leave(id);
      if (ok && Choose(3) == 0) WriteNext(id);
      if (ok && Rarely()) Later(id, &Program::WriteNext);
    };
    for (uint64_t n = 1 + Choose(6); n != 0; --n) {
      std::string_view data = Piece(plan_.write_max);
      if (Choose(2) == 0) {
        Ignore(state.WriteBuffer(data, Then(id, next)));
      } else {
        Ignore(state.WriteBuffer(data, Then(id, next),
                                 WithTimeout<WriteOptions>(id)));
      }
    }
    if (Rarely()) {
      static_cast<void>(state.Shutdown(Direction::kOutput));
    }
  }

  // ---- Datagrams.

  void OpenSender() {
    auto made =
        OpenUdp(*collection_, {.ipv6 = Choose(3) == 0 ? Ipv6::kBoth : Ipv6::kNo,
                               .read_timeout = absl::Seconds(1),
                               .write_timeout = absl::Seconds(1 + Choose(3))});
    if (!made.ok()) return;
    uint64_t id = Keep(*std::move(made), /*udp=*/true);
    SendNext(id);
    ReceiveNext(id);
  }

  void ConnectSender() {
    uint16_t port = Choose(3) == 0 ? kDeadPort : kUdpPort;
    auto made = ConnectUdp(
        *collection_, AddressOf(SomeServer()), port,
        {.read_timeout = absl::Seconds(1), .write_timeout = absl::Seconds(1)});
    if (!made.ok()) return;
    uint64_t id = Keep(*std::move(made), /*udp=*/true);
    Find(id)->has_peer = true;
    SendNext(id);
    ReceiveNext(id);
  }

  void SendNext(uint64_t id) {
    Peer* peer = Find(id);
    AsyncIoState& state = *peer->state;
    auto next = [this, id](bool, bool) {
      if (Rarely()) SendNext(id);
    };
    for (uint64_t n = Choose(2) == 0 ? 1 : 1 + Choose(20); n != 0; --n) {
      std::string_view data = Piece(300);
      if (peer->has_peer) {
        Ignore(state.SendMessage(data, Then(id, next),
                                 WithTimeout<WriteOptions>(id)));
      } else if (Choose(3) == 0) {
        Ignore(state.SendMessageToAddress(HostSpec(SomeName()), kUdpPort, data,
                                          Then(id, next),
                                          WithTimeout<WriteOptions>(id)));
      } else {
        uint16_t port = Rarely() ? kDeadPort : kUdpPort;
        Ignore(state.SendMessageToAddress({SomeServer().ipv4(), port}, data,
                                          Then(id, next)));
      }
    }
  }

  void ReceiveNext(uint64_t id) {
    Peer* peer = Find(id);
    if (peer == nullptr) return;
    AsyncIoState& state = *peer->state;
    if (Choose(2) == 0) return ReceiveAll(id);
    if (Rarely()) {
      Ignore(state.WaitForInput(
          Then(id, [this, id](bool, bool) { ReceiveNext(id); })));
      return;
    }
    peer->calls_left = static_cast<int>(Choose(100));
    ReceiveChain(id, Choose(2) == 0);
  }

  // Each receive is started by the callback of the one before.
  void ReceiveChain(uint64_t id, bool answers) {
    Peer* peer = Find(id);
    if (peer == nullptr) return;
    Ignore(peer->state->ReceiveMessageWithAddress(
        peer->buffer,
        [this, id, answers](AsyncIoState& state, const IoResult& result) {
          if (!GoesOn() || result.status == IoStatus::kEof) return;
          Peer* self = Find(id);
          if (answers && result.ok() && !self->has_peer) {
            Ignore(state.SendMessageToAddress(*result.sender, Piece(100),
                                              Then(id, [](bool, bool) {})));
          }
          if (Rarely() && Rarely()) MeddleWith(id);
          if (Find(id) == nullptr) return;
          if (--self->calls_left < 0) return ReceiveNext(id);
          ReceiveChain(id, answers);
        }));
  }

  void ReceiveAll(uint64_t id) {
    Peer* peer = Find(id);
    peer->calls_left = static_cast<int>(Choose(100));
    uint64_t kind = Choose(3);
    Ignore(peer->state->ReceiveMessages(
        [this, id, kind](AsyncIoState& state, const IoResult& result) {
          if (!result.ok()) {
            if (GoesOn() && result.status != IoStatus::kEof) ReceiveNext(id);
            return;
          }
          if (kind != 0) Ignore(state.Reply(result.data));
          if (kind == 2) {
            // Not text that stays.
            std::string copy(Piece(100));
            Ignore(state.Reply(copy));
            copy = Piece(100);
            Ignore(state.Reply(copy));
          }
          Peer* self = Find(id);
          bool last = !GoesOn() || self == nullptr || --self->calls_left < 0;
          if (Rarely() && Rarely()) {
            MeddleWith(id);
            if (Find(id) == nullptr) return;
          }
          if (last && state.Finish().ok()) ReceiveNext(id);
        },
        WithTimeout<ReceiveMessagesOptions>(id)));
  }

  // ---- Anything.

  void LookUpSomething() {
    uint64_t number = next_++;
    LookupOptions options;
    if (Choose(2) == 0) options.timeout = absl::Milliseconds(1 + Choose(500));
    auto made = LookUp(
        *collection_, HostSpec(SomeName()), kTcpPort,
        [this, number](const LookupResult&) {
          if (!GoesOn()) return;
          if (Rarely()) lookups_.erase(number);
          if (Choose(3) == 0) LookUpSomething();
        },
        options);
    if (made.ok()) lookups_[number] = *std::move(made);
    if (!lookups_.empty() && Rarely()) {
      auto other = RandomOf(lookups_);
      if (Choose(2) == 0) {
        other->second->Cancel();
      } else {
        lookups_.erase(other);
      }
    }
  }

  // Functions that post functions.
  void Post(int depth) {
    for (uint64_t n = 1 + Choose(6); n != 0; --n) {
      Ignore(collection_->Apply([this, depth] {
        if (!GoesOn()) return;
        if (depth > 0 && Choose(2) == 0) Post(depth - 1);
        if (Rarely()) Meddle();
      }));
    }
  }

  void Leave(uint64_t id) {
    auto found = states_.find(id);
    if (found == states_.end()) return;
    AsyncIoState& state = *found->second.state;
    switch (Choose(4)) {
      case 0:
        state.Close();
        break;
      case 1:
        static_cast<void>(
            state.AbortAndClose({.close_callback = [this](AsyncIoState&) {
              if (Rarely()) Meddle();
            }}));
        break;
      case 2:
        static_cast<void>(state.Shutdown(Direction::kIo, {.abort = true}));
        break;
      default:
        states_.erase(found);
        break;
    }
  }

  // Does something with a state that is not what was to come.
  void MeddleWith(uint64_t id) {
    if (Rarely() && !states_.empty()) id = RandomOf(states_)->first;
    Peer* peer = Find(id);
    if (peer == nullptr) return;
    AsyncIoState& state = *peer->state;
    auto aborted = Then(id, [this, id](bool, bool) { ReadNext(id); });
    switch (Choose(13)) {
      case 0:
        Ignore(state.Abort(std::move(aborted), Direction::kInput));
        break;
      case 1:
        Ignore(state.Abort(std::move(aborted), Direction::kOutput));
        break;
      case 2:
        Ignore(state.Abort(std::move(aborted), Direction::kIo));
        break;
      case 3:
        static_cast<void>(state.Shutdown(Direction::kOutput));
        break;
      case 4:
        static_cast<void>(
            state.Shutdown(peer->udp ? Direction::kInput : Direction::kOutput,
                           {.abort = true, .callback = std::move(aborted)}));
        break;
      case 5:
        Leave(id);
        break;
      case 6:
        if (!states_.empty()) states_.erase(RandomOf(states_));
        break;
      case 7: {
        std::array<char, 50> some;
        static_cast<void>(state.GetBufferedData(some));
        break;
      }
      case 8:
        Ignore(state.set_read_timeout(SomeTime()));
        Ignore(state.set_write_timeout(SomeTime()));
        break;
      case 9:
      case 10:
        Post(2);
        break;
      default:
        WriteNext(id);
        break;
    }
  }

  Simulation& simulation_;
  Host& host_;
  const Plan plan_;
  int budget_;
  const std::vector<Host*> servers_;
  std::unique_ptr<WaitStateCollection> collection_;
  uint64_t next_ = 1;
  std::map<uint64_t, Peer> states_;
  std::map<uint64_t, std::unique_ptr<Lookup>> lookups_;
  std::unique_ptr<AcceptingHandle> listener_;
};

Plan DrawPlan(Simulation& simulation) {
  auto one_in = [&simulation](uint64_t n) { return simulation.Choose(n) == 0; };
  Plan plan;
  if (one_in(2)) plan.limits.output_queue_length_max = 4;
  if (one_in(2)) plan.limits.output_queue_bytes_max = 5000;
  if (one_in(3)) plan.limits.input_buffer_bytes_max = 300;
  if (one_in(2)) plan.limits.bytes_per_turn_max = 20'000;
  if (one_in(2)) plan.limits.accepts_per_turn_max = 3;
  if (one_in(2)) plan.limits.posted_max = 5;
  // Rather much data, or many operations.
  if (one_in(3)) {
    plan.write_max = 200'000;
  } else if (one_in(4)) {
    plan.write_max = 1'000'000;
    plan.budget = 150;
  }
  return plan;
}

sim::FaultRates DrawFaults(Simulation& simulation) {
  auto rate = [&simulation](uint32_t per_million) -> uint32_t {
    return simulation.Choose(2) == 0 ? per_million : 0;
  };
  return {.loss = rate(10'000),
          .duplication = rate(10'000),
          .reordering = rate(10'000),
          .short_read = rate(200'000),
          .short_write = rate(200'000),
          .would_block = rate(50'000),
          .spurious = rate(100'000),
          .interrupt = rate(20'000),
          .split = rate(300'000),
          .join = rate(200'000)};
}

void MakeNames(Simulation& simulation, sim::NameServer& names,
               const std::vector<Host*>& servers) {
  for (uint64_t i = 0; i != 5; ++i) {
    std::string name = absl::StrCat("name", i, ".test");
    Host& host = *servers[i % servers.size()];
    names.AddAddress(name, host.ipv4(), absl::Seconds(1 + i));
    if (i != 3) names.AddAddress(name, host.ipv6(), absl::Seconds(1 + i));
  }
  // The last one has an address at which nobody is, too.
  names.AddAddress("name4.test", IpAddress::FromIpv4(0x0a636363),
                   absl::Seconds(1));
  if (simulation.Choose(2) == 0) return;
  for (DnsFault fault : {DnsFault::kSilence, DnsFault::kTruncated,
                         DnsFault::kServerFailure, DnsFault::kTcpReset}) {
    names.AddRule({.fault = fault, .per_million = 100'000});
  }
}

}  // namespace

void RunRandomProgram(Simulation& simulation) {
  simulation.SetFaults(DrawFaults(simulation));
  std::vector<Host*> servers = {&simulation.AddHost("server"),
                                &simulation.AddHost("other server")};
  Host& client_host = simulation.AddHost("client");
  Host& name_host = simulation.AddHost("names");
  if (simulation.Choose(3) == 0) {
    for (Host* server : servers) {
      sim::LinkOptions link = {
          .latency = sim::Latency::Uniform(absl::Microseconds(50),
                                           absl::Milliseconds(1))};
      if (simulation.Choose(2) == 0) link.bits_per_second = 10'000'000;
      simulation.SetLink(client_host, *server, link);
      simulation.SetLink(*server, client_host, link);
    }
  }
  sim::NameServer names(name_host);
  MakeNames(simulation, names, servers);

  std::vector<std::unique_ptr<Program>> programs;
  for (Host* server : servers) {
    programs.push_back(std::make_unique<Program>(
        simulation, *server, DrawPlan(simulation), servers, name_host.ipv4()));
    programs.back()->Serve();
  }
  for (int i = 0; i != 2; ++i) {
    programs.push_back(std::make_unique<Program>(simulation, client_host,
                                                 DrawPlan(simulation), servers,
                                                 name_host.ipv4()));
  }
  Program& client = *programs[2];
  Program& other_client = *programs[3];

  for (int i = 0; i != 12; ++i) {
    for (uint64_t n = simulation.Choose(4); n != 0; --n) {
      (simulation.Choose(3) == 0 ? other_client : client).Begin();
    }
    sim::Rule rule;
    Host& server = *servers[simulation.Choose(servers.size())];
    switch (simulation.Choose(9)) {
      case 0:
        // Much is due at once afterwards.
        server.Pause();
        break;
      case 1:
        client_host.Pause();
        break;
      case 2:
        rule = simulation.Partition(client_host, server);
        break;
      case 3:
        rule = simulation.Hold(client_host, server);
        break;
      case 4:
        server.SetDescriptorsMax(server.descriptors_open() +
                                 static_cast<int>(simulation.Choose(3)));
        break;
      case 5:
        simulation.RunFor(absl::Milliseconds(simulation.Choose(20)));
        simulation.ResetConnections(client_host, server);
        break;
      default:
        break;
    }
    // Half of them are far longer than most timeouts.
    simulation.RunFor(absl::Milliseconds(simulation.Choose(2) == 0
                                             ? 20 + simulation.Choose(300)
                                             : simulation.Choose(4000)));
    rule.Lift();
    for (Host* host : {servers[0], servers[1], &client_host}) {
      host->Resume();
      host->SetDescriptorsMax(sim::HostOptions().descriptors_max);
    }
    programs[simulation.Choose(programs.size())]->Meddle();
    simulation.RunFor(absl::Milliseconds(simulation.Choose(100)));
  }
  // All that can end, ends.
  for (const std::unique_ptr<Program>& program : programs) program->Stop();
  simulation.SetFaults({});
  simulation.RunFor(absl::Seconds(40));
  while (!programs.empty()) {
    size_t place = simulation.Choose(programs.size());
    programs.erase(programs.begin() + static_cast<int64_t>(place));
    simulation.RunFor(absl::Milliseconds(simulation.Choose(50)));
  }
}

}  // namespace aios::test
