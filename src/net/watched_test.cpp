// Descriptors of others, on the kernel's loop; and that the network in memory says what it cannot do.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "net/loop.h"
#include "net/memory_network.h"

namespace plimsoll::net {
namespace {

using namespace std::chrono_literals;

struct Pipe {
    Pipe() { EXPECT_EQ(::pipe(end.data()), 0); }
    ~Pipe() {
        for (const int fd : end) ::close(fd);
    }
    void put(char c) const { EXPECT_EQ(::write(end[1], &c, 1), 1); }
    std::array<int, 2> end{};
};

Task<Result<void>> read_twice(Watched& watched, int& seen) {
    for (int i = 0; i < 2; ++i) {
        co_await ok(watched.readable(Deadline::none()));
        ++seen;
    }
    co_return Result<void>{};
}

TEST(Watched, SaysSoAgainWhileSomethingWaitsToBeRead) {
    auto loop = std::move(*Loop::create());
    const Pipe pipe;
    auto watched = loop->watch(pipe.end[0]);
    ASSERT_TRUE(watched);
    pipe.put('a');  // nobody reads it
    int seen = 0;
    const auto done = complete(*loop, read_twice(**watched, seen));
    ASSERT_TRUE(done && *done);
    EXPECT_EQ(seen, 2);
}

TEST(Watched, TheDeadlineEndsTheWaitAndAnotherMayFollow) {
    auto loop = std::move(*Loop::create());
    const Pipe pipe;
    auto watched = loop->watch(pipe.end[0]);
    ASSERT_TRUE(watched);
    const auto late = complete(*loop, (*watched)->readable(Deadline::after(loop->now(), 5ms)));
    ASSERT_TRUE(late);
    ASSERT_FALSE(*late);
    EXPECT_EQ(late->error().code, Code::timeout);
    pipe.put('a');
    const auto there = complete(*loop, (*watched)->readable(Deadline::after(loop->now(), 5s)));
    EXPECT_TRUE(there && *there);
}

TEST(Watched, OneThatIsGoneLeavesItsDescriptorAlone) {
    auto loop = std::move(*Loop::create());
    const Pipe pipe;
    loop->watch(pipe.end[0])->reset();
    pipe.put('a');
    loop->turn(loop->now() + Duration(1ms));
    char c = 0;
    EXPECT_EQ(::read(pipe.end[0], &c, 1), 1);
}

TEST(Watched, TheNetworkInMemoryHasNoDescriptors) {
    MemoryNetwork network;
    const auto watched = network.watch(0);
    ASSERT_FALSE(watched);
    EXPECT_EQ(watched.error().code, Code::invalid);
}

}  // namespace
}  // namespace plimsoll::net
