// What both sides of HTTP/2 share: limits with their reasons, counters, how a connection ended, and how to tell HTTP/2
// from HTTP/1.1 on a plain listener. Values; no thread rule.
// Source: RFC 9113, 7541, 8441; CVE-2019-9511 to -9518, CVE-2023-44487 (rapid reset), CVE-2024-27316 (CONTINUATION),
// CVE-2025-8671 (MadeYouReset).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.h"
#include "http/limits.h"

namespace plimsoll::http {

/// A connection's bytes so far: is this HTTP/2 by prior knowledge (RFC 9113 3.3)? No request of HTTP/1.1 begins so.
enum class Preface : std::uint8_t { more, yes, no };
inline constexpr std::string_view http2_preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
[[nodiscard]] Preface is_http2_preface(std::string_view so_far);

/// An allowance that is used up by one kind of frame and grows again with time.
struct Http2Rate {
    std::uint32_t burst = 0;
    std::uint32_t per_second = 0;
};

/// Every maximum of one connection. Rates concern what costs the peer nothing and us something; crossing one is GOAWAY
/// ENHANCE_YOUR_CALM.
struct Http2Limits {
    /// Requests at once. Towards clients it also bounds the work behind us: a stream that was reset counts until the
    /// handler has let go of it. Towards endpoints: what we open at most.
    std::uint32_t streams = 100;
    /// Of one head: bytes (name + value + 32 a field, RFC 9113 10.5.1, so a field that costs the peer one byte costs
    /// what it costs us), fields with each cookie crumb, names, values, the target. Over it: 431 or 414 towards a
    /// client, a reset towards an endpoint; over four times it the connection ends.
    HeadLimits head{};
    /// Header sections carry nothing but fields, so their frames are few: at most this many CONTINUATIONs each.
    std::uint32_t continuations = 8;
    std::uint32_t trailer_fields = 32;
    std::uint32_t trailer_bytes = 8 * 1024;
    /// What a peer may send on one stream that nobody takes: 256 KiB keep 40 Mbit/s over 50 ms of round trip.
    std::uint32_t stream_window = 256 * 1024;
    /// The same over all streams, what one connection can make us hold. Server: 4 MiB, so that 16 stalled uploads do
    /// not stop the 17th, and an attacker gets 4 MiB a connection. Client: 0 = streams * stream_window, since streams
    /// belong to different users and one slow reader must never stop another.
    std::uint32_t connection_window = 0;
    std::uint32_t header_table = 4096;  ///< HPACK dynamic table each way, bytes: RFC 9113's own default
    /// What we hold to be written, beyond it send() waits: enough for one large write.
    std::size_t output = 64 * 1024;
    std::uint32_t interim = 16;          ///< 1xx heads before one answer
    std::uint32_t own_answers = 1000;    ///< PING and SETTINGS acks and resets that wait to be written
    Http2Rate resets_received{400, 50};  ///< RST_STREAM: a page left with all its requests is 100
    Http2Rate resets_sent{100, 20};      ///< stream errors that the peer made us send
    Http2Rate settings{50, 5};
    Http2Rate pings{1000, 100};
    Http2Rate priorities{1000, 100};      ///< PRIORITY, PRIORITY_UPDATE; they have no effect here
    Http2Rate window_updates{2000, 200};  ///< and ten more for each DATA frame that we send
    Http2Rate empty_data{100, 10};        ///< DATA without bytes and without end
    Http2Rate glitches{100, 10};          ///< unknown frames, frames on closed streams
    bool connect_protocol = false;        ///< RFC 8441: clients may open tunnels (WebSocket) with extended CONNECT
    Duration idle_timeout = std::chrono::seconds(60);      ///< no stream for this long: GOAWAY and close; 0 = none
    Duration head_timeout = std::chrono::seconds(10);      ///< preface, and first to last frame of a header section
    Duration write_timeout = std::chrono::seconds(30);     ///< the socket takes nothing for this long
    Duration settings_timeout = std::chrono::seconds(10);  ///< our SETTINGS are not acknowledged
    /// With streams open and nothing heard for `ping_interval`: PING; no sign of life within `ping_timeout`: the peer
    /// is dead. 0 = no pings. After `free_pings` since the peer last sent HEADERS or DATA only one each
    /// `quiet_ping_interval`: servers of gRPC end a connection at the third that comes sooner than five minutes after
    /// the one before (grpc/doc/keepalive.md, "too_many_pings").
    Duration ping_interval{};
    std::uint32_t free_pings = 2;
    Duration quiet_ping_interval = std::chrono::seconds(310);
    Duration ping_timeout = std::chrono::seconds(5);
};

/// The limits that end a connection, by name.
enum class Http2Flood : std::uint8_t {
    none,
    resets_received,
    resets_sent,
    settings,
    pings,
    priorities,
    window_updates,
    empty_data,
    glitches,
    continuations,
    header_bytes,
    header_fields,
    own_answers,
};
inline constexpr std::size_t http2_floods = static_cast<std::size_t>(Http2Flood::own_answers) + 1;
/// "resets_received" and so on, as in Http2Limits; "" for none.
[[nodiscard]] std::string_view name(Http2Flood flood);

/// How a connection ended.
struct Http2End {
    enum class Why : std::uint8_t {
        closed,     ///< by the peer, at a point where nothing was owed
        broken,     ///< by the peer, with streams open; or the socket failed
        protocol,   ///< the peer broke HTTP/2: `detail` says how
        flood,      ///< `flood` was crossed
        idle,       ///< idle_timeout
        stalled,    ///< the peer took no bytes for write_timeout, or was too slow with a head, or its SETTINGS
        dead,       ///< no answer to a PING
        shut_down,  ///< asked for, and all streams were finished
        cancelled,  ///< closed by us at once
    };
    Why why = Why::closed;
    Http2Flood flood = Http2Flood::none;
    std::string detail{};  ///< for a log; may be empty
};
[[nodiscard]] std::string_view name(Http2End::Why why);

/// What many connections have seen, added up by their owner; grows only.
struct Http2Counts {
    std::uint64_t streams = 0;          ///< opened: heads whole and valid (server), sent (client)
    std::uint64_t refused = 0;          ///< over `streams`, or after the last GOAWAY: REFUSED_STREAM
    std::uint64_t malformed = 0;        ///< stream errors for a head, trailers or a length that are not valid
    std::uint64_t too_large = 0;        ///< heads answered 431 or 414 by us
    std::uint64_t resets_received = 0;  ///< RST_STREAM
    std::uint64_t resets_sent = 0;      ///< all kinds, ours included
    std::uint64_t goaways_received = 0;
    std::uint64_t goaways_sent = 0;
    std::uint64_t pings_sent = 0;
    std::array<std::uint64_t, http2_floods> floods{};  ///< connections ended, by limit
};

}  // namespace plimsoll::http
