#include "proxy/upstream.h"

#include <algorithm>

#include "net/proxy_protocol.h"
#include "proxy/http1_client_stream.h"

namespace plimsoll::proxy {

using async::Deadline;
using async::Task;

Terms::Terms(const Destination& to) : tls_(to.tls), server_name_(to.server_name), proxy_protocol_(to.proxy_protocol) {
    if (proxy_protocol_ == config::ProxyProtocol::off) return;
    client_ = to.client;
    local_ = to.local;
}

bool Terms::fit(const Destination& to) const {
    return tls_ == to.tls && server_name_ == to.server_name && proxy_protocol_ == to.proxy_protocol &&
           (proxy_protocol_ == config::ProxyProtocol::off || (client_ == to.client && local_ == to.local));
}

/// One HTTP/2 connection.
struct Upstreams::Shared {
    Shared(net::Network& network, const Destination& to, std::unique_ptr<net::Stream> connected,
           const http::Http2Limits& limits, http::Http2Counts& counts)
        : endpoint(to.endpoint),
          terms(to),
          stream(std::move(connected)),
          client(network, *stream, limits, counts),
          opened(network.now()) {}
    [[nodiscard]] bool idle() const { return client.usable() && client.streams() == 0; }
    EndpointId endpoint;
    Terms terms;
    std::unique_ptr<net::Stream> stream;
    http::Http2Client client;
    Instant opened;
    std::uint32_t requests = 0;
};

/// What there is to one endpoint.
struct Upstreams::Place {
    explicit Place(net::Network& network) : parking(network) {}
    std::vector<std::unique_ptr<Upstream>> idle;  ///< the newest last
    std::vector<std::shared_ptr<Shared>> shared;
    std::vector<const Destination*> opening;  ///< connections that count already, though nobody has them yet
    std::size_t open = 0;                     ///< connections of all kinds, idle ones too
    [[nodiscard]] std::size_t taken() const { return open + opening.size(); }
    bool mixed = false;    ///< HTTP/2 connections have differed in their terms
    net::Parking parking;  ///< for a connection: being opened, or over the limit
};

/// A connection while it is being opened; who waits for it hears of the end, however it comes.
struct Upstreams::Opening {
    Opening(Place& where, const Destination& to) : place(where), destination(to) { place.opening.push_back(&to); }
    ~Opening() {
        std::erase(place.opening, &destination);
        place.parking.wake_all();
    }
    Opening(const Opening&) = delete;
    Opening& operator=(const Opening&) = delete;
    Place& place;
    const Destination& destination;
};

Upstream::Upstream(Upstreams& home, const Destination& to, std::unique_ptr<net::Stream> connected, Blocks& blocks)
    : Waiter(net::Direction::read, never),
      stream(std::move(connected)),
      in(blocks),
      parser(answer_head_limits),
      opened(home.now()),
      home_(home),
      endpoint_(to.endpoint),
      terms_(to) {
    ++home_.place(endpoint_).open;
}

Upstream::~Upstream() {
    Upstreams::Place& place = home_.place(endpoint_);
    --place.open;
    place.parking.wake_one();
}

void Upstream::woken(net::Wake why) {
    if (why == net::Wake::ready && stream->quiet()) return stream->arm(*this);
    home_.discard(*this);  // ends this object
}

Upstreams::Upstreams(net::Network& network, Blocks& blocks) : network_(network), blocks_(blocks) {}

Upstreams::~Upstreams() {
    scope_.cancel();
    for (auto& place : places_) {
        if (place) place->idle.clear();
    }
}

Upstreams::Place& Upstreams::place(EndpointId endpoint) {
    if (places_.size() <= endpoint.value) places_.resize(endpoint.value + 1u);
    auto& place = places_[endpoint.value];
    if (!place) place = std::make_unique<Place>(network_);
    return *place;
}

std::size_t Upstreams::connections(EndpointId endpoint) const {
    return endpoint.value < places_.size() && places_[endpoint.value] ? places_[endpoint.value]->open : 0;
}

void Upstreams::freed(EndpointId endpoint) {
    Place& home = place(endpoint);
    // A stream is of use only to those with the terms of its connection, who need not be next.
    home.mixed ? home.parking.wake_all() : static_cast<void>(home.parking.wake_one());
}

// ---- one request at a time -----------------------------------------------------------------------------------------

/// The connection used last, so that the others can age. One that the endpoint has closed meanwhile, as far as the loop
/// has seen, is not given out.
std::unique_ptr<Upstream> Upstreams::take(const Destination& to) {
    auto& idle = place(to.endpoint).idle;
    for (std::size_t i = idle.size(); i-- > 0;) {
        if (!idle[i]->terms_.fit(to)) continue;
        std::unique_ptr<Upstream> upstream = std::move(idle[i]);
        idle.erase(idle.begin() + static_cast<std::ptrdiff_t>(i));
        --idle_count_;
        upstream->disarm();
        if (upstream->stream->quiet()) return upstream;
    }
    return nullptr;
}

/// Closes the one unused longest. False: none is idle.
bool Upstreams::drop_idle(Place& home) {
    if (home.idle.empty()) return false;
    --idle_count_;
    const std::unique_ptr<Upstream> ends = std::move(home.idle.front());
    home.idle.erase(home.idle.begin());
    return true;
}

void Upstreams::keep(std::unique_ptr<Upstream> upstream, std::size_t limit, Instant until) {
    const std::size_t at = upstream->endpoint().value;
    if (at >= served_.size() || !served_[at]) return;
    Place& home = place(upstream->endpoint());
    if (limit == 0 || !upstream->stream->quiet()) return;
    if (home.idle.size() >= limit && (home.idle.front()->terms_ == upstream->terms_ || !drop_idle(home))) return;
    upstream->in.release();
    upstream->parser.reset();
    upstream->set_deadline(until);
    upstream->stream->arm(*upstream);
    home.idle.push_back(std::move(upstream));
    ++idle_count_;
    home.parking.wake_one();
}

void Upstreams::discard(Upstream& upstream) {
    auto& idle = place(upstream.endpoint()).idle;
    const auto found = std::ranges::find_if(idle, [&](const auto& each) { return each.get() == &upstream; });
    if (found == idle.end()) return;
    --idle_count_;
    const std::unique_ptr<Upstream> ends = std::move(*found);
    idle.erase(found);
}

void Upstreams::serve(std::vector<bool> served) {
    served_ = std::move(served);
    for (std::size_t i = 0; i < places_.size(); ++i) {
        if (!places_[i] || (i < served_.size() && served_[i])) continue;
        idle_count_ -= places_[i]->idle.size();
        std::exchange(places_[i]->idle, {}).clear();
        for (const auto& shared : places_[i]->shared) shared->client.shut_down();
    }
}

Task<Result<Upstreams::Raw>> Upstreams::connect(const Destination& to, Deadline deadline) {
    Raw raw;
    auto stream = co_await network_.connect(to.address, deadline);
    if (!stream) co_return std::unexpected(stream.error());
    raw.stream = std::move(*stream);
    if (to.proxy_protocol != config::ProxyProtocol::off) {
        std::string header;
        if (to.proxy_protocol == config::ProxyProtocol::v1) {
            net::append_proxy_v1(header, to.client, to.local);
        } else {
            net::append_proxy_v2(header, to.client, to.local);
        }
        if (const Result<void> sent = co_await raw.stream->write_all(header, deadline); !sent) {
            Error error = sent.error();
            error.side = Side::upstream;
            co_return std::unexpected(std::move(error));
        }
    }
    if (to.tls != nullptr) {
        const Instant start = network_.now();
        auto session = co_await tls::connect(std::move(raw.stream), to.tls, to.server_name, deadline);
        raw.tls = network_.now() - start;
        if (!session) co_return std::unexpected(session.error());
        if (to.http2 && (*session)->facts().alpn != "h2") {
            co_return fail(Code::protocol, "the server does not speak HTTP/2 over TLS (ALPN)", Side::upstream,
                           Retry::yes);
        }
        raw.stream = std::move(*session);
    }
    co_return raw;
}

Task<Result<Upstreams::Opened>> Upstreams::open(Destination to, bool fresh, Deadline deadline) {
    if (to.http2) co_return co_await open_shared(std::move(to), fresh, deadline);
    Place& home = place(to.endpoint);
    Opened opened;
    for (;;) {
        if (!fresh) {
            if (auto kept = take(to)) {
                opened.reused = true;
                opened.stream = std::make_unique<Http1ClientStream>(*this, std::move(kept), to.limits);
                co_return opened;
            }
        }
        // What is idle at the limit has other terms (or is not fresh), and would keep us waiting until it ages.
        if (to.max_connections == 0 || home.taken() < to.max_connections || drop_idle(home)) break;
        if (co_await home.parking.wait(deadline) == net::Wake::timeout) {
            co_return fail(Code::limit, "as many connections to the server as its limit allows are busy");
        }
    }
    const Instant start = network_.now();
    Result<Raw> raw = fail(Code::cancelled, "not opened");
    {
        const Opening opening(home, to);
        raw = co_await connect(to, deadline);
    }
    if (!raw) co_return std::unexpected(raw.error());
    opened.connect = network_.now() - start;
    opened.tls = raw->tls;
    auto connection = std::make_unique<Upstream>(*this, to, std::move(raw->stream), blocks_);
    connection->once = to.proxy_protocol != config::ProxyProtocol::off;
    opened.stream = std::make_unique<Http1ClientStream>(*this, std::move(connection), to.limits);
    co_return opened;
}

// ---- many at once --------------------------------------------------------------------------------------------------

/// The first connection that has room: few and full ones rather than many.
Upstreams::Shared* Upstreams::with_room(Place& home, const Destination& to) {
    const config::PoolLimits& limits = to.limits;
    for (const auto& shared : home.shared) {
        if (!shared->terms.fit(to)) continue;
        const bool worn =
            (limits.max_requests_per_connection != 0 && shared->requests >= limits.max_requests_per_connection) ||
            (limits.max_connection_age > Duration{} && now() - shared->opened >= limits.max_connection_age);
        if (worn) {
            shared->client.shut_down();
        } else if (shared->client.usable() && shared->client.capacity() > 0) {
            return shared.get();
        }
    }
    return nullptr;
}

/// At the limit of connections, none of which fits: one takes no more requests, and its end lets us go on.
void Upstreams::make_room(Place& home, const Destination& to) {
    for (const auto& shared : home.shared) {
        if (shared->terms.fit(to) || !shared->client.usable()) return;  // we wait for a stream of it, or for its end
    }
    if (!home.shared.empty()) home.shared.front()->client.shut_down();
}

/// Names are the clients' choice where nobody fixed one: idle connections of other terms are no more than are kept.
void Upstreams::retire_idle(Place& home, const Destination& to) {
    const auto other = [&](const auto& shared) { return shared->idle() && !shared->terms.fit(to); };
    auto idle = static_cast<std::size_t>(std::ranges::count_if(home.shared, other));
    for (const auto& shared : home.shared) {
        if (idle <= to.limits.idle_connections_per_endpoint) return;
        if (!other(shared)) continue;
        shared->client.shut_down();
        --idle;
    }
}

Task<void> Upstreams::run(std::shared_ptr<Shared> shared) {
    (void)co_await shared->client.run();
    Place& home = place(shared->endpoint);
    std::erase(home.shared, shared);
    --home.open;
    home.parking.wake_all();
}

Task<Result<Upstreams::Opened>> Upstreams::open_shared(Destination to, bool fresh, Deadline deadline) {
    Place& home = place(to.endpoint);
    Opened opened;
    for (;;) {
        if (Shared* shared = fresh ? nullptr : with_room(home, to); shared != nullptr) {
            if (auto stream = shared->client.open()) {
                ++shared->requests;
                opened.reused = opened.connect == Duration{};
                opened.stream = std::move(*stream);
                co_return opened;
            }
        }
        // As many as one connection takes wait for it rather than opening their own.
        const Terms terms(to);
        const auto ours = static_cast<std::size_t>(
            std::ranges::count_if(home.opening, [&](const Destination* other) { return terms.fit(*other); }));
        const bool coming = home.parking.size() < ours * to.limits.max_streams;
        const bool full = to.max_connections != 0 && home.taken() >= to.max_connections;
        if (coming || full) {
            fresh = false;
            if (!coming && drop_idle(home)) continue;  // HTTP/1.1, from before a change
            if (!coming) make_room(home, to);
            if (co_await home.parking.wait(deadline) == net::Wake::timeout) {
                if (full) co_return fail(Code::limit, "as many connections to the server as its limit allows are busy");
                co_return fail(Code::timeout, "the connection to the server was not ready in time", Side::upstream,
                               Retry::yes);
            }
            continue;
        }
        const Instant start = network_.now();
        Result<Raw> raw = fail(Code::cancelled, "not opened");
        {
            const Opening opening(home, to);
            raw = co_await connect(to, deadline);
        }
        if (!raw) co_return std::unexpected(raw.error());
        opened.connect = std::max(network_.now() - start, Duration{1});
        opened.tls = raw->tls;
        http::Http2Limits limits;
        limits.streams = to.limits.max_streams;
        limits.head = answer_head_limits;
        limits.idle_timeout = to.limits.keepalive_idle;
        limits.connect_protocol = true;
        limits.ping_interval = std::chrono::seconds(10);
        auto shared = std::make_shared<Shared>(network_, to, std::move(raw->stream), limits, http2_counts);
        ++home.open;
        home.mixed |= std::ranges::any_of(home.shared, [&](const auto& other) { return !other->terms.fit(to); });
        retire_idle(home, to);
        home.shared.push_back(shared);
        scope_.spawn(run(std::move(shared)));
        fresh = false;
    }
}

}  // namespace plimsoll::proxy
