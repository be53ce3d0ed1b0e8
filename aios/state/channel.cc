#include "aios/state/channel.h"

namespace aios {

std::optional<SocketAddress> Channel::LocalAddress() const {
  SocketAddress address;
  if (handle() == kNoHandle ||
      !loop()->kernel().LocalAddress(handle(), &address).ok()) {
    return std::nullopt;
  }
  return address;
}

std::optional<SocketAddress> Channel::PeerAddress() const {
  SocketAddress address;
  if (handle() == kNoHandle ||
      !loop()->kernel().PeerAddress(handle(), &address).ok()) {
    return std::nullopt;
  }
  return address;
}

void Channel::Attach(Handle handle, Family family) {
  loop()->Attach(*this, handle);
  ipv6_ = family == Family::kIpv6;
  socket_ipv6_ = ipv6_;
}

void Channel::Drop() {
  Handle handle = this->handle();
  if (handle == kNoHandle) return;
  loop()->Detach(*this);
  loop()->kernel().Close(handle);
}

Ticket Channel::QueueInputEnded(EventLoop& loop) {
  return loop.Complete(
      [](void* channel) { static_cast<Channel*>(channel)->OnInputEnded(); },
      this);
}

Ticket Channel::QueueConnectEnded(EventLoop& loop) {
  return loop.Complete(
      [](void* channel) { static_cast<Channel*>(channel)->OnConnectEnded(); },
      this);
}

}  // namespace aios
