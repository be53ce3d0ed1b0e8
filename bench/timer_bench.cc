// Timers, beside a plain timing wheel in the same run. All of so many timers
// are armed, armed anew for later, and cancelled or fired, in turn; each is
// measured by itself.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "aios/event_loop.h"
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
// A pass over few timers is repeated.
constexpr int64_t kOperationsMin = 4096;

// The state's timers, with the event loop that puts them on its wheel.
class Aios {
 public:
  struct Timer final : Watcher {
    void OnReady(Readiness) override {}
    void OnWatchFailed(Error) override {}
    Nanoseconds OnTimer(Nanoseconds) override { return kForever; }
    void OnDue(uint8_t) override {}
    void OnFlush() override {}
    void OnCollectionClose() override {}
  };

  Aios() : collection_(MakeWaitStateCollection(kernel_).value()) {
    std::unique_ptr<Poller> poller;
    if (!kernel_.NewPoller(&poller).ok()) std::abort();
    loop_ = std::make_unique<EventLoop>(
        *collection_, kernel_, std::move(poller), WaitStateCollectionOptions());
  }

  void Arm(Timer& timer, Nanoseconds deadline) {
    loop_->ScheduleTimer(timer, deadline);
  }
  void Rearm(Timer& timer, Nanoseconds deadline) {
    loop_->ScheduleTimer(timer, deadline);
  }
  void Cancel(Timer& timer) { loop_->CancelTimer(timer); }

 private:
  NullKernel kernel_;
  std::unique_ptr<WaitStateCollection> collection_;
  std::unique_ptr<EventLoop> loop_;
};

// The wheel alone.
class Wheel {
 public:
  using Timer = TimerEntry;

