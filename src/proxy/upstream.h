// Connections to endpoints. HTTP/1.1: one request at a time, kept for the next one. HTTP/2: many at once. Keyed by the
// endpoint's identity, so they outlive snapshots; and used only by requests that would have opened them the same way
// (Terms): a certificate that was verified for one name proves nothing for another.
// Thread rule: one worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "async/scope.h"
#include "base/ids.h"
#include "http/head.h"
#include "http/http2_client.h"
#include "http/message_stream.h"
#include "net/network.h"
#include "net/parking.h"
#include "net/stream.h"
#include "proxy/buffer.h"
#include "snapshot/snapshot.h"
#include "tls/session.h"

namespace plimsoll::proxy {

/// Of an endpoint's answer. Above the request's limits: cookies are set here.
inline constexpr http::HeadLimits answer_head_limits{.head_bytes = 24 * 1024, .value_bytes = 24 * 1024};

class Upstreams;

/// Where a connection goes and how. References live until open() is done; the address is a copy, since what it was
/// taken from may be prepared anew meanwhile.
struct Destination {
    EndpointId endpoint;
    net::Address address;
    const config::PoolLimits& limits;
    std::uint32_t max_connections = 0;  ///< of this worker to this endpoint; 0 = no limit
    bool http2 = false;
    std::shared_ptr<const tls::ClientContext> tls{};  ///< nullptr = plain
    std::string server_name{};                        ///< for TLS
    config::ProxyProtocol proxy_protocol = config::ProxyProtocol::off;
    const net::Address& client;  ///< told by the PROXY header
    const net::Address& local;
};

/// How a connection was opened.
class Terms {
public:
    explicit Terms(const Destination& to);
    /// A request for `to` would have opened it the same way: with the same TLS context (contexts of equal settings are
    /// one), verified for the same name, and with the same PROXY header. For plain pools four comparisons.
    [[nodiscard]] bool fit(const Destination& to) const;
    friend bool operator==(const Terms&, const Terms&) = default;

private:
    std::shared_ptr<const tls::ClientContext> tls_;
    std::string server_name_;
    config::ProxyProtocol proxy_protocol_;
    net::Address client_, local_;  ///< as the PROXY header told; else none
};

/// One connection to an endpoint. While it is idle it watches for the endpoint closing it.
class Upstream final : net::Waiter {
public:
    Upstream(Upstreams& home, const Destination& to, std::unique_ptr<net::Stream> connected, Blocks& blocks);
    ~Upstream() override;

    std::unique_ptr<net::Stream> stream;
    Buffer in;
    http::ResponseParser parser;
    std::string out;             ///< memory for heads, kept between requests
    Instant opened;              ///< when it was connected
    std::uint32_t requests = 0;  ///< carried so far
    bool once = false;           ///< bound to one client by its PROXY header: not kept
    [[nodiscard]] EndpointId endpoint() const { return endpoint_; }

private:
    friend class Upstreams;
    void woken(net::Wake why) override;
    Upstreams& home_;
    EndpointId endpoint_;
    Terms terms_;
};

class Upstreams {
public:
    Upstreams(net::Network& network, Blocks& blocks);
    ~Upstreams();

    struct Opened {
        std::unique_ptr<http::ClientStream> stream;
        bool reused = false;
        Duration connect{};  ///< 0 when reused; with TLS
        Duration tls{};
    };
    /// A stream for one request: on a kept connection unless `fresh`, else on a new one. Errors: those of connect
    /// (refused, timeout, unreachable, limit) and of tls::connect (protocol).
    [[nodiscard]] async::Task<Result<Opened>> open(Destination to, bool fresh, async::Deadline deadline);
    /// A connection for bytes, for tunnels of TCP listeners: never kept.
    struct Raw {
        std::unique_ptr<net::Stream> stream;
        Duration tls{};
    };
    [[nodiscard]] async::Task<Result<Raw>> connect(const Destination& to, async::Deadline deadline);

    /// Keeps a connection that owes nothing, until `until`; closes it if `limit` are idle there already or the endpoint
    /// is no longer served. At the limit it takes the place of the one unused longest, if that one has other terms.
    void keep(std::unique_ptr<Upstream> upstream, std::size_t limit, Instant until);
    /// From now on only endpoints with `served[id]` keep connections; idle ones to others are closed.
    void serve(std::vector<bool> served);
    /// A stream to this endpoint has ended: who waits for one may go on.
    void freed(EndpointId endpoint);
    [[nodiscard]] std::size_t idle() const { return idle_count_; }
    [[nodiscard]] std::size_t connections(EndpointId endpoint) const;
    [[nodiscard]] Instant now() const { return network_.now(); }

    http::Http2Counts http2_counts;

private:
    friend class Upstream;
    struct Shared;
    struct Opening;
    struct Place;
    void discard(Upstream& upstream);
    [[nodiscard]] std::unique_ptr<Upstream> take(const Destination& to);
    [[nodiscard]] bool drop_idle(Place& place);
    async::Task<Result<Opened>> open_shared(Destination to, bool fresh, async::Deadline deadline);
    async::Task<void> run(std::shared_ptr<Shared> shared);
    Shared* with_room(Place& place, const Destination& to);
    static void make_room(Place& place, const Destination& to);
    static void retire_idle(Place& place, const Destination& to);
    Place& place(EndpointId endpoint);

    net::Network& network_;
    Blocks& blocks_;
    std::vector<std::unique_ptr<Place>> places_;  ///< by EndpointId
    std::vector<bool> served_;
    std::size_t idle_count_ = 0;
    async::Scope scope_;  ///< last: HTTP/2 sessions run in it
};

}  // namespace plimsoll::proxy
