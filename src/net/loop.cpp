#include "net/loop.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "net/kernel.h"

namespace plimsoll::net {
namespace {

constexpr int events_per_turn = 256;
constexpr std::size_t wakes_per_turn =
    4096;  // then epoll is asked again, so that no chain of wakes starves the sockets
constexpr std::uint64_t mail_name = UINT64_MAX;

Instant monotonic() {
    timespec ts{};
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return Instant{ts.tv_sec * 1'000'000'000 + ts.tv_nsec};
}

void set_option(int fd, int level, int option) {
    const int on = 1;
    ::setsockopt(fd, level, option, &on, sizeof on);
}

std::string reason(std::string_view what, const Address& address, int error) {
    std::string text(what);
    text += " ";
    text += address.text();
    text += ": ";
    text += std::strerror(error);  // the loop's sources are called by one thread each; glibc's strerror is thread-safe
    return text;
}

/// Waits until a connecting socket can be written, which is when the handshake has ended either way.
class Writable final : Waiter {
public:
    Writable(Stream& stream, Deadline deadline) : Waiter(Direction::write, deadline.at), stream_(stream) {}
    [[nodiscard]] bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
        handle_ = handle;
        stream_.arm(*this);
    }
    [[nodiscard]] Wake await_resume() const { return why_; }

private:
    void woken(Wake why) override {
        why_ = why;
        handle_.resume();
    }
    Stream& stream_;
    std::coroutine_handle<> handle_;
    Wake why_ = Wake::ready;
};

class Sleep final : Timer {
public:
    Sleep(Wheel& wheel, Instant until) : wheel_(wheel), until_(until) {}
    [[nodiscard]] bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
        handle_ = handle;
        wheel_.set(*this, until_);
    }
    void await_resume() const {}

private:
    void due(Instant) override { handle_.resume(); }
    Wheel& wheel_;
    Instant until_;
    std::coroutine_handle<> handle_;
};

std::unexpected<Error> connect_failure(const Address& address, int error) {
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM || error == EADDRNOTAVAIL) {
        return fail(Code::limit, reason("connect", address, error), Side::us);  // says nothing about the peer
    }
    const Code code = error == ECONNREFUSED || error == ENOENT ? Code::refused
                      : error == ETIMEDOUT                     ? Code::timeout
                                                               : Code::unreachable;
    return fail(code, reason("connect", address, error), Side::upstream, Retry::yes);
}

/// A Unix socket file that nobody listens on any more is removed. False: somebody does.
bool clear_stale_socket(const sockaddr_storage& storage, std::size_t length, const std::string& path) {
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return true;
    const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&storage), static_cast<socklen_t>(length)) == 0) {
        return false;
    }
    if (errno == ECONNREFUSED) ::unlink(path.c_str());
    return true;
}

}  // namespace

Loop::Kernel::Kernel(Descriptor poll, Descriptor mail)
    : poll_(std::move(poll)), mail_(std::move(mail)), now_(monotonic()), wheel_(now_) {}

void Loop::Kernel::read_clock() { now_ = monotonic(); }

