#include "aios/address.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace aios {
namespace {

// The bytes before the IPv4 address in ::ffff:a.b.c.d.
constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0,    0,
                                                   0, 0, 0, 0, 0xff, 0xff};

uint32_t ReadBigEndian(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 |
         uint32_t{bytes[2]} << 8 | uint32_t{bytes[3]};
}

void WriteBigEndian(uint32_t value, uint8_t* bytes) {
  for (int i = 3; i >= 0; --i) {
    bytes[i] = static_cast<uint8_t>(value);
    value >>= 8;
  }
}

}  // namespace

IpAddress IpAddress::FromIpv4(uint32_t value) {
  IpAddress address;
  WriteBigEndian(value, address.bytes_.data());
  return address;
}

IpAddress IpAddress::FromIpv6(const Ipv6Bytes& bytes, uint32_t scope) {
  IpAddress address;
  address.bytes_ = bytes;
  address.scope_ = scope;
  address.family_ = Family::kIpv6;
  return address;
}

IpAddress IpAddress::Any(Family family) {
  return family == Family::kIpv4 ? FromIpv4(0) : FromIpv6({});
}

IpAddress IpAddress::Loopback(Family family) {
  if (family == Family::kIpv4) return FromIpv4(0x7F000001);
  Ipv6Bytes bytes = {};
  bytes[15] = 1;
  return FromIpv6(bytes);
}

bool IpAddress::is_any() const {
  if (is_ipv4() || is_ipv4_mapped()) return ipv4() == 0;
  return bytes_ == Ipv6Bytes{};
}

bool IpAddress::is_loopback() const {
  if (is_ipv4() || is_ipv4_mapped()) return ipv4() >> 24 == 127;
  return bytes_ == Loopback(Family::kIpv6).bytes_;
}

bool IpAddress::is_ipv4_mapped() const {
  return is_ipv6() &&
         std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes_.begin());
}

uint32_t IpAddress::ipv4() const {
  if (is_ipv4()) return ReadBigEndian(bytes_.data());
  return is_ipv4_mapped() ? ReadBigEndian(&bytes_[kMappedPrefix.size()]) : 0;
}

IpAddress::Ipv6Bytes IpAddress::ipv6() const {
  if (is_ipv6()) return bytes_;
  Ipv6Bytes bytes;
  std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin());
  std::copy_n(bytes_.begin(), 4, bytes.begin() + kMappedPrefix.size());
  return bytes;
}

IpAddress IpAddress::ToIpv4Mapped() const {
  return is_ipv4() ? FromIpv6(ipv6()) : *this;
}

}  // namespace aios
