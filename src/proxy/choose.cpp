// Choosing an endpoint: the client's session, the pool's line, the policy.
#include <algorithm>

#include "base/hash.h"
#include "proxy/exchange.h"
#include "proxy/line.h"

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
std::optional<std::uint64_t> Exchange::hash_key(const snapshot::Pool& pool) const {
    if (!snapshot::goes_by_key(pool)) return std::nullopt;
    std::string_view text;
    switch (pool.hash.by) {
        case config::HashBy::client: text = asker_.address.host_bytes(); break;
        case config::HashBy::header: text = head_.fields.get(pool.hash.name); break;
        case config::HashBy::cookie: text = cookie(head_.fields, pool.hash.name); break;
        case config::HashBy::path: text = head_.path(); break;
    }
    if (text.empty()) return std::nullopt;
    return keyed_hash(text, 0);
}

balance::Asked Exchange::asked() const {
    return {.key = hash_key(*pool_), .subset = target_->subset.get(), .shared = core_.shared()};
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
    chosen_in_panic_ = false;
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
    chosen_in_panic_ = pick->panic;
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
    line_facts_ = line_facts(*pool_);
    const Instant arrived = core_.now();
    const auto choose = [this] {
        tried_ = {};
        return choose_endpoint();
    };
    const auto nobody = [this] {
        return balance::why_nobody(pool_->facts, core_.endpoints, tried_, core_.now(), asked());
    };
    const Cause cause =
        co_await enter_line(core_, pool_->id, line_facts_, total_deadline().at, choose, nobody, in_line_, parked_);
    if (!in_line_) co_return client_.cut() != Cause::none ? client_.cut() : cause;
    outcome_.queue = core_.now() - arrived;
    co_return down_.gone() ? Cause::client_closed : cause;
}

void Exchange::leave_line() {
    if (std::exchange(in_line_, false)) core_.left(outcome_.pool, line_facts_);
}

bool Exchange::may_try_again(Cause cause) {
    if (cause == Cause::none && last_attempt().status < 500) return false;
    if (upload_failed_ != Cause::none || client_.cut() != Cause::none || down_.gone()) return false;
    if (total_deadline().passed(core_.now())) return false;
    Attempt failed = last_attempt();
    failed.cause = cause;
    return balance::may_retry(budget(), pool_->retry, failed, outcome_.attempt_count, http::is_idempotent(head_.method),
                              sent_, !body_read_on_, core_.now());
}

}  // namespace plimsoll::proxy
