// Scenario S40: ten thousand connections, one peer that hardly reads, and links
// that clog one after the other and come back in another order. Who is not
// clogged goes on.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "sim/simulated_test.h"

namespace aios::sim {
namespace {

constexpr size_t kHosts = 20;
constexpr Nanoseconds kSecond = 1'000'000'000;
// What an answer may take when nothing is in its way.
constexpr Nanoseconds kBound = kSecond;
// Between an answer and the next question.
constexpr absl::Duration kPause = absl::Seconds(10);

// Sends back what comes, and stuffs the one that it is told to.
class Server {
 public:
  explicit Server(Host& host)
      : collection_(MakeWaitStateCollection(host.kernel()).value()),
        listener_(
            AcceptTcpConnections(
                *collection_, 7,
                [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
                  connections_.push_back(
                      std::make_unique<Connection>(std::move(state)));
                  connections_.back()->Read();
                },
                {.backlog = 4096})
                .value()) {}

  size_t connections() const { return connections_.size(); }

 private:
  struct Connection {
    explicit Connection(std::unique_ptr<AsyncIoState> state)
        : state(std::move(state)) {}
    void Read() {
      EXPECT_TRUE(
          state
              ->ReceiveMessage(buffer,
                               [this](AsyncIoState&, const IoResult& input) {
                                 if (input.ok()) Answer(input.data);
                               })
              .ok());
    }
    void Answer(std::string_view question) {
      // "S", of the slow one: a mebibyte for each byte.
      if (question[0] == 'S') {
        long_answer.assign(question.size() << 20, 'x');
        question = long_answer;
      }
      EXPECT_TRUE(
          state
              ->WriteBuffer(question,
                            [this](AsyncIoState&, const IoResult&) { Read(); })
              .ok());
    }
    std::unique_ptr<AsyncIoState> state;
    std::array<char, 64> buffer;
    std::string long_answer;
  };

  std::unique_ptr<WaitStateCollection> collection_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::unique_ptr<AcceptingHandle> listener_;
};

class Client {
 public:
  Client(Simulation& simulation, WaitStateCollection& collection,
         const Host& server, size_t host)
      : simulation_(simulation),
        host_(host),
        state_(ConnectTcp(collection, server.ipv4(), 7,
                          [this](AsyncIoState&, const IoResult& result) {
                            EXPECT_TRUE(result.ok()) << result.error.Message();
                            connected_ = true;
                            Ask();
                          })
                   .value()) {}

  bool connected() const { return connected_; }
  uint64_t answers() const { return answers_; }
  size_t host() const { return host_; }
  // Waiting for an answer since then; `kForever`: for none.
  Nanoseconds asked() const { return asked_; }

 private:
  void Ask() {
    asked_ = simulation_.now();
    EXPECT_TRUE(
        state_->WriteBuffer("question", [](AsyncIoState&, const IoResult&) {})
            .ok());
    EXPECT_TRUE(state_
                    ->ReadBuffer(answer_,
                                 [this](AsyncIoState&, const IoResult& input) {
                                   EXPECT_EQ(input.data, "question");
                                   ++answers_;
                                   asked_ = kForever;
                                   Pause();
                                 })
                    .ok());
  }
  // Nothing will come meanwhile: its timeout is the pause.
  void Pause() {
    EXPECT_TRUE(state_
                    ->WaitForInput(
                        [this](AsyncIoState&, const IoResult& result) {
                          EXPECT_EQ(result.status, IoStatus::kTimeout);
                          Ask();
                        },
                        {.timeout = kPause})
                    .ok());
    EXPECT_TRUE(state_->set_read_timeout(absl::InfiniteDuration()).ok());
  }

  Simulation& simulation_;
  const size_t host_;
  std::array<char, 8> answer_;
  bool connected_ = false;
  uint64_t answers_ = 0;
  Nanoseconds asked_ = kForever;
  std::unique_ptr<AsyncIoState> state_;
};

// Asks for as much as a program can hold, and reads a little now and then.
class SlowClient {
 public:
  SlowClient(WaitStateCollection& collection, const Host& server)
      : state_(ConnectTcp(collection, server.ipv4(), 7,
                          [this](AsyncIoState& state, const IoResult&) {
                            EXPECT_TRUE(state
                                            .WriteBuffer("SSSSSSSSSSSSSSSS",
                                                         [](AsyncIoState&,
                                                            const IoResult&) {})
                                            .ok());
                            Sip();
                          })
                   .value()) {}
  uint64_t received() const { return received_; }

