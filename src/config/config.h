// What an operator may write, as values. Every field has its default here; docs/formats/config.md and the JSON Schema
// come from the same definition (schema.cpp). Durations are nanoseconds, shares and fractions in [0, 1].
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/finding.h"
#include "base/result.h"
#include "base/time.h"

namespace plimsoll::config {

using namespace std::chrono_literals;

/// "127.0.0.1:8080", "[::1]:8080". Host is a literal address; names are for `discovery`.
struct Address {
    std::string host;
    std::uint16_t port = 0;
    friend auto operator<=>(const Address&, const Address&) = default;
};
[[nodiscard]] std::string text(const Address& address);
[[nodiscard]] Result<Address> parse_address(std::string_view text);
/// "10.0.0.0/8", "::1/128" from "10.0.0.0/8", "::1": the one form of a network. Bits beyond the length are refused.
[[nodiscard]] Result<std::string> parse_network(std::string_view text);

/// Memory that one compiled regex may take (RE2's max_mem). What parse accepts compiles within it.
inline constexpr std::int64_t max_regex_bytes = 1 << 20;

/// All that a client may do to a listener before it is refused. Maxima exist because memory does.
struct ListenerLimits {
    std::uint32_t max_connections = 10'000;         ///< per listener, over all workers
    std::uint32_t max_head_bytes = 16 * 1024;       ///< request line and headers; 431 beyond
    std::uint32_t max_headers = 100;                ///< 431 beyond
    std::uint64_t max_body_bytes = 0;               ///< 413 beyond; 0 = no limit
    std::uint32_t max_streams = 100;                ///< HTTP/2: requests at once on one connection
    std::uint32_t max_requests_per_connection = 0;  ///< then the client is told to open another; 0 = no limit
    Duration max_connection_age{};                  ///< the same by age; 0 = no limit
    friend bool operator==(const ListenerLimits&, const ListenerLimits&) = default;
};

/// A certificate with its key, as PEM files; read when a config is checked and when it is applied.
struct Certificate {
    std::string name;
    std::string chain;   ///< file: the leaf first, then intermediates
    std::string key;     ///< file
    std::string ocsp{};  ///< file with the response to staple, DER; empty = none
    friend bool operator==(const Certificate&, const Certificate&) = default;
};

enum class TlsVersion : std::uint8_t { tls12, tls13 };
enum class ClientAuth : std::uint8_t { none, optional, required };

/// TLS towards clients.
struct ListenerTls {
    std::vector<std::string> certificates;  ///< names; chosen by SNI, the first when none fits
    TlsVersion min_version = TlsVersion::tls12;
    ClientAuth client_auth = ClientAuth::none;
    std::string client_ca;        ///< file: whose client certificates are taken
    bool session_tickets = true;  ///< resumption without state on our side
    friend bool operator==(const ListenerTls&, const ListenerTls&) = default;
};

/// What a TCP listener does with a connection. The first that matches wins.
struct TcpRoute {
    std::string sni;  ///< server name in the ClientHello: exact or "*.example.com"; empty = every connection
    std::string pool;
    friend bool operator==(const TcpRoute&, const TcpRoute&) = default;
};

enum class Protocol : std::uint8_t { http, tcp };

struct Listener {
    std::string name;
    Address address;
    Protocol protocol = Protocol::http;
    bool http2 = true;                             ///< by ALPN with TLS, by prior knowledge without
    std::optional<ListenerTls> tls;                ///< `tls: off` = plain
    std::vector<TcpRoute> tcp;                     ///< for protocol tcp
    Duration idle_timeout = 60s;                   ///< a kept-alive connection without a request
    Duration head_timeout = 10s;                   ///< first byte to end of head
    Duration body_idle_timeout = 30s;              ///< between two reads of a body, or two writes of an answer
    std::vector<std::string> trusted_proxies;      ///< networks whose X-Forwarded-For and Forwarded are believed
    std::vector<std::string> proxy_protocol_from;  ///< networks whose connections begin with a PROXY header (v1, v2)
    ListenerLimits limits;
    friend bool operator==(const Listener&, const Listener&) = default;
};

/// A condition on a header or a query parameter. With neither exact nor regex: it is there.
struct FieldMatch {
    std::string name;
    std::optional<std::string> exact;
    std::optional<std::string> regex;  ///< RE2, of the whole value
    bool invert = false;               ///< the condition must not hold
    friend bool operator==(const FieldMatch&, const FieldMatch&) = default;
};

/// All given conditions must hold. At most one of path, path_prefix and path_regex.
struct Match {
    std::optional<std::string> host;          ///< exact or "*.example.com", case-insensitive, without port
    std::optional<std::string> path;          ///< exact, as sent, before '?'
    std::optional<std::string> path_prefix;   ///< by whole segments: "/api" matches "/api" and "/api/x", not "/apix"
    std::optional<std::string> path_regex{};  ///< RE2, of the whole path before '?'
    std::vector<std::string> listeners{};     ///< names; none = all
    std::vector<std::string> methods{};       ///< none = all
    std::vector<FieldMatch> headers{};        ///< all must hold; each value and the joined one are looked at
    std::vector<FieldMatch> query{};          ///< parameters, percent-decoded
    friend bool operator==(const Match&, const Match&) = default;
};

/// One part of a weighted split.
struct Target {
    std::string pool;
    double weight = 1;
    friend bool operator==(const Target&, const Target&) = default;
};

/// Parts that are not given stay as they were asked for.
struct Redirect {
    std::uint16_t status = 308;
    std::string scheme;       ///< "https"
    std::string host;         ///< may have a port
    std::string path;         ///< the whole path
    std::string path_prefix;  ///< replaces the route's path_prefix
    bool strip_query = false;
    friend bool operator==(const Redirect&, const Redirect&) = default;
};

/// An answer without a server behind it.
struct Respond {
    std::uint16_t status = 200;
    std::string body;
    std::string content_type = "text/plain; charset=utf-8";
    friend bool operator==(const Respond&, const Respond&) = default;
};

/// What the server is asked for instead. At most one of path, path_prefix and regex.
struct Rewrite {
    std::string host;
    std::string path;
    std::string path_prefix;   ///< replaces the route's path_prefix
    std::string regex;         ///< RE2, first match in the path is replaced
    std::string substitution;  ///< \\1 to \\9 are groups
    friend bool operator==(const Rewrite&, const Rewrite&) = default;
};

/// In this order: remove, set, add. Values are literal text.
struct HeaderEdit {
    std::vector<std::string> remove;
    std::map<std::string, std::string> set;
    std::map<std::string, std::string> add;
    friend bool operator==(const HeaderEdit&, const HeaderEdit&) = default;
};

/// Instead of our own short text, for answers that we give ourselves.
struct ErrorPage {
    std::uint16_t status = 503;
    std::string body;
    std::string content_type = "text/html; charset=utf-8";
    friend bool operator==(const ErrorPage&, const ErrorPage&) = default;
};

/// A copy of the request to another pool; its answer is thrown away and nobody waits for it.
struct Mirror {
    std::string pool;
    double share = 1;
    friend bool operator==(const Mirror&, const Mirror&) = default;
};

/// What becomes of a request whose auth server gives no answer.
enum class OnFailure : std::uint8_t { deny, allow };

/// A server that is asked whether a request may go on, before it does.
struct Auth {
    std::string pool;
    std::string path;       ///< that is asked for, with a query if need be; empty = as the client asked
    std::string host;       ///< Host that is asked for; empty = as the client asked
    Duration timeout = 1s;  ///< for its whole answer, over all attempts
    std::vector<std::string> request_headers;   ///< of the client's, sent to it; none = all but those of the body
    std::vector<std::string> upstream_headers;  ///< of a 2xx, put into the request in place of the client's own
    std::vector<std::string> client_headers;    ///< of a 2xx, put into the answer to the client
    OnFailure on_failure = OnFailure::deny;
    friend bool operator==(const Auth&, const Auth&) = default;
};

/// Trouble on purpose.
struct Fault {
    Duration delay{};
    double delay_share = 0;
    std::uint16_t abort_status = 503;
    double abort_share = 0;
    friend bool operator==(const Fault&, const Fault&) = default;
};

enum class RateKey : std::uint8_t { client, header, route };

/// Of one route at most: all are asked at once, in memory that is there.
inline constexpr std::size_t max_rate_limits = 16;
/// Token bucket; 429 beyond.
struct RateLimit {
    RateKey by = RateKey::client;
    std::string header;  ///< for by: header; requests without it share one bucket
    double rate = 100;   ///< requests/s, over all workers
    double burst = 100;  ///< requests
    friend bool operator==(const RateLimit&, const RateLimit&) = default;
};

/// Whose Early Hints (103) are passed on: those of clients that speak HTTP/2, of all, of nobody.
enum class EarlyHints : std::uint8_t { http2, all, off };
/// What becomes of trailers, but for those from HTTP/2 to HTTP/2, which always pass.
enum class Trailers : std::uint8_t { drop, pass };

/// The first route in file order that matches wins. It has exactly one of pool, split, redirect and respond.
struct Route {
    std::string name;
    Match match;
    std::string pool;
    std::vector<Target> split{};
    std::optional<Redirect> redirect{};
    std::optional<Respond> respond{};
    std::map<std::string, std::string> subset{};  ///< only endpoints with these labels
    std::optional<Rewrite> rewrite{};
    HeaderEdit request_headers{};
    HeaderEdit response_headers{};
    std::vector<ErrorPage> error_pages{};
    std::optional<Auth> auth{};
    std::optional<Mirror> mirror{};
    std::optional<Fault> fault{};
    std::vector<RateLimit> rate_limits{};
    std::optional<Duration> timeout{};    ///< instead of the pool's timeouts.total
    std::vector<std::string> upgrades{};  ///< protocols that may be upgraded to: "websocket"
    bool connect = false;                 ///< CONNECT opens a tunnel to the pool
    EarlyHints early_hints = EarlyHints::http2;
    Trailers trailers = Trailers::drop;
    friend bool operator==(const Route&, const Route&) = default;
};

struct Endpoint {
    std::string name;  ///< defaults to the address
    Address address;
    double weight = 1;
    std::optional<double> capacity;  ///< requests/s
    std::string zone;
    std::uint32_t priority = 0;  ///< 0 is used first; others as those before them fail
    std::map<std::string, std::string> labels;
    std::string tls_name{};  ///< not written: the name it was found by, for SNI and verification; empty = none
    friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

enum class Policy : std::uint8_t {
    round_robin,
    least_request,
    peak_ewma,
    prequal,
    maglev,
    ring_hash,
    rendezvous,
    random,
};

enum class HashBy : std::uint8_t { client, header, cookie, path };

/// What the hashing policies (maglev, ring_hash, rendezvous) go by.
struct Hash {
    HashBy by = HashBy::client;
    std::string name;         ///< of the header or cookie; requests without it go by lot
    double bounded_load = 0;  ///< nobody gets more than this times the average in flight; 0 = off, else above 1
    friend bool operator==(const Hash&, const Hash&) = default;
};

enum class CheckType : std::uint8_t { http, tcp, grpc };

struct HealthCheck {
    CheckType type = CheckType::http;
    std::string path = "/healthz";
    std::string host;     ///< Host to ask for; empty = the address
    std::string service;  ///< for grpc: the service asked about; empty = the server as a whole
    double jitter = 0.1;  ///< of the interval, so that probes do not march in step
    Duration interval = 2s;
    Duration timeout = 1s;
    std::uint32_t rise = 2;
    std::uint32_t fall = 3;
    std::uint16_t expect_status = 200;
    friend bool operator==(const HealthCheck&, const HealthCheck&) = default;
};

struct Timeouts {
    Duration connect = 500ms;
    Duration per_try = 5s;          ///< until the head of the answer
    Duration total = 15s;           ///< until the head of the answer, over all attempts
    Duration idle = 30s;            ///< an answer's body that stalls
    Duration tunnel_idle = 1h;      ///< a tunnel (WebSocket, CONNECT, TCP) without a byte either way
    std::string deadline_header{};  ///< tells an endpoint how many milliseconds are left for its answer; empty = none
    friend bool operator==(const Timeouts&, const Timeouts&) = default;
};

struct Retry {
    std::uint32_t attempts = 2;                                  ///< in all; 1 = none; at most plimsoll::max_attempts
    std::vector<std::string> on = {"connect_failure", "reset"};  ///< of connect_failure, reset, timeout, status_5xx
    double budget = 0.2;
    double min_per_second = 3;
    bool non_idempotent = false;
    friend bool operator==(const Retry&, const Retry&) = default;
};

struct Ejection {
    bool enabled = true;
    std::uint32_t consecutive = 5;
    Duration base = 10s;
    double max_fraction = 0.34;
    bool success_rate = false;         ///< also by comparing success rates over `interval`
    double stdev_factor = 1.9;         ///< below mean - factor * standard deviation of the pool's rates is out
    std::uint32_t min_requests = 100;  ///< per endpoint and interval, to be compared
    std::uint32_t min_endpoints = 5;   ///< with that many requests, for a comparison at all
    Duration interval = 10s;
    friend bool operator==(const Ejection&, const Ejection&) = default;
};

struct PoolLimits {
    std::uint32_t max_in_flight_per_endpoint = 0;      ///< over all workers; 0 = no limit
    std::uint32_t idle_connections_per_endpoint = 64;  ///< kept for reuse, per worker
    Duration keepalive_idle = 30s;                     ///< a pooled connection unused this long is closed
    std::uint32_t max_in_flight = 0;                   ///< of the whole pool, over all workers; 0 = no limit
    std::uint32_t max_connections_per_endpoint = 0;    ///< over all workers; 0 = no limit
    std::uint32_t queue = 0;                        ///< requests that may wait for a place, over all workers; 0 = none
    Duration queue_timeout = 1s;                    ///< then 503
    std::uint32_t max_requests_per_connection = 0;  ///< then another connection is opened; 0 = no limit
    Duration max_connection_age{};                  ///< the same by age; 0 = no limit
    std::uint32_t max_streams = 100;                ///< HTTP/2: requests at once on one connection
    friend bool operator==(const PoolLimits&, const PoolLimits&) = default;
};

/// TLS towards endpoints.
struct PoolTls {
    std::string
        server_name;  ///< asked for by SNI and verified; empty = the endpoint's discovery name or the Host asked
    bool verify = true;
    std::string ca;           ///< file; empty = the system's
    std::string certificate;  ///< name: shown to endpoints that ask for one
    TlsVersion min_version = TlsVersion::tls12;
    friend bool operator==(const PoolTls&, const PoolTls&) = default;
};

enum class PoolProtocol : std::uint8_t { http1, http2 };
enum class ProxyProtocol : std::uint8_t { off, v1, v2 };

/// A client stays with its endpoint by a signed cookie.
struct Affinity {
    std::string cookie = "plimsoll";
    Duration ttl{};      ///< 0 = until the browser closes
    std::string secret;  ///< signs the cookie; the same everywhere the cookie shall hold
    friend bool operator==(const Affinity&, const Affinity&) = default;
};

/// Adaptive concurrency: the pool's limit follows the ratio of the best to the present latency (gradient).
struct Adaptive {
    std::uint32_t min = 10;  ///< requests in flight at one endpoint, over all workers
    std::uint32_t max = 1000;
    double tolerance = 1.5;  ///< latency may be this many times the best before the limit shrinks
    friend bool operator==(const Adaptive&, const Adaptive&) = default;
};

enum class DiscoveryType : std::uint8_t { dns, srv, file };

/// Endpoints that are found rather than written. Those written in `endpoints` stay beside them.
struct Discovery {
    DiscoveryType type = DiscoveryType::dns;
    std::string name;                ///< for dns and srv
    std::uint16_t port = 80;         ///< for dns
    std::string file;                ///< for file: YAML or JSON list of {address, weight, zone, ...} as in `endpoints`
    Duration refresh = 5s;           ///< at least this often; a shorter TTL is not followed below 1 s
    double capacity = 0;             ///< requests/s of each found endpoint; 0 = not declared
    Duration max_divergence = 1min;  ///< wanted and serving may differ this long before it is a signal
    std::vector<std::string> resolvers;  ///< addresses of name servers; none = the system's
    friend bool operator==(const Discovery&, const Discovery&) = default;
};

struct Pool {
    std::string name;
    Policy policy = Policy::least_request;
    std::vector<Endpoint> endpoints;
    std::optional<HealthCheck> health = HealthCheck{};  ///< `health: off` = none
    double panic_threshold = 0.5;
    Timeouts timeouts;
    Retry retry;
    Ejection ejection;
    PoolLimits limits;
    PoolProtocol protocol = PoolProtocol::http1;
    std::optional<PoolTls> tls;  ///< `tls: off` = plain
    ProxyProtocol proxy_protocol = ProxyProtocol::off;
    Hash hash;
    Duration ewma_decay = 10s;  ///< peak_ewma: how long a slow answer is held against an endpoint
    Duration slow_start{};      ///< a new or returned endpoint's weight grows over this; 0 = off
    bool zone_aware = false;    ///< prefer endpoints of our own zone as far as they can carry their part
    std::optional<Affinity> affinity;
    std::optional<Adaptive> adaptive;
    std::optional<Discovery> discovery;
    friend bool operator==(const Pool&, const Pool&) = default;
};

/// How a change is let in, and what stops it.
struct Guard {
    std::vector<double> steps = {0.01, 0.05, 0.25, 0.5, 1.0};  ///< shares of requests, ascending, last is 1
    Duration min_step = 10s;               ///< a step lasts at least this long, whatever the evidence
    Duration max_step = 10min;             ///< without evidence either way by then, the change is undone
    Duration shadow = 5s;                  ///< candidate decides, active serves
    std::uint32_t shadow_decisions = 200;  ///< and at least this many decisions, within max_step
    Duration soak = 10min;  ///< the new revision serves, the old one keeps `hold_back`; then last known good
    double hold_back = 0.02;
    double utilisation_cap = 0.8;   ///< of declared capacity, per endpoint, at the recorded peak
    double harm_budget = 0.0005;    ///< fraction of all requests that a step may harm before it is ruled out
    double alpha = 0.001;           ///< chance that a harmless change is undone, per change
    Duration recovery_window = 3s;  ///< this long within the base band proves recovery
    friend bool operator==(const Guard&, const Guard&) = default;
};

struct Webhook {
    std::string name;
    std::string url;     ///< http://host:port/path in this version
    std::string secret;  ///< Standard Webhooks signing secret; printed as "(set)"
    friend bool operator==(const Webhook&, const Webhook&) = default;
};

struct RecordingSettings {
    bool enabled = true;
    Duration keep = 10min;  ///< rolling window
    std::uint64_t max_bytes = 256ull << 20;
    friend bool operator==(const RecordingSettings&, const RecordingSettings&) = default;
};

struct Admin {
    Address address{"127.0.0.1", 9900};
    std::string socket;  ///< Unix socket path; empty = STATE_DIR/admin.sock
    friend bool operator==(const Admin&, const Admin&) = default;
};

/// Spans by OTLP/HTTP (JSON).
struct Tracing {
    std::string url;       ///< http://host:port/v1/traces
    double sample = 0.01;  ///< of requests that no caller has decided about
    std::string service = "plimsoll";
    friend bool operator==(const Tracing&, const Tracing&) = default;
};

enum class LogFormat : std::uint8_t { json, text };

struct Config {
    std::vector<Certificate> certificates;  ///< written as a map
    std::vector<Listener> listeners;
    std::vector<Route> routes;  ///< order is meaning
    std::vector<Pool> pools;    ///< written as a map; kept in file order
    Guard guard;
    Admin admin;  ///< read at start only; a change to it is a finding that says so
    RecordingSettings recording;
    std::vector<ErrorPage> error_pages;
    std::string access_log;  ///< path, "-" for standard output, empty = off
    LogFormat access_log_format = LogFormat::json;
    std::optional<Tracing> tracing;
    std::string zone;              ///< where this server stands
    double zone_traffic = 0;       ///< part of all requests that arrives at servers of our zone; 0 = not known
    std::uint64_t max_memory = 0;  ///< bytes in use beyond which new connections are refused; 0 = the cgroup's own
    std::vector<Webhook> notify;
    std::uint32_t workers = 0;  ///< 0 = one per core; read at start only
    friend bool operator==(const Config&, const Config&) = default;
};

/// Where each written item stands: config path ("pools.web.endpoints[3].weight") -> place. Items that were not written
/// are absent; `where` answers with the nearest written parent.
class Sources {
public:
    /// Makes room for so many places, so that adding them costs no more than it must.
    void reserve(std::size_t places);
    /// The first place of a path counts. All places are in one file.
    void add(std::string_view path, const Where& where);
    [[nodiscard]] Where where(std::string_view path) const;
    [[nodiscard]] bool written(std::string_view path) const;

private:
    struct Place {
        std::uint64_t hash = 0;  ///< 0 = free
        int line = 0, column = 0;
    };
    /// Where the path is, or would go. The table is never full.
    [[nodiscard]] std::size_t slot(std::uint64_t hash) const;
    [[nodiscard]] const Place* find(std::string_view path) const;

