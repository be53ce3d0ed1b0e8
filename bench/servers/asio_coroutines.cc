// An echo server on Asio, with coroutines: of each session, one that serves and
// one that watches the deadline; the first one to end cancels the other. A
// message only moves the deadline, and the watchdog looks again when its timer
// has expired.

#include <array>
#include <asio.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "bench/servers/server.h"

namespace aios::bench {
namespace {

using asio::awaitable;
using asio::redirect_error;
using asio::use_awaitable;
using asio::ip::tcp;
using asio::ip::udp;
using std::chrono::steady_clock;

// Grows when it was too small: an idle session is not to own kReadMax bytes.
constexpr size_t kBufferMin = 256;
constexpr size_t kGrowth = 16;

awaitable<void> Watch(steady_clock::time_point& deadline) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  while (steady_clock::now() < deadline) {
    timer.expires_at(deadline);
    co_await timer.async_wait(use_awaitable);
  }
}

awaitable<void> Serve(tcp::socket& socket, steady_clock::time_point& deadline,
                      const ServerOptions& options) {
  std::vector<char> buffer(kBufferMin);
  size_t kept = 0;
  uint64_t total = 0;
  asio::error_code error;
  for (;;) {
    if (options.read_timeout_ms > 0) {
      deadline = steady_clock::now() +
                 std::chrono::milliseconds(options.read_timeout_ms);
    }
    size_t count = co_await socket.async_read_some(
        asio::buffer(&buffer[kept], buffer.size() - kept),
        redirect_error(use_awaitable, error));
    if (error) break;
    size_t end = kept + count;
    if (options.service == Service::kSink) {
      total += count;
    } else {
      size_t size = options.frame == 0 ? end : options.frame;
      size_t written = 0;
      for (; end - written >= size; written += size) {
        co_await asio::async_write(socket, asio::buffer(&buffer[written], size),
                                   redirect_error(use_awaitable, error));
        if (error) co_return;
      }
      kept = end - written;
      std::copy_n(buffer.begin() + static_cast<ptrdiff_t>(written), kept,
                  buffer.begin());
    }
    if (end == buffer.size() && end < kReadMax) buffer.resize(end * kGrowth);
  }
  if (error == asio::error::eof && options.service == Service::kSink) {
    std::array<char, 8> answer = SinkAnswer(total);
    co_await asio::async_write(socket, asio::buffer(answer),
                               redirect_error(use_awaitable, error));
  }
}

awaitable<void> RunSession(tcp::socket socket, const ServerOptions& options) {
  // For the operator || of coroutines.
  using namespace  // NOLINT(google-build-using-namespace)
      asio::experimental::awaitable_operators;
  socket.set_option(tcp::no_delay(true));
  steady_clock::time_point deadline = steady_clock::time_point::max();
  if (options.read_timeout_ms == 0) {
    co_await Serve(socket, deadline, options);
  } else {
    deadline = steady_clock::now() +
               std::chrono::milliseconds(options.read_timeout_ms);
    co_await (Serve(socket, deadline, options) || Watch(deadline));
  }
}

awaitable<void> Accept(const ServerOptions& options) {
  asio::any_io_executor executor = co_await asio::this_coro::executor;
  tcp::acceptor acceptor(
      executor, tcp::endpoint(asio::ip::address_v4::loopback(), options.port));
  PrintListening(acceptor.local_endpoint().port());
  for (;;) {
    tcp::socket socket = co_await acceptor.async_accept(use_awaitable);
    asio::co_spawn(executor, RunSession(std::move(socket), options),
                   asio::detached);
  }
}

awaitable<void> ServeDatagrams(const ServerOptions& options) {
  udp::socket socket(
      co_await asio::this_coro::executor,
      udp::endpoint(asio::ip::address_v4::loopback(), options.port));
  PrintListening(socket.local_endpoint().port());
  std::vector<char> buffer(kDatagramMax);
  udp::endpoint sender;
  asio::error_code error;
  for (;;) {
    size_t count = co_await socket.async_receive_from(
        asio::buffer(buffer), sender, redirect_error(use_awaitable, error));
    if (error) continue;
    co_await socket.async_send_to(asio::buffer(buffer, count), sender,
                                  redirect_error(use_awaitable, error));
  }
}

}  // namespace
}  // namespace aios::bench

// NOLINTNEXTLINE(bugprone-exception-escape): a benchmark may end so.
int main(int argc, char* argv[]) {
  using namespace aios::bench;  // NOLINT(google-build-using-namespace)
  ServerOptions options =
      ParseServerOptions(argc, argv, "an echo server on Asio, with coroutines");
  // One thread.
  asio::io_context context(1);
  asio::co_spawn(context,
                 options.service == Service::kUdp ? ServeDatagrams(options)
                                                  : Accept(options),
                 [](const std::exception_ptr& failure) {
                   if (failure) std::rethrow_exception(failure);
                 });
  context.run();
  return 0;
}
