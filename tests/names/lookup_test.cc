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
