#include "proxy/access_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

namespace plimsoll::proxy {
namespace {

std::string line(const Outcome& outcome) {
    std::string out;
    append_log_line(out, outcome, Timestamp{}, {});
    return out;
}

TEST(AccessLog, NothingThatAClientSendsCanBreakALine) {
    Outcome outcome;
    outcome.path = std::string_view("/\"\\\n\r\t\x01\x7f\xff\xc3\xa9", 11);
    outcome.host = "a\",\"status\":200,\"x\":\"";
    const std::string text = line(outcome);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
    EXPECT_TRUE(text.ends_with("}\n"));
    EXPECT_NE(text.find(R"("path":"/\"\\\u000a\u000d\u0009\u0001\u007f\u00ff\u00c3\u00a9")"), std::string::npos)
        << text;
    EXPECT_NE(text.find(R"("host":"a\",\"status\":200,\"x\":\"")"), std::string::npos) << text;
}

std::string read(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

TEST(AccessLog, AppendsWholeBatchesAndReopens) {
    const std::string path = testing::TempDir() + "plimsoll-log-" + std::to_string(::getpid());
    AccessLog log(nullptr);
    EXPECT_FALSE(log.on());
    EXPECT_EQ(log.open(path), "");
    EXPECT_TRUE(log.on());
    log.lines() += "one\n";
    log.added();
    EXPECT_EQ(read(path), "");
    log.flush();
    EXPECT_EQ(read(path), "one\n");
    ASSERT_EQ(std::rename(path.c_str(), (path + ".1").c_str()), 0);
    log.lines() += "two\n";
    EXPECT_EQ(log.reopen(), "");
    log.lines() += "three\n";
    log.flush();
    EXPECT_EQ(read(path + ".1"), "one\ntwo\n");
    EXPECT_EQ(read(path), "three\n");
    std::remove(path.c_str());
    std::remove((path + ".1").c_str());
}

TEST(AccessLog, AFileThatCannotBeOpenedCostsLinesAndSaysSo) {
    AccessLog log(nullptr);
    EXPECT_NE(log.open("/nonexistent/dir/log"), "");
    log.lines() += "one\ntwo\n";
    log.flush();
    EXPECT_EQ(log.take_dropped(), 2u);
    EXPECT_EQ(log.take_dropped(), 0u);
}

}  // namespace
}  // namespace plimsoll::proxy
