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

bool any_bool() { return *rc::gen::arbitrary<bool>(); }
/// Half of the time.
template <class F>
auto maybe(F make) -> std::optional<decltype(make())> {
    if (any_bool()) return make();
    return std::nullopt;
}
std::string one_line() {
    return from<std::string>(
        {"a", "null", "a: b", "# no", "'q'", "\"dq\"", "tab\tin", "\\", "- x", "{a}", "ü€𝄞", "x, y"});
}
std::string any_regex() {
    return from<std::string>({"a+", "/v[0-9]+/.*", "(?i)x|y", "\\d{3}", "[^\"]*", "^$", "a: #b"});
}
std::string any_secret() { return from<std::string>({"0123456789abcdef", "a: b # c \"d\" 'e' f"}); }
std::string any_file() { return from<std::string>({"/etc/x.pem", "a b.pem", "C:", "~"}); }
std::vector<std::string> any_networks() {
    return from<std::vector<std::string>>(
        {{}, {"10.0.0.0/8"}, {"0.0.0.0/0", "::/0"}, {"2001:db8::/32", "127.0.0.1/32"}});
}
std::map<std::string, std::string> any_fields() {
    return from<std::map<std::string, std::string>>({{}, {{"X-A", one_line()}, {"x.b'", ""}}, {{"*", one_line()}}});
}

