// What the servers that are measured beside aios have in common: their command
// line, which is that of //bench:echo_server as far as it goes, and the line by
// which they tell where they listen.
//
// All do the same work. A TCP connection is read as far as there is something,
// at most kReadMax bytes at a time, and that is written back; what the peer
// does not take is written when it does, and until then nothing more is read.
// With `frame`, each request of so many bytes has an answer of its own. A sink
// counts the bytes and answers, at their end, how many there were, as 8 bytes,
// least significant first. With `read_timeout_ms`, a connection on which
// nothing arrives for so long is closed. UDP has no timeouts.

#ifndef AIOS_BENCH_SERVERS_SERVER_H_
#define AIOS_BENCH_SERVERS_SERVER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace aios::bench {

enum class Service { kEcho, kSink, kUdp };

struct ServerOptions {
  Service service = Service::kEcho;
  uint16_t port = 0;
  // Bytes of a request; 0: whatever arrives together is one. kEcho only.
  size_t frame = 0;
  // 0: none.
  int read_timeout_ms = 0;
};

inline constexpr size_t kReadMax = size_t{64} << 10;
// The longest datagram.
inline constexpr size_t kDatagramMax = size_t{64} << 10;

// Ends the program after a mistake or "--help".
ServerOptions ParseServerOptions(int argc, char* argv[],
                                 std::string_view about);

// Says that the server listens on 127.0.0.1, and is ready.
void PrintListening(uint16_t port);

// Ends the program with the message: for what cannot happen to a benchmark.
[[noreturn]] void Fail(std::string_view what);

// The answer of a sink.
std::array<char, 8> SinkAnswer(uint64_t total);

// Calls `answer` for each request in what has arrived, and keeps the beginning
// of one that is not complete in `partial` until the next time. Returns false
// as soon as `answer` does, which may have destroyed the connection.
template <typename Answer>
bool AnswerRequests(size_t frame, std::string_view input,
                    std::unique_ptr<std::string>& partial, Answer answer) {
  if (frame == 0) return answer(input);
  std::unique_ptr<std::string> joined = std::move(partial);
  if (joined != nullptr) {
    joined->append(input);
    input = *joined;
  }
  while (input.size() >= frame) {
    if (!answer(input.substr(0, frame))) return false;
    input.remove_prefix(frame);
  }
  if (!input.empty()) partial = std::make_unique<std::string>(input);
  return true;
}

}  // namespace aios::bench

#endif  // AIOS_BENCH_SERVERS_SERVER_H_
