// Picking an endpoint: eligibility, smooth weighted round robin, least request. Pure; see balance.h.
// Sources: nginx's smooth weighted round robin (2012); Mitzenmacher 2001 for two choices; complaint list of the field
// for what must not happen (weights by position in the healthy list, a herd onto new endpoints, busier of two).
#include <algorithm>
#include <cmath>

#include "balance/balance.h"

namespace plimsoll::balance {
namespace {

/// Who may be picked at all, in the order of preference of balance.h.
enum class Tier : std::uint8_t { up, unknown, everybody };

bool is_out(const EndpointState& state, Instant now) { return state.ejected_until > now; }

/// Those who may be picked, summed up.
struct Candidates {
    std::uint32_t count = 0;
    double total = 0;
    double first = 0;     ///< weight of the first of them
    bool uneven = false;  ///< not all weigh the same

    void add(double weight) {
        if (count++ == 0) first = weight;
        uneven |= weight != first;
        total += weight;
    }
};

struct Survey {
    Tier tier = Tier::up;
    bool somebody = false;
    Candidates free_up;  ///< up, not ejected, below its limit: the answer for Tier::up if nobody was tried yet
};

bool has_room(const Member& member, const EndpointState& state) {
    return member.max_in_flight == 0 || state.in_flight < member.max_in_flight;
}

/// One look at the whole pool. Limits and tried endpoints play no part in health: a busy pool is not an unhealthy one.
Survey survey(const PoolFacts& pool, std::span<const EndpointState> states, Instant now) {
    Survey seen;
    std::uint32_t up = 0, unknown = 0, sick = 0;
    for (const Member& member : pool.members) {
        if (!(member.weight > 0)) continue;
        const EndpointState& state = states[member.id.value];
        if (state.health == Health::up && !is_out(state, now)) {
            ++up;
            if (has_room(member, state)) seen.free_up.add(member.weight);
        } else if (state.health == Health::unknown && !is_out(state, now)) {
            ++unknown;
        } else {
            ++sick;
        }
    }
    const std::uint32_t healthy = up > 0 ? up : unknown;
    if (healthy + sick == 0) return seen;
    const double fraction = static_cast<double>(healthy) / static_cast<double>(healthy + sick);
    const bool panic = fraction < pool.panic_threshold;
    seen.tier = panic ? Tier::everybody : up > 0 ? Tier::up : Tier::unknown;
    seen.somebody = panic || healthy > 0;
    return seen;
}

/// Answers "may this one be picked" for one call of pick.
struct Eligible {
    const PoolFacts& pool;
    std::span<const EndpointState> states;
    const Tried& tried;
    Instant now;
    Tier tier;

