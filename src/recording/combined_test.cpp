// The importer against lines as servers write them, and against lines they should not have written.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/hash.h"
#include "recording/recording.h"

namespace plimsoll::recording {
namespace {

constexpr std::string_view tail = R"x( 200 1234 "http://shop.example/" "Mozilla/5.0 (X11; Linux)")x";

std::string line(std::string_view request, std::string_view client = "192.0.2.7",
                 std::string_view time = "10/Oct/2000:13:55:36 -0700") {
    std::string out{client};
    out.append(" - - [").append(time).append("] \"").append(request).append("\"").append(tail).append("\n");
    return out;
}

Imported import(std::string_view text) { return import_combined(text, "access.log", 9); }

TEST(Combined, reads_a_plain_line) {
    const auto got = import(line("GET /cart/7?x=1 HTTP/1.1"));
    ASSERT_EQ(got.recording.records.size(), 1u);
    EXPECT_EQ(got.lines, 1u);
    EXPECT_EQ(got.bad_lines, 0u);
    EXPECT_EQ(rfc3339(got.recording.start), "2000-10-10T20:55:36.000Z");
    const auto& record = got.recording.records[0];
    EXPECT_EQ(record.method, "GET");
    EXPECT_EQ(record.path, "/cart/7");
    EXPECT_EQ(record.host, "");
    EXPECT_EQ(record.status, 200);
    EXPECT_EQ(record.response_body_bytes, 1234u);
    EXPECT_EQ(record.client_key, keyed_hash("192.0.2.7", 9));
    EXPECT_EQ(record.cause, Cause::none);
}

TEST(Combined, knows_ipv6_names_user_names_with_spaces_and_carriage_returns) {
    const auto got = import(
        "2001:db8::1 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"\r\n"
        "fe80::1%eth0 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"\r\n"
        "\r\n"
        "host-7.example.org ident Ada Lovelace [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"\r\n"
        "::ffff:192.0.2.1 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" - - \"-\" \"-\"");
    EXPECT_EQ(got.lines, 4u);
    EXPECT_EQ(got.bad_lines, 0u);
    ASSERT_EQ(got.recording.records.size(), 4u);
    EXPECT_EQ(got.recording.records[0].client_key, keyed_hash("2001:db8::1", 9));
    EXPECT_EQ(got.recording.records[3].status, 0);
    EXPECT_EQ(got.recording.records[3].response_body_bytes, 0u);
}

TEST(Combined, undoes_escapes_and_does_not_stop_at_an_escaped_quote) {
    const auto got = import(line(R"(GET /a\"b\\c\x2fd HTTP/1.1)") +
                            "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1 "
                            "\"say \\\"hi\\\"\" \"end with backslash \\\\\"\n");
    EXPECT_EQ(got.bad_lines, 0u);
    ASSERT_EQ(got.recording.records.size(), 2u);
    EXPECT_EQ(got.recording.records[1].path, R"(/a"b\c/d)");
}

TEST(Combined, other_forms_of_target) {
    const auto got =
        import(line("GET http://shop.example:8080/a?q HTTP/1.1") + line("GET https://shop.example HTTP/1.0") +
               line("OPTIONS * HTTP/1.1") + line("CONNECT shop.example:443 HTTP/1.1") + line("GET /?//x://y HTTP/2.0"));
    ASSERT_EQ(got.bad_lines, 0u);
    EXPECT_EQ(got.bad_requests, 0u);
    const auto& records = got.recording.records;
    EXPECT_EQ(records[0].host, "shop.example:8080");
    EXPECT_EQ(records[0].path, "/a");
    EXPECT_EQ(records[1].host, "shop.example");
    EXPECT_EQ(records[1].path, "/");
    EXPECT_EQ(records[2].path, "*");
    EXPECT_EQ(records[3].host, "shop.example:443");
    EXPECT_EQ(records[3].path, "");
    EXPECT_EQ(records[4].path, "/");
}

TEST(Combined, what_was_no_request_is_kept_as_such) {
    const auto got = import(line("-") + line(R"(\x16\x03\x01)") + line("GET /") + line("") +
                            line("GET / x y HTTP/1.1") + line("GET relative HTTP/1.1"));
    EXPECT_EQ(got.bad_lines, 0u);
    EXPECT_EQ(got.bad_requests, 6u);
    ASSERT_EQ(got.recording.records.size(), 6u);
    for (const auto& record : got.recording.records) {
        EXPECT_EQ(record.cause, Cause::bad_request);
        EXPECT_EQ(record.path, "");
    }
}

TEST(Combined, time_zones_and_calendar) {
    const auto start = [](std::string_view time) {
        return rfc3339(import(line("GET / HTTP/1.1", "a", time)).recording.start);
    };
    EXPECT_EQ(start("29/Feb/2024:23:59:59 +0530"), "2024-02-29T18:29:59.000Z");
    EXPECT_EQ(start("01/Jan/2025:00:15:00 +1400"), "2024-12-31T10:15:00.000Z");
    EXPECT_EQ(start("31/Dec/2016:23:59:60 +0000"), "2017-01-01T00:00:00.000Z");
    for (const auto* bad : {"29/Feb/2023:00:00:00 +0000", "31/Apr/2024:00:00:00 +0000", "01/jan/2024:00:00:00 +0000",
                            "01/Jan/2024:24:00:00 +0000", "1/Jan/2024:00:00:00 +0000", "01/Jan/2024 00:00:00 +0000",
                            "01/Jan/2024:00:00:00 UTC", "01/Jan/2024:0a:00:00 +0000", "01/Jan/1960:00:00:00 +0000"}) {
        EXPECT_EQ(import(line("GET / HTTP/1.1", "a", bad)).bad_lines, 1u) << bad;
    }
}

TEST(Combined, bad_lines_are_findings_with_their_place) {
    const auto got =
        import(line("GET / HTTP/1.1") + "garbage\n" +
               "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"never closed\n" +
               "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1\n" +
               "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 20 1 \"-\" \"-\"\n" +
               "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\" 0.003\n" +
               "192.0.2.7 - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"\n" +
               "<script> - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"\n");
    EXPECT_EQ(got.lines, 8u);
    EXPECT_EQ(got.bad_lines, 7u);
    EXPECT_EQ(got.recording.records.size(), 1u);
    ASSERT_EQ(got.findings.size(), 7u);
    EXPECT_EQ(got.findings[0].where, (Where{"access.log", 2, 1}));
    EXPECT_EQ(got.findings[1].where.line, 3);
    EXPECT_NE(got.findings[1].message.find("never closed"), std::string::npos) << got.findings[1].message;
    EXPECT_EQ(got.findings[3].where, (Where{"access.log", 5, 61})) << text(got.findings[3]);
    EXPECT_EQ(got.findings[6].where, (Where{"access.log", 8, 1}));
    EXPECT_FALSE(has_errors(got.findings));
}

TEST(Combined, keeps_twenty_findings_and_counts_all) {
    std::string text;
    for (int i = 0; i < 50; ++i) text += "no\n";
    const auto got = import(text + std::string(70'000, 'x'));
    EXPECT_EQ(got.findings.size(), max_import_findings);
    EXPECT_EQ(got.bad_lines, 51u);
    EXPECT_TRUE(got.recording.records.empty());
}

TEST(Combined, spreads_a_second_evenly_in_order) {
    const auto got = import(line("GET /3 HTTP/1.1", "a", "10/Oct/2000:13:55:37 +0000") +
                            line("GET /0 HTTP/1.1", "a", "10/Oct/2000:13:55:36 +0000") +
                            line("GET /1 HTTP/1.1", "a", "10/Oct/2000:13:55:36 +0000") +
                            line("GET /2 HTTP/1.1", "a", "10/Oct/2000:13:55:36 +0000") +
                            line("GET /4 HTTP/1.1", "a", "10/Oct/2000:13:55:37 +0000"));
    std::string paths;
    std::vector<std::int64_t> at;
    for (const auto& record : got.recording.records) {
        paths += record.path;
        at.push_back(record.at.count() / 1'000'000);
    }
    EXPECT_EQ(paths, "/0/1/2/3/4");
    EXPECT_EQ(at, (std::vector<std::int64_t>{0, 333, 666, 1000, 1500}));
}

/// A real log of 10,000 requests; where it is, tests/data or PLIMSOLL_DATA says. Not shipped with the source.
TEST(Combined, real_log) {
    const char* data = std::getenv("PLIMSOLL_DATA");
    const std::string directory = data != nullptr ? data : std::string(PLIMSOLL_SOURCE_DIR) + "/../shared/data";
    std::ifstream file(directory + "/apache_access.log", std::ios::binary);
    if (!file) GTEST_SKIP() << "no apache_access.log in " << directory << "; set PLIMSOLL_DATA to run this";
    std::ostringstream text;
    text << file.rdbuf();
    const auto got = import(text.str());
    for (const auto& finding : got.findings) std::cout << plimsoll::text(finding) << '\n';
    EXPECT_EQ(got.lines, 10'000u);
    EXPECT_EQ(got.recording.records.size() + got.bad_lines, got.lines);
    EXPECT_LE(got.bad_lines, 10u);
    const auto bytes = write(got.recording);
    const auto back = read(bytes);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->records, got.recording.records);
    std::cout << got.recording.records.size() << " records, " << got.bad_lines << " bad lines, " << got.bad_requests
              << " bad requests, log " << text.str().size() << " bytes, recording " << bytes.size() << " bytes, span "
              << plimsoll::text(got.recording.span()) << ", peak " << peak_rate(got.recording) << "/s\n";
}

}  // namespace
}  // namespace plimsoll::recording
