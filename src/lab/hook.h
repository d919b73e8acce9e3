// A receiver of webhooks: where the lab's team is told. Thread rule: runs on a thread of its own; members may be called
// from any other.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace plimsoll::lab {

class Hook {
public:
    /// One notification.
    struct Message {
        Timestamp at;  ///< when it had come in whole
        std::string body;
    };
    /// Listens on a free loopback port. Errors: io.
    [[nodiscard]] static Result<std::unique_ptr<Hook>> start();
    Hook(const Hook&) = delete;
    ~Hook();

    /// "http://127.0.0.1:PORT/told"
    [[nodiscard]] const std::string& url() const { return url_; }
    /// All that have come so far, in order.
    [[nodiscard]] std::vector<Message> messages() const;

private:
    struct World;
    Hook() = default;

    std::string url_;
    mutable std::mutex mutex_;
    std::vector<Message> messages_;
    std::unique_ptr<World> world_;
    std::thread thread_;
};

}  // namespace plimsoll::lab
