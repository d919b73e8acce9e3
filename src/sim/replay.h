// Replay: recorded traffic at its recorded peak through the decisions of two configs, with queueing servers sized from
// declared capacity. The forecast of a change before it takes a request. Pure: a value in, a value out; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/time.h"
#include "check/forecast.h"
#include "config/config.h"
#include "recording/recording.h"

namespace plimsoll::sim {

struct ReplayOptions {
    double peak_rate = 0;  ///< requests/s; 0 = the recording's highest over 10 s
    std::uint64_t seed = 1;
    Duration longest = std::chrono::seconds(60);  ///< of virtual time, a case
    std::size_t most_requests = 10'000;           ///< a case; keeps a replay with all its cases well below a second
    std::size_t most_under_fault = 5'000;  ///< where a server has a fault: what is judged there is 5 % of requests and
                                           ///< more, three standard deviations of 5,000 are at most 3 %
    Duration service = std::chrono::milliseconds(40);         ///< mean time of work where none was recorded
    double sigma = 0.5;                                       ///< of the log-normal, there
    Duration slow_at_least = std::chrono::milliseconds(300);  ///< slow = above this and above twice today's p99
    std::vector<check::OutOfRotation> out = {};  ///< endpoints that are out now: refuse connections in every case, but
                                                 ///< the whole is done again with everybody up
    bool faults = true;                          ///< also the standard faults
    std::function<void()> between = {};          ///< called before each case: a caller that is in nobody's way rests
};

/// Replays `recording` under both configs: shares, utilisation, failed and slow fractions, route and pool changes; and
/// both again under each standard fault (the busiest server dies, hangs, fails fast, is ten times slower; 110 % of
/// peak), because a change may only be blamed for what it makes worse. With endpoints out, all of it once more with
/// everybody up, which doubles the cost. An empty recording gives a forecast without data. Same arguments, same
/// forecast. Cost: about half a microsecond a simulated request.
[[nodiscard]] check::Forecast replay(const recording::Recording& recording, const config::Config& before,
                                     const config::Config& after, const ReplayOptions& options = {});

}  // namespace plimsoll::sim
