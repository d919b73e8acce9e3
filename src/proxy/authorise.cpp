#include "proxy/authorise.h"

#include <algorithm>

#include "proxy/destination.h"
#include "proxy/exchange.h"
#include "proxy/line.h"
#include "proxy/trace_context.h"

namespace plimsoll::proxy {

using async::Deadline;
using async::Task;

// ---- heads ---------------------------------------------------------------------------------------------------------

namespace {

char plain(char c) {
    if (c >= 'A' && c <= 'Z') return static_cast<char>(c + ('a' - 'A'));
    return c == '_' ? '-' : c;
}

bool begins_like(std::string_view name, std::string_view prefix) {
    return name.size() >= prefix.size() && is_same_header(name.substr(0, prefix.size()), prefix);
}

/// What we say ourselves: never a client's by the time it is asked.
bool is_our_word(std::string_view name) {
    constexpr std::string_view ours[] = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded",
                                         "x-request-id",    "traceparent",       "tracestate"};
    return std::ranges::any_of(ours, [&](std::string_view each) { return http::equal_ignoring_case(name, each); });
}

/// What auth servers take for the word of the proxy before them.
bool is_claim(std::string_view name) {
    return !is_our_word(name) && (begins_like(name, "x-forwarded-") || begins_like(name, "x-original-") ||
                                  is_same_header(name, "x-rewrite-url"));
}

/// About the body, which is not sent, or about what is asked for rather than by whom: a 304 or 206 would be no answer.
bool is_about_resource(std::string_view name) {
    return begins_like(name, "if-") || is_same_header(name, "range") || is_same_header(name, "content-encoding") ||
           is_same_header(name, "content-range");
}

bool is_listed(const std::vector<std::string>& names, std::string_view name) {
    return std::ranges::any_of(names, [&](const std::string& each) { return is_same_header(each, name); });
}

}  // namespace

bool is_same_header(std::string_view a, std::string_view b) { return std::ranges::equal(a, b, {}, plain, plain); }

void draft_question(http::Draft& draft, const snapshot::Auth& auth, const Question& question) {
    const http::RequestHead& head = question.head;
    Forwarding forwarding = question.forwarding;
    forwarding.host = auth.host;
    forwarding.path = {};
    draft_upstream(draft, head, forwarding);
    const bool tunnel = head.method == http::Method::connect && forwarding.protocol.empty();
    const std::string_view asked = tunnel ? head.authority() : draft.target;
    // A handshake is a GET, whichever HTTP it came by.
    const std::string_view method = forwarding.protocol.empty() ? head.method_text() : std::string_view("GET");
    draft.method = "GET";
    draft.protocol = {};
    draft.framing = {};
    draft.target = !auth.path.empty() ? std::string_view(auth.path) : asked.starts_with('/') ? asked : "/";
    draft.remove_if([&](std::string_view name) {
        if (is_claim(name)) return true;
        if (auth.request_headers.empty()) return is_about_resource(name);
        return !is_our_word(name) && !is_listed(auth.request_headers, name);
    });
    draft.add("X-Forwarded-Method", method);
    draft.add("X-Forwarded-Uri", asked);
    if (exists(question.trace)) {
        const auto text = traceparent(question.trace);
        draft.add("traceparent", draft.keep({text.data(), text.size()}));
    }
}

void Authorisation::write_upstream(http::Draft& draft) const {
    draft.remove_if([&](std::string_view name) { return is_listed(auth_.upstream_headers, name); });
    for (const auto& [name, value] : to_endpoint_) draft.add(name, value);
}

void Authorisation::write_client(http::Draft& draft) const {
    for (const auto& [name, value] : to_client_) {
        if (!http::equal_ignoring_case(name, "set-cookie")) draft.remove(name);  // the endpoint may set its own cookies
    }
    for (const auto& [name, value] : to_client_) draft.add(name, value);
}

// ---- the attempt ---------------------------------------------------------------------------------------------------

Authorisation::Authorisation(Client& client, const http::ServerStream& down, RevisionSlot& slot,
                             const snapshot::Auth& auth)
    : client_(client),
      down_(down),
      core_(client.core),
      slot_(slot),
      auth_(auth),
      pool_(slot.snapshot->pool(auth.pool)),
      pool_name_(pool_.name) {
    outcome_.pool = pool_name_;
}

Authorisation::~Authorisation() {
    if (attempting_) core_.leave(last_attempt().endpoint);
}

void Authorisation::abort() {
    if (parked_ != nullptr) parked_->wake_all(net::Wake::cancelled);
    if (up_ != nullptr) up_->abort();
}

