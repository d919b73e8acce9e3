// plimsoll-lab: sample backends, traffic, load and the story. Wires the room's parts to a command line; nothing else.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "lab/backends.h"
#include "lab/drills.h"
#include "lab/figures.h"
#include "lab/load.h"
#include "lab/stage.h"
#include "lab/story.h"

namespace {

using namespace plimsoll;

constexpr int usage_error = 64;

int complain(const Error& error) {
    fmt::print(stderr, "plimsoll-lab: {}\n", error.detail);
    return 1;
}

Result<std::string> read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(Code::io, "cannot read " + path);
    return std::string(std::istreambuf_iterator<char>(file), {});
}

/// Sleeps until SIGINT or SIGTERM, which the caller has blocked in all threads.
void wait_for_signal() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    int signal = 0;
    sigwait(&set, &signal);
}

void block_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, nullptr);
}

struct TrafficOptions {
    std::string log;
    double rate = 960;
    std::uint64_t seed = 1;

    void add(CLI::App& command) {
        command.add_option("--log", log, "take clients, paths and sizes from this access log (combined format)");
        command.add_option("--rate", rate, "requests per second")->check(CLI::PositiveNumber)->capture_default_str();
        command.add_option("--seed", seed, "same seed, same requests")->capture_default_str();
    }
    [[nodiscard]] Result<lab::Traffic> make() const { return lab::make_traffic(log, rate, seed); }
};

struct BackendsOptions {
    lab::BackendsSettings settings;
    double mean_ms = 40;
    int control = -1;
    bool health_at_once = false;

    void add(CLI::App& command) {
        command.add_option("--count", settings.count, "how many")->check(CLI::Range(1, 1000))->capture_default_str();
        command.add_option("--port", settings.first_port, "of the first; the others follow")->capture_default_str();
        command.add_option("--capacity", settings.backend.capacity, "requests per second that each can serve")
            ->check(CLI::PositiveNumber)
            ->capture_default_str();
        command.add_option("--mean-ms", mean_ms, "mean service time")
            ->check(CLI::PositiveNumber)
            ->capture_default_str();
        command.add_option("--sigma", settings.backend.sigma, "of the log-normal service time")->capture_default_str();
        command.add_option("--queue", settings.backend.queue, "requests that may wait")->capture_default_str();
        command.add_option("--seed", settings.seed)->capture_default_str();
        command.add_option("--control", control, "port on which faults are switched: POST /b3?slow=4&fail=0.2&hang=1");
        command.add_flag("--fast", settings.backend.fast, "answer at once, without queue and service time");
        command.add_flag("--health-at-once", health_at_once, "health checks do not wait in the queue");
    }
    [[nodiscard]] int run() {
        settings.backend.mean = from_seconds(mean_ms / 1000);
        settings.health_in_queue = !health_at_once;
        if (control >= 0 && control < 65'536) settings.control_port = static_cast<std::uint16_t>(control);
        block_signals();
        const auto backends = lab::Backends::start(settings);
        if (!backends) return complain(backends.error());
        for (std::size_t i = 0; i < (*backends)->size(); ++i) {
            fmt::print("b{} on 127.0.0.1:{}\n", i, (*backends)->port(i));
        }
        if (settings.control_port) {
            fmt::print("faults: curl -X POST 'http://127.0.0.1:{}/b0?slow=4' (slow fail hang dead capacity)\n",
                       (*backends)->control_port());
        }
        std::fflush(stdout);
        wait_for_signal();
        return 0;
    }
};

struct LoadOptions {
    TrafficOptions traffic;
    lab::LoadSettings settings;
    std::string target = "127.0.0.1:8080";
    double seconds = 10;
    bool one_client = false, series = false, json = false;

