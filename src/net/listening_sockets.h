// ListeningSockets: the listening sockets that a process was given at its start (by systemd, or by the server whose
// place it takes) and those that it has open now, so that it can give them on. A socket that is handed over keeps the
// connections that wait in its queue; one that is closed and opened anew resets them.
// Thread rule: any thread; a lock, taken when a listener opens or closes only.
// Source: sd_listen_fds(3); unix(7) SCM_RIGHTS; socket(7) SO_REUSEPORT, SO_ACCEPTCONN.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/address.h"
#include "net/descriptor.h"

namespace plimsoll::net {

class ListeningSockets {
public:
    /// `inherited`: as they were given, in any order. Errors: invalid, when one is not a listening stream socket.
    [[nodiscard]] static Result<std::shared_ptr<ListeningSockets>> create(std::vector<Descriptor> inherited);

    /// How many workers will listen on the same addresses (with reuse_port). Before the first take().
    void divide(std::uint32_t workers);
    /// The next worker's part of the inherited sockets of that address, all of them if it listens alone; empty when
    /// none are left, then one is opened. When there are more sockets than workers a worker gets several, so that none
    /// is left without somebody who accepts; when there are fewer, workers share.
    [[nodiscard]] std::vector<Descriptor> take(const Address& address, bool shared);
    /// Closes those that nobody took; their addresses.
    std::vector<std::string> close_rest();
    [[nodiscard]] std::size_t inherited() const { return inherited_count_; }

    /// A listener of this process opened or is about to close a socket.
    void opened(int fd);
    void closing(int fd);
    /// Copies of all that are open now. Errors: limit (no descriptors left).
    [[nodiscard]] Result<std::vector<Descriptor>> copies() const;

    /// From now on they belong to another process: closing one leaves its file in place.
    void hand_over() { handed_over_.store(true); }
    [[nodiscard]] bool handed_over() const { return handed_over_.load(); }

private:
    struct Group {
        Address address;
        std::vector<Descriptor> sockets;
        std::vector<std::vector<Descriptor>> parts;  ///< one a worker, made by the first take
        std::size_t taken = 0;
    };
    void part(Group& group) const;

    mutable std::mutex mutex_;  ///< guards what follows
    std::vector<Group> groups_;
    std::set<int> open_;
    std::uint32_t workers_ = 1;
    std::size_t inherited_count_ = 0;
    std::atomic<bool> handed_over_ = false;
};

}  // namespace plimsoll::net
