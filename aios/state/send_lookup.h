// Where a datagram to a name goes: the part of `SendMessageToAddress` that
// waits for the answer.

#ifndef AIOS_STATE_SEND_LOOKUP_H_
#define AIOS_STATE_SEND_LOOKUP_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "aios/address.h"
#include "aios/answer_cache.h"
#include "aios/io_result.h"
#include "aios/name_service.h"
#include "aios/state/output_operation.h"

namespace aios {

class SendLookup final : public TargetLookup, private NameWaiter {
 public:
  SendLookup(std::string_view name, uint16_t port) : name_(name), port_(port) {}

  // It was known at once that there is none.
  void Fail(Error error);

  // Asks the servers; the operation must be set by then.
  absl::Status Ask(NameService& names, Family family);
  void set_operation(OutputOperation* operation) { operation_ = operation; }

  void End(IoStatus status) override;

 private:
  void OnAnswer(const Answer& answer) override;

  const std::string name_;
  const uint16_t port_;
  OutputOperation* operation_ = nullptr;
};

}  // namespace aios

#endif  // AIOS_STATE_SEND_LOOKUP_H_
