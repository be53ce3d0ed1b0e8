// What the conformance suites of the public API share: a collection on the
// kernel of a test world, ways to run it, and recorders in place of callbacks.
//
// The suites touch the public API and the world alone. Nothing in them waits
// for a length of real time to see that something happened: they run the
// collection until it has (`RunUntil`). Where something must not happen they
// run it for `kQuiet`, which is long for a kernel on one machine, and which no
// test needs to be exact.

#ifndef AIOS_TESTS_CONFORMANCE_CONFORMANCE_TEST_H_
#define AIOS_TESTS_CONFORMANCE_CONFORMANCE_TEST_H_

#include <atomic>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "tests/support/kernel_decorator.h"
#include "tests/support/kernels.h"
#include "tests/support/print.h"
#include "tests/support/test_world.h"

namespace aios {

// For GoogleTest's messages.
inline void PrintTo(IoStatus status, std::ostream* out) {
  *out << IoStatusName(status);
}

}  // namespace aios

namespace aios::test {

class Conformance;

testing::AssertionResult IsOk(const absl::Status& status);
template <typename T>
testing::AssertionResult IsOk(const absl::StatusOr<T>& value) {
  return IsOk(value.status());
}
#define EXPECT_OK(expression) EXPECT_TRUE(::aios::test::IsOk(expression))
#define ASSERT_OK(expression) ASSERT_TRUE(::aios::test::IsOk(expression))

// The status has this code, and its message contains each of these parts.
testing::AssertionResult IsRefusal(const absl::Status& status,
                                   absl::StatusCode code,
                                   std::initializer_list<std::string> parts);
template <typename T>
testing::AssertionResult IsRefusal(const absl::StatusOr<T>& value,
                                   absl::StatusCode code,
                                   std::initializer_list<std::string> parts) {
  return IsRefusal(value.status(), code, parts);
}

// `size` bytes of which no two nearby stretches are equal, so that a byte lost,
// doubled or moved shows.
std::string Pattern(size_t size, unsigned salt = 0);

// More than the buffers of any connection take: writing it to a peer that does
// not read never completes.
std::string_view EndlessData();

// What a callback was given, copied.
struct Call {
  std::string callback;  // "callback", "error_callback", ...
  AsyncIoState* state = nullptr;
  IoStatus status = IoStatus::kOk;
  bool truncated = false;
  bool interrupted = false;
  Error error;
  size_t count = 0;
  std::string detail;
  std::string data;
  const char* data_begin = nullptr;
  std::optional<SocketAddress> sender;
  // The state's at that moment.
  IoStatus read_status = IoStatus::kOk;
  IoStatus write_status = IoStatus::kOk;
  size_t old_length = 0;
  std::string user_info;  // when it is a string
  Nanoseconds time = 0;
};

// Makes the callbacks of one operation and keeps what they were given. Each
// call is checked: it comes from the loop and from inside no other callback,
// and, of all callbacks of one recorder together, there is one at most, unless
// it is `kRepeating`.
class Recorder {
 public:
  // What a callback does besides being recorded.
  using Action = std::function<void(AsyncIoState&, const IoResult&)>;
  enum Kind { kOnce, kRepeating };

  explicit Recorder(Conformance& test, std::string name = "operation",
                    Kind kind = kOnce);

  IoCallback Callback(Action action = nullptr) {
    return Make("callback", std::move(action));
  }
  IoCallback ErrorCallback(Action action = nullptr) {
    return Make("error_callback", std::move(action));
  }
  // For another callback of the same operation, such as that of `Abort` in its
  // place.
  IoCallback Make(std::string callback, Action action = nullptr);
  absl::AnyInvocable<void(AsyncIoState&)> CloseCallback(
      Action action = nullptr);

  const std::vector<Call>& calls() const { return log_->calls; }
  bool called() const { return !log_->calls.empty(); }
  // The last call; a failure and an empty one when there is none.
  const Call& last() const;
  // How many callbacks that this recorder made have not been destroyed.
  int callbacks_alive() const { return log_->alive; }

 private:
  friend class Conformance;
  struct Log {
    std::string name;
    Kind kind;
    std::vector<Call> calls;
    int alive = 0;
  };

