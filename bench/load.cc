// The load generator of the benchmarks, on raw epoll: drives any of the servers
// and checks every byte that comes back.
//
//   bazel run --config=opt //bench:load -- --port=7777 --connections=50
//
// It sets the connections up, prints "ready", and then obeys lines on its
// standard input: "run 1000" makes that many requests and prints a line of JSON
// with what they took, "idle 100" opens that many connections beside, each of
// which has one message answered and then does nothing. It ends at the end of
// the input, or with exit code 1 as soon as something comes back that is not
// what was sent. //bench:compare talks to it in this way.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "bench/flags.h"

ABSL_FLAG(uint16_t, port, 0, "the server's port on 127.0.0.1");
ABSL_FLAG(std::string, scenario, "echo",
          "echo: requests and their answers on lasting connections; sink: a "
          "stream that the server counts; churn: a connection for each "
          "request; udp: datagrams");
ABSL_FLAG(int, connections, 1, "connections, or sockets, at the same time");
ABSL_FLAG(int, size, 64, "bytes of a request");
ABSL_FLAG(int, depth, 1, "requests in flight on each connection");
ABSL_FLAG(bool, stream, false,
          "send a request as soon as fewer than --depth are in flight, not as "
          "many as that together when all are answered");
ABSL_FLAG(bool, turns, false,
          "the connections send together, when all have their answers");
ABSL_FLAG(bool, uninterrupted, false,
          "while it sends, nothing else runs on its processor, where the "
          "system permits that");
ABSL_FLAG(int, idle, 0, "idle connections beside");

namespace {

// An answer that takes longer is lost. It may take long from a server that is
// being traced.
constexpr int kTimeoutMs = 60'000;
constexpr size_t kReceiveMax = size_t{256} << 10;
constexpr int kEventsMax = 1024;
constexpr size_t kIdleSize = 64;

[[noreturn]] void Fail(std::string_view what) {
  std::cerr << "load: " << what << std::endl;
  std::exit(1);
}

[[noreturn]] void FailErrno(std::string_view call) {
  Fail(std::string(call) + ": " + std::strerror(errno));
}

int64_t NowNs() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// The bytes that are sent: of a long text without structure, so that bytes of
// another place, or of another connection, are not taken for the right ones.
class Pattern {
 public:
  Pattern() : bytes_(kPeriod + kSliceMax) {
    uint32_t state = 1;
    for (size_t i = 0; i < kPeriod; ++i) {
      state = state * 1664525 + 1013904223;
      bytes_[i] = static_cast<char>(state >> 24);
    }
    std::copy_n(bytes_.begin(), kSliceMax, bytes_.begin() + kPeriod);
  }

  static constexpr size_t kSliceMax = size_t{256} << 10;

  // What stream number `stream` has at the offset; `size` is at most kSliceMax.
  std::string_view Slice(uint64_t stream, uint64_t offset, size_t size) const {
    return {&bytes_[(stream * kStride + offset) % kPeriod], size};
  }

  void Check(uint64_t stream, uint64_t offset, std::string_view bytes) const {
    if (Slice(stream, offset, bytes.size()) != bytes) {
      Fail("wrong bytes came back at offset " + std::to_string(offset) +
           " of connection " + std::to_string(stream));
    }
  }

