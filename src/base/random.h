// Our own dice: the same seed gives the same numbers on every machine and compiler, which std:: distributions do not.
#pragma once

#include <array>
#include <cstdint>

namespace plimsoll {

/// xoshiro256++ (Blackman and Vigna 2018, https://prng.di.unimi.it), seeded through splitmix64. Not for secrets.
class Random {
public:
    explicit Random(std::uint64_t seed);

    std::uint64_t next();
    /// Uniform in [0, 1), 53 bits.
    double uniform();
    /// Uniform in [0, n), unbiased (Lemire 2019, "Fast Random Integer Generation in an Interval"). n > 0.
    std::uint64_t below(std::uint64_t n);
    /// True with probability p.
    bool chance(double p) { return uniform() < p; }
    /// Exponential with the given mean, same unit as the mean.
    double exponential(double mean);
    /// Standard normal (Box and Muller 1958; both values are used).
    double normal();
    /// Log-normal by its *mean* (not its median) and the sigma of the underlying normal.
    double lognormal(double mean, double sigma);
    /// An independent stream derived from this one, for a part that draws at its own pace.
    Random split();

private:
    std::array<std::uint64_t, 4> state_;
    double spare_normal_ = 0;
    bool has_spare_ = false;
};

}  // namespace plimsoll
