// A YAML document as a tree with places, repeated keys and aliases still visible. Private to this room.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/finding.h"

namespace plimsoll::config {

/// One node. Children are views into the Tree's storage; an alias is a pointer to the anchored node, so the graph may
/// share nodes but has no cycles (a node cannot be aliased before it is complete).
struct Node {
    enum class Kind : std::uint8_t { null, scalar, sequence, map } kind = Kind::null;
    int line = 0, column = 0;  ///< from 1
    bool quoted = false;       ///< scalars: written in quotes
    std::string scalar;
    std::vector<const Node*> items;                            ///< of a sequence
    std::vector<std::pair<const Node*, const Node*>> entries;  ///< of a map, in file order
};

/// "a list", "the number 5", "the text \"abc\"": for messages.
[[nodiscard]] std::string describe_node(const Node& node);

struct Tree {
    std::deque<Node> nodes;
    const Node* root = nullptr;  ///< null when the text is empty or broken
};

inline constexpr std::size_t max_input_bytes = 16u << 20;
inline constexpr std::size_t max_depth = 64;
/// Nodes in the text, and nodes visited with aliases followed: 50,000 endpoints with all their keys have about a
/// million.
inline constexpr std::size_t max_nodes = 1'000'000;

/// Reads one document. Syntax errors, a second document, repeated keys and exceeded limits are findings.
[[nodiscard]] Tree read_yaml(std::string_view yaml, const std::string& file, Findings& findings);

}  // namespace plimsoll::config
