#include "tests/kqueue_double/socket_double.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>

#include "tests/kqueue_double/kqueue_double.h"

namespace aios::test {

namespace {

// What a socket has that Linux does not keep for it. By descriptor, and never
// allocated: there are tests that count.
struct Facts {
  std::atomic<int> error_left = 0;
  std::atomic<bool> no_signals = false;
};
constexpr size_t kDescriptorsMax = 65536;
std::array<Facts, kDescriptorsMax> all_facts;

Facts& FactsOf(int fd) {
  static Facts of_no_socket;
  auto index = static_cast<size_t>(fd);
  return index < kDescriptorsMax ? all_facts[index] : of_no_socket;
}

constexpr size_t kDatagramMax = 9216;
constexpr int kSendFlagsOfLinuxOnly = MSG_DONTWAIT;

int Fail(int code) {
  errno = code;
  return -1;
}

void LeaveError(int fd, int code) {
  FactsOf(fd).error_left.store(code);
  MayHaveBecomeReady(fd);
}

int TakeErrorLeftOn(int fd) { return FactsOf(fd).error_left.exchange(0); }

bool IsOfTheNetwork(int code) {
  switch (code) {
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ETIMEDOUT:
      return true;
    default:
      return false;
  }
}

int IntOption(int fd, int level, int name) {
  int value = 0;
  socklen_t length = sizeof(value);
  getsockopt(fd, level, name, &value, &length);
  return value;
}

bool IsStream(int fd) {
  return IntOption(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM;
}

void SetBuffers(const SystemHabits& habits, int fd) {
  // Linux doubles what it is given.
  int bytes = habits.stream_buffer / 2;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

int16_t StateOf(int fd) {
  pollfd state = {.fd = fd, .events = POLLRDHUP, .revents = 0};
  poll(&state, 1, 0);
  return state.revents;
}

bool InputIsShut(int fd) { return (StateOf(fd) & POLLRDHUP) != 0; }

bool BothAreShut(int fd) {
  return (StateOf(fd) & POLLHUP) != 0 && InputIsShut(fd);
}

bool OutputIsShut(int fd) {
  if (BothAreShut(fd)) return true;
  tcp_info info = {};
  socklen_t length = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return false;
  switch (info.tcpi_state) {
    case TCP_FIN_WAIT1:
    case TCP_FIN_WAIT2:
    case TCP_CLOSING:
    case TCP_LAST_ACK:
      return true;
    default:
      return false;
  }
}

// What Linux gives first and forgets, these systems give last. `receive` is
// called again where a datagram may be behind it.
template <typename Function>
ssize_t Receive(int fd, int flags, Function receive) {
  ssize_t result = receive();
  if (result < 0 && IsOfTheNetwork(errno)) {
    LeaveError(fd, errno);
    if (!IsStream(fd)) result = receive();
  }
  if (result >= 0 || ErrorLeftOn(fd) == 0) return result;
  return Fail((flags & MSG_PEEK) != 0 ? ErrorLeftOn(fd) : TakeErrorLeftOn(fd));
}

// Its limit is part of the socket's buffer, which this double cannot see grow
// by a call of the program; so any other than the usual one will do.
bool IsTooLong(int fd, const msghdr& message) {
  if (IsStream(fd)) return false;
  size_t size = 0;
  for (size_t i = 0; i < message.msg_iovlen; ++i) {
    size += message.msg_iov[i].iov_len;
  }
  if (size <= kDatagramMax) return false;
  static const int usual = [] {
    int fresh = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int bytes = IntOption(fresh, SOL_SOCKET, SO_SNDBUF);
    close(fresh);
    return bytes;
  }();
  return IntOption(fd, SOL_SOCKET, SO_SNDBUF) == usual;
}

// There is no descriptor for it, so one has to be made.
void DropConnection(int listener) {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  rlimit more = limit;
  more.rlim_cur += 1;
  if (setrlimit(RLIMIT_NOFILE, &more) != 0) return;
  int dropped = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (dropped >= 0) {
    linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(dropped, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(dropped);
  }
  setrlimit(RLIMIT_NOFILE, &limit);
}

// A loop over the single call, as in the systems that have these.
template <typename Function>
int Batch(const SystemHabits& habits, int fd, mmsghdr* messages, unsigned count,
          Function call) {
  unsigned done = 0;
  while (done < count) {
    ssize_t result = call(&messages[done].msg_hdr);
    if (result < 0) {
      if (habits.batches_leave_errors) LeaveError(fd, errno);
      break;
    }
    messages[done++].msg_len = static_cast<unsigned>(result);
  }
  return done != 0 || count == 0 ? static_cast<int>(done) : -1;
}

}  // namespace

int ErrorLeftOn(int fd) { return FactsOf(fd).error_left.load(); }

void ForgetSocket(int fd) {
  FactsOf(fd).error_left.store(0);
  FactsOf(fd).no_signals.store(false);
}

int DoubleSocket(const SystemHabits& habits, int family, int type,
                 int protocol) {
  int fd = socket(family, type, protocol);
  if (fd >= 0 && IsStream(fd)) SetBuffers(habits, fd);
  return fd;
}

int DoubleAccept(const SystemHabits& habits, int listener, int flags) {
  int fd = accept4(listener, nullptr, nullptr, flags);
  if (fd < 0) {
    if (errno == EMFILE && habits.accept_drops) {
      DropConnection(listener);
      errno = EMFILE;
    }
    return -1;
  }
  SetBuffers(habits, fd);
  int inherited = fcntl(listener, F_GETFL) & O_NONBLOCK;
  if (inherited != 0) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

int DoubleClose(const SystemHabits& habits, int fd) {
  std::array<char, 4096> unread;
  while (habits.close_sends_fin && IsStream(fd) &&
         recv(fd, unread.data(), unread.size(), MSG_DONTWAIT) > 0) {
  }
  return close(fd);
}

int DoubleGetpeername(const SystemHabits& habits, int fd, sockaddr* address,
                      socklen_t* length) {
  if (habits.shut_is_shut && IsStream(fd) && BothAreShut(fd)) {
    return Fail(EINVAL);
  }
  return getpeername(fd, address, length);
}

int DoubleGetsockopt(int fd, int level, int name, void* value,
                     socklen_t* length) {
  int result = getsockopt(fd, level, name, value, length);
  if (result == 0 && level == SOL_SOCKET && name == SO_ERROR) {
    int left = TakeErrorLeftOn(fd);
    if (left != 0) *static_cast<int*>(value) = left;
  }
  return result;
}

int DoubleSetsockopt(const SystemHabits& habits, int fd, int level, int name,
                     const void* value, socklen_t length) {
  if (habits.shut_is_shut && IsStream(fd) && BothAreShut(fd)) {
    return Fail(EINVAL);
  }
  if (level == SOL_SOCKET && name == kNoSigpipe) {
    FactsOf(fd).no_signals.store(*static_cast<const int*>(value) != 0);
    return 0;
  }
  return setsockopt(fd, level, name, value, length);
}

int DoubleShutdown(const SystemHabits& habits, int fd, int how) {
  if (habits.shut_is_shut && IsStream(fd)) {
    // An unconnected socket is hung up, too, and its input is not shut.
    if ((StateOf(fd) & POLLHUP) != 0 && !InputIsShut(fd)) return Fail(ENOTCONN);
    if (how != SHUT_WR) {
      if (InputIsShut(fd)) return Fail(ENOTCONN);
      if (shutdown(fd, SHUT_RD) < 0) return -1;
    }
    if (how == SHUT_RD) return 0;
    return OutputIsShut(fd) ? Fail(ENOTCONN) : shutdown(fd, SHUT_WR);
  }
  int result = shutdown(fd, how);
  return habits.shutdown_needs_no_peer && result < 0 && errno == ENOTCONN
             ? 0
             : result;
}

ssize_t DoubleRecv(int fd, void* buffer, size_t size, int flags) {
  return Receive(fd, flags, [&] { return recv(fd, buffer, size, flags); });
}

ssize_t DoubleRecvmsg(int fd, msghdr* message, int flags) {
  return Receive(fd, flags, [&] { return recvmsg(fd, message, flags); });
}

int DoubleRecvmmsg(const SystemHabits& habits, int fd, mmsghdr* messages,
                   unsigned count, int flags) {
  return Batch(habits, fd, messages, count, [fd, flags](msghdr* message) {
    return DoubleRecvmsg(fd, message, flags);
  });
}

ssize_t DoubleSend(int fd, const void* buffer, size_t size, int flags) {
  return DoubleSendto(fd, buffer, size, flags, nullptr, 0);
}

ssize_t DoubleSendto(int fd, const void* buffer, size_t size, int flags,
                     const sockaddr* target, socklen_t length) {
  // The system writes through neither of them.
  iovec vector = {.iov_base = const_cast<void*>(buffer), .iov_len = size};
  msghdr message = {};
  message.msg_name = const_cast<sockaddr*>(target);
  message.msg_namelen = length;
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  return DoubleSendmsg(fd, &message, flags);
}

ssize_t DoubleSendmsg(int fd, const msghdr* message, int flags) {
  if (int left = TakeErrorLeftOn(fd); left != 0) return Fail(left);
  if (IsTooLong(fd, *message)) return Fail(EMSGSIZE);
  ssize_t result =
      sendmsg(fd, message, (flags & ~kSendFlagsOfLinuxOnly) | MSG_NOSIGNAL);
  if (result < 0 && errno == EPIPE && (flags & MSG_NOSIGNAL) == 0 &&
      !FactsOf(fd).no_signals.load()) {
    std::raise(SIGPIPE);
    errno = EPIPE;
  }
  return result;
}

int DoubleSendmmsg(const SystemHabits& habits, int fd, mmsghdr* messages,
                   unsigned count, int flags) {
  return Batch(habits, fd, messages, count, [fd, flags](const msghdr* message) {
    return DoubleSendmsg(fd, message, flags);
  });
}

}  // namespace aios::test
