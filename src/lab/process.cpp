#include "lab/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

namespace plimsoll::lab {
namespace {

Instant clock_now() { return {std::chrono::steady_clock::now().time_since_epoch().count()}; }

std::unexpected<Error> system_error(std::string what) { return fail(Code::io, what + ": " + std::strerror(errno)); }

/// Never returns: becomes the program or ends with 127. Only async-signal-safe calls, for the lab has threads.
[[noreturn]] void become(char* const* arguments, int out, int err, pid_t parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(err, STDERR_FILENO);
    ::execvp(arguments[0], arguments);
    constexpr std::string_view message = "cannot be started\n";
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, message.data(), message.size());
    ::_exit(127);
}

}  // namespace

Result<Child> Child::start(std::vector<std::string> arguments, std::string log) {
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);

    std::array<int, 2> out{-1, -1}, err{-1, -1};
    if (log.empty()) {
        if (::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0) return system_error("pipe");
    } else {
        out[1] = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (out[1] < 0) return system_error(log);
        err[1] = ::dup(out[1]);
    }
    Child child;
    child.started_ = clock_now();
    const pid_t parent = ::getpid();
    child.pid_ = ::fork();
    if (child.pid_ == 0) become(argv.data(), out[1], err[1], parent);
    ::close(out[1]);
    ::close(err[1]);
    child.out_ = out[0], child.err_ = err[0];
    if (child.pid_ < 0) return system_error("fork");
    return child;
}

Child::Child(Child&& other) noexcept { *this = std::move(other); }

Child& Child::operator=(Child&& other) noexcept {
    if (this == &other) return *this;
    end();
    pid_ = std::exchange(other.pid_, -1);
    out_ = std::exchange(other.out_, -1);
    err_ = std::exchange(other.err_, -1);
    status_ = other.status_;
    started_ = other.started_;
    return *this;
}

Child::~Child() { end(); }

void Child::end() noexcept {
    if (pid_ > 0 && !status_) {
        ::kill(pid_, SIGKILL);
        reap(true);
    }
    if (out_ >= 0) ::close(out_);
    if (err_ >= 0) ::close(err_);
    pid_ = out_ = err_ = -1;
}

bool Child::reap(bool block) {
    if (status_) return true;
    int status = 0;
    pid_t got = 0;
    do got = ::waitpid(pid_, &status, block ? 0 : WNOHANG);
    while (got < 0 && errno == EINTR);
    if (got != pid_) return false;
    status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return true;
}

bool Child::running() { return pid_ > 0 && !reap(false); }

void Child::signal(int number) const {
    if (pid_ > 0 && !status_) ::kill(pid_, number);
}

Finished Child::wait(Duration limit) {
    Finished finished;
    std::array<pollfd, 2> watched{pollfd{out_, POLLIN, 0}, pollfd{err_, POLLIN, 0}};
    const Instant called = clock_now();
    bool late = false;
    while (!late && (watched[0].fd >= 0 || watched[1].fd >= 0 || running())) {
        if (clock_now() - called > limit) {
            late = true;
            signal(SIGKILL);
        }
        ::poll(watched.data(), watched.size(), watched[0].fd >= 0 || watched[1].fd >= 0 ? 100 : 1);
        for (std::size_t i = 0; i < watched.size(); ++i) {
            if (watched[i].fd < 0 || watched[i].revents == 0) continue;
            std::array<char, 16'384> buffer;
            const ssize_t n = ::read(watched[i].fd, buffer.data(), buffer.size());
            if (n > 0) (i == 0 ? finished.output : finished.errors).append(buffer.data(), static_cast<std::size_t>(n));
            if (n == 0 || (n < 0 && errno != EINTR)) watched[i].fd = -1;
        }
    }
    reap(true);
    finished.exit_code = late ? -1 : status_.value_or(-1);
    finished.took = clock_now() - started_;
    return finished;
}

Result<Finished> run(std::vector<std::string> arguments, Duration limit) {
    Result<Child> child = Child::start(std::move(arguments));
    if (!child) return std::unexpected(child.error());
    return child->wait(limit);
}

Result<Duration> cpu_time(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    if (!std::getline(file, text)) return fail(Code::not_found, "no process " + std::to_string(pid));
    // The name in parentheses may hold anything, so count from the last ')': state is field 3, utime 14, stime 15.
    std::istringstream fields(text.substr(text.rfind(')') + 1));
    std::string skipped;
    for (int i = 3; i < 14; ++i) fields >> skipped;
    std::int64_t user = 0, system = 0;
    fields >> user >> system;
    const std::int64_t tick = 1'000'000'000 / ::sysconf(_SC_CLK_TCK);
    return Duration{(user + system) * tick};
}

}  // namespace plimsoll::lab
