#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "http/head.h"
#include "http/transcript.h"

namespace plimsoll::http {
namespace {

using namespace std::string_literals;

struct Case {
    std::string name;
    std::string input;
    std::uint16_t status;  ///< 0 = taken
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.input; }

std::string get(std::string_view fields) { return "GET / HTTP/1.1\r\n" + std::string(fields) + "\r\n"; }
std::string hosted(std::string_view fields) { return get("Host: a\r\n" + std::string(fields)); }
std::string line(std::string_view request_line) { return std::string(request_line) + "\r\nHost: a\r\n\r\n"; }

class RequestVerdict : public testing::TestWithParam<Case> {};

TEST_P(RequestVerdict, IsRight) {
    RequestParser parser;
    const Progress progress = parser.feed(GetParam().input);
    EXPECT_EQ(parser.refusal().status, GetParam().status) << parser.refusal().reason;
    EXPECT_EQ(progress, GetParam().status == 0 ? Progress::complete : Progress::refused);
    EXPECT_EQ(parser.refusal().reason.empty(), GetParam().status == 0);
}

TEST_P(RequestVerdict, IsTheSameByteByByte) {
    std::vector<std::size_t> cuts;
    for (std::size_t at = 1; at < GetParam().input.size(); ++at) cuts.push_back(at);
    EXPECT_EQ(test::parse_request(GetParam().input, cuts), test::parse_request(GetParam().input));
}

INSTANTIATE_TEST_SUITE_P(RequestLine, RequestVerdict,
                         testing::ValuesIn(std::vector<Case>{
                             {"Plain", line("GET / HTTP/1.1"), 0},
                             {"LeadingEmptyLine", "\r\n" + line("GET / HTTP/1.1"), 0},
                             {"TwoLeadingEmptyLines", "\r\n\r\n" + line("GET / HTTP/1.1"), 400},
                             {"LeadingBareLf", "\n" + line("GET / HTTP/1.1"), 400},
                             {"LeadingBlank", " " + line("GET / HTTP/1.1"), 400},
                             {"TlsHello", "\x16\x03\x01\x02"s, 400},
                             {"Http2Preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
                             {"Http09", "GET /\r\n\r\n", 400},
                             {"Http09WithBlank", "GET / \r\n\r\n", 400},
                             {"Version12", line("GET / HTTP/1.2"), 505},
                             {"Version20", line("GET / HTTP/2.0"), 505},
                             {"Version00", line("GET / HTTP/0.9"), 505},
                             {"Version10", line("GET / HTTP/1.0"), 0},
                             {"Version10WithoutHost", "GET / HTTP/1.0\r\n\r\n", 0},
                             {"VersionLowerCase", line("GET / http/1.1"), 400},
                             {"VersionLong", line("GET / HTTP/1.10"), 400},
                             {"VersionShort", line("GET / HTTP/1"), 400},
                             {"VersionTrailingBlank", line("GET / HTTP/1.1 "), 400},
                             {"VersionOther", line("GET / ICAP/1.0"), 400},
                             {"DoubleBlankAfterMethod", line("GET  / HTTP/1.1"), 400},
                             {"DoubleBlankAfterTarget", line("GET /  HTTP/1.1"), 400},
                             {"TabSeparated", line("GET\t/\tHTTP/1.1"), 400},
                             {"BlankInTarget", line("GET /a b HTTP/1.1"), 400},
                             {"ControlInTarget", line("GET /a\x01 HTTP/1.1"), 400},
                             {"NulInTarget", line("GET /a\0b HTTP/1.1"s), 400},
                             {"CrInTarget", line("GET /a\rb HTTP/1.1"), 400},
                             {"DelInTarget", line("GET /a\x7f HTTP/1.1"), 400},
                             {"HighByteInTarget", line("GET /\xc3\xa9 HTTP/1.1"), 400},
                             {"Fragment", line("GET /a#b HTTP/1.1"), 400},
                             {"BackslashInPath", line("GET /a\\b HTTP/1.1"), 400},
                             {"BackslashInQuery", line("GET /a?b\\c HTTP/1.1"), 0},
                             {"PercentNul", line("GET /a%00 HTTP/1.1"), 400},
                             {"PercentMalformed", line("GET /a%zz HTTP/1.1"), 400},
                             {"PercentCut", line("GET /a%2 HTTP/1.1"), 400},
                             {"PercentCutByQuery", line("GET /a%2?0 HTTP/1.1"), 400},
                             {"PercentSlashKept", line("GET /a%2fb HTTP/1.1"), 0},
                             {"PercentLooseInQuery", line("GET /a?100% HTTP/1.1"), 0},
                             {"EmptyMethod", line(" / HTTP/1.1"), 400},
                             {"MethodNotToken", line("GE(T / HTTP/1.1"), 400},
                             {"MethodUnknown", line("BREW / HTTP/1.1"), 0},
                             {"MethodLowerCase", line("get / HTTP/1.1"), 0},
                             {"MethodTooLong", line(std::string(33, 'A') + " / HTTP/1.1"), 501},
                             {"Connect", line("CONNECT a:443 HTTP/1.1"), 0},
                             {"ConnectWithoutPort", line("CONNECT a HTTP/1.1"), 400},
                             {"ConnectInHttp10", line("CONNECT a:443 HTTP/1.0"), 400},
                             {"ConnectWithPath", line("CONNECT / HTTP/1.1"), 400},
                             {"AsteriskOptions", line("OPTIONS * HTTP/1.1"), 0},
                             {"AsteriskGet", line("GET * HTTP/1.1"), 400},
                             {"RelativeTarget", line("GET a HTTP/1.1"), 400},
                             {"QueryOnlyTarget", line("GET ?a HTTP/1.1"), 400},
                             {"OtherScheme", line("GET ftp://a/ HTTP/1.1"), 400},
                             {"AbsoluteForm", line("GET http://b/x HTTP/1.1"), 0},
                             {"AbsoluteFormUpperCase", line("GET HTTP://b/x HTTP/1.1"), 0},
                             {"AbsoluteFormHttps", line("GET https://b:8443/x HTTP/1.1"), 0},
                             {"AbsoluteFormUserinfo", line("GET http://u@b/x HTTP/1.1"), 400},
                             {"AbsoluteFormNoAuthority", line("GET http:///x HTTP/1.1"), 400},
                             {"AbsoluteFormBadPort", line("GET http://b:x/ HTTP/1.1"), 400},
                             {"AbsoluteFormBackslash", line("GET http://b\\@c/ HTTP/1.1"), 400},
                             {"NoTarget", line("GET HTTP/1.1"), 400},
                             {"MethodOnly", line("GET"), 400},
                         }),
                         [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(FieldLine, RequestVerdict,
                         testing::ValuesIn(std::vector<Case>{
                             {"BareLf", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
                             {"BareLfAtEnd", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
                             {"AllBareLf", "GET / HTTP/1.1\nHost: a\n\n", 400},
                             {"BareCr", hosted("X: a\rb\r\n"), 400},
                             {"BareCrInName", hosted("X\r: a\r\n"), 400},
                             {"CrCrLf", hosted("X: a\r\r\n"), 400},
                             {"ObsFold", hosted("X: a\r\n b\r\n"), 400},
                             {"ObsFoldTab", hosted("X: a\r\n\tb\r\n"), 400},
                             {"FoldAfterRequestLine", get(" Host: a\r\n"), 400},
                             {"Nul", hosted("X: a\0b\r\n"s), 400},
                             {"NulInName", hosted("X\0: b\r\n"s), 400},
                             {"Control", hosted("X: a\x02\r\n"), 400},
                             {"ControlBehindSixteen", hosted("X: 0123456789abcdef\x02\r\n"), 400},
                             {"Del", hosted("X: a\x7f\r\n"), 400},
                             {"Tab", hosted("X: a\tb\r\n"), 0},
                             {"TabBehindSixteen", hosted("X: 0123456789abcdef0123456789\tabcdef\r\n"), 0},
                             {"Utf8", hosted("X: \xc3\xa9\r\n"), 0},
                             {"SpaceBeforeColon", hosted("X : a\r\n"), 400},
                             {"TabBeforeColon", hosted("X\t: a\r\n"), 400},
                             {"SpaceInName", hosted("X Y: a\r\n"), 400},
                             {"EmptyName", hosted(": a\r\n"), 400},
                             {"NoColon", hosted("X\r\n"), 400},
                             {"HighByteInName", hosted("X\xe9: a\r\n"), 400},
                             {"EmptyValue", hosted("X:\r\n"), 0},
                             {"BlankValue", hosted("X: \t \r\n"), 0},
                             {"NoBlankAfterColon", hosted("X:a\r\n"), 0},
                             {"NameTooLong", hosted(std::string(257, 'x') + ": a\r\n"), 431},
                             {"NameAtLimit", hosted(std::string(256, 'x') + ": a\r\n"), 0},
                         }),
                         [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(Host, RequestVerdict,
                         testing::ValuesIn(std::vector<Case>{
                             {"Missing", get(""), 400},
                             {"MissingWithAbsoluteForm", "GET http://a/ HTTP/1.1\r\n\r\n", 400},
                             {"Twice", get("Host: a\r\nHost: a\r\n"), 400},
                             {"TwiceOtherCase", get("Host: a\r\nhOST: b\r\n"), 400},
                             {"TwiceIn10", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
                             {"Empty", get("Host:\r\n"), 400},
                             {"Port", get("Host: a:8080\r\n"), 0},
                             {"PortEmpty", get("Host: a:\r\n"), 0},
                             {"PortTooLarge", get("Host: a:65536\r\n"), 400},
                             {"PortLong", get("Host: a:000080\r\n"), 400},
                             {"PortNotDigits", get("Host: a:8o\r\n"), 400},
                             {"PortOnly", get("Host: :80\r\n"), 400},
                             {"Ipv4", get("Host: 127.0.0.1:80\r\n"), 0},
                             {"Ipv6", get("Host: [::1]:80\r\n"), 0},
                             {"Ipv6Unclosed", get("Host: [::1\r\n"), 400},
                             {"Ipv6Empty", get("Host: []\r\n"), 400},
                             {"Ipv6Junk", get("Host: [::1]x\r\n"), 400},
                             {"Ipv6Zone", get("Host: [fe80::1%25eth0]\r\n"), 400},
                             {"List", get("Host: a, b\r\n"), 400},
                             {"Blank", get("Host: a b\r\n"), 400},
                             {"Userinfo", get("Host: u@a\r\n"), 400},
                             {"Path", get("Host: a/b\r\n"), 400},
                             {"Underscore", get("Host: a_b.c\r\n"), 0},
                             {"TooLong", get("Host: " + std::string(262, 'a') + "\r\n"), 400},
                         }),
                         [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Framing, RequestVerdict,
    testing::ValuesIn(std::vector<Case>{
        {"Length", hosted("Content-Length: 5\r\n"), 0},
        {"LengthZero", hosted("Content-Length: 0\r\n"), 0},
        {"LengthLargest", hosted("Content-Length: 9223372036854775807\r\n"), 0},
        {"LengthOverflow", hosted("Content-Length: 9223372036854775808\r\n"), 400},
        {"LengthOverflow64", hosted("Content-Length: 18446744073709551616\r\n"), 400},
        {"LengthHuge", hosted("Content-Length: " + std::string(400, '9') + "\r\n"), 400},
        {"LengthTwiceEqual", hosted("Content-Length: 5\r\nContent-Length: 5\r\n"), 400},
        {"LengthTwice", hosted("Content-Length: 5\r\nContent-Length: 6\r\n"), 400},
        {"LengthList", hosted("Content-Length: 5, 5\r\n"), 400},
        {"LengthEmpty", hosted("Content-Length:\r\n"), 400},
        {"LengthBlank", hosted("Content-Length:  \r\n"), 400},
        {"LengthEmptyThenFive", hosted("Content-Length:\r\nContent-Length: 5\r\n"), 400},
        {"LengthPlus", hosted("Content-Length: +5\r\n"), 400},
        {"LengthMinus", hosted("Content-Length: -5\r\n"), 400},
        {"LengthMinusZero", hosted("Content-Length: -0\r\n"), 400},
        {"LengthHex", hosted("Content-Length: 0x5\r\n"), 400},
        {"LengthFraction", hosted("Content-Length: 5.0\r\n"), 400},
        {"LengthExponent", hosted("Content-Length: 1e1\r\n"), 400},
        {"LengthInnerBlank", hosted("Content-Length: 5 5\r\n"), 400},
        {"LengthLetters", hosted("Content-Length: five\r\n"), 400},
        {"LengthQuoted", hosted("Content-Length: \"5\"\r\n"), 400},
        {"LengthUnicodeDigit", hosted("Content-Length: \xd9\xa5\r\n"), 400},
        {"LengthUnderscore", hosted("Content-Length: 5_0\r\n"), 400},
        {"LengthNameBlank", hosted("Content-Length : 5\r\n"), 400},
        {"Chunked", hosted("Transfer-Encoding: chunked\r\n"), 0},
        {"ChunkedUpperCase", hosted("TRANSFER-ENCODING: Chunked\r\n"), 0},
        {"ChunkedAndLength", hosted("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400},
        {"LengthAndChunked", hosted("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400},
        {"LengthZeroAndChunked", hosted("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), 400},
        {"LengthAndIdentity", hosted("Content-Length: 5\r\nTransfer-Encoding: identity\r\n"), 400},
        {"LengthAndEmptyTransferEncoding", hosted("Content-Length: 5\r\nTransfer-Encoding:\r\n"), 400},
        {"ChunkedTwice", hosted("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
        {"ChunkedTwiceInList", hosted("Transfer-Encoding: chunked, chunked\r\n"), 400},
        {"ChunkedThenIdentity", hosted("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), 400},
        {"ChunkedNotLast", hosted("Transfer-Encoding: chunked, gzip\r\n"), 400},
        {"GzipChunked", hosted("Transfer-Encoding: gzip, chunked\r\n"), 501},
        {"Identity", hosted("Transfer-Encoding: identity\r\n"), 501},
        {"Unknown", hosted("Transfer-Encoding: xchunked\r\n"), 501},
        {"ChunkedSuffix", hosted("Transfer-Encoding: chunkedx\r\n"), 501},
        {"ChunkedQuoted", hosted("Transfer-Encoding: \"chunked\"\r\n"), 400},
        {"ChunkedSingleQuoted", hosted("Transfer-Encoding: 'chunked'\r\n"), 501},
        {"ChunkedParameter", hosted("Transfer-Encoding: chunked;q=1\r\n"), 400},
        {"ChunkedLeadingComma", hosted("Transfer-Encoding: ,chunked\r\n"), 400},
        {"ChunkedTrailingComma", hosted("Transfer-Encoding: chunked,\r\n"), 400},
        {"ChunkedVerticalTab",
         hosted("Transfer-Encoding: \x0b"
                "chunked\r\n"),
         400},
        {"ChunkedFormFeed", hosted("Transfer-Encoding: chunked\x0c\r\n"), 400},
        {"ChunkedNul", hosted("Transfer-Encoding: chunked\0\r\n"s), 400},
        {"ChunkedNoBreakSpace",
         hosted("Transfer-Encoding: \xa0"
                "chunked\r\n"),
         400},
        {"ChunkedUmlaut", hosted("Transfer-Encoding: ch\xfcnked\r\n"), 400},
        {"ChunkedFolded", hosted("Transfer-Encoding:\r\n chunked\r\n"), 400},
        {"ChunkedBareLf", hosted("Transfer-Encoding:\nchunked\r\n"), 400},
        {"ChunkedBlankName", hosted("Transfer-Encoding : chunked\r\n"), 400},
        {"ChunkedTwoWords", hosted("Transfer-Encoding: chunked cow\r\n"), 400},
        {"Empty", hosted("Transfer-Encoding:\r\n"), 400},
        {"CommaOnly", hosted("Transfer-Encoding: ,\r\n"), 400},
        {"ChunkedIn10", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"IdentityIn10", "POST / HTTP/1.0\r\nTransfer-Encoding: identity\r\n\r\n", 400},
    }),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(Options, RequestVerdict,
                         testing::ValuesIn(std::vector<Case>{
                             {"ExpectOther", hosted("Expect: 200-ok\r\n"), 417},
                             {"ExpectTwice", hosted("Expect: 100-continue\r\nExpect: 100-continue\r\n"), 417},
                             {"ExpectList", hosted("Expect: 100-continue, x\r\n"), 417},
                             {"ExpectOtherIn10", "GET / HTTP/1.0\r\nExpect: x\r\n\r\n", 0},
                             {"ConnectionNotToken", hosted("Connection: a b\r\n"), 400},
                             {"ConnectionEmpty", hosted("Connection:\r\n"), 0},
                             {"ConnectionMany",
                              hosted("Connection: a" +
                                     [] {
                                         std::string many;
                                         for (int i = 0; i < 40; ++i) many += ",a";
                                         return many;
                                     }() +
                                     "\r\n"),
                              400},
                         }),
                         [](const auto& info) { return info.param.name; });

/// The bytes are kept until the end, since a head is views.
RequestHead parsed(std::string_view input) {
    static std::deque<std::string> kept;
    RequestParser parser;
    EXPECT_EQ(parser.feed(kept.emplace_back(input)), Progress::complete) << parser.refusal().reason;
    return parser.head();
}

TEST(RequestHead, SaysWhatWasSent) {
    const RequestHead head = parsed(
        "POST /a/b?c=d&e HTTP/1.1\r\nHost: shop.example:81\r\nContent-Length: 12\r\nX-Thing:  some thing \r\n\r\nbody");
    EXPECT_EQ(head.method, Method::post);
    EXPECT_EQ(head.method_text(), "POST");
    EXPECT_EQ(head.target(), "/a/b?c=d&e");
    EXPECT_EQ(head.path(), "/a/b");
    EXPECT_TRUE(head.has_query);
    EXPECT_EQ(head.query(), "c=d&e");
    EXPECT_EQ(head.authority(), "shop.example:81");
    EXPECT_EQ(head.framing, (Framing{Framing::Kind::length, 12}));
    EXPECT_TRUE(head.keep_alive);
    ASSERT_EQ(head.fields.size(), 3u);
    EXPECT_EQ(head.fields[2].name, "X-Thing");
    EXPECT_EQ(head.fields[2].value, "some thing");
    EXPECT_EQ(head.fields.get("x-thing"), "some thing");
    EXPECT_EQ(head.fields.get(Known::host), "shop.example:81");
}

TEST(RequestHead, EndsWhereTheBodyBegins) {
    const std::string input = hosted("X: a\r\n");
    EXPECT_EQ(parsed(input + "more").bytes, input.size());
    EXPECT_EQ(parsed("\r\n" + input).bytes, input.size() + 2);
}

TEST(RequestHead, AbsoluteFormReplacesHost) {
    const RequestHead head = parsed("GET http://real.example:8080/x?y HTTP/1.1\r\nHost: other.example\r\n\r\n");
    EXPECT_EQ(head.authority(), "real.example:8080");
    EXPECT_EQ(head.path(), "/x");
    EXPECT_EQ(head.query(), "y");
    EXPECT_TRUE(head.absolute_form);
}

TEST(RequestHead, AbsoluteFormWithoutPathHasTheRoot) {
    const RequestHead head = parsed("GET http://real.example?y HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(head.path(), "/");
    EXPECT_EQ(head.query(), "y");
}

TEST(RequestHead, AsteriskForm) { EXPECT_EQ(parsed("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path(), "*"); }

TEST(RequestHead, EmptyQueryIsAQuery) {
    const RequestHead head = parsed(line("GET /a? HTTP/1.1"));
    EXPECT_TRUE(head.has_query);
    EXPECT_EQ(head.query(), "");
}

TEST(RequestHead, KeepAlive) {
    const auto keeps = [](std::string_view version, std::string_view fields) {
        return parsed("GET / " + std::string(version) + "\r\nHost: a\r\n" + std::string(fields) + "\r\n").keep_alive;
    };
    EXPECT_TRUE(keeps("HTTP/1.1", ""));
    EXPECT_FALSE(keeps("HTTP/1.1", "Connection: close\r\n"));
    EXPECT_FALSE(keeps("HTTP/1.1", "Connection: x, Close\r\n"));
    EXPECT_FALSE(keeps("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
    EXPECT_FALSE(keeps("HTTP/1.0", ""));
    EXPECT_TRUE(keeps("HTTP/1.0", "Connection: Keep-Alive\r\n"));
    EXPECT_FALSE(keeps("HTTP/1.0", "Connection: keep-alive, close\r\n"));
}

TEST(RequestHead, ExpectContinueOnlyFrom11) {
    EXPECT_TRUE(parsed(hosted("Content-Length: 1\r\nExpect: 100-Continue\r\n")).expects_continue);
    EXPECT_FALSE(parsed("PUT / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects_continue);
}

TEST(RequestHead, ExpectOf10IsNotForwarded) {
    const RequestHead head = parsed("PUT / HTTP/1.0\r\nExpect: something\r\nX: y\r\n\r\n");
    EXPECT_TRUE(head.fields[0].hop);
    EXPECT_FALSE(head.fields[1].hop);
    EXPECT_FALSE(parsed(hosted("Expect: 100-continue\r\n")).fields[1].hop) << "the proxy decides who answers";
}

TEST(RequestHead, UpgradeNeedsBothFieldsNoBodyAnd11) {
    EXPECT_TRUE(parsed(hosted("Connection: Upgrade\r\nUpgrade: websocket\r\n")).upgrade);
    EXPECT_FALSE(parsed(hosted("Upgrade: websocket\r\n")).upgrade);
    EXPECT_FALSE(parsed(hosted("Connection: upgrade\r\n")).upgrade);
    EXPECT_FALSE(parsed(hosted("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n")).upgrade);
    EXPECT_FALSE(parsed("GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").upgrade);
}

TEST(RequestHead, HopByHopFieldsAreMarked) {
    const RequestHead head =
        parsed(hosted("Connection: close, x-mine, host, content-length, x-forwarded-for\r\nX-Mine: 1\r\nX-Other: 2\r\n"
                      "Content-Length: 0\r\nX-Forwarded-For: 1.2.3.4\r\nTE: trailers\r\nKeep-Alive: 5\r\nTrailer: x\r\n"
                      "Upgrade: h2c\r\nHTTP2-Settings: x\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\n"));
    std::string stay;
    for (const Header header : head.fields) {
        if (!header.hop) stay.append(header.name).append(" ");
    }
    EXPECT_EQ(stay, "Host X-Other Content-Length X-Forwarded-For ");
}

TEST(RequestHead, MayMove) {
    std::string input = line("GET /a?b HTTP/1.1");
    RequestParser parser;
    ASSERT_EQ(parser.feed(input), Progress::complete);
    const std::string copy = input;
    std::ranges::fill(input, '?');
    parser.head().rebase(copy.data());
    EXPECT_EQ(parser.head().path(), "/a");
    EXPECT_EQ(parser.head().fields.get(Known::host), "a");
}

TEST(RequestParser, StartsAgainAfterReset) {
    RequestParser parser;
    ASSERT_EQ(parser.feed(hosted("Connection: close\r\nX: 1\r\n")), Progress::complete);
    parser.reset();
    const std::string second = hosted("");
    ASSERT_EQ(parser.feed(second), Progress::complete);
    EXPECT_TRUE(parser.head().keep_alive);
    EXPECT_EQ(parser.head().fields.size(), 1u);
    EXPECT_FALSE(parser.head().fields.has(Known::connection));
    parser.reset();
    ASSERT_EQ(parser.feed("nonsense\r\n"), Progress::refused);
    EXPECT_EQ(parser.feed(second), Progress::refused) << "a refusal stays until reset";
    parser.reset();
    EXPECT_EQ(parser.feed(second), Progress::complete);
}

TEST(RequestParser, KeepsWhatItUnderstoodOfARefusedHead) {
    RequestParser parser;
    const std::string input = "GET /a?b HTTP/1.1\r\nX: 1\r\nbad\r\n\r\n";
    ASSERT_EQ(parser.feed(input), Progress::refused);
    EXPECT_EQ(parser.head().method_text(), "GET");
    EXPECT_EQ(parser.head().path(), "/a");
    EXPECT_EQ(parser.head().authority(), "");
    ASSERT_EQ(parser.head().fields.size(), 1u);
    EXPECT_EQ(parser.head().fields[0].value, "1");
}

struct LimitCase {
    std::string name;
    HeadLimits limits;
    std::string input;
    std::uint16_t status;
};
void PrintTo(const LimitCase& c, std::ostream* out) { *out << c.name; }
class RequestLimit : public testing::TestWithParam<LimitCase> {};

TEST_P(RequestLimit, DecidesTheStatusHoweverCut) {
    const LimitCase& c = GetParam();
    std::vector<std::size_t> cuts;
    for (std::size_t at = 1; at < c.input.size(); ++at) cuts.push_back(at);
    const std::string whole = test::parse_request(c.input, {}, c.limits);
    const std::string wanted = c.status == 0 ? "method=" : "refused " + std::to_string(c.status);
    EXPECT_TRUE(whole.starts_with(wanted)) << whole;
    EXPECT_EQ(test::parse_request(c.input, cuts, c.limits), whole);
}

INSTANTIATE_TEST_SUITE_P(
    All, RequestLimit,
    testing::ValuesIn(std::vector<LimitCase>{
        {"HeadAtLimit", {.head_bytes = 27}, line("GET / HTTP/1.1"), 0},
        {"HeadOver", {.head_bytes = 26}, line("GET / HTTP/1.1"), 431},
        {"HeadOverInField", {.head_bytes = 64}, hosted("X: " + std::string(100, 'x')), 431},
        {"HeadOverInRequestLine", {.head_bytes = 64}, "GET /" + std::string(100, 'x'), 414},
        {"TargetAtLimit", {.target_bytes = 10}, line("GET /123456789 HTTP/1.1"), 0},
        {"TargetOver", {.target_bytes = 10}, line("GET /1234567890 HTTP/1.1"), 414},
        {"TargetFarOver", {.target_bytes = 10}, line("GET /" + std::string(200, 'x') + " HTTP/1.1"), 414},
        {"TargetNeverEnding", {}, "GET /" + std::string(20'000, 'x'), 414},
        {"MethodNeverEnding", {}, std::string(20'000, 'X'), 414},
        {"FieldsAtLimit", {.fields = 3}, hosted("A: 1\r\nB: 2\r\n"), 0},
        {"FieldsOver", {.fields = 3}, hosted("A: 1\r\nB: 2\r\nC: 3\r\n"), 431},
        {"ValueAtLimit", {.value_bytes = 4}, hosted("A: 1234\r\n"), 0},
        {"ValueOver", {.value_bytes = 4}, hosted("A: 12345\r\n"), 431},
        {"NameOver", {.name_bytes = 4}, hosted("Abcde: 1\r\n"), 431},
        {"ManySmallFields",
         {},
         hosted([] {
             std::string many;
             for (int i = 0; i < 3000; ++i) many += "a:\r\n";
             return many;
         }()),
         431},
    }),
    [](const auto& info) { return info.param.name; });

TEST(Method, Classified) {
    EXPECT_EQ(classify_method("GET"), Method::get);
    EXPECT_EQ(classify_method("DELETE"), Method::delete_);
    EXPECT_EQ(classify_method("OPTIONS"), Method::options);
    EXPECT_EQ(classify_method("get"), Method::other);
    EXPECT_EQ(classify_method("GETS"), Method::other);
    EXPECT_TRUE(is_idempotent(Method::put));
    EXPECT_FALSE(is_idempotent(Method::post));
    EXPECT_FALSE(is_idempotent(Method::other));
}

}  // namespace
}  // namespace plimsoll::http
