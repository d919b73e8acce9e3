#include "judge/watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace plimsoll::judge {
namespace {

using namespace std::chrono_literals;

constexpr Duration half_memory = 30s;  ///< what is usual: the last half to one minute
constexpr double rate_memory = 60;     ///< seconds
constexpr double share_memory = 3;     ///< seconds
constexpr double failure_memory = 2;   ///< seconds
constexpr double least_error_rate = 0.001;
constexpr double slow_fraction = 0.01;
constexpr double share_raise = 0.2, share_clear = 0.1;  ///< total variation distance
constexpr double shares_need = 200;                     ///< picks within the memory
constexpr double failing_raise = 0.1, failing_clear = 0.02;
constexpr double expectation_moved = 0.01;  ///< of all requests: decisions of before are forgotten
constexpr double died_fraction = 0.5;       ///< of one window's attempts
constexpr double failing_needs = 5;         ///< failures within the memory
constexpr double failing_stands_out = 5;    ///< times the failure rate of the others

double decay(Duration span, double memory) { return std::exp(-seconds(span) / memory); }

/// log likelihood of k of n at p1 against p0.
double log_likelihood_ratio(double k, double n, double p1, double p0) {
    return k * std::log(p1 / p0) + std::max(0.0, n - k) * std::log((1 - p1) / (1 - p0));
}

double ratio(double part, double all) { return all > 0 ? part / all : 0; }

}  // namespace

std::string_view name(SignalKind kind) {
    switch (kind) {
        case SignalKind::errors: return "errors";
        case SignalKind::latency: return "latency";
        case SignalKind::share: return "share";
        case SignalKind::utilisation: return "utilisation";
        case SignalKind::endpoint: return "endpoint";
        case SignalKind::missing: return "missing";
        case SignalKind::demand: return "demand";
        case SignalKind::divergence: return "divergence";
    }
    return "?";
}

Watch::Look Watch::look_of(SignalKind kind, std::string subject) {
    Look look;
    look.signal.kind = kind;
    look.signal.subject = std::move(subject);
    return look;
}

Watch::Watch(WatchSettings settings) : settings_(settings) {}

void Watch::Lasting::follow(bool is, bool clearly_not, Duration span) {
    yes = is ? yes + span : Duration{};
    no = clearly_not ? no + span : Duration{};
}

bool Watch::is_firing(SignalKind kind) const {
    return std::any_of(firing_.begin(), firing_.end(), [kind](const Signal& s) { return s.kind == kind; });
}

void Watch::settle(Look look, std::vector<Signal>& changed) {
    const auto found = std::find_if(firing_.begin(), firing_.end(), [&](const Signal& s) {
        return s.kind == look.signal.kind && s.subject == look.signal.subject;
    });
    if (found == firing_.end() && look.raise) {
        firing_.push_back(look.signal);
        changed.push_back(std::move(look.signal));
    } else if (found != firing_.end() && look.lower && !look.raise) {
        firing_.erase(found);
        look.signal.firing = false;
        changed.push_back(std::move(look.signal));
    }
}

void Watch::learn(const measure::RouteTally& all, Duration span) {
    const double keep = decay(span, rate_memory);
    const double rate = static_cast<double>(all.requests) / seconds(span);
    if (!is_firing(SignalKind::missing))
        usual_rate_ = learned_ < half_memory
                          ? ratio(usual_rate_ * seconds(learned_) + rate * seconds(span), seconds(learned_ + span))
                          : usual_rate_ * keep + rate * (1 - keep);
    if (!is_firing(SignalKind::errors) && !is_firing(SignalKind::latency)) {
        newer_.requests += all.requests;
        newer_.failed += all.failed;
        newer_.total.add(all.total);
        learned_ += span;
        newer_span_ += span;
        if (newer_span_ >= half_memory) {
            older_ = newer_;
            newer_ = {};
            newer_span_ = {};
        }
        usual_ = older_;
        usual_.requests += newer_.requests;
        usual_.failed += newer_.failed;
        usual_.total.add(newer_.total);
        if (usual_.total.count() >= settings_.learn_requests) {
            slow_border_ = measure::Histogram::bucket(usual_.total.quantile(0.99));
            usual_slow_ = ratio(static_cast<double>(usual_.total.at_least(slow_border_)),
                                static_cast<double>(usual_.total.count()));
        }
    }
    usual_.rate = usual_rate_;
}