bool Authorisation::choose(const Question& question) {
    if (outcome_.attempt_count >= max_attempts) return false;
    core_.adopt_ejections();
    const auto pick = balance::pick(pool_.facts, core_.endpoints, slot_.cursors[auth_.pool.value], tried_, core_.now(),
                                    core_.random, {.key = question.key, .shared = core_.shared()});
    if (!pick) return false;
    chosen_ = pick->index;
    tried_.add(chosen_);
    return true;
}

void Authorisation::begin_attempt() {
    attempt_started_ = core_.now();
    Attempt& attempt = outcome_.attempt[outcome_.attempt_count++];
    attempt = Attempt{};
    attempt.endpoint = pool_.facts.members[chosen_.value].id;
    endpoint_name_ = pool_.endpoints[chosen_.value].name;
    outcome_.endpoint = endpoint_name_;
    others_ = core_.arrive(attempt.endpoint);
    attempting_ = true;
}

void Authorisation::end_attempt(Cause cause) {
    Attempt& attempt = last_attempt();
    attempt.cause = cause;
    core_.leave(attempt.endpoint);
    attempting_ = false;
    const Duration took = attempt.status != 0 ? attempt.first_byte : core_.now() - attempt_started_;
    balance::learn(core_.endpoints[attempt.endpoint.value], pool_.facts, attempt, took, others_, core_.now());
    core_.observe(attempt, pool_.facts);
}

void Authorisation::drop_upstream() {
    if (up_ == nullptr) return;
    up_.reset();  // gives the connection back if neither side owes the other anything on it
    core_.upstreams.freed(last_attempt().endpoint);
}

Cause Authorisation::broken(const Error& error, Clock clock) const {
    switch (error.code) {
        case Code::timeout: return clock.whole.passed(core_.now()) ? Cause::total_timeout : Cause::try_timeout;
        case Code::cancelled:
            if (client_.cut() != Cause::none) return client_.cut();
            return down_.gone() ? Cause::client_closed : Cause::internal;
        case Code::protocol: return Cause::upstream_protocol;
        default: return Cause::upstream_reset;
    }
}

Task<Cause> Authorisation::connect(const Question& question, bool fresh, Clock clock) {
    const PreparedPool& made = slot_.prepared->pools[auth_.pool.value];
    if (pool_.tls && made.tls == nullptr) co_return Cause::upstream_tls;
    const std::string_view host = auth_.host.empty() ? question.head.authority() : std::string_view(auth_.host);
    const Instant start = core_.now();
    const Deadline own = Deadline::after(start, pool_.timeouts.connect);
    Result<Upstreams::Opened> opened = co_await core_.upstreams.open(destination(pool_, made, chosen_, host, client_),
                                                                     fresh, async::earlier(own, clock.first()));
    if (client_.cut() != Cause::none) co_return client_.cut();
    if (down_.gone()) co_return Cause::client_closed;
    Attempt& attempt = last_attempt();
    attempt.reused = opened && opened->reused;
    attempt.connect = attempt.reused ? Duration{} : core_.now() - start;
    if (!opened) {
        const bool late = own.passed(core_.now()) || !clock.whole.passed(core_.now());
        co_return connect_cause(opened.error(), pool_.tls.has_value(), late);
    }
    attempt.tls = attempt.reused ? Duration{} : opened->tls;
    up_ = std::move(opened->stream);
    co_return Cause::none;
}

Task<Cause> Authorisation::exchange_heads(const Question& question, http::Draft& draft, Clock clock) {
    const Deadline per_try = Deadline::after(attempt_started_, pool_.timeouts.per_try);
    const Deadline deadline = async::earlier(per_try, clock.first());
    Question asked = question;
    asked.forwarding.fallback_host = pool_.endpoints[chosen_.value].address.host;
    draft_question(draft, auth_, asked);
    if (const Result<void> sent = co_await up_->send({.head = &draft, .last = true}, deadline); !sent) {
        // A reset may stand behind an answer that came early: reading finds out.
        const Cause cause = broken(sent.error(), clock);
        unprocessed_ = sent.error().retry == Retry::yes;
        if (cause != Cause::upstream_reset || unprocessed_) co_return cause;
    }
    if (const Result<void> there = co_await up_->read_head(deadline); !there) {
        unprocessed_ = there.error().retry == Retry::yes;
        co_return broken(there.error(), clock);
    }
    Attempt& attempt = last_attempt();
    attempt.status = up_->head().status;
    attempt.first_byte = core_.now() - attempt_started_;
    if (attempt.status == 503) core_.heed_retry_after(attempt.endpoint, pool_.facts, up_->head().fields);
    co_return attempt.status == 101 ? Cause::upstream_protocol : Cause::none;
}

