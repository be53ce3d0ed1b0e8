// Output operations and the pool they come from.

#ifndef AIOS_STATE_OUTPUT_OPERATION_H_
#define AIOS_STATE_OUTPUT_OPERATION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "aios/address.h"
#include "aios/error.h"
#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/state/phases.h"
#include "aios/ticket_queue.h"

namespace aios {

class Channel;

// The lookup of the name that a datagram goes to.
class TargetLookup {
 public:
  virtual ~TargetLookup() = default;

  // The target is not known yet; or it never will be, and why.
  bool pending() const { return pending_; }
  Error error() const { return error_; }
  bool found() const { return !pending_ && error_.ok(); }
  // As `IoResult::detail`.
  const std::string& detail() const { return detail_; }

  // The operation has ended: nobody waits for the answer any more.
  virtual void End(IoStatus status) = 0;

 protected:
  bool pending_ = false;
  Error error_;
  std::string detail_;
};

// One `WriteBuffer`, `SendMessage` or `SendMessageToAddress`, or what waits of
// some replies.
struct OutputOperation {
  OutputOperation* next = nullptr;
  Channel* channel = nullptr;
  const char* data = nullptr;
  size_t size = 0;
  size_t done = 0;
  // `kNotGiven`: that of the state when the operation's turn comes.
  static constexpr Nanoseconds kNotGiven = -1;
  Nanoseconds timeout = kNotGiven;
  // Empty in the pool. Being optional they are set and reset without a look at
  // what was in them.
  std::optional<IoCallback> callback;
  std::optional<IoCallback> error_callback;
  // The bytes of a reply; otherwise null, and they are the caller's.
  std::unique_ptr<char[]> owned;
  SocketAddress target;
  // Null unless the target was given by a name that had to be looked up.
  std::unique_ptr<TargetLookup> lookup;
  // The outcome, from when it is known; `ticket` is set then.
  Error error;
  IoStatus status = IoStatus::kOk;
  OutputKind kind = OutputKind::kWriteBuffer;
  Ticket ticket = kNoTicket;
};

class OutputOperationPool {
 public:
  OutputOperationPool() = default;
  ~OutputOperationPool();
  OutputOperationPool(const OutputOperationPool&) = delete;
  OutputOperationPool& operator=(const OutputOperationPool&) = delete;

  OutputOperation* Take() {
    if (kept_ == nullptr) [[unlikely]] {
      return new OutputOperation;
    }
    OutputOperation* operation = kept_;
    kept_ = operation->next;
    --kept_count_;
    return operation;
  }

  // The callbacks must have been reset.
  void Give(OutputOperation* operation) {
    if (operation->lookup != nullptr || operation->owned != nullptr)
        [[unlikely]] {
      operation->lookup.reset();
      operation->owned.reset();
    }
    if (kept_count_ >= kKeptMax) [[unlikely]] {
      delete operation;
      return;
    }
    operation->next = kept_;
    kept_ = operation;
    ++kept_count_;
  }

 private:
  // About 3 MB; a longer burst goes back to the heap.
  static constexpr size_t kKeptMax = 16384;

  OutputOperation* kept_ = nullptr;
  size_t kept_count_ = 0;
};

}  // namespace aios

#endif  // AIOS_STATE_OUTPUT_OPERATION_H_
