#include "aios/name_tables.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "aios/check.h"
#include "aios/host_spec.h"
#include "aios/name_hash.h"
#include "aios/resolver_options.h"
#include "aios/text.h"

namespace aios {

namespace {

constexpr uint16_t kDnsPort = 53;
// What resolv.conf(5) says of too large values: they are cut.
constexpr int kNdotsMax = 15;
constexpr int kTimeoutSecondsMax = 30;
constexpr int kTriesMax = 5;

// Of one name: a file of millions of lines must not make one answer of them.
constexpr size_t kAddressesMax = 32;
constexpr int kLinesMax = 1024;

// Slots that are looked at for one name. In a table that is at most half full
// no name that was not chosen for it is that far from its place.
constexpr size_t kProbesMax = 256;

// How much quicker memory is cleared than text is gone over.
constexpr size_t kClearFactor = 16;

// One more than a name can have, with its final dot.
constexpr size_t kWordSizeMax = 255;

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

// In lower case, on the stack. Longer than this is no name of a host.
class LowerCaseName {
 public:
  explicit LowerCaseName(std::string_view name) : size_(name.size()) {
    AIOS_DCHECK(size_ <= text_.size(), "the name is too long");
    for (size_t i = 0; i != size_; ++i) {
      text_[i] = absl::ascii_tolower(static_cast<unsigned char>(name[i]));
    }
  }
  std::string_view view() const { return {text_.data(), size_}; }

 private:
  std::array<char, kWordSizeMax> text_;
  size_t size_;
};

// As the files have them: leading zeros mean nothing there (they are read by
// atoi, or to the base of 10).
DecimalError ReadNumberOfFile(std::string_view text, uint64_t limit,
                              uint64_t* value) {
  while (text.size() > 1 && text.front() == '0') text.remove_prefix(1);
  return ReadDecimal(text, limit, value);
}

// The number after `prefix`, cut to `limit`; none if something else is there.
std::optional<int> OptionValue(std::string_view option, std::string_view prefix,
                               int limit) {
  if (!option.starts_with(prefix)) return std::nullopt;
  option.remove_prefix(prefix.size());
  auto value = static_cast<uint64_t>(limit);
  switch (ReadNumberOfFile(option, value, &value)) {
    case DecimalError::kNone:
    case DecimalError::kAboveLimit:
      return static_cast<int>(value);
    case DecimalError::kEmpty:
    case DecimalError::kNotDecimal:
    case DecimalError::kLeadingZero:
      break;
  }
  return std::nullopt;
}

}  // namespace

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = absl::ascii_tolower(static_cast<unsigned char>(c));
  return lower;
}

bool HostsTable::Build(size_t bytes_max) {
  switch (phase_) {
    case Phase::kCount:
      if (Scan(bytes_max)) BeginIndex();
      break;
    case Phase::kClear:
      Clear(bytes_max);
      break;
    case Phase::kInsert:
      if (Scan(bytes_max)) phase_ = Phase::kWhole;
      break;
    case Phase::kWhole:
      break;
  }
  return phase_ == Phase::kWhole;
}

// Byte by byte, so that it can stop anywhere: a line may be as long as the
// file.
bool HostsTable::Scan(size_t bytes_max) {
  const size_t end = at_ + std::min(bytes_max, text_.size() - at_);
  for (; at_ != end; ++at_) {
    const char c = text_[at_];
    if (c == '\n') {
      has_address_ = in_word_ = in_comment_ = false;
    } else if (in_comment_) {
      continue;
    } else if (c == '#') {
      in_comment_ = true;
    } else if (IsBlank(c)) {
      in_word_ = false;
    } else if (!in_word_) {
      in_word_ = true;
      if (!has_address_) {
        has_address_ = true;
        address_ = at_;
      } else if (phase_ == Phase::kCount) {
        ++words_;
      } else if (!Insert(at_)) {
        // What is in the text was made for this hash: with another one.
        ++seed_;
        BeginIndex();
        return false;
      }
    }
  }
  return at_ == text_.size();
}

std::string_view HostsTable::WordAt(size_t begin) const {
  const size_t size_max = std::min(text_.size() - begin, kWordSizeMax);
  size_t size = 0;
  while (size != size_max && text_[begin + size] != '\n' &&
         text_[begin + size] != '#' && !IsBlank(text_[begin + size])) {
    ++size;
  }
  return std::string_view(text_).substr(begin, size);
}

