// What one route's conditions say about another's. Private to this room.
#pragma once

#include <optional>
#include <vector>

#include "config/config.h"

namespace plimsoll::check {

/// For each route the earlier one that takes all of its requests, if there is one. O(routes x path segments).
[[nodiscard]] std::vector<std::optional<std::size_t>> covered_by(const std::vector<config::Route>& routes);

/// Whether some request satisfies both.
[[nodiscard]] bool overlap(const config::Match& a, const config::Match& b);

}  // namespace plimsoll::check
