// The socket calls of the seam on systems with POSIX sockets. What differs
// between these systems is how they tell which sockets are ready, so each
// kernel derives from `PosixKernel` and adds that; the rest is here.
//
// What a system lacks (accept4, SOCK_NONBLOCK, MSG_NOSIGNAL, …) is found by the
// macros of its headers and replaced by calls that every system has. For what
// no header tells there are a few macros in the source. The tests compile it
// for other systems over a double of theirs (tests/kqueue_double).

#ifndef AIOS_BACKENDS_POSIX_SOCKET_H_
#define AIOS_BACKENDS_POSIX_SOCKET_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <mutex>
#include <span>
#include <string_view>
#include <unordered_set>

#include "aios/address.h"
#include "aios/error.h"
#include "aios/kernel.h"

namespace aios {

// A socket address in the form of the system, long enough for both families.
union NativeAddress {
  sockaddr generic;
  sockaddr_in ipv4;
  sockaddr_in6 ipv6;
};

// Of an IPv6 address.
socklen_t ToNativeIpv6(const SocketAddress& address, sockaddr_in6* native);
SocketAddress FromNativeIpv6(const sockaddr_in6& native);

// Fills in `native` and gives the length that counts.
inline socklen_t ToNative(const SocketAddress& address, NativeAddress* native) {
  if (!address.ip().is_ipv4()) return ToNativeIpv6(address, &native->ipv6);
  // Zeroed for sin_zero, as sin6_flowinfo is. The BSDs' length member stays
  // zero as well: they fill it in on the way into the system.
  native->ipv4 = sockaddr_in{};
  native->ipv4.sin_family = AF_INET;
  native->ipv4.sin_port = htons(address.port());
  native->ipv4.sin_addr.s_addr = htonl(address.ip().ipv4());
  return sizeof(native->ipv4);
}

// The default address when `native` is of another family, or too short (some
// systems give no address where there is none).
inline SocketAddress FromNative(const NativeAddress& native, socklen_t length) {
  // The member for IPv4 must have been written before the family is read.
  if (length >= sizeof(native.ipv4) && native.generic.sa_family == AF_INET) {
    return SocketAddress(
        IpAddress::FromIpv4(ntohl(native.ipv4.sin_addr.s_addr)),
        ntohs(native.ipv4.sin_port));
  }
  if (length >= sizeof(native.ipv6) && native.generic.sa_family == AF_INET6) {
    return FromNativeIpv6(native.ipv6);
  }
  return SocketAddress();
}

// Blocking modes, for the curious. Sockets stay in the mode in which their
// other users want them, as far as rule 1 of the contract allows: where the
// system takes MSG_DONTWAIT at its word, connected and datagram sockets that
// `Adopt` gets stay as they are, and those of `Accept` are blocking; so code
// that holds the same socket may write to it directly, and block. Listeners
// and sockets of `Open` have O_NONBLOCK, for accept and connect know no such
// flag. Elsewhere every socket has O_NONBLOCK until `Release`.
class PosixKernel : public Kernel {
 public:
  Nanoseconds Now() final;

  Error Open(SocketType type, Family family, Handle* handle) final;
  Error Adopt(Handle handle, SocketInfo* info) final;
  void Release(Handle handle) final;
  void Close(Handle handle) override;

  Error SetOption(Handle handle, SocketOption option, bool on) final;
  Error GetOption(Handle handle, SocketOption option, bool* on) final;

  Error Bind(Handle handle, const SocketAddress& address) final;
  Error Listen(Handle handle, int backlog) final;
  Error Connect(Handle handle, const SocketAddress& address) final;
  Error TakeError(Handle handle) final;
  Error Accept(Handle listener, Handle* connection) final;

  Error LocalAddress(Handle handle, SocketAddress* address) final;
  Error PeerAddress(Handle handle, SocketAddress* address) final;

  Transfer Receive(Handle handle, std::span<char> buffer) final;
  Transfer Peek(Handle handle) final;
  Transfer Send(Handle handle, std::span<const ConstBuffer> buffers) final;

  Error ReceiveDatagram(Handle handle, std::span<char> buffer, bool want_sender,
                        IncomingDatagram* datagram) final;
  Transfer SendDatagrams(Handle handle,
                         std::span<const OutgoingDatagram> datagrams) final;
  Transfer ReceiveDatagrams(Handle handle, bool want_sender,
                            std::span<IncomingDatagram> datagrams) final;

  Error Shutdown(Handle handle, Direction direction) final;

  uint32_t InterfaceIndex(std::string_view name) final;
  Transfer ReadFile(std::string_view path, uint64_t offset,
                    std::span<char> buffer, FileStamp* stamp) final;

 private:
  // Nearly always empty, and then passed without the lock. Relaxed is enough:
  // a handle belongs to one thread at a time, so the size that this thread sees
  // includes its handle.
  class HandleSet {
   public:
    bool empty() const { return size_.load(std::memory_order_relaxed) == 0; }
    void Insert(Handle handle);
    bool Contains(Handle handle);
    // Removes it; true when it was there.
    bool Take(Handle handle) { return !empty() && TakeLocked(handle); }

   private:
    bool TakeLocked(Handle handle);

    std::mutex mutex_;
    std::unordered_set<Handle> handles_;
    std::atomic<size_t> size_ = 0;
  };

  // No broken pipe may raise a signal, on systems that want this said of the
  // socket and not of each call.
  void PreventSignals(Handle handle);
  // True where macOS refused that, because both directions are shut down. So a
  // send says EPIPE, and need not be made.
  bool MayRaiseSignal(Handle handle);

  // The handles that `Adopt` found with O_NONBLOCK, and `Release` leaves so.
  HandleSet was_nonblocking_;
  HandleSet raise_signals_;
};

}  // namespace aios

#endif  // AIOS_BACKENDS_POSIX_SOCKET_H_
