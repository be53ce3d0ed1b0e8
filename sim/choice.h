// Every decision that the simulator leaves to chance is a named choice.
//
// A choice is named by its site (what is decided), its entity (for whom) and
// its ordinal (the how many-eth time there), and its value is a keyed hash of
// the seed and that name. So choices do not influence each other: switching a
// fault on, or adding a new site to the program, moves no other choice, and a
// recorded choice can be replayed or edited by name.

#ifndef AIOS_SIM_CHOICE_H_
#define AIOS_SIM_CHOICE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <tuple>
#include <vector>

namespace aios::sim {

// What is decided. Append only: the number is part of the name, and so of every
// recorded trace.
enum class Site : uint8_t {
  kEventOrder,      // which of the events of one moment comes first
  kLatency,         // of a packet
  kLoss,            // is this packet lost
  kDuplication,     // does it arrive twice
  kDuplicateDelay,  // how much later the second time
  kReordering,      // may it be overtaken
  kReorderDelay,    // by how much it is late then
  kCorruption,      // is this datagram changed
  kCorruptBit,      // which bit
  kSegmentSize,     // where a stream is cut into segments
  kShortRead,       // does a receive give less than there is
  kReadSize,        // how much then
  kShortWrite,      // does a send take less than there is room for
  kWriteSize,       // how much then
  kWouldBlock,      // does a call on a ready socket answer EAGAIN first
  kSpurious,        // is a socket reported that is not ready
  kBatchOrder,      // order of the reports of a wait
  kBatchSize,       // how many reports a wait gives
  kInterrupt,       // does a wait return early
  kErrno,           // does a call fail
  kErrnoValue,      // how
  kEphemeralPort,   // where the search for a free port starts
  kInitialSequence,
  kRandomBytes,    // what libraries draw from the system
  kUser,           // for tests: Simulation::Choose
  kInterruptTime,  // when a wait returns early
  kJoin,           // does a stream wait for more before it sends
  kJoinTime,       // for how long
  kDnsFault,       // does a rule of a name server hold for a query
  kDnsValue,       // what a bad answer consists of
  kCount,
};

std::string_view SiteName(Site site);
// `Site::kCount` for an unknown name.
Site SiteByName(std::string_view name);

// For whom: a host, a socket, a link, … keeps one of these. `id` must not
// depend on addresses in memory.
class ChoiceEntity {
 public:
  explicit ChoiceEntity(uint64_t id) : id_(id) {}
  uint64_t id() const { return id_; }

 private:
  friend class Choices;

  uint64_t id_;
  std::array<uint32_t, static_cast<size_t>(Site::kCount)> next_ordinal_ = {};
};

struct Choice {
  Site site;
  uint64_t entity;
  uint32_t ordinal;
  uint64_t value;
  friend bool operator==(const Choice&, const Choice&) = default;
};

class Choices {
 public:
  explicit Choices(uint64_t seed) : seed_(seed) {}

  uint64_t seed() const { return seed_; }

  // Any value.
  uint64_t Draw(Site site, ChoiceEntity& entity);

  // 0 to `count` - 1; `count` is not 0.
  uint64_t Below(Site site, ChoiceEntity& entity, uint64_t count) {
    return Scale(Draw(site, entity), count);
  }

  // True once in a while: `per_million` times in a million.
  bool Chance(Site site, ChoiceEntity& entity, uint32_t per_million) {
    return per_million != 0 && Below(site, entity, 1'000'000) < per_million;
  }

  // The part of `count` that `value` is of all values.
  static uint64_t Scale(uint64_t value, uint64_t count) {
    return static_cast<uint64_t>(
        (static_cast<unsigned __int128>(value) * count) >> 64);
  }

  // Overrides the choice of this name; for replays.
  void Set(const Choice& choice);

  // Keeps what is drawn from now on.
  void Record() { recording_ = true; }
  const std::vector<Choice>& recorded() const { return recorded_; }

 private:
  uint64_t seed_;
  bool recording_ = false;
  std::vector<Choice> recorded_;
  std::map<std::tuple<Site, uint64_t, uint32_t>, uint64_t> overrides_;
};

// The mixing function behind choices and trace hashes; fixed for ever.
constexpr uint64_t Mix(uint64_t a, uint64_t b) {
  a ^= 0x9e3779b97f4a7c15;
  b ^= 0xd1b54a32d192ed03;
  unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  uint64_t x = static_cast<uint64_t>(product) ^
               static_cast<uint64_t>(product >> 64) ^ (a + (b << 1));
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93;
  x ^= x >> 29;
  return x;
}

}  // namespace aios::sim

#endif  // AIOS_SIM_CHOICE_H_
