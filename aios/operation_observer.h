// For kernels that watch over what states promise: a simulated one has a judge
// that sees every call of the kernel and, by this, every operation.

#ifndef AIOS_OPERATION_OBSERVER_H_
#define AIOS_OPERATION_OBSERVER_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "aios/address.h"
#include "aios/io_result.h"
#include "aios/kernel.h"

namespace aios {

struct Limits;

// The call that started an operation.
enum class OperationKind : uint8_t {
  kConnectTcp,
  kConnectUdp,
  kReadBuffer,
  kReadWithChecking,
  kReceiveMessage,
  kReceiveMessages,
  kWaitForInput,
  // Output from here on.
  kWriteBuffer,
  kSendMessage,
  kSendMessageToAddress,
  // What could not be sent at once of the replies of a callback.
  kReply,
};

constexpr bool IsConnect(OperationKind kind) {
  return kind <= OperationKind::kConnectUdp;
}
constexpr bool IsOutput(OperationKind kind) {
  return kind >= OperationKind::kWriteBuffer;
}
constexpr bool IsInput(OperationKind kind) {
  return !IsConnect(kind) && !IsOutput(kind);
}

// "ReadBuffer", …
constexpr const char* OperationName(OperationKind kind) {
  constexpr const char* kNames[] = {
      "ConnectTcp",           "ConnectUdp",     "ReadBuffer",
      "ReadWithChecking",     "ReceiveMessage", "ReceiveMessages",
      "WaitForInput",         "WriteBuffer",    "SendMessage",
      "SendMessageToAddress", "Reply"};
  return kNames[static_cast<size_t>(kind)];
}

// An operation that has been started.
struct OperationStart {
  // No other operation has this name at the same time.
  const void* operation = nullptr;
  const void* state = nullptr;
  OperationKind kind = OperationKind::kReadBuffer;
  // Of the collection.
  const Poller* poller = nullptr;
  // `kNoHandle` while the state connects to a name.
  Handle handle = kNoHandle;
  bool datagrams = false;
  // The moment from which its deadline counts, and its length; a queued write
  // has neither before `OnTurnOfWrite`.
  Nanoseconds time = 0;
  Nanoseconds timeout = kForever;
  bool queued = false;
  // Queued: the caller has given it a timeout, which is in `timeout`.
  bool given = false;
  // What is to be written, or where to read to, in the caller's memory.
  const char* data = nullptr;
  size_t size = 0;
  // Of a datagram, on a socket without a peer. Null while a name is looked up.
  const SocketAddress* target = nullptr;
  bool waits_for_name = false;
  // Input operations: how many bytes the input buffer holds, and how many a
  // `ReadWithChecking` may read at a time.
  size_t buffered = 0;
  size_t max_read = 0;
};

// Told of every operation of the states on its kernel.
class OperationObserver {
 public:
  enum class End : uint8_t {
    kCallback,  // by its callback, which is about to be called
    kAbort,     // by the callback of an abort in its place
    kSilent,    // by a close
  };

  virtual ~OperationObserver() = default;

  // A collection, named by its poller, is there, and is not any more.
  virtual void OnCollection(const Poller& poller, const Limits& limits) = 0;
  virtual void OnCollectionEnd(const Poller& poller) = 0;

  virtual void OnStart(const OperationStart& start) = 0;
  // A queued write is the first one now; its deadline counts from `time`.
  virtual void OnTurnOfWrite(const void* operation, Nanoseconds time,
                             Nanoseconds timeout) = 0;
  // The callback of a `ReadWithChecking` or `ReceiveMessages` is about to be
  // called, and the operation may go on.
  virtual void OnCallback(const void* operation, const IoResult& result) = 0;
  // It goes on: it waits for more, with a timeout that counts from `time`, or
  // until replies are out (`paused`).
  virtual void OnContinue(const void* operation, Nanoseconds time,
                          Nanoseconds timeout, bool paused) = 0;
  // It is about to time out; its deadline was this.
  virtual void OnTimeout(const void* operation, Nanoseconds deadline) = 0;
  virtual void OnEnd(const void* operation, End end,
                     const IoResult& result) = 0;

  // The running callback replies, or, said right after that, does not.
  virtual void OnReply(const void* state, std::string_view data,
                       const SocketAddress* target) = 0;
  virtual void OnReplyRefused(const void* state) = 0;
  // The user has taken so many bytes out of the state's input buffer.
  virtual void OnDrop(const void* state, size_t count) = 0;

  // The user has set the timeout of a direction, perhaps for an operation that
  // starts next; or how much a `ReadWithChecking` may read at a time.
  virtual void OnTimeoutSet(const void* state, Direction direction,
                            Nanoseconds timeout) = 0;
  virtual void OnMaxReadSet(const void* state, size_t max_read) = 0;

  // An abort, named by `ending`, ends all output of the state. The callback of
  // an abort, or of a shutdown, is about to be called.
  virtual void OnAbortOfOutput(const void* state, const void* ending) = 0;
  virtual void OnAbortCallback(const void* state, const void* ending) = 0;
  // No operation of the state may end by a callback any more.
  virtual void OnClose(const void* state) = 0;

  // A function was posted; returns its number. It is about to run.
  virtual uint64_t OnPost(const Poller& poller) = 0;
  virtual void OnRunPosted(const Poller& poller, uint64_t number) = 0;

  // A report with this token is served.
  virtual void OnServe(const Poller& poller, const void* token) = 0;
};

}  // namespace aios

#endif  // AIOS_OPERATION_OBSERVER_H_
