// Lookups of names, on every kernel, with a name server of the test's own.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/names/names_test.h"

namespace aios::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

using Addresses = std::vector<std::string>;

constexpr Nanoseconds kSecond = 1'000'000'000;

class LookupTest : public NamesTest {};

INSTANTIATE_TEST_SUITE_P(All, LookupTest, testing::ValuesIn(AllKernels()),
                         NameOf);

TEST_P(LookupTest, FindsTheAddressesOfAName) {
  server_.Add("host.example", "192.0.2.7");
  auto looked = Finish("host.example");
  EXPECT_EQ(looked->error, Error());
  EXPECT_EQ(looked->addresses, Addresses{"192.0.2.7:80"});
  EXPECT_THAT(server_.log(), ElementsAre("host.example A"));
  EXPECT_TRUE(looked->lookup->ended());
  RunFor();
  EXPECT_EQ(looked->calls, 1);
}

TEST_P(LookupTest, BothFamiliesAreAskedFor) {
  server_.Add("host.example", "192.0.2.7");
  server_.Add("host.example", "2001:db8::7");
  auto looked = Finish("host.example", LookupFamily::kBoth);
  EXPECT_THAT(looked->addresses,
              UnorderedElementsAre("192.0.2.7:80", "[2001:db8::7]:80"));
  EXPECT_THAT(server_.log(),
              UnorderedElementsAre("host.example A", "host.example AAAA"));
}

TEST_P(LookupTest, OneFamilyIsEnough) {
  server_.Add("host.example", "192.0.2.7");
  auto looked = Finish("host.example", LookupFamily::kBoth);
  EXPECT_EQ(looked->addresses, Addresses{"192.0.2.7:80"});
}

// ---- The order of sources.

TEST_P(LookupTest, AddressesNeedNoServer) {
  for (const auto& [host, expected] :
       std::vector<std::pair<std::string, std::string>>{
           {"192.0.2.1", "192.0.2.1:80"},
           {"2001:db8::1", "[2001:db8::1]:80"},
           {"fe80::1%7", "[fe80::1%7]:80"}}) {
    auto looked = Finish(host, LookupFamily::kBoth);
    EXPECT_EQ(looked->addresses, Addresses{expected});
  }
  EXPECT_EQ(server_.queries(), 0u);
  EXPECT_TRUE(
      IsRefusal(Start("192.0.2.1", 80, {.family = LookupFamily::kIpv6})->status,
                absl::StatusCode::kInvalidArgument, {"192.0.2.1", "family"}));
}

TEST_P(LookupTest, LocalhostIsTheLoopbackWhateverOthersSay) {
  files_.files["/etc/hosts"] = "192.0.2.66 localhost evil.localhost\n";
  server_.Add("localhost", "192.0.2.66");
  for (std::string name :
       {"localhost", "LocalHost.", "evil.localhost", "a.b.localhost."}) {
    EXPECT_EQ(Finish(name)->addresses, Addresses{"127.0.0.1:80"}) << name;
    EXPECT_THAT(Finish(name, LookupFamily::kBoth)->addresses,
                UnorderedElementsAre("127.0.0.1:80", "[::1]:80"));
  }
  EXPECT_EQ(server_.queries(), 0u);
  // Not of that kind.
  EXPECT_EQ(Finish("localhost.example")->error,
            Error(LookupError::kNoSuchName));
}

TEST_P(LookupTest, TheHostsFileComesBeforeTheServer) {
  files_.files["/etc/hosts"] =
      "192.0.2.1 Host.example\n192.0.2.2 host.example\n";
  server_.Add("host.example", "192.0.2.66");
  server_.Add("host.example", "2001:db8::66");
  for (std::string name : {"host.example", "HOST.example", "host.example."}) {
    EXPECT_THAT(Finish(name)->addresses,
                UnorderedElementsAre("192.0.2.1:80", "192.0.2.2:80"));
  }
  auto looked = Finish("host.example", LookupFamily::kIpv6);
  EXPECT_EQ(looked->error, Error(LookupError::kNoAddress))
      << "the file speaks for both families";
  EXPECT_EQ(server_.queries(), 0u);
}

TEST_P(LookupTest, TheHostsFileIsLookedAtAgain) {
  files_.files["/etc/hosts"] = "192.0.2.1 host.example\n";
  EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.1:80"});
  files_.files["/etc/hosts"] = "192.0.2.2 host.example\n";
  EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.1:80"});
  if (!world().simulated()) return;  // time is dear there
  Pass(absl::Seconds(5));
  EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.2:80"});
}

TEST_P(LookupTest, TheSystemsConfigurationIsReadThroughTheKernel) {
  ResolverOptions options = Options();
  options.servers.reset();
  Configure(options);
  auto looked = Finish("host.example");
  EXPECT_EQ(looked->error, Error(LookupError::kNotConfigured));
  EXPECT_EQ(looked->detail,
            "host name \"host.example\" cannot be resolved: no name server is "
            "configured (NAME_NOT_CONFIGURED)");
  // What the options say goes before what the file says.
  files_.files["/etc/resolv.conf"] =
      "nameserver 192.0.2.66\nsearch wrong.example\noptions timeout:30\n";
  options = Options();
  options.search_domains = {"right.example"};
  Configure(options);
  server_.Add("host.right.example", "192.0.2.1");
  EXPECT_EQ(Finish("host")->addresses, Addresses{"192.0.2.1:80"});
  options = Options();
  Configure(options);
  server_.Add("host.wrong.example", "192.0.2.2");
  EXPECT_EQ(Finish("host")->addresses, Addresses{"192.0.2.2:80"});
}

