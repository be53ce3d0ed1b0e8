// What is read from the answers of name servers, and what cannot be.

#include "aios/dns_answer.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/names/dns_peer.h"

namespace aios::test {
namespace {

std::string Answer(const std::vector<DnsRecord>& records) {
  return DnsAnswer({.sender = {}, .name = "host.example"}, records);
}

// The addresses and the time to live, or "malformed".
std::string Read(std::string_view message, Family family = Family::kIpv4) {
  std::optional<DnsAddresses> found =
      ReadDnsAddresses(message, "host.example", family);
  if (!found.has_value()) return "malformed";
  if (found->addresses.empty()) return "none";
  std::string text;
  for (const IpAddress& ip : found->addresses) {
    absl::StrAppend(&text, ip.ToString(), " ");
  }
  return absl::StrCat(text, found->ttl_seconds);
}

TEST(DnsAnswerTest, AddressesOfTheFamilyAndTheLeastTimeToLive) {
  std::string answer = Answer({AddressRecord("host.example", "192.0.2.1", 60),
                               AddressRecord("HOST.Example", "192.0.2.2", 50),
                               AddressRecord("host.example", "2001:db8::1", 40),
                               AliasRecord("other.example", "x", 1)});
  EXPECT_EQ(Read(answer), "192.0.2.1 192.0.2.2 50");
  EXPECT_EQ(Read(answer, Family::kIpv6), "2001:db8::1 40");
  EXPECT_EQ(Read(Answer({})), "none");
}

TEST(DnsAnswerTest, AnAddressCountsOnce) {
  EXPECT_EQ(Read(Answer({AddressRecord("host.example", "192.0.2.1", 60),
                         AddressRecord("host.example", "192.0.2.2", 60),
                         AddressRecord("host.example", "192.0.2.1", 30)})),
            "192.0.2.1 192.0.2.2 30");
  std::vector<DnsRecord> many;
  for (int i = 0; i != 100; ++i) {
    many.push_back(AddressRecord("host.example", absl::StrCat("192.0.2.", i)));
  }
  EXPECT_EQ(ReadDnsAddresses(Answer(many), "host.example", Family::kIpv4)
                ->addresses.size(),
            32u);
}

TEST(DnsAnswerTest, RecordsOfOtherNamesDoNotCount) {
  EXPECT_EQ(Read(Answer({AddressRecord("victim.example", "192.0.2.66"),
                         AddressRecord("xhost.example", "192.0.2.66"),
                         AddressRecord("example", "192.0.2.66"),
                         AliasRecord("victim.example", "host.example")})),
            "none");
}

TEST(DnsAnswerTest, AliasesAreFollowedInAnyOrder) {
  std::vector<DnsRecord> records = {AddressRecord("c.*.x", "192.0.2.1", 300),
                                    AliasRecord("*.x", "c.*.x", 20),
                                    AliasRecord("host.example", "*.x", 30)};
  EXPECT_EQ(Read(Answer(records)), "192.0.2.1 20");
  std::vector<DnsRecord> reversed(records.rbegin(), records.rend());
  EXPECT_EQ(Read(Answer(reversed)), "192.0.2.1 20");
  // An alias has no addresses of its own.
  records.push_back(AddressRecord("host.example", "192.0.2.66"));
  EXPECT_EQ(Read(Answer(records)), "192.0.2.1 20");
}

TEST(DnsAnswerTest, AliasesThatLeadNowhereOrRound) {
  EXPECT_EQ(Read(Answer({AliasRecord("host.example", "b.example")})), "none");
  EXPECT_EQ(Read(Answer({AliasRecord("host.example", "b.example"),
                         AliasRecord("b.example", "host.example")})),
            "none");
  EXPECT_EQ(Read(Answer({AliasRecord("host.example", "host.example"),
                         AddressRecord("host.example", "192.0.2.1")})),
            "192.0.2.1 300");
}

TEST(DnsAnswerTest, ADotWithinALabelIsNoneBetweenTwo) {
  std::string answer = Answer({});
  answer[7] = 1;
  answer += std::string("\x0chost.example\0\0\1\0\1\0\0\0\1\0\4abcd", 29);
  EXPECT_EQ(Read(answer), "none");
}

TEST(DnsAnswerTest, ATimeToLiveThatWouldBeNegativeIsZero) {
  EXPECT_EQ(
      Read(Answer({AddressRecord("host.example", "192.0.2.1", 0x80000000)})),
      "192.0.2.1 0");
}

TEST(DnsAnswerTest, WhatIsCutOffAnywhereMakesNoSense) {
  std::string answer = Answer({AliasRecord("host.example", "b.example"),
                               AddressRecord("b.example", "192.0.2.1")});
  for (size_t size = 0; size != answer.size(); ++size) {
    EXPECT_EQ(Read(answer.substr(0, size)), "malformed") << size;
  }
  EXPECT_EQ(Read(answer + "more"), "192.0.2.1 300");
}

TEST(DnsAnswerTest, DataOfAnotherSizeMakesNoSense) {
  for (size_t size : {0, 3, 5, 16}) {
    DnsRecord record = AddressRecord("host.example", "192.0.2.1");
    record.data.resize(size);
    EXPECT_EQ(Read(Answer({record})), "malformed") << size;
  }
  DnsRecord alias = AliasRecord("host.example", "b.example");
  alias.data += "x";
  EXPECT_EQ(Read(Answer({alias})), "malformed");
}

// A message whose one record has the name that is given in its form there.
std::string WithName(std::string_view name) {
  std::string answer = Answer({});
  answer[7] = 1;
  answer += name;
  answer += std::string("\0\1\0\1\0\0\0\1\0\4abcd", 14);
  return answer;
}

TEST(DnsAnswerTest, NamesAreReadThroughReferences) {
  EXPECT_EQ(Read(WithName("\xc0\x0c")), "97.98.99.100 1");
  EXPECT_EQ(Read(WithName("\4HOST\xc0\x11")), "97.98.99.100 1");
  // To itself, beyond itself, beyond the end, and an unknown kind of label.
  size_t at = Answer({}).size();
  EXPECT_EQ(Read(WithName(std::string("\xc0") + static_cast<char>(at))),
            "malformed");
  EXPECT_EQ(Read(WithName(std::string("\1a\xc0") + static_cast<char>(at))),
            "malformed");
  EXPECT_EQ(Read(WithName("\xff\xff")), "malformed");
  EXPECT_EQ(Read(WithName(std::string("\x41x\0", 3))), "malformed");
}

TEST(DnsAnswerTest, LongNamesAndLongChainsOfReferencesMakeNoSense) {
  std::string labels;
  for (int i = 0; i != 127; ++i) labels += "\1a";
  EXPECT_EQ(Read(WithName(labels + '\0')), "none");
  EXPECT_EQ(Read(WithName("\1b" + labels + '\0')), "malformed");
  // Each record has the name of the one before it.
  for (int count : {100, 200}) {
    std::string answer = Answer({});
    answer[6] = static_cast<char>(count >> 8);
    answer[7] = static_cast<char>(count);
    size_t name = 12;
    for (int i = 0; i != count; ++i) {
      size_t here = answer.size();
      answer.push_back(static_cast<char>(0xc0 | name >> 8));
      answer.push_back(static_cast<char>(name));
      answer += std::string("\0\1\0\1\0\0\0\1\0\4abcd", 14);
      name = here;
    }
    EXPECT_EQ(Read(answer), count == 100 ? "97.98.99.100 1" : "malformed");
  }
}

TEST(DnsAnswerTest, TheQuestionOfAMessage) {
  DnsQuery query = {
      .sender = {}, .name = "Host.EXAMPLE", .type = DnsType::kAaaa};
  std::string message = DnsAnswer(query, {AddressRecord("x", "192.0.2.1")});
  std::optional<DnsQuestion> question = ReadDnsQuestion(message);
  ASSERT_TRUE(question.has_value());
  EXPECT_EQ(question->name, "host.example");
  EXPECT_EQ(question->type, 28);
  EXPECT_EQ(question->end, size_t{12 + 14 + 4});
  for (size_t size = 0; size != question->end; ++size) {
    EXPECT_FALSE(ReadDnsQuestion(message.substr(0, size)).has_value()) << size;
  }
  message[5] = 0;
  EXPECT_FALSE(ReadDnsQuestion(message).has_value());
}

}  // namespace
}  // namespace aios::test
