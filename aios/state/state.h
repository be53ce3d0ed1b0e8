// A state: the plan of its parts. Each part is a class of its own, which knows
// those before it and none behind it; what concerns several is done here, in
// `calls.cc` for what the user calls and in `events.cc` for what the event loop
// tells. `endings.cc` has what ends operations before their time.

#ifndef AIOS_STATE_STATE_H_
#define AIOS_STATE_STATE_H_

#include <any>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "aios/async_io_state.h"
#include "aios/datagram_batch.h"
#include "aios/error.h"
#include "aios/event_loop.h"
#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/operation_observer.h"
#include "aios/state/channel.h"
#include "aios/state/checking.h"
#include "aios/state/connecting.h"
#include "aios/state/datagrams.h"
#include "aios/state/ending.h"
#include "aios/state/input.h"
#include "aios/state/output.h"
#include "aios/state/output_operation.h"
#include "aios/state/phases.h"
#include "aios/state/refusals.h"
#include "aios/state/replies.h"

namespace aios {

class SendLookup;

// What only few states have at a time.
struct StateExtras {
  // Out of line, and so out of the way of states without.
  ~StateExtras();

  std::string name;

  // See `CreateAsyncIoState`; empty: the handle.
  std::any object;
  void (*close_object)(const std::any& object) = nullptr;

  // Set while an input operation that has one is in progress.
  IoCallback input_error_callback;
  // Of what the callback that runs where it lies has started in its place.
  IoCallback next_input_callback;
  IoCallback next_input_error_callback;

  Datagrams datagrams;
  // Null unless a connect is in progress.
  std::unique_ptr<Connecting> connecting;
  Endings endings;
};

class State final : public AsyncIoState, public Channel {
 public:
  // Every state is one.
  static State& Of(AsyncIoState& state) { return static_cast<State&>(state); }
  static const State& Of(const AsyncIoState& state) {
    return static_cast<const State&>(state);
  }

  State() = default;
  ~State() override;
  void operator delete(State* state, std::destroying_delete_t);
  static void Delete(State* state);

  // Where both bases have one, that of the socket.
  using AsyncIoState::Close;
  using Channel::closed;
  using Channel::connecting;
  using Channel::handle;

  // ---- The parts. `Received` lies in `AsyncIoState`, whose inline functions
  // look at it. What a part leaves free at its end the next one may use.
  Replies replies;
  Checking checking;
  [[no_unique_address]] Input input;
  Output output;
  std::unique_ptr<StateExtras> extras;
  std::any user_info_slot;

  Received& received() { return received_; }
  StateExtras& Extras();
  Datagrams* datagrams() {
    return extras != nullptr ? &extras->datagrams : nullptr;
  }
  // There are datagrams that were received ahead.
  bool has_datagrams() const {
    return extras != nullptr && !extras->datagrams.empty();
  }
  Refusals refusals() const {
    return {*this, input, output, received_,
            extras != nullptr ? std::string_view(extras->name)
                              : std::string_view()};
  }

  // ---- Calls.

  bool MayStart(const IoCallback& callback) const { return open() && callback; }
  // What most calls are; the others are looked at in detail.
  bool MayStartInput(const IoCallback& callback) const {
    return MayStart(callback) && !input.in_progress();
  }
  absl::Status CheckStart(Call call, const IoCallback& callback,
                          const Timeout& timeout) const;
  absl::Status CheckInput(InputKind kind, const IoCallback& callback,
                          const Timeout& timeout) const;
  absl::Status CheckRead(InputKind kind, std::span<char> buffer,
                         const IoCallback& callback, const Timeout& timeout,
                         size_t start, size_t end) const;
  absl::Status CheckOutput(OutputKind kind, std::string_view data,
                           const SocketAddress* target,
                           const IoCallback& callback,
                           const WriteOptions& options) const;
  void StartInput(InputKind kind, IoCallback& callback,
                  std::optional<IoCallback>* error_callback,
                  const Timeout& timeout, UserInfo& user_info);
  void TakeInputOptions(std::optional<IoCallback>* error_callback,
                        const Timeout& timeout, UserInfo& user_info);
  void KeepInputCallback(IoCallback& callback);
  void AwaitInput(EventLoop& loop);
  void AwaitInputToCheck(EventLoop& loop);
  absl::Status StartChecking(IoCallback& callback,
                             ReadWithCheckingOptions& options);
  absl::Status StartReceive(std::span<char> buffer, IoCallback& callback,
                            bool needs_address);
  void BeginReceive(EventLoop& loop, std::span<char> range,
                    IoCallback& callback, bool needs_address);
  void ReceiveFromStream(EventLoop& loop);
  absl::Status StartStreamOutput(OutputKind kind, std::string_view data,
                                 IoCallback& callback);
  absl::Status StartOutput(OutputKind kind, std::string_view data,
                           const SocketAddress* target, IoCallback& callback,
                           WriteOptions& options,
                           std::unique_ptr<SendLookup> lookup = nullptr);
  absl::Status StartOutputWithoutOptions(OutputKind kind, std::string_view data,
                                         const SocketAddress* target,
                                         IoCallback& callback);
  absl::Status SendToName(std::string_view host, uint16_t port,
                          std::string_view data, IoCallback& callback,
                          WriteOptions& options);
  void TakeOptions(OutputOperation& operation, WriteOptions& options);
  absl::Status ReplyInDetail(std::string_view data);
  absl::StatusOr<size_t> RefuseDrop(Call call, size_t n) const;
  absl::Status TryReply(std::string_view data);
  void HoldReplyOnStream(std::string_view data) {
    loop()->CheckThread();
    replies.Hold(*loop(), *this, output, received_, data);
  }
  void SendHeldReplies() { replies.SendHeld(*loop(), *this, output); }
  void ReleaseReceived() {
    received_.Release(closed() ? nullptr : &loop()->input_buffers());
  }

