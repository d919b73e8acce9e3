// Malformed messages and connections of HTTP/2, and what is owed to them.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "http/http2_raw.h"
#include "http/section.h"

namespace plimsoll::http {
namespace {

using namespace test;

TEST_F(Http2RawTest, TakesFramesByteByByte) {
    connect();
    const std::string all = greeting() + headers(1, plain_request);
    for (const char byte : all) send({&byte, 1});
    EXPECT_TRUE(answered(1));
    EXPECT_EQ(paths, "/ ");
}

TEST_F(Http2RawTest, MalformedHeadsAreStreamErrorsAndNeverHandled) {
    const std::vector<std::pair<const char*, std::string>> heads = {
        {"upper case",
         block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {"X-A", "1"}})},
        {"connection",
         block(
             {{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {"connection", "close"}})},
        {"transfer-encoding", block({{":method", "POST"},
                                     {":scheme", "https"},
                                     {":authority", "a"},
                                     {":path", "/"},
                                     {"transfer-encoding", "chunked"}})},
        {"upgrade",
         block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {"upgrade", "h2c"}})},
        {"te", block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {"te", "gzip"}})},
        {"pseudo after",
         block({{":method", "GET"}, {":scheme", "https"}, {"x-a", "1"}, {":authority", "a"}, {":path", "/"}})},
        {"pseudo twice",
         block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {":path", "/x"}})},
        {"unknown pseudo",
         block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {":foo", "x"}})},
        {"status",
         block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {":status", "200"}})},
        {"no path", block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}})},
        {"empty path", block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", ""}})},
        {"path without slash", block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "x"}})},
        {"NUL escape", block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/%00"}})},
        {"no scheme", block({{":method", "GET"}, {":authority", "a"}, {":path", "/"}})},
        {"no method", block({{":scheme", "https"}, {":authority", "a"}, {":path", "/"}})},
        {"no authority", block({{":method", "GET"}, {":scheme", "https"}, {":path", "/"}})},
        {"bad authority", block({{":method", "GET"}, {":scheme", "https"}, {":authority", "u@a"}, {":path", "/"}})},
        {"host differs",
         block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {"host", "b"}})},
        {"two hosts", block({{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {"host", "b"}, {"host", "b"}})},
        {"CR LF",
         block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {"x", "a\r\nb: c"}})},
        {"CR LF in path",
         block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/ HTTP/1.1\r\nx: y"}})},
        {"NUL", block({{":method", "GET"},
                       {":scheme", "https"},
                       {":authority", "a"},
                       {":path", "/"},
                       {"x", std::string_view("a\0b", 3)}})},
        {"empty name",
         block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {"", "x"}})},
        {"blank around",
         block({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {"x", " a"}})},
        {"length without body", block({{":method", "POST"},
                                       {":scheme", "https"},
                                       {":authority", "a"},
                                       {":path", "/"},
                                       {"content-length", "5"}})},
        {"two lengths", block({{":method", "POST"},
                               {":scheme", "https"},
                               {":authority", "a"},
                               {":path", "/"},
                               {"content-length", "0"},
                               {"content-length", "0"}})},
        {"not a length", block({{":method", "POST"},
                                {":scheme", "https"},
                                {":authority", "a"},
                                {":path", "/"},
                                {"content-length", "+0"}})},
        {"method", block({{":method", "GE T"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}})},
        {"CONNECT with path",
         block({{":method", "CONNECT"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}})},
        {"protocol unasked", block({{":method", "CONNECT"},
                                    {":protocol", "websocket"},
                                    {":scheme", "https"},
                                    {":authority", "a"},
                                    {":path", "/"}})},
    };
    greet();
    std::uint32_t stream = 1;
    for (const auto& [what, fields] : heads) {
        SCOPED_TRACE(what);
        send(frame(headers_frame, end_headers | end_stream, stream, fields));
        EXPECT_EQ(error_of(stream), protocol_error);
        EXPECT_FALSE(answered(stream));
        stream += 2;
    }
    EXPECT_EQ(handled, 0);
    EXPECT_EQ(counts.malformed, heads.size());
    send(headers(stream, plain_request));
    EXPECT_TRUE(answered(stream));
}

TEST_F(Http2RawTest, CookieCrumbsAreOneField) {
    greet();
    send(headers(1, {{":method", "GET"},
                     {":scheme", "https"},
                     {":path", "/"},
                     {"host", "a"},
                     {"cookie", "a=1"},
                     {"x", "y"},
                     {"cookie", "b=2"}}));
    EXPECT_EQ(cookies, "a=1; b=2");
}

