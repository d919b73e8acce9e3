#include "lab/drills.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>

#include "lab/promises.h"
#include "lab/stage.h"
#include "lab/statistics.h"

namespace plimsoll::lab {
namespace {

using namespace std::chrono_literals;

/// As fast as evidence comes in: a drill is about many changes, not about patience.
Pace quick() {
    return {.steps = "[50%, 100%]",
            .min_step = "0s",
            .max_step = "60s",
            .shadow = "0s",
            .soak = "0s",
            .recovery_window = "100ms",
            .recording = "1s",
            .harm_budget = "5%",
            .shadow_decisions = 0};
}

/// Two shapes that differ a little; which of them is active after an even or odd number of changes.
Shape shape_of(std::size_t number) {
    Shape shape;
    shape.capacity.fill(1e6);  // the backends answer at once
    if (number % 2 == 1) shape.weight[0] = shape.weight[1] = 1.2;
    return shape;
}

Result<std::unique_ptr<Stage>> set_stage(const DrillOptions& options, double rate) {
    auto stage = Stage::set({.plimsoll = options.plimsoll,
                             .directory = options.directory,
                             .log = {},
                             .rate = rate,
                             .seed = options.seed,
                             .fast_backends = true,
                             .pace = quick()});
    if (!stage) return stage;
    for (const std::size_t i : {0u, 1u}) {
        const Result<std::string> config = (*stage)->write(i == 0 ? "even" : "odd", shape_of(i));
        if (!config) return std::unexpected(config.error());
    }
    return stage;
}

std::string config_of(const Stage& stage, std::size_t number) {
    return stage.path(number % 2 == 0 ? "configs/even.yaml" : "configs/odd.yaml");
}

/// What wrk says at its end.
struct Wrk {
    std::uint64_t requests = 0, non_2xx = 0, connect = 0, read = 0, write = 0, timeout = 0;
    double rate = 0;
};
Wrk parse_wrk(const std::string& output) {
    Wrk wrk;
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);) {
        const auto after = [&line](std::string_view word) -> double {
            const std::size_t at = line.find(word);
            return at == std::string::npos ? 0 : std::strtod(line.c_str() + at + word.size(), nullptr);
        };
        const auto count = [&after](std::string_view word) { return static_cast<std::uint64_t>(after(word)); };
        if (line.contains(" requests in "))
            wrk.requests = static_cast<std::uint64_t>(std::strtod(line.c_str(), nullptr));
        if (line.contains("Requests/sec:")) wrk.rate = after("Requests/sec:");
        if (line.contains("Non-2xx")) wrk.non_2xx = count("responses:");
        if (line.contains("Socket errors:")) {
            wrk.connect = count("connect "), wrk.read = count("read "), wrk.write = count("write ");
            wrk.timeout = count("timeout ");
        }
    }
    return wrk;
}

/// A file that may not be there yet.
std::string read_whole(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
}

int give_up(std::string_view what, const Error& error) {
    fmt::print(stderr, "{}: {}\n", what, error.detail);
    return 2;
}

int conclude(const Promises& promises, const DrillOptions& options) {
    if (!options.json.empty()) std::ofstream(options.json) << promises.to_json();
    fmt::print("{} of {} promises kept.\n", promises.all().size() - promises.broken(), promises.all().size());
    return promises.all_kept() ? 0 : 1;
}

}  // namespace

namespace {

constexpr std::size_t undone_changes = 20;  ///< to time the way back

/// Changes that are stopped by their author in the canary: how long until nothing starts on them any more.
Result<void> time_the_way_back(Stage& s, std::size_t applied, Promises& promises) {
    s.options.pace.min_step = "30s";  // with this in force a change stays in its canary until it is stopped
    const Result<std::string> slow = s.write("slow", shape_of(applied));
    if (!slow) return std::unexpected(slow.error());
    const Result<Applied> in_force = s.plimsoll->apply(*slow, {.reason = "drill: a slower guard"});
    if (!in_force) return std::unexpected(in_force.error());
    if (in_force->exit_code != 0) return fail(Code::internal, in_force->output + in_force->errors);
    const std::string log = s.path("logs/undone.json");
    for (std::size_t i = 0; i < undone_changes; ++i) {
        Shape shape = shape_of(applied);
        shape.weight[2] = 1.1 + 0.005 * static_cast<double>(i);
        const Result<std::string> config = s.write("undone", shape);
        if (!config) return std::unexpected(config.error());
        std::error_code ignored;
        std::filesystem::remove(log, ignored);
        Result<Child> apply = s.plimsoll->start_apply(*config, {.reason = "drill: to be undone"}, log);
        if (!apply) return std::unexpected(apply.error());
        while (apply->running() && !read_whole(log).contains("\"stage\":\"canary\"")) std::this_thread::sleep_for(5ms);
        std::this_thread::sleep_for(200ms);
        if (Result<void> stopped = s.plimsoll->abort("drill"); !stopped) return stopped;
        Finished finished = apply->wait(30s);
        finished.output = read_whole(log);
        const Applied undone = read_applied(finished);
        if (!undone.switched)
            return fail(Code::internal, "an undone change does not tell how fast: " + finished.output);
        promises.figure("verdict_to_last_started_ms", milliseconds(*undone.switched));
    }
    const auto& times = promises.figures("verdict_to_last_started_ms");
    promises.check(
        "changes", "undone: nothing starts on the undone side 100 ms after the verdict", quantile(times, 1) <= 100,
        fmt::format("p50 {:.2f} ms, max {:.2f} ms over {} changes", median(times), quantile(times, 1), times.size()));
    return {};
}

void judge_changes(const Wrk& seen, const LoadReport& report, std::size_t applied, std::size_t wanted,
                   Promises& promises) {
    promises.check("changes", "every change was applied", applied == wanted, fmt::format("{} of {}", applied, wanted));
    promises.check(
        "changes", "wrk saw no failed request", seen.requests > 0 && seen.non_2xx == 0 && seen.timeout == 0,
        fmt::format("{} requests, {} not 2xx or 3xx, {} timed out", seen.requests, seen.non_2xx, seen.timeout));
    promises.check("changes", "wrk saw no connection broken", seen.connect + seen.read + seen.write == 0,
                   fmt::format("connect {}, read {}, write {}", seen.connect, seen.read, seen.write));
    promises.check("changes", "our load saw no failed request and no closed connection",
                   report.due > 0 && report.failed() == 0 && report.closed_unexpectedly == 0,
                   fmt::format("{} requests, {} failed, {} connections closed", report.due, report.failed(),
                               report.closed_unexpectedly));
}

}  // namespace

