// Where a client is sent instead. Source: RFC 9110 section 10.2.2 (Location), Gateway API's rules for ports.
#include <algorithm>

#include "snapshot/actions.h"

namespace plimsoll::snapshot {

namespace {

/// What may stand in an authority as we write it: no userinfo, no escapes, nothing that ends it.
bool is_host_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~' || c == ':' || c == '[' || c == ']';
}

bool is_host(std::string_view host) { return !host.empty() && std::ranges::all_of(host, is_host_byte); }

/// A query may hold anything visible but '#'.
bool is_query(std::string_view query) {
    return std::ranges::none_of(query, [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte <= ' ' || byte == 0x7f || byte == '#';
    });
}

std::string_view without_port(std::string_view host) {
    const auto colon = host.rfind(':');
    if (colon == std::string_view::npos || host.find(']', colon) != std::string_view::npos) return host;
    return host.substr(0, colon);
}

}  // namespace

std::optional<std::string> location(const Redirect& redirect, const RequestView& request) {
    const std::string_view asked_scheme = request.scheme.empty() ? std::string_view("http") : request.scheme;
    const std::string_view scheme = redirect.scheme.empty() ? asked_scheme : std::string_view(redirect.scheme);
    std::string_view host = redirect.host;
    if (host.empty()) host = scheme == asked_scheme ? request.host : without_port(request.host);
    if (!is_host(host)) return std::nullopt;

    std::string made;
    made.append(scheme).append("://").append(host);
    const std::size_t path_at = made.size();
    if (redirect.path) {
        made += *redirect.path;
    } else if (redirect.prefix) {
        made += *redirect.prefix;
        made += request.path.substr(std::min(redirect.cut, request.path.size()));
    } else {
        made += request.path;
    }
    if (made.size() == path_at) made += '/';
    if (!is_sendable_path(std::string_view(made).substr(path_at))) return std::nullopt;
    if (!redirect.strip_query && !request.query.empty()) {
        if (!is_query(request.query)) return std::nullopt;
        made.append("?").append(request.query);
    }
    if (made.size() > max_rewritten) return std::nullopt;
    return made;
}

}  // namespace plimsoll::snapshot