  void Arm(Timer& timer, Nanoseconds deadline) {
    wheel_.Schedule(timer, deadline);
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
  struct Timer {
    Timer* next = nullptr;
    Timer** link = nullptr;
    uint64_t tick = 0;
  };

  void Arm(Timer& timer, Nanoseconds deadline) {
    timer.tick = TickOf(deadline);
    Timer*& slot = slots_[timer.tick % kSlots];
    timer.next = slot;
    if (slot != nullptr) slot->link = &timer.next;
    timer.link = &slot;
    slot = &timer;
  }
  void Rearm(Timer& timer, Nanoseconds deadline) {
    Cancel(timer);
    Arm(timer, deadline);
  }
  void Cancel(Timer& timer) {
    *timer.link = timer.next;
    if (timer.next != nullptr) timer.next->link = timer.link;
  }
  int64_t Advance(Nanoseconds now) {
    int64_t count = 0;
    for (uint64_t end = TickOf(now); tick_ <= end; ++tick_) {
      for (Timer* timer = slots_[tick_ % kSlots]; timer != nullptr;) {
        Timer* next = timer->next;
        if (timer->tick <= end) {
          Cancel(*timer);
          ++count;
        }
        timer = next;
      }
    }
    return count;
  }

 private:
  static constexpr size_t kSlots = 1 << 16;
  static uint64_t TickOf(Nanoseconds time) {
    return static_cast<uint64_t>(time) >> 20;
  }

  std::vector<Timer*> slots_ = std::vector<Timer*>(kSlots);
  uint64_t tick_ = TickOf(kStart);
};

// Connections that were active at some moment of the last seconds.
Nanoseconds DeadlineOf(size_t timer) {
  return kStart + kTimeout +
         static_cast<Nanoseconds>(timer * 2'654'435'761 % 8'000'000'000);
}

enum class Operation { kArm, kRearm, kCancel };

template <typename Timers>
void Pass(benchmark::State& bench, Operation measured) {
  int64_t count = bench.range(0);
  Timers timers;
  std::vector<typename Timers::Timer> all(static_cast<size_t>(count));
  int64_t passes = (kOperationsMin + count - 1) / count;
  CountAllocations allocations;
  allocations.Pause();
  for (auto _ : bench) {
    std::chrono::duration<double> time(0);
    auto run = [&](Operation operation, auto function) {
      auto begin = std::chrono::steady_clock::now();
      if (operation == measured) allocations.Resume();
      for (size_t i = 0; i < all.size(); ++i) function(all[i], DeadlineOf(i));
      if (operation != measured) return;
      allocations.Pause();
      time += std::chrono::steady_clock::now() - begin;
    };
    for (int64_t pass = 0; pass < passes; ++pass) {
      run(Operation::kArm, [&](auto& timer, Nanoseconds deadline) {
        timers.Arm(timer, deadline);
      });
      run(Operation::kRearm, [&](auto& timer, Nanoseconds deadline) {
        timers.Rearm(timer, deadline + 1'000'000'000);
      });
      run(Operation::kCancel,
          [&](auto& timer, Nanoseconds) { timers.Cancel(timer); });
    }
    bench.SetIterationTime(time.count());
  }
  allocations.Resume();
  allocations.Report(bench, bench.iterations() * passes * count);
}

template <typename Timers>
void Arm(benchmark::State& bench) {
  Pass<Timers>(bench, Operation::kArm);
}
template <typename Timers>
void RearmLater(benchmark::State& bench) {
  Pass<Timers>(bench, Operation::kRearm);
}
template <typename Timers>
void Cancel(benchmark::State& bench) {
  Pass<Timers>(bench, Operation::kCancel);
}

// The time moves on by a millisecond until all have fired.
template <typename Timers>
void Fire(benchmark::State& bench) {
  int64_t count = bench.range(0);
  std::vector<typename Timers::Timer> all(static_cast<size_t>(count));
  CountAllocations allocations;
  allocations.Pause();
  for (auto _ : bench) {
    auto timers = std::make_unique<Timers>();
    for (size_t i = 0; i < all.size(); ++i) {
      all[i] = {};
      timers->Arm(all[i], DeadlineOf(i));
    }
    Nanoseconds now = kStart + kTimeout - 1'000'000;
    // Not the way there, which is the same for any number of timers.
    int64_t fired = timers->Advance(now);
    allocations.Resume();
    auto begin = std::chrono::steady_clock::now();
    while (fired < count) fired += timers->Advance(now += 1'000'000);
    std::chrono::duration<double> time =
        std::chrono::steady_clock::now() - begin;
    allocations.Pause();
    bench.SetIterationTime(time.count());
  }
  allocations.Resume();
  allocations.Report(bench, bench.iterations() * count);
}

// One timer is armed, armed anew for later and cancelled, beside so many
// others.
template <typename Timers>
void OneBeside(benchmark::State& bench) {
  Timers timers;
  std::vector<typename Timers::Timer> others(
      static_cast<size_t>(bench.range(0)));
  for (size_t i = 0; i < others.size(); ++i) {
    timers.Arm(others[i], DeadlineOf(i));
  }
  typename Timers::Timer timer;
  size_t i = 0;
  CountAllocations allocations;
  for (auto _ : bench) {
    Nanoseconds deadline = DeadlineOf(++i);
    timers.Arm(timer, deadline);
    timers.Rearm(timer, deadline + kStart);
    timers.Cancel(timer);
  }
  allocations.Report(bench, bench.iterations());
}

void Counts(benchmark::internal::Benchmark* benchmark) {
  benchmark->UseManualTime()->RangeMultiplier(10)->Range(1000, 1'000'000);
}

BENCHMARK(Arm<Aios>)->Apply(Counts);
BENCHMARK(Arm<PlainWheel>)->Apply(Counts);
BENCHMARK(RearmLater<Aios>)->Apply(Counts);
BENCHMARK(RearmLater<PlainWheel>)->Apply(Counts);
BENCHMARK(Cancel<Aios>)->Apply(Counts);
BENCHMARK(Cancel<PlainWheel>)->Apply(Counts);
BENCHMARK(Fire<Wheel>)->Apply(Counts);
BENCHMARK(Fire<PlainWheel>)->Apply(Counts);
BENCHMARK(OneBeside<Aios>)->RangeMultiplier(1000)->Range(1, 1'000'000);
BENCHMARK(OneBeside<PlainWheel>)->RangeMultiplier(1000)->Range(1, 1'000'000);

}  // namespace
}  // namespace aios::bench

BENCHMARK_MAIN();
