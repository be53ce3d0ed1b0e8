#include "sim/perfetto.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "sim/fault_name.h"

namespace aios::sim {

namespace {

using Json = nlohmann::ordered_json;

// The format counts in microseconds, with a fraction.
double Microseconds(Nanoseconds time) {
  return static_cast<double>(time) / 1000;
}

// Of a host; 0 is taken by the system's idle process.
uint32_t Process(size_t host) { return static_cast<uint32_t>(host) + 1; }

// Slices that overlap, as packets do, need a track of their own each.
void AddSlice(Json& events, uint32_t host, const char* category,
              const std::string& id, const std::string& name, Nanoseconds start,
              Nanoseconds end, Json arguments) {
  Json event = {{"cat", category},
                {"id", id},
                {"name", name},
                {"pid", Process(host)},
                {"ts", Microseconds(start)},
                {"ph", "b"}};
  event["args"] = std::move(arguments);
  events.push_back(event);
  event["ph"] = "e";
  event["ts"] = Microseconds(end);
  event.erase("args");
  events.push_back(std::move(event));
}

}  // namespace

std::string ToPerfetto(const Recording& recording) {
  Json events = Json::array();
  for (size_t i = 0; i != recording.hosts().size(); ++i) {
    events.push_back({{"ph", "M"},
                      {"name", "process_name"},
                      {"pid", Process(i)},
                      {"args", {{"name", recording.hosts()[i]}}}});
  }
  // What has not ended lasts as long as anything did.
  Nanoseconds last = 0;
  for (const RecordedPacket& packet : recording.packets()) {
    last = std::max(last, packet.sent);
    if (packet.ended != kForever) last = std::max(last, packet.ended);
  }
  for (const RecordedOperation& operation : recording.operations()) {
    last = std::max(last, operation.start);
    if (operation.end != kForever) last = std::max(last, operation.end);
  }
  for (const RecordedOperation& operation : recording.operations()) {
    bool ended = operation.end != kForever;
    AddSlice(events, operation.host, "operation",
             absl::StrCat("operation-", operation.host, "-", operation.number),
             operation.detail.empty()
                 ? operation.kind
                 : operation.state_name + " " + operation.detail,
             operation.start, ended ? operation.end : last,
             {{"state", operation.state},
              {"status", ended ? std::string(IoStatusName(operation.status))
                               : std::string("in progress")},
              {"count", operation.count}});
  }
  for (const RecordedPacket& recorded : recording.packets()) {
    const Packet& packet = recorded.packet;
    AddSlice(
        events, packet.from, "packet", absl::StrCat("packet-", packet.id),
        absl::StrCat(
            packet.protocol == Packet::Protocol::kTcp ? "tcp " : "udp ",
            packet.payload.size(), " B", recorded.dropped ? ", dropped" : ""),
        recorded.sent, recorded.ended == kForever ? last : recorded.ended,
        {{"from", packet.source.ToString()},
         {"to", packet.target.ToString()},
         {"fault", std::string(FaultName(recorded.fault))}});
  }
  for (const RecordedMark& mark : recording.marks()) {
    events.push_back({{"ph", "i"},
                      {"s", "p"},
                      {"name", mark.text},
                      {"pid", Process(mark.host)},
                      {"ts", Microseconds(mark.time)}});
  }
  Json file = {{"displayTimeUnit", "ns"}};
  file["traceEvents"] = std::move(events);
  return file.dump(1) + "\n";
}

}  // namespace aios::sim
