// The story's clock beside ours. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/time.h"
#include "lab/promises.h"

namespace plimsoll::lab {

/// When what happened in scene (c), by the wall clock.
struct Clock {
    std::optional<Timestamp> t0, detected, told, cause, rolled_back, recovered, postmortem;
    std::uint64_t harmed = 0;
};
[[nodiscard]] std::string print_table(const Clock& clock);
/// p50 and max of what the runs of scene (c) gave.
[[nodiscard]] std::string print_runs(const Promises& promises);

}  // namespace plimsoll::lab
