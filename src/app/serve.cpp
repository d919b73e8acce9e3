#include "app/serve.h"

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <thread>

#include "admin/admin.h"
#include "admin/reserve.h"
#include "app/lendable_journal.h"
#include "app/privileges.h"
#include "app/service_manager.h"
#include "app/upgrade.h"
#include "base/exit_code.h"
#include "control/control.h"
#include "net/listening_sockets.h"
#include "net/loop.h"

namespace plimsoll::app {
namespace {

/// A connection needs two descriptors: take what the system lets us have, but for what the operator's door needs.
void raise_descriptor_limit() {
    if (const rlim_t most = admin::keep_reserve(); most != 0)
        spdlog::info("{} descriptors for traffic, {} kept back for admin", most, admin::reserved_descriptors);
    else
        spdlog::warn("the descriptor limit cannot be set; clients may take every one");
}

std::uint64_t entropy() {
    std::random_device device;
    return (std::uint64_t{device()} << 32) | device();
}

/// Where our program stands; read before somebody puts another in its place.
std::string own_program() {
    std::error_code error;
    const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
    return error ? std::string() : path.string();
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

sigset_t block_signals() {
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&signals, signal);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // inherited by every thread: only sigwait takes them
    return signals;
}

class Server {
public:
    Server(const cli::ServeOptions& options, const std::vector<std::string>& arguments)
        : options_(options), arguments_(arguments), program_(own_program()), signals_(block_signals()) {}

    int run() {
        if (const auto started = start(); !started) return failed(started.error().detail);
        control_->when_serving([this](const std::vector<std::string>& failures) { serving(failures); });
        std::thread signal_waiter([this] { take_signals(); });
        network_->run();
        upgrade_.reset();
        pthread_kill(signal_waiter.native_handle(), SIGTERM);  // in case that it is not a signal that ended us
        signal_waiter.join();
        return exit_;
    }

private:
    int failed(const std::string& what) {
        spdlog::error("{}", what);
        if (predecessor_) predecessor_->failed(what);
        return exit_code::error;
    }
    Result<void> start();
    Result<void> open_journal();
    Result<void> open_admin();
    void serving(const std::vector<std::string>& failures);
    Result<void> take_over();
    void take_signals();
    void stop();
    void upgrade();
    Result<void> lend();
    void replaced(pid_t by);
    void not_replaced(const std::string& why);

