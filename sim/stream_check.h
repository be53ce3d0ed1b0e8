// Whether streams and datagrams arrive as they were sent.

#ifndef AIOS_SIM_STREAM_CHECK_H_
#define AIOS_SIM_STREAM_CHECK_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <span>
#include <utility>

#include "aios/address.h"

namespace aios::sim {

// Of a stream up to some place, however it was cut into pieces. Eight bytes a
// step; for comparing within a process only.
class StreamHash {
 public:
  void Add(std::span<const char> bytes) {
    // Not by views: this is where a simulation of large streams spends its
    // time, also in builds without optimisation.
    const char* next = bytes.data();
    const char* end = next + bytes.size();
    while (next != end && size_ % 8 != 0) AddByte(*next++);
    uint64_t hash = hash_;
    size_ += static_cast<uint64_t>(end - next) / 8 * 8;
    for (; end - next >= 8; next += 8) {
      uint64_t word;
      std::memcpy(&word, next, 8);
      hash = (hash ^ word) * kFactor;
      hash ^= hash >> 32;
    }
    hash_ = hash;
    while (next != end) AddByte(*next++);
  }

  // How many bytes there were.
  uint64_t size() const { return size_; }
  uint64_t value() const { return Next(hash_, partial_); }

 private:
  static constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;

  static uint64_t Next(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * kFactor;
    return hash ^ (hash >> 32);
  }

  void AddByte(char byte) {
    partial_ = (partial_ << 8) | static_cast<unsigned char>(byte);
    if (++size_ % 8 != 0) return;
    // As `memcpy` reads it.
    char word[8];
    for (size_t i = 0; i != 8; ++i) {
      word[i] = static_cast<char>(partial_ >> (8 * (7 - i)));
    }
    std::memcpy(&partial_, word, 8);
    hash_ = Next(hash_, std::exchange(partial_, 0));
  }

  uint64_t hash_ = 0xcbf29ce484222325;
  uint64_t partial_ = 0;  // the bytes after the last whole word
  uint64_t size_ = 0;
};

// One direction of a connection, seen from both programs: what one writes and
// what the other reads. It keeps no bytes, only a hash of the stream up to each
// place where a write ended and reading has not arrived yet.
class StreamCheck {
 public:
  void Written(std::span<const char> bytes) {
    written_.Add(bytes);
    marks_.emplace_back(written_.size(), written_.value());
  }

  // False when these cannot be the next bytes of what was written.
  bool Read(std::span<const char> bytes) {
    while (!bytes.empty()) {
      if (marks_.empty()) return false;
      auto [place, hash] = marks_.front();
      size_t part = std::min<uint64_t>(bytes.size(), place - read_.size());
      read_.Add(bytes.first(part));
      bytes = bytes.subspan(part);
      if (read_.size() != place) break;
      if (read_.value() != hash) return false;
      marks_.pop_front();
    }
    return true;
  }

  // Whether the end of the stream is where the writer was.
  bool Complete() const { return read_.size() == written_.size(); }

 private:
  StreamHash written_;
  StreamHash read_;
  std::deque<std::pair<uint64_t, uint64_t>> marks_;
};

// Both directions: from the end that connected, and back.
struct ConnectionCheck {
  StreamCheck forth;
  StreamCheck back;
};

// What a datagram is known by: its bytes, and between which addresses it goes.
// Never 0.
inline uint64_t SealOf(std::span<const char> payload,
                       const SocketAddress& source,
                       const SocketAddress& target) {
  StreamHash hash;
  hash.Add(payload);
  for (const SocketAddress* end : {&source, &target}) {
    // With a mark of the family, which tells ::ffff:1.2.3.4 from 1.2.3.4.
    std::array<char, 19> bytes;
    IpAddress::Ipv6Bytes ip = end->ip().ipv6();
    std::memcpy(bytes.data(), ip.data(), ip.size());
    bytes[16] = static_cast<char>(end->port() >> 8);
    bytes[17] = static_cast<char>(end->port());
    bytes[18] = end->ip().is_ipv6() ? 6 : 4;
    hash.Add(bytes);
  }
  return hash.value() | 1;
}

}  // namespace aios::sim

#endif  // AIOS_SIM_STREAM_CHECK_H_
