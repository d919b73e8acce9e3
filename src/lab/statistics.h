// Figures of a run: a histogram of latencies and summaries of a few measurements. Pure; one thread per object.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/time.h"

namespace plimsoll::lab {

/// Latencies from 1 us to about 70 minutes in buckets no wider than 1/64 of their value (about 1.6 %).
/// The idea of HdrHistogram (Tene 2015): linear buckets within each power of two.
class Latencies {
public:
    Latencies();
    void add(Duration latency);
    void merge(const Latencies& other);
    [[nodiscard]] std::uint64_t count() const { return count_; }
    /// Smallest latency that at least this fraction stays at or below, rounded up to its bucket's end and never above
    /// the largest one seen. 0 when empty. `fraction` in [0, 1].
    [[nodiscard]] Duration quantile(double fraction) const;
    [[nodiscard]] Duration largest() const { return largest_; }
    [[nodiscard]] Duration mean() const;
    /// How many lie above `limit`, to the precision of a bucket.
    [[nodiscard]] std::uint64_t above(Duration limit) const;

private:
    std::vector<std::uint32_t> buckets_;
    std::uint64_t count_ = 0;
    Duration sum_{}, largest_{};
};

/// Nearest-rank quantile of a handful of measurements (so p50 of 20 runs is a run that happened). 0 when empty.
[[nodiscard]] double quantile(std::span<const double> values, double fraction);
[[nodiscard]] double median(std::span<const double> values);

/// Exponent s of a finite Zipf law count(rank) ~ rank^-s, by maximum likelihood over [0.2, 3]; counts in any order.
/// Clauset, Shalizi, Newman 2009, "Power-law distributions in empirical data", section 3.
[[nodiscard]] double zipf_exponent(std::vector<std::uint64_t> counts);

}  // namespace plimsoll::lab
