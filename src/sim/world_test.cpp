// The virtual world: same seed same bytes, queueing as theory has it, and each fault seen the way production sees it.
#include "sim/world.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

namespace plimsoll::sim {
namespace {

using namespace std::chrono_literals;

config::Address address(std::size_t i) { return {"10.0.0.1", static_cast<std::uint16_t>(8000 + i)}; }

config::Config site(std::vector<double> weights, config::Policy policy = config::Policy::least_request) {
    config::Config config;
    config::Pool pool;
    pool.name = "web";
    pool.policy = policy;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        config::Endpoint endpoint;
        endpoint.name = fmt::format("b{}", i);
        endpoint.address = address(i);
        endpoint.weight = weights[i];
        endpoint.capacity = 200;
        pool.endpoints.push_back(endpoint);
    }
    config.pools.push_back(pool);
    config.routes.push_back({"all", {}, "web"});
    return config;
}

snapshot::Resident only(std::shared_ptr<const snapshot::Snapshot> active) {
    snapshot::Resident resident;
    resident.active = std::move(active);
    return resident;
}

/// A world that serves `config` at this rate; servers of 8 workers and 40 ms, as in the corpus' bench.
World bench(const config::Config& config, double rate, std::uint64_t seed = 7, std::uint32_t workers = 1) {
    World world({.seed = seed, .workers = workers, .model = sized(200, 40ms, 0.5)});
    world.install(only(world.compile(config, RevisionNumber{1})));
    world.add_traffic(Poisson{.rate = rate, .mix = {Kind{}}, .from = {}});
    return world;
}

Instant at(Duration d) { return Instant{} + d; }

/// Everything that can be said of a run, as text.
std::string dump(std::uint64_t seed) {
    World world = bench(site({3, 1, 1, 1}), 500, seed, 2);
    std::string text;
    world.observe(
        {.outcome =
             [&](const Outcome& o) {
                 text += fmt::format("{} {} {} {} {} {}\n", o.started.ns, o.total.count(), o.status,
                                     static_cast<int>(o.cause), o.attempt_count, o.endpoint().value);
             },
         .ejected = [&](EndpointId id, Instant t) { text += fmt::format("out {} {}\n", id.value, t.ns); },
         .health = [&](EndpointId id, balance::Health h,
                       Instant t) { text += fmt::format("health {} {} {}\n", id.value, static_cast<int>(h), t.ns); }});
    world.fault_at(at(2s), address(1), Fail{.share = 0.5, .fast = false});
    world.fault_at(at(4s), address(0), Refuse{});
    world.fault_at(at(9s), address(0), Healthy{});
    world.fault_at(at(9s), address(2), Slow{5});
    world.run_until(at(6s));
    snapshot::Resident two = world.resident();
    two.candidate = world.compile(site({1, 1, 1, 1}), RevisionNumber{2});
    two.share = {0.3};
    two.shadow = true;
    world.install(two);
    world.run_until(at(15s));
    const measure::Tally tally = world.take_tally();
    text += fmt::format("{} {} {}\n", tally.shadow.decisions, tally.arms[1].all_routes().requests,
                        fmt::join(tally.shadow.picks.dense(), " "));
    return text;
}

TEST(World, SameSeedSameBytes) {
    const std::string one = dump(42);
    EXPECT_TRUE(one == dump(42));
    EXPECT_FALSE(one == dump(43));
    EXPECT_GT(std::ranges::count(one, '\n'), 6000);
    EXPECT_NE(one.find("out "), std::string::npos);
    EXPECT_NE(one.find("health "), std::string::npos);
}

TEST(World, StoppingOftenChangesNothing) {
    const auto run = [](Duration step) {
        World world = bench(site({1, 1, 1}), 400);
        std::string text;
        world.observe(
            {.outcome = [&](const Outcome& o) { text += fmt::format("{} {}\n", o.started.ns, o.total.count()); },
             .ejected = {},
             .health = {}});
        while (world.now() < at(3s)) world.run_until(std::min(world.now() + step, at(3s)));
        return text;
    };
    EXPECT_TRUE(run(3s) == run(7ms));
}

/// Erlang's C formula: mean wait in an M/M/c queue, the yardstick for any queueing code.
double mean_wait(double rate, double service, int servers) {
    const double a = rate * service;
    double term = 1, sum = 1;
    for (int k = 1; k < servers; ++k) sum += term *= a / k;
    const double last = term * a / servers * servers / (servers - a);
    return last / (sum + last) * service / (servers - a);
}

TEST(World, QueuesAsTheorySays) {
    // exponential work is what the formula is for; here each request brings its own
    auto recording = std::make_shared<recording::Recording>();
    Random random(3);
    Duration t{};
    for (int i = 0; i < 200'000; ++i) {
        t += from_seconds(random.exponential(1.0 / 160));
        recording::Record record;
        record.at = t;
        record.service = from_seconds(random.exponential(0.040));
        record.method = "GET";
        record.path = "/";
        recording->records.push_back(record);
    }
    World world({.seed = 1, .model = {.workers = 8, .queue = 100'000}});
    world.install(only(world.compile(site({1}), RevisionNumber{1})));
    world.add_traffic(Replayed{.recording = recording, .first = 0, .last = recording->records.size(), .from = {}});
    double sum = 0;
    std::uint64_t n = 0;
    world.observe({.outcome = [&](const Outcome& o) { sum += seconds(o.total), ++n; }, .ejected = {}, .health = {}});
    world.run_until(at(1200s));
    const double expected = 0.040 + mean_wait(160, 0.040, 8);
    EXPECT_NEAR(sum / static_cast<double>(n), expected, 0.05 * expected);
}

TEST(World, TheHealthyBenchIsAsHealthyAsTheCorpusSays) {
    World world = bench(site(std::vector<double>(10, 1), config::Policy::round_robin), 1200);
    world.run_until(at(60s));
    const auto all = world.take_tally().arms[0].all_routes();
    EXPECT_NEAR(static_cast<double>(all.requests), 72'000, 900);
    EXPECT_EQ(all.failed, 0u);
    EXPECT_NEAR(milliseconds(all.total.quantile(0.5)), 35, 5);
    EXPECT_NEAR(milliseconds(all.total.quantile(0.99)), 113, 15);
}

TEST(World, WeightsThatConcentrateAreHarmful) {
    config::Config config = site({30, 30, 30, 1, 1, 1, 1, 1, 1, 1}, config::Policy::round_robin);
    config.pools[0].ejection.enabled = false;
    World world = bench(config, 1200);
    world.run_until(at(60s));
    const auto tally = world.take_tally();
    const auto all = tally.arms[0].all_routes();
    // 0.309 by weight; a little less, because probes wait in the full queues too and take the servers down at times
    EXPECT_NEAR(static_cast<double>(tally.arms[0].endpoints[0].picks) / static_cast<double>(all.requests), 0.30, 0.02);
    const auto harmed = all.failed + all.total.at_least(measure::Histogram::bucket(300ms));
    EXPECT_GT(static_cast<double>(harmed), 0.5 * static_cast<double>(all.requests));
}

RC_GTEST_PROP(WorldProperty, EveryRequestEndsOnceAndNothingLeaks, ()) {
    const auto n = *rc::gen::inRange<std::size_t>(1, 6);
    config::Config config = site(std::vector<double>(n, 1));
    config.pools[0].retry.attempts = *rc::gen::inRange(1u, 5u);
    config.pools[0].retry.on = {"connect_failure", "reset", "timeout", "status_5xx"};
    config.pools[0].timeouts.per_try = std::chrono::milliseconds(*rc::gen::inRange(50, 2000));
    config.pools[0].timeouts.total = 1500ms;
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    World world({.seed = seed, .model = sized(200, 40ms, 0.5)});
    world.install(only(world.compile(config, RevisionNumber{1})));
    world.add_traffic(Poisson{.rate = 150.0 * static_cast<double>(n), .mix = {Kind{}}, .from = {}, .to = at(5s)});
    std::uint64_t ended = 0;
    world.observe({.outcome = [&](const Outcome&) { ++ended; }, .ejected = {}, .health = {}});
    for (int i = 0; i < 4; ++i) {
        const std::vector<Fault> faults = {Slow{20}, Fail{.share = 0.7}, Refuse{}, Hang{}, Cold{}, Healthy{}};
        world.fault_at(at(std::chrono::milliseconds(*rc::gen::inRange(0, 5000))),
                       address(*rc::gen::inRange<std::size_t>(0, n)), *rc::gen::elementOf(faults));
    }
    world.run_until(at(8s));
    auto tally = world.take_tally();
    RC_ASSERT(ended == world.requests());
    RC_ASSERT(tally.arms[0].all_routes().requests == ended);
    for (std::uint32_t i = 0; i < n; ++i) RC_ASSERT(world.state(EndpointId{i}).in_flight == 0);
}

TEST(World, ADeadServerIsEjectedTakenDownAndComesBack) {
    World world = bench(site(std::vector<double>(10, 1)), 1200);
    std::string seen;
    world.observe({.outcome = {},
                   .ejected =
                       [&](EndpointId id, Instant t) {
                           seen += fmt::format("out {} {:.0f}s;", id.value, std::floor(seconds(t - Instant{})));
                       },
                   .health =
                       [&](EndpointId id, balance::Health h, Instant) {
                           seen += fmt::format("{} {};", h == balance::Health::up ? "up" : "down", id.value);
                       }});
    world.fault_at(at(10s), address(3), Refuse{});
    world.fault_at(at(40s), address(3), Healthy{});
    world.run_until(at(60s));
    EXPECT_EQ(seen.substr(0, seen.find(';')), "out 3 10s");
    EXPECT_NE(seen.find("down 3"), std::string::npos);
    EXPECT_NE(seen.find("up 3"), std::string::npos);
    EXPECT_LE(world.take_tally().arms[0].all_routes().failed, 1u);
}

TEST(World, AHungServerCostsTimeoutsThenRecovers) {
    config::Config config = site(std::vector<double>(5, 1));
    config.pools[0].timeouts.per_try = 500ms;
    World world = bench(config, 500);
    world.fault_at(at(5s), address(0), Hang{});
    world.fault_at(at(30s), address(0), Healthy{});
    world.run_until(at(31s));
    const auto tally = world.take_tally();
    EXPECT_GE(tally.arms[0].endpoints[0].timeouts, 5u);
    EXPECT_LT(tally.arms[0].all_routes().failed, 200u);
    world.run_until(at(60s));
    EXPECT_EQ(world.take_tally().arms[0].all_routes().failed, 0u);
}

TEST(World, AFailingServerDrawsTheHerdOnlyUnderLeastRequest) {
    // ejection off, probes green: a server that answers 500 in 2 ms looks idle
    double share[2] = {};
    for (const auto policy : {config::Policy::round_robin, config::Policy::least_request}) {
        config::Config config = site(std::vector<double>(10, 1), policy);
        config.pools[0].ejection.enabled = false;
        World world = bench(config, 1200);
        world.fault_at(at(1s), address(3), Fail{.share = 1, .fast = true});
        world.run_until(at(2s));
        (void)world.take_tally();
        world.run_until(at(32s));
        const auto tally = world.take_tally();
        share[static_cast<int>(policy)] = static_cast<double>(tally.arms[0].endpoints[3].picks) /
                                          static_cast<double>(tally.arms[0].all_routes().requests);
    }
    EXPECT_NEAR(share[0], 0.10, 0.005);
    EXPECT_NEAR(share[1], 0.19, 0.02);  // two choices: at most twice the fair share
}

TEST(World, ACandidateTakesItsShareAndLeavesNoTraceWhenItGoes) {
    World world = bench(site({1, 1, 1, 1}), 400);
    world.run_until(at(5s));
    snapshot::Resident two = world.resident();
    two.candidate = world.compile(site({1, 1, 1, 1, 1}), RevisionNumber{2});
    two.share = {0.25};
    two.arm_key = 99;
    world.install(two);
    (void)world.take_tally();
    world.run_until(at(25s));
    const auto tally = world.take_tally();
    const double total = static_cast<double>(tally.arms[0].all_routes().requests + tally.arms[1].all_routes().requests);
    EXPECT_NEAR(static_cast<double>(tally.arms[1].all_routes().requests) / total, 0.25, 0.02);
    EXPECT_EQ(tally.arms[0].endpoints[3].picks > 0, true);
    EXPECT_EQ(tally.arms[0].endpoints[4].picks, 0u);
    EXPECT_GT(tally.arms[1].endpoints[4].picks, 200u);  // probed within a moment, so it was up
    world.install(only(two.active));
    world.run_until(at(30s));
    EXPECT_EQ(world.take_tally().arms[0].all_routes().failed, 0u);
}

TEST(World, ShadowDecidesAndServesNobody) {
    World world = bench(site({1, 1, 1, 1}, config::Policy::round_robin), 400);
    snapshot::Resident two = world.resident();
    two.candidate = world.compile(site({97, 1, 1, 1}, config::Policy::round_robin), RevisionNumber{2});
    two.shadow = true;
    world.install(two);
    world.run_until(at(10s));
    const auto tally = world.take_tally();
    EXPECT_EQ(tally.arms[1].all_routes().requests, 0u);
    EXPECT_NEAR(static_cast<double>(tally.shadow.picks[0]) / static_cast<double>(tally.shadow.decisions), 0.97, 0.01);
    EXPECT_NEAR(static_cast<double>(tally.shadow.active_picks[0]) / static_cast<double>(tally.shadow.decisions), 0.25,
                0.01);
}

TEST(Sized, CapacityIsExact) {
    for (const double capacity : {0.5, 1.0, 40.0, 200.0, 333.0, 5000.0}) {
        EXPECT_NEAR(sized(capacity, 40ms, 0.5).capacity(), capacity, capacity * 1e-6);
    }
    EXPECT_GT(sized(0, 40ms, 0.5).capacity(), 1e6);
}

TEST(Source, ARecordingRepeatsAtItsRate) {
    auto recording = std::make_shared<recording::Recording>();
    for (int i = 0; i < 100; ++i) {
        recording::Record record;
        record.at = 10s + i * 10ms;
        record.path = fmt::format("/{}", i);
        recording->records.push_back(record);
    }
    Source source(Replayed{.recording = recording, .first = 0, .last = 100, .speed = 2, .from = at(5s), .to = at(15s)},
                  Random(1));
    int n = 0;
    Instant last = at(5s);
    for (; source.next().at != never; source.advance(), ++n) {
        EXPECT_GE(source.next().at, last);
        last = source.next().at;
    }
    EXPECT_NEAR(n, 2000, 5);
}

}  // namespace
}  // namespace plimsoll::sim
