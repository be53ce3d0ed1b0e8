// Included by the compiler before backends/posix_socket.cc, when that is built
// for a flavour of the double: takes away what the headers of its system lack,
// and puts the calls of the socket double in the place of the system's.

#ifndef AIOS_TESTS_KQUEUE_DOUBLE_SOCKET_CALLS_H_
#define AIOS_TESTS_KQUEUE_DOUBLE_SOCKET_CALLS_H_

// All that has these names for itself.
#include <sys/socket.h>
#include <unistd.h>

#include "backends/posix_socket.h"
#include "tests/kqueue_double/socket_double.h"

#define SO_NOSIGPIPE aios::test::kNoSigpipe

#if !AIOS_SYSTEM_HAS_SOCKET_FLAGS
#undef SOCK_NONBLOCK
#undef SOCK_CLOEXEC
#endif

#if !AIOS_SYSTEM_HAS_MSG_NOSIGNAL
#undef MSG_NOSIGNAL
#endif

#if AIOS_SYSTEM_HAS_ACCEPT4
#define accept4(listener, address, length, flags) \
  aios::test::DoubleAccept(AIOS_SYSTEM_HABITS, listener, flags)
#else
// A name that is not declared anywhere.
#define accept4 no_accept4
#endif

#define socket(...) aios::test::DoubleSocket(AIOS_SYSTEM_HABITS, __VA_ARGS__)
#define accept(listener, address, length) \
  aios::test::DoubleAccept(AIOS_SYSTEM_HABITS, listener, 0)
#define close(fd) aios::test::DoubleClose(AIOS_SYSTEM_HABITS, fd)
#define getpeername(...) \
  aios::test::DoubleGetpeername(AIOS_SYSTEM_HABITS, __VA_ARGS__)
#define getsockopt(...) aios::test::DoubleGetsockopt(__VA_ARGS__)
#define setsockopt(...) \
  aios::test::DoubleSetsockopt(AIOS_SYSTEM_HABITS, __VA_ARGS__)
#define shutdown(...) \
  aios::test::DoubleShutdown(AIOS_SYSTEM_HABITS, __VA_ARGS__)
#define recv(...) aios::test::DoubleRecv(__VA_ARGS__)
#define recvmsg(...) aios::test::DoubleRecvmsg(__VA_ARGS__)
#define recvmmsg(fd, messages, count, flags, timeout) \
  aios::test::DoubleRecvmmsg(AIOS_SYSTEM_HABITS, fd, messages, count, flags)
#define send(...) aios::test::DoubleSend(__VA_ARGS__)
#define sendto(...) aios::test::DoubleSendto(__VA_ARGS__)
#define sendmsg(...) aios::test::DoubleSendmsg(__VA_ARGS__)
#define sendmmsg(...) \
  aios::test::DoubleSendmmsg(AIOS_SYSTEM_HABITS, __VA_ARGS__)

#endif  // AIOS_TESTS_KQUEUE_DOUBLE_SOCKET_CALLS_H_
