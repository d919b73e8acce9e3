// Connections to endpoints, kept for the next request. Keyed by the endpoint's identity, so they outlive snapshots.
// Thread rule: one worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "http/head.h"
#include "net/network.h"
#include "net/stream.h"
#include "proxy/buffer.h"

namespace plimsoll::proxy {

/// Of an endpoint's answer. Above the request's limits: cookies are set here.
inline constexpr http::HeadLimits answer_head_limits{.head_bytes = 24 * 1024, .value_bytes = 24 * 1024};

class Upstreams;

/// One connection to an endpoint. While it is idle it watches for the endpoint closing it.
class Upstream final : net::Waiter {
public:
    Upstream(Upstreams& home, EndpointId endpoint, std::unique_ptr<net::Stream> connected, Blocks& blocks)
        : Waiter(net::Direction::read, never),
          stream(std::move(connected)),
          in(blocks),
          parser(answer_head_limits),
          home_(home),
          endpoint_(endpoint) {}

    std::unique_ptr<net::Stream> stream;
    Buffer in;
    http::ResponseParser parser;
    [[nodiscard]] EndpointId endpoint() const { return endpoint_; }

private:
    friend class Upstreams;
    void woken(net::Wake why) override;
    Upstreams& home_;
    EndpointId endpoint_;
};

class Upstreams {
public:
    /// An idle connection to the endpoint, the one used last, or nullptr. One that the endpoint has closed meanwhile,
    /// as far as the loop has seen, is not given out.
    [[nodiscard]] std::unique_ptr<Upstream> take(EndpointId endpoint);
    /// Keeps a connection that owes nothing, until `until`; closes it if `limit` are idle there already or the endpoint
    /// is no longer served.
    void keep(std::unique_ptr<Upstream> upstream, std::size_t limit, Instant until);
    /// From now on only endpoints with `served[id]` keep connections; idle ones to others are closed.
    void serve(std::vector<bool> served);
    [[nodiscard]] std::size_t idle() const { return idle_count_; }

private:
    friend class Upstream;
    void discard(Upstream& upstream);
    std::vector<std::vector<std::unique_ptr<Upstream>>> idle_;  ///< by EndpointId; the newest last
    std::vector<bool> served_;
    std::size_t idle_count_ = 0;
};

}  // namespace plimsoll::proxy
