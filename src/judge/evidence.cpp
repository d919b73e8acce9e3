#include "judge/evidence.h"

#include <algorithm>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <numeric>

namespace plimsoll::judge {
namespace {

/// Evidence where the null hypothesis makes what was seen impossible: finite, so that sums stay numbers.
constexpr double certain = 1e6;

/// std::lgamma writes a global; this one does not, and gives the same bits on every machine.
double log_gamma(double x) { return boost::math::lgamma(x); }

std::vector<double> log_spaced(double from, double to, std::size_t n) {
    std::vector<double> grid(n);
    for (std::size_t i = 0; i < n; ++i)
        grid[i] = from * std::pow(to / from, static_cast<double>(i) / static_cast<double>(n - 1));
    return grid;
}

std::vector<double> normalised(std::vector<double> weights) {
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (double& w : weights) w = sum > 0 ? w / sum : 1.0 / static_cast<double>(weights.size());
    return weights;
}

/// log probability of the labels of these bad events under ratio r, against r0, at one share.
double log_likelihood_ratio(double r, double r0, double f, std::uint64_t active, std::uint64_t candidate) {
    const double b = static_cast<double>(candidate);
    const double n = b + static_cast<double>(active);
    return b * std::log(r / r0) - n * std::log((1 - f + f * r) / (1 - f + f * r0));
}

/// log of the Dirichlet-multinomial probability of one sequence with these counts.
double log_predictive(std::span<const double> centre, double concentration, std::span<const std::uint64_t> counts,
                      std::uint64_t n) {
    double sum = log_gamma(concentration) - log_gamma(concentration + static_cast<double>(n));
    for (std::size_t i = 0; i < counts.size(); ++i) {
        if (counts[i] == 0) continue;
        const double a = concentration * centre[i];
        sum += log_gamma(a + static_cast<double>(counts[i])) - log_gamma(a);
    }
    return sum;
}

}  // namespace

double log_sum_exp(std::span<const double> x) {
    if (x.empty()) return -std::numeric_limits<double>::infinity();
    const double top = *std::max_element(x.begin(), x.end());
    if (!std::isfinite(top)) return top;
    double sum = 0;
    for (const double value : x) sum += std::exp(value - top);
    return top + std::log(sum);
}

// ---- RatioProcess --------------------------------------------------------------------------------------------------

RatioProcess::RatioProcess(double r0, std::vector<double> alternatives, std::vector<double> weights)
    : r0_(r0), alternatives_(std::move(alternatives)), log_e_(alternatives_.size(), 0.0) {
    if (weights.empty()) weights.assign(alternatives_.size(), 1.0);
    for (const double w : normalised(std::move(weights))) log_weights_.push_back(std::log(w));
}

RatioProcess RatioProcess::for_errors() { return RatioProcess(1, log_spaced(1.25, 2000, 16)); }
RatioProcess RatioProcess::for_latency() { return RatioProcess(1, log_spaced(1.05, 100, 16)); }

void RatioProcess::add(Share share, std::uint64_t bad_active, std::uint64_t bad_candidate) {
    const double f = share.value;
    if (!(f > 0 && f < 1) || bad_active + bad_candidate == 0) return;
    if (events_.empty() || events_.back().share != f) events_.push_back({.share = f, .active = 0, .candidate = 0});
    events_.back().active += bad_active;
    events_.back().candidate += bad_candidate;
    for (std::size_t j = 0; j < alternatives_.size(); ++j)
        log_e_[j] += log_likelihood_ratio(alternatives_[j], r0_, f, bad_active, bad_candidate);
}

double RatioProcess::log_e() const {
    std::vector<double> weighted(log_e_.size());
    for (std::size_t j = 0; j < log_e_.size(); ++j) weighted[j] = log_weights_[j] + log_e_[j];
    return log_sum_exp(weighted);
}

double RatioProcess::log_e_against(double r0, bool above) const {
    std::vector<double> weighted(alternatives_.size());
    for (std::size_t j = 0; j < alternatives_.size(); ++j) {
        const double factor = std::max(alternatives_[j] / r0_, r0_ / alternatives_[j]);
        const double r = above ? r0 * factor : r0 / factor;
        weighted[j] = log_weights_[j];
        for (const Events& e : events_) weighted[j] += log_likelihood_ratio(r, r0, e.share, e.active, e.candidate);
    }
    return log_sum_exp(weighted);
}

Interval RatioProcess::interval(double alpha) const {
    constexpr double widest = 18;  // ln of the largest ratio anybody would print
    const double needed = std::log(1 / alpha);
    Interval result;
    if (events_.empty()) return result;
    // log_e_against(r0, above) falls with r0, log_e_against(r0, below) rises with it: bisect each.
    if (log_e_against(std::exp(-widest), true) >= needed) {
        double low = -widest, high = widest;
        for (int i = 0; i < 50; ++i) {
            const double middle = (low + high) / 2;
            (log_e_against(std::exp(middle), true) >= needed ? low : high) = middle;
        }
        result.lower = std::exp(low);
    }
    if (log_e_against(std::exp(widest), false) >= needed) {
        double low = -widest, high = widest;
        for (int i = 0; i < 50; ++i) {
            const double middle = (low + high) / 2;
            (log_e_against(std::exp(middle), false) >= needed ? high : low) = middle;
        }
        result.upper = std::exp(high);
    }
    return result;
}

std::uint64_t RatioProcess::bad_active() const {
    std::uint64_t sum = 0;
    for (const Events& e : events_) sum += e.active;
    return sum;
}

std::uint64_t RatioProcess::bad_candidate() const {
    std::uint64_t sum = 0;
    for (const Events& e : events_) sum += e.candidate;
    return sum;
}

// ---- LatencyProcess ------------------------------------------------------------------------------------------------

std::vector<std::size_t> LatencyProcess::thresholds(const measure::Histogram& past) {
    std::vector<std::size_t> borders;
    const double n = static_cast<double>(past.count());
    for (const double q : {0.5, 0.9, 0.95, 0.99, 0.999}) {
        if (n * (1 - q) < 10) break;
        const std::size_t border = measure::Histogram::bucket(past.quantile(q));
        if (border > 0 && (borders.empty() || borders.back() != border)) borders.push_back(border);
    }
    return borders;
}

LatencyProcess::LatencyProcess(std::vector<std::size_t> thresholds)
    : thresholds_(std::move(thresholds)),
      processes_(thresholds_.size(), RatioProcess::for_latency()),
      seen_(thresholds_.size()) {}

namespace {

std::uint64_t slower(const measure::RouteTally& route, std::size_t border) {
    return route.total.at_least(border) + route.waiting.at_least(border);
}

}  // namespace

void LatencyProcess::begin_step(const measure::RouteTally& active, const measure::RouteTally& candidate) {
    for (std::size_t k = 0; k < thresholds_.size(); ++k)
        seen_[k] = {slower(active, thresholds_[k]), slower(candidate, thresholds_[k])};
}

void LatencyProcess::update(Share share, const measure::RouteTally& active, const measure::RouteTally& candidate) {
    for (std::size_t k = 0; k < thresholds_.size(); ++k) {
        const std::size_t border = thresholds_[k];
        // A request that was waiting and then left without an answer must not be taken back: never below what was seen.
        const std::uint64_t now_active = std::max(seen_[k][0], slower(active, border));
        const std::uint64_t now_candidate = std::max(seen_[k][1], slower(candidate, border));
        processes_[k].add(share, now_active - seen_[k][0], now_candidate - seen_[k][1]);
        seen_[k] = {now_active, now_candidate};
    }
}

double LatencyProcess::log_e() const {
    if (processes_.empty()) return 0;
    std::vector<double> each;
    for (const RatioProcess& process : processes_) each.push_back(process.log_e());
    return log_sum_exp(each) - std::log(static_cast<double>(each.size()));
}

std::size_t LatencyProcess::strongest() const {
    std::size_t best = 0;
    for (std::size_t k = 1; k < processes_.size(); ++k)
        if (processes_[k].log_e() > processes_[best].log_e()) best = k;
    return best;
}

// ---- ShareProcess --------------------------------------------------------------------------------------------------

ShareProcess::ShareProcess(std::vector<double> predicted)
    : predicted_(normalised(std::move(predicted))), picks_(predicted_.size(), 0) {}

void ShareProcess::add(std::span<const std::uint64_t> picks) {
    for (std::size_t i = 0; i < std::min(picks.size(), picks_.size()); ++i) {
        picks_[i] += picks[i];
        decisions_ += picks[i];
    }
}

double ShareProcess::log_e() const {
    if (decisions_ == 0) return 0;
    double null = 0;
    for (std::size_t i = 0; i < picks_.size(); ++i) {
        if (picks_[i] == 0) continue;
        if (!(predicted_[i] > 0)) return certain;
        null += static_cast<double>(picks_[i]) * std::log(predicted_[i]);
    }
    return log_predictive(predicted_, static_cast<double>(predicted_.size()), picks_, decisions_) - null;
}

// ---- UtilisationProcess --------------------------------------------------------------------------------------------

std::vector<UtilisationProcess::Cell> UtilisationProcess::cells(std::span<const EndpointFacts> endpoints, double rate,
                                                                double cap) {
    std::vector<Cell> result;
    for (const EndpointFacts& e : endpoints) {
        Cell cell{.id = e.id, .expected = std::max(0.0, e.expected_candidate), .bound = 1};
        if (e.capacity > 0 && rate > 0) cell.bound = std::max(cap * e.capacity / rate, 1.1 * e.expected_active);
        result.push_back(cell);
    }
    return result;
}

UtilisationProcess::UtilisationProcess(std::vector<Cell> cells)
    : cells_(std::move(cells)), picks_(cells_.size(), 0), active_picks_(cells_.size(), 0) {
    // A tenth of the centre is spread evenly, so that a pick where none was expected is unlikely, not impossible.
    double sum = 0;
    for (const Cell& cell : cells_) sum += cell.expected;
    const double n = static_cast<double>(cells_.size());
    for (Cell& cell : cells_) cell.expected = sum > 0 ? 0.9 * cell.expected / sum + 0.1 / n : 1 / n;
}

void UtilisationProcess::add(std::span<const std::uint64_t> picks_by_id) {
    for (std::size_t i = 0; i < cells_.size(); ++i) {
        if (cells_[i].id.value >= picks_by_id.size()) continue;
        picks_[i] += picks_by_id[cells_[i].id.value];
        decisions_ += picks_by_id[cells_[i].id.value];
    }
}

void UtilisationProcess::add_active(std::span<const std::uint64_t> picks_by_id) {
    for (std::size_t i = 0; i < cells_.size(); ++i) {
        if (cells_[i].id.value >= picks_by_id.size()) continue;
        active_picks_[i] += picks_by_id[cells_[i].id.value];
        active_decisions_ += picks_by_id[cells_[i].id.value];
    }
}

double UtilisationProcess::bound(std::size_t cell) const {
    constexpr std::uint64_t enough = 200;
    const double fixed = cells_[cell].bound;
    if (fixed >= 1 || active_decisions_ < enough) return fixed;
    return std::max(fixed, 1.1 * static_cast<double>(active_picks_[cell]) / static_cast<double>(active_decisions_));
}

bool UtilisationProcess::infeasible() const {
    double sum = 0;
    for (std::size_t i = 0; i < cells_.size(); ++i) sum += std::min(bound(i), 1.0);
    return !cells_.empty() && sum < 1 - 1e-9;
}

double UtilisationProcess::log_e() const {
    const bool bounded = std::any_of(cells_.begin(), cells_.end(), [](const Cell& c) { return c.bound < 1; });
    if (decisions_ == 0 || !bounded) return 0;
    if (infeasible()) return certain;

    // Largest likelihood within the null: q_i = min(b_i, lambda x_i); cells bind in ascending order of b_i / x_i.
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < cells_.size(); ++i)
        if (picks_[i] > 0) order.push_back(i);
    const auto tightness = [&](std::size_t i) { return bound(i) / static_cast<double>(picks_[i]); };
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return tightness(a) != tightness(b) ? tightness(a) < tightness(b) : a < b;
    });
    double null = 0, left = 1, picks_left = static_cast<double>(decisions_);
    for (const std::size_t i : order) {
        const double x = static_cast<double>(picks_[i]);
        const double free = left * x / picks_left;
        const double q = std::min(bound(i), free);
        null += x * std::log(q);
        left -= q;
        picks_left -= x;
    }

    // Two predictives, one that trusts the expected shares and one that learns quickly; their mean is a predictive.
    std::vector<double> centre;
    for (const Cell& cell : cells_) centre.push_back(cell.expected);
    const double n = static_cast<double>(cells_.size());
    const std::array<double, 2> each = {log_predictive(centre, n, picks_, decisions_),
                                        log_predictive(centre, 20 * n, picks_, decisions_)};
    return log_sum_exp(each) - std::log(2.0) - null;
}

