// Each rule on a config alone, on both sides: an edit that it must report and one next to it that it must not.
#include <gtest/gtest.h>

#include "check/rule_cases.h"

namespace plimsoll::check {
namespace {

using namespace scenario;

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
        Case{"CookieShared", "P419-cookie-shared",
             [](Config& c) {
                 c.pools.push_back(pool("other", 2));
                 c.routes.insert(c.routes.begin(), route("other", "/other", "other"));
                 web(c).affinity = config::Affinity{.secret = "0123456789abcdef0123456789abcdef"};
             },
             [](Config& c) { c.pools.back().affinity = web(c).affinity; },
             [](Config& c) {
                 c.pools.back().affinity = web(c).affinity;
                 c.pools.back().affinity->cookie = "other";
             }},
        Case{"AdminOpen", "P424-admin-open", nothing, [](Config& c) { c.admin.address.host = "0.0.0.0"; },
             [](Config& c) { c.admin.address.host = "::1"; }},
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

}  // namespace
}  // namespace plimsoll::check
