#include "tests/support/fault_kernel.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <iostream>
#include <utility>

namespace aios::test {

namespace {

bool CouldBlock(KernelCall call) {
  switch (call) {
    case KernelCall::kAccept:
    case KernelCall::kReceive:
    case KernelCall::kPeek:
    case KernelCall::kSend:
    case KernelCall::kReceiveDatagram:
    case KernelCall::kReceiveDatagrams:
    case KernelCall::kSendDatagrams:
      return true;
    default:
      return false;
  }
}

// After these, nothing more goes through a stream.
bool KillsStream(Error error) {
  return error == Error(ECONNRESET) || error == Error(EPIPE) ||
         error == Error(ETIMEDOUT);
}

void CheckInjectable(Error error) {
  if (!error.ok() && error != Error(EINTR)) return;
  std::cerr << "FaultKernel: " << error.Name() << " is no failure\n";
  std::abort();
}

}  // namespace

std::span<const int> FaultKernel::PlausibleErrors(KernelCall call) {
  static constexpr int kOpen[] = {EMFILE, ENFILE, ENOBUFS, EAFNOSUPPORT};
  static constexpr int kAdopt[] = {EBADF, ENOTSOCK, EPROTONOSUPPORT};
  static constexpr int kOption[] = {ENOPROTOOPT, EINVAL, ENOBUFS};
  static constexpr int kBind[] = {EADDRINUSE, EACCES, EADDRNOTAVAIL};
  static constexpr int kListen[] = {EADDRINUSE, ENOBUFS};
  static constexpr int kConnect[] = {ECONNREFUSED,  ENETUNREACH, EHOSTUNREACH,
                                     EADDRNOTAVAIL, EACCES,      ETIMEDOUT};
  static constexpr int kTakeError[] = {ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH,
                                       ECONNRESET};
  static constexpr int kAccept[] = {EMFILE, EAGAIN,  ECONNABORTED,
                                    ENFILE, ENOBUFS, ENOMEM};
  static constexpr int kLocalAddress[] = {ENOBUFS};
  static constexpr int kPeerAddress[] = {ENOTCONN, ENOBUFS};
  static constexpr int kReceive[] = {ECONNRESET, EAGAIN, ETIMEDOUT, ENOBUFS,
                                     ENOMEM};
  static constexpr int kSend[] = {EPIPE,     EAGAIN,  ECONNRESET,
                                  ETIMEDOUT, ENOBUFS, ENOMEM};
  static constexpr int kReceiveDatagram[] = {ECONNREFUSED, EAGAIN, ENOMEM};
  static constexpr int kSendDatagrams[] = {ECONNREFUSED, EAGAIN,       ENOBUFS,
                                           EMSGSIZE,     EHOSTUNREACH, EPERM};
  static constexpr int kShutdown[] = {ENOTCONN};
  static constexpr int kInterfaceIndex[] = {ENODEV};
  static constexpr int kReadFile[] = {ENOENT, EACCES, EMFILE};
  static constexpr int kNewPoller[] = {EMFILE, ENOMEM};
  static constexpr int kSetInterest[] = {ENOMEM, ENOSPC};
  switch (call) {
    case KernelCall::kOpen:
      return kOpen;
    case KernelCall::kAdopt:
      return kAdopt;
    case KernelCall::kSetOption:
    case KernelCall::kGetOption:
      return kOption;
    case KernelCall::kBind:
      return kBind;
    case KernelCall::kListen:
      return kListen;
    case KernelCall::kConnect:
      return kConnect;
    case KernelCall::kTakeError:
      return kTakeError;
    case KernelCall::kAccept:
      return kAccept;
    case KernelCall::kLocalAddress:
      return kLocalAddress;
    case KernelCall::kPeerAddress:
      return kPeerAddress;
    case KernelCall::kReceive:
    case KernelCall::kPeek:
      return kReceive;
    case KernelCall::kSend:
      return kSend;
    case KernelCall::kReceiveDatagram:
    case KernelCall::kReceiveDatagrams:
      return kReceiveDatagram;
    case KernelCall::kSendDatagrams:
      return kSendDatagrams;
    case KernelCall::kShutdown:
      return kShutdown;
    case KernelCall::kInterfaceIndex:
      return kInterfaceIndex;
    case KernelCall::kReadFile:
      return kReadFile;
    case KernelCall::kNewPoller:
      return kNewPoller;
    case KernelCall::kSetInterest:
      return kSetInterest;
    case KernelCall::kNow:
    case KernelCall::kRelease:
    case KernelCall::kClose:
    case KernelCall::kWait:
    case KernelCall::kWake:
      break;
  }
  return {};
}

Error FaultKernel::PlausibleError(KernelCall call, size_t variant) {
  std::span<const int> errors = PlausibleErrors(call);
  if (errors.empty()) return Error();
  return Error(errors[variant % errors.size()]);
}

void FaultKernel::FailNth(KernelCall call, int64_t n, Error error) {
  CheckInjectable(error);
  Arm({.call = call, .calls_left = n, .error_of = [error](KernelCall) {
         return error;
       }});
}

void FaultKernel::FailNth(int64_t n, Error error) {
  CheckInjectable(error);
  Arm({.call = {}, .calls_left = n, .error_of = [error](KernelCall) {
         return error;
       }});
}

void FaultKernel::FailNth(int64_t n, size_t variant) {
  Arm({.call = {}, .calls_left = n, .error_of = [variant](KernelCall call) {
         return PlausibleError(call, variant);
       }});
}

void FaultKernel::Arm(NthFault fault) {
  std::lock_guard<std::mutex> lock(mutex_);
  nth_ = std::move(fault);
  failed_call_.reset();
}

bool FaultKernel::fault_was_reached() const {
  return failed_call().has_value();
}

std::optional<KernelCall> FaultKernel::failed_call() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return failed_call_;
}