UtilisationProcess::Worst UtilisationProcess::worst() const {
    Worst worst;
    double highest = -1;
    for (std::size_t i = 0; i < cells_.size(); ++i) {
        if (cells_[i].bound >= 1 || decisions_ == 0) continue;
        const double share = static_cast<double>(picks_[i]) / static_cast<double>(decisions_);
        if (share / bound(i) > highest) {
            highest = share / bound(i);
            worst = {.id = cells_[i].id, .share = share, .bound = bound(i)};
        }
    }
    return worst;
}

// ---- NonInferiority ------------------------------------------------------------------------------------------------

namespace {

/// Ratios below R: most weight on 1 (a change that changes nothing), the rest spread for the better and the worse.
RatioProcess below(double ratio) {
    std::vector<double> alternatives = log_spaced(ratio / 20, ratio / 1.15, 8);
    std::vector<double> weights(alternatives.size(), 0.6 / 8);
    alternatives.push_back(1);
    weights.push_back(0.4);
    return RatioProcess(ratio, std::move(alternatives), std::move(weights));
}

}  // namespace

NonInferiority::NonInferiority(Share share, double ratio, double floor, double past_rate)
    : share_(share),
      ratio_(ratio),
      floor_(floor),
      floor_weight_(past_rate * ratio < floor ? 0.9 : 0.1),
      ratio_process_(below(ratio)) {}

