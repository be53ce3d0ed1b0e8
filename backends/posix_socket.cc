#include "backends/posix_socket.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <optional>

// What the headers tell. Each feature is used only when this says so; a build
// may say it instead.
#ifndef AIOS_HAS_SOCKET_FLAGS
#if defined(SOCK_NONBLOCK) && defined(SOCK_CLOEXEC)
#define AIOS_HAS_SOCKET_FLAGS 1
#else
#define AIOS_HAS_SOCKET_FLAGS 0
#endif
#endif

// What no header tells, and the other systems do not do or do in another way,
// though most of them declare all of it:
//
//  * MSG_DONTWAIT makes one call nonblocking, sends included. NetBSD and macOS
//    let a send block all the same.
//  * recvfrom with MSG_TRUNC gives the length of the datagram instead of what
//    was stored, which saves building a msghdr to learn that it was cut.
//  * sendmmsg and recvmmsg leave errors where they belong. NetBSD leaves every
//    one on the socket, EAGAIN included, and FreeBSD's recvmmsg loses the one
//    that ends a batch.
//  * recv with MSG_PEEK takes the error that it gives.
//  * An error that the network left comes before the datagrams that are there.
#ifndef AIOS_SOCKETS_OF_LINUX
#if defined(__linux__)
#define AIOS_SOCKETS_OF_LINUX 1
#else
#define AIOS_SOCKETS_OF_LINUX 0
#endif
#endif

// Whether accept without a free descriptor drops the connection.
#ifndef AIOS_ACCEPT_DROPS
#if defined(__APPLE__)
#define AIOS_ACCEPT_DROPS 1
#else
#define AIOS_ACCEPT_DROPS 0
#endif
#endif

// Whether one message may be cut into datagrams by the system. A system that
// does not know the option yet, although its headers do, is found at run time.
#if defined(UDP_SEGMENT) && AIOS_SOCKETS_OF_LINUX
#define AIOS_HAS_UDP_SEGMENT 1
#else
#define AIOS_HAS_UDP_SEGMENT 0
#endif

