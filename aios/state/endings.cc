// What ends the operations of a state before their time: `Abort`,
// `AbortAndClose`, `Shutdown` and `Close`.

#include <any>
#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "aios/state/state.h"

namespace aios {

// ---- Endings: from the call, perhaps inside a callback, to their effect, and
// then to their callback.

bool State::Busy(Direction direction) const {
  return (Includes(direction, Direction::kInput) && input.in_progress()) ||
         (Includes(direction, Direction::kOutput) && !output.empty());
}

void State::StartEnding(std::unique_ptr<Ending> ending) {
  if (loop()->InCallbackOf(*this)) {
    Extras().endings.ApplyLater(std::move(ending));
  } else {
    ApplyEnding(std::move(ending));
  }
}

void State::ApplyEndings() {
  while (extras->endings.has_some_to_apply()) {
    for (std::unique_ptr<Ending>& ending : extras->endings.TakeThoseToApply()) {
      ApplyEnding(std::move(ending));
    }
  }
}

void State::ApplyEnding(std::unique_ptr<Ending> ending) {
  // A close ends everything by itself when its turn comes.
  if (ending->kind != Ending::Kind::kClose) {
    if (connecting()) {
      InterruptConnect(*ending);
    } else {
      if (Includes(ending->direction, Direction::kInput)) {
        InterruptInput(*ending);
      }
      if (Includes(ending->direction, Direction::kOutput)) {
        InterruptOutput(*ending);
      }
    }
    if (ending->direction == Direction::kIo) {
      // With both directions there is no one operation to tell of.
      IoResult result;
      result.interrupted = ending->result.interrupted;
      result.status = ending->result.status;
      ending->result = result;
    }
  }
  QueueEnding(std::move(ending));
}

void State::QueueEnding(std::unique_ptr<Ending> ending) {
  Extras().endings.Queue(*loop(), *this, std::move(ending));
}

void State::InterruptConnect(Ending& ending) {
  extras->connecting->Interrupt(&ending.suppressed[Ending::kInput]);
  extras->connecting.reset();
  ending.result.status = IoStatus::kAborted;
  ending.result.interrupted = true;
}

void State::InterruptInput(Ending& ending) {
  if (!input.in_progress()) return;
  bool ended = !input.waiting();
  if (extras != nullptr) {
    ending.suppressed[Ending::kInputError] =
        std::move(extras->input_error_callback);
  }
  ending.checking = input.kind() == InputKind::kReadWithChecking;
  bool has_sender = input.kind() == InputKind::kReceiveMessage &&
                    input.needs_address() && ended;
  ending.result = input.Interrupt(*loop(), *this, received_,
                                  &ending.suppressed[Ending::kInput]);
  if (has_sender) {
    ending.sender = extras->datagrams.sender();
    ending.result.sender = &ending.sender;
  }
}

void State::InterruptOutput(Ending& ending) {
  if (output.empty()) return;
  EventLoop& loop = *this->loop();
  OutputOperation& operation = output.Interrupt(loop);
  ending.result = IoResult();
  ending.result.count = operation.done;
  ending.result.status = IoStatus::kAborted;
  ending.result.interrupted = true;
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    observer->OnEnd(&operation, OperationObserver::End::kAbort, ending.result);
    observer->OnAbortOfOutput(name_of_state(), &ending);
  }
  ending.suppressed[Ending::kOutput] = *std::move(operation.callback);
  operation.callback.reset();
  if (operation.error_callback.has_value()) {
    ending.suppressed[Ending::kOutputError] =
        *std::move(operation.error_callback);
    operation.error_callback.reset();
  }
  bool is_reply = operation.kind == OutputKind::kReply;
  loop.output_operations().Give(&operation);
  output.AbortRest(loop, *this);
  if (is_reply) OnReplyEnded(IoStatus::kAborted, Error());
}

