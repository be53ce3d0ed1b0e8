#include "aios/state/ending.h"

#include <memory>
#include <utility>

#include "gtest/gtest.h"
#include "tests/state/part_test.h"

namespace aios {
namespace {

class EndingsTest : public test::PartTest {
 protected:
  Ending* Queue() {
    auto ending = std::make_unique<Ending>();
    Ending* raw = ending.get();
    endings_.Queue(loop_, channel_, std::move(ending));
    return raw;
  }

  Endings endings_;
};

TEST_F(EndingsTest, CallBackInTheirOrder) {
  Ending* first = nullptr;
  Ending* second = nullptr;
  InATurn([&] {
    first = Queue();
    second = Queue();
  });
  EXPECT_EQ(channel_.endings, (std::vector<Ending*>{first, second}));
  EXPECT_EQ(endings_.Unqueue(*first).get(), first);
  EXPECT_EQ(endings_.Unqueue(*second).get(), second);
}

TEST_F(EndingsTest, ThoseToApplyAreTakenOnce) {
  endings_.ApplyLater(std::make_unique<Ending>());
  EXPECT_TRUE(endings_.has_some_to_apply());
  EXPECT_EQ(endings_.TakeThoseToApply().size(), 1U);
  EXPECT_FALSE(endings_.has_some_to_apply());
}

TEST_F(EndingsTest, NoneCallsBackAfterClose) {
  InATurn([&] {
    Queue();
    endings_.ApplyLater(std::make_unique<Ending>());
    EXPECT_EQ(endings_.Close(loop_).size(), 2U);
  });
  EXPECT_TRUE(channel_.endings.empty());
}

TEST(EndingTest, BothDirectionsIncludeEach) {
  EXPECT_TRUE(Includes(Direction::kIo, Direction::kInput));
  EXPECT_TRUE(Includes(Direction::kIo, Direction::kOutput));
  EXPECT_TRUE(Includes(Direction::kInput, Direction::kInput));
  EXPECT_FALSE(Includes(Direction::kInput, Direction::kOutput));
}

}  // namespace
}  // namespace aios
