#include "net/wheel.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <memory>
#include <vector>

namespace plimsoll::net {
namespace {

using namespace std::chrono_literals;

class Noting final : public Timer {
public:
    Instant fired = never;
    int times = 0;

private:
    void due(Instant now) override {
        fired = now;
        ++times;
    }
};

TEST(Wheel, FiresOnceNotEarlyAndWithinATick) {
    Wheel wheel(Instant{0});
    Noting timer;
    wheel.set(timer, Instant{0} + 10ms);
    EXPECT_LE(wheel.next(), Instant{0} + 13ms);
    wheel.run(Instant{0} + 9ms);
    EXPECT_EQ(timer.times, 0);
    wheel.run(Instant{0} + 13ms);
    EXPECT_EQ(timer.times, 1);
    wheel.run(Instant{0} + 100s);
    EXPECT_EQ(timer.times, 1);
    EXPECT_EQ(wheel.next(), never);
}

TEST(Wheel, LongerThanATurn) {
    Wheel wheel(Instant{5'000'000'000});
    Noting timer;
    wheel.set(timer, Instant{5'000'000'000} + 60s);
    for (int s = 1; s < 60; ++s) wheel.run(Instant{5'000'000'000} + std::chrono::seconds(s));
    EXPECT_EQ(timer.times, 0);
    wheel.run(Instant{5'000'000'000} + 60s + 3ms);
    EXPECT_EQ(timer.times, 1);
}

TEST(Wheel, ClearedAndDestroyedTimersDoNotFire) {
    Wheel wheel(Instant{0});
    Noting timer;
    auto gone = std::make_unique<Noting>();
    wheel.set(timer, Instant{0} + 5ms);
    wheel.set(*gone, Instant{0} + 5ms);
    timer.clear();
    gone.reset();
    wheel.run(Instant{0} + 1s);
    EXPECT_EQ(timer.times, 0);
}

RC_GTEST_PROP(Wheel, NoTimerIsEarlyOrMoreThanATickLate, ()) {
    constexpr std::int64_t tick = 1 << 21;
    const auto delays =
        *rc::gen::container<std::vector<std::int64_t>>(rc::gen::inRange<std::int64_t>(0, 30'000'000'000));
    Wheel wheel(Instant{0});
    std::vector<std::unique_ptr<Noting>> timers;
    for (std::int64_t delay : delays) {
        timers.push_back(std::make_unique<Noting>());
        wheel.set(*timers.back(), Instant{delay});
    }
    // The loop's way: sleep until next(), run, until nothing is left.
    for (std::size_t turns = 0; wheel.next() != never; ++turns) {
        RC_ASSERT(turns < 20'000u);
        wheel.run(wheel.next());
    }
    for (std::size_t i = 0; i < delays.size(); ++i) {
        RC_ASSERT(timers[i]->times == 1);
        RC_ASSERT(timers[i]->fired.ns >= delays[i]);
        RC_ASSERT(timers[i]->fired.ns <= delays[i] + tick);
    }
}

}  // namespace
}  // namespace plimsoll::net
