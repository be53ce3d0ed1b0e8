// What is asked: situations that a socket can meet, and how each is played.

#ifndef AIOS_TOOLS_KERNEL_TRUTH_SITUATIONS_H_
#define AIOS_TOOLS_KERNEL_TRUTH_SITUATIONS_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/kernel_truth/play.h"

namespace aios::kernel_truth {

struct Situation {
  std::string_view group;
  std::string name;
  std::function<void(Play& play)> play;
  // Why the simulated kernel may answer otherwise; empty: it may not.
  std::string_view may_differ = "";
  // On the real kernel it is only asked in a network of its own.
  bool needs_own_network = false;
  // What earlier situations have left on ports would disturb it.
  bool wants_new_network = false;
};

std::vector<Situation> ConnectSituations();
std::vector<Situation> StreamSituations();
std::vector<Situation> DatagramSituations();
std::vector<Situation> AddressSituations();
std::vector<Situation> PollerSituations();
// Made by loops: what is left of a connection, and special addresses.
std::vector<Situation> EndedSituations();
std::vector<Situation> SpecialSituations();

// All of them, in the order of the table.
std::vector<Situation> AllSituations();

}  // namespace aios::kernel_truth

#endif  // AIOS_TOOLS_KERNEL_TRUTH_SITUATIONS_H_
