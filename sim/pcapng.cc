#include "sim/pcapng.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sim/choice.h"
#include "sim/fault_name.h"

namespace aios::sim {

namespace {

constexpr uint16_t kLinkTypeRaw = 101;  // bare IP packets of either version
constexpr uint8_t kIcmp = 1;
constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;
constexpr uint8_t kIcmpv6 = 58;
constexpr int kWindowScale = 7;

// Network byte order.
class Bytes {
 public:
  void Put8(uint8_t value) { text_.push_back(static_cast<char>(value)); }
  void Put16(uint16_t value) {
    Put8(static_cast<uint8_t>(value >> 8));
    Put8(static_cast<uint8_t>(value));
  }
  void Put32(uint32_t value) {
    Put16(static_cast<uint16_t>(value >> 16));
    Put16(static_cast<uint16_t>(value));
  }
  void Put(const std::string& text) { text_ += text; }
  void PutAddress(const IpAddress& address) {
    if (address.is_ipv4()) {
      Put32(address.ipv4());
    } else {
      for (uint8_t byte : address.ipv6()) Put8(byte);
    }
  }
  void Set16(size_t place, uint16_t value) {
    text_[place] = static_cast<char>(value >> 8);
    text_[place + 1] = static_cast<char>(value);
  }
  std::string& text() { return text_; }
  size_t size() const { return text_.size(); }

 private:
  std::string text_;
};

// Blocks of the file, in the byte order of this machine as the format wants.
class Block {
 public:
  template <typename T>
  void Put(T value) {
    for (size_t i = 0; i != sizeof(T); ++i) {
      text_.push_back(static_cast<char>(value >> (8 * i)));
    }
  }
  void PutPadded(const std::string& text) {
    text_ += text;
    while (text_.size() % 4 != 0) text_.push_back('\0');
  }
  void PutOption(uint16_t code, const std::string& value) {
    Put(code);
    Put(static_cast<uint16_t>(value.size()));
    PutPadded(value);
  }
  std::string Finish(uint32_t type) const {
    Block block;
    auto length = static_cast<uint32_t>(text_.size() + 12);
    block.Put(type);
    block.Put(length);
    block.text_ += text_;
    block.Put(length);
    return block.text_;
  }

