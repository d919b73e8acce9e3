// Tally: what a worker counts between two hand-overs to control; a fold over Outcomes, mergeable by addition. The
// simulator folds its own Outcomes into the same type, so judges cannot tell the two apart.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "base/outcome.h"
#include "base/time.h"
#include "measure/by_id.h"

namespace plimsoll::measure {

/// Logarithmic histogram of durations: 8 buckets an octave (each 9.1 % wide) from 16.4 us (2^14 ns) to 137 s (2^37 ns);
/// bucket 0 holds what is faster, the last bucket what is slower. Borders are integers and fixed for ever, so
/// histograms of different times and machines add and compare. The sum is exact. `add` is a shift, seven comparisons,
/// one increment and one addition.
class Histogram {
public:
    static constexpr std::size_t buckets = 8 * 23 + 2;
    void add(Duration d, std::uint32_t times = 1);
    void add(const Histogram& other);
    [[nodiscard]] std::uint64_t count() const;
    /// Of all durations, ns; begins anew at 2^64, which is 580 years. Negative ones count as zero.
    [[nodiscard]] std::uint64_t sum_ns() const { return sum_ns_; }
    /// Requests slower than or equal to border k: those in buckets >= k.
    [[nodiscard]] std::uint64_t at_least(std::size_t bucket) const;
    /// The smallest border that at most a (1 - q) part reaches or exceeds; 0 when empty. q in (0, 1).
    [[nodiscard]] Duration quantile(double q) const;
    [[nodiscard]] static std::size_t bucket(Duration d);
    [[nodiscard]] static Duration border(std::size_t bucket);  ///< lower border of the bucket; 0 for bucket 0

private:
    void count_in(std::size_t bucket, std::uint64_t times);
    [[nodiscard]] std::uint64_t in(std::size_t bucket) const {
        return counts_[bucket] + (carried_.empty() ? 0 : std::uint64_t{carried_[bucket]} << 32);
    }

