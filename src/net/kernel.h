// The inside of Loop: descriptors, events, the kernel's streams and listeners. Included by this room's sources only.
// Thread rule: as Loop.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "net/descriptor.h"
#include "net/listening_sockets.h"
#include "net/loop.h"
#include "net/wheel.h"

namespace plimsoll::net {

/// Something that epoll reports about.
class Source {
public:
    virtual ~Source() = default;
    /// Only notes what happened and queues who waits; resumes nobody.
    virtual void on_events(std::uint32_t events) = 0;
};

struct Loop::Kernel {
    Kernel(Descriptor poll, Descriptor mail);

    /// Names a source to epoll. A name that was given back is told apart by its generation, so an event that was
    /// fetched before its source closed finds nobody.
    struct Name {
        std::uint32_t slot = 0;
        std::uint32_t generation = 0;
    };
    /// Errors: false when epoll takes no more.
    bool watch(int fd, Source& source, std::uint32_t events, Name& name);
    /// Asks once more for events of a source that is watched with EPOLLONESHOT.
    void watch_again(int fd, std::uint32_t events, Name name);
    /// Before the descriptor is closed.
    void forget(Name name);

    void turn(Instant until);
    void read_clock();
    void dispatch(std::uint64_t name, std::uint32_t events);
    void empty_mailbox();
    void run_ready();
    void ring();

    struct Entry {
        Source* source = nullptr;
        std::uint32_t generation = 0;
    };
    Descriptor poll_, mail_;
    std::shared_ptr<ListeningSockets> listening_;  ///< may be null
    Instant now_;
    Wheel wheel_;
    ReadyQueue ready_;
    std::vector<Entry> sources_;
    std::vector<std::uint32_t> free_;
    std::atomic<bool> stopped_ = false;
    std::atomic<bool> mail_waits_ = false;  ///< posted_ is not empty
    std::mutex mutex_;                      ///< guards posted_
    std::vector<std::move_only_function<void()>> posted_;
    async::Scope scope_;  ///< last: its tasks end before what they use
};

class KernelStream final : public Stream, Source, Timer {
public:
    /// `connected` = bytes may already wait to be read.
    KernelStream(Loop::Kernel& kernel, Descriptor socket, Address peer, bool connected);
    ~KernelStream() override;

    Io try_read(std::span<char> into) override;
    Io try_write(std::span<const std::string_view> pieces) override;
    void arm(Waiter& waiter) override;
    void shutdown_write() override;
    void close() override;
    void abort() override;
    bool closed() const override { return !socket_.open(); }
    bool quiet() const override { return !readable_ && socket_.open(); }
    void expire_read() override;
    std::size_t held(bool sockets) const override;
    ReadyQueue& ready() override { return kernel_.ready_; }
    const Address& peer() const override { return peer_; }
    const Address& local() const override;

    /// False when epoll takes no more: the stream is of no use.
    [[nodiscard]] bool watched() const { return watched_; }
    /// The socket's own error (SO_ERROR) as errno; clears it.
    [[nodiscard]] int socket_error() const;

private:
    void on_events(std::uint32_t events) override;
    void due(Instant now) override;

    Loop::Kernel& kernel_;
    Descriptor socket_;
    Loop::Kernel::Name name_;
    bool watched_ = false;
    bool readable_;
    bool writable_;
    bool hung_up_ = false;  ///< the peer's end or an error is among what waits: reading always gives something
    std::array<Waiter*, 2> waiters_{};
    Address peer_;
    mutable Address local_;
};

class KernelListener final : public Listener, Source, Timer {
public:
    /// Several `sockets` are all of one address: inherited from workers that were more.
    KernelListener(Loop::Kernel& kernel, std::vector<Descriptor> sockets, Address address);
    ~KernelListener() override;

    Task<Result<std::unique_ptr<Stream>>> accept(Deadline deadline) override;
    std::unique_ptr<Stream> try_accept() override;
    void close() override;
    const Address& address() const override { return address_; }
    std::uint64_t accept_pauses() const override { return pauses_; }

private:
    class Wait;
    void on_events(std::uint32_t events) override;
    void due(Instant now) override;

    /// Without descriptors nothing can be accepted; connections wait in the backlog this long before the next try.
    static constexpr Duration pause = std::chrono::milliseconds(50);
    /// Connections taken in a row before the others get their turn.
    static constexpr std::uint32_t burst = 64;

    struct Socket {
        Descriptor fd;
        Loop::Kernel::Name name;
    };
    void close_sockets();

    Loop::Kernel& kernel_;
    std::vector<Socket> sockets_;  ///< none: closed
    std::size_t next_ = 0;         ///< that is asked for a connection
    Address address_;
    bool acceptable_ = true;
    bool paused_ = false;
    std::uint32_t in_a_row_ = 0;
    std::uint64_t pauses_ = 0;
    Waiter* waiter_ = nullptr;
};

}  // namespace plimsoll::net
