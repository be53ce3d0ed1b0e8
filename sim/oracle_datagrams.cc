// The rules of received datagrams.

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "sim/oracle.h"

namespace aios::sim {

void Oracle::OnReceiveDatagram(Handle handle, std::span<const char> buffer,
                               bool with_sender,
                               const IncomingDatagram& datagram, Error error) {
  State* state = FindSocket(handle);
  if (state == nullptr || !state->datagram_socket) return;
  Operation* operation = InputFor(*state);
  if (operation == nullptr || error.code() == EAGAIN) return;
  if (error.ok()) {
    ObservedDatagram& added = state->datagrams.emplace_back();
    added.bytes.assign(buffer.data(), datagram.size);
    added.truncated = datagram.truncated;
    if (with_sender) added.sender = datagram.sender;
  } else {
    operation->error = error.code();
  }
  Owe(*operation);
}

// Whether `told` is what became of `datagram` in a buffer of so many bytes.
static bool IsTold(const ObservedDatagram& datagram, size_t size,
                   const IoResult& told) {
  std::string_view bytes = datagram.bytes;
  return told.data == bytes.substr(0, size) && told.count == told.data.size() &&
         told.truncated == (datagram.truncated || bytes.size() > size) &&
         (told.sender == nullptr || !datagram.sender.has_value() ||
          *told.sender == *datagram.sender);
}

void Oracle::JudgeDatagram(Operation& operation, const IoResult& result) {
  State& state = *operation.state;
  size_t size = operation.start.kind == OperationKind::kReceiveMessage
                    ? operation.start.size
                    : std::string::npos;
  while (state.datagrams_doubtful != 0 && !state.datagrams.empty() &&
         !IsTold(state.datagrams.front(), size, result)) {
    state.datagrams.pop_front();
    --state.datagrams_doubtful;
  }
  if (state.datagrams.empty()) {
    Violation(rule::kDatagram, "it tells of a datagram that was not received",
              operation);
    return;
  }
  const ObservedDatagram& first = state.datagrams.front();
  if (!IsTold(first, size, result)) {
    Violation(
        rule::kDatagram,
        absl::StrCat(
            "it tells of ", result.count, " bytes",
            result.truncated ? ", truncated," : "", " from ",
            result.sender != nullptr ? result.sender->ToString() : "somebody",
            "; received were ", first.bytes.size(),
            first.truncated ? ", truncated," : "", " from ",
            first.sender.has_value() ? first.sender->ToString() : "somebody"),
        operation);
  }
  state.datagrams.pop_front();
}

}  // namespace aios::sim
