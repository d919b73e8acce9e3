// The line before a pool, adaptive limits, Retry-After, ejection by success rate.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "balance/admission.h"
#include "balance/test_pool.h"

namespace plimsoll::balance {
namespace {

using namespace std::chrono_literals;

// ---- the line ------------------------------------------------------------------------------------------------------

TEST(Line, GoWaitRefuse) {
    Line line;
    const LineFacts facts{.max_in_flight = 2, .queue = 1, .timeout = 1s};
    const Instant now{0};
    EXPECT_EQ(line.arrive(facts, true, now).admission, Admission::go);
    EXPECT_EQ(line.arrive(facts, true, now).admission, Admission::go);
    const auto third = line.arrive(facts, true, now);
    EXPECT_EQ(third.admission, Admission::wait);
    EXPECT_EQ(third.ticket.deadline, now + 1s);
    EXPECT_EQ(line.arrive(facts, true, now).admission, Admission::refuse);
    EXPECT_FALSE(line.call(facts, now)) << "nobody has left";
    line.leave();
    EXPECT_EQ(line.call(facts, now)->number, third.ticket.number);
    EXPECT_EQ(line.in_flight(), 2u);
    EXPECT_EQ(line.waiting(), 0u);
}

TEST(Line, WithoutLimitsEverybodyGoes) {
    Line line;
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(line.arrive({}, true, Instant{i}).admission, Admission::go);
    EXPECT_EQ(line.arrive({}, false, Instant{0}).admission, Admission::refuse) << "no room and no line";
}

TEST(Line, ANewcomerDoesNotOvertake) {
    Line line;
    const LineFacts facts{.queue = 10};
    const auto first = line.arrive(facts, false, Instant{0});
    ASSERT_EQ(first.admission, Admission::wait);
    EXPECT_EQ(line.arrive(facts, true, Instant{1}).admission, Admission::wait);
    EXPECT_EQ(line.call(facts, Instant{2})->number, first.ticket.number);
    line.put_back(first.ticket);  // nobody could take it after all
    EXPECT_EQ(line.in_flight(), 0u);
    EXPECT_EQ(line.call(facts, Instant{3})->number, first.ticket.number);
}

TEST(Line, DeadlinesAreTheRequestsToo) {
    Line line;
    const LineFacts facts{.max_in_flight = 1, .queue = 10, .timeout = 1s};
    const Instant now{0};
    ASSERT_EQ(line.arrive(facts, true, now).admission, Admission::go);
    const auto patient = line.arrive(facts, true, now);
    const auto hurried = line.arrive(facts, true, now, now + 100ms);
    EXPECT_EQ(line.arrive(facts, true, now, now).admission, Admission::refuse) << "no time is left";
    EXPECT_EQ(line.next_deadline(), now + 100ms);
    EXPECT_FALSE(line.expire(now + 99ms));
    EXPECT_EQ(line.expire(now + 100ms)->number, hurried.ticket.number);
    EXPECT_FALSE(line.expire(now + 100ms));
    line.leave();
    EXPECT_FALSE(line.call(facts, now + 1s)) << "too late: it hears of that through expire";
    EXPECT_EQ(line.expire(now + 1s)->number, patient.ticket.number);
    EXPECT_EQ(line.next_deadline(), never);
    EXPECT_FALSE(line.abandon(patient.ticket));
}

RC_GTEST_PROP(LineProperty, NobodyIsLostAndNoLimitIsPassed, ()) {
    const LineFacts facts{
        .max_in_flight = *rc::gen::inRange(1u, 5u), .queue = *rc::gen::inRange(0u, 6u), .timeout = 50ms};
    Line line;
    std::map<std::uint64_t, Ticket> waiting;
    std::uint32_t under_way = 0;
    std::uint64_t last_called = 0;
    for (int step = 0; step < 300; ++step) {
        const Instant now = Instant{0} + step * 5ms;
        while (const auto late = line.expire(now)) RC_ASSERT(waiting.erase(late->number) == 1);
        switch (*rc::gen::inRange(0, 4)) {
            case 0:
            case 1: {
                const auto answer = line.arrive(facts, *rc::gen::inRange(0, 5) > 0, now);
                if (answer.admission == Admission::go) {
                    RC_ASSERT(waiting.empty());
                    ++under_way;
                }
                if (answer.admission == Admission::wait) waiting.emplace(answer.ticket.number, answer.ticket);
                break;
            }
            case 2:
                if (under_way > 0) {
                    --under_way;
                    line.leave();
                }
                if (const auto called = line.call(facts, now)) {
                    RC_ASSERT(waiting.erase(called->number) == 1);
                    RC_ASSERT(called->number > last_called);
                    last_called = called->number;
                    ++under_way;
                }
                break;
            default:
                if (!waiting.empty()) {
                    RC_ASSERT(line.abandon(waiting.begin()->second));
                    waiting.erase(waiting.begin());
                }
        }
        RC_ASSERT(line.in_flight() == under_way);
        RC_ASSERT(line.waiting() == waiting.size());
        RC_ASSERT(under_way <= facts.max_in_flight);
        RC_ASSERT(waiting.size() <= facts.queue);
    }
}

// ---- adaptive limits -----------------------------------------------------------------------------------------------

/// Answers at the limit all the time, each taking what `latency` says for that many; the limit after `span`.
template <class Latency>
std::uint32_t settle(Limiter& limiter, const Adaptive& facts, Duration span, const Latency& latency, Instant& now) {
    for (const Instant end = now + span; now < end;) {
        const std::uint32_t n = limit(limiter, facts);
        const Duration took = latency(n);
        observe(limiter, facts, took, n, now);
        now = now + from_seconds(seconds(took) / n);
    }
    return limit(limiter, facts);
}

TEST(Adaptive, FindsTheKneeOfAServer) {
    // 8 slots of 10 ms: up to 8 at once take 10 ms, beyond that they wait for each other
    const auto server = [](std::uint32_t n) { return from_seconds(0.010 * std::max(1.0, n / 8.0)); };
    for (const std::uint32_t start : {2u, 500u}) {
        Limiter limiter;
        limiter.limit = start;
        Instant now{0};
        const Adaptive facts{.min = 1, .max = 1000, .tolerance = 1.5};
        if (start > 8) observe(limiter, facts, 10ms, 1, now);
        limiter.best = 0.010;
        EXPECT_NEAR(settle(limiter, facts, 60s, server, now), 20, 8) << start;
    }
}

TEST(Adaptive, FollowsAServerThatBecomesSlowerForGood) {
    Limiter limiter;
    Instant now{0};
    const Adaptive facts{.min = 1, .max = 1000, .tolerance = 1.5};
    settle(limiter, facts, 30s, [](std::uint32_t n) { return from_seconds(0.010 * std::max(1.0, n / 8.0)); }, now);
    const auto slower = [](std::uint32_t n) { return from_seconds(0.030 * std::max(1.0, n / 8.0)); };
    EXPECT_LE(settle(limiter, facts, 2s, slower, now), 10u);
    EXPECT_GE(settle(limiter, facts, 120s, slower, now), 8u);
}

TEST(Adaptive, KeepsItsBoundsAndDoesNotGrowUnused) {
    Limiter limiter;
    const Adaptive facts{.min = 5, .max = 50, .tolerance = 1.5};
    EXPECT_EQ(limit(limiter, facts), 50u) << "nothing is known yet";
    Instant now{0};
    for (int i = 0; i < 10'000; ++i) observe(limiter, facts, 10ms, 1, now = now + 10ms);
    EXPECT_LE(limit(limiter, facts), 20u) << "one at a time says nothing about fifty";
    for (int i = 0; i < 10'000; ++i) observe(limiter, facts, 10ms, 49, now = now + 10ms);
    EXPECT_EQ(limit(limiter, facts), 50u);
    for (int i = 0; i < 1000; ++i) observe(limiter, facts, 10s, 49, now = now + 10ms);
    EXPECT_EQ(limit(limiter, facts), 5u);
}

TEST(Adaptive, AFullEndpointIsLeftOutAndAFullPoolSaysLimited) {
    TestPool pool(LeastRequest{}, {1, 1});
    pool.pool.adaptive = Adaptive{.min = 1, .max = 10, .tolerance = 1.5};
    pool.states[0].limiter.limit = 3;
    pool.states[0].in_flight = 3;
    EXPECT_EQ(pool.picks(20)[1], 20);
    pool.states[1].in_flight = 10;
    EXPECT_FALSE(pool.next());
    EXPECT_EQ(why_nobody(pool.pool, pool.states, {}, pool.now), Nobody::limited);
}

// ---- Retry-After ---------------------------------------------------------------------------------------------------

TEST(RetryAfter, SecondsAndTheThreeForms) {
    const Timestamp now{784'111'777ll * 1'000'000'000};  // Sun, 06 Nov 1994 08:49:37 GMT
    EXPECT_EQ(retry_after("120", now), 120s);
    EXPECT_EQ(retry_after(" 0\t", now), 0s);
    EXPECT_EQ(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), 60s);
    EXPECT_EQ(retry_after("Sunday, 06-Nov-94 08:50:37 GMT", now), 60s);
    EXPECT_EQ(retry_after("Sun Nov  6 08:50:37 1994", now), 60s);
    EXPECT_EQ(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), 0s) << "past";
    EXPECT_EQ(retry_after("Sunday, 06-Nov-45 08:50:37 GMT", now), 0s) << "1945, not 2045: more than 50 years ahead";
    EXPECT_GT(*retry_after("99999999999999999999999999", now), 24h * 365);
    for (const char* wrong : {"", " ", "-1", "1.5", "12a", "soon", "Sun, 31 Feb 1994 08:50:37 GMT",
                              "Sun, 06 Nov 1994 24:50:37 GMT", "Sun, 06 Nov 1994 08:50:37 CET",
                              "Sun, 06 Nov 1994 08:50", "Sun, 06 Nov 1994 08:50:37 GMTx", "Xxx Nov  6 08:50:37 1994"}) {
        EXPECT_FALSE(retry_after(wrong, now)) << wrong;
    }
}

RC_GTEST_PROP(RetryAfterProperty, AnyTextIsReadOrRefused, (const std::string& text)) {
    const auto ahead = retry_after(text, Timestamp{1'700'000'000ll * 1'000'000'000});
    RC_ASSERT(!ahead || *ahead >= 0s);
}

TEST(HoldBack, WithinTheCeilingAndForALimitedTime) {
    TestPool pool(LeastRequest{}, std::vector<double>(4, 1.0));
    const Ejection& ejection = pool.pool.ejection;
    EXPECT_FALSE(hold_back(pool.states[0], 429, 10s, ejection, 4, 0, pool.now)) << "that client only";
    EXPECT_TRUE(hold_back(pool.states[0], 503, 1h, ejection, 4, 0, pool.now));
    EXPECT_EQ(count_out(pool.pool, pool.states, pool.now), 1u);
    EXPECT_FALSE(hold_back(pool.states[1], 503, 10s, ejection, 4, 1, pool.now)) << "a third of the pool at most";
    EXPECT_FALSE(hold_back(pool.states[0], 503, 10s, ejection, 1, 0, pool.now)) << "the only one is never held";
    EXPECT_EQ(pool.picks(100)[0], 0);
    pool.now = pool.now + longest_hold;
    EXPECT_GT(pool.picks(100)[0], 0);
}

// ---- ejection by success rate --------------------------------------------------------------------------------------

Ejection comparing() {
    Ejection ejection;
    ejection.success_rate = true;
    ejection.consecutive = UINT32_MAX;
    return ejection;
}

/// An interval ends in which each endpoint gave `n` answers of which `failures[i]` were 500.
std::size_t interval(TestPool& pool, const std::vector<std::uint32_t>& failures, std::uint32_t n = 200) {
    std::vector<SuccessWindow> windows;
    for (const std::uint32_t failed : failures) windows.push_back({n, failed});
    return compare_success(pool.pool, pool.states, windows, pool.now);
}

TEST(SuccessRate, TheBarIsTheMeanLessSomeDeviations) {
    const std::vector<SuccessWindow> windows = {{100, 0}, {100, 0}, {100, 10}, {100, 10}, {99, 99}};
    Ejection ejection = comparing();
    ejection.min_endpoints = 4;
    EXPECT_NEAR(*success_bar(windows, ejection), 0.95 - 1.9 * 0.05, 1e-9) << "99 requests are too few";
    ejection.min_endpoints = 5;
    EXPECT_FALSE(success_bar(windows, ejection));
}

TEST(SuccessRate, TheOutlierGoesAndOnlyIt) {
    TestPool pool(LeastRequest{}, std::vector<double>(6, 1.0));
    pool.pool.ejection = comparing();
    EXPECT_EQ(interval(pool, {2, 3, 2, 60, 3, 2}), 1u);
    EXPECT_GT(pool.states[3].ejected_until, pool.now);
    EXPECT_EQ(pool.picks(200)[3], 0);
}

TEST(SuccessRate, AllAlikeFewRequestsOrFewEndpointsEjectNobody) {
    for (const auto& [failures, n] : std::vector<std::pair<std::vector<std::uint32_t>, std::uint32_t>>{
             {{50, 50, 50, 50, 50, 50}, 200}, {{2, 3, 2, 60, 3, 2}, 99}, {{2, 3, 60, 2}, 200}}) {
        TestPool pool(LeastRequest{}, std::vector<double>(failures.size(), 1.0));
        pool.pool.ejection = comparing();
        EXPECT_EQ(interval(pool, failures, n), 0u);
    }
}

TEST(SuccessRate, OneCeilingForBothKinds) {
    TestPool pool(LeastRequest{}, std::vector<double>(9, 1.0));
    pool.pool.ejection = comparing();
    pool.pool.ejection.stdev_factor = 0.5;
    for (const std::size_t i : {0u, 1u}) pool.states[i].ejected_until = pool.now + 60s;
    EXPECT_EQ(interval(pool, {0, 0, 100, 150, 120, 0, 0, 0, 0}), 1u) << "a third of nine, two are out";
    EXPECT_GT(pool.states[3].ejected_until, pool.now) << "the worst goes first";
}

}  // namespace
}  // namespace plimsoll::balance
