// The forecast by arithmetic, over what routes may do.
#include <gtest/gtest.h>

#include "check/rule_cases.h"

namespace plimsoll::check {
namespace {

using namespace scenario;

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

}  // namespace
}  // namespace plimsoll::check
