// Reads values out of a YAML tree by the definition of the format. Private to this room.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "config/definition.h"
#include "config/validate.h"
#include "config/yaml_tree.h"

namespace plimsoll::config {

/// What all sections share while one document is read.
struct Reading {
    std::string file;
    Sources sources;
    Findings findings;
    std::size_t visited = 0;  ///< nodes, with aliases followed: bounds the expansion of aliases
    std::size_t kept = 0;     ///< bytes of text, with aliases followed: the same for long texts

    Where where(const Node& node) const { return {file, node.line, node.column}; }
    void report(std::string_view code, const std::string& path, const Node& at, std::string message,
                std::string remedy = {});
    /// Notes where `path` stands. False when the document has grown beyond max_nodes by its aliases.
    bool enter(const std::string& path, const Node& node);
    /// Makes room for so many bytes of text. False when aliases have made the texts longer than a file may be.
    bool keep(const std::string& path, const Node& at, std::size_t bytes);
    [[nodiscard]] bool whole() const { return visited <= max_nodes && kept <= max_input_bytes; }
};

/// One leaf. Each reports what is wrong and leaves `out` alone then.
void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule, bool& out);
void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule, std::uint64_t& out);
void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule, double& out);
void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule, Duration& out);
void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule, Address& out);
void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule, std::string& out);
/// One of `words`; the index, or nothing after a report.
std::optional<std::size_t> read_choice(Reading& reading, const std::string& path, const Node& node,
                                       std::span<const std::string_view> words);
template <Choice E>
void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule&, E& out) {
    if (const auto index = read_choice(reading, path, node, Words<E>::all)) out = static_cast<E>(*index);
}
void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule,
               std::vector<std::string>& out);
void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule, std::vector<double>& out);
void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule,
               std::map<std::string, std::string>& out);
template <class T>
void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule, std::optional<T>& out) {
    T value = out.value_or(T{});
    const auto before = reading.findings.size();
    read_leaf(reading, path, node, rule, value);
    if (reading.findings.size() == before) out = std::move(value);
}
template <std::unsigned_integral T>
    requires(!std::same_as<T, bool> && !std::same_as<T, std::uint64_t>)
void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule, T& out) {
    std::uint64_t wide = out;
    Rule bounded = rule;
    bounded.max = std::min(rule.max, static_cast<double>(std::numeric_limits<T>::max()));
    read_leaf(reading, path, node, bounded, wide);
    out = static_cast<T>(wide);
}

/// The visitor for one map of the document.
class Section {
public:
    /// `node` may be of any kind; what is not a map is reported.
    Section(Reading& reading, const Node& node, std::string path, bool root = false);

    template <class T>
    void leaf(std::string_view key, T& value, const Rule& rule, std::string_view) {
        if (const Node* node = take(key, rule.required)) read_leaf(reading_, taken_, *node, rule, value);
    }
    template <class T>
    void object(std::string_view key, T& value, std::string_view) {
        if (const Node* node = take(key, false)) read_object(*node, taken_, value);
    }
    template <class T>
    void object_or_off(std::string_view key, std::optional<T>& value, std::string_view) {
        const Node* node = take(key, false);
        if (node == nullptr) return;
        if (node->kind == Node::Kind::scalar && (node->scalar == "off" || node->scalar == "false")) {
            value.reset();
        } else {
            value.emplace();
            read_object(*node, taken_, *value);
        }
    }
    template <class T>
    void list(std::string_view key, std::vector<T>& values, const Rule& rule, std::string_view) {
        const Node* node = take(key, rule.required);
        if (node == nullptr || !expect(*node, key, Node::Kind::sequence, "a list, each item beginning with \"- \"")) {
            return;
        }
        values.reserve(node->items.size());
        const std::string list_path = taken_;
        for (std::size_t i = 0; i < node->items.size(); ++i) {
            const std::string path = list_path + "[" + std::to_string(i) + "]";
            if (!reading_.enter(path, *node->items[i])) return;
            read_object(*node->items[i], path, values.emplace_back());
        }
    }
    template <class T>
    void named(std::string_view key, std::vector<T>& values, const Rule& rule, std::string_view) {
        const Node* node = take(key, rule.required);
        if (node == nullptr || !expect(*node, key, Node::Kind::map, "a map of names, like \"web: {...}\"")) return;
        values.reserve(node->entries.size());
        const std::string map_path = taken_;
        for (const auto& [name, body] : node->entries) {
            T& value = values.emplace_back();
            read_name(*name, map_path, value.name);
            const std::string path = map_path + "." + value.name;
            if (!reading_.enter(path, *name)) return;
            read_object(*body, path, value);
        }
    }
    /// Reports keys that no call asked for, with the nearest one that exists.
    void finish();

private:
    template <class T>
    void read_object(const Node& node, const std::string& path, T& value) {
        Section section(reading_, node, path);
        describe(section, value);
        section.finish();
    }
    std::string child(std::string_view key) const;
    /// The value of `key`, null when it is not there; its path is then in taken_.
    const Node* take(std::string_view key, bool required);
    bool expect(const Node& node, std::string_view key, Node::Kind kind, std::string_view what);
    void read_name(const Node& key, const std::string& path, std::string& out);
    void collect(const Node& map, std::size_t depth);
    void collect_few(const Node& map);

    struct Entry {
        const Node* key;
        const Node* value;
        bool used = false;
    };
    Reading& reading_;
    const Node& node_;
    std::string path_;
    bool root_;
    bool is_map_;
    std::string taken_;
    std::vector<Entry> entries_;
    std::unordered_set<std::string_view> seen_;  ///< used only when merge keys may repeat what is written
    std::vector<std::string_view> known_;
};

}  // namespace plimsoll::config
