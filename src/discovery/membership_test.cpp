// What is believed of answers: property by property, and the outages that the rules come from.
#include "discovery/membership.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <fmt/format.h>

#include <algorithm>

namespace plimsoll::discovery {
namespace {

using namespace std::chrono_literals;

config::Endpoint endpoint(int n, double weight = 1) {
    config::Endpoint out;
    out.address = {fmt::format("10.0.0.{}", 100 + n), 80};
    out.name = text(out.address);
    out.weight = weight;
    return out;
}
Answer answer(std::initializer_list<int> numbers) {
    Answer out;
    for (const int n : numbers) out.endpoints.push_back(endpoint(n));
    return out;
}
std::vector<int> numbers(const std::vector<config::Endpoint>& endpoints) {
    std::vector<int> out;
    for (const auto& e : endpoints) out.push_back(std::stoi(e.address.host.substr(7)) - 100);
    return out;
}
using Numbers = std::vector<int>;
Instant at(int second) { return Instant{} + Duration(std::chrono::seconds(second)); }

TEST(Membership, TheFirstAnswerIsTakenAsItIs) {
    Membership m;
    const Shift shift = take(m, answer({3, 1, 2}), at(1));
    EXPECT_EQ(numbers(shift.added), (Numbers{1, 2, 3}));
    EXPECT_EQ(numbers(m.members), (Numbers{1, 2, 3}));
    EXPECT_EQ(m.differs_since, never);
    EXPECT_EQ(standing(m), "");
}

TEST(Membership, AnEmptyAnswerAndAFailureKeepWhatIsKnown) {  // AWS 2025-10-20: an empty record for the endpoint
    Membership m;
    static_cast<void>(take(m, answer({1, 2}), at(1)));
    EXPECT_FALSE(take(m, Answer{}, at(2)).any());
    EXPECT_FALSE(take(m, fail(Code::refused, "SERVFAIL"), at(3)).any());
    EXPECT_EQ(numbers(m.members), (Numbers{1, 2}));
    EXPECT_EQ(m.differs_since, at(2));
    EXPECT_EQ(standing(m), "SERVFAIL (2 times in a row)");
    EXPECT_EQ(take(m, answer({1, 2}), at(4)).note, "answers again after 2 failures");
    EXPECT_EQ(m.differs_since, never);
}

TEST(Membership, AnAnswerInWhichNobodyHasAWeightIsAnEmptyOne) {
    Membership m;
    static_cast<void>(take(m, answer({1, 2}), at(1)));
    Answer drained;
    drained.endpoints = {endpoint(1, 0), endpoint(2, 0)};
    EXPECT_FALSE(take(m, drained, at(2)).any());
    EXPECT_EQ(m.members[0].weight, 1);
}

TEST(Membership, HalfMayGoAtOnceMoreOnlyWhenASecondAnswerAgrees) {
    Membership m;
    static_cast<void>(take(m, answer({1, 2, 3, 4}), at(1)));
    EXPECT_EQ(numbers(take(m, answer({1, 2}), at(2)).removed), (Numbers{3, 4}));
    const Shift held = take(m, answer({9}), at(3));  // both gone, one new
    EXPECT_EQ(numbers(held.added), (Numbers{9}));
    EXPECT_TRUE(held.removed.empty());
    EXPECT_FALSE(held.note.empty());
    EXPECT_EQ(m.held, 1u);
    EXPECT_EQ(m.differs_since, at(3));
    EXPECT_EQ(numbers(take(m, answer({9}), at(4)).removed), (Numbers{1, 2}));
    EXPECT_EQ(numbers(m.members), (Numbers{9}));
    EXPECT_EQ(m.differs_since, never);
}

TEST(Membership, ASettledAnswerNeedsNoSecond) {
    Membership m;
    static_cast<void>(take(m, answer({1, 2, 3}), at(1)));
    static_cast<void>(take(m, answer({3, 4}), at(2)));  // 1 and 2 are doubted
    Answer settled = answer({4});
    settled.settled = true;
    EXPECT_EQ(numbers(take(m, settled, at(3)).removed), (Numbers{1, 2, 3}));
    EXPECT_TRUE(m.doubted.empty());
    EXPECT_EQ(m.differs_since, never);
    Answer nobody;
    nobody.settled = true;
    EXPECT_FALSE(take(m, nobody, at(4)).any()) << "an empty answer stays one";
}

TEST(Membership, WhatComesBackInTheSecondAnswerWasNeverGone) {
    Membership m;
    static_cast<void>(take(m, answer({1, 2, 3, 4, 5}), at(1)));
    static_cast<void>(take(m, answer({1}), at(2)));
    EXPECT_FALSE(take(m, answer({1, 2, 3, 4, 5}), at(3)).any());
    EXPECT_TRUE(m.doubted.empty());
}

TEST(Membership, AFailureBetweenTwoAnswersConfirmsNothing) {
    Membership m;
    static_cast<void>(take(m, answer({1, 2, 3}), at(1)));
    static_cast<void>(take(m, answer({1}), at(2)));
    static_cast<void>(take(m, fail(Code::timeout, "no answer"), at(3)));
    EXPECT_EQ(numbers(m.members), (Numbers{1, 2, 3}));
    EXPECT_EQ(numbers(take(m, answer({1}), at(4)).removed), (Numbers{2, 3}));
}

TEST(Membership, APartialAnswerAddsAndRemovesNobody) {
    Membership m;
    static_cast<void>(take(m, answer({1, 2}), at(1)));
    Answer part = answer({3});
    part.partial = true;
    EXPECT_EQ(numbers(take(m, part, at(2)).added), (Numbers{3}));
    EXPECT_EQ(numbers(take(m, part, at(3)).removed), Numbers{});
    EXPECT_EQ(numbers(m.members), (Numbers{1, 2, 3}));
    EXPECT_EQ(m.differs_since, at(2));
}

TEST(Membership, DrainingMostOfThemIsDoubtedLikeTheirLoss) {
    Membership m;
    static_cast<void>(take(m, answer({1, 2, 3}), at(1)));
    Answer drained;
    drained.endpoints = {endpoint(1), endpoint(2, 0), endpoint(3, 0)};
    EXPECT_FALSE(take(m, drained, at(2)).any());
    EXPECT_EQ(take(m, drained, at(3)).altered.size(), 2u);
    EXPECT_EQ(m.members[2].weight, 0);
}

TEST(Membership, MoreThanFitIsNoAnswer) {
    Membership m;
    static_cast<void>(take(m, answer({1}), at(1)));
    Answer flood;
    for (std::size_t i = 0; i <= max_found; ++i) flood.endpoints.push_back(endpoint(1));
    EXPECT_FALSE(take(m, flood, at(2)).any());
    EXPECT_EQ(m.failures, 1u);
}

TEST(Membership, PausesFollowTheTtlWithinItsBounds) {
    Membership m;
    static_cast<void>(take(m, answer({1}), at(1)));
    EXPECT_EQ(pause(m, 0s, 5s), 5s);
    EXPECT_EQ(pause(m, 3s, 5s), 3s);
    EXPECT_EQ(pause(m, 300s, 5s), 5s);
    EXPECT_EQ(pause(m, Duration(1), 5s), 1s);
    const Duration backoff[] = {1s, 2s, 4s, 5s, 5s};
    for (const Duration expected : backoff) {
        static_cast<void>(take(m, fail(Code::timeout, "x"), at(2)));
        EXPECT_EQ(pause(m, 3s, 5s), expected);
    }
}

RC_GTEST_PROP(Membership, NeverEmptyNeverMoreThanHalfAtOnceWithoutTwoAnswers, ()) {
    Membership m;
    std::vector<config::Address> lacked_before;  // by the last whole answer
    const auto steps = *rc::gen::container<std::vector<std::vector<int>>>(
        rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 12)));
    int second = 0;
    for (const std::vector<int>& step : steps) {
        Answer given;
        for (const int n : step) given.endpoints.push_back(endpoint(n));
        const std::vector<config::Endpoint> was = m.members;
        const bool failing = step.size() % 5 == 4;
        const Result<Answer> said = failing ? Result<Answer>(fail(Code::timeout, "x")) : Result<Answer>(given);
        const Shift shift = take(m, said, at(++second));
        RC_ASSERT(was.empty() || !m.members.empty());
        RC_ASSERT(std::ranges::is_sorted(m.members, {}, &config::Endpoint::address));
        if (shift.removed.size() * 2 > was.size()) {
            for (const auto& gone : shift.removed)
                RC_ASSERT(std::ranges::find(lacked_before, gone.address) != lacked_before.end());
        }
        if (failing || step.empty()) {
            RC_ASSERT(!shift.any());
            continue;
        }
        lacked_before.clear();
        for (const auto& member : was)
            if (std::ranges::find(given.endpoints, member.address, &config::Endpoint::address) == given.endpoints.end())
                lacked_before.push_back(member.address);
        for (const auto& e : given.endpoints)
            RC_ASSERT(std::ranges::find(m.members, e.address, &config::Endpoint::address) != m.members.end());
    }
}

