// Interest, reports, waking, closing under a poller's eyes.

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tools/kernel_truth/cat.h"
#include "tools/kernel_truth/situations.h"

namespace aios::kernel_truth {

namespace {

constexpr Nanoseconds kMillisecond = 1'000'000;

// A poller, with the calls in short.
class Watch {
 public:
  explicit Watch(Play& p) : p_(p) {
    if (!p.kernel().NewPoller(&poller_).ok()) p.Say("CANNOT poll");
  }

  Poller& poller() { return *poller_; }

  // What reports of the handle bring back.
  void* Token(Handle handle) { return &tokens_[handle]; }

  Error Set(Handle handle, Readiness from, Readiness to) {
    return p_.kernel().SetInterest(*poller_, handle, Token(handle), from, to);
  }

  // Everything that is reported now, without the directions not asked for.
  std::string Now(Handle handle, Readiness interest, size_t room = 8) {
    p_.Settle();
    std::vector<Report> reports(room);
    size_t count = p_.kernel().Wait(*poller_, reports, 0);
    Readiness ready = kNotReady;
    for (size_t i = 0; i < count; ++i) {
      if (reports[i].token == Token(handle)) {
        ready |= reports[i].ready;
      } else {
        return "a report of something else";
      }
    }
    return Play::Text(ready & interest);
  }

  void Note(Handle handle, Readiness interest) {
    p_.Note(handle, "report", Now(handle, interest));
  }