void State::OnEnding(Ending& queued) {
  // Declared before what is invoked, so that it goes last.
  std::unique_ptr<Ending> ending = extras->endings.Unqueue(queued);
  switch (ending->kind) {
    case Ending::Kind::kShutdown: {
      ending->result = IoResult();
      ending->result.error = ShutSocketDown(ending->direction);
      if (!ending->result.error.ok()) ending->result.status = IoStatus::kError;
      // What has ended by it was first.
      ending->kind = Ending::Kind::kAbort;
      QueueEnding(std::move(ending));
      return;
    }
    case Ending::Kind::kClose:
      FinishClose(*ending);
      return;
    case Ending::Kind::kAbort:
      break;
  }
  if (!ending->callback) return;
  if (OperationObserver* observer = loop()->observer()) [[unlikely]] {
    observer->OnAbortCallback(name_of_state(), ending.get());
  }
  IoCallback callback = std::move(ending->callback);
  if (ending->checking && !input.in_progress()) {
    // What is buffered now. With both directions there are no details.
    ending->result.data = {};
    if (ending->direction != Direction::kIo) {
      ending->result.data = received_.view();
      ending->result.count = ending->result.data.size();
    }
    InvokeWithLook(callback, ending->suppressed, ending->result);
    return;
  }
  // When the next operation has been started, the buffer is that one's.
  if (ending->checking) ending->result.data = {};
  Invoke(callback, ending->suppressed, ending->result);
}

// ---- Shutdown.

Error State::ShutSocketDown(Direction direction) {
  EventLoop& loop = *this->loop();
  // What was written before the end belongs to the stream.
  if (Includes(direction, Direction::kOutput)) {
    SendHeldReplies();
    output.SendAllThatFits(loop, *this);
  }
  Error error = ShutDown(loop, direction);
  // Linux says so to a datagram socket without a peer, and shuts it down.
  bool done = error.ok() || error.code() == ENOTCONN;
  if (!done || direction == Direction::kOutput || is_stream() ||
      input.is_over()) {
    return error;
  }
  // A stream tells of its end when it is read. A datagram socket only is ready
  // from now on, for ever, and has nothing to give.
  if (extras != nullptr) extras->datagrams.Drop(loop);
  // A callback that is running comes before its operation's end.
  if (input.waiting() && !GoesOn(received_.in_callback())) {
    input.EndStream(Error());
    input.Queue(loop, *this);
  } else {
    input.SetOver();
    // The error of an earlier datagram is not how the input has ended.
    if (!input.error().ok()) input.SetStatus(IoStatus::kEof, Error());
  }
  return error;
}

// ---- Closing.

StateExtras::~StateExtras() = default;

inline void State::CloseSocket(EventLoop& loop, CloseOptions options) {
  Handle handle = Leave(loop);
  if (handle == kNoHandle) return;
  if (options.keep_alive) {
    loop.kernel().Release(handle);
  } else if (extras != nullptr && extras->close_object != nullptr) {
    // Its own code closes the socket, which is to be as it was; and the kernel
    // must forget it, for its number comes back.
    loop.kernel().Release(handle);
    extras->close_object(extras->object);
  } else if (handle_given()) {
    CloseGivenHandle(loop.kernel(), handle);
  } else {
    loop.kernel().Close(handle);
  }
}

// Other code may have told the socket to linger.
ABSL_ATTRIBUTE_NOINLINE void State::CloseGivenHandle(Kernel& kernel,
                                                     Handle handle) {
  bool lingers = false;
  if (kernel.GetOption(handle, SocketOption::kLinger, &lingers).ok() &&
      lingers) {
    // What goes wrong here goes wrong with the close, too.
    static_cast<void>(
        kernel.SetOption(handle, SocketOption::kLinger, /*on=*/false));
  }
  kernel.Close(handle);
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline size_t State::CloseButCallback(
    CloseOptions options) {
  EventLoop& loop = *this->loop();
  loop.Enter();
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    TellClose(*observer);
  }
  input.Close(loop);
  if (extras != nullptr || !output.empty()) [[unlikely]] {
    return CloseWithMore(loop, options);
  }
  CloseSocket(loop, options);
  return received_.size();
}

