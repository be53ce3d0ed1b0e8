#include "sim/trace.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_format.h"
#include "sim/choice.h"

namespace aios::sim {

namespace {

constexpr std::array<std::string_view, static_cast<size_t>(What::kCount)>
    kNames = {
        "open",
        "close",
        "bind",
        "listen",
        "connect",
        "accept",
        "receive",
        "send",
        "receive-datagram",
        "send-datagram",
        "shutdown",
        "set-option",
        "take-error",
        "peek",
        "interest",
        "adopt",
        "release",
        "wait",
        "report",
        "wake",
        "turn",
        "packet-sent",
        "packet-delivered",
        "packet-dropped",
        "packet-duplicated",
        "packet-corrupted",
        "packet-held",
        "retransmit",
        "pause",
        "resume",
        "crash",
        "restart",
        "fault",
        "clock-step",
        "operation-started",
        "operation-ended",
        "mark",
        "reset",
        "query",
};

}  // namespace

std::string_view WhatName(What what) {
  return kNames[static_cast<size_t>(what)];
}

Trace::Trace() : tail_(kTail) {}

void Trace::Add(Nanoseconds time, What what, uint32_t host, uint64_t subject,
                uint64_t a, uint64_t b) {
  uint64_t head = Mix(static_cast<uint64_t>(time),
                      (static_cast<uint64_t>(what) << 32) | host);
  hash_ = Mix(hash_ ^ head, Mix(subject, Mix(a, b)));
  TraceEvent event{time, subject, a, b, host, what};
  tail_[size_ % kTail] = event;
  ++size_;
  if (all_.size() < kept_max_) [[unlikely]] {
    all_.push_back(event);
  }
}

size_t Trace::FirstDifference(const std::vector<TraceEvent>& a,
                              const std::vector<TraceEvent>& b) {
  auto [place, other] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<size_t>(place - a.begin());
}

std::vector<TraceEvent> Trace::Tail() const {
  std::vector<TraceEvent> tail;
  for (uint64_t i = size_ < kTail ? 0 : size_ - kTail; i != size_; ++i) {
    tail.push_back(tail_[i % kTail]);
  }
  return tail;
}

std::string Trace::Describe(const TraceEvent& event,
                            std::string_view host_name) {
  return absl::StrFormat(
      "%d.%09d  %-12s %-18s #%-6d %d %d", event.time / 1'000'000'000,
      event.time % 1'000'000'000, std::string(host_name),
      std::string(WhatName(event.what)), event.subject, event.a, event.b);
}

}  // namespace aios::sim
