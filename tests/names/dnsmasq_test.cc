// Names from a real name server, dnsmasq, which serves a zone of the test's own
// on the loopback addresses, at a free port.

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/conformance/conformance_test.h"
#include "tests/programs/program.h"
#include "tests/support/kernels.h"

namespace aios::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

constexpr const char* kDnsmasq = "/usr/sbin/dnsmasq";
constexpr int kManyAddresses = 100;

std::vector<KernelParam> RealKernels() {
  std::vector<KernelParam> kernels = AllKernels();
  std::erase_if(kernels, [](const KernelParam& kernel) {
    return kernel.make_world()->simulated();
  });
  return kernels;
}

std::vector<std::string> Arguments(uint16_t port) {
  std::vector<std::string> arguments = {
      // In the foreground, and without becoming another user.
      "--no-daemon",
      "--conf-file=/dev/null",
      "--no-resolv",
      "--no-hosts",
      "--bind-interfaces",
      "--listen-address=127.0.0.1",
      "--listen-address=::1",
      absl::StrCat("--port=", port),
      "--local=/test/",
      "--local-ttl=300",
      "--host-record=four.test,127.0.0.1",
      "--host-record=six.test,::1",
      "--host-record=both.test,127.0.0.1,::1",
      "--host-record=deep.sub.test,127.0.0.3",
      "--cname=alias.test,second.test",
      "--cname=second.test,both.test",
  };
  for (int i = 1; i <= kManyAddresses; ++i) {
    arguments.push_back(absl::StrCat("--host-record=many.test,127.0.1.", i));
  }
  return arguments;
}

class DnsmasqTest : public ConformanceTest {
 protected:
  void SetUp() override {
    if (access(kDnsmasq, X_OK) != 0) {
      GTEST_SKIP() << kDnsmasq << " is not installed: run tools/setup";
    }
    // Somebody else may take the port before dnsmasq does.
    for (int attempt = 0; attempt != 10 && !Serves(); ++attempt) {
      dnsmasq_.reset();
      uint16_t port = world().Udp(Family::kIpv4)->address().port();
      server_ = SocketAddress(IpAddress::Loopback(Family::kIpv4), port);
      dnsmasq_ = std::make_unique<Program>(kDnsmasq, Arguments(port));
    }
    ASSERT_TRUE(Serves()) << dnsmasq_->err();
    Configure({});
  }

  // Whether dnsmasq answers, or will.
  bool Serves() {
    if (dnsmasq_ == nullptr) return false;
    bool serves = false;
    bool ended = false;
    EXPECT_TRUE(world().Until([&] {
      // What failed once is not kept.
      Configure({.failure_ttl = absl::ZeroDuration()});
      serves = Find("four.test").error.ok();
      ended = !serves && dnsmasq_->Ended();
      return serves || ended;
    }));
    return serves;
  }

  void Configure(ResolverOptions options) {
    if (!options.servers.has_value()) options.servers = {server_};
    if (!options.search_domains.has_value()) {
      options.search_domains = std::vector<std::string>();
    }
    options.hosts_file = "";
    options.services_file = "";
    RemakeCollection({.resolver = std::move(options)});
  }

  struct Found {
    Error error;
    std::vector<std::string> ips;
    std::string detail;
  };

  Found Find(const HostSpec& host, LookupFamily family = LookupFamily::kBoth) {
    Found found;
    bool done = false;
    absl::StatusOr<std::unique_ptr<Lookup>> lookup =
        LookUp(collection(), host, 80,
               [&](const LookupResult& result) {
                 done = true;
                 found.error = result.error;
                 found.detail = result.detail;
                 for (const SocketAddress& address : result.addresses) {
                   found.ips.push_back(address.ip().ToString());
                 }
               },
               {.family = family});
    EXPECT_OK(lookup);
    EXPECT_TRUE(RunUntil([&] { return done; }));
    return found;
  }

  SocketAddress server_;
  std::unique_ptr<Program> dnsmasq_;
};

INSTANTIATE_TEST_SUITE_P(All, DnsmasqTest, testing::ValuesIn(RealKernels()),
                         NameOf);

TEST_P(DnsmasqTest, AddressesOfBothFamiliesAndAliases) {
  EXPECT_THAT(Find("four.test").ips, ElementsAre("127.0.0.1"));
  EXPECT_THAT(Find("six.test").ips, ElementsAre("::1"));
  EXPECT_THAT(Find("both.test").ips, UnorderedElementsAre("127.0.0.1", "::1"));
  EXPECT_THAT(Find("BOTH.Test.", LookupFamily::kIpv6).ips, ElementsAre("::1"));
  EXPECT_THAT(Find("alias.test").ips, UnorderedElementsAre("127.0.0.1", "::1"));
}