void FaultKernel::FailEvery(KernelCall call, Error error) {
  CheckInjectable(error);
  std::lock_guard<std::mutex> lock(mutex_);
  always_[call] = error;
}

void FaultKernel::Heal(KernelCall call) {
  std::lock_guard<std::mutex> lock(mutex_);
  always_.erase(call);
}

void FaultKernel::FailInterestLate(Error error) {
  CheckInjectable(error);
  std::lock_guard<std::mutex> lock(mutex_);
  next_late_error_ = error;
}

void FaultKernel::LimitTransfers(size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  transfer_max_ = bytes;
}

void FaultKernel::LimitBatches(size_t datagrams) {
  std::lock_guard<std::mutex> lock(mutex_);
  batch_max_ = datagrams;
}

void FaultKernel::LimitReports(size_t reports) {
  std::lock_guard<std::mutex> lock(mutex_);
  reports_max_ = reports;
}

void FaultKernel::WouldBlockEvery(int64_t n) {
  std::lock_guard<std::mutex> lock(mutex_);
  would_block_every_ = n;
}

void FaultKernel::SetSpuriousReports(bool on) {
  std::lock_guard<std::mutex> lock(mutex_);
  spurious_ = on;
  spurious_next_ = on;
}

void FaultKernel::SetReversedReports(bool on) {
  std::lock_guard<std::mutex> lock(mutex_);
  reversed_ = on;
}

Error FaultKernel::Before(KernelCall call, Handle handle) {
  if (!CanFail(call)) return Error();
  Error error = ChooseError(call);
  return error.ok() ? error : Suffer(call, handle, error);
}

Error FaultKernel::ChooseError(KernelCall call) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (nth_.has_value() && (!nth_->call.has_value() || nth_->call == call) &&
      --nth_->calls_left == 0) {
    Error error = nth_->error_of(call);
    nth_.reset();
    failed_call_ = call;
    return error;
  }
  if (auto found = always_.find(call); found != always_.end()) {
    return found->second;
  }
  if (would_block_every_ != 0 && CouldBlock(call) &&
      ++calls_that_could_block_ % would_block_every_ == 0) {
    return Error(EAGAIN);
  }
  return Error();
}

Error FaultKernel::Suffer(KernelCall call, Handle handle, Error error) {
  if (call == KernelCall::kAccept && error == Error(ECONNABORTED)) {
    Handle connection;
    Error truth = base().Accept(handle, &connection);
    if (!truth.ok()) return truth;  // nothing there to be aborted
    base().Close(connection);
  }
  if ((call == KernelCall::kReceive || call == KernelCall::kPeek ||
       call == KernelCall::kSend) &&
      KillsStream(error)) {
    // From now on sends give EPIPE, and receives the end of the stream: what
    // was still to be read is lost.
    static_cast<void>(base().Shutdown(handle, Direction::kIo));
    std::array<char, 4096> lost;
    while (base().Receive(handle, lost).count != 0) {
    }
  }
  return error;
}

Transfer FaultKernel::Receive(Handle handle, std::span<char> buffer) {
  size_t limit;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    limit = transfer_max_;
  }
  if (limit != 0) buffer = buffer.first(std::min(limit, buffer.size()));
  return KernelDecorator::Receive(handle, buffer);
}

