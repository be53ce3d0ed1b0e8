#include "aios/local_end.h"

#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "aios/name_service.h"

namespace aios {

absl::StatusOr<SocketAddress> ResolveLiteral(Kernel& kernel,
                                             const HostSpec& host,
                                             const Service& service) {
  return LiteralSocketAddress(host, service, [&kernel](std::string_view name) {
    return kernel.InterfaceIndex(name);
  });
}

absl::StatusOr<SocketAddress> ResolveAddress(EventLoop& loop,
                                             const HostSpec& host,
                                             const Service& service,
                                             SocketType type) {
  if (!IsName(service)) return ResolveLiteral(loop.kernel(), host, service);
  absl::StatusOr<SocketAddress> address =
      ResolveLiteral(loop.kernel(), host, 0);
  if (!address.ok()) return address.status();
  absl::StatusOr<uint16_t> port = loop.names().Port(service, type);
  if (!port.ok()) return port.status();
  return SocketAddress(address->ip(), *port);
}

absl::StatusOr<IpAddress> ResolveKnown(EventLoop& loop, const HostSpec& host,
                                       Family family) {
  if (!IsName(host)) {
    absl::StatusOr<SocketAddress> literal =
        ResolveLiteral(loop.kernel(), host, 0);
    if (!literal.ok()) return literal.status();
    return literal->ip();
  }
  const Answer* known = loop.names().Known(host.text(), family);
  if (known == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("host name ", host.ToString(),
                     " is not known without asking a name server; look it up "
                     "first, with LookUp"));
  }
  if (!known->error.ok()) {
    return absl::NotFoundError(NameFailure(host.text(), known->error));
  }
  return known->destinations.front().ip;
}

absl::StatusOr<std::optional<SocketAddress>> ResolveLocalEnd(
    EventLoop& loop, const std::optional<HostSpec>& address,
    const std::optional<Service>& port, SocketType type, Family family) {
  if (!address.has_value() && !port.has_value()) return std::nullopt;
  absl::StatusOr<IpAddress> ip =
      ResolveKnown(loop, address.value_or(IpAddress::Any(family)), family);
  if (!ip.ok()) return ip.status();
  absl::StatusOr<uint16_t> number = loop.names().Port(port.value_or(0), type);
  if (!number.ok()) return number.status();
  if (ip->family() == family) return SocketAddress(*ip, *number);
  if (family == Family::kIpv4) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the socket is IPv4, its local address ", ip->ToString(), " is IPv6"));
  }
  return SocketAddress(ip->ToIpv4Mapped(), *number);
}

Family FamilyFor(EventLoop& loop, Ipv6 ipv6,
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
  for (Family family : {Family::kIpv4, Family::kIpv6}) {
    absl::StatusOr<IpAddress> ip = ResolveKnown(loop, *address, family);
    if (ip.ok()) return ip->family();
  }
  return Family::kIpv4;
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
