// What is left of a connection: each way in which an attempt or a connection
// ends, and each call that its socket, and another socket on its port, may get
// next. Each call is asked of a socket that was brought there anew.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/kernel_truth/cat.h"
#include "tools/kernel_truth/situations.h"

namespace aios::kernel_truth {

namespace {

constexpr Family k4 = Family::kIpv4;

// How the socket came to its address.
enum class Origin { kNotBound, kBoundToZero, kBoundToPort, kAccepted };

constexpr Origin kOrigins[] = {Origin::kNotBound, Origin::kBoundToZero,
                               Origin::kBoundToPort, Origin::kAccepted};

std::string_view Name(Origin origin) {
  switch (origin) {
    case Origin::kNotBound:
      return "not bound";
    case Origin::kBoundToZero:
      return "bound to port 0";
    case Origin::kBoundToPort:
      return "bound to a port";
    case Origin::kAccepted:
      return "accepted";
  }
  return "?";
}

// A socket with what it was connected with, or tried to be.
struct Scene {
  Play& p;
  Origin origin;
  bool reuse = false;
  Handle self = kNoHandle;
  Handle peer = kNoHandle;
  Handle listener = kNoHandle;
  SocketAddress local = {};
  SocketAddress remote = {};

  Handle NewSelf() {
    self = p.Stream("socket");
    if (reuse) p.On(self, SocketOption::kReuseAddress);
    if (origin == Origin::kBoundToZero) p.Bind(self, LoopbackAddress(k4));
    if (origin == Origin::kBoundToPort) {
      p.Bind(self, LoopbackAddress(k4, p.FreePort()));
    }
    return self;
  }
  void Attempt(const SocketAddress& address) {
    remote = address;
    p.Connect(NewSelf(), address);
    local = p.At(self);
  }
  // Refused as soon as everything has arrived.
  void Refused() {
    Attempt(p.NobodysStreamAddress());
    p.Settle();
  }
  // Not answered, as the queue is full.
  void Unanswered() {
    listener = p.Listener("full", k4, 1);
    p.Client(listener, "first");
    p.Client(listener, "second");
    Attempt(p.At(listener));
    p.Settle();
  }
  void Connected() {
    listener = p.Stream("listener");
    if (reuse) p.On(listener, SocketOption::kReuseAddress);
    p.Bind(listener, LoopbackAddress(k4));
    p.Listen(listener);
    if (origin == Origin::kAccepted) {
      peer = p.Client(listener, "peer");
      self = p.Accepted(listener, "socket");
      // It would hold the port.
      p.Drop(listener);
      local = p.At(self);
      remote = p.At(peer);
    } else {
      remote = p.At(listener);
      p.MustConnect(NewSelf(), remote);
      local = p.At(self);
      peer = p.Accepted(listener, "peer");
    }
    p.Settle();
  }
};

struct Ending {
  std::string_view name;
  std::function<void(Scene&)> bring;
  bool accepted = true;  // an accepted socket may end so, too
  bool socket = true;    // there is a socket left to be asked
  // The peer has surely acknowledged the end. Until it has, which may take it
  // 40 ms, Linux refuses the same four addresses, and takes them afterwards.
  bool acknowledged = true;
};

void Close(Scene& s) { s.p.Close(s.self); }
void ClosePeer(Scene& s) { s.p.Close(s.peer); }
void ResetPeer(Scene& s) { s.p.Reset(s.peer); }
void Take(Scene& s) { s.p.TakeError(s.self); }
void End(Scene& s) { s.p.Shutdown(s.self, Direction::kOutput); }
void EndPeer(Scene& s) { s.p.Shutdown(s.peer, Direction::kOutput); }
void FromPeer(Scene& s) { s.p.Send(s.peer, "unread"); }

// One after the other, with everything arrived between them.
using Steps = std::vector<void (*)(Scene&)>;

std::function<void(Scene&)> After(void (Scene::*begin)(), const Steps& steps) {
  return [begin, steps](Scene& s) {
    (s.*begin)();
    for (auto step : steps) {
      step(s);
      s.p.Settle();
    }
  };
}

template <Direction direction>
void Shut(Scene& s) {
  s.p.Shutdown(s.self, direction);
}

std::vector<Ending> Endings() {
  constexpr auto kRefused = &Scene::Refused;
  constexpr auto kUnanswered = &Scene::Unanswered;
  constexpr auto kConnected = &Scene::Connected;
  constexpr auto kInput = Shut<Direction::kInput>;
  constexpr auto kBothWays = Shut<Direction::kIo>;
  auto ask = [](Scene& s) { s.p.Connect(s.self, s.remote); };
  auto receive = [](Scene& s) { s.p.Receive(s.self); };
  auto reset = [](Scene& s) { s.p.Reset(s.self); };
  auto drop_listener = [](Scene& s) { s.p.Close(s.listener); };
  return {
      // Attempts.
      {"refused", After(kRefused, {}), false},
      {"refused, error taken", After(kRefused, {Take}), false},
      {"refused, told by connect", After(kRefused, {ask}), false},
      {"refused, error taken, connect again", After(kRefused, {Take, ask}),
       false},
      {"refused, both shut down", After(kRefused, {kBothWays}), false},
      {"refused, error taken, both shut down",
       After(kRefused, {Take, kBothWays}), false},
      {"refused, closed", After(kRefused, {Close}), false, false},
      {"unanswered", After(kUnanswered, {}), false},
      {"unanswered, input shut down", After(kUnanswered, {kInput}), false},
      {"unanswered, output shut down", After(kUnanswered, {End}), false},
      {"unanswered, both shut down", After(kUnanswered, {kBothWays}), false},
      {"unanswered, both shut down, error taken",
       After(kUnanswered, {kBothWays, Take}), false},
      {"unanswered, then refused", After(kUnanswered, {drop_listener}), false},
      {"unanswered, closed", After(kUnanswered, {Close}), false, false},
      // Connections.
      {"connected", After(kConnected, {})},
      {"input shut down", After(kConnected, {kInput})},
      {"output shut down", After(kConnected, {End})},
      {"both shut down", After(kConnected, {kBothWays})},
      {"ended by the peer", After(kConnected, {EndPeer})},
      {"closed by the peer", After(kConnected, {ClosePeer})},
      {"closed by the peer, end received",
       After(kConnected, {ClosePeer, receive})},
      {"closed by the peer with unread data",
       After(kConnected,
             {[](Scene& s) { s.p.Send(s.self, "unread"); }, ClosePeer})},
      {"ended, then by the peer", After(kConnected, {End, EndPeer})},
      {"ended by the peer, then too", After(kConnected, {EndPeer, End})},
      {"ended by the peer with unread data",
       After(kConnected, {FromPeer, EndPeer})},
      {"reset", After(kConnected, {ResetPeer})},
      {"reset, error taken", After(kConnected, {ResetPeer, Take})},
      {"reset with unread data", After(kConnected, {FromPeer, ResetPeer})},
      {"reset after the peer's end", After(kConnected, {EndPeer, ResetPeer})},
      {"reset after the own end", After(kConnected, {End, ResetPeer})},
      {"reset after both ends", After(kConnected, {EndPeer, End, ResetPeer})},
      {"reset, both shut down", After(kConnected, {ResetPeer, kBothWays})},
      // Closed sockets.
      {"closed", After(kConnected, {Close}), true, false, false},
      {"closed, then by the peer", After(kConnected, {Close, ClosePeer}), true,
       false},
      {"closed by the peer, then too", After(kConnected, {ClosePeer, Close}),
       true, false},
      {"closed with unread data", After(kConnected, {FromPeer, Close}), true,
       false},
      {"closed with reset", After(kConnected, {reset}), true, false},
      {"reset, closed", After(kConnected, {ResetPeer, Close}), true, false},
      {"closed, the peer has gone on sending",
       After(kConnected, {Close, FromPeer}), true, false},
  };
}

// ---- What may come next.

using Call = std::function<void(Scene&)>;

std::vector<Call> OwnCalls() {
  return {
      [](Scene& s) { s.p.Ready(s.self); },
      [](Scene& s) {
        s.p.TakeError(s.self);
        s.p.Ready(s.self);
      },
      [](Scene& s) {
        s.p.Receive(s.self);
        s.p.Receive(s.self);
      },
      [](Scene& s) { s.p.Peek(s.self); },
      [](Scene& s) {
        s.p.Send(s.self, "x");
        s.p.Send(s.self, "x");
        s.p.TakeError(s.self);
      },
      [](Scene& s) { s.p.ReceiveFrom(s.self); },
      [](Scene& s) { s.p.SendTo(s.self, LoopbackAddress(k4, 9), "x"); },
      [](Scene& s) { s.p.Addresses(s.self); },
      [](Scene& s) { s.p.Adopt(s.self); },
      [](Scene& s) {
        s.p.Bind(s.self, LoopbackAddress(k4));
        s.p.Addresses(s.self);
      },
      [](Scene& s) { s.p.Bind(s.self, s.local); },
      [](Scene& s) {
        s.p.Listen(s.self);
        s.p.Accept(s.self);
        s.p.Addresses(s.self);
      },
      [](Scene& s) { s.p.Shutdown(s.self, Direction::kInput); },
      [](Scene& s) { s.p.Shutdown(s.self, Direction::kOutput); },
      [](Scene& s) {
        s.p.Shutdown(s.self, Direction::kIo);
        s.p.Ready(s.self);
        s.p.TakeError(s.self);
      },
      [](Scene& s) {
        SocketAddress address;
        s.p.Unseen([&] { address = s.p.At(s.p.Listener("next")); });
        s.p.Connect(s.self, address);
        s.p.Connect(s.self, address);
        s.p.Connect(s.self, address);
        s.p.Addresses(s.self);
      },
      [](Scene& s) { s.p.Connect(s.self, LoopbackAddress(Family::kIpv6, 9)); },
  };
}

// Another socket at the address that it had. Nothing is asked of it when it
// cannot be there.
std::vector<Call> CallsOfAnother() {
  struct Another {
    Another(Scene& s, std::string_view name, const SocketAddress& at,
            const std::vector<SocketOption>& options)
        : handle(s.p.Stream(name)) {
      for (SocketOption option : options) s.p.On(handle, option);
      bound = s.p.Bind(handle, at).ok();
    }
    Handle handle;
    bool bound;
  };
  constexpr SocketOption kReuse = SocketOption::kReuseAddress;
  constexpr SocketOption kShare = SocketOption::kReusePort;
  return {
      [](Scene& s) {
        Another another(s, "plain", s.local, {});
        if (another.bound) s.p.Listen(another.handle);
      },
      [](Scene& s) { Another(s, "any", AnyAddress(k4, s.local.port()), {}); },
      [](Scene& s) {
        Another another(s, "reuse", s.local, {kReuse});
        if (another.bound) s.p.Listen(another.handle);
      },
      [](Scene& s) { Another(s, "share", s.local, {kShare}); },
      [](Scene& s) {
        Another another(s, "again", s.local, {kReuse});
        if (!another.bound) return;
        s.p.Connect(another.handle, s.remote);
        s.p.Ready(another.handle);
        s.p.TakeError(another.handle);
      },
  };
}

// Origins that give the same record are told together.
void Ask(Play& p, const Ending& ending, const std::vector<Call>& calls,
         bool reuse) {
  std::vector<std::string> names;
  std::vector<std::string> records;
  for (Origin origin : kOrigins) {
    if (origin == Origin::kAccepted && !ending.accepted) continue;
    size_t before = p.steps();
    for (const Call& call : calls) {
      // The last one is that of the same four addresses.
      if (!ending.acknowledged && &call == &calls.back()) continue;
      Scene scene{.p = p, .origin = origin, .reuse = reuse};
      p.Unseen([&] {
        ending.bring(scene);
        // Where a port is chosen, it is one that nothing is left of.
        while (p.HasBeenUsed(scene.local.port())) {
          p.Clear();
          ending.bring(scene);
        }
      });
      call(scene);
      p.Settle();
      p.Use(scene.local.port());
      p.Use(scene.remote.port());
      p.Clear();
    }
    std::string record = p.TakeSince(before);
    if (!records.empty() && records.back() == record) {
      names.back() += Cat(" or ", Name(origin));
    } else {
      names.emplace_back(Name(origin));
      records.push_back(record);
    }
  }
  for (size_t i = 0; i != names.size(); ++i) {
    p.Say(names.size() == 1
              ? records[i]
              : Cat(i == 0 ? "" : " ", "(", names[i], ") ", records[i]));
  }
}

}  // namespace

std::vector<Situation> EndedSituations() {
  struct Part {
    std::string_view group;
    std::vector<Call> calls;
    bool own;
    bool reuse;
  };
  const std::vector<Part> parts = {
      {"What is left of a connection: its socket", OwnCalls(), true, false},
      {"What is left of a connection: its port", CallsOfAnother(), false,
       false},
      {"What is left of a connection: its port, with reuse address",
       CallsOfAnother(), false, true},
  };
  std::vector<Situation> all;
  for (const Part& part : parts) {
    for (const Ending& ending : Endings()) {
      if (part.own && !ending.socket) continue;
      all.push_back({.group = part.group,
                     .name = std::string(ending.name),
                     .play = [ending, calls = part.calls, reuse = part.reuse](
                                 Play& p) { Ask(p, ending, calls, reuse); },
                     .wants_new_network = true});
    }
  }
  return all;
}

}  // namespace aios::kernel_truth
