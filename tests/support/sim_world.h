// The test world of the simulated kernel: the code under test on one host of a
// simulation, peers as sockets that are used call by call, on another host or
// on the same one.

#ifndef AIOS_TESTS_SUPPORT_SIM_WORLD_H_
#define AIOS_TESTS_SUPPORT_SIM_WORLD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "aios/address.h"
#include "aios/error.h"
#include "aios/kernel.h"
#include "sim/network_options.h"
#include "sim/raw_sockets.h"
#include "sim/simulation.h"
#include "tests/support/kernel_decorator.h"
#include "tests/support/test_world.h"

namespace aios::test {

struct SimWorldOptions {
  uint64_t seed = 1;
  // Peers are reached by the loopback address of the one and only host.
  bool same_host = false;
  // Never hit the peers' own calls.
  sim::FaultRates faults = {};
};

// A seed for the test that is running: its own, and another one in each run
// with another AIOS_SIM_SEED in the environment.
uint64_t SeedOfTest();

class SimWorld final : public TestWorld {
 public:
  explicit SimWorld(const SimWorldOptions& options);
  ~SimWorld() override;

  sim::Simulation& simulation() { return simulation_; }

  Kernel& kernel() override { return kernel_; }
  bool simulated() const override { return true; }
  bool HasFamily(Family /*family*/) override { return true; }
  IpAddress host_ip(Family family) override;
  IpAddress peer_ip(Family family) override;
  std::optional<LinkLocal> link_local() override;

  std::unique_ptr<TcpPeer> ConnectTo(const SocketAddress& address) override;
  std::unique_ptr<TcpListenerPeer> Listen(Family family) override;
  std::unique_ptr<UdpPeer> Udp(Family family) override;

  TcpPair RawSocketPair(Family family) override;
  Handle RawSocket(SocketType type, Family family) override;
  Handle RawListener(Family family) override;
  Handle RawForeign(Foreign kind) override;

  Transfer DirectSend(Handle handle, std::string_view bytes) override;
  Transfer DirectReceive(Handle handle, std::span<char> buffer) override;
  bool IsBlocking(Handle handle) override;
  void SetBlocking(Handle handle, bool blocking) override;
  Handle Duplicate(Handle handle) override;
  void DirectClose(Handle handle) override;
  bool IsInherited(Handle /*handle*/) override { return false; }

  SocketAddress RefusingAddress(SocketType type, Family family) override;
  SocketAddress SilentAddress(Family family) override;
  std::unique_ptr<HandleShortage> LimitHandles(int spare) override;
  std::unique_ptr<Interruptions> InterruptCalls() override;

 private:
  // The tests drive their collections by hand.
  class HandDrivenKernel final : public KernelDecorator {
   public:
    using KernelDecorator::KernelDecorator;
    bool Drive(Poller& /*poller*/,
               absl::AnyInvocable<Nanoseconds()> /*turn*/) override {
      return false;
    }
  };

  sim::Simulation simulation_;
  sim::Host& host_;
  sim::Host& peer_host_;
  HandDrivenKernel kernel_;
  sim::RawSockets raw_;
};

}  // namespace aios::test

#endif  // AIOS_TESTS_SUPPORT_SIM_WORLD_H_
