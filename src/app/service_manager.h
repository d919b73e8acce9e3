// What systemd (or who else speaks its protocols) gives a server and wants to hear from it; without libsystemd.
// Thread rule: before other threads start, for what reads the environment; tell() from any.
// Source: sd_notify(3), sd_listen_fds(3), daemon(7).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/descriptor.h"

namespace plimsoll::app {

/// One datagram to NOTIFY_SOCKET: "READY=1", "RELOADING=1", "STOPPING=1", "STATUS=...", "MAINPID=...", one a line.
/// Nothing happens when there is none, or it is not there any more: a server does not depend on who watches it.
void tell_service_manager(std::string_view state);
/// "RELOADING=1" with the clock that systemd wants beside it.
[[nodiscard]] std::string reloading();

/// The listening sockets of LISTEN_FDS, if LISTEN_PID is this process; the variables are removed, so that no child
/// takes them for its own. Errors: invalid (numbers that are none, or more than `max_activated`).
[[nodiscard]] Result<std::vector<net::Descriptor>> activated_sockets();
inline constexpr int max_activated = 1024;

}  // namespace plimsoll::app