 private:
  void Sip() {
    EXPECT_TRUE(state_
                    ->ReadBuffer(buffer_,
                                 [this](AsyncIoState&, const IoResult& input) {
                                   received_ += input.count;
                                   sips_++;
                                   Sip();
                                 })
                    .ok());
  }
  std::array<char, 1000> buffer_;
  uint64_t received_ = 0;
  uint64_t sips_ = 0;
  std::unique_ptr<AsyncIoState> state_;
};

// A clog holds packets back, so that all go on when it is over, or drops them,
// so that they have to be sent again.
void Swizzle(Simulation& simulation, size_t connections_per_host, bool drops) {
  Host& server_host = simulation.AddHost("server");
  Server server(server_host);
  std::vector<Host*> hosts;
  std::vector<std::unique_ptr<WaitStateCollection>> collections;
  std::vector<std::unique_ptr<Client>> clients;
  for (size_t i = 0; i != kHosts; ++i) {
    hosts.push_back(&simulation.AddHost("clients" + std::to_string(i)));
    collections.push_back(
        MakeWaitStateCollection(hosts.back()->kernel()).value());
  }
  Host& slow_host = simulation.AddHost("slow");
  // So much comes through to it.
  simulation.SetLink(server_host, slow_host, {.bits_per_second = 80'000});
  auto slow_collection = MakeWaitStateCollection(slow_host.kernel()).value();
  SlowClient slow(*slow_collection, server_host);
  for (size_t n = 0; n != connections_per_host; ++n) {
    for (size_t i = 0; i != kHosts; ++i) {
      clients.push_back(std::make_unique<Client>(simulation, *collections[i],
                                                 server_host, i));
    }
  }
  ASSERT_TRUE(simulation.RunUntil([&] {
    return server.connections() == kHosts * connections_per_host + 1;
  }));
  simulation.RunFor(absl::Seconds(1));

  // Swizzle-clog: some hosts, one after the other, and in another order back.
  std::vector<Rule> clogs(kHosts);
  std::vector<bool> clogged(kHosts);
  std::vector<Nanoseconds> free_since(kHosts, simulation.now());
  Nanoseconds begin = simulation.now();
  size_t late = 0;
  auto look = [&] {
    for (const auto& client : clients) {
      if (clogged[client->host()] || client->asked() == kForever) {
        continue;
      }
      Nanoseconds since = std::max(client->asked(), free_since[client->host()]);
      // Pauses between attempts double: the last one is hardly longer than all
      // before it.
      Nanoseconds again = drops ? since - client->asked() : 0;
      if (simulation.now() - since > again + kBound) ++late;
    }
  };
  while (simulation.now() - begin < 60 * kSecond) {
    std::vector<size_t> chosen;
    for (size_t i = 0; i != kHosts; ++i) {
      if (simulation.Choose(2) == 0) chosen.push_back(i);
    }
    auto shuffle = [&] {
      for (size_t i = chosen.size(); i > 1; --i) {
        std::swap(chosen[i - 1], chosen[simulation.Choose(i)]);
      }
    };
    auto pass = [&] {
      EXPECT_TRUE(
          simulation.RunFor(absl::Milliseconds(100 + simulation.Choose(400))));
      look();
    };
    shuffle();
    for (size_t host : chosen) {
      clogged[host] = true;
      clogs[host] = drops ? simulation.Partition(server_host, *hosts[host])
                          : simulation.Hold(server_host, *hosts[host]);
      pass();
    }
    shuffle();
    for (size_t host : chosen) {
      clogs[host].Lift();
      clogged[host] = false;
      free_since[host] = simulation.now();
      pass();
    }
  }
  EXPECT_EQ(late, 0u) << "looks at clients that had no answer in time";
  EXPECT_TRUE(simulation.RunFor(kPause + absl::Nanoseconds(kBound)));
  look();
  EXPECT_EQ(late, 0u);
  uint64_t least = ~uint64_t{0};
  for (const auto& client : clients) least = std::min(least, client->answers());
  EXPECT_GE(least, 4u);
  // The slow one too, as fast as its link.
  EXPECT_GT(slow.received(), 200'000u);
  Fault fault = drops ? Fault::kPartition : Fault::kHold;
  EXPECT_GT(simulation.fault_count(fault).effective, 1000u);
}

SIMULATED_TEST_SEEDS(SwarmTest, WhoIsNotCloggedGoesOnAtOnce, 1, 1) {
  Swizzle(simulation, 500, /*drops=*/false);
}

SIMULATED_TEST_SEEDS(SwarmTest, WhatWasDroppedIsSentAgain, 1, 5) {
  Swizzle(simulation, 50, /*drops=*/true);
}

}  // namespace
}  // namespace aios::sim
