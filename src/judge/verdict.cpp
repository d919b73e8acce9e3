#include "judge/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace plimsoll::judge {
namespace {

const double pass_at = std::log(20.0);  // 5 % chance, per step, to pass what is not shown harmless
/// Evidence of no harm that was reached stays (Ville bounds the maximum), so that families need not peak together; but
/// if it has shrunk below this since, something has changed for the worse, and the step is held.
constexpr double pass_keeps = 1.0;

/// Fewest requests of the active arm in a step from which thresholds may be taken when the past is empty.
constexpr std::uint64_t thresholds_need = 200;
/// Decisions that must fit before imbalance passes: the failing test would have seen the incident's concentration in
/// half as many.
constexpr std::uint64_t decisions_need = 100;
/// How long a step must have run before its own rate stands in for one that was not known when it began.
constexpr Duration rate_needs = std::chrono::seconds(1);

std::string percent(double fraction) {
    const double p = 100 * fraction;
    return p != 0 && p < 0.1 ? fmt::format("{:.3f} %", p) : fmt::format("{:.2f} %", p);
}

double part(std::uint64_t bad, std::uint64_t all) {
    return all == 0 ? 0 : static_cast<double>(bad) / static_cast<double>(all);
}

const char* what_is_bad(Family family) {
    switch (family) {
        case Family::errors: return "failed";
        case Family::connect: return "retried or without endpoint";
        case Family::latency: return "slow";
        case Family::client_visible: return "answered 3xx, 4xx";
        default: return "";
    }
}

/// Only what is still going on: gauges stay, counts start anew.
void keep_gauges(measure::Tally& tally) {
    for (measure::ArmTally& arm : tally.arms) {
        const auto keep_waiting = [](measure::RouteTally& route) {
            const measure::Histogram waiting = route.waiting;
            route = {};
            route.waiting = waiting;
        };
        keep_waiting(arm.unmatched);
        for (auto& [id, route] : arm.routes) keep_waiting(route);
        for (auto& [id, endpoint] : arm.endpoints) {
            const std::uint32_t in_flight = endpoint.in_flight;
            endpoint = {};
            endpoint.in_flight = in_flight;
        }
    }
    tally.shadow = {};
    tally.from = tally.to = Instant{};
}

bool finite(std::span<const EndpointFacts> endpoints) {
    return std::all_of(endpoints.begin(), endpoints.end(), [](const EndpointFacts& e) {
        return std::isfinite(e.capacity) && std::isfinite(e.expected_active) && std::isfinite(e.expected_candidate);
    });
}

/// Who may be chosen is no longer what decisions are judged by. Expected shares also move with the mix of routes, by
/// the second; that is no reason to start anew.
bool differs(std::span<const EndpointFacts> a, std::span<const EndpointFacts> b) {
    return !std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const EndpointFacts& x, const EndpointFacts& y) {
        return x.id == y.id && x.eligible == y.eligible && x.capacity == y.capacity;
    });
}

}  // namespace

double least_requests(double harm_budget, Share share) {
    return pass_at / error_floor(harm_budget, share) / std::max(share.value, 1e-6);
}

std::string_view name(Decision decision) {
    switch (decision) {
        case Decision::hold: return "hold";
        case Decision::pass: return "pass";
        case Decision::fail: return "fail";
    }
    return "?";
}

std::string_view name(Family family) {
    switch (family) {
        case Family::errors: return "errors";
        case Family::connect: return "connect";
        case Family::latency: return "latency";
        case Family::imbalance: return "imbalance";
        case Family::saturation: return "saturation";
        case Family::client_visible: return "client_visible";
    }
    return "?";
}

Trial::Trial(TrialSettings settings, const Baseline& past)
    : settings_(settings),
      past_(past),
      errors_(RatioProcess::for_errors()),
      retried_(RatioProcess::for_errors()),
      no_endpoint_(RatioProcess::for_errors()),
      redirects_(RatioProcess::for_errors()),
      client_errors_(RatioProcess::for_errors()),
      limited_(RatioProcess::for_errors()),
      latency_({}) {
    if (past.total.count() >= thresholds_need) arm_latency(past.total);
}

double Trial::fail_threshold() const { return std::log(static_cast<double>(family_count) / settings_.alpha); }