int drill_changes(const DrillOptions& options) {
    const auto stage = set_stage(options, 200);
    if (!stage) return give_up("the stage cannot be set", stage.error());
    Stage& s = **stage;
    if (Result<void> up = s.start_server(config_of(s, 0)); !up) return give_up("plimsoll serve", up.error());
    // Beside wrk, a small load of ours: wrk does not tell when a server says "Connection: close".
    if (Result<void> load = s.start_load(10h); !load) return give_up("load", load.error());
    Result<Child> wrk = Child::start(
        {"wrk", "-t1", fmt::format("-c{}", options.connections), "-d10h", fmt::format("http://127.0.0.1:{}/", s.port)});
    if (!wrk) return give_up("wrk", wrk.error());
    std::this_thread::sleep_for(3s);

    Promises promises;
    std::size_t applied = 0;
    for (std::size_t i = 1; i <= options.count && wrk->running(); ++i) {
        const Result<Applied> change = s.plimsoll->apply(config_of(s, i), {.reason = fmt::format("drill {}", i)});
        if (!change) return give_up("plimsoll apply", change.error());
        promises.figure("apply_ms", milliseconds(change->took));
        if (change->exit_code == 0 && change->ending == "completed") {
            ++applied;
            if (change->switched) promises.figure("adopted_last_started_ms", milliseconds(*change->switched));
        } else {
            fmt::print("change {}: {} exit {}\n{}{}\n", i, change->ending, change->exit_code, change->output,
                       change->errors);
        }
        if (i % 100 == 0) fmt::print("{} changes, {} applied\n", i, applied), std::fflush(stdout);
    }
    const Result<void> timed = time_the_way_back(s, options.count, promises);
    std::this_thread::sleep_for(500ms);
    wrk->signal(SIGINT);
    const Wrk seen = parse_wrk(wrk->wait(30s).output);
    const LoadReport report = s.load->finish();
    s.stop_server();
    if (!timed) return give_up("undoing changes", timed.error());

    const auto& took = promises.figures("apply_ms");
    fmt::print("wrk -c {}: {} requests, {:.0f}/s; one apply takes p50 {:.0f} ms, max {:.0f} ms\n", options.connections,
               seen.requests, seen.rate, median(took), quantile(took, 1));
    judge_changes(seen, report, applied, options.count, promises);
    const auto& left = promises.figures("adopted_last_started_ms");
    promises.check(
        "changes", "applied: nothing starts on the old side 100 ms after the verdict",
        left.size() == applied && quantile(left, 1) <= 100,
        fmt::format("p50 {:.2f} ms, max {:.2f} ms over {} changes", median(left), quantile(left, 1), left.size()));
    return conclude(promises, options);
}

namespace {

/// SQLite's own judgement, when its command line is at hand; nullopt when it is not.
std::optional<bool> intact(const std::string& journal) {
    const Result<Finished> checked = run({"sqlite3", "-readonly", journal, "pragma integrity_check;"}, 30s);
    if (!checked || checked->exit_code == 127) return std::nullopt;
    return checked->exit_code == 0 && checked->output == "ok\n";
}

std::string journal_of(const Stage& stage) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(stage.path("state"), error)) {
        const std::string name = entry.path().filename().string();
        if (name.ends_with(".db") || name.ends_with(".sqlite")) return entry.path().string();
    }
    return {};
}