 private:
  // Both prime.
  static constexpr uint64_t kPeriod = 1'048'573;
  static constexpr uint64_t kStride = 7919;
  std::vector<char> bytes_;
};

const Pattern& ThePattern() {
  static const Pattern& pattern = *new Pattern;
  return pattern;
}

std::span<char> ReceiveBuffer() {
  static auto& buffer = *new std::array<char, kReceiveMax>;
  return buffer;
}

// What a run of requests took.
struct Result {
  uint64_t requests = 0;
  uint64_t bytes = 0;
  int64_t ns = 0;
  // Of each round of `depth` requests; not measured when they stream.
  std::vector<int64_t> latencies_ns;
};

std::string ToJson(Result& result) {
  std::ostringstream json;
  json << "{\"requests\": " << result.requests
       << ", \"bytes\": " << result.bytes << ", \"ns\": " << result.ns
       << ", \"latency_ns\": {";
  std::vector<int64_t>& sorted = result.latencies_ns;
  std::sort(sorted.begin(), sorted.end());
  const char* separator = "";
  for (const auto& [name, share] :
       {std::pair("50", 0.5), std::pair("90", 0.9), std::pair("99", 0.99),
        std::pair("99.9", 0.999)}) {
    if (sorted.empty()) break;
    auto position =
        static_cast<size_t>(share * static_cast<double>(sorted.size()));
    json << separator << "\"" << name
         << "\": " << sorted[std::min(position, sorted.size() - 1)];
    separator = ", ";
  }
  json << "}}";
  return json.str();
}

// Closes a descriptor at its end.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

sockaddr_in Loopback(uint16_t port, uint32_t host = INADDR_LOOPBACK) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(host);
  address.sin_port = htons(port);
  return address;
}

void SetOption(int fd, int level, int option) {
  int one = 1;
  if (setsockopt(fd, level, option, &one, sizeof(one)) != 0) {
    FailErrno("setsockopt");
  }
}

// A socket connected to the server, from a local address that changes, because
// one has ports for 28,000 connections only.
Descriptor Connect(int type) {
  static uint32_t count = 0;
  Descriptor socket(::socket(AF_INET, type, 0));
  if (socket.get() < 0) FailErrno("socket");
  if (type == SOCK_STREAM) {
    SetOption(socket.get(), IPPROTO_TCP, TCP_NODELAY);
    SetOption(socket.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
    sockaddr_in local = Loopback(0, INADDR_LOOPBACK + ++count % 16);
    if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&local),
             sizeof(local)) != 0) {
      FailErrno("bind");
    }
  }
  sockaddr_in server = Loopback(absl::GetFlag(FLAGS_port));
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&server),
              sizeof(server)) != 0) {
    FailErrno("connect");
  }
  return socket;
}

// Returns 0 when nothing is there. The end of the stream is a failure unless
// `may_end`, and is then reported as -1.
ssize_t Receive(int fd, std::span<char> buffer, bool may_end = false) {
  ssize_t count = recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (count > 0) return count;
  if (count == 0) {
    if (may_end) return -1;
    Fail("the server closed a connection");
  }
  if (errno != EAGAIN) FailErrno("recv");
  return 0;
}

// Returns how much was taken, which may be nothing.
size_t Send(int fd, std::string_view bytes) {
  ssize_t count =
      send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (count >= 0) return static_cast<size_t>(count);
  if (errno != EAGAIN) FailErrno("send");
  return 0;
}

class Poller {
 public:
  Poller() : fd_(epoll_create1(EPOLL_CLOEXEC)) {
    if (fd_.get() < 0) FailErrno("epoll_create1");
  }

  void Add(int fd, uint32_t events, size_t number) {
    Control(EPOLL_CTL_ADD, fd, events, number);
  }
  void Change(int fd, uint32_t events, size_t number) {
    Control(EPOLL_CTL_MOD, fd, events, number);
  }

  std::span<const epoll_event> Wait() {
    int count;
    do {
      count = epoll_wait(fd_.get(), events_.data(), kEventsMax, kTimeoutMs);
    } while (count < 0 && errno == EINTR);
    if (count < 0) FailErrno("epoll_wait");
    if (count == 0) Fail("no answer within a minute");
    return std::span(events_).first(static_cast<size_t>(count));
  }

 private:
  void Control(int operation, int fd, uint32_t events, size_t number) {
    epoll_event event = {.events = events, .data = {.u64 = number}};
    if (epoll_ctl(fd_.get(), operation, fd, &event) != 0) {
      FailErrno("epoll_ctl");
    }
  }

  Descriptor fd_;
  std::array<epoll_event, kEventsMax> events_;
};

