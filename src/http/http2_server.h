// Http2Server: one client's connection of HTTP/2, many requests at once.
// Thread rule: its network's thread.
// Source: RFC 9113, RFC 8441. Framing and HPACK by nghttp2.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "async/task.h"
#include "http/http2.h"
#include "http/message_stream.h"
#include "net/network.h"

namespace plimsoll::http {

class Http2Session;

class Http2Server {
public:
    /// Called for each request whose head is whole and valid and whose stream is still open. The stream is the
    /// handler's: it may live as long as it likes, also longer than this connection (then everything fails with reset),
    /// and may be destroyed at any time but from within its own more() and send(). Must not wait: it spawns.
    using Handler = std::function<void(std::unique_ptr<ServerStream>)>;

    /// `stream`, `counts` and the network outlive this. Nothing happens before run().
    Http2Server(net::Network& network, net::Stream& stream, const Http2Limits& limits, Handler handler,
                Http2Counts& counts);
    Http2Server(const Http2Server&) = delete;
    Http2Server& operator=(const Http2Server&) = delete;
    /// Streams in progress fail with reset. Not from within a handler's call. A run() that still waits never goes on.
    ~Http2Server();

    /// Reads and writes until the connection ends, and says why. `received`: bytes read already, the preface first;
    /// used before the first wait. Awaited once. The stream may be destroyed afterwards.
    async::Task<Http2End> run(std::string_view received = {});

    /// Graceful: GOAWAY that names no stream yet, then (one round trip or a second later) GOAWAY with the last one
    /// taken; streams in progress finish, then run() ends. Idempotent.
    void shut_down();
    /// If no stream is in progress: GOAWAY and close now. What a stopping server calls after shut_down().
    void close_idle();
    /// Ends everything now; streams fail with reset, run() ends with `cancelled`.
    void close();

    /// Requests handed out whose stream has not ended or whose ServerStream lives and was not finished cleanly.
    [[nodiscard]] std::size_t streams() const;
    /// No request is in progress, not even the beginning of one.
    [[nodiscard]] bool idle() const;
    /// Requests handed out since the beginning: for a limit by requests.
    [[nodiscard]] std::uint64_t requests() const;
    /// Bytes of memory that the connection keeps, about, with those of all its streams.
    [[nodiscard]] std::size_t held() const;
    /// shut_down() was called or the connection has ended.
    [[nodiscard]] bool shutting_down() const;

private:
    std::unique_ptr<Http2Session> session_;
};

}  // namespace plimsoll::http
