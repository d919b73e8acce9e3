// Descriptors of others: one-shot and level-triggered, so that an owner who reads less than all is told again.
// Thread rule: as Loop.
// Source: epoll(7).
#include <sys/epoll.h>

#include <coroutine>

#include "net/kernel.h"

namespace plimsoll::net {
namespace {

class KernelWatched final : public Watched, Source, Timer {
public:
    KernelWatched(Loop::Kernel& kernel, int descriptor) : kernel_(kernel), descriptor_(descriptor) {
        watched_ = kernel_.watch(descriptor_, *this, EPOLLONESHOT, name_);
    }
    ~KernelWatched() override {
        if (waiter_ != nullptr) waiter_->disarm();
        if (!watched_) return;
        ::epoll_ctl(kernel_.poll_.get(), EPOLL_CTL_DEL, descriptor_, nullptr);  // its owner may keep it open
        kernel_.forget(name_);
    }
    [[nodiscard]] bool watched() const { return watched_; }

    Task<Result<void>> readable(Deadline deadline) override {
        if (co_await Wait(*this, deadline) == Wake::timeout) co_return fail(Code::timeout, "wait for a descriptor");
        co_return Result<void>{};
    }

private:
    class Wait final : Waiter {
    public:
        Wait(KernelWatched& of, Deadline deadline) : Waiter(Direction::read, deadline.at), of_(of) {}
        [[nodiscard]] bool await_ready() const { return false; }
        void await_suspend(std::coroutine_handle<> handle) {
            handle_ = handle;
            PLIMSOLL_ENSURE(of_.waiter_ == nullptr, "a watched descriptor has one waiter");
            sit_in(of_.waiter_);
            of_.kernel_.watch_again(of_.descriptor_, EPOLLIN | EPOLLONESHOT, of_.name_);
            of_.kernel_.wheel_.set(of_, deadline());
        }
        [[nodiscard]] Wake await_resume() const { return why_; }

    private:
        void woken(Wake why) override {
            why_ = why;
            handle_.resume();
        }
        KernelWatched& of_;
        std::coroutine_handle<> handle_;
        Wake why_ = Wake::ready;
    };

    void on_events(std::uint32_t) override {
        if (waiter_ != nullptr) kernel_.ready_.push(*waiter_, Wake::ready);
    }
    void due(Instant now) override {
        if (waiter_ != nullptr && waiter_->deadline() <= now) kernel_.ready_.push(*waiter_, Wake::timeout);
    }

    Loop::Kernel& kernel_;
    int descriptor_;
    Loop::Kernel::Name name_;
    bool watched_ = false;
    Waiter* waiter_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Watched>> Network::watch(int) {
    return fail(Code::invalid, "this network has no descriptors to watch");
}

Result<std::unique_ptr<Watched>> Loop::watch(int descriptor) {
    auto watched = std::make_unique<KernelWatched>(*kernel_, descriptor);
    if (!watched->watched()) return fail(Code::limit, "the kernel watches no more descriptors");
    return std::unique_ptr<Watched>(std::move(watched));
}

}  // namespace plimsoll::net
