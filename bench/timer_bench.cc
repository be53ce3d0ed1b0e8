// The timers of so many connections, beside a plain timing wheel in the same
// run. All are armed, armed anew for later, and cancelled or fired, in turn;
// each is measured by itself, in processor time of the thread.
//
// With many connections it is the memory that takes the time, so it has to be a
// server's, and the same for both contestants. A timer is embedded in its
// connection, which has the size of a state; that of both is near the
// beginning. Connections come, speak and go in an order of their own each time,
// not in that of their addresses, while the time moves on: who is served has
// mostly left the cache, and so have its neighbours in the list of its slot.
// With 1,000 connections everything is in the cache, and what shows is the
// work.
//
// "InOrder" is the same in the order of the addresses, where the processor
// fetches in advance what comes next.

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "aios/event_loop.h"
#include "aios/state/state.h"
#include "aios/timer_wheel.h"
#include "aios/wait_state_collection.h"
#include "aios/watcher.h"
#include "bench/allocations.h"
#include "bench/null_kernel.h"
#include "benchmark/benchmark.h"

namespace aios::bench {
namespace {

constexpr Nanoseconds kStart = 1'000'000'000;
constexpr Nanoseconds kTimeout = 30'000'000'000;
// So long it takes until each connection has come, or spoken, or gone.
constexpr Nanoseconds kRound = 8'000'000'000;
// A pass over few timers is repeated.
constexpr int64_t kOperationsMin = 4096;

constexpr size_t kConnectionSize = sizeof(State);

// The timer of a state, with the event loop that puts it on its wheel.
class Aios {
 public:
  struct Connection final : Watcher {
    void OnReady(Readiness) override {}
    void OnWatchFailed(Error) override {}
    Nanoseconds OnTimer(Nanoseconds now) override {
      return deadline > now ? deadline : kForever;
    }
    void OnDue(uint8_t) override {}
    void OnFlush() override {}
    void OnCollectionClose() override {}

    // A timer that was armed anew for later looks here when it expires.
    Nanoseconds deadline = kForever;
    char rest[kConnectionSize - sizeof(Watcher) - sizeof(Nanoseconds)] = {};
  };

  Aios() : collection_(MakeWaitStateCollection(kernel_).value()) {
    std::unique_ptr<Poller> poller;
    if (!kernel_.NewPoller(&poller).ok()) std::abort();
    loop_ = std::make_unique<EventLoop>(
        *collection_, kernel_, std::move(poller), WaitStateCollectionOptions());
  }

  void Arm(Connection& connection, Nanoseconds deadline) {
    connection.deadline = deadline;
    loop_->ScheduleTimer(connection, deadline);
  }
  void Rearm(Connection& connection, Nanoseconds deadline) {
    Arm(connection, deadline);
  }
  void Cancel(Connection& connection) { loop_->CancelTimer(connection); }

 private:
  NullKernel kernel_;
  std::unique_ptr<WaitStateCollection> collection_;
  std::unique_ptr<EventLoop> loop_;
};

// The wheel alone.
class Wheel {
 public:
  struct Connection : TimerEntry {
    char rest[kConnectionSize - sizeof(TimerEntry)] = {};
  };

  void Arm(Connection& connection, Nanoseconds deadline) {
    wheel_.Schedule(connection, deadline);
  }
  // Returns how many have expired.
  int64_t Advance(Nanoseconds now) {
    int64_t count = 0;
    for (TimerEntry* entry = wheel_.Advance(now); entry != nullptr;
         entry = entry->next) {
      ++count;
    }
    return count;
  }

 private:
  TimerWheel wheel_;
};

// One level of slots of a millisecond; what is further away than a turn of the
// wheel stays where it is.
class PlainWheel {
 public:
  struct Connection {
    void* virtual_table = nullptr;
    Connection* next = nullptr;
    Connection** link = nullptr;
    uint64_t tick = 0;
    char rest[kConnectionSize - 4 * sizeof(void*)] = {};
  };

