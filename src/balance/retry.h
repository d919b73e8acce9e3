// Whether to try once more: conditions, safety, and a budget so that retries cannot become the outage. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/outcome.h"
#include "base/time.h"

namespace plimsoll::balance {

enum class RetryOn : std::uint8_t { connect_failure = 1, reset = 2, timeout = 4, status_5xx = 8 };

struct RetryFacts {
    std::uint8_t attempts = 2;    ///< in all, 1..max_attempts; 1 = no retry
    std::uint8_t on = 1;          ///< set of RetryOn bits
    bool non_idempotent = false;  ///< also POST/PATCH after bytes were sent; off unless the operator says so
    double budget = 0.2;          ///< retries per request in the recent past
    double min_per_second = 3;    ///< a quiet pool may retry this much whatever the budget says; per worker
};

/// Most tokens a bucket holds: what one endpoint's connections need that break all at once, and no more; a healthy
/// hour must not pay for a storm.
inline constexpr double retry_burst = 100;

/// Token bucket over requests: each request earns `budget` tokens (capped), each retry costs one (Finagle's
/// RetryBudget). In a pool so quiet that min_per_second would have earned more since the last request, time earns
/// instead; the two never add up.
struct RetryBudget {
    double tokens = 0;
    Instant refilled{INT64_MIN / 2};  ///< when it last earned; long ago at first, so that the first request may retry
};
void on_request(RetryBudget& budget, const RetryFacts& facts, Instant now);

/// Whether to try once more, and takes the token if so; a refused connection costs none. `made` = attempts made so far. `sent` = some byte of the
/// request may have reached the endpoint; then only an idempotent request (or non_idempotent) with a replayable body is
/// sent again.
[[nodiscard]] bool may_retry(RetryBudget& budget, const RetryFacts& facts, const Attempt& failed, std::uint8_t made,
                             bool idempotent, bool sent, bool body_replayable, Instant now);

/// Reads Retry-After (RFC 9110 10.2.3): seconds, or a date in any of the three forms of RFC 9110 5.6.7, as the time
/// from `now`; a date that is past gives 0. nullopt if it is neither. See hold_back for what is made of it.
[[nodiscard]] std::optional<Duration> retry_after(std::string_view value, Timestamp now);

}  // namespace plimsoll::balance
