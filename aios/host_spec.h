// What users give for a host and for a service: an address or a name, a number
// or a name. Reads those that need no lookup.

#ifndef AIOS_HOST_SPEC_H_
#define AIOS_HOST_SPEC_H_

#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/status/statusor.h"
#include "aios/address.h"

namespace aios {

// A host: the text of an IP address, a host name, or an address. Where it is
// for a socket that aios makes or sends from, ::ffff:a.b.c.d is a.b.c.d. Made
// implicitly, to be an argument; it owns nothing and never allocates. It refers
// to the text that it was made from, so use it only as a parameter that ends
// with its call: what outlives the call copies the text.
//
// Lisp: hostspec. Its integers are `IpAddress::FromIpv4` here.
class HostSpec {
 public:
  // NOLINTBEGIN(google-explicit-constructor)
  HostSpec(const char* text ABSL_ATTRIBUTE_LIFETIME_BOUND)
      : text_(text != nullptr ? text : "") {}
  HostSpec(const std::string& text ABSL_ATTRIBUTE_LIFETIME_BOUND)
      : text_(text) {}
  HostSpec(std::string_view text) : text_(text) {}
  HostSpec(const IpAddress& address) : address_(address), is_address_(true) {}
  // NOLINTEND(google-explicit-constructor)

  // Whether 0 would be 0.0.0.0 or a null pointer is not worth guessing.
  HostSpec(int) = delete;

  bool is_address() const { return is_address_; }
  // The default address, unless `is_address`.
  const IpAddress& address() const { return address_; }
  // Empty, if `is_address`.
  std::string_view text() const { return text_; }

  // The text in quotes, or the address, for messages.
  std::string ToString() const;

 private:
  std::string_view text_;
  IpAddress address_;
  bool is_address_ = false;
};

// A service: a port, its decimal digits, or a service name. Same rules of
// lifetime as for `HostSpec`.
//
// Lisp: service.
class Service {
 public:
  // Any integer; whether it is a port shows when it is resolved.
  // NOLINTBEGIN(google-explicit-constructor)
  constexpr Service(int port) : port_(port), is_port_(true) {}
  // Wider types must not be cut down to a number that happens to be a port.
  template <std::integral T>
  requires(sizeof(T) >= sizeof(int)) constexpr Service(T port)
      : port_(std::in_range<int64_t>(port) ? static_cast<int64_t>(port)
                                           : kNumberMax),
        is_port_(true) {}
  Service(const char* text ABSL_ATTRIBUTE_LIFETIME_BOUND)
      : text_(text != nullptr ? text : "") {}
  Service(const std::string& text ABSL_ATTRIBUTE_LIFETIME_BOUND)
      : text_(text) {}
  Service(std::string_view text) : text_(text) {}
  // NOLINTEND(google-explicit-constructor)

  // A digit is not its port.
  Service(char) = delete;

  bool is_port() const { return is_port_; }
  // 0, unless `is_port`.
  int64_t port() const { return port_; }
  // Empty, if `is_port`.
  std::string_view text() const { return text_; }

  // The text in quotes, or the number, for messages.
  std::string ToString() const;

 private:
  static constexpr int64_t kNumberMax = std::numeric_limits<int64_t>::max();

  std::string_view text_;
  int64_t port_ = 0;
  bool is_port_ = false;
};

// How a host or service is to be resolved, by its form alone.
enum class SpecKind : uint8_t {
  // An address, or a port: there is nothing to look up.
  kLiteral,
  // A name to look up. It may still not exist.
  kName,
  // No lookup could answer. `LiteralIpAddress` or `LiteralPort` says why.
  kMalformed,
};

// A name is at most 253 bytes of labels with a dot between (and, allowed, one
// at the end); a label is 1 to 63 ASCII letters, digits, '-' and '_'. When the
// last label is a number, decimal or hexadecimal, the whole can only be meant
// as an address, and is malformed unless it is one: "127.1", "0x7f.0.0.1" and
// "1.2.3.4.5" are read differently by different programs, so here by none.
// "localhost" is a name.
SpecKind KindOf(const HostSpec& host);

// A name is at most 63 ASCII letters, digits and "+-._*", at least one letter
// among them.
SpecKind KindOf(const Service& service);

// Whether there is a name to look up; quicker than `KindOf`.
bool IsName(const HostSpec& host);
bool IsName(const Service& service);

// The address or port that is given literally. Errors: InvalidArgument for what
// is malformed, and for a zone that `interface_index` does not know;
// Unimplemented for a name, which needs a lookup. (Not FailedPrecondition,
// which is about the state of something: nothing that the caller changes makes
// a name work here.)
absl::StatusOr<IpAddress> LiteralIpAddress(
    const HostSpec& host, IpAddress::InterfaceIndexFunction interface_index);
absl::StatusOr<uint16_t> LiteralPort(const Service& service);

// Both together, with the error of the host first.
absl::StatusOr<SocketAddress> LiteralSocketAddress(
    const HostSpec& host, const Service& service,
    IpAddress::InterfaceIndexFunction interface_index);

}  // namespace aios

#endif  // AIOS_HOST_SPEC_H_
