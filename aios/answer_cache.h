// Answers about names, kept for as long as they say.

#ifndef AIOS_ANSWER_CACHE_H_
#define AIOS_ANSWER_CACHE_H_

#include <cstddef>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "aios/destination_order.h"
#include "aios/error.h"
#include "aios/kernel.h"

namespace aios {

// The addresses of a name in one family, the best first, or why there are none.
struct Answer {
  Error error;
  std::vector<Destination> destinations;
};

// Holds at most `answers_max` answers; the one that was not looked at for the
// longest time makes room. Keys are whatever names a question.
class AnswerCache {
 public:
  explicit AnswerCache(size_t answers_max) : answers_max_(answers_max) {}

  // Null when there is none, or when it has expired. Valid until the next
  // `Put`. Takes nothing from the heap.
  const Answer* Find(std::string_view key, Nanoseconds now);

  // Keeps `answer` until `expiry`, in place of an earlier one.
  void Put(std::string_view key, Answer answer, Nanoseconds expiry);

  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string key;
    Answer answer;
    Nanoseconds expiry = 0;
  };
  using Entries = std::list<Entry>;

  void Erase(Entries::iterator entry);

  const size_t answers_max_;
  // The last one used first.
  Entries entries_;
  // The keys are those of the entries.
  std::map<std::string_view, Entries::iterator> by_key_;
};

}  // namespace aios

#endif  // AIOS_ANSWER_CACHE_H_
