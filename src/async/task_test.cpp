#include "async/task.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "async/deadline.h"
#include "async/scope.h"

namespace plimsoll::async {
namespace {

/// Waits until somebody opens it: what stands in for a socket here.
class Gate {
public:
    struct Await {
        Gate& gate;
        [[nodiscard]] bool await_ready() const { return gate.open_; }
        void await_suspend(std::coroutine_handle<> handle) { gate.waiting_.push_back(handle); }
        void await_resume() const {}
    };
    Await wait() { return {*this}; }
    void open() {
        open_ = true;
        for (auto handle : std::exchange(waiting_, {})) handle.resume();
    }

private:
    bool open_ = false;
    std::vector<std::coroutine_handle<>> waiting_;
};

/// Gives a Result after waiting, as a stream's read does.
struct Reading {
    Gate* gate;
    Result<int> value;
    [[nodiscard]] bool await_ready() const { return gate == nullptr; }
    void await_suspend(std::coroutine_handle<> handle) { gate->wait().await_suspend(handle); }
    Result<int> await_resume() { return value; }
};

struct Noted {
    std::vector<std::string>& log;
    std::string name;
    Noted(std::vector<std::string>& l, std::string n) : log(l), name(std::move(n)) {}
    Noted(const Noted&) = delete;
    ~Noted() { log.push_back("end " + name); }
};

template <class T>
Task<void> store(Task<T> task, std::optional<T>& into) {
    into.emplace(co_await std::move(task));
}

Task<int> twice(int n) { co_return n * 2; }
Task<int> sum(int depth) {
    if (depth == 0) co_return 0;
    co_return 1 + co_await sum(depth - 1);
}
Task<int> count_loop(int rounds) {
    int total = 0;
    for (int i = 0; i < rounds; ++i) total += co_await twice(1);
    co_return total;
}

TEST(Task, GivesItsValueAndIsLazy) {
    Scope scope;
    std::optional<int> value;
    Task<void> task = store(twice(21), value);
    EXPECT_FALSE(value);
    scope.spawn(std::move(task));
    EXPECT_EQ(value, 42);
    EXPECT_EQ(scope.running(), 0u);
}

TEST(Task, DeepChainsAndLongLoopsUseNoStack) {
    Scope scope;
    std::optional<int> deep, loop;
    scope.spawn(store(sum(20'000), deep));
    scope.spawn(store(count_loop(200'000), loop));
    EXPECT_EQ(deep, 20'000);
    EXPECT_EQ(loop, 400'000);
}

TEST(Task, FramesAreUsedAgain) {
    Scope scope;
    std::optional<int> value;
    scope.spawn(store(count_loop(10), value));
    const std::size_t before = frames_from_heap();
    for (int i = 0; i < 100; ++i) scope.spawn(store(count_loop(10), value));
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer)
    EXPECT_EQ(frames_from_heap(), before);
#else
    EXPECT_GT(frames_from_heap(), before);
#endif
}

Task<Result<int>> half(int n) {
    if (n % 2 != 0) co_return fail(Code::invalid, "odd");
    co_return n / 2;
}
Task<Result<int>> quarter(std::vector<std::string>& log, int n) {
    const Noted note(log, "quarter");
    const int h = co_await ok(half(n));
    log.push_back("half is " + std::to_string(h));
    const int q = co_await ok(half(h));
    co_return q;
}
Task<Result<std::string>> describe(std::vector<std::string>& log, int n) {
    const Noted note(log, "describe");
    const int q = co_await ok(quarter(log, n));
    co_return std::to_string(q);
}
Task<Result<std::string>> tell(std::vector<std::string>& log, int n) {
    Result<std::string> text = co_await describe(log, n);
    log.push_back("after");
    co_return text;
}

TEST(Ok, GivesTheValue) {
    Scope scope;
    std::vector<std::string> log;
    std::optional<Result<std::string>> text;
    scope.spawn(store(tell(log, 12), text));
    ASSERT_TRUE(text);
    EXPECT_EQ(text->value(), "3");
}

TEST(Ok, EndsTheEnclosingCoroutinesWithTheErrorAndCleansUpBeforeTheCallerGoesOn) {
    Scope scope;
    std::vector<std::string> log;
    std::optional<Result<std::string>> text;
    scope.spawn(store(tell(log, 6), text));
    ASSERT_TRUE(text);
    EXPECT_EQ(text->error().detail, "odd");
    EXPECT_EQ(log, (std::vector<std::string>{"half is 3", "end quarter", "end describe", "after"}));
}

Task<Result<int>> read_twice(Gate* gate, Result<int> first, Result<int> second) {
    const int a = co_await ok(Reading{nullptr, std::move(first)});
    const int b = co_await ok(Reading{gate, std::move(second)});
    co_return a + b;
}

TEST(Ok, WaitsForAwaitersToo) {
    Scope scope;
    Gate gate;
    std::optional<Result<int>> good, late_error, early_error;
    scope.spawn(store(read_twice(&gate, 1, 2), good));
    scope.spawn(store(read_twice(&gate, 1, fail(Code::reset, "second")), late_error));
    scope.spawn(store(read_twice(&gate, fail(Code::timeout, "first"), 2), early_error));
    EXPECT_EQ(early_error->error().code, Code::timeout);
    EXPECT_FALSE(good);
    gate.open();
    EXPECT_EQ(good->value(), 3);
    EXPECT_EQ(late_error->error().code, Code::reset);
}

Task<Result<void>> nothing(Result<void> result) {
    co_await ok(std::move(result));
    co_return Result<void>{};
}

TEST(Ok, TakesResultsWithoutAValue) {
    Scope scope;
    std::optional<Result<void>> good, bad;
    scope.spawn(store(nothing({}), good));
    scope.spawn(store(nothing(fail(Code::io, "disk")), bad));
    EXPECT_TRUE(good->has_value());
    EXPECT_EQ(bad->error().detail, "disk");
}

Task<void> wait_and_note(std::vector<std::string>& log, Gate& gate, std::string name) {
    const Noted note(log, name);
    co_await gate.wait();
    log.push_back("through " + name);
}
Task<void> join_and_note(std::vector<std::string>& log, Scope& scope) {
    co_await scope.join();
    log.push_back("joined");
}

TEST(Scope, JoinsWhatItSpawned) {
    std::vector<std::string> log;
    Gate first, second;
    Scope scope, outer;
    scope.spawn(wait_and_note(log, first, "a"));
    scope.spawn(wait_and_note(log, second, "b"));
    outer.spawn(join_and_note(log, scope));
    EXPECT_EQ(scope.running(), 2u);
    second.open();
    EXPECT_EQ(scope.running(), 1u);
    first.open();
    EXPECT_EQ(log, (std::vector<std::string>{"through b", "end b", "through a", "end a", "joined"}));
    EXPECT_EQ(outer.running(), 0u);
}

TEST(Scope, DestroysWhatStillWaits) {
    std::vector<std::string> log;
    Gate gate;
    {
        Scope scope;
        scope.spawn(wait_and_note(log, gate, "a"));
        scope.spawn(wait_and_note(log, gate, "b"));
    }
    EXPECT_EQ(log, (std::vector<std::string>{"end b", "end a"}));
}

TEST(Deadline, EarlierWins) {
    const Instant now{1000};
    EXPECT_EQ(Deadline::after(now, Duration{5}).at, Instant{1005});
    EXPECT_EQ(Deadline::after(now, Duration{0}), Deadline::none());
    EXPECT_EQ(earlier(Deadline{Instant{7}}, Deadline::none()).at, Instant{7});
    EXPECT_TRUE(Deadline{now}.passed(now));
    EXPECT_FALSE(Deadline::none().passed(now));
}

}  // namespace
}  // namespace plimsoll::async
