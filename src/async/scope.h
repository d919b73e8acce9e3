// Scope: owns work that runs on its own. Whatever is spawned is joined, or ended with the scope.
// Thread rule: one thread.
#pragma once

#include <coroutine>
#include <cstddef>

#include "async/task.h"

namespace plimsoll::async {

/// Holds spawned tasks. When the scope is destroyed, tasks that still wait are destroyed where they are suspended
/// (their locals are cleaned up, what they awaited is disarmed). Must not be destroyed by one of its own tasks.
class Scope {
public:
    Scope() = default;
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() { cancel(); }

    /// Starts the task at once; returns at its first wait. The task must own what it needs (pass values, not views).
    void spawn(Task<void> task);
    /// Tasks that have not ended.
    [[nodiscard]] std::size_t running() const { return running_; }
    /// Destroys all tasks that still wait, newest first. Not from within one of them.
    void cancel() noexcept;

    class Join {
    public:
        explicit Join(Scope& scope) : scope_(scope) {}
        Join(const Join&) = delete;
        ~Join() {
            if (scope_.joiner_ == waiter_) scope_.joiner_ = nullptr;
        }
        [[nodiscard]] bool await_ready() const noexcept { return scope_.running_ == 0; }
        void await_suspend(std::coroutine_handle<> waiter) {
            PLIMSOLL_ENSURE(!scope_.joiner_, "a scope has one joiner");
            scope_.joiner_ = waiter_ = waiter;
        }
        void await_resume() const noexcept {}

    private:
        Scope& scope_;
        std::coroutine_handle<> waiter_;
    };
    /// `co_await scope.join();` goes on when nothing runs any more. One joiner at a time.
    [[nodiscard]] Join join() { return Join(*this); }

private:
    struct Link {
        Link* previous = nullptr;
        Link* next = nullptr;
    };
    struct Runner;
    static Runner run(Scope& scope, Task<void> task);

    Link* newest_ = nullptr;
    std::size_t running_ = 0;
    std::coroutine_handle<> joiner_;
};

}  // namespace plimsoll::async
