#include "proxy/exchange.h"

#include <algorithm>

#include "base/hash.h"
#include "proxy/body_part.h"

namespace plimsoll::proxy {

using async::Deadline;
using async::Task;

Exchange::Asker Exchange::asker(const Client& client) {
    if (client.slot->settings.trust_forwarded) {
        const std::string_view named = last_forwarded_for(client.parser.head().fields);
        if (const auto address = net::Address::ip(named, 0)) {
            return {named, keyed_hash(address->host_bytes(), client.core.settings.hash_key)};
        }
    }
    return {client.address, client.key};
}

RevisionSlot& Exchange::slot_for(Worker::Core& core, Arm arm) {
    return arm == Arm::candidate && core.candidate != nullptr ? *core.candidate : *core.active;
}

Exchange::Exchange(Client& client)
    : client_(client),
      core_(client.core),
      head_(client.parser.head()),
      asker_(asker(client)),
      request_key_(core_.random.next()),
      arm_(snapshot::choose_arm(core_.resident, request_key_, core_.now())),
      pinned_(core_.revisions, slot_for(core_, arm_)),
      upload_in_(core_.blocks) {
    core_.exchanges.add(*this);
}

/// The table of steps: route, choose, try, perhaps again, answer, tell.
Task<bool> Exchange::carry() {
    begin();
    if (!take_body_start()) co_return finish(co_await answer_ourselves(Cause::bad_request));
    if (!find_route()) co_return finish(co_await answer_ourselves(Cause::no_route));
    Cause cause = Cause::no_endpoint;
    for (bool chosen = choose_endpoint(); chosen;) {
        cause = co_await attempt();
        if (!may_try_again(cause)) break;
        chosen = choose_endpoint();  // nobody else: then a 5xx that we have is passed on
        if (chosen) give_up_attempt(cause);
    }
    if (attempting_ && cause == Cause::none) {
        cause = co_await relay_answer();
        if (answered() || cause == Cause::client_closed || cause == Cause::client_timeout) co_return finish(cause);
    }
    if (attempting_) give_up_attempt(cause);
    if (outcome_.attempt_count == 0 && is_limited()) cause = Cause::limited;
    co_return finish(co_await answer_ourselves(cause));
}

void Exchange::begin() {
    const snapshot::Snapshot& snapshot = *pinned_.slot().snapshot;
    core_.revisions.started(snapshot.revision, core_.now());
    outcome_.revision = snapshot.revision;
    outcome_.arm = arm_;
    outcome_.worker = core_.settings.index;
    outcome_.started = client_.started;
    outcome_.request_head_bytes = static_cast<std::uint32_t>(head_.bytes);
    outcome_.client_key = asker_.key;
    outcome_.affinity_key = request_key_;
    outcome_.method = head_.method_text();
    outcome_.host = head_.authority();
    outcome_.path = head_.path();
    outcome_.client = asker_.address;
    set_request_id();
}

void Exchange::set_request_id() {
    outcome_.request_id = head_.fields.get(http::Known::x_request_id);
    if (is_sane_request_id(outcome_.request_id)) return;
    static constexpr char hex[] = "0123456789abcdef";
    for (std::size_t i = 0; i < id_.size(); i += 16) {
        std::uint64_t bits = core_.random.next();
        for (std::size_t k = 0; k < 16; ++k, bits >>= 4) id_[i + k] = hex[bits & 15];
    }
    outcome_.request_id = {id_.data(), id_.size()};
}

bool Exchange::over_limit() const {
    const std::uint64_t most = client_.slot->settings.limits.max_body_bytes;
    return most != 0 && std::max(outcome_.request_body_bytes, head_.framing.length) > most;
}

bool Exchange::take_body_start() {
    consumed_ = head_.bytes;
    body_ = http::BodyDecoder(head_.framing);
    const BodyPart part = decode_part(body_, client_.in.bytes().subspan(head_.bytes));
    consumed_ += part.consumed;
    body_start_ = part.data;
    outcome_.request_body_bytes = part.data.size();
    if (part.refused) {
        own_status_ = body_.refusal().status;
        own_reason_ = body_.refusal().reason;
    } else if (over_limit()) {
        own_status_ = 413;
        own_reason_ = "the request's body is larger than this listener takes";
    }
    return own_status_ == 0;
}

bool Exchange::find_route() {
    const snapshot::Snapshot& snapshot = *pinned_.slot().snapshot;
    if (const auto index = snapshot.match(head_.authority(), head_.path())) {
        route_ = &snapshot.route(*index);
        pool_at_ = route_->pool.value;
        pool_ = &snapshot.pool(route_->pool);
        outcome_.route = route_->id;
        outcome_.pool = pool_->id;
        balance::on_request(budget(), pool_->retry, core_.now());
    }
    if (core_.shadowing(arm_)) core_.shadow(head_.authority(), head_.path(), route_, pool_);
    return route_ != nullptr;
}

bool Exchange::choose_endpoint() {
    if (outcome_.attempt_count >= max_attempts) return false;
    balance::Cursor& cursor = pinned_.slot().cursors[pool_at_];
    const auto pick = balance::pick(pool_->facts, core_.endpoints, cursor, tried_, core_.now(), core_.random);
    if (!pick) return false;
    chosen_ = pick->index;
    tried_.add(chosen_);
    const EndpointId id = pool_->facts.members[chosen_.value].id;
    if (pick->panic) ++core_.endpoint_tally(arm_, id).panic_picks;
    if (outcome_.attempt_count == 0 && core_.shadowing(arm_)) {
        auto& picks = core_.tally.shadow.active_picks;
        if (picks.size() <= id.value) picks.resize(id.value + 1u);
        ++picks[id.value];
    }
    return true;
}

/// Nobody could be chosen: because those who could are at their limit?
bool Exchange::is_limited() const {
    if (pool_ == nullptr) return false;
    return std::ranges::any_of(pool_->facts.members, [this](const balance::Member& member) {
        return member.weight > 0 && member.max_in_flight > 0 &&
               core_.endpoints[member.id.value].in_flight >= member.max_in_flight;
    });
}

bool Exchange::may_try_again(Cause cause) {
    if (cause == Cause::none && last_attempt().status < 500) return false;
    if (upload_failed_ != Cause::none || core_.cutting || total_deadline().passed(core_.now())) return false;
    Attempt failed = last_attempt();
    failed.cause = cause;
    return balance::may_retry(budget(), pool_->retry, failed, outcome_.attempt_count, http::is_idempotent(head_.method),
                              sent_, !body_read_on_, core_.now());
}

void Exchange::give_up_attempt(Cause cause) {
    end_attempt(cause);
    drop_upstream();
}

void Exchange::cut() {
    if (upstream_) upstream_->stream->abort();
    client_.stream->abort();
}

namespace {

std::string_view sentence(Cause cause) {
    switch (cause) {
        case Cause::bad_request: return "the request is not HTTP/1.1 as we accept it";
        case Cause::client_timeout: return "the request's body took too long";
        case Cause::no_route: return "no route matches this host and path";
        case Cause::no_endpoint: return "no server of the pool can take the request";
        case Cause::limited: return "every server of the pool is at its limit of requests";
        case Cause::total_timeout: return "no answer within the time for the whole request";
        case Cause::shutting_down: return "the server is shutting down";
        case Cause::connect_refused: return "the server refused the connection";
        case Cause::connect_failed: return "the server cannot be reached";
        case Cause::connect_timeout: return "the server did not take the connection in time";
        case Cause::try_timeout: return "the server did not answer in time";
        case Cause::upstream_reset: return "the server broke the connection before its answer";
        case Cause::upstream_protocol: return "the server's answer is not HTTP/1.1 as we accept it";
        case Cause::upstream_idle: return "the server stopped taking the request";
        default: return "the request could not be served";
    }
}

}  // namespace

/// Says what went wrong. Gives the cause with which the request ends: the client may be gone as well.
Task<Cause> Exchange::answer_ourselves(Cause cause) {
    scope_.cancel();
    if (cause == Cause::client_closed || client_.stream->closed()) co_return cause;
    const std::uint16_t status = own_status_ != 0 ? own_status_ : status_of(cause);
    const bool framed = body_.ended() && !uploading_;  // what follows is the next request
    keep_client_ = framed && head_.keep_alive && cause != Cause::bad_request && !client_.closing();
    client_.out.clear();
    append_own_answer(client_.out, {.status = status,
                                    .cause = cause,
                                    .reason = own_reason_.empty() ? sentence(cause) : own_reason_,
                                    .keep_alive = keep_client_,
                                    .head_only = head_.method == http::Method::head,
                                    .http10 = head_.minor_version == 0});
    const Deadline deadline = Deadline::after(core_.now(), client_.slot->settings.body_idle_timeout);
    const Result<void> sent = co_await client_.stream->write_all(client_.out, deadline);
    if (!sent) {
        keep_client_ = false;
        co_return is_upstream(cause) ? cause : Cause::client_closed;
    }
    outcome_.status = status;
    outcome_.first_byte = core_.now() - outcome_.started;
    outcome_.response_head_bytes = static_cast<std::uint32_t>(client_.out.size());
    co_return cause;
}

/// Tells what happened and clears the way for the next request.
bool Exchange::finish(Cause cause) {
    scope_.cancel();
    outcome_.cause = cause;
    outcome_.total = core_.now() - outcome_.started;
    core_.observe(outcome_, {route_, pool_});
    client_.linger = !keep_client_ && outcome_.status != 0 && (!body_.ended() || uploading_);
    client_.in.consume(consumed_);
    if (!upload_in_.empty() && body_.ended()) client_.in = std::move(upload_in_);
    return keep_client_;
}

}  // namespace plimsoll::proxy
