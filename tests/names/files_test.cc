// The files by which names are resolved: what becomes of questions while they
// are read, when they change, and when they cannot be read.

#include <cerrno>
#include <cstddef>
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
using Addresses = std::vector<std::string>;

class FilesTest : public NamesTest {
 protected:
  // As if so much time had passed.
  void Later(Nanoseconds time) { files_.later += time; }
  static constexpr Nanoseconds kSecond = 1'000'000'000;

  TextFiles::File& hosts() { return files_.files["/etc/hosts"]; }
  TextFiles::File& resolv_conf() { return files_.files["/etc/resolv.conf"]; }
  TextFiles::File& services() { return files_.files["/etc/services"]; }

  // A file of more than half a megabyte, whose first and last line give `ip`.
  static std::string LargeHosts(const std::string& ip) {
    std::string text = absl::StrCat(ip, " first.example\n");
    for (int i = 0; i != 15'000; ++i) {
      absl::StrAppend(&text, "192.0.2.99 filling", i, ".example fill", i, "\n");
    }
    absl::StrAppend(&text, ip, " last.example\n");
    return text;
  }
};

INSTANTIATE_TEST_SUITE_P(All, FilesTest, testing::ValuesIn(AllKernels()),
                         NameOf);

// ---- Files that cannot be read.

TEST_P(FilesTest, NobodyIsAskedWhileTheHostsFileCannotBeRead) {
  server_.Add("host.example", "192.0.2.66");
  hosts() = "192.0.2.1 host.example\n";
  for (int code : {EMFILE, ENFILE, ENOMEM, EACCES, EIO, EINVAL}) {
    for (Error TextFiles::File::*error :
         {&TextFiles::File::error, &TextFiles::File::read_error}) {
      hosts().*error = Error(code);
      auto looked = Finish("host.example", LookupFamily::kBoth);
      EXPECT_EQ(looked->error, Error(code));
      // Which could also be the memory of c-ares.
      if (code != ENOMEM) {
        EXPECT_THAT(looked->detail, HasSubstr("hosts file"));
      }
      EXPECT_THAT(looked->detail, HasSubstr(Error(code).Message()));
      EXPECT_EQ(Finish("localhost")->addresses, Addresses{"127.0.0.1:80"});
      hosts().*error = Error();
    }
  }
  // The next one tries again.
  EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.1:80"});
  EXPECT_EQ(server_.queries(), 0u);
}

TEST_P(FilesTest, AHostsFileThatIsTooLongIsNotNone) {
  server_.Add("host.example", "192.0.2.66");
  hosts() = "192.0.2.1 host.example\n";
  hosts().size = (int64_t{256} << 20) + 1;
  auto looked = Finish("host.example");
  EXPECT_EQ(looked->error, Error(EFBIG));
  EXPECT_EQ(server_.queries(), 0u);
}

TEST_P(FilesTest, TheOldHostsFileStaysWhileTheNewOneCannotBeRead) {
  server_.Add("host.example", "192.0.2.66");
  hosts() = "192.0.2.1 host.example\n";
  EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.1:80"});
  hosts() = "192.0.2.2 host.example\n";
  hosts().read_error = Error(EMFILE);
  for (int i = 0; i != 3; ++i) {
    Later(5 * kSecond);
    EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.1:80"});
  }
  hosts().read_error = Error();
  Later(kSecond / 10);
  EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.2:80"});
  // One that is gone has no names.
  files_.files.Remove("/etc/hosts");
  Later(5 * kSecond);
  EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.66:80"});
}

TEST_P(FilesTest, AResolvConfThatCannotBeReadIsNotNone) {
  ResolverOptions options = Options();
  options.failure_ttl = absl::ZeroDuration();
  Configure(options);
  server_.Add("host.right.example", "192.0.2.1");
  server_.Add("other.right.example", "192.0.2.1");
  server_.Add("other.new.example", "192.0.2.2");
  resolv_conf() = "search right.example\n";
  resolv_conf().error = Error(EMFILE);
  auto looked = Finish("host");
  EXPECT_EQ(looked->error, Error(EMFILE));
  EXPECT_THAT(looked->detail, HasSubstr("resolv.conf"));
  EXPECT_EQ(server_.queries(), 0u);
  // As soon as it can be read.
  resolv_conf().error = Error();
  EXPECT_EQ(Finish("host")->addresses, Addresses{"192.0.2.1:80"});
  // What was read before stays.
  resolv_conf() = "search new.example\n";
  resolv_conf().read_error = Error(EMFILE);
  Later(5 * kSecond);
  EXPECT_EQ(Finish("other")->addresses, Addresses{"192.0.2.1:80"});
  EXPECT_EQ(server_.log().back(), "other.right.example A");
}

