// How an operation ended: the one small value that every callback receives.

#ifndef AIOS_IO_RESULT_H_
#define AIOS_IO_RESULT_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "aios/address.h"
#include "aios/error.h"

namespace aios {

class AsyncIoState;

// The status of one direction of a state.
// Lisp: nil, :eof, :timeout, and any other value for an error.
enum class IoStatus : uint8_t {
  kOk,       // working
  kEof,      // the peer has ended its stream
  kTimeout,  // the operation did not finish in time
  kAborted,  // ended by `Abort`, or queued behind an operation that failed
  kError,    // see the error code
};

// "ok", "eof", "timeout", "aborted", "error".
std::string_view IoStatusName(IoStatus status);

struct IoResult {
  IoStatus status = IoStatus::kOk;

  // Received datagrams: it was longer than the buffer, and its end is lost.
  bool truncated = false;

  // Abort callbacks: an operation was in progress and has been ended. When
  // false, there was nothing to abort and the other fields are empty.
  bool interrupted = false;

  // The reason when `status` is `kError`; otherwise none.
  Error error;

  // More than the error code says: the name that could not be resolved, the
  // addresses that were tried. A sentence, valid during the callback; empty
  // when there is no more to say.
  std::string_view detail;

  // Bytes done: read into the buffer, received, or handed to the kernel. Counts
  // what happened before a timeout, an abort or an error, too. For
  // `ReadWithChecking`, the length of `data`.
  size_t count = 0;

  // Input operations that read: the `count` bytes, in the caller's buffer or,
  // for `ReadWithChecking`, in the state's; there they may be looked at until
  // the callback returns or has called `Discard` or `Finish`. For
  // `ReceiveMessages`, in the collection's, until the callback returns.
  std::string_view data;

  // `ReceiveMessages`, and `ReceiveMessage` with `needs_address`: who sent the
  // datagram, in the form that `SendMessageToAddress` takes; valid during the
  // callback. Otherwise null.
  const SocketAddress* sender = nullptr;

  bool ok() const { return status == IoStatus::kOk; }

  // OK; OutOfRange for the end of the stream, DeadlineExceeded, Cancelled, or
  // what `Error::ToStatus` gives. The message is `detail` when there is any.
  absl::Status ToStatus() const;
};

// Called once, by the thread that runs the collection, never inside the call
// that started the operation. It should be short: nothing else of the
// collection proceeds meanwhile. It may start operations, abort, close or
// destroy any state, this one included. It must not throw: an exception that
// leaves a callback ends the program.
using IoCallback = absl::AnyInvocable<void(AsyncIoState&, const IoResult&)>;

}  // namespace aios

#endif  // AIOS_IO_RESULT_H_
