// Addresses, ports, both families on one socket, and options.

#include <array>
#include <vector>

#include "tools/kernel_truth/cat.h"
#include "tools/kernel_truth/situations.h"

namespace aios::kernel_truth {

namespace {

constexpr Family k4 = Family::kIpv4;
constexpr Family k6 = Family::kIpv6;
constexpr SocketOption kReuseAddress = SocketOption::kReuseAddress;
constexpr SocketOption kReusePort = SocketOption::kReusePort;
constexpr SocketOption kNoDelay = SocketOption::kNoDelay;
constexpr SocketOption kKeepAlive = SocketOption::kKeepAlive;
constexpr SocketOption kIpv6Only = SocketOption::kIpv6Only;

constexpr std::array<SocketOption, 5> kOptions = {
    kReuseAddress, kReusePort, kNoDelay, kKeepAlive, kIpv6Only};

// Listens on all addresses of both families, or of IPv6 only.
Handle WideListener(Play& p, bool only = false, uint16_t port = 0) {
  Handle listener = p.Stream("listener", k6);
  if (only) p.On(listener, kIpv6Only);
  p.Bind(listener, AnyAddress(k6, port));
  p.Listen(listener);
  return listener;
}

// The address of a connection that its server ended first, and that is over.
SocketAddress Remembered(Play& p, bool reuse) {
  Handle listener = p.Stream("listener");
  if (reuse) p.On(listener, kReuseAddress);
  p.Bind(listener, LoopbackAddress(k4));
  p.Listen(listener);
  SocketAddress address = p.At(listener);
  Handle client = p.Client(listener);
  Handle server = p.Accepted(listener);
  p.Drop(listener);
  p.Close(server);
  p.Receive(client);
  p.Close(client);
  return address;
}

}  // namespace

std::vector<Situation> AddressSituations() {
  constexpr std::string_view kBind = "Binding";
  constexpr std::string_view kDual = "Both families on one socket";
  constexpr std::string_view kSet = "Options";
  return {
      {kBind, "to port 0",
       [](Play& p) {
         for (Handle h : {p.Stream("stream"), p.Datagram("datagram")}) {
           p.Bind(h, LoopbackAddress(k4));
           p.Addresses(h);
         }
       }},
      {kBind, "twice",
       [](Play& p) {
         for (Handle h : {p.Stream("stream"), p.Datagram("datagram")}) {
           p.Bind(h, LoopbackAddress(k4));
           p.Bind(h, LoopbackAddress(k4));
         }
       }},
      {kBind, "when connected, and when listening",
       [](Play& p) {
         p.Bind(p.Connected().client, LoopbackAddress(k4));
         p.Bind(p.Listener("other"), LoopbackAddress(k4));
       }},
      {kBind, "a datagram socket that has sent",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender");
         p.SendTo(sender, p.At(receiver), "x");
         p.Bind(sender, LoopbackAddress(k4));
       }},
      {kBind, "to an address that is not local",
       [](Play& p) {
         SocketAddress remote(IpAddress::FromIpv4(0xC0000201), 0);
         p.Bind(p.Stream("stream"), remote);
         p.Bind(p.Datagram("datagram"), remote);
       }},
      {kBind, "to an IPv6 address that is not local",
       [](Play& p) {
         SocketAddress remote = SocketAddress::Parse("[2001:db8::1]:0").value();
         p.Bind(p.Stream("stream", k6), remote);
         p.Bind(p.Datagram("datagram", k6), remote);
       }},
      {kBind, "to an address of the other family",
       [](Play& p) {
         p.Bind(p.Stream("four"), LoopbackAddress(k6));
         p.Bind(p.Stream("six", k6), LoopbackAddress(k4));
         p.Bind(p.Datagram("four'"), LoopbackAddress(k6));
         p.Bind(p.Datagram("six'", k6), LoopbackAddress(k4));
       }},
      {kBind, "after a failure the socket is as before",
       [](Play& p) {
         Handle first = p.BoundStream("first");
         Handle second = p.Stream("second");
         p.Bind(second, p.At(first));
         p.Addresses(second);
         p.Bind(second, LoopbackAddress(k4));
       }},
      {kBind, "to a port that is taken",
       [](Play& p) {
         Handle bound = p.BoundStream("bound");
         p.Bind(p.Stream("second"), p.At(bound));
         Handle listener = p.Listener();
         p.Bind(p.Stream("third"), p.At(listener));
         Handle datagram = p.BoundDatagram("datagram");
         p.Bind(p.Datagram("fourth"), p.At(datagram));
       }},
      {kBind, "streams and datagrams share no ports",
       [](Play& p) {
         SocketAddress address = LoopbackAddress(k4, p.FreePort());
         p.Bind(p.Stream("stream"), address);
         p.Bind(p.Datagram("datagram"), address);
       }},
      {kBind, "to the any-address when one address is taken",
       [](Play& p) {
         Handle bound = p.BoundStream("bound");
         p.Bind(p.Stream("second"), AnyAddress(k4, p.At(bound).port()));
       }},
      {kBind, "to one address when the any-address is taken",
       [](Play& p) {
         Handle bound = p.Stream("bound");
         p.Bind(bound, AnyAddress(k4));
         p.Bind(p.Stream("second"), p.At(bound));
       }},
      {kBind, "two addresses, one port",
       [](Play& p) {
         Handle bound = p.Stream("bound");
         p.Bind(bound, LoopbackAddress(k4, p.FreePort()));
         p.Bind(p.Stream("second"),
                SocketAddress(IpAddress::FromIpv4(0x7F000002),
                              p.At(bound).port()));
       }},
      {kBind, "reuse address, neither listens",
       [](Play& p) {
         Handle first = p.Stream("first");
         p.On(first, kReuseAddress);
         p.Bind(first, LoopbackAddress(k4));
         Handle second = p.Stream("second");
         p.On(second, kReuseAddress);
         p.Bind(second, p.At(first));
         p.Listen(first);
         p.Listen(second);
       }},
      {kBind, "reuse address, the first listens",
       [](Play& p) {
         Handle first = p.Stream("first");
         p.On(first, kReuseAddress);
         p.Bind(first, LoopbackAddress(k4));
         p.Listen(first);
         Handle second = p.Stream("second");
         p.On(second, kReuseAddress);
         p.Bind(second, p.At(first));
       }},
      {kBind, "reuse address on one of two only",
       [](Play& p) {
         Handle first = p.BoundStream("first");
         Handle second = p.Stream("second");
         p.On(second, kReuseAddress);
         p.Bind(second, p.At(first));
         Handle third = p.BoundDatagram("third");
         Handle fourth = p.Datagram("fourth");
         p.On(fourth, kReuseAddress);
         p.Bind(fourth, p.At(third));
       }},
      {kBind, "reuse port on both",
       [](Play& p) {
         Handle first = p.Stream("first");
         p.On(first, kReusePort);
         p.Bind(first, LoopbackAddress(k4));
         p.Listen(first);
         Handle second = p.Stream("second");
         p.On(second, kReusePort);
         p.Bind(second, p.At(first));
         p.Listen(second);
         int ready = 0;
         for (int i = 0; i < 8; ++i) p.Client(first, Cat("c", i));
         for (Handle h : {first, second}) {
           Handle accepted = kNoHandle;
           while (p.kernel().Accept(h, &accepted).ok()) {
             ++ready;
             p.kernel().Close(accepted);
           }
         }
         p.Say(Cat(ready, " of 8 connections accepted"));
       }},
      {kBind, "reuse port on one of two only",
       [](Play& p) {
         Handle first = p.BoundStream("first");
         Handle second = p.Stream("second");
         p.On(second, kReusePort);
         p.Bind(second, p.At(first));
       }},
      {kBind, "the port of a connection, its listener gone",
       [](Play& p) {
         auto [client, server] = p.Connected();
         SocketAddress address = p.At(server);
         p.Bind(p.Stream("plain"), address);
         Handle reuse = p.Stream("reuse");
         p.On(reuse, kReuseAddress);
         p.Bind(reuse, address);
       }},
      {kBind, "the port of a connection, all with reuse address",
       [](Play& p) {
         Handle listener = p.Stream("listener");
         p.On(listener, kReuseAddress);
         p.Bind(listener, LoopbackAddress(k4));
         p.Listen(listener);
         SocketAddress address = p.At(listener);
         p.Client(listener);
         p.Accepted(listener);
         p.Close(listener);
         p.Bind(p.Stream("plain"), address);
         Handle reuse = p.Stream("reuse");
         p.On(reuse, kReuseAddress);
         p.Bind(reuse, address);
         p.Listen(reuse);
       }},
      {kBind, "the port of a client",
       [](Play& p) {
         auto [client, server] = p.Connected();
         SocketAddress address = p.At(client);
         p.Bind(p.Stream("plain"), address);
         Handle reuse = p.Stream("reuse");
         p.On(reuse, kReuseAddress);
         p.Bind(reuse, address);
       }},
      {kBind, "the port of a connection that is over",
       [](Play& p) {
         SocketAddress address = Remembered(p, false);
         p.Bind(p.Stream("plain"), address);
         Handle reuse = p.Stream("reuse");
         p.On(reuse, kReuseAddress);
         p.Bind(reuse, address);
       }},
      {kBind, "the port of a connection that is over, with reuse address",
       [](Play& p) {
         SocketAddress address = Remembered(p, true);
         p.Bind(p.Stream("plain"), address);
         Handle reuse = p.Stream("reuse");
         p.On(reuse, kReuseAddress);
         p.Bind(reuse, address);
         p.Listen(reuse);
         p.Client(reuse, "again");
         p.Accept(reuse);
       }},
      {kBind, "the port of a connection that was reset",
       [](Play& p) {
         auto [client, server] = p.Connected();
         SocketAddress address = p.At(server);
         p.Reset(client);
         p.Ready(server, kReadable);
         p.Bind(p.Stream("plain"), address);
         p.Close(server);
         p.Bind(p.Stream("plain'"), address);
       }},
      {kBind, "the port of a listener that was closed",
       [](Play& p) {
         Handle listener = p.Listener();
         SocketAddress address = p.At(listener);
         p.Close(listener);
         p.Bind(p.Stream("next"), address);
       }},

      {kDual, "a listener for both, a client of IPv4",
       [](Play& p) {
         Handle listener = WideListener(p);
         p.Addresses(listener);
         Handle client = p.Stream("client");
         p.Connect(client, LoopbackAddress(k4, p.At(listener).port()));
         p.Ready(client, kWritable);
         Handle server = p.Accept(listener);
         p.Addresses(server);
         p.Addresses(client);
         p.Adopt(server);
         p.Get(server, kIpv6Only);
         p.Send(server, "hello");
         p.Receive(client);
       }},
      {kDual, "a listener for both, a client of IPv6",
       [](Play& p) {
         Handle listener = WideListener(p);
         p.Client(listener);
         Handle server = p.Accept(listener);
         p.Addresses(server);
       }},
      {kDual, "a listener for IPv6 only, a client of IPv4",
       [](Play& p) {
         Handle listener = WideListener(p, true, p.FreePort());
         Handle client = p.Stream("client");
         p.Connect(client, LoopbackAddress(k4, p.At(listener).port()));
         p.Ready(client, kBoth);
         p.TakeError(client);
         p.Ready(listener);
       }},
      {kDual, "a client of IPv6 connects to a mapped address",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Stream("client", k6);
         p.Connect(client, MappedAddress(p.At(listener).port()));
         p.Ready(client, kWritable);
         p.Addresses(client);
         Handle server = p.Accept(listener);
         p.Addresses(server);
       }},
      {kDual, "IPv6 only, connect to a mapped address",
       [](Play& p) {
         Handle listener = p.Listener();
         Handle client = p.Stream("client", k6);
         p.On(client, kIpv6Only);
         p.Connect(client, MappedAddress(p.At(listener).port()));
         p.Ready(client);
       }},
      {kDual, "bind to a mapped address",
       [](Play& p) {
         Handle listener = p.Stream("listener", k6);
         p.Bind(listener, MappedAddress());
         p.Addresses(listener);
         p.Listen(listener);
         Handle client = p.Stream("client");
         p.Connect(client, LoopbackAddress(k4, p.At(listener).port()));
         p.Ready(client, kWritable);
         Handle other = p.Stream("other", k6);
         p.Connect(other, LoopbackAddress(k6, p.At(listener).port()));
         p.Ready(other, kBoth);
         p.TakeError(other);
       }},
      {kDual, "IPv6 only, bind to a mapped address",
       [](Play& p) {
         Handle s = p.Stream("stream", k6);
         p.On(s, kIpv6Only);
         p.Bind(s, MappedAddress());
         Handle d = p.Datagram("datagram", k6);
         p.On(d, kIpv6Only);
         p.Bind(d, MappedAddress());
       }},
      {kDual, "the port is taken for IPv4",
       [](Play& p) {
         Handle four = p.Stream("four");
         p.Bind(four, LoopbackAddress(k4, p.FreePort()));
         Handle both = p.Stream("both", k6);
         p.Bind(both, AnyAddress(k6, p.At(four).port()));
         Handle only = p.Stream("only", k6);
         p.On(only, kIpv6Only);
         p.Bind(only, AnyAddress(k6, p.At(four).port()));
         Handle loopback = p.Stream("loopback", k6);
         p.Bind(loopback, LoopbackAddress(k6, p.At(four).port()));
       }},
      {kDual, "the port is taken for both",
       [](Play& p) {
         Handle both = p.Stream("both", k6);
         p.Bind(both, AnyAddress(k6));
         Handle four = p.Stream("four");
         p.Bind(four, LoopbackAddress(k4, p.At(both).port()));
         Handle any = p.Stream("any");
         p.Bind(any, AnyAddress(k4, p.At(both).port()));
       }},
      {kDual, "two listeners: the one of the client's family gets it",
       [](Play& p) {
         uint16_t port = p.FreePort();
         Handle six = WideListener(p, true, port);
         Handle four = p.Stream("four");
         p.Bind(four, AnyAddress(k4, port));
         p.Listen(four);
         Handle client = p.Stream("client");
         p.Connect(client, p.At(four));
         p.Ready(client, kWritable);
         p.Ready(four);
         p.Ready(six);
       }},
      {kDual, "a datagram of IPv4 comes in mapped",
       [](Play& p) {
         Handle receiver = p.Datagram("receiver", k6);
         p.Bind(receiver, AnyAddress(k6));
         Handle sender = p.BoundDatagram("sender");
         p.SendTo(sender, LoopbackAddress(k4, p.At(receiver).port()), "x");
         p.ReceiveFrom(receiver, 64, true);
         p.SendTo(receiver, MappedAddress(p.At(sender).port()), "back");
         p.ReceiveFrom(sender, 64, true);
       }},
      {kDual, "IPv6 only: no datagram of IPv4 comes in, none goes out",
       [](Play& p) {
         Handle receiver = p.Datagram("receiver", k6);
         p.On(receiver, kIpv6Only);
         p.Bind(receiver, AnyAddress(k6));
         Handle sender = p.BoundDatagram("sender");
         p.MustConnect(sender, LoopbackAddress(k4, p.At(receiver).port()));
         p.Send(sender, "x");
         p.TakeError(sender);
         p.ReceiveFrom(receiver);
         p.SendTo(receiver, MappedAddress(p.At(sender).port()), "back");
         p.Connect(receiver, MappedAddress(p.At(sender).port()));
       }},
      {kDual, "a datagram socket of IPv6 connects to a mapped address",
       [](Play& p) {
         Handle receiver = p.BoundDatagram("receiver");
         Handle sender = p.Datagram("sender", k6);
         p.Connect(sender, MappedAddress(p.At(receiver).port()));
         p.Addresses(sender);
         p.Send(sender, "x");
         p.ReceiveFrom(receiver, 64, true);
       }},

