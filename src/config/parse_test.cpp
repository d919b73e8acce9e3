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
