// The rules of connects.

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "sim/oracle.h"

namespace aios::sim {

void Oracle::OnConnect(Handle handle, Error error) {
  if (error.ok()) {
    OnPeerAddress(handle, error);
  } else if (error.code() != EINPROGRESS) {
    FailConnect(handle, error);
  }
}

void Oracle::OnTakeError(Handle handle, Error error) {
  if (!error.ok()) FailConnect(handle, error);
}

void Oracle::FailConnect(Handle handle, Error error) {
  State* state = FindSocket(handle);
  if (state == nullptr || state->connect == nullptr) return;
  state->connect->error = error.code();
  Owe(*state->connect);
}

void Oracle::OnPeerAddress(Handle handle, Error error) {
  if (!error.ok()) return;
  ++proofs_;
  State* state = FindSocket(handle);
  if (state == nullptr || state->connect == nullptr) return;
  // It may also be the user who asks.
  state->connect->connected = true;
  Note(*state->connect);
}

// One to a name makes sockets that nobody has told of: any proof will do.
void Oracle::JudgeConnect(const Operation& operation, const IoResult& result) {
  const bool named = operation.start.handle == kNoHandle;
  bool right = false;
  switch (result.status) {
    case IoStatus::kOk:
      right = named ? proofs_ != operation.proofs : operation.connected;
      break;
    case IoStatus::kError:
      right = !result.error.ok() && (named || operation.error == 0 ||
                                     result.error.code() == operation.error);
      break;
    case IoStatus::kTimeout:
      right =
          operation.timed_out && operation.error == 0 && !operation.connected;
      break;
    case IoStatus::kEof:
    case IoStatus::kAborted:
      break;
  }
  if (right) return;
  Violation(
      rule::kConnectStatus,
      absl::StrCat("it ends with ", std::string(IoStatusName(result.status)),
                   " ", result.error.ok() ? "" : result.error.Name(),
                   ", and the kernel ",
                   operation.connected ? std::string("told of a peer")
                   : operation.error != 0
                       ? absl::StrCat("said ", Error(operation.error).Name())
                       : std::string("did not say so")),
      operation);
}

}  // namespace aios::sim
