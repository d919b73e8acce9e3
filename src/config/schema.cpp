#include "config/schema.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "config/definition.h"
#include "config/printed.h"
#include "config/units.h"

namespace plimsoll::config {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view duration_pattern = R"(^([0-9]+(\.[0-9]*)?(ns|us|ms|s|m|h))+$)";
constexpr std::string_view size_pattern = "^[0-9]+ ?(B|KiB|MiB|GiB|TiB)?$";
constexpr std::string_view fraction_pattern = R"(^[0-9]+(\.[0-9]*)? ?%?$)";
constexpr std::string_view name_pattern = "^[A-Za-z0-9_-]{1,64}$";

// ---- the type of one leaf, for machines ----------------------------------------------------------------------------

void bounds(Json& out, const Rule& rule) {
    out["minimum"] = rule.min;
    if (rule.max != std::numeric_limits<double>::infinity()) out["maximum"] = rule.max;
}

Json leaf_schema(bool, const Rule&) { return {{"type", "boolean"}}; }
template <std::unsigned_integral T>
    requires(!std::same_as<T, bool>)
Json leaf_schema(T, const Rule& rule) {
    Json out;
    if (rule.as == As::bytes) {
        out["type"] = {"integer", "string"};
        out["pattern"] = size_pattern;
    } else {
        out["type"] = "integer";
    }
    bounds(out, rule);
    return out;
}
Json leaf_schema(double, const Rule& rule) {
    Json out;
    if (rule.as == As::fraction) {
        out["type"] = {"number", "string"};
        out["pattern"] = fraction_pattern;
    } else {
        out["type"] = "number";
    }
    bounds(out, rule);
    return out;
}
Json leaf_schema(Duration, const Rule&) { return {{"type", "string"}, {"pattern", duration_pattern}}; }
Json leaf_schema(const Address&, const Rule&) { return {{"type", "string"}, {"pattern", ":[0-9]{1,5}$"}}; }
Json leaf_schema(const std::string&, const Rule& rule) {
    // Text takes any scalar as it stands: `version: 7` is the text "7".
    Json out{{"type", {"string", "number", "boolean"}}};
    switch (rule.as) {
        case As::name: out["pattern"] = name_pattern; break;
        case As::item_name: out["pattern"] = R"(^[A-Za-z0-9_.:/\[\]*-]{1,128}$)"; break;
        case As::host: out["pattern"] = "^[A-Za-z0-9_.-]{1,253}$"; break;
        case As::host_pattern: out["pattern"] = R"(^(\*\.)?[A-Za-z0-9_.-]{1,253}$)"; break;
        case As::host_port: out["pattern"] = R"(^([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$)"; break;
        case As::network: out["pattern"] = "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"; break;
        case As::peer_address: out["pattern"] = ":[0-9]{1,5}$"; break;
        case As::header_name: out["pattern"] = "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$"; break;
        case As::header_value: out["pattern"] = R"(^[^\x00-\x08\x0a-\x1f\x7f]*$)"; break;
        case As::regex: out["format"] = "regex"; break;
        case As::path: out["pattern"] = "^/[^?#\\s]*$"; break;
        case As::target: out["pattern"] = "^/[^#\\s]*$"; break;
        case As::http_url: out["pattern"] = "^http://"; break;
        default: break;
    }
    if (rule.max != std::numeric_limits<double>::infinity()) out["maxLength"] = rule.max;
    return out;
}
Json words(std::span<const std::string_view> all) {
    Json out = Json::array();
    for (const std::string_view word : all) out.push_back(word);
    return out;
}
template <Choice E>
Json leaf_schema(E, const Rule&) {
    return {{"enum", words(Words<E>::all)}};
}
Json leaf_schema(const std::vector<std::string>&, const Rule& rule) {
    Json item = rule.choices.empty() ? leaf_schema(std::string(), rule) : Json{{"enum", words(rule.choices)}};
    return {{"type", "array"}, {"uniqueItems", true}, {"items", std::move(item)}};
}
Json leaf_schema(const std::vector<double>&, const Rule& rule) {
    return {{"type", "array"}, {"minItems", 1}, {"items", leaf_schema(0.0, rule)}};
}
Json leaf_schema(const std::map<std::string, std::string>&, const Rule& rule) {
    Json out{{"type", "object"}, {"additionalProperties", leaf_schema(std::string(), rule)}};
    if (rule.as == As::header_value) {
        out["propertyNames"] = {{"pattern", leaf_schema(std::string(), {.as = As::header_name})["pattern"]}};
    }
    return out;
}
template <class T>
Json leaf_schema(const std::optional<T>&, const Rule& rule) {
    return leaf_schema(T{}, rule);
}

Json leaf_default(bool value, const Rule&) { return value; }
template <std::unsigned_integral T>
    requires(!std::same_as<T, bool>)
Json leaf_default(T value, const Rule& rule) {
    if (rule.as == As::bytes && value != 0) return print_size(value);
    return value;
}
Json leaf_default(double value, const Rule&) { return value; }
Json leaf_default(Duration value, const Rule&) { return print_duration(value); }
Json leaf_default(const Address& value, const Rule&) { return text(value); }
Json leaf_default(const std::string& value, const Rule&) { return value; }
template <Choice E>
Json leaf_default(E value, const Rule&) {
    return Words<E>::all[static_cast<std::size_t>(value)];
}
Json leaf_default(const std::vector<std::string>& value, const Rule&) { return value; }
Json leaf_default(const std::vector<double>& value, const Rule&) { return value; }
Json leaf_default(const std::map<std::string, std::string>&, const Rule&) { return Json::object(); }
template <class T>
Json leaf_default(const std::optional<T>&, const Rule&) {
    return nullptr;
}

/// The visitor for one section.
class SchemaVisitor {
public:
    template <class T>
    static Json section() {
        SchemaVisitor v;
        const T defaults{};
        describe(v, defaults);
        Json out{{"type", "object"}, {"additionalProperties", false}, {"properties", std::move(v.properties_)}};
        if (!v.required_.empty()) out["required"] = std::move(v.required_);
        return out;
    }
    template <class T>
    void leaf(std::string_view key, const T& value, const Rule& rule, std::string_view doc) {
        Json out = leaf_schema(value, rule);
        if (Json given = leaf_default(value, rule); !rule.required && rule.default_text.empty() && !given.is_null()) {
            out["default"] = std::move(given);
        }
        add(key, std::move(out), rule.required, doc);
    }
    template <class T>
    void object(std::string_view key, const T&, std::string_view doc) {
        add(key, section<T>(), false, doc);
    }
    template <class T>
    void object_or_off(std::string_view key, const std::optional<T>&, std::string_view doc) {
        // `off` is the text "off" or, to a YAML 1.1 reader such as an editor's, the truth value false.
        add(key, {{"anyOf", {section<T>(), {{"enum", {"off", false}}}}}}, false, doc);
    }
    template <class T>
    void list(std::string_view key, const std::vector<T>&, const Rule& rule, std::string_view doc) {
        Json out{{"type", "array"}, {"items", section<T>()}};
        if (rule.required) out["minItems"] = 1;
        add(key, std::move(out), rule.required, doc);
    }
    template <class T>
    void named(std::string_view key, const std::vector<T>&, const Rule& rule, std::string_view doc) {
        Json out{
            {"type", "object"}, {"propertyNames", {{"pattern", name_pattern}}}, {"additionalProperties", section<T>()}};
        if (rule.required) out["minProperties"] = 1;
        add(key, std::move(out), rule.required, doc);
    }

private:
    void add(std::string_view key, Json value, bool required, std::string_view doc) {
        value["description"] = doc;
        properties_[std::string(key)] = std::move(value);
        if (required) required_.push_back(key);
    }
    Json properties_ = Json::object();
    Json required_ = Json::array();
};

// ---- the same, for people ------------------------------------------------------------------------------------------

std::string range(const Rule& rule, const auto& show) {
    if (rule.max == std::numeric_limits<double>::infinity()) return fmt::format(", at least {}", show(rule.min));
    return fmt::format(", {} to {}", show(rule.min), show(rule.max));
}

std::string written(bool, const Rule&) { return "true or false"; }
template <std::unsigned_integral T>
    requires(!std::same_as<T, bool>)
std::string written(T, const Rule& rule) {
    if (rule.as == As::bytes) {
        return "size" + range(rule, [](double b) { return print_size(static_cast<std::uint64_t>(b)); });
    }
    return (rule.unit.empty() ? "whole number" : std::string(rule.unit)) + range(rule, print_number);
}
std::string written(double, const Rule& rule) {
    if (rule.as == As::fraction) {
        return "fraction" + range(rule, [](double b) { return print_number(b * 100) + "%"; });
    }
    return (rule.unit.empty() ? "number" : std::string(rule.unit)) + range(rule, print_number);
}
std::string written(Duration, const Rule& rule) {
    return "duration" + range(rule, [](double b) { return print_duration(from_seconds(b)); });
}
std::string written(const Address&, const Rule&) { return "address:port"; }
std::string written(const std::string&, const Rule& rule) {
    switch (rule.as) {
        case As::name:
        case As::item_name: return "name";
        case As::host: return "host name";
        case As::host_pattern: return "host name or `*.` and one";
        case As::host_port: return "host, with or without a port";
        case As::network: return "network";
        case As::peer_address: return "address:port";
        case As::header_name: return "token";
        case As::header_value: return "text of one line";
        case As::regex: return "RE2";
        case As::path: return "path";
        case As::target: return "path, with a query if need be";
        case As::file: return "file name";
        case As::http_url: return "URL";
        default: return "text";
    }
}
std::string choices(std::span<const std::string_view> words) {
    std::string out;
    for (const std::string_view word : words) out += (out.empty() ? "`" : ", `") + std::string(word) + "`";
    return out;
}
template <Choice E>
std::string written(E, const Rule&) {
    return "one of " + choices(Words<E>::all);
}
std::string written(const std::vector<std::string>&, const Rule& rule) {
    if (!rule.choices.empty()) return "list of " + choices(rule.choices);
    return "list of " + (rule.as == As::any_text
                             ? "texts"
                             : written(std::string(), rule) + (rule.as == As::peer_address ? "" : "s"));
}
std::string written(const std::vector<double>&, const Rule&) { return "list of fractions"; }
std::string written(const std::map<std::string, std::string>&, const Rule& rule) {
    return rule.as == As::header_value ? "map: header to text" : "map of text";
}
template <class T>
std::string written(const std::optional<T>&, const Rule& rule) {
    return written(T{}, rule);
}

template <class T>
std::string default_text(const T& value, const Rule& rule) {
    return yaml(value, rule);
}
template <class T>
std::string default_text(const std::optional<T>&, const Rule&) {
    return {};
}

class TableVisitor {
public:
    template <class T>
    static std::string section(const std::string& path, std::string_view doc) {
        TableVisitor v;
        v.path_ = path;
        const T defaults{};
        describe(v, defaults);
        std::string out = fmt::format("### {}\n\n{}\n\n", path.empty() ? "The file" : "`" + path + "`", doc);
        out += "| key | written as | default | meaning |\n|---|---|---|---|\n" + v.rows_ + "\n" + v.below_;
        return out;
    }
    template <class T>
    void leaf(std::string_view key, const T& value, const Rule& rule, std::string_view doc) {
        std::string given = default_text(value, rule);
        if (given == "\"\"" || given == "{}" || given == "[]") given.clear();
        if (!given.empty()) given = "`" + given + "`";
        if (!rule.default_text.empty()) given = rule.default_text;
        if (rule.required) given = "**required**";
        row(key, written(value, rule), given, doc);
    }
    template <class T>
    void object(std::string_view key, const T&, std::string_view doc) {
        row(key, "section", "", doc);
        below_ += section<T>(child(key), doc);
    }
    template <class T>
    void object_or_off(std::string_view key, const std::optional<T>& value, std::string_view doc) {
        row(key, "section or `off`", value ? "on" : "`off`", doc);
        below_ += section<T>(child(key), doc);
    }
    template <class T>
    void list(std::string_view key, const std::vector<T>&, const Rule& rule, std::string_view doc) {
        row(key, "list of sections", rule.required ? "**required**" : "none", doc);
        below_ += section<T>(child(key) + "[]", doc);
    }
    template <class T>
    void named(std::string_view key, const std::vector<T>&, const Rule& rule, std::string_view doc) {
        row(key, "map: name to section", rule.required ? "**required**" : "none", doc);
        below_ += section<T>(child(key) + ".NAME", doc);
    }

private:
    std::string child(std::string_view key) const {
        return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
    }
    void row(std::string_view key, std::string_view type, std::string_view given, std::string_view doc) {
        rows_ += fmt::format("| `{}` | {} | {} | {} |\n", key, type, given, doc);
    }
    std::string path_, rows_, below_;
};

}  // namespace

std::string json_schema() {
    Json out{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "Plimsoll configuration"}};
    out.update(SchemaVisitor::section<Config>());
    out["patternProperties"] = {{"^x-", {{"description", "Ignored; a place for anchors."}}}};
    return out.dump(2) + "\n";
}

std::string reference_tables() { return TableVisitor::section<Config>({}, "Keys at the top level."); }

}  // namespace plimsoll::config
