// What a state has read from its socket and nobody has consumed yet, and who
// may look at it now.

#ifndef AIOS_STATE_RECEIVED_H_
#define AIOS_STATE_RECEIVED_H_

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "aios/input_buffer.h"
#include "aios/state/phases.h"

namespace aios {

class Received {
 public:
  size_t size() const { return buffer_ != nullptr ? buffer_->size() : 0; }
  std::string_view view() const {
    return buffer_ != nullptr ? buffer_->view() : std::string_view();
  }
  // How much of it the callback of a `ReadWithChecking` has seen before.
  size_t old_length() const {
    return buffer_ != nullptr ? buffer_->old_length : 0;
  }
  void MarkAsSeen(size_t length) { buffer_->old_length = length; }
  void MarkAsNew() {
    if (buffer_ != nullptr) buffer_->old_length = 0;
  }

  // There is a buffer, perhaps an empty one.
  bool has_buffer() const { return buffer_ != nullptr; }
  // The same as `view` and `size` where there is one.
  std::string_view bytes() const { return buffer_->view(); }
  size_t length() const { return buffer_->size(); }
  bool Holds(std::string_view data) const { return buffer_->Holds(data); }

  InCallback in_callback() const { return in_callback_; }
  void set_in_callback(InCallback phase) { in_callback_ = phase; }

  // Whether the loop has an observer, who is to hear of all that a callback
  // does.
  bool observed() const { return observed_; }
  void set_observed() { observed_ = true; }

  // Whether the running callback may drop the first `n` bytes.
  bool MayDrop(size_t n) const {
    return MayDiscard(in_callback_) && n <= size();
  }
  // The same, and nobody else is to hear of it.
  bool MayDropUnseen(size_t n) const { return MayDrop(n) && !observed_; }
  void Drop(size_t n) {
    if (n != 0) buffer_->Consume(n);
  }

  // Where to read up to `wanted` bytes; mostly a buffer that is new here.
  std::span<char> Room(InputBufferPool& pool, size_t wanted,
                       size_t buffer_bytes_max) {
    size_t size = std::min(wanted, buffer_bytes_max);
    if (buffer_ != nullptr || size > InputBuffer::kCapacity || !pool.has_next())
        [[unlikely]] {
      return MoreRoom(pool, wanted, buffer_bytes_max);
    }
    pool.Take(buffer_);
    return buffer_->RoomOfEmpty(size);
  }
  void Append(size_t n) { buffer_->Append(n); }

  // Moves as much of it as fits into `buffer`, and returns how much.
  size_t Take(std::span<char> buffer) {
    if (buffer_ == nullptr) return 0;
    std::string_view there = buffer_->view();
    size_t count = std::min(there.size(), buffer.size());
    std::memcpy(buffer.data(), there.data(), count);
    buffer_->Consume(count);
    return count;
  }

  // Gives the empty buffer back.
  void GiveEmpty(InputBufferPool& pool) { pool.Give(buffer_); }

  // The same if it is empty and nobody looks at it. `pool` is null when the
  // state is closed.
  void Release(InputBufferPool* pool) {
    if (buffer_ == nullptr || buffer_->size() != 0 ||
        LooksAtInput(in_callback_)) {
      return;
    }
    if (pool != nullptr) {
      pool->Give(buffer_);
    } else {
      buffer_.reset();
    }
  }

 private:
  std::span<char> MoreRoom(InputBufferPool& pool, size_t wanted,
                           size_t buffer_bytes_max);

  // Exists while it holds something, is being filled, or a callback looks at
  // it.
  std::unique_ptr<InputBuffer> buffer_;
  InCallback in_callback_ = InCallback::kNone;
  bool observed_ = false;
};

}  // namespace aios

#endif  // AIOS_STATE_RECEIVED_H_