TEST_P(FilesTest, AServicesFileThatCannotBeReadIsNotNone) {
  services() = "mine 7/tcp\n";
  services().error = Error(EMFILE);
  EXPECT_TRUE(IsRefusal(Start("127.0.0.1", "mine")->status,
                        Error(EMFILE).ToStatus().code(),
                        {"mine", "/etc/services", "EMFILE"}));
  services().error = Error();
  EXPECT_OK(Start("127.0.0.1", "mine")->status);
  services() = "yours 8/tcp\n";
  Later(5 * kSecond);
  services().error = Error(EMFILE);
  EXPECT_OK(Start("127.0.0.1", "mine")->status);
  services().error = Error();
  Later(kSecond / 10);
  EXPECT_OK(Start("127.0.0.1", "yours")->status);
  EXPECT_TRUE(IsRefusal(Start("127.0.0.1", "mine")->status,
                        absl::StatusCode::kNotFound, {"mine"}));
}

// ---- Files that change.

TEST_P(FilesTest, AFileThatDoesNotChangeIsReadOnce) {
  hosts() = "192.0.2.1 host.example\n";
  for (int i = 0; i != 10; ++i) {
    EXPECT_EQ(Finish("host.example")->addresses, Addresses{"192.0.2.1:80"});
    Later(5 * kSecond);
  }
  EXPECT_EQ(files_.files.reads, 1);
  EXPECT_EQ(files_.files.looks, 10);
}

// ---- Large files.

TEST_P(FilesTest, ALargeHostsFileIsReadOverManyTurns) {
  hosts() = LargeHosts("192.0.2.1");
  server_.Add("first.example", "192.0.2.66");
  server_.Add("last.example", "192.0.2.66");
  server_.Add("other.example", "192.0.2.3");
  auto first = Start("first.example", 80, {.family = LookupFamily::kIpv4});
  auto last = Start("last.example", 80, {.family = LookupFamily::kIpv4});
  auto other = Start("other.example", 80, {.family = LookupFamily::kIpv4});
  int turns = 0;
  while (first->calls == 0) {
    ASSERT_LT(++turns, 1000);
    EXPECT_EQ(last->calls + other->calls, 0);
    int reads = files_.files.reads;
    Turn();
    EXPECT_LE(files_.files.reads, reads + 4);
  }
  EXPECT_GE(turns, 3);
  EXPECT_LE(files_.files.most_bytes, size_t{64} << 10);
  ASSERT_TRUE(ServeUntil([&] { return last->calls + other->calls == 2; }));
  EXPECT_EQ(first->addresses, Addresses{"192.0.2.1:80"});
  EXPECT_EQ(last->addresses, Addresses{"192.0.2.1:80"});
  EXPECT_EQ(other->addresses, Addresses{"192.0.2.3:80"});
  EXPECT_THAT(server_.log(), ElementsAre("other.example A"));
}

TEST_P(FilesTest, TheLoopServesOthersWhileALargeFileIsRead) {
  hosts() = LargeHosts("192.0.2.1");
  auto looked = Start("last.example");
  // Posted ones are served in each turn.
  int turns = 0;
  while (looked->calls == 0) {
    bool ran = false;
    ASSERT_OK(collection().Apply([&ran] { ran = true; }));
    Turn();
    EXPECT_TRUE(ran);
    ASSERT_LT(++turns, 1000);
  }
  EXPECT_GE(turns, 3);
  EXPECT_EQ(looked->error, Error());
}

TEST_P(FilesTest, WhatAnswersAtOnceRefusesUntilALargeFileIsRead) {
  hosts() = LargeHosts("127.0.0.1");
  auto connect = [this] {
    return ConnectUdp(collection(), "last.example", 7777, {.name = "mine"});
  };
  EXPECT_TRUE(IsRefusal(connect(), absl::StatusCode::kFailedPrecondition,
                        {"mine", "last.example", "LookUp"}));
  EXPECT_EQ(Finish("last.example")->addresses, Addresses{"127.0.0.1:80"});
  EXPECT_OK(connect());
  // A small one is read at once.
  Configure(Options());
  hosts() = "127.0.0.1 last.example\n";
  EXPECT_OK(connect());
  EXPECT_EQ(server_.queries(), 0u);
}