TEST(WithFound, WrittenEndpointsComeFirstAndCount) {
    config::Config config;
    config.listeners.emplace_back().address = {"10.0.0.103", 80};
    config.pools.resize(2);
    config::Pool& pool = config.pools[0];
    pool.name = "web";
    pool.endpoints.push_back(endpoint(2, 7));
    pool.discovery.emplace();
    pool.discovery->name = "web.internal";
    pool.discovery->capacity = 50;
    config.pools[1].name = "other";
    Found found;
    config::Discovery faster = *pool.discovery;
    faster.refresh = 1s;  // how often does not matter for where
    found[{"web", faster}] = {endpoint(1), endpoint(2), endpoint(3)};
    const config::Config served = with_found(config, found);
    EXPECT_EQ(numbers(served.pools[0].endpoints), (Numbers{2, 1}));  // 3 is our own listener
    EXPECT_EQ(served.pools[0].endpoints[0].weight, 7);
    EXPECT_EQ(served.pools[0].endpoints[1].capacity, 50);
    EXPECT_EQ(served.pools[0].endpoints[0].tls_name, "") << "a written one is no name's";
    EXPECT_EQ(served.pools[0].endpoints[1].tls_name, "web.internal");
    EXPECT_TRUE(served.pools[1].endpoints.empty());
    faster.name = "elsewhere.internal";
    EXPECT_EQ(with_found(config, {{{"web", faster}, {endpoint(1)}}}), config);
}

