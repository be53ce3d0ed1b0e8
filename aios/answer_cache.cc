#include "aios/answer_cache.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace aios {

const Answer* AnswerCache::Find(std::string_view name, Family family,
                                Nanoseconds now) {
  auto found = by_name_.find(name);
  if (found == by_name_.end()) return nullptr;
  Entries::iterator entry = found->second;
  auto& expiries = entry->expiries;
  if (std::max(expiries[0], expiries[1]) <= now) {
    Erase(entry);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, entry);
  auto index = static_cast<size_t>(family);
  return expiries[index] > now ? &entry->answers[index] : nullptr;
}

const std::string* AnswerCache::FindOwner(std::string_view name,
                                          Nanoseconds now) const {
  auto found = by_name_.find(name);
  if (found == by_name_.end()) return nullptr;
  const Entry& entry = *found->second;
  for (size_t i = 0; i != entry.answers.size(); ++i) {
    if (entry.expiries[i] > now && entry.answers[i].error.ok()) {
      return &entry.owner;
    }
  }
  return nullptr;
}

void AnswerCache::Put(std::string_view name, Family family,
                      std::string_view owner, Answer answer,
                      Nanoseconds expiry) {
  if (names_max_ == 0) return;
  auto found = by_name_.find(name);
  if (found != by_name_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
  } else {
    if (entries_.size() >= names_max_) Erase(std::prev(entries_.end()));
    entries_.emplace_front().name = name;
    by_name_.emplace(entries_.front().name, entries_.begin());
  }
  Entry& entry = entries_.front();
  if (entry.owner != owner) {
    entry.owner = owner;
    entry.expiries = {};
  }
  auto index = static_cast<size_t>(family);
  entry.answers[index] = std::move(answer);
  entry.expiries[index] = expiry;
}

void AnswerCache::Clear() {
  by_name_.clear();
  entries_.clear();
}

void AnswerCache::Erase(Entries::iterator entry) {
  by_name_.erase(entry->name);
  entries_.erase(entry);
}

}  // namespace aios
