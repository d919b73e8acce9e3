// Forecast: where recorded traffic would go under a proposed config, in requests/s and utilisation per endpoint. Made
// by `project` here (arithmetic over expected shares) and by sim::replay (the real decision code over each recorded
// request); judged by the same function. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/finding.h"
#include "base/ids.h"
#include "base/time.h"
#include "check/certificates.h"
#include "config/config.h"
#include "recording/recording.h"

namespace plimsoll::check {

/// What recorded requests had in common: host, path, where they came in, and what conditions were found to be.
struct RequestClass {
    std::string host, path;
    std::string method;  ///< of the first one seen
    std::uint64_t requests = 0;
    Duration service_mean{};  ///< start of the last attempt -> head of its answer; 0 = unknown
    Duration service_p99{};   ///< 0 = unknown or fewer than 100 answers
    std::string listener{};   ///< empty = unknown
    recording::Answers answers{};
    friend bool operator==(const RequestClass&, const RequestClass&) = default;
};

/// A recording, summed up for rules and projection. All zero when there is none.
struct Traffic {
    std::uint64_t requests = 0;
    std::uint64_t every = 1;  ///< each of them stands for so many
    Duration span{};
    double peak_rate = 0;           ///< requests/s: highest mean over any 10 s
    std::vector<RequestClass> mix;  ///< most requested first, then by host and path
    Duration service_mean{};        ///< over answered requests; 0 = unknown
    Duration service_p999{};        ///< 0 = unknown
    std::uint64_t head_bytes_p999 = 0;
    std::uint64_t body_bytes_p999 = 0;
    [[nodiscard]] bool any() const { return requests > 0 && peak_rate > 0; }
};
/// `peak_rate` 0 = take it from the recording; a stored, higher peak may be given instead. O(n log n).
[[nodiscard]] Traffic summarise(const recording::Recording& recording, double peak_rate = 0);

/// An endpoint that is out of rotation at this moment, by active check or by ejection.
struct OutOfRotation {
    std::string pool;
    config::Address address;
    std::string why;  ///< "down", "ejected"
};

/// What is known of the world when a change is checked; empty members are "not known".
struct LiveState {
    Traffic traffic;
    std::vector<OutOfRotation> out{};
    std::vector<CertificateFacts> certificates{};  ///< of the config in force and the proposed one, by name
    Timestamp now{};                               ///< wall clock, for certificates; 0 = not known
};

/// Where a capacity comes from; a plan always says which.
enum class CapacitySource : std::uint8_t { unknown, declared, learned };
[[nodiscard]] std::string_view name(CapacitySource source);

/// One endpoint under both configs. `now` values are 0 for one that is new, `after` values for one that is removed.
struct EndpointForecast {
    std::string pool, name;
    config::Address address;
    bool present_now = false, present_after = false;
    bool out = false;                       ///< known to be out of rotation: it is given nothing
    Share share_now, share_after;           ///< of all recorded requests
    double rate_now = 0, rate_after = 0;    ///< requests/s at recorded peak
    double capacity_now = 0, capacity = 0;  ///< requests/s before and after; 0 = unknown
    CapacitySource source = CapacitySource::unknown;
    /// Rate / capacity, nullopt when the capacity is unknown.
    [[nodiscard]] std::optional<double> utilisation_now() const;
    [[nodiscard]] std::optional<double> utilisation_after() const;
};

/// Recorded requests that would take another way, for people: one example each, largest first.
struct Moved {
    std::string host, path;                 ///< an example
    std::string route_before, route_after;  ///< empty = none matches
    std::string pool_before, pool_after;
    double fraction = 0;  ///< of recorded requests
};

/// Recorded requests that might take a route: all is known of them but one condition, which nobody asked about when
/// they were recorded. The forecast takes it as not met; shadow sees the requests themselves.
struct Unjudged {
    std::string route, condition;  ///< "beta", "header x-beta is 1"
    double fraction = 0;           ///< of recorded requests
    bool alike = false;            ///< the revision in force has the same route there: whatever they do, it stays
};

/// The same traffic under a standard fault ("b0 dies", "b0 hangs"); only replay fills these.
struct FaultForecast {
    std::string fault;
    double harmed_now = 0, harmed_after = 0;  ///< fraction of requests that fail or are slow
    double share_now = 1, share_after = 1;    ///< of requests, of the server it befalls; 1 = a fault of all of them
    std::string kind{};                       ///< `fault` without who it befalls: "dies"
};

/// Service of the simulated requests; only replay knows it.
struct Simulated {
    double failed_now = 0, failed_after = 0;  ///< fractions of requests
    double slow_now = 0, slow_after = 0;      ///< slower than slow_limit, of answered ones
    Duration slow_limit{};
    Duration p99_now{}, p99_after{};
    std::uint64_t requests = 0;  ///< simulated, of each revision: what the fractions are of
};

/// What becomes of the requests, given which endpoints are up.
struct LoadForecast {
    std::vector<EndpointForecast> endpoints;            ///< file order of the proposed config, then removed ones
    double no_endpoint_now = 0, no_endpoint_after = 0;  ///< fraction of requests whose pool has nobody
    std::optional<Simulated> simulated;
    std::vector<FaultForecast> faults;
};

/// With health as it is now, and once everybody is back up: what only looks right while a server is down is not right.
struct Forecast : LoadForecast {
    enum class Method : std::uint8_t { projection, replay } method = Method::projection;
    // What it rests on. requests == 0: shares are by equal mix of the routes, rates are 0, and it passes nothing.
    std::uint64_t requests = 0;
    std::uint64_t every = 1;  ///< each of them stands for so many
    Duration span{};
    double peak_rate = 0;