    std::string file_;
    /// Open addressing by a 64-bit hash of the path: a large file has a hundred thousand paths, and their text is not
    /// needed again. A power of two in size, at most half full.
    std::vector<Place> places_;
    std::size_t used_ = 0;
};

/// A config together with the text it came from.
struct Document {
    Config config;
    Sources sources;
    std::string file;  ///< as the operator named it
    std::string text;
};

/// The listener that a request to this address comes back to: its own address, or loopback where it takes every one.
/// Null: none of ours.
[[nodiscard]] const Listener* own_listener(const Config& config, const Address& address);

/// What came of reading: a document if no finding is an error; findings in any case, all of them, in file order.
struct Parsed {
    std::optional<Document> document;
    Findings findings;
};
/// Reads YAML. Never throws. Unknown keys (with the nearest right key), wrong types, bad values, duplicate names and
/// dangling references are findings; so are YAML syntax errors. An input above 16 MiB or deeper than 64 is refused.
[[nodiscard]] Parsed parse(std::string_view yaml, std::string file);

/// The whole config with every default filled in, as YAML that parses back to the same Config. Secrets as given;
/// use `redacted` before showing it to people.
[[nodiscard]] std::string print(const Config& config);
[[nodiscard]] Config redacted(Config config);
/// SHA-256 of print(config): same meaning, same digest, whatever the comments and order of keys.
[[nodiscard]] std::string digest(const Config& config);
/// JSON Schema (draft 2020-12) of the file format, generated from the same definition as the parser.
[[nodiscard]] std::string json_schema();

/// One item that differs between two effective configs.
struct Difference {
    enum class Kind : std::uint8_t { added, removed, changed } kind = Kind::changed;
    std::string path;  ///< identity-based: "pools.web.endpoints[b3].weight", "routes[api].pool"; order: "routes.order"
    std::string before;        ///< printed value; empty when added
    std::string after;         ///< printed value; empty when removed
    bool now_default = false;  ///< the key was deleted (or never written) and the default applies after the change
    Where where;               ///< in the proposed file
    friend bool operator==(const Difference&, const Difference&) = default;
};
/// All differences between effective values. `after` supplies places and whether a value is only a default.
[[nodiscard]] std::vector<Difference> diff(const Config& before, const Document& after);

}  // namespace plimsoll::config
