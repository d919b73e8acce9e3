// Background: one thread for work that takes long (replays), in order, one at a time; results come back to control's
// loop as posted work. Work gets values and touches nothing else.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "base/time.h"
#include "net/network.h"

namespace plimsoll::control {

class Background {
public:
    explicit Background(net::Network& home);
    /// Finishes the piece of work in hand, drops the rest.
    ~Background();
    Background(const Background&) = delete;
    Background& operator=(const Background&) = delete;

    /// `work` runs on the background thread; what it returns runs on control's. Called on control's thread.
    void run(std::function<std::function<void()>()> work);
    [[nodiscard]] std::size_t waiting() const;

    /// For a piece of work that takes long, on its thread: takes turns with those who serve requests. Each rest is
    /// twice as long as the thread has run since the one before, so a busy machine's spare time lasts for both.
    class Turns {
    public:
        Turns();
        void rest();

    private:
        Duration ran_;  ///< processor time of this thread, at the end of the last rest
    };

private:
    void serve();
    net::Network& home_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    mutable std::mutex mutex_;
    std::condition_variable ready_;
    std::deque<std::function<std::function<void()>()>> work_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace plimsoll::control
