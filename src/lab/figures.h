// Measures what the traffic model needs from somebody's log: the figures of docs/traffic-model.md come from here.
// Pure. Source: see docs/traffic-model.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace plimsoll::lab {

/// Spread of a quantity.
struct Spread {
    std::size_t count = 0;
    double mean = 0, p50 = 0, p90 = 0, p99 = 0, largest = 0;
    double log_mean = 0, log_sigma = 0;  ///< of the natural logarithm, over values above 0
};

/// How a total divides among names (paths, clients).
struct Popularity {
    std::size_t distinct = 0;
    double exponent = 0;  ///< finite Zipf law, maximum likelihood
    double top_1 = 0, top_10 = 0, top_100 = 0;
};

/// An access log in combined format.
struct LogFigures {
    std::size_t requests = 0, bad_lines = 0;
    Popularity paths, clients;
    std::map<std::string, double> methods, statuses, endings;  ///< shares
    double query_share = 0, referer_share = 0;
    Spread size_200, path_length, agent_length, referer_length;
};
[[nodiscard]] LogFigures measure_log(std::string_view text);
[[nodiscard]] std::string print(const LogFigures& figures);

/// Requests per minute over a long time ("time,count" lines).
struct ShapeFigures {
    std::size_t minutes = 0;
    double mean = 0, largest = 0;
    double p05 = 0, p50 = 0, p95 = 0, p99 = 0;  ///< of a minute over the mean of the hour around it
    double sigma = 0;                           ///< of the log, from the distance between p05 and p95
    double memory = 0;                          ///< correlation of one minute with the next
};
/// Minutes in hours with a mean below `quiet` requests a minute are left out: they are mostly counting noise.
[[nodiscard]] ShapeFigures measure_minutes(std::string_view csv, double quiet = 1000);
[[nodiscard]] std::string print(const ShapeFigures& figures);

}  // namespace plimsoll::lab
