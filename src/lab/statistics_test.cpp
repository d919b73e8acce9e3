#include "lab/statistics.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace plimsoll::lab {
namespace {

using namespace std::chrono_literals;

TEST(Latencies, EmptyHasNoFigures) {
    const Latencies latencies;
    EXPECT_EQ(latencies.quantile(0.5), 0ns);
    EXPECT_EQ(latencies.count(), 0u);
    EXPECT_EQ(latencies.mean(), 0ns);
}

TEST(Latencies, SmallNumbersAreExactToAMicrosecond) {
    Latencies latencies;
    for (int us = 1; us <= 60; ++us) latencies.add(std::chrono::microseconds{us});
    EXPECT_EQ(latencies.quantile(0.5) / 1us, 30);
    EXPECT_EQ(latencies.quantile(1), 60us);
    EXPECT_EQ(latencies.mean(), 30500ns);
}

TEST(Latencies, CountsAboveALimit) {
    Latencies latencies;
    for (int ms = 1; ms <= 1000; ++ms) latencies.add(std::chrono::milliseconds{ms});
    EXPECT_NEAR(static_cast<double>(latencies.above(300ms)), 700, 5);
    EXPECT_EQ(latencies.above(2s), 0u);
}

TEST(Latencies, OfAnAbsurdLengthStaysInTheLastBucket) {
    Latencies latencies;
    latencies.add(std::chrono::hours{48});
    EXPECT_GT(latencies.quantile(0.5), std::chrono::hours{1});
}

RC_GTEST_PROP(LatenciesProperty, QuantilesAreWithinABucketOfTheTruth, ()) {
    const auto values = *rc::gen::nonEmpty(
        rc::gen::container<std::vector<std::uint32_t>>(rc::gen::inRange<std::uint32_t>(1, 2'000'000'000)));
    const double fraction = *rc::gen::inRange(0, 1001) / 1000.0;
    Latencies latencies, half;
    for (std::size_t i = 0; i < values.size(); ++i)
        (i % 2 ? latencies : half).add(std::chrono::microseconds{values[i]});
    latencies.merge(half);
    std::vector<double> sorted(values.begin(), values.end());
    std::ranges::sort(sorted);
    const auto rank =
        std::max<std::size_t>(1, static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(sorted.size()))));
    const double truth = sorted[rank - 1];
    const double told = static_cast<double>(latencies.quantile(fraction).count()) / 1000;
    RC_ASSERT(told >= truth);
    RC_ASSERT(told <= truth * (1 + 1.0 / 64) + 1);
}

TEST(Quantile, IsAMeasurementThatHappened) {
    const std::vector<double> runs{5, 1, 4, 2};
    EXPECT_EQ(quantile(runs, 0.5), 2);
    EXPECT_EQ(quantile(runs, 1), 5);
    EXPECT_EQ(quantile(runs, 0), 1);
    EXPECT_EQ(quantile({}, 0.5), 0);
}

TEST(ZipfExponent, FindsTheExponentItWasMadeWith) {
    for (const double s : {0.7, 1.0, 1.4}) {
        std::vector<std::uint64_t> counts;
        for (int rank = 1; rank <= 1000; ++rank)
            counts.push_back(static_cast<std::uint64_t>(std::llround(1e6 * std::pow(rank, -s))));
        EXPECT_NEAR(zipf_exponent(counts), s, 0.01);
    }
}

}  // namespace
}  // namespace plimsoll::lab
