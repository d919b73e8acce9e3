// The worker on real sockets: what virtual time cannot show.
#include <gtest/gtest.h>

#include "net/loop.h"
#include "proxy/worker.h"

#pragma clang diagnostic ignored "-Wmissing-designated-field-initializers"

namespace plimsoll::proxy {
namespace {

using async::ok;
using async::Task;
using namespace std::chrono_literals;

/// Answers each request, whatever it is, with `size` bytes.
Task<void> answer(std::unique_ptr<net::Stream> stream, std::size_t size) {
    const std::string text =
        "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n" + std::string(size, 'x');
    char buffer[65536];
    for (;;) {
        auto n = co_await stream->read(buffer, {});
        if (!n || *n == 0 || !co_await stream->write_all(text, {})) co_return;
    }
}
Task<void> backend(net::Network& network, std::unique_ptr<net::Listener> listener, std::size_t size) {
    for (;;) {
        auto stream = co_await listener->accept({});
        if (!stream) co_return;
        network.spawn(answer(std::move(*stream), size));
    }
}

/// Asks `times` on one connection; gives the bytes of bodies that came.
Task<Result<std::size_t>> ask(net::Network& network, net::Address to, std::size_t size, int times) {
    auto stream = co_await ok(network.connect(to, {}));
    std::size_t total = 0;
    std::vector<char> buffer(200'000);
    for (int i = 0; i < times; ++i) {
        co_await ok(stream->write_all("GET / HTTP/1.1\r\nHost: a\r\n\r\n", {}));
        std::string text;
        std::size_t head = std::string::npos;
        while (head == std::string::npos || text.size() < head + 4 + size) {
            const std::size_t n =
                co_await ok(stream->read(buffer, async::Deadline::after(network.now(), std::chrono::seconds(5))));
            if (n == 0) co_return fail(Code::closed, "closed after " + std::to_string(total));
            text.append(buffer.data(), n);
            head = text.find("\r\n\r\n");
        }
        total += text.size() - head - 4;
    }
    co_return total;
}
Task<void> ask_beside(net::Network& network, net::Address to, std::size_t size, int times, std::size_t& sum) {
    const Result<std::size_t> got = co_await ask(network, to, size, times);
    EXPECT_TRUE(got) << (got ? "" : got.error().detail);
    sum += got.value_or(0);
}
Task<int> join(async::Scope& scope) {
    co_await scope.join();
    co_return 0;
}

class Kernel : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Bodies, Kernel, testing::Values(0, 100, 100'000, 3'000'000));

TEST_P(Kernel, CarriesRequestsOverRealSocketsDuringSwaps) {
    const std::size_t size = GetParam();
    const int times = size > 1'000'000 ? 3 : 50;
    auto loop = *net::Loop::create();
    config::Config config;
    config.listeners.push_back({.name = "web", .address = {"127.0.0.1", 0}});
    config.routes.push_back({.name = "all", .match = {}, .pool = "web"});
    config.pools.emplace_back().name = "web";
    for (int i = 0; i < 3; ++i) {
        auto listener = *loop->listen(*net::Address::ip("127.0.0.1", 0), {});
        config.pools[0].endpoints.push_back({.name = "b", .address = {"127.0.0.1", listener->address().port()}});
        loop->spawn(backend(*loop, std::move(listener), size));
    }
    snapshot::Identities identities;
    Worker worker(*loop, {.seed = 1});
    const auto install = [&](std::uint64_t revision) {
        EXPECT_TRUE(
            worker.install({.active = snapshot::compile(config, RevisionNumber{revision}, identities, 1)}).empty());
    };
    install(1);
    const net::Address to = worker.listening().at(0);
    std::size_t sum = 0;
    async::Scope askers;
    for (int i = 0; i < 8; ++i) askers.spawn(ask_beside(*loop, to, size, times, sum));
    for (std::uint64_t revision = 2; revision < 20; ++revision) loop->post([&, revision] { install(revision); });
    ASSERT_TRUE(net::complete(*loop, join(askers)));
    EXPECT_EQ(sum, size * 8 * static_cast<std::size_t>(times));
    const Report report = worker.collect();
    EXPECT_EQ(report.tally.arms[0].all_routes().requests, 8u * static_cast<unsigned>(times));
    EXPECT_EQ(report.tally.arms[0].all_routes().failed, 0u);
    EXPECT_EQ(report.tally.connections_accepted, 8u);
    worker.drain(async::Deadline::after(loop->now(), 1s));
}

}  // namespace
}  // namespace plimsoll::proxy