  Conformance& test_;
  std::shared_ptr<Log> log_;
};

// A state and the peer at the other end of its connection.
struct Channel {
  std::unique_ptr<AsyncIoState> state;
  std::unique_ptr<TcpPeer> peer;
};

// Long enough for anything that is going to happen by itself to have happened.
inline constexpr absl::Duration kQuiet = absl::Milliseconds(5);

// Counts the handles that aios has, so that none is left behind or given back
// twice.
class HandleLedger final : public KernelDecorator {
 public:
  using KernelDecorator::KernelDecorator;
  int handles() const { return handles_; }

 protected:
  void After(KernelCall call, Handle handle, Error error) override;

 private:
  std::atomic<int> handles_ = 0;
};

class Conformance {
 public:
  explicit Conformance(const KernelParam& param);
  virtual ~Conformance();

  TestWorld& world() { return *world_; }
  // The world's, with a look at each handle that aios takes and gives back.
  Kernel& kernel() { return ledger_; }
  WaitStateCollection& collection() { return *collection_; }
  Nanoseconds Now() { return kernel().Now(); }
  absl::Duration Since(Nanoseconds start) {
    return absl::Nanoseconds(Now() - start);
  }

  // Gives the tests another collection than the default one, on `other_kernel`
  // when given: a decorator of `kernel()`, which must outlive the collection.
  void RemakeCollection(WaitStateCollectionOptions options,
                        Kernel* other_kernel = nullptr);
  void DestroyCollection();

  // The families that work here.
  std::vector<Family> Families();

  // One `Wait`, of at most `duration_max`, and one `Call`.
  void Turn(absl::Duration duration_max = absl::Milliseconds(50));
  // One `Call`, in which callbacks may run.
  void CallOnce();
  // `WaitStateCollection::Loop`, in which callbacks may run.
  void Loop();
  // Takes turns until `condition` holds. False when it did not become true
  // within the guard time. A `condition` that takes turns of its own, or makes
  // work for the next one, gives a `wait` of zero.
  [[nodiscard]] bool RunUntil(absl::FunctionRef<bool()> condition,
                              absl::Duration wait = absl::Milliseconds(50));
  // The same until the recorder was called.
  [[nodiscard]] bool RunUntil(const Recorder& recorder) {
    return RunUntil([&] { return recorder.called(); });
  }
  // Takes turns for `duration` of the world's time.
  void RunFor(absl::Duration duration = kQuiet);
  // Lets time pass while the collection stands still.
  void Pass(absl::Duration duration);

  // Posts a function and takes turns until it has run. Nothing that is recorded
  // may run inside it.
  void InLoop(std::function<void()> function);

  // A state on a connected socket.
  Channel MakeChannel(CreateAsyncIoStateOptions options = {},
                      Family family = Family::kIpv4);
  // An unconnected UDP state on a free port of the host's address.
  std::unique_ptr<AsyncIoState> MakeUdp(Family family = Family::kIpv4,
                                        std::string name = "udp");

  // Reads from `peer` and takes turns until there are `size` bytes, or the
  // stream has ended.
  PeerRead ReadFromPeer(TcpPeer& peer, size_t size = kToEnd);
  // Sends to a state that reads meanwhile.
  void SendFromPeer(TcpPeer& peer, std::string_view bytes);

  // "name:callback" of every call so far, in order.
  const std::vector<std::string>& order() const { return order_; }

 private:
  friend class Recorder;

  const std::unique_ptr<TestWorld> world_;
  HandleLedger ledger_;
  std::unique_ptr<WaitStateCollection> collection_;
  // Set while `Call` or `Loop` is running: callbacks may run.
  bool in_loop_ = false;
  // Set while a callback, or a function of `InLoop`, is running.
  bool in_callback_ = false;
  std::vector<std::string> order_;
  std::vector<std::shared_ptr<Recorder::Log>> logs_;
};

// The fixture of suites whose only parameter is the kernel.
class ConformanceTest : public testing::TestWithParam<KernelParam>,
                        public Conformance {
 protected:
  ConformanceTest() : Conformance(GetParam()) {}
};

// A test that is about threads, which a world with virtual time does not have.
#define AIOS_NEEDS_THREADS(world)                                         \
  do {                                                                    \
    if ((world).simulated()) {                                            \
      GTEST_SKIP() << "about real threads; this world's time is virtual"; \
    }                                                                     \
  } while (false)

}  // namespace aios::test

#endif  // AIOS_TESTS_CONFORMANCE_CONFORMANCE_TEST_H_
