#include "sim/yaml_tree.h"

#include <cstdint>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/exceptions.h"
#include "yaml-cpp/parser.h"

namespace aios::sim {

namespace {

TextPlace PlaceOf(const YAML::Mark& mark) {
  if (mark.is_null()) return {};
  return {mark.line + 1, mark.column + 1};
}

[[noreturn]] void Refuse(const YAML::Mark& mark, const std::string& what) {
  // The parser has no other way to end early.
  throw YAML::ParserException(mark, what);
}

class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const YamlLimits& limits) : limits_(limits) {}

  YamlNode& root() { return root_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    root_.place = PlaceOf(mark);
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Begin(mark, "", anchor, YamlNode::Kind::kNull);
    End();
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Refuse(mark, "aliases are not supported: write the value out");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag,
                YAML::anchor_t anchor, const std::string& value) override {
    if (!open_.empty() && open_.back()->kind == YamlNode::Kind::kMap &&
        !key_.has_value()) {
      Check(mark, tag, anchor);
      if (!keys_.back().insert(value).second) {
        Refuse(mark, absl::StrCat("\"", value, "\" is here a second time"));
      }
      key_ = YamlNode::Key{value, PlaceOf(mark)};
      return;
    }
    YamlNode& node = Begin(mark, tag, anchor, YamlNode::Kind::kScalar);
    node.text = value;
    // As the parser tells quoted scalars from plain ones.
    node.quoted = tag == "!";
    End();
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag,
                       YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Begin(mark, tag, anchor, YamlNode::Kind::kList);
  }
  void OnSequenceEnd() override { End(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag,
                  YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    Begin(mark, tag, anchor, YamlNode::Kind::kMap);
  }
  void OnMapEnd() override { End(); }

 private:
  void Check(const YAML::Mark& mark, const std::string& tag,
             YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) {
      Refuse(mark, "anchors are not supported");
    }
    if (!tag.empty() && tag != "?" && tag != "!") {
      Refuse(mark, "tags are not supported");
    }
    if (++nodes_ > limits_.nodes_max) {
      Refuse(mark, absl::StrCat("more than ", limits_.nodes_max, " values"));
    }
  }

  YamlNode& Begin(const YAML::Mark& mark, const std::string& tag,
                  YAML::anchor_t anchor, YamlNode::Kind kind) {
    Check(mark, tag, anchor);
    if (open_.size() == limits_.depth_max) {
      Refuse(mark, absl::StrCat("nested more than ", limits_.depth_max,
                                " levels deep"));
    }
    YamlNode* node = &root_;
    if (!open_.empty()) {
      YamlNode& parent = *open_.back();
      if (parent.kind == YamlNode::Kind::kMap) {
        if (!key_.has_value()) Refuse(mark, "expected a word as the key");
        parent.keys.push_back(*std::exchange(key_, std::nullopt));
      }
      // Elements move only while no one below is open.
      parent.items.emplace_back();
      node = &parent.items.back();
    }
    node->kind = kind;
    node->place = PlaceOf(mark);
    open_.push_back(node);
    keys_.emplace_back();
    return *node;
  }
  void End() {
    open_.pop_back();
    keys_.pop_back();
  }

  const YamlLimits& limits_;
  size_t nodes_ = 0;
  YamlNode root_;
  std::vector<YamlNode*> open_;
  // Those of each that is open.
  std::vector<std::set<std::string>> keys_;
  std::optional<YamlNode::Key> key_;
};

// The place of the first byte that is no text: a control character, or
// malformed UTF-8.
std::optional<TextPlace> FindBinary(std::string_view text) {
  TextPlace place;
  for (size_t i = 0; i < text.size();) {
    auto byte = [&](size_t at) {
      return at < text.size() ? static_cast<uint8_t>(text[at]) : uint8_t{0};
    };
    uint8_t first = byte(i);
    size_t length = first < 0x80                    ? 1
                    : first >= 0xc2 && first < 0xe0 ? 2
                    : first >= 0xe0 && first < 0xf0 ? 3
                    : first >= 0xf0 && first < 0xf5 ? 4
                                                    : 0;
    if (length == 0 || first == 0x7f ||
        (first < 0x20 && first != '\n' && first != '\t' && first != '\r')) {
      return place;
    }
    for (size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xc0) != 0x80) return place;
    }
    i += length;
    ++place.column;
    if (first == '\n') place = {place.line + 1, 1};
  }
  return std::nullopt;
}

}  // namespace

std::string AtPlace(std::string_view file, TextPlace place,
                    std::string_view what) {
  std::string text(file);
  absl::StrAppend(&text, ":", place.line, ":", place.column, ": ");
  return text.append(what);
}

absl::StatusOr<YamlNode> ParseYaml(std::string_view file, std::string_view text,
                                   const YamlLimits& limits) {
  auto refused = [&](TextPlace place, std::string_view what) {
    return absl::InvalidArgumentError(AtPlace(file, place, what));
  };
  if (text.size() > limits.bytes_max) {
    return refused(
        {}, absl::StrCat("the file has ", text.size(), " bytes; at most ",
                         limits.bytes_max, " are read"));
  }
  if (std::optional<TextPlace> place = FindBinary(text)) {
    return refused(*place,
                   "this is no text: a byte that UTF-8 does not have "
                   "here, or a control character");
  }
  TreeBuilder builder(limits);
  try {
    std::istringstream in{std::string(text)};
    YAML::Parser parser(in);
    if (!parser.HandleNextDocument(builder)) {
      return refused({}, "the file is empty");
    }
    TreeBuilder second(limits);
    if (parser.HandleNextDocument(second)) {
      return refused(second.root().place, "a second document begins here");
    }
  } catch (const YAML::Exception& exception) {
    return refused(PlaceOf(exception.mark), exception.msg);
  }
  return std::move(builder.root());
}

}  // namespace aios::sim
