// What is asked: situations that a socket can meet, and how each is played.

#ifndef AIOS_TOOLS_KERNEL_TRUTH_SITUATIONS_H_
#define AIOS_TOOLS_KERNEL_TRUTH_SITUATIONS_H_

#include <string_view>
#include <vector>

#include "tools/kernel_truth/play.h"

namespace aios::kernel_truth {

struct Situation {
  std::string_view group;
  std::string_view name;
  void (*play)(Play& play);
  // Why the simulated kernel may answer otherwise; empty: it may not.
  std::string_view may_differ = "";
};

std::vector<Situation> ConnectSituations();
std::vector<Situation> StreamSituations();
std::vector<Situation> DatagramSituations();
std::vector<Situation> AddressSituations();
std::vector<Situation> PollerSituations();

// All of them, in the order of the table.
std::vector<Situation> AllSituations();

}  // namespace aios::kernel_truth

#endif  // AIOS_TOOLS_KERNEL_TRUTH_SITUATIONS_H_
