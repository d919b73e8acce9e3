// Which route hides, overlaps or changes places with which.
#include <gtest/gtest.h>

#include "check/routes.h"
#include "check/rule_cases.h"

namespace plimsoll::check {
namespace {

using namespace scenario;

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

}  // namespace
}  // namespace plimsoll::check
