// The pictures of a run: that other programs can read them, and that they show
// what happened.

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "sim/diagram.h"
#include "sim/pcapng.h"
#include "sim/perfetto.h"
#include "sim/simulation.h"

namespace aios::sim {
namespace {

// One run for all tests: a stream of 20,000 bytes over a link that loses
// packets, a datagram that arrives and one that finds no port, over both
// families, and a read that times out. No port is one of a known protocol,
// whose decoder would look for more in the bytes than there is.
class ExportsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    Simulation simulation(
        {.seed = 3,
         .link = {.latency = Latency::Uniform(absl::Milliseconds(5),
                                              absl::Milliseconds(20))},
         .faults = {.loss = 150'000}});
    Host& server = simulation.AddHost("ser<ver");
    Host& client = simulation.AddHost("client");
    simulation.StartRecording();
    auto there = MakeWaitStateCollection(server.kernel()).value();
    auto here = MakeWaitStateCollection(client.kernel()).value();
    auto nothing = [](AsyncIoState&, const IoResult&) {};

    std::string input(20'000, '\0');
    std::unique_ptr<AsyncIoState> reader;
    auto listener =
        AcceptTcpConnections(
            *there, 47000,
            [&](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
              reader = std::move(state);
              EXPECT_TRUE(
                  reader
                      ->ReadBuffer(
                          input,
                          [&](AsyncIoState& state, const IoResult&) {
                            EXPECT_TRUE(
                                state
                                    .ReadWithChecking(
                                        nothing,
                                        {.timeout = absl::Milliseconds(50)})
                                    .ok());
                          })
                      .ok());
            },
            {.ipv6 = Ipv6::kBoth})
            .value();
    std::string output;
    for (int i = 0; i != 20'000; ++i) output += static_cast<char>('a' + i % 23);
    auto writer =
        ConnectTcp(*here, server.ipv6(), 47000,
                   [&](AsyncIoState& state, const IoResult&) {
                     EXPECT_TRUE(state.WriteBuffer(output, nothing).ok());
                   })
            .value();
    auto sender = OpenUdp(*here).value();
    auto receiver = OpenUdp(*there, {.local_port = 5300}).value();
    std::array<char, 64> datagram;
    EXPECT_TRUE(receiver->ReceiveMessage(datagram, nothing).ok());
    for (int port : {5300, 5300, 5300, 5301, 5301}) {
      EXPECT_TRUE(
          sender->SendMessageToAddress(server.ipv4(), port, "hello", nothing)
              .ok());
    }
    EXPECT_TRUE(simulation.RunFor(absl::Seconds(20)));
    EXPECT_EQ(input, output);
    EXPECT_EQ(simulation.violations(), std::vector<std::string>());
    EXPECT_GT(simulation.fault_count(Fault::kLoss).fired, 0u);
    recording_ = new Recording(*simulation.recording());
    stream_ = new std::string(output);
  }

  static void TearDownTestSuite() {
    delete recording_;
    delete stream_;
  }

  // What a command prints.
  static std::string Run(const std::string& command) {
    std::string output;
    FILE* pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) return output;
    std::array<char, 4096> buffer;
    for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) != 0;) {
      output.append(buffer.data(), n);
    }
    EXPECT_EQ(pclose(pipe), 0) << command;
    return output;
  }

  static const Recording* recording_;
  static const std::string* stream_;
};

const Recording* ExportsTest::recording_ = nullptr;
const std::string* ExportsTest::stream_ = nullptr;

// Decodes the capture with tshark and gives the fields, tab separated, of each
// packet that the filter selects.
class CaptureTest : public ExportsTest {
 protected:
  void SetUp() override {
    if (std::system("command -v tshark > /dev/null") != 0) {
      GTEST_SKIP() << "tshark is not installed; tools/setup brings it";
    }
    path_ = testing::TempDir() + "/run.pcapng";
    std::ofstream(path_, std::ios::binary) << ToPcapng(*recording_);
  }