TEST_P(LookupTest, NoServersMeansNone) {
  ResolverOptions options = Options();
  options.servers = std::vector<SocketAddress>();
  files_.files["/etc/resolv.conf"] = "nameserver 192.0.2.66\n";
  Configure(options);
  EXPECT_EQ(Finish("host.example")->error, Error(LookupError::kNotConfigured));
  EXPECT_EQ(Finish("localhost")->addresses, Addresses{"127.0.0.1:80"});
}

TEST_P(LookupTest, SearchDomainsAreTriedInOrder) {
  ResolverOptions options = Options();
  options.search_domains = {"one.example", "two.example"};
  Configure(options);
  server_.Add("host.two.example", "192.0.2.1");
  EXPECT_EQ(Finish("host")->addresses, Addresses{"192.0.2.1:80"});
  EXPECT_THAT(server_.log(),
              ElementsAre("host.one.example A", "host.two.example A"));
  // With a dot first as it is, with a final dot only so.
  EXPECT_EQ(Finish("a.b")->error, Error(LookupError::kNoSuchName));
  EXPECT_EQ(Finish("host.")->error, Error(LookupError::kNoSuchName));
  EXPECT_THAT(server_.log(),
              ElementsAre("host.one.example A", "host.two.example A", "a.b A",
                          "a.b.one.example A", "a.b.two.example A", "host A"));
}

// ---- One search a name: which name it stands for does not depend on families.

TEST_P(LookupTest, TheSearchEndsAtTheFirstNameWithAnAddressOfEitherFamily) {
  server_.Add("www.shop.test", "192.0.2.1");
  server_.Add("www.shop.test.corp.test", "2001:db8::66");
  server_.Add("db.corp.test", "2001:db8::1");
  server_.Add("db.shop.test", "192.0.2.66");
  for (int ndots : {1, 5}) {
    ResolverOptions options = Options();
    options.search_domains = {"corp.test", "shop.test"};
    options.ndots = ndots;
    Configure(options);
    if (ndots == 1) {
      EXPECT_EQ(Finish("www.shop.test", LookupFamily::kBoth)->addresses,
                Addresses{"192.0.2.1:80"});
      EXPECT_EQ(Finish("www.shop.test", LookupFamily::kIpv6)->error,
                Error(LookupError::kNoAddress));
    }
    EXPECT_EQ(Finish("db", LookupFamily::kBoth)->addresses,
              Addresses{"[2001:db8::1]:80"});
    EXPECT_EQ(Finish("db", LookupFamily::kIpv4)->error,
              Error(LookupError::kNoAddress));
  }
}

TEST_P(LookupTest, ALookupInOneFamilyAsksForTheOtherBeforeItGoesOn) {
  ResolverOptions options = Options();
  options.search_domains = {"one.test", "two.test", "three.test"};
  Configure(options);
  server_.Add("db.two.test", "2001:db8::1");
  server_.Add("db.three.test", "192.0.2.66");
  // Whoever asks for one family first and then for the other hears of one host.
  EXPECT_EQ(Finish("db", LookupFamily::kIpv4)->error,
            Error(LookupError::kNoAddress));
  EXPECT_THAT(server_.log(), ElementsAre("db.one.test A", "db.two.test A",
                                         "db.two.test AAAA"));
  EXPECT_EQ(Finish("db", LookupFamily::kIpv6)->addresses,
            Addresses{"[2001:db8::1]:80"});
  EXPECT_EQ(server_.queries(), 3u) << "it was asked already";
  // Nothing can come of asking when there is no other candidate.
  options.search_domains = {"two.test"};
  options.ndots = 0;
  Configure(options);
  server_.Add("six.two.test", "2001:db8::1");
  EXPECT_EQ(Finish("six.two.test.", LookupFamily::kIpv4)->error,
            Error(LookupError::kNoAddress));
  EXPECT_EQ(server_.log().back(), "six.two.test A");
}

TEST_P(LookupTest, TheOtherFamilyIsAskedOfTheNameThatWasFound) {
  ResolverOptions options = Options();
  options.search_domains = {"one.test", "two.test"};
  options.ttl_max = absl::Hours(1);
  Configure(options);
  server_.Add("db.two.test", "192.0.2.1");
  EXPECT_EQ(Finish("db", LookupFamily::kIpv4)->addresses,
            Addresses{"192.0.2.1:80"});
  // It exists from now on, in the one family alone.
  server_.Add("db.one.test", "2001:db8::66");
  EXPECT_EQ(Finish("db", LookupFamily::kBoth)->addresses,
            Addresses{"192.0.2.1:80"});
  EXPECT_THAT(server_.log(), ElementsAre("db.one.test A", "db.two.test A",
                                         "db.two.test AAAA"));
}

