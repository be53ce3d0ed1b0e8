// What travels between hosts.

#ifndef AIOS_SIM_PACKET_H_
#define AIOS_SIM_PACKET_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "aios/address.h"
#include "aios/kernel.h"
#include "sim/stream_check.h"

namespace aios::sim {

struct Packet {
  enum class Protocol : uint8_t {
    kTcp,
    kUdp,
    // "No such port": `source` and `target` are those of the datagram that
    // found none, the other way round.
    kUnreachable,
  };
  enum Flags : uint8_t { kSyn = 1, kAck = 2, kFin = 4, kRst = 8 };

  uint64_t id = 0;
  Protocol protocol = Protocol::kUdp;
  uint8_t flags = 0;
  bool corrupted = false;
  uint32_t from = 0;  // hosts
  uint32_t to = 0;
  SocketAddress source = {};
  SocketAddress target = {};
  // TCP; numbers count from the start of the stream and never wrap.
  uint64_t sequence = 0;
  uint64_t acknowledged = 0;
  uint64_t window = 0;
  // TCP: the ends of the connection, unique in a simulation; 0 where the sender
  // knows none. They tell a connection from an earlier one of the same
  // addresses, for which real ones have random sequence numbers.
  uint64_t source_end = 0;
  uint64_t target_end = 0;
  std::vector<char> payload = {};
  // Only with SYN: how the ends of a connection find their common check.
  std::shared_ptr<ConnectionCheck> check = nullptr;

  // UDP: of what was sent, from where and to where; so that it can be told from
  // what arrives.
  uint64_t seal = 0;

  // Drawn when it is sent: how long its link takes, and what it comes before of
  // the events of one moment.
  Nanoseconds latency = 0;
  uint32_t tie = 0;

  // On the wire, headers included.
  size_t size() const {
    return payload.size() + (protocol == Protocol::kTcp ? 40 : 28);
  }
};

}  // namespace aios::sim

#endif  // AIOS_SIM_PACKET_H_
