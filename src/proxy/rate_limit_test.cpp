#include "proxy/rate_limit.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>
#include <map>
#include <thread>
#include <vector>

namespace plimsoll::proxy {
namespace {

using namespace std::chrono_literals;

constexpr Instant start{1'000'000'000'000};

std::uint64_t taken(RateTable& table, const RateRule& rule, std::uint64_t key, Instant from, Duration step, int times) {
    std::uint64_t count = 0;
    for (int i = 0; i < times; ++i) count += table.take(rule, key, from + step * i).taken ? 1 : 0;
    return count;
}

TEST(RateLimit, TheBurstAtOnceThenTheRate) {
    RateTable table;
    const RateRule rule = rate_rule(1, 10, 5);
    EXPECT_EQ(taken(table, rule, 7, start, 0ns, 20), 5u);
    const RateTable::Answer answer = table.take(rule, 7, start);
    EXPECT_FALSE(answer.taken);
    EXPECT_EQ(answer.retry_after, 100ms);
    EXPECT_EQ(answer.retry_after_s(), 1u);
    EXPECT_FALSE(table.take(rule, 7, start + 99ms).taken);
    EXPECT_TRUE(table.take(rule, 7, start + 100ms).taken);
    EXPECT_EQ(taken(table, rule, 7, start + 100ms, 1ms, 10'000), 99u) << "ten seconds at ten a second, less one tick";
    EXPECT_EQ(taken(table, rule, 7, start + 1h, 0ns, 20), 5u) << "rest fills the bucket, not more";
}

TEST(RateLimit, RetryAfterIsWhenItIsTaken) {
    RateTable table;
    const RateRule rule = rate_rule(1, 0.2, 2);  // one in five seconds
    EXPECT_EQ(taken(table, rule, 7, start, 0ns, 3), 2u);
    const RateTable::Answer answer = table.take(rule, 7, start + 1500ms);
    EXPECT_EQ(answer.retry_after, 3500ms);
    EXPECT_EQ(answer.retry_after_s(), 4u);
    EXPECT_FALSE(table.take(rule, 7, start + 1500ms + answer.retry_after - 1ns).taken);
    EXPECT_TRUE(table.take(rule, 7, start + 1500ms + answer.retry_after).taken);
}

TEST(RateLimit, KeysAndRulesDoNotShare) {
    RateTable table;
    const RateRule one = rate_rule(1, 1, 1), other = rate_rule(2, 1, 1);
    EXPECT_TRUE(table.take(one, 7, start).taken);
    EXPECT_FALSE(table.take(one, 7, start).taken);
    EXPECT_TRUE(table.take(one, 8, start).taken);
    EXPECT_TRUE(table.take(other, 7, start).taken);
}

TEST(RateLimit, ARequestPassesAllLimitsOrCountsForNone) {
    RateTable table;
    const RateRule wide = rate_rule(1, 10, 10), narrow = rate_rule(2, 10, 1);
    const RateTable::Demand demands[] = {{&wide, 7}, {&narrow, 7}};
    EXPECT_TRUE(table.take(demands, start).taken);
    for (int i = 0; i < 50; ++i) {
        const RateTable::Answer answer = table.take(demands, start);
        EXPECT_FALSE(answer.taken);
        EXPECT_EQ(answer.refused_by, 1u);
    }
    EXPECT_EQ(taken(table, wide, 7, start, 0ns, 20), 9u) << "refused ones took nothing";
    EXPECT_TRUE(table.take(std::span<const RateTable::Demand>{}, start).taken);
}

TEST(RateLimit, WhatIsRememberedOutlivesAChangeOfTheRate) {
    RateTable table;
    const std::uint64_t id = rate_rule_id("api", "client", "", 0);
    EXPECT_EQ(taken(table, rate_rule(id, 10, 10), 7, start, 0ns, 20), 10u);
    EXPECT_FALSE(table.take(rate_rule(id, 10, 5), 7, start).taken) << "a smaller burst does not fill the bucket";
    EXPECT_EQ(id, rate_rule_id("api", "client", "", 0));
    EXPECT_NE(id, rate_rule_id("api", "client", "", 1));
    EXPECT_NE(id, rate_rule_id("api", "route", "", 0));
    EXPECT_NE(id, rate_rule_id("web", "client", "", 0));
    EXPECT_NE(rate_rule_id("a", "header", "x-key", 0), rate_rule_id("a", "header", "x-other", 0));
    EXPECT_EQ(rate_rule_id("a", "header", "X-Key", 0), rate_rule_id("a", "header", "x-key", 0));
}

TEST(RateLimit, AnIpv6CustomerIsOneClient) {
    const auto key = [](std::string_view host, std::uint16_t port) {
        return rate_key(*net::Address::ip(host, port), 99);
    };
    EXPECT_EQ(key("2001:db8:1:2::1", 1), key("2001:db8:1:2:ffff::9", 2));
    EXPECT_NE(key("2001:db8:1:2::1", 1), key("2001:db8:1:3::1", 1));
    EXPECT_EQ(key("192.0.2.1", 1), key("192.0.2.1", 2));
    EXPECT_NE(key("192.0.2.1", 1), key("192.0.2.2", 1));
    EXPECT_NE(rate_key("a", 99), rate_key("a", 98));
}

TEST(RateLimit, ExtremesAreRaisedAndDoNotOverflow) {
    RateTable table(8);
    std::uint64_t key = 0;
    for (const auto& [rate, burst] :
         {std::pair{0.0, 0.0}, {-1.0, -1.0}, {1e-300, 1e300}, {1e300, 1e300}, {1e300, 0.0}}) {
        const RateRule rule = rate_rule(1, rate, burst);
        EXPECT_GE(rule.interval, 1ns);
        EXPECT_GE(rule.tolerance, 0ns);
        EXPECT_TRUE(table.take(rule, ++key, start).taken);
    }
}

TEST(RateLimit, ManyKeysDisplaceTheOnesNearestToFull) {
    RateTable table(1024);
    const RateRule rule = rate_rule(1, 1, 100);
    EXPECT_EQ(taken(table, rule, 7, start, 0ns, 200), 100u);  // who sends most
    for (std::uint64_t key = 1000; key < 101'000; ++key) EXPECT_TRUE(table.take(rule, key, start).taken);
    EXPECT_GT(table.displaced(), 90'000u);
    EXPECT_FALSE(table.take(rule, 7, start).taken) << "is still limited";
    EXPECT_EQ(table.buckets(), 1024u);
}

TEST(RateLimit, FullBucketsAreGivenAwayWithoutLoss) {
    RateTable table(64);
    const RateRule rule = rate_rule(1, 10, 1);
    for (std::uint64_t key = 0; key < 10'000; ++key)
        EXPECT_TRUE(table.take(rule, key, start + 101ms * static_cast<std::int64_t>(key)).taken);
    EXPECT_EQ(table.displaced(), 0u);
}

TEST(RateLimit, WorkersTogetherLetThroughNoMoreThanTheLimit) {
    RateTable table;
    const RateRule rule = rate_rule(1, 1, 10'000);
    table.take(rule, 7, start);  // so that the bucket is there
    std::vector<std::uint64_t> counts(4);
    std::vector<std::thread> threads;
    for (std::uint64_t& count : counts)
        threads.emplace_back([&table, &rule, &count] { count = taken(table, rule, 7, start, 0ns, 5'000); });
    for (std::thread& thread : threads) thread.join();
    std::uint64_t sum = 1;
    for (const std::uint64_t count : counts) sum += count;
    EXPECT_EQ(sum, 10'000u);
}

/// A plain bucket: tokens that flow in at the rate up to the burst.
RC_GTEST_PROP(RateLimit, AgreesWithABucketOfTokens, ()) {
    const double rate = *rc::gen::element(0.5, 3.0, 10.0, 1000.0);
    const auto burst = static_cast<double>(*rc::gen::inRange(1, 30));
    RateTable table(1 << 12);
    const RateRule rule = rate_rule(1, rate, burst);
    struct Bucket {
        double tokens;
        Instant at;
    };
    std::map<std::uint64_t, Bucket> buckets;
    Instant now = start;
    for (int i = 0; i < 300; ++i) {
        now = now + Duration{*rc::gen::inRange(0, 400'000'000)};
        const std::uint64_t key = *rc::gen::inRange(0u, 3u);
        Bucket& bucket = buckets.try_emplace(key, Bucket{burst, now}).first->second;
        bucket.tokens = std::min(burst, bucket.tokens + seconds(now - bucket.at) * rate);
        bucket.at = now;
        const RateTable::Answer answer = table.take(rule, key, now);
        if (std::abs(bucket.tokens - 1) > 1e-5)
            RC_ASSERT(answer.taken == (bucket.tokens >= 1));  // at the edge: rounding
        if (answer.taken) bucket.tokens -= 1;
        if (!answer.taken) RC_ASSERT(std::abs(seconds(answer.retry_after) - (1 - bucket.tokens) / rate) < 1e-5);
    }
}

}  // namespace
}  // namespace plimsoll::proxy
