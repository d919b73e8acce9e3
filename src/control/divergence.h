// Divergence: what is wanted and what serves differ, and have for too long. Facts and time in, signals out; pure.
// Source: Slack 2020-05-12: the list of servers silently stopped being followed, and nobody was told.
#pragma once

#include <string>
#include <vector>

#include "base/time.h"
#include "judge/watch.h"

namespace plimsoll::control {

/// Something that is not as it is wanted.
struct Differing {
    std::string subject;  ///< "pool web", "workers"
    std::string pool;     ///< empty = all
    Instant since;
    Duration allowed{};  ///< so long it is no signal
    std::string why;     ///< what stands in the way
};

/// Remembers what fires, so that each beginning and each end is said once.
class Divergence {
public:
    struct Seen {
        judge::Signal signal;
        std::string pool;
    };
    /// All that differs now. Returns what began or ended to be a signal.
    [[nodiscard]] std::vector<Seen> observe(const std::vector<Differing>& differing, Instant now);
    [[nodiscard]] const std::vector<Seen>& firing() const { return firing_; }

private:
    std::vector<Seen> firing_;
};

}  // namespace plimsoll::control
