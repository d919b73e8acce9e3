// The PROXY protocol: who really connected, said by a proxy in front of us before the first byte (and by us to an
// endpoint). Pure: bytes in, a value out. Whether the peer may say so at all is the caller's question (Networks).
// Thread rule: none.
// Source: "The PROXY protocol, versions 1 & 2" (Willy Tarreau, HAProxy Technologies; haproxy doc/proxy-protocol.txt,
// 2020/03/05 with the 2025 additions), section 2; CRC-32C: RFC 9260 appendix A.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "net/address.h"

namespace plimsoll::net {

/// The longest line of version 1 that the specification allows, CRLF included.
inline constexpr std::size_t max_proxy_v1_bytes = 107;
/// Largest header of version 2 that is taken: addresses are at most 216 bytes; what senders add (TLS details, names,
/// cloud endpoint ids) stays below 2 kB. Also how much a stranger can make us keep before he is served.
inline constexpr std::size_t max_proxy_v2_bytes = 4096;

/// What the first bytes of a connection say.
struct ProxyHeader {
    enum class State : std::uint8_t {
        more,     ///< right so far: ask again with more bytes (never asked for beyond the maxima above)
        done,     ///< `consumed` bytes were the header, what follows is the client's
        refused,  ///< not a PROXY header, or a wrong one: close without an answer; `reason` says why
    };
    State state = State::more;
    std::size_t consumed = 0;
    /// Done only. Family none, both, when the sender spoke for itself (LOCAL: a health check) or does not know
    /// (UNKNOWN, UNSPEC, a Unix socket, datagrams): then the connection's own addresses hold. IPv4 mapped into IPv6 has
    /// become IPv4.
    Address source{}, destination{};
    std::string_view reason{};  ///< refused only; a fixed text
    [[nodiscard]] bool known() const { return source.family() != Address::Family::none; }
};

/// `bytes` is everything received so far. Strict: version 1 with single blanks, decimal ports without leading zeros,
/// addresses of the family named; version 2 with assigned commands and families, whole TLVs and, if a CRC-32C is among
/// them, the right one. Other TLVs are skipped. O(length of the header).
[[nodiscard]] ProxyHeader decode_proxy_header(std::string_view bytes);

/// What we say to an endpoint about a client's connection, appended to `out`. An IPv4 and an IPv6 address are both
/// written as IPv6. When either is no IP address: as append_proxy_local.
void append_proxy_v1(std::string& out, const Address& source, const Address& destination);
void append_proxy_v2(std::string& out, const Address& source, const Address& destination);
/// For connections of our own, such as probes: "PROXY UNKNOWN" and the LOCAL command.
void append_proxy_v1_local(std::string& out);
void append_proxy_v2_local(std::string& out);

/// CRC-32C (Castagnoli) of `bytes`, going on from `crc` (0 to begin).
[[nodiscard]] std::uint32_t crc32c(std::string_view bytes, std::uint32_t crc = 0);

}  // namespace plimsoll::net
