// A server with a line protocol: answers every line in upper case.
//
//   bazel run //examples:line_server -- 7777
//
// Read it for `ReadWithChecking` and `Reply`: input comes in pieces of any
// length; the callback answers what is complete and leaves the rest where it
// is.

#include <cctype>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "backends/default_kernel.h"

namespace {

constexpr size_t kLineLengthMax = 1000;

void Check(const absl::Status& status) {
  if (!status.ok()) std::cerr << "line_server: " << status << "\n";
}

// The callback owns the state: when reading has ended, the connection is
// closed.
void Serve(const std::shared_ptr<aios::AsyncIoState>& state) {
  auto on_input = [state](auto&, auto& input) {
    size_t end = input.data.rfind('\n') + 1;  // of the last complete line
    if (input.data.size() - end > kLineLengthMax) {
      Check(state->Finish().status());  // That is no line: goodbye.
    } else if (input.ok() && end != 0) {
      std::string answer(input.data.substr(0, end));
      for (char& c : answer) c = std::toupper(static_cast<unsigned char>(c));
      Check(state->Reply(answer));
      Check(state->Discard(end).status());
    }  // Otherwise this is called again when there is more, unless it failed.
  };
  Check(state->ReadWithChecking(std::move(on_input)));
}

}  // namespace

int main(int argc, char* argv[]) {
  if (argc != 2) {
    std::cerr << "usage: line_server PORT\n";
    return 2;
  }
  auto loop = aios::MakeWaitStateCollection(aios::DefaultKernel()).value();
  auto listener = aios::AcceptTcpConnections(
      *loop, argv[1],
      [](aios::AcceptingHandle&, std::unique_ptr<aios::AsyncIoState> state) {
        Serve(std::move(state));
      },
      {.address = "127.0.0.1",
       .read_timeout = absl::Minutes(5),
       .write_timeout = absl::Minutes(1)});
  if (!listener.ok()) {
    std::cerr << "line_server: " << listener.status().message() << "\n";
    return absl::IsInvalidArgument(listener.status()) ? 2 : 1;
  }
  std::cout << "listening on port " << (*listener)->local_port() << std::endl;
  loop->Loop();
}
