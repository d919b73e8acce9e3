// What signals, diagnoses and divergences make of a rollout.
#include <gtest/gtest.h>

#include "rollout/small_site.h"

namespace plimsoll::rollout {
namespace {

TEST(Rollout, ASignalThatIsNotTheChangesFaultDoesNotUndoIt) {
    World w;
    w.start_with(World::proposal());
    w.until(Stage::canary);
    w.step();
    w.observe(Signalled{{signal(judge::SignalKind::errors, w.now)}, {blames(judge::Suspect::endpoint, "server:b3")}});
    EXPECT_NE(w.text.back().find("not the change"), std::string::npos);
    EXPECT_EQ(w.run().ending, Ending::completed) << w.finished->text;
}

TEST(Rollout, ASignalThatBlamesTheChangeUndoesIt) {
    for (const Stage stage : {Stage::canary, Stage::soak}) {
        World w;
        w.start_with(World::proposal());
        w.until(stage);
        w.step();
        w.observe(Signalled{{signal(judge::SignalKind::utilisation, w.now)},
                            {blames(judge::Suspect::change, "change r42", 42)}});
        const Finish& f = w.run();
        EXPECT_EQ(f.ending, Ending::rolled_back);
        EXPECT_EQ(f.frozen_digest, "d42");
        EXPECT_NE(f.account.cause.find("change r42"), std::string::npos);
    }
}

TEST(Rollout, NoStepIsTakenWhileSomethingElseIsWantedThanWhatServes) {
    for (const Stage stage : {Stage::shadow, Stage::canary, Stage::soak}) {
        World w;
        w.start_with(World::proposal());
        w.until(stage);
        w.observe(Diverged{{diverging("pool web")}});
        EXPECT_EQ(w.text.back(), "held: pool web: what is wanted has not been what serves for 90s");
        const double share = w.shares_installed.back();
        for (int i = 0; i < 400; ++i) w.step();  // longer than a step, a shadow or a soak takes, shorter than max_step
        EXPECT_EQ(stage_of(w.state), stage);
        EXPECT_EQ(w.shares_installed.back(), share);
        w.observe(Diverged{});
        EXPECT_EQ(w.text.back(), "no longer held: what is wanted serves");
        EXPECT_EQ(w.run().ending, Ending::completed) << w.finished->text;
    }
}

TEST(Rollout, ADivergenceOlderThanTheChangeHoldsItInShadowAndIsNamedAtTheEnd) {
    World w;
    w.start_with(World::proposal());
    w.observe(Diverged{{diverging("workers")}});
    const Finish& f = w.run();
    EXPECT_EQ(f.ending, Ending::rejected);
    EXPECT_NE(f.text.find("held in shadow: workers: what is wanted"), std::string::npos) << f.text;
    EXPECT_TRUE(f.frozen_digest.empty());
    EXPECT_EQ(f.account.candidate_requests, 0u);
    EXPECT_EQ(std::ranges::count_if(w.text, [](const auto& t) { return t.starts_with("held: workers"); }), 1);
}

TEST(Rollout, ADivergenceThatLastsEndsAStepWithTheOldRevisionAndNoBlame) {
    World w;
    w.start_with(World::proposal());
    w.until(Stage::canary);
    w.observe(Diverged{{diverging("pool api")}});
    const Finish& f = w.run();
    EXPECT_EQ(f.ending, Ending::rolled_back);
    EXPECT_NE(f.text.find("pool api: what is wanted"), std::string::npos) << f.text;
    EXPECT_TRUE(f.frozen_digest.empty());
}

TEST(Rollout, TheCureOfADivergenceIsNotHeldByIt) {
    for (const char* path : {"pools.web.discovery.name", "pools.web"}) {
        World w;
        Proposal p = World::proposal();
        p.altered.push_back({path, "", ""});
        w.start_with(p);
        w.observe(Diverged{{diverging("pool web")}});
        EXPECT_EQ(w.run().ending, Ending::completed) << path << ": " << w.finished->text;
    }
    World w;
    Proposal p = World::proposal();
    p.altered.push_back({"pools.webmail.discovery.name", "", ""});
    p.altered.push_back({"pools.web.endpoints[b1].weight", "1", "2"});
    w.start_with(p);
    w.observe(Diverged{{diverging("pool web")}});
    EXPECT_EQ(w.run().ending, Ending::rejected) << "neither is a cure";
    World forced;
    p.options = {.force = true, .reason = "the other way to bring servers back"};
    forced.start_with(p);
    forced.observe(Diverged{{diverging("pool web")}});
    EXPECT_EQ(forced.run().ending, Ending::completed) << forced.finished->text;
}

}  // namespace
}  // namespace plimsoll::rollout
