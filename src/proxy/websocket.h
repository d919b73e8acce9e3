// WebSocket handshakes between HTTP/1.1 (Upgrade, RFC 6455) and HTTP/2 (extended CONNECT, RFC 8441), which has no keys.
// Pure. Thread rule: none.
#pragma once

#include <string>
#include <string_view>

#include "base/random.h"
#include "http/draft.h"
#include "http/head.h"

namespace plimsoll::proxy {

/// Towards an HTTP/1.1 endpoint: a Sec-WebSocket-Key if the client (of HTTP/2) sent none.
void websocket_request(http::Draft& draft, const http::RequestHead& head, Random& random);
/// Towards a client of HTTP/1.1 whose endpoint speaks HTTP/2: the Sec-WebSocket-Accept for its key (RFC 6455 4.2.2).
[[nodiscard]] std::string websocket_accept(std::string_view key);
/// Whether a TE line asks for trailers, as gRPC clients must.
[[nodiscard]] bool asks_for_trailers(const http::Fields& fields);

}  // namespace plimsoll::proxy
