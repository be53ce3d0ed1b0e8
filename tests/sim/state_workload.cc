#include "tests/sim/state_workload.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "aios/aios.h"

namespace aios::test {

namespace {

constexpr uint16_t kPort = 7;
constexpr int kRounds = 12;
constexpr size_t kMessage = 3000;
// Messages that follow one another without a pause, so that they may be joined.
constexpr size_t kPieces = 5;
constexpr absl::Duration kPatience = absl::Milliseconds(400);
constexpr absl::Duration kBetweenRounds = absl::Milliseconds(10);

template <typename T>
T Right(absl::StatusOr<T> value) {
  if (!value.ok()) std::abort();
  return *std::move(value);
}

void Started(const absl::Status& status) {
  if (!status.ok()) std::abort();
}

}  // namespace

class StateWorkload::Server {
 public:
  explicit Server(StateWorkload& workload)
      : collection_(Right(MakeWaitStateCollection(workload.server_.kernel()))) {
    listener_ = Right(AcceptTcpConnections(
        *collection_, kPort,
        [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
          connections_.push_back(std::make_unique<Connection>());
          connections_.back()->state = std::move(state);
          Serve(*connections_.back());
        },
        {.queue_output = true}));
    udp_ = Right(OpenUdp(*collection_, {.local_port = kPort}));
    ServeUdp();
  }

 private:
  struct Connection {
    std::unique_ptr<AsyncIoState> state;
    std::array<char, 600> buffer;
  };

  void Serve(Connection& connection) {
    Started(connection.state->ReceiveMessage(
        connection.buffer,
        [this, &connection](AsyncIoState& state, const IoResult& result) {
          if (!result.ok()) {
            std::erase_if(connections_, [&](const auto& other) {
              return other.get() == &connection;
            });
            return;
          }
          auto copy = std::make_shared<std::string>(result.data);
          Started(state.WriteBuffer(*copy,
                                    [copy](AsyncIoState&, const IoResult&) {}));
          Serve(connection);
        }));
  }

  void ServeUdp() {
    Started(udp_->ReceiveMessage(
        datagram_,
        [this](AsyncIoState& state, const IoResult& result) {
          if (result.ok()) {
            auto copy = std::make_shared<std::string>(result.data);
            Started(state.SendMessageToAddress(
                *result.sender, *copy,
                [copy](AsyncIoState&, const IoResult&) {}));
          }
          ServeUdp();
        },
        {.needs_address = true}));
  }

  std::unique_ptr<WaitStateCollection> collection_;
  std::unique_ptr<AcceptingHandle> listener_;
  std::unique_ptr<AsyncIoState> udp_;
  std::array<char, 2000> datagram_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

class StateWorkload::Client {
 public:
  explicit Client(StateWorkload& workload)
      : workload_(workload),
        collection_(Right(MakeWaitStateCollection(workload.client_.kernel()))),
        udp_(Right(ConnectUdp(*collection_, workload.server_.ipv4(), kPort))),
        clock_(Right(OpenUdp(*collection_, {}))) {
    for (size_t i = 0; i != kMessage; ++i) {
      message_.push_back(static_cast<char>(i * 31 + i / 77));
    }
    Round();
    Listen();
  }

 private:
  void Note(std::string_view what, const IoResult& result) {
    uint64_t sum = 0;
    for (char byte : result.data) {
      sum = sum * 131 + static_cast<unsigned char>(byte);
    }
    workload_.transcript_.push_back(absl::StrCat(
        collection_->kernel().Now(), " ",
        std::chrono::system_clock::now().time_since_epoch().count(), " ",
        std::string(what), " ", std::string(IoStatusName(result.status)), " ",
        result.error.Name(), " ", result.count, " ", sum));
  }

