#include "check/rules.h"

#include <fmt/format.h>

#include <algorithm>

namespace plimsoll::check {

const config::Pool* Change::old_pool(std::string_view name) const {
    const auto found = std::ranges::find(before.pools, name, &config::Pool::name);
    return found == before.pools.end() ? nullptr : &*found;
}

void report(Findings& findings, const config::Document& document, Severity severity, std::string_view code,
            std::string path, std::string message, std::string remedy) {
    Where where = document.sources.where(path);
    findings.push_back(
        {severity, std::string(code), std::move(path), std::move(where), std::move(message), std::move(remedy)});
}

std::string percent(double fraction) {
    const double p = fraction * 100;
    if (p == 0) return "0%";
    if (p < 0.001) return "under 0.001%";
    if (p < 0.1) return fmt::format("{:.3f}%", p);
    return fmt::format("{:.1f}%", p);
}

std::string some_of(std::span<const std::string> names, std::size_t most) {
    std::string out;
    const std::size_t shown = names.size() <= most ? names.size() : most - 1;
    for (std::size_t i = 0; i < shown; ++i) out += (i > 0 ? ", " : "") + names[i];
    if (shown < names.size()) out += fmt::format(" and {} more", names.size() - shown);
    return out;
}

std::string pool_path(const config::Pool& pool, std::string_view key) {
    return fmt::format("pools.{}.{}", pool.name, key);
}

std::vector<RuleSummary> rules() {
    std::vector<RuleSummary> out;
    const auto add = [&](std::span<const RuleSummary> codes) { out.insert(out.end(), codes.begin(), codes.end()); };
    for (const StaticRule& rule : static_rules()) add(rule.codes);
    for (const StaticRule& rule : action_rules()) add(rule.codes);
    for (const StaticRule& rule : auth_rules()) add(rule.codes);
    for (const TlsRule& rule : tls_rules()) add(rule.codes);
    for (const ChangeRule& rule : tls_change_rules()) add(rule.codes);
    for (const ChangeRule& rule : access_change_rules()) add(rule.codes);
    for (const ChangeRule& rule : auth_change_rules()) add(rule.codes);
    for (const ChangeRule& rule : pool_change_rules()) add(rule.codes);
    for (const ChangeRule& rule : setting_change_rules()) add(rule.codes);
    add(forecast_codes());
    std::ranges::sort(out, {}, &RuleSummary::code);
    return out;
}

std::string rules_table() {
    std::string out = "| code | what it looks for | rests on |\n|---|---|---|\n";
    for (const RuleSummary& rule : rules()) {
        out += fmt::format("| `{}` | {} | {} |\n", rule.code, rule.looks_for, rule.evidence);
    }
    return out;
}

Findings check_config(const config::Document& document, const LiveState& live) {
    Findings findings;
    for (const StaticRule& rule : static_rules()) rule.run(document, findings);
    for (const StaticRule& rule : action_rules()) rule.run(document, findings);
    for (const StaticRule& rule : auth_rules()) rule.run(document, findings);
    for (const TlsRule& rule : tls_rules()) rule.run(document, live, findings);
    return findings;
}

Findings check_change(const config::Config& before, const config::Document& after, const LiveState& live) {
    const auto differences = config::diff(before, after);
    Findings findings;
    if (differences.empty()) return findings;
    const Forecast forecast = project(before, after.config, live);
    const Change change{before, after, live, differences, forecast};
    for (const ChangeRule& rule : pool_change_rules()) rule.run(change, findings);
    for (const ChangeRule& rule : setting_change_rules()) rule.run(change, findings);
    for (const ChangeRule& rule : access_change_rules()) rule.run(change, findings);
    for (const ChangeRule& rule : auth_change_rules()) rule.run(change, findings);
    for (const ChangeRule& rule : tls_change_rules()) rule.run(change, findings);
    return findings;
}

}  // namespace plimsoll::check
