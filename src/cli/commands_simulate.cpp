// simulate: plays scenario files in virtual time. A scenario is a test: exit 0 when all that it expects came true.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/exit_code.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "sim/scenario.h"

namespace plimsoll::cli {

namespace {

using Json = nlohmann::json;

std::string_view end_name(sim::ChangeEnd end) {
    switch (end) {
        case sim::ChangeEnd::refused: return "refused";
        case sim::ChangeEnd::completed: return "completed";
        case sim::ChangeEnd::rolled_back: return "rolled_back";
    }
    return "unknown";
}

Json as_json(const std::string& file, const sim::Played& played) {
    Json expectations = Json::array(), changes = Json::array();
    for (const sim::Seen& seen : played.seen)
        expectations.push_back({{"line", seen.expectation.where.line},
                                {"text", seen.expectation.text},
                                {"met", seen.met},
                                {"saw", seen.saw}});
    for (const sim::ChangeSeen& change : played.changes)
        changes.push_back({{"line", change.where.line},
                           {"end", change.ended ? end_name(change.end) : "in_progress"},
                           {"exit", change.exit_code},
                           {"text", change.text}});
    return {{"file", file},
            {"passed", played.passed()},
            {"requests", played.requests},
            {"failed", played.failed},
            {"harmed", played.harmed},
            {"expectations", std::move(expectations)},
            {"changes", std::move(changes)}};
}

/// Names in a scenario are relative to it.
sim::ReadFile beside(const std::string& scenario) {
    return [directory = std::filesystem::path(scenario).parent_path()](const std::string& named) {
        return read_file((directory / named).string());
    };
}

int simulate_one(const Common& common, const std::string& file, const SimulateArgs& args) {
    const auto text = read_file(file);
    if (!text) return fail_with(text.error());
    sim::ParsedScenario parsed = sim::parse_scenario(*text, file);
    for (const Finding& finding : parsed.findings) message(plimsoll::text(finding));
    if (!parsed.scenario) return exit_code::error;
    if (args.seed) parsed.scenario->seed = *args.seed;
    const sim::Played played = sim::play(*parsed.scenario, beside(file));
    for (const Finding& finding : played.findings) message(plimsoll::text(finding));
    out(common.json ? as_json(file, played).dump(-1, ' ', false, Json::error_handler_t::replace)
                    : fmt::format("{}\n{}", file, sim::describe(played)));
    return played.passed() && !has_errors(played.findings) ? exit_code::done : exit_code::error;
}

}  // namespace

int simulate(const Common& common, const SimulateArgs& args) {
    int worst = exit_code::done;
    for (const std::string& file : args.files) worst = std::max(worst, simulate_one(common, file, args));
    return worst;
}

}  // namespace plimsoll::cli
