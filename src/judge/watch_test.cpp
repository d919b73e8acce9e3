// The watch against quiet days, and each kind of trouble; then who did it.
#include "judge/watch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "judge/diagnose.h"
#include "judge/eight_servers.h"

namespace plimsoll::judge {
namespace {

using namespace std::chrono_literals;

/// Eight servers, windows of 100 ms, two arms; what is wrong can be set per server and per arm.
struct Town {
    double rate = 1000;
    double share = 0;
    std::vector<double> shares_active = even_shares(), shares_candidate = even_shares();
    std::vector<double> failing = std::vector<double>(8, 0.0005), slower = std::vector<double>(8, 1.0);
    double candidate_failing = 0;
    double capacity = 250;
    std::vector<std::string> groups = std::vector<std::string>(8);
    bool all_from_candidate_config = false;
    Random random{5};
    Instant now{10'000'000'000};
    Watch watch;
    std::vector<Signal> signals;
    measure::Tally since;

    [[nodiscard]] std::vector<EndpointFacts> facts() const {
        std::vector<EndpointFacts> all = eight_servers(shares_active, shares_candidate, capacity);
        for (std::uint32_t i = 0; i < 8; ++i) all[i].group = groups[i];
        return all;
    }
    measure::Tally window() {
        measure::Tally t;
        t.from = now;
        t.to = now = now + 100ms;
        // Poisson by exponential gaps: traffic is not a metronome.
        double at = random.exponential(1);
        for (; at < rate / 10; at += random.exponential(1)) {
            Outcome o;
            o.arm = random.chance(share) ? Arm::candidate : Arm::active;
            const bool b = o.arm == Arm::candidate;
            const std::uint32_t server = draw(random, b ? shares_candidate : shares_active);
            o.route = RouteId{0};
            o.status = random.chance(failing[server] + (b ? candidate_failing : 0)) ? 503 : 200;
            o.first_byte = from_seconds(random.lognormal(0.04, 0.5) * slower[server]);
            o.attempt_count = 1;
            o.attempt[0].endpoint = EndpointId{server};
            o.attempt[0].status = o.status;
            o.attempt[0].first_byte = o.first_byte;
            measure::fold(t, o);
        }
        return t;
    }
    /// Runs for so long; true if some signal of this kind fired.
    void run(Duration span) {
        for (const Instant end = now + span; now < end;) {
            const measure::Tally t = window();
            measure::extend(since, t);
            for (Signal& s : watch.observe(t, facts(), Share{share})) signals.push_back(std::move(s));
        }
    }
    [[nodiscard]] const Signal* fired(SignalKind kind) const {
        for (const Signal& s : signals)
            if (s.firing && s.kind == kind) return &s;
        return nullptr;
    }
    [[nodiscard]] bool cleared(SignalKind kind) const {
        return std::any_of(signals.begin(), signals.end(),
                           [&](const Signal& s) { return !s.firing && s.kind == kind; });
    }
    void change_now(double new_share, std::vector<AlteredItem> altered) {
        share = new_share;
        change = ChangeFacts{
            .revision = RevisionNumber{42}, .applied = now, .share = Share{new_share}, .altered = std::move(altered)};
        since = {};
    }
    std::optional<ChangeFacts> change;
    [[nodiscard]] std::vector<Hypothesis> diagnosis() const {
        Scene scene;
        scene.now = now;
        scene.signals = watch.firing();
        scene.change = change;
        scene.since = since;
        scene.endpoints = facts();
        scene.usual = watch.usual();
        scene.rate = rate;
        return diagnose(scene);
    }
};

std::string listed(const std::vector<Hypothesis>& all) {
    std::string text;
    for (const Hypothesis& h : all) text += h.subject + " " + std::to_string(h.score) + " " + h.evidence + "\n";
    return text;
}

TEST(Watch, TenQuietMinutesWithPoissonTrafficSayNothing) {
    Town town;
    town.run(600s);
    EXPECT_TRUE(town.signals.empty()) << town.signals.front().text;
}

TEST(Watch, ErrorsFireWithinASecondAndClear) {
    Town town;
    town.run(30s);
    const Instant began = town.now;
    town.failing.assign(8, 0.05);
    town.run(3s);
    ASSERT_NE(town.fired(SignalKind::errors), nullptr);
    EXPECT_LE(town.fired(SignalKind::errors)->at - began, 1s);
    town.failing.assign(8, 0.0005);
    town.run(15s);
    EXPECT_TRUE(town.cleared(SignalKind::errors));
    EXPECT_TRUE(town.watch.firing().empty());
    const auto rises = std::count_if(town.signals.begin(), town.signals.end(),
                                     [](const Signal& s) { return s.firing && s.kind == SignalKind::errors; });
    EXPECT_EQ(rises, 1) << "said once";
}

TEST(Watch, LatencyFiresWithinASecond) {
    Town town;
    town.run(30s);
    const Instant began = town.now;
    town.slower.assign(8, 2);
    town.run(3s);
    ASSERT_NE(town.fired(SignalKind::latency), nullptr);
    EXPECT_LE(town.fired(SignalKind::latency)->at - began, 1s);
}

TEST(Watch, RequestsThatHangCountWhenTheyCrossAndOnlyOnce) {
    for (const bool growing : {true, false}) {
        Town town;
        town.run(30s);
        for (std::uint32_t i = 1; i <= 30; ++i) {
            measure::Tally t = town.window();
            t.arms[0].routes[0].waiting.add(2s, growing ? 20 * i : 3);
            for (Signal& s : town.watch.observe(t, town.facts(), Share{0})) town.signals.push_back(std::move(s));
        }
        EXPECT_EQ(town.fired(SignalKind::latency) != nullptr, growing);
    }
}

TEST(Watch, UtilisationFiresForTheBusyServerOnly) {
    Town town;
    town.run(20s);
    town.shares_active = {0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1};  // b0: 300 of 250 requests/s, and meant so
    town.run(5s);
    const Signal* s = town.fired(SignalKind::utilisation);
    ASSERT_NE(s, nullptr);
    EXPECT_EQ(s->subject, "endpoint b0");
    EXPECT_NEAR(s->value, 1.0, 0.25);
    EXPECT_EQ(town.fired(SignalKind::share), nullptr) << "uneven as expected is not a signal";
    EXPECT_EQ(town.watch.firing().size(), 1u);
}

TEST(Watch, SharesThatAreNotAsExpectedFire) {
    Town town;
    town.capacity = 0;
    town.run(10s);
    const auto facts = town.facts();
    town.shares_active = {0.5, 0.5, 0, 0, 0, 0, 0, 0};
    for (int i = 0; i < 60; ++i)
        for (Signal& s : town.watch.observe(town.window(), facts, Share{0})) town.signals.push_back(std::move(s));
    ASSERT_NE(town.fired(SignalKind::share), nullptr);
    EXPECT_GE(town.fired(SignalKind::share)->value, town.fired(SignalKind::share)->threshold);
}

TEST(Watch, AFailingEndpointIsNamed) {
    Town town;
    town.run(20s);
    town.failing[3] = 0.5;
    town.run(2s);
    const Signal* s = town.fired(SignalKind::endpoint);
    ASSERT_NE(s, nullptr);
    EXPECT_EQ(s->endpoint, EndpointId{3});
    EXPECT_EQ(std::count_if(town.signals.begin(), town.signals.end(),
                            [](const Signal& x) { return x.kind == SignalKind::endpoint; }),
              1);
}

TEST(Watch, AnEjectedEndpointIsNotMissedAndHasNotRecovered) {
    Town town;
    town.capacity = 0;
    town.run(20s);
    town.failing[3] = 1;
    town.run(500ms);
    ASSERT_NE(town.fired(SignalKind::endpoint), nullptr);
    town.failing[3] = 0;
    town.shares_active = {1. / 7, 1. / 7, 1. / 7, 0, 1. / 7, 1. / 7, 1. / 7, 1. / 7};
    const auto facts_in_rotation = [&town] {
        std::vector<EndpointFacts> facts = town.facts();
        facts[3].out = town.shares_active[3] == 0;
        return facts;
    };
    const auto run = [&](int windows) {
        for (int i = 0; i < windows; ++i)
            for (Signal& s : town.watch.observe(town.window(), facts_in_rotation(), Share{0}))
                town.signals.push_back(std::move(s));
    };
    run(100);
    EXPECT_FALSE(town.cleared(SignalKind::endpoint)) << "out, it shows nothing: that is no recovery";
    EXPECT_EQ(town.fired(SignalKind::share), nullptr);
    town.shares_active = even_shares();
    run(100);
    EXPECT_TRUE(town.cleared(SignalKind::endpoint));
    EXPECT_EQ(town.fired(SignalKind::share), nullptr);
}

TEST(Watch, DemandAndMissingRequests) {
    Town town;
    town.run(30s);
    town.rate = 2200;
    town.capacity = 1000;
    town.run(5s);
    EXPECT_NE(town.fired(SignalKind::demand), nullptr);
    Town quiet;
    quiet.run(30s);
    quiet.rate = 100;
    quiet.run(6s);
    EXPECT_NE(quiet.fired(SignalKind::missing), nullptr);
    quiet.rate = 1000;
    quiet.run(10s);
    EXPECT_TRUE(quiet.cleared(SignalKind::missing));
}

TEST(Watch, BeforeItKnowsWhatIsUsualItSaysNothing) {
    Town town;
    town.capacity = 0;
    town.rate = 50;
    town.failing.assign(8, 0.3);
    town.run(2s);
    EXPECT_EQ(town.fired(SignalKind::errors), nullptr);
    EXPECT_TRUE(Watch().observe({}, {}, Share{0}).empty());
}

// ---- who did it ----------------------------------------------------------------------------------------------------

TEST(Diagnose, ErrorsInTheCandidateOnlyAreTheChange) {
    Town town;
    town.run(30s);
    town.change_now(0.25, {{"pools.web.timeouts.per_try", "5s", "10ms"}});
    town.candidate_failing = 0.3;
    town.run(3s);
    const auto all = town.diagnosis();
    EXPECT_EQ(all.front().suspect, Suspect::change) << listed(all);
    EXPECT_EQ(all.front().revision.value, 42u);
    EXPECT_NE(all.front().subject.find("per_try"), std::string::npos);
    EXPECT_GT(all.front().score, 8.7);
}

TEST(Diagnose, CountsFromBeforeTheChangeDoNotHideIt) {
    Town town;
    town.run(30s);
    const measure::Tally before = town.since;
    town.change_now(0.98, {{"pools.web.timeouts.per_try", "5s", "10ms"}});
    town.candidate_failing = 0.1;
    town.run(500ms);
    town.since += before;
    const auto all = town.diagnosis();
    EXPECT_EQ(all.front().suspect, Suspect::change) << listed(all);
    EXPECT_GT(all.front().score, 3);
}

TEST(Diagnose, WithHardlyAnybodyHeldBackTimingSpeaksButAServerStillOutweighsIt) {
    for (const bool server : {false, true}) {
        Town town;
        town.run(30s);
        town.change_now(0.98, {{"routes[api].pool", "web", "old"}});
        if (server)
            town.failing[3] = 1;
        else
            town.candidate_failing = 0.5;
        town.run(server ? 1s : 300ms);
        const auto all = town.diagnosis();
        EXPECT_EQ(all.front().suspect, server ? Suspect::endpoint : Suspect::change) << listed(all);
        EXPECT_GT(all.front().score, 3) << listed(all);
    }
}

TEST(Diagnose, AServerThatDiesDuringAGoodChangeIsTheServer) {
    Town town;
    town.run(30s);
    town.change_now(0.25, {{"pools.web.timeouts.per_try", "5s", "4s"}});
    town.run(5s);
    town.failing[3] = 1;
    town.run(2s);
    const auto all = town.diagnosis();
    ASSERT_EQ(all.front().suspect, Suspect::endpoint) << listed(all);
    EXPECT_EQ(all.front().subject, "server:b3");
    const auto change =
        std::find_if(all.begin(), all.end(), [](const auto& h) { return h.suspect == Suspect::change; });
    ASSERT_NE(change, all.end());
    EXPECT_LT(change->score, 0) << listed(all);
    EXPECT_NE(change->evidence.find("alike"), std::string::npos) << change->evidence;
}

TEST(Diagnose, ConcentrationIsTheChangeAlthoughBothArmsSufferAlike) {
    for (const double share : {0.3, 0.98, 1.0}) {
        Town town;
        town.rate = 1200;
        town.run(30s);
        town.change_now(share, {{"notify[x].url", "a", "b"}, {"pools.web.endpoints[b0].weight", "1", "30"}});
        town.shares_candidate = std::vector<double>(8, 0.25 / 6);
        town.shares_candidate[0] = town.shares_candidate[1] = 0.375;
        town.failing[0] = town.failing[1] = 0.3;  // overloaded: whoever is sent there may fail
        town.slower[0] = town.slower[1] = 10;
        town.run(3s);
        const auto all = town.diagnosis();
        ASSERT_EQ(all.front().suspect, Suspect::change) << share << "\n" << listed(all);
        EXPECT_NE(all.front().subject.find("endpoints[b0].weight 1 -> 30"), std::string::npos) << all.front().subject;
        EXPECT_EQ(all.front().subject.find("notify"), std::string::npos);
    }
}

TEST(Diagnose, OneSlowServerWithoutAChange) {
    Town town;
    town.run(30s);
    town.slower[7] = 10;
    town.since = {};
    town.run(3s);
    const auto all = town.diagnosis();
    EXPECT_EQ(all.front().subject, "server:b7") << listed(all);
}

TEST(Diagnose, ABadBuildOnThreeServersDuringALogChangeIsTheServers) {
    Town town;
    for (const std::size_t i : {4u, 5u, 6u}) town.groups[i] = "version 7";
    town.run(30s);
    town.change_now(0.25, {{"access_log", "", "-"}});
    for (const std::size_t i : {4u, 5u, 6u}) town.failing[i] = 0.3;
    town.run(3s);
    const auto all = town.diagnosis();
    ASSERT_EQ(all.front().suspect, Suspect::endpoints) << listed(all);
    EXPECT_EQ(all.front().subject, "servers:b4, b5, b6 (version 7)");
}

TEST(Diagnose, DemandAboveCapacityIsDemand) {
    Town town;
    town.run(30s);
    town.since = {};
    town.rate = 2600;
    town.slower.assign(8, 8);
    town.failing.assign(8, 0.2);
    town.run(4s);
    const auto all = town.diagnosis();
    EXPECT_EQ(all.front().suspect, Suspect::demand) << listed(all);
}

TEST(Diagnose, NobodyIsBlamedWithoutEvidence) {
    EXPECT_EQ(diagnose(Scene{}).front().suspect, Suspect::unknown);
    Town town;
    town.run(30s);
    town.change_now(0.25, {{"pools.web.timeouts.per_try", "5s", "4s"}});
    town.run(5s);
    const auto all = town.diagnosis();
    EXPECT_EQ(all.front().suspect, Suspect::unknown) << listed(all);
}

TEST(Diagnose, WhatAnItemCanCause) {
    EXPECT_TRUE(can_cause("pools.web.endpoints[b1].weight", SignalKind::utilisation));
    EXPECT_TRUE(can_cause("pools.web.policy", SignalKind::latency));
    EXPECT_TRUE(can_cause("routes[api].pool", SignalKind::errors));
    EXPECT_FALSE(can_cause("pools.web.timeouts.total", SignalKind::utilisation));
    EXPECT_FALSE(can_cause("access_log", SignalKind::errors));
    EXPECT_FALSE(can_cause("pools.web.endpoints[b1].weight", SignalKind::demand));
}

}  // namespace
}  // namespace plimsoll::judge
