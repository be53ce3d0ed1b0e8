#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aios/address.h"
#include "aios/text.h"

namespace aios {
namespace {

constexpr size_t kGroups = 8;  // of 16 bits in an IPv6 address

// The longest name of an interface: IF_NAMESIZE, less the final NUL, on every
// system that has one.
constexpr size_t kInterfaceNameSizeMax = 15;

// -1 for what is no hexadecimal digit.
int HexValue(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The functions called Read… return null when they have read all of `text`, or
// else what is wrong with it. The system's inet_pton would neither say that
// nor be the same everywhere: some take leading zeros, some read them as octal.

const char* ReadIpv4(std::string_view text, uint8_t* octets) {
  constexpr const char* kExpected =
      "expected four numbers from 0 to 255, as in 127.0.0.1";
  size_t at = 0;
  for (int i = 0; i < 4; ++i) {
    if (i > 0) {
      if (at == text.size() || text[at] != '.') return kExpected;
      ++at;
    }
    const size_t start = at;
    int value = 0;
    while (at < text.size() && IsDigit(text[at])) {
      value = value * 10 + (text[at] - '0');
      if (value > 255) return "a number is above 255";
      ++at;
    }
    if (at == start) return kExpected;
    // 010 is ten here and eight there, so it is neither.
    if (at - start > 1 && text[start] == '0') {
      return "a number has a leading zero";
    }
    octets[i] = static_cast<uint8_t>(value);
  }
  return at == text.size() ? nullptr : kExpected;
}

const char* ReadIpv6(std::string_view text, IpAddress::Ipv6Bytes* bytes) {
  constexpr const char* kTooMany = "it has more than eight groups";
  constexpr const char* kTwoGaps = "\"::\" may be there only once";
  constexpr const char* kStrayColon = "it starts or ends with a single ':'";
  constexpr size_t kNoGap = kGroups + 1;

  std::array<uint16_t, kGroups> groups = {};
  size_t count = 0;
  size_t gap = kNoGap;  // the number of groups before "::"
  size_t at = 0;
  if (text.substr(0, 2) == "::") {
    gap = 0;
    at = 2;
  } else if (text.substr(0, 1) == ":") {
    return kStrayColon;
  }
  // At the start of a group each time.
  while (at < text.size()) {
    const size_t end = std::min(text.find(':', at), text.size());
    const std::string_view group = text.substr(at, end - at);
    if (group.empty()) return kTwoGaps;
    if (group.find('.') != std::string_view::npos) {
      if (end != text.size()) return "an IPv4 part must be its end";
      if (count + 2 > kGroups) return kTooMany;
      uint8_t octets[4];
      const char* wrong = ReadIpv4(group, octets);
      if (wrong != nullptr) return wrong;
      groups[count++] = static_cast<uint16_t>(octets[0] << 8 | octets[1]);
      groups[count++] = static_cast<uint16_t>(octets[2] << 8 | octets[3]);
      break;
    }
    if (count == kGroups) return kTooMany;
    int value = 0;
    for (const char c : group) {
      const int digit = HexValue(c);
      if (digit < 0) return "a group is not a hexadecimal number";
      value = (value << 4 | digit) & 0xffff;
    }
    if (group.size() > 4) return "a group has more than four digits";
    groups[count++] = static_cast<uint16_t>(value);
    if (end == text.size()) break;
    at = end + 1;
    if (at == text.size()) return kStrayColon;
    if (text[at] == ':') {
      if (gap != kNoGap) return kTwoGaps;
      gap = count;
      ++at;
    }
  }
  if (gap == kNoGap) {
    if (count != kGroups) return "it has fewer than eight groups and no \"::\"";
    gap = count;
  } else if (count == kGroups) {
    return "\"::\" must stand for at least one group";
  }
  const size_t omitted = kGroups - count;
  for (size_t i = 0; i < count; ++i) {
    const size_t place = 2 * (i < gap ? i : i + omitted);
    (*bytes)[place] = static_cast<uint8_t>(groups[i] >> 8);
    (*bytes)[place + 1] = static_cast<uint8_t>(groups[i]);
  }
  return nullptr;
}

// `interface_index` may be null.
const char* ReadZone(std::string_view zone,
                     const IpAddress::InterfaceIndexFunction* interface_index,
                     uint32_t* scope) {
  // Digits are an index even if an interface has such a name: a text must not
  // change its meaning with the interfaces that are there.
  uint64_t index = 0;
  switch (ReadDecimal(zone, UINT32_MAX, &index)) {
    case DecimalError::kNone:
      *scope = static_cast<uint32_t>(index);
      return nullptr;
    case DecimalError::kEmpty:
      return "its zone is empty";
    case DecimalError::kLeadingZero:
      return "its zone has a leading zero";
    case DecimalError::kAboveLimit:
      return "its zone is above 4294967295";
    case DecimalError::kNotDecimal:
      break;
  }
  if (zone.size() > kInterfaceNameSizeMax) {
    return "its zone is longer than the name of an interface can be";
  }
  // What no system allows in the name of an interface, and what could not be
  // told from the text around it.
  for (const char c : zone) {
    if (c <= ' ' || c > '~' || c == '/' || c == ':' || c == '%') {
      return "its zone is neither an index nor the name of an interface";
    }
  }
  if (interface_index == nullptr) return "its zone must be a number here";
  *scope = (*interface_index)(zone);
  return *scope != 0 ? nullptr
                     : "no network interface has the name in its zone";
}

const char* ReadIpAddress(
    std::string_view text,
    const IpAddress::InterfaceIndexFunction* interface_index,
    IpAddress* address) {
  if (text.empty()) return "expected an address such as 127.0.0.1 or ::1";
  const size_t percent = text.find('%');
  const bool has_zone = percent != std::string_view::npos;
  const std::string_view number = text.substr(0, percent);
  if (number.find(':') == std::string_view::npos) {
    if (!std::all_of(number.begin(), number.end(),
                     [](char c) { return c == '.' || IsDigit(c); })) {
      return "expected an address such as 127.0.0.1 or ::1";
    }
    uint8_t octets[4];
    const char* wrong = ReadIpv4(number, octets);
    if (wrong != nullptr) return wrong;
    if (has_zone) return "only an IPv6 address has a zone";
    *address = IpAddress::FromIpv4(
        uint32_t{octets[0]} << 24 | uint32_t{octets[1]} << 16 |
        uint32_t{octets[2]} << 8 | uint32_t{octets[3]});
    return nullptr;
  }
  if (number.find_first_of("[]") != std::string_view::npos) {
    return "brackets belong around an address only where a port follows";
  }
  IpAddress::Ipv6Bytes bytes = {};
  const char* wrong = ReadIpv6(number, &bytes);
  if (wrong != nullptr) return wrong;
  uint32_t scope = 0;
  if (has_zone) {
    wrong = ReadZone(text.substr(percent + 1), interface_index, &scope);
    if (wrong != nullptr) return wrong;
  }
  *address = IpAddress::FromIpv6(bytes, scope);
  return nullptr;
}

absl::StatusOr<IpAddress> ParseIpAddress(
    std::string_view text,
    const IpAddress::InterfaceIndexFunction* interface_index) {
  IpAddress address;
  const char* wrong = ReadIpAddress(text, interface_index, &address);
  if (wrong == nullptr) return address;
  return absl::InvalidArgumentError("bad IP address " + Quoted(text) + ": " +
                                    wrong);
}

absl::Status BadSocketAddress(std::string_view text, const char* what,
                              const char* wrong) {
  return absl::InvalidArgumentError("bad socket address " + Quoted(text) +
                                    ": " + what + wrong);
}

void AppendIpv4(uint32_t value, std::string* out) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    *out += std::to_string(value >> shift & 0xff);
    if (shift > 0) *out += '.';
  }
}

// Lower case, without leading zeros.
void AppendHex(unsigned group, std::string* out) {
  bool started = false;
  for (int shift = 12; shift >= 0; shift -= 4) {
    const unsigned digit = group >> shift & 0xf;
    started = started || digit != 0 || shift == 0;
    if (started) *out += "0123456789abcdef"[digit];
  }
}

// As RFC 5952, section 4, has it: "::" for the longest run of two or more zero
// groups, for the first one of equal length.
void AppendIpv6(const IpAddress::Ipv6Bytes& bytes, std::string* out) {
  std::array<unsigned, kGroups> groups;
  for (size_t i = 0; i < kGroups; ++i) {
    groups[i] = unsigned{bytes[2 * i]} << 8 | bytes[2 * i + 1];
  }
  size_t gap = 0;
  size_t gap_size = 0;
  for (size_t i = 0; i < kGroups;) {
    size_t end = i;
    while (end < kGroups && groups[end] == 0) ++end;
    if (end - i > gap_size) {
      gap = i;
      gap_size = end - i;
    }
    i = end + 1;
  }
  if (gap_size < 2) gap_size = 0;
  for (size_t i = 0; i < kGroups;) {
    if (gap_size > 0 && i == gap) {
      *out += "::";
      i += gap_size;
      continue;
    }
    if (i > 0 && out->back() != ':') *out += ':';
    AppendHex(groups[i], out);
    ++i;
  }
}

}  // namespace