Watch::Look Watch::look_at_errors(const measure::RouteTally& all, Duration span) {
    Look look = look_of(SignalKind::errors);
    const double keep = decay(span, 1);
    recent_requests_ = recent_requests_ * keep + static_cast<double>(all.requests);
    recent_failed_ = recent_failed_ * keep + static_cast<double>(all.failed);
    if (usual_.requests < settings_.learn_requests) return look;
    const double p0 = std::min(0.5, std::max(usual_.error_rate(), least_error_rate));
    const double p1 = std::min(0.9, std::max(4 * p0, 0.01));
    errors_sum_ += log_likelihood_ratio(static_cast<double>(all.failed), static_cast<double>(all.requests), p1, p0);
    errors_sum_ = std::clamp(errors_sum_, 0.0, 2 * settings_.h);
    const double now = ratio(recent_failed_, recent_requests_);
    errors_.follow(errors_sum_ >= settings_.h, all.requests > 0 && now < p1 / 2, span);
    look.signal.value = now;
    look.signal.expected = usual_.error_rate();
    look.signal.threshold = p1;
    look.raise = errors_.yes > Duration{};
    look.lower = errors_.no >= settings_.clear_hold;
    if (look.lower) errors_sum_ = 0;
    look.signal.text = fmt::format("{:.2f} % of requests fail, {:.2f} % usually", 100 * now, 100 * usual_.error_rate());
    return look;
}

Watch::Look Watch::look_at_latency(const measure::RouteTally& all, Duration span) {
    Look look = look_of(SignalKind::latency);
    if (slow_border_ == 0) return look;
    // Who waits beyond the border counts when it crosses it, and not again when it is answered.
    const auto waiting = static_cast<std::int64_t>(all.waiting.at_least(slow_border_));
    const double slow = static_cast<double>(std::max<std::int64_t>(
        0, static_cast<std::int64_t>(all.total.at_least(slow_border_)) + waiting - waiting_slow_));
    const double fast = static_cast<double>(all.total.count() - all.total.at_least(slow_border_));
    waiting_slow_ = waiting;
    const double keep = decay(span, 1);
    recent_answered_ = recent_answered_ * keep + slow + fast;
    recent_slow_ = recent_slow_ * keep + slow;
    const double p0 = std::min(0.5, std::max(usual_slow_, slow_fraction));
    const double p1 = std::min(0.9, 4 * p0);
    latency_sum_ += log_likelihood_ratio(slow, slow + fast, p1, p0);
    latency_sum_ = std::clamp(latency_sum_, 0.0, 2 * settings_.h);
    const double now = ratio(recent_slow_, recent_answered_);
    latency_.follow(latency_sum_ >= settings_.h, slow + fast > 0 && now < p1 / 2, span);
    look.signal.value = now;
    look.signal.expected = usual_slow_;
    look.signal.threshold = p1;
    look.raise = latency_.yes > Duration{};
    look.lower = latency_.no >= settings_.clear_hold;
    if (look.lower) latency_sum_ = 0;
    look.signal.text = fmt::format("{:.1f} % of requests are slower than {}, {:.1f} % usually", 100 * now,
                                   text(measure::Histogram::border(slow_border_)), 100 * usual_slow_);
    return look;
}

void Watch::look_at_demand(Instant at, Duration span, std::vector<Signal>& changed) {
    if (learned_ < settings_.demand_hold || usual_.requests < settings_.learn_requests) return;
    const double usual = usual_rate_;
    const double noise = 3 * std::sqrt(std::max(usual, 1.0));
    high_.follow(recent_rate_ > 1.5 * usual + noise, recent_rate_ < 1.3 * usual + noise, span);
    low_.follow(recent_rate_ < 0.5 * usual - noise, recent_rate_ > 0.7 * usual - noise, span);
    const auto tell = [&](SignalKind kind, const Lasting& lasting, double threshold) {
        Look look = look_of(kind);
        look.signal.at = at;
        look.signal.value = recent_rate_;
        look.signal.expected = usual;
        look.signal.threshold = threshold;
        look.raise = lasting.yes >= settings_.demand_hold;
        look.lower = lasting.no >= settings_.clear_hold;
        look.signal.text = fmt::format("{:.0f} requests/s, {:.0f} usually", recent_rate_, usual);
        settle(std::move(look), changed);
    };
    tell(SignalKind::demand, high_, 1.5 * usual + noise);
    tell(SignalKind::missing, low_, 0.5 * usual - noise);
}