void Trial::arm_latency(const measure::Histogram& past) {
    latency_ = LatencyProcess(LatencyProcess::thresholds(past));
    for (const double q : {0.9, 0.95, 0.99})
        if (static_cast<double>(past.count()) * (1 - q) >= 10)
            safe_border_ = measure::Histogram::bucket(past.quantile(q));
    past_slow_ = part(past.at_least(safe_border_), past.count());
}

void Trial::begin_safety() {
    const double ratio = share_.value >= 0.25 ? 2 : 3;
    const double floor = error_floor(settings_.harm_budget, share_);
    const auto begin = [&](Family family, double at, double past_rate) {
        safe_[static_cast<std::size_t>(family)] = Safe{NonInferiority(share_, ratio, at, past_rate)};
    };
    begin(Family::errors, floor, past_.error_rate());
    begin(Family::connect, floor, past_.error_rate());
    // The past's 3xx and 4xx are not known here; what matters is only which half of the evidence weighs more.
    begin(Family::client_visible, floor, past_.error_rate());
    if (safe_border_ != 0) begin(Family::latency, latency_floor(settings_.harm_budget, share_), past_slow_);
}

void Trial::arm_decisions(std::span<const EndpointFacts> endpoints) {
    decisions_ = UtilisationProcess(UtilisationProcess::cells(endpoints, rate_, settings_.utilisation_cap));
    judged_endpoints_.assign(endpoints.begin(), endpoints.end());
    ++decision_tests_;
}

void Trial::begin_step(Share share, std::span<const EndpointFacts> endpoints, double rate) {
    sound_ = sound_ && std::isfinite(share.value) && std::isfinite(rate) && finite(endpoints);
    share_ = share;
    rate_ = std::isfinite(rate) ? rate : 0;
    keep_gauges(step_);
    latency_.begin_step(step_.arms[0].all_routes(), step_.arms[1].all_routes());
    begin_safety();
    for (std::size_t arm = 0; arm < 2; ++arm) {
        const auto& tallies = step_.arms[arm].endpoints;
        base_[arm].assign(tallies.ids(), 0);
        for (const auto& [id, e] : tallies) base_[arm][id] = e.in_flight;
        decided_[arm].assign(base_[arm].size(), 0);
    }
    if (sound_) arm_decisions(endpoints);
}

void Trial::add_safety(Family family, const std::array<std::uint64_t, 2>& bad_so_far,
                       std::uint64_t candidate_requests) {
    std::optional<Safe>& safe = safe_[static_cast<std::size_t>(family)];
    if (!safe) return;
    const std::uint64_t active = std::max(safe->bad[0], bad_so_far[0]);
    const std::uint64_t candidate = std::max(safe->bad[1], bad_so_far[1]);
    const std::uint64_t requests = std::max(safe->candidate_requests, candidate_requests);
    safe->process.add(active - safe->bad[0], requests - safe->candidate_requests, candidate - safe->bad[1]);
    safe->best = std::max(safe->best, safe->process.log_e());
    safe->bad = {active, candidate};
    safe->candidate_requests = requests;
}

void Trial::observe(const measure::Tally& window, std::span<const EndpointFacts> endpoints) {
    sound_ = sound_ && finite(endpoints);
    measure::extend(step_, window);
    const std::array<measure::RouteTally, 2> now = {window.arms[0].all_routes(), window.arms[1].all_routes()};
    errors_.add(share_, now[0].failed, now[1].failed);
    retried_.add(share_, now[0].retried, now[1].retried);
    no_endpoint_.add(share_, now[0].no_endpoint, now[1].no_endpoint);
    redirects_.add(share_, now[0].status_3xx, now[1].status_3xx);
    client_errors_.add(share_, now[0].status_4xx, now[1].status_4xx);
    limited_.add(share_, now[0].status_429, now[1].status_429);

    const std::array<measure::RouteTally, 2> all = {step_.arms[0].all_routes(), step_.arms[1].all_routes()};
    if (latency_.armed()) {
        latency_.update(share_, all[0], all[1]);
    } else if (all[0].total.count() >= thresholds_need) {
        arm_latency(all[0].total);  // judges what comes from here on
        latency_.begin_step(all[0], all[1]);
        begin_safety();
    }
    const auto both = [&](auto&& count) { return std::array<std::uint64_t, 2>{count(all[0]), count(all[1])}; };
    using Route = measure::RouteTally;
    add_safety(Family::errors, both([](const Route& r) { return r.failed; }), all[1].requests);
    add_safety(Family::connect, both([](const Route& r) { return std::min(r.retried + r.no_endpoint, r.requests); }),
               all[1].requests);
    add_safety(Family::client_visible, both([](const Route& r) { return r.status_3xx + r.status_4xx + r.status_429; }),
               all[1].requests);
    const std::size_t border = safe_border_;
    const auto slow = [border](const Route& r) { return r.total.at_least(border) + r.waiting.at_least(border); };
    add_safety(Family::latency, both(slow), all[1].total.count() + all[1].waiting.at_least(border));

    follow_decisions(endpoints);
    follow_load(endpoints, window.to - window.from);
}

