// A name server for tests, on a plain socket of a test world: it answers what
// it is told to, when it is asked to look.

#ifndef AIOS_TESTS_NAMES_DNS_PEER_H_
#define AIOS_TESTS_NAMES_DNS_PEER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aios/address.h"
#include "tests/support/test_world.h"

namespace aios::test {

enum class DnsType : uint16_t { kA = 1, kCname = 5, kAaaa = 28 };

enum class DnsCode : uint8_t {
  kNoError = 0,
  kFormatError = 1,
  kServerFailure = 2,
  kNoSuchName = 3,
  kNotImplemented = 4,
  kRefused = 5,
};

struct DnsQuery {
  SocketAddress sender;
  uint16_t id = 0;
  std::string name = {};  // as it came, without a final dot
  DnsType type = DnsType::kA;
  bool edns = false;
  std::string bytes = {};
};

struct DnsRecord {
  std::string name = {};
  DnsType type = DnsType::kA;
  uint32_t ttl = 0;
  std::string data = {};
};

DnsRecord AddressRecord(std::string_view name, std::string_view ip,
                        uint32_t ttl = 300);
DnsRecord AliasRecord(std::string_view name, std::string_view target,
                      uint32_t ttl = 300);

// The answer to a query, with its question.
std::string DnsAnswer(const DnsQuery& query,
                      const std::vector<DnsRecord>& records,
                      DnsCode code = DnsCode::kNoError);

class DnsPeer {
 public:
  DnsPeer(TestWorld& world, Family family);

  SocketAddress address() const { return socket_->address(); }

  // Adds an address to `name`; the first makes it exist.
  void Add(std::string_view name, std::string_view ip, uint32_t ttl = 300);
  // Makes it exist, perhaps without an address.
  void AddName(std::string_view name) { zone_[std::string(name)]; }

  // In place of the zone: returns the answer, empty for silence.
  void set_handler(std::function<std::string(const DnsQuery&)> handler) {
    handler_ = std::move(handler);
  }

  // Answers what has come; `held` answers only by `Release`.
  void Serve();
  void Hold() { held_ = true; }
  void Release();

  // Sends bytes to whoever asked last.
  void SendToLast(std::string_view bytes);

  // All queries so far, "name A" or "name AAAA".
  const std::vector<std::string>& log() const { return log_; }
  size_t queries() const { return log_.size(); }
  const DnsQuery& last() const { return last_; }

 private:
  std::string FromZone(const DnsQuery& query) const;

  const std::unique_ptr<UdpPeer> socket_;
  std::map<std::string, std::vector<DnsRecord>> zone_;
  std::function<std::string(const DnsQuery&)> handler_;
  bool held_ = false;
  std::vector<DnsQuery> waiting_;
  DnsQuery last_;
  std::vector<std::string> log_;
};

}  // namespace aios::test

#endif  // AIOS_TESTS_NAMES_DNS_PEER_H_
