// What the event loop tells a state, and the callbacks that come of it.

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "aios/check.h"
#include "aios/local_end.h"
#include "aios/state/state.h"

namespace aios {

// ---- Callbacks.

void State::Invoke(IoCallback& callback, std::span<IoCallback> unused,
                   const IoResult& result) noexcept {
  EventLoop& loop = *this->loop();
  loop.BeginCallback(*this);
  callback(*this, result);
  // What they captured may own this state.
  callback = nullptr;
  for (IoCallback& one : unused) one = nullptr;
  if (loop.EndCallback()) AfterCallback(loop);
}

// The same for one that may look at what was received and discard, when there
// is nothing that `Finish` would have to end.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void State::InvokeLast(
    IoCallback& callback, std::span<IoCallback> unused,
    const IoResult& result) noexcept {
  EventLoop& loop = *this->loop();
  received_.set_in_callback(InCallback::kLastLook);
  loop.BeginCallback(*this);
  callback(*this, result);
  if (loop.InCallbackOf(*this)) {
    received_.set_in_callback(InCallback::kNone);
    ReleaseReceived();
  }
  callback = nullptr;
  for (IoCallback& one : unused) one = nullptr;
  if (loop.EndCallback()) AfterCallback(loop);
}

void State::InvokeWithLook(IoCallback& callback, std::span<IoCallback> unused,
                           const IoResult& result) noexcept {
  InvokeLast(callback, unused, result);
}

// Calls the callback of a `ReadWithChecking` or `ReceiveMessages` where it
// lies, which saves moving it away and back for every message: so meanwhile
// neither it may be replaced nor this object go. Returns false when the
// operation is over with it, for `EndInPlace`.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool State::CallBackInPlace(
    EventLoop& loop, InCallback phase, const IoResult& result) {
  received_.set_in_callback(phase);
  if (received_.observed()) [[unlikely]] {
    loop.observer()->OnCallback(&input, result);
  }
  loop.BeginCallback(*this);
  input.CallBackInPlace(*this, result);
  if (received_.in_callback() != phase) [[unlikely]] {
    return false;
  }
  received_.set_in_callback(InCallback::kNone);
  return true;
}

// In its own callback, which has just returned, it was finished, closed or
// destroyed.
ABSL_ATTRIBUTE_NOINLINE void State::EndInPlace(EventLoop& loop) {
  bool deleted = received_.in_callback() == InCallback::kDeleted;
  received_.set_in_callback(InCallback::kNone);
  // What they captured may own this state.
  IoCallback callback = input.TakeCallback();
  IoCallback error_callback;
  if (extras != nullptr) {
    error_callback = std::move(extras->input_error_callback);
    // What the callback has started instead.
    input.SetCallback(std::move(extras->next_input_callback));
    extras->input_error_callback = std::move(extras->next_input_error_callback);
  }
  if (deleted) {
    loop.EndCallback();
    delete this;
    return;
  }
  callback = nullptr;
  error_callback = nullptr;
  if (!loop.EndCallback()) return;
  ReleaseReceived();
  AfterCallback(loop);
}

// ---- Readiness.

void State::OnReady(Readiness ready) {
  EventLoop& loop = *this->loop();
  if (ready != kReadable || !loop.MayCallBack()) [[unlikely]] {
    ServeReady(loop, ready);
  } else if (input.kind() == InputKind::kReadWithChecking) {
    Error error;
    size_t count = checking.Read(loop, *this, received_, &error);
    if (Checking::IsStream(count)) [[unlikely]] {
      ReadStream(loop, count);
    } else if (count != 0) [[likely]] {
      RunChecking(loop);
    } else if (checking.End(loop, received_, input, error)) {
      OnInputEnded();
    } else {
      loop.NothingBehindReport(*this);
    }
  } else if (input.kind() == InputKind::kReceiveMessages) {
    OnMessages(loop);
  } else if (!is_stream()) {
    OnDatagram(loop);
  } else {
    size_t done = input.done();
    if (Attempt(loop)) {
      OnInputEnded();
    } else if (input.done() == done) {
      loop.NothingBehindReport(*this);
    }
  }
}

