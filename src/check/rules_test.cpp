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

config::Listener tcp_listener() {
    config::Listener l;
    l.name = "raw";
    l.address = {"127.0.0.1", 8081};
    l.protocol = config::Protocol::tcp;
    l.tcp = {{"", "web"}};
    return l;
}
/// A listener "secure" with certificate "main" beside "web".
void with_tls(Config& c) {
    c.certificates = {{"main", "m.pem", "m.key", ""}};
    config::Listener l;
    l.name = "secure";
    l.address = {"127.0.0.1", 8443};
    l.tls.emplace();
    l.tls->certificates = {"main"};
    c.listeners.push_back(l);
}
/// First of all, /old is sent to another host.
void redirecting(Config& c) {
    config::Route r;
    r.name = "old";
    r.match.path_prefix = "/old";
    r.redirect.emplace();
    c.routes.insert(c.routes.begin(), r);
}
/// Nine of v1, one of v2.
void labelled(Config& c) {
    for (std::size_t i = 0; i < 10; ++i) web(c).endpoints[i].labels = {{"version", i < 9 ? "v1" : "v2"}};
}

/// The last route asks pool "auth".
void asking(Config& c) {
    c.pools.push_back(pool("auth", 4, 500, 9401));
    c.routes.back().auth.emplace();
    c.routes.back().auth->pool = "auth";
    c.routes.back().auth->upstream_headers = {"X-User"};
}

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
        Case{"UnreachableByMethod", "P405-unreachable-route",
             [](Config& c) { c.routes.insert(c.routes.begin(), route("all_x", "/x", "web")); },
             [](Config& c) {
                 c.routes.insert(c.routes.begin() + 1, route("get_x", "/x/y", "web"));
                 c.routes[1].match.methods = {"GET"};
             },
             [](Config& c) {
                 c.routes[0].match.methods = {"GET"};
                 c.routes.insert(c.routes.begin() + 1, route("post_x", "/x/y", "web"));
                 c.routes[1].match.methods = {"POST"};
             }},
        Case{"UnreachableTcp", "P405-unreachable-tcp", [](Config& c) { c.listeners.push_back(tcp_listener()); },
             [](Config& c) { c.listeners[1].tcp = {{"*.example.com", "web"}, {"a.example.com", "web"}}; },
             [](Config& c) { c.listeners[1].tcp = {{"a.example.com", "web"}, {"*.example.com", "web"}, {"", "web"}}; }},
        Case{"UnusedByMirror", "P406-unused-pool", nothing, [](Config& c) { c.pools.push_back(pool("spare", 2)); },
             [](Config& c) {
                 c.pools.push_back(pool("spare", 2));
                 c.routes[0].mirror = config::Mirror{"spare", 0.1};
             }},
        Case{"RedirectLoopsAtOnce", "P405-redirect-loop", redirecting,
             [](Config& c) { c.routes[0].redirect = config::Redirect{}; },
             [](Config& c) { c.routes[0].redirect->scheme = "https"; }},
        Case{"RedirectLoopsOverTls", "P405-redirect-loop", with_tls,
             [](Config& c) {
                 redirecting(c);
                 c.routes[0].redirect->scheme = "https";
             },
             [](Config& c) {
                 redirecting(c);
                 c.routes[0].redirect->scheme = "https";
                 c.routes[0].match.listeners = {"web"};
             }},
        Case{"RedirectLoopsByPrefix", "P405-redirect-loop", redirecting,
             [](Config& c) { c.routes[0].redirect->path = "/old/there"; },
             [](Config& c) { c.routes[0].redirect->path = "/new"; }},
        Case{"RedirectLoopsByHost", "P405-redirect-loop", redirecting,
             [](Config& c) {
                 c.routes[0].match.host = "*.example.com";
                 c.routes[0].redirect->host = "www.example.com";
             },
             [](Config& c) {
                 c.routes[0].match.host = "*.example.com";
                 c.routes[0].redirect->host = "example.com";
             }},
        Case{"RedirectTakenEarlier", "P405-redirect-loop", redirecting,
             [](Config& c) { c.routes[0].redirect->path = "/old/there"; },
             [](Config& c) {
                 c.routes[0].redirect->path = "/old/there";
                 c.routes.insert(c.routes.begin(), route("there", "/old/there", "web"));
             }},
        Case{"SubsetEmpty", "P406-subset-empty", labelled, [](Config& c) { c.routes[0].subset = {{"version", "v9"}}; },
             [](Config& c) { c.routes[0].subset = {{"version", "v1"}}; }},
        Case{"SubsetOfDrained", "P406-subset-empty", labelled,
             [](Config& c) {
                 c.routes[0].subset = {{"version", "v2"}};
                 web(c).endpoints[9].weight = 0;
             },
             [](Config& c) { c.routes[0].subset = {{"version", "v2"}}; }},
        Case{"SubsetOne", "P406-subset-one", labelled, [](Config& c) { c.routes[0].subset = {{"version", "v2"}}; },
             [](Config& c) { c.routes[0].subset = {{"version", "v1"}}; }},
        Case{"PriorityGap", "P413-priority-gap", nothing, [](Config& c) { web(c).endpoints[9].priority = 2; },
             [](Config& c) { web(c).endpoints[9].priority = 1; }},
        Case{"NobodyIsFirst", "P413-priority-gap", nothing,
             [](Config& c) {
                 for (auto& e : web(c).endpoints) e.priority = 1;
             },
             nothing},
        Case{"ZoneUnknown", "P413-zone-unknown", [](Config& c) { web(c).zone_aware = true; }, nothing,
             [](Config& c) {
                 c.zone = "a";
                 web(c).endpoints[0].zone = "a";
             }},
        Case{"NobodyInZone", "P413-zone-unknown",
             [](Config& c) {
                 web(c).zone_aware = true;
                 web(c).endpoints[0].zone = "a";
             },
             [](Config& c) { c.zone = "b"; }, [](Config& c) { c.zone = "a"; }},
        Case{"TrafficOfNoZone", "P413-zone-unknown", nothing, [](Config& c) { c.zone_traffic = 0.4; },
             [](Config& c) {
                 c.zone = "a";
                 c.zone_traffic = 0.4;
             }},
        Case{"FaultOn", "P417-fault-on", nothing,
             [](Config& c) { c.routes[0].fault = config::Fault{{}, 0, 503, 1}; },
             [](Config& c) { c.routes[0].fault = config::Fault{1s, 0, 503, 0}; }},
        Case{"DelayOn", "P417-fault-on", nothing,
             [](Config& c) { c.routes[0].fault = config::Fault{1s, 0.5, 503, 0}; }, nothing},
        Case{"MirrorToItself", "P417-mirror-to-itself", [](Config& c) { c.pools.push_back(pool("copy", 2, 200, 9301)); },
             [](Config& c) { c.routes[0].mirror = config::Mirror{"web", 1}; },
             [](Config& c) { c.routes[0].mirror = config::Mirror{"copy", 1}; }},
        Case{"AuthFailsOpen", "P422-auth-fails-open", asking,
             [](Config& c) { c.routes[0].auth->on_failure = config::OnFailure::allow; }, nothing},
        Case{"AuthTimeout", "P409-auth-timeout", asking, [](Config& c) { c.routes[0].auth->timeout = 15s; },
             [](Config& c) { c.routes[0].auth->timeout = 14s; }},
        Case{"AuthTimeoutOfRoute", "P409-auth-timeout", asking, [](Config& c) { c.routes[0].timeout = 1s; },
             [](Config& c) { c.routes[0].timeout = 2s; }},
        Case{"ForgeableHeader", "P422-forgeable-header", asking,
             [](Config& c) { c.routes.insert(c.routes.begin(), route("open", "/open", "web")); },
             [](Config& c) {
                 c.routes.insert(c.routes.begin(), route("open", "/open", "web"));
                 c.routes[0].request_headers.remove = {"x-user"};
             }},
        Case{"ForgeableElsewhere", "P422-forgeable-header", asking,
             [](Config& c) { c.routes.insert(c.routes.begin(), route("open", "/open", "web")); },
             [](Config& c) { c.routes.insert(c.routes.begin(), route("open", "/open", "auth")); }},
        Case{"UnusedByAuth", "P406-unused-pool", asking, [](Config& c) { c.routes[0].auth.reset(); }, nothing},
        Case{"TrustsAnybody", "P421-trusts-anybody", nothing,
             [](Config& c) { c.listeners[0].trusted_proxies = {"0.0.0.0/0"}; },
             [](Config& c) { c.listeners[0].trusted_proxies = {"10.0.0.0/8"}; }},
        Case{"PROXYFromAnybody", "P421-trusts-anybody", nothing,
             [](Config& c) { c.listeners[0].proxy_protocol_from = {"::/0"}; },
             [](Config& c) { c.listeners[0].proxy_protocol_from = {"::1/128"}; }},
        Case{"DiscoveryUnchecked", "P411-discovery-unchecked",
             [](Config& c) {
                 web(c).discovery.emplace();
                 web(c).discovery->name = "web.internal";
             },
             [](Config& c) { web(c).health.reset(); }, nothing},
        Case{"NoQueue", "P416-no-queue", nothing, [](Config& c) { web(c).limits.max_in_flight = 100; },
             [](Config& c) {
                 web(c).limits.max_in_flight = 100;
                 web(c).limits.queue = 10;
             }},
        Case{"VerifyOff", "P420-verify-off", [](Config& c) { web(c).tls.emplace(); },
             [](Config& c) { web(c).tls->verify = false; }, nothing},
        Case{"UnusedCertificate", "P406-unused-certificate", with_tls,
             [](Config& c) { c.certificates.push_back({"spare", "s.pem", "s.key", ""}); },
             [](Config& c) {
                 c.certificates.push_back({"spare", "s.pem", "s.key", ""});
                 web(c).tls.emplace();
                 web(c).tls->certificate = "spare";
             }},
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

