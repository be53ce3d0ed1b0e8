#include "aios/dns_answer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"

namespace aios {

namespace {

constexpr size_t kHeaderSize = 12;
constexpr size_t kLabelMax = 63;
constexpr size_t kNameMax = 255;
// In one name: as many as it can have labels.
constexpr int kReferencesMax = 127;
constexpr int kClassInternet = 1;
constexpr int kTypeA = 1;
constexpr int kTypeCname = 5;
constexpr int kTypeAaaa = 28;

// A message over TCP has room for thousands.
constexpr size_t kAddressesMax = 32;

// Aliases that are followed from one to the next. They may go round.
constexpr int kAliasesMax = 16;

// Reads a message from the front. What is beyond its end fails.
class Reader {
 public:
  explicit Reader(std::string_view message) : message_(message) {}

  bool failed() const { return failed_; }
  size_t place() const { return place_; }

  std::string_view Bytes(size_t count) {
    if (message_.size() - place_ < count) {
      failed_ = true;
      return {};
    }
    return message_.substr(std::exchange(place_, place_ + count), count);
  }

  int Byte() { return Number(1); }
  int Number16() { return Number(2); }
  int64_t Number32() {
    int64_t high = Number16();
    return high << 16 | Number16();
  }

  // In lower case and in the form of the message, uncompressed: labels with
  // their lengths before them. So a dot within a label is none between two.
  std::string Name() {
    std::string name;
    size_t at = place_;
    // Each reference leads to before the part of the name that it ends; so they
    // do not go round.
    size_t part = place_;
    int references = 0;
    while (true) {
      int length = ByteAt(at);
      if (length < 0) break;
      if (length == 0) {
        if (references == 0) place_ = at + 1;
        return name;
      }
      size_t next = at + 1 + static_cast<size_t>(length);
      if ((length & 0xc0) == 0xc0) {
        int low = ByteAt(at + 1);
        size_t target =
            static_cast<size_t>(length & 0x3f) << 8 | static_cast<size_t>(low);
        if (low < 0 || target >= part) break;
        if (references == 0) place_ = at + 2;
        // A long chain of references would take its time.
        if (++references > kReferencesMax) break;
        at = target;
        part = target;
        continue;
      }
      if (static_cast<size_t>(length) > kLabelMax || next > message_.size() ||
          name.size() + 1 + static_cast<size_t>(length) >= kNameMax) {
        break;
      }
      name.push_back(static_cast<char>(length));
      for (char c : message_.substr(at + 1, static_cast<size_t>(length))) {
        name.push_back(absl::ascii_tolower(static_cast<unsigned char>(c)));
      }
      at = next;
    }
    failed_ = true;
    return {};
  }

 private:
  int ByteAt(size_t place) const {
    return place < message_.size()
               ? static_cast<int>(static_cast<unsigned char>(message_[place]))
               : -1;
  }

  int Number(size_t size) {
    int number = 0;
    for (char c : Bytes(size)) {
      number = number << 8 | static_cast<int>(static_cast<unsigned char>(c));
    }
    return number;
  }

