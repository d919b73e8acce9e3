// Pools from config to facts. Used by compile.cpp.
#pragma once

#include <cstdint>
#include <string_view>

#include "config/config.h"
#include "snapshot/snapshot.h"

namespace plimsoll::snapshot {

/// `zone` = the balancer's own. `before` = the same pool in the previous snapshot, or null: lends its hash table if the
/// endpoints that it was made from are the same.
[[nodiscard]] Pool compile_pool(const config::Pool& written, std::string_view zone, Identities& identities,
                                std::uint32_t workers, const Pool* before);

}  // namespace plimsoll::snapshot
