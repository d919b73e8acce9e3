// Plays a scenario: the world, the control loop in virtual time around it, and the watching of expectations.
// scenario_play.cpp has time, traffic and expectations; scenario_change.cpp has what `control` does in production:
// plan, rollout::next, effects.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "check/check.h"
#include "judge/watch.h"
#include "rollout/rollout.h"
#include "sim/scenario.h"
#include "sim/world.h"

namespace plimsoll::sim {

class Player {
public:
    Player(const Scenario& scenario, const ReadFile& read_file);
    [[nodiscard]] Played play();

private:
    /// What an expectation needs to have counted.
    struct Counted {
        std::uint64_t requests = 0, failed = 0, harmed = 0, first_choice = 0;
        measure::Histogram total;
        Instant met = never;  ///< for ExpectServer
    };
    /// A change on its way.
    struct Current {
        std::size_t change = 0;  ///< index into played_.changes
        std::string name;        ///< "change 1"
        config::Document document;
        check::Plan plan;
        Findings checks, forecasts;
        bool unservable = false;
        std::shared_ptr<const snapshot::Snapshot> candidate;
        std::vector<double> mix;
        rollout::State state;
        std::vector<rollout::Observation> answers;
        bool finished = false;
        std::optional<judge::ChangeFacts> live;
    };

    // scenario_play.cpp
    [[nodiscard]] bool prepare();
    void know(const config::Config& config);
    void give_models(const config::Config& config);
    void check_known();
    void start_world();
    void record(const Outcome& outcome);
    void count(const Outcome& outcome);
    void look_at_servers();
    void server_is(EndpointId id, ServerState state, Instant when);
    void tick();
    void happen(const Event& event);
    [[nodiscard]] bool holds(const std::string& server, ServerState state) const;
    [[nodiscard]] Seen judge(std::size_t index) const;
    [[nodiscard]] Seen judge_measure(const ExpectMeasure& expected, const Counted& counted) const;
    [[nodiscard]] Seen judge_change(const ExpectChange& expected) const;
    void say(std::string text);
    [[nodiscard]] double clock(Instant at) const { return seconds(at - start_); }  ///< scenario time
    [[nodiscard]] recording::Recording recorded() const;

    // scenario_change.cpp
    [[nodiscard]] config::Document propose(const Proposed& proposed, const Where& where, Findings& findings);
    void change(const ProposedChange& change, const Where& where);
    void begin(const ProposedChange& change, std::size_t index, config::Document document, Findings findings);
    void observe(const measure::Tally& window);
    void advance(const rollout::Observation& observation);
    void perform(const std::vector<rollout::Effect>& effects);
    void perform(const rollout::Effect& effect);
    [[nodiscard]] rollout::Forecasted forecasted() const;
    void install(Share share, bool shadow, Instant lease);
    void adopt();
    void finish(const rollout::Finish& finish);
    [[nodiscard]] judge::Scene scene() const;
    [[nodiscard]] std::vector<judge::EndpointFacts> facts() const;

    const Scenario& scenario_;
    const ReadFile& read_file_;
    Played played_;
    World world_;
    Instant start_;              ///< scenario time 0 in the world's time
    config::Document document_;  ///< in force
    std::shared_ptr<const snapshot::Snapshot> active_;
    std::vector<double> mix_;
    std::uint64_t revisions_ = 0;
    std::map<std::string, config::Address, std::less<>> address_of_;  ///< by server name
    std::map<std::string, config::Document, std::less<>> files_;      ///< configs that changes name
    std::deque<recording::Record> recording_;
    judge::Watch watch_;
    Instant diagnosed_{INT64_MIN / 2};
    std::deque<measure::Tally> recent_;                        ///< the last ticks
    std::vector<Counted> counted_;                             ///< by expectation
    std::vector<std::optional<std::size_t>> change_of_event_;  ///< index into played_.changes
    std::optional<Current> current_;
    std::optional<judge::ChangeFacts> newest_live_;
};

}  // namespace plimsoll::sim
