#include "sim/raw_sockets.h"

#include <algorithm>

#include "sim/sim_kernel.h"
#include "sim/tcp.h"

namespace aios::sim {

namespace {

// As Linux has them.
constexpr size_t kSendBufferMin = 4608;
constexpr size_t kReceiveBufferMin = 2304;

}  // namespace

RawSockets::RawSockets(Host& host) : kernel_(*host.kernel_) {}

Handle RawSockets::Open(SocketType type, Family family) {
  Handle handle = kNoHandle;
  if (kernel_.Open(type, family, &handle).ok()) SetBlocking(handle, true);
  return handle;
}

Handle RawSockets::OpenForeign(Error error) {
  Handle handle = Open(SocketType::kStream, Family::kIpv4);
  if (SimSocket* socket = kernel_.Find(handle)) socket->foreign = error;
  return handle;
}

Handle RawSockets::Closed() const {
  // Handles count upwards, from life to life.
  return kernel_.base_ - 1;
}

bool RawSockets::IsBlocking(Handle handle) const {
  SimSocket* socket = kernel_.Find(handle);
  return socket != nullptr && socket->blocking;
}

void RawSockets::SetBlocking(Handle handle, bool blocking) {
  if (SimSocket* socket = kernel_.Find(handle)) socket->blocking = blocking;
}

Handle RawSockets::Duplicate(Handle handle) {
  if (kernel_.Find(handle) == nullptr || !kernel_.DescriptorLeft()) {
    return kNoHandle;
  }
  return kernel_.NewHandle(
      kernel_.sockets_[static_cast<size_t>(handle - kernel_.base_)]);
}

void RawSockets::SetSendBuffer(Handle handle, size_t bytes) {
  SimSocket* socket = kernel_.Find(handle);
  if (socket == nullptr) return;
  socket->send_capacity = std::max(bytes, kSendBufferMin);
  if (socket->tcp != nullptr) {
    socket->tcp->SetCapacities(socket->send_capacity, socket->receive_capacity);
  }
}

void RawSockets::SetReceiveBuffer(Handle handle, size_t bytes) {
  SimSocket* socket = kernel_.Find(handle);
  if (socket == nullptr) return;
  socket->receive_capacity = std::max(bytes, kReceiveBufferMin);
  if (socket->tcp != nullptr) {
    socket->tcp->SetCapacities(socket->send_capacity, socket->receive_capacity);
  }
}

void RawSockets::CloseWithReset(Handle handle) {
  SimSocket* socket = kernel_.Find(handle);
  if (socket == nullptr) return;
  if (socket->handles == 1 && socket->tcp != nullptr) {
    kernel_.Log(What::kReset, *socket, Error());
    std::exchange(socket->tcp, nullptr)->Reset();
  }
  kernel_.Close(handle);
}

}  // namespace aios::sim
