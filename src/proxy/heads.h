// Heads that we write: to endpoints, to clients, and whole answers of our own. Pure; appends to the caller's memory.
// Thread rule: none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/outcome.h"
#include "http/head.h"
#include "http/writer.h"

namespace plimsoll::proxy {

/// What we say about the client to the endpoint.
struct Forwarding {
    std::string_view client;         ///< address of the connection's peer
    bool trust = false;              ///< the peer is a proxy of ours: what it says is kept, and ours is added
    std::string_view request_id;     ///< sane, or generated
    std::string_view fallback_host;  ///< for HTTP/1.0 requests without Host
};
/// The request's head as sent to an endpoint: same method and target, hop-by-hop fields removed, Expect removed (we
/// answer it), X-Forwarded-For/-Proto/-Host, Forwarded and X-Request-Id set.
void append_upstream_head(std::string& out, const http::RequestHead& head, const Forwarding& forwarding);

/// How an answer's body goes on to the client.
struct AnswerFraming {
    http::Framing framing;    ///< as written to the client
    bool keep_alive = false;  ///< the client's connection may be used again after the body
};
/// Chunked bodies need HTTP/1.1; older clients get them until close.
[[nodiscard]] AnswerFraming answer_framing(const http::RequestHead& request, const http::ResponseHead& answer,
                                           bool may_keep);
/// The answer's head as sent to the client.
void append_client_head(std::string& out, const http::RequestHead& request, const http::ResponseHead& answer,
                        const AnswerFraming& framing);

/// An answer that we give ourselves: a short plain body that names the cause, and `x-plimsoll-cause`.
struct OwnAnswer {
    std::uint16_t status = 500;
    Cause cause = Cause::internal;
    std::string_view reason;  ///< one sentence for people
    bool keep_alive = false;
    bool head_only = false;  ///< the request was HEAD
    bool http10 = false;
};
void append_own_answer(std::string& out, const OwnAnswer& answer);
/// The status for a cause, as docs/formats/access-log.md lists them.
[[nodiscard]] std::uint16_t status_of(Cause cause);

/// 1 to 128 bytes of letters, digits and "._-:=+/": what a request id may be to be kept.
[[nodiscard]] bool is_sane_request_id(std::string_view id);
/// The last address in the X-Forwarded-For lines, as sent; empty if there is none.
[[nodiscard]] std::string_view last_forwarded_for(const http::Fields& fields);

}  // namespace plimsoll::proxy