 private:
  Play& p_;
  std::unique_ptr<Poller> poller_;
  std::map<Handle, char> tokens_;
};

}  // namespace

std::vector<Situation> PollerSituations() {
  constexpr std::string_view kReports = "Interest and reports";
  constexpr std::string_view kWaiting = "Waiting and waking";
  return {
      {kReports, "reported again as long as it is so",
       [](Play& p) {
         auto [client, server] = p.Connected();
         Watch watch(p);
         static_cast<void>(watch.Set(server, kNotReady, kReadable));
         watch.Note(server, kReadable);
         p.Send(client, "hello");
         for (int i = 0; i < 3; ++i) watch.Note(server, kReadable);
         p.Receive(server, 2);
         watch.Note(server, kReadable);
         p.Receive(server);
         watch.Note(server, kReadable);
       }},
      {kReports, "interest set after it became ready",
       [](Play& p) {
         auto [client, server] = p.Connected();
         Watch watch(p);
         p.Send(client, "hello");
         p.Settle();
         static_cast<void>(watch.Set(server, kNotReady, kReadable));
         watch.Note(server, kReadable);
       }},
      {kReports, "no interest, no report",
       [](Play& p) {
         auto [client, server] = p.Connected();
         Watch watch(p);
         static_cast<void>(watch.Set(server, kNotReady, kBoth));
         watch.Note(server, kBoth);
         static_cast<void>(watch.Set(server, kBoth, kNotReady));
         p.Send(client, "hello");
         watch.Note(server, kBoth);
         p.Reset(client);
         watch.Note(server, kBoth);
         static_cast<void>(watch.Set(server, kNotReady, kReadable));
         watch.Note(server, kReadable);
       }},
      {kReports, "interest changes from read to write",
       [](Play& p) {
         auto [client, server] = p.Connected();
         Watch watch(p);
         static_cast<void>(watch.Set(server, kNotReady, kReadable));
         watch.Note(server, kReadable);
         static_cast<void>(watch.Set(server, kReadable, kWritable));
         p.Send(client, "hello");
         watch.Note(server, kWritable);
         static_cast<void>(watch.Set(server, kWritable, kReadable));
         watch.Note(server, kReadable);
       }},
      {kReports, "a reset is reported whatever was asked for",
       [](Play& p) {
         auto [client, server] = p.Connected();
         Watch read(p);
         static_cast<void>(read.Set(server, kNotReady, kReadable));
         read.Note(server, kReadable);
         p.Reset(client);
         read.Note(server, kReadable);
         static_cast<void>(read.Set(server, kReadable, kWritable));
         read.Note(server, kWritable);
       }},
      {kReports, "an end of file is reported to those who read",
       [](Play& p) {
         auto [client, server] = p.Connected();
         Watch watch(p);
         p.Fill(server);
         static_cast<void>(watch.Set(server, kNotReady, kWritable));
         p.Shutdown(client, Direction::kOutput);
         watch.Note(server, kWritable);
         static_cast<void>(watch.Set(server, kWritable, kReadable));
         watch.Note(server, kReadable);
       }},
      {kReports, "several ready, room for one: all get their turn",
       [](Play& p) {
         std::vector<Handle> handles;
         Watch watch(p);
         for (int i = 0; i < 4; ++i) {
           handles.push_back(p.Datagram(Cat("socket", i)));
           static_cast<void>(watch.Set(handles.back(), kNotReady, kWritable));
         }
         std::vector<int> seen(handles.size());
         std::array<Report, 1> reports;
         for (int i = 0; i < 8; ++i) {
           if (p.kernel().Wait(watch.poller(), reports, 0) != 1) break;
           for (size_t j = 0; j < handles.size(); ++j) {
             if (reports[0].token == watch.Token(handles[j])) {
               ++seen[j];
             }
           }
         }
         bool all = true;
         for (int times : seen) all = all && times != 0;
         p.Say(Cat("all of 4 seen in 8 waits → ", all ? "yes" : "no"));
       }},
      {kReports, "a watched handle is closed",
       [](Play& p) {
         auto [client, server] = p.Connected();
         Watch watch(p);
         static_cast<void>(watch.Set(server, kNotReady, kBoth));
         watch.Note(server, kBoth);
         p.Close(server);
         watch.Note(server, kBoth);
         p.Ready(client, kReadable);
       }},
      {kReports, "a watched handle is closed, its number used again",
       [](Play& p) {
         Watch watch(p);
         Handle socket = p.Datagram("socket");
         static_cast<void>(watch.Set(socket, kNotReady, kBoth));
         watch.Note(socket, kBoth);
         p.Close(socket);
         Handle next = p.Datagram("next");
         p.Note(next, "same handle", next == socket ? "yes" : "no");
         watch.Note(next, kBoth);
         static_cast<void>(watch.Set(next, kNotReady, kWritable));
         watch.Note(next, kWritable);
       }},
      {kReports, "interest in a closed handle",
       [](Play& p) {
         Handle socket = p.Datagram("socket");
         Watch watch(p);
         p.Close(socket);
         p.Note(socket, "interest",
                watch.Set(socket, kNotReady, kReadable).Name());
         p.Note(socket, "no interest",
                watch.Set(socket, kReadable, kNotReady).Name());
         watch.Note(socket, kBoth);
       }},
      {kReports, "the poller is gone, another one watches",
       [](Play& p) {
         auto [client, server] = p.Connected();
         {
           Watch first(p);
           static_cast<void>(first.Set(server, kNotReady, kBoth));
           first.Note(server, kBoth);
         }
         p.Send(client, "hello");
         Watch second(p);
         static_cast<void>(second.Set(server, kNotReady, kBoth));
         second.Note(server, kBoth);
       }},
      {kReports, "a connect in progress, then refused",
       [](Play& p) {
         Handle listener = p.Listener("listener", Family::kIpv4, 1);
         p.Client(listener, "first");
         p.Client(listener, "second");
         Handle client = p.Stream("client");
         Watch watch(p);
         p.Connect(client, p.At(listener));
         static_cast<void>(watch.Set(client, kNotReady, kWritable));
         watch.Note(client, kWritable);
         p.Close(listener);
         p.Await(client, kWritable);
         static_cast<void>(watch.Set(client, kNotReady, kWritable));
         watch.Note(client, kWritable);
         p.TakeError(client);
         watch.Note(client, kWritable);
       }},

      {kWaiting, "a timeout passes",
       [](Play& p) {
         Watch watch(p);
         std::array<Report, 1> reports;
         for (Nanoseconds timeout :
              {Nanoseconds{0}, Nanoseconds{1}, 3 * kMillisecond + 1}) {
           Nanoseconds start = p.kernel().Now();
           // It may return before.
           do {
             if (p.kernel().Wait(watch.poller(), reports, timeout) != 0) {
               p.Say("a report");
             }
           } while (p.kernel().Now() - start < timeout);
           p.Say(Cat("wait ", timeout, " ns → no report"));
         }
       }},
      {kWaiting, "woken before, while there is nothing to report",
       [](Play& p) {
         Watch watch(p);
         std::array<Report, 1> reports;
         p.kernel().Wake(watch.poller());
         p.kernel().Wake(watch.poller());
         size_t count = p.kernel().Wait(watch.poller(), reports, kForever);
         p.Say(Cat("wait for ever → ", count, " reports"));
         Nanoseconds start = p.kernel().Now();
         count = p.kernel().Wait(watch.poller(), reports, kMillisecond);
         bool slept = p.kernel().Now() - start >= kMillisecond;
         p.Say(Cat("wait 1 ms → ", count, " reports",
                   slept ? ", after the timeout" : ", at once"));
       }},
      {kWaiting, "woken, and there is something to report",
       [](Play& p) {
         Handle socket = p.Datagram("socket");
         Watch watch(p);
         static_cast<void>(watch.Set(socket, kNotReady, kWritable));
         p.kernel().Wake(watch.poller());
         watch.Note(socket, kWritable);
         watch.Note(socket, kWritable);
       }},
      {kWaiting, "a wake goes to its own poller only",
       [](Play& p) {
         Watch one(p);
         Watch other(p);
         std::array<Report, 1> reports;
         p.kernel().Wake(one.poller());
         Nanoseconds start = p.kernel().Now();
         p.kernel().Wait(other.poller(), reports, kMillisecond);
         bool slept = p.kernel().Now() - start >= kMillisecond;
         p.Say(Cat("the other waits 1 ms → ", slept ? "the timeout" : "woken"));
         p.Say(Cat("wait for ever → ",
                   p.kernel().Wait(one.poller(), reports, kForever),
                   " reports"));
       }},
      {kWaiting, "for data that is on its way",
       [](Play& p) {
         auto [client, server] = p.Connected();
         Watch watch(p);
         static_cast<void>(watch.Set(server, kNotReady, kReadable));
         p.Send(client, "hello");
         std::array<Report, 1> reports;
         size_t count = p.kernel().Wait(watch.poller(), reports, kForever);
         p.Say(Cat("wait for ever → ", count, " reports"));
         p.Receive(server);
       }},
      {kWaiting, "interfaces",
       [](Play& p) {
         for (const char* name : {"lo", "nothing", "a-name-that-is-too-long"}) {
           p.Say(
               Cat("index of ", name, " → ", p.kernel().InterfaceIndex(name)));
         }
       }},
  };
}

}  // namespace aios::kernel_truth
