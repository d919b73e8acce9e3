// The tables of rules. A rule is one small function over the config or the change; it appends findings and knows
// nothing of the others. Private to this room.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "check/check.h"
#include "check/recorded.h"

namespace plimsoll::check {

/// A change as the rules see it.
struct Change {
    const config::Config& before;
    const config::Document& after;
    const LiveState& live;
    const std::vector<config::Difference>& differences;
    const Forecast& forecast;  ///< the projection

    [[nodiscard]] const config::Pool* old_pool(std::string_view name) const;
};

struct StaticRule {
    std::span<const RuleSummary> codes;
    void (*run)(const config::Document&, Findings&);
};
/// A rule on a config and what is known of its certificates.
struct TlsRule {
    std::span<const RuleSummary> codes;
    void (*run)(const config::Document&, const LiveState&, Findings&);
};
struct ChangeRule {
    std::span<const RuleSummary> codes;
    void (*run)(const Change&, Findings&);
};

[[nodiscard]] std::span<const StaticRule> static_rules();
[[nodiscard]] std::span<const StaticRule> action_rules();  ///< what routes do, subsets, levels, faults, trust
[[nodiscard]] std::span<const StaticRule> auth_rules();    ///< who is asked whether a request may pass
[[nodiscard]] std::span<const TlsRule> tls_rules();
[[nodiscard]] std::span<const ChangeRule> pool_change_rules();  ///< endpoints, weights, capacity
[[nodiscard]] std::span<const ChangeRule> tls_change_rules();
[[nodiscard]] std::span<const ChangeRule> access_change_rules();   ///< whom we believe, stickiness, rates
[[nodiscard]] std::span<const ChangeRule> auth_change_rules();     ///< who may pass
[[nodiscard]] std::span<const ChangeRule> setting_change_rules();  ///< routes, timeouts, retries, health, limits

[[nodiscard]] std::span<const RuleSummary> forecast_codes();  ///< of judge_forecast

/// Appends a finding with the place of `path` in `document`.
void report(Findings& findings, const config::Document& document, Severity severity, std::string_view code,
            std::string path, std::string message, std::string remedy = {});

/// "12.5%", "0.03%": a fraction for people.
[[nodiscard]] std::string percent(double fraction);
/// "1", "b0", "b0, b1", "b0, b1, b2 and 5 more".
[[nodiscard]] std::string some_of(std::span<const std::string> names, std::size_t most = 4);
[[nodiscard]] std::string pool_path(const config::Pool& pool, std::string_view key);

}  // namespace plimsoll::check
