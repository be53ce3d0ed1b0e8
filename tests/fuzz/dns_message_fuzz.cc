// Any bytes as a DNS message: reading ends, and what was read is written and
// read again as it was.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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

}  // namespace
}  // namespace aios::sim

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  aios::sim::CheckMessage(bytes);
  // As the text of a name, too.
  if (const auto name = aios::sim::DnsName::Parse(bytes); name.ok()) {
    aios::sim::CheckName(*name);
  }
  return 0;
}
