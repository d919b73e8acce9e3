#include "balance/shared_ejections.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "balance/test_pool.h"

namespace plimsoll::balance {
namespace {

using namespace std::chrono_literals;

/// One pool as several workers see it.
struct Workers {
    TestPool pool;
    SharedEjections shared;
    struct Worker {
        std::vector<EndpointState> states;
        std::uint32_t seen = 0;
    };
    std::vector<Worker> workers;

    Workers(std::size_t count, std::size_t endpoints) : pool(LeastRequest{}, std::vector<double>(endpoints, 1.0)) {
        shared.reserve(endpoints, 1);
        workers.assign(count, {pool.states, 0});
    }
    std::vector<EndpointId> answer(std::size_t worker, std::uint32_t endpoint, std::uint16_t status) {
        const Attempt attempt{.endpoint = EndpointId{endpoint}, .status = status};
        return shared.observe(pool.pool, workers[worker].states, attempt, pool.now);
    }
    /// As a worker sees it at its next pick.
    const EndpointState& look(std::size_t worker, std::uint32_t endpoint) {
        shared.adopt(workers[worker].states, workers[worker].seen, pool.now);
        return workers[worker].states[endpoint];
    }
    bool is_out(std::size_t worker, std::uint32_t endpoint) { return look(worker, endpoint).ejected_until > pool.now; }
    /// Members that are out, as somebody sees it who comes anew.
    std::size_t out() {
        std::vector<EndpointState> fresh(pool.states.size());
        std::uint32_t seen = UINT32_MAX;
        shared.adopt(fresh, seen, pool.now);
        return count_out(pool.pool, fresh, pool.now);
    }
    [[nodiscard]] std::size_t ceiling() const {
        const auto n = static_cast<double>(pool.pool.members.size());
        if (pool.pool.members.size() < 2) return 0;
        return std::max<std::size_t>(1,
                                     static_cast<std::size_t>(std::floor(pool.pool.ejection.max_fraction * n + 1e-9)));
    }
};

TEST(SharedEjections, ARowIsOfAllWorkersAndAllHearOfIt) {
    Workers w(3, 4);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_TRUE(w.answer(i % 3, 2, 502).empty());
    EXPECT_EQ(w.answer(1, 2, 502), std::vector{EndpointId{2}}) << "the fifth, whoever sees it";
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_TRUE(w.is_out(i, 2));
        EXPECT_EQ(w.look(i, 2).ejected_until, w.pool.now + 10s);
        EXPECT_EQ(w.look(i, 2).up_since, w.pool.now + 10s) << "slow start, in every worker";
        EXPECT_FALSE(w.is_out(i, 1));
    }
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(w.answer(0, 2, 502).empty()) << "late answers";
    w.pool.now = w.pool.now + 10s;
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(w.answer(2, 2, 502).empty()) << "late answers are in no row";
    EXPECT_EQ(w.answer(0, 2, 502).size(), 1u);
    EXPECT_EQ(w.look(1, 2).ejected_until, w.pool.now + 20s) << "the second time, whoever saw the first";
}

TEST(SharedEjections, ASuccessAnywhereEndsTheRow) {
    Workers w(2, 4);
    for (int round = 0; round < 5; ++round) {
        for (int i = 0; i < 4; ++i) EXPECT_TRUE(w.answer(0, 1, 500).empty());
        EXPECT_TRUE(w.answer(1, 1, 200).empty());
    }
    EXPECT_FALSE(w.is_out(0, 1));
}

TEST(SharedEjections, ForgivenWhenItServedAllWorkersWell) {
    Workers w(2, 4);
    for (int i = 0; i < 5; ++i) w.answer(0, 1, 500);
    const Instant back = w.look(1, 1).ejected_until;
    w.pool.now = back + 9s;
    w.answer(0, 1, 500);  // clean time starts anew, for worker 1 too
    w.pool.now = back + 11s;
    w.answer(1, 1, 200);
    EXPECT_EQ(w.workers[1].states[1].times_ejected, 1u);
    w.pool.now = back + 19s;
    w.answer(1, 1, 200);
    EXPECT_EQ(w.workers[1].states[1].times_ejected, 0u);
}

TEST(SharedEjections, SuccessRatesAreJudgedOnWhatAllSaw) {
    for (const std::size_t workers : {1u, 4u, 16u}) {
        Workers w(workers, 6);
        w.pool.pool.ejection.success_rate = true;
        w.pool.pool.ejection.consecutive = UINT32_MAX;
        std::size_t ejected = 0;
        // 120 requests for each endpoint in an interval, so many that no worker sees 100 of one but when it is alone
        for (std::uint32_t i = 0; i < 120; ++i) {
            for (std::uint32_t e = 0; e < 6; ++e) {
                const bool fails = e == 3 ? i % 3 == 0 : i % 60 == 0;
                ejected += w.answer(i % workers, e, fails ? 500 : 200).size();
            }
            w.pool.now = w.pool.now + 80ms;
        }
        EXPECT_EQ(ejected, 0u) << "the interval is not over";
        w.pool.now = w.pool.now + 400ms;
        const auto out = w.answer(workers - 1, 0, 200);
        EXPECT_EQ(out, std::vector{EndpointId{3}}) << workers;
        for (std::size_t i = 0; i < workers; ++i) {
            EXPECT_TRUE(w.is_out(i, 3));
            EXPECT_FALSE(w.is_out(i, 0));
        }
    }
}

TEST(SharedEjections, TheIntervalIsEmptiedOnceNotByEveryWorker) {
    Workers w(2, 6);
    w.pool.pool.ejection.success_rate = true;
    for (std::uint32_t e = 0; e < 6; ++e) w.answer(0, e, 200);
    w.pool.now = w.pool.now + 10s;
    w.answer(0, 0, 200);  // ends the first interval
    for (std::uint32_t i = 0; i < 200; ++i) {
        for (std::uint32_t e = 0; e < 6; ++e) w.answer(i % 2, e, e == 5 && i % 4 == 0 ? 500 : 200);
    }
    EXPECT_FALSE(w.is_out(1, 5)) << "worker 1 must not judge before the second interval is over";
    w.pool.now = w.pool.now + 10s;
    EXPECT_EQ(w.answer(1, 0, 200).size(), 1u);
    EXPECT_TRUE(w.is_out(0, 5));
}

TEST(SharedEjections, RetryAfterHoldsForAllWithinTheCeiling) {
    Workers w(2, 4);
    EXPECT_TRUE(w.shared.hold_back(w.pool.pool, w.workers[0].states, EndpointId{0}, 503, 5s, w.pool.now));
    EXPECT_EQ(w.look(1, 0).not_before, w.pool.now + 5s);
    EXPECT_FALSE(w.shared.hold_back(w.pool.pool, w.workers[1].states, EndpointId{1}, 503, 5s, w.pool.now))
        << "a third of four at most, over both workers";
    for (int i = 0; i < 9; ++i) EXPECT_TRUE(w.answer(1, 2, 500).empty());
    w.pool.now = w.pool.now + 5s;
    EXPECT_EQ(w.answer(1, 2, 500).size(), 1u) << "when there is room";
}

TEST(SharedEjections, PeopleAreToldWhoIsOutAndWhatDidIt) {
    Workers w(2, 6);
    w.pool.pool.ejection.max_fraction = 1;
    w.pool.pool.ejection.success_rate = true;
    EXPECT_EQ(w.shared.standing(EndpointId{1}).out_until, Instant{INT64_MIN});
    EXPECT_EQ(w.shared.standing(EndpointId{1'000'000}).out_until, Instant{INT64_MIN}) << "unknown: never out";
    const std::uint32_t before = w.shared.version();
    for (std::size_t i = 0; i < 5; ++i) w.answer(i % 2, 1, 500);
    w.shared.hold_back(w.pool.pool, w.workers[0].states, EndpointId{2}, 503, 3s, w.pool.now);
    EXPECT_NE(w.shared.version(), before);
    const Standing row = w.shared.standing(EndpointId{1}), pause = w.shared.standing(EndpointId{2});
    EXPECT_EQ(row.out_until, w.pool.now + 10s);
    EXPECT_EQ(row.by, OutBy::failures);
    EXPECT_EQ(row.times, (std::array<std::uint32_t, out_by_count>{1, 0, 0}));
    EXPECT_EQ(pause.out_until, w.pool.now + 3s);
    EXPECT_EQ(pause.by, OutBy::retry_after);
    EXPECT_EQ(pause.times, (std::array<std::uint32_t, out_by_count>{0, 0, 1}));
    w.pool.now = w.pool.now + 60s;  // all are back
    for (std::uint32_t e = 0; e < 6; ++e) w.answer(0, e, 200);
    for (std::uint32_t i = 0; i < 200; ++i)
        for (std::uint32_t e = 0; e < 6; ++e) w.answer(0, e, e == 1 && i % 2 == 0 ? 500 : 200);
    w.pool.now = w.pool.now + 60s;
    w.answer(1, 0, 200);
    const Standing rate = w.shared.standing(EndpointId{1});
    EXPECT_EQ(rate.by, OutBy::success_rate);
    EXPECT_EQ(rate.times, (std::array<std::uint32_t, out_by_count>{1, 1, 0}));
    EXPECT_GT(rate.out_until, w.pool.now);
}

TEST(SharedEjections, GrowsInPlace) {
    Workers w(1, 4);
    for (int i = 0; i < 5; ++i) w.answer(0, 3, 500);
    for (std::size_t size = 5; size < 3000; size *= 3) {
        w.shared.reserve(size, size / 10);
        std::vector<EndpointState> fresh(size);
        std::uint32_t seen = UINT32_MAX;
        w.shared.adopt(fresh, seen, w.pool.now);
        EXPECT_GT(fresh[3].ejected_until, w.pool.now);
        EXPECT_EQ(fresh.back().ejected_until.ns, INT64_MIN);
    }
}

TEST(Lesson, AConnectionWithoutAStatusIsASuccess) {  // TCP: else five refusals in a year would be a row
    EXPECT_EQ(lesson_of({}), Lesson::succeeded);
    EXPECT_EQ(lesson_of({.cause = Cause::client_closed}), Lesson::none);
    EXPECT_EQ(lesson_of({.cause = Cause::connect_refused}), Lesson::failed);
    EXPECT_EQ(lesson_of({.status = 404}), Lesson::succeeded);
}

RC_GTEST_PROP(SharedEjectionsProperty, TheCeilingHoldsOverAllWorkersAndTheyAgree, ()) {
    const auto endpoints = *rc::gen::inRange<std::uint32_t>(1, 20);
    const auto count = *rc::gen::inRange<std::size_t>(1, 6);
    Workers w(count, endpoints);
    Ejection& ejection = w.pool.pool.ejection;
    ejection.max_fraction = static_cast<double>(*rc::gen::inRange(0, 101)) / 100;
    ejection.success_rate = *rc::gen::arbitrary<bool>();
    ejection.min_requests = 3;
    ejection.min_endpoints = 2;
    ejection.stdev_factor = 0.5;
    ejection.interval = 1s;
    std::size_t ejected = 0;
    for (int step = 0; step < 600; ++step) {
        const auto worker = *rc::gen::inRange<std::size_t>(0, count);
        const auto endpoint = *rc::gen::inRange<std::uint32_t>(0, endpoints);
        const int what = *rc::gen::inRange(0, 20);
        if (what < 12)
            ejected += w.answer(worker, endpoint, 500).size();
        else if (what < 16)
            ejected += w.answer(worker, endpoint, 200).size();
        else if (what < 17) {
            (void)w.shared.hold_back(w.pool.pool, w.workers[worker].states, EndpointId{endpoint}, 503, 2s, w.pool.now);
        } else if (what < 18)
            (void)w.look(worker, endpoint);
        else
            w.pool.now = w.pool.now + std::chrono::milliseconds(*rc::gen::inRange(1, 4000));
        RC_ASSERT(w.out() <= w.ceiling());
    }
    for (std::uint32_t e = 0; e < endpoints; ++e) {
        for (std::size_t i = 1; i < count; ++i) RC_ASSERT(w.is_out(i, e) == w.is_out(0, e));
    }
    RC_CLASSIFY(ejected > 0, "somebody was ejected");
}

TEST(SharedEjections, TheCeilingHoldsWhenWorkersDecideAtTheSameInstant) {
    for (int round = 0; round < 20; ++round) {
        Workers w(4, 100);
        w.pool.pool.ejection.max_fraction = 0.1;
        w.pool.pool.ejection.success_rate = true;
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i < 4; ++i) {
            threads.emplace_back([&w, i] {
                Workers::Worker& me = w.workers[i];
                Random dice(i + 1);
                for (int n = 0; n < 4000; ++n) {
                    const Attempt failed{.endpoint = EndpointId{static_cast<std::uint32_t>(dice.below(100))},
                                         .status = 500};
                    (void)w.shared.observe(w.pool.pool, me.states, failed, w.pool.now);
                    w.shared.adopt(me.states, me.seen, w.pool.now);
                    if (n % 1000 == 0) w.shared.reserve(100 + static_cast<std::size_t>(n), 1);
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        EXPECT_EQ(w.out(), 10u);
        for (std::uint32_t e = 0; e < 100; ++e) {
            for (std::size_t i = 1; i < 4; ++i) EXPECT_EQ(w.is_out(i, e), w.is_out(0, e));
        }
    }
}

}  // namespace
}  // namespace plimsoll::balance
