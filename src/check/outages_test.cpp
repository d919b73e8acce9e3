// Known outages and their benign twins, as changes: the plan must refuse the one and let the other through.
#include <gtest/gtest.h>

#include "check/scenario.h"

namespace plimsoll::check {
namespace {

using namespace scenario;
using namespace std::chrono_literals;

Plan plan(const config::Config& before, const config::Config& after, const LiveState& state) {
    return make_plan(before, document(after), state, "r41");
}

void expect_passes(const Plan& p) {
    EXPECT_EQ(verdict(p), Verdict::pass) << describe(p);
    for (const Finding& f : p.findings) EXPECT_EQ(f.severity, Severity::note) << text(f);
}

// ---- refused -------------------------------------------------------------------------------------------------------

config::Config concentrated() {
    return changed(b10(), [](config::Config& c) {
        for (std::size_t i = 0; i < 3; ++i) c.pools[0].endpoints[i].weight = 30;
    });
}

TEST(Outage, WeightsConcentrate3Of10) {
    const Plan p = plan(b10(), concentrated(), live());
    EXPECT_EQ(verdict(p), Verdict::rejected);
    const Finding* f = find(p.findings, "P401-overload");
    ASSERT_NE(f, nullptr) << describe(p);
    EXPECT_NE(f->message.find("92.8% of requests would go to 3 of 10 endpoints (now 30.0%)"), std::string::npos)
        << f->message;
    EXPECT_NE(f->message.find("b0 utilisation 1.86 at recorded peak 1200/s (cap 0.80, now 0.60"), std::string::npos)
        << f->message;
    EXPECT_EQ(f->path, "pools.web.endpoints[0].weight");
    EXPECT_GT(f->where.line, 0);
}

TEST(Outage, PoolSelector2Of10) {
    const auto after = changed(b10(), [](config::Config& c) { c.pools[0].endpoints.resize(2); });
    const Plan p = plan(b10(), after, live());
    EXPECT_EQ(verdict(p), Verdict::rejected);
    const Finding* f = find(p.findings, "P401-overload");
    ASSERT_NE(f, nullptr) << describe(p);
    EXPECT_NE(f->message.find("utilisation 3.00"), std::string::npos) << f->message;
    // Without declared capacities or without a recording it is refused as well, for want of evidence.
    EXPECT_EQ(verdict(plan(b10(0), changed(b10(0), [](auto& c) { c.pools[0].endpoints.resize(2); }), live())),
              Verdict::rejected);
    EXPECT_EQ(verdict(plan(b10(), after, {})), Verdict::rejected);
}

TEST(Outage, DrainThreeWhileThreeAreDown) {
    const auto after = changed(b10(), [](config::Config& c) {
        for (std::size_t i = 0; i < 3; ++i) c.pools[0].endpoints[i].weight = 0;
    });
    LiveState state = live();
    for (std::uint16_t i = 7; i < 10; ++i) {
        state.out.push_back({"web", {"127.0.0.1", static_cast<std::uint16_t>(9101 + i)}, "down"});
    }
    const Plan p = plan(b10(), after, state);
    const Finding* f = find(p.findings, "P401-overload");
    ASSERT_NE(f, nullptr) << describe(p);
    EXPECT_NE(f->message.find("utilisation 1.50"), std::string::npos) << f->message;
    EXPECT_EQ(verdict(p), Verdict::rejected);
}

config::Config services() {
    config::Config c = b10();
    c.pools.push_back(pool("errors", 2, 5000, 9301));
    c.routes.clear();
    for (int i = 0; i < 10; ++i) {
        c.routes.push_back(route("svc" + std::to_string(i), "/api/s" + std::to_string(i), "web"));
    }
    c.routes.push_back(route("rest", "", "web"));
    return c;
}

LiveState services_traffic() {
    LiveState state = live();
    state.traffic.mix.clear();
    for (int i = 0; i < 10; ++i) {
        state.traffic.mix.push_back({"h", "/api/s" + std::to_string(i) + "/v1", "GET", 2500, 28ms, 90ms});
    }
    state.traffic.mix.push_back({"h", "/", "GET", 75'000, 28ms, 90ms});
    return state;
}

TEST(Outage, CatchallShadowsApi) {
    const auto after = changed(services(), [](config::Config& c) {
        c.routes.insert(c.routes.begin(), route("unknown-api", "/api", "errors"));
        c.routes.back().name = "rest";
    });
    const Plan p = plan(services(), after, services_traffic());
    EXPECT_EQ(verdict(p), Verdict::rejected);
    EXPECT_NE(find(p.findings, "P405-newly-unreachable"), nullptr) << describe(p);
    EXPECT_NE(describe(p).find("25.0% of recorded requests change pool"), std::string::npos) << describe(p);
}

TEST(Outage, OneOverlappingPairSwapped) {
    config::Config before = services();
    before.routes.insert(before.routes.begin(), route("s1-admin", "/api/s1/admin", "errors"));
    config::Config after = before;
    std::swap(after.routes[0], after.routes[2]);
    const Plan p = plan(before, after, services_traffic());
    EXPECT_EQ(verdict(p), Verdict::rejected) << describe(p);
    EXPECT_NE(find(p.findings, "P405-order"), nullptr) << describe(p);
}

TEST(Outage, ReportRouteTimeout) {
    LiveState state = services_traffic();
    state.traffic.mix.push_back({"h", "/report", "GET", 2000, 600ms, 1800ms});
    state.traffic.requests += 2000;
    const auto before = changed(services(), [](auto& c) { c.pools[0].timeouts = {500ms, 1900ms, 4s, 30s}; });
    const auto after = changed(before, [](auto& c) { c.pools[0].timeouts.per_try = 500ms; });
    const Plan p = plan(before, after, state);
    const Finding* f = find(p.findings, "P409-timeout-below-observed");
    ASSERT_NE(f, nullptr) << describe(p);
    EXPECT_EQ(f->severity, Severity::error);
    EXPECT_NE(f->message.find("/report"), std::string::npos);
}

TEST(Outage, HealthTimeoutDomino) {
    const auto after = changed(b10(), [](auto& c) {
        c.pools[0].health->timeout = 25ms;
        c.pools[0].health->fall = 1;
    });
    const Plan p = plan(b10(), after, live());
    EXPECT_EQ(verdict(p), Verdict::rejected) << describe(p);
    EXPECT_NE(find(p.findings, "P411-health-too-tight"), nullptr);
}

TEST(Outage, RetryStorm) {
    const auto after = changed(b10(), [](auto& c) {
        c.pools[0].retry.attempts = 4;
        c.pools[0].retry.budget = 3;
    });
    EXPECT_EQ(verdict(plan(b10(), after, live(1500))), Verdict::rejected);
}

TEST(Outage, RetryReplaysWrites) {
    LiveState state = live();
    state.traffic.mix.push_back({"h", "/upload", "POST", 3000, 40ms, 113ms});
    state.traffic.requests += 3000;
    const auto after = changed(b10(), [](auto& c) { c.pools[0].retry.non_idempotent = true; });
    EXPECT_NE(find(plan(b10(), after, state).findings, "P410-replays-writes"), nullptr);
    EXPECT_EQ(find(plan(b10(), after, live()).findings, "P410-replays-writes"), nullptr) << "no writes recorded";
}

TEST(Outage, MaxconnJustEnough) {
    const auto after = changed(b10(), [](auto& c) { c.pools[0].limits.max_in_flight_per_endpoint = 5; });
    const Plan p = plan(b10(), after, live(1500));
    const Finding* f = find(p.findings, "P416-concurrency-below-need");
    ASSERT_NE(f, nullptr) << describe(p);
    EXPECT_EQ(f->severity, Severity::error);
    EXPECT_NE(f->message.find("needs 6.0 on average"), std::string::npos) << f->message;
}

// ---- let through ---------------------------------------------------------------------------------------------------

TEST(Benign, TenSmallToFourLarge) {
    const auto after = changed(b10(), [](config::Config& c) { c.pools[0] = pool("web", 4, 500, 9201); });
    expect_passes(plan(b10(), after, live()));
}

TEST(Benign, ShiftHalfToEqualPool) {
    config::Config before = b10();
    before.pools.push_back(pool("green", 10, 200, 9201));
    before.routes = {route("to-green", "/green", "green"), route("all", "", "web")};
    LiveState state = live();
    state.traffic.mix = {{"h", "/a", "GET", 50'000, 40ms, 113ms},
                         {"h", "/b", "GET", 40'000, 40ms, 113ms},
                         {"h", "/green", "GET", 10'000, 40ms, 113ms}};
    const auto after = changed(
        before, [](config::Config& c) { c.routes.insert(c.routes.begin(), route("b-to-green", "/b", "green")); });
    const Plan p = plan(before, after, state);
    expect_passes(p);
    EXPECT_NE(describe(p).find("40.0% of recorded requests change pool"), std::string::npos) << describe(p);
}

TEST(Benign, UnevenWeightsOverMatchingCapacities) {
    const auto uneven = changed(b10(), [](config::Config& c) {
        for (std::size_t i = 0; i < 3; ++i) {
            c.pools[0].endpoints[i].weight = 3;
            c.pools[0].endpoints[i].capacity = 600;
        }
    });
    expect_passes(plan(b10(), uneven, live()));
}

TEST(Benign, DrainOneOfTen) {
    const auto after = changed(b10(), [](config::Config& c) { c.pools[0].endpoints[9].weight = 0; });
    expect_passes(plan(b10(), after, live()));
}

TEST(Benign, AddOneServer) {
    const auto after = changed(b10(), [](config::Config& c) { c.pools[0] = pool("web", 11); });
    expect_passes(plan(b10(), after, live()));
}

TEST(Benign, UnusedTimeoutCut) {
    const auto before = changed(b10(), [](auto& c) { c.pools[0].timeouts = {500ms, 14s, 16s, 30s}; });
    const auto after = changed(before, [](auto& c) { c.pools[0].timeouts.per_try = 5s; });
    expect_passes(plan(before, after, live()));
}

TEST(Benign, ReorderOfDisjointRoutes) {
    config::Config before = services();
    for (std::size_t i = 0; i < 10; i += 2) before.routes[i].pool = "errors";
    config::Config after = before;
    std::reverse(after.routes.begin(), after.routes.end() - 1);
    const Plan p = plan(before, after, services_traffic());
    // Both pools are small for this traffic either way; the reorder adds nothing to that.
    EXPECT_EQ(find(p.findings, "P405-order"), nullptr) << describe(p);
    EXPECT_EQ(p.forecast.pool_changed, 0);
    EXPECT_EQ(verdict(p), Verdict::pass) << describe(p);
}

// ---- evidence ------------------------------------------------------------------------------------------------------

TEST(Evidence, NoDataIsNeverAPass) {
    const auto after = changed(b10(), [](auto& c) { c.pools[0].timeouts.idle = 31s; });
    const Plan p = plan(b10(), after, {});
    EXPECT_EQ(verdict(p), Verdict::hold) << describe(p);
    EXPECT_NE(find(p.findings, "P400-no-data"), nullptr);
}

TEST(Evidence, UnknownCapacityHoldsWhereLoadRises) {
    const auto skewed = changed(b10(0), [](config::Config& c) { c.pools[0].endpoints[0].weight = 5; });
    EXPECT_EQ(verdict(plan(b10(0), skewed, live())), Verdict::hold);
    const auto calm = changed(b10(0), [](config::Config& c) { c.pools[0].endpoints[0].weight = 1.2; });
    EXPECT_EQ(verdict(plan(b10(0), calm, live())), Verdict::pass);
}

TEST(Evidence, SameMeaningIsNoChange) {
    const Plan p = plan(b10(), b10(), live());
    EXPECT_EQ(verdict(p), Verdict::no_change);
    EXPECT_EQ(p.base_digest, p.digest);
}

TEST(Evidence, AnErrorMayBeAllowedByName) {
    const Plan p = plan(b10(), concentrated(), live());
    EXPECT_EQ(verdict(p, {"P401-overload"}), Verdict::pass);
    EXPECT_EQ(verdict(p, {"P401-something-else"}), Verdict::rejected);
}

TEST(Evidence, AlreadyOverloadedAndImprovingIsNotRefused) {
    const auto after = changed(b10(), [](config::Config& c) { c.pools[0] = pool("web", 11); });
    const Plan p = plan(b10(), after, live(1900));
    EXPECT_NE(find(p.findings, "P401-still-overloaded"), nullptr) << describe(p);
    EXPECT_EQ(verdict(p), Verdict::pass) << describe(p);
}

}  // namespace
}  // namespace plimsoll::check
