#include "check/routes.h"

#include <algorithm>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>

namespace plimsoll::check {

namespace {

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
    return text;
}

std::string trimmed(std::string path) {
    while (path.ends_with('/')) path.pop_back();
    return path;
}

/// '\n' cannot stand in a host or a path. "=" marks exact paths, "^" prefixes.
std::string key(const std::string& host, char kind, const std::string& path) { return host + '\n' + kind + path; }

/// A match in the one form that is compared: lower-case host (empty = any), path without the prefix's last '/'.
struct Shape {
    std::string host, path;
    bool exact = false;
};

Shape shape(const config::Match& match) {
    return {match.host ? lower(*match.host) : std::string(),
            match.path ? *match.path : trimmed(match.path_prefix.value_or("")), match.path.has_value()};
}

bool within(const std::string& path, const std::string& prefix) {
    return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

bool overlap(const Shape& a, const Shape& b) {
    if (!a.host.empty() && !b.host.empty() && a.host != b.host) return false;
    if (a.exact && b.exact) return a.path == b.path;
    if (a.exact) return within(a.path, b.path);
    if (b.exact) return within(b.path, a.path);
    return within(a.path, b.path) || within(b.path, a.path);
}

}  // namespace

std::vector<std::optional<std::size_t>> covered_by(const std::vector<config::Route>& routes) {
    std::vector<std::optional<std::size_t>> out(routes.size());
    std::unordered_map<std::string, std::size_t> first;
    for (std::size_t i = 0; i < routes.size(); ++i) {
        const config::Match& match = routes[i].match;
        const std::string host = match.host ? lower(*match.host) : std::string();
        std::optional<std::size_t> winner;
        const auto look = [&](const std::string& wanted) {
            const auto found = first.find(wanted);
            if (found != first.end() && (!winner || found->second < *winner)) winner = found->second;
        };
        // A route without host covers one with a host, not the other way round.
        for (const std::string& of : match.host ? std::vector{host, std::string()} : std::vector{host}) {
            if (match.path) look(key(of, '=', *match.path));
            std::string prefix = match.path ? *match.path : trimmed(match.path_prefix.value_or(""));
            while (true) {
                look(key(of, '^', trimmed(prefix)));
                const auto cut = prefix.rfind('/');
                if (prefix.empty() || cut == std::string::npos) break;
                prefix.resize(cut);
            }
        }
        out[i] = winner;
        if (match.path) {
            first.emplace(key(host, '=', *match.path), i);
        } else {
            first.emplace(key(host, '^', trimmed(match.path_prefix.value_or(""))), i);
        }
    }
    return out;
}

bool overlap(const config::Match& a, const config::Match& b) { return overlap(shape(a), shape(b)); }

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
        const Seen here{j, was->second, shape(after[j].match)};
        const auto compare = [&](const std::vector<Seen>& earlier) {
            for (const Seen& other : earlier) {
                if (out.size() >= most) return;
                if (other.was < here.was || after[other.index].pool == after[j].pool) continue;
                if (overlap(other.shape, here.shape)) out.push_back({other.index, j});
            }
        };
        if (here.shape.host.empty()) {
            for (const auto& [host, earlier] : by_host) compare(earlier);
        } else {
            compare(by_host[here.shape.host]);
            compare(by_host[{}]);
        }
        by_host[here.shape.host].push_back(here);
    }
    std::ranges::sort(out, {}, [](const Swapped& s) { return std::pair(s.first, s.second); });
    return out;
}

}  // namespace plimsoll::check
