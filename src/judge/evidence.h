// Evidence as e-processes: numbers that stay small while the null hypothesis holds, whenever one looks. By Ville's
// inequality P(E ever >= 1/a) <= a under the null, at any stopping time, so peeking is free and no sample size is
// fixed. Pure values; natural logarithms throughout. Sources: Lindon and Malek 2022 (arXiv:2011.03567), Waudby-Smith
// and Ramdas 2020 (arXiv:2010.09686), Wasserman, Ramdas and Balakrishnan 2020 "Universal inference" (arXiv:1912.11436),
// Vovk and Wang 2021 (arXiv:1912.06116).
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "base/ids.h"
#include "judge/facts.h"
#include "measure/tally.h"

namespace plimsoll::judge {

/// log(sum_i exp(x_i)), without overflow. -infinity when empty.
[[nodiscard]] double log_sum_exp(std::span<const double> x);

/// Which values of the ratio candidate/active the data still allow; covers the truth at all times together with
/// probability 1 - alpha on each side. `upper` may be infinite.
struct Interval {
    double lower = 0;
    double upper = std::numeric_limits<double>::infinity();
};

/// Are bad events more frequent (or less) in the candidate? Given that an event is bad, it comes from the candidate
/// with probability f r / (1 - f + f r), f = the share when it happened, r = ratio of bad rates. That holds whatever
/// the traffic does (bursts, tides), because arms are drawn per request. Null: r <= r0 for alternatives above r0, r >=
/// r0 for alternatives below. Carries over steps of different shares. Cost: 16 multiplications per add.
class RatioProcess {
public:
    /// `alternatives` > 0; equal weights when `weights` is empty, else they are normalised.
    RatioProcess(double r0, std::vector<double> alternatives, std::vector<double> weights = {});
    /// 16 log-spaced ratios in [1.25, 2000] against r <= 1: for errors.
    [[nodiscard]] static RatioProcess for_errors();
    /// 16 log-spaced ratios in [1.05, 100] against r <= 1: for "slower than a threshold".
    [[nodiscard]] static RatioProcess for_latency();

    /// New bad events, at this share. Shares outside (0, 1) carry no comparison and are ignored.
    void add(Share share, std::uint64_t bad_active, std::uint64_t bad_candidate);
    [[nodiscard]] double log_e() const;
    /// Confidence sequence for r by inverting the test in both directions. Costs some hundred evaluations: for people.
    [[nodiscard]] Interval interval(double alpha) const;
    [[nodiscard]] std::uint64_t bad_active() const;
    [[nodiscard]] std::uint64_t bad_candidate() const;

private:
    struct Events {
        double share;
        std::uint64_t active, candidate;
    };
    [[nodiscard]] double log_e_against(double r0, bool above) const;
    double r0_;
    std::vector<double> alternatives_;
    std::vector<double> log_weights_;
    std::vector<double> log_e_;
    std::vector<Events> events_;  ///< one per run of equal shares: at most as many as steps
};

/// RatioProcess over "slower than t_k" for several thresholds; the average is an e-process whatever their dependence.
/// Thresholds are borders of measure::Histogram, fixed before the requests they judge.
class LatencyProcess {
public:
    /// p50, p90, p95, p99, p99.9 of the past, each only if at least 10 requests lie beyond it; without duplicates.
    [[nodiscard]] static std::vector<std::size_t> thresholds(const measure::Histogram& past);
    explicit LatencyProcess(std::vector<std::size_t> thresholds);

