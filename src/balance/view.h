// Inside of this room: the pool as one request sees it, and the policies as functions over that. Pure.
#pragma once

#include <optional>
#include <span>

#include "balance/balance.h"

namespace plimsoll::balance {

/// Who may be picked at all, in the order of preference of balance.h.
enum class Tier : std::uint8_t { up, unknown, everybody };

inline constexpr std::uint8_t any_level = 255;
inline constexpr std::uint8_t any_zone = 255;

/// The part of a pool that one choice is made from.
struct Slice {
    Tier tier = Tier::up;
    std::uint8_t level = any_level;
    std::uint8_t zone = any_zone;
};

[[nodiscard]] inline bool is_out(const EndpointState& state, Instant now) {
    return state.ejected_until > now || state.not_before > now;
}

/// Zone numbers beyond those told apart count as "none stated"; levels beyond the last as the last.
[[nodiscard]] inline std::uint8_t zone_of(const Member& member) { return member.zone <= max_zones ? member.zone : 0; }
[[nodiscard]] inline std::uint8_t level_of(const Member& member) {
    return member.priority < max_levels ? member.priority : static_cast<std::uint8_t>(max_levels - 1);
}

/// What all parts of one pick look at.
struct View {
    const PoolFacts& pool;
    std::span<const EndpointState> states;
    const Tried& tried;
    Instant now;
    const Asked& asked;

    [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(pool.members.size()); }
    [[nodiscard]] const EndpointState& state(std::uint32_t i) const { return states[pool.members[i].id.value]; }
    /// Takes part: has weight, and is in the subset.
    [[nodiscard]] bool takes_part(std::uint32_t i) const {
        return pool.members[i].weight > 0 && (asked.subset == nullptr || asked.subset->contains(i));
    }
    [[nodiscard]] bool has_room(std::uint32_t i) const {
        const Member& member = pool.members[i];
        const EndpointState& its = state(i);
        if (member.max_in_flight != 0 && its.in_flight >= member.max_in_flight) return false;
        return !pool.adaptive || its.in_flight < limit(its.limiter, *pool.adaptive);
    }
    [[nodiscard]] bool healthy(std::uint32_t i, Health as) const {
        return state(i).health == as && !is_out(state(i), now);
    }
    /// Weight as of now: slow start makes it smaller.
    [[nodiscard]] double weight(std::uint32_t i) const {
        const double full = pool.members[i].weight;
        return pool.slow_start <= Duration::zero() ? full : full * weight_factor(pool, state(i), now);
    }
    [[nodiscard]] double in_flight(std::uint32_t i) const {
        const std::uint32_t id = pool.members[i].id.value;
        if (id < asked.shared.size()) return asked.shared[id].load(std::memory_order_relaxed);
        return states[id].in_flight;
    }
};

/// Answers "may this one be picked" within a slice.
struct Eligible {
    const View& view;
    Slice slice;

    [[nodiscard]] bool in_slice(std::uint32_t i) const {
        const Member& member = view.pool.members[i];
        if (!view.takes_part(i)) return false;
        if (slice.level != any_level && level_of(member) != slice.level) return false;
        if (slice.zone != any_zone && zone_of(member) != slice.zone) return false;
        return slice.tier == Tier::everybody || view.healthy(i, slice.tier == Tier::up ? Health::up : Health::unknown);
    }
    [[nodiscard]] bool operator()(std::uint32_t i) const {
        return in_slice(i) && view.has_room(i) && (view.tried.count == 0 || !view.tried.contains({i}));
    }
};

/// Those who may be picked, summed up.
struct Candidates {
    std::uint32_t count = 0;
    double total = 0;     ///< weight
    double heaviest = 0;  ///< weight of one
    double warmest = 0;   ///< the largest slow-start factor; 0 if slow start is off

    void add(double weight) {
        ++count;
        total += weight;
        heaviest = weight > heaviest ? weight : heaviest;
    }
    [[nodiscard]] bool even() const { return heaviest * count <= total * (1 + 1e-12); }
};
[[nodiscard]] Candidates count(const Eligible& eligible);

/// The parts of the pool in the order in which they shall be asked until one has candidates. Levels, zones and panic
/// are decided here (levels.cpp).
struct Order {
    std::array<Slice, 2 * max_levels + 2> slices{};
    std::size_t count = 0;
    bool plain = false;       ///< one level, no zones, nobody tried: `candidates` are those of the first slice
    Candidates candidates{};  ///< only if plain
    bool members = false;     ///< somebody takes part at all
    void add(Slice slice) {
        if (count < slices.size()) slices[count++] = slice;
    }
};
[[nodiscard]] Order order(const View& view, bool keyed, Random& random);

/// Draws one of the candidates in proportion to weight, leaving out `without`. There must be another one.
[[nodiscard]] std::uint32_t draw(const Eligible& eligible, const Candidates& all, std::optional<std::uint32_t> without,
                                 Random& random);

// One function per policy: an index into the members, or nullopt when there is no candidate.
std::optional<std::uint32_t> choose(const RoundRobin&, const Eligible& eligible, const Candidates& all, Cursor& cursor,
                                    Random& random);
std::optional<std::uint32_t> choose(const LeastRequest&, const Eligible& eligible, const Candidates& all,
                                    Cursor& cursor, Random& random);
std::optional<std::uint32_t> choose(const PeakEwma& policy, const Eligible& eligible, const Candidates& all,
                                    Cursor& cursor, Random& random);
std::optional<std::uint32_t> choose(const Prequal& policy, const Eligible& eligible, const Candidates& all,
                                    Cursor& cursor, Random& random);
std::optional<std::uint32_t> choose(const Maglev& policy, const Eligible& eligible, const Candidates& all,
                                    Cursor& cursor, Random& random);
std::optional<std::uint32_t> choose(const RingHash& policy, const Eligible& eligible, const Candidates& all,
                                    Cursor& cursor, Random& random);
std::optional<std::uint32_t> choose(const Rendezvous& policy, const Eligible& eligible, const Candidates& all,
                                    Cursor& cursor, Random& random);
std::optional<std::uint32_t> choose(const WeightedRandom&, const Eligible& eligible, const Candidates& all,
                                    Cursor& cursor, Random& random);

/// Up to this many candidates everybody is looked at: with two endpoints, two choices with replacement would take the
/// busier one a quarter of the time.
inline constexpr std::uint32_t full_scan_up_to = 4;

/// What keys are mapped by: see Member::identity.
[[nodiscard]] std::uint64_t identity_of(const Member& member);

}  // namespace plimsoll::balance