// While there is one, whatever is sent arrives together: the server does not
// run in between, if it is on the same processor and less urgent.
class Uninterrupted {
 public:
  Uninterrupted() { Set(SCHED_FIFO, 2); }
  ~Uninterrupted() { Set(SCHED_BATCH, 0); }
  Uninterrupted(const Uninterrupted&) = delete;
  Uninterrupted& operator=(const Uninterrupted&) = delete;

 private:
  // It makes counts repeatable; without permission they are nearly that.
  static void Set(int policy, int priority) {
    if (!absl::GetFlag(FLAGS_uninterrupted)) return;
    sched_param parameter = {};
    parameter.sched_priority = priority;
    static_cast<void>(sched_setscheduler(0, policy, &parameter));
  }
};

class Scenario {
 public:
  virtual ~Scenario() = default;
  virtual Result Run(uint64_t requests) = 0;

 protected:
  const size_t size_ = static_cast<size_t>(absl::GetFlag(FLAGS_size));
  const uint64_t depth_ = static_cast<uint64_t>(absl::GetFlag(FLAGS_depth));
  const bool stream_ = absl::GetFlag(FLAGS_stream);
  const bool turns_ = absl::GetFlag(FLAGS_turns);
  Poller poller_;
};

// Requests on lasting connections: sends `depth` of them together and waits
// until they are answered, or keeps `depth` of them in flight.
class Echo : public Scenario {
 public:
  Echo() : connections_(static_cast<size_t>(absl::GetFlag(FLAGS_connections))) {
    for (size_t i = 0; i < connections_.size(); ++i) {
      connections_[i].socket = Connect(SOCK_STREAM);
      poller_.Add(connections_[i].socket.get(), EPOLLIN, i);
    }
  }

  Result Run(uint64_t requests) override {
    Result result;
    result.requests = requests;
    unsent_ = requests;
    unanswered_ = requests;
    if (!stream_) result.latencies_ns.reserve(requests / depth_ + 1);
    int64_t begin = NowNs();
    StartAll();
    while (unanswered_ > 0) {
      for (const epoll_event& event : poller_.Wait()) {
        size_t number = event.data.u64;
        if (event.events & EPOLLOUT) SendSome(number);
        if (event.events & ~uint32_t{EPOLLOUT}) ReceiveSome(number, result);
      }
      if (turns_ && in_flight_ == 0) StartAll();
    }
    result.ns = NowNs() - begin;
    return result;
  }

 private:
  struct Connection {
    Descriptor socket;
    // Offsets in the stream of this connection.
    uint64_t granted = 0;
    uint64_t sent = 0;
    uint64_t received = 0;
    int64_t begin_ns = 0;
    bool wants_output = false;
  };

  void StartAll() {
    Uninterrupted uninterrupted;
    for (size_t i = 0; i < connections_.size() && unsent_ > 0; ++i) Start(i);
  }

  // Sends the next requests of the connection, as many as it may.
  void Start(size_t number) {
    Connection& connection = connections_[number];
    uint64_t open =
        (connection.granted - connection.received + size_ - 1) / size_;
    if (open >= depth_ || (!stream_ && open > 0)) return;
    uint64_t more = std::min(unsent_, depth_ - open);
    if (more == 0) return;
    unsent_ -= more;
    in_flight_ += more;
    connection.granted += more * size_;
    if (!stream_) connection.begin_ns = NowNs();
    SendSome(number);
  }

  void SendSome(size_t number) {
    Connection& connection = connections_[number];
    while (connection.sent < connection.granted) {
      size_t size = std::min<uint64_t>(connection.granted - connection.sent,
                                       Pattern::kSliceMax);
      size_t taken = Send(connection.socket.get(),
                          ThePattern().Slice(number, connection.sent, size));
      connection.sent += taken;
      if (taken < size) break;
    }
    bool wants_output = connection.sent < connection.granted;
    if (wants_output == connection.wants_output) return;
    connection.wants_output = wants_output;
    poller_.Change(connection.socket.get(),
                   wants_output ? EPOLLIN | EPOLLOUT : EPOLLIN, number);
  }

