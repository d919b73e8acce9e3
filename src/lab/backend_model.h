// A sample server as a queue: W workers, one FIFO queue, log-normal service times. Pure: time and dice are arguments,
// so the very model that the sample backends serve by is tested without a clock. One thread per object.
// Source: the bench model of outage studies (M/G/W/K queue with blocking); service times log-normal as measured on
// web servers (Downey 2001, "Evidence for long-tailed distributions in the internet" for the shape).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/random.h"
#include "base/time.h"

namespace plimsoll::lab {

/// How a sample server behaves when nothing is wrong with it.
struct BackendSettings {
    double capacity = 200;                          ///< requests/s that it can serve; sets the number of workers
    Duration mean = std::chrono::milliseconds{40};  ///< mean service time
    double sigma = 0.5;                             ///< of the underlying normal; 0 = always the mean
    std::uint32_t queue = 100;                      ///< requests that may wait; one more is refused at once
    bool fast = false;                              ///< answer at once: no queue, no service time (benchmarks)
    friend bool operator==(const BackendSettings&, const BackendSettings&) = default;
};

/// What is wrong with it now. All switches may be combined.
struct BackendFaults {
    double slow = 1;        ///< service times are multiplied by this
    double fail_share = 0;  ///< fraction of requests answered 500
    bool fail_fast = true;  ///< failures are answered at once (else after their service time)
    bool hang = false;      ///< requests are taken and never answered, until switched off
    bool dead = false;      ///< no listener, connections reset
    friend bool operator==(const BackendFaults&, const BackendFaults&) = default;
};

/// The queue. Work is not cancelled when its client gives up, as in real servers. The time of completion is known at
/// arrival, because the queue is FIFO and service times are drawn then; a change of speed therefore applies to
/// requests that arrive after it.
class BackendModel {
public:
    BackendModel(const BackendSettings& settings, Random random);

    /// What became of an arrival.
    struct Admission {
        bool admitted = false;  ///< false = queue full, answer 503 at once
        bool failed = false;    ///< answer 500 at `done`
        Instant start{};        ///< when a worker takes it
        Instant done{};         ///< when the answer is ready
    };
    /// A request arrives at `now`; calls must not go back in time.
    [[nodiscard]] Admission arrive(Instant now);

    /// Requests waiting (not yet with a worker) at `now`.
    [[nodiscard]] std::size_t waiting(Instant now);
    /// Workers busy at `now`.
    [[nodiscard]] std::size_t busy(Instant now) const;

    /// New capacity in requests/s. More workers help at once; fewer take effect as the busy ones finish.
    void set_capacity(double capacity, Instant now);
    void set_faults(const BackendFaults& faults) { faults_ = faults; }
    [[nodiscard]] const BackendFaults& faults() const { return faults_; }
    [[nodiscard]] const BackendSettings& settings() const { return settings_; }
    [[nodiscard]] std::size_t workers() const { return free_at_.size(); }

private:
    void forget_started(Instant now);

    BackendSettings settings_;
    BackendFaults faults_;
    Random random_;
    std::vector<Instant> free_at_;  ///< when each worker is free next; a min-heap
    std::deque<Instant> starts_;    ///< of requests that still wait; ascending, because the queue is FIFO
};

/// Workers that give this capacity at this mean, at least one.
[[nodiscard]] std::size_t workers_for(double capacity, Duration mean);

}  // namespace plimsoll::lab
