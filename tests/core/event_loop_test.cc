// What the event loop demands of those it serves.

#include "aios/event_loop.h"

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "aios/state/factory.h"
#include "aios/watcher.h"
#include "gtest/gtest.h"
#include "sim/simulation.h"

namespace aios {
namespace {

class IdleWatcher final : public Watcher {
 public:
  void OnReady(Readiness) override {}
  void OnWatchFailed(Error) override {}
  Nanoseconds OnTimer(Nanoseconds) override { return kForever; }
  void OnDue(uint8_t) override {}
  void OnFlush() override {}
  void OnCollectionClose() override {}
};

#ifdef NDEBUG
#define SKIP_WITHOUT_DEBUG_CHECKS() \
  GTEST_SKIP() << "an optimised build does not check it"
#else
#define SKIP_WITHOUT_DEBUG_CHECKS() static_cast<void>(0)
#endif

class EventLoopDeathTest : public testing::Test {
 protected:
  EventLoopDeathTest() {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    absl::StatusOr<std::unique_ptr<WaitStateCollection>> made =
        MakeWaitStateCollection(simulation_.AddHost("host").kernel());
    EXPECT_TRUE(made.ok()) << made.status();
    collection_ = *std::move(made);
  }

  EventLoop& loop() { return StateFactory::Loop(*collection_); }

  sim::Simulation simulation_;
  std::unique_ptr<WaitStateCollection> collection_;
};

TEST_F(EventLoopDeathTest, I2_ACallbackOutsideOfATurn) {
  SKIP_WITHOUT_DEBUG_CHECKS();
  IdleWatcher watcher;
  EXPECT_DEATH(loop().BeginCallback(watcher), "callbacks run in a turn");
}

TEST_F(EventLoopDeathTest, I2_ACallbackWithinACallback) {
  SKIP_WITHOUT_DEBUG_CHECKS();
  auto nest = [this] {
    auto ignore = [](AsyncIoState&, const IoResult&) {};
    auto state = OpenUdp(*collection_);
    ASSERT_TRUE(state.ok()) << state.status();
    auto nested = [this](AsyncIoState&, const IoResult&) {
      IdleWatcher watcher;
      loop().BeginCallback(watcher);
    };
    char byte;
    ASSERT_TRUE((*state)->ReceiveMessage({&byte, 1}, ignore).ok());
    ASSERT_TRUE((*state)->Abort(nested).ok());
    simulation_.RunFor(absl::Seconds(1));
  };
  EXPECT_DEATH(nest(), "one after the other");
}

}  // namespace
}  // namespace aios
