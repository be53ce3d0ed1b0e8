// A double of the socket calls of systems other than Linux, over those of
// Linux, as far as they differ in what nobody sees in a header. It replaces the
// calls of backends/posix_socket.cc alone (socket_calls.h), so peers and tests
// that use sockets directly meet Linux.
//
// In every flavour: an error that the network has left comes when there is no
// datagram any more; looking (MSG_PEEK) leaves it there; an accepted socket
// inherits O_NONBLOCK; MSG_DONTWAIT means nothing to a send; a broken pipe
// raises SIGPIPE where neither the call nor the socket (SO_NOSIGPIPE) forbids
// it; a datagram of more than 9,216 bytes is refused until the socket has been
// given a buffer for sending.

#ifndef AIOS_TESTS_KQUEUE_DOUBLE_SOCKET_DOUBLE_H_
#define AIOS_TESTS_KQUEUE_DOUBLE_SOCKET_DOUBLE_H_

#include <sys/socket.h>
#include <sys/types.h>

namespace aios::test {

// What differs between the systems of the flavours.
struct SystemHabits {
  // sendmmsg and recvmmsg leave each error on the socket, EAGAIN included.
  bool batches_leave_errors = false;
  // A close with unread input tells the peer by FIN, not by RST.
  bool close_sends_fin = false;
  // shutdown of a socket without a peer is OK.
  bool shutdown_needs_no_peer = false;
  // shutdown of what is shut down already is ENOTCONN, and what else it was to
  // shut down is not. When both directions are, there are no options (EINVAL)
  // and no peer (EINVAL) any more.
  bool shut_is_shut = false;
  // accept drops the connection for which there is no descriptor.
  bool accept_drops = false;
  // Of a new stream, for sending and for receiving. Those of Linux grow.
  int stream_buffer = 0;
};

inline constexpr SystemHabits kFreebsd = {.close_sends_fin = true,
                                          .stream_buffer = 32'768};
inline constexpr SystemHabits kNetbsd = {.batches_leave_errors = true,
                                         .close_sends_fin = true,
                                         .shutdown_needs_no_peer = true,
                                         .stream_buffer = 32'768};
inline constexpr SystemHabits kMacos = {
    .shut_is_shut = true, .accept_drops = true, .stream_buffer = 131'072};

// A system that has it has some value for it.
inline constexpr int kNoSigpipe = 0x1022;

// As the calls of these names: -1 and errno when they fail.
int DoubleSocket(const SystemHabits& habits, int family, int type,
                 int protocol);
int DoubleAccept(const SystemHabits& habits, int listener, int flags);
int DoubleClose(const SystemHabits& habits, int fd);
int DoubleGetpeername(const SystemHabits& habits, int fd, sockaddr* address,
                      socklen_t* length);
int DoubleGetsockopt(int fd, int level, int name, void* value,
                     socklen_t* length);
int DoubleSetsockopt(const SystemHabits& habits, int fd, int level, int name,
                     const void* value, socklen_t length);
int DoubleShutdown(const SystemHabits& habits, int fd, int how);
ssize_t DoubleRecv(int fd, void* buffer, size_t size, int flags);
ssize_t DoubleRecvmsg(int fd, msghdr* message, int flags);
int DoubleRecvmmsg(const SystemHabits& habits, int fd, mmsghdr* messages,
                   unsigned count, int flags);
ssize_t DoubleSend(int fd, const void* buffer, size_t size, int flags);
ssize_t DoubleSendto(int fd, const void* buffer, size_t size, int flags,
                     const sockaddr* target, socklen_t length);
ssize_t DoubleSendmsg(int fd, const msghdr* message, int flags);
int DoubleSendmmsg(const SystemHabits& habits, int fd, mmsghdr* messages,
                   unsigned count, int flags);

// The error that was left on the descriptor, or 0: it is ready in both
// directions then.
int ErrorLeftOn(int fd);
// Called when a descriptor is closed.
void ForgetSocket(int fd);

}  // namespace aios::test

#endif  // AIOS_TESTS_KQUEUE_DOUBLE_SOCKET_DOUBLE_H_
