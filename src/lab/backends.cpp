#include "lab/backends.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <future>
#include <iterator>
#include <set>
#include <utility>

#include "async/scope.h"
#include "http/head.h"
#include "http/writer.h"
#include "lab/request_reader.h"
#include "net/loop.h"

namespace plimsoll::lab {
namespace {

using async::Deadline;
using async::Task;

constexpr std::uint32_t largest_body = 64u << 20;  ///< asked for by a request; a demonstration needs no more
constexpr std::size_t piece_size = 64 * 1024;      ///< of filler written at a time

const std::string& filler() {
    static const std::string text = [] {
        std::string t(piece_size, 'x');
        for (std::size_t i = 79; i < t.size(); i += 80) t[i] = '\n';
        return t;
    }();
    return text;
}

std::optional<std::uint32_t> number(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

/// Calls `each(name, value)` for every part of a query.
template <class Each>
void for_each_parameter(std::string_view query, Each each) {
    while (!query.empty()) {
        const std::string_view part = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(part.size() + 1, query.size()));
        const std::size_t equals = std::min(part.find('='), part.size());
        each(part.substr(0, equals), part.substr(std::min(equals + 1, part.size())));
    }
}

/// A request, as far as a sample backend cares.
struct Wish {
    bool health = false, head_only = false, keep_alive = true;
    std::uint16_t status = 200;
    std::optional<std::uint32_t> size;
    std::string target;
};

Wish wish_of(const http::RequestHead& head) {
    Wish wish;
    wish.health = head.path() == "/healthz";
    wish.head_only = head.method == http::Method::head;
    wish.keep_alive = head.keep_alive;
    wish.target = head.target();
    const auto want_status = [&](std::optional<std::uint32_t> status) {
        if (status && *status >= 200 && *status < 600) wish.status = static_cast<std::uint16_t>(*status);
    };
    for_each_parameter(head.query(), [&](std::string_view name, std::string_view value) {
        if (name == "size") wish.size = number(value);
        if (name == "status") want_status(number(value));
    });
    if (const auto size = number(head.fields.get("x-lab-size"))) wish.size = size;
    want_status(number(head.fields.get("x-lab-status")));
    return wish;
}

Task<Result<void>> write_answer(net::Stream& stream, const std::string& name, const Wish& wish, std::uint16_t status) {
    const bool bodyless = status == 204 || status == 304;
    std::string text;
    if (!wish.size || status != wish.status) text = fmt::format("{} {} {}\n", name, status, wish.target);
    const std::uint64_t size = !text.empty() ? text.size() : std::min(*wish.size, largest_body);
    std::string head;
    http::HeadWriter writer(head);
    writer.status_line(status).field("Server", "plimsoll-lab").field("X-Backend", name);
    if (!bodyless) writer.field("Content-Type", "text/plain").field("Content-Length", size);
    if (status == 301) writer.field("Location", "/");
    if (!wish.keep_alive) writer.field("Connection", "close");
    writer.end();
    std::uint64_t left = wish.head_only || bodyless ? 0 : size;
    if (left > 0 && !text.empty()) head += text, left = 0;
    const std::size_t first = static_cast<std::size_t>(std::min<std::uint64_t>(left, piece_size));
    const std::array<std::string_view, 2> pieces{head, std::string_view(filler()).substr(0, first)};
    Result<void> sent = co_await stream.write_all(pieces, Deadline::none());
    left -= first;
    while (sent && left > 0) {
        const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(left, piece_size));
        sent = co_await stream.write_all(std::string_view(filler()).substr(0, piece), Deadline::none());
        left -= piece;
    }
    co_return sent;
}

}  // namespace

/// All that lives on the backends' thread.
struct Backends::World {
    struct Server {
        Server(net::Loop& l, std::string n, const BackendsSettings& settings, Random random)
            : loop(l), name(std::move(n)), model(settings.backend, random), health_in_queue(settings.health_in_queue) {}

        net::Loop& loop;
        std::string name;
        BackendModel model;
        bool health_in_queue;
        BackendCounts counts;
        net::Address address;
        std::unique_ptr<net::Listener> listener;
        std::set<net::Stream*> streams;
        async::Scope accepting, serving;  ///< last: they end first
    };

    std::unique_ptr<net::Loop> loop;
    std::vector<std::unique_ptr<Server>> servers;
    std::unique_ptr<net::Listener> control;
    async::Scope controlling;

    [[nodiscard]] Result<void> begin(const BackendsSettings& settings);
    /// The loop stays until its thread has been joined: whoever stops it may be inside stop() for longer than it runs.
    void end() {
        controlling.cancel();
        servers.clear();
        control.reset();
    }

    static Result<void> listen(Server& server);
    static void die(Server& server);
    Result<void> set_faults(Server& server, const BackendFaults& faults);
    [[nodiscard]] std::vector<BackendFaults> all_faults() const {
        std::vector<BackendFaults> all;
        for (const auto& server : servers) all.push_back(server->model.faults());
        return all;
    }
    std::string obey(std::string_view target, std::uint16_t& status);

