// What the library itself costs, between the user and the kernel's calls:
// writing, reading, and the life of a state.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "bench/allocations.h"
#include "bench/null_kernel.h"
#include "benchmark/benchmark.h"

namespace aios::bench {
namespace {

constexpr size_t kChunk = size_t{16} << 10;

// An operation that is refused where it should start is a mistake in here.
void Check(const absl::Status& status) {
  if (!status.ok()) std::abort();
}

class Fixture {
 public:
  explicit Fixture(bool queue_output = false)
      : collection_(MakeWaitStateCollection(kernel_).value()),
        state_(CreateAsyncIoState(*collection_, 0,
                                  {.read_timeout = absl::Seconds(30),
                                   .write_timeout = absl::Seconds(30),
                                   .queue_output = queue_output})
                   .value()) {}

  NullKernel& kernel() { return kernel_; }
  AsyncIoState& state() { return *state_; }
  void Turn() {
    collection_->Wait(absl::ZeroDuration());
    collection_->Call();
  }

 private:
  NullKernel kernel_;
  std::unique_ptr<WaitStateCollection> collection_;
  std::unique_ptr<AsyncIoState> state_;
};

// So many writes of 64 bytes are queued and leave together.
void WriteQueue(benchmark::State& bench) {
  int64_t length = bench.range(0);
  Fixture fixture(/*queue_output=*/true);
  const std::string message(64, 'm');
  int64_t ended = 0;
  auto write_all = [&] {
    for (int64_t i = 0; i < length; ++i) {
      Check(fixture.state().WriteBuffer(
          message, [&ended](AsyncIoState&, const IoResult& result) {
            if (result.ok()) ++ended;
          }));
    }
    while (ended < length) fixture.Turn();
    ended = 0;
  };
  write_all();
  int64_t sends = fixture.kernel().sends();
  CountAllocations allocations;
  for (auto _ : bench) write_all();
  int64_t operations = bench.iterations() * length;
  allocations.Report(bench, operations);
  bench.counters["sends"] =
      static_cast<double>(fixture.kernel().sends() - sends) /
      static_cast<double>(operations);
}
BENCHMARK(WriteQueue)->RangeMultiplier(4)->Range(1, 4096);

// Lines of so many bytes, read by ReadWithChecking and discarded one by one;
// they arrive 16 KiB at a time, so the longer ones in several pieces.
void CheckedLines(benchmark::State& bench) {
  auto length = static_cast<size_t>(bench.range(0));
  std::string line(length, 'x');
  line.back() = '\n';
  std::string input;
  do {
    input += line;
  } while (input.size() + length <= kChunk);
  auto lines = static_cast<int64_t>(input.size() / length);
  Fixture fixture;
  Check(fixture.state().set_max_read(kChunk));
  int64_t found = 0;
  Check(fixture.state().ReadWithChecking(
      [&found](AsyncIoState& state, const IoResult& result) {
        // What the previous call has seen has no end of a line in it.
        size_t begin = 0;
        size_t seen = state.old_length();
        for (;;) {
          size_t end = result.data.find('\n', seen);
          if (end == std::string_view::npos) break;
          ++found;
          begin = seen = end + 1;
        }
        Check(state.Discard(begin).status());
      }));
  auto read_all = [&] {
    fixture.kernel().set_input(input, kChunk);
    found = 0;
    while (found < lines) fixture.Turn();
  };
  read_all();
  int64_t receives = fixture.kernel().receives();
  CountAllocations allocations;
  for (auto _ : bench) read_all();
  int64_t operations = bench.iterations() * lines;
  allocations.Report(bench, operations);
  bench.SetBytesProcessed(operations * static_cast<int64_t>(length));
  bench.counters["receives"] =
      static_cast<double>(fixture.kernel().receives() - receives) /
      static_cast<double>(operations);
}
BENCHMARK(CheckedLines)->RangeMultiplier(4)->Range(1, 64 << 10);

// A message comes, is answered, and the next one is waited for, with the idle
// timeout armed anew: all that the library adds to a wait, a receive and a
// send.
void RoundTrip(benchmark::State& bench) {
  Fixture fixture;
  const std::string message(64, 'm');
  std::array<char, 64> buffer;
  int64_t answered = 0;
  Check(fixture.state().ReadWithChecking(
      [&](AsyncIoState& state, const IoResult& input) {
        input.data.copy(buffer.data(), buffer.size());
        Check(state.Discard(input.data.size()).status());
        Check(state.WriteBuffer(
            {buffer.data(), buffer.size()},
            [&answered](AsyncIoState&, const IoResult&) { ++answered; }));
      }));
  auto round_trip = [&] {
    fixture.kernel().set_input(message, message.size());
    fixture.Turn();
  };
  round_trip();
  answered = 0;
  CountAllocations allocations;
  for (auto _ : bench) round_trip();
  if (answered != bench.iterations()) {
    bench.SkipWithError("answers are missing");
  }
  allocations.Report(bench, bench.iterations());
}
BENCHMARK(RoundTrip);

constexpr int64_t kStatesPerTurn = 1 << 15;

// A state is made, reads with an idle timeout, and is destroyed, beside so many
// others.
void StateLife(benchmark::State& bench) {
  NullKernel kernel;
  auto collection = MakeWaitStateCollection(kernel).value();
  auto make = [&](int64_t handle) {
    auto state = CreateAsyncIoState(*collection, static_cast<Handle>(handle),
                                    {.read_timeout = absl::Seconds(30)})
                     .value();
    Check(state->ReadWithChecking([](AsyncIoState&, const IoResult&) {}));
    return state;
  };
  std::vector<std::unique_ptr<AsyncIoState>> others;
  for (int64_t i = 1; i <= bench.range(0); ++i) others.push_back(make(i));
  auto turn = [&] {
    collection->Wait(absl::ZeroDuration());
    collection->Call();
  };
  turn();
  make(0);
  CountAllocations allocations;
  int64_t made = 0;
  for (auto _ : bench) {
    make(0);
    // What was cancelled stays in the loop's queues until the next turn.
    if (++made % kStatesPerTurn == 0) turn();
  }
  allocations.Report(bench, bench.iterations(), /*most=*/1);
}
BENCHMARK(StateLife)->Arg(0)->Arg(1000)->Arg(100'000);

}  // namespace
}  // namespace aios::bench

BENCHMARK_MAIN();
