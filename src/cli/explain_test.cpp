#include "cli/explain.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace plimsoll::cli {
namespace {

constexpr std::string_view site = R"(
listeners:
  plain: {address: 0.0.0.0:8080}
  internal: {address: 127.0.0.1:8081}
routes:
  - {name: docs, match: {host: docs.example.com}, pool: web, auth: {pool: beta, path: /may, upstream_headers: [X-Who]}}
  - {name: internal, match: {listeners: [internal]}, pool: web}
  - {name: beta, match: {path_prefix: /api, headers: [{name: X-Beta, exact: "1"}]}, pool: beta}
  - name: api
    match: {path_prefix: /api}
    split: [{pool: web, weight: 3}, {pool: beta, weight: 1}]
    rewrite: {path_prefix: /v2}
    rate_limits: [{by: client, rate: 10, burst: 20}]
  - {name: old, match: {path_prefix: /old}, redirect: {host: www.example.com, path_prefix: /new}}
  - {name: gone, match: {path: /gone}, respond: {status: 410}}
pools:
  web:
    endpoints:
      - {name: w1, address: 127.0.0.1:9001, weight: 1}
      - {name: w2, address: 127.0.0.1:9002, weight: 3}
      - {name: w3, address: 127.0.0.1:9003, weight: 0}
  beta:
    policy: maglev
    hash: {by: header, name: X-User}
    endpoints: [{name: b1, address: 127.0.0.1:9101}, {name: b2, address: 127.0.0.1:9102}]
)";

config::Document document() {
    config::Parsed parsed = config::parse(site, "site.yaml");
    for (const Finding& finding : parsed.findings) ADD_FAILURE() << plimsoll::text(finding);
    return parsed.document ? std::move(*parsed.document) : config::Document{};
}

std::string told(std::string_view url, const std::vector<std::string>& headers = {},
                 const KnownHealth* health = nullptr, bool json = false) {
    const auto question = ask(url, headers);
    if (!question) return question.error().detail;
    const auto answer = explained(*question, document(), health, "site.yaml", json);
    return answer ? *answer : answer.error().detail;
}

TEST(Explain, SaysEveryStepOnTheWay) {
    EXPECT_EQ(told("http://www.example.com:8080/api/cart?x=1"),
              "GET http://www.example.com:8080/api/cart?x=1\n"
              "by        site.yaml; all endpoints taken as up\n"
              "listener  plain  0.0.0.0:8080\n"
              "route     api  (site.yaml:9)\n"
              "  not     internal  listener is plain, not internal\n"
              "  not     beta      header x-beta is not there\n"
              "  not     1 route for other hosts\n"
              "          rate limit: 10/s of one client, bursts of 20; 429 beyond\n"
              "rewrite   www.example.com:8080/api/cart is asked for as www.example.com:8080/v2/cart\n"
              "pool      web  75.0% of requests  least_request\n"
              "  w1   25.0%  127.0.0.1:9001\n"
              "  w2   75.0%  127.0.0.1:9002\n"
              "  w3       -  127.0.0.1:9003  weight 0: it is drained\n"
              "pool      beta  25.0% of requests  maglev by header X-User\n"
              "  key     header X-User is not there: by lot\n"
              "  b1   50.0%  127.0.0.1:9101\n"
              "  b2   50.0%  127.0.0.1:9102\n");
}

TEST(Explain, NamesTheHomeOfAKey) {
    const std::string said = told("http://x:8080/api", {"X-Beta: 1", "X-User: 4711"});
    EXPECT_NE(said.find("route     beta"), std::string::npos) << said;
    EXPECT_NE(said.find("  key     header X-User: this one goes to b"), std::string::npos) << said;
}

TEST(Explain, HealthSaysWhoIsOut) {
    const KnownHealth health{{{"web", "127.0.0.1:9001"}, {balance::Health::up}},
                             {{"web", "127.0.0.1:9002"}, {balance::Health::down}},
                             {{"beta", "127.0.0.1:9101"}, {balance::Health::down}},
                             {{"beta", "127.0.0.1:9102"}, {balance::Health::down}}};
    const std::string said = told("http://docs.example.com:8080/", {}, &health);
    EXPECT_NE(said.find("  w1  100.0%"), std::string::npos) << said;
    EXPECT_NE(said.find("  w2       -  127.0.0.1:9002  down by its health check"), std::string::npos) << said;
    const std::string panic = told("http://x:8080/api", {"X-Beta: 1"}, &health);
    EXPECT_NE(panic.find("used in panic"), std::string::npos) << panic;
}

TEST(Explain, ThoseThatAreOutForATimeAreSaidToBe) {
    using namespace std::chrono_literals;
    const KnownHealth ejected{{{"web", "127.0.0.1:9001"}, {balance::Health::up, 7s}},
                              {{"web", "127.0.0.1:9002"}, {balance::Health::up}}};
    const std::string said = told("http://docs.example.com:8080/", {}, &ejected);
    EXPECT_NE(said.find("  w1       -  127.0.0.1:9001  ejected after failures, 7s more"), std::string::npos) << said;
    EXPECT_NE(said.find("  w2  100.0%"), std::string::npos) << said;
    const KnownHealth paused{{{"web", "127.0.0.1:9001"}, {balance::Health::up}},
                             {{"web", "127.0.0.1:9002"}, {balance::Health::up, 0s, 3s}}};
    const std::string left = told("http://docs.example.com:8080/", {}, &paused);
    EXPECT_NE(left.find("  w2       -  127.0.0.1:9002  asked to be left alone, 3s more"), std::string::npos) << left;
}

