// Levels, panic, zones, subsets, slow start.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <numeric>

#include "balance/test_pool.h"

namespace plimsoll::balance {
namespace {

using namespace std::chrono_literals;

/// `first` endpoints at level 0, `second` at level 1.
TestPool two_levels(const Policy& policy, std::size_t first, std::size_t second) {
    TestPool pool(policy, std::vector<double>(first + second, 1.0));
    for (std::size_t i = first; i < first + second; ++i) pool.pool.members[i].priority = 1;
    return pool;
}

double share_from(const std::vector<int>& counts, std::size_t first) {
    const double all = std::accumulate(counts.begin(), counts.end(), 0.0);
    return std::accumulate(counts.begin() + static_cast<std::ptrdiff_t>(first), counts.end(), 0.0) / all;
}

TEST(Levels, SpillAsTheFirstFails) {  // Envoy's example figures: 1.4 x healthy fraction stays
    for (const Policy& policy : all_policies()) {
        for (const auto& [down, spilled] : std::vector<std::pair<std::size_t, double>>{
                 {0, 0.0}, {2, 0.0}, {4, 0.16}, {6, 0.44}, {8, 0.72}, {10, 1.0}}) {
            TestPool pool = two_levels(policy, 10, 10);
            for (std::size_t i = 0; i < down; ++i) pool.states[i].health = Health::down;
            EXPECT_NEAR(share_from(pool.picks(4000), 10), spilled, 0.04) << policy.index() << " " << down;
            std::vector<bool> usable(20, true);
            for (std::size_t i = 0; i < down; ++i) usable[i] = false;
            const auto shares = expected_shares(pool.pool, usable);
            EXPECT_NEAR(std::accumulate(shares.begin() + 10, shares.end(), 0.0), spilled, 1e-9);
        }
    }
}

TEST(Levels, KeysThatSpillAreAlwaysTheSame) {
    for (const Policy& policy : keyed_policies()) {
        TestPool pool = two_levels(policy, 10, 10);
        for (std::size_t i = 0; i < 5; ++i) pool.states[i].health = Health::down;
        std::vector<std::uint32_t> before;
        for (std::uint64_t key = 0; key < 2000; ++key) before.push_back(*pool.home(key));
        pool.states[5].health = Health::down;
        for (std::uint64_t key = 0; key < 2000; ++key) {
            if (before[key] >= 10) ASSERT_EQ(*pool.home(key), before[key]) << "who was away stays away";
        }
    }
}

TEST(Levels, PanicOnlyWhenAllTogetherCannotCarryEverything) {
    TestPool pool = two_levels(RoundRobin{}, 4, 4);
    for (const std::size_t i : {0u, 1u, 2u}) pool.states[i].health = Health::down;
    for (int i = 0; i < 200; ++i) EXPECT_FALSE(pool.next()->panic) << "level 1 carries the rest";
    for (const std::size_t i : {4u, 5u, 6u}) pool.states[i].health = Health::down;
    const auto counts = pool.picks(800);
    for (const int count : counts) EXPECT_NEAR(count, 100, 40);
    pool.pool.panic_threshold = 0;
    const auto calm = pool.picks(800);
    EXPECT_EQ(calm[3] + calm[7], 800);
}

TEST(Levels, NobodyHealthyAnywhereIsPanicByCount) {
    TestPool pool = two_levels(LeastRequest{}, 2, 6);
    for (auto& state : pool.states) state.health = Health::down;
    EXPECT_NEAR(share_from(pool.picks(4000), 2), 0.75, 0.04);
    EXPECT_TRUE(pool.next()->panic);
    pool.pool.panic_threshold = 0;
    EXPECT_FALSE(pool.next());
}

TEST(Levels, AFullLevelAndARetryGoOn) {
    TestPool pool = two_levels(LeastRequest{}, 2, 2);
    Tried tried;
    tried.add({0});
    tried.add({1});
    EXPECT_GE(pool.next(tried)->index.value, 2u);
    for (const std::size_t i : {0u, 1u}) {
        pool.pool.members[i].max_in_flight = 1;
        pool.states[i].in_flight = 1;
    }
    EXPECT_GE(pool.next()->index.value, 2u);
}

TEST(Levels, NewOnesAtTheFirstLevelWaitForTheirCheck) {
    TestPool pool = two_levels(LeastRequest{}, 2, 2);
    pool.states[0].health = pool.states[1].health = Health::unknown;
    EXPECT_EQ(share_from(pool.picks(200), 2), 1.0);
    pool.states[0].health = pool.states[1].health = Health::up;
    EXPECT_EQ(share_from(pool.picks(200), 2), 0.0);
}

RC_GTEST_PROP(LevelsProperty, SomebodyHealthyIsAlwaysFound, ()) {
    TestPool pool(some_policy(), some_weights(3, 1));
    bool somebody = false;
    for (std::size_t i = 0; i < pool.states.size(); ++i) {
        pool.pool.members[i].priority = *rc::gen::inRange<std::uint8_t>(0, 20);  // beyond the last level too
        pool.pool.members[i].zone = *rc::gen::inRange<std::uint8_t>(0, 40);
        pool.states[i].health = *rc::gen::element(Health::up, Health::down, Health::unknown);
        somebody |= pool.states[i].health != Health::down;
    }
    pool.pool.own_zone = *rc::gen::inRange<std::uint8_t>(0, 40);
    pool.pool.panic_threshold = *rc::gen::element(0.0, 0.5, 1.0);
    for (std::uint64_t i = 0; i < 30; ++i) {
        const auto chosen = i % 2 == 0 ? pool.next() : pool.next({}, {i, nullptr, {}});
        RC_ASSERT(chosen.has_value() == (somebody || pool.pool.panic_threshold > 0));
    }
}

// ---- zones ---------------------------------------------------------------------------------------------------------

TestPool zoned(const Policy& policy, const std::vector<std::uint8_t>& zones, std::uint8_t own) {
    TestPool pool(policy, std::vector<double>(zones.size(), 1.0));
    for (std::size_t i = 0; i < zones.size(); ++i) pool.pool.members[i].zone = zones[i];
    pool.pool.own_zone = own;
    return pool;
}

TEST(Zones, AllStaysWhereTheZoneCarriesItsPart) {
    for (const Policy& policy : {Policy{LeastRequest{}}, Policy{PeakEwma{}}, Policy{RoundRobin{}}, Policy{Prequal{}}}) {
        EXPECT_EQ(share_from(zoned(policy, {1, 1, 2, 2}, 1).picks(400), 2), 0.0);
        EXPECT_EQ(share_from(zoned(policy, {1, 1, 1, 2}, 1).picks(400), 3), 0.0);
    }
}

TEST(Zones, EveryEndpointGetsItsPartAndNoMore) {
    // three zones that send the same, with 1, 2 and 5 endpoints: the balancers of all three together are even
    const std::vector<std::uint8_t> zones = {1, 2, 2, 3, 3, 3, 3, 3};
    std::vector<int> sum(zones.size(), 0);
    for (std::uint8_t own = 1; own <= 3; ++own) {
        TestPool pool = zoned(LeastRequest{}, zones, own);
        const auto counts = pool.picks(8000);
        for (std::size_t i = 0; i < counts.size(); ++i) sum[i] += counts[i];
        if (own == 1) EXPECT_NEAR(counts[0], 8000 * (1.0 / 8) / (1.0 / 3), 150) << "as much as it can carry stays";
    }
    for (const int count : sum) EXPECT_NEAR(count, 3000, 250);
}

TEST(Zones, AKnownShareOfTrafficDecides) {
    TestPool pool = zoned(LeastRequest{}, {1, 1, 2, 2}, 1);
    pool.pool.own_zone_traffic = 1;  // everything arrives here: no preference is possible
    EXPECT_NEAR(share_from(pool.picks(4000), 2), 0.5, 0.04);
    pool.pool.own_zone_traffic = 0.8;
    EXPECT_NEAR(share_from(pool.picks(4000), 2), 1 - 0.5 / 0.8, 0.04);
}

TEST(Zones, FailingEndpointsSpillByThemselves) {
    TestPool pool = zoned(LeastRequest{}, {1, 1, 1, 2, 2, 2}, 1);
    pool.states[0].health = Health::down;  // 2 of 5 healthy: 0.4 / 0.5 stays
    EXPECT_NEAR(share_from(pool.picks(4000), 3), 0.2, 0.04);
    pool.states[1].health = pool.states[2].health = Health::down;
    EXPECT_EQ(share_from(pool.picks(100), 3), 1.0);
}

TEST(Zones, NoneOfOursOrNoneStated) {
    EXPECT_NEAR(share_from(zoned(LeastRequest{}, {2, 2, 3, 3}, 1).picks(4000), 2), 0.5, 0.05);
    EXPECT_NEAR(share_from(zoned(LeastRequest{}, {0, 0, 0, 0}, 1).picks(4000), 2), 0.5, 0.05);
    EXPECT_NEAR(share_from(zoned(LeastRequest{}, {1, 1, 0, 0}, 1).picks(4000), 2), 0.5, 0.05)
        << "one zone sends everything: half of it is the others' part";
}

/// What a status, an explanation and the watch expect is what is done.
TEST(Zones, SharesAreForetold) {
    struct Case {
        std::vector<std::uint8_t> zones;
        double traffic = 0;
        std::vector<std::size_t> down{};
    };
    for (const Case& c : {Case{{1, 1, 2, 2}}, Case{{1, 2, 2, 3, 3, 3, 3, 3}}, Case{{1, 1, 2, 2}, 1},
                          Case{{1, 1, 2, 2}, 0.8}, Case{{1, 1, 1, 2, 2, 2}, 0, {0}}, Case{{1, 1, 2, 2}, 0, {0, 1}},
                          Case{{2, 2, 3, 3}}, Case{{1, 1, 0, 0}}, Case{{1, 0, 2, 2}, 0.9, {3}}}) {
        TestPool pool = zoned(LeastRequest{}, c.zones, 1);
        pool.pool.own_zone_traffic = c.traffic;
        std::vector<bool> usable(c.zones.size(), true);
        for (const std::size_t i : c.down) pool.states[i].health = Health::down, usable[i] = false;
        const std::vector<double> shares = local_shares(pool.pool, usable);
        EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), 1, 1e-9);
        const std::vector<int> counts = pool.picks(8000);
        for (std::size_t i = 0; i < shares.size(); ++i) EXPECT_NEAR(counts[i] / 8000.0, shares[i], 0.025) << i;
    }
    TestPool keyed = zoned(Maglev{}, {1, 1, 2, 2}, 1);
    EXPECT_EQ(local_shares(keyed.pool, {}), expected_shares(keyed.pool)) << "keys ignore zones";
}

