// An echo server, written as a user of the library would write it. The
// benchmarks measure it beside servers on other libraries.
//
//   bazel run --config=opt //bench:echo_server -- --port=7777
//
// It replies what it has read, so a peer that takes nothing is sent no more and
// read no further. A connection on which nothing moves for the read timeout is
// closed. Idle connections own no buffer: reads go to one of the library's, and
// answers come out of it.

#include <signal.h>
#include <sys/socket.h>

#include <any>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "backends/default_kernel.h"
#include "bench/flags.h"

ABSL_FLAG(uint16_t, port, 0, "the port to listen on; 0: one that is free");
ABSL_FLAG(std::string, address, "127.0.0.1",
          "the local address to listen on; \"::\" or \"0.0.0.0\": all of them");
ABSL_FLAG(bool, udp, false, "echo datagrams");
ABSL_FLAG(
    bool, sink, false,
    "throw away what arrives; at its end answer how many bytes that were, "
    "as 8 bytes, least significant first");
ABSL_FLAG(int, frame, 0,
          "answer each so many bytes by a write of their own; 0: whatever "
          "arrives together is one message");
ABSL_FLAG(std::string, kernel, std::string(aios::DefaultKernel().name()),
          "what of the operating system to build upon");
ABSL_FLAG(absl::Duration, read_timeout, absl::Seconds(30),
          "close a TCP connection on which nothing moves for so long");
ABSL_FLAG(int, threads, 1, "threads that share the port, each with a loop");

namespace {

using aios::AsyncIoState;
using aios::IoResult;
using aios::WaitStateCollection;

constexpr int kThreadsMax = 1024;

// How much is read before it is written back.
constexpr int kReadMax = 64 << 10;

// An operation that is refused where it should start is a mistake in here.
void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << "echo_server: " << status << std::endl;
  std::abort();
}
template <typename T>
void Check(const absl::StatusOr<T>& result) {
  if (!result.ok()) Check(result.status());
}

struct Totals {
  uint64_t connections = 0;
  uint64_t messages = 0;
  uint64_t bytes = 0;
};

// What one thread serves.
class Server {
 public:
  virtual ~Server() = default;

  // Returns the address that it listens on.
  virtual absl::StatusOr<aios::SocketAddress> Listen(
      WaitStateCollection& collection, const aios::IpAddress& address,
      uint16_t port, bool share_port) = 0;

  const Totals& totals() const { return totals_; }

 protected:
  Totals totals_;
};

// What all TCP servers do: keep the connections.
class StreamServer : public Server {
 public:
  explicit StreamServer(absl::Duration timeout) : timeout_(timeout) {}

  absl::StatusOr<aios::SocketAddress> Listen(WaitStateCollection& collection,
                                             const aios::IpAddress& address,
                                             uint16_t port,
                                             bool share_port) override {
    auto listener = aios::AcceptTcpConnections(
        collection, port,
        [this](aios::AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
          Add(std::move(state));
        },
        {.address = address,
         .nodelay = true,
         .reuseport = share_port,
         .read_timeout = timeout_,
         .write_timeout = timeout_,
         .handle_name = "echo_server",
         .error_function = [](aios::AcceptingHandle&, aios::Error error) {
           std::cerr << "echo_server: connections have to wait: "
                     << error.Message() << std::endl;
         }});
    if (!listener.ok()) return listener.status();
    listener_ = *std::move(listener);
    return listener_->local_address();
  }

 protected:
  // The user info of a state; small enough to need no memory of its own.
  struct Connection {
    uint32_t position;  // in `connections_`
  };
  static Connection& ConnectionOf(AsyncIoState& state) {
    return *std::any_cast<Connection>(&state.user_info());
  }

  virtual void Serve(AsyncIoState& state) = 0;

  // Closes the connection.
  void Remove(AsyncIoState& state) {
    uint32_t position = ConnectionOf(state).position;
    if (position != connections_.size() - 1) {
      std::swap(connections_[position], connections_.back());
      ConnectionOf(*connections_[position]).position = position;
    }
    connections_.pop_back();
  }

 private:
  void Add(std::unique_ptr<AsyncIoState> state) {
    ++totals_.connections;
    Check(state->set_max_read(kReadMax));
    state->user_info().emplace<Connection>(
        Connection{.position = static_cast<uint32_t>(connections_.size())});
    connections_.push_back(std::move(state));
    Serve(*connections_.back());
  }

  const absl::Duration timeout_;
  std::unique_ptr<aios::AcceptingHandle> listener_;
  std::vector<std::unique_ptr<AsyncIoState>> connections_;
};

// Whatever arrives together is one message.
class EchoServer : public StreamServer {
 public:
  using StreamServer::StreamServer;

 private:
  void Serve(AsyncIoState& state) override {
    Check(state.ReadWithChecking(
        [this](AsyncIoState& state, const IoResult& input) {
          if (!input.ok()) {
            Remove(state);
            return;
          }
          Check(state.Reply(input.data));
          Check(state.Discard(input.count));
          ++totals_.messages;
          totals_.bytes += input.count;
        }));
  }
};

