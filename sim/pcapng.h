// A run as a capture file for Wireshark and its kin.

#ifndef AIOS_SIM_PCAPNG_H_
#define AIOS_SIM_PCAPNG_H_

#include <string>

#include "sim/recording.h"

namespace aios::sim {

// The packets of the run in the pcapng format, with IP, TCP, UDP and ICMP
// headers as a real network has them, checksums included, and virtual time in
// nanoseconds. Each is captured where it was sent, on the interface of its
// host; one that never arrived carries a comment that says why.
std::string ToPcapng(const Recording& recording);

}  // namespace aios::sim

#endif  // AIOS_SIM_PCAPNG_H_