namespace aios {

namespace {

#if AIOS_SOCKETS_OF_LINUX
constexpr int kReceiveFlags = MSG_DONTWAIT;
#else
constexpr int kReceiveFlags = 0;
#endif

#if defined(MSG_NOSIGNAL)
constexpr int kSendFlags = kReceiveFlags | MSG_NOSIGNAL;
#else
constexpr int kSendFlags = kReceiveFlags;
#endif

// The buffers of one gathering send. A longer list goes in several calls: a
// send may take a prefix.
constexpr size_t kBuffersMax = 64;

// Datagrams of one call. A longer list goes in several, or is not filled.
[[maybe_unused]] constexpr size_t kBatchMax = 64;

// What `Retry` does when the first call was interrupted. Not inlined, so that
// that one need not keep its arguments in registers; `Function` had better hold
// them by value.
template <typename Function>
[[gnu::noinline]] auto RetryInterrupted(Function& function) {
  for (;;) {
    auto result = function();
    if (result >= 0 || errno != EINTR) return result;
  }
}

// Calls until it is not interrupted. The result is that of the call: negative
// with errno for an error.
template <typename Function>
auto Retry(Function function) {
  auto result = function();
  if (result < 0 && errno == EINTR) [[unlikely]] {
    return RetryInterrupted(function);
  }
  return result;
}

Error LastError() { return Error(errno); }

int64_t NanosecondsOf(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// A file that was changed less long ago counts as fresh: the coarsest times are
// those of FAT, of two seconds.
constexpr int64_t kFreshFor = 4'000'000'000;

// EINVAL for what is not a regular file.
Error StampOf(const struct stat& status, FileStamp* stamp) {
  if (!S_ISREG(status.st_mode)) return Error(EINVAL);
#if defined(__APPLE__)
  const timespec modified = status.st_mtimespec;
  const timespec changed = status.st_ctimespec;
#else
  const timespec modified = status.st_mtim;
  const timespec changed = status.st_ctim;
#endif
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  *stamp = {.size = static_cast<uint64_t>(status.st_size),
            .device = static_cast<uint64_t>(status.st_dev),
            .inode = static_cast<uint64_t>(status.st_ino),
            .modified = NanosecondsOf(modified),
            .changed = NanosecondsOf(changed)};
  stamp->fresh = NanosecondsOf(now) - stamp->changed < kFreshFor;
  return Error();
}

Error ErrorOf(int result) { return result < 0 ? LastError() : Error(); }

Transfer TransferOf(ssize_t result) {
  if (result < 0) [[unlikely]] {
    return {.error = LastError()};
  }
  return {.count = static_cast<size_t>(result)};
}

// A call that does not wait is not interrupted. Should it be all the same, the
// socket is reported again: no need to keep what it takes to try again.
Transfer FailedTransfer() {
  return {.error = Error(errno == EINTR ? EAGAIN : errno)};
}

// Of a send on a stream.
Transfer FailedSend() {
  Transfer transfer = FailedTransfer();
  // macOS may say so while a connection that the peer has reset is going away;
  // a moment later it would be EPIPE.
  if (transfer.error.code() == EPROTOTYPE) transfer.error = Error(EPIPE);
  return transfer;
}

// Sets or clears a flag of `F_GETFL` with as few calls as it takes.
Error SetNonblocking(Handle handle, bool nonblocking, bool* was = nullptr) {
  int flags = fcntl(handle, F_GETFL);
  if (flags < 0) return LastError();
  if (was != nullptr) *was = (flags & O_NONBLOCK) != 0;
  int wanted = nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (wanted == flags) return Error();
  return ErrorOf(fcntl(handle, F_SETFL, wanted));
}

// Whether a datagram is there, though perhaps not if it is an empty one.
[[maybe_unused]] bool HasInput(Handle handle) {
  int bytes = 0;
  return ioctl(handle, FIONREAD, &bytes) == 0 && bytes > 0;
}

// macOS has no address of a peer any more when both directions are shut down,
// by whomever, be the connection still there or reset. It then says EINVAL, and
// so do its calls that set options.
[[maybe_unused]] bool IsShutForGood(Handle handle) {
  NativeAddress native;
  socklen_t length = sizeof(native);
  return getpeername(handle, &native.generic, &length) < 0 && errno == EINVAL;
}

// What `socket` and `accept` could not be told by flags. Closes the handle if
// it fails. Between the two calls a child process may inherit the handle; these
// systems offer nothing better.
[[maybe_unused]] Error PrepareNew(Handle handle) {
  if (fcntl(handle, F_SETFD, FD_CLOEXEC) < 0) {
    Error error = LastError();
    close(handle);
    return error;
  }
  // The BSDs let the listener's O_NONBLOCK pass to its connections, Linux does
  // not: it is set in either case.
  if (Error error = SetNonblocking(handle, true); !error.ok()) {
    close(handle);
    return error;
  }
  return Error();
}

// `is_prepared`: `PrepareNew` has nothing to do. A template, for only there is
// a name that is not declared no mistake.
template <typename Int>
Int AcceptOne(Int listener, bool* is_prepared) {
#if AIOS_HAS_SOCKET_FLAGS
  // It takes the same flags, but not every system that has these has it; and as
  // no macro comes with it, the compiler is asked whether it is declared.
  if constexpr (requires { accept4(listener, nullptr, nullptr, 0); }) {
    constexpr int kFlags =
        SOCK_CLOEXEC | (AIOS_SOCKETS_OF_LINUX ? 0 : SOCK_NONBLOCK);
    *is_prepared = true;
    return accept4(listener, nullptr, nullptr, kFlags);
  }
#endif
  *is_prepared = false;
  return accept(listener, nullptr, nullptr);
}

Error GetIntOption(Handle handle, int level, int name, int* value) {
  *value = 0;
  socklen_t length = sizeof(*value);
  return ErrorOf(getsockopt(handle, level, name, value, &length));
}

struct NativeOption {
  int level;
  int name;
};

NativeOption ToNative(SocketOption option) {
  switch (option) {
    case SocketOption::kReuseAddress:
      return {SOL_SOCKET, SO_REUSEADDR};
    case SocketOption::kReusePort:
#if defined(SO_REUSEPORT_LB)
      // FreeBSD spreads connections over the listeners only with this one.
      return {SOL_SOCKET, SO_REUSEPORT_LB};
#else
      return {SOL_SOCKET, SO_REUSEPORT};
#endif
    case SocketOption::kNoDelay:
      return {IPPROTO_TCP, TCP_NODELAY};
    case SocketOption::kKeepAlive:
      return {SOL_SOCKET, SO_KEEPALIVE};
    case SocketOption::kIpv6Only:
      return {IPPROTO_IPV6, IPV6_V6ONLY};
    case SocketOption::kLinger:
      // Its value is not a number: `GetLinger`.
      break;
  }
  return {-1, -1};
}

// Whether closing would wait. Without a time it resets the connection at once.
Error GetLinger(Handle handle, bool* on) {
  linger value = {};
  socklen_t length = sizeof(value);
  Error error =
      ErrorOf(getsockopt(handle, SOL_SOCKET, SO_LINGER, &value, &length));
  if (error.ok()) *on = value.l_onoff != 0 && value.l_linger != 0;
  return error;
}

// Options by which other code has datagrams joined or cut, on their way in or
// out. No error matters: a system without an option does nothing of the kind.
void KeepDatagramsWhole([[maybe_unused]] Handle handle) {
#if AIOS_SOCKETS_OF_LINUX
  for (int name : {UDP_CORK, UDP_SEGMENT, UDP_GRO}) {
    int off = 0;
    setsockopt(handle, IPPROTO_UDP, name, &off, sizeof(off));
  }
#endif
}

// Other code may have asked that details of errors be kept for it (IP_RECVERR).
// As long as they are, the socket is reported as ready, whatever a call says.
// Called when a call would block, so that the error itself was given before,
// and whoever was told of it has had the time to fetch them. What follows them
// in the queue becomes the next error of the socket.
[[gnu::noinline]] void DropDetailsOfError([[maybe_unused]] Handle handle) {
#if AIOS_SOCKETS_OF_LINUX
  int ipv4 = 0;
  int ipv6 = 0;
  static_cast<void>(GetIntOption(handle, IPPROTO_IP, IP_RECVERR, &ipv4));
  static_cast<void>(GetIntOption(handle, IPPROTO_IPV6, IPV6_RECVERR, &ipv6));
  // Without, there may be other messages, which are none of our business.
  if (ipv4 == 0 && ipv6 == 0) return;
  msghdr message = {};
  static_cast<void>(recvmsg(handle, &message, MSG_ERRQUEUE | MSG_DONTWAIT));
#endif
}

// Why a call on a datagram socket has failed.
Error DatagramError(Handle handle) {
  Error error = LastError();
  if (error.code() == EAGAIN) DropDetailsOfError(handle);
  return error;
}

iovec ToNative(const ConstBuffer& buffer) {
  // The system does not write through it.
  return {.iov_base = const_cast<char*>(buffer.data), .iov_len = buffer.size};
}

// Errors of one connection that ended before it was accepted; Linux gives the
// pending ones of the network in this way too. The next one may be good.
bool IsLostConnection(int code) {
  switch (code) {
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
#if defined(ENONET)
    case ENONET:
#endif
      return true;
    default:
      return false;
  }
}

ssize_t SendDatagram(Handle handle, const OutgoingDatagram& datagram) {
  if (datagram.target == nullptr) {
    return Retry([handle, payload = datagram.payload] {
      return send(handle, payload.data, payload.size, kSendFlags);
    });
  }
  NativeAddress native;
  socklen_t length = ToNative(*datagram.target, &native);
  return Retry([handle, payload = datagram.payload, &native, length] {
    return sendto(handle, payload.data, payload.size, kSendFlags,
                  &native.generic, length);
  });
}

#if AIOS_SOCKETS_OF_LINUX

// Whether the system cuts messages of this socket into datagrams. Asked each
// time there are some to cut: an older system, or a socket of a protocol other
// than UDP, would send the whole message as one datagram.
bool CutsMessages([[maybe_unused]] Handle handle) {
#if AIOS_HAS_UDP_SEGMENT
  int size;
  return GetIntOption(handle, IPPROTO_UDP, UDP_SEGMENT, &size).ok();
#else
  return false;
#endif
}

// The system refuses to cut the message, and might send its parts one by one:
// they do not fit into packets of the network, or these get no checksums.
bool IsRefusalToCut(int code) {
  return code == EINVAL || code == EMSGSIZE || code == EIO;
}

// What one sendmmsg sends. Neighbours of the same size and target may be one
// message, cut by the system: it then goes the way to the network once, which
// is most of what a datagram costs.
class OutgoingMessages {
 public:
  // Takes datagrams from the front of the list, as many as fit.
  void Fill(std::span<const OutgoingDatagram> datagrams, bool cut) {
    size_t count = std::min(datagrams.size(), kBatchMax);
    size_ = 0;
    some_are_cut_ = false;
    for (size_t i = 0; i < count;) {
      const OutgoingDatagram& first = datagrams[i];
      size_t length = cut ? LengthOfCut(datagrams.subspan(i, count - i)) : 1;
      for (size_t j = i; j < i + length; ++j) {
        vectors_[j] = ToNative(datagrams[j].payload);
      }
      messages_[size_] = mmsghdr{};
      msghdr& header = messages_[size_].msg_hdr;
      header.msg_iov = &vectors_[i];
      header.msg_iovlen = length;
      if (first.target != nullptr) {
        header.msg_name = &targets_[size_];
        header.msg_namelen = aios::ToNative(*first.target, &targets_[size_]);
      }
      if (length > 1) {
        some_are_cut_ = true;
        SetCut(size_, first.payload.size);
      }
      lengths_[size_++] = length;
      i += length;
    }
  }

  mmsghdr* data() { return messages_.data(); }
  unsigned size() const { return static_cast<unsigned>(size_); }
  bool first_is_cut() const { return lengths_[0] > 1; }
  bool some_are_cut() const { return some_are_cut_; }

  // How many datagrams are in the first `messages` messages.
  size_t DatagramsIn(size_t messages) const {
    return std::accumulate(lengths_.begin(), lengths_.begin() + messages,
                           size_t{0});
  }

 private:
  // Longer ones do not fit into a packet of Ethernet.
  static constexpr size_t kPieceMax = 1452;
  // Of one message; it is less than the longest datagram of either family.
  static constexpr size_t kPiecesBytesMax = 65'000;

  // How many of the first datagrams may be one message: all have the size of
  // the first one, but the last, which may be shorter.
  static size_t LengthOfCut(std::span<const OutgoingDatagram> datagrams) {
    const OutgoingDatagram& first = datagrams[0];
    size_t size = first.payload.size;
    size_t bytes = size;
    size_t length = 1;
    if (size == 0 || size > kPieceMax) return length;
    while (length < datagrams.size()) {
      const OutgoingDatagram& next = datagrams[length];
      bytes += next.payload.size;
      if (next.payload.size == 0 || next.payload.size > size ||
          bytes > kPiecesBytesMax || !SameTarget(first, next)) {
        break;
      }
      ++length;
      if (next.payload.size != size) break;
    }
    return length;
  }

  static bool SameTarget(const OutgoingDatagram& a, const OutgoingDatagram& b) {
    if (a.target == nullptr || b.target == nullptr) return a.target == b.target;
    return *a.target == *b.target;
  }

  void SetCut([[maybe_unused]] size_t message, [[maybe_unused]] size_t size) {
#if AIOS_HAS_UDP_SEGMENT
    auto piece = static_cast<uint16_t>(size);
    msghdr& header = messages_[message].msg_hdr;
    header.msg_control = &controls_[message];
    header.msg_controllen = sizeof(controls_[message]);
    cmsghdr* control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = IPPROTO_UDP;
    control->cmsg_type = UDP_SEGMENT;
    control->cmsg_len = CMSG_LEN(sizeof(piece));
    std::memcpy(CMSG_DATA(control), &piece, sizeof(piece));
#endif
  }

  struct alignas(cmsghdr) Control {
    std::array<unsigned char, CMSG_SPACE(sizeof(uint16_t))> bytes;
  };

  size_t size_ = 0;
  bool some_are_cut_ = false;
  std::array<mmsghdr, kBatchMax> messages_;
  std::array<size_t, kBatchMax> lengths_;  // in datagrams
  std::array<iovec, kBatchMax> vectors_;
  std::array<NativeAddress, kBatchMax> targets_;
  std::array<Control, kBatchMax> controls_;
};

Transfer SendMany(Handle handle, std::span<const OutgoingDatagram> datagrams) {
  OutgoingMessages messages;
  std::optional<bool> cut;
  size_t sent = 0;
  while (sent < datagrams.size()) {
    messages.Fill(datagrams.subspan(sent), cut.value_or(true));
    if (!cut.has_value() && messages.some_are_cut()) {
      cut = CutsMessages(handle);
      if (!*cut) continue;
    }
    // The system gives an error only for the first of a call.
    int result = Retry([&] {
      return sendmmsg(handle, messages.data(), messages.size(), kSendFlags);
    });
    if (result < 0) {
      if (messages.first_is_cut() && IsRefusalToCut(errno)) {
        cut = false;
        continue;
      }
      if (sent == 0) return {.error = DatagramError(handle)};
      break;
    }
    sent += messages.DatagramsIn(static_cast<size_t>(result));
    if (static_cast<unsigned>(result) < messages.size()) break;
  }
  return {.count = sent};
}

#else

Transfer SendMany(Handle handle, std::span<const OutgoingDatagram> datagrams) {
  size_t sent = 0;
  for (const OutgoingDatagram& datagram : datagrams) {
    if (SendDatagram(handle, datagram) < 0) {
      if (sent == 0) return {.error = DatagramError(handle)};
      break;
    }
    ++sent;
  }
  return {.count = sent};
}

#endif

}  // namespace

socklen_t ToNativeIpv6(const SocketAddress& address, sockaddr_in6* native) {
  const IpAddress& ip = address.ip();
  *native = sockaddr_in6{};
  native->sin6_family = AF_INET6;
  native->sin6_port = htons(address.port());
  IpAddress::Ipv6Bytes bytes = ip.ipv6();
  static_assert(sizeof(native->sin6_addr) == sizeof(bytes));
  std::memcpy(&native->sin6_addr, bytes.data(), sizeof(bytes));
  native->sin6_scope_id = ip.scope();
  return sizeof(*native);
}

SocketAddress FromNativeIpv6(const sockaddr_in6& native) {
  IpAddress::Ipv6Bytes bytes;
  std::memcpy(bytes.data(), &native.sin6_addr, sizeof(bytes));
  return SocketAddress(IpAddress::FromIpv6(bytes, native.sin6_scope_id),
                       ntohs(native.sin6_port));
}

Nanoseconds PosixKernel::Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return Nanoseconds{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Error PosixKernel::Open(SocketType type, Family family, Handle* handle) {
  int domain = family == Family::kIpv4 ? AF_INET : AF_INET6;
  int native_type = type == SocketType::kStream ? SOCK_STREAM : SOCK_DGRAM;
#if AIOS_HAS_SOCKET_FLAGS
  native_type |= SOCK_NONBLOCK | SOCK_CLOEXEC;
#endif
  int fd = socket(domain, native_type, 0);
  if (fd < 0) return LastError();
#if !AIOS_HAS_SOCKET_FLAGS
  if (Error error = PrepareNew(fd); !error.ok()) return error;
#endif
  PreventSignals(fd);
  *handle = fd;
  return Error();
}

Error PosixKernel::Adopt(Handle handle, SocketInfo* info) {
  int type;
  if (Error error = GetIntOption(handle, SOL_SOCKET, SO_TYPE, &type);
      !error.ok()) {
    return error;
  }
  if (type != SOCK_STREAM && type != SOCK_DGRAM) return Error(EPROTONOSUPPORT);

  // Every system gives the family in this way, also of an unbound socket. The
  // storage is for the addresses of other families, such as long paths.
  sockaddr_storage local = {};
  socklen_t length = sizeof(local);
  if (getsockname(handle, reinterpret_cast<sockaddr*>(&local), &length) < 0) {
    return LastError();
  }
  if (local.ss_family != AF_INET && local.ss_family != AF_INET6) {
    return Error(EPROTONOSUPPORT);
  }

  SocketInfo found;
  found.type =
      type == SOCK_STREAM ? SocketType::kStream : SocketType::kDatagram;
  found.family = local.ss_family == AF_INET ? Family::kIpv4 : Family::kIpv6;
#if defined(SO_ACCEPTCONN)
  int listening;
  found.listening =
      GetIntOption(handle, SOL_SOCKET, SO_ACCEPTCONN, &listening).ok() &&
      listening != 0;
#endif
  SocketAddress peer;
  found.connected = PeerAddress(handle, &peer).ok();

  bool was_nonblocking = false;
  bool needs_nonblocking =
      !AIOS_SOCKETS_OF_LINUX ||
      (found.type == SocketType::kStream && !found.connected);
  if (needs_nonblocking) {
    if (Error error = SetNonblocking(handle, true, &was_nonblocking);
        !error.ok()) {
      return error;
    }
  } else {
    int flags = fcntl(handle, F_GETFL);
    if (flags < 0) return LastError();
    was_nonblocking = (flags & O_NONBLOCK) != 0;
  }
  PreventSignals(handle);
  if (found.type == SocketType::kDatagram) KeepDatagramsWhole(handle);
  if (was_nonblocking) {
    was_nonblocking_.Insert(handle);
  } else {
    // Left over from a handle that was closed behind our back.
    was_nonblocking_.Take(handle);
  }
  *info = found;
  return Error();
}

void PosixKernel::Release(Handle handle) {
  // An error says that the handle is closed already, and there is nothing to
  // give back.
  if (!was_nonblocking_.Take(handle)) {
    static_cast<void>(SetNonblocking(handle, false));
  }
  if (MayRaiseSignal(handle)) raise_signals_.Take(handle);
}

void PosixKernel::Close(Handle handle) {
  was_nonblocking_.Take(handle);
  if (MayRaiseSignal(handle)) raise_signals_.Take(handle);
  // Never repeated after EINTR: Linux and the BSDs have closed the handle by
  // then, and it may already be another thread's.
  close(handle);
}

void PosixKernel::HandleSet::Insert(Handle handle) {
  std::lock_guard<std::mutex> lock(mutex_);
  handles_.insert(handle);
  size_.store(handles_.size(), std::memory_order_relaxed);
}

bool PosixKernel::HandleSet::TakeLocked(Handle handle) {
  std::lock_guard<std::mutex> lock(mutex_);
  bool found = handles_.erase(handle) != 0;
  size_.store(handles_.size(), std::memory_order_relaxed);
  return found;
}

bool PosixKernel::HandleSet::Contains(Handle handle) {
  if (empty()) return false;
  std::lock_guard<std::mutex> lock(mutex_);
  return handles_.contains(handle);
}

void PosixKernel::PreventSignals([[maybe_unused]] Handle handle) {
#if defined(SO_NOSIGPIPE)
  int on = 1;
  if (setsockopt(handle, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on)) < 0 &&
      IsShutForGood(handle)) {
    raise_signals_.Insert(handle);
  } else {
    raise_signals_.Take(handle);
  }
#endif
}

bool PosixKernel::MayRaiseSignal([[maybe_unused]] Handle handle) {
#if defined(SO_NOSIGPIPE)
  return raise_signals_.Contains(handle);
#else
  return false;
#endif
}

Error PosixKernel::SetOption(Handle handle, SocketOption option, bool on) {
  if (option == SocketOption::kLinger) {
    if (on) return Error(EINVAL);
    linger off = {};
    return ErrorOf(
        setsockopt(handle, SOL_SOCKET, SO_LINGER, &off, sizeof(off)));
  }
  NativeOption native = ToNative(option);
  int value = on ? 1 : 0;
  return ErrorOf(
      setsockopt(handle, native.level, native.name, &value, sizeof(value)));
}

Error PosixKernel::GetOption(Handle handle, SocketOption option, bool* on) {
  if (option == SocketOption::kLinger) return GetLinger(handle, on);
  NativeOption native = ToNative(option);
  int value;
  Error error = GetIntOption(handle, native.level, native.name, &value);
  // Some systems give the bit of the flag instead of 1.
  if (error.ok()) *on = value != 0;
  return error;
}

Error PosixKernel::Bind(Handle handle, const SocketAddress& address) {
  NativeAddress native;
  socklen_t length = ToNative(address, &native);
  return ErrorOf(bind(handle, &native.generic, length));
}

Error PosixKernel::Listen(Handle handle, int backlog) {
  // Systems cut the number to their limit, but this constant may be below it:
  // Linux had 128 in the header long after the limit was 4096.
  constexpr int kLongest = std::max(SOMAXCONN, 65535);
  return ErrorOf(listen(handle, backlog > 0 ? backlog : kLongest));
}

Error PosixKernel::Connect(Handle handle, const SocketAddress& address) {
  NativeAddress native;
  socklen_t length = ToNative(address, &native);
  if (connect(handle, &native.generic, length) == 0) return Error();
  // Not to be repeated: the attempt goes on, and a second call would only
  // answer EALREADY.
  if (errno == EINTR) return Error(EINPROGRESS);
  return LastError();
}

Error PosixKernel::TakeError(Handle handle) {
  int code;
  Error error = GetIntOption(handle, SOL_SOCKET, SO_ERROR, &code);
  return error.ok() ? Error(code) : error;
}

Error PosixKernel::Accept(Handle listener, Handle* connection) {
  for (;;) {
#if AIOS_ACCEPT_DROPS
    // Tried out, for to accept without one loses the connection. That of the
    // trial is free again for accept, unless another thread takes it.
    int free = Retry([listener] { return dup(listener); });
    if (free < 0) return LastError();
    close(free);
#endif
    bool is_prepared = false;
    int fd = AcceptOne(listener, &is_prepared);
    if (fd < 0) [[unlikely]] {
      if (errno == EINTR || IsLostConnection(errno)) continue;
      return LastError();
    }
    if (!is_prepared) {
      if (Error error = PrepareNew(fd); !error.ok()) return error;
    }
    PreventSignals(fd);
    *connection = fd;
    return Error();
  }
}

Error PosixKernel::LocalAddress(Handle handle, SocketAddress* address) {
  NativeAddress native = {};
  socklen_t length = sizeof(native);
  if (getsockname(handle, &native.generic, &length) < 0) return LastError();
  *address = FromNative(native, length);
  return Error();
}

Error PosixKernel::PeerAddress(Handle handle, SocketAddress* address) {
  NativeAddress native = {};
  socklen_t length = sizeof(native);
  if (getpeername(handle, &native.generic, &length) < 0) {
    // See `IsShutForGood`.
    return Error(errno == EINVAL ? ENOTCONN : errno);
  }
  *address = FromNative(native, length);
  return Error();
}

Transfer PosixKernel::Receive(Handle handle, std::span<char> buffer) {
  ssize_t received = recv(handle, buffer.data(), buffer.size(), kReceiveFlags);
  if (received < 0) [[unlikely]] {
    return FailedTransfer();
  }
  return {.count = static_cast<size_t>(received)};
}

Transfer PosixKernel::Peek(Handle handle) {
  char byte;
  Transfer transfer = TransferOf(
      Retry([&] { return recv(handle, &byte, 1, kReceiveFlags | MSG_PEEK); }));
#if AIOS_SOCKETS_OF_LINUX
  if (transfer.error.code() == EAGAIN) DropDetailsOfError(handle);
#else
  // It is still there.
  if (!transfer.error.ok() && transfer.error.code() != EAGAIN) {
    static_cast<void>(TakeError(handle));
  }
#endif
  return transfer;
}

namespace {

[[gnu::noinline]] Transfer SendGathered(Handle handle,
                                        std::span<const ConstBuffer> buffers) {
  std::array<iovec, kBuffersMax> vector;
  size_t count = 0;
  for (const ConstBuffer& buffer : buffers) {
    // So that the part that fits into one call is never empty.
    if (buffer.size == 0) continue;
    vector[count++] = ToNative(buffer);
    if (count == vector.size()) break;
  }
  msghdr message = {};
  message.msg_iov = vector.data();
  message.msg_iovlen = count;
  ssize_t sent = sendmsg(handle, &message, kSendFlags);
  if (sent < 0) return FailedSend();
  return {.count = static_cast<size_t>(sent)};
}

}  // namespace

Transfer PosixKernel::Send(Handle handle,
                           std::span<const ConstBuffer> buffers) {
  if (MayRaiseSignal(handle)) [[unlikely]] {
    return {.error = Error(EPIPE)};
  }
  if (buffers.size() != 1) [[unlikely]] {
    return SendGathered(handle, buffers);
  }
  ssize_t sent = send(handle, buffers[0].data, buffers[0].size, kSendFlags);
  if (sent < 0) [[unlikely]] {
    return FailedSend();
  }
  return {.count = static_cast<size_t>(sent)};
}

Error PosixKernel::ReceiveDatagram(Handle handle, std::span<char> buffer,
                                   bool want_sender,
                                   IncomingDatagram* datagram) {
  NativeAddress native;
  socklen_t length = want_sender ? sizeof(native) : 0;
#if AIOS_SOCKETS_OF_LINUX
  sockaddr* sender = want_sender ? &native.generic : nullptr;
  socklen_t* sender_length = want_sender ? &length : nullptr;
  ssize_t result = Retry([handle, buffer, sender, sender_length] {
    return recvfrom(handle, buffer.data(), buffer.size(),
                    kReceiveFlags | MSG_TRUNC, sender, sender_length);
  });
  if (result < 0) return DatagramError(handle);
  auto size = static_cast<size_t>(result);
  datagram->size = std::min(size, buffer.size());
  datagram->truncated = size > buffer.size();
#else
  iovec vector = {.iov_base = buffer.data(), .iov_len = buffer.size()};
  msghdr message = {};
  message.msg_name = want_sender ? &native : nullptr;
  message.msg_namelen = length;
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  ssize_t result =
      Retry([&] { return recvmsg(handle, &message, kReceiveFlags); });
  if (result < 0) return DatagramError(handle);
  datagram->size = static_cast<size_t>(result);
  datagram->truncated = (message.msg_flags & MSG_TRUNC) != 0;
  length = message.msg_namelen;
#endif
  if (want_sender) datagram->sender = FromNative(native, length);
  return Error();
}

Transfer PosixKernel::SendDatagrams(
    Handle handle, std::span<const OutgoingDatagram> datagrams) {
  if (MayRaiseSignal(handle)) [[unlikely]] {
    return {.error = Error(EPIPE)};
  }
  // One alone is the common case, and cheaper without the batch.
  if (datagrams.size() != 1) return SendMany(handle, datagrams);
  if (SendDatagram(handle, datagrams[0]) < 0) {
    return {.error = DatagramError(handle)};
  }
  return {.count = 1};
}

Transfer PosixKernel::ReceiveDatagrams(Handle handle, bool want_sender,
                                       std::span<IncomingDatagram> datagrams) {
#if AIOS_SOCKETS_OF_LINUX
  std::array<mmsghdr, kBatchMax> messages;
  std::array<iovec, kBatchMax> vectors;
  std::array<NativeAddress, kBatchMax> senders;
  size_t count = std::min(datagrams.size(), kBatchMax);
  for (size_t i = 0; i < count; ++i) {
    std::span<char> buffer = datagrams[i].buffer;
    vectors[i] = {.iov_base = buffer.data(), .iov_len = buffer.size()};
    messages[i] = mmsghdr{};
    msghdr& header = messages[i].msg_hdr;
    header.msg_iov = &vectors[i];
    header.msg_iovlen = 1;
    if (want_sender) {
      header.msg_name = &senders[i];
      header.msg_namelen = sizeof(senders[i]);
    }
  }
  // The system keeps an error after the first for the next call.
  int result = Retry([&] {
    return recvmmsg(handle, messages.data(), count, kReceiveFlags, nullptr);
  });
  if (result < 0) return {.error = DatagramError(handle)};
  for (size_t i = 0; i < static_cast<size_t>(result); ++i) {
    const msghdr& header = messages[i].msg_hdr;
    datagrams[i].size = messages[i].msg_len;
    datagrams[i].truncated = (header.msg_flags & MSG_TRUNC) != 0;
    if (want_sender) {
      datagrams[i].sender = FromNative(senders[i], header.msg_namelen);
    }
  }
  return {.count = static_cast<size_t>(result)};
#else
  Transfer transfer;
  for (IncomingDatagram& datagram : datagrams) {
    // An error that the network left comes when there is no datagram any more.
    // There it stays for the next call, which is not told to wait for it.
    if (transfer.count != 0 && !HasInput(handle)) break;
    Error error =
        ReceiveDatagram(handle, datagram.buffer, want_sender, &datagram);
    if (!error.ok()) {
      if (transfer.count == 0) transfer.error = error;
      break;
    }
    ++transfer.count;
  }
  return transfer;
#endif
}

Error PosixKernel::Shutdown(Handle handle, Direction direction) {
  int how = direction == Direction::kInput    ? SHUT_RD
            : direction == Direction::kOutput ? SHUT_WR
                                              : SHUT_RDWR;
  if (shutdown(handle, how) == 0) return Error();
  if (errno != ENOTCONN) return LastError();
  // macOS says so, too, of a direction that is shut down already, by the peer's
  // end of the stream as well as by a call, and does nothing about the other
  // one then.
  if (direction == Direction::kIo) {
    shutdown(handle, SHUT_WR);
    shutdown(handle, SHUT_RD);
  }
  SocketAddress peer;
  if (PeerAddress(handle, &peer).ok() || IsShutForGood(handle)) return Error();
  return Error(ENOTCONN);
}

uint32_t PosixKernel::InterfaceIndex(std::string_view name) {
  std::array<char, IF_NAMESIZE> text = {};
  // A longer name than fits, terminator included, is no interface's; nor is
  // one with a zero inside, which must not be taken for its first part.
  if (name.size() >= text.size() || name.find('\0') != name.npos) return 0;
  std::copy(name.begin(), name.end(), text.begin());
  return if_nametoindex(text.data());
}

Transfer PosixKernel::ReadFile(std::string_view path, uint64_t offset,
                               std::span<char> buffer, FileStamp* stamp) {
  if (path.find('\0') != path.npos) return {.error = Error(ENOENT)};
  const std::string name(path);
  struct stat status = {};
  if (buffer.empty()) {
    if (stat(name.c_str(), &status) != 0) return {.error = LastError()};
    return {.error = StampOf(status, stamp)};
  }
  // Not blocking: what is there may be a pipe, which is found out only then.
  int file = Retry(
      [&] { return open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  if (file < 0) return {.error = LastError()};
  Transfer transfer;
  transfer.error =
      fstat(file, &status) != 0 ? LastError() : StampOf(status, stamp);
  while (transfer.error.ok() && transfer.count != buffer.size()) {
    ssize_t size = Retry([&] {
      return pread(file, buffer.data() + transfer.count,
                   buffer.size() - transfer.count,
                   static_cast<off_t>(offset + transfer.count));
    });
    if (size < 0) transfer.error = LastError();
    if (size <= 0) break;
    transfer.count += static_cast<size_t>(size);
  }
  close(file);
  if (!transfer.error.ok()) transfer.count = 0;
  return transfer;
}

}  // namespace aios
