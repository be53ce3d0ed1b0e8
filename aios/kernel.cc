#include "aios/kernel.h"

#include <cerrno>

namespace aios {

Transfer Kernel::ReceiveDatagrams(Handle handle, bool want_sender,
                                  std::span<IncomingDatagram> datagrams) {
  Transfer transfer;
  for (IncomingDatagram& datagram : datagrams) {
    Error error =
        ReceiveDatagram(handle, datagram.buffer, want_sender, &datagram);
    if (error.ok()) {
      ++transfer.count;
      continue;
    }
    // Errors come before datagrams on the kernels that use this loop, so one
    // that comes after them is EAGAIN.
    if (transfer.count == 0) transfer.error = error;
    break;
  }
  return transfer;
}

Transfer Kernel::ReadFile(std::string_view /*path*/, uint64_t /*offset*/,
                          std::span<char> /*buffer*/, FileStamp* /*stamp*/) {
  return {.error = Error(ENOENT)};
}

}  // namespace aios
