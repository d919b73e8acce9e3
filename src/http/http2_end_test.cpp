// How exchanges and connections of HTTP/2 end, well or not, in virtual time.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "http/http2_pair.h"

namespace plimsoll::http {
namespace {

using namespace test;

TEST_F(Http2Test, ABodyThatContradictsItsLengthIsBrokenOff) {
    connect();
    Draft draft;
    draft.method = "POST";
    draft.authority = "a";
    draft.target = "/";
    draft.framing = {Framing::Kind::length, 10};
    for (const std::string_view body : {"too short", "too long for it"}) {
        std::unique_ptr<ClientStream> stream = *client->open();
        const auto sent = finish(stream->send({.head = &draft, .data = body, .last = true}, in(5s)));
        const auto head = finish(stream->read_head(in(5s)));
        ASSERT_TRUE(head.has_value());
        // The echo had begun to answer; what it has not is an end.
        while (head->has_value() && !stream->take().ended) {
            const auto more = finish(stream->more(in(5s)));
            ASSERT_TRUE(more.has_value());
            if (!more->has_value()) break;
        }
    }
    EXPECT_EQ(server_counts.malformed, 2u);
    EXPECT_EQ(client_counts.resets_received, 2u);
    EXPECT_EQ(answered, 0);
    EXPECT_NE(server_error, "");
    EXPECT_EQ(ask({}).status, 200);
}

TEST_F(Http2Test, TheClientLeavesInTheMiddle) {
    connect();
    bool told = false;
    handler = [&](std::unique_ptr<ServerStream> stream) {
        stream->when_gone([&told] { told = true; });
        slow.push_back(std::move(stream));
    };
    auto stream = begin({.method = "POST", .body = "abc"}, false);
    ASSERT_EQ(slow.size(), 1u);
    std::optional<Result<void>> waiting;
    EXPECT_EQ(slow[0]->take().data, "abc");
    work.spawn(keep(slow[0]->more(in(60s)), &waiting));
    network.run_until_idle();
    EXPECT_FALSE(slow[0]->gone());
    stream.reset();
    network.run_until_idle();
    EXPECT_TRUE(slow[0]->gone());
    EXPECT_TRUE(told);
    ASSERT_TRUE(waiting.has_value());
    EXPECT_EQ(waiting->error().code, Code::reset);
    EXPECT_EQ(waiting->error().side, Side::client);
    EXPECT_EQ(server->streams(), 1u);  // the work behind us goes on until it is let go
    slow.clear();
    EXPECT_EQ(server->streams(), 0u);
}

TEST_F(Http2Test, TheServerBreaksOffInTheMiddle) {
    connect();
    handler = [this](std::unique_ptr<ServerStream> stream) { work.spawn(half(std::move(stream))); };
    const Seen seen = ask({});
    EXPECT_EQ(seen.status, 200);
    EXPECT_EQ(seen.body, "half of it");
    EXPECT_EQ(seen.error, "reset read: the stream was reset by the peer: INTERNAL_ERROR");
    EXPECT_EQ(seen.retry, Retry::no);
}

TEST_F(Http2Test, AbortWakesWhoWaits) {
    connect();
    handler = [this](std::unique_ptr<ServerStream> stream) { slow.push_back(std::move(stream)); };
    auto stream = begin({});
    std::optional<Result<void>> waiting;
    work.spawn(keep(stream->read_head(in(60s)), &waiting));
    network.run_until_idle();
    EXPECT_FALSE(waiting.has_value());
    stream->abort();
    stream->abort();
    network.run_until_idle();
    ASSERT_TRUE(waiting.has_value());
    EXPECT_EQ(waiting->error().code, Code::cancelled);
    EXPECT_TRUE(slow[0]->gone());
    slow.clear();
}

TEST_F(Http2Test, AnEarlyAnswerStandsThoughTheUploadIsCut) {
    connect();
    handler = [this](std::unique_ptr<ServerStream> stream) { work.spawn(answer_at_once(std::move(stream))); };
    const Seen seen = ask({.method = "POST", .body = pattern(3'000'000)});
    EXPECT_EQ(seen.error, "");
    EXPECT_EQ(seen.status, 413);
    EXPECT_EQ(seen.body, "too much");
    EXPECT_EQ(upload_error, "reset");
    EXPECT_EQ(client_counts.resets_received, 1u);
}

TEST_F(Http2Test, ShuttingDownLetsStreamsFinish) {
    connect();
    handler = [this](std::unique_ptr<ServerStream> stream) { slow.push_back(std::move(stream)); };
    Seen seen;
    work.spawn(exchange({}, &seen));
    network.run_until_idle();
    server->shut_down();
    network.run_until_idle();
    EXPECT_FALSE(client->usable());
    EXPECT_EQ(client->open().error().code, Code::closed);
    EXPECT_EQ(client->open().error().retry, Retry::yes);
    EXPECT_FALSE(server_result.has_value());
    work.spawn(echo(std::move(slow[0])));
    network.run_until_idle();
    EXPECT_EQ(seen.status, 200);
    ASSERT_TRUE(server_result.has_value());
    EXPECT_EQ(server_result->why, Http2End::Why::shut_down);
    ASSERT_TRUE(client_result.has_value());
    EXPECT_EQ(client_result->why, Http2End::Why::closed);
    EXPECT_EQ(server_counts.goaways_sent, 2u);
}

TEST_F(Http2Test, ARequestOnItsWayDuringShutDownIsAnsweredOrMayBeRetried) {
    network.faults(here).latency = 50ms;
    connect();
    network.advance(500ms);
    ASSERT_TRUE(client->settled());
    std::array<Seen, 3> seen;
    server->shut_down();
    work.spawn(exchange({}, &seen[0]));  // crosses the first GOAWAY: still taken
    network.advance(70ms);
    EXPECT_FALSE(client->usable());
    network.advance(1s);
    EXPECT_EQ(seen[0].status, 200);
    EXPECT_EQ(server_result->why, Http2End::Why::shut_down);
}

TEST_F(Http2Test, TheClientShutsDownOnceItsStreamsAreDone) {
    connect();
    handler = [this](std::unique_ptr<ServerStream> stream) { slow.push_back(std::move(stream)); };
    Seen seen;
    work.spawn(exchange({}, &seen));
    network.run_until_idle();
    client->shut_down();
    EXPECT_FALSE(client->usable());
    network.run_until_idle();
    EXPECT_FALSE(client_result.has_value());
    work.spawn(echo(std::move(slow[0])));
    network.run_until_idle();
    EXPECT_EQ(seen.status, 200);
    ASSERT_TRUE(client_result.has_value());
    EXPECT_EQ(client_result->why, Http2End::Why::shut_down);
    ASSERT_TRUE(server_result.has_value());
    EXPECT_EQ(server_result->why, Http2End::Why::closed);
}

TEST_F(Http2Test, AnIdleConnectionEnds) {
    connect();
    EXPECT_EQ(ask({}).status, 200);
    network.advance(59s);
    EXPECT_FALSE(server_result.has_value());
    EXPECT_EQ(ask({}).status, 200);
    network.advance(59s);
    EXPECT_FALSE(server_result.has_value());
    network.advance(3s);
    ASSERT_TRUE(server_result.has_value());
    EXPECT_EQ(server_result->why, Http2End::Why::idle);
}

TEST_F(Http2Test, CloseIdleClosesOnlyThat) {
    connect();
    handler = [this](std::unique_ptr<ServerStream> stream) { slow.push_back(std::move(stream)); };
    auto stream = begin({});
    server->close_idle();
    network.run_until_idle();
    EXPECT_FALSE(server_result.has_value());
    slow.clear();
    stream.reset();
    network.run_until_idle();
    server->close_idle();
    network.run_until_idle();
    ASSERT_TRUE(server_result.has_value());
    EXPECT_EQ(server_result->why, Http2End::Why::shut_down);
    EXPECT_EQ(client_result->why, Http2End::Why::closed);
}

/// A client that pings every two seconds, and a server that keeps requests without an answer.
class Pinging : public Http2Test {
protected:
    void connect_pinging() {
        Http2Limits pinging = limits;
        pinging.ping_interval = 2s;
        pinging.ping_timeout = 1s;
        connect(limits, pinging);
        handler = [this](std::unique_ptr<ServerStream> stream) { slow.push_back(std::move(stream)); };
    }
};

TEST_F(Pinging, ADeadPeerIsFound) {
    connect_pinging();
    Seen seen;
    work.spawn(exchange({.timeout = 300s}, &seen));
    network.run_until_idle();
    slow.clear();
    server.reset();  // nobody reads any more, and nobody says so
    work.spawn(nothing());
    network.advance(4s);
    ASSERT_TRUE(client_result.has_value());
    EXPECT_TRUE(client_result->why == Http2End::Why::dead || client_result->why == Http2End::Why::broken);
    EXPECT_NE(seen.error, "");
}

TEST_F(Pinging, SilentStreamsArePingedSeldom) {  // else servers of gRPC end them all: "too_many_pings"
    connect_pinging();
    Seen seen;
    work.spawn(exchange({.timeout = 3000s}, &seen));
    network.advance(280s);
    EXPECT_EQ(client_counts.pings_sent, 2u);
    network.advance(40s);
    EXPECT_EQ(client_counts.pings_sent, 3u);
    network.advance(310s);
    EXPECT_EQ(client_counts.pings_sent, 4u) << "one in five minutes";
    EXPECT_FALSE(client_result.has_value()) << "it answers";
}

TEST_F(Http2Test, TheConnectionBreaksUnderStreams) {
    connect();
    handler = [this](std::unique_ptr<ServerStream> stream) { slow.push_back(std::move(stream)); };
    const auto stream = begin({.method = "POST"}, false);
    client_end->abort();
    network.run_until_idle();
    EXPECT_TRUE(slow[0]->gone());
    const auto head = finish(stream->read_head(in(1s)));
    EXPECT_EQ(head->error().code, Code::reset);
    EXPECT_EQ(head->error().retry, Retry::no);
    EXPECT_TRUE(stream->sent());
    EXPECT_FALSE(stream->heard());
    ASSERT_TRUE(server_result.has_value());
    EXPECT_EQ(server_result->why, Http2End::Why::broken);
    EXPECT_EQ(client_result->why, Http2End::Why::cancelled);
    server.reset();
    client.reset();
    server_end.reset();
    // A stream outlives its connection and says so.
    EXPECT_EQ(finish(slow[0]->more(in(1s)))->error().code, Code::reset);
    Draft draft;
    draft.status = 200;
    EXPECT_EQ(finish(slow[0]->send({.head = &draft, .last = true}, in(1s)))->error().code, Code::reset);
    EXPECT_TRUE(slow[0]->take().data.empty());
    slow[0]->abort();
    slow.clear();
}

TEST_F(Http2Test, NothingWrittenMayBeRetried) {
    listener = *network.listen(here, {});
    client_end = network.open(here, there);
    client = std::make_unique<Http2Client>(network, *client_end, limits, client_counts);
    Seen seen;
    work.spawn(exchange({}, &seen));  // not run yet
    client_end->close();
    work.spawn(use());
    network.run_until_idle();
    EXPECT_TRUE(seen.done);
    EXPECT_EQ(seen.retry, Retry::yes);
}

TEST_F(Http2Test, TunnelsCarryRawBytes) {
    limits.connect_protocol = true;
    connect();
    EXPECT_TRUE(client->connect_protocol());
    handler = [this](std::unique_ptr<ServerStream> stream) {
        EXPECT_EQ(stream->head().protocol(), "websocket");
        EXPECT_EQ(stream->head().method, Method::connect);
        EXPECT_EQ(stream->head().path(), "/chat");
        EXPECT_TRUE(stream->head().upgrade);
        EXPECT_EQ(stream->head().framing.kind, Framing::Kind::none);
        work.spawn(echo(std::move(stream)));
    };
    auto stream = begin({.method = "CONNECT", .target = "/chat"}, false);
    ASSERT_TRUE(finish(stream->read_head(in(5s)))->has_value());
    EXPECT_EQ(stream->head().status, 200);
    for (const std::string_view word : {"one", "two", "three"}) {
        ASSERT_TRUE(finish(stream->send({.data = word}, in(5s)))->has_value());
        ASSERT_TRUE(finish(stream->more(in(5s)))->has_value());
        EXPECT_EQ(stream->take().data, word);
    }
    ASSERT_TRUE(finish(stream->send({.last = true}, in(5s)))->has_value());
    ASSERT_TRUE(finish(stream->more(in(5s)))->has_value());
    EXPECT_TRUE(stream->take().ended);
}

TEST_F(Http2Test, TunnelsNeedPermission) {
    connect();
    EXPECT_FALSE(client->connect_protocol());
    auto stream = begin({.method = "CONNECT", .target = "/chat"}, false);
    EXPECT_EQ(finish(stream->read_head(in(5s)))->error().code, Code::reset);
    EXPECT_EQ(handled, 0);
}

TEST_F(Http2Test, TooManyFieldsAreAnswered431) {
    connect();
    Call call;
    for (int i = 0; i < 120; ++i) call.fields.emplace_back("x-" + std::to_string(i), "v");
    EXPECT_EQ(ask(call).status, 431);
    EXPECT_EQ(handled, 0);
    EXPECT_EQ(server_counts.too_large, 1u);
    EXPECT_EQ(ask({.target = "/" + std::string(9000, 'a')}).status, 414);
    EXPECT_EQ(ask({}).status, 200);
}

TEST_F(Http2Test, NothingIsLeftBehind) {
    connect();
    handler = [this](std::unique_ptr<ServerStream> stream) { slow.push_back(std::move(stream)); };
    std::array<Seen, 5> seen;
    for (Seen& one : seen) work.spawn(exchange({.method = "POST", .body = pattern(500'000)}, &one));
    network.run_until_idle();
    work.cancel();  // clients, run() of both sides: in the middle of everything
    EXPECT_EQ(client->streams(), 0u);
    for (auto& stream : slow) EXPECT_TRUE(stream->gone());
    slow.clear();
    server.reset();
    client.reset();
    client_end.reset();
    server_end.reset();
    network.run_until_idle();
    EXPECT_EQ(network.streams(), 0u);
}

TEST(Http2Preface, IsToldFromHttp1) {
    EXPECT_EQ(is_http2_preface(""), Preface::more);
    EXPECT_EQ(is_http2_preface("P"), Preface::more);
    EXPECT_EQ(is_http2_preface("POST / HTTP/1.1"), Preface::no);
    EXPECT_EQ(is_http2_preface("PRI * HTTP/2.0\r\n\r\nSM\r\n\r"), Preface::more);
    EXPECT_EQ(is_http2_preface("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x01"), Preface::yes);
    EXPECT_EQ(is_http2_preface("PRI * HTTP/1.1\r\n"), Preface::no);
}

}  // namespace
}  // namespace plimsoll::http
