// Files that are written by others: whole, half, broken, moved, gone.
#include "discovery/endpoint_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace plimsoll::discovery {
namespace {

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
    const auto yaml = file.look();
    ASSERT_TRUE(yaml && *yaml) << (*yaml).error().detail;
    ASSERT_EQ((*yaml)->endpoints.size(), 2u);
    EXPECT_EQ((*yaml)->endpoints[0].name, "10.0.0.1:80");
    EXPECT_EQ((*yaml)->endpoints[1].zone, "west");
    write(
        "[{\"address\": \"10.0.0.1:80\"},\n {\"address\": \"10.0.0.2:80\", \"weight\": 3, \"zone\": \"west\",\n"
        "  \"labels\": {\"version\": \"v2\"}}]");
    EndpointFile json(path_);
    EXPECT_EQ((*json.look())->endpoints, (*yaml)->endpoints);
}

TEST_F(EndpointFileTest, NothingNewIsNotSaidTwice) {
    write("- address: 10.0.0.1:80\n");
    EndpointFile file(path_);
    EXPECT_TRUE(file.look());
    EXPECT_FALSE(file.look());
    EXPECT_TRUE(file.look(true));
}

TEST_F(EndpointFileTest, AFileThatIsBeingWrittenIsLeftAloneUntilItStandsStill) {
    write("- address: 10.0.0.1:80\n- address: 10.0.0.2:80\n- address: 10.0.0.3:80\n");
    EndpointFile file(path_);
    EXPECT_TRUE(file.look());
    write("- address: 10.0.0.1:80\n");  // the writer is not done
    EXPECT_FALSE(file.look());
    write("- address: 10.0.0.1:80\n- address: 10.0.0.2:80\n- address: 10.0.0.4:80\n");
    EXPECT_FALSE(file.look());
    const auto whole = file.look();
    ASSERT_TRUE(whole && *whole);
    EXPECT_EQ((*whole)->endpoints.size(), 3u);
}

TEST_F(EndpointFileTest, ABrokenFileIsAFindingWithItsLine) {
    write("- address: 10.0.0.1:80\n- adress: 10.0.0.2:80\n- {address: 10.0.0.1:80, weight: -1}\n");
    EndpointFile file(path_);
    const auto broken = file.look();
    ASSERT_TRUE(broken);
    ASSERT_FALSE(*broken);
    EXPECT_EQ(broken->error().code, Code::invalid);
    EXPECT_NE(broken->error().detail.find("web.yaml:2:"), std::string::npos) << broken->error().detail;
    EXPECT_NE(broken->error().detail.find("weight"), std::string::npos) << broken->error().detail;
    for (const char* text : {"", "endpoints: []", "[{\"address\": \"10.0", "- just text"}) {
        write(text);
        EndpointFile other(path_);
        const auto answer = other.look();
        EXPECT_TRUE(answer && !*answer) << text;
    }
}

TEST_F(EndpointFileTest, AnAddressTwiceIsAFinding) {
    write("- address: 10.0.0.1:80\n- address: 10.0.0.1:80\n");
    EndpointFile file(path_);
    const auto answer = file.look();
    ASSERT_TRUE(answer && !*answer);
    EXPECT_NE(answer->error().detail.find("P202"), std::string::npos);
}

TEST_F(EndpointFileTest, AMissingFileIsSaidOnceAndItsReturnIsNews) {
    EndpointFile file(path_);
    const auto missing = file.look();
    ASSERT_TRUE(missing && !*missing);
    EXPECT_EQ(missing->error().code, Code::io);
    EXPECT_FALSE(file.look());
    write("- address: 10.0.0.1:80\n");
    EXPECT_FALSE(file.look());
    EXPECT_TRUE(file.look());
}

TEST_F(EndpointFileTest, ALinkThatIsMovedIsAnotherFile) {  // how a config map is updated
    std::ofstream(directory_ + "/one") << "- address: 10.0.0.1:80\n";
    std::ofstream(directory_ + "/two") << "- address: 10.0.0.2:80\n";
    std::filesystem::create_symlink("one", path_);
    EndpointFile file(path_);
    EXPECT_TRUE(file.look());
    std::filesystem::create_symlink("two", path_ + ".new");
    std::filesystem::rename(path_ + ".new", path_);
    EXPECT_FALSE(file.look());
    const auto next = file.look();
    ASSERT_TRUE(next && *next);
    EXPECT_EQ((*next)->endpoints[0].address.host, "10.0.0.2");
}

}  // namespace
}  // namespace plimsoll::discovery
