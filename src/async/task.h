// Task: a piece of work that waits. Lazy (runs when awaited), awaited exactly once, resumed by symmetric transfer, so
// chains of any depth use no stack. Frames come from a per-thread free list.
// Thread rule: a Task lives and dies on the thread that made it. Exceptions never leave a coroutine: they end the
// process, because errors are values here.
// Source: ISO C++20 [dcl.fct.def.coroutine]; Baker, "C++ Coroutines: Understanding Symmetric Transfer" (2020).
#pragma once

#include <coroutine>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

#include "async/frames.h"
#include "base/result.h"

namespace plimsoll::async {

template <class T = void>
class Task;

/// The parts of a promise that do not depend on what the coroutine returns.
class PromiseBase {
public:
    /// Asked when the coroutine has its result: whom to resume.
    using Finish = std::coroutine_handle<> (*)(PromiseBase& finished, std::coroutine_handle<> waiter);

    static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
    static void operator delete(void* frame, std::size_t bytes) noexcept { free_frame(frame, bytes); }

    [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
    void unhandled_exception() noexcept { broken("an exception left a coroutine", __FILE__, __LINE__); }

    void on_finish(std::coroutine_handle<> waiter, Finish finish = nullptr) noexcept {
        waiter_ = waiter;
        finish_ = finish;
    }
    [[nodiscard]] std::coroutine_handle<> finish() noexcept {
        return finish_ != nullptr ? finish_(*this, waiter_) : waiter_;
    }

private:
    std::coroutine_handle<> waiter_ = std::noop_coroutine();
    Finish finish_ = nullptr;
};

struct FinalAwait {
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> done) const noexcept {
        return done.promise().finish();
    }
    void await_resume() const noexcept {}
};

template <class T>
class Promise : public PromiseBase {
public:
    Task<T> get_return_object() noexcept;
    [[nodiscard]] FinalAwait final_suspend() const noexcept { return {}; }
    template <class V>
        requires std::is_constructible_v<T, V&&>
    void return_value(V&& value) {
        value_.emplace(std::forward<V>(value));
    }
    [[nodiscard]] T& value() { return *value_; }

private:
    std::optional<T> value_;
};

template <>
class Promise<void> : public PromiseBase {
public:
    Task<void> get_return_object() noexcept;
    [[nodiscard]] FinalAwait final_suspend() const noexcept { return {}; }
    void return_void() noexcept {}
};

/// Owns one coroutine; destroys it, wherever it is suspended, when it goes.
template <class T>
class Owned {
public:
    using Handle = std::coroutine_handle<Promise<T>>;
    Owned() = default;
    explicit Owned(Handle handle) : handle_(handle) {}
    Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
    Owned& operator=(Owned&& other) noexcept {
        if (this != &other) {
            reset();
            handle_ = std::exchange(other.handle_, {});
        }
        return *this;
    }
    ~Owned() { reset(); }
    void reset() noexcept {
        if (handle_) std::exchange(handle_, {}).destroy();
    }
    [[nodiscard]] Handle handle() const { return handle_; }
    [[nodiscard]] Promise<T>& promise() const { return handle_.promise(); }

private:
    Handle handle_;
};

/// Work that gives a T when awaited: `T value = co_await work();`. Not started until then. A Task that is dropped
/// without being awaited never runs.
template <class T>
class [[nodiscard]] Task {
public:
    using promise_type = Promise<T>;
    using value_type = T;

    Task(Task&&) noexcept = default;
    Task& operator=(Task&&) noexcept = default;
    explicit Task(std::coroutine_handle<promise_type> handle) : owned_(handle) {}

    /// The frame is gone, and with it the callee's locals, before the awaiting coroutine goes on.
    class Await {
    public:
        explicit Await(Owned<T> owned) : owned_(std::move(owned)) {}
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiter) noexcept {
            owned_.promise().on_finish(waiter);
            return owned_.handle();
        }
        T await_resume() {
            if constexpr (std::is_void_v<T>) {
                owned_.reset();
            } else {
                T value = std::move(owned_.promise().value());
                owned_.reset();
                return value;
            }
        }

    private:
        Owned<T> owned_;
    };
    Await operator co_await() && { return Await(std::move(owned_)); }

    /// Gives up the coroutine; for Scope and ok().
    [[nodiscard]] Owned<T> release() && { return std::move(owned_); }

private:
    Owned<T> owned_;
};

