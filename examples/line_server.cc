// A server with a line protocol: answers every line in upper case.
//
//   bazel run //examples:line_server -- 7777
//
// Read it for `ReadWithChecking`: input comes in pieces of any length; the
// callback takes what is complete and leaves the rest where it is.

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

// The callback of the operation in progress owns the state: when one returns
// and has started no other, the connection is closed.
using State = std::shared_ptr<aios::AsyncIoState>;

void Answer(const State& state, std::string lines);

void Check(const absl::Status& status) {
  if (!status.ok()) std::cerr << "line_server: " << status << "\n";
}

void Read(const State& state) {
  auto on_input = [state](auto&, auto& input) {
    size_t end = input.data.rfind('\n') + 1;  // of the last complete line
    if (input.data.size() - end > kLineLengthMax) {
      Check(state->Finish().status());  // That is no line: goodbye.
    } else if (input.ok() && end != 0) {
      Answer(state, std::string(input.data.substr(0, end)));
    }  // Otherwise this is called again when there is more, unless it failed.
  };
  Check(state->ReadWithChecking(on_input, {.timeout = absl::Minutes(5)}));
}

void Answer(const State& state, std::string lines) {
  Check(state->Finish(lines.size()).status());
  for (char& c : lines) c = std::toupper(static_cast<unsigned char>(c));
  // It has to stay where it is until it is written, so the callback owns it.
  auto answer = std::make_shared<std::string>(std::move(lines));
  Check(state->WriteBuffer(*answer, [state, answer](auto&, auto& output) {
    if (output.ok()) Read(state);
  }));
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
        Read(std::move(state));
      },
      {.address = "127.0.0.1"});
  if (!listener.ok()) {
    std::cerr << "line_server: " << listener.status().message() << "\n";
    return absl::IsInvalidArgument(listener.status()) ? 2 : 1;
  }
  std::cout << "listening on port " << (*listener)->local_port() << std::endl;
  loop->Loop();
}
