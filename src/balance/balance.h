// Chooses an endpoint. Pure: facts come from the snapshot, state belongs to the caller, time and dice are arguments.
// The proxy's workers and the simulator call these very functions. Policies and what they go by are in policy.h; limits
// and queues in admission.h; retries in retry.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "balance/adaptive.h"
#include "balance/policy.h"
#include "balance/retry.h"
#include "base/ids.h"
#include "base/outcome.h"
#include "base/random.h"
#include "base/time.h"

namespace plimsoll::balance {

// ---- facts: fixed for the life of a snapshot -----------------------------------------------------------------------

/// Levels of priority: 0 is used first.
inline constexpr std::uint8_t max_levels = 16;
/// Zones told apart in one pool, without "none stated"; endpoints of further ones count as "none stated".
inline constexpr std::uint8_t max_zones = 31;

/// One endpoint of a pool as the config says it.
struct Member {
    EndpointId id;                    ///< index into the worker's endpoint states
    double weight = 1;                ///< >= 0; 0 = takes no new requests (drained)
    double capacity = 0;              ///< requests/s it is declared to carry; 0 = not declared
    std::uint32_t max_in_flight = 0;  ///< per worker; 0 = no limit
    std::uint8_t priority = 0;        ///< level, 0..max_levels - 1
    std::uint8_t zone = 0;            ///< number within the pool, 1..max_zones; 0 = none stated
    /// The same for this endpoint in every process and after every restart (a hash of its address): what keys are
    /// mapped by. 0 = made from `id`, which is only good within one process.
    std::uint64_t identity = 0;
};

/// Passive ejection: `consecutive` upstream failures in a row take an endpoint out for `base` x (times ejected), at
/// most `ceiling`. With `success_rate` also whoever falls below the others' mean success rate by more than
/// `stdev_factor` standard deviations over an `interval` (Envoy's rule). Both share one ceiling.
struct Ejection {
    std::uint32_t consecutive = 5;
    Duration base = std::chrono::seconds(10);
    Duration ceiling = std::chrono::seconds(300);
    double max_fraction = 0.34;  ///< of the pool's endpoints that may be out by ejection; at least one may be
    bool success_rate = false;
    double stdev_factor = 1.9;
    std::uint32_t min_requests = 100;  ///< of an endpoint in an interval, over all workers, to be compared
    std::uint32_t min_endpoints = 5;   ///< that can be compared, for a comparison at all
    Duration interval = std::chrono::seconds(10);
};

class HashTable;

/// Whether it goes by a key (Asked::key).
[[nodiscard]] bool is_hashing(const Policy& policy);

struct PoolFacts {
    PoolId id;
    Policy policy;
    std::vector<Member> members;  ///< in file order; EndpointIndex is an index into this
    Ejection ejection;
    double panic_threshold = 0.5;              ///< below this healthy fraction (by count) all are used, visibly
    std::shared_ptr<const HashTable> table{};  ///< by build_table; null: hashing policies score every endpoint instead
    Duration slow_start{};                     ///< 0 = off; see weight_factor
    std::uint8_t own_zone = 0;                 ///< the balancer's own, as in Member::zone; 0 = zones play no part
    /// Part of all requests for this pool that arrive at balancers in our zone, in (0, 1]; 0 = not known: each zone
    /// that has endpoints is taken to send the same.
    double own_zone_traffic = 0;
    std::optional<Adaptive> adaptive{};  ///< limits per endpoint that follow its latency; min and max are per worker
};

/// What keys are mapped by, for Maglev and RingHash; null for other policies, for no members and for more than 65,535.
/// Built once per snapshot: about 2 ms for Maglev, 10 ms for a ring of 1,000 endpoints.
[[nodiscard]] std::shared_ptr<const HashTable> build_table(const Policy& policy, std::span<const Member> members);

/// Some of a pool's endpoints: those with the labels that a route names. Built once per snapshot and route.
class Subset {
public:
    Subset() = default;
    /// `members` = size of the pool; indices beyond it are left out.
    Subset(std::span<const EndpointIndex> chosen, std::size_t members);
    [[nodiscard]] bool contains(std::uint32_t i) const {
        return i / 64 < bits_.size() && ((bits_[i / 64] >> (i % 64)) & 1) != 0;
    }

private:
    std::vector<std::uint64_t> bits_;
};

// ---- state: outlives snapshots, keyed by identity, one set per worker ----------------------------------------------

enum class Health : std::uint8_t { unknown, up, down };
/// "unchecked", "up", "DOWN", as people and the admin API are told.
[[nodiscard]] std::string_view name(Health health);

/// What one worker knows about one endpoint. Survives every config change.
struct EndpointState {
    Health health = Health::unknown;    ///< by active checks; told by control. `unknown` is used only if nobody is up
    std::uint32_t in_flight = 0;        ///< requests this worker has there now
    std::uint32_t failures_in_row = 0;  ///< upstream-caused; SharedEjections counts for all workers
    std::uint32_t times_ejected = 0;    ///< decays: one less for each `base` served without failure
    /// Out while this lies ahead. Once past, it marks since when the endpoint has served without failure.
    Instant ejected_until{INT64_MIN};
    Instant not_before{INT64_MIN};  ///< out while this lies ahead: the endpoint asked for it (Retry-After)
    Instant up_since{INT64_MIN};    ///< the slow-start clock: when it came up or is back from ejection; long ago = warm
    Latency latency{};              ///< for PeakEwma, and the failure rate for Prequal
    Limiter limiter{};              ///< for PoolFacts::adaptive
    Samples samples{};              ///< for Prequal
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

// ---- picking -------------------------------------------------------------------------------------------------------

/// Endpoints already tried for this request, by position in the pool.
struct Tried {
    std::uint8_t count = 0;
    EndpointIndex index[max_attempts] = {};
    [[nodiscard]] bool contains(EndpointIndex i) const;
    void add(EndpointIndex i);
};

/// What a request brings to the choice besides what it has tried. Views live during the call.
struct Asked {
    std::optional<std::uint64_t> key{};  ///< hash of what the pool's `hash` names; none = by lot. Hashing policies only
    const Subset* subset = nullptr;      ///< the route's; null = the whole pool
    /// In-flight requests of all workers by EndpointId (SharedLoads::view); empty = this worker's own are all there is.
    std::span<const std::atomic<std::uint32_t>> shared{};
};

struct Pick {
    EndpointIndex index;
    bool panic = false;  ///< chosen although down or ejected, because too few are healthy
};

/// The endpoint for the next attempt, or nullopt when nobody is eligible: weight 0, not in the subset, at its limit,
/// down or ejected (unless panic), already tried. When all eligible have been tried, nullopt.
///
/// Who is healthy: up and not out; if nobody is up, the unknown. The healthy fraction counts members with weight > 0;
/// those not yet known count on neither side while somebody is up (adding endpoints is no panic). Below panic_threshold
/// everybody of that level is used.
/// Subsets: the subset is the pool for this request - fractions, panic and levels are its own - and nobody outside it
/// is ever chosen: a subset that cannot serve gives nullopt, and the answer is a 503 that names it.
/// Levels: level p can carry min(1, 1.4 x healthy fraction) of the requests; 0 takes what it can, 1 of the rest what it
/// can, and so on. If all together can carry less than everything, they share in that proportion, and only then may
/// levels panic (a pool of one level panics by its threshold alone). Formula: Envoy's documentation of priority levels.
/// Zones: with T = own_zone_traffic and L = our zone's part of the healthy weight, min(1, L/T) of the requests stay;
/// the rest goes to zones with weight to spare, in proportion to it. If every balancer does so, every endpoint gets its
/// part by weight and no more. Hashing policies with a key leave zones out: a key has one home wherever it arrives.
///
/// Advances `cursor` (and sizes it once if it is empty). Does not touch in_flight: the caller counts when it really
/// sends. `states` must reach beyond every member's id. O(N), allocates nothing (but for sizing the cursor).
[[nodiscard]] std::optional<Pick> pick(const PoolFacts& pool, std::span<const EndpointState> states, Cursor& cursor,
                                       const Tried& tried, Instant now, Random& random, const Asked& asked = {});

/// Why pick found nobody; for the answer and the log.
enum class Nobody : std::uint8_t {
    empty,      ///< no endpoint with weight in the pool, or in the subset
    unhealthy,  ///< all down or out
    limited,    ///< healthy ones are at their limit: a request may wait for a place
    tried,      ///< all that could serve have been tried
};
[[nodiscard]] Nobody why_nobody(const PoolFacts& pool, std::span<const EndpointState> states, const Tried& tried,
                                Instant now, const Asked& asked = {});

/// Whether this one could be chosen by name, without a policy: up (or unknown while nobody is up), not out, below its
/// limit, in the subset, weight > 0. For affinity by cookie; a drained endpoint (weight 0) is left by its clients.
[[nodiscard]] bool may_serve(const PoolFacts& pool, std::span<const EndpointState> states, EndpointIndex index,
                             Instant now, const Asked& asked = {});

/// The share of requests each member gets in the long run when all with weight > 0 are usable and equally loaded: by
/// weight within the first level that has any. Zones and keys are left out. Sums to 1, or all 0 when every weight is 0.
[[nodiscard]] std::vector<double> expected_shares(const PoolFacts& pool);
/// The same when some are down or out (`usable[i]` false), spill between levels and panic included.
[[nodiscard]] std::vector<double> expected_shares(const PoolFacts& pool, const std::vector<bool>& usable);
/// What this balancer sends where then: the same with zones, unless keys decide. (Over all balancers the others' zones
/// make up for it, so that each endpoint gets its expected share.)
[[nodiscard]] std::vector<double> local_shares(const PoolFacts& pool, const std::vector<bool>& usable);

/// Slow start: what an endpoint's weight is multiplied by, in [0.1, 1]: the time since up_since over `slow_start`.
/// Works with every policy: hashing ones send it this fraction of its keys, always the same ones. Endpoints that came
/// up together share as if all were warm, so a process that starts does not limp.
[[nodiscard]] double weight_factor(const PoolFacts& pool, const EndpointState& state, Instant now);

// ---- what an attempt teaches ---------------------------------------------------------------------------------------

/// What an attempt says about its endpoint. Failure: an upstream cause, or a status >= 500. Success: any other status,
/// or a connection without a status (TCP). Attempts that ended for other reasons (client gone, total timeout): nothing.
enum class Lesson : std::uint8_t { none, succeeded, failed };
[[nodiscard]] Lesson lesson_of(const Attempt& attempt);

/// Folds one attempt into the endpoint's state; may eject it. `ejected_now` = count_out of its pool. A success resets
/// the row. What still comes back from an endpoint that is out already counts neither way. At most max_fraction of the
/// pool is out at once, but at least one may be; a pool of one ejects nobody. Returns true if this ejected it.
bool observe(EndpointState& state, const Attempt& attempt, const Ejection& ejection, std::size_t pool_size,
             std::size_t ejected_now, Instant now);

/// Folds what the attempt cost into what policies and adaptive limits go by. `took` = from sending until the head of
/// the answer, or until the attempt ended without one; `others` = requests this worker (with SharedLoads: all workers)
/// had there besides when it was sent. Attempts that ended for reasons of the client teach only that it takes at least
/// this long. Call it for every attempt, beside `observe`.
void learn(EndpointState& state, const PoolFacts& pool, const Attempt& attempt, Duration took, std::uint32_t others,
           Instant now);

/// Members that are out now, by ejection or on their own asking.
[[nodiscard]] std::size_t count_out(const PoolFacts& pool, std::span<const EndpointState> states, Instant now);

/// What one interval of success-rate ejection has seen of an endpoint.
struct SuccessWindow {
    std::uint32_t requests = 0;
    std::uint32_t failures = 0;
};
/// At the end of an interval: ejects outliers, the worst first, within the ceiling. `windows` by position in the pool.
/// The number ejected.
std::size_t compare_success(const PoolFacts& pool, std::span<EndpointState> states,
                            std::span<const SuccessWindow> windows, Instant now);
/// The rate below which an endpoint is an outlier: mean - stdev_factor x standard deviation over the windows with
/// min_requests or more (Envoy's documentation of outlier detection). nullopt when fewer than min_endpoints have them.
[[nodiscard]] std::optional<double> success_bar(std::span<const SuccessWindow> windows, const Ejection& ejection);

/// Longest that Retry-After keeps an endpoint out, whatever it says.
inline constexpr Duration longest_hold = std::chrono::seconds(30);
/// An endpoint that answered 503 with Retry-After gets no requests for that long, at most longest_hold, within the
/// ceiling of ejection. A 429 is about one client's rate, so it holds nobody else back. `ejected_now` = count_out.
/// True if it is held. The header itself is read by retry_after() in retry.h.
bool hold_back(EndpointState& state, std::uint16_t status, Duration asked_for, const Ejection& ejection,
               std::size_t pool_size, std::size_t ejected_now, Instant now);

// ---- active health -------------------------------------------------------------------------------------------------

/// How an endpoint that comes up begins.
enum class Entry : std::uint8_t {
    slowly,   ///< through slow start, if the pool has one
    at_once,  ///< known to be warm: up at the first look after our own start, so it has served all along
};
/// Takes over what active checks say. Coming up from unknown or down starts the slow-start clock, unless it is known to
/// be warm; who is out by an ejection or a pause comes back through slow start all the same. An ejection is not
/// lifted: it ends by its own time, so a green check cannot bring an outlier back early.
void set_health(EndpointState& state, Health health, Instant now, Entry entry = Entry::slowly);

/// Rise and fall over probe results; pure, kept by control, one per endpoint.
struct ProbeState {
    Health health = Health::unknown;
    std::uint32_t streak = 0;  ///< results in a row that disagree with `health`
};
/// First result decides at once (a new endpoint waits for one good probe, not `rise`); after that `rise` good results
/// bring up, `fall` bad ones take down. Returns true when health changed.
bool probe_result(ProbeState& state, bool good, std::uint32_t rise, std::uint32_t fall);

}  // namespace plimsoll::balance