void Watch::follow_endpoints(const measure::Tally& window, Duration span) {
    std::size_t n = endpoints_.size();
    for (const measure::ArmTally& arm : window.arms) n = std::max(n, arm.endpoints.ids());
    endpoints_.resize(n);
    const double keep_rate = decay(span, 1), keep_picks = decay(span, share_memory),
                 keep_failures = decay(span, failure_memory);
    for (std::size_t i = 0; i < n; ++i) {
        struct {
            std::uint64_t picks = 0, attempts = 0, failures = 0;
            std::uint32_t in_flight = 0;
        } sum;
        for (const measure::ArmTally& arm : window.arms) {
            const measure::EndpointTally* tally = arm.endpoints.find(i);
            if (tally == nullptr) continue;
            sum.picks += tally->picks;
            sum.attempts += tally->attempts;
            sum.failures += tally->failures();
            sum.in_flight += tally->in_flight;
        }
        PerEndpoint& e = endpoints_[i];
        // Picks are counted when a request ends; who is still there has arrived too.
        const double arrived = std::max(0.0, static_cast<double>(sum.picks) + static_cast<double>(sum.in_flight) -
                                                 static_cast<double>(e.in_flight));
        e.in_flight = sum.in_flight;
        e.rate = e.rate * keep_rate + arrived / seconds(span) * (1 - keep_rate);
        e.picks = e.picks * keep_picks + arrived;
        e.now_attempts = static_cast<double>(sum.attempts);
        e.now_failures = static_cast<double>(sum.failures);
        e.attempts = e.attempts * keep_failures + static_cast<double>(sum.attempts);
        e.failures = e.failures * keep_failures + static_cast<double>(sum.failures);
    }
}

void Watch::look_at_endpoints(std::span<const EndpointFacts> endpoints, Instant at, Duration span,
                              std::vector<Signal>& changed) {
    double all_attempts = 0, all_failures = 0;
    for (const PerEndpoint& e : endpoints_) all_attempts += e.attempts, all_failures += e.failures;
    for (const EndpointFacts& fact : endpoints) {
        if (fact.id.value >= endpoints_.size()) continue;
        PerEndpoint& e = endpoints_[fact.id.value];
        Look look = look_of(SignalKind::endpoint, fmt::format("endpoint {}", fact.name));
        look.signal.endpoint = fact.id;
        look.signal.at = at;
        if (fact.capacity > 0) {
            Look hot = look;
            const double utilisation = e.rate / fact.capacity;
            const double noise = 2 * std::sqrt(std::max(e.rate, 1.0) / 2) / fact.capacity;
            const double cap = settings_.utilisation_cap;
            e.hot.follow(utilisation > cap + noise, utilisation < 0.9 * cap + noise, span);
            hot.signal.kind = SignalKind::utilisation;
            hot.signal.value = utilisation;
            hot.signal.expected = cap;
            hot.signal.threshold = cap + noise;
            hot.raise = e.hot.yes >= settings_.utilisation_hold;
            hot.lower = e.hot.no >= settings_.clear_hold;
            hot.signal.text = fmt::format("{} works at {:.2f} of its capacity ({:.0f} of {:.0f} requests/s)", fact.name,
                                          utilisation, e.rate, fact.capacity);
            settle(std::move(hot), changed);
        }
        const double failing = ratio(e.failures, e.attempts);
        const double others = ratio(all_failures - e.failures, all_attempts - e.attempts);
        // A server that dies is ejected within milliseconds: what fails then is too little beside the seconds before,
        // but it is most of this window. After that, only active checks still speak of it.
        const bool died = e.now_failures >= failing_needs && e.now_failures >= died_fraction * e.now_attempts;
        const bool fails =
            (e.failures >= failing_needs && failing >= failing_raise && failing >= failing_stands_out * others) ||
            (died && failing >= failing_stands_out * others);
        const bool bad = fails || !fact.eligible;
        e.failing.follow(bad, fact.eligible && !fact.out && (failing < failing_clear || e.attempts < 1), span);
        look.signal.value = failing;
        look.signal.expected = others;
        look.signal.threshold = failing_raise;
        look.raise = bad;
        look.lower = e.failing.no >= settings_.clear_hold;
        look.signal.text =
            fails           ? fmt::format("{:.0f} % of attempts at {} fail, {:.2f} % elsewhere",
                                          100 * (died ? e.now_failures / e.now_attempts : failing), fact.name, 100 * others)
            : fact.eligible ? fmt::format("{} answers again", fact.name)
                            : fmt::format("{} is down: its active checks fail", fact.name);
        settle(std::move(look), changed);
    }
}

