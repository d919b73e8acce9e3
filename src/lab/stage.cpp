#include "lab/stage.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace plimsoll::lab {

using namespace std::chrono_literals;

Result<std::uint16_t> free_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    const bool good = fd >= 0 && ::bind(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    if (fd >= 0) ::close(fd);
    if (!good) return fail(Code::io, "no free port on 127.0.0.1");
    return ntohs(address.sin_port);
}

Result<Traffic> make_traffic(const std::string& log, double rate, std::uint64_t seed) {
    if (log.empty()) return Traffic({}, rate, seed);
    std::ifstream file(log, std::ios::binary);
    if (!file) return fail(Code::io, "cannot read " + log);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    auto imported = recording::import_combined(text, log, seed);
    if (imported.recording.records.empty()) return fail(Code::invalid, log + " holds no request in combined format");
    return Traffic(std::move(imported.recording), {}, rate, seed);
}

Result<std::unique_ptr<Stage>> Stage::set(const StageOptions& options) {
    std::unique_ptr<Stage> stage(new Stage);
    stage->options = options;
    std::error_code error;
    for (const char* old : {"state", "postmortem", "configs", "logs"}) {
        std::filesystem::remove_all(stage->path(old), error);
    }
    for (const char* made : {"configs", "logs"}) {
        if (!std::filesystem::create_directories(stage->path(made), error)) {
            return fail(Code::io, stage->path(made) + ": " + error.message());
        }
    }
    BackendsSettings settings;
    settings.count = backend_count;
    settings.first_port = 0;
    settings.seed = options.seed;
    settings.backend.fast = options.fast_backends;
    auto backends = Backends::start(settings);
    if (!backends) return std::unexpected(backends.error());
    stage->backends = *std::move(backends);
    auto hook = Hook::start();
    if (!hook) return std::unexpected(hook.error());
    stage->hook = *std::move(hook);
    for (std::uint16_t* port : {&stage->port, &stage->admin_port}) {
        const Result<std::uint16_t> found = free_port();
        if (!found) return std::unexpected(found.error());
        *port = *found;
    }
    stage->plimsoll.emplace(options.plimsoll, stage->path("state/admin.sock"));
    return stage;
}

Result<std::string> Stage::write(const std::string& name, const Shape& shape) const {
    const Pace& pace = options.pace;
    std::string text = fmt::format(
        "listeners:\n  web: {{address: 127.0.0.1:{}}}\n"
        "routes:\n  - {{name: everything, pool: web}}\n"
        "pools:\n  web:\n    policy: round_robin\n    endpoints:\n",
        port);
    for (std::size_t i = 0; i < backend_count; ++i) {
        fmt::format_to(std::back_inserter(text),
                       "      - {{name: b{}, address: 127.0.0.1:{}, weight: {}, capacity: {}}}\n", i, backends->port(i),
                       shape.weight[i], shape.capacity[i]);
    }
    fmt::format_to(
        std::back_inserter(text),
        "guard:\n  steps: {}\n  min_step: {}\n  max_step: {}\n  shadow: {}\n  shadow_decisions: {}\n"
        "  soak: {}\n  harm_budget: {}\n  recovery_window: {}\n"
        "recording: {{keep: {}}}\nadmin: {{address: 127.0.0.1:{}}}\nnotify:\n  - {{name: team, url: \"{}\"}}\n",
        pace.steps, pace.min_step, pace.max_step, pace.shadow, pace.shadow_decisions, pace.soak, pace.harm_budget,
        pace.recovery_window, pace.recording, admin_port, hook->url());
    if (options.workers > 0) fmt::format_to(std::back_inserter(text), "workers: {}\n", options.workers);
    const std::string file = path("configs/" + name + ".yaml");
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out << text;
    out.close();
    if (!out) return fail(Code::io, "cannot write " + file);
    return file;
}

Result<void> Stage::start_server(const std::string& config) {
    Result<Child> child = plimsoll->serve(config, path("state"), path("logs/server.log"));
    if (!child) return std::unexpected(child.error());
    server.emplace(*std::move(child));
    return plimsoll->wait_until_up(*server, 10s);
}

Result<void> Stage::start_load(Duration at_most) {
    Result<Traffic> traffic = make_traffic(options.log, options.rate, options.seed);
    if (!traffic) return std::unexpected(traffic.error());
    LoadSettings settings;
    settings.port = port;
    settings.duration = at_most;
    auto started = Load::start(settings, *std::move(traffic));
    if (!started) return std::unexpected(started.error());
    load = *std::move(started);
    return {};
}

void Stage::stop_server() {
    if (!server) return;
    server->signal(SIGTERM);
    (void)server->wait(10s);
    server.reset();
}

}  // namespace plimsoll::lab
