// A request and its response over UDP, both ends in one program: a responder
// that answers each datagram with its length, and a requester that asks again
// when no answer comes, as datagrams may get lost.
//
//   bazel run //examples:udp_pair -- "How long is this?"

#include <array>
#include <iostream>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "backends/default_kernel.h"

using aios::AsyncIoState;
using aios::IoResult;

void Check(const absl::Status& status) {
  if (!status.ok()) std::cerr << "udp_pair: " << status << "\n";
}

// One receive is always in progress.
struct Responder {
  void Receive(AsyncIoState& state) {
    auto on_request = [this](AsyncIoState& state, const IoResult& request) {
      if (!request.ok()) return Receive(state);
      response = std::to_string(request.count) + " bytes";
      Check(state.SendMessageToAddress(
          *request.sender, response,
          // Then the next one may take the place of the response.
          [this](AsyncIoState& state, const IoResult&) { Receive(state); }));
    };
    Check(state.ReceiveMessage(buffer, on_request, {.needs_address = true}));
  }

  std::array<char, 2048> buffer;
  std::string response;
};

// A send, and a receive with a timeout.
struct Requester {
  void Ask(AsyncIoState& state) {
    auto on_response = [this](AsyncIoState& state, const IoResult& response) {
      if (!response.ok() && --attempts_left > 0) return Ask(state);
      result = response.ok() ? response.data : "no answer";
      state.collection()->StopLoop();
    };
    Check(state.SendMessage(request, [](AsyncIoState&, const IoResult&) {}));
    Check(state.ReceiveMessage(buffer, on_response,
                               {.timeout = absl::Milliseconds(500)}));
  }

  std::string request;
  int attempts_left = 3;
  std::array<char, 2048> buffer;
  std::string result;
};

int main(int argc, char* argv[]) {
  if (argc != 2) {
    std::cerr << "usage: udp_pair TEXT\n";
    return 2;
  }
  auto loop = aios::MakeWaitStateCollection(aios::DefaultKernel()).value();
  // On a port that the system picks.
  auto server = aios::OpenUdp(*loop, {.local_address = "127.0.0.1"}).value();
  int port = server->address()->port();
  auto client = aios::ConnectUdp(*loop, "127.0.0.1", port).value();
  Responder responder;
  responder.Receive(*server);
  Requester requester;
  requester.request = argv[1];
  requester.Ask(*client);
  loop->Loop();
  std::cout << requester.result << "\n";
  return requester.attempts_left > 0 ? 0 : 1;
}
