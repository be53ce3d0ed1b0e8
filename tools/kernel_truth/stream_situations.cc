// Connected streams: data, half close, close, reset, full buffers.

#include <string>
#include <vector>

#include "tools/kernel_truth/cat.h"
#include "tools/kernel_truth/situations.h"

namespace aios::kernel_truth {

namespace {

constexpr Direction kIn = Direction::kInput;
constexpr Direction kOut = Direction::kOutput;
constexpr Direction kIo = Direction::kIo;

}  // namespace

std::vector<Situation> StreamSituations() {
  constexpr std::string_view kData = "Data on a stream";
  constexpr std::string_view kHalf = "Half close and shutdown";
  constexpr std::string_view kClose = "The peer closes";
  constexpr std::string_view kReset = "Reset";
  constexpr std::string_view kFull = "Full buffers";
  return {
      {kData, "connected, nothing sent",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Ready(client);
         p.Receive(client);
         p.Peek(client);
         p.TakeError(client);
         p.Ready(server);
       }},
      {kData, "data arrives",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(client, "hello");
         p.Ready(server, kReadable);
         p.Ready(server, kNotReady, kReadable);
         p.Ready(server, kNotReady, kWritable);
         p.Receive(server);
         p.Ready(server);
         p.Receive(server);
       }},
      {kData, "less is received than is there",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(client, "hello");
         p.Receive(server, 2);
         p.Ready(server);
         p.Receive(server, 2);
         p.Receive(server, 2);
         p.Ready(server);
       }},
      {kData, "peek leaves it there",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Peek(server);
         p.Send(client, "hello");
         p.Peek(server);
         p.Peek(server);
         p.Ready(server);
         p.Receive(server);
         p.Peek(server);
       }},
      {kData, "two sends may be one receive",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(client, "one");
         p.Send(client, "two");
         p.Receive(server);
       }},
      {kData, "several buffers in one send",
       [](Play& p) {
         auto [client, server] = p.Connected();
         ConstBuffer buffers[] = {{"a", 1}, {"", 0}, {"bcd", 3}, {"e", 1}};
         p.Note(client, "send of 4 buffers",
                Cat(p.kernel().Send(client, buffers).count));
         p.Receive(server);
       }},
      {kData, "both send at once",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(client, "there");
         p.Send(server, "back");
         p.Receive(client);
         p.Receive(server);
       }},
      {kData, "connected over IPv6",
       [](Play& p) {
         auto [client, server] = p.Connected(Family::kIpv6);
         p.Send(client, "hello");
         p.Receive(server);
         p.Addresses(server);
       }},
      {kData, "a megabyte arrives as it was sent",
       [](Play& p) {
         auto [client, server] = p.Connected();
         std::string out;
         for (size_t i = 0; i < (size_t{1} << 20); ++i) {
           out.push_back(static_cast<char>(i * i >> 7));
         }
         std::string in;
         size_t sent = 0;
         std::string room(100'000, '\0');
         while (in.size() < out.size()) {
           ConstBuffer rest = {out.data() + sent, out.size() - sent};
           if (rest.size != 0) {
             sent += p.kernel().Send(client, {&rest, 1}).count;
           }
           if (!p.Await(server, kReadable)) break;
           size_t count =
               p.kernel().Receive(server, {room.data(), room.size()}).count;
           if (count == 0) break;
           in.append(room, 0, count);
         }
         p.Note(server, "received",
                in == out ? "the same" : Cat(in.size(), " bytes"));
       }},

      {kHalf, "the peer shuts its output down",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(client, kOut);
         p.Ready(server, kReadable);
         p.Receive(server);
         p.Receive(server);
         p.Peek(server);
         p.TakeError(server);
         p.Send(server, "still");
         p.Receive(client);
         p.Addresses(server);
         p.Ready(server);
       }},
      {kHalf, "own output shut down",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(client, kOut);
         p.Ready(client);
         p.Send(client, "x");
         p.Send(client, "x");
         p.TakeError(client);
         p.Receive(client);
         p.Addresses(client);
         p.Adopt(client);
         p.Shutdown(client, kOut);
       }},
      {kHalf, "data before the end comes first",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(client, "data");
         p.Shutdown(client, kOut);
         p.Receive(server);
         p.Receive(server);
       }},
      {kHalf, "both shut their output down, one after the other",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(client, kOut);
         p.Ready(server, kReadable);
         p.Shutdown(server, kOut);
         for (Handle h : {client, server}) {
           p.Ready(h);
           p.Receive(h);
           p.Send(h, "x");
           p.TakeError(h);
           p.Addresses(h);
           p.Shutdown(h, kOut);
         }
       }},
      {kHalf, "both ended, data unread",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(client, "data");
         p.Shutdown(client, kOut);
         p.Shutdown(server, kOut);
         p.Ready(server);
         p.Receive(server);
         p.Receive(server);
       }},
      {kHalf, "the peer ends, then closes",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(client, kOut);
         p.Receive(server);
         p.Close(client);
         p.Ready(server);
         p.Receive(server);
         p.Send(server, "first");
         p.Ready(server);
         p.Send(server, "second");
         p.Receive(server);
       }},
      {kHalf, "own input shut down",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(server, kIn);
         p.Ready(server);
         p.Receive(server);
         p.Receive(server);
         p.Peek(server);
         p.Send(server, "still");
         p.Receive(client);
       }},
      {kHalf, "own input shut down, then data arrives",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(server, kIn);
         p.Send(client, "late");
         p.Send(client, "r");
         p.Ready(client);
         p.Ready(server);
         p.Peek(server);
         p.Receive(server);
         p.Receive(server);
         p.Ready(server);
       }},
      {kHalf, "own input shut down with data unread",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(client, "early");
         p.Shutdown(server, kIn);
         p.Receive(server);
         p.Receive(server);
       }},
      {kHalf, "own input shut down, then closed with data unread",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(server, kIn);
         p.Send(client, "late");
         p.Close(server);
         p.Ready(client, kReadable);
         p.Receive(client);
       }},
      {kHalf, "own input shut down, then the peer closes",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(server, kIn);
         p.Close(client);
         p.Ready(server);
         p.Receive(server);
         p.Send(server, "first");
         p.Send(server, "second");
       }},
      {kHalf, "both directions shut down",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(server, kIo);
         p.Ready(server);
         p.Receive(server);
         p.Send(server, "x");
         p.Addresses(server);
         p.Ready(client, kReadable);
         p.Receive(client);
       }},
      {kHalf, "both directions shut down, then data arrives",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(server, kIo);
         p.Send(client, "late");
         p.Ready(client);
         p.TakeError(client);
         p.Receive(client);
         p.Send(client, "later");
         p.Ready(server);
         p.TakeError(server);
         p.Receive(server);
       }},
      {kHalf, "both directions shut down with data unread",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(client, "early");
         p.Shutdown(server, kIo);
         p.Receive(server);
         p.Receive(server);
         p.Receive(client);
         p.TakeError(client);
       }},
      {kHalf, "output and then input shut down, then data arrives",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(server, kOut);
         p.Shutdown(server, kIn);
         p.Send(client, "late");
         p.Ready(client);
         p.TakeError(client);
         p.TakeError(server);
       }},
      {kHalf, "output shut down, then data arrives",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(server, kOut);
         p.Send(client, "late");
         p.Receive(server);
         p.Receive(client);
         p.Send(client, "again");
         p.Receive(server);
       }},
      {kHalf, "shutdown after the peer reset",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Reset(client);
         p.Ready(server, kReadable);
         p.Shutdown(server, kOut);
         p.Shutdown(server, kIn);
         p.TakeError(server);
       }},

      {kClose, "with nothing unread",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Close(client);
         p.Ready(server, kReadable);
         p.Receive(server);
         p.Receive(server);
         p.Receive(server);
         p.Ready(server);
         p.Addresses(server);
       }},
      {kClose, "after data",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(client, "data");
         p.Close(client);
         p.Ready(server, kReadable);
         p.Receive(server);
         p.Ready(server);
         p.Receive(server);
       }},
      {kClose, "first and second send after it",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Close(client);
         p.Ready(server, kReadable);
         p.Send(server, "first");
         p.Ready(server);
         p.Send(server, "second");
         p.Send(server, "third");
         p.TakeError(server);
         p.Receive(server);
         p.Receive(server);
       }},
      {kClose, "a send after it, then the error is taken",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Close(client);
         p.Send(server, "first");
         p.TakeError(server);
         p.TakeError(server);
         p.Receive(server);
         p.Send(server, "second");
         p.Addresses(server);
       }},
      {kClose, "a send after it with data unread, then receive",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(client, "data");
         p.Close(client);
         p.Send(server, "first");
         p.Ready(server);
         p.Receive(server);
         p.Receive(server);
         p.TakeError(server);
         p.Receive(server);
       }},
      {kClose, "with data unread by it",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(server, "unread");
         p.Close(client);
         p.Ready(server, kReadable);
         p.Receive(server);
         p.Receive(server);
         p.Ready(server);
       }},
      {kClose, "with data unread by both",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(server, "unread");
         p.Send(client, "data");
         p.Close(client);
         p.Ready(server, kReadable);
         p.Receive(server);
         p.Receive(server);
         p.Receive(server);
       }},
      {kClose, "after its output was shut down, with data unread by it",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(client, kOut);
         p.Send(server, "unread");
         p.Close(client);
         p.Ready(server);
         p.Receive(server);
         p.TakeError(server);
       }},
      {kClose, "both at once",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(client, kOut);
         p.Close(server);
         p.Ready(client, kReadable);
         p.Receive(client);
         p.Send(client, "x");
         p.TakeError(client);
       }},
      {kClose, "own close: what was sent still arrives",
       [](Play& p) {
         auto [client, server] = p.Connected();
         size_t sent = p.Fill(client);
         p.Close(client);
         size_t received = p.Drain(server, sent + 1);
         p.Note(server, "received all",
                received == sent ? "yes" : Cat(received));
         p.Receive(server);
       }},

      {kReset, "nothing unread",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Reset(client);
         p.Ready(server, kReadable);
         p.Receive(server);
         p.Receive(server);
         p.Receive(server);
         p.Send(server, "x");
         p.TakeError(server);
         p.Addresses(server);
         p.Ready(server);
       }},
      {kReset, "data unread",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(client, "data");
         p.Reset(client);
         p.Ready(server, kReadable);
         p.Receive(server);
         p.Ready(server);
         p.Receive(server);
         p.Receive(server);
       }},
      {kReset, "the error is taken first",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Reset(client);
         p.Ready(server, kReadable);
         p.TakeError(server);
         p.TakeError(server);
         p.Ready(server);
         p.Receive(server);
         p.Send(server, "x");
       }},
      {kReset, "the error is taken first, data unread",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(client, "data");
         p.Reset(client);
         p.TakeError(server);
         p.Receive(server);
         p.Receive(server);
       }},
      {kReset, "send meets the error",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Reset(client);
         p.Send(server, "first");
         p.Send(server, "second");
         p.TakeError(server);
         p.Receive(server);
       }},
      {kReset, "send meets the error, data unread",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(client, "data");
         p.Reset(client);
         p.Send(server, "first");
         p.Receive(server);
         p.Receive(server);
       }},
      {kReset, "peek meets the error",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Reset(client);
         p.Peek(server);
         p.Peek(server);
         p.Receive(server);
       }},
      {kReset, "with replies in flight",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(client, "request");
         p.Receive(server);
         p.Send(server, "reply 1");
         p.Send(server, "reply 2");
         p.Reset(client);
         p.Ready(server, kReadable);
         p.Send(server, "reply 3");
         p.Send(server, "reply 4");
         p.Receive(server);
       }},
      {kReset, "own output shut down before",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(server, kOut);
         p.Reset(client);
         p.Ready(server);
         p.Receive(server);
         p.Receive(server);
         p.Send(server, "x");
       }},
      {kReset, "own input shut down before",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(server, kIn);
         p.Reset(client);
         p.Ready(server);
         p.Receive(server);
         p.Receive(server);
       }},
      {kReset, "the peer's output shut down before",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(client, kOut);
         p.Reset(client);
         p.Ready(server);
         p.Receive(server);
         p.TakeError(server);
         p.Send(server, "x");
       }},
      {kReset, "the peer's output shut down before, send meets the error",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(client, kOut);
         p.Reset(client);
         p.Send(server, "first");
         p.Send(server, "second");
         p.TakeError(server);
       }},
      {kReset, "both outputs shut down before",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Shutdown(client, kOut);
         p.Shutdown(server, kOut);
         p.Reset(client);
         p.Ready(server);
         p.TakeError(server);
         p.Receive(server);
       }},
      {kReset, "own reset: handle gone, nothing is left",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Send(server, "unread");
         p.Reset(client);
         p.Receive(client);
         p.TakeError(server);
       }},

      {kFull, "send until no more is taken",
       [](Play& p) {
         auto [client, server] = p.Connected();
         size_t sent = p.Fill(client);
         p.Note(client, "bytes taken",
                Play::Band(sent, size_t{1} << 20, size_t{16} << 20));
         p.Send(client, "x");
         p.Ready(client);
         p.TakeError(client);
         p.Ready(server);
       }},
      {kFull, "the peer reads 4096 bytes",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Fill(client);
         p.Note(server, "bytes read", Cat(p.Drain(server, 4096)));
         p.Ready(client);
       }},
      {kFull, "when writability returns",
       [](Play& p) {
         auto [client, server] = p.Connected();
         size_t sent = p.Fill(client);
         size_t read = 0;
         while (read < sent && p.ReadinessNow(client) == kNotReady) {
           size_t count = p.Drain(server, 65536);
           if (count == 0) break;
           read += count;
           p.Settle();
         }
         p.Note(server, "percent read before",
                Play::Band(read * 100 / sent, 10, 90));
         p.Ready(client, kWritable);
       }},
      {kFull, "the peer reads all",
       [](Play& p) {
         auto [client, server] = p.Connected();
         size_t sent = p.Fill(client);
         size_t received = p.Drain(server, sent);
         p.Note(server, "received all",
                received == sent ? "yes" : Cat(received));
         p.Ready(client, kWritable);
         p.Send(client, "x");
         p.Receive(server);
       }},
      {kFull, "the other direction goes on",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Fill(client);
         p.Send(server, "hello");
         p.Ready(client, kReadable);
         p.Receive(client);
         p.Ready(client);
       }},
      {kFull, "both directions full",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Fill(client);
         p.Fill(server);
         p.Ready(client);
         p.Ready(server);
       }},
      {kFull, "shutdown output behind it",
       [](Play& p) {
         auto [client, server] = p.Connected();
         size_t sent = p.Fill(client);
         p.Shutdown(client, kOut);
         p.Ready(client);
         p.Send(client, "x");
         size_t received = p.Drain(server, sent);
         p.Note(server, "received all",
                received == sent ? "yes" : Cat(received));
         p.Receive(server);
       }},
      {kFull, "the peer resets",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Fill(client);
         p.Reset(server);
         p.Ready(client, kBoth);
         p.Send(client, "x");
         p.Send(client, "x");
       }},
      {kFull, "the peer closes with all of it unread",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Fill(client);
         p.Close(server);
         p.Ready(client, kBoth);
         p.Receive(client);
         p.Receive(client);
       }},
      {kFull, "the peer shuts its input down",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Fill(client);
         p.Shutdown(server, kIn);
         p.Ready(client);
         p.TakeError(client);
       }},
  };
}

}  // namespace aios::kernel_truth
