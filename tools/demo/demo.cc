// Shows the library at work on real sockets: what each operation does, when,
// and that it is what it should be. Called by tools/run. Ends with 1 when
// something is not as expected.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "backends/default_kernel.h"
#include "tools/demo/peer.h"
#include "tools/demo/table.h"

namespace aios::demo {

namespace {

using std::chrono::milliseconds;

// How long a part may take before what is missing is taken to be lost.
constexpr absl::Duration kPartMax = absl::Seconds(10);

// Ends the program where aios refuses what it should not.
void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << "demo: " << status << std::endl;
  std::exit(1);
}
template <typename T>
T Check(absl::StatusOr<T> result) {
  Check(result.status());
  return *std::move(result);
}

class Demo {
 public:
  explicit Demo(Table& table)
      : collection_(Check(MakeWaitStateCollection(DefaultKernel()))),
        table_(table) {}

  void Run() {
    Connecting();
    SlowReader();
    ReadTimeout();
    Lines();
    Aborting();
    Datagrams();
    PeersThatLeave();
    Closing();
  }

 private:
  // Adds a row, and makes the callback that ends it.
  IoCallback Row(std::string operation, Expected expected) {
    Table::Row row = table_.Start(std::move(operation), std::move(expected));
    return [this, row](AsyncIoState&, const IoResult& result) {
      std::string status(IoStatusName(result.status));
      if (!result.error.ok()) status = result.error.Name();
      if (result.truncated) status += ", truncated";
      table_.End(row, std::move(status), result.count);
    };
  }

  // Adds a row for a call that should not start anything.
  void RefusedRow(std::string operation, std::string expected,
                  const absl::Status& status) {
    Table::Row row = table_.Start(std::move(operation), {std::move(expected)});
    std::string code = absl::StatusCodeToString(status.code());
    for (char& c : code) c = c == '_' ? ' ' : absl::ascii_tolower(c);
    table_.End(row, std::move(code), 0);
  }

  // Runs the loop until the condition is true, or for as long as a part may
  // take.
  void RunUntil(absl::FunctionRef<bool()> condition) {
    absl::Time end = absl::Now() + kPartMax;
    while (!condition() && absl::Now() < end) {
      collection_->Wait(std::max(end - absl::Now(), absl::ZeroDuration()));
      collection_->Call();
    }
  }

  // Runs the loop until all rows have their outcome.
  void RunRows() {
    RunUntil([this] { return table_.complete(); });
  }

  // Connects to `listener`.
  std::unique_ptr<AsyncIoState> Connect(Listener& listener,
                                        ConnectTcpOptions options = {}) {
    absl::Status status = absl::DeadlineExceededError("connect");
    auto state = Check(ConnectTcp(
        *collection_, kLoopback, listener.port(),
        [&status](AsyncIoState&, const IoResult& result) {
          status = result.ToStatus();
        },
        std::move(options)));
    RunUntil([&status] { return !absl::IsDeadlineExceeded(status); });
    Check(status);
    return state;
  }

