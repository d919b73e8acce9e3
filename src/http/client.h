// Client: requests to a server; for health probes, webhooks, the command line and load generators. Errors carry side
// upstream; Retry::yes only when surely nothing was sent.
// Thread rule: used on its network's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "async/task.h"
#include "http/body.h"
#include "http/message.h"
#include "net/network.h"

namespace plimsoll::http {

struct ClientOptions {
    HeadLimits head{};
    std::size_t body_bytes = 64 * 1024 * 1024;  ///< of an answer kept in memory; Code::limit beyond
    std::size_t line_bytes = 1024 * 1024;       ///< of one line in fetch_lines; Code::limit beyond
};

/// One request on a connection of its own, closed afterwards. The deadline covers all of it.
/// Errors: those of connect; timeout, reset, closed (no answer), protocol, limit.
[[nodiscard]] async::Task<Result<Response>> fetch(net::Network& network, net::Address address, Request request,
                                                  async::Deadline deadline, ClientOptions options = {});

/// As fetch, but the body is handed over line by line (without "\n" or "\r\n") as it comes; the last may be without an
/// end. `on_line` returns false to stop: then the answer so far is given. The Response has no body.
[[nodiscard]] async::Task<Result<Response>> fetch_lines(net::Network& network, net::Address address, Request request,
                                                        std::function<bool(std::string_view line)> on_line,
                                                        async::Deadline deadline, ClientOptions options = {});

/// The bytes of `request` as sent: for a load generator, once for many requests. `host` when the request has none.
/// Errors: invalid (something that would not be one request).
[[nodiscard]] Result<std::string> serialise(const Request& request, std::string_view host);

/// What became of one exchange on a ClientConnection.
struct Answer {
    std::uint16_t status = 0;
    std::uint64_t body_bytes = 0;
    Instant sent;        ///< the request was handed to the socket
    Instant first_byte;  ///< the (final) head was complete
    Instant done;        ///< the body was complete
};

/// A connection for many requests, one after another.
class ClientConnection {
public:
    /// Errors: those of connect.
    [[nodiscard]] static async::Task<Result<std::unique_ptr<ClientConnection>>> open(net::Network& network,
                                                                                     net::Address address,
                                                                                     async::Deadline deadline,
                                                                                     ClientOptions options = {});
    ClientConnection(net::Network& network, std::unique_ptr<net::Stream> stream, const ClientOptions& options);

    /// What to do with the parts of an answer, each may be left out.
    struct Taking {
        std::function<void(const ResponseHead&)> head{};  ///< views are valid during the call
        std::function<bool(std::string_view)> data{};     ///< false = enough: the connection is closed
    };
    /// Sends `wire` (a whole request) and reads the answer. `wire` must live until then. Interim answers are skipped.
    /// After an error the connection cannot be used again.
    [[nodiscard]] async::Task<Result<Answer>> exchange(std::string_view wire, Method method, async::Deadline deadline,
                                                       const Taking* taking = nullptr);
    /// Another exchange may follow.
    [[nodiscard]] bool usable() const { return usable_ && stream_->quiet(); }
    [[nodiscard]] net::Stream& stream() { return *stream_; }

private:
    async::Task<Result<void>> read_head(Method method, async::Deadline deadline);
    async::Task<Result<void>> read_body(async::Deadline deadline, const Taking* taking, Answer& answer);
    async::Task<Result<std::size_t>> read_more(async::Deadline deadline);

    net::Network& network_;
    std::unique_ptr<net::Stream> stream_;
    ClientOptions options_;
    ResponseParser parser_;
    std::string received_;  ///< bytes [0, size_) are received and not used up
    std::size_t size_ = 0;
    bool usable_ = true;
};

}  // namespace plimsoll::http