/// On a kept connection that the server was closing, once more on a fresh one: that is no attempt of its own.
Task<Cause> Authorisation::attempt(const Question& question, http::Draft& draft, Clock clock) {
    begin_attempt();
    for (bool fresh = false;; fresh = true) {
        unprocessed_ = false;
        Cause cause = co_await connect(question, fresh, clock);
        if (cause == Cause::none) cause = co_await exchange_heads(question, draft, clock);
        const bool stale =
            cause == Cause::upstream_reset && !fresh && last_attempt().reused && (unprocessed_ || !up_->heard());
        if (!stale || client_.cut() != Cause::none || down_.gone()) co_return cause;
        drop_upstream();
    }
}

bool Authorisation::may_try_again(Cause cause, Clock clock) {
    if (cause == Cause::none && last_attempt().status < 500) return false;
    if (client_.cut() != Cause::none || down_.gone() || clock.first().passed(core_.now())) return false;
    Attempt failed = last_attempt();
    failed.cause = cause;
    return balance::may_retry(core_.budgets[pool_.id.value], pool_.retry, failed, outcome_.attempt_count, true, true,
                              true, core_.now());
}

// ---- the answer ----------------------------------------------------------------------------------------------------

namespace {

/// Reads what is left of an answer that nobody waits for, so that its connection can be used again.
Task<void> finish_reading(Worker::Core& core, std::unique_ptr<http::ClientStream> up, EndpointId endpoint,
                          Deadline deadline) {
    std::size_t bytes = 0;
    for (http::BodyPiece piece = up->take(); !piece.ended && piece.refusal.status == 0; piece = up->take()) {
        bytes += piece.data.size();
        if (bytes > max_denial_body || !co_await up->more(deadline)) break;
    }
    up.reset();
    core.upstreams.freed(endpoint);
}

/// A representation that is not sent after all has no description.
bool describes_body(std::string_view name) {
    constexpr std::string_view names[] = {
        "content-type",  "content-encoding", "content-language", "content-disposition", "content-range", "etag",
        "last-modified", "accept-ranges",    "digest",           "content-digest",      "repr-digest"};
    return std::ranges::any_of(names, [&](std::string_view each) { return http::equal_ignoring_case(name, each); });
}

}  // namespace

void Authorisation::keep_lines() {
    for (const http::Header header : up_->head().fields) {
        const auto in = [&](const std::vector<std::string>& names) {
            return std::ranges::any_of(names, [&](auto& each) { return http::equal_ignoring_case(each, header.name); });
        };
        if (in(auth_.upstream_headers)) to_endpoint_.emplace_back(header.name, header.value);
        if (in(auth_.client_headers)) to_client_.emplace_back(header.name, header.value);
    }
}

/// A refusal stays one if its body is cut, stalls or is too long: then the client gets our sentence in its place.
Task<Cause> Authorisation::keep_denial(const Question& question, http::Draft& answer, Clock clock) {
    draft_client(answer, question.head, up_->head());
    answer.remove("Content-Length");
    answer.own();
    Cause cause = Cause::none;
    for (http::BodyPiece piece = up_->take();; piece = up_->take()) {
        const bool too_long = denial_.size() + piece.data.size() > max_denial_body;
        if (piece.refusal.status != 0) cause = Cause::upstream_truncated;
        if (!too_long && cause == Cause::none) denial_.append(piece.data);
        if (!too_long && piece.ended) co_return Cause::none;
        if (!too_long && cause == Cause::none) {
            if (const Result<void> more = co_await up_->more(clock.first()); more) continue;
            cause = client_.cut() != Cause::none        ? client_.cut()
                    : down_.gone()                      ? Cause::client_closed
                    : clock.first().passed(core_.now()) ? Cause::upstream_idle
                                                        : Cause::upstream_truncated;
        }
        answer.remove_if(describes_body);
        answer.add("Content-Type", "text/plain; charset=utf-8");
        denial_.clear();
        append_own_text(denial_, Cause::auth_denied, "the server that authorises requests refuses this one");
        co_return cause;
    }
}

Task<AuthVerdict> Authorisation::conclude(Cause cause, const Question& question, http::Draft& answer, Clock clock) {
    const std::uint16_t status = attempting_ && cause == Cause::none ? last_attempt().status : 0;
    if (status >= 200 && status < 300) {
        keep_lines();
        end_attempt(Cause::none);
        if (up_->take().ended) {
            drop_upstream();
        } else {
            core_.scope.spawn(finish_reading(core_, std::move(up_), last_attempt().endpoint, clock.own));
        }
        co_return AuthVerdict::allowed;
    }
    if (status >= 300 && status < 500) cause = co_await keep_denial(question, answer, clock);
    if (attempting_) end_attempt(cause);
    drop_upstream();
    outcome_.cause = cause;
    if (client_.cut() != Cause::none || down_.gone()) co_return AuthVerdict::dropped;
    if (status >= 300 && status < 500) co_return AuthVerdict::denied;
    co_return auth_.allow_on_failure ? AuthVerdict::bypassed : AuthVerdict::failed;
}