  void Arm(Connection& connection, Nanoseconds deadline) {
    connection.tick = TickOf(deadline);
    Connection*& slot = slots_[connection.tick % kSlots];
    connection.next = slot;
    if (slot != nullptr) slot->link = &connection.next;
    connection.link = &slot;
    slot = &connection;
  }
  void Rearm(Connection& connection, Nanoseconds deadline) {
    Cancel(connection);
    Arm(connection, deadline);
  }
  void Cancel(Connection& connection) {
    *connection.link = connection.next;
    if (connection.next != nullptr) connection.next->link = connection.link;
  }
  int64_t Advance(Nanoseconds now) {
    int64_t count = 0;
    for (uint64_t end = TickOf(now); tick_ <= end; ++tick_) {
      for (Connection* each = slots_[tick_ % kSlots]; each != nullptr;) {
        Connection* next = each->next;
        if (each->tick <= end) {
          Cancel(*each);
          ++count;
        }
        each = next;
      }
    }
    return count;
  }

 private:
  static constexpr size_t kSlots = 1 << 16;
  static uint64_t TickOf(Nanoseconds time) {
    return static_cast<uint64_t>(time) >> 20;
  }

  std::vector<Connection*> slots_ = std::vector<Connection*>(kSlots);
  uint64_t tick_ = TickOf(kStart);
};

// `count` numbers from 0, each once, in an order that `seed` chooses.
std::vector<uint32_t> AnyOrder(size_t count, uint64_t seed) {
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(seed));
  return order;
}

std::vector<uint32_t> InOrder(size_t count) {
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

// Does not go on while other programs have the processor.
double ThreadSeconds() {
  timespec time;
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) != 0) std::abort();
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_nsec) * 1e-9;
}

enum class Operation { kArm, kRearm, kCancel };

template <typename Timers>
void Pass(benchmark::State& bench, Operation measured, bool in_order) {
  auto count = static_cast<size_t>(bench.range(0));
  Timers timers;
  std::vector<typename Timers::Connection> all(count);
  std::vector<uint32_t> orders[3];
  for (uint64_t i = 0; i < 3; ++i) {
    orders[i] = in_order ? InOrder(count) : AnyOrder(count, i);
  }
  int64_t passes = (kOperationsMin + bench.range(0) - 1) / bench.range(0);
  Nanoseconds step = kRound / bench.range(0);
  CountAllocations allocations;
  allocations.Pause();
  for (auto _ : bench) {
    double seconds = 0;
    auto run = [&](Operation operation, auto function) {
      double begin = ThreadSeconds();
      if (operation == measured) allocations.Resume();
      for (uint32_t i : orders[static_cast<size_t>(operation)]) {
        function(all[i]);
      }
      if (operation != measured) return;
      allocations.Pause();
      seconds += ThreadSeconds() - begin;
    };
    for (int64_t pass = 0; pass < passes; ++pass) {
      Nanoseconds now = kStart;
      run(Operation::kArm, [&](auto& connection) {
        timers.Arm(connection, (now += step) + kTimeout);
      });
      run(Operation::kRearm, [&](auto& connection) {
        timers.Rearm(connection, (now += step) + kTimeout);
      });
      run(Operation::kCancel,
          [&](auto& connection) { timers.Cancel(connection); });
    }
    bench.SetIterationTime(seconds);
  }
  allocations.Resume();
  allocations.Report(bench, bench.iterations() * passes * bench.range(0));
}

template <typename Timers>
void Arm(benchmark::State& bench) {
  Pass<Timers>(bench, Operation::kArm, /*in_order=*/false);
}
template <typename Timers>
void RearmLater(benchmark::State& bench) {
  Pass<Timers>(bench, Operation::kRearm, /*in_order=*/false);
}
template <typename Timers>
void Cancel(benchmark::State& bench) {
  Pass<Timers>(bench, Operation::kCancel, /*in_order=*/false);
}

template <typename Timers>
void ArmInOrder(benchmark::State& bench) {
  Pass<Timers>(bench, Operation::kArm, /*in_order=*/true);
}
template <typename Timers>
void RearmLaterInOrder(benchmark::State& bench) {
  Pass<Timers>(bench, Operation::kRearm, /*in_order=*/true);
}
template <typename Timers>
void CancelInOrder(benchmark::State& bench) {
  Pass<Timers>(bench, Operation::kCancel, /*in_order=*/true);
}

