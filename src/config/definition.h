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
    file,          ///< a file name, "-" or empty
    http_url,      ///< http://host:port/path
    address,       ///< "127.0.0.1:8080"; the port may be 0
    peer_address,  ///< the same, port 1 to 65535
    any_text,      ///< whatever it says
    secret,        ///< as any_text; differences say only that it changed
};

struct Rule {
    As as = As::plain;
    std::string_view unit = {};  ///< for people: "requests/s"
    double min = 0;              ///< inclusive; durations in seconds
    double max = std::numeric_limits<double>::infinity();
    bool required = false;
    bool ascending = false;              ///< lists of numbers
    std::string_view default_text = {};  ///< when the default is not a value but a rule: "the address"
    std::span<const std::string_view> choices = {};
};

inline constexpr std::array<std::string_view, 4> retry_conditions{"connect_failure", "reset", "timeout", "status_5xx"};
inline constexpr std::array<std::string_view, 2> policy_names{"round_robin", "least_request"};  // by config::Policy
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
}

template <class V, Of<Listener> T>
void describe(V& v, T& t) {
    v.leaf("address", t.address, {.as = As::address, .required = true},
           "Where clients connect: a literal address and a port.");
    v.leaf("idle_timeout", t.idle_timeout, {.min = 0.001, .max = day_s},
           "A kept-alive client connection without a request is closed after this.");
    v.leaf("head_timeout", t.head_timeout, {.min = 0.001, .max = hour_s},
           "From the first byte of a request to the end of its head.");
    v.leaf("body_idle_timeout", t.body_idle_timeout, {.min = 0.001, .max = hour_s},
           "Between two reads of a request body, or two writes of an answer.");
    v.leaf("trust_forwarded", t.trust_forwarded, {},
           "Take the client's address from X-Forwarded-For. Only behind a proxy that sets it.");
    v.object("limits", t.limits, "What a client may do before it is refused.");
}

template <class V, Of<Match> T>
void describe(V& v, T& t) {
    v.leaf("host", t.host, {.as = As::host}, "Host asked for: exact, case and port ignored.");
    v.leaf("path", t.path, {.as = As::path}, "Exact path as sent, before '?'.");
    v.leaf("path_prefix", t.path_prefix, {.as = As::path},
           "Beginning of the path by whole segments: /api matches /api and /api/x, not /apix.");
}

template <class V, Of<Route> T>
void describe(V& v, T& t) {
    v.leaf("name", t.name, {.as = As::item_name, .required = true}, "What the route is called in counters and plans.");
    v.object("match", t.match, "Conditions that must all hold; none = every request.");
    v.leaf("pool", t.pool, {.as = As::name, .required = true}, "The pool that answers.");
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
    v.leaf("zone", t.zone, {.as = As::any_text}, "Failure domain, for people and forecasts.");
    v.leaf("labels", t.labels, {.as = As::any_text}, "Anything else worth knowing, as text.");
}

template <class V, Of<HealthCheck> T>
void describe(V& v, T& t) {
    v.leaf("path", t.path, {.as = As::path}, "Asked for with GET.");
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
}

template <class V, Of<PoolLimits> T>
void describe(V& v, T& t) {
    v.leaf("max_in_flight_per_endpoint", t.max_in_flight_per_endpoint, {.unit = "requests", .max = 1e6},
           "Requests in progress at one endpoint, over all workers. 0 = no limit.");
    v.leaf("idle_connections_per_endpoint", t.idle_connections_per_endpoint, {.unit = "connections", .max = 1e5},
           "Kept open for reuse, per worker.");
    v.leaf("keepalive_idle", t.keepalive_idle, {.min = 0.001, .max = hour_s},
           "A kept connection unused this long is closed. Keep it below the servers' own keep-alive timeout.");
}

template <class V, Of<Pool> T>
void describe(V& v, T& t) {
    v.leaf("policy", t.policy, {.choices = policy_names}, "Who gets the next request.");
    v.list("endpoints", t.endpoints, {.required = true}, "The servers of the pool.");
    v.object_or_off("health", t.health, "Active probing; `off` = none.");
    v.leaf("panic_threshold", t.panic_threshold, {.as = As::fraction, .max = 1},
           "Below this healthy fraction of the pool everybody is used, visibly.");
    v.object("timeouts", t.timeouts, "How long each part may take.");
    v.object("retry", t.retry, "What is tried again, and how much of it.");
    v.object("ejection", t.ejection, "Passive health.");
    v.object("limits", t.limits, "What the pool's servers are spared.");
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

template <class V, Of<Config> T>
void describe(V& v, T& t) {
    v.named("listeners", t.listeners, {.required = true}, "Where clients come in.");
    v.list("routes", t.routes, {.required = true}, "Which pool answers what; the first that matches wins.");
    v.named("pools", t.pools, {.required = true}, "Groups of servers that can stand in for each other.");
    v.object("guard", t.guard, "How a change is let in, and what stops it.");
    v.object("admin", t.admin, "The operator's door.");
    v.object("recording", t.recording, "Traffic kept to test changes against.");
    v.leaf("access_log", t.access_log, {.as = As::file, .default_text = "off"},
           "File name, or - for standard output; empty = off.");
    v.list("notify", t.notify, {}, "Who is told about incidents.");
    v.leaf("workers", t.workers, {.unit = "threads", .max = 256, .default_text = "one per core"},
           "Threads that serve; 0 = one per core. Read at start only.");
}

}  // namespace plimsoll::config