Watch::Look Watch::look_at_shares(std::span<const EndpointFacts> endpoints, Share share, Duration span) {
    Look look = look_of(SignalKind::share);
    double all = 0, expected_all = 0, distance = 0, most = 0;
    const auto expected = [&](const EndpointFacts& e) {
        return (1 - share.value) * e.expected_active + share.value * e.expected_candidate;
    };
    const auto picks = [&](const EndpointFacts& e) {
        return e.id.value < endpoints_.size() ? endpoints_[e.id.value].picks : 0.0;
    };
    for (const EndpointFacts& e : endpoints) expected_all += e.comparable ? expected(e) : 0;
    // What was picked under another expectation (a step of a rollout, a server out or back) says nothing about this
    // one.
    std::vector<double> wanted(endpoints_.size(), 0.0);
    double moved = 0;
    for (const EndpointFacts& e : endpoints)
        if (e.comparable && e.id.value < wanted.size() && expected_all > 0)
            wanted[e.id.value] = expected(e) / expected_all;
    for (std::size_t i = 0; i < wanted.size(); ++i)
        moved += std::abs(wanted[i] - (i < wanted_.size() ? wanted_[i] : 0.0)) / 2;
    wanted_ = std::move(wanted);
    if (moved > expectation_moved) {
        for (PerEndpoint& e : endpoints_) e.picks = 0;
        uneven_.yes = {};
    }
    for (const EndpointFacts& e : endpoints) all += e.comparable ? picks(e) : 0;
    if (!(expected_all > 0) || all < shares_need) {
        uneven_.follow(false, all > 0, span);
        look.lower = uneven_.no >= settings_.clear_hold;
        return look;
    }
    const EndpointFacts* furthest = nullptr;
    for (const EndpointFacts& e : endpoints) {
        if (!e.comparable) continue;
        const double off = std::abs(picks(e) / all - expected(e) / expected_all);
        distance += off / 2;
        if (off > most) most = off, furthest = &e;
    }
    const double noise = 1.5 * std::sqrt(static_cast<double>(endpoints.size()) / (6.28 * all));
    uneven_.follow(distance > share_raise + noise, distance < share_clear + noise, span);
    look.signal.value = distance;
    look.signal.expected = 0;
    look.signal.threshold = share_raise + noise;
    look.raise = uneven_.yes >= 1s;
    look.lower = uneven_.no >= settings_.clear_hold;
    if (furthest != nullptr)
        look.signal.text = fmt::format(
            "{:.0f} % of requests do not go where they should; {} gets {:.1f} %, {:.1f} % expected", 100 * distance,
            furthest->name, 100 * picks(*furthest) / all, 100 * expected(*furthest) / expected_all);
    return look;
}

std::vector<Signal> Watch::observe(const measure::Tally& window, std::span<const EndpointFacts> endpoints,
                                   Share share) {
    std::vector<Signal> changed;
    const Duration span = window.to - window.from;
    if (span <= Duration{}) return changed;
    measure::RouteTally all = window.arms[0].all_routes();
    all += window.arms[1].all_routes();
    const double keep = decay(span, 1);
    const double rate = static_cast<double>(all.requests) / seconds(span);
    recent_rate_ = learned_ == Duration{} ? rate : recent_rate_ * keep + rate * (1 - keep);
    const auto tell = [&](Look look) {
        look.signal.at = window.to;
        settle(std::move(look), changed);
    };
    tell(look_at_errors(all, span));
    tell(look_at_latency(all, span));
    look_at_demand(window.to, span, changed);
    follow_endpoints(window, span);
    look_at_endpoints(endpoints, window.to, span, changed);
    tell(look_at_shares(endpoints, share, span));
    learn(all, span);
    return changed;
}

}  // namespace plimsoll::judge
