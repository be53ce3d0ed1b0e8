// Answers about names, kept for as long as they say.

#ifndef AIOS_ANSWER_CACHE_H_
#define AIOS_ANSWER_CACHE_H_

#include <array>
#include <cstddef>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "aios/address.h"
#include "aios/destination_order.h"
#include "aios/error.h"
#include "aios/kernel.h"

namespace aios {

// The addresses of a name in one family, the best first, or why there are none.
struct Answer {
  Error error;
  std::vector<Destination> destinations;
};

// What was answered about a name in each family. Holds at most `names_max`
// names; the one that was not looked at for the longest time makes room.
class AnswerCache {
 public:
  explicit AnswerCache(size_t names_max) : names_max_(names_max) {}

  // Null when there is none, or when it has expired. Valid until the next
  // `Put`. Takes nothing from the heap.
  const Answer* Find(std::string_view name, Family family, Nanoseconds now);

  // Of which name the addresses of `name` are that have not expired yet; null
  // when there are none. Valid until the next call.
  const std::string* FindOwner(std::string_view name, Nanoseconds now) const;

  // Keeps `answer` until `expiry`, in place of an earlier one. It is about
  // `owner`, for which `name` stands; empty: for none. What was known of
  // another owner is forgotten.
  void Put(std::string_view name, Family family, std::string_view owner,
           Answer answer, Nanoseconds expiry);

  void Clear();

  // Names, some of which may have expired.
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string name;
    std::string owner;
    // By family; an expiry of 0: there is none.
    std::array<Answer, 2> answers;
    std::array<Nanoseconds, 2> expiries = {};
  };
  using Entries = std::list<Entry>;

  void Erase(Entries::iterator entry);

  const size_t names_max_;
  // The last one used first.
  Entries entries_;
  // The keys are the names of the entries.
  std::map<std::string_view, Entries::iterator> by_name_;
};

}  // namespace aios

#endif  // AIOS_ANSWER_CACHE_H_
