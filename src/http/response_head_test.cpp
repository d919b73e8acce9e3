#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "http/head.h"
#include "http/transcript.h"

namespace plimsoll::http {
namespace {

using namespace std::string_literals;
using Kind = Framing::Kind;

/// What an upstream's bytes come to; `refused` stands for a 502.
struct Case {
    std::string name;
    std::string input;
    bool refused = false;
    Framing framing{};
    bool keep_alive = true;
    Method request = Method::get;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.input; }

std::string ok(std::string_view fields) { return "HTTP/1.1 200 OK\r\n" + std::string(fields) + "\r\n"; }
std::string status(std::string_view line, std::string_view fields = "") {
    return std::string(line) + "\r\n" + std::string(fields) + "\r\n";
}

class ResponseVerdict : public testing::TestWithParam<Case> {};

TEST_P(ResponseVerdict, IsRight) {
    const Case& c = GetParam();
    ResponseParser parser;
    const Progress progress = parser.feed(c.input, c.request);
    ASSERT_EQ(progress, c.refused ? Progress::refused : Progress::complete) << parser.refusal().reason;
    EXPECT_EQ(parser.refusal().status, c.refused ? 502 : 0);
    if (c.refused) return;
    EXPECT_EQ(parser.head().framing, c.framing);
    EXPECT_EQ(parser.head().keep_alive, c.keep_alive);
    EXPECT_EQ(parser.head().bytes, c.input.size());
}

TEST_P(ResponseVerdict, IsTheSameByteByByte) {
    const Case& c = GetParam();
    std::vector<std::size_t> cuts;
    for (std::size_t at = 1; at < c.input.size(); ++at) cuts.push_back(at);
    EXPECT_EQ(test::parse_response(c.input, c.request, cuts), test::parse_response(c.input, c.request));
}

constexpr Framing until_close{Kind::until_close, 0};
constexpr Framing nothing{};

INSTANTIATE_TEST_SUITE_P(
    Framing, ResponseVerdict,
    testing::ValuesIn(std::vector<Case>{
        {"Length", ok("Content-Length: 5\r\n"), false, {Kind::length, 5}},
        {"LengthZero", ok("Content-Length: 0\r\n"), false, {Kind::length, 0}},
        {"Chunked", ok("Transfer-Encoding: chunked\r\n"), false, {Kind::chunked, 0}},
        {"UntilClose", ok(""), false, until_close, false},
        {"UntilCloseDespiteKeepAlive", ok("Connection: keep-alive\r\n"), false, until_close, false},
        {"Close", ok("Content-Length: 5\r\nConnection: close\r\n"), false, {Kind::length, 5}, false},
        {"Version10", status("HTTP/1.0 200 OK", "Content-Length: 5\r\n"), false, {Kind::length, 5}, false},
        {"Version10KeepAlive",
         status("HTTP/1.0 200 OK", "Content-Length: 5\r\nConnection: keep-alive\r\n"),
         false,
         {Kind::length, 5}},
        {"HeadWithLength", ok("Content-Length: 5\r\n"), false, nothing, true, Method::head},
        {"HeadChunked", ok("Transfer-Encoding: chunked\r\n"), false, nothing, true, Method::head},
        {"HeadBare", ok(""), false, nothing, true, Method::head},
        {"NoContent", status("HTTP/1.1 204 No Content"), false, nothing},
        {"NoContentLengthZero", status("HTTP/1.1 204 No Content", "Content-Length: 0\r\n"), false, nothing},
        {"NoContentWithLength", status("HTTP/1.1 204 No Content", "Content-Length: 5\r\n"), false, nothing, false},
        {"NoContentChunked", status("HTTP/1.1 204 x", "Transfer-Encoding: chunked\r\n"), false, nothing, false},
        {"NotModified", status("HTTP/1.1 304 Not Modified", "Content-Length: 5\r\n"), false, nothing},
        {"Continue", status("HTTP/1.1 100 Continue"), false, nothing},
        {"EarlyHints", status("HTTP/1.1 103 Early Hints", "Link: x\r\n"), false, nothing},
        {"SwitchingProtocols", status("HTTP/1.1 101 x", "Upgrade: x\r\nConnection: upgrade\r\n"), false, nothing},
        {"ContinueWithLength", status("HTTP/1.1 100 Continue", "Content-Length: 5\r\n"), true},
        {"SwitchingWithChunked", status("HTTP/1.1 101 x", "Transfer-Encoding: chunked\r\n"), true},
        {"ContinueIn10", status("HTTP/1.0 100 Continue"), true},
        {"LengthAndChunked", ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), true},
        {"LengthTwice", ok("Content-Length: 5\r\nContent-Length: 5\r\n"), true},
        {"LengthList", ok("Content-Length: 5, 5\r\n"), true},
        {"LengthEmpty", ok("Content-Length:\r\n"), true},
        {"LengthNegative", ok("Content-Length: -1\r\n"), true},
        {"LengthOverflow", ok("Content-Length: 99999999999999999999\r\n"), true},
        {"LengthBadForHead", ok("Content-Length: x\r\n"), true, nothing, true, Method::head},
        {"GzipChunked", ok("Transfer-Encoding: gzip, chunked\r\n"), true},
        {"Identity", ok("Transfer-Encoding: identity\r\n"), true},
        {"ChunkedTwice", ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), true},
        {"ChunkedIn10", status("HTTP/1.0 200 OK", "Transfer-Encoding: chunked\r\n"), true},
    }),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(Syntax, ResponseVerdict,
                         testing::ValuesIn(std::vector<Case>{
                             {"NoPhrase", status("HTTP/1.1 200 ", "Content-Length: 0\r\n"), false, {Kind::length, 0}},
                             {"NoBlank", status("HTTP/1.1 200", "Content-Length: 0\r\n"), false, {Kind::length, 0}},
                             {"PhraseUtf8", status("HTTP/1.1 404 Pas trouv\xc3\xa9"), false, until_close, false},
                             {"PhraseControl", status("HTTP/1.1 200 O\x01K"), true},
                             {"PhraseCr", status("HTTP/1.1 200 O\rK"), true},
                             {"StatusShort", status("HTTP/1.1 20 OK"), true},
                             {"StatusLong", status("HTTP/1.1 2000 OK"), true},
                             {"StatusNotDigits", status("HTTP/1.1 2x0 OK"), true},
                             {"StatusLow", status("HTTP/1.1 099 OK"), true},
                             {"StatusHigh", status("HTTP/1.1 600 OK"), true},
                             {"StatusTab", status("HTTP/1.1\t200 OK"), true},
                             {"DoubleBlank", status("HTTP/1.1  200 OK"), true},
                             {"VersionOnly", status("HTTP/1.1"), true},
                             {"Version2", status("HTTP/2.0 200 OK"), true},
                             {"VersionOther", status("ICY 200 OK"), true},
                             {"VersionLowerCase", status("http/1.1 200 OK"), true},
                             {"Http09", "<html>hello", true},
                             {"LeadingEmptyLine", "\r\n" + ok("Content-Length: 0\r\n"), true},
                             {"TlsRecord", "\x15\x03\x01"s, true},
                             {"BareLf", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", true},
                             {"BareLfInFields", "HTTP/1.1 200 OK\r\nX: a\nContent-Length: 0\r\n\r\n", true},
                             {"BareCr", ok("X: a\rb\r\n"), true},
                             {"ObsFold", ok("X: a\r\n b\r\n"), true},
                             {"Nul", ok("X: a\0b\r\n"s), true},
                             {"SpaceBeforeColon", ok("X : a\r\n"), true},
                             {"EmptyName", ok(": a\r\n"), true},
                             {"HeadTooLong", ok("X: " + std::string(20'000, 'x') + "\r\n"), true},
                             {"ConnectionNotToken", ok("Connection: a b\r\n"), true},
                         }),
                         [](const auto& info) { return info.param.name; });

TEST(ResponseHead, SaysWhatWasSent) {
    const std::string input = "HTTP/1.1 404 Not There\r\nContent-Length: 3\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\nabc";
    ResponseParser parser;
    ASSERT_EQ(parser.feed(input, Method::get), Progress::complete);
    const ResponseHead& head = parser.head();
    EXPECT_EQ(head.status, 404);
    EXPECT_EQ(head.reason(), "Not There");
    EXPECT_EQ(head.bytes, input.size() - 3);
    EXPECT_FALSE(head.interim());
    EXPECT_FALSE(head.fields[0].hop);
    EXPECT_TRUE(head.fields[1].hop);
    EXPECT_TRUE(head.fields[2].hop);
}

TEST(ResponseHead, InterimAndUpgrade) {
    ResponseParser parser;
    ASSERT_EQ(parser.feed("HTTP/1.1 100 Continue\r\n\r\n", Method::post), Progress::complete);
    EXPECT_TRUE(parser.head().interim());
    EXPECT_FALSE(parser.head().upgrade);
    parser.reset();
    ASSERT_EQ(parser.feed("HTTP/1.1 101 Switching Protocols\r\n\r\n", Method::get), Progress::complete);
    EXPECT_FALSE(parser.head().interim());
    EXPECT_TRUE(parser.head().upgrade);
}

}  // namespace
}  // namespace plimsoll::http
