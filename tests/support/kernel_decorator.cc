#include "tests/support/kernel_decorator.h"

#include <array>

namespace aios::test {

std::string_view CallName(KernelCall call) {
  static constexpr std::array<std::string_view, kKernelCallCount> kNames = {
      "Now",
      "Open",
      "Adopt",
      "Release",
      "Close",
      "SetOption",
      "GetOption",
      "Bind",
      "Listen",
      "Connect",
      "TakeError",
      "Accept",
      "LocalAddress",
      "PeerAddress",
      "Receive",
      "Peek",
      "Send",
      "ReceiveDatagram",
      "ReceiveDatagrams",
      "SendDatagrams",
      "Shutdown",
      "InterfaceIndex",
      "ReadFile",
      "NewPoller",
      "SetInterest",
      "Wait",
      "Wake",
  };
  return kNames[static_cast<size_t>(call)];
}

bool CanFail(KernelCall call) {
  switch (call) {
    case KernelCall::kNow:
    case KernelCall::kRelease:
    case KernelCall::kClose:
    case KernelCall::kWait:
    case KernelCall::kWake:
      return false;
    default:
      return true;
  }
}

Error KernelDecorator::Before(KernelCall, Handle) { return Error(); }
void KernelDecorator::After(KernelCall, Handle, Error) {}

template <typename Function>
Error KernelDecorator::Pass(KernelCall call, Handle handle, Function function) {
  Error error = Before(call, handle);
  if (error.ok()) error = function();
  After(call, handle, error);
  return error;
}

template <typename Function>
Transfer KernelDecorator::PassTransfer(KernelCall call, Handle handle,
                                       Function function) {
  Transfer transfer = {.error = Before(call, handle)};
  if (transfer.error.ok()) transfer = function();
  After(call, handle, transfer.error);
  return transfer;
}

Nanoseconds KernelDecorator::Now() {
  static_cast<void>(Before(KernelCall::kNow, kNoHandle));
  Nanoseconds now = base_.Now();
  After(KernelCall::kNow, kNoHandle, Error());
  return now;
}

Error KernelDecorator::Open(SocketType type, Family family, Handle* handle) {
  return Pass(KernelCall::kOpen, kNoHandle,
              [&] { return base_.Open(type, family, handle); });
}

Error KernelDecorator::Adopt(Handle handle, SocketInfo* info) {
  return Pass(KernelCall::kAdopt, handle,
              [&] { return base_.Adopt(handle, info); });
}

void KernelDecorator::Release(Handle handle) {
  static_cast<void>(Before(KernelCall::kRelease, handle));
  base_.Release(handle);
  After(KernelCall::kRelease, handle, Error());
}

void KernelDecorator::Close(Handle handle) {
  static_cast<void>(Before(KernelCall::kClose, handle));
  base_.Close(handle);
  After(KernelCall::kClose, handle, Error());
}

Error KernelDecorator::SetOption(Handle handle, SocketOption option, bool on) {
  return Pass(KernelCall::kSetOption, handle,
              [&] { return base_.SetOption(handle, option, on); });
}

Error KernelDecorator::GetOption(Handle handle, SocketOption option, bool* on) {
  return Pass(KernelCall::kGetOption, handle,
              [&] { return base_.GetOption(handle, option, on); });
}

Error KernelDecorator::Bind(Handle handle, const SocketAddress& address) {
  return Pass(KernelCall::kBind, handle,
              [&] { return base_.Bind(handle, address); });
}

Error KernelDecorator::Listen(Handle handle, int backlog) {
  return Pass(KernelCall::kListen, handle,
              [&] { return base_.Listen(handle, backlog); });
}

Error KernelDecorator::Connect(Handle handle, const SocketAddress& address) {
  return Pass(KernelCall::kConnect, handle,
              [&] { return base_.Connect(handle, address); });
}

Error KernelDecorator::TakeError(Handle handle) {
  return Pass(KernelCall::kTakeError, handle,
              [&] { return base_.TakeError(handle); });
}

Error KernelDecorator::Accept(Handle listener, Handle* connection) {
  return Pass(KernelCall::kAccept, listener,
              [&] { return base_.Accept(listener, connection); });
}

Error KernelDecorator::LocalAddress(Handle handle, SocketAddress* address) {
  return Pass(KernelCall::kLocalAddress, handle,
              [&] { return base_.LocalAddress(handle, address); });
}

Error KernelDecorator::PeerAddress(Handle handle, SocketAddress* address) {
  return Pass(KernelCall::kPeerAddress, handle,
              [&] { return base_.PeerAddress(handle, address); });
}

Transfer KernelDecorator::Receive(Handle handle, std::span<char> buffer) {
  return PassTransfer(KernelCall::kReceive, handle,
                      [&] { return base_.Receive(handle, buffer); });
}

Transfer KernelDecorator::Peek(Handle handle) {
  return PassTransfer(KernelCall::kPeek, handle,
                      [&] { return base_.Peek(handle); });
}

Transfer KernelDecorator::Send(Handle handle,
                               std::span<const ConstBuffer> buffers) {
  return PassTransfer(KernelCall::kSend, handle,
                      [&] { return base_.Send(handle, buffers); });
}

Error KernelDecorator::ReceiveDatagram(Handle handle, std::span<char> buffer,
                                       bool want_sender,
                                       IncomingDatagram* datagram) {
  return Pass(KernelCall::kReceiveDatagram, handle, [&] {
    return base_.ReceiveDatagram(handle, buffer, want_sender, datagram);
  });
}

Transfer KernelDecorator::ReceiveDatagrams(
    Handle handle, bool want_sender, std::span<IncomingDatagram> datagrams) {
  return PassTransfer(KernelCall::kReceiveDatagrams, handle, [&] {
    return base_.ReceiveDatagrams(handle, want_sender, datagrams);
  });
}

Transfer KernelDecorator::SendDatagrams(
    Handle handle, std::span<const OutgoingDatagram> datagrams) {
  return PassTransfer(KernelCall::kSendDatagrams, handle,
                      [&] { return base_.SendDatagrams(handle, datagrams); });
}

Error KernelDecorator::Shutdown(Handle handle, Direction direction) {
  return Pass(KernelCall::kShutdown, handle,
              [&] { return base_.Shutdown(handle, direction); });
}

Transfer KernelDecorator::ReadFile(std::string_view path, uint64_t offset,
                                   std::span<char> buffer, FileStamp* stamp) {
  return PassTransfer(KernelCall::kReadFile, kNoHandle, [&] {
    return base_.ReadFile(path, offset, buffer, stamp);
  });
}

uint32_t KernelDecorator::InterfaceIndex(std::string_view name) {
  uint32_t index = 0;
  static_cast<void>(Pass(KernelCall::kInterfaceIndex, kNoHandle, [&] {
    index = base_.InterfaceIndex(name);
    return Error();
  }));
  return index;
}

Error KernelDecorator::NewPoller(std::unique_ptr<Poller>* poller) {
  return Pass(KernelCall::kNewPoller, kNoHandle,
              [&] { return base_.NewPoller(poller); });
}

Error KernelDecorator::SetInterest(Poller& poller, Handle handle, void* token,
                                   Readiness from, Readiness to) {
  return Pass(KernelCall::kSetInterest, handle, [&] {
    return base_.SetInterest(poller, handle, token, from, to);
  });
}

size_t KernelDecorator::Wait(Poller& poller, std::span<Report> reports,
                             Nanoseconds timeout) {
  static_cast<void>(Before(KernelCall::kWait, kNoHandle));
  size_t count = base_.Wait(poller, reports, timeout);
  After(KernelCall::kWait, kNoHandle, Error());
  return count;
}

void KernelDecorator::Wake(Poller& poller) {
  static_cast<void>(Before(KernelCall::kWake, kNoHandle));
  base_.Wake(poller);
  After(KernelCall::kWake, kNoHandle, Error());
}

}  // namespace aios::test
