// Reading scenarios: all mistakes at once with their places; playing them: every file under tests/scenarios, three
// seeds.
#include "sim/scenario.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "sim/words.h"

namespace plimsoll::sim {
namespace {

using namespace std::chrono_literals;

Result<std::string> no_files(const std::string& name) { return fail(Code::not_found, name); }

std::string codes(std::string_view text) {
    std::string all;
    for (const Finding& finding : parse_scenario(text, "t").findings) {
        all += std::to_string(finding.where.line) + ":" + std::to_string(finding.where.column) + " " +
               finding.code.substr(0, 4) + "; ";
    }
    return all;
}

TEST(Words, KeepColumnsAndParentheses) {
    const auto words = split_words("server a,b  latency lognormal(20ms, 0.4) # and so on");
    ASSERT_EQ(words.size(), 4u);
    EXPECT_EQ(words[3].text, "lognormal(20ms, 0.4)");
    EXPECT_EQ(words[3].column, 21);
    const auto pool = split_words("pool web: a");
    ASSERT_EQ(pool.size(), 4u);
    EXPECT_EQ(pool[2].text, ":");
    EXPECT_EQ(pool[2].column, 9);
    EXPECT_TRUE(split_words("   # nothing").empty());
    EXPECT_EQ(split_words("x (open").size(), 2u);
}

TEST(Words, NumbersAndRows) {
    EXPECT_EQ(*parse_duration("1.5s"), 1500ms);
    EXPECT_EQ(*parse_duration("2m"), 120s);
    EXPECT_FALSE(parse_duration("5"));
    EXPECT_FALSE(parse_duration("-5s"));
    EXPECT_FALSE(parse_duration("25h"));
    EXPECT_DOUBLE_EQ(*parse_percent("99.5%"), 0.995);
    EXPECT_FALSE(parse_percent("101%"));
    EXPECT_FALSE(parse_number("nan"));
    EXPECT_FALSE(parse_number("1e999"));
    EXPECT_EQ(*parse_rate("60/s"), 60);
    EXPECT_EQ(*parse_row("b8..b11", 100), (std::vector<std::string>{"b8", "b9", "b10", "b11"}));
    EXPECT_FALSE(parse_row("b0..c3", 100));
    EXPECT_FALSE(parse_row("b0..b100", 100));
    EXPECT_FALSE(parse_row("b5..b3", 100));
}

TEST(ParseScenario, AllMistakesAtOnceWithTheirPlaces) {
    EXPECT_EQ(codes("seed x\n"
                    "pool web policy fastest: a b\n"
                    "pool api: a a\n"
                    "load 60 for 10s\n"
                    "at 5s server a explodes\n"
                    "expect availability 99%\n"
                    "expct nothing\n"
                    "route /x pool nowhere\n"),
              "1:6 S102; 2:17 S102; 3:13 S104; 4:6 S102; 5:16 S100; 6:21 S101; 7:1 S100; 8:15 S103; ");
}

TEST(ParseScenario, UnknownServersAndMissingChanges) {
    EXPECT_EQ(codes("pool web: a b\nload 10/s for 5s\nat 1s server c dies\nexpect change refused\n"
                    "at 2s change weights a=2 z=3\nexpect share q >= 10%\nload 5/s fro 3s\nexpect change vanished\n"),
              "3:14 S103; 4:1 S107; 5:22 S103; 6:14 S103; 7:10 S100; 8:15 S101; ");
}

TEST(ParseScenario, TheWorldIsWhatWasWritten) {
    const auto parsed = parse_scenario(
        "seed 9\npool web policy round_robin ejection off retries 3 timeout 700ms: a=2 b0..b2 # four\n"
        "pool api health off: b0 x\nroute /api pool api\nroute / pool web\n"
        "server a capacity 90 latency lognormal(30ms, 0.7) queue 5\nserver b0,x capacity 10 undeclared\n"
        "guard min_step 3s soak 7s hold_back 0.1 steps 2%,100%\nload 10/s path /api/x from 5s for 10s\nuntil 30s\n",
        "s.scenario");
    ASSERT_TRUE(parsed.scenario) << text(parsed.findings.front());
    const Scenario& s = *parsed.scenario;
    EXPECT_EQ(s.seed, 9u);
    EXPECT_EQ(s.end, Instant{} + 30s);
    ASSERT_EQ(s.config.pools.size(), 2u);
    const config::Pool& web = s.config.pools[0];
    EXPECT_EQ(web.policy, config::Policy::round_robin);
    EXPECT_FALSE(web.ejection.enabled);
    EXPECT_EQ(web.retry.attempts, 3u);
    EXPECT_EQ(web.timeouts.per_try, 700ms);
    ASSERT_EQ(web.endpoints.size(), 4u);
    EXPECT_EQ(web.endpoints[0].weight, 2);
    EXPECT_EQ(web.endpoints[0].capacity, 90);
    EXPECT_EQ(web.endpoints[1].capacity, std::nullopt);
    EXPECT_EQ(web.endpoints[2].capacity, 40);
    EXPECT_EQ(web.endpoints[1].address, s.config.pools[1].endpoints[0].address);  // the same server
    EXPECT_FALSE(s.config.pools[1].health);
    EXPECT_EQ(s.config.routes[0].match.path_prefix, "/api");
    EXPECT_EQ(s.config.guard.soak, 7s);
    EXPECT_EQ(s.config.guard.steps, (std::vector<double>{0.02, 1}));
    EXPECT_EQ(s.loads[0].to, Instant{} + 15s);
    EXPECT_TRUE(config::parse(config::print(s.config), "x").document);
}

TEST(ParseScenario, EventsAreInOrderOfTimeAndExpectationsFollow) {
    const auto parsed = parse_scenario(
        "pool web: a b\nload 10/s for 50s\nat 40s change weights a=2\nexpect change completed\nat 5s server a dies\n"
        "expect within 3s server a ejected\nat 20s unguarded change drain b\nexpect change completed within 2s\n",
        "t");
    ASSERT_TRUE(parsed.scenario);
    const Scenario& s = *parsed.scenario;
    ASSERT_EQ(s.events.size(), 3u);
    EXPECT_EQ(s.events[0].at, Instant{} + 5s);
    EXPECT_EQ(s.events[2].at, Instant{} + 40s);
    EXPECT_EQ(std::get<ExpectChange>(s.expectations[0].what).change, 2u);
    EXPECT_EQ(std::get<ExpectServer>(s.expectations[1].what).since, Instant{} + 5s);
    EXPECT_EQ(std::get<ExpectChange>(s.expectations[2].what).change, 1u);
    EXPECT_EQ(s.expectations[1].text, "expect within 3s server a ejected");
}

TEST(ParseScenario, AWorldNeedsServersTrafficAndAnEnd) {
    EXPECT_EQ(codes("seed 1\n"), "0:1 S106; 0:1 S106; ");
    EXPECT_EQ(codes("pool web: a\nload 5/s\n"), "0:1 S106; ");
}

TEST(ParseScenario, TooMuchIsRefused) {
    EXPECT_EQ(codes(std::string(2u << 20, ' ')), "0:0 S109; ");
    EXPECT_NE(codes("pool web: a\nload 1000000/s for 24h\n").find("S109"), std::string::npos);
    EXPECT_NE(codes("pool web: b0..b99999\nload 1/s for 1s\n").find("S102"), std::string::npos);
}

RC_GTEST_PROP(ParseScenarioProperty, AnyTextGivesAScenarioOrFindings, (const std::string& bytes)) {
    const std::vector<std::string> words = {"pool",   "web:", "a",    "at",     "5s",      "change", "server",
                                            "expect", "load", "10/s", "for",    "weights", "a=3",    "share",
                                            ">=",     "30%",  "\n",   "errors", "(",       "b0..b3"};
    std::string text = bytes;
    const auto n = *rc::gen::inRange(0, 60);
    for (int i = 0; i < n; ++i) text += " " + *rc::gen::elementOf(words);
    const auto parsed = parse_scenario(text, "t");
    RC_ASSERT(parsed.scenario.has_value() != has_errors(parsed.findings));
    for (const Finding& finding : parsed.findings) RC_ASSERT(finding.where.line >= 0 && !finding.message.empty());
}

Played play_text(std::string_view text, std::uint64_t seed = 7) {
    auto parsed = parse_scenario(text, "t");
    if (!parsed.scenario) {
        Played played;
        played.findings = parsed.findings;
        return played;
    }
    parsed.scenario->seed = seed;
    return play(*parsed.scenario, no_files);
}

TEST(PlayScenario, SameSeedSameBytes) {
    const std::string text =
        "pool web policy least_request: a b c\nload 60/s for 40s\nat 5s server a errors 60%\n"
        "at 10s change weights a=2\nexpect availability >= 99.99%\nexpect share a >= 90%\n";
    const std::string one = describe(play_text(text));
    EXPECT_TRUE(one == describe(play_text(text)));
    EXPECT_FALSE(one == describe(play_text(text, 8)));
    EXPECT_NE(one.find("FAIL t:6"), std::string::npos) << one;
}

TEST(PlayScenario, ConfigFilesAreReadThroughTheFunction) {
    const std::string before =
        config::print(parse_scenario("pool web: a b c d\nload 1/s for 1s\n", "x").scenario->config);
    std::string after = before;
    for (std::size_t at = after.find("weight: 1"); at != std::string::npos; at = after.find("weight: 1", at + 9)) {
        after.replace(at, 9, "weight: 9");
        break;
    }
    ASSERT_NE(before, after);
    const auto files = [&](const std::string& name) -> Result<std::string> {
        if (name == "before.yaml") return before;
        if (name == "after.yaml") return after;
        return fail(Code::not_found, "no such file");
    };
    const auto parsed = parse_scenario(
        "config before.yaml\nload 100/s for 30s\nat 10s change after.yaml\nexpect change refused\n", "t");
    ASSERT_TRUE(parsed.scenario);
    const Played played = play(*parsed.scenario, files);
    EXPECT_TRUE(played.passed()) << describe(played);
    const Played missing = play(*parsed.scenario, no_files);
    ASSERT_FALSE(missing.findings.empty());
    EXPECT_EQ(missing.findings[0].code, "S108-file");
    EXPECT_FALSE(missing.passed());
}

TEST(PlayScenario, AServerOfAConfigFileThatDoesNotExistIsAFinding) {
    const std::string config = config::print(parse_scenario("pool web: a b\nload 1/s for 1s\n", "x").scenario->config);
    const auto parsed = parse_scenario("config c.yaml\nload 1/s for 3s\nat 1s server nobody dies\n", "t");
    ASSERT_TRUE(parsed.scenario);
    const Played played = play(*parsed.scenario, [&](const std::string&) -> Result<std::string> { return config; });
    ASSERT_EQ(played.findings.size(), 1u);
    EXPECT_EQ(played.findings[0].where.line, 3);
}

// ---- the files -----------------------------------------------------------------------------------------------------

std::string read(const std::filesystem::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::filesystem::path> scenario_files() {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(PLIMSOLL_SOURCE_DIR "/tests/scenarios")) {
        if (entry.path().extension() == ".scenario") files.push_back(entry.path());
    }
    std::ranges::sort(files);
    return files;
}

TEST(ScenarioFiles, TheDocumentedExampleIsOneOfThem) {
    const std::string example = read(PLIMSOLL_SOURCE_DIR "/tests/scenarios/first-example.scenario");
    ASSERT_FALSE(example.empty());
    EXPECT_NE(read(PLIMSOLL_SOURCE_DIR "/docs/formats/scenario.md").find("```\n" + example + "```"), std::string::npos);
}

class ScenarioFile : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(ScenarioFile, HoldsOnThreeSeeds) {
    auto parsed = parse_scenario(read(GetParam()), GetParam().filename().string());
    for (const Finding& finding : parsed.findings) ADD_FAILURE() << text(finding);
    ASSERT_TRUE(parsed.scenario);
    ASSERT_FALSE(parsed.scenario->expectations.empty());
    const auto files = [&](const std::string& name) -> Result<std::string> {
        return read(GetParam().parent_path() / name);
    };
    for (int i = 0; i < 3; ++i) {
        const Played played = play(*parsed.scenario, files);
        EXPECT_TRUE(played.passed()) << "seed " << parsed.scenario->seed << "\n" << describe(played);
        parsed.scenario->seed += 1000;
    }
}

INSTANTIATE_TEST_SUITE_P(Scenarios, ScenarioFile, testing::ValuesIn(scenario_files()), [](const auto& info) {
    std::string name = info.param.stem().string();
    std::ranges::replace(name, '-', '_');
    return name;
});

}  // namespace
}  // namespace plimsoll::sim
