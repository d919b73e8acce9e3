// One attempt of an exchange: a connection, the request on it, the head of the answer.
#include <fmt/format.h>

#include <algorithm>

#include "proxy/destination.h"
#include "proxy/exchange.h"
#include "proxy/grpc_answer.h"
#include "proxy/grpc_timeout.h"
#include "proxy/raw_client_stream.h"
#include "proxy/spans.h"
#include "proxy/trace_context.h"
#include "proxy/websocket.h"

namespace plimsoll::proxy {

using async::Deadline;
using async::Task;

Task<Cause> Exchange::attempt() {
    begin_attempt();
    for (bool fresh = false;; fresh = true) {
        Cause cause = co_await connect(fresh);
        if (cause == Cause::none) cause = co_await send();
        if (cause == Cause::none) cause = co_await read_head();
        if (cause != Cause::upstream_reset || fresh || !stale()) co_return cause;
        drop_upstream();
    }
}

/// A kept connection that the endpoint was closing while we sent: nothing came back, so the same endpoint is asked once
/// more on a fresh one, unless that could do the work twice.
bool Exchange::stale() const {
    if (!last_attempt().reused || up_ == nullptr || (up_->heard() && !unprocessed_)) return false;
    if (upload_failed_ != Cause::none || client_.cut() != Cause::none) return false;
    if (body_read_on_) return false;  // its beginning is not here any more
    return unprocessed_ || !up_->sent() || http::is_idempotent(head_.method);
}

void Exchange::begin_attempt() {
    attempt_started_ = core_.now();
    attempts_began_[outcome_.attempt_count] = attempt_started_ - outcome_.started;
    Attempt& attempt = outcome_.attempt[outcome_.attempt_count++];
    attempt = Attempt{};
    attempt.endpoint = pool_->facts.members[chosen_.value].id;
    attempt.panic = chosen_in_panic_;
    outcome_.grpc_status = -1;
    by_grpc_ = false;
    others_ = core_.arrive(attempt.endpoint);
    unprocessed_ = false;
    own_.reason = {};  // of an attempt before this one
    sent_earlier_ = sent_;
    attempting_ = true;
}

void Exchange::end_attempt(Cause cause) {
    Attempt& attempt = last_attempt();
    attempt.cause = cause;
    balance::EndpointState& state = core_.endpoints[attempt.endpoint.value];
    core_.leave(attempt.endpoint);
    attempting_ = false;
    if (pool_ == nullptr) return;                           // a tunnel: what it taught was told when it was opened
    if (by_grpc_ && cause == Cause::upstream_idle) return;  // a stream on which nobody had anything to say
    const Duration took = attempt.status != 0 ? attempt.first_byte : core_.now() - attempt_started_;
    balance::learn(state, pool_->facts, attempt, took, others_, core_.now());
    core_.observe(attempt, pool_->facts);
}

void Exchange::give_up_attempt(Cause cause) {
    end_attempt(cause);
    drop_upstream();
}

void Exchange::drop_upstream() {
    scope_.cancel();
    uploading_ = false;
    up_.reset();  // gives the connection back if neither side owes the other anything on it
    core_.upstreams.freed(last_attempt().endpoint);
}

// ---- clocks --------------------------------------------------------------------------------------------------------

Duration Exchange::total_time() const {
    const Duration own = route_->timeout.value_or(pool_->timeouts.total);
    return grpc_timeout_ ? std::min(own, *grpc_timeout_) : own;
}

Deadline Exchange::total_deadline() const {
    return Deadline::after(std::max(outcome_.started, sent_at_), total_time());
}

/// While the client still sends its body, the endpoint cannot be late: the clocks start when the request was sent.
Deadline Exchange::head_deadline() const {
    const Instant now = core_.now();
    const Duration per_try = pool_->timeouts.per_try;
    if (uploading_) return async::earlier(Deadline::after(now, per_try), Deadline::after(now, total_time()));
    const Instant from = std::max(attempt_started_, sent_at_);
    return async::earlier(Deadline::after(from, per_try), total_deadline());
}

Cause Exchange::late() const {
    return total_deadline().passed(core_.now()) ? Cause::total_timeout : Cause::try_timeout;
}

/// Why the endpoint's stream failed before the head of the answer.
Cause Exchange::broken(const Error& error) const {
    if (upload_failed_ != Cause::none) return upload_failed_;
    switch (error.code) {
        case Code::timeout: return late();
        case Code::cancelled:
            if (client_.cut() != Cause::none) return client_.cut();
            return down_.gone() ? Cause::client_closed : Cause::internal;
        case Code::protocol: return Cause::upstream_protocol;
        default: return Cause::upstream_reset;
    }
}

// ---- the steps -----------------------------------------------------------------------------------------------------

Task<Cause> Exchange::connect(bool fresh) {
    Attempt& attempt = last_attempt();
    attempt.reused = false;
    const PreparedPool& made = pinned_->slot().prepared->pools[pool_at_.value];
    if (pool_->tls && made.tls == nullptr) {
        own_.reason = "the pool's certificates are not loaded";
        co_return Cause::upstream_tls;
    }
    Destination to = destination(*pool_, made, chosen_, head_.authority(), client_);
    const Instant start = core_.now();
    const Deadline own = Deadline::after(start, pool_->timeouts.connect);
    const Deadline deadline = async::earlier(own, total_deadline());
    Result<void> done;
    if (head_.method == http::Method::connect && upgrade_to_.empty()) {
        Result<Upstreams::Raw> raw = co_await core_.upstreams.connect(to, deadline);
        if (raw) {
            attempt.connect = core_.now() - start;
            attempt.tls = raw->tls;
            up_ = std::make_unique<RawClientStream>(std::move(raw->stream), core_.blocks);
        } else {
            done = std::unexpected(raw.error());
        }
    } else {
        Result<Upstreams::Opened> opened = co_await core_.upstreams.open(std::move(to), fresh, deadline);
        if (opened) {
            attempt.reused = opened->reused;
            attempt.connect = opened->reused ? Duration{} : opened->connect;
            attempt.tls = opened->reused ? Duration{} : opened->tls;
            up_ = std::move(opened->stream);
        } else {
            done = std::unexpected(opened.error());
        }
    }
    if (client_.cut() != Cause::none) co_return client_.cut();
    if (down_.gone()) co_return Cause::client_closed;
    if (done) co_return Cause::none;
    attempt.connect = core_.now() - start;
    const Cause cause = connect_cause(done.error(), pool_->tls.has_value(), own.passed(core_.now()));
    if (cause == Cause::limited) own_.reason = "no descriptor, port or connection is left to reach the server with";
    co_return cause;
}

/// `sent`: the trace as the endpoint is to see it; none if that is not ours to say.
void Exchange::draft_request(http::Draft& draft, std::string_view fallback_host, bool http2_up, const Trace& sent) {
    const std::string element = forwarded_element(client_.peer);
    draft_upstream(draft, head_,
                   {.peer = client_.address,
                    .element = element,
                    .trust = asker_.believed,
                    .tls = client_.tls != nullptr,
                    .request_id = outcome_.request_id,
                    .fallback_host = fallback_host,
                    .host = actions().rewrite ? std::string_view(actions().rewrite->host) : std::string_view{},
                    .path = is_rewritten_ ? std::string_view(rewritten_) : std::string_view{},
                    .protocol = upgrade_to_,
                    .own_trace = exists(sent),
                    .keep_tracestate = keep_tracestate_});
    if (exists(sent)) {
        const auto text = traceparent(sent);
        draft.add("traceparent", draft.keep({text.data(), text.size()}));
    }
    const bool passes = actions().trailers == config::Trailers::pass;
    if ((http2_up || (passes && upgrade_to_.empty())) && asks_for_trailers(head_.fields)) {
        draft.add("TE", "trailers");
        if (!http2_up) draft.add("Connection", "TE");  // RFC 9110 10.1.4
    }
    if (passes) {
        announce_trailers(draft, head_.fields, down_.version(), http2_up ? http::Version::http2 : http::Version::http1);
    }
    if (grpc_timeout_) {
        const Duration left = total_deadline().at - core_.now();
        draft.set("grpc-timeout", draft.keep(format_grpc_timeout(left)));
    }
    if (const std::string& name = pool_->timeouts.deadline_header; !name.empty()) {
        const Duration left = std::max(head_deadline().at - core_.now(), Duration{});
        const fmt::format_int text(std::chrono::duration_cast<std::chrono::milliseconds>(left).count());
        draft.set(name, draft.keep({text.data(), text.size()}));
    }
    if (!upgrade_to_.empty() && !http2_up) websocket_request(draft, head_, core_.random);
    if (auth_) auth_->write_upstream(draft);
    apply(draft, actions().request_headers);
}

Task<Cause> Exchange::send() {
    Trace trace = outcome_.trace;
    if (exists(trace)) trace.span_id = attempt_span_id(trace, outcome_.attempt_count - 1u);
    draft_request(scratch_.up(), pool_->endpoints[chosen_.value].address.host, up_->version() == http::Version::http2,
                  trace);
    if (passes_hints()) up_->want_hints();
    const bool tunnel = !upgrade_to_.empty() || head_.method == http::Method::connect;
    const bool last = body_ended_ && !tunnel;
    const http::Outgoing request{
        .head = &scratch_.up(), .data = first_.data, .last = last, .trailers = last ? request_trailers() : nullptr};
    const Result<void> sent = co_await up_->send(request, head_deadline());
    sent_ = sent_ || up_->sent();
    if (!sent) {
        unprocessed_ = sent.error().retry == Retry::yes;
        if (unprocessed_) sent_ = sent_earlier_;
        // A reset may stand behind an answer that came early ("413", then close): reading finds out.
        const Cause cause = broken(sent.error());
        co_return cause == Cause::upstream_reset && !unprocessed_ ? Cause::none : cause;
    }
    if (body_ended_ || tunnel) co_return Cause::none;
    if (head_.expects_continue && first_.data.empty() && !continue_sent_) {
        continue_sent_ = true;
        http::Draft& go_on = scratch_.down();
        go_on.clear();
        go_on.status = 100;
        const Deadline soon = Deadline::after(core_.now(), listener().body_idle_timeout);
        if (!co_await down_.send_interim(go_on, soon)) co_return Cause::client_closed;
    }
    uploading_ = true;
    scope_.spawn(upload());
    co_return Cause::none;
}

Task<Cause> Exchange::read_head() {
    Attempt& attempt = last_attempt();
    for (;;) {
        const Result<void> there = co_await up_->read_head(head_deadline());
        if (there && up_->has_hints()) {
            const Cause cause = co_await pass_hints();
            if (cause != Cause::none) co_return cause;
            continue;
        }
        if (there) {
            attempt.status = up_->head().status;
            attempt.first_byte = core_.now() - attempt_started_;
            by_grpc_ = outcome_.spoken == Spoken::http2 && asks_by_grpc(up_->head().fields);
            if (by_grpc_) heed_grpc_status(up_->head().fields, false);
            if (attempt.status == 503) core_.heed_retry_after(attempt.endpoint, pool_->facts, up_->head().fields);
            co_return Cause::none;
        }
        if (there.error().code == Code::timeout && (uploading_ || !head_deadline().passed(core_.now()))) continue;
        unprocessed_ = there.error().retry == Retry::yes;
        if (unprocessed_) sent_ = sent_earlier_;
        co_return broken(there.error());
    }
}

/// RFC 8297 section 3: a client of HTTP/1.1 that knows no 1xx but 100 takes hints for the answer, and the answer for
/// that to its next request; in HTTP/2 nothing can be mistaken for another stream's.
bool Exchange::passes_hints() const {
    if (down_.version() == http::Version::http2) return actions().early_hints != config::EarlyHints::off;
    return actions().early_hints == config::EarlyHints::all && head_.minor_version > 0;
}

Task<Cause> Exchange::pass_hints() {
    const std::vector<http::Headers> all = up_->take_hints();
    for (const http::Headers& hints : all) {
        http::Draft& draft = scratch_.down();
        draft_hints(draft, hints, actions().response_headers);
        if (draft.lines().empty()) continue;
        const Deadline soon = Deadline::after(core_.now(), listener().body_idle_timeout);
        // Some of it may have gone: no answer of ours can follow.
        if (!co_await down_.send_interim(draft, soon)) co_return Cause::client_closed;
    }
    co_return Cause::none;
}

// ---- a copy for another pool ---------------------------------------------------------------------------------------

namespace {

/// Copies under way at once in one worker: what may be lost anyway must not become the load.
constexpr std::size_t max_mirrors = 256;
constexpr Duration mirror_time = std::chrono::seconds(10);

/// One copy, with all it needs.
struct Copy {
    std::unique_ptr<Drafts> drafts = std::make_unique<Drafts>();
    std::string body;
    net::Address address, client, local;
    config::PoolLimits limits;
    std::uint32_t max_connections = 0;
    EndpointId endpoint;
    bool http2 = false;
    config::ProxyProtocol proxy_protocol = config::ProxyProtocol::off;
    std::shared_ptr<const tls::ClientContext> tls;
    std::string server_name;
};

class CountedMirror {
public:
    explicit CountedMirror(Worker::Core& core) : core_(core) { ++core_.mirrors; }
    ~CountedMirror() { --core_.mirrors; }
    CountedMirror(const CountedMirror&) = delete;
    CountedMirror& operator=(const CountedMirror&) = delete;

private:
    Worker::Core& core_;
};

Task<void> carry_copy(Worker::Core& core, const Copy* copy) {
    const Deadline deadline = Deadline::after(core.now(), mirror_time);
    Destination to{.endpoint = copy->endpoint,
                   .address = copy->address,
                   .limits = copy->limits,
                   .max_connections = copy->max_connections,
                   .http2 = copy->http2,
                   .tls = copy->tls,
                   .server_name = copy->server_name,
                   .proxy_protocol = copy->proxy_protocol,
                   .client = copy->client,
                   .local = copy->local};
    auto opened = co_await core.upstreams.open(std::move(to), false, deadline);
    if (!opened) co_return;
    http::ClientStream& up = *opened->stream;
    const http::Outgoing request{.head = &copy->drafts->up, .data = copy->body, .last = true};
    if (!co_await up.send(request, deadline) || !co_await up.read_head(deadline)) co_return;
    for (http::BodyPiece piece = up.take(); !piece.ended && piece.refusal.status == 0; piece = up.take()) {
        if (!co_await up.more(deadline)) co_return;
    }
}

Task<void> send_copy(Worker::Core& core, std::unique_ptr<Copy> copy) {
    const CountedMirror counted(core);
    co_await carry_copy(core, copy.get());
    core.upstreams.freed(copy->endpoint);
}

}  // namespace

/// Detached and bounded: nobody waits for it, and nothing of it counts as the request's.
void Exchange::mirror() {
    if (!actions().mirror || !core_.random.chance(actions().mirror->share)) return;
    if (core_.mirrors >= max_mirrors || !body_ended_ || !upgrade_to_.empty() || head_.method == http::Method::connect) {
        ++core_.tally.mirrors_skipped;
        return;
    }
    const PoolIndex at = actions().mirror->pool;
    const snapshot::Pool& pool = pinned_->slot().snapshot->pool(at);
    const PreparedPool& made = pinned_->slot().prepared->pools[at.value];
    balance::Cursor& cursor = pinned_->slot().cursors[at.value];
    core_.adopt_ejections();
    const auto pick = balance::pick(pool.facts, core_.endpoints, cursor, {}, core_.now(), core_.random);
    if (!pick || (pool.tls && made.tls == nullptr)) {
        ++core_.tally.mirrors_skipped;
        return;
    }
    ++core_.tally.mirrored;
    auto copy = std::make_unique<Copy>();
    copy->endpoint = pool.facts.members[pick->index.value].id;
    copy->address = made.addresses[pick->index.value];
    copy->client = client_.peer;
    copy->local = client_.local;
    copy->limits = pool.limits;
    copy->max_connections = pool.part.max_connections_per_endpoint;
    copy->proxy_protocol = pool.proxy_protocol;
    copy->http2 = pool.protocol == config::PoolProtocol::http2;
    copy->tls = made.tls;
    copy->server_name = server_name(pool, pick->index, head_.authority());
    copy->body = first_.data;
    http::Draft& draft = copy->drafts->up;
    attempt_started_ = core_.now();  // what is left is counted from here
    draft_request(draft, pool.endpoints[pick->index.value].address.host, copy->http2, outcome_.trace);
    draft.add("X-Plimsoll-Mirror", "true");
    draft.own();  // the request's own bytes go when it ends
    core_.scope.spawn(send_copy(core_, std::move(copy)));
}

}  // namespace plimsoll::proxy
