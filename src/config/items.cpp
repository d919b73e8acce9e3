#include "config/items.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/units.h"

namespace plimsoll::config {

namespace {

/// The visitor that builds the children of one section.
class Lister {
public:
    explicit Lister(Item& into) : into_(into) {}

    template <class T>
    void leaf(std::string_view key, const T& value, const Rule& rule, std::string_view) {
        Item& item = add(Item::Kind::leaf, key);
        if constexpr (std::unsigned_integral<T> && !std::same_as<T, bool>) {
            item.text = yaml(static_cast<std::uint64_t>(value), rule);
        } else {
            item.text = yaml(value, rule);
        }
        item.secret = rule.as == As::secret;
    }
    template <class T>
    void leaf(std::string_view key, const std::optional<T>& value, const Rule& rule, std::string_view doc) {
        if (value) leaf(key, *value, rule, doc);
    }
    template <class T>
    void object(std::string_view key, const T& value, std::string_view) {
        fill(add(Item::Kind::section, key), value);
    }
    template <class T>
    void object_or_off(std::string_view key, const std::optional<T>& value, std::string_view) {
        if (value) {
            fill(add(Item::Kind::section, key), *value);
        } else {
            add(Item::Kind::leaf, key).text = "off";
        }
    }
    template <class T>
    void list(std::string_view key, const std::vector<T>& values, const Rule&, std::string_view) {
        elements(add(Item::Kind::list, key), values, [](const T&) { return std::string(); });
    }
    template <class T>
    void named(std::string_view key, const std::vector<T>& values, const Rule&, std::string_view) {
        elements(add(Item::Kind::named, key), values, [](const T& value) { return value.name; });
    }
    template <class T>
    static void fill(Item& item, const T& value) {
        Lister inner(item);
        describe(inner, value);
    }
    /// Marks the leaves of `item` that equal those of `defaults`.
    static void mark(Item& item, const Item& defaults) {
        for (Item& child : item.children) {
            const Item* same = defaults.child(child.key);
            if (same == nullptr || same->kind != child.kind) continue;
            if (child.kind == Item::Kind::leaf) child.is_default = child.text == same->text;
            if (child.kind == Item::Kind::section) mark(child, *same);
        }
    }

private:
    Item& add(Item::Kind kind, std::string_view key) {
        Item& item = into_.children.emplace_back();
        item.kind = kind;
        item.key = key;
        return item;
    }
    template <class T, class Key>
    static void elements(Item& item, const std::vector<T>& values, Key key) {
        Item defaults;
        fill(defaults, T{});
        for (const T& value : values) {
            Item& element = item.children.emplace_back();
            element.kind = Item::Kind::section;
            element.key = key(value);
            fill(element, value);
            mark(element, defaults);
        }
    }

    Item& into_;
};

}  // namespace

const Item* Item::child(std::string_view wanted) const {
    const auto found = std::ranges::find(children, wanted, &Item::key);
    return found == children.end() ? nullptr : &*found;
}

Item items(const Config& config) {
    Item root, defaults;
    root.kind = defaults.kind = Item::Kind::section;
    Lister::fill(root, config);
    Lister::fill(defaults, Config{});
    Lister::mark(root, defaults);
    return root;
}

std::string compact(const Item& item, bool all) {
    if (item.kind == Item::Kind::leaf) return item.secret && !item.text.empty() ? "(set)" : item.text;
    const bool list = item.kind == Item::Kind::list;
    std::string out;
    for (const Item& child : item.children) {
        if (!all && child.kind == Item::Kind::leaf && child.is_default) continue;
        const std::string value = compact(child, all);
        if (!all && (value == "{}" || value == "[]")) continue;
        out += (out.empty() ? "" : ", ") + (list ? value : child.key + ": " + value);
    }
    return (list ? "[" : "{") + out + (list ? "]" : "}");
}

std::string quoted(std::string_view text) {
    const auto plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("_./-:").contains(c);
    };
    const bool reserved = text == "null" || text == "Null" || text == "NULL" || text == "." || text == "..." ||
                          text == "---" || text.starts_with('-') || text.starts_with(':') || text.ends_with(':');
    if (!text.empty() && !reserved && std::ranges::all_of(text, plain)) return std::string(text);
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        } else {
            out += c;
        }
    }
    return out + '"';
}

std::string yaml(bool value, const Rule&) { return value ? "true" : "false"; }
std::string yaml(std::uint64_t value, const Rule& rule) {
    return rule.as == As::bytes ? print_size(value) : fmt::format("{}", value);
}
std::string yaml(double value, const Rule&) { return print_number(value); }
std::string yaml(Duration value, const Rule&) { return print_duration(value); }
std::string yaml(const Address& value, const Rule&) { return quoted(text(value)); }
std::string yaml(const std::string& value, const Rule&) { return quoted(value); }
std::string yaml(const std::vector<std::string>& value, const Rule&) {
    std::string out;
    for (const auto& word : value) out += (out.empty() ? "" : ", ") + quoted(word);
    return "[" + out + "]";
}
std::string yaml(const std::vector<double>& value, const Rule&) {
    std::string out;
    for (const double number : value) out += (out.empty() ? "" : ", ") + print_number(number);
    return "[" + out + "]";
}
std::string yaml(const std::map<std::string, std::string>& value, const Rule&) {
    std::string out;
    for (const auto& [key, word] : value) out += (out.empty() ? "" : ", ") + quoted(key) + ": " + quoted(word);
    return "{" + out + "}";
}

}  // namespace plimsoll::config
