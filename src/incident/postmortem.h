// Postmortem: an incident as people read it. Views of an Incident and of the seconds around it; nothing is remembered,
// everything is computed. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "incident/incident.h"
#include "measure/series.h"

namespace plimsoll::incident {

/// One second (or any other span) around an incident.
struct Point {
    Duration at{};  ///< its start, since t0; negative before
    Duration span = std::chrono::seconds(1);
    std::uint64_t requests = 0, failed = 0;
    std::uint64_t candidate_requests = 0;
    Duration p50{}, p99{};             ///< time to the head of the answer; 0 = no answers
    std::vector<std::uint64_t> picks;  ///< decisions, in the order of Curves::endpoints
    friend bool operator==(const Point&, const Point&) = default;
};

/// What is plotted: points ascending in time. A gap in time is a gap in the plot, not a zero.
struct Curves {
    struct Endpoint {
        std::string name;     ///< "b3"
        double expected = 0;  ///< share under the revision before the change; 0 = not known
    };
    std::vector<Endpoint> endpoints;
    std::vector<Point> points;
};

/// The seconds with from <= at < to. `ids` says whose picks go where, by position in `endpoints`.
[[nodiscard]] Curves curves(const measure::Series& series, std::vector<Curves::Endpoint> endpoints,
                            std::span<const EndpointId> ids, Instant t0, Instant from, Instant to);

/// How uneven decisions were: the largest of share / expected share, over points with from <= at < to. 1 = even. 0 =
/// nothing known. Endpoints that should get nothing but did count as what they got over 1 / number of endpoints.
[[nodiscard]] double skew(const Curves& curves, Duration from, Duration to);

/// Three self-contained SVG documents, 960 x 420, light background.
struct Plots {
    std::string share;    ///< of decisions, per endpoint
    std::string errors;   ///< failed requests, % of all
    std::string latency;  ///< p50 and p99, ms, logarithmic
};
[[nodiscard]] Plots plots(const Incident& incident, const Curves& curves);

struct Postmortem {
    std::string version;                                ///< of Plimsoll
    std::string share_plot, errors_plot, latency_plot;  ///< links; empty = no picture
    std::string scenario_file;                          ///< link to the regression scenario; empty = none
};
/// Markdown in five sections: Overview, Timeline of Events, Root Cause Analysis, Mitigation Steps, Preventive Measures;
/// then the metrics. Facts are filled in; what needs judgement is a line that begins with "> **To be written:**".
[[nodiscard]] std::string postmortem(const Incident& incident, const Curves& curves, const Postmortem& about);

/// What the incident's traffic was like, for its scenario.
struct Traffic {
    std::string host, path;  ///< may be empty
    double rate = 0;         ///< requests/s
};
struct ScenarioFacts {
    double rate = 0;               ///< requests/s of all, used when `traffic` is empty
    std::vector<Traffic> traffic;  ///< at most 8 are written
    std::uint64_t seed = 1;
};
/// The incident as a scenario (docs/formats/scenario.md): the configs before and after, the load there was, and what
/// must become of the change: refused if gates were forced, else rolled back as it was. The configs are
/// Change::before_file and after_file, or "INC-17-before.yaml" and "INC-17-after.yaml" beside it when those are empty.
/// Nullopt when no change is blamed.
[[nodiscard]] std::optional<std::string> scenario(const Incident& incident, const ScenarioFacts& facts);

}  // namespace plimsoll::incident
