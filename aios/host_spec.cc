#include "aios/host_spec.h"

#include <algorithm>
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

// RFC 1035, as text: 255 bytes in a message, less the length of the first label
// and the root.
constexpr size_t kHostNameSizeMax = 253;
constexpr size_t kLabelSizeMax = 63;

// RFC 6335 says 15, but services tables have longer ones.
constexpr size_t kServiceNameSizeMax = 63;

constexpr const char* kEmpty = "is empty";

bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool IsHexDigit(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// '_' is in no host name by RFC 952, but in many by DNS.
bool IsHostNameCharacter(char c) {
  return IsLetter(c) || IsDigit(c) || c == '-' || c == '_' || c == '.';
}

// RFC 6335, and what the services tables of systems have beyond it.
bool IsServiceNameCharacter(char c) {
  return IsLetter(c) || IsDigit(c) ||
         std::string_view("+-._*").find(c) != std::string_view::npos;
}

// The one dot at the end of an absolute name.
std::string_view WithoutFinalDot(std::string_view name) {
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  return name;
}

bool EndsInNumber(std::string_view text) {
  text = WithoutFinalDot(text);
  const size_t dot = text.rfind('.');
  if (dot != std::string_view::npos) text.remove_prefix(dot + 1);
  if (AllDigits(text)) return true;
  return text.size() >= 2 && text[0] == '0' &&
         (text[1] == 'x' || text[1] == 'X') &&
         std::all_of(text.begin() + 2, text.end(), IsHexDigit);
}

// Then it is an address, or it is nothing: it cannot be a name.
bool IsMeantAsAddress(std::string_view text) {
  return text.find(':') != std::string_view::npos || EndsInNumber(text);
}

// Null when any part of `name` may be part of a host name, or else why not.
const char* WrongWithHostName(std::string_view name) {
  if (name.empty()) return kEmpty;
  name = WithoutFinalDot(name);
  if (name.size() > kHostNameSizeMax) return "is longer than 253 bytes";
  size_t label_size = 0;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0) return "contains a NUL byte";
    if (byte <= ' ' || byte == 0x7f) {
      return "contains white space or a control character";
    }
    if (byte > 0x7f) {
      return "contains a byte that is not ASCII (an international name is "
             "written in its \"xn--\" form)";
    }
    if (c == ':') return "contains ':' (a port is given as the service)";
    if (!IsHostNameCharacter(c)) {
      return "contains a character that no host name has";
    }
    if (c != '.') {
      if (++label_size > kLabelSizeMax) {
        return "has a label of more than 63 bytes";
      }
      continue;
    }
    if (label_size == 0) return "has an empty label";
    label_size = 0;
  }
  return label_size == 0 ? "has an empty label" : nullptr;
}

const char* WrongWithServiceName(std::string_view name) {
  if (name.empty()) return kEmpty;
  if (name.size() > kServiceNameSizeMax) return "is longer than 63 bytes";
  if (!std::all_of(name.begin(), name.end(), IsServiceNameCharacter)) {
    return "contains a character that no service name has";
  }
  return std::any_of(name.begin(), name.end(), IsLetter)
             ? nullptr
             : "is neither a port number nor a service name";
}

absl::Status Malformed(const char* what, const std::string& text,
                       const char* wrong) {
  return absl::InvalidArgumentError(std::string(what) + " " + text + " " +
                                    wrong);
}

// Why a text that is meant as an address is none.
absl::Status WrongWithAddress(const HostSpec& host, const absl::Status& parse) {
  const std::string_view text = host.text();
  if (std::count(text.begin(), text.end(), ':') > 1) return parse;
  const char* wrong = WrongWithHostName(text);
  if (wrong == nullptr) {
    wrong =
        "looks like an IP address but is not one: expected four numbers from "
        "0 to 255, without leading zeros, as in 127.0.0.1";
  }
  return Malformed("host", host.ToString(), wrong);
}

}  // namespace

std::string HostSpec::ToString() const {
  return is_address_ ? address_.ToString() : Quoted(text_);
}

std::string Service::ToString() const {
  return is_port_ ? std::to_string(port_) : Quoted(text_);
}

SpecKind KindOf(const HostSpec& host) {
  if (host.is_address()) return SpecKind::kLiteral;
  if (IsMeantAsAddress(host.text())) {
    // Whether an interface exists does not change what the text is.
    const auto any_interface = [](std::string_view) { return uint32_t{1}; };
    return IpAddress::Parse(host.text(), any_interface).ok()
               ? SpecKind::kLiteral
               : SpecKind::kMalformed;
  }
  return WrongWithHostName(host.text()) == nullptr ? SpecKind::kName
                                                   : SpecKind::kMalformed;
}

SpecKind KindOf(const Service& service) {
  if (service.is_port() || AllDigits(service.text())) {
    return LiteralPort(service).ok() ? SpecKind::kLiteral
                                     : SpecKind::kMalformed;
  }
  return WrongWithServiceName(service.text()) == nullptr ? SpecKind::kName
                                                         : SpecKind::kMalformed;
}

bool IsName(const HostSpec& host) {
  return !host.is_address() && !IsMeantAsAddress(host.text()) &&
         WrongWithHostName(host.text()) == nullptr;
}

bool IsName(const Service& service) {
  return !service.is_port() && !AllDigits(service.text()) &&
         WrongWithServiceName(service.text()) == nullptr;
}

absl::StatusOr<IpAddress> LiteralIpAddress(
    const HostSpec& host, IpAddress::InterfaceIndexFunction interface_index) {
  if (host.is_address()) return host.address();
  if (IsMeantAsAddress(host.text())) {
    absl::StatusOr<IpAddress> address =
        IpAddress::Parse(host.text(), interface_index);
    if (!address.ok()) return WrongWithAddress(host, address.status());
    return address;
  }
  const char* wrong = WrongWithHostName(host.text());
  if (wrong != nullptr) return Malformed("host", host.ToString(), wrong);
  return absl::UnimplementedError(
      "host name " + host.ToString() +
      " has to be looked up: a literal IP address is wanted");
}

absl::StatusOr<uint16_t> LiteralPort(const Service& service) {
  if (service.is_port()) {
    const int64_t port = service.port();
    if (port < 0) return Malformed("port", service.ToString(), "is below 0");
    if (port > 65535) {
      return Malformed("port", service.ToString(), "is above 65535");
    }
    return static_cast<uint16_t>(port);
  }
  if (AllDigits(service.text())) {
    uint16_t port = 0;
    const char* wrong = ReadPort(service.text(), &port);
    if (wrong != nullptr) return Malformed("port", service.ToString(), wrong);
    return port;
  }
  const char* wrong = WrongWithServiceName(service.text());
  if (wrong != nullptr) return Malformed("service", service.ToString(), wrong);
  return absl::UnimplementedError("service name " + service.ToString() +
                                  " has to be looked up: a port number is "
                                  "wanted");
}

absl::StatusOr<SocketAddress> LiteralSocketAddress(
    const HostSpec& host, const Service& service,
    IpAddress::InterfaceIndexFunction interface_index) {
  absl::StatusOr<IpAddress> ip = LiteralIpAddress(host, interface_index);
  if (!ip.ok()) return ip.status();
  absl::StatusOr<uint16_t> port = LiteralPort(service);
  if (!port.ok()) return port.status();
  return SocketAddress(*ip, *port);
}

}  // namespace aios
