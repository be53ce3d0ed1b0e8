// A search: programs that look up, send to, connect to and listen on names as
// chance will have it, while name servers, network and kernel calls go wrong in
// every way. Each operation ends once; nothing is left.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "aios/resolver.h"
#include "gtest/gtest.h"
#include "sim/name_server.h"
#include "sim/simulated_test.h"
#include "sim/simulation.h"

namespace aios::sim {
namespace {

constexpr std::array<std::string_view, 9> kNames = {
    "www.test",  "v4.test",      "v6.test", "alias.test", "loop.test",
    "dead.test", "nothing.test", "X.Test",  "localhost"};

// An operation: it ends once, unless it was given up.
struct Tracked {
  std::string what;
  int ends = 0;
  bool in_call = true;
  bool given_up = false;
};

class Search {
 public:
  explicit Search(Simulation& simulation)
      : simulation_(simulation),
        drain_{simulation},
        client_(simulation.AddHost("client")),
        server_(simulation.AddHost("server")),
        dns_(simulation.AddHost("dns")),
        backup_(simulation.AddHost("backup")),
        there_(MakeWaitStateCollection(server_.kernel()).value()) {
    for (NameServer* server : {&dns_, &backup_}) {
      for (std::string_view name : {"www.test", "x.test"}) {
        server->AddAddress(name, server_.ipv6(), absl::Seconds(2));
        server->AddAddress(name, server_.ipv4(), absl::Seconds(2));
      }
      server->AddAddress("v4.test", server_.ipv4(), absl::Seconds(1));
      server->AddAddress("v6.test", server_.ipv6(), absl::Seconds(1));
      server->AddAlias("alias.test", "www.test");
      server->AddAlias("loop.test", "loop.test");
      server->AddAddress("dead.test", client_.ipv4());
      server->AddAddress("dead.test", IpAddress::FromIpv4(0x0a630001));
    }
    AddRules(dns_, 150'000);
    AddRules(backup_, 50'000);
    here_ = MakeWaitStateCollection(
                client_.kernel(),
                {.resolver = {.servers = {{{host("dns").ipv4(), 53},
                                           {host("backup").ipv6(), 53}}},
                              .timeout = absl::Milliseconds(200),
                              .tries = 2,
                              .questions_max = 4}})
                .value();
    listener_ =
        AcceptTcpConnections(
            *there_, 80,
            [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
              accepted_.push_back(std::move(state));
            })
            .value();
    for (std::unique_ptr<AsyncIoState>& state : udp_) state = NewUdp();
  }

  void Run() {
    SetFaults();
    for (int i = 0; i != 150; ++i) {
      Step();
      if (Choose(4) != 0) {
        simulation_.RunFor(absl::Microseconds(Choose(100'000)));
      }
      if (testing::Test::HasFailure()) return;
    }
    // What has not ended by itself when all is well again never will.
    simulation_.SetFaults({});
    rules_.clear();
    host("backup").Resume();
    Restart();
    dns_.ClearRules();
    backup_.ClearRules();
    simulation_.RunFor(absl::Minutes(5));
    for (const std::unique_ptr<Tracked>& tracked : tracked_) {
      EXPECT_EQ(tracked->ends, tracked->given_up ? tracked->ends : 1)
          << tracked->what;
    }
    // And names work.
    bool found = false;
    auto lookup = LookUp(*here_, "www.test", 80, [&](const LookupResult& r) {
      found = r.ok() && r.addresses.size() == 2;
    });
    simulation_.RunFor(absl::Seconds(5));
    EXPECT_TRUE(found);
  }

 private:
  uint64_t Choose(uint64_t count) { return simulation_.Choose(count); }
  Host& host(std::string_view name) { return *simulation_.FindHost(name); }

  void AddRules(NameServer& server, uint32_t per_million_max) {
    for (size_t i = 1; i != static_cast<size_t>(DnsFault::kCount); ++i) {
      server.AddRule(
          {.fault = static_cast<DnsFault>(i),
           .delay = absl::Milliseconds(Choose(2) * Choose(300)),
           .per_million = static_cast<uint32_t>(Choose(per_million_max))});
    }
    server.AddRule({.delay = absl::Milliseconds(Choose(100))});
  }

  void SetFaults() {
    auto rate = [&](uint64_t max) {
      return static_cast<uint32_t>(Choose(2) * Choose(max));
    };
    simulation_.SetFaults({.loss = rate(100'000),
                           .duplication = rate(100'000),
                           .reordering = rate(100'000),
                           .corruption = rate(50'000),
                           .short_read = rate(100'000),
                           .short_write = rate(100'000),
                           .would_block = rate(100'000),
                           .spurious = rate(100'000),
                           .interrupt = rate(100'000),
                           .error = rate(20'000),
                           .split = rate(500'000)});
  }

  std::unique_ptr<AsyncIoState> NewUdp() {
    auto made =
        OpenUdp(*here_, {.ipv6 = Choose(2) == 0 ? Ipv6::kYes : Ipv6::kNo});
    return made.ok() ? *std::move(made) : nullptr;
  }

  Tracked* Track(std::string what) {
    tracked_.push_back(std::make_unique<Tracked>());
    tracked_.back()->what = absl::StrCat(tracked_.size(), ": ", what);
    return tracked_.back().get();
  }

  void End(Tracked* tracked) {
    EXPECT_FALSE(tracked->in_call) << tracked->what;
    EXPECT_FALSE(tracked->given_up) << tracked->what;
    EXPECT_EQ(++tracked->ends, 1) << tracked->what;
    // Something else may end in the callback, or begin.
    if (Choose(10) == 0) Step();
  }

  IoCallback Ends(Tracked* tracked) {
    return [this, tracked](AsyncIoState&, const IoResult& result) {
      EXPECT_EQ(result.status == IoStatus::kError, !result.error.ok());
      End(tracked);
    };
  }

  void Started(Tracked* tracked, const absl::Status& status) {
    tracked->in_call = false;
    if (!status.ok()) tracked->given_up = true;
  }

  absl::Duration Timeout() {
    return Choose(2) == 0 ? absl::InfiniteDuration()
                          : absl::Milliseconds(1 + Choose(1000));
  }

  void Step() {
    if (depth_ == 3) return;
    ++depth_;
    std::string_view name = kNames[Choose(kNames.size())];
    switch (Choose(14)) {
      case 0:
      case 1:
      case 2:
        Send(name);
        break;
      case 3:
      case 4:
        Connect(name);
        break;
      case 5:
        ConnectDatagrams(name);
        break;
      case 6:
      case 7:
        Look(name);
        break;
      case 8:
        EndALookup();
        break;
      case 9:
        EndAState();
        break;
      case 10:
        AbortOutput();
        break;
      case 11:
        Disturb();
        break;
      case 12:
        Listen(name);
        break;
      case 13:
        RenewUdp();
        break;
    }
    --depth_;
  }

  void Send(std::string_view name) {
    size_t place = Choose(udp_.size());
    if (udp_[place] == nullptr) return;
    Tracked* tracked = Track(absl::StrCat("send to ", std::string(name)));
    sends_[place].push_back(tracked);
    Started(tracked,
            udp_[place]->SendMessageToAddress(
                name, 9000, "hello", Ends(tracked), {.timeout = Timeout()}));
  }

  void Connect(std::string_view name) {
    Tracked* tracked = Track(absl::StrCat("connect to ", std::string(name)));
    auto made = ConnectTcp(*here_, name, Choose(4) == 0 ? 81 : 80,
                           Ends(tracked), {.connect_timeout = Timeout()});
    Started(tracked, made.status());
    if (made.ok()) states_.emplace_back(*std::move(made), tracked);
  }

  void ConnectDatagrams(std::string_view name) {
    Tracked* tracked = Track(absl::StrCat("connect UDP ", std::string(name)));
    auto made = ConnectUdp(*here_, name, 9000, Ends(tracked),
                           {.connect_timeout = Timeout()});
    Started(tracked, made.status());
    if (made.ok()) states_.emplace_back(*std::move(made), tracked);
  }

  void Look(std::string_view name) {
    Tracked* tracked = Track(absl::StrCat("look up ", std::string(name)));
    auto made = LookUp(
        *here_, name, 80,
        [this, tracked](const LookupResult& result) {
          EXPECT_EQ(result.ok(), !result.addresses.empty());
          End(tracked);
        },
        {.family = static_cast<LookupFamily>(Choose(3)), .timeout = Timeout()});
    Started(tracked, made.status());
    if (made.ok()) lookups_.emplace_back(*std::move(made), tracked);
  }

  void Listen(std::string_view name) {
    Tracked* tracked = Track(absl::StrCat("listen on ", std::string(name)));
    auto made = AcceptTcpConnections(
        *here_, 0, [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {},
        {.address = name,
         .listening_function = [this, tracked](AcceptingHandle&,
                                               const absl::Status&) {
           End(tracked);
         }});
    Started(tracked, made.status());
    if (made.ok()) listeners_.emplace_back(*std::move(made), tracked);
  }

  // Of those in a list, one that chance picks; moved out, as callbacks may
  // change the list.
  template <typename T>
  std::pair<std::unique_ptr<T>, Tracked*> Take(
      std::vector<std::pair<std::unique_ptr<T>, Tracked*>>& list) {
    if (list.empty()) return {};
    size_t place = Choose(list.size());
    auto taken = std::move(list[place]);
    list.erase(list.begin() + static_cast<ptrdiff_t>(place));
    return taken;
  }

  static void GiveUp(Tracked* tracked) {
    if (tracked->ends == 0) tracked->given_up = true;
  }

  void EndALookup() {
    auto [lookup, tracked] = Take(lookups_);
    if (lookup == nullptr) return;
    if (Choose(2) == 0) {
      lookup->Cancel();
      lookups_.emplace_back(std::move(lookup), tracked);
    } else {
      GiveUp(tracked);
    }
  }

  void EndAState() {
    if (Choose(4) == 0) {
      auto [listener, tracked] = Take(listeners_);
      if (listener == nullptr) return;
      GiveUp(tracked);
      // Not in its own callback.
      old_listeners_.push_back(std::move(listener));
      static_cast<void>(
          old_listeners_.back()->Close([](WaitStateCollection&) {}));
      return;
    }
    auto [state, tracked] = Take(states_);
    if (state == nullptr) return;
    switch (Choose(3)) {
      case 0: {
        Tracked* abort = Track("abort of " + tracked->what);
        // Its callback stands for the one of the connect, if that has not been
        // called when the abort takes effect.
        Tracked* aborted = tracked;
        Started(abort, state->Abort(
                           [this, abort, aborted](AsyncIoState&,
                                                  const IoResult& result) {
                             if (result.interrupted) GiveUp(aborted);
                             End(abort);
                           },
                           Direction::kIo));
        old_states_.emplace_back(std::move(state), abort);
        break;
      }
      case 1:
        GiveUp(tracked);
        state->Close();
        old_states_.emplace_back(std::move(state), tracked);
        break;
      default:
        GiveUp(tracked);
        state.reset();
    }
  }

  void AbortOutput() {
    size_t place = Choose(udp_.size());
    if (udp_[place] == nullptr) return;
    Tracked* abort = Track("abort of output");
    aborts_[place].push_back(abort);
    Started(abort,
            udp_[place]->Abort(
                [this, place, abort](AsyncIoState&, const IoResult& result) {
                  if (result.interrupted) GiveUpFirst(place);
                  End(abort);
                },
                Direction::kOutput));
  }

  // The active one has no callback; those behind it have had theirs.
  void GiveUpFirst(size_t place) {
    for (Tracked* tracked : sends_[place]) {
      if (tracked->ends != 0 || tracked->given_up) continue;
      tracked->given_up = true;
      return;
    }
  }

  void RenewUdp() {
    // The callbacks of what is closed do not run.
    size_t place = Choose(udp_.size());
    for (Tracked* tracked : sends_[place]) GiveUp(tracked);
    for (Tracked* tracked : aborts_[place]) GiveUp(tracked);
    sends_[place].clear();
    aborts_[place].clear();
    udp_[place].reset();
    udp_[place] = NewUdp();
  }

  void Disturb() {
    switch (Choose(6)) {
      case 0:
        host("dns").Crash();
        break;
      case 1:
        Restart();
        break;
      case 2:
        host("backup").Pause();
        break;
      case 3:
        host("backup").Resume();
        break;
      case 4:
        rules_.push_back(simulation_.Partition(
            client_, host(Choose(2) == 0 ? "dns" : "backup"), Choose(2) == 0));
        break;
      case 5:
        rules_.clear();
        simulation_.ResetConnections(client_, host("dns"));
        break;
    }
  }

  void Restart() {
    if (host("dns").up()) return;
    host("dns").Restart();
    dns_.Restart();
  }

  // What closing has left on its way.
  struct Drain {
    ~Drain() { simulation.RunUntilIdle(); }
    Simulation& simulation;
  };

  Simulation& simulation_;
  Drain drain_;
  Host& client_;
  Host& server_;
  NameServer dns_;
  NameServer backup_;
  std::vector<std::unique_ptr<Tracked>> tracked_;
  std::unique_ptr<WaitStateCollection> there_;
  std::unique_ptr<WaitStateCollection> here_;
  std::unique_ptr<AcceptingHandle> listener_;
  std::vector<std::unique_ptr<AsyncIoState>> accepted_;
  std::array<std::unique_ptr<AsyncIoState>, 3> udp_;
  std::array<std::vector<Tracked*>, 3> sends_;
  std::array<std::vector<Tracked*>, 3> aborts_;
  std::vector<std::pair<std::unique_ptr<AsyncIoState>, Tracked*>> states_;
  std::vector<std::pair<std::unique_ptr<AsyncIoState>, Tracked*>> old_states_;
  std::vector<std::pair<std::unique_ptr<Lookup>, Tracked*>> lookups_;
  std::vector<std::pair<std::unique_ptr<AcceptingHandle>, Tracked*>> listeners_;
  std::vector<std::unique_ptr<AcceptingHandle>> old_listeners_;
  std::vector<Rule> rules_;
  int depth_ = 0;
};

SIMULATED_TEST_SEEDS(NamesSearch, EveryOperationEndsOnce, 1, 100) {
  Search(simulation).Run();
}

}  // namespace
}  // namespace aios::sim
