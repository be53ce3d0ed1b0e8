// Scenario S39: callbacks call back into every function of the interface, at
// random. Every operation still ends exactly once, none inside the call that
// started it or inside another callback, and nothing is left over.

#include <array>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "sim/name_server.h"
#include "sim/simulated_test.h"

namespace aios::sim {
namespace {

// Everything that a callback calls.
enum Call : size_t {
  kReadBuffer,
  kReadWithChecking,
  kWaitForInput,
  kReceiveMessage,
  kReceiveMessages,
  kWriteBuffer,
  kReply,
  kSendMessage,
  kSendMessageToAddress,
  kSendMessageToName,
  kSendBurst,
  kDiscard,
  kFinish,
  kGetBufferedData,
  kAbortInput,
  kAbortOutput,
  kAbortIo,
  kAbortAndClose,
  kShutdown,
  kShutdownWithAbort,
  kClose,
  kDestroy,
  kAttributes,
  kConnectTcp,
  kConnectTcpToName,
  kConnectUdp,
  kOpenUdp,
  kLookUp,
  kCancelLookup,
  kDestroyLookup,
  kApply,
  kStopLoop,
  kLookAtCollection,
  kCloseCollection,
  kCloseListener,
  kDestroyListener,
  kListen,
  kCallCount,
};

// How often each was called, of all seeds: and by that, that each was.
std::array<uint64_t, kCallCount> calls_made;

// Most callbacks may not reply.
uint64_t replies_taken = 0;
uint64_t replies_that_waited = 0;

class Caller {
 public:
  Caller(Simulation& simulation, Host& host, IpAddress server, int budget,
         bool server_side)
      : simulation_(simulation),
        server_side_(server_side),
        collection_(
            MakeWaitStateCollection(
                host.kernel(), {.resolver = {.servers = {{{server, 53}}},
                                             .timeout = absl::Milliseconds(300),
                                             .tries = 2}})
                .value()),
        server_(server),
        budget_(budget) {}

  // Several may do so at the same port.
  void Listen() {
    auto made = AcceptTcpConnections(
        *collection_, 7,
        [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
          InCallback callback(*this);
          uint64_t number = Keep(std::move(state));
          if (Choose(2) == 0) MakeOn(*states_[number], kReadWithChecking);
          Meddle();
        },
        {.reuseport = true,
         .read_timeout = Seconds(),
         .write_timeout = Seconds(),
         .queue_output = Choose(4) != 0});
    if (made.ok()) listener_ = *std::move(made);
  }

  // Receives, one after the other, what the others send to port 9.
  void Receive() {
    auto made = OpenUdp(*collection_, {.local_port = 9});
    if (!made.ok()) return;
    uint64_t number = Keep(*std::move(made));
    if (Choose(2) == 0) {
      ReceiveNext(*states_[number]);
    } else {
      MakeOn(*states_[number], kReceiveMessages);
    }
  }

  void Begin() {
    InCallback none_inside(*this);
    for (Call call : {kConnectTcp, kConnectTcp, kConnectUdp, kOpenUdp}) {
      Make(call);
    }
    ASSERT_GE(states_.size(), 2u);
    // Of two senders, who reach the server together.
    for (int64_t i : {1, 2}) {
      SendBurst(*std::prev(states_.end(), i)->second);
    }
  }

  // Operations that were taken and have neither ended by a callback nor by
  // what may stand in its place.
  void ExpectEachOperationEndedOnce() {
    for (const auto& [number, ends] : ends_) {
      EXPECT_LE(ends, 1) << "operation " << number << " has ended " << ends
                         << " times";
    }
  }
  uint64_t ended() const { return ended_; }
  size_t open() const { return collection_->size(); }

 private:
  // Callbacks do not nest.
  class InCallback {
   public:
    explicit InCallback(Caller& caller) : caller_(caller) {
      EXPECT_EQ(caller_.depth_++, 0) << "a callback within a callback or call";
    }
    ~InCallback() { --caller_.depth_; }
    InCallback(const InCallback&) = delete;
    InCallback& operator=(const InCallback&) = delete;

   private:
    Caller& caller_;
  };

  uint64_t Choose(uint64_t count) { return simulation_.Choose(count); }

