// The `plimsoll` command as a user drives it: a process for every command, its exit code, and what it prints with
// --json. The one place in the lab that knows the command line and its JSON. Blocking; one thread per object.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "lab/process.h"

namespace plimsoll::lab {

/// When what happened to a change, by the wall clock. nullopt = it did not.
struct Marks {
    std::optional<Timestamp> t0;           ///< first live traffic on the candidate
    std::optional<Timestamp> detected;     ///< evidence of harm
    std::optional<Timestamp> cause;        ///< named
    std::optional<Timestamp> rolled_back;  ///< all workers serve the old revision only
    std::optional<Timestamp> recovered;    ///< proven
};

/// What became of `plimsoll apply`.
struct Applied {
    int exit_code = -1;
    std::string ending, summary, incident, cause, detected_by;
    std::uint64_t revision = 0;
    std::uint64_t harmed = 0;               ///< requests, by the server's own count
    std::uint64_t candidate_decisions = 0;  ///< made until detection
    Marks marks;
    std::optional<Duration> switched;  ///< undone: from the verdict to the last request that started on it
    Duration took{};
    std::string output, errors;  ///< as printed, for when something is not as promised
};
/// From what was printed with --json: the last line that tells an ending.
[[nodiscard]] Applied read_applied(const Finished& finished);

struct Planned {
    int exit_code = -1;
    std::string text;  ///< for people
};
struct Standing {
    std::string digest;  ///< of the active revision
    std::uint64_t revision = 0;
};
struct ApplyOptions {
    std::string reason;
    bool force = false, at_once = false;
};

class Plimsoll {
public:
    Plimsoll(std::string binary, std::string socket) : binary_(std::move(binary)), socket_(std::move(socket)) {}

    /// Starts `plimsoll serve`; its output is appended to `log`. An empty config serves what the journal calls active.
    [[nodiscard]] Result<Child> serve(const std::string& config, const std::string& state,
                                      const std::string& log) const;
    /// Waits until commands are answered. Errors: closed (the server ended), timeout.
    [[nodiscard]] Result<void> wait_until_up(Child& server, Duration limit) const;

    [[nodiscard]] Result<Planned> plan(const std::string& file) const;
    [[nodiscard]] Result<Applied> apply(const std::string& file, const ApplyOptions& options) const;
    /// The same in the background; its output is appended to `log`, for read_applied.
    [[nodiscard]] Result<Child> start_apply(const std::string& file, const ApplyOptions& options,
                                            const std::string& log) const;
    /// Undoes the change in progress.
    [[nodiscard]] Result<void> abort(const std::string& reason) const;
    [[nodiscard]] Result<Standing> status() const;
    /// An incident by what it blames: the cause's subject when one is named, else what it is about.
    struct Incident {
        std::string id, names, evidence;
    };
    [[nodiscard]] Result<std::vector<Incident>> incidents() const;
    /// Writes the postmortem with its plots and scenario into `directory`; gives the files' names.
    [[nodiscard]] Result<std::vector<std::string>> postmortem(const std::string& incident,
                                                              const std::string& directory) const;
    /// Exit code of `plimsoll simulate`, with what it printed.
    [[nodiscard]] Result<Finished> simulate(const std::string& scenario) const;

private:
    [[nodiscard]] Result<Finished> ask(std::vector<std::string> arguments, Duration limit) const;
    [[nodiscard]] std::vector<std::string> apply_arguments(const std::string& file, const ApplyOptions& options) const;

    std::string binary_, socket_;
};

}  // namespace plimsoll::lab