  void ReceiveSome(size_t number, Result& result) {
    Connection& connection = connections_[number];
    ssize_t count = Receive(connection.socket.get(), ReceiveBuffer());
    if (count == 0) return;
    ThePattern().Check(number, connection.received,
                       {ReceiveBuffer().data(), static_cast<size_t>(count)});
    uint64_t before = connection.received / size_;
    connection.received += static_cast<uint64_t>(count);
    result.bytes += static_cast<uint64_t>(count);
    if (connection.received > connection.sent) Fail("more came than was sent");
    uint64_t answered = connection.received / size_ - before;
    unanswered_ -= answered;
    in_flight_ -= answered;
    bool all = connection.received == connection.granted;
    if (!stream_ && all) {
      result.latencies_ns.push_back(NowNs() - connection.begin_ns);
    }
    if (!turns_ && (stream_ || all)) Start(number);
  }

  std::vector<Connection> connections_;
  // Requests of the run: not sent yet; sent and not answered; the sum of both.
  uint64_t unsent_ = 0;
  uint64_t in_flight_ = 0;
  uint64_t unanswered_ = 0;
};

// One connection a run, on which the requests stream one way. At their end the
// server answers how many bytes it got.
class Sink : public Scenario {
 public:
  Result Run(uint64_t requests) override {
    Result result;
    result.requests = requests;
    result.bytes = requests * size_;
    int64_t begin = NowNs();
    Descriptor socket = Connect(SOCK_STREAM);
    poller_.Add(socket.get(), EPOLLOUT, 0);
    uint64_t sent = 0;
    while (sent < result.bytes) {
      poller_.Wait();
      size_t size = std::min<uint64_t>(result.bytes - sent, Pattern::kSliceMax);
      sent += Send(socket.get(), ThePattern().Slice(0, sent, size));
    }
    shutdown(socket.get(), SHUT_WR);
    poller_.Change(socket.get(), EPOLLIN, 0);
    std::array<char, 8> answer;
    size_t received = 0;
    while (received < answer.size()) {
      poller_.Wait();
      received += static_cast<size_t>(
          Receive(socket.get(), std::span(answer).subspan(received)));
    }
    uint64_t total = 0;
    for (size_t i = answer.size(); i-- > 0;) {
      total = total << 8 | static_cast<uint8_t>(answer[i]);
    }
    if (total != sent) {
      Fail("the server got " + std::to_string(total) + " of " +
           std::to_string(sent) + " bytes");
    }
    result.ns = NowNs() - begin;
    return result;
  }
};

// Each request is the life of a connection: connect, a message and its answer,
// end of both directions.
class Churn : public Scenario {
 public:
  Churn() : lives_(static_cast<size_t>(absl::GetFlag(FLAGS_connections))) {}

  Result Run(uint64_t requests) override {
    Result result;
    result.requests = requests;
    result.latencies_ns.reserve(requests);
    unstarted_ = requests;
    uint64_t unfinished = requests;
    int64_t begin = NowNs();
    for (size_t i = 0; i < lives_.size(); ++i) Start(i);
    while (unfinished > 0) {
      for (const epoll_event& event : poller_.Wait()) {
        size_t number = event.data.u64;
        if (!Continue(lives_[number], result)) continue;
        --unfinished;
        Start(number);
      }
    }
    result.ns = NowNs() - begin;
    return result;
  }

 private:
  struct Life {
    Descriptor socket;
    uint64_t stream = 0;
    size_t received = 0;
    int64_t begin_ns = 0;
  };

  void Start(size_t number) {
    Uninterrupted uninterrupted;
    Life& life = lives_[number];
    life = {};
    if (unstarted_ == 0) return;
    --unstarted_;
    life.stream = ++streams_;
    life.begin_ns = NowNs();
    life.socket = Connect(SOCK_STREAM);
    poller_.Add(life.socket.get(), EPOLLIN, number);
    if (Send(life.socket.get(), ThePattern().Slice(life.stream, 0, size_)) !=
        size_) {
      Fail("a new connection does not take a message");
    }
  }

