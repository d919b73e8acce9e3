#include "net/listening_sockets.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "net/loop.h"

namespace plimsoll::net {
namespace {

struct Process {
    std::shared_ptr<ListeningSockets> sockets;
    std::vector<std::unique_ptr<Loop>> workers;
    std::vector<std::unique_ptr<Listener>> listeners;

    explicit Process(std::size_t count, std::vector<Descriptor> inherited = {})
        : sockets(*ListeningSockets::create(std::move(inherited))) {
        sockets->divide(static_cast<std::uint32_t>(count));
        for (std::size_t i = 0; i < count; ++i) workers.push_back(*Loop::create(sockets));
    }
    void listen(Address address) {
        for (const auto& worker : workers) {
            auto listener = worker->listen(address, {.reuse_port = workers.size() > 1});
            ASSERT_TRUE(listener) << listener.error().detail;
            address = (*listener)->address();
            listeners.push_back(std::move(*listener));
        }
    }
    /// Connections that wait for any of the workers.
    std::size_t accept_all() {
        std::size_t count = 0;
        for (const auto& worker : workers) worker->turn(worker->now());
        for (const auto& listener : listeners)
            while (listener->try_accept()) ++count;
        return count;
    }
};

Descriptor connected(const Address& to) {
    Descriptor socket(::socket(to.family() == Address::Family::unix_socket ? AF_UNIX : AF_INET, SOCK_STREAM, 0));
    sockaddr_storage storage;
    const auto length = static_cast<socklen_t>(to.to_kernel(storage));
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length), 0);
    return socket;
}

class HandOver : public testing::TestWithParam<std::pair<std::size_t, std::size_t>> {};

/// Whoever connected before, during or after is accepted by somebody, however many workers there are on either side.
TEST_P(HandOver, NoConnectionIsLost) {
    const auto [before, after] = GetParam();
    Process old(before);
    old.listen(*Address::ip("127.0.0.1", 0));
    const Address address = old.listeners[0]->address();
    std::vector<Descriptor> clients;
    const auto connect_some = [&] {
        for (int i = 0; i < 40; ++i) clients.push_back(connected(address));
    };
    connect_some();  // nobody has accepted these
    auto handed = old.sockets->copies();
    ASSERT_TRUE(handed);
    EXPECT_EQ(handed->size(), before);
    Process next(after, std::move(*handed));
    EXPECT_EQ(next.sockets->inherited(), before);
    next.listen(address);
    connect_some();
    for (const auto& listener : old.listeners) listener->close();
    connect_some();
    EXPECT_EQ(next.accept_all(), 120u);
    EXPECT_TRUE(next.sockets->close_rest().empty());
    EXPECT_EQ(next.sockets->copies()->size(), std::max(before, after)) << "what it would hand on itself";
}
INSTANTIATE_TEST_SUITE_P(Workers, HandOver,
                         testing::Values(std::pair{1u, 1u}, std::pair{4u, 4u}, std::pair{4u, 1u}, std::pair{1u, 4u},
                                         std::pair{5u, 2u}, std::pair{2u, 5u}));

TEST(ListeningSockets, WhatNobodyTakesIsClosed) {
    Process old(2);
    old.listen(*Address::ip("127.0.0.1", 0));
    const Address address = old.listeners[0]->address();
    Process next(2, std::move(*old.sockets->copies()));
    EXPECT_EQ(next.sockets->close_rest(), std::vector{address.text()});
    EXPECT_TRUE(next.sockets->take(address, true).empty());
    old.listeners.clear();
    EXPECT_TRUE(old.sockets->copies()->empty());
}

TEST(ListeningSockets, AUnixSocketsFileStaysWhenItIsHandedOver) {
    char directory[] = "/tmp/plimsoll-test-XXXXXX";
    ASSERT_NE(::mkdtemp(directory), nullptr);
    const std::string path = std::string(directory) + "/admin.sock";
    const Address address = *Address::unix_socket(path);
    Process old(1);
    old.listen(address);
    Process next(1, std::move(*old.sockets->copies()));
    old.sockets->hand_over();
    old.listeners[0]->close();
    next.listen(address);
    const Descriptor client = connected(address);
    EXPECT_EQ(next.accept_all(), 1u);
    next.listeners[0]->close();
    EXPECT_FALSE(std::filesystem::exists(path)) << "the last one removes it";
    std::filesystem::remove_all(directory);
}

TEST(ListeningSockets, OnlyListeningStreamsAreTaken) {
    std::vector<Descriptor> some;
    some.emplace_back(::socket(AF_INET, SOCK_STREAM, 0));
    EXPECT_FALSE(ListeningSockets::create(std::move(some)));
    std::vector<Descriptor> datagrams;
    datagrams.emplace_back(::socket(AF_INET, SOCK_DGRAM, 0));
    EXPECT_FALSE(ListeningSockets::create(std::move(datagrams)));
    std::vector<Descriptor> none;
    none.emplace_back(9999);
    EXPECT_FALSE(ListeningSockets::create(std::move(none)));
}

}  // namespace
}  // namespace plimsoll::net