  // ---- Events.

  // Of the socket and the timer.
  void OnReady(Readiness ready) override;
  void OnWatchFailed(Error error) override;
  Nanoseconds OnTimer(Nanoseconds now) override;
  void OnDue(uint8_t which) override;
  void OnFlush() override;
  void OnCollectionClose() override { Close(); }
  // Of the parts.
  void OnInputEnded() override;
  void OnOutputEnded(OutputOperation& operation) override;
  void OnTargetKnown(OutputOperation& operation) override;
  void OnConnectEnded() override;
  void OnEnding(Ending& ending) override;
  void OnReplyEnded(IoStatus status, Error error);

  void ServeReady(EventLoop& loop, Readiness ready);
  bool Attempt(EventLoop& loop);
  void ReadStream(EventLoop& loop, size_t count);
  bool RunChecking(EventLoop& loop) noexcept;
  void GoOnChecking(EventLoop& loop);
  void PauseForReplies(EventLoop& loop);
  void PauseOrGoOn(EventLoop& loop);
  void OnDatagram(EventLoop& loop);
  bool CallBackOnce(EventLoop& loop);
  bool AwaitsDatagrams() const;
  bool ServeDatagrams(EventLoop& loop);
  void OnMessages(EventLoop& loop);
  void RunMessages(EventLoop& loop, DatagramBatch& batch) noexcept;
  void RunKeptMessages(EventLoop& loop);
  bool MayGoOnAtOnce(EventLoop& loop) const;
  void GoOnInDetail(EventLoop& loop, bool at_once);
  void GoOnLater(EventLoop& loop);
  void EndMessages(EventLoop& loop);
  void KeepDatagrams(EventLoop& loop);
  void Flush(EventLoop& loop);

  // ---- What the observer is told, if there is one.

  // As which it knows this state.
  const void* name_of_state() const {
    return static_cast<const Channel*>(this);
  }
  void TellStartOfInput(InputKind kind);
  void TellContinue();
  void TellTimeout(const void* operation, Nanoseconds deadline);
  void TellTimeoutSet(Direction direction, Nanoseconds timeout) const;
  void TellMaxReadSet() const;
  void TellDrop(size_t n) const;

  // ---- Callbacks.

  bool CallBackInPlace(EventLoop& loop, InCallback phase,
                       const IoResult& result);
  void EndInPlace(EventLoop& loop);
  bool CallBackReceived(EventLoop& loop, const IoResult& result) noexcept;
  void JoinErrorCallback();
  void CallBackLast();
  void CallBackLastInDetail(IoCallback& callback, const IoResult& result,
                            bool looks);
  void CallBackOutput(EventLoop& loop, OutputOperation& operation,
                      const IoResult& result) noexcept;
  void Invoke(IoCallback& callback, std::span<IoCallback> unused,
              const IoResult& result) noexcept;
  void InvokeLast(IoCallback& callback, std::span<IoCallback> unused,
                  const IoResult& result) noexcept;
  void InvokeWithLook(IoCallback& callback, std::span<IoCallback> unused,
                      const IoResult& result) noexcept;
  void ApplyEndingsOfCallback() {
    if (extras != nullptr && extras->endings.has_some_to_apply() && !closed())
        [[unlikely]] {
      ApplyEndings();
    }
  }
  // What the callback has started is neither sent nor ended before it returns.
  void AfterCallback(EventLoop& loop) {
    ApplyEndingsOfCallback();
    if (output.may_send()) loop.FlushLater(*this);
  }

  // ---- Endings.

  bool Busy(Direction direction) const;
  void StartEnding(std::unique_ptr<Ending> ending);
  void ApplyEndings();
  void ApplyEnding(std::unique_ptr<Ending> ending);
  void QueueEnding(std::unique_ptr<Ending> ending);
  void InterruptConnect(Ending& ending);
  void InterruptInput(Ending& ending);
  void InterruptOutput(Ending& ending);
  Error ShutSocketDown(Direction direction);
  void FinishClose(Ending& ending) noexcept;
  // All of `Close`, except that the callback of the input operation stays.
  size_t CloseButCallback(CloseOptions options);
  size_t CloseWithMore(EventLoop& loop, CloseOptions options);
  void CloseSocket(EventLoop& loop, CloseOptions options);
  static void CloseGivenHandle(Kernel& kernel, Handle handle);
  void TellClose(OperationObserver& observer) const;
};

// A connection that waits costs this much, and what the kernel takes. The sizes
// of other standard libraries are others.
#if defined(__GLIBCXX__) && defined(__x86_64__)
static_assert(sizeof(State) <= 272);
#endif

}  // namespace aios

#endif  // AIOS_STATE_STATE_H_
