// Leaves: each type says what it expected and what it found.
#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "config/reader.h"
#include "config/units.h"

namespace plimsoll::config {

namespace {

/// Reports that `node` is not `expected`.
void wrong(Reading& reading, const std::string& path, const Node& node, std::string_view expected,
           std::string remedy = {}) {
    reading.report("P106-wrong-type", path, node, fmt::format("expected {}; found {}", expected, describe_node(node)),
                   node.kind == Node::Kind::null ? "leave the key out to get its default" : std::move(remedy));
}

std::string shown(double value, const Rule& rule) {
    if (rule.as == As::bytes) return print_size(static_cast<std::uint64_t>(value));
    if (rule.as == As::fraction) return print_number(value * 100) + "%";
    return print_number(value);
}

/// Checks bounds; `show` prints a bound in the value's own unit.
template <class Show>
bool in_range(Reading& reading, const std::string& path, const Node& node, const Rule& rule, double value, Show show) {
    if (value >= rule.min && value <= rule.max) return true;
    const std::string range = rule.max == std::numeric_limits<double>::infinity()
                                  ? fmt::format("at least {}", show(rule.min))
                                  : fmt::format("from {} to {}", show(rule.min), show(rule.max));
    reading.report("P107-out-of-range", path, node, fmt::format("{} is out of range", node.scalar.substr(0, 40)),
                   fmt::format("allowed: {}", range));
    return false;
}

std::string join(std::span<const std::string_view> words) {
    std::string out;
    for (const std::string_view word : words) out += (out.empty() ? "" : ", ") + std::string(word);
    return out;
}

bool is_word_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

bool is_token_char(char c) { return is_word_char(c) || std::string_view("!#$%&'*+.^`|~").contains(c); }

bool is_host(std::string_view value) {
    return !value.empty() && value.size() <= 253 && !value.starts_with('.') && !value.contains("..") &&
           std::ranges::all_of(value, [](char c) { return is_word_char(c) || c == '.'; });
}

std::string host_problem(std::string_view value) {
    if (value.contains(':')) return "a host is written without its port";
    if (value.contains('*')) return "a wildcard cannot stand here; write one host";
    return is_host(value) ? "" : "a host is 1 to 253 letters, digits, '.', '-' or '_'";
}

std::string host_pattern_problem(std::string_view value) {
    if (value == "*") return "leave it out to match every host";
    if (value.starts_with("*.")) value.remove_prefix(2);
    if (value.contains('*')) return "a wildcard is the whole first part and nothing else: *.example.com";
    return host_problem(value);
}

std::string host_port_problem(std::string_view value) {
    constexpr const char* remedy = "write a host or an address, with a port if need be: example.com:8443, [::1]:80";
    if (value.starts_with('[')) {
        const std::string whole(value.ends_with(']') ? fmt::format("{}:1", value) : std::string(value));
        return parse_address(whole) ? "" : remedy;
    }
    if (const auto colon = value.rfind(':'); colon != std::string_view::npos) {
        const auto port = parse_count(value.substr(colon + 1));
        if (!port || *port == 0 || *port > 65'535) return remedy;
        value = value.substr(0, colon);
    }
    return is_host(value) ? "" : remedy;
}

std::string regex_problem(std::string_view value) {
    if (value.size() > static_cast<std::size_t>(max_text)) return "a regex is at most 4096 characters";
    RE2::Options options(RE2::Quiet);
    options.set_max_mem(max_regex_bytes);
    const RE2 compiled(re2::StringPiece(value.data(), value.size()), options);
    if (compiled.ok()) return {};
    if (compiled.error_code() == RE2::ErrorPatternTooLarge) return "it is too large when compiled; repeat less";
    return fmt::format("RE2 says: {}", compiled.error());
}

std::string header_value_problem(std::string_view value) {
    if (value.size() > static_cast<std::size_t>(max_text)) return "at most 4096 characters";
    const auto control = [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; };
    if (std::ranges::any_of(value, control)) return "a header value is one line without control characters";
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    if (!value.empty() && (blank(value.front()) || blank(value.back()))) {
        return "a header value neither begins nor ends with a blank";
    }
    return {};
}

std::string error_of(const auto& result) { return result ? std::string() : result.error().detail; }

/// What is wrong with `value` as text of this kind; empty when nothing is.
std::string text_problem(const Rule& rule, std::string_view value) {
    const auto all = [&](auto allowed) { return std::ranges::all_of(value, allowed); };
    const auto printable = [](char c) { return c > ' ' && c != 0x7f; };
    switch (rule.as) {
        case As::name:
            if (value.empty() || value.size() > 64 || !all(is_word_char)) {
                return "a name is 1 to 64 letters, digits, '_' or '-'";
            }
            return {};
        case As::item_name:
            if (value.empty() || value.size() > 128 ||
                !all([](char c) { return is_word_char(c) || std::string_view(".:/[]*").contains(c); })) {
                return "a name is 1 to 128 letters, digits or any of _ - . : / [ ] *";
            }
            return {};
        case As::host: return host_problem(value);
        case As::host_pattern: return host_pattern_problem(value);
        case As::host_port: return host_port_problem(value);
        case As::path:
            if (!value.starts_with('/')) return "a path begins with '/'";
            if (value.contains('?') || value.contains('#')) return "a path ends before '?' and '#'";
            if (value.size() > 2048 || !all(printable)) return "a path is at most 2048 characters without spaces";
            return {};
        case As::target: {
            const std::string_view path = value.substr(0, value.find('?'));
            if (!path.starts_with('/')) return "a path begins with '/'";
            if (value.contains('#')) return "what follows '#' is never sent";
            const auto ascii = [](char c) { return c > ' ' && c < 0x7f; };
            if (value.size() > 2048 || !all(ascii)) return "at most 2048 ASCII characters without spaces";
            return {};
        }
        case As::file:
            if (value.size() > 4096 || value.contains('\0')) return "a file name is at most 4096 characters";
            return {};
        case As::http_url:
            if (!value.starts_with("http://")) return "a URL begins with http:// in this version";
            if (value.size() > 2048 || value.size() < 8 || !all(printable)) {
                return "a URL is at most 2048 characters without spaces";
            }
            return {};
        case As::network: return error_of(parse_network(value));
        case As::peer_address: {
            const auto address = parse_address(value);
            return address && address->port == 0 ? "port 0 is nobody's" : error_of(address);
        }
        case As::header_name:
            if (value.empty() || value.size() > 256 || !all(is_token_char)) {
                return "it is 1 to 256 letters, digits or any of !#$%&'*+-.^_`|~";
            }
            return {};
        case As::header_value: return header_value_problem(value);
        case As::regex: return regex_problem(value);
        case As::secret:
            if (value == "(set)") return "that is how a secret is shown, not the secret; write it again";
            [[fallthrough]];
        default: {
            const double most = std::min(rule.max, std::isinf(rule.max) ? max_text : rule.max);
            if (static_cast<double>(value.size()) > most) return fmt::format("at most {} bytes", most);
            return {};
        }
    }
}

/// The one form of a text whose spelling may vary.
std::string in_one_form(As as, const std::string& value) {
    if (as == As::network) return parse_network(value).value_or(value);
    if (as == As::peer_address) {
        if (const auto address = parse_address(value)) return text(*address);
    }
    return value;
}

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
    return text;
}

}  // namespace

std::optional<std::size_t> read_choice(Reading& reading, const std::string& path, const Node& node,
                                       std::span<const std::string_view> words) {
    if (node.kind != Node::Kind::scalar) {
        wrong(reading, path, node, "one of " + join(words));
        return std::nullopt;
    }
    const auto found = std::ranges::find(words, node.scalar);
    if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
    std::string_view nearest;
    std::size_t distance = 4;
    for (const std::string_view word : words) {
        if (node.scalar.size() > 64) break;
        if (const auto d = edit_distance(node.scalar, word); d < distance) {
            distance = d;
            nearest = word;
        }
    }
    reading.report("P108-bad-value", path, node,
                   fmt::format("\"{}\" is not one of {}", node.scalar.substr(0, 60), join(words)),
                   nearest.empty() ? "" : fmt::format("did you mean \"{}\"?", nearest));
    return std::nullopt;
}

void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule&, bool& out) {
    if (node.kind == Node::Kind::scalar && (node.scalar == "true" || node.scalar == "false")) {
        out = node.scalar == "true";
    } else {
        wrong(reading, path, node, "true or false");
    }
}

