// The plan for a terminal: what changes, where traffic would go, what was found, the verdict.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "check/rules.h"

namespace plimsoll::check {

namespace {

using config::Difference;

/// Longer lists say how much they leave out; --json has all of it.
constexpr std::size_t most_lines = 200;
constexpr std::size_t longest_value = 100;

struct Writer {
    const Plan& plan;
    const PlanStyle& style;
    std::string out;

    std::string colour(std::string_view code, std::string text) const {
        return style.colour ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
    }
    void line(std::string_view text) {
        out += text;
        out += '\n';
    }
};

std::string cut(const std::string& text) {
    return text.size() <= longest_value ? text : text.substr(0, longest_value - 3) + "...";
}

/// "pools.web.endpoints[" "b0" "].weight": so that equal changes of many elements share a line.
struct Path {
    std::string head, element, tail;
};
Path split(const std::string& path) {
    const auto open = path.find('['), close = path.rfind(']');
    if (open == std::string::npos || close == std::string::npos || close < open) return {path, "", ""};
    return {path.substr(0, open + 1), path.substr(open + 1, close - open - 1), path.substr(close)};
}

struct Group {
    const Difference* first;
    Path path;
    std::vector<std::string> elements;
};

std::vector<Group> group(const std::vector<Difference>& differences) {
    std::vector<Group> out;
    std::map<std::tuple<std::string, std::string, std::string, std::string>, std::size_t> same;
    for (const Difference& d : differences) {
        Path path = split(d.path);
        if (d.kind != Difference::Kind::changed || path.element.empty()) {
            out.push_back({&d, {d.path, "", ""}, {}});
            continue;
        }
        const auto [it, is_new] = same.emplace(std::tuple(path.head, path.tail, d.before, d.after), out.size());
        if (is_new) out.push_back({&d, path, {}});
        out[it->second].elements.push_back(path.element);
    }
    return out;
}

void differences(Writer& w) {
    const auto groups = group(w.plan.differences);
    std::size_t width = 0;
    std::vector<std::string> paths;
    for (const Group& g : groups) {
        paths.push_back(g.elements.empty() ? g.path.head : g.path.head + some_of(g.elements, 6) + g.path.tail);
        width = std::max(width, std::min<std::size_t>(paths.back().size(), 48));
    }
    for (std::size_t i = 0; i < groups.size() && i < most_lines; ++i) {
        const Difference& d = *groups[i].first;
        const std::string label = fmt::format("{:<{}}", paths[i], width);
        switch (d.kind) {
            case Difference::Kind::added: w.line(w.colour("32", fmt::format("  + {}  {}", label, cut(d.after)))); break;
            case Difference::Kind::removed:
                w.line(w.colour(
                    "31", fmt::format("  - {}  {}{}", label, cut(d.before), d.now_default ? "   # now not set" : "")));
                break;
            case Difference::Kind::changed:
                w.line(w.colour("33", fmt::format("  ~ {}  {} -> {}{}", label, cut(d.before), cut(d.after),
                                                  d.now_default ? "   # now default" : "")));
                break;
        }
    }
    if (groups.size() > most_lines) w.line(fmt::format("  ({} more not shown)", groups.size() - most_lines));
}

// ---- forecast ------------------------------------------------------------------------------------------------------

struct Row {
    std::string pool;
    std::vector<std::string> names;
    std::string now, after, rate, capacity, utilisation, remark;
    bool changed = false;
    [[nodiscard]] bool same(const Row& o) const {
        return std::tie(pool, now, after, rate, capacity, utilisation, remark) ==
               std::tie(o.pool, o.now, o.after, o.rate, o.capacity, o.utilisation, o.remark);
    }
};

std::string two(std::optional<double> value) { return value ? fmt::format("{:.2f}", *value) : "?"; }

Row row(const EndpointForecast& e, const Forecast& f, double cap) {
    Row r;
    r.pool = e.pool;
    r.names = {e.name};
    r.now = e.present_now ? percent(e.share_now.value) : "-";
    r.after = e.present_after ? percent(e.share_after.value) : "-";
    r.rate = f.has_data() ? fmt::format("{:.0f} -> {:.0f}/s", e.rate_now, e.rate_after) : "?";
    const double capacity = e.present_after ? e.capacity : e.capacity_now;
    r.capacity = capacity > 0 ? fmt::format("{:.0f}/s {}", capacity, name(e.source)) : "unknown";
    if (f.has_data()) {
        r.utilisation = fmt::format("{} -> {}", e.present_now ? two(e.utilisation_now()) : "-",
                                    e.present_after ? two(e.utilisation_after()) : "-");
        if (e.utilisation_after().value_or(0) > cap + 1e-9) r.remark = "OVER CAP";
    }
    if (e.out) r.remark += r.remark.empty() ? "out of rotation" : ", out of rotation";
    if (!e.present_now) r.remark += r.remark.empty() ? "new" : ", new";
    if (!e.present_after) r.remark += r.remark.empty() ? "removed" : ", removed";
    r.changed = r.now != r.after || !r.remark.empty();
    return r;
}

void basis(Writer& w) {
    const Forecast& f = w.plan.forecast;
    if (!f.has_data()) {
        w.line("Forecast: there is no recorded traffic; shares assume that every route gets the same.");
        return;
    }
    w.line(fmt::format("Forecast by {} of {} recorded requests{} over {}, peak {:.0f}/s:",
                       f.method == Forecast::Method::replay ? "replay" : "projection", f.requests,
                       f.every > 1 ? fmt::format(" (one in {})", f.every) : std::string(),
                       text(std::chrono::floor<std::chrono::seconds>(f.span)), f.peak_rate));
}

void endpoints(Writer& w, const LoadForecast& load, double cap) {
    std::vector<Row> rows;
    std::size_t hidden = 0;
    for (const EndpointForecast& e : load.endpoints) {
        Row r = row(e, w.plan.forecast, cap);
        if (!r.changed && !w.style.all) {
            ++hidden;
            continue;
        }
        const auto same = std::ranges::find_if(rows, [&](const Row& o) { return o.same(r); });
        if (same == rows.end()) {
            rows.push_back(std::move(r));
        } else {
            same->names.push_back(e.name);
        }
    }
    if (!rows.empty()) {
        w.line(fmt::format("  {:<12} {:<26} {:>7} {:>7}  {:<16} {:<16} {:<14}", "POOL", "ENDPOINTS", "NOW", "AFTER",
                           "EACH AT PEAK", "CAPACITY", "UTILISATION"));
    }
    for (std::size_t i = 0; i < rows.size() && i < most_lines; ++i) {
        const Row& r = rows[i];
        const std::string text =
            fmt::format("  {:<12} {:<26} {:>7} {:>7}  {:<16} {:<16} {:<14} {}", r.pool, some_of(r.names), r.now,
                        r.after, r.rate, r.capacity, r.utilisation, r.remark);
        const auto end = text.find_last_not_of(' ');
        w.line(w.colour(r.remark.starts_with("OVER") ? "31" : "0", text.substr(0, end + 1)));
    }
    if (rows.size() > most_lines) w.line(fmt::format("  ({} more lines not shown)", rows.size() - most_lines));
    if (hidden > 0) w.line(fmt::format("  ({} endpoints keep their share; --all shows them)", hidden));
}

void moves(Writer& w) {
    const Forecast& f = w.plan.forecast;
    for (const Moved& m : f.moved) {
        if (m.pool_before == m.pool_after) continue;  // only the route's name differs
        w.line(
            fmt::format("  {:>7} of requests: {} -> {}   e.g. {}{}", percent(m.fraction),
                        m.route_before.empty() ? "no route" : fmt::format("{} ({})", m.route_before, m.pool_before),
                        m.route_after.empty() ? "no route, 404" : fmt::format("{} ({})", m.route_after, m.pool_after),
                        m.host, m.path));
    }
}

void simulated(Writer& w, const LoadForecast& load) {
    if (load.simulated) {
        w.line(fmt::format(
            "  simulated: failed {} -> {}, over {} {} -> {}, p99 {} -> {}", percent(load.simulated->failed_now),
            percent(load.simulated->failed_after), text(load.simulated->slow_limit), percent(load.simulated->slow_now),
            percent(load.simulated->slow_after), text(load.simulated->p99_now), text(load.simulated->p99_after)));
    }
}

void faults(Writer& w) {
    for (const FaultForecast& fault : w.plan.forecast.faults) {
        w.line(fmt::format("  if {}: harmed {} -> {}", fault.fault, percent(fault.harmed_now),
                           percent(fault.harmed_after)));
    }
}

/// What would be otherwise with everybody up; faults only where they are findings.
void recovered(Writer& w) {
    const Forecast& f = w.plan.forecast;
    if (!f.recovered) return;
    w.line(fmt::format("Once {}:", back_up(f.down)));
    endpoints(w, *f.recovered, w.plan.utilisation_cap);
    simulated(w, *f.recovered);
}

// ---- findings and verdict ------------------------------------------------------------------------------------------

void findings(Writer& w) {
    for (std::size_t i = 0; i < w.plan.findings.size() && i < most_lines; ++i) {
        const Finding& f = w.plan.findings[i];
        const std::string_view colour = f.severity == Severity::error     ? "31"
                                        : f.severity == Severity::warning ? "33"
                                                                          : "0";
        w.line(w.colour(colour, "  " + text(f)));
    }
    if (w.plan.findings.size() > most_lines) {
        w.line(fmt::format("  ({} more findings not shown)", w.plan.findings.size() - most_lines));
    }
}

std::string verdict_line(const Plan& plan, const PlanStyle& style) {
    const auto first_error = [&]() -> const Finding* {
        for (const Finding& f : plan.findings) {
            const bool allowed = std::ranges::find(style.allowed, f.code) != style.allowed.end();
            if (f.severity == Severity::error && !allowed) return &f;
        }
        return nullptr;
    };
    switch (verdict(plan, style.allowed)) {
        case Verdict::no_change: return "Verdict: NO CHANGE, the effective configuration is the same.";
        case Verdict::pass: return "Verdict: PASS, it may begin its rollout.";
        case Verdict::hold:
            return "Verdict: HOLD, nothing before traffic speaks for it; its rollout has to bring the evidence.";
        case Verdict::rejected: {
            const Finding& f = *first_error();
            const std::string where =
                f.where.line > 0 ? fmt::format("{}:{}: ", f.where.file, f.where.line) : std::string();
            return fmt::format("Verdict: REJECTED, {}{} ({}). `plimsoll apply --force --reason WHY` goes past it",
                               where, f.message, f.code);
        }
    }
    return {};
}

}  // namespace

std::string describe(const Plan& plan, const PlanStyle& style) {
    Writer w{plan, style, {}};
    w.line(fmt::format("{}  ->  {}", plan.base.empty() ? "(nothing in force)" : plan.base, plan.file));
    differences(w);
    if (!plan.differences.empty()) {
        basis(w);
        endpoints(w, plan.forecast, plan.utilisation_cap);
        moves(w);
        simulated(w, plan.forecast);
        faults(w);
        recovered(w);
    }
    if (!plan.findings.empty()) w.line("Findings:");
    findings(w);
    const Verdict v = verdict(plan, style.allowed);
    w.line(w.colour(v == Verdict::rejected ? "1;31" : v == Verdict::hold ? "1;33" : "1;32", verdict_line(plan, style)));
    std::size_t add = 0, change = 0, remove = 0;
    for (const Difference& d : plan.differences) {
        (d.kind == Difference::Kind::added ? add : d.kind == Difference::Kind::changed ? change : remove) += 1;
    }
    w.line(fmt::format("Plan: {} to add, {} to change, {} to remove.", add, change, remove));
    return std::move(w.out);
}

}  // namespace plimsoll::check