TEST(WithFound, OurOwnListenersAreNoEndpoints) {
    config::Config config;
    config.listeners.resize(2);
    config.listeners[0].address = {"0.0.0.0", 80};
    config.listeners[1].address = {"192.0.2.1", 81};
    config.pools.resize(1);
    config.pools[0].name = "web";
    config.pools[0].discovery.emplace().name = "web.internal";
    std::vector<config::Endpoint> found;
    for (const config::Address& address : {config::Address{"127.0.0.1", 80}, {"192.0.2.1", 81}, {"192.0.2.9", 80}})
        found.emplace_back().address = address;
    const config::Config served = with_found(config, {{{"web", *config.pools[0].discovery}, found}});
    ASSERT_EQ(served.pools[0].endpoints.size(), 1u) << "a loop would be without end";
    EXPECT_EQ(served.pools[0].endpoints[0].address.host, "192.0.2.9");
}

TEST(WithFound, EndpointsAreVerifiedByWhatTheOperatorWrote) {
    const auto name = [](config::DiscoveryType type, std::string written) {
        config::Config config;
        config.pools.resize(1);
        config::Pool& pool = config.pools[0];
        pool.discovery.emplace();
        pool.discovery->type = type;
        pool.discovery->name = std::move(written);
        config::Endpoint found = endpoint(1);
        found.labels["host"] = "elsewhere.example";  // as DNS says
        return with_found(config, {{{pool.name, *pool.discovery}, {found}}}).pools[0].endpoints.at(0).tls_name;
    };
    EXPECT_EQ(name(config::DiscoveryType::dns, "web.internal"), "web.internal");
    EXPECT_EQ(name(config::DiscoveryType::srv, "_https._tcp.web.internal"), "web.internal");
    EXPECT_EQ(name(config::DiscoveryType::srv, "web.internal"), "web.internal");
    EXPECT_EQ(name(config::DiscoveryType::file, ""), "");
}

}  // namespace
}  // namespace plimsoll::discovery