// ---- certificates --------------------------------------------------------------------------------------------------

constexpr Timestamp today{1'800'000'000'000'000'000};

CertificateFacts facts(std::vector<std::string> names) {
    CertificateFacts f;
    f.name = "main";
    f.not_before = {today.ns - std::chrono::nanoseconds(24h * 30).count()};
    f.not_after = today + 24h * 60;
    f.dns_names = std::move(names);
    return f;
}
LiveState knowing(std::vector<CertificateFacts> all) {
    LiveState state = live();
    state.certificates = std::move(all);
    state.now = today;
    return state;
}
/// Routes for a.example.com and *.b.example on both listeners.
Config hosted() {
    return changed(b10(), [](Config& c) {
        with_tls(c);
        c.routes.insert(c.routes.begin(), {route("a", "", "web"), route("b", "", "web")});
        c.routes[0].match.host = "a.example.com";
        c.routes[1].match.host = "*.b.example";
    });
}

TEST(Certificates, AreJudgedByTheirFacts) {
    const config::Document d = document(hosted());
    const std::vector<std::string> names{"*.example.com", "*.B.example"};
    EXPECT_TRUE(check_config(d, knowing({facts(names)})).empty()) << all_text(check_config(d, knowing({facts(names)})));
    const auto expect = [&](std::string_view code, Severity severity,
                            const std::function<void(CertificateFacts&)>& edit) {
        CertificateFacts f = facts(names);
        edit(f);
        const Findings found = check_config(d, knowing({f}));
        const Finding* finding = find(found, code);
        ASSERT_NE(finding, nullptr) << code << all_text(found);
        EXPECT_EQ(finding->severity, severity) << code;
        EXPECT_TRUE(finding->path.starts_with("certificates.main")) << finding->path;
        EXPECT_GT(finding->where.line, 0);
    };
    expect("P420-certificate-unusable", Severity::error, [](auto& f) { f.error = "m.pem: no such file"; });
    expect("P420-key-mismatch", Severity::error, [](auto& f) { f.key_matches = false; });
    expect("P420-chain-incomplete", Severity::warning, [](auto& f) { f.chain_complete = false; });
    expect("P420-certificate-expired", Severity::error, [](auto& f) { f.not_after = {today.ns - 1}; });
    expect("P420-expires-soon", Severity::warning, [](auto& f) { f.not_after = today + 24h * 13; });
    expect("P420-not-yet-valid", Severity::error, [](auto& f) { f.not_before = today + 1h; });
    expect("P420-certificate-revoked", Severity::error, [](auto& f) {
        f.revoked = true;
        f.ocsp_error = "says that the certificate is revoked";
    });
    expect("P420-ocsp-unusable", Severity::warning, [](auto& f) { f.ocsp_error = "is for another certificate"; });
    expect("P420-ocsp-ended", Severity::warning, [](auto& f) { f.ocsp_until = today; });
    expect("P420-must-staple", Severity::warning, [](auto& f) { f.must_staple = true; });
    expect("P420-must-staple", Severity::warning, [](auto& f) {
        f.must_staple = true;
        f.ocsp_until = {today.ns - 1};
    });
    CertificateFacts stapled = facts(names);
    stapled.must_staple = true;
    stapled.ocsp_until = today + 1h;
    EXPECT_TRUE(check_config(d, knowing({stapled})).empty());
    EXPECT_TRUE(check_config(d).empty()) << "without facts nothing is said";
}

