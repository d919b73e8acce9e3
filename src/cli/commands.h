// The commands, one function each: arguments as values in, exit code out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::cli {

/// What every command that talks to a server takes.
struct Common {
    std::string server;  ///< socket path or host:port
    bool json = false;
};

struct PlanArgs {
    std::string file;
    bool detailed_exitcode = false;
    std::string base;       ///< file: plan without a server, against this config
    std::string recording;  ///< file: with `base`
    double peak_rate = 0;   ///< requests/s: with `recording`; 0 = the recording's own
};
struct ApplyArgs {
    std::string file, reason, author, base_digest;
    bool force = false, at_once = false;
};
struct RollbackArgs {
    std::string to, reason;  ///< to: "r41"; empty = last known good
};
struct PostmortemArgs {
    std::string incident, directory;  ///< directory empty = Markdown to standard output
};
struct ImportArgs {
    std::string file, format, out;
    std::uint64_t key = 0;
};
struct ExplainArgs {
    std::string url, method = "GET", file, listener, client;  ///< file empty = the running server's active revision
    std::vector<std::string> headers;                         ///< "Name: value"
};
struct SimulateArgs {
    std::vector<std::string> files;  ///< scenario files
    std::optional<std::uint64_t> seed;
};

int plan(const Common& common, const PlanArgs& args);
int apply(const Common& common, const ApplyArgs& args);
int rollback(const Common& common, const RollbackArgs& args);
int abort_rollout(const Common& common, const std::string& reason);
int thaw(const Common& common, const std::string& digest, const std::string& reason);
int changes(const Common& common, const std::string& id);
int status(const Common& common);
int incidents(const Common& common);
int incident(const Common& common, const std::string& id);
int acknowledge(const Common& common, const std::string& id, const std::string& who, const std::string& note);
int postmortem(const Common& common, const PostmortemArgs& args);
int explain(const Common& common, const ExplainArgs& args);

int check(const Common& common, const std::vector<std::string>& files);
int print_config(const std::string& file);
int print_schema();
int import_recording(const Common& common, const ImportArgs& args);
int simulate(const Common& common, const SimulateArgs& args);

}  // namespace plimsoll::cli
