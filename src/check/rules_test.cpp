// Every rule on both sides: an edit that it must report and one next to it that it must not.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "check/routes.h"
#include "check/scenario.h"

namespace plimsoll::check {
namespace {

using namespace scenario;
using namespace std::chrono_literals;
using config::Config;

struct Case {
    const char* name;
    const char* code;
    std::function<void(Config&)> before;  ///< of b10()
    std::function<void(Config&)> fires;   ///< of before
    std::function<void(Config&)> silent;  ///< of before
    std::function<LiveState()> state = [] { return live(); };
};
std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

void nothing(Config&) {}
config::Pool& web(Config& c) { return c.pools[0]; }

// ---- rules on a config alone ---------------------------------------------------------------------------------------

class StaticRules : public testing::TestWithParam<Case> {};

TEST_P(StaticRules, FireAndKeepSilent) {
    const Case& c = GetParam();
    const Config base = changed(b10(), c.before);
    const Findings fired = check_config(document(changed(base, c.fires)));
    const Finding* f = find(fired, c.code);
    ASSERT_NE(f, nullptr) << all_text(fired);
    EXPECT_GT(f->where.line, 0);
    const Findings silent = check_config(document(changed(base, c.silent)));
    EXPECT_EQ(find(silent, c.code), nullptr) << all_text(silent);
}

INSTANTIATE_TEST_SUITE_P(
    Each, StaticRules,
    testing::Values(
        Case{"Unreachable", "P405-unreachable-route", nothing,
             [](Config& c) { c.routes.push_back(route("late", "/late", "web")); },
             [](Config& c) { c.routes.insert(c.routes.begin(), route("early", "/early", "web")); }},
        Case{"Duplicate", "P405-duplicate-route", nothing,
             [](Config& c) { c.routes.push_back(route("twin", "", "web")); },
             [](Config& c) { c.routes.insert(c.routes.begin(), route("twin", "/x", "web")); }},
        Case{"UnusedPool", "P406-unused-pool", nothing, [](Config& c) { c.pools.push_back(pool("spare", 2)); },
             [](Config& c) {
                 c.pools.push_back(pool("spare", 2));
                 c.routes.insert(c.routes.begin(), route("spare", "/spare", "spare"));
             }},
        Case{"ConnectAbovePerTry", "P409-timeout-order", nothing, [](Config& c) { web(c).timeouts.connect = 6s; },
             [](Config& c) { web(c).timeouts.connect = 5s; }},
        Case{"PerTryAboveTotal", "P409-timeout-order", nothing, [](Config& c) { web(c).timeouts.per_try = 16s; },
             [](Config& c) { web(c).timeouts.per_try = 15s; }},
        Case{"Keepalive", "P409-keepalive", nothing, [](Config& c) { web(c).limits.keepalive_idle = 75s; },
             [](Config& c) { web(c).limits.keepalive_idle = 60s; }},
        Case{"RetryAmplification", "P410-retry-amplification", nothing, [](Config& c) { web(c).retry.budget = 0.8; },
             [](Config& c) { web(c).retry.budget = 0.5; }},
        Case{"RetryUnbounded", "P410-retry-unbounded", nothing,
             [](Config& c) {
                 web(c).retry.attempts = 3;
                 web(c).retry.budget = 2;
             },
             [](Config& c) {
                 web(c).retry.attempts = 2;
                 web(c).retry.budget = 2;
             }},
        Case{"RetryTime", "P410-retry-time", [](Config& c) { web(c).retry.on = {"timeout"}; },
             [](Config& c) { web(c).retry.attempts = 4; }, [](Config& c) { web(c).retry.attempts = 3; }},
        Case{"NonIdempotent", "P410-non-idempotent", nothing, [](Config& c) { web(c).retry.non_idempotent = true; },
             [](Config& c) {
                 web(c).retry.non_idempotent = true;
                 web(c).retry.attempts = 1;
             }},
        Case{"Fall1", "P411-fall-1", nothing, [](Config& c) { web(c).health->fall = 1; },
             [](Config& c) { web(c).health->fall = 2; }},
        Case{"ProbeOverlap", "P411-probe-overlap", nothing, [](Config& c) { web(c).health->timeout = 2s; },
             [](Config& c) { web(c).health->timeout = 1900ms; }},
        Case{"SlowToNotice", "P411-slow-to-notice", nothing, [](Config& c) { web(c).health->interval = 21s; },
             [](Config& c) { web(c).health->interval = 20s; }},
        Case{"NoFloor", "P411-no-floor", [](Config& c) { web(c).panic_threshold = 0; }, nothing,
             [](Config& c) { web(c).health.reset(); }},
        Case{"Sinkhole", "P412-sinkhole", [](Config& c) { web(c).ejection.enabled = false; },
             [](Config& c) { web(c).policy = config::Policy::least_request; },
             [](Config& c) { web(c).policy = config::Policy::round_robin; }},
        Case{"EjectionCeiling", "P412-ejection-ceiling", nothing, [](Config& c) { web(c).ejection.max_fraction = 0.6; },
             [](Config& c) { web(c).ejection.max_fraction = 0.5; }}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

// ---- rules on a change ---------------------------------------------------------------------------------------------

class ChangeRules : public testing::TestWithParam<Case> {};

TEST_P(ChangeRules, FireAndKeepSilent) {
    const Case& c = GetParam();
    const Config base = changed(b10(), c.before);
    const Findings fired = check_change(base, document(changed(base, c.fires)), c.state());
    EXPECT_NE(find(fired, c.code), nullptr) << all_text(fired);
    const Findings silent = check_change(base, document(changed(base, c.silent)), c.state());
    EXPECT_EQ(find(silent, c.code), nullptr) << all_text(silent);
    EXPECT_TRUE(check_change(base, document(base), c.state()).empty()) << "no change, no finding";
}

LiveState all_down() {
    LiveState state = live();
    for (std::uint16_t i = 0; i < 5; ++i) {
        state.out.push_back({"web", {"127.0.0.1", static_cast<std::uint16_t>(9101 + i)}, "down"});
    }
    return state;
}
LiveState with_posts() {
    LiveState state = live();
    state.traffic.mix[0].method = "POST";
    return state;
}
LiveState no_data() { return {}; }

INSTANTIATE_TEST_SUITE_P(
    Each, ChangeRules,
    testing::Values(
        Case{"NPlus1", "P402-n-plus-1", nothing, [](Config& c) { web(c).endpoints.resize(7); },
             [](Config& c) { web(c).endpoints.resize(9); }},
        Case{"NPlus1Heaviest", "P402-n-plus-1", nothing, [](Config& c) { web(c).endpoints[0].weight = 2; },
             [](Config& c) { web(c).endpoints[0].weight = 1.1; }},
        Case{"FloorLowered", "P402-floor-lowered", nothing, [](Config& c) { web(c).panic_threshold = 0.2; },
             [](Config& c) { web(c).panic_threshold = 0.6; }},
        Case{"NowDefault", "P403-now-default", [](Config& c) { web(c).endpoints[0].capacity = 300; },
             [](Config& c) { web(c).endpoints[0].capacity.reset(); },
             [](Config& c) { web(c).endpoints[0].capacity = 250; }},
        Case{"AtStartOnly", "P403-at-start-only", nothing, [](Config& c) { c.workers = 3; },
             [](Config& c) { c.guard.soak = 20min; }},
        Case{"NobodyUsable", "P404-nobody-usable", nothing, [](Config& c) { web(c).endpoints.resize(5); },
             [](Config& c) { web(c).endpoints.resize(6); }, all_down},
        Case{"MostRemovedUndeclared", "P404-most-endpoints-removed", [](Config& c) { web(c) = pool("web", 10, 0); },
             [](Config& c) { web(c).endpoints.resize(4); }, [](Config& c) { web(c).endpoints.resize(5); }},
        Case{"MostRemovedNoData", "P404-most-endpoints-removed", nothing, [](Config& c) { web(c).endpoints.resize(4); },
             [](Config& c) { web(c) = pool("web", 4, 500, 9301); }, no_data},
        Case{"MostRoutesRemoved", "P404-most-routes-removed",
             [](Config& c) {
                 for (int i = 0; i < 4; ++i) {
                     c.routes.insert(c.routes.begin(), route("r" + std::to_string(i), "/r" + std::to_string(i), "web"));
                 }
             },
             [](Config& c) { c.routes.erase(c.routes.begin(), c.routes.begin() + 3); },
             [](Config& c) { c.routes.erase(c.routes.begin(), c.routes.begin() + 2); }},
        Case{"ListenerGone", "P404-listener-gone", nothing, [](Config& c) { c.listeners[0].address.port = 8081; },
             [](Config& c) { c.listeners[0].name = "renamed"; }},
        Case{"NewlyUnreachable", "P405-newly-unreachable",
             [](Config& c) {
                 c.pools.push_back(pool("api", 2, 200, 9301));
                 c.routes.insert(c.routes.begin(), route("api", "/api", "api"));
             },
             [](Config& c) { std::swap(c.routes[0], c.routes[1]); },
             [](Config& c) { c.routes.insert(c.routes.begin(), route("x", "/api/x", "web")); }},
        Case{"Order", "P405-order",
             [](Config& c) {
                 c.pools.push_back(pool("api", 2, 200, 9301));
                 c.routes.insert(c.routes.begin(),
                                 {route("x", "/api/x", "web"), route("api", "/api", "api"), route("y", "/y", "api")});
             },
             [](Config& c) { std::swap(c.routes[0], c.routes[1]); },
             [](Config& c) { std::swap(c.routes[1], c.routes[2]); }},
        Case{"RemovedWithTraffic", "P407-removed-with-traffic", nothing, [](Config& c) { web(c).endpoints.pop_back(); },
             [](Config& c) { web(c).endpoints[0].weight = 2; }},
        Case{"TimeoutBelowObserved", "P409-timeout-below-observed", nothing,
             [](Config& c) { web(c).timeouts.per_try = 100ms; }, [](Config& c) { web(c).timeouts.per_try = 120ms; }},
        Case{"KeepaliveRaised", "P409-keepalive-raised", nothing, [](Config& c) { web(c).limits.keepalive_idle = 31s; },
             [](Config& c) { web(c).limits.keepalive_idle = 4s; }},
        Case{"AmplificationRaised", "P410-amplification-raised", nothing, [](Config& c) { web(c).retry.budget = 0.4; },
             [](Config& c) { web(c).retry.attempts = 4; }},
        Case{"BudgetVoid", "P410-budget-void", nothing, [](Config& c) { web(c).retry.min_per_second = 1000; },
             [](Config& c) { web(c).retry.min_per_second = 30; }},
        Case{"ReplaysWrites", "P410-replays-writes", nothing, [](Config& c) { web(c).retry.non_idempotent = true; },
             [](Config& c) { web(c).retry.attempts = 3; }, with_posts},
        Case{"HealthTooTight", "P411-health-too-tight", nothing, [](Config& c) { web(c).health->timeout = 150ms; },
             [](Config& c) { web(c).health->timeout = 200ms; }},
        Case{"ProbeChanged", "P411-probe-changed", nothing, [](Config& c) { web(c).health->path = "/health"; },
             [](Config& c) { web(c).health->interval = 3s; }},
        Case{"HealthOff", "P411-health-off", nothing, [](Config& c) { web(c).health.reset(); },
             [](Config& c) { web(c).health->fall = 4; }},
        Case{"Survivors", "P412-survivors", nothing, [](Config& c) { web(c).ejection.max_fraction = 0.5; },
             [](Config& c) { web(c).ejection.max_fraction = 0.4; }},
        Case{"WeightsAgainstCapacity", "P415-weights-against-capacity", nothing,
             [](Config& c) { web(c).endpoints[0].weight = 30; },
             [](Config& c) {
                 web(c).endpoints[0].weight = 30;
                 web(c).endpoints[0].capacity = 6000;
             }},
        Case{"UnevenUnknown", "P415-uneven-unknown", [](Config& c) { web(c) = pool("web", 10, 0); },
             [](Config& c) { web(c).endpoints[0].weight = 5; }, [](Config& c) { web(c).endpoints[0].weight = 1.5; },
             no_data},
        Case{"HeadBelowRecorded", "P416-size-below-recorded", nothing,
             [](Config& c) { c.listeners[0].limits.max_head_bytes = 1024; },
             [](Config& c) { c.listeners[0].limits.max_head_bytes = 4096; }},
        Case{"BodyBelowRecorded", "P416-size-below-recorded", nothing,
             [](Config& c) { c.listeners[0].limits.max_body_bytes = 1024; },
             [](Config& c) { c.listeners[0].limits.max_body_bytes = 1 << 20; }},
        Case{"Concurrency", "P416-concurrency-below-need", nothing,
             [](Config& c) { web(c).limits.max_in_flight_per_endpoint = 5; },
             [](Config& c) { web(c).limits.max_in_flight_per_endpoint = 20; }},
        Case{"ConnectionsFill", "P416-connections-fill", nothing,
             [](Config& c) { c.listeners[0].idle_timeout = 10min; },
             [](Config& c) { c.listeners[0].idle_timeout = 5s; }}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

TEST(CheckChange, DeletedKeyIsShownAsNowDefault) {
    const Config before = changed(b10(), [](Config& c) { web(c).panic_threshold = 0.9; });
    std::string text = config::print(before);
    const auto at = text.find("    panic_threshold: 0.9\n");
    ASSERT_NE(at, std::string::npos);
    text.erase(at, std::string("    panic_threshold: 0.9\n").size());
    const auto after = config::parse(text, "web.yaml");
    ASSERT_TRUE(after.document);
    const Findings findings = check_change(before, *after.document, live());
    const Finding* f = find(findings, "P403-now-default");
    ASSERT_NE(f, nullptr) << all_text(findings);
    EXPECT_EQ(f->message, "was 0.9; now the default 0.5");
    EXPECT_NE(find(findings, "P402-floor-lowered"), nullptr);
}

// ---- route algebra -------------------------------------------------------------------------------------------------

config::Match match(std::optional<std::string> host, std::optional<std::string> path,
                    std::optional<std::string> prefix) {
    return {std::move(host), std::move(path), std::move(prefix)};
}

TEST(Routes, CoveredBy) {
    using R = config::Route;
    const std::vector<config::Route> routes{
        R{"0", match("a.x", {}, "/api"), "p"},    R{"1", match("A.x", "/api/v1", {}), "p"},
        R{"2", match("b.x", "/api", {}), "p"},    R{"3", match({}, {}, "/api/"), "p"},
        R{"4", match("b.x", {}, "/api/v1"), "p"}, R{"5", match({}, "/apix", {}), "p"},
        R{"6", match({}, {}, "/"), "p"},          R{"7", match("c.x", {}, {}), "p"}};
    const auto covered = covered_by(routes);
    const std::vector<std::optional<std::size_t>> wanted{{}, 0, {}, {}, 3, {}, {}, 6};
    EXPECT_EQ(covered, wanted);
}

TEST(Routes, Overlap) {
    EXPECT_TRUE(overlap(match({}, {}, "/a"), match("h", {}, "/a/b")));
    EXPECT_FALSE(overlap(match("g", {}, {}), match("h", {}, {})));
    EXPECT_TRUE(overlap(match("H", {}, {}), match("h", "/x", {})));
    EXPECT_FALSE(overlap(match({}, {}, "/a"), match({}, {}, "/ab")));
    EXPECT_FALSE(overlap(match({}, "/a", {}), match({}, "/b", {})));
    EXPECT_TRUE(overlap(match({}, "/a", {}), match({}, {}, {})));
    EXPECT_TRUE(overlap(match({}, {}, "/"), match({}, {}, "/x")));
}

TEST(Routes, SwappedPairsAreFound) {
    const std::vector<config::Route> before{route("a", "/a", "p"), route("ab", "/a/b", "q"), route("c", "/c", "p"),
                                            route("all", "", "r")};
    EXPECT_TRUE(swapped(before, before, 10).empty());
    const std::vector<config::Route> after{before[3], before[2], before[1], before[0]};
    EXPECT_EQ(swapped(before, after, 10), (std::vector<Swapped>{{0, 1}, {0, 2}, {0, 3}, {2, 3}}));
    EXPECT_EQ(swapped(before, after, 2).size(), 2u);
}

TEST(Routes, TenThousandHostsAreHandled) {
    std::vector<config::Route> before;
    for (int i = 0; i < 10'000; ++i) {
        before.push_back(route("r" + std::to_string(i), "/x", i % 2 == 0 ? "p" : "q"));
        before.back().match.host = "h" + std::to_string(i / 2);
    }
    const auto covered = covered_by(before);
    EXPECT_EQ(std::ranges::count_if(covered, [](const auto& c) { return c.has_value(); }), 5000);
    std::vector<config::Route> after = before;
    std::ranges::reverse(after);
    EXPECT_EQ(swapped(before, after, 100'000).size(), 5000u);
}

// ---- the documented table ------------------------------------------------------------------------------------------

TEST(RuleTable, CodesAreUniqueAndSaid) {
    std::set<std::string_view> codes;
    for (const RuleSummary& rule : rules()) {
        EXPECT_TRUE(codes.insert(rule.code).second) << rule.code;
        EXPECT_TRUE(rule.code.starts_with("P4")) << rule.code;
        EXPECT_FALSE(rule.looks_for.empty());
        EXPECT_FALSE(rule.evidence.empty());
    }
}

std::string read_file(const std::string& path) {
    std::ifstream in(path);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
}

TEST(CheckConfig, ExampleIsClean) {
    const std::string path = PLIMSOLL_SOURCE_DIR "/examples/plimsoll.yaml";
    const config::Parsed parsed = config::parse(read_file(path), path);
    ASSERT_TRUE(parsed.document);
    EXPECT_TRUE(check_config(*parsed.document).empty()) << all_text(check_config(*parsed.document));
}

/// Every "P4..." literal of the sources is in the table, and the table names nothing else.
TEST(RuleTable, NamesWhatTheSourcesReport) {
    std::set<std::string> reported;
    for (const auto* file : {"static_rules", "action_rules", "tls_rules", "pool_rules", "setting_rules", "access_rules",
                             "judge_forecast"}) {
        const std::string source = read_file(std::string(PLIMSOLL_SOURCE_DIR "/src/check/") + file + ".cpp");
        ASSERT_FALSE(source.empty());
        for (auto at = source.find("\"P4"); at != std::string::npos; at = source.find("\"P4", at + 1)) {
            reported.insert(source.substr(at + 1, source.find('"', at + 1) - at - 1));
        }
    }
    std::set<std::string> documented;
    for (const RuleSummary& rule : rules()) documented.insert(std::string(rule.code));
    EXPECT_EQ(documented, reported);
}

/// UPDATE=1 in the environment rewrites the page.
TEST(RuleTable, PageIsCurrent) {
    const std::string path = PLIMSOLL_SOURCE_DIR "/docs/formats/findings.md";
    const std::string page = read_file(path);
    const auto end = page.find("-->\n");
    ASSERT_NE(end, std::string::npos);
    const std::string wanted = page.substr(0, end + 4) + "\n" + rules_table();
    if (std::getenv("UPDATE") != nullptr) std::ofstream(path) << wanted;
    EXPECT_EQ(read_file(path), wanted) << "run `UPDATE=1 check_test` and commit " << path;
}

}  // namespace
}  // namespace plimsoll::check
