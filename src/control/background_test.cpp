#include "control/background.h"

#include <gtest/gtest.h>
#include <time.h>

namespace plimsoll::control {
namespace {

using namespace std::chrono_literals;

Duration read(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

TEST(Background, WorkThatTakesTurnsRestsTwiceAsLongAsItRan) {
    Background::Turns turns;
    const Duration ran = read(CLOCK_THREAD_CPUTIME_ID);
    while (read(CLOCK_THREAD_CPUTIME_ID) - ran < 5ms) {
    }
    const Duration began = read(CLOCK_MONOTONIC);
    turns.rest();
    EXPECT_GE(read(CLOCK_MONOTONIC) - began, 10ms);
}

}  // namespace
}  // namespace plimsoll::control
