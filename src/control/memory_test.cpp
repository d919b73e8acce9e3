#include "control/memory.h"

#include <gtest/gtest.h>

namespace plimsoll::control {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// A group whose kernel kills at 1000 and that is refused for from 900 on.
class Group : public testing::Test {
protected:
    MemoryGuard::Step look(std::uint64_t in_use, Duration later = milliseconds(10)) {
        now_ = now_ + later;
        return guard_.look({.in_use = in_use, .limit = 900, .hard = 1000}, now_);
    }
    void trimmed(Duration cost = milliseconds(1)) { guard_.trimmed(now_, cost); }
    MemoryGuard guard_;
    Instant now_{1'000'000'000};
};

TEST_F(Group, RefusesAboveTheLimitAndUntilItIsWellBelow) {
    EXPECT_FALSE(look(900).changed);
    EXPECT_TRUE(look(901).changed);
    EXPECT_TRUE(guard_.shedding());
    EXPECT_FALSE(look(856).changed);
    EXPECT_TRUE(guard_.shedding());
    EXPECT_TRUE(look(855).changed);
    EXPECT_FALSE(guard_.shedding());
}

TEST_F(Group, WithoutALimitNothingIsRefused) {
    EXPECT_TRUE(look(901).changed);
    const auto step = guard_.look({.in_use = 5000}, now_);
    EXPECT_TRUE(step.changed);
    EXPECT_FALSE(guard_.shedding());
    EXPECT_EQ(step.end_bytes, 0u);
    EXPECT_FALSE(step.trim);
}

TEST_F(Group, EndsAtOnceWhatIsNeededWhenUsageRisesOn) {
    EXPECT_EQ(look(901).end_bytes, 0u) << "refusing may be enough";
    EXPECT_EQ(look(945, milliseconds(100)).end_bytes, 0u);
    EXPECT_EQ(look(946, milliseconds(100)).end_bytes, 946u - 855u) << "down to where work is taken again";
}

TEST_F(Group, EndsEarlierWhenUsageRunsAway) {
    look(895);
    EXPECT_EQ(look(901).end_bytes, 0u) << "961 in 100 ms";
    EXPECT_EQ(look(915).end_bytes, 915u + 10 * 14 - 855) << "1055 in 100 ms, and the kernel kills at 1000";
    guard_.relieved(500, now_);
    EXPECT_EQ(look(925).end_bytes, 0u);
    EXPECT_GT(look(935).end_bytes, 0u) << "20 ms later already";
}

TEST_F(Group, LooksMoreOftenNearTheLimitAndTakesNoStepOfTheKernelsForAFlood) {
    look(675);
    EXPECT_EQ(guard_.next_look(), milliseconds(10));
    look(676);
    EXPECT_EQ(guard_.next_look(), milliseconds(1));
    look(895, milliseconds(1000));
    look(901, milliseconds(1000));
    look(901, milliseconds(20));
    EXPECT_EQ(look(905, milliseconds(1)).end_bytes, 0u) << "4 in a millisecond are not 400 in a hundred";
    EXPECT_EQ(look(905, milliseconds(8)).end_bytes, 0u);
    EXPECT_GT(look(912, milliseconds(1)).end_bytes, 0u) << "11 in ten milliseconds: 1022 in a hundred";
}

TEST_F(Group, EndsWhenItStaysAboveTheLimitForASecond) {
    look(901);
    EXPECT_EQ(look(910, milliseconds(500)).end_bytes, 0u);
    EXPECT_EQ(look(899, milliseconds(100)).end_bytes, 0u) << "the second begins anew";
    EXPECT_EQ(look(910, milliseconds(900)).end_bytes, 0u);
    EXPECT_EQ(look(910, milliseconds(100)).end_bytes, 55u);
}

TEST_F(Group, EndsWhenItWillNotGoDownToWhereWorkIsTaken) {
    look(901);
    EXPECT_EQ(look(870, milliseconds(1990)).end_bytes, 0u);
    EXPECT_EQ(look(870).end_bytes, 15u);
}

TEST_F(Group, AnOrderIsNotGivenAgainBeforeTheFirstIsSeen) {
    look(901);
    EXPECT_GT(look(950, milliseconds(100)).end_bytes, 0u);
    EXPECT_EQ(look(950, milliseconds(500)).end_bytes, 0u) << "workers have not answered";
    guard_.relieved(500, now_);
    EXPECT_GT(look(950).end_bytes, 0u);
    guard_.relieved(500, now_);
    EXPECT_EQ(look(950, milliseconds(90)).end_bytes, 0u);
    EXPECT_GT(look(950, milliseconds(10)).end_bytes, 0u);
    EXPECT_EQ(look(950, milliseconds(990)).end_bytes, 0u);
    EXPECT_GT(look(950, milliseconds(10)).end_bytes, 0u) << "a worker that never answers";
}

TEST_F(Group, TrimsNearTheLimitAndATwentiethOfTheTimeAtMost) {
    EXPECT_FALSE(look(855).trim);
    EXPECT_TRUE(look(856).trim);
    trimmed(milliseconds(20));
    EXPECT_FALSE(look(890, milliseconds(399)).trim);
    EXPECT_TRUE(look(890, milliseconds(1)).trim);
    trimmed(Duration(1000));
    EXPECT_FALSE(look(890, milliseconds(49)).trim);
    EXPECT_TRUE(look(890, milliseconds(1)).trim);
}

TEST_F(Group, TrimsSoonAfterSomethingWasFreed) {
    look(890);
    trimmed(milliseconds(4));
    EXPECT_TRUE(look(901).changed) << "half-sent heads are refused now";
    EXPECT_FALSE(look(900).trim);
    EXPECT_TRUE(look(890).trim) << "20 ms later, and a fifth of the time at most";
    trimmed(milliseconds(4));
    guard_.relieved(500, now_);
    EXPECT_FALSE(look(890).trim);
    EXPECT_TRUE(look(890).trim);
}

/// The group has other members, or the heap has holes: what is left is not the connections'.
class Spent : public Group {
protected:
    void spend(std::uint64_t in_use, std::uint64_t held) {
        look(950);
        guard_.relieved(held, now_);
        EXPECT_TRUE(look(in_use, milliseconds(100)).trim);
        EXPECT_TRUE(guard_.shedding()) << "what was ended is not trimmed away yet";
        trimmed();
    }
};

TEST_F(Spent, ComesBackWhenNothingIsOursToGiveBack) {
    look(901);
    spend(920, 45);
    EXPECT_TRUE(look(920).changed);
    EXPECT_FALSE(guard_.shedding());
    EXPECT_EQ(guard_.floor(), 920u);
    EXPECT_EQ(guard_.level(), 960u) << "half of what is left before the kernel kills";
    EXPECT_FALSE(look(960).changed);
    EXPECT_TRUE(look(961).changed) << "the next attack is met as the first was";
    EXPECT_EQ(look(980, milliseconds(100)).end_bytes, 0u);
    EXPECT_GT(look(981, milliseconds(100)).end_bytes, 0u);
    EXPECT_TRUE(look(940).changed);
}

TEST_F(Spent, GoesOnRefusingWhileConnectionsHoldIt) {
    look(901);
    spend(920, 46);
    EXPECT_FALSE(look(920).changed);
    EXPECT_TRUE(guard_.shedding());
}

TEST_F(Spent, TheFloorFallsWithUsageAndEnds) {
    look(901);
    spend(920, 0);
    look(920);
    look(880);
    EXPECT_EQ(guard_.floor(), 880u);
    EXPECT_EQ(guard_.level(), 940u);
    look(890);
    EXPECT_EQ(guard_.floor(), 880u);
    look(855);
    EXPECT_EQ(guard_.floor(), 0u);
    EXPECT_EQ(guard_.level(), 900u);
}

TEST_F(Spent, AnOldAnswerProvesNothing) {
    look(950);
    guard_.relieved(0, now_);
    EXPECT_TRUE(look(850).changed);
    EXPECT_TRUE(look(901, seconds(10)).changed);
    trimmed();
    EXPECT_FALSE(look(901).changed) << "that answer is of the shortage before";
}

TEST(Memory, ALimitOfOursThatIsTooSmallIsExceededByATenthAtATime) {
    MemoryGuard guard;
    Instant now{1'000'000'000};
    const MemoryReading reading{.in_use = 5000, .limit = 1000};
    EXPECT_GT(guard.look(reading, now).end_bytes, 0u);
    EXPECT_TRUE(guard.shedding());
    guard.relieved(0, now + milliseconds(20));
    guard.trimmed(now + milliseconds(30), milliseconds(1));
    EXPECT_TRUE(guard.look(reading, now + milliseconds(40)).changed);
    EXPECT_FALSE(guard.shedding());
    EXPECT_EQ(guard.level(), 5050u);
}

}  // namespace
}  // namespace plimsoll::control
