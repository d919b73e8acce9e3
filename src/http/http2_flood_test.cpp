// Floods of HTTP/2: each pattern ends under the name of its limit.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "http/http2_guard.h"
#include "http/http2_raw.h"

namespace plimsoll::http {
namespace {

using namespace test;

TEST_F(Http2RawTest, RapidResetNeverReachesTheHandlerWithinOneRead) {
    greet();
    std::string bytes;
    for (std::uint32_t i = 0; i < 200; ++i) {
        bytes += headers(2 * i + 1, plain_request) + frame(rst_stream_frame, 0, 2 * i + 1, number(cancel, 4));
    }
    send(bytes);
    EXPECT_LT(handled, 20);  // only where a read of ours ended between the two
    EXPECT_FALSE(end.has_value());
    bytes.clear();
    for (std::uint32_t i = 200; i < 700; ++i) {
        bytes += headers(2 * i + 1, plain_request) + frame(rst_stream_frame, 0, 2 * i + 1, number(cancel, 4));
    }
    send(bytes);
    expect_flood(Http2Flood::resets_received);
}

TEST_F(Http2RawTest, ResetStreamsCountUntilTheirHandlersLetGo) {
    limits.streams = 10;
    keep = true;
    greet();
    for (std::uint32_t i = 0; i < 30; ++i) {
        send(headers(2 * i + 1, plain_request));
        send(frame(rst_stream_frame, 0, 2 * i + 1, number(cancel, 4)));
    }
    EXPECT_EQ(handled, 10);
    EXPECT_EQ(error_of(2 * 10 + 1), refused_stream);
    EXPECT_EQ(counts.refused, 20u);
    kept.clear();
    send(headers(101, plain_request));
    EXPECT_EQ(handled, 11);
    kept.clear();
}

TEST_F(Http2RawTest, ResetsThatWeAreMadeToSendCount) {
    greet();
    keep = true;
    std::string bytes;
    for (std::uint32_t i = 0; i < 150; ++i) {  // MadeYouReset: a window that overflows, on a stream that we work for
        bytes += headers(2 * i + 1, plain_request) + frame(window_update_frame, 0, 2 * i + 1, number(0x7fffffff, 4));
        if (i % 10 == 9) {
            send(bytes);
            bytes.clear();
            kept.clear();
        }
    }
    expect_flood(Http2Flood::resets_sent);
}

TEST_F(Http2RawTest, ContinuationsAreFew) {
    greet();
    send(frame(headers_frame, end_stream, 1, block(plain_request)));
    for (int i = 0; i < 20; ++i) send(frame(continuation_frame, 0, 1, literal("x", "y")));
    expect_flood(Http2Flood::continuations);
    EXPECT_EQ(handled, 0);
}

TEST_F(Http2RawTest, ABombOfIndexedFieldsEnds) {
    greet();
    // One large field into the dynamic table, then references of one byte each.
    std::string fields = block(plain_request) + "\x40\x01x\x7f\xa1\x1e" + std::string(4000, 'v');
    send(frame(headers_frame, end_stream, 1, fields));
    send(frame(continuation_frame, end_headers, 1, std::string(10'000, '\xbe')));
    EXPECT_EQ(error_of(0), enhance_your_calm);
    EXPECT_EQ(end.has_value() ? end->flood : Http2Flood::header_bytes, Http2Flood::header_bytes);
    EXPECT_EQ(handled, 0);
}

TEST_F(Http2RawTest, TooManyEmptyCrumbsEnd) {
    greet();
    std::string crumbs;
    for (int i = 0; i < 405; ++i) crumbs += "\x0f\x11" + std::string(1, '\0');  // cookie: "" by static index 32
    send(frame(headers_frame, end_headers | end_stream, 1, block(plain_request) + crumbs));
    expect_flood(Http2Flood::header_fields);
    EXPECT_EQ(handled, 0);
}

TEST_F(Http2RawTest, FloodsOfEachKindOfFrameEnd) {
    struct Case {
        Http2Flood flood;
        std::string bytes;
        int times;
    };
    const Case cases[] = {
        {Http2Flood::pings, frame(ping_frame, 0, 0, "12345678"), 1200},
        {Http2Flood::settings, frame(settings_frame, 0, 0, ""), 60},
        {Http2Flood::priorities, frame(priority_frame, 0, 3, number(0, 4) + "\x10"), 1200},
        {Http2Flood::window_updates, frame(window_update_frame, 0, 0, number(1, 4)), 2200},
        {Http2Flood::empty_data, frame(data_frame, 0, 1, ""), 120},
        {Http2Flood::empty_data, frame(data_frame, padded, 1, std::string_view("\x03\0\0\0", 4)), 120},
        {Http2Flood::glitches, frame(0x77, 0, 0, "x"), 120},
    };
    for (const Case& one : cases) {
        SCOPED_TRACE(name(one.flood));
        work.cancel();
        kept.clear();
        server.reset();
        client.reset();
        accepted.reset();
        listener.reset();
        end.reset();
        frames.clear();
        buffer.clear();
        counts = {};
        keep = true;
        greet();
        send(headers(1, plain_request, end_headers));
        std::string bytes;
        for (int i = 0; i < one.times; ++i) bytes += one.bytes;
        send(bytes);
        expect_flood(one.flood);
    }
    kept.clear();
}

TEST_F(Http2RawTest, AnswersToWhoReadsNothingAreBounded) {
    limits.pings = {1'000'000, 0};
    network.faults(here).buffer = 4096;
    greet();
    deaf = true;
    std::string pings;
    for (int i = 0; i < 200; ++i) pings += frame(ping_frame, 0, 0, "12345678");
    for (int i = 0; i < 100 && !end; ++i) send(pings);
    network.advance(2s);
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->flood, Http2Flood::own_answers);
}

TEST_F(Http2RawTest, WhoTakesNothingIsCut) {
    network.faults(here).buffer = 4096;
    greet();
    keep = true;
    send(headers(1, plain_request) + frame(window_update_frame, 0, 0, number(1 << 20, 4)));
    deaf = true;
    Draft draft;
    draft.status = 200;
    const std::string body(60'000, 'x');
    work.spawn(push(kept[0].get(), &draft, body));
    network.run_until_idle();
    network.advance(29s);
    EXPECT_FALSE(end.has_value());
    network.advance(3s);
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->why, Http2End::Why::stalled);
    EXPECT_TRUE(kept[0]->gone());
    kept.clear();
}

TEST(Http2Guard, AllowancesRefillWithTime) {
    Http2Allowance allowance({.burst = 3, .per_second = 2});
    Instant now{5'000'000'000};
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(allowance.take(now));
    EXPECT_FALSE(allowance.take(now));
    now = now + 499ms;
    EXPECT_FALSE(allowance.take(now));
    now = now + 2ms;
    EXPECT_TRUE(allowance.take(now));
    EXPECT_FALSE(allowance.take(now));
    allowance.give(100);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(allowance.take(now));
    EXPECT_FALSE(allowance.take(now));
    now = now + 1000h;
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(allowance.take(now));
    EXPECT_FALSE(allowance.take(now));
}

}  // namespace
}  // namespace plimsoll::http