void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule, std::uint64_t& out) {
    const bool bytes = rule.as == As::bytes;
    const auto value = node.kind != Node::Kind::scalar ? std::nullopt
                       : bytes                         ? parse_size(node.scalar)
                                                       : parse_count(node.scalar);
    if (value) {
        const auto show = [&](double bound) { return shown(bound, rule); };
        if (in_range(reading, path, node, rule, static_cast<double>(*value), show)) out = *value;
        return;
    }
    const auto number = node.kind == Node::Kind::scalar ? parse_number(node.scalar) : std::nullopt;
    if (!bytes && number && *number < 0) {
        in_range(reading, path, node, rule, *number, [&](double bound) { return shown(bound, rule); });
        return;
    }
    wrong(reading, path, node, bytes ? "a size like \"16KiB\", \"1MiB\" or a number of bytes" : "a whole number");
}

void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule, double& out) {
    const bool fraction = rule.as == As::fraction;
    const auto value = node.kind != Node::Kind::scalar ? std::nullopt
                       : fraction                      ? parse_fraction(node.scalar)
                                                       : parse_number(node.scalar);
    if (!value) {
        wrong(reading, path, node, fraction ? "a fraction like \"20%\" or 0.2" : "a number");
    } else if (in_range(reading, path, node, rule, *value, [&](double bound) { return shown(bound, rule); })) {
        out = *value;
    }
}

