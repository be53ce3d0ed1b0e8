#include "aios/udp.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "aios/duration.h"
#include "aios/local_end.h"
#include "aios/name_service.h"
#include "aios/state/factory.h"
#include "aios/text.h"

namespace aios {

namespace {

// What both functions share; `target` is null for an unconnected socket.
absl::StatusOr<std::unique_ptr<AsyncIoState>> MakeUdp(
    WaitStateCollection& collection, Family family, const SocketAddress* target,
    UdpOptions& options) {
  EventLoop& loop = StateFactory::Loop(collection);
  Kernel& kernel = loop.kernel();
  if (options.read_timeout < absl::ZeroDuration() ||
      options.write_timeout < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("a timeout is negative");
  }
  absl::StatusOr<std::optional<SocketAddress>> local =
      ResolveLocalEnd(loop, options.local_address, options.local_port,
                      SocketType::kDatagram, family, options.ipv6);
  if (!local.ok()) return local.status();
  Handle handle = kNoHandle;
  Error error =
      OpenSocket(kernel, SocketType::kDatagram, family, options.ipv6, &handle);
  if (!error.ok()) return error.ToStatus("no socket");
  std::string what;
  if (local->has_value()) {
    error = kernel.Bind(handle, **local);
    what = absl::StrCat("cannot bind to ", (*local)->ToString());
  }
  if (error.ok() && target != nullptr) {
    error = kernel.Connect(handle, *target);
    what = absl::StrCat("cannot connect to ", target->ToString());
  }
  if (!error.ok()) {
    kernel.Close(handle);
    return error.ToStatus(what);
  }
  return StateFactory::Make(
      collection, handle, family == Family::kIpv6,
      {.read_timeout = options.read_timeout,
       .write_timeout = options.write_timeout,
       .user_info = std::move(options.user_info),
       .udp = target != nullptr ? Udp::kConnected : Udp::kUnconnected,
       .ipv6 = family == Family::kIpv6,
       .name = std::move(options.name),
       .queue_output = options.queue_output});
}

absl::Status WrongFamily(const SocketAddress& target) {
  return absl::InvalidArgumentError(absl::StrCat(
      target.ToString(), " is not of the family that `ipv6` asks for"));
}

// What both kinds of `ConnectUdp` refuse.
absl::Status CheckConnect(const UdpOptions& options) {
  if (options.ipv6 == Ipv6::kBoth) {
    return absl::InvalidArgumentError(
        "a connected socket has one peer; give Ipv6::kNo, kYes or kAny");
  }
  if (!(options.connect_timeout > absl::ZeroDuration())) {
    return absl::InvalidArgumentError("connect_timeout is not positive");
  }
  if (options.read_timeout < absl::ZeroDuration() ||
      options.write_timeout < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("a timeout is negative");
  }
  return absl::OkStatus();
}

absl::Status Refusal(const char* call, const std::string& name,
                     const absl::Status& why) {
  return absl::Status(why.code(), absl::StrCat(WithName(call, name),
                                               " refused: ", why.message()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<AsyncIoState>> OpenUdp(
    WaitStateCollection& collection, UdpOptions options) {
  std::string name = options.name;
  Family family = FamilyFor(StateFactory::Loop(collection), options.ipv6,
                            options.local_address);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      MakeUdp(collection, family, nullptr, options);
  if (!state.ok()) return Refusal("OpenUdp", name, state.status());
  return state;
}

absl::StatusOr<std::unique_ptr<AsyncIoState>> ConnectUdp(
    WaitStateCollection& collection, const HostSpec& host,
    const Service& service, UdpOptions options) {
  std::string name = options.name;
  auto make = [&]() -> absl::StatusOr<std::unique_ptr<AsyncIoState>> {
    if (absl::Status status = CheckConnect(options); !status.ok()) {
      return status;
    }
    EventLoop& loop = StateFactory::Loop(collection);
    Family family = FamilyFor(loop, options.ipv6, host);
    absl::StatusOr<IpAddress> ip = ResolveKnown(loop, host, family);
    if (!ip.ok()) return ip.status();
    absl::StatusOr<uint16_t> port =
        loop.names().Port(service, SocketType::kDatagram);
    if (!port.ok()) return port.status();
    SocketAddress target(*ip, *port);
    if (options.ipv6 != Ipv6::kAny && family != target.family()) {
      return WrongFamily(target);
    }
    return MakeUdp(collection, target.family(), &target, options);
  };
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state = make();
  if (!state.ok()) return Refusal("ConnectUdp", name, state.status());
  return state;
}

absl::StatusOr<std::unique_ptr<AsyncIoState>> ConnectUdpInBackground(
    WaitStateCollection& collection, const HostSpec& host,
    const Service& service, IoCallback callback, UdpOptions options) {
  std::string name = options.name;
  auto make = [&]() -> absl::StatusOr<std::unique_ptr<AsyncIoState>> {
    if (!callback) return absl::InvalidArgumentError("the callback is empty");
    if (absl::Status status = CheckConnect(options); !status.ok()) {
      return status;
    }
    EventLoop& loop = StateFactory::Loop(collection);
    loop.Enter();
    absl::StatusOr<uint16_t> port =
        loop.names().Port(service, SocketType::kDatagram);
    if (!port.ok()) return port.status();
    ConnectPlan plan = {.type = SocketType::kDatagram, .port = *port};
    plan.wanted[static_cast<size_t>(Family::kIpv4)] =
        options.ipv6 != Ipv6::kYes;
    plan.wanted[static_cast<size_t>(Family::kIpv6)] = options.ipv6 != Ipv6::kNo;
    if (IsName(host)) {
      plan.name = host.text();
    } else {
      absl::StatusOr<IpAddress> ip = ResolveKnown(loop, host, Family::kIpv4);
      if (!ip.ok()) return ip.status();
      if (!plan.wanted[static_cast<size_t>(ip->family())]) {
        return WrongFamily(SocketAddress(*ip, *port));
      }
      plan.address = *ip;
      plan.wanted = {ip->is_ipv4(), ip->is_ipv6()};
    }
    if (absl::Status status =
            PlanLocalEnd(loop, options.local_address, options.local_port, plan);
        !status.ok()) {
      return status;
    }
    return StateFactory::ConnectByName(
        collection, OperationKind::kConnectUdp, std::move(plan),
        ToNanoseconds(options.connect_timeout), std::move(callback),
        {.read_timeout = options.read_timeout,
         .write_timeout = options.write_timeout,
         .user_info = std::move(options.user_info),
         .udp = Udp::kConnected,
         .name = std::move(options.name),
         .queue_output = options.queue_output});
  };
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state = make();
  if (!state.ok()) return Refusal("ConnectUdp", name, state.status());
  return state;
}

}  // namespace aios
