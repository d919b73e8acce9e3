#include "http/writer.h"

#include <gtest/gtest.h>

#include <string>

#include "http/head.h"

namespace plimsoll::http {
namespace {

TEST(HeadWriter, ForwardsInOriginFormWithoutHopByHop) {
    const std::string input =
        "PUT http://real.example/a?b HTTP/1.0\r\nHost: other\r\nX-A:  1 \r\nConnection: keep-alive, x-b\r\nX-B: 2\r\n"
        "Content-Length: 007\r\nTE: trailers\r\nCookie: c\r\n\r\n";
    RequestParser parser;
    ASSERT_EQ(parser.feed(input), Progress::complete) << parser.refusal().reason;
    const RequestHead& head = parser.head();
    std::string out;
    HeadWriter writer(out);
    writer.request_line(head).field("Host", head.authority()).forward(head.fields, drop(Known::cookie));
    writer.framing(head.framing).end();
    EXPECT_EQ(out, "PUT /a?b HTTP/1.1\r\nHost: real.example\r\nX-A: 1\r\nContent-Length: 7\r\n\r\n");
}

TEST(HeadWriter, KeepsAnEmptyQuery) {
    RequestParser parser;
    ASSERT_EQ(parser.feed("GET http://a? HTTP/1.1\r\nHost: a\r\n\r\n"), Progress::complete);
    std::string out;
    HeadWriter(out).request_line(parser.head());
    EXPECT_EQ(out, "GET /? HTTP/1.1\r\n");
}

TEST(HeadWriter, WritesResponses) {
    std::string out;
    HeadWriter(out).status_line(404).field("X", "y").framing({Framing::Kind::chunked, 0}).end();
    EXPECT_EQ(out, "HTTP/1.1 404 Not Found\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n");
    out.clear();
    HeadWriter(out).status_line(299).framing({Framing::Kind::length, 0}).end();
    EXPECT_EQ(out, "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n");
    out.clear();
    HeadWriter(out).status_line(200, "Fine").framing({Framing::Kind::until_close, 0}).end();
    EXPECT_EQ(out, "HTTP/1.1 200 Fine\r\n\r\n");
}

TEST(HeadWriterDeath, NeverSplitsAMessage) {
    std::string out;
    EXPECT_DEATH(HeadWriter(out).field("X", "a\r\nY: b"), "split");
    EXPECT_DEATH(HeadWriter(out).field("X: a\r\nY", "b"), "split");
    EXPECT_DEATH(HeadWriter(out).request_line("GET", "/ HTTP/1.1\r\nX: "), "split");
    EXPECT_DEATH(HeadWriter(out).request_line("GET", "/a b"), "split");
    EXPECT_DEATH(HeadWriter(out).status_line(99), "invalid");
}

TEST(ChunkHead, IsHex) {
    EXPECT_EQ(ChunkHead(1).view(), "1\r\n");
    EXPECT_EQ(ChunkHead(0x1f40).view(), "1f40\r\n");
    EXPECT_EQ(ChunkHead(UINT64_MAX).view(), "ffffffffffffffff\r\n");
}

TEST(AppendAnswer, SaysWhetherItCloses) {
    std::string out;
    append_answer(out, 400, "no\n", false);
    EXPECT_EQ(out,
              "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n"
              "Connection: close\r\n\r\nno\n");
    out.clear();
    append_answer(out, 200, "ok\n", true, true);
    EXPECT_TRUE(out.ends_with("Content-Length: 3\r\n\r\n")) << "HEAD has the length and no body";
}

TEST(Classify, KnowsEveryNameInAnyCase) {
    EXPECT_EQ(classify("Host"), Known::host);
    EXPECT_EQ(classify("TRANSFER-ENCODING"), Known::transfer_encoding);
    EXPECT_EQ(classify("x-ForWarded-for"), Known::x_forwarded_for);
    EXPECT_EQ(classify("te"), Known::te);
    EXPECT_EQ(classify("proxy-authorization"), Known::proxy_authorization);
    EXPECT_EQ(classify("hosu"), Known::other);
    EXPECT_EQ(classify(""), Known::other);
    EXPECT_EQ(classify("content-lengtH2"), Known::other);
    EXPECT_EQ(classify(std::string(500, 'a')), Known::other);
}

TEST(Lists, ElementsAreTrimmedAndEmptyOnesSkipped) {
    std::string_view list = " a , ,\tb,, c\t";
    EXPECT_EQ(next_element(list), "a");
    EXPECT_EQ(next_element(list), "b");
    EXPECT_EQ(next_element(list), "c");
    EXPECT_EQ(next_element(list), "");
    EXPECT_EQ(next_element(list), "");
}

}  // namespace
}  // namespace plimsoll::http
