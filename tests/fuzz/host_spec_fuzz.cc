// Any bytes as host and service (the first newline parts them): the kind that
// they are said to be agrees with what becomes of them, and nothing that some
// program would read as an address gets as far as a lookup.

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aios/address.h"
#include "aios/host_spec.h"
#include "tests/fuzz/fuzz_check.h"

namespace aios {
namespace {

constexpr std::string_view kLetters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

uint32_t InterfaceIndex(std::string_view) { return 1; }

// What `kind` means for the result of reading something literally.
void CheckStatus(SpecKind kind, const absl::Status& status) {
  switch (kind) {
    case SpecKind::kLiteral:
      AIOS_FUZZ_CHECK(status.ok());
      return;
    case SpecKind::kName:
      AIOS_FUZZ_CHECK(status.code() == absl::StatusCode::kUnimplemented);
      break;
    case SpecKind::kMalformed:
      AIOS_FUZZ_CHECK(status.code() == absl::StatusCode::kInvalidArgument);
      break;
  }
  const std::string message(status.message());
  AIOS_FUZZ_CHECK(message.size() < 700);
  AIOS_FUZZ_CHECK(std::all_of(message.begin(), message.end(),
                              [](char c) { return c >= ' ' && c <= '~'; }));
}

void CheckHost(std::string_view text) {
  const HostSpec host(text);
  const SpecKind kind = KindOf(host);
  const absl::StatusOr<IpAddress> address =
      LiteralIpAddress(host, InterfaceIndex);
  CheckStatus(kind, address.status());

  const absl::StatusOr<IpAddress> parsed =
      IpAddress::Parse(text, InterfaceIndex);
  AIOS_FUZZ_CHECK(parsed.ok() == address.ok());
  AIOS_FUZZ_CHECK(!parsed.ok() || *parsed == *address);

  if (kind != SpecKind::kName) return;
  AIOS_FUZZ_CHECK(!text.empty() && text.size() <= 254);
  AIOS_FUZZ_CHECK(std::all_of(text.begin(), text.end(), [](char c) {
    return kLetters.find(c) != std::string_view::npos ||
           std::string_view("0123456789-_.").find(c) != std::string_view::npos;
  }));
  AIOS_FUZZ_CHECK(text.find("..") == std::string_view::npos);
  // All that programs have ever taken for an address: "127.1", "0x7f.1", …
  const std::string terminated(text);
  in_addr v4;
  in6_addr v6;
  AIOS_FUZZ_CHECK(inet_aton(terminated.c_str(), &v4) == 0);
  AIOS_FUZZ_CHECK(inet_pton(AF_INET6, terminated.c_str(), &v6) == 0);
  // The dot at the end does not change what it is, once there is one.
  if (text.back() == '.') {
    const std::string_view relative = text.substr(0, text.size() - 1);
    AIOS_FUZZ_CHECK(KindOf(HostSpec(relative)) == SpecKind::kName);
  }
}

void CheckService(std::string_view text) {
  const Service service(text);
  const SpecKind kind = KindOf(service);
  const absl::StatusOr<uint16_t> port = LiteralPort(service);
  CheckStatus(kind, port.status());
  if (kind == SpecKind::kLiteral) {
    AIOS_FUZZ_CHECK(text == std::to_string(*port));
    AIOS_FUZZ_CHECK(LiteralPort(*port).value() == *port);
  }
  AIOS_FUZZ_CHECK(kind != SpecKind::kName ||
                  text.find_first_of(kLetters) != std::string_view::npos);
}

void CheckNumber(int64_t number) {
  const bool is_port = number >= 0 && number <= 65535;
  const absl::StatusOr<uint16_t> port = LiteralPort(number);
  CheckStatus(KindOf(Service(number)), port.status());
  AIOS_FUZZ_CHECK(port.ok() == is_port);
  AIOS_FUZZ_CHECK(!port.ok() || *port == number);
  // The same bits, unsigned.
  const auto positive = static_cast<uint64_t>(number);
  AIOS_FUZZ_CHECK(LiteralPort(positive).ok() == is_port);
}

void CheckBoth(std::string_view host, std::string_view service) {
  const absl::StatusOr<SocketAddress> address =
      LiteralSocketAddress(host, service, InterfaceIndex);
  const absl::StatusOr<IpAddress> ip = LiteralIpAddress(host, InterfaceIndex);
  const absl::StatusOr<uint16_t> port = LiteralPort(service);
  if (!ip.ok()) {
    AIOS_FUZZ_CHECK(address.status() == ip.status());
  } else if (!port.ok()) {
    AIOS_FUZZ_CHECK(address.status() == port.status());
  } else {
    AIOS_FUZZ_CHECK(address.ok());
    AIOS_FUZZ_CHECK(*address == SocketAddress(*ip, *port));
  }
}

}  // namespace
}  // namespace aios

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t newline = std::min(text.find('\n'), text.size());
  const std::string_view host = text.substr(0, newline);
  const std::string_view service =
      text.substr(std::min(newline + 1, text.size()));
  aios::CheckHost(host);
  aios::CheckService(service);
  aios::CheckBoth(host, service);
  // Hosts with a newline, too.
  aios::CheckHost(text);
  int64_t number = 0;
  std::memcpy(&number, data, std::min(size, sizeof(number)));
  aios::CheckNumber(number);
  return 0;
}
