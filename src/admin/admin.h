// Admin: the HTTP API for operators, scripts and the command line: on its own TCP listener and on a Unix socket, served
// by control's thread, so that it answers when the data plane is on fire. Routes: docs/formats/admin-api.md.
// Thread rule: control's thread.
#pragma once

#include <memory>
#include <string>

#include "admin/door.h"
#include "async/scope.h"
#include "base/result.h"
#include "config/config.h"
#include "control/control.h"
#include "http/server.h"
#include "net/network.h"

namespace plimsoll::admin {

class Admin {
public:
    explicit Admin(control::Control& control);
    ~Admin();

    /// Errors: conflict (address in use), io.
    Result<void> listen(const config::Address& address);
    Result<void> listen(const std::string& socket_path);
    async::Task<void> stop(async::Deadline deadline);

private:
    Result<void> listen(const net::Address& where);
    async::Task<void> keep_open(net::Listener& listener);

    control::Control& control_;
    Door door_;
    std::unique_ptr<http::Server> server_;
    async::Scope scope_;  ///< last: its tasks use the server's listeners
};

}  // namespace plimsoll::admin
