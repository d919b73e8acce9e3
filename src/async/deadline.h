// Deadline: how long whatever waits may wait. Passed down by value; a callee can only make it earlier.
#pragma once

#include "base/time.h"

namespace plimsoll::async {

struct Deadline {
    Instant at = never;  ///< `never` = wait for ever

    [[nodiscard]] static constexpr Deadline none() { return {never}; }
    /// `wait` <= 0 means "no limit", as a timeout of 0 does in a config.
    [[nodiscard]] static constexpr Deadline after(Instant now, Duration wait) {
        return wait.count() <= 0 ? none() : Deadline{now + wait};
    }
    [[nodiscard]] constexpr bool passed(Instant now) const { return at <= now; }
    friend constexpr bool operator==(Deadline, Deadline) = default;
};

[[nodiscard]] constexpr Deadline earlier(Deadline a, Deadline b) { return a.at <= b.at ? a : b; }

}  // namespace plimsoll::async
