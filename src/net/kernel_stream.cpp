#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "net/kernel.h"

namespace plimsoll::net {
namespace {

Io failure(int error) {
    switch (error) {
        case EAGAIN: return Io::would_block();
        case ECONNRESET:
        case EPIPE:
        case ENOTCONN:
        case ETIMEDOUT:
        case ECONNREFUSED:
        case EHOSTUNREACH:
        case ENETUNREACH:
        case ECONNABORTED: return Io::failed(Code::reset);
        default: return Io::failed(Code::io);
    }
}

}  // namespace

void Descriptor::reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

KernelStream::KernelStream(Loop::Kernel& kernel, Descriptor socket, Address peer, bool connected)
    : kernel_(kernel), socket_(std::move(socket)), readable_(connected), writable_(connected), peer_(std::move(peer)) {
    watched_ = kernel_.watch(socket_.get(), *this, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, name_);
}

KernelStream::~KernelStream() {
    for (Waiter* waiter : waiters_) {
        if (waiter != nullptr) waiter->disarm();
    }
    if (socket_.open() && watched_) kernel_.forget(name_);
}

Io KernelStream::try_read(std::span<char> into) {
    if (!socket_.open()) return Io::failed(Code::cancelled);
    if (!readable_) return Io::would_block();
    ssize_t n;
    do {
        n = ::recv(socket_.get(), into.data(), into.size(), 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        // Fewer than asked for: the socket is empty now, and the next bytes make a new edge (epoll(7)).
        if (static_cast<std::size_t>(n) < into.size() && !hung_up_) readable_ = false;
        received_ += static_cast<std::uint64_t>(n);
        return Io::moved(static_cast<std::size_t>(n));
    }
    if (n == 0) return Io::end();
    const Io io = failure(errno);
    if (io.state == Io::State::would_block) readable_ = false;
    return io;
}

Io KernelStream::try_write(std::span<const std::string_view> pieces) {
    if (!socket_.open()) return Io::failed(Code::cancelled);
    if (!writable_) return Io::would_block();
    std::array<iovec, max_pieces> vector;
    std::size_t count = 0;
    std::size_t total = 0;
    for (std::string_view piece : pieces) {
        if (piece.empty()) continue;
        if (count == vector.size()) break;
        vector[count++] = {const_cast<char*>(piece.data()), piece.size()};
        total += piece.size();
    }
    if (count == 0) return Io::moved(0);
    ssize_t n;
    do {
        if (count == 1) {
            n = ::send(socket_.get(), vector[0].iov_base, vector[0].iov_len, MSG_NOSIGNAL);
        } else {
            msghdr message{};
            message.msg_iov = vector.data();
            message.msg_iovlen = count;
            n = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
        }
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        const Io io = failure(errno);
        if (io.state == Io::State::would_block) writable_ = false;
        return io;
    }
    if (static_cast<std::size_t>(n) < total) writable_ = false;  // full; room again makes a new edge
    written_ += static_cast<std::uint64_t>(n);
    return Io::moved(static_cast<std::size_t>(n));
}

void KernelStream::arm(Waiter& waiter) {
    const auto which = static_cast<std::size_t>(waiter.direction());
    PLIMSOLL_ENSURE(waiters_[which] == nullptr, "a stream has one waiter per direction");
    waiter.sit_in(waiters_[which]);
    if (!socket_.open()) return kernel_.ready_.push(waiter, Wake::cancelled);
    if (waiter.direction() == Direction::read ? readable_ : writable_) return kernel_.ready_.push(waiter, Wake::ready);
    if (waiter.deadline() < at()) kernel_.wheel_.set(*this, waiter.deadline());
}

void KernelStream::on_events(std::uint32_t events) {
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung_up_ = true;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        readable_ = true;
        if (waiters_[0] != nullptr) kernel_.ready_.push(*waiters_[0], Wake::ready);
    }
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
        writable_ = true;
        if (waiters_[1] != nullptr) kernel_.ready_.push(*waiters_[1], Wake::ready);
    }
}

void KernelStream::due(Instant now) {
    Instant soonest = never;
    for (Waiter* waiter : waiters_) {
        if (waiter == nullptr) continue;
        if (waiter->deadline() <= now) {
            kernel_.ready_.push(*waiter, Wake::timeout);
        } else {
            soonest = std::min(soonest, waiter->deadline());
        }
    }
    kernel_.wheel_.set(*this, soonest);
}

void KernelStream::shutdown_write() {
    if (socket_.open()) ::shutdown(socket_.get(), SHUT_WR);
}

void KernelStream::close() {
    if (!socket_.open()) return;
    (void)local();
    if (watched_) kernel_.forget(name_);
    socket_.reset();
    clear();
    for (Waiter* waiter : waiters_) {
        if (waiter != nullptr) kernel_.ready_.push(*waiter, Wake::cancelled);
    }
}

void KernelStream::abort() {
    if (!socket_.open()) return;
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
}

void KernelStream::expire_read() {
    if (waiters_[0] != nullptr) kernel_.ready_.push(*waiters_[0], Wake::timeout);
}

std::size_t KernelStream::held(bool sockets) const {
    std::array<std::uint32_t, SK_MEMINFO_VARS> info{};
    socklen_t size = sizeof info;
    if (!sockets || !socket_.open() || ::getsockopt(socket_.get(), SOL_SOCKET, SO_MEMINFO, info.data(), &size) != 0) {
        return 0;
    }
    return std::size_t{info[SK_MEMINFO_RMEM_ALLOC]} + info[SK_MEMINFO_WMEM_QUEUED];
}

