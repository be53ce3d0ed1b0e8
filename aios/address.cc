#include "aios/address.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace aios {

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
