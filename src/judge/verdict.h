// Verdict: pass needs evidence of no harm, fail needs evidence of harm, anything else is hold. `Trial` compares the two
// arms of one change over all its steps. Pure values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "judge/evidence.h"
#include "judge/facts.h"
#include "measure/tally.h"

namespace plimsoll::judge {

enum class Decision : std::uint8_t { hold, pass, fail };
[[nodiscard]] std::string_view name(Decision decision);

/// Six families share a change's alpha equally. Each is judged on requests (retries count once), except the middle two.
enum class Family : std::uint8_t {
    errors,          ///< client-visible failures
    connect,         ///< requests that needed another attempt, or found no endpoint
    latency,         ///< slower than thresholds of the past
    imbalance,       ///< decisions that would overload an endpoint at full share
    saturation,      ///< an endpoint loaded beyond its capacity now, by the candidate
    client_visible,  ///< shifts of 3xx, 4xx and 429
};
inline constexpr std::size_t family_count = 6;
[[nodiscard]] std::string_view name(Family family);

struct Verdict {
    Decision decision = Decision::hold;
    Family family = Family::errors;
    double effect =
        1;  ///< errors, connect, latency, client_visible: ratio of bad rates; imbalance, saturation: utilisation
    double lower = 0;  ///< bounds of the effect at 95 % at all times; infinite when open
    double upper = 0;
    double log_e = 0;                                           ///< evidence of harm
    double threshold = 0;                                       ///< what log_e must reach for fail
    double log_e_safe = 0;                                      ///< evidence of no harm; ln 20 is a pass
    std::uint64_t active_requests = 0, candidate_requests = 0;  ///< used, in this step
    std::string subject;  ///< endpoint or threshold the sentence is about; may be empty
    std::string text;     ///< one sentence with the numbers
};

struct TrialSettings {
    double alpha = 0.001;                         ///< chance that a harmless change fails, over the whole change
    double harm_budget = 0.0005;                  ///< config::Guard::harm_budget
    double utilisation_cap = 0.8;                 ///< config::Guard::utilisation_cap
    Duration overload = std::chrono::seconds(1);  ///< observed utilisation above 1 for this long is a fail
};

/// Requests of both arms that a step needs to pass, when none of them goes bad: the candidate's part of them must rule
/// out error_floor() at one chance in twenty. At the default harm budget 6,000 up to a share of 25 %.
[[nodiscard]] double least_requests(double harm_budget, Share share);

/// Counts of the current step, for stage lines and records.
struct StepCounts {
    std::array<std::uint64_t, 2> requests{}, failed{};  ///< by Arm
    std::array<Duration, 2> p50{}, p99{};
    double hottest = 0;        ///< observed utilisation, both arms, last second
    std::string hottest_name;  ///< empty when no capacity is known
};

/// The comparison of candidate and active revision, from the first step to the end of the soak. Evidence of harm
/// carries over steps; evidence of no harm starts anew with each step, because a larger share is a new claim.
class Trial {
public:
    /// `past` is the active arm's recent past: latency thresholds come from it. With an empty past, thresholds are
    /// taken from the active arm during the step and latency is judged from then on.
    Trial() : Trial(TrialSettings{}) {}
    explicit Trial(TrialSettings settings, const Baseline& past = {});

    /// All workers run this share from now on. `rate` = requests/s now, both arms.
    void begin_step(Share share, std::span<const EndpointFacts> endpoints, double rate);
    /// A window that lies wholly within the step. Gauges as of its end.
    void observe(const measure::Tally& window, std::span<const EndpointFacts> endpoints);

    /// fail if any family fails; pass if all but saturation are shown harmless; else hold. No requests of either arm,
    /// or numbers that are not finite: hold. The text names what decided, or what is missing.
    [[nodiscard]] Verdict overall() const;
    /// All six, in the order of Family, with bounds. Costs about a millisecond: for people, not for each tick.
    [[nodiscard]] std::vector<Verdict> families() const;
    [[nodiscard]] StepCounts counts() const;
    [[nodiscard]] Share share() const { return share_; }
    /// log_e at which a family fails: ln(6/alpha), 8.70 for alpha = 0.1 %. Decisions are judged anew in each step (and
    /// when endpoints come or go), so their k-th test gets 1/(k(k+1)) of the family's part.
    [[nodiscard]] double fail_threshold() const;

private:
    struct Load {
        EndpointId id;
        std::string name;
        double capacity = 0;
        double rate = 0;   ///< decisions/s of both arms, exponentially smoothed over a second
        Duration above{};  ///< for how long utilisation has been above 1
    };
    /// Evidence of no harm of one family, and how often it was bad in this step.
    struct Safe {
        NonInferiority process;
        std::array<std::uint64_t, 2> bad{};  ///< by Arm
        std::uint64_t candidate_requests = 0;
        double best = 0;  ///< highest log E of this step
    };
    [[nodiscard]] Verdict judged(Family family, bool with_bounds) const;
    [[nodiscard]] Verdict by_ratio(Family family, const RatioProcess& shown, double log_e, bool with_bounds) const;
    [[nodiscard]] Verdict imbalance() const;
    [[nodiscard]] Verdict saturation() const;
    void arm_latency(const measure::Histogram& past);
    void arm_decisions(std::span<const EndpointFacts> endpoints);
    void begin_safety();
    void add_safety(Family family, const std::array<std::uint64_t, 2>& bad_so_far, std::uint64_t candidate_requests);
    void follow_decisions(std::span<const EndpointFacts> endpoints);
    void follow_load(std::span<const EndpointFacts> endpoints, Duration span);
    [[nodiscard]] double blame(EndpointId id) const;

    TrialSettings settings_;
    Baseline past_;
    Share share_;
    double rate_ = 0;
    bool sound_ = true;    ///< every number so far was finite
    measure::Tally step_;  ///< since begin_step
    RatioProcess errors_, retried_, no_endpoint_, redirects_, client_errors_, limited_;
    LatencyProcess latency_;
    std::size_t safe_border_ = 0;  ///< "slow" for the pass on latency: the past's p99 border; 0 = not known yet
    double past_slow_ = 0.01;      ///< fraction of the past beyond safe_border_
    std::vector<std::optional<Safe>> safe_ = std::vector<std::optional<Safe>>(family_count);
    UtilisationProcess decisions_;
    unsigned decision_tests_ = 0;
    std::vector<EndpointFacts> judged_endpoints_;               ///< what decisions_ was made for
    std::array<std::vector<std::uint64_t>, 2> decided_, base_;  ///< by Arm, EndpointId: picks + in flight this step
    std::array<std::vector<std::uint64_t>, 2> fresh_;           ///< of decided_, what the newest window added
    std::vector<Load> loads_;
};

}  // namespace plimsoll::judge
