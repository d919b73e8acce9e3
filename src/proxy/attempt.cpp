// One attempt of an exchange: a connection, the request on it, the head of the answer.
#include <algorithm>

#include "proxy/exchange.h"
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
    if (!last_attempt().reused || up_ == nullptr || up_->heard()) return false;
    if (upload_failed_ != Cause::none || core_.cutting) return false;
    return unprocessed_ || !up_->sent() || (http::is_idempotent(head_.method) && !body_read_on_);
}

void Exchange::begin_attempt() {
    attempt_started_ = core_.now();
    attempts_began_[outcome_.attempt_count] = attempt_started_ - outcome_.started;
    Attempt& attempt = outcome_.attempt[outcome_.attempt_count++];
    attempt = Attempt{};
    attempt.endpoint = pool_->facts.members[chosen_.value].id;
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
    if (pool_ == nullptr) return;  // a tunnel: what it taught was told when it was opened
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
            return core_.cutting ? Cause::shutting_down : down_.gone() ? Cause::client_closed : Cause::internal;
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
    Destination to{.endpoint = attempt.endpoint,
                   .address = made.addresses[chosen_.value],
                   .limits = pool_->limits,
                   .max_connections = pool_->part.max_connections_per_endpoint,
                   .http2 = pool_->protocol == config::PoolProtocol::http2,
                   .tls = made.tls,
                   .server_name = {},
                   .proxy_protocol = pool_->proxy_protocol,
                   .client = client_.peer,
                   .local = client_.local};
    if (pool_->tls) {
        const std::string& own_name = snapshot::tls_name(*pool_, pool_->endpoints[chosen_.value]);
        to.server_name = own_name.empty() ? std::string(without_port(head_.authority())) : own_name;
    }
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
    if (core_.cutting) co_return Cause::shutting_down;
    if (down_.gone()) co_return Cause::client_closed;
    if (done) co_return Cause::none;
    attempt.connect = core_.now() - start;
    switch (done.error().code) {
        case Code::refused: co_return Cause::connect_refused;
        case Code::limit:  // ours, not the endpoint's: nobody is ejected for it
            own_.reason = "no descriptor, port or connection is left to reach the server with";
            co_return Cause::limited;
        case Code::timeout: co_return own.passed(core_.now()) ? Cause::connect_timeout : Cause::total_timeout;
        case Code::protocol:
        case Code::invalid: co_return pool_->tls ? Cause::upstream_tls : Cause::connect_failed;
        default: co_return Cause::connect_failed;
    }
}

void Exchange::draft_request() {
    http::Draft& draft = scratch_.up();
    const snapshot::Endpoint& endpoint = pool_->endpoints[chosen_.value];
    const std::string element = forwarded_element(client_.peer);
    draft_upstream(draft, head_,
                   {.peer = client_.address,
                    .element = element,
                    .trust = asker_.believed,
                    .tls = client_.tls != nullptr,
                    .request_id = outcome_.request_id,
                    .fallback_host = endpoint.address.host,
                    .host = actions().rewrite ? std::string_view(actions().rewrite->host) : std::string_view{},
                    .path = is_rewritten_ ? std::string_view(rewritten_) : std::string_view{},
                    .protocol = upgrade_to_,
                    .own_trace = exists(outcome_.trace),
                    .keep_tracestate = keep_tracestate_});
    if (exists(outcome_.trace)) {
        Trace sent = outcome_.trace;
        sent.span_id = attempt_span_id(sent, outcome_.attempt_count - 1u);
        const auto text = traceparent(sent);
        draft.add("traceparent", draft.keep({text.data(), text.size()}));
    }
    const bool http2_up = up_->version() == http::Version::http2;
    if (http2_up && asks_for_trailers(head_.fields)) draft.add("te", "trailers");
    if (grpc_timeout_) {
        const Duration left = total_deadline().at - core_.now();
        draft.set("grpc-timeout", draft.keep(format_grpc_timeout(left)));
    }
    if (!upgrade_to_.empty() && !http2_up) websocket_request(draft, head_, core_.random);
    apply(draft, actions().request_headers);
}

