// Pools from config to facts. Used by compile.cpp.
#pragma once

#include <cstdint>
#include <string_view>

#include "config/config.h"
#include "snapshot/snapshot.h"

namespace plimsoll::snapshot {

/// The balancer's own zone; no name = it has none. `traffic`: see balance::PoolFacts::own_zone_traffic.
struct OwnZone {
    std::string_view name;
    double traffic = 0;
};

/// `before` = the same pool in the previous snapshot, or null: lends its hash table if the
/// endpoints that it was made from are the same.
[[nodiscard]] Pool compile_pool(const config::Pool& written, const OwnZone& zone, Identities& identities,
                                std::uint32_t workers, const Pool* before);

}  // namespace plimsoll::snapshot
