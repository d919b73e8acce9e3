// All findings about a config or a change, and the plan that people read. Pure; any thread.
// Codes are P4NN-..., NN the row of the table of checks in docs/formats/findings.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/finding.h"
#include "check/forecast.h"
#include "config/config.h"

namespace plimsoll::check {

/// Rules on a config alone: unreachable routes, unused pools, timeout order, retry amplification, health checks,
/// limits, subsets, faults, certificates. Of `live` only `certificates` and `now` are looked at; without them nothing
/// is said of certificates.
[[nodiscard]] Findings check_config(const config::Document& document, const LiveState& live = {});

/// Rules on a change: effective differences, endpoints lost, N+1 at recorded peak, order of overlapping routes,
/// budgets removed, limits against recorded sizes and concurrency, items that only apply at start. Includes neither
/// check_config(after) nor judge_forecast.
[[nodiscard]] Findings check_change(const config::Config& before, const config::Document& after, const LiveState& live);

/// One code of a finding, for documentation: what it looks for, the outages it rests on.
struct RuleSummary {
    std::string_view code, looks_for, evidence;
};
/// All codes that this room can report, by code.
[[nodiscard]] std::vector<RuleSummary> rules();
/// The same as the table of docs/formats/findings.md.
[[nodiscard]] std::string rules_table();

/// Everything known about a proposed change before it takes traffic.
struct Plan {
    std::string base;  ///< how the revision in force is called: "r41 (last known good)"
    std::string file;  ///< the proposed file
    std::string base_digest, digest;
    double utilisation_cap = 0.8;  ///< the guard's, by which the forecast was judged
    std::vector<config::Difference> differences;
    Findings findings;  ///< of parse, check_config, check_change and judge_forecast, by place
    Forecast forecast;
};
/// Runs all of the above. `simulated`: a replay's forecast; without one the projection stands in.
[[nodiscard]] Plan make_plan(const config::Config& before, const config::Document& after, const LiveState& live,
                             std::string base, const Forecast* simulated = nullptr);

enum class Verdict : std::uint8_t {
    no_change,  ///< same effective config
    pass,       ///< may begin its rollout
    hold,      ///< may begin, but nothing before traffic speaks for it: no data, or capacities unknown where load rises
    rejected,  ///< an error stands
};
[[nodiscard]] std::string_view name(Verdict verdict);
/// `allowed`: codes of errors that the operator takes responsibility for.
[[nodiscard]] Verdict verdict(const Plan& plan, const std::vector<std::string>& allowed = {});

struct PlanStyle {
    bool colour = false;
    bool all = false;                  ///< also endpoints whose share does not change
    std::vector<std::string> allowed;  ///< as for verdict()
};
/// The plan for a terminal: differences, where traffic would move, findings, verdict, one-line total.
[[nodiscard]] std::string describe(const Plan& plan, const PlanStyle& style = {});
/// The same as one JSON object (format: docs/formats/plan.md); stable.
[[nodiscard]] std::string to_json(const Plan& plan, const std::vector<std::string>& allowed = {});
[[nodiscard]] std::string to_json(const Forecast& forecast);

}  // namespace plimsoll::check