    std::array<std::uint32_t, buckets> counts_{};
    std::vector<std::uint32_t> carried_;  ///< how often each of them went beyond; empty: none ever did
    std::uint64_t sum_ns_ = 0;
};

/// Requests of one arm on one route.
struct RouteTally {
    std::uint64_t requests = 0;
    std::uint64_t failed = 0;      ///< Outcome::failed()
    std::uint64_t status_4xx = 0;  ///< of these, 429 apart:
    std::uint64_t status_429 = 0;
    std::uint64_t status_3xx = 0;
    std::uint64_t no_endpoint = 0;
    std::uint64_t retried = 0;       ///< requests with more than one attempt
    std::uint64_t client_gone = 0;   ///< client_closed or client_timeout
    std::uint64_t rate_limited = 0;  ///< refused by a rate limit of the route
    Histogram total;                 ///< time to the head of the answer (started -> first_byte), answered requests
    Histogram waiting;               ///< age of requests still without an answer at hand-over: a gauge, not a count
    RouteTally& operator+=(const RouteTally& other);
};

/// Attempts of one arm at one endpoint.
struct EndpointTally {
    std::uint64_t picks = 0;             ///< decisions for it: first choices, so retries do not blur the share
    std::uint64_t attempts = 0;          ///< ended attempts
    std::uint64_t connect_failures = 0;  ///< refused, failed, timed out
    std::uint64_t resets = 0;            ///< reset, truncated, protocol, idle
    std::uint64_t timeouts = 0;          ///< try_timeout
    std::uint64_t status_5xx = 0;
    std::uint64_t panic_picks = 0;
    std::uint32_t in_flight = 0;  ///< at hand-over: a gauge
    Histogram first_byte;         ///< of attempts that got a head
    [[nodiscard]] std::uint64_t failures() const { return connect_failures + resets + timeouts + status_5xx; }
    EndpointTally& operator+=(const EndpointTally& other);
};

/// What the candidate would have done with the active arm's requests (shadow); nothing of it was carried out.
struct ShadowTally {
    std::uint64_t decisions = 0;
    std::uint64_t no_route = 0;
    std::uint64_t no_endpoint = 0;
    std::uint64_t route_changed = 0;
    std::uint64_t pool_changed = 0;
    std::uint64_t active_no_route = 0;  ///< of the same requests under the active revision
    ById<std::uint64_t> picks;          ///< by EndpointId
    ById<std::uint64_t> active_picks;   ///< by EndpointId: what the active revision chose for the same requests
    ShadowTally& operator+=(const ShadowTally& other);
};

struct ArmTally {
    ById<RouteTally> routes;        ///< by RouteId
    RouteTally unmatched;           ///< requests that no route matched
    ById<EndpointTally> endpoints;  ///< by EndpointId
    /// Of this route; `unmatched` for none.
    RouteTally& route(RouteId id) { return id == none<RouteId> ? unmatched : routes[id.value]; }
    ArmTally& operator+=(const ArmTally& other);
    [[nodiscard]] RouteTally all_routes() const;
};

/// What HTTP/2 connections of one side saw: http::Http2Counts of a window, as plain numbers, since this room knows no
/// protocol.
struct Http2Tally {
    static constexpr std::size_t limits = 16;  ///< room for http::http2_floods
    std::uint64_t streams = 0, refused = 0, malformed = 0, too_large = 0;
    std::uint64_t resets_received = 0, resets_sent = 0;
    std::uint64_t goaways_received = 0, goaways_sent = 0;
    std::array<std::uint64_t, limits> floods{};  ///< connections ended, by http::Http2Flood
    Http2Tally& operator+=(const Http2Tally& other);
};

struct Tally {
    Instant from, to;
    std::array<ArmTally, 2> arms;  ///< by Arm
    ShadowTally shadow;
    std::uint64_t connections_accepted = 0;
    std::uint64_t connections_refused = 0;  ///< over a limit
    std::uint64_t handshakes = 0;           ///< TLS with clients, failed ones too
    std::uint64_t handshake_failures = 0;
    std::uint64_t proxy_headers_refused = 0;  ///< connections that had to begin with a PROXY header and did not
    std::uint64_t http2_floods = 0;           ///< connections ended for crossing a limit of HTTP/2
    std::uint64_t mirrored = 0;               ///< requests copied to another pool
    std::uint64_t mirrors_skipped = 0;        ///< not copied: too many under way, or the body was too large
    std::uint64_t recording_dropped = 0;      ///< outcomes that the recording had no room for
    std::uint64_t log_dropped = 0;
    std::uint64_t spans_dropped = 0;                          ///< sampled requests that no room was left for
    std::array<std::uint64_t, 3> spoken{};                    ///< requests by Spoken
    std::array<std::uint64_t, cause_count> causes{};          ///< requests by what ended them
    std::array<std::uint64_t, cause_count> attempt_causes{};  ///< attempts by what ended them
    std::array<std::uint64_t, auth_verdict_count> auth{};     ///< requests that had to be authorised, by AuthVerdict
    Http2Tally http2_clients, http2_upstream;
    std::uint64_t queue_waiting = 0;        ///< requests in the pools' lines at hand-over: a gauge
    std::uint64_t tunnels = 0;              ///< open at hand-over: a gauge
    std::uint64_t mirrors = 0;              ///< copies under way at hand-over: a gauge
    Tally& operator+=(const Tally& other);  ///< gauges of `other` replace nothing: they add over workers
};

/// Adds one finished request. Does not know `in_flight`, `waiting` and `panic_picks`: the
/// worker fills those in at hand-over.
void fold(Tally& tally, const Outcome& outcome);

/// Adds a later window to a running sum: counts add, gauges (`in_flight`, `waiting`) are those of the later window.
/// `+=` is for workers at the same moment, this is for moments of the same workers.
void extend(Tally& sum, const Tally& later);

}  // namespace plimsoll::measure
