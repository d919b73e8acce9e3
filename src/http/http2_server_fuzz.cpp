// Any bytes from a client of HTTP/2, cut in two ways: no crash, no leak, the same requests handled, and a connection
// that always ends. The first byte says how the handler behaves.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/http2_server.h"
#include "net/memory_network.h"

namespace http = plimsoll::http;
namespace net = plimsoll::net;
namespace async = plimsoll::async;

namespace http2_server_fuzz {

using namespace std::chrono_literals;

class World {
public:
    explicit World(std::uint8_t manner) : manner_(manner) {}

    std::string run(std::string_view input, std::size_t step) {
        const net::Address here = *net::Address::ip("10.0.0.1", 443);
        const auto listener = *network_.listen(here, {});
        const auto client = network_.open(here, *net::Address::ip("10.0.0.9", 5000));
        const auto accepted = listener->try_accept();
        http::Http2Limits limits;
        limits.streams = 8;
        limits.stream_window = 4096;
        limits.connection_window = 70'000;
        limits.connect_protocol = (manner_ & 4) != 0;
        http::Http2Server server(
            network_, *accepted, limits,
            [this](std::unique_ptr<http::ServerStream> stream) { take(std::move(stream)); }, counts_);
        async::Scope work;
        work_ = &work;
        bool ended = false;
        work.spawn(serve(&server, &ended));
        network_.run_until_idle();
        while (!input.empty() && !ended) {
            const std::string_view piece = input.substr(0, step);
            const net::Io io = client->try_write({&piece, 1});
            if (io.state == net::Io::State::failed) break;
            input.remove_prefix(io.bytes);
            network_.run_until_idle();
            drain(*client);
        }
        network_.advance(1s);
        drain(*client);
        client->close();
        network_.advance(60s);
        PLIMSOLL_ENSURE(ended, "a connection whose client has gone does not end");
        work.cancel();
        kept_.reset();
        work_ = nullptr;
        return seen_;
    }

private:
    async::Task<void> serve(http::Http2Server* server, bool* ended) {
        const http::Http2End end = co_await server->run();
        *ended = true;
    }
    void take(std::unique_ptr<http::ServerStream> stream) {
        const http::RequestHead& head = stream->head();
        for (const std::string_view text : {head.method_text(), head.target(), head.authority(), head.path()}) {
            PLIMSOLL_ENSURE(http::is_field_value(text), "a control byte in a head");
        }
        PLIMSOLL_ENSURE(!head.method_text().empty() && !head.authority().empty(), "a head without its parts");
        for (const http::Header header : head.fields) {
            PLIMSOLL_ENSURE(http::is_token(header.name) && http::is_field_value(header.value), "a field that splits");
        }
        PLIMSOLL_ENSURE(!head.fields.has(http::Known::transfer_encoding), "a field of HTTP/1.1");
        PLIMSOLL_ENSURE(!stream->gone(), "a request of nobody");
        seen_.append(head.method_text()).append(" ").append(head.target()).append("\n");
        if ((manner_ & 3) == 0) {
            kept_ = std::move(stream);  // and lets go of the one before, unanswered
            return;
        }
        work_->spawn(answer(std::move(stream)));
    }
    async::Task<void> answer(std::unique_ptr<http::ServerStream> stream) {
        const async::Deadline deadline{network_.now() + 5s};
        http::Draft draft;
        draft.status = 200;
        const std::string body(10'000, 'b');
        if ((manner_ & 3) == 1) {
            (void)co_await stream->send({.head = &draft, .data = body, .last = true}, deadline);
            co_return;
        }
        plimsoll::Result<void> went = co_await stream->send({.head = &draft}, deadline);
        while (went) {
            const http::BodyPiece piece = stream->take();
            if (piece.ended || piece.refusal.status != 0) {
                http::Draft trailers;
                trailers.forward_trailers(stream->trailers());
                (void)co_await stream->send({.data = piece.data, .last = true, .trailers = &trailers}, deadline);
                co_return;
            }
            went = piece.data.empty() ? co_await stream->more(deadline)
                                      : co_await stream->send({.data = piece.data}, deadline);
        }
    }
    void drain(net::Stream& client) {
        std::array<char, 16'384> part;
        while (client.try_read(part).state == net::Io::State::moved) network_.run_until_idle();
    }

    std::uint8_t manner_;
    net::MemoryNetwork network_;
    http::Http2Counts counts_;
    std::string seen_;
    std::unique_ptr<http::ServerStream> kept_;
    async::Scope* work_ = nullptr;
};

}  // namespace http2_server_fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view input(reinterpret_cast<const char*>(bytes) + 1, size - 1);
    (void)http2_server_fuzz::World(bytes[0]).run(input, 64 * 1024);
    (void)http2_server_fuzz::World(bytes[0]).run(input, 1 + size / 16);
    return 0;
}
