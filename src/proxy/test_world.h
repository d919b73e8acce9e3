// A world for the proxy's tests: a worker, scripted endpoints and hand-driven clients on a MemoryNetwork.
// Not part of the library.
#pragma once

// Tests name the one field that matters; the others keep their defaults.
#pragma clang diagnostic ignored "-Wmissing-designated-field-initializers"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/memory_network.h"
#include "proxy/worker.h"
#include "snapshot/snapshot.h"

namespace plimsoll::proxy::test {

using namespace std::chrono_literals;
using async::Task;

/// What a scripted endpoint does with a request.
struct Reply {
    enum class After { keep, close, abort };
    std::string bytes;
    Duration delay{};
    After after = After::keep;
    std::vector<std::pair<Duration, std::string>> more{};  ///< sent after a pause each
};
inline std::string ok_bytes(std::string_view body, std::string_view head_lines = {}) {
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + std::string(head_lines) +
           "\r\n" + std::string(body);
}

/// An endpoint: keeps what it was sent, one string a request, and answers by script.
class Backend {
public:
    Backend(net::MemoryNetwork& network, std::uint16_t port)
        : network_(network), address_(*net::Address::ip("10.0.0.1", port)) {
        reply = [port](const std::string&) { return Reply{ok_bytes("from " + std::to_string(port))}; };
        start();
    }
    void start() { scope_.spawn(accept(*network_.listen(address_, {}))); }
    /// Nobody listens and all connections are gone.
    void kill() { scope_.cancel(); }

    std::function<Reply(const std::string&)> reply;
    std::vector<std::string> seen;
    bool answer_early = false;  ///< as soon as the head is there
    [[nodiscard]] const net::Address& address() const { return address_; }
    [[nodiscard]] std::uint64_t connections() const { return network_.connections_to(address_); }
    [[nodiscard]] net::Faults& faults() { return network_.faults(address_); }
    /// Closes what is idle.
    void close_all() {
        for (net::Stream* stream : open_) stream->close();
    }

private:
    static bool whole(const std::string& text, std::size_t& end) {
        const std::size_t head = text.find("\r\n\r\n");
        if (head == std::string::npos) return false;
        end = head + 4;
        if (text.substr(0, head).find("Transfer-Encoding: chunked") != std::string::npos) {
            const std::size_t last = text.find("\r\n0\r\n", head + 2);
            const std::size_t over = last == std::string::npos ? last : text.find("\r\n\r\n", last + 3);
            end = over == std::string::npos ? 0 : over + 4;
            return over != std::string::npos;
        }
        const std::size_t length = text.substr(0, head).find("Content-Length: ");
        if (length != std::string::npos) end += std::stoul(text.substr(length + 16));
        return text.size() >= end;
    }
    Task<void> accept(std::unique_ptr<net::Listener> listener) {
        for (;;) {
            auto stream = co_await listener->accept({});
            if (!stream) co_return;
            scope_.spawn(serve(std::move(*stream)));
        }
    }
    struct Open {
        Open(Backend& b, net::Stream* s) : backend(b), stream(s) { backend.open_.push_back(s); }
        Open(const Open&) = delete;
        ~Open() { std::erase(backend.open_, stream); }
        Backend& backend;
        net::Stream* stream;
    };
    Task<void> serve(std::unique_ptr<net::Stream> stream) {
        const Open open(*this, stream.get());
        std::string text;
        char buffer[4096];
        for (;;) {
            std::size_t end = 0;
            while (!whole(text, end) && !(answer_early && end > 0)) {
                auto n = co_await stream->read(buffer, {});
                if (!n || *n == 0) co_return;
                text.append(buffer, *n);
            }
            seen.push_back(text.substr(0, end));
            text.erase(0, end);
            const Reply reply_now = reply(seen.back());
            if (reply_now.delay > Duration{}) co_await network_.sleep_until(network_.now() + reply_now.delay);
            if (!reply_now.bytes.empty() && !co_await stream->write_all(reply_now.bytes, {})) co_return;
            for (const auto& [pause, bytes] : reply_now.more) {
                co_await network_.sleep_until(network_.now() + pause);
                if (!co_await stream->write_all(bytes, {})) co_return;
            }
            if (reply_now.after == Reply::After::close) {
                stream->shutdown_write();
                while (true) {  // do not reset what is on its way
                    auto n = co_await stream->read(buffer, {});
                    if (!n || *n == 0) co_return;
                }
            }
            if (reply_now.after == Reply::After::abort) {
                stream->abort();
                co_return;
            }
        }
    }

