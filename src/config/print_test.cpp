// print, digest, diff, schema and reference page.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "config/config.h"
#include "config/schema.h"
#include "config/units.h"

namespace plimsoll::config {
namespace {

// ---- generators: any config that parse would accept ----------------------------------------------------------------

template <class T>
T from(std::vector<T> choices) {
    return *rc::gen::elementOf(std::move(choices));
}
Duration any_duration() {
    return from<Duration>({1ms, 1500us, 500ms, 1s, 90s, 10min, 1h, 1234567us}) * *rc::gen::inRange(1, 3);
}
double any_fraction() { return static_cast<double>(*rc::gen::inRange(1, 1000)) / 1000.0; }
std::uint32_t any_count(int max) { return static_cast<std::uint32_t>(*rc::gen::inRange(1, max)); }
std::string any_text() {
    return from<std::string>({"",          "a",   "null", "~",     "yes",    "1.5",  "a: b", "# no", "'q'", "\"dq\"",
                              "tab\tnl\n", "\\",  "-",    "- x",   "{a}",    "[b]",  "&a",   "*b",   "!t",  "%x",
                              "@y",        "`z`", "ü€𝄞",  " lead", "trail ", "a:",   ":",    "|",    ">",   "...",
                              "---",       "=",   "<<",   "0x1F",  "1_000",  "\x01", "\x7f", "a,b",  "?"});
}

Endpoint any_endpoint(int i) {
    Endpoint e;
    e.address = {from<std::string>({"127.0.0.1", "10.1.2.3", "::1", "2001:db8::7"}),
                 static_cast<std::uint16_t>(9000 + i)};
    e.name = *rc::gen::arbitrary<bool>() ? text(e.address) : "b" + std::to_string(i);
    e.weight = i == 0 ? 1 : static_cast<double>(*rc::gen::inRange(0, 400)) / 8;
    if (*rc::gen::arbitrary<bool>()) e.capacity = static_cast<double>(*rc::gen::inRange(1, 10'000)) / 3;
    e.zone = any_text();
    if (*rc::gen::arbitrary<bool>()) e.labels = {{"version", any_text()}, {"a.b/c", any_text()}};
    return e;
}

Pool any_pool(int i) {
    Pool p;
    p.name = "pool_" + std::to_string(i);
    p.policy = from<Policy>({Policy::round_robin, Policy::least_request});
    const int n = *rc::gen::inRange(1, 5);
    for (int k = 0; k < n; ++k) p.endpoints.push_back(any_endpoint(k));
    p.health.reset();
    if (*rc::gen::arbitrary<bool>()) {
        p.health = HealthCheck{"/h", 2s, any_duration() % 3600s + 1ms, any_count(9), any_count(9), 204};
    }
    p.panic_threshold = any_fraction();
    p.timeouts = {any_duration() % 60s + 1ms, 2s, 3s, 4s};
    p.retry = {any_count(5), from<std::vector<std::string>>({{}, {"reset"}, {"timeout", "status_5xx"}}), any_fraction(),
               any_fraction(), *rc::gen::arbitrary<bool>()};
    p.ejection = {*rc::gen::arbitrary<bool>(), any_count(50), 3s, any_fraction()};
    p.limits = {any_count(1000), any_count(1000), any_duration() % 3600s + 1ms};
    return p;
}

Config any_config() {
    Config c;
    for (int i = 0, n = *rc::gen::inRange(1, 3); i < n; ++i) {
        Listener l;
        l.name = "l" + std::to_string(i);
        l.address = {from<std::string>({"0.0.0.0", "::"}), static_cast<std::uint16_t>(8000 + i)};
        l.idle_timeout = any_duration();
        l.trust_forwarded = *rc::gen::arbitrary<bool>();
        l.limits.max_head_bytes = 256 * any_count(100);
        l.limits.max_body_bytes = *rc::gen::inRange<std::uint64_t>(0, 1ull << 45);
        c.listeners.push_back(l);
    }
    for (int i = 0, n = *rc::gen::inRange(1, 4); i < n; ++i) c.pools.push_back(any_pool(i));
    for (int i = 0, n = *rc::gen::inRange(1, 6); i < n; ++i) {
        Route r{"r[" + std::to_string(i) + "]/x", {}, from(c.pools).name};
        if (*rc::gen::arbitrary<bool>()) r.match.host = "h" + std::to_string(i) + ".Example";
        if (*rc::gen::arbitrary<bool>()) r.match.path_prefix = "/p{" + std::to_string(i) + "},:x";
        c.routes.push_back(r);
    }
    const double step = any_fraction() * 0.9;
    c.guard.steps = {step / 7, step, 1};
    c.guard.soak = any_duration();
    c.guard.alpha = from<double>({0.001, 1e-5, 0.05, 1.0 / 3e4});
    c.recording = {*rc::gen::arbitrary<bool>(), any_duration() + 1s, 65536ull * any_count(1000)};
    c.access_log = from<std::string>({"", "-", "/var/log/plim soll.log", "C:"});
    if (*rc::gen::arbitrary<bool>()) c.notify.push_back({"ops", "http://127.0.0.1:1/a?b=c#d", any_text()});
    c.workers = any_count(200);
    return c;
}

std::string all_text(const Findings& findings) {
    std::string out;
    for (const auto& f : findings) out += text(f) + "\n";
    return out;
}

RC_GTEST_PROP(Print, ParsesBackToTheSame, ()) {
    const Config c = any_config();
    const Parsed parsed = parse(print(c), "p.yaml");
    if (!parsed.document) RC_FAIL(all_text(parsed.findings) + print(c));
    RC_ASSERT(parsed.document->config == c);
}

RC_GTEST_PROP(Diff, OfEqualConfigsIsEmpty, ()) {
    const Config c = any_config();
    const Parsed parsed = parse(print(c), "p.yaml");
    RC_ASSERT(parsed.document.has_value());
    RC_ASSERT(diff(c, *parsed.document).empty());
}

RC_GTEST_PROP(Diff, OfDifferentConfigsIsNot, ()) {
    const Config a = any_config(), b = any_config();
    const Parsed parsed = parse(print(b), "p.yaml");
    RC_ASSERT(parsed.document.has_value());
    RC_ASSERT(diff(a, *parsed.document).empty() == (digest(a) == digest(b)));
}

RC_GTEST_PROP(Units, DurationsAndSizesRoundTrip, ()) {
    const auto ns = *rc::gen::inRange<std::int64_t>(0, 8'640'000'000'000'000);
    RC_ASSERT(parse_duration(print_duration(Duration{ns})) == Duration{ns});
    const auto bytes = *rc::gen::arbitrary<std::uint64_t>();
    RC_ASSERT(parse_size(print_size(bytes)) == bytes);
}

TEST(Units, Durations) {
    EXPECT_EQ(print_duration(90s), "90s");
    EXPECT_EQ(print_duration(10min), "10m");
    EXPECT_EQ(print_duration(1500ms), "1500ms");
    EXPECT_EQ(parse_duration("1h30m"), 90min);
    EXPECT_EQ(parse_duration("0.5ms"), 500us);
    for (const auto* bad : {"", "5", "s", "-1s", "1 s", "1d", "1e3s", "1.2.3s", "99999999999h", "1s2"}) {
        EXPECT_FALSE(parse_duration(bad)) << bad;
    }
}

TEST(Units, EditDistance) {
    EXPECT_EQ(edit_distance("weight", "wieght"), 1u);
    EXPECT_EQ(edit_distance("guard", "gard"), 1u);
    EXPECT_EQ(edit_distance("", "abc"), 3u);
    EXPECT_EQ(edit_distance("same", "same"), 0u);
}

// ---- diff ----------------------------------------------------------------------------------------------------------

constexpr std::string_view base = R"(listeners: {web: {address: 127.0.0.1:8080}}
routes:
  - {name: api, match: {path_prefix: /api}, pool: web}
  - {name: rest, pool: web}
pools:
  web:
    endpoints:
      - {name: b0, address: 127.0.0.1:9101, capacity: 200}
      - {name: b1, address: 127.0.0.1:9102, capacity: 200}
    timeouts: {per_try: 2s}
)";

Document document(std::string text) {
    Parsed parsed = parse(text, "t.yaml");
    EXPECT_TRUE(parsed.document) << all_text(parsed.findings);
    return *parsed.document;
}
std::string replaced(std::string_view from_text, std::string_view to) {
    std::string out(base);
    const auto at = out.find(from_text);
    EXPECT_NE(at, std::string::npos) << from_text;
    return out.replace(at, from_text.size(), to);
}
std::vector<Difference> changed(std::string_view from_text, std::string_view to) {
    return diff(document(std::string(base)).config, document(replaced(from_text, to)));
}

TEST(Diff, NamesTheItemByIdentityAndPlace) {
    const auto d = changed("{name: b1, address: 127.0.0.1:9102", "{name: b1, weight: 30, address: 127.0.0.1:9102");
    ASSERT_EQ(d.size(), 1u);
    EXPECT_EQ(d[0], (Difference{Difference::Kind::changed, "pools.web.endpoints[b1].weight", "1", "30", false,
                                Where{"t.yaml", 9, 20}}));
}

TEST(Diff, DeletedKeyIsNowDefault) {
    const auto d = changed("    timeouts: {per_try: 2s}\n", "");
    ASSERT_EQ(d.size(), 1u);
    EXPECT_EQ(d[0].path, "pools.web.timeouts.per_try");
    EXPECT_EQ(d[0].before, "2s");
    EXPECT_EQ(d[0].after, "5s");
    EXPECT_TRUE(d[0].now_default);
    const auto capacity = changed("9102, capacity: 200", "9102");
    ASSERT_EQ(capacity.size(), 1u);
    EXPECT_EQ(capacity[0].kind, Difference::Kind::removed);
    EXPECT_TRUE(capacity[0].now_default);
}

TEST(Diff, WritingADefaultOutChangesNothing) {
    EXPECT_TRUE(changed("per_try: 2s", "per_try: 2000ms, total: 15s").empty());
}

TEST(Diff, EndpointsArePairedByAddressThenName) {
    const auto renamed = changed("{name: b1,", "{name: new,");
    ASSERT_EQ(renamed.size(), 1u);
    EXPECT_EQ(renamed[0].path, "pools.web.endpoints[new].name");
    const auto moved = changed("127.0.0.1:9102", "127.0.0.1:9200");
    ASSERT_EQ(moved.size(), 1u);
    EXPECT_EQ(moved[0].path, "pools.web.endpoints[b1].address");
    const auto other = changed("{name: b1, address: 127.0.0.1:9102", "{name: b2, address: 127.0.0.1:9103");
    ASSERT_EQ(other.size(), 2u);
    EXPECT_EQ(other[0].kind, Difference::Kind::removed);
    EXPECT_EQ(other[0].path, "pools.web.endpoints[b1]");
    EXPECT_EQ(other[1].kind, Difference::Kind::added);
    EXPECT_EQ(other[1].after, "{name: b2, address: 127.0.0.1:9103, capacity: 200}");
}

TEST(Diff, OrderOfRoutesIsMeaning) {
    const auto d = changed("  - {name: api, match: {path_prefix: /api}, pool: web}\n  - {name: rest, pool: web}\n",
                           "  - {name: rest, pool: web}\n  - {name: api, match: {path_prefix: /api}, pool: web}\n");
    ASSERT_EQ(d.size(), 1u);
    EXPECT_EQ(d[0].path, "routes.order");
    EXPECT_EQ(d[0].before, "api, rest");
    EXPECT_EQ(d[0].after, "rest, api");
}

TEST(Diff, HealthOff) {
    const auto d = changed("    timeouts:", "    health: off\n    timeouts:");
    ASSERT_EQ(d.size(), 1u);
    EXPECT_EQ(d[0].path, "pools.web.health");
    EXPECT_EQ(d[0].after, "off");
}

TEST(Diff, NeverShowsSecrets) {
    Document with = document(std::string(base) + "notify: [{name: o, url: \"http://x\", secret: hunter2}]\n");
    Config before = with.config;
    before.notify[0].secret = "hunter1";
    for (const auto& list : {diff(before, with), diff(document(std::string(base)).config, with)}) {
        ASSERT_EQ(list.size(), 1u);
        EXPECT_EQ(list[0].before.find("hunter"), std::string::npos);
        EXPECT_EQ(list[0].after.find("hunter"), std::string::npos);
    }
    EXPECT_EQ(print(redacted(before)).find("hunter"), std::string::npos);
}

TEST(Digest, IsOfMeaning) {
    const Config c = document(std::string(base)).config;
    EXPECT_EQ(digest(c),
              digest(document("# comment\n" + replaced("per_try: 2s", "per_try: 2000ms, total: 15s")).config));
    EXPECT_NE(digest(c), digest(document(replaced("per_try: 2s", "per_try: 3s")).config));
    Config swapped = c;
    swapped.pools.push_back(c.pools[0]);
    swapped.pools[1].name = "api";
    Config other = swapped;
    std::swap(other.pools[0], other.pools[1]);
    EXPECT_EQ(digest(swapped), digest(other)) << "the order of a map means nothing";
}

// ---- generated files -----------------------------------------------------------------------------------------------

std::string read_file(const std::string& path) {
    std::ifstream in(path);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
}
/// Compares a committed file with what the definition says now; UPDATE=1 in the environment rewrites it.
void expect_current(const std::string& path, const std::string& wanted) {
    if (std::getenv("UPDATE") != nullptr) std::ofstream(path) << wanted;
    EXPECT_EQ(read_file(path), wanted) << "run `UPDATE=1 config_test` and commit " << path;
}

TEST(Schema, CommittedFileIsCurrent) {
    expect_current(PLIMSOLL_SOURCE_DIR "/docs/plimsoll.schema.json", json_schema());
}

TEST(Schema, SaysWhatTheParserEnforces) {
    const auto schema = nlohmann::json::parse(json_schema());
    EXPECT_EQ(schema["additionalProperties"], false);
    EXPECT_EQ(schema["required"], (nlohmann::json{"listeners", "routes", "pools"}));
    const auto& pool = schema["properties"]["pools"]["additionalProperties"];
    EXPECT_EQ(pool["properties"]["policy"]["enum"], (nlohmann::json{"round_robin", "least_request"}));
    EXPECT_EQ(pool["properties"]["policy"]["default"], "least_request");
    EXPECT_EQ(pool["properties"]["endpoints"]["items"]["required"], nlohmann::json{"address"});
    EXPECT_EQ(pool["properties"]["timeouts"]["properties"]["per_try"]["default"], "5s");
}

TEST(Reference, CommittedPageIsCurrent) {
    const std::string path = PLIMSOLL_SOURCE_DIR "/docs/formats/config.md";
    const std::string page = read_file(path);
    const auto marker = page.find("<!-- generated");
    ASSERT_NE(marker, std::string::npos);
    const auto end = page.find("-->\n", marker);
    ASSERT_NE(end, std::string::npos);
    expect_current(path, page.substr(0, end + 4) + "\n" + reference_tables());
}

}  // namespace
}  // namespace plimsoll::config