void NonInferiority::add(std::uint64_t bad_active, std::uint64_t candidate_requests, std::uint64_t bad_candidate) {
    ratio_process_.add(share_, bad_active, bad_candidate);
    requests_ += candidate_requests;
    bad_ += std::min(bad_candidate, candidate_requests);
}

double NonInferiority::log_e() const {
    constexpr std::array<double, 4> part = {1.0 / 64, 1.0 / 16, 1.0 / 4, 1.0 / 2};
    constexpr std::array<double, 4> weight = {0.6, 0.15, 0.15, 0.1};
    std::array<double, 5> terms{};
    const double bad = static_cast<double>(bad_);
    const double good = static_cast<double>(requests_ - bad_);
    for (std::size_t j = 0; j < part.size(); ++j) {
        const double p = floor_ * part[j];
        terms[j] = std::log(floor_weight_ * weight[j]) + bad * std::log(part[j]) +
                   good * (std::log1p(-p) - std::log1p(-floor_));
    }
    terms[4] = std::log(1 - floor_weight_) + ratio_process_.log_e();
    return log_sum_exp(terms);
}

double error_floor(double harm_budget, Share share) {
    return std::clamp(share.value > 0 ? harm_budget / share.value : 0.05, 0.002, 0.05);
}

double latency_floor(double harm_budget, Share share) {
    return std::clamp(share.value > 0 ? 4 * harm_budget / share.value : 0.1, 0.01, 0.1);
}

}  // namespace plimsoll::judge
