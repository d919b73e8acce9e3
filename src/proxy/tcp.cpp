// TCP listeners: bytes to an endpoint and back. With server names in the routes the first message of TLS is looked at,
// not terminated. A connection counts as one request.
#include <algorithm>
#include <array>

#include "base/hash.h"
#include "proxy/client.h"
#include "tls/client_hello.h"

namespace plimsoll::proxy {

using async::Deadline;
using async::Task;

namespace {

/// One connection and what becomes of it.
class Tunnel {
public:
    explicit Tunnel(Client& client) : client_(client), core_(client.core), up_in_(core_.blocks) {}
    ~Tunnel() {
        scope_.cancel();
        if (counted_) core_.leave(outcome_.endpoint());
    }
    Tunnel(const Tunnel&) = delete;
    Tunnel& operator=(const Tunnel&) = delete;

    Task<void> carry();

private:
    Task<Cause> read_name();
    Task<Cause> reach();
    bool choose();
    Task<Cause> relay();
    Task<Cause> pump(net::Stream& from, net::Stream& to, Buffer& buffer, std::uint64_t& bytes, Cause when_from,
                     Cause when_to);
    Task<void> pump_up();

    Client& client_;
    Worker::Core& core_;
    Outcome outcome_;
    std::string server_name_;
    std::string route_name_, pool_name_, endpoint_name_;
    config::Timeouts timeouts_;
    const snapshot::Pool* pool_ = nullptr;  ///< while `pinned` in carry() lives
    RevisionSlot* revision_ = nullptr;
    PoolIndex pool_at_;
    EndpointIndex chosen_;
    bool chosen_in_panic_ = false;
    balance::Tried tried_;
    std::unique_ptr<net::Stream> up_;
    Buffer up_in_;
    bool counted_ = false;
    Instant last_byte_;
    Cause broken_ = Cause::none;
    async::Scope scope_;
};

/// Reads until the first message of TLS is whole. What was read stays in client.in.
Task<Cause> Tunnel::read_name() {
    const auto& routes = client_.slot->settings.tcp;
    if (std::ranges::all_of(routes, [](const config::TcpRoute& route) { return route.sni.empty(); })) {
        co_return Cause::none;
    }
    const Deadline deadline = Deadline::after(core_.now(), client_.slot->settings.head_timeout);
    tls::ClientHelloParser hello;
    auto state = hello.feed(client_.in.view());
    while (state == tls::ClientHelloParser::State::more) {
        const std::size_t before = client_.in.view().size();
        const Result<std::size_t> n = co_await client_.stream->read(client_.in.room(), deadline);
        if (!n) co_return n.error().code == Code::timeout ? Cause::client_timeout : Cause::client_closed;
        if (*n == 0) co_return Cause::client_closed;
        client_.in.produced(*n);
        state = hello.feed(client_.in.view().substr(before));
    }
    server_name_ = hello.server_name();
    co_return Cause::none;
}

bool Tunnel::choose() {
    if (outcome_.attempt_count >= std::min<std::size_t>(pool_->retry.attempts, max_attempts)) return false;
    const balance::Asked asked{.key = pool_->hash.by == config::HashBy::client && snapshot::goes_by_key(*pool_)
                                          ? std::optional(keyed_hash(client_.peer.host_bytes(), 0))
                                          : std::nullopt,
                               .shared = core_.shared()};
    balance::Cursor& cursor = revision_->cursors[pool_at_.value];
    core_.adopt_ejections();
    const auto pick = balance::pick(pool_->facts, core_.endpoints, cursor, tried_, core_.now(), core_.random, asked);
    if (!pick) return false;
    chosen_ = pick->index;
    chosen_in_panic_ = pick->panic;
    tried_.add(chosen_);
    if (pick->panic) ++core_.endpoint_tally(outcome_.arm, pool_->facts.members[chosen_.value].id).panic_picks;
    return true;
}

/// A connection to an endpoint. Nothing was sent before it stands, so another one may be tried.
Task<Cause> Tunnel::reach() {
    Cause cause = Cause::no_endpoint;
    const Deadline total = Deadline::after(outcome_.started, timeouts_.total);
    while (choose()) {
        Attempt& attempt = outcome_.attempt[outcome_.attempt_count++];
        attempt = Attempt{};
        attempt.endpoint = pool_->facts.members[chosen_.value].id;
        attempt.panic = chosen_in_panic_;
        const std::uint32_t others = core_.endpoints[attempt.endpoint.value].in_flight;
        const PreparedPool& made = revision_->prepared->pools[pool_at_.value];
        const std::string& own_name = snapshot::tls_name(*pool_, pool_->endpoints[chosen_.value]);
        const Instant start = core_.now();
        const Destination to{.endpoint = attempt.endpoint,
                             .address = made.addresses[chosen_.value],
                             .limits = pool_->limits,
                             .tls = made.tls,
                             .server_name = own_name.empty() ? server_name_ : own_name,
                             .proxy_protocol = pool_->proxy_protocol,
                             .client = client_.peer,
                             .local = client_.local};
        auto raw =
            co_await core_.upstreams.connect(to, async::earlier(Deadline::after(start, timeouts_.connect), total));
        attempt.connect = attempt.first_byte = core_.now() - start;
        if (raw) {
            attempt.tls = raw->tls;
            up_ = std::move(raw->stream);
            cause = Cause::none;
        } else {
            cause = raw.error().code == Code::refused    ? Cause::connect_refused
                    : raw.error().code == Code::timeout  ? Cause::connect_timeout
                    : raw.error().code == Code::limit    ? Cause::limited
                    : raw.error().code == Code::protocol ? Cause::upstream_tls
                                                         : Cause::connect_failed;
        }
        attempt.cause = cause;
        balance::EndpointState& state = core_.endpoints[attempt.endpoint.value];  // may have moved meanwhile
        balance::learn(state, pool_->facts, attempt, attempt.connect, others, core_.now());
        core_.observe(attempt, pool_->facts);
        if (cause == Cause::none || client_.cut() != Cause::none || total.passed(core_.now())) break;
    }
    co_return cause;
}

Task<Cause> Tunnel::pump(net::Stream& from, net::Stream& to, Buffer& buffer, std::uint64_t& bytes, Cause when_from,
                         Cause when_to) {
    for (;;) {
        if (!buffer.empty()) {
            bytes += buffer.view().size();
            const Deadline stalled = Deadline::after(core_.now(), timeouts_.tunnel_idle);
            if (!co_await to.write_all(buffer.view(), stalled)) co_return when_to;
            buffer.clear();
            last_byte_ = core_.now();
        }
        if (from.quiet()) {  // an idle tunnel holds no block
            buffer.release();
            const Result<void> ready = co_await from.readable(Deadline::after(last_byte_, timeouts_.tunnel_idle));
            if (!ready && ready.error().code == Code::timeout) {
                if (core_.now() - last_byte_ >= timeouts_.tunnel_idle) co_return Cause::tunnel_idle;
                continue;
            }
            if (!ready) co_return when_from;
        }
        const Result<std::size_t> n =
            co_await from.read(buffer.room(), Deadline::after(last_byte_, timeouts_.tunnel_idle));
        if (!n) {
            if (n.error().code != Code::timeout) co_return when_from;
            if (core_.now() - last_byte_ >= timeouts_.tunnel_idle) co_return Cause::tunnel_idle;
            continue;
        }
        last_byte_ = core_.now();
        if (*n == 0) {
            to.shutdown_write();
            co_return Cause::none;
        }
        buffer.produced(*n);
    }
}

Task<void> Tunnel::pump_up() {
    broken_ = co_await pump(*client_.stream, *up_, client_.in, outcome_.request_body_bytes, Cause::client_closed,
                            Cause::upstream_truncated);
    if (broken_ != Cause::none) up_->abort();  // wakes the other direction
}

Task<Cause> Tunnel::relay() {
    outcome_.tunnel = true;
    outcome_.first_byte = core_.now() - outcome_.started;
    last_byte_ = core_.now();
    scope_.spawn(pump_up());
    const Cause down = co_await pump(*up_, *client_.stream, up_in_, outcome_.response_body_bytes,
                                     Cause::upstream_truncated, Cause::client_closed);
    if (broken_ != Cause::none) {
        if (broken_ == Cause::upstream_truncated)
            client_.stream->abort();  // a cut tunnel must not look like a whole one
        co_return broken_;
    }
    if (client_.cut() != Cause::none) co_return client_.cut();
    if (down != Cause::none) {
        client_.stream->abort();
        co_return down;
    }
    co_await scope_.join();
    co_return broken_;
}

Task<void> Tunnel::carry() {
    outcome_.started = client_.opened;
    outcome_.worker = core_.settings.index;
    outcome_.spoken = Spoken::tcp;
    outcome_.client = client_.address;
    outcome_.client_key = keyed_hash(client_.peer.host_bytes(), core_.settings.hash_key);
    outcome_.affinity_key = core_.random.next();
    outcome_.listener = client_.slot->name;
    Cause cause = co_await read_name();
    outcome_.host = server_name_;
    outcome_.arm = snapshot::choose_arm(core_.resident, outcome_.affinity_key, core_.now());
    RevisionSlot& revision =
        outcome_.arm == Arm::candidate && core_.candidate != nullptr ? *core_.candidate : *core_.active;
    outcome_.revision = revision.snapshot->revision;
    core_.revisions.started(outcome_.revision, core_.now());
    if (cause == Cause::none) {
        const Pinned pinned(core_.revisions, revision);  // while an endpoint is found; the tunnel outlives changes
        const snapshot::TcpRoute* route = revision.snapshot->match_tcp(outcome_.listener, server_name_);
        cause = Cause::no_route;
        if (route != nullptr) {
            revision_ = &revision;
            pool_at_ = route->pool;
            pool_ = &revision.snapshot->pool(pool_at_);
            timeouts_ = pool_->timeouts;
            route_name_ = route->name;
            pool_name_ = pool_->name;
            outcome_.route = route->id;
            outcome_.pool = pool_->id;
            cause = co_await reach();
            if (cause == Cause::none) endpoint_name_ = pool_->endpoints[chosen_.value].name;
        }
        pool_ = nullptr;
    }
    if (cause == Cause::none) {
        (void)core_.arrive(outcome_.endpoint());
        counted_ = true;
        const auto open = core_.tcp_tunnels.try_emplace({outcome_.arm, outcome_.endpoint()}, 0).first;
        ++open->second;
        cause = co_await relay();
        if (--open->second == 0) core_.tcp_tunnels.erase(open);
        core_.leave(outcome_.endpoint());
        counted_ = false;
    } else {
        client_.stream->abort();
    }
    outcome_.cause = cause;
    outcome_.total = core_.now() - outcome_.started;
    core_.observe(outcome_, {.route_name = route_name_, .pool_name = pool_name_, .endpoint_name = endpoint_name_});
}

}  // namespace

Task<void> serve_tcp(Client& client) {
    Tunnel tunnel(client);
    co_await tunnel.carry();
    client.stream->close();
}

}  // namespace plimsoll::proxy
