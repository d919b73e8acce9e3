// Watch: signals that do not need a comparison of arms, for every second of every day. Pure: windows in, signals out;
// state is the caller's. One Watch per process, on control's thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "judge/facts.h"
#include "measure/tally.h"

namespace plimsoll::judge {

enum class SignalKind : std::uint8_t {
    errors,       ///< client-visible failures above what is usual here
    latency,      ///< more requests slower than the usual p99 than is usual here
    share,        ///< decisions do not follow the expected shares
    utilisation,  ///< an endpoint works above the cap of its capacity
    endpoint,     ///< one endpoint's attempts fail while others' do not
    missing,      ///< requests stay away
    demand,       ///< many more requests than usual
};
[[nodiscard]] std::string_view name(SignalKind kind);

struct Signal {
    SignalKind kind = SignalKind::errors;
    std::string subject;  ///< "all", "endpoint b3"
    EndpointId endpoint = none<EndpointId>;
    Instant at;            ///< end of the window that made it so
    double value = 0;      ///< observed: a fraction, utilisation, or requests/s, by kind
    double expected = 0;   ///< usual or predicted, same unit
    double threshold = 0;  ///< where it fires, same unit
    bool firing = true;    ///< false: it has cleared
    std::string text;      ///< one sentence with the numbers
};

struct WatchSettings {
    double utilisation_cap = 0.8;
    /// Threshold of the CUSUMs in nats. One window adds one increment x with E[exp x] <= 1 while nothing is wrong, so
    /// the mean time to a false alarm is at least exp(h) windows: h = 17.1 is 2.7e7 windows of 100 ms, 30 days. That
    /// holds for independent requests; bursts that come from outside shorten it (E-detectors, arXiv:2203.03532).
    double h = 17.1;
    Duration utilisation_hold = std::chrono::seconds(1);  ///< above the cap this long fires; below 0.9 cap clears
    Duration demand_hold = std::chrono::seconds(3);       ///< rate above 1.5 x or below 0.5 x usual this long fires
    Duration clear_hold = std::chrono::seconds(3);        ///< quiet this long clears
    std::uint32_t learn_requests = 500;                   ///< nothing is usual before this many requests were seen
};

/// Learns what is usual (exponentially, over about a minute, frozen while a signal of that kind fires), and says once
/// when something leaves it and once when it is back.
class Watch {
public:
    explicit Watch(WatchSettings settings = {});
    /// A window of all workers, in order of time. `share` = the candidate's share now (0 without one), which says what
    /// distribution to expect. Returns signals that began or cleared with this window.
    [[nodiscard]] std::vector<Signal> observe(const measure::Tally& window, std::span<const EndpointFacts> endpoints,
                                              Share share);
    /// All that fire now, in the order in which they began.
    [[nodiscard]] const std::vector<Signal>& firing() const { return firing_; }
    /// What is usual here: rate, error rate, latency histogram of the last minute or so. For baselines of a rollout.
    [[nodiscard]] const Baseline& usual() const { return usual_; }

private:
    struct PerEndpoint {
        double rate = 0;                    ///< picks/s, smoothed over a second
        double picks = 0;                   ///< of the last seconds, decaying: for shares
        double attempts = 0, failures = 0;  ///< of the last two seconds, decaying
        Duration hot{}, cool{};             ///< how long above the cap, below 0.9 of it
        Duration failing{}, well{};
    };
    struct Condition {
        SignalKind kind;
        std::string subject;
        EndpointId endpoint = none<EndpointId>;
        bool raise = false, lower = false;
        double value = 0, expected = 0, threshold = 0;
        std::string text;
    };
    void settle(const Condition& condition, Instant at, std::vector<Signal>& changed);
    [[nodiscard]] bool is_firing(SignalKind kind, std::string_view subject) const;
    void learn(const measure::Tally& window, double span_seconds, std::uint64_t requests, std::uint64_t failed);
    void watch_errors(const measure::Tally& window, std::vector<Signal>& changed);
    void watch_latency(const measure::Tally& window, std::vector<Signal>& changed);
    void watch_demand(double requests, double span_seconds, Instant at, std::vector<Signal>& changed);
    void watch_endpoints(const measure::Tally& window, std::span<const EndpointFacts> endpoints, Share share,
                         std::vector<Signal>& changed);
    void watch_shares(std::span<const EndpointFacts> endpoints, Share share, Instant at, std::vector<Signal>& changed);

    WatchSettings settings_;
    Baseline usual_;
    double usual_slow_ = 0.01;                 ///< fraction slower than slow_border_
    std::size_t slow_border_ = 0;              ///< histogram border near the usual p99; 0 = not learned
    double errors_sum_ = 0, latency_sum_ = 0;  ///< CUSUMs
    double recent_errors_ = 0, recent_slow_ = 0, recent_requests_ = 0, recent_rate_ = 0;
    Duration errors_quiet_{}, latency_quiet_{}, high_{}, low_{}, level_{}, uneven_{}, even_{};
    std::vector<PerEndpoint> endpoints_;  ///< by EndpointId
    std::vector<Signal> firing_;
};

}  // namespace plimsoll::judge