    const cli::ServeOptions& options_;
    const std::vector<std::string>& arguments_;
    std::string program_;
    sigset_t signals_;
    int exit_ = exit_code::done;
    bool ending_ = false;
    std::optional<Predecessor> predecessor_;
    std::shared_ptr<net::ListeningSockets> listening_;
    std::unique_ptr<net::Network> network_;
    std::unique_ptr<LendableJournal> opened_;  ///< until control has it
    LendableJournal* journal_ = nullptr;       ///< control's
    std::unique_ptr<control::Control> control_;
    std::unique_ptr<admin::Admin> admin_;
    std::unique_ptr<Upgrade> upgrade_;  ///< last: its thread uses the above
};

// ---- start ---------------------------------------------------------------------------------------------------------

Result<void> Server::start() {
    auto predecessor = Predecessor::find();
    if (!predecessor) return std::unexpected(predecessor.error());
    predecessor_ = std::move(*predecessor);
    auto inherited =
        predecessor_ ? Result<std::vector<net::Descriptor>>(predecessor_->take_sockets()) : activated_sockets();
    if (!inherited) return std::unexpected(inherited.error());
    auto listening = net::ListeningSockets::create(std::move(*inherited));
    if (!listening) return std::unexpected(listening.error());
    listening_ = std::move(*listening);

    std::optional<config::Document> first;
    if (!options_.config.empty()) first = read_config(options_.config);
    const bool refused = !options_.config.empty() && !first;
    auto loop = net::Loop::create(listening_);
    if (!loop) return std::unexpected(loop.error());
    network_ = std::move(*loop);
    if (const auto opened = open_journal(); !opened) return opened;

    auto control = control::Control::start(*network_, std::move(opened_), std::move(first),
                                           {.state = options_.state,
                                            .workers = 0,
                                            .seed = entropy(),
                                            .version = PLIMSOLL_VERSION,
                                            .listening = listening_,
                                            .serve_what_can = !predecessor_});
    if (!control && refused)
        return fail(Code::invalid, fmt::format("{} was not taken; nothing is served", options_.config));
    if (!control) return std::unexpected(control.error());
    control_ = std::move(*control);
    if (refused)  // the file is for the first start; what it says now was never let in
        spdlog::error("{} was not taken; r{}, which is active, serves", options_.config,
                      control_->history().active.value);
    admin_ = std::make_unique<admin::Admin>(*control_);
    if (predecessor_) return {};
    auto opened = open_admin();
    if (!opened) control_->does_not_serve();
    return opened;
}

Result<void> Server::open_journal() {
    std::error_code made;
    std::filesystem::create_directories(options_.state, made);
    if (made) return fail(Code::io, fmt::format("{}: {}", options_.state, made.message()));
    if (predecessor_) {
        if (auto free = predecessor_->ask_for_journal(); !free) return free;
    }
    auto journal = LendableJournal::open(options_.state + "/journal.db");
    if (!journal) return std::unexpected(journal.error());
    opened_ = std::move(*journal);
    journal_ = opened_.get();
    return {};
}

Result<void> Server::open_admin() {
    const config::Admin& wanted = control_->site().active_document.config.admin;
    const std::string socket = wanted.socket.empty() ? options_.state + "/admin.sock" : wanted.socket;
    for (const auto& listened : {admin_->listen(socket), admin_->listen(wanted.address)})
        if (!listened) return fail(listened.error().code, "admin listener: " + listened.error().detail);
    spdlog::info("admin on {} and {}", config::text(wanted.address), socket);
    return {};
}

/// All workers listen, or not.
void Server::serving(const std::vector<std::string>& failures) {
    for (const std::string& failure : failures) spdlog::error("{}", failure);
    Result<void> done;
    if (!failures.empty()) done = fail(Code::conflict, "not every listener could be opened: " + failures.front());
    if (done && !options_.user.empty())
        done = drop_privileges(options_.user, options_.state, control_->site().active_document.config.access_log);
    if (done && ::geteuid() == 0)
        spdlog::warn("serving as root, which nothing here needs: start with --user NAME, or with User= under systemd");
    if (done && predecessor_) done = take_over();
    if (!done) {
        exit_ = failed(done.error().detail);
        control_->does_not_serve();
        network_->stop();
        return;
    }
    for (const std::string& address : listening_->close_rest())
        spdlog::warn("the inherited socket of {} is closed: no listener of r{} has this address", address,
                     control_->history().active.value);
    for (const config::Listener& listener : control_->site().active_document.config.listeners)
        spdlog::info("r{} serves {} on {} with {} workers", control_->history().active.value, listener.name,
                     config::text(listener.address), control_->settings().workers);
    tell_service_manager(fmt::format("READY=1\nSTATUS=r{} serves", control_->history().active.value));
}

/// From here on there is no way back: the other process stops accepting.
Result<void> Server::take_over() {
    if (const auto gone = predecessor_->ready(); !gone) {
        if (gone.error().code != Code::closed) return gone;
        spdlog::warn("{}", gone.error().detail);
    }
    predecessor_.reset();
    spdlog::info("took over with {} inherited sockets", listening_->inherited());
    if (const auto opened = open_admin(); !opened) spdlog::error("{}", opened.error().detail);  // traffic flows
    return {};
}

// ---- signals -------------------------------------------------------------------------------------------------------

/// Posts to control's thread. Ends with the loop.
void Server::take_signals() {
    while (true) {
        int signal = 0;
        if (sigwait(&signals_, &signal) != 0) continue;
        switch (signal) {
            case SIGUSR1: network_->post([this] { control_->reopen_logs(); }); break;
            case SIGUSR2: network_->post([this] { upgrade(); }); break;
            case SIGHUP:
                network_->post([] {
                    spdlog::warn(
                        "SIGHUP changes nothing: a change is `plimsoll apply FILE`, which tells what became of it");
                });
                break;
            default: network_->post([this] { stop(); }); return;
        }
    }
}

void Server::stop() {
    upgrade_.reset();
    ending_ = true;
    const Duration grace = from_seconds(options_.drain_s);
    spdlog::info("stopping: requests in flight have {} to end", text(grace));
    tell_service_manager("STOPPING=1");
    control_->shut_down(grace, [this] { network_->stop(); });
}

// ---- upgrade -------------------------------------------------------------------------------------------------------

void Server::upgrade() {
    if (ending_ || (upgrade_ != nullptr && upgrade_->under_way())) {
        spdlog::warn("SIGUSR2: this server is being replaced or stopped already");
        return;
    }
    if (predecessor_) {
        spdlog::warn("SIGUSR2: this server has not taken over yet");
        return;
    }
    if (control_->changes().in_progress()) {
        spdlog::error(
            "SIGUSR2: not replaced, since a change is in progress and would end as interrupted; wait for it, "
            "or `plimsoll rollback`");
        return;
    }
    spdlog::info("starting {} to take over", program_);
    tell_service_manager(reloading() + "\nSTATUS=being replaced");
    upgrade_ =
        std::make_unique<Upgrade>(*network_, listening_,
                                  Upgrade::Plan{.program = program_,
                                                .arguments = arguments_,
                                                .lend = [this] { return lend(); },
                                                .replaced = [this](pid_t by) { replaced(by); },
                                                .failed = [this](const std::string& why) { not_replaced(why); }});
}

Result<void> Server::lend() {
    if (control_->changes().in_progress()) return fail(Code::conflict, "a change has begun meanwhile");
    control_->stand_down();
    journal_->lend();
    return {};
}

/// Kept connections of clients are told to close with their next answer rather than closed under them.
constexpr Duration idle_grace = std::chrono::seconds(5);

void Server::replaced(pid_t by) {
    ending_ = true;
    const Duration grace = from_seconds(options_.handover_s);
    spdlog::info("process {} serves now; connections of this one have {} to end", by, text(grace));
    tell_service_manager(fmt::format("MAINPID={}", by));
    network_->spawn(admin_->stop(async::Deadline{network_->now() + from_seconds(options_.drain_s)}));
    control_->shut_down(
        grace,
        [this] {
            spdlog::info("replaced: all connections have ended");
            network_->stop();
        },
        idle_grace);
}

void Server::not_replaced(const std::string& why) {
    spdlog::error("not replaced: {}; this server goes on", why);
    if (const auto foreign = journal_->take_back(); !foreign)
        spdlog::error("the journal could not be taken back: {}; nothing can be changed until a restart",
                      foreign.error().detail);
    else if (*foreign > 0)
        spdlog::warn("the process that failed wrote {} entries to the journal, which show after a restart", *foreign);
    control_->resume();
    tell_service_manager("READY=1\nSTATUS=not replaced: " + why.substr(0, why.find('\n')));
}

}  // namespace

int serve(const cli::ServeOptions& options, const std::vector<std::string>& arguments) {
    spdlog::set_default_logger(spdlog::stderr_color_mt("plimsoll"));
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
    if (options.quiet) spdlog::set_level(spdlog::level::warn);
    ::umask(0077);  // journal, recordings, sockets and logs are nobody else's
    raise_descriptor_limit();
    return Server(options, arguments).run();
}

}  // namespace plimsoll::app
