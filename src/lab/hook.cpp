#include "lab/hook.h"

#include <fmt/format.h>

#include <future>
#include <utility>

#include "async/scope.h"
#include "http/writer.h"
#include "lab/request_reader.h"
#include "net/loop.h"

namespace plimsoll::lab {

using async::Deadline;
using async::Task;

/// What lives on the hook's thread.
struct Hook::World {
    explicit World(Hook& h) : hook(h) {}

    [[nodiscard]] Result<void> begin();
    void end() {
        tasks.cancel();
        listener.reset();
        loop.reset();
    }
    static Task<void> accept(World& world);
    static Task<void> serve(World& world, std::unique_ptr<net::Stream> stream);

    Hook& hook;
    std::unique_ptr<net::Loop> loop;
    std::unique_ptr<net::Listener> listener;
    async::Scope tasks;
};

Result<void> Hook::World::begin() {
    Result<std::unique_ptr<net::Loop>> made = net::Loop::create();
    if (!made) return std::unexpected(made.error());
    loop = *std::move(made);
    const auto address = net::Address::ip("127.0.0.1", 0);
    if (!address) return std::unexpected(address.error());
    auto listening = loop->listen(*address, {});
    if (!listening) return std::unexpected(listening.error());
    listener = *std::move(listening);
    hook.url_ = fmt::format("http://{}/told", listener->address().text());
    tasks.spawn(accept(*this));
    return {};
}

Task<void> Hook::World::accept(World& world) {
    for (;;) {
        Result<std::unique_ptr<net::Stream>> stream = co_await world.listener->accept(Deadline::none());
        if (!stream) co_return;
        world.tasks.spawn(serve(world, *std::move(stream)));
    }
}

Task<void> Hook::World::serve(World& world, std::unique_ptr<net::Stream> stream) {
    RequestReader reader(*stream);
    while (co_await reader.next()) {
        const bool keep = reader.head().keep_alive;
        {
            const std::lock_guard lock(world.hook.mutex_);
            world.hook.messages_.push_back({.at = world.loop->wall(), .body = reader.body()});
        }
        std::string answer;
        http::append_answer(answer, 200, "told\n", keep);
        const Result<void> sent = co_await stream->write_all(answer, Deadline::none());
        if (!sent || !keep) co_return;
    }
}

Result<std::unique_ptr<Hook>> Hook::start() {
    std::unique_ptr<Hook> hook(new Hook);
    hook->world_ = std::make_unique<World>(*hook);
    std::promise<Result<void>> begun;
    std::future<Result<void>> ready = begun.get_future();
    hook->thread_ = std::thread([world = hook->world_.get(), begun = std::move(begun)]() mutable {
        Result<void> result = world->begin();
        const bool good = result.has_value();
        begun.set_value(std::move(result));
        if (good) world->loop->run();
        world->end();
    });
    if (Result<void> result = ready.get(); !result) {
        hook->thread_.join();
        return std::unexpected(result.error());
    }
    return hook;
}

Hook::~Hook() {
    if (!thread_.joinable()) return;
    world_->loop->stop();
    thread_.join();
}

std::vector<Hook::Message> Hook::messages() const {
    const std::lock_guard lock(mutex_);
    return messages_;
}

}  // namespace plimsoll::lab
