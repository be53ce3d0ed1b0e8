#include "sim/recording.h"

#include <utility>

namespace aios::sim {

void Recording::OnSend(const Packet& packet, Nanoseconds now) {
  packet_places_[packet.id] = packets_.size();
  packets_.push_back({.packet = packet, .sent = now});
}

void Recording::OnArrival(const Packet& packet, Nanoseconds now) {
  auto found = packet_places_.find(packet.id);
  if (found == packet_places_.end()) return;
  packets_[found->second].ended = now;
  packet_places_.erase(found);
}

void Recording::OnDrop(const Packet& packet, Fault fault, Nanoseconds now) {
  auto found = packet_places_.find(packet.id);
  if (found == packet_places_.end()) return;
  RecordedPacket& recorded = packets_[found->second];
  recorded.ended = now;
  recorded.dropped = true;
  recorded.fault = fault;
  packet_places_.erase(found);
}

void Recording::OnStart(uint32_t host, uint64_t number, const void* state,
                        std::string_view kind, bool output, Nanoseconds now) {
  auto [place, added] = states_.try_emplace({host, state}, 0);
  if (added) place->second = ++next_state_[host];
  operation_places_[{host, number}] = operations_.size();
  operations_.push_back({.host = host,
                         .number = number,
                         .state = place->second,
                         .state_name = std::exchange(next_name_, {}),
                         .detail = std::exchange(next_detail_, {}),
                         .kind = std::string(kind),
                         .start = now,
                         .output = output});
}

void Recording::OnEnd(uint32_t host, uint64_t number,
                      OperationObserver::End how, IoStatus status, size_t count,
                      Nanoseconds now) {
  auto found = operation_places_.find({host, number});
  if (found == operation_places_.end()) return;
  RecordedOperation& operation = operations_[found->second];
  operation.end = now;
  operation.how = how;
  operation.status = status;
  operation.count = count;
  last_ended_ = found->second;
  operation_places_.erase(found);
}

void Recording::DescribeLastEnd(std::string_view error) {
  if (last_ended_ < operations_.size()) operations_[last_ended_].error = error;
}

void Recording::OnMark(uint32_t host, std::string_view text, Nanoseconds now) {
  marks_.push_back({now, host, std::string(text)});
}

}  // namespace aios::sim