    [[nodiscard]] bool operator()(std::uint32_t i) const {
        const Member& member = pool.members[i];
        const EndpointState& state = states[member.id.value];
        if (!(member.weight > 0)) return false;
        if (!has_room(member, state)) return false;
        if (tier != Tier::everybody) {
            if (state.health != (tier == Tier::up ? Health::up : Health::unknown) || is_out(state, now)) return false;
        }
        return tried.count == 0 || !tried.contains({i});
    }
};

std::uint32_t size_of(const PoolFacts& pool) { return static_cast<std::uint32_t>(pool.members.size()); }

/// nginx's rule: everybody eligible gains its weight, the richest serves and pays the total. Those not eligible neither
/// gain nor pay, so the proportions among the others stay exact.
template <class MayServe>
std::optional<std::uint32_t> smooth(std::span<const Member> members, std::span<double> current, double total,
                                    const MayServe& may_serve) {
    const auto n = static_cast<std::uint32_t>(members.size());
    std::uint32_t best = n;
    double most = 0;
    for (std::uint32_t i = 0; i < n; ++i) {
        if (!may_serve(i)) continue;
        current[i] += members[i].weight;
        if (best == n || current[i] > most) {
            best = i;
            most = current[i];
        }
    }
    if (best == n) return std::nullopt;
    current[best] -= total;
    return best;
}

Candidates count_candidates(const PoolFacts& pool, const Eligible& eligible) {
    Candidates all;
    for (std::uint32_t i = 0; i < size_of(pool); ++i) {
        if (eligible(i)) all.add(pool.members[i].weight);
    }
    return all;
}

/// Draws one of the candidates in proportion to weight, leaving out `without`.
std::uint32_t draw(const PoolFacts& pool, const Eligible& eligible, const Candidates& all,
                   std::optional<std::uint32_t> without, Random& random) {
    if (!all.uneven && all.count == pool.members.size()) {  // the common case: no need to look for the k-th candidate
        if (!without) return static_cast<std::uint32_t>(random.below(all.count));
        const auto k = static_cast<std::uint32_t>(random.below(all.count - 1));
        return k < *without ? k : k + 1;
    }
    double left = random.uniform() * (all.total - (without ? pool.members[*without].weight : 0.0));
    std::uint32_t last = without.value_or(0);
    for (std::uint32_t i = 0; i < size_of(pool); ++i) {
        if (i == without || !eligible(i)) continue;
        last = i;
        left -= pool.members[i].weight;
        if (left < 0) return i;
    }
    return last;  // rounding left a crumb: the last candidate has it
}

/// In-flight requests per weight if `extra` more were there.
double load(const PoolFacts& pool, std::span<const EndpointState> states, std::uint32_t i, double extra) {
    const Member& member = pool.members[i];
    return (static_cast<double>(states[member.id.value].in_flight) + extra) / member.weight;
}

/// Up to this many candidates everybody is looked at: with two endpoints, two choices with replacement would take the
/// busier one a quarter of the time.
constexpr std::uint32_t full_scan_up_to = 4;

std::optional<std::uint32_t> least(const PoolFacts& pool, const Eligible& eligible, const Candidates& all,
                                   Random& random) {
    if (all.count == 0) return std::nullopt;
    const std::uint32_t first = draw(pool, eligible, all, std::nullopt, random);
    if (all.count == 1) return first;
    const double bar = load(pool, eligible.states, first, 0);
    if (all.count > full_scan_up_to) {
        const std::uint32_t second = draw(pool, eligible, all, first, random);
        return load(pool, eligible.states, second, 1) <= bar ? second : first;
    }
    std::uint32_t best = first;
    double best_load = bar;
    std::uint64_t equals = 0;  // how many share best_load, so that ties fall by lot
    for (std::uint32_t i = 0; i < size_of(pool); ++i) {
        if (i == first || !eligible(i)) continue;
        const double its = load(pool, eligible.states, i, 1);
        if (its > best_load) continue;
        equals = its < best_load || best == first ? 1 : equals + 1;
        if (equals == 1 || random.below(equals) == 0) best = i;
        best_load = its;
    }
    return best;
}

double total_weight(std::span<const Member> members) {
    double total = 0;
    for (const Member& member : members) total += member.weight;
    return total;
}

/// Steps taken at most to reach a random phase of uneven weights; bounds what installing a large pool costs a worker.
constexpr std::uint64_t phase_work = 1u << 16;

}  // namespace

bool Tried::contains(EndpointIndex i) const { return std::find(index, index + count, i) != index + count; }

void Tried::add(EndpointIndex i) {
    if (count < max_attempts) index[count++] = i;
}

std::optional<Pick> pick(const PoolFacts& pool, std::span<const EndpointState> states, Cursor& cursor,
                         const Tried& tried, Instant now, Random& random, const Asked& /*asked*/) {
    const Survey seen = survey(pool, states, now);
    if (!seen.somebody) return std::nullopt;
    const Eligible eligible{pool, states, tried, now, seen.tier};
    const bool plain = seen.tier == Tier::up && tried.count == 0;  // the common case: the survey has counted already
    const Candidates all = plain ? seen.free_up : count_candidates(pool, eligible);
    std::optional<std::uint32_t> chosen;
    if (std::holds_alternative<LeastRequest>(pool.policy)) {
        chosen = least(pool, eligible, all, random);
    } else {
        if (cursor.current.size() != pool.members.size()) cursor.current.assign(pool.members.size(), 0.0);
        const bool everybody = plain && all.count == pool.members.size();
        chosen = everybody ? smooth(pool.members, cursor.current, all.total, [](std::uint32_t) { return true; })
                           : smooth(pool.members, cursor.current, all.total, eligible);
    }
    if (!chosen) return std::nullopt;
    const EndpointState& state = states[pool.members[*chosen].id.value];
    return Pick{{*chosen}, seen.tier == Tier::everybody && (state.health == Health::down || is_out(state, now))};
}

Cursor carry_over(const Cursor& old, std::span<const Member> old_members, std::span<const Member> members) {
    Cursor cursor;
    cursor.current.assign(members.size(), 0.0);
    const double before = total_weight(old_members);
    const double after = total_weight(members);
    if (before <= 0 || after <= 0 || old.current.size() != old_members.size()) return cursor;
    std::vector<std::pair<EndpointId, double>> known;  // sorted, so that 1,000 endpoints do not cost a million steps
    known.reserve(old_members.size());
    for (std::size_t i = 0; i < old_members.size(); ++i) known.emplace_back(old_members[i].id, old.current[i]);
    std::ranges::sort(known, {}, &std::pair<EndpointId, double>::first);
    for (std::size_t i = 0; i < members.size(); ++i) {
        const auto it = std::ranges::lower_bound(known, members[i].id, {}, &std::pair<EndpointId, double>::first);
        if (it == known.end() || it->first != members[i].id) continue;
        cursor.current[i] = std::clamp(it->second * (after / before), -after, after);
    }
    return cursor;
}

Cursor fresh_cursor(const PoolFacts& pool, Random& random) {
    Cursor cursor;
    const std::size_t n = pool.members.size();
    cursor.current.assign(n, 0.0);
    Candidates all;
    for (const Member& member : pool.members) {
        if (member.weight > 0) all.add(member.weight);
    }
    if (all.count == 0) return cursor;
    if (!all.uneven) {  // k steps taken at once: everybody gained k weights, the first k paid the total
        const std::uint64_t k = random.below(all.count);
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const double weight = pool.members[i].weight;
            if (!(weight > 0)) continue;
            cursor.current[i] = static_cast<double>(k) * weight - (seen++ < k ? all.total : 0.0);
        }
        return cursor;
    }
    const std::uint64_t steps = random.below(std::max<std::uint64_t>(phase_work / n, 16));
    for (std::uint64_t step = 0; step < steps; ++step) {
        (void)smooth(pool.members, cursor.current, all.total,
                     [&](std::uint32_t i) { return pool.members[i].weight > 0; });
    }
    return cursor;
}

std::vector<double> expected_shares(const PoolFacts& pool) {
    std::vector<double> shares(pool.members.size(), 0.0);
    const double total = total_weight(pool.members);
    if (total <= 0) return shares;
    std::ranges::transform(pool.members, shares.begin(), [&](const Member& m) { return m.weight / total; });
    return shares;
}

}  // namespace plimsoll::balance
