#include "net/listening_sockets.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace plimsoll::net {
namespace {

int option_of(int fd, int option) {
    int value = -1;
    socklen_t length = sizeof value;
    return ::getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 ? value : -1;
}

Address bound_to(int fd) {
    sockaddr_storage bound{};
    socklen_t length = sizeof bound;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) != 0) return {};
    return Address::from_kernel(bound, length);
}

Descriptor copy_of(int fd) { return Descriptor(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

/// As Loop::listen makes them.
void prepare(int fd, const Address& address) {
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
    const int on = 1;
    if (address.family() != Address::Family::unix_socket) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace

Result<std::shared_ptr<ListeningSockets>> ListeningSockets::create(std::vector<Descriptor> inherited) {
    auto sockets = std::make_shared<ListeningSockets>();
    sockets->inherited_count_ = inherited.size();
    for (Descriptor& socket : inherited) {
        if (option_of(socket.get(), SO_TYPE) != SOCK_STREAM || option_of(socket.get(), SO_ACCEPTCONN) != 1)
            return fail(Code::invalid,
                        "inherited descriptor " + std::to_string(socket.get()) + " is not a listening stream socket");
        const Address address = bound_to(socket.get());
        prepare(socket.get(), address);
        auto group = std::ranges::find(sockets->groups_, address, &Group::address);
        if (group == sockets->groups_.end()) {
            sockets->groups_.emplace_back().address = address;
            group = std::prev(sockets->groups_.end());
        }
        group->sockets.push_back(std::move(socket));
    }
    return sockets;
}

void ListeningSockets::divide(std::uint32_t workers) {
    const std::lock_guard lock(mutex_);
    workers_ = std::max(workers, 1u);
}

void ListeningSockets::part(Group& group) const {
    group.parts.resize(workers_);
    const std::size_t sockets = group.sockets.size();
    for (std::size_t worker = sockets; worker < workers_; ++worker)
        group.parts[worker].push_back(copy_of(group.sockets[worker % sockets].get()));
    for (std::size_t i = 0; i < sockets; ++i) group.parts[i % workers_].push_back(std::move(group.sockets[i]));
    group.sockets.clear();
}

std::vector<Descriptor> ListeningSockets::take(const Address& address, bool shared) {
    const std::lock_guard lock(mutex_);
    const auto group = std::ranges::find(groups_, address, &Group::address);
    if (group == groups_.end()) return {};
    if (!shared) {
        std::vector<Descriptor> all = std::move(group->sockets);
        groups_.erase(group);
        return all;
    }
    if (group->parts.empty()) part(*group);
    std::vector<Descriptor> mine = std::move(group->parts[group->taken++]);
    if (group->taken == group->parts.size()) groups_.erase(group);
    std::erase_if(mine, [](const Descriptor& socket) { return !socket.open(); });
    return mine;
}

std::vector<std::string> ListeningSockets::close_rest() {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> addresses;
    for (const Group& group : groups_) addresses.push_back(group.address.text());
    groups_.clear();
    return addresses;
}

void ListeningSockets::opened(int fd) {
    const std::lock_guard lock(mutex_);
    open_.insert(fd);
}

void ListeningSockets::closing(int fd) {
    const std::lock_guard lock(mutex_);
    open_.erase(fd);
}

Result<std::vector<Descriptor>> ListeningSockets::copies() const {
    const std::lock_guard lock(mutex_);
    std::vector<Descriptor> all;
    for (const int fd : open_) {
        all.push_back(copy_of(fd));
        if (!all.back().open())
            return fail(Code::limit, std::string("cannot copy a listening socket: ") + std::strerror(errno));
    }
    return all;
}

}  // namespace plimsoll::net
