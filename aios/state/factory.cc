#include "aios/state/factory.h"

#include <any>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aios/duration.h"

namespace aios {

EventLoop& StateFactory::Loop(WaitStateCollection& collection) {
  return *collection.loop_;
}

std::unique_ptr<State> StateFactory::Make(WaitStateCollection& collection,
                                          Handle handle, bool socket_ipv6,
                                          CreateAsyncIoStateOptions&& options) {
  std::unique_ptr<State> state = Make(Loop(collection), handle, socket_ipv6);
  state->input.set_timeout(ToNanoseconds(options.read_timeout));
  state->output.set_timeout(ToNanoseconds(options.write_timeout));
  state->user_info_slot = std::move(options.user_info);
  state->set_udp(options.udp);
  state->set_ipv6(options.ipv6);
  if (options.queue_output) state->output.set_may_wait();
  if (!options.name.empty()) state->set_name(std::move(options.name));
  return state;
}

absl::StatusOr<std::unique_ptr<AsyncIoState>> StateFactory::ConnectByName(
    WaitStateCollection& collection, OperationKind kind, ConnectPlan plan,
    Nanoseconds timeout, IoCallback callback,
    CreateAsyncIoStateOptions options) {
  std::unique_ptr<State> state =
      Make(collection, kNoHandle, /*socket_ipv6=*/false, std::move(options));
  std::unique_ptr<Connecting>& connecting = state->Extras().connecting;
  connecting = std::make_unique<Connecting>(*state, state->input, state->output,
                                            std::move(callback));
  absl::Status status = connecting->StartByName(kind, std::move(plan), timeout);
  if (!status.ok()) return status;
  return state;
}

namespace {

// Takes what is in `object` and `options` when it succeeds.
absl::StatusOr<std::unique_ptr<AsyncIoState>> Adopt(
    WaitStateCollection& collection, SocketStreamObject& object,
    CreateAsyncIoStateOptions& options) {
  auto refuse = [&](auto... why) {
    return absl::InvalidArgumentError(
        absl::StrCat("CreateAsyncIoState refused: handle ", object.handle,
                     options.name.empty() ? "" : " for \"", options.name,
                     options.name.empty() ? "" : "\"", why...));
  };
  if (options.read_timeout < absl::ZeroDuration() ||
      options.write_timeout < absl::ZeroDuration()) {
    return refuse(
        ": a timeout is negative; give a length or absl::InfiniteDuration()");
  }
  if (object.pointer.has_value()) options.udp = Udp::kNo;
  SocketInfo info;
  if (Error error = collection.kernel().Adopt(object.handle, &info);
      !error.ok()) {
    return refuse(" cannot be used: ", error.Message());
  }
  const char* mistake = nullptr;
  bool datagram = info.type == SocketType::kDatagram;
  if (options.udp == Udp::kNo) {
    if (datagram) {
      mistake = " is a UDP socket; set `udp`";
    } else if (info.listening) {
      mistake = " is a listening socket; use AcceptTcpConnections";
    }
  } else if (!datagram) {
    mistake = " is a TCP socket; set `udp` to Udp::kNo";
  } else if (info.connected != (options.udp == Udp::kConnected)) {
    mistake = info.connected
                  ? " is a connected UDP socket; set `udp` to Udp::kConnected"
                  : " is an unconnected UDP socket; set `udp` to "
                    "Udp::kUnconnected";
  }
  if (mistake != nullptr) {
    collection.kernel().Release(object.handle);
    return refuse(mistake);
  }
  std::unique_ptr<State> state =
      StateFactory::Make(collection, object.handle,
                         info.family == Family::kIpv6, std::move(options));
  state->set_handle_given();
  if (!datagram && !info.connected) state->set_was_unconnected();
  if (object.pointer.has_value()) {
    StateExtras& extras = state->Extras();
    extras.object = std::move(object.pointer);
    extras.close_object = object.close;
  }
  return state;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AsyncIoState>> CreateAsyncIoState(
    WaitStateCollection& collection, Handle handle,
    CreateAsyncIoStateOptions options) {
  SocketStreamObject object{.handle = handle};
  return Adopt(collection, object, options);
}

absl::StatusOr<std::unique_ptr<AsyncIoState>> CreateAsyncIoStateOnStream(
    WaitStateCollection& collection, SocketStreamObject object,
    CreateAsyncIoStateOptions options) {
  return Adopt(collection, object, options);
}

}  // namespace aios