TEST(Zones, AKeyHasOneHomeWhereverItArrives) {
    for (const Policy& policy : keyed_policies()) {
        TestPool here = zoned(policy, {1, 1, 2, 2}, 1), there = zoned(policy, {1, 1, 2, 2}, 2);
        for (std::uint64_t key = 0; key < 300; ++key) ASSERT_EQ(here.home(key), there.home(key));
    }
}

// ---- subsets -------------------------------------------------------------------------------------------------------

TEST(Subsets, AreThePoolForTheRequest) {
    const std::vector<EndpointIndex> chosen = {{1}, {3}, {99}};
    const Subset subset(chosen, 70);
    EXPECT_TRUE(subset.contains(3));
    EXPECT_FALSE(subset.contains(0));
    EXPECT_FALSE(subset.contains(99));
    for (const Policy& policy : all_policies()) {
        TestPool pool(policy, std::vector<double>(70, 1.0));
        const auto counts = pool.picks(200, {{}, &subset, {}});
        EXPECT_EQ(counts[1] + counts[3], 200);
        for (std::uint64_t key = 0; key < 50; ++key) {
            EXPECT_TRUE(subset.contains(pool.next({}, {key, &subset, {}})->index.value));
        }
    }
}

TEST(Subsets, WhyNobody) {
    TestPool pool(LeastRequest{}, {1, 1, 0});
    const std::vector<EndpointIndex> second = {{1}}, drained = {{2}};
    const Subset one(second, 3), none(drained, 3);
    const auto why = [&](const Subset* subset, const Tried& tried = {}) {
        return why_nobody(pool.pool, pool.states, tried, pool.now, {{}, subset, {}});
    };
    EXPECT_EQ(why(&none), Nobody::empty);
    pool.pool.panic_threshold = 0;
    pool.states[1].health = Health::down;
    EXPECT_EQ(why(&one), Nobody::unhealthy);
    pool.states[1] = {.health = Health::up, .in_flight = 4};
    pool.pool.members[1].max_in_flight = 4;
    EXPECT_EQ(why(&one), Nobody::limited);
    pool.pool.members[1].max_in_flight = 0;
    Tried tried;
    tried.add({1});
    EXPECT_EQ(why(&one, tried), Nobody::tried);
}

