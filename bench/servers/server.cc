#include "bench/servers/server.h"

#include <cstdlib>
#include <iostream>
#include <string>

#include "absl/flags/flag.h"
#include "absl/time/time.h"
#include "bench/flags.h"

ABSL_FLAG(uint16_t, port, 0, "the port to listen on; 0: one that is free");
ABSL_FLAG(bool, udp, false, "echo datagrams");
ABSL_FLAG(
    bool, sink, false,
    "throw away what arrives; at its end answer how many bytes that were");
ABSL_FLAG(int, frame, 0,
          "answer each so many bytes by themselves; 0: what is there");
ABSL_FLAG(
    absl::Duration, read_timeout, absl::Seconds(30),
    "close a TCP connection on which nothing arrives for so long; \"inf\" "
    "for no timeout");

namespace aios::bench {

ServerOptions ParseServerOptions(int argc, char* argv[],
                                 std::string_view about) {
  ParseFlags(argc, argv, about);
  ServerOptions options;
  options.port = absl::GetFlag(FLAGS_port);
  if (absl::GetFlag(FLAGS_sink)) options.service = Service::kSink;
  if (absl::GetFlag(FLAGS_udp)) options.service = Service::kUdp;
  int frame = absl::GetFlag(FLAGS_frame);
  if (frame < 0 || static_cast<size_t>(frame) > kReadMax) {
    UsageError("--frame: must be 0 to " + std::to_string(kReadMax));
  }
  options.frame = static_cast<size_t>(frame);
  absl::Duration timeout = absl::GetFlag(FLAGS_read_timeout);
  if (timeout < absl::Milliseconds(1)) {
    UsageError("--read_timeout: must be a millisecond at least");
  }
  if (options.service != Service::kUdp && timeout < absl::Hours(24)) {
    options.read_timeout_ms =
        static_cast<int>(absl::ToInt64Milliseconds(timeout));
  }
  return options;
}

void PrintListening(uint16_t port) {
  std::cout << "listening on 127.0.0.1:" << port << std::endl;
}

void Fail(std::string_view what) {
  std::cerr << what << std::endl;
  std::exit(1);
}

std::array<char, 8> SinkAnswer(uint64_t total) {
  std::array<char, 8> answer;
  for (char& byte : answer) {
    byte = static_cast<char>(total & 0xff);
    total >>= 8;
  }
  return answer;
}

}  // namespace aios::bench
