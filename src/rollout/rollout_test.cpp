// Whole rollouts in virtual time: a small site that performs the effects, and the rules that must hold whatever
// happens.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "rollout/small_site.h"

namespace plimsoll::rollout {
namespace {

TEST(Rollout, AGoodChangeGoesThroughEveryStageAndIsAdopted) {
    World w;
    w.start_with(World::proposal());
    const Finish& f = w.run();
    EXPECT_EQ(f.ending, Ending::completed) << f.text;
    EXPECT_EQ(f.exit_code, 0);
    EXPECT_TRUE(f.frozen_digest.empty());
    EXPECT_EQ(w.adopted, 1);
    EXPECT_EQ(w.uninstalls, 0);
    const std::vector<Stage> all = {Stage::checking, Stage::simulating, Stage::durable, Stage::shadow,
                                    Stage::canary,   Stage::soak,       Stage::ended};
    EXPECT_EQ(w.stages, all);
    EXPECT_EQ(w.shares_installed, (std::vector<double>{0, 0.01, 0.05, 0.25, 0.5, 0.98}));
}

TEST(Rollout, FindingsRejectBeforeTraffic) {
    World w;
    w.check_findings = {
        {.severity = Severity::error, .code = "P401", .path = "", .where = {}, .message = "bad", .remedy = ""}};
    w.start_with(World::proposal());
    const Finish& f = w.run();
    EXPECT_EQ(f.ending, Ending::rejected);
    EXPECT_EQ(f.exit_code, 3);
    EXPECT_TRUE(w.shares_installed.empty());
    EXPECT_EQ(f.account.t0, never);
    EXPECT_NE(f.text.find("P401"), std::string::npos);
}

TEST(Rollout, AForecastOfOverloadRejectsBeforeTraffic) {
    World w;
    w.forecast.refused = true;
    w.forecast.summary = "75 % of requests move to 2 of 8 servers, 1.80 of capacity";
    w.start_with(World::proposal());
    EXPECT_EQ(w.run().exit_code, 3);
    EXPECT_NE(w.finished->text.find("2 of 8"), std::string::npos);
}

TEST(Rollout, ConcentrationIsRejectedInShadowWithoutOneRequestAffected) {
    World w;
    w.shares_candidate = concentrated();
    w.start_with(World::proposal());
    const Finish& f = w.run();
    EXPECT_EQ(f.ending, Ending::rejected);
    EXPECT_EQ(f.exit_code, 3);
    EXPECT_EQ(w.shares_installed, std::vector<double>{0});
    EXPECT_EQ(w.uninstalls, 1);
    EXPECT_NE(f.text.find("of its capacity"), std::string::npos) << f.text;
    EXPECT_EQ(f.account.candidate_requests, 0u);
}

TEST(Rollout, ForcedConcentrationIsUndoneInTheFirstStepAfterAFewDozenRequests) {
    World w;
    w.shares_candidate = concentrated();
    w.forecast.refused = true;
    Proposal p = World::proposal();
    p.options = {.force = true, .at_once = false, .reason = "drill"};
    w.start_with(p);
    const Finish& f = w.run();
    EXPECT_EQ(f.ending, Ending::rolled_back);
    EXPECT_EQ(f.exit_code, 4) << f.text;
    EXPECT_EQ(f.frozen_digest, "d42");
    EXPECT_LE(f.account.candidate_requests, 120u);
    EXPECT_LE(f.account.candidate_failed, 1u);
    EXPECT_LT(f.account.hottest, 0.9) << "no server was ever hot";
    EXPECT_EQ(f.account.detected_by, "imbalance");
    EXPECT_LE(w.shares_installed.front(), 0.0101);
}

TEST(Rollout, ForcedAtOnceIsDetectedWithinASecondAndRecoveryIsProven) {
    World w;
    w.shares_candidate = concentrated();
    Proposal p = World::proposal();
    p.options = {.force = true, .at_once = true, .reason = "the story"};
    w.start_with(p);
    const Finish& f = w.run();
    EXPECT_EQ(f.ending, Ending::rolled_back) << f.text;
    EXPECT_EQ(f.exit_code, 4);
    EXPECT_EQ(w.shares_installed, std::vector<double>{0.98});
    const Account& a = f.account;
    EXPECT_LE(a.detected - a.t0, 1s);
    EXPECT_LE(a.rolled_back - a.detected, 200ms);
    EXPECT_GE(a.recovered - a.rolled_back, 3s);
    EXPECT_LE(a.recovered - a.rolled_back, 5s);
    EXPECT_EQ(a.cause_named, a.detected);
    EXPECT_GT(a.harmed(), 0u);
    EXPECT_LT(a.harmed(), 500u);
    EXPECT_FALSE(a.cause.empty());
}

TEST(Rollout, BreakGlassNeedsAReasonAndCannotForceAConfigThatServesNobody) {
    World w;
    Proposal p = World::proposal();
    p.options.force = true;
    w.start_with(p);
    EXPECT_EQ(w.finished->exit_code, 3);
    World v;
    v.unservable = true;
    p.options.reason = "really";
    v.start_with(p);
    EXPECT_EQ(v.run().exit_code, 3);
    EXPECT_TRUE(v.shares_installed.empty());
}

TEST(Rollout, ErrorsOfTheCandidateUndoItAndFreezeIt) {
    World w;
    w.error_candidate = 0.2;
    w.start_with(World::proposal());
    const Finish& f = w.run();
    EXPECT_EQ(f.ending, Ending::rolled_back);
    EXPECT_EQ(f.frozen_digest, "d42");
    EXPECT_EQ(f.account.detected_by, "errors");
    EXPECT_LE(f.account.candidate_failed, 12u);
    const auto failed = std::find_if(w.text.begin(), w.text.end(),
                                     [](const std::string& t) { return t.find("goes back") != std::string::npos; });
    EXPECT_NE(failed, w.text.end());
}

TEST(Rollout, WithoutTrafficItIsHeldAndThenEndsBeforeTraffic) {
    World w;
    w.rate = 0;
    w.start_with(World::proposal());
    const Finish& f = w.run();
    EXPECT_EQ(f.ending, Ending::rejected);
    EXPECT_NE(f.text.find("held for evidence"), std::string::npos);
}

TEST(Rollout, TrafficThatStopsInTheCanaryIsHeldAndUndoneNotPassed) {
    World w;
    w.start_with(World::proposal());
    w.until(Stage::canary);
    w.rate = 0;
    const Finish& f = w.run();
    EXPECT_EQ(f.ending, Ending::rolled_back);
    EXPECT_TRUE(f.frozen_digest.empty()) << "nothing was shown against it";
    EXPECT_NE(f.text.find("held for evidence"), std::string::npos) << f.text;
}

TEST(Rollout, AbortGoesBackAndIsNotFrozen) {
    World w;
    w.start_with(World::proposal());
    w.until(Stage::canary);
    w.step();
    w.observe(Command{Verb::abort, "bob", "wrong day"});
    const Finish& f = w.run();
    EXPECT_EQ(f.ending, Ending::aborted);
    EXPECT_EQ(f.exit_code, 4);
    EXPECT_TRUE(f.frozen_digest.empty());
    EXPECT_EQ(f.account.detected_by, "bob");
}

TEST(Rollout, PausedItStaysAtItsShareButHarmStillUndoes) {
    World w;
    w.start_with(World::proposal());
    w.until(Stage::canary);
    w.observe(Command{Verb::pause, "bob", ""});
    const std::size_t installs = w.shares_installed.size();
    for (int i = 0; i < 1200; ++i) w.step();
    EXPECT_FALSE(w.finished) << "a pause outlasts max_step";
    EXPECT_EQ(w.shares_installed.size(), installs);
    w.error_candidate = 1;
    EXPECT_EQ(w.run().ending, Ending::rolled_back);
}

TEST(Rollout, PromoteTakesTheNextStepOnly) {
    World w;
    w.start_with(World::proposal());
    w.until(Stage::canary);
    w.step();
    w.observe(Command{Verb::promote, "bob", "quiet night"});
    EXPECT_EQ(w.shares_installed.back(), 0.05);
    EXPECT_EQ(stage_of(w.state), Stage::canary);
}

TEST(Rollout, ASoakIsNotShortened) {
    World w;
    w.start_with(World::proposal());
    w.until(Stage::soak);
    const Instant began = w.now;
    for (int i = 0; i < 5; ++i) {
        w.step();
        w.observe(Command{Verb::promote, "bob", "it looks fine"});
    }
    EXPECT_EQ(stage_of(w.state), Stage::soak);
    EXPECT_EQ(w.run().ending, Ending::completed);
    EXPECT_GE(w.now - began, 20s);
}

TEST(Rollout, WhatAForecastLeavesOpenIsNoReasonToDoubtIt) {
    for (const double open : {0.0, 0.3}) {
        World w;
        w.forecast.open = open;
        w.start_with(World::proposal());
        w.until(Stage::shadow);
        while (!w.finished && stage_of(w.state) == Stage::shadow) {
            const std::vector<Observation> due = std::exchange(w.answers_due, {});
            for (const Observation& o : due) w.observe(o);
            w.now = w.now + tick;
            measure::Tally seen = w.window();
            seen.shadow.route_changed = seen.shadow.decisions / 4;
            w.observe(Measured{std::move(seen), w.facts(), w.rate});
        }
        EXPECT_EQ(w.finished.has_value(), open == 0.0);
        EXPECT_EQ(w.finished && w.finished->text.find("does not describe") != std::string::npos, open == 0.0);
    }
}

TEST(Rollout, AnotherRevisionsFaultIsNotOurs) {
    World w;
    w.start_with(World::proposal());
    w.until(Stage::canary);
    w.step();
    w.observe(Signalled{{signal(judge::SignalKind::errors, w.now)}, {blames(judge::Suspect::change, "change r7", 7)}});
    EXPECT_EQ(stage_of(w.state), Stage::canary);
}

TEST(Rollout, RecoveryThatIsNotProvenNeedsAHuman) {
    World w;
    w.start_with(World::proposal());
    w.until(Stage::canary);
    w.step();
    w.step();
    w.error_candidate = 1;
    w.error_active = 0.3;  // the old revision fails as well: rolling back does not help
    const Finish& f = w.run();
    EXPECT_EQ(f.exit_code, 5) << f.text;
    EXPECT_EQ(f.account.recovered, never);
}

TEST(Rollout, WorkersThatDoNotAcknowledgeAreLeftToTheirLeaseAndMeasured) {
    World w;
    w.error_candidate = 1;
    w.uninstalls_acknowledged = false;
    w.start_with(World::proposal());
    const Finish& f = w.run();
    EXPECT_EQ(f.ending, Ending::rolled_back);
    EXPECT_EQ(f.exit_code, 4) << f.text;
    World v;
    v.installs_acknowledged = false;
    v.start_with(World::proposal());
    EXPECT_EQ(v.run().ending, Ending::interrupted);
}

TEST(Rollout, ARollbackThatTheOldRevisionCannotCarryIsNotDoneAtOnce) {
    World w;
    w.start_with(World::proposal());
    w.until(Stage::soak);
    for (int i = 0; i < 20; ++i) w.step();
    // Meanwhile the old revision's servers went away but two; the new one has eight.
    w.shares_active = std::vector<double>(8, 0);
    w.shares_active[0] = w.shares_active[1] = 0.5;
    w.step();
    w.observe(Command{Verb::abort, "bob", ""});
    EXPECT_EQ(stage_of(w.state), Stage::undoing);
    EXPECT_EQ(w.uninstalls, 0);
    EXPECT_GT(w.shares_installed.back(), 0.5);
    w.shares_active = even_shares();
    for (int i = 0; i < 5; ++i) w.step();
    EXPECT_EQ(w.uninstalls, 1);
    EXPECT_EQ(w.run().exit_code, 4);
}

TEST(Rollout, TheRampIsBoundedByProjectedLoad) {
    World w;
    w.shares_candidate = {0.25, 0.25, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05};  // 1.2 of capacity at full share: 2 servers
    Proposal p = World::proposal();
    p.options = {.force = true, .at_once = false, .reason = "drill"};
    p.guard.steps = {0.9};
    w.start_with(p);
    for (int i = 0; i < 12 && w.shares_installed.empty(); ++i) w.step();
    // f <= (0.8/0.6 - 1) / (2 - 1) = 1/3.
    ASSERT_FALSE(w.shares_installed.empty());
    EXPECT_NEAR(w.shares_installed.front(), 1.0 / 3, 1e-6);
    EXPECT_EQ(w.run().ending, Ending::rolled_back);
    for (const double s : w.shares_installed) EXPECT_LE(s, 1.0 / 3 + 1e-6);
}

TEST(Rollout, AJournalThatFailsUndoesButDoesNotBlockTheWayBack) {
    World w;
    w.start_with(World::proposal());
    w.until(Stage::canary);
    w.step();
    w.observe(AppendFailed{"disk full"});
    EXPECT_EQ(stage_of(w.state), Stage::undoing);
    w.observe(AppendFailed{"disk full"});
    const Finish& f = w.run();
    EXPECT_EQ(f.ending, Ending::interrupted);
    EXPECT_NE(f.account.rolled_back, never);
}

TEST(Rollout, NothingAnswersAndItEnds) {
    World w;
    w.answers = false;
    w.start_with(World::proposal());
    EXPECT_EQ(w.run().ending, Ending::interrupted);
}

TEST(Rollout, LeasesAreRenewedWhileSomethingIsInstalled) {
    World w;
    w.start_with(World::proposal());
    w.until(Stage::canary);
    w.observe(Installed{w.now});
    int renewed = 0;
    Instant last = w.now;
    for (int i = 0; i < 100 && stage_of(w.state) == Stage::canary; ++i) {
        w.now = w.now + tick;
        Step step = next(w.state, Tick{}, w.now);
        w.state = std::move(step.state);
        for (const Effect& e : step.effects)
            if (std::holds_alternative<Renew>(e)) {
                EXPECT_LT(w.now - last, lease / 2);
                last = w.now;
                ++renewed;
            }
    }
    EXPECT_GE(renewed, 9);
}

TEST(Rollout, TheSameSeedGivesTheSameRollout) {
    const auto run = [] {
        World w;
        w.error_candidate = 0.004;
        w.start_with(World::proposal());
        w.run();
        return std::pair(w.text, w.finished->account.requests);
    };
    EXPECT_EQ(run(), run());
}

/// Whatever is observed, in whatever order: it ends, stages are not skipped, shares do not exceed what was allowed.
RC_GTEST_PROP(Rollout, RulesHoldUnderAnyObservations, (std::uint64_t seed)) {
    Random random(seed);
    World w;
    w.rate = random.chance(0.2) ? 0 : 200;
    w.capacity = 400 * w.rate / 1920 + 1;
    if (random.chance(0.3)) w.shares_candidate = concentrated();
    if (random.chance(0.3)) w.error_candidate = 0.05;
    w.answers = random.chance(0.9);
    w.installs_acknowledged = random.chance(0.9);
    w.uninstalls_acknowledged = random.chance(0.8);
    w.unservable = random.chance(0.05);
    w.random = random.split();
    Proposal p = World::proposal();
    p.options.force = random.chance(0.3);
    p.options.at_once = random.chance(0.2);
    p.options.reason = random.chance(0.8) ? "why" : "";
    const bool at_once = p.options.at_once;
    w.start_with(p);
    bool promoted = false;
    for (int i = 0; i < 6000 && !w.finished; ++i) {
        w.step();
        if (w.finished || !random.chance(0.01)) continue;
        switch (random.below(8)) {
            case 6: w.observe(random.chance(0.5) ? Diverged{{diverging("pool web")}} : Diverged{}); break;
            case 0: w.observe(Installed{w.now}); break;
            case 1: w.observe(Appended{RevisionNumber{42}}); break;
            case 2: w.observe(w.forecast); break;
            case 3: w.observe(Checked{}); break;
            case 4:
                w.observe(Command{Verb::promote, "x", ""});
                promoted = true;
                break;
            case 5:
                w.observe(Signalled{
                    {signal(judge::SignalKind::errors, w.now)},
                    {blames(random.chance(0.1) ? judge::Suspect::change : judge::Suspect::endpoint, "s", 42)}});
                break;
            default:
                if (random.chance(0.2)) w.observe(Command{Verb::abort, "x", ""});
                break;
        }
    }
    RC_ASSERT(w.finished.has_value());
    // Stages in order, none left out on the way forward.
    std::size_t forward = 0;
    for (const Stage s : w.stages) {
        if (s > Stage::soak) break;
        RC_ASSERT(static_cast<std::size_t>(s) == forward);
        ++forward;
    }
    // Shares only as the steps say, or lower where load bounds them.
    const std::vector<Share> allowed = steps(w.state);
    for (const double s : w.shares_installed) {
        RC_ASSERT(s <= soak_share(w.state).value);
        if (!at_once && !promoted) RC_ASSERT(s <= allowed.back().value || w.adopted > 0 || forward == 6);
    }
    // Nothing harmful is adopted; what took traffic and was not adopted was taken back.
    if (w.error_candidate > 0.01 && !promoted && w.rate > 0) RC_ASSERT(w.adopted == 0);
    if (w.state.took_traffic) RC_ASSERT(w.adopted == 1 || w.uninstalls >= 1);
    if (!w.state.took_traffic) RC_ASSERT(w.finished->exit_code == 3 || w.finished->exit_code == 1);
    RC_ASSERT((w.finished->ending == Ending::completed) == (w.finished->exit_code == 0));
    if (w.unservable) RC_ASSERT(w.shares_installed.empty());
    if (w.rate <= 0) RC_ASSERT(w.adopted == 0);
    const Step after = next(w.state, Tick{}, w.now + 1h);
    RC_ASSERT(after.effects.empty());
}

}  // namespace
}  // namespace plimsoll::rollout
