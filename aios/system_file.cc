#include "aios/system_file.h"

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

namespace aios {

namespace {

constexpr Nanoseconds kLookEvery = 5'000'000'000;
constexpr Nanoseconds kLookAgainAfter = 100'000'000;

// A file that changes whenever a part of it has been read is not waited for.
constexpr int kChangesMax = 8;

// Of files whose size the system does not tell.
constexpr uint64_t kPieceMin = 4096;

}  // namespace

SystemFile::SystemFile(Kernel& kernel, std::string path, size_t size_max)
    : kernel_(kernel), path_(std::move(path)), size_max_(size_max) {}

SystemFile::Outcome SystemFile::Read(Nanoseconds now, size_t bytes_max) {
  if (!Due(now)) return Outcome::kSame;
  if (reading_) return ReadPiece(now, bytes_max);
  if (path_.empty()) return NoFile(now);
  FileStamp stamp;
  Error error = kernel_.ReadFile(path_, 0, {}, &stamp).error;
  if (error == Error(ENOENT)) return NoFile(now);
  if (!error.ok()) return Fail(now, error);
  if (stamp.size > size_max_) return Fail(now, Error(EFBIG));
  if (known_ && exists_ && stamp_counts_ && stamp == stamp_) {
    error_ = Error();
    next_look_ = now + kLookEvery;
    return Outcome::kSame;
  }
  reading_ = true;
  new_stamp_ = stamp;
  // At once, so that nothing has to be copied later.
  new_text_.reserve(stamp.size + kPieceMin);
  return ReadPiece(now, bytes_max);
}

SystemFile::Outcome SystemFile::ReadAll(Nanoseconds now) {
  Outcome outcome;
  do {
    outcome = Read(now, size_max_);
  } while (outcome == Outcome::kMore);
  return outcome;
}

SystemFile::Outcome SystemFile::ReadPiece(Nanoseconds now, size_t bytes_max) {
  const size_t offset = new_text_.size();
  const uint64_t left =
      new_stamp_.size > offset ? new_stamp_.size - offset : uint64_t{0};
  // One byte more than there should be, to see the end.
  const size_t wanted = static_cast<size_t>(
      std::min<uint64_t>(bytes_max, std::max(left + 1, kPieceMin)));
  new_text_.resize(offset + wanted);
  FileStamp stamp;
  Transfer transfer = kernel_.ReadFile(
      path_, offset, std::span(new_text_).subspan(offset), &stamp);
  if (transfer.error == Error(ENOENT)) return NoFile(now);
  if (!transfer.error.ok()) return Fail(now, transfer.error);
  if (!(stamp == new_stamp_)) return BeginAgain(now);
  new_text_.resize(offset + transfer.count);
  if (new_text_.size() > size_max_) return Fail(now, Error(EFBIG));
  if (transfer.count == wanted) return Outcome::kMore;

  text_ = std::move(new_text_);
  // A system that does not tell the size may not tell the time either.
  stamp_counts_ = !stamp.fresh && stamp.size == text_.size();
  stamp_ = stamp;
  known_ = true;
  exists_ = true;
  error_ = Error();
  next_look_ = now + kLookEvery;
  Cancel();
  return Outcome::kNew;
}

SystemFile::Outcome SystemFile::BeginAgain(Nanoseconds now) {
  if (++changes_ == kChangesMax) return Fail(now, Error(EAGAIN));
  reading_ = false;
  new_text_.clear();
  // It is time to look again.
  next_look_ = now;
  return Outcome::kMore;
}

SystemFile::Outcome SystemFile::NoFile(Nanoseconds now) {
  Cancel();
  const bool same = known_ && !exists_;
  known_ = true;
  exists_ = false;
  text_ = std::string();
  error_ = Error();
  next_look_ = now + kLookEvery;
  return same ? Outcome::kSame : Outcome::kNew;
}

SystemFile::Outcome SystemFile::Fail(Nanoseconds now, Error error) {
  Cancel();
  error_ = error;
  next_look_ = now + kLookAgainAfter;
  return Outcome::kFailed;
}

void SystemFile::Forget() {
  Cancel();
  known_ = false;
  exists_ = false;
  text_ = std::string();
}

// Gives up what was read of a new text so far.
void SystemFile::Cancel() {
  reading_ = false;
  new_text_ = std::string();
  changes_ = 0;
}

}  // namespace aios
