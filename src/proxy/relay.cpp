// Bodies of an exchange: the client's to the endpoint, the endpoint's to the client, both at once if need be; and
// tunnels. Each is pulled: what the taker does not take is not read.
#include <algorithm>

#include "proxy/exchange.h"
#include "proxy/grpc_answer.h"
#include "proxy/websocket.h"

namespace plimsoll::proxy {

using async::Deadline;
using async::Task;

void Exchange::fail_upload(Cause cause, std::uint16_t status, std::string_view reason) {
    upload_failed_ = cause;
    own_.status = status;
    own_.reason = reason;
    up_->abort();  // wakes whoever waits for the answer
}

/// Runs beside the wait for the answer. Ends when the body has ended, the client fails, or the endpoint takes no more.
Task<void> Exchange::upload() {
    while (!body_ended_) {
        const Deadline slow = Deadline::after(core_.now(), listener().body_idle_timeout);
        if (const Result<void> more = co_await down_.more(slow); !more) {
            const bool late = more.error().code == Code::timeout;
            if (late && answered()) continue;  // both talk: a client may listen only, while the endpoint is not silent
            fail_upload(late                           ? Cause::client_timeout
                        : client_.cut() != Cause::none ? client_.cut()
                                                       : Cause::client_closed,
                        0, {});
            break;
        }
        body_read_on_ = true;
        const http::BodyPiece piece = down_.take();
        body_ended_ = piece.ended;
        outcome_.request_body_bytes += piece.data.size();
        if (piece.refusal.status != 0) {
            fail_upload(Cause::bad_request, piece.refusal.status, piece.refusal.reason);
            break;
        }
        if (over_limit()) {
            fail_upload(Cause::bad_request, 413, "the request's body is larger than this listener takes");
            break;
        }
        if (piece.data.empty() && !piece.ended) continue;
        const Deadline stalled = Deadline::after(core_.now(), pool_->timeouts.idle);
        const http::Outgoing out{
            .data = piece.data, .last = piece.ended, .trailers = piece.ended ? request_trailers() : nullptr};
        if (const Result<void> sent = co_await up_->send(out, stalled); !sent) {
            // Reset: perhaps behind an early answer, which the other side of this exchange is reading.
            if (sent.error().code == Code::timeout) fail_upload(Cause::upstream_idle, 0, {});
            break;
        }
    }
    if (body_ended_) sent_at_ = core_.now();
    uploading_ = false;
}

/// From HTTP/2 to HTTP/2 always (gRPC cannot do without), else where the route says so.
bool Exchange::passes_trailers() const {
    if (actions().trailers == config::Trailers::pass) return true;
    return down_.version() == http::Version::http2 && up_->version() == http::Version::http2;
}

/// A client of HTTP/1.1 gets trailers if it said that it takes them (RFC 9110 6.5.1).
bool Exchange::takes_trailers() const {
    if (down_.version() == http::Version::http2) return true;
    return head_.minor_version > 0 && asks_for_trailers(head_.fields);
}

const http::Draft* Exchange::request_trailers() {
    if (!passes_trailers() || down_.trailers().empty()) return nullptr;
    draft_trailers(scratch_.up_trailers(), down_.trailers(), connection_list(head_.fields), actions().request_headers);
    return &scratch_.up_trailers();
}

const http::Draft* Exchange::answer_trailers() {
    if (!passes_trailers() || up_->trailers().empty() || !takes_trailers()) return nullptr;
    draft_trailers(scratch_.down_trailers(), up_->trailers(), answer_connection_, actions().response_headers);
    return &scratch_.down_trailers();
}

void Exchange::draft_answer() {
    http::Draft& draft = scratch_.down();
    draft_client(draft, head_, up_->head());
    answer_connection_ = passes_trailers() ? connection_list(up_->head().fields) : std::string();
    if (opens_tunnel()) {
        draft.framing = {};
        if (down_.version() == http::Version::http2 || upgrade_to_.empty()) {
            draft.status = 200;
            draft.reason = {};
            draft.remove("Sec-WebSocket-Accept");
        } else {
            draft.status = 101;
            draft.reason = {};
            draft.add("Upgrade", upgrade_to_);
            if (up_->head().status != 101) {
                const std::string accept = websocket_accept(head_.fields.get("sec-websocket-key"));
                draft.set("Sec-WebSocket-Accept", draft.keep(accept));
            }
        }
    }
    if (actions().trailers == config::Trailers::pass && takes_trailers()) {
        announce_trailers(draft, up_->head().fields, up_->version(), down_.version());
    }
    if (auth_) auth_->write_client(draft);
    apply(draft, actions().response_headers);
    const auto& sessions = pinned_->slot().prepared->pools[pool_at_.value].sessions;
    if (sessions != nullptr && (session_ != last_attempt().endpoint || session_renew_)) {
        const auto cookie = sessions->set_cookie(last_attempt().endpoint, core_.network.wall(), client_.tls != nullptr);
        if (cookie) draft.add("Set-Cookie", draft.keep(*cookie));
    }
}

void Exchange::heed_grpc_status(const http::Fields& fields, bool all) {
    Attempt& attempt = last_attempt();
    const std::string_view value = fields.get("grpc-status");
    if (value.empty() && (!all || outcome_.grpc_status >= 0 || attempt.status != 200)) return;
    outcome_.grpc_status = parse_grpc_status(value);
    // What says more about the request than about the server teaches nothing about it: a method that it does not have,
    // and the deadline that the caller set.
    constexpr auto deadline = static_cast<std::int8_t>(GrpcStatus::deadline_exceeded),
                   unimplemented = static_cast<std::int8_t>(GrpcStatus::unimplemented);
    const bool about_request =
        outcome_.grpc_status == unimplemented || (outcome_.grpc_status == deadline && grpc_timeout_);
    if (attempt.status == 200 && !about_request) attempt.status = http_status(outcome_.grpc_status);
}

Task<Cause> Exchange::relay_answer() {
    draft_answer();
    const bool tunnel = opens_tunnel();
    const Cause cause = co_await (tunnel ? carry_tunnel() : relay_body());
    if (cause != Cause::none && !answered() && cause != Cause::client_closed && cause != Cause::client_timeout) {
        co_return cause;  // nothing of it was sent: we can still answer ourselves
    }
    if (cause != Cause::none) down_.abort();  // a cut answer must not look like a whole one
    drop_upstream();
    end_attempt(cause);
    co_return cause;
}

Task<Cause> Exchange::relay_body() {
    const http::Draft* head = &scratch_.down();
    for (;;) {
        const http::BodyPiece piece = up_->take();
        if (piece.refusal.status != 0) co_return answered() ? Cause::upstream_truncated : Cause::upstream_protocol;
        if (head != nullptr || !piece.data.empty() || piece.ended) {
            const Deadline slow = Deadline::after(core_.now(), listener().body_idle_timeout);
            const http::Outgoing out{.head = head,
                                     .data = piece.data,
                                     .last = piece.ended,
                                     .trailers = piece.ended ? answer_trailers() : nullptr};
            if (const Result<void> sent = co_await down_.send(out, slow); !sent) {
                if (client_.cut() != Cause::none) co_return client_.cut();
                co_return sent.error().code == Code::timeout ? Cause::client_timeout : Cause::client_closed;
            }
        }
        if (head != nullptr) {
            outcome_.status = head->status;
            outcome_.first_byte = core_.now() - outcome_.started;
            outcome_.response_head_bytes = static_cast<std::uint32_t>(head->bytes());
            head = nullptr;
        }
        outcome_.response_body_bytes += piece.data.size();
        if (piece.ended) {
            if (by_grpc_) {
                heed_grpc_status(up_->trailers(), true);
                if (outcome_.status == 200) outcome_.status = http_status(outcome_.grpc_status);
            }
            co_return Cause::none;
        }
        const Deadline stalled = Deadline::after(core_.now(), pool_->timeouts.idle);
        if (const Result<void> more = co_await up_->more(stalled); !more) {
            if (upload_failed_ != Cause::none) co_return upload_failed_;
            if (client_.cut() != Cause::none) co_return client_.cut();
            if (down_.gone()) co_return Cause::client_closed;
            co_return more.error().code == Code::timeout ? Cause::upstream_idle : Cause::upstream_truncated;
        }
    }
}

// ---- tunnels -------------------------------------------------------------------------------------------------------

/// The endpoint agreed to another protocol that was asked for, or CONNECT has reached it.
bool Exchange::opens_tunnel() const {
    const std::uint16_t status = up_->head().status;
    if (status == 101) return true;
    const bool ok = status >= 200 && status < 300;
    if (head_.method == http::Method::connect && upgrade_to_.empty()) return ok;
    return ok && !upgrade_to_.empty() && up_->version() == http::Version::http2;
}

void Exchange::unpin() {
    names_ = std::make_unique<Names>();
    names_->route = route_->name;
    names_->pool = pool_->name;
    names_->endpoint = pool_->endpoints[chosen_.value].name;
    names_->tunnel_idle = pool_->timeouts.tunnel_idle;
    // The head's memory is given back as well.
    outcome_.method = names_->method = outcome_.method;
    outcome_.host = names_->host = outcome_.host;
    outcome_.path = names_->path = outcome_.path;
    outcome_.request_id = names_->request_id = outcome_.request_id;
    route_ = nullptr;
    pool_ = nullptr;
    target_ = nullptr;
    pinned_.reset();
}

Task<Cause> Exchange::pump(http::MessageStream& from, http::MessageStream& to, std::uint64_t& bytes, Cause when_from,
                           Cause when_to) {
    for (;;) {
        const http::BodyPiece piece = from.take();
        if (piece.refusal.status != 0) co_return when_from;
        if (!piece.data.empty() || piece.ended) {
            last_byte_ = core_.now();
            bytes += piece.data.size();
            const Deadline stalled = Deadline::after(core_.now(), names_->tunnel_idle);
            if (!co_await to.send({.data = piece.data, .last = piece.ended}, stalled)) co_return when_to;
        }
        if (piece.ended) co_return Cause::none;
        const Result<void> more = co_await from.more(Deadline::after(last_byte_, names_->tunnel_idle));
        if (more) continue;
        if (more.error().code != Code::timeout) co_return when_from;
        if (core_.now() - last_byte_ >= names_->tunnel_idle) co_return Cause::tunnel_idle;
    }
}

/// The client's direction, beside the endpoint's. A client that ends its side may still be answered.
Task<void> Exchange::pump_up() {
    tunnel_broken_ =
        co_await pump(down_, *up_, outcome_.request_body_bytes, Cause::client_closed, Cause::upstream_truncated);
    if (tunnel_broken_ != Cause::none) up_->abort();  // wakes the other direction
    if (lingering_ != nullptr) lingering_->wake_all();
}

/// The endpoint has ended its side: the client gets a while to end its own, from now on and after each byte of it.
Task<Cause> Exchange::linger() {
    names_->tunnel_idle = std::min(names_->tunnel_idle, listener().body_idle_timeout);
    net::Parking parking(core_.network);
    lingering_ = &parking;
    while (scope_.running() > 0 && core_.now() - last_byte_ < names_->tunnel_idle) {
        (void)co_await parking.wait(Deadline::after(last_byte_, names_->tunnel_idle));
    }
    lingering_ = nullptr;
    scope_.cancel();
    co_return tunnel_broken_ == Cause::tunnel_idle ? Cause::none : tunnel_broken_;
}

Task<Cause> Exchange::carry_tunnel() {
    http::Draft& head = scratch_.down();
    const Deadline slow = Deadline::after(core_.now(), listener().body_idle_timeout);
    if (!co_await down_.send({.head = &head}, slow)) co_return Cause::client_closed;
    outcome_.status = head.status;
    outcome_.first_byte = core_.now() - outcome_.started;
    outcome_.response_head_bytes = static_cast<std::uint32_t>(head.bytes());
    outcome_.tunnel = true;
    last_byte_ = core_.now();
    // What the attempt teaches is known now; the tunnel itself may live for days and over many revisions.
    balance::EndpointState& state = core_.endpoints[last_attempt().endpoint.value];
    balance::learn(state, pool_->facts, last_attempt(), last_attempt().first_byte, others_, core_.now());
    core_.observe(last_attempt(), pool_->facts);
    unpin();
    scope_.spawn(pump_up());
    const Cause down =
        co_await pump(*up_, down_, outcome_.response_body_bytes, Cause::upstream_truncated, Cause::client_closed);
    if (tunnel_broken_ != Cause::none) co_return tunnel_broken_;
    if (client_.cut() != Cause::none) co_return client_.cut();
    if (down != Cause::none) co_return down;
    co_return co_await linger();
}

}  // namespace plimsoll::proxy
