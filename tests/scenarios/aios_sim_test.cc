// aios_sim as its users meet it: lines, exit codes, traces, shards.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tests/programs/program.h"

namespace aios::test {

namespace {

constexpr char kProgram[] = "tools/aios_sim/aios_sim";
constexpr char kGood[] = "sim/scenarios/s02_partial_read_timeout.yaml";
constexpr char kOther[] = "sim/scenarios/s09_many_queued_writes.yaml";

struct Ending {
  int code = 0;
  std::string out;
  std::string err;
};

Ending Execute(const std::vector<std::string>& arguments) {
  Program program(kProgram, arguments);
  Ending run;
  run.code = program.Wait();
  run.out = program.out();
  run.err = program.err();
  return run;
}

class AiosSimTest : public testing::Test {
 protected:
  // A file of this test, and its path.
  std::string Write(const std::string& name, const std::string& text) {
    std::string path = Path(name);
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  std::string Path(const std::string& name) {
    return absl::StrCat(testing::TempDir(), "/", name);
  }
  static std::string Read(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }

  // It passes with every seed but one in about two.
  std::string Fickle() {
    return Write("fickle.yaml",
                 "title: x\nhosts: [a, b]\n"
                 "link: {latency: {uniform: [0s, 100ms]}}\n"
                 "states:\n  x: {host: a, connect: y}\n  y: {host: b}\n"
                 "steps:\n  - {at: 0s, state: x, write_buffer: hello}\n"
                 "  - {at: 0s, state: y, read_buffer: 5, timeout: 50ms}\n");
  }
};

TEST_F(AiosSimTest, ALineAScenario) {
  Ending run = Execute({"run", kGood, kOther, "--seeds=1..20", "--jobs=2"});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_EQ(run.err, "");
  std::vector<std::string> lines = absl::StrSplit(run.out, '\n');
  ASSERT_EQ(lines.size(), 4u) << run.out;
  for (const char* part : {"pass", kGood, "seeds 1..20", " events", "virtual ",
                           "wall ", "hash "}) {
    EXPECT_TRUE(absl::StrContains(lines[0], part)) << part;
  }
  EXPECT_EQ(lines[2], "40 runs, all as expected");
}

TEST_F(AiosSimTest, TheSameHashesOnEveryRun) {
  auto hash = [](const Ending& run) {
    return run.out.substr(run.out.find("hash "), 21);
  };
  Ending first = Execute({"run", kOther, "--seed=5"});
  EXPECT_EQ(hash(first), hash(Execute({"run", kOther, "--seed=5"})));
  EXPECT_NE(hash(first), hash(Execute({"run", kOther, "--seed=6"})));
  Ending many = Execute({"run", kOther, "--seeds=1..9", "--jobs=1"});
  EXPECT_EQ(hash(many),
            hash(Execute({"run", kOther, "--seeds=1..9", "--jobs=4"})));
}

TEST_F(AiosSimTest, AFailureSaysHowToHaveItAgain) {
  std::string fickle = Fickle();
  Ending run = Execute({"run", fickle, "--seeds=1..1000", "--jobs=2"});
  EXPECT_EQ(run.code, 1);
  std::string command = absl::StrCat("replay: bazel run //sim:aios_sim -- run ",
                                     fickle, " --seed=");
  size_t found = run.out.find(command);
  ASSERT_NE(found, std::string::npos) << run.out;
  EXPECT_FALSE(absl::StrContains(run.out, "\n1000 runs")) << "did not stop";
  std::string seed = run.out.substr(found + command.size());
  seed = seed.substr(0, seed.find('\n'));
  Ending again = Execute({"run", fickle, "--seed=" + seed});
  EXPECT_EQ(again.code, 1);
  EXPECT_TRUE(absl::StrContains(again.out, "expected ok")) << again.out;
  // And what every host had, when it is only one.
  EXPECT_TRUE(absl::StrContains(again.out, "the last events"));
}

TEST_F(AiosSimTest, ATraceIsReplayed) {
  std::string trace = Path("run.trace");
  Ending run = Execute({"run", kOther, "--seed=3", "--trace=" + trace});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  Ending replay = Execute({"replay", trace});
  EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
  EXPECT_TRUE(absl::StrContains(replay.out, "the same run as recorded"));

  // The choices make the run, not the seed.
  std::string text = Read(trace);
  text.replace(text.find("\nseed 3\n"), 8, "\nseed 77\n");
  replay = Execute({"replay", Write("other_seed.trace", text)});
  EXPECT_TRUE(absl::StrContains(replay.out, "the same run as recorded"));

  // One that is changed goes another way, and says where.
  size_t choice = text.find("\nwrite_size ") + 1;
  size_t end = text.find('\n', choice);
  size_t value = text.rfind(' ', end) + 1;
  text.replace(value, end - value, "1");
  replay = Execute({"replay", Write("other_choice.trace", text)});
  EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
  EXPECT_TRUE(absl::StrContains(replay.out, "The first event that differs"))
      << replay.out;
}

// A trace of before the program drew the choices of a further site: those that
// it has are what they were, and the new ones come from the seed.
TEST_F(AiosSimTest, ATraceIsReplayedThoughTheProgramMakesMoreChoices) {
  std::string trace = Path("older.trace");
  EXPECT_EQ(Execute({"run", kOther, "--seed=3", "--trace=" + trace}).code, 0);
  std::vector<std::string> kept;
  size_t all = 0;
  size_t dropped = 0;
  for (const std::string& line :
       std::vector<std::string>(absl::StrSplit(Read(trace), '\n'))) {
    bool is_new = absl::StartsWith(line, "would_block ") ||
                  absl::StartsWith(line, "segment_size ");
    if (absl::StartsWith(line, "choices ")) all = std::stoul(line.substr(8));
    if (is_new) {
      ++dropped;
    } else {
      kept.push_back(line);
    }
  }
  EXPECT_GT(dropped, 0u);
  EXPECT_LT(dropped, all);
  std::string text = absl::StrJoin(kept, "\n");
  std::string count = absl::StrCat("\nchoices ", all, "\n");
  text.replace(text.find(count), count.size(),
               absl::StrCat("\nchoices ", all - dropped, "\n"));
  Ending replay = Execute({"replay", Write("newer.trace", text)});
  EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
  EXPECT_TRUE(absl::StrContains(replay.out, "the same run as recorded"))
      << replay.out;
}

TEST_F(AiosSimTest, AFailedRunFailsAgainInItsReplay) {
  std::string trace = Path("failed.trace");
  std::string path = Write(
      "bad.yaml",
      "title: x\nhosts: [a, b]\nstates:\n  x: {host: a, connect: y}\n"
      "  y: {host: b}\nsteps:\n  - {at: 0s, state: x, read_buffer: 1, timeout: "
      "1s}\n");
  EXPECT_EQ(Execute({"run", path, "--trace=" + trace}).code, 1);
  EXPECT_EQ(Execute({"replay", trace}).code, 1);
}

TEST_F(AiosSimTest, BadInputEndsWithTwo) {
  std::string bad = Write("bad.yaml", "title: x\nhosts: [a\n");
  std::string binary = Write("binary.yaml", std::string(100, '\0'));
  std::string trace = Write("bad.trace", "aios-trace 1\nseed 1\nres");
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{
           {},
           {"run"},
           {"walk", kGood},
           {"run", bad},
           {"run", kGood, bad},
           {"run", binary},
           {"run", "no/such/file"},
           {"run", testing::TempDir()},
           {"check", bad},
           {"list", bad},
           {"replay"},
           {"replay", kGood},
           {"replay", trace},
           {"replay", "no/such/file"},
           {"run", kGood, "--seed=x"},
           {"run", kGood, "--seed="},
           {"run", kGood, "--seed=-1"},
           {"run", kGood, "--seed=+1"},
           {"run", kGood, "--seed=1x"},
           {"run", kGood, "--seed=01"},
           {"run", kGood, "--seeds=7"},
           {"run", kGood, "--seeds=..7"},
           {"run", kGood, "--seeds=5..1"},
           {"run", kGood, "--jobs=0"},
           {"run", kGood, "--speed=1"},
           {"run", kGood, "--kernel=dos"},
           {"run", kGood, kOther, "--trace=" + Path("two.trace")},
           {"run", kGood, "--trace=no/such/folder/x"},
           {"run", kGood, "--diagram=no/such/folder/x"},
           {"run", kGood, "--diagram="},
           {"run", kGood, "--pcap"},
           {"run", kGood, "--table=yes"},
           {"run", kGood, kOther, "--pcap=" + Path("two.pcapng")},
           {"run", kGood, kOther, "--perfetto=" + Path("two.json")},
           {"run", kGood, "--seeds=1..2", "--diagram=" + Path("two.html")},
           {"run", kGood, "--kernel=epoll", "--diagram=" + Path("two.html")},
           {"check", kGood, "--diagram=" + Path("two.html")},
           {"check", kGood, "--kernel=epoll"},
           {"list", "--seed=1"},
           {"shrink", kGood},
           {"shrink", kGood, kOther, "--out=" + Path("two.yaml")},
           {"run", kGood, "--out=" + Path("two.yaml")},
           {"replay", kGood, "--seed=1"},
       }) {
    Ending run = Execute(arguments);
    EXPECT_EQ(run.code, 2) << testing::PrintToString(arguments);
    EXPECT_NE(run.err, "");
  }
  // A seed has 64 bits.
  EXPECT_EQ(Execute({"run", kGood, "--seed=18446744073709551615"}).code, 0);
  Ending large = Execute({"run", kGood, "--seed=18446744073709551616"});
  EXPECT_EQ(large.code, 2);
  EXPECT_TRUE(absl::StrContains(large.err, "at most 18446744073709551615"))
      << large.err;
  // Of the command line it says how it should be.
  Ending usage = Execute({"run", kGood, "--speed=1"});
  EXPECT_TRUE(absl::StartsWith(usage.err, "aios_sim: there is no flag --speed"))
      << usage.err;
  EXPECT_TRUE(absl::StrContains(usage.err, "aios_sim run FILE..."));
  // Nothing has run, and nothing half written is left.
  Ending run = Execute({"run", kGood, bad});
  EXPECT_EQ(run.out, "");
  EXPECT_TRUE(absl::StartsWith(run.err, bad + ":3:1:")) << run.err;
  for (const auto& entry :
       std::filesystem::directory_iterator(testing::TempDir())) {
    EXPECT_FALSE(absl::EndsWith(entry.path().string(), ".part"));
    EXPECT_NE(entry.path().stem(), "two");
  }
}

TEST_F(AiosSimTest, AFailureIsShrunk) {
  // One of the six steps and none of the faults has to do with it.
  std::string path =
      Write("long.yaml",
            "title: x\nabout: y\nhosts: [a, b, c]\nlink: {latency: 1ms}\n"
            "faults: {loss: 1%, split: 50%, duplication: 10ppm}\n"
            "states:\n  x: {host: a, connect: y, queue_output: yes}\n"
            "  y: {host: b}\n  z: {host: a, udp: 9000}\nsteps:\n"
            "  - {at: 0s, name: w, state: x, write_buffer: hello}\n"
            "  - {at: 0s, state: z, receive_message: 9, timeout: 1s,\n"
            "     expect: timeout}\n"
            "  - {at: 1s, pause: c, for: 1s}\n"
            "  - {at: 2s, name: r, state: y, read_buffer: 9, timeout: 3s,\n"
            "     expect: {status: timeout, at: 4s}}\n"
            "  - {at: 3s, partition: [a, c]}\n"
            "  - {at: 6s, state: x, write_buffer: more}\n"
            "order: [w, r]\n");
  std::string out = Path("short.yaml");
  Ending run = Execute({"shrink", path, "--seed=2", "--out=" + out});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_TRUE(absl::StrContains(run.out, " of 6 steps are left")) << run.out;
  std::string text = Read(out);
  EXPECT_TRUE(absl::StrContains(text, "name: r,")) << text;
  EXPECT_TRUE(absl::StrContains(text, "# Shrunk from ")) << text;
  for (const char* gone : {"partition", "pause", "order", "about", "loss: ",
                           "split", "receive_message", "more", "9000"}) {
    EXPECT_FALSE(absl::StrContains(text, gone)) << gone << " in: " << text;
  }
  // It fails in the same way, and what passes is not shrunk.
  EXPECT_EQ(Execute({"run", out, "--seed=2"}).code, 1);
  run = Execute({"shrink", kGood, "--out=" + Path("none.yaml")});
  EXPECT_EQ(run.code, 2);
  EXPECT_TRUE(absl::StrContains(run.err, "nothing to shrink")) << run.err;
  EXPECT_FALSE(std::filesystem::exists(Path("none.yaml")));
}

TEST_F(AiosSimTest, CheckAndListAndTable) {
  Ending run = Execute({"check", kGood, "--seeds=1..3"});
  EXPECT_EQ(run.code, 0) << run.out;
  run = Execute({"list"});
  EXPECT_EQ(run.code, 0);
  EXPECT_TRUE(absl::StrContains(run.out, "keeps what came")) << run.out;
  run = Execute({"run", kGood, "--table"});
  EXPECT_EQ(run.code, 0);
  EXPECT_TRUE(absl::StrContains(run.out, "alice: read_buffer 10")) << run.out;
  EXPECT_FALSE(absl::StrContains(run.out, "\033"));
  EXPECT_EQ(Execute({"--help"}).code, 0);
}

TEST_F(AiosSimTest, PicturesOfARunAndOfItsReplay) {
  std::string trace = Path("drawn.trace");
  std::string page = Path("drawn.html");
  Ending run = Execute({"run", kOther, "--seed=3", "--trace=" + trace,
                        "--diagram=" + page, "--pcap=" + Path("drawn.pcapng"),
                        "--perfetto=" + Path("drawn.json")});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_TRUE(absl::StrContains(run.out, "written: " + page)) << run.out;
  EXPECT_TRUE(absl::StrContains(Read(page), "alice"));
  EXPECT_TRUE(absl::StrContains(Read(Path("drawn.json")), "traceEvents"));
  EXPECT_EQ(Read(Path("drawn.pcapng")).substr(0, 4), "\x0a\x0d\x0d\x0a");
  // Drawing changes nothing of what is drawn, and a replay draws the same.
  std::string again = Path("again.html");
  Ending replay = Execute({"replay", trace, "--diagram=" + again});
  EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
  EXPECT_TRUE(absl::StrContains(replay.out, "the same run as recorded"));
  EXPECT_EQ(Read(again), Read(page));
  Ending plain = Execute({"run", kOther, "--seed=3"});
  EXPECT_EQ(run.out.substr(run.out.find("hash "), 21),
            plain.out.substr(plain.out.find("hash "), 21));
  // Several on one page.
  run = Execute({"run", kGood, kOther, "--diagram=" + page, "--table"});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_TRUE(absl::StrContains(Read(page), "keeps what came"));
  EXPECT_TRUE(absl::StrContains(Read(page), "through short writes"));
  EXPECT_TRUE(absl::StrContains(run.out, "2 scenarios, ")) << run.out;
}

TEST_F(AiosSimTest, AShardThatIsNoNumberIsBadInput) {
  for (const auto& [index, total] :
       {std::pair("x", "2"), std::pair("2", "2"), std::pair("0", "two")}) {
    setenv("TEST_SHARD_INDEX", index, 1);
    setenv("TEST_TOTAL_SHARDS", total, 1);
    EXPECT_EQ(Execute({"run", kGood}).code, 2) << index << " of " << total;
  }
  unsetenv("TEST_SHARD_INDEX");
  unsetenv("TEST_TOTAL_SHARDS");
}

TEST_F(AiosSimTest, ShardsDoEachTheirPart) {
  setenv("TEST_TOTAL_SHARDS", "3", 1);
  uint64_t runs = 0;
  for (const char* shard : {"0", "1", "2"}) {
    setenv("TEST_SHARD_INDEX", shard, 1);
    std::string status = Path(absl::StrCat("shard", shard));
    setenv("TEST_SHARD_STATUS_FILE", status.c_str(), 1);
    Ending run = Execute({"run", kGood, kOther, "--seeds=1..10"});
    EXPECT_EQ(run.code, 0) << run.out;
    EXPECT_TRUE(std::filesystem::exists(status));
    size_t total = run.out.rfind(" runs, all");
    ASSERT_NE(total, std::string::npos) << run.out;
    runs += std::stoul(run.out.substr(run.out.rfind('\n', total) + 1));
  }
  for (const char* name :
       {"TEST_TOTAL_SHARDS", "TEST_SHARD_INDEX", "TEST_SHARD_STATUS_FILE"}) {
    unsetenv(name);
  }
  EXPECT_EQ(runs, 20u);
}

TEST_F(AiosSimTest, OnRealSockets) {
  Ending run =
      Execute({"run", kGood, "sim/scenarios/s16_peer_half_closes.yaml",
               "sim/scenarios/s12_second_write_without_queue.yaml",
               "sim/scenarios/partition_that_heals.yaml", "--kernel=epoll"});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_TRUE(absl::StrContains(run.out, "skipped: latency")) << run.out;
  EXPECT_TRUE(absl::StrContains(
      run.out, "partition: a real kernel cannot be told to do this"))
      << run.out;
  EXPECT_TRUE(absl::StrContains(run.out, "3 scenarios on epoll, 1 skipped"))
      << run.out;
}

}  // namespace

}  // namespace aios::test