// The time moves on by a millisecond until all have fired.
template <typename Timers>
void Fire(benchmark::State& bench) {
  auto count = static_cast<size_t>(bench.range(0));
  Nanoseconds step = kRound / bench.range(0);
  std::vector<typename Timers::Connection> all(count);
  std::vector<uint32_t> order = AnyOrder(count, /*seed=*/0);
  CountAllocations allocations;
  allocations.Pause();
  for (auto _ : bench) {
    auto timers = std::make_unique<Timers>();
    Nanoseconds deadline = kStart + kTimeout;
    for (uint32_t i : order) {
      all[i] = {};
      timers->Arm(all[i], deadline += step);
    }
    Nanoseconds now = kStart + kTimeout - 1'000'000;
    // Not the way there, which is the same for any number of timers.
    int64_t fired = timers->Advance(now);
    allocations.Resume();
    double begin = ThreadSeconds();
    while (fired < bench.range(0)) fired += timers->Advance(now += 1'000'000);
    double seconds = ThreadSeconds() - begin;
    allocations.Pause();
    bench.SetIterationTime(seconds);
  }
  allocations.Resume();
  allocations.Report(bench, bench.iterations() * bench.range(0));
}

// One timer is armed, armed anew for later and cancelled, beside so many
// others.
template <typename Timers>
void OneBeside(benchmark::State& bench) {
  auto count = static_cast<size_t>(bench.range(0));
  Timers timers;
  std::vector<typename Timers::Connection> others(count);
  Nanoseconds step = kRound / bench.range(0);
  Nanoseconds deadline = kStart + kTimeout;
  for (uint32_t i : AnyOrder(count, /*seed=*/0)) {
    timers.Arm(others[i], deadline += step);
  }
  typename Timers::Connection one;
  Nanoseconds now = kStart;
  CountAllocations allocations;
  for (auto _ : bench) {
    now = kStart + (now + 1000) % kRound;
    timers.Arm(one, now + kTimeout);
    timers.Rearm(one, now + kTimeout + kRound);
    timers.Cancel(one);
  }
  allocations.Report(bench, bench.iterations());
}

void Counts(benchmark::internal::Benchmark* benchmark) {
  benchmark->UseManualTime()->RangeMultiplier(10)->Range(1000, 1'000'000);
}

void Most(benchmark::internal::Benchmark* benchmark) {
  benchmark->UseManualTime()->Arg(1'000'000);
}

BENCHMARK(Arm<Aios>)->Apply(Counts);
BENCHMARK(Arm<PlainWheel>)->Apply(Counts);
BENCHMARK(RearmLater<Aios>)->Apply(Counts);
BENCHMARK(RearmLater<PlainWheel>)->Apply(Counts);
BENCHMARK(Cancel<Aios>)->Apply(Counts);
BENCHMARK(Cancel<PlainWheel>)->Apply(Counts);
BENCHMARK(ArmInOrder<Aios>)->Apply(Most);
BENCHMARK(ArmInOrder<PlainWheel>)->Apply(Most);
BENCHMARK(RearmLaterInOrder<Aios>)->Apply(Most);
BENCHMARK(RearmLaterInOrder<PlainWheel>)->Apply(Most);
BENCHMARK(CancelInOrder<Aios>)->Apply(Most);
BENCHMARK(CancelInOrder<PlainWheel>)->Apply(Most);
BENCHMARK(Fire<Wheel>)->Apply(Counts);
BENCHMARK(Fire<PlainWheel>)->Apply(Counts);
BENCHMARK(OneBeside<Aios>)->RangeMultiplier(1000)->Range(1, 1'000'000);
BENCHMARK(OneBeside<PlainWheel>)->RangeMultiplier(1000)->Range(1, 1'000'000);

}  // namespace
}  // namespace aios::bench

BENCHMARK_MAIN();
