// Who is let in by the TCP listener, and in which form monitoring gets its page.
#include "admin/door.h"

#include <gtest/gtest.h>

#include "admin/metrics_page.h"

namespace plimsoll::admin {
namespace {

http::Request asks(std::string host, std::string path = "/v1/status") {
    http::Request request;
    request.path = std::move(path);
    request.authority = std::move(host);
    return request;
}
http::Request writes(std::string host, std::initializer_list<http::Headers::Line> more = {}) {
    http::Request request = asks(std::move(host), "/v1/plan");
    request.method = "POST";
    request.headers = {{"content-type", "application/json"}, {"x-plimsoll-request", "1"}};
    for (const auto& line : more) request.headers.set(line.name, line.value);
    return request;
}
int status(const Door& door, const http::Request& request) {
    const auto refused = door.refuses(request);
    return refused ? refused->status : 200;
}

Door at(std::string_view host) {
    Door door;
    door.add(host, "lb1");
    return door;
}

TEST(Door, OnLoopbackOnlyItsOwnNamesAreTaken) {
    const Door door = at("127.0.0.1");
    for (const char* host : {"127.0.0.1", "127.0.0.1:9900", "localhost", "LocalHost:1", "[::1]", "[::1]:9900", ""})
        EXPECT_EQ(status(door, asks(host)), 200) << host;
    for (const char* host : {"evil.example", "evil.example:9900", "203.0.113.9", "localhost.evil.example",
                             "127.0.0.1.nip.io", "127.0.0.1:99x", "[::1", "lb1", "localhost:", "localhost.", "0.0.0.0"})
        EXPECT_EQ(status(door, asks(host)), 421) << host;
    EXPECT_EQ(status(door, asks("evil.example", "/metrics")), 421);
    EXPECT_EQ(status(door, writes("evil.example")), 421);
}

TEST(Door, WhereOthersMayComeMonitoringMayUseAnyName) {
    const Door one = at("192.0.2.5");
    EXPECT_EQ(status(one, asks("192.0.2.5:9900")), 200);
    EXPECT_EQ(status(one, asks("LB1:9900")), 200);
    EXPECT_EQ(status(one, asks("192.0.2.6")), 421);
    EXPECT_EQ(status(one, asks("lb.internal", "/metrics")), 200);
    EXPECT_EQ(status(one, asks("lb.internal")), 421);
    const Door all = at("0.0.0.0");
    EXPECT_EQ(status(all, asks("192.0.2.6")), 200);
    EXPECT_EQ(status(all, asks("evil.example")), 421);
}

TEST(Door, TheUnixSocketsModeHasDecidedAlready) {
    http::Request request = asks("anything");
    request.unix_socket = true;
    EXPECT_EQ(status(at("127.0.0.1"), request), 200);
}

TEST(Door, WritesOfOtherSitesAreRefused) {
    const Door door = at("127.0.0.1");
    EXPECT_EQ(status(door, writes("localhost:9900")), 200);
    EXPECT_EQ(status(door, writes("localhost:9900", {{"origin", "http://localhost:9900"}})), 200);
    EXPECT_EQ(status(door, writes("localhost:9900", {{"sec-fetch-site", "same-origin"}})), 200);
    for (const char* origin : {"http://evil.example", "null", "", "http://localhost:9901", "https://localhost:9900"})
        EXPECT_EQ(status(door, writes("localhost:9900", {{"origin", origin}})), 403) << origin;
    for (const char* site : {"cross-site", "same-site", "CROSS-SITE", ""})
        EXPECT_EQ(status(door, writes("localhost:9900", {{"sec-fetch-site", site}})), 403) << site;
}

TEST(Door, ContentTypeIsComparedWhole) {
    const Door door = at("127.0.0.1");
    for (const char* type : {"application/json", "Application/JSON", "application/json; charset=utf-8",
                             "application/json;charset=\"UTF-8\""})
        EXPECT_EQ(status(door, writes("localhost", {{"content-type", type}})), 200) << type;
    for (const char* type : {"", "application/jsonx", "application/json-patch+json", "text/plain; application/json",
                             "application/json; charset=utf-16", "application/json, text/plain"})
        EXPECT_EQ(status(door, writes("localhost", {{"content-type", type}})), 415) << type;
}

TEST(MetricsPage, OpenMetricsOnlyForThoseWhoPreferIt) {
    EXPECT_EQ(metrics_format(""), MetricsFormat::prometheus);
    EXPECT_EQ(metrics_format("*/*"), MetricsFormat::prometheus);
    EXPECT_EQ(metrics_format("text/plain"), MetricsFormat::prometheus);
    EXPECT_EQ(metrics_format("application/openmetrics-text; version=1.0.0"), MetricsFormat::openmetrics);
    EXPECT_EQ(metrics_format(
                  "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
                  "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"),
              MetricsFormat::openmetrics);
    EXPECT_EQ(metrics_format("application/openmetrics-text;q=0.1, text/plain"), MetricsFormat::prometheus);
    EXPECT_EQ(metrics_format("application/openmetrics-text;q=0"), MetricsFormat::prometheus);
    EXPECT_EQ(metrics_format("application/openmetrics-text;version=9.0.0"), MetricsFormat::prometheus);
    EXPECT_EQ(metrics_format("application/openmetrics-textual"), MetricsFormat::prometheus);
}

std::string page(MetricsFormat format) {
    MetricsPage page(format);
    page.counter("x_seen", "What was seen.", 7);
    page.histogram("x_seconds", "How long.");
    page.bucket("le=\"1.0\"", 3, "ab01", 0.25, 1700000000.5);
    return std::move(page).take();
}

TEST(MetricsPage, BothFormsNameTheFamilyAsTheirFormatSays) {
    EXPECT_EQ(page(MetricsFormat::prometheus),
              "# HELP x_seen_total What was seen.\n# TYPE x_seen_total counter\nx_seen_total 7\n"
              "# HELP x_seconds How long.\n# TYPE x_seconds histogram\nx_seconds_bucket{le=\"1.0\"} 3\n");
    EXPECT_EQ(page(MetricsFormat::openmetrics),
              "# HELP x_seen What was seen.\n# TYPE x_seen counter\nx_seen_total 7\n"
              "# HELP x_seconds How long.\n# TYPE x_seconds histogram\n"
              "x_seconds_bucket{le=\"1.0\"} 3 # {trace_id=\"ab01\"} 0.25 1700000000.500\n# EOF\n");
}

TEST(MetricsPage, LabelsCannotBreakOut) { EXPECT_EQ(label("a\"b\\c\nd"), "a\\\"b\\\\c\\nd"); }

}  // namespace
}  // namespace plimsoll::admin
