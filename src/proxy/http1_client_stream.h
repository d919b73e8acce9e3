// One exchange on an HTTP/1.1 connection to an endpoint.
// Thread rule: one worker.
// Source: RFC 9112.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "http/body.h"
#include "http/message_stream.h"
#include "proxy/upstream.h"

namespace plimsoll::proxy {

class Http1ClientStream final : public http::ClientStream {
public:
    /// Gives the connection back when both messages have ended, else closes it.
    Http1ClientStream(Upstreams& home, std::unique_ptr<Upstream> connection, const config::PoolLimits& limits);
    ~Http1ClientStream() override;

    [[nodiscard]] http::Version version() const override { return http::Version::http1; }
    http::BodyPiece take() override;
    async::Task<Result<void>> more(async::Deadline deadline) override;
    [[nodiscard]] const http::Fields& trailers() const override { return body_.trailers(); }
    async::Task<Result<void>> send(const http::Outgoing& what, async::Deadline deadline) override;
    void abort() override;
    [[nodiscard]] std::size_t held(bool sockets) const override {
        return connection_->in.held() + connection_->out.capacity() + connection_->stream->held(sockets);
    }
    async::Task<Result<void>> read_head(async::Deadline deadline) override;
    [[nodiscard]] const http::ResponseHead& head() const override { return connection_->parser.head(); }
    [[nodiscard]] bool sent() const override { return connection_->stream->written() != sent_before_; }
    [[nodiscard]] bool heard() const override { return connection_->stream->received() != heard_before_; }

private:
    [[nodiscard]] bool reusable() const;
    Result<bool> take_head();
    async::Task<Result<std::size_t>> read(async::Deadline deadline);

    Upstreams& home_;
    std::unique_ptr<Upstream> connection_;
    std::size_t idle_limit_;
    Duration idle_time_;
    std::uint32_t max_requests_;
    Duration max_age_;
    std::uint64_t sent_before_, heard_before_;
    http::BodyDecoder body_;  ///< of the answer, once its head is there
    http::Method method_ = http::Method::other;
    int interim_ = 0;
    bool chunked_ = false;       ///< the request's body
    std::string asked_upgrade_;  ///< the protocol that the request asked for, or empty
    bool tunnel_ = false;
    bool request_ended_ = false;
    bool answer_began_ = false;
    bool head_pending_ = false;  ///< its bytes are still in the buffer
};

}  // namespace plimsoll::proxy
