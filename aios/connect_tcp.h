// Making a state and a TCP connection for it.

#ifndef AIOS_CONNECT_TCP_H_
#define AIOS_CONNECT_TCP_H_

#include <any>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/async_io_state.h"
#include "aios/host_spec.h"
#include "aios/io_result.h"
#include "aios/wait_state_collection.h"

namespace aios {

struct ConnectTcpOptions {
  absl::Duration read_timeout = absl::InfiniteDuration();
  absl::Duration write_timeout = absl::InfiniteDuration();
  std::any user_info = {};
  // Within which the connection must be made. Zero: InvalidArgument.
  absl::Duration connect_timeout = absl::InfiniteDuration();
  // The local end, when given: an address, or a name that is known without
  // asking a name server (docs/names.md), such as "localhost". With a host name
  // to connect to, only its addresses of the same family are tried; of another
  // family than the address to connect to, it is InvalidArgument.
  //
  // A port (not 0) may be that of other connections of aios to other peers, and
  // all attempts to reach a name have the same. It cannot be the port of a
  // listener that does not share it (`AcceptTcpOptions::reuseport`), or one
  // that a socket of other code has bound (EADDRINUSE), and between two
  // addresses and ports there is one connection at a time: while there is one,
  // and on some systems for a minute or two after this end has closed it,
  // another one is EADDRNOTAVAIL or EADDRINUSE. These errors come to the
  // callback at once; nothing is tried again.
  std::optional<HostSpec> local_address = {};
  std::optional<Service> local_port = {};
  bool keepalive = false;
  bool nodelay = true;
  std::string name = {};
  bool queue_output = false;
};

// Returns a new state at once and connects it in the background. `callback` is
// called once: with `kOk`, `kTimeout`, or `kError` and the reason. Operations
// can be started from then on, if it succeeded; until then they are refused. An
// `Abort` in any direction cancels the connect. After a failure the state has
// no socket any more and is only good for closing.
//
// A host name is looked up in IPv6 and IPv4, and its addresses are tried one
// after the other, 250 ms apart or as soon as one has failed, until one is
// connected (RFC 8305, "Happy Eyeballs"); the others are closed. The timeout
// counts the lookup and all attempts. When none is connected the error is that
// of the last attempt, or of the lookup when there was none. `IoResult::detail`
// names every address that was tried, and what was wrong with it.
//
// Lack of memory in the system (ENOBUFS, ENOMEM) fails an attempt like any
// other reason: nothing has begun that could go on.
//
// A connection to itself. Where nobody listens, and the port is one of those
// that the system gives to sockets that ask for none (on Linux 32768 to 60999),
// it may give this very port to the new socket, if the address is of this
// machine; then TCP connects the socket to itself, and what is written is read
// again. aios does not look for this, because it would cost every connection a
// kernel call, and the cure is to let services listen on ports outside that
// range. A program that goes on connecting until its own service is there, and
// cannot do so, compares `AsyncIoState::address` with `peer_address`.
//
// Errors of the call: InvalidArgument for a malformed host, service or option,
// NotFound for a service that does not exist, ResourceExhausted when too many
// lookups wait; what the socket or the lookup says comes to the callback. A
// call that is refused destroys the callback, and what it captured. Lisp:
// `create-async-io-state-and-connected-tcp-socket`.
absl::StatusOr<std::unique_ptr<AsyncIoState>> ConnectTcp(
    WaitStateCollection& collection, const HostSpec& host,
    const Service& service, IoCallback callback,
    ConnectTcpOptions options = {});

}  // namespace aios

#endif  // AIOS_CONNECT_TCP_H_
