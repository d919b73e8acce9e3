#include "config/yaml_tree.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <exception>
#include <map>
#include <sstream>
#include <unordered_map>

#include "config/units.h"

namespace plimsoll::config {

namespace {

/// Leaves yaml-cpp's parser; caught in read_yaml.
struct Stop : std::exception {
    Finding finding;
    explicit Stop(Finding f) : finding(std::move(f)) {}
};

class Builder : public YAML::EventHandler {
public:
    Builder(Tree& tree, const std::string& file, Findings& findings) : tree_(tree), file_(file), findings_(findings) {}

    void OnDocumentStart(const YAML::Mark&) override {}
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        Node& node = make(mark, Node::Kind::null);
        // yaml-cpp places "key:" without a value on the next line; the key is where people look.
        if (!open_.empty() && open_.back().key != nullptr) {
            node.line = open_.back().key->line;
            node.column = open_.back().key->column;
        }
        place(node, anchor);
    }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        Node& node = make(mark, Node::Kind::scalar);
        node.quoted = tag == "!";
        node.scalar = value;
        place(node, anchor);
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        const auto found = anchors_.find(anchor);
        if (found == anchors_.end()) {
            throw Stop({Severity::error,
                        "P109-alias",
                        {},
                        where(mark),
                        "an alias inside the value it stands for",
                        "write the value out"});
        }
        place_existing(*found->second);
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(make(mark, Node::Kind::sequence), anchor);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(make(mark, Node::Kind::map), anchor);
    }
    void OnMapEnd() override {
        report_repeated(*open_.back().node);
        close();
    }

private:
    struct Open {
        Node* node;
        YAML::anchor_t anchor;
        const Node* key = nullptr;
    };

    Where where(const YAML::Mark& mark) const { return {file_, mark.line + 1, mark.column + 1}; }

    Node& make(const YAML::Mark& mark, Node::Kind kind) {
        if (tree_.nodes.size() >= max_nodes) {
            throw Stop({Severity::error,
                        "P102-too-large",
                        {},
                        where(mark),
                        fmt::format("more than {} values in one file", max_nodes),
                        "split the configuration"});
        }
        Node& node = tree_.nodes.emplace_back();
        node.kind = kind;
        node.line = mark.line + 1;
        node.column = mark.column + 1;
        return node;
    }
    void place(Node& node, YAML::anchor_t anchor) {
        place_existing(node);
        if (anchor != 0) anchors_[anchor] = &node;
    }
    void place_existing(const Node& node) {
        if (open_.empty()) {
            tree_.root = &node;
            return;
        }
        Open& top = open_.back();
        if (top.node->kind == Node::Kind::sequence) {
            top.node->items.push_back(&node);
        } else if (top.key == nullptr) {
            top.key = &node;
        } else {
            top.node->entries.emplace_back(top.key, &node);
            top.key = nullptr;
        }
    }
    void open(Node& node, YAML::anchor_t anchor) {
        if (open_.size() >= max_depth) {
            throw Stop({Severity::error,
                        "P102-too-large",
                        {},
                        Where{file_, node.line, node.column},
                        fmt::format("nested deeper than {} levels", max_depth),
                        {}});
        }
        place_existing(node);
        open_.push_back({&node, anchor});
    }
    void close() {
        // Known to aliases only now: a value cannot contain itself.
        if (open_.back().anchor != 0) anchors_[open_.back().anchor] = open_.back().node;
        open_.pop_back();
    }
    static bool repeats(const Node& map) {
        for (auto one = map.entries.begin(); one != map.entries.end(); ++one) {
            for (auto other = map.entries.begin(); other != one; ++other) {
                if (one->first->scalar == other->first->scalar) return true;
            }
        }
        return false;
    }
    void report_repeated(const Node& map) {
        constexpr std::size_t few_entries = 16;
        if (map.entries.size() <= few_entries && !repeats(map)) return;
        std::unordered_map<std::string_view, const Node*> seen;
        for (const auto& [key, value] : map.entries) {
            if (key->kind != Node::Kind::scalar) continue;
            const auto [first, is_new] = seen.emplace(key->scalar, key);
            if (is_new) continue;
            findings_.push_back({Severity::error,
                                 "P103-duplicate-key",
                                 {},
                                 Where{file_, key->line, key->column},
                                 fmt::format("\"{}\" stands here a second time; the first is on line {}", key->scalar,
                                             first->second->line),
                                 "keep one of them"});
        }
    }

    Tree& tree_;
    const std::string& file_;
    Findings& findings_;
    std::vector<Open> open_;
    std::map<YAML::anchor_t, const Node*> anchors_;
};

}  // namespace

std::string describe_node(const Node& node) {
    switch (node.kind) {
        case Node::Kind::null: return "nothing";
        case Node::Kind::sequence: return "a list";
        case Node::Kind::map: return "a map";
        case Node::Kind::scalar: break;
    }
    std::string shown = node.scalar.substr(0, 60);
    if (shown.size() < node.scalar.size()) shown += "...";
    if (!node.quoted && parse_number(node.scalar)) return "the number " + shown;
    if (!node.quoted && (node.scalar == "true" || node.scalar == "false")) return "the truth value " + shown;
    return "the text \"" + shown + "\"";
}

Tree read_yaml(std::string_view yaml, const std::string& file, Findings& findings) {
    Tree tree;
    if (yaml.size() > max_input_bytes) {
        findings.push_back({Severity::error,
                            "P102-too-large",
                            {},
                            Where{file, 0, 0},
                            fmt::format("{} bytes; at most {} are read", yaml.size(), max_input_bytes),
                            {}});
        return tree;
    }
    Builder builder(tree, file, findings);
    try {
        std::istringstream in{std::string(yaml)};
        YAML::Parser parser(in);
        if (!parser.HandleNextDocument(builder)) return tree;
        const Node* first = tree.root;
        if (parser.HandleNextDocument(builder)) {
            findings.push_back({Severity::error,
                                "P101-syntax",
                                {},
                                Where{file, tree.root ? tree.root->line : 0, tree.root ? tree.root->column : 0},
                                "a second document begins here",
                                "one configuration is one document"});
        }
        tree.root = first;
    } catch (const Stop& stop) {
        findings.push_back(stop.finding);
        tree.root = nullptr;
    } catch (const YAML::Exception& e) {
        const bool placed = !e.mark.is_null();
        findings.push_back({Severity::error,
                            "P101-syntax",
                            {},
                            Where{file, placed ? e.mark.line + 1 : 0, placed ? e.mark.column + 1 : 0},
                            "not YAML: " + e.msg,
                            {}});
        tree.root = nullptr;
    } catch (const std::exception& e) {
        findings.push_back(
            {Severity::error, "P101-syntax", {}, Where{file, 0, 0}, std::string("not YAML: ") + e.what(), {}});
        tree.root = nullptr;
    }
    return tree;
}

}  // namespace plimsoll::config