TEST(Certificates, CoverTheHostsOfTheirListener) {
    const config::Document d = document(hosted());
    const Findings found = check_config(d, knowing({facts({"a.example.com"})}));
    const Finding* f = find(found, "P420-host-uncovered");
    ASSERT_NE(f, nullptr) << all_text(found);
    EXPECT_EQ(f->path, "routes[1].match.host");
    EXPECT_NE(f->message.find("*.b.example"), std::string::npos) << f->message;
    Config elsewhere = hosted();
    elsewhere.routes[1].match.listeners = {"web"};
    EXPECT_TRUE(check_config(document(elsewhere), knowing({facts({"a.example.com"})})).empty());
}

TEST(Certificates, StandForOneLabel) {
    const auto covers = [](std::vector<std::string> names, const std::string& host) {
        const Config served = changed(hosted(), [&](Config& c) {
            c.routes.erase(c.routes.begin());
            c.routes[0].match.host = host;
        });
        return find(check_config(document(served), knowing({facts(std::move(names))})), "P420-host-uncovered") ==
               nullptr;
    };
    EXPECT_TRUE(covers({"*.example.com"}, "A.example.com"));
    EXPECT_FALSE(covers({"*.example.com"}, "a.b.example.com"));
    EXPECT_FALSE(covers({"*.example.com"}, "example.com"));
    EXPECT_FALSE(covers({"*.com"}, "com"));
    EXPECT_TRUE(covers({"x", "localhost"}, "localhost"));
    EXPECT_FALSE(covers({}, "a"));
}

