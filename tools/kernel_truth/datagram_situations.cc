#include <span>
#include <string>
#include <vector>

#include "tools/kernel_truth/cat.h"
#include "tools/kernel_truth/situations.h"

namespace aios::kernel_truth {

namespace {

constexpr Family k4 = Family::kIpv4;
constexpr Family k6 = Family::kIpv6;

// A sender that is connected to a receiver.
Play::Pair ConnectedDatagrams(Play& p) {
  Play::Pair pair;
  pair.server = p.BoundDatagram("receiver");
  pair.client = p.Datagram("sender");
  p.MustConnect(pair.client, p.At(pair.server));
  return pair;
}

}  // namespace

std::vector<Situation> DatagramSituations() {
  constexpr std::string_view kPlain = "Datagrams";
  constexpr std::string_view kConnected = "Connected datagram sockets";
  constexpr std::string_view kShutdown = "Shutdown of datagram sockets";
  return {
      {kPlain, "one arrives",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.BoundDatagram("sender");
         p.SendTo(sender, p.At(receiver), "hello");
         p.Ready(receiver, kReadable);
         p.ReceiveFrom(receiver, 64, true);
         p.Ready(receiver);
         p.ReceiveFrom(receiver);
       }},
      {kPlain, "one arrives over IPv6",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver", k6);
         Handle sender = p.BoundDatagram("sender", k6);
         p.SendTo(sender, p.At(receiver), "hello");
         p.Ready(receiver, kReadable);
         p.ReceiveFrom(receiver, 64, true);
       }},
      {kPlain, "several keep their order and their borders",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         p.SendTo(sender, p.At(receiver), "one");
         p.SendTo(sender, p.At(receiver), "two");
         p.ReceiveFrom(receiver);
         p.Ready(receiver);
         p.ReceiveFrom(receiver);
         p.ReceiveFrom(receiver);
       }},
      {kPlain, "an empty one",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.BoundDatagram("sender");
         p.SendTo(sender, p.At(receiver), "");
         p.Ready(receiver, kReadable);
         p.Peek(receiver);
         p.ReceiveFrom(receiver, 64, true);
         p.Ready(receiver);
         p.ReceiveFrom(receiver);
       }},
      {kPlain, "longer than the buffer",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         p.SendTo(sender, p.At(receiver), "hello");
         p.SendTo(sender, p.At(receiver), "next");
         p.ReceiveFrom(receiver, 2);
         p.ReceiveFrom(receiver, 4);
         p.ReceiveFrom(receiver);
       }},
      {kPlain, "received without a buffer",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         p.SendTo(sender, p.At(receiver), "hello");
         p.ReceiveFrom(receiver, 0);
         p.ReceiveFrom(receiver);
       }},
      {kPlain, "received as a stream is",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         p.SendTo(sender, p.At(receiver), "hello");
         p.Receive(receiver, 2);
         p.Receive(receiver);
       }},
      {kPlain, "peek leaves it there",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         p.SendTo(sender, p.At(receiver), "hello");
         p.Peek(receiver);
         p.Peek(receiver);
         p.ReceiveFrom(receiver);
         p.Peek(receiver);
       }},
      {kPlain, "the largest, and larger ones",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         p.SendTo(sender, p.At(receiver), std::string(65507, 'x'));
         p.ReceiveFrom(receiver, 70'000);
         p.SendTo(sender, p.At(receiver), std::string(65508, 'x'));
         p.SendTo(sender, p.At(receiver), std::string(70'000, 'x'));
         p.TakeError(sender);
         p.Ready(sender);
         p.ReceiveFrom(receiver);
       }},
      {kPlain, "the largest of IPv6, and larger ones",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver", k6);
         Handle sender = p.Datagram("sender", k6);
         p.SendTo(sender, p.At(receiver), std::string(65507, 'x'));
         p.ReceiveFrom(receiver, 70'000);
         p.SendTo(sender, p.At(receiver), std::string(65527, 'x'));
         p.ReceiveFrom(receiver, 70'000);
         p.SendTo(sender, p.At(receiver), std::string(65528, 'x'));
         p.ReceiveFrom(receiver);
       }},
      {kPlain, "to where nobody is, unconnected",
       [](Play& p) {
         Handle sender = p.Datagram("sender");
         SocketAddress nobody = p.NobodysDatagramAddress();
         p.SendTo(sender, nobody, "one");
         p.Ready(sender);
         p.TakeError(sender);
         p.SendTo(sender, nobody, "two");
         p.ReceiveFrom(sender);
       }},
      {kPlain, "no target",
       [](Play& p) {
         Handle sender = p.Datagram("sender");
         p.Send(sender, "x");
         p.Addresses(sender);
       }},
      {kPlain, "to port 0",
       [](Play& p) {
         Handle sender = p.Datagram("sender");
         p.SendTo(sender, LoopbackAddress(k4, 0), "x");
         Handle six = p.Datagram("six", k6);
         p.SendTo(six, LoopbackAddress(k6, 0), "x");
       }},
      {kPlain, "to the any-address",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         p.SendTo(sender, AnyAddress(k4, p.At(receiver).port()), "x");
         p.ReceiveFrom(receiver, 64, true);
       }},
      {kPlain, "to an address of the wrong family",
       [](Play& p) {
         Handle sender = p.Datagram("sender");
         p.SendTo(sender, LoopbackAddress(k6, 9), "x");
         p.Ready(sender);
       }},
      {kPlain, "to oneself",
       [](Play& p) {
         Handle socket = p.BoundDatagram("socket");
         p.SendTo(socket, p.At(socket), "x");
         p.ReceiveFrom(socket, 64, true);
       }},
      {kPlain, "sending gives the sender a port",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         p.SendTo(sender, p.At(receiver), "x");
         p.Addresses(sender);
         p.ReceiveFrom(receiver, 64, true);
         p.SendTo(receiver, p.At(sender), "back");
         p.ReceiveFrom(sender, 64, true);
       }},
      {kPlain, "received after the sender closed",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.BoundDatagram("sender");
         p.SendTo(sender, p.At(receiver), "last words");
         p.Close(sender);
         p.ReceiveFrom(receiver);
         p.ReceiveFrom(receiver);
       }},
      {kPlain, "to a socket bound to another address of this machine",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         p.SendTo(sender,
                  SocketAddress(IpAddress::FromIpv4(0x7F000002),
                                p.At(receiver).port()),
                  "x");
         p.SendTo(sender, p.At(receiver), "y");
         p.ReceiveFrom(receiver);
         p.ReceiveFrom(receiver);
       }},
      {kPlain, "several in one call",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         SocketAddress target = p.At(receiver);
         OutgoingDatagram list[] = {{{"one", 3}, &target},
                                    {{"", 0}, &target},
                                    {{"three", 5}, &target}};
         p.Note(sender, "send of 3 datagrams",
                Cat(p.kernel().SendDatagrams(sender, list).count));
         p.ReceiveFrom(receiver);
         p.ReceiveFrom(receiver);
         p.ReceiveFrom(receiver);
       }},
      {kPlain, "several in one call, the second too large",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         SocketAddress target = p.At(receiver);
         std::string large(70'000, 'x');
         OutgoingDatagram list[] = {{{"one", 3}, &target},
                                    {{large.data(), large.size()}, &target},
                                    {{"three", 5}, &target}};
         Transfer first = p.kernel().SendDatagrams(sender, list);
         p.Note(sender, "send of 3 datagrams", Cat(first.count));
         Transfer second =
             p.kernel().SendDatagrams(sender, std::span(list).subspan(1));
         p.Note(sender, "send of the rest", second.error.Name());
         p.ReceiveFrom(receiver);
         p.ReceiveFrom(receiver);
       }},
      {kPlain, "a receiver that does not read loses what does not fit",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         SocketAddress target = p.At(receiver);
         std::string payload(1000, 'x');
         OutgoingDatagram one = {{payload.data(), payload.size()}, &target};
         size_t sent = 0;
         for (int i = 0; i < 2000; ++i) {
           sent += p.kernel().SendDatagrams(sender, {&one, 1}).count;
         }
         p.Settle();
         p.Note(sender, "sent", Cat(sent));
         p.Ready(sender);
         size_t received = 0;
         IncomingDatagram datagram;
         while (p.kernel()
                    .ReceiveDatagram(receiver, {payload.data(), payload.size()},
                                     false, &datagram)
                    .ok()) {
           ++received;
         }
         p.Note(receiver, "received", Play::Band(received, 50, 500));
         p.SendTo(sender, target, "again");
         p.ReceiveFrom(receiver);
       }},

      {kConnected, "connect",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         p.Connect(sender, p.At(receiver));
         p.Ready(sender);
         p.Addresses(sender);
         p.Adopt(sender);
         p.Send(sender, "hello");
         p.ReceiveFrom(receiver, 64, true);
       }},
      {kConnected, "connect again, to another peer",
       [](Play& p) {
         auto [sender, receiver] = ConnectedDatagrams(p);
         Handle other = p.BoundDatagram("other");
         p.Connect(sender, p.At(other));
         p.Addresses(sender);
         p.Send(sender, "hello");
         p.ReceiveFrom(receiver);
         p.ReceiveFrom(other);
       }},
      {kConnected, "connect to the any-address",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         p.Connect(sender, AnyAddress(k4, p.At(receiver).port()));
         p.Addresses(sender);
         p.Send(sender, "x");
         p.ReceiveFrom(receiver);
       }},
      {kConnected, "connect to port 0",
       [](Play& p) {
         Handle sender = p.Datagram("sender");
         p.Connect(sender, LoopbackAddress(k4, 0));
         p.Addresses(sender);
         p.Adopt(sender);
         p.Send(sender, "x");
       }},
      {kConnected, "connect to an address of the wrong family",
       [](Play& p) {
         Handle sender = p.Datagram("sender");
         p.Connect(sender, LoopbackAddress(k6, 9));
         p.Ready(sender);
         p.Addresses(sender);
       }},
      {kConnected, "to where nobody is, receive meets the error",
       [](Play& p) {
         Handle sender = p.Datagram("sender");
         p.MustConnect(sender, p.NobodysDatagramAddress());
         p.Send(sender, "one");
         p.Ready(sender, kReadable);
         p.ReceiveFrom(sender);
         p.ReceiveFrom(sender);
         p.Ready(sender);
       }},
      {kConnected, "to where nobody is, the error is taken",
       [](Play& p) {
         Handle sender = p.Datagram("sender");
         p.MustConnect(sender, p.NobodysDatagramAddress());
         p.Send(sender, "one");
         p.TakeError(sender);
         p.TakeError(sender);
         p.Ready(sender);
         p.ReceiveFrom(sender);
       }},
      {kConnected, "to where nobody is, send meets the error",
       [](Play& p) {
         Handle sender = p.Datagram("sender");
         p.MustConnect(sender, p.NobodysDatagramAddress());
         p.Send(sender, "one");
         p.Send(sender, "two");
         p.ReceiveFrom(sender);
         p.Send(sender, "three");
         p.ReceiveFrom(sender);
       }},
      {kConnected, "to where nobody is, mistakes come before the error",
       [](Play& p) {
         Handle sender = p.Datagram("sender");
         p.MustConnect(sender, p.NobodysDatagramAddress());
         p.Send(sender, "one");
         p.SendTo(sender, LoopbackAddress(k4, 0), "two");
         p.SendTo(sender, LoopbackAddress(k4, 9), std::string(70'000, 'x'));
         p.Send(sender, "three");
       }},
      {kConnected, "to where nobody is, peek meets the error",
       [](Play& p) {
         Handle sender = p.Datagram("sender");
         p.MustConnect(sender, p.NobodysDatagramAddress());
         p.Send(sender, "one");
         p.Peek(sender);
         p.Peek(sender);
       }},
      {kConnected, "to where nobody is over IPv6",
       [](Play& p) {
         Handle nobody = p.BoundDatagram("nobody", k6);
         p.MustConnect(nobody, p.At(nobody));
         Handle sender = p.Datagram("sender", k6);
         p.MustConnect(sender, p.At(nobody));
         p.Send(sender, "one");
         p.Ready(sender, kReadable);
         p.ReceiveFrom(sender);
         p.ReceiveFrom(sender);
       }},
      {kConnected, "an error and a datagram: the error comes first",
       [](Play& p) {
         Handle peer = p.BoundDatagram("peer");
         Handle socket = p.BoundDatagram("socket");
         p.MustConnect(socket, p.At(peer));
         p.SendTo(peer, p.At(socket), "before");
         p.Close(peer);
         p.Send(socket, "x");
         p.Ready(socket);
         p.ReceiveFrom(socket);
         p.ReceiveFrom(socket);
         p.ReceiveFrom(socket);
       }},
      {kConnected, "the peer closes, and another takes its place",
       [](Play& p) {
         auto [sender, receiver] = ConnectedDatagrams(p);
         SocketAddress address = p.At(receiver);
         p.Close(receiver);
         p.Send(sender, "lost");
         p.TakeError(sender);
         Handle next = p.Datagram("next");
         p.Bind(next, address);
         p.Send(sender, "hello");
         p.ReceiveFrom(next);
       }},
      {kConnected, "datagrams of others do not come in",
       [](Play& p) {
         Handle peer = p.BoundDatagram("peer");
         Handle other = p.BoundDatagram("other");
         Handle socket = p.BoundDatagram("socket");
         p.MustConnect(socket, p.At(peer));
         p.SendTo(other, p.At(socket), "from other");
         p.SendTo(peer, p.At(socket), "from peer");
         p.ReceiveFrom(socket, 64, true);
         p.ReceiveFrom(socket);
         p.Ready(other);
       }},
      {kConnected, "others that are connected learn that nobody takes it",
       [](Play& p) {
         Handle peer = p.BoundDatagram("peer");
         Handle other = p.BoundDatagram("other");
         Handle socket = p.BoundDatagram("socket");
         p.MustConnect(socket, p.At(peer));
         p.MustConnect(other, p.At(socket));
         p.Send(other, "x");
         p.TakeError(other);
       }},
      {kConnected, "what came before the connect stays",
       [](Play& p) {
         Handle peer = p.BoundDatagram("peer");
         Handle other = p.BoundDatagram("other");
         Handle socket = p.BoundDatagram("socket");
         p.SendTo(other, p.At(socket), "early");
         p.Connect(socket, p.At(peer));
         p.ReceiveFrom(socket, 64, true);
       }},
      {kConnected, "a target of its own goes there",
       [](Play& p) {
         auto [sender, receiver] = ConnectedDatagrams(p);
         Handle other = p.BoundDatagram("other");
         p.SendTo(sender, p.At(other), "x");
         p.ReceiveFrom(receiver);
         p.ReceiveFrom(other);
       }},
      {kConnected, "too large",
       [](Play& p) {
         auto [sender, receiver] = ConnectedDatagrams(p);
         std::string large(70'000, 'x');
         OutgoingDatagram one = {{large.data(), large.size()}, nullptr};
         p.Note(sender, "send 70000 bytes",
                p.kernel().SendDatagrams(sender, {&one, 1}).error.Name());
         p.TakeError(sender);
         p.ReceiveFrom(receiver);
       }},
      {kConnected, "the closest of several sockets on a port gets it",
       [](Play& p) {
         Handle all = p.Datagram("all");
         p.On(all, SocketOption::kReuseAddress);
         p.Bind(all, AnyAddress(k4));
         SocketAddress address = p.At(all);
         Handle one = p.Datagram("one");
         p.On(one, SocketOption::kReuseAddress);
         p.Bind(one, address);
         Handle sender = p.BoundDatagram("sender");
         p.SendTo(sender, address, "first");
         p.ReceiveFrom(one);
         p.ReceiveFrom(all);
         p.MustConnect(all, p.At(sender));
         p.SendTo(sender, address, "second");
         p.ReceiveFrom(all);
         p.ReceiveFrom(one);
       }},
      {kConnected, "two that share an address: the later gets it",
       [](Play& p) {
         Handle one = p.Datagram("one");
         p.On(one, SocketOption::kReuseAddress);
         p.Bind(one, LoopbackAddress(k4));
         Handle two = p.Datagram("two");
         p.On(two, SocketOption::kReuseAddress);
         p.Bind(two, p.At(one));
         Handle sender = p.BoundDatagram("sender");
         p.SendTo(sender, p.At(one), "x");
         p.ReceiveFrom(one);
         p.ReceiveFrom(two);
       }},

      {kConnected, "two that share a port: one sender, one receiver",
       [](Play& p) {
         Handle one = p.Datagram("one");
         p.On(one, SocketOption::kReusePort);
         p.Bind(one, LoopbackAddress(k4));
         Handle two = p.Datagram("two");
         p.On(two, SocketOption::kReusePort);
         p.Bind(two, p.At(one));
         Handle sender = p.BoundDatagram("sender");
         for (int i = 0; i < 4; ++i) p.SendTo(sender, p.At(one), "x");
         p.Settle();
         int ready = 0;
         for (Handle h : {one, two}) {
           if ((p.ReadinessNow(h) & kReadable) != 0) ++ready;
         }
         p.Say(Cat("receivers with a datagram → ", ready));
       }},

      {kShutdown, "not connected",
       [](Play& p) {
         Handle socket = p.BoundDatagram("socket");
         Handle sender = p.Datagram("sender");
         p.Shutdown(socket, Direction::kIo);
         p.Ready(socket);
         p.SendTo(sender, p.At(socket), "x");
         p.ReceiveFrom(socket);
         p.ReceiveFrom(socket);
         p.SendTo(socket, p.At(socket), "y");
       }},
      {kShutdown, "input",
       [](Play& p) {
         auto [sender, receiver] = ConnectedDatagrams(p);
         p.Shutdown(sender, Direction::kInput);
         p.Ready(sender);
         p.ReceiveFrom(sender);
         p.Peek(sender);
         p.SendTo(receiver, p.At(sender), "late");
         p.Ready(sender);
         p.ReceiveFrom(sender);
         p.ReceiveFrom(sender);
         p.Send(sender, "x");
       }},
      {kShutdown, "output",
       [](Play& p) {
         auto [sender, receiver] = ConnectedDatagrams(p);
         p.Shutdown(sender, Direction::kOutput);
         p.Ready(sender);
         p.Send(sender, "x");
         p.TakeError(sender);
         p.SendTo(receiver, p.At(sender), "x");
         p.ReceiveFrom(sender);
         p.ReceiveFrom(sender);
       }},
      {kShutdown, "both",
       [](Play& p) {
         auto [sender, receiver] = ConnectedDatagrams(p);
         p.Shutdown(sender, Direction::kIo);
         p.Ready(sender);
         p.ReceiveFrom(sender);
         p.Send(sender, "x");
         p.Addresses(sender);
         p.ReceiveFrom(receiver);
       }},
      {kShutdown, "input with a datagram unread",
       [](Play& p) {
         auto [sender, receiver] = ConnectedDatagrams(p);
         p.SendTo(receiver, p.At(sender), "early");
         p.Shutdown(sender, Direction::kInput);
         p.ReceiveFrom(sender);
         p.ReceiveFrom(sender);
       }},
  };
}

}  // namespace aios::kernel_truth
