// The buffer of bytes that were read from a socket and not yet consumed.

#ifndef AIOS_INPUT_BUFFER_H_
#define AIOS_INPUT_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace aios {

// Grows at its end and is consumed at its front.
class InputBuffer {
 public:
  // The capacity that buffers start with, and with which the pool keeps them.
  static constexpr size_t kCapacity = size_t{64} << 10;

  InputBuffer();

  size_t size() const { return end_ - begin_; }
  std::string_view view() const { return {data_.get() + begin_, size()}; }

  // Whether `data`, which is one piece, lies in the memory of this buffer.
  bool Holds(std::string_view data) const {
    return reinterpret_cast<uintptr_t>(data.data()) -
               reinterpret_cast<uintptr_t>(data_.get()) <
           capacity_;
  }

  // Room for up to `wanted` bytes behind the contents, which may move: fewer
  // rather than making the buffer larger, but never much fewer and never none.
  std::span<char> Room(size_t wanted) {
    if (capacity_ - end_ < wanted) [[unlikely]] {
      wanted = MakeRoom(wanted);
    }
    return {data_.get() + end_, wanted};
  }
  // The same of an empty one; at most `kCapacity`.
  std::span<char> RoomOfEmpty(size_t wanted) { return {data_.get(), wanted}; }
  // The first `n` bytes of the room have been filled.
  void Append(size_t n) { end_ += n; }
  // `n` is not greater than `size()`.
  void Consume(size_t n) {
    begin_ += n;
    if (begin_ == end_) {
      begin_ = 0;
      end_ = 0;
    }
  }

  // How much of the contents the callback has seen already.
  size_t old_length = 0;

 private:
  friend class InputBufferPool;

  // Returns how much room there is then, at most `wanted`.
  size_t MakeRoom(size_t wanted);

  std::unique_ptr<char[]> data_;
  size_t capacity_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

// Keeps the buffers that connections gave back when all was consumed, so that
// an idle connection owns none and a busy one need not allocate.
class InputBufferPool {
 public:
  // Most callbacks consume all, and the next connection reads into the same
  // buffer: more are needed only where bytes are left for the next callback.
  static constexpr size_t kKeptMax = 32;

  // Whether `Take` need not look further.
  bool has_next() const { return next_ != nullptr; }

  // Fills `place`, which is null.
  void Take(std::unique_ptr<InputBuffer>& place) {
    if (next_ == nullptr) [[unlikely]] {
      TakeOther();
    }
    place.swap(next_);
  }

  // Takes what is in `place`, an empty buffer.
  void Give(std::unique_ptr<InputBuffer>& place) {
    place->old_length = 0;
    if (place->capacity_ != InputBuffer::kCapacity || next_ != nullptr)
        [[unlikely]] {
      GiveOther(place);
      return;
    }
    place.swap(next_);
  }

 private:
  void TakeOther();
  void GiveOther(std::unique_ptr<InputBuffer>& place);

  // Mostly there is this one, which all connections use in turn.
  std::unique_ptr<InputBuffer> next_;
  std::vector<std::unique_ptr<InputBuffer>> others_;
};

}  // namespace aios

#endif  // AIOS_INPUT_BUFFER_H_
