// Peers on the sockets of the operating system, written without aios so that
// they judge it independently. Used like blocking sockets, except that no call
// blocks longer than `kGuard`.

#ifndef AIOS_TESTS_SUPPORT_BLOCKING_PEER_H_
#define AIOS_TESTS_SUPPORT_BLOCKING_PEER_H_

#include <memory>
#include <utility>

#include "aios/address.h"
#include "aios/error.h"
#include "aios/kernel.h"
#include "tests/support/test_world.h"

namespace aios::test {

// A descriptor that closes itself.
class OwnedDescriptor {
 public:
  OwnedDescriptor() = default;
  explicit OwnedDescriptor(int descriptor) : descriptor_(descriptor) {}
  OwnedDescriptor(OwnedDescriptor&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)) {}
  OwnedDescriptor& operator=(OwnedDescriptor&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~OwnedDescriptor() { Close(); }

  int get() const { return descriptor_; }
  bool valid() const { return descriptor_ >= 0; }
  int Give() { return std::exchange(descriptor_, -1); }
  void Close();

 private:
  int descriptor_ = -1;
};

// A socket as any code makes it: blocking, inherited by child processes. Fails
// the test when there is none to be had.
OwnedDescriptor MakeSocket(SocketType type, Family family);

// The same, bound to a free port of the loopback address.
OwnedDescriptor MakeBoundSocket(SocketType type, Family family);

Error SetBlockingMode(int descriptor, bool blocking);

SocketAddress LocalAddressOf(int descriptor);
SocketAddress RemoteAddressOf(int descriptor);

// `connect` and `accept`, ended by the guard time with ETIMEDOUT.
Error ConnectWithin(int descriptor, const SocketAddress& address,
                    Nanoseconds timeout);
OwnedDescriptor AcceptWithinGuard(int listener);

// Wait for poll(2) to report the event or an error. False at the end of the
// time.
bool PollReadable(int descriptor, Nanoseconds timeout);
bool PollWritable(int descriptor, Nanoseconds timeout);

// Null, and a test failure, where a socket cannot be made.
std::unique_ptr<TcpPeer> MakeTcpPeer(OwnedDescriptor connected);
std::unique_ptr<TcpListenerPeer> MakeTcpListenerPeer(Family family);
std::unique_ptr<UdpPeer> MakeUdpPeer(Family family);

}  // namespace aios::test

#endif  // AIOS_TESTS_SUPPORT_BLOCKING_PEER_H_