ABSL_ATTRIBUTE_NOINLINE void State::ServeReady(EventLoop& loop,
                                               Readiness ready) {
  if (connecting()) {
    extras->connecting->Look();
    if (connecting() && !extras->connecting->is_over()) {
      loop.NothingBehindReport(*this);
    }
    return;
  }
  size_t input_done = input.done();
  bool ended = (ready & kReadable) != 0 && Attempt(loop);
  if (ended) input.Queue(loop, *this);
  const OutputOperation* operation = output.active();
  size_t output_done = operation != nullptr ? operation->done : 0;
  if ((ready & kWritable) != 0 && operation != nullptr) {
    output.Send(loop, *this);
  }
  if (!ended && input.done() == input_done && output.active() == operation &&
      (operation == nullptr || operation->done == output_done)) {
    loop.NothingBehindReport(*this);
  }
}

void State::OnWatchFailed(Error error) {
  if (connecting()) {
    extras->connecting->Fail(error);
    return;
  }
  EventLoop& loop = *this->loop();
  if (input.waiting()) input.Complete(loop, *this, IoStatus::kError, error);
  if (output.active() != nullptr) {
    output.Fail(loop, *this, IoStatus::kError, error);
  }
  input.UpdateInterest(loop, *this);
  Want(loop, kWritable, output.is_blocked());
}

// Does what the input operation in progress waits for. Returns whether it has
// ended by it; its callback comes next.
bool State::Attempt(EventLoop& loop) {
  if (!input.waiting()) return false;
  switch (input.kind()) {
    case InputKind::kNone:
      return false;
    case InputKind::kReadWithChecking: {
      Error error;
      if (checking.Read(loop, *this, received_, &error) == 0) {
        return checking.End(loop, received_, input, error);
      }
      return input.EndWell();
    }
    case InputKind::kReceiveMessage:
      return is_stream()
                 ? input.ReceiveOnce(loop, *this)
                 : Datagrams::ReceiveMessage(loop, *this, input, datagrams());
    case InputKind::kReceiveMessages:
      return extras->datagrams.ReceiveForLater(loop, *this, input);
    case InputKind::kReadBuffer:
      return input.Fill(loop, *this);
    case InputKind::kWaitForInput:
      return input.Look(loop, *this);
  }
  return false;
}

// ---- `ReadWithChecking`.

// Calls its callback with what was received, which is something. Returns false
// when the state may have been closed, perhaps destroyed.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool State::RunChecking(
    EventLoop& loop) noexcept {
  IoResult result;
  result.data = received_.bytes();
  result.count = result.data.size();
  if (!CallBackInPlace(loop, InCallback::kChecking, result)) [[unlikely]] {
    EndInPlace(loop);
    return false;
  }
  if (!loop.replies().empty()) replies.SendStream(loop, *this, output);
  loop.EndCallbackOfOpen();
  if (replies.waiting() || received_.observed()) [[unlikely]] {
    PauseOrGoOn(loop);
  } else {
    checking.GoOn(loop, *this, received_, input);
  }
  ApplyEndingsOfCallback();
  // At once: what a server answers is still in the cache, and the next
  // connection writes its answer to the same memory.
  if (!output.may_send()) return true;
  Flush(loop);
  return false;
}

// `count` bytes have been read.
ABSL_ATTRIBUTE_NOINLINE void State::ReadStream(EventLoop& loop, size_t count) {
  for (size_t sum = count; RunChecking(loop); sum += count) {
    if (!checking.MayReadAgain(loop, sum, count) ||
        input.kind() != InputKind::kReadWithChecking || !Wants(kReadable) ||
        !loop.MayCallBack()) {
      return;
    }
    Error error;
    count = checking.Read(loop, *this, received_, &error);
    if (count == 0) {
      if (checking.End(loop, received_, input, error)) OnInputEnded();
      return;
    }
  }
}