  // Returns whether it is over.
  bool Continue(Life& life, Result& result) {
    bool answered = life.received == size_;
    ssize_t count = Receive(life.socket.get(), ReceiveBuffer(), answered);
    if (count < 0) {
      result.latencies_ns.push_back(NowNs() - life.begin_ns);
      return true;
    }
    if (count > 0 && answered) Fail("more came than was sent");
    ThePattern().Check(life.stream, life.received,
                       {ReceiveBuffer().data(), static_cast<size_t>(count)});
    life.received += static_cast<size_t>(count);
    result.bytes += static_cast<uint64_t>(count);
    if (life.received > size_) Fail("more came than was sent");
    if (life.received == size_) shutdown(life.socket.get(), SHUT_WR);
    return false;
  }

  std::vector<Life> lives_;
  uint64_t unstarted_ = 0;
  uint64_t streams_ = 0;
};

// Datagrams, `depth` of them in a burst on each socket. None gets lost between
// sockets of one system, as long as a burst fits into the receive buffers.
class Udp : public Scenario {
 public:
  Udp() : sockets_(static_cast<size_t>(absl::GetFlag(FLAGS_connections))) {
    for (size_t i = 0; i < sockets_.size(); ++i) {
      sockets_[i].socket = Connect(SOCK_DGRAM);
      poller_.Add(sockets_[i].socket.get(), EPOLLIN, i);
    }
    messages_.resize(depth_);
    parts_.resize(depth_);
    room_.resize(depth_ * size_);
  }

  Result Run(uint64_t requests) override {
    Result result;
    result.requests = requests;
    result.latencies_ns.reserve(requests / depth_ + 1);
    unsent_ = requests;
    uint64_t unanswered = requests;
    uint64_t in_flight = 0;
    int64_t begin = NowNs();
    auto start_all = [&] {
      Uninterrupted uninterrupted;
      for (size_t i = 0; i < sockets_.size(); ++i) in_flight += Start(i);
    };
    start_all();
    while (unanswered > 0) {
      for (const epoll_event& event : poller_.Wait()) {
        size_t number = event.data.u64;
        uint64_t count = ReceiveSome(number, result);
        unanswered -= count;
        in_flight -= count;
        if (!turns_ && sockets_[number].in_flight == 0) {
          in_flight += Start(number);
        }
      }
      if (turns_ && in_flight == 0) start_all();
    }
    result.ns = NowNs() - begin;
    return result;
  }

 private:
  struct Socket {
    Descriptor socket;
    // Datagrams.
    uint64_t sent = 0;
    uint64_t received = 0;
    uint64_t in_flight = 0;
    int64_t begin_ns = 0;
  };

  uint64_t Start(size_t number) {
    Socket& socket = sockets_[number];
    uint64_t burst = std::min(unsent_, depth_);
    if (burst == 0) return 0;
    unsent_ -= burst;
    socket.in_flight = burst;
    for (size_t i = 0; i < burst; ++i) {
      std::string_view bytes =
          ThePattern().Slice(number, (socket.sent + i) * size_, size_);
      SetMessage(i, const_cast<char*>(bytes.data()));
    }
    socket.begin_ns = NowNs();
    socket.sent += burst;
    for (uint64_t sent = 0; sent < burst;) {
      int count = sendmmsg(socket.socket.get(), &messages_[sent],
                           static_cast<unsigned>(burst - sent), 0);
      if (count < 0) FailErrno("sendmmsg");
      sent += static_cast<uint64_t>(count);
    }
    return burst;
  }

