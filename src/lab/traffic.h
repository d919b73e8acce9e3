// A realistic mix of requests, from measured figures or from an access log. Pure: same seed, same requests, byte for
// byte. One thread per object. The figures and how they were measured: docs/traffic-model.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "recording/recording.h"

namespace plimsoll::lab {

/// When requests come: Poisson arrivals whose rate itself wanders, log-normally and with memory, from step to step.
/// A recorded minute is played as one step, so the wander of an hour fits into two minutes.
struct ArrivalShape {
    Duration step = std::chrono::seconds{2};
    double sigma = 0.095;  ///< of the log of the rate, per step
    double memory = 0.58;  ///< correlation of that log between one step and the next
};

/// What a site's log says about its requests; the defaults are those measured (docs/traffic-model.md).
struct TrafficModel {
    std::uint32_t paths = 1498;  ///< distinct paths
    double path_exponent = 1.02;
    std::uint32_t clients = 1753;
    double client_exponent = 0.82;
    double head_method = 0.0042, post_method = 0.0005;                                   ///< the rest is GET
    double not_modified = 0.0445, not_found = 0.0213, moved = 0.0164, partial = 0.0045;  ///< the rest is 200
    double size_log_mean = 9.456, size_log_sigma = 1.661;  ///< of the body of a 200, bytes; a property of its path
    std::uint32_t size_limit = 256 * 1024;                 ///< longer bodies are cut here (3 % of requests)
    double query_share = 0.126;                            ///< paths with a query
    double agent_mean = 90, agent_sigma = 35;              ///< length of User-Agent, bytes; a property of its client
    double referer_share = 0.59, referer_mean = 61;        ///< length of Referer, bytes
    ArrivalShape arrivals;
};

/// One request to send.
struct Request {
    Duration at{};               ///< since the start of the run
    std::uint32_t client = 0;    ///< which client, from 0
    std::string method = "GET";  ///< GET, HEAD or POST
    std::string path;            ///< with its query
    std::uint16_t status = 200;  ///< what a healthy server answers
    std::uint32_t size = 0;      ///< bytes of the answer's body (0 for 304)
    std::uint32_t body = 0;      ///< bytes of the request's body
    std::uint16_t agent_bytes = 0, referer_bytes = 0;
    friend bool operator==(const Request&, const Request&) = default;
};

/// Draws ranks 0..n-1 with probability ~ (rank + 1)^-s, from a table. O(log n) a draw.
class Zipf {
public:
    Zipf(std::uint32_t n, double exponent);
    [[nodiscard]] std::uint32_t draw(Random& random) const;
    /// Probability of a rank.
    [[nodiscard]] double probability(std::uint32_t rank) const;

private:
    std::vector<double> cumulative_;
};

/// Times of arrival at a mean rate, without end.
class Arrivals {
public:
    Arrivals(double rate, ArrivalShape shape, Random random);
    /// Ascending, since the start.
    [[nodiscard]] Duration next();

private:
    void next_step();

    double rate_;
    ArrivalShape shape_;
    Random random_;
    double log_factor_ = 0, factor_ = 1;
    double now_ = 0, step_end_ = 0;  ///< seconds
};

/// An endless stream of requests.
class Traffic {
public:
    /// From the model. `rate` in requests/s.
    Traffic(const TrafficModel& model, double rate, std::uint64_t seed);
    /// Clients, paths, methods, sizes and order of a recording, played round and round; arrivals from the model,
    /// because a log's whole seconds say little about arrivals and the rate is ours to choose. Statuses of 5xx are
    /// played as 200: they were faults of that day's servers. Empty recording = the model's own mix.
    Traffic(recording::Recording recording, const TrafficModel& model, double rate, std::uint64_t seed);

    [[nodiscard]] Request next();

private:
    [[nodiscard]] Request invent();
    [[nodiscard]] Request replay();

    TrafficModel model_;
    Random random_;
    Arrivals arrivals_;
    Zipf paths_, clients_;
    std::uint64_t seed_;
    std::vector<recording::Record> records_;
    std::vector<std::uint32_t> record_client_;
    std::size_t position_ = 0;
};

/// The path of a rank, as the model names it: stable for a seed.
[[nodiscard]] std::string path_of(const TrafficModel& model, std::uint32_t rank, std::uint64_t seed);

/// Requests drawn from the model as an access log in combined format, `count` lines: for trying importers.
[[nodiscard]] std::string combined_log(Traffic& traffic, std::size_t count, Timestamp start);

}  // namespace plimsoll::lab
