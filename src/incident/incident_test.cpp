// The machine: one story after the other, on a clock that the test turns.
#include "incident/incident.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "base/random.h"

namespace plimsoll::incident {
namespace {

using judge::Signal;
using judge::SignalKind;
using judge::Suspect;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Timestamp begin_of_day{1'795'343'000'000'000'000};

/// Turns the clock and feeds the machine; keeps every effect.
class World {
public:
    State state;
    std::vector<Effect> effects;
    Duration clock{};

    std::vector<Effect> see(const Observation& seen) {
        auto step = next(std::move(state), seen, now());
        state = std::move(step.state);
        effects.insert(effects.end(), step.effects.begin(), step.effects.end());
        return step.effects;
    }
    void pass(Duration d, Duration tick = milliseconds(100)) {
        for (const Duration end = clock + d; clock < end;) {
            clock += tick;
            see(Tick{});
        }
    }
    [[nodiscard]] Now now() const { return {Instant{1'000'000} + clock, begin_of_day + clock}; }
    [[nodiscard]] const Incident& incident(std::size_t i = 0) const { return state.incidents.at(i); }
    [[nodiscard]] std::vector<Notify> told() const {
        std::vector<Notify> out;
        for (const Effect& effect : effects) {
            if (const auto* notify = std::get_if<Notify>(&effect)) out.push_back(*notify);
        }
        return out;
    }
    [[nodiscard]] std::vector<std::string> told_names() const {
        std::vector<std::string> out;
        for (const Notify& each : told())
            out.push_back(std::string(name(each.event)) + " " + std::string(name(each.urgency)));
        return out;
    }
};

Change change(std::uint64_t revision = 42, std::string path = "pools.web.endpoints[b1].weight") {
    Change out;
    out.revision = {revision};
    out.base = {revision - 1};
    out.author = "platform";
    out.reason = "new weights";
    out.before_file = "before.yaml";
    out.after_file = "after.yaml";
    out.altered = {{std::move(path), "100", "1000", {"after.yaml", 37, 15}}};
    return out;
}

SignalSeen signal(SignalKind kind, std::string subject = "all", std::string pool = {}, bool firing = true) {
    Signal out;
    out.kind = kind;
    out.text = std::string(judge::name(kind)) + " of " + subject;
    out.subject = std::move(subject);
    out.firing = firing;
    return {std::move(out), std::move(pool)};
}

TrialFailed trial(std::uint64_t revision = 42) {
    judge::Verdict verdict;
    verdict.decision = judge::Decision::fail;
    verdict.family = judge::Family::saturation;
    verdict.log_e = 12;
    verdict.threshold = 8.7;
    verdict.text = "b1 works at 3.9 x its capacity";
    return {{revision}, verdict};
}

Diagnosed diagnosis(std::string id, Suspect suspect, std::string subject, double score) {
    judge::Hypothesis top, rest;
    top.suspect = suspect;
    top.subject = std::move(subject);
    top.score = score;
    top.evidence = "35 of 486 against 4 of 9,234";
    rest.score = 0;
    return {std::move(id), {top, rest}};
}

Delivered delivered(std::string id, std::uint16_t status, std::uint32_t attempt = 1) {
    Delivery delivery;
    delivery.notification = "msg_1";
    delivery.channel = "team";
    delivery.attempt = attempt;
    delivery.status = status;
    if (status == 0) delivery.error = "refused";
    return {std::move(id), delivery};
}

template <class T>
std::size_t count(const std::vector<Effect>& effects) {
    return static_cast<std::size_t>(
        std::ranges::count_if(effects, [](const Effect& effect) { return std::holds_alternative<T>(effect); }));
}

/// The story of PRODUCT.md, healed: change at 0 s, seen at 0.9 s, rolled back, even again.
World healed_rollback() {
    World world;
    world.see(ChangeLive{change(), {0.5}});
    world.pass(milliseconds(900));
    world.see(signal(SignalKind::utilisation, "endpoint b1", "web"));
    world.see(signal(SignalKind::latency));
    world.clock += milliseconds(10);
    world.see(trial());
    world.clock += milliseconds(30);
    world.see(Mitigated{"INC-1", "r41 serves all requests on 4 of 4 workers", {41}, milliseconds(28)});
    world.clock += milliseconds(20);
    world.see(delivered("INC-1", 204));
    world.pass(seconds(2));
    world.see(signal(SignalKind::utilisation, "endpoint b1", "web", false));
    world.see(signal(SignalKind::latency, "all", "", false));
    world.pass(seconds(1));
    world.see(RecoveryChecked{"INC-1", true, "skew 1.02, errors 0.00 %, p99 19 ms for 3 s"});
    return world;
}

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

TEST(Incident, deliveries_are_recorded_and_the_first_2xx_is_notified) {
    World world;
    world.see(signal(SignalKind::errors));
    world.see(delivered("INC-1", 0));
    world.see(delivered("INC-1", 500, 2));
    EXPECT_FALSE(world.incident().at(Mark::notified));
    world.clock += seconds(3);
    world.see(delivered("INC-1", 202, 3));
    world.clock += seconds(1);
    world.see(delivered("INC-1", 200, 1));
    EXPECT_EQ(world.incident().at(Mark::notified)->since_t0, seconds(3));
    EXPECT_EQ(world.incident().deliveries.size(), 4u);
}

TEST(Incident, people_add_notes_but_change_nothing) {
    World world;
    world.see(signal(SignalKind::errors));
    const auto before = world.incident().lines;
    world.see(NoteAdded{"INC-1", "ada", "the deploy of 10:20 is unrelated"});
    world.see(NoteAdded{"INC-1", "", std::string(10'000, 'x')});
    const auto& lines = world.incident().lines;
    ASSERT_EQ(lines.size(), before.size() + 2);
    EXPECT_TRUE(std::equal(before.begin(), before.end(), lines.begin()));
    EXPECT_EQ(lines[lines.size() - 2].author, "ada");
    EXPECT_EQ(lines.back().text.size(), max_note_bytes);
    EXPECT_FALSE(lines.back().author.empty());
}

TEST(Incident, the_log_has_an_end_but_key_lines_always_fit) {
    World world;
    world.see(signal(SignalKind::errors));
    for (std::size_t i = 0; i < max_lines + 100; ++i) world.see(NoteAdded{"INC-1", "ada", std::to_string(i)});
    EXPECT_EQ(world.incident().lines.size(), max_lines);
    EXPECT_EQ(world.incident().lines_dropped, 102u);  // two lines were there before
    world.see(Acknowledged{"INC-1", "ada"});
    EXPECT_EQ(world.incident().key_lines().back().what, "acknowledged");
}

TEST(Incident, changes_are_told_to_their_author_without_an_incident) {
    World world;
    world.see(ChangeRejected{change(), "replay", "75 % of requests move to 2 of 8 servers"});
    world.see(ChangeLive{change(43), {1}});
    world.see(ChangeSettled{{43}});
    world.see(ChangeSettled{{43}});
    EXPECT_EQ(world.told_names(), (std::vector<std::string>{"change.rejected info", "change.accepted info"}));
    EXPECT_TRUE(world.state.incidents.empty());
}

TEST(Incident, unknown_ids_change_nothing) {
    World world;
    for (const Observation& seen :
         {Observation(Acknowledged{"INC-9", "x"}), Observation(Mitigated{"INC-9", "x", {}, {}}),
          Observation(NoteAdded{"", "x", "y"}), Observation(Reviewed{"INC-9", "x"}),
          Observation(diagnosis("INC-9", Suspect::demand, "demand", 9)),
          Observation(RecoveryChecked{"INC-9", true, ""}), Observation(delivered("INC-9", 200)),
          Observation(ImpactMeasured{"INC-9", {}})}) {
        EXPECT_TRUE(world.see(seen).empty());
    }
    EXPECT_TRUE(world.state.incidents.empty());
}

TEST(Severity, is_computed_from_what_users_felt) {
    const auto of = [](std::uint64_t requests, std::uint64_t failed, double usual = 0, std::uint64_t slow = 0,
                       int p99 = 20) {
        return severity({requests, failed, usual, 0, slow, milliseconds(20), milliseconds(p99), 0, {}});
    };
    EXPECT_EQ(of(0, 0), IncidentSeverity::sev4);
    EXPECT_EQ(of(10'000, 4, 4), IncidentSeverity::sev4);
    EXPECT_EQ(of(10'000, 6, 4), IncidentSeverity::sev3);
    EXPECT_EQ(of(10'000, 100), IncidentSeverity::sev2);
    EXPECT_EQ(of(50, 10), IncidentSeverity::sev3) << "too few to say more";
    EXPECT_EQ(of(10'000, 1'000), IncidentSeverity::sev1);
    EXPECT_EQ(of(10'000, 0, 0, 100, 30), IncidentSeverity::sev4) << "one per cent is above the p99 by definition";
    EXPECT_EQ(of(10'000, 0, 0, 500, 30), IncidentSeverity::sev3);
    EXPECT_EQ(of(10'000, 0, 0, 500, 400), IncidentSeverity::sev2);
}

TEST(Incident, severity_follows_the_impact) {
    World world;
    world.see(signal(SignalKind::errors));
    EXPECT_EQ(count<WantImpact>(world.effects), 1u);
    Impact impact;
    impact.requests = 1000;
    impact.failed = 120;
    EXPECT_EQ(count<Save>(world.see(ImpactMeasured{"INC-1", impact})), 1u);
    EXPECT_EQ(world.incident().severity, IncidentSeverity::sev1);
    EXPECT_EQ(count<Save>(world.see(ImpactMeasured{"INC-1", impact})), 0u) << "the journal is not written for nothing";
}

TEST(Incident, goes_through_json_and_back) {
    World world = healed_rollback();
    world.see(NoteAdded{"INC-1", "ada", "bytes \xff that are no text"});
    Impact impact;
    impact.requests = 10'000;
    impact.failed = 35;
    impact.utilisation_worst = 3.9;
    world.see(ImpactMeasured{"INC-1", impact});
    const std::string once = to_json(world.incident());
    const auto back = from_json(once);
    ASSERT_TRUE(back) << back.error().detail;
    EXPECT_EQ(to_json(*back), once);
    EXPECT_EQ(back->marks, world.incident().marks);
    EXPECT_EQ(back->cause, world.incident().cause);
    EXPECT_EQ(back->change, world.incident().change);
    EXPECT_EQ(back->impact, world.incident().impact);
    EXPECT_EQ(back->deliveries, world.incident().deliveries);
}

TEST(Incident, json_that_is_no_incident_is_refused) {
    for (const auto* text : {"", "{}", "[]", "{\"format\":2}", "{\"format\":\"x\"}"}) {
        const auto got = from_json(text);
        ASSERT_FALSE(got);
        EXPECT_EQ(got.error().code, Code::invalid);
    }
    std::string text = to_json(healed_rollback().incident());
    EXPECT_FALSE(from_json(text.substr(0, text.size() / 2)));
    const auto at = text.find("\"recovered\"");
    ASSERT_NE(at, std::string::npos);
    text.replace(text.find("\"phase\":\"recovered\""), 19, "\"phase\":\"perfect!!\"");
    EXPECT_FALSE(from_json(text));
}

TEST(Incident, goes_on_after_a_restart) {
    World before;
    before.see(ChangeLive{change(), {1}});
    before.pass(seconds(1));
    before.see(trial());
    World after;
    after.clock = seconds(100);
    restore(after.state, from_json(to_json(before.incident())).value(), after.now());
    EXPECT_EQ(after.state.next_number, 2u);
    after.see(Mitigated{"INC-1", "r41 serves all requests", {41}, {}});
    EXPECT_EQ(after.incident().at(Mark::mitigated)->since_t0, seconds(100));
    after.see(signal(SignalKind::endpoint, "endpoint c1", "images"));
    EXPECT_EQ(after.state.incidents.back().id(), "INC-2");
}

RC_GTEST_PROP(Incident, any_course_keeps_its_promises, (std::uint64_t seed)) {
    Random random(seed);
    World world;
    std::vector<std::vector<Line>> seen_lines;
    for (int i = 0; i < 150; ++i) {
        world.clock += Duration{static_cast<std::int64_t>(random.below(3'000'000'000))};
        const std::string id = "INC-" + std::to_string(1 + random.below(3));
        const auto kind = static_cast<SignalKind>(random.below(7));
        const Instant any =
            random.chance(0.5) ? never : Instant{static_cast<std::int64_t>(random.below(400'000'000'000))};
        const std::string pool = random.chance(0.5) ? "web" : "";
        switch (random.below(12)) {
            case 0: world.see(ChangeLive{change(40 + random.below(3)), {0.5}, any}); break;
            case 1: world.see(ChangeSettled{{40 + random.below(3)}}); break;
            case 2: world.see(trial(40 + random.below(3))); break;
            case 3: world.see(signal(kind, "all", pool)); break;
            case 4: world.see(signal(kind, "all", pool, false)); break;
            case 5: world.see(diagnosis(id, static_cast<Suspect>(random.below(5)), "s", 10 * random.uniform())); break;
            case 6: world.see(Mitigated{id, "m", {random.below(40)}, {}, any}); break;
            case 7: world.see(RecoveryChecked{id, random.chance(0.5), "r", any}); break;
            case 8: world.see(delivered(id, random.chance(0.5) ? 200 : 0)); break;
            case 9: world.see(Acknowledged{id, "ada"}); break;
            case 10: world.see(Reviewed{id, "ada"}); break;
            default: world.see(MitigationFailed{id, "f"}); break;
        }
    }
    for (const Incident& incident : world.state.incidents) {
        const auto since = [&](Mark mark) { return incident.at(mark)->since_t0; };
        RC_ASSERT(since(Mark::t0) == Duration{0});
        for (std::size_t i = 1; i < mark_count; ++i) {
            RC_ASSERT(!incident.marks[i] || incident.marks[i]->since_t0 >= since(Mark::detected) ||
                      static_cast<Mark>(i) == Mark::detected);
        }
        RC_ASSERT(since(Mark::detected) >= Duration{0});
        if (incident.at(Mark::mitigated) && incident.at(Mark::recovered))
            RC_ASSERT(since(Mark::mitigated) <= since(Mark::recovered));
        if (incident.at(Mark::reviewed)) RC_ASSERT(since(Mark::recovered) <= since(Mark::reviewed));
        RC_ASSERT(incident.key_lines().size() <= max_key_lines);
        RC_ASSERT((incident.phase >= Phase::recovered) == incident.at(Mark::recovered).has_value());
        const auto back = from_json(to_json(incident));
        RC_ASSERT(back.has_value());
        RC_ASSERT(to_json(*back) == to_json(incident));
    }
    std::size_t pages_without_escalation = 0;
    for (const Notify& told : world.told()) {
        const Incident* incident = world.state.find(told.incident);
        if (told.urgency == Urgency::page && incident != nullptr && !incident->escalated) ++pages_without_escalation;
    }
    RC_ASSERT(pages_without_escalation == 0u);
}

}  // namespace
}  // namespace plimsoll::incident
