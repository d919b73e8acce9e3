#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <numeric>

#include "balance/test_pool.h"

namespace plimsoll::balance {
namespace {

using World = TestPool;

// ---- round robin ---------------------------------------------------------------------------------------------------

RC_GTEST_PROP(RoundRobinProperty, WeightsAreExactOverACycle, ()) {
    World world(RoundRobin{}, some_weights(30));
    const auto shares = expected_shares(world.pool);
    double total = 0;
    for (const auto& member : world.pool.members) total += member.weight;
    if (*rc::gen::arbitrary<bool>()) world.cursor = fresh_cursor(world.pool, world.random);
    const auto counts = world.picks(static_cast<int>(total));
    for (std::size_t i = 0; i < counts.size(); ++i) {
        RC_ASSERT(static_cast<double>(counts[i]) == world.pool.members[i].weight);
        RC_ASSERT(std::abs(shares[i] * total - world.pool.members[i].weight) < 1e-9);
    }
}

TEST(RoundRobin, HeavyPicksAreSpread) {
    World world(RoundRobin{}, {5, 1, 1});
    std::string order;
    for (int i = 0; i < 7; ++i) order += static_cast<char>('a' + world.next()->index.value);
    EXPECT_EQ(order, "aabacaa");
}

TEST(RoundRobin, ProportionsHoldAmongTheRestWhenOneIsDown) {
    // weights 8:1:1 with the first down must give 50/50, not 90/10 (weight taken by position among the healthy)
    World world(RoundRobin{}, {8, 1, 1});
    world.states[0].health = Health::down;
    EXPECT_EQ(world.picks(100), (std::vector<int>{0, 50, 50}));
    World heavy(RoundRobin{}, {1, 50, 1});
    heavy.states[0].health = Health::down;
    EXPECT_EQ(heavy.picks(51), (std::vector<int>{0, 50, 1}));
}

TEST(RoundRobin, OneThatReturnsIsNotFlooded) {
    World world(RoundRobin{}, {1, 1, 1, 1});
    world.picks(7);
    world.states[2].health = Health::down;
    world.picks(1000);
    world.states[2].health = Health::up;
    EXPECT_LE(world.picks(4)[2], 2);
}

TEST(RoundRobin, PhasesDiffer) {
    World world(RoundRobin{}, std::vector<double>(10, 2.0));
    std::vector<int> first(10, 0);
    for (int worker = 0; worker < 1000; ++worker) {
        world.cursor = fresh_cursor(world.pool, world.random);
        ++first[world.next()->index.value];
    }
    for (const int count : first) EXPECT_NEAR(count, 100, 50);
}

TEST(RoundRobin, CarryOverKeepsPositionsByIdentity) {
    World world(RoundRobin{}, {3, 2, 1});
    world.picks(2);
    const auto old = world.pool.members;
    const std::vector<Member> reordered = {old[2], old[0], old[1]};
    const Cursor carried = carry_over(world.cursor, old, reordered);
    EXPECT_DOUBLE_EQ(carried.current[0], world.cursor.current[2]);
    EXPECT_DOUBLE_EQ(carried.current[1], world.cursor.current[0]);
    EXPECT_DOUBLE_EQ(carried.current[2], world.cursor.current[1]);
    const std::vector<Member> grown = {{.id = EndpointId{9}, .weight = 1}, old[0]};
    EXPECT_EQ(carry_over(world.cursor, old, grown).current[0], 0);
}

TEST(RoundRobin, OldHeavyWeightsDoNotStarveAfterAChange) {
    World world(RoundRobin{}, {1000, 1000, 1000, 1});
    world.picks(1501);
    auto members = world.pool.members;
    for (auto& member : members) member.weight = 1;
    world.cursor = carry_over(world.cursor, world.pool.members, members);
    world.pool.members = members;
    for (const int count : world.picks(12)) EXPECT_NEAR(count, 3, 1);
}

// ---- least request -------------------------------------------------------------------------------------------------

TEST(LeastRequest, SmallPoolsAreScannedInFull) {
    for (std::uint32_t n = 2; n <= 4; ++n) {
        World world(LeastRequest{}, std::vector<double>(n, 1.0));
        for (auto& state : world.states) state.in_flight = 3;
        world.states[n - 1].in_flight = 2;
        EXPECT_EQ(world.picks(200)[n - 1], 200) << n;  // two draws with replacement would miss a quarter of them at 2
    }
}

TEST(LeastRequest, ScansWhenFewAreLeftOfMany) {
    World world(LeastRequest{}, std::vector<double>(9, 1.0));
    for (std::uint32_t i = 0; i < 9; ++i) world.states[i].in_flight = 3;
    world.states[8].in_flight = 2;
    Tried tried;
    for (const std::uint32_t i : {0u, 1u, 2u, 3u}) tried.add({i});
    world.states[4].health = Health::down;
    for (int i = 0; i < 100; ++i) EXPECT_EQ(world.next(tried)->index.value, 8u);
}

TEST(LeastRequest, TwoChoicesNeverTakeTheBusiest) {
    World world(LeastRequest{}, std::vector<double>(8, 1.0));
    for (std::uint32_t i = 0; i < 8; ++i) world.states[i].in_flight = i;
    const auto counts = world.picks(5600);
    EXPECT_EQ(counts[7], 0);  // without replacement the busiest always loses
    for (int i = 0; i < 7; ++i) EXPECT_NEAR(counts[static_cast<std::size_t>(i)], 200 * (7 - i), 150);
}

RC_GTEST_PROP(LeastRequestProperty, PrefersFewerInFlightPerWeight, ()) {
    const auto n = *rc::gen::inRange<std::size_t>(2, 5);
    World world(LeastRequest{}, std::vector<double>(n, 1.0));
    for (auto& member : world.pool.members) member.weight = *rc::gen::inRange(1, 20);
    for (auto& state : world.states) state.in_flight = *rc::gen::inRange(0u, 50u);
    world.random = Random(*rc::gen::arbitrary<std::uint64_t>());
    const auto chosen = world.next()->index.value;
    const auto load = [&](std::size_t i, double extra) {
        return (world.states[i].in_flight + extra) / world.pool.members[i].weight;
    };
    // nobody could have taken this request and been less busy than the chosen one was before it
    for (std::size_t i = 0; i < n; ++i) RC_ASSERT(i == chosen || !(load(i, 1) < load(chosen, 0)));
}

TEST(LeastRequest, AnIdlePoolKeepsTheProportions) {
    for (const std::size_t copies : {1u, 4u}) {  // full scan, and two choices
        World world(LeastRequest{}, {});
        for (std::size_t i = 0; i < copies; ++i) {
            for (const double weight : {6.0, 3.0, 1.0}) {
                world.pool.members.push_back({EndpointId{static_cast<std::uint32_t>(world.states.size())}, weight});
                world.states.push_back({.health = Health::up});
            }
        }
        const auto counts = world.picks(10'000);
        std::vector<int> by_weight(3, 0);
        for (std::size_t i = 0; i < counts.size(); ++i) by_weight[i % 3] += counts[i];
        EXPECT_NEAR(by_weight[0], 6000, 200);
        EXPECT_NEAR(by_weight[1], 3000, 200);
        EXPECT_NEAR(by_weight[2], 1000, 150);
    }
}

TEST(LeastRequest, ABusyPoolKeepsTheProportions) {
    // closed loop: 80 requests always in flight, all servers equally quick; the oldest ends first
    World world(LeastRequest{}, {6, 3, 1, 6, 3, 1, 6, 3, 1, 10});
    std::vector<std::uint32_t> in_flight;
    std::vector<int> counts(10, 0);
    for (std::size_t step = 0; step < 40'000; ++step) {
        const auto chosen = world.next()->index.value;
        ++world.states[chosen].in_flight;
        ++counts[chosen];
        in_flight.push_back(chosen);
        if (step >= 80) --world.states[in_flight[step - 80]].in_flight;
    }
    const auto shares = expected_shares(world.pool);
    for (std::size_t i = 0; i < 10; ++i) EXPECT_NEAR(counts[i] / 40'000.0, shares[i], 0.25 * shares[i]) << i;
}

// ---- eligibility, all policies - ------------------------------------------------------------------------------------

RC_GTEST_PROP(PickProperty, WeightZeroIsNeverPicked, ()) {
    World world(some_policy(), some_weights(3));
    for (auto& state : world.states) state.health = *rc::gen::element(Health::unknown, Health::up, Health::down);
    world.pool.panic_threshold = *rc::gen::element(0.0, 0.5, 1.0);
    for (int i = 0; i < 50; ++i) {
        const auto chosen = world.next();
        if (chosen) RC_ASSERT(world.pool.members[chosen->index.value].weight > 0);
    }
}

RC_GTEST_PROP(PickProperty, NobodyDownOrEjectedOutsidePanic, ()) {
    World world(some_policy(), some_weights(5));
    for (auto& state : world.states) {
        state.health = *rc::gen::element(Health::unknown, Health::up, Health::up, Health::down);
        if (*rc::gen::inRange(0, 4) == 0) state.ejected_until = world.now + std::chrono::seconds(1);
    }
    world.pool.panic_threshold = *rc::gen::element(0.0, 0.3, 0.5, 0.9);
    std::size_t up = 0, unknown = 0, sick = 0;
    for (std::size_t i = 0; i < world.states.size(); ++i) {
        if (world.pool.members[i].weight == 0) continue;
        const auto& state = world.states[i];
        const bool well = state.health != Health::down && state.ejected_until <= world.now;
        sick += !well;
        up += well && state.health == Health::up;
        unknown += well && state.health == Health::unknown;
    }
    const std::size_t healthy = up > 0 ? up : unknown;
    const bool panic = healthy + sick > 0 &&
                       static_cast<double>(healthy) < world.pool.panic_threshold * static_cast<double>(healthy + sick);
    for (int i = 0; i < 30; ++i) {
        const auto chosen = world.next();
        RC_ASSERT(chosen.has_value() == (panic || healthy > 0));
        if (!chosen) break;
        const auto& state = world.states[chosen->index.value];
        const bool well = state.health != Health::down && state.ejected_until <= world.now;
        RC_ASSERT(chosen->panic == !well);
        if (panic) continue;
        RC_ASSERT(well);
        RC_ASSERT(state.health == (up > 0 ? Health::up : Health::unknown));
    }
}

RC_GTEST_PROP(PickProperty, TheTriedAreNeverRepeated, ()) {
    World world(some_policy(), some_weights(4));
    for (auto& state : world.states) state.health = *rc::gen::element(Health::up, Health::up, Health::down);
    Tried tried;
    while (tried.count < max_attempts) {
        const auto chosen = world.next(tried);
        if (!chosen) break;
        RC_ASSERT(!tried.contains(chosen->index));
        tried.add(chosen->index);
    }
    if (tried.count == max_attempts) return;
    for (std::uint32_t i = 0; i < world.states.size(); ++i) {  // it ended because nobody usable was left
        if (world.pool.members[i].weight > 0 && world.states[i].health == Health::up) RC_ASSERT(tried.contains({i}));
    }
}

TEST(Pick, LimitsHoldAndABusyPoolIsNoPanic) {
    for (const Policy& policy : all_policies()) {
        World world(policy, {1, 1, 1});
        for (auto& member : world.pool.members) member.max_in_flight = 2;
        world.states[0].in_flight = 2;
        world.states[1].in_flight = 2;
        EXPECT_EQ(world.picks(10), (std::vector<int>{0, 0, 10}));
        world.states[2].in_flight = 2;
        EXPECT_FALSE(world.next());
    }
}

TEST(Pick, AddingUnknownEndpointsIsNoPanicAndDrawsNoTraffic) {
    World world(LeastRequest{}, std::vector<double>(12, 1.0));
    for (std::size_t i = 2; i < 12; ++i) world.states[i].health = Health::unknown;
    const auto counts = world.picks(100);
    EXPECT_EQ(counts[0] + counts[1], 100);
}

TEST(Pick, UnknownServeWhenNobodyIsUp) {
    World world(RoundRobin{}, {1, 1, 1, 1});
    for (auto& state : world.states) state.health = Health::unknown;
    world.states[0].health = Health::down;
    EXPECT_EQ(world.picks(9), (std::vector<int>{0, 3, 3, 3}));
}

TEST(Pick, PanicUsesEverybodyAndSaysSo) {
    World world(RoundRobin{}, {1, 1, 1, 1});
    for (std::size_t i = 0; i < 3; ++i) world.states[i].health = Health::down;
    int panic = 0;
    for (int i = 0; i < 8; ++i) panic += world.next()->panic;
    EXPECT_EQ(panic, 6);
    world.pool.panic_threshold = 0;
    EXPECT_EQ(world.picks(8), (std::vector<int>{0, 0, 0, 8}));
    world.states[3].health = Health::down;
    EXPECT_FALSE(world.next());
}

TEST(Pick, EmptyPoolAndAllDrained) {
    EXPECT_FALSE(World(RoundRobin{}, {}).next());
    EXPECT_FALSE(World(LeastRequest{}, {0, 0}).next());
    EXPECT_EQ(expected_shares(World(LeastRequest{}, {0, 0}).pool), (std::vector<double>{0, 0}));
}

RC_GTEST_PROP(PickProperty, SameSeedSamePicks, ()) {
    const auto weights = some_weights(9);
    const auto policy = some_policy();
    World one(policy, weights), two(policy, weights);
    RC_ASSERT(one.picks(100) == two.picks(100));
}

}  // namespace
}  // namespace plimsoll::balance