  template <typename Map>
  typename Map::iterator RandomOf(Map& map) {
    return std::next(map.begin(), static_cast<int64_t>(Choose(map.size())));
  }

  // One that exists, or not.
  HostSpec Name() {
    static constexpr std::array<const char*, 3> kNobody = {
        "nobody0.test", "nobody1.test", "nobody2.test"};
    static constexpr std::array<const char*, 3> kServers = {
        "server0.test", "server1.test", "server2.test"};
    uint64_t number = Choose(3);
    return Choose(4) == 0 ? kNobody[number] : kServers[number];
  }

  uint64_t Keep(std::unique_ptr<AsyncIoState> state) {
    uint64_t number = next_state_++;
    states_[number] = std::move(state);
    return number;
  }

  void SendBurst(AsyncIoState& state) {
    std::string_view data(kData, 100);
    for (uint64_t n = 5 + Choose(40); n != 0; --n) {
      uint64_t number = next_operation_++;
      // They are too many for each to call something.
      auto callback = [this, number](AsyncIoState&, const IoResult&) {
        InCallback in_callback(*this);
        EXPECT_EQ(++ends_[number], 1);
      };
      if (Choose(2) == 0) {
        static_cast<void>(
            state.SendMessageToAddress(server_, 9, data, callback));
      } else {
        static_cast<void>(state.SendMessage(data, callback));
      }
    }
  }

  absl::Duration Seconds() { return absl::Seconds(1 + Choose(3)); }

  // Gives an operation a timeout and an error callback, or not.
  template <typename Options>
  Options Vary() {
    Options options;
    switch (Choose(4)) {
      case 0:
        options.timeout = absl::ZeroDuration();
        break;
      case 1:
        options.timeout = absl::Milliseconds(Choose(100));
        break;
      default:
        break;
    }
    if constexpr (requires { options.error_callback; }) {
      if (Choose(3) == 0) {
        // That of the operation whose callback is made next.
        options.error_callback =
            Counting(next_operation_, /*only_errors=*/true);
      }
    }
    if constexpr (requires { options.needs_address; }) {
      options.needs_address = Choose(2) == 0;
    }
    return options;
  }

  void ReceiveNext(AsyncIoState& state) {
    if (Choose(2) == 0) {
      ReceiveAll(state);
      return;
    }
    auto options = Vary<ReceiveMessageOptions>();
    options.timeout = absl::InfiniteDuration();
    IoCallback counting = Counting();
    static_cast<void>(state.ReceiveMessage(
        buffer_,
        [this, counting = std::move(counting)](AsyncIoState& self,
                                               const IoResult& result) mutable {
          std::optional<SocketAddress> sender;
          if (result.sender != nullptr) sender = *result.sender;
          counting(self, result);
          // After a shutdown it would have no end.
          bool ended = result.status == IoStatus::kEof;
          if (!destroyed_ && !ended) ReceiveNext(self);
          // Not that of what came next.
          if (sender.has_value()) {
            EXPECT_EQ(*result.sender, *sender);
          }
        },
        std::move(options)));
  }

  // For a connect: asks, and reads what comes.
  IoCallback Asking() {
    return [this, counting = Counting()](AsyncIoState& state,
                                         const IoResult& result) mutable {
      bool connected = result.ok();
      counting(state, result);
      if (!connected || destroyed_) return;
      MakeOn(state, kWriteBuffer);
      MakeOn(state, kReadWithChecking);
    };
  }

  void ReceiveAll(AsyncIoState& state) {
    auto options = Vary<ReceiveMessagesOptions>();
    options.timeout = absl::InfiniteDuration();
    checking_.insert(next_operation_);
    IoCallback counting = Counting();
    static_cast<void>(state.ReceiveMessages(
        [this, counting = std::move(counting)](AsyncIoState& self,
                                               const IoResult& result) mutable {
          std::string data(result.data);
          std::optional<SocketAddress> sender;
          if (result.sender != nullptr) sender = *result.sender;
          counting(self, result);
          // Whatever was called.
          EXPECT_TRUE(result.data == data);
          if (sender.has_value()) {
            EXPECT_EQ(*result.sender, *sender);
          }
          // Refused when it goes on.
          bool ended = result.status == IoStatus::kEof;
          if (!destroyed_ && !ended) ReceiveNext(self);
        },
        std::move(options)));
  }

