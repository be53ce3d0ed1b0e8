// Datagrams that were received together and are handed out one by one, and the
// memory for them.

#ifndef AIOS_DATAGRAM_BATCH_H_
#define AIOS_DATAGRAM_BATCH_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "aios/address.h"
#include "aios/kernel.h"

namespace aios {

class DatagramBatch {
 public:
  static constexpr size_t kMax = 64;

  DatagramBatch() : bytes_(new char[kMax * kBytesMax]) {
    for (size_t i = 0; i != kMax; ++i) {
      datagrams_[i].buffer = {bytes_.get() + i * kBytesMax, kBytesMax};
    }
  }

  bool empty() const { return next_ == end_; }

  // Receives up to `count` datagrams; the batch must be empty.
  Transfer Receive(Kernel& kernel, Handle handle, bool want_sender,
                   size_t count) {
    Transfer transfer = kernel.ReceiveDatagrams(
        handle, want_sender, std::span(datagrams_).first(count));
    next_ = 0;
    end_ = transfer.count;
    return transfer;
  }

  // Receives one; the batch must be empty.
  Error ReceiveOne(Kernel& kernel, Handle handle) {
    Error error =
        kernel.ReceiveDatagram(handle, datagrams_[0].buffer,
                               /*want_sender=*/true, datagrams_.data());
    next_ = 0;
    end_ = error.ok() ? 1 : 0;
    return error;
  }

  // Takes the next one out as it lies; the batch must not be empty. It stays
  // until the next `Receive`.
  const IncomingDatagram& Next() {
    kept_bytes_ = 0;
    return datagrams_[next_++];
  }
  // The one that was taken out last.
  const IncomingDatagram& last() const { return datagrams_[next_ - 1]; }

  // Makes sure that the bytes of `data` stay until the next `Receive`, by
  // copying them behind the datagram taken out last, unless they are in the
  // batch anyway. They are not longer than a datagram. Returns false when there
  // is no room.
  bool Keep(std::string_view* data) {
    if (Contains(*data) || data->empty()) return true;
    const IncomingDatagram& datagram = last();
    size_t begin = datagram.size + kept_bytes_;
    if (data->size() > kBytesMax - begin) return false;
    char* copy = datagram.buffer.data() + begin;
    std::memcpy(copy, data->data(), data->size());
    kept_bytes_ += data->size();
    *data = {copy, data->size()};
    return true;
  }

  // Takes the next one out as if it had been received into `buffer`; the batch
  // must not be empty. What is returned stays until the next `Receive`.
  const IncomingDatagram& Take(std::span<char> buffer) {
    IncomingDatagram& datagram = datagrams_[next_++];
    if (datagram.size > buffer.size()) [[unlikely]] {
      datagram.size = buffer.size();
      datagram.truncated = true;
    }
    std::memcpy(buffer.data(), datagram.buffer.data(), datagram.size);
    return datagram;
  }

  // Forgets those that are left.
  void Clear() { next_ = end_; }

 private:
  // Longer than any datagram. 4 MB in all, of which the system gives memory for
  // what datagrams have filled.
  static constexpr size_t kBytesMax = size_t{64} << 10;

  bool Contains(std::string_view data) const {
    uintptr_t offset = reinterpret_cast<uintptr_t>(data.data()) -
                       reinterpret_cast<uintptr_t>(bytes_.get());
    return offset <= kMax * kBytesMax - data.size();
  }

  std::unique_ptr<char[]> bytes_;
  std::array<IncomingDatagram, kMax> datagrams_;
  size_t next_ = 0;
  size_t end_ = 0;
  // Behind the datagram taken out last.
  size_t kept_bytes_ = 0;
};

// How many datagrams to ask for at a time. One, as long as each is answered
// before the next comes; but sometimes two, and when there are two, more.
class BatchSize {
 public:
  size_t get() const { return size_; }

  // One was asked for, and came.
  void CameAlone() {
    if (++alone_ >= alone_max_) {
      alone_ = 0;
      size_ = 2;
    }
  }

  // More than one was asked for, and `count` came.
  void Came(size_t count) {
    if (count == size_) {
      size_ = std::min(size_ * 2, DatagramBatch::kMax);
      alone_max_ = kAloneMin;
    } else if (count == 1 || count * 4 <= size_) {
      size_ /= 2;
      if (size_ == 1) alone_max_ = std::min(alone_max_ * 2, kAloneMax);
    }
  }

 private:
  static constexpr size_t kAloneMin = 2;
  static constexpr size_t kAloneMax = 64;

  size_t size_ = 1;
  size_t alone_ = 0;
  size_t alone_max_ = kAloneMin;
};

}  // namespace aios

#endif  // AIOS_DATAGRAM_BATCH_H_
