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
  // The local end, when given; a literal address.
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
// no socket any more and is only good for closing. `host` must be a literal
// address for now. Errors of the call: InvalidArgument for a malformed host,
// service or option; what the socket says comes to the callback. Lisp:
// `create-async-io-state-and-connected-tcp-socket`.
absl::StatusOr<std::unique_ptr<AsyncIoState>> ConnectTcp(
    WaitStateCollection& collection, const HostSpec& host,
    const Service& service, IoCallback callback,
    ConnectTcpOptions options = {});

}  // namespace aios

#endif  // AIOS_CONNECT_TCP_H_