TEST_P(LookupTest, WhatExistsInOneFamilyExists) {
  // As some servers answer that know of IPv4 alone.
  server_.set_handler([&](const DnsQuery& query) {
    if (query.type != DnsType::kA) {
      return DnsAnswer(query, {}, DnsCode::kNoSuchName);
    }
    return DnsAnswer(query, {AddressRecord(query.name, "192.0.2.7")});
  });
  EXPECT_EQ(Finish("host.example", LookupFamily::kBoth)->addresses,
            Addresses{"192.0.2.7:80"});
  EXPECT_EQ(Finish("host.example", LookupFamily::kIpv6)->error,
            Error(LookupError::kNoAddress));
}

TEST_P(LookupTest, WhoAsksForTheOtherFamilyJoinsTheSearch) {
  ResolverOptions options = Options();
  options.search_domains = {"one.test", "two.test"};
  Configure(options);
  server_.Add("db.two.test", "192.0.2.1");
  server_.Add("db.two.test", "2001:db8::1");
  server_.Hold();
  auto four = Start("db", 80, {.family = LookupFamily::kIpv4});
  ASSERT_TRUE(ServeUntil([&] { return server_.queries() == 1; }));
  auto six = Start("db", 80, {.family = LookupFamily::kIpv6});
  ASSERT_TRUE(ServeUntil([&] { return server_.queries() == 2; }));
  server_.Release();
  ASSERT_TRUE(ServeUntil([&] { return four->calls != 0 && six->calls != 0; }));
  EXPECT_EQ(four->addresses, Addresses{"192.0.2.1:80"});
  EXPECT_EQ(six->addresses, Addresses{"[2001:db8::1]:80"});
  EXPECT_EQ(server_.queries(), 4u);
}

TEST_P(LookupTest, TheTimeoutGivesWhatOneFamilyHasAnswered) {
  server_.set_handler([&](const DnsQuery& query) -> std::string {
    if (query.type != DnsType::kA) return "";
    return DnsAnswer(query, {AddressRecord(query.name, "192.0.2.7")});
  });
  Nanoseconds start = Now();
  auto looked = Start("host.example", 80, {.timeout = absl::Milliseconds(100)});
  ASSERT_TRUE(ServeUntil([&] { return looked->calls != 0; }));
  EXPECT_GE(Since(start), absl::Milliseconds(100));
  EXPECT_EQ(looked->error, Error());
  EXPECT_EQ(looked->addresses, Addresses{"192.0.2.7:80"});
}

// ---- What an early error does to the list of names.

TEST_P(LookupTest, AfterAnErrorTheSearchGoesOn) {
  enum Found { kNextOne, kAsItIs };
  struct Case {
    DnsCode code;
    bool silent;
    bool malformed;
    Found found;
    LookupError error;
  };
  for (const Case& c :
       {Case{DnsCode::kServerFailure, false, false, kNextOne,
             LookupError::kServerFailure},
        Case{DnsCode::kNotImplemented, false, false, kNextOne,
             LookupError::kServerFailure},
        Case{DnsCode::kNoError, false, false, kNextOne,
             LookupError::kNoAddress},
        Case{DnsCode::kRefused, false, false, kAsItIs, LookupError::kRefused},
        Case{DnsCode::kNoError, true, false, kAsItIs, LookupError::kTimedOut},
        Case{DnsCode::kNoError, false, true, kAsItIs,
             LookupError::kMalformedAnswer}}) {
    SCOPED_TRACE(absl::StrCat("code ", static_cast<int>(c.code),
                              c.silent ? ", silent" : "",
                              c.malformed ? ", malformed" : ""));
    for (bool exists : {true, false}) {
      for (bool first : {false, true}) {
        ResolverOptions options = Options();
        options.search_domains = {"vpn.test", "good.test"};
        options.timeout = absl::Milliseconds(5);
        options.tries = 1;
        options.ndots = first ? 0 : 5;
        Configure(options);
        server_.set_handler([&](const DnsQuery& query) -> std::string {
          if (query.name == (first ? "db" : "db.vpn.test")) {
            if (c.silent) return "";
            if (!c.malformed) return DnsAnswer(query, {}, c.code);
            std::string answer =
                DnsAnswer(query, {AddressRecord(query.name, "192.0.2.66")});
            answer.pop_back();
            return answer;
          }
          if (exists && query.type == DnsType::kA) {
            if (query.name == "db.good.test") {
              return DnsAnswer(query, {AddressRecord(query.name, "192.0.2.1")});
            }
            if (query.name == "db") {
              return DnsAnswer(query, {AddressRecord(query.name, "192.0.2.2")});
            }
          }
          return DnsAnswer(query, {}, DnsCode::kNoSuchName);
        });
        auto looked = Finish("db", LookupFamily::kBoth);
        if (!exists) {
          EXPECT_EQ(looked->error, Error(c.error)) << looked->detail;
        } else if (first || c.found == kNextOne) {
          EXPECT_EQ(looked->addresses, Addresses{"192.0.2.1:80"});
        } else {
          EXPECT_EQ(looked->addresses, Addresses{"192.0.2.2:80"});
        }
      }
    }
  }
}

TEST_P(LookupTest, ACandidateThatIsTooLongIsPassedOver) {
  std::string long_domain;
  while (long_domain.size() < 245) long_domain += "abcdefg.";
  long_domain += "test";
  ResolverOptions options = Options();
  options.search_domains = {long_domain, "good.test"};
  Configure(options);
  server_.Add("a-long-name.good.test", "192.0.2.1");
  EXPECT_EQ(Finish("a-long-name")->addresses, Addresses{"192.0.2.1:80"});
  EXPECT_THAT(server_.log(), ElementsAre("a-long-name.good.test A"));
}

