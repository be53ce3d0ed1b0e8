#include "aios/state/send_lookup.h"

#include "absl/strings/str_cat.h"
#include "aios/state/channel.h"
#include "aios/text.h"

namespace aios {

void SendLookup::Fail(Error error) {
  pending_ = false;
  error_ = error;
  detail_ = NameFailure(name_, error);
}

absl::Status SendLookup::Ask(NameService& names, Family family) {
  pending_ = true;
  return names.Ask(name_, family, *this);
}

void SendLookup::End(IoStatus status) {
  if (!pending_) return;
  GiveUp();
  pending_ = false;
  if (status == IoStatus::kTimeout) {
    detail_ =
        absl::StrCat("host name ", Quoted(name_), " was not resolved in time");
  }
}

void SendLookup::OnAnswer(const Answer& answer) {
  if (answer.error.ok()) {
    pending_ = false;
    operation_->target = SocketAddress(answer.destinations.front().ip, port_);
  } else {
    Fail(answer.error);
  }
  operation_->channel->OnTargetKnown(*operation_);
}

}  // namespace aios