  void Reply(AsyncIoState& state, uint64_t count) {
    for (; count != 0; --count) {
      // Most of the longer ones are too long for a datagram.
      std::string_view data(kData, Choose(Choose(2) == 0 ? 1000 : kDataSize));
      if (!state.Reply(data).ok()) continue;
      ++replies_taken;
      if (state.output_queue_length() != 0) ++replies_that_waited;
    }
  }

  IoCallback Counting() { return Counting(next_operation_++, false); }

  // A callback for an operation: it counts, and calls whatever comes up.
  IoCallback Counting(uint64_t number, bool only_errors) {
    return [this, number, only_errors](AsyncIoState& state,
                                       const IoResult& result) {
      InCallback callback(*this);
      if (only_errors) {
        EXPECT_EQ(result.status, IoStatus::kError);
      }
      // Those of `ReadWithChecking` and `ReceiveMessages` may be called many
      // times with kOk.
      ++ended_;
      if (!result.ok() || !checking_.contains(number)) {
        EXPECT_EQ(++ends_[number], 1);
      }
      current_ = &state;
      destroyed_ = false;
      if (checking_.contains(number)) Reply(state, Choose(3));
      Meddle();
      if (!destroyed_ && checking_.contains(number) && Choose(2) == 0) {
        static_cast<void>(state.Finish(state.BufferedDataLength()));
      }
      current_ = nullptr;
    };
  }

  // Some calls, on any state, and mostly on the one whose callback this is.
  void Meddle() {
    for (uint64_t n = Choose(4); n != 0 && budget_ > 0; --n) {
      --budget_;
      auto call = static_cast<Call>(Choose(kCallCount));
      // Rarely what ends everything.
      if (call == kCloseCollection && Choose(8) != 0) continue;
      if (call == kCloseListener && Choose(8) != 0) continue;
      if (call == kDestroyListener && Choose(8) != 0) continue;
      ++calls_made[call];
      Make(call);
    }
  }

  void Make(Call call) {
    switch (call) {
      case kConnectTcp:
      case kConnectTcpToName: {
        HostSpec host = call == kConnectTcp ? HostSpec(server_) : Name();
        auto made = ConnectTcp(*collection_, host, 7, Asking(),
                               {.read_timeout = absl::Seconds(2),
                                .write_timeout = absl::Seconds(3),
                                .connect_timeout = absl::Seconds(5),
                                .queue_output = Choose(4) != 0});
        if (made.ok()) Keep(*std::move(made));
        return;
      }
      case kOpenUdp:
      case kConnectUdp: {
        UdpOptions options = {.read_timeout = absl::Seconds(1),
                              .write_timeout = absl::Seconds(1)};
        auto made = call == kOpenUdp ? OpenUdp(*collection_, std::move(options))
                                     : ConnectUdp(*collection_, server_, 9,
                                                  std::move(options));
        if (!made.ok()) return;
        uint64_t number = Keep(*std::move(made));
        static_cast<void>(states_[number]->ReceiveMessage(buffer_, Counting()));
        return;
      }
      case kLookUp: {
        uint64_t number = next_operation_++;
        auto made = LookUp(*collection_, Name(), 7,
                           [this, number](const LookupResult&) {
                             InCallback callback(*this);
                             EXPECT_EQ(++ends_[number], 1);
                             Meddle();
                           });
        if (made.ok()) lookups_[number] = *std::move(made);
        return;
      }
      case kCancelLookup:
        if (!lookups_.empty()) RandomOf(lookups_)->second->Cancel();
        return;
      case kDestroyLookup:
        if (!lookups_.empty()) lookups_.erase(RandomOf(lookups_));
        return;
      case kApply:
        for (uint64_t n = 1 + Choose(5); n != 0; --n) {
          EXPECT_TRUE(collection_
                          ->Apply([this] {
                            InCallback callback(*this);
                            Meddle();
                          })
                          .ok());
        }
        return;
      case kStopLoop:
        collection_->StopLoop();
        return;
      case kLookAtCollection:
        EXPECT_FALSE(collection_->Alive());
        EXPECT_EQ(collection_->name(), "");
        EXPECT_LE(collection_->size(), next_state_);
        return;
      case kCloseCollection:
        collection_->Close();
        return;
      case kCloseListener:
        if (listener_ != nullptr) {
          static_cast<void>(listener_->Close([this](WaitStateCollection&) {
            InCallback callback(*this);
            Meddle();
          }));
        }
        return;
      case kDestroyListener:
        listener_.reset();
        return;
      case kListen:
        if (server_side_ &&
            (listener_ == nullptr || listener_->collection() == nullptr)) {
          Listen();
          Receive();
        }
        return;
      default:
        break;
    }
    auto found = states_.end();
    if (current_ != nullptr && !destroyed_ && Choose(2) == 0) {
      for (found = states_.begin(); found != states_.end(); ++found) {
        if (found->second.get() == current_) break;
      }
    }
    if (found == states_.end() && !states_.empty()) {
      found = RandomOf(states_);
    }
    if (found == states_.end()) return;
    if (call == kDestroy) {
      destroyed_ |= found->second.get() == current_;
      states_.erase(found);
      return;
    }
    MakeOn(*found->second, call);
  }

