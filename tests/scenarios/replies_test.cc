// A server answers by `Reply` and `WriteBuffer`, in every mixture, with what it
// was given or with bytes that are spoilt as early as that is allowed; it ends
// its reading and starts it again in every way. The peer reads when it likes.
// What arrives is what was taken.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "sim/simulated_test.h"

namespace aios::sim {
namespace {

constexpr uint16_t kPort = 7;
constexpr size_t kRequests = 60;  // a byte each

// No two stretches of these are equal, however they are cut.
std::string Bytes(uint64_t place, size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>((place++ * 2'654'435'761) >> 13);
  }
  return bytes;
}

// Calls functions a little later.
class Clock {
 public:
  Clock(Simulation& simulation, WaitStateCollection& collection)
      : simulation_(simulation), state_(OpenUdp(collection).value()) {}

  void Later(std::function<void()> function) {
    ASSERT_TRUE(
        state_
            ->ReceiveMessage(
                buffer_,
                [function = std::move(function)](
                    AsyncIoState&, const IoResult&) { function(); },
                {.timeout = absl::Milliseconds(1 + simulation_.Choose(50))})
            .ok());
  }

 private:
  Simulation& simulation_;
  std::array<char, 1> buffer_;
  std::unique_ptr<AsyncIoState> state_;
};

class Server {
 public:
  Server(Simulation& simulation, Host& host)
      : simulation_(simulation),
        collection_(
            MakeWaitStateCollection(
                host.kernel(),
                {.limits = {.output_queue_bytes_max = 50'000,
                            .bytes_per_turn_max = simulation.Choose(2) == 0
                                                      ? 1000u
                                                      : 256u << 10}})
                .value()),
        clock_(simulation, *collection_),
        queue_output_(simulation.Choose(3) != 0) {
    listener_ =
        AcceptTcpConnections(
            *collection_, kPort,
            [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
              state_ = std::move(state);
              Read();
            },
            {.queue_output = queue_output_})
            .value();
  }

  // The answers that were taken.
  const std::string& taken() const { return taken_; }
  uint64_t replies() const { return replies_; }
  uint64_t pauses() const { return pauses_; }
  uint64_t refusals() const { return refusals_; }
  size_t requests() const { return requests_; }

 private:
  uint64_t Choose(uint64_t count) { return simulation_.Choose(count); }

  void Read() {
    ASSERT_TRUE(state_
                    ->ReadWithChecking(
                        [this](AsyncIoState&, const IoResult& input) {
                          OnInput(input);
                        },
                        {.max_read = 1 + Choose(20)})
                    .ok());
  }

  void OnInput(const IoResult& input) {
    if (!input.ok()) {
      ASSERT_EQ(input.status, IoStatus::kEof);
      if (input.count != 0) {
        Read();
      } else {
        End();
      }
      return;
    }
    size_t answered = 0;
    // Now and then some are left for the next time.
    while (answered != input.count && Choose(8) != 0 && Answer(input)) {
      ++answered;
    }
    requests_ += answered;
    bool waits = state_->output_queue_length() != 0;
    switch (Choose(8)) {
      case 0:
        EXPECT_TRUE(state_->Finish(answered).ok());
        ReadNext();
        return;
      case 1:
        EXPECT_TRUE(state_->Discard(answered).ok());
        EXPECT_TRUE(state_
                        ->Abort([this](AsyncIoState&, const IoResult& result) {
                          EXPECT_TRUE(result.interrupted);
                          Read();
                        })
                        .ok());
        break;
      default:
        EXPECT_TRUE(state_->Discard(answered).ok());
        if (waits) ++pauses_;
    }
  }

  void ReadNext() {
    switch (Choose(3)) {
      case 0:
        Read();
        break;
      case 1:
        ASSERT_TRUE(state_
                        ->WaitForInput(
                            [this](AsyncIoState&, const IoResult&) { Read(); })
                        .ok());
        break;
      case 2:
        ASSERT_TRUE(
            state_
                ->ReadBuffer(request_,
                             [this](AsyncIoState&, const IoResult& result) {
                               requests_ += result.count;
                               if (result.ok()) {
                                 Write(1 + Choose(100));
                               }
                               Read();
                             })
                .ok());
        break;
    }
  }

  // Whether there was room for it.
  bool Answer(const IoResult& input) {
    size_t size = 1 + Choose(Choose(4) == 0 ? 100'000 : 300);
    switch (Choose(6)) {
      case 0:
        return Write(size);
      case 1:
        return Reply(input.data.substr(Choose(input.count)));
      default:
        std::string answer = Bytes(taken_.size(), size);
        bool taken = Reply(answer);
        answer.assign(size, '!');
        return taken;
    }
  }

  bool Reply(std::string_view answer) {
    if (!Taken(state_->Reply(answer), answer)) return false;
    ++replies_;
    return true;
  }

  bool Write(size_t size) {
    auto answer = std::make_shared<std::string>(Bytes(taken_.size(), size));
    return Taken(
        state_->WriteBuffer(*answer,
                            [answer](AsyncIoState&, const IoResult& result) {
                              EXPECT_EQ(result.status, IoStatus::kOk);
                              EXPECT_EQ(result.count, answer->size());
                            }),
        *answer);
  }

  bool Taken(const absl::Status& status, std::string_view answer) {
    if (status.ok()) {
      taken_ += answer;
      return true;
    }
    ++refusals_;
    EXPECT_TRUE(absl::IsResourceExhausted(status) ||
                (!queue_output_ && absl::IsFailedPrecondition(status)))
        << status;
    return false;
  }

  // When all is written, that is.
  void End() {
    if (state_->output_queue_length() != 0) {
      clock_.Later([this] { End(); });
      return;
    }
    EXPECT_TRUE(state_->Shutdown(Direction::kOutput).ok());
  }

  Simulation& simulation_;
  const std::unique_ptr<WaitStateCollection> collection_;
  Clock clock_;
  const bool queue_output_;
  std::unique_ptr<AcceptingHandle> listener_;
  std::unique_ptr<AsyncIoState> state_;
  std::array<char, 1> request_;
  std::string taken_;
  uint64_t replies_ = 0;
  uint64_t pauses_ = 0;
  uint64_t refusals_ = 0;
  size_t requests_ = 0;
};

class Client {
 public:
  Client(Simulation& simulation, Host& host, IpAddress server)
      : simulation_(simulation),
        collection_(MakeWaitStateCollection(host.kernel()).value()),
        asks_(simulation, *collection_),
        reads_(simulation, *collection_) {
    state_ = ConnectTcp(*collection_, server, kPort,
                        [this](AsyncIoState&, const IoResult& result) {
                          ASSERT_TRUE(result.ok());
                          Ask();
                          Read();
                        })
                 .value();
  }

  bool done() const { return done_; }
  const std::string& received() const { return received_; }

 private:
  void Ask() {
    if (asked_ == kRequests) {
      EXPECT_TRUE(state_->Shutdown(Direction::kOutput).ok());
      return;
    }
    size_t size = 1 + simulation_.Choose(kRequests - asked_);
    asked_ += size;
    ASSERT_TRUE(state_
                    ->WriteBuffer(
                        std::string_view(requests_).substr(asked_ - size, size),
                        [this](AsyncIoState&, const IoResult& result) {
                          ASSERT_TRUE(result.ok());
                          asks_.Later([this] { Ask(); });
                        })
                    .ok());
  }

  void Read() {
    ASSERT_TRUE(
        state_
            ->ReceiveMessage(std::span(buffer_).first(
                                 1 + simulation_.Choose(buffer_.size())),
                             [this](AsyncIoState&, const IoResult& result) {
                               received_ += result.data;
                               if (!result.ok()) {
                                 EXPECT_EQ(result.status, IoStatus::kEof);
                                 done_ = true;
                               } else if (simulation_.Choose(4) == 0) {
                                 reads_.Later([this] { Read(); });
                               } else {
                                 Read();
                               }
                             })
            .ok());
  }

  Simulation& simulation_;
  const std::unique_ptr<WaitStateCollection> collection_;
  Clock asks_;
  Clock reads_;
  std::unique_ptr<AsyncIoState> state_;
  const std::string requests_ = Bytes(0, kRequests);
  std::array<char, 50'000> buffer_;
  size_t asked_ = 0;
  std::string received_;
  bool done_ = false;
};

// Of all seeds.
uint64_t replies_of_all = 0;
uint64_t pauses_of_all = 0;
uint64_t refusals_of_all = 0;

SIMULATED_TEST_SEEDS(RepliesTest, WhatArrivesIsWhatWasTaken, 1, 100) {
  simulation.SetFaults({.loss = 10'000,
                        .short_read = 200'000,
                        .short_write = 200'000,
                        .spurious = 100'000,
                        .split = 300'000});
  Host& server_host = simulation.AddHost("server");
  Host& client_host = simulation.AddHost("client");
  Server server(simulation, server_host);
  Client client(simulation, client_host, server_host.ipv4());
  EXPECT_TRUE(simulation.RunUntil([&] { return client.done(); }));
  EXPECT_TRUE(client.received() == server.taken())
      << client.received().size() << " of " << server.taken().size()
      << " bytes arrived, or they are others";
  EXPECT_EQ(server.requests(), kRequests);
  replies_of_all += server.replies();
  pauses_of_all += server.pauses();
  refusals_of_all += server.refusals();
}

// Otherwise the test above would prove less than it says.
TEST(RepliesTest, RepliesWereMadeHadToWaitAndWereRefused) {
  if (replies_of_all == 0) {
    GTEST_SKIP() << "the test before has not run in this process";
  }
  EXPECT_GT(pauses_of_all, 0u);
  EXPECT_GT(refusals_of_all, 0u);
  std::cout << replies_of_all << " replies, " << pauses_of_all
            << " callbacks after which some waited, " << refusals_of_all
            << " refusals\n";
}

}  // namespace
}  // namespace aios::sim
