// Binary upgrade: a new process takes the place of this one without a lost connection attempt.
//   old: starts the program and sends it copies of all listening sockets   -> new: keeps them
//   new: "journal"                                                          -> old: stands down, lends the journal
//   old: "yours"                                                            -> new: opens it, its workers listen
//   new: "ready"                                                            -> old: watches it a little longer, both
//   accept old: closes its listeners and drains, "go"                              -> new: opens the admin listeners
// Whatever goes wrong before "go": the old one ends the new one, takes the journal back and says why.
// Thread rule: see each class. The wire is one Unix socket of packets.
// Source: unix(7) SCM_RIGHTS; Naseer et al. 2020, "Zero Downtime Release" (socket takeover); docs/decisions/0012.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <sys/types.h>

#include "base/result.h"
#include "base/time.h"
#include "net/descriptor.h"
#include "net/listening_sockets.h"
#include "net/network.h"

namespace plimsoll::app {

/// Sockets that are handed over at most: 64 listeners of 64 workers.
inline constexpr std::size_t max_handed_over = 4096;

/// The old process's side.
class Upgrade {
public:
    struct Plan {
        std::string program;                 ///< the file that is started: what stands there now, not what we run
        std::vector<std::string> arguments;  ///< with the program's name in front
        Duration patience = std::chrono::seconds(30);  ///< the new one has this long for each step
        Duration watched = std::chrono::seconds(1);    ///< and must live this long once it is ready
        // All run on control's thread, one after the other.
        std::function<Result<void>()> lend;              ///< stand down, let go of the journal
        std::function<void(pid_t)> replaced;             ///< close listeners, drain
        std::function<void(const std::string&)> failed;  ///< go on as before; with the reason
    };

    /// Begins at once, on a thread of its own. `network` is control's.
    Upgrade(net::Network& network, std::shared_ptr<net::ListeningSockets> listening, Plan plan);
    /// Ends a new process that has not taken over yet; without a word to `failed`.
    ~Upgrade();
    Upgrade(const Upgrade&) = delete;
    Upgrade& operator=(const Upgrade&) = delete;

    [[nodiscard]] bool under_way() const { return !ended_.load(); }

private:
    void run();
    Result<void> take_steps();
    Result<std::string> hear(Duration patience) const;
    [[nodiscard]] bool perform(std::function<void()> work) const;
    std::string end_child() const;

    net::Network& network_;
    std::shared_ptr<net::ListeningSockets> listening_;
    Plan plan_;
    net::Descriptor wire_;
    net::Descriptor cancel_;  ///< an eventfd: the destructor rings it
    pid_t child_ = -1;
    std::atomic<bool> ended_ = false;
    std::thread thread_;  ///< last: it uses all of the above
};

/// The new process's side. All calls wait, and are made from main.
class Predecessor {
public:
    /// nullopt when this process was started otherwise. Errors: protocol, timeout, closed.
    [[nodiscard]] static Result<std::optional<Predecessor>> find();

    [[nodiscard]] std::vector<net::Descriptor> take_sockets() { return std::move(sockets_); }
    /// The journal is free when this comes back. Errors: timeout, closed.
    [[nodiscard]] Result<void> ask_for_journal();
    /// We serve; comes back when the other one has stopped accepting. Errors: closed: it is gone, which is as good.
    [[nodiscard]] Result<void> ready();
    /// Why we cannot serve.
    void failed(const std::string& why);

private:
    explicit Predecessor(net::Descriptor wire) : wire_(std::move(wire)) {}
    Result<void> receive_sockets();
    net::Descriptor wire_;
    std::vector<net::Descriptor> sockets_;
};

}  // namespace plimsoll::app