TEST_F(Http2RawTest, LengthsMustAgree) {
    greet();
    const auto post = [](std::uint32_t stream) {
        return headers(
            stream,
            {{":method", "POST"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {"content-length", "5"}},
            end_headers);
    };
    send(post(1) + frame(data_frame, end_stream, 1, "123"));
    EXPECT_EQ(error_of(1), protocol_error);
    EXPECT_NE(refusal, "");
    send(post(3) + frame(data_frame, 0, 3, "123456"));
    EXPECT_EQ(error_of(3), protocol_error);
    send(post(5) + frame(data_frame, end_stream, 5, "12345"));
    EXPECT_TRUE(answered(5));
    EXPECT_EQ(counts.malformed, 2u);
}

TEST_F(Http2RawTest, TrailersMustEndTheStream) {
    greet();
    keep = true;
    send(headers(1, plain_request, end_headers) + headers(1, {{"x", "y"}}, end_headers));
    EXPECT_EQ(error_of(1), protocol_error);
    send(headers(3, plain_request, end_headers) + headers(3, {{":path", "/x"}}));
    EXPECT_EQ(error_of(3), protocol_error);
    send(headers(5, plain_request, end_headers) +
         headers(5, {{"x", "y"}, {"content-length", "1"}, {"authorization", "z"}}));
    (void)kept[2]->take();
    ASSERT_EQ(kept[2]->trailers().size(), 1u);
    EXPECT_EQ(kept[2]->trailers()[0].name, "x");
    kept.clear();
}

TEST_F(Http2RawTest, ConnectionErrorsSayWhy) {
    struct Case {
        const char* what;
        std::string bytes;
        std::uint32_t code;
    };
    const Case cases[] = {
        {"bad index", frame(headers_frame, end_headers | end_stream, 1, "\xff\xff\xff\xff\x0f"), compression_error},
        {"huge number", frame(headers_frame, end_headers | end_stream, 1, "\x10\x7f\xff\xff\xff\xff\xff\xff\xff\x7f"),
         compression_error},
        {"even stream", headers(2, plain_request), protocol_error},
        {"data on an idle stream", frame(data_frame, 0, 1, "x"), protocol_error},
        {"window overflow", frame(window_update_frame, 0, 0, number(0x7fffffff, 4)), flow_control_error},
        {"zero update", frame(window_update_frame, 0, 0, number(0, 4)), protocol_error},
        {"push", frame(push_promise_frame, end_headers, 1, number(2, 4)), protocol_error},
        {"continuation alone", frame(continuation_frame, end_headers, 1, ""), protocol_error},
        {"headers interrupted", frame(headers_frame, 0, 1, block(plain_request)) + frame(ping_frame, 0, 0, "12345678"),
         protocol_error},
        {"settings on a stream", frame(settings_frame, 0, 1, ""), protocol_error},
        {"ping of seven bytes", frame(ping_frame, 0, 0, "1234567"), 6},
        {"frame too large", frame(data_frame, 0, 1, "", 20'000), 6},
    };
    for (const Case& one : cases) {
        SCOPED_TRACE(one.what);
        work.cancel();
        server.reset();
        client.reset();
        accepted.reset();
        listener.reset();
        end.reset();
        frames.clear();
        buffer.clear();
        greet();
        send(one.bytes);
        EXPECT_EQ(error_of(0), one.code);
        network.advance(2s);
        ASSERT_TRUE(end.has_value());
        EXPECT_EQ(end->why, Http2End::Why::protocol);
        EXPECT_NE(end->detail, "");
    }
    EXPECT_EQ(handled, 0);
}

TEST_F(Http2RawTest, AnotherProtocolIsNotAnswered) {
    connect();
    send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->why, Http2End::Why::protocol);
}

TEST_F(Http2RawTest, SilenceAfterTheConnectIsBounded) {
    connect();
    send("PRI * HT");
    network.advance(12s);
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->why, Http2End::Why::stalled);
}

TEST_F(Http2RawTest, AHeadThatDribblesIsBounded) {
    greet();
    send(frame(headers_frame, end_stream, 1, block(plain_request)));
    for (int i = 0; i < 3; ++i) {
        network.advance(3s);
        EXPECT_FALSE(end.has_value());
        send(frame(continuation_frame, 0, 1, literal("x", "y")));
    }
    network.advance(4s);
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->why, Http2End::Why::stalled);
    EXPECT_EQ(handled, 0);
}

TEST_F(Http2RawTest, SettingsThatAreNotAcknowledgedAreBounded) {
    connect();
    send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings_frame, 0, 0, ""));
    network.advance(12s);
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->why, Http2End::Why::stalled);
}

TEST(Http2Section, ResponsesAreStrict) {
    const auto refused = [](FieldList fields, bool ended, Method method = Method::get) {
        ResponseSection section{HeadLimits{}};
        for (const auto& [field, value] : fields) section.add(field, value);
        return section.finish(method, ended).status;
    };
    EXPECT_EQ(refused({{":status", "200"}}, true), 0);
    EXPECT_EQ(refused({{":status", "200"}, {"content-length", "5"}}, true), 502);
    EXPECT_EQ(refused({{":status", "200"}, {"content-length", "5"}}, true, Method::head), 0);
    EXPECT_EQ(refused({{":status", "304"}, {"content-length", "5"}}, true), 0);
    EXPECT_EQ(refused({{":status", "101"}}, false), 502);
    EXPECT_EQ(refused({{":status", "100"}}, true), 502);
    EXPECT_EQ(refused({{":status", "20"}}, true), 502);
    EXPECT_EQ(refused({{":status", "2000"}}, true), 502);
    EXPECT_EQ(refused({{":status", "600"}}, true), 502);
    EXPECT_EQ(refused({}, true), 502);
    EXPECT_EQ(refused({{":status", "200"}, {":status", "200"}}, true), 502);
    EXPECT_EQ(refused({{"x", "y"}, {":status", "200"}}, true), 502);
    EXPECT_EQ(refused({{":status", "200"}, {"connection", "close"}}, true), 502);
    EXPECT_EQ(refused({{":status", "200"}, {":path", "/"}}, true), 502);
    EXPECT_EQ(refused({{":status", "200"}, {"x", "a\r\nb"}}, true), 502);
}

}  // namespace
}  // namespace plimsoll::http
