// Any bytes as the answers of a name server, to the resolver on the simulated
// kernel: each lookup ends once, in time, and leaves nothing behind.
//
// The first byte says how the others become an answer.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "aios/aios.h"
#include "aios/resolver.h"
#include "sim/name_server.h"
#include "sim/simulation.h"
#include "tests/fuzz/fuzz_check.h"

namespace aios::sim {
namespace {

enum Flags : uint8_t {
  // The client is sent to TCP first.
  kByTcp = 1,
  // The answer has the id of the query.
  kRightId = 2,
  // After its header, the answer has the question of the query.
  kRightQuestion = 4,
  kIpv6 = 8,
  kBothFamilies = 16,
};

constexpr size_t kHeaderSize = 12;

std::string AnswerOf(uint8_t flags, std::string_view bytes,
                     std::string_view query, bool tcp) {
  if (query.size() < kHeaderSize) return {};
  if ((flags & kByTcp) != 0 && !tcp) {
    std::string truncated(query);
    truncated[2] = static_cast<char>(0x83);
    return truncated;
  }
  std::string answer(bytes);
  if (answer.size() < kHeaderSize) return answer;
  if ((flags & kRightId) != 0) answer.replace(0, 2, query.substr(0, 2));
  if ((flags & kRightQuestion) != 0) {
    const DnsMessage message = DecodeDnsMessage(query).value();
    const size_t size = message.questions[0].name.wire().size() + 4;
    answer.insert(kHeaderSize, query.substr(kHeaderSize, size));
  }
  return answer;
}

void CheckAnswer(uint8_t flags, std::string_view bytes) {
  Simulation simulation;
  {
    NameServer dns(simulation.AddHost("dns"));
    dns.AnswerWith([&](std::string_view query, bool tcp) {
      return AnswerOf(flags, bytes, query, tcp);
    });
    Host& client = simulation.AddHost("client");
    const auto collection =
        MakeWaitStateCollection(
            client.kernel(),
            {.resolver = {.servers = {{{simulation.hosts()[0]->ipv4(), 53}}},
                          .timeout = absl::Milliseconds(100),
                          .tries = 1}})
            .value();
    int calls = 0;
    const auto lookup =
        LookUp(*collection, "www.test", 80,
               [&](const LookupResult& result) {
                 ++calls;
                 AIOS_FUZZ_CHECK(result.ok() == !result.addresses.empty());
                 AIOS_FUZZ_CHECK(result.ok() == result.detail.empty());
                 AIOS_FUZZ_CHECK(result.detail.size() < 300);
                 for (const SocketAddress& address : result.addresses) {
                   AIOS_FUZZ_CHECK(address.port() == 80);
                   AIOS_FUZZ_CHECK((flags & kBothFamilies) != 0 ||
                                   address.ip().is_ipv6() ==
                                       ((flags & kIpv6) != 0));
                 }
               },
               {.family = (flags & kBothFamilies) != 0 ? LookupFamily::kBoth
                          : (flags & kIpv6) != 0       ? LookupFamily::kIpv6
                                                       : LookupFamily::kIpv4})
            .value();
    AIOS_FUZZ_CHECK(simulation.RunUntil([&] { return calls != 0; },
                                        {.time_max = absl::Seconds(2)}));
    simulation.RunFor(absl::Seconds(1));
    AIOS_FUZZ_CHECK(calls == 1);
    // Where it has asked, it does not ask again and again.
    AIOS_FUZZ_CHECK(simulation.events() < 1000);
  }
  AIOS_FUZZ_CHECK(simulation.RunUntilIdle());
  AIOS_FUZZ_CHECK(simulation.Leftovers().empty());
  AIOS_FUZZ_CHECK(simulation.violations().empty());
}

}  // namespace
}  // namespace aios::sim

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  // The largest datagram.
  if (size > 65000) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  aios::sim::CheckAnswer(data[0], bytes.substr(1));
  return 0;
}
