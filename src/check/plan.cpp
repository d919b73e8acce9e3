// A plan: everything known about a change before it takes traffic, and what follows from it.
#include <algorithm>
#include <array>
#include <tuple>

#include "check/check.h"

namespace plimsoll::check {

namespace {

/// Warnings after which nothing before traffic speaks for the change.
constexpr std::array<std::string_view, 4> holding{"P400-no-data", "P400-condition-unrecorded", "P401-capacity-unknown",
                                                  "P415-uneven-unknown"};

}  // namespace

Plan make_plan(const config::Config& before, const config::Document& after, const LiveState& live, std::string base,
               const Forecast* simulated) {
    Plan plan;
    plan.base = std::move(base);
    plan.file = after.file;
    plan.base_digest = config::digest(before);
    plan.digest = config::digest(after.config);
    // The guard in force judges: a change cannot loosen its own.
    plan.utilisation_cap = before.guard.utilisation_cap;
    plan.differences = config::diff(before, after);
    plan.forecast = simulated == nullptr ? project(before, after.config, live) : *simulated;
    plan.findings = check_config(after, live);
    const auto add = [&](const Findings& more) { plan.findings.insert(plan.findings.end(), more.begin(), more.end()); };
    if (!plan.differences.empty()) {
        add(check_change(before, after, live));
        add(judge_forecast(plan.forecast, before.guard, &after));
    }
    std::ranges::sort(plan.findings, [](const Finding& a, const Finding& b) {
        if (a.severity != b.severity) return a.severity > b.severity;
        const bool a_nowhere = a.where.line == 0, b_nowhere = b.where.line == 0;  // what has a line says more
        if (a_nowhere != b_nowhere) return b_nowhere;
        return std::tie(a.where.line, a.where.column, a.code, a.message) <
               std::tie(b.where.line, b.where.column, b.code, b.message);
    });
    return plan;
}

std::string_view name(Verdict verdict) {
    switch (verdict) {
        case Verdict::no_change: return "no change";
        case Verdict::pass: return "pass";
        case Verdict::hold: return "hold";
        case Verdict::rejected: return "rejected";
    }
    return "unknown";
}

Verdict verdict(const Plan& plan, const std::vector<std::string>& allowed) {
    if (plan.differences.empty()) return Verdict::no_change;
    const auto is_allowed = [&](const Finding& f) { return std::ranges::find(allowed, f.code) != allowed.end(); };
    bool hold = false;
    for (const Finding& finding : plan.findings) {
        if (finding.severity == Severity::error && !is_allowed(finding)) return Verdict::rejected;
        const bool weighs = finding.severity == Severity::warning;
        hold |= weighs && std::ranges::find(holding, finding.code) != holding.end();
    }
    return hold ? Verdict::hold : Verdict::pass;
}

}  // namespace plimsoll::check
