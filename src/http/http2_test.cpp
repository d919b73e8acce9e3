// Both sides of HTTP/2 against each other, in virtual time.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "http/http2_client.h"
#include "http/http2_server.h"
#include "http/section.h"
#include "net/memory_network.h"

namespace plimsoll::http {
namespace {

using async::Deadline;
using async::Task;
using namespace std::chrono_literals;

const net::Address here = *net::Address::ip("10.0.0.1", 443);
const net::Address there = *net::Address::ip("10.0.0.9", 5000);

/// What an exchange came to, on the client's side.
struct Seen {
    std::uint16_t status = 0;
    std::string fields{};
    std::string body{};
    std::string trailers{};
    std::string error{};
    Retry retry = Retry::no;
    bool done = false;
};

std::string text(const Fields& fields) {
    std::string out;
    for (const Header header : fields) out.append(header.name).append(": ").append(header.value).append("\n");
    return out;
}

void note(Seen& seen, const Error& error) {
    seen.error = std::string(name(error.code)) + " " + error.detail;
    seen.retry = error.retry;
    seen.done = true;
}

struct Call {
    std::string method = "GET";
    std::string target = "/";
    std::string body{};
    std::vector<std::pair<std::string, std::string>> fields{};
    bool length = false;        ///< announce it
    std::size_t piece = 65536;  ///< bytes a send
    Duration timeout = 60s;
};

class Http2Test : public testing::Test {
protected:
    void connect() { connect(limits, limits); }
    void connect(const Http2Limits& server_limits, const Http2Limits& client_limits) {
        listener = *network.listen(here, {});
        client_end = network.open(here, there);
        server_end = listener->try_accept();
        server = std::make_unique<Http2Server>(
            network, *server_end, server_limits,
            [this](std::unique_ptr<ServerStream> stream) { handle(std::move(stream)); }, server_counts);
        client = std::make_unique<Http2Client>(network, *client_end, client_limits, client_counts);
        work.spawn(serve());
        work.spawn(use());
        network.run_until_idle();
    }
    Task<void> serve() {
        server_result = co_await server->run();
        server_end->close();
    }
    Task<void> use() {
        client_result = co_await client->run();
        client_end->close();
    }
    void handle(std::unique_ptr<ServerStream> stream) {
        ++handled;
        if (handler) return handler(std::move(stream));
        work.spawn(echo(std::move(stream)));
    }

    [[nodiscard]] Deadline in(Duration wait) const { return Deadline::after(network.now(), wait); }

    /// Answers with what it got: head as fields, body as body, trailers as trailers.
    Task<void> echo(std::unique_ptr<ServerStream> stream) {
        const RequestHead& head = stream->head();
        last_head = std::string(head.method_text()) + " " + std::string(head.target()) + " " +
                    std::string(head.authority()) + "\n" + text(head.fields);
        Draft draft;
        draft.status = 200;
        draft.framing.kind = Framing::Kind::chunked;
        draft.add("X-Target", head.target());
        Result<void> sent = co_await stream->send({.head = &draft}, in(60s));
        while (sent) {
            const BodyPiece piece = stream->take();
            if (piece.ended) {
                sent =
                    co_await stream->send({.data = piece.data, .last = true, .trailers = &stream->trailers()}, in(60s));
                ++answered;
                break;
            }
            if (piece.data.empty()) {
                sent = co_await stream->more(in(60s));
            } else {
                sent = co_await stream->send({.data = piece.data}, in(60s));
            }
        }
        if (!sent) server_error = std::string(name(sent.error().code)) + " " + sent.error().detail;
    }

    Task<void> upload(ClientStream* stream, Call call, Seen* seen) {
        Draft draft;
        draft.method = call.method;
        draft.scheme = "https";
        draft.authority = "web.example";
        draft.target = call.target;
        for (const auto& [field, value] : call.fields) draft.add(field, value);
        if (call.length) draft.framing = {Framing::Kind::length, call.body.size()};
        std::string_view rest = call.body;
        bool first = true;
        do {
            const std::string_view piece = rest.substr(0, call.piece);
            rest.remove_prefix(piece.size());
            const Result<void> sent = co_await stream->send(
                {.head = first ? &draft : nullptr, .data = piece, .last = rest.empty()}, in(call.timeout));
            first = false;
            if (!sent) {
                upload_error = std::string(name(sent.error().code));
                if (sent.error().retry == Retry::yes) seen->retry = Retry::yes;
                co_return;
            }
        } while (!rest.empty());
    }

    Task<void> download(ClientStream* stream, Call call, Seen* seen) {
        Result<void> result = co_await stream->read_head(in(call.timeout));
        if (!result) co_return note(*seen, result.error());
        seen->status = stream->head().status;
        seen->fields = text(stream->head().fields);
        while (true) {
            const BodyPiece piece = stream->take();
            seen->body.append(piece.data);
            if (piece.refusal.status != 0)
                co_return note(*seen, {Code::protocol, Side::upstream, Retry::no, std::string(piece.refusal.reason)});
            if (piece.ended) break;
            result = co_await stream->more(in(call.timeout));
            if (!result) co_return note(*seen, result.error());
        }
        seen->trailers = text(stream->trailers());
        seen->done = true;
    }

