// Whether to try once more: conditions, safety, and a budget so that retries cannot become the outage. Pure; see
// balance.h. Source of the budget: Finagle's RetryBudget; that time and requests do not add up is ours.
#include <algorithm>

#include "balance/balance.h"

namespace plimsoll::balance {
namespace {

/// What the quiet-pool rule has earned since the last time anything was earned; at most one second's worth (and at
/// least one retry, for pools that may do less than one a second).
double earned_by_time(const RetryBudget& budget, const RetryFacts& facts, Instant now) {
    if (facts.min_per_second <= 0) return 0;
    const double worth = facts.min_per_second * std::max(seconds(now - budget.refilled), 0.0);
    return std::min(worth, std::max(1.0, facts.min_per_second));
}

bool asked_for(std::uint8_t on, const Attempt& failed) {
    const auto has = [on](RetryOn bit) { return (on & static_cast<std::uint8_t>(bit)) != 0; };
    switch (failed.cause) {
        case Cause::connect_refused:
        case Cause::connect_failed: return has(RetryOn::connect_failure);
        case Cause::connect_timeout: return has(RetryOn::connect_failure) || has(RetryOn::timeout);
        case Cause::upstream_reset: return has(RetryOn::reset);
        case Cause::try_timeout: return has(RetryOn::timeout);
        case Cause::none: return failed.status >= 500 && has(RetryOn::status_5xx);
        default: return false;  // the client left, our own limits, or an answer that had begun
    }
}

}  // namespace

void on_request(RetryBudget& budget, const RetryFacts& facts, Instant now) {
    const double earned = std::max(facts.budget, earned_by_time(budget, facts, now));
    budget.tokens = std::min(budget.tokens + earned, retry_burst);
    budget.refilled = now;
}

bool may_retry(RetryBudget& budget, const RetryFacts& facts, const Attempt& failed, std::uint8_t made, bool idempotent,
               bool sent, bool body_replayable, Instant now) {
    if (made >= std::min<std::size_t>(facts.attempts, max_attempts)) return false;
    if (!asked_for(facts.on, failed)) return false;
    if (sent && !body_replayable) return false;
    if (sent && !idempotent && !facts.non_idempotent) return false;
    // Nobody was there: it adds no load to anybody, and a dead endpoint must not use up what a slow one will need.
    if (!sent && failed.cause == Cause::connect_refused) return true;
    if (budget.tokens < 1) {
        const double quiet = earned_by_time(budget, facts, now);
        if (quiet <= facts.budget || budget.tokens + quiet < 1) return false;
        budget.tokens += quiet;
        budget.refilled = now;
    }
    budget.tokens -= 1;
    return true;
}

}  // namespace plimsoll::balance
