// Membership: what is believed of a source's answers. Rules: a failure or an empty answer changes nothing; an answer
// that would take more than half away at once adds what is new and removes only what a second answer lacks as well
// (or what the source has not named for so long that a second answer would say the same).
// Pure: answers and time come in, a value goes out; the state is the caller's.
// Sources: outages that these rules answer are named in docs/discovery.md.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "config/config.h"
#include "discovery/answer.h"

namespace plimsoll::discovery {

/// A shorter TTL is not followed: a name server must not make us ask without end.
inline constexpr Duration shortest_pause = std::chrono::seconds(1);
/// Names of endpoints in a sentence at most.
inline constexpr std::size_t max_named = 5;

/// One source's standing, as decided so far.
struct Membership {
    std::vector<config::Endpoint> members;  ///< what is believed, in order of address
    std::vector<config::Address> doubted;   ///< members that the last answer lacked; they go if the next lacks them too
    std::string trouble;                    ///< why the last try brought nothing; empty = it did
    std::uint32_t failures_in_row = 0;
    Instant good_at{INT64_MIN};     ///< of the last whole, non-empty answer
    Instant differs_since = never;  ///< since when what the source wants is not known, or not done; never = it is
    std::uint64_t answers = 0, failures = 0, held = 0;  ///< since the start; held: removals that had to be confirmed
    [[nodiscard]] bool asked() const { return answers + failures > 0; }
};

/// What an answer changed. `added`, `removed` and `altered` (weight, priority, ...) as they are afterwards (before, for
/// removed), in order of address.
struct Shift {
    std::vector<config::Endpoint> added, removed, altered;
    std::string note;  ///< what people should know about it (held, failing, recovered); empty = nothing special
    [[nodiscard]] bool any() const { return !added.empty() || !removed.empty() || !altered.empty(); }
};

/// Decides about one answer or failure.
[[nodiscard]] Shift take(Membership& membership, const Result<Answer>& answer, Instant now);

/// The difference between two sets of endpoints, by address.
[[nodiscard]] Shift shift_between(std::span<const config::Endpoint> before, std::span<const config::Endpoint> after);

/// When to ask next, from the last time on: the TTL, not below shortest_pause and not above `refresh`; after failures
/// 1 s, 2 s, 4 s, ... up to `refresh`.
[[nodiscard]] Duration pause(const Membership& membership, Duration ttl, Duration refresh);

/// One sentence about what stands between wanted and believed; empty when nothing does.
[[nodiscard]] std::string standing(const Membership& membership);

/// What was found, for each pool and what it was found by: a change may look elsewhere for the same pool's endpoints.
using Source = std::pair<std::string, config::Discovery>;
struct SourceOrder {
    bool operator()(const Source& a, const Source& b) const;
};
using Found = std::map<Source, std::vector<config::Endpoint>, SourceOrder>;

/// The config as it is served: with the endpoints that were found for its pools, after those that are written. Where
/// both have an address, what is written counts. What is our own listener is left out (requests would come back for
/// ever). A found endpoint without capacity has the discovery's, and is verified by the name that was written for DNS.
[[nodiscard]] config::Config with_found(const config::Config& written, const Found& found);

/// Sources of a config, each once.
[[nodiscard]] std::vector<Source> sources(const config::Config& config);

/// "dns api.internal:80", "srv _http._tcp.web.internal", "file /etc/plimsoll/web.yaml".
[[nodiscard]] std::string describe(const config::Discovery& discovery);

}  // namespace plimsoll::discovery
