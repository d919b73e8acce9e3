// Which part of a pool a request may go to: levels of priority, panic, zones. Pure; the rules are in balance.h at pick.
// Source: Envoy's documentation of priority levels and of zone aware routing, for the formulas.
#include <algorithm>
#include <array>

#include "balance/view.h"
#include "base/hash.h"

namespace plimsoll::balance {
namespace {

/// How much more than its part a healthy endpoint is taken to bear before a level spills (Envoy's default).
constexpr double overprovisioning = 1.4;

struct Level {
    std::uint32_t up = 0, unknown = 0, sick = 0;
    [[nodiscard]] bool there() const { return up + unknown + sick > 0; }
};

struct Survey {
    std::array<Level, max_levels> levels{};
    std::uint32_t up = 0;
    Candidates free_up;  ///< up, with room: the candidates if the pool is plain
};

/// One look at the whole pool. Limits and tried endpoints play no part in health: a busy pool is not an unhealthy one.
Survey survey(const View& view) {
    Survey seen;
    for (std::uint32_t i = 0; i < view.size(); ++i) {
        if (!view.takes_part(i)) continue;
        const EndpointState& state = view.state(i);
        Level& level = seen.levels[level_of(view.pool.members[i])];
        if (state.health == Health::down || is_out(state, view.now)) {
            ++level.sick;
        } else if (state.health == Health::unknown) {
            ++level.unknown;
        } else {
            ++level.up;
            ++seen.up;
            if (view.has_room(i)) seen.free_up.add(view.weight(i));
        }
    }
    return seen;
}

/// How a level fares, seen with the others.
struct Standing {
    double fraction = 0;   ///< healthy of those that are known
    double available = 0;  ///< of all requests that it can carry
    double load = 0;       ///< of all requests that it gets
    std::uint32_t known = 0;
    bool healthy = false;  ///< somebody is
    bool panic = false;
};

struct Standings {
    std::array<Standing, max_levels> level{};
    std::size_t there = 0;
};

void share_out(Standings& all, double threshold) {
    double total = 0;
    for (const Standing& one : all.level) total += one.available;
    if (all.there == 1) {  // nowhere to spill to: the threshold alone decides
        for (Standing& one : all.level) {
            one.panic = one.known > 0 && one.fraction < threshold;
            one.load = one.known > 0 ? 1 : 0;
        }
        return;
    }
    if (total >= 1) {
        double left = 1;
        for (Standing& one : all.level) {
            one.load = std::min(left, one.available);
            left -= one.load;
        }
        return;
    }
    double panicking = 0;
    for (Standing& one : all.level) {
        one.panic = one.known > 0 && one.fraction < threshold;
        panicking += one.panic ? one.known : 0;
    }
    for (Standing& one : all.level) {
        if (total > 0) one.load = one.available / total;
        if (total <= 0 && one.panic) one.load = one.known / panicking;  // nobody at all is healthy: by count
    }
}

Standings stand(const Survey& seen, double threshold) {
    Standings all;
    for (std::size_t p = 0; p < max_levels; ++p) {
        const Level& level = seen.levels[p];
        if (!level.there()) continue;
        ++all.there;
        Standing& one = all.level[p];
        const std::uint32_t healthy = seen.up > 0 ? level.up : level.unknown;
        one.known = healthy + level.sick;
        one.healthy = healthy > 0;
        if (one.known == 0) continue;  // new ones only, and others are up: nothing is known of this level yet
        one.fraction = static_cast<double>(healthy) / one.known;
        one.available = std::min(1.0, overprovisioning * one.fraction);
    }
    share_out(all, threshold);
    return all;
}

/// In [0, 1): the same for the same key, else by lot.
double die(const View& view, bool keyed, std::uint64_t salt, Random& random) {
    return keyed ? unit_interval(keyed_hash(*view.asked.key, salt)) : random.uniform();
}

/// The level that this request goes to first.
std::size_t first_level(const View& view, const Standings& all, bool keyed, Random& random) {
    for (std::size_t p = 0; p < max_levels; ++p) {
        if (all.level[p].load >= 1 - 1e-12) return p;
    }
    double left = die(view, keyed, 0x6c6576656c, random);
    std::size_t last = max_levels;
    for (std::size_t p = 0; p < max_levels; ++p) {
        if (all.level[p].load <= 0) continue;
        last = p;
        left -= all.level[p].load;
        if (left < 0) break;
    }
    return last;
}

/// By zone; 0 is for endpoints that name none.
using ByZone = std::array<double, max_zones + 1>;

/// Of the requests for endpoints whose weights are `part` by zone, what goes to each zone: see Zones at pick. All 0: no
/// zone is chosen.
ByZone zone_shares(const PoolFacts& pool, const ByZone& part) {
    ByZone shares{};
    const std::uint8_t own = pool.own_zone;
    if (own > max_zones || part[own] <= 0) return shares;
    double total = 0;
    for (const double weight : part) total += weight;
    const auto zones = std::count_if(part.begin() + 1, part.end(), [](double weight) { return weight > 0; });
    const double given = pool.own_zone_traffic;
    const double arrives = given > 0 ? std::min(given, 1.0) : 1.0 / static_cast<double>(zones);
    const double carries = part[own] / total;
    shares[own] = std::min(1.0, carries / arrives);
    if (carries >= arrives) return shares;
    const double elsewhere = zones > 1 ? (1 - arrives) / static_cast<double>(zones - 1) : 0;
    ByZone spare{};
    double sum = 0;
    for (std::uint8_t z = 0; z <= max_zones; ++z) {
        if (z == own || part[z] <= 0) continue;
        spare[z] = std::max(0.0, part[z] / total - (z == 0 ? 0.0 : elsewhere));
        sum += spare[z];
    }
    const double rest = 1 - shares[own];
    for (std::uint8_t z = 0; z <= max_zones; ++z)
        shares[z] += rest * (sum > 0 ? spare[z] / sum : part[z] / total);  // nobody has any to spare: by weight
    return shares;
}

/// The zone within the slice that this request goes to.
std::uint8_t choose_zone(const View& view, const Slice& slice, Random& random) {
    ByZone part{};
    const Eligible eligible{view, slice};
    for (std::uint32_t i = 0; i < view.size(); ++i)
        if (eligible.in_slice(i)) part[zone_of(view.pool.members[i])] += view.weight(i);
    const ByZone shares = zone_shares(view.pool, part);
    if (view.pool.own_zone <= max_zones && shares[view.pool.own_zone] >= 1) return view.pool.own_zone;
    double left = random.uniform();
    std::uint8_t last = any_zone;
    for (std::uint8_t z = 0; z <= max_zones; ++z) {
        if (shares[z] <= 0) continue;
        last = z;
        left -= shares[z];
        if (left < 0) break;
    }
    return last;
}

}  // namespace

Order order(const View& view, bool keyed, Random& random) {
    Order parts;
    const Survey seen = survey(view);
    const Standings all = stand(seen, view.pool.panic_threshold);
    parts.members = all.there > 0;
    const std::size_t first = first_level(view, all, keyed, random);
    if (first == max_levels) return parts;
    const bool zones = view.pool.own_zone != 0 && !keyed;
    const auto ask = [&](std::size_t p, bool with_zone) {
        const Standing& level = all.level[p];
        if (!level.healthy && !level.panic) return;
        Slice slice{level.panic ? Tier::everybody : seen.up > 0 ? Tier::up : Tier::unknown, any_level, any_zone};
        if (all.there > 1) slice.level = static_cast<std::uint8_t>(p);
        if (with_zone) {
            Slice zone = slice;
            zone.zone = choose_zone(view, slice, random);
            if (zone.zone != any_zone) parts.add(zone);
        }
        parts.add(slice);
    };
    ask(first, zones);
    for (std::size_t p = 0; p < max_levels; ++p) {
        if (p != first && all.level[p].known > 0) ask(p, false);  // when the first has no room, or has been tried
    }
    parts.plain = all.there == 1 && !zones && view.tried.count == 0 && parts.count > 0 &&
                  parts.slices[0].tier == Tier::up && view.pool.slow_start <= Duration::zero();
    parts.candidates = seen.free_up;
    return parts;
}

namespace {

/// Gives each zone of level `p`, whose shares sum to `load`, what zone_shares says; within a zone nothing changes.
void divide_by_zone(const PoolFacts& pool, std::size_t p, double load, std::vector<double>& shares) {
    ByZone part{};
    for (std::size_t i = 0; i < shares.size(); ++i)
        if (level_of(pool.members[i]) == p) part[zone_of(pool.members[i])] += shares[i];
    const ByZone wanted = zone_shares(pool, part);
    if (std::ranges::all_of(wanted, [](double share) { return share <= 0; })) return;
    for (std::size_t i = 0; i < shares.size(); ++i) {
        const std::uint8_t zone = zone_of(pool.members[i]);
        if (level_of(pool.members[i]) == p && shares[i] > 0) shares[i] *= load * wanted[zone] / part[zone];
    }
}

std::vector<double> shares_of(const PoolFacts& pool, const std::vector<bool>& usable, bool zones) {
    Survey seen;
    const auto good = [&](std::size_t i) { return i >= usable.size() || usable[i]; };
    for (std::size_t i = 0; i < pool.members.size(); ++i) {
        if (!(pool.members[i].weight > 0)) continue;
        Level& level = seen.levels[level_of(pool.members[i])];
        ++(good(i) ? level.up : level.sick);
        seen.up += good(i);
    }
    const Standings all = stand(seen, pool.panic_threshold);
    const auto takes = [&](std::size_t i) {
        return pool.members[i].weight > 0 && (good(i) || all.level[level_of(pool.members[i])].panic);
    };
    std::array<double, max_levels> total{};
    for (std::size_t i = 0; i < pool.members.size(); ++i)
        if (takes(i)) total[level_of(pool.members[i])] += pool.members[i].weight;
    std::vector<double> shares(pool.members.size(), 0.0);
    for (std::size_t i = 0; i < pool.members.size(); ++i) {
        const std::size_t p = level_of(pool.members[i]);
        if (takes(i)) shares[i] = all.level[p].load * pool.members[i].weight / total[p];
    }
    if (zones) {
        for (std::size_t p = 0; p < max_levels; ++p)
            if (total[p] > 0) divide_by_zone(pool, p, all.level[p].load, shares);
    }
    return shares;
}

}  // namespace

std::vector<double> expected_shares(const PoolFacts& pool, const std::vector<bool>& usable) {
    return shares_of(pool, usable, false);
}

std::vector<double> local_shares(const PoolFacts& pool, const std::vector<bool>& usable) {
    return shares_of(pool, usable, pool.own_zone != 0 && !is_hashing(pool.policy));
}

std::vector<double> expected_shares(const PoolFacts& pool) {
    return expected_shares(pool, std::vector<bool>(pool.members.size(), true));
}

}  // namespace plimsoll::balance
