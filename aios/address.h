// IP addresses and socket addresses as plain values: parsing, printing,
// comparing. Nothing here asks a name server or the operating system.

#ifndef AIOS_ADDRESS_H_
#define AIOS_ADDRESS_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace aios {

enum class Family : uint8_t { kIpv4, kIpv6 };

// An IPv4 address, or an IPv6 address with its scope (zone). A small value,
// cheap to copy. Default: 0.0.0.0.
//
// Lisp: an integer for IPv4, an `ipv6-address` object for IPv6.
class IpAddress {
 public:
  using Ipv6Bytes = std::array<uint8_t, 16>;

  constexpr IpAddress() = default;

  // `value` has the first octet in its most significant byte: 127.0.0.1 is
  // 0x7F000001.
  static IpAddress FromIpv4(uint32_t value) {
    IpAddress address;
    value = SwapIfLittleEndian(value);
    std::memcpy(address.bytes_.data(), &value, sizeof(value));
    return address;
  }

  // `bytes` in network order. `scope` is the interface index of a link-local
  // address, 0 for none.
  static IpAddress FromIpv6(const Ipv6Bytes& bytes, uint32_t scope = 0) {
    IpAddress address;
    address.bytes_ = bytes;
    address.scope_ = scope;
    address.family_ = Family::kIpv6;
    return address;
  }

  // 0.0.0.0 or ::, the address that means every local one.
  static IpAddress Any(Family family);

  // 127.0.0.1 or ::1.
  static IpAddress Loopback(Family family);

  // Turns the name of an interface into its index; 0 when there is none.
  using InterfaceIndexFunction = absl::FunctionRef<uint32_t(std::string_view)>;

  // Reads an address in its numeric form: four decimal octets ("127.0.0.1", no
  // leading zeros, no fewer parts), or IPv6 as RFC 4291 writes it ("::1",
  // "::ffff:10.0.0.1"), with an optional zone ("fe80::1%2"). Errors:
  // InvalidArgument for anything else, with the text and what is wrong in the
  // message. A zone is a decimal interface index, or a name when
  // `interface_index` is given and knows it; digits are always an index. Any
  // IPv6 address may have a zone, not only a link-local one.
  // Lisp: `string-ip-address`.
  static absl::StatusOr<IpAddress> Parse(std::string_view text);
  static absl::StatusOr<IpAddress> Parse(
      std::string_view text, InterfaceIndexFunction interface_index);

  Family family() const { return family_; }
  bool is_ipv4() const { return family_ == Family::kIpv4; }
  bool is_ipv6() const { return family_ == Family::kIpv6; }

  // True for ::ffff:0.0.0.0 and ::ffff:127.0.0.1 as well: what an address is
  // does not depend on the family of the socket that shows it.
  bool is_any() const;
  bool is_loopback() const;

  // True for ::ffff:a.b.c.d, as a socket for both families shows IPv4 peers.
  bool is_ipv4_mapped() const;

  // The value as `FromIpv4` takes it. Only for IPv4 and mapped addresses;
  // 0 otherwise.
  uint32_t ipv4() const {
    if (is_ipv4()) return ReadIpv4(0);
    return is_ipv4_mapped() ? ReadIpv4(kMappedPrefix.size()) : 0;
  }

  // The bytes as `FromIpv6` takes them; an IPv4 address gives its mapped form.
  Ipv6Bytes ipv6() const;
  uint32_t scope() const { return scope_; }

  // The same address as ::ffff:a.b.c.d; an IPv6 address unchanged.
  IpAddress ToIpv4Mapped() const;

  // The way back: a.b.c.d for ::ffff:a.b.c.d, all others unchanged.
  IpAddress Unmapped() const {
    return is_ipv4_mapped() ? FromIpv4(ipv4()) : *this;
  }

  // The canonical text of RFC 5952, such as "127.0.0.1", "2001:db8::1" or
  // "fe80::1%2". `Parse` reads it back.
  // Lisp: `ip-address-string`.
  std::string ToString() const;

  friend bool operator==(const IpAddress& a, const IpAddress& b) {
    return std::memcmp(a.bytes_.data(), b.bytes_.data(), a.bytes_.size()) ==
               0 &&
           a.scope_ == b.scope_ && a.family_ == b.family_;
  }

 private:
  // The bytes before the IPv4 address in ::ffff:a.b.c.d.
  static constexpr std::array<uint8_t, 12> kMappedPrefix = {
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

  // Between the order of the network and that of this machine.
  static uint32_t SwapIfLittleEndian(uint32_t value) {
    return std::endian::native == std::endian::little ? __builtin_bswap32(value)
                                                      : value;
  }
  uint32_t ReadIpv4(size_t begin) const {
    uint32_t value;
    std::memcpy(&value, &bytes_[begin], sizeof(value));
    return SwapIfLittleEndian(value);
  }

  // IPv4 in the first four bytes, the others zero.
  Ipv6Bytes bytes_ = {};
  uint32_t scope_ = 0;
  Family family_ = Family::kIpv4;
};

// An address and a port.
class SocketAddress {
 public:
  constexpr SocketAddress() = default;
  SocketAddress(const IpAddress& ip, uint16_t port) : ip_(ip), port_(port) {}

  // Reads "127.0.0.1:80" or "[::1]:80". Errors: InvalidArgument.
  static absl::StatusOr<SocketAddress> Parse(std::string_view text);

  const IpAddress& ip() const { return ip_; }
  uint16_t port() const { return port_; }
  Family family() const { return ip_.family(); }

  // "127.0.0.1:80", "[::1]:80".
  std::string ToString() const;

  friend bool operator==(const SocketAddress&, const SocketAddress&) = default;

 private:
  IpAddress ip_;
  uint16_t port_ = 0;
};

}  // namespace aios

#endif  // AIOS_ADDRESS_H_
