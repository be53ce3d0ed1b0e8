#include "tests/system_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "aios/address.h"

namespace aios {

std::optional<IpAddress> SystemParse(std::string_view text) {
  // Where the system would see the end.
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  const std::string terminated(text);
  in_addr v4;
  if (inet_pton(AF_INET, terminated.c_str(), &v4) == 1) {
    return IpAddress::FromIpv4(ntohl(v4.s_addr));
  }
  IpAddress::Ipv6Bytes v6;
  if (inet_pton(AF_INET6, terminated.c_str(), v6.data()) == 1) {
    return IpAddress::FromIpv6(v6);
  }
  return std::nullopt;
}

std::string SystemText(const IpAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.is_ipv4()) {
    const in_addr v4 = {htonl(address.ipv4())};
    inet_ntop(AF_INET, &v4, text, sizeof(text));
  } else {
    const IpAddress::Ipv6Bytes v6 = address.ipv6();
    inet_ntop(AF_INET6, v6.data(), text, sizeof(text));
  }
  return text;
}

bool SystemTextDiffers(const IpAddress& address) {
  const IpAddress::Ipv6Bytes bytes = address.ipv6();
  return address.is_ipv6() &&
         std::all_of(bytes.begin(), bytes.begin() + 12,
                     [](uint8_t byte) { return byte == 0; }) &&
         (bytes[12] != 0 || bytes[13] != 0);
}

}  // namespace aios