    static Task<void> accept(Server& server);
    static Task<void> serve(Server& server, std::unique_ptr<net::Stream> stream);
    static Task<std::uint16_t> work(Server& server, const Wish& wish);
    static Task<void> accept_control(World& world);
    static Task<void> serve_control(World& world, std::unique_ptr<net::Stream> stream);

    /// Runs `work` on the loop's thread and waits for what it gives.
    template <class Work>
    auto ask(Work work) {
        std::promise<decltype(work())> promise;
        auto answer = promise.get_future();
        loop->post([&promise, &work] { promise.set_value(work()); });
        return answer.get();
    }
};

Result<void> Backends::World::listen(Server& server) {
    auto listener = server.loop.listen(server.address, {});
    if (!listener) return std::unexpected(listener.error());
    server.listener = *std::move(listener);
    server.address = server.listener->address();
    server.accepting.spawn(accept(server));
    return {};
}

void Backends::World::die(Server& server) {
    server.accepting.cancel();
    server.listener.reset();
    for (net::Stream* stream : server.streams) stream->abort();
    server.serving.cancel();
}

Result<void> Backends::World::set_faults(Server& server, const BackendFaults& faults) {
    const bool was_dead = server.model.faults().dead;
    if (was_dead && !faults.dead) {
        if (Result<void> listening = listen(server); !listening) return listening;
    }
    server.model.set_faults(faults);
    if (!was_dead && faults.dead) die(server);
    return {};
}

Task<void> Backends::World::accept(Server& server) {
    for (;;) {
        Result<std::unique_ptr<net::Stream>> stream = co_await server.listener->accept(Deadline::none());
        if (!stream) co_return;
        ++server.counts.connections;
        server.serving.spawn(serve(server, *std::move(stream)));
    }
}

/// Serves one connection until it ends.
Task<void> Backends::World::serve(Server& server, std::unique_ptr<net::Stream> stream) {
    struct Entry {  // die() must find the stream
        Entry(Server& s, net::Stream* which) : owner(s), stream(which) { owner.streams.insert(which); }
        Entry(const Entry&) = delete;
        ~Entry() { owner.streams.erase(stream); }
        Server& owner;
        net::Stream* stream;
    };
    const Entry entry(server, stream.get());
    RequestReader reader(*stream);
    for (;;) {
        if (!co_await reader.next()) co_return;
        const Wish wish = wish_of(reader.head());
        const std::uint16_t status = co_await work(server, wish);
        const Result<void> sent = co_await write_answer(*stream, server.name, wish, status);
        if (!sent || !wish.keep_alive) co_return;
    }
}

/// Waits in the queue and for the worker; gives the status to answer.
Task<std::uint16_t> Backends::World::work(Server& server, const Wish& wish) {
    ++(wish.health ? server.counts.health : server.counts.requests);
    constexpr Duration look_again = std::chrono::milliseconds{20};
    if (!wish.health || server.health_in_queue) {
        const BackendModel::Admission admission = server.model.arrive(server.loop.now());
        if (!admission.admitted) {
            ++server.counts.refused;
            co_return 503;
        }
        if (admission.done > server.loop.now()) co_await server.loop.sleep_until(admission.done);
        if (admission.failed && !wish.health) {
            ++server.counts.failed;
            co_return 500;
        }
    }
    while (server.model.faults().hang) co_await server.loop.sleep_until(server.loop.now() + look_again);
    co_return wish.health ? 200 : wish.status;
}

std::string Backends::World::obey(std::string_view target, std::uint16_t& status) {
    status = 200;
    if (target != "/") {
        const Result<ControlOrder> order = parse_order(target, all_faults());
        if (!order) {
            status = order.error().code == Code::not_found ? 404 : 400;
            return order.error().detail + "\n";
        }
        Server& server = *servers[order->index];
        if (order->capacity) server.model.set_capacity(*order->capacity, loop->now());
        if (const Result<void> set = set_faults(server, order->faults); !set) {
            status = 409;
            return set.error().detail + "\n";
        }
    }
    std::string out = "name  port   capacity  requests   refused   failed  waiting  slow   fail  hang  dead\n";
    for (const auto& server : servers) {
        const BackendFaults& f = server->model.faults();
        out += fmt::format("{:<5} {:<6} {:>8} {:>9} {:>9} {:>8} {:>8} {:>5} {:>6} {:>5} {:>5}\n", server->name,
                           server->address.port(), server->model.settings().capacity, server->counts.requests,
                           server->counts.refused, server->counts.failed, server->model.waiting(loop->now()), f.slow,
                           f.fail_share, f.hang, f.dead);
    }
    return out;
}

Task<void> Backends::World::accept_control(World& world) {
    for (;;) {
        Result<std::unique_ptr<net::Stream>> stream = co_await world.control->accept(Deadline::none());
        if (!stream) co_return;
        world.controlling.spawn(serve_control(world, *std::move(stream)));
    }
}

