// Holds a journal for one process: flock(2) on a file beside it, with the holder's process id inside. Dies with the
// process, however it dies. Not for network file systems.
#pragma once

#include <string>
#include <utility>

#include "base/result.h"

namespace plimsoll::store {

class Lock {
public:
    /// Takes `path`.lock, creating it. Errors: conflict (says who holds it), io.
    [[nodiscard]] static Result<Lock> take(const std::string& path);
    Lock(Lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)), begun_(other.begun_) {}
    Lock& operator=(Lock&&) = delete;
    ~Lock();

    /// Whether a journal was ever begun under this lock: an empty file where one was is damage, not a fresh start.
    [[nodiscard]] bool begun() const { return begun_; }
    /// Notes that it was begun. Errors: io.
    [[nodiscard]] Result<void> note_begun();

private:
    Lock(int fd, bool begun) : fd_(fd), begun_(begun) {}
    [[nodiscard]] Result<void> write_note() const;
    int fd_;
    bool begun_;
};

}  // namespace plimsoll::store
