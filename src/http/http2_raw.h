// A client of HTTP/2 who writes frames by hand, and the server that it talks to, on the memory network: what tests
// share. Not part of the library.
// Thread rule: one thread.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "http/http2_frames.h"
#include "http/http2_server.h"
#include "net/memory_network.h"

namespace plimsoll::http::test {

using async::Deadline;
using async::Task;
using namespace std::chrono_literals;

inline const net::Address here = *net::Address::ip("10.0.0.1", 443);
inline const net::Address there = *net::Address::ip("10.0.0.9", 5000);

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

}  // namespace plimsoll::http::test
