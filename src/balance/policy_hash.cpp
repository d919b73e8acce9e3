// Policies that map keys: Maglev, ring, rendezvous; with bounded loads. Pure; see policy.h.
// Sources: Eisenbud et al., NSDI'16; Thaler and Ravishankar 1998; Schindelhauer and Schomaker 2005 for weights;
// Mirrokni, Thorup and Zadimoghaddam, arXiv 1608.01350, and random jumps, arXiv 1908.08762, for bounded loads.
#include <cmath>

#include "balance/hash_table.h"
#include "balance/view.h"
#include "base/hash.h"

namespace plimsoll::balance {
namespace {

/// Places in a table that a key looks at before every endpoint is scored. With half of them unable to serve, one pick
/// in four thousand millions gets that far.
constexpr std::uint64_t max_jumps = 32;

/// One key's view of the candidates.
struct Keyed {
    const Eligible& eligible;
    const Candidates& all;
    std::uint64_t key;
    double bounded_load;
    double in_flight;  ///< of all candidates; only with bounded_load

    /// Below its bound if this request were there too: c x average per weight, rounded up so that somebody always is.
    [[nodiscard]] bool below_bound(std::uint32_t i) const {
        if (bounded_load <= 0) return true;
        const double part = eligible.view.weight(i) / all.total;
        return eligible.view.in_flight(i) < std::ceil(bounded_load * (in_flight + 1) * part - 1e-9);
    }
    /// Slow start: this endpoint takes only a fraction of its keys, always the same ones and more and more of them.
    [[nodiscard]] bool warm_enough(std::uint32_t i) const {
        if (all.warmest <= 0) return true;
        const View& view = eligible.view;
        const double factor = weight_factor(view.pool, view.state(i), view.now) / all.warmest;
        return factor >= 1 || unit_interval(keyed_hash(key, identity_of(view.pool.members[i]) ^ 0x77a3)) < factor;
    }
};

/// Weighted rendezvous over the candidates; the bound holds unless nobody is below it.
std::optional<std::uint32_t> best_score(const Keyed& keyed) {
    const View& view = keyed.eligible.view;
    const bool even = keyed.all.even();
    std::optional<std::uint32_t> best, best_of_all;
    double most = 0, most_of_all = 0;
    for (std::uint32_t i = 0; i < view.size(); ++i) {
        if (!keyed.eligible(i)) continue;
        const std::uint64_t hash = keyed_hash(keyed.key, identity_of(view.pool.members[i]));
        const double u = (static_cast<double>(hash >> 11) + 0.5) * 0x1.0p-53;
        const double score = even ? u : -view.weight(i) / std::log(u);
        if (!best_of_all || score > most_of_all) {
            best_of_all = i;
            most_of_all = score;
        }
        if (keyed.below_bound(i) && (!best || score > most)) {
            best = i;
            most = score;
        }
    }
    return best ? best : best_of_all;
}

std::optional<std::uint32_t> by_table(const Keyed& keyed) {
    const View& view = keyed.eligible.view;
    const HashTable* table = view.pool.table.get();
    if (table == nullptr) return best_score(keyed);
    for (std::uint64_t jump = 0; jump < max_jumps; ++jump) {
        const std::uint32_t i =
            table->at(jump == 0 ? keyed_hash(keyed.key, 0x686f6d65) : keyed_hash(keyed.key, 0x6a756d70 + jump));
        if (i >= view.size() || !keyed.eligible(i)) continue;
        if (keyed.warm_enough(i) && keyed.below_bound(i)) return i;
    }
    return best_score(keyed);
}

Keyed keyed(const Eligible& eligible, const Candidates& all, double bounded_load, Random& random) {
    const View& view = eligible.view;
    double in_flight = 0;
    for (std::uint32_t i = 0; bounded_load > 0 && i < view.size(); ++i) {
        if (eligible(i)) in_flight += view.in_flight(i);
    }
    return {eligible, all, view.asked.key ? *view.asked.key : random.next(), bounded_load, in_flight};
}

}  // namespace

std::optional<std::uint32_t> choose(const Maglev& policy, const Eligible& eligible, const Candidates& all, Cursor&,
                                    Random& random) {
    return by_table(keyed(eligible, all, policy.bounded_load, random));
}

std::optional<std::uint32_t> choose(const RingHash& policy, const Eligible& eligible, const Candidates& all, Cursor&,
                                    Random& random) {
    return by_table(keyed(eligible, all, policy.bounded_load, random));
}

std::optional<std::uint32_t> choose(const Rendezvous& policy, const Eligible& eligible, const Candidates& all, Cursor&,
                                    Random& random) {
    return best_score(keyed(eligible, all, policy.bounded_load, random));
}

}  // namespace plimsoll::balance
