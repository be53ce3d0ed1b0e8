// Fresh sockets, connecting, listening and accepting.

#include <cerrno>
#include <string>
#include <vector>

#include "tools/kernel_truth/cat.h"
#include "tools/kernel_truth/situations.h"

namespace aios::kernel_truth {

namespace {

constexpr Family k4 = Family::kIpv4;
constexpr Family k6 = Family::kIpv6;

// A client that the listener does not answer, as its queue is full.
Play::Pair Unanswered(Play& p) {
  Play::Pair pair;
  pair.server = p.Listener("listener", k4, 1);
  p.Client(pair.server, "first");
  p.Client(pair.server, "second");
  pair.client = p.Stream("third");
  return pair;
}

}  // namespace

std::vector<Situation> ConnectSituations() {
  constexpr std::string_view kFresh = "Fresh and closed sockets";
  constexpr std::string_view kConnect = "Connecting";
  constexpr std::string_view kListen = "Listening and accepting";
  return {
      {kFresh, "fresh stream",
       [](Play& p) {
         Handle s = p.Stream("socket");
         p.Ready(s);
         p.Ready(s, kNotReady, kReadable);
         p.Ready(s, kNotReady, kWritable);
         p.Receive(s);
         p.Peek(s);
         p.Send(s, "x");
         p.TakeError(s);
         p.Addresses(s);
         p.Adopt(s);
       }},
      {kFresh, "fresh stream, accept",
       [](Play& p) { p.Accept(p.Stream("socket")); }},
      {kFresh, "fresh stream, shutdown input",
       [](Play& p) {
         Handle s = p.Stream("socket");
         p.Shutdown(s, Direction::kInput);
         p.Ready(s);
         p.Receive(s);
         p.Send(s, "x");
       }},
      {kFresh, "fresh stream, shutdown output",
       [](Play& p) {
         Handle s = p.Stream("socket");
         p.Shutdown(s, Direction::kOutput);
         p.Ready(s);
         p.Receive(s);
         p.Send(s, "x");
       }},
      {kFresh, "fresh stream of IPv6",
       [](Play& p) {
         Handle s = p.Stream("socket", k6);
         p.Ready(s);
         p.Receive(s);
         p.Send(s, "x");
         p.Addresses(s);
         p.Adopt(s);
       }},
      {kFresh, "bound stream",
       [](Play& p) {
         Handle s = p.BoundStream("socket");
         p.Ready(s);
         p.Addresses(s);
         p.Receive(s);
         p.Send(s, "x");
       }},
      {kFresh, "fresh datagram socket",
       [](Play& p) {
         Handle s = p.Datagram("socket");
         p.Ready(s);
         p.ReceiveFrom(s);
         p.Peek(s);
         p.Send(s, "x");
         p.TakeError(s);
         p.Addresses(s);
         p.Adopt(s);
       }},
      {kFresh, "fresh datagram socket, calls for streams",
       [](Play& p) {
         Handle s = p.Datagram("socket");
         p.Listen(s);
         p.Accept(s);
       }},
      {kFresh, "closed handle, every call",
       [](Play& p) {
         Handle s = p.Stream("socket");
         p.Close(s);
         p.Receive(s);
         p.Peek(s);
         p.Send(s, "x");
         p.ReceiveFrom(s);
         p.SendTo(s, LoopbackAddress(k4, 1), "x");
         p.TakeError(s);
         p.Connect(s, LoopbackAddress(k4, 1));
         p.Bind(s, LoopbackAddress(k4));
         p.Listen(s);
         p.Accept(s);
         p.Addresses(s);
         p.Shutdown(s, Direction::kIo);
         p.Set(s, SocketOption::kKeepAlive);
         p.Get(s, SocketOption::kKeepAlive);
         p.Adopt(s);
       }},
      {kFresh, "closed twice: nobody else's socket is hit",
       [](Play& p) {
         Handle first = p.Stream("first");
         Handle second = p.Datagram("second");
         p.Close(first);
         p.Close(first);
         p.Ready(second);
       }},
      {kFresh, "handle that never was",
       [](Play& p) {
         p.Receive(kNoHandle);
         p.Send(kNoHandle, "x");
         p.TakeError(kNoHandle);
         p.Close(kNoHandle);
       }},
      {kFresh, "the next socket gets the handle that was closed",
       [](Play& p) {
         Handle first = p.Stream("first");
         p.Stream("second");
         p.Close(first);
         Handle third = p.Stream("third");
         p.Note(third, "same handle", third == first ? "yes" : "no");
       }},

      {kConnect, "connect to a listener",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Stream("client");
         p.Connect(client, p.At(listener));
         p.Ready(client, kWritable);
         p.TakeError(client);
         p.Addresses(client);
         p.Receive(client);
         p.Adopt(client);
       }},
      {kConnect, "connect to a listener of IPv6",
       [](Play& p) {
         Handle listener = p.Listener("listener", k6);
         Handle client = p.Stream("client", k6);
         p.Connect(client, p.At(listener));
         p.Ready(client, kWritable);
         p.TakeError(client);
         p.Addresses(client);
       }},
      {kConnect, "connect again when connected",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Stream("client");
         p.Connect(client, p.At(listener));
         p.Ready(client, kWritable);
         p.Connect(client, p.At(listener));
         p.Connect(client, p.At(listener));
         p.Connect(client, p.NobodysStreamAddress());
       }},
      {kConnect, "refused, the error is taken",
       [](Play& p) {
         Handle client = p.Stream("client");
         p.Connect(client, p.NobodysStreamAddress());
         p.Ready(client, kBoth);
         p.TakeError(client);
         p.TakeError(client);
         p.Ready(client);
         p.Receive(client);
         p.Send(client, "x");
         p.Addresses(client);
       }},
      {kConnect, "refused, receive meets the error",
       [](Play& p) {
         Handle client = p.Stream("client");
         p.Connect(client, p.NobodysStreamAddress());
         p.Receive(client);
         p.Receive(client);
         p.TakeError(client);
       }},
      {kConnect, "refused, send meets the error",
       [](Play& p) {
         Handle client = p.Stream("client");
         p.Connect(client, p.NobodysStreamAddress());
         p.Send(client, "x");
         p.Send(client, "x");
         p.TakeError(client);
       }},
      {kConnect, "refused, then connect again on the same socket",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Stream("client");
         p.Connect(client, p.NobodysStreamAddress());
         p.Connect(client, p.At(listener));
         p.Connect(client, p.At(listener));
         p.Ready(client, kWritable);
         p.TakeError(client);
       }},
      {kConnect, "refused, the error is taken, then connect again",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Stream("client");
         p.Connect(client, p.NobodysStreamAddress());
         p.TakeError(client);
         p.Connect(client, p.At(listener));
         p.Connect(client, p.At(listener));
         p.Ready(client, kWritable);
         p.TakeError(client);
       }},
      {kConnect, "to port 0",
       [](Play& p) {
         Handle client = p.Stream("client");
         p.Connect(client, LoopbackAddress(k4, 0));
         p.Ready(client, kBoth);
         p.TakeError(client);
       }},
      {kConnect, "to the any-address",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Stream("client");
         p.Connect(client, AnyAddress(k4, p.At(listener).port()));
         p.Ready(client, kWritable);
         p.Addresses(client);
       }},
      {kConnect, "bound before, to another local address",
       [](Play& p) {
         Handle listener = p.Stream("listener");
         p.Bind(listener, AnyAddress(k4));
         p.Listen(listener);
         Handle client = p.Stream("client");
         p.Bind(client, LoopbackAddress(k4));
         p.Connect(client, SocketAddress(IpAddress::FromIpv4(0x7F000002),
                                         p.At(listener).port()));
         p.Ready(client, kWritable);
         p.Addresses(client);
         Handle server = p.Accept(listener);
         p.Addresses(server);
       }},
      {kConnect, "to an address of the wrong family",
       [](Play& p) {
         Handle four = p.Stream("four");
         p.Connect(four, LoopbackAddress(k6, 9));
         p.Ready(four);
         Handle six = p.Stream("six", k6);
         p.Connect(six, LoopbackAddress(k4, 9));
         p.Ready(six);
       }},
      {kConnect, "to its own address",
       [](Play& p) {
         Handle s = p.BoundStream("socket");
         p.Connect(s, p.At(s));
         p.Ready(s, kWritable);
         p.TakeError(s);
         p.Addresses(s);
         p.Send(s, "to myself");
         p.Receive(s);
         p.Shutdown(s, Direction::kOutput);
         p.Receive(s);
       }},
      {kConnect, "in progress: the listener's queue is full",
       [](Play& p) {
         auto [client, listener] = Unanswered(p);
         p.Connect(client, p.At(listener));
         p.Ready(client);
         p.Receive(client);
         p.Peek(client);
         p.Send(client, "x");
         p.TakeError(client);
         p.Connect(client, p.At(listener));
         p.Addresses(client);
         p.Adopt(client);
         p.Ready(client);
       }},
      {kConnect, "in progress, then the queue has room",
       [](Play& p) {
         auto [client, listener] = Unanswered(p);
         p.Connect(client, p.At(listener));
         p.Ready(client);
         p.Accept(listener);
         p.Ready(client, kWritable);
         p.TakeError(client);
       }},
      {kConnect, "in progress, then nobody listens any more",
       [](Play& p) {
         auto [client, listener] = Unanswered(p);
         p.Connect(client, p.At(listener));
         p.Close(listener);
         p.Ready(client, kBoth);
         p.TakeError(client);
       }},
      {kConnect, "in progress, shutdown output",
       [](Play& p) {
         auto [client, listener] = Unanswered(p);
         p.Connect(client, p.At(listener));
         p.Shutdown(client, Direction::kOutput);
         p.Ready(client);
         p.Receive(client);
         p.Send(client, "x");
         p.TakeError(client);
       }},
      {kConnect, "in progress, shutdown input",
       [](Play& p) {
         auto [client, listener] = Unanswered(p);
         p.Connect(client, p.At(listener));
         p.Shutdown(client, Direction::kInput);
         p.TakeError(client);
         p.Receive(client);
         p.Send(client, "x");
       }},
      {kConnect, "in progress, closed",
       [](Play& p) {
         auto [client, listener] = Unanswered(p);
         p.Connect(client, p.At(listener));
         p.Close(client);
         p.Accept(listener, "server1");
         p.Accept(listener, "server2");
         p.Accept(listener, "server3");
       }},

      {kConnect, "in progress, shutdown, then connect again",
       [](Play& p) {
         auto [client, listener] = Unanswered(p);
         p.Connect(client, p.At(listener));
         p.Shutdown(client, Direction::kIo);
         p.TakeError(client);
         p.Connect(client, p.At(p.Listener("next")));
         p.Ready(client, kWritable);
         p.Send(client, "hello");
         p.TakeError(client);
       }},
      {kConnect, "shutdown before the connect",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Stream("client");
         p.Shutdown(client, Direction::kIo);
         p.Connect(client, p.At(listener));
         p.Ready(client, kWritable);
         p.Receive(client);
         p.Send(client, "hello");
         p.Receive(p.Accept(listener));
       }},

      {kListen, "listener without a connection",
       [](Play& p) {
         Handle listener = p.Listener();
         p.Ready(listener);
         p.Accept(listener);
         p.Receive(listener);
         p.Peek(listener);
         p.Send(listener, "x");
         p.TakeError(listener);
         p.Addresses(listener);
         p.Adopt(listener);
         p.Connect(listener, p.At(listener));
         p.Ready(listener);
       }},
      {kListen, "listen without bind",
       [](Play& p) {
         Handle listener = p.Stream("listener");
         p.Listen(listener);
         p.Addresses(listener);
         p.Ready(listener);
       }},
      {kListen, "listen twice",
       [](Play& p) {
         Handle listener = p.Listener();
         p.Client(listener);
         p.Listen(listener);
         p.Accept(listener);
       }},
      {kListen, "listen on a connected socket",
       [](Play& p) { p.Listen(p.Connected().client); }},
      {kListen, "listen with a backlog of 1: so many connections",
       [](Play& p) {
         Handle listener = p.Listener("listener", k4, 1);
         int connected = 0;
         for (int i = 0; i < 4; ++i) {
           Handle client = p.Stream(Cat("client", i));
           static_cast<void>(p.kernel().Connect(client, p.At(listener)));
           p.Settle();
           if ((p.ReadinessNow(client) & kWritable) != 0) ++connected;
         }
         p.Say(Cat(connected, " of 4 clients connected"));
       }},
      {kListen, "accept one connection",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Client(listener);
         p.Ready(listener, kReadable);
         p.Ready(listener);
         Handle server = p.Accept(listener);
         p.Ready(listener);
         p.Accept(listener);
         p.Ready(server);
         p.Addresses(server);
         p.Adopt(server);
         p.Drop(listener);
         p.Addresses(client);
       }},
      {kListen, "accept in the order of arrival",
       [](Play& p) {
         Handle listener = p.Listener();
         for (const char* name : {"a", "b", "c"}) {
           p.Send(p.Client(listener, name), name);
         }
         p.Receive(p.Accept(listener, "first"));
         p.Receive(p.Accept(listener, "second"));
         p.Receive(p.Accept(listener, "third"));
       }},
      {kListen, "accept after the peer sent data and closed",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Client(listener);
         p.Send(client, "data");
         p.Close(client);
         p.Ready(listener, kReadable);
         Handle server = p.Accept(listener);
         p.Ready(server, kReadable);
         p.Receive(server);
         p.Receive(server);
         p.Receive(server);
         p.Addresses(server);
       }},
      {kListen, "accept after the peer reset",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Client(listener);
         p.Reset(client);
         p.Ready(listener, kReadable);
         Handle server = p.Accept(listener);
         p.Ready(server);
         p.Adopt(server);
         p.Addresses(server);
         p.Receive(server);
         p.Receive(server);
       }},
      {kListen, "accept after the peer sent data and reset",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Client(listener);
         p.Send(client, "data");
         p.Reset(client);
         Handle server = p.Accept(listener);
         p.Ready(server);
         p.Receive(server);
         p.Receive(server);
         p.Receive(server);
       }},
      {kListen, "accept without descriptors",
       [](Play& p) {
         Handle listener = p.Listener();
         p.Client(listener);
         p.ForbidHandles();
         p.Ready(listener, kReadable);
         p.Accept(listener);
         p.Accept(listener);
         p.Ready(listener);
         p.Ready(listener);
         p.AllowHandles();
         p.Accept(listener);
         p.Ready(listener);
       }},
      {kListen, "no descriptors, and no connection either",
       [](Play& p) {
         Handle listener = p.Listener();
         p.ForbidHandles();
         p.Accept(listener);
         p.Ready(listener);
         Handle none = kNoHandle;
         p.Say(Cat("open → ",
                   p.kernel().Open(SocketType::kStream, k4, &none).Name()));
         std::unique_ptr<Poller> poller;
         p.Say(Cat("new poller → ", p.kernel().NewPoller(&poller).Name()));
         p.AllowHandles();
         p.Accept(listener);
       }},
      {kListen, "no descriptors: which error comes first",
       [](Play& p) {
         Handle bound = p.BoundStream("bound");
         Handle datagram = p.Datagram("datagram");
         p.ForbidHandles();
         p.Accept(bound);
         p.Accept(datagram);
         p.AllowHandles();
       }},
      {kListen, "the listener closes with a connection in its queue",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Client(listener);
         p.Close(listener);
         p.Ready(client, kReadable);
         p.Receive(client);
         p.Receive(client);
         p.Send(client, "x");
       }},
      {kListen, "the listener closes with data in its queue",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Client(listener);
         p.Send(client, "data");
         p.Close(listener);
         p.Ready(client, kReadable);
         p.TakeError(client);
         p.Receive(client);
       }},
      {kListen, "the listener closes, accepted connections live on",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Client(listener);
         Handle server = p.Accept(listener);
         p.Close(listener);
         p.Send(client, "data");
         p.Receive(server);
       }},
      {kListen, "shutdown output of a listener",
       [](Play& p) {
         Handle listener = p.Listener();
         p.Client(listener);
         p.Shutdown(listener, Direction::kOutput);
         p.Ready(listener);
         p.Accept(listener);
         p.Adopt(listener);
       }},
      {kListen, "shutdown input of a listener",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Client(listener);
         p.Shutdown(listener, Direction::kInput);
         p.Ready(client);
         p.TakeError(client);
         p.Ready(listener);
         p.Accept(listener);
         p.Adopt(listener);
         p.Listen(listener);
         p.Ready(listener);
       }},
  };
}

}  // namespace aios::kernel_truth
