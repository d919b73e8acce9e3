// The promises of docs/balancing.md at a size that a test can afford; the full sizes are plimsoll-balancing's.
#include <gtest/gtest.h>

#include <functional>

#include "sim/balancing.h"

namespace plimsoll::sim {
namespace {

using namespace std::chrono_literals;

FarmResult of(std::string_view name, const std::function<FarmOptions(const balance::Policy&)>& options) {
    for (const NamedPolicy& one : balancing_policies()) {
        if (one.name == name) return run_farm(options(one.policy));
    }
    ADD_FAILURE() << name;
    return {};
}

TEST(Balancing, SlowServer) {  // Linkerd 2016: 95 % by turns, 99 % by requests in flight, 99.9 % by latency
    const auto options = [](const balance::Policy& policy) { return slow_server(policy, 0.5); };
    EXPECT_NEAR(of("round_robin", options).within(1s), 0.9545, 0.003);
    EXPECT_GE(of("least_request", options).within(1s), 0.99);
    EXPECT_GE(of("peak_ewma", options).within(1s), 0.999);
    EXPECT_GE(of("prequal", options).within(1s), 0.998);
}

TEST(Balancing, AntagonistsDoNotShowInTheTail) {
    const auto options = [](const balance::Policy& policy) {
        FarmOptions small = antagonists(policy, 0.83, 8, 20);
        small.antagonist_period = 1s;
        small.span = 4s;
        small.warm_up = 1s;
        return small;
    };
    const double by_turns = of("round_robin", options).quantile(0.99);
    const double by_requests = of("least_request", options).quantile(0.99);
    EXPECT_GT(by_turns, 0.3) << "the antagonists are real";
    EXPECT_LT(by_requests, 0.15);
    EXPECT_LT(of("peak_ewma", options).quantile(0.99), 0.8 * by_requests);
    EXPECT_LT(of("prequal", options).quantile(0.99), 0.8 * by_requests);
}

TEST(Balancing, SharedCountsMakeManyWorkersAsGoodAsOne) {
    const auto p99 = [](std::uint32_t workers, bool share) {
        FarmOptions options = antagonists(balance::LeastRequest{}, 0.71, workers, 20);
        options.share_loads = share;
        options.span = 4s;
        options.warm_up = 1s;
        return run_farm(options).quantile(0.99);
    };
    const double one = p99(1, false);
    EXPECT_GT(p99(16, false), 1.4 * one);
    EXPECT_LT(p99(16, true), 1.15 * one);
}

TEST(Balancing, TablesAreEvenAndHardlyMove) {
    const TableFigures maglev = table_figures(balance::Maglev{}, 500);
    EXPECT_LE(maglev.largest, 1.01);
    EXPECT_GE(maglev.smallest, 0.99);
    EXPECT_LE(maglev.moved, 0.01);
    EXPECT_EQ(table_figures(balance::RingHash{}, 50).moved, 0);
}

TEST(Balancing, HotKeysStayWithinTheBound) {
    for (const balance::Policy& policy :
         {balance::Policy{balance::Maglev{1.25}}, balance::Policy{balance::RingHash{1.25}},
          balance::Policy{balance::Rendezvous{1.25}}}) {
        FarmOptions options = hot_keys(policy, 20);
        options.warm_up = 500ms;
        options.span = 1s;
        const FarmResult result = run_farm(options);
        EXPECT_LE(result.worst_peak, 1.25 + 0.02);
        EXPECT_GT(result.away_from_home, 0u);
        EXPECT_LT(static_cast<double>(result.away_from_home), 0.45 * static_cast<double>(result.requests));
    }
}

TEST(Balancing, AdaptiveLimitsHoldLatencyUnderOverload) {
    const auto run = [](double load, bool adaptive) {
        FarmOptions options = overload(load, adaptive);
        options.span = 12s;
        const FarmResult result = run_farm(options);
        return std::pair(result.goodput(options), result.quantile(0.99));
    };
    EXPECT_GT(run(1.5, false).second, 1.0) << "without a limit the line grows without end";
    const auto [goodput, p99] = run(1.5, true);
    EXPECT_GT(goodput, 0.93 * 800);
    EXPECT_LT(p99, 0.08);
    EXPECT_GT(run(0.7, true).first, 0.99 * run(0.7, false).first) << "and costs nothing without overload";
}

TEST(Balancing, Complaint13AFastFailureAttractsNobody) {
    const auto failed = [](const balance::Policy& policy) {
        FarmOptions options;
        options.pool.policy = policy;
        options.pool.ejection.consecutive = UINT32_MAX;
        options.servers.assign(8, FarmServer{.slots = 4});
        options.servers[2].failing = 1;
        options.rate = 1600;
        options.span = 10s;
        const FarmResult result = run_farm(options);
        return static_cast<double>(result.failed) / static_cast<double>(result.requests);
    };
    EXPECT_GT(failed(balance::LeastRequest{}), 0.125) << "fewest in flight is drawn to it";
    EXPECT_LT(failed(balance::PeakEwma{}), 0.01);
    EXPECT_LT(failed(balance::Prequal{}), 0.03);
}

TEST(Balancing, AHangingServerAndClientsWhoLeave) {
    // no answer ever comes back from it, and clients leave after a second: that must count as slow, not as nothing
    for (const std::string_view name : {"peak_ewma", "prequal"}) {
        const FarmResult result = of(name, [](const balance::Policy& policy) {
            FarmOptions options;
            options.pool.policy = policy;
            options.servers.assign(10, FarmServer{.slots = 0});
            options.servers[3].hangs = true;
            options.rate = 1000;
            options.span = 20s;
            options.patience = 1s;
            return options;
        });
        EXPECT_LT(static_cast<double>(result.left), 0.01 * static_cast<double>(result.requests)) << name;
    }
}

TEST(Balancing, SameSeedSameBytes) {
    for (const NamedPolicy& one : balancing_policies()) {
        FarmOptions options = antagonists(one.policy, 0.9, 3, 10);
        options.span = 3s;
        const FarmResult first = run_farm(options), second = run_farm(options);
        EXPECT_EQ(first.latencies, second.latencies) << one.name;
        EXPECT_EQ(first.served, second.served) << one.name;
    }
}

}  // namespace
}  // namespace plimsoll::sim
