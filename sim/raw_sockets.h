// What programs that know nothing of aios do with sockets of a simulated host,
// and what aios never asks of a kernel: for scripted peers, and for tests of
// sockets that were made elsewhere.

#ifndef AIOS_SIM_RAW_SOCKETS_H_
#define AIOS_SIM_RAW_SOCKETS_H_

#include <cstddef>

#include "aios/error.h"
#include "aios/kernel.h"
#include "sim/simulation.h"

namespace aios::sim {

class SimKernel;

class RawSockets {
 public:
  // `host` must outlive this.
  explicit RawSockets(Host& host);

  // A socket as any program makes it: blocking.
  Handle Open(SocketType type, Family family);
  // A descriptor that is not for aios: `Adopt` answers `error`.
  Handle OpenForeign(Error error);
  // A number that is no descriptor, and will not become one.
  Handle Closed() const;

  // The blocking mode is kept for those who ask; kernel calls never block.
  bool IsBlocking(Handle handle) const;
  void SetBlocking(Handle handle, bool blocking);

  // As `dup`. The socket lives until its last handle is closed.
  Handle Duplicate(Handle handle);

  // Sizes of the buffers (SO_SNDBUF, SO_RCVBUF), at least a few kilobytes. Of a
  // listener, for the connections that arrive from now on.
  void SetSendBuffer(Handle handle, size_t bytes);
  void SetReceiveBuffer(Handle handle, size_t bytes);

  // Closes a connection with RST, as SO_LINGER with no time does.
  void CloseWithReset(Handle handle);

 private:
  SimKernel& kernel_;
};

}  // namespace aios::sim

#endif  // AIOS_SIM_RAW_SOCKETS_H_
