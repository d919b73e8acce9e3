// HTTP/2 from a client who writes frames by hand: malformed messages, floods, and what is owed to them.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "http/http2_frames.h"
#include "http/http2_guard.h"
#include "http/http2_server.h"
#include "http/section.h"
#include "net/memory_network.h"

namespace plimsoll::http {
namespace {

using namespace test;
using async::Deadline;
using async::Task;
using namespace std::chrono_literals;

const net::Address here = *net::Address::ip("10.0.0.1", 443);
const net::Address there = *net::Address::ip("10.0.0.9", 5000);

enum ErrorCode : std::uint32_t {
    protocol_error = 1,
    flow_control_error = 3,
    refused_stream = 7,
    cancel = 8,
    compression_error = 9,
    enhance_your_calm = 11,
};

struct Frame {
    std::uint8_t type = 0, flags = 0;
    std::uint32_t stream = 0;
    std::string payload{};
    [[nodiscard]] std::uint32_t word(std::size_t at) const {
        std::uint32_t value = 0;
        for (std::size_t i = at; i < at + 4 && i < payload.size(); ++i) {
            value = value << 8 | static_cast<std::uint8_t>(payload[i]);
        }
        return value;
    }
};

class Http2RawTest : public testing::Test {
protected:
    void connect() {
        listener = *network.listen(here, {});
        client = network.open(here, there);
        accepted = listener->try_accept();
        server = std::make_unique<Http2Server>(
            network, *accepted, limits, [this](std::unique_ptr<ServerStream> stream) { take(std::move(stream)); },
            counts);
        work.spawn(serve());
        network.run_until_idle();
    }
    void greet() {
        connect();
        send(greeting());
    }
    Task<void> serve() {
        end = co_await server->run();
        accepted->close();
    }
    void take(std::unique_ptr<ServerStream> stream) {
        ++handled;
        paths += std::string(stream->head().path()) + " ";
        cookies = stream->head().fields.get(Known::cookie);
        if (keep) return kept.push_back(std::move(stream));
        work.spawn(answer(std::move(stream)));
    }
    Task<void> answer(std::unique_ptr<ServerStream> stream) {
        const Deadline deadline = Deadline::after(network.now(), 10s);
        BodyPiece piece = stream->take();
        while (!piece.ended && piece.refusal.status == 0) {
            const Result<void> more = co_await stream->more(deadline);
            if (!more) co_return;
            piece = stream->take();
        }
        if (piece.refusal.status != 0) {
            refusal = piece.refusal.reason;
            co_return;
        }
        Draft draft;
        draft.status = 204;
        (void)co_await stream->send({.head = &draft, .last = true}, deadline);
    }
    void send(std::string_view bytes) {
        while (!bytes.empty()) {
            const net::Io io = client->try_write({&bytes, 1});
            if (io.state == net::Io::State::failed) break;
            bytes.remove_prefix(io.bytes);
            network.run_until_idle();
            receive();
            if (io.bytes == 0 && end) break;
        }
        network.run_until_idle();
        receive();
    }
    /// Adds what has come to `frames`.
    void receive() {
        if (deaf) return;
        std::array<char, 20'000> part;
        while (true) {
            const net::Io io = client->try_read(part);
            if (io.state != net::Io::State::moved) break;
            buffer.append(part.data(), io.bytes);
            network.run_until_idle();
        }
        while (buffer.size() >= 9) {
            const auto byte = [this](std::size_t at) { return static_cast<std::uint8_t>(buffer[at]); };
            const std::size_t size =
                static_cast<std::size_t>(byte(0)) << 16 | static_cast<std::size_t>(byte(1)) << 8 | byte(2);
            if (buffer.size() < 9 + size) break;
            Frame got{byte(3), byte(4), 0, buffer.substr(5, 4)};
            got.stream = got.word(0);
            got.payload = buffer.substr(9, size);
            buffer.erase(0, 9 + size);
            frames.push_back(std::move(got));
        }
    }
    /// Error code of the RST_STREAM for this stream, or of the GOAWAY (0); nullopt if there was none.
    [[nodiscard]] std::optional<std::uint32_t> error_of(std::uint32_t stream) const {
        for (const Frame& got : frames) {
            if (stream != 0 && got.type == rst_stream_frame && got.stream == stream) return got.word(0);
            if (stream == 0 && got.type == goaway_frame && got.word(4) != 0) return got.word(4);
        }
        return std::nullopt;
    }
    [[nodiscard]] bool answered(std::uint32_t stream) const {
        for (const Frame& got : frames) {
            if (got.type == headers_frame && got.stream == stream) return true;
        }
        return false;
    }
    void expect_flood(Http2Flood flood) {
        EXPECT_EQ(error_of(0), enhance_your_calm);
        network.advance(2s);
        ASSERT_TRUE(end.has_value());
        EXPECT_EQ(end->why, Http2End::Why::flood);
        EXPECT_EQ(name(end->flood), name(flood));
        EXPECT_EQ(counts.floods[static_cast<std::size_t>(flood)], 1u);
    }

    Task<void> push(ServerStream* stream, const Draft* draft, std::string body) {
        (void)co_await stream->send({.head = draft, .data = body, .last = true}, Deadline::none());
    }

    net::MemoryNetwork network;
    Http2Limits limits;
    Http2Counts counts;
    bool keep = false, deaf = false;
    std::unique_ptr<net::Listener> listener;
    std::unique_ptr<net::Stream> client, accepted;
    std::unique_ptr<Http2Server> server;
    std::optional<Http2End> end;
    std::string buffer, paths, cookies, refusal;
    std::vector<Frame> frames;
    int handled = 0;
    std::vector<std::unique_ptr<ServerStream>> kept;
    async::Scope work;
};

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

// ---- floods: each pattern ends with its name

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