// Each `frame` bytes are a message, answered by itself.
class FrameServer : public StreamServer {
 public:
  FrameServer(absl::Duration timeout, size_t frame)
      : StreamServer(timeout), frame_(frame) {}

 private:
  void Serve(AsyncIoState& state) override {
    Check(state.ReadWithChecking(
        [this](AsyncIoState& state, const IoResult& input) {
          if (!input.ok()) {
            Remove(state);
            return;
          }
          size_t answered = 0;
          for (; input.count - answered >= frame_; answered += frame_) {
            Check(state.Reply(input.data.substr(answered, frame_)));
            ++totals_.messages;
          }
          Check(state.Discard(answered));
          totals_.bytes += answered;
        }));
  }

  const size_t frame_;
};

class SinkServer : public StreamServer {
 public:
  using StreamServer::StreamServer;

 private:
  void Serve(AsyncIoState& state) override {
    Check(state.ReadWithChecking(
        [this, total = uint64_t{0}](AsyncIoState& state,
                                    const IoResult& input) mutable {
          if (input.ok()) {
            Check(state.Discard(input.count));
            total += input.count;
            totals_.bytes += input.count;
            ++totals_.messages;
          } else if (input.status == aios::IoStatus::kEof) {
            Answer(state, total);
          } else {
            Remove(state);
          }
        }));
  }

  void Answer(AsyncIoState& state, uint64_t total) {
    auto answer = std::make_unique<std::array<char, 8>>();
    for (char& byte : *answer) {
      byte = static_cast<char>(total & 0xff);
      total >>= 8;
    }
    std::string_view bytes(answer->data(), answer->size());
    Check(state.WriteBuffer(
        bytes, [this, answer = std::move(answer)](
                   AsyncIoState& state, const IoResult&) { Remove(state); }));
  }
};

class DatagramServer : public Server {
 public:
  absl::StatusOr<aios::SocketAddress> Listen(WaitStateCollection& collection,
                                             const aios::IpAddress& address,
                                             uint16_t port,
                                             bool share_port) override {
    auto state = share_port
                     ? OpenShared(collection, {address, port})
                     : aios::OpenUdp(collection, {.name = "echo_server",
                                                  .local_address = address,
                                                  .local_port = port});
    if (!state.ok()) return state.status();
    state_ = *std::move(state);
    Receive();
    return state_->address().value();
  }

 private:
  // `OpenUdp` on a port that other threads listen on, too.
  static absl::StatusOr<std::unique_ptr<AsyncIoState>> OpenShared(
      WaitStateCollection& collection, const aios::SocketAddress& address) {
    aios::Kernel& kernel = collection.kernel();
    aios::Handle handle = aios::kNoHandle;
    aios::Error error =
        kernel.Open(aios::SocketType::kDatagram, address.family(), &handle);
    if (error.ok()) {
      error = kernel.SetOption(handle, aios::SocketOption::kReusePort, true);
    }
    if (error.ok()) error = kernel.Bind(handle, address);
    if (!error.ok()) {
      if (handle != aios::kNoHandle) kernel.Close(handle);
      return error.ToStatus("cannot bind to " + address.ToString());
    }
    return aios::CreateAsyncIoState(collection, handle,
                                    {.udp = aios::Udp::kUnconnected,
                                     .ipv6 = address.ip().is_ipv6(),
                                     .queue_output = true});
  }

  void Receive() {
    Check(state_->ReceiveMessages(
        [this](AsyncIoState& state, const IoResult& input) {
          if (!input.ok()) {
            // A port unreachable in answer to an answer, say.
            Receive();
            return;
          }
          ++totals_.messages;
          totals_.bytes += input.count;
          Check(state.Reply(input.data));
        }));
  }

  std::unique_ptr<AsyncIoState> state_;
};

std::unique_ptr<Server> MakeServer() {
  if (absl::GetFlag(FLAGS_udp)) return std::make_unique<DatagramServer>();
  absl::Duration timeout = absl::GetFlag(FLAGS_read_timeout);
  if (absl::GetFlag(FLAGS_sink)) return std::make_unique<SinkServer>(timeout);
  auto frame = static_cast<size_t>(absl::GetFlag(FLAGS_frame));
  if (frame > 0) return std::make_unique<FrameServer>(timeout, frame);
  return std::make_unique<EchoServer>(timeout);
}

struct Worker {
  std::unique_ptr<WaitStateCollection> collection;
  std::unique_ptr<Server> server;
  // Of all but the first, whose loop runs in the main thread: with one loop the
  // program has one thread, which makes system calls a little cheaper.
  std::thread thread;
};

