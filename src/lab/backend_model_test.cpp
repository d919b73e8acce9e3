#include "lab/backend_model.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <vector>

namespace plimsoll::lab {
namespace {

using namespace std::chrono_literals;

BackendSettings exact() {
    BackendSettings settings;
    settings.sigma = 0;
    return settings;
}

TEST(BackendModel, WorkersFollowCapacity) {
    EXPECT_EQ(workers_for(200, 40ms), 8u);
    EXPECT_EQ(workers_for(400, 40ms), 16u);
    EXPECT_EQ(workers_for(1, 40ms), 1u);
}

TEST(BackendModel, ServesAtOnceWhenIdleAndQueuesWhenAllWorkersAreBusy) {
    BackendModel model(exact(), Random(1));
    for (int i = 0; i < 8; ++i) {
        const auto a = model.arrive(Instant{0});
        ASSERT_TRUE(a.admitted);
        EXPECT_EQ(a.start, Instant{0});
        EXPECT_EQ(a.done, Instant{0} + 40ms);
    }
    const auto ninth = model.arrive(Instant{0} + 10ms);
    ASSERT_TRUE(ninth.admitted);
    EXPECT_EQ(ninth.start, Instant{0} + 40ms);
    EXPECT_EQ(ninth.done, Instant{0} + 80ms);
    EXPECT_EQ(model.waiting(Instant{0} + 10ms), 1u);
    EXPECT_EQ(model.waiting(Instant{0} + 40ms), 0u);
    EXPECT_EQ(model.busy(Instant{0} + 50ms), 1u);
}

TEST(BackendModel, RefusesWhenTheQueueIsFullAndRecovers) {
    BackendModel model(exact(), Random(1));
    for (int i = 0; i < 108; ++i) ASSERT_TRUE(model.arrive(Instant{0}).admitted) << i;
    EXPECT_FALSE(model.arrive(Instant{0}).admitted);
    EXPECT_EQ(model.waiting(Instant{0}), 100u);
    // After one service time eight have moved to the workers, so eight more fit.
    for (int i = 0; i < 8; ++i) EXPECT_TRUE(model.arrive(Instant{0} + 40ms).admitted) << i;
    EXPECT_FALSE(model.arrive(Instant{0} + 40ms).admitted);
}

TEST(BackendModel, WithoutAQueueOnlyIdleWorkersTakeWork) {
    BackendSettings settings = exact();
    settings.queue = 0;
    BackendModel model(settings, Random(1));
    for (int i = 0; i < 8; ++i) EXPECT_TRUE(model.arrive(Instant{0}).admitted);
    EXPECT_FALSE(model.arrive(Instant{0}).admitted);
    EXPECT_TRUE(model.arrive(Instant{0} + 40ms).admitted);
}

TEST(BackendModel, SlowAppliesToWhatArrivesAfterIt) {
    BackendModel model(exact(), Random(1));
    EXPECT_EQ(model.arrive(Instant{0}).done, Instant{0} + 40ms);
    model.set_faults({.slow = 10});
    EXPECT_EQ(model.arrive(Instant{0}).done, Instant{0} + 400ms);
}

TEST(BackendModel, FailShareIsASharePreciseToItsNoise) {
    BackendModel model(exact(), Random(7));
    model.set_faults({.fail_share = 0.25});
    int failed = 0;
    for (int i = 0; i < 10'000; ++i) failed += model.arrive(Instant{i * 1'000'000'000LL}).failed ? 1 : 0;
    EXPECT_NEAR(failed, 2500, 5 * 44);  // five standard deviations
}

TEST(BackendModel, CapacityChangesAtRunTime) {
    BackendModel model(exact(), Random(1));
    for (int i = 0; i < 8; ++i) ASSERT_EQ(model.arrive(Instant{0}).start, Instant{0});
    model.set_capacity(400, Instant{0} + 1ms);
    EXPECT_EQ(model.workers(), 16u);
    for (int i = 0; i < 8; ++i) EXPECT_EQ(model.arrive(Instant{0} + 1ms).start, Instant{0} + 1ms);
    model.set_capacity(100, Instant{0} + 2ms);
    EXPECT_EQ(model.workers(), 4u);
    EXPECT_EQ(model.busy(Instant{0} + 2ms), 4u);
}

TEST(BackendModel, HealthyAtSixtyPercentHasTheKnownQuantiles) {
    // Measured on the bench model of the studies: p50 35 ms, p99 113 ms at 60 % load; ours with 8 workers must agree.
    BackendModel model(BackendSettings{}, Random(42));
    Random arrivals(43);
    std::vector<double> latencies;
    Instant now{0};
    for (int i = 0; i < 60'000; ++i) {
        now = now + from_seconds(arrivals.exponential(1.0 / 120));
        const auto a = model.arrive(now);
        ASSERT_TRUE(a.admitted);
        latencies.push_back(milliseconds(a.done - now));
    }
    std::ranges::sort(latencies);
    EXPECT_NEAR(latencies[latencies.size() / 2], 36, 3);
    EXPECT_NEAR(latencies[latencies.size() * 99 / 100], 113, 12);
}

TEST(BackendModel, OverloadServesItsCapacityAndRefusesTheRest) {
    BackendModel model(BackendSettings{}, Random(5));
    Random arrivals(6);
    Instant now{0};
    int refused = 0;
    constexpr int offered = 40'000;  // at 400/s, twice what it can do
    for (int i = 0; i < offered; ++i) {
        now = now + from_seconds(arrivals.exponential(1.0 / 400));
        if (!model.arrive(now).admitted) ++refused;
    }
    EXPECT_NEAR(refused, offered / 2, offered / 40);
}

RC_GTEST_PROP(BackendModelProperty, NeverMoreAtOnceThanWorkersNorMoreWaitingThanTheQueue, ()) {
    BackendSettings settings;
    settings.queue = *rc::gen::inRange(0u, 10u);
    BackendModel model(settings, Random(*rc::gen::arbitrary<std::uint64_t>()));
    const auto gaps = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 20));
    Instant now{0}, last_start{0};
    std::vector<std::pair<Instant, Instant>> served;
    for (const int gap : gaps) {
        now = now + std::chrono::milliseconds{gap};
        const auto a = model.arrive(now);
        RC_ASSERT(model.waiting(now) <= settings.queue);
        if (!a.admitted) continue;
        RC_ASSERT(a.start >= now && a.done >= a.start);
        RC_ASSERT(a.start >= last_start);  // FIFO
        last_start = a.start;
        served.emplace_back(a.start, a.done);
        const auto at_start =
            std::ranges::count_if(served, [&](const auto& s) { return s.first <= a.start && s.second > a.start; });
        RC_ASSERT(static_cast<std::size_t>(at_start) <= model.workers());
    }
}

}  // namespace
}  // namespace plimsoll::lab