Task<void> Backends::World::serve_control(World& world, std::unique_ptr<net::Stream> stream) {
    RequestReader reader(*stream);
    for (;;) {
        if (!co_await reader.next()) co_return;
        const Wish wish = wish_of(reader.head());
        std::uint16_t status = 0;
        const std::string body = world.obey(wish.target, status);
        std::string answer;
        http::append_answer(answer, status, body, wish.keep_alive, wish.head_only);
        const Result<void> sent = co_await stream->write_all(answer, Deadline::none());
        if (!sent || !wish.keep_alive) co_return;
    }
}

/// On the loop's own thread, as all that waits must be made and ended where it runs.
Result<void> Backends::World::begin(const BackendsSettings& settings) {
    Result<std::unique_ptr<net::Loop>> made = net::Loop::create();
    if (!made) return std::unexpected(made.error());
    loop = *std::move(made);
    Random random(settings.seed);
    for (std::size_t i = 0; i < settings.count; ++i) {
        servers.push_back(std::make_unique<Server>(*loop, fmt::format("b{}", i), settings, random.split()));
        const std::size_t port = settings.first_port == 0 ? 0 : settings.first_port + i;
        if (port > 65'535) return fail(Code::invalid, "ports beyond 65535");
        auto address = net::Address::ip("127.0.0.1", static_cast<std::uint16_t>(port));
        if (!address) return std::unexpected(address.error());
        servers.back()->address = *address;
        if (Result<void> listening = listen(*servers.back()); !listening) return listening;
    }
    if (!settings.control_port) return {};
    auto address = net::Address::ip("127.0.0.1", *settings.control_port);
    if (!address) return std::unexpected(address.error());
    auto listener = loop->listen(*address, {});
    if (!listener) return std::unexpected(listener.error());
    control = *std::move(listener);
    controlling.spawn(accept_control(*this));
    return {};
}

Result<std::unique_ptr<Backends>> Backends::start(const BackendsSettings& settings) {
    std::unique_ptr<Backends> backends(new Backends);
    backends->world_ = std::make_unique<World>();
    std::promise<Result<void>> begun;
    std::future<Result<void>> ready = begun.get_future();
    backends->thread_ = std::thread([world = backends->world_.get(), settings, begun = std::move(begun)]() mutable {
        Result<void> result = world->begin(settings);
        const bool good = result.has_value();
        begun.set_value(std::move(result));
        if (good) world->loop->run();
        world->end();
    });
    if (Result<void> result = ready.get(); !result) {
        backends->thread_.join();
        return std::unexpected(result.error());
    }
    for (std::size_t i = 0; i < settings.count; ++i) {
        backends->ports_.push_back(backends->world_->servers[i]->address.port());
    }
    if (backends->world_->control) backends->control_port_ = backends->world_->control->address().port();
    return backends;
}

Backends::~Backends() {
    if (!thread_.joinable()) return;
    world_->loop->stop();
    thread_.join();
}

Result<void> Backends::set_faults(std::size_t index, const BackendFaults& faults) {
    return world_->ask([&] { return world_->set_faults(*world_->servers.at(index), faults); });
}

BackendFaults Backends::faults(std::size_t index) {
    return world_->ask([&] { return world_->servers.at(index)->model.faults(); });
}

void Backends::set_capacity(std::size_t index, double capacity) {
    world_->ask([&] {
        world_->servers.at(index)->model.set_capacity(capacity, world_->loop->now());
        return true;
    });
}

BackendCounts Backends::counts(std::size_t index) {
    return world_->ask([&] { return world_->servers.at(index)->counts; });
}

Result<ControlOrder> parse_order(std::string_view target, const std::vector<BackendFaults>& now) {
    const std::string_view path = target.substr(0, target.find('?'));
    const auto index = path.starts_with("/b") ? number(path.substr(2)) : std::nullopt;
    if (!index || *index >= now.size()) return fail(Code::not_found, fmt::format("no backend '{}'", path));
    ControlOrder order{.index = *index, .faults = now[*index], .capacity = std::nullopt};
    std::string wrong;
    const std::string_view query = target.substr(std::min(path.size() + 1, target.size()));
    for_each_parameter(query, [&](std::string_view name, std::string_view value) {
        double amount = 0;
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), amount);
        const bool good = error == std::errc{} && end == value.data() + value.size() && amount >= 0;
        if (good && name == "slow" && amount > 0) {
            order.faults.slow = amount;
        } else if (good && name == "fail" && amount <= 1) {
            order.faults.fail_share = amount;
        } else if (good && name == "fast") {
            order.faults.fail_fast = amount != 0;
        } else if (good && name == "hang") {
            order.faults.hang = amount != 0;
        } else if (good && name == "dead") {
            order.faults.dead = amount != 0;
        } else if (good && name == "capacity" && amount > 0) {
            order.capacity = amount;
        } else {
            wrong = fmt::format("cannot do '{}={}': slow=x fail=share fast=0|1 hang=0|1 dead=0|1 capacity=rps", name,
                                value);
        }
    });
    if (!wrong.empty()) return fail(Code::invalid, wrong);
    return order;
}

}  // namespace plimsoll::lab
