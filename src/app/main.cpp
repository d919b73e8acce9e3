// main: names the concrete parts of a server and wires them; everything else is the command line's.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include "admin/admin.h"
#include "base/exit_code.h"
#include "cli/cli.h"
#include "control/control.h"
#include "net/loop.h"
#include "store/journal.h"

namespace {

using namespace plimsoll;

constexpr Duration drain_grace = std::chrono::seconds(10);

int failed(const std::string& what) {
    spdlog::error("{}", what);
    return exit_code::error;
}

/// A connection needs two descriptors: take what the system lets us have.
void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) spdlog::warn("the descriptor limit stays at {}", limit.rlim_cur);
}

std::uint64_t entropy() {
    std::random_device device;
    return (std::uint64_t{device()} << 32) | device();
}

/// Reads and checks the configuration of a first start; says every finding.
std::optional<config::Document> read_config(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        spdlog::error("{}: cannot be read", path);
        return std::nullopt;
    }
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    config::Parsed parsed = config::parse(text, path);
    for (const Finding& finding : parsed.findings) fmt::print(stderr, "{}\n", plimsoll::text(finding));
    return std::move(parsed.document);
}

/// Signals are taken by one thread that posts to control's loop. Ends by itself with SIGTERM or SIGINT.
std::thread signal_thread(const sigset_t& set, net::Network& network, control::Control& control,
                          std::function<void()> stop) {
    return std::thread([set, &network, &control, stop = std::move(stop)] {
        while (true) {
            int signal = 0;
            if (sigwait(&set, &signal) != 0) continue;
            if (signal == SIGUSR1) {
                network.post([&control] { control.reopen_logs(); });
                continue;
            }
            if (signal == SIGHUP) {
                network.post([] {
                    spdlog::warn(
                        "SIGHUP changes nothing: a change is `plimsoll apply FILE`, which tells what became of it");
                });
                continue;
            }
            network.post(stop);
            return;
        }
    });
}

int serve(const cli::ServeOptions& options) {
    spdlog::set_default_logger(spdlog::stderr_color_mt("plimsoll"));
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
    if (options.quiet) spdlog::set_level(spdlog::level::warn);
    raise_descriptor_limit();
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) sigaddset(&signals, signal);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // inherited by every thread: only sigwait takes them

    std::optional<config::Document> first;
    if (!options.config.empty() && !(first = read_config(options.config)))
        return failed(fmt::format("{} was not taken; nothing is served", options.config));
    std::error_code made;
    std::filesystem::create_directories(options.state, made);
    if (made) return failed(fmt::format("{}: {}", options.state, made.message()));
    auto journal = store::sqlite_journal(options.state + "/journal.db");
    if (!journal) return failed(journal.error().detail);
    auto loop = net::Loop::create();
    if (!loop) return failed(loop.error().detail);
    net::Network& network = **loop;

    auto started =
        control::Control::start(network, std::move(*journal), std::move(first),
                                {.state = options.state, .workers = 0, .seed = entropy(), .version = PLIMSOLL_VERSION});
    if (!started) return failed(started.error().detail);
    control::Control& control = **started;
    const config::Config& config = control.site().active_document.config;
    admin::Admin admin(control);
    const std::string socket = config.admin.socket.empty() ? options.state + "/admin.sock" : config.admin.socket;
    for (const auto& listened : {admin.listen(socket), admin.listen(config.admin.address)})
        if (!listened) return failed("admin listener: " + listened.error().detail);

    int exit = exit_code::done;
    control.when_serving([&](const std::vector<std::string>& failures) {
        for (const std::string& failure : failures) spdlog::error("{}", failure);
        if (!failures.empty()) {
            exit = failed("not every listener could be opened");
            network.stop();
            return;
        }
        for (const config::Listener& listener : config.listeners)
            spdlog::info("r{} serves {} on {} with {} workers", control.history().active.value, listener.name,
                         config::text(listener.address), control.settings().workers);
        spdlog::info("admin on {} and {}", config::text(config.admin.address), socket);
    });
    std::thread signal_waiter = signal_thread(signals, network, control, [&] {
        spdlog::info("stopping: requests in flight have {} to end", text(drain_grace));
        control.shut_down(drain_grace, [&network] { network.stop(); });
    });
    network.run();
    if (exit != exit_code::done) pthread_kill(signal_waiter.native_handle(), SIGTERM);
    signal_waiter.join();
    return exit;
}

}  // namespace

int main(int argc, char** argv) { return plimsoll::cli::run(argc, argv, serve); }