  void MakeOn(AsyncIoState& state, Call call) {
    // What it returns is about mistakes, of which there are plenty here.
    auto ignore = [](const auto&) {};
    // The options first: their error callback belongs to the next operation.
    auto start = [&](auto options, const auto& call) {
      IoCallback callback = Counting();
      ignore(call(std::move(callback), std::move(options)));
    };
    std::string_view data(kData, 1 + Choose(kDataSize));
    switch (call) {
      case kReadBuffer:
        start(Vary<ReadBufferOptions>(), [&](auto callback, auto options) {
          return state.ReadBuffer(
              std::span(buffer_).first(1 + Choose(buffer_.size())),
              std::move(callback), std::move(options));
        });
        break;
      case kReadWithChecking:
        checking_.insert(next_operation_);
        start(Vary<ReadWithCheckingOptions>(),
              [&](auto callback, auto options) {
                return state.ReadWithChecking(std::move(callback),
                                              std::move(options));
              });
        break;
      case kWaitForInput:
        start(Vary<WaitForInputOptions>(), [&](auto callback, auto options) {
          return state.WaitForInput(std::move(callback), std::move(options));
        });
        break;
      case kReceiveMessage:
        start(Vary<ReceiveMessageOptions>(), [&](auto callback, auto options) {
          return state.ReceiveMessage(buffer_, std::move(callback),
                                      std::move(options));
        });
        break;
      case kReceiveMessages:
        checking_.insert(next_operation_);
        start(Vary<ReceiveMessagesOptions>(), [&](auto callback, auto options) {
          return state.ReceiveMessages(std::move(callback), std::move(options));
        });
        break;
      case kWriteBuffer:
        start(Vary<WriteOptions>(), [&](auto callback, auto options) {
          return state.WriteBuffer(data, std::move(callback),
                                   std::move(options));
        });
        break;
      case kReply:
        Reply(state, 1);
        break;
      case kSendMessage:
        start(Vary<WriteOptions>(), [&](auto callback, auto options) {
          return state.SendMessage(data, std::move(callback),
                                   std::move(options));
        });
        break;
      case kSendMessageToAddress:
        start(Vary<WriteOptions>(), [&](auto callback, auto options) {
          return state.SendMessageToAddress(
              server_, 9, data, std::move(callback), std::move(options));
        });
        break;
      case kSendMessageToName:
        start(Vary<WriteOptions>(), [&](auto callback, auto options) {
          return state.SendMessageToAddress(
              Name(), 9, data, std::move(callback), std::move(options));
        });
        break;
      case kSendBurst:
        SendBurst(state);
        break;
      case kDiscard:
        ignore(state.Discard(Choose(10)));
        break;
      case kFinish:
        ignore(state.Finish(Choose(10)));
        break;
      case kGetBufferedData:
        ignore(state.GetBufferedData(buffer_));
        break;
      case kAbortInput:
        ignore(state.Abort(Counting(), Direction::kInput));
        break;
      case kAbortOutput:
        ignore(state.Abort(Counting(), Direction::kOutput));
        break;
      case kAbortIo:
        ignore(state.Abort(Counting(), Direction::kIo));
        break;
      case kAbortAndClose:
        ignore(state.AbortAndClose({.close_callback = [this](AsyncIoState&) {
          InCallback callback(*this);
          Meddle();
        }}));
        break;
      case kShutdown:
        ignore(state.Shutdown(Direction::kOutput));
        break;
      case kShutdownWithAbort:
        ignore(state.Shutdown(Direction::kIo,
                              {.abort = true, .callback = Counting()}));
        break;
      case kClose:
        state.Close();
        break;
      case kAttributes:
        state.set_name("a name");
        state.set_user_info(7);
        ignore(state.set_read_timeout(absl::Milliseconds(Choose(3000))));
        ignore(state.set_write_timeout(absl::Milliseconds(Choose(3000))));
        ignore(state.set_max_read(1 + Choose(100)));
        ignore(state.BufferedDataLength());
        ignore(state.address());
        ignore(state.peer_address());
        ignore(state.collection());
        ignore(state.object());
        break;
      default:
        FAIL() << "no call on a state: " << call;
    }
  }

