#include "check/routes.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

namespace plimsoll::check {

namespace {

using config::FieldMatch;
using config::Match;

/// Routes that share host and path are compared with each other at most this far; beyond it a hidden one goes
/// unnoticed.
constexpr std::size_t most_alike = 64;

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
    return text;
}

std::string trimmed(std::string path) {
    while (path.ends_with('/')) path.pop_back();
    return path;
}

/// '\n' cannot stand in a host or a path. "=" marks exact paths, "^" prefixes, "~" patterns.
std::string key(std::string_view host, char kind, std::string_view path) {
    std::string out(host);
    out += '\n';
    out += kind;
    out += path;
    return out;
}

bool within(std::string_view path, std::string_view prefix) {
    return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

// ---- hosts ---------------------------------------------------------------------------------------------------------

/// Every pattern that takes all of `host` (lower case; empty = any), itself first.
std::vector<std::string> host_patterns_over(const std::string& host) {
    std::vector<std::string> out{host};
    if (host.empty()) return out;
    const std::string_view labels = host.starts_with("*.") ? std::string_view(host).substr(2) : std::string_view(host);
    for (auto dot = labels.find('.'); dot != std::string_view::npos; dot = labels.find('.', dot + 1)) {
        out.push_back("*" + std::string(labels.substr(dot)));
    }
    out.emplace_back();
    return out;
}

bool hosts_overlap(const std::string& a, const std::string& b) {
    if (a.empty() || b.empty() || a == b) return true;
    const auto below = [](const std::string& host, const std::string& pattern) {
        return pattern.starts_with("*.") && host.ends_with(std::string_view(pattern).substr(1));
    };
    return below(a, b) || below(b, a);
}

// ---- patterns of paths ---------------------------------------------------------------------------------------------

bool full_match(const std::string& text, const std::string& regex) {
    RE2::Options options(RE2::Quiet);
    options.set_max_mem(config::max_regex_bytes);
    const RE2 compiled(regex, options);
    return compiled.ok() && RE2::FullMatch(text, compiled);
}

/// What every match of the regex begins with; empty when that cannot be told.
std::string beginning(const std::string& regex) {
    RE2::Options options(RE2::Quiet);
    options.set_max_mem(config::max_regex_bytes);
    const RE2 compiled("^(?:" + regex + ")$", options);
    std::string least, most;
    if (!compiled.ok() || !compiled.PossibleMatchRange(&least, &most, 64)) return {};
    const auto differ = std::ranges::mismatch(least, most);
    return std::string(least.begin(), differ.in1);
}

bool takes_every_path(const std::string& regex) { return regex == ".*" || regex == "/.*" || regex == "^.*$"; }

/// A match in the one form that is compared: lower-case host (empty = any), path without the prefix's last '/'.
struct Shape {
    enum class Kind : std::uint8_t { exact, prefix, regex } kind = Kind::prefix;
    std::string host, path;
    std::string begins;  ///< regex: what its matches begin with, up to the last whole segment
    const Match* match = nullptr;
};

Shape shape(const Match& match) {
    Shape out;
    out.match = &match;
    if (match.host) out.host = lower(*match.host);
    if (match.path) {
        out.kind = Shape::Kind::exact;
        out.path = *match.path;
    } else if (match.path_regex) {
        out.kind = Shape::Kind::regex;
        out.path = *match.path_regex;
        out.begins = beginning(out.path);
    } else {
        out.path = trimmed(match.path_prefix.value_or(""));
    }
    return out;
}

// ---- the other conditions ------------------------------------------------------------------------------------------

bool same_field(const FieldMatch& a, const FieldMatch& b, bool header) {
    return header ? lower(a.name) == lower(b.name) : a.name == b.name;
}

/// Whether whatever fulfils `b` fulfils `a`.
bool implied(const FieldMatch& a, const FieldMatch& b, bool header) {
    if (!same_field(a, b, header)) return false;
    if (a.exact == b.exact && a.regex == b.regex && a.invert == b.invert) return true;
    if (a.invert || b.invert) return false;
    if (!a.exact && !a.regex) return true;  // it is there, whatever it says
    return a.regex && b.exact && full_match(*b.exact, *a.regex);
}

bool all_implied(const std::vector<FieldMatch>& a, const std::vector<FieldMatch>& b, bool header) {
    return std::ranges::all_of(a, [&](const FieldMatch& one) {
        return std::ranges::any_of(b, [&](const FieldMatch& other) { return implied(one, other, header); });
    });
}

/// `a` allows all that `b` allows; an empty list allows everything.
bool allows_all(const std::vector<std::string>& a, const std::vector<std::string>& b) {
    if (a.empty()) return true;
    return !b.empty() &&
           std::ranges::all_of(b, [&](const std::string& s) { return std::ranges::find(a, s) != a.end(); });
}

bool rest_covers(const Match& a, const Match& b) {
    return allows_all(a.listeners, b.listeners) && allows_all(a.methods, b.methods) &&
           all_implied(a.headers, b.headers, true) && all_implied(a.query, b.query, false);
}

bool lists_overlap(const std::vector<std::string>& a, const std::vector<std::string>& b) {
    return a.empty() || b.empty() ||
           std::ranges::any_of(a, [&](const std::string& s) { return std::ranges::find(b, s) != b.end(); });
}

/// Two conditions that no ordinary request fulfils at once. (One that sends a header twice may.)
bool contradict(const FieldMatch& a, const FieldMatch& b, bool header) {
    if (!same_field(a, b, header)) return false;
    if (a.exact == b.exact && a.regex == b.regex) return a.invert != b.invert;
    if (a.invert && !a.exact && !a.regex) return !b.invert;  // not there against there
    if (b.invert && !b.exact && !b.regex) return !a.invert;
    return a.exact && b.exact && !a.invert && !b.invert;
}

bool fields_overlap(const std::vector<FieldMatch>& a, const std::vector<FieldMatch>& b, bool header) {
    return std::ranges::none_of(a, [&](const FieldMatch& one) {
        return std::ranges::any_of(b, [&](const FieldMatch& other) { return contradict(one, other, header); });
    });
}

bool paths_overlap(const Shape& a, const Shape& b) {
    using Kind = Shape::Kind;
    if (b.kind == Kind::regex && a.kind != Kind::regex) return paths_overlap(b, a);
    if (a.kind == Kind::regex) {
        if (b.kind == Kind::exact) return full_match(b.path, a.path);
        // They may, unless their beginnings differ.
        const std::string& other = b.kind == Kind::regex ? b.begins : b.path;
        return a.begins.starts_with(other) || other.starts_with(a.begins);
    }
    if (a.kind == Kind::exact && b.kind == Kind::exact) return a.path == b.path;
    if (a.kind == Kind::exact) return within(a.path, b.path);
    if (b.kind == Kind::exact) return within(b.path, a.path);
    return within(a.path, b.path) || within(b.path, a.path);
}

bool overlap(const Shape& a, const Shape& b) {
    return hosts_overlap(a.host, b.host) && lists_overlap(a.match->listeners, b.match->listeners) &&
           lists_overlap(a.match->methods, b.match->methods) &&
           fields_overlap(a.match->headers, b.match->headers, true) &&
           fields_overlap(a.match->query, b.match->query, false) && paths_overlap(a, b);
}

/// Routes by host and path, for asking which of them take all that a later one takes.
class Earlier {
public:
    explicit Earlier(const std::vector<config::Route>& routes) : routes_(routes) {}

    void add(const Shape& s, std::size_t index) {
        constexpr std::array<char, 3> kinds{'=', '^', '~'};
        // All patterns of a host share one list.
        const bool regex = s.kind == Shape::Kind::regex && !takes_every_path(s.path);
        const char kind = s.kind == Shape::Kind::regex ? (regex ? '~' : '^') : kinds[static_cast<std::size_t>(s.kind)];
        const std::string path = s.kind == Shape::Kind::regex ? std::string() : s.path;
        auto& list = by_key_[key(s.host, kind, path)];
        if (list.size() < most_alike) list.push_back(index);
    }
    std::optional<std::size_t> covering(const Shape& s) const {
        std::optional<std::size_t> winner;
        const auto look = [&](const std::string& wanted, bool patterns) {
            const auto found = by_key_.find(wanted);
            if (found == by_key_.end()) return;
            for (const std::size_t i : found->second) {
                if (winner && i >= *winner) break;
                if (patterns && !pattern_covers(*routes_[i].match.path_regex, s)) continue;
                if (rest_covers(routes_[i].match, *s.match)) winner = i;
            }
        };
        for (const std::string& host : host_patterns_over(s.host)) {
            look(key(host, '~', {}), true);
            std::string prefix = s.path;
            if (s.kind == Shape::Kind::exact) look(key(host, '=', prefix), false);
            if (s.kind == Shape::Kind::regex) {
                // Whole segments that every match has, the last one closed by a '/'.
                const auto end = s.begins.rfind('/');
                prefix = end == std::string::npos ? std::string() : s.begins.substr(0, end);
            }
            while (true) {
                look(key(host, '^', trimmed(prefix)), false);
                const auto cut = prefix.rfind('/');
                if (prefix.empty() || cut == std::string::npos) break;
                prefix.resize(cut);
            }
        }
        return winner;
    }

private:
    static bool pattern_covers(const std::string& regex, const Shape& s) {
        if (s.kind == Shape::Kind::regex) return s.path == regex;
        return s.kind == Shape::Kind::exact && full_match(s.path, regex);
    }
    const std::vector<config::Route>& routes_;
    std::unordered_map<std::string, std::vector<std::size_t>> by_key_;
};

}  // namespace

std::vector<std::optional<std::size_t>> covered_by(const std::vector<config::Route>& routes) {
    std::vector<std::optional<std::size_t>> out(routes.size());
    Earlier earlier(routes);
    for (std::size_t i = 0; i < routes.size(); ++i) {
        const Shape s = shape(routes[i].match);
        out[i] = earlier.covering(s);
        earlier.add(s, i);
    }
    return out;
}

bool overlap(const Match& a, const Match& b) { return overlap(shape(a), shape(b)); }

bool same_action(const config::Route& a, const config::Route& b) {
    return a.pool == b.pool && a.split == b.split && a.redirect == b.redirect && a.respond == b.respond;
}

std::string action_text(const config::Route& route) {
    if (route.redirect) return fmt::format("a redirect ({})", route.redirect->status);
    if (route.respond) return fmt::format("an answer of our own ({})", route.respond->status);
    if (route.split.empty()) return "pool " + route.pool;
    std::string out = "pools ";
    for (std::size_t i = 0; i < route.split.size(); ++i) out += (i > 0 ? " and " : "") + route.split[i].pool;
    return out;
}

bool host_covered(std::string_view pattern, std::string_view host) {
    const auto over = host_patterns_over(lower(std::string(host)));
    return std::ranges::find(over, lower(std::string(pattern))) != over.end();
}

std::vector<Swapped> swapped(const std::vector<config::Route>& before, const std::vector<config::Route>& after,
                             std::size_t most) {
    std::unordered_map<std::string_view, std::size_t> old_position;
    for (std::size_t i = 0; i < before.size(); ++i) old_position.emplace(before[i].name, i);

    struct Seen {
        std::size_t index, was;
        Shape shape;
    };
    std::vector<Swapped> out;
    std::map<std::string, std::vector<Seen>> by_host;  // "" = any host; ordered, so that `most` cuts the same always
    for (std::size_t j = 0; j < after.size(); ++j) {
        const auto was = old_position.find(after[j].name);
        if (was == old_position.end()) continue;
        Seen here{j, was->second, shape(after[j].match)};
        const auto compare = [&](const std::vector<Seen>& earlier) {
            for (const Seen& other : earlier) {
                if (out.size() >= most) return;
                if (other.was < here.was || same_action(after[other.index], after[j])) continue;
                if (overlap(other.shape, here.shape)) out.push_back({other.index, j});
            }
        };
        if (here.shape.host.empty() || here.shape.host.starts_with("*.")) {
            for (const auto& [host, earlier] : by_host) {
                if (hosts_overlap(host, here.shape.host)) compare(earlier);
            }
        } else {
            for (const std::string& host : host_patterns_over(here.shape.host)) {
                if (const auto found = by_host.find(host); found != by_host.end()) compare(found->second);
            }
        }
        std::string host = here.shape.host;
        by_host[std::move(host)].push_back(std::move(here));
    }
    std::ranges::sort(out, {}, [](const Swapped& s) { return std::pair(s.first, s.second); });
    return out;
}

}  // namespace plimsoll::check
