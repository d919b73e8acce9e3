#include "control/recorder.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace plimsoll::control {
namespace {

using namespace std::chrono_literals;

class RecorderTest : public ::testing::Test {
protected:
    void SetUp() override {
        directory_ = ::testing::TempDir() + "plimsoll-recorder-" +
                     ::testing::UnitTest::GetInstance()->current_test_info()->name();
        std::filesystem::remove_all(directory_);
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }

    static std::vector<Recorder::Timed> requests(Timestamp from, int count, const std::string& path) {
        std::vector<Recorder::Timed> out;
        for (int i = 0; i < count; ++i) {
            recording::Record record;
            record.path = path;
            record.method = "GET";
            record.status = 200;
            out.push_back({from + Duration(1ms) * i, record});
        }
        return out;
    }

    std::string directory_;
};

TEST_F(RecorderTest, WhatWasAddedComesBackInOrderOfTime) {
    Recorder recorder(directory_, {});
    const Timestamp start{1'000'000'000'000};
    recorder.add(requests(start + Duration(500ms), 10, "/late"), start + Duration(600ms));
    recorder.add(requests(start, 10, "/early"), start + Duration(1700ms));
    recorder.flush(start + Duration(2s));
    const recording::Recording loaded = load(recorder.segments(), 1000);
    ASSERT_EQ(loaded.records.size(), 20u);
    EXPECT_EQ(loaded.records.front().path, "/early");
    EXPECT_EQ(loaded.records.back().path, "/late");
    EXPECT_EQ(loaded.start, start);
    EXPECT_EQ(recorder.failures(), 0u);
}

TEST_F(RecorderTest, OldSegmentsAreForgottenAndNewOnesKept) {
    config::RecordingSettings settings;
    settings.keep = 60s;
    Recorder recorder(directory_, settings);
    for (int second = 0; second < 300; second += 2) {
        const Timestamp at{second * 1'000'000'000LL};
        recorder.add(requests(at, 3, "/x"), at + Duration(1500ms));
        recorder.flush(at + Duration(1900ms));
    }
    const recording::Recording loaded = load(recorder.segments(), 100'000);
    EXPECT_LE(loaded.span(), Duration(95s));
    EXPECT_GE(loaded.span(), Duration(58s));
}

TEST_F(RecorderTest, ARestartKeepsWhatWasRecorded) {
    const Timestamp start{5'000'000'000};
    {
        Recorder recorder(directory_, {});
        recorder.add(requests(start, 5, "/a"), start);
        recorder.flush(start + Duration(1s));
    }
    const Recorder again(directory_, {});
    EXPECT_EQ(load(again.segments(), 100).records.size(), 5u);
}

TEST_F(RecorderTest, ADirectoryThatCannotBeMadeIsAFailureThatIsCountedAndSaid) {
    std::ofstream(directory_) << "a file where the directory should be";
    Recorder recorder(directory_ + "/below", {});
    recorder.add(requests(Timestamp{0}, 5, "/a"), Timestamp{0});
    recorder.flush(Timestamp{2'000'000'000});
    EXPECT_GT(recorder.failures(), 0u);
    EXPECT_NE(recorder.last_failure().find(directory_), std::string::npos);
}

TEST_F(RecorderTest, LoadStopsAtTheNumberAskedForAndKeepsTheNewest) {
    Recorder recorder(directory_, {});
    recorder.add(requests(Timestamp{0}, 50, "/old"), Timestamp{0});
    recorder.add(requests(Timestamp{2'000'000'000}, 10, "/new"), Timestamp{2'100'000'000});
    recorder.flush(Timestamp{3'000'000'000});
    const recording::Recording loaded = load(recorder.segments(), 10);
    ASSERT_EQ(loaded.records.size(), 10u);
    EXPECT_EQ(loaded.records.front().path, "/new");
}

}  // namespace
}  // namespace plimsoll::control
