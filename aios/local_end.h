// Addresses that users give for sockets that aios makes. A mapped address of
// IPv4 (::ffff:a.b.c.d) is that IPv4 address wherever one is given, so that
// every function has the same answer for it.

#ifndef AIOS_LOCAL_END_H_
#define AIOS_LOCAL_END_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aios/address.h"
#include "aios/async_io_state.h"
#include "aios/connect_race.h"
#include "aios/event_loop.h"
#include "aios/host_spec.h"
#include "aios/kernel.h"

namespace aios {

// The address that is given literally; zones by name are asked of the kernel.
// A mapped address stays one: it need not be for a socket.
absl::StatusOr<SocketAddress> ResolveLiteral(Kernel& kernel,
                                             const HostSpec& host,
                                             const Service& service);

// The same for a socket, and the service may have a name.
absl::StatusOr<SocketAddress> ResolveAddress(EventLoop& loop,
                                             const HostSpec& host,
                                             const Service& service,
                                             SocketType type);

// The address that `host` is, or that is known of its name without asking a
// server: FailedPrecondition when nothing is known, NotFound when it is known
// that there is none in `family`. A mapped one among those of IPv6 is of IPv4.
absl::StatusOr<IpAddress> ResolveKnown(EventLoop& loop, const HostSpec& host,
                                       Family family);

// Where to bind a socket of `family` that serves what `ipv6` says: any address,
// or any port, in place of what is not given; nothing when neither is.
// InvalidArgument when the address is not of `family`; but on a socket for both
// one of IPv4 is made a mapped one. Of names, what is known.
absl::StatusOr<std::optional<SocketAddress>> ResolveLocalEnd(
    EventLoop& loop, const std::optional<HostSpec>& address,
    const std::optional<Service>& port, SocketType type, Family family,
    Ipv6 ipv6);

// The family of a socket: as `ipv6` says, or that of `address`, or IPv4.
// Malformed addresses are left to `ResolveLocalEnd`.
Family FamilyFor(EventLoop& loop, Ipv6 ipv6,
                 const std::optional<HostSpec>& address);

// Opens a socket that serves IPv6 only or both families, as `ipv6` says. When
// it fails there is none.
Error OpenSocket(Kernel& kernel, SocketType type, Family family, Ipv6 ipv6,
                 Handle* handle);

// Opens one that is to be connected to an address of `family`, and binds it to
// `local` when there is one. A stream shares its port with other connections
// that were bound so. When it fails there is none.
Error OpenToConnect(Kernel& kernel, SocketType type, Family family,
                    const std::optional<SocketAddress>& local, Handle* handle);

// Binds the sockets of `plan`, as far as the local end is given, and drops the
// families that it rules out.
absl::Status PlanLocalEnd(EventLoop& loop,
                          const std::optional<HostSpec>& address,
                          const std::optional<Service>& port,
                          ConnectPlan& plan);

}  // namespace aios

#endif  // AIOS_LOCAL_END_H_
