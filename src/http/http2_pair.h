// Both sides of HTTP/2 against each other on the memory network: what their tests share. Not part of the library.
// Thread rule: one thread.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "http/http2_client.h"
#include "http/http2_server.h"
#include "http/section.h"
#include "net/memory_network.h"

namespace plimsoll::http::test {

using async::Deadline;
using async::Task;
using namespace std::chrono_literals;

inline const net::Address here = *net::Address::ip("10.0.0.1", 443);
inline const net::Address there = *net::Address::ip("10.0.0.9", 5000);

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

inline std::string text(const Fields& fields) {
    std::string out;
    for (const Header header : fields) out.append(header.name).append(": ").append(header.value).append("\n");
    return out;
}

inline void note(Seen& seen, const Error& error) {
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
                Draft trailers;
                trailers.forward_trailers(stream->trailers());
                sent = co_await stream->send({.data = piece.data, .last = true, .trailers = &trailers}, in(60s));
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
        Draft draft;
        for (int i = 0; i < times; ++i) {
            draft.clear();
            draft.status = 103;
            draft.add("Link", "</style.css>; rel=preload");
            draft.add("X-Number", static_cast<std::uint64_t>(i));
            (void)co_await stream->send_interim(draft, in(5s));
        }
        draft.clear();
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

inline std::string pattern(std::size_t size, unsigned salt = 0) {
    std::string out(size, '\0');
    for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i * 7 + i / 251 + salt) % 26);
    return out;
}

}  // namespace plimsoll::http::test
