// Admin: the HTTP API for operators, scripts and the command line: on its own TCP listener and on a Unix socket, served
// by control's thread, so that it answers when the data plane is on fire. Routes: docs/formats/admin-api.md.
// Thread rule: control's thread.
#pragma once

#include <memory>
#include <string>

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
    control::Control& control_;
    std::unique_ptr<http::Server> server_;
};

}  // namespace plimsoll::admin
