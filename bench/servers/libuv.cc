// An echo server on libuv. Reads go to a buffer that all connections share,
// answers are tried at once with uv_try_write(), and what is not taken is
// queued with uv_write(). The idle timeout is a repeating timer that
// uv_timer_again() puts off.

#include <netinet/in.h>
#include <sys/socket.h>
#include <uv.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "bench/servers/server.h"

namespace aios::bench {
namespace {

ServerOptions options;

// As many datagrams as libuv receives in one call.
constexpr size_t kDatagramsMax = 20;
std::array<char, kDatagramsMax * kDatagramMax> buffer;

struct Connection {
  uv_tcp_t tcp;
  uv_timer_t timer;
  uv_write_t write;
  int handles = 1;
  // Bytes read by the sink.
  uint64_t total = 0;
  // In the write in progress, and what is to follow it.
  std::string writing;
  std::string unsent;
  std::unique_ptr<std::string> partial;
};

Connection* Of(const uv_handle_t* handle) {
  return static_cast<Connection*>(handle->data);
}
template <typename Handle>
uv_handle_t* Generic(Handle* handle) {
  return reinterpret_cast<uv_handle_t*>(handle);
}
uv_stream_t* StreamOf(Connection* connection) {
  return reinterpret_cast<uv_stream_t*>(&connection->tcp);
}

uv_buf_t BufferOf(std::string_view bytes) {
  return uv_buf_init(const_cast<char*>(bytes.data()),
                     static_cast<unsigned>(bytes.size()));
}

void Check(int result) {
  if (result < 0) Fail(uv_strerror(result));
}

void Allocate(uv_handle_t* handle, size_t, uv_buf_t* room) {
  size_t size = handle->type == UV_UDP ? buffer.size() : kReadMax;
  *room = uv_buf_init(buffer.data(), static_cast<unsigned>(size));
}

void OnClosed(uv_handle_t* handle) {
  Connection* connection = Of(handle);
  if (--connection->handles == 0) delete connection;
}

void Close(Connection* connection) {
  if (uv_is_closing(Generic(&connection->tcp))) return;
  uv_close(Generic(&connection->tcp), OnClosed);
  if (options.read_timeout_ms > 0) {
    uv_close(Generic(&connection->timer), OnClosed);
  }
}

void OnRead(uv_stream_t* stream, ssize_t count, const uv_buf_t* bytes);

void WriteRest(Connection* connection) {
  connection->writing.swap(connection->unsent);
  connection->unsent.clear();
  uv_buf_t bytes = BufferOf(connection->writing);
  Check(uv_write(
      &connection->write, StreamOf(connection), &bytes, 1,
      [](uv_write_t* write, int status) {
        auto* connection = static_cast<Connection*>(write->handle->data);
        if (status < 0) {
          Close(connection);
        } else if (!connection->unsent.empty()) {
          WriteRest(connection);
        } else {
          connection->writing.clear();
          Check(uv_read_start(StreamOf(connection), Allocate, OnRead));
        }
      }));
}

bool Answer(Connection* connection, std::string_view request) {
  if (!connection->unsent.empty()) {
    connection->unsent.append(request);
    return true;
  }
  uv_buf_t bytes = BufferOf(request);
  int count = uv_try_write(StreamOf(connection), &bytes, 1);
  if (count == static_cast<int>(request.size())) return true;
  if (count < 0 && count != UV_EAGAIN) {
    Close(connection);
    return false;
  }
  if (count > 0) request.remove_prefix(static_cast<size_t>(count));
  connection->unsent.assign(request);
  return true;
}

void OnRead(uv_stream_t* stream, ssize_t count, const uv_buf_t* bytes) {
  auto* connection = static_cast<Connection*>(stream->data);
  if (count == 0) return;
  if (count < 0) {
    if (count == UV_EOF && options.service == Service::kSink) {
      std::array<char, 8> answer = SinkAnswer(connection->total);
      uv_buf_t all = BufferOf({answer.data(), answer.size()});
      uv_try_write(stream, &all, 1);
    }
    Close(connection);
    return;
  }
  if (options.read_timeout_ms > 0) uv_timer_again(&connection->timer);
  if (options.service == Service::kSink) {
    connection->total += static_cast<uint64_t>(count);
    return;
  }
  if (!AnswerRequests(options.frame, {bytes->base, static_cast<size_t>(count)},
                      connection->partial,
                      [connection](std::string_view request) {
                        return Answer(connection, request);
                      })) {
    return;
  }
  if (!connection->unsent.empty()) {
    uv_read_stop(stream);
    WriteRest(connection);
  }
}

void OnConnection(uv_stream_t* listener, int status) {
  Check(status);
  auto* connection = new Connection;
  Check(uv_tcp_init(listener->loop, &connection->tcp));
  connection->tcp.data = connection;
  Check(uv_accept(listener, StreamOf(connection)));
  Check(uv_tcp_nodelay(&connection->tcp, 1));
  if (options.read_timeout_ms > 0) {
    connection->handles = 2;
    Check(uv_timer_init(listener->loop, &connection->timer));
    connection->timer.data = connection;
    auto timeout = static_cast<uint64_t>(options.read_timeout_ms);
    Check(uv_timer_start(
        &connection->timer,
        [](uv_timer_t* timer) { Close(static_cast<Connection*>(timer->data)); },
        timeout, timeout));
  }
  Check(uv_read_start(StreamOf(connection), Allocate, OnRead));
}

void OnDatagram(uv_udp_t* udp, ssize_t count, const uv_buf_t* bytes,
                const sockaddr* sender, unsigned) {
  // Nothing more is there, or an error of an earlier answer.
  if (count < 0 || sender == nullptr) return;
  uv_buf_t answer = uv_buf_init(bytes->base, static_cast<unsigned>(count));
  uv_udp_try_send(udp, &answer, 1, sender);
}

}  // namespace
}  // namespace aios::bench

// NOLINTNEXTLINE(bugprone-exception-escape): a benchmark may end so.
int main(int argc, char* argv[]) {
  using namespace aios::bench;  // NOLINT(google-build-using-namespace)
  options = ParseServerOptions(argc, argv, "an echo server on libuv");
  uv_loop_t* loop = uv_default_loop();
  sockaddr_in address;
  Check(uv_ip4_addr("127.0.0.1", options.port, &address));
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  int size = sizeof(address);
  uv_tcp_t listener;
  uv_udp_t udp;
  if (options.service == Service::kUdp) {
    Check(uv_udp_init_ex(loop, &udp, AF_INET | UV_UDP_RECVMMSG));
    Check(uv_udp_bind(&udp, generic, 0));
    Check(uv_udp_getsockname(&udp, generic, &size));
    Check(uv_udp_recv_start(&udp, Allocate, OnDatagram));
  } else {
    Check(uv_tcp_init(loop, &listener));
    Check(uv_tcp_bind(&listener, generic, 0));
    Check(uv_listen(reinterpret_cast<uv_stream_t*>(&listener), SOMAXCONN,
                    OnConnection));
    Check(uv_tcp_getsockname(&listener, generic, &size));
  }
  PrintListening(ntohs(address.sin_port));
  return uv_run(loop, UV_RUN_DEFAULT);
}
