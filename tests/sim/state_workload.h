// A fixed program for simulations, made of states: what a user's program would
// do, and what it would see.

#ifndef AIOS_TESTS_SIM_STATE_WORKLOAD_H_
#define AIOS_TESTS_SIM_STATE_WORKLOAD_H_

#include <memory>
#include <string>
#include <vector>

#include "sim/simulation.h"

namespace aios::test {

// A client on one host that talks to an echo server on another, by TCP and
// UDP, again and again, and tries again after failures. Everything that its
// callbacks see goes into the transcript, a line each.
class StateWorkload {
 public:
  // Makes the hosts "server" and "client".
  explicit StateWorkload(sim::Simulation& simulation);
  ~StateWorkload();
  StateWorkload(const StateWorkload&) = delete;
  StateWorkload& operator=(const StateWorkload&) = delete;

  sim::Host& server() { return server_; }
  sim::Host& client() { return client_; }
  // What a program that has been started anew does; the old one must be gone.
  void StopServer();
  void StartServer();

  // Runs for so long that all is over, unless it was disturbed for longer, and
  // closes everything.
  void Run();

  const std::vector<std::string>& transcript() const { return transcript_; }

 private:
  class Server;
  class Client;

  sim::Simulation& simulation_;
  sim::Host& server_;
  sim::Host& client_;
  std::vector<std::string> transcript_;
  std::unique_ptr<Server> echo_;
  std::unique_ptr<Client> caller_;
};

}  // namespace aios::test

#endif  // AIOS_TESTS_SIM_STATE_WORKLOAD_H_
