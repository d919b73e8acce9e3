#include "proxy/access_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace plimsoll::proxy {
namespace {

using namespace std::chrono_literals;

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

Outcome full() {
    Outcome outcome;
    outcome.revision = RevisionNumber{42};
    outcome.status = 200;
    outcome.client = "192.0.2.7";
    outcome.listener = "web";
    outcome.method = "GET";
    outcome.host = "shop.example";
    outcome.path = "/cart";
    outcome.request_id = "id-1";
    outcome.spoken = Spoken::http2;
    outcome.tls = 3ms;
    outcome.queue = 1500us;
    outcome.first_byte = 20114us;
    outcome.total = 20161us;
    outcome.request_head_bytes = 412;
    outcome.response_body_bytes = 1893;
    outcome.attempt_count = 2;
    outcome.attempt[0] = {.endpoint = EndpointId{0}, .cause = Cause::upstream_tls, .connect = 2ms, .tls = 1ms};
    outcome.attempt[1] = {.endpoint = EndpointId{1}, .status = 200, .reused = true, .first_byte = 18ms};
    return outcome;
}

TEST(AccessLog, SaysHowLongEachPartTookAndInWhichTraceItWas) {
    Outcome outcome = full();
    EXPECT_EQ(line(outcome).find("trace_id"), std::string::npos);
    EXPECT_EQ(line(outcome).find("tunnel"), std::string::npos);
    outcome.trace.trace_id = {0xab, 1};
    outcome.trace.span_id = {1};
    outcome.tunnel = true;
    const std::string text = line(outcome);
    for (const std::string_view part :
         {R"("listener":"web","protocol":"http2")",
          R"("tunnel":true,"tls_us":3000,"queue_us":1500,"first_byte_us":20114)",
          R"("trace_id":"ab010000000000000000000000000000")", R"("connect_us":2000,"tls_us":1000,"first_byte_us":0)"})
        EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST(AccessLog, ForPeopleTimersCauseAndNamesStandInOneLine) {
    std::string out;
    append_text_line(out, full(), Timestamp{}, {.route_name = "shop", .pool_name = "web", .endpoint_name = "b2"});
    EXPECT_EQ(out,
              "1970-01-01T00:00:00.000Z 192.0.2.7 web shop/web/b2 3.0/1.5/2.0/20.1/20.1 200 - 412/1893 tries=2 r42 "
              "http2 \"GET shop.example /cart\" id-1\n");
}

TEST(AccessLog, ForPeopleNothingThatAClientSendsCanBreakALineOrAField) {
    Outcome outcome;
    outcome.method = "G\"T";
    outcome.host = "a b\n";
    outcome.path = std::string_view("/\\\x01\xff\r", 5);
    outcome.cause = Cause::bad_request;
    std::string out;
    append_text_line(out, outcome, Timestamp{}, {});
    EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1);
    EXPECT_EQ(std::count(out.begin(), out.end(), '"'), 2);
    EXPECT_NE(out.find("bad_request 0/0 tries=0 r0 http1 \"G\\x22T a\\x20b\\x0a /\\x5c\\x01\\xff\\x0d\" -\n"),
              std::string::npos)
        << out;
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
    log.add("one\n");
    EXPECT_EQ(read(path), "");
    log.flush();
    EXPECT_EQ(read(path), "one\n");
    ASSERT_EQ(std::rename(path.c_str(), (path + ".1").c_str()), 0);
    log.add("two\n");
    EXPECT_EQ(log.reopen(), "");
    log.add("three\n");
    log.flush();
    EXPECT_EQ(read(path + ".1"), "one\ntwo\n");
    EXPECT_EQ(read(path), "three\n");
    std::remove(path.c_str());
    std::remove((path + ".1").c_str());
}

TEST(AccessLog, AFileThatCannotBeReopenedIsWrittenOn) {
    const std::string directory = testing::TempDir() + "plimsoll-logs-" + std::to_string(::getpid());
    std::filesystem::create_directory(directory);
    const std::string path = directory + "/log", gone = directory + "-gone";
    AccessLog log(nullptr);
    EXPECT_EQ(log.open(path), "");
    log.add("one\n");
    std::filesystem::rename(directory, gone);
    EXPECT_EQ(log.reopen(), "access log " + path + ": No such file or directory");
    EXPECT_EQ(AccessLog::try_open(path), "access log " + path + ": No such file or directory");
    log.add("two\n");
    log.flush();
    EXPECT_EQ(read(gone + "/log"), "one\ntwo\n");
    EXPECT_EQ(log.take_dropped(), 0u);
    for (const char* none : {"", "-"}) EXPECT_EQ(AccessLog::try_open(none), "");
    EXPECT_EQ(AccessLog::try_open(gone + "/log"), "");
    std::filesystem::remove_all(gone);
}

TEST(AccessLog, PanicAndGrpcStatusAreMarked) {
    Outcome outcome = full();
    EXPECT_EQ(line(outcome).find("panic"), std::string::npos);
    EXPECT_EQ(line(outcome).find("grpc_status"), std::string::npos);
    outcome.attempt[1].panic = true;
    outcome.grpc_status = 14;
    EXPECT_NE(line(outcome).find(R"("grpc_status":14)"), std::string::npos) << line(outcome);
    EXPECT_NE(line(outcome).find(R"("reused":true,"panic":true)"), std::string::npos) << line(outcome);
    std::string text;
    append_text_line(text, outcome, Timestamp{}, {});
    EXPECT_NE(text.find(" 200/grpc=14 - "), std::string::npos) << text;
    EXPECT_NE(text.find(" tries=2+panic "), std::string::npos) << text;
}

TEST(AccessLog, TheFormatMayChangeWhileTheFileStays) {
    std::string seen;
    AccessLog log([&seen](std::string_view lines) { seen += lines; });
    log.add(full(), Timestamp{}, {});
    EXPECT_EQ(log.open("", config::LogFormat::text), "");
    log.add(full(), Timestamp{}, {});
    log.flush();
    EXPECT_TRUE(seen.starts_with("{\"time\":"));
    EXPECT_NE(seen.find("}\n1970-01-01T"), std::string::npos) << seen;
}

TEST(AccessLog, AFileThatCannotBeOpenedCostsLinesAndSaysSo) {
    AccessLog log(nullptr);
    EXPECT_NE(log.open("/nonexistent/dir/log"), "");
    log.add("one\ntwo\n");
    log.flush();
    EXPECT_EQ(log.take_dropped(), 2u);
    EXPECT_EQ(log.take_dropped(), 0u);
}

}  // namespace
}  // namespace plimsoll::proxy
