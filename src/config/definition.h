// The file format, once: name, unit, bounds and meaning of every key. The parser, the printer, the JSON Schema and the
// reference page are visitors of these functions, so they cannot drift apart. Private to this room.
//
// A visitor V offers
//   leaf(key, value, rule, doc)          bool, counts, double, Duration, Address, text, choices, lists and maps of text
//   object(key, value, doc)              a section with a fixed set of keys
//   object_or_off(key, optional, doc)    the same, or the word `off`
//   list(key, vector, rule, doc)         `- {...}` in order
//   named(key, vector, rule, doc)        a map keyed by the elements' `name`, in file order
#pragma once

#include <array>
#include <concepts>
#include <limits>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/outcome.h"
#include "config/config.h"

namespace plimsoll::config {

/// How a leaf is written.
enum class As : std::uint8_t {
    plain,         ///< by its C++ type alone
    bytes,         ///< "16KiB"
    fraction,      ///< "20%" or 0.2
    name,          ///< letters, digits, '_', '-'
    item_name,     ///< as name, and '.', ':', '/', '[', ']'
    host,          ///< a host name without port
    path,          ///< begins with '/'
    target,        ///< the same, and a query if need be
    file,          ///< a file name, "-" or empty
    http_url,      ///< http://host:port/path
    address,       ///< "127.0.0.1:8080"; the port may be 0
    peer_address,  ///< the same, port 1 to 65535
    network,       ///< "10.0.0.0/8", "::1", "0.0.0.0/0"
    host_pattern,  ///< a host name, or "*." and a host name
    host_port,     ///< a host name or address, with or without a port
    header_name,   ///< an RFC 9110 token
    header_value,  ///< no control bytes
    regex,         ///< RE2 syntax, size bounded
    any_text,      ///< whatever it says
    secret,        ///< as any_text; never shown, differences say only that it changed
};

struct Rule {
    As as = As::plain;
    std::string_view unit = {};                            ///< for people: "requests/s"
    double min = 0;                                        ///< inclusive; durations in seconds
    double max = std::numeric_limits<double>::infinity();  ///< of text: bytes; infinite = max_text
    bool required = false;
    bool ascending = false;              ///< lists of numbers
    std::string_view default_text = {};  ///< when the default is not a value but a rule: "the address"
    std::span<const std::string_view> choices = {};
};

inline constexpr std::array<std::string_view, 4> retry_conditions{"connect_failure", "reset", "timeout", "status_5xx"};

/// The words of an enumeration, by its values.
template <class E>
struct Words;
#define PLIMSOLL_WORDS(TYPE, ...)                                                 \
    template <>                                                                   \
    struct Words<TYPE> {                                                          \
        static constexpr auto all = std::to_array<std::string_view>(__VA_ARGS__); \
    }
PLIMSOLL_WORDS(Policy,
               {"round_robin", "least_request", "peak_ewma", "prequal", "maglev", "ring_hash", "rendezvous", "random"});
PLIMSOLL_WORDS(TlsVersion, {"1.2", "1.3"});
PLIMSOLL_WORDS(ClientAuth, {"none", "optional", "required"});
PLIMSOLL_WORDS(Protocol, {"http", "tcp"});
PLIMSOLL_WORDS(EarlyHints, {"http2", "all", "off"});
PLIMSOLL_WORDS(Trailers, {"drop", "pass"});
PLIMSOLL_WORDS(RateKey, {"client", "header", "route"});
PLIMSOLL_WORDS(OnFailure, {"deny", "allow"});
PLIMSOLL_WORDS(HashBy, {"client", "header", "cookie", "path"});
PLIMSOLL_WORDS(CheckType, {"http", "tcp", "grpc"});
PLIMSOLL_WORDS(PoolProtocol, {"http1", "http2"});
PLIMSOLL_WORDS(ProxyProtocol, {"off", "v1", "v2"});
PLIMSOLL_WORDS(DiscoveryType, {"dns", "srv", "file"});
PLIMSOLL_WORDS(LogFormat, {"json", "text"});
#undef PLIMSOLL_WORDS
template <class E>
concept Choice = std::is_enum_v<E> && requires { Words<E>::all; };
inline constexpr double max_text = 4096;         ///< bytes of an ordinary text
inline constexpr double max_body_text = 65'536;  ///< bytes of an answer or page of our own: each worker keeps it
inline constexpr double day_s = 86'400;
inline constexpr double hour_s = 3'600;

template <class T, class U>
concept Of = std::same_as<std::remove_const_t<T>, U>;

template <class V, Of<ListenerLimits> T>
void describe(V& v, T& t) {
    v.leaf("max_connections", t.max_connections, {.unit = "connections", .min = 1, .max = 1e6},
           "Open client connections over all workers; beyond it new ones are refused.");
    v.leaf("max_head_bytes", t.max_head_bytes, {.as = As::bytes, .min = 256, .max = 1 << 20},
           "Request line and headers together; 431 beyond.");
    v.leaf("max_headers", t.max_headers, {.unit = "headers", .min = 1, .max = 1000}, "Header lines; 431 beyond.");
    v.leaf("max_body_bytes", t.max_body_bytes, {.as = As::bytes, .max = 0x1p50},
           "Request body; 413 beyond. 0 = no limit.");
    v.leaf("max_streams", t.max_streams, {.unit = "requests", .min = 1, .max = 10'000},
           "HTTP/2: requests at once on one connection.");
    v.leaf("max_requests_per_connection", t.max_requests_per_connection, {.unit = "requests", .max = 1e9},
           "Then the client is told to open another connection. 0 = no limit.");
    v.leaf("max_connection_age", t.max_connection_age, {.max = 30 * day_s}, "The same by age. 0 = no limit.");
}

template <class V, Of<Certificate> T>
void describe(V& v, T& t) {
    v.leaf("chain", t.chain, {.as = As::file, .required = true},
           "PEM file: the certificate, then the intermediates up to the root.");
    v.leaf("key", t.key, {.as = As::file, .required = true}, "PEM file with its private key.");
    v.leaf("ocsp", t.ocsp, {.as = As::file, .default_text = "none"},
           "File with the authority's OCSP response (DER), stapled while it is valid. Something else has to renew it.");
}

template <class V, Of<ListenerTls> T>
void describe(V& v, T& t) {
    v.leaf("certificates", t.certificates, {.as = As::name, .required = true},
           "Names of `certificates`; the server name asked for chooses, the first answers when none fits.");
    v.leaf("min_version", t.min_version, {}, "Oldest TLS version taken.");
    v.leaf("client_auth", t.client_auth, {}, "Whether clients show a certificate.");
    v.leaf("client_ca", t.client_ca, {.as = As::file, .default_text = "none"},
           "PEM file: the authorities whose client certificates are taken.");
    v.leaf("session_tickets", t.session_tickets, {}, "Let clients resume sessions.");
}

template <class V, Of<TcpRoute> T>
void describe(V& v, T& t) {
    v.leaf("sni", t.sni, {.as = As::host_pattern, .default_text = "every connection"},
           "Server name in the TLS greeting, which is not terminated: exact, or *.example.com.");
    v.leaf("pool", t.pool, {.as = As::name, .required = true}, "The pool that gets the connection.");
}

template <class V, Of<Listener> T>
void describe(V& v, T& t) {
    v.leaf("address", t.address, {.as = As::address, .required = true},
           "Where clients connect: a literal address and a port.");
    v.leaf("protocol", t.protocol, {}, "http, or tcp: bytes are passed on as they are.");
    v.leaf("http2", t.http2, {}, "Speak HTTP/2: by ALPN with TLS, by prior knowledge without.");
    v.object_or_off("tls", t.tls, "TLS towards clients; `off` = plain.");
    v.list("tcp", t.tcp, {}, "For protocol tcp: which pool gets the connection; the first that matches.");
    v.leaf("idle_timeout", t.idle_timeout, {.min = 0.001, .max = day_s},
           "A kept-alive client connection without a request is closed after this.");
    v.leaf("head_timeout", t.head_timeout, {.min = 0.001, .max = hour_s},
           "From the first byte of a request to the end of its head; also for a PROXY header and a TLS handshake.");
    v.leaf("body_idle_timeout", t.body_idle_timeout, {.min = 0.001, .max = hour_s},
           "Between two reads of a request body, or two writes of an answer.");
    v.leaf("trusted_proxies", t.trusted_proxies, {.as = As::network},
           "Networks whose X-Forwarded-For names the client. From others it is replaced.");
    v.leaf("proxy_protocol_from", t.proxy_protocol_from, {.as = As::network},
           "Networks whose connections must begin with a PROXY protocol header, version 1 or 2.");
    v.object("limits", t.limits, "What a client may do before it is refused.");
}

template <class V, Of<FieldMatch> T>
void describe(V& v, T& t) {
    v.leaf("name", t.name, {.as = As::any_text, .required = true}, "Of the header or the query parameter.");
    v.leaf("exact", t.exact, {.as = As::any_text}, "The whole value.");
    v.leaf("regex", t.regex, {.as = As::regex}, "RE2 that the whole value matches.");
    v.leaf("invert", t.invert, {}, "The condition must not hold.");
}

template <class V, Of<Match> T>
void describe(V& v, T& t) {
    v.leaf("host", t.host, {.as = As::host_pattern},
           "Host asked for: exact, or *.example.com for every name below it; case and port ignored.");
    v.leaf("path", t.path, {.as = As::path}, "Exact path as sent, before '?'.");
    v.leaf("path_prefix", t.path_prefix, {.as = As::path},
           "Beginning of the path by whole segments: /api matches /api and /api/x, not /apix.");
    v.leaf("path_regex", t.path_regex, {.as = As::regex}, "RE2 that the whole path matches, before '?'.");
    v.leaf("listeners", t.listeners, {.as = As::name}, "Only requests that came in there; none = all.");
    v.leaf("methods", t.methods, {.as = As::header_name}, "Only these methods; none = all.");
    v.list("headers", t.headers, {}, "Conditions on header fields.");
    v.list("query", t.query, {}, "Conditions on query parameters.");
}

template <class V, Of<Target> T>
void describe(V& v, T& t) {
    v.leaf("pool", t.pool, {.as = As::name, .required = true}, "Who answers this part.");
    v.leaf("weight", t.weight, {.max = 1e6}, "Its part of the route's requests, relative to the others.");
}

template <class V, Of<Redirect> T>
void describe(V& v, T& t) {
    v.leaf("status", t.status, {.min = 301, .max = 308}, "301, 302, 303, 307 or 308.");
    v.leaf("scheme", t.scheme, {.as = As::any_text, .default_text = "as asked"}, "http or https.");
    v.leaf("host", t.host, {.as = As::host_port, .default_text = "as asked"}, "Host, with a port if need be.");
    v.leaf("path", t.path, {.as = As::path, .default_text = "as asked"}, "The whole path.");
    v.leaf("path_prefix", t.path_prefix, {.as = As::path, .default_text = "as asked"},
           "Replaces the route's path_prefix; the rest stays.");
    v.leaf("strip_query", t.strip_query, {}, "Leave the query out.");
}

template <class V, Of<Respond> T>
void describe(V& v, T& t) {
    v.leaf("status", t.status, {.min = 200, .max = 599}, "Of the answer.");
    v.leaf("body", t.body, {.as = As::any_text, .max = max_body_text}, "Text of the answer.");
    v.leaf("content_type", t.content_type, {.as = As::header_value}, "What the text is.");
}

template <class V, Of<Rewrite> T>
void describe(V& v, T& t) {
    v.leaf("host", t.host, {.as = As::host_port, .default_text = "as asked"}, "Host that the server is asked for.");
    v.leaf("path", t.path, {.as = As::path, .default_text = "as asked"}, "The whole path; the query stays.");
    v.leaf("path_prefix", t.path_prefix, {.as = As::path, .default_text = "as asked"},
           "Replaces the route's path_prefix; the rest stays.");
    v.leaf("regex", t.regex, {.as = As::regex, .default_text = "none"},
           "RE2; its first match in the path is replaced.");
    v.leaf("substitution", t.substitution, {.as = As::any_text}, "What takes its place; \\1 to \\9 are groups.");
}

template <class V, Of<HeaderEdit> T>
void describe(V& v, T& t) {
    v.leaf("remove", t.remove, {.as = As::header_name}, "Fields that are left out.");
    v.leaf("set", t.set, {.as = As::header_value}, "Fields that get this value, in place of any they had.");
    v.leaf("add", t.add, {.as = As::header_value}, "Fields that are added to what is there.");
}

template <class V, Of<ErrorPage> T>
void describe(V& v, T& t) {
    v.leaf("status", t.status, {.min = 400, .max = 599, .required = true}, "Which answer of ours it replaces.");
    v.leaf("body", t.body, {.as = As::any_text, .max = max_body_text, .required = true}, "The page.");
    v.leaf("content_type", t.content_type, {.as = As::header_value}, "What it is.");
}

template <class V, Of<Mirror> T>
void describe(V& v, T& t) {
    v.leaf("pool", t.pool, {.as = As::name, .required = true}, "Who gets the copies. Its answers are thrown away.");
    v.leaf("share", t.share, {.as = As::fraction, .max = 1}, "Of the route's requests.");
}

template <class V, Of<Auth> T>
void describe(V& v, T& t) {
    v.leaf("pool", t.pool, {.as = As::name, .required = true},
           "Who is asked, by a GET without a body. 2xx: the request goes on. 3xx, 4xx: the client gets that answer.");
    v.leaf("path", t.path, {.as = As::target, .default_text = "as the client asked"},
           "Path, and query if need be, that it is asked for.");
    v.leaf("host", t.host, {.as = As::host_port, .default_text = "as the client asked"}, "Host that it is asked for.");
    v.leaf("timeout", t.timeout, {.min = 0.001, .max = hour_s}, "Until its answer is whole, over all attempts.");
    v.leaf("request_headers", t.request_headers, {.as = As::header_name},
           "Which of the client's headers it is sent; none = all but those about the body, ranges and conditions.");
    v.leaf("upstream_headers", t.upstream_headers, {.as = As::header_name},
           "Headers of a 2xx that the endpoint is sent. What the client sent under these names is always removed.");
    v.leaf("client_headers", t.client_headers, {.as = As::header_name},
           "Headers of a 2xx that are put into the answer to the client, such as Set-Cookie.");
    v.leaf("on_failure", t.on_failure, {}, "Without an answer, or with 5xx. deny: 503; allow: the request goes on.");
}

template <class V, Of<Fault> T>
void describe(V& v, T& t) {
    v.leaf("delay", t.delay, {.max = hour_s}, "How long a request is held.");
    v.leaf("delay_share", t.delay_share, {.as = As::fraction, .max = 1}, "Of the requests that are held.");
    v.leaf("abort_status", t.abort_status, {.min = 400, .max = 599}, "The answer in place of the server's.");
    v.leaf("abort_share", t.abort_share, {.as = As::fraction, .max = 1}, "Of the requests that get it.");
}

template <class V, Of<RateLimit> T>
void describe(V& v, T& t) {
    v.leaf("by", t.by, {}, "Whose requests share a bucket.");
    v.leaf("header", t.header, {.as = As::header_name, .default_text = "none"}, "For `by: header`: its name.");
    v.leaf("rate", t.rate, {.unit = "requests/s", .min = 0.001, .max = 1e9}, "What a bucket gains, over all workers.");
    v.leaf("burst", t.burst, {.unit = "requests", .min = 1, .max = 1e9}, "What a bucket holds.");
}

template <class V, Of<Route> T>
void describe(V& v, T& t) {
    v.leaf("name", t.name, {.as = As::item_name, .required = true}, "What the route is called in counters and plans.");
    v.object("match", t.match, "Conditions that must all hold; none = every request.");
    v.leaf("pool", t.pool, {.as = As::name, .default_text = "none"}, "The pool that answers.");
    v.list("split", t.split, {}, "Or several pools, by weight.");
    v.object_or_off("redirect", t.redirect, "Or a redirect.");
    v.object_or_off("respond", t.respond, "Or an answer of our own.");
    v.leaf("subset", t.subset, {.as = As::any_text}, "Only endpoints with these labels.");
    v.object_or_off("rewrite", t.rewrite, "What the server is asked for instead.");
    v.object("request_headers", t.request_headers, "Changes to what the server gets.");
    v.object("response_headers", t.response_headers, "Changes to what the client gets.");
    v.list("error_pages", t.error_pages, {}, "Pages for this route, before those of the whole server.");
    v.object_or_off("auth", t.auth, "A server that is asked first whether a request may go on.");
    v.object_or_off("mirror", t.mirror, "A copy of each request to another pool.");
    v.object_or_off("fault", t.fault, "Trouble on purpose, to see who copes.");
    v.list("rate_limits", t.rate_limits, {}, "Each must let the request through; 429 otherwise.");
    v.leaf("timeout", t.timeout, {.min = 0.001, .max = day_s, .default_text = "the pool's timeouts.total"},
           "All attempts together, until the head of the answer.");
    v.leaf("upgrades", t.upgrades, {.as = As::header_name}, "Protocols that clients may upgrade to: websocket.");
    v.leaf("connect", t.connect, {}, "CONNECT opens a tunnel to an endpoint of the pool. Off: 405.");
    v.leaf("early_hints", t.early_hints, {},
           "Which clients get an endpoint's Early Hints (103): those of HTTP/2, all but those of HTTP/1.0, or none.");
    v.leaf("trailers", t.trailers, {},
           "pass: trailers of chunked and HTTP/2 bodies go on, both ways. drop: only from HTTP/2 to HTTP/2.");
}

template <class V, Of<Endpoint> T>
void describe(V& v, T& t) {
    v.leaf("name", t.name, {.as = As::item_name, .default_text = "the address"},
           "What the endpoint is called in counters and plans.");
    v.leaf("address", t.address, {.as = As::peer_address, .required = true},
           "Where it listens. Pool and address are its identity: health and load follow them across changes.");
    v.leaf("weight", t.weight, {.max = 1e6}, "Its part of the pool's requests, relative to the others; 0 = drained.");
    v.leaf("capacity", t.capacity, {.unit = "requests/s", .min = 0.001, .max = 1e9, .default_text = "not declared"},
           "What it can carry. Declared capacities let a change be refused before it overloads anybody.");
    v.leaf("zone", t.zone, {.as = As::any_text}, "Failure domain: for zone_aware, people and forecasts.");
    v.leaf("priority", t.priority, {.max = 15}, "0 is used first, 1 as far as those of 0 fail, and so on.");
    v.leaf("labels", t.labels, {.as = As::any_text}, "Anything else worth knowing; routes choose by it with `subset`.");
}

template <class V, Of<HealthCheck> T>
void describe(V& v, T& t) {
    v.leaf("type", t.type, {}, "http: GET and a status; tcp: a connection; grpc: grpc.health.v1.");
    v.leaf("path", t.path, {.as = As::path}, "http: asked for with GET.");
    v.leaf("host", t.host, {.as = As::host_port, .default_text = "the address"}, "http: Host that is asked for.");
    v.leaf("service", t.service, {.as = As::any_text, .default_text = "the server as a whole"},
           "grpc: the service asked about.");
    v.leaf("jitter", t.jitter, {.as = As::fraction, .max = 0.5}, "Of the interval, by lot.");
    v.leaf("interval", t.interval, {.min = 0.05, .max = hour_s}, "From one probe to the next.");
    v.leaf("timeout", t.timeout, {.min = 0.001, .max = hour_s}, "A probe without an answer by then has failed.");
    v.leaf("rise", t.rise, {.unit = "probes", .min = 1, .max = 100}, "Good probes in a row that bring a server up.");
    v.leaf("fall", t.fall, {.unit = "probes", .min = 1, .max = 100}, "Bad probes in a row that take it down.");
    v.leaf("expect_status", t.expect_status, {.min = 100, .max = 599}, "The status of a good answer.");
}

template <class V, Of<Timeouts> T>
void describe(V& v, T& t) {
    v.leaf("connect", t.connect, {.min = 0.001, .max = 60}, "To open a connection to an endpoint.");
    v.leaf("per_try", t.per_try, {.min = 0.001, .max = hour_s}, "One attempt, until the head of its answer.");
    v.leaf("total", t.total, {.min = 0.001, .max = hour_s}, "All attempts together, until the head of the answer.");
    v.leaf("idle", t.idle, {.min = 0.001, .max = hour_s}, "An answer's body that stalls this long is cut off.");
    v.leaf("tunnel_idle", t.tunnel_idle, {.min = 0.001, .max = 7 * day_s},
           "A tunnel (WebSocket, CONNECT, TCP) without a byte either way is closed.");
    v.leaf(
        "deadline_header", t.deadline_header, {.as = As::header_name, .default_text = "none"},
        "Request header that tells the endpoint how many milliseconds are left for its answer: the nearer end of the "
        "attempt and of all attempts. What a client sends under this name is replaced.");
}

template <class V, Of<Retry> T>
void describe(V& v, T& t) {
    v.leaf("attempts", t.attempts, {.min = 1, .max = static_cast<double>(max_attempts)},
           "Tries in all, the first included; 1 = no retry.");
    v.leaf("on", t.on, {.choices = retry_conditions}, "What is tried again.");
    v.leaf("budget", t.budget, {.as = As::fraction, .max = 3},
           "Retries per request in the recent past: what keeps retries from becoming the load.");
    v.leaf("min_per_second", t.min_per_second, {.unit = "retries/s", .max = 1e6},
           "A quiet pool may retry this much whatever the budget says; per worker.");
    v.leaf("non_idempotent", t.non_idempotent, {},
           "Also try POST and PATCH again after bytes were sent, which may carry them out twice.");
}

template <class V, Of<Ejection> T>
void describe(V& v, T& t) {
    v.leaf("enabled", t.enabled, {}, "Take endpoints out that fail real requests.");
    v.leaf("consecutive", t.consecutive, {.unit = "failures", .min = 1, .max = 1000}, "Failures in a row that eject.");
    v.leaf("base", t.base, {.min = 0.1, .max = hour_s}, "For how long, times the number of ejections so far.");
    v.leaf("max_fraction", t.max_fraction, {.as = As::fraction, .max = 1},
           "Of the pool that may be out by ejection at once; at least one may be.");
    v.leaf("success_rate", t.success_rate, {}, "Also take out who fails far more often than the others.");
    v.leaf("stdev_factor", t.stdev_factor, {.max = 100},
           "Below the mean success rate minus this many standard deviations.");
    v.leaf("min_requests", t.min_requests, {.unit = "requests", .min = 1, .max = 1e9},
           "Per endpoint and interval, over all workers, to be compared.");
    v.leaf("min_endpoints", t.min_endpoints, {.unit = "endpoints", .min = 2, .max = 1e6},
           "With so many requests, for a comparison at all.");
    v.leaf("interval", t.interval, {.min = 0.1, .max = hour_s}, "Over which success rates are compared.");
}

template <class V, Of<PoolLimits> T>
void describe(V& v, T& t) {
    v.leaf("max_in_flight_per_endpoint", t.max_in_flight_per_endpoint, {.unit = "requests", .max = 1e6},
           "Requests in progress at one endpoint, over all workers. 0 = no limit.");
    v.leaf("idle_connections_per_endpoint", t.idle_connections_per_endpoint, {.unit = "connections", .max = 1e5},
           "Kept open for reuse, per worker.");
    v.leaf("keepalive_idle", t.keepalive_idle, {.min = 0.001, .max = hour_s},
           "A kept connection unused this long is closed. Keep it below the servers' own keep-alive timeout.");
    v.leaf("max_in_flight", t.max_in_flight, {.unit = "requests", .max = 1e8},
           "Requests in progress in the whole pool, over all workers. 0 = no limit.");
    v.leaf("max_connections_per_endpoint", t.max_connections_per_endpoint, {.unit = "connections", .max = 1e6},
           "Connections to one endpoint, over all workers. 0 = no limit.");
    v.leaf("queue", t.queue, {.unit = "requests", .max = 1e6},
           "Requests that may wait for a place, over all workers; beyond it 503 at once.");
    v.leaf("queue_timeout", t.queue_timeout, {.min = 0.001, .max = hour_s}, "How long they wait; then 503.");
    v.leaf("max_requests_per_connection", t.max_requests_per_connection, {.unit = "requests", .max = 1e9},
           "Then another connection is opened. 0 = no limit.");
    v.leaf("max_connection_age", t.max_connection_age, {.max = 30 * day_s}, "The same by age. 0 = no limit.");
    v.leaf("max_streams", t.max_streams, {.unit = "requests", .min = 1, .max = 10'000},
           "HTTP/2: requests at once on one connection.");
}

template <class V, Of<PoolTls> T>
void describe(V& v, T& t) {
    v.leaf("server_name", t.server_name, {.as = As::host, .default_text = "the discovery name or the Host asked for"},
           "Asked for by SNI and verified.");
    v.leaf("verify", t.verify, {}, "Check the endpoint's certificate. Off: anybody can pose as it.");
    v.leaf("ca", t.ca, {.as = As::file, .default_text = "the system's"},
           "PEM file: the authorities that are believed.");
    v.leaf("certificate", t.certificate, {.as = As::name, .default_text = "none"},
           "Name of the certificate shown to endpoints that ask for one.");
    v.leaf("min_version", t.min_version, {}, "Oldest TLS version taken.");
}

template <class V, Of<Hash> T>
void describe(V& v, T& t) {
    v.leaf("by", t.by, {}, "What the endpoint is chosen by.");
    v.leaf("name", t.name, {.as = As::header_name, .default_text = "none"},
           "Of the header or cookie; requests without it go by lot.");
    v.leaf("bounded_load", t.bounded_load, {.max = 100},
           "No endpoint gets more than this times the average in flight; above 1. 0 = off.");
}

template <class V, Of<Affinity> T>
void describe(V& v, T& t) {
    v.leaf("cookie", t.cookie, {.as = As::header_name}, "Its name.");
    v.leaf("ttl", t.ttl, {.max = 365 * day_s}, "How long it holds; 0 = until the browser closes.");
    v.leaf("secret", t.secret, {.as = As::secret, .required = true}, "Signs the cookie; at least 16 characters.");
}

template <class V, Of<Adaptive> T>
void describe(V& v, T& t) {
    v.leaf("min", t.min, {.unit = "requests", .min = 1, .max = 1e6}, "The limit never goes below; per endpoint.");
    v.leaf("max", t.max, {.unit = "requests", .min = 1, .max = 1e6}, "And never above.");
    v.leaf("tolerance", t.tolerance, {.min = 1, .max = 10},
           "Latency may be this many times the best before the limit shrinks.");
}

template <class V, Of<Discovery> T>
void describe(V& v, T& t) {
    v.leaf("type", t.type, {}, "dns: A and AAAA; srv: SRV; file: a list.");
    v.leaf("name", t.name, {.as = As::host, .default_text = "none"}, "dns, srv: the name asked for.");
    v.leaf("port", t.port, {.min = 1, .max = 65'535}, "dns: of every endpoint found.");
    v.leaf("file", t.file, {.as = As::file, .default_text = "none"}, "file: a YAML or JSON list of endpoints.");
    v.leaf("refresh", t.refresh, {.min = 0.1, .max = hour_s}, "Asked again at least this often.");
    v.leaf("capacity", t.capacity, {.unit = "requests/s", .max = 1e9}, "Of each endpoint found; 0 = not declared.");
    v.leaf("max_divergence", t.max_divergence, {.min = 0.1, .max = day_s},
           "What is wanted and what serves may differ this long before it is a signal.");
    v.leaf("resolvers", t.resolvers, {.as = As::peer_address}, "Name servers; none = the system's.");
}

template <class V, Of<Pool> T>
void describe(V& v, T& t) {
    v.leaf("policy", t.policy, {}, "Who gets the next request.");
    v.list("endpoints", t.endpoints, {}, "The servers of the pool.");
    v.object_or_off("health", t.health, "Active probing; `off` = none.");
    v.leaf("panic_threshold", t.panic_threshold, {.as = As::fraction, .max = 1},
           "Below this healthy fraction of the pool everybody is used, visibly.");
    v.object("timeouts", t.timeouts, "How long each part may take.");
    v.object("retry", t.retry, "What is tried again, and how much of it.");
    v.object("ejection", t.ejection, "Passive health.");
    v.object("limits", t.limits, "What the pool's servers are spared.");
    v.leaf("protocol", t.protocol, {}, "What is spoken to the servers. gRPC needs http2.");
    v.object_or_off("tls", t.tls, "TLS towards the servers; `off` = plain.");
    v.leaf("proxy_protocol", t.proxy_protocol, {}, "PROXY protocol header at the beginning of each connection.");
    v.object("hash", t.hash, "For maglev, ring_hash and rendezvous: what goes where.");
    v.leaf("ewma_decay", t.ewma_decay, {.min = 0.01, .max = hour_s},
           "peak_ewma: how long a slow answer is held against an endpoint.");
    v.leaf("slow_start", t.slow_start, {.max = hour_s},
           "A new or returned endpoint's weight grows over this; 0 = off.");
    v.leaf("zone_aware", t.zone_aware, {}, "Prefer endpoints of our own zone as far as they can carry their part.");
    v.object_or_off("affinity", t.affinity, "Clients stay with their endpoint, by a signed cookie.");
    v.object_or_off("adaptive", t.adaptive, "Limits that follow latency.");
    v.object_or_off("discovery", t.discovery, "Endpoints that are found rather than written.");
}

template <class V, Of<Guard> T>
void describe(V& v, T& t) {
    v.leaf("steps", t.steps, {.as = As::fraction, .min = 1e-6, .max = 1, .ascending = true},
           "Shares of requests that a change is given, one after the other; ascending, the last is 100%.");
    v.leaf("min_step", t.min_step, {.max = day_s}, "A step lasts at least this long, whatever the evidence.");
    v.leaf("max_step", t.max_step, {.min = 0.001, .max = 7 * day_s},
           "Without evidence either way by then, the change is undone.");
    v.leaf("shadow", t.shadow, {.max = day_s}, "How long the candidate only decides while the active revision serves.");
    v.leaf("shadow_decisions", t.shadow_decisions, {.unit = "decisions", .max = 1e9},
           "And at least this many decisions, within max_step.");
    v.leaf("soak", t.soak, {.max = 7 * day_s},
           "The new revision serves and the old keeps hold_back; then the new one is last known good.");
    v.leaf("hold_back", t.hold_back, {.as = As::fraction, .max = 0.5},
           "Share that the old revision keeps in the soak.");
    v.leaf("utilisation_cap", t.utilisation_cap, {.as = As::fraction, .min = 0.01, .max = 1},
           "Of declared capacity, per endpoint, at the recorded peak; a change that goes beyond is refused.");
    v.leaf("harm_budget", t.harm_budget, {.as = As::fraction, .min = 1e-9, .max = 0.5},
           "Fraction of all requests that a step may harm before harm counts as ruled out.");
    v.leaf("alpha", t.alpha, {.as = As::fraction, .min = 1e-12, .max = 0.2},
           "Chance that a harmless change is undone, per change.");
    v.leaf("recovery_window", t.recovery_window, {.min = 0.1, .max = hour_s},
           "This long within the base band proves recovery.");
}

template <class V, Of<Admin> T>
void describe(V& v, T& t) {
    v.leaf("address", t.address, {.as = As::address}, "Admin API and pages. Read at start only.");
    v.leaf("socket", t.socket, {.as = As::file, .default_text = "STATE_DIR/admin.sock"},
           "Unix socket of the command line. Read at start only.");
}

template <class V, Of<RecordingSettings> T>
void describe(V& v, T& t) {
    v.leaf("enabled", t.enabled, {}, "Keep a recording of traffic to test changes against.");
    v.leaf("keep", t.keep, {.min = 1, .max = 30 * day_s}, "How far back it reaches.");
    v.leaf("max_bytes", t.max_bytes, {.as = As::bytes, .min = 1 << 16, .max = 0x1p50}, "And how large it may grow.");
}

template <class V, Of<Webhook> T>
void describe(V& v, T& t) {
    v.leaf("name", t.name, {.as = As::name, .required = true}, "What the receiver is called.");
    v.leaf("url", t.url, {.as = As::http_url, .required = true}, "Where it listens: http://host:port/path.");
    v.leaf("secret", t.secret, {.as = As::secret}, "Signing secret (Standard Webhooks); never shown.");
}

template <class V, Of<Tracing> T>
void describe(V& v, T& t) {
    v.leaf("url", t.url, {.as = As::http_url, .required = true}, "OTLP/HTTP receiver: http://host:4318/v1/traces.");
    v.leaf("sample", t.sample, {.as = As::fraction, .max = 1}, "Of requests that no caller has decided about.");
    v.leaf("service", t.service, {.as = As::any_text}, "service.name of the spans.");
}

template <class V, Of<Config> T>
void describe(V& v, T& t) {
    v.named("certificates", t.certificates, {}, "Certificates and keys, by name.");
    v.named("listeners", t.listeners, {.required = true}, "Where clients come in.");
    v.list("routes", t.routes, {}, "Which pool answers what; the first that matches wins. Required by http listeners.");
    v.named("pools", t.pools, {.required = true}, "Groups of servers that can stand in for each other.");
    v.object("guard", t.guard, "How a change is let in, and what stops it.");
    v.object("admin", t.admin, "The operator's door.");
    v.object("recording", t.recording, "Traffic kept to test changes against.");
    v.leaf("access_log", t.access_log, {.as = As::file, .default_text = "off"},
           "File name, or - for standard output; empty = off.");
    v.leaf("access_log_format", t.access_log_format, {}, "One JSON object a line, or text for people.");
    v.list("error_pages", t.error_pages, {}, "Pages in place of our own short texts.");
    v.object_or_off("tracing", t.tracing, "Spans by OTLP/HTTP.");
    v.leaf("zone", t.zone, {.as = As::any_text}, "Where this server stands, for zone_aware.");
    v.leaf("zone_traffic", t.zone_traffic, {.as = As::fraction, .max = 1, .default_text = "each zone the same"},
           "Of all requests that arrives at servers like this one in our zone; 100% if all of it does.");
    v.leaf("max_memory", t.max_memory,
           {.as = As::bytes, .max = 0x1p50, .default_text = "90% of the cgroup's limit, or 16 MiB below it"},
           "In use beyond which new connections are refused.");
    v.list("notify", t.notify, {}, "Who is told about incidents.");
    v.leaf("workers", t.workers, {.unit = "threads", .max = 256, .default_text = "one per core"},
           "Threads that serve; 0 = one per core. Read at start only.");
}

}  // namespace plimsoll::config