void Trial::follow_decisions(std::span<const EndpointFacts> endpoints) {
    if (!sound_) return;
    const Duration span = step_.to - step_.from;
    const bool rate_found = !(rate_ > 0) && span >= rate_needs;
    if (rate_found)
        rate_ = static_cast<double>(step_.arms[0].all_routes().requests + step_.arms[1].all_routes().requests) /
                seconds(span);
    if (rate_found || differs(judged_endpoints_, endpoints)) arm_decisions(endpoints);
    // Picks are counted when a request ends. Requests in flight are decisions too, and the ones that matter: they are
    // at the slow servers.
    std::array<std::vector<std::uint64_t>, 2> fresh;
    for (std::size_t arm = 0; arm < 2; ++arm) {
        const auto& tallies = step_.arms[arm].endpoints;
        base_[arm].resize(std::max(base_[arm].size(), tallies.ids()), 0);
        decided_[arm].resize(base_[arm].size(), 0);
        fresh[arm].assign(base_[arm].size(), 0);
        for (const auto& [i, tally] : tallies) {
            const std::uint64_t sum = tally.picks + tally.in_flight;
            const std::uint64_t decided = std::max(decided_[arm][i], sum > base_[arm][i] ? sum - base_[arm][i] : 0);
            fresh[arm][i] = decided - decided_[arm][i];
            decided_[arm][i] = decided;
        }
    }
    decisions_.add(fresh[1]);
    decisions_.add_active(fresh[0]);
    fresh_ = std::move(fresh);
}

void Trial::follow_load(std::span<const EndpointFacts> endpoints, Duration span) {
    const double dt = seconds(span);
    if (!(dt > 0) || !sound_) return;
    const double keep = std::exp(-dt);
    std::unordered_map<std::uint32_t, const Load*> known;  // looked up only
    for (const Load& load : loads_) known.emplace(load.id.value, &load);
    std::vector<Load> loads;
    for (const EndpointFacts& e : endpoints) {
        if (!(e.capacity > 0)) continue;
        Load load{.id = e.id, .name = e.name, .capacity = e.capacity, .rate = 0, .above = {}};
        if (const auto before = known.find(e.id.value); before != known.end())
            load.rate = before->second->rate, load.above = before->second->above;
        std::uint64_t decided = 0;
        for (const auto& arm : fresh_)
            if (e.id.value < arm.size()) decided += arm[e.id.value];
        load.rate = load.rate * keep + static_cast<double>(decided) / dt * (1 - keep);
        // Three standard deviations of a second's worth of arrivals, so that a full server is not an overloaded one.
        const bool over = load.rate > load.capacity + 3 * std::sqrt(load.capacity);
        load.above = over ? load.above + span : Duration{};
        loads.push_back(std::move(load));
    }
    loads_ = std::move(loads);
}

double Trial::blame(EndpointId id) const {
    const auto share_of = [&](std::size_t arm) {
        std::uint64_t all = 0;
        for (const std::uint64_t n : decided_[arm]) all += n;
        return id.value < decided_[arm].size() ? part(decided_[arm][id.value], all) : 0.0;
    };
    const double active = share_of(0), candidate = share_of(1);
    return active > 0 ? candidate / active : (candidate > 0 ? 1e3 : 0);
}