  void Connecting() {
    Listener listener;
    auto state =
        Check(ConnectTcp(*collection_, kLoopback, listener.port(),
                         Row("ConnectTcp to a listening port", {"ok"})));
    auto refused = Check(
        ConnectTcp(*collection_, kLoopback, UnusedPort(),
                   Row("ConnectTcp where nobody listens", {"ECONNREFUSED"})));
    auto named =
        Check(ConnectTcp(*collection_, "localhost", listener.port(),
                         Row("ConnectTcp to a name, localhost", {"ok"})));

    Table::Row row = table_.Start("AcceptTcpConnections", {"ok"});
    auto handle = Check(AcceptTcpConnections(
        *collection_, 0,
        [&](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {
          table_.End(row, "ok", 0);
        },
        {.address = kLoopback}));
    Peer peer = Peer::Connect(handle->local_port());
    RunRows();
    table_.Print("Connecting and accepting");
  }

  void SlowReader() {
    constexpr size_t kSize = 1 << 20;
    constexpr milliseconds kPause{100};
    Listener listener;
    auto state = Connect(listener, {.queue_output = true});
    SetSendBuffer(state->handle(), 32 << 10);
    Peer peer = listener.Accept();

    const std::string first(kSize, '1');
    const std::string second(kSize, '2');
    const std::string third(kSize, '3');
    Check(state->WriteBuffer(first,
                             Row("WriteBuffer, 1 MiB", {"ok", kSize, kPause})));
    Check(state->WriteBuffer(
        second, Row("WriteBuffer, queued behind it", {"ok", kSize, kPause})));
    Check(state->WriteBuffer(
        third, Row("WriteBuffer, queued behind both", {"ok", kSize, kPause})));
    Table::Row read =
        table_.Start("what the peer has read", {"in order", 3 * kSize, kPause});
    std::string received;
    std::thread reader([&] {
      std::this_thread::sleep_for(kPause);
      received = peer.ReceiveAll();
      bool in_order = received == first + second + third;
      // The table is the other thread's.
      Check(collection_->Apply([this, read, in_order, size = received.size()] {
        table_.End(read, in_order ? "in order" : "garbled", size);
      }));
    });
    RunUntil([&state] { return state->output_queue_length() == 0; });
    Check(state->Shutdown(Direction::kOutput));
    RunRows();
    state.reset();
    reader.join();

    state = Connect(listener);
    Check(state->WriteBuffer(
        first, Row("WriteBuffer without a queue", {std::string(kSilent)})));
    RefusedRow("WriteBuffer during another", "failed precondition",
               state->WriteBuffer(second, [](auto&, auto&) {}));
    state.reset();
    table_.Print("A queue of writes against a reader that sleeps for 100 ms");
  }

  void ReadTimeout() {
    Listener listener;
    auto state = Connect(listener);
    Peer peer = listener.Accept();
    std::array<char, 10> buffer;
    peer.Send("abc");
    Check(state->ReadBuffer(buffer,
                            Row("ReadBuffer of 10 bytes, of which 3 come",
                                {"timeout", 3, milliseconds(50)}),
                            {.timeout = absl::Milliseconds(50)}));
    RunRows();
    peer.Send("defghij");
    Check(state->ReadBuffer(buffer, Row("ReadBuffer of the others", {"ok", 7}),
                            {.start = 3}));
    RunRows();
    Table::Row row = table_.Start("what the buffer holds", {"in order", 10});
    bool in_order =
        std::string_view(buffer.data(), buffer.size()) == "abcdefghij";
    table_.End(row, in_order ? "in order" : "garbled", buffer.size());
    table_.Print("A read with a timeout of 50 ms, and one that goes on");
  }

  void Lines() {
    Listener listener;
    auto state = Connect(listener);
    Peer peer = listener.Accept();
    // In two pieces: the callback is called for each until it has a line.
    IoCallback end = Row("ReadWithChecking, to the end of a line", {"ok", 6});
    bool has_piece = false;
    Check(state->ReadWithChecking(
        [&](AsyncIoState& state, const IoResult& result) {
          size_t length = result.data.find('\n') + 1;
          if (length == 0 && result.ok()) {
            has_piece = true;
            return;
          }
          IoResult line = result;
          line.count = length;
          end(state, line);
          Check(state.Finish(length).status());
        }));
    peer.Send("hel");
    RunUntil([&has_piece] { return has_piece; });
    peer.Send("lo\nwor");
    RunRows();
    Table::Row row = table_.Start("BufferedDataLength after it", {"ok", 3});
    table_.End(row, "ok", state->BufferedDataLength());
    table_.Print("A line that comes in pieces");
  }

  void Aborting() {
    Listener listener;
    auto state = Connect(listener);
    Peer peer = listener.Accept();
    std::array<char, 10> buffer;
    peer.Send("abcd");
    Check(state->ReadBuffer(
        buffer, Row("ReadBuffer of 10 bytes", {std::string(kSilent)})));
    collection_->Wait();  // for the 4 bytes that are there
    collection_->Call();
    Check(state->Abort(Row("Abort: called in its place", {"aborted", 4})));
    RunRows();
    Check(state->Abort(Row("Abort with nothing to abort", {"ok"})));
    RunRows();
    peer.Send("ef");
    Check(state->ReadBuffer(buffer, Row("ReadBuffer after that", {"ok", 2}),
                            {.end = 2}));
    RunRows();
    table_.Print("A read that is aborted when 4 bytes have come");
  }

  void Datagrams() {
    auto server = Check(OpenUdp(*collection_, {.local_address = kLoopback}));
    auto client =
        Check(ConnectUdp(*collection_, kLoopback, server->address()->port()));
    std::array<char, 64> request;
    std::array<char, 4> response;
    IoCallback received = Row("ReceiveMessage by the server", {"ok", 7});
    IoCallback answered = Row("SendMessageToAddress of its answer", {"ok", 6});
    Check(server->ReceiveMessage(
        request,
        [&](AsyncIoState& state, const IoResult& result) {
          received(state, result);
          Check(state.SendMessageToAddress(*result.sender, "answer",
                                           std::move(answered)));
        },
        {.needs_address = true}));
    Check(client->SendMessage("request",
                              Row("SendMessage by the client", {"ok", 7})));
    Check(client->ReceiveMessage(
        response, Row("ReceiveMessage with room for 4", {"ok, truncated", 4})));
    RunRows();
    table_.Print("An exchange of datagrams");
  }

  void PeersThatLeave() {
    Listener listener;
    std::array<char, 10> buffer;
    auto ended = Connect(listener);
    {
      Peer peer = listener.Accept();
      peer.Send("bye");
    }
    Check(ended->ReadBuffer(
        buffer, Row("ReadBuffer of 10 bytes: 3, and the end", {"eof", 3})));
    auto reset = Connect(listener);
    listener.Accept().Reset();
    std::array<char, 10> other_buffer;
    Check(reset->ReadBuffer(
        other_buffer, Row("ReadBuffer of a reset connection", {"ECONNRESET"})));
    RunRows();
    table_.Print("Peers that leave");
  }

  void Closing() {
    Listener listener;
    auto state = Connect(listener);
    Peer peer = listener.Accept();
    std::array<char, 10> buffer;
    Check(state->ReadBuffer(
        buffer, Row("ReadBuffer, then Close", {std::string(kSilent)})));
    state->Close();
    peer.Send("too late");
    RefusedRow("ReadBuffer on the closed state", "failed precondition",
               state->ReadBuffer(buffer, [](auto&, auto&) {}));

    auto aborted = Connect(listener);
    Peer other_peer = listener.Accept();
    Check(aborted->ReadBuffer(
        buffer, Row("ReadBuffer, then AbortAndClose", {std::string(kSilent)})));
    Table::Row row = table_.Start("AbortAndClose", {"ok"});
    Check(aborted->AbortAndClose(
        {.close_callback = [&](AsyncIoState&) { table_.End(row, "ok", 0); }}));
    RunRows();
    table_.Print("Closing with an operation in progress");
  }

  std::unique_ptr<WaitStateCollection> collection_;
  Table& table_;
};

bool UseColors() {
  const char* terminal = std::getenv("TERM");
  return isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr &&
         terminal != nullptr && std::string_view(terminal) != "dumb";
}

}  // namespace

}  // namespace aios::demo

int main(int argc, char**) {
  if (argc != 1) {
    std::cerr << "usage: demo\n";
    return 2;
  }
  aios::demo::Table table("aios on " +
                              std::string(aios::DefaultKernel().name()) +
                              ": real sockets on " + aios::demo::kLoopback +
                              ". Times are in milliseconds since the start.",
                          aios::demo::UseColors());
  aios::demo::Demo(table).Run();
  return table.Finish() ? 0 : 1;
}
