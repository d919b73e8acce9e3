#include "proxy/heads.h"

#include <algorithm>

#include "http/writer.h"

namespace plimsoll::proxy {
namespace {

using http::Known;
using Kind = http::Framing::Kind;

/// `name: existing..., added`.
void add_list(http::Draft& draft, const http::Fields& fields, Known known, std::string_view name, bool keep,
              std::string_view added) {
    if (!keep || !fields.has(known)) return draft.add(name, added);
    std::string list;
    for (const http::Header header : fields) {
        if (header.known == known && !header.value.empty()) list.append(header.value).append(", ");
    }
    draft.add(name, draft.keep(list.append(added)));
}

void add_forwarding(http::Draft& draft, const http::RequestHead& head, const Forwarding& forwarding) {
    const bool trust = forwarding.trust;
    const std::string_view scheme = forwarding.tls ? "https" : "http";
    add_list(draft, head.fields, Known::x_forwarded_for, "X-Forwarded-For", trust, forwarding.peer);
    const auto once = [&](Known known, std::string_view name, std::string_view ours) {
        const std::string_view theirs = trust ? head.fields.get(known) : std::string_view{};
        draft.add(name, theirs.empty() ? ours : theirs);
    };
    once(Known::x_forwarded_proto, "X-Forwarded-Proto", scheme);
    if (!head.authority().empty()) once(Known::x_forwarded_host, "X-Forwarded-Host", head.authority());
    std::string element(forwarding.element);
    if (!head.authority().empty()) element.append(";host=\"").append(head.authority()).append("\"");
    element.append(";proto=").append(scheme);
    add_list(draft, head.fields, Known::forwarded, "Forwarded", trust, draft.keep(element));
}

/// Path and query in one piece: as they lie in the request if nothing was rewritten.
std::string_view target_of(http::Draft& draft, const http::RequestHead& head, std::string_view rewritten) {
    const std::string_view path = rewritten.empty() ? head.path() : rewritten;
    if (!head.has_query) return path;
    const std::string_view query = head.query();
    if (rewritten.empty() && path.data() + path.size() + 1 == query.data()) {
        return {path.data(), path.size() + 1 + query.size()};
    }
    return draft.keep(std::string(path).append("?").append(query));
}

/// A name that servers which turn '-' into '_' (CGI and its heirs) take for one of those that we answer for:
/// X_Forwarded_For, and our own X-Plimsoll names.
bool is_disguised(std::string_view name) {
    if (http::equal_ignoring_case(name.substr(0, 11), "x-plimsoll-")) return true;
    if (name.find('_') == std::string_view::npos || name.size() > 64) return false;
    char plain[64];
    for (std::size_t i = 0; i < name.size(); ++i) plain[i] = name[i] == '_' ? '-' : name[i];
    const std::string_view dashed(plain, name.size());
    if (http::equal_ignoring_case(dashed.substr(0, 11), "x-plimsoll-")) return true;
    switch (http::classify(dashed)) {
        case Known::x_forwarded_for:
        case Known::x_forwarded_proto:
        case Known::x_forwarded_host:
        case Known::x_forwarded_port:
        case Known::x_real_ip:
        case Known::forwarded:
        case Known::x_request_id:
        case Known::host:
        case Known::content_length:
        case Known::transfer_encoding: return true;
        default: return false;
    }
}

}  // namespace

void draft_upstream(http::Draft& draft, const http::RequestHead& head, const Forwarding& forwarding) {
    std::uint64_t ours = http::drop(Known::x_forwarded_for) | http::drop(Known::x_forwarded_proto) |
                         http::drop(Known::x_forwarded_host) | http::drop(Known::x_forwarded_port) |
                         http::drop(Known::x_real_ip) | http::drop(Known::forwarded) | http::drop(Known::x_request_id) |
                         http::drop(Known::expect) | http::drop(Known::transfer_encoding);
    if (forwarding.own_trace) ours |= http::drop(Known::traceparent);
    if (forwarding.own_trace && !forwarding.keep_tracestate) ours |= http::drop(Known::tracestate);
    draft.clear();
    draft.method = head.method_text();
    draft.scheme = forwarding.tls ? "https" : "http";
    draft.authority = !forwarding.host.empty()   ? forwarding.host
                      : head.authority().empty() ? forwarding.fallback_host
                                                 : head.authority();
    const bool tunnel = head.method == http::Method::connect && forwarding.protocol.empty();
    if (!tunnel) draft.target = target_of(draft, head, forwarding.path);
    if (!forwarding.protocol.empty()) {
        draft.method = "CONNECT";
        draft.protocol = forwarding.protocol;
    }
    draft.forward(head.fields, ours);
    draft.remove_if(is_disguised);
    add_forwarding(draft, head, forwarding);
    draft.add("X-Request-Id", forwarding.request_id);
    draft.framing = head.framing;
}

void draft_client(http::Draft& draft, const http::RequestHead& request, const http::ResponseHead& answer) {
    draft.clear();
    draft.status = answer.status;
    draft.reason = answer.reason();
    draft.forward(answer.fields, http::drop(Known::transfer_encoding));
    draft.framing = answer.framing;
    if (answer.framing.kind == http::Framing::Kind::until_close) {
        draft.framing = {http::Framing::Kind::chunked, 0};
    } else if (answer.framing.kind == http::Framing::Kind::none && answer.fields.has(Known::content_length) &&
               answer.status >= 200 && answer.status != 204) {
        // An answer to HEAD, or 304: the length of what was not sent (RFC 9110 8.6).
        const http::Number length = http::parse_decimal(answer.fields.get(Known::content_length));
        if (length.ok && (request.method == http::Method::head || answer.status == 304)) {
            draft.add("Content-Length", length.value);
        }
    }
}

void draft_hints(http::Draft& draft, const http::Headers& hints, const snapshot::HeaderEdit& edit) {
    draft.clear();
    draft.status = 103;
    for (const http::Headers::Line& line : hints) draft.add(line.name, line.value);
    for (const std::string& name : edit.remove) draft.remove(name);
}

std::string connection_list(const http::Fields& head) {
    std::string names;
    if (!head.has(Known::connection)) return names;
    for (const http::Header header : head)
        if (header.known == Known::connection) names.append(header.value).append(",");
    return names;
}

void draft_trailers(http::Draft& draft, const http::Fields& trailers, std::string_view connection,
                    const snapshot::HeaderEdit& edit) {
    draft.clear();
    if (trailers.empty()) return;
    draft.forward_trailers(trailers);
    draft.remove_if(is_disguised);
    for (const std::string& name : edit.remove) draft.remove(name);
    for (const snapshot::HeaderLine& line : edit.set) draft.remove(line.name);
    for (auto each = http::next_element(connection); !each.empty(); each = http::next_element(connection))
        draft.remove(each);
}

void announce_trailers(http::Draft& draft, const http::Fields& head, http::Version from, http::Version to) {
    if (!head.has(Known::trailer) || draft.framing.kind == Kind::none) return;
    const bool has_length = draft.framing.kind == Kind::length;
    if (has_length && from == http::Version::http1) return;  // none will come
    std::string names;
    for (const http::Header header : head) {
        if (header.known != Known::trailer) continue;
        std::string_view list = header.value;
        for (auto each = http::next_element(list); !each.empty(); each = http::next_element(list)) {
            if (!http::is_token(each) || is_disguised(each)) continue;
            if (!http::may_be_trailer({.name = each, .value = {}, .known = http::classify(each)})) continue;
            if (!names.empty()) names.append(", ");
            names.append(each);
        }
    }
    if (names.empty()) return;
    draft.add("Trailer", draft.keep(names));
    if (has_length && to == http::Version::http1) draft.framing = {Kind::chunked, 0};
}

/// What says how long a message is and whose connection it is on: not a route's to change.
bool is_ours(std::string_view name) {
    switch (http::classify(name)) {
        case Known::host:
        case Known::content_length:
        case Known::transfer_encoding:
        case Known::connection:
        case Known::upgrade:
        case Known::keep_alive:
        case Known::te:
        case Known::trailer: return true;
        default: return false;
    }
}

void apply(http::Draft& draft, const snapshot::HeaderEdit& edit) {
    for (const std::string& name : edit.remove) {
        if (!is_ours(name)) draft.remove(name);
    }
    for (const snapshot::HeaderLine& line : edit.set) {
        if (!is_ours(line.name)) draft.set(line.name, line.value);
    }
    for (const snapshot::HeaderLine& line : edit.add) {
        if (!is_ours(line.name)) draft.add(line.name, line.value);
    }
}

void draft_own_answer(http::Draft& draft, const OwnAnswer& answer) {
    draft.clear();
    draft.status = answer.status;
    draft.add("Content-Type", answer.page != nullptr ? std::string_view(answer.page->content_type)
                                                     : std::string_view("text/plain; charset=utf-8"));
    if (answer.cause != Cause::none) draft.add("X-Plimsoll-Cause", name(answer.cause));
    std::size_t length = answer.page != nullptr ? answer.page->body.size() : 0;
    if (answer.page == nullptr) {
        std::string text;
        append_own_text(text, answer.cause, answer.reason);
        length = text.size();
    }
    if (answer.status == 204 || answer.status == 304) return;  // RFC 9110 8.6: no length where there is no content
    if (answer.head_only) {
        draft.add("Content-Length", length);
    } else {
        draft.framing = {http::Framing::Kind::length, length};
    }
}

void append_own_text(std::string& out, Cause cause, std::string_view reason) {
    out.append(name(cause)).append(": ").append(reason).append("\n");
}

std::uint16_t status_of(Cause cause) {
    switch (cause) {
        case Cause::none: return 200;
        case Cause::bad_request: return 400;
        case Cause::client_closed: return 400;
        case Cause::client_timeout: return 408;
        case Cause::no_route: return 404;
        case Cause::not_allowed: return 405;
        case Cause::auth_denied: return 403;
        case Cause::misdirected: return 421;
        case Cause::rate_limited: return 429;
        case Cause::no_endpoint:
        case Cause::limited:
        case Cause::queue_full:
        case Cause::queue_timeout:
        case Cause::overloaded:
        case Cause::fault_injected:
        case Cause::auth_failed:
        case Cause::shutting_down: return 503;
        case Cause::internal: return 500;
        case Cause::total_timeout:
        case Cause::connect_timeout:
        case Cause::try_timeout:
        case Cause::tunnel_idle:
        case Cause::upstream_idle: return 504;
        case Cause::connect_refused:
        case Cause::connect_failed:
        case Cause::upstream_reset:
        case Cause::upstream_protocol:
        case Cause::upstream_tls:
        case Cause::upstream_truncated: return 502;
    }
    return 500;
}

std::string_view without_port(std::string_view authority) {
    const std::size_t colon = authority.rfind(':');
    if (colon == std::string_view::npos || authority.find(']', colon) != std::string_view::npos) return authority;
    return authority.substr(0, colon);
}

bool is_sane_request_id(std::string_view id) {
    if (id.empty() || id.size() > 128) return false;
    return std::ranges::all_of(id, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("._-:=+/").find(c) != std::string_view::npos;
    });
}

}  // namespace plimsoll::proxy
