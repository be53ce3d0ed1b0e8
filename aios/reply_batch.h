// What the running callback has answered and not sent yet.

#ifndef AIOS_REPLY_BATCH_H_
#define AIOS_REPLY_BATCH_H_

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "aios/kernel.h"

namespace aios {

// The bytes stay where they are until the callback has returned. One callback
// runs at a time, so one batch does for all states of a collection.
class ReplyBatch {
 public:
  // As many as one gathering send takes.
  static constexpr size_t kLengthMax = 64;

  bool empty() const { return length_ == 0; }
  bool full() const { return length_ == kLengthMax; }
  size_t bytes() const { return bytes_; }
  std::span<const ConstBuffer> buffers() const {
    return {buffers_.data(), length_};
  }

  // It is not full.
  void Add(std::string_view data) {
    buffers_[length_++] = {data.data(), data.size()};
    bytes_ += data.size();
  }
  void Clear() {
    length_ = 0;
    bytes_ = 0;
  }

 private:
  size_t length_ = 0;
  size_t bytes_ = 0;
  std::array<ConstBuffer, kLengthMax> buffers_;
};

}  // namespace aios

#endif  // AIOS_REPLY_BATCH_H_
