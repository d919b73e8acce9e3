// A server started as root serves as somebody else.
// Thread rule: drop_privileges() changes the whole process (glibc carries it to every thread); called once.
// Source: credentials(7), capabilities(7), prctl(2) PR_SET_NO_NEW_PRIVS.
#pragma once

#include <string>

#include "base/result.h"

namespace plimsoll::app {

/// Gives `state` and what is in it, and the access log (a path, "-" or empty), to `user`, then becomes that user with
/// its groups: no capability is left, and none can be had again by starting another program. Nothing to do when we are
/// that user. Errors: not_found (no such user), invalid (we are neither root nor that user), io.
[[nodiscard]] Result<void> drop_privileges(const std::string& user, const std::string& state, const std::string& log);

}  // namespace plimsoll::app
