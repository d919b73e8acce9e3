// Workers share contexts and ticket keys; the sanitizer for threads runs this.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tls/test_world.h"

namespace plimsoll::tls {
namespace {

struct Shared {
    test::Stage stage;  ///< its network is the main thread's; the certificates are everybody's
    std::shared_ptr<TicketKeys> keys = std::make_shared<TicketKeys>();
    std::shared_ptr<const ServerContext> server;
    std::shared_ptr<const ClientContext> client;
    Shared() {
        ServerSettings settings = stage.server_settings();
        settings.ticket_keys = keys;
        settings.client_auth = ClientAuth::optional;
        settings.client_authorities = stage.world.root.trust();
        settings.alpn = {"h2"};
        server = ServerContext::create(std::move(settings)).value();
        ClientSettings wishes = stage.client_settings();
        wishes.certificate = stage.world.issue({"DNS:client"}).load("client");
        wishes.alpn = {"h2"};
        client = ClientContext::create(std::move(wishes)).value();
    }
};

void work(const Shared& shared, int visits, std::atomic<int>& good, std::atomic<int>& resumed) {
    net::MemoryNetwork network;
    const net::Address address = *net::Address::ip("127.0.0.1", 443);
    const auto listener = *network.listen(address, {});
    for (int i = 0; i < visits; ++i) {
        test::Ends ends;
        async::Scope scope;
        auto near = network.open(address, *net::Address::ip("127.0.0.2", 1000));
        scope.spawn(test::keep(accept(listener->try_accept(), shared.server, {}), ends.server));
        scope.spawn(test::keep(connect(std::move(near), shared.client, "a.example", {}), ends.client));
        network.run_until_idle();
        if (!ends.both()) continue;
        test::write_now(ends.at_server(), "hello");
        if (test::read_now(ends.at_client()) == "hello" && !ends.at_server().facts().peer_fingerprint.empty()) ++good;
        if (ends.at_server().facts().resumed) ++resumed;
    }
}

TEST(Threads, ShareContextsWhileKeysRotate) {
    constexpr int visits = 60;
    Shared shared;
    std::atomic<int> good = 0, resumed = 0;
    std::thread a(work, std::cref(shared), visits, std::ref(good), std::ref(resumed));
    std::thread b(work, std::cref(shared), visits, std::ref(good), std::ref(resumed));
    for (int i = 0; i < 20; ++i) {
        shared.keys->rotate();
        std::this_thread::yield();
    }
    a.join();
    b.join();
    EXPECT_EQ(good, 2 * visits);
    EXPECT_GT(resumed, 0);
}

}  // namespace
}  // namespace plimsoll::tls
