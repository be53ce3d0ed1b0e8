#include "aios/udp.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "aios/local_end.h"
#include "aios/state_extras.h"

namespace aios {

namespace {

// What both functions share; `target` is null for an unconnected socket.
absl::StatusOr<std::unique_ptr<AsyncIoState>> MakeUdp(
    WaitStateCollection& collection, Family family, const SocketAddress* target,
    UdpOptions& options) {
  Kernel& kernel = collection.kernel();
  if (options.read_timeout < absl::ZeroDuration() ||
      options.write_timeout < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("a timeout is negative");
  }
  absl::StatusOr<std::optional<SocketAddress>> local = ResolveLocalEnd(
      kernel, options.local_address, options.local_port, family);
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

absl::Status Refusal(const char* call, const std::string& name,
                     const absl::Status& why) {
  return absl::Status(why.code(), absl::StrCat(call, " \"", name,
                                               "\" refused: ", why.message()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<AsyncIoState>> OpenUdp(
    WaitStateCollection& collection, UdpOptions options) {
  std::string name = options.name;
  Family family =
      FamilyFor(collection.kernel(), options.ipv6, options.local_address);
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
    if (options.ipv6 == Ipv6::kBoth) {
      return absl::InvalidArgumentError(
          "a connected socket has one peer; give Ipv6::kNo, kYes or kAny");
    }
    absl::StatusOr<SocketAddress> target =
        ResolveLiteral(collection.kernel(), host, service);
    if (!target.ok()) return target.status();
    Family family = options.ipv6 == Ipv6::kAny
                        ? target->family()
                        : FamilyFor(collection.kernel(), options.ipv6, {});
    if (family != target->family()) {
      return absl::InvalidArgumentError(
          absl::StrCat(target->ToString(),
                       " is not of the family that `ipv6` "
                       "asks for"));
    }
    return MakeUdp(collection, family, &*target, options);
  };
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state = make();
  if (!state.ok()) return Refusal("ConnectUdp", name, state.status());
  return state;
}

}  // namespace aios
