#include "sim/dns_message.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "aios/check.h"

namespace aios::sim {

namespace {

constexpr uint8_t kPointer = 0xc0;
constexpr size_t kPointerOffsetMax = 0x3fff;
// In one name. One that is not made to take long needs a few.
constexpr int kJumpsMax = 128;

// Bits of the header's second word.
constexpr uint16_t kResponse = 0x8000;
constexpr uint16_t kAuthoritative = 0x0400;
constexpr uint16_t kTruncated = 0x0200;
constexpr uint16_t kRecursionDesired = 0x0100;
constexpr uint16_t kRecursionAvailable = 0x0080;
constexpr int kOpcodeShift = 11;
constexpr uint16_t kOpcodeMask = 0xf;
constexpr uint16_t kCodeMask = 0xf;

uint8_t Byte(char c) { return static_cast<uint8_t>(c); }

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

void Append16(std::string& bytes, size_t value) {
  bytes.push_back(static_cast<char>(value >> 8));
  bytes.push_back(static_cast<char>(value));
}

void Append32(std::string& bytes, uint32_t value) {
  Append16(bytes, value >> 16);
  Append16(bytes, value & 0xffff);
}

// Where names are in the data of a record that may be compressed there: behind
// `before` bytes, `count` of them.
struct NamesInData {
  size_t before = 0;
  size_t count = 0;
};
NamesInData NamesIn(DnsType type) {
  switch (type) {
    case DnsType::kNs:
    case DnsType::kCname:
    case DnsType::kPtr:
      return {0, 1};
    case DnsType::kMx:
      return {2, 1};
    case DnsType::kSoa:
      return {0, 2};
    default:
      return {};
  }
}

// The length of a name without compression at the start of `bytes`; more than
// there are when there is none.
size_t WireLength(std::string_view bytes) {
  size_t length = 0;
  while (length < bytes.size() && bytes[length] != '\0') {
    if (Byte(bytes[length]) > DnsName::kLabelSizeMax) return bytes.size() + 1;
    length += 1 + Byte(bytes[length]);
  }
  return length + 1;
}

class DnsWriter {
 public:
  void Append(std::string_view data) { bytes_.append(data); }
  void Number16(size_t value) { Append16(bytes_, value); }
  void Number32(uint32_t value) { Append32(bytes_, value); }

  // `wire` without compression.
  void Name(std::string_view wire) {
    while (wire.size() > 1) {
      auto found = places_.find(wire);
      if (found != places_.end()) {
        Number16(size_t{kPointer} << 8 | found->second);
        return;
      }
      if (bytes_.size() <= kPointerOffsetMax) {
        places_.emplace(std::string(wire), bytes_.size());
      }
      size_t label = 1 + Byte(wire[0]);
      Append(wire.substr(0, label));
      wire.remove_prefix(label);
    }
    bytes_.push_back('\0');
  }

  void Record(const DnsRecord& record) {
    Name(record.name.wire());
    Number16(static_cast<uint16_t>(record.type));
    Number16(record.dns_class);
    Number32(record.ttl_seconds);
    size_t length_at = bytes_.size();
    Number16(0);
    std::string_view data = record.data;
    NamesInData names = NamesIn(record.type);
    if (names.count != 0) {
      size_t before = std::min(names.before, data.size());
      Append(data.substr(0, before));
      data.remove_prefix(before);
      for (size_t i = 0; i != names.count; ++i) {
        size_t length = WireLength(data);
        if (length > data.size()) break;  // no name
        Name(data.substr(0, length));
        data.remove_prefix(length);
      }
    }
    Append(data);
    size_t length = bytes_.size() - length_at - 2;
    AIOS_CHECK(length <= 0xffff, "the data of a record is too long");
    bytes_[length_at] = static_cast<char>(length >> 8);
    bytes_[length_at + 1] = static_cast<char>(length);
  }

  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
  // Of names, and ends of names, that others can refer to.
  std::map<std::string, size_t, std::less<>> places_;
};

}  // namespace

// Keeps the first mistake; what is read after it is of no use.
class DnsReader {
 public:
  explicit DnsReader(std::string_view bytes) : bytes_(bytes) {}

