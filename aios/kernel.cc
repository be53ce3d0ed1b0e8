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
    if (transfer.count == 0) transfer.error = error;
    break;
  }
  return transfer;
}

Error Kernel::ReadFile(std::string_view /*path*/, size_t /*size_max*/,
                       std::string* /*text*/) {
  return Error(ENOENT);
}

}  // namespace aios
