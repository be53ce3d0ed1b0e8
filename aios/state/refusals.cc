#include "aios/state/refusals.h"

#include "absl/strings/str_cat.h"
#include "aios/state/checking.h"

namespace aios {

namespace {

constexpr auto kFailedPrecondition = absl::StatusCode::kFailedPrecondition;
constexpr auto kInvalidArgument = absl::StatusCode::kInvalidArgument;

}  // namespace

std::string Refusals::Describe() const {
  return absl::StrCat(
      "async-io-state ",
      name_.empty() ? "" : absl::StrCat("\"", std::string(name_), "\" "), "(",
      channel_.is_stream() ? "tcp" : "udp", ", ",
      channel_.closed() ? std::string("closed")
                        : absl::StrCat("handle ", channel_.handle()),
      ")");
}

absl::Status Refusals::Refuse(const char* call, absl::StatusCode code,
                              std::string_view why) const {
  return absl::Status(code, absl::StrCat(Describe(), ": ", call,
                                         " refused: ", std::string(why)));
}

// ---- By the table.

absl::Status Refusals::CheckChannel(Call call) const {
  CallRule::Channel needs = RuleOf(call).channel;
  if (needs == CallRule::Channel::kAny) return absl::OkStatus();
  if (channel_.closed()) {
    return Refuse(call, kFailedPrecondition, "the state is closed");
  }
  channel_.loop()->Enter();
  if (needs == CallRule::Channel::kNotClosed) return absl::OkStatus();
  const char* connect = channel_.is_stream() ? "ConnectTcp" : "ConnectUdp";
  switch (channel_.phase()) {
    case ChannelPhase::kConnecting:
      return Refuse(call, kFailedPrecondition,
                    absl::StrCat("it is not connected yet, ", connect,
                                 " is in progress"));
    case ChannelPhase::kUnconnected:
      return Refuse(call, kFailedPrecondition,
                    absl::StrCat("it is not connected, its ", connect,
                                 " did not succeed"));
    case ChannelPhase::kOpen:
    case ChannelPhase::kClosed:
      break;
  }
  return absl::OkStatus();
}

absl::Status Refusals::CheckInCallback(Call call) const {
  const char* operation =
      channel_.is_stream() ? "ReadWithChecking" : "ReceiveMessages";
  switch (RuleOf(call).callback) {
    case CallRule::Callback::kMayDiscard:
      if (MayDiscard(received_.in_callback())) break;
      return Refuse(call, kFailedPrecondition,
                    absl::StrCat("only the callback of ", operation,
                                 " may call it, and not after Finish"));
    case CallRule::Callback::kGoesOn:
      if (GoesOn(received_.in_callback())) break;
      return Refuse(call, kFailedPrecondition,
                    absl::StrCat("only the callback of a ", operation,
                                 " that goes on may call it"));
    case CallRule::Callback::kAny:
      break;
  }
  return absl::OkStatus();
}

absl::Status Refusals::CheckFree(Call call) const {
  CallRule::Free free = RuleOf(call).free;
  if (free == CallRule::Free::kInput && input_.in_progress()) {
    return Refuse(call, kFailedPrecondition,
                  absl::StrCat(NameOf(input_.kind()),
                               " is in progress; only one input operation may "
                               "be"));
  }
  if (free == CallRule::Free::kIo && input_.in_progress()) {
    return Refuse(call, kFailedPrecondition,
                  absl::StrCat(NameOf(input_.kind()), " is in progress"));
  }
  if (free == CallRule::Free::kIo && !output_.empty()) {
    return Refuse(
        call, kFailedPrecondition,
        absl::StrCat(NameOf(output_.first()->kind), " is in progress"));
  }
  return absl::OkStatus();
}

absl::Status Refusals::CheckSocket(Call call) const {
  const char* mistake =
      RuleOf(call).wrong_socket[static_cast<size_t>(channel_.udp())];
  if (mistake == nullptr) return absl::OkStatus();
  return Refuse(call, kInvalidArgument, mistake);
}

// ---- Arguments.

absl::Status Refusals::CheckCallback(Call call,
                                     const IoCallback& callback) const {
  if (callback) return absl::OkStatus();
  return Refuse(call, kInvalidArgument, "the callback is empty");
}

absl::Status Refusals::CheckTimeout(const char* call,
                                    absl::Duration timeout) const {
  if (timeout >= absl::ZeroDuration()) return absl::OkStatus();
  return Refuse(call, kInvalidArgument,
                absl::StrCat("the timeout ", absl::FormatDuration(timeout),
                             " is negative; give a length, zero or "
                             "absl::InfiniteDuration()"));
}

absl::Status Refusals::CheckMaxRead(const char* call, size_t max_read) const {
  if (Checking::IsMaxRead(max_read)) return absl::OkStatus();
  return Refuse(call, kInvalidArgument,
                absl::StrCat("max_read is ", max_read, "; it must be 1 to ",
                             Checking::kMaxReadMax));
}

absl::Status Refusals::CheckRange(Call call, size_t start, size_t end,
                                  size_t size, bool may_be_empty) const {
  if (end == kToEnd) end = size;
  if (start <= end && end <= size && (may_be_empty || start < end)) [[likely]] {
    return absl::OkStatus();
  }
  return Refuse(
      call, kInvalidArgument,
      absl::StrCat("the range [", start, ", ", end, ") of a buffer of ", size,
                   " bytes is ",
                   start == end && end <= size ? "empty" : "not within it"));
}

absl::Status Refusals::CheckTarget(Call call,
                                   const SocketAddress* target) const {
  if (target == nullptr || channel_.socket_ipv6() ||
      !target->ip().Unmapped().is_ipv6()) {
    return absl::OkStatus();
  }
  return Refuse(call, kInvalidArgument,
                absl::StrCat("the socket is IPv4, the address ",
                             target->ToString(), " is IPv6"));
}

absl::Status Refusals::CheckDrop(Call call, size_t n) const {
  if (n <= received_.size()) return absl::OkStatus();
  return Refuse(call, kInvalidArgument,
                absl::StrCat(n, " bytes were to be dropped, ", received_.size(),
                             " are there"));
}

absl::Status Refusals::NoRoom(Call call, bool may_wait) const {
  const OutputOperation& first = *output_.first();
  if (!may_wait) {
    return Refuse(call, kFailedPrecondition,
                  absl::StrCat(NameOf(first.kind),
                               " is in progress; only one output operation may "
                               "be, unless the state has queue_output"));
  }
  const Limits& limits = channel_.loop()->limits();
  return Refuse(
      call, absl::StatusCode::kResourceExhausted,
      absl::StrCat("behind the ", NameOf(first.kind), " in progress ",
                   output_.bytes() - first.size, " bytes wait in ",
                   output_.length() - 1, " operations; the limits are ",
                   limits.output_queue_bytes_max, " and ",
                   limits.output_queue_length_max));
}

}  // namespace aios
