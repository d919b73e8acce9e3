#include "proxy/client.h"

#include <algorithm>

#include "base/hash.h"
#include "net/proxy_protocol.h"
#include "proxy/exchange.h"
#include "proxy/heads.h"
#include "proxy/http1_server_stream.h"

namespace plimsoll::proxy {

using async::Deadline;
using async::Task;

namespace {

/// After our last answer: how much and how long we listen to a peer that still sends, so that a reset does not destroy
/// the answer on its way (RFC 9112 section 9.6). A client next door has sent some MiB before it looks up.
constexpr std::size_t linger_bytes = 16 * 1024 * 1024;
constexpr Duration linger_time = std::chrono::seconds(1);

http::HeadLimits head_limits(const config::ListenerLimits& limits) {
    http::HeadLimits head;
    head.head_bytes = limits.max_head_bytes;
    head.target_bytes = std::min<std::size_t>(head.target_bytes, limits.max_head_bytes);
    head.fields = limits.max_headers;
    head.value_bytes = limits.max_head_bytes;
    return head;
}

http::Http2Limits http2_limits(const config::Listener& listener) {
    http::Http2Limits limits;
    limits.streams = listener.limits.max_streams;
    limits.head = head_limits(listener.limits);
    limits.connect_protocol = true;
    limits.idle_timeout = listener.idle_timeout;
    limits.head_timeout = listener.head_timeout;
    limits.write_timeout = listener.body_idle_timeout;
    return limits;
}

}  // namespace

Client::Client(Worker::Core& in_core, std::shared_ptr<ListenerSlot> on, std::unique_ptr<net::Stream> accepted)
    : core(in_core),
      slot(std::move(on)),
      stream(std::move(accepted)),
      in(core.blocks),
      parser(head_limits(slot->settings.limits)),
      peer(stream->peer()),
      local(stream->local()),
      address(peer.host()),
      opened(core.now()) {
    core.clients.add(*this);
    ++core.connections;
    ++slot->connections;
}

Client::~Client() {
    scope_.cancel();
    --core.connections;
    --slot->connections;
}

bool Client::closing() const {
    const config::ListenerLimits& limits = slot->settings.limits;
    return core.draining || slot->closing || stream->closed() ||
           (limits.max_requests_per_connection != 0 && requests >= limits.max_requests_per_connection) ||
           (limits.max_connection_age > Duration{} && core.now() - opened >= limits.max_connection_age);
}

void Client::end_when_idle() {
    if (http2_ != nullptr) {
        http2_->shut_down();
        http2_->close_idle();
    } else if (idle && stream != nullptr) {
        stream->close();
    }
}

// ---- before the first request --------------------------------------------------------------------------------------

/// A peer that must say who its client is. What follows the header stays in `in`.
Task<bool> Client::read_proxy_header() {
    const Deadline deadline = Deadline::after(core.now(), slot->settings.head_timeout);
    for (;;) {
        const net::ProxyHeader header = net::decode_proxy_header(in.view());
        if (header.state == net::ProxyHeader::State::done) {
            if (header.known()) {
                peer = header.source;
                local = header.destination;
                address = peer.host();
            }
            in.consume(header.consumed);
            co_return true;
        }
        const bool refused = header.state == net::ProxyHeader::State::refused;
        const Result<std::size_t> n = refused ? Result<std::size_t>(0) : co_await stream->read(in.room(), deadline);
        if (!n || *n == 0) {
            ++core.tally.proxy_headers_refused;
            stream->abort();
            co_return false;
        }
        in.produced(*n);
    }
}

/// The connection draws the revision whose certificates it is shown, as a request draws its own.
Task<bool> Client::shake_hands() {
    tls_context = slot->made().tls;
    if (core.candidate != nullptr && !core.resident.shadow &&
        snapshot::choose_arm(core.resident, core.random.next(), core.now()) == Arm::candidate) {
        const auto& theirs = core.candidate->snapshot->listeners;
        const auto same = std::ranges::find(theirs, slot->settings.address, &config::Listener::address);
        if (same != theirs.end()) {
            const auto at = static_cast<std::size_t>(same - theirs.begin());
            if (const auto& tls_of = core.candidate->prepared->listeners[at].tls) tls_context = tls_of;
        }
    }
    if (tls_context == nullptr) {
        stream->abort();
        co_return false;
    }
    std::string first(in.view());
    in.release();
    const Instant began = core.now();
    shaking_ = stream.get();
    auto session = co_await tls::accept(std::move(stream), tls_context,
                                        Deadline::after(began, slot->settings.head_timeout), std::move(first));
    shaking_ = nullptr;
    ++core.tally.handshakes;
    if (!session) {
        ++core.tally.handshake_failures;
        co_return false;
    }
    handshake = core.now() - began;
    tls = &(*session)->facts();
    stream = std::move(*session);
    co_return true;
}

/// The first bytes of a plain connection: HTTP/2 by prior knowledge, or HTTP/1.1. `more`: it ended before that.
Task<http::Preface> Client::sniff() {
    const Deadline deadline = Deadline::after(core.now(), slot->settings.head_timeout);
    if (in.empty()) {
        idle = true;
        const Result<void> ready = co_await stream->readable(deadline);
        idle = false;
        if (!ready) co_return http::Preface::more;
    }
    started = core.now();
    for (;;) {
        if (!in.empty()) {
            const http::Preface is = http::is_http2_preface(in.view());
            if (is != http::Preface::more) co_return is;
        }
        const Result<std::size_t> n = co_await stream->read(in.room(), deadline);
        if (!n || *n == 0) co_return in.empty() ? http::Preface::more : http::Preface::no;
        in.produced(*n);
    }
}

Task<void> Client::serve() {
    if (slot->made().proxy_protocol.contains(peer) && !co_await read_proxy_header()) co_return;
    const config::Listener& settings = slot->settings;
    if (settings.protocol == config::Protocol::tcp) co_return co_await serve_tcp(*this);
    bool http2 = false;
    if (settings.tls) {
        if (!co_await shake_hands()) co_return;
        http2 = tls->alpn == "h2";
    } else if (settings.http2) {
        const http::Preface preface = co_await sniff();
        if (preface == http::Preface::more) co_return;
        http2 = preface == http::Preface::yes;
    }
    if (http2) {
        co_await serve_http2();
    } else {
        co_await serve_http1();
    }
}

// ---- HTTP/2 --------------------------------------------------------------------------------------------------------

Task<void> Client::answer(std::unique_ptr<http::ServerStream> down) {
    ++requests;
    const std::uint32_t most = slot->settings.limits.max_requests_per_connection;
    if (most != 0 && requests >= most) http2_->shut_down();
    Exchange exchange(*this, *down, core.now());
    co_await exchange.carry();
}

Task<void> Client::retire_at(Instant when) {
    co_await core.network.sleep_until(when);
    http2_->shut_down();
}

Task<void> Client::serve_http2() {
    http2_ = std::make_unique<http::Http2Server>(
        core.network, *stream, http2_limits(slot->settings),
        [this](std::unique_ptr<http::ServerStream> down) { scope_.spawn(answer(std::move(down))); }, core.http2_counts);
    async::Scope age;
    if (const Duration most = slot->settings.limits.max_connection_age; most > Duration{}) {
        age.spawn(retire_at(opened + most));
    }
    if (core.draining || slot->closing) http2_->shut_down();
    const std::string received(in.view());
    in.release();
    const http::Http2End end = co_await http2_->run(received);
    age.cancel();
    if (end.why == http::Http2End::Why::flood) ++core.tally.http2_floods;
    co_await scope_.join();
    stream->close();
}

// ---- HTTP/1.1 ------------------------------------------------------------------------------------------------------

Task<void> Client::serve_http1() {
    while (co_await next_head()) {
        Http1ServerStream down(*this);
        {
            Exchange exchange(*this, down, started);
            co_await exchange.carry();
        }
        if (!down.finish()) break;
    }
    co_await say_goodbye();
}

Task<bool> Client::next_head() {
    const config::Listener& settings = slot->settings;
    parser.reset();
    if (in.empty()) {
        if (closing() && requests > 0) co_return false;  // one that was just accepted is served once
        in.release();
        idle = true;
        const Duration wait = requests == 0 ? settings.head_timeout : settings.idle_timeout;
        const Result<void> ready = co_await stream->readable(Deadline::after(core.now(), wait));
        idle = false;
        if (!ready) co_return false;
    }
    ++requests;
    started = core.now();
    const Deadline deadline = Deadline::after(started, settings.head_timeout);
    const std::size_t capacity = settings.limits.max_head_bytes + 1024;  // the parser refuses before this is full
    for (;;) {
        if (!in.empty()) {
            const http::Progress progress = parser.feed(in.view());
            if (progress == http::Progress::complete) co_return true;
            if (progress == http::Progress::refused) {
                co_await refuse(parser.refusal().status, Cause::bad_request, parser.refusal().reason);
                co_return false;
            }
            if (core.sheds()) {
                co_await refuse_for_memory();
                co_return false;
            }
        }
        reading_head_ = true;
        const Result<std::size_t> n = co_await stream->read(in.room(capacity), deadline);
        reading_head_ = false;
        if (n && *n > 0) {
            in.produced(*n);
            continue;
        }
        if (in.empty()) co_return false;
        if (!n && n.error().code == Code::timeout) {
            if (half_head_refused_) {
                co_await refuse_for_memory();
                co_return false;
            }
            co_await refuse(408, Cause::client_timeout, "the request's head took too long");
        } else {
            tell(0, cut() != Cause::none ? cut() : Cause::client_closed);
        }
        co_return false;
    }
}

/// Observes a request that has no valid head.
void Client::tell(std::uint16_t status, Cause cause) {
    Outcome outcome;
    outcome.revision = core.active->snapshot->revision;
    outcome.worker = core.settings.index;
    outcome.status = status;
    outcome.cause = cause;
    outcome.started = started;
    outcome.first_byte = outcome.total = core.now() - started;
    outcome.request_head_bytes = static_cast<std::uint32_t>(in.view().size());
    outcome.response_head_bytes = static_cast<std::uint32_t>(status == 0 ? 0 : out.size());
    outcome.client_key = keyed_hash(peer.host_bytes(), core.settings.hash_key);
    outcome.client = address;
    outcome.listener = slot->name;
    core.observe(outcome, {});
}

Task<void> Client::refuse(std::uint16_t status, Cause cause, std::string_view reason) {
    http::Draft draft;
    draft_own_answer(draft, {.status = status, .cause = cause, .reason = reason});
    out.clear();
    append_http1_response(out, draft, draft.framing, "close");
    append_own_text(out, cause, reason);
    const Deadline deadline = Deadline::after(core.now(), slot->settings.body_idle_timeout);
    const Result<void> sent = co_await stream->write_all(out, deadline);
    linger = sent.has_value();
    tell(sent ? status : 0, sent ? cause : Cause::client_closed);
}

Task<void> Client::say_goodbye() {
    if (stream->closed()) co_return;
    if (linger) {
        stream->shutdown_write();
        const Deadline deadline = Deadline::after(core.now(), linger_time);
        for (std::size_t thrown = 0; thrown < linger_bytes && cut() == Cause::none;) {
            in.clear();
            const Result<std::size_t> n = co_await stream->read(in.room(), deadline);
            if (!n || *n == 0) break;
            thrown += *n;
        }
    }
    stream->close();
}

// ---- accepting -----------------------------------------------------------------------------------------------------

Task<void> serve(Worker::Core& core, std::shared_ptr<ListenerSlot> slot, std::unique_ptr<net::Stream> stream) {
    Client client(core, std::move(slot), std::move(stream));
    co_await client.serve();
}

Task<void> accept_from(Worker::Core& core, std::shared_ptr<ListenerSlot> slot) {
    for (;;) {
        auto stream = co_await slot->listener->accept({});
        if (!stream) co_return;
        const bool short_of_memory = core.sheds() || !core.affords_connection();
        if (short_of_memory || slot->connections >= core.connection_limit(*slot)) {
            ++core.tally.connections_refused;
            if (short_of_memory) ++core.settings.shed->connections_refused;
            (*stream)->abort();
            continue;
        }
        ++core.tally.connections_accepted;
        core.scope.spawn(serve(core, slot, std::move(*stream)));
    }
}

}  // namespace plimsoll::proxy