TEST_P(LookupTest, WhatWasFoundBehindAFailureIsNotKeptForLong) {
  ResolverOptions options = Options();
  options.search_domains = {"vpn.test", "good.test"};
  options.failure_ttl = absl::ZeroDuration();
  Configure(options);
  bool fails = true;
  server_.set_handler([&](const DnsQuery& query) {
    if (query.name == "db.vpn.test" && fails) {
      return DnsAnswer(query, {}, DnsCode::kServerFailure);
    }
    return DnsAnswer(
        query,
        {AddressRecord(query.name, query.name == "db.vpn.test" ? "192.0.2.1"
                                                               : "192.0.2.2")});
  });
  EXPECT_EQ(Finish("db")->addresses, Addresses{"192.0.2.2:80"});
  fails = false;
  EXPECT_EQ(Finish("db")->addresses, Addresses{"192.0.2.1:80"});
}

TEST_P(LookupTest, ASearchDomainOfLocalhostIsTheLoopback) {
  ResolverOptions options = Options();
  options.search_domains = {"localhost"};
  Configure(options);
  EXPECT_EQ(Finish("db")->addresses, Addresses{"127.0.0.1:80"});
  EXPECT_EQ(server_.queries(), 0u);
}

// ---- Configurations that change.

TEST_P(LookupTest, NewQuestionsGoToTheNewServersWhileOldOnesAreUnderWay) {
  DnsPeer other(world(), Family::kIpv4);
  IpAddress old_ip = IpAddress::Parse("192.0.2.53").value();
  IpAddress new_ip = IpAddress::Parse("192.0.2.54").value();
  files_.redirections = {{old_ip, server_.address()},
                         {new_ip, other.address()}};
  files_.files["/etc/resolv.conf"] = "nameserver 192.0.2.53\n";
  ResolverOptions options = Options();
  options.servers.reset();
  options.timeout = absl::Seconds(20);
  options.tries = 1;
  Configure(options);
  server_.Add("old.example", "192.0.2.1");
  other.Add("old.example", "192.0.2.2");
  server_.Hold();
  auto under_way = Start("old.example", 80, {.family = LookupFamily::kIpv4});
  ASSERT_TRUE(ServeUntil([&] { return server_.queries() == 1; }));
  // A new name each second: the channel is never idle.
  files_.files["/etc/resolv.conf"] = "nameserver 192.0.2.54\n";
  std::vector<std::unique_ptr<Looked>> lookups;
  for (int i = 0; i != 8; ++i) {
    lookups.push_back(Start(absl::StrCat("new", i, ".example"), 80,
                            {.family = LookupFamily::kIpv4}));
    files_.later += kSecond;
    server_.Serve();
    other.Serve();
  }
  // Those from the fifth second on.
  ASSERT_TRUE(RunUntil(
      [&] {
        server_.Serve();
        other.Serve();
        return other.queries() >= 2;
      },
      absl::Milliseconds(1)));
  // Who asks the same now does not join the old question.
  auto anew = Start("old.example", 80, {.family = LookupFamily::kIpv4});
  ASSERT_TRUE(RunUntil(
      [&] {
        other.Serve();
        return anew->calls != 0;
      },
      absl::Milliseconds(1)));
  EXPECT_EQ(anew->addresses, Addresses{"192.0.2.2:80"});
  EXPECT_EQ(under_way->calls, 0);
  // The old one ends with the old server, and is not kept.
  server_.Release();
  ASSERT_TRUE(ServeUntil([&] { return under_way->calls != 0; }));
  EXPECT_EQ(under_way->addresses, Addresses{"192.0.2.1:80"});
  anew = Start("old.example", 80, {.family = LookupFamily::kIpv4});
  ASSERT_TRUE(RunUntil([&] { return anew->calls != 0; }));
  EXPECT_EQ(anew->addresses, Addresses{"192.0.2.2:80"});
}

TEST_P(LookupTest, ConfigurationsOfBeforeAreBounded) {
  files_.redirections = {
      {IpAddress::Parse("192.0.2.53").value(), server_.address()}};
  ResolverOptions options = Options();
  options.servers.reset();
  options.timeout = absl::Minutes(1);
  options.tries = 10;
  files_.files["/etc/resolv.conf"] = "nameserver 192.0.2.53\n";
  Configure(options);
  server_.Hold();
  std::vector<std::unique_ptr<Looked>> lookups;
  for (int i = 0; i != 30; ++i) {
    files_.files["/etc/resolv.conf"] =
        absl::StrCat("nameserver 192.0.2.53\noptions ndots:", 1 + i % 2, "\n");
    lookups.push_back(Start(absl::StrCat("host", i, ".example"), 80,
                            {.family = LookupFamily::kIpv4}));
    files_.later += 5 * kSecond;
    RunFor(absl::Milliseconds(1));
  }
  // The oldest have been told that no server has answered in time.
  for (int i = 0; i != 30; ++i) {
    EXPECT_EQ(lookups[i]->calls, i < 30 - 9 ? 1 : 0) << i;
    if (i < 30 - 9) {
      EXPECT_EQ(lookups[i]->error, Error(LookupError::kTimedOut));
    }
  }
}

