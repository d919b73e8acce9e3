// One map of the document: its entries, merge keys ("<<"), and what is left over.
#include <fmt/format.h>

#include <algorithm>

#include "config/reader.h"
#include "config/units.h"

namespace plimsoll::config {

namespace {
/// Maps of up to so many keys are searched from end to end, which is quicker than a table of them.
constexpr std::size_t few_entries = 16;
}  // namespace

void Reading::report(std::string_view code, const std::string& path, const Node& at, std::string message,
                     std::string remedy) {
    add_bounded(findings, {Severity::error, std::string(code), path, where(at), std::move(message), std::move(remedy)});
}

bool Reading::enter(const std::string& path, const Node& node) {
    if (++visited > max_nodes) {
        if (visited == max_nodes + 1) report("P102-too-large", path, node, "aliases make this too large", "write less");
        return false;
    }
    sources.add(path, where(node));
    return true;
}

bool Reading::keep(const std::string& path, const Node& at, std::size_t bytes) {
    const bool was_whole = kept <= max_input_bytes;
    kept += bytes;
    if (kept <= max_input_bytes) return true;
    if (was_whole) report("P102-too-large", path, at, "aliases make this too large", "write less");
    return false;
}

Section::Section(Reading& reading, const Node& node, std::string path, bool root)
    : reading_(reading), node_(node), path_(std::move(path)), root_(root), is_map_(node.kind == Node::Kind::map) {
    known_.reserve(24);
    if (is_map_) {
        entries_.reserve(node.entries.size());
        const bool merges = std::ranges::any_of(node.entries, [](const auto& e) { return e.first->scalar == "<<"; });
        if (merges || node.entries.size() > few_entries) {
            collect(node, 0);
        } else {
            collect_few(node);
        }
    } else {
        reading_.report("P106-wrong-type", path_, node,
                        fmt::format("expected a section of \"key: value\" lines; found {}", describe_node(node)),
                        node.kind == Node::Kind::null ? "leave the key out to get its defaults" : "");
    }
}

void Section::collect_few(const Node& map) {
    for (const auto& [key, value] : map.entries) {
        if (key->kind != Node::Kind::scalar) {
            reading_.report("P106-wrong-type", path_, *key, fmt::format("{} cannot be a key", describe_node(*key)));
        } else if (std::ranges::none_of(entries_, [&](const Entry& e) { return e.key->scalar == key->scalar; })) {
            entries_.push_back({key, value});
        }
    }
}

void Section::collect(const Node& map, std::size_t depth) {
    for (const auto& [key, value] : map.entries) {
        if (key->kind != Node::Kind::scalar) {
            reading_.report("P106-wrong-type", path_, *key, fmt::format("{} cannot be a key", describe_node(*key)));
            continue;
        }
        if (key->scalar == "<<" && !key->quoted) continue;
        // Written keys win over merged ones; of merged ones the first wins (https://yaml.org/type/merge.html).
        if (seen_.insert(key->scalar).second) entries_.push_back({key, value});
    }
    for (const auto& [key, value] : map.entries) {
        if (key->kind != Node::Kind::scalar || key->scalar != "<<" || key->quoted) continue;
        const std::vector<const Node*> sources =
            value->kind == Node::Kind::sequence ? value->items : std::vector<const Node*>{value};
        for (const Node* source : sources) {
            if (++reading_.visited > max_nodes || depth >= max_depth) return;
            if (source->kind != Node::Kind::map) {
                reading_.report("P106-wrong-type", path_, *source,
                                fmt::format("\"<<\" merges maps; found {}", describe_node(*source)));
            } else {
                collect(*source, depth + 1);
            }
        }
    }
}

std::string Section::child(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

const Node* Section::take(std::string_view key, bool required) {
    known_.push_back(key);
    const auto found = std::ranges::find_if(entries_, [&](const Entry& e) { return e.key->scalar == key; });
    if (found == entries_.end()) {
        if (required && is_map_) {
            reading_.report("P105-missing-key", child(key), node_, fmt::format("\"{}\" is missing here", key));
        }
        return nullptr;
    }
    found->used = true;
    taken_.assign(path_);
    if (!taken_.empty()) taken_ += '.';
    taken_ += key;
    if (!reading_.enter(taken_, *found->key)) return nullptr;
    return found->value;
}

bool Section::expect(const Node& node, std::string_view key, Node::Kind kind, std::string_view what) {
    if (node.kind == kind) return true;
    reading_.report("P106-wrong-type", child(key), node,
                    fmt::format("expected {}; found {}", what, describe_node(node)));
    return false;
}

void Section::read_name(const Node& key, const std::string& path, std::string& out) {
    read_leaf(reading_, path, key, {.as = As::name}, out);
}

void Section::finish() {
    for (const Entry& entry : entries_) {
        const std::string& key = entry.key->scalar;
        if (reading_.findings.size() > max_findings) return;
        if (entry.used || (root_ && key.starts_with("x-"))) continue;
        std::string_view nearest;
        std::size_t distance = std::max<std::size_t>(key.size() / 2, 2) + 1;
        for (const std::string_view known : known_) {
            if (key.size() > 64) break;
            if (const auto d = edit_distance(key, known); d < distance) {
                distance = d;
                nearest = known;
            }
        }
        std::string all;
        for (const std::string_view known : known_) all += (all.empty() ? "" : ", ") + std::string(known);
        reading_.report(
            "P104-unknown-key", child(key.substr(0, 80)), *entry.key,
            fmt::format("\"{}\" is not a key here", key.substr(0, 80)),
            nearest.empty() ? fmt::format("keys here: {}", all) : fmt::format("did you mean \"{}\"?", nearest));
    }
}

}  // namespace plimsoll::config