Verdict Trial::by_ratio(Family family, const RatioProcess& shown, double log_e, bool with_bounds) const {
    Verdict v;
    v.family = family;
    v.log_e = log_e;
    v.threshold = fail_threshold();
    const measure::RouteTally active = step_.arms[0].all_routes(), candidate = step_.arms[1].all_routes();
    v.active_requests = active.requests;
    v.candidate_requests = candidate.requests;
    const std::optional<Safe>& safe = safe_[static_cast<std::size_t>(family)];
    const std::array<std::uint64_t, 2> bad = safe ? safe->bad : std::array<std::uint64_t, 2>{};
    const double smooth_a = (static_cast<double>(bad[0]) + 0.5) / (static_cast<double>(active.requests) + 1);
    const double smooth_b = (static_cast<double>(bad[1]) + 0.5) / (static_cast<double>(candidate.requests) + 1);
    v.effect = smooth_b / smooth_a;
    v.upper = std::numeric_limits<double>::infinity();
    if (with_bounds) {
        const Interval ci = shown.interval(0.05);
        v.lower = ci.lower;
        v.upper = ci.upper;
    }
    v.log_e_safe = safe ? safe->process.log_e() : 0;
    v.text = fmt::format("{}: candidate {} {} ({} of {}), active {} ({} of {})", name(family),
                         percent(part(bad[1], candidate.requests)), what_is_bad(family), bad[1], candidate.requests,
                         percent(part(bad[0], active.requests)), bad[0], active.requests);
    if (!std::isfinite(log_e) || !std::isfinite(v.log_e_safe) || !sound_) {
        v.text += "; a number is not finite";
    } else if (active.requests == 0 || candidate.requests == 0) {
        v.text += fmt::format("; no requests in the {} arm", candidate.requests == 0 ? "candidate" : "active");
    } else if (log_e >= v.threshold) {
        v.decision = Decision::fail;
        v.text += fmt::format("; harm shown (log e {:.1f} of {:.1f})", log_e, v.threshold);
        if (with_bounds) v.text += fmt::format(", at least {:.2g} times as many", v.lower);
    } else if (!safe) {
        v.text += "; too few requests yet to know what is slow";
    } else if (safe->best >= pass_at && v.log_e_safe >= pass_keeps) {
        v.decision = Decision::pass;
        v.text +=
            fmt::format("; shown below {} or {:g} x active", percent(safe->process.floor()), safe->process.ratio());
    } else {
        v.text += fmt::format("; evidence of no harm {:.1f} of {:.1f}", v.log_e_safe, pass_at);
    }
    return v;
}

Verdict Trial::imbalance() const {
    Verdict v;
    v.family = Family::imbalance;
    v.log_e = decisions_.log_e();
    const double k = std::max(1u, decision_tests_);
    v.threshold = fail_threshold() + std::log(k * (k + 1));
    v.active_requests = step_.arms[0].all_routes().requests;
    v.candidate_requests = decisions_.decisions();
    const UtilisationProcess::Worst worst = decisions_.worst();
    const EndpointFacts* fact = nullptr;
    for (const EndpointFacts& e : judged_endpoints_)
        if (e.id == worst.id) fact = &e;
    const double n = static_cast<double>(decisions_.decisions());
    const double noise = n > 0 ? 3 * std::sqrt(worst.bound * (1 - worst.bound) / n) : 0;
    if (fact != nullptr) {
        v.subject = fact->name;
        v.effect = rate_ * worst.share / fact->capacity;
        v.lower = rate_ * std::max(0.0, worst.share - noise) / fact->capacity;
        v.upper = rate_ * (worst.share + noise) / fact->capacity;
        v.text = fmt::format("imbalance: {} gets {} of {} candidate decisions, {:.2f} of its capacity at full share",
                             fact->name, percent(worst.share), decisions_.decisions(), v.effect);
    } else {
        v.effect = 0;
        v.text = fmt::format("imbalance: {} candidate decisions, no capacity known", decisions_.decisions());
    }
    if (!sound_ || !std::isfinite(v.log_e)) {
        v.text += "; a number is not finite";
    } else if (v.log_e >= v.threshold) {
        v.decision = Decision::fail;
        v.text += fmt::format("; overload shown (log e {:.1f} of {:.1f})", v.log_e, v.threshold);
    } else if (!(rate_ > 0)) {
        v.text += "; the rate of requests is not known";
    } else if (decisions_.decisions() < decisions_need) {
        v.text += fmt::format("; {} decisions are needed", decisions_need);
    } else if (fact == nullptr || worst.share - noise <= worst.bound) {
        v.decision = Decision::pass;
    }
    return v;
}

