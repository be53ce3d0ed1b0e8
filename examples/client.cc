// A client with timeouts: sends a line and prints the line that comes back.
//
//   bazel run //examples:client -- 127.0.0.1 7777 hello
//
// Read it for the life of a connection: each callback starts the next step, or
// says what went wrong.

#include <iostream>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "backends/default_kernel.h"

using aios::AsyncIoState;
using aios::IoResult;

int main(int argc, char* argv[]) {
  if (argc != 4) {
    std::cerr << "usage: client ADDRESS PORT TEXT\n";
    return 2;
  }
  const std::string request = argv[3] + std::string("\n");
  auto loop = aios::MakeWaitStateCollection(aios::DefaultKernel()).value();
  int exit_code = 1;

  auto fail = [&](std::string_view step, const absl::Status& status) {
    std::cerr << "client: " << step << ": " << status.message() << "\n";
    loop->StopLoop();
  };
  auto on_input = [&](AsyncIoState& state, const IoResult& input) {
    size_t end = input.data.find('\n');
    if (end != std::string_view::npos) {
      std::cout << input.data.substr(0, end) << "\n";
      exit_code = 0;
      state.Close();
      loop->StopLoop();
    } else if (!input.ok()) {
      fail("read", input.ToStatus());
    }  // Otherwise the line is not complete: this is called again.
  };
  auto on_written = [&](AsyncIoState&, const IoResult& written) {
    if (!written.ok()) fail("write", written.ToStatus());
  };
  auto on_connected = [&](AsyncIoState& state, const IoResult& connected) {
    if (!connected.ok()) return fail("connect", connected.ToStatus());
    // Both at once: reading need not wait until all is written.
    absl::Status status =
        state.WriteBuffer(request, on_written, {.timeout = absl::Seconds(2)});
    status.Update(
        state.ReadWithChecking(on_input, {.timeout = absl::Seconds(2)}));
    if (!status.ok()) fail("start", status);
  };

  auto state = aios::ConnectTcp(*loop, argv[1], argv[2], on_connected,
                                {.connect_timeout = absl::Seconds(2)});
  if (!state.ok()) {  // such as an address that is none
    std::cerr << "client: " << state.status().message() << "\n";
    return 2;
  }
  loop->Loop();
  return exit_code;
}
