// The files by which a system is told of names: hosts, services and the
// configuration of its resolver. What is malformed in them is passed over, line
// by line.

#ifndef AIOS_NAME_TABLES_H_
#define AIOS_NAME_TABLES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "aios/address.h"
#include "aios/kernel.h"

namespace aios {

// Names of hosts are the same in any case.
std::string LowerCase(std::string_view text);

// The form of /etc/hosts: an address, a name and more names of it on each line.
// Of one name the first 1024 lines are looked at, and of these the first 32
// addresses of each family. Other limits there are none but that of a name's
// own form (`KindOf`).
//
// The text stays as it is; beside it is an index of the names, of 30 to 45
// bytes each. Addresses are read when a name is looked for.
class HostsTable {
 public:
  // Without any name.
  HostsTable() = default;
  // Of a text of less than 4 GiB. It can be used when `Build` has returned
  // true.
  explicit HostsTable(std::string text) : text_(std::move(text)) {}

  // Goes on to make the index, over about `bytes_max` bytes of the text, and
  // returns whether it is whole. The whole text is gone over twice, or more
  // often when somebody has chosen its names so that it takes long.
  bool Build(size_t bytes_max);

  // By family, in the order of the file.
  using Addresses = std::array<std::vector<IpAddress>, 2>;

  // Whether there is a line with `name`, which is in lower case and without a
  // final dot; then `addresses` are those that it has. An address whose zone is
  // the name of an interface that is not there is left out, though the name is
  // in the table, perhaps without an address.
  bool Find(std::string_view name,
            IpAddress::InterfaceIndexFunction interface_index,
            Addresses* addresses) const;

 private:
  // Where a name is in the text, and where the address of its line.
  struct Entry {
    uint32_t name;
    uint32_t address;
    // The next entry of the same name; the last one has the first.
    uint32_t next;
  };
  // The last entry of a name, 0 for none; and a part of the name's hash, so
  // that others are hardly ever compared.
  struct Slot {
    uint32_t entry;
    uint32_t hash;
  };
  // True at the end of the text.
  bool Scan(size_t bytes_max);
  std::string_view WordAt(size_t begin) const;
  void BeginIndex();
  void Clear(size_t bytes_max);
  // False when the hash does not tell the names from each other.
  bool Insert(size_t name);
  // That of `lower`, or the one to put it in; null when there is none near.
  Slot* SlotOf(std::string_view lower) const;

  std::string text_;
  // A power of two of them, half of which are used at the most.
  std::unique_ptr<Slot[]> slots_;
  size_t slot_count_ = 0;
  size_t cleared_ = 0;
  uint32_t seed_ = 0;
  // The first one is none.
  std::unique_ptr<Entry[]> entries_;
  uint32_t entry_count_ = 1;

  // How far `Build` is.
  enum class Phase : uint8_t { kCount, kClear, kInsert, kWhole };
  Phase phase_ = Phase::kCount;
  size_t words_ = 0;
  size_t at_ = 0;
  size_t address_ = 0;  // of the line that is gone over
  bool has_address_ = false;
  bool in_word_ = false;
  bool in_comment_ = false;
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

  // `nameserver`, and the last `search` or `domain`: at most `kNameServersMax`
  // and `kSearchDomainsMax` of them.
  std::vector<SocketAddress> servers;
  std::vector<std::string> search_domains;
  // Of `options`, within the bounds of resolv.conf(5): 15, 30 s and 5.
  std::optional<int> ndots;
  std::optional<absl::Duration> timeout;
  std::optional<int> tries;  // `attempts`

  friend bool operator==(const ResolvConf&, const ResolvConf&) = default;
};

}  // namespace aios

#endif  // AIOS_NAME_TABLES_H_
