#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "config/config.h"

namespace plimsoll::config {
namespace {

constexpr std::string_view minimal = R"(listeners:
  web: {address: "127.0.0.1:8080"}
routes:
  - {name: all, pool: web}
pools:
  web:
    endpoints:
      - {address: 127.0.0.1:9101}
)";

/// `minimal` with more lines at its end.
Parsed with(std::string_view more) { return parse(std::string(minimal) + std::string(more), "t.yaml"); }

std::string all_text(const Findings& findings) {
    std::string out;
    for (const auto& f : findings) out += text(f) + "\n";
    return out;
}

const Finding* find(const Findings& findings, std::string_view code, std::string_view path) {
    const auto found =
        std::ranges::find_if(findings, [&](const Finding& f) { return f.code == code && f.path == path; });
    return found == findings.end() ? nullptr : &*found;
}

std::string read_file(const std::string& path) {
    std::ifstream in(path);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
}

TEST(Parse, FillsDefaults) {
    const Parsed parsed = parse(minimal, "t.yaml");
    ASSERT_TRUE(parsed.document) << all_text(parsed.findings);
    const Config& c = parsed.document->config;
    EXPECT_EQ(c.pools[0].endpoints[0].name, "127.0.0.1:9101");
    EXPECT_EQ(c.pools[0].timeouts, Timeouts{});
    EXPECT_EQ(c.guard, Guard{});
    EXPECT_EQ(c.pools[0].health, HealthCheck{});
    EXPECT_FALSE(c.pools[0].endpoints[0].capacity);
}

TEST(Parse, ReadsEveryKindOfValue) {
    const Parsed parsed = parse(R"(
listeners:
  web:
    address: "[::1]:8080"
    idle_timeout: 1m30s
    trusted_proxies: [10.1.0.0/16, "0:0::1"]
    limits: {max_head_bytes: 32KiB, max_body_bytes: 1048576}
routes:
  - {name: api, match: {host: api.example.com, path_prefix: /api}, pool: web}
  - {name: rest, pool: web}
pools:
  web:
    policy: round_robin
    endpoints:
      - {name: a, address: 10.0.0.1:80, weight: 2.5, capacity: 300, zone: z1, labels: {version: v7, on: yes}}
    health: off
    panic_threshold: 30%
    timeouts: {connect: 250ms, per_try: 1.5s}
    retry: {attempts: 3, on: [timeout, status_5xx], budget: 10%}
guard: {steps: [1%, 0.5, 100%], soak: 2h}
access_log: "-"
notify: [{name: ops, url: "http://127.0.0.1:9/x", secret: "a: b #c"}]
workers: 4
)",
                                "t.yaml");
    ASSERT_TRUE(parsed.document) << all_text(parsed.findings);
    const Config& c = parsed.document->config;
    EXPECT_EQ(c.listeners[0].address, (Address{"::1", 8080}));
    EXPECT_EQ(c.listeners[0].idle_timeout, 90s);
    EXPECT_EQ(c.listeners[0].trusted_proxies, (std::vector<std::string>{"10.1.0.0/16", "::1/128"})) << "one form";
    EXPECT_EQ(c.listeners[0].limits.max_head_bytes, 32u * 1024);
    EXPECT_EQ(c.listeners[0].limits.max_body_bytes, 1u << 20);
    EXPECT_EQ(c.routes[0].match.host, "api.example.com");
    EXPECT_EQ(c.pools[0].policy, Policy::round_robin);
    const Endpoint& e = c.pools[0].endpoints[0];
    EXPECT_EQ(e.weight, 2.5);
    EXPECT_EQ(e.capacity, 300);
    EXPECT_EQ(e.labels.at("on"), "yes");
    EXPECT_FALSE(c.pools[0].health);
    EXPECT_DOUBLE_EQ(c.pools[0].panic_threshold, 0.3);
    EXPECT_EQ(c.pools[0].timeouts.per_try, 1500ms);
    EXPECT_EQ(c.pools[0].retry.on, (std::vector<std::string>{"timeout", "status_5xx"}));
    EXPECT_EQ(c.guard.steps, (std::vector<double>{0.01, 0.5, 1}));
    EXPECT_EQ(c.guard.soak, 2h);
    EXPECT_EQ(c.notify[0].secret, "a: b #c");
    EXPECT_EQ(c.workers, 4u);
}

TEST(Parse, PlacesAreKept) {
    const Parsed parsed = parse(minimal, "t.yaml");
    ASSERT_TRUE(parsed.document);
    const Sources& s = parsed.document->sources;
    EXPECT_EQ(s.where("pools.web.endpoints[0].address"), (Where{"t.yaml", 8, 10}));
    EXPECT_EQ(s.where("pools.web.endpoints[0].weight"), (Where{"t.yaml", 8, 9})) << "the nearest written parent";
    EXPECT_TRUE(s.written("routes[0].pool"));
    EXPECT_FALSE(s.written("pools.web.policy"));
    EXPECT_EQ(s.where("workers"), (Where{"t.yaml", 0, 0}));
}

