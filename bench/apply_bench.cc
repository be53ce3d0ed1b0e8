// Running a function in the thread of a loop, from another thread: `Apply`,
// beside what other libraries have for it. What a post costs the thread that
// makes it, and how long a loop that sleeps takes to run the function.
//
// libuv and libevent only wake a loop up; the functions are kept in a vector
// under a mutex, as one does it with them. A function is made of the lambda
// once and moved into its place once, with them as with aios.

#include <event2/event.h>
#include <event2/thread.h>
#include <uv.h>

#include <asio.hpp>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "aios/aios.h"
#include "backends/default_kernel.h"
#include "bench/allocations.h"
#include "benchmark/benchmark.h"

namespace aios::bench {
namespace {

using Function = absl::AnyInvocable<void()>;
using Clock = std::chrono::steady_clock;

constexpr int64_t kBurst = 1000;
// For so long nothing happens, so that the loop is asleep.
constexpr std::chrono::microseconds kQuiet(50);

class Aios {
 public:
  Aios()
      : collection_(CreateAndRunWaitStateCollection(DefaultKernel()).value()) {}
  template <typename F>
  void Post(F function) {
    if (!collection_->Apply(std::move(function)).ok()) std::abort();
  }

 private:
  std::unique_ptr<WaitStateCollection> collection_;
};

class Asio {
 public:
  Asio() : thread_([this] { context_.run(); }) {}
  ~Asio() {
    work_.reset();
    thread_.join();
  }
  template <typename F>
  void Post(F function) {
    asio::post(context_, std::move(function));
  }

 private:
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_ =
      asio::make_work_guard(context_);
  std::thread thread_;
};

// The functions for a loop that can only be woken up.
class Posted {
 public:
  void Add(Function&& function) {
    std::lock_guard lock(mutex_);
    functions_.push_back(std::move(function));
  }
  void Run() {
    {
      std::lock_guard lock(mutex_);
      running_.swap(functions_);
    }
    for (Function& function : running_) function();
    running_.clear();
  }

 private:
  std::mutex mutex_;
  std::vector<Function> functions_;
  std::vector<Function> running_;
};

class Libuv {
 public:
  Libuv() {
    uv_loop_init(&loop_);
    async_.data = this;
    uv_async_init(&loop_, &async_, [](uv_async_t* async) {
      static_cast<Libuv*>(async->data)->posted_.Run();
    });
    thread_ = std::thread([this] { uv_run(&loop_, UV_RUN_DEFAULT); });
  }
  ~Libuv() {
    Post(
        [this] { uv_close(reinterpret_cast<uv_handle_t*>(&async_), nullptr); });
    thread_.join();
    uv_loop_close(&loop_);
  }
  void Post(Function function) {
    posted_.Add(std::move(function));
    uv_async_send(&async_);
  }

 private:
  uv_loop_t loop_;
  uv_async_t async_;
  Posted posted_;
  std::thread thread_;
};

class Libevent {
 public:
  Libevent() {
    evthread_use_pthreads();
    base_ = event_base_new();
    event_ = event_new(
        base_, -1, EV_PERSIST,
        [](evutil_socket_t, short, void* self) {
          static_cast<Libevent*>(self)->posted_.Run();
        },
        this);
    thread_ = std::thread(
        [this] { event_base_loop(base_, EVLOOP_NO_EXIT_ON_EMPTY); });
  }
  ~Libevent() {
    Post([this] { event_base_loopbreak(base_); });
    thread_.join();
    event_free(event_);
    event_base_free(base_);
  }
  void Post(Function function) {
    posted_.Add(std::move(function));
    event_active(event_, 0, 0);
  }

 private:
  event_base* base_;
  event* event_;
  Posted posted_;
  std::thread thread_;
};

void WaitUntil(const std::atomic<int64_t>& count, int64_t wanted) {
  while (count.load(std::memory_order_acquire) < wanted) {
    std::this_thread::yield();
  }
}

template <typename Loop>
void Post(benchmark::State& bench) {
  Loop loop;
  std::atomic<int64_t> ran = 0;
  int64_t posted = 0;
  auto burst = [&] {
    auto begin = Clock::now();
    for (int64_t i = 0; i < kBurst; ++i) {
      loop.Post([&ran] { ran.fetch_add(1, std::memory_order_release); });
    }
    std::chrono::duration<double> time = Clock::now() - begin;
    WaitUntil(ran, posted += kBurst);
    return time.count();
  };
  burst();
  CountAllocations allocations;
  for (auto _ : bench) bench.SetIterationTime(burst());
  allocations.Report(bench, bench.iterations() * kBurst, /*most=*/1);
}
BENCHMARK(Post<Aios>)->UseManualTime();
BENCHMARK(Post<Libuv>)->UseManualTime();
BENCHMARK(Post<Libevent>)->UseManualTime();
BENCHMARK(Post<Asio>)->UseManualTime();

template <typename Loop>
void WakeUp(benchmark::State& bench) {
  Loop loop;
  std::atomic<int64_t> ran = 0;
  Clock::time_point end;
  int64_t posted = 0;
  CountAllocations allocations;
  for (auto _ : bench) {
    auto begin = Clock::now();
    loop.Post([&] {
      end = Clock::now();
      ran.fetch_add(1, std::memory_order_release);
    });
    WaitUntil(ran, ++posted);
    bench.SetIterationTime(std::chrono::duration<double>(end - begin).count());
    auto quiet = Clock::now() + kQuiet;
    while (Clock::now() < quiet) {
    }
  }
  allocations.Report(bench, bench.iterations(), /*most=*/1);
}
BENCHMARK(WakeUp<Aios>)->UseManualTime();
BENCHMARK(WakeUp<Libuv>)->UseManualTime();
BENCHMARK(WakeUp<Libevent>)->UseManualTime();
BENCHMARK(WakeUp<Asio>)->UseManualTime();

}  // namespace
}  // namespace aios::bench

BENCHMARK_MAIN();
