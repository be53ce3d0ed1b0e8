// Addresses that users give for sockets that aios makes.

#ifndef AIOS_LOCAL_END_H_
#define AIOS_LOCAL_END_H_

#include <optional>

#include "absl/status/statusor.h"
#include "aios/address.h"
#include "aios/async_io_state.h"
#include "aios/event_loop.h"
#include "aios/host_spec.h"
#include "aios/kernel.h"

namespace aios {

// The address that is given literally; zones by name are asked of the kernel.
absl::StatusOr<SocketAddress> ResolveLiteral(Kernel& kernel,
                                             const HostSpec& host,
                                             const Service& service);

// The same, but the service may have a name.
absl::StatusOr<SocketAddress> ResolveAddress(EventLoop& loop,
                                             const HostSpec& host,
                                             const Service& service,
                                             SocketType type);

// The address that `host` is, or that is known of its name without asking a
// server: FailedPrecondition when nothing is known, NotFound when it is known
// that there is none in `family`.
absl::StatusOr<IpAddress> ResolveKnown(EventLoop& loop, const HostSpec& host,
                                       Family family);

// Where to bind: any address, or any port, in place of what is not given;
// nothing when neither is. InvalidArgument when the address is not of `family`
// (one of IPv4 is made a mapped one). Of names, what is known.
absl::StatusOr<std::optional<SocketAddress>> ResolveLocalEnd(
    EventLoop& loop, const std::optional<HostSpec>& address,
    const std::optional<Service>& port, SocketType type, Family family);

// The family of a socket: as `ipv6` says, or that of `address`, or IPv4.
// Malformed addresses are left to `ResolveLocalEnd`.
Family FamilyFor(EventLoop& loop, Ipv6 ipv6,
                 const std::optional<HostSpec>& address);

// Opens a socket that serves IPv6 only or both families, as `ipv6` says.
Error OpenSocket(Kernel& kernel, SocketType type, Family family, Ipv6 ipv6,
                 Handle* handle);

}  // namespace aios

#endif  // AIOS_LOCAL_END_H_
