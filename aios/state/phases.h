// The phases in which a state and its parts can be, and the table that says
// which call of the user is allowed in which. Flags that exclude each other are
// one enumeration here.

#ifndef AIOS_STATE_PHASES_H_
#define AIOS_STATE_PHASES_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace aios {

// The socket of a state.
enum class ChannelPhase : uint8_t {
  kOpen,         // operations may be started
  kConnecting,   // a connect is in progress
  kUnconnected,  // a connect failed or was aborted: there is no socket
  kClosed,
};

// What the callback that is running may do with what was received. The order
// of the values is what the functions below ask for.
enum class InCallback : uint8_t {
  kNone,        // no callback of an input operation is running
  kReceive,     // that of a `ReceiveMessage`
  kLookClosed,  // as `kLastLook`, in a state that was closed meanwhile
  kLastLook,    // the operation is over: it may discard
  kChecking,    // of a `ReadWithChecking`: it may discard, reply and finish
  kMessages,    // of a `ReceiveMessages`: the same
  kFinished,    // it has finished its operation
  kClosed,      // it has closed its state
  kDeleted,     // and deleted it: the object goes when it has returned
};

constexpr bool MayDiscard(InCallback phase) {
  return phase >= InCallback::kLastLook && phase <= InCallback::kMessages;
}
// It is called again unless it says otherwise.
constexpr bool GoesOn(InCallback phase) {
  return phase == InCallback::kChecking || phase == InCallback::kMessages;
}
// What it was given stays where it is.
constexpr bool LooksAtInput(InCallback phase) {
  return phase >= InCallback::kLookClosed;
}
// The callback of a `ReadWithChecking` or `ReceiveMessages` runs where it lies,
// in the state: that stays as it is, and so does the object.
constexpr bool RunsInPlace(InCallback phase) {
  return phase >= InCallback::kChecking;
}

enum class InputKind : uint8_t {
  kNone,
  kReadBuffer,
  kReadWithChecking,
  kReceiveMessage,
  kReceiveMessages,
  kWaitForInput,
};

// An input operation that is in progress.
enum class InputPhase : uint8_t {
  kWaiting,  // for input
  kPaused,   // replies have to be sent before it goes on
  kEnded,    // its outcome is known, its callback has not run
};

enum class OutputKind : uint8_t {
  kWriteBuffer,
  kSendMessage,
  kSendToAddress,
  // What a `Reply` could not send at once, copied.
  kReply,
};

// The output direction.
enum class OutputPhase : uint8_t {
  kFlowing,  // the next send is tried without waiting
  kBlocked,  // the last one did not take everything: wait for the socket
  kBroken,   // the stream has failed for good
};

// ---- The table.

enum class Call : uint8_t {
  kReadBuffer,
  kReadWithChecking,
  kReceiveMessage,
  kReceiveMessages,
  kWaitForInput,
  kGetBufferedData,
  kDiscard,
  kFinish,
  kWriteBuffer,
  kSendMessage,
  kSendMessageToAddress,
  kReply,
  kAbort,
  kAbortAndClose,
  kShutdown,
};

struct CallRule {
  enum class Channel : uint8_t { kAny, kNotClosed, kOpen };
  enum class Callback : uint8_t { kAny, kMayDiscard, kGoesOn };
  // The directions in which no operation may be in progress. Output: unless
  // writes may wait.
  enum class Free : uint8_t { kNone, kInput, kOutput, kIo };

  const char* name;
  Channel channel;
  Callback callback;
  Free free;
  // By `Udp`: null where the call is allowed on such a socket, otherwise why
  // not, and what to use.
  std::array<const char*, 3> wrong_socket = {};
};

