// Loop: the kernel's network, one per thread: epoll, edge-triggered, a batch of events a turn, one read of the clock a
// turn, coarse timers. Level aimed at: four socket calls per proxied request, none for timers.
// Thread rule: owned and run by one thread; post() and stop() from any.
// Source: epoll(7), accept4(2), socket(7); figures in docs/decisions.
#pragma once

#include <memory>

#include "net/network.h"

namespace plimsoll::net {

class ListeningSockets;

class Loop final : public Network {
public:
    /// `listening`: where listen() looks for inherited sockets first, and where open ones are known; may be null.
    /// Errors: io (no descriptors left for epoll or eventfd).
    static Result<std::unique_ptr<Loop>> create(std::shared_ptr<ListeningSockets> listening = nullptr);
    ~Loop() override;

    Instant now() const override;
    Timestamp wall() const override;
    Task<Result<std::unique_ptr<Stream>>> connect(Address address, Deadline deadline) override;
    Result<std::unique_ptr<Listener>> listen(const Address& address, ListenOptions options) override;
    Result<std::unique_ptr<Watched>> watch(int descriptor) override;
    Task<void> sleep_until(Instant at) override;
    void post(std::move_only_function<void()> work) override;
    ReadyQueue& ready() override;
    void run() override;
    void stop() override;

    /// One turn: waits for events at most until `until` (or the next timer), then does what became possible.
    void turn(Instant until);

    struct Kernel;  ///< the loop's inside, in kernel.h

private:
    explicit Loop(std::unique_ptr<Kernel> kernel);
    async::Scope& scope() override;
    std::unique_ptr<Kernel> kernel_;
};

}  // namespace plimsoll::net
