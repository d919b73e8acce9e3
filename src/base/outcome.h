// Outcome: the one thing the data plane says. Metrics, passive health, canary, detectors, log and recording are folds
// over it; the simulator emits the same.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/ids.h"
#include "base/time.h"

namespace plimsoll {

/// Why a request or an attempt ended as it did: the closed list of docs/formats/access-log.md. `none` = it was
/// answered.
enum class Cause : std::uint8_t {
    none,
    // the client's side
    bad_request,     ///< not HTTP/1.1 we accept; answered 4xx and closed
    client_closed,   ///< the client went away before the answer was complete
    client_timeout,  ///< the client was too slow to send its request or to take the answer
    // our own side
    no_route,       ///< no route matched; 404
    no_endpoint,    ///< the pool had nobody eligible; 503
    limited,        ///< a limit of the config refused it; 503
    total_timeout,  ///< the whole-request deadline passed; 504
    shutting_down,  ///< the server was told to stop before it could answer; 503
    internal,       ///< a fault of ours; 500
    // the upstream's side
    connect_refused,     ///< 502 if no other endpoint could take it
    connect_failed,      ///< unreachable, no descriptor; 502
    connect_timeout,     ///< 504
    try_timeout,         ///< the per-try deadline passed before the head of the answer; 504
    upstream_reset,      ///< the connection broke before the head of the answer was complete; 502
    upstream_protocol,   ///< the answer was not HTTP/1.1 we accept; 502
    upstream_truncated,  ///< the answer's body broke off; the client's connection was closed to say so
    upstream_idle,       ///< the answer's body stalled longer than the idle timeout
    // later additions; the numbers are kept in recordings, so new ones come at the end
    rate_limited,    ///< ours: a rate limit of the route; 429
    queue_full,      ///< ours: nobody had a place and the queue was full; 503
    queue_timeout,   ///< ours: waited queue_timeout for a place; 503
    overloaded,      ///< ours: memory or descriptors are short; 503 or the connection refused
    not_allowed,     ///< the client's: CONNECT or an upgrade that the route does not allow; 405 or 501
    misdirected,     ///< the client's: asks for a host that its TLS connection was not opened for; 421
    fault_injected,  ///< ours: the route's fault; its status
    tunnel_idle,     ///< nobody's: a tunnel without a byte either way was closed
    upstream_tls,    ///< the upstream's: the TLS handshake with it failed, or its certificate is not right; 502
    auth_denied,     ///< the client's: the route's auth server said no; its answer
    auth_failed,     ///< ours: the route's auth server gave no answer, or one that says nothing; 503
};
inline constexpr std::size_t cause_count = 29;
[[nodiscard]] std::string_view name(Cause cause);
/// True for causes that an endpoint answers for (these count against its passive health).
[[nodiscard]] bool is_upstream(Cause cause);
/// True for what a client has done, whatever it was answered: an unknown version of HTTP is a 505 and no failure of
/// ours.
[[nodiscard]] bool is_client(Cause cause);

/// One try at one endpoint.
struct Attempt {
    EndpointId endpoint = none<EndpointId>;
    Cause cause = Cause::none;
    std::uint16_t status = 0;  ///< 0 = no head arrived
    bool reused = false;       ///< on a pooled connection
    bool panic = false;        ///< at an endpoint that is not healthy, since too few are
    Duration connect{};        ///< 0 when reused; with the TLS handshake
    Duration tls{};            ///< the TLS handshake's part of connect
    Duration first_byte{};     ///< from the attempt's start to the head of the answer; 0 when none came
};

/// At most this many attempts per request, whatever the config says: bounds the record and the retry amplification.
inline constexpr std::size_t max_attempts = 4;

/// What came of asking the server that a route has asked before a request goes on.
enum class AuthVerdict : std::uint8_t {
    allowed,   ///< 2xx
    denied,    ///< 3xx or 4xx: the client got that answer
    failed,    ///< anything else, or no answer: the client got 503
    bypassed,  ///< the same, and the route lets requests go on then
    dropped,   ///< the request ended while it was asked: client gone, total timeout, shutdown
};
inline constexpr std::size_t auth_verdict_count = 5;
[[nodiscard]] std::string_view name(AuthVerdict verdict);

struct AuthOutcome {
    AuthVerdict verdict = AuthVerdict::dropped;
    Cause cause = Cause::none;  ///< why there was no answer; none = there was one
    std::uint8_t attempt_count = 0;
    std::array<Attempt, max_attempts> attempt{};  ///< at the auth server's pool
    Duration took{};
    std::string_view pool, endpoint;  ///< names; of the last attempt
    [[nodiscard]] std::span<const Attempt> attempts() const { return {attempt.data(), attempt_count}; }
};

/// What was spoken with the client.
enum class Spoken : std::uint8_t { http1, http2, tcp };
[[nodiscard]] std::string_view name(Spoken spoken);

/// W3C trace context of a request (https://www.w3.org/TR/trace-context/). All zero = none.
struct Trace {
    std::array<std::uint8_t, 16> trace_id{};
    std::array<std::uint8_t, 8> span_id{};    ///< ours: the endpoint's parent
    std::array<std::uint8_t, 8> parent_id{};  ///< the caller's; zero = ours is the root
    bool sampled = false;
};

/// What became of one client request. Views are valid only during the call that hands the Outcome over.
struct Outcome {
    RevisionNumber revision;
    Arm arm = Arm::active;
    WorkerIndex worker;
    RouteId route = none<RouteId>;
    PoolId pool = none<PoolId>;
    std::uint16_t status = 0;   ///< what the client was sent (see grpc_status); 0 = nothing
    Cause cause = Cause::none;  ///< of the request as a whole
    /// Of a gRPC answer that an endpoint gave, as far as it was seen; -1 = none. Where it is not OK, `status` here and
    /// of the attempt is the HTTP status that it amounts to.
    std::int8_t grpc_status = -1;
    std::uint8_t attempt_count = 0;
    std::array<Attempt, max_attempts> attempt{};
    Instant started;        ///< first byte of the request head seen
    Duration queue{};       ///< waiting for an endpoint or connection slot
    Duration tls{};         ///< the client's TLS handshake; on the first request of a connection only
    Duration first_byte{};  ///< started -> head of the answer sent to the client
    Duration total{};       ///< started -> last byte sent, or the end
    std::uint32_t request_head_bytes = 0;
    std::uint32_t response_head_bytes = 0;
    std::uint64_t request_body_bytes = 0;
    std::uint64_t response_body_bytes = 0;
    std::uint64_t client_key = 0;    ///< keyed hash of the client address; never the address itself
    std::uint64_t affinity_key = 0;  ///< keyed hash that chose the arm (and the endpoint, for hash policies)
    Spoken spoken = Spoken::http1;
    bool tunnel = false;  ///< it became a tunnel (101, CONNECT, TCP): total is the tunnel's life
    Trace trace;
    const AuthOutcome* auth = nullptr;  ///< null = the route asks nobody
    std::string_view method, host, path, client, request_id, listener;

    [[nodiscard]] std::span<const Attempt> attempts() const { return {attempt.data(), attempt_count}; }
    /// The endpoint of the last attempt, or none.
    [[nodiscard]] EndpointId endpoint() const {
        return attempt_count == 0 ? none<EndpointId> : attempt[attempt_count - 1u].endpoint;
    }
    /// Client-visible failure that is not the client's own doing: 5xx, cut answer, timeout.
    [[nodiscard]] bool failed() const {
        if (is_client(cause) || (cause == Cause::no_route && status < 500)) return false;
        return status >= 500 || cause == Cause::upstream_truncated || cause == Cause::upstream_idle ||
               (status == 0 && !tunnel);
    }
};

}  // namespace plimsoll
