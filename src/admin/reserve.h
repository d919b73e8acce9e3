// Reserve: descriptors that traffic cannot take. The process runs with a soft limit below its hard one; who holds a
// Reserve lifts it for that moment.
// Thread rule: any thread, but the limit is the whole process's: hold it for a few system calls, never across a wait.
// Source: getrlimit(2): a new descriptor must be below the soft limit.
#pragma once

#include <sys/resource.h>

namespace plimsoll::admin {

/// Descriptors kept back for operators: some connections, and what they open.
inline constexpr rlim_t reserved_descriptors = 32;

/// Sets the soft limit to all but the reserve of what the system allows. Gives what traffic may have; 0 when the
/// system did not let us.
inline rlim_t keep_reserve() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    limit.rlim_cur = limit.rlim_max > 4 * reserved_descriptors ? limit.rlim_max - reserved_descriptors : limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

class Reserve {
public:
    Reserve() {
        if (getrlimit(RLIMIT_NOFILE, &before_) != 0) return;
        rlimit all = before_;
        all.rlim_cur = all.rlim_max;
        lifted_ = setrlimit(RLIMIT_NOFILE, &all) == 0;
    }
    Reserve(const Reserve&) = delete;
    Reserve& operator=(const Reserve&) = delete;
    ~Reserve() {
        if (lifted_) setrlimit(RLIMIT_NOFILE, &before_);
    }

private:
    rlimit before_{};
    bool lifted_ = false;
};

}  // namespace plimsoll::admin
