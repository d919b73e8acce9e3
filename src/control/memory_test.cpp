#include "control/memory.h"

#include <gtest/gtest.h>

#include <memory>

namespace plimsoll::control {
namespace {

TEST(Memory, RefusesAboveTheLimitAndUntilItIsWellBelow) {
    MemoryGuard guard;
    EXPECT_FALSE(guard.look(1000, 1000));
    EXPECT_TRUE(guard.look(1001, 1000));
    EXPECT_TRUE(guard.shedding());
    EXPECT_FALSE(guard.look(951, 1000));
    EXPECT_TRUE(guard.shedding());
    EXPECT_TRUE(guard.look(950, 1000));
    EXPECT_FALSE(guard.shedding());
    EXPECT_FALSE(guard.look(1u << 30, 0));
}

TEST(Memory, CountsWhatIsHandedOutAndNotWhatWasGivenBack) {
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    GTEST_SKIP() << "sanitizers bring their own allocator";
#endif
    const std::uint64_t before = memory_in_use();
    auto block = std::make_unique<char[]>(64u << 20);
    block[0] = 1;
    EXPECT_GE(memory_in_use(), before + (64u << 20));
    block.reset();
    EXPECT_LT(memory_in_use(), before + (1u << 20));
}

}  // namespace
}  // namespace plimsoll::control
