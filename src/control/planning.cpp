#include "control/planning.h"

#include <fmt/format.h>

#include <algorithm>

#include "control/recorder.h"
#include "sim/replay.h"
#include "snapshot/snapshot.h"

namespace plimsoll::control {

bool unservable(const config::Config& config) {
    if (config.listeners.empty()) return true;
    const auto speaks_http = [](const config::Listener& one) { return one.protocol == config::Protocol::http; };
    if (std::ranges::any_of(config.listeners, speaks_http) && config.routes.empty()) return true;
    const auto nobody = [&](const std::string& name) {
        const auto pool = std::ranges::find(config.pools, name, &config::Pool::name);
        return pool == config.pools.end() ||
               std::ranges::none_of(pool->endpoints, [](const config::Endpoint& e) { return e.weight > 0; });
    };
    for (const config::Route& route : config.routes) {
        if (!route.pool.empty() && nobody(route.pool)) return true;
        for (const config::Target& target : route.split)
            if (target.weight > 0 && nobody(target.pool)) return true;
    }
    for (const config::Listener& listener : config.listeners)
        for (const config::TcpRoute& route : listener.tcp)
            if (nobody(route.pool)) return true;
    return false;
}

Planned make_planned(const PlanRequest& request, const std::function<void()>& between) {
    Planned out;
    config::Parsed parsed = config::parse(request.text, request.file);
    out.checks = parsed.findings;
    out.plan.file = request.file;
    out.plan.base = request.base_name;
    out.plan.base_digest = config::digest(request.active);
    if (!parsed.document) {
        out.plan.findings = std::move(parsed.findings);
        out.unservable = true;
        return out;
    }
    out.document = std::move(*parsed.document);
    bool unknown = false;
    for (const discovery::Source& source : discovery::sources(out.document->config))
        unknown |= !request.found.contains(source);
    out.unasked = unknown && !request.found_is_all && !request.nobody_asks;
    if (out.unasked) return out;
    const config::Config proposed = discovery::with_found(out.document->config, request.found);
    out.unservable = !(unknown && request.nobody_asks) && unservable(proposed);

    const recording::Recording recording = load(request.segments, {}, between);
    check::LiveState live{check::summarise(recording, request.peak_rate), request.out};
    live.certificates =
        request.certificates != nullptr ? request.certificates->facts(proposed) : CertificateFiles().facts(proposed);
    live.now = request.now;
    out.peak_rate = live.traffic.peak_rate;

    std::optional<check::Forecast> replayed;
    if (live.traffic.any() && !out.unservable && !(unknown && request.nobody_asks)) {
        sim::ReplayOptions options;
        options.seed = request.seed;
        options.peak_rate = live.traffic.peak_rate;
        options.out = request.out;
        options.between = between;
        replayed = sim::replay(recording, discovery::with_found(request.active, request.found), proposed, options);
    }
    out.plan =
        check::make_plan(request.active, *out.document, live, request.base_name, replayed ? &*replayed : nullptr);
    // make_plan works on the config alone; what reading remarked belongs to the plan as well.
    for (const Finding& finding : parsed.findings)
        if (std::ranges::find(out.plan.findings, finding) == out.plan.findings.end())
            out.plan.findings.push_back(finding);
    out.verdict = check::verdict(out.plan);
    out.forecasts = check::judge_forecast(out.plan.forecast, request.active.guard, &*out.document);
    for (const Finding& finding : out.plan.findings)
        if (std::ranges::find(out.forecasts, finding) == out.forecasts.end() &&
            std::ranges::find(out.checks, finding) == out.checks.end())
            out.checks.push_back(finding);

    if (!recording.records.empty()) {
        snapshot::Identities identities;
        out.mix = rollout::pool_mix(*snapshot::compile(proposed, {}, identities, 1), recording);
    }
    return out;
}

}  // namespace plimsoll::control