    net::MemoryNetwork& network_;
    net::Address address_;
    std::vector<net::Stream*> open_;
    async::Scope scope_;
};

/// The other end of a client's connection, moved by hand.
class Caller {
public:
    Caller(net::MemoryNetwork& network, std::unique_ptr<net::Stream> stream)
        : network_(&network), stream_(std::move(stream)) {}
    /// Writes all, letting the world go on when the buffer is full.
    void say(std::string_view text) {
        while (!text.empty()) {
            const net::Io io = stream_->try_write(std::array{text});
            if (io.state == net::Io::State::failed) break;
            text.remove_prefix(io.bytes);
            network_->run_until_idle();
            if (io.state == net::Io::State::would_block && io.bytes == 0) network_->advance(1ms);
        }
        network_->run_until_idle();
    }
    /// All that has come by now.
    std::string hear() {
        network_->run_until_idle();
        std::string all;
        char buffer[8192];
        for (;;) {
            const net::Io io = stream_->try_read(buffer);
            if (io.state == net::Io::State::end) ended = true;
            if (io.state == net::Io::State::failed) reset = true;
            if (io.state != net::Io::State::moved) return all;
            all.append(buffer, io.bytes);
            network_->run_until_idle();
        }
    }
    std::string ask(std::string_view text) {
        say(text);
        return hear();
    }
    net::Stream& stream() { return *stream_; }
    bool ended = false;  ///< the worker closed in order
    bool reset = false;

private:
    net::MemoryNetwork* network_;
    std::unique_ptr<net::Stream> stream_;
};

inline std::string get(std::string_view path = "/", std::string_view lines = {}) {
    return "GET " + std::string(path) + " HTTP/1.1\r\nHost: a.example\r\n" + std::string(lines) + "\r\n";
}
inline std::string post(std::string_view body, std::string_view lines = {}) {
    return "POST /form HTTP/1.1\r\nHost: a.example\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
           std::string(lines) + "\r\n" + std::string(body);
}
inline bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }
inline std::string body_of(const std::string& answer) {
    const std::size_t head = answer.find("\r\n\r\n");
    return head == std::string::npos ? "" : answer.substr(head + 4);
}

class World : public testing::Test {
protected:
    World() {
        config.listeners.push_back({.name = "web", .address = {"10.9.9.9", 80}});
        config.routes.push_back({.name = "all", .match = {}, .pool = "web"});
        config.pools.push_back(pool("web", {1, 2}));
        config.access_log = "test";
    }
    /// `ports` of its endpoints, whose backends are made as well.
    config::Pool pool(std::string name, std::vector<std::uint16_t> ports) {
        config::Pool made;
        made.name = std::move(name);
        made.policy = config::Policy::round_robin;
        made.health.reset();
        for (std::uint16_t port : ports) {
            made.endpoints.push_back({.name = "b" + std::to_string(port), .address = {"10.0.0.1", port}});
            backend(port);
        }
        return made;
    }
    Backend& backend(std::uint16_t port) {
        auto& made = backends_[port];
        if (!made) made = std::make_unique<Backend>(network, port);
        return *made;
    }
    std::shared_ptr<const snapshot::Snapshot> compile(std::uint64_t revision) {
        return snapshot::compile(config, RevisionNumber{revision}, identities, 1);
    }
    void install(std::uint64_t revision = 1) {
        EXPECT_EQ(worker.install({.active = compile(revision)}), std::vector<std::string>{});
    }
    Caller call(std::string_view from = "192.0.2.7") {
        Caller caller(network, network.open(*net::Address::ip("10.9.9.9", 80), *net::Address::ip(from, 5000)));
        network.run_until_idle();
        return caller;
    }
    EndpointId id(std::uint16_t port) {
        return identities.endpoint("web", {"10.0.0.1", port}, "b" + std::to_string(port));
    }
    /// The log's lines so far.
    std::string log() {
        network.advance(200ms);
        return log_;
    }
    std::size_t times(std::string_view text, std::string_view part) {
        std::size_t count = 0;
        for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++count;
        return count;
    }

    config::Config config;
    snapshot::Identities identities;
    net::MemoryNetwork network;

private:
    std::map<std::uint16_t, std::unique_ptr<Backend>> backends_;
    std::string log_;

protected:
    std::shared_ptr<ShedCounts> shed_counts = std::make_shared<ShedCounts>();
    Worker worker{network, {.hash_key = 7, .seed = 1, .shed = shed_counts, .log_sink = [this](std::string_view lines) {
                                log_ += lines;
                            }}};
};

}  // namespace plimsoll::proxy::test