TEST_P(LookupTest, AnswersDoNotOutliveTheServersAndTheSearchList) {
  DnsPeer other(world(), Family::kIpv4);
  files_.redirections = {
      {IpAddress::Parse("192.0.2.53").value(), server_.address()},
      {IpAddress::Parse("192.0.2.54").value(), other.address()}};
  ResolverOptions options = Options();
  options.servers.reset();
  Configure(options);
  server_.Add("web.old.test", "192.0.2.1", 86400);
  server_.Add("web.new.test", "192.0.2.2", 86400);
  other.Add("web.new.test", "192.0.2.3", 86400);
  auto find = [&] {
    auto looked = Start("web", 80, {.family = LookupFamily::kIpv4});
    EXPECT_TRUE(RunUntil(
        [&] {
          server_.Serve();
          other.Serve();
          return looked->calls != 0;
        },
        absl::Milliseconds(1)));
    return looked->addresses;
  };
  files_.files["/etc/resolv.conf"] = "nameserver 192.0.2.53\nsearch old.test\n";
  EXPECT_EQ(find(), Addresses{"192.0.2.1:80"});
  files_.later += 3600 * kSecond;
  EXPECT_EQ(find(), Addresses{"192.0.2.1:80"});
  EXPECT_EQ(server_.queries(), 1u) << "nothing has changed";
  files_.files["/etc/resolv.conf"] = "nameserver 192.0.2.53\nsearch new.test\n";
  files_.later += 5 * kSecond;
  EXPECT_EQ(find(), Addresses{"192.0.2.2:80"});
  files_.files["/etc/resolv.conf"] = "nameserver 192.0.2.54\nsearch new.test\n";
  files_.later += 5 * kSecond;
  EXPECT_EQ(find(), Addresses{"192.0.2.3:80"});
}

// ---- Answers that are kept, and questions that are joined.

TEST_P(LookupTest, AnswersAreKept) {
  server_.Add("host.example", "192.0.2.7");
  for (int i = 0; i != 3; ++i) {
    EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.7:80"});
    EXPECT_EQ(Finish("HOST.example")->addresses, Addresses{"192.0.2.7:80"});
    EXPECT_EQ(Finish("none.example")->error, Error(LookupError::kNoSuchName));
  }
  EXPECT_EQ(server_.queries(), 2u);
}

TEST_P(LookupTest, AnswersThatExpireAreAskedForAgain) {
  ResolverOptions options = Options();
  options.ttl_min = absl::ZeroDuration();
  options.negative_ttl = absl::ZeroDuration();
  Configure(options);
  server_.Add("host.example", "192.0.2.7", /*ttl=*/0);
  for (int i = 0; i != 3; ++i) {
    EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.7:80"});
    EXPECT_EQ(Finish("none.example")->error, Error(LookupError::kNoSuchName));
  }
  EXPECT_EQ(server_.queries(), 6u);
}

TEST_P(LookupTest, QuestionsOfTheSameNameAreJoined) {
  server_.Add("host.example", "192.0.2.7");
  std::vector<std::unique_ptr<Looked>> all;
  for (int i = 0; i != 100; ++i) {
    all.push_back(Start("host.example", 80, {.family = LookupFamily::kIpv4}));
  }
  ASSERT_TRUE(ServeUntil([&] { return all.back()->calls != 0; }));
  for (const auto& looked : all) {
    EXPECT_EQ(looked->calls, 1);
    EXPECT_EQ(looked->addresses, Addresses{"192.0.2.7:80"});
  }
  EXPECT_EQ(server_.queries(), 1u);
}

TEST_P(LookupTest, SoManyQuestionsAtATime) {
  ResolverOptions options = Options();
  options.questions_max = 4;
  options.questions_waiting_max = 8;
  Configure(options);
  server_.Hold();
  std::vector<std::unique_ptr<Looked>> all;
  for (int i = 0; i != 12; ++i) {
    std::string name = absl::StrCat("host", i, ".example");
    server_.Add(name, "192.0.2.7");
    all.push_back(Start(name, 80, {.family = LookupFamily::kIpv4}));
    ASSERT_OK(all.back()->status);
  }
  auto refused = Start("late.example", 80, {.family = LookupFamily::kIpv4});
  EXPECT_TRUE(IsRefusal(refused->status, absl::StatusCode::kResourceExhausted,
                        {"late.example", "8 lookups are waiting"}));
  EXPECT_OK(Start("host0.example", 80, {.family = LookupFamily::kIpv4})->status)
      << "asks nothing new";
  ASSERT_TRUE(ServeUntil([&] { return server_.queries() == 4; }));
  RunFor();
  server_.Serve();
  EXPECT_EQ(server_.queries(), 4u);
  // One that nobody waits for any more is not asked.
  all[5].reset();
  server_.Release();
  ASSERT_TRUE(ServeUntil([&] { return all.back()->calls != 0; }));
  EXPECT_EQ(server_.queries(), 11u);
}

// ---- Errors.

