// A network of this process alone, in which special addresses can be asked for
// without a packet that leaves the machine, and where nobody else takes ports.

#ifndef AIOS_TOOLS_KERNEL_TRUTH_OWN_NETWORK_H_
#define AIOS_TOOLS_KERNEL_TRUTH_OWN_NETWORK_H_

#include <string>

namespace aios::kernel_truth {

// Moves the process into a network namespace that is as a simulated host is:
// loopback, and an interface eth0 with the addresses 10.0.0.1/8, fd00::1/64 and
// fe80::1/64 and the default routes, at whose other end nobody is. Returns
// what could not be made, empty when all is there. Without permission the
// process stays where it is.
std::string EnterOwnNetwork();

}  // namespace aios::kernel_truth

#endif  // AIOS_TOOLS_KERNEL_TRUTH_OWN_NETWORK_H_
