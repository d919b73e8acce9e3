#include "snapshot/snapshot.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/hash.h"

namespace plimsoll::snapshot {
namespace {

using config::Config;

config::Pool pool(std::string name, int endpoints) {
    config::Pool p;
    p.name = std::move(name);
    for (int i = 0; i < endpoints; ++i) {
        config::Endpoint e;
        e.name = "b" + std::to_string(i);
        e.address = {"127.0.0.1", static_cast<std::uint16_t>(9101 + i)};
        p.endpoints.push_back(e);
    }
    return p;
}

config::Route route(std::string name, config::Match match, std::string to = "web") {
    return {std::move(name), std::move(match), std::move(to)};
}

std::string taken(const Snapshot& s, std::string_view host, std::string_view path) {
    const auto r = s.match(host, path);
    return r ? s.route(*r).name : "-";
}

/// The plain meaning of a route table, for comparison.
std::optional<RouteIndex> first_that_matches(const Config& c, std::string_view host, std::string_view path) {
    for (std::uint32_t i = 0; i < c.routes.size(); ++i) {
        const auto& m = c.routes[i].match;
        if ((!m.host || *m.host == host) && path_matches(m, path)) return RouteIndex{i};
    }
    return std::nullopt;
}

TEST(PathMatches, PrefixCountsWholeSegments) {
    const config::Match api{{}, {}, "/api"};
    EXPECT_TRUE(path_matches(api, "/api"));
    EXPECT_TRUE(path_matches(api, "/api/"));
    EXPECT_TRUE(path_matches(api, "/api/x"));
    EXPECT_TRUE(path_matches(api, "/api?x=/y"));
    EXPECT_FALSE(path_matches(api, "/apix"));
    EXPECT_FALSE(path_matches(api, "/"));
    const config::Match slash{{}, {}, "/api/"};
    EXPECT_TRUE(path_matches(slash, "/api"));
    EXPECT_FALSE(path_matches(slash, "/apix"));
    const config::Match root{{}, {}, "/"};
    EXPECT_TRUE(path_matches(root, "/anything"));
    EXPECT_TRUE(path_matches(root, "*"));
    const config::Match exact{{}, "/a", {}};
    EXPECT_TRUE(path_matches(exact, "/a?b"));
    EXPECT_FALSE(path_matches(exact, "/a/"));
}

TEST(Match, FileOrderAcrossHostAndHostless) {
    Config c;
    c.pools = {pool("web", 1)};
    c.routes = {route("health", {{}, "/healthz", {}}), route("a-api", {"A.example", {}, "/api"}),
                route("static", {{}, {}, "/static"}), route("a", {"a.example", {}, {}}), route("rest", {})};
    Identities ids;
    const auto s = compile(c, {1}, ids, 1);
    EXPECT_EQ(taken(*s, "a.example", "/healthz"), "health");
    EXPECT_EQ(taken(*s, "a.example:8080", "/api/x"), "a-api");
    EXPECT_EQ(taken(*s, "a.EXAMPLE.", "/static/x"), "static");
    EXPECT_EQ(taken(*s, "a.example", "/x"), "a");
    EXPECT_EQ(taken(*s, "b.example", "/x"), "rest");
    EXPECT_EQ(taken(*s, "", "/x"), "rest");
    EXPECT_EQ(taken(*s, std::string(5000, 'a'), "/x"), "rest");
    EXPECT_EQ(taken(*s, "[::1]:80", "/x"), "rest");
}

TEST(Match, NoRoute) {
    Config c;
    c.pools = {pool("web", 1)};
    c.routes = {route("a", {"a.example", {}, {}})};
    Identities ids;
    const auto s = compile(c, {1}, ids, 1);
    EXPECT_EQ(taken(*s, "b.example", "/"), "-");
    EXPECT_EQ(taken(*s, "a.example", "/"), "a");
}

RC_GTEST_PROP(Match, IsTheFirstRouteInFileOrder, ()) {
    const auto hosts = std::vector<std::string>{"a.x", "b.x", "c.x"};
    const auto paths = std::vector<std::string>{"/", "/a", "/a/b", "/b", "/ab"};
    Config c;
    c.pools = {pool("web", 1)};
    const int n = *rc::gen::inRange(0, 12);
    for (int i = 0; i < n; ++i) {
        config::Match m;
        if (*rc::gen::arbitrary<bool>()) m.host = *rc::gen::elementOf(hosts);
        const int kind = *rc::gen::inRange(0, 3);
        if (kind == 1) m.path = *rc::gen::elementOf(paths);
        if (kind == 2) m.path_prefix = *rc::gen::elementOf(paths);
        c.routes.push_back(route("r" + std::to_string(i), m));
    }
    Identities ids;
    const auto s = compile(c, {1}, ids, 1);
    for (const auto& host : hosts) {
        for (const auto& path : paths) RC_ASSERT(s->match(host, path) == first_that_matches(c, host, path));
    }
}

TEST(Match, TenThousandHosts) {
    Config c;
    c.pools = {pool("web", 1)};
    for (int i = 0; i < 10'000; ++i) {
        c.routes.push_back(route("r" + std::to_string(i), {"h" + std::to_string(i) + ".example", {}, {}}));
    }
    Identities ids;
    const auto s = compile(c, {1}, ids, 1);
    EXPECT_EQ(taken(*s, "h9999.example", "/"), "r9999");
    EXPECT_EQ(taken(*s, "h0.example", "/"), "r0");
    EXPECT_EQ(taken(*s, "none.example", "/"), "-");
}

TEST(Compile, IdentityIsPoolAndAddress) {
    Config before, after;
    before.pools = {pool("web", 3), pool("api", 3)};
    after.pools = {pool("web", 3)};
    std::swap(after.pools[0].endpoints[0], after.pools[0].endpoints[2]);
    after.pools[0].endpoints[0].name = "renamed";
    Identities ids;
    const auto old = compile(before, {1}, ids, 1);
    const auto now = compile(after, {2}, ids, 1);
    EXPECT_EQ(now->pools[0].endpoints[0].id, old->pools[0].endpoints[2].id);
    EXPECT_EQ(now->pools[0].endpoints[1].id, old->pools[0].endpoints[1].id);
    EXPECT_NE(old->pools[0].endpoints[0].id, old->pools[1].endpoints[0].id) << "another pool, another identity";
    EXPECT_EQ(ids.endpoint_name(now->pools[0].endpoints[0].id), "renamed");
    EXPECT_EQ(now->endpoint_ids, 6u);
    EXPECT_EQ(now->pool_ids, 2u);
}

TEST(Compile, CarriesWhatPoliciesNeed) {
    Config c;
    c.pools = {pool("web", 2)};
    auto& p = c.pools[0];
    p.policy = config::Policy::round_robin;
    p.endpoints[1].weight = 3;
    p.endpoints[1].capacity = 200;
    p.limits.max_in_flight_per_endpoint = 10;
    p.retry.on = {"reset", "status_5xx"};
    p.retry.attempts = 4;
    p.ejection.enabled = false;
    c.routes = {route("all", {})};
    Identities ids;
    const auto s = compile(c, {7}, ids, 4);
    const Pool& made = s->pools[0];
    EXPECT_EQ(s->revision, RevisionNumber{7});
    EXPECT_TRUE(std::holds_alternative<balance::RoundRobin>(made.facts.policy));
    EXPECT_EQ(made.facts.members[1].weight, 3);
    EXPECT_EQ(made.facts.members[1].capacity, 200);
    EXPECT_EQ(made.facts.members[0].capacity, 0);
    EXPECT_EQ(made.facts.members[0].max_in_flight, 3u) << "10 over 4 workers, rounded up";
    EXPECT_EQ(made.retry.attempts, 4);
    EXPECT_EQ(made.retry.on, 2 | 8);
    EXPECT_EQ(made.facts.ejection.consecutive, UINT32_MAX);
    EXPECT_EQ(s->digest, config::digest(c));
}

TEST(ChooseArm, NothingWithoutCandidateOrLease) {
    Identities ids;
    Config c;
    c.pools = {pool("web", 1)};
    Resident r{compile(c, {1}, ids, 1), nullptr, Share{1}, false, 5, never};
    EXPECT_EQ(choose_arm(r, 1, Instant{0}), Arm::active);
    r.candidate = r.active;
    EXPECT_EQ(choose_arm(r, 1, Instant{0}), Arm::candidate);
    r.lease = Instant{100};
    EXPECT_EQ(choose_arm(r, 1, Instant{99}), Arm::candidate);
    EXPECT_EQ(choose_arm(r, 1, Instant{100}), Arm::active) << "control went silent";
}

RC_GTEST_PROP(ChooseArm, GrowsWithTheShareAndHitsIt, (std::uint64_t key)) {
    Identities ids;
    Config c;
    c.pools = {pool("web", 1)};
    const auto s = compile(c, {1}, ids, 1);
    Resident small{s, s, Share{0.05}, false, key, never}, large{s, s, Share{0.25}, false, key, never};
    int in_small = 0, in_large = 0;
    for (std::uint64_t i = 0; i < 4000; ++i) {
        const bool a = choose_arm(small, i, Instant{}) == Arm::candidate;
        const bool b = choose_arm(large, i, Instant{}) == Arm::candidate;
        RC_ASSERT(!a || b);
        in_small += a;
        in_large += b;
    }
    // Six standard deviations: 4000 x 0.05 and 4000 x 0.25.
    RC_ASSERT(std::abs(in_small - 200) < 83);
    RC_ASSERT(std::abs(in_large - 1000) < 165);
}

}  // namespace
}  // namespace plimsoll::snapshot
