#include "sim/stream_buffer.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "sim/choice.h"

namespace aios::sim {
namespace {

std::string Part(const StreamBuffer& buffer, size_t offset, size_t size) {
  std::string part(size, '?');
  buffer.Copy(offset, part);
  return part;
}

TEST(StreamBuffer, IsAQueueOfBytes) {
  StreamBuffer buffer;
  EXPECT_TRUE(buffer.empty());
  buffer.Append(std::string_view("hello "));
  buffer.Append(std::string_view("world"));
  buffer.Append(std::string_view(""));
  EXPECT_EQ(buffer.size(), 11u);
  EXPECT_EQ(Part(buffer, 0, 11), "hello world");
  EXPECT_EQ(Part(buffer, 3, 5), "lo wo");
  EXPECT_EQ(Part(buffer, 3, 0), "");
  buffer.Consume(6);
  EXPECT_EQ(Part(buffer, 0, 5), "world");
  buffer.Clear();
  EXPECT_TRUE(buffer.empty());
}

TEST(StreamBuffer, AgreesWithAStringWhateverIsDone) {
  Choices choices(11);
  ChoiceEntity entity(1);
  auto below = [&](size_t count) {
    return choices.Below(Site::kUser, entity, count);
  };
  StreamBuffer buffer;
  std::string model;
  char next = 0;
  for (int step = 0; step != 20'000; ++step) {
    if (below(2) == 0) {
      std::string bytes(below(below(50) == 0 ? 5000 : 60), '\0');
      for (char& byte : bytes) byte = next++;
      buffer.Append(bytes);
      model += bytes;
    } else {
      size_t count = std::min<size_t>(model.size(), below(90));
      buffer.Consume(count);
      model.erase(0, count);
    }
    ASSERT_EQ(buffer.size(), model.size());
    size_t offset = below(model.size() + 1);
    size_t size = below(model.size() - offset + 1);
    ASSERT_EQ(Part(buffer, offset, size), model.substr(offset, size));
  }
}

}  // namespace
}  // namespace aios::sim
