// Diagnosis: who did it. Not generic root-cause guessing: while two revisions are compared, "is it this change" has an
// exact answer; the rest is where failures and load concentrate. "Not the change" is said as readily as "the change".
// Pure functions of values.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "judge/evidence.h"
#include "judge/facts.h"
#include "judge/watch.h"
#include "measure/tally.h"

namespace plimsoll::judge {

enum class Suspect : std::uint8_t { change, endpoint, endpoints, demand, unknown };
[[nodiscard]] std::string_view name(Suspect suspect);

struct Hypothesis {
    Suspect suspect = Suspect::unknown;
    std::string subject;  ///< "change r42: pools.web.endpoints[b1].weight", "server:b7", "servers:b4, b5, b6", "demand"
    RevisionNumber revision{};          ///< of a change
    std::vector<EndpointId> endpoints;  ///< of endpoint and endpoints
    double score = 0;      ///< in nats, comparable between hypotheses of one diagnosis; below 0 speaks against it
    std::string evidence;  ///< one sentence with the numbers
    friend bool operator==(const Hypothesis&, const Hypothesis&) = default;
};

/// One config item that the change altered.
struct AlteredItem {
    std::string path;  ///< config::Difference::path
    std::string before, after;
};

/// The newest change that took live traffic.
struct ChangeFacts {
    RevisionNumber revision;
    Instant applied;  ///< when it first took live traffic
    Share share;      ///< its share now; in (0, 1) both arms are compared
    std::vector<AlteredItem> altered;
};

/// What is known when signals fire. `since` = both arms since the change took its present share, at most the last 30 s:
/// windows from before it blur the comparison of arms, because all their requests are the active arm's.
struct Scene {
    Instant now;
    std::vector<Signal> signals;        ///< firing
    std::optional<ChangeFacts> change;  ///< none when there was none within an hour
    measure::Tally since;
    std::vector<EndpointFacts> endpoints;
    Baseline usual;
    double rate = 0;  ///< requests/s now
};

/// Could altering this item produce this kind of signal? By the item's path: weights, endpoints, policy and routes move
/// load; timeouts and retries make errors or latency; health checks take endpoints out; a webhook does nothing.
[[nodiscard]] bool can_cause(std::string_view path, SignalKind kind);

/// Ranked, best first; never empty: the last resort is `unknown`. Scores:
///  - change, both arms live: log E of errors and latency being worse in the candidate, or the load it adds to hot
///    endpoints; equal harm in both arms with narrow bounds speaks against it. Without comparison: by timing and by
///    whether an altered item can produce the signal.
///  - endpoint(s): G statistic of failures (or slowness) concentrated there, equal in both arms.
///  - demand: how far the rate is above usual.
[[nodiscard]] std::vector<Hypothesis> diagnose(const Scene& scene);

}  // namespace plimsoll::judge
