// The replay of recorded traffic: what it must see before a change takes a request, and what it must let pass.
#include "sim/replay.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "check/check.h"
#include "snapshot/questions.h"
#include "snapshot/snapshot.h"

namespace plimsoll::sim {
namespace {

using namespace std::chrono_literals;

struct Server {
    double weight = 1, capacity = 200;
};

config::Config site(const std::vector<Server>& servers, config::Policy policy, std::uint16_t first_port = 8000) {
    config::Config config;
    config::Pool pool;
    pool.name = "web";
    pool.policy = policy;
    for (std::size_t i = 0; i < servers.size(); ++i) {
        config::Endpoint endpoint;
        endpoint.name = fmt::format("b{}", i);
        endpoint.address = {"10.0.0.1", static_cast<std::uint16_t>(first_port + i)};
        endpoint.weight = servers[i].weight;
        if (servers[i].capacity > 0) endpoint.capacity = servers[i].capacity;
        pool.endpoints.push_back(endpoint);
    }
    config.pools.push_back(pool);
    config.routes.push_back({"all", {}, "web"});
    return config;
}

std::vector<Server> ten(std::vector<double> weights = std::vector<double>(10, 1)) {
    std::vector<Server> servers;
    for (const double w : weights) servers.push_back({w, 200});
    return servers;
}

recording::Recording traffic(double rate, std::size_t n, double service = 0) {
    recording::Recording recording;
    Random random(11);
    Duration t{};
    for (std::size_t i = 0; i < n; ++i) {
        t += from_seconds(random.exponential(1 / rate));
        recording::Record record;
        record.at = t;
        record.host = "shop.example";
        record.path = i % 4 == 0 ? "/cart" : "/";
        record.method = "GET";
        record.status = 200;
        if (service > 0) record.service = from_seconds(random.lognormal(service, 0.5));
        recording.records.push_back(record);
    }
    return recording;
}

double harmed(const check::Simulated& s) { return s.failed_after + s.slow_after; }

TEST(Replay, ConcentratingWeightsShowInUtilisationAndHarm) {
    const auto before = site(ten(), config::Policy::round_robin);
    const auto after = site(ten({30, 30, 30, 1, 1, 1, 1, 1, 1, 1}), config::Policy::round_robin);
    const auto forecast = replay(traffic(1200, 20'000), before, after, {.peak_rate = 1200});
    EXPECT_EQ(forecast.method, check::Forecast::Method::replay);
    ASSERT_EQ(forecast.endpoints.size(), 10u);
    EXPECT_NEAR(*forecast.endpoints[0].utilisation_now(), 0.6, 0.01);
    EXPECT_NEAR(*forecast.endpoints[0].utilisation_after(), 1.85, 0.02);
    EXPECT_NEAR(forecast.endpoints[9].share_after.value, 1.0 / 97, 0.001);
    EXPECT_LT(forecast.simulated->failed_now + forecast.simulated->slow_now, 0.001);
    EXPECT_GT(harmed(*forecast.simulated), 0.02);  // and that is what ejection leaves of it
    EXPECT_TRUE(has_errors(check::judge_forecast(forecast, config::Guard{})));
}

TEST(Replay, WithoutEjectionTheHarmIsWhatTheQueuesSay) {
    auto before = site(ten(), config::Policy::round_robin);
    auto after = site(ten({30, 30, 30, 1, 1, 1, 1, 1, 1, 1}), config::Policy::round_robin);
    before.pools[0].ejection.enabled = after.pools[0].ejection.enabled = false;
    const auto forecast = replay(traffic(1200, 20'000), before, after, {.peak_rate = 1200, .faults = false});
    EXPECT_GT(harmed(*forecast.simulated), 0.5);
    EXPECT_TRUE(forecast.faults.empty());
}

TEST(Replay, TenSmallToFourLargePasses) {
    const auto before = site(ten(), config::Policy::least_request);
    const auto after = site(std::vector<Server>(4, {1, 500}), config::Policy::least_request, 9000);
    const auto forecast = replay(traffic(1200, 20'000), before, after, {.peak_rate = 1200});
    EXPECT_EQ(forecast.endpoints.size(), 14u);
    EXPECT_TRUE(forecast.endpoints[0].present_after);
    EXPECT_FALSE(forecast.endpoints[0].present_now);
    EXPECT_TRUE(forecast.endpoints[13].present_now);
    for (int i = 0; i < 4; ++i)
        EXPECT_NEAR(forecast.endpoints[static_cast<std::size_t>(i)].share_after.value, 0.25, 0.02);
    EXPECT_LT(harmed(*forecast.simulated), 0.001);
}

TEST(Replay, DrainingOneOfTenPasses) {
    const auto before = site(ten(), config::Policy::least_request);
    const auto after = site(ten({1, 1, 1, 0, 1, 1, 1, 1, 1, 1}), config::Policy::least_request);
    const auto forecast = replay(traffic(1200, 20'000), before, after, {.peak_rate = 1200});
    EXPECT_EQ(forecast.endpoints[3].share_after.value, 0);
    EXPECT_LT(harmed(*forecast.simulated), 0.001);
    EXPECT_FALSE(has_errors(check::judge_forecast(forecast, config::Guard{})));
}

TEST(Replay, UnchangedConfigsForetellTheSameUnderEveryFault) {
    const auto config = site(ten(), config::Policy::round_robin);
    const auto forecast = replay(traffic(1200, 20'000), config, config, {.peak_rate = 1200});
    ASSERT_EQ(forecast.faults.size(), 5u);
    EXPECT_EQ(forecast.simulated->failed_now, forecast.simulated->failed_after);
    EXPECT_EQ(forecast.simulated->p99_now, forecast.simulated->p99_after);
    for (const auto& fault : forecast.faults) EXPECT_NEAR(fault.harmed_now, fault.harmed_after, 0.003) << fault.fault;
    EXPECT_EQ(forecast.route_changed + forecast.pool_changed + forecast.route_lost + forecast.route_gained, 0);
    EXPECT_TRUE(forecast.moved.empty());
}

TEST(Replay, RetriesTakenAwayShowOnlyUnderAFault) {
    const auto before = site(ten(), config::Policy::round_robin);
    auto after = before;
    after.pools[0].retry.attempts = 1;
    after.pools[0].ejection.enabled = false;
    const auto forecast = replay(traffic(1200, 20'000), before, after, {.peak_rate = 1200});
    EXPECT_EQ(forecast.simulated->failed_after, 0);
    EXPECT_NE(forecast.faults[0].fault.find("dies"), std::string::npos);
    EXPECT_GT(forecast.faults[0].harmed_after, forecast.faults[0].harmed_now + 0.02);
}

TEST(Replay, ATryTimeoutBelowRecordedTimesFails) {
    const auto before = site(ten(std::vector<double>(10, 1)), config::Policy::round_robin);
    auto after = before;
    after.pools[0].timeouts.per_try = 60ms;
    const auto forecast = replay(traffic(1200, 20'000, 0.040), before, after, {.peak_rate = 1200, .faults = false});
    EXPECT_EQ(forecast.simulated->failed_now, 0);
    EXPECT_GT(forecast.simulated->failed_after, 0.05);
}

TEST(Replay, RoutesThatMoveAreCountedAndShown) {
    auto before = site(ten(), config::Policy::round_robin);
    config::Pool api = before.pools[0];
    api.name = "api";
    before.pools.push_back(api);
    auto after = before;
    after.routes = {{"cart", {std::nullopt, "/cart", std::nullopt}, "api"}};
    const auto forecast = replay(traffic(100, 4000), before, after, {.peak_rate = 100, .faults = false});
    EXPECT_NEAR(forecast.route_changed, 0.25, 1e-9);
    EXPECT_NEAR(forecast.pool_changed, 0.25, 1e-9);
    EXPECT_NEAR(forecast.route_lost, 0.75, 1e-9);
    ASSERT_EQ(forecast.moved.size(), 2u);
    EXPECT_EQ(forecast.moved[0].path, "/");
    EXPECT_EQ(forecast.moved[0].route_after, "");
    EXPECT_EQ(forecast.moved[1].pool_after, "api");
}

TEST(Replay, AnEndpointThatIsOutGetsNothing) {
    const auto config = site(ten(), config::Policy::round_robin);
    ReplayOptions options{.peak_rate = 1200};
    options.out.push_back({"web", config.pools[0].endpoints[2].address, "down"});
    const auto forecast = replay(traffic(1200, 10'000), config, config, options);
    EXPECT_TRUE(forecast.endpoints[2].out);
    EXPECT_EQ(forecast.endpoints[2].share_after.value, 0);
    EXPECT_NEAR(forecast.endpoints[1].share_after.value, 1.0 / 9, 0.001);
}

TEST(Replay, WhatOnlyLooksRightWhileAServerIsDownIsRefused) {
    const auto before = site(ten(), config::Policy::round_robin);
    const auto after = site(ten({1, 1, 9, 1, 1, 1, 1, 1, 1, 1}), config::Policy::round_robin);
    ReplayOptions options{.peak_rate = 1200};
    options.out.push_back({"web", before.pools[0].endpoints[2].address, "down"});
    const auto forecast = replay(traffic(1200, 20'000), before, after, options);
    EXPECT_EQ(forecast.endpoints[2].share_after.value, 0);
    EXPECT_LT(harmed(*forecast.simulated), 0.005);
    ASSERT_TRUE(forecast.recovered);
    EXPECT_NEAR(forecast.recovered->endpoints[2].share_now.value, 0.1, 0.005);
    EXPECT_NEAR(forecast.recovered->endpoints[2].share_after.value, 0.5, 0.005);
    EXPECT_EQ(forecast.recovered->faults.size(), forecast.faults.size());
    const Findings findings = check::judge_forecast(forecast, config::Guard{});
    ASSERT_TRUE(has_errors(findings));
    for (const Finding& finding : findings) {
        if (finding.severity == Severity::error) {
            EXPECT_TRUE(finding.message.starts_with("once b2 is back up: ")) << text(finding);
        }
    }
}

TEST(Replay, TheViewWithEverybodyUpIsTheForecastOfATimeWhenEverybodyIs) {
    const auto before = site(ten(), config::Policy::least_request);
    const auto after = site(ten({1, 1, 1, 0, 1, 1, 1, 1, 1, 1}), config::Policy::least_request);
    ReplayOptions options{.peak_rate = 900};
    const auto healthy = replay(traffic(900, 10'000), before, after, options);
    EXPECT_FALSE(healthy.recovered);
    options.out.push_back({"web", before.pools[0].endpoints[2].address, "down"});
    const auto ill = replay(traffic(900, 10'000), before, after, options);
    ASSERT_TRUE(ill.recovered);
    for (std::size_t i = 0; i < healthy.endpoints.size(); ++i) {
        EXPECT_EQ(ill.recovered->endpoints[i].share_after.value, healthy.endpoints[i].share_after.value);
    }
    EXPECT_EQ(ill.recovered->simulated->p99_after, healthy.simulated->p99_after);
    EXPECT_FALSE(has_errors(check::judge_forecast(ill, config::Guard{})));
}

/// Behind a header, to a pool of its own.
config::Config with_beta(std::string value) {
    config::Config config = site(ten(), config::Policy::round_robin);
    config::Pool beta = site({{1, 500}, {1, 500}}, config::Policy::round_robin, 9000).pools[0];
    beta.name = "beta";
    config.pools.push_back(beta);
    config::Route route{"beta", {}, "beta"};
    config::FieldMatch field;
    field.name = "x-beta";
    field.exact = std::move(value);
    route.match.headers.push_back(field);
    config.routes.insert(config.routes.begin(), route);
    return config;
}

/// A quarter of the requests had the header with the value 1 when `by` was in force.
recording::Recording answered(const config::Config& by) {
    snapshot::Identities ids;
    const auto compiled = snapshot::compile(by, RevisionNumber{1}, ids, 1);
    const snapshot::Snapshot* resident = compiled.get();
    const snapshot::Questions questions(std::span(&resident, 1));
    const std::string value = "1";
    const snapshot::HeaderLookup lines(value, [](const std::string& v, std::string_view name, snapshot::ValueSink to) {
        if (name == "x-beta") (void)to(v);
    });
    const std::uint64_t with = questions.ask({.headers = &lines}), without = questions.ask({});
    recording::Recording recording = traffic(400, 4000);
    for (std::size_t i = 0; i < recording.records.size(); ++i)
        recording.records[i].answers = {questions.digests(), i % 4 == 0 ? with : without};
    return recording;
}

TEST(Replay, ConditionsOnHeadersAreJudgedAsTheyWereRecorded) {
    const config::Config before = with_beta("1");
    config::Config after = before;
    after.routes.erase(after.routes.begin());
    const auto forecast = replay(answered(before), before, after, {.peak_rate = 400, .faults = false});
    EXPECT_NEAR(forecast.route_changed, 0.25, 1e-9);
    EXPECT_NEAR(forecast.pool_changed, 0.25, 1e-9);
    EXPECT_TRUE(forecast.unjudged.empty());
    double beta_now = 0, beta_after = 0;
    for (const auto& one : forecast.endpoints) {
        if (one.pool != "beta") continue;
        beta_now += one.share_now.value;
        beta_after += one.share_after.value;
    }
    EXPECT_NEAR(beta_now, 0.25, 0.01);
    EXPECT_EQ(beta_after, 0);
}

TEST(Replay, ConditionsThatWereNotRecordedAreSaid) {
    const config::Config before = with_beta("1"), after = with_beta("2");
    const auto forecast = replay(answered(before), before, after, {.peak_rate = 400, .faults = false});
    ASSERT_EQ(forecast.unjudged.size(), 1u);
    EXPECT_EQ(forecast.unjudged[0].condition, "header x-beta is 2");
    EXPECT_NEAR(forecast.unjudged[0].fraction, 0.25, 1e-9) << "without the header it cannot be 2";
    EXPECT_NEAR(forecast.open(), 0.25, 1e-9);
}

TEST(Replay, ConditionsOnListenersAreJudgedByWhereRequestsCameIn) {
    config::Config before = site(ten(), config::Policy::round_robin);
    before.listeners.resize(2);
    before.listeners[0].name = "inside";
    before.listeners[0].address = {"10.0.0.9", 81};
    before.listeners[1].name = "outside";
    before.listeners[1].address = {"10.0.0.9", 80};
    before.routes[0].match.listeners = {"outside"};
    before.routes.push_back({"rest", {}, "web"});
    config::Config after = before;
    after.listeners[1].name = "public";
    after.routes[0].match.listeners = {"public"};
    recording::Recording recording = traffic(400, 4000);
    for (std::size_t i = 0; i < recording.records.size(); ++i)
        recording.records[i].listener = i % 2 == 0 ? "outside" : "inside";
    const auto renamed = replay(recording, before, after, {.peak_rate = 400, .faults = false});
    EXPECT_EQ(renamed.route_changed, 0) << "the same address under another name";
    after.routes[0].match.listeners = {"inside"};
    const auto other = replay(recording, before, after, {.peak_rate = 400, .faults = false});
    EXPECT_NEAR(other.route_changed, 1, 1e-9);
}

TEST(Replay, SameArgumentsSameForecast) {
    const auto before = site(ten(), config::Policy::least_request);
    const auto after = site(ten({3, 1, 1, 1, 1, 1, 1, 1, 1, 1}), config::Policy::least_request);
    const auto recording = traffic(800, 5000);
    const auto text = [&](std::uint64_t seed) {
        return check::to_json(replay(recording, before, after, {.peak_rate = 1700, .seed = seed}));
    };
    EXPECT_EQ(text(5), text(5));
    EXPECT_NE(text(5), text(6));
}

TEST(Replay, RestsBetweenCasesChangeNothing) {
    const auto before = site(ten(), config::Policy::least_request);
    const auto after = site(ten({3, 1, 1, 1, 1, 1, 1, 1, 1, 1}), config::Policy::least_request);
    const auto recording = traffic(800, 3000);
    int rests = 0;
    ReplayOptions options{.peak_rate = 800};
    const std::string without = check::to_json(replay(recording, before, after, options));
    options.between = [&rests] { ++rests; };
    EXPECT_EQ(check::to_json(replay(recording, before, after, options)), without);
    EXPECT_EQ(rests, 4 + 2 * 5) << "shares and service, then five faults, of both revisions";
}

TEST(Replay, AsManyRequestsAreSimulatedAsIsSaid) {
    const auto config = site(ten(), config::Policy::round_robin);
    const auto forecast = replay(traffic(1200, 30'000), config, config, {.peak_rate = 1200, .faults = false});
    EXPECT_EQ(forecast.requests, 30'000);
    EXPECT_NEAR(static_cast<double>(forecast.simulated->requests), 10'000, 100);
}

TEST(Replay, NoDataIsNoForecast) {
    const auto config = site(ten(), config::Policy::round_robin);
    const auto forecast = replay({}, config, config);
    EXPECT_FALSE(forecast.has_data());
    EXPECT_FALSE(forecast.simulated);
    const auto one = replay(traffic(1, 1), config, config, {.peak_rate = 5});
    EXPECT_TRUE(one.has_data());
    EXPECT_EQ(one.simulated->failed_after, 0);
}

TEST(Replay, UndeclaredCapacityNeverDecides) {
    std::vector<Server> servers(10, {1, 0});
    const auto before = site(servers, config::Policy::round_robin);
    servers[0].weight = 90;
    const auto after = site(servers, config::Policy::round_robin);
    const auto forecast = replay(traffic(1200, 10'000), before, after, {.peak_rate = 1200});
    EXPECT_FALSE(forecast.endpoints[0].utilisation_after());
    EXPECT_EQ(forecast.endpoints[0].source, check::CapacitySource::unknown);
    EXPECT_LT(harmed(*forecast.simulated), 0.001);
    EXPECT_NEAR(forecast.endpoints[0].share_after.value, 90.0 / 99, 0.01);
}

}  // namespace
}  // namespace plimsoll::sim
