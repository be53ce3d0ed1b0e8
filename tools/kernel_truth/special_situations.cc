// Special addresses: each of RFC 6890 and its like, in each call that takes an
// address. In a network as `EnterOwnNetwork` makes it.

#include <cerrno>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/kernel_truth/cat.h"
#include "tools/kernel_truth/situations.h"

namespace aios::kernel_truth {

namespace {

constexpr uint16_t kDiscard = 9;

struct Special {
  std::string_view address;
  std::string_view what;
  // It is not asked from each kind of bound socket as well.
  bool plain = false;
};

constexpr Special kAddresses[] = {
    {"0.0.0.0", "unspecified"},
    {"0.0.0.1", "this network", true},
    {"10.0.0.0", "the network itself"},
    {"10.0.0.1", "of this host"},
    {"10.0.0.2", "of another host"},
    {"10.255.255.255", "broadcast of the network"},
    {"100.64.0.1", "shared", true},
    {"127.0.0.0", "loopback, the first"},
    {"127.0.0.1", "loopback"},
    {"127.1.2.3", "loopback, another"},
    {"127.255.255.255", "loopback, broadcast"},
    {"169.254.1.1", "link-local", true},
    {"172.16.0.1", "private", true},
    {"192.0.0.1", "protocol assignments", true},
    {"192.0.0.8", "dummy", true},
    {"192.0.2.1", "documentation"},
    {"192.88.99.1", "6to4 relay", true},
    {"192.168.0.1", "private", true},
    {"198.18.0.1", "benchmarks", true},
    {"198.51.100.1", "documentation", true},
    {"203.0.113.1", "documentation", true},
    {"224.0.0.1", "multicast, all hosts"},
    {"232.1.1.1", "multicast, one source", true},
    {"239.255.255.250", "multicast, administered", true},
    {"240.0.0.1", "reserved"},
    {"255.255.255.254", "reserved, the last", true},
    {"255.255.255.255", "broadcast"},
    {"::", "unspecified"},
    {"::1", "loopback"},
    {"::1%1", "loopback, with its zone"},
    {"::1%2", "loopback, with another zone"},
    {"::2", "compatible with IPv4"},
    {"::127.0.0.1", "compatible with IPv4, loopback"},
    {"::ffff:0.0.0.0", "mapped, unspecified"},
    {"::ffff:10.0.0.1", "mapped, of this host"},
    {"::ffff:10.0.0.2", "mapped, of another host"},
    {"::ffff:10.255.255.255", "mapped, broadcast of the network"},
    {"::ffff:127.0.0.1", "mapped, loopback"},
    {"::ffff:127.1.2.3", "mapped, loopback, another"},
    {"::ffff:224.0.0.1", "mapped, multicast"},
    {"::ffff:255.255.255.255", "mapped, broadcast"},
    {"64:ff9b::7f00:1", "translated", true},
    {"100::1", "discard-only", true},
    {"2001::1", "Teredo", true},
    {"2001:2::1", "benchmarks", true},
    {"2001:10::1", "ORCHID", true},
    {"2001:20::1", "ORCHID, version 2", true},
    {"2001:db8::1", "documentation", true},
    {"2002:7f00:1::1", "6to4", true},
    {"2600::1", "global"},
    {"2600::1%2", "global, with a zone"},
    {"2600::1%99", "global, with a zone that is none", true},
    {"fc00::1", "unique-local", true},
    {"fd00::", "the router of the network"},
    {"fd00::1", "of this host"},
    {"fd00::1%2", "of this host, with its zone"},
    {"fd00::2", "of another host"},
    {"fe80::1", "link-local of this host, without a zone"},
    {"fe80::1%1", "link-local of this host, with the zone of loopback"},
    {"fe80::1%2", "link-local of this host"},
    {"fe80::1%99", "link-local of this host, with a zone that is none"},
    {"fe80::2", "link-local, without a zone"},
    {"fe80::2%1", "link-local, with the zone of loopback"},
    {"fe80::2%2", "link-local"},
    {"fe80::2%99", "link-local, with a zone that is none"},
    {"febf::2%2", "link-local, the last network"},
    {"fec0::1", "site-local"},
    {"ff00::1", "multicast, reserved"},
    {"ff01::1", "multicast of the interface, without a zone"},
    {"ff01::1%2", "multicast of the interface"},
    {"ff02::1", "multicast of the link, without a zone"},
    {"ff02::1%1", "multicast of the link, with the zone of loopback"},
    {"ff02::1%2", "multicast of the link"},
    {"ff02::1%99", "multicast of the link, with a zone that is none"},
    {"ff05::1", "multicast of the site"},
    {"ff0e::1", "multicast, global"},
    {"ff0e::1%2", "multicast, global, with a zone"},
    {"ffff::1", "multicast, reserved scope"},
};

// What follows a failure is not asked.
void Connect(Play& p, Handle stream, const IpAddress& ip) {
  if (p.Connect(stream, {ip, kDiscard}).code() != EINPROGRESS) return;
  p.TakeError(stream);
  p.LocalAddress(stream);
}

void ConnectAndSend(Play& p, Handle datagram, Handle other,
                    const IpAddress& ip) {
  if (p.Connect(datagram, {ip, kDiscard}).ok()) {
    p.Addresses(datagram);
    p.Send(datagram, "x");
    p.TakeError(datagram);
  } else {
    p.LocalAddress(datagram);
  }
  p.SendTo(other, {ip, kDiscard}, "x");
}

void Binding(Play& p, const IpAddress& ip) {
  Handle stream = p.Stream("stream", ip.family());
  if (p.Bind(stream, {ip, 0}).ok()) {
    p.LocalAddress(stream);
    p.Listen(stream);
  }
  Handle datagram = p.Datagram("datagram", ip.family());
  if (p.Bind(datagram, {ip, 0}).ok()) p.LocalAddress(datagram);
}

void Connecting(Play& p, const IpAddress& ip) {
  Connect(p, p.Stream("stream", ip.family()), ip);
}

void Sending(Play& p, const IpAddress& ip) {
  Handle datagram = p.Datagram("datagram", ip.family());
  ConnectAndSend(p, datagram, p.Datagram("other", ip.family()), ip);
}

// From sockets that are bound to `from`.
void From(Play& p, const IpAddress& from, const IpAddress& ip) {
  Handle stream = p.Stream("stream", from.family());
  Handle datagram = p.Datagram("datagram", from.family());
  Handle other = p.Datagram("other", from.family());
  p.Unseen([&] {
    for (Handle handle : {stream, datagram, other}) p.Bind(handle, {from, 0});
  });
  Connect(p, stream, ip);
  ConnectAndSend(p, datagram, other, ip);
}

}  // namespace

std::vector<Situation> SpecialSituations() {
  std::vector<Situation> all;
  struct Call {
    std::string_view group;
    bool plain;
    std::function<void(Play&, const IpAddress&)> play;
  };
  std::vector<Call> calls = {
      {"Special addresses, bind", true, Binding},
      {"Special addresses, connect a stream", true, Connecting},
      {"Special addresses, connect and send datagrams", true, Sending},
  };
  auto from = [&](std::string_view group, const char* four, const char* six) {
    calls.push_back(
        {group, false, [four, six](Play& p, const IpAddress& ip) {
           From(p, IpAddress::Parse(ip.is_ipv4() ? four : six).value(), ip);
         }});
  };
  from("Special addresses, from 127.0.0.1 and ::1", "127.0.0.1", "::1");
  from("Special addresses, from 10.0.0.1 and fd00::1", "10.0.0.1", "fd00::1");
  from("Special addresses, from 224.0.0.1 and fe80::1%2", "224.0.0.1",
       "fe80::1%2");
  from("Special addresses, from 255.255.255.255 and ::ffff:127.0.0.1",
       "255.255.255.255", "::ffff:127.0.0.1");
  for (const Call& call : calls) {
    for (const Special& special : kAddresses) {
      if (special.plain && !call.plain) continue;
      IpAddress ip = IpAddress::Parse(special.address).value();
      all.push_back({.group = call.group,
                     .name = Cat(special.address, ", ", special.what),
                     .play = [play = call.play, ip](Play& p) { play(p, ip); },
                     .needs_own_network = true});
    }
  }
  return all;
}

}  // namespace aios::kernel_truth
