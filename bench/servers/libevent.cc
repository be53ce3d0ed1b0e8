// An echo server on libevent's events: one persistent event for the input of
// each connection, with the idle timeout as its own, which libevent arms anew
// whenever the event happens. All are the same, so it is a "common timeout", of
// which libevent keeps a list and not a heap.

#include <arpa/inet.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "bench/servers/server.h"

namespace aios::bench {
namespace {

ServerOptions options;
event_base* base;
// None: no timeout.
const timeval* timeout;
std::array<char, kReadMax> buffer;

struct Connection {
  explicit Connection(evutil_socket_t fd) : fd(fd) {}
  const evutil_socket_t fd;
  event* input = nullptr;
  // While there is something unsent.
  event* output = nullptr;
  uint64_t total = 0;
  std::string unsent;
  std::unique_ptr<std::string> partial;
};

void Close(Connection* connection) {
  event_free(connection->input);
  if (connection->output != nullptr) event_free(connection->output);
  evutil_closesocket(connection->fd);
  delete connection;
}

// Of the rest of an answer.
void OnWritable(evutil_socket_t fd, short, void* argument) {
  auto* connection = static_cast<Connection*>(argument);
  std::string& unsent = connection->unsent;
  ssize_t count = send(fd, unsent.data(), unsent.size(), MSG_NOSIGNAL);
  if (count < 0) {
    if (errno != EAGAIN) Close(connection);
    return;
  }
  unsent.erase(0, static_cast<size_t>(count));
  if (!unsent.empty()) return;
  unsent.shrink_to_fit();
  event_free(connection->output);
  connection->output = nullptr;
  event_add(connection->input, timeout);
}

bool Answer(Connection* connection, std::string_view request) {
  if (!connection->unsent.empty()) {
    connection->unsent.append(request);
    return true;
  }
  ssize_t count =
      send(connection->fd, request.data(), request.size(), MSG_NOSIGNAL);
  if (count == static_cast<ssize_t>(request.size())) return true;
  if (count < 0) {
    if (errno != EAGAIN) {
      Close(connection);
      return false;
    }
    count = 0;
  }
  connection->unsent.assign(request.substr(static_cast<size_t>(count)));
  event_del(connection->input);
  connection->output = event_new(base, connection->fd, EV_WRITE | EV_PERSIST,
                                 OnWritable, connection);
  event_add(connection->output, nullptr);
  return true;
}

void OnReadable(evutil_socket_t fd, short what, void* argument) {
  auto* connection = static_cast<Connection*>(argument);
  if (!(what & EV_READ)) {
    Close(connection);
    return;
  }
  ssize_t count = recv(fd, buffer.data(), buffer.size(), 0);
  if (count <= 0) {
    if (count < 0 && errno == EAGAIN) return;
    if (count == 0 && options.service == Service::kSink) {
      std::array<char, 8> answer = SinkAnswer(connection->total);
      send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
    }
    Close(connection);
    return;
  }
  auto size = static_cast<size_t>(count);
  if (options.service == Service::kSink) {
    connection->total += size;
    return;
  }
  AnswerRequests(options.frame, {buffer.data(), size}, connection->partial,
                 [connection](std::string_view request) {
                   return Answer(connection, request);
                 });
}

void OnConnection(evconnlistener*, evutil_socket_t fd, sockaddr*, int, void*) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  auto* connection = new Connection(fd);
  connection->input =
      event_new(base, fd, EV_READ | EV_PERSIST, OnReadable, connection);
  event_add(connection->input, timeout);
}

void OnDatagram(evutil_socket_t fd, short, void*) {
  sockaddr_in sender;
  socklen_t size = sizeof(sender);
  auto* generic = reinterpret_cast<sockaddr*>(&sender);
  ssize_t count = recvfrom(fd, buffer.data(), buffer.size(), 0, generic, &size);
  if (count < 0) return;
  sendto(fd, buffer.data(), static_cast<size_t>(count), 0, generic, size);
}

}  // namespace
}  // namespace aios::bench

// NOLINTNEXTLINE(bugprone-exception-escape): a benchmark may end so.
int main(int argc, char* argv[]) {
  using namespace aios::bench;  // NOLINT(google-build-using-namespace)
  options = ParseServerOptions(argc, argv, "an echo server on libevent");
  base = event_base_new();
  if (base == nullptr) Fail("event_base_new");
  if (options.read_timeout_ms > 0) {
    timeval length = {.tv_sec = options.read_timeout_ms / 1000,
                      .tv_usec = options.read_timeout_ms % 1000 * 1000};
    timeout = event_base_init_common_timeout(base, &length);
  }
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(options.port);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  evutil_socket_t fd;
  if (options.service == Service::kUdp) {
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    evutil_make_socket_nonblocking(fd);
    if (bind(fd, generic, size) != 0) Fail("bind");
    event* input =
        event_new(base, fd, EV_READ | EV_PERSIST, OnDatagram, nullptr);
    event_add(input, nullptr);
  } else {
    evconnlistener* listener = evconnlistener_new_bind(
        base, OnConnection, nullptr, LEV_OPT_CLOSE_ON_FREE, SOMAXCONN, generic,
        static_cast<int>(size));
    if (listener == nullptr) Fail("evconnlistener_new_bind");
    fd = evconnlistener_get_fd(listener);
  }
  getsockname(fd, generic, &size);
  PrintListening(ntohs(address.sin_port));
  return event_base_dispatch(base);
}
