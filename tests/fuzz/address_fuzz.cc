// Any bytes as an address: what is accepted means what the system says it
// means, and survives printing; what is refused is refused with a message that
// is fit for a log.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aios/address.h"
#include "tests/fuzz/fuzz_check.h"
#include "tests/system_address.h"

namespace aios {
namespace {

// Knows every name that it may be asked for.
uint32_t InterfaceIndex(std::string_view name) {
  AIOS_FUZZ_CHECK(!name.empty() && name.size() < 16);
  AIOS_FUZZ_CHECK(name.find_first_of("/:% \n") == std::string_view::npos);
  AIOS_FUZZ_CHECK(name.find_first_not_of("0123456789") !=
                  std::string_view::npos);
  return static_cast<uint32_t>(name.size());
}

void CheckRefusal(const absl::Status& status, std::string_view prefix) {
  AIOS_FUZZ_CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  const std::string message(status.message());
  AIOS_FUZZ_CHECK(message.substr(0, prefix.size()) == prefix);
  AIOS_FUZZ_CHECK(message.size() < 700);
  AIOS_FUZZ_CHECK(std::all_of(message.begin(), message.end(),
                              [](char c) { return c >= ' ' && c <= '~'; }));
}

void CheckAddress(const IpAddress& address) {
  const std::string text = address.ToString();
  const absl::StatusOr<IpAddress> again = IpAddress::Parse(text);
  AIOS_FUZZ_CHECK(again.ok());
  AIOS_FUZZ_CHECK(*again == address);
  AIOS_FUZZ_CHECK(again->ToString() == text);

  const std::string number = text.substr(0, text.find('%'));
  AIOS_FUZZ_CHECK((number.size() < text.size()) == (address.scope() != 0));
  AIOS_FUZZ_CHECK(SystemTextDiffers(address) || number == SystemText(address));

  AIOS_FUZZ_CHECK(address.ToIpv4Mapped().ipv6() == address.ipv6());
  AIOS_FUZZ_CHECK(address.ToIpv4Mapped().ipv4() == address.ipv4());
  AIOS_FUZZ_CHECK(address.ToIpv4Mapped().is_any() == address.is_any());
  AIOS_FUZZ_CHECK(address.ToIpv4Mapped().is_loopback() ==
                  address.is_loopback());

  const SocketAddress socket_address(address, 65535);
  const absl::StatusOr<SocketAddress> socket_again =
      SocketAddress::Parse(socket_address.ToString());
  AIOS_FUZZ_CHECK(socket_again.ok());
  AIOS_FUZZ_CHECK(*socket_again == socket_address);
}

void CheckIpText(std::string_view text) {
  const absl::StatusOr<IpAddress> address =
      IpAddress::Parse(text, InterfaceIndex);
  const absl::StatusOr<IpAddress> without_names = IpAddress::Parse(text);
  const size_t percent = text.find('%');
  const std::optional<IpAddress> system = SystemParse(text.substr(0, percent));
  if (address.ok()) {
    AIOS_FUZZ_CHECK(system.has_value());
    AIOS_FUZZ_CHECK(system->family() == address->family());
    AIOS_FUZZ_CHECK(system->ipv6() == address->ipv6());
    AIOS_FUZZ_CHECK(percent != std::string_view::npos || address->scope() == 0);
    AIOS_FUZZ_CHECK(address->is_ipv6() || address->scope() == 0);
    CheckAddress(*address);
  } else {
    CheckRefusal(address.status(), "bad IP address \"");
#ifdef __GLIBC__
    // As strict as we are; others take more.
    AIOS_FUZZ_CHECK(percent != std::string_view::npos || !system.has_value());
#endif
  }
  if (without_names.ok()) {
    AIOS_FUZZ_CHECK(address.ok() && *address == *without_names);
  } else {
    CheckRefusal(without_names.status(), "bad IP address \"");
    // Only the name of an interface makes a difference.
    AIOS_FUZZ_CHECK(!address.ok() ||
                    address->scope() == text.size() - percent - 1);
  }
}

void CheckSocketText(std::string_view text) {
  const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(text);
  if (!address.ok()) {
    CheckRefusal(address.status(), "bad socket address \"");
    return;
  }
  AIOS_FUZZ_CHECK(SocketAddress::Parse(address->ToString()).value() ==
                  *address);
  // Its parts, cut out by hand.
  const size_t colon = text.rfind(':');
  std::string_view ip = text.substr(0, colon);
  if (ip.front() == '[') ip = ip.substr(1, ip.size() - 2);
  AIOS_FUZZ_CHECK(IpAddress::Parse(ip).value() == address->ip());
  AIOS_FUZZ_CHECK(text.substr(colon + 1) == std::to_string(address->port()));
}

// The bytes as the address itself.
void CheckBytes(const uint8_t* data, size_t size) {
  IpAddress::Ipv6Bytes bytes = {};
  uint32_t scope = 0;
  std::memcpy(bytes.data(), data, std::min(size, bytes.size()));
  if (size >= bytes.size() + sizeof(scope)) {
    std::memcpy(&scope, data + bytes.size(), sizeof(scope));
  }
  const IpAddress v6 = IpAddress::FromIpv6(bytes, scope);
  AIOS_FUZZ_CHECK(v6.ipv6() == bytes && v6.scope() == scope);
  CheckAddress(v6);
  const IpAddress v4 =
      IpAddress::FromIpv4(uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 |
                          uint32_t{bytes[2]} << 8 | uint32_t{bytes[3]});
  CheckAddress(v4);
  CheckAddress(v4.ToIpv4Mapped());
}

}  // namespace
}  // namespace aios

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  aios::CheckIpText(text);
  aios::CheckSocketText(text);
  aios::CheckBytes(data, size);
  return 0;
}
