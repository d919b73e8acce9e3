// Files that are written by others: whole, half, broken, moved, gone.
#include "discovery/endpoint_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace plimsoll::discovery {
namespace {

using namespace std::chrono_literals;

/// Files of these tests are younger than settled_after by this clock, which stands.
const Timestamp soon{std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count()};

class EndpointFileTest : public ::testing::Test {
protected:
    void SetUp() override {
        directory_ = ::testing::TempDir() + "plimsoll-endpoints-" +
                     ::testing::UnitTest::GetInstance()->current_test_info()->name();
        std::filesystem::remove_all(directory_);
        std::filesystem::create_directories(directory_);
        path_ = directory_ + "/web.yaml";
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }
    void write(const std::string& text) const { std::ofstream(path_, std::ios::trunc) << text; }

    std::string directory_, path_;
};

TEST_F(EndpointFileTest, YamlAndJsonSayTheSame) {
    write("- {address: 10.0.0.2:80, weight: 3, zone: west, labels: {version: v2}}\n- address: 10.0.0.1:80\n");
    EndpointFile file(path_);
    const auto yaml = file.look(soon);
    ASSERT_TRUE(yaml && *yaml) << (*yaml).error().detail;
    ASSERT_EQ((*yaml)->endpoints.size(), 2u);
    EXPECT_EQ((*yaml)->endpoints[0].name, "10.0.0.1:80");
    EXPECT_EQ((*yaml)->endpoints[1].zone, "west");
    write(
        "[{\"address\": \"10.0.0.1:80\"},\n {\"address\": \"10.0.0.2:80\", \"weight\": 3, \"zone\": \"west\",\n"
        "  \"labels\": {\"version\": \"v2\"}}]");
    EndpointFile json(path_);
    EXPECT_EQ((*json.look(soon))->endpoints, (*yaml)->endpoints);
}

TEST_F(EndpointFileTest, NothingNewIsNotSaidTwice) {
    write("- address: 10.0.0.1:80\n");
    EndpointFile file(path_);
    EXPECT_TRUE(file.look(soon));
    EXPECT_FALSE(file.look(soon));
    EXPECT_TRUE(file.look(soon, true));
}

TEST_F(EndpointFileTest, AFileThatIsBeingWrittenIsLeftAloneUntilItStandsStill) {
    write("- address: 10.0.0.1:80\n- address: 10.0.0.2:80\n- address: 10.0.0.3:80\n");
    EndpointFile file(path_);
    EXPECT_TRUE(file.look(soon));
    write("- address: 10.0.0.1:80\n");  // the writer is not done
    EXPECT_FALSE(file.look(soon));
    write("- address: 10.0.0.1:80\n- address: 10.0.0.2:80\n- address: 10.0.0.4:80\n");
    EXPECT_FALSE(file.look(soon));
    const auto whole = file.look(soon);
    ASSERT_TRUE(whole && *whole);
    EXPECT_EQ((*whole)->endpoints.size(), 3u);
}

TEST_F(EndpointFileTest, ABrokenFileIsAFindingWithItsLine) {
    write("- address: 10.0.0.1:80\n- adress: 10.0.0.2:80\n- {address: 10.0.0.1:80, weight: -1}\n");
    EndpointFile file(path_);
    const auto broken = file.look(soon);
    ASSERT_TRUE(broken);
    ASSERT_FALSE(*broken);
    EXPECT_EQ(broken->error().code, Code::invalid);
    EXPECT_NE(broken->error().detail.find("web.yaml:2:"), std::string::npos) << broken->error().detail;
    EXPECT_NE(broken->error().detail.find("weight"), std::string::npos) << broken->error().detail;
    for (const char* text : {"", "endpoints: []", "[{\"address\": \"10.0", "- just text"}) {
        write(text);
        EndpointFile other(path_);
        const auto answer = other.look(soon);
        EXPECT_TRUE(answer && !*answer) << text;
    }
}

TEST_F(EndpointFileTest, AnAddressTwiceIsAFinding) {
    write("- address: 10.0.0.1:80\n- address: 10.0.0.1:80\n");
    EndpointFile file(path_);
    const auto answer = file.look(soon);
    ASSERT_TRUE(answer && !*answer);
    EXPECT_NE(answer->error().detail.find("P202"), std::string::npos);
}

TEST_F(EndpointFileTest, AMissingFileIsSaidOnceAndItsReturnIsNews) {
    EndpointFile file(path_);
    const auto missing = file.look(soon);
    ASSERT_TRUE(missing && !*missing);
    EXPECT_EQ(missing->error().code, Code::io);
    EXPECT_FALSE(file.look(soon));
    write("- address: 10.0.0.1:80\n");
    EXPECT_FALSE(file.look(soon));
    EXPECT_TRUE(file.look(soon));
}

TEST_F(EndpointFileTest, ALinkThatIsMovedIsAnotherFile) {  // how a config map is updated
    std::ofstream(directory_ + "/one") << "- address: 10.0.0.1:80\n";
    std::ofstream(directory_ + "/two") << "- address: 10.0.0.2:80\n";
    std::filesystem::create_symlink("one", path_);
    EndpointFile file(path_);
    EXPECT_TRUE(file.look(soon));
    std::filesystem::create_symlink("two", path_ + ".new");
    std::filesystem::rename(path_ + ".new", path_);
    EXPECT_FALSE(file.look(soon));
    const auto next = file.look(soon);
    ASSERT_TRUE(next && *next);
    EXPECT_EQ((*next)->endpoints[0].address.host, "10.0.0.2");
}

TEST_F(EndpointFileTest, AFileThatHasLongBeenLeftAloneIsSettledAtTheFirstLookOnly) {
    write("- address: 10.0.0.1:80\n");
    const auto settled = [&](Duration age, EndpointFile file) {
        const Timestamp modified{
            std::chrono::nanoseconds(
                std::chrono::file_clock::to_sys(std::filesystem::last_write_time(path_)).time_since_epoch())
                .count()};
        const auto answer = file.look(modified + age);
        EXPECT_TRUE(answer && *answer);
        const auto second = file.look(modified + age, true);
        EXPECT_TRUE(second && *second && !(*second)->settled);
        return answer && *answer && (*answer)->settled;
    };
    EXPECT_TRUE(settled(settled_after, EndpointFile(path_)));
    EXPECT_FALSE(settled(settled_after - 1ns, EndpointFile(path_)));
    EXPECT_FALSE(settled(-1h, EndpointFile(path_))) << "clocks that differ prove nothing";
}

}  // namespace
}  // namespace plimsoll::discovery
