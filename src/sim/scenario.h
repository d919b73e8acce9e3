// Scenario: a small world as text, for tests and operators alike. Format: docs/formats/scenario.md.
// Parsing is pure and total: any bytes give either a scenario or findings, all of them. Playing reads the named config
// files through a function, so it needs no file system either.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/finding.h"
#include "base/result.h"
#include "base/time.h"
#include "config/config.h"
#include "sim/backend.h"
#include "sim/traffic.h"

namespace plimsoll::sim {

// ---- the parts of a scenario ---------------------------------------------------------------------------------------

struct NamedWeight {
    std::string name;
    std::optional<double> weight;
};

/// What `server` says; absent fields keep the default.
struct ServerSays {
    std::optional<double> capacity;  ///< requests/s
    bool undeclared = false;         ///< the config does not tell the capacity
    std::optional<Duration> latency;
    std::optional<double> sigma;
    std::optional<std::uint32_t> queue;
};

struct ChangeFile {
    std::string file;
};
struct ChangeWeights {
    std::vector<NamedWeight> weights;
};
struct ChangeEndpoints {
    std::string pool;
    std::vector<NamedWeight> endpoints;
};
struct ChangePolicy {
    std::string pool;
    config::Policy policy = config::Policy::least_request;
};
struct ChangeEjection {
    std::string pool;
    bool on = true;
};
struct ChangeRetries {
    std::string pool;
    std::uint32_t attempts = 2;
};
struct ChangeTimeout {
    std::string pool;
    Duration per_try{};
};
using Proposed = std::variant<ChangeFile, ChangeWeights, ChangeEndpoints, ChangePolicy, ChangeEjection, ChangeRetries,
                              ChangeTimeout>;

/// A server gets into trouble or out of it.
struct Trouble {
    std::string server;
    Fault fault;
};
struct ProposedChange {
    Proposed proposed;
    bool forced = false, at_once = false, unguarded = false;
};
struct Event {
    Instant at;
    Where where;
    std::variant<Trouble, ProposedChange> what;
};

enum class ServerState : std::uint8_t { ejected, down, up };
enum class ChangeEnd : std::uint8_t { refused, completed, rolled_back };
enum class Measure : std::uint8_t { availability, harmed, share, p50, p90, p99, p999 };

struct ExpectServer {
    std::string server;
    ServerState state = ServerState::ejected;
    Duration within{};
    Instant since;  ///< of the event it counts from
};
struct ExpectMeasure {
    Measure measure = Measure::availability;
    std::string server;  ///< for share
    bool at_least = true;
    double bound = 0;  ///< fraction, or seconds
    Instant from, to;
};
struct ExpectChange {
    std::size_t change = 0;  ///< index into Scenario::events
    ChangeEnd end = ChangeEnd::refused;
    std::optional<Duration> within;
};
struct ExpectFinding {
    std::size_t change = 0;
    std::string code;
};
struct Expectation {
    Where where;
    std::string text;  ///< as written
    std::variant<ExpectServer, ExpectMeasure, ExpectChange, ExpectFinding> what;
};

struct Scenario {
    std::string file;
    std::uint64_t seed = 1;
    std::string config_file;  ///< empty: `config` below is what the scenario wrote
    Where config_where;
    config::Config config;
    std::vector<std::pair<std::string, ServerSays>> servers;  ///< in the order said
    std::vector<Poisson> loads;
    std::vector<Event> events;  ///< in order of time, then of lines
    std::vector<Expectation> expectations;
    Duration warmup = std::chrono::seconds(20);
    Instant end;
};

struct ParsedScenario {
    std::optional<Scenario> scenario;  ///< if no finding is an error
    Findings findings;                 ///< all, in order of lines
};
/// Reads a scenario. Never throws. Inputs above 1 MiB are refused; rows and statements are bounded.
[[nodiscard]] ParsedScenario parse_scenario(std::string_view text, std::string file);

// ---- playing -------------------------------------------------------------------------------------------------------

/// Gives the text of a file named in a scenario (a path relative to it). Errors: not_found, io.
using ReadFile = std::function<Result<std::string>(const std::string& name)>;

struct Seen {
    Expectation expectation;
    bool met = false;
    std::string saw;  ///< what was there instead, or how it was met: one line
};
/// What became of one proposed change.
struct ChangeSeen {
    Where where;
    ChangeEnd end = ChangeEnd::refused;
    bool ended = true;  ///< false: the scenario was over first
    int exit_code = 3;  ///< as `plimsoll apply` would have ended
    Instant submitted, live = never, finished = never;
    std::string text;   ///< one sentence
    Findings findings;  ///< of check and forecast
};
struct Played {
    std::vector<Seen> seen;  ///< one for each expectation, in order
    std::vector<ChangeSeen> changes;
    std::vector<std::string> timeline;  ///< "  30.000s server a: errors 30 %", key lines only
    std::uint64_t requests = 0, failed = 0, harmed = 0;
    Findings findings;  ///< configs that could not be used; then nothing was played
    [[nodiscard]] bool passed() const;
};
/// Plays the scenario to its end. Deterministic: same scenario, same files, same result.
[[nodiscard]] Played play(const Scenario& scenario, const ReadFile& read_file);
/// For a terminal: the timeline, then each expectation with a tick or a cross and what was seen.
[[nodiscard]] std::string describe(const Played& played);

}  // namespace plimsoll::sim
