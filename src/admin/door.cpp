#include "admin/door.h"

#include <algorithm>

#include "http/fields.h"
#include "net/address.h"

namespace plimsoll::admin {

namespace {

bool same(std::string_view a, std::string_view b) { return http::equal_ignoring_case(a, b); }

/// Without the brackets of IPv6.
std::string_view bare(std::string_view host) {
    return host.size() > 2 && host.front() == '[' && host.back() == ']' ? host.substr(1, host.size() - 2) : host;
}

bool is_literal(std::string_view host) { return net::Address::ip(bare(host), 0).has_value(); }

bool is_loopback(std::string_view host) {
    return same(host, "localhost") || host == "::1" || (host.starts_with("127.") && is_literal(host));
}

bool is_wildcard(std::string_view host) { return host == "0.0.0.0" || host == "::"; }

http::Response refusal(std::uint16_t status, std::string text) { return http::Response::text(status, std::move(text)); }

/// A page of another origin made the browser send it. Clients that are no browsers send neither header.
bool from_another_site(const http::Request& request) {
    if (const auto site = request.headers.get("sec-fetch-site"); site && *site != "same-origin" && *site != "none")
        return true;
    const auto origin = request.headers.get("origin");
    return origin && !same(*origin, "http://" + request.authority);
}

}  // namespace

std::string_view host_of(std::string_view authority) {
    std::size_t end = authority.find(':');
    if (authority.starts_with('[')) {
        end = authority.find(']');
        if (end == std::string_view::npos) return {};
        ++end;
    }
    const std::string_view host = authority.substr(0, end);
    const std::string_view rest = authority.substr(host.size());
    const bool port = rest.size() > 1 && rest.front() == ':' &&
                      rest.substr(1).find_first_not_of("0123456789") == std::string_view::npos;
    return rest.empty() || port ? host : std::string_view{};
}

bool is_json(std::string_view content_type) {
    const std::size_t end = content_type.find(';');
    const auto trimmed = [](std::string_view text) {
        while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
        while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
        return text;
    };
    if (!same(trimmed(content_type.substr(0, end)), "application/json")) return false;
    if (end == std::string_view::npos) return true;
    const std::string_view parameter = trimmed(content_type.substr(end + 1));
    return same(parameter, "charset=utf-8") || same(parameter, "charset=\"utf-8\"");
}

void Door::add(std::string_view host, std::string_view machine) {
    host = bare(host);
    names_.emplace_back(host);
    every_address_ = every_address_ || is_wildcard(host);
    beyond_loopback_ = beyond_loopback_ || !is_loopback(host);
    if (!machine.empty() && !is_loopback(host)) names_.emplace_back(machine);
}

bool Door::is_ours(std::string_view authority) const {
    if (authority.empty()) return true;  // HTTP/1.0 without Host: no browser does that
    const std::string_view host = bare(host_of(authority));
    if (host.empty()) return false;
    if (is_loopback(host) || (every_address_ && is_literal(host))) return true;
    return std::ranges::any_of(names_, [&](const std::string& name) { return same(name, host); });
}

std::optional<http::Response> Door::refuses(const http::Request& request) const {
    const bool reads = request.method == "GET" || request.method == "HEAD";
    if (!request.unix_socket && !is_ours(request.authority)) {
        // Monitoring knows the machine by a name of its own, and what it reads is no secret where others may come.
        const bool open = reads && (request.path == "/metrics" || request.path == "/healthz");
        if (!open || !beyond_loopback_) return refusal(421, "Host must be the admin listener's address or localhost\n");
    }
    if (reads) return std::nullopt;
    if (request.method != "POST") return refusal(405, "GET and POST only\n");
    if (from_another_site(request)) return refusal(403, "writes from pages of another site are refused\n");
    if (!request.headers.get("x-plimsoll-request") || !is_json(request.headers.get("content-type").value_or("")))
        return refusal(415, "writes need 'content-type: application/json' and 'x-plimsoll-request: 1'\n");
    return std::nullopt;
}

}  // namespace plimsoll::admin
