// What compiling makes of pools, splits, subsets, actions and TCP routes; complaints about other balancers as tests.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>
#include <new>

#include "snapshot/explain.h"
#include "snapshot/snapshot.h"

#pragma clang diagnostic ignored "-Wmissing-designated-field-initializers"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PLIMSOLL_COUNTS_ALLOCATIONS 0  // its runtime brings operators of its own, which cannot be replaced
#endif
#endif
#ifndef PLIMSOLL_COUNTS_ALLOCATIONS
#define PLIMSOLL_COUNTS_ALLOCATIONS 1
namespace {
thread_local std::size_t allocations = 0;
}

void* operator new(std::size_t size) {
    ++allocations;
    if (void* made = std::malloc(size > 0 ? size : 1)) return made;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace plimsoll::snapshot {
namespace {

using config::Config;

config::Pool pool(std::string name, std::size_t endpoints) {
    config::Pool p;
    p.name = std::move(name);
    for (std::size_t i = 0; i < endpoints; ++i) {
        config::Endpoint e;
        e.name = "b" + std::to_string(i);
        e.address = {"127.0.0.1", static_cast<std::uint16_t>(9101 + i)};
        p.endpoints.push_back(e);
    }
    return p;
}

config::Route route(std::string name, config::Match match = {}, std::string to = "web") {
    config::Route made;
    made.name = std::move(name);
    made.match = std::move(match);
    made.pool = std::move(to);
    return made;
}

struct Site {
    Config config;
    Identities ids;
    std::shared_ptr<const Snapshot> made;
    std::shared_ptr<const Snapshot> compiled(std::uint32_t workers = 1) {
        return made = compile(config, {1}, ids, workers, made.get());
    }
};

// ---- splits --------------------------------------------------------------------------------------------------------

RC_GTEST_PROP(Split, GivesEachPartItsWeight, ()) {
    Site s;
    std::vector<double> weights;
    double sum = 0;
    const int parts = *rc::gen::inRange(1, 6);
    for (int i = 0; i < parts; ++i) {
        weights.push_back(*rc::gen::inRange(0, 20));
        sum += weights.back();
    }
    RC_PRE(sum > 0);
    config::Route r = route("split", {}, "");
    for (int i = 0; i < parts; ++i) {
        s.config.pools.push_back(pool("p" + std::to_string(i), 1));
        r.split.push_back({s.config.pools.back().name, weights[static_cast<std::size_t>(i)]});
    }
    s.config.routes = {r};
    const Route& made = s.compiled()->routes[0];
    std::vector<int> hits(weights.size());
    constexpr int draws = 10'000;
    for (int i = 0; i < draws; ++i) ++hits[choose_target(made, (i + 0.5) / draws)->pool.value];
    for (std::size_t i = 0; i < weights.size(); ++i) {
        RC_ASSERT(std::abs(hits[i] - draws * weights[i] / sum) <= 1.0);
        if (weights[i] == 0) RC_ASSERT(hits[i] == 0);
    }
    RC_ASSERT(made.targets.back().upto == 1.0);
    RC_ASSERT(choose_target(made, std::nextafter(1.0, 0.0)) != nullptr);
}

TEST(Split, WeightsNeedNotSumToAnything) {  // contour#477, consul#16455: weights that do not divide some total
    Site s;
    s.config.pools = {pool("a", 1), pool("b", 1), pool("c", 1)};
    config::Route r = route("thirds", {}, "");
    r.split = {{"a", 1}, {"b", 1}, {"c", 1}};
    s.config.routes = {r};
    const Route& made = s.compiled()->routes[0];
    EXPECT_DOUBLE_EQ(made.targets[0].upto, 1.0 / 3);
    EXPECT_EQ(choose_target(made, 0.999999)->pool, PoolIndex{2});
}

TEST(Split, RoutesThatAnswerThemselvesHaveNoTarget) {
    Site s;
    s.config.pools = {pool("web", 1)};
    config::Route to = route("to", {}, ""), gone = route("gone", {}, "");
    to.redirect = config::Redirect{.scheme = "https"};
    gone.respond = config::Respond{.status = 410};
    s.config.routes = {to, gone};
    const auto& made = *s.compiled();
    EXPECT_EQ(choose_target(made.routes[0], 0.5), nullptr);
    EXPECT_EQ(made.routes[0].pool, none<PoolIndex>);
    EXPECT_EQ(choose_target(made.routes[1], 0.5), nullptr);
}

// ---- subsets -------------------------------------------------------------------------------------------------------

TEST(Subset, RoutesWithTheSameLabelsShareOne) {
    Site s;
    s.config.pools = {pool("web", 4)};
    s.config.pools[0].endpoints[1].labels = {{"version", "2"}, {"disk", "ssd"}};
    s.config.pools[0].endpoints[3].labels = {{"version", "2"}};
    for (int i = 0; i < 3; ++i) {
        s.config.routes.push_back(route("r" + std::to_string(i)));
        s.config.routes.back().subset = {{"version", "2"}};
    }
    s.config.routes[2].subset["disk"] = "ssd";
    const auto& made = *s.compiled();
    const Target& two = made.routes[0].targets[0];
    EXPECT_EQ(two.subset_size, 2u);
    EXPECT_FALSE(two.subset->contains(0));
    EXPECT_TRUE(two.subset->contains(1));
    EXPECT_TRUE(two.subset->contains(3));
    EXPECT_EQ(made.routes[1].targets[0].subset, two.subset);
    EXPECT_EQ(made.routes[2].targets[0].subset_size, 1u);
}

TEST(Subset, NobodyInItIsNobodyAndNotEverybody) {  // envoy#25654, #34798: what an empty subset falls back to
    Site s;
    s.config.pools = {pool("web", 3)};
    s.config.routes = {route("r")};
    s.config.routes[0].subset = {{"version", "9"}};
    const auto& made = *s.compiled();
    const Target& target = made.routes[0].targets[0];
    ASSERT_NE(target.subset, nullptr);
    std::vector<balance::EndpointState> states(made.endpoint_ids);
    for (auto& state : states) state.health = balance::Health::up;
    balance::Cursor cursor;
    Random random(1);
    EXPECT_FALSE(balance::pick(made.pools[0].facts, states, cursor, {}, {}, random, {.subset = target.subset.get()}));
}

// ---- pools ---------------------------------------------------------------------------------------------------------

TEST(Pool, LimitsAreDividedAndRoundedUp) {
    Site s;
    s.config.pools = {pool("web", 1)};
    auto& p = s.config.pools[0];
    p.limits.max_in_flight = 10;
    p.limits.queue = 3;
    p.limits.max_connections_per_endpoint = 8;
    p.adaptive = config::Adaptive{.min = 10, .max = 1001};
    s.config.routes = {route("r")};
    const Pool& made = s.compiled(4)->pools[0];
    EXPECT_EQ(made.part.max_in_flight, 3u);
    EXPECT_EQ(made.part.queue, 1u);
    EXPECT_EQ(made.part.max_connections_per_endpoint, 2u);
    EXPECT_EQ(made.facts.members[0].max_in_flight, 0u) << "no limit stays none";
    EXPECT_EQ(made.facts.adaptive->min, 3u);
    EXPECT_EQ(made.facts.adaptive->max, 251u);
}

TEST(Pool, PrioritiesBecomeLevelsAndZonesNumbers) {
    Site s;
    s.config.zone = "west";
    s.config.pools = {pool("web", 4)};
    auto& p = s.config.pools[0];
    p.zone_aware = true;
    p.endpoints[0].zone = "east";
    p.endpoints[1].zone = p.endpoints[2].zone = "west";
    p.endpoints[1].priority = 10;
    p.endpoints[2].priority = 4'000'000;
    s.config.routes = {route("r")};
    const auto& facts = s.compiled()->pools[0].facts;
    EXPECT_EQ(facts.members[0].priority, 0);
    EXPECT_EQ(facts.members[1].priority, 1);
    EXPECT_EQ(facts.members[2].priority, 2);
    EXPECT_EQ(facts.members[1].zone, facts.members[2].zone);
    EXPECT_NE(facts.members[0].zone, facts.members[1].zone);
    EXPECT_EQ(facts.members[3].zone, 0);
    EXPECT_EQ(facts.own_zone, facts.members[1].zone);
    EXPECT_EQ(facts.own_zone_traffic, 0) << "not stated: every zone sends the same";
    s.config.zone_traffic = 0.4;
    EXPECT_EQ(s.compiled()->pools[0].facts.own_zone_traffic, 0.4);
    s.config.zone = "nowhere";
    EXPECT_EQ(s.compiled()->pools[0].facts.own_zone, 0);
}

TEST(Pool, HashTablesAreLentWhileTheMembersStay) {
    Site s;
    s.config.pools = {pool("web", 5)};
    s.config.pools[0].policy = config::Policy::maglev;
    s.config.routes = {route("r")};
    const auto first = s.compiled()->pools[0].facts.table;
    ASSERT_NE(first, nullptr);
    s.config.routes.push_back(route("another"));
    s.config.pools[0].timeouts.total = std::chrono::seconds(1);
    EXPECT_EQ(s.compiled()->pools[0].facts.table, first) << "nothing that keys go by has changed";
    s.config.pools[0].endpoints[2].weight = 2;
    const auto second = s.compiled()->pools[0].facts.table;
    EXPECT_NE(second, first);
    s.config.pools[0].endpoints.pop_back();
    EXPECT_NE(s.compiled()->pools[0].facts.table, second);
    s.config.pools[0].policy = config::Policy::ring_hash;
    const auto ring = s.compiled()->pools[0].facts.table;
    EXPECT_NE(ring, nullptr);
    s.config.pools[0].policy = config::Policy::random;
    EXPECT_EQ(s.compiled()->pools[0].facts.table, nullptr);
}

TEST(Pool, AKeysHomeIsTheSameInEveryProcess) {
    const auto homes = [](Identities ids) {
        Config c;
        c.pools = {pool("web", 7)};
        c.pools[0].policy = config::Policy::rendezvous;
        c.routes = {route("r")};
        const auto made = compile(c, {1}, ids, 1);
        std::vector<balance::EndpointState> states(made->endpoint_ids);
        for (auto& state : states) state.health = balance::Health::up;
        std::string all;
        for (std::uint64_t key = 0; key < 100; ++key) {
            balance::Cursor cursor;
            Random random(key);
            const auto chosen =
                balance::pick(made->pools[0].facts, states, cursor, {}, {}, random, {.key = key * 7919});
            all += made->pools[0].endpoints[chosen->index.value].name;
        }
        return all;
    };
    Identities other;  // that has seen other endpoints before
    for (std::uint16_t i = 0; i < 5; ++i) (void)other.endpoint("old", {"10.0.0.1", i}, "x");
    EXPECT_EQ(homes({}), homes(other));
}

TEST(Pool, WithoutEndpointsItCompilesAndNobodyIsChosen) {  // discovery has found nobody yet
    Site s;
    s.config.pools = {pool("web", 0)};
    s.config.pools[0].policy = config::Policy::maglev;
    s.config.routes = {route("r")};
    const auto& made = *s.compiled();
    balance::Cursor cursor;
    Random random(1);
    EXPECT_FALSE(balance::pick(made.pools[0].facts, {}, cursor, {}, {}, random, {.key = 1}));
    EXPECT_TRUE(made.match("a", "/"));
    RequestView request;
    request.path = "/";
    EXPECT_TRUE(explain(made, request).pools[0].endpoints.empty());
}

// ---- actions -------------------------------------------------------------------------------------------------------

TEST(RateLimits, KeepTheirIdentityOverRevisions) {
    Site s;
    s.config.pools = {pool("web", 1)};
    s.config.routes = {route("a"), route("b")};
    s.config.routes[0].rate_limits = {{.by = config::RateKey::client, .rate = 5},
                                      {.by = config::RateKey::header, .header = "X-Key"},
                                      {.by = config::RateKey::client, .rate = 500}};
    s.config.routes[1].rate_limits = {{.by = config::RateKey::client}};
    const auto before = s.compiled()->routes[0].actions->rate_limits;
    const auto other = s.made->routes[1].actions->rate_limits;
    EXPECT_EQ(before[1].header, "x-key");
    EXPECT_EQ(s.made->rate_limit_ids, 4u);
    std::swap(s.config.routes[0], s.config.routes[1]);
    s.config.routes[1].rate_limits[0].rate = 50;
    const auto after = s.compiled()->routes[1].actions->rate_limits;
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(after[i].id, before[i].id);
    EXPECT_EQ(after[0].rate, 50) << "the bucket stays, its rate is new";
    EXPECT_NE(before[0].id, before[2].id);
    EXPECT_NE(before[0].id, other[0].id);
}

TEST(ErrorPages, TheRoutesBeforeTheGlobal) {
    Site s;
    s.config.pools = {pool("web", 1)};
    s.config.error_pages = {{503, "all"}, {404, "nowhere"}};
    s.config.routes = {route("a"), route("b")};
    s.config.routes[0].error_pages = {{503, "mine"}};
    const auto& made = *s.compiled();
    EXPECT_EQ(made.error_page(&made.routes[0], 503)->body, "mine");
    EXPECT_EQ(made.error_page(&made.routes[0], 404)->body, "nowhere");
    EXPECT_EQ(made.error_page(&made.routes[1], 503)->body, "all");
    EXPECT_EQ(made.error_page(nullptr, 404)->body, "nowhere");
    EXPECT_EQ(made.error_page(nullptr, 500), nullptr);
}

TEST(Actions, PrefixesAreCutByWholeSegments) {
    Site s;
    s.config.pools = {pool("web", 1)};
    s.config.routes = {route("a", {.path_prefix = "/api/"}), route("b", {.path_prefix = "/"})};
    s.config.routes[0].rewrite = config::Rewrite{.path_prefix = "/v2/"};
    s.config.routes[1].rewrite = config::Rewrite{.path_prefix = "/v2"};
    const auto& made = *s.compiled();
    std::string path;
    EXPECT_EQ(rewrite_path(*made.routes[0].actions->rewrite, "/api/x", path), Rewritten::yes);
    EXPECT_EQ(path, "/v2/x");
    EXPECT_EQ(rewrite_path(*made.routes[0].actions->rewrite, "/api", path), Rewritten::yes);
    EXPECT_EQ(path, "/v2");
    EXPECT_EQ(rewrite_path(*made.routes[1].actions->rewrite, "/x", path), Rewritten::yes);
    EXPECT_EQ(path, "/v2/x");
}

TEST(Actions, RoutesWithoutAnyShareOne) {
    Site s;
    s.config.pools = {pool("web", 1)};
    s.config.routes = {route("a"), route("b"), route("c")};
    s.config.routes[1].connect = true;
    const auto& made = *s.compiled();
    EXPECT_EQ(made.routes[0].actions, made.routes[2].actions);
    EXPECT_TRUE(made.routes[1].actions->connect);
    EXPECT_FALSE(made.routes[0].actions->connect);
}

// haproxy#2926: a path rewritten before the rule that chooses the backend looks at it. Here rules see what was sent.
TEST(Actions, ARewriteDoesNotChangeWhichRouteMatches) {
    Site s;
    s.config.pools = {pool("web", 1)};
    s.config.routes = {route("first", {.path_prefix = "/a"}), route("second", {.path_prefix = "/b"})};
    s.config.routes[0].rewrite = config::Rewrite{.path_prefix = "/b"};
    RequestView request;
    request.path = "/a/x";
    const Explanation told = explain(*s.compiled(), request);
    EXPECT_EQ(told.winner, RouteIndex{0});
    EXPECT_EQ(told.path, "/b/x");
}

// traefik#6614: one object that says nothing usable must not take the others with it.
TEST(Actions, ARuleThatCannotBeReadConcernsItsOwnRouteOnly) {
    Site s;
    s.config.pools = {pool("web", 1)};
    s.config.routes = {route("broken", {.path_regex = "("}), route("rest")};
    EXPECT_EQ(s.compiled()->match("a", "/x"), RouteIndex{1});
}

// ---- TCP -----------------------------------------------------------------------------------------------------------

TEST(Tcp, FirstInFileOrderByServerName) {
    Site s;
    s.config.pools = {pool("db", 1), pool("mail", 1), pool("rest", 1)};
    s.config.listeners.resize(2);
    s.config.listeners[0].name = "tcp";
    s.config.listeners[0].protocol = config::Protocol::tcp;
    s.config.listeners[0].tcp = {
        {"db.example.com", "db"}, {"*.example.com", "mail"}, {"db.example.com", "rest"}, {"", "rest"}, {"*.org", "db"}};
    s.config.listeners[1].name = "web";
    const auto& made = *s.compiled();
    const auto taken = [&](std::string_view sni) {
        const TcpRoute* found = made.match_tcp("tcp", sni);
        return found == nullptr ? std::string("-") : found->name + ">" + made.pool(found->pool).name;
    };
    EXPECT_EQ(taken("db.example.com"), "db.example.com@tcp>db");
    EXPECT_EQ(taken("DB.Example.com"), "db.example.com@tcp>db");
    EXPECT_EQ(taken("x.y.example.com"), "*.example.com@tcp>mail");
    EXPECT_EQ(taken("example.com"), "*@tcp>rest");
    EXPECT_EQ(taken(""), "*@tcp>rest");
    EXPECT_EQ(taken("a.org"), "*@tcp>rest") << "stands before";
    EXPECT_EQ(made.match_tcp("web", "db.example.com"), nullptr);
    EXPECT_EQ(made.match_tcp("none", ""), nullptr);
    s.config.listeners[0].tcp.resize(1);
    EXPECT_EQ(s.compiled()->match_tcp("tcp", "other"), nullptr) << "no route takes it";
}

// ---- cost ----------------------------------------------------------------------------------------------------------

#if PLIMSOLL_COUNTS_ALLOCATIONS
TEST(Match, AllocatesNothing) {
    Site s;
    s.config.pools = {pool("web", 1)};
    for (int i = 0; i < 200; ++i) {
        const std::string host = "host-with-a-long-name-" + std::to_string(i) + ".example.com";
        s.config.routes.push_back(route("a" + std::to_string(i), {.host = host, .path_prefix = "/api/v1"}));
        s.config.routes.push_back(
            route("b" + std::to_string(i), {.host = "*." + host, .path = "/exact/path/of/some/length"}));
        s.config.routes.push_back(
            route("c" + std::to_string(i), {.host = host,
                                            .methods = {"GET"},
                                            .headers = {{.name = "x-a", .exact = "some value that is rather long"}},
                                            .query = {{.name = "q", .exact = "another long value, decoded"}}}));
    }
    const auto made = s.compiled();
    const std::string first = "some value", second = "some value that is rather long";
    const auto lines = std::pair(first, second);
    const HeaderLookup headers(lines, [](const auto& both, std::string_view, ValueSink sink) {
        if (sink(both.first)) sink(both.second);
    });
    const RequestView request{"web",
                              "http",
                              "Host-With-A-Long-Name-7.example.com:8080",
                              "/elsewhere",
                              "a=b&q=another+long+value%2C%20decoded",
                              "GET",
                              &headers};
    allocations = 0;
    const auto taken = made->match(request);
    const auto wild = made->match("x.y.host-with-a-long-name-9.example.com", "/exact/path/of/some/length?x");
    const auto nobody = made->match("elsewhere.example.com", "/api/v1/items");
    EXPECT_EQ(allocations, 0u);
    EXPECT_EQ(made->route(taken.value()).name, "c7");
    EXPECT_EQ(made->route(wild.value()).name, "b9");
    EXPECT_FALSE(nobody);
    s.config.routes.push_back(s.config.routes.front());
    EXPECT_GT(allocations, 0u) << "the counter works";
}
#endif

}  // namespace
}  // namespace plimsoll::snapshot
