#include "lab/statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

namespace plimsoll::lab {
namespace {

constexpr unsigned sub_bits = 6;
constexpr std::uint64_t sub = 1u << sub_bits;
constexpr std::size_t bucket_count = (32 - sub_bits + 1) * sub;

std::size_t bucket_of(std::uint64_t us) {
    us = std::min<std::uint64_t>(us, UINT32_MAX);
    if (us < sub) return us;
    const auto shift = static_cast<unsigned>(std::bit_width(us)) - 1 - sub_bits;
    return (shift + 1) * sub + ((us >> shift) - sub);
}

/// Largest number of microseconds that falls into the bucket.
std::uint64_t end_of(std::size_t bucket) {
    if (bucket < sub) return bucket;
    const auto shift = static_cast<unsigned>(bucket / sub - 1);
    return ((sub + bucket % sub + 1) << shift) - 1;
}

}  // namespace

Latencies::Latencies() : buckets_(bucket_count) {}

void Latencies::add(Duration latency) {
    latency = std::max(latency, Duration{0});
    ++buckets_[bucket_of(static_cast<std::uint64_t>(latency.count()) / 1000)];
    ++count_;
    sum_ += latency;
    largest_ = std::max(largest_, latency);
}

void Latencies::merge(const Latencies& other) {
    for (std::size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
    sum_ += other.sum_;
    largest_ = std::max(largest_, other.largest_);
}

Duration Latencies::quantile(double fraction) const {
    if (count_ == 0) return {};
    const auto rank =
        std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(fraction * static_cast<double>(count_))));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
        seen += buckets_[i];
        if (seen >= rank) return std::min(largest_, Duration{static_cast<std::int64_t>(end_of(i)) * 1000 + 999});
    }
    return largest_;
}

Duration Latencies::mean() const { return count_ == 0 ? Duration{} : sum_ / static_cast<std::int64_t>(count_); }

std::uint64_t Latencies::above(Duration limit) const {
    std::uint64_t result = 0;
    for (std::size_t i = bucket_of(static_cast<std::uint64_t>(limit.count()) / 1000) + 1; i < buckets_.size(); ++i)
        result += buckets_[i];
    return result;
}

double quantile(std::span<const double> values, double fraction) {
    if (values.empty()) return 0;
    std::vector<double> sorted(values.begin(), values.end());
    std::ranges::sort(sorted);
    const auto rank = static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(sorted.size())));
    return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

double median(std::span<const double> values) { return quantile(values, 0.5); }

double zipf_exponent(std::vector<std::uint64_t> counts) {
    std::ranges::sort(counts, std::greater{});
    double total = 0, weighted_log_rank = 0;
    std::vector<double> log_rank(counts.size());
    for (std::size_t i = 0; i < counts.size(); ++i) {
        log_rank[i] = std::log(static_cast<double>(i + 1));
        total += static_cast<double>(counts[i]);
        weighted_log_rank += static_cast<double>(counts[i]) * log_rank[i];
    }
    // The log-likelihood -s * sum(n_i ln i) - N ln H(s) is concave in s: ternary search.
    const auto likelihood = [&](double s) {
        double harmonic = 0;
        for (const double l : log_rank) harmonic += std::exp(-s * l);
        return -s * weighted_log_rank - total * std::log(harmonic);
    };
    double low = 0.2, high = 3;
    for (int i = 0; i < 60; ++i) {
        const double a = low + (high - low) / 3, b = high - (high - low) / 3;
        (likelihood(a) < likelihood(b) ? low : high) = likelihood(a) < likelihood(b) ? a : b;
    }
    return (low + high) / 2;
}

}  // namespace plimsoll::lab
