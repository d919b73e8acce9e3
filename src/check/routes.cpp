#include "check/routes.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "snapshot/snapshot.h"

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

bool overlap(const config::Match& a, const config::Match& b) {
    if (a.host && b.host && lower(*a.host) != lower(*b.host)) return false;
    // The narrower path is itself a request that both see, if any is.
    const auto narrowest = [](const config::Match& m) {
        return m.path ? *m.path : trimmed(m.path_prefix.value_or(""));
    };
    return (snapshot::path_matches(a, narrowest(b)) && snapshot::path_matches(b, narrowest(b))) ||
           (snapshot::path_matches(a, narrowest(a)) && snapshot::path_matches(b, narrowest(a)));
}

}  // namespace plimsoll::check
