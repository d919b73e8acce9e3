// What one route's conditions say about another's. Private to this room.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace plimsoll::check {

/// For each route the earlier one that takes all of its requests, if that can be proved: hosts with wildcards, paths,
/// methods, listeners, conditions on headers and query; patterns when they are the same text, when an exact path fits
/// one, or when all their matches begin below a prefix. Several routes that together hide one are not looked for.
/// O(routes x (labels + path segments)).
[[nodiscard]] std::vector<std::optional<std::size_t>> covered_by(const std::vector<config::Route>& routes);

/// Whether some ordinary request satisfies both; true when patterns leave it open.
[[nodiscard]] bool overlap(const config::Match& a, const config::Match& b);

/// Whether both lead to the same answer: pool, split, redirect or respond.
[[nodiscard]] bool same_action(const config::Route& a, const config::Route& b);
/// "pool web", "pools a and b", "a redirect (308)", "an answer of our own (200)".
[[nodiscard]] std::string action_text(const config::Route& route);

/// Whether a host pattern ("", exact, "*.example.com") takes every host of another.
[[nodiscard]] bool host_covered(std::string_view pattern, std::string_view host);

/// Two routes of `after`, by index, the first of which came later in `before`.
struct Swapped {
    std::size_t first = 0, second = 0;
    friend bool operator==(const Swapped&, const Swapped&) = default;
};
/// Pairs of routes (by name) that changed places, overlap and lead to different answers; at most `most`. Looks only at
/// pairs whose hosts can be the same, so a table of many hosts costs little.
[[nodiscard]] std::vector<Swapped> swapped(const std::vector<config::Route>& before,
                                           const std::vector<config::Route>& after, std::size_t most);

}  // namespace plimsoll::check
