// The policies by which an endpoint is chosen, and what each goes by. A new policy is one struct here, one source
// policy_*.cpp, one line in the variant. Pure values.
#pragma once

#include <array>
#include <cstdint>
#include <variant>

#include "base/time.h"

namespace plimsoll::balance {

/// Smooth weighted round robin (nginx, 2012): exact proportions, never two heavy picks in a row without need.
struct RoundRobin {};

/// Least in-flight requests per weight. Full scan at N <= 4, else two random choices without replacement
/// (Mitzenmacher 2001, "The Power of Two Choices in Randomized Load Balancing"). A first choice is drawn by weight;
/// another takes its place only if, with this request on it, it is still no busier per weight than the first is
/// without: so an idle pool keeps the proportions, and a light endpoint does not get every second request of a quiet
/// one. With equal weights that is plain "fewer in flight wins, ties by lot".
struct LeastRequest {};

/// Two random choices (full scan at N <= 4), the lower expected cost wins: latency x (in flight + 1), the latency an
/// average that jumps up at once and decays slowly (Finagle's and Linkerd's peak EWMA; "Beyond Round Robin", Linkerd
/// 2016). A failed answer costs `failure_penalty`, in proportion to the recent failure rate, so that an endpoint that
/// fails fast does not look quick.
struct PeakEwma {
    Duration decay = std::chrono::seconds(10);         ///< in which what was slow is forgotten to 1/e
    Duration unknown = std::chrono::milliseconds(30);  ///< the latency of an endpoint that never answered
    Duration failure_penalty = std::chrono::seconds(1);
};

/// Prequal (Wydrowski, Kleinberg, Rumble and Archer, NSDI'24, arXiv 2312.10172): of `probes` endpoints drawn by lot,
/// those with more in flight than the `hot` quantile are hot; the quickest cold one wins, or if all are hot the one
/// with the fewest in flight. Latency is what requests took there lately with as many in flight as now.
/// What differs from the paper: servers are not asked. In flight is what this worker has there (with Asked::shared, all
/// workers), and latency is measured on its own requests, so reading it is free and never stale, but what other
/// balancers send is only seen through latency. A probe is thus not reused or aged; samples are.
struct Prequal {
    double hot = 0.84;                         ///< quantile of in flight, in [0, 1]; Q_RIF in the paper
    std::uint8_t probes = 5;                   ///< endpoints looked at per pick, at most max_probes
    Duration fresh = std::chrono::seconds(5);  ///< older samples are not used
    Duration failure_penalty = std::chrono::seconds(1);
};
inline constexpr std::uint8_t max_probes = 16;

/// Hashing policies: a key's home stays the same as long as the endpoint is there. If the home cannot serve, further
/// choices follow, the same ones for the same key; each endpoint's keys spread over all others. `bounded_load` c > 1:
/// nobody gets more than c times the average in flight per weight (Mirrokni, Thorup and Zadimoghaddam, arXiv
/// 1608.01350), the overflow jumps to random places (arXiv 1908.08762) instead of flooding a neighbour. 0 = off.

/// Maglev's table of 65,537 places (Eisenbud et al., NSDI'16), filled in turns, turns in proportion to weight.
struct Maglev {
    double bounded_load = 0;
};
/// A ring of points, in the way of ketama (Last.fm 2007; Karger et al. 1997).
struct RingHash {
    double bounded_load = 0;
    std::uint32_t points = 160;  ///< of an endpoint of mean weight
};
/// Highest random weight (Thaler and Ravishankar 1998), weights by the logarithmic method (Schindelhauer and Schomaker
/// 2005). No table; every pick scores every endpoint.
struct Rendezvous {
    double bounded_load = 0;
};

/// By lot, in proportion to weight: one choice, which two are compared with (Azar et al., Balanced allocations, 1994).
struct WeightedRandom {};

using Policy = std::variant<RoundRobin, LeastRequest, PeakEwma, Prequal, Maglev, RingHash, Rendezvous, WeightedRandom>;

/// Peak EWMA of one endpoint, and how often it failed lately.
struct Latency {
    double ewma = 0;          ///< seconds; 0 = never answered
    double failure_rate = 0;  ///< in [0, 1]; failures and 429s among the last dozens of attempts
    Instant at{INT64_MIN};    ///< of the newest attempt in it
};

/// The newest measurements at one endpoint: how many others were in flight there, how long it took.
struct Samples {
    struct One {
        std::uint32_t others = 0;
        float seconds = 0;
        Instant at{INT64_MIN};
    };
    static constexpr std::size_t kept = 16;
    std::array<One, kept> ring{};
    std::uint8_t next = 0;
};

}  // namespace plimsoll::balance
