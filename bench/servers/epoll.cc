// The floor: what a server costs that is written for the purpose by hand, with
// nothing between it and the system's calls.
//
// All idle timeouts are the same, so the connections stand in a list in the
// order of their deadlines, and a message moves its connection to the end. The
// clock is read once a turn.
//
// Level-triggered, it makes one call for each report. Edge-triggered
// (--edge_triggered), a connection is registered once for both directions, and
// reads until a count that is short proves that there is no more; or until the
// end of the stream, if that was reported, because no edge comes for it again.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/flags/flag.h"
#include "bench/servers/server.h"

ABSL_FLAG(bool, edge_triggered, false, "register edge-triggered");

namespace aios::bench {
namespace {

constexpr int kEventsMax = 256;

int64_t NowMs() {
  // The cheap clock: what it is late, a few milliseconds, means nothing here.
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// A member of the ring of idle timeouts.
struct Timeout {
  Timeout* previous = this;
  Timeout* next = this;
  int64_t deadline_ms = 0;

  void Remove() {
    previous->next = next;
    next->previous = previous;
  }
  void AddBefore(Timeout* other) {
    previous = other->previous;
    next = other;
    previous->next = this;
    other->previous = this;
  }
};

struct Connection : Timeout {
  explicit Connection(int fd) : fd(fd) {}
  const int fd;
  // The sink's.
  uint64_t total = 0;
  // What the peer has not taken yet, and the beginning of a request that is not
  // complete. Mostly nothing.
  std::unique_ptr<std::string> unsent;
  std::unique_ptr<std::string> partial;
};

template <bool kEdgeTriggered>
class Server {
 public:
  explicit Server(const ServerOptions& options)
      : options_(options), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    if (epoll_ < 0) Fail("epoll_create1");
    bool udp = options.service == Service::kUdp;
    listener_ =
        socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(options.port);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (bind(listener_, generic, size) != 0) Fail("bind");
    if (!udp && listen(listener_, SOMAXCONN) != 0) Fail("listen");
    getsockname(listener_, generic, &size);
    Control(EPOLL_CTL_ADD, listener_, EPOLLIN, nullptr);
    PrintListening(ntohs(address.sin_port));
  }

  [[noreturn]] void Loop() {
    for (;;) {
      int count = epoll_wait(epoll_, events_.data(), kEventsMax, SleepMs());
      if (count < 0 && errno != EINTR) Fail("epoll_wait");
      if (options_.read_timeout_ms > 0) now_ms_ = NowMs();
      for (int i = 0; i < count; ++i) {
        Serve(
            static_cast<Connection*>(events_[static_cast<size_t>(i)].data.ptr),
            events_[static_cast<size_t>(i)].events);
      }
      // After the events, so that data wins over the timeout.
      while (timeouts_.next != &timeouts_ &&
             timeouts_.next->deadline_ms <= now_ms_) {
        Close(static_cast<Connection*>(timeouts_.next));
      }
    }
  }

 private:
  void Control(int operation, int fd, uint32_t events, void* data) {
    epoll_event event = {.events = events, .data = {.ptr = data}};
    if (epoll_ctl(epoll_, operation, fd, &event) != 0) Fail("epoll_ctl");
  }

  int SleepMs() const {
    if (timeouts_.next == &timeouts_) return -1;
    return static_cast<int>(
        std::max<int64_t>(timeouts_.next->deadline_ms - now_ms_, 0));
  }

  void Serve(Connection* connection, uint32_t events) {
    if (connection == nullptr) {
      if (options_.service == Service::kUdp) {
        Answer();
      } else {
        Accept();
      }
      return;
    }
    if (connection->unsent != nullptr) {
      if (!(events & ~uint32_t{EPOLLIN})) return;
      if (!SendRest(connection) || connection->unsent != nullptr) return;
      // An edge that came meanwhile does not come again.
      if (!kEdgeTriggered) return;
    }
    bool to_end = kEdgeTriggered && (events & ~uint32_t{EPOLLIN | EPOLLOUT});
    if (options_.service == Service::kSink) {
      ReadSink(connection, to_end);
    } else {
      Read(connection, to_end);
    }
  }

  void Accept() {
    do {
      int fd =
          accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      int one = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
      auto* connection = new Connection(fd);
      if (options_.read_timeout_ms > 0) {
        connection->deadline_ms = now_ms_ + options_.read_timeout_ms;
        connection->AddBefore(&timeouts_);
      }
      Control(
          EPOLL_CTL_ADD, fd,
          kEdgeTriggered ? EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET : EPOLLIN,
          connection);
    } while (kEdgeTriggered);
  }

  void Close(Connection* connection) {
    connection->Remove();
    close(connection->fd);
    delete connection;
  }

  void Touch(Connection* connection) {
    if (options_.read_timeout_ms == 0) return;
    connection->deadline_ms = now_ms_ + options_.read_timeout_ms;
    connection->Remove();
    connection->AddBefore(&timeouts_);
  }

  static bool ReadsOn(size_t count, bool to_end) {
    return kEdgeTriggered && (to_end || count == kReadMax);
  }

  void Read(Connection* connection, bool to_end) {
    for (;;) {
      ssize_t count = recv(connection->fd, buffer_.data(), kReadMax, 0);
      if (count <= 0) {
        if (count < 0 && errno == EAGAIN) return;
        Close(connection);
        return;
      }
      Touch(connection);
      auto size = static_cast<size_t>(count);
      if (!AnswerRequests(options_.frame, {buffer_.data(), size},
                          connection->partial,
                          [this, connection](std::string_view request) {
                            return Send(connection, request);
                          })) {
        return;
      }
      if (connection->unsent != nullptr || !ReadsOn(size, to_end)) return;
    }
  }

  // Returns false when the connection is closed.
  bool Send(Connection* connection, std::string_view bytes) {
    if (connection->unsent != nullptr) {
      connection->unsent->append(bytes);
      return true;
    }
    ssize_t count =
        send(connection->fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count == static_cast<ssize_t>(bytes.size())) return true;
    if (count < 0) {
      if (errno != EAGAIN) {
        Close(connection);
        return false;
      }
      count = 0;
    }
    connection->unsent =
        std::make_unique<std::string>(bytes.substr(static_cast<size_t>(count)));
    if (!kEdgeTriggered) {
      Control(EPOLL_CTL_MOD, connection->fd, EPOLLOUT, connection);
    }
    return true;
  }

  bool SendRest(Connection* connection) {
    std::string& unsent = *connection->unsent;
    ssize_t count =
        send(connection->fd, unsent.data(), unsent.size(), MSG_NOSIGNAL);
    if (count < 0) {
      if (errno == EAGAIN) return true;
      Close(connection);
      return false;
    }
    Touch(connection);
    unsent.erase(0, static_cast<size_t>(count));
    if (!unsent.empty()) return true;
    connection->unsent = nullptr;
    if (!kEdgeTriggered) {
      Control(EPOLL_CTL_MOD, connection->fd, EPOLLIN, connection);
    }
    return true;
  }

  void ReadSink(Connection* connection, bool to_end) {
    for (;;) {
      ssize_t count = recv(connection->fd, buffer_.data(), kReadMax, 0);
      if (count > 0) {
        Touch(connection);
        connection->total += static_cast<uint64_t>(count);
        if (!ReadsOn(static_cast<size_t>(count), to_end)) return;
        continue;
      }
      if (count < 0 && errno == EAGAIN) return;
      if (count == 0) {
        std::array<char, 8> answer = SinkAnswer(connection->total);
        send(connection->fd, answer.data(), answer.size(), MSG_NOSIGNAL);
      }
      Close(connection);
      return;
    }
  }

  // Of datagrams.
  void Answer() {
    do {
      sockaddr_in sender;
      socklen_t size = sizeof(sender);
      auto* generic = reinterpret_cast<sockaddr*>(&sender);
      ssize_t count = recvfrom(listener_, buffer_.data(), buffer_.size(), 0,
                               generic, &size);
      if (count < 0) {
        if (errno == EAGAIN) return;
        continue;  // such as a port unreachable in answer to an answer
      }
      sendto(listener_, buffer_.data(), static_cast<size_t>(count), 0, generic,
             size);
    } while (kEdgeTriggered);
  }

  const ServerOptions options_;
  const int epoll_;
  int listener_;
  int64_t now_ms_ = NowMs();
  Timeout timeouts_;
  std::array<epoll_event, kEventsMax> events_;
  std::array<char, std::max(kReadMax, kDatagramMax)> buffer_;
};

// Static, because of the buffers.
template <bool kEdgeTriggered>
[[noreturn]] void Run(const ServerOptions& options) {
  static Server<kEdgeTriggered> server(options);
  server.Loop();
}

}  // namespace
}  // namespace aios::bench

int main(int argc, char* argv[]) {
  aios::bench::ServerOptions options =
      aios::bench::ParseServerOptions(argc, argv, "an echo server on epoll");
  if (absl::GetFlag(FLAGS_edge_triggered)) {
    aios::bench::Run<true>(options);
  } else {
    aios::bench::Run<false>(options);
  }
}