Task<AuthVerdict> Authorisation::ask(const Question& question, http::Draft& draft, http::Draft& answer,
                                     Deadline whole) {
    const Instant started = core_.now();
    const Clock clock{Deadline::after(started, auth_.timeout), whole};
    balance::on_request(core_.budgets[pool_.id.value], pool_.retry, started);
    const auto choose_anew = [&] {
        tried_ = {};
        return choose(question);
    };
    const auto nobody = [&] {
        return balance::why_nobody(pool_.facts, core_.endpoints, tried_, core_.now(),
                                   {.key = question.key, .shared = core_.shared()});
    };
    Cause cause = co_await enter_line(core_, pool_.id, line_facts(pool_), clock.first().at, choose_anew, nobody,
                                      in_line_, parked_);
    for (bool chosen = cause == Cause::none && !down_.gone(); chosen;) {
        cause = co_await attempt(question, draft, clock);
        if (!may_try_again(cause, clock)) break;
        chosen = choose(question);  // nobody else: then it is what it is
        if (!chosen) break;
        end_attempt(cause);
        drop_upstream();
    }
    outcome_.verdict = co_await conclude(cause, question, answer, clock);
    if (std::exchange(in_line_, false)) core_.left(pool_.id, line_facts(pool_));
    outcome_.took = core_.now() - started;
    co_return outcome_.verdict;
}

// ---- the exchange's part -------------------------------------------------------------------------------------------

/// Before any pool is drawn, the route's or gRPC's own time bounds the whole; else that of the pool it names first.
Deadline Exchange::deadline_before_pool() const {
    std::optional<Duration> most = route_->timeout;
    if (!most && route_->pool != none<PoolIndex>) most = (*pinned_)->pool(route_->pool).timeouts.total;
    if (grpc_timeout_) most = most ? std::min(*most, *grpc_timeout_) : *grpc_timeout_;
    return most ? Deadline::after(outcome_.started, *most) : Deadline{};
}

/// The server that the route has asked, if it has one.
Task<Cause> Exchange::authorise() {
    if (!actions().auth) co_return Cause::none;
    const snapshot::Auth& auth = *actions().auth;
    auth_ = std::make_unique<Authorisation>(client_, down_, pinned_->slot(), auth);
    outcome_.auth = &auth_->outcome();
    const std::string element = forwarded_element(client_.peer);
    const Question question{.head = head_,
                            .forwarding = {.peer = client_.address,
                                           .element = element,
                                           .trust = asker_.believed,
                                           .tls = client_.tls != nullptr,
                                           .request_id = outcome_.request_id,
                                           .protocol = upgrade_to_,
                                           .own_trace = exists(outcome_.trace),
                                           .keep_tracestate = keep_tracestate_},
                            .trace = outcome_.trace,
                            .key = hash_key((*pinned_)->pool(auth.pool))};
    const Deadline whole = deadline_before_pool();
    switch (co_await auth_->ask(question, scratch_.up(), scratch_.down(), whole)) {
        case AuthVerdict::allowed:
        case AuthVerdict::bypassed: co_return Cause::none;
        case AuthVerdict::denied: co_return Cause::auth_denied;
        case AuthVerdict::dropped: co_return client_.cut() != Cause::none ? client_.cut() : Cause::client_closed;
        case AuthVerdict::failed: break;
    }
    co_return whole.passed(core_.now()) ? Cause::total_timeout : Cause::auth_failed;
}

/// What the auth server says to one whom it refuses: its status, headers and body.
Task<Cause> Exchange::answer_denied() {
    http::Draft& draft = scratch_.down();
    const bool head_only = head_.method == http::Method::head;
    const std::string_view body = draft.status == 304 ? std::string_view{} : auth_->denial();
    draft.framing = {};
    if (head_only) {
        draft.add("Content-Length", body.size());
    } else if (draft.status != 304) {
        draft.framing = {http::Framing::Kind::length, body.size()};
    }
    apply(draft, actions().response_headers);
    const Deadline slow = Deadline::after(core_.now(), listener().body_idle_timeout);
    const http::Outgoing answer{.head = &draft, .data = head_only ? std::string_view{} : body, .last = true};
    if (!co_await down_.send(answer, slow)) co_return Cause::client_closed;
    outcome_.status = draft.status;
    outcome_.first_byte = core_.now() - outcome_.started;
    outcome_.response_head_bytes = static_cast<std::uint32_t>(draft.bytes());
    outcome_.response_body_bytes = answer.data.size();
    co_return Cause::auth_denied;
}

}  // namespace plimsoll::proxy
