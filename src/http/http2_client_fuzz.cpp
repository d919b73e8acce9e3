// Any bytes as an HTTP/2 server's answers to a few requests: no crash, no leak, only valid heads, each exchange ends.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/http2_client.h"
#include "net/memory_network.h"

namespace http = plimsoll::http;
namespace net = plimsoll::net;
namespace async = plimsoll::async;

namespace http2_client_fuzz {

using namespace std::chrono_literals;

class World {
public:
    void run(std::string_view input, std::size_t step) {
        const net::Address here = *net::Address::ip("10.0.0.1", 443);
        const auto listener = *network_.listen(here, {});
        const auto stream = network_.open(here, *net::Address::ip("10.0.0.9", 5000));
        const auto peer = listener->try_accept();
        http::Http2Limits limits;
        limits.streams = 8;
        limits.stream_window = 4096;
        limits.ping_interval = 2s;
        http::Http2Client client(network_, *stream, limits, counts_);
        async::Scope work;
        bool ended = false;
        work.spawn(use(&client, &ended));
        for (const std::string_view method : {"GET", "POST", "HEAD", "CONNECT"}) work.spawn(ask(&client, method));
        network_.run_until_idle();
        while (!input.empty() && !ended) {
            const std::string_view piece = input.substr(0, step);
            const net::Io io = peer->try_write({&piece, 1});
            if (io.state == net::Io::State::failed) break;
            input.remove_prefix(io.bytes);
            network_.run_until_idle();
            drain(*peer);
        }
        network_.advance(1s);
        drain(*peer);
        peer->close();
        network_.advance(60s);
        PLIMSOLL_ENSURE(ended && asking_ == 0, "an exchange whose server has gone does not end");
        PLIMSOLL_ENSURE(client.streams() == 0, "streams that nobody has");
    }

private:
    async::Task<void> use(http::Http2Client* client, bool* ended) {
        const http::Http2End end = co_await client->run();
        *ended = true;
    }
    async::Task<void> ask(http::Http2Client* client, std::string_view method) {
        ++asking_;
        (void)co_await exchange(client, method);
        --asking_;
    }
    async::Task<plimsoll::Result<void>> exchange(http::Http2Client* client, std::string_view method) {
        const async::Deadline deadline{network_.now() + 20s};
        const std::unique_ptr<http::ClientStream> stream = co_await async::ok(client->open());
        http::Draft draft;
        draft.method = method;
        draft.authority = "a";
        draft.target = "/";
        if (method == "CONNECT") draft.protocol = "websocket";
        const std::string body(method == "POST" ? 100'000 : 0, 'u');
        co_await async::ok(stream->send({.head = &draft, .data = body, .last = method != "CONNECT"}, deadline));
        co_await async::ok(stream->read_head(deadline));
        const http::ResponseHead& head = stream->head();
        PLIMSOLL_ENSURE(head.status >= 200 && head.status <= 599, "a status that is none");
        for (const http::Header header : head.fields) {
            PLIMSOLL_ENSURE(http::is_token(header.name) && http::is_field_value(header.value), "a field that splits");
        }
        std::uint64_t got = 0;
        while (true) {
            const http::BodyPiece piece = stream->take();
            got += piece.data.size();
            if (head.framing.kind == http::Framing::Kind::length) {
                PLIMSOLL_ENSURE(got <= head.framing.length, "a body longer than announced");
                PLIMSOLL_ENSURE(!piece.ended || got == head.framing.length, "a body shorter than announced");
            }
            if (piece.ended || piece.refusal.status != 0) co_return plimsoll::Result<void>();
            co_await async::ok(stream->more(deadline));
        }
    }
    void drain(net::Stream& peer) {
        std::array<char, 16'384> part;
        while (peer.try_read(part).state == net::Io::State::moved) network_.run_until_idle();
    }

    net::MemoryNetwork network_;
    http::Http2Counts counts_;
    int asking_ = 0;
};

}  // namespace http2_client_fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(bytes), size);
    http2_client_fuzz::World().run(input, 64 * 1024);
    http2_client_fuzz::World().run(input, 1 + size / 16);
    return 0;
}
