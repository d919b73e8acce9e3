// The story of docs/STORY.md, played unattended on real sockets: eight backends, the real program, its command line,
// load - and a list of promises, each kept or not.
// Thread rule: one thread plays; the parts it starts have their own.
#pragma once

#include <cstddef>
#include <string>

namespace plimsoll::lab {

struct StoryOptions {
    std::string plimsoll = "plimsoll";     ///< the program to play with
    std::string log;                       ///< access log to take requests from; empty = the traffic model
    std::string directory = ".run/story";  ///< state, configurations, logs and the postmortem; emptied first
    std::string json;                      ///< file for the figures; empty = none
    std::size_t runs = 1;                  ///< how often the bad change is forced in (case c)
    double rate = 960;                     ///< requests/s: 60 % of eight times 200
    std::uint64_t seed = 1;
};

/// Plays it all and prints what happens. 0 when everything went as promised, 1 when something did not (and says
/// precisely what), 2 when the stage could not be set.
[[nodiscard]] int play(const StoryOptions& options);

}  // namespace plimsoll::lab
