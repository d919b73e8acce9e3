// Feed: lines that appear over time, read by any number of coroutines at their own pace: the progress of a change.
// Thread rule: control's thread.
#pragma once

#include <algorithm>
#include <coroutine>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::control {

class Feed {
public:
    Feed() = default;
    Feed(const Feed&) = delete;
    Feed& operator=(const Feed&) = delete;

    /// Adds a line and lets every waiting reader go on, before it returns.
    void push(std::string line) {
        lines_.push_back(std::move(line));
        wake();
    }
    /// Nothing more will come. Idempotent.
    void close() {
        closed_ = true;
        wake();
    }
    [[nodiscard]] bool closed() const { return closed_; }
    [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }

    class Await {
    public:
        Await(Feed& feed, std::size_t index) : feed_(feed), index_(index) {}
        Await(const Await&) = delete;
        ~Await() { std::erase(feed_.waiting_, this); }
        [[nodiscard]] bool await_ready() const { return index_ < feed_.lines_.size() || feed_.closed_; }
        void await_suspend(std::coroutine_handle<> handle) {
            handle_ = handle;
            feed_.waiting_.push_back(this);
        }
        [[nodiscard]] bool await_resume() const { return index_ < feed_.lines_.size(); }

    private:
        friend class Feed;
        Feed& feed_;
        std::size_t index_;
        std::coroutine_handle<> handle_;
    };
    /// `co_await feed.has(i)`: true when line i is there, false when the feed closed before. The feed must outlive it.
    [[nodiscard]] Await has(std::size_t index) { return {*this, index}; }

private:
    void wake() {
        // A reader that goes on may wait again, or end and take other readers with it: take one at a time, and only
        // those that waited when the line came.
        std::vector<Await*> round = waiting_;
        for (Await* reader : round) {
            const auto still = std::ranges::find(waiting_, reader);
            if (still == waiting_.end() || !reader->await_ready()) continue;
            waiting_.erase(still);
            reader->handle_.resume();
        }
    }

    std::vector<std::string> lines_;
    std::vector<Await*> waiting_;
    bool closed_ = false;
};

}  // namespace plimsoll::control
