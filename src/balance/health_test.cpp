#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "balance/balance.h"

namespace plimsoll::balance {
namespace {

using namespace std::chrono_literals;

const Attempt reset{.cause = Cause::upstream_reset};
const Attempt answer_500{.status = 500};
const Attempt answer_200{.status = 200};
const Attempt answer_404{.status = 404};
const Attempt client_left{.cause = Cause::client_closed};

/// Fails `state` until it is ejected; the number of attempts that took.
int fail_until_ejected(EndpointState& state, const Ejection& ejection, Instant now) {
    for (int i = 1; i < 100; ++i) {
        if (observe(state, answer_500, ejection, 10, 0, now)) return i;
    }
    return 0;
}

TEST(Ejection, TakesARowOfFailures) {
    EndpointState state;
    const Ejection ejection;
    const Instant now{5};
    for (int i = 0; i < 4; ++i) EXPECT_FALSE(observe(state, reset, ejection, 10, 0, now));
    EXPECT_FALSE(observe(state, answer_200, ejection, 10, 0, now));
    EXPECT_FALSE(observe(state, client_left, ejection, 10, 0, now));
    for (int i = 0; i < 4; ++i) EXPECT_FALSE(observe(state, answer_500, ejection, 10, 0, now));
    EXPECT_FALSE(observe(state, client_left, ejection, 10, 0, now));  // says nothing about the endpoint
    EXPECT_TRUE(observe(state, reset, ejection, 10, 0, now));
    EXPECT_EQ(state.ejected_until, now + 10s);
}

TEST(Ejection, NotFoundIsAnAnswer) {
    EndpointState state;
    for (int i = 0; i < 50; ++i) EXPECT_FALSE(observe(state, answer_404, {}, 10, 0, Instant{1}));
    EXPECT_EQ(state.failures_in_row, 0u);
}

TEST(Ejection, BacksOffUpToTheCeilingAndForgives) {
    EndpointState state;
    Ejection ejection;
    ejection.ceiling = 35s;
    Instant now{0};
    for (const Duration out : {Duration(10s), Duration(20s), Duration(30s), Duration(35s), Duration(35s)}) {
        EXPECT_EQ(fail_until_ejected(state, ejection, now), 5);
        EXPECT_EQ(state.ejected_until, now + out);
        now = state.ejected_until;
    }
    EXPECT_EQ(state.times_ejected, 5u);
    observe(state, answer_200, ejection, 10, 0, now + 9s);
    EXPECT_EQ(state.times_ejected, 5u);
    observe(state, answer_200, ejection, 10, 0, now + 10s);
    EXPECT_EQ(state.times_ejected, 4u);
    observe(state, answer_500, ejection, 10, 0, now + 19s);  // clean time starts anew
    observe(state, answer_200, ejection, 10, 0, now + 28s);
    EXPECT_EQ(state.times_ejected, 4u);
    observe(state, answer_200, ejection, 10, 0, now + 90s);
    EXPECT_EQ(state.times_ejected, 0u);
}

TEST(Ejection, LateFailuresDoNotCountAgainstTheNextLife) {
    EndpointState state;
    const Ejection ejection;
    fail_until_ejected(state, ejection, Instant{0});
    for (int i = 0; i < 50; ++i) EXPECT_FALSE(observe(state, reset, ejection, 10, 1, Instant{} + 1s));
    EXPECT_EQ(fail_until_ejected(state, ejection, Instant{} + 11s), 5);
}

RC_GTEST_PROP(EjectionProperty, TheCeilingHolds, ()) {
    const auto n = *rc::gen::inRange<std::size_t>(1, 40);
    Ejection ejection;
    ejection.max_fraction = static_cast<double>(*rc::gen::inRange(0, 101)) / 100;
    std::vector<EndpointState> states(n);
    const Instant now{0};
    std::size_t out = 0;
    for (int step = 0; step < 400; ++step) {
        auto& state = states[*rc::gen::inRange<std::size_t>(0, n)];
        out += observe(state, reset, ejection, n, out, now);
    }
    for (auto& state : states) {
        for (int i = 0; i < 5; ++i) out += observe(state, reset, ejection, n, out, now);
    }
    const auto allowed = static_cast<std::size_t>(ejection.max_fraction * static_cast<double>(n) + 1e-9);
    RC_ASSERT(out == (n == 1 ? 0 : std::max<std::size_t>(1, allowed)));
}

TEST(Ejection, OneHeldBackByTheCeilingGoesWhenThereIsRoom) {
    EndpointState state;
    const Ejection ejection;
    for (int i = 0; i < 8; ++i) EXPECT_FALSE(observe(state, reset, ejection, 10, 3, Instant{0}));
    EXPECT_TRUE(observe(state, reset, ejection, 10, 2, Instant{0}));
}

TEST(Probe, FirstResultDecidesThenRiseAndFall) {
    ProbeState state;
    EXPECT_TRUE(probe_result(state, true, 2, 3));
    EXPECT_EQ(state.health, Health::up);
    EXPECT_FALSE(probe_result(state, false, 2, 3));
    EXPECT_FALSE(probe_result(state, false, 2, 3));
    EXPECT_FALSE(probe_result(state, true, 2, 3));  // the row is broken
    EXPECT_FALSE(probe_result(state, false, 2, 3));
    EXPECT_FALSE(probe_result(state, false, 2, 3));
    EXPECT_TRUE(probe_result(state, false, 2, 3));
    EXPECT_EQ(state.health, Health::down);
    EXPECT_FALSE(probe_result(state, true, 2, 3));
    EXPECT_TRUE(probe_result(state, true, 2, 3));
    ProbeState born_dead;
    EXPECT_TRUE(probe_result(born_dead, false, 2, 3));
    EXPECT_EQ(born_dead.health, Health::down);
}

}  // namespace
}  // namespace plimsoll::balance
