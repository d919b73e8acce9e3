// status, changes, incidents, postmortem: reading a running server. It renders the text; --json gives the values.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/exit_code.h"
#include "cli/commands.h"
#include "cli/remote.h"
#include "cli/terminal.h"

namespace plimsoll::cli {

namespace {

using Json = nlohmann::json;

/// GETs `target`; prints the answer's "text" member, or the whole answer without it for --json.
int show(const Common& common, std::string_view target) {
    const auto reply = Remote(common.server).call("GET", target);
    if (!reply) return fail_with(reply.error());
    if (reply->status != 200) return fail_with(*reply);
    Json answer = Json::parse(reply->body, nullptr, false);
    if (!answer.is_object()) {
        message("the server's answer is not JSON");
        return exit_code::error;
    }
    const std::string human = answer.value("text", "");
    answer.erase("text");
    out(common.json ? answer.dump() : human);
    return exit_code::done;
}

}  // namespace

int status(const Common& common) { return show(common, "/v1/status"); }

int changes(const Common& common, const std::string& id) {
    return show(common, id.empty() ? "/v1/changes" : "/v1/changes/" + id);
}

int incidents(const Common& common) { return show(common, "/v1/incidents"); }

int incident(const Common& common, const std::string& id) { return show(common, "/v1/incidents/" + id); }

int postmortem(const Common& common, const PostmortemArgs& args) {
    const auto reply = Remote(common.server).call("GET", fmt::format("/v1/incidents/{}/postmortem", args.incident));
    if (!reply) return fail_with(reply.error());
    if (reply->status != 200) return fail_with(*reply);
    const Json answer = Json::parse(reply->body, nullptr, false);
    if (!answer.is_object() || !answer.contains("files") || !answer["files"].is_object()) {
        message("the server's answer is not a postmortem");
        return exit_code::error;
    }
    if (args.directory.empty()) {
        out(common.json ? answer.dump() : answer["files"].value("postmortem.md", ""));
        return exit_code::done;
    }
    std::error_code made;
    std::filesystem::create_directories(args.directory, made);
    if (made) {
        message(fmt::format("{}: {}", args.directory, made.message()));
        return exit_code::error;
    }
    for (const auto& [name, content] : answer["files"].items()) {
        // Names come from a server; only plain ones may become files here.
        if (name.find_first_of("/\\") != std::string::npos || name.starts_with('.') || !content.is_string()) continue;
        const std::string path = args.directory + "/" + name;
        if (const auto written = write_file(path, content.get<std::string>()); !written)
            return fail_with(written.error());
        out(path);
    }
    return exit_code::done;
}

}  // namespace plimsoll::cli
