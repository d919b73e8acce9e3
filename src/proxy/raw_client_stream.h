// A connection to an endpoint that carries bytes, seen as an exchange that was answered "200, tunnel open" at once:
// what CONNECT opens. Thread rule: one worker.
#pragma once

#include <memory>

#include "http/message_stream.h"
#include "proxy/buffer.h"

namespace plimsoll::proxy {

class RawClientStream final : public http::ClientStream {
public:
    RawClientStream(std::unique_ptr<net::Stream> stream, Blocks& blocks) : stream_(std::move(stream)), in_(blocks) {
        (void)answer_.feed("HTTP/1.1 200 OK\r\n\r\n", http::Method::connect);
    }
    [[nodiscard]] http::Version version() const override { return http::Version::http1; }
    http::BodyPiece take() override {
        const http::BodyPiece piece{in_.view(), ended_, {}};
        in_.consume(piece.data.size());
        return piece;
    }
    async::Task<Result<void>> more(async::Deadline deadline) override {
        const Result<std::size_t> n = co_await stream_->read(in_.room(), deadline);
        if (!n) co_return std::unexpected(n.error());
        ended_ = *n == 0;
        in_.produced(*n);
        co_return Result<void>{};
    }
    [[nodiscard]] const http::Fields& trailers() const override { return none_; }
    async::Task<Result<void>> send(const http::Outgoing& what, async::Deadline deadline) override {
        if (!what.data.empty()) {
            if (const Result<void> sent = co_await stream_->write_all(what.data, deadline); !sent) co_return sent;
        }
        if (what.last) stream_->shutdown_write();
        co_return Result<void>{};
    }
    void abort() override { stream_->abort(); }
    [[nodiscard]] std::size_t held(bool sockets) const override { return in_.held() + stream_->held(sockets); }
    async::Task<Result<void>> read_head(async::Deadline) override { co_return Result<void>{}; }
    [[nodiscard]] const http::ResponseHead& head() const override { return answer_.head(); }
    [[nodiscard]] bool sent() const override { return stream_->written() > 0; }
    [[nodiscard]] bool heard() const override { return stream_->received() > 0; }

private:
    std::unique_ptr<net::Stream> stream_;
    Buffer in_;
    bool ended_ = false;
    http::ResponseParser answer_;
    http::Fields none_;
};

}  // namespace plimsoll::proxy
