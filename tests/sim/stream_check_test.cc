#include "sim/stream_check.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "sim/choice.h"

namespace aios::sim {
namespace {

std::string Bytes(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i != size; ++i) {
    bytes[i] = static_cast<char>(i * 13 + i / 200);
  }
  return bytes;
}

// Writes and reads `written` and `read` in pieces drawn from `seed`; whether
// the check had no objection.
bool Agrees(std::string_view written, std::string_view read, uint64_t seed) {
  Choices choices(seed);
  ChoiceEntity entity(1);
  StreamCheck check;
  auto piece = [&](std::string_view& bytes) {
    size_t size = 1 + choices.Below(Site::kUser, entity, 20);
    std::string_view first = bytes.substr(0, size);
    bytes.remove_prefix(first.size());
    return first;
  };
  while (!written.empty()) check.Written(piece(written));
  while (!read.empty()) {
    if (!check.Read(piece(read))) return false;
  }
  return check.Complete();
}

TEST(StreamHash, DoesNotDependOnThePieces) {
  const std::string bytes = Bytes(100);
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    StreamHash whole;
    whole.Add(bytes);
    StreamHash parts;
    parts.Add(std::string_view(bytes).substr(0, cut));
    parts.Add(std::string_view(bytes).substr(cut));
    EXPECT_EQ(whole.value(), parts.value()) << cut;
    EXPECT_EQ(parts.size(), bytes.size());
  }
}

TEST(StreamCheck, AStreamThatArrivesAsItWasSent) {
  for (size_t size : {1, 7, 8, 9, 500}) {
    for (uint64_t seed = 1; seed != 50; ++seed) {
      EXPECT_TRUE(Agrees(Bytes(size), Bytes(size), seed)) << size;
    }
  }
}

TEST(StreamCheck, EveryChangedByteIsNoticed) {
  const std::string sent = Bytes(90);
  for (size_t i = 0; i != sent.size(); ++i) {
    std::string got = sent;
    got[i] = static_cast<char>(got[i] ^ 1);
    EXPECT_FALSE(Agrees(sent, got, i)) << i;
  }
}

TEST(StreamCheck, BytesLostDoubledOrMovedAreNoticed) {
  const std::string sent = Bytes(90);
  for (size_t i = 0; i + 1 < sent.size(); ++i) {
    std::string got = sent;
    got.erase(i, 1);
    EXPECT_FALSE(Agrees(sent, got, i)) << "lost " << i;
    got = sent;
    got.insert(i, 1, sent[i]);
    EXPECT_FALSE(Agrees(sent, got, i)) << "doubled " << i;
    got = sent;
    std::swap(got[i], got[i + 1]);
    EXPECT_FALSE(Agrees(sent, got, i)) << "moved " << i;
  }
}

TEST(StreamCheck, MoreThanWasWrittenIsNoticedAtOnce) {
  StreamCheck check;
  check.Written(std::string_view("abc"));
  EXPECT_TRUE(check.Read(std::string_view("abc")));
  EXPECT_FALSE(check.Read(std::string_view("d")));
}

TEST(StreamCheck, AnEarlyEndIsNotComplete) {
  StreamCheck check;
  EXPECT_TRUE(check.Complete());
  check.Written(std::string_view("abc"));
  EXPECT_TRUE(check.Read(std::string_view("ab")));
  EXPECT_FALSE(check.Complete());
  EXPECT_TRUE(check.Read(std::string_view("c")));
  EXPECT_TRUE(check.Complete());
}

}  // namespace
}  // namespace aios::sim
