// Making states for UDP sockets.

#ifndef AIOS_UDP_H_
#define AIOS_UDP_H_

#include <any>
#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/async_io_state.h"
#include "aios/host_spec.h"
#include "aios/io_result.h"
#include "aios/wait_state_collection.h"

namespace aios {

// For `OpenUdp` and `ConnectUdp`. Sends wait their turn unless `queue_output`
// is false: the opposite default of TCP.
struct UdpOptions {
  std::string name = {};
  // `ConnectUdp` takes no `kBoth`.
  Ipv6 ipv6 = Ipv6::kAny;
  bool queue_output = true;
  absl::Duration read_timeout = absl::InfiniteDuration();
  absl::Duration write_timeout = absl::InfiniteDuration();
  std::any user_info = {};
  // Within which `ConnectUdp` must have looked a name up. Not positive:
  // InvalidArgument.
  absl::Duration connect_timeout = absl::InfiniteDuration();
  // The local end; bound when either is given. An address, or a name that is
  // known without asking a name server (docs/names.md). A port has one socket
  // at a time: two would take each other's datagrams.
  std::optional<HostSpec> local_address = {};
  std::optional<Service> local_port = {};
};

// Makes an unconnected UDP socket and its state, for `ReceiveMessages`,
// `ReceiveMessage` and `SendMessageToAddress`. Errors: InvalidArgument for
// malformed options, and what the kernel says, such as a port in use. The
// reference's `errorp` has no counterpart: a caller who wants no state in place
// of an error ignores the status. Lisp: `create-async-io-state-and-udp-socket`.
absl::StatusOr<std::unique_ptr<AsyncIoState>> OpenUdp(
    WaitStateCollection& collection, UdpOptions options = {});

// Makes a UDP socket whose peer is fixed: `SendMessage` sends there, and only
// what comes from there is received. `host` is an address, or a name that is
// known without asking a name server (docs/names.md): FailedPrecondition for
// other names. Errors: as `OpenUdp`.
// Lisp: `create-async-io-state-and-connected-udp-socket`.
absl::StatusOr<std::unique_ptr<AsyncIoState>> ConnectUdp(
    WaitStateCollection& collection, const HostSpec& host,
    const Service& service, UdpOptions options = {});

// The same for any name: returns a new state at once, looks the name up in the
// background and connects to the best address to which there is a way.
// `callback` is called once, as that of `ConnectTcp`; until then operations are
// refused.
absl::StatusOr<std::unique_ptr<AsyncIoState>> ConnectUdpInBackground(
    WaitStateCollection& collection, const HostSpec& host,
    const Service& service, IoCallback callback, UdpOptions options = {});

// Its short name, as a template: options in braces must not be taken for a
// callback.
template <std::invocable<AsyncIoState&, const IoResult&> Callback>
absl::StatusOr<std::unique_ptr<AsyncIoState>> ConnectUdp(
    WaitStateCollection& collection, const HostSpec& host,
    const Service& service, Callback callback, UdpOptions options = {}) {
  return ConnectUdpInBackground(collection, host, service,
                                IoCallback(std::move(callback)),
                                std::move(options));
}

}  // namespace aios

#endif  // AIOS_UDP_H_
