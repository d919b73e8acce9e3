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

/// Two routes of `after`, by index, the first of which came later in `before`.
struct Swapped {
    std::size_t first = 0, second = 0;
    friend bool operator==(const Swapped&, const Swapped&) = default;
};
/// Pairs of routes (by name) that changed places, overlap and lead to different pools; at most `most`. Looks only at
/// pairs whose hosts can be the same, so a table of many hosts costs little.
[[nodiscard]] std::vector<Swapped> swapped(const std::vector<config::Route>& before,
                                           const std::vector<config::Route>& after, std::size_t most);

}  // namespace plimsoll::check
