// The eight servers of one pool that the tests of judging and of rollouts are about. For tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "judge/facts.h"

namespace plimsoll::judge {

inline std::vector<double> even_shares() { return std::vector<double>(8, 0.125); }

/// b0 to b7 of pool web, with what each revision is expected to send there.
inline std::vector<EndpointFacts> eight_servers(const std::vector<double>& expected_active,
                                                const std::vector<double>& expected_candidate, double capacity) {
    std::vector<EndpointFacts> all;
    for (std::uint32_t i = 0; i < 8; ++i)
        all.push_back({.id = EndpointId{i},
                       .name = "b" + std::to_string(i),
                       .pool = "web",
                       .group = "",
                       .capacity = capacity,
                       .expected_active = expected_active[i],
                       .expected_candidate = expected_candidate[i]});
    return all;
}

/// One of the eight, by their shares.
inline std::uint32_t draw(Random& random, const std::vector<double>& shares) {
    double u = random.uniform();
    for (std::uint32_t i = 0; i < 8; ++i) {
        if (u < shares[i]) return i;
        u -= shares[i];
    }
    return 7;
}

}  // namespace plimsoll::judge
