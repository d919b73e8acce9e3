// HTTP/2 on both sides of the test world: a client and a scripted endpoint. Not part of the library.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "http/http2_client.h"
#include "http/http2_server.h"
#include "proxy/test_world.h"

namespace plimsoll::proxy::test {

using Lines = std::vector<std::pair<std::string, std::string>>;

inline void add(http::Draft& draft, const Lines& lines) {
    for (const auto& [name, value] : lines) draft.add(name, value);
}
inline std::string text(const http::Fields& fields) {
    std::string out;
    for (const http::Header header : fields) out.append(header.name).append(": ").append(header.value).append("\n");
    return out;
}

/// A client's connection with one request at a time.
class Http2Caller {
public:
    struct Ask {
        std::string method = "GET";
        Lines fields{};
        std::string body{};
        Lines trailers{};
    };
    struct Heard {
        std::uint16_t status = 0;
        std::string fields, body, trailers, error;
        std::vector<std::string> hints;  ///< lines of each 103
        bool ended = false;
    };

    Http2Caller(net::MemoryNetwork& network, std::unique_ptr<net::Stream> stream)
        : network_(network), stream_(std::move(stream)), client_(network, *stream_, {}, counts_) {
        scope_.spawn(use());
        network_.run_until_idle();
    }
    /// What has come of the answer once nothing moves any more; more may come into it as time goes on.
    const Heard& ask(Ask ask) {
        heard_ = std::make_unique<Heard>();
        scope_.spawn(exchange(std::move(ask), *heard_));
        network_.run_until_idle();
        return *heard_;
    }

private:
    Task<void> use() { (void)co_await client_.run(); }
    Task<void> exchange(Ask ask, Heard& heard) {
        auto opened = client_.open();
        if (!opened) {
            heard.error = opened.error().detail;
            co_return;
        }
        http::ClientStream& stream = **opened;
        stream.want_hints();
        http::Draft head, trailers;
        head.method = ask.method;
        head.scheme = "http";
        head.authority = "a.example";
        head.target = "/";
        if (!ask.body.empty() || !ask.trailers.empty()) head.framing.kind = http::Framing::Kind::chunked;
        add(head, ask.fields);
        add(trailers, ask.trailers);
        if (!ask.trailers.empty()) (void)co_await stream.send({.head = &head, .data = ask.body}, {});
        http::Outgoing rest{.head = &head, .data = ask.body, .last = true, .trailers = &trailers};
        if (!ask.trailers.empty()) rest.head = nullptr, rest.data = {};
        (void)co_await stream.send(rest, {});
        for (;;) {
            const Result<void> there = co_await stream.read_head({});
            if (!there) {
                heard.error = there.error().detail;
                co_return;
            }
            if (!stream.has_hints()) break;
            for (const http::Headers& hints : stream.take_hints()) {
                std::string& lines = heard.hints.emplace_back();
                for (const auto& line : hints) lines.append(line.name).append(": ").append(line.value).append("\n");
            }
        }
        heard.status = stream.head().status;
        heard.fields = text(stream.head().fields);
        for (;;) {
            const http::BodyPiece piece = stream.take();
            heard.body.append(piece.data);
            if (piece.ended) break;
            if (const Result<void> more = co_await stream.more({}); !more) {
                heard.error = more.error().detail;
                co_return;
            }
        }
        heard.trailers = text(stream.trailers());
        heard.ended = true;
    }

    net::MemoryNetwork& network_;
    std::unique_ptr<net::Stream> stream_;
    http::Http2Counts counts_;
    http::Http2Client client_;
    std::unique_ptr<Heard> heard_;
    async::Scope scope_;
};

/// An endpoint that takes the whole request and answers.
class Http2Backend {
public:
    Http2Backend(net::MemoryNetwork& network, std::uint16_t port) : network_(network) {
        scope_.spawn(accept(*network.listen(*net::Address::ip("10.0.0.1", port), {})));
    }
    std::vector<Lines> hints;  ///< each as a 103 before the answer
    Lines fields, trailers;    ///< of the answer
    std::string body = "hello";
    std::string seen, seen_body, seen_trailers;  ///< of the last request

private:
    Task<void> accept(std::unique_ptr<net::Listener> listener) {
        for (;;) {
            auto stream = co_await listener->accept({});
            if (!stream) co_return;
            scope_.spawn(serve(std::move(*stream)));
        }
    }
    Task<void> serve(std::unique_ptr<net::Stream> stream) {
        http::Http2Server server(
            network_, *stream, {},
            [this](std::unique_ptr<http::ServerStream> request) { scope_.spawn(answer(std::move(request))); }, counts_);
        (void)co_await server.run();
    }
    Task<void> answer(std::unique_ptr<http::ServerStream> stream) {
        seen = text(stream->head().fields);
        seen_body.clear();
        for (;;) {
            const http::BodyPiece piece = stream->take();
            seen_body.append(piece.data);
            if (piece.ended) break;
            if (!co_await stream->more({})) co_return;
        }
        seen_trailers = text(stream->trailers());
        for (const Lines& lines : hints) {
            http::Draft draft;
            draft.status = 103;
            add(draft, lines);
            if (!co_await stream->send_interim(draft, {})) co_return;
        }
        http::Draft head, last;
        head.status = 200;
        head.framing.kind = http::Framing::Kind::chunked;
        add(head, fields);
        add(last, trailers);
        (void)co_await stream->send({.head = &head, .data = body, .last = true, .trailers = &last}, {});
    }

    net::MemoryNetwork& network_;
    http::Http2Counts counts_;
    async::Scope scope_;
};

}  // namespace plimsoll::proxy::test