struct Bad {
    std::string_view name, yaml, code, path, says;
    int line;
};
class ParseRefuses : public testing::TestWithParam<Bad> {};

TEST_P(ParseRefuses, WithPlaceAndRemedy) {
    const Bad& bad = GetParam();
    const Parsed parsed = parse(bad.yaml, "t.yaml");
    EXPECT_FALSE(parsed.document);
    const Finding* finding = find(parsed.findings, bad.code, bad.path);
    ASSERT_NE(finding, nullptr) << all_text(parsed.findings);
    EXPECT_NE(text(*finding).find(bad.says), std::string::npos) << text(*finding);
    EXPECT_EQ(finding->where.line, bad.line) << text(*finding);
}

#define HEAD "listeners: {web: {address: 127.0.0.1:8080}}\nroutes: [{name: all, pool: web}]\n"
#define POOL "pools: {web: {endpoints: [{address: 127.0.0.1:9101}]}}\n"
#define ROUTE "routes: ["
#define POOL_WITH "pools: {web: {endpoints: [{address: 127.0.0.1:9101}], "
INSTANTIATE_TEST_SUITE_P(
    Each, ParseRefuses,
    testing::Values(
        Bad{"UnknownKey", HEAD POOL "gaurd: {}\n", "P104-unknown-key", "gaurd", "did you mean \"guard\"", 4},
        Bad{"UnknownNested", HEAD "pools: {web: {endpoints: [{address: 127.0.0.1:1, wieght: 3}]}}\n",
            "P104-unknown-key", "pools.web.endpoints[0].wieght", "did you mean \"weight\"", 3},
        Bad{"DuplicateKey", HEAD POOL "workers: 1\nworkers: 2\n", "P103-duplicate-key", "", "first is on line 4", 5},
        Bad{"DuplicatePool", HEAD "pools:\n  web: {endpoints: [{address: 127.0.0.1:1}]}\n  web: {}\n",
            "P103-duplicate-key", "", "\"web\"", 5},
        Bad{"Missing", HEAD "pools: {web: {endpoints: [{weight: 1}]}}\n", "P105-missing-key",
            "pools.web.endpoints[0].address", "\"address\" is missing", 3},
        Bad{"MissingSection", HEAD, "P105-missing-key", "pools", "missing", 1},
        Bad{"BareDuration", HEAD POOL "guard: {soak: 5}\n", "P106-wrong-type", "guard.soak",
            "expected a duration like \"2s\", \"500ms\" or \"10m\"; found the number 5 (add a unit: \"5s\"", 4},
        Bad{"ListForText", HEAD POOL "access_log: [a]\n", "P106-wrong-type", "access_log",
            "expected text; found a list", 4},
        Bad{"NullSection", HEAD POOL "guard:\n", "P106-wrong-type", "guard", "found nothing", 4},
        Bad{"PoolsAsList", HEAD "pools: [{name: web}]\n", "P106-wrong-type", "pools", "expected a map of names", 3},
        Bad{"YesForTrue", "listeners: {w: {address: 127.0.0.1:1, http2: yes}}\n", "P106-wrong-type",
            "listeners.w.http2", "expected true or false; found the text \"yes\"", 1},
        Bad{"NegativeWeight", HEAD "pools: {web: {endpoints: [{address: 127.0.0.1:1, weight: -1}]}}\n",
            "P107-out-of-range", "pools.web.endpoints[0].weight", "-1 is out of range", 3},
        Bad{"NanWeight", HEAD "pools: {web: {endpoints: [{address: 127.0.0.1:1, weight: nan}]}}\n", "P106-wrong-type",
            "pools.web.endpoints[0].weight", "expected a number", 3},
        Bad{"NegativeCount", HEAD POOL "workers: -1\n", "P107-out-of-range", "workers", "from 0 to 256", 4},
        Bad{"FractionAbove", HEAD POOL "guard: {utilisation_cap: 120%}\n", "P107-out-of-range", "guard.utilisation_cap",
            "from 1% to 100%", 4},
        Bad{"Policy", HEAD "pools: {web: {policy: roundrobin, endpoints: [{address: 127.0.0.1:1}]}}\n",
            "P108-bad-value", "pools.web.policy", "did you mean \"round_robin\"", 3},
        Bad{"Address", "listeners: {web: {address: localhost:80}}\n", "P108-bad-value", "listeners.web.address",
            "not a literal address", 1},
        Bad{"PeerPortZero", HEAD "pools: {web: {endpoints: [{address: 127.0.0.1:0}]}}\n", "P108-bad-value",
            "pools.web.endpoints[0].address", "port 0", 3},
        Bad{"HostWithPort", "routes: [{name: a, match: {host: \"x:80\"}, pool: web}]\n" POOL, "P108-bad-value",
            "routes[0].match.host", "without its port", 1},
        Bad{"Https", HEAD POOL "notify: [{name: a, url: \"https://x\"}]\n", "P108-bad-value", "notify[0].url",
            "begins with http://", 4},
        Bad{"DuplicateRoute",
            "listeners: {web: {address: 127.0.0.1:1}}\nroutes:\n  - {name: a, pool: web}\n"
            "  - {name: a, pool: web}\n" POOL,
            "P201-duplicate-name", "routes[1].name", "a second route", 4},
        Bad{"DuplicateEndpoint",
            HEAD "pools: {web: {endpoints: [{address: 127.0.0.1:1}, {name: b, address: 127.0.0.1:1}]}}\n",
            "P202-duplicate-address", "pools.web.endpoints[1].address", "endpoints[0]", 3},
        Bad{"DuplicateListener", "listeners:\n  a: {address: 127.0.0.1:1}\n  b: {address: 127.0.0.1:1}\n" POOL,
            "P202-duplicate-address", "listeners.b.address", "belongs to listener a", 3},
        Bad{"ListenerOnAdmin", "listeners:\n  a: {address: 127.0.0.1:9900}\n" POOL, "P202-duplicate-address",
            "listeners.a.address", "admin", 2},
        Bad{"Dangling", "routes: [{name: a, pool: wbe}]\n" POOL, "P203-dangling-reference", "routes[0].pool",
            "did you mean \"web\"", 1},
        Bad{"NoRoutes", "listeners: {web: {address: 127.0.0.1:1}}\nroutes: []\n" POOL, "P204-empty", "routes",
            "no routes", 2},
        Bad{"NoEndpoints", HEAD "pools: {web: {endpoints: []}}\n", "P204-empty", "pools.web.endpoints", "without", 3},
        Bad{"EmptyFile", "# nothing\n", "P204-empty", "", "says nothing", 0},
        Bad{"WeightsZero", HEAD "pools: {web: {endpoints: [{address: 127.0.0.1:1, weight: 0}]}}\n",
            "P205-all-weights-zero", "pools.web.endpoints", "weight 0", 3},
        Bad{"StepsDown", HEAD POOL "guard: {steps: [5%, 1%, 100%]}\n", "P206-steps", "guard.steps[1]",
            "1% does not follow 5%", 4},
        Bad{"StepsShort", HEAD POOL "guard: {steps: [5%]}\n", "P206-steps", "guard.steps", "end with 100%", 4},
        Bad{"BothPaths", "routes: [{name: a, match: {path: /a, path_prefix: /b}, pool: web}]\n" POOL, "P207-match",
            "routes[0].match", "at once", 1},
        Bad{"Loop", "listeners: {web: {address: 127.0.0.1:1}}\npools: {web: {endpoints: [{address: 127.0.0.1:1}]}}\n",
            "P208-loop", "pools.web.endpoints[0].address", "our own listener", 2},
        Bad{"LoopByWildcard",
            "listeners: {web: {address: 0.0.0.0:1}}\npools: {web: {endpoints: [{address: 127.0.0.1:1}]}}\n",
            "P208-loop", "pools.web.endpoints[0].address", "our own listener", 2},
        // One action for a route, and nothing it cannot have.
        Bad{"NoAction", ROUTE "{name: a}]\n" POOL, "P210-action", "routes[0]", "one of pool, split, redirect", 1},
        Bad{"TwoActions", ROUTE "{name: a, pool: web, respond: {status: 200}}]\n" POOL, "P210-action", "routes[0]",
            "pool, respond at once", 1},
        Bad{"RewriteOfRedirect", ROUTE "{name: a, redirect: {scheme: https}, rewrite: {path: /x}}]\n" POOL,
            "P210-action", "routes[0].rewrite", "needs a pool", 1},
        Bad{"ConnectWithoutPool", ROUTE "{name: a, respond: {}, connect: true}]\n" POOL, "P210-action",
            "routes[0].connect", "needs a pool", 1},
        Bad{"BodyOf204", ROUTE "{name: a, respond: {status: 204, body: x}}]\n" POOL, "P210-action",
            "routes[0].respond.body", "204 has no body", 1},
        Bad{"SplitDangling", ROUTE "{name: a, split: [{pool: web}, {pool: wbe}]}]\n" POOL, "P203-dangling-reference",
            "routes[0].split[1].pool", "did you mean \"web\"", 1},
        Bad{"SplitZero", ROUTE "{name: a, split: [{pool: web, weight: 0}]}]\n" POOL, "P205-all-weights-zero",
            "routes[0].split", "weight 0", 1},
        Bad{"SplitTwice", ROUTE "{name: a, split: [{pool: web}, {pool: web}]}]\n" POOL, "P201-duplicate-name",
            "routes[0].split[1].pool", "already", 1},
        Bad{"SplitNegative", ROUTE "{name: a, split: [{pool: web, weight: -200}]}]\n" POOL, "P107-out-of-range",
            "routes[0].split[0].weight", "out of range", 1},
        Bad{"MirrorDangling", ROUTE "{name: a, pool: web, mirror: {pool: shadow}}]\n" POOL, "P203-dangling-reference",
            "routes[0].mirror.pool", "no pool \"shadow\"", 1},
        Bad{"AuthDangling", ROUTE "{name: a, pool: web, auth: {pool: gate}}]\n" POOL, "P203-dangling-reference",
            "routes[0].auth.pool", "no pool \"gate\"", 1},
        Bad{"AuthWithoutPool", ROUTE "{name: a, pool: web, auth: {path: /verify}}]\n" POOL, "P105-missing-key",
            "routes[0].auth.pool", "", 1},
        Bad{"AuthHopByHop",
            ROUTE "{name: a, pool: web, auth: {pool: web, upstream_headers: [X-User, Connection]}}]\n" POOL,
            "P212-header", "routes[0].auth.upstream_headers[1]", "cannot be taken over", 1},
        Bad{"AuthFraming", ROUTE "{name: a, pool: web, auth: {pool: web, client_headers: [content-length]}}]\n" POOL,
            "P212-header", "routes[0].auth.client_headers[0]", "cannot be taken over", 1},
        Bad{"AuthHost", ROUTE "{name: a, pool: web, auth: {pool: web, request_headers: [Host]}}]\n" POOL, "P212-header",
            "routes[0].auth.request_headers[0]", "auth.host", 1},
        Bad{"AuthPath", ROUTE "{name: a, pool: web, auth: {pool: web, path: verify}}]\n" POOL, "P108-bad-value",
            "routes[0].auth.path", "begins with '/'", 1},
        Bad{"AuthTimeout", ROUTE "{name: a, pool: web, auth: {pool: web, timeout: 0s}}]\n" POOL, "P107-out-of-range",
            "routes[0].auth.timeout", "out of range", 1},
        Bad{"AuthOnFailure", ROUTE "{name: a, pool: web, auth: {pool: web, on_failure: maybe}}]\n" POOL,
            "P108-bad-value", "routes[0].auth.on_failure", "deny", 1},
        Bad{"ListenerDangling",
            "listeners: {web: {address: 127.0.0.1:1}}\nroutes: [{name: a, match: {listeners: "
            "[wbe]}, pool: web}]\n" POOL,
            "P203-dangling-reference", "routes[0].match.listeners[0]", "did you mean \"web\"", 2},
        Bad{"RegexAndExact", ROUTE "{name: a, match: {headers: [{name: x, exact: a, regex: b}]}, pool: web}]\n" POOL,
            "P207-match", "routes[0].match.headers[0]", "both", 1},
        Bad{"HeaderName", ROUTE "{name: a, match: {headers: [{name: \"x y\"}]}, pool: web}]\n" POOL, "P207-match",
            "routes[0].match.headers[0].name", "cannot name a header", 1},
        Bad{"MethodCase", ROUTE "{name: a, match: {methods: [get]}, pool: web}]\n" POOL, "P207-match",
            "routes[0].match.methods[0]", "written GET", 1},
        Bad{"BadRegex", ROUTE "{name: a, match: {path_regex: \"/(a\"}, pool: web}]\n" POOL, "P108-bad-value",
            "routes[0].match.path_regex", "RE2 says: missing )", 1},
        Bad{"BackReference", ROUTE "{name: a, match: {path_regex: '(a)\\1'}, pool: web}]\n" POOL, "P108-bad-value",
            "routes[0].match.path_regex", "RE2 says: invalid escape sequence", 1},
        Bad{"LargeRegex", ROUTE "{name: a, match: {path_regex: '((a{100}){100}){100}'}, pool: web}]\n" POOL,
            "P108-bad-value", "routes[0].match.path_regex", "", 1},
        Bad{"TooLargeRegex", ROUTE "{name: a, match: {path_regex: '\\pL{900}'}, pool: web}]\n" POOL, "P108-bad-value",
            "routes[0].match.path_regex", "too large when compiled", 1},
        Bad{"WildcardInside", ROUTE "{name: a, match: {host: \"a.*.com\"}, pool: web}]\n" POOL, "P108-bad-value",
            "routes[0].match.host", "*.example.com", 1},
        Bad{"WildcardAlone", ROUTE "{name: a, match: {host: \"*\"}, pool: web}]\n" POOL, "P108-bad-value",
            "routes[0].match.host", "leave it out", 1},
        // Rewrites and redirects.
        Bad{"RewriteTwice", ROUTE "{name: a, pool: web, rewrite: {path: /a, regex: b}}]\n" POOL, "P211-rewrite",
            "routes[0].rewrite", "more than one", 1},
        Bad{"RewritePrefixOfNothing",
            ROUTE "{name: a, match: {path: /x}, pool: web, rewrite: {path_prefix: /b}}]\n" POOL, "P211-rewrite",
            "routes[0].rewrite.path_prefix", "match.path_prefix", 1},
        Bad{"SubstitutionGroup", ROUTE "{name: a, pool: web, rewrite: {regex: b, substitution: '\\1'}}]\n" POOL,
            "P211-rewrite", "routes[0].rewrite.substitution", "RE2 says", 1},
        Bad{"SubstitutionAlone", ROUTE "{name: a, pool: web, rewrite: {substitution: x}}]\n" POOL, "P211-rewrite",
            "routes[0].rewrite.substitution", "no regex", 1},
        Bad{"RewriteRelative", ROUTE "{name: a, pool: web, rewrite: {path: x}}]\n" POOL, "P108-bad-value",
            "routes[0].rewrite.path", "begins with '/'", 1},
        Bad{"RedirectStatus", ROUTE "{name: a, redirect: {status: 304, host: b}}]\n" POOL, "P211-rewrite",
            "routes[0].redirect.status", "301, 302, 303, 307 or 308", 1},
        Bad{"RedirectScheme", ROUTE "{name: a, redirect: {scheme: ftp}}]\n" POOL, "P211-rewrite",
            "routes[0].redirect.scheme", "http or https", 1},
        Bad{"RedirectHostSplits", ROUTE "{name: a, redirect: {host: \"b\\r\\nSet-Cookie: x\"}}]\n" POOL,
            "P108-bad-value", "routes[0].redirect.host", "host", 1},
        // Headers.
        Bad{"FramingHeader", ROUTE "{name: a, pool: web, request_headers: {set: {Transfer-Encoding: chunked}}}]\n" POOL,
            "P212-header", "routes[0].request_headers.set.Transfer-Encoding", "frames the message", 1},
        Bad{"HeaderSplits", ROUTE "{name: a, pool: web, response_headers: {add: {X: \"a\\r\\nb\"}}}]\n" POOL,
            "P108-bad-value", "routes[0].response_headers.add.X", "one line", 1},
        Bad{"HeaderKey", ROUTE "{name: a, pool: web, request_headers: {set: {\"a b\": c}}}]\n" POOL, "P108-bad-value",
            "routes[0].request_headers.set", "256 letters", 1},
        Bad{"HeaderCase", ROUTE "{name: a, pool: web, request_headers: {set: {X-A: 1, x-a: 2}}}]\n" POOL,
            "P103-duplicate-key", "routes[0].request_headers.set.x-a", "case does not count", 1},
        Bad{"PagesTwice",
            ROUTE "{name: a, pool: web, error_pages: [{status: 503, body: a}, {status: 503, body: b}]}]\n" POOL,
            "P201-duplicate-name", "routes[0].error_pages[1].status", "second page for 503", 1},
        Bad{"RateWithoutHeader", ROUTE "{name: a, pool: web, rate_limits: [{by: header}]}]\n" POOL, "P215-rate-limit",
            "routes[0].rate_limits[0].by", "which header", 1},
        Bad{"RatesTooMany",
            ROUTE
            "{name: a, pool: web, rate_limits: [{rate: 1}, {rate: 2}, {rate: 3}, {rate: 4}, {rate: 5}, {rate: 6}, "
            "{rate: 7}, {rate: 8}, {rate: 9}, {rate: 10}, {rate: 11}, {rate: 12}, {rate: 13}, {rate: 14}, "
            "{rate: 15}, {rate: 16}, {rate: 17}]}]\n" POOL,
            "P215-rate-limit", "routes[0].rate_limits[16]", "17 rate limits; a route has at most 16", 1},
        Bad{"RateWithHeader", ROUTE "{name: a, pool: web, rate_limits: [{header: X}]}]\n" POOL, "P215-rate-limit",
            "routes[0].rate_limits[0].header", "by: header", 1},
        Bad{"Upgrade", ROUTE "{name: a, pool: web, upgrades: [websockets]}]\n" POOL, "P220-upgrade",
            "routes[0].upgrades[0]", "did you mean \"websocket\"", 1},
        // Listeners.
        Bad{"NoHttpRoutes", "listeners: {web: {address: 127.0.0.1:8080}}\n" POOL, "P105-missing-key", "routes",
            "http listeners go by routes", 0},
        Bad{"TcpWithTls",
            "listeners: {web: {address: 127.0.0.1:1, protocol: tcp, tcp: [{pool: web}], tls: "
            "{certificates: [a]}}}\n" POOL,
            "P213-tls", "listeners.web.tls", "passes TLS on", 1},
        Bad{"TcpNobody", "listeners: {web: {address: 127.0.0.1:1, protocol: tcp}}\n" POOL, "P214-protocol",
            "listeners.web.protocol", "to nobody", 1},
        Bad{"TcpDangling", "listeners: {web: {address: 127.0.0.1:1, protocol: tcp, tcp: [{pool: wbe}]}}\n" POOL,
            "P203-dangling-reference", "listeners.web.tcp[0].pool", "did you mean \"web\"", 1},
        Bad{"TcpTwice",
            "listeners: {web: {address: 127.0.0.1:1, protocol: tcp, tcp: [{pool: web}, {pool: web}]}}\n" POOL,
            "P201-duplicate-name", "listeners.web.tcp[1]", "every connection", 1},
        Bad{"HttpWithTcp", "listeners: {web: {address: 127.0.0.1:1, tcp: [{pool: web}]}}\n" POOL, "P214-protocol",
            "listeners.web.tcp", "goes by `routes`", 1},
        Bad{"RouteOnTcp",
            "listeners: {raw: {address: 127.0.0.1:1, protocol: tcp, tcp: [{pool: web}]}}\nroutes: [{name: "
            "a, match: {listeners: [raw]}, pool: web}]\n" POOL,
            "P214-protocol", "routes[0].match.listeners[0]", "tcp listener", 2},
        Bad{"CertificateDangling",
            "certificates: {main: {chain: a, key: b}}\nlisteners: {web: {address: 127.0.0.1:1, tls: "
            "{certificates: [mian]}}}\n" POOL,
            "P203-dangling-reference", "listeners.web.tls.certificates[0]", "did you mean \"main\"", 2},
        Bad{"CertificateTwice", "certificates:\n  a: {chain: a, key: b}\n  a: {chain: a, key: b}\n" HEAD POOL,
            "P103-duplicate-key", "", "\"a\"", 3},
        Bad{"TlsWithoutCertificate", "listeners: {web: {address: 127.0.0.1:1, tls: {certificates: []}}}\n" POOL,
            "P213-tls", "listeners.web.tls.certificates", "without a certificate", 1},
        Bad{"ClientAuthWithoutCa",
            "certificates: {m: {chain: a, key: b}}\nlisteners: {web: {address: 127.0.0.1:1, tls: "
            "{certificates: [m], client_auth: required}}}\n" POOL,
            "P213-tls", "listeners.web.tls.client_auth", "client_ca", 2},
        Bad{"ClientCaWithoutAuth",
            "certificates: {m: {chain: a, key: b}}\nlisteners: {web: {address: 127.0.0.1:1, tls: "
            "{certificates: [m], client_ca: x}}}\n" POOL,
            "P213-tls", "listeners.web.tls.client_ca", "not asked", 2},
        Bad{"NetworkBits", "listeners: {web: {address: 127.0.0.1:1, trusted_proxies: [10.0.0.1/8]}}\n" POOL,
            "P108-bad-value", "listeners.web.trusted_proxies[0]", "that network is 10.0.0.0/8", 1},
        Bad{"NetworkName", "listeners: {web: {address: 127.0.0.1:1, proxy_protocol_from: [localhost]}}\n" POOL,
            "P108-bad-value", "listeners.web.proxy_protocol_from[0]", "not a network", 1},
        // Pools.
        Bad{"NobodyAtAll", HEAD "pools: {web: {policy: random}}\n", "P204-empty", "pools.web", "discovery", 3},
        Bad{"DeadlineInHost", HEAD POOL_WITH "timeouts: {deadline_header: Host}}}\n", "P212-header",
            "pools.web.timeouts.deadline_header", "a name of its own", 3},
        Bad{"HashWithoutName", HEAD POOL_WITH "hash: {by: cookie}}}\n", "P216-hash", "pools.web.hash.by",
            "which cookie", 3},
        Bad{"HashWithName", HEAD POOL_WITH "hash: {name: x}}}\n", "P216-hash", "pools.web.hash.name", "only headers",
            3},
        Bad{"BoundedLoad", HEAD POOL_WITH "hash: {bounded_load: 0.5}}}\n", "P216-hash", "pools.web.hash.bounded_load",
            "above 1", 3},
        Bad{"AdaptiveOrder", HEAD POOL_WITH "adaptive: {min: 20, max: 10}}}\n", "P209-order", "pools.web.adaptive.max",
            "below min", 3},
        Bad{"ShortSecret", HEAD POOL_WITH "affinity: {secret: hunter2}}}\n", "P217-secret", "pools.web.affinity.secret",
            "7 characters can be guessed", 3},
        Bad{"ShownSecret", HEAD POOL_WITH "affinity: {secret: (set)}}}\n", "P108-bad-value",
            "pools.web.affinity.secret", "how a secret is shown", 3},
        Bad{"DnsWithoutName", HEAD "pools: {web: {discovery: {type: dns}}}\n", "P218-discovery",
            "pools.web.discovery.type", "name: example", 3},
        Bad{"FileWithoutFile", HEAD "pools: {web: {discovery: {type: file, name: x}}}\n", "P218-discovery",
            "pools.web.discovery.name", "reads no DNS", 3},
        Bad{"GrpcHealthOverHttp1", HEAD POOL_WITH "health: {type: grpc}}}\n", "P219-health", "pools.web.health.type",
            "protocol: http2", 3},
        Bad{"ServiceOfHttp", HEAD POOL_WITH "health: {service: x}}}\n", "P219-health", "pools.web.health.service",
            "only gRPC", 3},
        Bad{"PoolCertificate", HEAD POOL_WITH "tls: {certificate: x}}}\n", "P203-dangling-reference",
            "pools.web.tls.certificate", "no certificate", 3},
        Bad{"Syntax", "listeners: {web: [\n", "P101-syntax", "", "not YAML", 2},
        Bad{"TwoDocuments", HEAD POOL "---\na: 1\n", "P101-syntax", "", "second document", 5},
        Bad{"SelfAlias", "a: &a [*a]\n", "P109-alias", "", "inside the value", 1},
        Bad{"ListAsKey", "? [a]\n: b\n", "P106-wrong-type", "", "cannot be a key", 1}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

TEST(Parse, ReportsEverythingAtOnceInFileOrder) {
    const Parsed parsed = parse("listners: {}\nroutes: [{name: a, pool: nope, weigth: 2}]\nworkers: many\n", "t.yaml");
    EXPECT_GE(parsed.findings.size(), 5u) << all_text(parsed.findings);
    EXPECT_TRUE(std::ranges::is_sorted(parsed.findings, {}, [](const Finding& f) { return f.where.line; }));
}

// What users of other load balancers complain about, by number in docs/complaints.md.
TEST(Complaint01, OneBadObjectRefusesAllWithEveryFinding) {
    const Parsed parsed = parse(R"(listeners:
  web: {address: "127.0.0.1:8080"}
routes:
  - {name: good, match: {host: good.example}, pool: web}
  - {name: typo, match: {host: ""}, pool: web}
  - {name: dangling, pool: wbe}
pools:
  web: {endpoints: [{address: "127.0.0.1:http"}]}
  other: {endpoints: [{address: 127.0.0.1:9102}], policy: leest_request}
)",
                                "t.yaml");
    EXPECT_FALSE(parsed.document) << "all or nothing";
    EXPECT_NE(find(parsed.findings, "P108-bad-value", "routes[1].match.host"), nullptr) << all_text(parsed.findings);
    EXPECT_NE(find(parsed.findings, "P203-dangling-reference", "routes[2].pool"), nullptr);
    EXPECT_NE(find(parsed.findings, "P108-bad-value", "pools.web.endpoints[0].address"), nullptr);
    EXPECT_NE(find(parsed.findings, "P108-bad-value", "pools.other.policy"), nullptr);
    EXPECT_EQ(parsed.findings.size(), 4u) << "and nothing is said of what is right: " << all_text(parsed.findings);
}

TEST(Complaint04, WeightsNeedNotAddUpToAnything) {
    for (const auto* weights : {"1, 2", "333, 334", "0.5, 99.5", "7, 0"}) {
        const std::string w(weights);
        const auto comma = w.find(',');
        const Parsed parsed = parse(
            "listeners: {web: {address: 127.0.0.1:8080}}\nroutes:\n  - name: a\n    split: [{pool: x, weight: " +
                w.substr(0, comma) + "}, {pool: y, weight: " + w.substr(comma + 1) +
                "}]\npools:\n  x: {endpoints: [{address: 127.0.0.1:1}]}\n  y: {endpoints: [{address: 127.0.0.1:2}]}\n",
            "t.yaml");
        EXPECT_TRUE(parsed.document && parsed.findings.empty()) << weights << all_text(parsed.findings);
    }
}

TEST(Complaint03, WhatIsAcceptedIsAcceptedAfterARestart) {
    const Parsed parsed = with("workers: 2\nerror_pages: [{status: 503, body: \"<p>sorry\\n\"}]\n");
    ASSERT_TRUE(parsed.document) << all_text(parsed.findings);
    const Parsed again = parse(print(parsed.document->config), "stored.yaml");
    ASSERT_TRUE(again.document) << all_text(again.findings);
    EXPECT_EQ(again.document->config, parsed.document->config);
}

TEST(Parse, TcpNeedsNoRoutes) {
    const Parsed parsed = parse(
        "listeners: {raw: {address: 127.0.0.1:1, protocol: tcp, tcp: [{sni: \"*.a.example\", pool: web}, {pool: "
        "web}]}}\n" POOL,
        "t.yaml");
    EXPECT_TRUE(parsed.document) << all_text(parsed.findings);
}

TEST(Parse, LongTextsByAliasesAreBounded) {
    std::string bomb =
        "x-b: &b \"" + std::string(60'000, 'b') + "\"\nlisteners: {web: {address: 127.0.0.1:8080}}\nroutes:\n";
    for (int i = 0; i < 1000; ++i) bomb += "  - {name: r" + std::to_string(i) + ", respond: {body: *b}}\n";
    const Parsed parsed = parse(bomb + POOL, "t.yaml");
    EXPECT_FALSE(parsed.document);
    EXPECT_TRUE(std::ranges::any_of(parsed.findings, [](const Finding& f) { return f.code == "P102-too-large"; }));
}

TEST(Parse, BodiesAreBounded) {
    const auto page = [](std::size_t bytes) {
        return with("error_pages: [{status: 503, body: \"" + std::string(bytes, 'x') + "\"}]\n").document.has_value();
    };
    EXPECT_TRUE(page(65'536));
    EXPECT_FALSE(page(65'537));
}

TEST(Parse, AliasesAndMergesAreRead) {
    const Parsed parsed = parse(R"(
x-slow: &slow {per_try: 20s, total: 40s}
listeners: {web: {address: 127.0.0.1:8080}}
routes: [{name: all, pool: web}]
pools:
  web:
    endpoints: [{address: 127.0.0.1:9101}]
    timeouts: {<<: *slow, total: 50s}
)",
                                "t.yaml");
    ASSERT_TRUE(parsed.document) << all_text(parsed.findings);
    EXPECT_EQ(parsed.document->config.pools[0].timeouts.per_try, 20s);
    EXPECT_EQ(parsed.document->config.pools[0].timeouts.total, 50s) << "what is written wins over what is merged";
    EXPECT_EQ(parsed.document->sources.where("pools.web.timeouts.per_try").line, 2);
}

TEST(Parse, AliasBombIsRefused) {
    std::string bomb = "x-e: &e [{address: 127.0.0.1:1}";
    for (int i = 0; i < 2000; ++i) bomb += ", {address: 127.0.0.1:1}";
    bomb += "]\nlisteners: {web: {address: 127.0.0.1:8080}}\nroutes: [{name: all, pool: p0}]\npools:\n";
    for (int i = 0; i < 2000; ++i) bomb += "  p" + std::to_string(i) + ": {endpoints: *e}\n";
    const Parsed parsed = parse(bomb, "t.yaml");
    EXPECT_FALSE(parsed.document);
    EXPECT_TRUE(std::ranges::any_of(parsed.findings, [](const Finding& f) { return f.code == "P102-too-large"; }));
    EXPECT_LE(parsed.findings.size(), 1001u);
}

TEST(Parse, DepthAndSizeAreBounded) {
    const Parsed deep = parse("a: " + std::string(100, '[') + std::string(100, ']'), "t.yaml");
    ASSERT_FALSE(deep.findings.empty());
    EXPECT_EQ(deep.findings[0].code, "P102-too-large");
    const Parsed big = parse(std::string((16u << 20) + 1, '#'), "t.yaml");
    ASSERT_EQ(big.findings.size(), 1u);
    EXPECT_EQ(big.findings[0].code, "P102-too-large");
}

TEST(Parse, FindingsAreBounded) {
    std::string many;
    for (int i = 0; i < 5000; ++i) many += "k" + std::to_string(i) + ": 1\n";
    EXPECT_LE(parse(many, "t.yaml").findings.size(), 1001u);
}

TEST(Parse, ExampleIsCleanAndIsWhatItSays) {
    const std::string path = PLIMSOLL_SOURCE_DIR "/examples/plimsoll.yaml";
    const Parsed parsed = parse(read_file(path), path);
    ASSERT_TRUE(parsed.document) << all_text(parsed.findings);
    EXPECT_TRUE(parsed.findings.empty()) << all_text(parsed.findings);
    const Config& c = parsed.document->config;
    EXPECT_EQ(text(c.listeners[0].address), "127.0.0.1:8080");
    ASSERT_EQ(c.pools[0].endpoints.size(), 8u);
    for (std::size_t i = 0; i < 8; ++i) {
        EXPECT_EQ(c.pools[0].endpoints[i].name, "b" + std::to_string(i));
        EXPECT_EQ(c.pools[0].endpoints[i].address.port, 9101 + i);
        EXPECT_EQ(c.pools[0].endpoints[i].capacity, 200);
    }
    EXPECT_EQ(c.admin.address.port, 9900);
}

TEST(Parse, EmptyAddressOfMinimalCanBeExtended) { EXPECT_TRUE(with("workers: 2\n").document); }

TEST(Network, HasOneForm) {
    EXPECT_EQ(*parse_network("10.0.0.0/8"), "10.0.0.0/8");
    EXPECT_EQ(*parse_network("10.1.2.3"), "10.1.2.3/32");
    EXPECT_EQ(*parse_network("0.0.0.0/0"), "0.0.0.0/0");
    EXPECT_EQ(*parse_network("2001:DB8:0:0::/32"), "2001:db8::/32");
    EXPECT_EQ(*parse_network("::1"), "::1/128");
    for (const auto* bad : {"", "/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0/8", "10.0.0.0/-1", "fe80::1/64"}) {
        EXPECT_FALSE(parse_network(bad)) << bad;
    }
}

TEST(Address, RoundTripsAndKeepsOneForm) {
    EXPECT_EQ(text(*parse_address("127.0.0.1:80")), "127.0.0.1:80");
    EXPECT_EQ(text(*parse_address("[0:0::1]:80")), "[::1]:80");
    for (const auto* bad :
         {"", ":", "1.2.3.4", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:65536", "::1:80", "1.2.3:80", "a:1"}) {
        EXPECT_FALSE(parse_address(bad)) << bad;
    }
}

}  // namespace
}  // namespace plimsoll::config