    Task<void> exchange(Call call, Seen* seen) {
        Result<std::unique_ptr<ClientStream>> stream = client->open();
        if (!stream) co_return note(*seen, stream.error());
        async::Scope both;
        both.spawn(upload(stream->get(), call, seen));
        both.spawn(download(stream->get(), call, seen));
        co_await both.join();
    }

    Seen ask(Call call) {
        Seen seen;
        work.spawn(exchange(std::move(call), &seen));
        network.run_until_idle();
        return seen;
    }

    /// Sends a request and leaves the stream to the test.
    std::unique_ptr<ClientStream> begin(const Call& call, bool last = true) {
        std::unique_ptr<ClientStream> stream = *client->open();
        work.spawn(send_head(stream.get(), call, last));
        network.run_until_idle();
        return stream;
    }
    Task<void> send_head(ClientStream* stream, Call call, bool last) {
        Draft draft;
        draft.method = call.method;
        draft.scheme = "https";
        draft.authority = "web.example";
        draft.target = call.target;
        if (call.method == "CONNECT") draft.protocol = "websocket";
        const Result<void> sent = co_await stream->send({.head = &draft, .data = call.body, .last = last}, in(60s));
        EXPECT_TRUE(sent.has_value()) << sent.error().detail;
    }
    template <class T>
    std::optional<Result<void>> finish(T task) {
        std::optional<Result<void>> result;
        work.spawn(keep(std::move(task), &result));
        network.run_until_idle();
        return result;
    }
    Task<void> keep(Task<Result<void>> task, std::optional<Result<void>>* into) { *into = co_await std::move(task); }

    Task<void> nothing() { co_return; }
    Task<void> trailers_only(std::unique_ptr<ServerStream> stream) {
        Draft draft;
        draft.status = 200;
        draft.add("grpc-status", "12");
        (void)co_await stream->send({.head = &draft, .last = true}, in(5s));
    }
    Task<void> hint(std::unique_ptr<ServerStream> stream, int times) {
        for (int i = 0; i < times; ++i) (void)co_await stream->send_interim(103, in(5s));
        Draft draft;
        draft.status = 204;
        (void)co_await stream->send({.head = &draft, .last = true}, in(5s));
    }
    Task<void> half(std::unique_ptr<ServerStream> stream) {
        Draft draft;
        draft.status = 200;
        draft.framing = {Framing::Kind::length, 100};
        (void)co_await stream->send({.head = &draft, .data = "half of it"}, in(5s));
    }
    Task<void> answer_at_once(std::unique_ptr<ServerStream> stream) {
        Draft draft;
        draft.status = 413;
        (void)co_await stream->send({.head = &draft, .data = "too much", .last = true}, in(5s));
    }

    net::MemoryNetwork network;
    Http2Limits limits;
    Http2Counts server_counts, client_counts;
    std::function<void(std::unique_ptr<ServerStream>)> handler;
    std::unique_ptr<net::Listener> listener;
    std::unique_ptr<net::Stream> client_end, server_end;
    std::unique_ptr<Http2Server> server;
    std::unique_ptr<Http2Client> client;
    std::optional<Http2End> server_result, client_result;
    std::string last_head, server_error, upload_error;
    int handled = 0, answered = 0;
    std::vector<std::unique_ptr<ServerStream>> slow;  ///< kept by a handler that does nothing
    async::Scope work;                                // last: its tasks use all of the above
};

std::string pattern(std::size_t size, unsigned salt = 0) {
    std::string out(size, '\0');
    for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i * 7 + i / 251 + salt) % 26);
    return out;
}

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
    ASSERT_TRUE(finish(stream->send({.last = true, .trailers = &section.fields()}, in(5s)))->has_value());
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

TEST_F(Http2Test, ADeadPeerIsFoundByPing) {
    Http2Limits pinging = limits;
    pinging.ping_interval = 2s;
    pinging.ping_timeout = 1s;
    connect(limits, pinging);
    handler = [this](std::unique_ptr<ServerStream> stream) { slow.push_back(std::move(stream)); };
    Seen seen;
    work.spawn(exchange({.timeout = 300s}, &seen));
    network.advance(30s);
    EXPECT_FALSE(client_result.has_value());  // it answers pings
    EXPECT_GE(client_counts.pings_sent, 10u);
    slow.clear();
    server.reset();  // nobody reads any more, and nobody says so
    work.spawn(nothing());
    network.advance(4s);
    ASSERT_TRUE(client_result.has_value());
    EXPECT_TRUE(client_result->why == Http2End::Why::dead || client_result->why == Http2End::Why::broken);
    EXPECT_NE(seen.error, "");
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