 private:
  std::string text_;
};

uint32_t Sum(const std::string& text, uint32_t sum) {
  for (size_t i = 0; i < text.size(); i += 2) {
    auto high = static_cast<unsigned char>(text[i]);
    auto low =
        i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    sum += static_cast<uint32_t>(high << 8 | low);
  }
  return sum;
}

uint16_t Checksum(const std::string& text, uint32_t sum = 0) {
  sum = Sum(text, sum);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

uint32_t PseudoHeaderSum(const IpAddress& source, const IpAddress& target,
                         uint8_t protocol, size_t length) {
  Bytes header;
  header.PutAddress(source);
  header.PutAddress(target);
  header.Put32(static_cast<uint32_t>(length));
  header.Put32(protocol);
  return Sum(header.text(), 0);
}

// The simulated numbers start at zero; real ones do not.
uint32_t InitialSequence(const SocketAddress& from, const SocketAddress& to) {
  uint64_t value = Mix(from.port(), to.port());
  for (uint8_t byte : from.ip().ipv6()) value = Mix(value, byte);
  for (uint8_t byte : to.ip().ipv6()) value = Mix(value, byte);
  return static_cast<uint32_t>(value);
}

std::string Ip(const IpAddress& source, const IpAddress& target,
               uint8_t protocol, uint64_t id, const std::string& payload) {
  Bytes header;
  if (source.is_ipv4()) {
    header.Put16(0x4500);
    header.Put16(static_cast<uint16_t>(20 + payload.size()));
    header.Put16(static_cast<uint16_t>(id));
    header.Put16(0x4000);  // do not fragment
    header.Put8(64);
    header.Put8(protocol);
    header.Put16(0);
    header.PutAddress(source);
    header.PutAddress(target);
    header.Set16(10, Checksum(header.text()));
  } else {
    header.Put32(0x60000000);
    header.Put16(static_cast<uint16_t>(payload.size()));
    header.Put8(protocol);
    header.Put8(64);
    header.PutAddress(source);
    header.PutAddress(target);
  }
  header.Put(payload);
  return std::move(header.text());
}

std::string Tcp(const Packet& packet) {
  bool syn = (packet.flags & Packet::kSyn) != 0;
  bool ack = (packet.flags & Packet::kAck) != 0;
  Bytes segment;
  segment.Put16(packet.source.port());
  segment.Put16(packet.target.port());
  segment.Put32(InitialSequence(packet.source, packet.target) +
                static_cast<uint32_t>(packet.sequence));
  segment.Put32(ack ? InitialSequence(packet.target, packet.source) +
                          static_cast<uint32_t>(packet.acknowledged)
                    : 0);
  uint8_t flags = 0;
  if ((packet.flags & Packet::kFin) != 0) flags |= 0x01;
  if (syn) flags |= 0x02;
  if ((packet.flags & Packet::kRst) != 0) flags |= 0x04;
  if (!packet.payload.empty()) flags |= 0x08;
  if (ack) flags |= 0x10;
  segment.Put8(syn ? 0x60 : 0x50);
  segment.Put8(flags);
  uint64_t window = syn ? packet.window : packet.window >> kWindowScale;
  segment.Put16(static_cast<uint16_t>(std::min<uint64_t>(window, 65535)));
  segment.Put32(0);  // checksum, urgent pointer
  // The scale of the window, padded to four bytes.
  if (syn) segment.Put32(0x01030300 | kWindowScale);
  segment.Put({packet.payload.begin(), packet.payload.end()});
  segment.Set16(
      16, Checksum(segment.text(),
                   PseudoHeaderSum(packet.source.ip(), packet.target.ip(), kTcp,
                                   segment.size())));
  return std::move(segment.text());
}

std::string Udp(const SocketAddress& source, const SocketAddress& target,
                const std::vector<char>& payload) {
  Bytes datagram;
  datagram.Put16(source.port());
  datagram.Put16(target.port());
  datagram.Put16(static_cast<uint16_t>(8 + payload.size()));
  datagram.Put16(0);
  datagram.Put({payload.begin(), payload.end()});
  uint16_t checksum = Checksum(
      datagram.text(),
      PseudoHeaderSum(source.ip(), target.ip(), kUdp, datagram.size()));
  // Zero would say that there is none.
  datagram.Set16(6, checksum == 0 ? 0xffff : checksum);
  return std::move(datagram.text());
}

// "No such port", with the head of the datagram that found none.
std::string Unreachable(const Packet& packet) {
  std::string original = Ip(packet.target.ip(), packet.source.ip(), kUdp, 0,
                            Udp(packet.target, packet.source, {}));
  bool ipv4 = packet.source.ip().is_ipv4();
  Bytes message;
  message.Put8(ipv4 ? 3 : 1);
  message.Put8(ipv4 ? 3 : 4);
  message.Put16(0);
  message.Put32(0);
  message.Put(original);
  uint32_t sum = ipv4 ? 0
                      : PseudoHeaderSum(packet.source.ip(), packet.target.ip(),
                                        kIcmpv6, message.size());
  message.Set16(2, Checksum(message.text(), sum));
  return std::move(message.text());
}

std::string OnTheWire(const Packet& packet) {
  const IpAddress& source = packet.source.ip();
  const IpAddress& target = packet.target.ip();
  switch (packet.protocol) {
    case Packet::Protocol::kTcp:
      return Ip(source, target, kTcp, packet.id, Tcp(packet));
    case Packet::Protocol::kUdp:
      return Ip(source, target, kUdp, packet.id,
                Udp(packet.source, packet.target, packet.payload));
    case Packet::Protocol::kUnreachable:
      return Ip(source, target, source.is_ipv4() ? kIcmp : kIcmpv6, packet.id,
                Unreachable(packet));
  }
  return {};
}

}  // namespace

std::string ToPcapng(const Recording& recording) {
  std::string file;
  Block section;
  section.Put(uint32_t{0x1a2b3c4d});
  section.Put(uint16_t{1});
  section.Put(uint16_t{0});
  section.Put(~uint64_t{0});  // its length is not given
  file += section.Finish(0x0a0d0d0a);
  for (const std::string& host : recording.hosts()) {
    Block interface;
    interface.Put(kLinkTypeRaw);
    interface.Put(uint16_t{0});
    interface.Put(uint32_t{0});  // packets are not cut
    interface.PutOption(2, host);
    interface.PutOption(9, std::string(1, '\x09'));  // nanoseconds
    interface.Put(uint32_t{0});
    file += interface.Finish(1);
  }
  for (const RecordedPacket& recorded : recording.packets()) {
    std::string bytes = OnTheWire(recorded.packet);
    Block packet;
    packet.Put(recorded.packet.from);
    auto time = static_cast<uint64_t>(recorded.sent);
    packet.Put(static_cast<uint32_t>(time >> 32));
    packet.Put(static_cast<uint32_t>(time));
    packet.Put(static_cast<uint32_t>(bytes.size()));
    packet.Put(static_cast<uint32_t>(bytes.size()));
    packet.PutPadded(bytes);
    if (recorded.dropped) {
      packet.PutOption(
          1, recorded.fault == Fault::kCount
                 ? std::string("dropped: nobody has this address")
                 : absl::StrCat("dropped: ",
                                std::string(FaultName(recorded.fault))));
      packet.Put(uint32_t{0});
    }
    file += packet.Finish(6);
  }
  return file;
}

}  // namespace aios::sim