TEST_P(DnsmasqTest, WhatIsNotThere) {
  Found none = Find("none.test");
  EXPECT_EQ(none.error, Error(LookupError::kNoSuchName));
  EXPECT_THAT(none.detail, HasSubstr("\"none.test\""));
  EXPECT_EQ(Find("four.test", LookupFamily::kIpv6).error,
            Error(LookupError::kNoAddress));
  // It has nobody to ask for what is not its own.
  EXPECT_EQ(Find("www.example").error, Error(LookupError::kRefused));
}

TEST_P(DnsmasqTest, SearchDomains) {
  Configure({.search_domains = {{"test", "sub.test"}}});
  EXPECT_THAT(Find("four").ips, ElementsAre("127.0.0.1"));
  EXPECT_THAT(Find("deep").ips, ElementsAre("127.0.0.3"));
  EXPECT_EQ(Find("four.").error, Error(LookupError::kRefused));
}

TEST_P(DnsmasqTest, ALongAnswerComesOverTcp) {
  Found many = Find("many.test");
  EXPECT_EQ(many.error, Error());
  EXPECT_EQ(many.ips.size(), 32u) << "as many of one name as aios takes";
}

TEST_P(DnsmasqTest, OverIpv6) {
  AIOS_NEEDS_FAMILY(world(), Family::kIpv6);
  Configure({.servers = {{SocketAddress(IpAddress::Loopback(Family::kIpv6),
                                        server_.port())}}});
  EXPECT_THAT(Find("four.test").ips, ElementsAre("127.0.0.1"));
  EXPECT_EQ(Find("many.test").ips.size(), 32u);
}

TEST_P(DnsmasqTest, TheSecondServerAnswersForOneThatIsDeadOrSilent) {
  SocketAddress dead =
      world().RefusingAddress(SocketType::kDatagram, Family::kIpv4);
  std::unique_ptr<UdpPeer> silent = world().Udp(Family::kIpv4);
  for (const SocketAddress& first : {dead, silent->address()}) {
    Configure(
        {.servers = {{first, server_}}, .timeout = absl::Milliseconds(20)});
    Nanoseconds start = Now();
    EXPECT_THAT(Find("both.test").ips,
                UnorderedElementsAre("127.0.0.1", "::1"));
    if (first != dead) {
      EXPECT_GE(Since(start), absl::Milliseconds(20));
    }
  }
  Configure({.servers = {{silent->address()}},
             .timeout = absl::Milliseconds(5),
             .tries = 2});
  EXPECT_EQ(Find("both.test").error, Error(LookupError::kTimedOut));
}

TEST_P(DnsmasqTest, SendsToNames) {
  for (Family family : Families()) {
    std::unique_ptr<UdpPeer> peer = world().Udp(family);
    std::unique_ptr<AsyncIoState> state = MakeUdp(family);
    for (std::string host : {"alias.test", "both.test"}) {
      Recorder send(*this);
      ASSERT_OK(state->SendMessageToAddress(host, peer->address().port(), host,
                                            send.Callback()));
      ASSERT_TRUE(RunUntil(send));
      EXPECT_EQ(send.last().status, IoStatus::kOk);
      EXPECT_EQ(peer->Receive().payload, host);
    }
    Recorder send(*this);
    ASSERT_OK(
        state->SendMessageToAddress("none.test", 80, "x", send.Callback()));
    ASSERT_TRUE(RunUntil(send));
    EXPECT_EQ(send.last().error, Error(LookupError::kNoSuchName));
  }
}

TEST_P(DnsmasqTest, ConnectsByNameOverBothFamilies) {
  for (Family family : Families()) {
    std::unique_ptr<TcpListenerPeer> listener = world().Listen(family);
    for (std::string host :
         {"both.test", "alias.test",
          family == Family::kIpv4 ? "four.test" : "six.test"}) {
      Recorder connect(*this);
      std::string detail;
      absl::StatusOr<std::unique_ptr<AsyncIoState>> state = ConnectTcp(
          collection(), host, listener->address().port(),
          connect.Callback([&](AsyncIoState&, const IoResult& result) {
            detail = result.detail;
          }));
      ASSERT_OK(state);
      ASSERT_TRUE(RunUntil(connect));
      EXPECT_EQ(connect.last().status, IoStatus::kOk) << detail;
      EXPECT_EQ((*state)->peer_address(), listener->address());
      EXPECT_NE(listener->Accept(), nullptr);
    }
  }
}

}  // namespace
}  // namespace aios::test
