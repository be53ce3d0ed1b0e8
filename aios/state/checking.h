// `ReadWithChecking`: reading into the state's own buffer, again and again.

#ifndef AIOS_STATE_CHECKING_H_
#define AIOS_STATE_CHECKING_H_

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/base/attributes.h"
#include "aios/error.h"
#include "aios/event_loop.h"
#include "aios/input_buffer.h"
#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/state/channel.h"
#include "aios/state/input.h"
#include "aios/state/received.h"

namespace aios {

class Checking {
 public:
  static constexpr size_t kMaxReadMax = size_t{1} << 30;
  static bool IsMaxRead(size_t max_read) { return max_read - 1 < kMaxReadMax; }

  size_t max_read() const { return max_read_; }
  void set_max_read(size_t max_read) {
    max_read_ = static_cast<uint32_t>(max_read);
  }

  // Reads once. Returns how many bytes came; none: see `End`.
  size_t Read(EventLoop& loop, Channel& channel, Received& received,
              Error* error) {
    std::span<char> room = received.Room(loop.input_buffers(), max_read_,
                                         loop.limits().input_buffer_bytes_max);
    Transfer transfer = channel.Receive(loop, room);
    received.Append(transfer.count);
    *error = transfer.error;
    return transfer.count;
  }

  // The read gave none, with `error` or the end as the reason: returns whether
  // the operation has ended by it.
  ABSL_ATTRIBUTE_NOINLINE static bool End(EventLoop& loop, Received& received,
                                          Input& input, Error error) {
    if (received.length() == 0) received.GiveEmpty(loop.input_buffers());
    return input.EndStream(error);
  }

  // After `sum` bytes in this turn, of which `count` came last: whether to read
  // again at once. When that was as much as it may be, most likely there is
  // more already, and asking for it costs less than waiting for it.
  static bool IsStream(size_t count) { return count >= kStreamReadMin; }
  bool MayReadAgain(EventLoop& loop, size_t sum, size_t count) const {
    return count == std::min<size_t>(max_read_, InputBuffer::kCapacity) &&
           sum + count <= loop.limits().bytes_per_turn_max;
  }

  // The callback has returned, and wants more.
  ABSL_ATTRIBUTE_ALWAYS_INLINE void GoOn(EventLoop& loop, Channel& channel,
                                         Received& received, Input& input) {
    input.PutOffDeadline(loop, channel);
    size_t size = received.length();
    if (size == 0) [[likely]] {
      received.GiveEmpty(loop.input_buffers());
    } else {
      received.MarkAsSeen(size);
      if (!input.is_over() && size >= loop.limits().input_buffer_bytes_max)
          [[unlikely]] {
        input.Complete(loop, channel, IoStatus::kError, Error(EMSGSIZE));
        return;
      }
    }
    // One whose stream is over is in nobody's interest.
    if (!channel.Wants(kReadable)) [[unlikely]] {
      Await(loop, channel, input);
    }
  }

 private:
  // What is read in pieces of at least this size is a stream, not messages.
  static constexpr size_t kStreamReadMin = size_t{16} << 10;

  // Keeps the rare step out of the way of those that go on.
  ABSL_ATTRIBUTE_NOINLINE static void Await(EventLoop& loop, Channel& channel,
                                            Input& input) {
    input.Await(loop, channel);
  }

  uint32_t max_read_ = 16 << 10;
};

}  // namespace aios

#endif  // AIOS_STATE_CHECKING_H_
