// The search for the addresses of a name: which names are asked for, in which
// order, and when that is over. It asks nobody itself.

#ifndef AIOS_NAME_SEARCH_H_
#define AIOS_NAME_SEARCH_H_

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aios/address.h"
#include "aios/cares_channel.h"
#include "aios/error.h"

namespace aios {

// The names that `name`, in lower case, may stand for: itself, and itself
// within each domain. What is too long to be a name is left out.
struct NameCandidates {
  NameCandidates() = default;
  NameCandidates(std::string_view name, const std::vector<std::string>& domains,
                 int ndots);
  // It stands for one only, and that one exists.
  static NameCandidates Of(std::string name);

  // Without a final dot, each once, in the order in which they are tried.
  std::vector<std::string> names;
  // The place of the name as it was given.
  size_t as_it_is = 0;
  bool exists = false;
};

// One search for a name, for both families: it ends at the first candidate that
// has an address in either, so that all addresses are those of one name. A
// search in one family asks for the other, too, before it leaves a candidate
// that may exist.
//
// What a candidate was answered decides which one is next; the worse answer of
// two families counts. As the resolver of glibc has it:
//
//   no such name, no address, SERVFAIL   the next one
//   REFUSED, no answer in time, an
//   answer that makes no sense           the name as it is, if that is not
//                                        asked yet; but when it was the first,
//                                        the next one all the same
//   no server is reachable or known,
//   no memory                            none
//
// When all have failed, the error of a family is that of the name as it is when
// that was the first. Otherwise it is that there is no address, when a
// candidate has none; or else the first error that leaves open whether there is
// one; or else that there is no such name.
class NameSearch {
 public:
  // Adds a family to those that are looked for.
  void Want(Family family) { part(family).wanted = true; }

  void Begin(NameCandidates candidates);
  bool begun() const { return !candidates_.names.empty(); }

  // The family in which `candidate` is to be asked for now, if any. It is asked
  // for then.
  std::optional<Family> NextQuestion();
  bool HasQuestion() const;
  const std::string& candidate() const { return candidates_.names[at_]; }

  // The answer to a question.
  void Take(Family family, CaresReply reply);

  // What has come out for a family, once. All addresses are those of
  // `candidate`, if that `exists`.
  std::optional<CaresReply> TakeResult(Family family);
  bool exists() const { return candidates_.exists; }

  // Something went wrong, so that another time the name may stand for an
  // earlier candidate.
  bool uncertain() const { return uncertain_; }

  // A question has no answer yet.
  bool waits() const;

  // No question is out, none is to be asked, and all results are taken.
  bool over() const;

 private:
  enum class State { kUnasked, kAsked, kAnswered };
  struct Part {
    bool wanted = false;
    State state = State::kUnasked;
    CaresReply reply;
    // Of all candidates so far.
    Error error;
  };

  bool ToBeAsked(const Part& part) const {
    return !failed_ && part.state == State::kUnasked && (part.wanted || both_);
  }
  Part& part(Family family) { return parts_[static_cast<size_t>(family)]; }
  void Decide();
  // The place of the name as it is, if that can be next; or else none.
  size_t AsItIsOrNone() const;
  void Note(Part& part);

  NameCandidates candidates_;
  size_t at_ = 0;
  // Both families are asked for, of this candidate.
  bool both_ = false;
  // No candidate has an address.
  bool failed_ = false;
  bool uncertain_ = false;
  // By family.
  std::array<Part, 2> parts_;
};

}  // namespace aios

#endif  // AIOS_NAME_SEARCH_H_
