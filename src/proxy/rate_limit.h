// Rate limits: token buckets in the form of GCRA, one instant per bucket, in a table of fixed size that all workers
// share (docs/decisions/0011). What a limit remembers belongs to its identity, not to a revision.
// Thread rule: take() from any thread; relaxed atomics, no lock, nothing waits. Two workers that meet on the same key
// for the first time may let one request too many through.
// Source: ITU-T I.371 (generic cell rate algorithm); RFC 6585 section 4 (429), RFC 9110 10.2.3 (Retry-After).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/time.h"
#include "net/address.h"

namespace plimsoll::proxy {

/// A limit as a table wants it: made once per snapshot.
struct RateRule {
    std::uint64_t id = 0;  ///< stable over revisions: rate_rule_id()
    Duration interval{};   ///< between two requests at the rate
    Duration tolerance{};  ///< (burst - 1) * interval: how far ahead of the rate a key may be
};

/// `rate` in requests/s over the whole server, `burst` in requests; a rate below one a day and a burst below one are
/// raised to that.
[[nodiscard]] RateRule rate_rule(std::uint64_t id, double rate, double burst);
/// The identity of a limit: what it counts, not how much it allows. `by` is "client", "header" or "route". Two limits
/// of a route that count the same thing are told apart by `nth`, 0, 1, ... among them in file order.
[[nodiscard]] std::uint64_t rate_rule_id(std::string_view route, std::string_view by, std::string_view header,
                                         std::uint32_t nth);

/// Whose bucket. `hash_key` is a secret of this process: nobody outside can aim at another's bucket.
/// An IPv6 address counts by its /64, which one customer has at least.
[[nodiscard]] std::uint64_t rate_key(const net::Address& client, std::uint64_t hash_key);
/// A header's value; all who send none share the bucket of the empty value.
[[nodiscard]] std::uint64_t rate_key(std::string_view value, std::uint64_t hash_key);

class RateTable {
public:
    /// Keys with a bucket that is not full at the same time. 131,072 clients within burst/rate (usually a second or a
    /// few) are more than one machine serves; 16 bytes each: 2 MiB.
    static constexpr std::size_t default_buckets = 131'072;

    /// Rounded up to a power of two, at least 8.
    explicit RateTable(std::size_t buckets = default_buckets);

    /// One limit that a request must pass.
    struct Demand {
        const RateRule* rule = nullptr;
        std::uint64_t key = 0;
    };
    struct Answer {
        bool taken = true;
        Duration retry_after{};      ///< not taken: from then on it would be, if nobody else comes first
        std::size_t refused_by = 0;  ///< not taken: index of the demand that said no
        /// What the Retry-After field says: whole seconds, rounded up, at least 1.
        [[nodiscard]] std::uint64_t retry_after_s() const;
    };
    /// Passes all limits or counts for none. O(demands). `now` may lag behind other threads' by a turn of the loop.
    Answer take(std::span<const Demand> demands, Instant now);
    Answer take(const RateRule& rule, std::uint64_t key, Instant now);

    /// Buckets that had to go though they were not full, since the start: the key they belonged to was forgiven what it
    /// had used. Grows only when more keys are active at once than there is room (an attack with many addresses): then
    /// of eight buckets the one nearest to full goes, so that who sends most stays limited.
    [[nodiscard]] std::uint64_t displaced() const { return displaced_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::size_t buckets() const { return (mask_ + 1) * ways; }

private:
    static constexpr std::size_t ways = 8;  ///< buckets looked at for a key: two cache lines
    struct Bucket {
        std::atomic<std::uint64_t> tag{0};  ///< of (rule, key); 0 = never used
        /// ns; in the past = full, the same as no bucket. Begins far from where arithmetic ends.
        std::atomic<std::int64_t> full_at{INT64_MIN / 2};
    };
    struct alignas(64) Set {
        Bucket bucket[ways];
    };
    Bucket& find(std::uint64_t tag, Instant now);

    std::unique_ptr<Set[]> sets_;
    std::size_t mask_ = 0;
    std::atomic<std::uint64_t> displaced_{0};
};

}  // namespace plimsoll::proxy
