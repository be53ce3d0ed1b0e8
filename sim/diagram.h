// A run as a sequence diagram.

#ifndef AIOS_SIM_DIAGRAM_H_
#define AIOS_SIM_DIAGRAM_H_

#include <string>
#include <string_view>

#include "sim/recording.h"

namespace aios::sim {

// One page of HTML that needs nothing else: hosts as columns, packets as arrows
// (a lost one ends in a cross), operations as bars with their status, the
// length of each host's output queues, virtual time down the side. Moments at
// which nothing happens take no room, so the page is as long as it has events.
std::string ToDiagram(const Recording& recording, std::string_view title);

}  // namespace aios::sim

#endif  // AIOS_SIM_DIAGRAM_H_
