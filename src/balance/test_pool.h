// For this room's tests: a pool with one worker's state, all up at first.
#pragma once

#include <rapidcheck.h>

#include <optional>
#include <vector>

#include "balance/balance.h"

namespace plimsoll::balance {

struct TestPool {
    PoolFacts pool;
    std::vector<EndpointState> states;
    Cursor cursor;
    Random random{1};
    Instant now{1'000'000'000};

    TestPool(Policy policy, std::vector<double> weights) {
        pool.policy = policy;
        for (std::uint32_t i = 0; i < weights.size(); ++i) {
            pool.members.push_back({.id = EndpointId{i}, .weight = weights[i]});
            states.push_back({.health = Health::up});
        }
        pool.table = build_table(policy, pool.members);
    }
    std::optional<Pick> next(const Tried& tried = {}, const Asked& asked = {}) {
        return pick(pool, states, cursor, tried, now, random, asked);
    }
    /// Where this key goes.
    std::optional<std::uint32_t> home(std::uint64_t key) {
        const auto chosen = next({}, {key, nullptr, {}});
        return chosen ? std::optional(chosen->index.value) : std::nullopt;
    }
    std::vector<int> picks(int n, const Asked& asked = {}) {
        std::vector<int> counts(pool.members.size(), 0);
        for (int i = 0; i < n; ++i) {
            if (const auto chosen = next({}, asked)) ++counts[chosen->index.value];
        }
        return counts;
    }
    /// The same with a key of its own for each.
    std::vector<int> keyed_picks(std::uint64_t n) {
        std::vector<int> counts(pool.members.size(), 0);
        for (std::uint64_t key = 0; key < n; ++key) {
            if (const auto at = home(key)) ++counts[*at];
        }
        return counts;
    }
};

inline std::vector<Policy> all_policies() {
    return {RoundRobin{}, LeastRequest{}, PeakEwma{}, Prequal{}, Maglev{}, RingHash{}, Rendezvous{}, WeightedRandom{}};
}

inline std::vector<Policy> keyed_policies(double bounded_load = 0) {
    return {Maglev{bounded_load}, RingHash{bounded_load, 160}, Rendezvous{bounded_load}};
}

inline bool is_keyed(const Policy& policy) {
    return std::holds_alternative<Maglev>(policy) || std::holds_alternative<RingHash>(policy) ||
           std::holds_alternative<Rendezvous>(policy);
}

inline Policy some_policy() { return all_policies()[*rc::gen::inRange<std::size_t>(0, all_policies().size())]; }

inline std::vector<double> some_weights(int most, int smallest = 0) {
    const auto n = *rc::gen::inRange<std::size_t>(1, 13);
    const auto raw = *rc::gen::container<std::vector<int>>(n, rc::gen::inRange(smallest, most + 1));
    return {raw.begin(), raw.end()};
}

}  // namespace plimsoll::balance