    /// Cumulative counts of one step: finished and slower, plus still waiting and already slower, so that a hung
    /// endpoint counts at once and nothing counts twice.
    void update(Share share, const measure::RouteTally& active, const measure::RouteTally& candidate);
    /// The counts start anew, from these (whoever was waiting already has been counted).
    void begin_step(const measure::RouteTally& active, const measure::RouteTally& candidate);
    [[nodiscard]] bool armed() const { return !thresholds_.empty(); }
    [[nodiscard]] double log_e() const;
    /// The threshold with the most evidence: its place in `borders()`, and its process.
    [[nodiscard]] std::size_t strongest() const;
    [[nodiscard]] const RatioProcess& at(std::size_t k) const { return processes_[k]; }
    [[nodiscard]] const std::vector<std::size_t>& borders() const { return thresholds_; }

private:
    std::vector<std::size_t> thresholds_;
    std::vector<RatioProcess> processes_;
    std::vector<std::array<std::uint64_t, 2>> seen_;  ///< per threshold, by Arm, within this step
};

/// Do decisions follow the predicted shares? Dirichlet-multinomial against the point null `predicted` (2.4 of the
/// design: arXiv:2011.03567), concentration c = number of endpoints. Round robin is under-dispersed, which makes the
/// test conservative; least-request follows the speed of servers, so for it a rejection is a remark, not a fault.
class ShareProcess {
public:
    /// `predicted` by position; normalised. Picks where nothing was predicted are infinite evidence.
    explicit ShareProcess(std::vector<double> predicted);
    void add(std::span<const std::uint64_t> picks);
    [[nodiscard]] double log_e() const;
    [[nodiscard]] std::uint64_t decisions() const { return decisions_; }

private:
    std::vector<double> predicted_;
    std::vector<std::uint64_t> picks_;
    std::uint64_t decisions_ = 0;
};

/// Would the candidate overload a server at full share? Null: the shares q of its decisions keep every endpoint at or
/// below its bound, q_i <= b_i, where b_i = cap C_i / R (and never below 1.1 x what the active revision puts there, so
/// that a site already above the cap can still be changed). Universal inference for the composite null: numerator = a
/// Dirichlet-multinomial predictive centred on the expected shares, denominator = the largest likelihood any q in the
/// null has. E <= (numerator / likelihood at the true q), a nonnegative martingale, so Ville applies. This is what sees
/// concentration before any server is hot: it reads decisions, not their consequences.
class UtilisationProcess {
public:
    struct Cell {
        EndpointId id;
        double expected = 0;  ///< centre of the predictive; steers power only, never validity
        double bound = 1;     ///< largest share that does no harm; >= 1 = no bound (capacity unknown)
    };
    /// Cells for endpoints that either revision uses.
    [[nodiscard]] static std::vector<Cell> cells(std::span<const EndpointFacts> endpoints, double rate, double cap);
    UtilisationProcess() = default;
    explicit UtilisationProcess(std::vector<Cell> cells);

    /// New decisions by EndpointId; endpoints without a cell are left out.
    void add(std::span<const std::uint64_t> picks_by_id);
    /// New decisions of the active revision in the same time. From 200 on, a candidate that puts no more than 1.1 x the
    /// active revision's observed share on an endpoint is within bounds: a server that died moves load in both arms.
    /// This only widens the null, so E only gets smaller: validity is not touched.
    void add_active(std::span<const std::uint64_t> picks_by_id);
    /// 0 while there is nothing to judge (no decisions, or no endpoint with a bound).
    [[nodiscard]] double log_e() const;
    /// The bounds sum to less than 1: no distribution at all could carry this rate.
    [[nodiscard]] bool infeasible() const;
    [[nodiscard]] std::uint64_t decisions() const { return decisions_; }
    /// The cell with the largest observed share / bound among those with a bound; its observed share.
    struct Worst {
        EndpointId id = none<EndpointId>;
        double share = 0;
        double bound = 1;
    };
    [[nodiscard]] Worst worst() const;

private:
    [[nodiscard]] double bound(std::size_t cell) const;
    std::vector<Cell> cells_;
    std::vector<std::uint64_t> picks_, active_picks_;  ///< by cell
    std::uint64_t decisions_ = 0, active_decisions_ = 0;
};

/// Evidence of *no* harm, for a pass. Rejects H0: p_B >= max(R p_A, floor), p = chance that a request goes bad.
/// H0 is the intersection of H1: p_B >= R p_A and H2: p_B >= floor. An e-process for either one is an e-process for the
/// intersection (whoever is in H0 is in both), hence so is any weighted average of the two:
///   E = w E_floor + (1 - w) E_ratio.
/// E_ratio works on arm labels of bad events (as RatioProcess), E_floor on the candidate's requests; E_floor lets a
/// site without a single error pass after about ln(20)/floor candidate requests. w is fixed before the step from the
/// past.
class NonInferiority {
public:
    /// `ratio` = R > 1, `floor` in (0, 1), `past_rate` = the active arm's bad rate before the step.
    NonInferiority(Share share, double ratio, double floor, double past_rate);
    void add(std::uint64_t bad_active, std::uint64_t candidate_requests, std::uint64_t bad_candidate);
    /// Minus infinity is impossible; 0 without data.
    [[nodiscard]] double log_e() const;
    [[nodiscard]] double ratio() const { return ratio_; }
    [[nodiscard]] double floor() const { return floor_; }

private:
    Share share_;
    double ratio_, floor_, floor_weight_;
    RatioProcess ratio_process_;
    std::uint64_t requests_ = 0, bad_ = 0;
};

/// floor of a step: the harm budget spread over the candidate's share, within [0.2 %, 5 %] for failed requests.
[[nodiscard]] double error_floor(double harm_budget, Share share);
/// The same for slow requests, which harm a quarter as much as failed ones: within [1 %, 10 %].
[[nodiscard]] double latency_floor(double harm_budget, Share share);

}  // namespace plimsoll::judge
