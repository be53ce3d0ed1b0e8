// An echo server on libevent's bufferevents: the input moves to the output
// without being copied, and libevent writes it when the callbacks have run.

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "bench/servers/server.h"

namespace aios::bench {
namespace {

ServerOptions options;
event_base* base;
timeval timeout;

// Output beyond this has to be written before more is read.
constexpr size_t kUnsentMax = 4 * kReadMax;

struct Connection {
  uint64_t total = 0;
  // Ends when its output is written.
  bool ending = false;
};

void Close(bufferevent* stream, void* argument) {
  bufferevent_free(stream);
  delete static_cast<Connection*>(argument);
}

void OnInput(bufferevent* stream, void* argument) {
  evbuffer* input = bufferevent_get_input(stream);
  evbuffer* output = bufferevent_get_output(stream);
  if (options.service == Service::kSink) {
    size_t size = evbuffer_get_length(input);
    static_cast<Connection*>(argument)->total += size;
    evbuffer_drain(input, size);
  } else if (options.frame == 0) {
    evbuffer_add_buffer(output, input);
  } else {
    while (evbuffer_get_length(input) >= options.frame) {
      evbuffer_remove_buffer(input, output, options.frame);
    }
  }
  if (evbuffer_get_length(output) > kUnsentMax) {
    bufferevent_disable(stream, EV_READ);
  }
}

// All output is written.
void OnWritten(bufferevent* stream, void* argument) {
  if (static_cast<Connection*>(argument)->ending) {
    Close(stream, argument);
  } else if (!(bufferevent_get_enabled(stream) & EV_READ)) {
    bufferevent_enable(stream, EV_READ);
  }
}

// The end, an error or the timeout.
void OnEvent(bufferevent* stream, short what, void* argument) {
  auto* connection = static_cast<Connection*>(argument);
  if ((what & BEV_EVENT_EOF) && options.service == Service::kSink) {
    std::array<char, 8> answer = SinkAnswer(connection->total);
    bufferevent_write(stream, answer.data(), answer.size());
    connection->ending = true;
  } else if ((what & BEV_EVENT_EOF) &&
             evbuffer_get_length(bufferevent_get_output(stream)) > 0) {
    connection->ending = true;
  } else {
    Close(stream, argument);
  }
}

void OnConnection(evconnlistener*, evutil_socket_t fd, sockaddr*, int, void*) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  bufferevent* stream = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
  bufferevent_setcb(stream, OnInput, OnWritten, OnEvent, new Connection);
  bufferevent_set_max_single_read(stream, kReadMax);
  if (options.read_timeout_ms > 0) {
    bufferevent_set_timeouts(stream, &timeout, nullptr);
  }
  bufferevent_enable(stream, EV_READ | EV_WRITE);
}

}  // namespace
}  // namespace aios::bench

// NOLINTNEXTLINE(bugprone-exception-escape): a benchmark may end so.
int main(int argc, char* argv[]) {
  using namespace aios::bench;  // NOLINT(google-build-using-namespace)
  options = ParseServerOptions(argc, argv, "an echo server on bufferevents");
  if (options.service == Service::kUdp) Fail("bufferevents are for streams");
  timeout = {.tv_sec = options.read_timeout_ms / 1000,
             .tv_usec = options.read_timeout_ms % 1000 * 1000};
  base = event_base_new();
  if (base == nullptr) Fail("event_base_new");
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(options.port);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  evconnlistener* listener = evconnlistener_new_bind(
      base, OnConnection, nullptr, LEV_OPT_CLOSE_ON_FREE, SOMAXCONN, generic,
      static_cast<int>(size));
  if (listener == nullptr) Fail("evconnlistener_new_bind");
  getsockname(evconnlistener_get_fd(listener), generic, &size);
  PrintListening(ntohs(address.sin_port));
  return event_base_dispatch(base);
}
