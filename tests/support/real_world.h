// The test world of a real kernel: everything on the loopback address of this
// machine, peers as in blocking_peer.h.

#ifndef AIOS_TESTS_SUPPORT_REAL_WORLD_H_
#define AIOS_TESTS_SUPPORT_REAL_WORLD_H_

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "aios/address.h"
#include "aios/error.h"
#include "aios/kernel.h"
#include "tests/support/blocking_peer.h"
#include "tests/support/test_world.h"

namespace aios::test {

class RealWorld final : public TestWorld {
 public:
  // `kernel` must outlive the world.
  explicit RealWorld(Kernel& kernel)
      : RealWorld(kernel, PersonalityOfThisSystem()) {}
  RealWorld(Kernel& kernel, const Personality& personality)
      : kernel_(kernel), personality_(personality) {}

  Kernel& kernel() override { return kernel_; }
  const Personality& personality() const override { return personality_; }
  bool simulated() const override { return false; }
  bool HasFamily(Family family) override;
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
  bool IsInherited(Handle handle) override;

  SocketAddress RefusingAddress(SocketType type, Family family) override;
  SocketAddress SilentAddress(Family family) override;
  std::unique_ptr<HandleShortage> LimitHandles(int spare) override;
  std::unique_ptr<Interruptions> InterruptCalls() override;

 private:
  static Personality PersonalityOfThisSystem();

  Kernel& kernel_;
  const Personality personality_;
  // What keeps the addresses given out as they were promised.
  std::vector<OwnedDescriptor> held_;
};

}  // namespace aios::test

#endif  // AIOS_TESTS_SUPPORT_REAL_WORLD_H_
