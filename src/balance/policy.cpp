// Picking an endpoint: the parts of the pool in order, and within the first that has candidates the pool's policy.
// Pure; see balance.h. What must not happen comes from the complaint list of the field: weights by position in the
// healthy list, a herd onto new endpoints, the busier of two, a subset that leaks.
#include "balance/policy.h"

#include <algorithm>

#include "balance/view.h"
#include "base/hash.h"

namespace plimsoll::balance {

/// Slow start never takes an endpoint below this part of its weight: it must be seen to warm up.
constexpr double slow_start_floor = 0.1;

bool Tried::contains(EndpointIndex i) const { return std::find(index, index + count, i) != index + count; }

void Tried::add(EndpointIndex i) {
    if (count < max_attempts) index[count++] = i;
}

Subset::Subset(std::span<const EndpointIndex> chosen, std::size_t members) : bits_((members + 63) / 64, 0) {
    for (const EndpointIndex i : chosen) {
        if (i.value < members) bits_[i.value / 64] |= std::uint64_t{1} << (i.value % 64);
    }
}

std::uint64_t identity_of(const Member& member) {
    return member.identity != 0 ? member.identity : keyed_hash(std::uint64_t{member.id.value}, 0x6964);
}

bool is_hashing(const Policy& policy) {
    return std::holds_alternative<Maglev>(policy) || std::holds_alternative<RingHash>(policy) ||
           std::holds_alternative<Rendezvous>(policy);
}

double weight_factor(const PoolFacts& pool, const EndpointState& state, Instant now) {
    if (pool.slow_start <= Duration::zero() || state.up_since.ns == INT64_MIN) return 1;
    if (state.up_since > now) return slow_start_floor;
    const double grown = static_cast<double>(now.ns - state.up_since.ns) / static_cast<double>(pool.slow_start.count());
    return std::clamp(grown, slow_start_floor, 1.0);
}

Candidates count(const Eligible& eligible) {
    Candidates all;
    const View& view = eligible.view;
    const bool slow = view.pool.slow_start > Duration::zero();
    for (std::uint32_t i = 0; i < view.size(); ++i) {
        if (!eligible(i)) continue;
        all.add(view.weight(i));
        if (slow) all.warmest = std::max(all.warmest, weight_factor(view.pool, view.state(i), view.now));
    }
    return all;
}

std::optional<Pick> pick(const PoolFacts& pool, std::span<const EndpointState> states, Cursor& cursor,
                         const Tried& tried, Instant now, Random& random, const Asked& asked) {
    const View view{pool, states, tried, now, asked};
    const Order parts = order(view, asked.key && is_hashing(pool.policy), random);
    for (std::size_t part = 0; part < parts.count; ++part) {
        const Eligible eligible{view, parts.slices[part]};
        const Candidates all = part == 0 && parts.plain ? parts.candidates : count(eligible);
        if (all.count == 0) continue;
        const auto chosen =
            std::visit([&](const auto& policy) { return choose(policy, eligible, all, cursor, random); }, pool.policy);
        if (!chosen) continue;
        const EndpointState& state = view.state(*chosen);
        const bool panic = eligible.slice.tier == Tier::everybody;
        return Pick{{*chosen}, panic && (state.health == Health::down || is_out(state, now))};
    }
    return std::nullopt;
}

Nobody why_nobody(const PoolFacts& pool, std::span<const EndpointState> states, const Tried& tried, Instant now,
                  const Asked& asked) {
    const View view{pool, states, tried, now, asked};
    Random dice(0);  // decides only in which order the parts come
    const Order parts = order(view, false, dice);
    if (!parts.members) return Nobody::empty;
    bool healthy = false;
    for (std::size_t part = 0; part < parts.count; ++part) {
        const Eligible eligible{view, parts.slices[part]};
        for (std::uint32_t i = 0; i < view.size(); ++i) {
            if (!eligible.in_slice(i)) continue;
            healthy = true;
            if (!view.has_room(i) && !tried.contains({i})) return Nobody::limited;
        }
    }
    return healthy ? Nobody::tried : Nobody::unhealthy;
}

bool may_serve(const PoolFacts& pool, std::span<const EndpointState> states, EndpointIndex index, Instant now,
               const Asked& asked) {
    const Tried nothing;
    const View view{pool, states, nothing, now, asked};
    if (index.value >= view.size() || !view.takes_part(index.value) || !view.has_room(index.value)) return false;
    if (view.healthy(index.value, Health::up)) return true;
    if (!view.healthy(index.value, Health::unknown)) return false;
    for (std::uint32_t i = 0; i < view.size(); ++i) {
        if (view.takes_part(i) && view.healthy(i, Health::up)) return false;
    }
    return true;
}

}  // namespace plimsoll::balance