State::~State() {
  if (closed()) return;
  CloseButCallback({});
  // While the state is there: what the callback captured may look at it.
  input.DropCallback();
}

inline void State::Delete(State* state) {
  if (RunsInPlace(state->received_.in_callback())) {
    // All but the object: the running callback lies in it. See `EndInPlace`.
    state->Close();
    state->user_info_slot.reset();
    state->received_.set_in_callback(InCallback::kDeleted);
    return;
  }
  state->~State();
  ::operator delete(state);
}

void State::operator delete(State* state, std::destroying_delete_t) {
  Delete(state);
}

size_t AsyncIoState::Close(CloseOptions options) {
  State& state = State::Of(*this);
  if (state.closed()) return 0;
  // Destroying a callback may run code of the user, which may destroy this
  // state: so they all go last, and nothing of the state is touched after them.
  IoCallback input_callback;
  if (RunsInPlace(received_.in_callback())) {
    state.SendHeldReplies();
    received_.set_in_callback(InCallback::kClosed);
  } else {
    input_callback = state.input.TakeCallback();
    if (received_.in_callback() == InCallback::kLastLook) {
      received_.set_in_callback(InCallback::kLookClosed);
    }
  }
  return state.CloseButCallback(options);
}

void AsyncIoState::operator delete(AsyncIoState* state,
                                   std::destroying_delete_t) {
  State::Delete(static_cast<State*>(state));
}

void State::FinishClose(Ending& ending) noexcept {
  EventLoop& loop = *this->loop();
  loop.BeginCallback(*this);
  Close({.keep_alive = ending.keep_alive});
  // Closing destroys callbacks, which may have destroyed this state.
  if (loop.InCallbackOf(*this) && ending.close_callback) {
    ending.close_callback(*this);
    ending.close_callback = nullptr;
  }
  loop.EndCallback();
}

// What is left of `Close` when there are writes, or the state has extras.
size_t State::CloseWithMore(EventLoop& loop, CloseOptions options) {
  OutputOperation* operations = output.Close(loop);
  IoCallback input_error_callback;
  IoCallback next_input_callback;
  IoCallback next_input_error_callback;
  std::unique_ptr<Connecting> connecting;
  std::vector<std::unique_ptr<Ending>> endings;
  if (extras != nullptr) {
    next_input_callback = std::move(extras->next_input_callback);
    next_input_error_callback = std::move(extras->next_input_error_callback);
    if (!RunsInPlace(received_.in_callback())) {
      input_error_callback = std::move(extras->input_error_callback);
    }
    connecting = std::move(extras->connecting);
    if (connecting != nullptr) connecting->Close();
    endings = extras->endings.Close(loop);
    extras->datagrams.Drop(loop);
  }
  CloseSocket(loop, options);
  size_t left = received_.size();
  while (operations != nullptr) {
    OutputOperation* next = operations->next;
    std::optional<IoCallback> callback = std::move(operations->callback);
    std::optional<IoCallback> error_callback =
        std::move(operations->error_callback);
    operations->callback.reset();
    operations->error_callback.reset();
    loop.output_operations().Give(operations);
    operations = next;
  }
  return left;
}

void State::TellClose(OperationObserver& observer) const {
  constexpr auto kSilent = OperationObserver::End::kSilent;
  IoResult result;
  result.status = IoStatus::kAborted;
  if (connecting()) observer.OnEnd(extras->connecting.get(), kSilent, result);
  if (input.in_progress()) {
    result.count = input.done();
    observer.OnEnd(&input, kSilent, result);
  }
  for (const OutputOperation* operation = output.first(); operation != nullptr;
       operation = operation->next) {
    result.count = operation->done;
    observer.OnEnd(operation, kSilent, result);
  }
  observer.OnClose(name_of_state());
}

}  // namespace aios
