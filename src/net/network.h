// Network: sockets, clocks and timers as seen by one thread. Two implementations ship: Loop (kernel, loop.h) and
// MemoryNetwork (memory_network.h), so that everything above runs unchanged in a virtual world.
// Thread rule: everything but post() and stop() is called on the thread that runs the network.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "async/deadline.h"
#include "async/scope.h"
#include "async/task.h"
#include "base/result.h"
#include "base/time.h"
#include "net/address.h"
#include "net/stream.h"

namespace plimsoll::net {

using async::Task;

class Listener {
public:
    virtual ~Listener() = default;
    /// The next connection. Errors: timeout, cancelled (closed). When descriptors are gone it pauses and tries again
    /// (counted in accept_pauses); it never spins and never fails for that.
    [[nodiscard]] virtual Task<Result<std::unique_ptr<Stream>>> accept(Deadline deadline) = 0;
    /// Takes a connection that already waits in the backlog, or nullptr. Used before closing, so that nobody who got
    /// through the handshake is reset.
    [[nodiscard]] virtual std::unique_ptr<Stream> try_accept() = 0;
    /// Stops listening; wakes accept() with Code::cancelled. Idempotent.
    virtual void close() = 0;
    /// The bound address; port 0 has become the real one.
    [[nodiscard]] virtual const Address& address() const = 0;
    [[nodiscard]] virtual std::uint64_t accept_pauses() const = 0;
};

/// A descriptor that belongs to somebody else (a library's socket), of which we only say when it can be read.
class Watched {
public:
    Watched() = default;
    Watched(const Watched&) = delete;
    Watched& operator=(const Watched&) = delete;
    virtual ~Watched() = default;
    /// Goes on as soon as poll(2) would call the descriptor readable; asked again, it answers again. One waiter at a
    /// time. Errors: timeout.
    [[nodiscard]] virtual Task<Result<void>> readable(Deadline deadline) = 0;
};

struct ListenOptions {
    bool reuse_port = false;         ///< several workers listen on the same port, the kernel divides
    int backlog = 4096;              ///< connections the kernel holds before accept
    std::uint32_t unix_mode = 0600;  ///< of a Unix-domain socket's file
};

class Network {
public:
    Network() = default;
    Network(const Network&) = delete;
    Network& operator=(const Network&) = delete;
    virtual ~Network() = default;

    /// Monotonic, read once per turn of the loop.
    [[nodiscard]] virtual Instant now() const = 0;
    /// Wall clock of the same moment; for records only.
    [[nodiscard]] virtual Timestamp wall() const = 0;

    /// Errors: refused, timeout, unreachable (no route): side upstream; limit (no descriptor or local port left): us.
    [[nodiscard]] virtual Task<Result<std::unique_ptr<Stream>>> connect(Address address, Deadline deadline) = 0;
    /// IP or Unix-domain; a stale Unix socket file is replaced. Errors: conflict (in use), invalid, unreachable, io.
    [[nodiscard]] virtual Result<std::unique_ptr<Listener>> listen(const Address& address, ListenOptions options) = 0;
    /// Watches a descriptor that stays its owner's, who closes it after the Watched is gone. Errors: limit (the kernel
    /// watches no more); invalid: this network has no descriptors (the one in memory).
    [[nodiscard]] virtual Result<std::unique_ptr<Watched>> watch(int descriptor);
    /// Goes on at the first turn at or after `at` (coarse: up to 4 ms late).
    [[nodiscard]] virtual Task<void> sleep_until(Instant at) = 0;

    /// Runs `work` on the network's thread, soon. Thread-safe; wakes a sleeping loop. Work posted by one thread keeps
    /// its order. Not run if the network is stopped and never run again.
    virtual void post(std::move_only_function<void()> work) = 0;

    /// Wakes from a clean stack; for what waits for something else than a stream (parking.h).
    [[nodiscard]] virtual ReadyQueue& ready() = 0;

    /// Serves until stop(). The memory network also returns when nothing can ever happen any more.
    virtual void run() = 0;
    /// Makes run() return after the current turn. Thread-safe.
    virtual void stop() = 0;

    /// Starts work that lives as long as the network.
    void spawn(Task<void> task) { scope().spawn(std::move(task)); }
    [[nodiscard]] std::size_t spawned() { return scope().running(); }

protected:
    /// Implementations end it before their own parts go.
    virtual async::Scope& scope() = 0;
};

namespace detail {
template <class T>
Task<void> keep(Network& network, Task<T> task, std::optional<T>& into, bool& running) {
    into.emplace(co_await std::move(task));
    if (running) network.stop();
}
}  // namespace detail

/// Runs the network until `task` is done and gives its value; nullopt if the network stopped before. For command-line
/// tools and tests; not from within the network's own work.
template <class T>
[[nodiscard]] std::optional<T> complete(Network& network, Task<T> task) {
    std::optional<T> value;
    bool running = false;
    async::Scope scope;
    scope.spawn(detail::keep(network, std::move(task), value, running));
    running = true;
    if (!value) network.run();
    return value;
}

}  // namespace plimsoll::net
