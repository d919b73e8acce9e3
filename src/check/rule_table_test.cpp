// The table of rules is what the sources report and what the page says.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "check/rule_cases.h"

namespace plimsoll::check {
namespace {

using namespace scenario;

TEST(RuleTable, CodesAreUniqueAndSaid) {
    std::set<std::string_view> codes;
    for (const RuleSummary& rule : rules()) {
        EXPECT_TRUE(codes.insert(rule.code).second) << rule.code;
        EXPECT_TRUE(rule.code.starts_with("P4")) << rule.code;
        EXPECT_FALSE(rule.looks_for.empty());
        EXPECT_FALSE(rule.evidence.empty());
    }
}

std::string read_file(const std::string& path) {
    std::ifstream in(path);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
}

TEST(CheckConfig, ExamplesAreClean) {
    for (const auto* file : {"plimsoll", "tls", "grpc", "websocket", "tcp-sni", "routing", "discovery", "auth"}) {
        const std::string path = std::string(PLIMSOLL_SOURCE_DIR "/examples/") + file + ".yaml";
        const config::Parsed parsed = config::parse(read_file(path), path);
        ASSERT_TRUE(parsed.document) << all_text(parsed.findings);
        EXPECT_TRUE(parsed.findings.empty()) << all_text(parsed.findings);
        EXPECT_TRUE(check_config(*parsed.document).empty()) << all_text(check_config(*parsed.document));
    }
}

/// Every "P4..." literal of the sources is in the table, and the table names nothing else.
TEST(RuleTable, NamesWhatTheSourcesReport) {
    std::set<std::string> reported;
    for (const auto* file : {"static_rules", "action_rules", "tls_rules", "pool_rules", "setting_rules", "access_rules",
                             "auth_rules", "judge_forecast"}) {
        const std::string source = read_file(std::string(PLIMSOLL_SOURCE_DIR "/src/check/") + file + ".cpp");
        ASSERT_FALSE(source.empty());
        for (auto at = source.find("\"P4"); at != std::string::npos; at = source.find("\"P4", at + 1)) {
            reported.insert(source.substr(at + 1, source.find('"', at + 1) - at - 1));
        }
    }
    std::set<std::string> documented;
    for (const RuleSummary& rule : rules()) documented.insert(std::string(rule.code));
    EXPECT_EQ(documented, reported);
}

/// UPDATE=1 in the environment rewrites the page.
TEST(RuleTable, PageIsCurrent) {
    const std::string path = PLIMSOLL_SOURCE_DIR "/docs/formats/findings.md";
    const std::string page = read_file(path);
    const auto end = page.find("-->\n");
    ASSERT_NE(end, std::string::npos);
    const std::string wanted = page.substr(0, end + 4) + "\n" + rules_table();
    if (std::getenv("UPDATE") != nullptr) std::ofstream(path) << wanted;
    EXPECT_EQ(read_file(path), wanted) << "run `UPDATE=1 check_test` and commit " << path;
}

}  // namespace
}  // namespace plimsoll::check