ABSL_ATTRIBUTE_NOINLINE void State::PauseOrGoOn(EventLoop& loop) {
  if (replies.waiting()) {
    PauseForReplies(loop);
  } else {
    checking.GoOn(loop, *this, received_, input);
  }
  TellContinue();
}

void State::TellContinue() {
  EventLoop& loop = *this->loop();
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    observer->OnContinue(&input, loop.Now(), input.timeout(), input.paused());
  }
}

// In place of going on, while replies wait.
ABSL_ATTRIBUTE_NOINLINE void State::PauseForReplies(EventLoop& loop) {
  input.Pause(loop, *this);
  ReleaseReceived();
}

// All replies are sent. What the callback has left in the buffer may be what it
// could not answer before: no other news of that may ever come.
void State::GoOnChecking(EventLoop& loop) {
  if (received_.size() != 0) {
    received_.MarkAsSeen(received_.size());
    input.Complete(loop, *this, IoStatus::kOk);
  } else if (has_datagrams()) {
    input.Complete(loop, *this, IoStatus::kOk);
  } else {
    input.Restart(loop, *this);
    TellContinue();
  }
}

// ---- The end of an input operation.

void State::OnInputEnded() {
  input.Unqueue();
  EventLoop& loop = *this->loop();
  bool ok = input.status() == IoStatus::kOk;
  if (input.kind() == InputKind::kReadWithChecking && ok) {
    if (received_.size() == 0) [[unlikely]] {
      // The callback that started it has dropped since what was there.
      GoOnChecking(loop);
      return;
    }
    input.GoOn();
    RunChecking(loop);
  } else if (input.kind() == InputKind::kReceiveMessages && ok) {
    RunKeptMessages(loop);
  } else if (CallBackOnce(loop) && output.may_send()) {
    loop.FlushLater(*this);
  }
}

// Calls the callback of an operation that is over with it. Returns true when it
// has left to the caller to send what the callback has started.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool State::CallBackOnce(EventLoop& loop) {
  if (input.kind() != InputKind::kReceiveMessage ||
      input.status() != IoStatus::kOk) [[unlikely]] {
    CallBackLast();
    return false;
  }
  if (extras != nullptr && extras->input_error_callback) [[unlikely]] {
    JoinErrorCallback();
  }
  IoResult result = input.Result(received_);
  // Not in the state, which the callback may destroy.
  SocketAddress sender;
  if (input.needs_address()) {
    sender = extras->datagrams.sender();
    result.sender = &sender;
  }
  if (!CallBackReceived(loop, result)) return false;
  return !AwaitsDatagrams() || ServeDatagrams(loop);
}

// The same for what most often is started again by its own callback. Returns
// false when the state is closed, perhaps destroyed.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool State::CallBackReceived(
    EventLoop& loop, const IoResult& result) noexcept {
  input.OverForNow(loop, result);
  received_.set_in_callback(InCallback::kReceive);
  {
    // What it captured may own this state.
    IoCallback callback = input.TakeCallback();
    loop.BeginCallback(*this);
    callback(*this, result);
  }
  if (!loop.EndCallback() || closed()) [[unlikely]] {
    return false;
  }
  received_.set_in_callback(InCallback::kNone);
  if (!input.in_progress()) input.UpdateInterest(loop, *this);
  ApplyEndingsOfCallback();
  return true;
}

// The operation has succeeded: its error callback, which is not called, goes
// together with its callback.
void State::JoinErrorCallback() {
  input.SetCallback([callback = input.TakeCallback(),
                     unused = std::move(extras->input_error_callback)](
                        AsyncIoState& state, const IoResult& result) mutable {
    callback(state, result);
  });
}

