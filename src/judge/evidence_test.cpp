// The e-processes against the published figures (median requests until detection), false alarms under peeking, and the
// limits: nothing seen, nothing to compare. Seeds are fixed, so every figure here is bit-identical at each run.
#include "judge/evidence.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "judge/verdict.h"

namespace plimsoll::judge {
namespace {

const double fail_at = std::log(6 / 0.001);

/// Requests until the errors process fails, drawing one bad event after the other with geometric gaps.
std::uint64_t requests_until_fail(Random& random, double p_active, double p_candidate, double share,
                                  std::uint64_t at_most) {
    RatioProcess process = RatioProcess::for_errors();
    const double bad = (1 - share) * p_active + share * p_candidate;
    const double from_candidate = share * p_candidate / bad;
    std::uint64_t n = 0;
    while (n < at_most) {
        n += 1 + static_cast<std::uint64_t>(bad < 1 ? std::log(1 - random.uniform()) / std::log1p(-bad) : 0);
        const bool candidate = random.chance(from_candidate);
        process.add(Share{share}, candidate ? 0 : 1, candidate ? 1 : 0);
        if (process.log_e() >= fail_at) return n;
    }
    return at_most;
}

double median(std::vector<std::uint64_t> x) {
    std::nth_element(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2), x.end());
    return static_cast<double>(x[x.size() / 2]);
}

struct Row {
    double p_active, p_candidate, share, published;
    int runs;
};

TEST(Errors, MedianRequestsUntilDetectionAgreeWithTheDesign) {
    const Row rows[] = {{0.001, 1.0, 0.05, 75, 600},     {0.001, 0.05, 0.05, 1800, 400},
                        {0.001, 0.05, 0.25, 604, 400},   {0.001, 0.01, 0.05, 16'000, 200},
                        {0.001, 0.01, 0.5, 4300, 200},   {0.01, 0.02, 0.25, 15'000, 100},
                        {0.001, 0.003, 0.5, 38'000, 100}};
    Random random(12345);
    for (const Row& row : rows) {
        std::vector<std::uint64_t> n;
        for (int i = 0; i < row.runs; ++i)
            n.push_back(requests_until_fail(random, row.p_active, row.p_candidate, row.share, 10'000'000));
        const double m = median(std::move(n));
        EXPECT_NEAR(m / row.published, 1.0, 0.2)
            << row.p_active << " -> " << row.p_candidate << " at " << row.share << ": " << m << " requests";
        RecordProperty("median", std::to_string(m));
    }
}

TEST(Errors, FalseAlarmsStayBelowAlphaAlthoughWeLookAfterEveryEvent) {
    Random random(777);
    for (const double share : {0.05, 0.5}) {
        int alarms = 0;
        constexpr int runs = 800;
        for (int run = 0; run < runs; ++run) {
            RatioProcess process = RatioProcess::for_errors();
            for (int event = 0; event < 1000; ++event) {
                const bool candidate = random.chance(share);
                process.add(Share{share}, candidate ? 0 : 1, candidate ? 1 : 0);
                if (process.log_e() >= std::log(1 / 0.05)) {
                    ++alarms;
                    break;
                }
            }
        }
        EXPECT_LE(alarms, runs * 5 / 100) << "nominal 5 % at share " << share << ": " << alarms << " of " << runs;
    }
}

TEST(Errors, BurstsThatHitBothArmsRaiseNoAlarm) {
    Random random(99);
    int alarms = 0;
    for (int run = 0; run < 500; ++run) {
        RatioProcess process = RatioProcess::for_errors();
        for (int tick = 0; tick < 300; ++tick) {
            const int events = random.chance(0.02) ? 200 : 1;  // x200 bursts
            std::uint64_t candidate = 0;
            for (int i = 0; i < events; ++i) candidate += random.chance(0.05) ? 1u : 0u;
            process.add(Share{0.05}, static_cast<std::uint64_t>(events) - candidate, candidate);
            if (process.log_e() >= fail_at) {
                ++alarms;
                break;
            }
        }
    }
    EXPECT_EQ(alarms, 0);
}

TEST(Errors, EvidenceCarriesOverStepsAndOrderWithinAStepDoesNotMatter) {
    RatioProcess a = RatioProcess::for_errors();
    a.add(Share{0.01}, 10, 3);
    a.add(Share{0.05}, 20, 9);
    RatioProcess b = RatioProcess::for_errors();
    for (int i = 0; i < 3; ++i) b.add(Share{0.01}, 0, 1);
    for (int i = 0; i < 10; ++i) b.add(Share{0.01}, 1, 0);
    b.add(Share{0.05}, 20, 0);
    b.add(Share{0.05}, 0, 9);
    EXPECT_NEAR(a.log_e(), b.log_e(), 1e-9);
    EXPECT_GT(a.log_e(), fail_at);
    EXPECT_EQ(b.bad_active(), 30u);
    EXPECT_EQ(b.bad_candidate(), 12u);
}

TEST(Errors, NothingToCompareIsNoEvidence) {
    RatioProcess p = RatioProcess::for_errors();
    EXPECT_NEAR(p.log_e(), 0, 1e-12);
    p.add(Share{0}, 5, 5);
    p.add(Share{1}, 5, 5);
    p.add(Share{std::nan("")}, 5, 5);
    EXPECT_NEAR(p.log_e(), 0, 1e-12);
    EXPECT_EQ(p.interval(0.05).lower, 0);
    EXPECT_TRUE(std::isinf(p.interval(0.05).upper));
}

TEST(Errors, IntervalCoversTheTruthAndNarrows) {
    Random random(4);
    int outside = 0;
    for (int run = 0; run < 100; ++run) {
        RatioProcess p = RatioProcess::for_errors();
        const double truth = 3, f = 0.25, chance = f * truth / (1 - f + f * truth);
        for (int look = 0; look < 8; ++look) {
            std::uint64_t candidate = 0;
            for (int i = 0; i < 100; ++i) candidate += random.chance(chance) ? 1u : 0u;
            p.add(Share{f}, 100 - candidate, candidate);
            const Interval ci = p.interval(0.05);
            if (truth < ci.lower || truth > ci.upper) {
                ++outside;
                break;
            }
        }
        const Interval last = p.interval(0.05);
        EXPECT_LT(last.upper / last.lower, 2.2);
    }
    EXPECT_LE(outside, 10) << "5 % on each side at all looks together";
}

RC_GTEST_PROP(Errors, StaysFiniteWhateverTheCounts, ()) {
    RatioProcess p = RatioProcess::for_errors();
    for (int i = 0; i < 5; ++i)
        p.add(Share{static_cast<double>(*rc::gen::inRange(1, 999)) / 1000},
              *rc::gen::inRange<std::uint64_t>(0, 1u << 31), *rc::gen::inRange<std::uint64_t>(0, 1u << 31));
    RC_ASSERT(std::isfinite(p.log_e()));
    const Interval ci = p.interval(0.05);
    RC_ASSERT(ci.lower <= ci.upper && ci.lower >= 0);
}

// ---- latency -------------------------------------------------------------------------------------------------------

/// Requests until "all latencies x factor" is seen, log-normal, sigma 0.8.
std::uint64_t latency_requests(Random& random, const std::vector<std::size_t>& thresholds, double factor,
                               double share) {
    LatencyProcess process(thresholds);
    measure::RouteTally active, candidate;
    for (std::uint64_t n = 0; n < 1'000'000;) {
        for (int i = 0; i < 100; ++i, ++n) {
            const double s = random.lognormal(0.04, 0.8);
            if (random.chance(share))
                candidate.total.add(from_seconds(s * factor));
            else
                active.total.add(from_seconds(s));
        }
        process.update(Share{share}, active, candidate);
        if (process.log_e() >= fail_at) return n;
    }
    return 1'000'000;
}

TEST(Latency, MedianRequestsUntilDetectionAgreeWithTheDesign) {
    Random random(99);
    measure::Histogram past;
    for (int i = 0; i < 200'000; ++i) past.add(from_seconds(random.lognormal(0.04, 0.8)));
    const auto thresholds = LatencyProcess::thresholds(past);
    ASSERT_EQ(thresholds.size(), 5u);
    for (const Row& row : {Row{1, 1.2, 0.05, 27'000, 30}, Row{1, 1.2, 0.25, 6900, 100}, Row{1, 1.2, 0.5, 5500, 100}}) {
        std::vector<std::uint64_t> n;
        for (int i = 0; i < row.runs; ++i)
            n.push_back(latency_requests(random, thresholds, row.p_candidate, row.share));
        const double m = median(std::move(n));
        EXPECT_NEAR(m / row.published, 1.0, 0.2) << "x1.2 at " << row.share << ": " << m;
    }
}

TEST(Latency, ThresholdsNeedTenRequestsBeyondThem) {
    measure::Histogram h;
    EXPECT_TRUE(LatencyProcess::thresholds(h).empty());
    Random random(1);
    for (int i = 0; i < 150; ++i) h.add(from_seconds(random.lognormal(0.04, 0.8)));
    EXPECT_EQ(LatencyProcess::thresholds(h).size(), 2u);  // p50 and p90
    for (int i = 0; i < 20'000; ++i) h.add(from_seconds(random.lognormal(0.04, 0.8)));
    EXPECT_EQ(LatencyProcess::thresholds(h).size(), 5u);
}

TEST(Latency, AHungRequestCountsAtOnceAndOnlyOnce) {
    using namespace std::chrono_literals;
    measure::Histogram past;
    past.add(10ms, 10'000);
    past.add(50ms, 1'000);
    LatencyProcess process(LatencyProcess::thresholds(past));
    ASSERT_TRUE(process.armed());
    measure::RouteTally active, candidate;
    active.total.add(10ms, 950);
    candidate.waiting.add(2s, 20);
    process.update(Share{0.05}, active, candidate);
    const double waiting = process.log_e();
    EXPECT_GT(waiting, fail_at);
    candidate.waiting = {};
    candidate.total.add(5s, 15);  // fifteen are answered at last, five clients went away
    process.update(Share{0.05}, active, candidate);
    EXPECT_DOUBLE_EQ(process.log_e(), waiting);
}

// ---- shares and utilisation ----------------------------------------------------------------------------------------

std::size_t draw(Random& random, const std::vector<double>& shares) {
    double u = random.uniform();
    for (std::size_t i = 0; i < shares.size(); ++i) {
        if (u < shares[i]) return i;
        u -= shares[i];
    }
    return shares.size() - 1;
}

double decisions_to_reject_shares(Random& random, const std::vector<double>& actual, std::size_t servers, int runs) {
    std::vector<std::uint64_t> n;
    for (int run = 0; run < runs; ++run) {
        ShareProcess process(std::vector<double>(servers, 1.0 / static_cast<double>(servers)));
        while (process.log_e() < fail_at) {
            std::vector<std::uint64_t> one(servers, 0);
            one[draw(random, actual)] = 1;
            process.add(one);
        }
        n.push_back(process.decisions());
    }
    return median(std::move(n));
}

TEST(Shares, DecisionsUntilRejectionAgreeWithTheDesign) {
    Random random(12345);
    EXPECT_NEAR(decisions_to_reject_shares(random, {0.5, 0.5, 0, 0, 0, 0, 0, 0}, 8, 400), 14, 1);
    std::vector<double> quarter(100, 0.0);
    std::fill_n(quarter.begin(), 25, 0.04);
    EXPECT_NEAR(decisions_to_reject_shares(random, quarter, 100, 100) / 36, 1.0, 0.15);
    std::vector<double> twice(8, 1.0 / 9);
    twice[0] = 2.0 / 9;
    EXPECT_NEAR(decisions_to_reject_shares(random, twice, 8, 100) / 549, 1.0, 0.25);
}

TEST(Shares, APickWhereNoneWasPredictedIsCertain) {
    ShareProcess process({0.5, 0.5, 0});
    const std::uint64_t picks[] = {5, 5, 1};
    process.add(picks);
    EXPECT_GT(process.log_e(), 1000);
}

/// Eight servers at 60 % of capacity 100, cap 0.8.
std::vector<EndpointFacts> eight(const std::vector<double>& candidate) {
    std::vector<EndpointFacts> facts;
    for (std::uint32_t i = 0; i < 8; ++i)
        facts.push_back({.id = EndpointId{i},
                         .name = "b" + std::to_string(i),
                         .pool = "web",
                         .group = "",
                         .capacity = 100,
                         .expected_active = 0.125,
                         .expected_candidate = candidate[i]});
    return facts;
}

std::vector<double> concentrated() {
    std::vector<double> shares(8, 0.25 / 6);
    shares[0] = shares[1] = 0.375;
    return shares;
}

TEST(Utilisation, ThreeQuartersOntoTwoOfEightIsSeenWithinFiftyDecisions) {
    Random random(12345);
    const std::vector<double> even(8, 0.125);
    for (const bool foretold : {true, false}) {
        const auto facts = eight(foretold ? concentrated() : even);
        std::vector<std::uint64_t> n;
        for (int run = 0; run < 500; ++run) {
            UtilisationProcess process(UtilisationProcess::cells(facts, 480, 0.8));
            while (process.log_e() < fail_at && process.decisions() < 1000) {
                std::vector<std::uint64_t> one(8, 0);
                one[draw(random, concentrated())] = 1;
                process.add(one);
            }
            n.push_back(process.decisions());
        }
        EXPECT_LE(median(n), 50) << (foretold ? "with the forecast" : "without");
        RecordProperty(foretold ? "median_foretold" : "median_not_foretold", std::to_string(median(n)));
    }
}

TEST(Utilisation, SharesThatFitNeverFireInAThousandRuns) {
    Random random(777);
    // The boundary is the hardest null: six servers exactly at the cap, two below.
    std::vector<double> tight(8, 0.16);
    tight[6] = tight[7] = 0.02;
    for (const auto& shares : {std::vector<double>(8, 0.125), tight}) {
        const auto cells = UtilisationProcess::cells(eight(shares), 500, 0.8);
        int fired = 0;
        for (int run = 0; run < 1000; ++run) {
            UtilisationProcess process(cells);
            for (int look = 0; look < 40; ++look) {
                std::vector<std::uint64_t> some(8, 0);
                for (int i = 0; i < 25; ++i) ++some[draw(random, shares)];
                process.add(some);
                if (process.log_e() >= fail_at) {
                    ++fired;
                    break;
                }
            }
        }
        EXPECT_EQ(fired, 0);
    }
}

TEST(Utilisation, UnevenSharesOverUnevenCapacitiesAreRight) {
    Random random(5);
    std::vector<double> shares(8, 0.05);
    shares[0] = shares[1] = 0.35;
    auto facts = eight(shares);
    facts[0].capacity = facts[1].capacity = 400;
    UtilisationProcess process(UtilisationProcess::cells(facts, 600, 0.8));
    for (int i = 0; i < 5000; ++i) {
        std::vector<std::uint64_t> one(8, 0);
        one[draw(random, shares)] = 1;
        process.add(one);
        ASSERT_LT(process.log_e(), fail_at) << i;
    }
}

TEST(Utilisation, ASiteAboveItsCapCanStillBeChanged) {
    Random random(6);
    const std::vector<double> even(8, 0.125);
    UtilisationProcess process(UtilisationProcess::cells(eight(even), 760, 0.8));  // 95 % now
    EXPECT_FALSE(process.infeasible());
    for (int i = 0; i < 5000; ++i) {
        std::vector<std::uint64_t> one(8, 0);
        one[draw(random, even)] = 1;
        process.add(one);
        ASSERT_LT(process.log_e(), fail_at) << i;
    }
}

TEST(Utilisation, LoadThatMovesInBothArmsIsNotTheCandidatesDoing) {
    Random random(8);
    const std::vector<double> even(8, 0.125);
    std::vector<double> without_one(8, 1.0 / 7);
    without_one[3] = 0;
    UtilisationProcess process(UtilisationProcess::cells(eight(even), 640, 0.8));  // 80 %, and b3 has died
    for (int i = 0; i < 20'000; ++i) {
        std::vector<std::uint64_t> one(8, 0), active(8, 0);
        one[draw(random, without_one)] = 1;
        for (int k = 0; k < 5; ++k) ++active[draw(random, without_one)];
        process.add(one);
        process.add_active(active);
        ASSERT_LT(process.log_e(), fail_at) << i;
    }
}

TEST(Utilisation, WithoutCapacityOrDecisionsThereIsNoEvidence) {
    auto facts = eight(concentrated());
    EXPECT_EQ(UtilisationProcess(UtilisationProcess::cells(facts, 480, 0.8)).log_e(), 0);
    for (auto& fact : facts) fact.capacity = 0;
    UtilisationProcess process(UtilisationProcess::cells(facts, 480, 0.8));
    const std::uint64_t picks[] = {500, 500};
    process.add(picks);
    EXPECT_EQ(process.log_e(), 0);
    EXPECT_EQ(UtilisationProcess().log_e(), 0);
}

TEST(Facts, RampBoundIsTheDesignsFormula) {
    // m = 3 (0.375 / 0.125), u = 0.6, cap 0.8: (0.8/0.6 - 1) / (3 - 1) = 1/6.
    EXPECT_NEAR(ramp_bound(eight(concentrated()), 480, 0.8).value, 1.0 / 6, 1e-9);
    EXPECT_EQ(ramp_bound(eight(std::vector<double>(8, 0.125)), 480, 0.8).value, 1.0);
    EXPECT_EQ(ramp_bound({}, 480, 0.8).value, 1.0);
    const auto u = projected_utilisation(eight(concentrated()), 480, Share{1});
    EXPECT_NEAR(hottest(u).utilisation, 1.8, 1e-9);
}

// ---- non-inferiority -----------------------------------------------------------------------------------------------

TEST(NonInferiority, ASiteWithoutErrorsPassesAfterAboutLn20OverFloor) {
    for (const double share : {0.01, 0.05, 0.25}) {
        const double floor = error_floor(0.0005, Share{share});
        NonInferiority e(Share{share}, 3, floor, 0);
        std::uint64_t n = 0;
        while (e.log_e() < std::log(20.0)) {
            e.add(0, 1, 0);
            ++n;
        }
        EXPECT_LE(static_cast<double>(n), 1.3 * std::log(20.0) / floor);
        EXPECT_GE(static_cast<double>(n), 0.9 * std::log(20.0) / floor);
        EXPECT_NEAR(static_cast<double>(n) / share, least_requests(0.0005, Share{share}),
                    0.3 * static_cast<double>(n) / share);
    }
}

TEST(NonInferiority, ByRatioAgreesWithTheDesign) {
    Random random(12345);
    std::vector<std::uint64_t> n;
    for (int run = 0; run < 200; ++run) {
        NonInferiority e(Share{0.05}, 3, 1e-5, 0.001);  // a floor too low to matter
        std::uint64_t requests = 0;
        while (e.log_e() < std::log(20.0)) {
            const auto gap = 1 + static_cast<std::uint64_t>(std::log(1 - random.uniform()) / std::log1p(-0.001));
            requests += gap;
            const bool candidate = random.chance(0.05);
            e.add(candidate ? 0 : 1, gap / 20, candidate ? 1 : 0);
        }
        n.push_back(requests);
    }
    EXPECT_LT(median(n), 66'000 * 1.25);
}

TEST(NonInferiority, ACandidateAtTheBorderSeldomPasses) {
    Random random(3);
    int passed = 0;
    constexpr int runs = 500;
    for (int run = 0; run < runs; ++run) {
        // p_A = 0.2 %, R = 3, floor 0.5 %: the border is max(0.6 %, 0.5 %) = 0.6 %.
        NonInferiority e(Share{0.25}, 3, 0.005, 0.002);
        for (int batch = 0; batch < 100; ++batch) {
            std::uint64_t requests = 0, bad_a = 0, bad_b = 0;
            for (int i = 0; i < 200; ++i) {
                const bool candidate = random.chance(0.25);
                requests += candidate ? 1u : 0u;
                if (random.chance(candidate ? 0.006 : 0.002)) ++(candidate ? bad_b : bad_a);
            }
            e.add(bad_a, requests, bad_b);
            if (e.log_e() >= std::log(20.0)) {
                ++passed;
                break;
            }
        }
    }
    EXPECT_LE(passed, runs * 5 / 100);
}

}  // namespace
}  // namespace plimsoll::judge
