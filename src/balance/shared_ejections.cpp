#include "balance/shared_ejections.h"

#include <algorithm>

#include "balance/view.h"
#include "base/result.h"

namespace plimsoll::balance {

constexpr auto relaxed = std::memory_order_relaxed;

std::string_view name(OutBy by) {
    switch (by) {
        case OutBy::failures: return "failures";
        case OutBy::success_rate: return "success_rate";
        case OutBy::retry_after: return "retry_after";
    }
    return "?";
}

/// The right to decide about one pool, if nobody else has it.
class SharedEjections::Claim {
public:
    explicit Claim(Pool& pool) : pool_(pool), held_(!pool.claimed.exchange(true, std::memory_order_acquire)) {}
    ~Claim() {
        if (held_) pool_.claimed.store(false, std::memory_order_release);
    }
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;
    explicit operator bool() const { return held_; }

private:
    Pool& pool_;
    bool held_;
};

void SharedEjections::reserve(std::size_t endpoints, std::size_t pools) {
    endpoints_.reserve(endpoints);
    pools_.reserve(pools);
}

SharedEjections::Endpoint& SharedEjections::endpoint(EndpointId id) const {
    Endpoint* found = endpoints_.find(id.value);
    PLIMSOLL_ENSURE(found != nullptr, "an endpoint that no room was made for");
    return *found;
}

SharedEjections::Pool& SharedEjections::its_own(const PoolFacts& pool) const {
    Pool* found = pools_.find(pool.id.value);
    PLIMSOLL_ENSURE(found != nullptr, "a pool that no room was made for");
    return *found;
}

void SharedEjections::copy_to(EndpointState& state, const Endpoint& from, Instant now) {
    state.times_ejected = from.times_ejected.load(relaxed);
    const Instant until{from.ejected_until.load(relaxed)}, not_before{from.not_before.load(relaxed)};
    if (until != state.ejected_until && until > now) state.up_since = until;  // it comes back through slow start
    if (not_before != state.not_before && not_before > now) state.up_since = not_before;
    state.ejected_until = until;
    state.not_before = not_before;
}

void SharedEjections::publish(const EndpointState& state, Endpoint& to) {
    to.times_ejected.store(state.times_ejected, relaxed);
    to.ejected_until.store(state.ejected_until.ns, relaxed);
    to.not_before.store(state.not_before.ns, relaxed);
}

void SharedEjections::publish_out(const EndpointState& state, Endpoint& to, OutBy by) {
    publish(state, to);
    if (by != OutBy::retry_after) to.row.store(0, relaxed);
    if (by != OutBy::retry_after) to.by.store(by, relaxed);
    std::atomic<std::uint32_t>& times = to.times[static_cast<std::size_t>(by)];
    times.store(times.load(relaxed) + 1, relaxed);  // only who holds the claim is here
}

Standing SharedEjections::standing(EndpointId id) const {
    const Endpoint* found = endpoints_.find(id.value);
    if (found == nullptr) return {};
    const std::int64_t ejected = found->ejected_until.load(relaxed), paused = found->not_before.load(relaxed);
    Standing standing;
    standing.out_until = Instant{std::max(ejected, paused)};
    standing.by = paused > ejected ? OutBy::retry_after : found->by.load(relaxed);
    for (std::size_t i = 0; i < out_by_count; ++i) standing.times[i] = found->times[i].load(relaxed);
    return standing;
}

void SharedEjections::refresh(const PoolFacts& pool, std::span<EndpointState> states, Instant now) const {
    for (const Member& member : pool.members) {
        copy_to(states[member.id.value], endpoint(member.id), now);
    }
}

void SharedEjections::adopt(std::span<EndpointState> states, std::uint32_t& seen, Instant now) const {
    const std::uint32_t version = version_.load(std::memory_order_acquire);
    if (version == seen) return;
    seen = version;
    for (std::size_t i = 0; i < states.size(); ++i) {
        if (const Endpoint* shared = endpoints_.find(i)) copy_to(states[i], *shared, now);
    }
}

std::vector<EndpointId> SharedEjections::observe(const PoolFacts& pool, std::span<EndpointState> states,
                                                 const Attempt& attempt, Instant now) {
    const Ejection& ejection = pool.ejection;
    std::vector<EndpointId> ejected;
    const Lesson lesson = lesson_of(attempt);
    Endpoint& shared = endpoint(attempt.endpoint);
    if (lesson != Lesson::none && shared.ejected_until.load(relaxed) <= now.ns) {
        const bool failed = lesson == Lesson::failed;
        std::uint32_t row = 0;
        if (failed) {
            row = shared.row.fetch_add(1, relaxed) + 1;
        } else if (shared.row.load(relaxed) != 0) {  // not written while all is well: the line stays in all caches
            shared.row.store(0, relaxed);
        }
        if (ejection.success_rate) shared.window.fetch_add(failed ? (std::uint64_t{1} << 32) + 1 : 1, relaxed);
        const EndpointState& state = states[attempt.endpoint.value];
        const bool was_out = state.times_ejected > 0;
        const bool row_is_full = ejection.consecutive != 0 && row >= ejection.consecutive;
        const bool due = failed ? row_is_full || was_out : was_out && now - state.ejected_until >= ejection.base;
        if (due && decide(pool, states, attempt, now)) ejected.push_back(attempt.endpoint);
    }
    if (ejection.success_rate) compare(pool, states, ejected, now);
    return ejected;
}

bool SharedEjections::decide(const PoolFacts& pool, std::span<EndpointState> states, const Attempt& attempt,
                             Instant now) {
    const Claim claim(its_own(pool));
    if (!claim) return false;
    refresh(pool, states, now);
    Endpoint& shared = endpoint(attempt.endpoint);
    EndpointState& state = states[attempt.endpoint.value];
    const std::uint32_t row = shared.row.load(relaxed);  // this attempt is in it already
    state.failures_in_row = row > 0 ? row - 1 : 0;
    const std::size_t out = count_out(pool, states, now);
    const bool ejected = balance::observe(state, attempt, pool.ejection, pool.members.size(), out, now);
    if (!ejected) {
        publish(state, shared);
        return false;
    }
    publish_out(state, shared, OutBy::failures);
    version_.fetch_add(1, std::memory_order_release);
    return true;
}

void SharedEjections::compare(const PoolFacts& pool, std::span<EndpointState> states, std::vector<EndpointId>& ejected,
                              Instant now) {
    Pool& its = its_own(pool);
    std::int64_t since = its.since.load(relaxed);
    if (since == INT64_MIN) {
        its.since.compare_exchange_strong(since, now.ns, relaxed);
        return;
    }
    if (now - Instant{since} < pool.ejection.interval) return;
    const Claim claim(its);
    if (!claim || its.since.load(relaxed) != since) return;
    its.since.store(now.ns, relaxed);
    refresh(pool, states, now);
    std::vector<SuccessWindow> windows;
    std::vector<bool> were_out;
    for (const Member& member : pool.members) {
        const std::uint64_t seen = endpoint(member.id).window.exchange(0, relaxed);
        windows.push_back({static_cast<std::uint32_t>(seen), static_cast<std::uint32_t>(seen >> 32)});
        were_out.push_back(is_out(states[member.id.value], now));
    }
    if (compare_success(pool, states, windows, now) == 0) return;
    for (std::size_t i = 0; i < windows.size(); ++i) {
        const EndpointId id = pool.members[i].id;
        if (were_out[i] || !is_out(states[id.value], now)) continue;
        publish_out(states[id.value], endpoint(id), OutBy::success_rate);
        ejected.push_back(id);
    }
    version_.fetch_add(1, std::memory_order_release);
}

bool SharedEjections::hold_back(const PoolFacts& pool, std::span<EndpointState> states, EndpointId id,
                                std::uint16_t status, Duration asked_for, Instant now) {
    const Claim claim(its_own(pool));
    if (!claim) return false;
    refresh(pool, states, now);
    const std::size_t out = count_out(pool, states, now);
    EndpointState& state = states[id.value];
    if (!balance::hold_back(state, status, asked_for, pool.ejection, pool.members.size(), out, now)) return false;
    publish_out(state, endpoint(id), OutBy::retry_after);
    version_.fetch_add(1, std::memory_order_release);
    return true;
}

}  // namespace plimsoll::balance
