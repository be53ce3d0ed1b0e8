// What the suites about names share: a collection whose one name server is a
// peer of the test.

#ifndef AIOS_TESTS_NAMES_NAMES_TEST_H_
#define AIOS_TESTS_NAMES_NAMES_TEST_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "aios/aios.h"
#include "aios/resolver.h"
#include "tests/conformance/conformance_test.h"
#include "tests/names/dns_peer.h"
#include "tests/support/kernel_decorator.h"
#include "tests/support/text_files.h"

namespace aios::test {

// A kernel whose files are those of the test, and where one address leads to
// another.
class FilesKernel final : public KernelDecorator {
 public:
  using KernelDecorator::KernelDecorator;

  Transfer ReadFile(std::string_view path, uint64_t offset,
                    std::span<char> buffer, FileStamp* stamp) override {
    return files.Read(path, offset, buffer, stamp);
  }

  Error Connect(Handle handle, const SocketAddress& address) override {
    for (const auto& [from, to] : redirections) {
      if (address.ip() == from) return KernelDecorator::Connect(handle, to);
    }
    return KernelDecorator::Connect(handle, address);
  }

  uint32_t InterfaceIndex(std::string_view name) override {
    auto found = interfaces.find(name);
    return found != interfaces.end() ? found->second
                                     : KernelDecorator::InterfaceIndex(name);
  }

  // A datagram seems to come from where it was sent to: from a name server.
  Error ReceiveDatagram(Handle handle, std::span<char> buffer, bool want_sender,
                        IncomingDatagram* datagram) override {
    Error error =
        KernelDecorator::ReceiveDatagram(handle, buffer, want_sender, datagram);
    for (const auto& [from, to] : redirections) {
      if (datagram->sender != to) continue;
      datagram->sender = SocketAddress(from, 53);
      break;
    }
    return error;
  }

  Nanoseconds Now() override { return KernelDecorator::Now() + later; }

  TextFiles files;
  std::map<std::string, uint32_t, std::less<>> interfaces;
  // How much later it is than the clock says.
  Nanoseconds later = 0;
  std::vector<std::pair<IpAddress, SocketAddress>> redirections;
};

class NamesTest : public ConformanceTest {
 protected:
  NamesTest() : files_(kernel()), server_(world(), Family::kIpv4) {
    Configure(Options());
  }
  // Before the files are gone.
  ~NamesTest() override { DestroyCollection(); }

  ResolverOptions Options() { return {.servers = {{server_.address()}}}; }
  void Configure(ResolverOptions options) {
    RemakeCollection({.resolver = std::move(options)}, &files_);
  }

  // Takes turns, and lets the server answer, until `condition` holds.
  [[nodiscard]] bool ServeUntil(absl::FunctionRef<bool()> condition) {
    return RunUntil(
        [&] {
          server_.Serve();
          return condition();
        },
        absl::Milliseconds(1));
  }

  // What the callback of a lookup was given.
  struct Looked {
    int calls = 0;
    Error error;
    std::vector<std::string> addresses;
    std::string detail;
    absl::Status status;
    std::unique_ptr<Lookup> lookup;
  };

  std::unique_ptr<Looked> Start(const HostSpec& host,
                                const Service& service = 80,
                                LookupOptions options = {}) {
    auto looked = std::make_unique<Looked>();
    Looked* out = looked.get();
    absl::StatusOr<std::unique_ptr<Lookup>> lookup = LookUp(
        collection(), host, service,
        [out](const LookupResult& result) {
          ++out->calls;
          out->error = result.error;
          out->detail = result.detail;
          out->status = result.ToStatus();
          for (const SocketAddress& address : result.addresses) {
            out->addresses.push_back(address.ToString());
          }
        },
        options);
    out->status = lookup.status();
    if (lookup.ok()) out->lookup = *std::move(lookup);
    EXPECT_EQ(out->calls, 0) << "never inside the call";
    return looked;
  }

  std::unique_ptr<Looked> Finish(const HostSpec& host,
                                 LookupFamily family = LookupFamily::kIpv4) {
    std::unique_ptr<Looked> looked = Start(host, 80, {.family = family});
    EXPECT_OK(looked->status);
    EXPECT_TRUE(ServeUntil([&] { return looked->calls != 0; }));
    return looked;
  }

  FilesKernel files_;
  DnsPeer server_;
};

}  // namespace aios::test

#endif  // AIOS_TESTS_NAMES_NAMES_TEST_H_
