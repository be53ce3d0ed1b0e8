#include "sim/scenario.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aios/error.h"
#include "aios/host_spec.h"
#include "aios/text.h"

namespace aios::sim {

namespace {

constexpr Nanoseconds kMicrosecond = 1000;
constexpr Nanoseconds kMillisecond = 1000 * kMicrosecond;
constexpr Nanoseconds kSecond = 1000 * kMillisecond;
constexpr Nanoseconds kMinute = 60 * kSecond;
constexpr Nanoseconds kHour = 60 * kMinute;
constexpr Nanoseconds kDay = 24 * kHour;

// Bounds of what a file can ask for. Two of the greatest times can be added.
constexpr Nanoseconds kTimeMax = 100 * 365 * kDay;
constexpr size_t kHostsMax = 1000;
constexpr size_t kStatesMax = 20'000;
constexpr size_t kStepsMax = 20'000;
constexpr uint64_t kDataMax = uint64_t{256} << 20;
constexpr uint64_t kTimesMax = 1'000'000;
// After the last time that is mentioned, what has not ended will not.
constexpr Nanoseconds kGrace = 10 * kSecond;

// Abseil's string view is the standard one only in some builds.
absl::string_view ToAbsl(std::string_view text) {
  return {text.data(), text.size()};
}

struct ActionInfo {
  Action action;
  std::string_view name;
};
constexpr std::array kActions = {
    ActionInfo{Action::kConnect, "connect"},
    ActionInfo{Action::kReadBuffer, "read_buffer"},
    ActionInfo{Action::kReadWithChecking, "read_with_checking"},
    ActionInfo{Action::kReceiveMessage, "receive_message"},
    ActionInfo{Action::kWaitForInput, "wait_for_input"},
    ActionInfo{Action::kWriteBuffer, "write_buffer"},
    ActionInfo{Action::kSendMessage, "send_message"},
    ActionInfo{Action::kSendMessageTo, "send_message_to"},
    ActionInfo{Action::kAbort, "abort"},
    ActionInfo{Action::kAbortAndClose, "abort_and_close"},
    ActionInfo{Action::kStopListening, "stop_listening"},
    ActionInfo{Action::kSend, "send"},
    ActionInfo{Action::kReceive, "receive"},
    ActionInfo{Action::kShutdown, "shutdown"},
    ActionInfo{Action::kClose, "close"},
    ActionInfo{Action::kReset, "reset"},
    ActionInfo{Action::kPartition, "partition"},
    ActionInfo{Action::kHold, "hold"},
    ActionInfo{Action::kLose, "lose"},
    ActionInfo{Action::kLift, "lift"},
    ActionInfo{Action::kResetConnections, "reset_connections"},
    ActionInfo{Action::kPause, "pause"},
    ActionInfo{Action::kResume, "resume"},
    ActionInfo{Action::kCrash, "crash"},
    ActionInfo{Action::kRestart, "restart"},
    ActionInfo{Action::kStepClock, "step_clock"},
    ActionInfo{Action::kDriftClock, "drift_clock"},
    ActionInfo{Action::kLimitDescriptors, "limit_descriptors"},
};

struct RateInfo {
  std::string_view name;
  uint32_t FaultRates::*rate;
};
constexpr std::array kRates = {
    RateInfo{"loss", &FaultRates::loss},
    RateInfo{"duplication", &FaultRates::duplication},
    RateInfo{"reordering", &FaultRates::reordering},
    RateInfo{"corruption", &FaultRates::corruption},
    RateInfo{"short_read", &FaultRates::short_read},
    RateInfo{"short_write", &FaultRates::short_write},
    RateInfo{"would_block", &FaultRates::would_block},
    RateInfo{"spurious", &FaultRates::spurious},
    RateInfo{"interrupt", &FaultRates::interrupt},
    RateInfo{"error", &FaultRates::error},
    RateInfo{"split", &FaultRates::split},
    RateInfo{"join", &FaultRates::join},
};

struct CodeInfo {
  std::string_view name;
  absl::StatusCode code;
};
constexpr std::array kCodes = {
    CodeInfo{"failed_precondition", absl::StatusCode::kFailedPrecondition},
    CodeInfo{"invalid_argument", absl::StatusCode::kInvalidArgument},
    CodeInfo{"resource_exhausted", absl::StatusCode::kResourceExhausted},
    CodeInfo{"unavailable", absl::StatusCode::kUnavailable},
    CodeInfo{"unimplemented", absl::StatusCode::kUnimplemented},
};

constexpr std::array kStatuses = {IoStatus::kOk, IoStatus::kEof,
                                  IoStatus::kTimeout, IoStatus::kAborted,
                                  IoStatus::kError};

// Splits "1.5ms" into a number in units of 10^-9 of the unit, and the unit.
// Digits beyond are refused.
struct Quantity {
  uint64_t whole = 0;
  uint64_t billionths = 0;
  std::string_view unit;
};
std::optional<Quantity> ParseQuantity(std::string_view text) {
  Quantity quantity;
  size_t i = 0;
  auto digit = [&] {
    return i < text.size() && text[i] >= '0' && text[i] <= '9';
  };
  if (!digit()) return std::nullopt;
  for (; digit(); ++i) {
    if (quantity.whole > (uint64_t{1} << 62) / 10) return std::nullopt;
    quantity.whole = quantity.whole * 10 + static_cast<uint64_t>(text[i] - '0');
  }
  if (i < text.size() && text[i] == '.') {
    ++i;
    if (!digit()) return std::nullopt;
    for (uint64_t place = 100'000'000; digit(); ++i, place /= 10) {
      if (place == 0) return std::nullopt;
      quantity.billionths += place * static_cast<uint64_t>(text[i] - '0');
    }
  }
  quantity.unit = text.substr(i);
  return quantity;
}

// `quantity` times `scale`, when that is whole and not too much.
std::optional<uint64_t> Scaled(const Quantity& quantity, uint64_t scale) {
  auto product = static_cast<unsigned __int128>(quantity.whole) * scale;
  auto parts = static_cast<unsigned __int128>(quantity.billionths) * scale;
  if (parts % 1'000'000'000 != 0) return std::nullopt;
  product += parts / 1'000'000'000;
  if (product >= (uint64_t{1} << 63)) return std::nullopt;
  return static_cast<uint64_t>(product);
}

bool IsName(std::string_view text) {
  if (text.empty() || text.size() > 64) return false;
  for (char c : text) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  (c >= '0' && c <= '9') || c == '_' || c == '-';
    if (!letter) return false;
  }
  return true;
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  if (text.size() > 80) {
    quoted.append(text.substr(0, 80)).append("…");
  } else {
    quoted.append(text);
  }
  return quoted + "\"";
}

bool IsLookupError(std::string_view text) {
  for (int code = static_cast<int>(LookupError::kNoSuchName);
       code <= static_cast<int>(LookupError::kNotConfigured); ++code) {
    if (Error(code).Name() == text) return true;
  }
  return false;
}

// Builds the scenario; keeps the first mistake and goes on without harm.
class Builder {
 public:
  Builder(std::string_view file, std::string_view text) {
    scenario_.file = std::string(file);
    scenario_.source = std::string(text);
  }

  absl::StatusOr<Scenario> Build(const YamlNode& root);

 private:
  // A map whose keys are taken one by one; what is left is unknown.
  class Map {
   public:
    Map(Builder& builder, const YamlNode& node, std::string_view what)
        : builder_(builder), node_(node), what_(what) {
      if (node.kind != YamlNode::Kind::kMap) {
        builder.Fail(node.place,
                     absl::StrCat("expected the keys of ", ToAbsl(what_),
                                  ", as \"key: value\""));
      }
    }

    const YamlNode* Take(std::string_view key) {
      known_.push_back(key);
      if (node_.kind != YamlNode::Kind::kMap) return nullptr;
      for (size_t i = 0; i != node_.keys.size(); ++i) {
        if (node_.keys[i].text == key) return &node_.items[i];
      }
      return nullptr;
    }

    const YamlNode* Require(std::string_view key) {
      const YamlNode* node = Take(key);
      if (node == nullptr && missing_.empty()) missing_ = key;
      return node;
    }

    void Finish() {
      for (const YamlNode::Key& key : node_.keys) {
        if (std::find(known_.begin(), known_.end(), key.text) != known_.end()) {
          continue;
        }
        std::string known;
        for (std::string_view name : known_) {
          absl::StrAppend(&known, known.empty() ? "" : ", ", ToAbsl(name));
        }
        builder_.Fail(key.place,
                      absl::StrCat("unknown key ", Quoted(key.text), "; ",
                                   ToAbsl(what_), " has: ", known));
      }
      if (missing_.empty()) return;
      builder_.Fail(node_.place, absl::StrCat(ToAbsl(what_), " needs \"",
                                              ToAbsl(missing_), "\""));
    }

   private:
    Builder& builder_;
    const YamlNode& node_;
    std::string_view what_;
    std::vector<std::string_view> known_;
    std::string_view missing_;
  };

  void Fail(TextPlace place, std::string_view what) {
    if (error_.empty()) error_ = AtPlace(scenario_.file, place, what);
  }
  bool failed() const { return !error_.empty(); }