void State::CallBackLast() {
  IoResult result = input.Result(received_);
  bool looks = input.kind() == InputKind::kReadWithChecking ||
               input.kind() == InputKind::kReceiveMessages;
  input.Over(*loop(), *this, OperationObserver::End::kCallback, result);
  IoCallback callback = input.TakeCallback();
  if (extras != nullptr && extras->input_error_callback) [[unlikely]] {
    CallBackLastInDetail(callback, result, looks);
  } else if (looks) {
    InvokeLast(callback, {}, result);
  } else {
    Invoke(callback, {}, result);
  }
}

void State::CallBackLastInDetail(IoCallback& callback, const IoResult& result,
                                 bool looks) {
  IoCallback error_callback = std::move(extras->input_error_callback);
  if (result.status == IoStatus::kError) std::swap(callback, error_callback);
  if (looks) {
    InvokeWithLook(callback, {&error_callback, 1}, result);
  } else {
    Invoke(callback, {&error_callback, 1}, result);
  }
}

// ---- Datagrams.

void State::OnDatagram(EventLoop& loop) {
  bool ended = input.kind() == InputKind::kReceiveMessage
                   ? Datagrams::ReceiveMessage(loop, *this, input, datagrams())
                   : Attempt(loop);
  if (!ended) [[unlikely]] {
    loop.NothingBehindReport(*this);
    return;
  }
  if (!loop.MayCallBack()) [[unlikely]] {
    input.Queue(loop, *this);
  } else if (CallBackOnce(loop) && output.may_send()) {
    // At once, as after a `ReadWithChecking`.
    Flush(loop);
  }
}

// Its callback has started the next receive, which has not been looked at yet.
bool State::AwaitsDatagrams() const {
  return has_datagrams() && input.kind() == InputKind::kReceiveMessage &&
         input.waiting();
}

// Calls back with one after the other, as long as the callback asks for more.
// Returns false when the state is closed, perhaps destroyed.
bool State::ServeDatagrams(EventLoop& loop) {
  do {
    if (!loop.MayCallBack()) [[unlikely]] {
      extras->datagrams.TakeNext(loop, input);
      input.Complete(loop, *this, IoStatus::kOk);
      return true;
    }
    if (extras->input_error_callback) [[unlikely]] {
      JoinErrorCallback();
    }
    std::span<char> buffer = input.buffer();
    IncomingDatagram datagram = extras->datagrams.TakeNow(loop, buffer);
    IoResult result;
    result.truncated = datagram.truncated;
    result.count = datagram.size;
    result.data = {buffer.data(), datagram.size};
    if (input.needs_address()) result.sender = &datagram.sender;
    if (!CallBackReceived(loop, result)) return false;
  } while (AwaitsDatagrams());
  return true;
}

