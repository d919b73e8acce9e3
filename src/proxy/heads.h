// Heads that we write: to endpoints, to clients, answers of our own. Pure; fill a Draft, whatever HTTP it becomes.
// Thread rule: none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/outcome.h"
#include "http/draft.h"
#include "http/head.h"
#include "http/message.h"
#include "http/message_stream.h"
#include "snapshot/actions.h"

namespace plimsoll::proxy {

/// What we say about the client to the endpoint.
struct Forwarding {
    std::string_view peer{};           ///< address of the connection's peer, for X-Forwarded-For
    std::string_view element{};        ///< the same as an element of Forwarded: `for=192.0.2.1`
    bool trust = false;                ///< the peer is a proxy of ours: what it says is kept, and ours is added
    bool tls = false;                  ///< the client came by TLS
    std::string_view request_id{};     ///< sane, or generated
    std::string_view fallback_host{};  ///< for HTTP/1.0 requests without Host
    std::string_view host{};           ///< the route's rewrite of it; empty = as asked
    std::string_view path{};           ///< the route's rewrite of it; empty = as asked
    std::string_view protocol{};       ///< to upgrade to; empty = none
    bool own_trace = false;            ///< traceparent is ours to write: the client's lines are left out
    bool keep_tracestate = false;
};
/// The request's head as sent to an endpoint: same method and target but for the route's rewrite, hop-by-hop fields
/// removed, Expect removed (we answer it), X-Forwarded-For/-Proto/-Host, Forwarded and X-Request-Id set.
void draft_upstream(http::Draft& draft, const http::RequestHead& head, const Forwarding& forwarding);

/// The endpoint's head as sent to the client.
void draft_client(http::Draft& draft, const http::RequestHead& request, const http::ResponseHead& answer);

/// An endpoint's Early Hints as sent to the client: without what the route removes from answers. Status 103.
void draft_hints(http::Draft& draft, const http::Headers& hints, const snapshot::HeaderEdit& edit);

/// What a head's Connection lists, over all such lines; empty = it has none.
[[nodiscard]] std::string connection_list(const http::Fields& head);
/// Trailers as sent on, to either side: without names that must not come so late (http::may_be_trailer), that the
/// message's own Connection listed (`connection`), that only look unlike what we answer for (X_Forwarded_For), or that
/// the route removes or sets in heads.
void draft_trailers(http::Draft& draft, const http::Fields& trailers, std::string_view connection,
                    const snapshot::HeaderEdit& edit);
/// Announces what of a message's Trailer lines may pass, names as above. From HTTP/2 to HTTP/1.1 a body whose length is
/// known goes in chunks then, since there a length leaves no room for trailers.
void announce_trailers(http::Draft& draft, const http::Fields& head, http::Version from, http::Version to);

/// Applies a route's changes. Framing, Host and what belongs to the connection cannot be changed by it.
void apply(http::Draft& draft, const snapshot::HeaderEdit& edit);

/// An answer that we give ourselves: a short plain body that names the cause, and `x-plimsoll-cause`.
struct OwnAnswer {
    std::uint16_t status = 500;
    Cause cause = Cause::internal;
    std::string_view reason{};                  ///< one sentence for people
    const snapshot::ErrorPage* page = nullptr;  ///< instead of the sentence
    bool head_only = false;                     ///< the request was HEAD
};
void draft_own_answer(http::Draft& draft, const OwnAnswer& answer);
/// Its body when there is no page: "no_route: no route matches this host and path\n".
void append_own_text(std::string& out, Cause cause, std::string_view reason);
/// The status for a cause, as docs/formats/access-log.md lists them.
[[nodiscard]] std::uint16_t status_of(Cause cause);

/// "a.example:8443" -> "a.example", "[::1]:80" -> "[::1]".
[[nodiscard]] std::string_view without_port(std::string_view authority);

/// 1 to 128 bytes of letters, digits and "._-:=+/": what a request id may be to be kept.
[[nodiscard]] bool is_sane_request_id(std::string_view id);

}  // namespace plimsoll::proxy
