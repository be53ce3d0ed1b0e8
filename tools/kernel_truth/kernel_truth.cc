// What kernels answer, situation by situation: the real one on loopback, and
// the simulated one.
//
//   kernel_truth                     # the page, on standard output
//   kernel_truth --write             # into docs/kernel_truth.md
//   kernel_truth --kernel=sim [--seed=N] [--only=TEXT]
//
// The last form prints a line for each situation: its name, what the kernel
// answered and why the answer may differ, with tabs between them.
//
// Exit codes: 0, 1 when something is wrong with the answers or the file, 2 for
// arguments that make no sense.

#include <sys/utsname.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "backends/default_kernel.h"
#include "tools/kernel_truth/cat.h"
#include "tools/kernel_truth/lab.h"
#include "tools/kernel_truth/own_network.h"
#include "tools/kernel_truth/play.h"
#include "tools/kernel_truth/situations.h"

namespace aios::kernel_truth {

std::vector<Situation> AllSituations() {
  std::vector<Situation> all;
  for (auto* part : {ConnectSituations, StreamSituations, DatagramSituations,
                     AddressSituations, PollerSituations, EndedSituations,
                     SpecialSituations}) {
    std::vector<Situation> situations = part();
    all.insert(all.end(), situations.begin(), situations.end());
  }
  return all;
}

namespace {

constexpr std::string_view kLacksFamily = "(IPv6 is missing here)";

std::string Answer(const Situation& situation, Lab& lab) {
  Play play(lab);
  situation.play(play);
  return play.lacks_family() ? std::string(kLacksFamily) : play.Record();
}

std::string AnswerOfReal(const Situation& situation, Kernel& kernel) {
  // Made when it is needed first, and again where it has to be new.
  static std::string missing = EnterOwnNetwork();
  if (situation.needs_own_network && !missing.empty()) {
    return Cat("(needs a network of its own: ", missing, ")");
  }
  // Until it has said the same twice: ports are drawn at random, and once in
  // some thousand times two are the same that should not be; and a machine that
  // stops for a second lets packets be sent again.
  constexpr int kTimesMax = 5;
  std::string answer;
  for (int i = 0; i != kTimesMax; ++i) {
    if (situation.wants_new_network && missing.empty()) {
      missing = EnterOwnNetwork();
    }
    std::string before = std::move(answer);
    answer = Answer(situation, *MakeRealLab(kernel));
    if (answer == before) break;
  }
  return answer;
}

std::string AnswerOfSimulated(const Situation& situation, uint64_t seed) {
  return Answer(situation, *MakeSimulatedLab(seed));
}

std::string Name(const Situation& situation) {
  return Cat(situation.group, ": ", situation.name);
}

constexpr std::string_view kIntroduction =
    R"(# What kernels answer

What a socket says in the situations that it can meet: which readiness is
reported, what calls give, in this order. Asked through the seam
([aios/kernel.h](../aios/kernel.h)) of two kernels: that of a real system, on
loopback, and the simulated one. A test (`//tests:kernel_truth_test`) asks both again and demands
that they answer as it stands here, row by row. Where they may differ, the row
says why.

`ready` is what a poller reports of a socket that is watched for both
directions: `read`, `write`, both or `none`; errors and hang-ups are reported as
both. `receive` gives bytes, of which 0 are the end of a stream, or an error;
`send` and `peek` give the number of bytes. A port is shown as the name of the
socket that has it.

The real kernel is asked in a network namespace that the program makes for
itself (`unshare`, as root or in a namespace of users): nobody else takes ports
there, and no packet leaves the machine. It has the settings of a new namespace
(`tcp_timestamps` on, `bindv6only` off) and looks as a simulated host does:
loopback, and `eth0` (interface 2) with 10.0.0.1/8, fd00::1/64 and fe80::1/64
and a default route of each family, without ARP, at whose other end nobody is.
So what is sent to others is silent; without a route, or with a router that says
no, Linux answers ENETUNREACH or EHOSTUNREACH, which a simulated host only does
where a fault wants it. Where no namespace can be made the test prints why,
leaves the rows of special addresses out and asks the others on the machine's
own loopback. Each row is asked until two answers are the same, as ports are
drawn at random and may collide.

Two kinds of rows are made by loops. "What is left of a connection": each way to
end × each call, each asked of a socket that was brought there anew; in brackets
stands how the socket came to its address, where that makes a difference. Left
out is the same four addresses again right after a close: Linux refuses them
until the peer has acknowledged the end, which may take it 40 ms.
"Special addresses": those of RFC 6890, multicast, broadcast, mapped ones and
those with a zone (`%1` is loopback, `%2` is eth0, `%99` is none) × each call
that takes an address. Broadcast is never allowed on these sockets, and no group
is joined: the seam has no call for either.

Do not edit: `bazel run //tools/kernel_truth -- --write` writes this page.
)";

// Such as "Linux 6.18".
std::string System() {
  utsname names = {};
  uname(&names);
  std::string release = names.release;
  size_t minor = release.find('.');
  if (minor != release.npos) minor = release.find_first_of(".-", minor + 1);
  return Cat(names.sysname, " ", release.substr(0, minor));
}

// For a cell of a table.
std::string Cell(std::string_view text) {
  std::string cell;
  for (char c : text) {
    if (c == '|' || c == '<' || c == '*' || c == '_') cell.push_back('\\');
    cell.push_back(c);
  }
  return cell;
}

// False when the kernels differ where they may not.
bool MakePage(std::string* page) {
  *page = std::string(kIntroduction);
  bool agree = true;
  std::string_view group;
  int number = 0;
  for (const Situation& situation : AllSituations()) {
    std::string real = AnswerOfReal(situation, DefaultKernel());
    std::string simulated = AnswerOfSimulated(situation, 1);
    if (situation.group != group) {
      group = situation.group;
      *page += Cat("\n## ", group, "\n\n| | situation | ", System(),
                   " | simulated |\n", "|--:|---|---|---|\n");
    }
    std::string second = "the same";
    if (real != simulated) {
      second = Cell(simulated);
      if (situation.may_differ.empty()) {
        agree = false;
        std::fprintf(stderr, "%s\n  %s: %s\n  sim: %s\n",
                     Name(situation).c_str(),
                     std::string(DefaultKernel().name()).c_str(), real.c_str(),
                     simulated.c_str());
      } else {
        second += ". May differ: " + Cell(situation.may_differ);
      }
    }
    *page += Cat("| ", ++number, " | ", Cell(situation.name), " | ", Cell(real),
                 " | ", second, " |\n");
  }
  return agree;
}

int Write() {
  std::string page;
  bool agree = MakePage(&page);
  // Set by `bazel run`, which starts programs elsewhere.
  const char* top = std::getenv("BUILD_WORKSPACE_DIRECTORY");
  std::string path =
      Cat(top == nullptr ? "" : Cat(top, "/"), "docs/kernel_truth.md");
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << page;
  file.close();
  if (!file) {
    std::fprintf(stderr, "kernel_truth: cannot write %s\n", path.c_str());
    return 1;
  }
  std::printf("%s\n", path.c_str());
  return agree ? 0 : 1;
}

int PrintAnswers(std::string_view name, uint64_t seed, std::string_view only) {
  Kernel* kernel = name == "sim" ? nullptr : KernelByName(name);
  for (const Situation& situation : AllSituations()) {
    if (Name(situation).find(only) == std::string::npos) continue;
    std::string answer = kernel == nullptr ? AnswerOfSimulated(situation, seed)
                                           : AnswerOfReal(situation, *kernel);
    std::printf("%s\t%s\t%s\n", Name(situation).c_str(), answer.c_str(),
                std::string(situation.may_differ).c_str());
    std::fflush(stdout);
  }
  return 0;
}

bool ParseNumber(std::string_view text, uint64_t* number) {
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

int Usage() {
  std::fprintf(stderr,
               "usage: kernel_truth [--write]\n"
               "       kernel_truth --kernel=NAME [--seed=N] [--only=TEXT]\n");
  return 2;
}

int Main(const std::vector<std::string_view>& arguments) {
  if (arguments.empty()) {
    std::string page;
    bool agree = MakePage(&page);
    std::fputs(page.c_str(), stdout);
    return agree ? 0 : 1;
  }
  if (arguments.size() == 1 && arguments[0] == "--write") return Write();
  std::string_view kernel;
  std::string_view only;
  uint64_t seed = 1;
  for (std::string_view argument : arguments) {
    size_t sign = argument.find('=');
    if (sign == argument.npos) return Usage();
    std::string_view value = argument.substr(sign + 1);
    argument = argument.substr(0, sign);
    if (argument == "--kernel") {
      kernel = value;
    } else if (argument == "--only") {
      only = value;
    } else if (argument != "--seed" || !ParseNumber(value, &seed)) {
      return Usage();
    }
  }
  if (kernel != "sim" && KernelByName(kernel) == nullptr) return Usage();
  return PrintAnswers(kernel, seed, only);
}

}  // namespace

}  // namespace aios::kernel_truth

int main(int argc, char** argv) {
  return aios::kernel_truth::Main({argv + 1, argv + argc});
}
