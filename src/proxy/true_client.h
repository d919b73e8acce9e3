// Who the client is, when trusted proxies stand between it and us. Pure.
// Thread rule: none.
// Source: RFC 7239 (Forwarded); X-Forwarded-For as HAProxy, NGINX (real_ip_recursive) and Envoy read it.
#pragma once

#include <string>

#include "http/fields.h"
#include "net/address.h"
#include "net/networks.h"

namespace plimsoll::proxy {

struct TrueClient {
    net::Address address;  ///< port 0 when a proxy named it without one
    /// The peer is trusted: its X-Forwarded-* and Forwarded lines go on to the endpoint, with the peer appended.
    /// Otherwise all of them are the client's own invention and are replaced.
    bool believed = false;
};

/// Elements of a list that are looked at, from the right: no chain of proxies is longer.
inline constexpr std::size_t max_forwarded_elements = 64;

/// Walks from `peer` to the left through X-Forwarded-For (all lines as one list) as long as each address is in
/// `trusted`; the first that is not, is the client. If all are trusted, the left-most. Anything that is no address
/// ("unknown",
/// "_hidden", garbage) ends the walk at the last address before it. Ports and brackets are understood. Forwarded is
/// read only if there is no X-Forwarded-For: a trusted proxy must set or remove the one that we read.
[[nodiscard]] TrueClient true_client(const net::Address& peer, const http::Fields& fields,
                                     const net::Networks& trusted);

/// What is appended to X-Forwarded-For for this peer: "192.0.2.1", "2001:db8::1"; "unknown" for a Unix socket.
[[nodiscard]] std::string forwarded_for(const net::Address& peer);
/// The same as an element of Forwarded: `for=192.0.2.1`, `for="[2001:db8::1]"`, `for=unknown`.
[[nodiscard]] std::string forwarded_element(const net::Address& peer);

}  // namespace plimsoll::proxy
