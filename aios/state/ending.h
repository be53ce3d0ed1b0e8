// An `Abort`, or something else that ends operations and then calls back.

#ifndef AIOS_STATE_ENDING_H_
#define AIOS_STATE_ENDING_H_

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "aios/address.h"
#include "aios/event_loop.h"
#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/state/channel.h"
#include "aios/ticket_queue.h"

namespace aios {

struct Ending {
  enum class Kind : uint8_t { kAbort, kShutdown, kClose };

  Kind kind = Kind::kAbort;
  Direction direction = Direction::kIo;
  bool keep_alive = false;
  // A `ReadWithChecking` was interrupted: the callback may discard.
  bool checking = false;
  Channel* channel = nullptr;
  IoCallback callback;
  absl::AnyInvocable<void(AsyncIoState&)> close_callback;
  IoResult result;
  SocketAddress sender;
  // Callbacks of what was interrupted; never called. They go with the ending,
  // when no operation refers to anything of theirs any more.
  enum Suppressed : uint8_t { kInput, kInputError, kOutput, kOutputError };
  std::array<IoCallback, 4> suppressed;
  Ticket ticket = kNoTicket;
};

// Whether `part`, which is one direction, is in `direction`.
inline bool Includes(Direction direction, Direction part) {
  return (static_cast<int>(direction) & static_cast<int>(part)) != 0;
}

// Those of a state, in their order.
class Endings {
 public:
  // Asked for inside a callback of the state, to take effect after it.
  void ApplyLater(std::unique_ptr<Ending> ending) {
    to_apply_.push_back(std::move(ending));
  }
  bool has_some_to_apply() const { return !to_apply_.empty(); }
  std::vector<std::unique_ptr<Ending>> TakeThoseToApply() {
    return std::exchange(to_apply_, {});
  }

  // In effect: its callback comes in the completion phase.
  void Queue(EventLoop& loop, Channel& channel, std::unique_ptr<Ending> ending);
  // That moment has come.
  std::unique_ptr<Ending> Unqueue(const Ending& ending);

  // None of them calls back any more. The caller destroys what is returned,
  // when nothing of the state is needed any more.
  std::vector<std::unique_ptr<Ending>> Close(EventLoop& loop);

 private:
  std::vector<std::unique_ptr<Ending>> to_apply_;
  std::vector<std::unique_ptr<Ending>> queued_;
};

}  // namespace aios

#endif  // AIOS_STATE_ENDING_H_
