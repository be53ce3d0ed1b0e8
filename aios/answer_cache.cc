#include "aios/answer_cache.h"

#include <iterator>
#include <utility>

namespace aios {

const Answer* AnswerCache::Find(std::string_view key, Nanoseconds now) {
  auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  Entries::iterator entry = found->second;
  if (entry->expiry <= now) {
    Erase(entry);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, entry);
  return &entry->answer;
}

void AnswerCache::Put(std::string_view key, Answer answer, Nanoseconds expiry) {
  if (auto found = by_key_.find(key); found != by_key_.end()) {
    Erase(found->second);
  }
  if (answers_max_ == 0) return;
  if (entries_.size() >= answers_max_) Erase(std::prev(entries_.end()));
  entries_.push_front({std::string(key), std::move(answer), expiry});
  by_key_.emplace(entries_.front().key, entries_.begin());
}

void AnswerCache::Erase(Entries::iterator entry) {
  by_key_.erase(entry->key);
  entries_.erase(entry);
}

}  // namespace aios
