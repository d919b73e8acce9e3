// Where simulated requests come from: a Poisson process with a mix of paths, or a recording with its own times.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "recording/recording.h"

namespace plimsoll::sim {

/// One kind of request in a mix.
struct Kind {
    std::string host = "example.test";
    std::string path = "/";
    std::string method = "GET";
    double weight = 1;   ///< relative
    Duration service{};  ///< time of work on a healthy server; 0 = by the server's model
};

/// Independent arrivals at a mean rate.
struct Poisson {
    double rate = 100;  ///< requests/s
    std::vector<Kind> mix = {Kind{}};
    Instant from;
    Instant to = never;
};

/// The records [first, last) of a recording, in order, times divided by `speed`, over again until `to`.
struct Replayed {
    std::shared_ptr<const recording::Recording> recording;
    std::size_t first = 0, last = 0;
    double speed = 1;
    Instant from;
    Instant to = never;
    bool repeat = true;
    bool recorded_service =
        true;  ///< work takes what was recorded (times the server's scale), not what its model draws
};

using Traffic = std::variant<Poisson, Replayed>;

/// One request about to arrive. Views live as long as the source.
struct Arrival {
    Instant at = never;
    std::string_view host, path, method;
    std::string_view listener{};                  ///< empty = the usual one
    const recording::Answers* answers = nullptr;  ///< of what was recorded; null = no headers and no query
    Duration service{};
    double size = 0;        ///< standard normal: see Job
    std::uint64_t key = 0;  ///< what assigns the arm
    std::uint64_t client = 0;
};

/// A running source of arrivals; draws from its own dice, so that a different balancing decision elsewhere does not
/// change what arrives.
class Source {
public:
    Source(Traffic traffic, Random random);
    [[nodiscard]] const Arrival& next() const { return next_; }
    void advance();

private:
    void draw(const Poisson& poisson);
    void draw(const Replayed& replayed);

    Traffic traffic_;
    Random random_;
    Arrival next_;
    std::vector<double> cumulative_;  ///< of the mix
    std::size_t record_ = 0;
    Instant lap_;
};

}  // namespace plimsoll::sim
