#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>

#include "balance/hash_table.h"
#include "balance/test_pool.h"
#include "base/hash.h"

namespace plimsoll::balance {
namespace {

constexpr std::uint64_t keys = 20'000;

TEST(Hashing, AKeyHasOneHomeWhateverTheDice) {
    for (const Policy& policy : keyed_policies()) {
        TestPool one(policy, std::vector<double>(10, 1.0)), other = one;
        other.random = Random(99);
        other.cursor = {};
        for (std::uint64_t key = 0; key < 1000; ++key) ASSERT_EQ(one.home(key), other.home(key));
    }
}

TEST(Hashing, TheOrderOfTheFileAndNumbersOfAProcessPlayNoPart) {
    for (const Policy& policy : keyed_policies()) {
        TestPool one(policy, {1, 2, 3, 4, 5}), other(policy, {1, 2, 3, 4, 5});
        for (std::uint32_t i = 0; i < 5; ++i) one.pool.members[i].identity = 100 + i;
        for (std::uint32_t i = 0; i < 5; ++i) {
            other.pool.members[i].identity = 100 + (4 - i);
            other.pool.members[i].weight = 5 - i;
        }
        one.pool.table = build_table(policy, one.pool.members);
        other.pool.table = build_table(policy, other.pool.members);
        for (std::uint64_t key = 0; key < 1000; ++key) ASSERT_EQ(*one.home(key), 4 - *other.home(key));
    }
}

TEST(Hashing, SharesGoByWeight) {
    for (const Policy& policy : keyed_policies()) {
        TestPool pool(policy, {1, 2, 3, 4, 0});
        const auto counts = pool.keyed_picks(keys);
        const double slack = std::holds_alternative<RingHash>(policy) ? 0.25 : 0.08;  // a ring is uneven by nature
        for (std::size_t i = 0; i < 4; ++i) {
            const double wanted = static_cast<double>(keys) * static_cast<double>(i + 1) / 10;
            EXPECT_NEAR(counts[i], wanted, slack * wanted) << policy.index() << " " << i;
        }
        EXPECT_EQ(counts[4], 0);
    }
}

TEST(Hashing, WithoutAKeyByLotInProportion) {
    for (const Policy& policy : keyed_policies()) {
        const auto counts = TestPool(policy, {1, 3}).picks(10'000);
        EXPECT_NEAR(counts[1], 7500, 750) << policy.index();
    }
}

TEST(Hashing, OnlyTheKeysOfOneThatFailsMoveAndTheySpread) {
    for (const Policy& policy : keyed_policies()) {
        TestPool pool(policy, std::vector<double>(10, 1.0));
        std::vector<std::uint32_t> before;
        for (std::uint64_t key = 0; key < keys; ++key) before.push_back(*pool.home(key));
        pool.states[3].health = Health::down;
        std::vector<int> taken(10, 0);
        for (std::uint64_t key = 0; key < keys; ++key) {
            const std::uint32_t now = *pool.home(key);
            if (before[key] == 3) {
                ++taken[now];
            } else {
                ASSERT_EQ(now, before[key]);
            }
        }
        const int most = *std::ranges::max_element(taken);
        EXPECT_EQ(taken[3], 0);
        EXPECT_LT(most, 2 * static_cast<int>(keys) / 90) << "no neighbour takes it all";
        pool.states[3].health = Health::up;
        for (std::uint64_t key = 0; key < keys; ++key) ASSERT_EQ(*pool.home(key), before[key]);
    }
}

TEST(Hashing, ARetryGoesToTheSameSecondChoice) {
    for (const Policy& policy : keyed_policies()) {
        TestPool pool(policy, std::vector<double>(5, 1.0));
        for (std::uint64_t key = 0; key < 200; ++key) {
            Tried tried;
            tried.add({*pool.home(key)});
            const auto second = pool.next(tried, {key, nullptr, {}});
            ASSERT_TRUE(second);
            ASSERT_FALSE(tried.contains(second->index));
            ASSERT_EQ(second->index, pool.next(tried, {key, nullptr, {}})->index);
        }
    }
}

TEST(Hashing, WithoutATableEveryEndpointIsScored) {
    TestPool pool(Maglev{}, std::vector<double>(7, 1.0));
    pool.pool.table = nullptr;
    for (const int count : pool.keyed_picks(7000)) EXPECT_NEAR(count, 1000, 150);
}

TEST(Maglev, IsEvenAndHardlyMovesWhatStays) {  // NSDI'16: M > 100 N keeps imbalance below 1 %
    std::vector<Member> members(300);
    for (std::uint32_t i = 0; i < members.size(); ++i) members[i] = {.id = EndpointId{i}, .identity = i + 1};
    const auto places = [&] {
        const auto table = build_table(Maglev{}, members);
        return std::vector<std::uint16_t>(table->owners().begin(), table->owners().end());
    };
    const auto before = places();
    std::vector<double> count(members.size(), 0.0);
    for (const std::uint16_t owner : before) ++count[owner];
    const double mean = maglev_places / 300.0;
    EXPECT_LE(*std::ranges::max_element(count) / mean, 1.01);
    EXPECT_GE(*std::ranges::min_element(count) / mean, 0.99);
    members[150].weight = 0;
    const auto after = places();
    int moved = 0;
    for (std::size_t i = 0; i < before.size(); ++i) moved += before[i] != 150 && before[i] != after[i];
    EXPECT_LE(moved, 0.01 * maglev_places);
}

TEST(RingHash, OnlyWhatMustMovesWhenOneGoes) {
    std::vector<Member> members(20);
    for (std::uint32_t i = 0; i < members.size(); ++i) members[i] = {.id = EndpointId{i}, .identity = i + 1};
    const auto before = build_table(RingHash{}, members);
    members[7].weight = 0;
    const auto after = build_table(RingHash{}, members);
    for (std::uint64_t k = 0; k < 10'000; ++k) {
        const std::uint64_t hash = keyed_hash(k, 5);
        if (before->at(hash) != 7) ASSERT_EQ(before->at(hash), after->at(hash));
    }
}

TEST(HashTable, NobodyNothingAndTooMany) {
    EXPECT_EQ(build_table(Maglev{}, {}), nullptr);
    EXPECT_EQ(build_table(RingHash{}, std::vector<Member>{{.id = {}, .weight = 0}}), nullptr);
    EXPECT_EQ(build_table(LeastRequest{}, std::vector<Member>(3)), nullptr);
    EXPECT_EQ(build_table(Maglev{}, std::vector<Member>(65'536)), nullptr);
    EXPECT_NE(build_table(RingHash{0, 0}, std::vector<Member>(2)), nullptr);
}

/// Sends every key and never ends a request; the largest load against the mean, when all are sent.
double loaded(const Policy& policy, std::vector<double> weights, const std::vector<std::uint64_t>& sent) {
    TestPool pool(policy, weights);
    double total = 0;
    for (const double weight : weights) total += weight;
    for (const std::uint64_t key : sent) ++pool.states[*pool.home(key)].in_flight;
    double most = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        most = std::max(most, pool.states[i].in_flight * total / weights[i] / static_cast<double>(sent.size()));
    }
    return most;
}

TEST(BoundedLoad, NobodyGetsMoreThanItsPartTimesC) {  // arXiv 1608.01350
    std::vector<std::uint64_t> sent;
    Random random(5);
    for (int i = 0; i < 4000; ++i) sent.push_back(std::min(random.below(100), random.below(100)) / 10);
    for (const double c : {1.25, 2.0}) {
        for (const Policy& policy : keyed_policies(c)) {
            EXPECT_LE(loaded(policy, std::vector<double>(20, 1.0), sent), c + 0.02);
            EXPECT_LE(loaded(policy, {1, 2, 3, 4, 5}, sent), c + 0.02);
        }
    }
    for (const Policy& policy : keyed_policies()) EXPECT_GT(loaded(policy, std::vector<double>(20, 1.0), sent), 3);
}

RC_GTEST_PROP(BoundedLoadProperty, SomebodyIsAlwaysFound, ()) {
    TestPool pool(keyed_policies(1 + *rc::gen::inRange(1, 30) / 10.0)[*rc::gen::inRange<std::size_t>(0, 3)],
                  some_weights(5, 1));
    for (auto& state : pool.states) state.in_flight = *rc::gen::inRange(0u, 1000u);
    for (std::uint64_t key = 0; key < 20; ++key) RC_ASSERT(pool.home(key).has_value());
}

}  // namespace
}  // namespace plimsoll::balance
