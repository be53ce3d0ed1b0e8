// Messages as RFC 1035 has them, byte by byte, and what is no message.

#include "sim/dns_message.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "aios/address.h"
#include "gtest/gtest.h"

namespace aios::sim {
namespace {

using namespace std::string_literals;

DnsName Name(std::string_view text) { return DnsName::Parse(text).value(); }

DnsMessage Decoded(const std::string& bytes) {
  absl::StatusOr<DnsMessage> message = DecodeDnsMessage(bytes);
  EXPECT_TRUE(message.ok()) << message.status();
  return message.ok() ? *message : DnsMessage();
}

std::string Why(const std::string& bytes) {
  absl::StatusOr<DnsMessage> message = DecodeDnsMessage(bytes);
  EXPECT_FALSE(message.ok());
  return std::string(message.status().message());
}

#define EXPECT_WRONG(bytes, what) \
  EXPECT_NE(Why(bytes).find(what), std::string::npos) << Why(bytes)

// A header with so many questions and answers.
std::string Header(uint8_t questions, uint8_t answers) {
  std::string header = "\x12\x34\x81\x80\0\0\0\0\0\0\0\0"s;
  header[5] = static_cast<char>(questions);
  header[7] = static_cast<char>(answers);
  return header;
}

TEST(DnsName, IsWrittenAsLabelsWithTheirLengths) {
  EXPECT_EQ(Name("www.example.com").wire(), "\3www\7example\3com\0"s);
  EXPECT_EQ(Name("www.example.com.").wire(), "\3www\7example\3com\0"s);
  EXPECT_EQ(Name(".").wire(), "\0"s);
  EXPECT_EQ(DnsName().wire(), "\0"s);
}

TEST(DnsName, ReadsWhatItWrites) {
  for (const char* text : {"a", "www.example.com", R"(a\.b.c)", R"(a\\b)",
                           R"(\000\255\032x.y)", ".", "_x._tcp.EXAMPLE"}) {
    EXPECT_EQ(Name(text).ToString(), text);
    EXPECT_EQ(Name(Name(text).ToString()), Name(text));
  }
  EXPECT_EQ(Name(R"(\097.\b)").ToString(), "a.b");
}

TEST(DnsName, RefusesWhatIsNone) {
  for (const std::string& text :
       {""s, ".."s, ".a"s, "a..b"s, "a\\"s, "a\\1"s, "a\\12"s, "a\\256"s,
        std::string(64, 'a'), std::string(64, 'a') + ".b"}) {
    EXPECT_FALSE(DnsName::Parse(text).ok()) << text;
  }
  EXPECT_TRUE(DnsName::Parse(std::string(63, 'a')).ok());
}

TEST(DnsName, HasAtMost255Bytes) {
  std::string label(63, 'a');
  std::string three = label + "." + label + "." + label + ".";
  EXPECT_EQ(Name(three + std::string(61, 'b')).wire().size(), 255u);
  EXPECT_FALSE(DnsName::Parse(three + std::string(62, 'b')).ok());
}

TEST(DnsName, KnowsItsParentAndForgetsCase) {
  EXPECT_EQ(Name("a.b.c").Parent(), Name("b.c"));
  EXPECT_EQ(Name("a").Parent(), DnsName());
  EXPECT_EQ(DnsName().Parent(), DnsName());
  EXPECT_EQ(Name("WwW.Example").Folded(), Name("www.example"));
  EXPECT_NE(Name("WwW.Example"), Name("www.example"));
}

TEST(DnsMessage, IsReadByteByByte) {
  DnsMessage message = Decoded(
      "\x12\x34\x85\x83\0\1\0\2\0\0\0\1"
      "\3www\4test\0\0\1\0\1"
      "\xc0\x0c\0\5\0\1\0\0\1\0\0\4\1b\xc0\x10"
      "\1b\xc0\x10\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0\7"
      "\0\0\x29\4\xd0\0\0\0\0\0\0"s);
  EXPECT_EQ(message.id, 0x1234);
  EXPECT_TRUE(message.response);
  EXPECT_TRUE(message.authoritative);
  EXPECT_FALSE(message.truncated);
  EXPECT_TRUE(message.recursion_desired);
  EXPECT_TRUE(message.recursion_available);
  EXPECT_EQ(message.code, DnsCode::kNameError);
  ASSERT_EQ(message.questions.size(), 1u);
  EXPECT_EQ(message.questions[0].name, Name("www.test"));
  EXPECT_EQ(message.questions[0].type, DnsType::kA);
  ASSERT_EQ(message.answers.size(), 2u);
  EXPECT_EQ(message.answers[0].name, Name("www.test"));
  EXPECT_EQ(message.answers[0].ttl_seconds, 256u);
  EXPECT_EQ(TargetOf(message.answers[0]), Name("b.test"));
  EXPECT_EQ(AddressOf(message.answers[0]), std::nullopt);
  EXPECT_EQ(message.answers[1].name, Name("b.test"));
  EXPECT_EQ(AddressOf(message.answers[1])->ToString(), "10.0.0.7");
  EXPECT_TRUE(message.authorities.empty());
  ASSERT_EQ(message.additionals.size(), 1u);
  EXPECT_EQ(message.additionals[0].type, DnsType::kOpt);
  EXPECT_EQ(message.additionals[0].dns_class, 1232);
}

TEST(DnsMessage, IsWrittenWithNamesCompressed) {
  DnsMessage message;
  message.id = 0x1234;
  message.recursion_desired = true;
  message.questions = {{Name("www.test"), DnsType::kAaaa}};
  EXPECT_EQ(EncodeDnsMessage(message),
            "\x12\x34\1\0\0\1\0\0\0\0\0\0\3www\4test\0\0\x1c\0\1"s);
  message.response = true;
  message.answers = {
      CnameRecord(Name("www.test"), Name("b.test"), 256),
      AddressRecord(Name("b.test"), IpAddress::FromIpv4(0x0a000007), 60)};
  EXPECT_EQ(EncodeDnsMessage(message),
            "\x12\x34\x81\0\0\1\0\2\0\0\0\0\3www\4test\0\0\x1c\0\1"
            "\xc0\x0c\0\5\0\1\0\0\1\0\0\4\1b\xc0\x10"
            "\xc0\x26\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0\7"s);
}

TEST(DnsMessage, ComesBackAsItWas) {
  DnsMessage message;
  message.id = 0xffff;
  message.response = true;
  message.opcode = 2;
  message.truncated = true;
  message.code = DnsCode::kRefused;
  message.questions = {{Name("A.test"), DnsType::kAny, 3}};
  for (int i = 0; i != 3000; ++i) {
    // Beyond what compression can refer to.
    message.answers.push_back(
        CnameRecord(Name("n" + std::to_string(i) + ".test"),
                    Name("m" + std::to_string(i) + ".a.test"), 5));
  }
  IpAddress::Ipv6Bytes bytes = {0xfd, 1};
  message.authorities = {SoaRecord(Name("test"), 30), SoaRecord(DnsName(), 0)};
  message.additionals = {
      AddressRecord(Name("A.test"), IpAddress::FromIpv6(bytes), 0xffffffff),
      OptRecord(4096),
      {Name("x"), static_cast<DnsType>(4711), 9, 8, "any\0thing"s},
      {Name("x"), DnsType::kMx, 1, 8, "\0\1\1y\0"s}};
  EXPECT_EQ(Decoded(EncodeDnsMessage(message)), message);
  EXPECT_EQ(AddressOf(message.additionals[0])->ToString(), "fd01::");
}

TEST(DnsMessage, DataThatShouldBeANameIsWrittenAsItIs) {
  DnsMessage message;
  for (const std::string& data :
       {""s, "\3ab"s, "\x40"s + std::string(64, 'a') + "\0"s, "\xc0\0"s}) {
    message.answers = {{Name("a"), DnsType::kCname, 1, 0, data}};
    std::string bytes = EncodeDnsMessage(message);
    EXPECT_EQ(bytes.substr(bytes.size() - data.size()), data);
    EXPECT_EQ(TargetOf(message.answers[0]), std::nullopt);
  }
}

TEST(DnsMessage, OneThatEndsEarlyIsNone) {
  DnsMessage message;
  message.questions = {{Name("www.test"), DnsType::kA}};
  message.answers = {CnameRecord(Name("www.test"), Name("b.test"), 1)};
  message.additionals = {OptRecord(512)};
  std::string bytes = EncodeDnsMessage(message);
  for (size_t size = 0; size != bytes.size(); ++size) {
    EXPECT_FALSE(DecodeDnsMessage(bytes.substr(0, size)).ok()) << size;
  }
  EXPECT_WRONG(bytes + "x", "more bytes follow the message");
}

TEST(DnsMessage, ANameMayOnlyReferBackwards) {
  // Itself, and further on.
  EXPECT_WRONG(Header(1, 0) + "\xc0\x0c\0\1\0\1"s,
               "at byte 12: a name refers to itself or forwards");
  EXPECT_WRONG(Header(1, 0) + "\xc0\x0e\0\1\0\1"s, "forwards");
  // A label, and then itself: a name without end.
  EXPECT_WRONG(Header(1, 0) + "\1a\xc0\x0c\0\1\0\1"s, "forwards");
  // Two that refer to each other.
  EXPECT_WRONG(Header(2, 0) + "\1a\xc0\x12\0\1\1b\xc0\x0c\0\1\0\1"s,
               "forwards");
}

TEST(DnsMessage, ANameDoesNotReferToOthersForEver) {
  std::string bytes = Header(1, 1) + "\1a\0\0\1\0\1"s;
  size_t before = 12;
  // In the data of a record, which nobody reads as names but the last.
  bytes += "\0\x27\x0f\0\1\0\0\0\0\1\x90"s;
  for (int i = 0; i != 200; ++i) {
    size_t at = bytes.size();
    bytes += static_cast<char>(0xc0 | before >> 8);
    bytes += static_cast<char>(before);
    before = at;
  }
  bytes[11] = 1;
  bytes += static_cast<char>(0xc0 | before >> 8);
  bytes += static_cast<char>(before);
  bytes += "\0\1\0\1\0\0\0\0\0\0"s;
  EXPECT_WRONG(bytes, "refers to others too often");
}

TEST(DnsMessage, OtherMistakesOfNamesAndRecords) {
  EXPECT_WRONG(Header(1, 0) + "\x41"s + std::string(70, 'a'),
               "this kind of label does not exist");
  EXPECT_WRONG(Header(1, 0) + "\x3f"s, "ends within a name");
  EXPECT_WRONG(Header(1, 0) + "\xc0"s, "ends within a name");
  std::string label = "\x3f"s + std::string(63, 'a');
  EXPECT_WRONG(Header(1, 0) + label + label + label + label + "\0\0\1\0\1"s,
               "longer than 255 bytes");
  EXPECT_WRONG(Header(0, 1) + "\0\0\5\0\1\0\0\0\0\0\2\3abc\0"s,
               "the data of a record is longer than it says");
  EXPECT_WRONG(Header(0, 1) + "\0\0\1\0\1\0\0\0\0\0\5abcd"s,
               "ends within the data of a record");
  EXPECT_WRONG(Header(0, 255), "ends within");
}

TEST(DnsRecord, OnlyGoodAddressesAreAddresses) {
  EXPECT_EQ(AddressOf({Name("a"), DnsType::kA, 1, 0, "abc"}), std::nullopt);
  EXPECT_EQ(AddressOf({Name("a"), DnsType::kAaaa, 1, 0, "abcd"}), std::nullopt);
  EXPECT_EQ(AddressOf({Name("a"), DnsType::kTxt, 1, 0, "abcd"}), std::nullopt);
}

TEST(DnsType, HasAName) {
  EXPECT_EQ(DnsTypeName(DnsType::kAaaa), "AAAA");
  EXPECT_EQ(DnsTypeName(static_cast<DnsType>(4711)), "TYPE4711");
}

}  // namespace
}  // namespace aios::sim
