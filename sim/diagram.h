// Runs as sequence diagrams.

#ifndef AIOS_SIM_DIAGRAM_H_
#define AIOS_SIM_DIAGRAM_H_

#include <string>
#include <string_view>
#include <vector>

#include "aios/kernel.h"
#include "sim/recording.h"

namespace aios::sim {

struct DiagramRun {
  std::string title;
  std::string about = {};
  // "pass", for example; empty: none is shown.
  std::string verdict = {};
  std::vector<std::string> failures = {};
  const Recording* recording = nullptr;
  // The moment that is shown as 0.
  Nanoseconds zero = 0;
};

// One page of HTML that needs nothing else: hosts as columns, packets as arrows
// (a lost one ends in a cross), operations as bars with their status, the
// length of each host's output queues, virtual time down the side. Moments at
// which nothing happens take no room, so the page is as long as it has events.
// Of several runs, the reader chooses one; there must be one at least.
std::string ToDiagram(const std::vector<DiagramRun>& runs);

// Of one run, that begins with its first event.
std::string ToDiagram(const Recording& recording, std::string_view title);

}  // namespace aios::sim

#endif  // AIOS_SIM_DIAGRAM_H_
