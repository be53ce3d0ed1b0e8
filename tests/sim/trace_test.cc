#include "sim/trace.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"

namespace aios::sim {
namespace {

TEST(Trace, TheHashIsOfEveryFieldOfEveryEventInOrder) {
  auto hash = [](const std::vector<TraceEvent>& events) {
    Trace trace;
    for (const TraceEvent& e : events) {
      trace.Add(e.time, e.what, e.host, e.subject, e.a, e.b);
    }
    return trace.hash();
  };
  const TraceEvent base = {
      .time = 1, .subject = 2, .a = 3, .b = 4, .host = 5, .what = What::kSend};
  const TraceEvent next = {.time = 9, .what = What::kClose};
  std::vector<std::vector<TraceEvent>> traces = {
      {}, {base}, {next}, {base, next}, {next, base}, {base, base}};
  for (int field = 0; field != 6; ++field) {
    TraceEvent changed = base;
    if (field == 0) ++changed.time;
    if (field == 1) ++changed.subject;
    if (field == 2) ++changed.a;
    if (field == 3) ++changed.b;
    if (field == 4) ++changed.host;
    if (field == 5) changed.what = What::kReceive;
    traces.push_back({changed});
  }
  std::set<uint64_t> hashes;
  for (const std::vector<TraceEvent>& events : traces) {
    hashes.insert(hash(events));
    EXPECT_EQ(hash(events), hash(events));
  }
  EXPECT_EQ(hashes.size(), traces.size());
}

TEST(Trace, KeepsTheTail) {
  Trace trace;
  EXPECT_TRUE(trace.Tail().empty());
  for (uint64_t i = 0; i != Trace::kTail + 10; ++i) {
    trace.Add(static_cast<Nanoseconds>(i), What::kMark, 0, i);
  }
  std::vector<TraceEvent> tail = trace.Tail();
  ASSERT_EQ(tail.size(), Trace::kTail);
  for (size_t i = 0; i != tail.size(); ++i) EXPECT_EQ(tail[i].subject, i + 10);
  EXPECT_EQ(trace.size(), Trace::kTail + 10);
  EXPECT_TRUE(trace.all().empty()) << "nobody has asked for all";
}

TEST(Trace, KeepsAllThatWasAskedFor) {
  Trace trace;
  trace.Add(1, What::kMark, 0, 1);
  trace.KeepAll(2);
  for (uint64_t i = 2; i != 6; ++i) trace.Add(1, What::kMark, 0, i);
  ASSERT_EQ(trace.all().size(), 2u);
  EXPECT_EQ(trace.all()[0].subject, 2u);
  EXPECT_EQ(trace.all()[1].subject, 3u);
}

TEST(Trace, DescribesAnEventInALine) {
  TraceEvent event = {.time = 12'345'678'901,
                      .subject = 7,
                      .a = 4096,
                      .b = 1,
                      .host = 0,
                      .what = What::kSend};
  EXPECT_EQ(Trace::Describe(event, "alpha"),
            "12.345678901  alpha        send               #7      4096 1");
}

TEST(Trace, EveryEventHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (size_t i = 0; i != static_cast<size_t>(What::kCount); ++i) {
    std::string_view name = WhatName(static_cast<What>(i));
    EXPECT_FALSE(name.empty()) << i;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
}

}  // namespace
}  // namespace aios::sim
