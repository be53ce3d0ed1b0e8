#include "aios/local_end.h"

#include <string_view>
#include <utility>

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
  bool named = IsName(service);
  absl::StatusOr<SocketAddress> address =
      ResolveLiteral(loop.kernel(), host, named ? Service(0) : service);
  if (!address.ok()) return address.status();
  absl::StatusOr<uint16_t> port =
      named ? loop.names().Port(service, type) : address->port();
  if (!port.ok()) return port.status();
  return SocketAddress(address->ip().Unmapped(), *port);
}

absl::StatusOr<IpAddress> ResolveKnown(EventLoop& loop, const HostSpec& host,
                                       Family family) {
  if (!IsName(host)) {
    absl::StatusOr<SocketAddress> literal =
        ResolveLiteral(loop.kernel(), host, 0);
    if (!literal.ok()) return literal.status();
    return literal->ip().Unmapped();
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
  return known->destinations.front().ip.Unmapped();
}

absl::StatusOr<std::optional<SocketAddress>> ResolveLocalEnd(
    EventLoop& loop, const std::optional<HostSpec>& address,
    const std::optional<Service>& port, SocketType type, Family family,
    Ipv6 ipv6) {
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
  if (ipv6 != Ipv6::kBoth) {
    return absl::InvalidArgumentError(
        absl::StrCat("the socket is IPv6 only, its local address ",
                     ip->ToString(), " is IPv4"));
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
    // Under a name of IPv6 there may be mapped addresses.
    if (ip.ok()) return IsName(*address) ? family : ip->family();
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
  if (!error.ok()) kernel.Close(std::exchange(*handle, kNoHandle));
  return error;
}

Error OpenToConnect(Kernel& kernel, SocketType type, Family family,
                    const std::optional<SocketAddress>& local, Handle* handle) {
  if (!local.has_value()) return kernel.Open(type, family, handle);
  // For IPv6 only, so that somebody's port of IPv4 is not in the way.
  Error error = OpenSocket(kernel, type, family, Ipv6::kYes, handle);
  if (!error.ok()) return error;
  if (type == SocketType::kStream && local->port() != 0) {
    // The port is that of the other attempts to connect to a name, and of
    // connections to other peers that were there a minute ago. Linux lets it be
    // shared by the first option, the BSDs and macOS by the second, which not
    // every system has.
    error = kernel.SetOption(*handle, SocketOption::kReuseAddress, true);
    static_cast<void>(
        kernel.SetOption(*handle, SocketOption::kReusePort, true));
  }
  if (error.ok()) error = kernel.Bind(*handle, *local);
  if (!error.ok()) kernel.Close(std::exchange(*handle, kNoHandle));
  return error;
}

absl::Status PlanLocalEnd(EventLoop& loop,
                          const std::optional<HostSpec>& address,
                          const std::optional<Service>& port,
                          ConnectPlan& plan) {
  absl::Status failed;
  for (Family family : {Family::kIpv6, Family::kIpv4}) {
    size_t index = static_cast<size_t>(family);
    if (!plan.wanted[index]) continue;
    absl::StatusOr<std::optional<SocketAddress>> local =
        ResolveLocalEnd(loop, address, port, plan.type, family, Ipv6::kYes);
    if (local.ok()) {
      plan.local[index] = *local;
    } else {
      plan.wanted[index] = false;
      failed = local.status();
    }
  }
  return plan.wanted[0] || plan.wanted[1] ? absl::OkStatus() : failed;
}

}  // namespace aios