absl::StatusOr<IpAddress> IpAddress::Parse(std::string_view text) {
  return ParseIpAddress(text, nullptr);
}

absl::StatusOr<IpAddress> IpAddress::Parse(
    std::string_view text, InterfaceIndexFunction interface_index) {
  return ParseIpAddress(text, &interface_index);
}

std::string IpAddress::ToString() const {
  std::string text;
  if (is_ipv4()) {
    AppendIpv4(ipv4(), &text);
    return text;
  }
  if (is_ipv4_mapped()) {
    text = "::ffff:";
    AppendIpv4(ipv4(), &text);
  } else {
    AppendIpv6(bytes_, &text);
  }
  if (scope_ != 0) text += "%" + std::to_string(scope_);
  return text;
}

absl::StatusOr<SocketAddress> SocketAddress::Parse(std::string_view text) {
  constexpr const char* kExpected =
      "expected an address and a port, as in 127.0.0.1:80 or [::1]:80";
  const bool brackets = text.substr(0, 1) == "[";
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return BadSocketAddress(text, "", kExpected);
  }
  std::string_view host = text.substr(0, colon);
  if (brackets) {
    // Also for "[::1]", where the last colon is inside the brackets.
    if (host.back() != ']') return BadSocketAddress(text, "", kExpected);
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return BadSocketAddress(
        text, "",
        "an IPv6 address with a port is written in brackets, as in [::1]:80");
  }
  IpAddress ip;
  const char* wrong = ReadIpAddress(host, nullptr, &ip);
  if (wrong != nullptr) return BadSocketAddress(text, "", wrong);
  if (brackets && ip.is_ipv4()) {
    return BadSocketAddress(text, "", "brackets are for IPv6 addresses only");
  }
  uint16_t port = 0;
  wrong = ReadPort(text.substr(colon + 1), &port);
  if (wrong != nullptr) return BadSocketAddress(text, "the port ", wrong);
  return SocketAddress(ip, port);
}

std::string SocketAddress::ToString() const {
  const std::string port = ":" + std::to_string(port_);
  return ip_.is_ipv6() ? "[" + ip_.ToString() + "]" + port
                       : ip_.ToString() + port;
}

}  // namespace aios
