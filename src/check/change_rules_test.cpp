// Each rule on a change, on both sides: an edit that it must report and one next to it that it must not.
#include <gtest/gtest.h>

#include "check/rule_cases.h"

namespace plimsoll::check {
namespace {

using namespace scenario;

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
LiveState no_data() { return {}; }

void sticky(Config& c) {
    web(c).affinity.emplace();
    web(c).affinity->secret = "sixteen characters";
}
void hashing(Config& c) { web(c).policy = config::Policy::maglev; }

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
        Case{"RateBelowRecorded", "P416-rate-below-recorded", nothing,
             [](Config& c) { c.routes[0].rate_limits = {{config::RateKey::route, "", 1000, 100}}; },
             [](Config& c) { c.routes[0].rate_limits = {{config::RateKey::route, "", 1500, 100}}; }},
        Case{"RateByClientUnknown", "P416-rate-below-recorded",
             [](Config& c) { c.routes[0].rate_limits = {{config::RateKey::route, "", 1100, 100}}; },
             [](Config& c) { c.routes[0].rate_limits[0].rate = 900; },
             [](Config& c) { c.routes[0].rate_limits = {{config::RateKey::client, "", 1, 1}}; }},
        Case{"PoolLimit", "P416-pool-limit-below-need", nothing, [](Config& c) { web(c).limits.max_in_flight = 40; },
             [](Config& c) { web(c).limits.max_in_flight = 100; }},
        Case{"AuthRemoved", "P422-opened", asking, [](Config& c) { c.routes[0].auth.reset(); },
             [](Config& c) { c.routes[0].auth->path = "/verify"; }},
        Case{"AuthRemovedWithoutTraffic", "P422-opened", asking, [](Config& c) { c.routes[0].auth.reset(); },
             [](Config& c) { c.routes[0].auth->timeout = 2s; }, no_data},
        Case{"AnotherRouteTakesIt", "P422-opened", asking,
             [](Config& c) { c.routes.insert(c.routes.begin(), route("open", "/open", "web")); },
             [](Config& c) {
                 c.routes.insert(c.routes.begin(), route("open", "/open", "web"));
                 c.routes[0].auth = c.routes[1].auth;
             },
             no_data},
        Case{"ProtectedRouteRemoved", "P422-opened",
             [](Config& c) {
                 c.routes.insert(c.routes.begin(), route("admin", "/admin", "web"));
                 c.pools.push_back(pool("auth", 4, 500, 9401));
                 c.routes[0].auth.emplace();
                 c.routes[0].auth->pool = "auth";
             },
             [](Config& c) { c.routes.erase(c.routes.begin()); },
             [](Config& c) {
                 c.routes[0].name = "renamed";
                 c.routes[0].pool.clear();
                 c.routes[0].auth.reset();
                 c.routes[0].redirect.emplace();
                 c.routes[0].redirect->host = "elsewhere.example";
             },
             no_data},
        Case{"ProtectedRouteNarrowed", "P422-opened",
             [](Config& c) {
                 c.routes.insert(c.routes.begin(), route("admin", "/admin", "web"));
                 c.pools.push_back(pool("auth", 4, 500, 9401));
                 c.routes[0].auth.emplace();
                 c.routes[0].auth->pool = "auth";
             },
             [](Config& c) { c.routes[0].match.methods = {"POST"}; }, [](Config& c) { c.routes[0].name = "renamed"; },
             no_data},
        Case{"TrustMore", "P421-trust-changed", [](Config& c) { c.listeners[0].trusted_proxies = {"10.0.0.0/8"}; },
             [](Config& c) { c.listeners[0].trusted_proxies.push_back("192.168.0.0/16"); },
             [](Config& c) { c.listeners[0].idle_timeout = 50s; }},
        Case{"TrustLess", "P421-trust-changed", [](Config& c) { c.listeners[0].proxy_protocol_from = {"10.0.0.0/8"}; },
             [](Config& c) { c.listeners[0].proxy_protocol_from.clear(); },
             [](Config& c) { c.listeners[0].idle_timeout = 50s; }},
        Case{"AffinitySecret", "P419-affinity-lost", sticky,
             [](Config& c) { web(c).affinity->secret = "another sixteen characters"; },
             [](Config& c) { web(c).affinity->ttl = 2h; }},
        Case{"AffinityOff", "P419-affinity-lost", sticky, [](Config& c) { web(c).affinity.reset(); },
             [](Config& c) { web(c).affinity->ttl = 2h; }},
        Case{"KeysMoveByPolicy", "P419-keys-move", hashing,
             [](Config& c) { web(c).policy = config::Policy::ring_hash; },
             [](Config& c) { web(c).hash.bounded_load = 1.25; }},
        Case{"KeysMoveByKey", "P419-keys-move", hashing, [](Config& c) { web(c).hash.by = config::HashBy::path; },
             [](Config& c) { web(c).hash.bounded_load = 1.25; }},
        Case{"KeysMoveByRemoval", "P419-keys-move", hashing, [](Config& c) { web(c).endpoints.resize(9); },
             [](Config& c) { web(c).hash.bounded_load = 1.25; }},
        Case{"TlsOff", "P420-tls-off", with_tls,
             [](Config& c) {
                 c.certificates.clear();
                 c.listeners[1].tls.reset();
             },
             [](Config& c) { c.listeners[1].tls->session_tickets = false; }},
        Case{"TlsLowered", "P420-tls-lowered",
             [](Config& c) {
                 with_tls(c);
                 c.listeners[1].tls->min_version = config::TlsVersion::tls13;
             },
             [](Config& c) { c.listeners[1].tls->min_version = config::TlsVersion::tls12; },
             [](Config& c) { c.listeners[1].tls->session_tickets = false; }},
        Case{"TlsToServersOff", "P420-tls-lowered", [](Config& c) { web(c).tls.emplace(); },
             [](Config& c) { web(c).tls.reset(); }, [](Config& c) { web(c).tls->server_name = "a.example"; }},
        Case{"ClientAuthLowered", "P420-client-auth-lowered",
             [](Config& c) {
                 with_tls(c);
                 c.listeners[1].tls->client_auth = config::ClientAuth::required;
                 c.listeners[1].tls->client_ca = "ca.pem";
             },
             [](Config& c) { c.listeners[1].tls->client_auth = config::ClientAuth::optional; },
             [](Config& c) { c.listeners[1].tls->client_ca = "new.pem"; }},
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

TEST(Opened, SaysWhatWasAskedAndHowMuchOfTheTraffic) {
    const Config before = changed(b10(), asking);
    const Findings found =
        check_change(before, document(changed(before, [](Config& c) { c.routes[0].auth.reset(); })), live());
    const Finding* f = find(found, "P422-opened");
    ASSERT_NE(f, nullptr) << all_text(found);
    EXPECT_EQ(f->severity, Severity::error);
    EXPECT_TRUE(f->message.contains("pool auth was asked")) << f->message;
    EXPECT_TRUE(f->message.contains("100.0% of recorded requests")) << f->message;
    EXPECT_TRUE(f->remedy.contains("keep `auth`")) << f->remedy;
}

TEST(TooQuiet, SaysWhatAStepWouldTake) {
    const config::Document after = document(changed(b10(), [](Config& c) { c.guard.max_step = 2h; }));
    LiveState quiet = live();
    quiet.traffic.span = 10min;
    quiet.traffic.requests = 1200;  // 2/s; the guard in force has 10 minutes a step
    const Findings found = check_change(b10(), after, quiet);
    const Finding* f = find(found, "P423-too-quiet");
    ASSERT_NE(f, nullptr) << all_text(found);
    EXPECT_EQ(f->severity, Severity::warning);
    EXPECT_TRUE(f->message.contains("2 requests/s: within max_step 10m a step sees 1200")) << f->message;
    EXPECT_TRUE(f->message.contains("takes 5991")) << f->message;
    EXPECT_TRUE(f->remedy.contains("49m56s")) << f->remedy;
    quiet.traffic.requests = 6600;  // 11/s
    EXPECT_EQ(find(check_change(b10(), after, quiet), "P423-too-quiet"), nullptr);
    quiet.traffic.requests = 660;
    quiet.traffic.every = 10;
    EXPECT_EQ(find(check_change(b10(), after, quiet), "P423-too-quiet"), nullptr) << "a sample";
}

/// A path that is rewritten before the backend is chosen cannot be written: conditions see the request as sent.
TEST(Complaint04, RewritesDoNotReachLaterRules) {
    const Config c = changed(b10(), [](Config& config) {
        config.pools.push_back(pool("api", 2, 2000, 9301));
        config.routes = {route("api", "/api", "api"), route("v2", "/v2", "web"), route("rest", "", "web")};
        config.routes[0].rewrite = config::Rewrite{};
        config.routes[0].rewrite->path_prefix = "/v2";
    });
    LiveState state = live();
    state.traffic.mix[0].path = "/api/x";
    EXPECT_NEAR(share_of(project(c, c, state), "api"), 1, 1e-9);
}

TEST(Complaint01, AllFindingsOfAChangeAreToldAtOnce) {
    const Config after = changed(b10(), [](Config& c) {
        web(c).endpoints.resize(2);
        web(c).health->fall = 1;
        c.routes.push_back(route("late", "/late", "web"));
    });
    const Plan p = make_plan(b10(), document(after), live(), "r1");
    EXPECT_EQ(verdict(p), Verdict::rejected);
    for (const auto* code : {"P401-overload", "P411-fall-1", "P405-unreachable-route"}) {
        EXPECT_NE(find(p.findings, code), nullptr) << code << all_text(p.findings);
    }
}

}  // namespace
}  // namespace plimsoll::check
