#include "aios/name_tables.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "aios/host_spec.h"
#include "aios/text.h"

namespace aios {

namespace {

constexpr uint16_t kDnsPort = 53;
constexpr size_t kServersMax = 3;
constexpr size_t kDomainsMax = 6;
// What resolv.conf(5) says of too large values: they are cut.
constexpr int kNdotsMax = 15;
constexpr int kTimeoutSecondsMax = 30;
constexpr int kTriesMax = 5;

// Of one name: a file of millions of lines must not make one answer of them.
constexpr size_t kAddressesMax = 32;

bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

// Takes the first line off `text`.
std::string_view TakeLine(std::string_view& text) {
  size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

// Takes the first word off `line`; empty at its end.
std::string_view TakeWord(std::string_view& line) {
  while (!line.empty() && IsBlank(line.front())) line.remove_prefix(1);
  size_t end = 0;
  while (end != line.size() && !IsBlank(line[end])) ++end;
  std::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

std::string_view WithoutComment(std::string_view line) {
  return line.substr(0, line.find('#'));
}

std::string_view WithoutFinalDot(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

// The number after `prefix`, cut to `limit`.
std::optional<int> OptionValue(std::string_view option, std::string_view prefix,
                               int limit) {
  if (!option.starts_with(prefix)) return std::nullopt;
  option.remove_prefix(prefix.size());
  if (!AllDigits(option)) return std::nullopt;
  uint32_t value = 0;
  if (ReadDecimal(option, static_cast<uint32_t>(limit), "", &value) !=
      nullptr) {
    return limit;
  }
  return static_cast<int>(value);
}

}  // namespace

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = absl::ascii_tolower(static_cast<unsigned char>(c));
  return lower;
}

HostsTable::HostsTable(std::string_view text) {
  while (!text.empty()) {
    std::string_view line = WithoutComment(TakeLine(text));
    absl::StatusOr<IpAddress> ip = IpAddress::Parse(TakeWord(line));
    if (!ip.ok()) continue;
    for (std::string_view name = TakeWord(line); !name.empty();
         name = TakeWord(line)) {
      if (KindOf(HostSpec(name)) != SpecKind::kName) continue;
      std::vector<IpAddress>& ips = hosts_[LowerCase(WithoutFinalDot(name))]
                                          [static_cast<size_t>(ip->family())];
      if (ips.size() < kAddressesMax &&
          std::find(ips.begin(), ips.end(), *ip) == ips.end()) {
        ips.push_back(*ip);
      }
    }
  }
}

const HostsTable::Addresses* HostsTable::Find(std::string_view name) const {
  auto found = hosts_.find(name);
  return found == hosts_.end() ? nullptr : &found->second;
}

ServicesTable::ServicesTable(std::string_view text) {
  while (!text.empty()) {
    std::string_view line = WithoutComment(TakeLine(text));
    std::string_view name = TakeWord(line);
    std::string_view port_text = TakeWord(line);
    size_t slash = port_text.find('/');
    uint16_t port = 0;
    if (slash == port_text.npos ||
        ReadPort(port_text.substr(0, slash), &port) != nullptr) {
      continue;
    }
    std::string_view protocol = port_text.substr(slash + 1);
    for (; !name.empty(); name = TakeWord(line)) {
      if (KindOf(Service(name)) != SpecKind::kName) continue;
      Ports& ports = services_[std::string(name)];
      if (!ports.first.has_value()) ports.first = port;
      if (protocol == "tcp" && !ports.tcp.has_value()) ports.tcp = port;
      if (protocol == "udp" && !ports.udp.has_value()) ports.udp = port;
    }
  }
}

std::optional<uint16_t> ServicesTable::Find(
    std::string_view name, std::optional<SocketType> type) const {
  auto found = services_.find(name);
  if (found == services_.end()) return std::nullopt;
  if (!type.has_value()) return found->second.first;
  return *type == SocketType::kStream ? found->second.tcp : found->second.udp;
}

ResolvConf::ResolvConf(std::string_view text,
                       IpAddress::InterfaceIndexFunction interface_index) {
  while (!text.empty()) {
    std::string_view line = TakeLine(text);
    if (line.starts_with('#') || line.starts_with(';')) continue;
    std::string_view keyword = TakeWord(line);
    if (keyword == "nameserver") {
      absl::StatusOr<IpAddress> ip =
          IpAddress::Parse(TakeWord(line), interface_index);
      if (ip.ok() && !ip->is_any() && servers.size() < kServersMax) {
        servers.emplace_back(*ip, kDnsPort);
      }
    } else if (keyword == "search" || keyword == "domain") {
      search_domains.clear();
      for (std::string_view domain = TakeWord(line); !domain.empty();
           domain = TakeWord(line)) {
        if (search_domains.size() < kDomainsMax &&
            KindOf(HostSpec(domain)) == SpecKind::kName) {
          search_domains.emplace_back(WithoutFinalDot(domain));
        }
        if (keyword == "domain") break;
      }
    } else if (keyword == "options") {
      for (std::string_view option = TakeWord(line); !option.empty();
           option = TakeWord(line)) {
        if (auto n = OptionValue(option, "ndots:", kNdotsMax)) ndots = n;
        if (auto n = OptionValue(option, "timeout:", kTimeoutSecondsMax)) {
          timeout = absl::Seconds(std::max(*n, 1));
        }
        if (auto n = OptionValue(option, "attempts:", kTriesMax)) {
          tries = std::max(*n, 1);
        }
      }
    }
  }
}

}  // namespace aios