TEST_P(FilesTest, TheOldTableIsInForceUntilTheNewOneIsWhole) {
  hosts() = "192.0.2.1 last.example\n";
  EXPECT_EQ(Finish("last.example")->addresses, Addresses{"192.0.2.1:80"});
  hosts() = LargeHosts("192.0.2.2");
  Later(5 * kSecond);
  int old = 0;
  for (;; ++old) {
    ASSERT_LT(old, 1000);
    auto looked = Start("last.example", 80, {.family = LookupFamily::kIpv4});
    ASSERT_TRUE(RunUntil([&] { return looked->calls != 0; }));
    if (looked->addresses == Addresses{"192.0.2.2:80"}) break;
    EXPECT_EQ(looked->addresses, Addresses{"192.0.2.1:80"});
  }
  EXPECT_GE(old, 3);
}

TEST_P(FilesTest, ALargeFileThatCannotBeReadToItsEndIsAnError) {
  hosts() = LargeHosts("192.0.2.1");
  files_.files.after_read = [this] {
    if (files_.files.reads == 6) hosts().read_error = Error(EIO);
  };
  std::vector<std::unique_ptr<Looked>> lookups;
  for (int i = 0; i != 3; ++i) lookups.push_back(Start("last.example"));
  for (const auto& looked : lookups) {
    ASSERT_TRUE(ServeUntil([&] { return looked->calls != 0; }));
    EXPECT_EQ(looked->error, Error(EIO));
    EXPECT_EQ(looked->calls, 1);
  }
  EXPECT_EQ(server_.queries(), 0u);
  files_.files.after_read = nullptr;
  hosts().read_error = Error();
  EXPECT_EQ(Finish("last.example")->addresses, Addresses{"192.0.2.1:80"});
}

TEST_P(FilesTest, QuestionsEndAsEverWhileALargeFileIsRead) {
  hosts() = LargeHosts("192.0.2.1");
  auto timed_out = Start("last.example", 80, {.timeout = absl::Nanoseconds(1)});
  auto cancelled = Start("last.example");
  auto given_up = Start("last.example");
  auto answered = Start("last.example");
  cancelled->lookup->Cancel();
  given_up->lookup.reset();
  ASSERT_TRUE(ServeUntil([&] { return answered->calls != 0; }));
  EXPECT_EQ(timed_out->error, Error(LookupError::kTimedOut));
  EXPECT_EQ(cancelled->error, Error(LookupError::kCancelled));
  EXPECT_EQ(given_up->calls, 0);
  EXPECT_EQ(answered->error, Error());
  EXPECT_EQ(timed_out->calls + cancelled->calls + answered->calls, 3);
}

TEST_P(FilesTest, TheCollectionMayCloseAtEachStepOfALargeFile) {
  std::string text = LargeHosts("192.0.2.1");
  for (int turns = 0;; ++turns) {
    Configure(Options());
    hosts() = text;
    auto looked = Start("last.example");
    for (int i = 0; i != turns; ++i) Turn();
    if (looked->calls != 0) break;
    collection().Close();
    Turn(absl::ZeroDuration());
    EXPECT_EQ(looked->calls, 0);
    if (turns % 4 != 0) continue;
    // It begins anew for whoever comes later.
    looked = Finish("last.example");
    EXPECT_EQ(looked->addresses, Addresses{"192.0.2.1:80"});
  }
}

// ---- Zones.

TEST_P(FilesTest, TheHostsFileTakesNamesOfInterfacesAsZones) {
  files_.interfaces["lan7"] = 7;
  hosts() = "fe80::1%lan7 host.example\nfe80::1%lan8 other.example\n";
  server_.Add("other.example", "192.0.2.66");
  EXPECT_EQ(Finish("host.example", LookupFamily::kBoth)->addresses,
            Addresses{"[fe80::1%7]:80"});
  EXPECT_EQ(Finish("other.example", LookupFamily::kBoth)->error,
            Error(LookupError::kNoAddress))
      << "it is in the file";
  // The interface comes, and the file need not change for that.
  files_.interfaces["lan8"] = 8;
  EXPECT_EQ(Finish("other.example", LookupFamily::kBoth)->addresses,
            Addresses{"[fe80::1%8]:80"});
  EXPECT_EQ(server_.queries(), 0u);
}

}  // namespace
}  // namespace aios::test
