#include "check/forecast.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <nlohmann/json.hpp>

#include "check/recorded.h"
#include "check/scenario.h"

namespace plimsoll::check {
namespace {

using namespace scenario;
using namespace std::chrono_literals;

recording::Recording recorded(int requests) {
    recording::Recording r;
    for (int i = 0; i < requests; ++i) {
        recording::Record record;
        record.at = i * 10ms;
        record.host = "h";
        record.path = i % 4 == 0 ? "/api" : "/";
        record.method = i % 4 == 0 ? "POST" : "GET";
        record.service = (1 + i % 100) * 1ms;
        record.request_head_bytes = 300;
        record.request_body_bytes = i % 4 == 0 ? 1000 : 0;
        r.records.push_back(record);
    }
    return r;
}

TEST(Summarise, AddsUp) {
    const Traffic t = summarise(recorded(4000));
    EXPECT_EQ(t.requests, 4000u);
    EXPECT_NEAR(t.peak_rate, 100, 1);
    ASSERT_EQ(t.mix.size(), 2u);
    EXPECT_EQ(t.mix[0].path, "/");
    EXPECT_EQ(t.mix[0].requests, 3000u);
    EXPECT_EQ(t.mix[1].method, "POST");
    EXPECT_EQ(t.service_mean, 50500us);
    EXPECT_EQ(t.service_p999, 100ms);
    EXPECT_EQ(t.head_bytes_p999, 300u);
    EXPECT_EQ(t.body_bytes_p999, 1000u);
    EXPECT_EQ(summarise(recorded(4000), 250).peak_rate, 250) << "a stored peak wins";
}

TEST(Summarise, LittleIsNotEnoughForTails) {
    const Traffic t = summarise(recorded(50));
    EXPECT_EQ(t.service_p999, 0ns);
    EXPECT_EQ(t.mix[0].service_p99, 0ns);
    EXPECT_FALSE(summarise({}).any());
}

TEST(Project, SharesRatesAndUtilisation) {
    const auto after = changed(b10(), [](config::Config& c) {
        for (std::size_t i = 0; i < 3; ++i) c.pools[0].endpoints[i].weight = 30;
    });
    const Forecast f = project(b10(), after, live());
    ASSERT_EQ(f.endpoints.size(), 10u);
    EXPECT_NEAR(f.endpoints[0].share_now.value, 0.1, 1e-12);
    EXPECT_NEAR(f.endpoints[0].share_after.value, 30.0 / 97, 1e-12);
    EXPECT_NEAR(*f.endpoints[0].utilisation_after(), 30.0 / 97 * 1200 / 200, 1e-9);
    EXPECT_EQ(f.endpoints[0].source, CapacitySource::declared);
    EXPECT_TRUE(f.has_data());
}

TEST(Project, RoutesThatChangeAreCounted) {
    config::Config before = b10();
    before.pools.push_back(pool("api", 2, 200, 9301));
    before.routes.insert(before.routes.begin(), route("api", "/api", "api"));
    config::Config lost = before;
    lost.routes.pop_back();
    lost.pools.erase(lost.pools.begin());
    LiveState state;
    state.traffic = summarise(recorded(4000));
    const Forecast f = project(before, lost, state);
    EXPECT_NEAR(f.route_lost, 0.75, 1e-12);
    ASSERT_EQ(f.moved.size(), 1u);
    EXPECT_EQ(f.moved[0].route_before, "all");
    EXPECT_EQ(f.moved[0].path, "/");
    EXPECT_TRUE(f.endpoints.back().present_now && !f.endpoints.back().present_after);
    const Findings findings = judge_forecast(f, config::Guard{});
    ASSERT_NE(find(findings, "P406-route-lost"), nullptr) << all_text(findings);
    EXPECT_EQ(find(findings, "P406-route-lost")->severity, Severity::error);
}

TEST(Project, WithoutTrafficEveryRouteCountsTheSame) {
    config::Config c = b10();
    c.pools.push_back(pool("api", 2, 200, 9301));
    c.routes.insert(c.routes.begin(), route("api", "/api", "api"));
    const Forecast f = project(c, c, {});
    EXPECT_FALSE(f.has_data());
    EXPECT_NEAR(f.endpoints[0].share_after.value, 0.05, 1e-12);
    EXPECT_NEAR(f.endpoints.back().share_after.value, 0.25, 1e-12);
}

TEST(Project, PanicUsesEverybody) {
    LiveState state = live();
    for (std::uint16_t i = 0; i < 6; ++i) {
        state.out.push_back({"web", {"127.0.0.1", static_cast<std::uint16_t>(9101 + i)}, "down"});
    }
    EXPECT_NEAR(project(b10(), b10(), state).endpoints[0].share_after.value, 0.1, 1e-12);
    state.out.pop_back();
    const Forecast f = project(b10(), b10(), state);
    EXPECT_EQ(f.endpoints[0].share_after.value, 0);
    EXPECT_NEAR(f.endpoints[9].share_after.value, 0.2, 1e-12);
}

LiveState with_down(int first, int count = 1) {
    LiveState state = live();
    for (int i = first; i < first + count; ++i) {
        state.out.push_back({"web", {"127.0.0.1", static_cast<std::uint16_t>(9101 + i)}, "down"});
    }
    return state;
}

config::Config with_weight(std::size_t endpoint, double weight) {
    return changed(b10(), [&](config::Config& c) { c.pools[0].endpoints[endpoint].weight = weight; });
}

TEST(Judge, WhatOnlyLooksRightWhileAServerIsDownIsRefused) {
    const auto after = document(with_weight(3, 9));
    const Plan down = make_plan(b10(), after, with_down(3), "r1");
    EXPECT_EQ(down.forecast.endpoints[3].share_after.value, 0);
    EXPECT_EQ(down.forecast.down, std::vector<std::string>{"b3"});
    ASSERT_TRUE(down.forecast.recovered);
    EXPECT_FALSE(down.forecast.recovered->endpoints[3].out);
    EXPECT_NEAR(down.forecast.recovered->endpoints[3].share_after.value, 0.5, 1e-12);
    const Finding* overload = find(down.findings, "P401-overload");
    ASSERT_NE(overload, nullptr) << all_text(down.findings);
    EXPECT_TRUE(overload->message.starts_with("once b3 is back up: 50.0% of requests would go to 1 of 10"))
        << overload->message;
    EXPECT_EQ(overload->path, "pools.web.endpoints[3].weight");
    EXPECT_EQ(verdict(down), Verdict::rejected);
    EXPECT_NE(describe(down).find("Once b3 is back up:\n"), std::string::npos) << describe(down);
    const auto json = nlohmann::json::parse(to_json(down));
    EXPECT_EQ(json["forecast"]["down"], nlohmann::json::array({"b3"}));
    EXPECT_NEAR(json["forecast"]["recovered"]["endpoints"][3]["share_after"], 0.5, 1e-12);
}

TEST(Judge, BothViewsAreComparedWithTheRevisionInForceInTheSameView) {
    // Of ten servers four are down, which is no doing of a change that takes nothing from the others.
    const Forecast same = project(b10(), with_weight(0, 1.01), with_down(6, 4));
    const Findings findings = judge_forecast(same, config::Guard{});
    EXPECT_EQ(find(findings, "P401-overload"), nullptr) << all_text(findings);
    // In force already: once it is back it will be as bad as it was.
    const auto bad = with_weight(3, 9);
    const Findings kept = judge_forecast(project(bad, bad, with_down(3)), config::Guard{});
    EXPECT_FALSE(has_errors(kept)) << all_text(kept);
    ASSERT_NE(find(kept, "P401-still-overloaded"), nullptr);
    EXPECT_TRUE(find(kept, "P401-still-overloaded")->message.starts_with("once b3 is back up: "));
}

TEST(Judge, WhatIsWrongInBothViewsIsSaidOnce) {
    const auto findings = judge_forecast(project(b10(), with_weight(0, 30), with_down(3)), config::Guard{});
    ASSERT_EQ(std::ranges::count(findings, "P401-overload", &Finding::code), 1) << all_text(findings);
    EXPECT_EQ(find(findings, "P401-overload")->message.find("once"), std::string::npos);
    // Worse once it is back is said again.
    Forecast forecast = project(b10(), b10(), with_down(3));
    forecast.simulated = Simulated{.requests = 10'000};
    forecast.faults = {{"b0 dies", 0, 0.2, 0.1, 0.5, "dies"}};
    forecast.recovered->simulated = Simulated{.requests = 10'000};
    forecast.recovered->faults = {{"b3 dies", 0, 0.2, 0.1, 0.1, "dies"}};
    forecast.faults[0].harmed_now = 0.1;
    const Findings two = judge_forecast(forecast, config::Guard{});
    EXPECT_NE(find(two, "P418-more-depends-on-one"), nullptr) << all_text(two);
    ASSERT_NE(find(two, "P418-worse-under-fault"), nullptr) << all_text(two);
    EXPECT_TRUE(find(two, "P418-worse-under-fault")->message.starts_with("once b3 is back up: if b3 dies"));
}

TEST(Judge, WithoutAnybodyDownThereIsOneView) {
    EXPECT_FALSE(project(b10(), b10(), live()).recovered);
    LiveState elsewhere = live();
    elsewhere.out.push_back({"api", {"127.0.0.1", 9101}, "down"});
    EXPECT_FALSE(project(b10(), b10(), elsewhere).recovered) << "in neither config";
    EXPECT_EQ(back_up({"a", "b", "c", "d", "e", "f"}), "a, b, c and 3 more are back up");
}

config::Route header_route(std::string name, std::string value, std::string to) {
    config::Route r{std::move(name), {}, std::move(to)};
    config::FieldMatch field;
    field.name = "x-beta";
    field.exact = std::move(value);
    r.match.headers.push_back(field);
    return r;
}

/// Everything to web, with a pool beside it.
config::Config with_beta() {
    config::Config c = b10();
    c.pools.push_back(pool("beta", 2, 200, 9301));
    c.routes.insert(c.routes.begin(), route("beta-path", "/beta", "beta"));
    return c;
}

/// As a server with these routes records it: every fourth request has the header, with the value 1.
recording::Recording answered(const config::Config& by) {
    snapshot::Identities ids;
    const auto compiled = snapshot::compile(by, RevisionNumber{1}, ids, 1);
    const snapshot::Snapshot* resident = compiled.get();
    const snapshot::Questions questions(std::span(&resident, 1));
    recording::Recording r = recorded(4000);
    for (std::size_t i = 0; i < r.records.size(); ++i) {
        const std::string value = i % 4 == 0 ? "1" : "";
        const snapshot::HeaderLookup lines(value,
                                           [](const std::string& v, std::string_view name, snapshot::ValueSink to) {
                                               if (name == "x-beta" && !v.empty()) (void)to(v);
                                           });
        if (questions.empty()) continue;
        r.records[i].answers = {questions.digests(), questions.ask({.headers = &lines})};
    }
    return r;
}

TEST(Unjudged, AConditionThatWasRecordedIsJudgedAsItWas) {
    config::Config before = with_beta();
    before.routes.insert(before.routes.begin(), header_route("beta", "1", "beta"));
    config::Config after = before;
    after.routes[0].pool = "web";
    LiveState state;
    state.traffic = summarise(answered(before));
    const Forecast f = project(before, after, state);
    EXPECT_NEAR(f.pool_changed, 0.25, 1e-12);
    EXPECT_TRUE(f.unjudged.empty());
    EXPECT_NEAR(f.endpoints.back().share_now.value, 0.125, 1e-12) << "of two";
    // Another value of the same header: known where the header was not there.
    config::Config other = before;
    other.routes.insert(other.routes.begin(), header_route("gamma", "2", "web"));
    const Forecast g = project(before, other, state);
    ASSERT_EQ(g.unjudged.size(), 1u);
    EXPECT_EQ(g.unjudged[0].route, "gamma");
    EXPECT_EQ(g.unjudged[0].condition, "header x-beta is 2");
    EXPECT_NEAR(g.unjudged[0].fraction, 0.25, 1e-12);
    // The opposite of a condition is known with it.
    config::Config inverted = before;
    inverted.routes[0].match.headers[0].invert = true;
    const Forecast h = project(before, inverted, state);
    EXPECT_TRUE(h.unjudged.empty());
    EXPECT_NEAR(h.pool_changed, 1, 1e-12);
}

TEST(Unjudged, AConditionThatWasNotRecordedIsSaidAndNothingSpeaksForTheChange) {
    const config::Config before = with_beta();
    config::Config after = before;
    after.routes.insert(after.routes.begin(), header_route("canary", "1", "beta"));
    LiveState state;
    state.traffic = summarise(answered(before));
    const Plan plan = make_plan(before, document(after), state, "r1");
    const Finding* said = find(plan.findings, "P400-condition-unrecorded");
    ASSERT_NE(said, nullptr) << all_text(plan.findings);
    EXPECT_EQ(said->severity, Severity::warning);
    EXPECT_EQ(said->path, "routes[0].match");
    EXPECT_TRUE(
        said->message.starts_with("100.0% of recorded requests cannot be judged by \"header x-beta is 1\" of "
                                  "route canary"))
        << said->message;
    EXPECT_EQ(verdict(plan), Verdict::hold) << describe(plan);
    EXPECT_EQ(plan.forecast.open(), 1);
    EXPECT_EQ(nlohmann::json::parse(to_json(plan))["forecast"]["unjudged"][0]["route"], "canary");
}

TEST(Unjudged, WhatBothRevisionsAskAlikeIsANote) {
    config::Config before = with_beta();
    before.routes.insert(before.routes.begin(), header_route("beta", "1", "beta"));
    config::Config after = before;
    after.pools[0].endpoints[0].weight = 1.1;
    LiveState state;
    state.traffic = summarise(recorded(4000));  // an imported log
    const Forecast f = project(before, after, state);
    ASSERT_EQ(f.unjudged.size(), 1u);
    EXPECT_TRUE(f.unjudged[0].alike);
    EXPECT_EQ(f.open(), 0);
    const Findings findings = judge_forecast(f, config::Guard{});
    ASSERT_NE(find(findings, "P400-condition-unrecorded"), nullptr);
    EXPECT_EQ(find(findings, "P400-condition-unrecorded")->severity, Severity::note);
}

TEST(Recorded, ListenersAreKnownAgainByNameAndByAddress) {
    config::Config before = b10(), after = b10();
    before.listeners.resize(2);
    before.listeners[1].name = "plain";
    before.listeners[1].address = {"127.0.0.1", 80};
    after.listeners = before.listeners;
    after.listeners[1].name = "redirects";
    after.routes.insert(after.routes.begin(), route("to tls", "", "web"));
    after.routes[0].match.listeners = {"redirects"};
    const ListenerNames names(after.listeners, before.listeners);
    EXPECT_EQ(names("web"), "web");
    EXPECT_EQ(names("plain"), "redirects");
    EXPECT_EQ(names(""), "web");
    EXPECT_EQ(names("gone"), "web");
    recording::Recording r = recorded(4000);
    for (std::size_t i = 0; i < 1000; ++i) r.records[i].listener = "plain";
    LiveState state;
    state.traffic = summarise(r);
    const Forecast f = project(before, after, state);
    EXPECT_NEAR(f.route_changed, 0.25, 1e-12);
}

RC_GTEST_PROP(Project, NothingIsLostOrInvented, ()) {
    auto weights = [](config::Config& c) {
        for (auto& e : c.pools[0].endpoints) e.weight = static_cast<double>(*rc::gen::inRange(0, 20));
        c.pools[0].endpoints[0].weight = 1;
    };
    const auto before = changed(b10(), weights), after = changed(b10(), weights);
    const Forecast f = project(before, after, live());
    double now = 0, then = 0, rate = 0;
    for (const auto& e : f.endpoints) {
        now += e.share_now.value;
        then += e.share_after.value;
        rate += e.rate_after;
    }
    RC_ASSERT(std::abs(now - 1) < 1e-9);
    RC_ASSERT(std::abs(then - 1) < 1e-9);
    RC_ASSERT(std::abs(rate - 1200) < 1e-6);
}

/// Weights in proportion to capacity are never refused while the pool as a whole is under the cap.
RC_GTEST_PROP(Judge, UnevenIsNotWrong, ()) {
    config::Config after = b10();
    double total = 0;
    for (auto& e : after.pools[0].endpoints) {
        e.capacity = static_cast<double>(*rc::gen::inRange(10, 2000));
        e.weight = *e.capacity / 100;
        total += *e.capacity;
    }
    LiveState state = live(total * 0.79);
    RC_ASSERT(!has_errors(judge_forecast(project(after, after, state), config::Guard{})));
    state = live(total * 0.81);
    config::Config idle = b10();
    for (auto& e : idle.pools[0].endpoints) e.capacity = 1e6;
    RC_ASSERT(has_errors(judge_forecast(project(idle, after, state), config::Guard{})));
}

// ---- simulated service ---------------------------------------------------------------------------------------------

Forecast simulated(double failed_now, double failed_after, double slow_now, double slow_after, std::uint64_t n) {
    Forecast f;
    f.method = Forecast::Method::replay;
    f.requests = n;
    f.peak_rate = 100;
    f.simulated = Simulated{failed_now, failed_after, slow_now, slow_after, 300ms, 100ms, 100ms, n};
    return f;
}

TEST(Judge, SimulatedHarmBeyondNoise) {
    const config::Guard guard;
    EXPECT_NE(find(judge_forecast(simulated(0, 0.01, 0, 0, 100'000), guard), "P418-simulated-failures"), nullptr);
    EXPECT_EQ(find(judge_forecast(simulated(0.01, 0.0102, 0, 0, 100'000), guard), "P418-simulated-failures"), nullptr);
    EXPECT_EQ(find(judge_forecast(simulated(0, 0.01, 0, 0, 100), guard), "P418-simulated-failures"), nullptr)
        << "one of a hundred is noise";
    EXPECT_NE(find(judge_forecast(simulated(0, 0, 0.001, 0.2, 10'000), guard), "P418-simulated-slow"), nullptr);
    EXPECT_EQ(find(judge_forecast(simulated(0, 0, 0.001, 0.008, 100'000), guard), "P418-simulated-slow"), nullptr);
}

TEST(Judge, WorseUnderAFault) {
    Forecast f = simulated(0, 0, 0, 0, 10'000);
    f.faults = {{"b3 fails fast", 0.1, 0.12, 0.125, 0.125}};
    EXPECT_FALSE(has_errors(judge_forecast(f, {})));
    f.faults[0].harmed_after = 0.55;
    const Findings findings = judge_forecast(f, {});
    ASSERT_NE(find(findings, "P418-worse-under-fault"), nullptr);
    EXPECT_NE(findings[0].message.find("if b3 fails fast, 55.0%"), std::string::npos) << findings[0].message;
}

TEST(Judge, ALargerServerTakesMoreAlongWhenItFails) {
    Forecast f = simulated(0, 0, 0, 0, 10'000);
    f.faults = {{"b0 hangs", 0.069, 0.204, 0.125, 0.375}};
    const Findings in_proportion = judge_forecast(f, {});
    EXPECT_FALSE(has_errors(in_proportion));
    EXPECT_NE(find(in_proportion, "P418-more-depends-on-one"), nullptr);
    f.faults[0].harmed_after = 0.35;  // the share would explain 20.7 %
    EXPECT_NE(find(judge_forecast(f, {}), "P418-worse-under-fault"), nullptr);
}

TEST(Judge, NoEndpoint) {
    Forecast f = simulated(0, 0, 0, 0, 1000);
    f.no_endpoint_after = 0.2;
    EXPECT_NE(find(judge_forecast(f, {}), "P404-no-endpoint"), nullptr);
    f.no_endpoint_now = 0.2;
    EXPECT_EQ(find(judge_forecast(f, {}), "P404-no-endpoint"), nullptr) << "no worse than now";
}

// ---- the plan's text and JSON --------------------------------------------------------------------------------------

TEST(Describe, SpeaksInTraffic) {
    const auto after = changed(b10(), [](config::Config& c) {
        for (std::size_t i = 0; i < 3; ++i) c.pools[0].endpoints[i].weight = 30;
    });
    const Plan p = make_plan(b10(), document(after), live(), "r41 (last known good)");
    const std::string out = describe(p);
    for (const auto* line : {
             "r41 (last known good)  ->  web.yaml",
             "~ pools.web.endpoints[b0, b1, b2].weight  1 -> 30",
             "Forecast by projection of 100000 recorded requests over 10m, peak 1200/s:",
             "b0, b1, b2",
             "120 -> 371/s",
             "200/s declared",
             "0.60 -> 1.86",
             "OVER CAP",
             "Verdict: REJECTED, web.yaml:",
             "(P401-overload). `plimsoll apply --force --reason WHY` goes past it",
             "Plan: 0 to add, 3 to change, 0 to remove.",
         }) {
        EXPECT_NE(out.find(line), std::string::npos) << line << "\n" << out;
    }
    EXPECT_EQ(out.find('\x1b'), std::string::npos);
    EXPECT_NE(describe(p, {.colour = true, .all = false, .allowed = {}}).find("\x1b[1;31m"), std::string::npos);
}

TEST(Describe, HidesWhatDoesNotMoveButCountsIt) {
    const auto after = changed(b10(), [](config::Config& c) { c.pools[0].timeouts.idle = 31s; });
    const Plan p = make_plan(b10(), document(after), live(), "r1");
    EXPECT_NE(describe(p).find("(10 endpoints keep their share; --all shows them)"), std::string::npos) << describe(p);
    EXPECT_NE(describe(p, {.colour = false, .all = true, .allowed = {}}).find("b0, b1, b2 and 7 more"),
              std::string::npos);
}

TEST(Json, HoldsTheWholePlan) {
    const auto after = changed(b10(), [](config::Config& c) { c.pools[0].endpoints.resize(2); });
    const Plan p = make_plan(b10(), document(after), live(), "r41");
    const auto j = nlohmann::json::parse(to_json(p));
    EXPECT_EQ(j["format"], 1);
    EXPECT_EQ(j["verdict"], "rejected");
    EXPECT_EQ(j["differences"].size(), 8u);
    EXPECT_EQ(j["differences"][0]["kind"], "removed");
    EXPECT_EQ(j["forecast"]["endpoints"].size(), 10u);
    EXPECT_NEAR(j["forecast"]["endpoints"][0]["utilisation_after"].get<double>(), 3.0, 1e-9);
    EXPECT_TRUE(j["forecast"]["has_data"].get<bool>());
    EXPECT_EQ(nlohmann::json::parse(to_json(p.forecast)), j["forecast"]);
    const auto no_change = nlohmann::json::parse(to_json(make_plan(b10(), document(b10()), live(), "r41")));
    EXPECT_EQ(no_change["verdict"], "no_change");
}

}  // namespace
}  // namespace plimsoll::check
