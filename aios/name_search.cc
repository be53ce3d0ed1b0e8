#include "aios/name_search.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aios/name_tables.h"

namespace aios {

namespace {

constexpr size_t kNameMax = 253;

// IPv6 first, as RFC 8305 has it.
constexpr std::array<Family, 2> kFamilies = {Family::kIpv6, Family::kIpv4};

// Which candidate is next; the greater of two answers counts.
enum class After { kNextOne, kAsItIs, kNone };

After WhatFollows(Error error) {
  for (LookupError one : {LookupError::kNoSuchName, LookupError::kNoAddress,
                          LookupError::kServerFailure, LookupError::kBadName}) {
    if (error == Error(one)) return After::kNextOne;
  }
  for (LookupError one : {LookupError::kRefused, LookupError::kTimedOut,
                          LookupError::kMalformedAnswer}) {
    if (error == Error(one)) return After::kAsItIs;
  }
  return After::kNone;
}

// Whether it is certain that there is no address.
bool IsNegative(Error error) {
  return error == Error(LookupError::kNoSuchName) ||
         error == Error(LookupError::kNoAddress);
}

}  // namespace

NameCandidates::NameCandidates(std::string_view name,
                               const std::vector<std::string>& domains,
                               int ndots) {
  bool absolute = name.ends_with('.');
  if (absolute) name.remove_suffix(1);
  bool first = absolute || std::count(name.begin(), name.end(), '.') >= ndots;
  if (first) names.emplace_back(name);
  if (!absolute) {
    for (const std::string& domain : domains) {
      std::string candidate =
          LowerCase(absl::StrCat(std::string(name), ".", domain));
      if (candidate.ends_with('.')) candidate.pop_back();
      if (candidate.size() <= kNameMax &&
          std::find(names.begin(), names.end(), candidate) == names.end()) {
        names.push_back(std::move(candidate));
      }
    }
  }
  if (first) return;
  as_it_is = names.size();
  names.emplace_back(name);
}

NameCandidates NameCandidates::Of(std::string name) {
  NameCandidates candidates;
  candidates.names.push_back(std::move(name));
  candidates.exists = true;
  return candidates;
}

void NameSearch::Begin(NameCandidates candidates) {
  candidates_ = std::move(candidates);
}

std::optional<Family> NameSearch::NextQuestion() {
  for (Family family : kFamilies) {
    if (!ToBeAsked(part(family))) continue;
    part(family).state = State::kAsked;
    return family;
  }
  return std::nullopt;
}

bool NameSearch::HasQuestion() const {
  return ToBeAsked(parts_[0]) || ToBeAsked(parts_[1]);
}

bool NameSearch::waits() const {
  return parts_[0].state == State::kAsked || parts_[1].state == State::kAsked;
}

void NameSearch::Take(Family family, CaresReply reply) {
  Part& part = this->part(family);
  part.state = State::kAnswered;
  part.reply = std::move(reply);
  Decide();
}

void NameSearch::Decide() {
  if (candidates_.exists || failed_) return;
  // One family with an address decides, whatever the other will say.
  for (const Part& part : parts_) {
    if (part.state == State::kAnswered && part.reply.error.ok()) {
      candidates_.exists = true;
      both_ = false;
      return;
    }
  }
  After after = After::kNextOne;
  bool may_exist = false;
  bool any_unasked = false;
  for (const Part& part : parts_) {
    if (part.state == State::kAnswered) {
      after = std::max(after, WhatFollows(part.reply.error));
      may_exist |= part.reply.error != Error(LookupError::kNoSuchName);
    } else if (part.state == State::kAsked || part.wanted) {
      return;
    } else {
      any_unasked = true;
    }
  }
  size_t next = after == After::kNextOne  ? at_ + 1
                : after == After::kAsItIs ? AsItIsOrNone()
                                          : candidates_.names.size();
  bool last = next >= candidates_.names.size();
  if (after == After::kNextOne && may_exist && any_unasked && !last) {
    both_ = true;
    return;
  }
  for (Part& part : parts_) Note(part);
  both_ = false;
  for (Part& part : parts_) part.state = State::kUnasked;
  if (last) {
    failed_ = true;
  } else {
    at_ = next;
  }
}

size_t NameSearch::AsItIsOrNone() const {
  if (candidates_.as_it_is > at_) return candidates_.as_it_is;
  return candidates_.as_it_is == at_ ? at_ + 1 : candidates_.names.size();
}

void NameSearch::Note(Part& part) {
  if (part.state != State::kAnswered) return;
  Error error = part.reply.error;
  uncertain_ |= !IsNegative(error);
  // What exists in one family exists.
  for (const Part& other : parts_) {
    if (error == Error(LookupError::kNoSuchName) &&
        other.state == State::kAnswered &&
        other.reply.error == Error(LookupError::kNoAddress)) {
      error = other.reply.error;
    }
  }
  bool first_counts =
      candidates_.as_it_is == 0 || part.error == Error(LookupError::kNoAddress);
  if (part.error.ok() ||
      (!first_counts && (error == Error(LookupError::kNoAddress) ||
                         part.error == Error(LookupError::kNoSuchName)))) {
    part.error = error;
  }
}

std::optional<CaresReply> NameSearch::TakeResult(Family family) {
  Part& part = this->part(family);
  CaresReply result;
  if (candidates_.exists && part.state == State::kAnswered) {
    result = std::move(part.reply);
    if (result.error == Error(LookupError::kNoSuchName)) {
      result.error = Error(LookupError::kNoAddress);
    }
  } else if (failed_ && part.wanted) {
    result.error = part.error;
  } else {
    return std::nullopt;
  }
  part = Part();
  return result;
}

bool NameSearch::over() const {
  return (failed_ || candidates_.exists) &&
         std::none_of(parts_.begin(), parts_.end(), [](const Part& part) {
           return part.wanted || part.state != State::kUnasked;
         });
}

}  // namespace aios
