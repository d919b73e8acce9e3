// What a source of endpoints said when it was asked.
// Thread rule: values.
#pragma once

#include <cstddef>
#include <vector>

#include "base/time.h"
#include "config/config.h"

namespace plimsoll::discovery {

/// Endpoints of one pool that are believed at most. A larger answer is no answer: somebody else's mistake must not
/// become our memory.
inline constexpr std::size_t max_found = 10'000;

struct Answer {
    std::vector<config::Endpoint> endpoints;  ///< in order of address, each address once
    Duration ttl{};                           ///< how long it holds, as the source says; 0 = not said
    /// Only a part could be asked for (A answered, AAAA did not): it may add endpoints, but proves nobody gone.
    bool partial = false;
    /// It has said so for as long as a second answer would take: who is missing is gone, however many they are.
    bool settled = false;
};

}  // namespace plimsoll::discovery
