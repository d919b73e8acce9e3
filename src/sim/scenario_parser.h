// The state of reading one scenario; used by scenario_parse.cpp (world) and scenario_events.cpp (events, expectations).
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sim/scenario.h"
#include "sim/words.h"

namespace plimsoll::sim {

/// Most that a scenario may hold: people write them, and playing one must end.
inline constexpr std::size_t most_scenario_bytes = 1u << 20;
inline constexpr std::size_t most_endpoints = 2000;
inline constexpr std::size_t most_statements = 5000;
inline constexpr double most_requests = 20e6;

class ScenarioParser {
public:
    explicit ScenarioParser(std::string file) { scenario_.file = std::move(file); }
    [[nodiscard]] ParsedScenario parse(std::string_view text);

private:
    // words of the line being read
    [[nodiscard]] bool more() const { return next_ < words_.size(); }
    [[nodiscard]] std::string_view peek() const { return more() ? words_[next_].text : std::string_view(); }
    /// Takes the next word if it is this one.
    bool take(std::string_view word);
    /// Takes the next word; a finding that names `what` if there is none.
    [[nodiscard]] std::optional<std::string_view> need(std::string_view what);
    /// Takes the next word and reads it; a finding that says what it should be if that fails.
    template <class T>
    std::optional<T> need(std::optional<T> (*read)(std::string_view), std::string_view what);
    bool expect_word(std::string_view word);
    void bad(std::string code, std::string message, std::string remedy = "");
    void bad_at(std::size_t word, std::string code, std::string message, std::string remedy = "");
    [[nodiscard]] Where here(std::size_t word) const;
    /// A finding for what is left over.
    void end_of_statement();

    // scenario_parse.cpp
    void line(std::string_view text);
    void statement();
    void seed();
    void config_file();
    void pool();
    bool pool_option(config::Pool& pool);
    void route();
    void guard();
    bool guard_field(std::string_view key);
    void server();
    void load();
    std::optional<std::vector<NamedWeight>> endpoints();
    std::optional<std::vector<std::string>> names();
    std::optional<std::string> one_name(std::string_view what);
    std::optional<std::pair<Duration, std::optional<double>>> latency();
    void finish();
    void write_config();
    void check_names();
    void check_size();

    // scenario_events.cpp
    void at();
    void trouble(Instant when, Where where);
    std::optional<Fault> fault();
    void change(Instant when, Where where);
    std::optional<Proposed> proposed();
    void expect(std::string_view text);
    void expect_server();
    void expect_measure(Measure measure, std::string server);
    void expect_change();
    bool from_to(ExpectMeasure& measure);

    Scenario scenario_;
    Findings findings_;
    std::vector<Word> words_;
    std::size_t next_ = 0;
    int line_ = 0;
    bool failed_ = false;  ///< this statement has a finding already
    std::string_view line_text_;

    std::vector<config::Route> routes_;
    std::optional<Where> pool_where_, guard_where_;  ///< the first of these statements, right or wrong
    bool load_seen_ = false;
    std::vector<std::pair<std::string, Where>> pool_names_;    ///< mentioned, to be checked at the end
    std::vector<std::pair<std::string, Where>> server_names_;  ///< mentioned
    std::size_t endpoints_ = 0;
    std::map<std::string, Instant, std::less<>> last_trouble_;  ///< by server: what `within` counts from
    std::optional<std::size_t> last_change_;                    ///< index into events in the order of lines
    std::optional<Instant> until_;
};

/// The address of a server that a scenario names: by order of naming, in 10.0.0.0/8.
[[nodiscard]] config::Address scenario_address(std::size_t number);

template <class T>
std::optional<T> ScenarioParser::need(std::optional<T> (*read)(std::string_view), std::string_view what) {
    const auto word = need(what);
    if (!word) return std::nullopt;
    auto value = read(*word);
    if (!value) {
        bad_at(next_ - 1, "S102-bad-value", "'" + std::string(*word) + "' is not " + std::string(what));
    }
    return value;
}

}  // namespace plimsoll::sim
