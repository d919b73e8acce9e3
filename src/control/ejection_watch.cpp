#include "control/ejection_watch.h"

#include <fmt/format.h>

#include <chrono>
#include <ranges>

namespace plimsoll::control {

namespace {

/// We look ten times a second: what is left of ten seconds is told as ten.
Duration rounded(Duration left) { return std::chrono::ceil<std::chrono::duration<std::int64_t, std::deci>>(left); }

std::string why(const std::string& who, const balance::Standing& standing, Instant now) {
    const std::string time = text(rounded(standing.out_until - now));
    const std::uint32_t times = standing.times[static_cast<std::size_t>(standing.by)];
    switch (standing.by) {
        case balance::OutBy::failures:
            return fmt::format("{} is ejected for {} after failures in a row ({} so far)", who, time, times);
        case balance::OutBy::success_rate:
            return fmt::format("{} is ejected for {}: it fails far more often than the others of its pool ({} so far)",
                               who, time, times);
        case balance::OutBy::retry_after:
            return fmt::format("{} is left alone for {}, as its 503 with Retry-After asked ({} so far)", who, time,
                               times);
    }
    return who;
}

}  // namespace

std::vector<EjectionWatch::Seen> EjectionWatch::look(const balance::SharedEjections& ejections,
                                                     std::span<const snapshot::Snapshot* const> resident, Instant now) {
    std::vector<Seen> seen;
    if (const std::uint32_t version = ejections.version(); version != version_) {
        version_ = version;  // read before the rest: what comes meanwhile is looked at the next time
        for (const snapshot::Snapshot* snapshot : resident) {
            if (snapshot == nullptr) continue;
            for (const snapshot::Pool& pool : snapshot->pools) {
                for (const snapshot::Endpoint& endpoint : pool.endpoints) {
                    const balance::Standing standing = ejections.standing(endpoint.id);
                    if (standing.out_until <= now) continue;
                    Out& known = out_[endpoint.id];
                    if (known.until == standing.out_until) continue;
                    known = {standing.out_until, fmt::format("endpoint {} of pool {}", endpoint.name, pool.name)};
                    seen.push_back({endpoint.id, true, why(known.who, standing, now)});
                }
            }
        }
    }
    std::erase_if(out_, [&](const auto& one) {
        if (one.second.until > now) return false;
        seen.push_back({one.first, false, one.second.who + " takes requests again"});
        return true;
    });
    return seen;
}

std::set<EndpointId> EjectionWatch::out() const {
    const auto ids = std::views::keys(out_);
    return {ids.begin(), ids.end()};
}

}  // namespace plimsoll::control
