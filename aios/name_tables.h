// The files by which a system is told of names: hosts, services and the
// configuration of its resolver. What is malformed in them is passed over, line
// by line.

#ifndef AIOS_NAME_TABLES_H_
#define AIOS_NAME_TABLES_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "aios/address.h"
#include "aios/kernel.h"

namespace aios {

// Names of hosts are the same in any case.
std::string LowerCase(std::string_view text);

// The form of /etc/hosts: an address, a name and more names of it on each line.
class HostsTable {
 public:
  HostsTable() = default;
  explicit HostsTable(std::string_view text);

  // By family, in the order of the file.
  using Addresses = std::array<std::vector<IpAddress>, 2>;

  // Null when the table does not have `name`, which is in lower case and
  // without a final dot.
  const Addresses* Find(std::string_view name) const;

 private:
  std::map<std::string, Addresses, std::less<>> hosts_;
};

// The form of /etc/services: a name, a port and a protocol, and more names.
class ServicesTable {
 public:
  ServicesTable() = default;
  explicit ServicesTable(std::string_view text);

  // The port of `name`, whose case counts, over TCP or UDP; of the first line
  // that has it when `type` is not given.
  std::optional<uint16_t> Find(std::string_view name,
                               std::optional<SocketType> type) const;

 private:
  struct Ports {
    std::optional<uint16_t> first;
    std::optional<uint16_t> tcp;
    std::optional<uint16_t> udp;
  };
  std::map<std::string, Ports, std::less<>> services_;
};

// The form of /etc/resolv.conf.
struct ResolvConf {
  ResolvConf() = default;
  ResolvConf(std::string_view text,
             IpAddress::InterfaceIndexFunction interface_index);

  std::vector<SocketAddress> servers;       // `nameserver`, the first three
  std::vector<std::string> search_domains;  // the last `search` or `domain`
  // Of `options`.
  std::optional<int> ndots;
  std::optional<absl::Duration> timeout;
  std::optional<int> tries;  // `attempts`

  friend bool operator==(const ResolvConf&, const ResolvConf&) = default;
};

}  // namespace aios

#endif  // AIOS_NAME_TABLES_H_
