#include "aios/connect_tcp.h"

#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aios/duration.h"
#include "aios/event_loop.h"
#include "aios/local_end.h"
#include "aios/name_service.h"
#include "aios/operation_observer.h"
#include "aios/state_extras.h"
#include "aios/state_inline.h"
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
  std::unique_ptr<AsyncIoState> state =
      StateFactory::Make(collection, handle, target->family() == Family::kIpv6,
                         {.read_timeout = options.read_timeout,
                          .write_timeout = options.write_timeout,
                          .user_info = std::move(options.user_info),
                          .ipv6 = target->family() == Family::kIpv6,
                          .name = std::move(options.name),
                          .queue_output = options.queue_output});
  StateFactory::Connect(*state, *target, ToNanoseconds(options.connect_timeout),
                        std::move(callback), error);
  return state;
}

void StateFactory::Connect(AsyncIoState& state, const SocketAddress& target,
                           Nanoseconds timeout, IoCallback callback,
                           Error error) {
  state.Extras().connect_callback = std::move(callback);
  state.extras_->connect_target = target;
  state.connecting_ = true;
  state.TellStartOfConnect(OperationKind::kConnectTcp, timeout);
  if (error.ok()) {
    error = state.loop()->kernel().Connect(state.Watcher::handle(), target);
  }
  if (error.code() == EINPROGRESS) {
    EventLoop& loop = *state.loop();
    state.SetDeadline(loop, AsyncIoState::kWriteDeadline, timeout);
    state.UpdateInterest(loop);
  } else {
    state.CompleteConnect(error.ok() ? IoStatus::kOk : IoStatus::kError, error);
  }
}

absl::StatusOr<std::unique_ptr<AsyncIoState>> StateFactory::ConnectByName(
    WaitStateCollection& collection, OperationKind kind, ConnectPlan plan,
    Nanoseconds timeout, IoCallback callback,
    CreateAsyncIoStateOptions options) {
  std::unique_ptr<AsyncIoState> state =
      Make(collection, kNoHandle, /*socket_ipv6=*/false, std::move(options));
  StateExtras& extras = state->Extras();
  extras.race = std::make_unique<ConnectRace>(*state, std::move(plan));
  extras.connect_callback = std::move(callback);
  state->connecting_ = true;
  state->TellStartOfConnect(kind, timeout);
  state->SetDeadline(*state->loop(), AsyncIoState::kWriteDeadline, timeout);
  absl::Status status = extras.race->Start(*state->loop());
  if (!status.ok()) return status;
  return state;
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

void AsyncIoState::TellStartOfConnect(OperationKind kind, Nanoseconds timeout) {
  EventLoop& loop = *this->loop();
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    observer->OnStart({.operation = extras_.get(),
                       .state = this,
                       .kind = kind,
                       .poller = &loop.poller(),
                       .handle = handle(),
                       .datagrams = udp_ != Udp::kNo,
                       .time = loop.Now(),
                       .timeout = timeout});
  }
}

void AsyncIoState::RaceIsOver(Handle handle, Family family, Error error) {
  if (handle == kNoHandle) {
    CompleteConnect(IoStatus::kError, error);
    return;
  }
  loop()->Attach(*this, handle);
  ipv6_ = family == Family::kIpv6;
  socket_ipv6_ = ipv6_;
  CompleteConnect(IoStatus::kOk);
}

void AsyncIoState::FinishConnect() {
  if (extras_->race != nullptr) {
    extras_->race->LookAgain();
    return;
  }
  Kernel& kernel = loop()->kernel();
  if (Error error = kernel.TakeError(Watcher::handle()); !error.ok()) {
    CompleteConnect(IoStatus::kError, error);
    return;
  }
  // A spurious report finds no error either: only a peer proves the connection.
  SocketAddress peer;
  if (kernel.PeerAddress(Watcher::handle(), &peer).ok())
    CompleteConnect(IoStatus::kOk);
}

void AsyncIoState::CompleteConnect(IoStatus status, Error error) {
  EventLoop& loop = *this->loop();
  if (extras_->connect_ticket != kNoTicket) return;
  if (status != IoStatus::kOk) extras_->connect_detail = DescribeConnect(error);
  if (extras_->race != nullptr) extras_->race->Stop();
  ClearDeadline(loop, kWriteDeadline);
  extras_->connect_result.status = status;
  extras_->connect_result.error = error;
  read_status_ = status;
  write_status_ = status;
  read_error_ = error.code();
  write_error_ = error.code();
  if (status == IoStatus::kOk) {
    loop.Want(*this, kNotReady);
  } else {
    DropSocket();
  }
  extras_->connect_ticket = loop.Complete(&AsyncIoState::RunConnect, this);
}

// Why there is no connection; `error` is none when there was no answer in time.
std::string AsyncIoState::DescribeConnect(Error error) const {
  if (extras_->race != nullptr) return extras_->race->Describe();
  const SocketAddress& target = extras_->connect_target;
  return absl::StrCat("no connection to ", target.ip().ToString(), ", port ",
                      target.port(), ": ",
                      error.ok() ? "no answer yet" : error.Message());
}

void AsyncIoState::DropSocket() {
  EventLoop& loop = *this->loop();
  Handle handle = Watcher::handle();
  unconnected_ = true;
  if (handle == kNoHandle) return;
  loop.Detach(*this);
  loop.kernel().Close(handle);
}

void AsyncIoState::RunConnect(void* object) {
  auto& state = *static_cast<AsyncIoState*>(object);
  state.connecting_ = false;
  state.extras_->connect_ticket = kNoTicket;
  IoCallback callback = std::move(state.extras_->connect_callback);
  IoResult result = state.extras_->connect_result;
  state.extras_->race.reset();
  std::string detail = std::move(state.extras_->connect_detail);
  result.detail = detail;
  if (OperationObserver* observer = state.loop()->observer()) [[unlikely]] {
    observer->OnEnd(state.extras_.get(), OperationObserver::End::kCallback,
                    result);
  }
  state.Invoke(callback, {}, result);
}

}  // namespace aios