template <class T>
Task<T> Promise<T>::get_return_object() noexcept {
    return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() noexcept {
    return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

// ---- ok(): the value, or the enclosing coroutine ends with the error -----------------------------------------------

/// Ends the coroutine `parent` (which stays suspended until its owner destroys it) with `error`; gives whom to resume.
template <class P>
[[nodiscard]] std::coroutine_handle<> finish_with(std::coroutine_handle<P> parent, Error&& error) {
    parent.promise().return_value(std::unexpected(std::move(error)));
    return parent.promise().finish();
}

template <class T>
T take(Result<T>&& result) {
    if constexpr (!std::is_void_v<T>) return *std::move(result);
}

template <class T>
class [[nodiscard]] OkResult {
public:
    explicit OkResult(Result<T>&& result) : result_(std::move(result)) {}
    [[nodiscard]] bool await_ready() const noexcept { return result_.has_value(); }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> parent) {
        return finish_with(parent, std::move(result_.error()));
    }
    T await_resume() { return take(std::move(result_)); }

private:
    Result<T> result_;
};

template <class T>
class [[nodiscard]] OkTask {
public:
    explicit OkTask(Owned<Result<T>> owned) : owned_(std::move(owned)) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> parent) noexcept {
        owned_.promise().on_finish(parent, &finished<P>);
        return owned_.handle();
    }
    T await_resume() {
        Result<T> result = std::move(owned_.promise().value());
        owned_.reset();
        return take(std::move(result));
    }

private:
    template <class P>
    static std::coroutine_handle<> finished(PromiseBase& promise, std::coroutine_handle<> waiter) {
        Result<T>& result = static_cast<Promise<Result<T>>&>(promise).value();
        if (result.has_value()) return waiter;
        return finish_with(std::coroutine_handle<P>::from_address(waiter.address()), std::move(result.error()));
    }
    Owned<Result<T>> owned_;
};

/// Something that is its own awaiter (await_ready, await_suspend, await_resume) and gives a Result, as a Stream's read.
template <class A>
concept ResultAwaiter = requires(A& a) {
    { a.await_ready() } -> std::convertible_to<bool>;
    typename decltype(a.await_resume())::error_type;
};

/// Goes on with an awaiter that was already found not ready.
template <class A>
class Rest {
public:
    explicit Rest(A& awaiter) : awaiter_(awaiter) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    decltype(auto) await_suspend(std::coroutine_handle<> waiter) { return awaiter_.await_suspend(waiter); }
    auto await_resume() { return awaiter_.await_resume(); }

private:
    A& awaiter_;
};
template <class A>
auto finish_waiting(A& awaiter) -> Task<decltype(awaiter.await_resume())> {
    co_return co_await Rest<A>(awaiter);
}

template <ResultAwaiter A>
class [[nodiscard]] OkAwaiter {
    using Value = decltype(std::declval<A&>().await_resume());
    using T = typename Value::value_type;

public:
    explicit OkAwaiter(A&& awaiter) : awaiter_(std::move(awaiter)) {}
    [[nodiscard]] bool await_ready() {
        if (!awaiter_.await_ready()) return false;
        result_.emplace(awaiter_.await_resume());
        return result_->has_value();
    }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> parent) {
        if (result_) return finish_with(parent, std::move(result_->error()));
        rest_.emplace(finish_waiting(awaiter_).release());
        return rest_->await_suspend(parent);
    }
    T await_resume() { return result_ ? take(*std::move(result_)) : rest_->await_resume(); }

private:
    A awaiter_;
    std::optional<Value> result_;
    std::optional<OkTask<T>> rest_;
};

/// In a coroutine that returns Task<Result<U>>: `T value = co_await ok(x);` gives the value of `x`, a Result<T>, a
/// Task<Result<T>> or an awaiter of a Result<T>; or the enclosing coroutine ends there and then with x's error.
template <class T>
[[nodiscard]] OkResult<T> ok(Result<T> result) {
    return OkResult<T>(std::move(result));
}
template <class T>
[[nodiscard]] OkTask<T> ok(Task<Result<T>> task) {
    return OkTask<T>(std::move(task).release());
}
template <ResultAwaiter A>
[[nodiscard]] OkAwaiter<A> ok(A awaiter) {
    return OkAwaiter<A>(std::move(awaiter));
}

}  // namespace plimsoll::async