TEST(MayServe, ByName) {
    TestPool pool(LeastRequest{}, {1, 0, 1});
    const auto may = [&](std::uint32_t i) { return may_serve(pool.pool, pool.states, {i}, pool.now); };
    EXPECT_TRUE(may(0));
    EXPECT_FALSE(may(1)) << "drained";
    EXPECT_FALSE(may(7));
    pool.states[2].health = Health::unknown;
    EXPECT_FALSE(may(2)) << "somebody is up";
    pool.states[0].ejected_until = pool.now + 1s;
    EXPECT_FALSE(may(0));
    EXPECT_TRUE(may(2));
}

// ---- slow start ----------------------------------------------------------------------------------------------------

/// Ten endpoints of which one came up `ago`; the part of an even share that it gets.
double newcomer(const Policy& policy, Duration ago) {
    TestPool pool(policy, std::vector<double>(10, 1.0));
    pool.pool.slow_start = 30s;
    pool.states[4].health = Health::unknown;
    set_health(pool.states[4], Health::up, pool.now);
    pool.now = pool.now + ago;
    const auto counts = is_keyed(policy) ? pool.keyed_picks(20'000) : pool.picks(20'000);
    return counts[4] / (20'000 - counts[4] + 0.0) * 9;
}

TEST(SlowStart, GrowsFromATenthWithEveryPolicy) {
    for (const Policy& policy : all_policies()) {
        const double slack = std::holds_alternative<RingHash>(policy) ? 0.25 : 0.1;
        EXPECT_NEAR(newcomer(policy, 0s), 0.1, 0.05) << policy.index();
        EXPECT_NEAR(newcomer(policy, 15s), 0.5, slack) << policy.index();
        EXPECT_NEAR(newcomer(policy, 31s), 1.0, slack) << policy.index();
    }
}

TEST(SlowStart, WhoWasDownRightAfterTheStartComesBackSlowly) {
    for (const Policy& policy : all_policies()) {
        TestPool pool(policy, std::vector<double>(10, 1.0));
        pool.pool.slow_start = 30s;
        for (auto& state : pool.states) {
            state.health = Health::unknown;
            set_health(state, Health::up, pool.now, Entry::at_once);
        }
        set_health(pool.states[4], Health::down, pool.now + 1s);
        pool.now = pool.now + 2s;
        set_health(pool.states[4], Health::up, pool.now);
        const auto part = [&] {
            const auto counts = is_keyed(policy) ? pool.keyed_picks(20'000) : pool.picks(20'000);
            return counts[4] / (20'000 - counts[4] + 0.0) * 9;
        };
        const double slack = std::holds_alternative<RingHash>(policy) ? 0.25 : 0.1;
        EXPECT_NEAR(part(), 0.1, 0.05) << policy.index();
        pool.now = pool.now + 15s;
        EXPECT_NEAR(part(), 0.5, slack) << policy.index();
    }
}

TEST(SlowStart, AFirstLookDoesNotEndAnEjectionsReturn) {
    TestPool pool(LeastRequest{}, {1});
    pool.pool.slow_start = 30s;
    EndpointState out;  // by requests, before its check had an answer
    out.ejected_until = out.up_since = pool.now + 10s;
    set_health(out, Health::up, pool.now, Entry::at_once);
    EXPECT_NEAR(weight_factor(pool.pool, out, pool.now + 25s), 0.5, 0.01);
}

TEST(SlowStart, ProcessStartDoesNotLimp) {
    for (const Policy& policy : all_policies()) {
        TestPool pool(policy, std::vector<double>(4, 1.0));
        pool.pool.slow_start = 30s;
        for (auto& state : pool.states) {
            state.health = Health::unknown;
            set_health(state, Health::up, pool.now);
        }
        const auto counts = is_keyed(policy) ? pool.keyed_picks(4000) : pool.picks(4000);
        for (const int count : counts) EXPECT_NEAR(count, 1000, 200) << policy.index();
    }
    EndpointState known;
    set_health(known, Health::up, Instant{5}, Entry::at_once);
    TestPool pool(LeastRequest{}, {1});
    pool.pool.slow_start = 30s;
    EXPECT_EQ(weight_factor(pool.pool, known, Instant{6}), 1);
}

TEST(SlowStart, BackFromEjectionToo) {
    TestPool pool(RoundRobin{}, std::vector<double>(10, 1.0));
    pool.pool.slow_start = 10s;
    const Attempt reset{.cause = Cause::upstream_reset};
    for (int i = 0; i < 5; ++i) observe(pool.states[0], reset, pool.pool.ejection, 10, 0, pool.now);
    const Instant back = pool.states[0].ejected_until;
    EXPECT_GT(back, pool.now);
    EXPECT_EQ(weight_factor(pool.pool, pool.states[0], back), 0.1);
    EXPECT_EQ(weight_factor(pool.pool, pool.states[0], back + 5s), 0.5);
    EXPECT_EQ(weight_factor(pool.pool, pool.states[0], back + 10s), 1);
}

}  // namespace
}  // namespace plimsoll::balance
