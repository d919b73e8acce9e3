// Choosing an endpoint: the client's session, the pool's line, the policy.
#include <algorithm>

#include "base/hash.h"
#include "proxy/exchange.h"

namespace plimsoll::proxy {

using async::Deadline;
using async::Task;

namespace {

/// The value of a cookie by name, the first; empty if there is none (RFC 6265 section 5.4).
std::string_view cookie(const http::Fields& fields, std::string_view name) {
    for (const http::Header header : fields) {
        if (header.known != http::Known::cookie) continue;
        std::string_view rest = header.value;
        while (!rest.empty()) {
            const std::size_t end = std::min(rest.find(';'), rest.size());
            std::string_view pair = rest.substr(0, end);
            rest.remove_prefix(std::min(end + 1, rest.size()));
            while (pair.starts_with(' ')) pair.remove_prefix(1);
            if (pair.starts_with(name) && pair.size() > name.size() && pair[name.size()] == '=') {
                return pair.substr(name.size() + 1);
            }
        }
    }
    return {};
}

}  // namespace

/// Keys are the same on every machine, so that a client finds its endpoint through any of them.
std::optional<std::uint64_t> Exchange::hash_key() const {
    if (!snapshot::goes_by_key(*pool_)) return std::nullopt;
    std::string_view text;
    switch (pool_->hash.by) {
        case config::HashBy::client: text = asker_.address.host_bytes(); break;
        case config::HashBy::header: text = head_.fields.get(pool_->hash.name); break;
        case config::HashBy::cookie: text = cookie(head_.fields, pool_->hash.name); break;
        case config::HashBy::path: text = head_.path(); break;
    }
    if (text.empty()) return std::nullopt;
    return keyed_hash(text, 0);
}

balance::Asked Exchange::asked() const {
    return {.key = hash_key(), .subset = target_->subset.get(), .shared = core_.shared()};
}

/// The endpoint that the client's cookie names, if it can serve.
bool Exchange::choose_by_session() {
    const auto& sessions = pinned_->slot().prepared->pools[pool_at_.value].sessions;
    if (sessions == nullptr) return false;
    const auto found = sessions->find(head_.fields, core_.network.wall());
    if (!found) return false;
    const auto& members = pool_->facts.members;
    const auto member = std::ranges::find(members, found->endpoint, &balance::Member::id);
    if (member == members.end()) return false;
    const EndpointIndex index{static_cast<std::uint32_t>(member - members.begin())};
    if (!balance::may_serve(pool_->facts, core_.endpoints, index, core_.now(), asked())) return false;
    session_ = found->endpoint;
    session_renew_ = found->renew;
    chosen_ = index;
    tried_.add(chosen_);
    return true;
}

bool Exchange::choose_endpoint() {
    if (outcome_.attempt_count >= max_attempts) return false;
    core_.adopt_ejections();
    if (outcome_.attempt_count == 0 && choose_by_session()) return true;
    balance::Cursor& cursor = pinned_->slot().cursors[pool_at_.value];
    const auto pick = balance::pick(pool_->facts, core_.endpoints, cursor, tried_, core_.now(), core_.random, asked());
    if (!pick) return false;
    chosen_ = pick->index;
    tried_.add(chosen_);
    const EndpointId id = pool_->facts.members[chosen_.value].id;
    if (pick->panic) ++core_.endpoint_tally(arm_, id).panic_picks;
    if (outcome_.attempt_count == 0 && core_.shadowing(arm_)) {
        ++core_.tally.shadow.active_picks[id.value];
    }
    return true;
}

/// The first endpoint, when the pool has a place for one more request.
Task<Cause> Exchange::choose_first() {
    line_facts_ = {pool_->part.max_in_flight, pool_->part.queue, pool_->limits.queue_timeout};
    bool chosen = choose_endpoint();
    const auto nobody = [&] {
        return balance::why_nobody(pool_->facts, core_.endpoints, tried_, core_.now(), asked());
    };
    const bool room = chosen || nobody() != balance::Nobody::limited;
    const auto answer = line().line.arrive(line_facts_, room, core_.now(), total_deadline().at);
    if (answer.admission == balance::Admission::refuse) {
        co_return line_facts_.queue > 0 ? Cause::queue_full : Cause::limited;
    }
    while (answer.admission == balance::Admission::wait) {
        net::Parking parking(core_.network);
        line().waiting.emplace(answer.ticket.number, &parking);
        const net::Wake why = co_await parking.wait({answer.ticket.deadline});
        line().waiting.erase(answer.ticket.number);
        if (why != net::Wake::ready) {
            (void)line().line.abandon(answer.ticket);
            co_return core_.cutting ? Cause::shutting_down : Cause::queue_timeout;
        }
        tried_ = {};
        chosen = choose_endpoint();
        if (chosen || nobody() != balance::Nobody::limited) break;
        line().line.put_back(answer.ticket);
    }
    in_line_ = true;
    outcome_.queue = core_.now() - outcome_.started;
    if (down_.gone()) co_return Cause::client_closed;
    co_return chosen ? Cause::none : Cause::no_endpoint;
}

void Exchange::leave_line() {
    if (std::exchange(in_line_, false)) core_.left(outcome_.pool, line_facts_);
}

bool Exchange::may_try_again(Cause cause) {
    if (cause == Cause::none && last_attempt().status < 500) return false;
    if (upload_failed_ != Cause::none || core_.cutting || down_.gone()) return false;
    if (total_deadline().passed(core_.now())) return false;
    Attempt failed = last_attempt();
    failed.cause = cause;
    return balance::may_retry(budget(), pool_->retry, failed, outcome_.attempt_count, http::is_idempotent(head_.method),
                              sent_, !body_read_on_, core_.now());
}

}  // namespace plimsoll::proxy
