// Child processes: the story drives the real program as a user would. Blocking; one thread per object.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace plimsoll::lab {

/// How a finished process ended and what it printed.
struct Finished {
    int exit_code = -1;  ///< 128 + signal when it was killed, as shells say it; -1 = it outlived its deadline
    std::string output, errors;
    Duration took{};
};

/// A running child. The destructor kills it (SIGKILL) and waits, so no child outlives the lab; if the thread that
/// started it ends first, the kernel ends the child (PR_SET_PDEATHSIG).
class Child {
public:
    /// Starts `arguments[0]` (searched in PATH). Output goes into pipes that `wait` reads, or, with `log`, both streams
    /// are appended to that file. Errors: io with the reason.
    [[nodiscard]] static Result<Child> start(std::vector<std::string> arguments, std::string log = {});

    Child(Child&& other) noexcept;
    Child& operator=(Child&& other) noexcept;
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child();

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] bool running();
    void signal(int number) const;
    /// Reads until the end and reaps; `limit` after this call the child is killed and exit_code is -1.
    [[nodiscard]] Finished wait(Duration limit);

private:
    Child() = default;
    void end() noexcept;
    bool reap(bool block);

    pid_t pid_ = -1;
    int out_ = -1, err_ = -1;
    std::optional<int> status_;
    Instant started_;
};

/// Starts, waits, returns. A program that cannot be started is an error; one that fails is a Finished.
[[nodiscard]] Result<Finished> run(std::vector<std::string> arguments, Duration limit);

/// CPU time (user + system) that a process has used, all threads, from /proc/PID/stat. Precision: one clock tick.
[[nodiscard]] Result<Duration> cpu_time(pid_t pid);

}  // namespace plimsoll::lab