  bool failed() const { return wrong_ != nullptr; }
  bool at_end() const { return at_ == bytes_.size(); }
  void Fail(const char* wrong) { FailAt(at_, wrong); }
  absl::Status status() const {
    if (!failed()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("DNS message of ", bytes_.size(), " bytes, at byte ",
                     wrong_at_, ": ", wrong_));
  }

  uint16_t Number16() {
    std::string_view two = Take(2);
    if (failed()) return 0;
    return static_cast<uint16_t>(Byte(two[0]) << 8 | Byte(two[1]));
  }

  uint32_t Number32() {
    uint32_t high = Number16();
    return high << 16 | Number16();
  }

  std::string_view Take(size_t size) {
    if (failed()) return {};
    if (bytes_.size() - at_ < size) {
      Fail("the message ends within a field");
      return {};
    }
    std::string_view taken = bytes_.substr(at_, size);
    at_ += size;
    return taken;
  }

  DnsName Name() {
    std::string wire;
    // What the labels from `start` on refer to lies before it.
    size_t start = at_;
    size_t at = at_;
    int jumps = 0;
    while (!failed()) {
      if (at >= bytes_.size()) {
        FailAt(at, "the message ends within a name");
        break;
      }
      uint8_t length = Byte(bytes_[at]);
      if ((length & kPointer) == kPointer) {
        if (at + 1 >= bytes_.size()) {
          FailAt(at, "the message ends within a name");
          break;
        }
        size_t target = size_t{length & 0x3fu} << 8 | Byte(bytes_[at + 1]);
        if (target >= start) {
          FailAt(at, "a name refers to itself or forwards");
          break;
        }
        if (jumps == 0) at_ = at + 2;
        if (++jumps > kJumpsMax) {
          FailAt(at, "a name refers to others too often");
          break;
        }
        start = at = target;
        continue;
      }
      if ((length & kPointer) != 0) {
        FailAt(at, "this kind of label does not exist");
        break;
      }
      if (bytes_.size() - at <= length) {
        FailAt(at, "the message ends within a name");
        break;
      }
      if (wire.size() + 1 + length + (length != 0 ? 1 : 0) >
          DnsName::kWireSizeMax) {
        FailAt(at, "the name is longer than 255 bytes");
        break;
      }
      wire.append(bytes_.substr(at, 1 + length));
      at += 1 + length;
      if (length == 0) {
        if (jumps == 0) at_ = at;
        return DnsName(std::move(wire));
      }
    }
    return {};
  }

  DnsQuestion Question() {
    DnsQuestion question;
    question.name = Name();
    question.type = static_cast<DnsType>(Number16());
    question.dns_class = Number16();
    return question;
  }

  DnsRecord Record() {
    DnsRecord record;
    record.name = Name();
    record.type = static_cast<DnsType>(Number16());
    record.dns_class = Number16();
    record.ttl_seconds = Number32();
    size_t length = Number16();
    size_t end = at_ + length;
    if (!failed() && bytes_.size() - at_ < length) {
      Fail("the message ends within the data of a record");
    }
    NamesInData names = NamesIn(record.type);
    if (names.count != 0) {
      record.data = Take(names.before);
      for (size_t i = 0; i != names.count && !failed(); ++i) {
        record.data += Name().wire();
      }
    }
    if (failed()) return record;
    if (at_ > end) {
      Fail("the data of a record is longer than it says");
      return record;
    }
    record.data += Take(end - at_);
    return record;
  }

 private:
  void FailAt(size_t at, const char* wrong) {
    if (failed()) return;
    wrong_ = wrong;
    wrong_at_ = at;
  }

