// Server: answers requests with a handler; for the admin API, health endpoints and the lab's backends. Whole request
// bodies in memory up to a limit; answers whole or streamed.
// Thread rule: used on its network's thread.
// Source: RFC 9112; error answers close after a bounded linger (section 9.6).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "async/scope.h"
#include "async/task.h"
#include "http/message.h"
#include "net/network.h"

namespace plimsoll::http {

struct ServerOptions {
    HeadLimits head{};
    std::size_t body_bytes = 4 * 1024 * 1024;           ///< of a request; 413 beyond: it is held in memory
    std::size_t connections = 1024;                     ///< at once; more are answered 503 and closed
    Duration head_timeout = std::chrono::seconds(10);   ///< from a head's first byte to its last; then 408
    Duration body_timeout = std::chrono::seconds(30);   ///< for the whole body; then 408
    Duration idle_timeout = std::chrono::seconds(60);   ///< between requests; then closed silently
    Duration write_timeout = std::chrono::seconds(30);  ///< per answer, per streamed piece; then cut
};

/// What a server has seen; grows only, except `connections`.
struct ServerCounts {
    std::size_t connections = 0;  ///< open now
    std::uint64_t accepted = 0;
    std::uint64_t requests = 0;    ///< handed to the handler
    std::uint64_t refused = 0;     ///< answered with an error of ours: malformed, too large, too slow
    std::uint64_t over_limit = 0;  ///< connections turned away
    std::uint64_t accept_errors = 0;
};

class Server {
public:
    /// Must own what it captures; may be called for many requests at once. For a handler that is a coroutine: a named
    /// function that takes the request by value.
    using Handler = std::function<async::Task<Response>(Request)>;

    Server(net::Network& network, Handler handler, const ServerOptions& options = {});
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    /// Drops all connections. Not from within a handler.
    ~Server();

    /// Serves what this listener accepts, until stop(). May be called for several listeners.
    void start(std::unique_ptr<net::Listener> listener);
    /// Serves one connection that is there already.
    void serve(std::unique_ptr<net::Stream> stream);
    /// Stops listening, closes idle connections, lets requests in hand end; cuts them at the deadline. To be awaited
    /// outside of handlers, and before the server goes.
    async::Task<void> stop(async::Deadline deadline);

    [[nodiscard]] const ServerCounts& counts() const { return counts_; }

private:
    class Connection;
    class Chunks;
    async::Task<void> accept_all(net::Listener* listener);
    async::Task<void> run(std::unique_ptr<net::Stream> stream);
    async::Task<void> cut_at(async::Deadline deadline);

    net::Network& network_;
    Handler handler_;
    ServerOptions options_;
    ServerCounts counts_;
    bool stopping_ = false;
    std::vector<std::unique_ptr<net::Listener>> listeners_;
    std::unordered_set<net::Stream*> idle_;  ///< waiting for a request: closed at once by stop()
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    async::Scope scope_;  ///< last: its tasks use all of the above
};

}  // namespace plimsoll::http
