#include "app/privileges.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

namespace plimsoll::app {
namespace {

struct Account {
    uid_t uid = 0;
    gid_t gid = 0;
};

Result<Account> find_account(const std::string& user) {
    passwd entry{};
    passwd* found = nullptr;
    std::vector<char> memory(64 * 1024);
    const int error = ::getpwnam_r(user.c_str(), &entry, memory.data(), memory.size(), &found);
    if (error != 0) return fail(Code::io, fmt::format("user '{}': {}", user, std::strerror(error)));
    if (found == nullptr) return fail(Code::not_found, fmt::format("there is no user '{}'", user));
    return Account{entry.pw_uid, entry.pw_gid};
}

Result<void> give(const std::string& state, Account to) {
    std::error_code error;
    std::vector<std::filesystem::path> paths{state};
    for (const auto& entry : std::filesystem::recursive_directory_iterator(state, error)) paths.push_back(entry.path());
    for (const auto& path : paths) {
        // A file that goes in this moment (SQLite's, a recording's oldest) is no mistake.
        if (::lchown(path.c_str(), to.uid, to.gid) != 0 && errno != ENOENT)
            return fail(Code::io, fmt::format("{}: {}", path.string(), std::strerror(errno)));
    }
    if (error) return fail(Code::io, fmt::format("{}: {}", state, error.message()));
    return {};
}

/// A log that was made before we became `to`: who takes over later opens it as `to`. Only a file that is root's.
void give_log(const std::string& path, Account to) {
    struct stat info{};
    if (path.empty() || ::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_uid != 0) return;
    (void)!::lchown(path.c_str(), to.uid, to.gid);
}

}  // namespace

Result<void> drop_privileges(const std::string& user, const std::string& state, const std::string& log) {
    const auto account = find_account(user);
    if (!account) return std::unexpected(account.error());
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail(Code::io, fmt::format("no_new_privs: {}", std::strerror(errno)));
    if (::geteuid() == account->uid && ::getuid() == account->uid) return {};
    if (::geteuid() != 0) return fail(Code::invalid, fmt::format("only root can become '{}'", user));
    if (auto given = give(state, *account); !given) return given;
    give_log(log, *account);
    if (::initgroups(user.c_str(), account->gid) != 0 || ::setresgid(account->gid, account->gid, account->gid) != 0 ||
        ::setresuid(account->uid, account->uid, account->uid) != 0)
        return fail(Code::io, fmt::format("cannot become '{}': {}", user, std::strerror(errno)));
    if (account->uid != 0 && ::setuid(0) == 0) return fail(Code::internal, "root could be had again");
    return {};
}

}  // namespace plimsoll::app