  static constexpr size_t kDataSize = 200'000;
  static char kData[kDataSize];

  Simulation& simulation_;
  const bool server_side_;
  std::unique_ptr<WaitStateCollection> collection_;
  const IpAddress server_;
  int budget_;
  // Of all reads: nobody looks at what is in it.
  std::array<char, 5000> buffer_;
  uint64_t next_state_ = 1;
  uint64_t next_operation_ = 1;
  uint64_t ended_ = 0;
  std::map<uint64_t, int> ends_;
  std::set<uint64_t> checking_;
  int depth_ = 0;
  AsyncIoState* current_ = nullptr;
  bool destroyed_ = false;
  std::map<uint64_t, std::unique_ptr<AsyncIoState>> states_;
  std::map<uint64_t, std::unique_ptr<Lookup>> lookups_;
  std::unique_ptr<AcceptingHandle> listener_;
};

char Caller::kData[Caller::kDataSize];

SIMULATED_TEST_SEEDS(CallbacksCallEverythingTest, EveryOperationEndsOnce, 1,
                     100) {
  simulation.SetFaults({.loss = 10'000,
                        .short_read = 200'000,
                        .short_write = 200'000,
                        .spurious = 100'000,
                        .split = 300'000});
  Host& server_host = simulation.AddHost("server");
  Host& client_host = simulation.AddHost("client");
  NameServer names(server_host);
  for (int i = 0; i < 3; ++i) {
    std::string name = absl::StrCat("server", i, ".test");
    names.AddAddress(name, server_host.ipv4(), absl::Seconds(5 * i));
    names.AddAddress(name, server_host.ipv6(), absl::Seconds(5 * i));
  }
  for (DnsFault fault : {DnsFault::kSilence, DnsFault::kTruncated,
                         DnsFault::kServerFailure, DnsFault::kTcpReset}) {
    names.AddRule({.fault = fault, .per_million = 100'000});
  }
  Caller server(simulation, server_host, server_host.ipv4(), 300, true);
  Caller other_server(simulation, server_host, server_host.ipv4(), 300, true);
  Caller client(simulation, client_host, server_host.ipv4(), 600, false);
  for (Caller* caller : {&server, &other_server}) {
    caller->Listen();
    caller->Receive();
  }
  // What callbacks start dies out: now and then there is a new beginning.
  for (int i = 0; i < 20; ++i) {
    client.Begin();
    EXPECT_TRUE(simulation.RunFor(absl::Seconds(6)));
  }
  for (Caller* caller : {&server, &other_server, &client}) {
    caller->ExpectEachOperationEndedOnce();
  }
  EXPECT_GT(client.ended(), 0u);
}

// Otherwise the test above would prove less than it says.
TEST(CallbacksCallEverythingTest, EveryFunctionWasCalled) {
  if (calls_made == decltype(calls_made){}) {
    GTEST_SKIP() << "the test before has not run in this process";
  }
  for (size_t call = 0; call != kCallCount; ++call) {
    EXPECT_GT(calls_made[call], 0u) << "number " << call;
  }
  EXPECT_GT(replies_taken, 0u);
  EXPECT_GT(replies_that_waited, 0u);
  std::cout << replies_taken << " replies were taken, " << replies_that_waited
            << " of them had to wait\n";
}

}  // namespace
}  // namespace aios::sim
