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

/// "127.0.0.1:8080", "[::1]:8080". Host is a literal address in this version.
struct Address {
    std::string host;
    std::uint16_t port = 0;
    friend auto operator<=>(const Address&, const Address&) = default;
};
[[nodiscard]] std::string text(const Address& address);
[[nodiscard]] Result<Address> parse_address(std::string_view text);

/// All that a client may do to a listener before it is refused. Maxima exist because memory does.
struct ListenerLimits {
    std::uint32_t max_connections = 10'000;    ///< per listener, over all workers
    std::uint32_t max_head_bytes = 16 * 1024;  ///< request line and headers; 431 beyond
    std::uint32_t max_headers = 100;           ///< 431 beyond
    std::uint64_t max_body_bytes = 0;          ///< 413 beyond; 0 = no limit
    friend bool operator==(const ListenerLimits&, const ListenerLimits&) = default;
};

struct Listener {
    std::string name;
    Address address;
    Duration idle_timeout = 60s;       ///< a kept-alive connection without a request
    Duration head_timeout = 10s;       ///< first byte to end of head
    Duration body_idle_timeout = 30s;  ///< between two reads of a body, or two writes of an answer
    bool trust_forwarded = false;      ///< take the client address from X-Forwarded-For
    ListenerLimits limits;
    friend bool operator==(const Listener&, const Listener&) = default;
};

/// All given conditions must hold. Exactly one of path and path_prefix, or neither (= every path).
struct Match {
    std::optional<std::string> host;         ///< exact, case-insensitive, without port
    std::optional<std::string> path;         ///< exact, as sent, before '?'
    std::optional<std::string> path_prefix;  ///< by whole segments: "/api" matches "/api" and "/api/x", not "/apix"
    friend bool operator==(const Match&, const Match&) = default;
};

/// The first route in file order that matches wins.
struct Route {
    std::string name;
    Match match;
    std::string pool;
    friend bool operator==(const Route&, const Route&) = default;
};

struct Endpoint {
    std::string name;  ///< defaults to the address
    Address address;
    double weight = 1;
    std::optional<double> capacity;  ///< requests/s
    std::string zone;
    std::map<std::string, std::string> labels;
    friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

enum class Policy : std::uint8_t { round_robin, least_request };

struct HealthCheck {
    std::string path = "/healthz";
    Duration interval = 2s;
    Duration timeout = 1s;
    std::uint32_t rise = 2;
    std::uint32_t fall = 3;
    std::uint16_t expect_status = 200;
    friend bool operator==(const HealthCheck&, const HealthCheck&) = default;
};

struct Timeouts {
    Duration connect = 500ms;
    Duration per_try = 5s;  ///< until the head of the answer
    Duration total = 15s;   ///< until the head of the answer, over all attempts
    Duration idle = 30s;    ///< an answer's body that stalls
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
    friend bool operator==(const Ejection&, const Ejection&) = default;
};

struct PoolLimits {
    std::uint32_t max_in_flight_per_endpoint = 0;      ///< over all workers; 0 = no limit
    std::uint32_t idle_connections_per_endpoint = 64;  ///< kept for reuse, per worker
    Duration keepalive_idle = 30s;                     ///< a pooled connection unused this long is closed
    friend bool operator==(const PoolLimits&, const PoolLimits&) = default;
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

struct Config {
    std::vector<Listener> listeners;
    std::vector<Route> routes;  ///< order is meaning
    std::vector<Pool> pools;    ///< written as a map; kept in file order
    Guard guard;
    Admin admin;  ///< read at start only; a change to it is a finding that says so
    RecordingSettings recording;
    std::string access_log;  ///< path, "-" for standard output, empty = off
    std::vector<Webhook> notify;
    std::uint32_t workers = 0;  ///< 0 = one per core; read at start only
    friend bool operator==(const Config&, const Config&) = default;
};

/// Where each written item stands: config path ("pools.web.endpoints[3].weight") -> place. Items that were not written
/// are absent; `where` answers with the nearest written parent.
class Sources {
public:
    void add(std::string path, Where where);
    [[nodiscard]] Where where(std::string_view path) const;
    [[nodiscard]] bool written(std::string_view path) const;

private:
    std::map<std::string, Where, std::less<>> places_;
};

/// A config together with the text it came from.
struct Document {
    Config config;
    Sources sources;
    std::string file;  ///< as the operator named it
    std::string text;
};

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