void HostsTable::BeginIndex() {
  at_ = 0;
  has_address_ = in_word_ = in_comment_ = false;
  phase_ = words_ == 0 ? Phase::kWhole : Phase::kClear;
  slot_count_ = std::bit_ceil(2 * words_);
  cleared_ = 0;
  // Neither is given values yet, which would take milliseconds at once.
  slots_.reset(new Slot[slot_count_]);
  entries_.reset(new Entry[words_ + 1]);
  entry_count_ = 1;
}

// In order: the system gives new memory in large pieces when it is touched, and
// the first names would touch nearly all of them.
void HostsTable::Clear(size_t bytes_max) {
  const size_t slots = std::min(slot_count_ - cleared_,
                                kClearFactor * bytes_max / sizeof(Slot) + 1);
  std::fill_n(&slots_[cleared_], slots, Slot{.entry = 0, .hash = 0});
  cleared_ += slots;
  if (cleared_ == slot_count_) phase_ = Phase::kInsert;
}

bool HostsTable::Insert(size_t name) {
  const std::string_view word = WordAt(name);
  if (word.size() == kWordSizeMax ||
      KindOf(HostSpec(word)) != SpecKind::kName) {
    return true;
  }
  const LowerCaseName lower(WithoutFinalDot(word));
  Slot* slot = SlotOf(lower.view());
  if (slot == nullptr) return false;
  const uint32_t entry = entry_count_++;
  entries_[entry] = {.name = static_cast<uint32_t>(name),
                     .address = static_cast<uint32_t>(address_),
                     .next = entry};
  if (slot->entry != 0) {
    std::swap(entries_[entry].next, entries_[slot->entry].next);
  }
  *slot = {.entry = entry, .hash = NameHash(lower.view(), seed_)};
  return true;
}

HostsTable::Slot* HostsTable::SlotOf(std::string_view lower) const {
  const uint32_t hash = NameHash(lower, seed_);
  for (size_t i = 0; i != kProbesMax; ++i) {
    Slot& slot = slots_[(hash + i) & (slot_count_ - 1)];
    if (slot.entry == 0) return &slot;
    if (slot.hash != hash) continue;
    const std::string_view word = WordAt(entries_[slot.entry].name);
    if (LowerCaseName(WithoutFinalDot(word)).view() == lower) return &slot;
  }
  return nullptr;
}

bool HostsTable::Find(std::string_view name,
                      IpAddress::InterfaceIndexFunction interface_index,
                      Addresses* addresses) const {
  for (std::vector<IpAddress>& ips : *addresses) ips.clear();
  if (words_ == 0) return false;
  const Slot* slot = SlotOf(name);
  if (slot == nullptr || slot->entry == 0) return false;
  const uint32_t last = slot->entry;
  bool found = false;
  uint32_t entry = last;
  for (int line = 0; line != kLinesMax; ++line) {
    entry = entries_[entry].next;
    bool zone_is_there = true;
    auto index = [&](std::string_view zone) {
      const uint32_t number = interface_index(zone);
      zone_is_there = number != 0;
      return std::max(number, uint32_t{1});
    };
    absl::StatusOr<IpAddress> ip =
        IpAddress::Parse(WordAt(entries_[entry].address), index);
    if (ip.ok()) {
      found = true;
      std::vector<IpAddress>& ips =
          (*addresses)[static_cast<size_t>(ip->family())];
      if (zone_is_there && ips.size() < kAddressesMax &&
          std::find(ips.begin(), ips.end(), *ip) == ips.end()) {
        ips.push_back(*ip);
      }
    }
    if (entry == last) break;
  }
  return found;
}

ServicesTable::ServicesTable(std::string_view text) {
  while (!text.empty()) {
    std::string_view line = WithoutComment(TakeLine(text));
    std::string_view name = TakeWord(line);
    std::string_view port_text = TakeWord(line);
    size_t slash = port_text.find('/');
    uint64_t number = 0;
    if (slash == port_text.npos ||
        ReadNumberOfFile(port_text.substr(0, slash), 65535, &number) !=
            DecimalError::kNone) {
      continue;
    }
    const auto port = static_cast<uint16_t>(number);
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
      if (ip.ok() && !ip->is_any() && servers.size() < kNameServersMax) {
        servers.emplace_back(*ip, kDnsPort);
      }
    } else if (keyword == "search" || keyword == "domain") {
      search_domains.clear();
      for (std::string_view domain = TakeWord(line); !domain.empty();
           domain = TakeWord(line)) {
        if (search_domains.size() < kSearchDomainsMax &&
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
