#include "sim/choice.h"

namespace aios::sim {

namespace {

constexpr std::array<std::string_view, static_cast<size_t>(Site::kCount)>
    kNames = {
        "event_order",
        "latency",
        "loss",
        "duplication",
        "duplicate_delay",
        "reordering",
        "reorder_delay",
        "corruption",
        "corrupt_bit",
        "segment_size",
        "short_read",
        "read_size",
        "short_write",
        "write_size",
        "would_block",
        "spurious",
        "batch_order",
        "batch_size",
        "interrupt",
        "errno",
        "errno_value",
        "ephemeral_port",
        "initial_sequence",
        "random_bytes",
        "user",
        "interrupt_time",
        "join",
        "join_time",
        "dns_fault",
        "dns_value",
};

}  // namespace

std::string_view SiteName(Site site) {
  return kNames[static_cast<size_t>(site)];
}

Site SiteByName(std::string_view name) {
  for (size_t i = 0; i != kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Site>(i);
  }
  return Site::kCount;
}

uint64_t Choices::Draw(Site site, ChoiceEntity& entity) {
  auto place = static_cast<size_t>(site);
  uint32_t ordinal = entity.next_ordinal_[place]++;
  uint64_t value = Mix(Mix(seed_, entity.id_ * 64 + place), ordinal);
  if (!overrides_.empty()) [[unlikely]] {
    auto found = overrides_.find({site, entity.id_, ordinal});
    if (found != overrides_.end()) value = found->second;
  }
  if (recording_) [[unlikely]] {
    recorded_.push_back({site, entity.id_, ordinal, value});
  }
  return value;
}

void Choices::Set(const Choice& choice) {
  overrides_[{choice.site, choice.entity, choice.ordinal}] = choice.value;
}

}  // namespace aios::sim
