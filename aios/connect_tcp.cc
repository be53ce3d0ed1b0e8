#include "aios/connect_tcp.h"

#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aios/duration.h"
#include "aios/event_loop.h"
#include "aios/local_end.h"
#include "aios/name_service.h"
#include "aios/state/connecting.h"
#include "aios/state/factory.h"
#include "aios/state/state.h"
#include "aios/text.h"

namespace aios {

absl::StatusOr<std::unique_ptr<AsyncIoState>> ConnectTcp(
    WaitStateCollection& collection, const HostSpec& host,
    const Service& service, IoCallback callback, ConnectTcpOptions options) {
  Kernel& kernel = collection.kernel();
  auto refuse = [&options](const absl::Status& why) {
    return absl::Status(why.code(),
                        absl::StrCat(WithName("ConnectTcp", options.name),
                                     " refused: ", why.message()));
  };
  if (!callback) {
    return refuse(absl::InvalidArgumentError("the callback is empty"));
  }
  if (options.connect_timeout <= absl::ZeroDuration()) {
    return refuse(
        absl::InvalidArgumentError("connect_timeout is not positive"));
  }
  if (options.read_timeout < absl::ZeroDuration() ||
      options.write_timeout < absl::ZeroDuration()) {
    return refuse(absl::InvalidArgumentError("a timeout is negative"));
  }
  EventLoop& loop = StateFactory::Loop(collection);
  loop.Enter();
  if (IsName(host)) {
    absl::StatusOr<uint16_t> port =
        loop.names().Port(service, SocketType::kStream);
    if (!port.ok()) return refuse(port.status());
    ConnectPlan plan = {.name = std::string(host.text()),
                        .port = *port,
                        .nodelay = options.nodelay,
                        .keepalive = options.keepalive};
    absl::Status status =
        PlanLocalEnd(loop, options.local_address, options.local_port, plan);
    if (!status.ok()) return refuse(status);
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        StateFactory::ConnectByName(
            collection, OperationKind::kConnectTcp, std::move(plan),
            ToNanoseconds(options.connect_timeout), std::move(callback),
            {.read_timeout = options.read_timeout,
             .write_timeout = options.write_timeout,
             .user_info = std::move(options.user_info),
             .name = options.name,
             .queue_output = options.queue_output});
    if (!state.ok()) return refuse(state.status());
    return state;
  }
  absl::StatusOr<SocketAddress> target =
      ResolveAddress(loop, host, service, SocketType::kStream);
  if (!target.ok()) return refuse(target.status());
  absl::StatusOr<std::optional<SocketAddress>> local =
      ResolveLocalEnd(loop, options.local_address, options.local_port,
                      SocketType::kStream, target->family(), Ipv6::kYes);
  if (!local.ok()) return refuse(local.status());

  Handle handle = kNoHandle;
  Error error = OpenToConnect(kernel, SocketType::kStream, target->family(),
                              *local, &handle);
  if (error.ok() && options.nodelay) {
    error = kernel.SetOption(handle, SocketOption::kNoDelay, true);
  }
  if (error.ok() && options.keepalive) {
    error = kernel.SetOption(handle, SocketOption::kKeepAlive, true);
  }
  std::unique_ptr<State> state =
      StateFactory::Make(collection, handle, target->family() == Family::kIpv6,
                         {.read_timeout = options.read_timeout,
                          .write_timeout = options.write_timeout,
                          .user_info = std::move(options.user_info),
                          .ipv6 = target->family() == Family::kIpv6,
                          .name = std::move(options.name),
                          .queue_output = options.queue_output});
  std::unique_ptr<Connecting>& connecting = state->Extras().connecting;
  connecting = std::make_unique<Connecting>(*state, state->input, state->output,
                                            std::move(callback));
  connecting->Start(*target, ToNanoseconds(options.connect_timeout), error);
  return state;
}

}  // namespace aios