TEST(Explain, AFileDoesNotKnowWhomDiscoveryFinds) {
    const config::Parsed parsed = config::parse(
        "listeners: {plain: {address: '0.0.0.0:8080'}}\n"
        "pools: {web: {health: off, discovery: {type: dns, name: web.internal, port: 80}}}\n"
        "routes: [{name: all, pool: web}]\n",
        "found.yaml");
    ASSERT_TRUE(parsed.document);
    const auto question = ask("http://x:8080/", {});
    ASSERT_TRUE(question);
    const auto file = explained(*question, *parsed.document, nullptr, "found.yaml", false);
    ASSERT_TRUE(file);
    EXPECT_NE(file->find("whom discovery finds by dns web.internal:80"), std::string::npos) << *file;
    EXPECT_EQ(file->find("503"), std::string::npos) << *file;
    const KnownHealth running;
    const auto served = explained(*question, *parsed.document, &running, "r7", false);
    ASSERT_TRUE(served);
    EXPECT_NE(served->find("no endpoints: 503"), std::string::npos) << *served;
}

TEST(Explain, WhoIsAskedFirst) {
    const std::string said = told("http://docs.example.com:8080/");
    EXPECT_NE(said.find("auth: pool beta is asked first, GET /may, within 1s; without an answer 503"),
              std::string::npos)
        << said;
    EXPECT_NE(said.find("auth: it alone says x-who; the client's are removed"), std::string::npos) << said;
}

TEST(Explain, RedirectRespondAndNothing) {
    EXPECT_NE(told("http://x:8080/old/a?b").find("answer    308 to http://www.example.com/new/a?b"), std::string::npos);
    EXPECT_NE(told("http://x:8080/gone").find("answer    410 by the route itself"), std::string::npos);
    EXPECT_NE(told("http://x:8080/other").find("route     none matches\n"), std::string::npos);
    EXPECT_NE(told("http://x:8080/other").find("answer    404: no route"), std::string::npos);
}

TEST(Explain, JsonHasTheSame) {
    const auto answer = nlohmann::json::parse(told("http://x:8080/api/cart", {}, nullptr, true));
    EXPECT_EQ(answer["route"], "api");
    EXPECT_EQ(answer["passed_over"].size(), 2u);
    EXPECT_EQ(answer["asked"]["path"], "/v2/cart");
    EXPECT_EQ(answer["pools"][0]["probability"], 0.75);
    EXPECT_EQ(answer["pools"][0]["endpoints"][1]["share"], 0.75);
    EXPECT_EQ(answer["status"], nullptr);
}

TEST(Ask, UrlsAsPeopleWriteThem) {
    const auto https = ask("HTTPS://shop.example.com/a?b#c", {"Host: other.example", "x:  y "});
    ASSERT_TRUE(https);
    EXPECT_EQ(https->scheme, "https");
    EXPECT_EQ(https->port, 443);
    EXPECT_EQ(https->host, "other.example");
    EXPECT_EQ(https->target, "/a?b");
    EXPECT_EQ(https->headers[1], (std::pair<std::string, std::string>{"x", "y"}));
    EXPECT_EQ(ask("shop.example.com", {})->target, "/");
    EXPECT_EQ(ask("shop.example.com?x=http://y/", {})->target, "/?x=http://y/");
    EXPECT_EQ(ask("http://[::1]:8080/", {})->port, 8080);
    EXPECT_EQ(ask("http://[::1]", {})->port, 80);
    EXPECT_FALSE(ask("ftp://x/", {}));
    EXPECT_FALSE(ask("http:///x", {}));
    EXPECT_FALSE(ask("http://x:99999/", {}));
    EXPECT_FALSE(ask("http://x/", {"no colon"}));
}

TEST(Reach, ByPortThenByScheme) {
    config::Config c;
    c.listeners.resize(2);
    c.listeners[0].name = "plain";
    c.listeners[0].address = {"0.0.0.0", 80};
    c.listeners[1].name = "secure";
    c.listeners[1].address = {"0.0.0.0", 8443};
    c.listeners[1].tls.emplace();
    EXPECT_EQ(reach(c, *ask("http://x/", {}))->listener->name, "plain");
    EXPECT_EQ(reach(c, *ask("https://x:8443/", {}))->listener->name, "secure");
    const auto nearest = reach(c, *ask("https://x/", {}));
    EXPECT_EQ(nearest->listener->name, "secure");
    EXPECT_EQ(nearest->remark, "no https listener has port 443; this one is taken, --listener names another");
    Question named = *ask("https://x/", {});
    named.listener = "plain";
    EXPECT_EQ(reach(c, named)->listener->name, "plain");
    named.listener = "none";
    EXPECT_FALSE(reach(c, named));
}

}  // namespace
}  // namespace plimsoll::cli