void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule, Duration& out) {
    const auto value = node.kind == Node::Kind::scalar ? parse_duration(node.scalar) : std::nullopt;
    if (value) {
        const auto show = [](double bound) { return print_duration(from_seconds(bound)); };
        if (in_range(reading, path, node, rule, seconds(*value), show)) out = *value;
        return;
    }
    const bool bare = node.kind == Node::Kind::scalar && parse_number(node.scalar).has_value();
    wrong(reading, path, node, "a duration like \"2s\", \"500ms\" or \"10m\"",
          bare ? fmt::format("add a unit: \"{0}s\" or \"{0}ms\"", node.scalar.substr(0, 20)) : "");
}

void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule, Address& out) {
    if (node.kind != Node::Kind::scalar) {
        wrong(reading, path, node, "an address like \"127.0.0.1:8080\"");
        return;
    }
    const auto address = parse_address(node.scalar);
    if (!address) {
        reading.report("P108-bad-value", path, node, address.error().detail, "write it like 127.0.0.1:8080");
    } else if (rule.as == As::peer_address && address->port == 0) {
        reading.report("P108-bad-value", path, node, "port 0 is nobody's", "write the port that the server listens on");
    } else {
        out = *address;
    }
}

void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule, std::string& out) {
    if (node.kind != Node::Kind::scalar) {
        wrong(reading, path, node, "text");
        return;
    }
    if (auto problem = text_problem(rule, node.scalar); !problem.empty()) {
        const std::string shown_text = rule.as == As::secret ? "(hidden)" : node.scalar.substr(0, 80);
        reading.report("P108-bad-value", path, node, fmt::format("\"{}\" cannot stand here", shown_text),
                       std::move(problem));
        return;
    }
    if (!reading.keep(path, node, node.scalar.size())) return;
    out = in_one_form(rule.as, node.scalar);
}

void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule,
               std::vector<std::string>& out) {
    if (node.kind != Node::Kind::sequence) {
        wrong(reading, path, node,
              rule.choices.empty() ? "a list like [a, b]" : "a list like [" + join(rule.choices) + "]");
        return;
    }
    std::vector<std::string> values;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        const std::string item_path = fmt::format("{}[{}]", path, i);
        if (!reading.enter(item_path, *node.items[i])) return;
        std::string word;
        const auto before = reading.findings.size();
        if (rule.choices.empty()) {
            read_leaf(reading, item_path, *node.items[i], rule, word);
        } else if (const auto index = read_choice(reading, item_path, *node.items[i], rule.choices)) {
            word = rule.choices[*index];
        }
        if (reading.findings.size() != before) continue;
        if (std::ranges::find(values, word) != values.end()) {
            reading.report("P108-bad-value", item_path, *node.items[i], fmt::format("\"{}\" stands here twice", word));
        } else {
            values.push_back(word);
        }
    }
    out = std::move(values);
}

void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule,
               std::vector<double>& out) {
    if (node.kind != Node::Kind::sequence || node.items.empty()) {
        wrong(reading, path, node, "a list of fractions like [1%, 5%, 25%, 100%]");
        return;
    }
    std::vector<double> values;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        const std::string item_path = fmt::format("{}[{}]", path, i);
        if (!reading.enter(item_path, *node.items[i])) return;
        double value = -1;
        read_leaf(reading, item_path, *node.items[i], rule, value);
        if (value < 0) continue;
        if (rule.ascending && !values.empty() && value <= values.back()) {
            reading.report("P206-steps", item_path, *node.items[i],
                           fmt::format("{} does not follow {}", shown(value, rule), shown(values.back(), rule)),
                           "each step is larger than the one before");
        }
        values.push_back(value);
    }
    if (rule.ascending && !values.empty() && values.back() != 1) {
        reading.report("P206-steps", path, node, fmt::format("the last step is {}", shown(values.back(), rule)),
                       "end with 100%");
    }
    out = std::move(values);
}

void read_leaf(Reading& reading, const std::string& path, const Node& node, const Rule& rule,
               std::map<std::string, std::string>& out) {
    if (node.kind != Node::Kind::map) {
        wrong(reading, path, node,
              rule.as == As::header_value ? "a map like {X-Name: value}" : "a map like {version: v7}");
        return;
    }
    const bool header = rule.as == As::header_value;
    std::unordered_set<std::string> seen;
    for (const auto& [key, value] : node.entries) {
        std::string name;
        read_leaf(reading, path, *key, {.as = header ? As::header_name : As::item_name}, name);
        const std::string item_path = fmt::format("{}.{}", path, name);
        if (!reading.enter(item_path, *key)) return;
        if (header && !seen.insert(lower(name)).second) {
            reading.report("P103-duplicate-key", item_path, *key,
                           fmt::format("\"{}\" stands here a second time; case does not count in headers", name),
                           "keep one of them");
        }
        read_leaf(reading, item_path, *value, rule, out[name]);
    }
}

}  // namespace plimsoll::config
