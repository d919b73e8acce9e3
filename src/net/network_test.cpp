// The same behaviour is asked of both networks, kernel and memory.
#include "net/network.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "net/loop.h"
#include "net/memory_network.h"

namespace plimsoll::net {
namespace {

using namespace std::chrono_literals;
using async::ok;

Task<Result<std::string>> read_all(Stream& stream, Deadline deadline) {
    std::string all;
    char buffer[1000];
    for (;;) {
        const std::size_t n = co_await ok(stream.read(buffer, deadline));
        if (n == 0) co_return all;
        all.append(buffer, n);
    }
}

Task<Result<std::unique_ptr<Stream>>> accept_one(Listener& listener) { co_return co_await listener.accept({}); }

Task<void> echo(std::unique_ptr<Stream> stream) {
    char buffer[4096];
    for (;;) {
        const Result<std::size_t> n = co_await stream->read(buffer, {});
        if (!n || *n == 0) break;
        if (!co_await stream->write_all(std::string_view(buffer, *n), {})) break;
    }
    stream->close();
}
Task<void> serve_echo(Network& network, std::unique_ptr<Listener> listener) {
    for (;;) {
        auto stream = co_await listener->accept({});
        if (!stream) co_return;
        network.spawn(echo(std::move(*stream)));
    }
}

struct Kind {
    std::string name;
    std::unique_ptr<Network> (*make)();
};

class Networks : public testing::TestWithParam<Kind> {
protected:
    std::unique_ptr<Network> network_ = GetParam().make();
    Address any_ = *Address::ip("127.0.0.1", 0);
    template <class T>
    T complete(Task<T> task) {
        std::optional<T> value = net::complete(*network_, std::move(task));
        if (!value) throw std::runtime_error("the network stopped before the task was done");
        return std::move(*value);
    }
    /// Both ends of a connection.
    std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> pair() {
        auto listener = *network_->listen(any_, {});
        auto near = complete(network_->connect(listener->address(), {}));
        auto far = complete(accept_one(*listener));
        return {std::move(*near), std::move(*far)};
    }
};

INSTANTIATE_TEST_SUITE_P(
    All, Networks,
    testing::Values(Kind{"kernel", [] { return std::unique_ptr<Network>(*Loop::create()); }},
                    Kind{"memory", [] { return std::unique_ptr<Network>(std::make_unique<MemoryNetwork>()); }}),
    [](const auto& info) { return info.param.name; });

Task<Result<std::string>> ask(Network& network, Address to, std::string text) {
    auto stream = co_await ok(network.connect(to, {}));
    co_await ok(stream->write_all(text, {}));
    stream->shutdown_write();
    co_return co_await read_all(*stream, {});
}

TEST_P(Networks, EchoesMoreThanAnyBufferHolds) {
    auto listener = *network_->listen(any_, {});
    const Address to = listener->address();
    EXPECT_NE(to.port(), 0);
    network_->spawn(serve_echo(*network_, std::move(listener)));
    std::string text;
    for (int i = 0; i < 4000; ++i) text += "line " + std::to_string(i) + "\n";
    EXPECT_EQ(complete(ask(*network_, to, text)).value(), text);
}

Task<Result<void>> write_pieces(Stream& stream, const std::vector<std::string>& texts) {
    std::vector<std::string_view> pieces(texts.begin(), texts.end());
    co_await ok(stream.write_all(pieces, {}));
    stream.shutdown_write();
    co_return Result<void>{};
}

Task<void> write_apart(Stream& stream, const std::vector<std::string>& texts) {
    (void)co_await write_pieces(stream, texts);
}

TEST_P(Networks, WritesManyPiecesOfAllSizesInOrder) {
    auto [near, far] = pair();
    std::vector<std::string> texts;
    std::string whole;
    for (std::size_t i = 0; i < 300; ++i) {
        texts.push_back(i % 7 == 0 ? "" : std::string(i * 97 % 40'000, static_cast<char>('a' + i % 26)));
        whole += texts.back();
    }
    async::Scope scope;
    scope.spawn(write_apart(*near, texts));
    const std::string got = complete(read_all(*far, {})).value();
    EXPECT_TRUE(got == whole) << got.size() << " against " << whole.size();
    EXPECT_EQ(near->written(), whole.size());
    EXPECT_EQ(far->received(), whole.size());
}

Task<Result<std::size_t>> read_once(Stream& stream, Deadline deadline) {
    char buffer[16];
    co_return co_await stream.read(buffer, deadline);
}

TEST_P(Networks, ReadTimesOutAtItsDeadlineAndTheStreamLivesOn) {
    auto [near, far] = pair();
    const Instant start = network_->now();
    const auto first = complete(read_once(*near, Deadline::after(start, 20ms)));
    ASSERT_FALSE(first);
    EXPECT_EQ(first.error().code, Code::timeout);
    EXPECT_GE(network_->now() - start, 20ms);
    EXPECT_EQ(far->try_write(std::array{std::string_view("abc")}).bytes, 3u);
    EXPECT_EQ(complete(read_once(*near, {})).value(), 3u);
}

TEST_P(Networks, ALaterDeadlineIsKeptThoughAnEarlierTimerIsSet) {
    auto [near, far] = pair();
    (void)complete(read_once(*near, Deadline::after(network_->now(), 5ms)));
    const Instant start = network_->now();
    const auto second = complete(read_once(*near, Deadline::after(start, 30ms)));
    EXPECT_EQ(second.error().code, Code::timeout);
    EXPECT_GE(network_->now() - start, 30ms);
}

Task<void> close_later(Network& network, Stream& stream, Instant at) {
    co_await network.sleep_until(at);
    stream.close();
    EXPECT_TRUE(stream.closed());
}

TEST_P(Networks, CloseWakesWhoWaits) {
    auto [near, far] = pair();
    network_->spawn(close_later(*network_, *near, network_->now() + 5ms));
    const auto got = complete(read_once(*near, {}));
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, Code::cancelled);
    EXPECT_EQ(complete(read_once(*far, {})).value(), 0u);
    EXPECT_EQ(complete(read_once(*near, {})).error().code, Code::cancelled);
}

TEST_P(Networks, AbortIsSeenAsAReset) {
    auto [near, far] = pair();
    near->abort();
    EXPECT_EQ(complete(read_once(*far, {})).error().code, Code::reset);
}

Task<Result<void>> wait_readable(Stream& stream, Deadline deadline) { co_return co_await stream.readable(deadline); }
Task<void> sleep_for(Network& network, Duration d) { co_await network.sleep_until(network.now() + d); }
Task<int> slept(Network& network, Duration d) {
    co_await network.sleep_until(network.now() + d);
    co_return 1;
}

TEST_P(Networks, AQuietConnectionIsToldFromOneThatThePeerClosed) {
    auto [near, far] = pair();
    (void)complete(slept(*network_, 1ms));
    EXPECT_TRUE(near->quiet());
    EXPECT_EQ(complete(wait_readable(*near, Deadline::after(network_->now(), 5ms))).error().code, Code::timeout);
    far->close();
    EXPECT_TRUE(complete(wait_readable(*near, {})));
    EXPECT_FALSE(near->quiet());
    EXPECT_EQ(complete(read_once(*near, {})).value(), 0u);
}

TEST_P(Networks, NobodyListening) {
    auto listener = *network_->listen(any_, {});
    const Address to = listener->address();
    listener->close();
    const auto stream = complete(network_->connect(to, {}));
    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().code, Code::refused);
    EXPECT_EQ(stream.error().side, Side::upstream);
    EXPECT_EQ(complete(accept_one(*listener)).error().code, Code::cancelled);
}

TEST_P(Networks, ListeningTwiceIsAConflictUnlessThePortIsShared) {
    auto first = *network_->listen(any_, {.reuse_port = true});
    EXPECT_TRUE(network_->listen(first->address(), {.reuse_port = true}));
    const auto third = network_->listen(first->address(), {});
    ASSERT_FALSE(third);
    EXPECT_EQ(third.error().code, Code::conflict);
}

TEST_P(Networks, SleepsInOrder) {
    std::string order;
    const auto note = [&](char c) { order += c; };
    const Instant start = network_->now();
    struct Local {
        static Task<void> at(Network& network, Instant when, std::string& order, char c) {
            co_await network.sleep_until(when);
            order += c;
        }
    };
    network_->spawn(Local::at(*network_, start + 30ms, order, 'c'));
    network_->spawn(Local::at(*network_, start + 10ms, order, 'a'));
    network_->spawn(Local::at(*network_, start + 20ms, order, 'b'));
    (void)complete(slept(*network_, 40ms));
    note('d');
    EXPECT_EQ(order, "abcd");
    EXPECT_GE(network_->now() - start, 40ms);
    EXPECT_LT(network_->now() - start, 2s);
}

TEST_P(Networks, PostedWorkRunsInOrder) {
    std::string order;
    network_->post([&] { order += 'a'; });
    network_->post([&] {
        order += 'b';
        network_->post([&] {
            order += 'c';
            network_->stop();
        });
    });
    network_->run();
    EXPECT_EQ(order, "abc");
}

TEST_P(Networks, DestroyingAScopeEndsItsWaits) {
    auto [near, far] = pair();
    {
        async::Scope scope;
        struct Local {
            static Task<void> read(Stream& stream) { (void)co_await read_once(stream, {}); }
        };
        scope.spawn(Local::read(*near));
        scope.spawn(sleep_for(*network_, 1ms));
    }
    (void)complete(slept(*network_, 5ms));
    (void)far->try_write(std::array{std::string_view("x")});
    EXPECT_EQ(complete(read_once(*near, {})).value(), 1u);
}

TEST_P(Networks, UnixDomain) {
    const std::string path = testing::TempDir() + "plimsoll-net-" + std::to_string(::getpid()) + ".sock";
    const Address address = *Address::unix_socket(path);
    auto listener = *network_->listen(address, {});
    EXPECT_EQ(network_->listen(address, {}).error().code, Code::conflict);
    network_->spawn(serve_echo(*network_, std::move(listener)));
    EXPECT_EQ(complete(ask(*network_, address, "hello")).value(), "hello");
}

TEST(Loop, PostFromAnotherThreadWakesIt) {
    auto loop = *Loop::create();
    int count = 0;
    std::thread other([&] {
        for (int i = 0; i < 1000; ++i) loop->post([&] { ++count; });
        loop->post([&] { loop->stop(); });
    });
    loop->run();
    other.join();
    EXPECT_EQ(count, 1000);
}

TEST(Loop, WithoutDescriptorsItPausesAndThenServes) {
#if __has_feature(undefined_behavior_sanitizer)
    GTEST_SKIP() << "the sanitizer itself needs descriptors to look at memory";
#endif
    auto loop = *Loop::create();
    auto listener = *loop->listen(*Address::ip("127.0.0.1", 0), {});
    auto near = complete(*loop, loop->connect(listener->address(), {}));
    ASSERT_TRUE(near->has_value());
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit none = before;
    none.rlim_cur = 3;  // fewer than are open: accept4 gives EMFILE
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    const auto failed = complete(*loop, listener->accept(Deadline::after(loop->now(), 20ms)));
    const auto no_more = complete(*loop, loop->connect(listener->address(), {}));
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_EQ(failed->error().code, Code::timeout);
    EXPECT_EQ(no_more->error().code, Code::limit);
    EXPECT_EQ(no_more->error().side, Side::us);
    EXPECT_EQ(listener->accept_pauses(), 1u);
    const auto accepted = complete(*loop, listener->accept(Deadline::after(loop->now(), 2s)));
    EXPECT_TRUE(accepted->has_value());
}

TEST(MemoryNetwork, FaultsOfConnecting) {
    MemoryNetwork network;
    const Address at = *Address::ip("10.0.0.1", 80);
    auto listener = *network.listen(at, {});
    network.faults(at).connect = Faults::Connect::hang;
    const Instant start = network.now();
    EXPECT_EQ(complete(network, network.connect(at, Deadline::after(start, 500ms)))->error().code, Code::timeout);
    EXPECT_EQ(network.now() - start, 500ms);
    network.faults(at).connect = Faults::Connect::refuse;
    EXPECT_EQ(complete(network, network.connect(at, {}))->error().code, Code::refused);
    network.faults(at).connect = Faults::Connect::unreachable;
    EXPECT_EQ(complete(network, network.connect(at, {}))->error().code, Code::unreachable);
    network.faults(at) = Faults{.connect_delay = 70ms};
    const Instant again = network.now();
    EXPECT_TRUE(complete(network, network.connect(at, {}))->has_value());
    EXPECT_EQ(network.now() - again, 70ms);
    EXPECT_EQ(network.connections_to(at), 1u);
}

TEST(MemoryNetwork, LatencyAndResetAfterSoManyBytes) {
    MemoryNetwork network;
    const Address at = *Address::ip("10.0.0.1", 80);
    auto listener = *network.listen(at, {});
    network.faults(at) = Faults{.latency = 3ms, .reset_after_received = 10};
    auto near = *complete(network, network.connect(at, {}));
    auto far = *complete(network, accept_one(*listener));
    const Instant start = network.now();
    EXPECT_EQ((*far)->try_write(std::array{std::string_view("abcdef")}).bytes, 6u);
    EXPECT_EQ((*near)->quiet(), true);
    EXPECT_EQ(complete(network, read_once(**near, {}))->value(), 6u);
    EXPECT_EQ(network.now() - start, 3ms);
    EXPECT_EQ((*far)->try_write(std::array{std::string_view("ghijklmn")}).bytes, 4u);
    EXPECT_EQ((*far)->try_write(std::array{std::string_view("x")}).code, Code::reset);
    EXPECT_EQ(complete(network, read_once(**near, {}))->value(), 4u);
    EXPECT_EQ(complete(network, read_once(**near, {}))->error().code, Code::reset);
}

TEST(MemoryNetwork, TheSameRunTwiceIsTheSame) {
    const auto run = [] {
        MemoryNetwork network;
        std::string log;
        const Address at = *Address::ip("10.0.0.1", 80);
        network.faults(at).latency = 1ms;
        network.spawn(serve_echo(network, *network.listen(at, {})));
        struct Local {
            static Task<void> client(Network& n, Address to, int id, std::string& log) {
                co_await n.sleep_until(n.now() + Duration{id * 137 % 11 * 100'000});
                auto got = co_await ask(n, to, std::to_string(id));
                log += got.value() + "@" + std::to_string(n.now().ns) + " ";
            }
        };
        for (int i = 0; i < 50; ++i) network.spawn(Local::client(network, at, i, log));
        network.run();
        return log;
    };
    EXPECT_EQ(run(), run());
    EXPECT_NE(run(), "");
}

TEST(Address, TextAndParts) {
    EXPECT_EQ(Address::ip("127.0.0.1", 80)->text(), "127.0.0.1:80");
    EXPECT_EQ(Address::ip("2001:db8::1", 443)->text(), "[2001:db8::1]:443");
    EXPECT_EQ(Address::ip("127.0.0.1", 80)->host_bytes(), std::string_view("\x7f\0\0\1", 4));
    EXPECT_FALSE(Address::ip("localhost", 80));
    EXPECT_FALSE(Address::ip("1.2.3.256", 80));
    EXPECT_FALSE(Address::unix_socket(std::string(108, 'x')));
    EXPECT_EQ(Address::unix_socket("/run/x")->text(), "unix:/run/x");
    EXPECT_EQ(Address().text(), "-");
}

}  // namespace
}  // namespace plimsoll::net