// SIGTERM and SIGINT as a socket sees them. A signal handler may call next to
// nothing, but it may send, so it sends a datagram to a state of the loop.
class StopSignals {
 public:
  absl::Status Catch(WaitStateCollection& collection, aios::Family family,
                     absl::AnyInvocable<void()> function) {
    function_ = std::move(function);
    aios::IpAddress loopback = aios::IpAddress::Loopback(family);
    auto receiver = aios::OpenUdp(collection, {.local_address = loopback});
    if (!receiver.ok()) return receiver.status();
    receiver_ = *std::move(receiver);
    auto sender =
        aios::ConnectUdp(collection, loopback, receiver_->address()->port());
    if (!sender.ok()) return sender.status();
    sender_ = *std::move(sender);
    Receive();
    handle_ = sender_->handle();
    struct sigaction action = {};
    action.sa_handler = [](int) {
      int error = errno;
      static_cast<void>(send(handle_, "", 1, 0));
      errno = error;
    };
    action.sa_flags = SA_RESTART;
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
    return absl::OkStatus();
  }

 private:
  void Receive() {
    Check(receiver_->ReceiveMessage(
        buffer_,
        [this](AsyncIoState&, const IoResult& input) {
          // Others may send here, too.
          if (input.ok() && *input.sender == sender_->address()) function_();
          Receive();
        },
        {.needs_address = true}));
  }

  static inline int handle_ = -1;
  std::unique_ptr<AsyncIoState> receiver_;
  std::unique_ptr<AsyncIoState> sender_;
  std::array<char, 1> buffer_;
  absl::AnyInvocable<void()> function_;
};

}  // namespace

int main(int argc, char* argv[]) {
  aios::bench::ParseFlags(argc, argv, "sends back what it receives");
  aios::Kernel* kernel = aios::KernelByName(absl::GetFlag(FLAGS_kernel));
  if (kernel == nullptr) {
    aios::bench::UsageError("--kernel: there is no \"" +
                            absl::GetFlag(FLAGS_kernel) + "\" here");
  }
  absl::StatusOr<aios::IpAddress> address = aios::IpAddress::Parse(
      absl::GetFlag(FLAGS_address), [kernel](std::string_view interface) {
        return kernel->InterfaceIndex(interface);
      });
  if (!address.ok()) {
    aios::bench::UsageError("--address: " +
                            std::string(address.status().message()));
  }
  int threads = absl::GetFlag(FLAGS_threads);
  if (threads < 1 || threads > kThreadsMax) {
    aios::bench::UsageError("--threads: must be 1 to " +
                            std::to_string(kThreadsMax));
  }
  int frame = absl::GetFlag(FLAGS_frame);
  if (frame < 0 || frame > kReadMax) {
    aios::bench::UsageError("--frame: must be 0 to " +
                            std::to_string(kReadMax));
  }
  if (frame > 0 && (absl::GetFlag(FLAGS_udp) || absl::GetFlag(FLAGS_sink))) {
    aios::bench::UsageError("--frame: has no meaning with --udp or --sink");
  }
  if (absl::GetFlag(FLAGS_read_timeout) <= absl::ZeroDuration()) {
    aios::bench::UsageError("--read_timeout: must be positive");
  }
  if (absl::GetFlag(FLAGS_udp) && absl::GetFlag(FLAGS_sink)) {
    aios::bench::UsageError("--sink: has no meaning with --udp");
  }

  std::vector<Worker> workers(threads);
  aios::SocketAddress listening(*address, absl::GetFlag(FLAGS_port));
  for (Worker& worker : workers) {
    auto collection = aios::MakeWaitStateCollection(*kernel);
    if (!collection.ok()) {
      std::cerr << "echo_server: " << collection.status().message() << "\n";
      return 1;
    }
    worker.collection = *std::move(collection);
    worker.server = MakeServer();
    // The first one picks the port, if none was given.
    auto bound = worker.server->Listen(*worker.collection, listening.ip(),
                                       listening.port(), threads > 1);
    if (!bound.ok()) {
      std::cerr << "echo_server: " << bound.status().message() << "\n";
      return 1;
    }
    listening = *bound;
  }
  StopSignals signals;
  absl::Status caught =
      signals.Catch(*workers[0].collection, listening.family(), [&workers] {
        for (Worker& worker : workers) {
          // Applied, it stops a loop that has yet to begin as well.
          Check(worker.collection->Apply(
              [&worker] { worker.collection->StopLoop(); }));
        }
      });
  if (!caught.ok()) {
    std::cerr << "echo_server: " << caught.message() << "\n";
    return 1;
  }
  std::cout << "listening on " << listening.ToString() << std::endl;
  for (Worker& worker : std::span(workers).subspan(1)) {
    worker.thread = std::thread([&worker] { worker.collection->Loop(); });
  }
  workers[0].collection->Loop();

  Totals totals;
  for (Worker& worker : workers) {
    if (worker.thread.joinable()) worker.thread.join();
    totals.connections += worker.server->totals().connections;
    totals.messages += worker.server->totals().messages;
    totals.bytes += worker.server->totals().bytes;
  }
  std::cout << "served " << totals.connections << " connections, "
            << totals.messages << " messages, " << totals.bytes << " bytes"
            << std::endl;
  return 0;
}
