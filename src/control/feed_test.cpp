#include "control/feed.h"

#include <gtest/gtest.h>

#include "async/scope.h"
#include "async/task.h"

namespace plimsoll::control {
namespace {

async::Task<void> read_all(Feed& feed, std::vector<std::string>& into, bool& ended) {
    for (std::size_t i = 0; co_await feed.has(i); ++i) into.push_back(feed.lines()[i]);
    ended = true;
}

TEST(Feed, EveryReaderSeesEveryLineFromTheStart) {
    Feed feed;
    feed.push("one");
    async::Scope scope;
    std::vector<std::string> first, second;
    bool first_ended = false, second_ended = false;
    scope.spawn(read_all(feed, first, first_ended));
    feed.push("two");
    scope.spawn(read_all(feed, second, second_ended));
    feed.push("three");
    feed.close();
    const std::vector<std::string> all{"one", "two", "three"};
    EXPECT_EQ(first, all);
    EXPECT_EQ(second, all);
    EXPECT_TRUE(first_ended && second_ended);
}

TEST(Feed, AReaderThatIsGoneIsNotWoken) {
    Feed feed;
    std::vector<std::string> lines;
    bool ended = false;
    {
        async::Scope scope;
        scope.spawn(read_all(feed, lines, ended));
        feed.push("one");
    }
    feed.push("two");
    feed.close();
    EXPECT_EQ(lines, std::vector<std::string>{"one"});
    EXPECT_FALSE(ended);
}

}  // namespace
}  // namespace plimsoll::control