Verdict Trial::saturation() const {
    Verdict v;
    v.family = Family::saturation;
    v.threshold = 1;
    v.effect = 0;
    const Load* hottest_load = nullptr;
    for (const Load& load : loads_) {
        const double utilisation = load.rate / load.capacity;
        const bool guilty = load.above >= settings_.overload && blame(load.id) > 1.1;
        if (hottest_load == nullptr || utilisation > v.effect || guilty) {
            hottest_load = &load;
            v.effect = utilisation;
        }
        if (guilty) {
            v.decision = Decision::fail;
            break;
        }
    }
    v.candidate_requests = step_.arms[1].all_routes().requests;
    v.active_requests = step_.arms[0].all_routes().requests;
    if (!sound_) v.decision = Decision::hold;
    if (hottest_load == nullptr) {
        v.text = "saturation: no capacity known";
        return v;
    }
    v.subject = hottest_load->name;
    v.log_e = v.effect;
    v.text = fmt::format("saturation: {} works at {:.2f} of its capacity", hottest_load->name, v.effect);
    if (v.decision == Decision::fail)
        v.text += fmt::format("; for {} and more, the candidate sends it {:.1f} times the active revision's share",
                              text(settings_.overload), blame(hottest_load->id));
    else if (v.effect <= 1)
        v.decision = sound_ ? Decision::pass : Decision::hold;
    return v;
}

Verdict Trial::judged(Family family, bool with_bounds) const {
    const auto mean = [](std::initializer_list<const RatioProcess*> processes) {
        std::vector<double> each;
        for (const RatioProcess* p : processes) each.push_back(p->log_e());
        return log_sum_exp(each) - std::log(static_cast<double>(each.size()));
    };
    const auto strongest = [](std::initializer_list<const RatioProcess*> processes) -> const RatioProcess& {
        const RatioProcess* best = *processes.begin();
        for (const RatioProcess* p : processes)
            if (p->log_e() > best->log_e()) best = p;
        return *best;
    };
    switch (family) {
        case Family::errors: return by_ratio(family, errors_, errors_.log_e(), with_bounds);
        case Family::connect:
            return by_ratio(family, strongest({&retried_, &no_endpoint_}), mean({&retried_, &no_endpoint_}),
                            with_bounds);
        case Family::client_visible:
            return by_ratio(family, strongest({&redirects_, &client_errors_, &limited_}),
                            mean({&redirects_, &client_errors_, &limited_}), with_bounds);
        case Family::latency: {
            if (!latency_.armed()) return by_ratio(family, RatioProcess::for_latency(), 0, false);
            const std::size_t k = latency_.strongest();
            Verdict v = by_ratio(family, latency_.at(k), latency_.log_e(), with_bounds);
            v.subject = text(measure::Histogram::border(latency_.borders()[k]));
            if (v.decision == Decision::fail) v.text += fmt::format("; most evidence beyond {}", v.subject);
            return v;
        }
        case Family::imbalance: return imbalance();
        case Family::saturation: return saturation();
    }
    return {};
}

std::vector<Verdict> Trial::families() const {
    std::vector<Verdict> all;
    for (std::size_t i = 0; i < family_count; ++i) all.push_back(judged(static_cast<Family>(i), true));
    return all;
}

Verdict Trial::overall() const {
    std::optional<Verdict> worst, waiting;
    for (std::size_t i = 0; i < family_count; ++i) {
        Verdict v = judged(static_cast<Family>(i), false);
        if (v.decision == Decision::fail && (!worst || v.log_e - v.threshold > worst->log_e - worst->threshold))
            worst = std::move(v);
        else if (v.decision == Decision::hold && v.family != Family::saturation && !waiting)
            waiting = std::move(v);
    }
    if (worst) return judged(worst->family, true);
    if (waiting) return *waiting;
    Verdict v = judged(Family::errors, false);
    v.text = fmt::format("no harm: {}", v.text);
    return v;
}

StepCounts Trial::counts() const {
    StepCounts c;
    for (std::size_t arm = 0; arm < 2; ++arm) {
        const measure::RouteTally all = step_.arms[arm].all_routes();
        c.requests[arm] = all.requests;
        c.failed[arm] = all.failed;
        c.p50[arm] = all.total.quantile(0.5);
        c.p99[arm] = all.total.quantile(0.99);
    }
    for (const Load& load : loads_) {
        if (load.rate / load.capacity <= c.hottest) continue;
        c.hottest = load.rate / load.capacity;
        c.hottest_name = load.name;
    }
    return c;
}

}  // namespace plimsoll::judge
