// One exchange on a client's HTTP/1.1 connection: the request whose head the connection has just read, and its answer.
// Thread rule: one worker.
// Source: RFC 9112.
#pragma once

#include <cstddef>
#include <string>

#include "http/body.h"
#include "http/message_stream.h"
#include "proxy/buffer.h"

namespace plimsoll::proxy {

class Client;

class Http1ServerStream final : public http::ServerStream {
public:
    /// `client.parser` has a whole head; `client.in` begins with its bytes.
    explicit Http1ServerStream(Client& client);

    [[nodiscard]] http::Version version() const override { return http::Version::http1; }
    [[nodiscard]] const http::RequestHead& head() const override;
    http::BodyPiece take() override;
    async::Task<Result<void>> more(async::Deadline deadline) override;
    [[nodiscard]] const http::Fields& trailers() const override { return body_.trailers(); }
    async::Task<Result<void>> send(const http::Outgoing& what, async::Deadline deadline) override;
    async::Task<Result<void>> send_interim(const http::Draft& draft, async::Deadline deadline) override;
    void abort() override;
    [[nodiscard]] std::size_t held(bool) const override { return more_in_.held(); }
    [[nodiscard]] bool gone() const override;

    /// After the exchange. True: the connection is ready for the next request, whose first bytes may be in
    /// `client.in`.
    [[nodiscard]] bool finish();

private:
    void start_answer(const http::Draft& draft, bool close);

    Client& client_;
    http::BodyDecoder body_;
    Buffer more_in_;            ///< what came after the bytes that had come with the head
    std::size_t consumed_ = 0;  ///< of client.in, by this request
    bool first_ = true;         ///< nothing was read but what had come with the head
    bool tunnel_ = false;       ///< bytes are passed as they are
    bool chunked_ = false;      ///< the answer's body
    bool keep_ = false;         ///< the answer promised to
    bool complete_ = false;     ///< the whole answer was sent
    bool answered_ = false;
    http::Framing answer_framing_;
};

}  // namespace plimsoll::proxy
