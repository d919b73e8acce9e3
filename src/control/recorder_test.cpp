#include "control/recorder.h"

#include <gtest/gtest.h>

#include <algorithm>
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
    const recording::Recording loaded = load(recorder.segments());
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
    const recording::Recording loaded = load(recorder.segments());
    EXPECT_LE(loaded.span(), Duration(95s));
    EXPECT_GE(loaded.span(), Duration(58s));
}

TEST_F(RecorderTest, ABlockIsWrittenBeforeItsBufferIsLarge) {
    Recorder recorder(directory_, {});
    const Timestamp start{1'000'000'000'000};
    recorder.add(requests(start, 8191, "/a"), start);
    EXPECT_EQ(recorder.bytes(), 0u);
    recorder.add(requests(start, 1, "/b"), start);
    EXPECT_GT(recorder.bytes(), 0u) << "within the same moment";
    EXPECT_EQ(load(recorder.segments()).records.size(), 8192u);
}

TEST_F(RecorderTest, ARestartKeepsWhatWasRecorded) {
    const Timestamp start{5'000'000'000};
    {
        Recorder recorder(directory_, {});
        recorder.add(requests(start, 5, "/a"), start);
        recorder.flush(start + Duration(1s));
    }
    const Recorder again(directory_, {});
    EXPECT_EQ(load(again.segments()).records.size(), 5u);
}

TEST_F(RecorderTest, ADirectoryThatCannotBeMadeIsAFailureThatIsCountedAndSaid) {
    std::ofstream(directory_) << "a file where the directory should be";
    Recorder recorder(directory_ + "/below", {});
    recorder.add(requests(Timestamp{0}, 5, "/a"), Timestamp{0});
    recorder.flush(Timestamp{2'000'000'000});
    EXPECT_GT(recorder.failures(), 0u);
    EXPECT_NE(recorder.last_failure().find(directory_), std::string::npos);
}

TEST_F(RecorderTest, LoadLooksAtTheNewestOnly) {
    Recorder recorder(directory_, {});
    const std::pair<const char*, int> blocks[] = {{"/old", 50}, {"/new", 10}, {"/new", 10}};
    for (int i = 0; const auto& [path, count] : blocks) {
        const Timestamp at{40'000'000'000LL * i++};
        recorder.add(requests(at, count, path), at);
        recorder.flush(at + Duration(1s));
    }
    const recording::Recording loaded = load(recorder.segments(), {.looked_at = 15});
    ASSERT_EQ(loaded.records.size(), 20u) << "to whole segments, as these are small";
    EXPECT_EQ(loaded.records.front().path, "/new");
    EXPECT_EQ(loaded.every, 1u);
}

TEST_F(RecorderTest, LoadKeepsAnEvenSampleOfMany) {
    Recorder recorder(directory_, {});
    for (int second = 0; second < 100; ++second) {
        const Timestamp at{second * 1'000'000'000LL};
        recorder.add(requests(at, 900, "/a"), at);
        recorder.add(requests(at + Duration(900ms), 100, "/b"), at + Duration(1000ms));
    }
    recorder.flush(Timestamp{200'000'000'000});
    const recording::Recording loaded = load(recorder.segments(), {.looked_at = 1'000'000, .most = 5000});
    EXPECT_EQ(loaded.every, 20u);
    EXPECT_NEAR(static_cast<double>(loaded.records.size()), 5000, 50);
    EXPECT_NEAR(static_cast<double>(std::ranges::count(loaded.records, "/b", &recording::Record::path)), 500, 70);
    EXPECT_GE(loaded.span(), Duration(99s));
    EXPECT_NEAR(recording::peak_rate(loaded), 1000, 50) << "a record stands for 20 requests";
    EXPECT_NEAR(peak_rate(recorder.segments()), 1000, 1);
}

TEST_F(RecorderTest, DamageCostsTheBlockItHits) {
    Recorder recorder(directory_, {});
    for (int second = 0; second < 3; ++second) {
        const Timestamp at{second * 1'000'000'000LL};
        recorder.add(requests(at, 10, "/" + std::to_string(second)), at);
        recorder.flush(at + Duration(1s));
    }
    ASSERT_EQ(recorder.segments().size(), 1u);
    const std::string path = recorder.segments().front();
    const auto block = std::filesystem::file_size(path) / 3;
    std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(static_cast<std::streamoff>(block) + 4)
        << '?';
    const recording::Recording loaded = load(recorder.segments());
    ASSERT_EQ(loaded.records.size(), 20u);
    EXPECT_EQ(loaded.records.front().path, "/0");
    EXPECT_EQ(loaded.records.back().path, "/2");
    EXPECT_EQ(loaded.damaged_blocks, 1u);
}

}  // namespace
}  // namespace plimsoll::control
