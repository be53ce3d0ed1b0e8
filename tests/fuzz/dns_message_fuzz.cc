// Any bytes as a DNS message: reading ends, and what was read is written and
// read again as it was. What aios reads of its addresses is there.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aios/address.h"
#include "aios/dns_answer.h"
#include "sim/dns_message.h"
#include "tests/fuzz/fuzz_check.h"

namespace aios::sim {
namespace {

void CheckName(const DnsName& name) {
  AIOS_FUZZ_CHECK(name.wire().size() <= DnsName::kWireSizeMax);
  const absl::StatusOr<DnsName> again = DnsName::Parse(name.ToString());
  AIOS_FUZZ_CHECK(again.ok() && *again == name);
  AIOS_FUZZ_CHECK(name.Folded().Folded() == name.Folded());
  AIOS_FUZZ_CHECK(name.is_root() ||
                  name.Parent().wire().size() < name.wire().size());
}

void CheckMessage(std::string_view bytes) {
  const absl::StatusOr<DnsMessage> message = DecodeDnsMessage(bytes);
  if (!message.ok()) {
    AIOS_FUZZ_CHECK(message.status().code() ==
                    absl::StatusCode::kInvalidArgument);
    AIOS_FUZZ_CHECK(message.status().message().size() < 200);
    return;
  }
  for (const DnsQuestion& question : message->questions) {
    CheckName(question.name);
  }
  for (const auto* section :
       {&message->answers, &message->authorities, &message->additionals}) {
    for (const DnsRecord& record : *section) {
      CheckName(record.name);
      static_cast<void>(AddressOf(record));
      if (const auto target = TargetOf(record)) CheckName(*target);
    }
  }
  const absl::StatusOr<DnsMessage> again =
      DecodeDnsMessage(EncodeDnsMessage(*message));
  AIOS_FUZZ_CHECK(again.ok() && *again == *message);
}

void CheckAddresses(std::string_view bytes) {
  const std::optional<aios::DnsQuestion> question = ReadDnsQuestion(bytes);
  AIOS_FUZZ_CHECK(!question.has_value() || question->end <= bytes.size());
  const absl::StatusOr<DnsMessage> message = DecodeDnsMessage(bytes);
  for (Family family : {Family::kIpv4, Family::kIpv6}) {
    const std::optional<DnsAddresses> found = ReadDnsAddresses(
        bytes, question.has_value() ? question->name : "a.test", family);
    if (!found.has_value()) continue;
    AIOS_FUZZ_CHECK(found->addresses.size() <= 32);
    AIOS_FUZZ_CHECK(found->ttl_seconds >= 0);
    for (const IpAddress& ip : found->addresses) {
      AIOS_FUZZ_CHECK(ip.family() == family);
      AIOS_FUZZ_CHECK(std::count(found->addresses.begin(),
                                 found->addresses.end(), ip) == 1);
      if (!message.ok()) continue;
      AIOS_FUZZ_CHECK(std::any_of(
          message->answers.begin(), message->answers.end(),
          [&ip](const DnsRecord& record) { return AddressOf(record) == ip; }));
    }
  }
}

}  // namespace
}  // namespace aios::sim

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  aios::sim::CheckMessage(bytes);
  aios::sim::CheckAddresses(bytes);
  // As the text of a name, too.
  if (const auto name = aios::sim::DnsName::Parse(bytes); name.ok()) {
    aios::sim::CheckName(*name);
  }
  return 0;
}
