// Which route a request takes. On the path of every request: no allocation, no lock.
#include <array>

#include "snapshot/snapshot.h"

namespace plimsoll::snapshot {

namespace {

/// Longest host name that a config may hold (RFC 1035, section 2.3.4); longer ones cannot equal any.
constexpr std::size_t max_host = 253;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

/// "Example.COM.:8080" -> "example.com" in `buffer`; empty when it is too long to be one of ours.
std::string_view canonical_host(std::string_view host, std::array<char, max_host>& buffer) {
    const auto colon = host.rfind(':');
    if (colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos)
        host = host.substr(0, colon);
    if (host.ends_with('.')) host.remove_suffix(1);
    if (host.size() > buffer.size()) return {};
    for (std::size_t i = 0; i < host.size(); ++i) buffer[i] = lower(host[i]);
    return {buffer.data(), host.size()};
}

}  // namespace

bool path_matches(const config::Match& match, std::string_view path) {
    path = path.substr(0, path.find('?'));
    if (match.path) return path == *match.path;
    if (!match.path_prefix) return true;
    std::string_view prefix = *match.path_prefix;
    while (prefix.ends_with('/')) prefix.remove_suffix(1);
    return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/' || prefix.empty());
}

std::optional<RouteIndex> Snapshot::match(std::string_view host, std::string_view path) const {
    std::array<char, max_host> buffer;
    const auto found = by_host_.empty() ? by_host_.end() : by_host_.find(canonical_host(host, buffer));
    static const std::vector<RouteIndex> nobody;
    const auto& own = found == by_host_.end() ? nobody : found->second;

    path = path.substr(0, path.find('?'));
    std::size_t i = 0, j = 0;
    while (i < own.size() || j < any_host_.size()) {
        const bool take_own = j == any_host_.size() || (i < own.size() && own[i] < any_host_[j]);
        const RouteIndex candidate = take_own ? own[i++] : any_host_[j++];
        if (path_matches(routes[candidate.value].match, path)) return candidate;
    }
    return std::nullopt;
}

}  // namespace plimsoll::snapshot
