#include "lab/plimsoll_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

namespace plimsoll::lab {
namespace {

using Json = nlohmann::json;
using namespace std::chrono_literals;

constexpr Duration short_command = 20s;
constexpr Duration long_command = 180s;  ///< an apply with its soak

std::optional<Timestamp> moment(const Json& marks, const char* key) {
    if (!marks.is_object() || !marks.contains(key) || !marks[key].is_number_integer()) return std::nullopt;
    const auto ns = marks[key].get<std::int64_t>();
    if (ns <= 0 || ns == never.ns) return std::nullopt;
    return Timestamp{ns};
}

std::string text_of(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::uint64_t number_of(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number() ? found->get<std::uint64_t>() : 0;
}

/// A finished command that had to succeed.
Result<Json> json_of(const Result<Finished>& finished, std::string_view what) {
    if (!finished) return std::unexpected(finished.error());
    if (finished->exit_code != 0) {
        return fail(Code::internal, fmt::format("{}: exit {}: {}", what, finished->exit_code, finished->errors));
    }
    Json json = Json::parse(finished->output, nullptr, false);
    if (json.is_discarded()) return fail(Code::protocol, fmt::format("{}: no JSON: {}", what, finished->output));
    return json;
}

}  // namespace

Applied read_applied(const Finished& finished) {
    Applied applied{.exit_code = finished.exit_code,
                    .ending = {},
                    .summary = {},
                    .incident = {},
                    .cause = {},
                    .detected_by = {},
                    .revision = 0,
                    .harmed = 0,
                    .candidate_decisions = 0,
                    .marks = {},
                    .switched = std::nullopt,
                    .took = finished.took,
                    .output = finished.output,
                    .errors = finished.errors};
    std::istringstream lines(finished.output);
    for (std::string line; std::getline(lines, line);) {
        const Json said = Json::parse(line, nullptr, false);
        if (!said.is_object() || !said.contains("ending")) continue;
        applied.ending = text_of(said, "ending");
        applied.summary = text_of(said, "summary");
        applied.incident = text_of(said, "incident");
        applied.cause = text_of(said, "cause");
        applied.detected_by = text_of(said, "detected_by");
        applied.revision = number_of(said, "revision");
        applied.harmed = number_of(said, "harmed");
        applied.candidate_decisions = number_of(said, "candidate_decisions");
        if (said.contains("verdict_to_last_started_us")) {
            applied.switched = std::chrono::microseconds{said["verdict_to_last_started_us"].get<std::int64_t>()};
        }
        if (said.contains("marks")) {
            const Json& marks = said["marks"];
            applied.marks = {.t0 = moment(marks, "t0_ns"),
                             .detected = moment(marks, "detected_ns"),
                             .cause = moment(marks, "cause_ns"),
                             .rolled_back = moment(marks, "rolled_back_ns"),
                             .recovered = moment(marks, "recovered_ns")};
        }
    }
    return applied;
}

Result<Finished> Plimsoll::ask(std::vector<std::string> arguments, Duration limit) const {
    std::vector<std::string> all{binary_};
    std::ranges::move(arguments, std::back_inserter(all));
    all.insert(all.end(), {"--server", socket_});
    return run(std::move(all), limit);
}

Result<Child> Plimsoll::serve(const std::string& config, const std::string& state, const std::string& log) const {
    std::vector<std::string> arguments{binary_, "serve", "--state", state};
    if (!config.empty()) arguments.insert(arguments.end(), {"-c", config});
    return Child::start(std::move(arguments), log);
}

Result<void> Plimsoll::wait_until_up(Child& server, Duration limit) const {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (std::chrono::steady_clock::now() < end) {
        if (!server.running()) return fail(Code::closed, "plimsoll serve ended at once");
        const Result<Finished> asked = ask({"status", "--json"}, short_command);
        if (!asked) return std::unexpected(asked.error());
        if (asked->exit_code == 0) return {};
        std::this_thread::sleep_for(20ms);
    }
    return fail(Code::timeout, fmt::format("plimsoll serve did not answer within {}", text(limit)));
}

Result<Planned> Plimsoll::plan(const std::string& file) const {
    Result<Finished> finished = ask({"plan", file}, short_command);
    if (!finished) return std::unexpected(finished.error());
    return Planned{.exit_code = finished->exit_code, .text = finished->output + finished->errors};
}

std::vector<std::string> Plimsoll::apply_arguments(const std::string& file, const ApplyOptions& options) const {
    std::vector<std::string> arguments{"apply", file, "--json", "--reason", options.reason};
    if (options.force) arguments.emplace_back("--force");
    if (options.at_once) arguments.emplace_back("--at-once");
    return arguments;
}

Result<Applied> Plimsoll::apply(const std::string& file, const ApplyOptions& options) const {
    const Result<Finished> finished = ask(apply_arguments(file, options), long_command);
    if (!finished) return std::unexpected(finished.error());
    return read_applied(*finished);
}

Result<Child> Plimsoll::start_apply(const std::string& file, const ApplyOptions& options,
                                    const std::string& log) const {
    std::vector<std::string> all{binary_};
    std::ranges::move(apply_arguments(file, options), std::back_inserter(all));
    all.insert(all.end(), {"--server", socket_});
    return Child::start(std::move(all), log);
}

Result<void> Plimsoll::abort(const std::string& reason) const {
    const Result<Finished> finished = ask({"abort", "--reason", reason}, short_command);
    if (!finished) return std::unexpected(finished.error());
    if (finished->exit_code != 0) {
        return fail(Code::internal, fmt::format("abort: exit {}: {}", finished->exit_code, finished->errors));
    }
    return {};
}

Result<Standing> Plimsoll::status() const {
    const Result<Json> json = json_of(ask({"status", "--json"}, short_command), "status");
    if (!json) return std::unexpected(json.error());
    const Json& active = json->contains("active") && (*json)["active"].is_object() ? (*json)["active"] : *json;
    return Standing{.digest = text_of(active, "digest"), .revision = number_of(active, "revision")};
}

Result<std::vector<Plimsoll::Incident>> Plimsoll::incidents() const {
    const Result<Json> json = json_of(ask({"incidents", "--json"}, short_command), "incidents");
    if (!json) return std::unexpected(json.error());
    const Json& list = json->is_object() && json->contains("incidents") ? (*json)["incidents"] : *json;
    std::vector<Incident> incidents;
    for (const Json& item : list) {
        Incident incident{.id = text_of(item, "id"), .names = text_of(item, "subject"), .evidence = {}};
        if (const auto cause = item.find("cause"); cause != item.end() && cause->is_object()) {
            incident.names = text_of(*cause, "subject");
            incident.evidence = text_of(*cause, "evidence");
        }
        incidents.push_back(std::move(incident));
    }
    return incidents;
}

Result<std::vector<std::string>> Plimsoll::postmortem(const std::string& incident, const std::string& directory) const {
    const Result<Finished> finished = ask({"postmortem", incident, "-o", directory}, short_command);
    if (!finished) return std::unexpected(finished.error());
    if (finished->exit_code != 0) {
        return fail(Code::internal, fmt::format("postmortem: exit {}: {}", finished->exit_code, finished->errors));
    }
    std::vector<std::string> files;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
        files.push_back(entry.path().filename().string());
    }
    if (error) return fail(Code::io, directory + ": " + error.message());
    std::ranges::sort(files);
    return files;
}

Result<Finished> Plimsoll::simulate(const std::string& scenario) const {
    return run({binary_, "simulate", scenario}, long_command);
}

}  // namespace plimsoll::lab
