// explain: on a file, or on what a running server serves.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "balance/shared_ejections.h"
#include "base/exit_code.h"
#include "cli/commands.h"
#include "cli/explain.h"
#include "cli/remote.h"
#include "cli/terminal.h"
#include "control/history.h"
#include "discovery/membership.h"

namespace plimsoll::cli {

namespace {

using Json = nlohmann::json;

/// What is explained, and what is known of its endpoints.
struct Subject {
    config::Document document;
    std::optional<KnownHealth> health;
    std::string from;
};

Result<config::Document> read(std::string_view text, const std::string& name) {
    config::Parsed parsed = config::parse(text, name);
    if (parsed.document) return std::move(*parsed.document);
    std::string why = name + " cannot be read:";
    for (const Finding& finding : parsed.findings) why += "\n  " + plimsoll::text(finding);
    return fail(Code::invalid, why);
}

balance::Health health_called(std::string_view name) {
    for (const balance::Health health : {balance::Health::up, balance::Health::down})
        if (name == balance::name(health)) return health;
    return balance::Health::unknown;
}

KnownEndpoint known_endpoint(const Json& one) {
    KnownEndpoint known{.health = health_called(one.value("health", ""))};
    const bool asked = one.value("out_by", "") == name(balance::OutBy::retry_after);
    (asked ? known.paused_for : known.ejected_for) = from_seconds(one.value("out_for_ms", 0.0) / 1000);
    return known;
}

KnownHealth known_health(const Json& status) {
    KnownHealth known;
    if (!status.contains("endpoints") || !status["endpoints"].is_array()) return known;
    for (const Json& one : status["endpoints"]) {
        if (!one.is_object()) continue;
        known[{one.value("pool", ""), one.value("address", "")}] = known_endpoint(one);
    }
    return known;
}

/// What discovery has found for the pools of what is served.
Result<discovery::Found> found_now(const Remote& remote, const config::Config& config) {
    if (discovery::sources(config).empty()) return discovery::Found{};
    const auto answer = remote.call("GET", "/v1/members");
    if (!answer) return std::unexpected(answer.error());
    const Json members = Json::parse(answer->body, nullptr, false);
    if (answer->status != 200 || !members.is_object() || !members.contains("members"))
        return fail(Code::protocol, fmt::format("{}: cannot get what discovery has found", remote.where()));
    return control::found_of(config, members["members"].dump());
}

Result<Subject> running(const Common& common) {
    const Remote remote(common.server);
    const auto status = remote.call("GET", "/v1/status");
    if (!status) return std::unexpected(status.error());
    const Json answer = Json::parse(status->body, nullptr, false);
    if (status->status != 200 || !answer.is_object() || !answer.contains("active") ||
        !answer["active"].is_number_unsigned()) {
        return fail(Code::protocol, fmt::format("{}: that is no status of a Plimsoll server", remote.where()));
    }
    const auto revision = fmt::format("r{}", answer["active"].get<std::uint64_t>());
    const auto text = remote.call("GET", "/v1/revisions/" + revision);
    if (!text) return std::unexpected(text.error());
    if (text->status != 200) return fail(Code::protocol, fmt::format("{}: cannot get {}", remote.where(), revision));
    auto document = read(text->body, revision);
    if (!document) return std::unexpected(document.error());
    if (const auto found = found_now(remote, document->config))
        document->config = discovery::with_found(document->config, *found);
    else
        return std::unexpected(found.error());
    Subject made{std::move(*document), known_health(answer), revision + ", the active revision"};
    if (answer.value("candidate", std::uint64_t{0}) != 0) {
        made.from += fmt::format(" (r{} serves {:.4g}% of requests)", answer.value("candidate", std::uint64_t{0}),
                                 answer.value("share", 0.0) * 100);
    }
    return made;
}

Result<Subject> from_file(const std::string& file) {
    const auto text = read_file(file);
    if (!text) return std::unexpected(text.error());
    auto document = read(*text, file);
    if (!document) return std::unexpected(document.error());
    return Subject{std::move(*document), std::nullopt, file};
}

}  // namespace

int explain(const Common& common, const ExplainArgs& args) {
    auto question = ask(args.url, args.headers);
    if (!question) {
        message(question.error().detail);
        return exit_code::usage;
    }
    question->method = args.method;
    question->listener = args.listener;
    question->client = args.client;
    const auto subject = args.file.empty() ? running(common) : from_file(args.file);
    if (!subject) return fail_with(subject.error());
    const auto answer = explained(*question, subject->document, subject->health ? &*subject->health : nullptr,
                                  subject->from, common.json);
    if (!answer) return fail_with(answer.error());
    out(*answer);
    return exit_code::done;
}

}  // namespace plimsoll::cli