TEST(Certificates, MayNotGoWhileHostsNeedThem) {
    const Config before = changed(hosted(), [](Config& c) {
        c.certificates.push_back({"other", "o.pem", "o.key", ""});
        c.listeners[1].tls->certificates = {"main", "other"};
    });
    CertificateFacts other = facts({"*.b.example"});
    other.name = "other";
    const LiveState state = knowing({facts({"a.example.com"}), other});
    const Config after = changed(before, [](Config& c) {
        c.certificates.pop_back();
        c.listeners[1].tls->certificates.pop_back();
    });
    const Findings found = check_change(before, document(after), state);
    const Finding* f = find(found, "P420-certificate-removed");
    ASSERT_NE(f, nullptr) << all_text(found);
    EXPECT_EQ(f->severity, Severity::error);
    const Config tidied = changed(after, [](Config& c) { c.routes.erase(c.routes.begin() + 1); });
    EXPECT_EQ(find(check_change(before, document(tidied), state), "P420-certificate-removed"), nullptr);
}

// ---- forecasts over actions ----------------------------------------------------------------------------------------

double share_of(const Forecast& forecast, std::string_view pool) {
    double share = 0;
    for (const auto& e : forecast.endpoints) share += e.pool == pool ? e.share_after.value : 0;
    return share;
}

TEST(Project, SplitsByWeight) {
    const Config after = changed(b10(), [](Config& c) {
        c.pools.push_back(pool("next", 4, 200, 9301));
        c.routes[0].pool.clear();
        c.routes[0].split = {{"web", 3}, {"next", 1}};
    });
    const Forecast f = project(b10(), after, live());
    EXPECT_NEAR(share_of(f, "web"), 0.75, 1e-9);
    EXPECT_NEAR(share_of(f, "next"), 0.25, 1e-9);
    EXPECT_EQ(f.route_lost, 0);
}

