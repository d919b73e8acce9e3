// Two long checks of promises that a story is too short for: many changes under load, and kill -9 in the middle of
// changes. Thread rule: one thread plays; the parts it starts have their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace plimsoll::lab {

struct DrillOptions {
    std::string plimsoll = "plimsoll";  ///< the program to play with
    std::string directory = ".run/drill";
    std::string json;  ///< file for the figures; empty = none
    std::size_t count = 0;
    std::size_t connections = 64;  ///< of wrk
    std::uint64_t seed = 1;
};

/// `count` benign changes, back and forth, one after the other under `wrk`; promises: each is applied, no request
/// fails, no connection is closed. 0 when kept, 1 when not, 2 when the stage could not be set.
[[nodiscard]] int drill_changes(const DrillOptions& options);

/// `count` applies, each with a kill -9 of the server at a random moment; promises: after each restart the active
/// revision is one that was acknowledged, or the one before, and the journal is intact. Exit as drill_changes.
[[nodiscard]] int drill_kill(const DrillOptions& options);

}  // namespace plimsoll::lab