    double route_changed = 0;  ///< fraction of recorded requests
    double pool_changed = 0;
    double route_lost = 0;     ///< had a route, would have none
    double route_gained = 0;   ///< had none, would have one
    std::vector<Moved> moved;  ///< at most 20

    std::vector<Unjudged> unjudged;  ///< at most 20, largest first
    /// Fraction of requests that may take another way than is said here.
    [[nodiscard]] double open() const;

    std::vector<std::string> down;          ///< endpoints of either config that are out of rotation, by name
    std::optional<LoadForecast> recovered;  ///< with all of them back up; empty when `down` is

    [[nodiscard]] bool has_data() const { return requests > 0 && peak_rate > 0; }
};
/// "b3 is back up", "b3 and b4 are back up"; names at most a few.
[[nodiscard]] std::string back_up(const std::vector<std::string>& down);
/// Those of `out` that are endpoints of either config, by name, in its order.
[[nodiscard]] std::vector<std::string> down_in(const std::vector<OutOfRotation>& out, const config::Config& before,
                                               const config::Config& after);

/// Arithmetic: route mix of the recording (equal mix of the routes if there is none) x long-run shares of the policy
/// x peak rate; endpoints that are out get nothing, and with some out it is done again with everybody up; copies that a
/// mirror sends and questions to auth servers count as load of the pool that gets them, so shares may add up to more
/// than 1. O(mix + endpoints).
[[nodiscard]] Forecast project(const config::Config& before, const config::Config& after, const LiveState& live);

/// What a forecast rules out. Errors: an endpoint of known capacity above guard.utilisation_cap and worse off than
/// now; requests without route or endpoint; simulated harm beyond the harm budget and its noise. Each is also looked
/// for with everybody back up, both revisions compared in that same world; what is wrong in both is said once, of now.
/// Without data: a warning, P400-no-data. Unequal shares as such are never a finding. `after` supplies places.
[[nodiscard]] Findings judge_forecast(const Forecast& forecast, const config::Guard& guard,
                                      const config::Document* after = nullptr);

}  // namespace plimsoll::check