  // Connects, unless it is, sends a message in pieces, reads the answer.
  void Round() {
    if (round_++ == kRounds) {
      tcp_ = nullptr;
      return;
    }
    SendDatagram();
    if (tcp_ != nullptr) {
      Talk();
      return;
    }
    absl::StatusOr<std::unique_ptr<AsyncIoState>> made =
        ConnectTcp(*collection_, workload_.server_.ipv4(), kPort,
                   [this](AsyncIoState&, const IoResult& result) {
                     Note("connect", result);
                     if (result.ok()) {
                       Talk();
                     } else {
                       Again();
                     }
                   },
                   {.connect_timeout = kPatience, .queue_output = true});
    if (made.ok()) {
      tcp_ = *std::move(made);
    } else {
      workload_.transcript_.push_back(std::string(made.status().message()));
      After(kBetweenRounds);
    }
  }

  void Talk() {
    size_t piece = kMessage / kPieces;
    for (size_t i = 0; i != kPieces; ++i) {
      absl::Status status =
          tcp_->WriteBuffer(std::string_view(message_).substr(i * piece, piece),
                            [this](AsyncIoState&, const IoResult& result) {
                              Note("write", result);
                            },
                            {.timeout = kPatience});
      if (!status.ok()) break;
    }
    left_ = kMessage;
    Read();
  }

  void Read() {
    Started(tcp_->ReceiveMessage(answer_,
                                 [this](AsyncIoState&, const IoResult& result) {
                                   Note("read", result);
                                   left_ -= std::min(left_, result.count);
                                   if (!result.ok()) {
                                     Again();
                                   } else if (left_ == 0) {
                                     After(kBetweenRounds);
                                   } else {
                                     Read();
                                   }
                                 },
                                 {.timeout = kPatience}));
  }

  void Again() {
    // Not inside its own callback.
    After(kBetweenRounds);
    broken_ = true;
  }

  void After(absl::Duration delay) {
    Started(clock_->ReceiveMessage({&byte_, 1},
                                   [this](AsyncIoState&, const IoResult&) {
                                     if (std::exchange(broken_, false)) {
                                       tcp_ = nullptr;
                                     }
                                     Round();
                                   },
                                   {.timeout = delay}));
  }

  void SendDatagram() {
    for (int i = 0; i != 3; ++i) {
      absl::Status status = udp_->SendMessage(
          std::string_view(message_).substr(static_cast<size_t>(i) * 100, 100),
          [this](AsyncIoState&, const IoResult& result) {
            Note("send", result);
          });
      if (!status.ok()) break;
    }
  }

  void Listen() {
    Started(udp_->ReceiveMessage(datagram_,
                                 [this](AsyncIoState&, const IoResult& result) {
                                   Note("receive", result);
                                   Listen();
                                 }));
  }

  StateWorkload& workload_;
  std::unique_ptr<WaitStateCollection> collection_;
  std::string message_;
  std::array<char, 900> answer_;
  std::array<char, 200> datagram_;
  std::unique_ptr<AsyncIoState> tcp_;
  std::unique_ptr<AsyncIoState> udp_;
  // Nothing ever arrives there: for its timeouts.
  std::unique_ptr<AsyncIoState> clock_;
  char byte_ = 0;
  size_t left_ = 0;
  int round_ = 0;
  bool broken_ = false;
};

StateWorkload::StateWorkload(sim::Simulation& simulation)
    : simulation_(simulation),
      server_(simulation.AddHost("server")),
      client_(simulation.AddHost("client", {.ephemeral_port_first = 50000,
                                            .ephemeral_port_last = 50005})) {
  // So that segments that leave together do not arrive together.
  for (auto [from, to] :
       {std::pair{&client_, &server_}, std::pair{&server_, &client_}}) {
    simulation.SetLink(*from, *to,
                       {.latency = sim::Latency::Uniform(
                            absl::Microseconds(40), absl::Microseconds(60))});
  }
  StartServer();
  caller_ = std::make_unique<Client>(*this);
}

StateWorkload::~StateWorkload() = default;

void StateWorkload::StopServer() { echo_ = nullptr; }

void StateWorkload::StartServer() { echo_ = std::make_unique<Server>(*this); }

void StateWorkload::Run() {
  simulation_.RunFor(absl::Seconds(10));
  caller_ = nullptr;
  echo_ = nullptr;
}

}  // namespace aios::test