  std::string_view bytes_;
  size_t at_ = 0;
  const char* wrong_ = nullptr;
  size_t wrong_at_ = 0;
};

absl::StatusOr<DnsName> DnsName::Parse(std::string_view text) {
  auto fail = [&](const char* wrong) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", std::string(text), "\" is no domain name: ", wrong));
  };
  std::string wire;
  if (text.empty()) return fail("it is empty");
  if (text == ".") return DnsName();
  std::string label;
  auto finish = [&] {
    wire.push_back(static_cast<char>(label.size()));
    wire += label;
    label.clear();
  };
  for (size_t i = 0; i != text.size(); ++i) {
    char c = text[i];
    if (c == '.') {
      if (label.empty()) return fail("a label is empty");
      finish();
      continue;
    }
    if (c == '\\') {
      std::string_view rest = text.substr(i + 1);
      if (rest.empty()) return fail("a backslash is at its end");
      if (rest[0] >= '0' && rest[0] <= '9') {
        int value = 0;
        for (size_t digit = 0; digit != 3; ++digit) {
          if (digit >= rest.size() || rest[digit] < '0' || rest[digit] > '9') {
            return fail("a backslash needs three digits, or a character");
          }
          value = value * 10 + (rest[digit] - '0');
        }
        if (value > 255) return fail("a byte is more than 255");
        c = static_cast<char>(value);
        i += 3;
      } else {
        c = rest[0];
        ++i;
      }
    }
    label.push_back(c);
    if (label.size() > kLabelSizeMax) return fail("a label has over 63 bytes");
  }
  if (!label.empty()) finish();
  wire.push_back('\0');
  if (wire.size() > kWireSizeMax) return fail("it is too long");
  return DnsName(std::move(wire));
}

std::string DnsName::ToString() const {
  if (is_root()) return ".";
  std::string text;
  size_t left = 0;
  for (size_t i = 0; i + 1 < wire_.size(); ++i) {
    uint8_t byte = Byte(wire_[i]);
    if (left == 0) {
      left = byte;
      if (!text.empty()) text.push_back('.');
      continue;
    }
    --left;
    if (byte == '.' || byte == '\\') {
      text.push_back('\\');
      text.push_back(static_cast<char>(byte));
    } else if (byte > ' ' && byte <= '~') {
      text.push_back(static_cast<char>(byte));
    } else {
      text.push_back('\\');
      text.push_back(static_cast<char>('0' + byte / 100));
      text.push_back(static_cast<char>('0' + byte / 10 % 10));
      text.push_back(static_cast<char>('0' + byte % 10));
    }
  }
  return text;
}

DnsName DnsName::Folded() const {
  // Lengths are less than 64, and so no letters.
  std::string wire = wire_;
  for (char& c : wire) c = Lower(c);
  return DnsName(std::move(wire));
}

DnsName DnsName::Parent() const {
  if (is_root()) return {};
  return DnsName(wire_.substr(1 + Byte(wire_[0])));
}

std::string DnsTypeName(DnsType type) {
  switch (type) {
    case DnsType::kA:
      return "A";
    case DnsType::kNs:
      return "NS";
    case DnsType::kCname:
      return "CNAME";
    case DnsType::kSoa:
      return "SOA";
    case DnsType::kPtr:
      return "PTR";
    case DnsType::kMx:
      return "MX";
    case DnsType::kTxt:
      return "TXT";
    case DnsType::kAaaa:
      return "AAAA";
    case DnsType::kOpt:
      return "OPT";
    case DnsType::kAny:
      return "ANY";
  }
  return absl::StrCat("TYPE", static_cast<int>(type));
}

DnsRecord AddressRecord(DnsName name, const IpAddress& address,
                        uint32_t ttl_seconds) {
  DnsRecord record;
  record.name = std::move(name);
  record.ttl_seconds = ttl_seconds;
  if (address.is_ipv4()) {
    record.type = DnsType::kA;
    Append32(record.data, address.ipv4());
  } else {
    record.type = DnsType::kAaaa;
    for (uint8_t byte : address.ipv6()) {
      record.data.push_back(static_cast<char>(byte));
    }
  }
  return record;
}

DnsRecord CnameRecord(DnsName name, const DnsName& target,
                      uint32_t ttl_seconds) {
  return {.name = std::move(name),
          .type = DnsType::kCname,
          .ttl_seconds = ttl_seconds,
          .data = target.wire()};
}

DnsRecord SoaRecord(DnsName zone, uint32_t negative_ttl_seconds) {
  DnsRecord record;
  // The server and the mailbox of the zone: nobody asks them anything here.
  record.data = zone.wire() + zone.wire();
  record.name = std::move(zone);
  record.type = DnsType::kSoa;
  record.ttl_seconds = negative_ttl_seconds;
  for (uint32_t value : {1u, 3600u, 600u, 86400u, negative_ttl_seconds}) {
    Append32(record.data, value);
  }
  return record;
}

