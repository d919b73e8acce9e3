#include "control/memory_gauge.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace plimsoll::control {
namespace {

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
    void write_group(const std::string& group, const std::string& limit, const std::string& usage,
                     const std::string& stat = "") {
        write(group + "memory.max", limit);
        write(group + "memory.current", usage);
        write(group + "memory.stat", stat);
    }
    MemoryGauge gauge(const std::string& own) {
        write("own", own);
        return MemoryGauge(root_.string(), (root_ / "own").string());
    }
    std::uint64_t hard(const std::string& own) { return gauge(own).read(0, now_).hard; }

    std::filesystem::path root_;
    Instant now_{1'000'000'000};
};

TEST_F(Groups, LimitsOfOurGroupAndThoseAbove) {
    write_group("", "max\n", "9\n");
    write_group("system.slice/", "4000000\n", "1000\n");
    write_group("system.slice/plimsoll.service/", "3000000\n", "1000\n");
    EXPECT_EQ(hard("0::/system.slice/plimsoll.service\n"), 3'000'000u);
    EXPECT_EQ(hard("0::/system.slice/other.service\n"), 4'000'000u);
    EXPECT_EQ(hard("0::/user.slice\n"), 0u);
    EXPECT_EQ(hard("0::/\n"), 0u);
    write("memory.max", "2000000\n");
    EXPECT_EQ(hard("0::/\n"), 2'000'000u) << "a container sees its own group as the root";
}

TEST_F(Groups, TheNearestLimitCountsAndNotTheSmallest) {
    write_group("", "4000000\n", "3900000\n");
    write_group("a/", "3000000\n", "1000\n");
    const MemoryReading reading = gauge("0::/a\n").read(0, now_);
    EXPECT_EQ(reading.hard, 4'000'000u);
    EXPECT_EQ(reading.limit, 3'000'000u);
    EXPECT_EQ(reading.in_use, 3'900'000u);
    EXPECT_TRUE(reading.sockets);
}

TEST(GroupLimit, IsBelowTheKernelsByWhatWorkersTakeInAMoment) {
    constexpr std::uint64_t mib = 1 << 20;
    EXPECT_EQ(group_limit(1000 * mib), 900 * mib);
    EXPECT_EQ(group_limit(160 * mib), 144 * mib);
    EXPECT_EQ(group_limit(128 * mib), 112 * mib);
    EXPECT_EQ(group_limit(64 * mib), 48 * mib);
    EXPECT_EQ(group_limit(32 * mib), 24 * mib);
}

TEST_F(Groups, Version1) {
    write("memory/memory.limit_in_bytes", "9223372036854771712\n");
    write("memory/web/memory.limit_in_bytes", "5000000\n");
    write("memory/web/memory.usage_in_bytes", "4900000\n");
    write("memory/web/memory.stat", "inactive_file 7\ntotal_inactive_file 100000\ntotal_active_file 200000\n");
    write("cpu/web/memory.limit_in_bytes", "1\n");
    const MemoryReading reading = gauge("5:cpu:/web\n4:memory:/web/inner\n0::/\n").read(0, now_);
    EXPECT_EQ(reading.hard, 5'000'000u);
    EXPECT_EQ(reading.in_use, 4'600'000u);
    EXPECT_FALSE(reading.sockets);
    EXPECT_EQ(hard("4:cpu,memory:/\n"), 0u);
    EXPECT_EQ(hard("nonsense\n"), 0u);
    EXPECT_EQ(hard(""), 0u);
}

TEST_F(Groups, PageCacheIsToldApartOnlyNearTheLimitAndNotAtEachLook) {
    write_group("", "1000000\n", "525000\n", "anon 1\ninactive_file 1000\nactive_file 2000\n");
    MemoryGauge it = gauge("0::/\n");
    EXPECT_EQ(it.read(0, now_).in_use, 525'000u);
    write("memory.current", "525001\n");
    EXPECT_EQ(it.read(0, now_).in_use, 522'001u);
    write("memory.stat", "inactive_file 0\nactive_file 0\n");
    EXPECT_EQ(it.read(0, now_ + std::chrono::milliseconds(49)).in_use, 522'001u);
    EXPECT_EQ(it.read(0, now_ + std::chrono::milliseconds(50)).in_use, 525'001u);
}

TEST_F(Groups, PageCacheThatIsTakenBackIsSeenSoonNearTheLimit) {
    write_group("", "1000000\n", "1000000\n", "anon 1\ninactive_file 400000\nactive_file 100000\n");
    MemoryGauge it = gauge("0::/\n");
    EXPECT_EQ(it.read(0, now_).in_use, 500'000u);
    write("memory.stat", "inactive_file 100000\nactive_file 0\n");
    EXPECT_EQ(it.read(0, now_ + std::chrono::milliseconds(49)).in_use, 500'000u) << "far from the limit, 750,000";
    EXPECT_EQ(it.read(0, now_ + std::chrono::milliseconds(50)).in_use, 900'000u);
    write("memory.stat", "inactive_file 0\nactive_file 0\n");
    EXPECT_EQ(it.read(0, now_ + std::chrono::milliseconds(52)).in_use, 1'000'000u)
        << "usage has not changed, and the kernel is about to kill";
}

TEST_F(Groups, LimitsAndGroupsMayChangeWhileWeRun) {
    write_group("", "1000000\n", "10\n");
    write_group("new/", "500000\n", "450000\n");
    MemoryGauge it = gauge("0::/\n");
    EXPECT_EQ(it.read(0, now_).hard, 1'000'000u);
    write("memory.max", "max\n");
    EXPECT_EQ(it.read(0, now_ + std::chrono::milliseconds(999)).hard, 1'000'000u);
    EXPECT_EQ(it.read(0, now_ + std::chrono::seconds(1)).hard, 0u);
    write("own", "0::/new\n");
    EXPECT_EQ(it.read(0, now_ + std::chrono::seconds(2)).hard, 500'000u);
}

TEST_F(Groups, WhatIsWrittenIsComparedWithResidentMemory) {
    const MemoryReading reading = gauge("").read(123, now_);
    EXPECT_EQ(reading.limit, 123u);
    EXPECT_EQ(reading.hard, 0u);
    EXPECT_GT(reading.in_use, 1u << 20);
    write_group("", "1000000\n", "950000\n");
    EXPECT_EQ(gauge("0::/\n").read(std::uint64_t{1} << 40, now_).hard, 1'000'000u) << "the nearer one";
}

}  // namespace
}  // namespace plimsoll::control
