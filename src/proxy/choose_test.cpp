// Whom a request or a connection goes to by its hash: the same key stays, whatever else differs; keys are spread.
#include <set>

#include "proxy/test_world.h"

namespace plimsoll::proxy::test {
namespace {

class ByHash : public World {
protected:
    void hash(config::HashBy by, std::string name = {}) {
        config.pools[0].policy = config::Policy::maglev;
        config.pools[0].hash = {.by = by, .name = std::move(name)};
        install();
    }
    /// The port of the endpoint that answered; 0 = none did.
    int from(const std::string& answer) {
        for (const int port : {1, 2})
            if (has(answer, "from " + std::to_string(port))) return port;
        return 0;
    }
    /// `ask(i, k)`: the i-th request with key k. Each key has an endpoint of its own, and both endpoints have keys.
    void keys_stay(const std::function<int(int, int)>& ask) {
        std::map<int, int> keys_of;
        for (int key = 0; key < 20; ++key) {
            const int first = ask(0, key);
            ASSERT_NE(first, 0);
            ++keys_of[first];
            for (int i = 1; i < 4; ++i) EXPECT_EQ(ask(i, key), first) << "key " << key;
        }
        EXPECT_EQ(keys_of.size(), 2u);
    }
    static std::string client(int i) { return "192.0.2." + std::to_string(i + 1); }
};

TEST_F(ByHash, OfTheClient) {
    hash(config::HashBy::client);
    keys_stay([&](int i, int key) { return from(call(client(key)).ask(get("/" + std::to_string(i)))); });
}

TEST_F(ByHash, OfACookie) {
    hash(config::HashBy::cookie, "user");
    keys_stay([&](int i, int key) {
        const std::string line = "Cookie: a=" + std::to_string(i) + "; user=" + std::to_string(key) + "\r\n";
        return from(call(client(i)).ask(get("/" + std::to_string(i), line)));
    });
}

TEST_F(ByHash, OfAHeader) {
    hash(config::HashBy::header, "X-User");
    keys_stay(
        [&](int i, int key) { return from(call(client(i)).ask(get("/", "x-user: " + std::to_string(key) + "\r\n"))); });
}

TEST_F(ByHash, OfThePath) {
    hash(config::HashBy::path);
    keys_stay([&](int i, int key) { return from(call(client(i)).ask(get("/item/" + std::to_string(key)))); });
}

TEST_F(ByHash, OfTheClientOfATcpConnection) {
    config.listeners[0].protocol = config::Protocol::tcp;
    config.listeners[0].tcp = {{.sni = "", .pool = "web"}};
    config.routes.clear();
    hash(config::HashBy::client);
    keys_stay([&](int i, int key) { return from(call(client(key)).ask(get("/" + std::to_string(i)))); });
}

TEST_F(ByHash, WithoutTheCookieThePoolsPolicyDecides) {
    hash(config::HashBy::cookie, "user");
    std::set<int> asked;
    for (int i = 0; i < 40; ++i) asked.insert(from(call(client(0)).ask(get("/"))));
    EXPECT_EQ(asked, (std::set<int>{1, 2})) << "one client is not one key";
}

TEST_F(ByHash, AKeyMovesWhenItsEndpointLeavesAndComesBackWithIt) {
    hash(config::HashBy::header, "X-User");
    const auto ask = [&](int key) { return from(call().ask(get("/", "x-user: " + std::to_string(key) + "\r\n"))); };
    std::map<int, int> before;
    for (int key = 0; key < 20; ++key) before[key] = ask(key);
    const config::Pool whole = config.pools[0];
    config.pools[0].endpoints.pop_back();
    install(2);
    for (int key = 0; key < 20; ++key) EXPECT_EQ(ask(key), 1);
    config.pools[0] = whole;
    install(3);
    for (int key = 0; key < 20; ++key) EXPECT_EQ(ask(key), before[key]);
}

}  // namespace
}  // namespace plimsoll::proxy::test