DnsRecord OptRecord(uint16_t datagram_size_max) {
  DnsRecord record;
  record.type = DnsType::kOpt;
  record.dns_class = datagram_size_max;
  return record;
}

std::optional<IpAddress> AddressOf(const DnsRecord& record) {
  if (record.type == DnsType::kA && record.data.size() == 4) {
    uint32_t value = 0;
    for (char c : record.data) value = value << 8 | Byte(c);
    return IpAddress::FromIpv4(value);
  }
  if (record.type == DnsType::kAaaa && record.data.size() == 16) {
    IpAddress::Ipv6Bytes bytes;
    for (size_t i = 0; i != bytes.size(); ++i) bytes[i] = Byte(record.data[i]);
    return IpAddress::FromIpv6(bytes);
  }
  return std::nullopt;
}

std::optional<DnsName> TargetOf(const DnsRecord& record) {
  if (record.type != DnsType::kCname) return std::nullopt;
  DnsReader reader(record.data);
  DnsName target = reader.Name();
  if (reader.failed() || !reader.at_end()) return std::nullopt;
  return target;
}

absl::StatusOr<DnsMessage> DecodeDnsMessage(std::string_view bytes) {
  DnsReader reader(bytes);
  DnsMessage message;
  message.id = reader.Number16();
  uint16_t flags = reader.Number16();
  message.response = (flags & kResponse) != 0;
  message.opcode = flags >> kOpcodeShift & kOpcodeMask;
  message.authoritative = (flags & kAuthoritative) != 0;
  message.truncated = (flags & kTruncated) != 0;
  message.recursion_desired = (flags & kRecursionDesired) != 0;
  message.recursion_available = (flags & kRecursionAvailable) != 0;
  message.code = static_cast<DnsCode>(flags & kCodeMask);
  std::array<uint16_t, 4> counts;
  for (uint16_t& count : counts) count = reader.Number16();
  for (size_t i = 0; i != counts[0] && !reader.failed(); ++i) {
    message.questions.push_back(reader.Question());
  }
  std::array sections = {&message.answers, &message.authorities,
                         &message.additionals};
  for (size_t section = 0; section != sections.size(); ++section) {
    for (size_t i = 0; i != counts[section + 1] && !reader.failed(); ++i) {
      sections[section]->push_back(reader.Record());
    }
  }
  if (!reader.failed() && !reader.at_end()) {
    reader.Fail("more bytes follow the message");
  }
  if (reader.failed()) return reader.status();
  return message;
}

std::string EncodeDnsMessage(const DnsMessage& message) {
  DnsWriter writer;
  uint16_t flags = static_cast<uint16_t>(message.code) & kCodeMask;
  if (message.response) flags |= kResponse;
  flags |=
      static_cast<uint16_t>((message.opcode & kOpcodeMask) << kOpcodeShift);
  if (message.authoritative) flags |= kAuthoritative;
  if (message.truncated) flags |= kTruncated;
  if (message.recursion_desired) flags |= kRecursionDesired;
  if (message.recursion_available) flags |= kRecursionAvailable;
  writer.Number16(message.id);
  writer.Number16(flags);
  std::array sections = {&message.answers, &message.authorities,
                         &message.additionals};
  size_t longest = message.questions.size();
  writer.Number16(message.questions.size());
  for (const std::vector<DnsRecord>* section : sections) {
    longest = std::max(longest, section->size());
    writer.Number16(section->size());
  }
  AIOS_CHECK(longest <= 0xffff, "a section of a message is too long");
  for (const DnsQuestion& question : message.questions) {
    writer.Name(question.name.wire());
    writer.Number16(static_cast<uint16_t>(question.type));
    writer.Number16(question.dns_class);
  }
  for (const std::vector<DnsRecord>* section : sections) {
    for (const DnsRecord& record : *section) writer.Record(record);
  }
  return writer.Take();
}

}  // namespace aios::sim
