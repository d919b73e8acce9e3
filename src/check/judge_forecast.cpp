// What a forecast rules out, in traffic terms.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "check/rules.h"

namespace plimsoll::check {

namespace {

/// A replay's shares carry the noise of its dice; a move smaller than this is not "worse than now".
constexpr double utilisation_noise = 0.01;
/// An endpoint of unknown capacity may get this much more than what its pool carries per endpoint now.
constexpr double modest_growth = 1.5;

/// One pool of a forecast.
struct PoolView {
    std::string name;
    std::vector<const EndpointForecast*> endpoints;  ///< present in the proposed config
    double worst_now = 0;                            ///< highest known utilisation now
    double rate_now = 0;                             ///< highest rate per endpoint now
    double moved = 0;                                ///< share of all requests that change endpoint inside this pool
    bool any_now = false;
};

std::vector<PoolView> pools_of(const LoadForecast& load) {
    std::vector<PoolView> out;
    for (const auto& e : load.endpoints) {
        auto pool = std::ranges::find(out, e.pool, &PoolView::name);
        if (pool == out.end()) pool = out.insert(out.end(), PoolView{e.pool, {}, 0, 0, 0, false});
        if (e.present_after) pool->endpoints.push_back(&e);
        if (e.present_now) {
            pool->any_now = true;
            pool->worst_now = std::max(pool->worst_now, e.utilisation_now().value_or(0));
            pool->rate_now = std::max(pool->rate_now, e.rate_now);
        }
        pool->moved += std::max(0.0, e.share_after.value - e.share_now.value);
    }
    return out;
}

/// Collects findings; places come from the proposed document when there is one.
struct Judge {
    const Forecast& forecast;
    const config::Guard& guard;
    const config::Document* after;
    const LoadForecast* load;                   ///< looked at: as things are, or once everybody is back up
    std::map<std::string, Severity> said = {};  ///< of things as they are, by what it is about
    Findings findings = {};

    [[nodiscard]] bool once_recovered() const { return load != &forecast; }