// What `ReceiveMessages` receives is in the collection's `DatagramBatch` while
// the callback is called for one after the other. Where that has to stop before
// the last one, the state keeps the batch.
void State::OnMessages(EventLoop& loop) {
  DatagramBatch& batch = loop.datagram_batch();
  Error error = extras->datagrams.ReceiveTogether(loop, *this, batch);
  if (error.ok()) [[likely]] {
    RunMessages(loop, batch);
  } else if (input.EndDatagram(error)) {
    OnInputEnded();
  } else {
    loop.NothingBehindReport(*this);
  }
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void State::RunMessages(
    EventLoop& loop, DatagramBatch& batch) noexcept {
  IoResult result;
  bool at_once;
  for (;;) {
    const IncomingDatagram& datagram = batch.Next();
    result.truncated = datagram.truncated;
    result.count = datagram.size;
    result.data = {datagram.buffer.data(), datagram.size};
    result.sender = &datagram.sender;
    if (!CallBackInPlace(loop, InCallback::kMessages, result)) [[unlikely]] {
      EndMessages(loop);
      return;
    }
    at_once = MayGoOnAtOnce(loop);
    if (batch.empty() || !at_once) break;
    loop.EndCallbackOfOpen();
  }
  if (!loop.datagram_replies().empty()) {
    replies.SendDatagrams(loop, *this, output);
  }
  loop.EndCallbackOfOpen();
  if (!at_once || replies.waiting() || received_.observed()) [[unlikely]] {
    GoOnInDetail(loop, at_once);
  } else if (input.has_timeout()) {
    input.PutOffDeadline(loop, *this);
  }
  if (output.may_send()) Flush(loop);
}

ABSL_ATTRIBUTE_NOINLINE void State::GoOnInDetail(EventLoop& loop,
                                                 bool at_once) {
  if (!at_once || replies.waiting()) {
    GoOnLater(loop);
  } else {
    input.PutOffDeadline(loop, *this);
  }
  if (input.in_progress()) TellContinue();
}

// Nothing that the callback did has to come before the next datagram.
inline bool State::MayGoOnAtOnce(EventLoop& loop) const {
  return loop.MayCallBack() && !replies.waiting() && !input.is_over() &&
         !extras->endings.has_some_to_apply();
}

void State::GoOnLater(EventLoop& loop) {
  KeepDatagrams(loop);
  ApplyEndingsOfCallback();
  if (!input.in_progress()) return;
  if (replies.waiting()) {
    PauseForReplies(loop);
  } else if (has_datagrams()) {
    input.Complete(loop, *this, IoStatus::kOk);
  } else {
    input.PutOffDeadline(loop, *this);
    input.Await(loop, *this);
  }
}

// As `EndInPlace`.
void State::EndMessages(EventLoop& loop) {
  KeepDatagrams(loop);
  if (has_datagrams() && input.waiting()) {
    // The callback has started it, and what is kept is for it.
    if (input.kind() == InputKind::kReceiveMessage) {
      extras->datagrams.TakeNext(loop, input);
    }
    input.Complete(loop, *this, IoStatus::kOk);
  }
  EndInPlace(loop);
}

// Keeps what is left for the next callback, or the next operation.
void State::KeepDatagrams(EventLoop& loop) {
  if (closed() || input.is_over()) {
    loop.datagram_batch().Clear();
  } else {
    extras->datagrams.Keep(loop);
  }
}

void State::RunKeptMessages(EventLoop& loop) {
  if (!has_datagrams()) {
    // Input has been shut down meanwhile.
    input.End(input.OverStatus());
    CallBackLast();
    return;
  }
  input.GoOn();
  input.UpdateInterest(loop, *this);
  RunMessages(loop, extras->datagrams.PutBack(loop));
}

// ---- Output.

void State::OnFlush() {
  if (output.may_send()) Flush(*loop());
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void State::Flush(EventLoop& loop) {
  OutputOperation* operation = output.Flush(loop, *this);
  if (operation == nullptr) return;
  IoResult result;
  result.count = operation->size;
  CallBackOutput(loop, *operation, result);
}

void State::OnOutputEnded(OutputOperation& operation) {
  AIOS_DCHECK(&operation == output.first(), "writes end in their order");
  output.Pop();
  IoResult result;
  result.status = operation.status;
  result.error = operation.error;
  result.count = operation.done;
  if (operation.lookup != nullptr) [[unlikely]] {
    // It goes with the operation, after the callback.
    result.detail = operation.lookup->detail();
  }
  CallBackOutput(*loop(), operation, result);
}

// Calls the callback of `operation` where it lies: it is not in the queue any
// more, so it neither changes nor goes by what the callback does.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void State::CallBackOutput(
    EventLoop& loop, OutputOperation& operation,
    const IoResult& result) noexcept {
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    observer->OnEnd(&operation, OperationObserver::End::kCallback, result);
  }
  loop.BeginCallback(*this);
  if (operation.kind == OutputKind::kReply) [[unlikely]] {
    OnReplyEnded(result.status, result.error);
  } else if (operation.error_callback.has_value() &&
             result.status == IoStatus::kError) [[unlikely]] {
    (*operation.error_callback)(*this, result);
  } else {
    (*operation.callback)(*this, result);
  }
  // What they captured may own this state.
  operation.callback.reset();
  operation.error_callback.reset();
  loop.output_operations().Give(&operation);
  if (loop.EndCallback()) AfterCallback(loop);
}

