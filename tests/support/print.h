// How GoogleTest shows the values of aios in its messages.

#ifndef AIOS_TESTS_SUPPORT_PRINT_H_
#define AIOS_TESTS_SUPPORT_PRINT_H_

#include <ostream>

#include "aios/address.h"
#include "aios/error.h"

namespace aios {

inline void PrintTo(Error error, std::ostream* out) { *out << error.Name(); }

inline void PrintTo(const IpAddress& address, std::ostream* out) {
  *out << address.ToString();
}

inline void PrintTo(const SocketAddress& address, std::ostream* out) {
  *out << address.ToString();
}

}  // namespace aios

#endif  // AIOS_TESTS_SUPPORT_PRINT_H_
