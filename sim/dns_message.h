// DNS messages as they are on the wire: RFC 1035, and EDNS of RFC 6891. For
// simulated name servers and for tests: what resolves names in programs is in
// aios/, and shares no code with this.

#ifndef AIOS_SIM_DNS_MESSAGE_H_
#define AIOS_SIM_DNS_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "aios/address.h"

namespace aios::sim {

// A domain name. Default: the root.
class DnsName {
 public:
  static constexpr size_t kWireSizeMax = 255;
  static constexpr size_t kLabelSizeMax = 63;

  DnsName() : wire_(1, '\0') {}

  // Reads labels with dots between, and perhaps one at the end; "." is the
  // root. "\." is a dot in a label, "\\" a backslash, "\DDD" (decimal) any
  // byte. Errors: InvalidArgument for an empty label and for one of more than
  // 63 bytes, for a name of more than 255 bytes on the wire, for a bad escape.
  static absl::StatusOr<DnsName> Parse(std::string_view text);

  // As `Parse` reads it, without a dot at the end.
  std::string ToString() const;

  // On the wire, without compression: each label after its length, and a zero.
  const std::string& wire() const { return wire_; }

  // The name with ASCII letters in lower case: names are equal when these are.
  DnsName Folded() const;
  // Without its first label; the root stays the root.
  DnsName Parent() const;
  bool is_root() const { return wire_.size() == 1; }

  // Upper and lower case matter.
  friend bool operator==(const DnsName&, const DnsName&) = default;
  friend bool operator<(const DnsName& a, const DnsName& b) {
    return a.wire_ < b.wire_;
  }

 private:
  friend class DnsReader;
  explicit DnsName(std::string wire) : wire_(std::move(wire)) {}

  std::string wire_;
};

// Of records. Others may come, too.
enum class DnsType : uint16_t {
  kA = 1,
  kNs = 2,
  kCname = 5,
  kSoa = 6,
  kPtr = 12,
  kMx = 15,
  kTxt = 16,
  kAaaa = 28,
  kOpt = 41,
  kAny = 255,
};
// "A", "AAAA", …; "TYPE4711" for one without a name here.
std::string DnsTypeName(DnsType type);

// What became of a query. Others may come, too.
enum class DnsCode : uint8_t {
  kNoError,
  kFormatError,
  kServerFailure,
  kNameError,  // NXDOMAIN
  kNotImplemented,
  kRefused,
};

struct DnsQuestion {
  DnsName name;
  DnsType type = DnsType::kA;
  uint16_t dns_class = 1;  // the Internet
  friend bool operator==(const DnsQuestion&, const DnsQuestion&) = default;
};

struct DnsRecord {
  DnsName name;
  DnsType type = DnsType::kA;
  uint16_t dns_class = 1;  // of OPT: the largest datagram, in bytes
  uint32_t ttl_seconds = 0;
  // As on the wire; the names in it are not compressed.
  std::string data;
  friend bool operator==(const DnsRecord&, const DnsRecord&) = default;
};

// A or AAAA, as the family says.
DnsRecord AddressRecord(DnsName name, const IpAddress& address,
                        uint32_t ttl_seconds);
DnsRecord CnameRecord(DnsName name, const DnsName& target,
                      uint32_t ttl_seconds);
// Tells for how long it is certain that something does not exist.
DnsRecord SoaRecord(DnsName zone, uint32_t negative_ttl_seconds);
// EDNS: says how large a datagram may be.
DnsRecord OptRecord(uint16_t datagram_size_max);

// The address of an A or AAAA record; none if it is no good one.
std::optional<IpAddress> AddressOf(const DnsRecord& record);

// What a CNAME record is an alias of; none if it is no good one.
std::optional<DnsName> TargetOf(const DnsRecord& record);

struct DnsMessage {
  uint16_t id = 0;
  bool response = false;
  uint8_t opcode = 0;  // 0: a query
  bool authoritative = false;
  bool truncated = false;
  bool recursion_desired = false;
  bool recursion_available = false;
  DnsCode code = DnsCode::kNoError;
  std::vector<DnsQuestion> questions;
  std::vector<DnsRecord> answers;
  std::vector<DnsRecord> authorities;
  std::vector<DnsRecord> additionals;
  friend bool operator==(const DnsMessage&, const DnsMessage&) = default;
};

// Reads a whole message. Errors: InvalidArgument, with the offset and what is
// wrong there; for bytes behind the message, too. A name may refer only to
// names before it, so that reading ends.
absl::StatusOr<DnsMessage> DecodeDnsMessage(std::string_view bytes);

// The bytes of a message, names compressed. It is of the caller that no section
// has more than 65,535 entries and no record more data.
std::string EncodeDnsMessage(const DnsMessage& message);

}  // namespace aios::sim

#endif  // AIOS_SIM_DNS_MESSAGE_H_
