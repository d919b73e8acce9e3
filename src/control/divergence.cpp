#include "control/divergence.h"

#include <fmt/format.h>

#include <algorithm>

namespace plimsoll::control {

namespace {

judge::Signal signal_of(const Differing& one, Instant now) {
    judge::Signal signal;
    signal.kind = judge::SignalKind::divergence;
    signal.subject = one.subject;
    signal.at = now;
    signal.value = seconds(now - one.since);
    signal.threshold = seconds(one.allowed);
    signal.text = fmt::format("{}: what is wanted has not been what serves for {} ({} are allowed): {}", one.subject,
                              text(now - one.since), text(one.allowed), one.why);
    return signal;
}

}  // namespace

std::vector<Divergence::Seen> Divergence::observe(const std::vector<Differing>& differing, Instant now) {
    std::vector<Seen> changed;
    const auto about = [](const std::string& subject) {
        return [&subject](const auto& one) { return one.subject == subject; };
    };
    for (const Differing& one : differing) {
        const auto known =
            std::ranges::find_if(firing_, [&](const Seen& seen) { return seen.signal.subject == one.subject; });
        if (known != firing_.end() || now - one.since < one.allowed) continue;
        firing_.push_back({signal_of(one, now), one.pool});
        changed.push_back(firing_.back());
    }
    std::erase_if(firing_, [&](Seen& seen) {
        if (std::ranges::any_of(differing, about(seen.signal.subject))) return false;
        seen.signal.firing = false;
        seen.signal.at = now;
        seen.signal.text = fmt::format("{}: what is wanted serves", seen.signal.subject);
        changed.push_back(seen);
        return true;
    });
    return changed;
}

}  // namespace plimsoll::control
