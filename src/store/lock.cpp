#include "store/lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace plimsoll::store {
namespace {

constexpr std::string_view begun_mark = "begun";

std::string contents(int fd) {
    std::array<char, 128> bytes{};
    const ssize_t n = ::pread(fd, bytes.data(), bytes.size(), 0);
    return n > 0 ? std::string(bytes.data(), static_cast<std::size_t>(n)) : "";
}

/// "process 4711 (plimsoll)", as well as it can be told.
std::string holder(const std::string& note) {
    const std::string pid = note.substr(0, note.find_first_not_of("0123456789"));
    if (pid.empty()) return "another process";
    std::ifstream file("/proc/" + pid + "/comm");
    std::string command;
    std::getline(file, command);
    return fmt::format("process {}{}", pid, command.empty() ? "" : " (" + command + ")");
}

}  // namespace

Result<Lock> Lock::take(const std::string& path) {
    const std::string name = path + ".lock";
    const int fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return fail(Code::io, fmt::format("cannot open {}: {}", name, std::strerror(errno)));
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
        const int reason = errno;
        const std::string who = holder(contents(fd));
        ::close(fd);
        if (reason != EWOULDBLOCK)
            return fail(Code::io, fmt::format("cannot lock {}: {}", name, std::strerror(reason)));
        return fail(Code::conflict, fmt::format("the journal {} is held by {}; only one may write it", path, who));
    }
    Lock lock(fd, contents(fd).find(begun_mark) != std::string::npos);
    if (auto written = lock.write_note(); !written) return std::unexpected(written.error());
    return lock;
}

Result<void> Lock::write_note() const {
    // Fixed length and overwritten in place, so that a full disk can hardly hinder a restart.
    const std::string note = fmt::format("{:<12}{:<8}\n", ::getpid(), begun_ ? begun_mark : "");
    if (::pwrite(fd_, note.data(), note.size(), 0) != static_cast<ssize_t>(note.size())) {
        return fail(Code::io, fmt::format("cannot write the journal's lock file: {}", std::strerror(errno)));
    }
    return {};
}

Result<void> Lock::note_begun() {
    begun_ = true;
    return write_note();
}

Lock::~Lock() {
    if (fd_ >= 0) ::close(fd_);
}

}  // namespace plimsoll::store