      {kSet, "of a fresh stream",
       [](Play& p) {
         Handle s = p.Stream("stream");
         for (SocketOption option : kOptions) p.Get(s, option);
       }},
      {kSet, "of a fresh stream of IPv6",
       [](Play& p) {
         Handle s = p.Stream("stream", k6);
         for (SocketOption option : kOptions) p.Get(s, option);
       }},
      {kSet, "of a fresh datagram socket",
       [](Play& p) {
         Handle s = p.Datagram("datagram");
         for (SocketOption option : kOptions) p.Get(s, option);
       }},
      {kSet, "set and get on a stream of IPv6",
       [](Play& p) {
         Handle s = p.Stream("stream", k6);
         for (SocketOption option : kOptions) {
           p.Set(s, option);
           p.Get(s, option);
           p.Set(s, option, false);
           p.Get(s, option);
         }
       }},
      {kSet, "set and get on a stream of IPv4",
       [](Play& p) {
         Handle s = p.Stream("stream");
         for (SocketOption option : kOptions) {
           p.Set(s, option);
           p.Get(s, option);
         }
       }},
      {kSet, "set and get on a datagram socket of IPv6",
       [](Play& p) {
         Handle s = p.Datagram("datagram", k6);
         for (SocketOption option : kOptions) {
           p.Set(s, option);
           p.Get(s, option);
         }
       }},
      {kSet, "set and get on a datagram socket of IPv4",
       [](Play& p) {
         Handle s = p.Datagram("datagram");
         for (SocketOption option : kOptions) {
           p.Set(s, option);
           p.Get(s, option);
         }
       }},
      {kSet, "set on a bound socket of IPv6",
       [](Play& p) {
         Handle s = p.BoundStream("stream", k6);
         for (SocketOption option : kOptions) p.Set(s, option);
         Handle d = p.BoundDatagram("datagram", k6);
         p.Set(d, kIpv6Only);
       }},
      {kSet, "an accepted socket inherits what its listener had",
       [](Play& p) {
         Handle listener = p.Stream("listener", k6);
         for (SocketOption option : kOptions) p.On(listener, option);
         p.Bind(listener, LoopbackAddress(k6));
         p.Listen(listener);
         p.Client(listener);
         Handle server = p.Accept(listener);
         for (SocketOption option : kOptions) p.Get(server, option);
       }},
      {kSet, "set on the listener after the connection came",
       [](Play& p) {
         Handle listener = p.Listener();
         p.Client(listener);
         p.Set(listener, kNoDelay);
         p.Set(listener, kKeepAlive);
         Handle server = p.Accept(listener);
         p.Get(server, kNoDelay);
         p.Get(server, kKeepAlive);
       }},
      {kSet, "set after the peer reset",
       [](Play& p) {
         auto [client, server] = p.Connected();
         p.Reset(client);
         p.Ready(server, kReadable);
         for (SocketOption option : {kNoDelay, kKeepAlive}) {
           p.Set(server, option);
           p.Get(server, option);
         }
       }},
  };
}

}  // namespace aios::kernel_truth