TEST_P(LookupTest, ErrorsAreToldApart) {
  struct Case {
    DnsCode code;
    LookupError error;
    std::string text;
  };
  for (const Case& c :
       {Case{DnsCode::kNoSuchName, LookupError::kNoSuchName, "no such name"},
        Case{DnsCode::kNoError, LookupError::kNoAddress,
             "no address of this family"},
        Case{DnsCode::kServerFailure, LookupError::kServerFailure,
             "name server failure"},
        Case{DnsCode::kNotImplemented, LookupError::kServerFailure,
             "name server failure"},
        Case{DnsCode::kFormatError, LookupError::kServerFailure,
             "name server failure"},
        Case{DnsCode::kRefused, LookupError::kRefused,
             "refused by the name server"}}) {
    Configure(Options());
    server_.set_handler(
        [&](const DnsQuery& query) { return DnsAnswer(query, {}, c.code); });
    auto looked = Finish("host.example");
    EXPECT_EQ(looked->error, Error(c.error)) << c.text;
    EXPECT_THAT(looked->detail, HasSubstr("\"host.example\""));
    EXPECT_THAT(looked->detail, HasSubstr(c.text));
    EXPECT_EQ(looked->status.message(), looked->detail);
    EXPECT_THAT(looked->addresses, IsEmpty());
  }
}

TEST_P(LookupTest, WhatGoesWrongInOneFamilyAloneTellsMore) {
  server_.set_handler([&](const DnsQuery& query) {
    return DnsAnswer(
        query, {},
        query.type == DnsType::kA ? DnsCode::kNoError : DnsCode::kRefused);
  });
  EXPECT_EQ(Finish("host.example", LookupFamily::kBoth)->error,
            Error(LookupError::kRefused));
}

TEST_P(LookupTest, AMalformedAnswerIsAnErrorOfItsOwn) {
  server_.set_handler([&](const DnsQuery& query) {
    std::string answer =
        DnsAnswer(query, {AddressRecord(query.name, "192.0.2.1")});
    answer.resize(answer.size() - 2);
    return answer;
  });
  EXPECT_EQ(Finish("host.example")->error,
            Error(LookupError::kMalformedAnswer));
}

TEST_P(LookupTest, ASilentServerIsATimeout) {
  ResolverOptions options = Options();
  options.timeout = absl::Milliseconds(5);
  options.tries = 2;
  Configure(options);
  server_.Hold();
  Nanoseconds start = Now();
  auto looked = Finish("host.example");
  EXPECT_EQ(looked->error, Error(LookupError::kTimedOut));
  EXPECT_GE(Since(start), absl::Milliseconds(15)) << "5 ms and then 10 ms";
  EXPECT_EQ(server_.queries(), 2u);
}

TEST_P(LookupTest, AServerThatIsNotThereCannotBeReached) {
  ResolverOptions options = Options();
  options.servers = {
      {world().RefusingAddress(SocketType::kDatagram, Family::kIpv4)}};
  Configure(options);
  EXPECT_EQ(Finish("host.example")->error, Error(LookupError::kUnreachable));
  // Questions share a socket; each learns of it at once.
  Nanoseconds start = Now();
  for (int i = 0; i != 5; ++i) {
    EXPECT_EQ(Finish(absl::StrCat("host", i), LookupFamily::kBoth)->error,
              Error(LookupError::kUnreachable));
  }
  EXPECT_LT(Since(start), absl::Seconds(2)) << "no timeout";
}

TEST_P(LookupTest, TheNextServerIsAsked) {
  ResolverOptions options = Options();
  options.servers = {
      {world().RefusingAddress(SocketType::kDatagram, Family::kIpv4),
       server_.address()}};
  Configure(options);
  server_.Add("host.example", "192.0.2.7");
  EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.7:80"});
}

TEST_P(LookupTest, AServerOfIpv6) {
  AIOS_NEEDS_FAMILY(world(), Family::kIpv6);
  DnsPeer server(world(), Family::kIpv6);
  server.Add("host.example", "192.0.2.7");
  ResolverOptions options = Options();
  options.servers = {{server.address()}};
  Configure(options);
  auto looked = Start("host.example", 80, {.family = LookupFamily::kIpv4});
  ASSERT_TRUE(RunUntil(
      [&] {
        server.Serve();
        return looked->calls != 0;
      },
      absl::Milliseconds(1)));
  EXPECT_EQ(looked->addresses, Addresses{"192.0.2.7:80"});
}

TEST_P(LookupTest, AServerThatDoesNotKnowEdnsIsAskedWithout) {
  server_.set_handler([&](const DnsQuery& query) {
    if (query.edns) return DnsAnswer(query, {}, DnsCode::kFormatError);
    if (query.type != DnsType::kA) return DnsAnswer(query, {});
    return DnsAnswer(query, {AddressRecord(query.name, "192.0.2.7")});
  });
  std::vector<std::unique_ptr<Looked>> all;
  for (int i = 0; i != 5; ++i) {
    all.push_back(Start(absl::StrCat("host", i, ".example")));
  }
  ASSERT_TRUE(ServeUntil([&] {
    return std::all_of(all.begin(), all.end(),
                       [](const auto& looked) { return looked->calls != 0; });
  }));
  for (const auto& looked : all) {
    EXPECT_EQ(looked->addresses, Addresses{"192.0.2.7:80"});
  }
}

