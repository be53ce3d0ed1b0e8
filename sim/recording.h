// Everything that the pictures of a run show: packets, operations, faults.

#ifndef AIOS_SIM_RECORDING_H_
#define AIOS_SIM_RECORDING_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/operation_observer.h"
#include "sim/network_options.h"
#include "sim/packet.h"

namespace aios::sim {

struct RecordedPacket {
  Packet packet;
  Nanoseconds sent = 0;
  // When it arrived, or was dropped; `kForever` while it is on its way.
  Nanoseconds ended = kForever;
  bool dropped = false;
  // Why, when it was dropped by a fault; `kCount` otherwise.
  Fault fault = Fault::kCount;
};

struct RecordedOperation {
  uint32_t host = 0;
  uint64_t number = 0;
  // Numbers the states of a host from 1, in the order of their first
  // operation.
  uint32_t state = 0;
  // What the state is called, and what was asked for, where that is known.
  std::string state_name = {};
  std::string detail = {};
  std::string kind;
  Nanoseconds start = 0;
  Nanoseconds end = kForever;
  OperationObserver::End how = OperationObserver::End::kCallback;
  IoStatus status = IoStatus::kOk;
  size_t count = 0;
  // "ECONNRESET", where that is known.
  std::string error = {};
  bool output = false;
};

// Something that happened to a host or by a fault.
struct RecordedMark {
  Nanoseconds time = 0;
  uint32_t host = 0;
  std::string text;
};

// Kept by a simulation from `Simulation::StartRecording` on. It grows with the
// run: for looking at, not for searches.
class Recording {
 public:
  void AddHost(std::string_view name) { hosts_.emplace_back(name); }
  void OnSend(const Packet& packet, Nanoseconds now);
  void OnArrival(const Packet& packet, Nanoseconds now);
  void OnDrop(const Packet& packet, Fault fault, Nanoseconds now);
  void OnStart(uint32_t host, uint64_t number, const void* state,
               std::string_view kind, bool output, Nanoseconds now);
  // Describes the operation that starts next.
  void DescribeNext(std::string_view state_name, std::string_view detail) {
    next_name_ = state_name;
    next_detail_ = detail;
  }
  void OnEnd(uint32_t host, uint64_t number, OperationObserver::End how,
             IoStatus status, size_t count, Nanoseconds now);
  // Adds the error of the operation that has ended last.
  void DescribeLastEnd(std::string_view error);
  void OnMark(uint32_t host, std::string_view text, Nanoseconds now);

  const std::vector<std::string>& hosts() const { return hosts_; }
  // In the order in which they were sent, started, made.
  const std::vector<RecordedPacket>& packets() const { return packets_; }
  const std::vector<RecordedOperation>& operations() const {
    return operations_;
  }
  const std::vector<RecordedMark>& marks() const { return marks_; }

 private:
  std::vector<std::string> hosts_;
  std::vector<RecordedPacket> packets_;
  std::vector<RecordedOperation> operations_;
  std::vector<RecordedMark> marks_;
  size_t last_ended_ = ~size_t{0};
  std::string next_name_;
  std::string next_detail_;
  std::map<uint64_t, size_t> packet_places_;
  std::map<std::pair<uint32_t, uint64_t>, size_t> operation_places_;
  // Only looked up; a state's number is given in the order of first use.
  std::map<std::pair<uint32_t, const void*>, uint32_t> states_;
  std::map<uint32_t, uint32_t> next_state_;
};

}  // namespace aios::sim

#endif  // AIOS_SIM_RECORDING_H_