// In the order of `Call`.
inline constexpr std::array kCallRules = {
    CallRule{"ReadBuffer",
             CallRule::Channel::kOpen,
             CallRule::Callback::kAny,
             CallRule::Free::kInput,
             {nullptr, "the socket is UDP; use ReceiveMessage",
              "the socket is UDP; use ReceiveMessage"}},
    CallRule{"ReadWithChecking",
             CallRule::Channel::kOpen,
             CallRule::Callback::kAny,
             CallRule::Free::kInput,
             {nullptr, "the socket is UDP; use ReceiveMessages",
              "the socket is UDP; use ReceiveMessages"}},
    CallRule{"ReceiveMessage", CallRule::Channel::kOpen,
             CallRule::Callback::kAny, CallRule::Free::kInput},
    CallRule{"ReceiveMessages",
             CallRule::Channel::kOpen,
             CallRule::Callback::kAny,
             CallRule::Free::kInput,
             {"the socket is TCP; use ReadWithChecking", nullptr, nullptr}},
    CallRule{"WaitForInput", CallRule::Channel::kOpen, CallRule::Callback::kAny,
             CallRule::Free::kInput},
    CallRule{"GetBufferedData", CallRule::Channel::kAny,
             CallRule::Callback::kAny, CallRule::Free::kIo},
    CallRule{"Discard", CallRule::Channel::kNotClosed,
             CallRule::Callback::kMayDiscard, CallRule::Free::kNone},
    CallRule{"Finish", CallRule::Channel::kNotClosed,
             CallRule::Callback::kMayDiscard, CallRule::Free::kNone},
    CallRule{"WriteBuffer",
             CallRule::Channel::kOpen,
             CallRule::Callback::kAny,
             CallRule::Free::kOutput,
             {nullptr, "the socket is UDP; use SendMessageToAddress",
              "the socket is UDP; use SendMessage"}},
    CallRule{"SendMessage",
             CallRule::Channel::kOpen,
             CallRule::Callback::kAny,
             CallRule::Free::kOutput,
             {nullptr, "the socket is not connected; use SendMessageToAddress",
              nullptr}},
    CallRule{"SendMessageToAddress",
             CallRule::Channel::kOpen,
             CallRule::Callback::kAny,
             CallRule::Free::kOutput,
             {"the socket has a fixed peer; use SendMessage", nullptr,
              "the socket has a fixed peer; use SendMessage"}},
    CallRule{"Reply", CallRule::Channel::kNotClosed,
             CallRule::Callback::kGoesOn, CallRule::Free::kOutput},
    CallRule{"Abort", CallRule::Channel::kNotClosed, CallRule::Callback::kAny,
             CallRule::Free::kNone},
    CallRule{"AbortAndClose", CallRule::Channel::kNotClosed,
             CallRule::Callback::kAny, CallRule::Free::kNone},
    CallRule{"Shutdown", CallRule::Channel::kOpen, CallRule::Callback::kAny,
             CallRule::Free::kNone},
};

constexpr const CallRule& RuleOf(Call call) {
  return kCallRules[static_cast<size_t>(call)];
}

// The call that starts an operation.
constexpr Call CallOf(InputKind kind) {
  switch (kind) {
    case InputKind::kReadBuffer:
      return Call::kReadBuffer;
    case InputKind::kReadWithChecking:
      return Call::kReadWithChecking;
    case InputKind::kReceiveMessage:
      return Call::kReceiveMessage;
    case InputKind::kReceiveMessages:
      return Call::kReceiveMessages;
    case InputKind::kWaitForInput:
    case InputKind::kNone:
      break;
  }
  return Call::kWaitForInput;
}

constexpr Call CallOf(OutputKind kind) {
  switch (kind) {
    case OutputKind::kWriteBuffer:
      return Call::kWriteBuffer;
    case OutputKind::kSendMessage:
      return Call::kSendMessage;
    case OutputKind::kSendToAddress:
      return Call::kSendMessageToAddress;
    case OutputKind::kReply:
      break;
  }
  return Call::kReply;
}

template <typename Kind>
constexpr const char* NameOf(Kind kind) {
  return RuleOf(CallOf(kind)).name;
}

}  // namespace aios

#endif  // AIOS_STATE_PHASES_H_
