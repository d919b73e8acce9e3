#include "control/divergence.h"

#include <gtest/gtest.h>

namespace plimsoll::control {
namespace {

using namespace std::chrono_literals;

Instant at(int second) { return Instant{} + Duration(std::chrono::seconds(second)); }

TEST(Divergence, ASignalWhenItLastsTooLongAndOnceWhenItEnds) {  // Slack 2020
    Divergence divergence;
    const std::vector<Differing> failing{{"pool web", "web", at(10), 60s, "SERVFAIL"}};
    EXPECT_TRUE(divergence.observe(failing, at(69)).empty());
    const auto began = divergence.observe(failing, at(70));
    ASSERT_EQ(began.size(), 1u);
    EXPECT_EQ(began[0].signal.kind, judge::SignalKind::divergence);
    EXPECT_TRUE(began[0].signal.firing);
    EXPECT_DOUBLE_EQ(began[0].signal.value, 60);
    EXPECT_EQ(began[0].pool, "web");
    EXPECT_NE(began[0].signal.text.find("SERVFAIL"), std::string::npos);
    EXPECT_TRUE(divergence.observe(failing, at(71)).empty());
    EXPECT_EQ(divergence.firing().size(), 1u);
    const auto ended = divergence.observe({}, at(80));
    ASSERT_EQ(ended.size(), 1u);
    EXPECT_FALSE(ended[0].signal.firing);
    EXPECT_TRUE(divergence.firing().empty());
}

TEST(Divergence, EachSubjectByItself) {
    Divergence divergence;
    const Differing web{"pool web", "web", at(0), 10s, "x"}, workers{"workers", "", at(5), 10s, "y"};
    EXPECT_EQ(divergence.observe({web, workers}, at(12)).size(), 1u);
    EXPECT_EQ(divergence.observe({web, workers}, at(15)).size(), 1u);
    EXPECT_EQ(divergence.observe({workers}, at(16)).size(), 1u);
    ASSERT_EQ(divergence.firing().size(), 1u);
    EXPECT_EQ(divergence.firing()[0].signal.subject, "workers");
}

}  // namespace
}  // namespace plimsoll::control