  std::vector<std::string> Decode(const std::string& filter,
                                  const std::string& fields) {
    std::string output =
        Run("tshark -r '" + path_ +
            "' -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o "
            "udp.check_checksum:TRUE -Y '" +
            filter + "' -T fields " + fields + " 2>/dev/null");
    return absl::StrSplit(output, '\n', absl::SkipEmpty());
  }

  std::string path_;
};

TEST_F(CaptureTest, HoldsEveryPacketInOrder) {
  std::vector<std::string> packets = Decode("frame", "-e frame.time_epoch");
  ASSERT_EQ(packets.size(), recording_->packets().size());
  for (size_t i = 0; i != packets.size(); ++i) {
    Nanoseconds sent = recording_->packets()[i].sent;
    char expected[40];
    std::snprintf(expected, sizeof(expected), "%lld.%09lld",
                  static_cast<long long>(sent / 1'000'000'000),
                  static_cast<long long>(sent % 1'000'000'000));
    EXPECT_EQ(packets[i], expected);
  }
}

TEST_F(CaptureTest, HasNoMalformedPacketAndNoBadChecksum) {
  EXPECT_EQ(Decode("_ws.malformed || ip.checksum.status == 0 || "
                   "tcp.checksum.status == 0 || udp.checksum.status == 0 || "
                   "icmp.checksum.status == 0",
                   "-e frame.number"),
            std::vector<std::string>());
  // The filter above would also select nothing if nothing had been checked.
  EXPECT_FALSE(Decode("tcp.checksum.status == 1", "-e frame.number").empty());
  EXPECT_FALSE(Decode("udp.checksum.status == 1", "-e frame.number").empty());
}

TEST_F(CaptureTest, HoldsTheStreamIntact) {
  // As one who reassembles the segments sees it: lines of hexadecimal digits.
  std::string followed =
      Run("tshark -r '" + path_ + "' -q -z follow,tcp,raw,0 2>/dev/null");
  std::string bytes;
  for (const std::string& line :
       std::vector<std::string>(absl::StrSplit(followed, '\n'))) {
    if (line.empty() ||
        line.find_first_not_of("0123456789abcdef") != line.npos) {
      continue;
    }
    for (size_t i = 0; i + 1 < line.size(); i += 2) {
      bytes += static_cast<char>(std::stoi(line.substr(i, 2), nullptr, 16));
    }
  }
  EXPECT_EQ(bytes, *stream_);
}

TEST_F(CaptureTest, SaysWhichPacketsWereLost) {
  size_t lost = 0;
  for (const RecordedPacket& packet : recording_->packets()) {
    if (packet.dropped) ++lost;
  }
  EXPECT_EQ(
      Decode("frame.comment == \"dropped: loss\"", "-e frame.number").size(),
      lost);
}

TEST_F(CaptureTest, ShowsUnreachablePortsAsIcmp) {
  size_t unreachable = 0;
  for (const RecordedPacket& packet : recording_->packets()) {
    if (packet.packet.protocol == Packet::Protocol::kUnreachable) ++unreachable;
  }
  ASSERT_GT(unreachable, 0u);
  EXPECT_EQ(Decode("icmp.type == 3 && icmp.code == 3 && udp.dstport == 5301",
                   "-e frame.number")
                .size(),
            unreachable);
}

TEST_F(ExportsTest, TimelineIsJsonWithEveryOperationAndPacket) {
  nlohmann::json file = nlohmann::json::parse(ToPerfetto(*recording_));
  size_t operations = 0;
  size_t packets = 0;
  size_t timeouts = 0;
  for (const nlohmann::json& event : file.at("traceEvents")) {
    if (event.at("ph") != "b") continue;
    if (event.at("cat") == "packet") ++packets;
    if (event.at("cat") != "operation") continue;
    ++operations;
    if (event.at("args").at("status") == "timeout") ++timeouts;
  }
  EXPECT_EQ(operations, recording_->operations().size());
  EXPECT_EQ(packets, recording_->packets().size());
  EXPECT_EQ(timeouts, 1u);
}

TEST_F(ExportsTest, EverySliceOfTheTimelineEnds) {
  nlohmann::json file = nlohmann::json::parse(ToPerfetto(*recording_));
  std::map<std::string, nlohmann::json> open;
  for (const nlohmann::json& event : file.at("traceEvents")) {
    EXPECT_GE(event.at("pid").get<int>(), 1) << "0 is the idle process";
    EXPECT_LE(event.at("pid").get<int>(), 2);
    if (event.at("ph") == "b") {
      EXPECT_TRUE(open.emplace(event.at("id"), event).second) << event;
    } else if (event.at("ph") == "e") {
      auto begin = open.find(event.at("id"));
      ASSERT_NE(begin, open.end()) << event;
      EXPECT_EQ(begin->second.at("cat"), event.at("cat"));
      EXPECT_LE(begin->second.at("ts").get<double>(),
                event.at("ts").get<double>());
      open.erase(begin);
    }
  }
  EXPECT_TRUE(open.empty());
}

// What a page draws.
nlohmann::json RunsOf(const std::string& page) {
  size_t begin = page.find("const runs = ") + 13;
  size_t end = page.find(";\n", begin);
  return nlohmann::json::parse(page.substr(begin, end - begin));
}

TEST_F(ExportsTest, DiagramCountsTimesFromTheFirstEventOrFromItsZero) {
  auto first = [](const std::string& page) {
    return RunsOf(page)[0].at("packets")[0].at("sent").get<std::string>();
  };
  EXPECT_EQ(first(ToDiagram(*recording_, "a run")), "0");
  Nanoseconds sent = recording_->packets()[0].sent;
  EXPECT_EQ(
      first(ToDiagram(
          {{.title = "a run", .recording = recording_, .zero = sent + 1'500}})),
      "-1500");
}

// The page as a browser makes it, without a network.
TEST_F(ExportsTest, DiagramDrawsItselfInABrowser) {
  if (std::system("command -v chromium > /dev/null") != 0) {
    GTEST_SKIP() << "there is no chromium here to draw it";
  }
  std::string path = testing::TempDir() + "/diagram.html";
  std::ofstream(path) << ToDiagram(
      {{.title = "first", .verdict = "pass", .recording = recording_},
       {.title = "second",
        .verdict = "fail",
        .failures = {"f:1:1: <it> differs"},
        .recording = recording_}});
  std::string drawn =
      Run("chromium --headless --no-sandbox --disable-gpu "
          "--disable-background-networking --disable-component-update "
          "--disable-sync --user-data-dir='" +
          testing::TempDir() + "/browser' --window-size=1200,20000 " +
          "--dump-dom 'file://" + path + "' 2>/dev/null");
  auto count = [&](std::string_view part) {
    size_t n = 0;
    size_t at = drawn.find("<svg id=\"picture\"");
    while ((at = drawn.find(part, at)) != drawn.npos) ++n, ++at;
    return n;
  };
  EXPECT_GT(count("<line"), recording_->packets().size());
  // Operations that began and ended alike share their bars.
  EXPECT_GE(count("<rect"), 5u);
  EXPECT_GT(count("lost"), 0u);
  EXPECT_GT(count("timeout"), 0u);
}

TEST_F(ExportsTest, DiagramHoldsTheDataAndNoStrangersMarkup) {
  std::string page = ToDiagram(*recording_, "a <b>run</b>");
  EXPECT_NE(page.find("<title>a &lt;b&gt;run&lt;/b&gt;</title>"), page.npos);
  nlohmann::json runs = RunsOf(page);
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].at("hosts"), recording_->hosts());
  EXPECT_EQ(runs[0].at("packets").size(), recording_->packets().size());
  EXPECT_EQ(runs[0].at("operations").size(), recording_->operations().size());
  size_t lost = 0;
  for (const nlohmann::json& packet : runs[0].at("packets")) {
    if (packet.at("lost") == "lost") ++lost;
  }
  EXPECT_GT(lost, 0u);
  // Only the page's own script ends a script.
  EXPECT_EQ(page.find("</script>"), page.rfind("</script>"));
}

}  // namespace
}  // namespace aios::sim
