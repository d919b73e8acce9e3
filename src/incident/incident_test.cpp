// The machine: whom it tells, what it names, when it pages.
#include <gtest/gtest.h>

#include "incident/turned_clock.h"

namespace plimsoll::incident {
namespace {

TEST(Incident, a_verified_rollback_informs_and_does_not_page) {
    World world = healed_rollback();
    ASSERT_EQ(world.state.incidents.size(), 1u);
    const Incident& incident = world.incident();
    EXPECT_EQ(incident.phase, Phase::recovered);
    EXPECT_FALSE(incident.escalated);
    EXPECT_TRUE(incident.blames_change());
    EXPECT_EQ(incident.rolled_back_to, RevisionNumber{41});
    EXPECT_EQ(world.told_names(), (std::vector<std::string>{"incident.detected low", "incident.recovered low"}));
    EXPECT_EQ(count<DraftPostmortem>(world.effects), 0u) << "not before the impact is measured";
    EXPECT_EQ(count<DraftPostmortem>(world.see(ImpactMeasured{"INC-1", {}})), 1u);
    EXPECT_EQ(count<DraftPostmortem>(world.see(ImpactMeasured{"INC-1", {}})), 0u);
    world.pass(seconds(120), seconds(1));
    EXPECT_EQ(count<DraftPostmortem>(world.effects), 2u) << "once more, with what came after";
    EXPECT_EQ(world.told().size(), 2u) << "nothing is said afterwards";
}

TEST(Incident, marks_count_from_the_change) {
    const World world = healed_rollback();
    const auto since = [&](Mark mark) { return world.incident().at(mark).value_or(Stamp{}).since_t0; };
    EXPECT_EQ(since(Mark::t0), Duration{0});
    EXPECT_EQ(since(Mark::detected), milliseconds(900));
    EXPECT_EQ(since(Mark::cause_named), milliseconds(910));
    EXPECT_EQ(since(Mark::mitigated), milliseconds(940));
    EXPECT_EQ(since(Mark::notified), milliseconds(960));
    EXPECT_EQ(since(Mark::recovered), milliseconds(3960));
    EXPECT_EQ(world.incident().at(Mark::t0)->at, begin_of_day);
    EXPECT_EQ(world.incident().at(Mark::recovered)->at, begin_of_day + milliseconds(3960));
    EXPECT_FALSE(world.incident().at(Mark::acknowledged));
}

TEST(Incident, what_is_told_late_is_written_down_as_of_when_it_happened) {
    World world;
    world.clock = seconds(10);
    const auto at = [&](Duration d) { return world.now().instant - world.clock + d; };
    world.see(ChangeLive{change(), {1}, at(milliseconds(9'990))});
    world.clock = seconds(20);
    TrialFailed failed = trial();
    failed.at = at(milliseconds(19'500));
    world.see(failed);
    // Both told at the end, as the rollout reports them.
    world.clock = seconds(26);
    world.see(Mitigated{"INC-1", "r41 serves all requests", {41}, milliseconds(2), at(milliseconds(19'600))});
    world.see(RecoveryChecked{"INC-1", true, "even", at(milliseconds(25'000))});
    const auto since = [&](Mark mark) { return world.incident().at(mark).value_or(Stamp{}).since_t0; };
    EXPECT_EQ(since(Mark::detected), milliseconds(9'510));
    EXPECT_EQ(since(Mark::cause_named), milliseconds(9'510));
    EXPECT_EQ(since(Mark::mitigated), milliseconds(9'610));
    EXPECT_EQ(since(Mark::recovered), milliseconds(15'010));
    EXPECT_EQ(world.incident().at(Mark::t0)->at, begin_of_day + milliseconds(9'990));
    EXPECT_EQ(world.incident().at(Mark::mitigated)->at, begin_of_day + milliseconds(19'600));
    // Never before what it follows, never after it was told.
    world.see(ChangeLive{change(43), {1}, at(seconds(99))});
    world.see(trial(43));
    world.see(Mitigated{"INC-2", "m", {42}, {}, at(seconds(1))});
    EXPECT_EQ(world.incident(1).at(Mark::mitigated)->since_t0, Duration{0});
}

TEST(Incident, the_change_swallows_the_symptoms_of_its_pools) {
    World world;
    world.see(ChangeLive{change(), {1}});
    world.pass(seconds(1));
    world.see(signal(SignalKind::share, "pool web", "web"));
    world.see(signal(SignalKind::latency));
    world.see(signal(SignalKind::errors));
    world.see(signal(SignalKind::endpoint, "endpoint b1", "web"));
    EXPECT_EQ(world.state.incidents.size(), 1u);
    for (const Alert& alert : world.state.alerts) EXPECT_EQ(alert.incident, "INC-1");
    EXPECT_EQ(world.told().size(), 1u);
    // Another pool, which the change does not touch, and demand are incidents of their own.
    world.see(signal(SignalKind::endpoint, "endpoint c9", "images"));
    EXPECT_EQ(world.state.incidents.size(), 2u);
    EXPECT_EQ(world.incident(1).at(Mark::t0)->since_t0, world.incident(1).at(Mark::detected)->since_t0);
}

TEST(Incident, a_change_of_routes_may_touch_any_pool) {
    World world;
    world.see(ChangeLive{change(42, "routes[api].pool"), {1}});
    world.see(signal(SignalKind::endpoint, "endpoint c9", "images"));
    world.see(signal(SignalKind::endpoint, "endpoint b1", "web"));
    EXPECT_EQ(world.state.incidents.size(), 1u);
}

TEST(Incident, names_the_line_of_the_change) {
    const World world = healed_rollback();
    const auto lines = world.incident().key_lines();
    const auto cause = std::ranges::find(lines, "cause_named", &Line::what);
    ASSERT_NE(cause, lines.end());
    EXPECT_EQ(cause->text, "change r42; pools.web.endpoints[b1].weight 100 -> 1000 (after.yaml:37)");
    EXPECT_EQ(cause->evidence, "b1 works at 3.9 x its capacity");
}

TEST(Incident, key_lines_are_in_order_of_time_and_few) {
    World world = healed_rollback();
    world.see(Acknowledged{"INC-1", "ada"});
    world.see(Reviewed{"INC-1", "ada"});
    const auto lines = world.incident().key_lines();
    EXPECT_LE(lines.size(), max_key_lines);
    EXPECT_TRUE(std::ranges::is_sorted(lines, {}, [](const Line& line) { return line.stamp.since_t0; }));
    EXPECT_EQ(lines.front().what, "t0");
    EXPECT_EQ(lines.back().what, "reviewed");
    EXPECT_EQ(world.incident().owner, "ada");
    EXPECT_EQ(world.incident().phase, Phase::reviewed);
}

TEST(Incident, an_unproven_recovery_pages_once) {
    World world;
    world.see(ChangeLive{change(), {1}});
    world.see(trial());
    world.see(Mitigated{"INC-1", "r41 serves all requests", {41}, milliseconds(5)});
    world.see(RecoveryChecked{"INC-1", false, "p99 still 310 ms"});
    world.pass(seconds(9));
    EXPECT_FALSE(world.incident().escalated);
    world.pass(seconds(3));
    EXPECT_TRUE(world.incident().escalated);
    world.pass(seconds(30), seconds(1));
    EXPECT_EQ(world.told_names(), (std::vector<std::string>{"incident.detected low", "incident.escalated page"}));
    world.see(RecoveryChecked{"INC-1", true, "even"});
    EXPECT_EQ(world.incident().phase, Phase::recovered);
}

TEST(Incident, a_failed_rollback_pages_at_once) {
    World world;
    world.see(ChangeLive{change(), {1}});
    world.see(trial());
    world.see(MitigationFailed{"INC-1", "worker 2 did not acknowledge"});
    EXPECT_EQ(world.told().back().urgency, Urgency::page);
    EXPECT_NE(world.told().back().text.find("worker 2"), std::string::npos);
}

TEST(Incident, a_rollback_that_never_comes_pages) {
    World world;
    world.see(ChangeLive{change(), {1}});
    world.see(trial());
    world.pass(seconds(11));
    EXPECT_EQ(world.told_names(), (std::vector<std::string>{"incident.detected low", "incident.escalated page"}));
}

TEST(Incident, without_a_change_nobody_is_woken_before_a_diagnosis) {
    World world;
    EXPECT_EQ(count<WantDiagnosis>(world.see(signal(SignalKind::endpoint, "endpoint b7", "web"))), 1u);
    EXPECT_TRUE(world.told().empty());
    world.see(diagnosis("INC-1", Suspect::endpoint, "server:b7", 9));
    EXPECT_EQ(world.told_names(), std::vector<std::string>{"incident.detected low"});
    EXPECT_EQ(world.incident().cause->subject, "server:b7");
    // It was ejected: users are well, so nobody is woken, and it is over when the signal stays away.
    world.pass(seconds(20), seconds(1));
    world.see(signal(SignalKind::endpoint, "endpoint b7", "web", false));
    world.pass(seconds(3));
    EXPECT_EQ(world.incident().phase, Phase::recovered);
    EXPECT_EQ(world.told_names(), (std::vector<std::string>{"incident.detected low", "incident.recovered low"}));
}

TEST(Incident, a_degradation_without_a_cause_pages) {
    World world;
    world.see(signal(SignalKind::errors));
    world.see(diagnosis("INC-1", Suspect::unknown, "unknown", 0));
    EXPECT_EQ(world.told_names(), std::vector<std::string>{"incident.detected page"});
    World silent;
    silent.see(signal(SignalKind::errors));
    silent.pass(milliseconds(1100));
    EXPECT_EQ(silent.told_names(), std::vector<std::string>{"incident.detected page"}) << "no diagnosis came";
    EXPECT_GE(count<WantDiagnosis>(silent.effects), 2u) << "and it is asked for again";
}

TEST(Incident, users_still_affected_pages_even_with_a_cause) {
    World world;
    world.see(signal(SignalKind::errors));
    world.see(diagnosis("INC-1", Suspect::demand, "demand", 20));
    world.pass(seconds(9));
    EXPECT_EQ(world.told().size(), 1u);
    world.pass(seconds(2));
    EXPECT_EQ(world.told_names().back(), "incident.escalated page");
}

TEST(Incident, not_the_change_moves_t0_to_the_onset) {
    World world;
    world.see(ChangeLive{change(), {0.05}});
    world.pass(seconds(30), seconds(1));
    world.see(signal(SignalKind::endpoint, "endpoint b7", "web"));
    EXPECT_EQ(world.incident().at(Mark::detected)->since_t0, seconds(30));
    world.clock += milliseconds(200);
    world.see(diagnosis("INC-1", Suspect::endpoint, "server:b7", 9));
    EXPECT_FALSE(world.incident().blames_change());
    EXPECT_EQ(world.incident().at(Mark::detected)->since_t0, Duration{0});
    EXPECT_EQ(world.incident().at(Mark::cause_named)->since_t0, milliseconds(200));
    EXPECT_EQ(world.incident().at(Mark::t0)->at, begin_of_day + seconds(30));
    EXPECT_LE(world.incident().key_lines().size(), max_key_lines);
}

TEST(Incident, weak_or_close_hypotheses_name_nothing) {
    World world;
    world.see(signal(SignalKind::errors));
    world.see(diagnosis("INC-1", Suspect::endpoint, "server:b7", 2.9));
    EXPECT_FALSE(world.incident().cause);
    auto close = diagnosis("INC-1", Suspect::endpoint, "server:b7", 9);
    close.hypotheses[1].score = 8.5;
    world.see(close);
    EXPECT_FALSE(world.incident().cause);
    EXPECT_EQ(world.incident().hypotheses.size(), 2u);
    world.see(diagnosis("INC-1", Suspect::endpoint, "server:b7", 9));
    EXPECT_TRUE(world.incident().cause);
}

TEST(Incident, a_cause_can_be_revised_by_better_evidence) {
    World world;
    world.see(signal(SignalKind::errors));
    world.see(diagnosis("INC-1", Suspect::demand, "demand", 4));
    world.clock += seconds(1);
    world.see(diagnosis("INC-1", Suspect::endpoint, "server:b7", 40));
    EXPECT_EQ(world.incident().cause->subject, "server:b7");
    EXPECT_EQ(world.incident().at(Mark::cause_named)->since_t0, seconds(1));
    world.see(diagnosis("INC-1", Suspect::demand, "demand", 5));
    EXPECT_EQ(world.incident().cause->subject, "server:b7");
}

TEST(Incident, alerts_have_hysteresis) {
    World world;
    world.see(signal(SignalKind::errors));
    world.see(diagnosis("INC-1", Suspect::endpoint, "server:b7", 9));
    for (int i = 0; i < 5; ++i) {
        world.see(signal(SignalKind::errors, "all", "", false));
        world.pass(seconds(1));
        world.see(signal(SignalKind::errors));
        world.pass(milliseconds(100));
    }
    ASSERT_EQ(world.state.alerts.size(), 1u);
    EXPECT_EQ(world.state.alerts[0].fired, 1u);
    EXPECT_EQ(world.incident().phase, Phase::open);
    world.see(signal(SignalKind::errors, "all", "", false));
    world.pass(milliseconds(1900));
    EXPECT_EQ(world.state.alerts[0].state, AlertState::clearing);
    world.pass(milliseconds(200));
    EXPECT_EQ(world.state.alerts[0].state, AlertState::resolved);
    EXPECT_EQ(world.incident().phase, Phase::recovered);
}

TEST(Incident, pending_signals_that_go_away_are_nothing) {
    World world;
    world.state.settings.pending = seconds(2);
    world.see(signal(SignalKind::errors));
    world.pass(seconds(1));
    world.see(signal(SignalKind::errors, "all", "", false));
    world.pass(seconds(5));
    EXPECT_TRUE(world.state.incidents.empty());
    EXPECT_TRUE(world.state.alerts.empty());
    world.see(signal(SignalKind::errors));
    world.pass(seconds(3));
    EXPECT_EQ(world.state.incidents.size(), 1u);
}

TEST(Incident, the_same_signal_soon_after_is_a_relapse_and_later_a_new_incident) {
    World world;
    const auto once = [&] {
        world.see(signal(SignalKind::errors));
        world.pass(seconds(1));
        world.see(signal(SignalKind::errors, "all", "", false));
        world.pass(seconds(3));
    };
    once();
    EXPECT_EQ(world.incident().phase, Phase::recovered);
    world.pass(seconds(30), seconds(1));
    world.see(signal(SignalKind::errors));
    EXPECT_EQ(world.incident().phase, Phase::open);
    EXPECT_FALSE(world.incident().at(Mark::recovered));
    EXPECT_EQ(world.told_names().back(), "incident.relapsed page");
    world.see(signal(SignalKind::errors, "all", "", false));
    world.pass(seconds(3));
    EXPECT_EQ(world.incident().phase, Phase::recovered);
    EXPECT_EQ(std::ranges::count(world.incident().key_lines(), "recovered", &Line::what), 1);
    world.pass(seconds(70), seconds(1));
    once();
    EXPECT_EQ(world.state.incidents.size(), 2u);
    EXPECT_EQ(world.incident(1).id(), "INC-2");
}

}  // namespace
}  // namespace plimsoll::incident
