#include "control/memory.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

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

class Groups : public testing::Test {
protected:
    Groups() {
        std::string name = (std::filesystem::temp_directory_path() / "plimsoll-cgroup-XXXXXX").string();
        root_ = ::mkdtemp(name.data());
    }
    ~Groups() override { std::filesystem::remove_all(root_); }
    void write(const std::string& file, const std::string& text) {
        std::filesystem::create_directories((root_ / file).parent_path());
        std::ofstream(root_ / file) << text;
    }
    std::uint64_t limit(const std::string& own) { return cgroup_memory_limit(root_.string(), own); }

private:
    std::filesystem::path root_;
};

TEST_F(Groups, TheSmallestLimitOfOurGroupAndThoseAbove) {
    write("memory.max", "max\n");
    write("system.slice/memory.max", "4000000\n");
    write("system.slice/plimsoll.service/memory.max", "3000000\n");
    EXPECT_EQ(limit("0::/system.slice/plimsoll.service\n"), 3'000'000u);
    EXPECT_EQ(limit("0::/system.slice/other.service\n"), 4'000'000u);
    EXPECT_EQ(limit("0::/user.slice\n"), 0u);
    EXPECT_EQ(limit("0::/\n"), 0u);
    write("memory.max", "2000000\n");
    EXPECT_EQ(limit("0::/\n"), 2'000'000u) << "a container sees its own group as the root";
}

TEST_F(Groups, Version1) {
    write("memory/memory.limit_in_bytes", "9223372036854771712\n");
    write("memory/web/memory.limit_in_bytes", "5000000\n");
    write("cpu/web/memory.limit_in_bytes", "1\n");
    EXPECT_EQ(limit("5:cpu:/web\n4:memory:/web/inner\n0::/\n"), 5'000'000u);
    EXPECT_EQ(limit("4:cpu,memory:/\n"), 0u);
    EXPECT_EQ(limit("nonsense\n"), 0u);
    EXPECT_EQ(limit(""), 0u);
}

}  // namespace
}  // namespace plimsoll::control
