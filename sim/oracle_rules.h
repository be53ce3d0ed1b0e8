// The rules that the oracle watches over, by name.

#ifndef AIOS_SIM_ORACLE_RULES_H_
#define AIOS_SIM_ORACLE_RULES_H_

#include <string_view>

namespace aios::sim::rule {

using Name = std::string_view;

// ---- Ends and callbacks.

// Every operation ends exactly once: by its callback, by that of an abort in
// its place, or silently.
inline constexpr Name kEndsOnce = "ends-once";
// Nothing of a closed state calls back.
inline constexpr Name kSilentAfterClose = "silent-after-close";
// The writes of a state end in the order in which they were started.
inline constexpr Name kWritesInOrder = "writes-in-order";
// Callbacks of a collection come in the order in which the operations ended.
inline constexpr Name kCallbackOrder = "callback-order";
// The callback of an abort comes after those of the writes that it has ended.
inline constexpr Name kAbortAfterWrites = "abort-after-writes";
// What has something to tell calls back before its collection sleeps: input
// that was received, bytes that were left and have to be offered again, a write
// that was taken or has failed, replies that are out.
inline constexpr Name kCallbackOwed = "callback-owed";

// ---- What callbacks are told.

// An input operation ends with what the kernel said on its socket: `kEof` when
// that said end, `kError` with its very error, `kOk` when there was enough.
inline constexpr Name kInputStatus = "input-status";
// Its count is what the kernel gave.
inline constexpr Name kInputCount = "input-count";
// Its bytes are those that the kernel gave, in their order, none twice and none
// left out.
inline constexpr Name kInputBytes = "input-bytes";
// A datagram comes with the bytes, the sender and the truncation that it was
// received with, in the order of arrival.
inline constexpr Name kDatagram = "datagram-as-received";
// `WaitForInput` ends with `kOk` when there is input.
inline constexpr Name kInputSeen = "input-seen";
// A callback that is called again has something new, or something that waited.
inline constexpr Name kNews = "news-to-callback";
// A connect ends with `kOk` when the kernel has told of a peer, and with
// `kError` and the kernel's error when that gave one.
inline constexpr Name kConnectStatus = "connect-status";
// A write ends with `kOk` when the kernel has taken all of it, with `kError`
// and the kernel's error when that refused, with `kAborted` when one before it
// has failed.
inline constexpr Name kWriteStatus = "write-status";
// Its count is what the kernel took.
inline constexpr Name kWriteCount = "write-count";

// ---- What is read and sent.

// The kernel is asked for input when an operation wants some, and to put it
// where that said.
inline constexpr Name kReadsForOperation = "reads-for-operation";
// What is sent is what comes next of the writes in progress, in their order, or
// of the replies of the running callback.
inline constexpr Name kSendsForOperation = "sends-for-operation";
// Replies are with the kernel or in the output queue when their callback has
// returned, has called `Finish`, or has closed the state.
inline constexpr Name kRepliesLeave = "replies-leave";
// Writes that were started before output is shut down are tried before.
inline constexpr Name kSentBeforeShutdown = "sent-before-shutdown";

// ---- Deadlines.

// A timeout that was given or set holds until the next one.
inline constexpr Name kTimeoutStays = "timeout-stays";
// Nothing times out before its deadline.
inline constexpr Name kNotEarly = "not-early";
// A deadline is as far from the start, from the turn of a queued write, or from
// the last callback, as the timeout says.
inline constexpr Name kDeadlineAsAsked = "deadline-as-asked";
// No collection sleeps longer than to the next deadline.
inline constexpr Name kNotLate = "not-late";
// The deadlines of one turn fire in their order, and of being set among equal
// ones.
inline constexpr Name kDeadlineOrder = "deadline-order";
// What arrived by the deadline wins over the timeout: each operation makes one
// more attempt when its deadline has come.
inline constexpr Name kInputWins = "input-wins";

// ---- Waking.

// No collection sleeps with an operation that waits for a socket which it does
// not watch.
inline constexpr Name kLostWakeUp = "lost-wake-up";
// A listening socket that has to wait for descriptors is looked at again after
// a tenth of a second.
inline constexpr Name kAcceptsAgain = "accepts-again";
// No report of a socket is served that has been given up meanwhile.
inline constexpr Name kStaleReport = "stale-report";
// Posted functions run in their order, each once, and before the collection
// sleeps.
inline constexpr Name kPosted = "posted-in-order";

// ---- Limits.

// `Limits::bytes_per_turn_max`, of input and of output.
inline constexpr Name kBytesPerTurn = "bytes-per-turn";
// `Limits::accepts_per_turn_max`.
inline constexpr Name kAcceptsPerTurn = "accepts-per-turn";
// `Limits::output_queue_bytes_max` and `output_queue_length_max`.
inline constexpr Name kOutputQueue = "output-queue";
// `Limits::input_buffer_bytes_max`.
inline constexpr Name kInputBuffer = "input-buffer";
// `max_read`.
inline constexpr Name kMaxRead = "max-read";
// `Limits::posted_max`.
inline constexpr Name kPostedLimit = "posted-limit";
// While replies wait nothing is read.
inline constexpr Name kBackPressure = "back-pressure";

}  // namespace aios::sim::rule

#endif  // AIOS_SIM_ORACLE_RULES_H_
