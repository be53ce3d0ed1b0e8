#include "aios/local_end.h"

#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace aios {

absl::StatusOr<SocketAddress> ResolveLiteral(Kernel& kernel,
                                             const HostSpec& host,
                                             const Service& service) {
  return LiteralSocketAddress(host, service, [&kernel](std::string_view name) {
    return kernel.InterfaceIndex(name);
  });
}

absl::StatusOr<std::optional<SocketAddress>> ResolveLocalEnd(
    Kernel& kernel, const std::optional<HostSpec>& address,
    const std::optional<Service>& port, Family family) {
  if (!address.has_value() && !port.has_value()) return std::nullopt;
  absl::StatusOr<SocketAddress> end = ResolveLiteral(
      kernel, address.value_or(IpAddress::Any(family)), port.value_or(0));
  if (!end.ok()) return end.status();
  if (end->family() == family) return *end;
  if (family == Family::kIpv4) {
    return absl::InvalidArgumentError(
        absl::StrCat("the socket is IPv4, its local address ",
                     end->ip().ToString(), " is IPv6"));
  }
  return SocketAddress(end->ip().ToIpv4Mapped(), end->port());
}

Family FamilyFor(Kernel& kernel, Ipv6 ipv6,
                 const std::optional<HostSpec>& address) {
  switch (ipv6) {
    case Ipv6::kNo:
      return Family::kIpv4;
    case Ipv6::kYes:
    case Ipv6::kBoth:
      return Family::kIpv6;
    case Ipv6::kAny:
      break;
  }
  if (!address.has_value()) return Family::kIpv4;
  absl::StatusOr<SocketAddress> literal = ResolveLiteral(kernel, *address, 0);
  return literal.ok() ? literal->family() : Family::kIpv4;
}

Error OpenSocket(Kernel& kernel, SocketType type, Family family, Ipv6 ipv6,
                 Handle* handle) {
  Error error = kernel.Open(type, family, handle);
  if (!error.ok() || family != Family::kIpv6) return error;
  // Said explicitly either way: the default differs between systems.
  error =
      kernel.SetOption(*handle, SocketOption::kIpv6Only, ipv6 != Ipv6::kBoth);
  if (!error.ok()) kernel.Close(*handle);
  return error;
}

}  // namespace aios
