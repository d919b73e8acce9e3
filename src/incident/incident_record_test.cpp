// What an incident keeps: deliveries, notes, severity, its form as JSON.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "incident/turned_clock.h"

namespace plimsoll::incident {
namespace {

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