Task<Cause> Exchange::send() {
    draft_request();
    const bool tunnel = !upgrade_to_.empty() || head_.method == http::Method::connect;
    const http::Outgoing request{
        .head = &scratch_.up(), .data = first_.data, .last = body_ended_ && !tunnel, .trailers = nullptr};
    const Result<void> sent = co_await up_->send(request, head_deadline());
    sent_ = sent_ || up_->sent();
    if (!sent) {
        unprocessed_ = sent.error().retry == Retry::yes;
        // A reset may stand behind an answer that came early ("413", then close): reading finds out.
        const Cause cause = broken(sent.error());
        co_return cause == Cause::upstream_reset && !unprocessed_ ? Cause::none : cause;
    }
    if (body_ended_ || tunnel) co_return Cause::none;
    if (head_.expects_continue && first_.data.empty() && !continue_sent_) {
        continue_sent_ = true;
        const Deadline soon = Deadline::after(core_.now(), listener().body_idle_timeout);
        if (!co_await down_.send_interim(100, soon)) co_return Cause::client_closed;
    }
    uploading_ = true;
    scope_.spawn(upload());
    co_return Cause::none;
}

Task<Cause> Exchange::read_head() {
    Attempt& attempt = last_attempt();
    for (;;) {
        const Result<void> there = co_await up_->read_head(head_deadline());
        if (there) {
            attempt.status = up_->head().status;
            attempt.first_byte = core_.now() - attempt_started_;
            heed_retry_after();
            co_return Cause::none;
        }
        if (there.error().code == Code::timeout && (uploading_ || !head_deadline().passed(core_.now()))) continue;
        unprocessed_ = there.error().retry == Retry::yes;
        if (unprocessed_) sent_ = sent_earlier_;
        co_return broken(there.error());
    }
}

/// A server that says when it can serve again is not asked before, whether this answer is passed on or not.
void Exchange::heed_retry_after() {
    if (last_attempt().status != 503) return;
    const auto after = balance::retry_after(up_->head().fields.get(http::Known::retry_after), core_.network.wall());
    if (!after) return;
    balance::EndpointState& state = core_.endpoints[last_attempt().endpoint.value];
    const std::size_t out = balance::count_out(pool_->facts, core_.endpoints, core_.now());
    (void)balance::hold_back(state, 503, *after, pool_->facts.ejection, pool_->facts.members.size(), out, core_.now());
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
    EndpointId endpoint;
    bool http2 = false;
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

Task<void> send_copy(Worker::Core& core, std::unique_ptr<Copy> copy) {
    const CountedMirror counted(core);
    const Deadline deadline = Deadline::after(core.now(), mirror_time);
    Destination to{.endpoint = copy->endpoint,
                   .address = copy->address,
                   .limits = copy->limits,
                   .http2 = copy->http2,
                   .tls = copy->tls,
                   .server_name = copy->server_name,
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
    copy->http2 = pool.protocol == config::PoolProtocol::http2;
    copy->tls = made.tls;
    if (pool.tls) copy->server_name = snapshot::tls_name(pool, pool.endpoints[pick->index.value]);
    copy->body = first_.data;
    http::Draft& draft = copy->drafts->up;
    draft_upstream(draft, head_,
                   {.peer = client_.address,
                    .element = "for=unknown",
                    .trust = asker_.believed,
                    .tls = client_.tls != nullptr,
                    .request_id = outcome_.request_id,
                    .fallback_host = "mirror",
                    .path = is_rewritten_ ? std::string_view(rewritten_) : std::string_view{}});
    draft.own();  // the request's own bytes go when it ends
    core_.scope.spawn(send_copy(core_, std::move(copy)));
}

}  // namespace plimsoll::proxy