    /// `about`: what a second look must not say again, unless it finds worse.
    void say(const std::string& about, Severity severity, std::string_view code, std::string path, std::string message,
             std::string remedy = {}) {
        if (once_recovered()) {
            const auto known = said.find(about);
            if (known != said.end() && known->second >= severity) return;
            message = fmt::format("once {}: {}", back_up(forecast.down), message);
        } else {
            said[about] = severity;
        }
        Where where = after == nullptr ? Where{} : after->sources.where(path);
        findings.push_back(
            {severity, std::string(code), std::move(path), std::move(where), std::move(message), std::move(remedy)});
    }
    /// "pools.web.endpoints[3].weight", or the pool when the document is not known.
    std::string path(const EndpointForecast& e) const {
        if (after == nullptr) return fmt::format("pools.{}", e.pool);
        for (const auto& pool : after->config.pools) {
            if (pool.name != e.pool) continue;
            for (std::size_t i = 0; i < pool.endpoints.size(); ++i) {
                if (pool.endpoints[i].address == e.address) {
                    return fmt::format("pools.{}.endpoints[{}].weight", e.pool, i);
                }
            }
        }
        return fmt::format("pools.{}", e.pool);
    }
};

void overload(Judge& judge, const PoolView& pool) {
    std::vector<const EndpointForecast*> over;
    bool worse = false;
    double share_now = 0, share_after = 0;
    for (const EndpointForecast* e : pool.endpoints) {
        const auto utilisation = e->utilisation_after();
        if (!utilisation || *utilisation <= judge.guard.utilisation_cap + 1e-9) continue;
        over.push_back(e);
        // A new endpoint is compared with the pool it joins: replacing servers one for one is not worse.
        const double now = e->present_now ? e->utilisation_now().value_or(0) : pool.worst_now;
        worse |= *utilisation > now + utilisation_noise;
        share_now += e->share_now.value;
        share_after += e->share_after.value;
    }
    if (over.empty()) return;
    const EndpointForecast& worst = **std::ranges::max_element(
        over, {}, [](const EndpointForecast* e) { return e->utilisation_after().value_or(0); });
    const std::string now = worst.present_now && worst.utilisation_now()
                                ? fmt::format(", now {:.2f}", *worst.utilisation_now())
                                : std::string(", new");
    const std::string message = fmt::format(
        "{} of requests would go to {} of {} endpoints (now {}); {} utilisation {:.2f} at recorded peak {:.0f}/s "
        "(cap {:.2f}{}; capacity {:.0f}/s {})",
        percent(share_after), over.size(), pool.endpoints.size(), percent(share_now), worst.name,
        *worst.utilisation_after(), judge.forecast.peak_rate, judge.guard.utilisation_cap, now, worst.capacity,
        name(worst.source));
    if (worse) {
        judge.say("load " + pool.name, Severity::error, "P401-overload", judge.path(worst), message,
                  "spread the requests over more capacity, or change in smaller parts");
    } else {
        judge.say("load " + pool.name, Severity::warning, "P401-still-overloaded", judge.path(worst), message,
                  "no worse than now, but above the cap");
    }
}

void unknown_capacity(Judge& judge, const PoolView& pool) {
    const EndpointForecast* most = nullptr;
    for (const EndpointForecast* e : pool.endpoints) {
        if (e->capacity > 0) continue;
        const double now = e->present_now && e->rate_now > 0 ? e->rate_now : pool.rate_now;
        if (e->rate_after <= now * modest_growth) continue;
        if (most == nullptr || e->rate_after > most->rate_after) most = e;
    }
    if (most == nullptr) return;
    judge.say("unknown load " + pool.name, Severity::warning, "P401-capacity-unknown", judge.path(*most),
              fmt::format("{} would get {:.0f} requests/s at recorded peak (now {:.0f}); whether it can carry them is "
                          "not known",
                          most->name, most->rate_after, most->rate_now),
              "declare capacity, in requests/s");
}

void routing(Judge& judge) {
    const Forecast& f = judge.forecast;
    std::string example;
    for (const Moved& m : f.moved) {
        if (!m.route_after.empty()) continue;
        example = fmt::format("; e.g. {}{} took route {}", m.host, m.path, m.route_before);
        break;
    }
    if (f.route_lost > 0) {
        const bool harmful = f.route_lost > judge.guard.harm_budget;
        judge.say(
            "route lost", harmful ? Severity::error : Severity::warning, "P406-route-lost", "routes",
            fmt::format("{} of recorded requests would match no route and get 404{}", percent(f.route_lost), example),
            "add a route for them, or confirm that they are to end");
    }
    const double redirected = f.pool_changed - f.route_lost - f.route_gained;
    if (redirected > 1e-9) {
        std::string ways;
        for (const Moved& m : f.moved) {
            if (m.pool_before == m.pool_after || m.pool_after.empty() || m.pool_before.empty()) continue;
            ways = fmt::format("; e.g. {}{}: {} -> {}", m.host, m.path, m.pool_before, m.pool_after);
            break;
        }
        judge.say("pool changed", Severity::note, "P401-pool-changed", "routes",
                  fmt::format("{} of recorded requests change pool{}", percent(redirected), ways));
    }
}

/// Conditions that nobody asked about when the requests were recorded.
void unrecorded(Judge& judge) {
    for (const Unjudged& one : judge.forecast.unjudged) {
        std::string path = "routes";
        if (judge.after != nullptr) {
            const auto& routes = judge.after->config.routes;
            const auto route = std::ranges::find(routes, one.route, &config::Route::name);
            if (route != routes.end()) path = fmt::format("routes[{}].match", route - routes.begin());
        }
        const bool matters = !one.alike && one.fraction > judge.guard.harm_budget;
        judge.say(
            "condition " + one.route + one.condition, matters ? Severity::warning : Severity::note,
            "P400-condition-unrecorded", std::move(path),
            fmt::format("{} of recorded requests cannot be judged by \"{}\" of route {}: it was not recorded, the "
                        "forecast takes it as not met",
                        percent(one.fraction), one.condition, one.route),
            one.alike ? "the revision in force sends them the same way"
                      : "the shadow stage sees it on live requests, and from then on it is recorded");
    }
}

void nobody(Judge& judge) {
    const LoadForecast& load = *judge.load;
    if (load.no_endpoint_after > load.no_endpoint_now + 1e-12) {
        judge.say("nobody", Severity::error, "P404-no-endpoint", "pools",
                  fmt::format("{} of requests would find nobody to answer them (now {})",
                              percent(load.no_endpoint_after), percent(load.no_endpoint_now)),
                  "leave at least one usable endpoint in every pool that has traffic");
    }
}

/// Three standard deviations of the difference of two fractions out of n requests each.
double noise(double a, double b, std::uint64_t requests) {
    const double p = std::max((a + b) / 2, 1 / static_cast<double>(requests));
    return 3 * std::sqrt(2 * p * (1 - p) / static_cast<double>(requests));
}

void simulated(Judge& judge) {
    if (!judge.load->simulated || judge.load->simulated->requests == 0) return;
    const Simulated& s = *judge.load->simulated;
    const auto worse = [&](double now, double after, double least) {
        return after - now > std::max(least, noise(now, after, s.requests));
    };
    if (worse(s.failed_now, s.failed_after, judge.guard.harm_budget)) {
        judge.say(
            "failures", Severity::error, "P418-simulated-failures", {},
            fmt::format("replayed, {} of requests fail (now {})", percent(s.failed_after), percent(s.failed_now)));
    }
    // A replayed service time is a model; a slow request in a hundred is where it begins to mean something.
    if (worse(s.slow_now, s.slow_after, std::max(0.01, judge.guard.harm_budget))) {
        judge.say("slow", Severity::error, "P418-simulated-slow", {},
                  fmt::format("replayed, {} of requests take longer than {} (now {})", percent(s.slow_after),
                              text(s.slow_limit), percent(s.slow_now)));
    }
    for (const FaultForecast& fault : judge.load->faults) {
        if (!worse(fault.harmed_now, fault.harmed_after, 0.05)) continue;
        // A server with more of the requests takes more of them along: that is what a larger server is for. The change
        // is to blame for harm beyond that proportion.
        const double larger = fault.share_now > 0 ? std::max(1.0, fault.share_after / fault.share_now) : 1.0;
        const bool beyond = worse(std::min(1.0, fault.harmed_now * larger), fault.harmed_after, 0.05);
        judge.say("fault " + fault.kind, beyond ? Severity::error : Severity::warning,
                  beyond ? "P418-worse-under-fault" : "P418-more-depends-on-one", {},
                  fmt::format("if {}, {} of requests would be harmed (with the revision in force {}){}", fault.fault,
                              percent(fault.harmed_after), percent(fault.harmed_now),
                              beyond ? std::string()
                                     : fmt::format(": it gets {} of them, now {}", percent(fault.share_after),
                                                   percent(fault.share_now))));
    }
}

/// All that depends on which endpoints are up.
void carried(Judge& judge) {
    for (const PoolView& pool : pools_of(*judge.load)) {
        if (!judge.forecast.has_data()) break;
        overload(judge, pool);
        unknown_capacity(judge, pool);
    }
    nobody(judge);
    simulated(judge);
}

constexpr RuleSummary codes[] = {
    {"P400-condition-unrecorded", "recorded requests of which a condition of a route is not known",
     "header canaries that a replay took for idle routes"},
    {"P400-no-data", "no recorded traffic: nothing is known of the load",
     "the worst complaint about canary tools: no data passed"},
    {"P401-overload", "an endpoint above the utilisation cap at recorded peak, and worse off than now",
     "the originating incident; Cloudflare 2020-07-17"},
    {"P401-still-overloaded", "an endpoint above the cap, no worse than now", "metastable overload"},
    {"P401-capacity-unknown", "more load on an endpoint whose capacity is not declared", "the originating incident"},
    {"P401-pool-changed", "recorded requests that change pool", "for review"},
    {"P404-no-endpoint", "requests that would find nobody", "envoy gateway #854: weight total 0 accepted"},
    {"P406-route-lost", "recorded requests that would match no route", "NPM 2014; GCLB 2023"},
    {"P418-simulated-failures", "replayed requests fail more often, beyond noise", "replay"},
    {"P418-simulated-slow", "replayed requests are slow more often, beyond noise", "replay"},
    {"P418-more-depends-on-one", "a fault of one endpoint harms more, in proportion to its larger share",
     "unequal servers: for review"},
    {"P418-worse-under-fault", "the same fault harms more than under the revision in force",
     "least-connection sinkholes; retry storms"},
};

}  // namespace

std::span<const RuleSummary> forecast_codes() { return codes; }

Findings judge_forecast(const Forecast& forecast, const config::Guard& guard, const config::Document* after) {
    Judge judge{.forecast = forecast, .guard = guard, .after = after, .load = &forecast};
    if (!forecast.has_data()) {
        judge.say("data", Severity::warning, "P400-no-data", {},
                  "there is no recorded traffic, so nothing is known of the load after this change",
                  "let a recording build up, or import an access log; no data is never a pass");
    }
    routing(judge);
    unrecorded(judge);
    carried(judge);
    if (forecast.recovered) {
        judge.load = &*forecast.recovered;
        carried(judge);
    }
    return std::move(judge.findings);
}

}  // namespace plimsoll::check
