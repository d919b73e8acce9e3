#include "lab/traffic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "lab/figures.h"

namespace plimsoll::lab {
namespace {

using namespace std::chrono_literals;

TEST(Zipf, DrawsInProportion) {
    const Zipf zipf(100, 1.0);
    Random random(3);
    std::vector<int> seen(100);
    constexpr int draws = 200'000;
    for (int i = 0; i < draws; ++i) ++seen[zipf.draw(random)];
    for (const std::uint32_t rank : {0u, 1u, 9u, 99u}) {
        const double expected = draws * zipf.probability(rank);
        EXPECT_NEAR(seen[rank], expected, 5 * std::sqrt(expected)) << rank;
    }
}

TEST(Arrivals, KeepTheMeanRateAndNeverGoBack) {
    Arrivals arrivals(1000, ArrivalShape{}, Random(11));
    Duration last{0};
    constexpr int count = 400'000;
    for (int i = 0; i < count; ++i) {
        const Duration at = arrivals.next();
        ASSERT_GE(at, last);
        last = at;
    }
    EXPECT_NEAR(count / seconds(last), 1000, 30);
}

TEST(Arrivals, WanderAsMuchAsTheMinutesTheyStandFor) {
    // Steps of arrivals printed as minutes must measure as what they were made from.
    const ArrivalShape shape;
    constexpr double rate = 2000;
    Arrivals arrivals(rate, shape, Random(12));
    std::vector<int> steps(4000);
    for (;;) {
        const auto step = static_cast<std::size_t>(arrivals.next() / shape.step);
        if (step >= steps.size()) break;
        ++steps[step];
    }
    std::string csv;
    for (const int n : steps) csv += "t," + std::to_string(n) + "\n";
    const ShapeFigures figures = measure_minutes(csv, 1);
    EXPECT_NEAR(figures.sigma, shape.sigma, 0.015);
    EXPECT_NEAR(figures.memory, shape.memory, 0.06);
}

TEST(Traffic, IsTheSameForTheSameSeedAndNotForAnother) {
    Traffic a(TrafficModel{}, 500, 9), b(TrafficModel{}, 500, 9), c(TrafficModel{}, 500, 10);
    int different = 0;
    for (int i = 0; i < 2000; ++i) {
        const Request r = a.next();
        EXPECT_EQ(r, b.next());
        different += r == c.next() ? 0 : 1;
    }
    EXPECT_GT(different, 1900);
}

TEST(Traffic, MeasuresAsTheModelSays) {
    const TrafficModel model;
    Traffic traffic(model, 500, 21);
    const LogFigures figures = measure_log(combined_log(traffic, 30'000, Timestamp{1'700'000'000'000'000'000}));
    EXPECT_EQ(figures.bad_lines, 0u);
    EXPECT_NEAR(figures.paths.exponent, model.path_exponent, 0.05);
    EXPECT_NEAR(figures.clients.exponent, model.client_exponent, 0.05);
    EXPECT_LE(figures.paths.distinct, model.paths);
    EXPECT_GE(figures.paths.distinct, model.paths * 95 / 100);  // the rarest need not be drawn
    EXPECT_NEAR(figures.statuses.at("304"), model.not_modified, 0.006);
    EXPECT_NEAR(figures.statuses.at("404"), model.not_found, 0.005);
    EXPECT_NEAR(figures.methods.at("HEAD"), model.head_method, 0.002);
    EXPECT_NEAR(figures.agent_length.mean, model.agent_mean, 15);
    EXPECT_NEAR(figures.path_length.mean, 32, 12);
    EXPECT_NEAR(figures.size_200.log_mean, model.size_log_mean, 1.0);
    EXPECT_LE(figures.size_200.largest, model.size_limit);
}

TEST(Traffic, APathHasOneSize) {
    Traffic traffic(TrafficModel{}, 500, 22);
    std::map<std::string, std::uint32_t> size;
    for (int i = 0; i < 5000; ++i) {
        const Request r = traffic.next();
        if (r.status != 200) continue;
        EXPECT_EQ(size.try_emplace(r.path, r.size).first->second, r.size) << r.path;
    }
}

TEST(Traffic, PathsAreDistinctAndPlain) {
    const TrafficModel model;
    std::map<std::string, int> seen;
    for (std::uint32_t rank = 0; rank < model.paths; ++rank) {
        const std::string path = path_of(model, rank, 1);
        EXPECT_EQ(seen[path]++, 0) << path;
        EXPECT_TRUE(path.starts_with('/'));
        EXPECT_TRUE(std::ranges::all_of(path, [](char c) { return c > ' ' && c < 127; })) << path;
    }
}

TEST(Traffic, PlaysARecordingInOrderRoundAndRound) {
    recording::Recording recording;
    const auto add = [&](std::uint64_t client, std::string method, std::string path, std::uint16_t status) {
        auto& record = recording.records.emplace_back();
        record.client_key = client, record.method = std::move(method), record.path = std::move(path);
        record.status = status, record.request_body_bytes = 5, record.response_body_bytes = 10;
    };
    add(77, "GET", "/a", 200);
    add(88, "POST", "/b", 500);
    add(77, "PUT", "/c", 304);
    Traffic traffic(recording, TrafficModel{}, 100, 1);
    for (int round = 0; round < 3; ++round) {
        const Request a = traffic.next(), b = traffic.next(), c = traffic.next();
        EXPECT_EQ(a.path, "/a");
        EXPECT_EQ(a.client, c.client);
        EXPECT_NE(a.client, b.client);
        EXPECT_EQ(a.size, 10u);
        EXPECT_EQ(b.method, "POST");
        EXPECT_EQ(b.body, 5u);
        EXPECT_EQ(b.status, 200);  // a fault of that day's server is not replayed
        EXPECT_EQ(c.method, "GET");
        EXPECT_EQ(c.size, 0u);
        EXPECT_LT(a.at, b.at);
        EXPECT_LT(b.at, c.at);
    }
}

TEST(Figures, CountsLinesThatAreNoLog) {
    const LogFigures figures = measure_log(
        "not a line\n"
        "1.2.3.4 - - [01/Jan/2024:00:00:00 +0000] \"GET /a?x=1 HTTP/1.1\" 200 5 \"-\" \"quote \\\" in agent\"\n");
    EXPECT_EQ(figures.requests, 1u);
    EXPECT_EQ(figures.bad_lines, 1u);
    EXPECT_EQ(figures.query_share, 1);
    EXPECT_EQ(figures.referer_share, 0);
    EXPECT_EQ(figures.statuses.at("200"), 1);
    EXPECT_EQ(measure_log("").requests, 0u);
}

}  // namespace
}  // namespace plimsoll::lab