bool Loop::Kernel::watch(int fd, Source& source, std::uint32_t events, Name& name) {
    if (free_.empty()) {
        free_.push_back(static_cast<std::uint32_t>(sources_.size()));
        sources_.emplace_back();
    }
    const std::uint32_t slot = free_.back();
    name = {slot, sources_[slot].generation};
    epoll_event event{};
    event.events = events;
    event.data.u64 = std::uint64_t{name.generation} << 32 | name.slot;
    if (::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return false;
    free_.pop_back();
    sources_[slot].source = &source;
    return true;
}

void Loop::Kernel::watch_again(int fd, std::uint32_t events, Name name) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = std::uint64_t{name.generation} << 32 | name.slot;
    ::epoll_ctl(poll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Loop::Kernel::forget(Name name) {
    Entry& entry = sources_[name.slot];
    entry.source = nullptr;
    entry.generation = (entry.generation + 1) & 0x7fffffff;  // never like mail_name
    free_.push_back(name.slot);
}

void Loop::Kernel::ring() {
    const std::uint64_t one = 1;
    (void)!::write(mail_.get(), &one, sizeof one);
}

void Loop::Kernel::dispatch(std::uint64_t name, std::uint32_t events) {
    const auto slot = static_cast<std::uint32_t>(name);
    const auto generation = static_cast<std::uint32_t>(name >> 32);
    if (slot >= sources_.size()) return;
    const Entry& entry = sources_[slot];
    if (entry.source != nullptr && entry.generation == generation) entry.source->on_events(events);
}

void Loop::Kernel::empty_mailbox() {
    std::uint64_t count = 0;
    (void)!::read(mail_.get(), &count, sizeof count);
    std::vector<std::move_only_function<void()>> work;
    {
        const std::lock_guard lock(mutex_);
        work.swap(posted_);
        mail_waits_.store(false, std::memory_order_relaxed);
    }
    for (auto& each : work) each();
}

void Loop::Kernel::turn(Instant until) {
    int wait_ms = 0;
    if (ready_.empty()) {
        const Instant next = std::min(until, wheel_.next());
        if (next == never) {
            wait_ms = -1;
        } else if (next > now_) {
            const std::int64_t ms = ((next - now_).count() + 999'999) / 1'000'000;
            wait_ms = static_cast<int>(std::min<std::int64_t>(ms, 60'000));
        }
    }
    std::array<epoll_event, events_per_turn> events;
    const int count = ::epoll_wait(poll_.get(), events.data(), events_per_turn, wait_ms);
    read_clock();
    bool mail = false;
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (event.data.u64 == mail_name) {
            mail = true;
        } else {
            dispatch(event.data.u64, event.events);
        }
    }
    // Its event may stand behind thousands of others.
    if (mail || mail_waits_.load(std::memory_order_relaxed)) empty_mailbox();
    wheel_.run(now_);
    run_ready();
}

void Loop::Kernel::run_ready() {
    // What others ask for (to go back, to refuse, to let go of memory) must not wait for thousands of connections'
    // work, and one wake may be a hundred requests of HTTP/2: the mailbox is looked at after each.
    /// Stands behind those who are queued now: who is queued meanwhile waits for the next turn.
    struct Last final : Waiter {
        Last() : Waiter(Direction::read, never) {}
        void woken(Wake) override { reached = true; }
        bool reached = false;
    } last;
    ready_.push(last, Wake::ready);
    for (std::size_t run = 0; run < wakes_per_turn && !last.reached; ++run) {
        ready_.run(1);
        if (mail_waits_.load(std::memory_order_relaxed)) empty_mailbox();
    }
}

Loop::Loop(std::unique_ptr<Kernel> kernel) : kernel_(std::move(kernel)) {}
Loop::~Loop() { kernel_->scope_.cancel(); }

Result<std::unique_ptr<Loop>> Loop::create(std::shared_ptr<ListeningSockets> listening) {
    Descriptor poll(::epoll_create1(EPOLL_CLOEXEC));
    Descriptor mail(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = mail_name;
    if (!poll.open() || !mail.open() || ::epoll_ctl(poll.get(), EPOLL_CTL_ADD, mail.get(), &event) != 0) {
        return fail(Code::io, std::string("no event loop: ") + std::strerror(errno));
    }
    auto kernel = std::make_unique<Kernel>(std::move(poll), std::move(mail));
    kernel->listening_ = std::move(listening);
    return std::unique_ptr<Loop>(new Loop(std::move(kernel)));
}

Instant Loop::now() const { return kernel_->now_; }

Timestamp Loop::wall() const {
    // Of the same moment as now(), which may be some work ago: instants and timestamps written down must agree.
    timespec ts{};
    clock_gettime(CLOCK_REALTIME, &ts);
    return Timestamp{ts.tv_sec * 1'000'000'000 + ts.tv_nsec} + (kernel_->now_ - monotonic());
}

async::Scope& Loop::scope() { return kernel_->scope_; }
ReadyQueue& Loop::ready() { return kernel_->ready_; }
void Loop::turn(Instant until) { kernel_->turn(until); }

void Loop::run() {
    kernel_->read_clock();
    while (!kernel_->stopped_.load(std::memory_order_acquire)) kernel_->turn(never);
    kernel_->stopped_.store(false, std::memory_order_release);  // so that it can run again
}

void Loop::stop() {
    kernel_->stopped_.store(true, std::memory_order_release);
    kernel_->ring();
}

void Loop::post(std::move_only_function<void()> work) {
    bool first = false;
    {
        const std::lock_guard lock(kernel_->mutex_);
        first = kernel_->posted_.empty();
        kernel_->posted_.push_back(std::move(work));
        kernel_->mail_waits_.store(true, std::memory_order_relaxed);
    }
    if (first) kernel_->ring();
}

Task<void> Loop::sleep_until(Instant at) { co_await Sleep(kernel_->wheel_, at); }

Task<Result<std::unique_ptr<Stream>>> Loop::connect(Address address, Deadline deadline) {
    sockaddr_storage storage;
    const std::size_t length = address.to_kernel(storage);
    if (length == 0) co_return fail(Code::invalid, "connect: no address");
    Descriptor socket(::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.open()) co_return connect_failure(address, errno);
    if (storage.ss_family != AF_UNIX) set_option(socket.get(), IPPROTO_TCP, TCP_NODELAY);
    const int answer =
        ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), static_cast<socklen_t>(length));
    if (answer != 0 && errno != EINPROGRESS) co_return connect_failure(address, errno);
    auto stream = std::make_unique<KernelStream>(*kernel_, std::move(socket), address, answer == 0);
    if (!stream->watched()) co_return connect_failure(address, EMFILE);
    if (answer != 0) {
        const Wake why = co_await Writable(*stream, deadline);
        if (why == Wake::timeout) {
            co_return fail(Code::timeout, reason("connect", address, ETIMEDOUT), Side::upstream, Retry::yes);
        }
        if (const int error = stream->socket_error(); error != 0) co_return connect_failure(address, error);
    }
    co_return std::unique_ptr<Stream>(std::move(stream));
}

Result<std::unique_ptr<Listener>> Loop::listen(const Address& address, ListenOptions options) {
    sockaddr_storage storage;
    const std::size_t length = address.to_kernel(storage);
    if (length == 0) return fail(Code::invalid, "listen: no address");
    if (kernel_->listening_ != nullptr) {
        if (auto inherited = kernel_->listening_->take(address, options.reuse_port); !inherited.empty())
            return std::make_unique<KernelListener>(*kernel_, std::move(inherited), address);
    }
    Descriptor socket(::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.open()) return fail(Code::unreachable, reason("listen", address, errno));
    if (storage.ss_family == AF_UNIX) {
        if (!clear_stale_socket(storage, length, address.host())) {
            return fail(Code::conflict, "listen " + address.text() + ": another process listens there");
        }
        ::fchmod(socket.get(), static_cast<mode_t>(options.unix_mode));  // Linux gives the file this mode at bind
    } else {
        set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR);
        if (options.reuse_port) set_option(socket.get(), SOL_SOCKET, SO_REUSEPORT);
        set_option(socket.get(), IPPROTO_TCP, TCP_NODELAY);  // accepted sockets inherit it on Linux
    }
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&storage), static_cast<socklen_t>(length)) != 0 ||
        ::listen(socket.get(), options.backlog) != 0) {
        const Code code = errno == EADDRINUSE ? Code::conflict : errno == EADDRNOTAVAIL ? Code::unreachable : Code::io;
        return fail(code, reason("listen", address, errno));
    }
    sockaddr_storage bound{};
    socklen_t bound_length = sizeof bound;
    ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &bound_length);
    std::vector<Descriptor> one;
    one.push_back(std::move(socket));
    return std::make_unique<KernelListener>(*kernel_, std::move(one), Address::from_kernel(bound, bound_length));
}

}  // namespace plimsoll::net