  // Values.
  std::string Text(const YamlNode* node, std::string_view what);
  std::string Name(const YamlNode* node, std::string_view what);
  bool Yes(const YamlNode* node, bool otherwise);
  Nanoseconds Time(const YamlNode* node, Nanoseconds otherwise);
  std::optional<absl::Duration> Timeout(const YamlNode* node);
  uint64_t Size(const YamlNode* node, uint64_t max, uint64_t otherwise);
  uint64_t Count(const YamlNode* node, uint64_t max, uint64_t otherwise);
  std::optional<int64_t> SignedCount(const YamlNode* node);
  uint32_t Rate(const YamlNode& node);
  uint64_t Bandwidth(const YamlNode& node);
  CountRange CountOrRange(const YamlNode& node);
  TimeRange TimeOrRange(const YamlNode& node);
  Direction DirectionOf(const YamlNode* node, Direction otherwise);
  ScenarioIndex HostOf(const YamlNode* node);
  std::pair<ScenarioIndex, ScenarioIndex> TwoHosts(const YamlNode* node);
  void Data(const YamlNode* node, ScenarioStep& step, bool may_be_empty);

  // Parts.
  void Hosts(const YamlNode* node);
  void HostKeys(const YamlNode& node, ScenarioHost& host);
  LinkOptions Link(Map& map);
  void Links(const YamlNode* one, const YamlNode* list);
  void Faults(const YamlNode* node);
  void NameServers(const YamlNode* node);
  void NameServerKeys(const YamlNode& node, ScenarioNameServer& server);
  void Records(const YamlNode::Key& name, const YamlNode& node,
               ScenarioNameServer& server);
  void Addresses(const YamlNode& node, Family family, ScenarioRecord record,
                 ScenarioNameServer& server);
  void RuleKeys(const YamlNode& node, ScenarioNameServer& server);
  void Resolver(const YamlNode* node);
  void Asked(const YamlNode* node);
  bool CheckDomain(std::string_view text, TextPlace place);
  // "server:7000", or "www.test:7000": a host of the scenario, or a name.
  void HostAndPort(const YamlNode& node, ScenarioStep& step);
  void FaultKeys(const YamlNode& node);
  void States(const YamlNode* node);
  void StateKeys(const YamlNode& node, ScenarioState& state);
  void JoinStates(const YamlNode& node);
  void Steps(const YamlNode* node);
  void StepKeys(const YamlNode& node);
  void OperationKeys(Map& map, const YamlNode* value, ScenarioStep& step);
  void NetworkKeys(Map& map, const YamlNode* value, ScenarioStep& step);
  ScenarioExpectation Expectation(const YamlNode& node);
  ScenarioOutcome Outcome(const YamlNode& node, ScenarioExpectation& whole);
  void Status(const YamlNode& node, ScenarioOutcome& outcome,
              ScenarioExpectation& whole);
  void Orders(const YamlNode* node);
  void ResolveSteps();
  void CheckEnd(const YamlNode* end);

  ScenarioIndex FindStep(std::string_view name) const {
    auto found = step_names_.find(std::string(name));
    return found == step_names_.end() ? kNone : found->second;
  }