    void add(CLI::App& command) {
        traffic.add(command);
        command.add_option("--target", target, "ADDRESS:PORT")->capture_default_str();
        command.add_option("--host", settings.host_header, "Host to ask for")->capture_default_str();
        command.add_option("--duration", seconds, "seconds")->check(CLI::PositiveNumber)->capture_default_str();
        command.add_option("--connections", settings.connections, "open at once")->capture_default_str();
        command.add_flag("--one-client", one_client, "all from one address, instead of each client from its own");
        command.add_flag("--series", series, "a line per second");
        command.add_flag("--json", json);
    }
    [[nodiscard]] int run() {
        const std::size_t colon = target.rfind(':');
        if (colon == std::string::npos) return complain({.detail = "--target is ADDRESS:PORT"});
        settings.host = target.substr(0, colon);
        settings.port = static_cast<std::uint16_t>(std::strtoul(target.c_str() + colon + 1, nullptr, 10));
        settings.duration = from_seconds(seconds);
        settings.many_clients = !one_client;
        Result<lab::Traffic> made = traffic.make();
        if (!made) return complain(made.error());
        auto load = lab::Load::start(settings, *std::move(made));
        if (!load) return complain(load.error());
        const lab::LoadReport report = (*load)->wait();
        fmt::print("{}", json ? lab::to_json(report) + "\n" : lab::print(report, series));
        return report.failed() == 0 ? 0 : 1;
    }
};

int measure(const std::string& log, const std::string& minutes) {
    if (!log.empty()) {
        const Result<std::string> text = read_file(log);
        if (!text) return complain(text.error());
        fmt::print("{}", lab::print(lab::measure_log(*text)));
    }
    if (!minutes.empty()) {
        const Result<std::string> text = read_file(minutes);
        if (!text) return complain(text.error());
        fmt::print("{}", lab::print(lab::measure_minutes(*text)));
    }
    return 0;
}

int print_traffic(const TrafficOptions& options, std::size_t count) {
    Result<lab::Traffic> traffic = options.make();
    if (!traffic) return complain(traffic.error());
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    fmt::print("{}", lab::combined_log(*traffic, count, Timestamp{std::chrono::nanoseconds(now).count()}));
    return 0;
}

}  // namespace

int main(int argc, char** argv) try {
    std::signal(SIGPIPE, SIG_IGN);
    CLI::App app("Sample backends, an open-loop load generator and the story, for demonstrations and benchmarks.");
    app.require_subcommand(1);

    BackendsOptions backends;
    auto* backends_command = app.add_subcommand("backends", "sample servers with a queue each, in one process");
    backends.add(*backends_command);

    TrafficOptions traffic;
    std::size_t count = 1000;
    auto* traffic_command = app.add_subcommand("traffic", "print requests of the traffic model as an access log");
    traffic.add(*traffic_command);
    traffic_command->add_option("--count", count, "how many lines")->capture_default_str();

    LoadOptions load;
    auto* load_command = app.add_subcommand("load", "send requests on time, whatever becomes of them");
    load.add(*load_command);

    std::string log, minutes;
    auto* measure_command = app.add_subcommand("measure", "the figures that a traffic model is made of");
    measure_command->add_option("--log", log, "access log in combined format");
    measure_command->add_option("--minutes", minutes, "CSV: time,requests in that minute");

    lab::StoryOptions story;
    auto* story_command = app.add_subcommand("story", "play the story, unattended, and check what was promised");
    story_command->add_option("--plimsoll", story.plimsoll, "the program to play with")->capture_default_str();
    story_command->add_option("--log", story.log, "take clients, paths and sizes from this access log");
    story_command->add_option("--runs", story.runs, "force the bad change in this often")->capture_default_str();
    story_command->add_option("--out", story.directory, "where state, logs and postmortem go")->capture_default_str();
    story_command->add_option("--json", story.json, "write the figures to this file");
    story_command->add_option("--rate", story.rate, "requests per second")->capture_default_str();
    story_command->add_option("--seed", story.seed)->capture_default_str();

    lab::DrillOptions changes, kill;
    changes.count = 1000, kill.count = 200;
    const auto add_drill = [](CLI::App* command, lab::DrillOptions& options) {
        command->add_option("--plimsoll", options.plimsoll, "the program to play with")->capture_default_str();
        command->add_option("--count", options.count, "how many")->capture_default_str();
        command->add_option("--connections", options.connections, "of wrk")->capture_default_str();
        command->add_option("--out", options.directory, "where state and logs go")->capture_default_str();
        command->add_option("--json", options.json, "write the figures to this file");
        command->add_option("--seed", options.seed)->capture_default_str();
        return command;
    };
    auto* changes_command =
        add_drill(app.add_subcommand("changes", "benign changes back and forth under wrk: nothing may fail"), changes);
    auto* kill_command =
        add_drill(app.add_subcommand("kill", "kill -9 in the middle of applies: nothing may be lost"), kill);

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const int code = app.exit(error);
        return code == 0 ? 0 : usage_error;
    }
    if (backends_command->parsed()) return backends.run();
    if (traffic_command->parsed()) return print_traffic(traffic, count);
    if (load_command->parsed()) return load.run();
    if (story_command->parsed()) return lab::play(story);
    if (changes_command->parsed()) return lab::drill_changes(changes);
    if (kill_command->parsed()) return lab::drill_kill(kill);
    if (measure_command->parsed()) return measure(log, minutes);
    return usage_error;
} catch (const std::exception& error) {
    fmt::print(stderr, "plimsoll-lab: {}\n", error.what());
    return 1;
}
