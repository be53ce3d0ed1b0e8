#include "tools/aios_sim/real_world.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "absl/time/time.h"
#include "aios/duration.h"

namespace aios {

namespace {

constexpr Nanoseconds kMillisecond = 1'000'000;
// How late this machine may be: it has other things to do.
constexpr Nanoseconds kLate = 1000 * kMillisecond;
// How often what no collection waits for is looked at.
constexpr Nanoseconds kPollInterval = kMillisecond;

}  // namespace

RealWorld::RealWorld(Kernel& kernel, const sim::Scenario& scenario)
    : kernel_(kernel) {
  auto latency = [](const sim::LinkOptions& link) {
    return ToNanoseconds(link.latency.base + link.latency.spread);
  };
  // What comes through a slow link comes sooner here; to and fro.
  earlier_max_ = latency(scenario.link);
  for (const sim::ScenarioLink& link : scenario.links) {
    earlier_max_ = std::max(earlier_max_, latency(link.options));
  }
  earlier_max_ *= 4;
}

Nanoseconds RealWorld::later_max() const { return kLate; }

std::shared_ptr<WaitStateCollection> RealWorld::MakeCollection(
    sim::ScenarioIndex, WaitStateCollectionOptions options) {
  if (collection_ == nullptr) {
    auto made = MakeWaitStateCollection(kernel_, std::move(options));
    if (!made.ok()) {
      std::cerr << "aios_sim: " << made.status() << std::endl;
      std::exit(1);
    }
    collection_ = *std::move(made);
  }
  return collection_;
}

void RealWorld::At(Nanoseconds time, absl::AnyInvocable<void()> function) {
  functions_.emplace(std::pair(time, next_number_++), std::move(function));
}

void RealWorld::Poll(absl::AnyInvocable<Nanoseconds()> turn) {
  polled_.push_back(std::move(turn));
}

std::string RealWorld::RunUntil(absl::FunctionRef<bool()> done,
                                Nanoseconds time) {
  while (!done()) {
    Nanoseconds now = kernel_.Now();
    if (now >= time) return {};
    // One at a time: on a machine that is late each step still finds that the
    // one before has had its turn.
    if (!functions_.empty() && functions_.begin()->first.first <= now) {
      absl::AnyInvocable<void()> function =
          std::move(functions_.begin()->second);
      functions_.erase(functions_.begin());
      function();
    }
    Nanoseconds until = time;
    if (!functions_.empty()) {
      until = std::min(until, functions_.begin()->first.first);
    }
    Nanoseconds sleep = std::max<Nanoseconds>(until - now, 0);
    for (absl::AnyInvocable<Nanoseconds()>& turn : polled_) {
      turn();
      sleep = std::min(sleep, kPollInterval);
    }
    collection_->Wait(absl::Nanoseconds(sleep));
    collection_->Call();
  }
  return {};
}

void RealWorld::ResetConnection(sim::ScenarioIndex, Handle handle) {
  linger hard = {.l_onoff = 1, .l_linger = 0};
  setsockopt(handle, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  kernel_.Close(handle);
}

}  // namespace aios