int KernelStream::socket_error() const {
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
    return error;
}

const Address& KernelStream::local() const {
    if (local_.family() == Address::Family::none && socket_.open()) {
        sockaddr_storage storage{};
        socklen_t length = sizeof storage;
        if (::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&storage), &length) == 0) {
            local_ = Address::from_kernel(storage, length);
        }
    }
    return local_;
}

// ---- listener ------------------------------------------------------------------------------------------------------

class KernelListener::Wait final : Waiter {
public:
    Wait(KernelListener& listener, Deadline deadline) : Waiter(Direction::read, deadline.at), listener_(listener) {}
    [[nodiscard]] bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
        handle_ = handle;
        PLIMSOLL_ENSURE(listener_.waiter_ == nullptr, "a listener has one waiter");
        sit_in(listener_.waiter_);
        Loop::Kernel& kernel = listener_.kernel_;
        if (listener_.sockets_.empty()) return kernel.ready_.push(*this, Wake::cancelled);
        if (listener_.acceptable_ && !listener_.paused_) return kernel.ready_.push(*this, Wake::ready);
        if (deadline() < listener_.at()) kernel.wheel_.set(listener_, deadline());
    }
    [[nodiscard]] Wake await_resume() const { return why_; }

private:
    void woken(Wake why) override {
        why_ = why;
        handle_.resume();
    }
    KernelListener& listener_;
    std::coroutine_handle<> handle_;
    Wake why_ = Wake::ready;
};

KernelListener::KernelListener(Loop::Kernel& kernel, std::vector<Descriptor> sockets, Address address)
    : kernel_(kernel), address_(std::move(address)) {
    for (Descriptor& socket : sockets) {
        Loop::Kernel::Name name;
        if (!kernel_.watch(socket.get(), *this, EPOLLIN | EPOLLET, name)) continue;
        if (kernel_.listening_ != nullptr) kernel_.listening_->opened(socket.get());
        sockets_.push_back({std::move(socket), name});
    }
}

KernelListener::~KernelListener() {
    if (waiter_ != nullptr) waiter_->disarm();
    close_sockets();
}

void KernelListener::close_sockets() {
    for (const Socket& socket : sockets_) {
        // Another process may hold the same socket: epoll would go on telling us about it.
        ::epoll_ctl(kernel_.poll_.get(), EPOLL_CTL_DEL, socket.fd.get(), nullptr);
        kernel_.forget(socket.name);
        if (kernel_.listening_ != nullptr) kernel_.listening_->closing(socket.fd.get());
    }
    sockets_.clear();
}

std::unique_ptr<Stream> KernelListener::try_accept() {
    std::size_t empty = 0;                      // in a row
    while (!sockets_.empty() && acceptable_) {  // in a pause too: who asks may have found descriptors
        sockaddr_storage storage{};
        socklen_t length = sizeof storage;
        const int from = sockets_[next_].fd.get();
        next_ = (next_ + 1) % sockets_.size();
        Descriptor socket(
            ::accept4(from, reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (socket.open()) {
            empty = 0;
            auto stream =
                std::make_unique<KernelStream>(kernel_, std::move(socket), Address::from_kernel(storage, length), true);
            if (stream->watched()) return stream;
            continue;
        }
        if (errno == EAGAIN) {
            acceptable_ = ++empty < sockets_.size();
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            paused_ = true;
            ++pauses_;
            kernel_.wheel_.set(*this, kernel_.now_ + pause);
            return nullptr;
        }
    }
    return nullptr;
}

Task<Result<std::unique_ptr<Stream>>> KernelListener::accept(Deadline deadline) {
    for (;;) {
        if (sockets_.empty()) co_return fail(Code::cancelled, "the listener is closed");
        if (!paused_ && ++in_a_row_ < burst) {
            if (std::unique_ptr<Stream> stream = try_accept()) co_return stream;
        }
        in_a_row_ = 0;
        const Wake why = co_await Wait(*this, deadline);
        if (why == Wake::timeout) co_return fail(Code::timeout, "accept");
        if (why == Wake::cancelled) co_return fail(Code::cancelled, "the listener is closed");
    }
}

void KernelListener::on_events(std::uint32_t) {
    acceptable_ = true;
    if (waiter_ != nullptr && !paused_) kernel_.ready_.push(*waiter_, Wake::ready);
}

void KernelListener::due(Instant now) {
    paused_ = false;
    if (waiter_ == nullptr) return;
    if (waiter_->deadline() <= now) return kernel_.ready_.push(*waiter_, Wake::timeout);
    kernel_.wheel_.set(*this, waiter_->deadline());
    if (acceptable_) kernel_.ready_.push(*waiter_, Wake::ready);
}

void KernelListener::close() {
    if (sockets_.empty()) return;
    close_sockets();
    clear();
    const bool handed_over = kernel_.listening_ != nullptr && kernel_.listening_->handed_over();
    if (address_.family() == Address::Family::unix_socket && !handed_over) ::unlink(address_.host().c_str());
    if (waiter_ != nullptr) kernel_.ready_.push(*waiter_, Wake::cancelled);
}

}  // namespace plimsoll::net