Transfer FaultKernel::Send(Handle handle,
                           std::span<const ConstBuffer> buffers) {
  size_t left;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    left = transfer_max_;
  }
  if (left == 0) return KernelDecorator::Send(handle, buffers);
  std::vector<ConstBuffer> prefix;
  for (ConstBuffer buffer : buffers) {
    if (left == 0) break;
    buffer.size = std::min(buffer.size, left);
    left -= buffer.size;
    prefix.push_back(buffer);
  }
  return KernelDecorator::Send(handle, prefix);
}

Transfer FaultKernel::SendDatagrams(
    Handle handle, std::span<const OutgoingDatagram> datagrams) {
  size_t limit;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    limit = batch_max_;
  }
  if (limit != 0) {
    datagrams = datagrams.first(std::min(limit, datagrams.size()));
  }
  return KernelDecorator::SendDatagrams(handle, datagrams);
}

void FaultKernel::Close(Handle handle) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    std::erase_if(watches_, [handle](const auto& entry) {
      return entry.first.second == handle;
    });
    std::erase_if(late_errors_, [handle](const LateError& late) {
      return late.handle == handle;
    });
  }
  KernelDecorator::Close(handle);
}

Error FaultKernel::NewPoller(std::unique_ptr<Poller>* poller) {
  Error error = KernelDecorator::NewPoller(poller);
  if (error.ok()) {
    // What was watched by an earlier poller at this address.
    std::lock_guard<std::mutex> lock(mutex_);
    std::erase_if(watches_, [&](const auto& entry) {
      return entry.first.first == poller->get();
    });
    std::erase_if(late_errors_, [&](const LateError& late) {
      return late.poller == poller->get();
    });
  }
  return error;
}

Error FaultKernel::SetInterest(Poller& poller, Handle handle, void* token,
                               Readiness from, Readiness to) {
  std::optional<Error> late_error;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (to != kNotReady) late_error = std::exchange(next_late_error_, {});
  }
  Error error = KernelDecorator::SetInterest(
      poller, handle, token, from, late_error.has_value() ? kNotReady : to);
  if (!error.ok()) return error;
  std::lock_guard<std::mutex> lock(mutex_);
  auto key = std::pair(&poller, handle);
  if (late_error.has_value()) {
    late_errors_.push_back({.poller = &poller,
                            .token = token,
                            .handle = handle,
                            .error = *late_error});
    watches_.erase(key);
  } else if (to == kNotReady) {
    watches_.erase(key);
    std::erase_if(late_errors_, [&](const LateError& late) {
      return late.poller == &poller && late.handle == handle;
    });
  } else {
    watches_[key] = {.token = token, .interest = to};
  }
  return error;
}

size_t FaultKernel::Wait(Poller& poller, std::span<Report> reports,
                         Nanoseconds timeout) {
  bool spurious;
  bool reversed;
  size_t late;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (reports_max_ != 0) {
      reports = reports.first(std::min(reports_max_, reports.size()));
    }
    bool watches_any = std::any_of(
        watches_.begin(), watches_.end(),
        [&](const auto& entry) { return entry.first.first == &poller; });
    spurious = spurious_next_ && watches_any;
    spurious_next_ = spurious_ && !spurious;
    reversed = reversed_;
    late = AddLateErrors(poller, reports);
  }
  if (late == reports.size()) return late;
  size_t count =
      late + KernelDecorator::Wait(poller, reports.subspan(late),
                                   late != 0 || spurious ? 0 : timeout);
  if (spurious) count = AddSpurious(poller, reports, count);
  if (reversed) std::reverse(reports.begin(), reports.begin() + count);
  return count;
}

size_t FaultKernel::AddLateErrors(const Poller& poller,
                                  std::span<Report> reports) {
  size_t count = 0;
  std::erase_if(late_errors_, [&](const LateError& late) {
    if (late.poller != &poller || count == reports.size()) return false;
    reports[count++] = {.token = late.token, .error = late.error};
    return true;
  });
  return count;
}

size_t FaultKernel::AddSpurious(const Poller& poller, std::span<Report> reports,
                                size_t count) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [key, value] : watches_) {
    const Watch& watch = value;
    if (key.first != &poller) continue;
    auto found = std::find_if(
        reports.begin(), reports.begin() + count,
        [&watch](const Report& report) { return report.token == watch.token; });
    if (found != reports.begin() + count) {
      found->ready |= watch.interest;
    } else if (count < reports.size()) {
      reports[count++] = {.token = watch.token, .ready = watch.interest};
    }
  }
  return count;
}

}  // namespace aios::test
