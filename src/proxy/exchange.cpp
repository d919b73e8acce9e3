#include "proxy/exchange.h"

#include <algorithm>

#include "base/hash.h"
#include "proxy/grpc_answer.h"

namespace plimsoll::proxy {

using async::Deadline;
using async::Task;

RevisionSlot& Exchange::slot_for(Worker::Core& core, Arm arm) {
    return arm == Arm::candidate && core.candidate != nullptr ? *core.candidate : *core.active;
}

Exchange::Exchange(Client& client, http::ServerStream& down, Instant started)
    : client_(client),
      down_(down),
      core_(client.core),
      head_(down.head()),
      asker_(true_client(client.peer, head_.fields, client.slot->made().trusted)),
      request_key_(core_.random.next()),
      arm_(snapshot::choose_arm(core_.resident, request_key_, core_.now())),
      pinned_(std::in_place, core_.revisions, slot_for(core_, arm_)),
      scratch_(core_.drafts) {
    outcome_.started = started;
    core_.exchanges.add(*this);
    down_.when_gone([this] {
        if (parked_ != nullptr) parked_->wake_all(net::Wake::cancelled);
        if (auth_ != nullptr) auth_->abort();
        if (up_ != nullptr) up_->abort();
    });
}

/// Ends early only when the worker goes: what others count on is put right.
Exchange::~Exchange() {
    down_.when_gone(nullptr);
    scope_.cancel();
    if (attempting_) core_.leave(last_attempt().endpoint);
}

/// The table of steps: admit, choose, try, perhaps again, answer, tell.
Task<void> Exchange::carry() {
    begin();
    if (const Cause cause = co_await admit(); cause != Cause::none || route_->targets.empty()) {
        co_return finish(co_await answer_ourselves(cause));
    }
    Cause cause = co_await choose_first();
    if (cause == Cause::none) {
        mirror();
        for (bool chosen = true; chosen;) {
            cause = co_await attempt();
            const balance::RetryBudget before = budget();
            if (!may_try_again(cause)) break;
            chosen = choose_endpoint();  // nobody else: then a 5xx that we have is passed on, and nothing was spent
            if (chosen) {
                give_up_attempt(cause);
            } else {
                budget() = before;
            }
        }
    }
    if (attempting_ && cause == Cause::none) {
        cause = co_await relay_answer();
        if (answered() || cause == Cause::client_closed || cause == Cause::client_timeout) co_return finish(cause);
    }
    if (attempting_) give_up_attempt(cause);
    co_return finish(co_await answer_ourselves(cause));
}

void Exchange::cut() {
    if (parked_ != nullptr) parked_->wake_all(net::Wake::cancelled);
    if (auth_) auth_->abort();
    if (up_) up_->abort();
    down_.abort();
}

namespace {

std::string_view sentence(Cause cause) {
    switch (cause) {
        case Cause::bad_request: return "the request is not HTTP as we accept it";
        case Cause::client_timeout: return "the request's body took too long";
        case Cause::no_route: return "no route matches this request";
        case Cause::no_endpoint: return "no server of the pool can take the request";
        case Cause::limited: return "every server of the pool is at its limit of requests";
        case Cause::queue_full: return "the pool is at its limit and as many as may wait are waiting";
        case Cause::queue_timeout: return "no place at a server became free in time";
        case Cause::rate_limited: return "more requests than the route allows";
        case Cause::overloaded: return "the load balancer is out of memory or descriptors";
        case Cause::not_allowed: return "this route opens no such tunnel";
        case Cause::misdirected: return "the connection was opened for another host";
        case Cause::fault_injected: return "the route fails requests on purpose";
        case Cause::auth_failed: return "whether the request may go on could not be found out";
        case Cause::total_timeout: return "no answer within the time for the whole request";
        case Cause::shutting_down: return "the server is shutting down";
        case Cause::connect_refused: return "the server refused the connection";
        case Cause::connect_failed: return "the server cannot be reached";
        case Cause::connect_timeout: return "the server did not take the connection in time";
        case Cause::upstream_tls: return "no TLS connection to the server could be made";
        case Cause::try_timeout: return "the server did not answer in time";
        case Cause::upstream_reset: return "the server broke the connection before its answer";
        case Cause::upstream_protocol: return "the server's answer is not HTTP as we accept it";
        case Cause::upstream_idle: return "the server stopped taking the request";
        default: return "the request could not be served";
    }
}

}  // namespace

/// Says what went wrong, or what the route says by itself. Gives the cause with which the request ends: the client may
/// be gone as well.
Task<Cause> Exchange::answer_ourselves(Cause cause) {
    scope_.cancel();
    if (cause == Cause::client_closed || down_.gone()) co_return cause == Cause::none ? Cause::client_closed : cause;
    if (cause == Cause::auth_denied) co_return co_await answer_denied();
    const std::uint16_t status = own_.status != 0 ? own_.status : status_of(cause);
    const bool head_only = head_.method == http::Method::head || status == 204 || status == 304;
    const std::string_view reason = own_.reason.empty() ? sentence(cause) : own_.reason;
    const bool grpc = status >= 400 && down_.version() == http::Version::http2 && asks_by_grpc(head_.fields);
    const snapshot::ErrorPage* page =
        pinned_ && !grpc && cause != Cause::none ? (*pinned_)->error_page(route_, status) : nullptr;
    snapshot::ErrorPage own;
    std::string text;
    std::string_view body;
    if (page != nullptr) {
        body = page->body;
    } else if (grpc) {
        cause == Cause::none ? text.assign(own_.body) : text.append(name(cause)).append(": ").append(reason);
    } else if (cause == Cause::none) {
        own = {status, std::string(own_.body), std::string(own_.content_type)};
        page = &own;
        body = own.body;
    } else {
        append_own_text(text, cause, reason);
        body = text;
    }
    http::Draft& draft = scratch_.down();
    if (grpc) {
        draft_grpc_answer(draft, {cause, status, text, own_.retry_after_s});
    } else {
        draft_own_answer(draft, {status, cause, reason, page, head_only});
    }
    if (!own_.location.empty()) draft.add("Location", own_.location);
    if (!own_.allow.empty()) draft.add("Allow", own_.allow);
    if (own_.retry_after_s != 0 && !grpc) draft.add("Retry-After", own_.retry_after_s);
    if (route_ != nullptr && cause == Cause::none) apply(draft, actions().response_headers);
    const Deadline deadline = Deadline::after(core_.now(), listener().body_idle_timeout);
    const http::Outgoing answer{.head = &draft,
                                .data = head_only ? std::string_view{} : body,
                                .last = true,
                                .close = cause == Cause::bad_request};
    const Result<void> sent = co_await down_.send(answer, deadline);
    if (!sent) co_return is_upstream(cause) ? cause : Cause::client_closed;
    outcome_.status = status;
    outcome_.first_byte = core_.now() - outcome_.started;
    outcome_.response_head_bytes = static_cast<std::uint32_t>(body.size());
    co_return cause;
}

/// Tells what happened.
void Exchange::finish(Cause cause) {
    if (cause == Cause::client_closed && client_.cut() != Cause::none) cause = client_.cut();
    scope_.cancel();
    leave_line();
    outcome_.cause = cause;
    outcome_.total = core_.now() - outcome_.started;
    const std::span<const Duration> began(attempts_began_.data(), outcome_.attempt_count);
    if (names_ != nullptr) {
        core_.observe(outcome_, {.route_name = names_->route,
                                 .pool_name = names_->pool,
                                 .endpoint_name = names_->endpoint,
                                 .attempts_began = began,
                                 .answers = &answers_});
    } else {
        core_.observe(outcome_, {.route = route_, .pool = pool_, .attempts_began = began, .answers = &answers_});
    }
}

}  // namespace plimsoll::proxy
