// Chooses an endpoint. Pure: facts come from the snapshot, state belongs to the caller, time and dice are arguments.
// The proxy's workers and the simulator call these very functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/outcome.h"
#include "base/random.h"
#include "base/time.h"

namespace plimsoll::balance {

// ---- facts: fixed for the life of a snapshot -----------------------------------------------------------------------

/// One endpoint of a pool as the config says it.
struct Member {
    EndpointId id;                    ///< index into the worker's endpoint states
    double weight = 1;                ///< >= 0; 0 = takes no new requests (drained)
    double capacity = 0;              ///< requests/s it is declared to carry; 0 = not declared
    std::uint32_t max_in_flight = 0;  ///< per worker; 0 = no limit
};

/// Passive ejection: `consecutive` upstream failures in a row take an endpoint out for `base` x (times ejected), at
/// most `ceiling`.
struct Ejection {
    std::uint32_t consecutive = 5;
    Duration base = std::chrono::seconds(10);
    Duration ceiling = std::chrono::seconds(300);
    double max_fraction = 0.34;  ///< of the pool's endpoints that may be out by ejection; at least one may be
};

/// Smooth weighted round robin (nginx, 2012): exact proportions, never two heavy picks in a row without need.
struct RoundRobin {};
/// Least in-flight requests per weight. Full scan at N <= 4, else two random choices without replacement
/// (Mitzenmacher 2001, "The Power of Two Choices in Randomized Load Balancing"). A first choice is drawn by weight;
/// another takes its place only if, with this request on it, it is still no busier per weight than the first is
/// without: so an idle pool keeps the proportions, and a light endpoint does not get every second request of a quiet
/// one. With equal weights that is plain "fewer in flight wins, ties by lot".
struct LeastRequest {};
using Policy = std::variant<RoundRobin, LeastRequest>;

struct PoolFacts {
    PoolId id;
    Policy policy;
    std::vector<Member> members;  ///< in file order; EndpointIndex is an index into this
    Ejection ejection;
    double panic_threshold = 0.5;  ///< below this healthy fraction (by count) all are used, visibly
};

// ---- state: outlives snapshots, keyed by identity, one set per worker ----------------------------------------------

enum class Health : std::uint8_t { unknown, up, down };

/// What one worker knows about one endpoint. Survives every config change.
struct EndpointState {
    Health health = Health::unknown;    ///< by active checks; told by control. `unknown` is used only if nobody is up
    std::uint32_t in_flight = 0;        ///< requests this worker has there now
    std::uint32_t failures_in_row = 0;  ///< upstream-caused
    std::uint32_t times_ejected = 0;    ///< decays: one less for each `base` served without failure
    /// Out while this lies ahead. Once past, it marks since when the endpoint has served without failure.
    Instant ejected_until{INT64_MIN};
};

/// The cursor of one pool in one resident revision. Carried over by identity when a new revision is installed.
struct Cursor {
    std::vector<double> current;  ///< smooth weighted round robin: one per member
};
/// `old_members`' positions mapped onto `members` by endpoint id; a member that is new starts at 0. Positions are
/// scaled by the ratio of total weights: what weight 1000 had owed must not starve an endpoint that now weighs 1.
[[nodiscard]] Cursor carry_over(const Cursor& old, std::span<const Member> old_members,
                                std::span<const Member> members);
/// A cursor at a random phase of the cycle, so that workers do not march in step.
[[nodiscard]] Cursor fresh_cursor(const PoolFacts& pool, Random& random);

/// Endpoints already tried for this request, by position in the pool.
struct Tried {
    std::uint8_t count = 0;
    EndpointIndex index[max_attempts] = {};
    [[nodiscard]] bool contains(EndpointIndex i) const;
    void add(EndpointIndex i);
};

struct Pick {
    EndpointIndex index;
    bool panic = false;  ///< chosen although down or ejected, because too few are healthy
};

/// The endpoint for the next attempt, or nullopt when nobody is eligible: weight 0, max_in_flight reached, down or
/// ejected (unless panic), already tried. When all eligible have been tried, nullopt.
/// Order of eligibility: up and not ejected; if none, unknown; if the healthy fraction < panic_threshold, everybody.
/// The fraction counts members with weight > 0; those not yet known count on neither side while somebody is up (adding
/// endpoints is no panic), as healthy while nobody is. `states` must reach beyond every member's id.
/// Advances `cursor` (and sizes it once if it is empty). Does not touch in_flight: the caller counts when it really
/// sends. O(N), allocates nothing.
[[nodiscard]] std::optional<Pick> pick(const PoolFacts& pool, std::span<const EndpointState> states, Cursor& cursor,
                                       const Tried& tried, Instant now, Random& random);

/// The share of requests each member gets in the long run when all with weight > 0 are usable and equally loaded.
/// Sums to 1, or all 0 when every weight is 0.
[[nodiscard]] std::vector<double> expected_shares(const PoolFacts& pool);

// ---- passive health ------------------------------------------------------------------------------------------------

/// Folds one attempt into the endpoint's state; may eject it. `ejected_now` = how many of the pool are out already.
/// Failure: an upstream cause, or a status >= 500. Success: any other status; it resets the row. Attempts that ended
/// for other reasons (client gone, total timeout) count neither way, nor does what still comes back from an endpoint
/// that is out already. At most max_fraction of the pool is out at once, but at least one may be; a pool of one ejects
/// nobody. Returns true if this ejected it.
bool observe(EndpointState& state, const Attempt& attempt, const Ejection& ejection, std::size_t pool_size,
             std::size_t ejected_now, Instant now);

// ---- active health -------------------------------------------------------------------------------------------------

/// Rise and fall over probe results; pure, kept by control, one per endpoint.
struct ProbeState {
    Health health = Health::unknown;
    std::uint32_t streak = 0;  ///< results in a row that disagree with `health`
};
/// First result decides at once (a new endpoint waits for one good probe, not `rise`); after that `rise` good results
/// bring up, `fall` bad ones take down. Returns true when health changed.
bool probe_result(ProbeState& state, bool good, std::uint32_t rise, std::uint32_t fall);

// ---- retries -------------------------------------------------------------------------------------------------------

enum class RetryOn : std::uint8_t { connect_failure = 1, reset = 2, timeout = 4, status_5xx = 8 };

struct RetryFacts {
    std::uint8_t attempts = 2;    ///< in all, 1..max_attempts; 1 = no retry
    std::uint8_t on = 1;          ///< set of RetryOn bits
    bool non_idempotent = false;  ///< also POST/PATCH after bytes were sent; off unless the operator says so
    double budget = 0.2;          ///< retries per request in the recent past
    double min_per_second = 3;    ///< a quiet pool may retry this much whatever the budget says; per worker
};

/// Most tokens a bucket holds: what one endpoint's connections need that break all at once, and no more; a healthy
/// hour must not pay for a storm.
inline constexpr double retry_burst = 100;

/// Token bucket over requests: each request earns `budget` tokens (capped), each retry costs one (Finagle's
/// RetryBudget). In a pool so quiet that min_per_second would have earned more since the last request, time earns
/// instead; the two never add up.
struct RetryBudget {
    double tokens = 0;
    Instant refilled{INT64_MIN / 2};  ///< when it last earned; long ago at first, so that the first request may retry
};
void on_request(RetryBudget& budget, const RetryFacts& facts, Instant now);

/// Whether to try once more, and takes the token if so. `made` = attempts made so far. `sent` = some byte of the
/// request may have reached the endpoint; then only an idempotent request (or non_idempotent) with a replayable body is
/// sent again.
[[nodiscard]] bool may_retry(RetryBudget& budget, const RetryFacts& facts, const Attempt& failed, std::uint8_t made,
                             bool idempotent, bool sent, bool body_replayable, Instant now);

}  // namespace plimsoll::balance
