// Exchanges over HTTP/2, both sides against each other, in virtual time.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "http/http2_pair.h"

namespace plimsoll::http {
namespace {

using namespace test;

TEST_F(Http2Test, CarriesAnExchange) {
    connect();
    const Seen seen = ask({.method = "POST",
                           .target = "/a?b=c",
                           .body = "hello",
                           .fields = {{"X-Thing", "One"}, {"Connection", "close"}, {"TE", "trailers"}}});
    EXPECT_EQ(seen.error, "");
    EXPECT_EQ(seen.status, 200);
    EXPECT_EQ(seen.fields, "x-target: /a?b=c\n");
    EXPECT_EQ(seen.body, "hello");
    EXPECT_EQ(last_head, "POST /a?b=c web.example\nx-thing: One\nte: trailers\n");
    EXPECT_EQ(server->streams(), 0u);
    EXPECT_EQ(client->streams(), 0u);
    EXPECT_EQ(server->requests(), 1u);
    EXPECT_TRUE(client->settled());
    EXPECT_EQ(server_counts.resets_sent + client_counts.resets_sent, 0u);
}

TEST_F(Http2Test, CarriesAHundredAtOnce) {
    connect();
    std::vector<Seen> seen(100);
    for (unsigned i = 0; i < seen.size(); ++i) {
        work.spawn(exchange({.method = "PUT", .target = "/" + std::to_string(i), .body = pattern(1000 + 37 * i, i)},
                            &seen[i]));
    }
    EXPECT_EQ(client->capacity(), 0u);
    network.run_until_idle();
    for (unsigned i = 0; i < seen.size(); ++i) {
        EXPECT_EQ(seen[i].error, "");
        EXPECT_EQ(seen[i].fields, "x-target: /" + std::to_string(i) + "\n");
        EXPECT_EQ(seen[i].body, pattern(1000 + 37 * i, i));
    }
    EXPECT_EQ(client->capacity(), 100u);
}

TEST_F(Http2Test, OverTheNumberOfStreamsIsALimitThatMayBeRetried) {
    limits.streams = 3;
    connect();
    std::vector<std::unique_ptr<ClientStream>> streams;
    for (int i = 0; i < 3; ++i) streams.push_back(*client->open());
    const auto one_more = client->open();
    ASSERT_FALSE(one_more.has_value());
    EXPECT_EQ(one_more.error().code, Code::limit);
    EXPECT_EQ(one_more.error().retry, Retry::yes);
    streams.clear();
    EXPECT_TRUE(client->open().has_value());
}

TEST_F(Http2Test, ThePeersNumberOfStreamsCounts) {
    Http2Limits small;
    small.streams = 2;
    connect(small, limits);
    EXPECT_EQ(client->capacity(), 2u);
}

TEST_F(Http2Test, MovesLargeBodiesBothWaysThroughSmallWindows) {
    limits.stream_window = 20'000;
    limits.connection_window = 70'000;
    connect();
    const std::string body = pattern(3'000'000);
    std::vector<Seen> seen(4);
    for (Seen& one : seen) work.spawn(exchange({.method = "POST", .body = body, .length = true}, &one));
    network.run_until_idle();
    for (const Seen& one : seen) {
        EXPECT_EQ(one.error, "");
        EXPECT_TRUE(one.body == body) << one.body.size();
    }
}

TEST_F(Http2Test, LentBytesOfAnySizeArriveUnchanged) {
    network.faults(here).buffer = 5000;
    connect();
    for (const std::size_t piece : {1u, 4095u, 4096u, 4097u, 16384u, 16385u, 200'000u}) {
        const std::string body = pattern(std::min<std::size_t>(piece * 10, 300'000));
        const Seen seen = ask({.method = "POST", .body = body, .piece = piece});
        EXPECT_EQ(seen.error, "");
        EXPECT_TRUE(seen.body == body) << piece;
    }
}

TEST_F(Http2Test, AReaderWhoDoesNotTakeStopsItsSenderAndNobodyElse) {
    connect();
    Seen other;
    const std::string body = pattern(2'000'000);
    handler = [this](std::unique_ptr<ServerStream> stream) {
        if (stream->head().path() != "/slow") return work.spawn(echo(std::move(stream)));
        slow.push_back(std::move(stream));
    };
    const auto stuck = begin({.method = "POST", .target = "/slow"}, false);
    const auto sending = finish(stuck->send({.data = body}, in(30s)));
    EXPECT_FALSE(sending.has_value());
    other = ask({.method = "POST", .target = "/fast", .body = body});
    EXPECT_EQ(other.body.size(), body.size());
    EXPECT_EQ(slow[0]->take().data.size(), limits.stream_window);
    network.run_until_idle();
    EXPECT_EQ(slow[0]->take().data.size(), limits.stream_window);
    slow.clear();
}

TEST_F(Http2Test, ASendThatNobodyTakesTimesOut) {
    connect();
    handler = [this](std::unique_ptr<ServerStream> stream) { slow.push_back(std::move(stream)); };
    auto stuck = begin({.method = "POST"}, false);
    std::optional<Result<void>> result;
    const std::string body = pattern(2'000'000);
    work.spawn(keep(stuck->send({.data = body}, in(5s)), &result));
    network.advance(4s);
    EXPECT_FALSE(result.has_value());
    network.advance(2s);
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result->error().code, Code::timeout);
    EXPECT_EQ(result->error().side, Side::upstream);
    stuck.reset();
    network.run_until_idle();
    EXPECT_TRUE(slow[0]->gone());
    slow.clear();
    EXPECT_EQ(ask({}).status, 0);  // the handler keeps it
    EXPECT_FALSE(server_result.has_value());
}

TEST_F(Http2Test, AWaitForABodyTimesOutExactly) {
    connect();
    std::optional<Result<void>> result;
    handler = [&](std::unique_ptr<ServerStream> stream) {
        slow.push_back(std::move(stream));
        work.spawn(keep(slow[0]->more(in(3s)), &result));
    };
    const auto stream = begin({.method = "POST"}, false);
    network.advance(2999ms);
    EXPECT_FALSE(result.has_value());
    network.advance(2ms);
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result->error().code, Code::timeout);
    EXPECT_EQ(result->error().side, Side::client);
    slow.clear();
}

TEST_F(Http2Test, TrailersGoBothWays) {
    connect();
    auto stream = begin({.method = "POST", .body = "abc"}, false);
    TrailerSection section{HeadLimits{}};
    section.add("x-sum", "ab");
    section.add("host", "evil");
    ASSERT_EQ(section.finish().status, 0);
    Draft trailers;
    trailers.forward_trailers(section.fields());
    ASSERT_TRUE(finish(stream->send({.last = true, .trailers = &trailers}, in(5s)))->has_value());
    ASSERT_TRUE(finish(stream->read_head(in(5s)))->has_value());
    std::string body;
    while (true) {
        const BodyPiece piece = stream->take();
        body.append(piece.data);
        if (piece.ended) break;
        ASSERT_TRUE(finish(stream->more(in(5s)))->has_value());
    }
    EXPECT_EQ(body, "abc");
    EXPECT_EQ(text(stream->trailers()), "x-sum: ab\n");
}

TEST_F(Http2Test, AnAnswerOfTrailersOnly) {
    connect();
    handler = [this](std::unique_ptr<ServerStream> stream) { work.spawn(trailers_only(std::move(stream))); };
    const Seen seen = ask({.method = "POST", .body = "x"});
    EXPECT_EQ(seen.status, 200);
    EXPECT_EQ(seen.fields, "grpc-status: 12\n");
    EXPECT_EQ(seen.body, "");
}

TEST_F(Http2Test, InterimAnswersAreSkipped) {
    connect();
    handler = [this](std::unique_ptr<ServerStream> stream) { work.spawn(hint(std::move(stream), 3)); };
    EXPECT_EQ(ask({}).status, 204);
    handler = [this](std::unique_ptr<ServerStream> stream) { work.spawn(hint(std::move(stream), 20)); };
    EXPECT_EQ(ask({}).error, "protocol read: too many interim answers");
}

TEST_F(Http2Test, EarlyHintsAreGivenToWhoWantsThem) {
    connect();
    handler = [this](std::unique_ptr<ServerStream> stream) { work.spawn(hint(std::move(stream), 10)); };
    const std::unique_ptr<ClientStream> stream = *client->open();
    stream->want_hints();
    work.spawn(send_head(stream.get(), {}, true));
    network.run_until_idle();
    std::vector<Headers> hints;
    for (;;) {
        ASSERT_TRUE(finish(stream->read_head(in(5s)))->has_value());
        if (!stream->has_hints()) break;
        for (Headers& each : stream->take_hints()) hints.push_back(std::move(each));
    }
    EXPECT_EQ(stream->head().status, 204);
    ASSERT_EQ(hints.size(), max_hints);
    EXPECT_EQ(hints[3], (Headers{{"link", "</style.css>; rel=preload"}, {"x-number", "3"}}));
}

}  // namespace
}  // namespace plimsoll::http
