// A config as a tree of printed values: what print, digest and diff work on. Private to this room.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/definition.h"

namespace plimsoll::config {

struct Item {
    enum class Kind : std::uint8_t { leaf, section, list, named } kind = Kind::leaf;
    std::string key;   ///< in its section; an element's name in `named`; empty for elements of a list
    std::string text;  ///< leaf: the value as YAML
    bool secret = false;
    bool is_default = false;  ///< leaf: equal to the format's default
    std::vector<Item> children;

    [[nodiscard]] const Item* child(std::string_view wanted) const;
};

/// The whole config. Optional values that are not set have no item.
[[nodiscard]] Item items(const Config& config);
/// One line: "{address: 127.0.0.1:9101, capacity: 200}". Without defaults unless `all`.
[[nodiscard]] std::string compact(const Item& item, bool all);
/// `text` as a YAML scalar, quoted where it must be.
[[nodiscard]] std::string quoted(std::string_view text);

/// A leaf's value as YAML.
[[nodiscard]] std::string yaml(bool value, const Rule& rule);
[[nodiscard]] std::string yaml(std::uint64_t value, const Rule& rule);
[[nodiscard]] std::string yaml(double value, const Rule& rule);
[[nodiscard]] std::string yaml(Duration value, const Rule& rule);
[[nodiscard]] std::string yaml(const Address& value, const Rule& rule);
[[nodiscard]] std::string yaml(const std::string& value, const Rule& rule);
template <Choice E>
[[nodiscard]] std::string yaml(E value, const Rule&) {
    return quoted(Words<E>::all[static_cast<std::size_t>(value)]);
}
[[nodiscard]] std::string yaml(const std::vector<std::string>& value, const Rule& rule);
[[nodiscard]] std::string yaml(const std::vector<double>& value, const Rule& rule);
[[nodiscard]] std::string yaml(const std::map<std::string, std::string>& value, const Rule& rule);

}  // namespace plimsoll::config
