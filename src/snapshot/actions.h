// What a route does with a request besides choosing its pool: ask, redirect, answer, rewrite, edit headers, pages,
// faults, rate limits. Compiled data and pure functions; the proxy applies them. Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "config/config.h"
#include "snapshot/pattern.h"
#include "snapshot/request_view.h"

namespace plimsoll::snapshot {

/// A rate limit's identity: stays the same over revisions for the same route, key and header, whatever its rate, so
/// that buckets survive a change. Dense, from Identities.
using RateLimitId = Id<struct RateLimitIdTag>;

/// Most bytes of a path that a rewrite may make, and of a Location.
inline constexpr std::size_t max_rewritten = 16 * 1024;

struct Redirect {
    std::uint16_t status = 308;
    std::string scheme{}, host{};  ///< empty = as asked
    /// The new path: all of it, or what takes the place of the first `cut` bytes; neither = as asked.
    std::optional<std::string> path{}, prefix{};
    std::size_t cut = 0;
    bool strip_query = false;
};
/// The Location: always absolute, so that a path cannot be read as another host ("//evil.example"). A scheme that
/// changes takes the port of the asked host away with it. nullopt = refuse with bad_request: the request names no host,
/// or host, path or query hold what may not stand in a header.
[[nodiscard]] std::optional<std::string> location(const Redirect& redirect, const RequestView& request);

struct Respond {
    std::uint16_t status = 200;
    std::string body, content_type;
};

struct Rewrite {
    std::string host{};                           ///< instead of the asked one; empty = as asked
    std::optional<std::string> path{}, prefix{};  ///< as in Redirect
    std::size_t cut = 0;
    bool by_pattern = false;
    Pattern pattern{};
    std::string substitution{};
};
enum class Rewritten : std::uint8_t {
    no,       ///< the path stays as it is; `out` is untouched
    yes,      ///< `out` is the new path
    refused,  ///< answer bad_request: what comes out does not begin with '/', or holds a blank, a control byte, '?' or
              ///< '#', or is longer than max_rewritten
};
/// Makes the path to ask the server for. The query is not part of it and stays as sent. `out` is overwritten.
[[nodiscard]] Rewritten rewrite_path(const Rewrite& rewrite, std::string_view path, std::string& out);

struct HeaderLine {
    std::string name;  ///< as written
    std::string value;
};
/// To be applied in this order. All lines of a name that is removed or set go, whatever their case.
struct HeaderEdit {
    std::vector<std::string> remove;  ///< lower case
    std::vector<HeaderLine> set, add;
    [[nodiscard]] bool empty() const { return remove.empty() && set.empty() && add.empty(); }
};

struct ErrorPage {
    std::uint16_t status = 503;
    std::string body, content_type;
};

struct Mirror {
    PoolIndex pool;
    double share = 1;  ///< of requests, in [0, 1]
};

/// A server that is asked first.
struct Auth {
    PoolIndex pool;
    std::string path, host;  ///< empty = as the client asked
    Duration timeout{};
    std::vector<std::string> request_headers;                   ///< lower case; empty = all
    std::vector<std::string> upstream_headers, client_headers;  ///< lower case
    bool allow_on_failure = false;
};

struct RateLimit {
    RateLimitId id;
    config::RateKey by = config::RateKey::client;
    std::string header;  ///< lower case; for by: header
    double rate = 0;     ///< requests/s, over all workers
    double burst = 0;    ///< requests, over all workers
};

/// What is seldom there. Routes with nothing of it share one.
struct Actions {
    std::optional<Redirect> redirect;  ///< then there is no pool
    std::optional<Respond> respond;    ///< then there is no pool
    std::optional<Rewrite> rewrite;
    HeaderEdit request_headers, response_headers;
    std::vector<ErrorPage> error_pages;
    std::optional<Auth> auth;
    std::optional<Mirror> mirror;
    std::optional<config::Fault> fault;
    std::vector<RateLimit> rate_limits;
    std::vector<std::string> upgrades;  ///< protocols, lower case
    bool connect = false;               ///< CONNECT opens a tunnel
    config::EarlyHints early_hints = config::EarlyHints::http2;
    config::Trailers trailers = config::Trailers::drop;
    /// Whether this protocol ("websocket", any case) may be upgraded to.
    [[nodiscard]] bool upgrades_to(std::string_view protocol) const;
};

/// Begins with '/', holds no blank, control byte, '?' or '#', and is at most max_rewritten long.
[[nodiscard]] bool is_sendable_path(std::string_view path);

}  // namespace plimsoll::snapshot