Endpoint any_endpoint(int i) {
    Endpoint e;
    e.address = {from<std::string>({"127.0.0.1", "10.1.2.3", "::1", "2001:db8::7"}),
                 static_cast<std::uint16_t>(9000 + i)};
    e.name = any_bool() ? text(e.address) : "b" + std::to_string(i);
    e.weight = i == 0 ? 1 : static_cast<double>(*rc::gen::inRange(0, 400)) / 8;
    if (any_bool()) e.capacity = static_cast<double>(*rc::gen::inRange(1, 10'000)) / 3;
    e.zone = any_text();
    e.priority = any_count(16) - 1;
    if (any_bool()) e.labels = {{"version", any_text()}, {"a.b/c", any_text()}};
    return e;
}

HealthCheck any_health(PoolProtocol protocol) {
    HealthCheck h;
    h.type = protocol == PoolProtocol::http2 ? from<CheckType>({CheckType::http, CheckType::tcp, CheckType::grpc})
                                             : from<CheckType>({CheckType::http, CheckType::tcp});
    h.path = from<std::string>({"/h", "/healthz", "/{a}"});
    h.host = from<std::string>({"", "a.example", "a.example:8080", "[::1]:80"});
    if (h.type == CheckType::grpc) h.service = any_text();
    h.jitter = any_fraction() / 2;
    h.interval = any_duration() % 3500s + 50ms;
    h.timeout = any_duration() % 3600s + 1ms;
    h.rise = any_count(9);
    h.fall = any_count(9);
    h.expect_status = static_cast<std::uint16_t>(*rc::gen::inRange(100, 600));
    return h;
}

Hash any_hash() {
    Hash h;
    h.by = from<HashBy>({HashBy::client, HashBy::header, HashBy::cookie, HashBy::path});
    if (h.by == HashBy::header || h.by == HashBy::cookie) h.name = from<std::string>({"X-User", "sid"});
    h.bounded_load = from<double>({0, 1.25, 2});
    return h;
}

Discovery any_discovery() {
    Discovery d;
    d.type = from<DiscoveryType>({DiscoveryType::dns, DiscoveryType::srv, DiscoveryType::file});
    if (d.type == DiscoveryType::file) {
        d.file = any_file();
    } else {
        d.name = from<std::string>({"a.example", "_http._tcp.a.example"});
    }
    d.port = static_cast<std::uint16_t>(any_count(65'535));
    d.refresh = any_duration() % 3000s + 100ms;
    d.capacity = any_bool() ? 0 : 100.5;
    d.max_divergence = any_duration() + 100ms;
    d.resolvers = from<std::vector<std::string>>({{}, {"10.0.0.53:53", "[::1]:53"}});
    return d;
}

PoolTls any_pool_tls(const Config& c) {
    PoolTls t;
    t.server_name = from<std::string>({"", "a.example"});
    t.verify = any_bool();
    t.ca = from<std::string>({"", "/etc/ca.pem"});
    if (!c.certificates.empty() && any_bool()) t.certificate = c.certificates[0].name;
    t.min_version = from<TlsVersion>({TlsVersion::tls12, TlsVersion::tls13});
    return t;
}

PoolLimits any_limits() {
    PoolLimits l;
    l.max_in_flight_per_endpoint = any_count(1000);
    l.idle_connections_per_endpoint = any_count(1000);
    l.keepalive_idle = any_duration() % 3600s + 1ms;
    l.max_in_flight = any_count(1000);
    l.max_connections_per_endpoint = any_count(1000);
    l.queue = any_count(1000);
    l.queue_timeout = any_duration() % 3600s + 1ms;
    l.max_requests_per_connection = any_count(1000);
    l.max_connection_age = any_duration();
    l.max_streams = any_count(1000);
    return l;
}

Pool any_pool(const Config& c, int i) {
    Pool p;
    p.name = "pool_" + std::to_string(i);
    p.policy = static_cast<Policy>(*rc::gen::inRange<std::size_t>(0, 8));
    p.discovery = maybe(any_discovery);
    const int n = *rc::gen::inRange(p.discovery ? 0 : 1, 5);
    for (int k = 0; k < n; ++k) p.endpoints.push_back(any_endpoint(k));
    p.protocol = from<PoolProtocol>({PoolProtocol::http1, PoolProtocol::http2});
    p.health = maybe([&] { return any_health(p.protocol); });
    p.panic_threshold = any_fraction();
    p.timeouts = {
        any_duration() % 60s + 1ms, 2s, 3s, 4s, any_duration(), *rc::gen::element<std::string>("", "X-Left-Ms")};
    if (any_bool()) p.timeouts = {};
    p.retry = {any_count(5), from<std::vector<std::string>>({{}, {"reset"}, {"timeout", "status_5xx"}}), any_fraction(),
               any_fraction(), any_bool()};
    p.ejection = {any_bool(),      any_count(50),     3s,
                  any_fraction(),  any_bool(),        1.5,
                  any_count(1000), 1 + any_count(20), any_duration() % 3000s + 100ms};
    if (any_bool()) p.limits = any_limits();
    p.tls = maybe([&] { return any_pool_tls(c); });
    p.proxy_protocol = from<ProxyProtocol>({ProxyProtocol::off, ProxyProtocol::v1, ProxyProtocol::v2});
    p.hash = any_hash();
    p.ewma_decay = any_duration() % 3000s + 10ms;
    p.slow_start = any_duration() % 3600s;
    p.zone_aware = any_bool();
    p.affinity = maybe([] { return Affinity{from<std::string>({"plimsoll", "sid"}), any_duration(), any_secret()}; });
    p.adaptive = maybe([] { return Adaptive{any_count(10), 10 + any_count(10), 1 + any_fraction()}; });
    return p;
}

std::vector<FieldMatch> any_conditions(bool header) {
    std::vector<FieldMatch> out;
    for (int i = 0, n = *rc::gen::inRange(0, 3); i < n; ++i) {
        FieldMatch f;
        f.name = header ? "X-" + std::to_string(i) : "q: " + std::to_string(i);
        const int kind = *rc::gen::inRange(0, 3);
        if (kind == 1) f.exact = any_text();
        if (kind == 2) f.regex = any_regex();
        f.invert = any_bool();
        out.push_back(f);
    }
    return out;
}

Match any_match(const Config& c, int i) {
    Match m;
    if (any_bool()) m.host = from<std::string>({"", "*."}) + "h" + std::to_string(i) + ".Example";
    const int kind = *rc::gen::inRange(0, 4);
    if (kind == 1) m.path = "/exact,{x}";
    if (kind == 2) m.path_prefix = "/p{" + std::to_string(i) + "},:x";
    if (kind == 3) m.path_regex = any_regex();
    if (any_bool()) m.listeners = {c.listeners[0].name};
    m.methods = from<std::vector<std::string>>({{}, {"GET"}, {"POST", "PURGE"}});
    m.headers = any_conditions(true);
    m.query = any_conditions(false);
    return m;
}

Rewrite any_rewrite(const Match& match) {
    Rewrite r;
    r.host = from<std::string>({"", "b.example", "b.example:81"});
    const int kind = *rc::gen::inRange(0, 4);
    if (kind == 1) r.path = "/other";
    if (kind == 2 && match.path_prefix) r.path_prefix = "/";
    if (kind == 3) {
        r.regex = "/(v[0-9])/(.*)";
        r.substitution = from<std::string>({"", "/\\1", "/\\2/\\1"});
    }
    return r;
}
Redirect any_redirect(const Match& match) {
    Redirect r;
    r.status = from<std::uint16_t>({301, 302, 303, 307, 308});
    r.scheme = from<std::string>({"", "https"});
    r.host = from<std::string>({"", "c.example:8443"});
    if (any_bool()) {
        r.path = "/there";
    } else if (match.path_prefix && any_bool()) {
        r.path_prefix = "/new";
    }
    r.strip_query = any_bool();
    return r;
}
HeaderEdit any_edit() {
    return {from<std::vector<std::string>>({{}, {"Server", "x-powered-by"}}), any_fields(), any_fields()};
}
std::vector<ErrorPage> any_pages() {
    std::vector<ErrorPage> out;
    if (any_bool()) out.push_back({503, any_text(), one_line()});
    if (any_bool()) out.push_back({404, "<p>" + any_text(), "text/html"});
    return out;
}
std::vector<RateLimit> any_rate_limits() {
    std::vector<RateLimit> out;
    if (any_bool()) out.push_back({RateKey::client, "", 1.5, 3});
    if (any_bool()) out.push_back({RateKey::header, "X-Key", 100, 1000});
    if (any_bool()) out.push_back({});
    return out;
}

Route any_route(const Config& c, int i) {
    Route r;
    r.name = "r[" + std::to_string(i) + "]/x";
    r.match = any_match(c, i);
    r.response_headers = any_edit();
    r.error_pages = any_pages();
    r.rate_limits = any_rate_limits();
    r.auth = maybe([&] {
        return Auth{from(c.pools).name,
                    from<std::string>({"", "/verify", "/verify?rd=https://in.example/"}),
                    from<std::string>({"", "auth.example:8443"}),
                    1ms + any_duration() % 3600s,
                    from<std::vector<std::string>>({{}, {"Authorization", "Cookie"}}),
                    from<std::vector<std::string>>({{}, {"X-User"}}),
                    from<std::vector<std::string>>({{}, {"Set-Cookie"}}),
                    from<OnFailure>({OnFailure::deny, OnFailure::allow})};
    });
    r.fault = maybe([] { return Fault{any_duration() % 3600s, any_fraction(), 500, any_fraction()}; });
    const int kind = *rc::gen::inRange(0, 4);
    if (kind == 0) {
        r.redirect = any_redirect(r.match);
        return r;
    }
    if (kind == 1) {
        r.respond = Respond{200, any_text(), one_line()};
        return r;
    }
    if (kind == 2) {
        r.pool = from(c.pools).name;
    } else {
        for (const Pool& p : c.pools) r.split.push_back({p.name, 1 + any_fraction()});
    }
    if (any_bool()) r.subset = {{"version", any_text()}};
    r.rewrite = maybe([&] { return any_rewrite(r.match); });
    r.request_headers = any_edit();
    r.mirror = maybe([&] { return Mirror{from(c.pools).name, any_fraction()}; });
    r.timeout = maybe(any_duration);
    if (any_bool()) r.upgrades = {"websocket"};
    r.connect = any_bool();
    return r;
}

Listener any_listener(const Config& c, int i) {
    Listener l;
    l.name = "l" + std::to_string(i);
    l.address = {from<std::string>({"0.0.0.0", "::"}), static_cast<std::uint16_t>(8000 + i)};
    l.http2 = any_bool();
    if (!c.certificates.empty() && any_bool()) {
        l.tls = ListenerTls{{c.certificates[0].name},
                            from<TlsVersion>({TlsVersion::tls12, TlsVersion::tls13}),
                            ClientAuth::none,
                            "",
                            any_bool()};
        if (any_bool()) {
            l.tls->client_auth = from<ClientAuth>({ClientAuth::optional, ClientAuth::required});
            l.tls->client_ca = any_file();
        }
    }
    l.idle_timeout = any_duration();
    l.head_timeout = any_duration() % 3600s + 1ms;
    l.body_idle_timeout = any_duration() % 3600s + 1ms;
    l.trusted_proxies = any_networks();
    l.proxy_protocol_from = any_networks();
    l.limits = {any_count(1000), 256 * any_count(100), any_count(1000), *rc::gen::inRange<std::uint64_t>(0, 1ull << 45),
                any_count(1000), any_count(1000),      any_duration()};
    return l;
}
Listener any_tcp_listener(const Config& c) {
    Listener l;
    l.name = "tcp";
    l.address = {"0.0.0.0", 7000};
    l.protocol = Protocol::tcp;
    if (any_bool()) l.tcp.push_back({from<std::string>({"a.example", "*.example"}), from(c.pools).name});
    l.tcp.push_back({"", from(c.pools).name});
    return l;
}

Config any_config() {
    Config c;
    if (any_bool()) c.certificates = {{"main", any_file(), any_file(), any_file()}, {"other", "o.pem", "o.key", ""}};
    for (int i = 0, n = *rc::gen::inRange(1, 3); i < n; ++i) c.listeners.push_back(any_listener(c, i));
    for (int i = 0, n = *rc::gen::inRange(1, 4); i < n; ++i) c.pools.push_back(any_pool(c, i));
    for (int i = 0, n = *rc::gen::inRange(1, 6); i < n; ++i) c.routes.push_back(any_route(c, i));
    if (any_bool()) c.listeners.push_back(any_tcp_listener(c));
    const double step = any_fraction() * 0.9;
    c.guard.steps = {step / 7, step, 1};
    c.guard.soak = any_duration();
    c.guard.alpha = from<double>({0.001, 1e-5, 0.05, 1.0 / 3e4});
    c.recording = {any_bool(), any_duration() + 1s, 65536ull * any_count(1000)};
    c.error_pages = any_pages();
    c.access_log = from<std::string>({"", "-", "/var/log/plim soll.log", "C:"});
    c.access_log_format = from<LogFormat>({LogFormat::json, LogFormat::text});
    c.tracing = maybe([] { return Tracing{"http://127.0.0.1:4318/v1/traces", any_fraction(), any_text()}; });
    c.zone = any_text();
    c.zone_traffic = any_fraction();
    c.max_memory = any_count(1000) * 65'536ull;
    if (any_bool()) c.notify.push_back({"ops", "http://127.0.0.1:1/a?b=c#d", any_text()});
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
    EXPECT_EQ(schema["required"], (nlohmann::json{"listeners", "pools"}));
    const auto& pool = schema["properties"]["pools"]["additionalProperties"];
    EXPECT_EQ(pool["properties"]["policy"]["enum"],
              (nlohmann::json{"round_robin", "least_request", "peak_ewma", "prequal", "maglev", "ring_hash",
                              "rendezvous", "random"}));
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
