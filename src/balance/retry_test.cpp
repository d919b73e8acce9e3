#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "balance/balance.h"

namespace plimsoll::balance {
namespace {

using namespace std::chrono_literals;

constexpr std::uint8_t everything = 1 | 2 | 4 | 8;
const Attempt refused{.cause = Cause::connect_refused};
const Attempt unanswered{.cause = Cause::connect_timeout};

/// Retries granted when every request fails at once, requests coming at a steady rate.
int retries_under_total_failure(const RetryFacts& facts, double rate, Duration span, RetryBudget budget = {}) {
    const auto requests = static_cast<int>(rate * seconds(span));
    int retries = 0;
    for (int i = 0; i < requests; ++i) {
        const Instant now = Instant{1} + from_seconds(i / rate);
        on_request(budget, facts, now);
        for (std::uint8_t made = 1; may_retry(budget, facts, unanswered, made, true, false, true, now); ++made)
            ++retries;
    }
    return retries;
}

TEST(Retry, BudgetHoldsUnderTotalFailure) {
    const RetryFacts facts{.attempts = 4};
    EXPECT_LE(retries_under_total_failure(facts, 1000, 60s), 12'000 + 3);
    EXPECT_GE(retries_under_total_failure(facts, 1000, 60s), 11'990);
}

TEST(Retry, AHealthyHourDoesNotPayForAStorm) {
    const RetryFacts facts{.attempts = 4};
    RetryBudget budget;
    for (int i = 0; i < 3'600'000; ++i) on_request(budget, facts, Instant{1} + i * 1ms);
    EXPECT_EQ(budget.tokens, retry_burst);
    int storm = 0;
    for (int i = 0; i < 10'000; ++i) {
        const Instant now = Instant{1} + 3600s + i * 1ms;
        on_request(budget, facts, now);
        storm += may_retry(budget, facts, unanswered, 1, true, false, true, now);
    }
    EXPECT_LE(storm, 2000 + static_cast<int>(retry_burst));
}

TEST(Retry, AQuietPoolMayRetryThisMuchWhateverTheBudget) {
    const RetryFacts facts{.attempts = 4, .budget = 0.2, .min_per_second = 3};
    EXPECT_NEAR(retries_under_total_failure(facts, 1, 60s), 180, 3);
    EXPECT_NEAR(retries_under_total_failure(facts, 5, 60s), 180, 5);
    RetryBudget budget;
    on_request(budget, {.budget = 0, .min_per_second = 0.5}, Instant{1});
    EXPECT_TRUE(may_retry(budget, {.budget = 0, .min_per_second = 0.5}, unanswered, 1, true, false, true, Instant{2}));
    EXPECT_FALSE(may_retry(budget, {.budget = 0, .min_per_second = 0.5}, unanswered, 1, true, false, true, Instant{3}));
    EXPECT_TRUE(
        may_retry(budget, {.budget = 0, .min_per_second = 0.5}, unanswered, 1, true, false, true, Instant{1} + 2s));
}

TEST(Retry, NoBudgetNoRetry) {
    RetryBudget budget;
    const RetryFacts facts{.budget = 0, .min_per_second = 0};
    for (int i = 0; i < 100; ++i) on_request(budget, facts, Instant{} + i * 1s);
    EXPECT_FALSE(may_retry(budget, facts, unanswered, 1, true, false, true, Instant{} + 100s));
}

RC_GTEST_PROP(RetryProperty, ExtraLoadIsBounded, ()) {
    RetryFacts facts{.attempts = 4, .on = everything};
    facts.budget = static_cast<double>(*rc::gen::inRange(0, 101)) / 100;
    facts.min_per_second = *rc::gen::inRange(0, 10);
    const double rate = *rc::gen::inRange(1, 2000);
    const int requests = static_cast<int>(rate * 10);
    const int retries = retries_under_total_failure(facts, rate, 10s);
    const double allowed = std::max(facts.budget * requests, facts.min_per_second * 10.0);
    RC_ASSERT(retries <= allowed + facts.min_per_second + 2);
}

RC_GTEST_PROP(RetryProperty, NonIdempotentIsNeverSentTwice, ()) {
    RetryBudget budget{.tokens = 50};
    const RetryFacts facts{.attempts = *rc::gen::inRange<std::uint8_t>(1, 5), .on = everything};
    const auto cause = static_cast<Cause>(*rc::gen::inRange(0, static_cast<int>(cause_count)));
    const Attempt failed{.cause = cause, .status = *rc::gen::element<std::uint16_t>(0, 200, 500, 503)};
    RC_ASSERT(!may_retry(budget, facts, failed, *rc::gen::inRange<std::uint8_t>(0, 5), false, true, true, Instant{1}));
    RC_ASSERT(!may_retry(budget, facts, failed, *rc::gen::inRange<std::uint8_t>(0, 5), true, true, false, Instant{1}));
    RC_ASSERT(budget.tokens == 50);
}

TEST(Retry, ConditionsAreTheOperators) {
    const auto retried = [](RetryOn on, Attempt failed) {
        RetryBudget budget{.tokens = 5};
        return may_retry(budget, {.on = static_cast<std::uint8_t>(on)}, failed, 1, true, true, true, Instant{1});
    };
    const Attempt connect_timeout{.cause = Cause::connect_timeout}, reset{.cause = Cause::upstream_reset};
    const Attempt try_timeout{.cause = Cause::try_timeout}, status{.status = 503}, good{.status = 200};
    const Attempt cut{.cause = Cause::upstream_truncated, .status = 200}, total{.cause = Cause::total_timeout};
    EXPECT_TRUE(retried(RetryOn::connect_failure, refused));
    EXPECT_TRUE(retried(RetryOn::connect_failure, connect_timeout));
    EXPECT_FALSE(retried(RetryOn::connect_failure, reset));
    EXPECT_TRUE(retried(RetryOn::reset, reset));
    EXPECT_FALSE(retried(RetryOn::reset, try_timeout));
    EXPECT_TRUE(retried(RetryOn::timeout, try_timeout));
    EXPECT_TRUE(retried(RetryOn::timeout, connect_timeout));
    EXPECT_TRUE(retried(RetryOn::status_5xx, status));
    for (const RetryOn on : {RetryOn::connect_failure, RetryOn::reset, RetryOn::timeout, RetryOn::status_5xx}) {
        EXPECT_FALSE(retried(on, good));
        EXPECT_FALSE(retried(on, cut));    // an answer that had begun cannot be taken back
        EXPECT_FALSE(retried(on, total));  // no time is left
    }
}

TEST(Retry, AttemptsAreCounted) {
    RetryBudget budget{.tokens = 50};
    EXPECT_TRUE(may_retry(budget, {.attempts = 2}, unanswered, 1, true, false, true, Instant{1}));
    EXPECT_FALSE(may_retry(budget, {.attempts = 2}, unanswered, 2, true, false, true, Instant{1}));
    EXPECT_FALSE(may_retry(budget, {.attempts = 1}, unanswered, 1, true, false, true, Instant{1}));
    EXPECT_FALSE(may_retry(budget, {.attempts = 200}, unanswered, max_attempts, true, false, true, Instant{1}));
    EXPECT_EQ(budget.tokens, 49);
}

TEST(Retry, NotSentMeansSafeWhateverTheMethod) {
    RetryBudget budget{.tokens = 50};
    EXPECT_TRUE(may_retry(budget, {}, refused, 1, false, false, false, Instant{1}));
    RetryFacts facts{.on = everything, .non_idempotent = true};
    EXPECT_TRUE(may_retry(budget, facts, {.cause = Cause::upstream_reset}, 1, false, true, true, Instant{1}));
}

/// A third of the endpoints killed at once is more than any budget: those requests reached nobody, and are not load.
TEST(Retry, ARefusedConnectionCostsNothing) {
    RetryBudget budget{.tokens = 0, .refilled = Instant{1}};
    for (int i = 0; i < 1000; ++i)
        EXPECT_TRUE(may_retry(budget, {.budget = 0.2}, refused, 1, true, false, true, Instant{2}));
    EXPECT_EQ(budget.tokens, 0);
    EXPECT_FALSE(may_retry(budget, {.budget = 0.2}, refused, 2, true, false, true, Instant{2}));
    EXPECT_FALSE(may_retry(budget, {.budget = 0.2}, refused, 1, true, true, true, Instant{2}));  // an earlier try sent
}

}  // namespace
}  // namespace plimsoll::balance
