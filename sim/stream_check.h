// Whether a stream arrives as it was sent.

#ifndef AIOS_SIM_STREAM_CHECK_H_
#define AIOS_SIM_STREAM_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <utility>

namespace aios::sim {

// One direction of a connection, seen from both programs: what one writes and
// what the other reads. It keeps no bytes, only a hash of the stream up to each
// place where a write ended and reading has not arrived yet.
class StreamCheck {
 public:
  void Written(std::span<const char> bytes) {
    for (char byte : bytes) write_hash_ = Next(write_hash_, byte);
    written_ += bytes.size();
    marks_.emplace_back(written_, write_hash_);
  }

  // False when these cannot be the next bytes of what was written.
  bool Read(std::span<const char> bytes) {
    for (char byte : bytes) {
      read_hash_ = Next(read_hash_, byte);
      ++read_;
      if (marks_.empty()) return false;
      if (read_ == marks_.front().first) {
        if (read_hash_ != marks_.front().second) return false;
        marks_.pop_front();
      }
    }
    return true;
  }

  // Whether the end of the stream is where the writer was.
  bool Complete() const { return read_ == written_; }

 private:
  // FNV-1a.
  static uint64_t Next(uint64_t hash, char byte) {
    return (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  }

  uint64_t written_ = 0;
  uint64_t read_ = 0;
  uint64_t write_hash_ = 0xcbf29ce484222325;
  uint64_t read_hash_ = 0xcbf29ce484222325;
  std::deque<std::pair<uint64_t, uint64_t>> marks_;
};

// Both directions: from the end that connected, and back.
struct ConnectionCheck {
  StreamCheck forth;
  StreamCheck back;
};

}  // namespace aios::sim

#endif  // AIOS_SIM_STREAM_CHECK_H_