  Scenario scenario_;
  std::string error_;
  std::map<std::string, ScenarioIndex> host_names_;
  std::map<std::string, ScenarioIndex> state_names_;
  std::map<std::string, ScenarioIndex> step_names_;
  // Names that stand for steps further down.
  struct Reference {
    TextPlace place;
    std::string name;
  };
  std::map<ScenarioIndex, Reference> afters_;
  std::map<ScenarioIndex, Reference> lifts_;
  std::map<std::pair<ScenarioIndex, size_t>, Reference> counts_of_;
  std::vector<Reference> outcome_counts_;  // of the step being read
  Nanoseconds last_time_ = 0;
  Nanoseconds last_at_ = 0;
};

// ---- Values.

std::string Builder::Text(const YamlNode* node, std::string_view what) {
  if (node == nullptr) return {};
  if (node->kind == YamlNode::Kind::kScalar) return node->text;
  Fail(node->place, absl::StrCat("expected ", ToAbsl(what)));
  return {};
}

std::string Builder::Name(const YamlNode* node, std::string_view what) {
  std::string text = Text(node, what);
  if (node != nullptr && !failed() && !IsName(text)) {
    Fail(node->place,
         absl::StrCat("expected ", ToAbsl(what),
                      ": 1 to 64 letters, digits, \"_\" and \"-\", not ",
                      Quoted(text)));
  }
  return text;
}

bool Builder::Yes(const YamlNode* node, bool otherwise) {
  if (node == nullptr) return otherwise;
  if (node->kind == YamlNode::Kind::kScalar) {
    if (node->text == "yes" || node->text == "true") return true;
    if (node->text == "no" || node->text == "false") return false;
  }
  Fail(node->place, "expected yes or no");
  return otherwise;
}

Nanoseconds Builder::Time(const YamlNode* node, Nanoseconds otherwise) {
  if (node == nullptr) return otherwise;
  std::optional<Nanoseconds> time;
  if (node->kind == YamlNode::Kind::kScalar) {
    time = ParseScenarioTime(node->text);
  }
  if (!time.has_value()) {
    Fail(node->place, absl::StrCat("expected a time such as 300ms, 1.5s or 2h, "
                                   "and not a negative one; found ",
                                   Quoted(node->text)));
    return otherwise;
  }
  return *time;
}

std::optional<absl::Duration> Builder::Timeout(const YamlNode* node) {
  if (node == nullptr) return std::nullopt;
  if (node->text == "none") return absl::InfiniteDuration();
  return absl::Nanoseconds(Time(node, 0));
}

uint64_t Builder::Size(const YamlNode* node, uint64_t max, uint64_t otherwise) {
  if (node == nullptr) return otherwise;
  std::optional<uint64_t> size;
  if (node->kind == YamlNode::Kind::kScalar) {
    size = ParseScenarioSize(node->text);
  }
  if (!size.has_value()) {
    Fail(node->place,
         absl::StrCat("expected a size such as 100, 64KiB or 1.5MiB, and not a "
                      "negative one; found ",
                      Quoted(node->text)));
    return otherwise;
  }
  if (*size > max) {
    Fail(node->place, absl::StrCat("expected at most ", max, ", not ", *size));
    return otherwise;
  }
  return *size;
}

uint64_t Builder::Count(const YamlNode* node, uint64_t max,
                        uint64_t otherwise) {
  if (node == nullptr) return otherwise;
  uint64_t count = 0;
  switch (node->kind == YamlNode::Kind::kScalar
              ? ReadDecimal(node->text, max, &count)
              : DecimalError::kNotDecimal) {
    case DecimalError::kNone:
      return count;
    case DecimalError::kAboveLimit:
      Fail(node->place,
           absl::StrCat("expected at most ", max, ", not ", node->text));
      break;
    case DecimalError::kLeadingZero:
      Fail(node->place, absl::StrCat("expected a number without leading zeros, "
                                     "which some read as octal; found ",
                                     Quoted(node->text)));
      break;
    case DecimalError::kEmpty:
    case DecimalError::kNotDecimal:
      Fail(node->place,
           absl::StrCat("expected a whole number, 0 or more; found ",
                        Quoted(node->text)));
      break;
  }
  return otherwise;
}

std::optional<int64_t> Builder::SignedCount(const YamlNode* node) {
  int64_t count = 0;
  if (node == nullptr) return std::nullopt;
  if (node->kind != YamlNode::Kind::kScalar ||
      !absl::SimpleAtoi(node->text, &count)) {
    Fail(node->place, "expected a whole number");
    return std::nullopt;
  }
  return count;
}

uint32_t Builder::Rate(const YamlNode& node) {
  std::optional<Quantity> quantity;
  if (node.kind == YamlNode::Kind::kScalar) quantity = ParseQuantity(node.text);
  std::optional<uint64_t> per_million;
  if (quantity.has_value()) {
    if (quantity->unit == "%") per_million = Scaled(*quantity, 10'000);
    if (quantity->unit == "ppm") per_million = Scaled(*quantity, 1);
  }
  if (!per_million.has_value() || *per_million > 1'000'000) {
    Fail(node.place, absl::StrCat("expected a rate from 0% to 100%, such as "
                                  "5%, 0.01% or 100ppm; found ",
                                  Quoted(node.text)));
    return 0;
  }
  return static_cast<uint32_t>(*per_million);
}

uint64_t Builder::Bandwidth(const YamlNode& node) {
  std::optional<Quantity> quantity;
  if (node.kind == YamlNode::Kind::kScalar) quantity = ParseQuantity(node.text);
  std::optional<uint64_t> bits;
  if (quantity.has_value()) {
    if (quantity->unit == "bit/s") bits = Scaled(*quantity, 1);
    if (quantity->unit == "kbit/s") bits = Scaled(*quantity, 1000);
    if (quantity->unit == "Mbit/s") bits = Scaled(*quantity, 1'000'000);
    if (quantity->unit == "Gbit/s") bits = Scaled(*quantity, 1'000'000'000);
  }
  if (!bits.has_value() || *bits == 0) {
    Fail(node.place, absl::StrCat("expected a bandwidth such as 64kbit/s, "
                                  "10Mbit/s or 1Gbit/s; found ",
                                  Quoted(node.text)));
    return 0;
  }
  return *bits;
}

CountRange Builder::CountOrRange(const YamlNode& node) {
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  if (node.kind != YamlNode::Kind::kList) {
    uint64_t count = Size(&node, kMax, 0);
    return {count, count};
  }
  if (node.items.size() != 2) {
    Fail(node.place, "expected two sizes, the least and the greatest");
    return {};
  }
  CountRange range = {Size(&node.items[0], kMax, 0),
                      Size(&node.items[1], kMax, 0)};
  if (range.min > range.max) {
    Fail(node.place, "expected the least first, the greatest second");
  }
  return range;
}

TimeRange Builder::TimeOrRange(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kList) {
    Nanoseconds time = Time(&node, 0);
    return {time, time};
  }
  if (node.items.size() != 2) {
    Fail(node.place, "expected two times, the earliest and the latest");
    return {};
  }
  TimeRange range = {Time(&node.items[0], 0), Time(&node.items[1], 0)};
  if (range.min > range.max) {
    Fail(node.place, "expected the earliest first, the latest second");
  }
  return range;
}

Direction Builder::DirectionOf(const YamlNode* node, Direction otherwise) {
  if (node == nullptr || node->kind == YamlNode::Kind::kNull) return otherwise;
  if (node->text == "input") return Direction::kInput;
  if (node->text == "output") return Direction::kOutput;
  if (node->text == "io") return Direction::kIo;
  Fail(node->place, "expected a direction: input, output or io");
  return otherwise;
}

ScenarioIndex Builder::HostOf(const YamlNode* node) {
  if (node == nullptr) return kNone;
  std::string name = Name(node, "the name of a host");
  auto found = host_names_.find(name);
  if (found != host_names_.end()) return found->second;
  Fail(node->place, absl::StrCat("there is no host ", Quoted(name)));
  return kNone;
}

std::pair<ScenarioIndex, ScenarioIndex> Builder::TwoHosts(
    const YamlNode* node) {
  if (node == nullptr) return {kNone, kNone};
  if (node->kind != YamlNode::Kind::kList || node->items.size() != 2) {
    Fail(node->place, "expected two hosts, as [client, server]");
    return {kNone, kNone};
  }
  std::pair hosts(HostOf(&node->items[0]), HostOf(&node->items[1]));
  if (hosts.first == hosts.second) {
    Fail(node->place, "expected two different hosts");
  }
  return hosts;
}

void Builder::Data(const YamlNode* node, ScenarioStep& step,
                   bool may_be_empty) {
  if (node == nullptr) return;
  if (node->kind == YamlNode::Kind::kMap) {
    Map map(*this, *node, "data");
    const YamlNode* size = map.Take("size");
    const YamlNode* text = map.Take("text");
    const YamlNode* repeat = map.Take("repeat");
    map.Finish();
    if ((size == nullptr) == (text == nullptr)) {
      Fail(node->place, "expected either \"size\" or \"text\"");
    }
    step.size = Size(size, kDataMax, 0);
    step.text = Text(text, "text");
    uint64_t count = Count(repeat, kTimesMax, 1);
    if (text != nullptr) {
      if (step.text.size() * count > kDataMax) {
        Fail(node->place,
             absl::StrCat("expected at most ", kDataMax, " bytes"));
      }
      step.size = step.text.size() * count;
    } else if (repeat != nullptr) {
      Fail(repeat->place, "\"repeat\" goes with \"text\"");
    }
  } else if (node->kind == YamlNode::Kind::kScalar) {
    step.text = node->text;
    step.size = step.text.size();
  } else {
    Fail(node->place,
         "expected what to send: text, {size: 64KiB} or {text: ab, repeat: 9}");
  }
  if (step.size == 0 && !may_be_empty) {
    Fail(node->place, "expected at least one byte to send");
  }
}

// ---- Hosts, links, faults.

void Builder::Hosts(const YamlNode* node) {
  if (node == nullptr) return;
  auto add = [&](const std::string& name, TextPlace place) {
    if (!IsName(name)) {
      Fail(place, absl::StrCat("expected the name of a host: letters, digits, "
                               "\"_\" and \"-\", not ",
                               Quoted(name)));
    }
    if (!host_names_.emplace(name, scenario_.hosts.size()).second) {
      Fail(place, absl::StrCat("there are two hosts ", Quoted(name)));
    }
    if (scenario_.hosts.size() == kHostsMax) {
      Fail(place, absl::StrCat("expected at most ", kHostsMax, " hosts"));
      return;
    }
    scenario_.hosts.push_back({.name = name, .options = {}, .limits = {}});
  };
  if (node->kind == YamlNode::Kind::kList) {
    for (const YamlNode& item : node->items) {
      add(Text(&item, "the name of a host"), item.place);
    }
  } else if (node->kind == YamlNode::Kind::kMap) {
    for (size_t i = 0; i != node->items.size() && !failed(); ++i) {
      add(node->keys[i].text, node->keys[i].place);
      if (node->items[i].kind != YamlNode::Kind::kNull && !failed()) {
        HostKeys(node->items[i], scenario_.hosts.back());
      }
    }
  }
  if (scenario_.hosts.empty()) {
    Fail(node->place, "expected hosts, as [client, server]");
  }
}

void Builder::HostKeys(const YamlNode& node, ScenarioHost& host) {
  Map map(*this, node, "a host");
  host.options.descriptors_max = static_cast<int>(
      Count(map.Take("descriptors"), 1'000'000,
            static_cast<uint64_t>(host.options.descriptors_max)));
  if (const YamlNode* ports = map.Take("ephemeral_ports")) {
    if (ports->kind != YamlNode::Kind::kList || ports->items.size() != 2) {
      Fail(ports->place, "expected the first and last port, as [40000, 40009]");
    } else {
      uint64_t first = Count(&ports->items[0], 65535, 1);
      uint64_t last = Count(&ports->items[1], 65535, 1);
      if (first == 0 || last < first) {
        Fail(ports->place, "expected ports from 1 to 65535, the first first");
      }
      host.options.ephemeral_port_first = static_cast<uint16_t>(first);
      host.options.ephemeral_port_last = static_cast<uint16_t>(last);
    }
  }
  if (auto drift = SignedCount(map.Take("clock_drift_ppm"))) {
    host.options.clock_drift_per_million = *drift;
  }
  Limits& limits = host.limits;
  limits.output_queue_bytes_max = Size(map.Take("output_queue_bytes"), kDataMax,
                                       limits.output_queue_bytes_max);
  limits.output_queue_length_max =
      Count(map.Take("output_queue_length"), kTimesMax,
            limits.output_queue_length_max);
  limits.input_buffer_bytes_max = Size(map.Take("input_buffer_bytes"), kDataMax,
                                       limits.input_buffer_bytes_max);
  map.Finish();
}

LinkOptions Builder::Link(Map& map) {
  LinkOptions link = scenario_.link;
  if (const YamlNode* latency = map.Take("latency")) {
    if (latency->kind == YamlNode::Kind::kMap) {
      Map kinds(*this, *latency, "a latency");
      auto two = [&](const YamlNode& node) {
        std::pair<absl::Duration, absl::Duration> times;
        if (node.kind != YamlNode::Kind::kList || node.items.size() != 2) {
          Fail(node.place, "expected two times, as [1ms, 5ms]");
        } else {
          times.first = absl::Nanoseconds(Time(&node.items[0], 0));
          times.second = absl::Nanoseconds(Time(&node.items[1], 0));
        }
        return times;
      };
      const YamlNode* uniform = kinds.Take("uniform");
      const YamlNode* exponential = kinds.Take("exponential");
      const YamlNode* heavy = kinds.Take("heavy_tailed");
      kinds.Finish();
      if (latency->items.size() != 1) {
        Fail(latency->place,
             "expected one of: uniform, exponential, heavy_tailed");
      }
      if (uniform != nullptr) {
        auto [from, to] = two(*uniform);
        if (to < from) Fail(uniform->place, "expected the shorter time first");
        link.latency = Latency::Uniform(from, to);
      } else if (exponential != nullptr) {
        auto [base, mean] = two(*exponential);
        link.latency = Latency::Exponential(base, mean);
      } else if (heavy != nullptr) {
        auto [base, typical] = two(*heavy);
        link.latency = Latency::HeavyTailed(base, typical);
      }
    } else {
      link.latency = Latency::Fixed(absl::Nanoseconds(Time(latency, 0)));
    }
    if (link.latency.base + link.latency.spread * 1000 >
        absl::Hours(24 * 365)) {
      Fail(latency->place, "expected a latency of less than that");
    }
  }
  if (const YamlNode* bandwidth = map.Take("bandwidth")) {
    link.bits_per_second = Bandwidth(*bandwidth);
  }
  const YamlNode* queue = map.Take("queue");
  link.queue_bytes_max = Size(queue, kDataMax, link.queue_bytes_max);
  if (queue != nullptr && link.bits_per_second == 0) {
    Fail(queue->place, "a queue needs a \"bandwidth\" to wait for");
  }
  const YamlNode* mtu = map.Take("mtu");
  link.mtu_bytes = Size(mtu, 65536, link.mtu_bytes);
  if (link.mtu_bytes < 68) Fail(mtu->place, "expected an mtu of 68 or more");
  return link;
}

void Builder::Links(const YamlNode* one, const YamlNode* list) {
  if (one != nullptr) {
    Map map(*this, *one, "a link");
    scenario_.link = Link(map);
    map.Finish();
  }
  if (list == nullptr) return;
  if (list->kind != YamlNode::Kind::kList) {
    Fail(list->place, "expected a list of links");
    return;
  }
  for (const YamlNode& node : list->items) {
    Map map(*this, node, "a link");
    const YamlNode* between = map.Take("between");
    const YamlNode* from = map.Take("from");
    const YamlNode* to = map.Take("to");
    ScenarioLink link;
    link.options = Link(map);
    map.Finish();
    if ((between != nullptr) == (from != nullptr) ||
        (from == nullptr) != (to == nullptr)) {
      Fail(node.place,
           "expected either \"between: [a, b]\" or \"from: a, to: b\"");
    }
    if (failed()) return;
    if (between != nullptr) {
      std::tie(link.from, link.to) = TwoHosts(between);
      scenario_.links.push_back(link);
      std::swap(link.from, link.to);
    } else {
      link.from = HostOf(from);
      link.to = HostOf(to);
      if (link.from == link.to) {
        Fail(node.place, "expected two different hosts");
      }
    }
    scenario_.links.push_back(link);
  }
}

void Builder::Faults(const YamlNode* node) {
  if (node == nullptr) return;
  if (node->kind == YamlNode::Kind::kList) {
    for (const YamlNode& item : node->items) FaultKeys(item);
  } else {
    FaultKeys(*node);
  }
}

void Builder::FaultKeys(const YamlNode& node) {
  Map map(*this, node, "a set of fault rates");
  ScenarioFaults faults;
  for (const RateInfo& info : kRates) {
    if (const YamlNode* rate = map.Take(info.name)) {
      faults.rates.*info.rate = Rate(*rate);
    }
  }
  faults.from = Time(map.Take("from"), 0);
  const YamlNode* until = map.Take("until");
  faults.until = Time(until, kForever);
  map.Finish();
  if (faults.until <= faults.from) {
    Fail(until != nullptr ? until->place : node.place,
         "expected the end after the beginning");
  }
  if (until != nullptr) last_time_ = std::max(last_time_, faults.until);
  last_time_ = std::max(last_time_, faults.from);
  scenario_.faults.push_back(faults);
}

// ---- Names.

bool Builder::CheckDomain(std::string_view text, TextPlace place) {
  if (DnsName::Parse(text).ok() && KindOf(HostSpec(text)) == SpecKind::kName) {
    return true;
  }
  Fail(place, absl::StrCat("expected a domain name, as www.test; found ",
                           Quoted(text)));
  return false;
}

void Builder::NameServers(const YamlNode* node) {
  if (node == nullptr) return;
  if (node->kind != YamlNode::Kind::kMap || node->items.empty()) {
    Fail(node->place,
         "expected hosts, as \"dns: {names: {www.test: server}}\"");
    return;
  }
  for (size_t i = 0; i != node->items.size() && !failed(); ++i) {
    const YamlNode::Key& key = node->keys[i];
    auto host = host_names_.find(key.text);
    if (host == host_names_.end()) {
      Fail(key.place, absl::StrCat("there is no host ", Quoted(key.text)));
      return;
    }
    ScenarioNameServer& server = scenario_.name_servers.emplace_back();
    server.host = host->second;
    scenario_.resolver.servers.push_back(server.host);
    if (node->items[i].kind != YamlNode::Kind::kNull) {
      NameServerKeys(node->items[i], server);
    }
  }
}

void Builder::NameServerKeys(const YamlNode& node, ScenarioNameServer& server) {
  Map map(*this, node, "a name server");
  server.options.tcp = Yes(map.Take("tcp"), true);
  if (const YamlNode* ttl = map.Take("negative_ttl")) {
    server.options.negative_ttl = absl::Nanoseconds(Time(ttl, 0));
  }
  const YamlNode* names = map.Take("names");
  const YamlNode* rules = map.Take("rules");
  map.Finish();
  if (names != nullptr && names->kind != YamlNode::Kind::kMap) {
    Fail(names->place, "expected names, as \"www.test: server\"");
  } else if (names != nullptr) {
    for (size_t i = 0; i != names->items.size() && !failed(); ++i) {
      if (CheckDomain(names->keys[i].text, names->keys[i].place)) {
        Records(names->keys[i], names->items[i], server);
      }
    }
  }
  if (rules != nullptr && rules->kind != YamlNode::Kind::kList) {
    Fail(rules->place, "expected a list of rules");
  } else if (rules != nullptr) {
    for (const YamlNode& rule : rules->items) RuleKeys(rule, server);
  }
}

void Builder::Records(const YamlNode::Key& name, const YamlNode& node,
                      ScenarioNameServer& server) {
  ScenarioRecord record;
  record.name = name.text;
  if (node.kind == YamlNode::Kind::kScalar) {
    record.host = HostOf(&node);
    server.records.push_back(std::move(record));
    return;
  }
  Map map(*this, node, "a name");
  const YamlNode* a = map.Take("a");
  const YamlNode* aaaa = map.Take("aaaa");
  const YamlNode* alias = map.Take("alias");
  if (const YamlNode* ttl = map.Take("ttl")) {
    record.ttl = absl::Nanoseconds(Time(ttl, 0));
  }
  map.Finish();
  if (alias != nullptr && (a != nullptr || aaaa != nullptr)) {
    Fail(alias->place, "a name with an alias has no addresses");
  } else if (alias != nullptr) {
    record.alias = Text(alias, "a name");
    if (!failed()) CheckDomain(record.alias, alias->place);
    server.records.push_back(std::move(record));
  } else if (a == nullptr && aaaa == nullptr) {
    server.records.push_back(std::move(record));
  } else {
    if (a != nullptr) Addresses(*a, Family::kIpv4, record, server);
    if (aaaa != nullptr) Addresses(*aaaa, Family::kIpv6, record, server);
  }
}

void Builder::Addresses(const YamlNode& node, Family family,
                        ScenarioRecord record, ScenarioNameServer& server) {
  if (node.kind == YamlNode::Kind::kList) {
    for (const YamlNode& item : node.items) {
      if (item.kind == YamlNode::Kind::kList) {
        Fail(item.place, "expected a host or an address");
        return;
      }
      Addresses(item, family, record, server);
    }
    return;
  }
  absl::StatusOr<IpAddress> address = IpAddress::Parse(node.text);
  if (address.ok()) {
    if (address->family() != family) {
      Fail(node.place,
           "expected an IPv4 address at \"a\", an IPv6 one at "
           "\"aaaa\"");
    }
    record.address = *address;
  } else {
    record.host = HostOf(&node);
    record.family = family;
  }
  server.records.push_back(std::move(record));
}

void Builder::RuleKeys(const YamlNode& node, ScenarioNameServer& server) {
  Map map(*this, node, "a rule of a name server");
  DnsRule rule;
  if (const YamlNode* name = map.Take("name")) {
    rule.name = Text(name, "a name");
    if (!failed()) CheckDomain(rule.name, name->place);
  }
  if (const YamlNode* type = map.Take("type")) {
    if (type->text == "a") {
      rule.type = DnsType::kA;
    } else if (type->text == "aaaa") {
      rule.type = DnsType::kAaaa;
    } else {
      Fail(type->place, "expected a or aaaa");
    }
  }
  if (const YamlNode* fault = map.Take("fault")) {
    rule.fault = DnsFaultByName(fault->text);
    if (rule.fault == DnsFault::kCount) {
      std::string known;
      for (size_t i = 0; i != static_cast<size_t>(DnsFault::kCount); ++i) {
        absl::StrAppend(&known, known.empty() ? "" : ", ",
                        ToAbsl(DnsFaultName(static_cast<DnsFault>(i))));
      }
      Fail(fault->place, absl::StrCat("expected one of: ", known));
    }
  }
  rule.delay = absl::Nanoseconds(Time(map.Take("delay"), 0));
  if (const YamlNode* chance = map.Take("chance")) {
    rule.per_million = Rate(*chance);
  }
  rule.times_max = Count(map.Take("times"), kTimesMax, rule.times_max);
  map.Finish();
  server.rules.push_back(std::move(rule));
}

void Builder::Resolver(const YamlNode* node) {
  if (node == nullptr) return;
  Map map(*this, *node, "a resolver");
  ScenarioResolver& resolver = scenario_.resolver;
  if (const YamlNode* servers = map.Take("servers")) {
    resolver.servers.clear();
    if (servers->kind != YamlNode::Kind::kList || servers->items.size() > 16) {
      Fail(servers->place, "expected a list of at most 16 hosts");
    } else {
      for (const YamlNode& item : servers->items) {
        resolver.servers.push_back(HostOf(&item));
      }
    }
  }
  if (const YamlNode* family = map.Take("family")) {
    if (family->text == "ipv6") {
      resolver.family = Family::kIpv6;
    } else if (family->text != "ipv4") {
      Fail(family->place, "expected ipv4 or ipv6");
    }
  }
  if (const YamlNode* timeout = map.Take("timeout")) {
    resolver.timeout = absl::Nanoseconds(Time(timeout, kSecond));
    if (*resolver.timeout < absl::Milliseconds(1) ||
        *resolver.timeout > absl::Minutes(1)) {
      Fail(timeout->place, "expected a timeout from 1ms to 1min");
    }
  }
  if (const YamlNode* tries = map.Take("tries")) {
    resolver.tries = static_cast<int>(Count(tries, 10, 1));
    if (*resolver.tries == 0) Fail(tries->place, "expected 1 or more tries");
  }
  map.Finish();
}

void Builder::Asked(const YamlNode* node) {
  if (node == nullptr) return;
  if (node->kind != YamlNode::Kind::kMap) {
    Fail(node->place, "expected numbers of queries, as \"www.test: 1\"");
    return;
  }
  for (size_t i = 0; i != node->items.size() && !failed(); ++i) {
    const YamlNode::Key& key = node->keys[i];
    if (!CheckDomain(key.text, key.place)) return;
    scenario_.asked.push_back(
        {key.place, key.text, CountOrRange(node->items[i])});
  }
}

// ---- States.

void Builder::States(const YamlNode* node) {
  if (node == nullptr) return;
  if (node->kind != YamlNode::Kind::kMap) {
    Fail(node->place, "expected states, as \"alice: {host: client}\"");
    return;
  }
  if (node->items.size() > kStatesMax) {
    Fail(node->place, absl::StrCat("expected at most ", kStatesMax, " states"));
    return;
  }
  for (size_t i = 0; i != node->keys.size(); ++i) {
    const YamlNode::Key& key = node->keys[i];
    if (!IsName(key.text)) {
      Fail(key.place, absl::StrCat("expected the name of a state: letters, "
                                   "digits, \"_\" and \"-\", not ",
                                   Quoted(key.text)));
    }
    state_names_.emplace(key.text, i);
    ScenarioState state;
    state.name = key.text;
    state.place = key.place;
    scenario_.states.push_back(std::move(state));
  }
  for (size_t i = 0; i != node->items.size() && !failed(); ++i) {
    StateKeys(node->items[i], scenario_.states[i]);
  }
  if (!failed()) JoinStates(*node);
}

void Builder::StateKeys(const YamlNode& node, ScenarioState& state) {
  Map map(*this, node, "a state");
  auto state_of = [&](const YamlNode& name) {
    std::string text = Name(&name, "the name of a state");
    auto found = state_names_.find(text);
    if (found != state_names_.end()) return found->second;
    Fail(name.place, absl::StrCat("there is no state ", Quoted(text)));
    return kNone;
  };
  state.host = HostOf(map.Require("host"));
  const YamlNode* connect = map.Take("connect");
  const YamlNode* udp = map.Take("udp");
  const YamlNode* listen = map.Take("listen");
  state.plain = Yes(map.Take("plain"), false);
  if ((connect != nullptr) + (udp != nullptr) + (listen != nullptr) > 1) {
    Fail(node.place, "expected only one of: connect, udp, listen");
  }
  auto port = [&](const YamlNode* value) {
    uint64_t number = Count(value, 65535, 0);
    if (number == 0) Fail(value->place, "expected a port from 1 to 65535");
    return static_cast<uint16_t>(number);
  };
  if (connect != nullptr) {
    state.kind = ScenarioState::Kind::kTcp;
    state.active = true;
    state.peer = state_of(*connect);
  } else if (udp != nullptr) {
    // Meant as a port, however wrong it is.
    if (AllDigits(udp->text)) {
      state.kind = ScenarioState::Kind::kUdp;
      state.port = port(udp);
    } else {
      state.kind = ScenarioState::Kind::kUdpPeer;
      state.peer = state_of(*udp);
    }
    if (state.plain) Fail(udp->place, "plain sockets are TCP only");
  } else if (listen != nullptr) {
    state.kind = ScenarioState::Kind::kListener;
    state.port = port(listen);
    state.backlog = static_cast<int>(Count(map.Take("backlog"), 100'000, 0));
    if (state.plain) Fail(listen->place, "a listener is not plain");
    if (const YamlNode* accepts = map.Take("accepts")) {
      if (accepts->kind != YamlNode::Kind::kList) {
        Fail(accepts->place, "expected a list of states");
      } else {
        for (const YamlNode& item : accepts->items) {
          state.accepts.push_back(state_of(item));
        }
      }
    }
  }
  if (const YamlNode* family = map.Take("family")) {
    if (family->text == "ipv6") {
      state.family = Family::kIpv6;
    } else if (family->text != "ipv4") {
      Fail(family->place, "expected ipv4 or ipv6");
    }
  }
  if (const YamlNode* queue = map.Take("queue_output")) {
    state.queue_output = Yes(queue, false);
  }
  state.keepalive = Yes(map.Take("keepalive"), false);
  state.read_timeout =
      Timeout(map.Take("read_timeout")).value_or(absl::InfiniteDuration());
  state.write_timeout =
      Timeout(map.Take("write_timeout")).value_or(absl::InfiniteDuration());
  if (const YamlNode* max_read = map.Take("max_read")) {
    state.max_read = Size(max_read, uint64_t{1} << 30, 1);
    if (*state.max_read == 0) Fail(max_read->place, "expected 1 or more");
  }
  map.Finish();
}

void Builder::JoinStates(const YamlNode& node) {
  std::vector<ScenarioState>& states = scenario_.states;
  for (size_t i = 0; i != states.size(); ++i) {
    ScenarioState& state = states[i];
    TextPlace place = node.items[i].place;
    if (state.active) {
      ScenarioState& peer = states[state.peer];
      if (&peer == &state || peer.kind != ScenarioState::Kind::kOpen) {
        Fail(place, absl::StrCat("expected ", Quoted(peer.name),
                                 " to be another state that nothing else is "
                                 "connected to, without \"connect\", "
                                 "\"udp\" and \"listen\""));
        return;
      }
      peer.kind = ScenarioState::Kind::kTcp;
      peer.peer = i;
      peer.family = state.family;
    } else if (state.kind == ScenarioState::Kind::kUdpPeer) {
      if (states[state.peer].kind != ScenarioState::Kind::kUdp) {
        Fail(place, absl::StrCat("expected ", Quoted(states[state.peer].name),
                                 " to have a UDP port, as \"udp: 9000\""));
      }
    }
  }
  for (size_t i = 0; i != states.size(); ++i) {
    for (ScenarioIndex accepted : states[i].accepts) {
      ScenarioState& state = states[accepted];
      if (state.kind != ScenarioState::Kind::kOpen || state.listener != kNone) {
        Fail(node.items[i].place,
             absl::StrCat("expected ", Quoted(state.name),
                          " to be of this listener alone"));
        return;
      }
      if (state.host != states[i].host) {
        Fail(node.items[i].place,
             absl::StrCat("expected ", Quoted(state.name),
                          " to be on the host of its listener"));
      }
      if (state.plain) {
        Fail(node.items[i].place, "what a listener accepts is not plain");
      }
      state.listener = i;
    }
  }
  // Two on one port of one host.
  std::set<std::tuple<bool, ScenarioIndex, uint16_t>> ports;
  for (size_t i = 0; i != states.size(); ++i) {
    if (states[i].port == 0) continue;
    bool udp = states[i].kind == ScenarioState::Kind::kUdp;
    if (!ports.emplace(udp, states[i].host, states[i].port).second) {
      Fail(node.items[i].place, absl::StrCat("port ", states[i].port,
                                             " of this host is taken already"));
    }
  }
}

// ---- Steps.

void Builder::Steps(const YamlNode* node) {
  if (node == nullptr) return;
  if (node->kind != YamlNode::Kind::kList || node->items.empty()) {
    Fail(node->place, "expected a list of steps");
    return;
  }
  if (node->items.size() > kStepsMax) {
    Fail(node->place, absl::StrCat("expected at most ", kStepsMax, " steps"));
    return;
  }
  for (const YamlNode& item : node->items) {
    StepKeys(item);
    if (failed()) return;
  }
  ResolveSteps();
}

void Builder::StepKeys(const YamlNode& node) {
  Map map(*this, node, "a step");
  ScenarioStep step;
  step.place = node.place;
  const YamlNode* at = map.Take("at");
  const YamlNode* after = map.Take("after");
  const YamlNode* plus = map.Take("plus");
  const YamlNode* state = map.Take("state");
  const YamlNode* name = map.Take("name");
  ScenarioIndex index = scenario_.steps.size();
  if ((at == nullptr) == (after == nullptr)) {
    Fail(node.place, "a step needs either \"at: TIME\" or \"after: NAME\"");
  }
  if (at != nullptr) {
    step.at = Time(at, 0);
    if (plus != nullptr) Fail(plus->place, "\"plus\" goes with \"after\"");
    if (step.at < last_at_) {
      Fail(at->place,
           absl::StrCat("time goes backwards: the step before is at ",
                        TimeText(last_at_)));
    }
    last_at_ = step.at;
    last_time_ = std::max(last_time_, step.at);
  } else if (after != nullptr) {
    afters_[index] = {after->place, Name(after, "the name of a step")};
    step.plus = Time(plus, 0);
  }
  if (name != nullptr) {
    step.name = Name(name, "a name");
    if (!failed() && !step_names_.emplace(step.name, index).second) {
      Fail(name->place,
           absl::StrCat("there are two steps named ", Quoted(step.name)));
    }
  }

  // What to do.
  const YamlNode* value = nullptr;
  int found = 0;
  for (const ActionInfo& info : kActions) {
    if (const YamlNode* action = map.Take(info.name)) {
      step.action = info.action;
      value = action;
      ++found;
    }
  }
  if (found > 1) Fail(node.place, "a step does only one thing");
  if (found == 0 && !failed()) {
    // An unknown key says more.
    for (std::string_view key :
         {"expect", "times", "chain", "timeout", "for"}) {
      map.Take(key);
    }
    map.Finish();
    Fail(node.place, "expected what to do, such as \"read_buffer: 10\"");
  }
  if (failed()) return;

  if (IsOperation(step.action)) {
    if (state == nullptr) {
      Fail(node.place, absl::StrCat(ToAbsl(ActionName(step.action)),
                                    " needs a \"state\" to do it to"));
      return;
    }
    std::string text = Name(state, "the name of a state");
    auto place = state_names_.find(text);
    if (place == state_names_.end()) {
      Fail(state->place, absl::StrCat("there is no state ", Quoted(text)));
      return;
    }
    step.state = place->second;
    OperationKeys(map, value, step);
    step.times = static_cast<uint32_t>(Count(map.Take("times"), kTimesMax, 1));
    step.chain = static_cast<uint32_t>(Count(map.Take("chain"), kTimesMax, 1));
    if (step.times == 0 || step.chain == 0) {
      Fail(node.place, "expected \"times\" and \"chain\" to be 1 or more");
    } else if (step.times > kTimesMax / step.chain) {
      Fail(node.place, absl::StrCat("expected at most ", kTimesMax,
                                    " operations of a step"));
    }
    const YamlNode* expect = map.Take("expect");
    outcome_counts_.clear();
    if (expect != nullptr) {
      step.expect = Expectation(*expect);
    } else {
      step.expect.place = node.place;
      step.expect.text = "ok";
      step.expect.outcomes.emplace_back().status = IoStatus::kOk;
    }
    for (size_t i = 0; i != outcome_counts_.size(); ++i) {
      if (!outcome_counts_[i].name.empty()) {
        counts_of_[{index, i}] = outcome_counts_[i];
      }
    }
  } else {
    if (state != nullptr) {
      Fail(state->place, absl::StrCat(ToAbsl(ActionName(step.action)),
                                      " is not done to a state"));
    }
    NetworkKeys(map, value, step);
  }
  map.Finish();
  scenario_.steps.push_back(std::move(step));
}

void Builder::HostAndPort(const YamlNode& node, ScenarioStep& step) {
  std::string text = Text(&node, "a host and port, as server:7000");
  size_t colon = text.rfind(':');
  if (colon == std::string::npos) {
    Fail(node.place, "expected a host and port, as server:7000");
    return;
  }
  uint16_t port = 0;
  const char* wrong = ReadPort(std::string_view(text).substr(colon + 1), &port);
  if (wrong == nullptr && port == 0) wrong = "is 0";
  if (wrong != nullptr) {
    Fail(node.place,
         absl::StrCat("expected a host and port, as server:7000; the port ",
                      wrong));
    return;
  }
  step.port = port;
  text.resize(colon);
  auto host = host_names_.find(text);
  if (host != host_names_.end() && step.action == Action::kConnect) {
    step.target = host->second;
  } else if (text.find('.') == std::string::npos) {
    Fail(node.place, absl::StrCat("there is no host ", Quoted(text)));
  } else if (CheckDomain(text, node.place)) {
    step.target_name = std::move(text);
  }
}

void Builder::OperationKeys(Map& map, const YamlNode* value,
                            ScenarioStep& step) {
  const ScenarioState& state = scenario_.states[step.state];
  using Kind = ScenarioState::Kind;
  bool udp = state.kind == Kind::kUdp || state.kind == Kind::kUdpPeer;
  bool listener = state.kind == Kind::kListener;
  auto need = [&](bool condition, std::string_view what) {
    if (condition) return;
    Fail(step.place, absl::StrCat(ToAbsl(ActionName(step.action)), " of ",
                                  Quoted(state.name), ": ", ToAbsl(what)));
  };
  bool plain_only =
      step.action == Action::kSend || step.action == Action::kReceive;
  bool both = step.action == Action::kShutdown ||
              step.action == Action::kClose || step.action == Action::kReset;
  if (plain_only) {
    need(state.plain,
         "only plain sockets do this; a state has write_buffer "
         "and read_buffer");
  } else if (!both) {
    need(!state.plain,
         "a plain socket does only: send, receive, shutdown, "
         "close, reset");
  }
  if (step.action == Action::kStopListening) {
    need(listener, "this is no listener");
  } else {
    need(!listener, "a listener does only: stop_listening");
  }
  auto nothing = [&] {
    if (value->kind != YamlNode::Kind::kNull) {
      Fail(value->place, absl::StrCat(ToAbsl(ActionName(step.action)),
                                      " takes no value: write \"",
                                      ToAbsl(ActionName(step.action)), ":\""));
    }
  };
  auto timeout = [&] { step.timeout = Timeout(map.Take("timeout")); };
  auto size = [&](bool may_be_empty) {
    step.size = Size(value, kDataMax, 0);
    if (step.size == 0 && !may_be_empty) {
      Fail(value->place, "expected a size of 1 or more");
    }
  };
  switch (step.action) {
    case Action::kConnect: {
      need(state.kind == Kind::kOpen && state.listener == kNone,
           "this state is connected by other means");
      HostAndPort(*value, step);
      timeout();
      break;
    }
    case Action::kReadBuffer:
      size(/*may_be_empty=*/true);
      timeout();
      break;
    case Action::kReadWithChecking: {
      Map keys(*this, *value, "read_with_checking");
      const YamlNode* text = keys.Take("until_text");
      const YamlNode* bytes = keys.Take("until_size");
      step.to_end = Yes(keys.Take("until_end"), false);
      step.discard = Yes(keys.Take("discard"), false);
      keys.Finish();
      step.until_text = Text(text, "text");
      step.size = Size(bytes, kDataMax, 0);
      if ((text != nullptr) + (bytes != nullptr) + (step.to_end ? 1 : 0) != 1) {
        Fail(value->place,
             "expected one of: until_text, until_size, until_end");
      }
      if (text != nullptr && step.until_text.empty()) {
        Fail(text->place, "expected a text to look for");
      }
      if (bytes != nullptr && step.size == 0) {
        Fail(bytes->place, "expected a size of 1 or more");
      }
      if (step.discard && text != nullptr) {
        Fail(value->place, "\"discard\" goes with until_size and until_end");
      }
      timeout();
      if (const YamlNode* max_read = map.Take("max_read")) {
        step.max_read = Size(max_read, uint64_t{1} << 30, 1);
      }
      break;
    }
    case Action::kReceiveMessage:
      size(/*may_be_empty=*/true);
      timeout();
      break;
    case Action::kWaitForInput:
      nothing();
      timeout();
      break;
    case Action::kWriteBuffer:
    case Action::kSendMessage:
      Data(value, step, /*may_be_empty=*/true);
      timeout();
      break;
    case Action::kSendMessageTo: {
      Data(value, step, /*may_be_empty=*/true);
      timeout();
      const YamlNode* to = map.Require("to");
      if (to == nullptr) break;
      if (to->text.find(':') != std::string::npos) {
        HostAndPort(*to, step);
        break;
      }
      auto found = state_names_.find(to->text);
      if (found == state_names_.end() ||
          scenario_.states[found->second].kind != Kind::kUdp) {
        Fail(to->place,
             "expected a state with a UDP port, or a name and port, as "
             "www.test:9000");
        break;
      }
      step.target = found->second;
      break;
    }
    case Action::kAbort:
      step.direction = DirectionOf(value, Direction::kInput);
      break;
    case Action::kShutdown:
      step.direction = DirectionOf(value, Direction::kOutput);
      step.abort = Yes(map.Take("abort"), false);
      break;
    case Action::kAbortAndClose:
    case Action::kClose:
    case Action::kStopListening:
      nothing();
      break;
    case Action::kReset:
      nothing();
      need(!udp, "only a stream can be reset");
      break;
    case Action::kSend:
      Data(value, step, /*may_be_empty=*/false);
      break;
    case Action::kReceive:
      if (value->text == "to_end") {
        step.to_end = true;
      } else {
        size(/*may_be_empty=*/false);
      }
      if (const YamlNode* sip = map.Take("sip")) {
        step.sip = Size(sip, kDataMax, 1);
        if (step.sip == 0) Fail(sip->place, "expected a size of 1 or more");
        const YamlNode* every = map.Require("every");
        step.every = Time(every, 1);
        if (step.every == 0) Fail(every->place, "expected more than no time");
      }
      break;
    default:
      break;
  }
}

void Builder::NetworkKeys(Map& map, const YamlNode* value, ScenarioStep& step) {
  auto lasts = [&] {
    if (const YamlNode* time = map.Take("for")) {
      step.lasts = Time(time, 1);
      if (step.lasts == 0) Fail(time->place, "expected more than no time");
    }
  };
  switch (step.action) {
    case Action::kLose:
      if (const YamlNode* rate = map.Require("rate")) {
        step.per_million = Rate(*rate);
      }
      [[fallthrough]];
    case Action::kPartition:
    case Action::kHold:
      std::tie(step.from, step.to) = TwoHosts(value);
      step.one_way = Yes(map.Take("one_way"), step.action == Action::kLose);
      lasts();
      break;
    case Action::kLift:
      lifts_[scenario_.steps.size()] = {value->place,
                                        Name(value, "the name of a step")};
      break;
    case Action::kResetConnections:
      std::tie(step.from, step.to) = TwoHosts(value);
      break;
    case Action::kPause:
      step.from = HostOf(value);
      lasts();
      break;
    case Action::kResume:
    case Action::kCrash:
    case Action::kRestart:
      step.from = HostOf(value);
      break;
    case Action::kStepClock: {
      step.from = HostOf(value);
      const YamlNode* by = map.Require("by");
      if (by == nullptr) break;
      bool back = !by->text.empty() && by->text[0] == '-';
      auto time =
          ParseScenarioTime(std::string_view(by->text).substr(back ? 1 : 0));
      if (!time.has_value()) {
        Fail(by->place, "expected a time such as 1h or -1h");
        break;
      }
      step.by = absl::Nanoseconds(back ? -*time : *time);
      break;
    }
    case Action::kDriftClock: {
      step.from = HostOf(value);
      const YamlNode* ppm = map.Require("ppm");
      step.drift_per_million = SignedCount(ppm).value_or(0);
      if (step.drift_per_million < -500'000 ||
          step.drift_per_million > 500'000) {
        Fail(ppm->place, "expected -500000 to 500000");
      }
      break;
    }
    case Action::kLimitDescriptors:
      step.from = HostOf(value);
      step.spare = static_cast<int>(Count(map.Require("spare"), 1'000'000, 0));
      break;
    default:
      break;
  }
}

// ---- Expectations.

ScenarioExpectation Builder::Expectation(const YamlNode& node) {
  ScenarioExpectation expectation;
  expectation.place = node.place;
  if (node.kind == YamlNode::Kind::kList) {
    if (node.items.empty()) Fail(node.place, "expected an outcome");
    for (const YamlNode& item : node.items) {
      expectation.outcomes.push_back(Outcome(item, expectation));
      if (expectation.kind != ScenarioExpectation::Kind::kOutcome) {
        Fail(item.place, "expected an outcome: a status, not this");
      }
    }
  } else {
    expectation.outcomes.push_back(Outcome(node, expectation));
  }
  return expectation;
}

void Builder::Status(const YamlNode& node, ScenarioOutcome& outcome,
                     ScenarioExpectation& whole) {
  std::string text = Text(&node, "a status");
  if (text == "never") {
    whole.kind = ScenarioExpectation::Kind::kNever;
    return;
  }
  if (text == "any") {
    whole.kind = ScenarioExpectation::Kind::kAny;
    return;
  }
  for (IoStatus status : kStatuses) {
    if (IoStatusName(status) == text) {
      outcome.status = status;
      return;
    }
  }
  if ((text.size() > 1 && text[0] == 'E' && IsName(text)) ||
      IsLookupError(text)) {
    outcome.status = IoStatus::kError;
    outcome.error = text;
    return;
  }
  Fail(
      node.place,
      absl::StrCat("expected a status: ok, eof, timeout, aborted, error, an "
                   "error such as ECONNRESET or NXDOMAIN, never or any; found ",
                   Quoted(text)));
}

ScenarioOutcome Builder::Outcome(const YamlNode& node,
                                 ScenarioExpectation& whole) {
  ScenarioOutcome outcome;
  Reference count_of;
  std::string described;
  auto describe = [&](std::string_view text) {
    absl::StrAppend(&described, described.empty() ? "" : ", ", ToAbsl(text));
  };
  auto written = [](const YamlNode& value) {
    if (value.kind != YamlNode::Kind::kList || value.items.size() != 2) {
      return value.text;
    }
    return value.items[0].text + " to " + value.items[1].text;
  };
  if (node.kind == YamlNode::Kind::kScalar) {
    Status(node, outcome, whole);
    describe(node.text);
  } else {
    Map map(*this, node, "an expectation");
    if (const YamlNode* status = map.Take("status")) {
      Status(*status, outcome, whole);
      describe(status->text);
    }
    if (const YamlNode* refused = map.Take("refused")) {
      whole.kind = ScenarioExpectation::Kind::kRefused;
      std::string known;
      for (const CodeInfo& info : kCodes) {
        if (info.name == refused->text) whole.refused = info.code;
        absl::StrAppend(&known, known.empty() ? "" : ", ", ToAbsl(info.name));
      }
      if (whole.refused == absl::StatusCode::kOk) {
        Fail(refused->place, absl::StrCat("expected one of: ", known));
      }
      describe("refused: " + refused->text);
      if (node.items.size() != 1) {
        Fail(node.place, "a call that is refused has no other outcome");
      }
    }
    if (const YamlNode* count = map.Take("count")) {
      if (count->kind == YamlNode::Kind::kMap) {
        Map of(*this, *count, "a count");
        const YamlNode* other = of.Require("of");
        of.Finish();
        if (other != nullptr) {
          count_of = {other->place, Name(other, "the name of a step")};
          describe("the count of " + count_of.name);
        }
      } else {
        outcome.count = CountOrRange(*count);
        describe(written(*count));
      }
    }
    if (const YamlNode* text = map.Take("text")) {
      outcome.text = Text(text, "text");
      describe(Quoted(*outcome.text));
    }
    if (const YamlNode* truncated = map.Take("truncated")) {
      outcome.truncated = Yes(truncated, false);
      describe(*outcome.truncated ? "truncated" : "not truncated");
    }
    if (const YamlNode* at = map.Take("at")) {
      outcome.at = TimeOrRange(*at);
      last_time_ = std::max(last_time_, outcome.at->max);
      describe("at " + written(*at));
    }
    if (const YamlNode* takes = map.Take("takes")) {
      outcome.takes = TimeOrRange(*takes);
      last_time_ = std::max(last_time_, last_at_ + outcome.takes->max);
      describe("after " + written(*takes));
    }
    map.Finish();
    if (node.items.empty()) Fail(node.place, "expected an outcome");
    bool no_outcome = whole.kind == ScenarioExpectation::Kind::kNever ||
                      whole.kind == ScenarioExpectation::Kind::kAny;
    if (no_outcome && node.items.size() != 1) {
      Fail(node.place, "\"never\" and \"any\" stand alone");
    }
  }
  outcome_counts_.push_back(count_of);
  absl::StrAppend(&whole.text, whole.text.empty() ? "" : "; or ", described);
  return outcome;
}

void Builder::Orders(const YamlNode* node) {
  if (node == nullptr) return;
  auto one = [&](const YamlNode& list) {
    Scenario::Order order;
    order.place = list.place;
    for (const YamlNode& item : list.items) {
      std::string name = Name(&item, "the name of a step");
      ScenarioIndex step = FindStep(name);
      if (step == kNone || !IsOperation(scenario_.steps[step].action)) {
        Fail(item.place, absl::StrCat("no operation is named ", Quoted(name)));
        return;
      }
      auto kind = scenario_.steps[step].expect.kind;
      if (kind == ScenarioExpectation::Kind::kNever ||
          kind == ScenarioExpectation::Kind::kRefused) {
        Fail(item.place, absl::StrCat(Quoted(name), " is expected not to end"));
      }
      order.steps.push_back(step);
    }
    if (order.steps.size() < 2) Fail(list.place, "expected two or more names");
    scenario_.orders.push_back(std::move(order));
  };
  if (node->kind != YamlNode::Kind::kList || node->items.empty()) {
    Fail(node->place, "expected names in their order, as [first, second]");
    return;
  }
  if (node->items[0].kind != YamlNode::Kind::kList) {
    one(*node);
    return;
  }
  for (const YamlNode& list : node->items) {
    if (list.kind != YamlNode::Kind::kList) {
      Fail(list.place, "expected a list of names");
      return;
    }
    one(list);
  }
}

void Builder::ResolveSteps() {
  std::vector<ScenarioStep>& steps = scenario_.steps;
  for (const auto& [index, reference] : afters_) {
    ScenarioIndex step = FindStep(reference.name);
    if (step == kNone) {
      Fail(reference.place, absl::StrCat("never starts: no step is named ",
                                         Quoted(reference.name)));
      return;
    }
    const ScenarioStep& before = steps[step];
    if (!IsOperation(before.action) ||
        before.expect.kind == ScenarioExpectation::Kind::kNever ||
        before.expect.kind == ScenarioExpectation::Kind::kRefused) {
      Fail(reference.place,
           absl::StrCat("never starts: ", Quoted(reference.name),
                        " does not end"));
      return;
    }
    steps[index].after = step;
  }
  for (size_t i = 0; i != steps.size(); ++i) {
    size_t length = 0;
    for (ScenarioIndex at = i; steps[at].after != kNone; at = steps[at].after) {
      if (++length > steps.size()) {
        Fail(steps[i].place, "never starts: it waits for itself");
        return;
      }
    }
  }
  for (const auto& [index, reference] : lifts_) {
    ScenarioIndex step = FindStep(reference.name);
    Action action = step == kNone ? Action::kLift : steps[step].action;
    if (action != Action::kPartition && action != Action::kHold &&
        action != Action::kLose) {
      Fail(reference.place, absl::StrCat("no partition, hold or lose is named ",
                                         Quoted(reference.name)));
      return;
    }
    steps[index].lifts = step;
  }
  for (const auto& [place, reference] : counts_of_) {
    ScenarioIndex step = FindStep(reference.name);
    if (step == kNone || !IsOperation(steps[step].action)) {
      Fail(reference.place,
           absl::StrCat("no operation is named ", Quoted(reference.name)));
      return;
    }
    steps[place.first].expect.outcomes[place.second].count_of = step;
  }
  // A read ends well with all that it asked for, a write with all it had.
  for (ScenarioStep& step : steps) {
    if (!IsOperation(step.action)) continue;
    bool whole = step.action == Action::kReadBuffer ||
                 step.action == Action::kWriteBuffer ||
                 step.action == Action::kSend ||
                 (step.action == Action::kReceive && !step.to_end) ||
                 step.action == Action::kSendMessage ||
                 step.action == Action::kSendMessageTo;
    for (ScenarioOutcome& outcome : step.expect.outcomes) {
      if (whole && outcome.status == IoStatus::kOk &&
          !outcome.count.has_value() && outcome.count_of == kNone) {
        outcome.count = CountRange{step.size, step.size};
      }
      if (outcome.at.has_value() && step.after == kNone &&
          outcome.at->max < step.at) {
        Fail(step.expect.place,
             absl::StrCat("cannot come true: the step starts at ",
                          TimeText(step.at)));
      }
    }
  }
}

void Builder::CheckEnd(const YamlNode* end) {
  for (const ScenarioStep& step : scenario_.steps) {
    if (step.timeout.has_value() && *step.timeout != absl::InfiniteDuration()) {
      Nanoseconds timeout = absl::ToInt64Nanoseconds(*step.timeout);
      last_time_ = std::max(last_time_, step.at + timeout);
    }
    if (step.lasts != kForever) {
      last_time_ = std::max(last_time_, step.at + step.lasts);
    }
  }
  if (end == nullptr) {
    scenario_.end = last_time_ + kGrace;
    return;
  }
  scenario_.end = Time(end, 0);
  scenario_.runs_to_end = true;
  for (const ScenarioStep& step : scenario_.steps) {
    if (step.after == kNone && step.at > scenario_.end) {
      Fail(step.place, absl::StrCat("is not reached: the end is at ",
                                    TimeText(scenario_.end)));
    }
    for (const ScenarioOutcome& outcome : step.expect.outcomes) {
      if (outcome.at.has_value() && outcome.at->min > scenario_.end) {
        Fail(step.expect.place, absl::StrCat("is not reached: the end is at ",
                                             TimeText(scenario_.end)));
      }
    }
  }
}

absl::StatusOr<Scenario> Builder::Build(const YamlNode& root) {
  Map map(*this, root, "a scenario");
  scenario_.title = Text(map.Require("title"), "a title");
  scenario_.about = Text(map.Take("about"), "text");
  scenario_.only_simulated = Text(map.Take("only_simulated"), "the reason");
  const YamlNode* hosts = map.Require("hosts");
  const YamlNode* link = map.Take("link");
  const YamlNode* links = map.Take("links");
  const YamlNode* faults = map.Take("faults");
  const YamlNode* name_servers = map.Take("name_servers");
  const YamlNode* resolver = map.Take("resolver");
  const YamlNode* states = map.Take("states");
  const YamlNode* steps = map.Require("steps");
  const YamlNode* asked = map.Take("asked");
  const YamlNode* order = map.Take("order");
  const YamlNode* end = map.Take("end");
  if (const YamlNode* events = map.Take("events_max")) {
    scenario_.events_max =
        Count(events, std::numeric_limits<int64_t>::max(), 0);
    scenario_.events_max_place = events->place;
    if (scenario_.events_max == 0) Fail(events->place, "expected 1 or more");
  }
  map.Finish();
  if (!failed()) Hosts(hosts);
  if (!failed()) Links(link, links);
  if (!failed()) Faults(faults);
  if (!failed()) NameServers(name_servers);
  if (!failed()) Resolver(resolver);
  if (!failed()) Asked(asked);
  if (!failed()) States(states);
  if (!failed()) Steps(steps);
  if (!failed()) Orders(order);
  if (!failed()) CheckEnd(end);
  if (failed()) return absl::InvalidArgumentError(error_);
  return std::move(scenario_);
}

}  // namespace

std::string_view ActionName(Action action) {
  for (const ActionInfo& info : kActions) {
    if (info.action == action) return info.name;
  }
  return "?";
}

bool IsOperation(Action action) { return action < Action::kPartition; }

std::optional<Nanoseconds> ParseScenarioTime(std::string_view text) {
  std::optional<Quantity> quantity = ParseQuantity(text);
  if (!quantity.has_value()) return std::nullopt;
  struct Unit {
    std::string_view name;
    Nanoseconds length;
  };
  constexpr std::array kUnits = {
      Unit{"ns", 1},      Unit{"us", kMicrosecond}, Unit{"ms", kMillisecond},
      Unit{"s", kSecond}, Unit{"min", kMinute},     Unit{"h", kHour},
      Unit{"d", kDay},
  };
  if (quantity->unit.empty() && quantity->whole == 0 &&
      quantity->billionths == 0) {
    return 0;
  }
  for (const Unit& unit : kUnits) {
    if (unit.name != quantity->unit) continue;
    auto scaled = Scaled(*quantity, static_cast<uint64_t>(unit.length));
    if (!scaled.has_value() || *scaled > static_cast<uint64_t>(kTimeMax)) {
      return std::nullopt;
    }
    return static_cast<Nanoseconds>(*scaled);
  }
  return std::nullopt;
}

std::optional<uint64_t> ParseScenarioSize(std::string_view text) {
  std::optional<Quantity> quantity = ParseQuantity(text);
  if (!quantity.has_value()) return std::nullopt;
  if (quantity->unit.empty() || quantity->unit == "B") {
    return Scaled(*quantity, 1);
  }
  if (quantity->unit == "KiB") return Scaled(*quantity, uint64_t{1} << 10);
  if (quantity->unit == "MiB") return Scaled(*quantity, uint64_t{1} << 20);
  if (quantity->unit == "GiB") return Scaled(*quantity, uint64_t{1} << 30);
  return std::nullopt;
}

std::string TimeText(Nanoseconds time) {
  struct Unit {
    Nanoseconds length;
    const char* name;
  };
  constexpr std::array kUnits = {
      Unit{kDay, "d"},    Unit{kHour, "h"},         Unit{kMinute, "min"},
      Unit{kSecond, "s"}, Unit{kMillisecond, "ms"}, Unit{kMicrosecond, "us"},
      Unit{1, "ns"}};
  if (time == 0) return "0s";
  if (time == kForever) return "never";
  for (const Unit& unit : kUnits) {
    if (time % unit.length == 0) {
      return absl::StrCat(time / unit.length, unit.name);
    }
    if (time < unit.length || unit.length > kSecond) continue;
    std::string fraction = absl::StrFormat(
        "%09d", static_cast<int64_t>(static_cast<__int128>(time % unit.length) *
                                     1'000'000'000 / unit.length));
    while (fraction.back() == '0') fraction.pop_back();
    return absl::StrCat(time / unit.length, ".", fraction, unit.name);
  }
  return absl::StrCat(time, "ns");
}

std::string DescribeStep(const Scenario& scenario, const ScenarioStep& step) {
  std::string text;
  if (step.state != kNone) {
    absl::StrAppend(&text, scenario.states[step.state].name, ": ");
  }
  text += DescribeAction(scenario, step);
  if (step.times != 1) absl::StrAppend(&text, ", ", step.times, " at once");
  if (step.chain != 1) absl::StrAppend(&text, ", ", step.chain, " in turn");
  return text;
}

std::string DescribeAction(const Scenario& scenario, const ScenarioStep& step) {
  std::string text(ActionName(step.action));
  static constexpr const char* kDirections[] = {"", "input", "output", "io"};
  auto host = [&](ScenarioIndex index) { return scenario.hosts[index].name; };
  switch (step.action) {
    case Action::kConnect:
      absl::StrAppend(
          &text, " ",
          step.target == kNone ? step.target_name : host(step.target), ":",
          step.port);
      break;
    case Action::kReadBuffer:
    case Action::kReceiveMessage:
      absl::StrAppend(&text, " ", step.size);
      break;
    case Action::kReadWithChecking:
    case Action::kReceive:
      if (step.to_end) {
        absl::StrAppend(&text, " to the end");
      } else if (step.until_text.empty()) {
        absl::StrAppend(&text, " ", step.size);
      } else {
        absl::StrAppend(&text, " a line");
      }
      break;
    case Action::kWriteBuffer:
    case Action::kSendMessage:
    case Action::kSendMessageTo:
    case Action::kSend:
      absl::StrAppend(&text, " ", step.size);
      break;
    case Action::kAbort:
    case Action::kShutdown:
      absl::StrAppend(&text, " ",
                      kDirections[static_cast<int>(step.direction)]);
      break;
    default:
      break;
  }
  if (step.target != kNone && step.action == Action::kSendMessageTo) {
    absl::StrAppend(&text, " to ", scenario.states[step.target].name);
  }
  if (!step.target_name.empty() && step.action == Action::kSendMessageTo) {
    absl::StrAppend(&text, " to ", step.target_name, ":", step.port);
  }
  if (step.from != kNone) absl::StrAppend(&text, " ", host(step.from));
  if (step.to != kNone) {
    absl::StrAppend(&text, step.one_way ? " to " : " and ", host(step.to));
  }
  if (step.timeout.has_value()) {
    absl::StrAppend(&text, ", timeout ",
                    *step.timeout == absl::InfiniteDuration()
                        ? "none"
                        : TimeText(absl::ToInt64Nanoseconds(*step.timeout)));
  }
  return text;
}

absl::StatusOr<Scenario> ParseScenario(std::string_view file,
                                       std::string_view text) {
  absl::StatusOr<YamlNode> root = ParseYaml(file, text);
  if (!root.ok()) return root.status();
  return Builder(file, text).Build(*root);
}

}  // namespace aios::sim