TEST(Project, ASubsetCarriesAllOfItsRoute) {
    const Config after = changed(b10(), [](Config& c) {
        labelled(c);
        c.routes[0].subset = {{"version", "v2"}};
    });
    const Forecast f = project(b10(), after, live());
    EXPECT_NEAR(f.endpoints[9].share_after.value, 1, 1e-9);
    EXPECT_NE(find(judge_forecast(f, after.guard), "P401-overload"), nullptr) << "6 times what one server carries";
}

TEST(Project, MirroredCopiesAreLoad) {
    const Config after = changed(b10(), [](Config& c) {
        c.pools.push_back(pool("copy", 4, 200, 9301));
        c.routes[0].mirror = config::Mirror{"copy", 1};
    });
    const Forecast f = project(b10(), after, live());
    EXPECT_NEAR(share_of(f, "web"), 1, 1e-9);
    EXPECT_NEAR(share_of(f, "copy"), 1, 1e-9);
    EXPECT_NE(find(judge_forecast(f, after.guard), "P401-overload"), nullptr) << "1200/s of copies, 4 x 200 carried";
}

TEST(Project, QuestionsToAnAuthServerAreLoad) {
    const Forecast f = project(b10(), changed(b10(), asking), live());
    EXPECT_NEAR(share_of(f, "web"), 1, 1e-9);
    EXPECT_NEAR(share_of(f, "auth"), 1, 1e-9);
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
}

TEST(Project, RoutesThatAnswerThemselvesAskNobody) {
    const Config after = changed(b10(), [](Config& c) {
        c.routes[0].pool.clear();
        c.routes[0].respond = config::Respond{};
    });
    const Forecast f = project(b10(), after, live());
    EXPECT_EQ(share_of(f, "web"), 0);
    EXPECT_EQ(f.no_endpoint_after, 0);
    EXPECT_EQ(f.route_lost, 0);
    EXPECT_NEAR(f.pool_changed, 1, 1e-9);
    const Config redirected = changed(b10(), [](Config& c) {
        c.routes[0].pool.clear();
        c.routes[0].redirect = config::Redirect{};
        c.routes[0].redirect->host = "elsewhere.example";
    });
    EXPECT_EQ(project(b10(), redirected, live()).no_endpoint_after, 0);
}

TEST(Project, AnUndiscoveredPoolIsNotAnEmptyOne) {
    const Config after = changed(b10(), [](Config& c) {
        web(c).endpoints.clear();
        web(c).discovery.emplace();
        web(c).discovery->name = "web.internal";
    });
    EXPECT_EQ(project(b10(), after, live()).no_endpoint_after, 0);
}

TEST(Project, MethodsAndListenersDecide) {
    const Config after = changed(b10(), [](Config& c) {
        with_tls(c);
        c.pools.push_back(pool("writes", 4, 200, 9301));
        c.routes.insert(c.routes.begin(), {route("post", "", "writes"), route("plain", "", "writes")});
        c.routes[0].match.methods = {"POST"};
        c.routes[1].match.listeners = {"web"};
    });
    EXPECT_NEAR(share_of(project(b10(), after, live()), "web"), 1, 1e-9) << "GET, by the listener with TLS";
    EXPECT_NEAR(share_of(project(b10(), after, with_posts()), "writes"), 1, 1e-9);
}

// ---- complaints of users of others, by number in docs/complaints.md ------------------------------------------------

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

