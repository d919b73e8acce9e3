// Two workers of one process: what one of them learns of a failing endpoint holds for both.
#include <array>
#include <span>

#include "proxy/test_world.h"

namespace plimsoll::proxy::test {
namespace {

constexpr std::array<std::uint16_t, 6> all_ports{1, 2, 3, 4, 5, 6};
const Reply oops{"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"};

class TwoWorkers : public World {
protected:
    TwoWorkers() {
        config.access_log.clear();
        config.pools = {pool("web", {1, 2, 3, 4, 5, 6})};
        config.pools[0].ejection = {.enabled = true, .consecutive = 3, .base = 10s, .max_fraction = 0.34};
        config.pools[0].panic_threshold = 0;
    }
    /// Both serve the same revision, each at a port of its own, so that the test says who serves a request.
    void install_both() {
        for (std::size_t i = 0; i < both.size(); ++i) {
            config.listeners[0].address.port = static_cast<std::uint16_t>(80 + i);
            EXPECT_EQ(both[i]->install({.active = compile(1 + i)}), std::vector<std::string>{});
        }
    }
    Caller call_worker(std::size_t i) {
        Caller caller(network, network.open(*net::Address::ip("10.9.9.9", static_cast<std::uint16_t>(80 + i)),
                                            *net::Address::ip("192.0.2.7", 5000)));
        network.run_until_idle();
        return caller;
    }
    bool is_out(std::size_t worker, std::uint16_t port) {
        return both[worker]->endpoint_state(id(port)).ejected_until > network.now();
    }

    std::shared_ptr<balance::SharedEjections> ejections = std::make_shared<balance::SharedEjections>();
    std::array<std::unique_ptr<Worker>, 2> both{
        std::make_unique<Worker>(network,
                                 WorkerSettings{.index = WorkerIndex{0}, .workers = 2, .ejections = ejections}),
        std::make_unique<Worker>(
            network, WorkerSettings{.index = WorkerIndex{1}, .workers = 2, .seed = 1, .ejections = ejections})};
};

TEST_F(TwoWorkers, CountARowTogetherAndSendNothingMore) {
    backend(1).reply = [](const std::string&) { return oops; };
    install_both();
    Caller first = call_worker(0), second = call_worker(1);
    int failed = 0;
    for (int i = 0; i < 60; ++i) {
        failed += has(first.ask(get()), "500 Oops");
        failed += has(second.ask(get()), "500 Oops");
    }
    EXPECT_EQ(failed, 3) << "one row, not one for each worker";
    EXPECT_TRUE(is_out(0, 1));
    EXPECT_TRUE(is_out(1, 1));
}

TEST_F(TwoWorkers, HaveOneCeiling) {
    for (const std::uint16_t port : std::span(all_ports).first(4))
        backend(port).reply = [](const std::string&) { return oops; };
    install_both();
    Caller first = call_worker(0), second = call_worker(1);
    for (int i = 0; i < 100; ++i) {
        first.say(get());
        second.say(get());
        (void)first.hear();
        (void)second.hear();
    }
    for (std::size_t worker = 0; worker < 2; ++worker) {
        int out = 0;
        for (const std::uint16_t port : all_ports) out += is_out(worker, port);
        EXPECT_EQ(out, 2) << "a third of six";
    }
    for (const std::uint16_t port : all_ports) EXPECT_EQ(is_out(0, port), is_out(1, port)) << port;
}

TEST_F(TwoWorkers, JudgeSuccessRatesOnWhatBothSaw) {
    config.pools[0].ejection.consecutive = 1000;
    config.pools[0].ejection.success_rate = true;
    config.pools[0].ejection.min_requests = 50;
    int asked = 0;
    backend(4).reply = [&](const std::string&) { return ++asked % 2 == 0 ? oops : Reply{ok_bytes("fine")}; };
    install_both();
    Caller first = call_worker(0), second = call_worker(1);
    for (int i = 0; i < 180; ++i) {  // each worker sends 30 to each endpoint
        (void)first.ask(get());
        (void)second.ask(get());
    }
    EXPECT_FALSE(is_out(0, 4));
    network.advance(10s);
    (void)second.ask(get());
    EXPECT_TRUE(is_out(1, 4));
    (void)first.ask(get());
    EXPECT_TRUE(is_out(0, 4)) << "told to the other";
    EXPECT_FALSE(is_out(0, 1));
}

TEST_F(TwoWorkers, HeedRetryAfterTogether) {
    backend(2).reply = [](const std::string&) {
        return Reply{"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"};
    };
    install_both();
    Caller first = call_worker(0), second = call_worker(1);
    int busy = 0;
    for (int i = 0; i < 20; ++i) {
        busy += has(first.ask(get()), "503 Busy");
        busy += has(second.ask(get()), "503 Busy");
    }
    EXPECT_EQ(busy, 1);
}

}  // namespace
}  // namespace plimsoll::proxy::test
