// A farm: balancers before one pool of modelled servers, in virtual time. Smaller and faster than World: no routes, no
// retries, no probes; for comparing policies over millions of requests with the very functions that production calls.
// Thread rule: one thread. Same options, same bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "balance/balance.h"
#include "base/random.h"
#include "base/time.h"

namespace plimsoll::sim {

/// How one server behaves.
struct FarmServer {
    std::uint32_t slots = 4;  ///< requests it works on at once, others wait in line; 0 = any number
    double speed = 1;         ///< work takes service / speed
    double weight = 1;        ///< as declared to the balancers
    double failing = 0;       ///< share of requests answered `failure` at once
    std::uint16_t failure = 500;
    Duration fixed{};    ///< not 0: every answer takes this long, without a slot
    bool hangs = false;  ///< takes requests and never answers
};

/// From `at` on, this server behaves like that.
struct FarmEvent {
    Instant at;
    std::uint32_t server = 0;
    FarmServer now;
};

enum class Work : std::uint8_t { fixed, exponential, lognormal };

struct FarmOptions {
    std::uint64_t seed = 1;
    balance::PoolFacts pool;  ///< its members are made from `servers`; their other fields stay where they are given
    std::vector<FarmServer> servers;
    std::vector<FarmEvent> events;  ///< in order of time
    std::uint32_t balancers = 1;    ///< each with states, cursor and dice of its own
    bool share_loads = false;       ///< they see each other's requests in flight, as workers of one process do
    double rate = 1000;             ///< requests/s of all balancers together, Poisson
    Duration span = std::chrono::seconds(10);
    Duration warm_up{};  ///< requests that arrive before this are not counted
    Duration service = std::chrono::milliseconds(10);
    Work work = Work::exponential;
    double sigma = 0.5;        ///< of lognormal work
    Duration patience{};       ///< clients leave after this; 0 = never
    std::uint32_t keys = 0;    ///< distinct keys, 0 = requests have none
    double zipf = 0;           ///< skew of the keys
    bool watch_peaks = false;  ///< fill the last part of FarmResult; costs O(servers) per request
    double antagonised = 0;    ///< share of servers that are slowed at any time, drawn anew every `antagonist_period`
    double antagonist_speed = 0.4;
    Duration antagonist_period = std::chrono::seconds(5);
};

struct FarmResult {
    std::uint64_t requests = 0;  ///< counted ones
    std::uint64_t answered = 0, failed = 0, refused = 0, left = 0;
    std::uint64_t in_span = 0;          ///< of the answers, those that came before the end of the span
    std::vector<std::uint64_t> served;  ///< requests sent to each server
    std::vector<float> latencies;       ///< seconds, of answers, ascending

    // with watch_peaks
    std::uint32_t most_in_flight = 0;  ///< at one server
    double mean_peak = 0;              ///< mean over arrivals of: largest in flight per weight / average
    double worst_peak = 0;             ///< largest at the moment of sending: in flight there per weight / average
    std::uint64_t away_from_home = 0;  ///< requests with a key that did not go where the key lives
    // with a policy that has a bounded_load c: the bound is ceil(c x average per weight), in whole requests
    std::uint64_t sent_above = 0;  ///< requests that took a server above its bound; they count in the average
    std::uint64_t met_above = 0;   ///< arrivals that met a server above it, because requests elsewhere had ended
    std::uint32_t most_above = 0;  ///< that was by so many requests at most

    [[nodiscard]] double quantile(double q) const;  ///< seconds; 0 without answers
    /// Part of all counted requests answered without failure within `limit`.
    [[nodiscard]] double within(Duration limit) const;
    [[nodiscard]] double goodput(const FarmOptions& options) const;  ///< answers/s
};

[[nodiscard]] FarmResult run_farm(const FarmOptions& options);

}  // namespace plimsoll::sim
