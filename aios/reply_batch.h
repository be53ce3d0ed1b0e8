// What the running callback has answered and not sent yet.

#ifndef AIOS_REPLY_BATCH_H_
#define AIOS_REPLY_BATCH_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "aios/kernel.h"

namespace aios {

// One callback runs at a time, so one batch does for all states of a
// collection.
class ReplyBatch {
 public:
  ReplyBatch() = default;
  ReplyBatch(const ReplyBatch&) = delete;
  ReplyBatch& operator=(const ReplyBatch&) = delete;

  // As many as one gathering send takes.
  static constexpr size_t kLengthMax = 64;
  // What comes without a look at how much there is already.
  static constexpr size_t kSmallSizeMax = size_t{16} << 10;

  // Copies, together.
  static constexpr size_t kCopiedBytesMax = size_t{64} << 10;

  // Whether it is small, and not empty.
  static bool IsSmall(std::string_view data) {
    return data.size() - 1 < kSmallSizeMax;
  }

  bool empty() const { return end_ == buffers_.data(); }
  bool full() const { return end_ == buffers_.data() + kLengthMax; }
  size_t bytes() const { return bytes_; }
  std::span<const ConstBuffer> buffers() const {
    return {buffers_.data(), end_};
  }

  // A first one, however large, or with the others at most `bytes_max`.
  bool HasRoom(std::string_view data, size_t bytes_max) const {
    return empty() || (!full() && data.size() <= bytes_max &&
                       bytes_ <= bytes_max - data.size());
  }

  // It is not full. The bytes stay where they are until `Clear`.
  void Add(std::string_view data) {
    *end_++ = {data.data(), data.size()};
    bytes_ += data.size();
  }

  // The same for a copy of them. Returns false, and does nothing, when that
  // would be more than it copies.
  bool AddCopy(std::string_view data) {
    if (data.size() > kCopiedBytesMax - copied_bytes_) return false;
    if (copies_ == nullptr) copies_.reset(new char[kCopiedBytesMax]);
    char* copy = copies_.get() + copied_bytes_;
    std::memcpy(copy, data.data(), data.size());
    copied_bytes_ += data.size();
    Add({copy, data.size()});
    return true;
  }

  void Clear() {
    end_ = buffers_.data();
    bytes_ = 0;
    copied_bytes_ = 0;
  }

 private:
  std::array<ConstBuffer, kLengthMax> buffers_;
  ConstBuffer* end_ = buffers_.data();
  size_t bytes_ = 0;
  size_t copied_bytes_ = 0;
  // Null until the first copy.
  std::unique_ptr<char[]> copies_;
};

// The same on a datagram socket, of callbacks that follow one another. What the
// datagrams refer to stays where it is until they are sent.
class DatagramReplies {
 public:
  // No datagram is longer.
  static constexpr size_t kSizeMax = 65535;

  // At least one, and no more than one send takes, or than may wait in an
  // output queue behind the first one if the kernel took none.
  DatagramReplies(size_t waiting_max, size_t waiting_bytes_max)
      : full_(datagrams_.data() + 1 +
              std::min({datagrams_.size() - 1, waiting_max,
                        waiting_bytes_max / kSizeMax})) {}
  DatagramReplies(const DatagramReplies&) = delete;
  DatagramReplies& operator=(const DatagramReplies&) = delete;

  bool empty() const { return end_ == datagrams_.data(); }
  bool full() const { return end_ == full_; }
  size_t length() const {
    return static_cast<size_t>(end_ - datagrams_.data());
  }
  std::span<const OutgoingDatagram> datagrams() const {
    return {datagrams_.data(), end_};
  }

  // They are not full.
  void Add(const OutgoingDatagram& datagram) { *end_++ = datagram; }
  void Clear() { end_ = datagrams_.data(); }

 private:
  std::array<OutgoingDatagram, 64> datagrams_;
  OutgoingDatagram* end_ = datagrams_.data();
  OutgoingDatagram* const full_;
};

}  // namespace aios

#endif  // AIOS_REPLY_BATCH_H_
