// What is expected of endpoints, and where that can be held against what is seen.
#include "rollout/traffic_facts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "config/config.h"

namespace plimsoll::rollout {
namespace {

constexpr std::string_view head = "listeners: {web: {address: '127.0.0.1:80'}}\n";
constexpr std::string_view four =
    "    health: off\n    endpoints:\n      - {name: b0, address: '127.0.0.1:1', zone: a, labels: {v: '1'}}\n"
    "      - {name: b1, address: '127.0.0.1:2', zone: a}\n      - {name: b2, address: '127.0.0.1:3', zone: b}\n"
    "      - {name: b3, address: '127.0.0.1:4', zone: b, priority: PRIORITY}\n";

struct Given {
    snapshot::Identities identities;
    std::shared_ptr<const snapshot::Snapshot> snapshot;
    std::set<std::string> down, out;

    explicit Given(std::string text) {
        const config::Parsed parsed = config::parse(text, "site.yaml");
        for (const Finding& finding : parsed.findings) ADD_FAILURE() << plimsoll::text(finding);
        snapshot = snapshot::compile(parsed.document->config, RevisionNumber{1}, identities, 1);
    }
    [[nodiscard]] std::vector<judge::EndpointFacts> facts(bool guessed = false) const {
        const auto among = [this](const std::set<std::string>& names) {
            return [this, &names](EndpointId id) { return names.contains(std::string(identities.endpoint_name(id))); };
        };
        return endpoint_facts({snapshot.get(), equal_mix(*snapshot), guessed}, {}, among(down), among(out));
    }
    [[nodiscard]] std::vector<double> shares() const {
        std::vector<double> all;
        for (const judge::EndpointFacts& one : facts()) all.push_back(one.expected_active);
        return all;
    }
    [[nodiscard]] bool comparable(bool guessed = false) const {
        return std::ranges::all_of(facts(guessed), &judge::EndpointFacts::comparable);
    }
};

std::string site(std::string_view pool, std::string_view route = "", std::string_view more = "", char priority = '0') {
    std::string endpoints(four);
    endpoints.replace(endpoints.find("PRIORITY"), 8, 1, priority);
    return std::string(head) + std::string(more) + "routes: [{name: all, pool: web" + std::string(route) +
           "}]\npools:\n  web:\n" + std::string(pool) + endpoints;
}

void expect_shares(const Given& given, std::vector<double> wanted) {
    const std::vector<double> shares = given.shares();
    ASSERT_EQ(shares.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(shares[i], wanted[i], 1e-9) << i;
}

TEST(TrafficFacts, WhoIsDownIsExpectedToGetNothing) {
    Given given(site(""));
    expect_shares(given, {0.25, 0.25, 0.25, 0.25});
    EXPECT_TRUE(given.comparable());
    given.down = {"b1"};
    expect_shares(given, {1. / 3, 0, 1. / 3, 1. / 3});
    EXPECT_FALSE(given.facts()[1].eligible);
    EXPECT_TRUE(given.comparable());
}

TEST(TrafficFacts, LevelsSpillAsTheyDo) {  // a failover that is right must be no signal
    Given given(site("", "", "", '1'));
    expect_shares(given, {1. / 3, 1. / 3, 1. / 3, 0});
    given.down = {"b0", "b1"};
    expect_shares(given, {0, 0, 1.4 / 3, 1 - 1.4 / 3});
}

TEST(TrafficFacts, ZonesKeepTheirPart) {
    const Given given(site("    zone_aware: true\n", "", "zone: a\n"));
    expect_shares(given, {0.5, 0.5, 0, 0});
    EXPECT_TRUE(given.comparable());
}

TEST(TrafficFacts, WhoIsOutStopsTheComparisonNotTheExpectation) {
    Given given(site(""));
    given.out = {"b2"};
    expect_shares(given, {0.25, 0.25, 0.25, 0.25});  // that may be why it is out
    EXPECT_TRUE(given.facts()[2].out && given.facts()[2].eligible);
    EXPECT_FALSE(given.comparable());
}

TEST(TrafficFacts, WhatKeysCookiesSubsetsAndGuessesDoCannotBeForetold) {
    EXPECT_FALSE(Given(site("    policy: maglev\n    hash: {by: header, name: X-User}\n")).comparable());
    EXPECT_FALSE(Given(site("    affinity: {secret: 0123456789abcdef}\n")).comparable());
    EXPECT_FALSE(Given(site("", ", subset: {v: '1'}")).comparable());
    EXPECT_FALSE(Given(site("")).comparable(true));
}

}  // namespace
}  // namespace plimsoll::rollout