TEST(Routes, CoveredByWildcardsPatternsAndConditions) {
    using R = config::Route;
    std::vector<R> routes;
    const auto add = [&](std::optional<std::string> host, const std::function<void(config::Match&)>& edit) {
        config::Match m;
        m.host = std::move(host);
        edit(m);
        routes.push_back(R{std::to_string(routes.size()), m, "p"});
    };
    const auto prefix = [](std::string p) { return [p](config::Match& m) { m.path_prefix = p; }; };
    const auto regex = [](std::string r) { return [r](config::Match& m) { m.path_regex = r; }; };
    const auto header = [](std::optional<std::string> exact, std::optional<std::string> pattern, bool invert = false) {
        return [=](config::Match& m) { m.headers = {{"X-A", exact, pattern, invert}}; };
    };
    add("*.a.example", prefix("/w"));                                       // 0
    add("x.a.example", prefix("/w/deep"));                                  // 1: 0
    add("*.y.A.example", prefix("/w"));                                     // 2: 0
    add("a.example", prefix("/w"));                                         // 3: the bare domain is not below
    add("r", prefix("/api"));                                               // 4
    add("r", regex("/api/v[0-9]+/.*"));                                     // 5: 4, all begin with /api/
    add("r", regex("/apix?"));                                              // 6: may be /apix
    add("s", regex("/v[0-9]+"));                                            // 7
    add("s", [](config::Match& m) { m.path = "/v12"; });                    // 8: 7
    add("s", regex("/v[0-9]+"));                                            // 9: 7, the same text
    add("s", prefix("/v1"));                                                // 10
    add("h", header({}, {}));                                               // 11: there at all
    add("h", header("7", {}));                                              // 12: 11
    add("h", header({}, "[a-z]+"));                                         // 13: 11
    add("h", header("abc", {}, true));                                      // 14
    add("i", header({}, "[a-z]+"));                                         // 15
    add("i", header("abc", {}));                                            // 16: 15
    add("i", header("ABC", {}));                                            // 17
    add("m", [](config::Match& m) { m.methods = {"GET", "HEAD"}; });        // 18
    add("m", [](config::Match& m) { m.methods = {"HEAD"}; });               // 19: 18
    add("m", [](config::Match&) {});                                        // 20
    add("q", [](config::Match& m) { m.listeners = {"l"}; });                // 21
    add("q", [](config::Match& m) { m.query = {{"a", "1", {}, false}}; });  // 22
    add("q", [](config::Match& m) {
        m.query = {{"a", "1", {}, false}, {"b", {}, {}, false}};
        m.listeners = {"l"};
    });                               // 23: 21
    add("t", regex("/.*"));           // 24
    add("t", [](config::Match&) {});  // 25: 24
    const auto covered = covered_by(routes);
    const std::vector<std::optional<std::size_t>> wanted{{}, 0,  0,  {}, {}, 4,  {}, {}, 7,  7,  {}, {}, 11,
                                                         11, {}, {}, 15, {}, {}, 18, {}, {}, {}, 21, {}, 24};
    for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_EQ(covered[i], wanted[i]) << i;
}

TEST(Routes, OverlapOfConditions) {
    config::Match get, post, canary, stable, regex;
    get.methods = {"GET"};
    post.methods = {"POST"};
    canary.headers = {{"X-Canary", "1", {}, false}};
    stable.headers = {{"x-canary", "1", {}, true}};
    regex.path_regex = "/api/v[12]";
    EXPECT_FALSE(overlap(get, post));
    EXPECT_FALSE(overlap(canary, stable));
    EXPECT_TRUE(overlap(get, canary));
    EXPECT_TRUE(overlap(match({}, {}, "/api"), regex));
    EXPECT_FALSE(overlap(match({}, {}, "/shop"), regex));
    EXPECT_FALSE(overlap(match({}, "/api/v3", {}), regex));
    EXPECT_TRUE(overlap(match("*.x", {}, {}), match("a.b.x", {}, {})));
    EXPECT_FALSE(overlap(match("*.x", {}, {}), match("x", {}, {})));
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

TEST(CheckConfig, ExamplesAreClean) {
    for (const auto* file : {"plimsoll", "tls", "grpc", "websocket", "tcp-sni", "routing", "discovery", "auth"}) {
        const std::string path = std::string(PLIMSOLL_SOURCE_DIR "/examples/") + file + ".yaml";
        const config::Parsed parsed = config::parse(read_file(path), path);
        ASSERT_TRUE(parsed.document) << all_text(parsed.findings);
        EXPECT_TRUE(parsed.findings.empty()) << all_text(parsed.findings);
        EXPECT_TRUE(check_config(*parsed.document).empty()) << all_text(check_config(*parsed.document));
    }
}

/// Every "P4..." literal of the sources is in the table, and the table names nothing else.
TEST(RuleTable, NamesWhatTheSourcesReport) {
    std::set<std::string> reported;
    for (const auto* file : {"static_rules", "action_rules", "tls_rules", "pool_rules", "setting_rules", "access_rules",
                             "auth_rules", "judge_forecast"}) {
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