  uint64_t ReceiveSome(size_t number, Result& result) {
    Socket& socket = sockets_[number];
    for (size_t i = 0; i < depth_; ++i) SetMessage(i, &room_[i * size_]);
    int count = recvmmsg(socket.socket.get(), messages_.data(),
                         static_cast<unsigned>(depth_), MSG_DONTWAIT, nullptr);
    if (count < 0 && errno == EAGAIN) return 0;
    if (count < 0) FailErrno("recvmmsg");
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      if (messages_[i].msg_len != size_) Fail("a datagram of another size");
      ThePattern().Check(number, socket.received++ * size_,
                         {&room_[i * size_], size_});
      result.bytes += size_;
    }
    socket.in_flight -= static_cast<uint64_t>(count);
    if (socket.in_flight == 0) {
      result.latencies_ns.push_back(NowNs() - socket.begin_ns);
    }
    return static_cast<uint64_t>(count);
  }

  void SetMessage(size_t i, char* bytes) {
    parts_[i] = {.iov_base = bytes, .iov_len = size_};
    messages_[i] = {};
    messages_[i].msg_hdr.msg_iov = &parts_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
  }

  std::vector<Socket> sockets_;
  uint64_t unsent_ = 0;
  // Of one burst.
  std::vector<mmsghdr> messages_;
  std::vector<iovec> parts_;
  std::vector<char> room_;
};

// Connections that were answered once.
class IdleConnections {
 public:
  void Open(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      Descriptor& socket = sockets_.emplace_back(Connect(SOCK_STREAM));
      uint64_t stream = sockets_.size();
      std::array<char, kIdleSize> answer;
      if (Send(socket.get(), ThePattern().Slice(stream, 0, kIdleSize)) !=
              kIdleSize ||
          recv(socket.get(), answer.data(), answer.size(), MSG_WAITALL) !=
              ssize_t{kIdleSize}) {
        Fail("an idle connection got no answer");
      }
      ThePattern().Check(stream, 0, {answer.data(), answer.size()});
    }
  }

 private:
  std::vector<Descriptor> sockets_;
};

std::unique_ptr<Scenario> MakeScenario() {
  std::string name = absl::GetFlag(FLAGS_scenario);
  if (name == "echo") return std::make_unique<Echo>();
  if (name == "sink") return std::make_unique<Sink>();
  if (name == "churn") return std::make_unique<Churn>();
  if (name == "udp") return std::make_unique<Udp>();
  aios::bench::UsageError("--scenario: there is no \"" + name + "\"");
}

void CheckRange(std::string_view flag, int value, int min, int max) {
  if (value >= min && value <= max) return;
  aios::bench::UsageError("--" + std::string(flag) + ": must be " +
                          std::to_string(min) + " to " + std::to_string(max));
}

}  // namespace

int main(int argc, char* argv[]) {
  aios::bench::ParseFlags(argc, argv, "drives an echo server");
  CheckRange("port", absl::GetFlag(FLAGS_port), 1, 65535);
  CheckRange("connections", absl::GetFlag(FLAGS_connections), 1, 100'000);
  CheckRange("size", absl::GetFlag(FLAGS_size), 1,
             absl::GetFlag(FLAGS_scenario) == "udp" ? 65'507 : 1 << 20);
  CheckRange("depth", absl::GetFlag(FLAGS_depth), 1, 1024);
  CheckRange("idle", absl::GetFlag(FLAGS_idle), 0, 1'000'000);

  IdleConnections idle;
  idle.Open(static_cast<uint64_t>(absl::GetFlag(FLAGS_idle)));
  std::unique_ptr<Scenario> scenario = MakeScenario();
  std::cout << "ready" << std::endl;
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command;
    uint64_t count = 0;
    if (!(words >> command >> count) || count == 0) {
      Fail("not understood: \"" + line + "\"");
    }
    if (command == "run") {
      Result result = scenario->Run(count);
      std::cout << ToJson(result) << std::endl;
    } else if (command == "idle") {
      idle.Open(count);
      std::cout << "{}" << std::endl;
    } else {
      Fail("not understood: \"" + line + "\"");
    }
  }
  return 0;
}
