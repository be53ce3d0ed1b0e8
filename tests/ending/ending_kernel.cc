#include "tests/ending/ending_kernel.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <utility>

#include "gtest/gtest.h"

namespace aios::test {

Error EndingKernel::Connect(Handle handle, const SocketAddress& address) {
  if (!connect_error_.ok()) return std::exchange(connect_error_, Error());
  if (connects_ == Connects::kHeld) {
    held_ = handle;
    held_address_ = address;
    return Error(EINPROGRESS);
  }
  Error error = HandleKernel::Connect(handle, address);
  if (connects_ == Connects::kAtOnce && error == Error(EINPROGRESS)) {
    // Where time is virtual it passes in waits only.
    std::unique_ptr<Poller> poller;
    if (Error none = base().NewPoller(&poller); !none.ok()) return none;
    std::array<Report, 1> reports;
    SocketAddress peer;
    do {
      base().Wait(*poller, reports, 1'000);
      error = base().TakeError(handle);
    } while (error.ok() && !base().PeerAddress(handle, &peer).ok());
  }
  return error;
}

void EndingKernel::LetConnectGo() {
  connects_ = Connects::kAsUsual;
  if (held_ == kNoHandle) return;
  Error error =
      HandleKernel::Connect(std::exchange(held_, kNoHandle), held_address_);
  if (error != Error(EINPROGRESS)) late_connect_error_ = error;
}

void EndingKernel::Close(Handle handle) {
  if (handle == held_) held_ = kNoHandle;
  HandleKernel::Close(handle);
}

Error EndingKernel::TakeError(Handle handle) {
  Error error = HandleKernel::TakeError(handle);
  Error late = std::exchange(late_connect_error_, Error());
  return late.ok() ? error : late;
}

Transfer EndingKernel::Receive(Handle handle, std::span<char> buffer) {
  if (!receive_error_.ok()) {
    return {.error = std::exchange(receive_error_, Error())};
  }
  Transfer transfer = HandleKernel::Receive(handle, buffer);
  while (transfer.count != 0 && transfer.count < buffer.size()) {
    Transfer more =
        HandleKernel::Receive(handle, buffer.subspan(transfer.count));
    transfer.count += more.count;
    if (more.count != 0) continue;
    if (!more.error.ok() && more.error.code() != EAGAIN) {
      receive_error_ = more.error;
    }
    break;
  }
  received_ += transfer.count;
  return transfer;
}

Transfer EndingKernel::Peek(Handle handle) {
  if (!receive_error_.ok()) {
    return {.error = std::exchange(receive_error_, Error())};
  }
  return HandleKernel::Peek(handle);
}

Transfer EndingKernel::Send(Handle handle,
                            std::span<const ConstBuffer> buffers) {
  if (!send_error_.ok()) return {.error = std::exchange(send_error_, Error())};
  if (sends_left_ == 0) return {.error = Error(EAGAIN)};
  Transfer transfer;
  size_t left = sends_left_;
  for (ConstBuffer buffer : buffers) {
    buffer.size = std::min(buffer.size, left);
    left -= buffer.size;
    while (buffer.size != 0) {
      Transfer more = HandleKernel::Send(handle, {&buffer, 1});
      if (!more.error.ok()) {
        if (transfer.count == 0) {
          transfer.error = more.error;
        } else if (more.error.code() != EAGAIN) {
          send_error_ = more.error;
        }
        left = 0;
        break;
      }
      transfer.count += more.count;
      buffer.data += more.count;
      buffer.size -= more.count;
    }
  }
  if (sends_left_ != kUnlimited) sends_left_ -= transfer.count;
  sent_ += transfer.count;
  return transfer;
}

Error EndingKernel::ReceiveDatagram(Handle handle, std::span<char> buffer,
                                    bool want_sender,
                                    IncomingDatagram* datagram) {
  if (!receive_error_.ok()) return std::exchange(receive_error_, Error());
  Error error =
      HandleKernel::ReceiveDatagram(handle, buffer, want_sender, datagram);
  if (error.ok()) received_ += datagram->size;
  return error;
}

Transfer EndingKernel::ReceiveDatagrams(Handle handle, bool want_sender,
                                        std::span<IncomingDatagram> datagrams) {
  return Kernel::ReceiveDatagrams(handle, want_sender, datagrams);
}

Transfer EndingKernel::SendDatagrams(
    Handle handle, std::span<const OutgoingDatagram> datagrams) {
  if (!send_error_.ok()) return {.error = std::exchange(send_error_, Error())};
  if (sends_left_ == 0) return {.error = Error(EAGAIN)};
  Transfer transfer = HandleKernel::SendDatagrams(
      handle, datagrams.first(std::min(sends_left_, datagrams.size())));
  if (sends_left_ != kUnlimited) sends_left_ -= transfer.count;
  sent_ += transfer.count;
  return transfer;
}

Error EndingKernel::SetInterest(Poller& poller, Handle handle, void* token,
                                Readiness from, Readiness to) {
  if (!interest_error_.ok() && to != kNotReady) {
    return std::exchange(interest_error_, Error());
  }
  return HandleKernel::SetInterest(poller, handle, token, from, to);
}

size_t EndingKernel::Wait(Poller& poller, std::span<Report> reports,
                          Nanoseconds timeout) {
  size_t found = HandleKernel::Wait(poller, reports, timeout);
  size_t count = 0;
  for (const Report& report : reports.first(found)) {
    auto earlier = std::find_if(
        reports.begin(), reports.begin() + static_cast<ptrdiff_t>(count),
        [&](const Report& other) { return other.token == report.token; });
    if (earlier != reports.begin() + static_cast<ptrdiff_t>(count) &&
        report.error.ok() && earlier->error.ok()) {
      earlier->ready |= report.ready;
    } else {
      reports[count++] = report;
    }
  }
  return count;
}

}  // namespace aios::test
