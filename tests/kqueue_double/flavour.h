// The kqueue kernel over each flavour of the double.

#ifndef AIOS_TESTS_KQUEUE_DOUBLE_FLAVOUR_H_
#define AIOS_TESTS_KQUEUE_DOUBLE_FLAVOUR_H_

#include "aios/kernel.h"

namespace aios::test {

// One for the process, of each. Their names say "kqueue".
Kernel& KqueueOverDouble_neutral();
Kernel& KqueueOverDouble_freebsd();
Kernel& KqueueOverDouble_netbsd();
Kernel& KqueueOverDouble_macos();

}  // namespace aios::test

#endif  // AIOS_TESTS_KQUEUE_DOUBLE_FLAVOUR_H_
