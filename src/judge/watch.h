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
    divergence,   ///< what is wanted is not what serves; seen by control, not by Watch
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
    /// How long something has been so, and how long it has been clearly not so.
    struct Lasting {
        Duration yes{}, no{};
        void follow(bool is, bool clearly_not, Duration span);
    };
    struct PerEndpoint {
        std::uint32_t in_flight = 0;                ///< as of the previous window
        double rate = 0;                            ///< decisions/s, smoothed over a second
        double picks = 0;                           ///< decaying over share_memory
        double attempts = 0, failures = 0;          ///< decaying over failure_memory
        double now_attempts = 0, now_failures = 0;  ///< of this window
        Lasting hot, failing;
    };
    /// What one look says about one possible signal.
    struct Look {
        Signal signal;
        bool raise = false, lower = false;
    };
    [[nodiscard]] static Look look_of(SignalKind kind, std::string subject = "all");
    void settle(Look look, std::vector<Signal>& changed);
    [[nodiscard]] bool is_firing(SignalKind kind) const;
    void learn(const measure::RouteTally& all, Duration span);
    [[nodiscard]] Look look_at_errors(const measure::RouteTally& all, Duration span);
    [[nodiscard]] Look look_at_latency(const measure::RouteTally& all, Duration span);
    void look_at_demand(Instant at, Duration span, std::vector<Signal>& changed);
    void follow_endpoints(const measure::Tally& window, Duration span);
    void look_at_endpoints(std::span<const EndpointFacts> endpoints, Instant at, Duration span,
                           std::vector<Signal>& changed);
    [[nodiscard]] Look look_at_shares(std::span<const EndpointFacts> endpoints, Share share, Duration span);

    WatchSettings settings_;
    Baseline usual_, older_, newer_;  ///< usual = older + newer, each at most half a minute
    Duration newer_span_{}, learned_{};
    double usual_rate_ = 0;                                                                   ///< over about a minute
    double recent_rate_ = 0;                                                                  ///< over about a second
    double recent_requests_ = 0, recent_failed_ = 0, recent_answered_ = 0, recent_slow_ = 0;  ///< same
    double errors_sum_ = 0, latency_sum_ = 0;                                                 ///< CUSUMs
    std::int64_t waiting_slow_ = 0;  ///< as of the previous window
    std::size_t slow_border_ = 0;    ///< the usual p99; 0 = not learned
    double usual_slow_ = 0.01;       ///< fraction beyond it
    Lasting errors_, latency_, high_, low_, uneven_;
    std::vector<PerEndpoint> endpoints_;  ///< by EndpointId
    std::vector<double> wanted_;          ///< by EndpointId: the shares expected at the last window
    std::vector<Signal> firing_;
};

}  // namespace plimsoll::judge
