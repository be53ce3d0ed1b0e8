// Everything a user of aios includes, except the host's kernel:
// backends/default_kernel.h.

#ifndef AIOS_AIOS_H_
#define AIOS_AIOS_H_

#include "aios/accepting_handle.h"       // IWYU pragma: export
#include "aios/address.h"                // IWYU pragma: export
#include "aios/async_io_state.h"         // IWYU pragma: export
#include "aios/connect_tcp.h"            // IWYU pragma: export
#include "aios/error.h"                  // IWYU pragma: export
#include "aios/host_spec.h"              // IWYU pragma: export
#include "aios/io_result.h"              // IWYU pragma: export
#include "aios/kernel.h"                 // IWYU pragma: export
#include "aios/resolver.h"               // IWYU pragma: export
#include "aios/udp.h"                    // IWYU pragma: export
#include "aios/wait_state_collection.h"  // IWYU pragma: export

#endif  // AIOS_AIOS_H_
