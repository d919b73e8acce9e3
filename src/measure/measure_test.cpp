// The fold, the histogram's promised error, merging in any order, the ring of seconds.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/random.h"
#include "measure/series.h"
#include "measure/tally.h"

namespace plimsoll::measure {
namespace {

using namespace std::chrono_literals;

Outcome outcome(Arm arm, std::uint32_t route, std::uint16_t status, Duration first_byte, std::uint32_t endpoint) {
    Outcome o;
    o.arm = arm;
    o.route = RouteId{route};
    o.status = status;
    o.first_byte = first_byte;
    o.attempt_count = 1;
    o.attempt[0].endpoint = EndpointId{endpoint};
    o.attempt[0].status = status;
    o.attempt[0].first_byte = first_byte;
    return o;
}

TEST(Histogram, BordersAreFixedAndInclusiveBelow) {
    EXPECT_EQ(Histogram::border(0), Duration{0});
    EXPECT_EQ(Histogram::border(1), Duration{16384});
    EXPECT_EQ(Histogram::border(9), Duration{32768});
    EXPECT_EQ(Histogram::border(Histogram::buckets - 1), Duration{1ll << 37});
    for (std::size_t b = 1; b < Histogram::buckets; ++b) {
        const Duration low = Histogram::border(b);
        EXPECT_EQ(Histogram::bucket(low), b);
        EXPECT_EQ(Histogram::bucket(low - 1ns), b - 1);
    }
    EXPECT_EQ(Histogram::bucket(-5ns), 0u);
    EXPECT_EQ(Histogram::bucket(1000s), Histogram::buckets - 1);
}

RC_GTEST_PROP(Histogram, BucketsAreWithinTheirPromisedWidth, ()) {
    const auto ns = *rc::gen::inRange<std::int64_t>(16384, 1ll << 37);
    const std::size_t b = Histogram::bucket(Duration{ns});
    const double low = static_cast<double>(Histogram::border(b).count());
    const double high = static_cast<double>(Histogram::border(b + 1).count());
    RC_ASSERT(static_cast<double>(ns) >= low && static_cast<double>(ns) < high);
    RC_ASSERT(high / low < 1.0911);
}

TEST(Histogram, SumIsExact) {
    Histogram h, other;
    h.add(20ms + 1ns, 3);
    h.add(-5ns);
    other.add(1000s);
    h.add(other);
    EXPECT_EQ(h.sum_ns(), 3 * 20'000'001u + 1'000'000'000'000u);
}

TEST(Histogram, QuantileIsAnUpperBoundWithinOneBucket) {
    Random random(7);
    Histogram h;
    std::vector<double> values;
    for (int i = 0; i < 50'000; ++i) {
        const double s = random.lognormal(0.04, 0.8);
        values.push_back(s);
        h.add(from_seconds(s));
    }
    std::sort(values.begin(), values.end());
    for (const double q : {0.5, 0.9, 0.99, 0.999}) {
        const double exact = values[static_cast<std::size_t>(q * static_cast<double>(values.size()))];
        const double said = seconds(h.quantile(q));
        EXPECT_GE(said, exact * 0.9999) << q;
        EXPECT_LE(said, exact * 1.092) << q;
    }
    EXPECT_EQ(Histogram{}.quantile(0.5), Duration{0});
    Histogram slow;
    slow.add(1000s);
    EXPECT_EQ(slow.quantile(0.5), Histogram::border(Histogram::buckets - 1));
}

TEST(Histogram, CountsGoOnBeyond32Bits) {  // a server that is up for weeks at 10,000 requests/s
    Histogram h;
    h.add(1ms, UINT32_MAX);
    h.add(1ms, 10);
    h.add(1s, 3);
    EXPECT_EQ(h.count(), std::uint64_t{UINT32_MAX} + 13);
    Histogram twice = h;
    twice.add(h);
    EXPECT_EQ(twice.count(), 2 * h.count());
    EXPECT_EQ(twice.at_least(Histogram::bucket(1s)), 6u);
    EXPECT_EQ(twice.sum_ns(), 2 * h.sum_ns());
    EXPECT_EQ(twice.quantile(0.5), h.quantile(0.5));
}

TEST(Fold, CountsByRouteAndEndpointAndApartWhatNoRouteMatched) {
    Tally t;
    Outcome lost;
    lost.status = 404;
    lost.cause = Cause::no_route;
    fold(t, lost);
    fold(t, outcome(Arm::active, 2, 200, 20ms, 1));
    fold(t, outcome(Arm::active, 0, 503, 5ms, 3));
    Outcome limited = outcome(Arm::candidate, 0, 429, 1ms, 0);
    fold(t, limited);
    const ArmTally& a = t.arms[0];
    EXPECT_EQ(a.routes.size(), 2u) << "those that were seen";
    EXPECT_EQ(a.routes.ids(), 3u);
    EXPECT_EQ(a.unmatched.status_4xx, 1u);
    EXPECT_EQ(a.routes[2].requests, 1u);
    EXPECT_EQ(a.routes[0].failed, 1u);
    EXPECT_EQ(a.endpoints[3].status_5xx, 1u);
    EXPECT_EQ(a.endpoints[1].picks, 1u);
    EXPECT_EQ(t.arms[1].routes[0].status_429, 1u);
    EXPECT_EQ(t.arms[1].routes[0].status_4xx, 0u);
    EXPECT_EQ(a.all_routes().requests, 3u);
}

TEST(ById, HoldsWhatWasSeenAndReadsTheRestAsNothing) {
    ById<std::uint64_t> seen;
    EXPECT_TRUE(seen.empty());
    seen[70'000] = 5;
    const std::uint64_t& first = seen[70'000];
    seen[3] += 2;
    for (std::size_t i = 100; i < 1100; ++i) seen[i] = i;
    EXPECT_EQ(&first, seen.find(70'000)) << "nothing moves";
    EXPECT_EQ(seen.size(), 1002u);
    EXPECT_EQ(seen.ids(), 70'001u);
    EXPECT_EQ(std::as_const(seen)[4], 0u);
    EXPECT_EQ(seen.find(4), nullptr);
    EXPECT_EQ(seen.find(80'000), nullptr);
    ById<std::uint64_t> more;
    more[3] = 1, more[80'000] = 9;
    seen += more;
    EXPECT_EQ(seen[3], 3u);
    EXPECT_EQ(seen.dense()[80'000], 9u);
    EXPECT_EQ(seen.begin()->id, 70'000u) << "in the order in which they were first seen";
}

TEST(Fold, RetriesCountTheRequestOnceAndEveryAttempt) {
    Outcome o = outcome(Arm::active, 0, 200, 30ms, 4);
    o.attempt_count = 2;
    o.attempt[1] = o.attempt[0];
    o.attempt[0] = Attempt{};
    o.attempt[0].endpoint = EndpointId{2};
    o.attempt[0].cause = Cause::connect_refused;
    Tally t;
    fold(t, o);
    const ArmTally& a = t.arms[0];
    EXPECT_EQ(a.routes[0].requests, 1u);
    EXPECT_EQ(a.routes[0].retried, 1u);
    EXPECT_EQ(a.endpoints[2].picks, 1u);
    EXPECT_EQ(a.endpoints[2].connect_failures, 1u);
    EXPECT_EQ(a.endpoints[2].first_byte.count(), 0u);
    EXPECT_EQ(a.endpoints[4].picks, 0u) << "a retry is not a decision by share";
    EXPECT_EQ(a.endpoints[4].attempts, 1u);
}

TEST(Fold, ARequestWithoutAnswerIsFailedAndHasNoTimeToHead) {
    Outcome o = outcome(Arm::active, 0, 0, 0ms, 1);
    o.cause = Cause::upstream_reset;
    o.attempt[0].cause = Cause::upstream_reset;
    Tally t;
    fold(t, o);
    EXPECT_EQ(t.arms[0].routes[0].failed, 1u);
    EXPECT_EQ(t.arms[0].routes[0].total.count(), 0u);
    EXPECT_EQ(t.arms[0].endpoints[1].resets, 1u);
}

std::vector<std::uint64_t> numbers(const Tally& t) {
    std::vector<std::uint64_t> all{static_cast<std::uint64_t>(t.from.ns), static_cast<std::uint64_t>(t.to.ns),
                                   t.shadow.decisions, t.connections_accepted};
    for (const ArmTally& arm : t.arms) {
        std::vector<RouteTally> routes = arm.routes.dense();
        routes.push_back(arm.unmatched);
        for (const RouteTally& r : routes) {
            all.insert(all.end(), {r.requests, r.failed, r.status_4xx, r.no_endpoint, r.retried});
            for (std::size_t b = 0; b < Histogram::buckets; ++b) all.push_back(r.total.at_least(b));
        }
        for (const EndpointTally& e : arm.endpoints.dense())
            all.insert(all.end(), {e.picks, e.attempts, e.failures(), e.in_flight, e.first_byte.count()});
    }
    const std::vector<std::uint64_t> picks = t.shadow.picks.dense();
    all.insert(all.end(), picks.begin(), picks.end());
    return all;
}

Tally arbitrary(Random& random) {
    Tally t;
    t.from = Instant{static_cast<std::int64_t>(random.below(1000) + 1)};
    t.to = t.from + Duration{static_cast<std::int64_t>(random.below(1000))};
    const std::uint64_t n = random.below(20);
    for (std::uint64_t i = 0; i < n; ++i) {
        Outcome o = outcome(random.chance(0.5) ? Arm::active : Arm::candidate,
                            static_cast<std::uint32_t>(random.below(4)), random.chance(0.3) ? 502 : 200,
                            from_seconds(random.exponential(0.05)), static_cast<std::uint32_t>(random.below(5)));
        if (random.chance(0.2)) o.route = none<RouteId>;
        fold(t, o);
    }
    t.shadow.decisions = random.below(10);
    for (std::uint64_t i = random.below(4); i-- > 0;) t.shadow.picks[i] = 3;
    t.connections_accepted = random.below(10);
    return t;
}

RC_GTEST_PROP(Tally, MergingIsAssociativeAndCommutative, (std::uint64_t seed)) {
    Random random(seed);
    const Tally a = arbitrary(random);
    const Tally b = arbitrary(random);
    const Tally c = arbitrary(random);
    Tally left = a;
    (left += b) += c;
    Tally bc = b;
    bc += c;
    Tally right = a;
    right += bc;
    RC_ASSERT(numbers(left) == numbers(right));
    Tally swapped = c;
    (swapped += a) += b;
    RC_ASSERT(numbers(left) == numbers(swapped));
    Tally none_added = a;
    none_added += Tally{};
    RC_ASSERT(numbers(none_added) == numbers(a));
}

TEST(Tally, ExtendAddsCountsAndReplacesGauges) {
    Tally sum;
    Tally one;
    one.from = Instant{1};
    one.to = Instant{2};
    fold(one, outcome(Arm::active, 0, 200, 1ms, 0));
    one.arms[0].endpoints[0].in_flight = 7;
    one.arms[0].routes[0].waiting.add(80ms, 3);
    extend(sum, one);
    one.arms[0].endpoints[0].in_flight = 2;
    extend(sum, one);
    EXPECT_EQ(sum.arms[0].routes[0].requests, 2u);
    EXPECT_EQ(sum.arms[0].endpoints[0].in_flight, 2u);
    EXPECT_EQ(sum.arms[0].routes[0].waiting.count(), 3u);
}

TEST(Fold, CountsCausesAndProtocolsOfRequestsAndAttempts) {
    Outcome refused = outcome(Arm::active, 0, 429, 1ms, 0);
    refused.attempt_count = 0;
    refused.cause = Cause::rate_limited;
    refused.spoken = Spoken::http2;
    Outcome second = outcome(Arm::active, 0, 200, 1ms, 0);
    second.attempt_count = 2;
    second.attempt[0] = {.endpoint = EndpointId{0}, .cause = Cause::connect_refused};
    second.attempt[1] = {.endpoint = EndpointId{1}, .status = 200};
    Tally tally;
    fold(tally, refused);
    fold(tally, second);
    EXPECT_EQ(tally.arms[0].routes[0].rate_limited, 1u);
    EXPECT_EQ(tally.causes[static_cast<std::size_t>(Cause::rate_limited)], 1u);
    EXPECT_EQ(tally.causes[static_cast<std::size_t>(Cause::none)], 1u);
    EXPECT_EQ(tally.attempt_causes[static_cast<std::size_t>(Cause::connect_refused)], 1u);
    EXPECT_EQ(tally.attempt_causes[static_cast<std::size_t>(Cause::none)], 1u);
    EXPECT_EQ(tally.spoken, (std::array<std::uint64_t, 3>{1, 1, 0}));
}

TEST(Fold, AskingIsAttemptsAtTheAuthServerAndNoDecision) {
    Tally tally;
    AuthOutcome auth;
    auth.verdict = AuthVerdict::denied;
    auth.attempt_count = 2;
    auth.attempt[0] = {.endpoint = {1}, .cause = Cause::connect_refused};
    auth.attempt[1] = {.endpoint = {2}, .status = 401};
    Outcome refused;
    refused.route = RouteId{0};
    refused.status = 401;
    refused.cause = Cause::auth_denied;
    refused.auth = &auth;
    fold(tally, refused);
    const ArmTally& arm = tally.arms[0];
    EXPECT_EQ(arm.endpoints[1].connect_failures, 1u);
    EXPECT_EQ(arm.endpoints[2].attempts, 1u);
    EXPECT_EQ(arm.endpoints[2].failures(), 0u);
    EXPECT_EQ(arm.endpoints[1].picks + arm.endpoints[2].picks, 0u);
    EXPECT_EQ(arm.routes[0].status_4xx, 1u);
    EXPECT_EQ(arm.routes[0].failed + arm.routes[0].retried, 0u);
    EXPECT_EQ(tally.auth[static_cast<std::size_t>(AuthVerdict::denied)], 1u);
    EXPECT_EQ(tally.causes[static_cast<std::size_t>(Cause::auth_denied)], 1u);
    Tally more = tally;
    more += tally;
    EXPECT_EQ(more.auth[static_cast<std::size_t>(AuthVerdict::denied)], 2u);
}

TEST(Tally, GaugesOfTheWholeServerAddOverWorkersAndAreReplacedOverTime) {
    Tally one, other;
    one.queue_waiting = 2, one.tunnels = 1, one.mirrors = 4, one.http2_clients.floods[3] = 1;
    other.queue_waiting = 1, other.tunnels = 1, other.http2_clients.floods[3] = 2, other.http2_upstream.streams = 5;
    one += other;
    EXPECT_EQ(one.queue_waiting, 3u);
    EXPECT_EQ(one.tunnels, 2u);
    EXPECT_EQ(one.http2_clients.floods[3], 3u);
    extend(one, other);
    EXPECT_EQ(one.queue_waiting, 1u);
    EXPECT_EQ(one.tunnels, 1u);
    EXPECT_EQ(one.mirrors, 0u);
    EXPECT_EQ(one.http2_clients.floods[3], 5u);
    EXPECT_EQ(one.http2_upstream.streams, 10u);
}

Tally window(std::int64_t from_ms, std::int64_t to_ms, int requests) {
    Tally t;
    t.from = Instant{from_ms * 1'000'000};
    t.to = Instant{to_ms * 1'000'000};
    for (int i = 0; i < requests; ++i) fold(t, outcome(Arm::active, 0, i == 0 ? 500 : 200, 10ms, 1));
    if (requests > 0) t.arms[0].endpoints[1].in_flight = static_cast<std::uint32_t>(requests);
    return t;
}

TEST(Series, KeepsWholeSecondsAndForgetsTheOldest) {
    Series series(3);
    for (int i = 0; i < 50; ++i) series.add(window(i * 100, i * 100 + 99, 2));
    ASSERT_EQ(series.seconds().size(), 3u);
    EXPECT_EQ(series.seconds().front().at, (Instant{2'000'000'000}));
    EXPECT_EQ(series.seconds().back().requests(), 20u);
    EXPECT_EQ(series.seconds().back().failed(), 10u);
    EXPECT_EQ(series.seconds().back().endpoints[1].in_flight, 2u);
    EXPECT_EQ(series.seconds().back().total().count(), 20u);
    EXPECT_EQ(series.sum(Instant{3'000'000'000}, Instant{5'000'000'000}).requests(), 40u);
    series.add(window(100, 150, 9));  // too old: dropped
    EXPECT_EQ(series.seconds().size(), 3u);
    EXPECT_EQ(series.seconds().front().at, (Instant{2'000'000'000}));
}

TEST(Series, ASecondWithoutHandOverIsAbsent) {
    Series series;
    series.add(window(0, 100, 1));
    series.add(window(5000, 5100, 0));
    ASSERT_EQ(series.seconds().size(), 2u);
    EXPECT_EQ(series.seconds().back().at, (Instant{5'000'000'000}));
    EXPECT_EQ(series.seconds().back().requests(), 0u);
}

}  // namespace
}  // namespace plimsoll::measure
