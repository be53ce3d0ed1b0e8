// What a call of the user is told that may not be carried out: the checks of
// the table in `phases.h`, and of arguments.

#ifndef AIOS_STATE_REFUSALS_H_
#define AIOS_STATE_REFUSALS_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "aios/async_io_state.h"
#include "aios/io_result.h"
#include "aios/state/channel.h"
#include "aios/state/input.h"
#include "aios/state/output.h"
#include "aios/state/phases.h"
#include "aios/state/received.h"

namespace aios {

// Looks at a state in one moment. Each check gives OK, or the refusal; the
// message names the state, the call and the reason.
class Refusals {
 public:
  Refusals(const Channel& channel, const Input& input, const Output& output,
           const Received& received, std::string_view name)
      : channel_(channel),
        input_(input),
        output_(output),
        received_(received),
        name_(name) {}

  // "async-io-state "mail" (tcp, handle 7)".
  std::string Describe() const;
  // A refusal for a reason of the caller's.
  absl::Status Refuse(const char* call, absl::StatusCode code,
                      std::string_view why) const;
  absl::Status Refuse(Call call, const absl::Status& why) const {
    return Refuse(RuleOf(call).name, why.code(), std::string(why.message()));
  }

  // ---- By the table.
  absl::Status CheckChannel(Call call) const;
  absl::Status CheckInCallback(Call call) const;
  absl::Status CheckFree(Call call) const;
  absl::Status CheckSocket(Call call) const;

  // ---- Arguments.
  absl::Status CheckCallback(Call call, const IoCallback& callback) const;
  absl::Status CheckTimeout(const char* call, absl::Duration timeout) const;
  absl::Status CheckMaxRead(const char* call, size_t max_read) const;
  absl::Status CheckRange(Call call, size_t start, size_t end, size_t size,
                          bool may_be_empty) const;
  // `target` is null when none is given, or it is not known yet.
  absl::Status CheckTarget(Call call, const SocketAddress* target) const;
  absl::Status CheckDrop(Call call, size_t n) const;

  // There is no room in the output queue; `may_wait`: which has a limit.
  absl::Status NoRoom(Call call, bool may_wait) const;

 private:
  absl::Status Refuse(Call call, absl::StatusCode code,
                      std::string_view why) const {
    return Refuse(RuleOf(call).name, code, why);
  }

  const Channel& channel_;
  const Input& input_;
  const Output& output_;
  const Received& received_;
  const std::string_view name_;
};

}  // namespace aios

#endif  // AIOS_STATE_REFUSALS_H_