TEST_P(LookupTest, AnEmptyDatagramAnswersNothing) {
  server_.Hold();
  server_.Add("host.example", "192.0.2.7");
  auto looked = Start("host.example", 80, {.family = LookupFamily::kIpv4});
  ASSERT_TRUE(ServeUntil([&] { return server_.queries() == 1; }));
  for (int i = 0; i != 200; ++i) server_.SendToLast("");
  RunFor();
  EXPECT_EQ(looked->calls, 0);
  server_.Release();
  ASSERT_TRUE(ServeUntil([&] { return looked->calls != 0; }));
  EXPECT_EQ(looked->addresses, Addresses{"192.0.2.7:80"});
  EXPECT_EQ(server_.queries(), 1u);
}

TEST_P(LookupTest, AliasesAreFollowedWithinTheAnswer) {
  server_.set_handler([&](const DnsQuery& query) {
    return DnsAnswer(query, {AliasRecord(query.name, "b.example"),
                             AliasRecord("b.example", "c.example"),
                             AddressRecord("c.example", "192.0.2.7"),
                             AddressRecord("d.example", "192.0.2.66")});
  });
  EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.7:80"});
}

TEST_P(LookupTest, NamesInAnswersNeedNotBeNamesOfHosts) {
  // CNAMEs to and from names that no host can have.
  for (std::string target : {"*.x", "a b.x", "{}.x", "-.x", "\x01.x"}) {
    Configure(Options());
    server_.set_handler([&](const DnsQuery& query) {
      return DnsAnswer(query, {AliasRecord(query.name, target),
                               AliasRecord(target, "c.example"),
                               AddressRecord("c.example", "192.0.2.7")});
    });
    EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.7:80"})
        << target;
    Configure(Options());
    server_.set_handler([&](const DnsQuery& query) {
      return DnsAnswer(query, {AliasRecord(query.name, target),
                               AddressRecord(target, "192.0.2.7")});
    });
    EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.7:80"})
        << target;
  }
}

TEST_P(LookupTest, AnAddressThatIsThereTwiceIsGivenOnce) {
  server_.set_handler([&](const DnsQuery& query) {
    std::string ip = query.type == DnsType::kA ? "192.0.2.7" : "2001:db8::7";
    return DnsAnswer(
        query, {AddressRecord(query.name, ip), AddressRecord(query.name, ip),
                AddressRecord(query.name, ip)});
  });
  EXPECT_THAT(Finish("host.example", LookupFamily::kBoth)->addresses,
              UnorderedElementsAre("192.0.2.7:80", "[2001:db8::7]:80"));
}

// ---- Ending.

TEST_P(LookupTest, TheTimeoutEndsIt) {
  server_.Hold();
  Nanoseconds start = Now();
  auto looked = Start("host.example", 80, {.timeout = absl::Milliseconds(20)});
  ASSERT_TRUE(ServeUntil([&] { return looked->calls != 0; }));
  EXPECT_EQ(looked->error, Error(LookupError::kTimedOut));
  EXPECT_GE(Since(start), absl::Milliseconds(20));
  server_.Release();
  RunFor();
  EXPECT_EQ(looked->calls, 1);
}

TEST_P(LookupTest, CancelEndsItWithItsCallback) {
  server_.Hold();
  auto looked = Start("host.example");
  looked->lookup->Cancel();
  EXPECT_EQ(looked->calls, 0) << "not inside the call";
  ASSERT_TRUE(RunUntil([&] { return looked->calls != 0; }));
  EXPECT_EQ(looked->error, Error(LookupError::kCancelled));
  looked->lookup->Cancel();
  server_.Release();
  RunFor();
  EXPECT_EQ(looked->calls, 1);
}

TEST_P(LookupTest, DestroyingItEndsItSilently) {
  server_.Hold();
  auto looked = Start("host.example");
  looked->lookup.reset();
  server_.Release();
  RunFor();
  EXPECT_EQ(looked->calls, 0);
}

TEST_P(LookupTest, ClosingTheCollectionEndsItSilently) {
  server_.Hold();
  auto looked = Start("host.example");
  ASSERT_TRUE(ServeUntil([&] { return server_.queries() == 2; }));
  collection().Close();
  server_.Release();
  RunFor();
  EXPECT_EQ(looked->calls, 0);
  EXPECT_TRUE(looked->lookup->ended());
  auto again = Start("host.example");
  ASSERT_TRUE(ServeUntil([&] { return again->calls != 0; }));
}

TEST_P(LookupTest, TheCollectionMayGoFirst) {
  server_.Hold();
  auto looked = Start("host.example");
  DestroyCollection();
  EXPECT_TRUE(looked->lookup->ended());
  looked->lookup.reset();
  EXPECT_EQ(looked->calls, 0);
}

TEST_P(LookupTest, MayBeDestroyedAndStartedInItsCallback) {
  server_.Add("host.example", "192.0.2.7");
  std::unique_ptr<Lookup> first;
  std::unique_ptr<Lookup> second;
  int calls = 0;
  absl::StatusOr<std::unique_ptr<Lookup>> made =
      LookUp(collection(), "host.example", 80, [&](const LookupResult& result) {
        first.reset();
        EXPECT_TRUE(result.ok());
        EXPECT_EQ(result.addresses.size(), 1u);
        absl::StatusOr<std::unique_ptr<Lookup>> again =
            LookUp(collection(), "other.example", 80,
                   [&](const LookupResult&) { calls += 10; });
        ASSERT_OK(again);
        second = *std::move(again);
        ++calls;
      });
  ASSERT_OK(made);
  first = *std::move(made);
  ASSERT_TRUE(ServeUntil([&] { return calls == 11; }));
}

