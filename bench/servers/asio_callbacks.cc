// An echo server on Asio, with callbacks: sessions that own themselves as long
// as an operation is in progress. Each message puts the timer off, which
// cancels its wait, and begins a new one.

#include <array>
#include <asio.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/servers/server.h"

namespace aios::bench {
namespace {

using asio::ip::tcp;
using asio::ip::udp;

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, const ServerOptions& options)
      : socket_(std::move(socket)),
        timer_(socket_.get_executor()),
        options_(options),
        buffer_(kBufferMin) {}

  void Start() {
    socket_.set_option(tcp::no_delay(true));
    ArmTimer();
    Read();
  }

 private:
  // Grows when it was too small: an idle session is not to own kReadMax bytes.
  static constexpr size_t kBufferMin = 256;
  static constexpr size_t kGrowth = 16;

  void ArmTimer() {
    if (options_.read_timeout_ms == 0) return;
    timer_.expires_after(std::chrono::milliseconds(options_.read_timeout_ms));
    timer_.async_wait(
        [self = shared_from_this()](const asio::error_code& error) {
          if (!error) self->Stop();
        });
  }

  void Stop() {
    asio::error_code ignored;
    socket_.close(ignored);
    timer_.cancel();
  }

  void Read() {
    socket_.async_read_some(asio::buffer(buffer_),
                            [self = shared_from_this()](
                                const asio::error_code& error, size_t count) {
                              self->OnRead(error, count);
                            });
  }

  void OnRead(const asio::error_code& error, size_t count) {
    if (error) {
      if (error == asio::error::eof && options_.service == Service::kSink) {
        AnswerSink();
      } else {
        Stop();
      }
      return;
    }
    ArmTimer();
    if (options_.service == Service::kSink) {
      total_ += count;
      GrowBuffer(count);
      Read();
      return;
    }
    end_ = kept_ + count;
    written_ = 0;
    Write();
  }

  void GrowBuffer(size_t count) {
    if (count == buffer_.size() && count < kReadMax) {
      buffer_.resize(count * kGrowth);
    }
  }

  // Answers the next request in the buffer, or reads on.
  void Write() {
    size_t left = end_ - written_;
    size_t size = options_.frame == 0 ? left : options_.frame;
    if (left == 0 || left < size) {
      ReadBehind(left);
      return;
    }
    asio::async_write(socket_, asio::buffer(&buffer_[written_], size),
                      [self = shared_from_this()](const asio::error_code& error,
                                                  size_t count) {
                        if (error) {
                          self->Stop();
                        } else {
                          self->written_ += count;
                          self->Write();
                        }
                      });
  }

  // Keeps the beginning of a request, of so many bytes, and reads on.
  void ReadBehind(size_t kept) {
    std::copy_n(buffer_.begin() + static_cast<ptrdiff_t>(written_), kept,
                buffer_.begin());
    kept_ = kept;
    GrowBuffer(end_);
    socket_.async_read_some(
        asio::buffer(&buffer_[kept_], buffer_.size() - kept_),
        [self = shared_from_this()](const asio::error_code& error,
                                    size_t count) {
          self->OnRead(error, count);
        });
  }

  void AnswerSink() {
    answer_ = SinkAnswer(total_);
    asio::async_write(socket_, asio::buffer(answer_),
                      [self = shared_from_this()](const asio::error_code&,
                                                  size_t) { self->Stop(); });
  }

  tcp::socket socket_;
  asio::steady_timer timer_;
  const ServerOptions& options_;
  std::vector<char> buffer_;
  // Of the buffer: what is kept of the last read, the end of what is there, and
  // how much of it is answered.
  size_t kept_ = 0;
  size_t end_ = 0;
  size_t written_ = 0;
  uint64_t total_ = 0;
  std::array<char, 8> answer_;
};

class StreamServer {
 public:
  StreamServer(asio::io_context& context, const ServerOptions& options)
      : acceptor_(context, tcp::endpoint(asio::ip::address_v4::loopback(),
                                         options.port)),
        options_(options) {
    PrintListening(acceptor_.local_endpoint().port());
    Accept();
  }

 private:
  void Accept() {
    acceptor_.async_accept(
        [this](const asio::error_code& error, tcp::socket socket) {
          if (!error) {
            std::make_shared<Session>(std::move(socket), options_)->Start();
          }
          Accept();
        });
  }

  tcp::acceptor acceptor_;
  const ServerOptions options_;
};

class DatagramServer {
 public:
  DatagramServer(asio::io_context& context, const ServerOptions& options)
      : socket_(context,
                udp::endpoint(asio::ip::address_v4::loopback(), options.port)) {
    PrintListening(socket_.local_endpoint().port());
    Receive();
  }

 private:
  void Receive() {
    socket_.async_receive_from(
        asio::buffer(buffer_), sender_,
        [this](const asio::error_code& error, size_t count) {
          if (error) {
            Receive();
          } else {
            socket_.async_send_to(
                asio::buffer(buffer_, count), sender_,
                [this](const asio::error_code&, size_t) { Receive(); });
          }
        });
  }

  udp::socket socket_;
  udp::endpoint sender_;
  std::vector<char> buffer_ = std::vector<char>(kDatagramMax);
};

}  // namespace
}  // namespace aios::bench

// NOLINTNEXTLINE(bugprone-exception-escape): a benchmark may end so.
int main(int argc, char* argv[]) {
  using namespace aios::bench;  // NOLINT(google-build-using-namespace)
  ServerOptions options =
      ParseServerOptions(argc, argv, "an echo server on Asio, with callbacks");
  // One thread.
  asio::io_context context(1);
  if (options.service == Service::kUdp) {
    DatagramServer server(context, options);
    context.run();
  } else {
    StreamServer server(context, options);
    context.run();
  }
  return 0;
}
