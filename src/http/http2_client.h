// Http2Client: one connection of HTTP/2 to an endpoint, many requests at once.
// Thread rule: its network's thread.
// Source: RFC 9113, RFC 8441. Framing and HPACK by nghttp2.
#pragma once

#include <memory>

#include "async/task.h"
#include "http/http2.h"
#include "http/message_stream.h"
#include "net/network.h"

namespace plimsoll::http {

class Http2Session;

class Http2Client {
public:
    /// `stream` (connected, and TLS with ALPN h2 done if so), `counts` and the network outlive this. Requests may be
    /// sent before the peer's SETTINGS have come; its usual limits are assumed until then.
    Http2Client(net::Network& network, net::Stream& stream, const Http2Limits& limits, Http2Counts& counts);
    Http2Client(const Http2Client&) = delete;
    Http2Client& operator=(const Http2Client&) = delete;
    /// Streams in progress fail with reset. Not from within run()'s own end.
    ~Http2Client();

    /// Reads and writes until the connection ends, and says why. Awaited once, for as long as the connection is used.
    async::Task<Http2End> run();

    /// A stream for one request; the caller's. It may outlive this. Its errors have side upstream; Retry::yes when the
    /// peer surely did nothing: RST_STREAM REFUSED_STREAM, GOAWAY with a lower last stream, nothing was written.
    /// Errors: limit (the peer's or our number of streams), closed (GOAWAY, shut_down, ended); both Retry::yes.
    [[nodiscard]] Result<std::unique_ptr<ClientStream>> open();
    /// open() may succeed, now or once a stream has ended.
    [[nodiscard]] bool usable() const;
    /// Streams that may be opened now.
    [[nodiscard]] std::size_t capacity() const;
    /// Streams that are open, those not sent yet too.
    [[nodiscard]] std::size_t streams() const;
    /// The peer lets us open tunnels (RFC 8441). False until its SETTINGS have come; see settled().
    [[nodiscard]] bool connect_protocol() const;
    /// The peer's SETTINGS have come.
    [[nodiscard]] bool settled() const;

    /// No new streams; those open finish, then GOAWAY and run() ends. Idempotent.
    void shut_down();
    /// Ends everything now.
    void close();

private:
    std::unique_ptr<Http2Session> session_;
};

}  // namespace plimsoll::http