  const std::string_view message_;
  size_t place_ = 0;
  bool failed_ = false;
};

// The form in which `Reader::Name` gives it.
std::string NameInMessage(std::string_view name) {
  std::string text;
  if (name.ends_with('.')) name.remove_suffix(1);
  while (!name.empty()) {
    size_t length = std::min(name.find('.'), name.size());
    text.push_back(static_cast<char>(length));
    for (char c : name.substr(0, length)) {
      text.push_back(absl::ascii_tolower(static_cast<unsigned char>(c)));
    }
    name.remove_prefix(std::min(length + 1, name.size()));
  }
  return text;
}

struct Counts {
  int questions = 0;
  int answers = 0;
};

Counts ReadHeader(Reader& reader) {
  Counts counts;
  reader.Bytes(4);
  counts.questions = reader.Number16();
  counts.answers = reader.Number16();
  reader.Bytes(kHeaderSize - 8);
  return counts;
}

struct Alias {
  std::string owner;
  std::string target;
  int64_t ttl = 0;
};

struct Address {
  std::string owner;
  IpAddress ip;
  int64_t ttl = 0;
};

}  // namespace

int DnsType(Family family) {
  return family == Family::kIpv4 ? kTypeA : kTypeAaaa;
}

std::optional<DnsQuestion> ReadDnsQuestion(std::string_view message) {
  Reader reader(message);
  if (ReadHeader(reader).questions == 0 || reader.failed()) return std::nullopt;
  std::string name = reader.Name();
  DnsQuestion question;
  question.type = reader.Number16();
  reader.Number16();
  if (reader.failed()) return std::nullopt;
  question.end = reader.place();
  for (size_t at = 0; at < name.size();) {
    auto length = static_cast<size_t>(static_cast<unsigned char>(name[at]));
    if (at != 0) question.name.push_back('.');
    question.name.append(name, at + 1, length);
    at += 1 + length;
  }
  return question;
}

std::optional<DnsAddresses> ReadDnsAddresses(std::string_view message,
                                             std::string_view name,
                                             Family family) {
  Reader reader(message);
  Counts counts = ReadHeader(reader);
  for (int i = 0; i != counts.questions && !reader.failed(); ++i) {
    reader.Name();
    reader.Bytes(4);
  }
  std::vector<Alias> aliases;
  std::vector<Address> addresses;
  for (int i = 0; i != counts.answers; ++i) {
    std::string owner = reader.Name();
    int type = reader.Number16();
    int dns_class = reader.Number16();
    int64_t ttl = reader.Number32();
    // RFC 2181, section 8: one that would be negative is zero.
    if (ttl > INT32_MAX) ttl = 0;
    int size = reader.Number16();
    size_t end = reader.place() + static_cast<size_t>(size);
    // Names in the data may refer to what is before it.
    Reader data = reader;
    std::string_view bytes = reader.Bytes(static_cast<size_t>(size));
    if (reader.failed()) return std::nullopt;
    if (dns_class != kClassInternet) continue;
    if (type == kTypeCname) {
      std::string target = data.Name();
      if (data.failed() || data.place() != end) return std::nullopt;
      aliases.push_back({std::move(owner), std::move(target), ttl});
    } else if (type == DnsType(family)) {
      IpAddress ip;
      if (family == Family::kIpv4) {
        if (bytes.size() != 4) return std::nullopt;
        ip = IpAddress::FromIpv4(static_cast<uint32_t>(data.Number32()));
      } else {
        IpAddress::Ipv6Bytes ipv6;
        if (bytes.size() != ipv6.size()) return std::nullopt;
        std::copy(bytes.begin(), bytes.end(), ipv6.begin());
        ip = IpAddress::FromIpv6(ipv6);
      }
      addresses.push_back({std::move(owner), ip, ttl});
    }
  }
  if (reader.failed()) return std::nullopt;

  DnsAddresses found;
  found.ttl_seconds = INT32_MAX;
  std::string wanted = NameInMessage(name);
  for (int i = 0; i != kAliasesMax; ++i) {
    auto alias = std::find_if(
        aliases.begin(), aliases.end(),
        [&wanted](const Alias& one) { return one.owner == wanted; });
    if (alias == aliases.end()) break;
    found.ttl_seconds = std::min(found.ttl_seconds, alias->ttl);
    wanted = alias->target;
  }
  for (const Address& address : addresses) {
    if (address.owner != wanted) continue;
    found.ttl_seconds = std::min(found.ttl_seconds, address.ttl);
    // RFC 2181, section 5: a set has no record twice.
    if (found.addresses.size() < kAddressesMax &&
        std::find(found.addresses.begin(), found.addresses.end(), address.ip) ==
            found.addresses.end()) {
      found.addresses.push_back(address.ip);
    }
  }
  return found;
}

}  // namespace aios
