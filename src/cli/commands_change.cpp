// plan, apply, rollback, abort, thaw: what changes a running server. The server decides; this prints and exits.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/exit_code.h"
#include "cli/commands.h"
#include "cli/offline_plan.h"
#include "cli/remote.h"
#include "cli/terminal.h"

namespace plimsoll::cli {

namespace {

using Json = nlohmann::json;

/// The last line of a streamed change is its result; the others are what is reported on the way.
struct Progress {
    bool json = false;
    int exit = exit_code::error;
    bool ended = false;
    std::string last_text{};  ///< the result often says what the last line said

    void operator()(std::string_view line) {
        if (json) out(line);
        const Json said = Json::parse(line, nullptr, false);
        if (!said.is_object()) return;
        if (said.contains("ending")) {
            ended = true;
            exit = said.value("exit", exit_code::error);
            const std::string summary = said.value("summary", said.value("ending", ""));
            if (!json && summary != last_text) out(summary);
        } else if (!json && said.contains("text")) {
            last_text = said.value("text", "");
            out(fmt::format("  {:<9} {}", said.value("stage", ""), last_text));
        }
    }
};

/// JSON for the server. Errors: invalid (a file or an argument is not UTF-8: it would arrive changed).
Result<std::string> encoded(const Json& body) {
    try {
        return body.dump();
    } catch (const Json::exception&) {
        return fail(Code::invalid, "the file, or what was given with it, is not UTF-8 text");
    }
}

int stream_change(const Common& common, std::string_view target, const Json& body) {
    const auto request = encoded(body);
    if (!request) return fail_with(request.error());
    Progress progress;
    progress.json = common.json;
    bool begun = false;
    const auto reply = Remote(common.server).stream("POST", target, *request, [&](std::string_view line) {
        begun = true;
        progress(line);
    });
    if (progress.ended) return progress.exit;  // whatever became of the connection after the result
    if (!reply && !begun) return fail_with(reply.error());
    if (reply && reply->status != 200) return fail_with(*reply);
    message("the server went away before the change ended; `plimsoll changes` tells what became of it");
    return exit_code::unverified;
}

}  // namespace

int plan(const Common& common, const PlanArgs& args) {
    const auto text = read_file(args.file);
    if (!text) return fail_with(text.error());
    Json answer;
    if (!args.base.empty()) {
        const auto planned = offline_plan(args.file, *text, args.base, args.recording, args.peak_rate);
        if (!planned) return fail_with(planned.error());
        answer = Json::parse(*planned);
    } else {
        const Json body{{"file", args.file}, {"text", *text}};
        const auto request = encoded(body);
        if (!request) return fail_with(request.error());
        const auto reply = Remote(common.server).call("POST", "/v1/plan", *request);
        if (!reply) return fail_with(reply.error());
        if (reply->status != 200) return fail_with(*reply);
        answer = Json::parse(reply->body, nullptr, false);
        if (!answer.is_object()) {
            message("the server's answer is not JSON");
            return exit_code::error;
        }
    }
    const std::string human = answer.value("text", "");
    answer.erase("text");
    out(common.json ? answer.dump() : human);
    const std::string verdict = answer.value("verdict", "");
    if (verdict == "rejected") return exit_code::rejected;
    if (verdict == "conflict") return exit_code::conflict;
    if (verdict == "accepted" && args.detailed_exitcode) return exit_code::has_changes;
    return exit_code::done;
}

int apply(const Common& common, const ApplyArgs& args) {
    const auto text = read_file(args.file);
    if (!text) return fail_with(text.error());
    if ((args.force || args.at_once) && args.reason.empty()) {
        message("--force and --at-once go past what protects your users: say why with --reason");
        return exit_code::usage;
    }
    return stream_change(common, "/v1/apply",
                         {{"file", args.file},
                          {"text", *text},
                          {"reason", args.reason},
                          {"author", args.author.empty() ? user() : args.author},
                          {"base", args.base_digest},
                          {"force", args.force},
                          {"at_once", args.at_once}});
}

int rollback(const Common& common, const RollbackArgs& args) {
    std::uint64_t number = 0;
    if (!args.to.empty()) {
        const std::string digits = args.to.starts_with('r') ? args.to.substr(1) : args.to;
        if (digits.empty() || digits.size() > 18 || digits.find_first_not_of("0123456789") != std::string::npos) {
            message(fmt::format("'{}' is not a revision; they are written r1, r2, ...", args.to));
            return exit_code::usage;
        }
        number = std::stoull(digits);
    }
    return stream_change(common, "/v1/rollback", {{"to", number}, {"reason", args.reason}, {"author", user()}});
}

namespace {

int post(const Common& common, std::string_view target, const Json& body) {
    const auto request = encoded(body);
    if (!request) return fail_with(request.error());
    const auto reply = Remote(common.server).call("POST", target, *request);
    if (!reply) return fail_with(reply.error());
    if (reply->status != 200) return fail_with(*reply);
    const Json answer = Json::parse(reply->body, nullptr, false);
    out(common.json || !answer.is_object() ? reply->body : answer.value("text", "done"));
    return exit_code::done;
}

}  // namespace

int abort_rollout(const Common& common, const std::string& reason) {
    return post(common, "/v1/abort", {{"reason", reason}, {"author", user()}});
}

int thaw(const Common& common, const std::string& digest, const std::string& reason) {
    return post(common, "/v1/thaw", {{"digest", digest}, {"reason", reason}, {"author", user()}});
}

int acknowledge(const Common& common, const std::string& id, const std::string& who, const std::string& note) {
    return post(common, fmt::format("/v1/incidents/{}/ack", id), {{"who", who.empty() ? user() : who}, {"note", note}});
}

}  // namespace plimsoll::cli
