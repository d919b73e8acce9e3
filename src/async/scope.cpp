#include "async/scope.h"

#include <utility>

namespace plimsoll::async {

/// The coroutine around a spawned task: keeps itself in the scope's list, and destroys itself at its end.
struct Scope::Runner {
    struct promise_type : Link {
        promise_type(Scope& owner, Task<void>&) : scope(owner) {
            previous = scope.newest_;
            if (previous != nullptr) previous->next = this;
            scope.newest_ = this;
            ++scope.running_;
        }
        ~promise_type() {
            if (previous != nullptr) previous->next = next;
            (next != nullptr ? next->previous : scope.newest_) = previous;
            --scope.running_;
        }
        promise_type(const promise_type&) = delete;
        static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
        static void operator delete(void* frame, std::size_t bytes) noexcept { free_frame(frame, bytes); }
        Runner get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
        [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { broken("an exception left a spawned task", __FILE__, __LINE__); }

        struct Final {
            [[nodiscard]] bool await_ready() const noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> self) const noexcept {
                Scope& home = self.promise().scope;
                self.destroy();
                if (home.running_ == 0 && home.joiner_) return std::exchange(home.joiner_, {});
                return std::noop_coroutine();
            }
            void await_resume() const noexcept {}
        };
        [[nodiscard]] Final final_suspend() const noexcept { return {}; }

        Scope& scope;
    };
    std::coroutine_handle<promise_type> handle;
};

Scope::Runner Scope::run(Scope&, Task<void> task) { co_await std::move(task); }

void Scope::spawn(Task<void> task) { run(*this, std::move(task)).handle.resume(); }

void Scope::cancel() noexcept {
    while (newest_ != nullptr) {
        auto& promise = static_cast<Runner::promise_type&>(*newest_);
        std::coroutine_handle<Runner::promise_type>::from_promise(promise).destroy();
    }
}

}  // namespace plimsoll::async