// One that was in the output queue, and is in it no more.
void State::OnReplyEnded(IoStatus status, Error error) {
  replies.CountAnew(output);
  // A datagram may get lost.
  if (!is_stream()) status = IoStatus::kOk;
  if (!input.paused() || (replies.waiting() && status == IoStatus::kOk)) return;
  if (status == IoStatus::kOk) {
    GoOnChecking(*loop());
    return;
  }
  // Answers are missing, which is news even where the end of the stream is
  // none.
  if (status == IoStatus::kError) input.NoteError(error);
  input.Complete(*loop(), *this, status, error);
}

void State::OnTargetKnown(OutputOperation& operation) {
  if (socket_ipv6()) {
    operation.target = SocketAddress(operation.target.ip().ToIpv4Mapped(),
                                     operation.target.port());
  }
  if (&operation == output.active() && !output.is_blocked()) {
    loop()->FlushLater(*this);
  }
}

// ---- Connecting.

void State::OnConnectEnded() {
  // It goes when its callback has returned.
  std::unique_ptr<Connecting> connecting = std::move(extras->connecting);
  IoCallback callback;
  std::string detail;
  IoResult result = connecting->Finish(&callback, &detail);
  Invoke(callback, {}, result);
}

// ---- Deadlines.

namespace {

enum DueDeadline : uint8_t { kReadDeadline, kWriteDeadline };

}  // namespace

Nanoseconds State::OnTimer(Nanoseconds now) {
  EventLoop& loop = *this->loop();
  Nanoseconds next = kForever;
  const Deadline& read = input.deadline();
  const Deadline& write = output.deadline();
  if (read.at() <= now) {
    loop.Due(*this, read.at(), read.order(), kReadDeadline);
  } else {
    next = read.at();
  }
  if (write.at() <= now) {
    loop.Due(*this, write.at(), write.order(), kWriteDeadline);
  } else {
    next = std::min(next, write.at());
  }
  return next;
}

void State::OnDue(uint8_t which) {
  EventLoop& loop = *this->loop();
  Nanoseconds now = loop.Now();
  if (which == kReadDeadline) {
    if (input.deadline().at() > now) return;
    // Reports may have been left for a later wait, and a timeout of zero means
    // one attempt: what has arrived by now counts, in however many pieces the
    // kernel gives it.
    size_t begin = input.done();
    size_t before;
    bool ended;
    do {
      before = input.done();
      ended = Attempt(loop);
    } while (!ended && input.kind() == InputKind::kReadBuffer &&
             input.done() != before &&
             input.done() - begin < loop.limits().bytes_per_turn_max);
    if (ended) {
      input.Queue(loop, *this);
    } else if (input.waiting()) {
      TellTimeout(&input, input.deadline().at());
      input.Complete(loop, *this, IoStatus::kTimeout);
    }
    return;
  }
  if (output.deadline().at() > now) return;
  if (connecting()) {
    extras->connecting->TimeOut();
    return;
  }
  const OutputOperation* operation = output.active();
  output.Send(loop, *this);
  if (output.active() == operation && operation != nullptr) {
    TellTimeout(operation, output.deadline().at());
    output.Fail(loop, *this, IoStatus::kTimeout);
  }
}

void State::TellTimeout(const void* operation, Nanoseconds deadline) {
  if (OperationObserver* observer = loop()->observer()) [[unlikely]] {
    observer->OnTimeout(operation, deadline);
  }
}

}  // namespace aios
