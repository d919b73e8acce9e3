#include "proxy/heads.h"

#include <algorithm>

namespace plimsoll::proxy {
namespace {

using http::Known;

/// `name: existing..., added`.
void append_list(std::string& out, const http::Fields& fields, Known known, std::string_view name, bool keep,
                 std::string_view added) {
    out.append(name).append(": ");
    if (keep && fields.has(known)) {
        for (const http::Header header : fields) {
            if (header.known == known && !header.value.empty()) out.append(header.value).append(", ");
        }
    }
    out.append(added).append("\r\n");
}

void append_forwarding(std::string& out, const http::RequestHead& head, const Forwarding& forwarding) {
    const bool trust = forwarding.trust;
    append_list(out, head.fields, Known::x_forwarded_for, "X-Forwarded-For", trust, forwarding.client);
    const auto once = [&](Known known, std::string_view name, std::string_view ours) {
        const std::string_view theirs = trust ? head.fields.get(known) : std::string_view{};
        out.append(name).append(": ").append(theirs.empty() ? ours : theirs).append("\r\n");
    };
    once(Known::x_forwarded_proto, "X-Forwarded-Proto", "http");
    if (!head.authority().empty()) once(Known::x_forwarded_host, "X-Forwarded-Host", head.authority());
    const bool ipv6 = forwarding.client.find(':') != std::string_view::npos;
    std::string_view open = ipv6 ? "for=\"[" : "for=";
    out.append("Forwarded: ");
    if (trust && head.fields.has(Known::forwarded)) {
        for (const http::Header header : head.fields) {
            if (header.known == Known::forwarded && !header.value.empty()) out.append(header.value).append(", ");
        }
    }
    out.append(open).append(forwarding.client).append(ipv6 ? "]\"" : "");
    if (!head.authority().empty()) out.append(";host=\"").append(head.authority()).append("\"");
    out.append(";proto=http\r\n");
}

}  // namespace

void append_upstream_head(std::string& out, const http::RequestHead& head, const Forwarding& forwarding) {
    constexpr std::uint64_t ours = http::drop(Known::x_forwarded_for) | http::drop(Known::x_forwarded_proto) |
                                   http::drop(Known::x_forwarded_host) | http::drop(Known::x_forwarded_port) |
                                   http::drop(Known::x_real_ip) | http::drop(Known::forwarded) |
                                   http::drop(Known::x_request_id) | http::drop(Known::expect) |
                                   http::drop(Known::transfer_encoding);
    http::HeadWriter writer(out);
    writer.request_line(head);
    writer.field("Host", head.authority().empty() ? forwarding.fallback_host : head.authority());
    writer.forward(head.fields, ours);
    append_forwarding(out, head, forwarding);
    out.append("X-Request-Id: ").append(forwarding.request_id).append("\r\n");
    writer.framing(head.framing);
    writer.end();
}

AnswerFraming answer_framing(const http::RequestHead& request, const http::ResponseHead& answer, bool may_keep) {
    AnswerFraming out{answer.framing, may_keep && request.keep_alive};
    using Kind = http::Framing::Kind;
    if (answer.framing.kind != Kind::chunked && answer.framing.kind != Kind::until_close) return out;
    if (request.minor_version >= 1) {
        out.framing = {Kind::chunked, 0};
    } else {
        out.framing = {Kind::until_close, 0};
        out.keep_alive = false;
    }
    return out;
}

void append_client_head(std::string& out, const http::RequestHead& request, const http::ResponseHead& answer,
                        const AnswerFraming& framing) {
    http::HeadWriter writer(out);
    writer.status_line(answer.status, answer.reason());
    writer.forward(answer.fields, http::drop(Known::transfer_encoding));
    if (answer.framing.kind == http::Framing::Kind::none && answer.fields.has(Known::content_length) &&
        answer.status >= 200 && answer.status != 204) {
        // An answer to HEAD, or 304: the length of what was not sent (RFC 9110 8.6).
        const http::Number length = http::parse_decimal(answer.fields.get(Known::content_length));
        if (length.ok) writer.field("Content-Length", length.value);
    }
    writer.framing(framing.framing);
    if (!framing.keep_alive) {
        out.append("Connection: close\r\n");
    } else if (request.minor_version == 0) {
        out.append("Connection: keep-alive\r\n");
    }
    writer.end();
}

void append_own_answer(std::string& out, const OwnAnswer& answer) {
    std::string body;
    body.append(name(answer.cause)).append(": ").append(answer.reason).append("\n");
    http::HeadWriter writer(out);
    writer.status_line(answer.status).field("Content-Type", "text/plain; charset=utf-8");
    writer.field("X-Plimsoll-Cause", name(answer.cause));
    writer.framing({http::Framing::Kind::length, body.size()});
    if (!answer.keep_alive) {
        writer.field("Connection", "close");
    } else if (answer.http10) {
        writer.field("Connection", "keep-alive");
    }
    writer.end();
    if (!answer.head_only) out.append(body);
}

std::uint16_t status_of(Cause cause) {
    switch (cause) {
        case Cause::none: return 200;
        case Cause::bad_request: return 400;
        case Cause::client_closed: return 400;
        case Cause::client_timeout: return 408;
        case Cause::no_route: return 404;
        case Cause::no_endpoint:
        case Cause::limited:
        case Cause::shutting_down: return 503;
        case Cause::internal: return 500;
        case Cause::total_timeout:
        case Cause::connect_timeout:
        case Cause::try_timeout:
        case Cause::upstream_idle: return 504;
        case Cause::connect_refused:
        case Cause::connect_failed:
        case Cause::upstream_reset:
        case Cause::upstream_protocol:
        case Cause::upstream_truncated: return 502;
    }
    return 500;
}

bool is_sane_request_id(std::string_view id) {
    if (id.empty() || id.size() > 128) return false;
    return std::ranges::all_of(id, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("._-:=+/").find(c) != std::string_view::npos;
    });
}

std::string_view last_forwarded_for(const http::Fields& fields) {
    std::string_view last;
    if (!fields.has(Known::x_forwarded_for)) return last;
    for (const http::Header header : fields) {
        if (header.known != Known::x_forwarded_for) continue;
        std::string_view list = header.value;
        for (std::string_view each = http::next_element(list); !each.empty(); each = http::next_element(list)) {
            last = each;
        }
    }
    return last;
}

}  // namespace plimsoll::proxy
