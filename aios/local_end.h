// Addresses that users give for sockets that aios makes.

#ifndef AIOS_LOCAL_END_H_
#define AIOS_LOCAL_END_H_

#include <optional>

#include "absl/status/statusor.h"
#include "aios/address.h"
#include "aios/async_io_state.h"
#include "aios/host_spec.h"
#include "aios/kernel.h"

namespace aios {

// The address that is given literally; zones by name are asked of the kernel.
absl::StatusOr<SocketAddress> ResolveLiteral(Kernel& kernel,
                                             const HostSpec& host,
                                             const Service& service);

// Where to bind: any address, or any port, in place of what is not given;
// nothing when neither is. InvalidArgument when the address is not of `family`
// (one of IPv4 is made a mapped one).
absl::StatusOr<std::optional<SocketAddress>> ResolveLocalEnd(
    Kernel& kernel, const std::optional<HostSpec>& address,
    const std::optional<Service>& port, Family family);

// The family of a socket: as `ipv6` says, or that of `address`, or IPv4.
// Malformed addresses are left to `ResolveLocalEnd`.
Family FamilyFor(Kernel& kernel, Ipv6 ipv6,
                 const std::optional<HostSpec>& address);

// Opens a socket that serves IPv6 only or both families, as `ipv6` says.
Error OpenSocket(Kernel& kernel, SocketType type, Family family, Ipv6 ipv6,
                 Handle* handle);

}  // namespace aios

#endif  // AIOS_LOCAL_END_H_
