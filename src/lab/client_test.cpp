// What the lab understands of the program's answers, and the story's table.
#include <gtest/gtest.h>

#include "lab/plimsoll_client.h"
#include "lab/story_table.h"

namespace plimsoll::lab {
namespace {

Finished printed(int exit_code, std::string output) {
    return {.exit_code = exit_code, .output = std::move(output), .errors = {}, .took = {}};
}

TEST(ReadApplied, TakesTheEndingAndItsMarks) {
    const Applied applied = read_applied(printed(
        4,
        "{\"stage\":\"canary\",\"text\":\"98 % of requests\"}\n"
        "{\"ending\":\"rolled_back\",\"exit\":4,\"revision\":3,\"incident\":\"INC-1\",\"cause\":\"pools.web\","
        "\"marks\":{\"t0_ns\":1000,\"detected_ns\":2500,\"rolled_back_ns\":9223372036854775807,\"cause_ns\":null},"
        "\"harmed\":17,\"verdict_to_last_started_us\":1500,\"candidate_decisions\":260}\n"));
    EXPECT_EQ(applied.exit_code, 4);
    EXPECT_EQ(applied.ending, "rolled_back");
    EXPECT_EQ(applied.incident, "INC-1");
    EXPECT_EQ(applied.revision, 3u);
    EXPECT_EQ(applied.harmed, 17u);
    EXPECT_EQ(applied.switched, std::chrono::microseconds{1500});
    EXPECT_EQ(applied.candidate_decisions, 260u);
    EXPECT_EQ(applied.marks.t0, Timestamp{1000});
    EXPECT_EQ(applied.marks.detected, Timestamp{2500});
    EXPECT_FALSE(applied.marks.rolled_back);  // "never" is no mark
    EXPECT_FALSE(applied.marks.cause);
    EXPECT_FALSE(applied.marks.recovered);
}

TEST(ReadApplied, WithoutAnEndingSaysNone) {
    EXPECT_EQ(read_applied(printed(69, "no server\n")).ending, "");
    EXPECT_EQ(read_applied(printed(1, "{\"ending\":")).ending, "");
    EXPECT_EQ(read_applied(printed(1, "[1]\n\n{\"ending\":7}\n")).ending, "");
}

TEST(StoryTable, PutsOurClockBesideTheStorys) {
    Clock clock;
    clock.t0 = Timestamp{1'000'000'000};
    clock.detected = Timestamp{1'310'000'000};
    clock.harmed = 12;
    const std::string table = print_table(clock);
    EXPECT_TRUE(table.contains("+0.310 s")) << table;
    EXPECT_TRUE(table.contains("10:23")) << table;
    EXPECT_TRUE(table.contains("-\n")) << "what did not happen is shown as that:\n" << table;
}

TEST(Promises, OneBrokenIsEnough) {
    Promises promises;
    EXPECT_TRUE(promises.check("a", "kept", true, ""));
    EXPECT_TRUE(promises.all_kept());
    EXPECT_FALSE(promises.check("b", "not kept", false, "because"));
    EXPECT_FALSE(promises.all_kept());
    EXPECT_EQ(promises.broken(), 1u);
    promises.figure("x", 2), promises.figure("x", 1);
    EXPECT_TRUE(promises.to_json().contains("\"p50\": 1.0")) << promises.to_json();
    EXPECT_TRUE(promises.figures("y").empty());
}

}  // namespace
}  // namespace plimsoll::lab
