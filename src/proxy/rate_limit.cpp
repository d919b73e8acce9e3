#include "proxy/rate_limit.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "base/hash.h"

namespace plimsoll::proxy {
namespace {

/// Slower than one request a day nobody limits; and sums of these durations stay far from the end of an Instant.
constexpr double max_interval_ns = 86'400e9;
constexpr double max_tolerance_ns = 1e18;

Duration clamped(double ns, double most) { return Duration{static_cast<std::int64_t>(std::clamp(ns, 1.0, most))}; }

std::uint64_t tag_of(const RateRule& rule, std::uint64_t key) {
    const std::uint64_t tag = keyed_hash(key, rule.id);
    return tag == 0 ? 1 : tag;
}

/// One request's worth of `rule` from a bucket that is full again at `full_at`. GCRA with virtual scheduling. Gives how
/// long to wait, zero when it was taken.
Duration take_one(std::atomic<std::int64_t>& full_at, const RateRule& rule, Instant now) {
    std::int64_t seen = full_at.load(std::memory_order_relaxed);
    while (true) {
        const std::int64_t from = std::max(seen, now.ns);
        const Duration ahead{from - now.ns};
        if (ahead > rule.tolerance) return ahead - rule.tolerance;
        // Another thread in between took one itself: somebody always gets on.
        if (full_at.compare_exchange_weak(seen, from + rule.interval.count(), std::memory_order_relaxed)) return {};
    }
}

}  // namespace

RateRule rate_rule(std::uint64_t id, double rate, double burst) {
    const double interval = std::clamp(1e9 / std::max(rate, 1e-9), 1.0, max_interval_ns);
    const double ahead = (std::max(burst, 1.0) - 1) * interval;
    return {id, clamped(interval, max_interval_ns),
            Duration{static_cast<std::int64_t>(std::clamp(ahead, 0.0, max_tolerance_ns))}};
}

std::uint64_t rate_rule_id(std::string_view route, std::string_view by, std::string_view header, std::uint32_t nth) {
    std::string text(route);
    text.append(1, '\0').append(by).append(1, '\0');
    for (const char c : header) text += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return keyed_hash(text, nth);
}

std::uint64_t rate_key(const net::Address& client, std::uint64_t hash_key) {
    std::string_view bytes = client.host_bytes();
    if (client.family() == net::Address::Family::ipv6) bytes = bytes.substr(0, 8);
    return keyed_hash(bytes, hash_key);
}

std::uint64_t rate_key(std::string_view value, std::uint64_t hash_key) { return keyed_hash(value, hash_key); }

std::uint64_t RateTable::Answer::retry_after_s() const {
    const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(retry_after.count(), 1));
    return (ns + 999'999'999) / 1'000'000'000;
}

RateTable::RateTable(std::size_t buckets)
    : sets_(std::make_unique<Set[]>(std::bit_ceil(std::max(buckets, ways)) / ways)),
      mask_(std::bit_ceil(std::max(buckets, ways)) / ways - 1) {}

/// The tag's bucket, or one that becomes the tag's: first a full one (as good as none), else the one nearest to full.
RateTable::Bucket& RateTable::find(std::uint64_t tag, Instant now) {
    Set& set = sets_[tag & mask_];
    while (true) {
        Bucket* nearest = nullptr;
        std::uint64_t tag_there = 0;
        std::int64_t full_at = INT64_MAX;
        for (Bucket& bucket : set.bucket) {
            const std::uint64_t other = bucket.tag.load(std::memory_order_relaxed);
            if (other == tag) return bucket;
            const std::int64_t at = bucket.full_at.load(std::memory_order_relaxed);
            if (nearest == nullptr || at < full_at) {
                nearest = &bucket;
                tag_there = other;
                full_at = at;
            }
        }
        if (!nearest->tag.compare_exchange_strong(tag_there, tag, std::memory_order_relaxed))
            continue;  // another got on
        if (full_at > now.ns) {
            displaced_.fetch_add(1, std::memory_order_relaxed);
            nearest->full_at.store(now.ns, std::memory_order_relaxed);
        }
        return *nearest;
    }
}

RateTable::Answer RateTable::take(std::span<const Demand> demands, Instant now) {
    for (std::size_t i = 0; i < demands.size(); ++i) {
        const RateRule& rule = *demands[i].rule;
        const Duration wait = take_one(find(tag_of(rule, demands[i].key), now).full_at, rule, now);
        if (wait == Duration{}) continue;
        for (std::size_t back = 0; back < i; ++back) {
            const RateRule& passed = *demands[back].rule;
            find(tag_of(passed, demands[back].key), now)
                .full_at.fetch_sub(passed.interval.count(), std::memory_order_relaxed);
        }
        return {.taken = false, .retry_after = wait, .refused_by = i};
    }
    return {};
}

RateTable::Answer RateTable::take(const RateRule& rule, std::uint64_t key, Instant now) {
    const Demand demand{&rule, key};
    return take(std::span(&demand, 1), now);
}

}  // namespace plimsoll::proxy