// ---- Bad input.

TEST_P(LookupTest, NamesThatAreNone) {
  const std::string label(64, 'a');
  std::string long_name;
  while (long_name.size() < 254) long_name += "abc.";
  for (const auto& [name, why] :
       std::vector<std::pair<std::string, std::string>>{
           {"", "empty"},
           {".", "empty"},
           {"a..b", "empty label"},
           {".a", "empty label"},
           {"a..", "empty label"},
           {long_name, "longer than 253"},
           {label + ".example", "63"},
           {std::string("a\0b", 3), "NUL"},
           {"a b", "white space"},
           {" ", "white space"},
           {"a\tb", "white space"},
           {"b\xc3\xbc"
            "cher.example",
            "ASCII"},
           {"1.2.3", "looks like an IP address"},
           {"127.1", "looks like an IP address"},
           {"0x7f.1", "looks like an IP address"},
           {"0x7f000001", "looks like an IP address"},
           {"2130706433", "looks like an IP address"},
           {"1.2.3.4.", "looks like an IP address"},
           {"host.0x1", "looks like an IP address"},
           {"fe80::1%none", "none"},
           {"fe80::1%", ""},
           {"host.example:80", "port"},
           {"http://host.example", ""}}) {
    auto looked = Start(name);
    EXPECT_TRUE(IsRefusal(looked->status, absl::StatusCode::kInvalidArgument,
                          {"LookUp of ", why}))
        << name;
  }
  server_.Serve();
  EXPECT_EQ(server_.queries(), 0u);
}

TEST_P(LookupTest, NamesThatAreSome) {
  server_.set_handler([&](const DnsQuery& query) {
    return DnsAnswer(query, {AddressRecord(query.name, "192.0.2.7")});
  });
  std::string label(63, 'a');
  std::string longest =
      label + "." + label + "." + label + "." + std::string(61, 'b');
  for (std::string name :
       {std::string("host.example."), std::string("_x._udp.example"),
        std::string("xn--bcher-kva.example"), std::string("1.2.3.x"), longest,
        longest + "."}) {
    EXPECT_EQ(Finish(name)->addresses, Addresses{"192.0.2.7:80"}) << name;
  }
}

TEST_P(LookupTest, ServicesThatAreNone) {
  files_.files["/etc/services"] = "mine 77/udp\n";
  for (const Service& service :
       std::vector<Service>{-1, 65536, "", "-1", "80 ", "65536", "a b"}) {
    EXPECT_TRUE(IsRefusal(Start("host.example", service)->status,
                          absl::StatusCode::kInvalidArgument, {"LookUp"}))
        << service.ToString();
  }
  EXPECT_TRUE(IsRefusal(
      Start("host.example", "none")->status, absl::StatusCode::kNotFound,
      {"LookUp", "service \"none\" is unknown", "/etc/services"}));
  EXPECT_TRUE(IsRefusal(
      Start("host.example", "mine", {.socket_type = SocketType::kStream})
          ->status,
      absl::StatusCode::kNotFound, {"for TCP"}));
  auto looked = Start("192.0.2.1", "mine");
  ASSERT_TRUE(RunUntil([&] { return looked->calls != 0; }));
  EXPECT_EQ(looked->addresses, Addresses{"192.0.2.1:77"});
}

TEST_P(LookupTest, OptionsThatAreWrong) {
  for (absl::Duration timeout : {absl::ZeroDuration(), absl::Seconds(-1)}) {
    EXPECT_TRUE(
        IsRefusal(Start("host.example", 80, {.timeout = timeout})->status,
                  absl::StatusCode::kInvalidArgument, {"timeout"}));
  }
  EXPECT_TRUE(IsRefusal(LookUp(collection(), "host.example", 80, nullptr),
                        absl::StatusCode::kInvalidArgument, {"callback"}));
  auto refused = [&](ResolverOptions options, std::string why) {
    EXPECT_TRUE(IsRefusal(
        MakeWaitStateCollection(
            kernel(), {.name = "odd", .resolver = std::move(options)}),
        absl::StatusCode::kInvalidArgument, {"odd", "resolver", why}));
  };
  refused({.servers = {{SocketAddress(IpAddress(), 53)}}}, "0.0.0.0:53");
  refused({.servers = {std::vector<SocketAddress>(17, server_.address())}},
          "servers");
  refused({.timeout = absl::Microseconds(999)}, "timeout");
  refused({.timeout = absl::Minutes(2)}, "timeout");
  refused({.tries = 0}, "tries");
  refused({.tries = 11}, "tries");
  refused({.search_domains = {{"a..b"}}}, "a..b");
  refused({.ndots = 16}, "ndots");
  refused({.ttl_min = absl::Seconds(-1)}, "negative");
  refused({.ttl_min = absl::Hours(48)}, "ttl_min");
  refused({.questions_max = 0}, "questions_max");
}

}  // namespace
}  // namespace aios::test
