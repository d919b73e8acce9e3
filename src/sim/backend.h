// The model of one server: W workers, one first-in-first-out queue, log-normal service time, and what can go wrong.
// Role: values and small state machines that World drives; nothing here knows about balancing.
// Source of the model: a bench of queueing servers as in docs/formats/scenario.md.
#pragma once

#include <cstdint>
#include <deque>
#include <variant>

#include "base/random.h"
#include "base/time.h"

namespace plimsoll::sim {

/// How a server behaves while nothing is wrong with it.
struct EndpointModel {
    std::uint32_t workers = 8;                         ///< requests it works on at once
    std::uint32_t queue = 100;                         ///< requests that may wait; one more is answered 503 at once
    Duration service = std::chrono::milliseconds(40);  ///< mean time of work for one request
    double sigma = 0.5;                                ///< of the log-normal; 0 = every request takes `service`
    double scale = 1;                                  ///< recorded times of work are multiplied by this on this server
    [[nodiscard]] double capacity() const { return static_cast<double>(workers) / seconds(service); }  ///< requests/s
};

/// A model with exactly this capacity whose workers are nearest to capacity x service (at least one); `service` is
/// stretched a little to make up for whole workers. capacity <= 0: many workers, so it never queues.
[[nodiscard]] EndpointModel sized(double capacity, Duration service, double sigma);

// ---- what can go wrong: each replaces what was wrong before
// ----------------------------------------------------------

struct Healthy {};
/// Work takes this many times as long.
struct Slow {
    double factor = 10;
};
/// This share of requests is answered 500; `fast`: in 2 ms and without a worker. Probes stay green unless asked for.
struct Fail {
    double share = 1;
    bool fast = true;
    bool probes = false;
};
/// The process is gone: what it worked on is reset, new connections are refused.
struct Refuse {};
/// Takes connections and requests, answers nothing.
struct Hang {};
/// Work takes this many times as long until `span` has passed (a cache that fills, code that compiles).
struct Cold {
    double factor = 3;
    Duration span = std::chrono::seconds(30);
};
using Fault = std::variant<Healthy, Slow, Fail, Refuse, Hang, Cold>;

/// One piece of work in a server: a request's attempt, or a probe.
struct Job {
    std::uint32_t owner = 0;       ///< slot of the request, or number of the probed endpoint
    std::uint32_t generation = 0;  ///< of the owner; if it has moved on, the work is done for nobody
    double size = 0;               ///< standard normal draw: how heavy this request is, whoever serves it
    Duration service{};            ///< 0 = by the model and `size`; else this long on a healthy server
    bool probe = false;
};

/// State of one simulated server. World tells it what arrives and when; it says what comes of it.
class Backend {
public:
    enum class Taken : std::uint8_t {
        started,  ///< a worker took it; ask `work_time`
        queued,
        full,       ///< answered 503 at once
        failed,     ///< answered 500 at once
        refused,    ///< connection refused
        swallowed,  ///< taken, never answered
    };
    Backend(EndpointModel model, Random random) : model_(model), random_(random) {}

    [[nodiscard]] Taken submit(const Job& job);
    /// How long this job occupies a worker, starting now.
    [[nodiscard]] Duration work_time(const Job& job, Instant now) const;
    /// A worker is free again; the next job to start, if any waits and the server is not stuck.
    [[nodiscard]] bool finish_one(Job& next);
    /// The status with which a finished job is answered; 0 = nothing comes (stuck).
    [[nodiscard]] std::uint16_t answer(const Job& job);
    /// Starts a job that waited through a hang; false when no worker is free or nobody waits.
    [[nodiscard]] bool resume_one(Job& next);
    /// Applies a fault. When the process dies, its queue is handed over in `lost` (what was in work, the caller knows).
    void apply(const Fault& fault, Instant now, std::deque<Job>& lost);

    void set_model(EndpointModel model) { model_ = model; }
    [[nodiscard]] const EndpointModel& model() const { return model_; }
    [[nodiscard]] std::uint32_t busy() const { return busy_; }
    [[nodiscard]] std::size_t waiting() const { return queue_.size(); }
    [[nodiscard]] std::uint32_t life() const { return life_; }  ///< counts deaths; work of a former life is void

private:
    EndpointModel model_;
    Random random_;
    Fault fault_;
    Instant cold_until_{INT64_MIN};
    std::deque<Job> queue_;
    std::uint32_t busy_ = 0;
    std::uint32_t life_ = 0;
};

}  // namespace plimsoll::sim
