// What people read: the postmortem, the plots, the scenario. PLIMSOLL_SAMPLE_DIR=dir keeps the sample to be looked at.
#include "incident/postmortem.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "base/random.h"

namespace plimsoll::incident {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Timestamp t0{1'795'343'004'000'000'000};

void set(Incident& incident, Mark mark, Duration since, std::string text) {
    const Stamp stamp{t0 + since, since};
    incident.marks[static_cast<std::size_t>(mark)] = stamp;
    incident.lines.push_back({stamp, true, std::string(name(mark)), std::move(text), {}, {}});
}

/// r42 gives b1 ten times its weight; forced through the gates; rolled back after a second.
Incident sample() {
    Incident out;
    out.number = 17;
    out.subject = "change r42";
    out.phase = Phase::recovered;
    out.change = Change{{42},
                        {41},
                        "platform",
                        "new | weights",
                        "before.yaml",
                        "after.yaml",
                        {{"pools.web.endpoints[b1].weight", "100", "1000", {"after.yaml", 37, 15}}},
                        {"P401-concentration"}};
    out.cause =
        Cause{judge::Suspect::change, "change r42", out.change->altered, "b1 works at 3.9 x its capacity", 12.4};
    judge::Hypothesis hypothesis;
    hypothesis.suspect = judge::Suspect::demand;
    hypothesis.subject = "demand";
    hypothesis.score = -2;
    hypothesis.evidence = "320/s, usual is 318/s";
    out.hypotheses = {hypothesis};
    out.impact = {3'172, 35, 0.4, 29, 412, milliseconds(62), milliseconds(410), 3.9, "b1"};
    out.severity = severity(out.impact);
    set(out, Mark::t0, {}, "r42 took its first live traffic");
    set(out, Mark::detected, milliseconds(900), "saturation: b1 works at 3.9 x its capacity");
    set(out, Mark::cause_named, milliseconds(910),
        "change r42; pools.web.endpoints[b1].weight 100 -> 1000 (after.yaml:37)");
    set(out, Mark::mitigated, milliseconds(940), "r41 serves all requests on 4 of 4 workers");
    set(out, Mark::notified, milliseconds(960), "team answered 204");
    set(out, Mark::recovered, milliseconds(6'310), "skew 1.02, errors 0.00 %, p99 64 ms for 3 s");
    out.lines.push_back(
        {{t0 + milliseconds(950), milliseconds(950)}, false, "alert", "latency too: p99 410 ms, usual 62 ms", {}, {}});
    out.lines.push_back({{t0 + seconds(60), seconds(60)}, false, "note", "saw it in <chat>", {}, "ada"});
    out.rolled_back_to = {41};
    out.rollback_took = Duration{640'000};
    out.recovery_proof = "skew 1.02, errors 0.00 %, p99 64 ms for 3 s";
    out.deliveries = {{"msg_1", "team", 1, 204, "", t0 + milliseconds(960)}};
    return out;
}

Curves sample_curves(std::size_t endpoints = 8) {
    Random random(5);
    Curves out;
    for (std::size_t e = 0; e < endpoints; ++e)
        out.endpoints.push_back({"b" + std::to_string(e + 1), 1.0 / static_cast<double>(endpoints)});
    for (int s = -30; s < 30; ++s) {
        if (s == -12) continue;  // a second in which nothing was handed over
        const bool bad = s == 0;
        Point point{.at = seconds(s),
                    .requests = 320,
                    .failed = bad ? 35u : 0u,
                    .p50 = from_seconds(0.02 + 0.004 * random.uniform()),
                    .p99 = from_seconds(bad      ? 0.41
                                        : s == 1 ? 0.22
                                                 : 0.06 + 0.01 * random.uniform()),
                    .picks = {}};
        for (std::size_t e = 0; e < endpoints; ++e)
            point.picks.push_back((bad ? (e == 0 ? 190 : 19) : 40) + random.below(7));
        out.points.push_back(std::move(point));
    }
    return out;
}

void keep(std::string_view file, std::string_view text) {
    if (const char* directory = std::getenv("PLIMSOLL_SAMPLE_DIR"); directory != nullptr) {
        std::ofstream(std::string(directory) + "/" + std::string(file)) << text;
    }
}

/// Elements nest and close. Enough of XML for what we write: no comments, no entities but the four.
testing::AssertionResult well_formed(std::string_view text) {
    std::vector<std::string> open;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '&' && text.substr(at, 5).find(';') == std::string_view::npos &&
            !text.substr(at).starts_with("&quot;")) {
            return testing::AssertionFailure() << "bare & at " << at;
        }
        if (text[at] != '<') continue;
        const std::size_t end = text.find('>', at);
        if (end == std::string_view::npos) return testing::AssertionFailure() << "unclosed tag at " << at;
        const auto tag = text.substr(at + 1, end - at - 1);
        if (std::ranges::count(tag, '"') % 2 != 0) return testing::AssertionFailure() << "quotes in " << tag;
        const auto name_of = [](std::string_view all) { return std::string(all.substr(0, all.find(' '))); };
        if (tag.front() == '/') {
            if (open.empty() || open.back() != tag.substr(1)) return testing::AssertionFailure() << "closed " << tag;
            open.pop_back();
        } else if (tag.back() != '/') {
            open.push_back(name_of(tag));
        }
        at = end;
    }
    if (!open.empty()) return testing::AssertionFailure() << "left open: " << open.back();
    return testing::AssertionSuccess();
}

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

TEST(Postmortem, has_the_five_sections_of_the_story_in_order) {
    const auto text =
        postmortem(sample(), sample_curves(), {"0.1", "share.svg", "errors.svg", "latency.svg", "INC-17.scenario"});
    keep("postmortem.md", text);
    std::size_t at = 0;
    for (const auto* section :
         {"# INC-17: change r42\n", "## Overview\n", "## Timeline of Events\n", "## Root Cause Analysis\n",
          "## Mitigation Steps\n", "## Preventive Measures\n", "### Rigorous testing before production\n",
          "### Monitoring and alerting\n", "### Incident response plan\n", "## Metrics\n"}) {
        const auto found = text.find(section, at);
        ASSERT_NE(found, std::string::npos) << section;
        at = found;
    }
}

TEST(Postmortem, fills_in_facts_with_units_and_leaves_judgement_blank) {
    const auto text = postmortem(sample(), sample_curves(), {"0.1", "share.svg", "", "", "INC-17.scenario"});
    for (const auto* fact :
         {"detected 0.900 s after T0", "rolled back to r41 after 0.940 s", "proven after 6.310 s", "| 3,172 |",
          "35 (1.103 %; usual would have been 0.4)", "410.0 ms (usual 62.0 ms)", "b1 at 3.90 x its capacity",
          "after.yaml:37", "took 0.640 ms", "| 10:28 | +5 min |", "new \\| weights", "ada: saw it in \\<chat>",
          "P401-concentration", "| demand | -2.0 |", "![Share of decisions per server over time](share.svg)",
          "| 10:23:24.900 | +0.900 s |", "No human was called"}) {
        EXPECT_TRUE(has(text, fact)) << fact;
    }
    std::size_t blanks = 0;
    for (std::size_t at = text.find("> **To be written:**"); at != std::string::npos;
         at = text.find("> **To be written:**", at + 1))
        ++blanks;
    EXPECT_EQ(blanks, 5u);
    EXPECT_FALSE(has(text, "errors.svg"));
}

TEST(Postmortem, an_incident_that_is_not_over_says_so) {
    Incident incident;
    incident.number = 3;
    incident.subject = "errors of all";
    set(incident, Mark::t0, {}, "onset");
    set(incident, Mark::detected, {}, "errors");
    const auto text = postmortem(incident, {}, {});
    EXPECT_TRUE(has(text, "It is not over."));
    EXPECT_TRUE(has(text, "No hypothesis had enough evidence."));
    EXPECT_TRUE(has(text, "Nobody was notified."));
    incident.cause = Cause{judge::Suspect::endpoint, "server:b7", {}, "312 of 320 attempts failed there", 40};
    EXPECT_TRUE(has(postmortem(incident, {}, {}), "Not a change: the cause is server:b7"));
    EXPECT_TRUE(has(postmortem(Incident{}, {}, {}), "## Overview"));
}

TEST(Plots, are_well_formed_and_say_what_they_show) {
    const auto drawn = plots(sample(), sample_curves());
    keep("share.svg", drawn.share);
    keep("errors.svg", drawn.errors);
    keep("latency.svg", drawn.latency);
    for (const auto& svg : {drawn.share, drawn.errors, drawn.latency}) {
        EXPECT_TRUE(well_formed(svg));
        for (const auto* part : {"<title id=\"t\">INC-17: ", "<desc id=\"d\">", "T0: change live", "detected +0.90 s",
                                 "rolled back +0.94 s", "recovered +6.31 s", "seconds since T0"}) {
            EXPECT_TRUE(has(svg, part)) << part;
        }
    }
    EXPECT_TRUE(has(drawn.share, "b1 max 5"));
    EXPECT_TRUE(has(drawn.share, "expected 12.5 %"));
    EXPECT_TRUE(has(drawn.errors, "failed, max 10.9 %"));
    EXPECT_TRUE(has(drawn.latency, "usual p99 62 ms"));
}

TEST(Plots, forty_endpoints_colour_the_remarkable_ones) {
    const auto drawn = plots(sample(), sample_curves(40));
    keep("share-40.svg", drawn.share);
    EXPECT_TRUE(has(drawn.share, "b1 max"));
    EXPECT_TRUE(has(drawn.share, "32 others"));
}

TEST(Plots, no_data_and_odd_data_are_drawn_too) {
    EXPECT_TRUE(has(plots(sample(), {}).share, "no data was kept"));
    Curves odd = sample_curves(2);
    odd.endpoints[0].name = "<&\"\x01\xff";
    for (Point& point : odd.points) {
        point.failed = 0;
        point.p50 = point.p99 = {};
    }
    odd.points[3].picks.clear();
    odd.points[4].requests = 0;
    const auto drawn = plots(sample(), odd);
    EXPECT_TRUE(well_formed(drawn.share));
    EXPECT_FALSE(has(drawn.share, "nan"));
    EXPECT_TRUE(has(drawn.errors, "none of 18560 requests failed"));
    EXPECT_TRUE(has(drawn.latency, "no request was answered"));
}

TEST(Skew, is_the_largest_share_over_the_expected_one) {
    const auto curves = sample_curves();
    EXPECT_NEAR(skew(curves, seconds(-30), seconds(0)), 1.0, 0.05);
    EXPECT_GT(skew(curves, seconds(0), seconds(1)), 4);
    EXPECT_EQ(skew(curves, seconds(500), seconds(600)), 0);
}

TEST(Curves, come_from_the_series) {
    measure::Series series;
    measure::Tally window;
    window.from = {10'000'000'000};
    window.to = {10'100'000'000};
    window.arms[0].routes[0].requests = 9;
    window.arms[0].routes[0].total.add(milliseconds(20), 9);
    window.arms[1].routes[0].requests = 1;
    window.arms[1].routes[0].failed = 1;
    window.arms[0].endpoints[3].picks = 9;
    series.add(window);
    const std::vector<EndpointId> ids{{3}, {77}};
    const auto got = curves(series, {{"b3", 0.5}, {"gone", 0.5}}, ids, Instant{12'000'000'000}, {0}, {11'000'000'000});
    ASSERT_EQ(got.points.size(), 1u);
    EXPECT_EQ(got.points[0].at, seconds(-2));
    EXPECT_EQ(got.points[0].requests, 10u);
    EXPECT_EQ(got.points[0].failed, 1u);
    EXPECT_EQ(got.points[0].candidate_requests, 1u);
    EXPECT_EQ(got.points[0].picks, (std::vector<std::uint64_t>{9, 0}));
    EXPECT_NEAR(plimsoll::milliseconds(got.points[0].p50), 20, 2);
    EXPECT_TRUE(curves(series, {}, {}, {}, {0}, {10'000'000'000}).points.empty());
}

TEST(RegressionScenario, is_refused_when_gates_were_forced_and_rolled_back_when_not) {
    Incident incident = sample();
    const std::vector<Traffic> traffic{{"shop.example", "/cart", 200}, {"", "bad path", 120}, {"", "/zero", 0}};
    const auto forced = scenario(incident, {0, traffic, 7});
    ASSERT_TRUE(forced);
    keep("INC-17.scenario", *forced);
    EXPECT_TRUE(has(*forced,
                    "\nseed 7\nconfig before.yaml\nload 200.00/s host shop.example path /cart for 60s\nload 120.00/s "
                    "for 60s\nat 10s change after.yaml\n"));
    EXPECT_TRUE(has(*forced, "\nexpect change refused\n"));
    incident.change->forced.clear();
    incident.change->before_file.clear();
    incident.cause->evidence = "two\nlines";
    const auto plain = scenario(incident, {55, {}, 1});
    EXPECT_TRUE(has(*plain, "\nexpect change rolled_back\n"));
    EXPECT_TRUE(has(*plain, "config INC-17-before.yaml\n"));
    EXPECT_TRUE(has(*plain, "two lines"));
    EXPECT_TRUE(has(*plain, "\nload 55.00/s for 60s\n"));
    incident.cause->suspect = judge::Suspect::demand;
    EXPECT_FALSE(scenario(incident, {55, {}, 1}));
}

}  // namespace
}  // namespace plimsoll::incident