/// What the kills came to.
struct Tally {
    std::size_t done = 0;                        ///< rounds
    std::size_t acknowledged = 0;                ///< the apply had said 0 before the kill
    std::size_t new_active = 0, old_active = 0;  ///< after the restart
    std::size_t wrong = 0, lost = 0, damaged = 0, checked = 0;
};

/// One round: apply in the background, kill -9 at `moment`, restart, look. Errors: the stage broke, not a promise.
Result<void> kill_once(Stage& s, std::size_t number, Duration moment, Tally& tally) {
    const Result<Standing> before = s.plimsoll->status();
    if (!before) return std::unexpected(before.error());
    const std::string log = s.path("logs/apply.json");
    std::error_code ignored;
    std::filesystem::remove(log, ignored);
    Result<Child> apply = s.plimsoll->start_apply(config_of(s, number), {.reason = "drill"}, log);
    if (!apply) return std::unexpected(apply.error());
    std::this_thread::sleep_for(moment);
    s.server->signal(SIGKILL);
    (void)s.server->wait(10s);
    const Finished ended = apply->wait(30s);
    if (Result<void> up = s.start_server({}); !up) {
        ++tally.lost;
        return up;
    }
    const Result<Standing> after = s.plimsoll->status();
    if (!after) return std::unexpected(after.error());
    ++tally.done;
    const bool acknowledged = ended.exit_code == 0;
    const bool is_old = after->digest == before->digest;
    // The other shape has another digest, which is known once it has been active.
    tally.acknowledged += acknowledged ? 1 : 0;
    (is_old ? tally.old_active : tally.new_active) += 1;
    if (after->digest.empty() || (acknowledged && is_old)) {
        ++tally.wrong;
        fmt::print("round {}: before {} after {} exit {}\n", number, before->digest, after->digest, ended.exit_code);
    }
    if (const std::string journal = journal_of(s); !journal.empty()) {
        if (const std::optional<bool> good = intact(journal)) {
            ++tally.checked;
            tally.damaged += *good ? 0 : 1;
        }
    }
    return {};
}

}  // namespace

int drill_kill(const DrillOptions& options) {
    const auto stage = set_stage(options, 3000);  // evidence must come fast: there are many applies
    if (!stage) return give_up("the stage cannot be set", stage.error());
    Stage& s = **stage;
    if (Result<void> up = s.start_server(config_of(s, 0)); !up) return give_up("plimsoll serve", up.error());
    if (Result<void> load = s.start_load(10h); !load) return give_up("load", load.error());
    std::this_thread::sleep_for(2s);

    // How long an apply takes undisturbed bounds the random moment; a quarter of the kills come after its end.
    std::array<std::string, 2> digest;
    Duration longest{};
    for (std::size_t i = 1; i <= 4; ++i) {
        const Result<Applied> change = s.plimsoll->apply(config_of(s, i), {.reason = "drill"});
        if (!change || change->exit_code != 0) {
            return give_up("an undisturbed apply",
                           change ? Error{.detail = change->output + change->errors} : change.error());
        }
        longest = std::max(longest, change->took);
        const Result<Standing> now = s.plimsoll->status();
        if (!now) return give_up("plimsoll status", now.error());
        digest[i % 2] = now->digest;
    }
    fmt::print("an apply takes up to {:.0f} ms; {} kills at random moments\n", milliseconds(longest), options.count);

    Promises promises;
    Tally tally;
    Random random(options.seed);
    std::size_t foreign = 0;
    for (std::size_t round = 0; round < options.count; ++round) {
        const Result<Standing> now = s.plimsoll->status();
        if (!now) return give_up("plimsoll status", now.error());
        const std::size_t next = now->digest == digest[0] ? 1 : 2;  // the other shape
        const Duration moment = from_seconds(random.uniform() * seconds(longest) * 4 / 3);
        if (Result<void> done = kill_once(s, next, moment, tally); !done) {
            fmt::print("round {}: {}\n", round, done.error().detail);
            break;
        }
        const Result<Standing> after = s.plimsoll->status();
        if (after && after->digest != digest[0] && after->digest != digest[1]) ++foreign;
        if ((round + 1) % 50 == 0) fmt::print("{} kills\n", round + 1), std::fflush(stdout);
    }
    (void)s.load->finish();
    s.stop_server();
    fmt::print(
        "{} kills: {} applies were acknowledged before; afterwards the new revision was active {} times, the one "
        "before {} times\n",
        tally.done, tally.acknowledged, tally.new_active, tally.old_active);
    promises.check("kill", "the server came back every time", tally.done == options.count && tally.lost == 0,
                   fmt::format("{} of {}", tally.done, options.count));
    promises.check("kill", "what was acknowledged is active, else that or the one before", tally.wrong + foreign == 0,
                   fmt::format("{} wrong", tally.wrong + foreign));
    promises.check("kill", "the journal is intact", tally.damaged == 0 && tally.lost == 0,
                   fmt::format("{} damaged; checked by sqlite3 {} times", tally.damaged, tally.checked));
    return conclude(promises, options);
}

}  // namespace plimsoll::lab
